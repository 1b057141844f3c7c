-- Leaves that are embedded in several parts: each part has a vector of its own, a row in the table of a generation. The new columns have
-- constant defaults, so no row is rewritten; the primary keys of vectors are built anew.

ALTER TABLE {{tables.document_chunks}}
    ADD COLUMN parts smallint NOT NULL DEFAULT 1; -- leaves: in how many parts they are embedded

DO $parts$
DECLARE
    place  regclass;
    change text;
BEGIN
    FOR place IN
        SELECT c.oid FROM {{tables.embedding_generations}} g
        JOIN pg_catalog.pg_type t ON t.oid = pg_catalog.pg_typeof(NULL::{{tables.embedding_generations}})
        JOIN pg_catalog.pg_class home ON home.oid = t.typrelid
        JOIN pg_catalog.pg_class c ON c.relnamespace = home.relnamespace AND c.relname = 'embeddings_' || g.generation::text
    LOOP
        SELECT pg_catalog.format('ALTER TABLE %s ADD COLUMN part smallint NOT NULL DEFAULT 0, DROP CONSTRAINT %I, '
                   'ADD PRIMARY KEY (owner_id, ordinal, part)', place, k.conname)
        INTO STRICT change
        FROM pg_catalog.pg_constraint k WHERE k.conrelid = place AND k.contype = 'p';
        EXECUTE change;
    END LOOP;
END
$parts$;
