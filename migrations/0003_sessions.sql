-- Training loops that clients run: what each was made of. What its calls have come to is in files, which are written at
-- every call; see src/store/sessions.rs.
CREATE TABLE sessions (
    id         TEXT NOT NULL PRIMARY KEY,
    tenant     TEXT NOT NULL,
    origin     TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE INDEX sessions_of_tenant ON sessions (tenant, id);
