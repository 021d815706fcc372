-- Roles, and what a rule may limit.
-- A role holds rules (their subject is "role:NAME"); devices and groups hold roles.

ALTER TABLE rule ADD COLUMN qos TEXT NOT NULL DEFAULT '012';
UPDATE rule SET qos = substr('012', 1, max_qos + 1);
ALTER TABLE rule DROP COLUMN max_qos;
ALTER TABLE rule ADD COLUMN max_payload_bytes INTEGER;
ALTER TABLE rule ADD COLUMN messages_per_second REAL;

CREATE TABLE role (
    name TEXT PRIMARY KEY
) WITHOUT ROWID;

CREATE TABLE role_holder (
    holder TEXT NOT NULL,
    role TEXT NOT NULL REFERENCES role (name) ON DELETE CASCADE,
    PRIMARY KEY (holder, role)
) WITHOUT ROWID;
CREATE INDEX role_holder_role ON role_holder (role);

CREATE TRIGGER role_holder_leaves_with_its_device AFTER DELETE ON device
BEGIN DELETE FROM role_holder WHERE holder = 'device:' || OLD.name; END;
