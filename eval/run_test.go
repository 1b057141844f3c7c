package eval_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/eval"
)

func TestSettleTies(t *testing.T) {
	t.Parallel()
	place := map[string]int{"z": 0, "m": 1, "a": 2, "best": 3, "last": 4}
	in := []eval.Result{{ID: "a", Score: 2}, {ID: "last", Score: 1}, {ID: "m", Score: 2}, {ID: "best", Score: 3}, {ID: "z", Score: 2}}
	got := eval.SettleTies(in, func(id string) int { return place[id] })
	if diff := cmp.Diff([]string{"best", "z", "m", "a", "last"}, eval.Rank(got)); diff != "" {
		t.Errorf("ranking (-want +got):\n%s", diff)
	}
	for i := 1; i < len(got); i++ {
		if got[i].Score >= got[i-1].Score {
			t.Errorf("score %d is %v after %v: still a tie", i, got[i].Score, got[i-1].Score)
		}
	}
	if in[0].ID != "a" || in[0].Score != 2 {
		t.Error("the argument was changed")
	}
	// Lowering must not push a document below one that was really worse.
	for _, r := range got {
		if want := map[string]float64{"best": 3, "z": 2, "m": 2, "a": 2, "last": 1}[r.ID]; want-r.Score > 1e-12 || r.Score > want {
			t.Errorf("%s has the score %v, was %v", r.ID, r.Score, want)
		}
	}
}
