package postings

import (
	"fmt"
	"slices"
)

// Conditions returns the living documents that hold all phrases of a query and
// none that it excludes, nil if it has no phrases, and those that hold an
// excluded one; the dead may be among these. It is for hits that are found by
// other means than words. The sources' Lookup must have what [Query.Lookups]
// names.
func Conditions(q Query, sources []Source) (required, excluded *Set, err error) {
	excluded = new(Set)
	if len(q.Phrases) > 0 {
		required = new(Set)
	}
	s := searchers.Get().(*searcher)
	defer s.end()
	for i := range sources {
		source := &sources[i]
		all, none, err := s.phrases(q, source)
		if err != nil {
			return nil, nil, fmt.Errorf("segment %d-%d: %w", source.Low, source.High, err)
		}
		for ordinal := range none.All() {
			excluded.Add(ordinal)
		}
		if len(all) == 0 {
			continue
		}
		for ordinal := range all[0].All() {
			barred := source.Dead.Contains(ordinal) || none.Contains(ordinal)
			if !barred && !slices.ContainsFunc(all[1:], func(set *Set) bool { return !set.Contains(ordinal) }) {
				required.Add(ordinal)
			}
		}
	}
	return required, excluded, nil
}

// phrases finds the documents of a source that hold each required phrase, and
// those that hold an excluded one.
func (s *searcher) phrases(q Query, source *Source) (required []*Set, excluded *Set, err error) {
	for _, p := range q.Phrases {
		found := new(Set)
		if err := s.phrase(p, source, found); err != nil {
			return nil, nil, err
		}
		required = append(required, found)
	}
	excluded = new(Set)
	for _, p := range q.Exclude {
		if err := s.phrase(p, source, excluded); err != nil {
			return nil, nil, err
		}
	}
	return required, excluded, nil
}

// phrase adds the documents that hold any variant of the phrase.
func (s *searcher) phrase(p Phrase, source *Source, found *Set) error {
	for _, v := range p {
		if err := s.variant(v, source, found); err != nil {
			return fmt.Errorf("phrase: %w", err)
		}
	}
	return nil
}

// A place is a document and the positions in it at which a phrase may begin.
type place struct {
	ordinal uint64
	starts  []int64
}

// variant adds the documents that hold the terms of the variant at their
// distances. It narrows a list of documents and starting points term by term,
// rarest first.
func (s *searcher) variant(v Variant, source *Source, found *Set) error {
	if len(v) == 0 {
		return nil
	}
	type located struct {
		Block
		offset int64
		count  int
	}
	terms := make([]located, 0, len(v))
	for _, t := range v {
		b, ok, err := source.Lookup(t.Term)
		if err != nil || !ok {
			return err
		}
		h, err := b.Header()
		if err != nil {
			return err
		}
		terms = append(terms, located{Block: b, offset: int64(t.Offset), count: h.Count})
	}
	if len(terms) == 1 {
		return s.eachPosting(terms[0].Postings, source, func(p posting) error {
			found.Add(source.Low + p.ordinal)
			return nil
		})
	}
	slices.SortStableFunc(terms, func(a, b located) int { return a.count - b.count })

	var places []place
	var buffer []uint32
	for i, t := range terms {
		var narrowed []place
		candidates, positions := places, t.Positions
		err := s.eachPosting(t.Postings, source, func(p posting) error {
			for i > 0 && len(candidates) > 0 && candidates[0].ordinal < p.ordinal {
				candidates = candidates[1:]
			}
			if i > 0 && (len(candidates) == 0 || candidates[0].ordinal != p.ordinal) {
				var err error
				positions, err = skipPositions(positions, p.tf)
				return err
			}
			var err error
			if buffer, positions, err = readPositions(buffer[:0], positions, p.tf); err != nil {
				return err
			}
			var starts []int64
			for _, at := range buffer {
				start := int64(at) - t.offset
				if i == 0 {
					starts = append(starts, start)
				} else if _, ok := slices.BinarySearch(candidates[0].starts, start); ok {
					starts = append(starts, start)
				}
			}
			if len(starts) > 0 {
				narrowed = append(narrowed, place{ordinal: p.ordinal, starts: starts})
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("term %q: %w", t.Term, err)
		}
		if places = narrowed; len(places) == 0 {
			return nil
		}
	}
	for _, p := range places {
		found.Add(source.Low + p.ordinal)
	}
	return nil
}

// eachPosting calls visit for every posting of a block, dead ones included.
func (s *searcher) eachPosting(data []byte, source *Source, visit func(posting) error) error {
	if err := s.dec.reset(data, source.High-source.Low); err != nil {
		return err
	}
	for {
		batch, err := s.dec.read()
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			return nil
		}
		for _, p := range batch {
			if err := visit(p); err != nil {
				return err
			}
		}
	}
}
