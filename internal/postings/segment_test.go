package postings

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBuilder(t *testing.T) {
	t.Parallel()
	s := build(t, doc(10, "b", "a", "b"), doc(13, "a"))
	if s.Low != 10 || s.High != 14 {
		t.Errorf("range %d-%d, want 10-14", s.Low, s.High)
	}
	want := []Block{
		// count, last, maxtf, minlen; delta<<1|1, length; delta<<1|1, length.
		{Term: "a", Postings: []byte{2, 3, 1, 1, 1<<1 | 1, 3, 3<<1 | 1, 1}, Positions: []byte{1, 0}},
		{Term: "b", Postings: []byte{1, 0, 2, 3, 1 << 1, 3, 2}, Positions: []byte{0, 2}},
	}
	if diff := cmp.Diff(want, s.Blocks); diff != "" {
		t.Errorf("the format changed (-want +got):\n%s", diff)
	}
}

func TestBuilderIsReusable(t *testing.T) {
	t.Parallel()
	var b Builder
	if s := b.Segment(); len(s.Blocks) != 0 || s.Low != s.High {
		t.Errorf("empty builder: %+v", s)
	}
	for range 2 {
		if err := b.Add(doc(5, "a")); err != nil {
			t.Fatal(err)
		}
		if s := b.Segment(); s.Low != 5 || len(s.Blocks) != 1 {
			t.Errorf("got %+v", s)
		}
	}
}

func TestBuilderRefuses(t *testing.T) {
	t.Parallel()
	for _, bad := range []Doc{
		{Ordinal: 7},
		{Ordinal: 6},
		{Ordinal: math.MaxUint64},
		{Ordinal: 8, Length: -1},
		{Ordinal: 8, Tokens: []Token{{Term: "a", Position: -1}}},
	} {
		var b Builder
		if err := b.Add(doc(7, "x")); err != nil {
			t.Fatal(err)
		}
		if err := b.Add(bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
		if s := b.Segment(); s.High != 8 || len(s.Blocks) != 1 {
			t.Errorf("%+v left traces: %+v", bad, s)
		}
	}
}

func TestInlineLookup(t *testing.T) {
	t.Parallel()
	var words []string
	for i := range 100 {
		words = append(words, fmt.Sprintf("w%02d", i))
	}
	s := build(t, doc(0, words...))
	in, err := OpenInline(s.Inline())
	if err != nil {
		t.Fatal(err)
	}
	if in.Len() != 100 {
		t.Errorf("%d terms", in.Len())
	}
	for i, w := range words {
		b, ok, err := in.Lookup(w)
		if err != nil || !ok || !cmp.Equal(b, s.Blocks[i]) {
			t.Errorf("%s: %v %v %v", w, b, ok, err)
		}
	}
	for _, w := range []string{"", "a", "w", "w000", "w50x", "x"} {
		if _, ok, err := in.Lookup(w); ok || err != nil {
			t.Errorf("%q: found %v, error %v", w, ok, err)
		}
	}
	i := 0
	for b, err := range in.Blocks() {
		if err != nil || !cmp.Equal(b, s.Blocks[i]) {
			t.Errorf("block %d: %v %v", i, b, err)
		}
		i++
	}
	if i != 100 {
		t.Errorf("%d blocks", i)
	}
	if empty, err := OpenInline(new(Segment).Inline()); err != nil || empty.Len() != 0 {
		t.Errorf("empty segment: %d terms, %v", empty.Len(), err)
	}
}

func TestHeader(t *testing.T) {
	t.Parallel()
	s := build(t, doc(3, "a", "a", "b"), doc(9, "a"))
	h, err := s.Blocks[0].Header()
	if want := (Header{Count: 2, Last: 6, MaxTF: 2, MinLength: 1}); err != nil || h != want {
		t.Errorf("got %+v, %v; want %+v", h, err, want)
	}
}

// TestMergeIsAsBuiltAtOnce checks the promise of Merge byte for byte, for
// blocks of every size around that of a batch.
func TestMergeIsAsBuiltAtOnce(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 127, 128, 129, 256, 1000} {
		var all, left, right []Doc
		for i := range n {
			d := doc(uint64(2*i), "a", "b", fmt.Sprint("c", i%7), "a")
			if i%5 == 0 {
				d.Tokens = append(d.Tokens, Token{Term: "a", Position: 1 << 20})
				d.Length = 300
			}
			all = append(all, d)
			if i < n/2 {
				left = append(left, d)
			} else {
				right = append(right, d)
			}
		}
		dead := new(Set)
		var sources []MergeSource
		for _, part := range [][]Doc{right, left} {
			if len(part) > 0 {
				sources = append(sources, build(t, part...).Source(dead))
			}
		}
		got, err := MergeSegment(sources)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(build(t, all...), got); diff != "" {
			t.Errorf("%d documents (-built +merged):\n%s", n, diff)
		}
	}
}

func TestMergeDropsTheDead(t *testing.T) {
	t.Parallel()
	dead := NewSet(1, 5)
	got, err := MergeSegment([]MergeSource{
		build(t, doc(0, "a", "b"), doc(1, "a", "gone"), doc(2, "b")).Source(dead),
		build(t, doc(5, "a"), doc(6, "b")).Source(dead),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := build(t, doc(0, "a", "b"), doc(2, "b"), doc(6, "b"))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMergeRefuses(t *testing.T) {
	t.Parallel()
	a := build(t, doc(0, "a", "b"), doc(4, "a"))
	broken := errors.New("broken")
	failing := a.Source(nil)
	failing.Blocks = func(yield func(Block, error) bool) {
		if yield(a.Blocks[0], nil) {
			yield(Block{}, broken)
		}
	}
	unsorted := a.Source(nil)
	unsorted.Blocks = func(yield func(Block, error) bool) {
		_ = yield(a.Blocks[1], nil) && yield(a.Blocks[0], nil)
	}
	bare := a.Source(nil)
	bare.Blocks = func(yield func(Block, error) bool) { yield(Block{Term: "a", Postings: a.Blocks[0].Postings}, nil) }
	narrow := a.Source(nil)
	narrow.High = 3
	tests := []struct {
		name    string
		sources []MergeSource
		want    error // nil: any
	}{
		{"overlap", []MergeSource{a.Source(nil), build(t, doc(3, "a")).Source(nil)}, nil},
		{"turned range", []MergeSource{{Low: 3, High: 2, Blocks: a.Source(nil).Blocks}}, nil},
		{"a source that fails", []MergeSource{failing}, broken},
		{"unsorted", []MergeSource{unsorted}, ErrCorrupt},
		{"no positions", []MergeSource{bare}, ErrCorrupt},
		{"ordinals beyond the range", []MergeSource{narrow}, ErrCorrupt},
	}
	for _, tt := range tests {
		if _, err := MergeSegment(tt.sources); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestMergeStopsWhenAsked(t *testing.T) {
	t.Parallel()
	n := 0
	for range Merge([]MergeSource{build(t, doc(0, "a", "b", "c")).Source(nil)}) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d blocks", n)
	}
	for range Merge(nil) {
		t.Error("a block from nothing")
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	var none *Set
	if none.Len() != 0 || none.Contains(0) || none.overlaps(0, math.MaxUint64) {
		t.Error("the nil set holds something")
	}
	s := NewSet(5000, 3, 1023, 1024, 3)
	if s.Len() != 4 || s.Add(3) || !s.Add(4) || s.Len() != 5 {
		t.Errorf("%d ordinals", s.Len())
	}
	var got []uint64
	for o := range s.All() {
		got = append(got, o)
	}
	if diff := cmp.Diff([]uint64{3, 4, 1023, 1024, 5000}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got = nil
	for o := range s.Range(4, 1024) {
		got = append(got, o)
	}
	if diff := cmp.Diff([]uint64{4, 1023}, got); diff != "" {
		t.Errorf("range (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		low, high uint64
		want      bool
	}{{0, 1, true}, {6000, 1 << 40, false}, {2048, 3000, false}, {2048, 5001, true}, {7, 7, false}} {
		if s.overlaps(tt.low, tt.high) != tt.want {
			t.Errorf("overlaps %d-%d is not %v", tt.low, tt.high, tt.want)
		}
	}
	if s.Contains(5) || s.Contains(5001) || !s.Contains(5000) {
		t.Error("Contains is wrong")
	}
	again, err := DecodeSet(s.Encode())
	if err != nil || !bytes.Equal(again.Encode(), s.Encode()) || again.Len() != 5 {
		t.Errorf("after decoding: %v, %v", again, err)
	}
	if empty, err := DecodeSet(nil); err != nil || empty.Len() != 0 {
		t.Errorf("no bytes: %v, %v", empty, err)
	}
}
