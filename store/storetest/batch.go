package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/llmemory/llmemory"
)

func (s *suite) batchCases() []testCase {
	return []testCase{
		{name: "Order", run: s.testBatch},
		{name: "SameIdentity", run: s.testBatchSameIdentity},
		{name: "Large", run: s.testLargeBatch},
		{name: "Cancelled", run: s.testBatchCancelled},
		{name: "Empty", run: s.testEmptyBatch},
	}
}

func (s *suite) testBatch(t *testing.T) {
	o := s.owner(t)
	add(t, o, llmemory.Document{Name: "taken", Content: "alpha taken"})
	docs := []llmemory.Document{
		{Name: "a", Content: join("alpha", "beta")},
		{Name: "empty", Content: " "},
		{Name: "b", Content: "alpha"},
		{Name: "type", Type: "novel", Content: "alpha"},
		{Name: "taken", Content: "alpha new", IfExists: llmemory.Refuse},
		{Name: "taken", Content: "alpha new", IfExists: llmemory.Skip},
		{Name: "bytes", Content: "alpha \xff"},
		{Name: "c", Content: "alpha"},
		{Name: "metadata", Content: "alpha", Metadata: map[string]any{"f": func() {}}},
		{Name: "taken", Content: "alpha newest"},
	}
	got, err := o.AddMany(t.Context(), docs)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(docs) {
		t.Fatalf("%d results of %d documents", len(got), len(docs))
	}
	for i, want := range []struct {
		status llmemory.Status
		err    error
	}{
		{llmemory.Created, nil}, {llmemory.Failed, llmemory.ErrInvalid}, {llmemory.Created, nil}, {llmemory.Failed, llmemory.ErrInvalid},
		{llmemory.Failed, llmemory.ErrConflict}, {llmemory.Unchanged, nil}, {llmemory.Failed, llmemory.ErrInvalid}, {llmemory.Created, nil},
		{llmemory.Failed, llmemory.ErrInvalid}, {llmemory.Updated, nil},
	} {
		if got[i].Status != want.status || !errors.Is(got[i].Err, want.err) {
			t.Errorf("document %d (%s): %s, %v; want %s, %v", i, docs[i].Name, got[i].Status, got[i].Err, want.status, want.err)
		}
		if want.err != nil {
			continue
		}
		if d := must(o.Get(t.Context(), got[i].DocumentID))(t); d.Name != docs[i].Name {
			t.Errorf("result %d is of %s, want %s", i, d.Name, docs[i].Name)
		}
	}
	if got[0].Chunks != 2 {
		t.Errorf("%d chunks, want 2", got[0].Chunks)
	}
	if hits := search(t, o, "alpha", llmemory.SearchOptions{}); len(hits) != 4 {
		t.Errorf("found %q, want the four good ones", texts(hits))
	}
}

func (s *suite) testBatchSameIdentity(t *testing.T) {
	o := s.owner(t)
	got := addMany(t, o, []llmemory.Document{
		{Name: "n", Content: "alpha one"}, {Name: "m", Content: "alpha other"}, {Name: "n", Content: "alpha two"}, {Name: "n", Content: "alpha two"},
	})
	var statuses []llmemory.Status
	for _, a := range got {
		statuses = append(statuses, a.Status)
	}
	if diff := cmp.Diff([]llmemory.Status{llmemory.Created, llmemory.Created, llmemory.Updated, llmemory.Unchanged}, statuses); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	if text := must(o.Text(t.Context(), got[0].DocumentID))(t); text != "alpha two" {
		t.Errorf("text %q, want the last one", text)
	}
	if d := must(o.Get(t.Context(), got[0].DocumentID))(t); d.Version != 2 {
		t.Errorf("version %d, want 2", d.Version)
	}
	if hits := search(t, o, "alpha", llmemory.SearchOptions{}); len(hits) != 2 {
		t.Errorf("found %q", texts(hits))
	}
	// Back to what is stored, by way of something else; then something to be compared with that.
	statuses = nil
	for _, a := range addMany(t, o, []llmemory.Document{
		{Name: "n", Content: join("alpha", "three")}, {Name: "n", Content: "alpha two"}, {Name: "n", Content: join("alpha", "beta", "four")},
		{Name: "n", Content: "alpha two", IfExists: llmemory.Skip},
	}) {
		statuses = append(statuses, a.Status)
		if want := []int{2, 1, 3, 3}[len(statuses)-1]; a.Chunks != want {
			t.Errorf("version %d: %d chunks, want %d", len(statuses), a.Chunks, want)
		}
	}
	if diff := cmp.Diff([]llmemory.Status{llmemory.Updated, llmemory.Updated, llmemory.Updated, llmemory.Unchanged}, statuses); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	if d := must(o.Get(t.Context(), got[0].DocumentID))(t); d.Version != 5 {
		t.Errorf("version %d, want 5", d.Version)
	}
}

func (s *suite) testLargeBatch(t *testing.T) {
	o := s.owner(t)
	docs := make([]llmemory.Document, 150)
	for i := range docs {
		docs[i] = llmemory.Document{Name: fmt.Sprint(i), Content: numbered(1+i%40, fmt.Sprintf("common unique%d part%%d", i))}
	}
	got := addMany(t, o, docs)
	leaves := 0
	for i, a := range got {
		leaves += 1 + i%40
		if a.Status != llmemory.Created || a.Chunks != 1+i%40 {
			t.Errorf("document %d: %+v", i, a)
		}
	}
	stats := must(o.Stats(t.Context()))(t)
	if stats.Documents != 150 || stats.Chunks != int64(leaves) {
		t.Errorf("%d documents, %d chunks; want 150, %d", stats.Documents, stats.Chunks, leaves)
	}
	for _, i := range []int{0, 63, 64, 149} {
		if hits := search(t, o, fmt.Sprint("unique", i), llmemory.SearchOptions{Limit: 100}); len(hits) != 1+i%40 {
			t.Errorf("document %d: %d hits, want %d", i, len(hits), 1+i%40)
		}
	}
	again := addMany(t, o, docs)
	for i, a := range again {
		if a.Status != llmemory.Unchanged {
			t.Errorf("document %d again: %+v", i, a)
		}
	}
	after := must(o.Stats(t.Context()))(t)
	if diff := cmp.Diff(stats, after, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the same once more changed something (-before +after):\n%s", diff)
	}
}

func (s *suite) testBatchCancelled(t *testing.T) {
	o := s.owner(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	docs := []llmemory.Document{{Name: "a", Content: "alpha"}, {Name: "b", Content: "alpha"}}
	got, err := o.AddMany(ctx, docs)
	if !errors.Is(err, context.Canceled) || len(got) != 2 {
		t.Errorf("%d results, %v; want context.Canceled", len(got), err)
	}
	for i, a := range got {
		if a.Status != llmemory.Failed || a.Err == nil {
			t.Errorf("document %d: %+v", i, a)
		}
	}
	if stats := must(o.Stats(t.Context()))(t); stats.Documents != 0 {
		t.Errorf("%d documents stored", stats.Documents)
	}
	for i, a := range addMany(t, o, docs) {
		if a.Status != llmemory.Created {
			t.Errorf("document %d afterwards: %+v", i, a)
		}
	}
}

func (s *suite) testEmptyBatch(t *testing.T) {
	o := s.owner(t)
	before := read(t, s.shared, llmemory.PostingsParams{Owner: o.ID()})
	got, err := o.AddMany(t.Context(), nil)
	if err != nil || len(got) != 0 {
		t.Errorf("no documents: %v, %v", got, err)
	}
	if diff := cmp.Diff(before, read(t, s.shared, llmemory.PostingsParams{Owner: o.ID()})); diff != "" {
		t.Errorf("no documents, yet written (-before +after):\n%s", diff)
	}
}
