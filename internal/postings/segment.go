package postings

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"sort"
	"strings"
)

// A Token is a term and its place in a document.
type Token struct {
	Term     string
	Position int // counted from 0
}

// A Doc is a leaf to be indexed.
type Doc struct {
	Ordinal uint64
	Tokens  []Token
	Length  int // in words, for BM25; not less than 0
}

// A Builder makes a segment. The zero Builder is empty and ready to use.
type Builder struct {
	docs  int
	low   uint64
	high  uint64
	terms map[string]*encoder
	bytes int
	// Of the document being added: the encoders of its tokens, and each encoder once.
	of, touched []*encoder
}

// Len is the number of documents that were added.
func (b *Builder) Len() int { return b.docs }

// Bytes is about how much memory the builder holds.
func (b *Builder) Bytes() int { return b.bytes }

// termBytes is about what a term costs a builder beside its postings: the
// encoder, its place in the map, and what allocations are rounded up by.
const termBytes = 224

// Add adds a document. Ordinals must ascend from call to call. A document with
// no tokens is known by its ordinal alone. It returns an error, and adds
// nothing, if the ordinal is out of order or a length or position is negative
// or more than 32 bits.
func (b *Builder) Add(d Doc) error {
	if b.docs > 0 && d.Ordinal < b.high || d.Ordinal >= math.MaxInt64 {
		return fmt.Errorf("postings: ordinal %d is out of order", d.Ordinal)
	}
	if d.Length < 0 || int64(d.Length) > math.MaxUint32 {
		return fmt.Errorf("postings: length %d of ordinal %d is out of range", d.Length, d.Ordinal)
	}
	for _, t := range d.Tokens {
		if t.Position < 0 || int64(t.Position) > math.MaxUint32 {
			return fmt.Errorf("postings: position %d of ordinal %d is out of range", t.Position, d.Ordinal)
		}
	}
	if b.docs == 0 {
		b.low = d.Ordinal
		b.terms = make(map[string]*encoder)
	}
	b.high = d.Ordinal + 1
	b.docs++

	b.of, b.touched = b.of[:0], b.touched[:0]
	ordered := true // for each term
	for _, t := range d.Tokens {
		e := b.terms[t.Term]
		if e == nil {
			e = new(encoder)
			b.terms[strings.Clone(t.Term)] = e
			b.bytes += termBytes + len(t.Term)
		}
		if e.here == 0 {
			b.touched = append(b.touched, e)
			e.place = 0
		}
		ordered = ordered && t.Position >= e.place
		e.here, e.place = e.here+1, t.Position
		b.of = append(b.of, e)
	}
	for _, e := range b.touched {
		b.bytes += int(e.here) + 4 // most numbers are a byte or two
		e.posting(posting{ordinal: d.Ordinal - b.low, tf: e.here, length: uint32(d.Length)})
		e.here, e.place = 0, 0
	}
	if ordered {
		for i, e := range b.of {
			e.position(d.Tokens[i].Position)
		}
		return nil
	}
	for _, t := range slices.SortedStableFunc(slices.Values(d.Tokens), func(x, y Token) int { return cmp.Compare(x.Position, y.Position) }) {
		b.terms[t.Term].position(t.Position)
	}
	return nil
}

// Source returns what was added, as a source for [Merge], and empties the
// builder. Each block is made when it is yielded: there is never a second copy
// of the whole.
func (b *Builder) Source() MergeSource {
	terms := b.terms
	s := MergeSource{Low: b.low, High: b.high, Blocks: func(yield func(Block, error) bool) {
		for _, term := range slices.Sorted(maps.Keys(terms)) {
			if !yield(terms[term].block(term), nil) {
				return
			}
		}
	}}
	*b = Builder{}
	return s
}

// Segment returns what was added and empties the builder.
func (b *Builder) Segment() *Segment {
	s := &Segment{Low: b.low, High: b.high, Blocks: make([]Block, 0, len(b.terms))}
	for block := range b.Source().Blocks { // which yields no error
		s.Blocks = append(s.Blocks, block)
	}
	return s
}

// A Segment is an index of the leaves of an ordinal range, in memory.
type Segment struct {
	Low, High uint64  // ordinals from Low to High-1
	Blocks    []Block // sorted by term
}

// inlineVersion is the first byte of an inline segment.
const inlineVersion = 1

// Inline returns all blocks as one byte string, see [OpenInline]. The range of
// ordinals is not part of it and must be kept beside it.
func (s *Segment) Inline() []byte { return EncodeInline(s.Blocks) }

// EncodeInline writes blocks that are sorted by term as one byte string.
func EncodeInline(blocks []Block) []byte {
	size := 1 + binary.MaxVarintLen64
	for _, b := range blocks {
		size += 4 + 3*binary.MaxVarintLen32 + len(b.Term) + len(b.Postings) + len(b.Positions)
	}
	data := make([]byte, 0, size)
	data = append(data, inlineVersion)
	data = binary.AppendUvarint(data, uint64(len(blocks)))
	offsets := len(data)
	data = append(data, make([]byte, 4*len(blocks))...)
	entries := len(data)
	for i, b := range blocks {
		binary.LittleEndian.PutUint32(data[offsets+4*i:], uint32(len(data)-entries))
		data = appendBytes(data, b.Term)
		data = appendBytes(data, b.Postings)
		data = appendBytes(data, b.Positions)
	}
	return data
}

func appendBytes[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// An Inline is an opened inline segment. It reads the bytes in place.
type Inline struct {
	offsets []byte
	entries []byte
}

// OpenInline opens the bytes that [Segment.Inline] wrote. They must not change
// afterwards. It checks the outline only: a fault inside is found, and returned
// as [ErrCorrupt], when it is read.
func OpenInline(data []byte) (Inline, error) {
	if len(data) == 0 || data[0] != inlineVersion {
		return Inline{}, corrupt("not an inline segment of version %d", inlineVersion)
	}
	count, n := binary.Uvarint(data[1:])
	if n <= 0 {
		return Inline{}, corrupt("inline segment cut short")
	}
	data = data[1+n:]
	if count > uint64(len(data)/4) {
		return Inline{}, corrupt("inline segment of %d terms in %d bytes", count, len(data))
	}
	return Inline{offsets: data[:4*count], entries: data[4*count:]}, nil
}

// Len is the number of terms.
func (in Inline) Len() int { return len(in.offsets) / 4 }

// Lookup finds the block of a term.
func (in Inline) Lookup(term string) (Block, bool, error) {
	var fault error
	i := sort.Search(in.Len(), func(i int) bool {
		found, _, err := in.term(i)
		if err != nil {
			fault = err
		}
		return string(found) >= term
	})
	if fault != nil {
		return Block{}, false, fault
	}
	if i == in.Len() {
		return Block{}, false, nil
	}
	b, err := in.block(i)
	if err != nil || b.Term != term {
		return Block{}, false, err
	}
	return b, true, nil
}

// Blocks yields all blocks in order of their terms. It ends after the first
// error.
func (in Inline) Blocks() iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		for i := range in.Len() {
			b, err := in.block(i)
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

func (in Inline) term(i int) (term, rest []byte, err error) {
	offset := binary.LittleEndian.Uint32(in.offsets[4*i:])
	if uint64(offset) > uint64(len(in.entries)) {
		return nil, nil, corrupt("entry %d beyond the end", i)
	}
	return cutBytes(in.entries[offset:])
}

func (in Inline) block(i int) (Block, error) {
	term, rest, err := in.term(i)
	if err != nil {
		return Block{}, err
	}
	postings, rest, err := cutBytes(rest)
	if err != nil {
		return Block{}, err
	}
	positions, _, err := cutBytes(rest)
	if err != nil {
		return Block{}, err
	}
	return Block{Term: string(term), Postings: postings, Positions: positions}, nil
}

func cutBytes(data []byte) (field, rest []byte, err error) {
	size, n := binary.Uvarint(data)
	if n <= 0 || size > uint64(len(data)-n) {
		return nil, nil, corrupt("inline entry cut short")
	}
	end := n + int(size)
	return data[n:end:end], data[end:], nil
}
