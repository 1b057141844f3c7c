package storetest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/extract"
)

func (s *suite) sourceCases() []testCase {
	return []testCase{
		{name: "Described", run: s.testDescribed},
		{name: "Pages", run: s.testPages},
		{name: "PagesMove", run: s.testPagesMove},
		{name: "LongDocument", run: s.testLongDocument},
		{name: "Slides", run: s.testSlides},
		{name: "Title", run: s.testTitle},
		{name: "Context", run: s.testLeafContext},
		{name: "ContextEmbedded", run: s.testContextEmbedded},
		{name: "Overlap", run: s.testOverlap},
		{name: "Unread", run: s.testUnread},
		{name: "Parts", run: s.testParts},
		{name: "Attachments", run: s.testAttachments},
		{name: "AttachmentsAgain", run: s.testAttachmentsAgain},
		{name: "Reasons", run: s.testReasons},
		{name: "KnownFailures", run: s.testKnownFailures},
		{name: "Twice", run: s.testSourceTwice},
		{name: "ManyContainers", run: s.testManyContainers},
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

// boxes is an extractor of a format for tests. A source that begins with "box" is a container whose other lines are parts, "NAME=TEXT"
// each; one that begins with "mail" is a document of that line with such parts; "fail REASON" fails, "fail later" as long as it has to. Anything else is text. In a part
// "|" stands for the end of a line.
type boxes struct {
	signature string
	calls     atomic.Int64
	later     error // that "fail later" fails with; nil if it does no more
}

func (b *boxes) Signature() string { return b.signature }

var reasons = map[llmemory.Reason]error{
	llmemory.Unsupported: extract.ErrUnsupported, llmemory.Damaged: extract.ErrDamaged, llmemory.Encrypted: extract.ErrEncrypted,
	llmemory.NoText: extract.ErrNoText, llmemory.TooLarge: extract.ErrTooLarge, llmemory.TimedOut: extract.ErrTimeout,
}

func (b *boxes) Extract(ctx context.Context, in extract.Input) (extract.Text, error) {
	b.calls.Add(1)
	r := bufio.NewReader(in.Reader)
	head, err := r.ReadString('\n')
	if err != nil && err != io.EOF {
		return extract.Text{}, err
	}
	if reason, ok := strings.CutPrefix(head, "fail "); ok && (reason != "later" || b.later != nil) {
		if reason == "later" {
			return extract.Text{}, b.later
		}
		return extract.Text{}, fmt.Errorf("test: %w", reasons[llmemory.Reason(strings.TrimSpace(reason))])
	}
	out := extract.Text{Content: head, Type: "text", Format: "test", Title: "found title", Language: "EN"}
	if !strings.HasPrefix(head, "box") && !strings.HasPrefix(head, "mail") {
		rest, err := io.ReadAll(r)
		out.Content += string(rest)
		return out, err
	}
	out.Container = strings.HasPrefix(head, "box")
	if out.Container {
		out.Content = ""
	}
	for {
		line, err := r.ReadString('\n')
		if line == "" {
			return out, nil
		}
		name, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if name == "fail" {
			return extract.Text{}, fmt.Errorf("test: %w", reasons[llmemory.Reason(text)])
		}
		part := extract.Input{Name: name, Reader: strings.NewReader(strings.ReplaceAll(text, "|", "\n"))}
		if perr := in.Part(extract.Within(ctx), part); perr != nil {
			return extract.Text{}, perr
		}
		if err != nil {
			return out, nil
		}
	}
}

// boxed returns an owner whose documents are read by boxes.
func (s *suite) boxed(t *testing.T, b *boxes) *llmemory.Owner {
	t.Helper()
	m := must(llmemory.New(s.shared, &llmemory.Config{Chunker: paragraphs(), Extractor: b, Logger: logger(t)}))(t)
	return m.Owner(t.Name())
}

// outcomes describes what became of parts.
func outcomes(parts []llmemory.Added) (out []string) {
	for _, p := range parts {
		line := fmt.Sprintf("%s %s", p.Key, p.Status)
		if bad := (*llmemory.ContentError)(nil); errors.As(p.Err, &bad) {
			line += " " + string(bad.Reason)
		} else if p.Err != nil {
			line += " " + p.Err.Error()
		}
		out = append(append(out, line), outcomes(p.Parts)...)
	}
	return out
}

// testUnread adds a source again: what was read in the same way from the same bytes is not read again, whatever the reader is.
func (s *suite) testUnread(t *testing.T) {
	b := &boxes{signature: "1"}
	o := s.boxed(t, b)
	source := func() llmemory.Document { return llmemory.Document{Name: "n", Source: strings.NewReader("some text")} }
	first := add(t, o, source())
	got := must(o.Get(t.Context(), first.DocumentID))(t)
	if got.Title != "found title" || got.Format != "test" || got.Type != llmemory.Text || got.Language != "en" {
		t.Errorf("what was found: %+v", got)
	}
	again := source()
	again.Source = io.MultiReader(strings.NewReader("some "), strings.NewReader("text")) // one that can be read once only
	if r := add(t, o, again); r.Status != llmemory.Unchanged || r.Chunks != 1 || r.DocumentID != first.DocumentID || b.calls.Load() != 1 {
		t.Errorf("again: %+v, read %d times", r, b.calls.Load())
	}
	if r, err := o.AddMany(t.Context(), []llmemory.Document{source(), {Name: "other", Source: strings.NewReader("new")}}); err != nil ||
		r[0].Status != llmemory.Unchanged || r[1].Status != llmemory.Created || b.calls.Load() != 2 {
		t.Errorf("among others: %+v, %v", r, err)
	}
	for why, change := range map[string]func(*llmemory.Document){
		"metadata": func(d *llmemory.Document) { d.Metadata = map[string]any{"a": 1} },
		"type":     func(d *llmemory.Document) { d.Type = llmemory.Report },
		"date":     func(d *llmemory.Document) { d.Date = time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC) },
		"bytes":    func(d *llmemory.Document) { d.Source = strings.NewReader("other text") },
		"vectors":  func(d *llmemory.Document) { d.Embed = llmemory.EmbedNever },
	} {
		d := source()
		change(&d)
		if r := add(t, o, d); r.Status != llmemory.Updated {
			t.Errorf("another %s: %s", why, r.Status)
		}
		if r := add(t, o, source()); r.Status != llmemory.Updated {
			t.Errorf("another %s taken back: %s", why, r.Status)
		}
	}
	if r := add(t, o, llmemory.Document{Name: "n", Source: strings.NewReader("unread"), IfExists: llmemory.Skip}); r.Status != llmemory.Unchanged {
		t.Errorf("skipped: %s", r.Status)
	}
	b2 := &boxes{signature: "2"}
	if r := add(t, s.boxed(t, b2), source()); r.Status != llmemory.Updated || r.ChunksReused != 1 || b2.calls.Load() != 1 {
		t.Errorf("read in another way: %+v, read %d times", r, b2.calls.Load())
	}
	unsigned := &boxes{}
	for range 2 {
		if r := add(t, s.boxed(t, unsigned), llmemory.Document{Name: "u", Source: strings.NewReader("text")}); r.Err != nil {
			t.Error(r.Err)
		}
	}
	if unsigned.calls.Load() != 2 {
		t.Errorf("an extractor that promises nothing was asked %d times, want 2", unsigned.calls.Load())
	}
	s.check(t, s.shared, o.ID())
}

// testParts adds a container: each of its parts is a document of its own, with its own outcome, and the container is none.
func (s *suite) testParts(t *testing.T) {
	b := &boxes{signature: "1"}
	o := s.boxed(t, b)
	const box = "box\na.txt=alpha\na.txt=another\ndir/../b.txt=beta\n=nameless\nbad=fail damaged\ninner.box=box|x=deep|y=fail encrypted\n" +
		"empty= \n../../up=outside\nlast=omega"
	want := func(status string) []string {
		return []string{"k/a.txt " + status, "k/a.txt (2) " + status, "k/b.txt " + status, "k/4 " + status, "k/bad failed damaged",
			"k/inner.box " + status, "k/inner.box/x " + status, "k/inner.box/y failed encrypted", "k/empty failed no_text", "k/up " + status,
			"k/last " + status}
	}
	doc := func(text string) llmemory.Document {
		return llmemory.Document{OriginID: "o", Key: "k", Metadata: map[string]any{"m": 1}, Source: strings.NewReader(text)}
	}
	first := add(t, o, doc(box))
	if first.Status != llmemory.Created || first.DocumentID != "" || first.Chunks != 7 {
		t.Errorf("container: %+v", first)
	}
	if diff := cmp.Diff(want("created"), outcomes(first.Parts)); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	page := must(o.List(t.Context(), &llmemory.ListOptions{Where: llmemory.Where{Origins: []string{"o"}, Metadata: llmemory.Meta("m").Eq(1)}}))(t)
	if page.Total != 7 {
		t.Errorf("%d documents, want 7", page.Total)
	}
	calls := b.calls.Load()
	second := add(t, o, doc(box))
	if diff := cmp.Diff(want("unchanged"), outcomes(second.Parts)); diff != "" || second.Status != llmemory.Unchanged {
		t.Errorf("again: %s (-want +got):\n%s", second.Status, diff)
	}
	if n := b.calls.Load() - calls; n != 5 { // the container, the one within, and what failed
		t.Errorf("%d sources were read again, want 5", n)
	}
	changed := add(t, o, doc(strings.Replace(box, "omega", "psi", 1)))
	if changed.Status != llmemory.Updated || changed.Parts[len(changed.Parts)-1].Status != llmemory.Updated {
		t.Errorf("changed: %s %v", changed.Status, outcomes(changed.Parts))
	}
	for why, text := range map[string]string{"empty": "box", "all bad": "box\nx=fail no_text\ny=fail no_text", "broken": "box\nz=good\nfail=damaged"} {
		d := doc(text)
		d.Key = why
		r, err := o.Add(t.Context(), d)
		if bad := (*llmemory.ContentError)(nil); !errors.As(err, &bad) || r.Status != llmemory.Failed || !errors.Is(err, llmemory.ErrInvalid) {
			t.Errorf("%s: %+v, %v", why, r, err)
		}
		if why == "broken" && (len(r.Parts) != 1 || r.Parts[0].Status != llmemory.Created) {
			t.Errorf("broken: parts %v", outcomes(r.Parts))
		}
	}
	s.check(t, s.shared, o.ID())
}

// testAttachments adds a document that has parts.
func (s *suite) testAttachments(t *testing.T) {
	b := &boxes{signature: "1"}
	o := s.boxed(t, b)
	const mail = "mail with attachments\nreport.txt=the report\nphoto=fail unsupported"
	doc := llmemory.Document{Name: "m.eml", Source: strings.NewReader(mail)}
	first := add(t, o, doc)
	if diff := cmp.Diff([]string{"m.eml/report.txt created", "m.eml/photo failed unsupported"}, outcomes(first.Parts)); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	if text := must(o.Text(t.Context(), first.DocumentID))(t); text != "mail with attachments\n" {
		t.Errorf("text: %q", text)
	}
	if hits := search(t, o, "report", llmemory.SearchOptions{}); len(hits) != 1 || hits[0].Document.Name != "report.txt" || hits[0].Document.Key != "m.eml/report.txt" {
		t.Errorf("hits: %+v", hits)
	}
	calls := b.calls.Load()
	doc.Source = strings.NewReader(mail)
	if again := add(t, o, doc); again.Status != llmemory.Unchanged || b.calls.Load() != calls {
		t.Errorf("again: %+v, %d read", again, b.calls.Load()-calls)
	}
}

// testReasons names why nothing could be had of a source; nothing is stored of it.
func (s *suite) testReasons(t *testing.T) {
	o := s.boxed(t, &boxes{signature: "1"})
	for reason, cause := range reasons {
		r, err := o.Add(t.Context(), llmemory.Document{Key: string(reason), Source: strings.NewReader("fail " + string(reason))})
		var bad *llmemory.ContentError
		if !errors.As(err, &bad) || bad.Reason != reason || !errors.Is(err, cause) || !errors.Is(err, llmemory.ErrInvalid) || r.Status != llmemory.Failed {
			t.Errorf("%s: %+v, %v", reason, r, err)
		}
	}
	broken := errors.New("the disk is on fire")
	_, err := o.Add(t.Context(), llmemory.Document{Key: "k", Source: io.MultiReader(strings.NewReader("x"), errorReader{broken})})
	if !errors.Is(err, broken) || errors.Is(err, llmemory.ErrInvalid) {
		t.Errorf("a reader that fails: %v", err)
	}
	if page := must(o.List(t.Context(), nil))(t); page.Total != 0 {
		t.Errorf("%d documents are stored", page.Total)
	}
}

// testKnownFailures adds sources again that failed: once their outcomes are in the ledger, those that will not do better are not read.
func (s *suite) testKnownFailures(t *testing.T) {
	b := &boxes{signature: "1"}
	o := s.boxed(t, b)
	var docs []llmemory.Document
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		docs = append(docs, llmemory.Document{Key: string(reason), Source: strings.NewReader("fail " + string(reason))})
	}
	docs = append(docs, llmemory.Document{Key: "box", Source: strings.NewReader("box\nx=good\na=fail damaged\nb=fail too_large")},
		llmemory.Document{Key: "all bad", Source: strings.NewReader("box\nx=fail no_text")},
		llmemory.Document{Key: "good", Source: strings.NewReader("text")})
	add := func(o *llmemory.Owner, ahead func(context.Context, []llmemory.Document) ([]llmemory.Added, error)) []llmemory.Added {
		t.Helper()
		for _, d := range docs {
			d.Source.(io.Seeker).Seek(0, io.SeekStart) //nolint:errcheck // of a string
		}
		return must(ahead(t.Context(), docs))(t)
	}
	read := func(calls int64) int64 { return b.calls.Swap(0) - calls }
	first := add(o, o.AddMany)
	if n := read(0); n != 13 {
		t.Errorf("%d sources were read at first, want 13", n)
	}
	log := func(results []llmemory.Added) {
		l := o.LogRun("", []string{"/a"})
		var note func(path string, r *llmemory.Added)
		note = func(path string, r *llmemory.Added) {
			f := llmemory.RunFile{Source: "/a", Path: path + r.Key, DocumentID: r.DocumentID, Outcome: r.Status, SourceHash: r.SourceHash}
			if bad := (*llmemory.ContentError)(nil); errors.As(r.Err, &bad) {
				f.Reason, f.Message = string(bad.Reason), bad.Err.Error()
			}
			l.Note(f, 0)
			for i := range r.Parts {
				note(f.Path+"/", &r.Parts[i])
			}
		}
		for i := range results {
			note("/a/", &results[i])
		}
		must(l.End(t.Context(), true))(t)
	}
	again := add(o, o.AddMany)
	if n := read(0); n != 11 { // all but those two that are stored: nothing is in the ledger yet
		t.Errorf("%d sources were read again, want 11", n)
	}
	log(again)
	for why, ahead := range map[string]func(context.Context, []llmemory.Document) ([]llmemory.Added, error){"added": o.AddMany, "previewed": o.Preview} {
		known := add(o, ahead)
		if diff := cmp.Diff(outcomes(first)[:6], outcomes(known)[:6]); diff != "" {
			t.Errorf("%s: what is known (-want +got):\n%s", why, diff)
		}
		for i := range known {
			if len(known[i].Parts) != len(again[i].Parts) || !bytes.Equal(known[i].SourceHash, again[i].SourceHash) {
				t.Errorf("%s: %s: %+v, want %+v", why, known[i].Key, known[i], again[i])
			}
			var was, is *llmemory.ContentError
			if errors.As(first[i].Err, &was) && (!errors.As(known[i].Err, &is) || is.Err.Error() != was.Err.Error() || !errors.Is(is, reasons[is.Reason])) {
				t.Errorf("%s: %s: %v, want %v", why, known[i].Key, known[i].Err, first[i].Err)
			}
		}
		// The timeout, both containers, and the part that may be small enough elsewhere.
		if n := read(0); n != 4 {
			t.Errorf("%s: %d sources were read when all is in the ledger, want 4", why, n)
		}
	}
	for i := range docs {
		docs[i].Reread = llmemory.RereadFailed
	}
	add(o, o.AddMany)
	if n := read(0); n != 11 {
		t.Errorf("%d sources were read on demand, want 11", n)
	}
	for i := range docs {
		docs[i].Reread = llmemory.RereadAll
	}
	if r := add(o, o.AddMany); r[8].Status != llmemory.Unchanged {
		t.Errorf("read for nothing: %+v", r[8])
	}
	if n := read(0); n != 13 {
		t.Errorf("%d sources were read on demand, want all 13", n)
	}
	for why, d := range map[string]llmemory.Document{
		"other bytes": {Key: "damaged", Source: strings.NewReader("fail damaged ")},
		"other type":  {Key: "damaged", Source: strings.NewReader("fail damaged"), Type: llmemory.Report},
		"no such way": {Key: "damaged", Source: strings.NewReader("fail damaged"), Reread: "always"},
	} {
		_, err := o.Add(t.Context(), d)
		if n, want := read(0), int64(1); !errors.Is(err, llmemory.ErrInvalid) || n != want && d.Reread == "" {
			t.Errorf("%s: %v, %d read", why, err, n)
		}
	}
	b2 := &boxes{signature: "2"}
	if _, err := s.boxed(t, b2).Add(t.Context(), llmemory.Document{Key: "damaged", Source: strings.NewReader("fail damaged")}); err == nil || b2.calls.Load() != 1 {
		t.Errorf("read in another way: %v, %d read", err, b2.calls.Load())
	}
}

// testAttachmentsAgain adds a document again whose attachment failed for a reason that may have gone: it is read again until it has not.
func (s *suite) testAttachmentsAgain(t *testing.T) {
	b := &boxes{signature: "1"}
	o := s.boxed(t, b)
	add := func(times int64) llmemory.Added {
		t.Helper()
		b.calls.Store(0)
		r := must(o.Add(t.Context(), llmemory.Document{Name: "m.eml", Source: strings.NewReader(
			"mail of mail\ninner.eml=mail with attachments|flaky=fail later|bad=fail damaged")}))(t)
		if n := b.calls.Load(); n != times {
			t.Errorf("%d sources were read, want %d: %+v", n, times, r)
		}
		return r
	}
	b.later = errors.New("no parser can be started")
	if r := add(4); r.Status != llmemory.Created {
		t.Errorf("new: %+v", r)
	}
	version := must(o.List(t.Context(), nil))(t)
	if r := add(4); r.Status != llmemory.Unchanged || r.Parts[0].Status != llmemory.Unchanged || len(r.Parts[0].Parts) != 2 {
		t.Errorf("while it fails: %+v", r)
	}
	if diff := cmp.Diff(version, must(o.List(t.Context(), nil))(t)); diff != "" {
		t.Errorf("while it fails something is written (-want +got):\n%s", diff)
	}
	b.later = nil
	if r := add(4); r.Parts[0].Parts[0].Status != llmemory.Created {
		t.Errorf("when it has gone: %+v", r)
	}
	if r := add(0); r.Status != llmemory.Unchanged {
		t.Errorf("after that: %+v", r)
	}
	s.check(t, s.shared, o.ID())
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// testSourceTwice adds the same document twice in one call: the second decides by what the first has stored.
func (s *suite) testSourceTwice(t *testing.T) {
	o := s.boxed(t, &boxes{signature: "1"})
	doc := func(text string) llmemory.Document {
		return llmemory.Document{Key: "k", Source: strings.NewReader(text)}
	}
	add(t, o, doc("one"))
	r := must(o.AddMany(t.Context(), []llmemory.Document{doc("one"), doc("two"), doc("one"), doc("one")}))(t)
	var got []llmemory.Status
	for _, x := range r {
		got = append(got, x.Status)
	}
	want := []llmemory.Status{llmemory.Unchanged, llmemory.Updated, llmemory.Updated, llmemory.Unchanged}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	if text := must(o.Text(t.Context(), r[0].DocumentID))(t); text != "one" {
		t.Errorf("text: %q", text)
	}
	s.check(t, s.shared, o.ID())
}

// testManyContainers reads more containers at once than there are processors, each within another.
func (s *suite) testManyContainers(t *testing.T) {
	o := s.boxed(t, &boxes{signature: "1"})
	var docs []llmemory.Document
	for i := range 40 {
		docs = append(docs, llmemory.Document{Key: fmt.Sprint(i), Source: strings.NewReader(fmt.Sprintf("box\na=box|b=text %d|c=text too\nd=more", i))})
	}
	for _, status := range []llmemory.Status{llmemory.Created, llmemory.Unchanged} {
		for i, r := range must(o.AddMany(t.Context(), docs))(t) {
			if r.Status != status || len(r.Parts) != 2 || len(r.Parts[0].Parts) != 2 {
				t.Errorf("%d: %s, %v, %v", i, r.Status, r.Err, outcomes(r.Parts))
			}
			docs[i].Source.(io.Seeker).Seek(0, io.SeekStart) //nolint:errcheck // of a string
		}
	}
	if page := must(o.List(t.Context(), &llmemory.ListOptions{Limit: 1}))(t); page.Total != 120 {
		t.Errorf("%d documents, want 120", page.Total)
	}
}

// testLongDocument changes a long document, cut as documents are by default: one paragraph changed has three passages beside its own
// embedded at the most, a page inserted at the front none but its own.
func (s *suite) testLongDocument(t *testing.T) {
	store := s.open(t)
	e := newWords("m", 8)
	m := must(llmemory.New(store, &llmemory.Config{Embedder: e, Logger: logger(t)}))(t)
	o := m.Owner("o")
	random := rand.New(rand.NewPCG(seed(t), 1))
	paragraph := func() string {
		var b strings.Builder
		for range 2 + random.IntN(5) {
			for w := range 6 + random.IntN(14) {
				if w > 0 {
					b.WriteByte(' ')
				}
				fmt.Fprintf(&b, "w%d", random.IntN(5000))
			}
			b.WriteString(". ")
		}
		return strings.TrimSpace(b.String())
	}
	var list []string
	for range s.scale(100, 30) {
		list = append(list, paragraph())
	}
	doc := func(front string) llmemory.Document {
		d := llmemory.Document{Key: "k", Language: "en", Format: "pdf", Type: llmemory.PDF}
		if front != "" {
			d.Pages, d.Content = []int{0}, front+"\n\n"
		}
		for i, p := range list {
			if i%5 == 0 {
				d.Pages = append(d.Pages, len(d.Content))
			}
			d.Content += p + "\n\n"
		}
		return d
	}
	id := add(t, o, doc("")).DocumentID
	embedded := func() (passages []string) { // since it was asked last, wholly or in parts
		asked := e.asked()
		_, chunks, err := o.GetWithChunks(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range chunks {
			if n := len(asked); c.Level == 0 {
				asked = slices.DeleteFunc(asked, func(text string) bool { return strings.Contains(c.Text, text) })
				if len(asked) < n {
					passages = append(passages, c.Text)
				}
			}
		}
		if len(asked) > 0 {
			t.Errorf("embedded, and in no passage: %q", asked)
		}
		return passages
	}
	embedded()
	for range 10 {
		at := random.IntN(len(list))
		list[at] = paragraph()
		r := add(t, o, doc(""))
		outside := 0
		for _, text := range embedded() {
			if !strings.Contains(list[at], text) && !overlaps(text, list[at]) {
				outside++
			}
		}
		if outside > 3 || r.Status != llmemory.Updated {
			t.Errorf("paragraph %d changed: %d passages outside it were embedded", at, outside)
		}
	}
	front := join(paragraph(), paragraph(), paragraph())
	before := leafIDs(t, o, id)
	r := add(t, o, doc(front))
	for _, text := range embedded() {
		if !strings.Contains(front, text) {
			t.Errorf("after a page was inserted at the front, this was embedded: %q", text)
		}
	}
	if r.ChunksReused != len(before) {
		t.Errorf("%d of %d passages stayed", r.ChunksReused, len(before))
	}
	_, chunks, err := o.GetWithChunks(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chunks {
		if p := doc(front).Pages; c.Start < p[c.Page-1] || c.Page < len(p) && c.Start >= p[c.Page] || c.PageEnd < len(p) && c.End > p[c.PageEnd] {
			t.Errorf("bytes %d to %d are said to be on pages %d to %d", c.Start, c.End, c.Page, c.PageEnd)
		}
	}
}

// testSlides checks that the default chunker is told where slides begin: no passage holds parts of two, though two would fit and few words of two are put together.
func (s *suite) testSlides(t *testing.T) {
	m := must(llmemory.New(s.open(t), &llmemory.Config{Logger: logger(t)}))(t)
	d := llmemory.Document{Key: "k", Language: "en", Type: llmemory.Presentation}
	for i := range 12 {
		d.Pages = append(d.Pages, len(d.Content))
		d.Content += fmt.Sprintf("- The first of the points of slide %d, which takes a while to read\n- the second, which is shorter\n- the third point, to which it comes in the end\n- and one more, as there is room for it on the slide\n\n", i)
	}
	id := add(t, m.Owner("o"), d).DocumentID
	_, chunks, err := m.Owner("o").GetWithChunks(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	leaves := 0
	for _, c := range chunks {
		if c.Level > 0 {
			continue
		}
		if leaves++; c.Page != leaves || c.PageEnd != leaves {
			t.Errorf("passage %d is on pages %d to %d", leaves, c.Page, c.PageEnd)
		}
	}
	if leaves != len(d.Pages) {
		t.Errorf("%d passages of %d slides", leaves, len(d.Pages))
	}
}

// overlaps tells whether a passage holds a sentence of a paragraph.
func overlaps(passage, paragraph string) bool {
	for _, sentence := range strings.Split(paragraph, ". ") {
		if sentence != "" && strings.Contains(passage, sentence) {
			return true
		}
	}
	return false
}
