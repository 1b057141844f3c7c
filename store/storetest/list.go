package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
)

func (s *suite) listCases() []testCase {
	return []testCase{
		{name: "Orders", run: s.testListOrders},
		{name: "Pages", run: s.testListPages},
		{name: "Empty", run: s.testListEmpty},
	}
}

func (s *suite) testListOrders(t *testing.T) {
	o := s.owner(t)
	for i, name := range []string{"b", "a", "c", "a", "B"} {
		d := llmemory.Document{Key: fmt.Sprint(i), Name: name, Content: "text"}
		if i != 2 {
			d.Date = time.Date(2000+i*i%7, 1, 1, 0, 0, 0, 0, time.UTC)
		}
		add(t, o, d)
	}
	add(t, o, llmemory.Document{Key: "1", Name: "a", Content: "changed"}) // now the last updated
	first := func(opts llmemory.ListOptions) string {
		t.Helper()
		page := must(o.List(t.Context(), &opts))(t)
		descending := (opts.OrderBy != llmemory.ByName && !opts.Ascending) != opts.Reverse
		order := opts.OrderBy
		if order == "" {
			order = llmemory.ByCreated
		}
		checkOrder(t, page.Documents, order, descending)
		if page.Total != 5 || len(page.Documents) != 5 {
			t.Errorf("%+v: %d documents of %d", opts, len(page.Documents), page.Total)
		}
		return page.Documents[0].Key
	}
	for _, c := range []struct {
		opts llmemory.ListOptions
		want string // key of the first document
	}{
		{llmemory.ListOptions{}, "4"},
		{llmemory.ListOptions{Ascending: true}, "0"},
		{llmemory.ListOptions{Reverse: true}, "0"},
		{llmemory.ListOptions{Ascending: true, Reverse: true}, "4"},
		{llmemory.ListOptions{OrderBy: llmemory.ByCreated}, "4"},
		{llmemory.ListOptions{OrderBy: llmemory.ByUpdated}, "1"},
		{llmemory.ListOptions{OrderBy: llmemory.ByUpdated, Ascending: true}, "0"},
		{llmemory.ListOptions{OrderBy: llmemory.ByName}, "4"},
		{llmemory.ListOptions{OrderBy: llmemory.ByName, Ascending: true}, "4"},
		{llmemory.ListOptions{OrderBy: llmemory.ByName, Reverse: true}, "2"},
		{llmemory.ListOptions{OrderBy: llmemory.ByDate}, ""},
		{llmemory.ListOptions{OrderBy: llmemory.ByDate, Ascending: true}, ""},
	} {
		if got := first(c.opts); c.want != "" && got != c.want {
			t.Errorf("%+v begins with %s, want %s", c.opts, got, c.want)
		}
	}
}

func (s *suite) testListPages(t *testing.T) {
	o := s.owner(t)
	docs := make([]llmemory.Document, 45)
	for i := range docs {
		docs[i] = llmemory.Document{Key: fmt.Sprint(i), Name: fmt.Sprint(i % 4), Content: "text"}
	}
	addMany(t, o, docs)
	whole := must(o.List(t.Context(), &llmemory.ListOptions{Limit: 1000}))(t)
	if whole.Total != 45 || len(whole.Documents) != 45 {
		t.Fatalf("%d documents of %d", len(whole.Documents), whole.Total)
	}
	var paged []llmemory.StoredDocument
	for offset := 0; offset < 60; offset += 20 {
		page := must(o.List(t.Context(), &llmemory.ListOptions{Offset: offset}))(t)
		if page.Total != 45 || page.Limit != 20 || page.Offset != offset {
			t.Errorf("page at %d: total %d, limit %d, offset %d", offset, page.Total, page.Limit, page.Offset)
		}
		paged = append(paged, page.Documents...)
	}
	if diff := cmp.Diff(whole.Documents, paged); diff != "" {
		t.Errorf("pages differ from the whole (-whole +pages):\n%s", diff)
	}
}

func (s *suite) testListEmpty(t *testing.T) {
	page := must(s.owner(t).List(t.Context(), nil))(t)
	if page.Total != 0 || len(page.Documents) != 0 || page.Limit != 20 {
		t.Errorf("%+v", page)
	}
}
