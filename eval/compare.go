package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Comparison is what [Compare] finds out about two runs.
type Comparison struct {
	Queries      int     // number of queries compared
	MeanA, MeanB float64 // means of the metric
	Difference   float64 // MeanB - MeanA: above zero, B is better
	// Better, Worse and Equal count the queries where B beats A, is beaten by
	// it, and where they are the same.
	Better, Worse, Equal int
	// P is the probability of a difference of means at least as large, in
	// either direction, if it were chance which of the two runs got which of
	// two scores. Small values (below 0.05, by custom) speak for a real one.
	P float64
}

// randomisations is how many re-labellings Compare draws when there are too many
// to try them all: the standard error of a P of 0.05 is then 0.0007.
const randomisations = 100_000

// Compare tests whether run B differs from run A in one metric, picked from
// each query's row, e.g.
//
//	eval.Compare(a, b, func(m eval.Metrics) float64 { return m.NDCG10 }, 1)
//
// It uses Fisher's paired randomisation test, two-sided, on the difference of
// means (Smucker, Allan and Carterette 2007, doi 10.1145/1321440.1321528). With
// at most 16 queries that differ, every re-labelling is tried and P is exact;
// above that 100,000 are drawn, the same ones for the same seed, and the
// observed one is counted among them (Phipson and Smyth 2010,
// doi 10.2202/1544-6115.1585), so P is never 0.
//
// Both scores must be over the same queries, as [Evaluate] gives them for the
// same judgements; anything else is an error.
func Compare(a, b *Scores, metric func(Metrics) float64, seed uint64) (*Comparison, error) {
	n := len(a.PerQuery)
	if n == 0 || n != len(b.PerQuery) {
		return nil, fmt.Errorf("compare: %d queries against %d", n, len(b.PerQuery))
	}
	c := &Comparison{Queries: n}
	var diffs []float64 // those that are not zero: a zero has no sign to flip
	for i := range n {
		qa, qb := a.PerQuery[i], b.PerQuery[i]
		if qa.Query != qb.Query {
			return nil, fmt.Errorf("compare: query %q against %q", qa.Query, qb.Query)
		}
		va, vb := metric(qa.Metrics), metric(qb.Metrics)
		c.MeanA += va / float64(n)
		c.MeanB += vb / float64(n)
		switch d := vb - va; {
		case d > 0:
			c.Better++
			diffs = append(diffs, d)
		case d < 0:
			c.Worse++
			diffs = append(diffs, d)
		default:
			c.Equal++
		}
	}
	c.Difference = c.MeanB - c.MeanA
	c.P = fisher(diffs, seed)
	return c, nil
}

// fisher returns the two-sided P of the sum of paired differences under random
// signs. Swapping the labels of a pair flips the sign of its difference.
func fisher(diffs []float64, seed uint64) float64 {
	var observed, size float64
	for _, d := range diffs {
		observed += d
		size += math.Abs(d)
	}
	// Equal sums differ in their last digits when added with other signs.
	atLeast := math.Abs(observed) - 1e-12*size

	if n := len(diffs); n <= 16 {
		extreme := 0
		for signs := range uint64(1) << n {
			if math.Abs(signedSum(diffs, []uint64{signs})) >= atLeast {
				extreme++
			}
		}
		return float64(extreme) / float64(uint64(1)<<n)
	}

	rng := rand.New(rand.NewPCG(seed, 0))
	signs := make([]uint64, (len(diffs)+63)/64)
	extreme := 1 // the observed labelling
	for range randomisations {
		for i := range signs {
			signs[i] = rng.Uint64()
		}
		if math.Abs(signedSum(diffs, signs)) >= atLeast {
			extreme++
		}
	}
	return float64(extreme) / (randomisations + 1)
}

// signedSum adds up diffs, those whose bit is set with their sign flipped.
func signedSum(diffs []float64, signs []uint64) float64 {
	var sum float64
	for i, d := range diffs {
		if signs[i/64]>>(i%64)&1 == 1 {
			d = -d
		}
		sum += d
	}
	return sum
}
