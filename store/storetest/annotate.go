package storetest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/contextual"
	"github.com/llmemory/llmemory/llm"
)

func (s *suite) annotateCases() []testCase {
	return []testCase{
		{name: "Found", run: s.testAnnotated},
		{name: "Edited", run: s.testAnnotatedEdit},
		{name: "Owners", run: s.testAnnotatedOwners},
		{name: "Budget", run: s.testAnnotatedBudget},
		{name: "Fault", run: s.testAnnotatedFault},
		{name: "Declined", run: s.testAnnotatedDeclined},
		{name: "OtherModel", run: s.testAnnotatedOtherModel},
		{name: "Without", run: s.testAnnotatedWithout},
		{name: "Overlap", run: s.testAnnotatedOverlap},
		{name: "Source", run: s.testAnnotatedSource},
		{name: "Preview", run: s.testAnnotatedPreview},
		{name: "Cancelled", run: s.testAnnotatedCancelled},
		{name: "Deadline", run: s.testAnnotatedDeadline},
		{name: "Moved", run: s.testAnnotatedMoved},
		{name: "Many", run: s.testAnnotatedMany},
	}
}

// scribe is a language model that writes of each passage what its last word is, with a letter before it so that only the line has that
// word. It remembers what it was asked, and fails when it is told to.
type scribe struct {
	model string

	mu    sync.Mutex
	words []string
	fail  func(ctx context.Context, word string) error // nil for never
}

var asked = regexp.MustCompile(`(?s)<passage>\n.*?(\w+)\n</passage>`)

// writer returns an annotator with this model.
func (m *scribe) writer(budget llm.BudgetOptions) *contextual.Writer {
	g := llm.Func{Info: llm.ModelInfo{Provider: "test", Model: m.model, Price: llm.Price{Input: 1, Output: 1}}, Call: m.generate}
	return contextual.New(llm.Budget(g, budget), &contextual.Options{Summaries: true})
}

func (m *scribe) generate(ctx context.Context, r llm.Request) (llm.Answer, error) {
	word := asked.FindStringSubmatch(r.Prompt)[1]
	m.mu.Lock()
	m.words = append(m.words, word)
	fail := m.fail
	m.mu.Unlock()
	if fail != nil {
		if err := fail(ctx, word); err != nil {
			return llm.Answer{}, err
		}
	}
	return llm.Answer{Text: "Context: x" + word + " of " + m.model + "\nSummary: in short " + word, Usage: llm.Usage{Calls: 1, Input: 100, Output: 10}}, nil
}

// asked returns the last words of the passages asked for since the last call, sorted.
func (m *scribe) asked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.words
	m.words = nil
	slices.Sort(out)
	return out
}

func (m *scribe) failWith(fail func(context.Context, string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = fail
}

// annotating is a memory with this annotator.
func annotating(tb testing.TB, store llmemory.Store, a llmemory.Annotator) *llmemory.Memory {
	return must(llmemory.New(store, &llmemory.Config{Chunker: paragraphs(), Annotator: a, Logger: logger(tb)}))(tb)
}

// lines are the context lines of a document, in order.
func lines(t *testing.T, o *llmemory.Owner, id string) []string {
	t.Helper()
	_, chunks, err := o.GetWithChunks(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range chunks {
		if c.Level == 0 {
			out = append(out, c.Context)
		}
	}
	return out
}

// same compares what the model was asked for with what it should be asked for.
func (m *scribe) same(t *testing.T, why string, want ...string) {
	t.Helper()
	if got := m.asked(); !slices.Equal(got, want) {
		t.Errorf("%s: asked for %q, want %q", why, got, want)
	}
}

// testAnnotated finds passages by their lines, in text search and in what is embedded, and keeps the text as it was.
func (s *suite) testAnnotated(t *testing.T) {
	store := s.open(t)
	model, e := &scribe{model: "m"}, newWords("v", 8)
	m := must(llmemory.New(store, &llmemory.Config{Chunker: paragraphs(), Embedder: e, Annotator: model.writer(llm.BudgetOptions{}), Logger: logger(t)}))(t)
	o := m.Owner("o")
	doc := llmemory.Document{Key: "k", Language: "en", Content: join("the alpha", "the beta", "the gamma")}
	added := add(t, o, doc)
	if added.Annotated != 3 || added.Unannotated != 0 || added.AnnotateErr != nil || added.Usage.Calls != 3 || added.Usage.Input != 300 {
		t.Errorf("added: %+v", added)
	}
	model.same(t, "new", "alpha", "beta", "gamma")
	hits := search(t, o, "xbeta", llmemory.SearchOptions{})
	if len(hits) != 1 || hits[0].Text != "the beta" || hits[0].Context != "xbeta of m" || hits[0].Summary != "in short beta" {
		t.Fatalf("hits: %+v", hits)
	}
	if strings.Contains(hits[0].Snippet, "xbeta") {
		t.Errorf("snippet: %q", hits[0].Snippet)
	}
	if hits := search(t, o, "short", llmemory.SearchOptions{}); len(hits) != 0 {
		t.Errorf("found by their summaries: %q", texts(hits))
	}
	if got := must(o.Text(t.Context(), added.DocumentID))(t); got != doc.Content {
		t.Errorf("text: %q", got)
	}
	if got := e.asked(); !slices.Contains(got, "xbeta of m\nthe beta") {
		t.Errorf("embedded: %q", got)
	}
	if again := add(t, o, doc); again.Status != llmemory.Unchanged || again.Annotated != 0 {
		t.Errorf("added again: %+v", again)
	}
	doc.Metadata = map[string]any{"n": 1}
	if again := add(t, o, doc); again.Status != llmemory.Updated || again.ChunksReused != 3 {
		t.Errorf("with other metadata: %+v", again)
	}
	if again := add(t, o, doc); again.Status != llmemory.Unchanged {
		t.Errorf("added once more: %+v", again)
	}
	model.same(t, "unchanged")
	if got := e.asked(); len(got) != 0 {
		t.Errorf("embedded again: %q", got)
	}
	s.check(t, store, o.ID())
}

// testAnnotatedEdit asks only for what changed.
func (s *suite) testAnnotatedEdit(t *testing.T) {
	model := &scribe{model: "m"}
	o := annotating(t, s.shared, model.writer(llm.BudgetOptions{})).Owner(t.Name())
	doc := llmemory.Document{Key: "k", Language: "en", Content: join("one alpha", "two beta", "# Head", "three gamma")}
	id := add(t, o, doc).DocumentID
	model.asked()
	doc.Content = join("new zeta", "one alpha", "changed beta", "# Head", "three gamma")
	added := add(t, o, doc)
	model.same(t, "edited", "beta", "zeta")
	if added.ChunksReused != 3 || added.Annotated != 2 {
		t.Errorf("edited: %+v", added)
	}
	if diff := cmp.Diff([]string{"xzeta of m", "xalpha of m", "xbeta of m", "xHead of m", "xgamma of m"}, lines(t, o, id)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	doc.Content = join("new zeta", "one alpha", "changed beta", "# Other", "three gamma")
	add(t, o, doc)
	model.same(t, "under another heading", "Other", "gamma")
	s.check(t, s.shared, o.ID())
}

// testAnnotatedOwners shows no owner what another one's lines say, nor that there are any.
func (s *suite) testAnnotatedOwners(t *testing.T) {
	model := &scribe{model: "m"}
	m := annotating(t, s.shared, model.writer(llm.BudgetOptions{}))
	doc := llmemory.Document{Key: "k", Language: "en", Content: join("one alpha", "two beta")}
	add(t, m.Owner(t.Name()+"a"), doc)
	model.same(t, "one owner", "alpha", "beta")
	b := m.Owner(t.Name() + "b")
	model.failWith(func(context.Context, string) error { return errors.New("away") })
	added := add(t, b, doc)
	model.asked()
	if added.Annotated != 0 || added.Unannotated != 2 {
		t.Errorf("another owner got lines: %+v", added)
	}
	if hits := search(t, b, "xalpha", llmemory.SearchOptions{}); len(hits) != 0 {
		t.Errorf("another owner found %+v", hits)
	}
}

// testAnnotatedBudget stores what there is when the budget is used up, and goes on from there with another.
func (s *suite) testAnnotatedBudget(t *testing.T) {
	model := &scribe{model: "m"}
	poor := annotating(t, s.shared, model.writer(llm.BudgetOptions{USD: 0.001})).Owner(t.Name())
	doc := llmemory.Document{Key: "k", Language: "en", Content: numbered(5, "the w%d")}
	added := add(t, poor, doc)
	if !errors.Is(added.AnnotateErr, llm.ErrBudget) || added.Annotated == 0 || added.Annotated > 4 || added.Annotated+added.Unannotated != 5 || added.Status != llmemory.Created {
		t.Fatalf("added: %+v", added)
	}
	if n := len(model.asked()); n != added.Annotated {
		t.Errorf("asked %d times for %d lines", n, added.Annotated)
	}
	again := add(t, poor, doc)
	if again.Status != llmemory.Unchanged || again.Unannotated != added.Unannotated || !errors.Is(again.AnnotateErr, llm.ErrBudget) {
		t.Errorf("added again: %+v", again)
	}
	if d := must(poor.Get(t.Context(), added.DocumentID))(t); d.Version != 1 {
		t.Errorf("version %d of a document of which nothing changed", d.Version)
	}
	model.same(t, "without money")
	rich := annotating(t, s.shared, model.writer(llm.BudgetOptions{Tokens: 1 << 20})).Owner(t.Name())
	more := add(t, rich, doc)
	if more.Status != llmemory.Updated || more.Annotated != added.Unannotated || more.ChunksReused != added.Annotated || more.AnnotateErr != nil {
		t.Errorf("with more money: %+v", more)
	}
	if diff := cmp.Diff([]string{"xw0 of m", "xw1 of m", "xw2 of m", "xw3 of m", "xw4 of m"}, lines(t, rich, added.DocumentID)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	model.asked()
	if again := add(t, rich, doc); again.Status != llmemory.Unchanged {
		t.Errorf("complete: %+v", again)
	}
	if again := add(t, poor, doc); again.Status != llmemory.Unchanged || again.AnnotateErr != nil {
		t.Errorf("complete, without money: %+v", again)
	}
	model.same(t, "complete")
	s.check(t, s.shared, rich.ID())
}

// testAnnotatedFault stores documents without lines while the model is away, and writes them later.
func (s *suite) testAnnotatedFault(t *testing.T) {
	model := &scribe{model: "m"}
	o := annotating(t, s.shared, model.writer(llm.BudgetOptions{})).Owner(t.Name())
	away := &llm.Error{Kind: llm.Unavailable, Provider: "test", Message: "away"}
	model.failWith(func(context.Context, string) error { return away })
	doc := llmemory.Document{Key: "k", Language: "en", Content: join("one alpha", "two beta")}
	added := add(t, o, doc)
	if !errors.Is(added.AnnotateErr, away) || added.Unannotated != 2 || added.Status != llmemory.Created || added.Chunks != 2 {
		t.Fatalf("added: %+v", added)
	}
	if hits := search(t, o, "beta", llmemory.SearchOptions{}); len(hits) != 1 || hits[0].Context != "" {
		t.Errorf("hits: %+v", hits)
	}
	model.failWith(nil)
	model.asked()
	if again := add(t, o, doc); again.Status != llmemory.Updated || again.Annotated != 2 || again.AnnotateErr != nil {
		t.Errorf("added again: %+v", again)
	}
	model.same(t, "later", "alpha", "beta")
	if hits := search(t, o, "xbeta", llmemory.SearchOptions{}); len(hits) != 1 {
		t.Errorf("hits: %+v", hits)
	}
	s.check(t, s.shared, o.ID())
}

// testAnnotatedDeclined does not ask again for what the model has nothing to say of.
func (s *suite) testAnnotatedDeclined(t *testing.T) {
	model := &scribe{model: "m"}
	o := annotating(t, s.shared, model.writer(llm.BudgetOptions{})).Owner(t.Name())
	declined := &llm.Error{Kind: llm.BadAnswer, Err: llm.ErrDeclined}
	model.failWith(func(_ context.Context, word string) error {
		if word == "beta" {
			return declined
		}
		return nil
	})
	doc := llmemory.Document{Key: "k", Language: "en", Content: join("one alpha", "two beta", "three gamma")}
	added := add(t, o, doc)
	if added.AnnotateErr != nil || added.Annotated != 2 || added.Unannotated != 1 {
		t.Errorf("added: %+v", added)
	}
	model.asked()
	if again := add(t, o, doc); again.Status != llmemory.Unchanged {
		t.Errorf("added again: %+v", again)
	}
	doc.Content += " delta"
	if again := add(t, o, doc); again.Annotated != 1 {
		t.Errorf("edited: %+v", again)
	}
	model.same(t, "declined before", "delta")
}

// testAnnotatedOtherModel writes all lines anew with another model.
func (s *suite) testAnnotatedOtherModel(t *testing.T) {
	first, second := &scribe{model: "m"}, &scribe{model: "n"}
	doc := llmemory.Document{Key: "k", Language: "en", Content: join("one alpha", "two beta")}
	add(t, annotating(t, s.shared, first.writer(llm.BudgetOptions{})).Owner(t.Name()), doc)
	o := annotating(t, s.shared, second.writer(llm.BudgetOptions{})).Owner(t.Name())
	added := add(t, o, doc)
	second.same(t, "another model", "alpha", "beta")
	if diff := cmp.Diff([]string{"xalpha of n", "xbeta of n"}, lines(t, o, added.DocumentID)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if added.Status != llmemory.Updated || added.Annotated != 2 {
		t.Errorf("added: %+v", added)
	}
	s.check(t, s.shared, o.ID())
}

// testAnnotatedWithout keeps the lines of a document that is added without an annotator, as long as their passages stay.
func (s *suite) testAnnotatedWithout(t *testing.T) {
	model := &scribe{model: "m"}
	with := annotating(t, s.shared, model.writer(llm.BudgetOptions{})).Owner(t.Name())
	without := annotating(t, s.shared, nil).Owner(t.Name())
	doc := llmemory.Document{Key: "k", Language: "en", Content: join("one alpha", "two beta")}
	id := add(t, with, doc).DocumentID
	if again := add(t, without, doc); again.Status != llmemory.Unchanged {
		t.Errorf("added without: %+v", again)
	}
	doc.Date = doc.Date.AddDate(2000, 0, 0)
	if again := add(t, without, doc); again.Status != llmemory.Updated || again.ChunksReused != 2 {
		t.Errorf("another date: %+v", again)
	}
	model.asked()
	if again := add(t, with, doc); again.Status != llmemory.Unchanged {
		t.Errorf("with again: %+v", again)
	}
	model.same(t, "only the row changed")
	doc.Content = join("one alpha", "three gamma")
	if again := add(t, without, doc); again.Status != llmemory.Updated || again.ChunksReused != 1 || again.Unannotated != 0 {
		t.Errorf("edited without: %+v", again)
	}
	if diff := cmp.Diff([]string{"xalpha of m", ""}, lines(t, without, id)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if again := add(t, without, doc); again.Status != llmemory.Unchanged {
		t.Errorf("without again: %+v", again)
	}
	if again := add(t, with, doc); again.Annotated != 1 {
		t.Errorf("with again: %+v", again)
	}
	model.same(t, "what was added without", "gamma")
	doc.Content = join("all new")
	add(t, without, doc)
	if diff := cmp.Diff([]string{""}, lines(t, without, id)); diff != "" {
		t.Errorf("lines of another text (-want +got):\n%s", diff)
	}
	s.check(t, s.shared, without.ID())
}

// testAnnotatedOverlap puts lines before the context that comes of cutting, and knows them from it.
func (s *suite) testAnnotatedOverlap(t *testing.T) {
	model := &scribe{model: "m"}
	o := must(llmemory.New(s.shared, &llmemory.Config{Annotator: model.writer(llm.BudgetOptions{}), Logger: logger(t), Chunker: chunk.Func{
		Name: "storetest overlapping words", Cut: func(_ context.Context, text chunk.Text) ([]chunk.Piece, error) {
			var out []chunk.Piece
			at, before := 0, 0
			for word := range strings.SplitSeq(text.Content, " ") {
				out = append(out, chunk.Piece{Start: at, End: at + len(word), Parent: -1, Overlap: before, Tokens: 1})
				at, before = at+len(word)+1, len(word)+1
			}
			return out, nil
		},
	}}))(t).Owner(t.Name())
	doc := llmemory.Document{Key: "k", Language: "en", Content: "alpha beta gamma delta"}
	id := add(t, o, doc).DocumentID
	if diff := cmp.Diff([]string{"xalpha of m", "xbeta of m\nalpha", "xgamma of m\nbeta", "xdelta of m\ngamma"}, lines(t, o, id)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	model.asked()
	doc.Content = "alpha zeta gamma delta"
	add(t, o, doc)
	model.same(t, "edited, with what overlaps it", "gamma", "zeta")
	if diff := cmp.Diff([]string{"xalpha of m", "xzeta of m\nalpha", "xgamma of m\nzeta", "xdelta of m\ngamma"}, lines(t, o, id)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	s.check(t, s.shared, o.ID())
}

// testAnnotatedSource leaves a source unread whose lines are all there, and reads it again for those that are missing.
func (s *suite) testAnnotatedSource(t *testing.T) {
	model := &scribe{model: "m"}
	o := annotating(t, s.shared, model.writer(llm.BudgetOptions{})).Owner(t.Name())
	source := func() llmemory.Document {
		return llmemory.Document{Key: "k.txt", Name: "k.txt", Language: "en", Source: strings.NewReader(join("one alpha", "two beta"))}
	}
	model.failWith(func(_ context.Context, word string) error {
		if word == "beta" {
			return &llm.Error{Kind: llm.RateLimited}
		}
		return nil
	})
	if added := add(t, o, source()); added.Annotated != 1 || added.Unannotated != 1 {
		t.Errorf("added: %+v", added)
	}
	model.failWith(nil)
	model.asked()
	if again := add(t, o, source()); again.Annotated != 1 || again.Status != llmemory.Updated {
		t.Errorf("added again: %+v", again)
	}
	if again := add(t, o, source()); again.Status != llmemory.Unchanged {
		t.Errorf("added once more: %+v", again)
	}
	model.same(t, "what was missing", "beta")
}

// testAnnotatedPreview asks nobody, and tells what would be asked.
func (s *suite) testAnnotatedPreview(t *testing.T) {
	model := &scribe{model: "m"}
	o := annotating(t, s.shared, model.writer(llm.BudgetOptions{})).Owner(t.Name())
	preview := func(doc llmemory.Document) llmemory.Added {
		t.Helper()
		return must(o.Preview(t.Context(), []llmemory.Document{doc}))(t)[0]
	}
	doc := llmemory.Document{Key: "k", Language: "en", Content: join("one alpha", "two beta")}
	if p := preview(doc); p.Status != llmemory.Created || p.Annotated != 2 || p.Usage.Calls != 2 || p.Usage.Input < 100 || p.Usage.Output == 0 {
		t.Errorf("new: %+v", p)
	}
	model.same(t, "preview")
	add(t, o, doc)
	if p := preview(doc); p.Status != llmemory.Unchanged || p.Annotated != 0 || p.Usage.Calls != 0 {
		t.Errorf("unchanged: %+v", p)
	}
	doc.Content = join("one alpha", "two beta", "three gamma")
	if p := preview(doc); p.Status != llmemory.Updated || p.Annotated != 1 || p.ChunksReused != 2 || p.Usage.Calls != 1 {
		t.Errorf("edited: %+v", p)
	}
	model.same(t, "added once", "alpha", "beta")
}

// testAnnotatedCancelled stores a document whose caller has gone with the lines that were written by then, and nothing of one without.
func (s *suite) testAnnotatedCancelled(t *testing.T) {
	model := &scribe{model: "m"}
	o := annotating(t, s.shared, model.writer(llm.BudgetOptions{})).Owner(t.Name())
	ctx, cancel := context.WithCancel(t.Context())
	model.failWith(func(ctx context.Context, word string) error {
		switch word {
		case "w3":
			cancel()
			fallthrough
		case "nothing":
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	})
	docs := []llmemory.Document{
		{Key: "a", Language: "en", Content: numbered(8, "the w%d")}, {Key: "b", Language: "en", Content: "of this there is nothing"},
	}
	results, err := o.AddMany(ctx, docs)
	if !errors.Is(err, context.Canceled) || !errors.Is(results[1].Err, context.Canceled) {
		t.Fatalf("AddMany: %+v, %v, want it to be cancelled", results, err)
	}
	if a := results[0]; a.Err != nil || a.Annotated == 0 || a.Unannotated == 0 || !errors.Is(a.AnnotateErr, context.Canceled) {
		t.Errorf("what has a line: %+v", a)
	}
	if got := lines(t, o, results[0].DocumentID); got[0] != "xw0 of m" || got[3] != "" {
		t.Errorf("lines: %q", got)
	}
	model.failWith(nil)
	model.asked()
	for _, r := range must(o.AddMany(t.Context(), docs))(t) {
		if r.Err != nil || r.AnnotateErr != nil || r.Unannotated != 0 {
			t.Errorf("added again: %+v", r)
		}
	}
	if again := model.asked(); slices.Contains(again, "w0") || len(again) != results[0].Unannotated+1 {
		t.Errorf("added again: asked for %q", again)
	}
	if stats := must(o.Stats(t.Context()))(t); stats.Documents != 2 || stats.Chunks != 9 {
		t.Errorf("stats: %+v", stats)
	}
	s.check(t, s.shared, o.ID())
}

// testAnnotatedDeadline stores a document within the caller's time, though the model takes longer.
func (s *suite) testAnnotatedDeadline(t *testing.T) {
	model := &scribe{model: "m"}
	o := annotating(t, s.shared, model.writer(llm.BudgetOptions{})).Owner(t.Name())
	model.failWith(func(ctx context.Context, word string) error {
		if word == "alpha" {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	added, err := o.Add(ctx, llmemory.Document{Key: "k", Language: "en", Content: join("one alpha", "two beta")})
	if err != nil || added.Annotated != 1 || added.Unannotated != 1 || !errors.Is(added.AnnotateErr, context.DeadlineExceeded) {
		t.Errorf("added: %+v, %v", added, err)
	}
	if hits := search(t, o, "xalpha", llmemory.SearchOptions{}); len(hits) != 1 {
		t.Errorf("%d hits", len(hits))
	}
}

// testAnnotatedMoved keeps lines and summaries of documents that are moved to another owner, and asks for none of them there.
func (s *suite) testAnnotatedMoved(t *testing.T) {
	model := &scribe{model: "m"}
	m := annotating(t, s.shared, model.writer(llm.BudgetOptions{}))
	from, to := m.Owner(t.Name()+"a"), m.Owner(t.Name()+"b")
	doc := llmemory.Document{Key: "k", Language: "en", Content: join("one alpha", "two beta")}
	id := add(t, from, doc).DocumentID
	model.asked()
	moved, _, err := from.Snapshots(t.Context(), []string{id}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := must(to.Restore(t.Context(), moved, &llmemory.RestoreOptions{From: from.ID()}))(t)[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	hits := search(t, to, "xalpha", llmemory.SearchOptions{})
	if len(hits) != 1 || hits[0].Context != "xalpha of m" || hits[0].Summary != "in short alpha" {
		t.Errorf("hits: %+v", hits)
	}
	if again := add(t, to, doc); again.Status != llmemory.Unchanged {
		t.Errorf("added there: %+v", again)
	}
	model.same(t, "moved")
	s.check(t, s.shared, to.ID())
}

// testAnnotatedMany stores each document as soon as it has its lines, whatever becomes of the others.
func (s *suite) testAnnotatedMany(t *testing.T) {
	model := &scribe{model: "m"}
	o := annotating(t, s.shared, model.writer(llm.BudgetOptions{})).Owner(t.Name())
	var docs []llmemory.Document
	for i := range 30 {
		docs = append(docs, llmemory.Document{Key: fmt.Sprint(i), Language: "en", Content: join(fmt.Sprintf("first a%d", i), fmt.Sprintf("second b%d", i))})
	}
	docs = append(docs, llmemory.Document{Key: "3", Language: "en", Content: "other c3"})
	model.failWith(func(_ context.Context, word string) error {
		if word == "b7" {
			return &llm.Error{Kind: llm.Unavailable}
		}
		return nil
	})
	results := must(o.AddMany(t.Context(), docs))(t)
	for i, r := range results {
		want := llmemory.Created
		if i == 30 {
			want = llmemory.Updated
		}
		if r.Err != nil || r.Status != want || (r.AnnotateErr != nil) != (i == 7) {
			t.Errorf("document %d: %+v", i, r)
		}
	}
	for _, word := range []string{"xa0", "xb29", "xa7", "xc3"} {
		if hits := search(t, o, word, llmemory.SearchOptions{}); len(hits) != 1 {
			t.Errorf("%s: %d hits", word, len(hits))
		}
	}
	if hits := search(t, o, "xa3", llmemory.SearchOptions{}); len(hits) != 0 {
		t.Errorf("a document that was replaced is found: %q", texts(hits))
	}
	s.check(t, s.shared, o.ID())
}
