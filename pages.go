package llmemory

import (
	"encoding/binary"
	"fmt"
	"sort"
)

// pages are the byte offsets at which a text's pages begin, in order; nil for a text that has none.
type pages []int

// at returns the page that a byte of the text is on, from 1, or 0 if there are no pages. What lies before the first page is on it.
func (p pages) at(offset int) int {
	if len(p) == 0 {
		return 0
	}
	return max(1, sort.SearchInts(p, offset+1))
}

// check returns an error unless the pages begin one after the other on characters of a text.
func (p pages) check(text string) error {
	last := 0
	for i, at := range p {
		if at < last || at > len(text) || !border(text, at) {
			return invalidf("pages", "page %d begins at byte %d of %d: pages must be in order, and begin with a character", i+1, at, len(text))
		}
		last = at
	}
	return nil
}

// pack returns the pages as they are stored, nil for none: the distance of each from the one before.
func (p pages) pack() []byte {
	var out []byte
	last := 0
	for _, at := range p {
		out = binary.AppendUvarint(out, uint64(at-last))
		last = at
	}
	return out
}

// unpackPages is the inverse of pack.
func unpackPages(raw []byte) (pages, error) {
	var out pages
	last := uint64(0)
	for len(raw) > 0 {
		distance, n := binary.Uvarint(raw)
		if last += distance; n <= 0 || distance > 1<<40 || last > 1<<40 {
			return nil, fmt.Errorf("%w: the pages of a document do not decode", ErrCorrupt)
		}
		out, raw = append(out, int(last)), raw[n:]
	}
	return out, nil
}
