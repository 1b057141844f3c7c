package postings

import (
	"encoding/binary"
	"iter"
	"maps"
	"math"
	"math/bits"
	"slices"
)

// A Set is a set of ordinals: the dead of an owner, or those a filter allows.
// A nil or zero Set is empty. A Set may be read by many, or changed by one.
type Set struct {
	pages map[uint64]*page
	n     int
}

const (
	pageBits = 10
	pageSize = 1 << pageBits
)

// A page holds the bits of pageSize consecutive ordinals.
type page [pageSize / 64]uint64

func (p *page) has(i uint64) bool { return p[i%pageSize/64]>>(i%64)&1 != 0 }

// NewSet returns the set of the given ordinals.
func NewSet(ordinals ...uint64) *Set {
	s := new(Set)
	for _, o := range ordinals {
		s.Add(o)
	}
	return s
}

// Add puts an ordinal into the set and reports whether it was not in it.
func (s *Set) Add(ordinal uint64) bool {
	if s.pages == nil {
		s.pages = make(map[uint64]*page)
	}
	p := s.pages[ordinal>>pageBits]
	if p == nil {
		p = new(page)
		s.pages[ordinal>>pageBits] = p
	}
	if p.has(ordinal) {
		return false
	}
	p[ordinal%pageSize/64] |= 1 << (ordinal % 64)
	s.n++
	return true
}

// Contains reports whether the ordinal is in the set.
func (s *Set) Contains(ordinal uint64) bool {
	p := s.page(ordinal >> pageBits)
	return p != nil && p.has(ordinal)
}

// Len is the number of ordinals in the set.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return s.n
}

// All yields the ordinals in ascending order.
func (s *Set) All() iter.Seq[uint64] { return s.Range(0, math.MaxUint64) }

// Range yields the ordinals from low to high-1 in ascending order.
func (s *Set) Range(low, high uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		if s == nil {
			return
		}
		for _, number := range slices.Sorted(maps.Keys(s.pages)) {
			if number < low>>pageBits || number > high>>pageBits {
				continue
			}
			for i, word := range s.pages[number] {
				for ; word != 0; word &= word - 1 {
					o := number<<pageBits + uint64(i*64+bits.TrailingZeros64(word))
					if o >= low && o < high && !yield(o) {
						return
					}
				}
			}
		}
	}
}

// page returns a page by number, nil if it holds nothing.
func (s *Set) page(number uint64) *page {
	if s == nil {
		return nil
	}
	return s.pages[number]
}

// overlaps reports whether the set may hold ordinals from low to high-1: it
// looks at pages, not at ordinals.
func (s *Set) overlaps(low, high uint64) bool {
	if s.Len() == 0 || low >= high {
		return false
	}
	first, last := low>>pageBits, (high-1)>>pageBits
	if last-first < uint64(len(s.pages)) {
		for n := first; n <= last; n++ {
			if s.pages[n] != nil {
				return true
			}
		}
		return false
	}
	for n := range s.pages {
		if n >= first && n <= last {
			return true
		}
	}
	return false
}

// setVersion is the first byte of an encoded set.
const setVersion = 1

// Encode writes the set as bytes: a version, the number of ordinals, and the
// distance of each from the one before (of the first from 0) as varints.
func (s *Set) Encode() []byte {
	data := append(make([]byte, 0, 2+2*s.Len()), setVersion)
	data = binary.AppendUvarint(data, uint64(s.Len()))
	previous := uint64(0)
	for o := range s.All() {
		data = binary.AppendUvarint(data, o-previous)
		previous = o
	}
	return data
}

// DecodeSet reads what [Set.Encode] wrote. No bytes at all are the empty set.
func DecodeSet(data []byte) (*Set, error) {
	s := new(Set)
	if len(data) == 0 {
		return s, nil
	}
	if data[0] != setVersion {
		return nil, corrupt("not a set of version %d", setVersion)
	}
	count, n := binary.Uvarint(data[1:])
	if n <= 0 {
		return nil, corrupt("set cut short")
	}
	data = data[1+n:]
	if count > uint64(len(data)) {
		return nil, corrupt("set of %d ordinals in %d bytes", count, len(data))
	}
	ordinal := uint64(0)
	for i := range count {
		delta, n := binary.Uvarint(data)
		if n <= 0 {
			return nil, corrupt("set cut short")
		}
		if i > 0 && delta == 0 || delta > math.MaxInt64-ordinal {
			return nil, corrupt("set out of order")
		}
		ordinal += delta
		data = data[n:]
		s.Add(ordinal)
	}
	if len(data) != 0 {
		return nil, corrupt("set does not end where it says")
	}
	return s, nil
}
