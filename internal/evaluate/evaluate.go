// Package evaluate measures how well the searches of a memory find what people judged to be relevant: it stores a collection of
// package eval for an owner made for it, asks its questions, and removes it.
package evaluate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/eval"
)

const (
	// batchDocuments and batchBytes bound what one call stores.
	batchDocuments = 128
	batchBytes     = 4 << 20
	// cleanupTime is how long the deletion of the scratch owner may take after an interrupt.
	cleanupTime = 5 * time.Minute
)

// Config says what to measure.
type Config struct {
	Memory     *llmemory.Memory
	Collection *eval.Collection
	Name       string // of the collection
	ByOrigin   bool   // the part of an id before the first "/" is its origin, and a question searches its own origin only
	Limit      int    // passages to rank for each question, 1 to 1000
	TextOnly   bool   // no search will compare vectors, so none is made
	Untimed    bool   // ask each question once, for the metrics alone
	// Progress is told how far the work is; Degraded what an answer lacks, each thing once. Either may be nil.
	Progress func(format string, args ...any)
	Degraded func(reason string)
}

// Evaluation is a collection that is stored and ready to be searched.
type Evaluation struct {
	config Config
	owner  *llmemory.Owner
	report eval.Report
	keys   map[string]string // document id → its id in the collection
	places map[string]int    // id in the collection → place in the corpus
	told   map[string]bool
}

// Store stores the collection for an owner of its own: each document with its id as key, no name, and title, blank line and text as
// content; wholly empty ones are skipped. [Evaluation.Close] removes it, and Store itself if it fails.
func Store(ctx context.Context, c Config) (*Evaluation, error) {
	e := &Evaluation{
		config: c, owner: c.Memory.Owner("llmemory-eval-" + strings.ToLower(rand.Text())), report: eval.Report{Dataset: c.Name},
		keys: make(map[string]string, c.Collection.Len()), places: make(map[string]int, c.Collection.Len()), told: map[string]bool{},
	}
	started := time.Now()
	if err := e.ingest(ctx); err != nil {
		return nil, errors.Join(err, e.Close(ctx))
	}
	e.report.IngestSeconds = float64(time.Since(started).Milliseconds()) / 1000
	return e, nil
}

// Close removes what was stored, also when ctx has ended.
func (e *Evaluation) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	e.progress("cleaning up")
	if _, err := e.owner.DeleteAll(ctx); err != nil {
		return fmt.Errorf("documents of the run are left: run \"llmemory delete --all --yes --owner %s\": %w", e.owner.ID(), err)
	}
	return nil
}

func (e *Evaluation) progress(format string, args ...any) {
	if e.config.Progress != nil {
		e.config.Progress(format, args...)
	}
}

func (e *Evaluation) ingest(ctx context.Context) error {
	c := e.config.Collection
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
				return fmt.Errorf("document %q: %v", batch[i].Key, r.Err) // the collection's fault, not the caller's: no %w
			}
			e.keys[r.DocumentID] = batch[i].Key
			e.places[batch[i].Key] = len(e.places)
		}
		e.report.Documents += len(batch)
		e.progress("%s: %d of %d documents", e.config.Name, e.report.Documents, c.Len())
		batch, size = batch[:0], 0
		return nil
	}
	for d, err := range c.Documents() {
		if err != nil {
			return err
		}
		content := d.Content()
		if content == "" {
			e.report.Skipped++
			continue
		}
		doc := llmemory.Document{Key: d.ID, Content: content}
		if e.config.TextOnly {
			doc.Embed = llmemory.EmbedNever // vectors that no search compares need not be paid for
		}
		if e.config.ByOrigin {
			if doc.OriginID, err = originOf(d.ID); err != nil {
				return fmt.Errorf("document %w", err)
			}
		}
		batch = append(batch, doc)
		if size += len(content); len(batch) < batchDocuments && size < batchBytes {
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

// Search asks every question that has judgements, twice: as a user would, with these options, which is what the latency tells (and
// which Config.Untimed leaves out); and for as many passages as Config.Limit says, which is what the metrics are made of. A document
// is ranked by its best passage.
func (e *Evaluation) Search(ctx context.Context, options llmemory.SearchOptions) (*eval.Report, *eval.Scores, error) {
	run := eval.Run{}
	var took []time.Duration
	queries := e.config.Collection.Judged()
	for i, q := range queries {
		asked := options
		if e.config.ByOrigin {
			origin, err := originOf(q.ID)
			if err != nil {
				return nil, nil, fmt.Errorf("query %w", err)
			}
			asked.Origins = []string{origin}
		}
		if !e.config.Untimed {
			started := time.Now()
			if _, err := e.owner.Search(ctx, q.Text, &asked); err != nil {
				return nil, nil, fmt.Errorf("query %q: %w", q.ID, err)
			}
			took = append(took, time.Since(started))
		}
		asked.Limit, asked.Snippet = e.config.Limit, -1
		result, err := e.owner.Search(ctx, q.Text, &asked)
		if err != nil {
			return nil, nil, fmt.Errorf("query %q: %w", q.ID, err)
		}
		for _, d := range result.Degraded {
			if !e.told[d] && e.config.Degraded != nil {
				e.config.Degraded(d)
			}
			e.told[d] = true
		}
		passages := make([]eval.Result, len(result.Hits))
		for j, h := range result.Hits {
			passages[j] = eval.Result{ID: e.keys[h.DocumentID], Score: h.Score}
		}
		run[q.ID] = eval.SettleTies(eval.BestPassages(passages), func(id string) int { return e.places[id] })
		e.progress("%s: %d of %d queries", e.config.Name, i+1, len(queries))
	}
	scores, err := eval.Evaluate(e.config.Collection.Qrels, run)
	if err != nil {
		return nil, nil, err
	}
	report := e.report
	report.Mode, report.Embedder = string(options.Mode), "none"
	report.LatencyMS, report.Metrics, report.Queries = eval.Latencies(took), scores.Mean, len(scores.PerQuery)
	return &report, scores, nil
}
