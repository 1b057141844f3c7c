package postings

import (
	"fmt"
	"slices"
)

// Scores returns the scores of documents that another ranking has found, in
// the order of their ordinals, which must ascend: bit for bit what [Search]
// gives them, and 0 where there is nothing to score. What phrases and
// exclusions say of a document does not count. Only those runs of the blocks
// are read that the ordinals lie in.
func Scores(q Query, sources []Source, stats Stats, ordinals []uint64) ([]float64, error) {
	if !slices.IsSorted(ordinals) {
		return nil, fmt.Errorf("postings: ordinals to score are out of order")
	}
	out := make([]float64, len(ordinals))
	terms := mergeTerms(q.Terms)
	if len(terms) == 0 || len(sources) == 0 || len(ordinals) == 0 {
		return out, nil
	}
	s := searchers.Get().(*searcher)
	defer s.end()
	s.begin(stats, Options{})
	if err := s.find(terms, sources, stats); err != nil {
		return nil, err
	}
	for i := range sources {
		source := &sources[i]
		from, _ := slices.BinarySearch(ordinals, source.Low)
		to, _ := slices.BinarySearch(ordinals, source.High)
		blocks := s.blocks[i*len(terms) : (i+1)*len(terms)]
		if err := s.scores(blocks, source, ordinals[from:to], out[from:to]); err != nil {
			return nil, fmt.Errorf("segment %d-%d: %w", source.Low, source.High, err)
		}
	}
	return out, nil
}

// scores adds up the shares of the living among the ordinals of one source, in
// the order of the terms.
func (s *searcher) scores(blocks [][]byte, source *Source, ordinals []uint64, out []float64) error {
	if len(ordinals) == 0 {
		return nil
	}
	for term, data := range blocks {
		if data == nil {
			continue
		}
		if err := s.dec.reset(data, source.High-source.Low); err != nil {
			return err
		}
		for i, ordinal := range ordinals {
			p, found, err := s.dec.seek(ordinal - source.Low)
			if err != nil {
				return err
			}
			if found && !source.Dead.Contains(ordinal) {
				out[i] += s.norms.share(s.weight[term], p)
			}
		}
	}
	return nil
}
