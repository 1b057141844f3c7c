package postings

import (
	"cmp"
	"slices"
)

// Pruning is MaxScore (Turtle, Flood: "Query evaluation: strategies and
// optimizations", IPM 31(6), 1995), a term at a time. Once there are as many
// hits as are asked for, a document must reach the score of the worst of them.
// Terms that are read first are those that may add most, which are the rare
// ones. As soon as the others together cannot lift a document to that score,
// only those already begun can be hits; when these are few, they are looked up
// in the long lists of the common terms, instead of reading the lists.

// slack is for rounding: a bound is a sum of the same shares in another order.
const slack = 1 - 1e-12

// out reports whether a document of at most this score is no hit for certain.
func (s *searcher) out(bound float64) bool { return bound < s.top.threshold*slack }

// bounded is a term that the segment holds.
type bounded struct {
	term  int // its number
	count int
	bound float64 // the most that it adds to the score of a document
	rest  float64 // what the terms after it may add together
	share float64 // what it adds to the document at hand
}

// prune scores the documents of one source that may be among the best, and
// offers them to the top, which must be full. Scores are those of
// [searcher.score] and [searcher.collect], bit for bit.
func (s *searcher) prune(q Query, blocks [][]byte, source *Source) error {
	s.bounds = s.bounds[:0]
	for term, data := range blocks {
		if data == nil {
			continue
		}
		h, _, err := readHeader(data)
		if err != nil {
			return err
		}
		most := s.norms.share(s.weight[term], posting{tf: h.MaxTF, length: h.MinLength})
		s.bounds = append(s.bounds, bounded{term: term, count: h.Count, bound: most})
	}
	slices.SortStableFunc(s.bounds, func(a, b bounded) int { return cmp.Compare(b.bound, a.bound) })
	rest := 0.0
	for i := len(s.bounds) - 1; i >= 0; i-- {
		s.bounds[i].rest = rest
		rest += s.bounds[i].bound
	}
	scored := 0
	for scored < len(s.bounds) && (!s.out(rest) || !s.worthLookingUp(scored, rest)) {
		b := &s.bounds[scored]
		if err := s.score(b.term, blocks[b.term], source); err != nil {
			return err
		}
		rest = b.rest
		scored++
	}
	var pass *gate
	slices.Sort(s.order)
	for _, number := range s.order {
		least := s.least(rest)
		for i, sum := range s.pages[number] {
			if sum < least || sum <= 0 {
				continue
			}
			if pass == nil {
				var err error
				if pass, err = s.gate(q, source); err != nil {
					return err
				}
				if err := s.open(blocks, source); err != nil {
					return err
				}
			}
			ordinal := number<<pageBits + uint64(i)
			if !pass.lets(source.Low + ordinal) {
				continue
			}
			score, err := s.lookUp(ordinal, scored, sum, rest)
			if err != nil {
				return err
			}
			if score >= s.top.threshold {
				s.top.offer(Scored{Ordinal: source.Low + ordinal, Score: score})
			}
		}
	}
	return nil
}

// least returns the sum from which on a document may be a hit if what is not
// scored yet adds so much.
func (s *searcher) least(rest float64) float64 { return s.top.threshold*slack - rest }

// worthLookingUp reports whether it costs clearly less to look up those
// documents that may be hits in the terms that are not scored yet than to read
// these.
func (s *searcher) worthLookingUp(scored int, rest float64) bool {
	candidates, least := 0, s.least(rest)
	for _, number := range s.order {
		for _, sum := range s.pages[number] {
			if sum >= least {
				candidates++
			}
		}
	}
	reading, lookingUp := 0, 0
	for _, b := range s.bounds[scored:] {
		reading += b.count
		lookingUp += min(b.count, candidates*runLength) // a run for each, at the most
	}
	return lookingUp < reading/2
}

// open makes a cursor of each term.
func (s *searcher) open(blocks [][]byte, source *Source) error {
	s.cursors = slices.Grow(s.cursors[:0], len(s.bounds))[:len(s.bounds)]
	for i, b := range s.bounds {
		if err := s.cursors[i].reset(blocks[b.term], source.High-source.Low); err != nil {
			return err
		}
	}
	return nil
}

// lookUp returns the score of a document that has the sum of the scored terms,
// or 0 if it is no hit. Ordinals must ascend from call to call.
func (s *searcher) lookUp(ordinal uint64, scored int, sum, rest float64) (float64, error) {
	find := func(i int) error {
		p, found, err := s.cursors[i].seek(ordinal)
		s.bounds[i].share = 0
		if found {
			s.bounds[i].share = s.norms.share(s.weight[s.bounds[i].term], p)
		}
		return err
	}
	for i := scored; i < len(s.bounds); i++ {
		if s.out(sum + rest) {
			return 0, nil
		}
		if err := find(i); err != nil {
			return 0, err
		}
		sum, rest = sum+s.bounds[i].share, s.bounds[i].rest
	}
	if s.out(sum) {
		return 0, nil
	}
	for i := range scored {
		if err := find(i); err != nil {
			return 0, err
		}
	}
	// The sum that counts is that in the order of the terms.
	s.shares = slices.Grow(s.shares[:0], len(s.weight))[:len(s.weight)]
	clear(s.shares)
	for _, b := range s.bounds {
		s.shares[b.term] = b.share
	}
	sum = 0
	for _, share := range s.shares {
		sum += share
	}
	return sum, nil
}
