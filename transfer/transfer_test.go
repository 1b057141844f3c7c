package transfer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/internal/soak"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
	"github.com/llmemory/llmemory/store/sqlite"
	"github.com/llmemory/llmemory/transfer"
)

// stores open empty stores of each kind.
var stores = map[string]func(testing.TB) llmemory.Store{
	"postgres": func(tb testing.TB) llmemory.Store {
		url := pgtest.Clone(tb, "llmemory transfer", func(ctx context.Context, url string) error {
			s, err := postgres.Open(ctx, url, nil) // migrates
			if err != nil {
				return err
			}
			return s.Close()
		})
		s, err := postgres.Open(context.Background(), url, nil)
		return opened(tb, s, err)
	},
	"sqlite": func(tb testing.TB) llmemory.Store {
		s, err := sqlite.Open(context.Background(), filepath.Join(tb.TempDir(), "memory.db"), &sqlite.Options{Synchronous: sqlite.Off})
		return opened(tb, s, err)
	},
}

func opened(tb testing.TB, s llmemory.Store, err error) llmemory.Store {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close the store: %v", err)
		}
	})
	return s
}

func embedder(model string, dimensions int) embedding.Embedder {
	return embedtest.New(embedtest.Config{Model: model, Dimensions: dimensions})
}

// memory returns a memory on an empty store, with two embedders.
func memory(tb testing.TB, kind string) *llmemory.Memory {
	tb.Helper()
	return on(tb, stores[kind](tb), nil)
}

func on(tb testing.TB, store llmemory.Store, config *llmemory.Config) *llmemory.Memory {
	tb.Helper()
	if config == nil {
		config = &llmemory.Config{Embedder: embedder("first", 48), Embedders: []embedding.Embedder{embedder("second", 20)}}
	}
	m, err := llmemory.New(store, config)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// fill gives a memory two generations, and two owners documents of many kinds: all is embedded but what waits in the queue.
func fill(tb testing.TB, m *llmemory.Memory, n int) {
	tb.Helper()
	ctx := tb.Context()
	random := rand.New(rand.NewPCG(7, 7))
	topics := []string{"river", "mountain", "engine", "Häuser", "数据库", "lease", "harbour", "violin", "glacier", "running"}
	for _, owner := range []string{"ann", "bob"} {
		var docs []llmemory.Document
		for i := range n {
			var b strings.Builder
			for j := range 1 + random.IntN(7) {
				if j%4 == 0 {
					fmt.Fprintf(&b, "# Part %d of %s\n\n", j, topics[random.IntN(len(topics))])
				}
				for range 5 + random.IntN(60) {
					fmt.Fprintf(&b, "%s%d ", topics[random.IntN(len(topics))], random.IntN(50))
				}
				b.WriteString("\n\n")
			}
			d := llmemory.Document{OriginID: fmt.Sprint("origin ", i%3), Key: fmt.Sprint("doc ", i), Name: fmt.Sprintf("Dokument „%d“.md", i),
				Type: llmemory.Markdown, Content: b.String(), Metadata: map[string]any{"n": i, "nested": map[string]any{"x": []any{1.5, nil, "<&>\u2028"}}}}
			if i%4 == 0 {
				d.Date = time.Date(1999, 12, 31, 23, 59, 59, 123456000, time.UTC)
			}
			if i%7 == 3 {
				d.Embed = llmemory.EmbedNever
			}
			if i%5 == 2 {
				d.Name, d.Title, d.Author, d.Format, d.Markup = "", fmt.Sprint("Titel ", i), "Ann", "pdf", "markdown"
				d.Pages = []int{0, strings.Index(d.Content, "\n\n") + 2}
			}
			docs = append(docs, d)
		}
		docs = append(docs, llmemory.Document{Key: owner + "'s", Content: "what only " + owner + " knows"})
		addAll(tb, m.Owner(owner), docs)
		docs[1].Content += "\n\nadded in a second version"
		docs[2].Metadata = map[string]any{"changed": true}
		addAll(tb, m.Owner(owner), docs[:3])
	}
	if _, err := m.AddGeneration(ctx, embedder("second", 20), ""); err != nil {
		tb.Fatal(err)
	}
	if _, err := m.EmbedQueue(ctx, nil); err != nil {
		tb.Fatal(err)
	}
	addAll(tb, m.Owner("ann"), []llmemory.Document{{Key: "waiting", Content: "waits for its vector", Embed: llmemory.EmbedLater}})
}

func addAll(tb testing.TB, o *llmemory.Owner, docs []llmemory.Document) {
	tb.Helper()
	added, err := o.AddMany(tb.Context(), docs)
	for _, a := range added {
		err = errors.Join(err, a.Err, a.EmbedErr)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

var all = transfer.Options{AllOwners: true}

// export returns an export's lines.
func export(tb testing.TB, m *llmemory.Memory, opts transfer.Options) []string {
	tb.Helper()
	var b bytes.Buffer
	if _, err := transfer.Export(tb.Context(), m, &b, opts); err != nil {
		tb.Fatal(err)
	}
	lines := strings.SplitAfter(b.String(), "\n")
	if lines[len(lines)-1] != "" {
		tb.Fatalf("the export ends with %q", lines[len(lines)-1])
	}
	return lines[:len(lines)-1]
}

func load(ctx context.Context, m *llmemory.Memory, lines []string, opts transfer.Options) (*transfer.Result, error) {
	return transfer.Import(ctx, m, strings.NewReader(strings.Join(lines, "")), opts)
}

// same checks that two stores have the same: what is exported of them but for the header, what is counted, and what is found.
func same(t *testing.T, a, b *llmemory.Memory) {
	t.Helper()
	linesA, linesB := export(t, a, all), export(t, b, all)
	if diff := cmp.Diff(normal(linesA[1:]), normal(linesB[1:])); diff != "" {
		t.Errorf("exports (-source +target):\n%.4000s", diff)
	}
	for _, owner := range []string{"ann", "bob"} {
		x, y := a.Owner(owner), b.Owner(owner)
		statsX, errX := x.Stats(t.Context())
		statsY, errY := y.Stats(t.Context())
		if errX != nil || errY != nil {
			t.Fatal(errX, errY)
		}
		if diff := cmp.Diff(statsX, statsY, cmpopts.IgnoreFields(llmemory.Stats{}, "Index")); diff != "" {
			t.Errorf("stats of %s (-source +target):\n%s", owner, diff)
		}
		for _, mode := range []llmemory.Mode{llmemory.ByText, llmemory.ByVector, llmemory.Hybrid} {
			for _, query := range []string{"river7 mountain3", "häuser12", "数据库", "what only ann knows", `"second version"`} {
				opts := &llmemory.SearchOptions{Mode: mode, Limit: 25, Parents: true, Neighbours: 1}
				foundX, errX := x.Search(t.Context(), query, opts)
				foundY, errY := y.Search(t.Context(), query, opts)
				if errX != nil || errY != nil {
					t.Fatal(errX, errY)
				}
				sameHits(t, fmt.Sprintf("%s: %s search for %q", owner, mode, query), foundX.Hits, foundY.Hits)
			}
		}
	}
}

// sameHits compares scores, and hits where scores tell them apart.
func sameHits(t *testing.T, what string, a, b []llmemory.Hit) {
	t.Helper()
	const text, vector = 1e-9, 1e-5
	if len(a) != len(b) || len(a) == 0 {
		t.Errorf("%s: %d hits in the source, %d in the target", what, len(a), len(b))
		return
	}
	byID := map[string]llmemory.Hit{}
	for _, h := range b {
		byID[h.Chunk.ID] = h
	}
	last := a[len(a)-1].Score
	for i, h := range a {
		if diff := cmp.Diff(h.Score, b[i].Score, cmpopts.EquateApprox(0, vector)); diff != "" {
			t.Errorf("%s: score of hit %d (-source +target):\n%s", what, i, diff)
		}
		other, ok := byID[h.Chunk.ID]
		if !ok {
			if h.Score-last > vector {
				t.Errorf("%s: hit %d is not found in the target", what, i)
			}
			continue
		}
		tolerance := cmp.Options{cmpopts.EquateApprox(0, vector), cmpopts.IgnoreFields(llmemory.Scores{}, "Text"), cmpopts.EquateEmpty()}
		if diff := cmp.Diff(h, other, tolerance); diff != "" {
			t.Errorf("%s: hit %d (-source +target):\n%s", what, i, diff)
		}
		if diff := cmp.Diff(h.Scores.Text, other.Scores.Text, cmpopts.EquateApprox(0, text)); diff != "" {
			t.Errorf("%s: text score of hit %d (-source +target):\n%s", what, i, diff)
		}
	}
}

// normal writes lines in one way, without their sums: stores may order the members of metadata otherwise.
func normal(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		dec := json.NewDecoder(strings.NewReader(line))
		dec.UseNumber()
		var v map[string]any
		if err := dec.Decode(&v); err != nil {
			return []string{err.Error()}
		}
		delete(v, "sum")
		text, err := json.MarshalIndent(v, "", " ")
		if err != nil {
			return []string{err.Error()}
		}
		out[i] = string(text)
	}
	return out
}

// What is moved is the same at its new place, whatever stores lie on its way, through a file and straight. Moving it once more finds
// everything there.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, way := range [][]string{{"postgres", "postgres"}, {"postgres", "sqlite", "postgres"}, {"sqlite", "sqlite"}} {
		t.Run(strings.Join(way, " "), func(t *testing.T) {
			t.Parallel()
			first := memory(t, way[0])
			fill(t, first, soak.Pick(12, 300))
			from := first
			for _, kind := range way[1:] {
				file, straight := memory(t, kind), memory(t, kind)
				lines := export(t, from, all)
				for i, want := range []func(*transfer.Result) bool{
					func(r *transfer.Result) bool { return r.Created == int64(len(lines)-2) },
					func(r *transfer.Result) bool { return r.Unchanged == int64(len(lines)-2) },
				} {
					r, err := load(t.Context(), file, lines, all)
					if err != nil {
						t.Fatal(err)
					}
					if !want(r) || !r.Verified || len(r.Owners) != 2 || r.Owners[0].Owner != "ann" || r.Owners[0].Vectors[0] < 20 || r.Failed+r.Skipped+r.Kept > 0 {
						t.Errorf("import %d: %+v", i, r)
					}
					r, err = transfer.Copy(t.Context(), from, straight, all)
					if err != nil {
						t.Fatal(err)
					}
					if !want(r) || !r.Verified {
						t.Errorf("copy %d: %+v", i, r)
					}
				}
				same(t, from, file)
				same(t, from, straight)
				from = straight
			}
			same(t, first, from)
			generations, err := from.Generations(t.Context())
			if err != nil || len(generations) != 2 || generations[0].Model.Model != "first" || generations[0].State != llmemory.Active {
				t.Errorf("generations: %+v, %v", generations, err)
			}
			// Nothing but what waited in the source is queued.
			p, err := from.Owner("ann").Queue(t.Context(), 0)
			if err != nil || p.Waiting != 2 {
				t.Errorf("queue: %+v, %v; want the one leaf, for two generations", p, err)
			}
		})
	}
}

// cut is a reader that has the context end when so many bytes were read.
type cut struct {
	io.Reader
	left int
	stop context.CancelFunc
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left <= 0 {
		c.stop()
	}
	n, err := c.Reader.Read(p[:min(len(p), 4096)])
	c.left -= n
	return n, err
}

// A run that is interrupted anywhere leaves whole documents, and nothing is done twice by the next.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"postgres", "sqlite"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(11, 3))
			from := memory(t, "postgres")
			fill(t, from, 75)
			lines := export(t, from, all)
			text := strings.Join(lines, "")
			file, straight := memory(t, kind), memory(t, kind)
			stored := func(m *llmemory.Memory) (n int64) {
				for _, owner := range []string{"ann", "bob"} {
					stats, err := m.Owner(owner).Stats(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					n += stats.Documents
				}
				return n
			}
			for range soak.Pick(2, 40) {
				ctx, stop := context.WithCancel(t.Context())
				before := stored(file)
				r, err := transfer.Import(ctx, file, &cut{strings.NewReader(text), random.IntN(len(text)), stop}, all)
				if !errors.Is(err, context.Canceled) {
					t.Errorf("import: %v", err)
				}
				if after := stored(file); after-before > r.Created+batch || after-before < r.Created {
					t.Errorf("%d documents, %d before; said to be created: %d", after, before, r.Created)
				}
				stop()

				ctx, stop = context.WithCancel(t.Context())
				end := random.Int64N(int64(len(lines)))
				opts := all
				opts.Report = func(p transfer.Progress) {
					if p.Documents+p.Verified >= end {
						stop()
					}
				}
				if r, err = transfer.Copy(ctx, from, straight, opts); !errors.Is(err, context.Canceled) && (err != nil || !r.Verified) {
					t.Errorf("copy: %v, %+v", err, r)
				}
				stop()
			}
			there := stored(file)
			r, err := load(t.Context(), file, lines, all)
			if err != nil || r.Unchanged != there || r.Created != int64(len(lines)-2)-there || !r.Verified {
				t.Errorf("in the end: %+v, %v; %d were there", r, err, there)
			}
			if r, err := transfer.Copy(t.Context(), from, straight, all); err != nil || r.Updated != 0 || !r.Verified {
				t.Errorf("in the end: %+v, %v", r, err)
			}
			same(t, from, file)
			same(t, from, straight)
		})
	}
}

// batch is how many documents one transaction of a transfer takes: the last may have been committed when it was interrupted.
const batch = 64

// Each fault of a file is told with its line; what stands before it is stored.
func TestDamagedFile(t *testing.T) {
	t.Parallel()
	from := memory(t, "postgres")
	fill(t, from, 3)
	lines := export(t, from, all)
	last := len(lines)
	slices.SortStableFunc(lines[1:last-1], func(a, b string) int { // what is looked for is in the first
		has := func(line string) int { return strings.Count(line, "river") * strings.Count(line, `"vectors"`) }
		return has(b) - has(a)
	})
	to := memory(t, "postgres")
	replace := func(n int, old, new string) func([]string) {
		return func(lines []string) {
			changed := strings.Replace(lines[n-1], old, new, 1)
			if changed == lines[n-1] {
				t.Errorf("line %d has no %q", n, old)
			}
			lines[n-1] = changed
		}
	}
	bare := func(n int) func([]string) { // without its sum
		return func(lines []string) {
			at := strings.LastIndex(lines[n-1], `,"sum":`)
			lines[n-1] = lines[n-1][:at] + "}\n"
		}
	}
	all2 := func(f ...func([]string)) func([]string) {
		return func(lines []string) {
			for _, f := range f {
				f(lines)
			}
		}
	}
	for _, c := range []struct {
		name   string
		line   int
		want   error
		stored int
		text   string
		damage func([]string)
	}{
		{"empty", 1, llmemory.ErrInvalid, 0, "it is empty", func(l []string) { clear(l) }},
		{"foreign text", 1, llmemory.ErrInvalid, 0, "no header", func(l []string) { l[0] = "id,title,text\n" }},
		{"foreign JSON", 1, llmemory.ErrInvalid, 0, "no header", func(l []string) { l[0] = `{"_id":"1","text":"x"}` + "\n" }},
		{"foreign bytes", 1, llmemory.ErrInvalid, 0, "no header", func(l []string) { l[0] = "\x89PNG\x0d\n" }},
		{"no header", 1, llmemory.ErrInvalid, 0, "no header", func(l []string) { l[0] = "" }},
		{"newer", 1, llmemory.ErrUnavailable, 0, "version 4 of the format", all2(bare(1), replace(1, `"version":3`, `"version":4`))},
		{"version 0", 1, llmemory.ErrCorrupt, 0, "version 0", all2(bare(1), replace(1, `"version":3`, `"version":0`))},
		{"header damaged", 1, llmemory.ErrCorrupt, 0, "sum", replace(1, `"first"`, `"fyrst"`)},
		{"generation without dimensions", 1, llmemory.ErrCorrupt, 0, "0 dimensions", all2(bare(1), replace(1, `"dimensions":48`, `"dimensions":0`))},
		{"bit flipped", 3, llmemory.ErrCorrupt, 1, "sum", replace(3, "river", "rivfr")},
		{"number changed", 4, llmemory.ErrCorrupt, 2, "sum", replace(4, `"version":1`, `"version":3`)},
		{"sum changed", 3, llmemory.ErrCorrupt, 1, "sum", replace(3, `"sum":"`, `"sum":"f`)},
		{"no JSON", 3, llmemory.ErrCorrupt, 1, "", func(l []string) { l[2] = "{\n" }},
		{"blank line", 3, llmemory.ErrCorrupt, 1, "", func(l []string) { l[1] += "\n" }},
		{"no UTF-8", 3, llmemory.ErrCorrupt, 1, "UTF-8", all2(bare(3), replace(3, "Dokument", "Dok\xffment"))},
		{"unknown member", 3, llmemory.ErrCorrupt, 1, "unknown", all2(bare(3), replace(3, `{"owner"`, `{"color":"red","owner"`))},
		{"no document", 3, llmemory.ErrCorrupt, 1, "no document", func(l []string) { l[2] = "{}\n" }},
		{"vector too short", 3, llmemory.ErrCorrupt, 1, "dimensions", all2(bare(3), replace(3, `"vectors":["`, `"vectors":["AAAA`))},
		{"vector no base64", 3, llmemory.ErrCorrupt, 1, "base64", all2(bare(3), replace(3, `"vectors":["`, `"vectors":["!`))},
		{"cut between lines", 5, llmemory.ErrCorrupt, 3, "cut off", func(l []string) { clear(l[4:]) }},
		{"cut within a line", 5, llmemory.ErrCorrupt, 3, "", func(l []string) { l[4] = l[4][:len(l[4])/2]; clear(l[5:]) }},
		{"last line lost", last, llmemory.ErrCorrupt, last - 2, "cut off", func(l []string) { l[last-1] = "" }},
		{"document lost", last - 1, llmemory.ErrCorrupt, last - 3, "missing", func(l []string) { l[3] = "" }},
		{"document twice", last + 1, llmemory.ErrCorrupt, last - 2, "missing", func(l []string) { l[3] += l[3] }},
		{"something follows", last + 1, llmemory.ErrCorrupt, last - 2, "follows", func(l []string) { l[last-1] += l[1] }},
		{"blank lines follow", last + 1, llmemory.ErrCorrupt, last - 2, "follows", func(l []string) { l[last-1] += "\n" }},
	} {
		for _, owner := range []string{"ann", "bob"} {
			if _, err := to.Owner(owner).DeleteAll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		damaged := slices.Clone(lines)
		c.damage(damaged)
		r, err := load(t.Context(), to, damaged, all)
		var fault *transfer.LineError
		if !errors.As(err, &fault) || fault.Line != c.line || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %v in line %d that tells of %q", c.name, err, c.want, c.line, c.text)
		}
		if int(r.Created) != c.stored || r.Verified {
			t.Errorf("%s: %d documents stored, want %d; %+v", c.name, r.Created, c.stored, r)
		}
	}
	// The whole file, with line ends of another system and without the last.
	windows := strings.TrimSuffix(strings.ReplaceAll(strings.Join(lines, ""), "\n", "\r\n"), "\r\n")
	if r, err := transfer.Import(t.Context(), to, strings.NewReader(windows), all); err != nil || r.Unchanged+r.Created != int64(last-2) {
		t.Errorf("with line ends of another system: %+v, %v", r, err)
	}
}

// A line that was changed on purpose, its sum taken away, is checked as a document: what does not fit together is refused, and the
// others are stored.
func TestFailures(t *testing.T) {
	t.Parallel()
	from := memory(t, "postgres")
	fill(t, from, 3)
	lines := export(t, from, all)
	spoil := func(n int, old, new string) {
		t.Helper()
		line := lines[n-1][:strings.LastIndex(lines[n-1], `,"sum":`)] + "}\n"
		if lines[n-1] = strings.Replace(line, old, new, 1); lines[n-1] == line {
			t.Fatalf("line %d has no %q", n, old)
		}
	}
	spoil(2, `"type":"markdown"`, `"type":"novel"`)
	spoil(3, `"text":"`, `"text":"x`)
	spoil(4, `"name":"`, `"name":"renamed `) // this is fine
	var failures []transfer.Failure
	opts := all
	opts.Failed = func(f transfer.Failure) { failures = append(failures, f) }
	to := memory(t, "postgres")
	r, err := load(t.Context(), to, lines, opts)
	if err != nil || r.Failed != 2 || r.Created != int64(len(lines)-4) || !r.Verified {
		t.Errorf("%+v, %v", r, err)
	}
	if len(failures) != 2 || failures[0].Line != 2 || failures[1].Line != 3 || failures[0].Owner != "ann" || failures[0].Key == "" ||
		!errors.Is(failures[0].Err, llmemory.ErrInvalid) || !errors.Is(failures[1].Err, llmemory.ErrInvalid) {
		t.Errorf("failures %+v", failures)
	}
	failures = nil
	opts.IfExists = llmemory.Refuse
	if r, err = load(t.Context(), to, export(t, from, all), opts); err != nil || r.Failed != 1 || r.Created != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	if len(failures) != 1 || !errors.Is(failures[0].Err, llmemory.ErrConflict) {
		t.Errorf("failures %+v", failures)
	}
	// A target that takes less.
	small := on(t, stores["postgres"](t), &llmemory.Config{MaxContentBytes: 100})
	if r, err = load(t.Context(), small, export(t, from, all), all); err != nil || r.Failed == 0 || r.Created == 0 || !r.Verified {
		t.Errorf("a target that takes less: %+v, %v", r, err)
	}
}

// Who moves one owner's documents sees and changes nothing of another's.
func TestTenancy(t *testing.T) {
	t.Parallel()
	from := memory(t, "postgres")
	fill(t, from, 4)
	ann := transfer.Options{Owner: "ann"}
	lines := export(t, from, ann)
	if len(lines) != 2+4+2 || strings.Contains(strings.Join(lines, ""), "bob") {
		t.Errorf("an export of ann's has %d lines, and bob is in it: %t", len(lines), strings.Contains(strings.Join(lines, ""), "bob"))
	}
	documents := func(m *llmemory.Memory, owner string) int64 {
		t.Helper()
		stats, err := m.Owner(owner).Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return stats.Documents
	}
	to := memory(t, "postgres")
	whole := export(t, from, all)
	r, err := load(t.Context(), to, whole, ann)
	if err != nil || r.Created != 6 || r.Skipped != 5 || documents(to, "ann") != 6 || documents(to, "bob") != 0 {
		t.Errorf("ann's documents of a file of all: %+v, %v", r, err)
	}
	r, err = load(t.Context(), to, lines, transfer.Options{Owner: "bob"})
	if err != nil || r.Skipped != 6 || documents(to, "bob") != 0 || r.Documents() != 0 {
		t.Errorf("bob's documents of a file of ann's: %+v, %v", r, err)
	}
	r, err = load(t.Context(), to, lines, transfer.Options{Owner: "ann", ToOwner: "cid"})
	if err != nil || r.Created != 6 || !r.Verified || documents(to, "cid") != 6 {
		t.Errorf("ann's for cid: %+v, %v", r, err)
	}
	if r, err = transfer.Copy(t.Context(), from, to, transfer.Options{Owner: "ann", ToOwner: "cid"}); err != nil || r.Unchanged != 6 {
		t.Errorf("once more: %+v, %v", r, err)
	}
	found, err := to.Owner("cid").Search(t.Context(), "what only ann knows", nil)
	if err != nil || len(found.Hits) == 0 || found.Hits[0].Text != "what only ann knows" {
		t.Errorf("cid finds %v, %v", found, err)
	}
	// Within one store.
	if r, err = transfer.Copy(t.Context(), from, from, transfer.Options{Owner: "bob", ToOwner: "eve"}); err != nil || r.Created != 5 || documents(from, "eve") != 5 {
		t.Errorf("bob's for eve: %+v, %v", r, err)
	}
	for _, o := range []transfer.Options{{}, {Owner: "ann", AllOwners: true}, {AllOwners: true, ToOwner: "x"}} {
		for name, call := range map[string]func() error{
			"Export": func() error { _, err := transfer.Export(t.Context(), from, io.Discard, o); return err },
			"Import": func() error { _, err := load(t.Context(), to, lines, o); return err },
			"Copy":   func() error { _, err := transfer.Copy(t.Context(), from, to, o); return err },
		} {
			if err := call(); !errors.Is(err, llmemory.ErrInvalid) {
				t.Errorf("%s with %+v: %v", name, o, err)
			}
		}
	}
}

// Vectors go to the generation they are of, and to no other.
func TestGenerations(t *testing.T) {
	t.Parallel()
	from := memory(t, "postgres")
	fill(t, from, 4)
	lines := export(t, from, all)
	with := func(profile llmemory.Profile, embedders ...embedding.Embedder) *llmemory.Memory {
		t.Helper()
		m := memory(t, "postgres")
		for _, e := range embedders {
			if _, err := m.AddGeneration(t.Context(), e, profile); err != nil {
				t.Fatal(err)
			}
		}
		return m
	}
	waiting := func(m *llmemory.Memory) (n int64) {
		t.Helper()
		q, err := m.Owner("ann").Queue(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return q.Waiting
	}
	for name, m := range map[string]*llmemory.Memory{
		"other dimensions": with("", embedder("first", 49)),
		"other profile":    with(llmemory.Fast, embedder("first", 48)),
	} {
		_, err := load(t.Context(), m, lines, all)
		if !errors.Is(err, llmemory.ErrConflict) || !strings.Contains(err.Error(), "first/48") || !strings.Contains(err.Error(), "--no-vectors") {
			t.Errorf("%s: %v", name, err)
		}
		if r, err := load(t.Context(), m, lines, transfer.Options{AllOwners: true, NoVectors: true}); err != nil || r.Created != int64(len(lines)-2) || !r.Verified {
			t.Errorf("%s, without vectors: %+v, %v", name, r, err)
		}
		if generations, err := m.Generations(t.Context()); err != nil || len(generations) != 1 || waiting(m) < 6 {
			t.Errorf("%s, without vectors: generations %v, %v; %d waiting", name, generations, err, waiting(m))
		}
	}
	third := with("", embedder("third", 8), embedder("second", 20))
	if r, err := load(t.Context(), third, lines, all); err != nil || r.Created != int64(len(lines)-2) {
		t.Errorf("another model in the target: %+v, %v", r, err)
	}
	generations, err := third.Generations(t.Context())
	if err != nil || len(generations) != 3 || generations[0].State != llmemory.Active || generations[2].Model.Model != "first" || generations[2].State != llmemory.Building {
		t.Errorf("generations %+v, %v", generations, err)
	}
	// Without vectors there is no generation in the file either.
	if bare := export(t, from, transfer.Options{AllOwners: true, NoVectors: true}); strings.Contains(strings.Join(bare, ""), "vectors\":[\"") ||
		!strings.Contains(bare[0], `"generations":[]`) {
		t.Errorf("an export without vectors begins with %s", bare[0])
	}
	// What came without vectors gets them by a later run.
	m := with("", embedder("first", 48), embedder("second", 20))
	if _, err := load(t.Context(), m, lines, transfer.Options{AllOwners: true, NoVectors: true}); err != nil {
		t.Error(err)
	}
	if r, err := load(t.Context(), m, lines, all); err != nil || r.Updated == 0 || !r.Verified || waiting(m) != 2 {
		t.Errorf("vectors that come later: %+v, %v; %d waiting", r, err, waiting(m))
	}
	same(t, from, m)
}

// What another program does to the target meanwhile is seen when all is read back.
func TestVerify(t *testing.T) {
	t.Parallel()
	from := memory(t, "postgres")
	fill(t, from, 75)
	to := memory(t, "postgres")
	victim := ""
	opts := all
	opts.Report = func(p transfer.Progress) {
		if p.Documents < 80 || victim != "" {
			return
		}
		page, err := to.Owner("ann").List(t.Context(), &llmemory.ListOptions{Limit: 1})
		if err != nil {
			t.Error(err)
			return
		}
		victim = page.Documents[0].ID
		if _, err := to.Owner("ann").Delete(t.Context(), victim); err != nil {
			t.Error(err)
		}
	}
	r, err := transfer.Copy(t.Context(), from, to, opts)
	var fault *transfer.VerifyError
	if !errors.As(err, &fault) || !slices.Equal(fault.Documents, []string{victim}) || fault.Want.Documents != 77 || fault.Got.Documents != 76 ||
		fault.Got.Leaves >= fault.Want.Leaves || fault.Got.Vectors[0] > fault.Want.Vectors[0] || r.Verified {
		t.Errorf("%v, %+v; want a word of %s", err, r, victim)
	}
	if r, err := transfer.Copy(t.Context(), from, to, all); err != nil || r.Created != 1 || !r.Verified {
		t.Errorf("run again: %+v, %v", r, err)
	}
	same(t, from, to)
}

// A document of any size passes.
func TestLarge(t *testing.T) {
	t.Parallel()
	from, to := memory(t, "postgres"), memory(t, "postgres")
	text := strings.Repeat("Some words of no meaning that make a sentence, number after number. \n\n", soak.Pick(1<<20, 60<<20)/70)
	addAll(t, from.Owner("ann"), []llmemory.Document{{Key: "large", Language: "en", Content: text, Embed: llmemory.EmbedLater}, {Key: "small", Content: "small"}})
	lines := export(t, from, transfer.Options{Owner: "ann"})
	if r, err := load(t.Context(), to, lines, transfer.Options{Owner: "ann"}); err != nil || r.Created != 2 || !r.Verified {
		t.Fatalf("%+v, %v", r, err)
	}
	moved, err := to.Owner("ann").Text(t.Context(), llmemory.DocumentID("ann", llmemory.Identity{OriginID: "default", Key: "large"}))
	if err != nil || moved != text {
		t.Errorf("%d bytes, %v; want %d", len(moved), err, len(text))
	}
}
