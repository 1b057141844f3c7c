package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/internal/vec"
)

func (s *suite) partCases() []testCase {
	return []testCase{
		{name: "Nearest", run: s.testPartsNearest},
		{name: "PaidOnce", run: s.testPartsPaidOnce},
		{name: "Life", run: s.testPartsLife},
		{name: "Fails", run: s.testPartsFail},
		{name: "Given", run: s.testPartsGiven},
		{name: "Edit", run: s.testPartsEdit},
		{name: "Complete", run: s.testPartsComplete},
		{name: "Limits", run: s.testPartsLimits},
	}
}

// inParts makes a passage that is embedded in so many parts, each of them a sentence of its own.
func inParts(sentences ...string) string {
	return fmt.Sprintf("[%d] %s.", len(sentences), strings.Join(sentences, ". "))
}

// nearestPart returns the cosine of a passage to a question by the definition: that of the nearest of its parts and their sum.
func nearestPart(e *words, query, passage string) float64 {
	var parts [][]float32
	for _, part := range chunk.Parts(passage, partsOf(passage)) {
		parts = append(parts, e.vector(part))
	}
	return vec.Nearest(e.vector(query), llmemory.JoinParts(parts))
}

// testPartsNearest asks among passages of one to three parts, with and without conditions: the answer is that of reading everything,
// every passage comes once, and another owner's are never among them.
func (s *suite) testPartsNearest(t *testing.T) {
	o, e := s.vectors(t)
	r := rand.New(rand.NewPCG(seed(t), 1))
	type passage struct {
		text string
		even bool
		red  bool
	}
	var all []passage
	var docs []llmemory.Document
	for i := range 60 {
		var list []string
		for range 3 {
			var sentences []string
			for range 1 + r.IntN(chunk.MaxParts) {
				sentences = append(sentences, fmt.Sprintf("alpha%d beta%d gamma%d delta%d", r.IntN(9), r.IntN(5), r.IntN(5), r.IntN(30)))
			}
			text := inParts(sentences...)
			if r.IntN(3) == 0 {
				text += " colour red"
			}
			all = append(all, passage{text, i%2 == 0, strings.HasSuffix(text, "colour red")})
			list = append(list, text)
		}
		docs = append(docs, llmemory.Document{Key: fmt.Sprint(i), OriginID: []string{"even", "odd"}[i%2], Language: "en", Content: join(list...)})
	}
	addMany(t, o, docs)
	stranger := embeddingMemory(t, s.shared, e).Owner(t.Name() + " stranger")
	add(t, stranger, llmemory.Document{Key: "1", Language: "en", Content: inParts("alpha1 beta1", "gamma1 delta1", "alpha1 beta1 gamma1 delta1")})

	for _, query := range []string{"alpha1 beta1 gamma1 delta1", "alpha3 beta2", "delta17", "nothing like it"} {
		for _, c := range []struct {
			name, query string
			opts        llmemory.SearchOptions
			may         func(passage) bool
		}{
			{"all", query, llmemory.SearchOptions{Limit: 15}, func(passage) bool { return true }},
			{"many", query, llmemory.SearchOptions{Limit: 150}, func(passage) bool { return true }},
			{"one", query, llmemory.SearchOptions{Limit: 1}, func(passage) bool { return true }},
			{"filtered", query, llmemory.SearchOptions{Limit: 15, Where: llmemory.Where{Origins: []string{"even"}}}, func(p passage) bool { return p.even }},
			{"with a phrase", query + ` "colour red"`, llmemory.SearchOptions{Limit: 15}, func(p passage) bool { return p.red }},
			{"both", query + ` "colour red"`, llmemory.SearchOptions{Limit: 15, Where: llmemory.Where{Origins: []string{"even"}}},
				func(p passage) bool { return p.even && p.red }},
		} {
			asked := strings.ReplaceAll(c.query, `"`, "")
			want := map[string]float64{}
			var ranked []float64
			for _, p := range all {
				if c.may(p) {
					want[p.text] = nearestPart(e, asked, p.text)
					ranked = append(ranked, want[p.text])
				}
			}
			slices.SortFunc(ranked, func(a, b float64) int { return cmp.Compare(b, a) })
			hits := nearest(t, o, c.query, c.opts)
			if len(hits) != min(c.opts.Limit, len(ranked)) {
				t.Errorf("%s, %q: %d hits of %d", c.name, c.query, len(hits), len(ranked))
			}
			seen := map[string]bool{}
			for i, h := range hits {
				cosine, known := want[h.Text]
				if !known || math.Abs(h.Score-cosine) > 1e-5 || math.Abs(ranked[i]-cosine) > 1e-5 {
					t.Errorf("%s, %q, hit %d: %q with %v, want %v; there is one with %v", c.name, c.query, i, h.Text, h.Score, cosine, ranked[i])
				}
				if seen[h.ID] {
					t.Errorf("%s, %q, hit %d comes twice", c.name, c.query, i)
				}
				seen[h.ID] = true
			}
		}
	}
}

// testPartsPaidOnce moves passages of several parts: nobody is asked for them again, all of their parts go with them, and what is cut
// into other parts is other input.
func (s *suite) testPartsPaidOnce(t *testing.T) {
	o, e := s.vectors(t)
	three := inParts("alpha one two", "beta three four", "gamma five six")
	add(t, o, llmemory.Document{Key: "1", Language: "en", Content: join(three, "single")})
	if got := slices.Sorted(slices.Values(e.asked())); len(got) != 4 || !slices.IsSortedFunc(got, cmp.Compare) {
		t.Errorf("embedded %q, want three parts and one", got)
	}
	moved := addMany(t, o, []llmemory.Document{
		{Key: "2", Language: "en", Content: join("front", three)}, {Key: "1", Language: "en", Content: join("single")},
	})
	if moved[0].Embedded != 2 || moved[1].ChunksReused != 1 {
		t.Errorf("moved: %+v", moved)
	}
	if got := e.asked(); !slices.Equal(got, []string{"front"}) {
		t.Errorf("embedded %q, want what is new alone", got)
	}
	for _, query := range []string{"alpha one two", "beta three four", "gamma five six"} {
		hits := nearest(t, o, query, llmemory.SearchOptions{Limit: 3})
		if len(hits) != 3 || hits[0].Text != three || math.Abs(hits[0].Score-nearestPart(e, query, three)) > 1e-5 {
			t.Errorf("%q finds %q", query, texts(hits))
		}
	}
	// The same words as a whole.
	whole := strings.Replace(three, "[3] ", "[1] ", 1)
	add(t, o, llmemory.Document{Key: "3", Language: "en", Content: whole})
	if got := e.asked(); !slices.Equal(got, []string{whole}) {
		t.Errorf("embedded %q, want %q", got, whole)
	}
}

// testPartsLife takes passages of several parts through the queue, an update, wishes and a deletion, and counts each as one.
func (s *suite) testPartsLife(t *testing.T) {
	e := newWords("a", 16)
	m := s.fresh(t, e)
	o := m.Owner("o")
	g := must(m.AddGeneration(t.Context(), nil, ""))(t)
	progress := func(what string, vectors, waiting int64) {
		t.Helper()
		if p := must(m.Progress(t.Context(), g.ID))(t); p.Vectors != vectors || p.Waiting != waiting {
			t.Errorf("%s: %d passages have vectors and %d wait, want %d and %d", what, p.Vectors, p.Waiting, vectors, waiting)
		}
	}
	a, b, c := inParts("alpha", "beta", "gamma"), inParts("epsilon", "zeta"), "eta"
	doc := llmemory.Document{Key: "1", Language: "en", Content: join(a, b, c), Embed: llmemory.EmbedLater}
	add(t, o, doc)
	progress("queued", 0, 3)
	if p := work(t, m); p.Embedded != 3 || p.Failed != 0 {
		t.Errorf("worked off: %+v", p)
	}
	progress("worked off", 3, 0)
	if got := e.asked(); len(got) != 6 {
		t.Errorf("embedded %q, want six parts", got)
	}
	estimate := must(m.Estimate(t.Context(), e))(t)
	if estimate.Leaves != 3 || estimate.Sampled != 3 {
		t.Errorf("estimate: %+v", estimate)
	}
	e.asked()

	second := newWords("b", 24)
	if g := must(m.AddGeneration(t.Context(), second, ""))(t); g.State != llmemory.Building {
		t.Errorf("a second generation: %+v", g)
	}
	both := embeddingMemory(t, m.Store(), e, second)
	work(t, both)
	if got := second.asked(); len(got) != 6 || len(e.asked()) != 0 {
		t.Errorf("the backfill embedded %q, want six parts of the second model", got)
	}

	b2 := inParts("epsilon", "theta", "iota")
	doc.Content = join(b2, a)
	add(t, o, doc)
	progress("updated", 1, 1)
	work(t, m)
	progress("updated and worked off", 2, 0)
	if hits := nearest(t, o, "zeta", llmemory.SearchOptions{}); len(hits) != 2 {
		t.Errorf("found %q", texts(hits))
	}
	doc.Embed = llmemory.EmbedNever
	add(t, o, doc)
	progress("not to be embedded", 0, 0)
	doc.Embed = llmemory.EmbedNow
	add(t, o, doc)
	progress("to be embedded again", 2, 0)
	s.check(t, m.Store(), "o")
	must(o.DeleteAll(t.Context()))(t)
	progress("deleted", 0, 0)
	if hits := nearest(t, o, "alpha", llmemory.SearchOptions{}); len(hits) != 0 {
		t.Errorf("found after all was deleted: %q", texts(hits))
	}
}

// testPartsFail has the embedder refuse one part of a passage: the passage has none of its vectors, and says why.
func (s *suite) testPartsFail(t *testing.T) {
	e := newWords("a", 16)
	m := s.fresh(t, e)
	o := m.Owner("o")
	e.failWith(func(_ embedding.Role, texts []string) error {
		if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, "poison") }) {
			return &embedding.Error{Kind: embedding.InvalidInput, Err: errors.New("it is poison")}
		}
		return nil
	})
	r := add(t, o, llmemory.Document{Key: "1", Language: "en", Content: join(inParts("alpha", "poison", "gamma"), inParts("delta", "epsilon"))})
	if r.Embedded != 1 || r.Pending != 1 || r.EmbedErr == nil {
		t.Errorf("added: %+v", r)
	}
	if q := must(o.Queue(t.Context(), 0))(t); q.Dead != 1 || len(q.Failures) != 1 || !strings.Contains(q.Failures[0].Reason, "poison") {
		t.Errorf("the queue: %+v", q)
	}
	if hits := nearest(t, o, "alpha", llmemory.SearchOptions{}); len(hits) != 1 || !strings.Contains(hits[0].Text, "delta") {
		t.Errorf("found %q", texts(hits))
	}
	e.failWith(nil)
	must(o.RetryQueue(t.Context()))(t)
	if p := work(t, m); p.Embedded != 1 {
		t.Errorf("tried again: %+v", p)
	}
	if hits := nearest(t, o, "alpha", llmemory.SearchOptions{}); len(hits) != 2 || !strings.Contains(hits[0].Text, "alpha") {
		t.Errorf("found %q", texts(hits))
	}
}

// testPartsGiven brings a vector for a passage that would be embedded in parts: it stands for the whole.
func (s *suite) testPartsGiven(t *testing.T) {
	o, e := s.vectors(t)
	star := e.vector("star")
	text := inParts("alpha", "beta", "gamma")
	r := add(t, o, llmemory.Document{Key: "1", Language: "en", Content: text, Vectors: [][]float32{star}})
	if r.Embedded != 1 || len(e.asked()) != 0 {
		t.Errorf("added: %+v", r)
	}
	if hits := nearest(t, o, "star", llmemory.SearchOptions{}); len(hits) != 1 || math.Abs(hits[0].Score-1) > 1e-5 {
		t.Errorf("found %q", texts(hits))
	}
}

// testPartsEdit has leaves bring the vectors of several parts along, copies them, and removes them.
func (s *suite) testPartsEdit(t *testing.T) {
	e := newWords("a", 16)
	m := s.fresh(t, e)
	store := m.Store()
	g := must(m.AddGeneration(t.Context(), nil, ""))(t)
	c := handmade(t, "o", "k", "one", "two")
	three := slices.Concat(e.vector("one"), e.vector("another"), e.vector("third"))
	c.Vectors = []llmemory.LeafVector{
		{Generation: g.ID, Ordinal: 0, Hash: []byte("h0"), Vector: three}, {Generation: g.ID, Ordinal: 1, Hash: []byte("h1"), Vector: e.vector("two")},
	}
	c.Queue = []llmemory.QueueLeaf{{Ordinal: 0, Hash: []byte("h0")}, {Ordinal: 1, Hash: []byte("h1")}}
	must(openEdit(t, store, llmemory.EditParams{Owner: "o"}).Commit(t.Context(), c))(t)
	embedded := func(ordinals ...uint64) []llmemory.LeafVector {
		t.Helper()
		got := must(store.Embedded(t.Context(), llmemory.EmbeddedParams{Owner: "o", Generation: g.ID, Ordinals: ordinals}))(t)
		slices.SortFunc(got, func(a, b llmemory.LeafVector) int { return int(a.Ordinal) - int(b.Ordinal) })
		return got
	}
	if diff := gocmp.Diff(c.Vectors, embedded(1, 0)); diff != "" {
		t.Errorf("vectors (-want +got):\n%s", diff)
	}
	known := must(store.Known(t.Context(), llmemory.KnownParams{Generation: g.ID, Inputs: []llmemory.OwnedInput{
		{Owner: "o", Hash: []byte("h0")}, {Owner: "p", Hash: []byte("h0")}}}))(t)
	if len(known) != 1 || known[0].Owner != "o" || !slices.Equal(known[0].Vector, three) {
		t.Errorf("known: %+v", known)
	}
	// A copy that is made while the original goes.
	next := handmade(t, "o", "copy", "one")
	next.InsertChunks[1].Ordinal, next.InsertSegments, next.State = 3, nil, c.State
	next.State.NextOrdinal = 4
	next.Queue, next.Gone = []llmemory.QueueLeaf{{Ordinal: 3, Hash: []byte("h0")}}, []uint64{0}
	if committed := must(openEdit(t, store, llmemory.EditParams{Owner: "o"}).Commit(t.Context(), next))(t); len(committed.Waiting) != 0 {
		t.Errorf("waiting although the vector is known: %v", committed.Waiting)
	}
	if got := embedded(0, 3); len(got) != 1 || got[0].Ordinal != 3 || !slices.Equal(got[0].Vector, three) {
		t.Errorf("after the original went: %v", got)
	}
	if p := must(m.Progress(t.Context(), g.ID))(t); p.Vectors != 2 {
		t.Errorf("progress: %+v", p)
	}
	for name, v := range map[string][]float32{
		"none": {}, "too short": three[:15], "one and a half": three[:24], "too many": slices.Repeat(three[:16], llmemory.MaxLeafVectors+1),
	} {
		c := handmade(t, "o", name, "one")
		c.InsertChunks[1].Ordinal, c.InsertSegments, c.State = 5, nil, next.State
		c.Vectors = []llmemory.LeafVector{{Generation: g.ID, Ordinal: 5, Hash: []byte("h5"), Vector: v}}
		if _, err := openEdit(t, store, llmemory.EditParams{Owner: "o"}).Commit(t.Context(), c); !errors.Is(err, llmemory.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

// testPartsComplete completes jobs with vectors of different numbers of parts in one call.
func (s *suite) testPartsComplete(t *testing.T) {
	q := s.queued(t, 3)
	jobs := q.claim(t, 0, time.Minute, 100)
	list := items(jobs)
	for i := range list {
		one := list[i].Vector
		list[i].Vector = nil
		for part := range 1 + i%llmemory.MaxLeafVectors {
			list[i].Vector = append(list[i].Vector, one...)
			list[i].Vector[len(list[i].Vector)-1] = float32(part + 1)
		}
	}
	if r := q.complete(t, 0, list); r.Stored != len(list) || len(r.Busy) != 0 {
		t.Fatalf("completed: %+v", r)
	}
	for _, item := range list {
		got := must(q.m.Store().Embedded(t.Context(), llmemory.EmbeddedParams{Owner: item.Owner, Generation: q.generation, Ordinals: []uint64{item.Ordinal}}))(t)
		if len(got) != 1 || !slices.Equal(got[0].Vector, item.Vector) || string(got[0].Hash) != string(item.Hash) {
			t.Errorf("leaf %d of %s: %v, want %v", item.Ordinal, item.Owner, got, item.Vector)
		}
	}
}

// testPartsLimits refuses a chunker that asks for more parts than there may be.
func (s *suite) testPartsLimits(t *testing.T) {
	o, _ := s.vectors(t)
	for _, content := range []string{"[4] one. two. three. four.", "[-1] one."} {
		if _, err := o.Add(t.Context(), llmemory.Document{Key: content, Content: content}); err == nil || !strings.Contains(err.Error(), "parts") {
			t.Errorf("%q: %v", content, err)
		}
	}
}
