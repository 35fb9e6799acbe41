-- What each model takes of its tenant's room: its document, its preprocessing, its weights and its optimizer's state.
ALTER TABLE models ADD COLUMN size_bytes BIGINT NOT NULL DEFAULT 0;
UPDATE models SET size_bytes = octet_length(document) + octet_length(encoder) + (
    SELECT coalesce(sum(octet_length(bytes)), 0) FROM artifacts
    WHERE artifacts.id IN (models.weights, models.optimizer_state));
