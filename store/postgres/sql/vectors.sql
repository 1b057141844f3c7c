-- Statements on generations of vectors and their queue. {{tables.embeddings}} stands for the table of one generation, and the
-- markers for what depends on it: its number, the type of its vectors, the operator of their distance, the function that turns
-- one into bytes. All but the number are the extension's, which may live in any schema.
--
-- These statements cross owners by nature: generation_waits, purge_jobs, forget_generation, progress, progress_vectors, indexes,
-- inputs, backfill_owners, backfill_owner, backfill_page, claim, drop_strays; and extend, known, complete and fail where their jobs are
-- of several owners. Every row still carries its owner.
--
-- The vectors of an owner that the statistics do not know yet are thought to be one row, which any index that begins with the
-- owner would find as well. So rows are looked up by a range with an order, which only the right index has.
--
-- Whoever waits for rows of the queue locks them in the order of their keys; all others skip what is locked. So nobody waits in
-- a circle.

-- name: generations
SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(g) || pg_catalog.jsonb_build_object('extension', (
    SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'vector'
)) ORDER BY g.generation), '[]')
FROM {{tables.embedding_generations}} g WHERE g.state <> 'retired';

-- name: lock_generations
LOCK TABLE {{tables.embedding_generations}} IN SHARE ROW EXCLUSIVE MODE;

-- name: add_generation
INSERT INTO {{tables.embedding_generations}} (identity, profile, provider, model, dimensions, normalized, query_prefix,
    passage_prefix, max_tokens, price, backfilled, state, activated_at)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, false, v.state, CASE WHEN v.state = 'active' THEN now() END
FROM (SELECT CASE WHEN EXISTS (SELECT FROM {{tables.embedding_generations}} WHERE state = 'active') THEN 'building' ELSE 'active' END) AS v (state)
RETURNING generation;

-- name: make_generation
CREATE TABLE {{tables.embeddings}} (
    owner_id   text COLLATE "C" NOT NULL,
    ordinal    bigint   NOT NULL,
    part       smallint NOT NULL DEFAULT 0, -- of a leaf that is embedded in parts
    input_hash bytea    NOT NULL,           -- of the whole leaf's input
    embedding  /*vector*/(/*dimensions*/) NOT NULL,
    PRIMARY KEY (owner_id, ordinal, part)
) WITH (parallel_workers = 0);

-- name: store_generation
-- Statistics of vectors tell the planner nothing, and are expensive to make.
ALTER TABLE {{tables.embeddings}} ALTER COLUMN embedding SET STORAGE /*storage*/, ALTER COLUMN embedding SET STATISTICS 0;

-- name: index_generation
CREATE INDEX ON {{tables.embeddings}} (owner_id, input_hash);

-- name: table_rights
-- What makes the table of a generation belong to whom the others belong to, and usable by those who may use the queue.
SELECT pg_catalog.format('ALTER TABLE %s OWNER TO %I', $1::regclass, r.rolname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
WHERE c.oid = $2::regclass AND r.rolname <> current_user
UNION ALL
SELECT pg_catalog.format('GRANT %s ON TABLE %s TO %s', a.privilege_type, $1::regclass,
              CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END)
FROM pg_catalog.pg_class c
CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE c.oid = $2::regclass AND a.grantee <> c.relowner AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE');

-- name: lock_generation_rows
SELECT state FROM {{tables.embedding_generations}} WHERE state <> 'retired' ORDER BY generation FOR UPDATE;

-- name: generation_waits
SELECT g.state, g.backfilled, (SELECT count(*) FROM {{tables.embedding_queue}} q WHERE q.generation = g.generation AND NOT q.dead),
       (SELECT count(*) FROM {{tables.embedding_generations}} o WHERE o.state <> 'retired' AND o.generation <> g.generation)
FROM {{tables.embedding_generations}} g WHERE g.generation = $1;

-- name: stand_by
UPDATE {{tables.embedding_generations}} SET state = 'standby' WHERE state = 'active' AND generation <> $1;

-- name: activate
UPDATE {{tables.embedding_generations}} SET state = 'active', activated_at = now() WHERE generation = $1 AND state <> 'active';

-- name: retire
-- Whoever is building an index notices that it is not wanted any more.
WITH indexes AS (
    DELETE FROM {{tables.embedding_indexes}} WHERE generation = $1
)
UPDATE {{tables.embedding_generations}} SET state = 'retired' WHERE generation = $1;

-- name: purge_jobs
DELETE FROM {{tables.embedding_queue}} q USING (
    SELECT owner_id, ordinal FROM {{tables.embedding_queue}} WHERE generation = $1 LIMIT $2 FOR UPDATE SKIP LOCKED
) old
WHERE q.owner_id = old.owner_id AND q.generation = $1 AND q.ordinal = old.ordinal;

-- name: drop_generation
DROP TABLE IF EXISTS {{tables.embeddings}};

-- name: forget_generation
WITH jobs AS (
    DELETE FROM {{tables.embedding_queue}} WHERE generation = $1
), indexes AS (
    DELETE FROM {{tables.embedding_indexes}} WHERE generation = $1
)
DELETE FROM {{tables.embedding_generations}} WHERE generation = $1;

-- name: progress
SELECT (SELECT coalesce(sum(leaves), 0)::bigint FROM {{tables.documents}} WHERE NOT no_vectors),
       (SELECT coalesce(sum(tokens), 0)::bigint FROM {{tables.documents}} WHERE NOT no_vectors);

-- name: progress_vectors
SELECT (SELECT count(*) FROM {{tables.embeddings}} WHERE part = 0), pg_catalog.pg_total_relation_size($2::regclass),
       count(*) FILTER (WHERE NOT dead), count(*) FILTER (WHERE dead)
FROM {{tables.embedding_queue}} WHERE generation = $1;

-- name: indexes
SELECT i.owner_id, i.index_name, i.ready AND coalesce(x.indisvalid, false), i.vectors
FROM {{tables.embedding_indexes}} i
LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = to_regclass(pg_catalog.format('%I.%I', $2::text, i.index_name))
WHERE i.generation = $1
ORDER BY i.vectors DESC, i.owner_id;

-- name: inputs
-- A sample of whole pages of the table, so many that they are likely to hold enough, and leaves of these at random.
SELECT c.owner_id, coalesce(nullif(d.document_name, ''), d.title), c.heading, c.context, c.content, c.parts
FROM (
    SELECT owner_id, document_id, heading, context, content, parts
    FROM {{tables.document_chunks}} TABLESAMPLE SYSTEM ($1)
    WHERE level = 0
    ORDER BY random() LIMIT $2
) c
JOIN {{tables.documents}} d ON d.owner_id = c.owner_id AND d.document_id = c.document_id
WHERE NOT d.no_vectors;

-- name: backfill_begin
-- An edit that began before the generation was made may not know of it. Such edits hold a lock on the owners' table until they
-- end: the transactions that hold one when the generation is first looked at must have ended before owners are walked.
SELECT g.backfilled, g.backfill_after IS NULL, g.backfill_owner, g.backfill_ordinal, (
    SELECT count(*) FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'relation' AND l.relation = $2::regclass AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
      AND l.mode = 'RowExclusiveLock' AND (g.backfill_after IS NULL OR l.virtualtransaction = ANY (g.backfill_after))
)
FROM {{tables.embedding_generations}} g
WHERE g.generation = $1 AND g.state <> 'retired'
FOR UPDATE SKIP LOCKED;

-- name: backfill_wait
UPDATE {{tables.embedding_generations}} SET backfill_after = (
    SELECT coalesce(pg_catalog.array_agg(l.virtualtransaction), '{}') FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'relation' AND l.relation = $2::regclass AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
      AND l.mode = 'RowExclusiveLock'
)
WHERE generation = $1;

-- name: backfill_owners
-- The owners from $1 on, or after it if $2, and whether their write lock could be had. One that could not is being edited.
WITH next AS MATERIALIZED (
    SELECT owner_id, leaves FROM {{tables.document_owners}}
    WHERE owner_id >= $1 AND (owner_id > $1 OR NOT $2) ORDER BY owner_id LIMIT $3
), held AS MATERIALIZED (
    SELECT owner_id FROM {{tables.document_owners}} WHERE owner_id IN (SELECT owner_id FROM next) FOR UPDATE SKIP LOCKED
)
SELECT n.owner_id, n.leaves, h.owner_id IS NOT NULL FROM next n LEFT JOIN held h USING (owner_id) ORDER BY n.owner_id;

-- name: backfill_owner
SELECT owner_id FROM {{tables.document_owners}} WHERE owner_id = $1 FOR UPDATE;

-- name: backfill_page
-- Queues leaves of owners whose write lock is held, beginning after an ordinal of each, and returns how many leaves were looked
-- at and which was the last.
WITH page AS MATERIALIZED (
    SELECT o.owner, o.n, c.ordinal, c.document_id
    FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS o (owner, after, n)
    CROSS JOIN LATERAL (
        SELECT ordinal, document_id FROM {{tables.document_chunks}}
        WHERE owner_id = o.owner AND ordinal > o.after ORDER BY ordinal LIMIT $3
    ) c
    ORDER BY o.n, c.ordinal LIMIT $3
), queued AS (
    INSERT INTO {{tables.embedding_queue}} (owner_id, generation, ordinal, due_at, queued_at)
    SELECT p.owner, /*generation*/, p.ordinal, now(), now()
    FROM page p
    CROSS JOIN LATERAL (
        SELECT no_vectors FROM {{tables.documents}} WHERE owner_id = p.owner AND document_id = p.document_id OFFSET 0
    ) d
    LEFT JOIN LATERAL (
        SELECT ordinal FROM {{tables.embeddings}}
        WHERE owner_id = p.owner AND ordinal >= p.ordinal AND ordinal <= p.ordinal ORDER BY ordinal LIMIT 1
    ) e ON true
    WHERE NOT d.no_vectors AND e.ordinal IS NULL
    ON CONFLICT (owner_id, generation, ordinal) DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM queued), (SELECT count(*) FROM page),
       coalesce((SELECT owner FROM page ORDER BY n DESC LIMIT 1), ''),
       coalesce((SELECT ordinal FROM page ORDER BY n DESC, ordinal DESC LIMIT 1), -1);

-- name: backfill_reached
UPDATE {{tables.embedding_generations}} SET backfill_owner = $2, backfill_ordinal = $3, backfilled = $4 WHERE generation = $1;

-- name: notify
SELECT pg_notify($1, '');

-- name: claim
WITH due AS MATERIALIZED (
    SELECT owner_id, ordinal, due_at FROM {{tables.embedding_queue}}
    WHERE generation = /*generation*/ AND NOT dead AND due_at <= now()
    ORDER BY due_at LIMIT $3
    FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE {{tables.embedding_queue}} q
    SET lease_token = $1::uuid, due_at = clock_timestamp() + $2::interval
    FROM due
    WHERE q.owner_id = due.owner_id AND q.generation = /*generation*/ AND q.ordinal = due.ordinal
    RETURNING q.owner_id, q.ordinal, q.attempts, due.due_at
)
SELECT t.owner_id, t.ordinal, t.attempts, c.ordinal IS NOT NULL, coalesce(nullif(d.document_name, ''), d.title, ''),
       coalesce(c.heading, ''), coalesce(c.context, ''), coalesce(c.content, ''), coalesce(c.parts, 1)
FROM taken t
LEFT JOIN LATERAL (
    SELECT ordinal, document_id, heading, context, content, parts FROM {{tables.document_chunks}}
    WHERE owner_id = t.owner_id AND ordinal = t.ordinal OFFSET 0
) c ON true
LEFT JOIN LATERAL (
    SELECT document_name, title FROM {{tables.documents}} WHERE owner_id = t.owner_id AND document_id = c.document_id OFFSET 0
) d ON true
ORDER BY t.due_at, t.owner_id, t.ordinal;

-- name: drop_strays
DELETE FROM {{tables.embedding_queue}} q
USING unnest($2::text[], $3::bigint[]) AS v (owner, ordinal)
WHERE q.owner_id = v.owner AND q.generation = /*generation*/ AND q.ordinal = v.ordinal AND q.lease_token = $1::uuid;

-- name: extend
WITH held AS MATERIALIZED (
    SELECT owner_id, ordinal FROM {{tables.embedding_queue}}
    WHERE lease_token = $1::uuid AND generation = /*generation*/ AND ($3::text = '' OR owner_id = $3::text)
    FOR UPDATE SKIP LOCKED
), extended AS (
    UPDATE {{tables.embedding_queue}} q SET due_at = clock_timestamp() + $2::interval
    FROM held h
    WHERE q.owner_id = h.owner_id AND q.generation = /*generation*/ AND q.ordinal = h.ordinal
)
SELECT count(*) FROM {{tables.embedding_queue}}
WHERE lease_token = $1::uuid AND generation = /*generation*/ AND ($3::text = '' OR owner_id = $3::text);

-- name: known
SELECT w.owner, w.hash, e.vectors
FROM unnest($1::text[], $2::bytea[]) AS w (owner, hash)
CROSS JOIN LATERAL (
    SELECT ordinal FROM {{tables.embeddings}}
    WHERE owner_id = w.owner AND input_hash >= w.hash AND input_hash <= w.hash ORDER BY input_hash LIMIT 1
) k
CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(/*send*/(embedding) ORDER BY part) AS vectors FROM (
        SELECT part, embedding FROM {{tables.embeddings}}
        WHERE owner_id = w.owner AND ordinal >= k.ordinal AND ordinal <= k.ordinal ORDER BY ordinal LIMIT /*parts*/
    ) p
) e;

-- name: embedded
SELECT w.ordinal, e.hash, e.vectors
FROM pg_catalog.unnest($2::bigint[]) AS w (ordinal)
CROSS JOIN LATERAL (
    SELECT (pg_catalog.array_agg(input_hash))[1] AS hash, pg_catalog.array_agg(/*send*/(embedding) ORDER BY part) AS vectors FROM (
        SELECT part, input_hash, embedding FROM {{tables.embeddings}}
        WHERE owner_id = $1 AND ordinal >= w.ordinal AND ordinal <= w.ordinal ORDER BY ordinal LIMIT /*parts*/
    ) p
) e
WHERE e.vectors IS NOT NULL;

-- name: complete
-- Takes away the rows of the queue that the token still holds and that nobody has locked, and stores their vectors in the same
-- statement. Those that somebody has locked are returned as busy.
WITH item AS MATERIALIZED (
    SELECT * FROM unnest($2::text[], $3::bigint[], $4::bytea[], $5::integer[], $6::integer[]) WITH ORDINALITY
        AS v (owner, ordinal, hash, first, parts, n)
), held AS MATERIALIZED (
    SELECT i.*
    FROM item i
    CROSS JOIN LATERAL (
        SELECT 1 FROM {{tables.embedding_queue}}
        WHERE owner_id = i.owner AND generation = /*generation*/ AND ordinal = i.ordinal AND lease_token = $1::uuid
        FOR UPDATE SKIP LOCKED
    ) q
), done AS (
    DELETE FROM {{tables.embedding_queue}} q USING held h
    WHERE q.owner_id = h.owner AND q.generation = /*generation*/ AND q.ordinal = h.ordinal
), stored AS (
    INSERT INTO {{tables.embeddings}} (owner_id, ordinal, part, input_hash, embedding)
    SELECT owner, ordinal, part, hash,
           ($7::real[])[(first + part) * /*dimensions*/ + 1 : (first + part + 1) * /*dimensions*/]::/*vector*/
    FROM held CROSS JOIN LATERAL pg_catalog.generate_series(0, parts - 1) AS p (part)
    ON CONFLICT (owner_id, ordinal, part) DO NOTHING
)
SELECT i.n, h.n IS NOT NULL
FROM item i LEFT JOIN held h ON h.n = i.n
WHERE h.n IS NOT NULL OR EXISTS (
    SELECT FROM {{tables.embedding_queue}} q
    WHERE q.owner_id = i.owner AND q.generation = /*generation*/ AND q.ordinal = i.ordinal AND q.lease_token = $1::uuid
);

-- name: fail
WITH item AS MATERIALIZED (
    SELECT * FROM unnest($2::text[], $3::bigint[], $4::text[], $5::boolean[], $6::interval[], $7::boolean[])
        AS v (owner, ordinal, reason, tried, delay, dead)
), held AS MATERIALIZED (
    SELECT q.owner_id, q.ordinal
    FROM item i
    JOIN {{tables.embedding_queue}} q ON q.owner_id = i.owner AND q.generation = /*generation*/ AND q.ordinal = i.ordinal
    WHERE q.lease_token = $1::uuid
    FOR UPDATE OF q SKIP LOCKED -- a writer is about to drop them; if it is not, they are due when the lease ends
)
UPDATE {{tables.embedding_queue}} q SET
    lease_token = NULL, attempts = q.attempts + i.tried::integer, dead = i.dead,
    due_at = clock_timestamp() + i.delay,
    reason = CASE WHEN i.reason = '' THEN q.reason ELSE i.reason END
FROM item i JOIN held h ON h.owner_id = i.owner AND h.ordinal = i.ordinal
WHERE q.owner_id = i.owner AND q.generation = /*generation*/ AND q.ordinal = i.ordinal;

-- name: queue
SELECT count(*) FILTER (WHERE NOT dead AND (lease_token IS NULL OR due_at <= now())),
       count(*) FILTER (WHERE NOT dead AND lease_token IS NOT NULL AND due_at > now()),
       count(*) FILTER (WHERE dead),
       min(queued_at) FILTER (WHERE NOT dead)
FROM {{tables.embedding_queue}} q
WHERE owner_id = $1 AND EXISTS (
    SELECT FROM {{tables.embedding_generations}} g WHERE g.generation = q.generation AND g.state <> 'retired'
);

-- name: queue_failures
SELECT q.generation, c.document_id::text, c.chunk_id::text, q.attempts, q.reason, q.dead, q.due_at
FROM (
    SELECT * FROM {{tables.embedding_queue}} q
    WHERE owner_id = $1 AND (dead OR reason <> '') AND EXISTS (
        SELECT FROM {{tables.embedding_generations}} g WHERE g.generation = q.generation AND g.state <> 'retired'
    )
    ORDER BY dead DESC, generation, ordinal LIMIT $2
) q
CROSS JOIN LATERAL (
    SELECT document_id, chunk_id FROM {{tables.document_chunks}} WHERE owner_id = $1 AND ordinal = q.ordinal OFFSET 0
) c
ORDER BY q.dead DESC, q.generation, q.ordinal;

-- name: retry_queue
WITH held AS MATERIALIZED (
    SELECT generation, ordinal FROM {{tables.embedding_queue}}
    WHERE owner_id = $1 AND dead
    ORDER BY generation, ordinal
    FOR UPDATE
)
UPDATE {{tables.embedding_queue}} q SET dead = false, attempts = 0, due_at = now(), lease_token = NULL
FROM held h
WHERE q.owner_id = $1 AND q.generation = h.generation AND q.ordinal = h.ordinal;

-- name: nearest_exact
-- The sum keeps the planner from an index, whose order is not exact. As in all that follow, a leaf is as near as its nearest part: of
-- so many parts that they are of enough leaves in any case, the nearest of each leaf is kept, and then the nearest leaves.
SELECT x.ordinal, /*send*/(x.embedding)
FROM (
    SELECT DISTINCT ON (e.ordinal) e.ordinal, e.embedding, e.distance
    FROM (
        SELECT ordinal, embedding, (embedding /*distance*/ $2::real[]::/*vector*/) + 0::double precision AS distance
        FROM {{tables.embeddings}}
        WHERE owner_id = $1
        ORDER BY distance
        LIMIT $3 * /*parts*/
    ) e
    ORDER BY e.ordinal, e.distance
) x
ORDER BY x.distance
LIMIT $3;

-- name: nearest_index
-- The order is that of the owner's index, which is nearly exact; the best of what comes first are then ordered exactly. Without the
-- index all are ordered. The markers among and order stand for a condition and for the index's expression.
SELECT x.ordinal, /*send*/(x.embedding)
FROM (
    SELECT DISTINCT ON (i.ordinal) i.ordinal, i.embedding, i.embedding /*distance*/ $2::real[]::/*vector*/ AS distance
    FROM (
        SELECT e.ordinal, e.embedding FROM {{tables.embeddings}} e
        WHERE e.owner_id = $1 /*among*/
        ORDER BY /*order*/
        LIMIT $4
    ) i
    ORDER BY i.ordinal, distance
) x
ORDER BY x.distance
LIMIT $3;

-- name: nearest_index_where
-- The filter is looked at row by row as they come out of the index. The planner is not to guess how many rows pass: its guesses
-- at conditions on metadata are far too low, and it would rather sort all.
SELECT x.ordinal, /*send*/(x.embedding)
FROM (
    SELECT DISTINCT ON (i.ordinal) i.ordinal, i.embedding, i.embedding /*distance*/ $2::real[]::/*vector*/ AS distance
    FROM (
        SELECT e.ordinal, e.embedding
        FROM {{tables.embeddings}} e
        CROSS JOIN LATERAL (
            SELECT document_id FROM {{tables.document_chunks}} WHERE owner_id = $1 AND ordinal = e.ordinal OFFSET 0
        ) c
        CROSS JOIN LATERAL (
            SELECT * FROM {{tables.documents}} WHERE owner_id = $1 AND document_id = c.document_id OFFSET 0
        ) d
        WHERE e.owner_id = $1 /*among*/ AND CASE WHEN true /*condition*/ THEN true ELSE false END
        ORDER BY /*order*/
        LIMIT $4
    ) i
    ORDER BY i.ordinal, distance
) x
ORDER BY x.distance
LIMIT $3;

-- name: nearest_among
SELECT x.ordinal, /*send*/(x.embedding)
FROM (
    SELECT e.ordinal, e.embedding, e.distance
    FROM pg_catalog.unnest($4::bigint[]) AS w (ordinal)
    CROSS JOIN LATERAL (
        SELECT p.ordinal, p.embedding, (p.embedding /*distance*/ $2::real[]::/*vector*/) + 0::double precision AS distance
        FROM (
            SELECT ordinal, embedding FROM {{tables.embeddings}}
            WHERE owner_id = $1 AND ordinal >= w.ordinal AND ordinal <= w.ordinal ORDER BY ordinal LIMIT /*parts*/
        ) p
        ORDER BY distance LIMIT 1
    ) e
    ORDER BY e.distance
    LIMIT $3
) x;

-- name: nearest_where
SELECT x.ordinal, /*send*/(x.embedding)
FROM (
    SELECT e.ordinal, e.embedding, e.distance
    FROM {{tables.documents}} d
    JOIN {{tables.document_chunks}} c ON c.owner_id = d.owner_id AND c.document_id = d.document_id AND c.ordinal IS NOT NULL
    CROSS JOIN LATERAL (
        SELECT p.ordinal, p.embedding, (p.embedding /*distance*/ $2::real[]::/*vector*/) + 0::double precision AS distance
        FROM (
            SELECT ordinal, embedding FROM {{tables.embeddings}}
            WHERE owner_id = $1 AND ordinal >= c.ordinal AND ordinal <= c.ordinal ORDER BY ordinal LIMIT /*parts*/
        ) p
        ORDER BY distance LIMIT 1
    ) e
    WHERE d.owner_id = $1 /*condition*/
    ORDER BY e.distance
    LIMIT $3
) x;

-- name: nearest_among_where
SELECT x.ordinal, /*send*/(x.embedding)
FROM (
    SELECT e.ordinal, e.embedding, e.distance
    FROM pg_catalog.unnest($4::bigint[]) AS w (ordinal)
    CROSS JOIN LATERAL (
        SELECT document_id FROM {{tables.document_chunks}} WHERE owner_id = $1 AND ordinal = w.ordinal OFFSET 0
    ) c
    CROSS JOIN LATERAL (
        SELECT * FROM {{tables.documents}} WHERE owner_id = $1 AND document_id = c.document_id OFFSET 0
    ) d
    CROSS JOIN LATERAL (
        SELECT p.ordinal, p.embedding, (p.embedding /*distance*/ $2::real[]::/*vector*/) + 0::double precision AS distance
        FROM (
            SELECT ordinal, embedding FROM {{tables.embeddings}}
            WHERE owner_id = $1 AND ordinal >= w.ordinal AND ordinal <= w.ordinal ORDER BY ordinal LIMIT /*parts*/
        ) p
        ORDER BY distance LIMIT 1
    ) e
    WHERE true /*condition*/
    ORDER BY e.distance
    LIMIT $3
) x;
