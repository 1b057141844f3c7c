-- name: lookup
SELECT document_id, id_at_origin, document_key, document_name, document_type, document_date, metadata, language,
       content_hash, bytes, tokens, leaves, tail, no_vectors, version, created_at, updated_at,
       format, markup, title, author, source_hash, pages
FROM {{tables.documents}}
WHERE owner_id = ?1 AND id_at_origin = ?2 AND document_key = ?3;

-- name: document
SELECT document_id, id_at_origin, document_key, document_name, document_type, document_date, metadata, language,
       content_hash, bytes, tokens, leaves, tail, no_vectors, version, created_at, updated_at,
       format, markup, title, author, source_hash, pages
FROM {{tables.documents}}
WHERE owner_id = ?1 AND document_id = ?2;

-- name: document_chunks
SELECT chunk_id, document_id, parent_id, level, position, start_byte, end_byte, tokens, ordinal, length, input_hash, heading, lead, content,
       page, page_end, context, summary, parts
FROM {{tables.document_chunks}}
WHERE owner_id = ?1 AND document_id = ?2 AND level BETWEEN ?3 AND ?4
ORDER BY level, position;

-- name: chunk_page
SELECT chunk_id, document_id, parent_id, level, position, start_byte, end_byte, tokens, ordinal, length, input_hash, heading, lead, content,
       page, page_end, context, summary, parts
FROM {{tables.document_chunks}}
WHERE owner_id = ?1 AND document_id = ?2 AND level = ?3 AND position >= ?4 AND position < ?5
ORDER BY position;

-- name: chunk_count
SELECT (SELECT count(*) FROM {{tables.document_chunks}} c
        WHERE c.owner_id = d.owner_id AND c.document_id = d.document_id AND c.level = ?3)
FROM {{tables.documents}} d
WHERE d.owner_id = ?1 AND d.document_id = ?2;

-- name: stats
SELECT (SELECT count(*) FROM {{tables.document_chunks}} WHERE owner_id = ?1 AND level = 0),
       (SELECT count(*) FROM {{tables.document_chunks}} WHERE owner_id = ?1 AND level > 0),
       (SELECT count(*) FROM {{tables.text_segments}} WHERE owner_id = ?1),
       (SELECT coalesce(sum(leaves), 0) FROM {{tables.text_segments}} WHERE owner_id = ?1 AND leaves < ?2),
       (SELECT coalesce(sum(dead_count), 0) FROM {{tables.text_segments}} WHERE owner_id = ?1),
       (SELECT coalesce(sum(bytes), 0) FROM {{tables.text_segments}} WHERE owner_id = ?1),
       (SELECT coalesce(max(analysis), 0) FROM {{tables.document_owners}} WHERE owner_id = ?1),
       count(*), coalesce(sum(bytes), 0), coalesce(sum(tokens), 0), count(DISTINCT id_at_origin), min(created_at), max(updated_at)
FROM {{tables.documents}} WHERE owner_id = ?1;

-- name: stats_types
SELECT document_type, count(*) FROM {{tables.documents}} WHERE owner_id = ?1 GROUP BY 1;

-- name: stats_languages
SELECT language, sum(leaves) FROM {{tables.documents}} WHERE owner_id = ?1 GROUP BY 1;

-- name: backlog
SELECT owner_id FROM {{tables.document_owners}}
WHERE merge_due OR (analysis < ?1 AND leaves > 0)
ORDER BY (analysis < ?1) DESC, owner_id
LIMIT ?2;

-- name: document_ids
SELECT document_id FROM {{tables.documents}} WHERE owner_id = ?1 AND document_id > ?2 ORDER BY document_id LIMIT ?3;

-- name: owners
SELECT owner_id FROM {{tables.document_owners}} WHERE owner_id > ?1 AND documents > 0 ORDER BY owner_id LIMIT ?2;

-- name: list
SELECT document_id, id_at_origin, document_key, document_name, document_type, document_date, metadata, language,
       content_hash, bytes, tokens, leaves, tail, no_vectors, version, created_at, updated_at,
       format, markup, title, author, x'', x''
FROM {{tables.documents}} d
WHERE d.owner_id = ?1 /*condition*/
ORDER BY /*order*/
LIMIT ?2 OFFSET ?3;

-- name: list_count
SELECT count(*)
FROM {{tables.documents}} d
WHERE d.owner_id = ?1 /*condition*/;
