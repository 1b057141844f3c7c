-- The ledger: runs and what became of their files.

-- name: begin_run
INSERT INTO {{tables.ingest_runs}} (owner_id, run_id, id_at_origin, sources, state, started_at, updated_at, created, updated, unchanged,
    failed, skipped, removed, embedded, fingerprint)
VALUES (?1, 1 + coalesce((SELECT max(run_id) FROM {{tables.ingest_runs}} WHERE owner_id = ?1), 0), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,
    ?12, ?13, ?14)
RETURNING run_id;

-- name: put_run
UPDATE {{tables.ingest_runs}} SET id_at_origin = ?2, sources = ?3, state = ?4, started_at = ?5, updated_at = ?6, created = ?7, updated = ?8,
    unchanged = ?9, failed = ?10, skipped = ?11, removed = ?12, embedded = ?13, fingerprint = ?14
WHERE owner_id = ?1 AND run_id = ?15
RETURNING run_id;

-- name: put_run_file
INSERT INTO {{tables.ingest_files}} (owner_id, run_id, number, source, path, document_id, outcome, reason, message, chunks, source_hash)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
ON CONFLICT (owner_id, run_id, number) DO NOTHING;

-- name: runs
SELECT run_id, id_at_origin, sources, state, started_at, updated_at, created, updated, unchanged, failed, skipped, removed, embedded, fingerprint
FROM {{tables.ingest_runs}}
WHERE owner_id = ?1 AND (?2 = 0 OR run_id = ?2) AND (?3 = 0 OR run_id < ?3)
ORDER BY run_id DESC
LIMIT ?4;

-- name: run_files
-- ?4 is a JSON list of outcomes, empty for all.
SELECT number, source, path, document_id, outcome, reason, message, chunks, source_hash
FROM {{tables.ingest_files}}
WHERE owner_id = ?1 AND run_id = ?2 AND number > ?3 AND (?4 = '' OR outcome IN (SELECT value FROM json_each(?4)))
ORDER BY number
LIMIT ?5;

-- name: source_files
-- Of each document the newest file: the other columns are those of the row that has the maximum.
SELECT number, source, path, document_id, outcome, reason, message, chunks, source_hash
FROM (
    SELECT f.number, f.source, f.path, f.document_id, f.outcome, f.reason, f.message, f.chunks, f.source_hash, max(f.run_id << 32 | f.number)
    FROM {{tables.ingest_files}} f
    CROSS JOIN {{tables.ingest_runs}} r ON r.owner_id = f.owner_id AND r.run_id = f.run_id
    WHERE f.owner_id = ?1 AND r.id_at_origin = ?2 AND f.document_id IS NOT NULL
    GROUP BY f.document_id
) newest
WHERE source = ?3 AND outcome <> 'removed' AND document_id > ?4
ORDER BY document_id
LIMIT ?5;

-- name: failures
SELECT number, source, path, document_id, outcome, reason, message, chunks, source_hash
FROM {{tables.ingest_files}} INDEXED BY ingest_files_failures -- SQLite would look through all files of the owner
WHERE owner_id = ?1 AND source_hash = ?2 AND source_hash <> x''
LIMIT 1;

-- name: forget_run
DELETE FROM {{tables.ingest_runs}} WHERE owner_id = ?1 AND run_id = ?2;

-- name: forget_runs
DELETE FROM {{tables.ingest_runs}} WHERE owner_id = ?1;
