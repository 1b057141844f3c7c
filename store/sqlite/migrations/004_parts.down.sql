-- Vectors of several parts cannot be kept: owners that have some are embedded anew.
DELETE FROM {{tables.embeddings}} WHERE vector_id >> 32 IN (SELECT set_id FROM {{tables.embedding_sets}} WHERE leaves <> vectors);
DELETE FROM {{tables.embedding_pages}} WHERE set_id IN (SELECT set_id FROM {{tables.embedding_sets}} WHERE leaves <> vectors);
UPDATE {{tables.embedding_generations}} SET backfilled = 0, backfill_owner = '', backfill_ordinal = -1
WHERE generation IN (SELECT generation FROM {{tables.embedding_sets}} WHERE leaves <> vectors);
UPDATE {{tables.embedding_sets}} SET version = version + 1, since = version + 1, vectors = 0, removed = 0 WHERE leaves <> vectors;
ALTER TABLE {{tables.embedding_sets}} DROP COLUMN leaves;
ALTER TABLE {{tables.document_chunks}} DROP COLUMN parts;
