-- Statements of a search. Rows are looked up one by one through an index, in subqueries that the planner may not reshape
-- (OFFSET 0): on a young table, whose statistics say nothing yet, it would read the whole of it instead.

-- name: owner_state
SELECT documents, leaves, length, next_ordinal, next_segment, analysis, languages, merge_due
FROM {{tables.document_owners}}
WHERE owner_id = $1;

-- name: active_generation
-- The generation that is searched, and the owner's index of its vectors, with how many there were when it was built.
SELECT coalesce(g.generation, 0), coalesce(i.index_name, ''), coalesce(i.vectors, 0)
FROM (SELECT) one
LEFT JOIN {{tables.embedding_generations}} g ON g.state = 'active'
LEFT JOIN {{tables.embedding_indexes}} i ON i.owner_id = $1 AND i.generation = g.generation AND i.ready;

-- name: view_segments
SELECT segment_id, low, high, leaves, dead, dead_count, bytes
FROM {{tables.text_segments}}
WHERE owner_id = $1
ORDER BY low;

-- name: view_pages
-- The pages that the terms belong to: in each segment, the last page that begins at or before the term.
WITH wanted AS MATERIALIZED (
    SELECT DISTINCT s.segment_id, p.first_term
    FROM {{tables.text_segments}} s
    CROSS JOIN pg_catalog.unnest($2::text[]) AS t (term)
    CROSS JOIN LATERAL (
        SELECT first_term FROM {{tables.text_postings}}
        WHERE owner_id = $1 AND segment_id = s.segment_id AND first_term <= t.term
        ORDER BY first_term DESC LIMIT 1
    ) p
    WHERE s.owner_id = $1
)
SELECT w.segment_id, w.first_term, p.postings, NULL::bytea
FROM wanted w
CROSS JOIN LATERAL (
    SELECT * FROM {{tables.text_postings}}
    WHERE owner_id = $1 AND segment_id = w.segment_id AND first_term = w.first_term OFFSET 0
) p;

-- name: view_pages_positions
-- The pages that the terms belong to: in each segment, the last page that begins at or before the term.
WITH wanted AS MATERIALIZED (
    SELECT DISTINCT s.segment_id, p.first_term
    FROM {{tables.text_segments}} s
    CROSS JOIN pg_catalog.unnest($2::text[]) AS t (term)
    CROSS JOIN LATERAL (
        SELECT first_term FROM {{tables.text_postings}}
        WHERE owner_id = $1 AND segment_id = s.segment_id AND first_term <= t.term
        ORDER BY first_term DESC LIMIT 1
    ) p
    WHERE s.owner_id = $1
)
SELECT w.segment_id, w.first_term, p.postings, p.positions
FROM wanted w
CROSS JOIN LATERAL (
    SELECT * FROM {{tables.text_postings}}
    WHERE owner_id = $1 AND segment_id = w.segment_id AND first_term = w.first_term OFFSET 0
) p;

-- name: hits
SELECT c.chunk_id::text, c.document_id::text, coalesce(c.parent_id::text, ''), c.level, c.position, c.start_byte, c.end_byte,
       c.tokens, coalesce(c.ordinal, 0), c.length, c.input_hash, c.heading, c.lead, c.content,
       c.page, c.page_end, c.context, c.summary, c.parts,
       d.document_id::text, d.id_at_origin, d.document_key, d.document_name, d.document_type, d.document_date, d.metadata,
       d.language, d.content_hash, d.bytes, d.tokens, d.leaves, d.tail, d.no_vectors, d.version, d.created_at, d.updated_at,
       d.format, d.markup, d.title, d.author, ''::bytea, ''::bytea
FROM unnest($2::bigint[], $3::integer[]) AS want (ordinal, rank)
CROSS JOIN LATERAL (
    SELECT * FROM {{tables.document_chunks}} WHERE owner_id = $1 AND ordinal = want.ordinal OFFSET 0
) c
CROSS JOIN LATERAL (
    SELECT * FROM {{tables.documents}} WHERE owner_id = $1 AND document_id = c.document_id OFFSET 0
) d
ORDER BY want.rank, c.chunk_id
LIMIT $4;

-- name: hit_parents
-- The leaves of the hits' parents, in order: their leads and texts make up the parents' texts. Of candidates that tie with the last
-- hit there may be thousands, so the hits are chosen first, as hits does.
WITH hit AS (
    SELECT DISTINCT parent_id FROM (
        SELECT c.parent_id
        FROM unnest($2::bigint[], $3::integer[]) AS want (ordinal, rank)
        CROSS JOIN LATERAL (
            SELECT chunk_id, parent_id FROM {{tables.document_chunks}} WHERE owner_id = $1 AND ordinal = want.ordinal OFFSET 0
        ) c
        ORDER BY want.rank, c.chunk_id
        LIMIT $4
    ) c
    WHERE parent_id IS NOT NULL
)
SELECT p.chunk_id::text, p.document_id::text, coalesce(p.parent_id::text, ''), p.level, p.position, p.start_byte, p.end_byte,
       p.tokens, 0::bigint, p.length, p.input_hash, p.heading, p.lead,
       (SELECT string_agg(CASE WHEN l.start_byte = p.start_byte THEN '' ELSE l.lead END || l.content, '' ORDER BY l.position)
        FROM {{tables.document_chunks}} l
        WHERE l.owner_id = $1 AND l.document_id = p.document_id AND l.level = 0 AND l.parent_id = p.chunk_id),
       p.page, p.page_end, p.context, p.summary, p.parts
FROM hit
CROSS JOIN LATERAL (
    SELECT * FROM {{tables.document_chunks}} WHERE owner_id = $1 AND chunk_id = hit.parent_id OFFSET 0
) p;

-- name: hit_neighbours
SELECT DISTINCT ON (n.document_id, n.position)
       n.chunk_id::text, n.document_id::text, coalesce(n.parent_id::text, ''), n.level, n.position, n.start_byte, n.end_byte,
       n.tokens, coalesce(n.ordinal, 0), n.length, n.input_hash, n.heading, n.lead, n.content,
       n.page, n.page_end, n.context, n.summary, n.parts
FROM (
    SELECT c.document_id, c.position
    FROM unnest($2::bigint[], $3::integer[]) AS want (ordinal, rank)
    CROSS JOIN LATERAL (
        SELECT chunk_id, document_id, position FROM {{tables.document_chunks}} WHERE owner_id = $1 AND ordinal = want.ordinal OFFSET 0
    ) c
    ORDER BY want.rank, c.chunk_id
    LIMIT $4
) c
CROSS JOIN LATERAL (
    SELECT * FROM {{tables.document_chunks}}
    WHERE owner_id = $1 AND document_id = c.document_id AND level = 0
      AND position BETWEEN c.position - $5 AND c.position + $5
    OFFSET 0
) n
ORDER BY n.document_id, n.position;

-- name: select_leaves
-- The filter's condition on d takes the place of the marker.
SELECT c.ordinal
FROM {{tables.documents}} d
JOIN {{tables.document_chunks}} c ON c.owner_id = d.owner_id AND c.document_id = d.document_id AND c.ordinal IS NOT NULL
WHERE d.owner_id = $1 /*condition*/
LIMIT $2;

-- name: match
-- Each stage after the first is run only if the stages before it let too few pass.
WITH head AS MATERIALIZED (
    SELECT w.ordinal
    FROM pg_catalog.unnest($2::bigint[]) AS w (ordinal)
    CROSS JOIN LATERAL (
        SELECT document_id FROM {{tables.document_chunks}} WHERE owner_id = $1 AND ordinal = w.ordinal OFFSET 0
    ) c
    CROSS JOIN LATERAL (
        SELECT * FROM {{tables.documents}} WHERE owner_id = $1 AND document_id = c.document_id OFFSET 0
    ) d
    WHERE true /*condition*/
), middle AS MATERIALIZED (
    SELECT w.ordinal
    FROM pg_catalog.unnest($3::bigint[]) AS w (ordinal)
    CROSS JOIN LATERAL (
        SELECT document_id FROM {{tables.document_chunks}} WHERE owner_id = $1 AND ordinal = w.ordinal OFFSET 0
    ) c
    CROSS JOIN LATERAL (
        SELECT * FROM {{tables.documents}} WHERE owner_id = $1 AND document_id = c.document_id OFFSET 0
    ) d
    WHERE (SELECT count(*) FROM head) < $5 /*condition*/
), rest AS MATERIALIZED (
    SELECT w.ordinal
    FROM pg_catalog.unnest($4::bigint[]) AS w (ordinal)
    CROSS JOIN LATERAL (
        SELECT document_id FROM {{tables.document_chunks}} WHERE owner_id = $1 AND ordinal = w.ordinal OFFSET 0
    ) c
    CROSS JOIN LATERAL (
        SELECT * FROM {{tables.documents}} WHERE owner_id = $1 AND document_id = c.document_id OFFSET 0
    ) d
    WHERE (SELECT count(*) FROM head) + (SELECT count(*) FROM middle) < $5 /*condition*/
)
SELECT ordinal FROM head UNION ALL SELECT ordinal FROM middle UNION ALL SELECT ordinal FROM rest;
