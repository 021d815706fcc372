-- By which shared subscription a delivery came: when its session is gone, it goes to another member of that share.

ALTER TABLE delivery ADD COLUMN share TEXT NOT NULL DEFAULT '';
