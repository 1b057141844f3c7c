package storetest

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
)

func (s *suite) limitCases() []testCase {
	cases := []testCase{
		{name: "IDs", run: s.testIDLimits},
		{name: "Content", run: s.testContentLimit},
		{name: "Metadata", run: s.testMetadataLimits},
		{name: "Words", run: s.testOddFields},
		{name: "Query", run: s.testQueryLimits},
		{name: "Pages", run: s.testPageLimits},
		{name: "HugeWord", run: s.testHugeWord},
	}
	if !s.Brief {
		cases = append(cases, testCase{name: "DefaultContent", run: s.testDefaultContentLimit},
			testCase{name: "ManyWords", run: s.testManyWords})
	}
	return cases
}

// refused checks that a call is refused as invalid, with the field and a rule, and left not even the owner's state behind.
func (s *suite) refused(t *testing.T, o *llmemory.Owner, field string, call func() error) {
	t.Helper()
	before := read(t, s.shared, llmemory.PostingsParams{Owner: o.ID()})
	err := call()
	var invalid *llmemory.InvalidError
	if !errors.Is(err, llmemory.ErrInvalid) || !errors.As(err, &invalid) {
		t.Errorf("%v, want an InvalidError of %s", err, field)
		return
	}
	if invalid.Field != field || invalid.Rule == "" {
		t.Errorf("field %q, rule %q, want field %q", invalid.Field, invalid.Rule, field)
	}
	if diff := cmp.Diff(before, read(t, s.shared, llmemory.PostingsParams{Owner: o.ID()})); diff != "" {
		t.Errorf("refused for %s, yet written (-before +after):\n%s", field, diff)
	}
}

func (s *suite) testIDLimits(t *testing.T) {
	o := s.owner(t)
	sized := func(n int) string { return t.Name() + strings.Repeat("x", n-len(t.Name())) }
	add(t, memory(t, s.shared).Owner(sized(512)), llmemory.Document{Content: "text"})
	for i, id := range []string{"x", strings.Repeat("x", 511), strings.Repeat("x", 512), strings.Repeat("ü", 256), "a b", "https://h/p?q=1#f", "👩‍👩‍👧"} {
		added := add(t, o, llmemory.Document{OriginID: id, Key: id, Name: id, Content: fmt.Sprint("text ", i)})
		if d := must(o.Get(t.Context(), added.DocumentID))(t); d.OriginID != id || d.Key != id || d.Name != id {
			t.Errorf("%.20q came back as %.20q, %.20q, %.20q", id, d.OriginID, d.Key, d.Name)
		}
	}
	clean := memory(t, s.shared).Owner(t.Name() + " clean")
	for _, bad := range []string{strings.Repeat("x", 513), strings.Repeat("ü", 257), "\n", "a\n", "a\x00", "\xff", "a\u200b", "\u202e", " ", "a\tb"} {
		for field, doc := range map[string]llmemory.Document{
			"origin": {OriginID: bad, Content: "text"}, "key": {Key: bad, Content: "text"}, "name": {Name: bad, Content: "text"},
		} {
			s.refused(t, clean, field, func() error { _, err := clean.Add(t.Context(), doc); return err })
		}
	}
	for _, bad := range []string{"", sized(513), "a\n", "\xff", "\u200bx"} {
		o := memory(t, s.shared).Owner(bad)
		for name, call := range ownerCalls(t, o) {
			var invalid *llmemory.InvalidError
			if err := call(); !errors.As(err, &invalid) || invalid.Field != "owner" {
				t.Errorf("%s of owner %.20q: %v, want an InvalidError of owner", name, bad, err)
			}
		}
	}
}

// ownerCalls are all calls of an owner with a context.
func ownerCalls(t *testing.T, o *llmemory.Owner) map[string]func() error {
	ctx := t.Context()
	return map[string]func() error{
		"Add": func() error { _, err := o.Add(ctx, llmemory.Document{Content: "text"}); return err },
		"AddMany": func() error {
			added, err := o.AddMany(ctx, []llmemory.Document{{Content: "text"}})
			if err == nil {
				err = added[0].Err
			}
			return err
		},
		"Get":           func() error { _, err := o.Get(ctx, unknownID); return err },
		"Text":          func() error { _, err := o.Text(ctx, unknownID); return err },
		"GetWithChunks": func() error { _, _, err := o.GetWithChunks(ctx, unknownID); return err },
		"Chunks":        func() error { _, _, err := o.Chunks(ctx, unknownID, nil); return err },
		"List":          func() error { _, err := o.List(ctx, nil); return err },
		"Delete":        func() error { _, err := o.Delete(ctx, unknownID); return err },
		"DeleteWhere":   func() error { _, err := o.DeleteWhere(ctx, llmemory.Where{Origins: []string{"x"}}); return err },
		"DeleteAll":     func() error { _, err := o.DeleteAll(ctx); return err },
		"Stats":         func() error { _, err := o.Stats(ctx); return err },
		"Search":        func() error { _, err := o.Search(ctx, "text", nil); return err },
	}
}

func (s *suite) testContentLimit(t *testing.T) {
	m, err := llmemory.New(s.shared, &llmemory.Config{MaxContentBytes: 100})
	if err != nil {
		t.Fatal(err)
	}
	o := m.Owner(t.Name())
	content := func(n int) llmemory.Document {
		return llmemory.Document{Content: strings.Repeat("word ", n/5) + strings.Repeat("x", n%5)}
	}
	for _, bad := range []llmemory.Document{content(101), {Content: ""}, {Content: " \n\t\u2003"}, {Content: "\x00"}, {Content: "a\xff"},
		{Content: "\xed\xa0\x80"}, {Source: strings.NewReader(content(101).Content)}} {
		s.refused(t, o, "content", func() error { _, err := o.Add(t.Context(), bad); return err })
	}
	for _, n := range []int{1, 99, 100} {
		if added := add(t, o, content(n)); added.Status != llmemory.Created {
			t.Errorf("%d bytes: %+v", n, added)
		}
	}
}

func (s *suite) testDefaultContentLimit(t *testing.T) {
	o := s.owner(t)
	s.refused(t, o, "content", func() error {
		_, err := o.Add(t.Context(), llmemory.Document{Content: strings.Repeat("word\n", llmemory.DefaultMaxContentBytes/5) + "12345"})
		return err
	})
}

func (s *suite) testMetadataLimits(t *testing.T) {
	o := s.owner(t)
	sized := func(n int) map[string]any { return map[string]any{"k": strings.Repeat("x", n-len(`{"k":""}`))} }
	deep := func(n int) map[string]any {
		m := map[string]any{}
		for range n - 1 {
			m = map[string]any{"d": m}
		}
		return m
	}
	deepList := func(n int) map[string]any {
		var v any = "leaf"
		for range n - 1 {
			v = []any{v}
		}
		return map[string]any{"d": v}
	}
	for name, bad := range map[string]map[string]any{
		"65,537 bytes":   sized(64<<10 + 1),
		"17 levels":      deep(17),
		"17 lists":       deepList(17),
		"70,000 levels":  deep(70_000),
		"70,000 lists":   deepList(70_000),
		"a function":     {"f": func() {}},
		"not a number":   {"f": math.NaN()},
		"infinite":       {"f": math.Inf(1)},
		"a huge number":  {"f": jsonNumber("1e400")},
		"no JSON number": {"f": jsonNumber("x")},
	} {
		t.Run(name, func(t *testing.T) {
			s.refused(t, o, "metadata", func() error {
				_, err := o.Add(t.Context(), llmemory.Document{Content: "text", Metadata: bad})
				return err
			})
		})
	}
	for i, good := range []map[string]any{sized(64<<10 - 1), sized(64 << 10), deep(15), deep(16), deepList(16), nil, {},
		{"": 1}, {"a.b": map[string]any{"$c": 1}}, {"k": strings.Repeat("x", 300), "'\"\\": "\u2028"}} {
		added := add(t, o, llmemory.Document{Name: fmt.Sprint(i), Content: "text", Metadata: good})
		d := must(o.Get(t.Context(), added.DocumentID))(t)
		if i < 5 && len(fmt.Sprint(d.Metadata)) != len(fmt.Sprint(good)) {
			t.Errorf("metadata %d came back with another size", i)
		}
	}
}

func (s *suite) testOddFields(t *testing.T) {
	o := s.owner(t)
	for field, doc := range map[string]llmemory.Document{
		"type":      {Content: "text", Type: "novel"},
		"language":  {Content: "text", Language: "tlh"},
		"if_exists": {Content: "text", IfExists: "perhaps"},
		"embed":     {Content: "text", Embed: "perhaps"},
		"date":      {Content: "text", Date: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		s.refused(t, o, field, func() error { _, err := o.Add(t.Context(), doc); return err })
	}
	var invalid *llmemory.InvalidError
	_, err := o.Add(t.Context(), llmemory.Document{Content: "text", Type: "novel"})
	if errors.As(err, &invalid) {
		for _, kind := range llmemory.Types() {
			if !strings.Contains(invalid.Rule, string(kind)) {
				t.Errorf("the rule does not list %s: %s", kind, invalid.Rule)
			}
		}
	}
	for _, kind := range llmemory.Types() {
		added := add(t, o, llmemory.Document{Name: string(kind), Type: kind, Content: "text"})
		if d := must(o.Get(t.Context(), added.DocumentID))(t); d.Type != kind {
			t.Errorf("%s became %s", kind, d.Type)
		}
	}
	for _, date := range []time.Time{time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)} {
		added := add(t, o, llmemory.Document{Name: "dated", Date: date, Content: "text"})
		if d := must(o.Get(t.Context(), added.DocumentID))(t); !d.Date.Equal(date) {
			t.Errorf("%v became %v", date, d.Date)
		}
	}
}

func (s *suite) testQueryLimits(t *testing.T) {
	o := s.owner(t)
	for _, bad := range []string{"", strings.Repeat("x ", 4096) + "x", "\xff"} {
		s.refused(t, o, "query", func() error { _, err := o.Search(t.Context(), bad, nil); return err })
	}
	add(t, o, llmemory.Document{Name: "n", Content: "text"})
	for _, good := range []string{"text", strings.Repeat("x ", 4092) + "text", strings.Repeat("y", 4096) + " " + strings.Repeat("z", 4090) + " text"} {
		if hits := search(t, o, good, llmemory.SearchOptions{}); len(hits) != 1 {
			t.Errorf("query of %d bytes: %d hits", len(good), len(hits))
		}
	}
	for _, odd := range []string{" ", "\x00", "...", `"`, `""`, "-", "--", `-"`, "'; DROP TABLE documents; --", "%_\\", "a & b | !c <-> (d", "*", "the"} {
		if hits := search(t, o, odd, llmemory.SearchOptions{}); len(hits) != 0 {
			t.Errorf("%q found %q", odd, texts(hits))
		}
	}
	for field, opts := range map[string]llmemory.SearchOptions{
		"mode":       {Mode: "psychic"},
		"limit":      {Limit: -1},
		"neighbours": {Neighbours: 11},
		"snippet":    {Snippet: -2},
		"origin":     {Where: llmemory.Where{Origins: []string{""}}},
		"type":       {Where: llmemory.Where{Types: []llmemory.Type{"novel"}}},
		"to":         {Where: llmemory.Where{From: time.Unix(2, 0), To: time.Unix(1, 0)}},
		"filter":     {Where: llmemory.Where{Metadata: llmemory.Meta("k").Lt(true)}},
	} {
		s.refused(t, o, field, func() error { _, err := o.Search(t.Context(), "text", &opts); return err })
	}
}

func (s *suite) testPageLimits(t *testing.T) {
	o := s.owner(t)
	id := add(t, o, llmemory.Document{Name: "n", Content: "text"}).DocumentID
	for _, limit := range []int{-1, 1001, 1e6, math.MaxInt, math.MinInt} {
		s.refused(t, o, "limit", func() error { _, err := o.List(t.Context(), &llmemory.ListOptions{Limit: limit}); return err })
		s.refused(t, o, "limit", func() error {
			_, _, err := o.Chunks(t.Context(), id, &llmemory.ChunksOptions{Limit: limit})
			return err
		})
		s.refused(t, o, "limit", func() error {
			_, err := o.Search(t.Context(), "text", &llmemory.SearchOptions{Limit: limit})
			return err
		})
	}
	for _, limit := range []int{0, 1, 999, 1000} {
		page := must(o.List(t.Context(), &llmemory.ListOptions{Limit: limit}))(t)
		if want := limit; len(page.Documents) != 1 || page.Total != 1 || want > 0 && page.Limit != want || want == 0 && page.Limit != 20 {
			t.Errorf("limit %d: %+v", limit, page)
		}
		if hits := search(t, o, "text", llmemory.SearchOptions{Limit: limit}); len(hits) != 1 {
			t.Errorf("limit %d: %d hits", limit, len(hits))
		}
	}
	s.refused(t, o, "offset", func() error { _, err := o.List(t.Context(), &llmemory.ListOptions{Offset: -1}); return err })
	s.refused(t, o, "offset", func() error { _, _, err := o.Chunks(t.Context(), id, &llmemory.ChunksOptions{Offset: -1}); return err })
	s.refused(t, o, "order", func() error { _, err := o.List(t.Context(), &llmemory.ListOptions{OrderBy: "name; --"}); return err })
	for _, offset := range []int{1, 1e9, math.MaxInt} {
		page, err := o.List(t.Context(), &llmemory.ListOptions{Offset: offset})
		if err != nil || len(page.Documents) != 0 || page.Total != 1 {
			t.Errorf("offset %d: %+v, %v", offset, page, err)
		}
		chunks, total, err := o.Chunks(t.Context(), id, &llmemory.ChunksOptions{Offset: offset, Limit: 1000})
		if err != nil || len(chunks) != 0 || total != 1 {
			t.Errorf("offset %d: %d chunks of %d, %v", offset, len(chunks), total, err)
		}
	}
}

func (s *suite) testHugeWord(t *testing.T) {
	o := s.owner(t)
	word := strings.Repeat("abcdefghij", 30_000)
	added := add(t, o, llmemory.Document{Name: "n", Content: join("apple", word, "banana")})
	if added.UnsearchableWords != 1 {
		t.Errorf("%d unsearchable words, want 1", added.UnsearchableWords)
	}
	if text := must(o.Text(t.Context(), added.DocumentID))(t); text != join("apple", word, "banana") {
		t.Errorf("text of %d bytes came back with %d", len(word)+15, len(text))
	}
	if hits := search(t, o, "banana", llmemory.SearchOptions{}); len(hits) != 1 {
		t.Errorf("the words around it: %d hits", len(hits))
	}
}

func (s *suite) testManyWords(t *testing.T) {
	o := s.owner(t)
	var b strings.Builder
	for i := range 40_000 {
		fmt.Fprintf(&b, "w%05d ", i)
	}
	add(t, o, llmemory.Document{Name: "n", Content: b.String()})
	for _, word := range []string{"w00000", "w20000", "w39999"} {
		if hits := search(t, o, word, llmemory.SearchOptions{}); len(hits) != 1 {
			t.Errorf("%s: %d hits", word, len(hits))
		}
	}
	if hits := search(t, o, "w40000", llmemory.SearchOptions{}); len(hits) != 0 {
		t.Errorf("w40000: %d hits", len(hits))
	}
}
