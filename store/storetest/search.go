package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
)

func (s *suite) searchCases() []testCase {
	cases := []testCase{
		{name: "ReadYourWrites", run: s.testReadYourWrites},
		{name: "Scores", run: s.testScores},
		{name: "Phrases", run: s.testPhrases},
		{name: "Languages", run: s.testLanguages},
		{name: "NewLanguage", run: s.testNewLanguage},
		{name: "Ties", run: s.testTies},
		{name: "Context", run: s.testContext},
		{name: "Snippets", run: s.testSnippets},
		{name: "Modes", run: s.testModes},
		{name: "Explain", run: s.testExplain},
		{name: "NothingToFind", run: s.testNothing},
		{name: "DefaultChunker", run: s.testDefaultChunker},
	}
	if !s.Brief {
		cases = append(cases, testCase{name: "BroadFilter", run: s.testBroadFilter})
	}
	return cases
}

func (s *suite) testReadYourWrites(t *testing.T) {
	o := s.owner(t)
	for i := range 40 {
		word := fmt.Sprint("unique", i)
		id := add(t, o, llmemory.Document{Name: fmt.Sprint(i), Content: "common " + word}).DocumentID
		if hits := search(t, o, word, llmemory.SearchOptions{}); len(hits) != 1 || hits[0].DocumentID != id || hits[0].Document.ID != id {
			t.Fatalf("document %d is not found at once: %q", i, texts(hits))
		}
	}
}

func (s *suite) testScores(t *testing.T) {
	o, m := s.owner(t), newModel(t.Name())
	for i, text := range []string{"apple", "apple apple banana", "apple banana cherry", "banana banana", "cherry", "dates and figs", "apple " + strings.Repeat("filler ", 50)} {
		doc := llmemory.Document{Key: fmt.Sprint(i), Language: "en", Content: text, Metadata: map[string]any{"even": i%2 == 0}}
		add(t, o, doc)
		if _, err := m.add(doc); err != nil {
			t.Fatal(err)
		}
	}
	even := llmemory.Where{Metadata: llmemory.Meta("even").Eq(true)}
	for _, query := range []string{"apple", "apple banana", "banana apple", "apple apple banana", "cherry figs apple", "nothing", "filler -banana"} {
		for _, limit := range []int{0, 1, 2, 1000} {
			m.compare(t, o, query, llmemory.SearchOptions{Limit: limit})
			m.compare(t, o, query, llmemory.SearchOptions{Limit: limit, Where: even})
		}
		hits := search(t, o, query, llmemory.SearchOptions{})
		all := map[string]float64{}
		for i, h := range hits {
			if h.Scores.Text == nil || *h.Scores.Text != h.Score || h.Scores.Vector != nil || h.Scores.Fused != nil || h.Scores.Rerank != nil {
				t.Errorf("%q: scores %+v of hit %d", query, h.Scores, i)
			}
			if i > 0 && h.Score > hits[i-1].Score {
				t.Errorf("%q: hit %d scores more than the one before", query, i)
			}
			all[h.ID] = h.Score
		}
		for _, h := range search(t, o, query, llmemory.SearchOptions{Where: even}) {
			if h.Score != all[h.ID] {
				t.Errorf("%q: the filter changed the score of %q", query, h.Text)
			}
		}
	}
}

func (s *suite) testPhrases(t *testing.T) {
	o := s.owner(t)
	add(t, o, llmemory.Document{Name: "quick note", Language: "en", Content: join("the quick brown fox", "brown quick foxes", "quick and brown", "a quick fox", "# Brown", "section text")})
	for query, want := range map[string][]string{
		`"quick brown"`:          {"the quick brown fox"},
		`"brown quick"`:          {"brown quick foxes"},
		`quick -brown`:           {"a quick fox"},
		`quick -"quick brown"`:   {"brown quick foxes", "quick and brown", "a quick fox", "# Brown", "section text"},
		`fox -"the quick brown"`: {"brown quick foxes", "a quick fox"},
		`"quick fox" "brown"`:    {"brown quick foxes"},
		`"section text" -brown`:  nil, // its heading is Brown, and the words are nowhere else
		`"no such phrase"`:       nil,
	} {
		got := texts(search(t, o, query, llmemory.SearchOptions{}))
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s finds %q, want %q", query, got, want)
		}
	}
	// A heading is not a phrase with the text below it. Where nothing holds a phrase, its words are searched, and the answer says so.
	for query, relaxed := range map[string]bool{`"brown section"`: true, `"quick brown"`: false, `"no such phrase"`: false} {
		r := must(o.Search(t.Context(), query, &llmemory.SearchOptions{Mode: llmemory.ByText}))(t)
		if said := len(r.Degraded) == 1 && strings.HasPrefix(r.Degraded[0], "phrase"); said != relaxed || relaxed && len(r.Hits) != 5 {
			t.Errorf("%s finds %q, degraded %q", query, texts(r.Hits), r.Degraded)
		}
	}
}

func (s *suite) testLanguages(t *testing.T) {
	o := s.owner(t)
	for name, d := range map[string]llmemory.Document{
		"en": {Content: "The cats were running through several houses."},
		"de": {Content: "Die Katzen liefen durch mehrere Häuser, ohne dass jemand sie bemerkte."},
		"fr": {Content: "Les chats couraient à travers plusieurs maisons pendant la nuit."},
		"ru": {Content: "Кошки бежали через несколько домов, и никто их не заметил."},
		"zh": {Content: "猫跑过了几座房子，没有人注意到它们。"},
		"ja": {Content: "猫たちはいくつかの家を走り抜けた。"},
	} {
		d.Name, d.Language = name, name
		add(t, o, d)
	}
	for query, want := range map[string]string{
		"running cat": "en", "Haus Katze": "de", "maison": "fr", "дом": "ru", "房子": "zh", "いくつか": "ja", "HÄUSER": "de",
	} {
		hits := search(t, o, query, llmemory.SearchOptions{})
		if len(hits) == 0 || hits[0].Document.Language != want {
			t.Errorf("%q finds %q, want the document in %s first", query, names(hits), want)
		}
	}
	detected := memory(t, s.shared).Owner(t.Name() + " detected")
	id := add(t, detected, llmemory.Document{Content: "Die Katzen liefen durch mehrere Häuser, ohne dass jemand sie dabei bemerkt hätte."}).DocumentID
	if d := must(detected.Get(t.Context(), id))(t); d.Language != "de" {
		t.Errorf("detected %q, want de", d.Language)
	}
}

// testNewLanguage has one memory remember an owner's languages while another adds one.
func (s *suite) testNewLanguage(t *testing.T) {
	reader, writer := s.owner(t), s.owner(t)
	add(t, writer, llmemory.Document{Name: "en", Language: "en", Content: "walking"})
	if hits := search(t, reader, "walked", llmemory.SearchOptions{}); len(hits) != 1 {
		t.Fatalf("found %q", texts(hits))
	}
	add(t, writer, llmemory.Document{Name: "de", Language: "de", Content: "Häuser"})
	if hits := search(t, reader, "Hauses", llmemory.SearchOptions{}); len(hits) != 1 {
		t.Errorf("the new language is not searched: %q", texts(hits))
	}
}

func (s *suite) testTies(t *testing.T) {
	o := s.owner(t)
	var docs []llmemory.Document
	for i := range 60 {
		docs = append(docs, llmemory.Document{Key: fmt.Sprint(i), Content: []string{"tie", "tie other"}[i%2], Metadata: map[string]any{"third": i%3 == 0}})
	}
	addMany(t, o, docs)
	all := search(t, o, "tie", llmemory.SearchOptions{Limit: 1000})
	if len(all) != 60 {
		t.Fatalf("%d hits, want 60", len(all))
	}
	sorted := sort.SliceIsSorted(all, func(i, j int) bool {
		if all[i].Score != all[j].Score {
			return all[i].Score > all[j].Score
		}
		return all[i].ID < all[j].ID
	})
	if !sorted {
		t.Error("hits are not ordered by score, then chunk id")
	}
	ids := func(hits []llmemory.Hit) (out []string) {
		for _, h := range hits {
			out = append(out, h.ID)
		}
		return out
	}
	var third []llmemory.Hit
	for _, h := range all {
		if h.Document.Metadata["third"] == true {
			third = append(third, h)
		}
	}
	for _, limit := range []int{1, 7, 29, 30, 31, 59} {
		if got := search(t, o, "tie", llmemory.SearchOptions{Limit: limit}); !slices.Equal(ids(got), ids(all[:limit])) {
			t.Errorf("limit %d is not the beginning of the whole", limit)
		}
		n := min(limit, len(third))
		where := llmemory.Where{Metadata: llmemory.Meta("third").Eq(true)}
		if got := search(t, o, "tie", llmemory.SearchOptions{Limit: limit, Where: where}); !slices.Equal(ids(got), ids(third[:n])) {
			t.Errorf("limit %d with a filter is not the beginning of the whole", limit)
		}
	}
}

func (s *suite) testContext(t *testing.T) {
	o := s.owner(t)
	id := add(t, o, llmemory.Document{Name: "n", Language: "en", Content: join("# Title", "alpha", "beta", "gamma", "delta", "epsilon", "zeta")}).DocumentID
	_, chunks, err := o.GetWithChunks(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"alpha", "gamma", "zeta", "Title"} {
		for n := range 4 {
			hits := search(t, o, query, llmemory.SearchOptions{Parents: n%2 == 0, Neighbours: n, Limit: 1})
			if len(hits) != 1 {
				t.Fatalf("%q: %d hits", query, len(hits))
			}
			h := hits[0]
			at := h.Position
			if diff := cmp.Diff(chunks[at], h.Chunk); diff != "" {
				t.Errorf("%q: chunk (-want +got):\n%s", query, diff)
			}
			if before := chunks[max(0, at-n):at]; !slices.Equal(before, h.Before) {
				t.Errorf("%q: before %v, want %v", query, h.Before, before)
			}
			if after := chunks[at+1 : min(7, at+1+n)]; !slices.Equal(after, h.After) {
				t.Errorf("%q: after %v, want %v", query, h.After, after)
			}
			var parent *llmemory.Chunk
			for i := range chunks {
				if n%2 == 0 && chunks[i].ID == h.ParentID {
					parent = &chunks[i]
				}
			}
			if diff := cmp.Diff(parent, h.Parent); diff != "" {
				t.Errorf("%q: parent (-want +got):\n%s", query, diff)
			}
		}
	}
}

func (s *suite) testSnippets(t *testing.T) {
	o := s.owner(t)
	long := strings.Repeat("filler words go on ", 60) + "the needle is here " + strings.Repeat("and more filler ", 60)
	add(t, o, llmemory.Document{Name: "n", Language: "en", Content: join(long, "Needles, needle; neEdle", "naïve needle 日本語の針")})
	for _, size := range []int{0, 10, 100, 5000} {
		hits := search(t, o, "needles", llmemory.SearchOptions{Snippet: size})
		if len(hits) != 3 {
			t.Fatalf("found %q", texts(hits))
		}
		for _, h := range hits {
			most := size
			if size == 0 {
				most = 240
			}
			if h.Snippet == "" || len(h.Snippet) > most || !strings.Contains(h.Text, h.Snippet) {
				t.Errorf("snippet %q of %d bytes, at most %d", h.Snippet, len(h.Snippet), most)
			}
			if most >= 100 && !strings.Contains(strings.ToLower(h.Snippet), "needle") {
				t.Errorf("snippet %q lacks the word", h.Snippet)
			}
			end := 0
			for _, span := range h.Highlights {
				if span.Start < end || span.End <= span.Start || span.End > len(h.Text) {
					t.Fatalf("highlight %+v after %d in %d bytes", span, end, len(h.Text))
				}
				end = span.End
				if word := strings.ToLower(h.Text[span.Start:span.End]); word != "needle" && word != "needles" {
					t.Errorf("highlighted %q", word)
				}
			}
			if len(h.Highlights) == 0 {
				t.Errorf("no highlights in %.40q", h.Text)
			}
		}
	}
	for _, h := range search(t, o, "needles", llmemory.SearchOptions{Snippet: -1}) {
		if h.Snippet != "" || h.Highlights != nil {
			t.Errorf("snippet %q, highlights %v although none were asked for", h.Snippet, h.Highlights)
		}
	}
}

func (s *suite) testModes(t *testing.T) {
	o := s.owner(t)
	add(t, o, llmemory.Document{Name: "n", Content: "text"})
	for _, mode := range []llmemory.Mode{"", llmemory.Hybrid} {
		r := must(o.Search(t.Context(), "text", &llmemory.SearchOptions{Mode: mode}))(t)
		if len(r.Hits) != 1 || r.Mode != llmemory.Hybrid || len(r.Degraded) != 1 || !strings.HasPrefix(r.Degraded[0], "vector") {
			t.Errorf("mode %q: %+v", mode, r)
		}
	}
	r := must(o.Search(t.Context(), "text", &llmemory.SearchOptions{Mode: llmemory.ByText}))(t)
	if len(r.Hits) != 1 || r.Mode != llmemory.ByText || len(r.Degraded) != 0 || r.Query != "text" || r.Took <= 0 {
		t.Errorf("text: %+v", r)
	}
	s.refused(t, o, "mode", func() error {
		_, err := o.Search(t.Context(), "text", &llmemory.SearchOptions{Mode: llmemory.ByVector})
		return err
	})
	if r := must(o.Search(t.Context(), "text", nil))(t); len(r.Hits) != 1 || r.Explanation != nil {
		t.Errorf("no options: %+v", r)
	}
}

func (s *suite) testExplain(t *testing.T) {
	o := s.owner(t)
	add(t, o, llmemory.Document{OriginID: "a", Name: "n", Language: "en", Content: join("alpha one", "alpha two", "beta")})
	for filter, where := range map[string]llmemory.Where{"none": {}, "selective": {Origins: []string{"a"}}} {
		r := must(o.Search(t.Context(), "alpha", &llmemory.SearchOptions{Where: where, Explain: true, Limit: 1}))(t)
		e := r.Explanation
		if e == nil {
			t.Fatal("no explanation")
		}
		if e.Candidates != 2 || e.Filter != filter || !slices.Contains(e.Languages, "en") || !slices.Contains(e.Terms, "en:alpha") || len(e.Stages) == 0 {
			t.Errorf("%s: %+v", filter, e)
		}
		for _, stage := range e.Stages {
			if stage.Name == "" || stage.Took < 0 {
				t.Errorf("%s: stage %+v", filter, stage)
			}
		}
	}
}

func (s *suite) testNothing(t *testing.T) {
	o := s.owner(t)
	if hits := search(t, o, "text", llmemory.SearchOptions{Where: llmemory.Where{Origins: []string{"a"}}}); len(hits) != 0 {
		t.Errorf("found %q in nothing", texts(hits))
	}
	add(t, o, llmemory.Document{Name: "n", Content: "text"})
	for _, where := range []llmemory.Where{{Origins: []string{"a"}}, {Metadata: llmemory.Or()}, {Types: []llmemory.Type{llmemory.PDF}}} {
		if hits := search(t, o, "text", llmemory.SearchOptions{Where: where}); len(hits) != 0 {
			t.Errorf("%+v lets %q pass", where, texts(hits))
		}
	}
}

// testBroadFilter searches with filters that select more leaves than a search takes as a set, 10,000, and fewer.
func (s *suite) testBroadFilter(t *testing.T) {
	o, _ := s.vectors(t)
	m := newModel(t.Name())
	docs := make([]llmemory.Document, 26)
	for i := range docs {
		var b strings.Builder
		for j := range 420 {
			fmt.Fprintf(&b, "common group%d x%d\n\n", j%7, (i*j)%23)
		}
		docs[i] = llmemory.Document{OriginID: fmt.Sprint("o", i), Key: fmt.Sprint(i), Language: "en", Content: b.String(), Embed: llmemory.EmbedNever}
	}
	docs[0].Content += "lonely words\n\nsole words"
	docs[25].Content += "words lonely\n\nsole words x99"
	for _, i := range []int{0, 24, 25} {
		docs[i].Embed = llmemory.EmbedNow
	}
	addMany(t, o, docs)
	for _, d := range docs {
		if _, err := m.add(d); err != nil {
			t.Fatal(err)
		}
	}
	without := func(n int) llmemory.Where { // the origins from n on: 25 of them are 10,500 leaves
		var w llmemory.Where
		for i := n; i < 26; i++ {
			w.Origins = append(w.Origins, fmt.Sprint("o", i))
		}
		return w
	}
	for _, c := range []struct {
		where llmemory.Where
		plan  string
	}{{without(1), "broad"}, {without(3), "selective"}, {without(20), "selective"}} {
		for _, query := range []string{"common", "x0", "x0 x1 -group2"} {
			for _, limit := range []int{10, 700} {
				m.compare(t, o, query, llmemory.SearchOptions{Where: c.where, Limit: limit})
			}
			r := must(o.Search(t.Context(), query, &llmemory.SearchOptions{Where: c.where, Explain: true}))(t)
			if r.Explanation.Filter != c.plan {
				t.Errorf("%d origins: the filter is %s, want %s", len(c.where.Origins), r.Explanation.Filter, c.plan)
			}
		}
		// The first phrase is held outside the filters only, the last one inside by what is excluded only.
		for query, relaxed := range map[string]bool{`"lonely words"`: true, `"words lonely"`: false, `"sole words" lonely -x99`: true} {
			m.compare(t, o, query, llmemory.SearchOptions{Where: c.where})
			for _, mode := range []llmemory.Mode{llmemory.ByText, llmemory.ByVector, llmemory.Hybrid} {
				r := must(o.Search(t.Context(), query, &llmemory.SearchOptions{Where: c.where, Mode: mode}))(t)
				said := len(r.Degraded) == 1 && strings.HasPrefix(r.Degraded[0], "phrase: ")
				if len(r.Hits) == 0 || r.Hits[0].Text != "words lonely" || said != relaxed {
					t.Errorf("%s %s, %s filter: %q, %q", mode, query, c.plan, texts(r.Hits), r.Degraded)
				}
			}
		}
	}
}

func (s *suite) testDefaultChunker(t *testing.T) {
	m := must(llmemory.New(s.shared, &llmemory.Config{Logger: logger(t)}))(t)
	o := m.Owner(t.Name())
	var b strings.Builder
	for i := range 12 {
		fmt.Fprintf(&b, "# Chapter %d\n\n", i)
		for j := range 30 {
			fmt.Fprintf(&b, "Sentence number %d of chapter %d says something about topic%d and little else. ", j, i, i*30+j)
			if j%5 == 4 {
				b.WriteString("\n\n")
			}
		}
	}
	doc := llmemory.Document{Name: "book.md", Type: llmemory.Markdown, Content: b.String()}
	added := add(t, o, doc)
	if text := must(o.Text(t.Context(), added.DocumentID))(t); text != doc.Content {
		t.Error("the text came back otherwise")
	}
	checkOffsets(t, o, added.DocumentID)
	hits := search(t, o, "topic200", llmemory.SearchOptions{Parents: true, Neighbours: 1})
	if len(hits) != 1 || !strings.Contains(hits[0].Text, "topic200") || !strings.Contains(hits[0].Heading, "Chapter 6") {
		t.Fatalf("found %q", texts(hits))
	}
	if h := hits[0]; h.Parent == nil || !strings.Contains(h.Parent.Text, h.Text) || h.Parent.Text != doc.Content[h.Parent.Start:h.Parent.End] {
		t.Errorf("parent %+v", hits[0].Parent)
	}
	doc.Content = strings.Replace(doc.Content, "topic100 and", "topic100 or", 1)
	changed := add(t, o, doc)
	if reused := changed.Chunks - changed.ChunksReused; changed.Status != llmemory.Updated || reused < 1 || reused > 4 {
		t.Errorf("one word changed: %+v", changed)
	}
	checkOffsets(t, o, added.DocumentID)
	if _, err := o.Get(t.Context(), unknownID); !errors.Is(err, llmemory.ErrNotFound) {
		t.Error(err)
	}
}
