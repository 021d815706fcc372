-- Who published a retained message stands in its row. Here: whose stay although their publisher is gone, because somebody
-- chose so; and what became of the changes that shut somebody out, as the gate counted it.
CREATE TABLE kept_publisher (
    device TEXT PRIMARY KEY
) WITHOUT ROWID;

CREATE TABLE outcome (
    sequence INTEGER NOT NULL,
    device TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (sequence, device)
) WITHOUT ROWID;
CREATE INDEX retained_publisher ON retained (publisher);
CREATE INDEX message_publisher ON message (publisher);
