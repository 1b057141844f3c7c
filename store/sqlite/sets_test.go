package sqlite_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/internal/soak"
	"github.com/llmemory/llmemory/internal/vec"
	"github.com/llmemory/llmemory/store/sqlite"
)

// setDimensions is no multiple of what a quantised vector is padded to.
const setDimensions = 20

// openWith opens a store with options, which the test closes, and a memory that embeds with hashed words.
func openWith(t *testing.T, path string, o sqlite.Options) (*sqlite.Store, *llmemory.Memory) {
	t.Helper()
	o.Synchronous = sqlite.Off
	store, err := sqlite.Open(t.Context(), path, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	m, err := llmemory.New(store, &llmemory.Config{Chunker: verses, Embedder: embedtest.New(embedtest.Config{Model: "sets", Dimensions: setDimensions})})
	if err != nil {
		t.Fatal(err)
	}
	return store, m
}

func setVector(text string) []float32 { return embedtest.Vector("sets", text, setDimensions) }

// nearestOf asks a view for the nearest leaves.
func nearestOf(t *testing.T, v llmemory.View, owner, query string, limit int, among []uint64) []llmemory.VectorHit {
	t.Helper()
	r, err := v.Match(t.Context(), llmemory.MatchParams{Owner: owner,
		Vector: &llmemory.VectorParams{Generation: 1, Query: setVector(query), Limit: limit, Among: among}})
	if err != nil {
		t.Fatal(err)
	}
	return r.Vector.Found
}

// allHits ranks every vector that the file has of an owner, from the stored bytes.
func allHits(t *testing.T, store *sqlite.Store, owner, query string) []llmemory.VectorHit {
	t.Helper()
	rows, err := sqlite.Rows(t.Context(), store, `SELECT vector_id & 0xffffffff FROM embeddings WHERE vector_id >> 32 IN (
		SELECT set_id FROM embedding_sets WHERE owner_id = '`+owner+`' AND generation = 1)`)
	if err != nil {
		t.Fatal(err)
	}
	var ordinals []uint64
	for _, r := range rows {
		n, err := strconv.ParseUint(r[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ordinals = append(ordinals, n)
	}
	list, err := store.Embedded(t.Context(), llmemory.EmbeddedParams{Owner: owner, Generation: 1, Ordinals: ordinals})
	if err != nil || len(list) != len(rows) {
		t.Fatalf("%d of %d vectors: %v", len(list), len(rows), err)
	}
	var hits []llmemory.VectorHit
	for _, v := range list {
		hits = append(hits, llmemory.VectorHit{Ordinal: v.Ordinal, Cosine: vec.Cosine(setVector(query), v.Vector)})
	}
	slices.SortFunc(hits, func(a, b llmemory.VectorHit) int {
		return cmp.Or(cmp.Compare(b.Cosine, a.Cosine), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	return hits
}

// checkSets compares what the file says of its sets of vectors with their rows.
func checkSets(t *testing.T, store *sqlite.Store) {
	t.Helper()
	rows, err := sqlite.Rows(t.Context(), store, `
		SELECT s.set_id, s.vectors, v.n, s.vectors + s.removed, s.version, p.last FROM embedding_sets s
		LEFT JOIN (SELECT vector_id >> 32 AS set_id, count(*) AS n FROM embeddings GROUP BY 1) v ON v.set_id = s.set_id
		LEFT JOIN (SELECT set_id, max(version) AS last FROM embedding_pages GROUP BY 1) p ON p.set_id = s.set_id
		WHERE s.vectors <> coalesce(v.n, 0) OR coalesce(p.last, 0) > s.version OR s.since > s.version OR (p.last IS NULL) <> (s.vectors = 0)
		UNION ALL
		SELECT p.set_id, 'a page of no set', NULL, NULL, NULL, NULL FROM embedding_pages p WHERE p.set_id NOT IN (SELECT set_id FROM embedding_sets)
		UNION ALL
		SELECT q.set_id, 'a job of no set', NULL, NULL, NULL, NULL FROM embedding_queue q WHERE q.set_id NOT IN (SELECT set_id FROM embedding_sets)
		UNION ALL
		SELECT vector_id, 'a vector of no leaf', NULL, NULL, NULL, NULL FROM embeddings v WHERE NOT EXISTS (
			SELECT 1 FROM embedding_sets s JOIN document_chunks c ON c.owner_id = s.owner_id WHERE s.set_id = v.vector_id >> 32
			AND c.ordinal = v.vector_id & 0xffffffff)`)
	if err != nil || len(rows) > 0 {
		t.Errorf("sets of vectors: %q %v", rows, err)
	}
}

func count(t *testing.T, store *sqlite.Store, sql string) int {
	t.Helper()
	rows, err := sqlite.Rows(t.Context(), store, sql)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(rows[0][0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSets changes documents through one store, in many small steps and a few large ones, and after each asks it, a store of another
// process that holds the vectors as well, one that has no memory for any, and one that has little: each gives the answer of all the
// vectors that are stored. Views that were opened before keep theirs.
func TestSets(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "memory.db")
	writer, mem := openWith(t, path, sqlite.Options{})
	other, _ := openWith(t, path, sqlite.Options{})
	none, _ := openWith(t, path, sqlite.Options{VectorMemory: -1})
	little, _ := openWith(t, path, sqlite.Options{VectorMemory: 20_000})
	if _, err := mem.AddGeneration(t.Context(), nil, ""); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(4, 4))
	line := func() string { return fmt.Sprintf("word%d word%d word%d", r.IntN(30), r.IntN(30), r.IntN(30)) }
	owners := []string{"a", "b"}
	type snapshot struct {
		view  llmemory.View
		owner string
		query string
		found []llmemory.VectorHit
	}
	var old []snapshot
	pages := 0
	for step := range soak.Pick(40, 2000) {
		owner := owners[r.IntN(2)]
		o := mem.Owner(owner)
		var err error
		switch n := r.IntN(20); {
		case n < 12: // one leaf
			_, err = o.Add(t.Context(), llmemory.Document{Key: fmt.Sprint(r.IntN(40)), Language: "en", Content: line()})
		case n < 16: // some
			var lines []string
			for range 1 + r.IntN(60) {
				lines = append(lines, line())
			}
			_, err = o.Add(t.Context(), llmemory.Document{Key: fmt.Sprint(r.IntN(40)), Language: "en", Content: strings.Join(lines, "\n")})
		case n < 19: // half of all
			var ids []string
			var page *llmemory.Page
			if page, err = o.List(t.Context(), nil); err == nil {
				for i, d := range page.Documents {
					if i%2 == 0 {
						ids = append(ids, d.ID)
					}
				}
				if len(ids) > 0 {
					_, err = o.Delete(t.Context(), ids...)
				}
			}
		default:
			_, err = o.DeleteAll(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		pages = max(pages, count(t, writer, "SELECT count(*) FROM embedding_pages"))
		query, limit := line(), 1+r.IntN(8)
		for _, owner := range owners {
			all := allHits(t, writer, owner, query)
			for name, store := range map[string]*sqlite.Store{"the writer": writer, "another process": other, "one without memory": none, "one with little memory": little} {
				v, err := store.View(t.Context(), llmemory.ViewParams{Owner: owner})
				if err != nil {
					t.Fatal(err)
				}
				got := nearestOf(t, v, owner, query, limit, nil)
				if diff := gocmp.Diff(all[:min(limit, len(all))], got); len(all)+len(got) > 0 && diff != "" {
					t.Errorf("step %d, %s, owner %s: (-want +got)\n%s", step, name, owner, diff)
				}
				var among []uint64
				var some []llmemory.VectorHit
				for i, h := range all {
					if i%3 == 0 {
						among, some = append(among, h.Ordinal), append(some, h)
					}
				}
				if got := nearestOf(t, v, owner, query, limit, among); len(among) > 0 && !slices.Equal(got, some[:min(limit, len(some))]) {
					t.Errorf("step %d, %s, owner %s, among %v: %v, want %v", step, name, owner, among, got, some)
				}
				if r.IntN(40) == 0 {
					old = append(old, snapshot{v, owner, query, got})
				} else if err := v.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, s := range old {
			got := nearestOf(t, s.view, s.owner, s.query, max(1, len(s.found)), nil)
			if !slices.Equal(got, s.found) {
				t.Errorf("step %d: a view of before finds %v, want %v", step, got, s.found)
			}
		}
		checkSets(t, writer)
		if t.Failed() {
			t.FailNow()
		}
	}
	for _, s := range old {
		if err := s.view.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if sqlite.LoadedBytes(none) > 0 || sqlite.LoadedBytes(other) == 0 {
		t.Errorf("%d and %d bytes of vectors in memory", sqlite.LoadedBytes(none), sqlite.LoadedBytes(other))
	}
	if pages > 60 {
		t.Errorf("%d pages at a time: they are not merged", pages)
	}
}

// TestSetsAreRewritten removes most of many vectors and looks for what they took.
func TestSetsAreRewritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "memory.db")
	store, mem := openWith(t, path, sqlite.Options{})
	o := mem.Owner("o")
	var ids []string
	for d := range 30 {
		added, err := o.Add(t.Context(), llmemory.Document{Key: fmt.Sprint(d), Language: "en", Content: fmt.Sprintf("one %d\ntwo %d\nthree %d\nfour %d\nfive %d", d, d, d, d, d)})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, added.DocumentID)
	}
	if n := count(t, store, "SELECT count(*) FROM embedding_pages"); n > 2*8 {
		t.Errorf("%d pages after 30 changes", n)
	}
	for _, id := range ids[:25] {
		if _, err := o.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		checkSets(t, store)
	}
	if n := count(t, store, "SELECT sum(size) FROM embedding_pages"); n < 25 || n > 25+2*64 {
		t.Errorf("pages hold %d vectors and removals for 25 vectors", n)
	}
	if _, err := o.DeleteAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, store, "SELECT (SELECT count(*) FROM embedding_pages) + (SELECT count(*) FROM embeddings)"); n != 0 {
		t.Errorf("%d rows of vectors that are gone", n)
	}
}

// TestVectorMemory searches the vectors of more owners than may be held at a time, and of one who has too many.
func TestVectorMemory(t *testing.T) {
	t.Parallel()
	const bound = 15_000
	store, mem := openWith(t, filepath.Join(t.TempDir(), "memory.db"), sqlite.Options{VectorMemory: bound})
	leaves := map[string]int{"a": 50, "b": 50, "c": 50, "large": 300}
	for owner, n := range leaves {
		var lines []string
		for i := range n {
			lines = append(lines, fmt.Sprint(owner, " line ", i))
		}
		if _, err := mem.Owner(owner).Add(t.Context(), llmemory.Document{Content: strings.Join(lines, "\n"), Language: "en"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, owner := range []string{"a", "b", "large", "c", "a", "c", "b", "large", "a"} {
		hits, err := mem.Owner(owner).Search(t.Context(), owner+" line 7", &llmemory.SearchOptions{Mode: llmemory.ByVector})
		if err != nil || len(hits.Hits) == 0 || hits.Hits[0].Text != owner+" line 7" {
			t.Fatalf("owner %s: %+v %v", owner, hits, err)
		}
		if n := sqlite.LoadedBytes(store); n == 0 || n > bound {
			t.Errorf("after owner %s %d bytes are held, %d may be", owner, n, bound)
		}
	}
}

// TestClock moves the times of jobs as a clock does that is set anew: what was due in a year or leased until then is due, what rests
// for an hour rests.
func TestClock(t *testing.T) {
	t.Parallel()
	store, mem := openWith(t, filepath.Join(t.TempDir(), "memory.db"), sqlite.Options{})
	if _, err := mem.AddGeneration(t.Context(), nil, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := mem.Owner("o").Add(t.Context(), llmemory.Document{Content: "one\ntwo\nthree", Language: "en", Embed: llmemory.EmbedLater}); err != nil {
		t.Fatal(err)
	}
	for ordinal, due := range []time.Duration{365 * 24 * time.Hour, time.Hour, 400 * 24 * time.Hour} {
		sql := fmt.Sprintf("UPDATE embedding_queue SET due_at = %d WHERE ordinal = %d", time.Now().Add(due).UnixMicro(), ordinal)
		if _, err := sqlite.Rows(t.Context(), store, sql); err != nil {
			t.Fatal(err)
		}
	}
	jobs, err := store.Claim(t.Context(), llmemory.ClaimParams{Generation: 1, Token: "00000000-0000-4000-8000-000000000001", Lease: time.Minute, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, j := range jobs {
		texts = append(texts, j.Text)
	}
	if slices.Sort(texts); !slices.Equal(texts, []string{"one", "three"}) {
		t.Errorf("due are %q", texts)
	}
}

// TestRetireUsesSpaceAgain fills a generation, retires it and fills another one of the same size: the file hardly grows.
func TestRetireUsesSpaceAgain(t *testing.T) {
	t.Parallel()
	store, mem := openWith(t, filepath.Join(t.TempDir(), "memory.db"), sqlite.Options{})
	var lines []string
	for i := range 1200 { // together more rows than are removed at a time
		lines = append(lines, fmt.Sprint("line ", i))
	}
	for _, owner := range []string{"a", "b"} {
		if _, err := mem.Owner(owner).Add(t.Context(), llmemory.Document{Content: strings.Join(lines, "\n"), Language: "en"}); err != nil {
			t.Fatal(err)
		}
	}
	before := count(t, store, "PRAGMA page_count")
	if err := mem.RetireGeneration(t.Context(), 1, true); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"embedding_generations", "embedding_sets", "embedding_pages", "embeddings", "embedding_queue"} {
		if n := count(t, store, "SELECT count(*) FROM "+table); n != 0 {
			t.Errorf("%s has %d rows", table, n)
		}
	}
	g, err := mem.AddGeneration(t.Context(), nil, "")
	if err != nil || g.ID != 2 {
		t.Fatalf("%+v %v", g, err)
	}
	if p, err := mem.EmbedQueue(t.Context(), nil); err != nil || p.Embedded != 2400 {
		t.Fatalf("%+v %v", p, err)
	}
	if after := count(t, store, "PRAGMA page_count"); after > before+before/4 {
		t.Errorf("the file has %d pages, had %d", after, before)
	}
	checkSets(t, store)
}

// TestDamagedPage flips a bit of a page of vectors past the checksums of the file: that is an error, and no wrong answer.
func TestDamagedPage(t *testing.T) {
	t.Parallel()
	store, mem := openWith(t, filepath.Join(t.TempDir(), "memory.db"), sqlite.Options{})
	if _, err := mem.Owner("o").Add(t.Context(), llmemory.Document{Content: "one\ntwo", Language: "en"}); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"UPDATE embedding_pages SET page = CAST(substr(page, 1, 90) || x'7f' || substr(page, 92) AS BLOB)",
		"UPDATE embedding_pages SET page = substr(page, 1, 20)",
	} {
		if _, err := sqlite.Rows(t.Context(), store, sql); err != nil {
			t.Fatal(err)
		}
		v, err := store.View(t.Context(), llmemory.ViewParams{Owner: "o"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.Match(t.Context(), llmemory.MatchParams{Owner: "o", Vector: &llmemory.VectorParams{Generation: 1, Query: setVector("one"), Limit: 1}})
		if !errors.Is(err, llmemory.ErrCorrupt) {
			t.Errorf("%s: %v", sql, err)
		}
		if err := v.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
