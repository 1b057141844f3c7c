package equality

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
)

// How far scores may lie apart: those of words are computed from whole numbers, those of vectors from what the stores keep.
const (
	textGap   = 1e-9
	vectorGap = 1e-5
)

func gapOf(o llmemory.SearchOptions) float64 {
	if o.Mode == llmemory.ByText {
		return textGap
	}
	return vectorGap
}

// search asks both sides and compares the answers: scores up to the gap, the order where scores differ by more, and all else exactly.
func (r *run) search(t *testing.T, owner, query string, opts llmemory.SearchOptions) {
	t.Helper()
	r.note("Search(%s, %q, %+v)", owner, query, opts)
	type rest struct {
		Degraded    []string
		Explanation *llmemory.Explanation
		Hits        int
	}
	var hits [2][]llmemory.Hit
	both(t, r, func(i int, s *side) (out rest, err error) {
		found, err := s.memory.Owner(owner).Search(t.Context(), query, &opts)
		if err != nil {
			return out, err
		}
		hits[i] = found.Hits
		out = rest{found.Degraded, found.Explanation, len(found.Hits)}
		if e := out.Explanation; e != nil {
			// Of passages that are equally near, which are among the nearest is nobody's promise, nor which of them exclusions meet.
			e.Plan, e.Stages, e.Generation, e.Nearest = "", nil, 0, 0
		}
		return out, nil
	})
	if t.Failed() {
		return
	}
	r.did[string(opts.Mode)+" hits"] += len(hits[0])
	if fault := compare(hits, gapOf(opts)); fault != "" && !r.tied(t, owner, query, opts, hits) {
		t.Errorf("%s and %s: %s", r.sides[0].name, r.sides[1].name, fault)
	}
}

// tied tells whether a fusion of places may differ as hits do: only passages differ whose place among the vectors is left open, as others
// are equally near up to the gap. A store may order those either way, and another way the next time.
func (r *run) tied(t *testing.T, owner, query string, opts llmemory.SearchOptions, hits [2][]llmemory.Hit) bool {
	t.Helper()
	if opts.Mode != llmemory.Hybrid || opts.Fusion != llmemory.RRF && opts.Fusion != llmemory.WeightedRRF {
		return false
	}
	gap := gapOf(opts)
	opts = llmemory.SearchOptions{Where: opts.Where, Mode: llmemory.ByVector, Limit: 1000}
	var nearest [2][]llmemory.Hit
	open := map[string]bool{}
	for i, s := range r.sides {
		found, err := s.memory.Owner(owner).Search(t.Context(), query, &opts)
		if err != nil {
			t.Fatal(err)
		}
		nearest[i] = found.Hits
		for k := 1; k < len(found.Hits); k++ {
			if a, b := found.Hits[k-1], found.Hits[k]; a.Score-b.Score <= vectorGap {
				open[a.ID], open[b.ID] = true, true
			}
		}
	}
	if len(nearest[0]) != len(nearest[1]) || compare(nearest, vectorGap) != "" {
		return false
	}
	var settled [2][]llmemory.Hit
	for i, list := range hits {
		settled[i] = slices.DeleteFunc(slices.Clone(list), func(h llmemory.Hit) bool { return open[h.ID] })
	}
	n := min(len(settled[0]), len(settled[1])) // an open passage may have taken the last place
	if n == len(hits[0]) || compare([2][]llmemory.Hit{settled[0][:n], settled[1][:n]}, gap) != "" {
		return false
	}
	r.did["ties that move places"]++
	return true
}

// compare returns how two answers of the same length differ, "" if they do not.
func compare(hits [2][]llmemory.Hit, gap float64) string {
	near := func(a, b float64) bool { return math.Abs(a-b) <= gap }
	var at [2]map[string]int
	for side, list := range hits {
		at[side] = map[string]int{}
		for i, h := range list {
			at[side][h.ID] = i
			if i > 0 && h.Score > list[i-1].Score {
				return fmt.Sprintf("hit %d is better than the one before it", i)
			}
		}
	}
	for i, a := range hits[0] {
		b := hits[1][i]
		if !near(a.Score, b.Score) {
			return fmt.Sprintf("hit %d has the scores %.12f and %.12f:\n%s\n%s", i, a.Score, b.Score, outline(a), outline(b))
		}
		// Another passage may stand in this place only if it is as good.
		for side, h := range []llmemory.Hit{a, b} {
			j, found := at[1-side][h.ID]
			switch last := hits[0][len(hits[0])-1]; {
			case found && !near(hits[1-side][j].Score, h.Score):
				return fmt.Sprintf("%q has the scores %.12f and %.12f", h.ID, h.Score, hits[1-side][j].Score)
			case !found && !near(h.Score, last.Score):
				return fmt.Sprintf("%q, hit %d of one side, is none of the other:\n%s", h.ID, i, outline(h))
			}
		}
		if j, found := at[1][a.ID]; found {
			if diff := gocmp.Diff(flat(a), flat(hits[1][j]), same, approximately(gap)); diff != "" {
				return fmt.Sprintf("hit %d:\n%s", i, diff)
			}
		}
	}
	return ""
}

func outline(h llmemory.Hit) string {
	return fmt.Sprintf("%s of %s, %.60q: %s", h.ID, h.Document.Key, h.Text, scores(h))
}

func scores(h llmemory.Hit) string {
	show := func(f *float64) string {
		if f == nil {
			return "none"
		}
		return fmt.Sprintf("%.12f", *f)
	}
	return fmt.Sprintf("%.12f (text %s, vector %s, fused %s)", h.Score, show(h.Scores.Text), show(h.Scores.Vector), show(h.Scores.Fused))
}

// flat is a hit without pointers to what may be shared.
func flat(h llmemory.Hit) llmemory.Hit {
	slices.SortFunc(h.Highlights, func(a, b llmemory.Span) int { return cmp.Or(a.Start-b.Start, a.End-b.End) })
	return h
}

func approximately(gap float64) gocmp.Option {
	return gocmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= gap || a == b })
}
