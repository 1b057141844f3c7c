package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/analysis"
	"github.com/llmemory/llmemory/internal/postings"
)

// CheckIndex compares an owner's text index with the leaves it is of and returns the first fault: every leaf is in exactly one
// segment and not dead there, the dead are counted, and each segment's pages hold, byte for byte, what indexing its living leaves
// afresh gives. Searches would show most such faults, but only to who asks the right question.
//
// It holds the owner's write lock while it looks.
func CheckIndex(ctx context.Context, store llmemory.Store, owner string) (err error) {
	edit, err := store.Edit(ctx, llmemory.EditParams{Owner: owner, Analysis: analysis.Version})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, edit.Rollback(ctx)) }()
	state := edit.State()
	if state.Analysis != analysis.Version && state.Leaves > 0 {
		return fmt.Errorf("it speaks version %d of the analysis, this program version %d", state.Analysis, analysis.Version)
	}
	load := llmemory.LoadParams{Owner: owner}
	for _, s := range edit.Segments() {
		load.Segments = append(load.Segments, s.ID)
	}
	segments, err := edit.Load(ctx, load)
	if err != nil {
		return err
	}
	leaves, err := indexedLeaves(ctx, edit, owner)
	if err != nil {
		return err
	}
	length := int64(0)
	for _, l := range leaves {
		length += int64(l.Length)
	}
	if int64(len(leaves)) != state.Leaves || length != state.Length {
		return fmt.Errorf("%d leaves of length %d, the owner's row says %d of %d", len(leaves), length, state.Leaves, state.Length)
	}
	end := uint64(0)
	for _, s := range segments {
		switch {
		case s.ID >= state.NextSegment:
			return fmt.Errorf("segment %d, though the next one's id is %d", s.ID, state.NextSegment)
		case s.Low >= s.High, s.Low < end, s.High > state.NextOrdinal:
			return fmt.Errorf("segment %d has the range [%d, %d) after one that ends at %d; the next ordinal is %d", s.ID, s.Low, s.High, end, state.NextOrdinal)
		}
		end = s.High
		n := 0
		for n < len(leaves) && leaves[n].Ordinal < s.High {
			n++
		}
		if err := checkSegment(s, leaves[:n]); err != nil {
			return fmt.Errorf("segment %d: %w", s.ID, err)
		}
		leaves = leaves[n:]
	}
	if len(leaves) > 0 {
		return fmt.Errorf("leaf %d is in no segment", leaves[0].Ordinal)
	}
	return nil
}

// searched are the parts of a leaf that searches see.
func searched(name, heading, context, text string) []string {
	if context == "" {
		return []string{name, heading, text}
	}
	return []string{name, heading, context, text}
}

// indexedLeaves analyses all leaves of an owner, in order.
func indexedLeaves(ctx context.Context, edit llmemory.Edit, owner string) ([]postings.Doc, error) {
	m := newModel(owner)
	var out []postings.Doc
	for after := int64(-1); ; {
		page, err := edit.Leaves(ctx, llmemory.LeavesParams{Owner: owner, After: after, Limit: 1000})
		if err != nil || len(page) == 0 {
			return out, err
		}
		for _, l := range page {
			tokens, length := m.analyse(l.Language, searched(l.DocumentName, l.Heading, l.Context, l.Text)...)
			out = append(out, postings.Doc{Ordinal: l.Ordinal, Tokens: tokens, Length: length})
			after = int64(l.Ordinal)
		}
	}
}

// checkSegment compares a segment with the living leaves of its range, all leaves before which are in earlier segments.
func checkSegment(s llmemory.LoadedSegment, leaves []postings.Doc) error {
	dead := postings.NewSet()
	if len(s.Dead) > 0 {
		var err error
		if dead, err = postings.DecodeSet(s.Dead); err != nil {
			return err
		}
	}
	for ordinal := range dead.All() {
		if ordinal < s.Low || ordinal >= s.High {
			return fmt.Errorf("leaf %d, which is none of its, is dead", ordinal)
		}
	}
	if dead.Len() != s.DeadCount || s.Leaves-s.DeadCount != len(leaves) || len(leaves) == 0 {
		return fmt.Errorf("%d leaves, %d said to be dead, %d in the set of the dead, %d alive", s.Leaves, s.DeadCount, dead.Len(), len(leaves))
	}
	var fresh postings.Builder
	for i, l := range leaves {
		switch {
		case l.Ordinal < s.Low:
			return fmt.Errorf("leaf %d is before its range, in no segment", l.Ordinal)
		case dead.Contains(l.Ordinal):
			return fmt.Errorf("leaf %d is alive but in the set of the dead", l.Ordinal)
		case i == 0 && l.Ordinal > s.Low: // so that ordinals are relative to the same
			if err := fresh.Add(postings.Doc{Ordinal: s.Low}); err != nil {
				return err
			}
		}
		if err := fresh.Add(l); err != nil {
			return err
		}
	}
	pages, size := make([]postings.Page, len(s.Pages)), int64(0)
	for i, p := range s.Pages {
		pages[i] = postings.Page{First: p.First, Postings: p.Postings, Positions: p.Positions}
		size += int64(len(p.Postings) + len(p.Positions))
	}
	if size != s.Bytes {
		return fmt.Errorf("%d bytes, said to be %d", size, s.Bytes)
	}
	opened, err := postings.OpenPages(pages)
	if err != nil {
		return err
	}
	got, err := postings.MergeSegment([]postings.MergeSource{{Low: s.Low, High: s.High, Dead: dead, Blocks: opened.Blocks()}})
	if err != nil {
		return err
	}
	want := fresh.Segment().Blocks
	for i := range max(len(want), len(got.Blocks)) {
		switch {
		case i >= len(got.Blocks):
			return fmt.Errorf("lacks the term %q", want[i].Term)
		case i >= len(want) || got.Blocks[i].Term != want[i].Term:
			return fmt.Errorf("has the term %q, which no leaf has, or lacks one before it", got.Blocks[i].Term)
		case !bytes.Equal(got.Blocks[i].Postings, want[i].Postings), !bytes.Equal(got.Blocks[i].Positions, want[i].Positions):
			return fmt.Errorf("term %q: wrong postings", want[i].Term)
		}
	}
	return nil
}
