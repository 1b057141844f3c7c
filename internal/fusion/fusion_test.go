package fusion_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

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

func TestScaled(t *testing.T) {
	t.Parallel()
	// Text knows the score of 4, which the vectors found and which has one of the words; 5 has none.
	text := fusion.Ranking{Weight: 0.4, Candidates: list{{1, 12}, {2, 9}, {3, 6}, {4, 3}}}
	vector := fusion.Ranking{Weight: 0.6, Candidates: list{{3, 0.8}, {4, 0.7}, {5, 0.65}, {1, 0.6}}}
	// Text gives 1, 3/4, 1/2, 1/4. From 0.6 to 1, the cosines are at 1/2, 1/4, 1/8 and 0.
	want := list{{3, 0.4/2 + 0.6/2}, {1, 0.4}, {2, 0.4 * 3 / 4}, {4, 0.4/4 + 0.6/4}, {5, 0.6 / 8}}
	if d := cmp.Diff(want, fusion.Scaled(text, vector), equal); d != "" {
		t.Error(d)
	}
	// A model whose cosines all lie between 0.7 and 1 gives the same.
	for i, c := range vector.Candidates {
		vector.Candidates[i].Score = 0.7 + 0.3*c.Score
	}
	if d := cmp.Diff(want, fusion.Scaled(text, vector), equal); d != "" {
		t.Error(d)
	}
}

func TestScaledOfLittle(t *testing.T) {
	t.Parallel()
	none := fusion.Ranking{Weight: 0.5}
	text := fusion.Ranking{Weight: 0.5, Candidates: list{{2, 4}, {1, 3}}}
	for _, tt := range []struct {
		name         string
		text, vector fusion.Ranking
		want         list
	}{
		{"nothing", none, none, nil},
		{"no vectors", text, none, list{{2, 0.5}, {1, 0.375}}},
		{"no words", none, fusion.Ranking{Weight: 0.5, Candidates: list{{2, 0.5}, {1, 0}}}, list{{2, 0.25}, {1, 0}}},
		{"one cosine", text, fusion.Ranking{Weight: 0.5, Candidates: list{{1, 0.2}}}, list{{1, 0.875}, {2, 0.5}}},
		{"equal cosines", text, fusion.Ranking{Weight: 0.5, Candidates: list{{2, 1}, {3, 1}}}, list{{2, 1}, {3, 0.5}, {1, 0.375}}},
		{"opposites", none, fusion.Ranking{Weight: 0.5, Candidates: list{{1, 1}, {2, 0}, {3, -1}}}, list{{1, 0.5}, {2, 0.25}, {3, 0}}},
	} {
		if d := cmp.Diff(tt.want, fusion.Scaled(tt.text, tt.vector), equal, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
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
