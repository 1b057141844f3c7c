package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/eval"
	"github.com/llmemory/llmemory/internal/evaluate"
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
or a list of these when several DIRs are named.

With --chunking each DIR holds whole documents, and questions with the very
sentences that answer them:

  docs/NAME.EXT     the documents
  gold_spans.jsonl  {"_id","doc","question","spans":[[start,end]],"text":[""]} a
                    line, with offsets in characters

Every strategy cuts the documents, the passages are embedded, and the best five
for each question are compared with what answers it: how much of that was found
(recall), how much of what was found is that (precision), and both in one (IoU),
by the method of Smith and Troynikov, Evaluating Chunking Strategies for
Retrieval, Chroma 2024; and the recall of as many passages as have 1,000 tokens
together, since five large ones find more. Nothing is stored. With --json:
  {"dataset","documents","questions","embedder","top",
   "strategies":[{"name","signature","chunks","tokens","recall","precision","iou","recall_1000"}]}`

func (a *app) evalCommand() *cobra.Command {
	return a.command("eval DIR...", "Measure search quality on a collection", evalHelp, atLeastOne("DIR"), a.eval)
}

func (a *app) eval(ctx context.Context, dirs []string) error {
	if a.opts.chunking {
		return a.evalChunking(ctx, dirs)
	}
	if err := checkLimit("limit", a.opts.limit); err != nil {
		return err
	}
	if _, err := a.searchOptions(); err != nil {
		return err
	}
	collections, err := openCollections(dirs, eval.Open) // all faults come before hours of work
	if err != nil {
		return err
	}
	memory, closer, err := a.open(ctx, a.opts.mode != string(llmemory.ByText))
	if err != nil {
		return err
	}
	defer closer()
	return measure(a, collections, func(c *eval.Collection, name string, p *progress) (*eval.Report, error) {
		report, _, err := a.evaluate(ctx, memory, c, name, p)
		return report, err
	})
}

// collection is what is in a folder, with the folder's name.
type collection[C any] struct {
	dir, name string
	content   C
}

func openCollections[C any](dirs []string, open func(fs.FS) (C, error)) ([]collection[C], error) {
	out := make([]collection[C], len(dirs))
	for i, dir := range dirs {
		absolute, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("collection %s: %w", dir, err)
		}
		content, err := open(os.DirFS(dir))
		if missing := (*fs.PathError)(nil); errors.As(err, &missing) {
			return nil, fmt.Errorf("collection: open %s: %w", filepath.Join(dir, missing.Path), missing.Err)
		}
		if err != nil {
			return nil, fmt.Errorf("collection %s: %w", dir, err)
		}
		out[i] = collection[C]{dir, filepath.Base(absolute), content}
	}
	return out, nil
}

// measure makes a report of each collection and prints it: as text at once, as JSON in the end, one as it is and several as a list.
func measure[C any, R interface{ WriteText(w io.Writer) error }](a *app, collections []collection[C],
	report func(content C, name string, p *progress) (R, error)) error {
	reports := make([]R, len(collections))
	for i, c := range collections {
		progress := a.progress()
		var err error
		reports[i], err = report(c.content, c.name, progress)
		progress.clear()
		if err != nil {
			return fmt.Errorf("collection %s: %w", c.dir, err)
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

// evaluate measures one collection.
func (a *app) evaluate(ctx context.Context, memory *llmemory.Memory, c *eval.Collection, name string, progress *progress) (
	_ *eval.Report, _ *eval.Scores, err error) {
	options, err := a.searchOptions()
	if err != nil {
		return nil, nil, err
	}
	// A mode that cannot be searched in is to be known before hours of work.
	if _, err := memory.Owner("llmemory-eval").Search(ctx, "probe", &options); err != nil {
		return nil, nil, err
	}
	stored, err := evaluate.Store(ctx, evaluate.Config{
		Memory: memory, Collection: c, Name: name, ByOrigin: a.opts.byOrigin, Limit: a.opts.limit, TextOnly: options.Mode == llmemory.ByText,
		Progress: progress.show, Degraded: func(reason string) {
			progress.clear()
			a.note("degraded: %s", a.explained(reason))
		},
	})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, stored.Close(ctx)) }()
	report, scores, err := stored.Search(ctx, options)
	if err != nil {
		return nil, nil, err
	}
	if options.Mode != llmemory.ByText {
		model, err := a.embedder()
		if err != nil {
			return nil, nil, err
		}
		if model != nil {
			report.Embedder = modelName(model.Model())
		}
	}
	return report, scores, nil
}

// evalChunking measures ways to cut documents.
func (a *app) evalChunking(ctx context.Context, dirs []string) error {
	collections, err := openCollections(dirs, eval.OpenExcerpts)
	if err != nil {
		return err
	}
	model, err := a.embedder()
	if err != nil {
		return err
	}
	if model == nil {
		return usagef("--chunking compares passages by their vectors, and there is no embedder: \"llmemory models pull\" fetches a model that runs here")
	}
	vectors := embedding.Reuse(model, embedding.NewLRU(100_000), "eval") // strategies have many passages in common
	return measure(a, collections, func(e *eval.Excerpts, name string, p *progress) (*eval.ChunkingReport, error) {
		report, err := evaluate.Chunking(ctx, evaluate.ChunkingConfig{
			Excerpts: e, Name: name, Embedder: vectors, Strategies: evaluate.Strategies(vectors), Progress: p.show,
		})
		if err == nil {
			report.Embedder = modelName(model.Model())
		}
		return report, err
	})
}
