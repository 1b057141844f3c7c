DO $drop$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT pg_catalog.format('%I.%I', n.nspname, 'embeddings_' || g.generation::text)
        FROM {{tables.embedding_generations}} g
        JOIN pg_catalog.pg_class c ON c.oid = g.tableoid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LOOP
        EXECUTE 'DROP TABLE IF EXISTS ' || name;
    END LOOP;
END
$drop$;
DROP TABLE {{tables.embedding_indexes}};
DROP TABLE {{tables.embedding_queue}};
DROP TABLE {{tables.embedding_generations}};
DROP TABLE {{tables.text_postings}};
DROP TABLE {{tables.text_segments}};
DROP TABLE {{tables.document_chunks}};
DROP TABLE {{tables.documents}};
DROP TABLE {{tables.document_owners}};
DROP FUNCTION IF EXISTS {{tables.current_document_owner}}();
