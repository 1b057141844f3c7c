package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

// traffic counts what a memory sends, transaction control aside.
type traffic struct {
	total      pgdbm.Counter
	statements int
	trips      int
	rows       atomic.Int64
}

func (c *traffic) Trace(ctx context.Context, e pgdbm.Event) {
	c.total.Trace(ctx, e)
	c.rows.Add(e.Rows)
}

func (c *traffic) measure(t *testing.T, fn func() error) {
	t.Helper()
	c.total.Reset()
	c.rows.Store(0)
	if err := fn(); err != nil {
		t.Fatal(err)
	}
	c.statements, c.trips = c.total.Statements(), c.total.RoundTrips()
}

// lines cuts a text into one chunk a line, so that tests choose how many there are.
var lines = chunk.Func{Name: "lines-1", Cut: func(_ context.Context, t chunk.Text) ([]chunk.Piece, error) {
	var out []chunk.Piece
	at := 0
	for l := range strings.SplitSeq(t.Content, "\n") {
		out = append(out, chunk.Piece{Start: at, End: at + len(l), Parent: -1, Tokens: 1})
		at += len(l) + 1
	}
	return out, nil
}}

// verses makes a leaf of every line that is not empty, and a parent over every two.
var verses = chunk.Func{Name: "verses-1", Cut: func(_ context.Context, t chunk.Text) ([]chunk.Piece, error) {
	var out []chunk.Piece
	at := 0
	for l := range strings.SplitSeq(t.Content, "\n") {
		if l != "" {
			out = append(out, chunk.Piece{Start: at, End: at + len(l), Parent: -1, Tokens: len(strings.Fields(l)), Parts: verseParts(l)})
		}
		at += len(l) + 1
	}
	leaves := len(out)
	for i := 0; i+1 < leaves; i += 2 {
		out[i].Parent, out[i+1].Parent = len(out), len(out)
		out = append(out, chunk.Piece{Start: out[i].Start, End: out[i+1].End, Level: 1, Parent: -1, Tokens: out[i].Tokens + out[i+1].Tokens})
	}
	return out, nil
}}

// verseParts returns in how many parts a line is embedded: some in one, some in two.
func verseParts(line string) int { return 1 + len(line)%2 }

func numbered(n int, format string) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(list, "\n")
}

func openTraced(t *testing.T) (*llmemory.Memory, *postgres.Store, *traffic) {
	t.Helper()
	return openTracedWith(t, nil)
}

func openTracedWith(t *testing.T, e embedding.Embedder) (*llmemory.Memory, *postgres.Store, *traffic) {
	t.Helper()
	c := &traffic{}
	store, err := postgres.Open(t.Context(), pgtest.URL(t), &postgres.Options{Pool: pgdbm.Config{Tracer: c}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	mem, err := llmemory.New(store, &llmemory.Config{Chunker: lines, Embedder: e})
	if err != nil {
		t.Fatal(err)
	}
	return mem, store, c
}

// TestAddStatements counts what an Add sends: however many chunks there are, at most ten statements beside BEGIN and COMMIT, of
// which there are two for each transaction. With an embedder a second transaction stores the vectors, one for each answer of the
// embedder; and each generation beside the active one takes a statement more.
func TestAddStatements(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name              string
		generations       int
		batch             int // texts in a call of the embedder, 0 for all
		statements, trips int // at most
	}{
		{"text alone", 0, 0, 10 + 2, 3},
		{"one generation", 1, 0, 10 + 4, 4},
		{"one generation, in batches", 1, 100, 10 + 4, 4},
		{"three generations", 3, 0, 10 + 2 + 4, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var e embedding.Embedder
			inner := embedtest.New(embedtest.Config{})
			switch {
			case c.batch > 0:
				e = embedding.Batch(inner, embedding.BatchOptions{MaxInputs: c.batch})
			case c.generations > 0:
				e = inner
			}
			mem, _, sent := openTracedWith(t, e)
			for i := range c.generations { // the first becomes the active one
				other := embedding.Embedder(inner)
				if i > 0 {
					other = embedtest.New(embedtest.Config{Model: fmt.Sprint("model ", i)})
				}
				_, err := mem.AddGeneration(t.Context(), other, "")
				must(t, err)
			}
			// add adds a document, and returns how many round trips that took more than usual.
			add := func(ws *llmemory.Owner, what, key, text string, fold int) int {
				t.Helper()
				calls := inner.Calls()
				sent.measure(t, func() error {
					_, err := ws.Add(t.Context(), llmemory.Document{Key: key, Language: "en", Content: text})
					return err
				})
				more := max(0, inner.Calls()-calls-1) // further answers
				statements, trips := c.statements+3*more, c.trips+more
				if sent.statements > statements || sent.trips > trips+fold {
					t.Errorf("%s: %d statements in %d round trips, want at most %d in %d", what, sent.statements, sent.trips, statements, trips+fold)
				}
				return max(0, sent.trips-trips)
			}
			first := mem.Owner("first")
			_, err := first.Add(t.Context(), llmemory.Document{Key: "k", Content: "what is read once is read here"})
			must(t, err)
			for _, n := range []int{1, 10, 1000} {
				ws := mem.Owner(fmt.Sprint("owner ", n))
				add(ws, fmt.Sprintf("adding %d chunks", n), "k", numbered(n, "alpha line%d"), 0)
				add(ws, fmt.Sprintf("updating %d chunks", n), "k", numbered(n, "alpha line%d")+"\nanother", 0)
				add(ws, fmt.Sprintf("replacing %d chunks", n), "k", numbered(n, "beta line%d"), 0)
				add(ws, "adding the same again", "k", numbered(n, "beta line%d"), 0)
				if sent.statements != 1 || sent.trips != 1 {
					t.Errorf("adding the same again: %d statements in %d round trips, want one", sent.statements, sent.trips)
				}
			}
			// Folding is part of an Add now and then: of one that adds, and of one that updates.
			ws := mem.Owner("folding")
			folds := map[string]int{}
			for i := range 80 {
				what, key := "adding", fmt.Sprint(i)
				if i >= 40 {
					what, key = "updating", fmt.Sprint(i-40)
				}
				folds[what] += add(ws, what+" "+key, key, fmt.Sprintf("gamma %s\ndelta %s\n%s %s", key, key, what, key), 1)
			}
			if folds["adding"] == 0 || folds["updating"] == 0 {
				t.Errorf("folded: %v", folds)
			}
		})
	}
}

// What is too much for a statement is sent in several, one after the other.
func TestManyStatements(t *testing.T) {
	t.Parallel()
	mem, store, c := openTraced(t)
	postgres.SetStatementBytes(store, 4<<10)
	ws := mem.Owner("o")
	for _, text := range []string{numbered(100, "alpha line%d"), numbered(100, "beta line%d")} {
		c.measure(t, func() error {
			_, err := ws.Add(t.Context(), llmemory.Document{Key: "k", Language: "en", Content: text})
			return err
		})
		if c.trips < 8 || c.trips > 20 {
			t.Errorf("%d statements in %d round trips for about 30 kB in parts of 4 kB", c.statements, c.trips)
		}
		if err := checkStored(t.Context(), store); err != nil {
			t.Error(err)
		}
	}
}

// TestSearchRoundTrips counts how often a search waits for the database: three times at most, but for two cases that take one more.
func TestSearchRoundTrips(t *testing.T) {
	t.Parallel()
	embedder := embedtest.New(embedtest.Config{})
	mem, _, c := openTracedWith(t, embedder)
	_, err := mem.AddGeneration(t.Context(), nil, "")
	must(t, err)
	ws := mem.Owner("o")
	for _, doc := range []llmemory.Document{
		{OriginID: "broad", Key: "1", Language: "en", Content: numbered(10_100, "delta line%d"), Embed: llmemory.EmbedNever},
		{OriginID: "few", Key: "2", Language: "de", Content: "delta eins\ndelta zwei"},
	} {
		_, err := ws.Add(t.Context(), doc)
		must(t, err)
	}
	search := func(what, query string, options llmemory.SearchOptions, hits, trips int) {
		t.Helper()
		c.measure(t, func() error {
			r, err := ws.Search(t.Context(), query, &options)
			if err == nil && options.Mode == llmemory.ByText && len(r.Hits) != hits {
				err = fmt.Errorf("%s: %d hits, want %d", what, len(r.Hits), hits)
			}
			return err
		})
		if c.trips > trips {
			t.Errorf("%s, %s: %d round trips, want at most %d", what, options.Mode, c.trips, trips)
		}
	}
	few, broad := llmemory.Where{Origins: []string{"few"}}, llmemory.Where{Origins: []string{"broad"}}
	// The process has yet to learn of the owner's languages.
	search("first", "delta line8", llmemory.SearchOptions{Mode: llmemory.ByText, Where: broad}, 10, 3+1)
	for _, mode := range []llmemory.Mode{llmemory.ByText, llmemory.ByVector, llmemory.Hybrid} {
		for name, s := range map[string]struct {
			query   string
			options llmemory.SearchOptions
			hits    int
			trips   int
		}{
			"plain":     {"delta line7", llmemory.SearchOptions{}, 10, 3},
			"selective": {"delta", llmemory.SearchOptions{Where: few}, 2, 3},
			"broad":     {"delta line8", llmemory.SearchOptions{Where: broad}, 10, 3},
			"context":   {"line9", llmemory.SearchOptions{Parents: true, Neighbours: 2}, 1, 3},
			"phrase":    {`"delta line3"`, llmemory.SearchOptions{}, 1, 3},
			"relaxed":   {`"line3 delta"`, llmemory.SearchOptions{}, 10, 3},
			"excluded":  {`delta -line3`, llmemory.SearchOptions{Where: broad}, 10, 3},
			"nothing":   {"unheard", llmemory.SearchOptions{}, 0, 3},
			// The passages that hold the phrase are not in the filter. Of a selective one this is known, of a broad one it has to be asked.
			"selective, relaxed": {`"delta line3"`, llmemory.SearchOptions{Where: few}, 2, 3},
			"broad, relaxed":     {`"delta zwei"`, llmemory.SearchOptions{Where: broad}, 10, 3 + 1},
		} {
			s.options.Mode = mode
			search(name, s.query, s.options, s.hits, s.trips)
		}
	}
}

// The context that comes with hits is read for the hits, not for the thousands of passages that may be as good as the last of them.
func TestContextOfTies(t *testing.T) {
	t.Parallel()
	_, store, c := openTraced(t)
	mem, err := llmemory.New(store, &llmemory.Config{Chunker: verses})
	if err != nil {
		t.Fatal(err)
	}
	ws := mem.Owner("o")
	for i := range 2 {
		if _, err := ws.Add(t.Context(), llmemory.Document{Key: fmt.Sprint(i), Language: "en", Content: numbered(500, "theta line%d")}); err != nil {
			t.Fatal(err)
		}
	}
	rows := func(options llmemory.SearchOptions) (n int64) {
		c.measure(t, func() error {
			r, err := ws.Search(t.Context(), "theta", &options)
			if err == nil && len(r.Hits) != options.Limit {
				return fmt.Errorf("%d hits, want %d", len(r.Hits), options.Limit)
			}
			return err
		})
		return c.rows.Load()
	}
	rows(llmemory.SearchOptions{Limit: 1}) // makes the owner's languages known
	const limit, neighbours = 5, 3
	plain := rows(llmemory.SearchOptions{Limit: limit})
	if more := rows(llmemory.SearchOptions{Limit: limit, Parents: true, Neighbours: neighbours}) - plain; more < limit || more > limit*(2+2*neighbours) {
		t.Errorf("%d more rows for the context of %d hits", more, limit)
	}
}

func TestHostTransaction(t *testing.T) {
	t.Parallel()
	mem, store, _ := openTraced(t)
	pool := store.DB().Pool().Pgx()
	if _, err := pool.Exec(t.Context(), `CREATE TABLE host (id int)`); err != nil {
		t.Fatal(err)
	}
	for _, commit := range []bool{false, true} {
		tx, err := pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ws := mem.On(store.WithTx(tx)).Owner("o")
		if _, err := tx.Exec(t.Context(), `INSERT INTO host VALUES (1)`); err != nil {
			t.Fatal(err)
		}
		a, err := ws.Add(t.Context(), llmemory.Document{Key: "1", Content: "epsilon"})
		if err != nil {
			t.Fatal(err)
		}
		// A refusal inside leaves the host's transaction usable.
		if _, err := ws.Add(t.Context(), llmemory.Document{Key: "1", Content: "other", IfExists: llmemory.Refuse}); !errors.Is(err, llmemory.ErrConflict) {
			t.Errorf("taken identity: %v", err)
		}
		if r, err := ws.Search(t.Context(), "epsilon", nil); err != nil || len(r.Hits) != 1 {
			t.Errorf("search inside: %v", err)
		}
		if _, err := mem.Owner("o").Get(t.Context(), a.DocumentID); !errors.Is(err, llmemory.ErrNotFound) {
			t.Errorf("outside, before the end: %v", err)
		}
		end := tx.Rollback
		if commit {
			end = tx.Commit
		}
		if err := end(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = mem.Owner("o").Get(t.Context(), a.DocumentID)
		if commit != (err == nil) {
			t.Errorf("committed %t: %v", commit, err)
		}
		var rows int
		if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM host`).Scan(&rows); err != nil || commit != (rows == 1) {
			t.Errorf("committed %t: %d rows of the host's (%v)", commit, rows, err)
		}
	}
}
