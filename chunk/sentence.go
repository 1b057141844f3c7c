package chunk

import (
	"context"
	"fmt"
)

// Sentence packs whole sentences into leaves, and knows no other structure than paragraphs: a cut between two of them is better than
// one inside. Where it cuts depends on the text nearby, so that an edit stays local. It knows no headings and makes no parents. The
// zero value is ready for use.
type Sentence struct {
	// Tokens is the most a leaf has, its overlap included; three quarters of it are aimed at. Defaults to [DefaultTokens]. A sentence
	// that is longer is cut.
	Tokens int
	// Overlap is how many sentences from the end of the leaf before are repeated, as far as there is room for them. They become
	// [Piece.Overlap]. Very short sentences count together. Defaults to none.
	Overlap int
	// Count and CountName are those of [Hierarchical].
	Count     Counter
	CountName string
}

func (s Sentence) settings() sized {
	return sized{"chunk.Sentence", s.Tokens, s.Overlap, s.Count, s.CountName}
}

// Validate returns all faults of the configuration in one error, or nil.
func (s Sentence) Validate() error { return s.settings().validate(nil) }

// Signature names the strategy, its version and its settings.
func (s Sentence) Signature() string { return s.settings().signature("sentence/1") }

// Chunk cuts t. It fails for a faulty configuration, a text that is not UTF-8 (see [ErrInvalidUTF8]), and when ctx ends.
func (s Sentence) Chunk(ctx context.Context, t Text) ([]Piece, error) {
	b, err := s.settings().builder(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := b.paragraphs(0, len(b.text), blockStrength); err != nil {
		return nil, fmt.Errorf("chunk: %w", err)
	}
	return b.packed(s.Overlap)
}

// packed makes leaves of the units, three quarters of the limit in size if that goes, and lets them overlap by a number of units.
func (b *builder) packed(overlap int) ([]Piece, error) {
	if len(b.units) == 0 {
		return nil, nil
	}
	packer := packer{units: b.units, target: max(1, b.max*3/4), max: b.max}
	packer.section(0, len(b.units))
	leaves, err := b.leaves(packer.cuts)
	if err != nil {
		return nil, fmt.Errorf("chunk: %w", err)
	}
	pieces := make([]Piece, len(leaves))
	first := 0 // the unit that the leaf begins with
	for i, leaf := range leaves {
		for b.units[first].start < leaf.start {
			first++
		}
		from := leaf.start
		for n := 1; n <= overlap && n <= first && (i > 0 && b.units[first-n].start >= leaves[i-1].start); n++ {
			if !b.fits(b.units[first-n].start, leaf.end) {
				break
			}
			from = b.units[first-n].start
		}
		pieces[i] = Piece{Start: leaf.start, End: leaf.end, Parent: -1, Tokens: leaf.cost, Overlap: leaf.start - from}
	}
	return pieces, nil
}
