package postings

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mustBeCorrupt accepts no error but ErrCorrupt.
func mustBeCorrupt(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, ErrCorrupt) {
		t.Errorf("error is not ErrCorrupt: %v", err)
	}
}

// FuzzBlock reads any bytes as a block, alone, in a search, and in a merge.
// What is read without an error is written back as it was.
func FuzzBlock(f *testing.F) {
	for _, d := range [][]string{{"a"}, {"a", "a", "b"}, {"a", "b", "a", "a"}} {
		b := build(f, doc(0, d...), doc(200, d...), doc(70_000, d...)).Blocks[0]
		f.Add(b.Postings, b.Positions)
		f.Add(b.Postings[:len(b.Postings)-1], b.Positions)
		f.Add(b.Postings, b.Positions[1:])
	}
	var many []Doc
	for i := range uint64(400) {
		many = append(many, doc(3*i, "a", "b"))
	}
	b := build(f, many...).Blocks[0]
	f.Add(b.Postings, b.Positions)
	for i := range 20 { // header and skip table
		spoilt := bytes.Clone(b.Postings)
		spoilt[i] ^= 1
		f.Add(spoilt, b.Positions)
	}
	f.Add([]byte{1, 0, 1, 0, 3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1}, []byte{0})
	f.Add([]byte{2, 255, 255, 255, 255, 255, 255, 255, 255, 127, 1, 0, 3, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0}, []byte{0, 0})
	f.Fuzz(func(t *testing.T, postings, positions []byte) {
		const high = 1 << 40
		block := Block{Term: "a", Postings: postings, Positions: positions}
		seg := &Segment{High: high, Blocks: []Block{block}}

		merged, err := MergeSegment([]MergeSource{seg.Source(nil)})
		mustBeCorrupt(t, err)
		if err == nil {
			again, err := MergeSegment([]MergeSource{merged.Source(nil)})
			if err != nil || !cmp.Equal(again, merged) {
				t.Errorf("what was merged reads differently: %v", err)
			}
		}
		lookup := func(string) (Block, bool, error) { return block, true, nil }
		first := source(t, nil, doc(high, "a", "b"), doc(high+1, "a", "b"))
		for _, dead := range []*Set{nil, NewSet(1)} {
			for _, phrases := range [][]Phrase{nil, {{{{Term: "a"}, {Term: "a", Offset: 1}}}}} {
				q := Query{Terms: []Weighted{{Term: "a", Count: 1}, {Term: "b", Count: 1}}, Phrases: phrases}
				spoilt := Source{High: high, Dead: dead, Lookup: lookup}
				for _, sources := range [][]Source{{spoilt}, {first, spoilt}} { // without and with pruning
					hits, err := Search(q, sources, Stats{Documents: 3, Length: 9}, Options{Depth: 2})
					mustBeCorrupt(t, err)
					if err != nil && hits != nil {
						t.Error("hits beside an error")
					}
				}
			}
		}
	})
}

// FuzzInline opens any bytes as an inline segment and reads all of it.
func FuzzInline(f *testing.F) {
	data := build(f, doc(0, "a", "b", "c"), doc(1, "b", "dd")).Inline()
	f.Add(data, "b")
	for i := range data {
		spoilt := bytes.Clone(data)
		spoilt[i] ^= 0xff
		f.Add(spoilt, "b")
		f.Add(data[:i], "c")
	}
	f.Fuzz(func(t *testing.T, data []byte, term string) {
		in, err := OpenInline(data)
		mustBeCorrupt(t, err)
		if err != nil {
			return
		}
		b, ok, err := in.Lookup(term)
		mustBeCorrupt(t, err)
		if ok && b.Term != term {
			t.Errorf("looked for %q, found %q", term, b.Term)
		}
		n := 0
		var blocks []Block
		for b, err := range in.Blocks() {
			mustBeCorrupt(t, err)
			if err != nil {
				return
			}
			blocks = append(blocks, b)
			n++
		}
		if n != in.Len() {
			t.Errorf("%d blocks of %d", n, in.Len())
		}
		again, err := OpenInline(EncodeInline(blocks))
		if err != nil || again.Len() != n {
			t.Errorf("written again: %d terms, %v", again.Len(), err)
		}
	})
}

// FuzzSet decodes any bytes as a set.
func FuzzSet(f *testing.F) {
	f.Add(NewSet(0, 1, 5000, 1<<40).Encode())
	f.Add([]byte{1, 2, 0, 0})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeSet(data)
		mustBeCorrupt(t, err)
		if err != nil {
			return
		}
		again, err := DecodeSet(s.Encode())
		if err != nil || again.Len() != s.Len() {
			t.Errorf("decoded again: %d of %d ordinals, %v", again.Len(), s.Len(), err)
		}
		n := 0
		for o := range s.All() {
			if !s.Contains(o) {
				t.Errorf("%d is in the list and not in the set", o)
			}
			n++
		}
		if n != s.Len() {
			t.Errorf("%d ordinals listed of %d", n, s.Len())
		}
	})
}

// FuzzParseQuery checks that nothing is invented: what comes out was said.
func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{`a "b c" -d -"e f"`, `"`, `-"`, "„x“ «y» 「z」", "\xff-\xff", `- "-"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		words, phrases, exclude := ParseQuery(text)
		said := len(words)
		for _, list := range [][]string{phrases, exclude} {
			for _, s := range list {
				if s == "" || !bytes.Contains([]byte(text), []byte(s)) {
					t.Errorf("%q is not in %q", s, text)
				}
			}
		}
		for _, s := range exclude {
			said += len(s)
		}
		if said > 3*len(text) {
			t.Errorf("%d bytes made of %d", said, len(text))
		}
	})
}
