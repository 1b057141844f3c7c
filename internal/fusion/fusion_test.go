package fusion_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/internal/fusion"
)

type list = []fusion.Candidate

// equal compares to 1e-12, so that the expected numbers may be written as they are computed by hand.
var equal = cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-12 })

func TestMinMax(t *testing.T) {
	t.Parallel()
	text := fusion.Ranking{Weight: 0.25, Candidates: list{{1, 12}, {2, 8}, {3, 4}}}
	vector := fusion.Ranking{Weight: 0.75, Candidates: list{{3, 0.9}, {4, 0.6}, {1, 0.5}}}
	// Text gives 1, 0.5, 0; vectors give 1, 0.25, 0.
	want := list{{3, 0.75}, {1, 0.25}, {4, 0.1875}, {2, 0.125}}
	if d := cmp.Diff(want, fusion.MinMax(text, vector), equal); d != "" {
		t.Error(d)
	}
}

func TestMinMaxOfEqualScores(t *testing.T) {
	t.Parallel()
	same := fusion.Ranking{Weight: 0.5, Candidates: list{{7, 3}, {5, 3}}}
	one := fusion.Ranking{Weight: 0.5, Candidates: list{{9, -2}}}
	want := list{{5, 0.5}, {7, 0.5}, {9, 0.5}}
	if d := cmp.Diff(want, fusion.MinMax(same, one), equal); d != "" {
		t.Error(d)
	}
	if got := fusion.MinMax(); len(got) != 0 {
		t.Errorf("fusing nothing gives %v", got)
	}
	if got := fusion.MinMax(fusion.Ranking{Weight: 1}, fusion.Ranking{Weight: 1}); len(got) != 0 {
		t.Errorf("fusing empty rankings gives %v", got)
	}
}

func TestRRF(t *testing.T) {
	t.Parallel()
	a := fusion.Ranking{Weight: 1, Candidates: list{{1, 9}, {2, 5}, {3, 5}, {4, 1}}}
	b := fusion.Ranking{Weight: 1, Candidates: list{{4, 0.3}, {2, 0.2}}}
	want := list{{2, 1.0/62 + 1.0/62}, {4, 1.0/64 + 1.0/61}, {1, 1.0 / 61}, {3, 1.0 / 62}}
	if d := cmp.Diff(want, fusion.RRF(fusion.RRFConstant, a, b), equal); d != "" {
		t.Error(d)
	}
	b.Weight = 3
	want = list{{4, 1.0/64 + 3.0/61}, {2, 1.0/62 + 3.0/62}, {1, 1.0 / 61}, {3, 1.0 / 62}}
	if d := cmp.Diff(want, fusion.RRF(fusion.RRFConstant, a, b), equal); d != "" {
		t.Error(d)
	}
}
