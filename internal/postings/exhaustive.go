package postings

import (
	"math"
	"sort"
)

// Exhaustive answers a query by reading every document, from the words of the
// definition and nothing else: it is what [Search] is tested and measured
// against. It shares no code with Search.
func Exhaustive(q Query, docs []Doc, opts Options) []Scored {
	counts := make(map[string]int)
	for _, t := range q.Terms {
		counts[t.Term] += t.Count
	}
	var terms []string
	for term, n := range counts {
		if n > 0 {
			terms = append(terms, term)
		}
	}
	sort.Strings(terms)

	frequency := make([]map[string]int, len(docs))
	containing := make(map[string]int)
	total := 0
	for i, d := range docs {
		frequency[i] = make(map[string]int)
		for _, t := range d.Tokens {
			frequency[i][t.Term]++
		}
		for term := range frequency[i] {
			containing[term]++
		}
		total += d.Length
	}
	average := 1.0
	if total > 0 {
		average = float64(total) / float64(len(docs))
	}

	var hits []Scored
	for i, d := range docs {
		score := 0.0
		for _, term := range terms {
			tf, df := float64(frequency[i][term]), float64(containing[term])
			if tf == 0 {
				continue
			}
			idf := math.Log(1 + (float64(len(docs))-df+0.5)/(df+0.5))
			long := float64(0.75*float64(d.Length)) / average
			norm := float64(1.2 * (0.25 + long))
			score += float64(counts[term]) * idf * tf / (tf + norm)
		}
		if score == 0 || opts.Allowed != nil && !opts.Allowed.Contains(d.Ordinal) || !satisfies(q, d) {
			continue
		}
		hits = append(hits, Scored{Ordinal: d.Ordinal, Score: score})
	}
	sort.Slice(hits, func(i, j int) bool {
		if hits[i].Score != hits[j].Score {
			return hits[i].Score > hits[j].Score
		}
		return hits[i].Ordinal < hits[j].Ordinal
	})
	if opts.Depth > 0 && len(hits) > opts.Depth {
		n := opts.Depth
		for n < len(hits) && hits[n].Score == hits[opts.Depth-1].Score {
			n++
		}
		hits = hits[:n]
	}
	return hits
}

func satisfies(q Query, d Doc) bool {
	for _, p := range q.Phrases {
		if !holds(p, d) {
			return false
		}
	}
	for _, p := range q.Exclude {
		if holds(p, d) {
			return false
		}
	}
	return true
}

// holds tries every position of the document for every variant.
func holds(p Phrase, d Doc) bool {
	at := make(map[Token]bool)
	last := 0
	for _, t := range d.Tokens {
		at[t] = true
		last = max(last, t.Position)
	}
	for _, v := range p {
		if len(v) == 0 {
			continue
		}
		// A variant may begin before the document by what its gaps take.
		for start := -last; start <= last; start++ {
			all := true
			for _, t := range v {
				all = all && at[Token{Term: t.Term, Position: start + t.Offset}]
			}
			if all {
				return true
			}
		}
		if len(v) == 1 {
			for t := range at {
				if t.Term == v[0].Term {
					return true
				}
			}
		}
	}
	return false
}
