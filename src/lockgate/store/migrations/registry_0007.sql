-- The audit trail is a chain: each record holds the hash of all before it (lockgate.store.chain, which also chains the
-- records that are here already).
CREATE TABLE audit_chain (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    origin TEXT NOT NULL,
    record INTEGER NOT NULL DEFAULT 0,
    hash TEXT NOT NULL DEFAULT '',
    trimmed INTEGER NOT NULL DEFAULT 0,
    base TEXT NOT NULL DEFAULT ''
);
INSERT INTO audit_chain (id, origin) VALUES (1, lower(hex(randomblob(16))));

ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT '';
DROP TRIGGER audit_is_never_updated;
CREATE TRIGGER audit_is_never_updated BEFORE UPDATE ON audit WHEN OLD.hash <> ''
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
