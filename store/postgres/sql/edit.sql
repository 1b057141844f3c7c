-- Functions that take any type carry their schema here and in the other files: a function of the same name for one type, in any
-- schema of search_path, would be preferred. (unnest with several arguments is the parser's own.)

-- name: lock_owner
-- Takes the owner's write lock, making the row if there is none, and returns the row as the last edit left it.
INSERT INTO {{tables.document_owners}} AS o (owner_id, analysis) VALUES ($1, $2)
ON CONFLICT (owner_id) DO UPDATE SET analysis = o.analysis
RETURNING documents, leaves, length, next_ordinal, next_segment, analysis, languages, merge_due;

-- name: edit_present
-- As many rows as there are documents of these identities. To plan it costs a tenth of what edit_documents_by_identity does.
SELECT 1
FROM unnest($2::text[], $3::text[]) AS want (origin, key)
CROSS JOIN LATERAL (
    SELECT FROM {{tables.documents}} WHERE owner_id = $1 AND id_at_origin = want.origin AND document_key = want.key OFFSET 0
) d;

-- name: edit_documents_by_identity
SELECT document_id::text, id_at_origin, document_key, document_name, document_type, document_date, metadata, language,
       content_hash, bytes, tokens, leaves, tail, no_vectors, version, created_at, updated_at,
       format, markup, title, author, source_hash, pages, c.*
FROM unnest($2::text[], $3::text[]) AS want (origin, key)
CROSS JOIN LATERAL (
    SELECT * FROM {{tables.documents}} WHERE owner_id = $1 AND id_at_origin = want.origin AND document_key = want.key OFFSET 0
) d
LEFT JOIN LATERAL (
    SELECT pg_catalog.array_agg(chunk_id::text), pg_catalog.array_agg(coalesce(parent_id::text, '')), pg_catalog.array_agg(level),
           pg_catalog.array_agg(position), pg_catalog.array_agg(start_byte), pg_catalog.array_agg(end_byte),
           pg_catalog.array_agg(tokens), pg_catalog.array_agg(coalesce(ordinal, 0)), pg_catalog.array_agg(length),
           pg_catalog.array_agg(input_hash), pg_catalog.array_agg(heading), pg_catalog.array_agg(lead), pg_catalog.array_agg(page),
           pg_catalog.array_agg(page_end), pg_catalog.array_agg(context), pg_catalog.array_agg(summary),
           pg_catalog.array_agg(parts)
    FROM {{tables.document_chunks}}
    WHERE owner_id = $1 AND document_id = d.document_id
) c ON true
ORDER BY document_id;

-- name: edit_documents_by_id
SELECT document_id::text, id_at_origin, document_key, document_name, document_type, document_date, metadata, language,
       content_hash, bytes, tokens, leaves, tail, no_vectors, version, created_at, updated_at,
       format, markup, title, author, source_hash, pages, c.*
FROM {{tables.documents}} d
LEFT JOIN LATERAL (
    SELECT pg_catalog.array_agg(chunk_id::text), pg_catalog.array_agg(coalesce(parent_id::text, '')), pg_catalog.array_agg(level),
           pg_catalog.array_agg(position), pg_catalog.array_agg(start_byte), pg_catalog.array_agg(end_byte),
           pg_catalog.array_agg(tokens), pg_catalog.array_agg(coalesce(ordinal, 0)), pg_catalog.array_agg(length),
           pg_catalog.array_agg(input_hash), pg_catalog.array_agg(''::text), pg_catalog.array_agg(''::text), pg_catalog.array_agg(page),
           pg_catalog.array_agg(page_end), pg_catalog.array_agg(''::text), pg_catalog.array_agg(''::text),
           pg_catalog.array_agg(parts)
    FROM {{tables.document_chunks}}
    WHERE owner_id = $1 AND document_id = d.document_id
) c ON true
WHERE d.owner_id = $1 AND d.document_id = ANY ($2::uuid[])
ORDER BY document_id;

-- name: edit_documents_where
SELECT document_id::text, id_at_origin, document_key, document_name, document_type, document_date, metadata, language,
       content_hash, bytes, tokens, leaves, tail, no_vectors, version, created_at, updated_at,
       format, markup, title, author, source_hash, pages, c.*
FROM {{tables.documents}} d
LEFT JOIN LATERAL (
    SELECT pg_catalog.array_agg(chunk_id::text), pg_catalog.array_agg(coalesce(parent_id::text, '')), pg_catalog.array_agg(level),
           pg_catalog.array_agg(position), pg_catalog.array_agg(start_byte), pg_catalog.array_agg(end_byte),
           pg_catalog.array_agg(tokens), pg_catalog.array_agg(coalesce(ordinal, 0)), pg_catalog.array_agg(length),
           pg_catalog.array_agg(input_hash), pg_catalog.array_agg(''::text), pg_catalog.array_agg(''::text), pg_catalog.array_agg(page),
           pg_catalog.array_agg(page_end), pg_catalog.array_agg(''::text), pg_catalog.array_agg(''::text),
           pg_catalog.array_agg(parts)
    FROM {{tables.document_chunks}}
    WHERE owner_id = $1 AND document_id = d.document_id
) c ON true
WHERE d.owner_id = $1 /*condition*/
ORDER BY document_id
LIMIT nullif($2, 0);

-- name: edit_rest
-- Its snapshot is taken after the lock was: a generation that it does not see was made later, and will find what this edit stores.
-- In a host's transaction whose snapshot is older, the catalogue, which has none, tells of it.
SELECT s.*, (
    SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(g) || pg_catalog.jsonb_build_object('extension', (
        SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'vector'
    )) ORDER BY g.generation), '[]')
    FROM {{tables.embedding_generations}} g WHERE g.state <> 'retired'
), CASE WHEN current_setting('transaction_isolation') = 'read committed' THEN false ELSE (
    SELECT coalesce(bool_or(to_regclass(pg_catalog.format('%I.%I', $2::text, 'embeddings_' || (known.last + next)::text)) IS NOT NULL), false)
    FROM (SELECT coalesce(max(generation), 0) AS last FROM {{tables.embedding_generations}}) known, generate_series(1, 10) next
) END
FROM (
    SELECT pg_catalog.array_agg(segment_id ORDER BY low), pg_catalog.array_agg(low ORDER BY low), pg_catalog.array_agg(high ORDER BY low),
           pg_catalog.array_agg(leaves ORDER BY low), pg_catalog.array_agg(dead ORDER BY low), pg_catalog.array_agg(dead_count ORDER BY low),
           pg_catalog.array_agg(bytes ORDER BY low)
    FROM {{tables.text_segments}}
    WHERE owner_id = $1
) s;

-- name: load_pages
SELECT segment_id, first_term, postings, positions
FROM {{tables.text_postings}}
WHERE owner_id = $1 AND segment_id = ANY ($2::bigint[]);

-- name: leaves
SELECT c.ordinal, coalesce(nullif(d.document_name, ''), d.title), d.language, c.heading, c.context, c.content
FROM {{tables.document_chunks}} c
JOIN {{tables.documents}} d ON d.owner_id = c.owner_id AND d.document_id = c.document_id
WHERE c.owner_id = $1 AND c.ordinal > $2
ORDER BY c.ordinal
LIMIT $3;

-- name: delete_documents
DELETE FROM {{tables.documents}} WHERE owner_id = $1 AND document_id = ANY ($2::uuid[]);

-- name: insert_documents
INSERT INTO {{tables.documents}} (owner_id, document_id, id_at_origin, document_key, document_name, document_type,
    document_date, metadata, language, content_hash, bytes, tokens, leaves, tail, no_vectors, version,
    format, markup, title, author, source_hash, pages, created_at, updated_at)
SELECT $1, id, origin, key, name, type, date, metadata, language, hash, bytes, tokens, leaves, tail, no_vectors, version,
       format, markup, title, author, source, pages, now(), now()
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::jsonb[], $9::text[],
    $10::bytea[], $11::bigint[], $12::bigint[], $13::integer[], $14::text[], $15::boolean[], $16::bigint[],
    $17::text[], $18::text[], $19::text[], $20::text[], $21::bytea[], $22::bytea[])
    AS v (id, origin, key, name, type, date, metadata, language, hash, bytes, tokens, leaves, tail, no_vectors, version,
        format, markup, title, author, source, pages);

-- name: put_documents
-- insert_documents, updating those that are there.
INSERT INTO {{tables.documents}} AS d (owner_id, document_id, id_at_origin, document_key, document_name, document_type,
    document_date, metadata, language, content_hash, bytes, tokens, leaves, tail, no_vectors, version,
    format, markup, title, author, source_hash, pages, created_at, updated_at)
SELECT $1, id, origin, key, name, type, date, metadata, language, hash, bytes, tokens, leaves, tail, no_vectors, version,
       format, markup, title, author, source, pages, now(), now()
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::jsonb[], $9::text[],
    $10::bytea[], $11::bigint[], $12::bigint[], $13::integer[], $14::text[], $15::boolean[], $16::bigint[],
    $17::text[], $18::text[], $19::text[], $20::text[], $21::bytea[], $22::bytea[])
    AS v (id, origin, key, name, type, date, metadata, language, hash, bytes, tokens, leaves, tail, no_vectors, version,
        format, markup, title, author, source, pages)
ON CONFLICT (owner_id, document_id) DO UPDATE SET
    document_name = excluded.document_name, document_type = excluded.document_type, document_date = excluded.document_date,
    metadata = excluded.metadata, language = excluded.language, content_hash = excluded.content_hash, bytes = excluded.bytes,
    tokens = excluded.tokens, leaves = excluded.leaves, tail = excluded.tail, no_vectors = excluded.no_vectors,
    format = excluded.format, markup = excluded.markup, title = excluded.title, author = excluded.author,
    source_hash = excluded.source_hash, pages = excluded.pages, version = excluded.version,
    updated_at = greatest(excluded.updated_at, d.updated_at + interval '1 microsecond');

-- name: restore_documents
-- put_documents, for those that come from another store with their dates.
INSERT INTO {{tables.documents}} AS d (owner_id, document_id, id_at_origin, document_key, document_name, document_type,
    document_date, metadata, language, content_hash, bytes, tokens, leaves, tail, no_vectors, version,
    format, markup, title, author, source_hash, pages, created_at, updated_at)
SELECT $1, id, origin, key, name, type, date, metadata, language, hash, bytes, tokens, leaves, tail, no_vectors, version,
       format, markup, title, author, source, pages, created, updated
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::jsonb[], $9::text[],
    $10::bytea[], $11::bigint[], $12::bigint[], $13::integer[], $14::text[], $15::boolean[], $16::bigint[],
    $17::text[], $18::text[], $19::text[], $20::text[], $21::bytea[], $22::bytea[], $23::timestamptz[], $24::timestamptz[])
    AS v (id, origin, key, name, type, date, metadata, language, hash, bytes, tokens, leaves, tail, no_vectors, version,
        format, markup, title, author, source, pages, created, updated)
ON CONFLICT (owner_id, document_id) DO UPDATE SET
    document_name = excluded.document_name, document_type = excluded.document_type, document_date = excluded.document_date,
    metadata = excluded.metadata, language = excluded.language, content_hash = excluded.content_hash, bytes = excluded.bytes,
    tokens = excluded.tokens, leaves = excluded.leaves, tail = excluded.tail, no_vectors = excluded.no_vectors,
    format = excluded.format, markup = excluded.markup, title = excluded.title, author = excluded.author,
    source_hash = excluded.source_hash, pages = excluded.pages, version = excluded.version, created_at = excluded.created_at, updated_at = excluded.updated_at;

-- name: insert_chunks
INSERT INTO {{tables.document_chunks}} (owner_id, chunk_id, document_id, parent_id, level, position, start_byte, end_byte,
    tokens, ordinal, length, input_hash, heading, lead, page, page_end, context, summary, parts, content)
SELECT $1, id, document, nullif(parent, '')::uuid, level, position, start, stop, tokens, nullif(ordinal, -1), length, hash,
       heading, lead, page, page_end, context, summary, parts, content
FROM unnest($2::uuid[], $3::text[], $4::integer[], $5::bigint[], $6::bigint[], $7::integer[], $8::bigint[], $9::integer[],
    $10::bytea[], $11::text[], $12::text[], $13::integer[], $14::integer[], $15::text[], $16::text[], $17::smallint[],
    $18::uuid[], $19::smallint[], $20::text[])
    AS v (id, parent, position, start, stop, tokens, ordinal, length, hash, heading, lead, page, page_end, context, summary, parts,
        document, level, content);

-- name: change_chunks
-- insert_chunks, after removing chunks and updating kept ones: their place in the document, their ordinal and their context,
-- never their text.
WITH gone AS (
    DELETE FROM {{tables.document_chunks}} WHERE owner_id = $1 AND chunk_id = ANY ($2::uuid[])
), kept AS (
    UPDATE {{tables.document_chunks}} c SET
        parent_id = nullif(v.parent, '')::uuid, position = v.position, start_byte = v.start, end_byte = v.stop,
        tokens = v.tokens, ordinal = nullif(v.ordinal, -1), length = v.length, input_hash = v.hash, heading = v.heading,
        lead = v.lead, page = v.page, page_end = v.page_end, context = v.context, summary = v.summary, parts = v.parts
    FROM unnest($3::uuid[], $4::text[], $5::integer[], $6::bigint[], $7::bigint[], $8::integer[], $9::bigint[], $10::integer[],
        $11::bytea[], $12::text[], $13::text[], $14::integer[], $15::integer[], $16::text[], $17::text[], $18::smallint[])
        AS v (id, parent, position, start, stop, tokens, ordinal, length, hash, heading, lead, page, page_end, context, summary, parts)
    WHERE c.owner_id = $1 AND c.chunk_id = v.id
)
INSERT INTO {{tables.document_chunks}} (owner_id, chunk_id, document_id, parent_id, level, position, start_byte, end_byte,
    tokens, ordinal, length, input_hash, heading, lead, page, page_end, context, summary, parts, content)
SELECT $1, id, document, nullif(parent, '')::uuid, level, position, start, stop, tokens, nullif(ordinal, -1), length, hash,
       heading, lead, page, page_end, context, summary, parts, content
FROM unnest($19::uuid[], $20::text[], $21::integer[], $22::bigint[], $23::bigint[], $24::integer[], $25::bigint[],
    $26::integer[], $27::bytea[], $28::text[], $29::text[], $30::integer[], $31::integer[], $32::text[], $33::text[], $34::smallint[],
    $35::uuid[], $36::smallint[], $37::text[])
    AS v (id, parent, position, start, stop, tokens, ordinal, length, hash, heading, lead, page, page_end, context, summary, parts,
        document, level, content);

-- name: set_lengths
UPDATE {{tables.document_chunks}} c SET length = v.length
FROM unnest($2::bigint[], $3::integer[]) AS v (ordinal, length)
WHERE c.owner_id = $1 AND c.ordinal = v.ordinal AND c.length <> v.length;

-- name: put_owner
UPDATE {{tables.document_owners}} SET
    documents = $2, leaves = $3, length = $4, next_ordinal = $5, next_segment = $6, analysis = $7,
    languages = $8::jsonb, merge_due = $9
WHERE owner_id = $1;

-- name: insert_index
-- put_owner, after inserting segments with their pages.
WITH segments AS (
    INSERT INTO {{tables.text_segments}} (owner_id, segment_id, low, high, leaves, bytes, dead_count, dead)
    SELECT $1, * FROM unnest($10::bigint[], $11::bigint[], $12::bigint[], $13::integer[], $14::bigint[], $15::integer[], $16::bytea[])
), pages AS (
    INSERT INTO {{tables.text_postings}} (owner_id, segment_id, first_term, postings, positions)
    SELECT $1, * FROM unnest($17::bigint[], $18::text[], $19::bytea[], $20::bytea[])
)
UPDATE {{tables.document_owners}} SET
    documents = $2, leaves = $3, length = $4, next_ordinal = $5, next_segment = $6, analysis = $7,
    languages = $8::jsonb, merge_due = $9
WHERE owner_id = $1;

-- name: put_pages
INSERT INTO {{tables.text_postings}} (owner_id, segment_id, first_term, postings, positions)
SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::bytea[], $5::bytea[]);

-- name: change_index
-- insert_index, after removing segments with their pages, updating dead sets, and removing the jobs of ordinals that go out of use,
-- those of all generations. A worker that holds a job's row is waited for, and the vector it leaves is seen by the next statement:
-- so vectors are removed in statements behind this one. Jobs are locked in the order of their keys, as by everybody who waits for
-- them.
WITH old_pages AS (
    DELETE FROM {{tables.text_postings}} WHERE owner_id = $1 AND segment_id = ANY ($21::bigint[])
), gone AS (
    DELETE FROM {{tables.text_segments}} WHERE owner_id = $1 AND segment_id = ANY ($21::bigint[])
), dead AS (
    UPDATE {{tables.text_segments}} s SET dead = v.dead, dead_count = v.dead_count
    FROM unnest($22::bigint[], $23::bytea[], $24::integer[]) AS v (segment_id, dead, dead_count)
    WHERE s.owner_id = $1 AND s.segment_id = v.segment_id
), segments AS (
    INSERT INTO {{tables.text_segments}} (owner_id, segment_id, low, high, leaves, bytes, dead_count, dead)
    SELECT $1, * FROM unnest($10::bigint[], $11::bigint[], $12::bigint[], $13::integer[], $14::bigint[], $15::integer[], $16::bytea[])
), pages AS (
    INSERT INTO {{tables.text_postings}} (owner_id, segment_id, first_term, postings, positions)
    SELECT $1, * FROM unnest($17::bigint[], $18::text[], $19::bytea[], $20::bytea[])
), held AS MATERIALIZED (
    SELECT generation, ordinal FROM {{tables.embedding_queue}}
    WHERE owner_id = $1 AND ordinal = ANY ($25::bigint[]) AND generation = ANY ($26::bigint[])
    ORDER BY generation, ordinal
    FOR UPDATE
), jobs AS (
    DELETE FROM {{tables.embedding_queue}} q USING held h
    WHERE q.owner_id = $1 AND q.generation = h.generation AND q.ordinal = h.ordinal
)
UPDATE {{tables.document_owners}} SET
    documents = $2, leaves = $3, length = $4, next_ordinal = $5, next_segment = $6, analysis = $7,
    languages = $8::jsonb, merge_due = $9
WHERE owner_id = $1;

-- name: drop_vectors
-- The place of a row counts within its partition only, hence the owner, put so that no index is chosen for it.
DELETE FROM {{tables.embeddings}} WHERE owner_id || '' = $1 AND ctid = ANY (ARRAY(
    SELECT e.ctid
    FROM pg_catalog.unnest($2::bigint[]) AS w (ordinal)
    CROSS JOIN LATERAL (
        SELECT ctid FROM {{tables.embeddings}}
        WHERE owner_id = $1 AND ordinal >= w.ordinal AND ordinal <= w.ordinal ORDER BY ordinal LIMIT /*parts*/
    ) e
));

-- name: insert_vectors
INSERT INTO {{tables.embeddings}} (owner_id, ordinal, part, input_hash, embedding)
SELECT $1, ordinal, part, hash, ($5::real[])[(n - 1) * /*dimensions*/ + 1 : n * /*dimensions*/]::/*vector*/
FROM unnest($2::bigint[], $3::smallint[], $4::bytea[]) WITH ORDINALITY AS v (ordinal, part, hash, n)
ON CONFLICT (owner_id, ordinal, part) DO NOTHING;

-- name: queue_leaves
-- Vectors of ordinals that go out of use are removed. Leaves whose input the owner has a vector of get a copy, also of one that
-- is removed; the others are queued, and returned. $5 is the token of a lease on them, empty for none, $7 the channel to wake
-- workers by, empty for not.
WITH leaf AS MATERIALIZED (
    SELECT v.ordinal, v.hash, k.ordinal AS model
    FROM unnest($3::bigint[], $4::bytea[]) AS v (ordinal, hash)
    LEFT JOIN LATERAL (
        SELECT ordinal FROM {{tables.embeddings}}
        WHERE owner_id = $1 AND input_hash >= v.hash AND input_hash <= v.hash ORDER BY input_hash LIMIT 1
    ) k ON true
), known AS MATERIALIZED (
    SELECT l.ordinal, l.hash, e.part, e.embedding
    FROM leaf l
    CROSS JOIN LATERAL (
        SELECT part, embedding FROM {{tables.embeddings}}
        WHERE owner_id = $1 AND ordinal >= l.model AND ordinal <= l.model ORDER BY ordinal LIMIT /*parts*/
    ) e
), gone AS (
    DELETE FROM {{tables.embeddings}} WHERE owner_id || '' = $1 AND ctid = ANY (ARRAY(
        SELECT e.ctid
        FROM pg_catalog.unnest($2::bigint[]) AS w (ordinal)
        CROSS JOIN LATERAL (
            SELECT ctid FROM {{tables.embeddings}}
            WHERE owner_id = $1 AND ordinal >= w.ordinal AND ordinal <= w.ordinal ORDER BY ordinal LIMIT /*parts*/
        ) e
    ))
), copied AS (
    INSERT INTO {{tables.embeddings}} (owner_id, ordinal, part, input_hash, embedding)
    SELECT $1, ordinal, part, hash, embedding FROM known
    ON CONFLICT (owner_id, ordinal, part) DO NOTHING
), queued AS (
    INSERT INTO {{tables.embedding_queue}} (owner_id, generation, ordinal, due_at, lease_token, queued_at)
    SELECT $1, /*generation*/, ordinal, clock_timestamp() + $6::interval, nullif($5, '')::uuid,
           clock_timestamp()
    FROM leaf WHERE model IS NULL
    ON CONFLICT (owner_id, generation, ordinal) DO NOTHING
    RETURNING ordinal
), woken AS MATERIALIZED (
    SELECT pg_notify($7, '') FROM queued WHERE $7 <> '' LIMIT 1
)
SELECT l.ordinal, q.ordinal IS NOT NULL AND $5 <> '', (SELECT count(*) FROM woken)
FROM leaf l LEFT JOIN queued q ON q.ordinal = l.ordinal
WHERE l.model IS NULL;
