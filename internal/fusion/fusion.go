// Package fusion makes one ranking of several.
//
// Each ranking is a list of candidates with scores of a scale of its own, best first where ranks count. A candidate that a ranking
// does not have counts as its worst.
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
	shares := make([]func(i int) float64, len(rankings))
	for n, r := range rankings {
		low, high := r.bounds()
		shares[n] = r.between(low, high)
	}
	return fuse(rankings, shares...)
}

// Scaled is the weighted sum of BM25 scores, as shares of the best one, and of cosines, on the scale from the least one to 1:
//
//	fused = text.Weight · bm25 / max(bm25) + vector.Weight · (cosine − min(cosine)) / (1 − min(cosine))
//
// Text should have the BM25 scores of what the vector ranking found as well: nothing then counts as having none of the words only
// because others fill the ranking. What the vector ranking does not have is no nearer than the last that it has, and counts as
// that. If all cosines are equal, each counts as 1.
//
// Of the two bounds of either scale one is known, the least BM25 score and the greatest cosine; only the other is looked for among
// the candidates. For text this is the theoretical minimum of Bruch, Gai, Ingber: "An Analysis of Fusion Functions for Hybrid
// Retrieval", TOIS 2023 (there "TMM"); of cosines it is the maximum, because what the least ones are is a matter of the model. So
// where the nearest passages are not near, the best of them does not count as much as the best by words, which [MinMax] makes of it.
func Scaled(text, vector Ranking) []Candidate {
	_, best := text.bounds()
	least, nearest := vector.bounds()
	most := 1.0
	if least == nearest {
		most = least
	}
	return fuse([]Ranking{text, vector}, text.between(0, best), vector.between(least, most))
}

// bounds returns the least and the greatest score, infinite ones if there is none.
func (r Ranking) bounds() (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, c := range r.Candidates {
		low, high = min(low, c.Score), max(high, c.Score)
	}
	return low, high
}

// between returns what each candidate's score is on the scale from low to high, times the weight; all of it if there is no scale.
func (r Ranking) between(low, high float64) func(i int) float64 {
	return func(i int) float64 {
		if high == low {
			return r.Weight
		}
		return r.Weight * (r.Candidates[i].Score - low) / (high - low)
	}
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
	shares := make([]func(i int) float64, len(rankings))
	for n, r := range rankings {
		rank := 0
		shares[n] = func(i int) float64 {
			if i == 0 || r.Candidates[i].Score != r.Candidates[i-1].Score {
				rank = i + 1
			}
			return r.Weight / (k + float64(rank))
		}
	}
	return fuse(rankings, shares...)
}

// fuse sums the shares that each ranking gives its candidates, in the order of the rankings, and sorts: best first, ties by id.
func fuse(rankings []Ranking, shares ...func(i int) float64) []Candidate {
	at := map[uint64]int{}
	var out []Candidate
	for turn, r := range rankings {
		for i, c := range r.Candidates {
			n, ok := at[c.ID]
			if !ok {
				n = len(out)
				at[c.ID] = n
				out = append(out, Candidate{ID: c.ID})
			}
			out[n].Score += shares[turn](i)
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
