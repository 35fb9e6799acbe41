-- What a trainyard keeps. Every row belongs to a tenant. Ids sort by the time of their making, so that "newest first"
-- is the primary key read backwards. Times are RFC 3339 text; documents that are only ever read whole are JSON text.

-- Uploaded tables. The content of each is a file named by its SHA-256, which equal uploads share.
CREATE TABLE datasets (
    id         TEXT   NOT NULL PRIMARY KEY,
    tenant     TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    row_count  BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256     TEXT   NOT NULL,
    source     TEXT   NOT NULL,
    columns    TEXT   NOT NULL,
    created_at TEXT   NOT NULL
);
CREATE INDEX datasets_of_tenant ON datasets (tenant, id);
CREATE INDEX datasets_of_content ON datasets (sha256);

-- Weights, optimizer states and checkpoints, as their makers sealed them, in chunks, so that no transaction grows with
-- the size of a network. A row elsewhere names each; what no row names is swept at the next start.
CREATE TABLE artifacts (
    tenant TEXT   NOT NULL,
    id     TEXT   NOT NULL,
    chunk  BIGINT NOT NULL,
    bytes  BLOB   NOT NULL,
    PRIMARY KEY (id, chunk)
);

-- Trained networks: the document is what clients see, the rest is what predictions and further training need.
CREATE TABLE models (
    id              TEXT NOT NULL PRIMARY KEY,
    tenant          TEXT NOT NULL,
    name            TEXT NOT NULL,
    document        TEXT NOT NULL,
    encoder         TEXT NOT NULL,
    weights         TEXT NOT NULL,
    optimizer_state TEXT NOT NULL,
    created_at      TEXT NOT NULL
);
CREATE INDEX models_of_tenant ON models (tenant, id);
CREATE INDEX models_by_name ON models (tenant, name, id);

-- Training jobs. src/domain/job.rs has the states and their moves.
CREATE TABLE jobs (
    id                 TEXT   NOT NULL PRIMARY KEY,
    tenant             TEXT   NOT NULL,
    name               TEXT   NOT NULL,
    status             TEXT   NOT NULL,
    -- what it was made from, for those who want to delete it
    dataset            TEXT   NOT NULL,
    validation_dataset TEXT,
    continued_model    TEXT,
    -- what it is to do
    spec               TEXT   NOT NULL,
    initial_weights    TEXT,
    memory_bytes       BIGINT NOT NULL,
    -- how far it is
    epoch              BIGINT NOT NULL,
    epochs             BIGINT NOT NULL,
    batches_per_epoch  BIGINT,
    metrics            TEXT   NOT NULL,
    last_event         BIGINT NOT NULL,
    -- who works on it: the owner is null when nobody does, the fence counts the claims, the crashes are those since the
    -- last checkpoint
    owner              TEXT,
    fence              BIGINT NOT NULL,
    attempt            BIGINT NOT NULL,
    crashes            BIGINT NOT NULL,
    -- what became of it
    model              TEXT,
    error_code         TEXT,
    error_detail       TEXT,
    created_at         TEXT   NOT NULL,
    started_at         TEXT,
    finished_at        TEXT
);
CREATE INDEX jobs_of_tenant ON jobs (tenant, id);
CREATE INDEX jobs_by_status ON jobs (tenant, status, id);
-- the queue, over all tenants
CREATE INDEX jobs_in_order ON jobs (status, id);
-- what keeps a dataset or a model from being deleted
CREATE INDEX jobs_of_dataset ON jobs (tenant, dataset);
CREATE INDEX jobs_of_validation_dataset ON jobs (tenant, validation_dataset) WHERE validation_dataset IS NOT NULL;
CREATE INDEX jobs_of_continued_model ON jobs (tenant, continued_model) WHERE continued_model IS NOT NULL;

-- The checkpoints of unfinished jobs, numbered from 1; the newest two of each are kept.
CREATE TABLE checkpoints (
    tenant   TEXT   NOT NULL,
    job      TEXT   NOT NULL REFERENCES jobs (id),
    number   BIGINT NOT NULL,
    artifact TEXT   NOT NULL,
    PRIMARY KEY (job, number)
);

-- What happened to each job, numbered from 1 without gaps; data is the JSON that event streams send. The events of
-- epochs are the job's history. Event 1 tells that the job was queued, so an epoch's event has a greater number than
-- the epoch itself.
CREATE TABLE events (
    tenant TEXT   NOT NULL,
    job    TEXT   NOT NULL REFERENCES jobs (id),
    number BIGINT NOT NULL,
    kind   TEXT   NOT NULL,
    epoch  BIGINT,
    data   TEXT   NOT NULL,
    PRIMARY KEY (job, number)
) WITHOUT ROWID;

-- Answers to requests with an Idempotency-Key, to be given again until they expire.
CREATE TABLE answers (
    tenant       TEXT   NOT NULL,
    key          TEXT   NOT NULL,
    fingerprint  TEXT   NOT NULL,
    status       BIGINT NOT NULL,
    headers      TEXT   NOT NULL,
    body         BLOB   NOT NULL,
    expires_at_s BIGINT NOT NULL,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX answers_by_expiry ON answers (expires_at_s);
