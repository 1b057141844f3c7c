-- Statements of a search. Most are asked for one row at a time: in the same process that costs less than to plan them for many.

-- name: owner_state
SELECT documents, leaves, length, next_ordinal, next_segment, analysis, languages, merge_due
FROM {{tables.document_owners}}
WHERE owner_id = ?1;

-- name: view_segments
SELECT segment_id, low, high, leaves, dead, dead_count, bytes
FROM {{tables.text_segments}}
WHERE owner_id = ?1
ORDER BY low;

-- name: view_page
-- The page of a segment that a term belongs to: the last that begins at or before the term.
SELECT first_term
FROM {{tables.text_postings}}
WHERE owner_id = ?1 AND segment_id = ?2 AND first_term <= ?3
ORDER BY first_term DESC LIMIT 1;

-- name: view_pages
SELECT segment_id, first_term, postings, NULL
FROM {{tables.text_postings}}
WHERE owner_id = ?1 AND segment_id = ?2 AND first_term = ?3;

-- name: view_pages_positions
SELECT segment_id, first_term, postings, positions
FROM {{tables.text_postings}}
WHERE owner_id = ?1 AND segment_id = ?2 AND first_term = ?3;

-- name: hit_chunk_id
SELECT chunk_id FROM {{tables.document_chunks}} WHERE owner_id = ?1 AND ordinal = ?2;

-- name: hits
SELECT c.chunk_id, c.document_id, c.parent_id, c.level, c.position, c.start_byte, c.end_byte,
       c.tokens, c.ordinal, c.length, c.input_hash, c.heading, c.lead, c.content,
       c.page, c.page_end, c.context, c.summary, c.parts,
       d.document_id, d.id_at_origin, d.document_key, d.document_name, d.document_type, d.document_date, d.metadata,
       d.language, d.content_hash, d.bytes, d.tokens, d.leaves, d.tail, d.no_vectors, d.version, d.created_at, d.updated_at,
       d.format, d.markup, d.title, d.author, x'', x''
FROM {{tables.document_chunks}} c
CROSS JOIN {{tables.documents}} d ON d.owner_id = c.owner_id AND d.document_id = c.document_id
WHERE c.owner_id = ?1 AND c.ordinal = ?2;

-- name: hit_parents
-- A parent, with an empty text.
SELECT chunk_id, document_id, parent_id, level, position, start_byte, end_byte, tokens, ordinal, length, input_hash, heading, lead, '',
       page, page_end, context, summary, parts
FROM {{tables.document_chunks}}
WHERE owner_id = ?1 AND chunk_id = ?2;

-- name: hit_parent_first
-- The leaves of a document before one, backwards: those of its parent come first.
SELECT position, parent_id
FROM {{tables.document_chunks}}
WHERE owner_id = ?1 AND document_id = ?2 AND level = 0 AND position < ?3
ORDER BY position DESC;

-- name: hit_parent_leaves
-- The leaves of a document from one on: those of its parent come first, and their leads and texts make up the parent's text.
SELECT parent_id, start_byte, lead, content
FROM {{tables.document_chunks}}
WHERE owner_id = ?1 AND document_id = ?2 AND level = 0 AND position >= ?3
ORDER BY position;

-- name: hit_neighbours
SELECT chunk_id, document_id, parent_id, level, position, start_byte, end_byte, tokens, ordinal, length, input_hash, heading, lead, content,
       page, page_end, context, summary, parts
FROM {{tables.document_chunks}}
WHERE owner_id = ?1 AND document_id = ?2 AND level = 0 AND position BETWEEN ?3 AND ?4
ORDER BY position;

-- name: select_leaves
-- The filter's condition on d takes the place of the marker.
SELECT c.ordinal
FROM {{tables.documents}} d
CROSS JOIN {{tables.document_chunks}} c ON c.owner_id = d.owner_id AND c.document_id = d.document_id AND c.level = 0
WHERE d.owner_id = ?1 /*condition*/
LIMIT ?2;

-- name: match_document
SELECT document_id FROM {{tables.document_chunks}} WHERE owner_id = ?1 AND ordinal = ?2;

-- name: match
SELECT 1 FROM {{tables.documents}} d WHERE d.owner_id = ?1 AND d.document_id = ?2 /*condition*/;
