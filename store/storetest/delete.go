package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
)

func (s *suite) deleteCases() []testCase {
	return []testCase{
		{name: "ByID", run: s.testDelete},
		{name: "All", run: s.testDeleteAll},
		{name: "Refused", run: s.testDeleteRefused},
		{name: "AddAgain", run: s.testAddAgain},
	}
}

func (s *suite) testDelete(t *testing.T) {
	o := s.owner(t)
	other := memory(t, s.shared).Owner(t.Name() + " other")
	var ids []string
	for i := range 4 {
		ids = append(ids, add(t, o, llmemory.Document{Name: fmt.Sprint(i), Content: join("alpha one", "alpha two")}).DocumentID)
	}
	foreign := add(t, other, llmemory.Document{Name: "theirs", Content: "alpha"}).DocumentID
	asked := []string{ids[2], unknownID, foreign, ids[0], ids[0]}
	slices.Sort(asked)
	slices.Reverse(asked) // they are reported in another order
	got := must(o.Delete(t.Context(), asked...))(t)
	want := llmemory.Deleted{DocumentIDs: []string{min(ids[0], ids[2]), max(ids[0], ids[2])}, Chunks: 4}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
	for i, id := range ids {
		_, err := o.Get(t.Context(), id)
		if gone := errors.Is(err, llmemory.ErrNotFound); gone != (i%2 == 0) {
			t.Errorf("document %d: %v", i, err)
		}
	}
	if got := names(search(t, o, "alpha", llmemory.SearchOptions{})); len(got) != 4 || slices.Contains(got, "0") || slices.Contains(got, "2") {
		t.Errorf("found %q", got)
	}
	if _, err := other.Get(t.Context(), foreign); err != nil {
		t.Errorf("the other owner's document: %v", err)
	}
	if again := must(o.Delete(t.Context(), ids[0]))(t); len(again.DocumentIDs) != 0 || again.Chunks != 0 {
		t.Errorf("deleted twice: %+v", again)
	}
}

func (s *suite) testDeleteAll(t *testing.T) {
	o := s.owner(t)
	other := memory(t, s.shared).Owner(t.Name() + " other")
	add(t, other, llmemory.Document{Name: "n", Content: "alpha"})
	for i := range 5 {
		add(t, o, llmemory.Document{Name: fmt.Sprint(i), Content: join("alpha", "beta")})
	}
	got := must(o.DeleteAll(t.Context()))(t)
	if len(got.DocumentIDs) != 5 || got.Chunks != 10 || !slices.IsSorted(got.DocumentIDs) {
		t.Errorf("deleted %+v", got)
	}
	stats := must(o.Stats(t.Context()))(t)
	if stats.Documents != 0 || stats.Chunks != 0 || stats.Parents != 0 || stats.Index != (llmemory.IndexStats{}) {
		t.Errorf("left behind: %+v", stats)
	}
	if hits := search(t, o, "alpha", llmemory.SearchOptions{}); len(hits) != 0 {
		t.Errorf("found %q", texts(hits))
	}
	if again := must(o.DeleteAll(t.Context()))(t); len(again.DocumentIDs) != 0 {
		t.Errorf("deleted from nothing: %+v", again)
	}
	if hits := search(t, other, "alpha", llmemory.SearchOptions{}); len(hits) != 1 {
		t.Error("the other owner's document is gone")
	}
}

func (s *suite) testDeleteRefused(t *testing.T) {
	o := s.owner(t)
	add(t, o, llmemory.Document{Name: "n", Content: "text"})
	s.refused(t, o, "document ids", func() error { _, err := o.Delete(t.Context()); return err })
	s.refused(t, o, "document ids", func() error { _, err := o.Delete(t.Context(), make([]string, 10_001)...); return err })
	s.refused(t, o, "document id", func() error { _, err := o.Delete(t.Context(), unknownID, "all"); return err })
	s.refused(t, o, "filter", func() error { _, err := o.DeleteWhere(t.Context(), llmemory.Where{}); return err })
	many := make([]string, 10_000)
	for i := range many {
		many[i] = unknownID
	}
	if got, err := o.Delete(t.Context(), many...); err != nil || len(got.DocumentIDs) != 0 {
		t.Errorf("10,000 unknown ids: %+v, %v", got, err)
	}
}

func (s *suite) testAddAgain(t *testing.T) {
	o := s.owner(t)
	doc := llmemory.Document{Name: "n", Content: join("one", "two")}
	first := add(t, o, doc)
	ids := leafIDs(t, o, first.DocumentID)
	add(t, o, llmemory.Document{Name: "n", Content: "changed"})
	must(o.Delete(t.Context(), first.DocumentID))(t)
	second := add(t, o, doc)
	if second.Status != llmemory.Created || second.DocumentID != first.DocumentID || second.ChunksReused != 0 {
		t.Errorf("added again: %+v", second)
	}
	if d := must(o.Get(t.Context(), second.DocumentID))(t); d.Version != 1 {
		t.Errorf("version %d, want 1", d.Version)
	}
	if diff := cmp.Diff(ids, leafIDs(t, o, second.DocumentID)); diff != "" {
		t.Errorf("chunk ids (-first +second):\n%s", diff)
	}
}
