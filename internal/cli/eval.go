package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/eval"
)

const evalHelp = `
Measures how well searches find what people judged to be relevant. Each DIR is a
collection:

  corpus.jsonl    {"_id","title","text"} a line
  queries.jsonl   {"_id","text"} a line
  qrels.tsv       a header line, then query id, document id and grade, by tabs

Every document is stored for an owner made for the run, with its id as key, no
name, and title, blank line and text as content; wholly empty ones are skipped
and counted. Its best passage ranks it. The owner's documents are deleted
afterwards, however the run ends.

Each query is asked twice: as a user would, for ten passages, which is what the
latency tells, and for as many as --limit says, which is what the metrics are
made of. They average over the queries with at least one relevant document.

With --json:
  {"dataset","documents","queries","mode","embedder","metrics":{"ndcg@10","recall@100","map","mrr@10","success@5"},
   "latency_ms":{"p50","p95","p99"},"ingest_seconds"}
or a list of these when several DIRs are named.`

func (a *app) evalCommand() *cobra.Command {
	return a.command("eval DIR...", "Measure search quality on a collection", evalHelp, atLeastOne("DIR"), a.eval)
}

func (a *app) eval(ctx context.Context, dirs []string) error {
	if err := checkLimit("limit", a.opts.limit); err != nil {
		return err
	}
	if _, err := a.searchOptions(); err != nil {
		return err
	}
	collections := make([]*eval.Collection, len(dirs))
	for i, dir := range dirs { // all faults come before hours of work
		c, err := eval.Open(os.DirFS(dir))
		if missing := (*fs.PathError)(nil); errors.As(err, &missing) {
			return fmt.Errorf("collection: open %s: %w", filepath.Join(dir, missing.Path), missing.Err)
		}
		if err != nil {
			return fmt.Errorf("collection %s: %w", dir, err)
		}
		collections[i] = c
	}
	memory, closer, err := a.open(ctx, a.opts.mode != string(llmemory.ByText))
	if err != nil {
		return err
	}
	defer closer()
	reports := make([]*eval.Report, len(dirs))
	for i, c := range collections {
		absolute, err := filepath.Abs(dirs[i])
		if err != nil {
			return fmt.Errorf("collection %s: %w", dirs[i], err)
		}
		run := evaluation{app: a, collection: c, name: filepath.Base(absolute), progress: a.progress()}
		reports[i], err = run.do(ctx, memory)
		run.progress.clear()
		if err != nil {
			return fmt.Errorf("collection %s: %w", dirs[i], err)
		}
		if a.opts.json {
			continue
		}
		if i > 0 {
			a.printf("\n")
		}
		if err := reports[i].WriteText(a.stdout); err != nil {
			return err
		}
	}
	switch {
	case !a.opts.json:
		return nil
	case len(reports) == 1:
		return a.printJSON(reports[0])
	}
	return a.printJSON(reports)
}

// evaluation is the evaluation of one collection.
type evaluation struct {
	*app
	collection *eval.Collection
	name       string
	progress   *progress
	owner      *llmemory.Owner

	report eval.Report
	scores *eval.Scores
	keys   map[string]string // document id → its id in the collection
	places map[string]int    // id in the collection → place in the corpus
}

// cleanupTime is how long the deletion of the scratch owner may take after an interrupt.
const cleanupTime = 5 * time.Minute

func (e *evaluation) do(ctx context.Context, memory *llmemory.Memory) (_ *eval.Report, err error) {
	e.owner = memory.Owner("llmemory-eval-" + strings.ToLower(rand.Text()))
	e.report = eval.Report{Dataset: e.name, Mode: e.opts.mode, Embedder: "none"}
	if e.opts.mode != string(llmemory.ByText) {
		model, err := e.embedder()
		if err != nil {
			return nil, err
		}
		if model != nil {
			e.report.Embedder = modelName(model.Model())
		}
	}
	e.keys = make(map[string]string, e.collection.Len())
	e.places = make(map[string]int, e.collection.Len())
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		e.progress.show("cleaning up")
		if _, failed := e.owner.DeleteAll(ctx); failed != nil {
			err = errors.Join(err, fmt.Errorf("documents of the run are left: run \"llmemory delete --all --yes --owner %s\": %w",
				e.owner.ID(), failed))
		}
	}()
	// A mode that cannot be searched in is to be known before hours of work, too.
	options, err := e.searchOptions()
	if err != nil {
		return nil, err
	}
	if _, err := e.owner.Search(ctx, "probe", &options); err != nil {
		return nil, err
	}
	started := time.Now()
	if err := e.ingest(ctx); err != nil {
		return nil, err
	}
	e.report.IngestSeconds = float64(time.Since(started).Milliseconds()) / 1000
	run, err := e.search(ctx)
	if err != nil {
		return nil, err
	}
	if e.scores, err = eval.Evaluate(e.collection.Qrels, run); err != nil {
		return nil, err
	}
	e.report.Metrics = e.scores.Mean
	e.report.Queries = len(e.scores.PerQuery)
	return &e.report, nil
}

func (e *evaluation) ingest(ctx context.Context) error {
	var batch []llmemory.Document
	size := 0
	flush := func() error {
		results, err := e.owner.AddMany(ctx, batch)
		if err != nil {
			return err
		}
		for i, r := range results {
			if r.EmbedErr != nil {
				return fmt.Errorf("document %q: %w", batch[i].Key, r.EmbedErr)
			}
			if r.Err != nil {
				return fmt.Errorf("document %q: %v", batch[i].Key, r.Err) // the collection's fault, not the command line's: no %w
			}
			e.keys[r.DocumentID] = batch[i].Key
			e.places[batch[i].Key] = len(e.places)
		}
		e.report.Documents += len(batch)
		e.progress.show("%s: %d of %d documents", e.name, e.report.Documents, e.collection.Len())
		batch, size = batch[:0], 0
		return nil
	}
	for d, err := range e.collection.Documents() {
		if err != nil {
			return err
		}
		content := d.Content()
		if content == "" {
			e.report.Skipped++
			continue
		}
		doc := llmemory.Document{Key: d.ID, Content: content}
		if e.opts.mode == string(llmemory.ByText) {
			doc.Embed = llmemory.EmbedNever // vectors that no search compares need not be paid for
		}
		if e.opts.byOrigin {
			if doc.OriginID, err = originOf(d.ID); err != nil {
				return fmt.Errorf("document %w", err)
			}
		}
		batch = append(batch, doc)
		if size += len(content); len(batch) < 4*batchDocuments && size < batchBytes {
			continue
		}
		if err := flush(); err != nil {
			return err
		}
	}
	if len(batch) > 0 {
		return flush()
	}
	return nil
}

func originOf(id string) (string, error) {
	origin, _, ok := strings.Cut(id, "/")
	if !ok || origin == "" {
		return "", fmt.Errorf("%q: --by-origin needs ids with an origin before a \"/\"", id)
	}
	return origin, nil
}

func (e *evaluation) search(ctx context.Context) (eval.Run, error) {
	run := eval.Run{}
	var took []time.Duration
	told := map[string]bool{}
	queries := e.collection.Judged()
	for i, q := range queries {
		options, err := e.searchOptions()
		if err != nil {
			return nil, err
		}
		if e.opts.byOrigin {
			origin, err := originOf(q.ID)
			if err != nil {
				return nil, fmt.Errorf("query %w", err)
			}
			options.Origins = []string{origin}
		}
		asked := time.Now()
		if _, err := e.owner.Search(ctx, q.Text, &options); err != nil {
			return nil, fmt.Errorf("query %q: %w", q.ID, err)
		}
		took = append(took, time.Since(asked))
		options.Limit, options.Snippet = e.opts.limit, -1
		result, err := e.owner.Search(ctx, q.Text, &options)
		if err != nil {
			return nil, fmt.Errorf("query %q: %w", q.ID, err)
		}
		for _, d := range result.Degraded {
			if !told[d] {
				e.progress.clear()
				e.note("degraded: %s", e.explained(d))
				told[d] = true
			}
		}
		passages := make([]eval.Result, len(result.Hits))
		for j, h := range result.Hits {
			passages[j] = eval.Result{ID: e.keys[h.DocumentID], Score: h.Score}
		}
		run[q.ID] = eval.SettleTies(eval.BestPassages(passages), func(id string) int { return e.places[id] })
		e.progress.show("%s: %d of %d queries", e.name, i+1, len(queries))
	}
	e.report.LatencyMS = eval.Latencies(took)
	return run, nil
}
