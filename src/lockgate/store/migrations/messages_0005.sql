-- Security events are a chain: each record holds the hash of all before it (lockgate.store.chain, which also chains the
-- records that are here already). The oldest may go once the chain says so.
CREATE TABLE security_chain (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    origin TEXT NOT NULL,
    record INTEGER NOT NULL DEFAULT 0,
    hash TEXT NOT NULL DEFAULT '',
    trimmed INTEGER NOT NULL DEFAULT 0,
    base TEXT NOT NULL DEFAULT ''
);
INSERT INTO security_chain (id, origin) VALUES (1, lower(hex(randomblob(16))));

ALTER TABLE security_event ADD COLUMN hash TEXT NOT NULL DEFAULT '';
DROP TRIGGER security_event_is_never_updated;
DROP TRIGGER security_event_is_never_deleted;
CREATE TRIGGER security_event_is_never_updated BEFORE UPDATE ON security_event WHEN OLD.hash <> ''
BEGIN SELECT RAISE(ABORT, 'security events are append-only'); END;
CREATE TRIGGER security_event_is_never_deleted BEFORE DELETE ON security_event
WHEN OLD.sequence > (SELECT trimmed FROM security_chain)
BEGIN SELECT RAISE(ABORT, 'security events are append-only'); END;
