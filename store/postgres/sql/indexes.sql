-- Statements on the indexes over the vectors of large owners: each has one of its own, WHERE owner_id = …, so no owner's search
-- sees, or is slowed down by, another's vectors. Markers are those of vectors.sql.
--
-- All of these cross owners by nature, but for index_settings.

-- name: large_owners
-- The owners that have an index or may be given one, largest first: those whose leaves may have $1 vectors, at most $2 of them. Vectors
-- and waiting leaves are counted as far as they matter.
SELECT o.owner_id, o.leaves, v.n, w.n, i.owner_id IS NOT NULL, coalesce(i.ready, false),
       coalesce(i.claimed_until > pg_catalog.clock_timestamp(), false), coalesce(x.indisvalid, false)
FROM (
    (SELECT owner_id, leaves FROM {{tables.document_owners}} WHERE leaves * /*parts*/ >= $1 ORDER BY leaves DESC, owner_id LIMIT $2)
    UNION
    SELECT i.owner_id, coalesce(o.leaves, 0)
    FROM {{tables.embedding_indexes}} i
    LEFT JOIN {{tables.document_owners}} o ON o.owner_id = i.owner_id
    WHERE i.generation = /*generation*/
) o
LEFT JOIN {{tables.embedding_indexes}} i ON i.owner_id = o.owner_id AND i.generation = /*generation*/
LEFT JOIN pg_catalog.pg_index x
    ON x.indexrelid = CASE WHEN i.owner_id IS NOT NULL THEN pg_catalog.to_regclass(pg_catalog.format('%I.%I', $3::text, i.index_name)) END
CROSS JOIN LATERAL (
    SELECT count(*) AS n FROM (
        SELECT FROM {{tables.embeddings}} WHERE owner_id = o.owner_id LIMIT CASE WHEN i.ready THEN $1::bigint ELSE $4::bigint END
    ) v
) v
CROSS JOIN LATERAL (
    SELECT count(*) AS n FROM (
        SELECT FROM {{tables.embedding_queue}} WHERE owner_id = o.owner_id AND generation = /*generation*/ AND NOT dead LIMIT $1::bigint
    ) w
) w
ORDER BY o.leaves DESC, o.owner_id;

-- name: index_place
-- Whether this role may index the table, the memory that the server grants a build, and whether an index is being built: by a
-- process that died, maybe, whose server does not know that yet.
SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') AND pg_catalog.has_schema_privilege(c.relnamespace, 'CREATE'),
       pg_catalog.pg_size_bytes(pg_catalog.current_setting('maintenance_work_mem')),
       EXISTS (
           SELECT FROM pg_catalog.pg_stat_progress_create_index p
           WHERE p.relid = c.oid AND p.datname = pg_catalog.current_database()
       )
FROM pg_catalog.pg_class c WHERE c.oid = $1::regclass;

-- name: lock_indexes
LOCK TABLE {{tables.embedding_indexes}} IN SHARE ROW EXCLUSIVE MODE;

-- name: claim_index
-- Takes an owner's index out of use and gives it to the caller, to build it or to drop it. One index of a generation is built at a
-- time: two builds on one table wait for each other.
INSERT INTO {{tables.embedding_indexes}} AS i (owner_id, generation, index_name, vectors, ready, claimed_until, claim_token)
SELECT $1::text, /*generation*/, $2::text, 0, false, pg_catalog.clock_timestamp() + $3::interval, pg_catalog.gen_random_uuid()
WHERE EXISTS (SELECT FROM {{tables.embedding_generations}} WHERE generation = /*generation*/ AND state <> 'retired')
  AND NOT EXISTS (
      SELECT FROM {{tables.embedding_indexes}}
      WHERE generation = /*generation*/ AND claimed_until > pg_catalog.clock_timestamp()
  )
ON CONFLICT (owner_id, generation) DO UPDATE
SET index_name = excluded.index_name, ready = false, claimed_until = excluded.claimed_until, claim_token = excluded.claim_token
RETURNING i.claim_token::text;

-- name: keep_index
UPDATE {{tables.embedding_indexes}} SET claimed_until = pg_catalog.clock_timestamp() + $4::interval
WHERE owner_id = $1 AND generation = $2 AND claim_token = $3::uuid;

-- name: release_index
UPDATE {{tables.embedding_indexes}} SET claimed_until = '-infinity', claim_token = NULL
WHERE owner_id = $1 AND generation = $2 AND claim_token = $3::uuid;

-- name: index_ready
UPDATE {{tables.embedding_indexes}} SET claimed_until = '-infinity', claim_token = NULL, ready = true, vectors = (
    SELECT count(*) FROM {{tables.embeddings}} WHERE owner_id = $1
)
WHERE owner_id = $1 AND generation = /*generation*/ AND claim_token = $2::uuid;

-- name: forget_index
DELETE FROM {{tables.embedding_indexes}} WHERE owner_id = $1 AND generation = $2 AND claim_token = $3::uuid;

-- name: index_state
SELECT pg_catalog.count(*), coalesce(pg_catalog.bool_and(x.indisvalid), false)
FROM pg_catalog.pg_index x
WHERE x.indexrelid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', $1::text, $2::text));

-- name: index_commands
-- The statements that drop and that build an index: $1 is the schema, $2 the name, $3 the table, $4 what is indexed, $5 the owner,
-- $6 and $7 the parameters of the graph. The server quotes the names and the owner.
SELECT pg_catalog.format('DROP INDEX CONCURRENTLY IF EXISTS %I.%I', $1::text, $2::text),
       pg_catalog.format('CREATE INDEX CONCURRENTLY %I ON %I.%I USING hnsw (%s) WITH (m = %s, ef_construction = %s) '
           'WHERE owner_id OPERATOR(pg_catalog.=) %L', $2::text, $1::text, $3::text, $4::text, $6::integer, $7::integer, $5::text),
       pg_catalog.format('ANALYZE %I.%I', $1::text, $3::text);

-- name: owner_vectors
SELECT pg_catalog.count(*) FROM {{tables.embeddings}} WHERE owner_id = $1;

-- name: index_settings
-- How far a search in an index looks, until the transaction ends. Any plan is made for the values of its parameters, since no
-- other can tell that the owner is the index's.
SELECT pg_catalog.set_config('hnsw.ef_search', $1::text, true), pg_catalog.set_config('hnsw.iterative_scan', 'relaxed_order', true),
       pg_catalog.set_config('hnsw.max_scan_tuples', $2::text, true), pg_catalog.set_config('hnsw.scan_mem_multiplier', '2', true),
       pg_catalog.set_config('plan_cache_mode', 'force_custom_plan', true);
