package storetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/analysis"
	"github.com/llmemory/llmemory/internal/postings"
)

func (s *suite) viewCases() []testCase {
	return []testCase{
		{name: "Postings", run: s.testPostings},
		{name: "UnknownOwner", run: s.testViewOfUnknown},
		{name: "Select", run: s.testSelect},
		{name: "Match", run: s.testMatch},
		{name: "Hits", run: s.testHits},
		{name: "Close", run: s.testViewClose},
		{name: "Snapshot", run: s.testSnapshot, overlapping: true},
		{name: "DeletedMeanwhile", run: s.testDeletedMeanwhile, overlapping: true},
	}
}

// openView opens a view that the test closes.
func openView(t *testing.T, store llmemory.Store, owner string) llmemory.View {
	t.Helper()
	view := must(store.View(t.Context(), llmemory.ViewParams{Owner: owner}))(t)
	t.Cleanup(func() {
		if err := view.Close(background(t)); err != nil {
			t.Errorf("close the view: %v", err)
		}
	})
	return view
}

// read asks one question of a view of its own.
func read(t *testing.T, store llmemory.Store, p llmemory.PostingsParams) *llmemory.PostingsRecord {
	t.Helper()
	if len(p.Terms) == 0 {
		p.Terms = []string{"en:-"} // of no leaf: for the segments
	}
	view := must(store.View(t.Context(), llmemory.ViewParams{Owner: p.Owner}))(t)
	record := must(view.Postings(t.Context(), p))(t)
	if err := view.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return record
}

// ordinals returns the ordinals of an owner's leaves by their text.
func ordinals(t *testing.T, store llmemory.Store, owner string) map[string]uint64 {
	t.Helper()
	edit := must(store.Edit(t.Context(), llmemory.EditParams{Owner: owner, Analysis: analysis.Version}))(t)
	out := map[string]uint64{}
	for _, l := range must(edit.Leaves(t.Context(), llmemory.LeavesParams{Owner: owner, After: -1, Limit: 1 << 20}))(t) {
		out[l.Text] = l.Ordinal
	}
	if err := edit.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *suite) testPostings(t *testing.T) {
	o := s.owner(t)
	add(t, o, llmemory.Document{Name: "first", Language: "en", Content: numbered(520, "alpha beta w%d")}) // many pages
	add(t, o, llmemory.Document{Name: "second", Language: "en", Content: "alpha gamma"})                  // one
	for _, positions := range []bool{false, true} {
		r := read(t, s.shared, llmemory.PostingsParams{Owner: o.ID(), Terms: []string{"en:alpha", "en:missing"}, Positions: positions})
		if r.State.Documents != 2 || r.State.Leaves != 521 || r.State.Languages["en"] != 521 || r.State.Analysis != analysis.Version {
			t.Errorf("state %+v", r.State)
		}
		if r.Selected != nil || r.Broad {
			t.Errorf("selected %v, broad %t without a filter", r.Selected, r.Broad)
		}
		if len(r.Segments) != 2 {
			t.Fatalf("segments %+v, want two", r.Segments)
		}
		if !slices.IsSortedFunc(r.Segments, func(a, b llmemory.LoadedSegment) int { return int(a.Low) - int(b.Low) }) {
			t.Error("segments are not ordered by Low")
		}
		for i, documents := range []int{520, 1} {
			pages := r.Segments[i].Pages
			if len(pages) < 1 || len(pages) > 2 { // the page of en:alpha, and that where en:missing would be
				t.Fatalf("segment %d came with %d pages, want those of two terms", i, len(pages))
			}
			for _, p := range pages {
				if p.Segment != r.Segments[i].ID {
					t.Errorf("page %q of segment %d came with segment %d", p.First, p.Segment, r.Segments[i].ID)
				}
				if (len(p.Positions) > 0) != positions {
					t.Errorf("asked for positions: %t, got %d bytes", positions, len(p.Positions))
				}
			}
			block, ok, err := opened(t, pages).Lookup("en:alpha")
			if err != nil || !ok {
				t.Fatalf("en:alpha is not in segment %d: %v", i, err)
			}
			if header, err := block.Header(); err != nil || int(header.Count) != documents {
				t.Errorf("block of %d postings (%v), want %d", header.Count, err, documents)
			}
		}
	}
	r := must(openView(t, s.shared, o.ID()).Postings(t.Context(), llmemory.PostingsParams{Owner: o.ID()}))(t)
	if len(r.Segments) > 0 || r.State.Leaves != 521 {
		t.Errorf("without terms: %d segments, %d leaves; want none, 521", len(r.Segments), r.State.Leaves)
	}
}

// opened opens pages as a reader of the index does.
func opened(t *testing.T, pages []llmemory.IndexPage) *postings.Pages {
	t.Helper()
	list := make([]postings.Page, len(pages))
	for i, p := range pages {
		list[i] = postings.Page{First: p.First, Postings: p.Postings, Positions: p.Positions}
	}
	return must(postings.OpenPages(list))(t)
}

func (s *suite) testViewOfUnknown(t *testing.T) {
	where := llmemory.Where{Origins: []string{"o"}}
	r := read(t, s.shared, llmemory.PostingsParams{Owner: t.Name(), Terms: []string{"en:x"}, Where: where, SelectLimit: 10})
	if diff := cmp.Diff(&llmemory.PostingsRecord{Active: r.Active}, r, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("view of an unknown owner (-want +got):\n%s", diff)
	}
	view := openView(t, s.shared, t.Name())
	if got := must(view.Match(t.Context(), llmemory.MatchParams{Owner: t.Name(), Ordinals: []uint64{0, 1}, Stages: [3]int{2}, Where: where,
		Limit: 5}))(t); len(got.Ordinals) != 0 {
		t.Errorf("matched %v", got.Ordinals)
	}
	if got := must(view.Hits(t.Context(), llmemory.HitsParams{Owner: t.Name(), Ordinals: []uint64{0}, Groups: []int{0}, Limit: 5}))(t); len(got) != 0 {
		t.Errorf("hits %v", got)
	}
}

func (s *suite) testSelect(t *testing.T) {
	o := s.owner(t)
	add(t, o, llmemory.Document{OriginID: "in", Name: "a", Content: join("a one", "a two", "a three")})
	add(t, o, llmemory.Document{OriginID: "out", Name: "b", Content: join("b one", "b two")})
	add(t, o, llmemory.Document{OriginID: "in", Name: "c", Content: "c one"})
	at := ordinals(t, s.shared, o.ID())
	want := []uint64{at["a one"], at["a two"], at["a three"], at["c one"]}
	slices.Sort(want)
	for _, c := range []struct {
		origin string
		limit  int
		want   []uint64
		broad  bool
	}{
		{"in", 5, want, false}, {"in", 4, want, false}, {"in", 3, nil, true}, {"nowhere", 3, []uint64{}, false}, {"nowhere", 0, []uint64{}, false},
	} {
		r := read(t, s.shared, llmemory.PostingsParams{Owner: o.ID(), Terms: []string{"en:one"}, SelectLimit: c.limit,
			Where: llmemory.Where{Origins: []string{c.origin}}})
		if r.Broad != c.broad {
			t.Errorf("%+v: broad %t", c, r.Broad)
		}
		if !c.broad && (r.Selected == nil || !slices.Equal(r.Selected, c.want)) {
			t.Errorf("%+v: selected %#v", c, r.Selected) // nil would mean: no filter
		}
		if r.State.Leaves != 6 {
			t.Errorf("%+v: the filter changed the statistics: %+v", c, r.State)
		}
	}
}

func (s *suite) testMatch(t *testing.T) {
	o := s.owner(t)
	// Leaf i is of a document that passes the filter iff its bit is 1.
	pass := []bool{true, false, true, true, false, true, false, true}
	for i, p := range pass {
		add(t, o, llmemory.Document{Name: fmt.Sprint(i), Content: fmt.Sprint("leaf ", i), Metadata: map[string]any{"pass": p}})
	}
	at := ordinals(t, s.shared, o.ID())
	var candidates []uint64 // in reverse: the order is the caller's
	for i := range pass {
		candidates = append(candidates, at[fmt.Sprint("leaf ", len(pass)-1-i)])
	}
	where := llmemory.Where{Metadata: llmemory.Meta("pass").Eq(true)}
	for _, c := range []struct {
		stages [3]int
		limit  int
		want   []int // places in candidates
	}{
		{[3]int{8, 0, 0}, 100, []int{0, 2, 4, 5, 7}},
		{[3]int{3, 3, 2}, 100, []int{0, 2, 4, 5, 7}},
		{[3]int{3, 3, 2}, 2, []int{0, 2}},
		{[3]int{3, 3, 2}, 1, []int{0, 2}},
		{[3]int{3, 3, 2}, 3, []int{0, 2, 4, 5}},
		{[3]int{3, 3, 2}, 5, []int{0, 2, 4, 5, 7}},
		{[3]int{0, 0, 8}, 1, []int{0, 2, 4, 5, 7}},
	} {
		view := openView(t, s.shared, o.ID())
		got := must(view.Match(t.Context(), llmemory.MatchParams{Owner: o.ID(), Ordinals: candidates, Stages: c.stages, Where: where,
			Limit: c.limit}))(t).Ordinals
		var want []uint64
		for _, place := range c.want {
			want = append(want, candidates[place])
		}
		if !slices.Equal(got, want) {
			t.Errorf("stages %v, limit %d: %v, want %v", c.stages, c.limit, got, want)
		}
		if err := view.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	view := openView(t, s.shared, o.ID())
	got := must(view.Match(t.Context(), llmemory.MatchParams{Owner: o.ID(), Ordinals: []uint64{1 << 40, candidates[0]}, Stages: [3]int{2},
		Limit: 5}))(t).Ordinals
	if !slices.Equal(got, candidates[:1]) {
		t.Errorf("unknown ordinal: %v, want %v", got, candidates[:1])
	}
}

func (s *suite) testHits(t *testing.T) {
	o := s.owner(t)
	texts := []string{"# Head", "one", "two", "three", "four", "five", "six"}
	id := add(t, o, llmemory.Document{OriginID: "or", Name: "d", Content: join(texts...), Metadata: map[string]any{"k": "v"}}).DocumentID
	add(t, o, llmemory.Document{Name: "single", Content: "alone"})
	at := ordinals(t, s.shared, o.ID())
	_, chunks, err := o.GetWithChunks(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	byText := map[string]llmemory.Chunk{}
	parents := map[string]llmemory.Chunk{}
	for _, c := range chunks {
		byText[c.Text] = c
		if c.Level == 1 {
			parents[c.ID] = c
		}
	}
	p := llmemory.HitsParams{Owner: o.ID(), Limit: 10, Parents: true, Neighbours: 2,
		Ordinals: []uint64{at["six"], at["two"], at["# Head"], at["four"], at["alone"], 1 << 40}, Groups: []int{0, 1, 1, 1, 2, 2}}
	hits := must(openView(t, s.shared, o.ID()).Hits(t.Context(), p))(t)
	want := []string{"# Head", "two", "four"}
	slices.SortFunc(want, func(a, b string) int { return slices.Compare([]byte(byText[a].ID), []byte(byText[b].ID)) })
	want = append(append([]string{"six"}, want...), "alone")
	var got []string
	for _, h := range hits {
		got = append(got, h.Chunk.Text)
		if h.Chunk.Ordinal != at[h.Chunk.Text] {
			t.Errorf("%q: ordinal %d, want %d", h.Chunk.Text, h.Chunk.Ordinal, at[h.Chunk.Text])
		}
		if h.Chunk.Text == "alone" {
			if h.Parent != nil || h.Before != nil || h.After != nil || h.Document.Name != "single" {
				t.Errorf("the only chunk of its document has context: %+v", h)
			}
			continue
		}
		if h.Document.ID != id || h.Document.OriginID != "or" || h.Document.Metadata["k"] != "v" || h.Chunk.DocumentID != id {
			t.Errorf("%q: document %+v", h.Chunk.Text, h.Document)
		}
		if diff := cmp.Diff(byText[h.Chunk.Text], h.Chunk.Chunk); diff != "" {
			t.Errorf("chunk (-want +got):\n%s", diff)
		}
		if parent, ok := parents[h.Chunk.ParentID]; ok != (h.Parent != nil) || ok && !cmp.Equal(parent, *h.Parent) {
			t.Errorf("%q: parent %+v, want %+v", h.Chunk.Text, h.Parent, parent)
		}
		var context []string
		for _, c := range append(slices.Clone(h.Before), h.After...) {
			context = append(context, c.Text)
		}
		i := slices.Index(texts, h.Chunk.Text)
		around := slices.Concat(texts[max(0, i-2):i], texts[i+1:min(len(texts), i+3)])
		if !slices.Equal(context, around) {
			t.Errorf("%q: neighbours %q, want %q", h.Chunk.Text, context, around)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("hits %q, want %q", got, want)
	}
	p.Limit, p.Parents, p.Neighbours = 3, false, 0
	hits = must(openView(t, s.shared, o.ID()).Hits(t.Context(), p))(t)
	if len(hits) != 3 || hits[0].Chunk.Text != want[0] || hits[2].Chunk.Text != want[2] {
		t.Errorf("%d hits, want the first 3", len(hits))
	}
	for _, h := range hits {
		if h.Parent != nil || h.Before != nil || h.After != nil {
			t.Errorf("context that was not asked for: %+v", h)
		}
	}
}

func (s *suite) testViewClose(t *testing.T) {
	o := s.owner(t)
	add(t, o, llmemory.Document{Name: "d", Content: "text"})
	for questions := range 3 {
		view := must(s.shared.View(t.Context(), llmemory.ViewParams{Owner: o.ID()}))(t)
		if questions > 0 {
			must(view.Postings(t.Context(), llmemory.PostingsParams{Owner: o.ID(), Terms: []string{"en:text"}}))(t)
		}
		if questions > 1 {
			must(view.Hits(t.Context(), llmemory.HitsParams{Owner: o.ID(), Ordinals: []uint64{0}, Groups: []int{0}, Limit: 1}))(t)
		}
		for range 2 {
			if err := view.Close(ended(t)); err != nil {
				t.Errorf("Close after %d questions: %v", questions, err)
			}
		}
	}
}

func (s *suite) testSnapshot(t *testing.T) {
	o := s.owner(t)
	add(t, o, llmemory.Document{Name: "d", Language: "en", Content: "alpha old", Metadata: map[string]any{"v": 1}})
	at := ordinals(t, s.shared, o.ID())
	view := openView(t, s.shared, o.ID())
	p := llmemory.PostingsParams{Owner: o.ID(), Terms: []string{"en:alpha", "en:new"}, SelectLimit: 10,
		Where: llmemory.Where{Metadata: llmemory.Meta("v").Eq(1)}}
	before := must(view.Postings(t.Context(), p))(t)
	// The writer waits for no reader, and the reader sees nothing of the writer.
	add(t, o, llmemory.Document{Name: "d", Language: "en", Content: "alpha new", Metadata: map[string]any{"v": 2}})
	add(t, o, llmemory.Document{Name: "e", Language: "en", Content: "alpha new", Metadata: map[string]any{"v": 1}})
	after := must(view.Postings(t.Context(), p))(t)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the snapshot moved (-before +after):\n%s", diff)
	}
	matched := must(view.Match(t.Context(), llmemory.MatchParams{Owner: o.ID(), Ordinals: []uint64{at["alpha old"]}, Stages: [3]int{1},
		Where: p.Where, Limit: 1}))(t).Ordinals
	if len(matched) != 1 {
		t.Error("Match sees a later version of the document")
	}
	hits := must(view.Hits(t.Context(), llmemory.HitsParams{Owner: o.ID(), Ordinals: []uint64{at["alpha old"]}, Groups: []int{0}, Limit: 1}))(t)
	if len(hits) != 1 || hits[0].Chunk.Text != "alpha old" || hits[0].Document.Version != 1 {
		t.Errorf("hits %+v, want the old text of version 1", hits)
	}
	if got := texts(search(t, o, "new", llmemory.SearchOptions{})); len(got) != 2 {
		t.Errorf("a new search finds %q", got)
	}
}

func (s *suite) testDeletedMeanwhile(t *testing.T) {
	o := s.owner(t)
	id := add(t, o, llmemory.Document{Name: "d", Language: "en", Content: "alpha"}).DocumentID
	at := ordinals(t, s.shared, o.ID())
	view := openView(t, s.shared, o.ID())
	must(view.Postings(t.Context(), llmemory.PostingsParams{Owner: o.ID(), Terms: []string{"en:alpha"}}))(t)
	must(o.Delete(t.Context(), id))(t)
	hits := must(view.Hits(t.Context(), llmemory.HitsParams{Owner: o.ID(), Ordinals: []uint64{at["alpha"]}, Groups: []int{0}, Limit: 1}))(t)
	if len(hits) != 1 || hits[0].Document.ID != id {
		t.Errorf("hits %+v, want the document that was deleted after the snapshot", hits)
	}
}
