-- Certificates that our CA issued, for its revocation list and its OCSP answers.
-- `issuer` and `thumbprint` are SHA-256 of a SubjectPublicKeyInfo, `serial` is hexadecimal, `subject` is "device:NAME",
-- "server" or "authority"; `reason` is RFC 5280's CRLReason. `is_listed`: it stands in a revocation list that was written.
CREATE TABLE certificate (
    issuer TEXT NOT NULL,
    serial TEXT NOT NULL,
    subject TEXT NOT NULL,
    thumbprint TEXT NOT NULL,
    pem TEXT NOT NULL,
    issued_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    revoked_at REAL,
    reason INTEGER NOT NULL DEFAULT 0,
    is_listed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (issuer, serial)
) WITHOUT ROWID;
CREATE INDEX certificate_subject ON certificate (subject);
CREATE INDEX certificate_thumbprint ON certificate (thumbprint);
CREATE INDEX certificate_revoked ON certificate (issuer, is_listed) WHERE revoked_at IS NOT NULL;

-- The number of each issuer's latest revocation list: it only grows.
CREATE TABLE revocation_list (
    issuer TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    made_at REAL NOT NULL,
    next_update REAL NOT NULL
) WITHOUT ROWID;

-- What a credential or a device loses, its certificates lose in the same transaction, whoever wrote it. Over one key
-- there may be a renewed certificate: it stays good while a credential for it is.
CREATE TRIGGER certificate_of_revoked_credential AFTER UPDATE OF is_revoked ON credential
WHEN NEW.is_revoked AND NOT OLD.is_revoked AND OLD.thumbprint <> ''
BEGIN
    UPDATE certificate SET revoked_at = (julianday('now') - 2440587.5) * 86400.0
    WHERE thumbprint = OLD.thumbprint AND subject = 'device:' || OLD.device AND revoked_at IS NULL
    AND (pem = OLD.public OR NOT EXISTS
        (SELECT 1 FROM credential WHERE thumbprint = OLD.thumbprint AND kind = 'x509' AND NOT is_revoked));
END;
CREATE TRIGGER certificate_of_removed_credential AFTER DELETE ON credential
WHEN OLD.thumbprint <> ''
BEGIN
    UPDATE certificate SET revoked_at = (julianday('now') - 2440587.5) * 86400.0, reason = 5
    WHERE thumbprint = OLD.thumbprint AND subject = 'device:' || OLD.device AND revoked_at IS NULL
    AND (pem = OLD.public OR NOT EXISTS
        (SELECT 1 FROM credential WHERE thumbprint = OLD.thumbprint AND kind = 'x509' AND NOT is_revoked));
END;
CREATE TRIGGER certificate_of_removed_device AFTER DELETE ON device
BEGIN
    UPDATE certificate SET revoked_at = (julianday('now') - 2440587.5) * 86400.0, reason = 5
    WHERE subject = 'device:' || OLD.name AND revoked_at IS NULL;
END;
