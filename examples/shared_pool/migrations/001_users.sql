CREATE TABLE {{tables.users}} (
    name       text        PRIMARY KEY,
    workspace  text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
