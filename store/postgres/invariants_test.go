package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/postings"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
	"github.com/llmemory/llmemory/store/storetest"
)

// invariants lists what is wrong with the rows of an owner, a line for each fault: counts and sums that are not those of the rows,
// gaps in positions or in the text, leaves outside the text index, rows that have lost what they belong to.
const invariants = `
WITH doc AS (SELECT * FROM {{tables.documents}} WHERE owner_id = $1),
leaf AS (SELECT * FROM {{tables.document_chunks}} WHERE owner_id = $1 AND level = 0),
parent AS (SELECT * FROM {{tables.document_chunks}} WHERE owner_id = $1 AND level <> 0),
segment AS (SELECT * FROM {{tables.text_segments}} WHERE owner_id = $1),
page AS (SELECT * FROM {{tables.text_postings}} WHERE owner_id = $1),
owner AS (SELECT * FROM {{tables.document_owners}} WHERE owner_id = $1),

-- What belongs to what.
lost AS (
    SELECT format('%s rows of the owner and no row of the owner itself', n) AS fault
    FROM (SELECT (SELECT count(*) FROM doc) + (SELECT count(*) FROM leaf) + (SELECT count(*) FROM parent)
            + (SELECT count(*) FROM segment) + (SELECT count(*) FROM page) AS n) t
    WHERE n > 0 AND NOT EXISTS (SELECT FROM owner)
    UNION ALL
    SELECT format('chunk %s: there is no document %s', chunk_id, document_id) FROM (TABLE leaf UNION ALL TABLE parent) c
    WHERE NOT EXISTS (SELECT FROM doc d WHERE d.document_id = c.document_id)
    UNION ALL
    SELECT format('chunk %s: there is no parent %s one level up in its document', chunk_id, parent_id)
    FROM (TABLE leaf UNION ALL TABLE parent) c
    WHERE parent_id IS NOT NULL AND NOT EXISTS (SELECT FROM parent p
        WHERE p.chunk_id = c.parent_id AND p.document_id = c.document_id AND p.level = c.level + 1)
    UNION ALL
    SELECT format('parent %s has no leaf', chunk_id) FROM parent p
    WHERE NOT EXISTS (SELECT FROM leaf l WHERE l.parent_id = p.chunk_id)
    UNION ALL
    SELECT format('page %s: there is no segment %s', first_term, segment_id) FROM page p
    WHERE NOT EXISTS (SELECT FROM segment s WHERE s.segment_id = p.segment_id)
    UNION ALL
    SELECT format('chunk %s refers to document %s of owner %s', chunk_id, d.document_id, d.owner_id) FROM (TABLE leaf UNION ALL TABLE parent) c
    JOIN {{tables.documents}} d ON d.document_id = c.document_id AND d.owner_id <> $1
    UNION ALL
    SELECT format('chunk %s refers to parent %s of owner %s', c.chunk_id, p.chunk_id, p.owner_id) FROM (TABLE leaf UNION ALL TABLE parent) c
    JOIN {{tables.document_chunks}} p ON p.chunk_id = c.parent_id AND p.owner_id <> $1
),
-- A document against its chunks: leads, leaves and tail are the text, without a gap.
text AS (
    SELECT document_id, count(*) AS leaves, sum(tokens) AS tokens, sum(octet_length(lead) + octet_length(content)) AS bytes,
           bool_and(position = place - 1 AND start_byte = before + octet_length(lead) AND end_byte = start_byte + octet_length(content)
               AND ordinal IS NOT NULL AND input_hash IS NOT NULL) AS ok
    FROM (SELECT *, row_number() OVER w AS place, coalesce(lag(end_byte) OVER w, 0) AS before FROM leaf
          WINDOW w AS (PARTITION BY document_id ORDER BY position)) l
    GROUP BY document_id
),
family AS (
    SELECT document_id, bool_and(position = place - 1 AND ordinal IS NULL AND content = '' AND start_byte = low AND end_byte = high) AS ok
    FROM (SELECT p.*, row_number() OVER (PARTITION BY document_id, level ORDER BY position) AS place, low, high FROM parent p
          LEFT JOIN (SELECT parent_id, min(start_byte) AS low, max(end_byte) AS high FROM leaf GROUP BY parent_id) l ON l.parent_id = p.chunk_id) p
    GROUP BY document_id
),
torn AS (
    SELECT format('document %s: %s leaves, %s tokens, %s bytes; its chunks have %s, %s, %s; in order: leaves %s, parents %s', document_id,
        d.leaves, d.tokens, d.bytes, t.leaves, t.tokens, t.bytes + octet_length(d.tail), t.ok, f.ok) AS fault
    FROM doc d LEFT JOIN text t USING (document_id) LEFT JOIN family f USING (document_id)
    WHERE (d.leaves, d.tokens, d.bytes) IS DISTINCT FROM (t.leaves, t.tokens, t.bytes + octet_length(d.tail)) OR t.ok IS NOT true OR NOT f.ok
),
-- The owner's row against all of it.
sums AS (
    SELECT format('the owner''s row says %s, the rows say %s', said, are) AS fault FROM (
        SELECT jsonb_build_object('documents', documents, 'leaves', leaves, 'length', length, 'languages', languages) AS said,
            jsonb_build_object('documents', (SELECT count(*) FROM doc), 'leaves', (SELECT count(*) FROM leaf),
                'length', (SELECT coalesce(sum(length), 0) FROM leaf), 'languages', coalesce(
                    (SELECT jsonb_object_agg(language, n) FROM (SELECT language, sum(leaves) AS n FROM doc GROUP BY language) t), '{}')) AS are
        FROM owner) t
    WHERE said <> are
    UNION ALL
    SELECT format('next ordinal %s, segment %s; taken are %s, %s', next_ordinal, next_segment, o, s) FROM owner, (
        SELECT (SELECT max(ordinal) FROM leaf) AS o, (SELECT max(segment_id) FROM segment) AS s) t
    WHERE next_ordinal <= o OR next_segment <= s
),
-- The text index: each leaf in one segment, each segment with its pages.
index AS (
    SELECT format('leaf %s is in %s segments', l.ordinal, n) AS fault FROM leaf l
    CROSS JOIN LATERAL (SELECT count(*) AS n FROM segment s WHERE l.ordinal >= s.low AND l.ordinal < s.high) t
    WHERE n <> 1
    UNION ALL
    SELECT format('segment %s: [%s, %s), %s leaves, %s dead, %s bytes; it has %s leaves alive, %s bytes in pages', segment_id, low, high,
        s.leaves, dead_count, s.bytes, alive, paged) FROM segment s
    CROSS JOIN LATERAL (SELECT (SELECT count(*) FROM leaf l WHERE l.ordinal >= s.low AND l.ordinal < s.high) AS alive,
        (SELECT coalesce(sum(length(postings) + length(positions)), 0) FROM page p WHERE p.segment_id = s.segment_id) AS paged) t
    WHERE s.low >= s.high OR s.high > (SELECT next_ordinal FROM owner) OR s.leaves - s.dead_count <> alive OR alive = 0 OR s.bytes <> paged
)
TABLE lost UNION ALL TABLE torn UNION ALL TABLE sums UNION ALL TABLE index ORDER BY 1`

// checkRows returns what is wrong with the rows of an owner.
func checkRows(ctx context.Context, db pgdbm.Querier, owner string) error {
	rows, err := db.Query(ctx, invariants, owner)
	if err != nil {
		return err
	}
	faults, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err == nil && len(faults) > 0 {
		err = errors.New(strings.Join(faults[:min(len(faults), 20)], "\n"))
	}
	return err
}

// checkOf is [checkRows] as the conformance suite takes it.
func checkOf(ctx context.Context, store llmemory.Store, owner string) error {
	return checkRows(ctx, store.(reopenable).DB(), owner)
}

// checkStored checks everything that is stored, of whatever owner: the rows by SQL, the text indexes against their leaves, that
// every leaf has its vectors or jobs.
func checkStored(ctx context.Context, store *postgres.Store) error {
	rows, err := store.DB().Query(ctx, `SELECT owner_id FROM {{tables.document_owners}} UNION SELECT owner_id FROM {{tables.documents}}
		UNION SELECT owner_id FROM {{tables.document_chunks}} UNION SELECT owner_id FROM {{tables.text_segments}}
		UNION SELECT owner_id FROM {{tables.text_postings}}`)
	if err != nil {
		return err
	}
	owners, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, owner := range owners {
		err = errors.Join(err, checkRows(ctx, store.DB(), owner), storetest.CheckIndex(ctx, store, owner))
	}
	return errors.Join(err, checkQueue(ctx, store))
}

// TestInvariants spoils what is stored in one way after the other: each must be found, or tests that rely on finding nothing would
// prove nothing.
func TestInvariants(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, err := postgres.Open(ctx, pgtest.Clone(t, "llmemory conformance", migrate), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	mem, err := llmemory.New(store, &llmemory.Config{Chunker: verses})
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range []llmemory.Document{
		{Key: "1", Language: "en", Content: "alpha one\nbeta two\ngamma three\n\n"},
		{Key: "2", Language: "de", Content: "alpha eins\nbeta zwei"},
		{Key: "3", Language: "de", Content: "alpha drei"},
		{Key: "1", Language: "en", Content: "alpha one\ngamma three\ndelta four\n"}, // leaves a dead leaf behind
	} {
		if _, err := mem.Owner("o").Add(ctx, doc); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := mem.Owner("p").Add(ctx, llmemory.Document{Key: "1", Content: "of another owner\nand more of it"}); err != nil {
		t.Fatal(err)
	}
	if err := checkStored(ctx, store); err != nil {
		t.Fatal(err)
	}
	alive := postings.NewSet(0).Encode() // the dead one is 1
	const four = ` WHERE owner_id = 'o' AND content = 'delta four'`
	for name, sql := range map[string][]any{
		"a document without its owner":    {`DELETE FROM {{tables.document_owners}} WHERE owner_id = 'o'`},
		"a parent that is not there":      {`UPDATE {{tables.document_chunks}} SET parent_id = gen_random_uuid()` + four},
		"a parent of another owner":       {`UPDATE {{tables.document_chunks}} SET parent_id = (SELECT min(parent_id::text)::uuid FROM {{tables.document_chunks}} WHERE owner_id = 'p')` + four},
		"a parent left behind":            {`UPDATE {{tables.document_chunks}} SET parent_id = NULL WHERE owner_id = 'o'`},
		"a page without its segment":      {`DELETE FROM {{tables.text_segments}} WHERE owner_id = 'o' AND segment_id = 2`},
		"a segment without its pages":     {`DELETE FROM {{tables.text_postings}} WHERE owner_id = 'o' AND segment_id = 2`},
		"a segment gone, pages and all":   {`WITH p AS (DELETE FROM {{tables.text_postings}} WHERE owner_id = 'o' AND segment_id = 2) DELETE FROM {{tables.text_segments}} WHERE owner_id = 'o' AND segment_id = 2`},
		"a chunk too few":                 {`DELETE FROM {{tables.document_chunks}}` + four},
		"a chunk of another document":     {`UPDATE {{tables.document_chunks}} SET document_id = (SELECT document_id FROM {{tables.documents}} WHERE owner_id = 'o' AND document_key = '3')` + four},
		"a document gone, chunks and all": {`DELETE FROM {{tables.documents}} WHERE owner_id = 'o' AND document_key = '2'`},
		"a document's count":              {`UPDATE {{tables.documents}} SET leaves = leaves - 1 WHERE owner_id = 'o' AND document_key = '1'`},
		"a document's bytes":              {`UPDATE {{tables.documents}} SET tail = '' WHERE owner_id = 'o' AND document_key = '1'`},
		"a gap in the positions":          {`UPDATE {{tables.document_chunks}} SET position = 7` + four},
		"a gap in the text":               {`UPDATE {{tables.document_chunks}} SET lead = ''` + four},
		"another text":                    {`UPDATE {{tables.document_chunks}} SET content = 'delta five'` + four},
		"a leaf without an ordinal":       {`UPDATE {{tables.document_chunks}} SET ordinal = NULL` + four},
		"a leaf of a dead one's ordinal":  {`UPDATE {{tables.document_chunks}} SET ordinal = 1` + four},
		"a leaf's length":                 {`UPDATE {{tables.document_chunks}} SET length = length + 1` + four},
		"the owner's documents":           {`UPDATE {{tables.document_owners}} SET documents = documents + 1 WHERE owner_id = 'o'`},
		"the owner's leaves":              {`UPDATE {{tables.document_owners}} SET leaves = leaves - 1 WHERE owner_id = 'o'`},
		"the owner's length":              {`UPDATE {{tables.document_owners}} SET length = length + 1 WHERE owner_id = 'o'`},
		"the owner's languages":           {`UPDATE {{tables.document_owners}} SET languages = languages - 'de' WHERE owner_id = 'o'`},
		"an ordinal to be given twice":    {`UPDATE {{tables.document_owners}} SET next_ordinal = 3 WHERE owner_id = 'o'`},
		"a segment to be made twice":      {`UPDATE {{tables.document_owners}} SET next_segment = 2 WHERE owner_id = 'o'`},
		"a segment's range":               {`UPDATE {{tables.text_segments}} SET high = low + 1 WHERE owner_id = 'o' AND segment_id = 2`},
		"the dead not marked":             {`UPDATE {{tables.text_segments}} SET dead = NULL, dead_count = 0 WHERE owner_id = 'o' AND segment_id = 1`},
		"the dead marked, not counted":    {`UPDATE {{tables.text_segments}} SET dead_count = 0 WHERE owner_id = 'o' AND segment_id = 1`},
		"the wrong one dead":              {`UPDATE {{tables.text_segments}} SET dead = $1 WHERE owner_id = 'o' AND segment_id = 1`, alive},
		"other postings": {`UPDATE {{tables.text_postings}} p SET postings = q.postings, positions = q.positions FROM {{tables.text_postings}} q
			WHERE p.owner_id = 'o' AND p.segment_id = 3 AND q.owner_id = 'o' AND q.segment_id = 4`},
	} {
		err := pgx.BeginFunc(ctx, store.DB().Pool().Pgx(), func(tx pgx.Tx) error {
			q := store.DB().WithTx(tx)
			tag, err := q.Exec(ctx, sql[0].(string), sql[1:]...)
			if err != nil || tag.RowsAffected() == 0 {
				t.Errorf("%s: %d rows spoilt, %v", name, tag.RowsAffected(), err)
				return errSpoilt
			}
			rows, index := checkRows(ctx, q, "o"), storetest.CheckIndex(ctx, store.WithTx(tx), "o")
			if rows == nil && index == nil {
				t.Errorf("%s: not found", name)
			}
			return errSpoilt // undoes it
		})
		if !errors.Is(err, errSpoilt) {
			t.Error(err)
		}
	}
}

var errSpoilt = errors.New("spoilt on purpose")
