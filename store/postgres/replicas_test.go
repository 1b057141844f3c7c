package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/internal/pgproxy"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

// cluster is a primary with replicas.
type cluster struct {
	*testing.T
	primary  *pgtest.Server
	replicas []*pgtest.Replica
	schema   string
}

func newCluster(t *testing.T, replicas int) *cluster {
	t.Helper()
	primary, err := pgtest.Start(t.Context(), pgtest.Options{Settings: map[string]string{"max_connections": "50"}})
	must(t, err)
	t.Cleanup(func() { must(t, primary.Close()) })
	c := &cluster{T: t, primary: primary}
	for range replicas {
		r, err := primary.Replica(t.Context(), pgtest.Options{})
		must(t, err)
		t.Cleanup(func() { must(t, r.Close()) })
		c.replicas = append(c.replicas, r)
	}
	return c
}

// urls are those of the first replicas.
func (c *cluster) urls(n int) []string {
	var out []string
	for _, r := range c.replicas[:n] {
		out = append(out, r.URL())
	}
	return out
}

// open opens a store and a memory whose texts are cut into lines.
func (c *cluster) open(lag time.Duration, replicas []string) (*postgres.Store, *llmemory.Memory) {
	c.Helper()
	store, err := postgres.Open(c.Context(), c.primary.URL(), &postgres.Options{Schema: c.schema, ReadURLs: replicas, MaxReplicaLag: lag})
	must(c, err)
	c.Cleanup(func() { closes(c, func() { must(c, store.Close()) }) })
	mem, err := llmemory.New(store, &llmemory.Config{Chunker: lines, Embedder: embedtest.New(embedtest.Config{Dimensions: 16})})
	must(c, err)
	return store, mem
}

// TestReplicas has one pair of servers after the other go through all that can happen to them. Every part has a schema of its own.
func TestReplicas(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	for _, part := range []struct {
		name string
		run  func(t *testing.T, c *cluster)
	}{
		{"answer", testReplicasAnswer}, {"lag", testReplicaLags}, {"fall silent", testReplicaFallsSilent},
		{"miss a generation", testReplicaMissesGeneration}, {"stop", testReplicaStops}, {"lose the primary", testPrimaryStops},
		{"are of another", testWrongReplica}, {"are promoted", testReplicaIsPromoted},
	} {
		t.Run(part.name, func(t *testing.T) {
			part.run(t, &cluster{T: t, primary: c.primary, replicas: c.replicas, schema: part.name})
		})
	}
}

// catchUp waits until all replicas have what the primary has.
func (c *cluster) catchUp() {
	c.Helper()
	for _, r := range c.replicas {
		must(c, r.CatchUp(c.Context()))
	}
}

// recovery is how long things may take to be as they should.
const recovery = 5 * time.Second

// soon waits until something is so, and fails the test if that takes longer than things may.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > recovery {
			t.Fatalf("not within %s: %s", recovery, what)
		}
	}
}

// uses waits until so many replicas are used.
func uses(t *testing.T, store *postgres.Store, n int) {
	t.Helper()
	soon(t, fmt.Sprintf("%d replicas are used", n), func() bool {
		used := 0
		for _, r := range store.Replicas() {
			if r.Used != (r.Err == nil) {
				t.Fatalf("%+v", r)
			}
			if r.Used {
				used++
			}
		}
		return used == n
	})
}

// addLine adds a document of one line.
func addLine(t *testing.T, o *llmemory.Owner, key, text string) llmemory.Added {
	t.Helper()
	added, err := o.Add(t.Context(), llmemory.Document{Key: key, Name: key, Language: "en", Content: text})
	must(t, err)
	return added
}

// found returns how many passages a search finds.
func found(t *testing.T, o *llmemory.Owner, query string, mode llmemory.Mode) int {
	t.Helper()
	r, err := o.Search(t.Context(), query, &llmemory.SearchOptions{Mode: mode, Limit: 100})
	must(t, err)
	if len(r.Degraded) > 0 {
		t.Errorf("degraded: %v", r.Degraded)
	}
	return len(r.Hits)
}

// Reads are answered by the replicas, in turn, and what is asked of a fresh owner by the primary. A replica that stands still proves
// it: its answers are old.
func testReplicasAnswer(t *testing.T, c *cluster) {
	ctx := t.Context()
	_, writer := c.open(time.Hour, nil)
	first := addLine(t, writer.Owner("o"), "1", "alpha one")
	c.catchUp()
	store, mem := c.open(time.Hour, c.urls(2))
	uses(t, store, 2)
	must(t, c.replicas[0].PauseReplay(ctx))
	addLine(t, writer.Owner("o"), "2", "alpha two")
	must(t, c.replicas[1].CatchUp(ctx))
	must(t, c.replicas[1].PauseReplay(ctx))
	o := mem.Owner("o")
	third := addLine(t, o, "3", "alpha three")

	for name, count := range map[string]func(o *llmemory.Owner) int{
		"text search":   func(o *llmemory.Owner) int { return found(t, o, "alpha", llmemory.ByText) },
		"vector search": func(o *llmemory.Owner) int { return found(t, o, "alpha", llmemory.ByVector) },
		"hybrid search": func(o *llmemory.Owner) int { return found(t, o, "alpha", llmemory.Hybrid) },
		"List": func(o *llmemory.Owner) int {
			page, err := o.List(ctx, nil)
			must(t, err)
			return page.Total
		},
		"Stats": func(o *llmemory.Owner) int {
			stats, err := o.Stats(ctx)
			must(t, err)
			return int(stats.Documents)
		},
	} {
		seen := map[int]int{}
		for range 10 {
			seen[count(o)]++
		}
		if seen[1] != 5 || seen[2] != 5 {
			t.Errorf("%s: documents that are seen, and how often: %v, want 1 and 2, of either replica, five times", name, seen)
		}
		if n := count(o.Fresh()); n != 3 {
			t.Errorf("%s of a fresh owner sees %d documents, want 3", name, n)
		}
	}
	for name, get := range map[string]func(o *llmemory.Owner, id string) error{
		"Get":           func(o *llmemory.Owner, id string) error { _, err := o.Get(ctx, id); return err },
		"Text":          func(o *llmemory.Owner, id string) error { _, err := o.Text(ctx, id); return err },
		"GetWithChunks": func(o *llmemory.Owner, id string) error { _, _, err := o.GetWithChunks(ctx, id); return err },
		"Chunks":        func(o *llmemory.Owner, id string) error { _, _, err := o.Chunks(ctx, id, nil); return err },
	} {
		must(t, get(o, first.DocumentID))
		if err := get(o, third.DocumentID); !errors.Is(err, llmemory.ErrNotFound) {
			t.Errorf("%s of what no replica has yet: %v, want ErrNotFound", name, err)
		}
		must(t, get(o.Fresh(), third.DocumentID))
	}

	// Whoever writes looks at the primary: the second version is there, so the first is a change.
	if added := addLine(t, o, "1", "alpha one, again"); added.Status != llmemory.Updated {
		t.Errorf("a second version: %s", added.Status)
	}
	if added := addLine(t, o, "1", "alpha one"); added.Status != llmemory.Updated {
		t.Errorf("the first version once more: %s, want updated", added.Status)
	}
	if added := addLine(t, o, "1", "alpha one"); added.Status != llmemory.Unchanged {
		t.Errorf("and again: %s, want unchanged", added.Status)
	}

	// In the host's transaction everything is the primary's.
	must(t, pgx.BeginFunc(ctx, store.DB().Pool().Pgx(), func(tx pgx.Tx) error {
		o := mem.On(store.WithTx(tx)).Owner("o")
		addLine(t, o, "4", "alpha four")
		for range 2 {
			if n := found(t, o, "alpha", llmemory.ByText); n != 4 {
				t.Errorf("in a transaction %d passages are found, want 4", n)
			}
		}
		return nil
	}))
	for _, copy := range []llmemory.Store{store.Primary(), store.Primary().(*postgres.Store).Primary()} {
		must(t, copy.Close()) // belongs to the store
	}
	must(t, c.replicas[0].ResumeReplay(ctx))
	must(t, c.replicas[1].ResumeReplay(ctx))
	c.catchUp()
	if n := found(t, o, "alpha", llmemory.Hybrid); n != 4 {
		t.Errorf("%d passages are found at last, want 4", n)
	}
}

// A replica that is behind is left until it has caught up. An idle primary makes nobody lag.
func testReplicaLags(t *testing.T, c *cluster) {
	ctx := t.Context()
	const lag = 200 * time.Millisecond
	store, mem := c.open(lag, c.urls(1))
	o := mem.Owner("o")
	addLine(t, o, "0", "alpha")
	c.catchUp()
	uses(t, store, 1)
	for began := time.Now(); time.Since(began) < 5*lag; time.Sleep(lag / 10) {
		if r := store.Replicas()[0]; !r.Used || r.Lag > 0 {
			t.Fatalf("the primary is idle, and of the replica it is said: %+v", r)
		}
	}
	for i := range 3 {
		must(t, c.replicas[0].PauseReplay(ctx))
		key := fmt.Sprint(i + 1)
		addLine(t, o, key, "alpha "+key)
		soon(t, "a search finds what was added", func() bool { return found(t, o, "alpha", llmemory.ByText) == i+2 })
		r := store.Replicas()[0]
		if r.Used || !strings.Contains(fmt.Sprint(r.Err), "behind by more than 200ms") {
			t.Errorf("of a replica that stands still it is said: %+v", r)
		}
		for range 20 {
			if n := found(t, o, "alpha", llmemory.Hybrid); n != i+2 {
				t.Fatalf("%d passages are found once the replica was left, want %d", n, i+2)
			}
		}
		must(t, c.replicas[0].ResumeReplay(ctx))
		uses(t, store, 1)
	}
	// A replica that was behind when the store was opened is not trusted just because nothing is known of the past.
	must(t, c.replicas[0].PauseReplay(ctx))
	addLine(t, o, "late", "alpha late")
	// The server acknowledges commits before it has flushed them, and what is not flushed no replica can have.
	run(t, observer(t, c.primary.URL()), `SET synchronous_commit = local; SELECT pg_logical_emit_message(true, 'late', '')`)
	late, _ := c.open(time.Hour, c.urls(1))
	if r := late.Replicas()[0]; r.Used {
		t.Errorf("a replica that lacks what was there when the store was opened is used: %+v", r)
	}
	must(t, c.replicas[0].ResumeReplay(ctx))
	uses(t, late, 1)
}

// hammer searches from several goroutines until it is told to stop, and returns what the searches said.
func hammer(ctx context.Context, o *llmemory.Owner, mode llmemory.Mode) (stop func() (answers map[int]int, faults []error)) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var mu sync.Mutex
	answers := map[int]int{}
	var faults []error
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				r, err := o.Search(ctx, "alpha", &llmemory.SearchOptions{Mode: mode, Limit: 100})
				mu.Lock()
				switch {
				case ctx.Err() != nil:
				case err != nil:
					faults = append(faults, err)
				case len(r.Degraded) > 0:
					faults = append(faults, fmt.Errorf("degraded: %v", r.Degraded))
				default:
					answers[len(r.Hits)]++
				}
				mu.Unlock()
			}
		})
	}
	return func() (map[int]int, []error) {
		cancel()
		wg.Wait()
		return answers, faults
	}
}

// While a replica stops, crashes, is away and comes back, every search is answered, and rightly.
func testReplicaStops(t *testing.T, c *cluster) {
	ctx := t.Context()
	store, mem := c.open(0, c.urls(1))
	o := mem.Owner("o")
	for i := range 3 {
		addLine(t, o, fmt.Sprint(i), "alpha")
	}
	c.catchUp()
	uses(t, store, 1)
	for name, down := range map[string]func() error{"stopped": c.replicas[0].Stop, "crashed": c.replicas[0].Crash} {
		stop := hammer(ctx, o, llmemory.Hybrid)
		must(t, down())
		uses(t, store, 0)
		must(t, c.replicas[0].Resume(ctx))
		uses(t, store, 1)
		answers, faults := stop()
		if len(faults) > 0 || len(answers) != 1 || answers[3] == 0 {
			t.Errorf("%s: numbers of passages found, and how often: %v, want 3 always; errors: %v", name, answers, errors.Join(faults...))
		}
	}
	// Whatever serves it now: it sees what is written after all this.
	addLine(t, o, "4", "alpha")
	c.catchUp()
	if n := found(t, o, "alpha", llmemory.ByText); n != 4 {
		t.Errorf("%d passages found, want 4", n)
	}

	// A store opens while a replica is away, and finds it when it is there.
	must(t, c.replicas[0].Stop())
	second, mem := c.open(0, c.urls(1))
	if n := found(t, mem.Owner("o"), "alpha", llmemory.Hybrid); n != 4 {
		t.Errorf("%d passages found, want 4", n)
	}
	must(t, c.replicas[0].Resume(ctx))
	uses(t, second, 1)
}

// While the primary is away, searches go on, and writes fail in a way that says so. Afterwards all is as before.
func testPrimaryStops(t *testing.T, c *cluster) {
	ctx := t.Context()
	store, mem := c.open(0, c.urls(1))
	o := mem.Owner("o")
	addLine(t, o, "1", "alpha")
	c.catchUp()
	uses(t, store, 1)
	stop := hammer(ctx, o, llmemory.Hybrid)
	must(t, c.primary.Crash())
	_, err := o.Add(ctx, llmemory.Document{Key: "2", Content: "alpha"})
	if !errors.Is(err, llmemory.ErrUnavailable) {
		t.Errorf("a write without a primary: %v, want ErrUnavailable", err)
	}
	if _, err := o.Fresh().Search(ctx, "alpha", nil); !errors.Is(err, llmemory.ErrUnavailable) {
		t.Errorf("a fresh search without a primary: %v, want ErrUnavailable", err)
	}
	// What the memory knows of the models is older than it likes: a search that needs them goes on all the same.
	other, err := llmemory.New(store, &llmemory.Config{Chunker: lines, Embedder: embedtest.New(embedtest.Config{Dimensions: 16})})
	must(t, err)
	if n := found(t, other.Owner("o"), "alpha", llmemory.ByVector); n != 1 {
		t.Errorf("%d passages found without a primary, want 1", n)
	}
	if page, err := o.List(ctx, nil); err != nil || page.Total != 1 {
		t.Errorf("List without a primary: %v", err)
	}
	// With nobody left, the error says so.
	answers, faults := stop()
	if len(faults) > 0 || len(answers) != 1 {
		t.Errorf("numbers of passages found, and how often: %v, want 1 always; errors: %v", answers, errors.Join(faults...))
	}
	must(t, c.replicas[0].Stop())
	for range 3 {
		if _, err := o.Search(ctx, "alpha", nil); !errors.Is(err, llmemory.ErrUnavailable) {
			t.Errorf("a search without any server: %v, want ErrUnavailable", err)
		}
	}
	must(t, c.primary.Resume(ctx))
	must(t, c.replicas[0].Resume(ctx))
	soon(t, "a write succeeds", func() bool {
		_, err := o.Add(ctx, llmemory.Document{Key: "2", Content: "alpha"})
		return err == nil
	})
	uses(t, store, 1)
}

// A replica that was promoted is another database, whatever it holds: it is not asked any more, not even once.
func testReplicaIsPromoted(t *testing.T, c *cluster) {
	ctx := t.Context()
	store, mem := c.open(time.Hour, c.urls(1))
	o := mem.Owner("o")
	addLine(t, o, "1", "alpha")
	c.catchUp()
	uses(t, store, 1)
	stop := hammer(ctx, o, llmemory.ByText)
	must(t, c.replicas[0].Promote(ctx))
	// The promoted server gains a document at once, which the primary will never have.
	astray, err := postgres.Open(ctx, c.replicas[0].URL(), &postgres.Options{Schema: c.schema})
	must(t, err)
	defer astray.Close()
	addLine(t, memory(t, astray).Owner("o"), "astray", "alpha\nalpha\nalpha")
	for range 50 {
		if n := found(t, o, "alpha", llmemory.ByText); n != 1 {
			t.Fatalf("%d passages found, want the primary's 1", n)
		}
	}
	answers, faults := stop()
	if len(faults) > 0 || len(answers) != 1 || answers[1] == 0 {
		t.Errorf("numbers of passages found, and how often: %v, want 1 always; errors: %v", answers, errors.Join(faults...))
	}
	uses(t, store, 0)
	if r := store.Replicas()[0]; !strings.Contains(fmt.Sprint(r.Err), "it is no replica") {
		t.Errorf("of a promoted replica it is said: %+v", r)
	}
	addLine(t, o, "2", "alpha")
	if n := found(t, o, "alpha", llmemory.Hybrid); n != 2 {
		t.Errorf("%d passages found, want 2", n)
	}
}

// What is no replica of the primary is not read from.
func testWrongReplica(t *testing.T, c *cluster) {
	ctx := t.Context()
	other := newCluster(t, 1)
	conn, err := pgx.Connect(ctx, c.primary.URL())
	must(t, err)
	defer conn.Close(ctx)
	run(t, conn, "CREATE DATABASE another")
	c.catchUp()
	for want, url := range map[string]string{
		"it is no replica":                                       other.primary.URL(),
		"it is a replica of another server":                      other.replicas[0].URL(),
		`its database is "another", the primary's is "postgres"`: strings.Replace(c.replicas[0].URL(), "/postgres?", "/another?", 1),
		"pgdbm: connect: ":                                       "postgres://postgres@127.0.0.1:1/postgres",
	} {
		store, mem := c.open(0, []string{url})
		if r := store.Replicas()[0]; r.Used || !strings.Contains(fmt.Sprint(r.Err), want) {
			t.Errorf("%+v, want %s", r, want)
		}
		addLine(t, mem.Owner("o"), "1", "alpha")
		if n := found(t, mem.Owner("o"), "alpha", llmemory.Hybrid); n != 1 {
			t.Errorf("%d passages found, want 1", n)
		}
	}
	for _, o := range []postgres.Options{{ReadURLs: []string{"postgres://a b"}}, {ReadURLs: c.urls(1), MaxReplicaLag: -1}} {
		if store, err := postgres.Open(ctx, c.primary.URL(), &o); err == nil {
			store.Close()
			t.Errorf("%+v is accepted", o)
		}
	}
}

// A replica that falls silent holds up nobody for long.
func testReplicaFallsSilent(t *testing.T, c *cluster) {
	proxy, through, err := pgproxy.StartFor(c.replicas[0].URL())
	must(t, err)
	t.Cleanup(func() { must(t, proxy.Close()) })
	store, mem := c.open(0, []string{through})
	o := mem.Owner("o")
	addLine(t, o, "1", "alpha")
	c.catchUp()
	uses(t, store, 1)
	proxy.Blackhole(true)
	began := time.Now()
	if n := found(t, o, "alpha", llmemory.Hybrid); n != 1 { // it is asked, as nobody knows yet
		t.Errorf("%d passages found, want 1", n)
	}
	if took := time.Since(began); took > recovery {
		t.Errorf("a search took %s, want at most %s", took, recovery)
	}
	uses(t, store, 0)
	proxy.Blackhole(false)
	uses(t, store, 1)
}

// A replica that has not seen a generation, its activation or the end of another one makes no search fail.
func testReplicaMissesGeneration(t *testing.T, c *cluster) {
	ctx := t.Context()
	embedder := func(n int) embedding.Embedder {
		return embedtest.New(embedtest.Config{Model: fmt.Sprint("model ", n), Dimensions: 16 + n})
	}
	store, _ := c.open(time.Hour, c.urls(1))
	mem, err := llmemory.New(store, &llmemory.Config{Chunker: lines, Embedder: embedder(0), Embedders: []embedding.Embedder{embedder(1), embedder(2)}})
	must(t, err)
	o := mem.Owner("o")
	for i := range 3 {
		addLine(t, o, fmt.Sprint(i), "alpha")
	}
	c.catchUp()
	uses(t, store, 1)
	searchUses := func(o *llmemory.Owner, when string, n int) {
		t.Helper()
		for range 2 {
			for _, where := range []llmemory.Where{{}, {Origins: []string{"default"}}} {
				r, err := o.Search(ctx, "alpha", &llmemory.SearchOptions{Mode: llmemory.ByVector, Where: where, Explain: true})
				must(t, err)
				if want := embedder(n).Model().Identity(); len(r.Hits) != 3 || r.Explanation.Model != want {
					t.Errorf("%s: %d passages found with %s, want 3 with %s", when, len(r.Hits), r.Explanation.Model, want)
				}
			}
		}
	}
	searchUses(o, "at first", 0)
	for n := 1; n <= 2; n++ {
		pause := func(now bool) {
			if now {
				c.catchUp()
				must(t, c.replicas[0].PauseReplay(ctx))
			}
		}
		pause(n == 1) // so it never hears of the new generation; the other one it knows, but not as the active one
		g, err := mem.AddGeneration(ctx, embedder(n), "")
		must(t, err)
		_, err = mem.EmbedQueue(ctx, nil)
		must(t, err)
		searchUses(o, "before the switch", n-1)
		pause(n == 2)
		_, err = mem.ActivateGeneration(ctx, g.ID, false)
		must(t, err)
		searchUses(o, "after the switch", n)
		must(t, mem.RetireGeneration(ctx, g.ID-1, false))
		searchUses(o, "without the old generation", n)
		fresh, _ := c.open(time.Hour, c.urls(1))
		anew, err := llmemory.New(fresh, &llmemory.Config{Chunker: lines, Embedder: embedder(n)})
		must(t, err)
		searchUses(anew.Owner("o"), "in a new process", n)
		must(t, c.replicas[0].ResumeReplay(ctx))
		c.catchUp()
		searchUses(o, "at last", n)
	}
}
