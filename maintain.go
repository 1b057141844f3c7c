package llmemory

import (
	"context"
	"errors"
	"time"

	"github.com/llmemory/llmemory/internal/analysis"
	"github.com/llmemory/llmemory/internal/postings"
)

// The merge policy. Like a log-structured merge tree, each size class holds fewer than fan segments: eager in Run, lazy in Add.
const (
	eagerFan  = 8
	lazyFan   = 16
	maxLeaves = 64 << 10 // leaves in the largest segment
	// maxMerge is the size of the largest segment that merging makes: a merge holds what it merges in memory.
	maxMerge = 128 << 20
)

// Run does what is to be done in the background until the context ends. It merges segments of the text index, purges what deletes
// left in it, and rebuilds indexes that another version of the analysis made. With an embedder it embeds what is queued, fills new
// generations, and lets the store keep up what indexes of vectors it has. Several processes may run it at once. A host that
// never calls it gets the merging in Add, less often. Faults are logged and tried again; the error is the context's, or
// [ErrClosed].
func (m *Memory) Run(ctx context.Context) error {
	loops := []func(context.Context) error{m.maintainLoop}
	if m.config.Embedder != nil {
		loops = append(loops, m.embedLoop, m.tuneLoop)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ends := make(chan error, len(loops))
	for _, loop := range loops {
		go func() { ends <- loop(ctx) }()
	}
	err := <-ends
	stop()
	for range loops[1:] {
		<-ends
	}
	return err
}

func (m *Memory) maintainLoop(ctx context.Context) error {
	return m.repeat(ctx, m.config.MaintenanceInterval, "llmemory: maintenance failed; it will be tried again", func() (bool, error) {
		steps, err := m.Maintain(ctx)
		return steps > 0, err
	})
}

// repeat does a step of some work again and again, until the context ends or the store is closed. It pauses when there was nothing
// to do and after a failure, which it logs.
func (m *Memory) repeat(ctx context.Context, pause time.Duration, failed string, step func() (worked bool, err error)) error {
	for {
		worked, err := step()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrClosed):
			return err
		case err != nil:
			m.config.Logger.WarnContext(ctx, failed, "error", err)
		case worked:
			continue
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// Maintain does the maintenance that is due now and returns how many steps it took.
func (m *Memory) Maintain(ctx context.Context) (int, error) {
	owners, err := m.store.Backlog(ctx, BacklogParams{Analysis: analysis.Version, Limit: 100})
	if err != nil {
		return 0, err
	}
	steps := 0
	var faults []error
	for _, owner := range owners {
		n, err := m.maintain(ctx, owner, eagerFan)
		steps += n
		if ctx.Err() != nil {
			return steps, ctx.Err()
		}
		if err != nil {
			faults = append(faults, err)
		}
	}
	return steps, errors.Join(faults...)
}

// maintain merges an owner's segments until the policy is content.
func (m *Memory) maintain(ctx context.Context, owner string, fan int) (steps int, err error) {
	for {
		w, err := m.edit(ctx, EditParams{Owner: owner, Analysis: analysis.Version})
		if err != nil {
			return steps, err
		}
		if done, err := w.mergeOnce(ctx, fan); err != nil || done {
			if rollback := w.edit.Rollback(ctx); err == nil {
				err = rollback
			}
			return steps, err
		}
		steps++
	}
}

func (w *writer) mergeOnce(ctx context.Context, fan int) (done bool, err error) {
	run := pickMerge(w.edit.Segments(), fan)
	if run == nil {
		return true, nil
	}
	sources, err := w.load(ctx, run)
	if err != nil {
		return false, err
	}
	leaves := 0
	for _, s := range run {
		leaves += s.Leaves - s.DeadCount
	}
	if err := w.put(ctx, sources, leaves); err != nil {
		return false, err
	}
	return false, w.commit(ctx)
}

// pickMerge returns the segments to merge into one next: neighbours, or one that is to be purged of its dead; nil if none. Small
// segments are left to folding.
func pickMerge(segments []Segment, fan int) []Segment {
	for class := foldLeaves; class <= maxLeaves; class *= 8 {
		from, total, size := 0, 0, int64(0) // the run of neighbours, none larger than the class, that ends at i
		for i, s := range segments {
			live := s.Leaves - s.DeadCount
			if small(s) || live >= class*8 {
				from, total, size = i+1, 0, 0
				continue
			}
			if total+live > maxLeaves || size+s.Bytes > maxMerge {
				from, total, size = i, 0, 0
			}
			total += live
			size += s.Bytes
			if i-from+1 >= fan {
				return segments[from : i+1]
			}
		}
	}
	for i, s := range segments {
		if s.DeadCount >= 64 && s.DeadCount*4 >= s.Leaves {
			return segments[i : i+1]
		}
	}
	return nil
}

// source makes a merge's source of a loaded segment.
func source(l LoadedSegment) (postings.MergeSource, error) {
	dead, err := deadSet(l.Segment)
	if err != nil {
		return postings.MergeSource{}, err
	}
	pages, err := openPages(l)
	if err != nil {
		return postings.MergeSource{}, err
	}
	return postings.MergeSource{Low: l.Low, High: l.High, Dead: dead, Blocks: pages.Blocks()}, nil
}

// reindex rebuilds an owner's text index from the stored text, for a new version of the analysis. It holds the owner's write lock;
// searches go on with the old index until it commits.
func (m *Memory) reindex(ctx context.Context, owner string) error {
	e, err := m.store.Edit(ctx, EditParams{Owner: owner, Analysis: analysis.Version})
	if err != nil {
		return err
	}
	defer e.Rollback(ctx) //nolint:errcheck // the first error is the one that matters
	state := e.State()
	if state.Analysis >= analysis.Version {
		return nil
	}
	w := &writer{m: m, owner: owner, edit: e, state: state, changes: Changes{Owner: owner}}
	for _, s := range e.Segments() {
		w.changes.DeleteSegments = append(w.changes.DeleteSegments, s.ID)
	}
	w.state.Analysis, w.state.Leaves, w.state.Length = analysis.Version, 0, 0
	started := time.Now()
	for after := int64(-1); ; {
		page, err := e.Leaves(ctx, LeavesParams{Owner: owner, After: after, Limit: 8 * foldLeaves})
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, l := range page {
			tokens, length, _ := m.analyseLeaf(l.Language, l.DocumentName, l.Heading, l.Context, l.Text)
			if err := w.indexLeaf(ctx, postings.Doc{Ordinal: l.Ordinal, Tokens: tokens, Length: length}); err != nil {
				return err
			}
			w.changes.SetLengths = append(w.changes.SetLengths, LeafLength{Ordinal: l.Ordinal, Length: length})
			w.state.Leaves++
			w.state.Length += int64(length)
			after = int64(l.Ordinal)
		}
	}
	if err := w.seal(ctx); err != nil {
		return err
	}
	if err := w.finish(ctx); err != nil {
		return err
	}
	m.config.Logger.InfoContext(ctx, "llmemory: rebuilt a text index for a new version of the analysis",
		"leaves", w.state.Leaves, "took", time.Since(started))
	return nil
}
