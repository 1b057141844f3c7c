package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
)

func (s *suite) workerCases() []testCase {
	return []testCase{
		{name: "CallerGoes", run: s.testCallerGoes},
		{name: "OneModelFails", run: s.testOneModelFails},
		{name: "Breakdown", run: s.testBreakdown},
		{name: "StoreFails", run: s.testStoreFails},
		{name: "LeaseLost", run: s.testLeaseLost},
		{name: "SwitchUnnoticed", run: s.testSwitchUnnoticed},
		{name: "Wishes", run: s.testWishes},
		{name: "UnknownDimensions", run: s.testUnknownDimensions},
	}
}

// spoiled is a store some of whose methods go wrong.
type spoiled struct {
	llmemory.Store
	claimed  func()                                             // called after each claim
	extend   func() (int, error)                                // instead of Extend
	complete func(store func() error) (handled bool, err error) // around Complete; it may call store
}

func (s *spoiled) Claim(ctx context.Context, p llmemory.ClaimParams) ([]llmemory.Job, error) {
	jobs, err := s.Store.Claim(ctx, p)
	if s.claimed != nil {
		s.claimed()
	}
	return jobs, err
}

func (s *spoiled) Extend(ctx context.Context, p llmemory.ExtendParams) (int, error) {
	if s.extend != nil {
		return s.extend()
	}
	return s.Store.Extend(ctx, p)
}

func (s *spoiled) Complete(ctx context.Context, p llmemory.CompleteParams) (*llmemory.CompleteRecord, error) {
	if s.complete != nil {
		handled, err := s.complete(func() error {
			_, err := s.Store.Complete(ctx, p)
			return err
		})
		if handled {
			return &llmemory.CompleteRecord{}, err
		}
	}
	return s.Store.Complete(ctx, p)
}

// mute is a memory that embeds, whose warnings are expected.
func mute(t *testing.T, store llmemory.Store, change func(*llmemory.Config)) *llmemory.Memory {
	t.Helper()
	c := &llmemory.Config{Chunker: paragraphs(), Logger: slog.New(slog.DiscardHandler), MaintenanceInterval: 10 * time.Millisecond}
	change(c)
	return must(llmemory.New(store, c))(t)
}

// later are documents with a passage each, left to the queue.
func later(n int, format string) []llmemory.Document {
	out := make([]llmemory.Document, n)
	for i := range out {
		text := fmt.Sprintf(format, i)
		out[i] = llmemory.Document{Key: text, Language: "en", Content: text, Embed: llmemory.EmbedLater}
	}
	return out
}

// checkFree checks that so many passages wait and none is held by anybody.
func checkFree(t *testing.T, o *llmemory.Owner, want int64) {
	t.Helper()
	if q := must(o.Queue(background(t), 0))(t); q.Waiting != want || q.Leased != 0 || q.Dead != 0 {
		t.Errorf("the queue: %+v, want %d waiting", q, want)
	}
}

// testCallerGoes has callers go away at every stage: what is stored stays, and nobody waits for the end of a lease.
func (s *suite) testCallerGoes(t *testing.T) {
	e := newWords("goes", 16)
	m := s.fresh(t, e)
	o := m.Owner("o")
	add(t, o, llmemory.Document{Key: "first", Language: "en", Content: "first"})
	leave := func() {}
	e.failWith(func(embedding.Role, []string) error {
		leave()
		return context.Canceled
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	leave = cancel
	added, err := o.Add(ctx, llmemory.Document{Key: "k", Language: "en", Content: join("alpha", "beta")})
	if err != nil || added.Status != llmemory.Created || added.Embedded != 0 || added.Pending != 2 || !errors.Is(added.EmbedErr, context.Canceled) {
		t.Errorf("while its passages are embedded: %+v, %v", added, err)
	}
	checkFree(t, o, 2)
	mixed, err := o.AddMany(ctx, []llmemory.Document{{Key: "x", Content: "gamma"}})
	if !errors.Is(err, context.Canceled) || mixed[0].Err == nil {
		t.Errorf("before it begins: %+v, %v", mixed, err)
	}
	for stage, worker := range map[string]*llmemory.Memory{
		"while passages are embedded": m,
		"when they are claimed":       embeddingMemory(t, &spoiled{Store: m.Store(), claimed: func() { leave() }}, e),
	} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		leave = cancel
		if _, err := worker.EmbedQueue(ctx, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", stage, err)
		}
		checkFree(t, o, 2)
	}
	e.failWith(nil)
	if p := work(t, m); p.Embedded != 2 {
		t.Errorf("worked off: %+v", p)
	}
}

// testOneModelFails has the embedder of one generation fail: the other's passages are embedded all the same, all of them at once.
func (s *suite) testOneModelFails(t *testing.T) {
	a, b := newWords("a", 16), newWords("b", 24)
	store := s.open(t)
	m := mute(t, store, func(c *llmemory.Config) {
		c.Embedder, c.Embedders, c.EmbedBatch = a, []embedding.Embedder{b}, 1
	})
	first := must(m.AddGeneration(t.Context(), nil, ""))(t)
	second := must(m.AddGeneration(t.Context(), b, ""))(t)
	b.failWith(func(embedding.Role, []string) error {
		return &embedding.Error{Kind: embedding.Unauthorized, Provider: "test", Status: 401}
	})
	addMany(t, m.Owner("o"), later(10, "word%d"))
	p, err := m.EmbedQueue(t.Context(), nil)
	var fault *embedding.Error
	if p.Embedded != 10 || p.Failed != 0 || !errors.As(err, &fault) || fault.Status != 401 || !errors.Is(err, llmemory.ErrUnavailable) ||
		!strings.Contains(err.Error(), fmt.Sprint("generation ", second.ID)) || p.Err == nil {
		t.Errorf("worked off: %+v, %v", p, err)
	}
	if n := b.Calls(); n > 2 { // for passages, and for a plain word
		t.Errorf("the failing embedder was asked %d times", n)
	}
	const n = 60
	addMany(t, m.Owner("p"), later(n, "word%d"))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	for deadline := time.Now().Add(20 * time.Second); must(m.Progress(t.Context(), first.ID))(t).Vectors < 10+n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("a worker is slow beside a generation that fails: %+v", must(m.Progress(t.Context(), first.ID))(t))
			break
		}
	}
	stop()
	<-ended
	if q := must(m.Owner("o").Queue(t.Context(), 0))(t); q.Waiting != 10 || len(q.Failures) == 0 || !strings.Contains(q.Failures[0].Reason, "401") {
		t.Errorf("the queue of the other generation: %+v", q)
	}
}

// testBreakdown has a text at which the embedder breaks down, as if it were not there: the others get their vectors, the text is
// blamed. If the embedder is not there, no text is.
func (s *suite) testBreakdown(t *testing.T) {
	e := newWords("breakdown", 16)
	store := s.open(t)
	m := mute(t, store, func(c *llmemory.Config) { c.Embedder = embedding.Batch(e, embedding.BatchOptions{MaxInputs: 16}) })
	o := m.Owner("o")
	const n = 40
	addMany(t, o, later(n, "word%d"))
	down := &embedding.Error{Kind: embedding.Unavailable, Provider: "test", Status: 500}
	e.failWith(func(_ embedding.Role, texts []string) error {
		if slices.Contains(texts, "word23") {
			return down
		}
		return nil
	})
	p, err := m.EmbedQueue(t.Context(), nil)
	if err != nil || p.Embedded != n-1 || p.Failed != 1 {
		t.Errorf("with a text it breaks down over: %+v, %v", p, err)
	}
	// Each failing call is followed by a plain word and by two halves.
	if calls, most := e.Calls(), (n+15)/16+4*bits.Len(n); calls > most {
		t.Errorf("%d calls, want at most %d", calls, most)
	}
	q := must(o.Queue(t.Context(), 0))(t)
	if q.Waiting != 1 || len(q.Failures) != 1 || q.Failures[0].Attempts != 1 || q.Failures[0].Dead || !strings.Contains(q.Failures[0].Reason, "500") {
		t.Errorf("the queue: %+v", q)
	}

	addMany(t, m.Owner("p"), later(n, "other%d"))
	calls := e.Calls()
	e.failWith(func(embedding.Role, []string) error { return down })
	if p, err := m.EmbedQueue(t.Context(), nil); !errors.Is(err, llmemory.ErrUnavailable) || p.Embedded != 0 || p.Failed != 0 {
		t.Errorf("with the embedder down: %+v, %v", p, err)
	}
	if calls = e.Calls() - calls; calls > 2 {
		t.Errorf("it was asked %d times while down", calls)
	}
	q = must(m.Owner("p").Queue(t.Context(), n))(t)
	if q.Waiting != n || len(q.Failures) != n || slices.ContainsFunc(q.Failures, func(f llmemory.QueueFailure) bool { return f.Attempts != 0 || f.Dead }) {
		t.Errorf("the queue while it is down: %+v", q)
	}
	// It goes down while the text at fault is looked for.
	var asked atomic.Int64
	e.failWith(func(_ embedding.Role, texts []string) error {
		if asked.Add(1) == 2 {
			return nil
		}
		return down
	})
	addMany(t, m.Owner("q"), later(n, "third%d"))
	if p, err := m.EmbedQueue(t.Context(), nil); !errors.Is(err, llmemory.ErrUnavailable) || p.Failed != 0 {
		t.Errorf("with the embedder going down: %+v, %v", p, err)
	}
	if q := must(m.Owner("q").Queue(t.Context(), n))(t); q.Waiting != n || q.Leased != 0 || len(q.Failures) != n {
		t.Errorf("the queue after it went down: %d waiting, %d leased, %d failures", q.Waiting, q.Leased, len(q.Failures))
	}
}

// testStoreFails has the store fail when vectors are stored: for a moment, after the fact, and for good.
func (s *suite) testStoreFails(t *testing.T) {
	e := newWords("store", 16)
	m := s.fresh(t, e)
	o := m.Owner("o")
	add(t, o, llmemory.Document{Key: "first", Language: "en", Content: "first"})
	e.asked()
	var tries atomic.Int64
	ill := mute(t, &spoiled{Store: m.Store(), complete: func(store func() error) (bool, error) {
		switch tries.Add(1) {
		case 1:
			return true, &llmemory.UnavailableError{What: "database"}
		case 2:
			if err := store(); err != nil {
				return true, err
			}
			return true, fmt.Errorf("%w: the line was lost", llmemory.ErrCommitUnknown)
		}
		return false, nil
	}}, func(c *llmemory.Config) { c.Embedder = e })
	added := add(t, ill.Owner("o"), llmemory.Document{Key: "k", Language: "en", Content: join("alpha", "beta")})
	if added.Embedded != 2 || added.Pending != 0 || added.EmbedErr != nil {
		t.Errorf("over a line that fails for a moment: %+v", added)
	}
	if got := e.asked(); len(got) != 2 {
		t.Errorf("embedded %q", got)
	}
	checkFree(t, o, 0)

	broken := errors.New("a fault of the program")
	ill = mute(t, &spoiled{Store: m.Store(), complete: func(func() error) (bool, error) { return true, broken }}, func(c *llmemory.Config) {
		c.Embedder = embedding.Batch(e, embedding.BatchOptions{MaxInputs: 1})
	})
	addMany(t, o, later(20, "word%d"))
	if p, err := ill.EmbedQueue(t.Context(), nil); !errors.Is(err, broken) || p.Embedded != 0 {
		t.Errorf("on a store that cannot store: %+v, %v", p, err)
	}
	if got := e.asked(); len(got) > 3 {
		t.Errorf("went on to ask for %d vectors that cannot be stored", len(got))
	}
	checkFree(t, o, 20)
	added = add(t, ill.Owner("o"), llmemory.Document{Key: "l", Language: "en", Content: "gamma"})
	if added.Pending != 1 || !errors.Is(added.EmbedErr, broken) {
		t.Errorf("added to a store that cannot store: %+v", added)
	}
	if p := work(t, m); p.Embedded != 21 {
		t.Errorf("worked off: %+v", p)
	}
}

// testLeaseLost has a worker learn that others have its passages: it asks for no more vectors.
func (s *suite) testLeaseLost(t *testing.T) {
	m := s.fresh(t, newWords("lost", 16))
	o := m.Owner("o")
	add(t, o, llmemory.Document{Key: "first", Language: "en", Content: "first"})
	stuck := embedtest.New(embedtest.Config{Model: "lost", Dimensions: 16, Fail: func(ctx context.Context, c embedtest.Call) error {
		<-ctx.Done()
		return ctx.Err()
	}})
	worker := mute(t, &spoiled{Store: m.Store(), extend: func() (int, error) { return 0, nil }}, func(c *llmemory.Config) {
		c.Embedder, c.EmbedLease = stuck, time.Second
	})
	added := add(t, worker.Owner("o"), llmemory.Document{Key: "k", Language: "en", Content: "alpha"})
	if added.Pending != 1 || added.EmbedErr == nil || !strings.Contains(added.EmbedErr.Error(), "lease") {
		t.Errorf("added: %+v", added)
	}
	if n := stuck.Calls(); n != 1 {
		t.Errorf("%d calls", n)
	}
}

// testSwitchUnnoticed adds in a process that does not know yet that another has changed the model, or has removed it.
func (s *suite) testSwitchUnnoticed(t *testing.T) {
	a, b := newWords("a", 16), newWords("b", 24)
	m := s.fresh(t, a, b)
	other := embeddingMemory(t, m.Store(), a, b)
	add(t, other.Owner("o"), llmemory.Document{Key: "1", Language: "en", Content: "one"}) // and now it knows of the first generation
	second := must(m.AddGeneration(t.Context(), b, ""))(t)
	work(t, m)
	first := must(m.Generations(t.Context()))(t)[0]
	must(m.ActivateGeneration(t.Context(), second.ID, false))(t)
	added := addMany(t, other.Owner("o"), []llmemory.Document{
		{Key: "2", Language: "en", Content: "two"}, {Key: "3", Language: "en", Content: "three", Embed: llmemory.EmbedLater}, {Key: "1", Language: "en", Content: "one"},
	})
	if added[0].Embedded != 1 || added[0].EmbedErr != nil || added[1].Pending != 1 || added[2].Status != llmemory.Unchanged {
		t.Errorf("after a switch in another process: %+v", added)
	}
	if p := must(m.Progress(t.Context(), second.ID))(t); p.Vectors != 2 || p.Waiting != 1 {
		t.Errorf("the new generation: %+v", p)
	}
	work(t, m)
	for _, id := range []int64{first.ID, second.ID} {
		if err := m.RetireGeneration(t.Context(), id, true); err != nil {
			t.Fatal(err)
		}
	}
	last := add(t, other.Owner("o"), llmemory.Document{Key: "4", Language: "en", Content: "four"})
	if last.Embedded != 1 || last.EmbedErr != nil {
		t.Errorf("after all were removed in another process: %+v", last)
	}
}

// testWishes changes when passages are to be embedded, and what Add says of it.
func (s *suite) testWishes(t *testing.T) {
	e := newWords("wishes", 16)
	m := s.fresh(t, e)
	o := m.Owner("o")
	doc := llmemory.Document{Key: "k", Name: "name", Language: "en", Content: join("# Head", "alpha", "beta"), Embed: llmemory.EmbedNever}
	add(t, o, doc)
	e.asked()
	doc.Embed = llmemory.EmbedNow
	if added := add(t, o, doc); added.Status != llmemory.Updated || added.Embedded != 3 || added.Pending != 0 || added.EmbedErr != nil {
		t.Errorf("now after never: %+v", added)
	}
	if got := e.asked(); !slices.Contains(got, "name\nHead\nalpha") || len(got) != 3 {
		t.Errorf("embedded %q", got)
	}
	if hits := nearest(t, o, "beta", llmemory.SearchOptions{}); len(hits) != 3 {
		t.Errorf("found %q", texts(hits))
	}
	// With another model than the active one's, passages wait and Add says why; where none waits, there is nothing to say.
	foreign := embeddingMemory(t, m.Store(), newWords("another", 16)).Owner("o")
	doc.Metadata = map[string]any{"a": 1}
	many := addMany(t, foreign, []llmemory.Document{
		doc, {Key: "new", Language: "en", Content: "gamma"}, {Key: "later", Language: "en", Content: "delta", Embed: llmemory.EmbedLater},
		{Key: "never", Language: "en", Content: "epsilon", Embed: llmemory.EmbedNever},
	})
	for i, want := range []struct {
		pending int
		fault   bool
	}{{0, false}, {1, true}, {1, false}, {0, false}} {
		if got := many[i]; got.Pending != want.pending || (got.EmbedErr != nil) != want.fault || want.fault && !strings.Contains(got.EmbedErr.Error(), "models add") {
			t.Errorf("document %d of another model's process: %+v", i, got)
		}
	}
	checkFree(t, o, 2)
}

// testUnknownDimensions has an embedder that does not know its dimensions, and does not answer: documents are stored all the same,
// in time.
func (s *suite) testUnknownDimensions(t *testing.T) {
	var hangs atomic.Bool
	hangs.Store(true)
	e := embedding.Func{Info: embedding.ModelInfo{Provider: "test", Model: "unknown"}, Call: func(ctx context.Context, _ embedding.Role, texts []string) ([][]float32, error) {
		if hangs.Load() {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		out := make([][]float32, len(texts))
		for i, text := range texts {
			out[i] = embedtest.Vector("unknown", text, 16)
		}
		return out, nil
	}}
	store := s.open(t)
	m := mute(t, store, func(c *llmemory.Config) { c.Embedder, c.QueryTimeout = e, 1100*time.Millisecond })
	o := m.Owner("o")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	added, err := o.Add(ctx, llmemory.Document{Key: "1", Language: "en", Content: join("one", "two")})
	if err != nil || added.Status != llmemory.Created || added.Pending != 2 || !errors.Is(added.EmbedErr, llmemory.ErrUnavailable) {
		t.Errorf("with a deadline: %+v, %v", added, err)
	}
	add(t, o, llmemory.Document{Key: "2", Language: "en", Content: "three"}) // waits as long as a question
	begin := time.Now()
	many := addMany(t, o, []llmemory.Document{{Key: "3", Language: "en", Content: "four"}, {Key: "4", Language: "en", Content: "five", Embed: llmemory.EmbedLater}})
	if took := time.Since(begin); took > time.Second {
		t.Errorf("it was asked again at once: %v", took)
	}
	if many[0].Pending != 1 || many[0].EmbedErr == nil || many[1].Pending != 1 || many[1].EmbedErr != nil {
		t.Errorf("without a generation: %+v", many)
	}
	hangs.Store(false)
	if p := work(t, m); p.Embedded != 5 {
		t.Errorf("when it answers again: %+v", p)
	}
}
