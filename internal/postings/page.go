package postings

import (
	"fmt"
	"iter"
	"sort"
)

// A Page is a row of a stored segment: the blocks of a run of neighbouring
// terms. Postings and Positions are inline segments of the same terms, apart
// from each other so that positions are read for phrases only; Positions may be
// absent.
type Page struct {
	First     string // the first term of the run
	Postings  []byte
	Positions []byte
}

// pageBytes is the size that pages are filled to. A row of a few hundred bytes
// would cost a table more in headers and index entries than it holds (most terms
// are rare), a larger one is read for the sake of a single term. A block beyond
// the size has a page of its own.
const pageBytes = 1800

// Paginate puts blocks, in order of their terms, into pages. It ends after the
// first error.
func Paginate(blocks iter.Seq2[Block, error]) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		var run []Block
		size := 0
		for b, err := range blocks {
			if err != nil {
				yield(Page{}, err)
				return
			}
			more := 2*len(b.Term) + len(b.Postings) + len(b.Positions) + 12
			if len(run) > 0 && size+more > pageBytes {
				if !yield(newPage(run), nil) {
					return
				}
				run, size = run[:0], 0
			}
			run, size = append(run, b), size+more
		}
		if len(run) > 0 {
			yield(newPage(run), nil)
		}
	}
}

// Pages returns the segment's blocks in pages, in the order of their terms.
func (s *Segment) Pages() []Page {
	var out []Page
	for p := range Paginate(s.Source(nil).Blocks) { // which yields no error
		out = append(out, p)
	}
	return out
}

func newPage(blocks []Block) Page {
	posts, places := make([]Block, len(blocks)), make([]Block, len(blocks))
	for i, b := range blocks {
		posts[i] = Block{Term: b.Term, Postings: b.Postings}
		places[i] = Block{Term: b.Term, Positions: b.Positions}
	}
	return Page{First: blocks[0].Term, Postings: EncodeInline(posts), Positions: EncodeInline(places)}
}

// Pages are the pages of a segment, or those of them that a search needs.
type Pages struct {
	first     []string
	postings  []Inline
	positions []Inline // nil where a page came without
}

// OpenPages opens pages that are in the order of their terms. Like
// [OpenInline] it checks the outline only.
func OpenPages(pages []Page) (*Pages, error) {
	p := &Pages{first: make([]string, len(pages)), postings: make([]Inline, len(pages)), positions: make([]Inline, len(pages))}
	for i, page := range pages {
		if i > 0 && page.First <= pages[i-1].First {
			return nil, corrupt("page of %q after %q", page.First, pages[i-1].First)
		}
		p.first[i] = page.First
		var err error
		if p.postings[i], err = OpenInline(page.Postings); err != nil {
			return nil, err
		}
		if len(page.Positions) == 0 {
			continue
		}
		if p.positions[i], err = OpenInline(page.Positions); err != nil {
			return nil, err
		}
		if p.positions[i].Len() != p.postings[i].Len() {
			return nil, corrupt("page of %q has %d terms with positions, %d with postings", page.First, p.positions[i].Len(), p.postings[i].Len())
		}
	}
	return p, nil
}

// Lookup finds the block of a term.
func (p *Pages) Lookup(term string) (Block, bool, error) {
	i := sort.Search(len(p.first), func(i int) bool { return p.first[i] > term }) - 1
	if i < 0 {
		return Block{}, false, nil
	}
	b, ok, err := p.postings[i].Lookup(term)
	if err != nil || !ok || p.positions[i].Len() == 0 {
		return b, ok, err
	}
	places, ok, err := p.positions[i].Lookup(term)
	if err == nil && !ok {
		err = corrupt("page of %q has no positions of %q", p.first[i], term)
	}
	b.Positions = places.Positions
	return b, err == nil, err
}

// Blocks yields all blocks, positions included, in order of their terms. It ends
// after the first error.
func (p *Pages) Blocks() iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		for i, in := range p.postings {
			for j := range in.Len() {
				b, err := in.block(j)
				if err == nil {
					var places Block
					if places, err = p.place(i, j); err == nil && places.Term != b.Term {
						err = corrupt("page of %q: positions of %q at the place of %q", p.first[i], places.Term, b.Term)
					}
					b.Positions = places.Positions
				}
				if !yield(b, err) || err != nil {
					return
				}
			}
		}
	}
}

func (p *Pages) place(page, i int) (Block, error) {
	if p.positions[page].Len() == 0 {
		return Block{}, fmt.Errorf("%w: page of %q came without positions", ErrCorrupt, p.first[page])
	}
	return p.positions[page].block(i)
}
