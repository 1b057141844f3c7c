-- Statements on generations of vectors, on their queue and on the vectors. What an owner has in a generation is a set with a number of
-- its own, found by owner and generation and never used again. Vectors and jobs are kept under that number and their ordinal, so
-- whoever has not looked the owner's set up reaches none of them.
--
-- These statements cross owners by nature: generation_waits, purge_sets, forget_generation, progress, progress_vectors, inputs,
-- backfill_begin, backfill_owner, due, claim; and extend where the jobs are of several owners.

-- name: generations
SELECT generation, profile, provider, model, dimensions, normalized, query_prefix, passage_prefix, max_tokens, price, state, backfilled,
       created_at, activated_at
FROM {{tables.embedding_generations}} WHERE state <> 'retired' ORDER BY generation;

-- name: dimensions
SELECT dimensions FROM {{tables.embedding_generations}} WHERE generation = ? AND state <> 'retired';

-- name: add_generation
INSERT INTO {{tables.embedding_generations}} (identity, profile, provider, model, dimensions, normalized, query_prefix,
    passage_prefix, max_tokens, price, backfilled, state, created_at, activated_at)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, false, v.state, ?11, CASE WHEN v.state = 'active' THEN ?11 END
FROM (
    SELECT CASE WHEN EXISTS (SELECT 1 FROM {{tables.embedding_generations}} WHERE state = 'active') THEN 'building' ELSE 'active' END AS state
) v;

-- name: generation_waits
SELECT g.state, g.backfilled,
       (SELECT count(*) FROM {{tables.embedding_queue}} q WHERE q.generation = g.generation AND NOT q.dead),
       (SELECT count(*) FROM {{tables.embedding_generations}} o WHERE o.state <> 'retired' AND o.generation <> g.generation)
FROM {{tables.embedding_generations}} g WHERE g.generation = ?;

-- name: stand_by
UPDATE {{tables.embedding_generations}} SET state = 'standby' WHERE state = 'active' AND generation <> ?;

-- name: activate
UPDATE {{tables.embedding_generations}} SET state = 'active', activated_at = ?2 WHERE generation = ?1 AND state <> 'active';

-- name: retire
UPDATE {{tables.embedding_generations}} SET state = 'retired' WHERE generation = ?;

-- name: purge_sets
SELECT set_id FROM {{tables.embedding_sets}} WHERE generation = ? ORDER BY set_id LIMIT ?;

-- name: purge_vectors
DELETE FROM {{tables.embeddings}} WHERE vector_id IN (
    SELECT vector_id FROM {{tables.embeddings}} WHERE vector_id >= ?1 AND vector_id < ?2 LIMIT ?3
);

-- name: purge_jobs
DELETE FROM {{tables.embedding_queue}} WHERE set_id = ?1 AND ordinal IN (
    SELECT ordinal FROM {{tables.embedding_queue}} WHERE set_id = ?1 LIMIT ?2
);

-- name: purge_pages
DELETE FROM {{tables.embedding_pages}} WHERE set_id = ?;

-- name: purge_set
DELETE FROM {{tables.embedding_sets}} WHERE set_id = ?;

-- name: forget_generation
DELETE FROM {{tables.embedding_generations}} WHERE generation = ?;

-- name: progress
SELECT coalesce(sum(leaves), 0), coalesce(sum(tokens), 0) FROM {{tables.documents}} WHERE NOT no_vectors;

-- name: progress_vectors
SELECT (SELECT coalesce(sum(leaves), 0) FROM {{tables.embedding_sets}} WHERE generation = ?1),
       (SELECT coalesce(sum(vectors), 0) FROM {{tables.embedding_sets}} WHERE generation = ?1),
       (SELECT coalesce(sum(length(p.page)), 0) FROM {{tables.embedding_sets}} s JOIN {{tables.embedding_pages}} p ON p.set_id = s.set_id
        WHERE s.generation = ?1),
       count(*) FILTER (WHERE NOT dead), count(*) FILTER (WHERE dead)
FROM {{tables.embedding_queue}} WHERE generation = ?1;

-- name: last_chunk
SELECT coalesce(max(rowid), 0) FROM {{tables.document_chunks}};

-- name: inputs
-- The first leaf that is to be embedded, from a row on.
SELECT c.rowid, c.owner_id, coalesce(nullif(d.document_name, ''), d.title), c.heading, c.context, c.content, c.parts
FROM {{tables.document_chunks}} c
JOIN {{tables.documents}} d ON d.owner_id = c.owner_id AND d.document_id = c.document_id
WHERE c.rowid >= ? AND c.level = 0 AND NOT d.no_vectors
ORDER BY c.rowid LIMIT 1;

-- name: backfill_begin
SELECT backfilled, backfill_owner, backfill_ordinal, dimensions FROM {{tables.embedding_generations}} WHERE generation = ? AND state <> 'retired';

-- name: backfill_owner
-- The next owner, from one on or, if ?2, after it.
SELECT owner_id FROM {{tables.document_owners}} WHERE owner_id >= ?1 AND (owner_id > ?1 OR NOT ?2) ORDER BY owner_id LIMIT 1;

-- name: backfill_page
SELECT c.ordinal, d.no_vectors
FROM {{tables.document_chunks}} c
JOIN {{tables.documents}} d ON d.owner_id = c.owner_id AND d.document_id = c.document_id
WHERE c.owner_id = ? AND c.ordinal > ? ORDER BY c.ordinal LIMIT ?;

-- name: backfill_reached
UPDATE {{tables.embedding_generations}} SET backfill_owner = ?2, backfill_ordinal = ?3, backfilled = ?4 WHERE generation = ?1;

-- name: set
SELECT set_id, version, since, leaves, vectors, removed FROM {{tables.embedding_sets}} WHERE owner_id = ? AND generation = ?;

-- name: make_set
INSERT INTO {{tables.embedding_sets}} (owner_id, generation) VALUES (?, ?) RETURNING set_id;

-- name: change_set
UPDATE {{tables.embedding_sets}} SET version = ?2, since = ?3, leaves = ?4, vectors = ?5, removed = ?6 WHERE set_id = ?1;

-- name: pages
SELECT page FROM {{tables.embedding_pages}} WHERE set_id = ? AND version > ? ORDER BY version, page_id;

-- name: pages_newest_first
SELECT page FROM {{tables.embedding_pages}} WHERE set_id = ? ORDER BY version DESC, page_id DESC;

-- name: page_sizes
SELECT page_id, size FROM {{tables.embedding_pages}} WHERE set_id = ? ORDER BY version DESC, page_id DESC LIMIT ?;

-- name: page
SELECT page FROM {{tables.embedding_pages}} WHERE page_id = ? AND set_id = ?;

-- name: put_page
INSERT INTO {{tables.embedding_pages}} (set_id, version, size, page) VALUES (?, ?, ?, ?);

-- name: drop_page
DELETE FROM {{tables.embedding_pages}} WHERE page_id = ? AND set_id = ?;

-- name: put_vector
INSERT INTO {{tables.embeddings}} (vector_id, input_hash, embedding) VALUES (?, ?, ?) ON CONFLICT (vector_id) DO NOTHING;

-- name: drop_vector
DELETE FROM {{tables.embeddings}} WHERE vector_id = ? RETURNING length(embedding);

-- name: vector
SELECT embedding, input_hash FROM {{tables.embeddings}} WHERE vector_id = ?;

-- name: known
SELECT embedding FROM {{tables.embeddings}} WHERE vector_id >> 32 = ? AND input_hash = ? LIMIT 1;

-- name: put_job
INSERT INTO {{tables.embedding_queue}} (set_id, ordinal, generation, due_at, lease_token, queued_at)
VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (set_id, ordinal) DO NOTHING;

-- name: drop_job
DELETE FROM {{tables.embedding_queue}} WHERE set_id = ? AND ordinal = ?;

-- name: take_job
DELETE FROM {{tables.embedding_queue}} WHERE set_id = ? AND ordinal = ? AND lease_token = ?;

-- name: due
-- Whether a job is due. A time that is further ahead than ?3 was not written by a clock that can be believed.
SELECT EXISTS (SELECT 1 FROM {{tables.embedding_queue}} WHERE generation = ?1 AND NOT dead AND due_at <= ?2)
    OR EXISTS (SELECT 1 FROM {{tables.embedding_queue}} WHERE generation = ?1 AND NOT dead AND due_at > ?3);

-- name: claim
SELECT s.owner_id, q.set_id, q.ordinal, q.attempts
FROM (
    SELECT set_id, ordinal, attempts, due_at FROM (
        SELECT set_id, ordinal, attempts, due_at FROM {{tables.embedding_queue}}
        WHERE generation = ?1 AND NOT dead AND due_at <= ?2 ORDER BY due_at LIMIT ?4
    )
    UNION ALL
    SELECT set_id, ordinal, attempts, due_at FROM (
        SELECT set_id, ordinal, attempts, due_at FROM {{tables.embedding_queue}}
        WHERE generation = ?1 AND NOT dead AND due_at > ?3 ORDER BY due_at LIMIT ?4
    )
    LIMIT ?4
) q
JOIN {{tables.embedding_sets}} s ON s.set_id = q.set_id
ORDER BY q.due_at, s.owner_id, q.ordinal;

-- name: lease
UPDATE {{tables.embedding_queue}} SET lease_token = ?3, due_at = ?4 WHERE set_id = ?1 AND ordinal = ?2;

-- name: job_input
SELECT coalesce(nullif(d.document_name, ''), d.title), c.heading, c.context, c.content, c.parts
FROM {{tables.document_chunks}} c
JOIN {{tables.documents}} d ON d.owner_id = c.owner_id AND d.document_id = c.document_id
WHERE c.owner_id = ? AND c.ordinal = ?;

-- name: extend
UPDATE {{tables.embedding_queue}} SET due_at = ?3
WHERE lease_token = ?1 AND generation = ?2 AND (?4 = '' OR set_id = (
    SELECT set_id FROM {{tables.embedding_sets}} WHERE owner_id = ?4 AND generation = ?2
));

-- name: fail
UPDATE {{tables.embedding_queue}} SET
    lease_token = NULL, attempts = attempts + ?4, dead = ?5, due_at = ?6, reason = CASE WHEN ?7 = '' THEN reason ELSE ?7 END
WHERE set_id = ?1 AND ordinal = ?2 AND lease_token = ?3;

-- name: queue
SELECT count(*) FILTER (WHERE NOT q.dead AND (q.lease_token IS NULL OR q.due_at <= ?2)),
       count(*) FILTER (WHERE NOT q.dead AND q.lease_token IS NOT NULL AND q.due_at > ?2),
       count(*) FILTER (WHERE q.dead),
       min(q.queued_at) FILTER (WHERE NOT q.dead)
FROM {{tables.embedding_sets}} s
JOIN {{tables.embedding_generations}} g ON g.generation = s.generation AND g.state <> 'retired'
JOIN {{tables.embedding_queue}} q ON q.set_id = s.set_id
WHERE s.owner_id = ?1;

-- name: queue_failures
SELECT q.generation, c.document_id, c.chunk_id, q.attempts, q.reason, q.dead, q.due_at
FROM (
    SELECT s.generation, q.ordinal, q.attempts, q.reason, q.dead, q.due_at
    FROM {{tables.embedding_sets}} s
    JOIN {{tables.embedding_generations}} g ON g.generation = s.generation AND g.state <> 'retired'
    JOIN {{tables.embedding_queue}} q ON q.set_id = s.set_id
    WHERE s.owner_id = ?1 AND (q.dead OR q.reason <> '')
    ORDER BY q.dead DESC, s.generation, q.ordinal LIMIT ?2
) q
JOIN {{tables.document_chunks}} c ON c.owner_id = ?1 AND c.ordinal = q.ordinal
ORDER BY q.dead DESC, q.generation, q.ordinal;

-- name: retry_queue
UPDATE {{tables.embedding_queue}} SET dead = false, attempts = 0, due_at = ?2, lease_token = NULL
WHERE dead AND set_id IN (SELECT set_id FROM {{tables.embedding_sets}} WHERE owner_id = ?1);
