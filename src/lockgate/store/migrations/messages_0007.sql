-- A message with one receiver stands in its delivery: `body` holds it packed, all but who published it, and `message` is
-- 0. Where they are NULL, `message` says which it is.
ALTER TABLE delivery ADD COLUMN publisher TEXT;
ALTER TABLE delivery ADD COLUMN body BLOB;
CREATE INDEX delivery_publisher ON delivery (publisher) WHERE publisher IS NOT NULL;
