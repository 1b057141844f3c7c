package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/analysis"
)

func (s *suite) indexCases() []testCase {
	return []testCase{
		{name: "Folding", run: s.testFolding},
		{name: "Exact", run: s.testExact},
		{name: "Purge", run: s.testPurge},
		{name: "Merge", run: s.testMerge},
		{name: "Run", run: s.testRun},
		{name: "StaleAnalysis", run: s.testStale},
		{name: "NewerAnalysis", run: s.testNewer},
	}
}

// testFolding adds documents one by one past the points where the index is rearranged (32 segments, 512 leaves), then deletes them
// one by one, and compares with an index made afresh, the model's, all the way.
func (s *suite) testFolding(t *testing.T) {
	o, m := s.owner(t), newModel(t.Name())
	random := rand.New(rand.NewPCG(seed(t), 0))
	queries := []string{"common", "rare3 common", `"common w5"`, "w1 w2 -rare2"}
	checks := 0
	check := func() *llmemory.Stats {
		t.Helper()
		for _, query := range queries {
			m.compare(t, o, query, llmemory.SearchOptions{Limit: 50})
		}
		if checks++; checks%5 == 0 {
			s.check(t, s.shared, o.ID())
		}
		stats := must(o.Stats(t.Context()))(t)
		leaves := 0
		for _, d := range m.docs {
			leaves += len(d.leaves)
		}
		if stats.Chunks != int64(leaves) || stats.Documents != int64(len(m.docs)) {
			t.Errorf("%d documents of %d chunks, want %d of %d", stats.Documents, stats.Chunks, len(m.docs), leaves)
		}
		return stats
	}
	var ids []string
	documents := s.scale(150, 40)
	folded := false
	for i := range documents {
		doc := llmemory.Document{Key: fmt.Sprint(i), Language: "en", Content: numbered(2+i%5, fmt.Sprintf("common w%d rare%d p%%d", random.IntN(10), i/16))}
		ids = append(ids, add(t, o, doc).DocumentID)
		if _, err := m.add(doc); err != nil {
			t.Fatal(err)
		}
		if i%9 == 0 || i >= 30 && i <= 34 {
			stats := check()
			if stats.Index.Segments > 2*32 {
				t.Errorf("%d segments after %d documents: folding does not keep up", stats.Index.Segments, i+1)
			}
			folded = folded || stats.Index.Unfolded < stats.Chunks
		}
	}
	if !folded && !s.Brief {
		t.Error("no segment was folded: the history is too short")
	}
	random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	for i, id := range ids {
		must(o.Delete(t.Context(), id))(t)
		m.remove(func(d *llmemory.StoredDocument) bool { return d.ID == id })
		if i%9 == 0 {
			check()
		}
	}
	if stats := check(); stats.Index != (llmemory.IndexStats{}) {
		t.Errorf("an index of nothing: %+v", stats.Index)
	}
	add(t, o, llmemory.Document{Key: "after", Content: "common"})
	if hits := search(t, o, "common", llmemory.SearchOptions{}); len(hits) != 1 {
		t.Errorf("found %q afterwards", texts(hits))
	}
}

func (s *suite) testPurge(t *testing.T) {
	o, m := s.owner(t), newModel(t.Name())
	var docs []llmemory.Document
	for i := range 60 {
		docs = append(docs, llmemory.Document{Key: fmt.Sprint(i), Language: "en", Content: numbered(10, fmt.Sprintf("common d%d p%%d", i%7))})
	}
	ids := map[string]string{}
	for i, a := range addMany(t, o, docs) {
		ids[docs[i].Key] = a.DocumentID
		if _, err := m.add(docs[i]); err != nil {
			t.Fatal(err)
		}
	}
	var most int64
	purged := false
	for i := range 40 {
		id := ids[fmt.Sprint(i)]
		must(o.Delete(t.Context(), id))(t)
		m.remove(func(d *llmemory.StoredDocument) bool { return d.ID == id })
		stats := must(o.Stats(t.Context()))(t)
		purged = purged || stats.Index.DeadLeaves < most
		most = max(most, stats.Index.DeadLeaves)
		if dead := stats.Index.DeadLeaves; dead > 64+(stats.Chunks+dead)/4 {
			t.Errorf("%d dead leaves beside %d live ones were not purged", dead, stats.Chunks)
		}
		m.compare(t, o, "common d3", llmemory.SearchOptions{Limit: 100})
	}
	if !purged {
		t.Errorf("nothing was purged; up to %d dead leaves", most)
	}
	s.check(t, s.shared, o.ID())
}

// mergeable makes an owner with enough segments of blocks to be merged.
func mergeable(t *testing.T, o *llmemory.Owner, m *model) {
	t.Helper()
	for batch := range 9 {
		doc := llmemory.Document{Key: fmt.Sprint(batch), Language: "en", Content: numbered(515, fmt.Sprintf("common b%d p%%d", batch))}
		add(t, o, doc)
		if _, err := m.add(doc); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *suite) testMerge(t *testing.T) {
	store := s.open(t)
	mem := memory(t, store)
	o, m := mem.Owner("o"), newModel("o")
	mergeable(t, o, m)
	before := must(o.Stats(t.Context()))(t)
	if before.Index.Segments < 8 {
		t.Fatalf("%d segments: nothing to merge", before.Index.Segments)
	}
	steps := must(mem.Maintain(t.Context()))(t)
	after := must(o.Stats(t.Context()))(t)
	if steps < 1 || after.Index.Segments >= before.Index.Segments {
		t.Errorf("%d steps left %d of %d segments", steps, after.Index.Segments, before.Index.Segments)
	}
	if steps := must(mem.Maintain(t.Context()))(t); steps != 0 {
		t.Errorf("%d steps when there was nothing to do", steps)
	}
	for _, query := range []string{"common", "b3", `"b3 p17"`, "p5 p6 b1"} {
		m.compare(t, o, query, llmemory.SearchOptions{Limit: 20})
	}
	s.check(t, store, o.ID())
}

func (s *suite) testRun(t *testing.T) {
	store := s.open(t)
	mem := must(llmemory.New(store, &llmemory.Config{Chunker: paragraphs(), Logger: logger(t), MaintenanceInterval: 5 * time.Millisecond}))(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- mem.Run(ctx) }()
	o := mem.Owner("o")
	mergeable(t, o, newModel("o"))
	backlog := llmemory.BacklogParams{Analysis: analysis.Version, Limit: 1}
	for deadline := time.Now().Add(20 * time.Second); len(must(store.Backlog(t.Context(), backlog))(t)) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("Run does not work off the backlog")
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v, want context.Canceled", err)
	}
	if stats := must(o.Stats(t.Context()))(t); stats.Index.Segments > 8 {
		t.Errorf("%d segments", stats.Index.Segments)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := mem.Run(t.Context()); !errors.Is(err, llmemory.ErrClosed) {
		t.Errorf("Run on a closed store: %v, want ErrClosed", err)
	}
}

func (s *suite) testStale(t *testing.T) {
	store := s.open(t)
	mem := memory(t, store)
	for name, refresh := range map[string]func(o *llmemory.Owner, m *model){
		"Maintain": func(*llmemory.Owner, *model) { must(mem.Maintain(t.Context()))(t) },
		"Add": func(o *llmemory.Owner, m *model) {
			doc := llmemory.Document{Key: "new", Language: "en", Content: "common new"}
			add(t, o, doc)
			if _, err := m.add(doc); err != nil {
				t.Error(err)
			}
		},
		"Delete": func(o *llmemory.Owner, m *model) {
			id := llmemory.DocumentID(o.ID(), llmemory.Identity{OriginID: "default", Key: "3"})
			must(o.Delete(t.Context(), id))(t)
			m.remove(func(d *llmemory.StoredDocument) bool { return d.ID == id })
		},
	} {
		o, m := mem.Owner(name), newModel(name)
		for i := range 40 {
			doc := llmemory.Document{Key: fmt.Sprint(i), Name: "title", Language: "en", Content: join("# Heading", numbered(3, fmt.Sprintf("common w%d p%%d", i%5)))}
			add(t, o, doc)
			if _, err := m.add(doc); err != nil {
				t.Fatal(err)
			}
		}
		spoil(t, store, o.ID())
		if stats := must(o.Stats(t.Context()))(t); !stats.Index.Stale {
			t.Errorf("%s: the index is not said to be stale", name)
		}
		if hits := search(t, o, "common", llmemory.SearchOptions{}); len(hits) == 0 {
			t.Errorf("%s: a stale index finds nothing", name)
		}
		refresh(o, m)
		for _, query := range []string{"common", "w3 p1", `"common w2"`, "title heading"} {
			m.compare(t, o, query, llmemory.SearchOptions{Limit: 200})
		}
		if stats := must(o.Stats(t.Context()))(t); stats.Index.Stale || stats.Index.DeadLeaves > 10 {
			t.Errorf("%s: index %+v", name, stats.Index)
		}
		s.check(t, store, o.ID())
	}
}

// spoil makes an owner's index look like that of an older analysis: another version, other lengths.
func spoil(t *testing.T, store llmemory.Store, owner string) {
	t.Helper()
	edit := openEdit(t, store, llmemory.EditParams{Owner: owner})
	c := llmemory.Changes{Owner: owner, State: edit.State()}
	c.State.Analysis = 0
	c.State.Length += 1000
	for _, l := range must(edit.Leaves(t.Context(), llmemory.LeavesParams{Owner: owner, After: -1, Limit: 10}))(t) {
		c.SetLengths = append(c.SetLengths, llmemory.LeafLength{Ordinal: l.Ordinal, Length: 100})
	}
	if _, err := edit.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// testNewer has a program of today meet an index of tomorrow's analysis.
func (s *suite) testNewer(t *testing.T) {
	o := s.owner(t)
	id := add(t, o, llmemory.Document{Name: "n", Content: "text"}).DocumentID
	change(t, s.shared, o.ID(), func(state *llmemory.OwnerState) { state.Analysis = analysis.Version + 1 })
	if _, err := o.Search(t.Context(), "text", nil); !errors.Is(err, llmemory.ErrUnavailable) {
		t.Errorf("Search: %v, want ErrUnavailable", err)
	}
	if _, err := o.Add(t.Context(), llmemory.Document{Name: "m", Content: "text"}); !errors.Is(err, llmemory.ErrUnavailable) {
		t.Errorf("Add: %v, want ErrUnavailable", err)
	}
	if _, err := o.Delete(t.Context(), id); !errors.Is(err, llmemory.ErrUnavailable) {
		t.Errorf("Delete: %v, want ErrUnavailable", err)
	}
	if text := must(o.Text(t.Context(), id))(t); text != "text" {
		t.Errorf("text %q", text)
	}
	change(t, s.shared, o.ID(), func(state *llmemory.OwnerState) { state.Analysis = analysis.Version })
	if hits := search(t, o, "text", llmemory.SearchOptions{}); len(hits) != 1 {
		t.Errorf("found %q afterwards", texts(hits))
	}
}
