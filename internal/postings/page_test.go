package postings

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func pagedSegment(t *testing.T, docs int) *Segment {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	var b Builder
	for i := range docs {
		var tokens []Token
		for j := range 40 {
			tokens = append(tokens, Token{Term: fmt.Sprintf("en:w%d", int(r.ExpFloat64()*300)), Position: j})
		}
		if err := b.Add(Doc{Ordinal: uint64(5 + i), Tokens: tokens, Length: len(tokens)}); err != nil {
			t.Fatal(err)
		}
	}
	return b.Segment()
}

func TestPages(t *testing.T) {
	t.Parallel()
	s := pagedSegment(t, 500)
	pages := s.Pages()
	if len(pages) < 5 {
		t.Fatalf("%d pages: the test wants several", len(pages))
	}
	p, err := OpenPages(pages)
	if err != nil {
		t.Fatal(err)
	}
	var got []Block
	for b, err := range p.Blocks() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b)
	}
	if diff := cmp.Diff(s.Blocks, got); diff != "" {
		t.Errorf("blocks (-want +got):\n%s", diff)
	}
	for _, want := range s.Blocks {
		b, ok, err := p.Lookup(want.Term)
		if err != nil || !ok {
			t.Fatalf("Lookup(%q) = %v, %v", want.Term, ok, err)
		}
		if diff := cmp.Diff(want, b); diff != "" {
			t.Errorf("Lookup(%q) (-want +got):\n%s", want.Term, diff)
		}
	}
	for _, term := range []string{"", "a", "en:w", "en:w1x", "zz"} {
		if _, ok, err := p.Lookup(term); ok || err != nil {
			t.Errorf("Lookup(%q) = %v, %v; want nothing", term, ok, err)
		}
	}
	for i, page := range pages {
		if n := len(page.Postings) + len(page.Positions); n > 3*pageBytes {
			if in, _ := OpenInline(page.Postings); in.Len() > 1 {
				t.Errorf("page %d has %d bytes and %d terms", i, n, in.Len())
			}
		}
	}
}

func TestPagesWithoutPositions(t *testing.T) {
	t.Parallel()
	s := pagedSegment(t, 50)
	pages := s.Pages()
	for i := range pages {
		pages[i].Positions = nil
	}
	p, err := OpenPages(pages)
	if err != nil {
		t.Fatal(err)
	}
	b, ok, err := p.Lookup(s.Blocks[3].Term)
	if err != nil || !ok || len(b.Positions) != 0 || len(b.Postings) == 0 {
		t.Errorf("Lookup = %+v, %v, %v; want postings alone", b, ok, err)
	}
	for _, err := range p.Blocks() {
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("Blocks without positions: %v, want ErrCorrupt", err)
		}
	}
}

func TestPagesCorrupt(t *testing.T) {
	t.Parallel()
	pages := pagedSegment(t, 200).Pages()
	swapped := []Page{pages[1], pages[0]}
	if _, err := OpenPages(swapped); !errors.Is(err, ErrCorrupt) {
		t.Errorf("pages out of order: %v", err)
	}
	mixed := []Page{{First: pages[0].First, Postings: pages[0].Postings, Positions: pages[1].Positions}}
	p, err := OpenPages(mixed)
	for err == nil {
		for _, e := range p.Blocks() {
			err = e
			if err != nil {
				break
			}
		}
		if err == nil {
			t.Fatal("positions of other terms were not noticed")
		}
	}
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("positions of other terms: %v", err)
	}
}
