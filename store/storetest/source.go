package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/chunk"
)

func (s *suite) sourceCases() []testCase {
	return []testCase{
		{name: "Described", run: s.testDescribed},
		{name: "Pages", run: s.testPages},
		{name: "PagesMove", run: s.testPagesMove},
		{name: "Title", run: s.testTitle},
		{name: "Context", run: s.testLeafContext},
		{name: "ContextEmbedded", run: s.testContextEmbedded},
		{name: "Overlap", run: s.testOverlap},
	}
}

// testDescribed stores what a document says of itself, and changes it without touching its passages.
func (s *suite) testDescribed(t *testing.T) {
	o := s.owner(t)
	doc := llmemory.Document{Name: "n.docx", Title: "A title", Author: "Ann", Format: "docx", Markup: "markdown", Content: "text"}
	id := add(t, o, doc).DocumentID
	same := func(why string, version int64) {
		t.Helper()
		got := must(o.Get(t.Context(), id))(t)
		want := llmemory.StoredDocument{Title: doc.Title, Author: doc.Author, Format: doc.Format, Markup: doc.Markup, Version: version}
		have := llmemory.StoredDocument{Title: got.Title, Author: got.Author, Format: got.Format, Markup: got.Markup, Version: got.Version}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s (-want +got):\n%s", why, diff)
		}
		for _, hit := range search(t, o, "text", llmemory.SearchOptions{}) {
			if diff := cmp.Diff(*got, hit.Document); diff != "" {
				t.Errorf("%s: the hit's document (-want +got):\n%s", why, diff)
			}
		}
	}
	same("new", 1)
	if again := add(t, o, doc); again.Status != llmemory.Unchanged {
		t.Errorf("added again: %s", again.Status)
	}
	before := ordinals(t, s.shared, o.ID())
	doc.Title, doc.Author, doc.Format = "Another", "Bob", "odt"
	if again := add(t, o, doc); again.Status != llmemory.Updated || again.ChunksReused != 1 {
		t.Errorf("changed: %+v", again)
	}
	same("changed", 2)
	if diff := cmp.Diff(before, ordinals(t, s.shared, o.ID())); diff != "" {
		t.Errorf("the passages have others ordinals (-want +got):\n%s", diff)
	}
}

// pagesOf are the pages of a document's leaves, then of its parents.
func pagesOf(t *testing.T, o *llmemory.Owner, id string) (out []string) {
	t.Helper()
	_, chunks, err := o.GetWithChunks(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chunks {
		out = append(out, fmt.Sprintf("%d-%d", c.Page, c.PageEnd))
	}
	return out
}

func (s *suite) testPages(t *testing.T) {
	o := s.owner(t)
	const text = "\x00\nfirst\n\nsecond spans\ntwo\n\nthird"
	// Page 2 begins within the second paragraph, page 3 is empty, page 4 begins with the third.
	doc := llmemory.Document{Key: "k", Content: text, Pages: []int{0, 22, 27, 27}}
	id := add(t, o, doc).DocumentID
	if diff := cmp.Diff([]string{"1-1", "1-2", "4-4", "1-4"}, pagesOf(t, o, id)); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	hits := search(t, o, "spans", llmemory.SearchOptions{Parents: true, Neighbours: 1})
	if len(hits) != 1 || hits[0].Page != 1 || hits[0].PageEnd != 2 || hits[0].Parent.PageEnd != 4 || hits[0].After[0].Page != 4 {
		t.Errorf("hits: %+v", hits)
	}
	plain := add(t, o, llmemory.Document{Key: "plain", Content: "no pages"}).DocumentID
	if diff := cmp.Diff([]string{"0-0"}, pagesOf(t, o, plain)); diff != "" {
		t.Errorf("pages of a document without (-want +got):\n%s", diff)
	}
	for why, pages := range map[string][]int{"beyond": {0, 99}, "out of order": {5, 3}, "negative": {-1}, "inside of a character": {1}} {
		_, err := o.Add(t.Context(), llmemory.Document{Key: "bad", Content: "é", Pages: pages})
		if bad := (*llmemory.InvalidError)(nil); !errors.As(err, &bad) || bad.Field != "pages" {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// testPagesMove inserts a page at the front: everything else moves on by a page, and nothing of it is embedded or indexed again.
func (s *suite) testPagesMove(t *testing.T) {
	store := s.open(t)
	e := newWords("m", 8)
	o := embeddingMemory(t, store, e).Owner("o")
	doc := llmemory.Document{Key: "k", Language: "en", Content: numbered(9, "passage number %d"), Format: "pdf"}
	for i := range 3 {
		doc.Pages = append(doc.Pages, i*3*len("passage number 0\n\n"))
	}
	id := add(t, o, doc).DocumentID
	before := ordinals(t, store, o.ID())
	e.asked()
	front := join("a new front page", "") // with the gap after it
	doc.Content = front + doc.Content
	for i := range doc.Pages {
		doc.Pages[i] += len(front)
	}
	doc.Pages = append([]int{0}, doc.Pages...)
	again := add(t, o, doc)
	if again.Status != llmemory.Updated || again.Chunks != 10 || again.ChunksReused != 9 || again.Embedded != 1 {
		t.Errorf("a page more: %+v", again)
	}
	if diff := cmp.Diff([]string{"a new front page"}, e.asked()); diff != "" {
		t.Errorf("embedded (-want +got):\n%s", diff)
	}
	want := []string{"1-1", "2-2", "2-2", "2-2", "3-3", "3-3", "3-3", "4-4", "4-4", "4-4"}
	if diff := cmp.Diff(want, pagesOf(t, o, id)[:10]); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	after := ordinals(t, store, o.ID())
	for text, ordinal := range before {
		if after[text] != ordinal {
			t.Errorf("%q has ordinal %d, had %d", text, after[text], ordinal)
		}
	}
	// Page breaks that move within the same text are noted, and cost nothing either.
	doc.Pages = doc.Pages[:2]
	if again := add(t, o, doc); again.Status != llmemory.Updated || again.ChunksReused != 10 || again.Embedded != 0 || len(e.asked()) != 0 {
		t.Errorf("other page breaks: %+v", again)
	}
	if got := pagesOf(t, o, id)[:10]; slices.Max(got) != "2-2" {
		t.Errorf("pages: %v", got)
	}
	s.check(t, store, o.ID())
}

// testTitle finds documents without a name by their title, and keeps the index right when it changes.
func (s *suite) testTitle(t *testing.T) {
	o := s.owner(t)
	found := func(query string) int {
		t.Helper()
		return len(search(t, o, query, llmemory.SearchOptions{}))
	}
	doc := llmemory.Document{Key: "untitled", Title: "Zanzibar", Language: "en", Content: "text"}
	add(t, o, doc)
	add(t, o, llmemory.Document{Key: "named", Name: "name.pdf", Title: "Zanzibar", Language: "en", Content: "text"})
	if n := found("zanzibar"); n != 1 {
		t.Errorf("%d hits by title, want the one without a name", n)
	}
	doc.Title = "Timbuktu"
	add(t, o, doc)
	if found("zanzibar") != 0 || found("timbuktu") != 1 {
		t.Errorf("after the title changed: %d hits by the old one, %d by the new one", found("zanzibar"), found("timbuktu"))
	}
	s.check(t, s.shared, o.ID())
}

// testLeafContext finds passages by their context, which is no part of their text.
func (s *suite) testLeafContext(t *testing.T) {
	o := s.owner(t)
	doc := llmemory.Document{Key: "k", Language: "en", Content: join("one", "two {river}", "three")}
	id := add(t, o, doc).DocumentID
	hits := search(t, o, `about`, llmemory.SearchOptions{})
	if len(hits) != 0 {
		t.Errorf("a stop word finds %d passages", len(hits))
	}
	hits = search(t, o, `river`, llmemory.SearchOptions{})
	if len(hits) != 1 || hits[0].Context != "about river" || hits[0].Summary != "river" || hits[0].Text != "two {river}" {
		t.Fatalf("hits: %+v", hits)
	}
	if got := must(o.Text(t.Context(), id))(t); got != doc.Content {
		t.Errorf("text: %q", got)
	}
	if again := add(t, o, doc); again.Status != llmemory.Unchanged {
		t.Errorf("added again: %s", again.Status)
	}
	s.check(t, s.shared, o.ID())
}

// testContextEmbedded embeds passages with their context, now and from the queue.
func (s *suite) testContextEmbedded(t *testing.T) {
	store := s.open(t)
	e := newWords("m", 8)
	m := embeddingMemory(t, store, e)
	const want = "Title\nHead\nabout river\ntwo {river}"
	for i, when := range []llmemory.Embed{llmemory.EmbedNow, llmemory.EmbedLater} {
		add(t, m.Owner(fmt.Sprint("o", i)), llmemory.Document{Key: "k", Title: "Title", Content: join("# Head", "two {river}"), Embed: when})
		if _, err := m.EmbedQueue(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if got := e.asked(); !slices.Contains(got, want) {
			t.Errorf("%s: embedded %q, want %q among them", when, got, want)
		}
	}
}

// testOverlap searches and embeds passages with the text before them that they overlap, which stays where it is.
func (s *suite) testOverlap(t *testing.T) {
	store := s.open(t)
	e := newWords("m", 8)
	m := must(llmemory.New(store, &llmemory.Config{Embedder: e, Logger: logger(t), Chunker: chunk.Func{
		Name: "overlapping", Cut: func(_ context.Context, text chunk.Text) ([]chunk.Piece, error) {
			return []chunk.Piece{{End: 5, Parent: -1, Tokens: 1}, {Start: 6, End: len(text.Content), Parent: -1, Overlap: 6, Tokens: 1}}, nil
		},
	}}))(t)
	o := m.Owner("o")
	doc := llmemory.Document{Key: "k", Language: "en", Content: "river water"}
	id := add(t, o, doc).DocumentID
	if diff := cmp.Diff([]string{"river", "river\nwater"}, e.asked()); diff != "" {
		t.Errorf("embedded (-want +got):\n%s", diff)
	}
	if hits := search(t, o, "river", llmemory.SearchOptions{Mode: llmemory.ByText}); len(hits) != 2 {
		t.Errorf("%d hits, want both passages", len(hits))
	}
	if got := must(o.Text(t.Context(), id))(t); got != doc.Content {
		t.Errorf("text: %q", got)
	}
}
