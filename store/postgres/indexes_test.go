package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/internal/vec"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

// small are the options of most tests: an index from 400 vectors on, which the planner is made to take.
func small() crowdOptions {
	return crowdOptions{dimensions: 16, forced: true, Options: postgres.Options{IndexFrom: 400}}
}

// right asks an owner some questions and checks that nearly all answers are the nearest passages, and none are missing.
func (c *crowd) right(t testing.TB, o *crowdOwner) (plan string) {
	t.Helper()
	sum := 0.0
	const questions, limit = 10, 10
	for i := range questions {
		want := c.nearest(o, i, limit, buckets)
		var got []int
		got, plan = c.ask(t, o, i, limit, llmemory.Where{})
		if len(got) != len(want) {
			t.Errorf("%s, question %d: %d hits, want %d (%s)", o.name, i, len(got), len(want), plan)
		}
		sum += sharedPart(got, want)
	}
	if recall := sum / questions; recall < c.floor {
		t.Errorf("%s: recall %.3f (%s)", o.name, recall, plan)
	}
	return plan
}

// hnsw lists the indexes there are, with whether they are whole.
func (c *crowd) hnsw(t testing.TB) []string {
	t.Helper()
	out := list(t, observer(t, c.url), `SELECT c.relname || CASE WHEN indisvalid THEN '' ELSE ' invalid' END
		FROM pg_index x JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam WHERE amname = 'hnsw' ORDER BY 1`)
	return slices.Clip(out)
}

// An owner gets an index when it is large, and loses it when it is not any more. Searches use it, and find their own only.
func TestIndexLife(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, small())
	large, twin, few := c.load(t, "large", 1000), c.load(t, "twin", 700), c.load(t, "few", 300)
	if plan := c.right(t, large); plan != "exact" {
		t.Errorf("without an index: %s", plan)
	}
	if steps := c.tune(t); steps != 2 {
		t.Errorf("%d steps, want an index for each of two", steps)
	}
	if diff := cmp.Diff([]string{"large (1000)", "twin (700)"}, c.indexed(t)); diff != "" {
		t.Errorf("indexes (-want +got):\n%s", diff)
	}
	c.mem = c.memory(t, c.store, 16) // which knows nothing of these owners
	for range 2 {
		c.plans.take()
		for _, o := range []*crowdOwner{large, twin} {
			if plan := c.right(t, o); !strings.HasPrefix(plan, "index embeddings_1_") {
				t.Errorf("%s: %s", o.name, plan)
			}
		}
		for _, p := range c.plans.take() {
			if !strings.Contains(p, "Index Scan using embeddings_1_") {
				t.Fatalf("an index that is not used:\n%s", p)
			}
		}
	}
	if plan := c.right(t, few); plan != "exact" {
		t.Errorf("of a small owner: %s", plan)
	}
	// What is added is found at once, and what is deleted is not.
	added, err := c.mem.Owner("large").Add(t.Context(), llmemory.Document{Key: "new", Language: "en", Content: "p0 1000\np0 1001"})
	must(t, err)
	large.vectors = append(large.vectors, c.set.Vector("large", 1000), c.set.Vector("large", 1001))
	if added.Embedded != 2 {
		t.Errorf("added: %+v", added)
	}
	c.remove(t, large, func(n int) bool { return n%3 != 0 })
	c.right(t, large)
	if c.tune(t) != 0 {
		t.Error("something is tuned that needs none")
	}
	c.remove(t, large, func(n int) bool { return n%9 == 0 })
	c.remove(t, twin, func(int) bool { return false })
	c.right(t, large)
	if steps := c.tune(t); steps != 2 {
		t.Errorf("%d steps, want two indexes dropped", steps)
	}
	if left := append(c.indexed(t), c.hnsw(t)...); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
	c.right(t, large)
	if plan := c.right(t, large); plan != "exact" {
		t.Errorf("after the index was dropped: %s", plan)
	}
}

// Owners may be called anything, and the schema too.
func TestIndexNames(t *testing.T) {
	t.Parallel()
	o := small()
	o.setUp = `CREATE SCHEMA "it's ext"; CREATE EXTENSION vector SCHEMA "it's ext"`
	o.Schema, o.IndexFrom = `Select "x" {{schema}}`, 100
	c := newCrowd(t, o)
	var want []string
	for _, name := range []string{`o'o`, `'; DROP TABLE x --`, `back\slash\'`, `"quoted"`, `{{tables.documents}}`, `$1 %s %L %%`, "漢字 é"} {
		c.load(t, name, 100)
		want = append(want, name+" (100)")
	}
	c.tune(t)
	slices.Sort(want)
	if diff := cmp.Diff(want, c.indexed(t)); diff != "" {
		t.Errorf("indexes (-want +got):\n%s", diff)
	}
	for _, o := range c.owners {
		c.ask(t, o, 0, 10, llmemory.Where{}) // learns of the index
		c.plans.take()
		c.right(t, o)
		for _, p := range c.plans.take() {
			if !strings.Contains(p, "Index Scan using embeddings_1_") {
				t.Fatalf("%q: the index is not used:\n%s", o.name, p)
			}
		}
	}
}

// blocked starts to tune while an older transaction keeps any build from coming to its end, and returns when the index is there, not
// whole yet. release ends the transaction, result waits for what Tune returns.
func (c *crowd) blocked(t *testing.T) (release func(), result func() error) {
	t.Helper()
	blocker, err := pgx.Connect(t.Context(), c.url)
	must(t, err)
	_, err = blocker.Exec(t.Context(), `BEGIN; LOCK TABLE embeddings_1 IN ROW EXCLUSIVE MODE`)
	must(t, err)
	tuned := make(chan error, 1)
	go func() {
		_, err := c.store.Tune(t.Context(), llmemory.TuneParams{Generation: c.generation})
		tuned <- err
	}()
	for len(c.hnsw(t)) == 0 {
		select {
		case err := <-tuned:
			t.Fatalf("Tune returned: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	return func() { must(t, blocker.Close(t.Context())) }, func() error {
		select {
		case err := <-tuned:
			return err
		case <-time.After(time.Minute):
			t.Fatal("Tune does not return")
			return nil
		}
	}
}

// A build that is cut off leaves an invalid index; it is found and built anew, by whoever comes next. Meanwhile searches are right.
func TestIndexBuildDies(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, small())
	o := c.load(t, "large", 1000)
	release, result := c.blocked(t)
	if done, err := c.store.Tune(t.Context(), llmemory.TuneParams{Generation: c.generation}); !done || err != nil {
		t.Errorf("while another is at it: %t, %v", done, err)
	}
	if plan := c.right(t, o); plan != "exact" {
		t.Errorf("while the index is built: %s", plan)
	}
	killed := list(t, observer(t, c.url), `SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
		WHERE application_name = 'llmemory index' AND datname = current_database()`)
	if len(killed) != 1 {
		t.Fatalf("%d backends killed", len(killed))
	}
	if err := result(); !errors.Is(err, llmemory.ErrUnavailable) {
		t.Errorf("a killed build: %v, want ErrUnavailable", err)
	}
	release()
	if left := c.hnsw(t); len(left) != 1 || !strings.HasSuffix(left[0], " invalid") {
		t.Fatalf("left behind: %q", left)
	}
	if diff := cmp.Diff([]string{"large (0, not ready)"}, c.indexed(t)); diff != "" {
		t.Errorf("indexes (-want +got):\n%s", diff)
	}
	c.right(t, o)
	if c.tune(t) != 1 {
		t.Error("not one step")
	}
	whole := func(when string) {
		t.Helper()
		if diff := cmp.Diff([]string{"large (1000)"}, c.indexed(t)); diff != "" {
			t.Errorf("%s: indexes (-want +got):\n%s", when, diff)
		}
		if left := c.hnsw(t); len(left) != 1 || strings.HasSuffix(left[0], " invalid") {
			t.Errorf("%s: %q", when, left)
		}
		c.right(t, o)
	}
	whole("built anew")

	// A process died: its claim runs out, and what it built is looked at.
	exec := func(sql string) {
		t.Helper()
		_, err := c.store.DB().Exec(t.Context(), sql)
		must(t, err)
	}
	for state, sql := range map[string]string{
		"invalid": `UPDATE pg_index SET indisvalid = false WHERE indexrelid IN (SELECT oid FROM pg_class WHERE relname LIKE 'embeddings!_1!_%' ESCAPE '!'
			AND relam = (SELECT oid FROM pg_am WHERE amname = 'hnsw'))`,
		"whole": `SELECT`, "gone": `DO $$ BEGIN EXECUTE (SELECT 'DROP INDEX ' || index_name FROM embedding_indexes); END $$`,
	} {
		exec(sql)
		exec(`UPDATE {{tables.embedding_indexes}} SET ready = false, claim_token = gen_random_uuid(), claimed_until = now() + interval '1 hour'`)
		if c.tune(t) != 0 {
			t.Errorf("%s: somebody else's claim is not heeded", state)
		}
		c.right(t, o)
		exec(`UPDATE {{tables.embedding_indexes}} SET claimed_until = now() - interval '1 second'`)
		if c.tune(t) != 1 {
			t.Errorf("%s: a claim that ran out is not taken over", state)
		}
		whole(state)
	}
}

// Of many that tune at once, one does each step.
func TestIndexTwoBuilders(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, small())
	for i := range 4 {
		c.load(t, fmt.Sprint("owner ", i), 500+i)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for worked := true; worked; {
				var err error
				if worked, err = c.mem.TuneIndexes(t.Context()); err != nil {
					t.Errorf("one of four: %v", err)
				}
			}
		})
	}
	all.Wait()
	c.tune(t) // those that found the others at it went away
	if got := c.indexed(t); len(got) != 4 || strings.Contains(fmt.Sprint(got), "not ready") {
		t.Errorf("indexes: %q", got)
	}
	if got := c.hnsw(t); len(got) != 4 || strings.Contains(fmt.Sprint(got), "invalid") {
		t.Errorf("indexes: %q", got)
	}
}

// The largest owners have the indexes that there may be, and one must be far larger to take another's.
func TestIndexCap(t *testing.T) {
	t.Parallel()
	o := small()
	o.MaxIndexes = 2
	c := newCrowd(t, o)
	for i, n := range []int{410, 600, 500, 450} {
		c.load(t, fmt.Sprint("owner ", i), n)
	}
	check := func(want ...string) {
		t.Helper()
		c.tune(t)
		if diff := cmp.Diff(want, c.indexed(t)); diff != "" {
			t.Errorf("indexes (-want +got):\n%s", diff)
		}
		for _, o := range c.owners {
			c.right(t, o)
		}
	}
	check("owner 1 (600)", "owner 2 (500)")
	c.load(t, "owner 4", 900)
	check("owner 1 (600)", "owner 2 (500)")
	c.load(t, "owner 5", 1000)
	check("owner 5 (1000)", "owner 1 (600)")

	o.MaxIndexes = -1
	c.open(t, o)
	check([]string{}...)
}

// What a store believes of an index may be wrong: its answers are right all the same.
func TestIndexVanishes(t *testing.T) {
	t.Parallel()
	for _, profile := range []llmemory.Profile{llmemory.Balanced, llmemory.Fast} {
		t.Run(string(profile), func(t *testing.T) {
			t.Parallel()
			o := small()
			o.profile, o.dimensions = profile, 256
			c := newCrowd(t, o)
			large := c.load(t, "large", 1000)
			c.tune(t)
			c.right(t, large)
			run(t, observer(t, c.url), `DO $$ BEGIN EXECUTE (SELECT 'DROP INDEX public.' || index_name FROM public.embedding_indexes); END $$`)
			if plan := c.right(t, large); !strings.HasPrefix(plan, "index ") {
				t.Errorf("the test means an index that the store believes in: %s", plan)
			}
			if c.tune(t) != 1 || len(c.hnsw(t)) != 1 {
				t.Error("the index was not made again")
			}
			c.right(t, large)
		})
	}
}

// Retiring a generation does not wait for an index that is being built.
func TestIndexRetired(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, small())
	c.load(t, "large", 1000)
	release, result := c.blocked(t)
	release() // the transaction would keep the table
	retired := c.mem.RetireGeneration(t.Context(), c.generation, true)
	err := result()
	must(t, errors.Join(retired, err))
	if left := append(c.hnsw(t), list(t, observer(t, c.url), `SELECT index_name FROM public.embedding_indexes`)...); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// A role that may not index says so when there is something to index, and only then.
func TestIndexWithoutRights(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, small())
	role := pgtest.Role(t, c.url, pgtest.RoleOptions{Grants: append(grants("public"), `GRANT SELECT, INSERT, UPDATE, DELETE ON embeddings_1 TO {role}`)})
	store, err := postgres.Open(t.Context(), role, &postgres.Options{IndexFrom: 400})
	must(t, err)
	defer store.Close()
	tune := func() error {
		done, err := store.Tune(t.Context(), llmemory.TuneParams{Generation: c.generation})
		if err == nil && !done {
			err = errors.New("something was done")
		}
		return err
	}
	must(t, tune())
	c.load(t, "large", 500)
	if err := tune(); !errors.Is(err, llmemory.ErrUnavailable) || !strings.Contains(err.Error(), "llmemory embed") {
		t.Errorf("without rights: %v", err)
	}
	c.tune(t)
	must(t, tune())
}

// The host's transaction keeps its settings, whatever a search in it needs.
func TestIndexInATransaction(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, small())
	o := c.load(t, "large", 1000)
	c.tune(t)
	c.right(t, o)
	pool := c.store.DB().Pool().Pgx()
	tx, err := pool.Begin(t.Context())
	must(t, err)
	defer tx.Rollback(t.Context())
	settings := func() (out []string) {
		t.Helper()
		rows, err := tx.Query(t.Context(), `SELECT name || '=' || setting FROM pg_settings WHERE name LIKE 'hnsw.%' OR name = 'plan_cache_mode' ORDER BY 1`)
		must(t, err)
		out, err = pgx.CollectRows(rows, pgx.RowTo[string])
		must(t, err)
		return out
	}
	_, err = tx.Exec(t.Context(), `SET hnsw.ef_search = 7`)
	must(t, err)
	before := settings()
	inside := c.memory(t, c.store.WithTx(tx), 16)
	r, err := inside.Owner("large").Search(t.Context(), "q0 1", &llmemory.SearchOptions{Mode: llmemory.ByVector, Explain: true})
	must(t, err)
	if len(r.Hits) != 10 || !strings.HasPrefix(r.Explanation.Plan, "index ") {
		t.Errorf("%d hits, %s", len(r.Hits), r.Explanation.Plan)
	}
	if diff := cmp.Diff(before, settings()); diff != "" {
		t.Errorf("the host's settings (-before +after):\n%s", diff)
	}
	if _, err := c.store.WithTx(tx).Tune(t.Context(), llmemory.TuneParams{Generation: c.generation}); !errors.Is(err, llmemory.ErrUnavailable) {
		t.Errorf("Tune in a transaction: %v, want ErrUnavailable", err)
	}
}

// Every form in which vectors are kept can be indexed, in every profile.
func TestIndexForms(t *testing.T) {
	t.Parallel()
	for _, dimensions := range []int{64, 2500, 4096} {
		for _, profile := range []llmemory.Profile{llmemory.Balanced, llmemory.Fast, llmemory.Accurate} {
			if profile != llmemory.Balanced && dimensions != 64 {
				continue
			}
			t.Run(fmt.Sprintf("%d, %s", dimensions, profile), func(t *testing.T) {
				t.Parallel()
				o := small()
				o.dimensions, o.profile, o.IndexFrom = dimensions, profile, 100
				c := newCrowd(t, o)
				large := c.load(t, "large", 120)
				c.right(t, large)
				c.tune(t)
				c.right(t, large)
				c.plans.take()
				if plan := c.right(t, large); !strings.HasPrefix(plan, "index ") {
					t.Errorf("plan: %s", plan)
				}
				for _, p := range c.plans.take() {
					if !strings.Contains(p, "Index Scan using embeddings_1_") || strings.Contains(p, "<~>") != (profile == llmemory.Fast || dimensions > 4000) {
						t.Fatalf("plan:\n%s", p)
					}
				}
			})
		}
	}
}

// Without pgvector, or with too old a one, there are no vectors, and the error says what to do.
func TestIndexNeedsPgvector(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ setUp, hint string }{
		"missing": {"SELECT", "CREATE EXTENSION"},
		"old":     {"CREATE EXTENSION vector; UPDATE pg_extension SET extversion = '0.6.2' WHERE extname = 'vector'", "at least 0.8.0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := pgtest.URL(t)
			run(t, observer(t, address), "SET search_path = pg_catalog, public; "+c.setUp)
			store, err := postgres.New(t.Context(), openPool(t, address).Schema("s"), nil)
			must(t, err)
			_, err = store.AddGeneration(t.Context(), llmemory.AddGenerationParams{Profile: llmemory.Balanced})
			if !errors.Is(err, llmemory.ErrInvalid) {
				t.Errorf("no dimensions: %v", err)
			}
			p := llmemory.AddGenerationParams{Profile: llmemory.Balanced}
			p.Model.Provider, p.Model.Model, p.Model.Dimensions = "test", "any", 8
			if _, err = store.AddGeneration(t.Context(), p); !errors.Is(err, llmemory.ErrUnavailable) || !errors.Is(err, pgdbm.ErrExtension) ||
				!strings.Contains(err.Error(), c.hint) {
				t.Errorf("AddGeneration: %v, want %q", err, c.hint)
			}
			works(t, store)
		})
	}
}

// What an index does not have is found all the same, if it is asked for: a search never returns fewer than there are. Vectors of
// length 0, which no embedder may give, are such.
func TestIndexFallsShort(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, small())
	o := c.load(t, "large", 1000)
	zero := func(n int) bool { return n/4%10 < 3 }
	_, err := c.store.DB().Exec(t.Context(), onGeneration(`UPDATE {{tables.embeddings}} SET embedding = array_fill(0, '{16}')::vector
		WHERE ordinal / 4 % 10 < 3`, c.generation))
	must(t, err)
	for n := range o.vectors {
		if zero(n) {
			o.vectors[n] = make([]float32, 16)
		}
	}
	c.tune(t)
	c.right(t, o)
	if found, plan := c.ask(t, o, 0, 1000, llmemory.Where{}); len(found) != 1000 || !strings.HasPrefix(plan, "index ") || !strings.HasSuffix(plan, "; exact") {
		t.Errorf("%d hits of 1000 (%s)", len(found), plan)
	}

	// A filter, and leaves that are known one by one but many, go through the index as well, and past it.
	many := make([]uint64, 0, 11_000)
	for n := range uint64(11_000) {
		if n%3 > 0 {
			many = append(many, n+n%2*11_000) // half of the first, and some that are nobody's
		}
	}
	for len(many) <= 10_000 {
		many = append(many, uint64(20_000+len(many)))
	}
	where := llmemory.Where{Metadata: llmemory.Meta("bucket").Lt(json.Number(fmt.Sprint(buckets / 5)))} // as the store is given it
	for name, p := range map[string]llmemory.MatchParams{
		"filtered":        {Where: where},
		"among":           {Vector: &llmemory.VectorParams{Among: many}},
		"filtered, among": {Where: where, Vector: &llmemory.VectorParams{Among: many}},
	} {
		var want []uint64
		for _, s := range c.distances(o, 3, o.vectors) {
			n := uint64(s.n)
			if (p.Where.IsZero() || bucketOf(s.n) < buckets/5) && (p.Vector == nil || slices.Contains(many, n)) {
				want = append(want, n)
			}
		}
		whole := slices.DeleteFunc(slices.Clone(want), func(n uint64) bool { return zero(int(n)) })
		if len(whole) < 20 || len(want) < len(whole)+8 {
			t.Fatalf("%s: %d of %d", name, len(whole), len(want))
		}
		for _, limit := range []int{10, len(want), len(want) + 10} {
			view, err := c.store.View(t.Context(), llmemory.ViewParams{Owner: o.name})
			must(t, err)
			v := llmemory.VectorParams{Generation: c.generation, Query: c.set.Query(o.name, 3), Limit: limit}
			if p.Vector != nil {
				v.Among = p.Vector.Among
			}
			r, err := view.Match(t.Context(), llmemory.MatchParams{Owner: o.name, Where: p.Where, Vector: &v})
			must(t, errors.Join(err, view.Close(t.Context())))
			var got []uint64
			for _, h := range r.Vector.Found {
				got = append(got, h.Ordinal)
			}
			if len(got) != min(limit, len(want)) || !slices.Equal(got[:10], whole[:10]) {
				t.Errorf("%s: %d hits of %d, the first %d, want %d (%s)", name, len(got), len(want), got[:10], whole[:10], r.Vector.Plan)
			}
			if !strings.HasPrefix(r.Vector.Plan, "index ") || strings.Contains(r.Vector.Plan, "; exact") != (limit > 10) {
				t.Errorf("%s, limit %d: %s", name, limit, r.Vector.Plan)
			}
		}
	}
}

// Passages of several parts are as near as the nearest of these, through an index as without it, and come once each.
func TestIndexParts(t *testing.T) {
	t.Parallel()
	const passages, limit = 700, 10
	c := newCrowd(t, small())
	e := embedtest.New(embedtest.Config{Model: "parts", Dimensions: 16})
	mem, err := llmemory.New(c.store, &llmemory.Config{Embedder: e, Chunker: chunk.Func{Name: "lines", Cut: func(_ context.Context, t chunk.Text) (out []chunk.Piece, err error) {
		at := 0
		for line := range strings.SplitSeq(t.Content, "\n") {
			out = append(out, chunk.Piece{Start: at, End: at + len(line), Parent: -1, Tokens: 1, Parts: 1 + strings.Count(line, ".")})
			at += len(line) + 1
		}
		return out, nil
	}}})
	must(t, err)
	g, err := mem.AddGeneration(t.Context(), nil, "")
	must(t, err)
	_, err = mem.ActivateGeneration(t.Context(), g.ID, true)
	must(t, err)
	r := rand.New(rand.NewPCG(1, 1))
	sentence := func() string {
		return fmt.Sprintf("A%d b%d c%d d%d", r.IntN(20), r.IntN(20), r.IntN(20), r.IntN(20))
	}
	var lines []string
	for range passages {
		line := sentence()
		for range r.IntN(chunk.MaxParts) {
			line += ". " + sentence()
		}
		lines = append(lines, line)
	}
	o := mem.Owner("o")
	for i, part := range slices.Collect(slices.Chunk(lines, 50)) {
		for origin, doc := range slices.Collect(slices.Chunk(part, 25)) {
			added, err := o.Add(t.Context(), llmemory.Document{Key: fmt.Sprint(i, origin), OriginID: fmt.Sprint(origin), Language: "en", Content: strings.Join(doc, "\n")})
			must(t, err)
			if added.Embedded != 25 {
				t.Fatalf("added: %+v", added)
			}
		}
	}
	for worked := true; worked; {
		worked, err = mem.TuneIndexes(t.Context())
		must(t, err)
	}
	vectors := func(line string) []float32 {
		var parts [][]float32
		for _, part := range chunk.Parts(line, 1+strings.Count(line, ".")) {
			parts = append(parts, embedtest.Vector("parts", part, 16))
		}
		return llmemory.JoinParts(parts)
	}
	for _, where := range []llmemory.Where{{}, {Origins: []string{"1"}}} {
		found, all := 0.0, 0.0
		for range 20 {
			query := sentence()
			cosine := map[string]float64{}
			var want []float64
			for i, line := range lines {
				if !where.IsZero() && i/25%2 == 0 {
					continue
				}
				best := vec.Nearest(embedtest.Vector("parts", query, 16), vectors(line))
				cosine[line] = best
				want = append(want, best)
			}
			slices.Sort(want)
			slices.Reverse(want)
			result, err := o.Search(t.Context(), query, &llmemory.SearchOptions{Mode: llmemory.ByVector, Limit: limit, Where: where, Explain: true})
			must(t, err)
			if plan := result.Explanation.Plan; where.IsZero() && (!strings.HasPrefix(plan, "index ") || strings.Contains(plan, "found")) {
				t.Errorf("%q: %s", query, plan)
			}
			seen := map[string]bool{}
			for _, h := range result.Hits {
				best, known := cosine[h.Text]
				if !known || math.Abs(best-h.Score) > 1e-5 || seen[h.ID] {
					t.Errorf("%q: %q with %v, want %v; seen before: %t", query, h.Text, h.Score, best, seen[h.ID])
				}
				seen[h.ID] = true
				if h.Score >= want[limit-1]-1e-6 {
					found++
				}
			}
			if all += limit; len(result.Hits) != limit {
				t.Errorf("%q: %d hits", query, len(result.Hits))
			}
		}
		if recall := found / all; recall < c.floor {
			t.Errorf("where %+v: recall %.3f", where, recall)
		}
	}
}
