package postgres_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/embedding/openai"
	"github.com/llmemory/llmemory/internal/soak"
	"github.com/llmemory/llmemory/internal/wordpiece"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

// The two models of a switch.
const (
	oldModel = "old"
	newModel = "new"
)

// switchModel returns an embedder of a model. hear, if not nil, is told of each call.
func switchModel(model string, dimensions int, hear func()) embedding.Embedder {
	return embedding.Batch(embedtest.New(embedtest.Config{Model: model, Dimensions: dimensions, Fail: func(context.Context, embedtest.Call) error {
		if hear != nil {
			hear()
		}
		return nil
	}}), embedding.BatchOptions{MaxInputs: 64})
}

// switchTask makes this test binary a program that changes the model, and may be killed by itself on the way.
const switchTask = "LLMEMORY_TEST_SWITCH"

type switchProgram struct {
	URL      string
	Old, New int           // dimensions
	Batch    int           // passages a worker takes at a time
	Point    string        // where to die, such as "before Complete"; "" for nowhere
	Times    int           // how often to pass the point first
	Within   time.Duration // after which to die during a call; 0 for a few milliseconds
	Retire   int64         // the generation to remove; 0 to change the model
}

// mortal is a store whose program dies at a certain point.
type mortal struct {
	*postgres.Store
	point  string
	left   atomic.Int64
	within time.Duration
}

// around dies before, during or after a call, if that is the point; if the call is too short to die during it, then right after it.
func (m *mortal) around(call string) (after func()) {
	if when, ok := strings.CutSuffix(m.point, " "+call); ok && m.left.Add(-1) < 0 {
		switch when {
		case "before":
			die()
		case "during":
			time.AfterFunc(rand.N(m.within), die)
			return func() { select {} }
		case "after":
			return die
		}
	}
	return func() {}
}

// die ends the program as kill -9 does.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func (m *mortal) AddGeneration(ctx context.Context, p llmemory.AddGenerationParams) (*llmemory.Generation, error) {
	defer m.around("AddGeneration")()
	return m.Store.AddGeneration(ctx, p)
}

func (m *mortal) Backfill(ctx context.Context, p llmemory.BackfillParams) (*llmemory.BackfillRecord, error) {
	defer m.around("Backfill")()
	return m.Store.Backfill(ctx, p)
}

func (m *mortal) Claim(ctx context.Context, p llmemory.ClaimParams) ([]llmemory.Job, error) {
	defer m.around("Claim")()
	return m.Store.Claim(ctx, p)
}

func (m *mortal) Complete(ctx context.Context, p llmemory.CompleteParams) (*llmemory.CompleteRecord, error) {
	defer m.around("Complete")()
	return m.Store.Complete(ctx, p)
}

func (m *mortal) Tune(ctx context.Context, p llmemory.TuneParams) (bool, error) {
	defer m.around("Tune")()
	return m.Store.Tune(ctx, p)
}

func (m *mortal) ActivateGeneration(ctx context.Context, p llmemory.ActivateGenerationParams) (*llmemory.Generation, error) {
	defer m.around("ActivateGeneration")()
	return m.Store.ActivateGeneration(ctx, p)
}

func (m *mortal) RetireGeneration(ctx context.Context, p llmemory.RetireGenerationParams) error {
	defer m.around("RetireGeneration")()
	return m.Store.RetireGeneration(ctx, p)
}

// openSwitch opens a store for both models.
func openSwitch(ctx context.Context, s switchProgram, wrap func(*postgres.Store) llmemory.Store, hear func()) (*postgres.Store, *llmemory.Memory, error) {
	store, err := postgres.Open(ctx, s.URL, &postgres.Options{
		Pool: pgdbm.Config{MaxConns: 8}, RequireMigrated: true, IndexFrom: soak.Pick(500, 0), // the large owner has an index
	})
	if err != nil {
		return nil, nil, err
	}
	mem, err := llmemory.New(wrap(store), &llmemory.Config{
		Chunker: lines, EmbedLease: time.Second, EmbedBatch: s.Batch, MaintenanceInterval: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		Embedder: switchModel(oldModel, s.Old, nil), Embedders: []embedding.Embedder{switchModel(newModel, s.New, hear)},
	})
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return store, mem, nil
}

// run changes the model, as far as that is not done yet, or removes a generation.
func (s switchProgram) run() error {
	ctx := context.Background()
	m := &mortal{point: s.Point, within: cmp.Or(s.Within, 4*time.Millisecond)}
	m.left.Store(int64(s.Times))
	wrap := func(store *postgres.Store) llmemory.Store {
		m.Store = store
		return m
	}
	store, mem, err := openSwitch(ctx, s, wrap, func() { m.around("Embed")() })
	if err != nil {
		return err
	}
	defer store.Close()
	if s.Retire != 0 {
		return mem.RetireGeneration(ctx, s.Retire, false)
	}
	g, err := mem.AddGeneration(ctx, switchModel(newModel, s.New, nil), "")
	if err != nil {
		return err
	}
	for { // documents come meanwhile
		if _, err := mem.EmbedQueue(ctx, nil); err != nil {
			return err
		}
		p, err := mem.Progress(ctx, g.ID)
		switch {
		case err != nil:
			return err
		case p.Waiting > 0: // some is held by somebody who died
			time.Sleep(20 * time.Millisecond)
			continue
		}
		for worked := true; worked; {
			if worked, err = mem.TuneIndexes(ctx); err != nil {
				return err
			}
		}
		if _, err = mem.ActivateGeneration(ctx, g.ID, false); !errors.Is(err, llmemory.ErrConflict) {
			return err
		}
	}
}

// switching is a store while its model is changed.
type switching struct {
	*testing.T
	switchProgram
	store  *postgres.Store
	mem    *llmemory.Memory
	owners []string
	old    int64
	phase  atomic.Int64 // 0: the old model must answer, 1: either may, 2: the new one must

	mu     sync.Mutex
	took   []time.Duration
	by     map[int64]int // searches by generation
	rounds atomic.Int64
}

// search asks one question and checks the answer: it is whole, and of one model, the right one.
func (s *switching) search(ctx context.Context, n int) {
	owner := s.owners[n%len(s.owners)]
	question := fmt.Sprintf("alpha word%d common", n%40)
	mode := []llmemory.Mode{llmemory.ByVector, llmemory.Hybrid}[n/len(s.owners)%2]
	before, started := s.phase.Load(), time.Now()
	r, err := s.mem.Owner(owner).Search(ctx, question, &llmemory.SearchOptions{Mode: mode, Explain: true})
	took, after := time.Since(started), s.phase.Load()
	if err != nil || len(r.Hits) != 10 || len(r.Degraded) > 0 {
		if ctx.Err() == nil {
			s.Errorf("search %d: %+v, %v", n, r, err)
		}
		return
	}
	generation := r.Explanation.Generation
	model, dimensions := newModel, s.New
	if generation == s.old {
		model, dimensions = oldModel, s.Old
	}
	if before == after && (before == 0 && model != oldModel || before == 2 && model != newModel) {
		s.Errorf("search %d: answered by the %s model in phase %d", n, model, before)
	}
	if err := checkHits(r, question, model, dimensions, func(string) int { return 1 }); err != nil {
		s.Errorf("search %d, by the %s model: %v", n, model, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = append(s.took, took)
	s.by[generation]++
}

// searchers search twenty times a second until the context ends, or less often if sixteen at a time cannot keep up with that; in the
// short form more often, to be through sooner.
func (s *switching) searchers(ctx context.Context) (ended func()) {
	var all sync.WaitGroup
	ask := make(chan int)
	for range 16 {
		all.Go(func() {
			for n := range ask {
				s.search(ctx, n)
				s.rounds.Add(1)
			}
		})
	}
	all.Go(func() {
		defer close(ask)
		tick := time.NewTicker(soak.Pick(25*time.Millisecond, 50*time.Millisecond))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			select {
			case <-ctx.Done():
				return
			case ask <- n:
			}
		}
	})
	return all.Wait
}

// enter begins a phase, once searches are through with what was before.
func (s *switching) enter(phase int64) {
	s.phase.Store(phase)
	for n := s.rounds.Load(); s.rounds.Load() < n+20 && !s.Failed(); {
		time.Sleep(5 * time.Millisecond)
	}
}

// active returns the generation that searches use.
func (s *switching) active() int64 {
	s.Helper()
	list, err := s.mem.Generations(s.Context())
	must(s, err)
	i := slices.IndexFunc(list, func(g llmemory.Generation) bool { return g.State == llmemory.Active })
	return list[i].ID
}

// do runs the program, which dies at its point, and checks what it leaves.
func (s *switching) do(p switchProgram) {
	s.Helper()
	p.URL, p.Old, p.New, p.Batch = s.URL, s.Old, s.New, s.Batch
	err := startProgram(s, switchTask, p, func(string) {}).ended()
	if p.Point == "" && err != nil || p.Point != "" && !killed(err) {
		s.Fatalf("%q, %d: %v", p.Point, p.Times, err)
	}
	if err := checkQueue(s.Context(), s.store); err != nil {
		s.Errorf("after it died %s: %v", p.Point, err)
	}
}

// TestSwitch changes the model of a store from one of 384 dimensions to one of 1,536, in a program that is killed at one point after the
// other, while searches and changes go on: every search is answered, by the old model until the switch and by the new one after it,
// never by both. Then it goes back, and there again, and the old vectors make room.
func TestSwitch(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	passages := soak.Pick(1_000, 50_000)
	s := &switching{
		T: t, by: map[int64]int{}, owners: []string{"large", "large", "large", "small0", "small1", "small2"},
		switchProgram: switchProgram{
			URL: pgtest.Clone(t, "llmemory conformance", migrate), Old: soak.Pick(48, 384), New: soak.Pick(96, 1536), Batch: soak.Pick(32, 256),
		},
	}
	var err error
	s.store, s.mem, err = openSwitch(ctx, s.switchProgram, func(store *postgres.Store) llmemory.Store { return store }, nil)
	must(t, err)
	defer s.store.Close()
	started := time.Now()
	s.fill(passages)
	first := theGeneration(t, s.mem)
	s.old = first.ID
	for worked := true; worked; {
		worked, err = s.mem.TuneIndexes(ctx)
		must(t, err)
	}
	filled := time.Since(started)

	searching, stop := context.WithCancel(ctx)
	ended := s.searchers(searching)
	written := s.write(searching)
	started = time.Now()
	for _, p := range []switchProgram{
		{Point: "before AddGeneration"}, {Point: "during AddGeneration"}, {Point: "after AddGeneration"},
		{Point: "before Backfill"}, {Point: "during Backfill"}, {Point: "after Backfill"},
		{Point: "after Claim", Times: 1}, {Point: "before Embed"}, {Point: "before Complete", Times: 1}, {Point: "during Complete", Times: 2},
		{Point: "after Complete", Times: 1}, {Point: "before Tune", Times: 1}, {Point: "during Tune", Times: 1, Within: soak.Pick(100*time.Millisecond, 5*time.Second)},
		{Point: "before ActivateGeneration"},
	} {
		s.do(p)
	}
	if id := s.active(); id != s.old {
		t.Fatalf("generation %d is active before it was activated", id)
	}
	s.phase.Store(1)
	s.do(switchProgram{Point: "during ActivateGeneration"})
	s.do(switchProgram{})
	switched := time.Since(started)
	s.enter(2)
	next := s.active()
	if next == s.old {
		t.Fatal("the new generation is not active")
	}
	for _, g := range []int64{s.old, next} { // back, and there again
		s.phase.Store(1)
		for {
			_, err := s.mem.EmbedQueue(ctx, nil)
			must(t, err)
			if _, err = s.mem.ActivateGeneration(ctx, g, false); err == nil {
				break
			}
			if !errors.Is(err, llmemory.ErrConflict) {
				t.Fatal(err)
			}
		}
		s.enter(map[int64]int64{s.old: 0, next: 2}[g])
	}

	before := s.size()
	for _, p := range []switchProgram{{Point: "before RetireGeneration"}, {Point: "during RetireGeneration"}, {}} {
		p.Retire = s.old
		err := startProgram(t, switchTask, switchProgram{URL: s.URL, Old: s.Old, New: s.New, Batch: s.Batch, Point: p.Point, Retire: p.Retire}, func(string) {}).ended()
		// It may have been done before it died.
		if err != nil && !killed(err) && !s.retired(first.ID) {
			t.Fatalf("retire, %q: %v", p.Point, err)
		}
	}
	s.enter(2)
	stop()
	ended()
	changes := <-written
	after := s.size()
	var rest string
	must(t, s.store.DB().QueryRow(ctx, `SELECT concat_ws(', ', to_regclass('{{tables.embeddings_1}}')::text,
		(SELECT 'jobs' FROM {{tables.embedding_queue}} WHERE generation = 1 LIMIT 1), (SELECT 'its row' FROM {{tables.embedding_generations}} WHERE generation = 1))`).Scan(&rest))
	if _, err := s.mem.Progress(ctx, first.ID); !errors.Is(err, llmemory.ErrNotFound) || rest != "" || after >= before {
		t.Errorf("of the old generation is left %q, progress %v, %d of %d bytes", rest, err, after, before)
	}
	drain(t, s.mem, next)
	g := theGeneration(t, s.mem)
	n, err := checkVectors(ctx, s.store.DB(), g)
	must(t, err)
	must(t, checkStored(ctx, s.store))
	if soak.On() { // the builder that died is waited for
		s.indexed(g.ID)
	}
	p, err := s.mem.Progress(ctx, g.ID)
	if err != nil || int64(n) != p.Leaves || p.Leaves < int64(passages) {
		t.Errorf("%d vectors of %d passages, %v", n, p.Leaves, err)
	}
	slices.Sort(s.took)
	if s.by[s.old] == 0 || s.by[next] == 0 {
		t.Errorf("searches by generation: %v", s.by)
	}
	t.Logf("%d passages in %s; switched in %s beside %d changes; %d searches (%v by generation), p50 %s, p95 %s, max %s; retiring freed %.1f of %.1f MB",
		p.Leaves, filled.Round(time.Millisecond), switched.Round(time.Millisecond), changes, len(s.took), s.by,
		s.took[len(s.took)/2].Round(time.Microsecond), s.took[len(s.took)*95/100].Round(time.Microsecond), s.took[len(s.took)-1].Round(time.Microsecond),
		float64(before-after)/1e6, float64(before)/1e6)
}

// indexed waits until the large owner has an index in a generation.
func (s *switching) indexed(generation int64) {
	s.Helper()
	for deadline := time.Now().Add(10 * time.Minute); ; time.Sleep(time.Second) {
		_, err := s.mem.TuneIndexes(s.Context())
		must(s, err)
		p, err := s.mem.Progress(s.Context(), generation)
		must(s, err)
		if len(p.Indexes) == 1 && p.Indexes[0].Ready {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("indexes: %+v", p.Indexes)
		}
	}
}

// retired tells whether a generation is gone.
func (s *switching) retired(id int64) bool {
	_, err := s.mem.Progress(s.Context(), id)
	return errors.Is(err, llmemory.ErrNotFound)
}

// fill stores passages, most of them of one owner, with vectors of the old model.
func (s *switching) fill(passages int) {
	s.Helper()
	const each = 20 // passages a document
	docs := map[string][]llmemory.Document{}
	for i := range passages / each {
		owner := "large"
		if i%5 == 0 {
			owner = fmt.Sprint("small", i/5%3)
		}
		docs[owner] = append(docs[owner], llmemory.Document{
			Key: fmt.Sprint(i), Language: "en", Embed: llmemory.EmbedLater, Content: numbered(each, fmt.Sprintf("alpha word%d common document%d passage%%d", i%40, i)),
		})
	}
	for owner, list := range docs {
		for part := range slices.Chunk(list, 50) {
			_, err := s.mem.Owner(owner).AddMany(s.Context(), part)
			must(s, err)
		}
	}
	_, err := s.mem.EmbedQueue(s.Context(), nil)
	must(s, err)
}

// write changes documents until the context ends: it adds, rewrites and deletes, at its own pace.
func (s *switching) write(ctx context.Context) (changes <-chan int) {
	done := make(chan int, 1)
	go func() {
		o, n := s.mem.Owner("small2"), 0
		for ; ctx.Err() == nil; n++ {
			key := fmt.Sprint("written", n%7)
			_, err := o.Add(s.Context(), llmemory.Document{Key: key, Language: "en", Content: numbered(1+n%3, fmt.Sprintf("alpha word%d written%d line%%d", n%40, n))})
			if err == nil && n%5 == 4 {
				_, err = o.Delete(s.Context(), llmemory.DocumentID(o.ID(), llmemory.Identity{OriginID: "default", Key: key}))
			}
			if err != nil && !errors.Is(err, llmemory.ErrUnavailable) { // as on a machine that is too busy
				s.Errorf("change %d: %v", n, err)
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		done <- n
	}()
	return done
}

// size is how much room all vectors take.
func (s *switching) size() (bytes int64) {
	s.Helper()
	must(s, s.store.DB().QueryRow(s.Context(), `SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
		WHERE relkind = 'r' AND relname ~ '^embeddings_[0-9]+$'`).Scan(&bytes))
	return bytes
}

// TestEstimate compares what an estimate says of a mixture of texts (prose, code, tables, three languages) with what the provider then
// counts: it is right within a tenth, for OpenAI's models, whose tokens are counted as they are billed, and for BERT's, but for the two
// tokens that frame a text.
func TestEstimate(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, err := postgres.Open(ctx, pgtest.Clone(t, "llmemory conformance", migrate), nil)
	must(t, err)
	defer store.Close()
	files := estimated(t, store, soak.Pick([]string{"*.md", "docs/*.md", "*.go", "store/postgres/sql/*.sql", "eval/smallset/*.jsonl", "embedding/*.go"},
		[]string{"*.md", "docs/*.md", "*.go", "*/*.go", "*/*/*.go", "*/*/*/*.go", "*/*/*/*.sql", "*/*/*.jsonl", "*/*/*/*/*.txtar"}))
	bert := func(text string) int { return wordpiece.Default().Count(text) + 2 }
	for _, model := range []struct {
		name  string
		price float64
		count func(string) int
	}{{openai.DefaultModel, 0.02, nil}, {"all-minilm", 0, bert}}[:soak.Pick(1, 2)] {
		server := embedtest.NewServer(embedtest.ServerConfig{Models: map[string]int{model.name: 32}, CountTokens: model.count})
		defer server.Close()
		e := embedding.Recommended(openai.New(openai.Config{BaseURL: server.URL, Model: model.name, Dimensions: 32}), nil)
		mem, err := llmemory.New(store, &llmemory.Config{Embedder: e})
		must(t, err)
		var estimates []*llmemory.Estimate
		for range soak.Pick(1, 20) { // each looks at other passages
			estimate, err := mem.Estimate(ctx, nil)
			must(t, err)
			estimates = append(estimates, estimate)
		}
		server.Reset()
		_, err = mem.AddGeneration(ctx, nil, "")
		must(t, err)
		progress, err := mem.EmbedQueue(ctx, nil)
		must(t, err)
		sent := server.Stats().Tokens
		slices.SortFunc(estimates, func(a, b *llmemory.Estimate) int { return cmp.Compare(a.Tokens, b.Tokens) })
		off := func(e *llmemory.Estimate) float64 { return 100 * (float64(e.Tokens)/float64(sent) - 1) }
		least, estimate := estimates[0], estimates[len(estimates)-1]
		t.Logf("%s: %d files, %d passages, %d of them looked at: %d tokens sent, estimated were %d (%+.1f %%) to %d (%+.1f %%)",
			model.name, files, estimate.Leaves, estimate.Sampled, sent, least.Tokens, off(least), estimate.Tokens, off(estimate))
		if off(least) < -10 || off(estimate) > 10 {
			t.Errorf("%s: an estimate is off by %.0f or %.0f %%", model.name, off(least), off(estimate))
		}
		if want := float64(estimate.Tokens) * model.price / 1e6; estimate.Cost != want {
			t.Errorf("%s: costs %v, want %v", model.name, estimate.Cost, want)
		}
		if int64(progress.Embedded) != estimate.Leaves || estimate.Leaves <= int64(estimate.Sampled) {
			t.Errorf("%s: %d of %d passages embedded, %d looked at: not all, or all", model.name, progress.Embedded, estimate.Leaves, estimate.Sampled)
		}
	}
}

// estimated stores files of this repository.
func estimated(t *testing.T, store *postgres.Store, patterns []string) (files int) {
	t.Helper()
	mem, err := llmemory.New(store, nil)
	must(t, err)
	for _, pattern := range patterns {
		names, err := filepath.Glob("../../" + pattern)
		must(t, err)
		for _, name := range names {
			raw, err := os.ReadFile(name)
			must(t, err)
			if !utf8.Valid(raw) {
				continue
			}
			_, err = mem.Owner(fmt.Sprint("o", files%3)).Add(t.Context(), llmemory.Document{
				Name: strings.TrimPrefix(filepath.ToSlash(name), "../../"), Content: string(raw),
			})
			must(t, err)
			files++
		}
	}
	return files
}
