package postings

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// A MergeSource is a segment to be merged.
type MergeSource struct {
	Low, High uint64
	// Dead are ordinals to be left out; it may hold those of other segments.
	Dead *Set
	// Blocks yields the segment's blocks, positions included, in ascending
	// order of their terms, each term once.
	Blocks iter.Seq2[Block, error]
}

// Source returns the segment as a source for [Merge].
func (s *Segment) Source(dead *Set) MergeSource {
	return MergeSource{Low: s.Low, High: s.High, Dead: dead, Blocks: func(yield func(Block, error) bool) {
		for _, b := range s.Blocks {
			if !yield(b, nil) {
				return
			}
		}
	}}
}

// Merge yields the blocks of the segment that the sources make together, in
// order of their terms; their ordinals are relative to the least Low of the
// sources. Postings of dead ordinals are dropped, and so are terms of which
// none is left. The result is, byte for byte, what one [Builder] would have
// made of the living documents, but for the Low its ordinals are relative to.
//
// Ranges may not overlap. The sources are read as a stream, one block each at a
// time. After the first error nothing more is yielded.
func Merge(sources []MergeSource) iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		m, err := newMerger(sources)
		defer m.stop()
		for err == nil {
			var b Block
			var ok bool
			if b, ok, err = m.next(); err == nil && (!ok || !yield(b, nil)) {
				return
			}
		}
		yield(Block{}, err)
	}
}

// MergeSegment merges the sources in memory.
func MergeSegment(sources []MergeSource) (*Segment, error) {
	s := new(Segment)
	for i, source := range sources {
		if i == 0 || source.Low < s.Low {
			s.Low = source.Low
		}
		s.High = max(s.High, source.High)
	}
	for b, err := range Merge(sources) {
		if err != nil {
			return nil, err
		}
		s.Blocks = append(s.Blocks, b)
	}
	return s, nil
}

type merger struct {
	inputs []*mergeInput // in order of Low
	enc    encoder
	dec    decoder
}

type mergeInput struct {
	MergeSource
	shift uint64 // from the least Low
	dirty bool   // holds dead ordinals, perhaps
	pull  func() (Block, error, bool)
	stop  func()
	block Block
	ok    bool // block is the next one
}

func newMerger(sources []MergeSource) (*merger, error) {
	sources = slices.Clone(sources)
	slices.SortStableFunc(sources, func(a, b MergeSource) int { return cmp.Compare(a.Low, b.Low) })
	m := new(merger)
	for i, s := range sources {
		if s.High < s.Low || i > 0 && s.Low < sources[i-1].High {
			return m, fmt.Errorf("postings: segment %d-%d cannot be merged: its range is empty or overlaps another's", s.Low, s.High)
		}
		in := &mergeInput{MergeSource: s, shift: s.Low - sources[0].Low, dirty: s.Dead.overlaps(s.Low, s.High)}
		in.pull, in.stop = iter.Pull2(s.Blocks)
		m.inputs = append(m.inputs, in)
		if err := in.advance(); err != nil {
			return m, err
		}
	}
	return m, nil
}

func (m *merger) stop() {
	for _, in := range m.inputs {
		in.stop()
	}
}

func (in *mergeInput) advance() error {
	previous, had := in.block.Term, in.ok
	block, err, ok := in.pull()
	if err != nil {
		return err
	}
	if ok && had && strings.Compare(block.Term, previous) <= 0 {
		return corrupt("term %q after %q", block.Term, previous)
	}
	in.block, in.ok = block, ok
	return nil
}

// next merges the blocks of the least term that has living postings.
func (m *merger) next() (Block, bool, error) {
	for {
		term, found := "", false
		for _, in := range m.inputs {
			if in.ok && (!found || in.block.Term < term) {
				term, found = in.block.Term, true
			}
		}
		if !found {
			return Block{}, false, nil
		}
		m.enc.reset()
		for _, in := range m.inputs {
			if !in.ok || in.block.Term != term {
				continue
			}
			if err := m.add(in); err != nil {
				return Block{}, false, fmt.Errorf("merge %q of segment %d-%d: %w", term, in.Low, in.High, err)
			}
			if err := in.advance(); err != nil {
				return Block{}, false, err
			}
		}
		if m.enc.count > 0 {
			return m.enc.block(term), true, nil
		}
	}
}

// add appends the living postings of a source's block.
func (m *merger) add(in *mergeInput) error {
	if err := m.dec.reset(in.block.Postings, in.High-in.Low); err != nil {
		return err
	}
	positions := in.block.Positions
	for {
		batch, err := m.dec.read()
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			break
		}
		for _, p := range batch {
			rest, err := skipPositions(positions, p.tf)
			if err != nil {
				return err
			}
			if !in.dirty || !in.Dead.Contains(in.Low+p.ordinal) {
				p.ordinal += in.shift
				m.enc.posting(p)
				m.enc.positions = append(m.enc.positions, positions[:len(positions)-len(rest)]...)
			}
			positions = rest
		}
	}
	if len(positions) != 0 {
		return corrupt("positions do not end where they should")
	}
	return nil
}
