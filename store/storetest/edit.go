package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/analysis"
	"github.com/llmemory/llmemory/internal/postings"
)

func (s *suite) editCases() []testCase {
	return []testCase{
		{name: "NewOwner", run: s.testNewOwner},
		{name: "Selection", run: s.testSelection},
		{name: "Commit", run: s.testCommit},
		{name: "Update", run: s.testUpdate},
		{name: "Dated", run: s.testDated},
		{name: "Vectors", run: s.testEditVectors},
		{name: "Put", run: s.testPut},
		{name: "RemovalsFirst", run: s.testRemovalsFirst},
		{name: "Atomic", run: s.testAtomic},
		{name: "Load", run: s.testLoad},
		{name: "Leaves", run: s.testLeaves},
		{name: "DeadAndLengths", run: s.testDeadAndLengths},
		{name: "OrdinalsNeverReused", run: s.testOrdinals},
		{name: "Serialised", run: s.testSerialised, overlapping: true},
		{name: "FirstEditsMeet", run: s.testFirstEdits, overlapping: true},
		{name: "OwnersApart", run: s.testOwnersApart, overlapping: true},
	}
}

func openEdit(t *testing.T, store llmemory.Store, p llmemory.EditParams) llmemory.Edit {
	t.Helper()
	p.Analysis = analysis.Version
	edit := must(store.Edit(t.Context(), p))(t)
	t.Cleanup(func() {
		if err := edit.Rollback(background(t)); err != nil {
			t.Errorf("rollback: %v", err)
		}
	})
	return edit
}

// handmade returns a document of some leaves and a parent over them, as Changes that store it for a new owner.
func handmade(t *testing.T, owner, key string, leaves ...string) llmemory.Changes {
	t.Helper()
	identity := llmemory.Identity{OriginID: "o", Key: key}
	id := llmemory.DocumentID(owner, identity)
	date := time.Date(2021, 2, 3, 4, 5, 6, 789000, time.UTC)
	c := llmemory.Changes{Owner: owner, Rows: llmemory.Rows{Documents: []llmemory.DocumentRecord{{
		StoredDocument: llmemory.StoredDocument{
			ID: id, OriginID: "o", Key: key, Name: "name of " + key, Type: llmemory.PDF, Date: date,
			Metadata: map[string]any{"n": 1.5}, Language: "en", Bytes: 10, Tokens: 20, ChunkCount: len(leaves), Version: 1,
			Format: "docx", Markup: "markdown", Title: "title of " + key, Author: "Ann O'Nymous",
		},
		ContentHash: []byte{0, 1, 255}, RawMetadata: []byte(`{"n":1.5}`), Tail: " \n", SourceHash: []byte{9, 0, 8}, Pages: []byte{0, 4},
	}}}}
	chunkID := func(i int) string {
		return llmemory.DocumentID(owner, llmemory.Identity{OriginID: "chunk of " + key, Key: fmt.Sprint(i)})
	}
	parent := llmemory.ChunkRecord{Chunk: llmemory.Chunk{ID: chunkID(-1), DocumentID: id, Level: 1, Start: 1, End: 9, Heading: "H > I",
		Tokens: 20, Page: 1, PageEnd: 2, Summary: "all of it"}}
	c.InsertChunks = append(c.InsertChunks, parent)
	var b postings.Builder
	for i, text := range leaves {
		c.InsertChunks = append(c.InsertChunks, llmemory.ChunkRecord{
			Chunk: llmemory.Chunk{ID: chunkID(i), DocumentID: id, ParentID: parent.ID, Position: i, Start: i, End: i + 1, Heading: "H",
				Tokens: 3 + i, Text: text, Page: 1 + i, PageEnd: 2 + i, Context: fmt.Sprint("context ", i), Summary: fmt.Sprint("summary ", i)},
			Lead: "\n", Ordinal: uint64(i), Length: 2 + i, InputHash: []byte{byte(i), 0},
		})
		if err := b.Add(postings.Doc{Ordinal: uint64(i), Length: 2 + i, Tokens: []postings.Token{{Term: "en:x"}, {Term: "en:" + text, Position: 1}}}); err != nil {
			t.Fatal(err)
		}
		c.State.Length += int64(2 + i)
	}
	segment := b.Segment()
	out := llmemory.LoadedSegment{Segment: llmemory.Segment{ID: 1, Low: segment.Low, High: segment.High, Leaves: len(leaves)}}
	for _, p := range segment.Pages() {
		out.Pages = append(out.Pages, llmemory.IndexPage{Segment: 1, First: p.First, Postings: p.Postings, Positions: p.Positions})
		out.Bytes += int64(len(p.Postings) + len(p.Positions))
	}
	c.InsertSegments = []llmemory.LoadedSegment{out}
	c.State.Documents, c.State.Leaves, c.State.NextOrdinal, c.State.NextSegment = 1, int64(len(leaves)), uint64(len(leaves)), 2
	c.State.Analysis, c.State.Languages, c.State.MergeDue = analysis.Version, map[string]int{"en": len(leaves)}, true
	return c
}

func (s *suite) testNewOwner(t *testing.T) {
	owner := t.Name()
	edit := openEdit(t, s.shared, llmemory.EditParams{Owner: owner})
	state := edit.State()
	if state.Analysis != analysis.Version || state.Documents != 0 || state.Leaves != 0 || state.Length != 0 || state.NextOrdinal != 0 ||
		len(state.Languages) != 0 || state.MergeDue {
		t.Errorf("state of a new owner: %+v", state)
	}
	if len(edit.Documents()) != 0 || len(edit.Segments()) != 0 {
		t.Errorf("a new owner has %d documents, %d segments", len(edit.Documents()), len(edit.Segments()))
	}
	if err := edit.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := read(t, s.shared, llmemory.PostingsParams{Owner: owner})
	if diff := cmp.Diff(llmemory.OwnerState{}, r.State, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the rollback left a state (-want +got):\n%s", diff)
	}
}

func (s *suite) testSelection(t *testing.T) {
	o := s.owner(t)
	ids := map[string]string{}
	for _, key := range []string{"a", "b", "c"} {
		ids[key] = add(t, o, llmemory.Document{OriginID: "o", Key: key, Content: join("first "+key, "second "+key),
			Metadata: map[string]any{"ab": key != "c"}}).DocumentID
	}
	where := llmemory.Where{Metadata: llmemory.Meta("ab").Eq(true)}
	lowest := min(ids["a"], ids["b"])
	for name, c := range map[string]struct {
		p    llmemory.EditParams
		want []string
	}{
		"nothing":    {llmemory.EditParams{}, nil},
		"identities": {llmemory.EditParams{Identities: []llmemory.Identity{{OriginID: "o", Key: "b"}, {OriginID: "p", Key: "a"}}}, []string{ids["b"]}},
		"not new":    {llmemory.EditParams{Identities: []llmemory.Identity{{OriginID: "o", Key: "c"}, {OriginID: "o", Key: "d"}}, New: true}, []string{ids["c"]}},
		"ids":        {llmemory.EditParams{DocumentIDs: []string{ids["c"], unknownID}}, []string{ids["c"]}},
		"where":      {llmemory.EditParams{Where: &where}, []string{ids["a"], ids["b"]}},
		"all":        {llmemory.EditParams{Where: &llmemory.Where{}}, []string{ids["a"], ids["b"], ids["c"]}},
		"limit":      {llmemory.EditParams{Where: &where, Limit: 1}, []string{lowest}},
	} {
		c.p.Owner = o.ID()
		edit := openEdit(t, s.shared, c.p)
		var got []string
		for _, d := range edit.Documents() {
			got = append(got, d.Document.ID)
			if len(d.Document.ContentHash) == 0 || d.Document.Version != 1 {
				t.Errorf("%s: incomplete record %+v", name, d.Document)
			}
			levels := map[int]int{}
			for _, chunk := range d.Chunks {
				levels[chunk.Level]++
				if chunk.Text != "" {
					t.Errorf("%s: chunks carry text", name)
				}
				if chunk.DocumentID != d.Document.ID || chunk.Level == 0 && (len(chunk.InputHash) == 0 || chunk.ParentID == "") {
					t.Errorf("%s: chunk %+v", name, chunk)
				}
			}
			if levels[0] != 2 || levels[1] != 1 {
				t.Errorf("%s: chunks by level %v", name, levels)
			}
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: selected %q, want %q", name, got, c.want)
		}
		if state := edit.State(); state.Documents != 3 || state.Leaves != 6 {
			t.Errorf("%s: state %+v", name, state)
		}
		if err := edit.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *suite) testCommit(t *testing.T) {
	owner := t.Name()
	want := handmade(t, owner, "k", "one", "two")
	edit := openEdit(t, s.shared, llmemory.EditParams{Owner: owner})
	if _, err := edit.Commit(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if err := edit.Rollback(t.Context()); err != nil {
		t.Errorf("Rollback after Commit: %v", err)
	}
	d, chunks, err := s.shared.Document(t.Context(), llmemory.DocumentParams{Owner: owner, DocumentID: want.Documents[0].ID, Leaves: true,
		Parents: true})
	if err != nil {
		t.Fatal(err)
	}
	if d.CreatedAt.IsZero() || !d.CreatedAt.Equal(d.UpdatedAt) || d.CreatedAt.Location() != time.UTC {
		t.Errorf("created at %v, updated at %v", d.CreatedAt, d.UpdatedAt)
	}
	ignoreTimes := cmpopts.IgnoreFields(llmemory.StoredDocument{}, "CreatedAt", "UpdatedAt")
	rawJSON := cmpopts.IgnoreFields(llmemory.DocumentRecord{}, "RawMetadata") // stores may write it in another form
	if diff := cmp.Diff(want.Documents[0], *d, ignoreTimes, rawJSON); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
	stored := append(slices.Clone(want.InsertChunks[1:]), want.InsertChunks[0])
	stored[2].Text = "" // a parent's text is that of its leaves
	if diff := cmp.Diff(stored, chunks, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("chunks (-want +got):\n%s", diff)
	}
	r := read(t, s.shared, llmemory.PostingsParams{Owner: owner, Terms: []string{"en:x"}, Positions: true})
	if diff := cmp.Diff(want.State, r.State); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.InsertSegments, r.Segments, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("segments (-want +got):\n%s", diff)
	}
}

// testPut writes rows and the pages of a segment ahead of the commit, in two goes.
func (s *suite) testPut(t *testing.T) {
	owner := t.Name()
	terms := []string{strings.Repeat("a", 1000), strings.Repeat("b", 1000), strings.Repeat("c", 1000)}
	want := handmade(t, owner, "k", terms...)
	pages := want.InsertSegments[0].Pages
	if len(pages) < 3 {
		t.Fatalf("%d pages", len(pages))
	}
	ahead := want
	ahead.Rows = llmemory.Rows{}
	ahead.InsertSegments = slices.Clone(want.InsertSegments)
	ahead.InsertSegments[0].Pages = pages[2:]
	for _, last := range []bool{false, true} { // a rollback leaves nothing in the way
		edit := openEdit(t, s.shared, llmemory.EditParams{Owner: owner})
		for i, rows := range []llmemory.Rows{want.Rows, {}} {
			if err := edit.Put(t.Context(), llmemory.PutParams{Owner: owner, Rows: rows, Pages: pages[i : i+1]}); err != nil {
				t.Fatal(err)
			}
		}
		if !s.OneTransaction {
			if r := read(t, s.shared, llmemory.PostingsParams{Owner: owner, Terms: []string{"en:x", "en:" + terms[0]}}); len(r.Segments) > 0 {
				t.Errorf("seen before the commit: %+v", r.Segments)
			}
			if d, _, err := s.shared.Document(t.Context(), llmemory.DocumentParams{Owner: owner, DocumentID: want.Documents[0].ID}); !errors.Is(err, llmemory.ErrNotFound) {
				t.Errorf("seen before the commit: %+v, %v", d, err)
			}
		}
		end := edit.Rollback
		if last {
			end = func(ctx context.Context) error {
				_, err := edit.Commit(ctx, ahead)
				return err
			}
		}
		if err := end(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	edit := openEdit(t, s.shared, llmemory.EditParams{Owner: owner})
	loaded := must(edit.Load(t.Context(), llmemory.LoadParams{Owner: owner, Segments: []int64{1}}))(t)
	if diff := cmp.Diff(want.InsertSegments, loaded, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("segments (-want +got):\n%s", diff)
	}
	if err := edit.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	d, chunks, err := s.shared.Document(t.Context(), llmemory.DocumentParams{Owner: owner, DocumentID: want.Documents[0].ID, Leaves: true})
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != want.Documents[0].Name {
		t.Errorf("document %+v", d)
	}
	if diff := cmp.Diff(want.InsertChunks[1:], chunks, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("chunks (-want +got):\n%s", diff)
	}
}

func (s *suite) testUpdate(t *testing.T) {
	owner := t.Name()
	first := handmade(t, owner, "k", "one", "two", "three")
	if _, err := openEdit(t, s.shared, llmemory.EditParams{Owner: owner}).Commit(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	id := first.Documents[0].ID
	before, _, err := s.shared.Document(t.Context(), llmemory.DocumentParams{Owner: owner, DocumentID: id})
	if err != nil {
		t.Fatal(err)
	}
	next := llmemory.Changes{Owner: owner, State: first.State}
	d := first.Documents[0]
	d.Name, d.Type, d.Date, d.Language, d.Version, d.Tail = "new name", llmemory.Chat, time.Time{}, "de", 2, ""
	d.Metadata, d.RawMetadata, d.ContentHash = map[string]any{}, []byte(`{}`), []byte{7}
	d.Format, d.Markup, d.Title, d.Author, d.SourceHash, d.Pages = "rtf", "", "new title", "", nil, []byte{1, 2, 3}
	d.Bytes, d.Tokens, d.ChunkCount = 1, 2, 2
	next.Documents = []llmemory.DocumentRecord{d}
	moved := first.InsertChunks[1]
	moved.ParentID, moved.Position, moved.Start, moved.End, moved.Heading, moved.Lead = "", 1, 5, 8, "New", "\t"
	moved.Tokens, moved.Ordinal, moved.Length, moved.InputHash = 9, 17, 8, []byte{9}
	moved.Page, moved.PageEnd, moved.Context, moved.Summary = 7, 8, "new context", ""
	next.UpdateChunks = []llmemory.ChunkRecord{moved}
	next.DeleteChunks = []string{first.InsertChunks[0].ID, first.InsertChunks[2].ID}
	var last time.Time
	for range 2 { // updated_at grows even if the clock does not
		if _, err := openEdit(t, s.shared, llmemory.EditParams{Owner: owner}).Commit(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		got, chunks, err := s.shared.Document(t.Context(), llmemory.DocumentParams{Owner: owner, DocumentID: id, Leaves: true, Parents: true})
		if err != nil {
			t.Fatal(err)
		}
		if !got.CreatedAt.Equal(before.CreatedAt) {
			t.Errorf("created at %v, was %v", got.CreatedAt, before.CreatedAt)
		}
		if !got.UpdatedAt.After(before.UpdatedAt) || !got.UpdatedAt.After(last) {
			t.Errorf("updated at %v, was %v", got.UpdatedAt, before.UpdatedAt)
		}
		last = got.UpdatedAt
		ignore := cmp.Options{cmpopts.IgnoreFields(llmemory.StoredDocument{}, "CreatedAt", "UpdatedAt"),
			cmpopts.IgnoreFields(llmemory.DocumentRecord{}, "RawMetadata"), cmpopts.EquateEmpty()}
		if diff := cmp.Diff(d, *got, ignore); diff != "" {
			t.Errorf("document (-want +got):\n%s", diff)
		}
		want := map[string]llmemory.ChunkRecord{moved.ID: moved, first.InsertChunks[3].ID: first.InsertChunks[3]}
		have := map[string]llmemory.ChunkRecord{}
		for _, c := range chunks {
			have[c.ID] = c
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("chunks (-want +got):\n%s", diff)
		}
	}
}

// testDated stores documents that bring their dates and version along, as new ones and over others; the next change is dated by the
// store again.
func (s *suite) testDated(t *testing.T) {
	owner := t.Name()
	stored := func(id string) *llmemory.DocumentRecord {
		t.Helper()
		d, _, err := s.shared.Document(t.Context(), llmemory.DocumentParams{Owner: owner, DocumentID: id})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	commit := func(c llmemory.Changes) {
		t.Helper()
		if _, err := openEdit(t, s.shared, llmemory.EditParams{Owner: owner}).Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	c := handmade(t, owner, "k", "one", "two")
	plain := c.Documents[0]
	plain.Key, plain.ID = "plain", llmemory.DocumentID(owner, llmemory.Identity{OriginID: "o", Key: "plain"})
	d := c.Documents[0]
	d.Version = 7
	d.CreatedAt = time.Date(2001, 2, 3, 4, 5, 6, 7000, time.UTC)
	d.UpdatedAt = time.Date(2002, 3, 4, 5, 6, 7, 8000, time.UTC)
	c.Documents = []llmemory.DocumentRecord{d, plain}
	commit(c)
	same := cmp.Options{cmpopts.IgnoreFields(llmemory.DocumentRecord{}, "RawMetadata")} // stores may write it in another form
	if diff := cmp.Diff(d, *stored(d.ID), same); diff != "" {
		t.Errorf("a new document with dates (-want +got):\n%s", diff)
	}
	if got := stored(plain.ID); got.Version != 1 || time.Since(got.CreatedAt).Abs() > time.Hour {
		t.Errorf("one without dates, in the same edit, has version %d, created at %v", got.Version, got.CreatedAt)
	}
	d.Version, d.Name, d.Metadata, d.RawMetadata = 3, "older", map[string]any{}, []byte(`{}`)
	d.CreatedAt, d.UpdatedAt = d.CreatedAt.AddDate(-1, 0, 0), d.UpdatedAt.AddDate(-1, 0, 0)
	commit(llmemory.Changes{Owner: owner, Rows: llmemory.Rows{Documents: []llmemory.DocumentRecord{d}}, State: c.State})
	if diff := cmp.Diff(d, *stored(d.ID), same); diff != "" {
		t.Errorf("an older version over the stored one (-want +got):\n%s", diff)
	}
	next := d
	next.Version, next.CreatedAt, next.UpdatedAt = 4, time.Time{}, time.Time{}
	commit(llmemory.Changes{Owner: owner, Rows: llmemory.Rows{Documents: []llmemory.DocumentRecord{next}}, State: c.State})
	if got := stored(d.ID); !got.CreatedAt.Equal(d.CreatedAt) || time.Since(got.UpdatedAt).Abs() > time.Hour {
		t.Errorf("a change after that: created at %v, updated at %v", got.CreatedAt, got.UpdatedAt)
	}
}

// testEditVectors has leaves bring their vectors along: they are stored bit for bit, and are not queued.
func (s *suite) testEditVectors(t *testing.T) {
	a, b := newWords("a", 16), newWords("b", 24)
	m := s.fresh(t, a)
	store := m.Store()
	first := must(m.AddGeneration(t.Context(), nil, ""))(t)
	second := must(m.AddGeneration(t.Context(), b, ""))(t)
	c := handmade(t, "o", "k", "one", "two", "three")
	odd := []float32{1, -0.1, 1e-7, 0.3333333, 0, 1, -1, 0.5, 0.25, 7, 8, 9, 10, 11, 12, math.Nextafter32(1, 2)}
	c.Vectors = []llmemory.LeafVector{
		{Generation: first.ID, Ordinal: 0, Hash: []byte("h0"), Vector: a.vector("one")},
		{Generation: second.ID, Ordinal: 1, Hash: []byte("h1"), Vector: b.vector("two")},
		{Generation: first.ID, Ordinal: 1, Hash: []byte("h1"), Vector: odd},
	}
	for i := range 3 {
		c.Queue = append(c.Queue, llmemory.QueueLeaf{Ordinal: uint64(i), Hash: fmt.Appendf(nil, "h%d", i)})
	}
	committed := must(openEdit(t, store, llmemory.EditParams{Owner: "o"}).Commit(t.Context(), c))(t)
	if !slices.Equal(committed.Waiting, []uint64{2}) {
		t.Errorf("waiting in the active generation: %v, want leaf 2", committed.Waiting)
	}
	embedded := func(owner string, generation int64, ordinals ...uint64) []llmemory.LeafVector {
		t.Helper()
		got := must(store.Embedded(t.Context(), llmemory.EmbeddedParams{Owner: owner, Generation: generation, Ordinals: ordinals}))(t)
		slices.SortFunc(got, func(a, b llmemory.LeafVector) int { return int(a.Ordinal) - int(b.Ordinal) })
		return got
	}
	want := []llmemory.LeafVector{c.Vectors[0], c.Vectors[2]}
	if diff := cmp.Diff(want, embedded("o", first.ID, 2, 1, 99, 0)); diff != "" {
		t.Errorf("vectors of the first generation (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(c.Vectors[1:2], embedded("o", second.ID, 0, 1, 2)); diff != "" {
		t.Errorf("vectors of the second generation (-want +got):\n%s", diff)
	}
	if got := embedded("o", first.ID, 1); len(got) != 1 || got[0].Ordinal != 1 {
		t.Errorf("asked for one leaf: %v", got)
	}
	if got := embedded("o", first.ID); len(got) != 0 {
		t.Errorf("asked for no leaf: %v", got)
	}
	if got := embedded("p", first.ID, 0, 1, 2); len(got) != 0 {
		t.Errorf("another owner is told %v", got)
	}
	if _, err := store.Embedded(t.Context(), llmemory.EmbeddedParams{Owner: "o", Generation: 999, Ordinals: []uint64{1}}); !errors.Is(err, llmemory.ErrNotFound) {
		t.Errorf("of an unknown generation: %v, want ErrNotFound", err)
	}
	for generation, want := range map[int64]int64{first.ID: 1, second.ID: 2} {
		if p := must(m.Progress(t.Context(), generation))(t); p.Waiting != want {
			t.Errorf("generation %d: %d passages wait, want %d", generation, p.Waiting, want)
		}
	}
	// A leaf of the same input gets a copy of what another brought along.
	next := handmade(t, "o", "copy", "one")
	next.InsertChunks[1].Ordinal, next.InsertSegments, next.State = 3, nil, c.State
	next.State.NextOrdinal = 4
	next.Queue = []llmemory.QueueLeaf{{Ordinal: 3, Hash: []byte("h0")}}
	if committed := must(openEdit(t, store, llmemory.EditParams{Owner: "o"}).Commit(t.Context(), next))(t); len(committed.Waiting) != 0 {
		t.Errorf("waiting although the vector is known: %v", committed.Waiting)
	}
	if got := embedded("o", first.ID, 3); len(got) != 1 || !slices.Equal(got[0].Vector, c.Vectors[0].Vector) {
		t.Errorf("a leaf of the same input has %v", got)
	}
}

func (s *suite) testRemovalsFirst(t *testing.T) {
	owner := t.Name()
	c := handmade(t, owner, "k", "one", "two")
	if _, err := openEdit(t, s.shared, llmemory.EditParams{Owner: owner}).Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	// The same document once more, under the same ids.
	c.DeleteDocuments = []string{c.Documents[0].ID}
	c.DeleteSegments = []int64{1}
	c.InsertSegments[0].ID = 2
	c.State.NextSegment = 3
	for i := range c.InsertChunks {
		c.InsertChunks[i].Text += "!"
	}
	if _, err := openEdit(t, s.shared, llmemory.EditParams{Owner: owner}).Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	_, chunks, err := s.shared.Document(t.Context(), llmemory.DocumentParams{Owner: owner, DocumentID: c.Documents[0].ID, Leaves: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(chunks) != 2 || chunks[0].Text != "one!" {
		t.Errorf("chunks %+v, want the new ones", chunks)
	}
	if r := read(t, s.shared, llmemory.PostingsParams{Owner: owner}); len(r.Segments) != 1 {
		t.Errorf("%d segments, want the new one", len(r.Segments))
	}
}

func (s *suite) testAtomic(t *testing.T) {
	owner := t.Name()
	add(t, memory(t, s.shared).Owner(owner), llmemory.Document{Name: "kept", Content: "kept text"})
	kept := must(s.shared.Lookup(t.Context(), llmemory.LookupParams{Owner: owner, Identities: []llmemory.Identity{{OriginID: "default", Key: "kept"}}}))(t)
	state := read(t, s.shared, llmemory.PostingsParams{Owner: owner}).State
	bad := handmade(t, owner, "k", "one", "two")
	bad.DeleteDocuments = []string{kept[0].ID}
	bad.InsertSegments[0].ID, bad.State.NextSegment = 100, 101
	for i := range bad.InsertChunks {
		bad.InsertChunks[i].Ordinal += 100
	}
	broken := bad
	broken.InsertChunks = append(slices.Clone(bad.InsertChunks), bad.InsertChunks[1]) // an id twice
	homeless := bad
	homeless.InsertChunks = slices.Clone(bad.InsertChunks)
	homeless.InsertChunks[1].DocumentID = unknownID
	for name, c := range map[string]struct {
		ctx     context.Context
		changes llmemory.Changes
	}{
		"a chunk twice":            {t.Context(), broken},
		"chunk without a document": {t.Context(), homeless},
		"cancelled":                {ended(t), bad},
	} {
		edit := openEdit(t, s.shared, llmemory.EditParams{Owner: owner})
		if _, err := edit.Commit(c.ctx, c.changes); err == nil {
			t.Errorf("%s: Commit succeeded", name)
		}
		if err := edit.Rollback(t.Context()); err != nil {
			t.Errorf("%s: Rollback after a failed Commit: %v", name, err)
		}
		docs, total, err := s.shared.List(t.Context(), llmemory.ListParams{Owner: owner, OrderBy: llmemory.ByName, Limit: 10})
		if err != nil || total != 1 || docs[0].ID != kept[0].ID {
			t.Errorf("%s: %d documents, %v; want the one there was", name, total, err)
		}
		if diff := cmp.Diff(state, read(t, s.shared, llmemory.PostingsParams{Owner: owner}).State); diff != "" {
			t.Errorf("%s: state changed (-want +got):\n%s", name, diff)
		}
	}
	edit := openEdit(t, s.shared, llmemory.EditParams{Owner: owner})
	if err := edit.Rollback(ended(t)); err != nil {
		t.Errorf("Rollback with a context that has ended: %v", err)
	}
	edit = openEdit(t, s.shared, llmemory.EditParams{Owner: owner}) // the lock is free
	if _, err := edit.Commit(t.Context(), bad); err != nil {
		t.Errorf("without the fault: %v", err)
	}
}

func (s *suite) testLoad(t *testing.T) {
	o := s.owner(t)
	add(t, o, llmemory.Document{Name: "folded", Language: "en", Content: numbered(520, "alpha w%d")})
	for i := range 3 {
		add(t, o, llmemory.Document{Name: fmt.Sprint("small", i), Language: "en", Content: fmt.Sprint("alpha w", i)})
	}
	edit := openEdit(t, s.shared, llmemory.EditParams{Owner: o.ID()})
	segments := edit.Segments()
	if len(segments) != 4 {
		t.Fatalf("segments %+v, want a large one and three small ones", segments)
	}
	for i, seg := range segments {
		if seg.Low >= seg.High || i > 0 && seg.Low < segments[i-1].High {
			t.Errorf("segment %d covers [%d, %d)", seg.ID, seg.Low, seg.High)
		}
	}
	loaded := must(edit.Load(t.Context(), llmemory.LoadParams{Owner: o.ID(), Segments: []int64{segments[2].ID, segments[0].ID, 1 << 40}}))(t)
	byID := map[int64]llmemory.LoadedSegment{}
	for _, l := range loaded {
		byID[l.ID] = l
	}
	if len(loaded) != 2 {
		t.Fatalf("%d segments loaded, want 2", len(loaded))
	}
	if diff := cmp.Diff(segments[0], byID[segments[0].ID].Segment, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("segment (-want +got):\n%s", diff)
	}
	for _, i := range []int{0, 2} {
		l := byID[segments[i].ID]
		size := int64(0)
		for j, p := range l.Pages {
			if p.Segment != l.ID || j > 0 && p.First <= l.Pages[j-1].First {
				t.Fatalf("page %d begins at %q, of segment %d", j, p.First, p.Segment)
			}
			if len(p.Positions) == 0 {
				t.Fatalf("page %q came without positions", p.First)
			}
			size += int64(len(p.Postings) + len(p.Positions))
		}
		terms := 0
		for _, err := range opened(t, l.Pages).Blocks() {
			if err != nil {
				t.Fatal(err)
			}
			terms++
		}
		if want := map[int]int{0: 522, 2: 3}[i]; size != segments[i].Bytes || terms != want {
			t.Errorf("segment %d: %d terms in %d bytes, want %d in %d", i, terms, size, want, segments[i].Bytes)
		}
	}
}

func (s *suite) testLeaves(t *testing.T) {
	o := s.owner(t)
	add(t, o, llmemory.Document{Name: "n", Language: "en", Content: join("# Title", numbered(4, "english %d"))})
	add(t, o, llmemory.Document{Language: "de", Title: "Titel", Content: numbered(4, "deutsch %d {Wort}")})
	edit := openEdit(t, s.shared, llmemory.EditParams{Owner: o.ID()})
	var all []llmemory.LeafRecord
	for after := int64(-1); ; {
		page := must(edit.Leaves(t.Context(), llmemory.LeavesParams{Owner: o.ID(), After: after, Limit: 4}))(t)
		if len(page) == 0 {
			break
		}
		if len(page) > 4 || len(page) < 4 && len(all)+len(page) != 9 {
			t.Fatalf("page of %d leaves", len(page))
		}
		all = append(all, page...)
		after = int64(page[len(page)-1].Ordinal)
	}
	if len(all) != 9 {
		t.Fatalf("%d leaves, want 9", len(all))
	}
	for i, l := range all {
		if i > 0 && l.Ordinal <= all[i-1].Ordinal {
			t.Errorf("leaf %d has ordinal %d after %d", i, l.Ordinal, all[i-1].Ordinal)
		}
		want := llmemory.LeafRecord{Ordinal: l.Ordinal, DocumentName: "n", Language: "en", Heading: "Title", Text: fmt.Sprintf("english %d", i-1)}
		switch {
		case i == 0:
			want.Text = "# Title"
		case i > 4:
			want = llmemory.LeafRecord{Ordinal: l.Ordinal, DocumentName: "Titel", Language: "de", Context: "about Wort",
				Text: fmt.Sprintf("deutsch %d {Wort}", i-5)}
		}
		if diff := cmp.Diff(want, l); diff != "" {
			t.Errorf("leaf %d (-want +got):\n%s", i, diff)
		}
	}
}

func (s *suite) testDeadAndLengths(t *testing.T) {
	owner := t.Name()
	c := handmade(t, owner, "k", "one", "two")
	if _, err := openEdit(t, s.shared, llmemory.EditParams{Owner: owner}).Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	dead := postings.NewSet(1).Encode()
	lengths := []llmemory.LeafLength{{Ordinal: 1, Length: 99}, {Ordinal: 5, Length: 1}}
	next := llmemory.Changes{Owner: owner, State: c.State, Rows: llmemory.Rows{SetLengths: lengths},
		DeadSegments: []llmemory.Segment{{ID: 1, Dead: dead, DeadCount: 1}}}
	if _, err := openEdit(t, s.shared, llmemory.EditParams{Owner: owner}).Commit(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	edit := openEdit(t, s.shared, llmemory.EditParams{Owner: owner, DocumentIDs: []string{c.Documents[0].ID}})
	want := c.InsertSegments[0].Segment
	want.Dead, want.DeadCount = dead, 1
	if diff := cmp.Diff([]llmemory.Segment{want}, edit.Segments()); diff != "" {
		t.Errorf("segments (-want +got):\n%s", diff)
	}
	have := map[uint64]int{}
	for _, chunk := range edit.Documents()[0].Chunks {
		if chunk.Level == 0 {
			have[chunk.Ordinal] = chunk.Length
		}
	}
	if diff := cmp.Diff(map[uint64]int{0: 2, 1: 99}, have); diff != "" {
		t.Errorf("lengths (-want +got):\n%s", diff)
	}
}

func (s *suite) testOrdinals(t *testing.T) {
	o := s.owner(t)
	used := map[uint64]string{}
	var next uint64
	for round := range 4 {
		id := add(t, o, llmemory.Document{Name: "d", Content: join("same", fmt.Sprint("round ", round))}).DocumentID
		for text, ordinal := range ordinals(t, s.shared, o.ID()) {
			if was, ok := used[ordinal]; ok {
				t.Errorf("round %d: ordinal %d of %q was that of %q", round, ordinal, text, was)
			}
			used[ordinal] = text
		}
		must(o.Delete(t.Context(), id))(t)
		state := read(t, s.shared, llmemory.PostingsParams{Owner: o.ID()}).State
		if state.NextOrdinal <= next || state.Leaves != 0 || state.Length != 0 || state.Documents != 0 || len(state.Languages) != 0 {
			t.Errorf("round %d: state %+v after ordinal %d", round, state, next)
		}
		next = state.NextOrdinal
	}
}

func (s *suite) testSerialised(t *testing.T) {
	o := s.owner(t)
	add(t, o, llmemory.Document{Name: "d", Content: "text"})
	first := openEdit(t, s.shared, llmemory.EditParams{Owner: o.ID()})
	type answer struct {
		edit llmemory.Edit
		err  error
	}
	second := make(chan answer, 1)
	go func() {
		edit, err := s.shared.Edit(t.Context(), llmemory.EditParams{Owner: o.ID(), DocumentIDs: []string{unknownID}, Where: nil})
		second <- answer{edit, err}
	}()
	select {
	case <-second:
		t.Fatal("two edits of one owner are open at a time")
	case <-time.After(100 * time.Millisecond):
	}
	state := first.State()
	state.NextOrdinal = 1000
	if _, err := first.Commit(t.Context(), llmemory.Changes{Owner: o.ID(), State: state}); err != nil {
		t.Fatal(err)
	}
	got := <-second
	if got.err != nil {
		t.Fatal(got.err)
	}
	if n := got.edit.State().NextOrdinal; n != 1000 {
		t.Errorf("the second edit sees next ordinal %d, want 1000 of the first", n)
	}
	if err := got.edit.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (s *suite) testFirstEdits(t *testing.T) {
	m := memory(t, s.shared)
	for round := range s.scale(20, 5) {
		o := m.Owner(fmt.Sprint(t.Name(), " ", round))
		const writers = 3
		errs := make(chan error, writers)
		for i := range writers {
			go func() {
				_, err := o.Add(t.Context(), llmemory.Document{Name: fmt.Sprint(i), Content: "text"})
				errs <- err
			}()
		}
		for range writers {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if stats := must(o.Stats(t.Context()))(t); stats.Documents != writers {
			t.Errorf("round %d: %d documents, want %d", round, stats.Documents, writers)
		}
	}
}

func (s *suite) testOwnersApart(t *testing.T) {
	o := s.owner(t)
	if s.OneWriter {
		s.testOwnersTakeTurns(t, o)
		return
	}
	openEdit(t, s.shared, llmemory.EditParams{Owner: o.ID() + " the other"})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := o.Add(ctx, llmemory.Document{Name: "d", Content: "text"}); err != nil {
		t.Errorf("an edit of another owner stands in the way: %v", err)
	}
}

// testOwnersTakeTurns is testOwnersApart for a store with one write lock: others wait for it, and no longer than they want to.
func (s *suite) testOwnersTakeTurns(t *testing.T, o *llmemory.Owner) {
	first := openEdit(t, s.shared, llmemory.EditParams{Owner: o.ID() + " the other"})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := o.Add(ctx, llmemory.Document{Name: "d", Content: "text"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while another owner is edited: %v, want context.DeadlineExceeded", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := o.Add(t.Context(), llmemory.Document{Name: "d", Content: "text"})
		done <- err
	}()
	if err := first.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Errorf("after the other owner's edit: %v", err)
	}
}
