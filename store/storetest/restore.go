package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/llmemory/llmemory"
)

func (s *suite) restoreCases() []testCase {
	return []testCase{
		{name: "Elsewhere", run: s.testRestoreElsewhere},
		{name: "IfExists", run: s.testRestoreIfExists},
		{name: "Vectors", run: s.testRestoreVectors},
		{name: "OtherOwner", run: s.testRestoreOtherOwner},
		{name: "Refused", run: s.testRestoreRefused},
		{name: "Race", run: s.testRestoreRace},
	}
}

// variety returns documents of many kinds.
func variety() []llmemory.Document {
	date := time.Date(2020, 5, 17, 12, 30, 0, 123456000, time.UTC)
	docs := []llmemory.Document{
		{Key: "plain", Name: "Plain", Language: "en", Content: "running water"},
		{OriginID: "o2", Key: "headed", Name: "Über „Häuser“", Type: llmemory.Markdown, Date: date, Content: " \n" + join("# Top", "one house", "two houses", "three", "# Next", "four") + "\n\t"},
		{Key: "german", Type: llmemory.PDF, Language: "de", Content: join("Das Haus am See", "[3] Die Häuser der Stadt. Der See. Das Tal."),
			Metadata: map[string]any{"n": 1.5, "big": 12345678901234567.0, "list": []any{"a", nil, true, map[string]any{"b": "<&>"}}, "tag": "x"}},
		{Key: "chinese", Content: "数据 running 数据库"},
		{Key: "bare", Language: "en", Content: join("never embedded", "running on"), Embed: llmemory.EmbedNever},
		{Key: "later", Language: "en", Content: join("waits for a vector", "as does this"), Embed: llmemory.EmbedLater},
		{Key: "paged", Title: "A paged one", Author: "Ann", Format: "pdf", Pages: []int{0, 12, 12, 30},
			Content: join("page one", "page three {water}", "page four", "the end")},
		{Key: "named", Name: "named.docx", Title: "unsearched", Format: "docx", Markup: "markdown", Language: "en", Content: "has both"},
		{Key: "twice", Language: "en", Content: join("same words", "same words", "other words", "same words")},
	}
	for i := range 20 {
		docs = append(docs, llmemory.Document{OriginID: fmt.Sprint("o", i%3), Key: fmt.Sprint("n", i), Name: fmt.Sprint("number ", i), Language: "en",
			Content: numbered(1+i%7, fmt.Sprintf("doc%d part%%d common running", i)), Metadata: map[string]any{"i": i}})
	}
	return docs
}

// snapshots reads everything an owner has.
func snapshots(t *testing.T, o *llmemory.Owner, store llmemory.Store) []llmemory.Snapshot {
	t.Helper()
	var generations []int64
	for _, g := range must(store.Generations(t.Context(), llmemory.GenerationsParams{}))(t) {
		generations = append(generations, g.ID)
	}
	ids := must(store.DocumentIDs(t.Context(), llmemory.DocumentIDsParams{Owner: o.ID(), Limit: 1000}))(t)
	var out []llmemory.Snapshot
	for len(ids) > 0 {
		some, done, err := o.Snapshots(t.Context(), ids, generations)
		if err != nil || done == 0 {
			t.Fatalf("Snapshots of %d documents: %d done, %v", len(ids), done, err)
		}
		out, ids = append(out, some...), ids[done:]
	}
	return out
}

// sameSnapshots compares what a store does not make for itself.
var sameSnapshots = cmp.Options{
	cmpopts.IgnoreFields(llmemory.ChunkRecord{}, "Ordinal"),
	cmpopts.IgnoreFields(llmemory.DocumentRecord{}, "RawMetadata"), // stores may write it in another form
	cmpopts.EquateEmpty(),
}

type answer struct {
	Hits     []llmemory.Hit
	Degraded []string
}

// answers are what an owner is told by searches of all kinds. All leaves are hits: where there are more, those of equal cosine are cut
// by ordinal.
func answers(t *testing.T, o *llmemory.Owner) []answer {
	t.Helper()
	var out []answer
	for _, mode := range []llmemory.Mode{llmemory.ByText, llmemory.ByVector, llmemory.Hybrid} {
		for _, query := range []string{"running water", "doc7 part1", `"same words" -other`, "häuser", "数据"} {
			for _, where := range []llmemory.Where{{}, {Origins: []string{"o1"}}, {Metadata: llmemory.Meta("i").Lt(9)}} {
				r := must(o.Search(t.Context(), query, &llmemory.SearchOptions{Mode: mode, Where: where, Limit: 1000, Parents: true}))(t)
				out = append(out, answer{r.Hits, r.Degraded})
			}
		}
	}
	return out
}

// sameAnswers allows for the last bits of a score.
var sameAnswers = cmp.Options{cmpopts.EquateApprox(0, 1e-9), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(llmemory.StoredDocument{}, "Metadata")}

func statsOf(t *testing.T, o *llmemory.Owner) *llmemory.Stats {
	t.Helper()
	stats := must(o.Stats(t.Context()))(t)
	stats.Index = llmemory.IndexStats{}
	return stats
}

// testRestoreElsewhere moves all an owner has to another store: nothing but ordinals tells the two apart.
func (s *suite) testRestoreElsewhere(t *testing.T) {
	a, b := newWords("a", 16), newWords("b", 24)
	from := s.fresh(t, a, b)
	o := from.Owner("o")
	add(t, from.Owner("stranger"), llmemory.Document{Key: "plain", Content: "a stranger's water"})
	addMany(t, o, variety())
	second := must(from.AddGeneration(t.Context(), b, ""))(t)
	work(t, from)
	docs := variety()
	docs[1].Content += join("", "five", "# Last", "six houses") // several versions, gaps in the ordinals, two vectors a leaf
	docs[0].Metadata = map[string]any{"changed": true}
	docs[8].Name = "renamed"
	addMany(t, o, docs)
	must(o.Delete(t.Context(), llmemory.DocumentID("o", llmemory.Identity{OriginID: "o2", Key: "n2"})))(t)
	docs[5].Content = join("waits for a vector", "and this is new")
	docs[5].Embed = llmemory.EmbedLater
	add(t, o, docs[5])
	source := snapshots(t, o, from.Store())
	if len(source) != len(docs)-1 {
		t.Fatalf("%d documents to move, want %d", len(source), len(docs)-1)
	}

	to := s.fresh(t, a, b)
	first := must(to.AddGeneration(t.Context(), b, ""))(t) // the other way round
	other := must(to.AddGeneration(t.Context(), a, ""))(t)
	must(to.ActivateGeneration(t.Context(), other.ID, true))(t)
	active := must(from.Generations(t.Context()))(t)[0]
	moved := make([]llmemory.Snapshot, len(source))
	vectors := 0
	for i, d := range source {
		moved[i] = d
		moved[i].Vectors = map[int64][][]float32{}
		for from, to := range map[int64]int64{active.ID: other.ID, second.ID: first.ID} {
			if d.Vectors[from] != nil {
				moved[i].Vectors[to] = d.Vectors[from]
				vectors += len(d.Vectors[from])
			}
		}
	}
	if vectors < 150 {
		t.Errorf("only %d vectors to move", vectors)
	}
	a.asked()
	b.asked()
	p := to.Owner("o")
	for from := 0; from < len(moved); from += 10 {
		for i, r := range must(p.Restore(t.Context(), moved[from:min(from+10, len(moved))], nil))(t) {
			d := moved[from+i]
			if r.Err != nil || r.Status != llmemory.Created || r.DocumentID != d.Document.ID || r.Chunks != len(d.Leaves) ||
				!d.Document.NoVectors && r.Embedded+r.Pending != r.Chunks {
				t.Errorf("restored %q: %+v", d.Document.Key, r)
			}
		}
	}
	if asked := append(a.asked(), b.asked()...); len(asked) > 0 {
		t.Errorf("the embedders were asked for %q", asked)
	}
	got := snapshots(t, p, to.Store())
	for i := range got {
		got[i].Vectors = map[int64][][]float32{active.ID: got[i].Vectors[other.ID], second.ID: got[i].Vectors[first.ID]}
		maps.DeleteFunc(got[i].Vectors, func(_ int64, v [][]float32) bool { return v == nil })
	}
	if diff := cmp.Diff(source, got, sameSnapshots); diff != "" {
		t.Errorf("documents (-source +moved):\n%s", diff)
	}
	for i := range got {
		if diff := cmp.Diff(source[i].Document.Metadata, got[i].Document.Metadata); diff != "" {
			t.Errorf("metadata of %q (-source +moved):\n%s", got[i].Document.Key, diff)
		}
	}
	if diff := cmp.Diff(statsOf(t, o), statsOf(t, p)); diff != "" {
		t.Errorf("stats (-source +moved):\n%s", diff)
	}
	if diff := cmp.Diff(answers(t, o), answers(t, p), sameAnswers); diff != "" {
		t.Errorf("answers (-source +moved):\n%s", diff)
	}
	for old, new := range map[int64]int64{active.ID: other.ID, second.ID: first.ID} {
		want, have := must(from.Progress(t.Context(), old))(t), must(to.Progress(t.Context(), new))(t)
		stranger := int64(1) // has one leaf, with a vector
		if have.Vectors != want.Vectors-stranger || have.Waiting != want.Waiting {
			t.Errorf("generation %d: %d vectors, %d waiting; as generation %d: %d and %d", old, want.Vectors-stranger, want.Waiting, new, have.Vectors, have.Waiting)
		}
	}
	s.check(t, to.Store(), "o")

	before := read(t, to.Store(), llmemory.PostingsParams{Owner: "o"}).State
	for _, r := range must(p.Restore(t.Context(), moved, &llmemory.RestoreOptions{IfExists: llmemory.Update}))(t) {
		if r.Status != llmemory.Unchanged || r.Err != nil {
			t.Errorf("restored once more: %+v", r)
		}
	}
	if diff := cmp.Diff(before, read(t, to.Store(), llmemory.PostingsParams{Owner: "o"}).State); diff != "" {
		t.Errorf("restoring once more changed the index (-before +after):\n%s", diff)
	}
	// What was moved lives on: the next Add knows it, and what waits is embedded.
	if again := add(t, p, docs[3]); again.Status != llmemory.Unchanged {
		t.Errorf("adding what was moved: %+v", again)
	}
	work(t, to)
	if q := must(p.Queue(t.Context(), 0))(t); q.Waiting != 0 {
		t.Errorf("%d passages wait after all was embedded", q.Waiting)
	}
}

func (s *suite) testRestoreIfExists(t *testing.T) {
	o := s.owner(t)
	add(t, o, llmemory.Document{Key: "k", Name: "n", Language: "en", Content: join("alpha", "beta")})
	old := snapshots(t, o, s.shared)
	add(t, o, llmemory.Document{Key: "k", Name: "n", Language: "en", Content: join("alpha", "gamma")})
	newer := snapshots(t, o, s.shared)
	for _, c := range []struct {
		name     string
		stored   []llmemory.Snapshot
		restored []llmemory.Snapshot
		ifExists llmemory.IfExists
		want     llmemory.Status
		text     string
	}{
		{"a newer one is kept", newer, old, "", llmemory.Kept, "gamma"},
		{"an older one is replaced", old, newer, "", llmemory.Updated, "gamma"},
		{"a newer one is replaced when told", newer, old, llmemory.Update, llmemory.Updated, "beta"},
		{"skip", old, newer, llmemory.Skip, llmemory.Kept, "beta"},
		{"refuse", old, newer, llmemory.Refuse, llmemory.Failed, "beta"},
		{"refuse what is there just so", old, old, llmemory.Refuse, llmemory.Unchanged, "beta"},
		{"skip what is there just so", old, old, llmemory.Skip, llmemory.Unchanged, "beta"},
		{"update what is there just so", old, old, llmemory.Update, llmemory.Unchanged, "beta"},
	} {
		if r := must(o.Restore(t.Context(), c.stored, &llmemory.RestoreOptions{IfExists: llmemory.Update}))(t); r[0].Err != nil {
			t.Fatal(r[0].Err)
		}
		r := must(o.Restore(t.Context(), c.restored, &llmemory.RestoreOptions{IfExists: c.ifExists}))(t)[0]
		if r.Status != c.want || (c.want == llmemory.Failed) != errors.Is(r.Err, llmemory.ErrConflict) || r.DocumentID != old[0].Document.ID {
			t.Errorf("%s: %+v, want %s", c.name, r, c.want)
		}
		if found := search(t, o, c.text, llmemory.SearchOptions{}); len(found) != 1 {
			t.Errorf("%s: %q finds %q", c.name, c.text, texts(found))
		}
		if found := search(t, o, "alpha", llmemory.SearchOptions{}); len(found) != 1 {
			t.Errorf("%s: alpha finds %q", c.name, texts(found))
		}
		s.check(t, s.shared, o.ID())
	}
	if _, err := o.Restore(t.Context(), old, &llmemory.RestoreOptions{IfExists: "newer"}); !errors.Is(err, llmemory.ErrInvalid) {
		t.Errorf("an unknown word: %v", err)
	}
}

// testRestoreVectors restores what is there already but for its vectors.
func (s *suite) testRestoreVectors(t *testing.T) {
	e := newWords("a", 16)
	m := s.fresh(t, e)
	o := m.Owner("o")
	g := must(m.AddGeneration(t.Context(), nil, ""))(t)
	add(t, o, llmemory.Document{Key: "k", Name: "n", Language: "en", Content: join("alpha", "beta", "gamma")})
	whole := snapshots(t, o, m.Store())
	must(o.DeleteAll(t.Context()))(t)
	with := func(leaves ...int) []llmemory.Snapshot {
		out := slices.Clone(whole)
		out[0].Vectors = map[int64][][]float32{g.ID: make([][]float32, 3)}
		for _, i := range leaves {
			out[0].Vectors[g.ID][i] = whole[0].Vectors[g.ID][i]
		}
		return out
	}
	e.asked()
	for _, c := range []struct {
		leaves           []int
		want             llmemory.Status
		vectors, waiting int64
		reused           int
	}{
		{nil, llmemory.Created, 0, 3, 0},
		{[]int{1}, llmemory.Updated, 1, 2, 2},
		{[]int{1}, llmemory.Unchanged, 1, 2, 3},
		{nil, llmemory.Unchanged, 1, 2, 3},
		{[]int{0, 1, 2}, llmemory.Updated, 3, 0, 1},
		{[]int{0, 2}, llmemory.Unchanged, 3, 0, 3},
	} {
		r := must(o.Restore(t.Context(), with(c.leaves...), nil))(t)[0]
		p := must(m.Progress(t.Context(), g.ID))(t)
		if r.Err != nil || r.Status != c.want || r.ChunksReused != c.reused || p.Vectors != c.vectors || p.Waiting != c.waiting {
			t.Errorf("with the vectors of %v: %+v, %d vectors, %d waiting; want %+v", c.leaves, r, p.Vectors, p.Waiting, c)
		}
		s.check(t, m.Store(), "o")
	}
	if asked := e.asked(); len(asked) > 0 {
		t.Errorf("the embedder was asked for %q", asked)
	}
	if diff := cmp.Diff(whole, snapshots(t, o, m.Store()), sameSnapshots); diff != "" {
		t.Errorf("in the end (-want +got):\n%s", diff)
	}
	// Another vector takes the place of the one that is there, and a document that is not to be embedded loses them.
	changed := with(0, 1, 2)
	changed[0].Vectors[g.ID][1] = e.vector("something else")
	if r := must(o.Restore(t.Context(), changed, nil))(t)[0]; r.Status != llmemory.Updated || r.ChunksReused != 2 {
		t.Errorf("with another vector: %+v", r)
	}
	if diff := cmp.Diff(changed, snapshots(t, o, m.Store()), sameSnapshots); diff != "" {
		t.Errorf("with another vector (-want +got):\n%s", diff)
	}
	changed[0].Document.NoVectors = true
	if r := must(o.Restore(t.Context(), changed, nil))(t)[0]; r.Status != llmemory.Updated {
		t.Errorf("without vectors: %+v", r)
	}
	if p := must(m.Progress(t.Context(), g.ID))(t); p.Vectors != 0 || p.Waiting != 0 {
		t.Errorf("a document that is not to be embedded has %d vectors, %d waiting", p.Vectors, p.Waiting)
	}
	s.check(t, m.Store(), "o")
}

// testRestoreOtherOwner restores what one owner had for another, who has the ids that Add would have given.
func (s *suite) testRestoreOtherOwner(t *testing.T) {
	o, _ := s.vectors(t)
	docs := variety()
	addMany(t, o, docs)
	source := snapshots(t, o, s.shared)
	other := embeddingMemory(t, s.shared, s.embedder()).Owner(o.ID() + " heir")
	if r := must(other.Restore(t.Context(), source[:1], nil))(t)[0]; !errors.Is(r.Err, llmemory.ErrInvalid) {
		t.Errorf("with another owner's ids: %+v", r)
	}
	for _, r := range must(other.Restore(t.Context(), source, &llmemory.RestoreOptions{From: o.ID()}))(t) {
		if r.Err != nil || r.Status != llmemory.Created {
			t.Errorf("restored: %+v", r)
		}
	}
	for i, r := range addMany(t, other, docs) {
		if r.Status != llmemory.Unchanged {
			t.Errorf("adding %q as the heir: %+v", docs[i].Key, r)
		}
	}
	if diff := cmp.Diff(statsOf(t, o), statsOf(t, other)); diff != "" {
		t.Errorf("stats (-owner +heir):\n%s", diff)
	}
	s.check(t, s.shared, other.ID())
}

// testRestoreRefused has snapshots that no store has made: each is refused for what is wrong with it, and the good one beside it is
// stored.
func (s *suite) testRestoreRefused(t *testing.T) {
	o, _ := s.vectors(t)
	add(t, o, llmemory.Document{Key: "k", Name: "n", Language: "en", Content: " " + join("# Head", "alpha", "beta") + "\n"})
	add(t, o, llmemory.Document{Key: "good", Language: "en", Content: "good"})
	var good, base []llmemory.Snapshot
	for _, d := range snapshots(t, o, s.shared) {
		if d.Document.Key == "good" {
			good = append(good, d)
		} else {
			base = append(base, d)
		}
	}
	must(o.DeleteAll(t.Context()))(t)
	generation := slices.Collect(maps.Keys(base[0].Vectors))[0]
	for name, c := range map[string]struct {
		field string
		spoil func(d *llmemory.Snapshot)
	}{
		"no origin":           {"origin", func(d *llmemory.Snapshot) { d.Document.OriginID = "" }},
		"another key":         {"document_id", func(d *llmemory.Snapshot) { d.Document.Key = "other" }},
		"key with a NUL":      {"key", func(d *llmemory.Snapshot) { d.Document.Key = "a\x00" }},
		"unknown type":        {"type", func(d *llmemory.Snapshot) { d.Document.Type = "novel" }},
		"unknown language":    {"language", func(d *llmemory.Snapshot) { d.Document.Language = "xx" }},
		"no hash":             {"content_hash", func(d *llmemory.Snapshot) { d.Document.ContentHash = nil }},
		"version 0":           {"version", func(d *llmemory.Snapshot) { d.Document.Version = 0 }},
		"no created_at":       {"created_at", func(d *llmemory.Snapshot) { d.Document.CreatedAt = time.Time{} }},
		"updated_at too late": {"updated_at", func(d *llmemory.Snapshot) { d.Document.UpdatedAt = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC) }},
		"metadata no JSON":    {"metadata", func(d *llmemory.Snapshot) { d.Document.RawMetadata = []byte(`{"a"`) }},
		"metadata a list":     {"metadata", func(d *llmemory.Snapshot) { d.Document.RawMetadata = []byte(`[]`) }},
		"metadata too long": {"metadata", func(d *llmemory.Snapshot) {
			d.Document.RawMetadata = fmt.Appendf(nil, `{"a":%q}`, strings.Repeat("x", 65<<10))
		}},
		"no leaf":            {"content", func(d *llmemory.Snapshot) { d.Leaves, d.Document.Tail = nil, "\n" }},
		"a leaf lost":        {"chunks", func(d *llmemory.Snapshot) { d.Leaves = d.Leaves[:2] }},
		"text changed":       {"chunks", func(d *llmemory.Snapshot) { d.Leaves[1].Text = "ALPHA" }},
		"text longer":        {"chunks", func(d *llmemory.Snapshot) { d.Leaves[1].Text += "x" }},
		"text with a NUL":    {"content", func(d *llmemory.Snapshot) { d.Leaves[1].Text = "al\x00ha" }},
		"text no UTF-8":      {"content", func(d *llmemory.Snapshot) { d.Leaves[1].Text = "al\xffha" }},
		"lead with text":     {"chunks", func(d *llmemory.Snapshot) { d.Leaves[1].Lead = "ab" }},
		"tail with text":     {"chunks", func(d *llmemory.Snapshot) { d.Document.Tail = "!" }},
		"leaves swapped":     {"chunks", func(d *llmemory.Snapshot) { d.Leaves[0], d.Leaves[1] = d.Leaves[1], d.Leaves[0] }},
		"range beyond":       {"chunks", func(d *llmemory.Snapshot) { d.Leaves[2].End = 1 << 40 }},
		"negative range":     {"chunks", func(d *llmemory.Snapshot) { d.Leaves[2].Start = -1 }},
		"parent unknown":     {"chunks", func(d *llmemory.Snapshot) { d.Leaves[2].ParentID = unknownID }},
		"parent's range":     {"chunks", func(d *llmemory.Snapshot) { d.Parents[0].End-- }},
		"parent's level":     {"chunks", func(d *llmemory.Snapshot) { d.Parents[0].Level = 0 }},
		"leaf's level":       {"chunks", func(d *llmemory.Snapshot) { d.Leaves[0].Level = 1 }},
		"leaf's id":          {"chunks", func(d *llmemory.Snapshot) { d.Leaves[0].ID = unknownID }},
		"another document's": {"chunks", func(d *llmemory.Snapshot) { d.Leaves[0].DocumentID = unknownID }},
		"negative tokens":    {"chunks", func(d *llmemory.Snapshot) { d.Leaves[0].Tokens = -1 }},
		"context with a NUL": {"chunks", func(d *llmemory.Snapshot) { d.Leaves[0].Context = "\x00" }},
		"summary no UTF-8":   {"chunks", func(d *llmemory.Snapshot) { d.Leaves[0].Summary = "\xff" }},
		"pages beyond":       {"pages", func(d *llmemory.Snapshot) { d.Document.Pages = []byte{0xff, 0x7f} }},
		"pages cut off":      {"pages", func(d *llmemory.Snapshot) { d.Document.Pages = []byte{0x80} }},
		"title of lines":     {"title", func(d *llmemory.Snapshot) { d.Document.Title = "a\nb" }},
		"long source hash":   {"source_hash", func(d *llmemory.Snapshot) { d.Document.SourceHash = make([]byte, 65) }},
		"heading with a NUL": {"chunks", func(d *llmemory.Snapshot) { d.Leaves[0].Heading = "\x00" }},
		"vectors too few":    {"vectors", func(d *llmemory.Snapshot) { d.Vectors[generation] = d.Vectors[generation][:2] }},
		"vector too short":   {"vectors", func(d *llmemory.Snapshot) { d.Vectors[generation][1] = []float32{1} }},
		"vector of zeros":    {"vectors", func(d *llmemory.Snapshot) { d.Vectors[generation][1] = make([]float32, 16) }},
		"vector not a number": {"vectors", func(d *llmemory.Snapshot) {
			v := slices.Clone(d.Vectors[generation][1])
			v[3] = float32(math.NaN())
			d.Vectors[generation][1] = v
		}},
	} {
		d := base[0]
		d.Leaves, d.Parents = slices.Clone(d.Leaves), slices.Clone(d.Parents)
		d.Vectors = map[int64][][]float32{generation: slices.Clone(d.Vectors[generation])}
		c.spoil(&d)
		r := must(o.Restore(t.Context(), []llmemory.Snapshot{d, good[0]}, nil))(t)
		var invalid *llmemory.InvalidError
		if !errors.As(r[0].Err, &invalid) || invalid.Field != c.field || r[0].Status != llmemory.Failed {
			t.Errorf("%s: %+v, want an invalid %s", name, r[0], c.field)
		}
		if r[1].Err != nil || r[1].Status == llmemory.Failed {
			t.Errorf("%s: the good one beside it: %+v", name, r[1])
		}
	}
	unknown := base[0]
	unknown.Vectors = map[int64][][]float32{1 << 40: make([][]float32, 3)}
	if r := must(o.Restore(t.Context(), []llmemory.Snapshot{unknown}, nil))(t); !errors.Is(r[0].Err, llmemory.ErrNotFound) {
		t.Errorf("a vector of an unknown generation: %+v", r[0])
	}
	if r := must(o.Restore(t.Context(), []llmemory.Snapshot{base[0], base[0]}, nil))(t); r[0].Err != nil || !errors.Is(r[1].Err, llmemory.ErrInvalid) {
		t.Errorf("the same document twice: %+v", r)
	}
	if ids := must(s.shared.DocumentIDs(t.Context(), llmemory.DocumentIDsParams{Owner: o.ID(), Limit: 10}))(t); len(ids) != 2 {
		t.Errorf("%d documents are stored, want the good ones", len(ids))
	}
	s.check(t, s.shared, o.ID())
}

// testRestoreRace restores documents while others add, restore and delete the same.
func (s *suite) testRestoreRace(t *testing.T) {
	o, _ := s.vectors(t)
	docs := variety()[:12]
	addMany(t, o, docs)
	source := snapshots(t, o, s.shared)
	for i := range docs {
		docs[i].Content += "\n\nadded later"
	}
	var all sync.WaitGroup
	for n := range 4 {
		me := embeddingMemory(t, s.shared, s.embedder()).Owner(o.ID())
		all.Go(func() {
			for i := range s.scale(6, 3) {
				var err error
				switch n {
				case 0:
					_, err = me.AddMany(context.WithoutCancel(t.Context()), docs)
				case 1:
					_, err = me.Delete(t.Context(), source[i%len(source)].Document.ID)
				default:
					var results []llmemory.Added
					results, err = me.Restore(t.Context(), source, &llmemory.RestoreOptions{IfExists: llmemory.Update})
					for _, r := range results {
						err = errors.Join(err, r.Err)
					}
				}
				if err != nil {
					t.Errorf("worker %d: %v", n, err)
				}
			}
		})
	}
	all.Wait()
	s.check(t, s.shared, o.ID())
	must(o.Restore(t.Context(), source, &llmemory.RestoreOptions{IfExists: llmemory.Update}))(t)
	if diff := cmp.Diff(source, snapshots(t, o, s.shared), sameSnapshots); diff != "" {
		t.Errorf("in the end (-want +got):\n%s", diff)
	}
}
