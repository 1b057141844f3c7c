package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/analysis"
)

const unknownID = "00000000-0000-8000-8000-000000000000"

func (s *suite) storeCases() []testCase {
	return []testCase{
		{name: "Lookup", run: s.testLookup},
		{name: "Document", run: s.testDocument},
		{name: "Chunks", run: s.testChunks},
		{name: "List", run: s.testStoreList},
		{name: "DocumentIDs", run: s.testDocumentIDs},
		{name: "Owners", run: s.testOwners},
		{name: "StatsOfUnknownOwner", run: s.testUnknownStats},
		{name: "Backlog", run: s.testBacklog},
		{name: "Info", run: s.testInfo},
		{name: "Closed", run: s.testClosed},
		{name: "Cancelled", run: s.testCancelled},
	}
}

func (s *suite) testLookup(t *testing.T) {
	o := s.owner(t)
	for _, key := range []string{"a", "b", "c"} {
		add(t, o, llmemory.Document{OriginID: "o1", Key: key, Name: "N " + key, Content: "text of " + key + "\n",
			Metadata: map[string]any{"key": key}})
	}
	add(t, o, llmemory.Document{OriginID: "o2", Key: "a", Content: "elsewhere"})
	got, err := s.shared.Lookup(t.Context(), llmemory.LookupParams{Owner: o.ID(), Identities: []llmemory.Identity{
		{OriginID: "o1", Key: "c"}, {OriginID: "o1", Key: "missing"}, {OriginID: "o1", Key: "a"}, {OriginID: "o2", Key: "b"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	for _, d := range got {
		keys[d.OriginID+"/"+d.Key] = d.Name
		if len(d.ContentHash) == 0 || d.Tail != "\n" || string(d.Metadata["key"].(string)) != d.Key || len(d.RawMetadata) == 0 {
			t.Errorf("incomplete record %+v", d)
		}
		if d.ID != llmemory.DocumentID(o.ID(), llmemory.Identity{OriginID: d.OriginID, Key: d.Key}) {
			t.Errorf("document %q has the id %s", d.Key, d.ID)
		}
	}
	if diff := cmp.Diff(map[string]string{"o1/a": "N a", "o1/c": "N c"}, keys); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if none, err := s.shared.Lookup(t.Context(), llmemory.LookupParams{Owner: o.ID()}); err != nil || len(none) != 0 {
		t.Errorf("no identities: %v, %v", none, err)
	}
}

func (s *suite) testDocument(t *testing.T) {
	o := s.owner(t)
	text := " \n" + join("# Top", "one", "two", "three", "four") + "\n\t"
	id := add(t, o, llmemory.Document{Name: "d", Content: text}).DocumentID
	levels := func(leaves, parents bool) (out []int) {
		d, chunks, err := s.shared.Document(t.Context(), llmemory.DocumentParams{Owner: o.ID(), DocumentID: id, Leaves: leaves,
			Parents: parents})
		if err != nil {
			t.Fatal(err)
		}
		if d.ID != id || d.Name != "d" {
			t.Errorf("document %+v", d)
		}
		position, rebuilt := map[int]int{}, ""
		for _, c := range chunks {
			if c.Position != position[c.Level] {
				t.Errorf("level %d: position %d after %d chunks", c.Level, c.Position, position[c.Level])
			}
			if c.DocumentID != id {
				t.Errorf("chunk %s names document %s", c.ID, c.DocumentID)
			}
			position[c.Level]++
			out = append(out, c.Level)
			if c.Level == 0 {
				rebuilt += c.Lead + c.Text
				if c.Text != text[c.Start:c.End] {
					t.Errorf("chunk %d: %q is not %q", c.Position, c.Text, text[c.Start:c.End])
				}
				if len(c.InputHash) == 0 || c.Length == 0 {
					t.Errorf("leaf %d lacks input hash or length", c.Position)
				}
			}
		}
		if leaves && rebuilt+d.Tail != text {
			t.Errorf("leads, texts and tail make %q of %q", rebuilt+d.Tail, text)
		}
		return out
	}
	for _, c := range []struct {
		leaves, parents bool
		want            []int
	}{
		{false, false, nil}, {true, false, []int{0, 0, 0, 0, 0}}, {false, true, []int{1, 1}}, {true, true, []int{0, 0, 0, 0, 0, 1, 1}},
	} {
		if got := levels(c.leaves, c.parents); !slices.Equal(got, c.want) {
			t.Errorf("leaves %t, parents %t: levels %v, want %v", c.leaves, c.parents, got, c.want)
		}
	}
	_, _, err := s.shared.Document(t.Context(), llmemory.DocumentParams{Owner: o.ID(), DocumentID: unknownID})
	if !errors.Is(err, llmemory.ErrNotFound) {
		t.Errorf("unknown document: %v, want ErrNotFound", err)
	}
}

func (s *suite) testChunks(t *testing.T) {
	o := s.owner(t)
	id := add(t, o, llmemory.Document{Name: "d", Content: numbered(10, "part %d")}).DocumentID
	for _, c := range []struct{ level, offset, limit, want, total int }{
		{0, 0, 100, 10, 10}, {0, 0, 3, 3, 10}, {0, 8, 3, 2, 10}, {0, 10, 3, 0, 10}, {0, 1 << 40, 3, 0, 10},
		{1, 0, 100, 3, 3}, {1, 2, 5, 1, 3}, {2, 0, 100, 0, 0},
	} {
		got, total, err := s.shared.Chunks(t.Context(), llmemory.ChunksParams{Owner: o.ID(), DocumentID: id, Level: c.level,
			Offset: c.offset, Limit: c.limit})
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if len(got) != c.want || total != c.total {
			t.Errorf("%+v: %d chunks of %d", c, len(got), total)
		}
		for i, chunk := range got {
			if chunk.Position != c.offset+i || chunk.Level != c.level {
				t.Errorf("%+v: chunk %d has position %d, level %d", c, i, chunk.Position, chunk.Level)
			}
		}
	}
	_, _, err := s.shared.Chunks(t.Context(), llmemory.ChunksParams{Owner: o.ID(), DocumentID: unknownID, Limit: 1})
	if !errors.Is(err, llmemory.ErrNotFound) {
		t.Errorf("unknown document: %v, want ErrNotFound", err)
	}
}

func (s *suite) testStoreList(t *testing.T) {
	o := s.owner(t)
	var docs []llmemory.Document
	for i := range 7 {
		d := llmemory.Document{OriginID: fmt.Sprint("o", i%2), Key: fmt.Sprint(i), Name: []string{"b", "B", "ä"}[i%3], Content: "same text"}
		if i%3 > 0 {
			d.Date = time.Date(2020+i%2, 1, 1, 0, 0, 0, 0, time.UTC)
		}
		docs = append(docs, d)
	}
	addMany(t, o, docs)
	for _, where := range []llmemory.Where{{}, {Origins: []string{"o0"}}} {
		for _, order := range []llmemory.Order{llmemory.ByCreated, llmemory.ByUpdated, llmemory.ByName, llmemory.ByDate} {
			for _, descending := range []bool{false, true} {
				p := llmemory.ListParams{Owner: o.ID(), Where: where, OrderBy: order, Descending: descending, Limit: 100}
				all, total, err := s.shared.List(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				want := 7
				if !where.IsZero() {
					want = 4
				}
				if len(all) != want || total != want {
					t.Fatalf("%s: %d documents, total %d, want %d", order, len(all), total, want)
				}
				checkOrder(t, plain(all), order, descending)
				var paged []llmemory.DocumentRecord
				for p.Limit = 2; p.Offset < 8; p.Offset += 2 {
					page, total, err := s.shared.List(t.Context(), p)
					if err != nil || total != want {
						t.Fatalf("page at %d: total %d, %v", p.Offset, total, err)
					}
					paged = append(paged, page...)
				}
				if diff := cmp.Diff(all, paged); diff != "" {
					t.Errorf("%s, descending %t: pages differ from the whole (-whole +pages):\n%s", order, descending, diff)
				}
			}
		}
	}
}

func (s *suite) testDocumentIDs(t *testing.T) {
	o := s.owner(t)
	var docs []llmemory.Document
	for i := range 25 {
		docs = append(docs, llmemory.Document{Key: fmt.Sprint(i), Content: "text"})
	}
	var want []string
	for _, a := range addMany(t, o, docs) {
		want = append(want, a.DocumentID)
	}
	slices.Sort(want)
	add(t, memory(t, s.shared).Owner(o.ID()+" stranger"), llmemory.Document{Key: "x", Content: "text"})
	page := func(after string, limit int) []string {
		t.Helper()
		return must(s.shared.DocumentIDs(t.Context(), llmemory.DocumentIDsParams{Owner: o.ID(), After: after, Limit: limit}))(t)
	}
	if diff := cmp.Diff(want, page("", 100)); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	var walked []string
	for after := ""; ; after = walked[len(walked)-1] {
		next := page(after, 7)
		if len(next) == 0 {
			break
		}
		walked = append(walked, next...)
		if len(walked) == 7 { // what goes meanwhile makes nothing else go missing
			must(o.Delete(t.Context(), want[2], want[6], want[20]))(t)
			want = slices.Delete(want, 20, 21)
		}
	}
	if diff := cmp.Diff(want, walked); diff != "" {
		t.Errorf("in pages (-want +got):\n%s", diff)
	}
	if got := page(unknownID, 1); !slices.Equal(got, want[:1]) {
		t.Errorf("after an unknown id: %v", got)
	}
	if got := must(s.shared.DocumentIDs(t.Context(), llmemory.DocumentIDsParams{Owner: "nobody", Limit: 5}))(t); len(got) != 0 {
		t.Errorf("of an unknown owner: %v", got)
	}
}

func (s *suite) testOwners(t *testing.T) {
	store := s.open(t)
	m := memory(t, store)
	page := func(after string, limit int) []string {
		t.Helper()
		return must(store.Owners(t.Context(), llmemory.OwnersParams{After: after, Limit: limit}))(t)
	}
	if got := page("", 10); len(got) != 0 {
		t.Errorf("owners of an empty store: %q", got)
	}
	for _, owner := range []string{"b", "ä", "B", "gone", "a b"} {
		add(t, m.Owner(owner), llmemory.Document{Key: "k", Content: "text"})
	}
	must(m.Owner("gone").DeleteAll(t.Context()))(t)
	want := []string{"B", "a b", "b", "ä"}
	if got := page("", 10); !slices.Equal(got, want) {
		t.Errorf("owners %q, want %q", got, want)
	}
	var walked []string
	for after := ""; ; after = walked[len(walked)-1] {
		next := page(after, 3)
		if len(next) == 0 {
			break
		}
		walked = append(walked, next...)
	}
	if !slices.Equal(walked, want) {
		t.Errorf("in pages: %q, want %q", walked, want)
	}
	if got := page("C", 1); !slices.Equal(got, want[1:2]) {
		t.Errorf("after an unknown owner: %q", got)
	}
}

func plain(records []llmemory.DocumentRecord) []llmemory.StoredDocument {
	out := make([]llmemory.StoredDocument, len(records))
	for i, r := range records {
		out[i] = r.StoredDocument
	}
	return out
}

// checkOrder checks that documents stand in an order, which is total: ties are broken by id, in the same direction, and
// documents without a date come last either way.
func checkOrder(t *testing.T, docs []llmemory.StoredDocument, order llmemory.Order, descending bool) {
	t.Helper()
	for i := 1; i < len(docs); i++ {
		a, b := docs[i-1], docs[i]
		c := 0
		switch order {
		case llmemory.ByCreated:
			c = a.CreatedAt.Compare(b.CreatedAt)
		case llmemory.ByUpdated:
			c = a.UpdatedAt.Compare(b.UpdatedAt)
		case llmemory.ByName:
			c = slices.Compare([]byte(a.Name), []byte(b.Name))
		case llmemory.ByDate:
			if a.Date.IsZero() != b.Date.IsZero() {
				if a.Date.IsZero() {
					t.Errorf("%s, descending %t: a document without a date comes before one with", order, descending)
				}
				continue
			}
			c = a.Date.Compare(b.Date)
		}
		if c == 0 {
			c = slices.Compare([]byte(a.ID), []byte(b.ID))
		}
		if descending {
			c = -c
		}
		if c >= 0 {
			t.Errorf("%s, descending %t: document %d (%s) must not come before %d (%s)", order, descending, i-1, a.ID, i, b.ID)
		}
	}
}

func (s *suite) testUnknownStats(t *testing.T) {
	got, err := s.shared.Stats(t.Context(), llmemory.StatsParams{Owner: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&llmemory.StatsRecord{}, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("stats of an unknown owner (-want +got):\n%s", diff)
	}
}

func (s *suite) testBacklog(t *testing.T) {
	store := s.open(t)
	m := memory(t, store)
	backlog := func(limit int) []string {
		t.Helper()
		return must(store.Backlog(t.Context(), llmemory.BacklogParams{Analysis: analysis.Version, Limit: limit}))(t)
	}
	for _, name := range []string{"fine", "merge", "stale"} {
		add(t, m.Owner(name), llmemory.Document{Name: "d", Content: "some text"})
	}
	if got := backlog(10); len(got) != 0 {
		t.Errorf("backlog %q before there is any", got)
	}
	change(t, store, "merge", func(state *llmemory.OwnerState) { state.MergeDue = true })
	change(t, store, "stale", func(state *llmemory.OwnerState) { state.Analysis = 0 })
	if got, want := backlog(10), []string{"stale", "merge"}; !slices.Equal(got, want) {
		t.Errorf("backlog %q, want %q: an index that must be rebuilt is more urgent", got, want)
	}
	if got := backlog(1); len(got) != 1 {
		t.Errorf("backlog %q, want one owner", got)
	}
}

// change edits an owner's state.
func change(tb testing.TB, store llmemory.Store, owner string, f func(*llmemory.OwnerState)) {
	tb.Helper()
	edit := must(store.Edit(tb.Context(), llmemory.EditParams{Owner: owner, Analysis: analysis.Version}))(tb)
	state := edit.State()
	f(&state)
	if _, err := edit.Commit(tb.Context(), llmemory.Changes{Owner: owner, State: state}); err != nil {
		tb.Fatal(err)
	}
}

func (s *suite) testInfo(t *testing.T) {
	info := must(s.shared.Info(t.Context()))(t)
	if info.Engine == "" || info.Version == "" || info.Place == "" {
		t.Errorf("incomplete: %+v", info)
	}
}

// calls are all methods of Store with a context, each with plausible parameters.
func calls(ctx context.Context, store llmemory.Store) map[string]func() error {
	const owner = "caller"
	return map[string]func() error{
		"Lookup": func() error {
			_, err := store.Lookup(ctx, llmemory.LookupParams{Owner: owner, Identities: []llmemory.Identity{{OriginID: "o", Key: "k"}}})
			return err
		},
		"Document": func() error {
			_, _, err := store.Document(ctx, llmemory.DocumentParams{Owner: owner, DocumentID: unknownID})
			return err
		},
		"Chunks": func() error {
			_, _, err := store.Chunks(ctx, llmemory.ChunksParams{Owner: owner, DocumentID: unknownID, Limit: 1})
			return err
		},
		"List": func() error {
			_, _, err := store.List(ctx, llmemory.ListParams{Owner: owner, OrderBy: llmemory.ByName, Limit: 1})
			return err
		},
		"DocumentIDs": func() error {
			_, err := store.DocumentIDs(ctx, llmemory.DocumentIDsParams{Owner: owner, Limit: 1})
			return err
		},
		"Owners":  func() error { _, err := store.Owners(ctx, llmemory.OwnersParams{Limit: 1}); return err },
		"Stats":   func() error { _, err := store.Stats(ctx, llmemory.StatsParams{Owner: owner}); return err },
		"Backlog": func() error { _, err := store.Backlog(ctx, llmemory.BacklogParams{Limit: 1}); return err },
		"Info":    func() error { _, err := store.Info(ctx); return err },
		"View": func() error {
			view, err := store.View(ctx, llmemory.ViewParams{Owner: owner})
			if err != nil {
				return err
			}
			defer view.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the question's error is the one that matters
			_, err = view.Postings(ctx, llmemory.PostingsParams{Owner: owner, Terms: []string{"en:x"}})
			return err
		},
		"Edit": func() error {
			edit, err := store.Edit(ctx, llmemory.EditParams{Owner: owner, Analysis: analysis.Version})
			if err != nil {
				return err
			}
			return edit.Rollback(context.WithoutCancel(ctx))
		},
	}
}

func (s *suite) testClosed(t *testing.T) {
	store := s.open(t)
	o := memory(t, store).Owner("o")
	id := add(t, o, llmemory.Document{Name: "d", Content: "text"}).DocumentID
	for range 2 {
		if err := store.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	for name, call := range calls(t.Context(), store) {
		if err := call(); !errors.Is(err, llmemory.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
	if _, err := store.View(t.Context(), llmemory.ViewParams{Owner: "o"}); !errors.Is(err, llmemory.ErrClosed) {
		t.Errorf("View after Close: %v, want ErrClosed", err)
	}
	if _, err := o.Add(t.Context(), llmemory.Document{Name: "e", Content: "text"}); !errors.Is(err, llmemory.ErrClosed) {
		t.Errorf("Add after Close: %v, want ErrClosed", err)
	}
	if _, err := o.AddMany(t.Context(), []llmemory.Document{{Name: "e", Content: "text"}}); !errors.Is(err, llmemory.ErrClosed) {
		t.Errorf("AddMany after Close: %v, want ErrClosed", err)
	}
	if _, err := o.Get(t.Context(), id); !errors.Is(err, llmemory.ErrClosed) {
		t.Errorf("Get after Close: %v, want ErrClosed", err)
	}
}

func (s *suite) testCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls(ctx, s.shared) {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v, want context.Canceled", name, err)
		}
	}
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for name, call := range calls(expired, s.shared) {
		if err := call(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s after the deadline: %v, want context.DeadlineExceeded", name, err)
		}
	}
}
