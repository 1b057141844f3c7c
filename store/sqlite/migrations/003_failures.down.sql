DROP INDEX {{tables.ingest_files_failures}};
ALTER TABLE {{tables.ingest_files}} DROP COLUMN source_hash;
