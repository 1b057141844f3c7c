package eval

import (
	"maps"
	"math"
	"slices"
)

// The functions below take a ranking (distinct document ids, best first) and the
// grades of one query, and return a value between 0 and 1. All of them return 0
// when the query has no relevant document. A cut-off k below 1 sees nothing and
// gives 0; one beyond the end of the ranking sees all of it.

// NDCG returns the normalised discounted cumulative gain of the first k ranks:
// trec_eval's ndcg_cut. The gain of a document is its grade, discounted by
// log2(rank+1); the sum is divided by that of the best possible ranking of all
// judged documents, cut at k as well. (Järvelin and Kekäläinen 2002,
// doi 10.1145/582415.582418; not the variant with gain 2^grade-1.)
func NDCG(ranking []string, grades map[string]int, k int) float64 {
	var ideal []int
	for _, g := range grades {
		if g > 0 {
			ideal = append(ideal, g)
		}
	}
	if len(ideal) == 0 || k < 1 {
		return 0
	}
	slices.SortFunc(ideal, func(a, b int) int { return b - a })

	dcg := func(n int, gain func(i int) int) float64 {
		var sum float64
		for i := range min(n, k) {
			if g := gain(i); g > 0 {
				sum += float64(g) / math.Log2(float64(i)+2)
			}
		}
		return sum
	}
	got := dcg(len(ranking), func(i int) int { return grades[ranking[i]] })
	return got / dcg(len(ideal), func(i int) int { return ideal[i] })
}

// Recall returns the share of all relevant documents that stand in the first k
// ranks: trec_eval's recall.
func Recall(ranking []string, grades map[string]int, k int) float64 {
	all := relevant(grades)
	if all == 0 {
		return 0
	}
	found := 0
	for _, id := range first(ranking, k) {
		if grades[id] > 0 {
			found++
		}
	}
	return float64(found) / float64(all)
}

// AveragePrecision returns the sum of the precisions at the rank of each
// relevant document found, divided by the number of all relevant documents,
// found or not: trec_eval's map, for one query.
func AveragePrecision(ranking []string, grades map[string]int) float64 {
	all := relevant(grades)
	if all == 0 {
		return 0
	}
	found, sum := 0, 0.0
	for i, id := range ranking {
		if grades[id] > 0 {
			found++
			sum += float64(found) / float64(i+1)
		}
	}
	return sum / float64(all)
}

// ReciprocalRank returns 1/rank of the first relevant document, or 0 if it does
// not stand in the first k ranks: trec_eval's recip_rank of a run cut at k.
func ReciprocalRank(ranking []string, grades map[string]int, k int) float64 {
	for i, id := range first(ranking, k) {
		if grades[id] > 0 {
			return 1 / float64(i+1)
		}
	}
	return 0
}

// Success returns 1 if a relevant document stands in the first k ranks, else 0:
// trec_eval's success.
func Success(ranking []string, grades map[string]int, k int) float64 {
	if ReciprocalRank(ranking, grades, k) > 0 {
		return 1
	}
	return 0
}

// Metrics are the five numbers of a report, each between 0 and 1.
type Metrics struct {
	NDCG10    float64 `json:"ndcg@10"`    // quality of the first page: [NDCG] at 10
	Recall100 float64 `json:"recall@100"` // what a reranker could still find: [Recall] at 100
	MAP       float64 `json:"map"`        // the whole list: [AveragePrecision]
	MRR10     float64 `json:"mrr@10"`     // where the first good answer is: [ReciprocalRank] at 10
	Success5  float64 `json:"success@5"`  // whether there is one at a glance: [Success] at 5
}

// QueryMetrics are the metrics of one query.
type QueryMetrics struct {
	Query string
	Metrics
}

// Scores are the metrics of a run.
type Scores struct {
	// Mean is the arithmetic mean over PerQuery.
	Mean Metrics
	// PerQuery has every query with at least one relevant document, by id
	// ascending, whether the run answered it or not.
	PerQuery []QueryMetrics
}

// Evaluate holds a run against judgements. It counts the queries that have at
// least one relevant document: one that the run does not answer scores 0 (as
// with trec_eval -c; leaving it out would reward silence), and queries of the
// run without a relevant document are ignored.
//
// It returns [ErrNothingRelevant] if there is nothing to average over, and an
// error if a list of the run holds a document twice or a score that is not a
// finite number.
func Evaluate(qrels Qrels, run Run) (*Scores, error) {
	s := &Scores{}
	for _, query := range slices.Sorted(maps.Keys(qrels)) {
		grades := qrels[query]
		if relevant(grades) == 0 {
			continue
		}
		if err := run.check(query); err != nil {
			return nil, err
		}
		ranking := Rank(run[query])
		m := Metrics{
			NDCG10:    NDCG(ranking, grades, 10),
			Recall100: Recall(ranking, grades, 100),
			MAP:       AveragePrecision(ranking, grades),
			MRR10:     ReciprocalRank(ranking, grades, 10),
			Success5:  Success(ranking, grades, 5),
		}
		s.PerQuery = append(s.PerQuery, QueryMetrics{Query: query, Metrics: m})
	}
	if len(s.PerQuery) == 0 {
		return nil, ErrNothingRelevant
	}
	s.Mean = mean(s.PerQuery)
	return s, nil
}

func mean(rows []QueryMetrics) Metrics {
	var sum Metrics
	for _, r := range rows {
		sum.NDCG10 += r.NDCG10
		sum.Recall100 += r.Recall100
		sum.MAP += r.MAP
		sum.MRR10 += r.MRR10
		sum.Success5 += r.Success5
	}
	n := float64(len(rows))
	return Metrics{
		NDCG10:    sum.NDCG10 / n,
		Recall100: sum.Recall100 / n,
		MAP:       sum.MAP / n,
		MRR10:     sum.MRR10 / n,
		Success5:  sum.Success5 / n,
	}
}

// relevant counts the relevant documents of a query.
func relevant(grades map[string]int) int {
	n := 0
	for _, g := range grades {
		if g > 0 {
			n++
		}
	}
	return n
}

// first returns at most the first k ids.
func first(ranking []string, k int) []string {
	return ranking[:max(0, min(k, len(ranking)))]
}
