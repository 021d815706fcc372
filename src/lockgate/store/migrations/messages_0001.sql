-- What sessions and topics hold between connections, and what the gate has to tell. Written by the gate alone.
-- Rows of a session go by its number; the gate numbers sessions, messages and deliveries itself.

CREATE TABLE session (
    id INTEGER PRIMARY KEY,
    client_id TEXT NOT NULL UNIQUE,
    record BLOB NOT NULL
);

CREATE TABLE subscription (
    session INTEGER NOT NULL,
    filter TEXT NOT NULL,
    options BLOB NOT NULL,
    PRIMARY KEY (session, filter)
) WITHOUT ROWID;

-- A message that waits for many sessions is here once.
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    qos INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    properties BLOB,
    expires_at REAL,
    publisher TEXT NOT NULL
);

CREATE TABLE delivery (
    sequence INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    tag INTEGER NOT NULL,
    message INTEGER NOT NULL,
    qos INTEGER NOT NULL,
    is_retained INTEGER NOT NULL,
    identifiers TEXT NOT NULL,
    is_released INTEGER NOT NULL DEFAULT 0
);

-- QoS 2 tags received from clients and not yet released: session * 65536 + tag.
CREATE TABLE incoming (
    key INTEGER PRIMARY KEY
);

CREATE TABLE retained (
    topic TEXT PRIMARY KEY,
    payload BLOB NOT NULL,
    qos INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    properties BLOB,
    expires_at REAL,
    publisher TEXT NOT NULL
);

CREATE TABLE refusal (
    reference TEXT PRIMARY KEY,
    at REAL NOT NULL,
    device TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX refusal_at ON refusal (at, reference);
CREATE INDEX refusal_device ON refusal (device, at);

CREATE TABLE seen (
    device TEXT NOT NULL,
    kind TEXT NOT NULL,
    at REAL NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (device, kind)
) WITHOUT ROWID;

CREATE TABLE security_event (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    event TEXT NOT NULL,
    subject TEXT NOT NULL,
    details TEXT NOT NULL
);
CREATE TRIGGER security_event_is_never_updated BEFORE UPDATE ON security_event
BEGIN SELECT RAISE(ABORT, 'security events are append-only'); END;
CREATE TRIGGER security_event_is_never_deleted BEFORE DELETE ON security_event
BEGIN SELECT RAISE(ABORT, 'security events are append-only'); END;
CREATE TRIGGER security_event_is_never_replaced BEFORE INSERT ON security_event
WHEN EXISTS (SELECT 1 FROM security_event WHERE sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'security events are append-only'); END;
