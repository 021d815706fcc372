-- A new write-ahead log begins with a new mark and names the one before it: so a log that belongs to another file, or
-- to another state of this one, is told from its own.
CREATE TABLE log_mark (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    mark BLOB NOT NULL,
    previous BLOB NOT NULL
);
INSERT INTO log_mark VALUES (1, randomblob(8), zeroblob(8));

-- CRC-32 of each row as it was written: SQLite itself does not see a flipped bit in a value. NULL: an older row.
ALTER TABLE session ADD COLUMN checksum INTEGER;
ALTER TABLE subscription ADD COLUMN checksum INTEGER;
ALTER TABLE message ADD COLUMN checksum INTEGER;
ALTER TABLE delivery ADD COLUMN checksum INTEGER;
ALTER TABLE retained ADD COLUMN checksum INTEGER;
