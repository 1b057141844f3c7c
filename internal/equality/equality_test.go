package equality

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/internal/soak"
	"github.com/llmemory/llmemory/store/storetest"
)

// TestEquality does the same random operations to both stores and compares every answer: 2,000 of them, 100,000 in the long form.
// The short form is the same each time. EQUALITY_SEED repeats a run, EQUALITY_OPS says how long it is.
func TestEquality(t *testing.T) {
	t.Parallel()
	seed := uint64(setting(t, "EQUALITY_SEED", soak.Pick(1, int(time.Now().UnixNano()%1_000_000))))
	operations := setting(t, "EQUALITY_OPS", soak.Pick(1200, 100_000))
	r := &run{Rand: rand.New(rand.NewPCG(seed, 0)), last: map[string]llmemory.Document{}, did: map[string]int{}}
	for i, side := range sides() {
		side.embedders = []*embedder{newEmbedder("a", 16), newEmbedder("b", 24), newEmbedder("c", 40)}
		side.store = side.open(t)
		side.connect(t)
		r.sides[i] = side
	}
	for i := range operations {
		r.step(t)
		if (i+1)%500 == 0 || i+1 == operations {
			r.everything(t)
		}
		if t.Failed() {
			t.Fatalf("after %d operations with EQUALITY_SEED=%d, the last of them:\n%s", i+1, seed, strings.Join(r.log, "\n"))
		}
	}
	t.Logf("%d operations with seed %d; what was compared: %v", operations, seed, r.did)
	for _, what := range []string{"text hits", "vector hits", "hybrid hits", "dead jobs", "switches", "retired"} {
		if operations >= 2000 && r.did[what] == 0 {
			t.Errorf("the history never came to %s", what)
		}
	}
}

func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// side is a store with a memory on it.
type side struct {
	name      string
	open      func(t *testing.T) llmemory.Store // an empty one
	reopen    func(t *testing.T, store llmemory.Store) llmemory.Store
	store     llmemory.Store
	memory    *llmemory.Memory
	embedders []*embedder
}

// connect makes a memory of the side's store.
func (s *side) connect(t *testing.T) {
	t.Helper()
	var err error
	s.memory, err = llmemory.New(s.store, &llmemory.Config{
		Chunker: paragraphs, Embedder: s.embedders[0], Embedders: []embedding.Embedder{s.embedders[1], s.embedders[2]},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// poison is a word that no embedder takes in a passage.
const poison = "poison"

// embedder remembers the passages it was asked for, which is what a provider is paid for. The word by which a provider that refuses
// texts is tried is none of them: how often it is sent depends on which jobs fall due together.
type embedder struct {
	*embedtest.Embedder
	mu    sync.Mutex
	asked []string
}

func newEmbedder(model string, dimensions int) *embedder {
	e := &embedder{}
	e.Embedder = embedtest.New(embedtest.Config{Model: model, Dimensions: dimensions, Fail: func(_ context.Context, c embedtest.Call) error {
		if c.Role == embedding.Passage && slices.ContainsFunc(c.Texts, func(text string) bool { return strings.Contains(text, poison) }) {
			return &embedding.Error{Kind: embedding.InvalidInput, Provider: "test", Message: "poisonous"}
		}
		if c.Role == embedding.Passage && !slices.Equal(c.Texts, []string{"text"}) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.asked = append(e.asked, c.Texts...)
		}
		return nil
	}})
	return e
}

// take returns the passages embedded since the last call.
func (e *embedder) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := e.asked
	e.asked = nil
	slices.Sort(out)
	return out
}

// paragraphs makes a leaf of each paragraph, embedded in one to three parts, and a parent of every three.
var paragraphs = chunk.Func{Name: "equality paragraphs", Cut: func(_ context.Context, t chunk.Text) (out []chunk.Piece, err error) {
	var leaves []chunk.Piece
	var heading []string
	at := 0
	for part := range strings.SplitSeq(t.Content, "\n\n") {
		if text := strings.TrimSpace(part); text != "" {
			if title, ok := strings.CutPrefix(text, "# "); ok {
				heading = []string{title}
			}
			start := at + strings.Index(part, text)
			leaves = append(leaves, chunk.Piece{Start: start, End: start + len(text), Parent: -1, Heading: heading, Tokens: len(strings.Fields(text)),
				Parts: 1 + len(text)%3})
		}
		at += len(part) + 2
	}
	for run := range slices.Chunk(leaves, 3) {
		if len(run) > 1 {
			parent := chunk.Piece{Start: run[0].Start, End: run[len(run)-1].End, Level: 1, Parent: -1, Heading: run[0].Heading}
			for i := range run {
				run[i].Parent = len(out)
				parent.Tokens += run[i].Tokens
			}
			out = append(out, parent)
		}
		out = append(out, run...)
	}
	return out, nil
}}

// run is a history that is done to both sides.
type run struct {
	*rand.Rand
	sides [2]*side
	last  map[string]llmemory.Document // as last added, by owner and key
	log   []string
	did   map[string]int
}

var owners = []string{"alice", "bob's", "Ⅲ 数据"}

func (r *run) note(format string, args ...any) {
	r.log = append(r.log, fmt.Sprintf(format, args...))
	r.log = r.log[max(0, len(r.log)-12):]
}

// outcome is what an operation gives, in a form that is the same on both sides.
type outcome struct {
	Answer any
	Err    string
}

// kinds are what callers ask errors for.
var kinds = []error{llmemory.ErrNotFound, llmemory.ErrInvalid, llmemory.ErrConflict, llmemory.ErrUnavailable, llmemory.ErrCommitUnknown,
	llmemory.ErrClosed, llmemory.ErrCorrupt}

func kindOf(err error) string {
	var out []string
	for _, k := range kinds {
		if errors.Is(err, k) {
			out = append(out, k.Error())
		}
	}
	switch {
	case errors.Is(err, llmemory.ErrUnavailable), errors.Is(err, llmemory.ErrCorrupt), err != nil && out == nil:
		return fmt.Sprintf("%q: %s", out, err) // nothing here provokes one: let it be seen
	}
	return strings.Join(out, ", ")
}

// both does an operation to both sides and compares what it gives.
func both[T any](t *testing.T, r *run, do func(i int, s *side) (T, error), options ...cmp.Option) (out [2]T) {
	t.Helper()
	var results [2]outcome
	for i, s := range r.sides {
		answer, err := do(i, s)
		out[i], results[i] = answer, outcome{answer, kindOf(err)}
		if unexpected := errors.Is(err, llmemory.ErrUnavailable) || errors.Is(err, llmemory.ErrCorrupt); unexpected {
			t.Errorf("%s: %v", s.name, err)
		}
	}
	if diff := cmp.Diff(results[0], results[1], append(options, same)...); diff != "" {
		t.Errorf("%s and %s differ (-%[1]s +%[2]s):\n%s", r.sides[0].name, r.sides[1].name, diff)
	}
	var asked [2][]string
	for i, s := range r.sides {
		for _, e := range s.embedders {
			asked[i] = append(asked[i], e.take()...)
		}
	}
	if diff := cmp.Diff(asked[0], asked[1], cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("they embed different passages (-%s +%s):\n%s", r.sides[0].name, r.sides[1].name, diff)
	}
	return out
}

// same leaves out what depends on the time, and how large things are in which store.
var same = cmp.Options{
	cmpopts.EquateEmpty(),
	cmpopts.IgnoreFields(llmemory.StoredDocument{}, "CreatedAt", "UpdatedAt"),
	cmpopts.IgnoreFields(llmemory.Stats{}, "FirstCreated", "LastUpdated"),
	cmpopts.IgnoreFields(llmemory.IndexStats{}, "Bytes"),
	cmpopts.IgnoreFields(llmemory.QueueRecord{}, "Oldest"),
	cmpopts.IgnoreFields(llmemory.QueueFailure{}, "Due", "Generation"),
	cmpopts.IgnoreFields(llmemory.ProgressRecord{}, "Bytes", "Indexes"),
	cmpopts.IgnoreFields(llmemory.Generation{}, "ID", "Created", "Activated"),
	cmp.Transformer("error", func(err error) string { return kindOf(err) }),
}

func (r *run) step(t *testing.T) {
	owner := pick(r, owners...)
	on := func(s *side) *llmemory.Owner { return s.memory.Owner(owner) }
	ctx := t.Context()
	switch n := r.IntN(1000); {
	case n < 300:
		doc := r.document(owner)
		r.note("Add(%s, %+v)", owner, doc)
		both(t, r, func(_ int, s *side) (llmemory.Added, error) { return on(s).Add(ctx, doc) })
	case n < 330:
		docs := make([]llmemory.Document, 1+r.IntN(20))
		for i := range docs {
			docs[i] = r.document(owner)
			if r.IntN(12) == 0 {
				docs[i].Content = pick(r, "", "\xff")
			}
		}
		r.note("AddMany(%s, %+v)", owner, docs)
		both(t, r, func(_ int, s *side) ([]llmemory.Added, error) { return on(s).AddMany(ctx, docs) })
	case n < 390:
		ids := r.documentIDs(1 + r.IntN(4))
		r.note("Delete(%s, %q)", owner, ids)
		both(t, r, func(_ int, s *side) (llmemory.Deleted, error) { return on(s).Delete(ctx, ids...) })
	case n < 405:
		where := r.where()
		if where.IsZero() {
			where = llmemory.Where{Metadata: llmemory.Meta("n").Eq(r.IntN(5))}
		}
		r.note("DeleteWhere(%s, %+v)", owner, where)
		both(t, r, func(_ int, s *side) (llmemory.Deleted, error) { return on(s).DeleteWhere(ctx, where) })
	case n < 407:
		r.note("DeleteAll(%s)", owner)
		both(t, r, func(_ int, s *side) (llmemory.Deleted, error) { return on(s).DeleteAll(ctx) })
	case n < 700:
		r.search(t, owner, r.query(), r.options())
	case n < 760:
		r.list(t, owner)
	case n < 840:
		r.read(t, owner)
	case n < 870:
		r.note("Stats(%s)", owner)
		both(t, r, func(_ int, s *side) (*llmemory.Stats, error) { return on(s).Stats(ctx) })
	case n < 890:
		r.queue(t, owner)
	case n < 900:
		r.note("RetryQueue(%s)", owner)
		both(t, r, func(_ int, s *side) (int, error) { return on(s).RetryQueue(ctx) })
	case n < 940:
		r.note("EmbedQueue")
		both(t, r, func(_ int, s *side) (llmemory.EmbedProgress, error) { return s.memory.EmbedQueue(ctx, nil) })
	case n < 970:
		r.generation(t)
	case n < 990:
		r.note("Maintain")
		both(t, r, func(_ int, s *side) (int, error) { return s.memory.Maintain(ctx) })
	default:
		r.note("Reopen")
		for _, s := range r.sides {
			s.store = s.reopen(t, s.store)
			s.connect(t)
		}
	}
}

func pick[T any](r *run, list ...T) T { return list[r.IntN(len(list))] }

func (r *run) words(n int) string {
	var out []string
	for range n {
		i := int(r.ExpFloat64() * 9) // some words are common, most are rare
		out = append(out, pick(r, fmt.Sprint("word", i), fmt.Sprint("word", i), fmt.Sprint("term", i), "running", "runs", "Häuser", "Haus", "the", "und",
			"数据", "foo_bar", "e-mail", "3.14", "naïve", "don't"))
	}
	if r.IntN(60) == 0 {
		out = append(out, poison)
	}
	return strings.Join(out, " ")
}

// document returns a new document, or a change of one that is there, or the same again.
func (r *run) document(owner string) llmemory.Document {
	key := fmt.Sprint(owner, r.IntN(50))
	doc, known := r.last[key]
	if !known || r.IntN(4) == 0 {
		parts := make([]string, 1+r.IntN(7))
		for i := range parts {
			parts[i] = r.words(1 + r.IntN(12))
			if r.IntN(6) == 0 {
				parts[i] = "# " + parts[i]
			}
		}
		doc.Content = strings.Repeat(" ", r.IntN(2)) + strings.Join(parts, pick(r, "\n\n", "\n\n\n")) + strings.Repeat("\n", r.IntN(2))
		doc.Language = pick(r, "", "en", "de", "zh")
	}
	if !known {
		doc.OriginID, doc.Key = pick(r, "", "mail", "disk"), key
	}
	if known && r.IntN(2) == 0 { // one paragraph
		parts := strings.Split(doc.Content, "\n\n")
		at := r.IntN(len(parts))
		switch r.IntN(3) {
		case 0:
			parts[at] = r.words(1 + r.IntN(8))
		case 1:
			parts = slices.Insert(parts, at, r.words(1+r.IntN(8)))
		case 2:
			if len(parts) > 1 {
				parts = slices.Delete(parts, at, at+1)
			}
		}
		if changed := strings.Join(parts, "\n\n"); strings.TrimSpace(changed) != "" && len(parts) < 30 {
			doc.Content = changed
		}
	}
	if r.IntN(3) == 0 {
		doc.Metadata = pick(r,
			map[string]any{"n": r.IntN(5), "tags": []any{r.words(1), true}, "deep": map[string]any{"k": r.words(1)}},
			map[string]any{"n": r.IntN(5), "x": pick[any](r, nil, 1.5, -3, "1", true, "Ünïcode", 1e300), "list": []any{1, 2, r.IntN(4)}},
			map[string]any{})
		doc.Type = pick(r, llmemory.PDF, llmemory.Chat, "")
		doc.Date = pick(r, time.Time{}, time.Date(2020, 1, 1+r.IntN(20), 0, 0, 0, 1000*r.IntN(3), time.UTC))
	}
	if r.IntN(8) == 0 {
		doc.Name = pick(r, "", r.words(2))
	}
	doc.Embed = pick(r, "", "", "", llmemory.EmbedLater, llmemory.EmbedLater, llmemory.EmbedNever)
	doc.IfExists = llmemory.Update
	if known && r.IntN(12) == 0 {
		doc.IfExists = pick(r, llmemory.Skip, llmemory.Refuse)
	}
	if !known || doc.IfExists == llmemory.Update {
		r.last[key] = doc
	}
	return doc
}

// documentIDs returns ids of documents of any owner: another's are not found.
func (r *run) documentIDs(n int) []string {
	ids := []string{"00000000-0000-8000-8000-000000000000"}
	for range n {
		owner := pick(r, owners...)
		ids = append(ids, llmemory.DocumentID(owner, llmemory.Identity{OriginID: pick(r, "default", "mail", "disk"), Key: fmt.Sprint(owner, r.IntN(50))}))
	}
	return ids
}

func (r *run) where() llmemory.Where {
	n, x := llmemory.Meta("n"), llmemory.Meta("x")
	day := time.Date(2020, 1, 1+r.IntN(20), 0, 0, 0, 0, time.UTC)
	switch r.IntN(14) {
	case 0:
		return llmemory.Where{Origins: []string{pick(r, "mail", "disk", "default", "nowhere")}}
	case 1:
		return llmemory.Where{Types: []llmemory.Type{pick(r, llmemory.PDF, llmemory.Chat, llmemory.Unknown)}}
	case 2:
		return llmemory.Where{Metadata: pick(r, n.Gte(r.IntN(6)), n.Lt(r.IntN(6)), n.Eq(r.IntN(6)), n.In(1, 3, "1"), n.Nin(2))}
	case 3:
		return llmemory.Where{Metadata: llmemory.Not(llmemory.Meta("tags").Contains(true))}
	case 4:
		return llmemory.Where{From: day}
	case 5:
		return llmemory.Where{From: day, To: day.AddDate(0, 0, 5), Origins: []string{"mail", "disk"}}
	case 6:
		return llmemory.Where{Metadata: pick(r, x.Exists(true), x.Eq(nil), x.Eq(1.5), x.Eq("1"), x.Gt("A"), x.Gt(-5), x.Eq(true), x.Contains("nïc"), x.Gte(1e299))}
	case 7:
		return llmemory.Where{Metadata: llmemory.Or(llmemory.And(n.Gt(1), x.Exists(false)), llmemory.Meta("deep", "k").Eq("runs"), llmemory.Meta("list").Contains(3))}
	}
	return llmemory.Where{}
}

func (r *run) query() string {
	switch r.IntN(7) {
	case 0:
		return `"` + r.words(2) + `"`
	case 1:
		return r.words(2) + " -" + pick(r, "word1", "Haus", `"word0 word1"`)
	}
	return r.words(1 + r.IntN(4))
}

func (r *run) options() llmemory.SearchOptions {
	o := llmemory.SearchOptions{
		Where: r.where(), Mode: pick(r, llmemory.ByText, llmemory.ByVector, llmemory.Hybrid), Limit: pick(r, 0, 1, 3, 30, 1000),
		Fusion: pick(r, "", llmemory.MinMax, llmemory.RRF, llmemory.WeightedRRF), TextWeight: pick(r, 0, .3, .8),
		Parents: r.IntN(4) == 0, Neighbours: pick(r, 0, 0, 0, 1, 3), Snippet: pick(r, 0, 0, -1, 40), Explain: r.IntN(2) == 0,
	}
	if o.Mode == llmemory.Hybrid {
		// Which of equally near passages are the last candidates is nobody's promise, and it shows in what is fused.
		o.Candidates = 1000
	}
	return o
}

func (r *run) list(t *testing.T, owner string) {
	opts := llmemory.ListOptions{Where: r.where(), Limit: pick(r, 0, 3, 1000), Offset: pick(r, 0, 0, 2), Reverse: r.IntN(2) == 0, Ascending: r.IntN(2) == 0,
		OrderBy: pick(r, llmemory.ByCreated, llmemory.ByUpdated, llmemory.ByName, llmemory.ByDate)}
	r.note("List(%s, %+v)", owner, opts)
	pages := both(t, r, func(_ int, s *side) (*llmemory.Page, error) { return s.memory.Owner(owner).List(t.Context(), &opts) })
	r.did["listed"] += len(pages[0].Documents)
}

// read looks at one document from every side.
func (r *run) read(t *testing.T, owner string) {
	id := r.documentIDs(1)[1]
	if r.IntN(4) > 0 {
		id = llmemory.DocumentID(owner, llmemory.Identity{OriginID: pick(r, "default", "mail", "disk"), Key: fmt.Sprint(owner, r.IntN(50))})
	}
	r.note("Get(%s, %s)", owner, id)
	r.stored(t, owner, id, llmemory.ChunksOptions{Offset: r.IntN(4), Limit: 1 + r.IntN(3)})
}

// stored compares a document with its passages.
func (r *run) stored(t *testing.T, owner, id string, page llmemory.ChunksOptions) {
	t.Helper()
	ctx := t.Context()
	type document struct {
		Stored *llmemory.StoredDocument
		Chunks []llmemory.Chunk
		Text   string
		Page   []llmemory.Chunk
		Total  int
	}
	read := both(t, r, func(_ int, s *side) (d document, err error) {
		o := s.memory.Owner(owner)
		if d.Stored, d.Chunks, err = o.GetWithChunks(ctx, id); err != nil {
			return d, err
		}
		if d.Text, err = o.Text(ctx, id); err != nil {
			return d, err
		}
		d.Page, d.Total, err = o.Chunks(ctx, id, &page)
		return d, err
	})
	r.did["chunks read"] += len(read[0].Chunks)
}

func (r *run) queue(t *testing.T, owner string) {
	r.note("Queue(%s)", owner)
	queues := both(t, r, func(_ int, s *side) (*llmemory.QueueRecord, error) {
		return s.memory.Owner(owner).Queue(t.Context(), 100)
	},
		cmpopts.SortSlices(func(a, b llmemory.QueueFailure) bool { return a.ChunkID < b.ChunkID }))
	r.did["dead jobs"] += int(queues[0].Dead)
	r.did["waiting jobs"] += int(queues[0].Waiting)
}

// generations lists what there is on both sides. Ids are given by the stores, in the same order.
func (r *run) generations(t *testing.T) [2][]llmemory.Generation {
	t.Helper()
	return both(t, r, func(_ int, s *side) ([]llmemory.Generation, error) { return s.memory.Generations(t.Context()) })
}

// generation adds, fills, activates or retires a generation.
func (r *run) generation(t *testing.T) {
	ctx := t.Context()
	lists := r.generations(t)
	if len(lists[0]) != len(lists[1]) {
		return
	}
	at, force := 0, r.IntN(3) == 0
	id := func(side int) int64 {
		if len(lists[side]) == 0 {
			return 999
		}
		return lists[side][at].ID
	}
	if len(lists[0]) > 0 {
		at = r.IntN(len(lists[0]))
	}
	switch r.IntN(5) {
	case 0:
		model, profile := r.IntN(len(r.sides[0].embedders)), pick(r, llmemory.Balanced, llmemory.Accurate)
		r.note("AddGeneration(%d, %s)", model, profile)
		both(t, r, func(_ int, s *side) (*llmemory.Generation, error) {
			return s.memory.AddGeneration(ctx, s.embedders[model], profile)
		})
	case 1, 2:
		r.note("ActivateGeneration(%d, %t)", at, force)
		made := both(t, r, func(i int, s *side) (*llmemory.Generation, error) {
			return s.memory.ActivateGeneration(ctx, id(i), force)
		})
		if made[0] != nil {
			r.did["switches"]++
		}
	case 3:
		if len(lists[0]) < 2 && r.IntN(4) > 0 {
			return
		}
		r.note("RetireGeneration(%d, %t)", at, force)
		gone := both(t, r, func(i int, s *side) (bool, error) {
			err := s.memory.RetireGeneration(ctx, id(i), force)
			return err == nil, err
		})
		if gone[0] {
			r.did["retired"]++
		}
	default:
		r.note("Progress(%d)", at)
		both(t, r, func(i int, s *side) (*llmemory.ProgressRecord, error) { return s.memory.Progress(ctx, id(i)) })
	}
}

// everything compares all that there is.
func (r *run) everything(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	r.generations(t)
	for _, owner := range owners {
		pages := both(t, r, func(_ int, s *side) (*llmemory.Page, error) {
			return s.memory.Owner(owner).List(ctx, &llmemory.ListOptions{Limit: 1000})
		})
		for _, d := range pages[0].Documents {
			r.stored(t, owner, d.ID, llmemory.ChunksOptions{})
		}
		both(t, r, func(_ int, s *side) (*llmemory.Stats, error) { return s.memory.Owner(owner).Stats(ctx) })
		r.queue(t, owner)
		for _, mode := range []llmemory.Mode{llmemory.ByText, llmemory.ByVector, llmemory.Hybrid} { // all vectors among the answers
			r.search(t, owner, "word0 word1 Haus", llmemory.SearchOptions{Mode: mode, Limit: 1000, Explain: true})
		}
		for _, s := range r.sides {
			if err := storetest.CheckIndex(ctx, s.store, owner); err != nil {
				t.Errorf("%s: the index of %q: %v", s.name, owner, err)
			}
		}
	}
}
