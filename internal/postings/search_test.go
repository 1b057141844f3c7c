package postings

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRandomHistories adds, kills, and merges at random and compares every
// answer with Exhaustive, bit for bit.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(seed)
			for step := range 40 {
				h.step(t)
				if step%4 != 0 {
					continue
				}
				for range 4 {
					q, opts := h.query(), h.options()
					got, err := Search(q, h.sources(t), h.stats(), opts)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(Exhaustive(q, h.docs, opts), got); diff != "" {
						t.Fatalf("step %d, query %+v, depth %d (-exhaustive +search):\n%s", step, q, opts.Depth, diff)
					}
				}
			}
		})
	}
}

// A history is an owner's index under change, and what is in it.
type history struct {
	*rand.Rand
	next     uint64
	docs     []Doc // living
	segments []*Segment
	dead     *Set
}

func newHistory(seed uint64) *history {
	return &history{Rand: rand.New(rand.NewPCG(seed, 7)), dead: new(Set)}
}

func (h *history) step(t *testing.T) {
	t.Helper()
	switch n := h.IntN(10); {
	case n < 5 || len(h.docs) == 0:
		var b Builder
		if h.IntN(8) == 0 {
			h.next += uint64(h.IntN(5000)) // as after many deletions
		}
		for range 1 + h.IntN(30) {
			d := h.doc()
			if err := b.Add(d); err != nil {
				t.Fatal(err)
			}
			h.docs = append(h.docs, d)
		}
		h.segments = append(h.segments, b.Segment())
	case n < 8:
		for range 1 + h.IntN(8) {
			if len(h.docs) > 0 {
				i := h.IntN(len(h.docs))
				h.dead.Add(h.docs[i].Ordinal)
				h.docs = slices.Delete(h.docs, i, i+1)
			}
		}
	default:
		from := h.IntN(len(h.segments))
		to := min(from+1+h.IntN(5), len(h.segments))
		var sources []MergeSource
		for _, s := range h.segments[from:to] {
			sources = append(sources, s.Source(h.dead))
		}
		h.Shuffle(len(sources), func(i, j int) { sources[i], sources[j] = sources[j], sources[i] })
		merged, err := MergeSegment(sources)
		if err != nil {
			t.Fatal(err)
		}
		h.segments = slices.Replace(h.segments, from, to, merged)
		dead := new(Set)
		for o := range h.dead.All() {
			if o < merged.Low || o >= merged.High {
				dead.Add(o)
			}
		}
		h.dead = dead
	}
}

func (h *history) doc() Doc {
	d := Doc{Ordinal: h.next}
	h.next += 1 + uint64(h.IntN(2)*h.IntN(3))
	position := 0
	for range h.IntN(25) {
		d.Tokens = append(d.Tokens, Token{Term: h.term(), Position: position})
		if h.IntN(10) > 0 {
			d.Length++
		}
		position += h.IntN(3)
	}
	if h.IntN(50) == 0 {
		d.Length += 1000
	}
	// A term stands once at a position.
	slices.SortFunc(d.Tokens, func(a, b Token) int {
		if a.Position != b.Position {
			return a.Position - b.Position
		}
		return int(a.Term[0]) - int(b.Term[0])
	})
	d.Tokens = slices.Compact(d.Tokens)
	return d
}

// term is one of twelve, the first far more common than the last.
func (h *history) term() string { return string(rune('a' + h.IntN(1+h.IntN(12)))) }

func (h *history) query() Query {
	var q Query
	for range 1 + h.IntN(4) {
		q.Terms = append(q.Terms, Weighted{Term: h.term(), Count: 1 + h.IntN(2)})
	}
	phrase := func() Phrase {
		var p Phrase
		for range 1 + h.IntN(2) {
			var v Variant
			offset := 0
			for range 1 + h.IntN(3) {
				v = append(v, PhraseTerm{Term: h.term(), Offset: offset})
				offset += h.IntN(3)
			}
			p = append(p, v)
		}
		return p
	}
	if h.IntN(3) == 0 {
		q.Phrases = append(q.Phrases, phrase())
	}
	if h.IntN(3) == 0 {
		q.Exclude = append(q.Exclude, phrase())
	}
	return q
}

func (h *history) options() Options {
	opts := Options{Depth: h.IntN(12)}
	if h.IntN(3) == 0 {
		opts.Allowed = new(Set)
		for _, d := range h.docs {
			if h.IntN(3) == 0 {
				opts.Allowed.Add(d.Ordinal)
			}
		}
	}
	return opts
}

func (h *history) stats() Stats {
	s := Stats{Documents: int64(len(h.docs))}
	for _, d := range h.docs {
		s.Length += int64(d.Length)
	}
	return s
}

// sources gives each segment through its bytes.
func (h *history) sources(t *testing.T) []Source {
	t.Helper()
	var list []Source
	for _, s := range h.segments {
		in, err := OpenInline(s.Inline())
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Source{Low: s.Low, High: s.High, Dead: h.dead, Lookup: in.Lookup})
	}
	return list
}

// TestDocumentFrequencyIsThatOfTheLiving checks that neither a filter nor the
// dead change scores.
func TestDocumentFrequencyIsThatOfTheLiving(t *testing.T) {
	t.Parallel()
	docs := []Doc{doc(0, "a", "b"), doc(1, "a"), doc(2, "b", "c", "d"), doc(3, "a", "c")}
	q := Query{Terms: []Weighted{{"a", 1}, {"c", 2}}}
	stats := Stats{Documents: 4, Length: 8}
	want := Exhaustive(q, docs, Options{})

	dead := NewSet(4, 5, 9000)
	all := append(slices.Clone(docs), doc(4, "a", "a", "c"), doc(5, "c"))
	got, err := Search(q, []Source{source(t, dead, all...)}, stats, Options{})
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("with dead documents: %v (-want +got):\n%s", err, diff)
	}
	got, err = Search(q, []Source{source(t, dead, all...)}, stats, Options{Allowed: NewSet(3, 5)})
	if err != nil || len(got) != 1 || got[0] != want[slices.IndexFunc(want, func(s Scored) bool { return s.Ordinal == 3 })] {
		t.Errorf("filtered: %v, %v; want that of %v", got, err, want)
	}
}

func TestSearchKeepsTies(t *testing.T) {
	t.Parallel()
	var docs []Doc
	for i := range 5000 {
		words := []string{"a"}
		if i%1000 == 7 {
			words = []string{"a", "a"}
		}
		docs = append(docs, doc(uint64(i), words...))
	}
	q := Query{Terms: []Weighted{{"a", 1}}}
	stats := Stats{Documents: 5000, Length: 5005}
	for depth, want := range map[int]int{3: 5, 5: 5, 6: 5000, 0: 5000, -1: 5000} {
		got, err := Search(q, []Source{source(t, nil, docs...)}, stats, Options{Depth: depth})
		if err != nil || len(got) != want {
			t.Errorf("depth %d: %d hits, %v; want %d", depth, len(got), err, want)
		}
	}
}

func TestSearchOfNothing(t *testing.T) {
	t.Parallel()
	src := []Source{source(t, nil, doc(0, "a"))}
	for name, q := range map[string]Query{
		"no terms":     {},
		"unknown term": {Terms: []Weighted{{"z", 1}}},
		"no weight":    {Terms: []Weighted{{"a", 0}}},
	} {
		if got, err := Search(q, src, Stats{Documents: 1, Length: 1}, Options{}); err != nil || len(got) != 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	q := Query{Terms: []Weighted{{"a", 1}}}
	if got, err := Search(q, nil, Stats{}, Options{}); err != nil || len(got) != 0 {
		t.Errorf("no segments: %v, %v", got, err)
	}
	// Statistics that cannot be true make no negative scores.
	if got, err := Search(q, src, Stats{Documents: -5}, Options{}); err != nil || len(got) != 1 || got[0].Score <= 0 {
		t.Errorf("wrong statistics: %v, %v", got, err)
	}
}

func TestSearchReturnsErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	good := source(t, nil, doc(0, "a", "b"))
	fails := good
	fails.Lookup = func(string) (Block, bool, error) { return Block{}, false, broken }
	bare := good
	bare.Lookup = func(term string) (Block, bool, error) {
		b, ok, err := good.Lookup(term)
		b.Positions = nil
		return b, ok, err
	}
	narrow := good
	narrow.High = narrow.Low
	q := Query{Terms: []Weighted{{"a", 1}}, Phrases: []Phrase{{{{"a", 0}, {"b", 1}}}}}
	for _, tt := range []struct {
		name   string
		source Source
		want   error
	}{{"a store that fails", fails, broken}, {"no positions", bare, ErrCorrupt}, {"ordinals beyond the range", narrow, ErrCorrupt}} {
		// The searcher's memory is reused: nothing of the failure may stay.
		if _, err := Search(q, []Source{tt.source}, Stats{Documents: 1, Length: 2}, Options{}); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got, err := Search(q, []Source{good}, Stats{Documents: 1, Length: 2}, Options{}); err != nil || len(got) != 1 {
			t.Errorf("after %s: %v, %v", tt.name, got, err)
		}
	}
}

// TestSearchFarOrdinals checks that a range of billions of ordinals, as after a
// long history, costs nothing.
func TestSearchFarOrdinals(t *testing.T) {
	t.Parallel()
	docs := []Doc{doc(7, "a"), doc(1<<40, "a", "b"), doc(1<<41, "b")}
	q := Query{Terms: []Weighted{{"a", 1}, {"b", 1}}}
	got, err := Search(q, []Source{source(t, NewSet(9), docs...)}, Stats{Documents: 3, Length: 4}, Options{})
	if diff := cmp.Diff(Exhaustive(q, docs, Options{}), got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestSearchIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	h := newHistory(99)
	for range 30 {
		h.step(t)
	}
	sources, stats := h.sources(t), h.stats()
	var wg sync.WaitGroup
	for range 8 {
		q := h.query()
		want := Exhaustive(q, h.docs, Options{Depth: 5})
		wg.Go(func() {
			for range 50 {
				got, err := Search(q, sources, stats, Options{Depth: 5})
				if err != nil || !cmp.Equal(got, want) {
					t.Errorf("got %v, %v; want %v", got, err, want)
				}
			}
		})
	}
	wg.Wait()
}
