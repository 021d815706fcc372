-- Claim tokens, by which devices enrol themselves; refusals of the office.

-- The token itself is nowhere: `hash` is the SHA-256 of its 256 random bits. `pattern` says which devices it may make:
-- a name, or one with a * for any rest. `groups` is a JSON list.
CREATE TABLE claim (
    id TEXT PRIMARY KEY,
    hash BLOB NOT NULL,
    pattern TEXT NOT NULL,
    groups TEXT NOT NULL,
    created_at REAL NOT NULL,
    created_by TEXT NOT NULL,
    expires_at REAL NOT NULL,
    max_uses INTEGER NOT NULL,
    uses INTEGER NOT NULL DEFAULT 0 CHECK (uses <= max_uses),
    is_revoked INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE claim_use (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    claim TEXT NOT NULL REFERENCES claim (id) ON DELETE CASCADE,
    at REAL NOT NULL,
    device TEXT NOT NULL,
    address TEXT NOT NULL
);
CREATE INDEX claim_use_claim ON claim_use (claim);

-- Who holds a revoked or removed device may hold a token for it as well: a new device under its name needs a new one.
CREATE TRIGGER claim_of_revoked_device AFTER UPDATE OF is_revoked ON credential WHEN NEW.is_revoked AND NOT OLD.is_revoked
BEGIN
    UPDATE claim SET is_revoked = 1 WHERE pattern = OLD.device;
END;
CREATE TRIGGER claim_of_removed_device AFTER DELETE ON device
BEGIN
    UPDATE claim SET is_revoked = 1 WHERE pattern = OLD.name;
END;

-- Whom the office turned away, as `lockgate why` shows it; the gate keeps its own in messages.db.
CREATE TABLE office_refusal (
    reference TEXT PRIMARY KEY,
    at REAL NOT NULL,
    device TEXT NOT NULL,
    body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX office_refusal_at ON office_refusal (at);
