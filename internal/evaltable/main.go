// Command evaltable measures the quality of text, vector and hybrid search on collections, in every store, and writes the tables into
// a Markdown file:
//
//	evaltable -data DIR -model DIR [-only NAME,…] [-by-origin NAME,…] [-weights W,…] [-cache FILE] [-out docs/evaluation.md]
//	evaltable -data DIR -model DIR -chunking NAME [-cache FILE] [-out docs/evaluation.md]
//
// Each folder of DIR that has a corpus.jsonl is a collection, as "llmemory eval" takes them. Every store gets the same vectors, which
// are made once, and for the next run too if a file keeps them. PostgreSQL is that of LLMEMORY_DB, and left out without it; SQLite is a temporary file. In the Markdown file, what
// stands between <!-- evaluation --> and <!-- /evaluation --> is replaced, and with -weights, which searches by each of these text
// weights, what stands between <!-- weights --> and <!-- /weights -->; without -out they go to standard output. With -chunking the ways
// to cut documents are measured instead, on a folder of excerpts, for what stands between <!-- chunking --> and <!-- /chunking -->.
package main

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/local"
	"github.com/llmemory/llmemory/eval"
	"github.com/llmemory/llmemory/internal/evaluate"
	"github.com/llmemory/llmemory/store/postgres"
	"github.com/llmemory/llmemory/store/sqlite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var t table
	var only, byOrigin, weights string
	flag.StringVar(&t.data, "data", "", "folder of collections")
	flag.StringVar(&t.model, "model", "", "folder of the embedding model")
	flag.StringVar(&only, "only", "", "names of the collections to measure, by commas (default: all)")
	flag.StringVar(&byOrigin, "by-origin", "", "names of those whose questions search their own origin only")
	flag.StringVar(&weights, "weights", "", "text weights to search by, above 0 and below 1, by commas (default: none but the default)")
	flag.StringVar(&t.chunking, "chunking", "", "name of the folder of excerpts to measure chunking on, instead of searches")
	flag.StringVar(&t.cache, "cache", "", "file that keeps the vectors from run to run")
	flag.StringVar(&t.out, "out", "", "Markdown file to write the tables into")
	flag.Parse()
	t.only, t.byOrigin = split(only), split(byOrigin)
	for _, w := range split(weights) {
		weight, err := strconv.ParseFloat(w, 64)
		if err != nil || !(weight > 0 && weight < 1) {
			fail(fmt.Errorf("-weights: %q is no number above 0 and below 1", w))
		}
		t.weights = append(t.weights, weight)
	}
	if err := t.run(ctx); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "evaltable:", err)
	os.Exit(1)
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

type table struct {
	data, model, cache, out string
	chunking                string
	only, byOrigin          []string
	weights                 []float64

	embedder embedding.Embedder
	stores   []opened
	rows     []row
	told     time.Time // when progress was last told
}

// opened is a memory in one of the stores.
type opened struct {
	name   string
	memory *llmemory.Memory
}

// row is what was measured of a collection.
type row struct {
	name               string
	documents, queries int
	stores             map[string]map[llmemory.Mode]eval.Metrics
	weights            map[float64]float64 // text weight → nDCG@10 of hybrid search in the first store
}

var modes = []llmemory.Mode{llmemory.ByText, llmemory.ByVector, llmemory.Hybrid}

func (t *table) run(ctx context.Context) (err error) {
	var collections []string
	var excerpts *eval.Excerpts
	if t.chunking != "" {
		excerpts, err = eval.OpenExcerpts(os.DirFS(filepath.Join(t.data, t.chunking)))
	} else {
		collections, err = t.collections()
	}
	if err != nil {
		return err
	}
	model, err := local.Open(t.model, nil)
	if err != nil {
		return err
	}
	defer model.Close()
	vectors := &kept{vectors: map[embedding.Key][]float32{}}
	if t.cache != "" {
		if err := vectors.load(t.cache); err != nil {
			return fmt.Errorf("%s: %w", t.cache, err)
		}
		defer func() { err = errors.Join(err, vectors.save(t.cache)) }() // also of a run that ends early
	}
	t.embedder = embedding.Reuse(model, vectors, "evaluation")
	if excerpts != nil {
		report, err := evaluate.Chunking(ctx, evaluate.ChunkingConfig{
			Excerpts: excerpts, Name: t.chunking, Embedder: t.embedder, Strategies: evaluate.Strategies(t.embedder), Progress: t.progress,
		})
		if err != nil {
			return err
		}
		return t.write(map[string]string{"chunking": t.chunkingTable(report)})
	}
	closer, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer closer()
	for _, c := range collections {
		if err := t.measure(ctx, c); err != nil {
			return fmt.Errorf("collection %s: %w", c, err)
		}
	}
	blocks := map[string]string{"evaluation": t.evaluation()}
	if len(t.weights) > 0 {
		blocks["weights"] = t.choice()
	}
	return t.write(blocks)
}

// collections returns the names of the collections, sorted.
func (t *table) collections() ([]string, error) {
	found, err := filepath.Glob(filepath.Join(t.data, "*", "corpus.jsonl"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range found {
		if name := filepath.Base(filepath.Dir(f)); len(t.only) == 0 || slices.Contains(t.only, name) {
			names = append(names, name)
		}
	}
	for _, name := range slices.Concat(t.only, t.byOrigin) {
		if !slices.Contains(names, name) && (len(t.only) == 0 || slices.Contains(t.only, name)) {
			return nil, fmt.Errorf("%s has no collection %q", t.data, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%q has no folder with a corpus.jsonl", t.data)
	}
	slices.Sort(names)
	return names, nil
}

// open opens the stores, and returns what closes them.
func (t *table) open(ctx context.Context) (func(), error) {
	var closers []func()
	closer := func() {
		for _, c := range closers {
			c()
		}
	}
	add := func(name string, store llmemory.Store) error {
		closers = append(closers, func() { _ = store.Close() }) // nothing is in it by then
		memory, err := llmemory.New(store, &llmemory.Config{Embedder: t.embedder})
		t.stores = append(t.stores, opened{name, memory})
		return err
	}
	err := func() error {
		dir, err := os.MkdirTemp("", "evaltable-")
		if err != nil {
			return err
		}
		closers = append(closers, func() { _ = os.RemoveAll(dir) })
		file, err := sqlite.Open(ctx, filepath.Join(dir, "memory.db"), &sqlite.Options{Synchronous: sqlite.Off})
		if err != nil {
			return err
		}
		if err := add("SQLite", file); err != nil {
			return err
		}
		url := os.Getenv("LLMEMORY_DB")
		if url == "" {
			return nil
		}
		server, err := postgres.Open(ctx, url, nil)
		if err != nil {
			return err
		}
		return add("PostgreSQL", server)
	}()
	slices.Reverse(closers)
	if err != nil {
		closer()
		return nil, err
	}
	return closer, nil
}

// measure measures one collection in every store.
func (t *table) measure(ctx context.Context, name string) error {
	c, err := eval.Open(os.DirFS(filepath.Join(t.data, name)))
	if err != nil {
		return err
	}
	r := row{name: name, stores: map[string]map[llmemory.Mode]eval.Metrics{}, weights: map[float64]float64{}}
	for i, s := range t.stores {
		err := func() (err error) {
			stored, err := evaluate.Store(ctx, evaluate.Config{
				Memory: s.memory, Collection: c, Name: name, ByOrigin: slices.Contains(t.byOrigin, name), Limit: 1000, Untimed: true,
				Progress: t.progress, Degraded: func(reason string) { fmt.Fprintf(os.Stderr, "%s in %s is degraded: %s\n", name, s.name, reason) },
			})
			if err != nil {
				return err
			}
			defer func() {
				if failed := stored.Close(ctx); err == nil {
					err = failed
				}
			}()
			r.stores[s.name] = map[llmemory.Mode]eval.Metrics{}
			for _, mode := range modes {
				report, _, err := stored.Search(ctx, llmemory.SearchOptions{Mode: mode})
				if err != nil {
					return err
				}
				r.stores[s.name][mode] = report.Metrics
				r.documents, r.queries = report.Documents, report.Queries
				fmt.Fprintf(os.Stderr, "%s, %s, %s: nDCG@10 %.4f, Recall@100 %.4f\n", name, s.name, mode, report.Metrics.NDCG10, report.Metrics.Recall100)
			}
			for _, w := range t.weights {
				if i > 0 {
					break
				}
				report, _, err := stored.Search(ctx, llmemory.SearchOptions{TextWeight: w})
				if err != nil {
					return err
				}
				r.weights[w] = report.Metrics.NDCG10
			}
			return nil
		}()
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	t.rows = append(t.rows, r)
	return nil
}

// progress tells every ten seconds how far the work is.
func (t *table) progress(format string, args ...any) {
	if time.Since(t.told) > 10*time.Second {
		t.told = time.Now()
		fmt.Fprintf(os.Stderr, "%s %s\n", t.told.Format(time.TimeOnly), fmt.Sprintf(format, args...))
	}
}

// kept keeps every vector, so that it is made once for all stores.
type kept struct {
	mu      sync.Mutex
	vectors map[embedding.Key][]float32
}

// load reads what save wrote; no file is an empty one.
func (k *kept) load(path string) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return gob.NewDecoder(bytes.NewReader(raw)).Decode(&k.vectors)
}

func (k *kept) save(path string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(k.vectors); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o666)
}

func (k *kept) Get(_ context.Context, keys []embedding.Key) [][]float32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([][]float32, len(keys))
	for i, key := range keys {
		out[i] = k.vectors[key]
	}
	return out
}

func (k *kept) Put(_ context.Context, keys []embedding.Key, vectors [][]float32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, key := range keys {
		k.vectors[key] = vectors[i]
	}
}

// heading says what made a table.
func (t *table) heading() string {
	return fmt.Sprintf("Model %s, %s on %s/%s.", t.embedder.Model().Model, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
