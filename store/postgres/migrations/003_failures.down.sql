ALTER TABLE {{tables.ingest_files}} DROP COLUMN source_hash;
