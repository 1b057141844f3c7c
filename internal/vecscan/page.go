package vecscan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
)

// ErrPage is returned for bytes that are no page of vectors.
var ErrPage = errors.New("vecscan: not a page of vectors")

// Page is a number of quantised vectors and removals, each list in order of versions. The zero value is not usable: see [NewPage].
type Page struct {
	dimensions int
	entries    []entry
	codes      []byte // [Stride] bytes for each entry
	removed    []removal
}

type entry struct {
	ordinal uint64
	version uint64 // that it came with
	scale   float32
	lost    float32
}

type removal struct {
	ordinal uint64
	version uint64 // that it went with
}

// NewPage returns an empty page for vectors of so many dimensions.
func NewPage(dimensions int) *Page { return &Page{dimensions: dimensions} }

// Grow makes room for so many vectors more.
func (p *Page) Grow(n int) {
	p.entries = slices.Grow(p.entries, n)
	p.codes = slices.Grow(p.codes, n*Stride(p.dimensions))
}

// Add adds a vector that comes with a version, which is not before that of what was added last. Several vectors of one ordinal are
// added one after the other.
func (p *Page) Add(ordinal, version uint64, v []float32) {
	from := len(p.codes)
	to := from + Stride(p.dimensions)
	p.codes = slices.Grow(p.codes, to-from)[:to]
	scale, lost := quantise(p.codes[from:], v)
	p.entries = append(p.entries, entry{ordinal, version, scale, lost})
}

// Remove says that an ordinal's vectors go with a version. Those of the same ordinal that come with this version stay.
func (p *Page) Remove(ordinal, version uint64) {
	p.removed = append(p.removed, removal{ordinal, version})
}

// Len returns how many vectors and removals there are.
func (p *Page) Len() int { return len(p.entries) + len(p.removed) }

// Append adds what another page holds, whose versions come after those of this one.
func (p *Page) Append(next *Page) {
	p.entries = append(p.entries, next.entries...)
	p.codes = append(p.codes, next.codes...)
	p.removed = append(p.removed, next.removed...)
}

// Without drops what has been removed, and the removals. What is left is what the newest version holds; older ones cannot be told from
// it any more.
func (p *Page) Without(gone Removals) {
	stride, n := Stride(p.dimensions), 0
	for i, e := range p.entries {
		if gone.has(e) {
			continue
		}
		p.entries[n] = e
		copy(p.codes[n*stride:(n+1)*stride], p.codes[i*stride:])
		n++
	}
	p.entries, p.codes, p.removed = p.entries[:n], p.codes[:n*stride], nil
}

// Last returns the newest version that the page tells of.
func (p *Page) Last() (version uint64) {
	if n := len(p.entries); n > 0 {
		version = p.entries[n-1].version
	}
	if n := len(p.removed); n > 0 {
		version = max(version, p.removed[n-1].version)
	}
	return version
}

// Vectors returns how many vectors there are, removed ones included.
func (p *Page) Vectors() int { return len(p.entries) }

// Removals are the versions that ordinals went with last. The zero value knows of none.
type Removals struct{ last map[uint64]uint64 }

// Add takes over the removals of a page.
func (r *Removals) Add(p *Page) {
	if r.last == nil && len(p.removed) > 0 {
		r.last = make(map[uint64]uint64, len(p.removed))
	}
	for _, x := range p.removed {
		r.last[x.ordinal] = max(r.last[x.ordinal], x.version)
	}
}

func (r Removals) has(e entry) bool { return len(r.last) > 0 && e.version < r.last[e.ordinal] }

// The stored form, all numbers little-endian: the checksum (CRC-32C) of all that follows, dimensions, vectors, removals, 32 bits each;
// then for every vector ordinal and version in 64 bits, scale and loss as float32; for every removal ordinal and version in 64 bits;
// then the codes.
const (
	headSize    = 16
	entrySize   = 24
	removalSize = 16
)

var checksums = crc32.MakeTable(crc32.Castagnoli)

// Encode returns the page in its stored form.
func (p *Page) Encode() []byte {
	out := make([]byte, headSize, headSize+entrySize*len(p.entries)+removalSize*len(p.removed)+len(p.codes))
	le := binary.LittleEndian
	le.PutUint32(out[4:], uint32(p.dimensions))
	le.PutUint32(out[8:], uint32(len(p.entries)))
	le.PutUint32(out[12:], uint32(len(p.removed)))
	for _, e := range p.entries {
		out = le.AppendUint64(le.AppendUint64(out, e.ordinal), e.version)
		out = le.AppendUint32(le.AppendUint32(out, math.Float32bits(e.scale)), math.Float32bits(e.lost))
	}
	for _, r := range p.removed {
		out = le.AppendUint64(le.AppendUint64(out, r.ordinal), r.version)
	}
	out = append(out, p.codes...)
	le.PutUint32(out, crc32.Checksum(out[4:], checksums))
	return out
}

// Decode reads the stored form of a page with vectors of so many dimensions. The page may use raw, which must not change any more.
// The error wraps [ErrPage].
func Decode(raw []byte, dimensions int) (*Page, error) {
	le := binary.LittleEndian
	if len(raw) < headSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrPage, len(raw))
	}
	vectors, removed, stride := int(le.Uint32(raw[8:])), int(le.Uint32(raw[12:])), Stride(dimensions)
	switch {
	case int(le.Uint32(raw[4:])) != dimensions:
		return nil, fmt.Errorf("%w: of %d dimensions, not %d", ErrPage, le.Uint32(raw[4:]), dimensions)
	case uint64(len(raw)) != headSize+uint64(vectors)*uint64(entrySize+stride)+uint64(removed)*removalSize:
		return nil, fmt.Errorf("%w: %d vectors and %d removals in %d bytes", ErrPage, vectors, removed, len(raw))
	case crc32.Checksum(raw[4:], checksums) != le.Uint32(raw):
		return nil, fmt.Errorf("%w: its checksum differs", ErrPage)
	}
	p := &Page{dimensions: dimensions, entries: make([]entry, vectors), removed: make([]removal, removed)}
	at := raw[headSize:]
	for i := range p.entries {
		e := entry{le.Uint64(at), le.Uint64(at[8:]), math.Float32frombits(le.Uint32(at[16:])), math.Float32frombits(le.Uint32(at[20:]))}
		if !(e.scale >= 0 && e.scale <= 1 && e.lost >= 0 && e.lost <= 1) {
			return nil, fmt.Errorf("%w: scale %v, loss %v", ErrPage, e.scale, e.lost)
		}
		p.entries[i], at = e, at[entrySize:]
	}
	for i := range p.removed {
		p.removed[i], at = removal{le.Uint64(at), le.Uint64(at[8:])}, at[removalSize:]
	}
	p.codes = at
	byVersion := func(a, b entry) int { return compare(a.version, b.version) }
	if !slices.IsSortedFunc(p.entries, byVersion) ||
		!slices.IsSortedFunc(p.removed, func(a, b removal) int { return compare(a.version, b.version) }) {
		return nil, fmt.Errorf("%w: its versions are in no order", ErrPage)
	}
	return p, nil
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
