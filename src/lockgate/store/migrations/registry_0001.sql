-- The one list of devices: who they are, what they belong to, what they may.
-- Written by the command line and the office; the gate reads it.

CREATE TABLE device (
    name TEXT PRIMARY KEY,
    is_blocked INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL
) WITHOUT ROWID;

-- AUTOINCREMENT: a credential's number is never given out again, so that a session proven by a removed credential
-- can never pass for one proven by another.
CREATE TABLE credential (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL REFERENCES device (name) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    public TEXT NOT NULL,
    thumbprint TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    is_revoked INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX credential_device ON credential (device);
CREATE INDEX credential_thumbprint ON credential (thumbprint) WHERE thumbprint <> '';

CREATE TABLE membership (
    device TEXT NOT NULL REFERENCES device (name) ON DELETE CASCADE,
    group_name TEXT NOT NULL,
    PRIMARY KEY (device, group_name)
) WITHOUT ROWID;
CREATE INDEX membership_group ON membership (group_name);

CREATE TABLE rule (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    subject TEXT NOT NULL,
    operation TEXT NOT NULL,
    filter TEXT NOT NULL,
    effect TEXT NOT NULL,
    max_qos INTEGER NOT NULL,
    retain INTEGER NOT NULL
);
CREATE INDEX rule_subject ON rule (subject);

-- What moved, in order: the gate reads from the number where it stopped.
CREATE TABLE change (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    name TEXT NOT NULL
);

CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    event TEXT NOT NULL,
    subject TEXT NOT NULL,
    details TEXT NOT NULL
);
CREATE TRIGGER audit_is_never_updated BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
-- INSERT OR REPLACE would pass by the two above.
CREATE TRIGGER audit_is_never_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
