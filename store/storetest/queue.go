package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/internal/analysis"
	"github.com/llmemory/llmemory/internal/vec"
)

func (s *suite) queueCases() []testCase {
	return []testCase{
		{name: "Claim", run: s.testClaim},
		{name: "Lease", run: s.testLease},
		{name: "Fence", run: s.testFence},
		{name: "Busy", run: s.testBusy, overlapping: true},
		{name: "Fail", run: s.testFail},
		{name: "Known", run: s.testKnown},
		{name: "Committed", run: s.testCommitted},
		{name: "Workers", run: s.testWorkers},
		{name: "Changing", run: s.testChanging},
		{name: "Run", run: s.testMemoryRun},
	}
}

// queued is a store of the test's own with one generation, and leaves of two owners that wait.
type queued struct {
	m          *llmemory.Memory
	store      llmemory.Store
	generation int64
}

func (s *suite) queued(t *testing.T, perOwner int) *queued {
	t.Helper()
	m := s.fresh(t, newWords("queued", 8))
	for _, owner := range []string{"a", "b"} {
		if perOwner > 0 {
			add(t, m.Owner(owner), llmemory.Document{Key: "k", Name: "name", Language: "en", Embed: llmemory.EmbedLater,
				Content: numbered(perOwner, owner+" leaf%d")})
		}
	}
	list := must(m.Generations(t.Context()))(t)
	if len(list) == 0 {
		return &queued{m: m, store: m.Store(), generation: must(m.AddGeneration(t.Context(), nil, ""))(t).ID}
	}
	return &queued{m: m, store: m.Store(), generation: list[0].ID}
}

// leaseToken returns a lease's token, the n-th of the test.
func leaseToken(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func (q *queued) claim(t *testing.T, n int, lease time.Duration, limit int) []llmemory.Job {
	t.Helper()
	return must(q.store.Claim(t.Context(), llmemory.ClaimParams{Generation: q.generation, Token: leaseToken(n), Lease: lease, Limit: limit}))(t)
}

// queuedVector is the vector of a text in the generation of queued.
func queuedVector(text string) []float32 { return embedtest.Vector("queued", text, 8) }

// items gives each job a vector.
func items(jobs []llmemory.Job) []llmemory.CompleteItem {
	out := make([]llmemory.CompleteItem, len(jobs))
	for i, j := range jobs {
		out[i] = llmemory.CompleteItem{Owner: j.Owner, Ordinal: j.Ordinal, Hash: []byte(j.Text), Vector: queuedVector(j.Text)}
	}
	return out
}

func (q *queued) complete(t *testing.T, n int, list []llmemory.CompleteItem) *llmemory.CompleteRecord {
	t.Helper()
	return must(q.store.Complete(t.Context(), llmemory.CompleteParams{Generation: q.generation, Token: leaseToken(n), Items: list}))(t)
}

// vectors returns how many vectors there are.
func (q *queued) vectors(t *testing.T) int64 {
	t.Helper()
	return must(q.m.Progress(t.Context(), q.generation))(t).Vectors
}

func jobName(j llmemory.Job) string { return fmt.Sprintf("%s %d", j.Owner, j.Ordinal) }

func (s *suite) testClaim(t *testing.T) {
	q := s.queued(t, 10)
	first := q.claim(t, 1, time.Minute, 6)
	second := q.claim(t, 2, time.Minute, 100)
	if len(first) != 6 || len(second) != 14 {
		t.Fatalf("claimed %d and %d of 20 jobs", len(first), len(second))
	}
	seen := map[string]bool{}
	for _, j := range append(first, second...) {
		if seen[jobName(j)] {
			t.Errorf("%s was given twice", jobName(j))
		}
		seen[jobName(j)] = true
		if j.Name != "name" || j.Heading != "" || !strings.HasPrefix(j.Text, j.Owner+" leaf") || j.Attempts != 0 {
			t.Errorf("job: %+v", j)
		}
	}
	if third := q.claim(t, 3, time.Minute, 100); len(third) != 0 {
		t.Errorf("claimed what is leased: %d", len(third))
	}
	if other := must(q.store.Claim(t.Context(), llmemory.ClaimParams{Generation: q.generation + 7, Token: leaseToken(4), Lease: time.Minute, Limit: 9}))(t); len(other) != 0 {
		t.Errorf("claimed of a generation that is not there: %d", len(other))
	}
	for _, owner := range []string{"a", "b"} {
		r := must(q.m.Owner(owner).Queue(t.Context(), 0))(t)
		if r.Leased != 10 || r.Waiting != 0 || r.Dead != 0 || len(r.Failures) != 0 {
			t.Errorf("queue of %s: %+v", owner, r)
		}
	}
}

func (s *suite) testLease(t *testing.T) {
	q := s.queued(t, 2)
	short := 2 * time.Second
	lost := q.claim(t, 1, short, 4)
	owned := map[string]int{"nobody": 0}
	for _, j := range lost {
		owned[j.Owner]++
	}
	for owner, want := range owned {
		if n := must(q.store.Extend(t.Context(), llmemory.ExtendParams{Owner: owner, Generation: q.generation, Token: leaseToken(1), Lease: short}))(t); n != want {
			t.Errorf("prolonged %d jobs of %s, want %d", n, owner, want)
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for start := time.Now(); time.Since(start) < short+short/2; { // kept alive beyond its length
		if n := must(q.store.Extend(t.Context(), llmemory.ExtendParams{Generation: q.generation, Token: leaseToken(1), Lease: short}))(t); n != 4 {
			t.Fatalf("the lease holds %d jobs, want 4", n)
		}
		if jobs := q.claim(t, 2, time.Minute, 4); len(jobs) != 0 {
			t.Fatalf("claimed %d jobs of a lease that is kept", len(jobs))
		}
		time.Sleep(short / 20)
	}
	var again []llmemory.Job
	for len(again) < 4 && time.Now().Before(deadline) { // silence: they are due again
		again = append(again, q.claim(t, 2, time.Minute, 4)...)
		time.Sleep(10 * time.Millisecond)
	}
	if len(again) != 4 {
		t.Fatalf("%d jobs came back after the lease ended, want 4", len(again))
	}
	if n := must(q.store.Extend(t.Context(), llmemory.ExtendParams{Generation: q.generation, Token: leaseToken(1), Lease: time.Minute}))(t); n != 0 {
		t.Errorf("prolonged %d jobs of a lost lease", n)
	}
	if r := q.complete(t, 1, items(lost)); r.Stored != 0 || len(r.Busy) != 0 || q.vectors(t) != 0 {
		t.Errorf("a worker that overslept stores: %+v", r)
	}
	if err := q.store.Fail(t.Context(), llmemory.FailParams{Generation: q.generation, Token: leaseToken(1), Items: []llmemory.FailItem{
		{Owner: lost[0].Owner, Ordinal: lost[0].Ordinal, Reason: "late", Tried: true, Dead: true}}}); err != nil {
		t.Fatal(err)
	}
	if r := q.complete(t, 2, items(again)); r.Stored != 4 || q.vectors(t) != 4 {
		t.Errorf("the worker that took over: %+v", r)
	}
}

func (s *suite) testFence(t *testing.T) {
	q := s.queued(t, 0)
	o := q.m.Owner("a")
	doc := func(key string, parts ...string) llmemory.Document {
		return llmemory.Document{Key: key, Language: "en", Content: join(parts...), Embed: llmemory.EmbedLater}
	}
	add(t, o, doc("replaced", "one", "two"))
	deleted := add(t, o, doc("deleted", "three"))
	add(t, o, doc("moved", "four", "five"))
	add(t, o, doc("renamed", "six"))
	jobs := q.claim(t, 1, time.Minute, 100)
	if len(jobs) != 6 {
		t.Fatalf("%d jobs", len(jobs))
	}
	add(t, o, doc("replaced", "one", "two changed"))
	add(t, o, doc("moved", "before it", "four", "five"))
	renamed := doc("renamed", "six")
	renamed.Name = "a name"
	add(t, o, renamed)
	if _, err := o.Delete(t.Context(), deleted.DocumentID); err != nil {
		t.Fatal(err)
	}
	r := q.complete(t, 1, items(jobs))
	if r.Stored != 3 || len(r.Busy) != 0 { // one, four, five
		t.Errorf("completed: %+v", r)
	}
	if n := q.vectors(t); n != 3 {
		t.Errorf("%d vectors, want 3", n)
	}
	rest := q.claim(t, 2, time.Minute, 100)
	var left []string
	for _, j := range rest {
		left = append(left, j.Text)
	}
	if slices.Sort(left); !slices.Equal(left, []string{"before it", "six", "two changed"}) {
		t.Errorf("left to do: %q", left)
	}
	if again := q.complete(t, 1, items(jobs)); again.Stored != 0 {
		t.Errorf("completing twice stores %d", again.Stored)
	}
	q.complete(t, 2, items(rest))
	got := slices.Sorted(slices.Values(texts(nearest(t, o, "one", llmemory.SearchOptions{Limit: 100}))))
	if want := []string{"before it", "five", "four", "one", "six", "two changed"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// testBusy has a vector come while a writer is at its passage: it is stored after the writer has left the passage as it was, and
// dropped after it has not.
func (s *suite) testBusy(t *testing.T) {
	for _, commits := range []bool{false, true} {
		t.Run(fmt.Sprint("commits ", commits), func(t *testing.T) {
			q := s.queued(t, 0)
			o := q.m.Owner("a")
			add(t, o, llmemory.Document{Key: "k", Language: "en", Content: join("one", "two"), Embed: llmemory.EmbedLater})
			jobs := q.claim(t, 1, time.Minute, 100)
			edit := must(q.store.Edit(t.Context(), llmemory.EditParams{Owner: "a", Analysis: analysis.Version,
				Identities: []llmemory.Identity{{OriginID: "default", Key: "k"}}}))(t)
			// An edit that has only taken its lock is in nobody's way, unless the lock is everybody's.
			r := q.complete(t, 1, items(jobs)[:1])
			if alone := r.Stored == 0 && slices.Equal(r.Busy, []int{0}); s.OneWriter && !alone || !s.OneWriter && r.Stored != 1 {
				t.Errorf("beside an edit that has written nothing: %+v", r)
			}
			if !commits {
				if err := edit.Rollback(t.Context()); err != nil {
					t.Fatal(err)
				}
				if r := q.complete(t, 1, items(jobs)[1:]); r.Stored != 1 {
					t.Errorf("after a rollback: %+v", r)
				}
				return
			}
			state := edit.State()
			state.Documents, state.Leaves, state.Length, state.Languages = 0, 0, 0, nil
			changes := llmemory.Changes{Owner: "a", State: state, Rows: llmemory.Rows{DeleteDocuments: []string{edit.Documents()[0].Document.ID}}}
			for _, segment := range edit.Segments() {
				changes.DeleteSegments = append(changes.DeleteSegments, segment.ID)
			}
			for _, j := range jobs {
				changes.Gone = append(changes.Gone, j.Ordinal)
			}
			must(edit.Commit(t.Context(), changes))(t)
			if r := q.complete(t, 1, items(jobs)[1:]); r.Stored != 0 || len(r.Busy) != 0 || q.vectors(t) != 0 {
				t.Errorf("after the document went: %+v, %d vectors", r, q.vectors(t))
			}
		})
	}
}

func (s *suite) testFail(t *testing.T) {
	q := s.queued(t, 2)
	jobs := q.claim(t, 1, time.Minute, 4)
	fail := func(n int, items ...llmemory.FailItem) {
		t.Helper()
		if err := q.store.Fail(t.Context(), llmemory.FailParams{Generation: q.generation, Token: leaseToken(n), Items: items}); err != nil {
			t.Fatal(err)
		}
	}
	item := func(j llmemory.Job) llmemory.FailItem { return llmemory.FailItem{Owner: j.Owner, Ordinal: j.Ordinal} }
	released, later, dead, tried := item(jobs[0]), item(jobs[1]), item(jobs[2]), item(jobs[3])
	later.Reason, later.Delay = "provider down", time.Hour
	dead.Reason, dead.Tried, dead.Dead = "refused: \x00 bad\nthing", true, true
	tried.Reason, tried.Tried = "nonsense", true
	fail(1, released, later, dead, tried)
	again := q.claim(t, 2, time.Minute, 4)
	attempts := map[string]int{}
	for _, j := range again {
		attempts[jobName(j)] = j.Attempts
	}
	if want := map[string]int{jobName(jobs[0]): 0, jobName(jobs[3]): 1}; gocmp.Diff(want, attempts) != "" {
		t.Errorf("due again: %v, want %v", attempts, want)
	}
	var failures []llmemory.QueueFailure
	for _, owner := range []string{"a", "b"} {
		r := must(q.m.Owner(owner).Queue(t.Context(), 0))(t)
		failures = append(failures, r.Failures...)
	}
	var reasons []string
	for _, f := range failures {
		reasons = append(reasons, f.Reason)
		if f.DocumentID == "" || f.ChunkID == "" || f.Generation != q.generation || f.Dead != f.Due.IsZero() {
			t.Errorf("failure: %+v", f)
		}
	}
	if slices.Sort(reasons); len(reasons) < 2 || !strings.Contains(strings.Join(reasons, "|"), "provider down") || !strings.Contains(strings.Join(reasons, "|"), "refused: ") {
		t.Errorf("reasons: %q", reasons)
	}
	total := 0
	for _, owner := range []string{"a", "b"} {
		total += must(q.m.Owner(owner).RetryQueue(t.Context()))(t)
	}
	if total != 1 {
		t.Errorf("%d jobs retried, want the dead one", total)
	}
	if back := q.claim(t, 3, time.Minute, 4); len(back) != 1 || jobName(back[0]) != jobName(jobs[2]) {
		t.Errorf("after the retry: %v", back)
	}
}

func (s *suite) testKnown(t *testing.T) {
	q := s.queued(t, 2)
	jobs := q.claim(t, 1, time.Minute, 4)
	q.complete(t, 1, items(jobs))
	var ask []llmemory.OwnedInput
	for _, owner := range []string{"a", "b", "c"} {
		for _, text := range []string{"a leaf0", "b leaf1", "unheard of"} {
			ask = append(ask, llmemory.OwnedInput{Owner: owner, Hash: []byte(text)})
		}
	}
	found := must(q.store.Known(t.Context(), llmemory.KnownParams{Generation: q.generation, Inputs: ask}))(t)
	slices.SortFunc(found, func(a, b llmemory.KnownVector) int { return cmp.Compare(a.Owner, b.Owner) })
	want := []llmemory.KnownVector{
		{OwnedInput: llmemory.OwnedInput{Owner: "a", Hash: []byte("a leaf0")}, Vector: queuedVector("a leaf0")},
		{OwnedInput: llmemory.OwnedInput{Owner: "b", Hash: []byte("b leaf1")}, Vector: queuedVector("b leaf1")},
	}
	if d := gocmp.Diff(want, found); d != "" {
		t.Error(d)
	}
}

// testCommitted checks what an edit says of the vectors it leaves to be made.
func (s *suite) testCommitted(t *testing.T) {
	q := s.queued(t, 0)
	put := func(n int, lease *llmemory.Lease, leaves ...string) *llmemory.Committed {
		t.Helper()
		owner := fmt.Sprint("o", n)
		changes := handmade(t, owner, "k", leaves...)
		for _, c := range changes.InsertChunks {
			if c.Level == 0 {
				changes.Queue = append(changes.Queue, llmemory.QueueLeaf{Ordinal: c.Ordinal, Hash: []byte(c.Text)})
			}
		}
		changes.Lease = lease
		edit := must(q.store.Edit(t.Context(), llmemory.EditParams{Owner: owner, Analysis: analysis.Version}))(t)
		if list := edit.Generations(); len(list) != 1 || list[0].ID != q.generation || list[0].State != llmemory.Active {
			t.Errorf("the edit sees generations %+v", list)
		}
		return must(edit.Commit(t.Context(), changes))(t)
	}
	if c := put(1, nil, "one", "two"); len(c.Waiting) != 2 || len(c.Leased) != 0 {
		t.Errorf("without a lease: %+v", c)
	}
	lease := &llmemory.Lease{Generation: q.generation, Token: leaseToken(1), Duration: time.Minute}
	if c := put(2, lease, "one", "two", "three"); len(c.Waiting) != 3 || len(c.Leased) != 3 {
		t.Errorf("with a lease: %+v", c)
	}
	if jobs := q.claim(t, 2, time.Minute, 100); len(jobs) != 2 {
		t.Errorf("%d jobs are free, want 2", len(jobs))
	}
	if n := must(q.store.Extend(t.Context(), llmemory.ExtendParams{Generation: q.generation, Token: leaseToken(1), Lease: time.Minute}))(t); n != 3 {
		t.Errorf("the lease holds %d jobs, want 3", n)
	}
	foreign := &llmemory.Lease{Generation: q.generation + 1, Token: leaseToken(3), Duration: time.Minute}
	if c := put(3, foreign, "one"); len(c.Waiting) != 1 || len(c.Leased) != 0 {
		t.Errorf("with a lease of another generation: %+v", c)
	}
}

// testWorkers has several workers work off one queue while documents come, change and go: each passage that is there in the end
// has the vector of its text.
func (s *suite) testWorkers(t *testing.T) {
	e := newWords("workers", 16)
	m := s.fresh(t, e)
	owners := []*llmemory.Owner{m.Owner("a"), m.Owner("b"), m.Owner("c")}
	rounds := s.scale(30, 8)
	var writers, workers sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		worker := embeddingMemory(t, m.Store(), e)
		workers.Go(func() {
			for {
				if _, err := worker.EmbedQueue(t.Context(), nil); err != nil {
					t.Errorf("worker: %v", err)
					return
				}
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
			}
		})
	}
	for n, o := range owners {
		writers.Go(func() {
			for i := range rounds {
				doc := llmemory.Document{Key: fmt.Sprint(i % 7), Language: "en", Content: numbered(1+(i+n)%5, fmt.Sprintf("text%d part%%d", i))}
				if i%2 == 0 {
					doc.Embed = llmemory.EmbedLater
				}
				if _, err := o.Add(t.Context(), doc); err != nil {
					t.Errorf("writer: %v", err)
					return
				}
				if i%5 == 4 {
					if _, err := o.Delete(t.Context(), llmemory.DocumentID(o.ID(), llmemory.Identity{OriginID: "default", Key: fmt.Sprint((i + 3) % 7)})); err != nil {
						t.Errorf("writer: %v", err)
						return
					}
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	workers.Wait()
	work(t, m)
	checkVectors(t, m, e, owners)
}

// checkVectors checks that every passage is found with the cosine of its own text, and that nothing else is there.
func checkVectors(t *testing.T, m *llmemory.Memory, e *words, owners []*llmemory.Owner) {
	t.Helper()
	var leaves int64
	for _, o := range owners {
		var want []string
		page := must(o.List(t.Context(), &llmemory.ListOptions{Limit: 1000}))(t)
		for _, d := range page.Documents {
			_, chunks, err := o.GetWithChunks(t.Context(), d.ID)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range chunks {
				if c.Level == 0 {
					want = append(want, c.Text)
				}
			}
		}
		leaves += int64(len(want))
		hits := nearest(t, o, "text1 part2", llmemory.SearchOptions{Limit: 1000})
		got := texts(hits)
		slices.Sort(got)
		slices.Sort(want)
		if d := gocmp.Diff(want, got); d != "" {
			t.Errorf("owner %s, passages with vectors: %s", o.ID(), d)
		}
		q := e.vector("text1 part2")
		for _, h := range hits {
			if want := vec.Cosine(e.vector(h.Text), q); math.Abs(h.Score-want) > 1e-5 {
				t.Errorf("owner %s: %q has the vector of another text: %v, want %v", o.ID(), h.Text, h.Score, want)
			}
		}
		if r := must(o.Queue(t.Context(), 0))(t); r.Waiting+r.Leased+r.Dead != 0 {
			t.Errorf("owner %s: the queue is not empty: %+v", o.ID(), r)
		}
	}
	for _, g := range must(m.Generations(t.Context()))(t) {
		if p := must(m.Progress(t.Context(), g.ID))(t); p.Vectors != leaves || p.Leaves != leaves {
			t.Errorf("generation %d: %d vectors of %d passages, want %d", g.ID, p.Vectors, p.Leaves, leaves)
		}
	}
}

// testChanging has one document change all the time while its passages are embedded: no search ever shows a passage with the
// vector of another version.
func (s *suite) testChanging(t *testing.T) {
	e := newWords("changing", 16)
	m := s.fresh(t, e)
	o := m.Owner("o")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var background sync.WaitGroup
	background.Go(func() {
		worker := embeddingMemory(t, m.Store(), e)
		for ctx.Err() == nil {
			if _, err := worker.EmbedQueue(ctx, nil); err != nil && ctx.Err() == nil {
				t.Errorf("worker: %v", err)
				return
			}
		}
	})
	background.Go(func() {
		q := e.vector("common")
		for ctx.Err() == nil {
			r, err := o.Search(ctx, "common", &llmemory.SearchOptions{Mode: llmemory.ByVector, Limit: 100})
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				t.Errorf("search: %v", err)
				return
			}
			for _, h := range r.Hits {
				if want := vec.Cosine(e.vector(h.Text), q); math.Abs(h.Score-want) > 1e-5 {
					t.Errorf("%q is found with the vector of another text: %v, want %v", h.Text, h.Score, want)
					return
				}
			}
		}
	})
	for i := range s.scale(100, 20) {
		doc := llmemory.Document{Key: "k", Language: "en", Embed: llmemory.EmbedLater,
			Content: join("common start", fmt.Sprint("common version", i), fmt.Sprint("common twice", i/2), "common end")}
		add(t, o, doc)
		if i%10 == 9 {
			if _, err := o.DeleteAll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	cancel()
	background.Wait()
	work(t, m)
	// A worker that was stopped in the middle has given back what it held.
	checkVectors(t, m, e, []*llmemory.Owner{o})
}

func (s *suite) testMemoryRun(t *testing.T) {
	e := newWords("run", 16)
	store := s.open(t)
	add(t, memory(t, store).Owner("o"), llmemory.Document{Key: "old", Language: "en", Content: "from before"})
	m, err := llmemory.New(store, &llmemory.Config{Chunker: paragraphs(), Embedder: e, Logger: logger(t), MaintenanceInterval: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	o := m.Owner("o")
	wait := func(query string) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			hits := nearest(t, o, query, llmemory.SearchOptions{})
			if len(hits) > 0 && hits[0].Text == query {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%q never got a vector", query)
			}
		}
	}
	wait("from before")
	add(t, o, llmemory.Document{Key: "new", Language: "en", Content: "queued later", Embed: llmemory.EmbedLater})
	wait("queued later")
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
}
