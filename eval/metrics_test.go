package eval_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/eval"
)

// Numbers a reader can check by hand.
func TestMetricsByHand(t *testing.T) {
	t.Parallel()
	grades := map[string]int{"best": 2, "good": 1, "missed": 1, "bad": 0}
	ranking := []string{"bad", "best", "unjudged", "good"}

	dcg := 2/math.Log2(3) + 1/math.Log2(5)
	ideal := 2 + 1/math.Log2(3) + 1/math.Log2(4)
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"NDCG@10", eval.NDCG(ranking, grades, 10), dcg / ideal},
		{"NDCG@2", eval.NDCG(ranking, grades, 2), (2 / math.Log2(3)) / (2 + 1/math.Log2(3))},
		{"NDCG@0", eval.NDCG(ranking, grades, 0), 0},
		{"Recall@100", eval.Recall(ranking, grades, 100), 2.0 / 3},
		{"Recall@3", eval.Recall(ranking, grades, 3), 1.0 / 3},
		{"Recall@-1", eval.Recall(ranking, grades, -1), 0},
		{"AveragePrecision", eval.AveragePrecision(ranking, grades), (1.0/2 + 2.0/4) / 3},
		{"ReciprocalRank@10", eval.ReciprocalRank(ranking, grades, 10), 1.0 / 2},
		{"ReciprocalRank@1", eval.ReciprocalRank(ranking, grades, 1), 0},
		{"Success@2", eval.Success(ranking, grades, 2), 1},
		{"Success@1", eval.Success(ranking, grades, 1), 0},
	} {
		if math.Abs(c.got-c.want) > 1e-12 {
			t.Errorf("%s = %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestMetricsWithoutAnythingRelevant(t *testing.T) {
	t.Parallel()
	grades := map[string]int{"a": 0, "b": -1}
	ranking := []string{"a", "b", "c"}
	got := []float64{
		eval.NDCG(ranking, grades, 10), eval.Recall(ranking, grades, 10), eval.AveragePrecision(ranking, grades),
		eval.ReciprocalRank(ranking, grades, 10), eval.Success(ranking, grades, 10),
	}
	if diff := cmp.Diff(make([]float64, 5), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRank(t *testing.T) {
	t.Parallel()
	results := []eval.Result{{"b", 1}, {"c", 1}, {"low", -2}, {"a", 1}, {"top", 7.5}}
	before := append([]eval.Result(nil), results...)
	if diff := cmp.Diff([]string{"top", "c", "b", "a", "low"}, eval.Rank(results)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, results); diff != "" {
		t.Errorf("the argument changed (-want +got):\n%s", diff)
	}
}

func TestBestPassages(t *testing.T) {
	t.Parallel()
	got := eval.BestPassages([]eval.Result{{"d1", 0.5}, {"d2", 0.4}, {"d1", 0.9}, {"d3", -1}, {"d2", 0.1}, {"d3", -3}})
	want := []eval.Result{{"d1", 0.9}, {"d2", 0.4}, {"d3", -1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEvaluateRefuses(t *testing.T) {
	t.Parallel()
	one := eval.Qrels{"q": {"d": 1}}
	for name, c := range map[string]struct {
		qrels eval.Qrels
		run   eval.Run
		want  string
	}{
		"a document twice": {one, eval.Run{"q": {{"d", 1}, {"e", 2}, {"d", 3}}}, `query "q": document "d" is listed twice`},
		"NaN":              {one, eval.Run{"q": {{"d", math.NaN()}}}, `query "q": document "d" has the score NaN`},
		"infinity":         {one, eval.Run{"q": {{"d", math.Inf(-1)}}}, `query "q": document "d" has the score -Inf`},
		"no judgements":    {nil, eval.Run{"q": {{"d", 1}}}, "no query has a relevant document"},
		"only grade zero":  {eval.Qrels{"q": {"d": 0}}, eval.Run{"q": {{"d", 1}}}, "no query has a relevant document"},
	} {
		_, err := eval.Evaluate(c.qrels, c.run)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	if _, err := eval.Evaluate(nil, nil); !errors.Is(err, eval.ErrNothingRelevant) {
		t.Errorf("error %v, want ErrNothingRelevant", err)
	}
}
