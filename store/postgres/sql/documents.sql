-- name: lookup
SELECT document_id::text, id_at_origin, document_key, document_name, document_type, document_date, metadata, language,
       content_hash, bytes, tokens, leaves, tail, no_vectors, version, created_at, updated_at,
       format, markup, title, author, source_hash, pages
FROM unnest($2::text[], $3::text[]) AS want (origin, key)
CROSS JOIN LATERAL (
    SELECT * FROM {{tables.documents}} WHERE owner_id = $1 AND id_at_origin = want.origin AND document_key = want.key OFFSET 0
) d;

-- name: document
SELECT document_id::text, id_at_origin, document_key, document_name, document_type, document_date, metadata, language,
       content_hash, bytes, tokens, leaves, tail, no_vectors, version, created_at, updated_at,
       format, markup, title, author, source_hash, pages
FROM {{tables.documents}}
WHERE owner_id = $1 AND document_id = $2::uuid;

-- name: document_chunks
SELECT chunk_id::text, document_id::text, coalesce(parent_id::text, ''), level, position, start_byte, end_byte, tokens,
       coalesce(ordinal, 0), length, input_hash, heading, lead, content,
       page, page_end, context, summary, parts
FROM {{tables.document_chunks}}
WHERE owner_id = $1 AND document_id = $2::uuid AND level BETWEEN $3 AND $4
ORDER BY level, position;

-- name: chunk_page
SELECT chunk_id::text, document_id::text, coalesce(parent_id::text, ''), level, position, start_byte, end_byte, tokens,
       coalesce(ordinal, 0), length, input_hash, heading, lead, content,
       page, page_end, context, summary, parts
FROM {{tables.document_chunks}}
WHERE owner_id = $1 AND document_id = $2::uuid AND level = $3 AND position >= $4::bigint AND position < $5::bigint
ORDER BY position;

-- name: chunk_count
SELECT (SELECT count(*) FROM {{tables.document_chunks}} c
        WHERE c.owner_id = d.owner_id AND c.document_id = d.document_id AND c.level = $3)
FROM {{tables.documents}} d
WHERE d.owner_id = $1 AND d.document_id = $2::uuid;

-- name: document_ids
SELECT document_id::text FROM {{tables.documents}} WHERE owner_id = $1 AND document_id > $2::uuid ORDER BY document_id LIMIT $3;

-- name: owners
SELECT owner_id FROM {{tables.document_owners}} WHERE owner_id > $1 AND documents > 0 ORDER BY owner_id LIMIT $2;

-- name: stats
SELECT (SELECT count(*) FROM {{tables.documents}} WHERE owner_id = $1),
       (SELECT count(*) FROM {{tables.document_chunks}} WHERE owner_id = $1 AND level = 0),
       (SELECT count(*) FROM {{tables.document_chunks}} WHERE owner_id = $1 AND level > 0),
       (SELECT coalesce(sum(bytes), 0)::bigint FROM {{tables.documents}} WHERE owner_id = $1),
       (SELECT coalesce(sum(tokens), 0)::bigint FROM {{tables.documents}} WHERE owner_id = $1),
       (SELECT pg_catalog.count(DISTINCT id_at_origin) FROM {{tables.documents}} WHERE owner_id = $1),
       (SELECT coalesce(pg_catalog.jsonb_object_agg(document_type, n), '{}')
          FROM (SELECT document_type, count(*) AS n FROM {{tables.documents}} WHERE owner_id = $1 GROUP BY 1) t),
       (SELECT coalesce(pg_catalog.jsonb_object_agg(language, n), '{}')
          FROM (SELECT language, sum(leaves) AS n FROM {{tables.documents}} WHERE owner_id = $1 GROUP BY 1) t),
       (SELECT min(created_at) FROM {{tables.documents}} WHERE owner_id = $1),
       (SELECT max(updated_at) FROM {{tables.documents}} WHERE owner_id = $1),
       (SELECT count(*) FROM {{tables.text_segments}} WHERE owner_id = $1),
       (SELECT coalesce(sum(leaves), 0)::bigint FROM {{tables.text_segments}} WHERE owner_id = $1 AND leaves < $2),
       (SELECT coalesce(sum(dead_count), 0)::bigint FROM {{tables.text_segments}} WHERE owner_id = $1),
       (SELECT coalesce(sum(bytes), 0)::bigint FROM {{tables.text_segments}} WHERE owner_id = $1),
       (SELECT coalesce(max(analysis), 0) FROM {{tables.document_owners}} WHERE owner_id = $1);

-- name: backlog
SELECT owner_id FROM {{tables.document_owners}}
WHERE merge_due OR (analysis < $1 AND leaves > 0)
ORDER BY (analysis < $1) DESC, owner_id
LIMIT $2;

-- name: list
SELECT document_id::text, id_at_origin, document_key, document_name, document_type, document_date, metadata, language,
       content_hash, bytes, tokens, leaves, tail, no_vectors, version, created_at, updated_at,
       format, markup, title, author, ''::bytea, ''::bytea
FROM {{tables.documents}} d
WHERE d.owner_id = $1 /*condition*/
ORDER BY /*order*/
LIMIT $2 OFFSET $3;

-- name: list_count
SELECT count(*)
FROM {{tables.documents}} d
WHERE d.owner_id = $1 /*condition*/;
