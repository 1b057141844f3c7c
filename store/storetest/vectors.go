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
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/internal/vec"
)

func (s *suite) vectorCases() []testCase {
	return []testCase{
		{name: "Generations", run: s.testGenerations},
		{name: "Activate", run: s.testActivate},
		{name: "Retire", run: s.testRetire},
		{name: "Switch", run: s.testSwitch},
		{name: "AddNow", run: s.testAddNow},
		{name: "AddGiven", run: s.testAddGiven},
		{name: "AddFails", run: s.testAddFails},
		{name: "AddLaterAndNever", run: s.testAddLaterAndNever},
		{name: "PaidOnce", run: s.testPaidOnce},
		{name: "Backfill", run: s.testBackfill},
		{name: "Nearest", run: s.testNearest},
		{name: "NearestFiltered", run: s.testNearestFiltered},
		{name: "Hybrid", run: s.testHybrid},
		{name: "Degraded", run: s.testDegraded},
		{name: "Conditions", run: s.testVectorConditions},
		{name: "NewLanguagePhrase", run: s.testNewLanguagePhrase},
		{name: "Tenants", run: s.testVectorTenants},
		{name: "Tune", run: s.testTune},
		{name: "Estimate", run: s.testEstimate},
	}
}

// embedder is the suite's embedder on the shared store, whose generation is the first and stays active.
func (s *suite) embedder() *words { return newWords("shared", 16) }

// vectors returns an owner of the test's own on the shared store, with an embedder of its own.
func (s *suite) vectors(t *testing.T) (*llmemory.Owner, *words) {
	t.Helper()
	e := s.embedder()
	return embeddingMemory(t, s.shared, e).Owner(t.Name()), e
}

// fresh returns a store of the test's own: generations and the queue are one for all owners.
func (s *suite) fresh(t *testing.T, e embedding.Embedder, others ...embedding.Embedder) *llmemory.Memory {
	t.Helper()
	return embeddingMemory(t, s.open(t), e, others...)
}

// nearest searches by vector alone.
func nearest(t *testing.T, o *llmemory.Owner, query string, opts llmemory.SearchOptions) []llmemory.Hit {
	t.Helper()
	opts.Mode = llmemory.ByVector
	return must(o.Search(t.Context(), query, &opts))(t).Hits
}

// work does everything that is queued.
func work(t *testing.T, m *llmemory.Memory) llmemory.EmbedProgress {
	t.Helper()
	return must(m.EmbedQueue(t.Context(), nil))(t)
}

// bruteForce ranks texts by the cosine of their vectors to a question's.
func bruteForce(e *words, query string, texts []string) []string {
	q := e.vector(query)
	score := map[string]float64{}
	for _, text := range texts {
		score[text] = vec.Cosine(e.vector(text), q)
	}
	out := slices.Clone(texts)
	slices.SortStableFunc(out, func(a, b string) int { return cmp.Compare(score[b], score[a]) })
	return out
}

// sameScore tells whether two texts are equally near to a question.
func sameScore(e *words, query, a, b string) bool {
	q := e.vector(query)
	return math.Abs(vec.Cosine(e.vector(a), q)-vec.Cosine(e.vector(b), q)) < 1e-5
}

func (s *suite) testGenerations(t *testing.T) {
	a, b := newWords("a", 16), newWords("b", 24)
	m := s.fresh(t, a)
	if list := must(m.Generations(t.Context()))(t); len(list) != 0 {
		t.Fatalf("a fresh store has generations: %v", list)
	}
	first := must(m.AddGeneration(t.Context(), nil, ""))(t)
	if first.State != llmemory.Active || first.Profile != llmemory.Balanced || first.Model.Identity() != a.Model().Identity() || first.Activated.IsZero() {
		t.Errorf("the first generation is %+v", first)
	}
	second := must(m.AddGeneration(t.Context(), b, ""))(t)
	third := must(m.AddGeneration(t.Context(), b, llmemory.Fast))(t)
	if second.State != llmemory.Building || third.State != llmemory.Building || second.ID == third.ID || !second.Activated.IsZero() {
		t.Errorf("further generations are %+v and %+v", second, third)
	}
	for _, g := range []*llmemory.Generation{first, second, third} {
		e := embedding.Embedder(b)
		if g == first {
			e = a
		}
		if again := must(m.AddGeneration(t.Context(), e, g.Profile))(t); again.ID != g.ID {
			t.Errorf("adding generation %d again makes %d", g.ID, again.ID)
		}
	}
	list := must(m.Generations(t.Context()))(t)
	if len(list) != 3 || list[0].ID >= list[1].ID || list[1].ID >= list[2].ID {
		t.Errorf("the generations are %v", list)
	}
	if _, err := m.AddGeneration(t.Context(), a, "slow"); !errors.Is(err, llmemory.ErrInvalid) {
		t.Errorf("an unknown profile: %v", err)
	}
	var together sync.WaitGroup
	ids := make([]int64, 8)
	for i := range ids {
		together.Go(func() {
			g, err := m.AddGeneration(t.Context(), newWords("c", 8), "")
			if err != nil {
				t.Errorf("one of eight: %v", err)
				return
			}
			ids[i] = g.ID
		})
	}
	together.Wait()
	if ids[0] == 0 || slices.ContainsFunc(ids, func(id int64) bool { return id != ids[0] }) {
		t.Errorf("eight at once made %v", ids)
	}
}

func (s *suite) testActivate(t *testing.T) {
	a, b := newWords("a", 16), newWords("b", 24)
	m := s.fresh(t, a, b)
	o := m.Owner("o")
	other := embeddingMemory(t, m.Store(), a, b).Owner("o") // another process
	for i := range 5 {
		add(t, o, llmemory.Document{Key: fmt.Sprint(i), Language: "en", Content: numbered(4, fmt.Sprint("doc", i, " part%d"))})
	}
	first := must(m.Generations(t.Context()))(t)[0]
	second := must(m.AddGeneration(t.Context(), b, ""))(t)
	want := nearest(t, o, "doc3 part2", llmemory.SearchOptions{Limit: 20})
	if _, err := m.ActivateGeneration(t.Context(), second.ID, false); !errors.Is(err, llmemory.ErrConflict) {
		t.Errorf("activating a generation without vectors: %v, want ErrConflict", err)
	}
	if p := work(t, m); p.Embedded != 20 {
		t.Errorf("%d passages embedded for the second generation, want 20", p.Embedded)
	}
	if got := nearest(t, other, "doc3 part2", llmemory.SearchOptions{Limit: 20}); !slices.Equal(texts(got), texts(want)) {
		t.Error("a generation in the making changes the answers")
	}
	if g := must(m.ActivateGeneration(t.Context(), second.ID, false))(t); g.State != llmemory.Active || g.Activated.IsZero() {
		t.Errorf("activated: %+v", g)
	}
	for name, asker := range map[string]*llmemory.Owner{"this process": o, "another process": other} {
		r := must(asker.Search(t.Context(), "doc3 part2", &llmemory.SearchOptions{Mode: llmemory.ByVector, Explain: true}))(t)
		if r.Explanation.Generation != second.ID || len(r.Hits) != 10 || r.Hits[0].Text != "doc3 part2" {
			t.Errorf("%s: %+v of generation %d, want %d", name, texts(r.Hits), r.Explanation.Generation, second.ID)
		}
	}
	states := map[int64]llmemory.GenerationState{}
	for _, g := range must(m.Generations(t.Context()))(t) {
		states[g.ID] = g.State
	}
	if states[first.ID] != llmemory.Standby || states[second.ID] != llmemory.Active {
		t.Errorf("states after the switch: %v", states)
	}
	// What is added now is kept up to date for the way back.
	add(t, o, llmemory.Document{Key: "new", Language: "en", Content: "late arrival"})
	if _, err := m.ActivateGeneration(t.Context(), first.ID, false); !errors.Is(err, llmemory.ErrConflict) {
		t.Errorf("going back while a passage waits: %v, want ErrConflict", err)
	}
	work(t, m)
	must(m.ActivateGeneration(t.Context(), first.ID, false))(t)
	r := must(other.Search(t.Context(), "late arrival", &llmemory.SearchOptions{Mode: llmemory.ByVector, Explain: true}))(t)
	if r.Explanation.Generation != first.ID || r.Hits[0].Text != "late arrival" {
		t.Errorf("after the way back: %v of generation %d", texts(r.Hits), r.Explanation.Generation)
	}
	if _, err := m.ActivateGeneration(t.Context(), 999, true); !errors.Is(err, llmemory.ErrNotFound) {
		t.Errorf("activating what is not there: %v", err)
	}
}

// testNewLanguagePhrase has one memory remember an owner's languages, in which a quoted word is a stop word, while another adds one in
// which it is not: then it is a phrase that must be held.
func (s *suite) testNewLanguagePhrase(t *testing.T) {
	for _, mode := range []llmemory.Mode{llmemory.ByVector, llmemory.Hybrid} {
		owner := fmt.Sprint(t.Name(), " ", mode)
		reader, writer := embeddingMemory(t, s.shared, s.embedder()).Owner(owner), embeddingMemory(t, s.shared, s.embedder()).Owner(owner)
		add(t, writer, llmemory.Document{Key: "en", Language: "en", Content: "walking"})
		ask := func() []llmemory.Hit {
			return must(reader.Search(t.Context(), `"the"`, &llmemory.SearchOptions{Mode: mode}))(t).Hits
		}
		if hits := ask(); len(hits) != 1 {
			t.Errorf("%s: a stop word in quotes finds %q, want all", mode, texts(hits))
		}
		add(t, writer, llmemory.Document{Key: "de", Language: "de", Content: "the Brücke"})
		if hits := ask(); !slices.Equal(texts(hits), []string{"the Brücke"}) {
			t.Errorf("%s: the phrase finds %q", mode, texts(hits))
		}
	}
}

// testSwitch changes the model while searches go on: none fails or comes back short, none mixes the two models, all are of the old
// one before the switch and of the new one after it. The filling is interrupted again and again.
func (s *suite) testSwitch(t *testing.T) {
	a, b := newWords("a", 16), newWords("b", 24)
	store := s.open(t)
	open := func() *llmemory.Memory {
		m, err := llmemory.New(store, &llmemory.Config{Chunker: paragraphs(), Logger: logger(t), Embedder: a, Embedders: []embedding.Embedder{b}, EmbedBatch: 16})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := open()
	o := m.Owner("o")
	var docs []llmemory.Document
	for i := range s.scale(40, 12) {
		docs = append(docs, llmemory.Document{Key: fmt.Sprint(i), Language: "en", Content: numbered(3, fmt.Sprintf("word%d common part%%d", i))})
	}
	addMany(t, o, docs)
	old := must(m.Generations(t.Context()))(t)[0]
	var next atomic.Int64        // the new generation, once there is one
	var phase atomic.Int64       // 0 before the switch, 1 during, 2 after
	var searches [2]atomic.Int64 // done by each searcher
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var searchers sync.WaitGroup
	for i := range searches {
		asker := open().Owner("o")
		searchers.Go(func() {
			for ctx.Err() == nil {
				before := phase.Load()
				r, err := asker.Search(t.Context(), "word3 common part1", &llmemory.SearchOptions{Mode: llmemory.ByVector, Explain: true})
				if err != nil {
					t.Errorf("search: %v", err)
					return
				}
				searches[i].Add(1)
				e, after := a, phase.Load()
				if r.Explanation.Generation == next.Load() {
					e = b
				}
				if (e == b) != (before == 2) && (before != 1 && after == before) {
					t.Errorf("in phase %d to %d a search used generation %d", before, after, r.Explanation.Generation)
				}
				if len(r.Hits) != 10 {
					t.Errorf("%d hits", len(r.Hits))
				}
				q := e.vector("word3 common part1")
				for _, h := range r.Hits {
					if want := vec.Cosine(e.vector(h.Text), q); math.Abs(h.Score-want) > 1e-5 {
						t.Errorf("generation %d: %q has score %v, want %v", r.Explanation.Generation, h.Text, h.Score, want)
						return
					}
				}
			}
		})
	}
	g := must(m.AddGeneration(t.Context(), b, ""))(t)
	next.Store(g.ID)
	for stopAfter := 1; ; stopAfter++ {
		part, stop := context.WithCancel(t.Context())
		batches := 0
		_, err := open().EmbedQueue(part, func(llmemory.EmbedProgress) {
			if batches++; batches == stopAfter {
				stop()
			}
		})
		stop()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if _, err := m.ActivateGeneration(t.Context(), g.ID, false); !errors.Is(err, llmemory.ErrConflict) {
			t.Fatalf("activating a generation that is half full: %v", err)
		}
	}
	wait := func() { // until each searcher has been round: one that is late must not take the next phase for the one before
		for i := range searches {
			for n := searches[i].Load(); searches[i].Load() < n+3 && !t.Failed(); {
				time.Sleep(time.Millisecond)
			}
		}
	}
	for i, id := range []int64{g.ID, old.ID, g.ID} { // there, back, and there again
		phase.Store(1)
		must(m.ActivateGeneration(t.Context(), id, false))(t)
		phase.Store(int64(2 * (1 - i%2)))
		wait()
	}
	phase.Store(1)
	if err := m.RetireGeneration(t.Context(), old.ID, false); err != nil {
		t.Fatal(err)
	}
	phase.Store(2)
	wait()
	cancel()
	searchers.Wait()
}

func (s *suite) testRetire(t *testing.T) {
	a, b := newWords("a", 16), newWords("b", 24)
	m := s.fresh(t, a, b)
	o := m.Owner("o")
	add(t, o, llmemory.Document{Key: "1", Language: "en", Content: numbered(6, "text part%d")})
	first := must(m.Generations(t.Context()))(t)[0]
	second := must(m.AddGeneration(t.Context(), b, ""))(t)
	if err := m.RetireGeneration(t.Context(), first.ID, true); !errors.Is(err, llmemory.ErrConflict) {
		t.Errorf("retiring the active one of two: %v, want ErrConflict", err)
	}
	add(t, o, llmemory.Document{Key: "2", Language: "en", Content: "one more"})
	if err := m.RetireGeneration(t.Context(), second.ID, false); err != nil {
		t.Fatal(err)
	}
	if q := must(o.Queue(t.Context(), 0))(t); q.Waiting+q.Leased+q.Dead != 0 {
		t.Errorf("the queue of a retired generation: %+v", q)
	}
	if err := m.RetireGeneration(t.Context(), second.ID, false); !errors.Is(err, llmemory.ErrNotFound) {
		t.Errorf("retiring it twice: %v", err)
	}
	if err := m.RetireGeneration(t.Context(), first.ID, false); !errors.Is(err, llmemory.ErrConflict) {
		t.Errorf("retiring the last without force: %v, want ErrConflict", err)
	}
	if err := m.RetireGeneration(t.Context(), first.ID, true); err != nil {
		t.Fatal(err)
	}
	if list := must(m.Generations(t.Context()))(t); len(list) != 0 {
		t.Errorf("generations left: %v", list)
	}
	// A store without vectors goes on, and the next Add begins again.
	if hits := search(t, o, "part3", llmemory.SearchOptions{}); len(hits) != 1 {
		t.Errorf("%d hits by text", len(hits))
	}
	if added := add(t, o, llmemory.Document{Key: "3", Language: "en", Content: "fresh start"}); added.Embedded != 1 {
		t.Errorf("after retiring all: %+v", added)
	}
	work(t, m)
	if hits := nearest(t, o, "text part3", llmemory.SearchOptions{}); len(hits) != 8 || hits[0].Text != "text part3" {
		t.Errorf("after the fresh start: %v", texts(hits))
	}
}

func (s *suite) testAddNow(t *testing.T) {
	o, e := s.vectors(t)
	added := add(t, o, llmemory.Document{Key: "k", Name: "The name", Language: "en", Content: join("# Head", "alpha one", "beta two")})
	if added.Embedded != 3 || added.Pending != 0 || added.EmbedErr != nil {
		t.Errorf("added: %+v", added)
	}
	want := []string{"The name\nHead\n# Head", "The name\nHead\nalpha one", "The name\nHead\nbeta two"}
	if got := e.asked(); !slices.Equal(got, want) {
		t.Errorf("embedded: %q, want %q", got, want)
	}
	again := add(t, o, llmemory.Document{Key: "k", Name: "The name", Language: "en", Content: join("# Head", "alpha one", "beta two")})
	if again.Status != llmemory.Unchanged || again.Pending != 0 {
		t.Errorf("again: %+v", again)
	}
	// A change of metadata asks nobody; of a paragraph, only for that.
	add(t, o, llmemory.Document{Key: "k", Name: "The name", Language: "en", Content: join("# Head", "alpha one", "beta two"), Metadata: map[string]any{"a": 1}})
	changed := add(t, o, llmemory.Document{Key: "k", Name: "The name", Language: "en", Content: join("# Head", "alpha one", "gamma three")})
	if changed.Embedded != 1 || changed.ChunksReused != 2 {
		t.Errorf("changed: %+v", changed)
	}
	if got := e.asked(); !slices.Equal(got, []string{"The name\nHead\ngamma three"}) {
		t.Errorf("embedded after the changes: %q", got)
	}
	many := addMany(t, o, []llmemory.Document{
		{Key: "m1", Language: "en", Content: join("delta", "epsilon")}, {Key: "m2", Language: "en", Content: "zeta", Embed: llmemory.EmbedLater},
		{Key: "m3", Language: "en", Content: "eta", Embed: llmemory.EmbedNever}, {Key: "m4", Language: "en", Content: "theta"},
	})
	for i, want := range [][2]int{{2, 0}, {0, 1}, {0, 0}, {1, 0}} {
		if many[i].Embedded != want[0] || many[i].Pending != want[1] {
			t.Errorf("document %d of many: %d embedded, %d pending, want %v", i, many[i].Embedded, many[i].Pending, want)
		}
	}
	if _, err := o.Add(t.Context(), llmemory.Document{Content: "x", Embed: "soon"}); !errors.Is(err, llmemory.ErrInvalid) {
		t.Errorf("an unknown Embed: %v", err)
	}
}

// testAddGiven adds documents that bring their vectors along.
func (s *suite) testAddGiven(t *testing.T) {
	a, b := newWords("a", 16), newWords("b", 24)
	m := s.fresh(t, a, b)
	o, other := m.Owner("o"), m.Owner("other")
	given := func(of ...string) (out [][]float32) {
		for _, text := range of {
			out = append(out, a.vector(text))
		}
		return out
	}
	// What is given need not be what the embedder would make of the text: that is how to tell where it came from.
	first := llmemory.Document{Key: "k", Language: "en", Content: join("alpha", "beta"), Vectors: given("sun", "moon")}
	if added := add(t, o, first); added.Embedded != 2 || added.Pending != 0 || added.EmbedErr != nil {
		t.Errorf("with vectors: %+v", added)
	}
	if got := texts(nearest(t, o, "moon", llmemory.SearchOptions{Limit: 1})); !slices.Equal(got, []string{"beta"}) {
		t.Errorf("nearest to what was given for beta: %q", got)
	}
	if got := nearest(t, other, "moon", llmemory.SearchOptions{}); len(got) != 0 {
		t.Errorf("another owner finds %v", got)
	}
	// A passage that stays keeps its vector; the same text under another owner is another passage.
	first.Content, first.Vectors = join("alpha", "gamma"), given("star", "cloud")
	if added := add(t, o, first); added.Embedded != 1 || added.ChunksReused != 1 {
		t.Errorf("changed: %+v", added)
	}
	for query, want := range map[string]string{"sun": "alpha", "cloud": "gamma"} {
		if got := texts(nearest(t, o, query, llmemory.SearchOptions{Limit: 1})); !slices.Equal(got, []string{want}) {
			t.Errorf("nearest to %s: %q", query, got)
		}
	}
	many := addMany(t, o, []llmemory.Document{
		{Key: "later", Language: "en", Content: "delta", Embed: llmemory.EmbedLater, Vectors: given("rain")},
		{Key: "asked", Language: "en", Content: "epsilon"},
	})
	if many[0].Embedded != 1 || many[0].Pending != 0 || many[1].Embedded != 1 {
		t.Errorf("two of a call: %+v", many)
	}
	if got := a.asked(); !slices.Equal(got, []string{"epsilon"}) {
		t.Errorf("the embedder was asked for %q", got)
	}
	// Of other generations they say nothing.
	must(m.AddGeneration(t.Context(), b, ""))(t)
	work(t, m)
	b.asked()
	add(t, o, llmemory.Document{Key: "both", Language: "en", Content: "zeta", Vectors: given("wind")})
	work(t, m)
	if got := b.asked(); !slices.Equal(got, []string{"zeta"}) {
		t.Errorf("the embedder of the other generation was asked for %q", got)
	}
	nan := a.vector("x")
	nan[3] = float32(math.NaN())
	for what, d := range map[string]llmemory.Document{
		"one for two":   {Content: join("one", "two"), Vectors: given("one")},
		"none for one":  {Content: "one", Vectors: [][]float32{}},
		"of two models": {Content: "one", Vectors: [][]float32{b.vector("one")}},
		"not a number":  {Content: "one", Vectors: [][]float32{nan}},
		"zeros":         {Content: "one", Vectors: [][]float32{make([]float32, 16)}},
		"unwanted":      {Content: "one", Vectors: given("one"), Embed: llmemory.EmbedNever},
	} {
		d.Key, d.Language = what, "en"
		var invalid *llmemory.InvalidError
		if _, err := o.Add(t.Context(), d); !errors.As(err, &invalid) || invalid.Field != "vectors" {
			t.Errorf("%s: %v", what, err)
		}
		if list := must(o.List(t.Context(), nil))(t); slices.ContainsFunc(list.Documents,
			func(d llmemory.StoredDocument) bool { return d.Key == what }) {
			t.Errorf("%s: is stored", what)
		}
	}
	bare := must(llmemory.New(s.open(t), &llmemory.Config{Chunker: paragraphs()}))(t)
	if _, err := bare.Owner("o").Add(t.Context(), llmemory.Document{Content: "one", Vectors: given("one")}); !errors.Is(err, llmemory.ErrInvalid) {
		t.Errorf("without a generation: %v", err)
	}
}

func (s *suite) testAddFails(t *testing.T) {
	e := newWords("failing", 16)
	m := s.fresh(t, e)
	o := m.Owner("o")
	add(t, o, llmemory.Document{Key: "first", Language: "en", Content: "first"})
	down := &embedding.Error{Kind: embedding.Unavailable, Provider: "test", Status: 503}
	e.failWith(func(embedding.Role, []string) error { return down })
	added := add(t, o, llmemory.Document{Key: "k", Language: "en", Content: join("alpha", "beta")})
	var fault *embedding.Error
	if added.Status != llmemory.Created || added.Embedded != 0 || added.Pending != 2 || !errors.As(added.EmbedErr, &fault) || !errors.Is(added.EmbedErr, llmemory.ErrUnavailable) {
		t.Errorf("with the embedder down: %+v", added)
	}
	if hits := search(t, o, "alpha", llmemory.SearchOptions{}); len(hits) != 1 {
		t.Errorf("%d hits by text while the embedder is down", len(hits))
	}
	q := must(o.Queue(t.Context(), 0))(t)
	if q.Waiting != 2 || q.Dead != 0 || len(q.Failures) != 2 || !strings.Contains(q.Failures[0].Reason, "503") || q.Failures[0].Due.IsZero() || q.Failures[0].Attempts != 0 {
		t.Errorf("the queue: %+v", q)
	}
	// A text that the embedder refuses is given up alone.
	e.failWith(func(_ embedding.Role, texts []string) error {
		if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, "poison") }) {
			return &embedding.Error{Kind: embedding.InvalidInput, Provider: "test", Status: 400, Message: "too strange"}
		}
		return nil
	})
	added = add(t, o, llmemory.Document{Key: "p", Language: "en", Content: join("good one", "poison", "good two")})
	if added.Embedded != 2 || added.Pending != 1 || !errors.As(added.EmbedErr, &fault) || fault.Kind != embedding.InvalidInput {
		t.Errorf("with a poisonous passage: %+v", added)
	}
	q = must(o.Queue(t.Context(), 1))(t)
	if q.Dead != 1 || len(q.Failures) != 1 || !q.Failures[0].Dead || !strings.Contains(q.Failures[0].Reason, "too strange") || q.Failures[0].Attempts != 1 || !q.Failures[0].Due.IsZero() {
		t.Errorf("the queue with a dead job: %+v", q)
	}
	if q := must(m.Owner("stranger").Queue(t.Context(), 0))(t); q.Waiting+q.Leased+q.Dead != 0 || len(q.Failures) != 0 {
		t.Errorf("a stranger sees %+v", q)
	}
	e.failWith(nil)
	if n := must(m.Owner("stranger").RetryQueue(t.Context()))(t); n != 0 {
		t.Errorf("a stranger retries %d", n)
	}
	if n := must(o.RetryQueue(t.Context()))(t); n < 1 {
		t.Errorf("%d jobs to retry, want at least the dead one", n)
	}
	work(t, m)
	if hits := nearest(t, o, "poison", llmemory.SearchOptions{}); len(hits) == 0 || hits[0].Text != "poison" {
		t.Errorf("after the retry: %v", texts(hits))
	}
}

func (s *suite) testAddLaterAndNever(t *testing.T) {
	e := newWords("later", 16)
	m := s.fresh(t, e)
	o := m.Owner("o")
	later := add(t, o, llmemory.Document{Key: "later", Language: "en", Content: join("alpha", "beta"), Embed: llmemory.EmbedLater})
	never := add(t, o, llmemory.Document{Key: "never", Language: "en", Content: "gamma", Embed: llmemory.EmbedNever})
	if later.Pending != 2 || later.EmbedErr != nil || never.Pending != 0 || len(e.asked()) != 0 {
		t.Errorf("later: %+v, never: %+v", later, never)
	}
	if hits := nearest(t, o, "alpha", llmemory.SearchOptions{}); len(hits) != 0 {
		t.Errorf("found before there are vectors: %v", texts(hits))
	}
	if p := work(t, m); p.Embedded != 2 || p.Failed != 0 {
		t.Errorf("worked: %+v", p)
	}
	if p := work(t, m); p.Embedded != 0 {
		t.Errorf("worked again: %+v", p)
	}
	found := func() []string {
		list := texts(nearest(t, o, "alpha", llmemory.SearchOptions{}))
		slices.Sort(list)
		return list
	}
	if got := found(); !slices.Equal(got, []string{"alpha", "beta"}) {
		t.Errorf("found %q", got)
	}
	// The same content with another wish.
	add(t, o, llmemory.Document{Key: "later", Language: "en", Content: join("alpha", "beta"), Embed: llmemory.EmbedNever})
	add(t, o, llmemory.Document{Key: "never", Language: "en", Content: "gamma"})
	work(t, m)
	if got := found(); !slices.Equal(got, []string{"gamma"}) {
		t.Errorf("after the wishes changed places: %q", got)
	}
	// A change of content and wish at once.
	add(t, o, llmemory.Document{Key: "later", Language: "en", Content: join("alpha", "delta")})
	work(t, m)
	if got := found(); !slices.Equal(got, []string{"alpha", "delta", "gamma"}) {
		t.Errorf("after content and wish changed: %q", got)
	}
}

func (s *suite) testPaidOnce(t *testing.T) {
	o, e := s.vectors(t)
	add(t, o, llmemory.Document{Key: "1", Language: "en", Content: join("alpha", "beta")})
	e.asked()
	// Moved to another document, and into another language: the vector goes with the text.
	moved := addMany(t, o, []llmemory.Document{
		{Key: "2", Language: "en", Content: join("beta", "gamma")}, {Key: "1", Language: "de", Content: join("alpha", "beta")},
	})
	if moved[0].Embedded != 2 || moved[1].Embedded != 2 {
		t.Errorf("moved: %+v", moved)
	}
	if got := e.asked(); !slices.Equal(got, []string{"gamma"}) {
		t.Errorf("embedded %q, want gamma alone", got)
	}
	// Several passages of the same text are asked for once.
	add(t, o, llmemory.Document{Key: "3", Language: "en", Content: join("same", "same", "same")})
	if got := e.asked(); !slices.Equal(got, []string{"same"}) {
		t.Errorf("embedded %q, want same once", got)
	}
	if hits := nearest(t, o, "same", llmemory.SearchOptions{Limit: 4}); len(hits) != 4 || hits[2].Text != "same" || hits[3].Text == "same" {
		t.Errorf("found %q", texts(hits))
	}
	// Nobody learns from what is cheap that another owner has a text.
	stranger := embeddingMemory(t, s.shared, e).Owner(t.Name() + " stranger")
	add(t, stranger, llmemory.Document{Key: "1", Language: "en", Content: join("alpha", "same")})
	if got := slices.Sorted(slices.Values(e.asked())); !slices.Equal(got, []string{"alpha", "same"}) {
		t.Errorf("a stranger's texts embedded: %q", got)
	}
}

func (s *suite) testBackfill(t *testing.T) {
	a := newWords("a", 16)
	store := s.open(t)
	plain := memory(t, store)
	var docs []llmemory.Document
	for i := range 30 {
		docs = append(docs, llmemory.Document{Key: fmt.Sprint(i), Language: "en", Content: numbered(3, fmt.Sprint("doc", i, " part%d"))})
	}
	docs = append(docs, llmemory.Document{Key: "never", Language: "en", Content: "left alone", Embed: llmemory.EmbedNever})
	for _, owner := range []string{"a", "b", "c"} {
		addMany(t, plain.Owner(owner), docs)
	}
	m := embeddingMemory(t, store, a)
	g := must(m.AddGeneration(t.Context(), nil, ""))(t)
	if g.Backfilled {
		t.Error("a new generation of a store with documents is said to be backfilled")
	}
	// Documents come and go meanwhile.
	add(t, plain.Owner("0 before all"), llmemory.Document{Key: "x", Language: "en", Content: "early bird"})
	if _, err := plain.Owner("b").Delete(t.Context(), llmemory.DocumentID("b", llmemory.Identity{OriginID: "default", Key: "7"})); err != nil {
		t.Fatal(err)
	}
	queued, pages := 0, 0
	for done := false; !done; pages++ {
		r := must(store.Backfill(t.Context(), llmemory.BackfillParams{Generation: g.ID, Limit: 50}))(t)
		if queued += r.Queued; r.Queued > 50 {
			t.Errorf("a page of %d", r.Queued)
		}
		done = r.Done
		if pages > 100 {
			t.Fatal("the backfill never ends")
		}
		add(t, plain.Owner("c"), llmemory.Document{Key: fmt.Sprint("while ", pages), Language: "en", Content: fmt.Sprint("while page", pages)})
	}
	if !must(m.Generations(t.Context()))(t)[0].Backfilled {
		t.Error("the generation does not say that it is backfilled")
	}
	if p := work(t, m); p.Embedded != 3*90-3+1+pages {
		t.Errorf("%d passages embedded, want %d (%d were queued by the backfill)", p.Embedded, 3*90-3+1+pages, queued)
	}
	p := must(m.Progress(t.Context(), g.ID))(t)
	if want := int64(3*90 - 3 + 1 + pages); p.Leaves != want || p.Vectors != want || p.Waiting != 0 || p.Dead != 0 {
		t.Errorf("progress: %+v, want %d of %d", p, want, want)
	}
	for _, owner := range []string{"a", "b", "c"} {
		if hits := nearest(t, m.Owner(owner), "doc3 part1", llmemory.SearchOptions{}); len(hits) != 10 || hits[0].Text != "doc3 part1" {
			t.Errorf("owner %s finds %q", owner, texts(hits))
		}
	}
}

func (s *suite) testNearest(t *testing.T) {
	o, e := s.vectors(t)
	var all []string
	var docs []llmemory.Document
	for i := range 40 {
		var parts []string
		for j := range 3 {
			parts = append(parts, fmt.Sprintf("alpha%d beta%d gamma%d", i%7, j, (i*j)%5+i%3))
		}
		parts[0] += fmt.Sprint(" unique", i)
		all = append(all, parts...)
		docs = append(docs, llmemory.Document{Key: fmt.Sprint(i), Language: "en", Content: join(parts...)})
	}
	addMany(t, o, docs)
	for _, query := range []string{"alpha3 beta1", "unique17", "gamma2 alpha0 beta2", "nothing like it"} {
		hits := nearest(t, o, query, llmemory.SearchOptions{Limit: 15})
		if len(hits) != 15 {
			t.Errorf("%q: %d hits", query, len(hits))
		}
		q := e.vector(query)
		want := bruteForce(e, query, all)
		for i, h := range hits {
			cosine := vec.Cosine(e.vector(h.Text), q)
			if h.Scores.Vector == nil || h.Scores.Text != nil || h.Scores.Fused != nil || math.Abs(*h.Scores.Vector-cosine) > 1e-5 || h.Score != *h.Scores.Vector {
				t.Errorf("%q, hit %d: scores %+v, want %v", query, i, h.Scores, cosine)
			}
			if best := vec.Cosine(e.vector(want[i]), q); math.Abs(best-cosine) > 1e-5 {
				t.Errorf("%q, hit %d: %q (%v), want %q (%v)", query, i, h.Text, cosine, want[i], best)
			}
			if i > 0 && (h.Score > hits[i-1].Score || h.Score == hits[i-1].Score && h.ID <= hits[i-1].ID) {
				t.Errorf("%q, hit %d is out of order", query, i)
			}
		}
	}
	if hits := nearest(t, o, "alpha3", llmemory.SearchOptions{Limit: 1000}); len(hits) != 120 {
		t.Errorf("%d hits of 120", len(hits))
	}
	if _, err := o.Delete(t.Context(), llmemory.DocumentID(o.ID(), llmemory.Identity{OriginID: "default", Key: "17"})); err != nil {
		t.Fatal(err)
	}
	if hits := nearest(t, o, "unique17", llmemory.SearchOptions{Limit: 1000}); len(hits) != 117 || strings.Contains(hits[0].Text, "unique17") {
		t.Errorf("%d hits after a delete, the first %q", len(hits), hits[0].Text)
	}
}

func (s *suite) testNearestFiltered(t *testing.T) {
	o, e := s.vectors(t)
	var docs []llmemory.Document
	for i := range 60 {
		docs = append(docs, llmemory.Document{
			OriginID: fmt.Sprint("origin", i%4), Key: fmt.Sprint(i), Language: "en", Content: numbered(2, fmt.Sprintf("word%d side%%d", i)),
			Metadata: map[string]any{"n": i},
		})
	}
	addMany(t, o, docs)
	for _, where := range []llmemory.Where{
		{Origins: []string{"origin1"}}, {Origins: []string{"origin1", "origin2", "origin3"}},
		{Metadata: llmemory.Meta("n").Lt(3)}, {Metadata: llmemory.Meta("n").Gte(1)}, {Metadata: llmemory.Meta("n").Eq(999)},
	} {
		var want []string
		for i, d := range docs {
			passes := where.Matches(&llmemory.StoredDocument{OriginID: d.OriginID, Metadata: map[string]any{"n": float64(i)}})
			if passes {
				want = append(want, strings.Split(d.Content, "\n\n")...)
			}
		}
		want = bruteForce(e, "word5 side1", want)
		for _, limit := range []int{1, 10, 1000} {
			got := texts(nearest(t, o, "word5 side1", llmemory.SearchOptions{Where: where, Limit: limit}))
			if len(got) != min(limit, len(want)) {
				t.Errorf("%+v, limit %d: %d hits, want %d", where, limit, len(got), min(limit, len(want)))
				continue
			}
			for i, text := range got {
				if !slices.Contains(want, text) || !sameScore(e, "word5 side1", text, want[i]) {
					t.Errorf("%+v, limit %d, hit %d: %q, want %q or its like", where, limit, i, text, want[i])
				}
			}
		}
	}
}

func (s *suite) testHybrid(t *testing.T) {
	o, e := s.vectors(t)
	var docs []llmemory.Document
	for i := range 50 {
		docs = append(docs, llmemory.Document{Key: fmt.Sprint(i), Language: "en", Content: fmt.Sprintf("wolf%d bear%d fox%d", i%10, i%7, i%3)})
	}
	// By words the first of these are better, as theirs is the rarer one; by meaning the second are, as they say little else.
	for i := range 10 {
		docs = append(docs, llmemory.Document{Key: fmt.Sprint("wolf", i), Language: "en", Content: fmt.Sprintf("wolf3 elk%d hare%d", i, i)})
		docs = append(docs, llmemory.Document{Key: fmt.Sprint("bear", i), Language: "en", Content: fmt.Sprintf("bear2 deer%d", i)})
	}
	addMany(t, o, docs)
	const query = "wolf3 bear2"
	textHits := search(t, o, query, llmemory.SearchOptions{Limit: 8})
	vectorHits := nearest(t, o, query, llmemory.SearchOptions{Limit: 8})
	// All candidates of equal text score at the border are in, so these are what the search sees.
	bounds := func(hits []llmemory.Hit, of func(llmemory.Hit) *float64) (low, high float64) {
		low, high = math.Inf(1), math.Inf(-1)
		for _, h := range hits {
			low, high = min(low, *of(h)), max(high, *of(h))
		}
		return low, high
	}
	share := func(score *float64, low, high float64) float64 {
		if score == nil {
			return 0
		}
		return (*score - low) / (high - low)
	}
	leastText, bestText := bounds(textHits, func(h llmemory.Hit) *float64 { return h.Scores.Text })
	leastCosine, bestCosine := bounds(vectorHits, func(h llmemory.Hit) *float64 { return h.Scores.Vector })
	known := map[string]float64{} // every text score there is
	for _, h := range search(t, o, query, llmemory.SearchOptions{Limit: 100}) {
		known[h.ID] = *h.Scores.Text
	}
	worded := false // a hit that the text ranking lacks had its text score all the same
	for _, tt := range []struct {
		fusion              llmemory.Fusion
		weight, want        float64
		textLow, cosineHigh float64
	}{
		{"", 0, llmemory.DefaultTextWeight, 0, 1},
		{llmemory.Scaled, 0.2, 0.2, 0, 1},
		{llmemory.Scaled, 0.9, 0.9, 0, 1},
		{llmemory.MinMax, 0, 0.6, leastText, bestCosine},
		{llmemory.MinMax, 0.9, 0.9, leastText, bestCosine},
	} {
		r := must(o.Search(t.Context(), query, &llmemory.SearchOptions{
			Limit: 8, Candidates: 8, Fusion: tt.fusion, TextWeight: tt.weight, Explain: true,
		}))(t)
		fusion := cmp.Or(tt.fusion, llmemory.Scaled)
		if len(r.Degraded) > 0 || len(r.Hits) != 8 || r.Explanation.Fusion != fusion || r.Explanation.TextWeight != tt.want || r.Explanation.Plan == "" {
			t.Errorf("hybrid: %d hits, %v, %+v", len(r.Hits), r.Degraded, r.Explanation)
		}
		for i, h := range r.Hits {
			want := tt.want*share(h.Scores.Text, tt.textLow, bestText) + (1-tt.want)*share(h.Scores.Vector, leastCosine, tt.cosineHigh)
			if h.Scores.Fused == nil || *h.Scores.Fused != h.Score || math.Abs(h.Score-want) > 1e-9 {
				t.Errorf("%s, weight %v, hit %d: %v (%+v), want %v", fusion, tt.weight, i, h.Score, h.Scores, want)
			}
			if h.Scores.Vector != nil && math.Abs(*h.Scores.Vector-vec.Cosine(e.vector(h.Text), e.vector(query))) > 1e-5 {
				t.Errorf("hit %d: cosine %v", i, *h.Scores.Vector)
			}
			score, found := known[h.ID]
			if h.Scores.Text != nil && *h.Scores.Text != score || fusion == llmemory.Scaled && found && h.Scores.Text == nil {
				t.Errorf("%s, hit %d: text score %v, by text %v", fusion, i, h.Scores.Text, score)
			}
			worded = worded || h.Scores.Text != nil && *h.Scores.Text < leastText
			if i > 0 && h.Score > r.Hits[i-1].Score {
				t.Errorf("hit %d is out of order", i)
			}
		}
	}
	if !worded {
		t.Error("no hit is in the vector ranking alone and has words of the question: the comparison is hollow")
	}
	// What the limit is does not change who is best.
	few := must(o.Search(t.Context(), query, &llmemory.SearchOptions{Limit: 3}))(t)
	many := must(o.Search(t.Context(), query, &llmemory.SearchOptions{Limit: 30}))(t)
	if d := gocmp.Diff(texts(few.Hits), texts(many.Hits)[:3]); d != "" {
		t.Errorf("the limit changes the ranking: %s", d)
	}
	for _, fusion := range []llmemory.Fusion{llmemory.RRF, llmemory.WeightedRRF} {
		r := must(o.Search(t.Context(), query, &llmemory.SearchOptions{Fusion: fusion, Explain: true}))(t)
		if len(r.Hits) != 10 || r.Explanation.Fusion != fusion || r.Hits[0].Score > 2.0/61 {
			t.Errorf("%s: %d hits, best %v", fusion, len(r.Hits), r.Hits[0].Score)
		}
	}
	for _, bad := range []llmemory.SearchOptions{{Fusion: "sum"}, {TextWeight: 1}, {TextWeight: -1}, {TextWeight: math.NaN()}, {Candidates: -1}, {Candidates: 1001}} {
		if _, err := o.Search(t.Context(), query, &bad); !errors.Is(err, llmemory.ErrInvalid) {
			t.Errorf("%+v: %v, want ErrInvalid", bad, err)
		}
	}
}

func (s *suite) testDegraded(t *testing.T) {
	e := newWords("degraded", 16)
	m := s.fresh(t, e)
	o := m.Owner("o")
	degraded := func(o *llmemory.Owner, what string) {
		t.Helper()
		r := must(o.Search(t.Context(), "alpha", nil))(t)
		if len(r.Degraded) != 1 || !strings.HasPrefix(r.Degraded[0], "vector: ") || !strings.Contains(r.Degraded[0], what) {
			t.Errorf("degraded: %q, want %q", r.Degraded, what)
		}
		if len(r.Hits) != 1 || r.Hits[0].Scores.Text == nil || r.Hits[0].Scores.Fused != nil {
			t.Errorf("hits: %+v", r.Hits)
		}
	}
	plain := memory(t, m.Store()).Owner("o")
	add(t, plain, llmemory.Document{Key: "k", Language: "en", Content: "alpha"})
	degraded(plain, "no embedder")
	degraded(o, "no passage has a vector")
	if _, err := plain.Search(t.Context(), "alpha", &llmemory.SearchOptions{Mode: llmemory.ByVector}); !errors.Is(err, llmemory.ErrInvalid) {
		t.Errorf("by vector without an embedder: %v", err)
	}
	work(t, m)
	if r := must(o.Search(t.Context(), "alpha", nil))(t); len(r.Degraded) != 0 || r.Hits[0].Scores.Fused == nil {
		t.Errorf("with vectors: %q, %+v", r.Degraded, r.Hits)
	}
	e.failWith(func(embedding.Role, []string) error {
		return &embedding.Error{Kind: embedding.RateLimited, Provider: "test", Status: 429}
	})
	degraded(o, "429")
	if _, err := o.Search(t.Context(), "alpha", &llmemory.SearchOptions{Mode: llmemory.ByVector}); !errors.Is(err, llmemory.ErrUnavailable) {
		t.Errorf("by vector with the embedder down: %v", err)
	}
	e.failWith(nil)
	foreign := embeddingMemory(t, m.Store(), newWords("another", 16)).Owner("o")
	degraded(foreign, "models add")
	slow := embedding.Func{Info: e.Model(), Call: func(ctx context.Context, _ embedding.Role, _ []string) ([][]float32, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	waiting := must(llmemory.New(m.Store(), &llmemory.Config{Chunker: paragraphs(), Embedder: slow, QueryTimeout: 20 * time.Millisecond}))(t)
	degraded(waiting.Owner("o"), "deadline")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := waiting.Owner("o").Search(ctx, "alpha", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// testVectorConditions checks that phrases and exclusions hold for what vectors find as well.
func (s *suite) testVectorConditions(t *testing.T) {
	o, _ := s.vectors(t)
	add(t, o, llmemory.Document{Key: "1", Language: "en", Content: join("red house green door", "green house red door", "red house blue door", "no building at all")})
	for _, mode := range []llmemory.Mode{llmemory.ByVector, llmemory.Hybrid} {
		for query, want := range map[string][]string{
			`"red house"`:                   {"red house blue door", "red house green door"},
			`house door -green`:             {"no building at all", "red house blue door"},
			`"red house" door -"blue door"`: {"red house green door"},
		} {
			r := must(o.Search(t.Context(), query, &llmemory.SearchOptions{Mode: mode}))(t)
			if got := slices.Sorted(slices.Values(texts(r.Hits))); !slices.Equal(got, want) {
				t.Errorf("%s %s: %q, want %q", mode, query, got, want)
			}
		}
		r := must(o.Search(t.Context(), `"house red house"`, &llmemory.SearchOptions{Mode: mode}))(t)
		if len(r.Hits) != 4 || len(r.Degraded) != 1 || !strings.HasPrefix(r.Degraded[0], "phrase: ") {
			t.Errorf("%s with a phrase that nothing holds: %d hits, %q", mode, len(r.Hits), r.Degraded)
		}
		gone := add(t, o, llmemory.Document{Key: "gone", Language: "en", Content: join("door building red", "house")})
		must(o.Delete(t.Context(), gone.DocumentID))(t)
		r = must(o.Search(t.Context(), `"door building red"`, &llmemory.SearchOptions{Mode: mode}))(t)
		if len(r.Hits) != 4 || len(r.Degraded) != 1 || !strings.HasPrefix(r.Degraded[0], "phrase: ") {
			t.Errorf("%s with a phrase that was deleted: %d hits, %q", mode, len(r.Hits), r.Degraded)
		}
	}
	if r := must(o.Search(t.Context(), "-green", nil))(t); len(r.Hits) != 0 {
		t.Errorf("nothing but an exclusion finds %q", texts(r.Hits))
	}
}

func (s *suite) testVectorTenants(t *testing.T) {
	o, e := s.vectors(t)
	stranger := embeddingMemory(t, s.shared, e).Owner(t.Name() + " stranger")
	add(t, o, llmemory.Document{Key: "1", Language: "en", Content: join("alpha secret", "beta")})
	before := nearest(t, o, "alpha secret", llmemory.SearchOptions{})
	addMany(t, stranger, []llmemory.Document{
		{Key: "1", Language: "en", Content: numbered(50, "alpha secret%d")}, {Key: "2", Language: "en", Content: "beta canary"},
	})
	after := nearest(t, o, "alpha secret", llmemory.SearchOptions{})
	if d := gocmp.Diff(before, after); d != "" {
		t.Errorf("a stranger's documents change the answer: %s", d)
	}
	for _, h := range nearest(t, stranger, "alpha secret beta", llmemory.SearchOptions{Limit: 100}) {
		if h.Text == "alpha secret" || h.Text == "beta" {
			t.Errorf("a stranger finds %q", h.Text)
		}
	}
	if _, err := stranger.DeleteAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff(before, nearest(t, o, "alpha secret", llmemory.SearchOptions{})); d != "" {
		t.Errorf("a stranger's deletion changes the answer: %s", d)
	}
}

func (s *suite) testEstimate(t *testing.T) {
	e := newWords("estimate", 16)
	m := s.fresh(t, e)
	if est := must(m.Estimate(t.Context(), nil))(t); est.Leaves != 0 || est.Tokens != 0 {
		t.Errorf("of nothing: %+v", est)
	}
	addMany(t, m.Owner("a"), []llmemory.Document{
		{Key: "1", Language: "en", Content: numbered(500, "some words of passage %d")},
		{Key: "2", Language: "en", Content: numbered(50, "left out %d"), Embed: llmemory.EmbedNever},
	})
	est := must(m.Estimate(t.Context(), nil))(t)
	if est.Leaves != 500 || est.Sampled != 500 || est.Tokens < 500*4 || est.Tokens > 500*10 {
		t.Errorf("estimate: %+v", est)
	}
}

// testTune checks that tuning comes to an end, and changes no answer, whatever it does.
func (s *suite) testTune(t *testing.T) {
	e := newWords("tuned", 32)
	m := s.fresh(t, e)
	if worked := must(m.TuneIndexes(t.Context()))(t); worked {
		t.Error("there is something to tune in an empty store")
	}
	tune := func() {
		t.Helper()
		for steps := 0; must(m.TuneIndexes(t.Context()))(t); steps++ {
			if steps > 20 {
				t.Fatal("there is always something to tune")
			}
		}
	}
	owners := []*llmemory.Owner{m.Owner("it's large"), m.Owner("small"), m.Owner("twin of large")}
	for i, o := range owners {
		for k := range []int{6, 1, 6}[i] {
			add(t, o, llmemory.Document{Key: fmt.Sprint(k), Language: "en", Content: numbered(25, fmt.Sprintf("word%d of part%%d", k))})
		}
	}
	ask := func() (out [][]llmemory.Hit) {
		t.Helper()
		for _, o := range owners {
			for _, where := range []llmemory.Where{{}, {Origins: []string{"default"}}, {Origins: []string{"nobody"}}} {
				for range 2 {
					hits := nearest(t, o, "word0 of part7", llmemory.SearchOptions{Where: where})
					if want := 10; len(where.Origins) == 0 && len(hits) != want {
						t.Errorf("%s: %d hits, want %d", o.ID(), len(hits), want)
					}
					out = append(out, hits)
				}
			}
		}
		return out
	}
	before := ask()
	tune()
	if d := gocmp.Diff(before, ask()); d != "" {
		t.Errorf("tuning changes the answers: %s", d)
	}
	for k := 1; k < 6; k++ {
		for _, o := range owners {
			if _, err := o.Delete(t.Context(), llmemory.DocumentID(o.ID(), llmemory.Identity{OriginID: "default", Key: fmt.Sprint(k)})); err != nil {
				t.Fatal(err)
			}
		}
	}
	before = ask()
	tune()
	if d := gocmp.Diff(before, ask()); d != "" {
		t.Errorf("tuning after a delete changes the answers: %s", d)
	}
	if _, err := m.Store().Tune(t.Context(), llmemory.TuneParams{Generation: 999}); !errors.Is(err, llmemory.ErrNotFound) {
		t.Errorf("tuning what is not there: %v, want ErrNotFound", err)
	}
}
