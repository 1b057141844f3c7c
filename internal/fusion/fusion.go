// Package fusion makes one ranking of several.
//
// Each ranking is a list of candidates with scores of a scale of its own, best first. A candidate that a ranking does not have
// counts as its worst.
package fusion

import (
	"cmp"
	"math"
	"slices"
)

// Candidate is what a ranking ranks.
type Candidate struct {
	ID    uint64
	Score float64
}

// Ranking is a list of candidates, each once, with the weight that its opinion has.
type Ranking struct {
	Weight     float64
	Candidates []Candidate
}

// MinMax is the weighted sum of scores that are brought to the range from 0 to 1 within their ranking:
//
//	fused = Σ weight · (score − min) / (max − min)
//
// A ranking whose scores are all equal gives 1 to each. This is Pyserini's normalised interpolation (Lin et al., "Pyserini",
// SIGIR 2021; Bruch, Gai, Ingber: "An Analysis of Fusion Functions for Hybrid Retrieval", TOIS 2023, there "TM2C2" with the
// observed instead of the theoretical minimum).
func MinMax(rankings ...Ranking) []Candidate {
	return fuse(rankings, func(r Ranking) func(i int) float64 {
		low, high := math.Inf(1), math.Inf(-1)
		for _, c := range r.Candidates {
			low, high = min(low, c.Score), max(high, c.Score)
		}
		return func(i int) float64 {
			if high == low {
				return r.Weight
			}
			return r.Weight * (r.Candidates[i].Score - low) / (high - low)
		}
	})
}

// RRFConstant is the k of [RRF] in the paper.
const RRFConstant = 60

// RRF is weighted reciprocal rank fusion:
//
//	fused = Σ weight / (k + rank)
//
// Ranks begin at 1; candidates of equal score share the best rank of theirs. With weights of 1 it is the form of Cormack,
// Clarke, Büttcher: "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods", SIGIR 2009.
func RRF(k float64, rankings ...Ranking) []Candidate {
	return fuse(rankings, func(r Ranking) func(i int) float64 {
		rank := 0
		return func(i int) float64 {
			if i == 0 || r.Candidates[i].Score != r.Candidates[i-1].Score {
				rank = i + 1
			}
			return r.Weight / (k + float64(rank))
		}
	})
}

// fuse sums what each ranking gives its candidates, in the order of the rankings, and sorts: best first, ties by id.
func fuse(rankings []Ranking, give func(Ranking) func(i int) float64) []Candidate {
	at := map[uint64]int{}
	var out []Candidate
	for _, r := range rankings {
		share := give(r)
		for i, c := range r.Candidates {
			n, ok := at[c.ID]
			if !ok {
				n = len(out)
				at[c.ID] = n
				out = append(out, Candidate{ID: c.ID})
			}
			out[n].Score += share(i)
		}
	}
	slices.SortFunc(out, func(a, b Candidate) int {
		if c := cmp.Compare(b.Score, a.Score); c != 0 {
			return c
		}
		return cmp.Compare(a.ID, b.ID)
	})
	return out
}
