package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
)

func (s *suite) documentCases() []testCase {
	return []testCase{
		{name: "Identity", run: s.testIdentity},
		{name: "DeterministicIDs", run: s.testIDs},
		{name: "IfExists", run: s.testIfExists},
		{name: "RoundTrip", run: s.testRoundTrip},
		{name: "Unchanged", run: s.testUnchanged},
		{name: "RowOnly", run: s.testRowOnly},
		{name: "EditOneParagraph", run: s.testEditParagraph},
		{name: "RepeatedParagraphs", run: s.testRepeated},
		{name: "Rename", run: s.testRename},
		{name: "NULs", run: s.testNULs},
		{name: "Source", run: s.testSource},
		{name: "Get", run: s.testGet},
		{name: "Torn", run: s.testTorn},
		{name: "Stats", run: s.testStats},
	}
}

func (s *suite) testIdentity(t *testing.T) {
	o := s.owner(t)
	docs := []llmemory.Document{
		{OriginID: "a", Name: "n", Content: "1"},
		{OriginID: "a", Key: "k", Name: "n", Content: "2"},
		{OriginID: "b", Name: "n", Content: "3"},
		{Name: "n", Content: "4"},
		{Content: "5"},
		{Content: "6"},
	}
	ids := map[string]bool{}
	for _, d := range docs {
		added := add(t, o, d)
		if added.Status != llmemory.Created {
			t.Errorf("%+v: %s", d, added.Status)
		}
		ids[added.DocumentID] = true
		stored := must(o.Get(t.Context(), added.DocumentID))(t)
		origin, key := d.OriginID, d.Key
		if origin == "" {
			origin = "default"
		}
		if key == "" {
			key = d.Name
		}
		if stored.OriginID != origin || key != "" && stored.Key != key || !strings.HasPrefix(stored.Key, "sha256:") && key == "" {
			t.Errorf("%+v became (%q, %q)", d, stored.OriginID, stored.Key)
		}
		if want := llmemory.DocumentID(o.ID(), llmemory.Identity{OriginID: stored.OriginID, Key: stored.Key}); want != stored.ID {
			t.Errorf("id %s, want %s", stored.ID, want)
		}
	}
	if len(ids) != len(docs) {
		t.Errorf("%d documents became %d", len(docs), len(ids))
	}
	if again := add(t, o, llmemory.Document{Content: "5"}); again.Status != llmemory.Unchanged {
		t.Errorf("a document known by its content only: %s, want unchanged", again.Status)
	}
	if again := add(t, o, llmemory.Document{OriginID: "a", Key: "n", Content: "1", Name: "n"}); again.Status != llmemory.Unchanged {
		t.Errorf("the name given as key: %s, want unchanged", again.Status)
	}
}

// testIDs pins ids, so that every store, an import and a later version agree on them.
func (s *suite) testIDs(t *testing.T) {
	store := s.open(t)
	o := memory(t, store).Owner("owner")
	added := add(t, o, llmemory.Document{OriginID: "origin", Key: "key", Name: "name", Content: join("same", "same", "other")})
	if want := "a4cad0e9-9012-81de-95a9-68c9a177b25f"; added.DocumentID != want {
		t.Errorf("document id %s, want %s", added.DocumentID, want)
	}
	_, chunks, err := o.GetWithChunks(t.Context(), added.DocumentID)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range chunks {
		got = append(got, c.ID)
	}
	want := []string{
		"a4cad0e9-9012-806c-aca6-64f592d1d370", "a4cad0e9-9012-80a5-9d51-aeb256463b09", "a4cad0e9-9012-8bc9-b9f7-5ca1d65f01d9",
		"a4cad0e9-9012-8b28-96b0-30377847010f",
	}
	if !slices.Equal(got, want) {
		t.Errorf("chunk ids %q, want %q", got, want)
	}
}

func (s *suite) testIfExists(t *testing.T) {
	o := s.owner(t)
	doc := llmemory.Document{OriginID: "o", Key: "k", Name: "n", Content: "first"}
	for _, rule := range []llmemory.IfExists{llmemory.Skip, llmemory.Refuse} {
		fresh := doc
		fresh.Key, fresh.IfExists = "new "+string(rule), rule
		if a := add(t, o, fresh); a.Status != llmemory.Created || a.Chunks != 1 {
			t.Errorf("%s of a new document: %+v", rule, a)
		}
	}
	id := add(t, o, doc).DocumentID
	doc.Content, doc.IfExists = "second", llmemory.Skip
	if a := add(t, o, doc); a.Status != llmemory.Unchanged || a.DocumentID != id || a.Chunks != 1 || a.ChunksReused != 1 {
		t.Errorf("skip: %+v", a)
	}
	doc.IfExists = llmemory.Refuse
	_, err := o.Add(t.Context(), doc)
	var conflict *llmemory.ConflictError
	if !errors.Is(err, llmemory.ErrConflict) || !errors.As(err, &conflict) || conflict.DocumentID != id || conflict.OriginID != "o" || conflict.Key != "k" {
		t.Errorf("error: %v", err)
	}
	if text := must(o.Text(t.Context(), id))(t); text != "first" {
		t.Errorf("text %q, want the first", text)
	}
	doc.IfExists = llmemory.Update
	if a := add(t, o, doc); a.Status != llmemory.Updated || a.DocumentID != id {
		t.Errorf("update: %+v", a)
	}
	if text := must(o.Text(t.Context(), id))(t); text != "second" {
		t.Errorf("text %q, want the second", text)
	}
}

func (s *suite) testRoundTrip(t *testing.T) {
	o := s.owner(t)
	for i, text := range []string{
		"plain", " \n lead and tail \t\r\n", "\ufeffbyte order mark", "Zeile\r\n\r\nZeile", "日本語\n\n中文。", "👩‍👩‍👧 e\u0301 \u00e9",
		`back\slash 'quote' "double" $1 {{tables.x}} %s ?`, "\u2028separator\u2029", "a\x01\x02\x1b[0m", strings.Repeat("long ", 5000),
	} {
		doc := llmemory.Document{
			OriginID: "auth0|abc", Key: fmt.Sprint("https://example.org/?q=", i), Name: `C:\x\"y"'z' 名前`, Type: llmemory.Email, Content: text,
			Date: time.Date(1999, 12, 31, 23, 59, 59, 123456789, time.FixedZone("", 3600)), Language: "en",
			Metadata: map[string]any{"s": "ü\"'\\", "n": 1.5, "i": 3, "b": true, "z": nil, "l": []any{1, "x"}, "o": map[string]any{"": "empty key"}},
		}
		id := add(t, o, doc).DocumentID
		if got := must(o.Text(t.Context(), id))(t); got != text {
			t.Errorf("text %.80q, want %.80q", got, text)
		}
		d := must(o.Get(t.Context(), id))(t)
		want := llmemory.StoredDocument{
			ID: id, OriginID: doc.OriginID, Key: doc.Key, Name: doc.Name, Type: doc.Type, Date: doc.Date.UTC().Truncate(time.Microsecond),
			Metadata: map[string]any{"s": "ü\"'\\", "n": 1.5, "i": 3.0, "b": true, "z": nil, "l": []any{1.0, "x"}, "o": map[string]any{"": "empty key"}},
			Language: "en", Bytes: len(text), Tokens: len(strings.Fields(text)), ChunkCount: d.ChunkCount, Version: 1,
			CreatedAt: d.CreatedAt, UpdatedAt: d.CreatedAt,
		}
		if diff := cmp.Diff(want, *d); diff != "" {
			t.Errorf("%.40q (-want +got):\n%s", text, diff)
		}
		if age := time.Since(d.CreatedAt); age < -time.Minute || age > time.Hour {
			t.Errorf("created at %v", d.CreatedAt)
		}
	}
}

func (s *suite) testUnchanged(t *testing.T) {
	o := s.owner(t)
	doc := llmemory.Document{Name: "n", Type: llmemory.Text, Content: join("one", "two"), Date: time.Date(2020, 1, 1, 0, 0, 0, 1234, time.UTC),
		Metadata: map[string]any{"a": 1, "b": []any{"x"}}}
	first := add(t, o, doc)
	before, chunks, err := o.GetWithChunks(t.Context(), first.DocumentID)
	if err != nil {
		t.Fatal(err)
	}
	state := read(t, s.shared, llmemory.PostingsParams{Owner: o.ID()})
	doc.Metadata = map[string]any{"b": []string{"x"}, "a": 1.0} // the same JSON
	second := add(t, o, doc)
	want := llmemory.Added{DocumentID: first.DocumentID, Key: "n", Status: llmemory.Unchanged, Chunks: 2, ChunksReused: 2}
	if diff := cmp.Diff(want, second); diff != "" {
		t.Errorf("second Add (-want +got):\n%s", diff)
	}
	after, chunksAfter, err := o.GetWithChunks(t.Context(), first.DocumentID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("document (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(chunks, chunksAfter); diff != "" {
		t.Errorf("chunks (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(state, read(t, s.shared, llmemory.PostingsParams{Owner: o.ID()})); diff != "" {
		t.Errorf("index (-before +after):\n%s", diff)
	}
}

func (s *suite) testRowOnly(t *testing.T) {
	o := s.owner(t)
	doc := llmemory.Document{Name: "n", Key: "k", Content: join("one", "two")}
	id := add(t, o, doc).DocumentID
	before, chunks, err := o.GetWithChunks(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	index := read(t, s.shared, llmemory.PostingsParams{Owner: o.ID()})
	for i, change := range []func(){
		func() { doc.Metadata = map[string]any{"new": true} },
		func() { doc.Date = time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC) },
		func() { doc.Type = llmemory.Report },
		func() { doc.Metadata = nil },
		func() { doc.Date = time.Time{} },
	} {
		change()
		added := add(t, o, doc)
		if added.Status != llmemory.Updated || added.Chunks != 2 || added.ChunksReused != 2 {
			t.Errorf("change %d: %+v", i, added)
		}
		after, chunksAfter, err := o.GetWithChunks(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(chunks, chunksAfter); diff != "" {
			t.Errorf("change %d: chunks (-before +after):\n%s", i, diff)
		}
		if after.Version != before.Version+1 || !after.UpdatedAt.After(before.UpdatedAt) || !after.CreatedAt.Equal(before.CreatedAt) ||
			len(after.Metadata) != len(doc.Metadata) || !after.Date.Equal(doc.Date) || doc.Type != "" && after.Type != doc.Type {
			t.Errorf("change %d: %+v after %+v", i, after, before)
		}
		before = after
	}
	if diff := cmp.Diff(index, read(t, s.shared, llmemory.PostingsParams{Owner: o.ID()})); diff != "" {
		t.Errorf("index (-before +after):\n%s", diff)
	}
}

func (s *suite) testEditParagraph(t *testing.T) {
	o := s.owner(t)
	paragraphs := []string{"alpha", "beta", "gamma", "delta", "epsilon"}
	doc := llmemory.Document{Name: "n", Language: "en", Content: join(paragraphs...)}
	id := add(t, o, doc).DocumentID
	ids := leafIDs(t, o, id)
	at := ordinals(t, s.shared, o.ID())
	paragraphs[1] = "a longer replacement"
	doc.Content = join(paragraphs...)
	added := add(t, o, doc)
	if added.Status != llmemory.Updated || added.Chunks != 5 || added.ChunksReused != 4 {
		t.Errorf("one paragraph changed: %+v", added)
	}
	now := leafIDs(t, o, id)
	for _, p := range []string{"alpha", "gamma", "delta", "epsilon"} {
		if ids[p] != now[p] || ids[p] == "" {
			t.Errorf("%q had the id %s, now %s", p, ids[p], now[p])
		}
		if o := ordinals(t, s.shared, o.ID())[p]; o != at[p] {
			t.Errorf("%q had the ordinal %d, now %d", p, at[p], o)
		}
	}
	if text := must(o.Text(t.Context(), id))(t); text != doc.Content {
		t.Errorf("text %q", text)
	}
	checkOffsets(t, o, id)
	if hits := search(t, o, "beta", llmemory.SearchOptions{}); len(hits) != 0 {
		t.Errorf("the old paragraph is still found: %q", texts(hits))
	}
	if hits := search(t, o, "replacement", llmemory.SearchOptions{}); len(hits) != 1 || hits[0].ID != now["a longer replacement"] {
		t.Errorf("the new paragraph: %q", texts(hits))
	}
	paragraphs = slices.Insert(paragraphs, 0, "inserted in front") // moves every other
	doc.Content = join(paragraphs...)
	if added := add(t, o, doc); added.ChunksReused != 5 || added.Chunks != 6 {
		t.Errorf("one paragraph inserted: %+v", added)
	}
	checkOffsets(t, o, id)
	paragraphs = paragraphs[:2]
	doc.Content = join(paragraphs...)
	if added := add(t, o, doc); added.ChunksReused != 2 || added.Chunks != 2 {
		t.Errorf("cut short: %+v", added)
	}
	checkOffsets(t, o, id)
	if d := must(o.Get(t.Context(), id))(t); d.Version != 4 || d.ChunkCount != 2 {
		t.Errorf("after three changes: %+v", d)
	}
}

func leafIDs(t *testing.T, o *llmemory.Owner, id string) map[string]string {
	t.Helper()
	_, chunks, err := o.GetWithChunks(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, c := range chunks {
		if c.Level == 0 {
			out[c.Text] = c.ID
		}
	}
	return out
}

// checkOffsets checks that every chunk, parents included, is the text between its offsets.
func checkOffsets(t *testing.T, o *llmemory.Owner, id string) {
	t.Helper()
	text := must(o.Text(t.Context(), id))(t)
	d, chunks, err := o.GetWithChunks(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	leaves := 0
	parents := map[string]bool{"": true}
	for _, c := range chunks {
		if c.Level == 0 {
			leaves++
		} else {
			parents[c.ID] = true
		}
		if c.Start < 0 || c.End > len(text) || c.Text != text[c.Start:c.End] {
			t.Errorf("chunk %d of level %d: %q at [%d, %d)", c.Position, c.Level, c.Text, c.Start, c.End)
		}
	}
	for _, c := range chunks {
		if !parents[c.ParentID] {
			t.Errorf("chunk %d has the parent %s, which is not there", c.Position, c.ParentID)
		}
	}
	if leaves != d.ChunkCount || d.Bytes != len(text) {
		t.Errorf("%d leaves and %d bytes, the document says %d and %d", leaves, len(text), d.ChunkCount, d.Bytes)
	}
}

func (s *suite) testRepeated(t *testing.T) {
	o := s.owner(t)
	id := add(t, o, llmemory.Document{Name: "n", Content: join("apple", "apple", "apple", "fin")}).DocumentID
	_, chunks, err := o.GetWithChunks(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, c := range chunks {
		ids[c.ID] = true
	}
	if len(ids) != 5 {
		t.Errorf("%d ids of 5 chunks", len(ids))
	}
	if added := add(t, o, llmemory.Document{Name: "n", Content: join("apple", "apple", "fin")}); added.ChunksReused != 3 {
		t.Errorf("one repetition less: %+v", added)
	}
	if hits := search(t, o, "apple", llmemory.SearchOptions{}); len(hits) != 2 {
		t.Errorf("found %q", texts(hits))
	}
}

func (s *suite) testRename(t *testing.T) {
	o := s.owner(t)
	doc := llmemory.Document{Key: "k", Name: "kangaroo", Language: "en", Content: join("alpha", "beta")}
	id := add(t, o, doc).DocumentID
	ids := leafIDs(t, o, id)
	doc.Name = "wallaby"
	if added := add(t, o, doc); added.Status != llmemory.Updated || added.Chunks != 2 || added.DocumentID != id {
		t.Errorf("rename: %+v", added)
	}
	if diff := cmp.Diff(ids, leafIDs(t, o, id)); diff != "" {
		t.Errorf("chunk ids (-before +after):\n%s", diff)
	}
	if hits := search(t, o, "kangaroo", llmemory.SearchOptions{}); len(hits) != 0 {
		t.Errorf("found by the old name: %q", texts(hits))
	}
	if hits := search(t, o, "wallaby", llmemory.SearchOptions{}); len(hits) != 2 {
		t.Errorf("found by the new name: %q", texts(hits))
	}
	doc.Language = "de"
	if added := add(t, o, doc); added.Status != llmemory.Updated {
		t.Errorf("another language: %+v", added)
	}
	if d := must(o.Get(t.Context(), id))(t); d.Language != "de" || d.Version != 3 {
		t.Errorf("after the change of language: %+v", d)
	}
}

func (s *suite) testNULs(t *testing.T) {
	o := s.owner(t)
	added := add(t, o, llmemory.Document{Name: "n", Content: "a\x00b\n\n\x00\x00c", Metadata: map[string]any{"k\x00": "v\x00w", "l": []any{"\x00"}}})
	if added.RemovedNULs != 3 {
		t.Errorf("%d NULs removed, want 3", added.RemovedNULs)
	}
	if text := must(o.Text(t.Context(), added.DocumentID))(t); text != "ab\n\nc" {
		t.Errorf("text %q", text)
	}
	d := must(o.Get(t.Context(), added.DocumentID))(t)
	if diff := cmp.Diff(map[string]any{"k": "vw", "l": []any{""}}, d.Metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if again := add(t, o, llmemory.Document{Name: "n", Content: "a\x00b\n\n\x00\x00c", Metadata: map[string]any{"k": "vw", "l": []any{""}}}); again.Status != llmemory.Unchanged || again.RemovedNULs != 3 {
		t.Errorf("once more: %+v", again)
	}
}

func (s *suite) testSource(t *testing.T) {
	o := s.owner(t)
	added := add(t, o, llmemory.Document{Name: "n.md", Source: strings.NewReader("# Title\n\nfrom a reader")})
	if text := must(o.Text(t.Context(), added.DocumentID))(t); text != "# Title\n\nfrom a reader" {
		t.Errorf("text %q", text)
	}
	if d := must(o.Get(t.Context(), added.DocumentID))(t); d.Type != llmemory.Markdown {
		t.Errorf("type %q, want that of the extractor", d.Type)
	}
	s.refused(t, o, "content", func() error {
		_, err := o.Add(t.Context(), llmemory.Document{Name: "x", Content: "x", Source: strings.NewReader("y")})
		return err
	})
}

func (s *suite) testGet(t *testing.T) {
	o := s.owner(t)
	id := add(t, o, llmemory.Document{Name: "n", Content: numbered(7, "part %d")}).DocumentID
	for _, form := range []string{id, strings.ToUpper(id), strings.ReplaceAll(id, "-", "")} {
		if d := must(o.Get(t.Context(), form))(t); d.ID != id {
			t.Errorf("%s: got %s", form, d.ID)
		}
	}
	for name, call := range map[string]func(id string) error{
		"Get":           func(id string) error { _, err := o.Get(t.Context(), id); return err },
		"Text":          func(id string) error { _, err := o.Text(t.Context(), id); return err },
		"GetWithChunks": func(id string) error { _, _, err := o.GetWithChunks(t.Context(), id); return err },
		"Chunks":        func(id string) error { _, _, err := o.Chunks(t.Context(), id, nil); return err },
	} {
		if err := call(unknownID); !errors.Is(err, llmemory.ErrNotFound) {
			t.Errorf("%s of an unknown id: %v, want ErrNotFound", name, err)
		}
		for _, bad := range []string{"", "x", "' OR 1=1", id + "0", strings.Repeat("-", 36)} {
			var invalid *llmemory.InvalidError
			if err := call(bad); !errors.As(err, &invalid) || invalid.Field != "document id" {
				t.Errorf("%s(%q): %v, want an InvalidError of the document id", name, bad, err)
			}
		}
	}
	for _, c := range []struct{ offset, limit, want int }{{0, 0, 7}, {0, 1000, 7}, {2, 3, 3}, {6, 3, 1}, {7, 3, 0}, {1 << 50, 1, 0}} {
		chunks, total, err := o.Chunks(t.Context(), id, &llmemory.ChunksOptions{Offset: c.offset, Limit: c.limit})
		if err != nil || total != 7 || len(chunks) != c.want {
			t.Errorf("%+v: %d chunks of %d, %v", c, len(chunks), total, err)
		}
		for i, chunk := range chunks {
			if want := fmt.Sprintf("part %d", c.offset+i); chunk.Text != want || chunk.Level != 0 {
				t.Errorf("%+v: %q, want %q", c, chunk.Text, want)
			}
		}
	}
}

// testTorn stores documents whose rows do not agree with their chunks: that is an error, not half an answer.
func (s *suite) testTorn(t *testing.T) {
	for name, said := range map[string]int{"chunks lost": 3, "chunks left over": 1} {
		owner := t.Name() + " " + name
		c := handmade(t, owner, "k", "alpha", "beta")
		c.Documents[0].ChunkCount = said
		edit := openEdit(t, s.shared, llmemory.EditParams{Owner: owner})
		if _, err := edit.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		o, id := memory(t, s.shared).Owner(owner), c.Documents[0].ID
		if _, _, err := o.GetWithChunks(t.Context(), id); !errors.Is(err, llmemory.ErrCorrupt) {
			t.Errorf("%s: GetWithChunks: %v, want ErrCorrupt", name, err)
		}
		if _, err := o.Text(t.Context(), id); !errors.Is(err, llmemory.ErrCorrupt) {
			t.Errorf("%s: Text: %v, want ErrCorrupt", name, err)
		}
	}
}

func (s *suite) testStats(t *testing.T) {
	o := s.owner(t)
	if got := must(o.Stats(t.Context()))(t); got.Documents != 0 || got.Chunks != 0 || !got.FirstCreated.IsZero() || got.Index.Stale {
		t.Errorf("stats of nothing: %+v", got)
	}
	add(t, o, llmemory.Document{OriginID: "a", Name: "1", Type: llmemory.PDF, Language: "en", Content: join("one two", "three")})
	add(t, o, llmemory.Document{OriginID: "b", Name: "2", Type: llmemory.PDF, Language: "de", Content: "vier"})
	third := add(t, o, llmemory.Document{OriginID: "b", Name: "3", Language: "en", Content: "fünf"})
	first := must(o.List(t.Context(), &llmemory.ListOptions{Ascending: true}))(t).Documents[0]
	last := must(o.Get(t.Context(), third.DocumentID))(t)
	got := must(o.Stats(t.Context()))(t)
	index := got.Index
	if index.Segments != 3 || index.Unfolded != 4 || index.DeadLeaves != 0 || index.Bytes <= 0 || index.Stale {
		t.Errorf("index %+v", index)
	}
	got.Index = llmemory.IndexStats{}
	want := &llmemory.Stats{
		Documents: 3, Chunks: 4, Parents: 1, Bytes: 14 + 4 + 5, Tokens: 5, Origins: 2,
		ByType: map[llmemory.Type]int64{llmemory.PDF: 2, llmemory.Unknown: 1}, ByLanguage: map[string]int64{"en": 3, "de": 1},
		FirstCreated: first.CreatedAt, LastUpdated: last.UpdatedAt,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
	must(o.Delete(t.Context(), third.DocumentID))(t)
	if got := must(o.Stats(t.Context()))(t); got.Documents != 2 || got.Chunks != 3 || got.ByLanguage["en"] != 2 || got.ByType[llmemory.Unknown] != 0 {
		t.Errorf("after a delete: %+v", got)
	}
}
