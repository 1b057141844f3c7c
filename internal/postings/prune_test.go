package postings

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPruningIsExact searches collections in which some terms are in nearly
// every document and others in a few, for so few hits that most documents are
// never looked at, and compares with Exhaustive, bit for bit.
func TestPruningIsExact(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 11))
			term := func() string { return fmt.Sprint("t", int(r.ExpFloat64()*r.ExpFloat64()*20)) }
			h := &history{Rand: r, dead: new(Set)}
			for range 6 {
				var b Builder
				for range 20 + r.IntN(900) {
					d := Doc{Ordinal: h.next}
					h.next += 1 + uint64(r.IntN(20)/19*r.IntN(3000))
					for position := range 5 + r.IntN(30) {
						d.Tokens = append(d.Tokens, Token{Term: term(), Position: position})
						d.Length++
					}
					if err := b.Add(d); err != nil {
						t.Fatal(err)
					}
					if r.IntN([]int{2, 20, 1000}[seed%3]) == 0 {
						h.dead.Add(d.Ordinal)
					} else {
						h.docs = append(h.docs, d)
					}
				}
				h.segments = append(h.segments, b.Segment())
			}
			for i := range 30 {
				var q Query
				for range 1 + r.IntN(8) {
					q.Terms = append(q.Terms, Weighted{Term: term(), Count: 1 + r.IntN(2)})
				}
				switch i % 5 {
				case 3:
					q.Phrases = []Phrase{{{{Term: "t0"}, {Term: "t1", Offset: 1}}}}
				case 4:
					q.Exclude = []Phrase{{{{Term: "t2"}}}}
				}
				opts := Options{Depth: 1 + r.IntN(12)}
				if i%3 == 0 {
					opts.Allowed = new(Set)
					for _, d := range h.docs {
						if r.IntN(4) == 0 {
							opts.Allowed.Add(d.Ordinal)
						}
					}
				}
				got, err := Search(q, h.sources(t), h.stats(), opts)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(Exhaustive(q, h.docs, opts), got); diff != "" {
					t.Fatalf("query %+v, depth %d (-exhaustive +search):\n%s", q, opts.Depth, diff)
				}
			}
		})
	}
}

// TestSeek looks for ordinals in blocks of every size around that of a run:
// for each from the start, and for many one after the other.
func TestSeek(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{1, 2, 127, 128, 129, 255, 256, 257, 5000} {
		var docs []Doc
		at := map[uint64]bool{}
		ordinal := uint64(0)
		for range n {
			ordinal += 1 + uint64(r.IntN(2)*r.IntN(40))
			at[ordinal] = true
			docs = append(docs, Doc{Ordinal: ordinal, Tokens: []Token{{Term: "a"}}, Length: int(ordinal % 200)})
		}
		s := build(t, docs...)
		for i, doc := range docs {
			if n > 300 && i%runLength > 1 && i%runLength < runLength-2 {
				continue
			}
			var d decoder // which has read nothing yet
			if err := d.reset(s.Blocks[0].Postings, s.High-s.Low); err != nil {
				t.Fatal(err)
			}
			if p, found, err := d.seek(doc.Ordinal - s.Low); err != nil || !found || p.ordinal != doc.Ordinal-s.Low {
				t.Fatalf("%d postings: posting %d: %+v, %v, %v", n, i, p, found, err)
			}
		}
		for range 50 {
			var d decoder
			if err := d.reset(s.Blocks[0].Postings, s.High-s.Low); err != nil {
				t.Fatal(err)
			}
			step := 1 + r.IntN(1+int(ordinal)/(1+r.IntN(50)))
			for o := s.Low; o < s.High+10; o += uint64(r.IntN(step + 1)) {
				p, found, err := d.seek(o - s.Low)
				if err != nil || found != at[o] || found && (p.ordinal != o-s.Low || p.tf != 1 || p.length != uint32(o%200)) {
					t.Fatalf("%d postings: %d: %+v, %v, %v; want %v", n, o, p, found, err, at[o])
				}
				if r.IntN(step+1) == 0 {
					o++
				}
			}
		}
	}
}
