-- The ledger: runs and what became of their files.

-- name: begin_run
-- A new run with its files. Of two at once, one fails on the key and is tried again.
WITH run AS (
    INSERT INTO {{tables.ingest_runs}} (owner_id, run_id, id_at_origin, sources, state, started_at, updated_at, created, updated, unchanged,
        failed, skipped, removed, embedded, fingerprint)
    SELECT $1, 1 + coalesce((SELECT max(run_id) FROM {{tables.ingest_runs}} WHERE owner_id = $1), 0), $2, $3::jsonb, $4, $5, now(),
           $6, $7, $8, $9, $10, $11, $12, $13
    RETURNING run_id
), files AS (
    INSERT INTO {{tables.ingest_files}} (owner_id, run_id, number, source, path, document_id, outcome, reason, message, chunks, source_hash)
    SELECT $1, run.run_id, v.number, v.source, v.path, nullif(v.document, '')::uuid, v.outcome, v.reason, v.message, v.chunks, v.source_hash
    FROM run
    CROSS JOIN unnest($14::bigint[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::integer[], $22::bytea[])
        AS v (number, source, path, document, outcome, reason, message, chunks, source_hash)
)
SELECT run_id FROM run;

-- name: put_run
-- More files of a run.
WITH run AS (
    UPDATE {{tables.ingest_runs}} SET id_at_origin = $2, sources = $3::jsonb, state = $4, started_at = $5, updated_at = now(), created = $6,
        updated = $7, unchanged = $8, failed = $9, skipped = $10, removed = $11, embedded = $12, fingerprint = $13
    WHERE owner_id = $1 AND run_id = $23
    RETURNING run_id
), files AS (
    INSERT INTO {{tables.ingest_files}} (owner_id, run_id, number, source, path, document_id, outcome, reason, message, chunks, source_hash)
    SELECT $1, run.run_id, v.number, v.source, v.path, nullif(v.document, '')::uuid, v.outcome, v.reason, v.message, v.chunks, v.source_hash
    FROM run
    CROSS JOIN unnest($14::bigint[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::integer[], $22::bytea[])
        AS v (number, source, path, document, outcome, reason, message, chunks, source_hash)
    ON CONFLICT (owner_id, run_id, number) DO NOTHING
)
SELECT run_id FROM run;

-- name: runs
SELECT run_id, id_at_origin, sources, state, started_at, updated_at, created, updated, unchanged, failed, skipped, removed, embedded, fingerprint
FROM {{tables.ingest_runs}}
WHERE owner_id = $1 AND ($2::bigint = 0 OR run_id = $2) AND ($3::bigint = 0 OR run_id < $3)
ORDER BY run_id DESC
LIMIT $4;

-- name: run_files
SELECT number, source, path, coalesce(document_id::text, ''), outcome, reason, message, chunks, source_hash
FROM {{tables.ingest_files}}
WHERE owner_id = $1 AND run_id = $2 AND number > $3 AND ($4::text[] IS NULL OR outcome = ANY ($4::text[]))
ORDER BY number
LIMIT $5;

-- name: source_files
SELECT number, source, path, document_id::text, outcome, reason, message, chunks, source_hash
FROM (
    SELECT DISTINCT ON (f.document_id) f.*
    FROM {{tables.ingest_files}} f
    JOIN {{tables.ingest_runs}} r ON r.owner_id = f.owner_id AND r.run_id = f.run_id
    WHERE f.owner_id = $1 AND r.owner_id = $1 AND r.id_at_origin = $2 AND f.document_id IS NOT NULL
    ORDER BY f.document_id, f.run_id DESC, f.number DESC
) newest
WHERE source = $3 AND outcome <> 'removed' AND document_id > $4::uuid
ORDER BY document_id
LIMIT $5;

-- name: failures
SELECT DISTINCT ON (source_hash) number, source, path, coalesce(document_id::text, ''), outcome, reason, message, chunks, source_hash
FROM {{tables.ingest_files}}
WHERE owner_id = $1 AND source_hash = ANY ($2::bytea[]) AND source_hash <> ''
ORDER BY source_hash, run_id, number;

-- name: forget_runs
DELETE FROM {{tables.ingest_runs}} WHERE owner_id = $1 AND ($2::bigint[] IS NULL OR run_id = ANY ($2::bigint[]));
