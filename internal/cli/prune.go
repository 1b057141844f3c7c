package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/llmemory/llmemory"
)

// prune deletes the documents that came from the named folders and whose files have gone.
func (n *addition) prune(ctx context.Context, g *gathered) error {
	for _, folder := range g.folders {
		if err := n.pruneFolder(ctx, n.template.OriginID, folder, g.given[folder], !slices.Contains(g.partial, folder)); err != nil {
			return err
		}
	}
	return nil
}

// pruneBatch is how many documents are deleted in a transaction.
const pruneBatch = 500

// pruneFolder deletes the documents that came from a folder in runs of an origin, and whose files have gone; given is what the user
// calls it, whole tells that all of it could be read.
func (n *addition) pruneFolder(ctx context.Context, origin, folder, given string, whole bool) error {
	if !whole {
		n.note("%s: nothing is pruned, as a part of it could not be read", shown(given))
		return nil
	}
	known, err := n.owner.SourceFiles(ctx, origin, folder)
	if err != nil {
		return err
	}
	var gone []llmemory.RunFile
	for _, f := range known {
		if n.stored[f.DocumentID] || n.present(&f) {
			continue
		}
		switch _, err := n.owner.Get(ctx, f.DocumentID); {
		case errors.Is(err, llmemory.ErrNotFound): // somebody has deleted it
		case err != nil:
			return err
		default:
			gone = append(gone, f)
		}
	}
	for batch := range slices.Chunk(gone, pruneBatch) {
		if !n.opts.dryRun {
			ids := make([]string, len(batch))
			for i, f := range batch {
				ids[i] = f.DocumentID
			}
			if _, err := n.owner.Delete(ctx, ids...); err != nil {
				return err
			}
		}
		for _, f := range batch {
			path := f.Path
			if below, err := filepath.Rel(folder, path); err == nil {
				path = filepath.Join(given, below)
			}
			n.done[llmemory.Removed]++
			f.Outcome, f.Reason, f.Message, f.Chunks = llmemory.Removed, "", "", 0
			n.log.Note(f, 0)
			if n.opts.json {
				_ = n.printJSON(addedJSON{Path: path, DocumentID: f.DocumentID, Status: llmemory.Removed}) // Main reports if that failed
			} else {
				n.printf("%-9s  %s  %s\n", llmemory.Removed, f.DocumentID, shown(path))
			}
		}
		if n.opts.dryRun {
			continue
		}
		if err := n.log.Flush(ctx); err != nil {
			return fmt.Errorf("write the ledger: %w", err)
		}
	}
	return nil
}

// present tells whether a document's file, or what lies within one, is there still as far as this run can tell: it was seen, if only as
// one that cannot be read, and not found to be of another document; or it lies within a file that did not have to be read again, or
// could not be.
func (n *addition) present(f *llmemory.RunFile) bool {
	if s, seen := n.seen[f.Path]; seen {
		return s.document == "" || s.document == f.DocumentID
	}
	for at := strings.LastIndexByte(f.Path, '/'); at > 0; at = strings.LastIndexByte(f.Path[:at], '/') {
		switch n.seen[f.Path[:at]].status {
		case llmemory.Unchanged, llmemory.Failed, llmemory.Skipped:
			return true
		}
	}
	return false
}

// plan is what a run would take.
type plan struct{ passages, tokens int }

func (p *plan) add(r *llmemory.Added) {
	if r.Tokens > 0 {
		p.passages += r.Chunks - r.ChunksReused
		p.tokens += r.Tokens
	}
}

// concludeDry tells what a run would do.
func (n *addition) concludeDry(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	n.note("would create %d, update %d, leave %d, fail on %d, skip %d, remove %d", n.done[llmemory.Created], n.done[llmemory.Updated],
		n.done[llmemory.Unchanged], n.done[llmemory.Failed], n.skipped, n.done[llmemory.Removed])
	n.plannedNotes()
	if n.model == nil || n.plan.tokens == 0 {
		return nil
	}
	text := fmt.Sprintf("would embed %s, about %d tokens", plural(n.plan.passages, "passage"), n.plan.tokens)
	if price := n.model.Model().PricePerMillionTokens; price > 0 {
		text += fmt.Sprintf(", for about $%.4f", price*float64(n.plan.tokens)/1e6)
	}
	runs, err := n.owner.Runs(ctx, nil)
	if err != nil {
		return err
	}
	for _, r := range runs {
		if took := r.UpdatedAt.Sub(r.StartedAt).Seconds(); r.Embedded > 0 && took > 0 {
			seconds := float64(n.plan.passages) * took / float64(r.Embedded)
			text += fmt.Sprintf(", in about %s at the rate of run %d", roughly(time.Duration(seconds*float64(time.Second))), r.ID)
			break
		}
	}
	n.note("%s", text)
	return nil
}
