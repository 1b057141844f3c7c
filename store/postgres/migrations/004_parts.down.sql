-- Leaves that have vectors of several parts are embedded anew.
DO $parts$
DECLARE
    id     bigint;
    place  regclass;
    change text;
    gone   bigint;
BEGIN
    FOR id, place IN
        SELECT g.generation, c.oid FROM {{tables.embedding_generations}} g
        JOIN pg_catalog.pg_type t ON t.oid = pg_catalog.pg_typeof(NULL::{{tables.embedding_generations}})
        JOIN pg_catalog.pg_class home ON home.oid = t.typrelid
        JOIN pg_catalog.pg_class c ON c.relnamespace = home.relnamespace AND c.relname = 'embeddings_' || g.generation::text
    LOOP
        EXECUTE pg_catalog.format('DELETE FROM %s v USING %s p '
            'WHERE p.part > 0 AND v.owner_id = p.owner_id AND v.ordinal = p.ordinal', place, place);
        GET DIAGNOSTICS gone = ROW_COUNT;
        IF gone > 0 THEN
            UPDATE {{tables.embedding_generations}}
            SET backfilled = false, backfill_after = NULL, backfill_owner = '', backfill_ordinal = -1
            WHERE generation = id;
        END IF;
        SELECT pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I, DROP COLUMN part, ADD PRIMARY KEY (owner_id, ordinal)', place, k.conname)
        INTO STRICT change
        FROM pg_catalog.pg_constraint k WHERE k.conrelid = place AND k.contype = 'p';
        EXECUTE change;
    END LOOP;
END
$parts$;
ALTER TABLE {{tables.document_chunks}} DROP COLUMN parts;
