-- Keys are kept as hashes: who reads the table cannot use them.
CREATE TABLE {{tables.api_keys}} (
    key_hash   bytea       PRIMARY KEY,
    owner_id   text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
