-- Better hashes (argon2id) of passwords that were shown and are kept in an older form: the gate makes them, the office
-- puts them into the registry.
CREATE TABLE rehash (
    credential INTEGER PRIMARY KEY,
    hash TEXT NOT NULL
);
