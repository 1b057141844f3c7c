package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/internal/vec"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

// strays lists what is wrong with the vectors and jobs of a generation: those of leaves that are not there or are not to have any,
// leaves with both, and leaves with neither that are no longer ahead of the backfill. $1 is the generation.
const strays = `
WITH generation AS (SELECT * FROM {{tables.embedding_generations}} WHERE generation = $1),
leaf AS (
    SELECT c.owner_id, c.ordinal FROM {{tables.document_chunks}} c
    JOIN {{tables.documents}} d ON d.owner_id = c.owner_id AND d.document_id = c.document_id
    WHERE c.level = 0 AND NOT d.no_vectors
),
job AS (SELECT owner_id, ordinal FROM {{tables.embedding_queue}} WHERE generation = $1),
vector AS (SELECT DISTINCT owner_id, ordinal FROM {{tables.embeddings}})
SELECT format('generation %s: a vector of leaf %s of %s, which has none to have', $1::bigint, ordinal, owner_id) AS fault
FROM vector v WHERE NOT EXISTS (SELECT FROM leaf l WHERE l.owner_id = v.owner_id AND l.ordinal = v.ordinal)
UNION ALL
SELECT format('generation %s: a job for leaf %s of %s, which has none to have', $1::bigint, ordinal, owner_id)
FROM job j WHERE NOT EXISTS (SELECT FROM leaf l WHERE l.owner_id = j.owner_id AND l.ordinal = j.ordinal)
UNION ALL
SELECT format('generation %s: leaf %s of %s has a vector and a job', $1::bigint, ordinal, owner_id) FROM vector JOIN job USING (owner_id, ordinal)
UNION ALL
SELECT format('generation %s: leaf %s of %s has neither vector nor job', $1::bigint, ordinal, owner_id)
FROM generation g, leaf LEFT JOIN vector v USING (owner_id, ordinal) LEFT JOIN job j USING (owner_id, ordinal)
WHERE (g.backfilled OR (owner_id, ordinal) <= (g.backfill_owner, g.backfill_ordinal)) AND coalesce(v, j) IS NULL`

// onGeneration puts the table of a generation into a statement.
func onGeneration(sql string, generation int64) string {
	return strings.ReplaceAll(sql, "{{tables.embeddings}}", fmt.Sprintf("{{tables.embeddings_%d}}", generation))
}

// checkQueue checks the vectors and the queue of every generation, of whatever owner.
func checkQueue(ctx context.Context, store *postgres.Store) error {
	list, err := store.Generations(ctx, llmemory.GenerationsParams{})
	if err != nil {
		return err
	}
	var faults []string
	for _, g := range list {
		rows, err := store.DB().Query(ctx, onGeneration(strays, g.ID), g.ID)
		if err != nil {
			return err
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		faults = append(faults, found...)
	}
	rows, err := store.DB().Query(ctx, `SELECT format('a job of generation %s, which is not there', generation) FROM {{tables.embedding_queue}} q
		WHERE NOT EXISTS (SELECT FROM {{tables.embedding_generations}} g WHERE g.generation = q.generation)`)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if faults = append(faults, found...); err == nil && len(faults) > 0 {
		err = errors.New(strings.Join(faults[:min(len(faults), 20)], "\n"))
	}
	return err
}

// checkVectors checks that every leaf that has vectors of a generation has those of its text, one for each part, and returns how many
// leaves these are.
func checkVectors(ctx context.Context, db pgdbm.Querier, g llmemory.Generation) (n int, err error) {
	const page = 2_000 // to be looked at within the time that a statement may take
	owner, ordinal, part := "", int64(-1), int16(-1)
	var name, heading, text string
	var parts int
	var vector []float32
	var faults []error
	fault := func(format string, args ...any) {
		if len(faults) < 20 {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	var want [][]float32 // of the leaf that is looked at: what is still to come
	for more := true; more && err == nil; {
		rows, failed := db.Query(ctx, onGeneration(`SELECT d.document_name, c.heading, c.content, c.parts, e.embedding::real[], e.owner_id, e.ordinal, e.part
			FROM (SELECT * FROM {{tables.embeddings}} WHERE (owner_id, ordinal, part) > ($1, $2, $3) ORDER BY owner_id, ordinal, part LIMIT $4) e
			JOIN {{tables.document_chunks}} c ON c.owner_id = e.owner_id AND c.ordinal = e.ordinal
			JOIN {{tables.documents}} d ON d.owner_id = c.owner_id AND d.document_id = c.document_id
			ORDER BY e.owner_id, e.ordinal, e.part`, g.ID), owner, ordinal, part, page)
		if failed != nil {
			return 0, failed
		}
		more = false
		_, err = pgx.ForEachRow(rows, []any{&name, &heading, &text, &parts, &vector, &owner, &ordinal, &part}, func() error {
			more = true
			input := llmemory.JobInput{Name: name, Heading: heading, Text: text, Parts: parts}
			if part == 0 {
				if len(want) > 0 {
					fault("%d vectors are missing before leaf %d of %s", len(want), ordinal, owner)
				}
				n++
				var parts [][]float32
				for _, text := range input.Texts() {
					parts = append(parts, embedtest.Vector(g.Model.Model, g.Model.PassagePrefix+text, len(vector)))
				}
				want = slices.Collect(slices.Chunk(llmemory.JoinParts(parts), len(vector)))
			}
			switch {
			case len(want) == 0:
				fault("leaf %d of %s has vector %d, too", ordinal, owner, part)
			case vec.Cosine(vector, want[0]) < 0.999:
				fault("leaf %d of %s: vector %d is not that of its text %.40q", ordinal, owner, part, text)
				fallthrough
			default:
				want = want[1:]
			}
			return nil
		})
	}
	if len(want) > 0 {
		fault("%d vectors of the last leaf are missing", len(want))
	}
	return n, errors.Join(append(faults, err)...)
}

// checkAllVectors is checkVectors for every generation.
func checkAllVectors(ctx context.Context, store *postgres.Store) error {
	list, err := store.Generations(ctx, llmemory.GenerationsParams{})
	for _, g := range list {
		_, fault := checkVectors(ctx, store.DB(), g)
		err = errors.Join(err, fault)
	}
	return err
}

// TestEmbeddedInvariants spoils vectors and queue in one way after the other: each must be found.
func TestEmbeddedInvariants(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url := pgtest.Clone(t, "llmemory conformance", migrate)
	store, err := postgres.Open(ctx, url, nil)
	must(t, err)
	defer store.Close()
	conn, err := pgx.Connect(ctx, url)
	must(t, err)
	defer conn.Close(ctx)
	mem, err := llmemory.New(store, &llmemory.Config{Chunker: verses, Embedder: embedtest.New(embedtest.Config{})})
	must(t, err)
	for _, doc := range []llmemory.Document{
		{Key: "1", Name: "named", Language: "en", Content: "alpha one\nbeta two"}, {Key: "2", Language: "en", Content: "gamma three", Embed: llmemory.EmbedLater},
		{Key: "3", Language: "en", Content: "delta four", Embed: llmemory.EmbedNever},
	} {
		_, err := mem.Owner("o").Add(ctx, doc)
		must(t, err)
	}
	if _, err := mem.EmbedQueue(ctx, nil); err != nil { // backfills, too
		t.Fatal(err)
	}
	_, err = mem.Owner("o").Add(ctx, llmemory.Document{Key: "4", Language: "en", Content: "epsilon five", Embed: llmemory.EmbedLater})
	must(t, err)
	check := func() error {
		list, err := mem.Generations(ctx)
		if err != nil || len(list) != 1 || !list[0].Backfilled {
			return fmt.Errorf("generations %v: %w", list, err)
		}
		n, err := checkVectors(ctx, store.DB(), list[0])
		if n != 3 && err == nil {
			err = fmt.Errorf("%d vectors, want 3", n)
		}
		return errors.Join(err, checkStored(ctx, store))
	}
	must(t, check())
	const job = `INSERT INTO embedding_queue (owner_id, generation, ordinal, due_at, queued_at) VALUES ('o', %d, %d, now(), now())`
	for name, spoil := range map[string]struct{ do, undo string }{
		"another text's vector": {`CREATE TABLE kept AS SELECT embedding FROM embeddings_1 WHERE ordinal = 0 AND part = 0;
			UPDATE embeddings_1 SET embedding = (SELECT embedding FROM embeddings_1 WHERE ordinal = 1 AND part = 0) WHERE ordinal = 0 AND part = 0`,
			`UPDATE embeddings_1 SET embedding = (SELECT embedding FROM kept) WHERE ordinal = 0 AND part = 0; DROP TABLE kept`},
		"a part lost": {`CREATE TABLE kept AS SELECT * FROM embeddings_1 WHERE part = 1; DELETE FROM embeddings_1 WHERE part = 1`,
			`INSERT INTO embeddings_1 SELECT * FROM kept; DROP TABLE kept`},
		"a part too many": {`INSERT INTO embeddings_1 SELECT owner_id, ordinal, 5, input_hash, embedding FROM embeddings_1 WHERE ordinal = 0 AND part = 0`,
			`DELETE FROM embeddings_1 WHERE part = 5`},
		"a vector lost": {`CREATE TABLE kept AS SELECT * FROM embeddings_1 WHERE ordinal = 0; DELETE FROM embeddings_1 WHERE ordinal = 0`,
			`INSERT INTO embeddings_1 SELECT * FROM kept; DROP TABLE kept`},
		"a vector too many": {`INSERT INTO embeddings_1 SELECT owner_id, 77, part, input_hash, embedding FROM embeddings_1 WHERE ordinal = 0`,
			`DELETE FROM embeddings_1 WHERE ordinal = 77`},
		"a vector not wanted": {`INSERT INTO embeddings_1 SELECT owner_id, 3, part, input_hash, embedding FROM embeddings_1 WHERE ordinal = 0`,
			`DELETE FROM embeddings_1 WHERE ordinal = 3`},
		"a job too many":        {`UPDATE embedding_queue SET ordinal = 77`, `UPDATE embedding_queue SET ordinal = 4`},
		"a job lost":            {`DELETE FROM embedding_queue`, fmt.Sprintf(job, 1, 4)},
		"a job without purpose": {fmt.Sprintf(job, 1, 0), `DELETE FROM embedding_queue WHERE ordinal = 0`},
		"a job of no model":     {fmt.Sprintf(job, 7, 0), `DELETE FROM embedding_queue WHERE generation = 7`},
	} {
		run(t, conn, spoil.do)
		if check() == nil {
			t.Errorf("%s: not found", name)
		}
		run(t, conn, spoil.undo)
		must(t, check())
	}
	run(t, conn, `DELETE FROM embeddings_1 WHERE ordinal = 1;
		UPDATE embedding_generations SET backfilled = false, backfill_owner = 'o', backfill_ordinal = 0`)
	if err := checkQueue(ctx, store); err != nil {
		t.Errorf("a leaf ahead of the backfill: %v", err)
	}
	run(t, conn, `UPDATE embedding_generations SET backfill_ordinal = 1`)
	if checkQueue(ctx, store) == nil {
		t.Error("a leaf that the backfill has passed: not found")
	}
}
