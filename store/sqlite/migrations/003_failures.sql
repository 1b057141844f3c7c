-- The ledger knows which sources will fail again, so that they need not be read to find out.

ALTER TABLE {{tables.ingest_files}} ADD COLUMN source_hash BLOB NOT NULL DEFAULT x''; -- of its bytes and of how they are read; empty: it may do better the next time

CREATE INDEX ingest_files_failures ON {{tables.ingest_files}} (owner_id, source_hash) WHERE source_hash <> x'';
