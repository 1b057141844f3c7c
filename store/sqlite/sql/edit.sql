-- name: make_owner
INSERT INTO {{tables.document_owners}} (owner_id, analysis) VALUES (?1, ?2) ON CONFLICT (owner_id) DO NOTHING;

-- name: edit_documents_by_identity
SELECT document_id, id_at_origin, document_key, document_name, document_type, document_date, metadata, language,
       content_hash, bytes, tokens, leaves, tail, no_vectors, version, created_at, updated_at,
       format, markup, title, author, source_hash, pages
FROM {{tables.documents}}
WHERE owner_id = ?1 AND id_at_origin = ?2 AND document_key = ?3;

-- name: edit_documents_by_id
SELECT document_id, id_at_origin, document_key, document_name, document_type, document_date, metadata, language,
       content_hash, bytes, tokens, leaves, tail, no_vectors, version, created_at, updated_at,
       format, markup, title, author, source_hash, pages
FROM {{tables.documents}}
WHERE owner_id = ?1 AND document_id = ?2;

-- name: edit_documents_where
SELECT document_id, id_at_origin, document_key, document_name, document_type, document_date, metadata, language,
       content_hash, bytes, tokens, leaves, tail, no_vectors, version, created_at, updated_at,
       format, markup, title, author, source_hash, pages
FROM {{tables.documents}} d
WHERE d.owner_id = ?1 /*condition*/
ORDER BY document_id
LIMIT ?2;

-- name: edit_chunks
-- The chunks of a document without their texts.
SELECT chunk_id, document_id, parent_id, level, position, start_byte, end_byte, tokens, ordinal, length, input_hash, heading, lead, '',
       page, page_end, context, summary, parts
FROM {{tables.document_chunks}}
WHERE owner_id = ?1 AND document_id = ?2;

-- name: load_pages
SELECT segment_id, first_term, postings, positions
FROM {{tables.text_postings}}
WHERE owner_id = ?1 AND segment_id = ?2
ORDER BY first_term;

-- name: leaves
SELECT c.ordinal, coalesce(nullif(d.document_name, ''), d.title), d.language, c.heading, c.context, c.content
FROM {{tables.document_chunks}} c
CROSS JOIN {{tables.documents}} d ON d.owner_id = c.owner_id AND d.document_id = c.document_id
WHERE c.owner_id = ?1 AND c.ordinal > ?2
ORDER BY c.ordinal
LIMIT ?3;

-- name: delete_documents
-- Their chunks go with them.
DELETE FROM {{tables.documents}} WHERE owner_id = ?1 AND document_id = ?2;

-- name: put_documents
INSERT INTO {{tables.documents}} AS d (owner_id, document_id, id_at_origin, document_key, document_name, document_type,
    document_date, metadata, language, content_hash, bytes, tokens, leaves, tail, no_vectors, version, created_at, updated_at,
    format, markup, title, author, source_hash, pages)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)
ON CONFLICT (owner_id, document_id) DO UPDATE SET
    document_name = excluded.document_name, document_type = excluded.document_type, document_date = excluded.document_date,
    metadata = excluded.metadata, language = excluded.language, content_hash = excluded.content_hash, bytes = excluded.bytes,
    tokens = excluded.tokens, leaves = excluded.leaves, tail = excluded.tail, no_vectors = excluded.no_vectors,
    format = excluded.format, markup = excluded.markup, title = excluded.title, author = excluded.author,
    source_hash = excluded.source_hash, pages = excluded.pages, version = excluded.version, updated_at = max(excluded.updated_at, d.updated_at + 1);

-- name: restore_documents
-- put_documents, for those that come from another store with their dates.
INSERT INTO {{tables.documents}} AS d (owner_id, document_id, id_at_origin, document_key, document_name, document_type,
    document_date, metadata, language, content_hash, bytes, tokens, leaves, tail, no_vectors, version, created_at, updated_at,
    format, markup, title, author, source_hash, pages)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)
ON CONFLICT (owner_id, document_id) DO UPDATE SET
    document_name = excluded.document_name, document_type = excluded.document_type, document_date = excluded.document_date,
    metadata = excluded.metadata, language = excluded.language, content_hash = excluded.content_hash, bytes = excluded.bytes,
    tokens = excluded.tokens, leaves = excluded.leaves, tail = excluded.tail, no_vectors = excluded.no_vectors,
    format = excluded.format, markup = excluded.markup, title = excluded.title, author = excluded.author,
    source_hash = excluded.source_hash, pages = excluded.pages, version = excluded.version, created_at = excluded.created_at, updated_at = excluded.updated_at;

-- name: delete_chunks
DELETE FROM {{tables.document_chunks}} WHERE owner_id = ?1 AND chunk_id = ?2;

-- name: update_chunks
UPDATE {{tables.document_chunks}} SET
    parent_id = ?3, position = ?4, start_byte = ?5, end_byte = ?6, tokens = ?7, ordinal = ?8, length = ?9, input_hash = ?10,
    heading = ?11, lead = ?12, page = ?13, page_end = ?14, context = ?15, summary = ?16, parts = ?17
WHERE owner_id = ?1 AND chunk_id = ?2;

-- name: insert_chunks
INSERT INTO {{tables.document_chunks}} (owner_id, chunk_id, parent_id, position, start_byte, end_byte, tokens, ordinal, length,
    input_hash, heading, lead, page, page_end, context, summary, parts, document_id, level, content)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20);

-- name: set_lengths
UPDATE {{tables.document_chunks}} SET length = ?3 WHERE owner_id = ?1 AND ordinal = ?2;

-- name: put_owner
UPDATE {{tables.document_owners}} SET
    documents = ?2, leaves = ?3, length = ?4, next_ordinal = ?5, next_segment = ?6, analysis = ?7, languages = ?8, merge_due = ?9
WHERE owner_id = ?1;

-- name: put_pages
INSERT INTO {{tables.text_postings}} (owner_id, segment_id, first_term, postings, positions) VALUES (?1, ?2, ?3, ?4, ?5);

-- name: insert_segments
INSERT INTO {{tables.text_segments}} (owner_id, segment_id, low, high, leaves, bytes, dead_count, dead)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8);

-- name: delete_pages
DELETE FROM {{tables.text_postings}} WHERE owner_id = ?1 AND segment_id = ?2;

-- name: delete_segments
DELETE FROM {{tables.text_segments}} WHERE owner_id = ?1 AND segment_id = ?2;

-- name: dead_segments
UPDATE {{tables.text_segments}} SET dead = ?3, dead_count = ?4 WHERE owner_id = ?1 AND segment_id = ?2;
