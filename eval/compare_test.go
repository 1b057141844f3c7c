package eval_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/eval"
)

func ndcg(m eval.Metrics) float64 { return m.NDCG10 }

func scores(values ...float64) *eval.Scores {
	s := &eval.Scores{}
	for i, v := range values {
		s.PerQuery = append(s.PerQuery, eval.QueryMetrics{Query: fmt.Sprintf("q%03d", i), Metrics: eval.Metrics{NDCG10: v}})
	}
	return s
}

func TestCompareFewQueries(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a, b *eval.Scores
		want eval.Comparison
	}{
		// All four differences have one sign: of 16 labellings, that one and its
		// mirror are as extreme.
		"one direction": {
			scores(0, 0.1, 0.2, 0.3, 0.5), scores(0.5, 0.6, 0.7, 0.8, 0.5),
			eval.Comparison{Queries: 5, MeanA: 0.22, MeanB: 0.62, Difference: 0.4, Better: 4, Equal: 1, P: 2.0 / 16},
		},
		// Differences 0.3, 0.1, -0.2: sums of the 8 labellings are ±0.6, ±0.4,
		// ±0.2 and 0, 0; six of them are at least 0.2 from zero.
		"both directions": {
			scores(0.2, 0.2, 0.5), scores(0.5, 0.3, 0.3),
			eval.Comparison{Queries: 3, MeanA: 0.3, MeanB: 1.1 / 3, Difference: 0.2 / 3, Better: 2, Worse: 1, P: 6.0 / 8},
		},
		// Sums of four times ±0.1: two of the 16 are ±0.4, eight ±0.2, six 0. In
		// floating point not all that should be 0.2 come to the same.
		"equal sums that round differently": {
			scores(0, 0, 0, 0.1), scores(0.1, 0.1, 0.1, 0),
			eval.Comparison{Queries: 4, MeanA: 0.025, MeanB: 0.075, Difference: 0.05, Better: 3, Worse: 1, P: 10.0 / 16},
		},
		"the same": {
			scores(0.5, 1), scores(0.5, 1),
			eval.Comparison{Queries: 2, MeanA: 0.75, MeanB: 0.75, Equal: 2, P: 1},
		},
	} {
		got, err := eval.Compare(c.a, c.b, ndcg, 1)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(&c.want, got, within); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// With many queries of the same size of difference, the sum of random signs is
// binomial, so the sampled P can be held against the true one.
func TestCompareManyQueries(t *testing.T) {
	t.Parallel()
	const n, better = 100, 60 // differences: 60 times +0.25, 40 times -0.25
	var a, b []float64
	for i := range n {
		a = append(a, 0.5)
		b = append(b, 0.25)
		if i < better {
			b[i] = 0.75
		}
	}
	want := 0.0
	for k := range n + 1 {
		if k >= better || k <= n-better {
			lg := func(x int) float64 { v, _ := math.Lgamma(float64(x + 1)); return v }
			want += math.Exp(lg(n) - lg(k) - lg(n-k) - n*math.Ln2)
		}
	}

	first, err := eval.Compare(scores(a...), scores(b...), ndcg, 7)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(first.P-want) > 0.004 { // five standard errors of 100,000 draws
		t.Errorf("P = %v, want %v", first.P, want)
	}
	again, err := eval.Compare(scores(a...), scores(b...), ndcg, 7)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the same seed gives another result (-first +again):\n%s", diff)
	}
}

// Two runs of the same quality look different in 5 % of trials at the 5 % level,
// not more: else the test would call noise a finding.
func TestCompareKeepsItsLevel(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 3))
	const trials = 400
	alarms := 0
	for range trials {
		var a, b []float64
		for range 12 {
			a, b = append(a, rng.Float64()), append(b, rng.Float64())
		}
		c, err := eval.Compare(scores(a...), scores(b...), ndcg, 1)
		if err != nil {
			t.Fatal(err)
		}
		if c.P <= 0.05 {
			alarms++
		}
	}
	if alarms < 6 || alarms > 40 { // 20 expected; five standard deviations are 22
		t.Errorf("%d alarms in %d trials, want about 20", alarms, trials)
	}
}

func TestCompareIsNeverZero(t *testing.T) {
	t.Parallel()
	c, err := eval.Compare(scores(make([]float64, 80)...), scores(ones(80)...), ndcg, 1)
	if err != nil {
		t.Fatal(err)
	}
	// None of the 100,000 drawn is as extreme; the observed one counts.
	if want := 1.0 / 100_001; c.P != want {
		t.Errorf("P = %v, want %v", c.P, want)
	}
}

func TestCompareRefuses(t *testing.T) {
	t.Parallel()
	other := scores(1)
	other.PerQuery[0].Query = "another"
	for name, c := range map[string]struct{ a, b *eval.Scores }{
		"other number":  {scores(1), scores(1, 1)},
		"other queries": {scores(1), other},
		"nothing":       {scores(), scores()},
	} {
		if got, err := eval.Compare(c.a, c.b, ndcg, 1); err == nil {
			t.Errorf("%s: %+v, want an error", name, got)
		}
	}
}

func ones(n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = 1
	}
	return v
}
