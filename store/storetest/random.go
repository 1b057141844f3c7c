package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/llmemory/llmemory"
)

func (s *suite) randomCases() []testCase { return []testCase{{name: "History", run: s.testHistory}} }

// history is a random sequence of operations on a few owners, each done to the store and to its model.
type history struct {
	*rand.Rand
	s      *suite
	store  llmemory.Store
	memory *llmemory.Memory
	models []*model
	last   map[string]llmemory.Document // as last added, by owner and identity
	log    []string
}

// testHistory runs a random history and compares every answer with the model's.
func (s *suite) testHistory(t *testing.T) {
	n := seed(t)
	h := &history{Rand: rand.New(rand.NewPCG(n, 0)), s: s, store: s.open(t), last: map[string]llmemory.Document{}}
	h.memory = memory(t, h.store)
	for i := range 3 {
		h.models = append(h.models, newModel(fmt.Sprint("owner ", i)))
	}
	operations := number(t, "STORETEST_OPS", s.scale(1000, 200))
	for i := range operations {
		h.step(t)
		if (i+1)%500 == 0 || i+1 == operations {
			for _, m := range h.models {
				h.invariants(t, m)
			}
		}
		if t.Failed() {
			t.Fatalf("after %d operations with seed %d, the last of them:\n%s", i+1, n, strings.Join(h.log[max(0, len(h.log)-10):], "\n"))
		}
	}
}

func (h *history) step(t *testing.T) {
	m := h.models[h.IntN(len(h.models))]
	o := h.memory.Owner(m.owner)
	n := h.IntN(1000)
	switch {
	case n < 450:
		h.add(t, o, m, h.document(m.owner))
	case n < 480:
		h.addMany(t, o, m)
	case n < 560:
		h.deleteSome(t, o, m)
	case n < 580:
		h.deleteWhere(t, o, m)
	case n < 582:
		h.note("DeleteAll(%s)", m.owner)
		deleted := must(o.DeleteAll(t.Context()))(t)
		h.checkDeleted(t, m, deleted, func(*llmemory.StoredDocument) bool { return true })
	case n < 820:
		query, opts := h.query(), llmemory.SearchOptions{Where: h.where(), Limit: []int{0, 1, 3, 1000}[h.IntN(4)]}
		h.note("Search(%s, %q, %+v)", m.owner, query, opts)
		m.compare(t, o, query, opts)
	case n < 900:
		h.list(t, o, m)
	case n < 970:
		h.read(t, o, m)
	case n < 995:
		h.note("Maintain")
		must(h.memory.Maintain(t.Context()))(t)
	default:
		if h.s.Reopen != nil {
			h.note("Reopen")
			h.store = h.s.Reopen(t, h.store)
			h.memory = memory(t, h.store)
		}
	}
}

func (h *history) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

func pick[T any](h *history, list ...T) T { return list[h.IntN(len(list))] }

func (h *history) words(n int) string {
	var out []string
	for range n {
		// Some words are common, most are rare.
		i := int(h.ExpFloat64() * 9)
		out = append(out, pick(h,
			fmt.Sprint("word", i), fmt.Sprint("word", i), "running", "runs", "Häuser", "Haus", "the", "und", "数据", "foo_bar", "e-mail", "3.14", "naïve"))
	}
	return strings.Join(out, " ")
}

// document returns a new document, or a change of one that is there, or the same again.
func (h *history) document(owner string) llmemory.Document {
	identity := fmt.Sprint(owner, h.IntN(40))
	doc, known := h.last[identity]
	if !known || h.IntN(4) == 0 {
		parts := make([]string, 1+h.IntN(7))
		for i := range parts {
			parts[i] = h.words(1 + h.IntN(12))
			if h.IntN(6) == 0 {
				parts[i] = "# " + parts[i]
			}
		}
		doc.Content = strings.Repeat(" ", h.IntN(2)) + strings.Join(parts, pick(h, "\n\n", "\n \n\n")) + strings.Repeat("\n", h.IntN(2))
		doc.Language = pick(h, "", "en", "de", "zh")
	}
	if !known {
		doc.OriginID, doc.Key = pick(h, "", "mail", "disk"), identity
	}
	if known && h.IntN(2) == 0 { // one paragraph
		parts := strings.Split(doc.Content, "\n\n")
		at := h.IntN(len(parts))
		switch h.IntN(3) {
		case 0:
			parts[at] = h.words(1 + h.IntN(8))
		case 1:
			parts = slices.Insert(parts, at, h.words(1+h.IntN(8)))
		case 2:
			if len(parts) > 1 {
				parts = slices.Delete(parts, at, at+1)
			}
		}
		if changed := strings.Join(parts, "\n\n"); strings.TrimSpace(changed) != "" {
			doc.Content = changed
		}
	}
	if h.IntN(3) == 0 {
		doc.Metadata = map[string]any{"n": h.IntN(5), "tags": []any{h.words(1), true}, "deep": map[string]any{"k": h.words(1)}}
		doc.Type = pick(h, llmemory.PDF, llmemory.Chat, "")
		doc.Date = pick(h, time.Time{}, time.Date(2020, 1, 1+h.IntN(20), 0, 0, 0, 1000, time.UTC))
	}
	if h.IntN(8) == 0 {
		doc.Name = h.words(2)
	}
	doc.IfExists = llmemory.Update
	if known && h.IntN(12) == 0 {
		doc.IfExists = pick(h, llmemory.Skip, llmemory.Refuse)
	}
	if !known || doc.IfExists == llmemory.Update {
		h.last[identity] = doc
	}
	return doc
}

func (h *history) add(t *testing.T, o *llmemory.Owner, m *model, doc llmemory.Document) {
	h.note("Add(%s, %+v)", m.owner, doc)
	got, err := o.Add(t.Context(), doc)
	h.checkAdded(t, m, doc, got, err)
}

func (h *history) addMany(t *testing.T, o *llmemory.Owner, m *model) {
	docs := make([]llmemory.Document, 1+h.IntN(30))
	for i := range docs {
		docs[i] = h.document(m.owner)
		if h.IntN(10) == 0 {
			docs[i].Content = pick(h, "", "\xff")
		}
	}
	h.note("AddMany(%s, %+v)", m.owner, docs)
	got := must(o.AddMany(t.Context(), docs))(t)
	for i, doc := range docs {
		if doc.Content == "" || doc.Content == "\xff" {
			if !errors.Is(got[i].Err, llmemory.ErrInvalid) {
				t.Errorf("document %d: %v, want ErrInvalid", i, got[i].Err)
			}
			continue
		}
		h.checkAdded(t, m, doc, got[i], got[i].Err)
	}
}

func (h *history) checkAdded(t *testing.T, m *model, doc llmemory.Document, got llmemory.Added, err error) {
	want, wantErr := m.add(doc)
	if !errors.Is(err, wantErr) {
		t.Errorf("error %v, want %v", err, wantErr)
		return
	}
	got.Err, want.Key = nil, got.Key
	if k := doc.Key; k != "" && got.Key != k {
		t.Errorf("key %q, want %q", got.Key, k)
	}
	if diff := cmp.Diff(want, got); diff != "" && err == nil {
		t.Errorf("added (-want +got):\n%s", diff)
	}
}

func (h *history) deleteSome(t *testing.T, o *llmemory.Owner, m *model) {
	ids := []string{unknownID}
	for range 1 + h.IntN(3) {
		// Ids of another owner are there to be skipped.
		other := h.models[h.IntN(len(h.models))]
		for _, d := range other.docs {
			ids = append(ids, d.stored.ID)
		}
	}
	slices.Sort(ids) // the order of a map must not decide what a seed means
	h.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	ids = ids[:min(len(ids), 1+h.IntN(4))]
	h.note("Delete(%s, %q)", m.owner, ids)
	deleted := must(o.Delete(t.Context(), ids...))(t)
	h.checkDeleted(t, m, deleted, func(d *llmemory.StoredDocument) bool { return slices.Contains(ids, d.ID) })
}

func (h *history) deleteWhere(t *testing.T, o *llmemory.Owner, m *model) {
	where := h.where()
	if where.IsZero() || h.IntN(2) == 0 {
		where = llmemory.Where{Metadata: llmemory.Meta("n").Eq(h.IntN(5)), From: time.Date(2020, 1, 5, 0, 0, 0, 0, time.UTC)}
	}
	h.note("DeleteWhere(%s, %+v)", m.owner, where)
	deleted := must(o.DeleteWhere(t.Context(), where))(t)
	h.checkDeleted(t, m, deleted, where.Matches)
}

func (h *history) checkDeleted(t *testing.T, m *model, got llmemory.Deleted, selected func(*llmemory.StoredDocument) bool) {
	t.Helper()
	ids, leaves := m.remove(selected)
	if diff := cmp.Diff(llmemory.Deleted{DocumentIDs: ids, Chunks: leaves}, got); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
}

func (h *history) where() llmemory.Where {
	switch h.IntN(8) {
	case 0:
		return llmemory.Where{Origins: []string{pick(h, "mail", "disk", "default", "nowhere")}}
	case 1:
		return llmemory.Where{Types: []llmemory.Type{pick(h, llmemory.PDF, llmemory.Chat, llmemory.Unknown)}}
	case 2:
		return llmemory.Where{Metadata: llmemory.Meta("n").Gte(h.IntN(6))}
	case 3:
		return llmemory.Where{Metadata: llmemory.Not(llmemory.Meta("tags").Contains(true))}
	case 4:
		return llmemory.Where{From: time.Date(2020, 1, 1+h.IntN(20), 0, 0, 0, 0, time.UTC)}
	}
	return llmemory.Where{}
}

func (h *history) query() string {
	switch h.IntN(6) {
	case 0:
		return `"` + h.words(2) + `"`
	case 1:
		return h.words(2) + " -" + pick(h, "word1", "Haus", `"word0 word1"`)
	}
	return h.words(1 + h.IntN(4))
}

func (h *history) list(t *testing.T, o *llmemory.Owner, m *model) {
	opts := llmemory.ListOptions{Where: h.where(), Limit: 1000, Reverse: h.IntN(2) == 0, Ascending: h.IntN(2) == 0,
		OrderBy: pick(h, llmemory.ByCreated, llmemory.ByUpdated, llmemory.ByName, llmemory.ByDate)}
	h.note("List(%s, %+v)", m.owner, opts)
	page := must(o.List(t.Context(), &opts))(t)
	checkOrder(t, page.Documents, opts.OrderBy, (opts.OrderBy != llmemory.ByName && !opts.Ascending) != opts.Reverse)
	want := map[string]llmemory.StoredDocument{}
	for _, d := range m.docs {
		if opts.Matches(&d.stored) {
			want[d.stored.ID] = d.stored
		}
	}
	got := map[string]llmemory.StoredDocument{}
	for _, d := range page.Documents {
		got[d.ID] = withoutTimes(d)
	}
	if diff := cmp.Diff(want, got); diff != "" || page.Total != len(want) {
		t.Errorf("total %d (-want +got):\n%s", page.Total, diff)
	}
	opts.Offset, opts.Limit = h.IntN(10), 1+h.IntN(5)
	part := must(o.List(t.Context(), &opts))(t)
	from := min(opts.Offset, len(page.Documents))
	if diff := cmp.Diff(page.Documents[from:min(from+opts.Limit, len(page.Documents))], part.Documents); diff != "" || part.Total != page.Total {
		t.Errorf("page at %d (-want +got):\n%s", opts.Offset, diff)
	}
}

// read looks at one document from every side.
func (h *history) read(t *testing.T, o *llmemory.Owner, m *model) {
	id := llmemory.Identity{OriginID: pick(h, "default", "mail", "disk"), Key: fmt.Sprint(m.owner, h.IntN(40))}
	h.note("Get(%s, %+v)", m.owner, id)
	h.checkDocument(t, o, m, id)
}

func (h *history) checkDocument(t *testing.T, o *llmemory.Owner, m *model, identity llmemory.Identity) {
	t.Helper()
	id, want := llmemory.DocumentID(m.owner, identity), m.docs[identity]
	d, chunks, err := o.GetWithChunks(t.Context(), id)
	if want == nil {
		if !errors.Is(err, llmemory.ErrNotFound) {
			t.Errorf("%+v: %v, want ErrNotFound", identity, err)
		}
		return
	}
	if err != nil {
		t.Error(err)
		return
	}
	if diff := cmp.Diff(want.stored, withoutTimes(*d)); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
	var ids, wantIDs []string
	for _, c := range chunks[:d.ChunkCount] {
		ids = append(ids, c.ID)
	}
	for _, l := range want.leaves {
		wantIDs = append(wantIDs, l.id)
	}
	if diff := cmp.Diff(wantIDs, ids); diff != "" || len(chunks) != len(ids)+want.parents {
		t.Errorf("%d chunks (-want +got):\n%s", len(chunks), diff)
	}
	checkOffsets(t, o, id)
	if text := must(o.Text(t.Context(), id))(t); text != want.text {
		t.Errorf("text %q, want %q", text, want.text)
	}
	page, total, err := o.Chunks(t.Context(), id, &llmemory.ChunksOptions{Offset: 1, Limit: 2})
	if err != nil || total != len(ids) || !cmp.Equal(page, chunks[min(1, len(ids)):min(3, len(ids))], cmpopts.EquateEmpty()) {
		t.Errorf("page of %d chunks of %d: %v", len(page), total, err)
	}
}

// invariants compares everything an owner has with the model.
func (h *history) invariants(t *testing.T, m *model) {
	t.Helper()
	o := h.memory.Owner(m.owner)
	want := llmemory.Stats{ByType: map[llmemory.Type]int64{}, ByLanguage: map[string]int64{}}
	origins, length := map[string]bool{}, int64(0)
	for identity, d := range m.docs {
		h.checkDocument(t, o, m, identity)
		want.Documents++
		want.Chunks += int64(len(d.leaves))
		want.Parents += int64(d.parents)
		want.Bytes += int64(len(d.text))
		want.Tokens += int64(d.stored.Tokens)
		want.ByType[d.stored.Type]++
		want.ByLanguage[d.stored.Language] += int64(len(d.leaves))
		origins[d.stored.OriginID] = true
		for _, l := range d.leaves {
			length += int64(l.length)
		}
	}
	want.Origins = int64(len(origins))
	got := must(o.Stats(t.Context()))(t)
	ignore := cmpopts.IgnoreFields(llmemory.Stats{}, "FirstCreated", "LastUpdated", "Index")
	if diff := cmp.Diff(&want, got, ignore, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s: stats (-want +got):\n%s", m.owner, diff)
	}
	state := read(t, h.store, llmemory.PostingsParams{Owner: m.owner}).State
	if state.Documents != want.Documents || state.Leaves != want.Chunks || state.Length != length ||
		!cmp.Equal(state.Languages, m.languages(), cmpopts.EquateEmpty()) {
		t.Errorf("%s: state %+v; want %d documents, %d leaves of length %d, %v", m.owner, state, want.Documents, want.Chunks, length, m.languages())
	}
	for range 5 {
		m.compare(t, o, h.query(), llmemory.SearchOptions{Limit: 1000})
	}
	h.s.check(t, h.store, m.owner)
}
