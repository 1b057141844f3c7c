package vecscan

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	// blockRows is how many vectors lie in one piece of memory.
	blockRows = 4096
	// shareBytes is how much is to be scanned for a further processor to help: what takes a good 100 µs.
	shareBytes = 2 << 20
	// maxShares is how many processors one scan uses at the most: more than that waits for memory.
	maxShares = 8
	// always is the version that has not come: of what is there still.
	always = math.MaxUint64
	// rowBytes is the memory of a vector beside its code, with its place in the index.
	rowBytes = 8 + 8 + 8 + 8 + 28
)

// Set is a set of quantised vectors in memory, with its recent past. It is safe for concurrent use.
type Set struct {
	dimensions int
	stride     int

	mu      sync.RWMutex
	version uint64 // up to which changes have been applied
	rows    int
	blocks  []*block
	at      map[uint64]int32   // place of an ordinal's first vector, of those that came last
	earlier map[uint64][]int32 // places of those before, for the few ordinals that were removed and came again
}

// block is a run of vectors, column by column.
type block struct {
	codes    []byte
	numbers  [][2]float32 // scale, loss
	ordinals []uint64
	came     []uint64
	went     []uint64
}

// NewSet returns an empty set of vectors of so many dimensions.
func NewSet(dimensions int) *Set {
	return &Set{dimensions: dimensions, stride: Stride(dimensions), at: map[uint64]int32{}}
}

// Version returns the version up to which the set is known.
func (s *Set) Version() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.version
}

// Rows returns how many vectors there are, those that have been removed included.
func (s *Set) Rows() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rows
}

// Bytes returns about how much memory the set takes.
func (s *Set) Bytes() int64 { return Bytes(s.dimensions, int64(s.Rows())) }

// Bytes returns about how much memory so many vectors take.
func Bytes(dimensions int, rows int64) int64 { return rows * int64(Stride(dimensions)+rowBytes) }

// Apply brings the set up to a version, from pages that hold all changes since its present version, oldest first. Changes that it
// knows already are passed over, so two callers may apply the same pages.
func (s *Set) Apply(version uint64, pages []*Page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version <= s.version {
		return
	}
	for _, p := range pages {
		s.apply(p)
	}
	s.version = version
}

// Load takes over the changes of a page, as [Set.Apply] does, but leaves the version as it is: for a set that nobody else has yet, and
// that is to be filled page by page. When all are there, Apply says of which version it is.
func (s *Set) Load(p *Page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apply(p)
}

// apply takes over what of a page comes after the set's version. A vector that comes with the version another one of its ordinal goes
// with comes after it.
func (s *Set) apply(p *Page) {
	removed := p.removed
	for i, e := range p.entries {
		for len(removed) > 0 && removed[0].version <= e.version {
			s.remove(removed[0])
			removed = removed[1:]
		}
		if e.version > s.version {
			s.add(e, p.codes[i*s.stride:(i+1)*s.stride])
		}
	}
	for _, r := range removed {
		s.remove(r)
	}
}

func (s *Set) add(e entry, code []byte) {
	if s.rows%blockRows == 0 {
		s.blocks = append(s.blocks, &block{})
	}
	more := false // of the vectors of an ordinal
	if s.rows > 0 {
		b, i := s.blocks[(s.rows-1)/blockRows], (s.rows-1)%blockRows
		more = b.ordinals[i] == e.ordinal && b.came[i] == e.version
	}
	b := s.blocks[len(s.blocks)-1]
	if len(s.blocks) > 1 && b.codes == nil { // it is likely to be filled
		b.codes = make([]byte, 0, blockRows*s.stride)
	}
	b.codes = append(b.codes, code...)
	b.numbers = append(b.numbers, [2]float32{e.scale, e.lost})
	b.ordinals = append(b.ordinals, e.ordinal)
	b.came = append(b.came, e.version)
	b.went = append(b.went, always)
	if s.rows++; more {
		return
	}
	if place, ok := s.at[e.ordinal]; ok {
		if s.earlier == nil {
			s.earlier = map[uint64][]int32{}
		}
		s.earlier[e.ordinal] = append(s.earlier[e.ordinal], place)
	}
	s.at[e.ordinal] = int32(s.rows - 1)
}

func (s *Set) remove(r removal) {
	if r.version <= s.version {
		return
	}
	place, ok := s.at[r.ordinal]
	if !ok {
		return
	}
	s.vectors(place, func(b *block, i int) {
		if b.came[i] < r.version && b.went[i] == always {
			b.went[i] = r.version
		}
	})
}

// vectors calls each for the vectors of an ordinal that came together, the first of which is at a place.
func (s *Set) vectors(place int32, each func(b *block, i int)) {
	first, at := s.blocks[place/blockRows], int(place%blockRows)
	ordinal, came := first.ordinals[at], first.came[at]
	for n := int(place); n < s.rows; n++ {
		b, i := s.blocks[n/blockRows], n%blockRows
		if b.ordinals[i] != ordinal || b.came[i] != came {
			return
		}
		each(b, i)
	}
}

// Candidates returns the vectors that may be among the k nearest of a version, which the set must know, the most promising first.
// Among, if not nil, are the ordinals of the only ones to look at. K is at least 1.
func (s *Set) Candidates(q *Query, version uint64, k int, among []uint64) []Candidate {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if among != nil {
		return s.among(q, version, k, among)
	}
	shares := min(runtime.GOMAXPROCS(0), maxShares, len(s.blocks), s.rows*s.stride/shareBytes)
	if shares < 2 {
		c := newCollector(q, k)
		for _, b := range s.blocks {
			b.scan(c, version)
		}
		return c.candidates()
	}
	collectors := make([]*collector, shares)
	var next atomic.Int64
	var wg sync.WaitGroup
	for i := range collectors {
		collectors[i] = newCollector(q, k)
		work := func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(s.blocks) {
					return
				}
				s.blocks[n].scan(collectors[i], version)
			}
		}
		if i == shares-1 {
			work()
		} else {
			wg.Go(work)
		}
	}
	wg.Wait()
	collectors[0].merge(collectors[1:])
	return collectors[0].candidates()
}

func (b *block) scan(c *collector, version uint64) {
	c.scan(b.codes, b.numbers, func(i int) (uint64, bool) {
		return b.ordinals[i], b.came[i] <= version && version < b.went[i]
	})
}

// among compares with vectors one by one.
func (s *Set) among(q *Query, version uint64, k int, among []uint64) []Candidate {
	c := newCollector(q, k)
	look := func(place int32) {
		s.vectors(place, func(b *block, i int) {
			if b.came[i] <= version && version < b.went[i] {
				c.scan(b.codes[i*s.stride:(i+1)*s.stride], b.numbers[i:i+1], func(int) (uint64, bool) { return b.ordinals[i], true })
			}
		})
	}
	seen := map[uint64]bool{}
	unique := slices.IsSorted(among) // as they are as a rule
	for n, ordinal := range among {
		if unique {
			if n > 0 && among[n-1] == ordinal {
				continue
			}
		} else if seen[ordinal] {
			continue
		} else {
			seen[ordinal] = true
		}
		if place, ok := s.at[ordinal]; ok {
			look(place)
			for _, place := range s.earlier[ordinal] {
				look(place)
			}
		}
	}
	return c.candidates()
}

// Scan is a search through pages that are not held in memory: from the newest to the oldest, since a page may remove what an older one
// has.
type Scan struct {
	collector *collector
	gone      Removals
	keep      func(ordinal uint64) bool
}

// NewScan begins a search for the k nearest, k being at least 1. Keep, if not nil, tells which ordinals to look at.
func NewScan(q *Query, k int, keep func(ordinal uint64) bool) *Scan {
	return &Scan{collector: newCollector(q, k), keep: keep}
}

// Page searches the next page.
func (s *Scan) Page(p *Page) {
	s.gone.Add(p)
	numbers := make([][2]float32, len(p.entries))
	for i, e := range p.entries {
		numbers[i] = [2]float32{e.scale, e.lost}
	}
	s.collector.scan(p.codes, numbers, func(i int) (uint64, bool) {
		e := p.entries[i]
		return e.ordinal, !s.gone.has(e) && (s.keep == nil || s.keep(e.ordinal))
	})
}

// Candidates returns the vectors that may be among the k nearest, the most promising first.
func (s *Scan) Candidates() []Candidate { return s.collector.candidates() }
