package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/llmemory/llmemory"
)

func (s *suite) filterCases() []testCase {
	return []testCase{
		{name: "Operators", run: s.testOperators},
		{name: "Where", run: s.testWhere},
		{name: "Invalid", run: s.testInvalidFilters},
	}
}

func jsonNumber(s string) json.Number { return json.Number(s) }

// filterValues are metadata values, each compared with each.
func filterValues() []any {
	return []any{
		nil, true, false, 0, 1, 1.0, jsonNumber("1e0"), jsonNumber("1.00"), -1.5, 2, jsonNumber("9007199254740993"),
		jsonNumber("9007199254740992"), jsonNumber("123456789012345678901234567890"), jsonNumber("1e-300"),
		"", "1", "a", "A", "ab", "b", "ä", "z", "日本", "a%b_c", `q"'\`, "x') OR '1'='1", "true", "null", "{}",
		[]any{}, []any{1}, []any{1, "a"}, []any{"a", 1}, []any{[]any{"a"}}, []any{nil},
		map[string]any{}, map[string]any{"a": 1}, map[string]any{"a": map[string]any{"b": 1}}, map[string]any{"a": []any{1}},
	}
}

// testOperators compares what the store selects with what [llmemory.Filter.Matches] says, for every operator, value and document.
func (s *suite) testOperators(t *testing.T) {
	o := s.owner(t)
	values := filterValues()
	keys := []string{"k", "", "a.b", "$k", "$eq", "x') OR '1'='1", `q"\`, "ключ", "{k}", "0", " k", "k'", "%", "?", "-> 'k'"}
	var docs []llmemory.Document
	for i, v := range values {
		docs = append(docs, llmemory.Document{Name: fmt.Sprint("value ", i), Content: "text", Metadata: map[string]any{"k": v}})
	}
	for i, key := range keys {
		docs = append(docs,
			llmemory.Document{Name: fmt.Sprint("key ", i), Content: "text", Metadata: map[string]any{key: "here"}},
			llmemory.Document{Name: fmt.Sprint("nested ", i), Content: "text", Metadata: map[string]any{"n": map[string]any{key: i}}})
	}
	docs = append(docs, llmemory.Document{Name: "none", Content: "text"},
		llmemory.Document{Name: "list", Content: "text", Metadata: map[string]any{"n": []any{map[string]any{"k": 1}, "k"}}})
	addMany(t, o, docs)
	all := must(o.List(t.Context(), &llmemory.ListOptions{Limit: 1000, OrderBy: llmemory.ByName}))(t).Documents

	var filters []llmemory.Filter
	k := llmemory.Meta("k")
	for _, v := range values {
		filters = append(filters, k.Eq(v), k.Ne(v), k.Contains(v), k.In(v), k.Nin(v), k.In(v, "a"), k.Nin(v, 1))
		switch v := v.(type) {
		case string:
			filters = append(filters, k.Lt(v), k.Lte(v), k.Gt(v), k.Gte(v), k.Prefix(v))
		case int, float64, json.Number:
			filters = append(filters, k.Lt(v), k.Lte(v), k.Gt(v), k.Gte(v))
		}
	}
	for _, key := range keys {
		field, nested := llmemory.Meta(key), llmemory.Meta("n", key)
		filters = append(filters, field.Exists(true), field.Exists(false), field.Eq("here"), field.Ne("here"), field.Prefix("h"),
			field.Contains("er"), nested.Exists(true), nested.Gte(3), nested.In(1, 2), llmemory.Meta(key, key).Exists(true))
	}
	filters = append(filters,
		llmemory.Filter{}, llmemory.And(), llmemory.Or(), llmemory.Not(llmemory.And()), llmemory.Not(llmemory.Filter{}),
		llmemory.And(k.Exists(true), llmemory.Or(k.Eq(1), k.Prefix("a")), llmemory.Not(k.Eq("ab"))),
		llmemory.Not(k.Lt(1)), llmemory.Not(k.Prefix("a")), llmemory.Not(k.Contains(1)), llmemory.Not(k.In(nil)),
		llmemory.Or(llmemory.Not(k.Exists(true)), k.Eq(nil)), k.In(), k.Nin(), llmemory.Meta("n", "0").Exists(true),
		llmemory.Meta("n", "k", "deeper").Exists(true), llmemory.Meta("k", "a", "b").Eq(1),
	)
	for _, f := range filters {
		var want []string
		for _, d := range all {
			if f.Matches(d.Metadata) {
				want = append(want, d.Name)
			}
		}
		page, err := o.List(t.Context(), &llmemory.ListOptions{Where: llmemory.Where{Metadata: f}, Limit: 1000, OrderBy: llmemory.ByName})
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		var got []string
		for _, d := range page.Documents {
			got = append(got, d.Name)
		}
		if !slices.Equal(got, want) || page.Total != len(want) {
			t.Errorf("%s selects %q (total %d), want %q", f, got, page.Total, want)
		}
	}
	parsed, err := llmemory.ParseFilter([]byte(`{"k": {"$gte": 1, "$lt": 2}, "x') OR '1'='1": {"$exists": false}}`))
	if err != nil {
		t.Fatal(err)
	}
	page := must(o.List(t.Context(), &llmemory.ListOptions{Where: llmemory.Where{Metadata: parsed}, Limit: 1000}))(t)
	if page.Total != 4 {
		t.Errorf("%s selects %d documents, want the four ways to write 1", parsed, page.Total)
	}
}

// testWhere compares every kind of condition on List, Search and DeleteWhere with [llmemory.Where.Matches].
func (s *suite) testWhere(t *testing.T) {
	m := memory(t, s.shared)
	day := func(n int) time.Time { return time.Date(2024, 1, n, 12, 0, 0, 0, time.UTC) }
	var docs []llmemory.Document
	for i := range 12 {
		d := llmemory.Document{OriginID: fmt.Sprint("o", i%3), Name: fmt.Sprint(i), Language: "en", Content: fmt.Sprintf("alpha number%d", i),
			Type: []llmemory.Type{llmemory.PDF, llmemory.Chat}[i%2], Metadata: map[string]any{"i": i}}
		if i%4 > 0 {
			d.Date = day(i)
		}
		docs = append(docs, d)
	}
	wheres := []llmemory.Where{
		{Origins: []string{"o1"}}, {Origins: []string{"o1", "o2"}}, {Origins: []string{"nowhere"}}, {Origins: []string{"o1' OR '1'='1"}},
		{Types: []llmemory.Type{llmemory.PDF}}, {Types: []llmemory.Type{llmemory.PDF, llmemory.Chat}}, {Types: []llmemory.Type{llmemory.Code}},
		{From: day(5)}, {To: day(5)}, {From: day(5), To: day(5)}, {From: day(5).Add(time.Microsecond)}, {To: day(5).Add(-time.Microsecond)},
		{From: day(5).Add(time.Nanosecond), To: day(9).Add(time.Nanosecond)}, {From: time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)},
		{From: day(3), To: day(7), Origins: []string{"o1"}, Types: []llmemory.Type{llmemory.Chat}, Metadata: llmemory.Meta("i").Gt(3)},
		{Metadata: llmemory.Meta("i").In(1, 5, 9)},
	}
	for i, where := range wheres {
		o := m.Owner(fmt.Sprint(t.Name(), " ", i))
		addMany(t, o, docs)
		var want, rest []string
		for _, d := range must(o.List(t.Context(), &llmemory.ListOptions{Limit: 100, OrderBy: llmemory.ByName}))(t).Documents {
			if where.Matches(&d) {
				want = append(want, d.Name)
			} else {
				rest = append(rest, d.Name)
			}
		}
		check := func(what string, got []string, want []string) {
			t.Helper()
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%+v: %s %q, want %q", where, what, got, want)
			}
		}
		listed := func(where llmemory.Where) (got []string) {
			page := must(o.List(t.Context(), &llmemory.ListOptions{Where: where, Limit: 100}))(t)
			for _, d := range page.Documents {
				got = append(got, d.Name)
			}
			return got
		}
		check("List selects", listed(where), want)
		check("Search finds", names(search(t, o, "alpha", llmemory.SearchOptions{Where: where, Limit: 100})), want)
		deleted := must(o.DeleteWhere(t.Context(), where))(t)
		if len(deleted.DocumentIDs) != len(want) || deleted.Chunks != len(want) || !slices.IsSorted(deleted.DocumentIDs) {
			t.Errorf("%+v: deleted %+v, want %d documents", where, deleted, len(want))
		}
		check("DeleteWhere leaves", listed(llmemory.Where{}), rest)
		check("Search finds after DeleteWhere", names(search(t, o, "alpha", llmemory.SearchOptions{Limit: 100})), rest)
	}
}

func (s *suite) testInvalidFilters(t *testing.T) {
	o := s.owner(t)
	k := llmemory.Meta("k")
	deep := k.Eq(1)
	for range 17 {
		deep = llmemory.Not(deep)
	}
	many := make([]any, 1001)
	for i, f := range []llmemory.Filter{
		k.Lt(nil), k.Gte([]any{1}), k.Eq(func() {}), k.Eq("a\x00"), k.In(many...), deep, llmemory.Meta().Eq(1),
		llmemory.Meta("a\x00b").Eq(1), llmemory.Meta("\xff").Eq(1), llmemory.Meta(strings.Repeat("k", 513)).Eq(1),
		llmemory.Meta(make([]string, 17)...).Eq(1),
	} {
		where := llmemory.Where{Metadata: f}
		for name, call := range map[string]func() error{
			"List":        func() error { _, err := o.List(t.Context(), &llmemory.ListOptions{Where: where}); return err },
			"Search":      func() error { _, err := o.Search(t.Context(), "q", &llmemory.SearchOptions{Where: where}); return err },
			"DeleteWhere": func() error { _, err := o.DeleteWhere(t.Context(), where); return err },
		} {
			t.Run(fmt.Sprint(name, i), func(t *testing.T) { s.refused(t, o, "filter", call) })
		}
	}
}
