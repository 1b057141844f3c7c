package postings

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestScoresAreThoseOfSearch asks for every ordinal there is, for some of them, and for those that are dead or never were.
func TestScoresAreThoseOfSearch(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(seed)
			scored := 0
			for step := range 40 {
				h.step(t)
				if step%4 != 0 {
					continue
				}
				q := h.query()
				all := make(map[uint64]float64)
				for _, s := range Exhaustive(Query{Terms: q.Terms}, h.docs, Options{}) {
					all[s.Ordinal] = s.Score
				}
				var ordinals []uint64
				var want []float64
				for ordinal := range h.next + 3 {
					if step%8 == 0 || h.IntN(3) == 0 {
						ordinals, want = append(ordinals, ordinal), append(want, all[ordinal])
					}
				}
				got, err := Scores(q, h.sources(t), h.stats(), ordinals)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" && len(want) > 0 {
					t.Fatalf("step %d, query %+v (-exhaustive +scores):\n%s", step, q, diff)
				}
				scored += len(all)
			}
			if scored == 0 {
				t.Error("nothing was scored")
			}
		})
	}
}

// TestScoresPassOverRuns scores documents far apart in blocks of many runs.
func TestScoresPassOverRuns(t *testing.T) {
	t.Parallel()
	var docs []Doc
	length := int64(0)
	for i := range 5000 {
		d := doc(uint64(i), "a", []string{"b", "c", "d"}[i%3])
		docs, length = append(docs, d), length+int64(d.Length)
	}
	sources := []Source{source(t, NewSet(2501), docs[:2500]...), source(t, NewSet(2501), docs[2500:]...)}
	stats := Stats{Documents: 4999, Length: length - 2}
	q := Query{Terms: []Weighted{{"a", 1}, {"c", 3}}}
	hits, err := Search(q, sources, stats, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ordinals := []uint64{0, 1, 1300, 2499, 2500, 2501, 4999, 7000}
	want := make([]float64, len(ordinals))
	for _, h := range hits {
		if i := slices.Index(ordinals, h.Ordinal); i >= 0 {
			want[i] = h.Score
		}
	}
	got, err := Scores(q, sources, stats, ordinals)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" || want[1] == 0 || want[5] != 0 {
		t.Errorf("(-search +scores):\n%s", diff)
	}
}

func TestScoresOfNothing(t *testing.T) {
	t.Parallel()
	sources := []Source{source(t, nil, doc(0, "a"))}
	q := Query{Terms: []Weighted{{"a", 1}}}
	stats := Stats{Documents: 1, Length: 1}
	for name, got := range map[string]func() ([]float64, error){
		"no terms":    func() ([]float64, error) { return Scores(Query{}, sources, stats, []uint64{0}) },
		"no sources":  func() ([]float64, error) { return Scores(q, nil, stats, []uint64{0}) },
		"no such one": func() ([]float64, error) { return Scores(q, sources, stats, []uint64{9}) },
	} {
		if got, err := got(); err != nil || len(got) != 1 || got[0] != 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if got, err := Scores(q, sources, stats, nil); err != nil || len(got) != 0 {
		t.Errorf("no ordinals: %v, %v", got, err)
	}
	if _, err := Scores(q, sources, stats, []uint64{1, 0}); err == nil {
		t.Error("ordinals out of order are no error")
	}
	broken := []Source{{Low: 0, High: 1, Lookup: func(string) (Block, bool, error) { return Block{Postings: []byte{1}}, true, nil }}}
	if _, err := Scores(q, broken, stats, []uint64{0}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a damaged block: %v", err)
	}
}
