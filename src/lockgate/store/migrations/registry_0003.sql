-- Groups that can be blocked, gateways and metadata of devices.

CREATE TABLE device_group (
    name TEXT PRIMARY KEY,
    is_blocked INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL
) WITHOUT ROWID;
INSERT INTO device_group SELECT DISTINCT group_name, 0, unixepoch() FROM membership;

-- A gateway may speak for the devices that are bound to it.
CREATE TABLE binding (
    device TEXT NOT NULL REFERENCES device (name) ON DELETE CASCADE,
    gateway TEXT NOT NULL REFERENCES device (name) ON DELETE CASCADE,
    PRIMARY KEY (device, gateway)
) WITHOUT ROWID;
CREATE INDEX binding_gateway ON binding (gateway);

CREATE TABLE metadata (
    device TEXT NOT NULL REFERENCES device (name) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (device, key)
) WITHOUT ROWID;
