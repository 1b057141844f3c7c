package postings

import (
	"fmt"
	"math/rand/v2"
	"slices"
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
