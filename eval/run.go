package eval

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrNothingRelevant is returned when no query has a relevant document, so that
// there is nothing to average over.
var ErrNothingRelevant = errors.New("no query has a relevant document")

// Qrels are relevance judgements: query id → document id → grade. A grade above
// zero means relevant, and a higher one more so. A document judged at zero or
// below is not relevant, exactly like one that was never judged.
type Qrels map[string]map[string]int

// Result is one answer of a search: a document and how well it matched. Higher
// scores are better; the scale does not matter.
type Result struct {
	ID    string
	Score float64
}

// Run is what a search answered: query id → results, in any order.
type Run map[string][]Result

// Rank returns the ids of results from best to worst: score descending, then id
// descending, byte by byte. This is trec_eval's rule, which likewise looks at
// scores alone and never at the order of the list; so a run gets the same
// numbers from either. (trec_eval compares scores in single precision: scores
// that differ only beyond their seventh digit are ties there and not here.)
// Rank leaves results as they are.
func Rank(results []Result) []string {
	sorted := slices.Clone(results)
	slices.SortFunc(sorted, func(a, b Result) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(b.ID, a.ID))
	})
	ids := make([]string, len(sorted))
	for i, r := range sorted {
		ids[i] = r.ID
	}
	return ids
}

// BestPassages turns a list of passages, each under the id of its document, into
// a list of documents: a document's score is that of its best passage ("MaxP",
// Dai and Callan 2019, doi 10.1145/3331184.3331303). Documents come in the order
// in which their first passage came.
func BestPassages(passages []Result) []Result {
	at := make(map[string]int, len(passages))
	var docs []Result
	for _, p := range passages {
		i, seen := at[p.ID]
		if !seen {
			at[p.ID] = len(docs)
			docs = append(docs, p)
			continue
		}
		docs[i].Score = max(docs[i].Score, p.Score)
	}
	return docs
}

// SettleTies returns the results, best first, with equal scores told apart: of
// documents that a search cannot tell apart, the one with the lower place counts
// as better, and scores that follow are lowered by the least amount that keeps
// the order. With the place in the corpus it is how Lucene breaks ties, and how
// Anserini makes published baselines independent of trec_eval's rule, which
// prefers the greater id (its ScoreTiesAdjuster). Collections with repeated
// documents, of which only one was judged, would be measured by that accident.
func SettleTies(results []Result, place func(id string) int) []Result {
	sorted := slices.Clone(results)
	slices.SortStableFunc(sorted, func(a, b Result) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(place(a.ID), place(b.ID)))
	})
	for i := 1; i < len(sorted); i++ {
		if sorted[i].Score >= sorted[i-1].Score {
			sorted[i].Score = math.Nextafter(sorted[i-1].Score, math.Inf(-1))
		}
	}
	return sorted
}

// check refuses lists that have no meaning: a document twice (which would count
// twice, and usually shows a fault in the indexing) or a score that cannot be
// compared.
func (r Run) check(query string) error {
	seen := make(map[string]bool, len(r[query]))
	for _, res := range r[query] {
		if math.IsNaN(res.Score) || math.IsInf(res.Score, 0) {
			return fmt.Errorf("run: query %q: document %q has the score %v", query, res.ID, res.Score)
		}
		if seen[res.ID] {
			return fmt.Errorf("run: query %q: document %q is listed twice", query, res.ID)
		}
		seen[res.ID] = true
	}
	return nil
}
