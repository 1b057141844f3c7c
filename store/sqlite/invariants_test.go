package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/internal/postings"
	"github.com/llmemory/llmemory/store/sqlite"
	"github.com/llmemory/llmemory/store/storetest"
)

// invariants lists what is wrong with the rows of an owner, a line for each fault: counts and sums that are not those of the rows,
// gaps in positions or in the text, leaves outside the text index, rows that have lost what they belong to.
const invariants = `
WITH doc AS (SELECT * FROM documents WHERE owner_id = ?1),
chunk AS (SELECT * FROM document_chunks WHERE owner_id = ?1),
leaf AS (SELECT * FROM chunk WHERE level = 0),
parent AS (SELECT * FROM chunk WHERE level <> 0),
segment AS (SELECT * FROM text_segments WHERE owner_id = ?1),
page AS (SELECT * FROM text_postings WHERE owner_id = ?1),
owner AS (SELECT * FROM document_owners WHERE owner_id = ?1),

-- What belongs to what.
lost AS (
    SELECT format('%d rows of the owner and no row of the owner itself', n) AS fault
    FROM (SELECT (SELECT count(*) FROM doc) + (SELECT count(*) FROM chunk) + (SELECT count(*) FROM segment) + (SELECT count(*) FROM page) AS n)
    WHERE n > 0 AND NOT EXISTS (SELECT 1 FROM owner)
    UNION ALL
    SELECT format('chunk %s: there is no document %s', hex(chunk_id), hex(document_id)) FROM chunk c
    WHERE NOT EXISTS (SELECT 1 FROM doc d WHERE d.document_id = c.document_id)
    UNION ALL
    SELECT format('chunk %s: there is no parent %s one level up in its document', hex(chunk_id), hex(parent_id)) FROM chunk c
    WHERE parent_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM parent p
        WHERE p.chunk_id = c.parent_id AND p.document_id = c.document_id AND p.level = c.level + 1)
    UNION ALL
    SELECT format('parent %s has no leaf', hex(chunk_id)) FROM parent p
    WHERE NOT EXISTS (SELECT 1 FROM leaf l WHERE l.parent_id = p.chunk_id)
    UNION ALL
    SELECT format('page %s: there is no segment %d', first_term, segment_id) FROM page p
    WHERE NOT EXISTS (SELECT 1 FROM segment s WHERE s.segment_id = p.segment_id)
),
-- A document against its chunks: leads, leaves and tail are the text, without a gap.
text AS (
    SELECT document_id, count(*) AS leaves, sum(tokens) AS tokens, sum(octet_length(lead) + octet_length(content)) AS bytes,
           min(position = place - 1 AND start_byte = before + octet_length(lead) AND end_byte = start_byte + octet_length(content)
               AND ordinal IS NOT NULL AND input_hash IS NOT NULL) AS ok
    FROM (SELECT *, row_number() OVER w AS place, coalesce(lag(end_byte) OVER w, 0) AS before FROM leaf
          WINDOW w AS (PARTITION BY document_id ORDER BY position)) l
    GROUP BY document_id
),
family AS (
    SELECT document_id, min(position = place - 1 AND ordinal IS NULL AND content = '' AND start_byte = low AND end_byte = high) AS ok
    FROM (SELECT p.*, row_number() OVER (PARTITION BY document_id, level ORDER BY position) AS place, low, high FROM parent p
          LEFT JOIN (SELECT parent_id AS id, min(start_byte) AS low, max(end_byte) AS high FROM leaf GROUP BY parent_id) l ON l.id = p.chunk_id) p
    GROUP BY document_id
),
torn AS (
    SELECT format('document %s: %d leaves, %d tokens, %d bytes; its chunks have %d, %d, %d; in order: leaves %d, parents %d', hex(d.document_id),
        d.leaves, d.tokens, d.bytes, t.leaves, t.tokens, t.bytes + octet_length(d.tail), t.ok, f.ok) AS fault
    FROM doc d LEFT JOIN text t USING (document_id) LEFT JOIN family f USING (document_id)
    WHERE (d.leaves, d.tokens, d.bytes) IS NOT (t.leaves, t.tokens, t.bytes + octet_length(d.tail)) OR t.ok IS NOT 1 OR f.ok = 0
),
-- The owner's row against all of it.
sums AS (
    SELECT format('the owner''s row says %s, the rows say %s', said, are) AS fault FROM (
        SELECT format('%d documents, %d leaves, length %d', documents, leaves, length) AS said,
            format('%d documents, %d leaves, length %d', (SELECT count(*) FROM doc), (SELECT count(*) FROM leaf),
                (SELECT coalesce(sum(length), 0) FROM leaf)) AS are
        FROM owner)
    WHERE said <> are
    UNION ALL
    SELECT format('the owner''s languages are %s, the rows have %d of %s', languages, n, language)
    FROM owner, (SELECT language, sum(leaves) AS n FROM doc GROUP BY language)
    WHERE n <> 0 AND n IS NOT (SELECT value FROM json_each(languages) WHERE key = language)
    UNION ALL
    SELECT format('the owner''s languages have %s, no row has', key) FROM owner, json_each(languages)
    WHERE value <> 0 AND key NOT IN (SELECT language FROM doc)
    UNION ALL
    SELECT format('next ordinal %d, segment %d; taken are %d, %d', next_ordinal, next_segment, o, s) FROM owner, (
        SELECT (SELECT max(ordinal) FROM leaf) AS o, (SELECT max(segment_id) FROM segment) AS s)
    WHERE next_ordinal <= o OR next_segment <= s
),
-- The text index: each leaf in one segment, each segment with its pages.
indexed AS (
    SELECT format('leaf %d is in %d segments', ordinal, n) AS fault
    FROM (SELECT ordinal, (SELECT count(*) FROM segment s WHERE l.ordinal >= s.low AND l.ordinal < s.high) AS n FROM leaf l)
    WHERE n <> 1
    UNION ALL
    SELECT format('segment %d: [%d, %d), %d leaves, %d dead, %d bytes; it has %d leaves alive, %d bytes in pages', segment_id, low, high,
        leaves, dead_count, bytes, alive, paged)
    FROM (SELECT s.*, (SELECT count(*) FROM leaf l WHERE l.ordinal >= s.low AND l.ordinal < s.high) AS alive,
            (SELECT coalesce(sum(length(postings) + length(positions)), 0) FROM page p WHERE p.segment_id = s.segment_id) AS paged FROM segment s)
    WHERE low >= high OR high > (SELECT next_ordinal FROM owner) OR leaves - dead_count <> alive OR alive = 0 OR bytes <> paged
)
SELECT fault FROM lost UNION ALL SELECT fault FROM torn UNION ALL SELECT fault FROM sums UNION ALL SELECT fault FROM indexed ORDER BY 1`

// checkRows returns what is wrong with the rows of an owner.
func checkRows(ctx context.Context, store llmemory.Store, owner string) error {
	faults, err := sqlite.Check(ctx, store.(*sqlite.Store), invariants, owner)
	if err == nil && len(faults) > 0 {
		err = errors.New(strings.Join(faults[:min(len(faults), 20)], "\n"))
	}
	return err
}

// checkStored checks everything that is stored, of whatever owner: the file by SQLite itself, the rows by SQL, the text indexes
// against their leaves.
func checkStored(ctx context.Context, store *sqlite.Store) error {
	for _, sql := range []string{"PRAGMA integrity_check", "PRAGMA foreign_key_check"} {
		rows, err := sqlite.Rows(ctx, store, sql)
		if err != nil || len(rows) > 0 && !slices.Equal(rows[0], []string{"ok"}) {
			return errors.Join(err, fmt.Errorf("%s: %q", sql, rows))
		}
	}
	rows, err := sqlite.Rows(ctx, store, `SELECT owner_id FROM document_owners UNION SELECT owner_id FROM documents
		UNION SELECT owner_id FROM document_chunks UNION SELECT owner_id FROM text_segments UNION SELECT owner_id FROM text_postings`)
	for _, r := range rows {
		err = errors.Join(err, checkRows(ctx, store, r[0]), storetest.CheckIndex(ctx, store, r[0]))
	}
	return err
}

// verses makes a leaf of every line, and a parent over every two.
var verses = chunk.Func{Name: "verses 1", Cut: func(_ context.Context, t chunk.Text) ([]chunk.Piece, error) {
	var out, leaves []chunk.Piece
	at := 0
	for line := range strings.Lines(t.Content) {
		if text := strings.TrimSpace(line); text != "" {
			start := at + strings.Index(line, text)
			leaves = append(leaves, chunk.Piece{Start: start, End: start + len(text), Parent: -1, Tokens: len(strings.Fields(text))})
		}
		at += len(line)
	}
	for pair := range slices.Chunk(leaves, 2) {
		parent := chunk.Piece{Start: pair[0].Start, End: pair[len(pair)-1].End, Level: 1, Parent: -1}
		for i := range pair {
			pair[i].Parent = len(out)
			parent.Tokens += pair[i].Tokens
		}
		out = append(append(out, parent), pair...)
	}
	return out, nil
}}

// memory returns a memory on a store whose leaves are lines.
func memory(tb testing.TB, store llmemory.Store) *llmemory.Memory {
	tb.Helper()
	mem, err := llmemory.New(store, &llmemory.Config{Chunker: verses})
	if err != nil {
		tb.Fatal(err)
	}
	return mem
}

// TestInvariants spoils what is stored in one way after the other: each must be found, or tests that rely on finding nothing would
// prove nothing.
func TestInvariants(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	fresh := func(t *testing.T) *sqlite.Store {
		t.Helper()
		store := openAt(t, newPath(t), sqlite.Off)
		mem := memory(t, store)
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
		return store
	}
	if err := checkStored(ctx, fresh(t)); err != nil {
		t.Fatal(err)
	}
	alive := postings.NewSet(0).Encode() // the dead one is 1
	const four = ` WHERE owner_id = 'o' AND content = 'delta four'`
	for name, sql := range map[string][]any{
		"a document without its owner":   {`DELETE FROM document_owners WHERE owner_id = 'o'`},
		"a parent that is not there":     {`UPDATE document_chunks SET parent_id = randomblob(16)` + four},
		"a parent of another owner":      {`UPDATE document_chunks SET parent_id = (SELECT min(parent_id) FROM document_chunks WHERE owner_id = 'p')` + four},
		"a parent left behind":           {`UPDATE document_chunks SET parent_id = NULL WHERE owner_id = 'o'`},
		"a page without its segment":     {`DELETE FROM text_segments WHERE owner_id = 'o' AND segment_id = 2`},
		"a segment without its pages":    {`DELETE FROM text_postings WHERE owner_id = 'o' AND segment_id = 2`},
		"a chunk too few":                {`DELETE FROM document_chunks` + four},
		"a chunk of another document":    {`UPDATE document_chunks SET document_id = (SELECT document_id FROM documents WHERE owner_id = 'o' AND document_key = '3')` + four},
		"a document gone, with chunks":   {`DELETE FROM documents WHERE owner_id = 'o' AND document_key = '2'`},
		"a document's count":             {`UPDATE documents SET leaves = leaves - 1 WHERE owner_id = 'o' AND document_key = '1'`},
		"a document's bytes":             {`UPDATE documents SET tail = '' WHERE owner_id = 'o' AND document_key = '1'`},
		"a gap in the positions":         {`UPDATE document_chunks SET position = 7` + four},
		"a gap in the text":              {`UPDATE document_chunks SET lead = ''` + four},
		"another text":                   {`UPDATE document_chunks SET content = 'delta five'` + four},
		"a leaf without an ordinal":      {`UPDATE document_chunks SET ordinal = NULL` + four},
		"a leaf of a dead one's ordinal": {`UPDATE document_chunks SET ordinal = 1` + four},
		"a leaf's length":                {`UPDATE document_chunks SET length = length + 1` + four},
		"the owner's documents":          {`UPDATE document_owners SET documents = documents + 1 WHERE owner_id = 'o'`},
		"the owner's leaves":             {`UPDATE document_owners SET leaves = leaves - 1 WHERE owner_id = 'o'`},
		"the owner's length":             {`UPDATE document_owners SET length = length + 1 WHERE owner_id = 'o'`},
		"the owner's languages":          {`UPDATE document_owners SET languages = json_remove(languages, '$.de') WHERE owner_id = 'o'`},
		"a language of no row":           {`UPDATE document_owners SET languages = json_set(languages, '$.fr', 1) WHERE owner_id = 'o'`},
		"an ordinal to be given twice":   {`UPDATE document_owners SET next_ordinal = 3 WHERE owner_id = 'o'`},
		"a segment to be made twice":     {`UPDATE document_owners SET next_segment = 2 WHERE owner_id = 'o'`},
		"a segment's range":              {`UPDATE text_segments SET high = low + 1 WHERE owner_id = 'o' AND segment_id = 2`},
		"the dead not marked":            {`UPDATE text_segments SET dead = NULL, dead_count = 0 WHERE owner_id = 'o' AND segment_id = 1`},
		"the dead marked, not counted":   {`UPDATE text_segments SET dead_count = 0 WHERE owner_id = 'o' AND segment_id = 1`},
		"the wrong one dead":             {`UPDATE text_segments SET dead = ?1 WHERE owner_id = 'o' AND segment_id = 1`, alive},
		"other postings": {`UPDATE text_postings AS p SET postings = q.postings, positions = q.positions FROM text_postings AS q
			WHERE p.owner_id = 'o' AND p.segment_id = 3 AND q.owner_id = 'o' AND q.segment_id = 4`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := fresh(t)
			rows, err := sqlite.Rows(ctx, store, sql[0].(string)+" RETURNING 1", sql[1:]...)
			if err != nil || len(rows) == 0 {
				t.Fatalf("%d rows spoilt, %v", len(rows), err)
			}
			rowsErr, index := checkRows(ctx, store, "o"), storetest.CheckIndex(ctx, store, "o")
			if rowsErr == nil && index == nil {
				t.Error("not found")
			}
		})
	}
}
