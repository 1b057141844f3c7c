package llmemory

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Ledger is the part of a [Store] that keeps what became of the files of runs. A run is one act of adding files.
type Ledger interface {
	// PutRun stores what is new of a run, in one transaction, and returns its id: its state and counts take the place of those that
	// are stored, its files are added, those of a number that is there already left alone. A run of id 0 is a new one, whose id
	// is one more than the highest of the owner's. ErrNotFound if the owner has no run of another id.
	PutRun(ctx context.Context, p PutRunParams) (int64, error)
	// Runs returns up to p.Limit runs of the owner, newest first.
	Runs(ctx context.Context, p RunsParams) ([]Run, error)
	// RunFiles returns up to p.Limit files of a run in the order of their numbers. An unknown run has none.
	RunFiles(ctx context.Context, p RunFilesParams) ([]RunFile, error)
	// SourceFiles returns up to p.Limit files in the order of their documents' ids: for each document of the origin that the
	// ledger knows, its newest file, if that is of the source and was not removed.
	SourceFiles(ctx context.Context, p SourceFilesParams) ([]RunFile, error)
	// Failures returns files that have one of p.SourceHashes, for each of these that the owner's ledger knows one at least.
	Failures(ctx context.Context, p FailuresParams) ([]RunFile, error)
	// ForgetRuns removes runs with their files, and returns how many there were.
	ForgetRuns(ctx context.Context, p ForgetRunsParams) (int, error)
}

// RunState tells how far a run is.
type RunState string

// The states of a run.
const (
	RunRunning  RunState = "running"
	RunComplete RunState = "complete" // every file has its outcome
	RunPartial  RunState = "partial"  // some files have been looked at, such as those that changed; others may follow
	RunStopped  RunState = "stopped"  // it was interrupted, or could not go on
	// RunLost is what running becomes when nothing has been heard of a run for two minutes: it was killed, or its machine went down.
	// It is never stored.
	RunLost RunState = "lost"
)

// lostAfter is how long after it was last written a run counts as lost.
const lostAfter = 2 * time.Minute

// lose tells of runs that are lost.
func lose(runs []Run) {
	for i := range runs {
		if r := &runs[i]; r.State == RunRunning && time.Since(r.UpdatedAt) > lostAfter {
			r.State = RunLost
		}
	}
}

// Skipped is the outcome of a file that holds nothing to add, and Removed that of a document whose file has gone.
const (
	Skipped Status = "skipped"
	Removed Status = "removed"
)

// Run is an act of adding files, with what became of them.
type Run struct {
	ID        int64 // counts the owner's runs
	OriginID  string
	Sources   []string // the folders and files that were named
	State     RunState
	StartedAt time.Time
	UpdatedAt time.Time // when it was last written
	// Counts of files and of what lies within them, by outcome.
	Created, Updated, Unchanged, Failed, Skipped, Removed int64
	Embedded                                              int64 // passages
	Fingerprint                                           []byte
}

// RunFile is what became of a file, or of what lies within one.
type RunFile struct {
	Number     int64  // within its run, from 1
	Source     string // the folder or file that was named
	Path       string
	DocumentID string // "" where there is no document
	Outcome    Status
	Reason     string // in a word, why it failed or was skipped, or what it lacks
	Message    string // the same for people
	Chunks     int
	SourceHash []byte // that of [Added]
}

// PutRunParams are the parameters of [Ledger.PutRun].
type PutRunParams struct {
	Owner string
	Run   Run // UpdatedAt does not count
	Files []RunFile
}

// RunsParams are the parameters of [Ledger.Runs].
type RunsParams struct {
	Owner  string
	ID     int64 // only this one; 0 for all
	Before int64 // only those of lower ids; 0 for all
	Limit  int
}

// RunFilesParams are the parameters of [Ledger.RunFiles].
type RunFilesParams struct {
	Owner    string
	Run      int64
	Outcomes []Status // only these; nil for all
	After    int64    // a number
	Limit    int
}

// SourceFilesParams are the parameters of [Ledger.SourceFiles].
type SourceFilesParams struct {
	Owner    string
	OriginID string
	Source   string
	After    string // a document id; "" for the beginning
	Limit    int
}

// FailuresParams are the parameters of [Ledger.Failures].
type FailuresParams struct {
	Owner        string
	SourceHashes [][]byte
}

// ForgetRunsParams are the parameters of [Ledger.ForgetRuns].
type ForgetRunsParams struct {
	Owner string
	Runs  []int64 // nil for all
}

// RunsOptions selects runs. The zero value lists the newest 20.
type RunsOptions struct {
	Before int64 // only runs of lower ids
	Limit  int   // at most so many; defaults to 20, at most 1000
}

// Runs returns the owner's runs, newest first. Nil options mean defaults.
func (o *Owner) Runs(ctx context.Context, opts *RunsOptions) ([]Run, error) {
	if opts == nil {
		opts = &RunsOptions{}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	limit, err := checkLimit("limit", opts.Limit, 20, maxLimit)
	if err != nil {
		return nil, err
	}
	runs, err := o.memory.store.Runs(ctx, RunsParams{Owner: o.id, Before: opts.Before, Limit: limit})
	lose(runs)
	return runs, err
}

// Run returns a run. [ErrNotFound] if the owner has none of that id: the oldest are forgotten.
func (o *Owner) Run(ctx context.Context, id int64) (*Run, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	runs, err := o.memory.store.Runs(ctx, RunsParams{Owner: o.id, ID: id, Limit: 1})
	if err == nil && (id == 0 || len(runs) == 0) {
		err = fmt.Errorf("run %d: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	lose(runs)
	return &runs[0], nil
}

// RunFilesOptions selects files of a run.
type RunFilesOptions struct {
	Outcomes []Status // only these; nil for all
	After    int64    // only files of higher numbers
	Limit    int      // at most so many; defaults to 100, at most 1000
}

// RunFiles returns what became of the files of a run, in the order in which it did. Nil options mean defaults.
func (o *Owner) RunFiles(ctx context.Context, run int64, opts *RunFilesOptions) ([]RunFile, error) {
	if opts == nil {
		opts = &RunFilesOptions{}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	limit, err := checkLimit("limit", opts.Limit, 100, maxLimit)
	if err != nil {
		return nil, err
	}
	return o.memory.store.RunFiles(ctx, RunFilesParams{Owner: o.id, Run: run, Outcomes: opts.Outcomes, After: opts.After, Limit: limit})
}

// SourceFiles returns what the ledger knows to come from a source: for each document of the origin whose newest entry is of that
// source, that entry. The documents may have been deleted since.
func (o *Owner) SourceFiles(ctx context.Context, origin, source string) ([]RunFile, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	var out []RunFile
	for after := ""; ; {
		page, err := o.memory.store.SourceFiles(ctx, SourceFilesParams{Owner: o.id, OriginID: cmp.Or(origin, "default"), Source: source, After: after,
			Limit: sourcePage})
		if err != nil {
			return nil, err
		}
		out = append(out, page...)
		if len(page) < sourcePage {
			return out, nil
		}
		after = page[len(page)-1].DocumentID
	}
}

const (
	sourcePage = 10_000
	// keepRuns is how many runs of an owner are kept, beside the last complete one of each source.
	keepRuns = 20
	// logBytes is how much of outcomes waits at most before it is written, once a run is written at all.
	logBytes = 1 << 20
)

// RunLog writes a run into the ledger. A run that changed nothing and ended like the last one is not written at all. It is safe for
// concurrent use.
type RunLog struct {
	owner   *Owner
	mu      sync.Mutex // of all that follows
	run     Run
	waiting []RunFile
	next    int64
	print   [4]uint64 // the sum of the hashes of all outcomes, whatever their order
	changed bool
	noted   map[string]Status // by path
}

// LogRun begins a run of files from sources, which are folders and files as [RunFile.Source] names them. Nothing is written yet.
func (o *Owner) LogRun(origin string, sources []string) *RunLog {
	return &RunLog{owner: o, next: 1, noted: map[string]Status{}, run: Run{OriginID: cmp.Or(origin, "default"), Sources: clean(sources), State: RunRunning,
		StartedAt: time.Now().UTC().Truncate(time.Microsecond)}}
}

func clean(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = cleanText(s)
	}
	return out
}

// cleanText makes text of a path, which may be any bytes.
func cleanText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

// Note adds an outcome to the run. Call it when the outcome is true: when the document is stored. Embedded are its passages that got
// a vector.
func (l *RunLog) Note(f RunFile, embedded int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note(f, embedded)
}

func (l *RunLog) note(f RunFile, embedded int) {
	f.Source, f.Path, f.Message = cleanText(f.Source), cleanText(f.Path), cleanText(f.Message)
	l.noted[f.Path] = f.Outcome
	f.Number = l.next
	l.next++
	l.run.Embedded += int64(embedded)
	class := "good"
	switch f.Outcome {
	case Created:
		l.run.Created++
		l.changed = true
	case Updated:
		l.run.Updated++
		l.changed = true
	case Removed:
		l.run.Removed++
		l.changed = true
		class = ""
	case Unchanged:
		l.run.Unchanged++
	case Failed:
		l.run.Failed++
		class = "failed"
	case Skipped:
		l.run.Skipped++
		class = "skipped"
	}
	if class != "" {
		of := []string{class, f.Source, f.Path, f.DocumentID, f.Reason}
		if len(f.SourceHash) > 0 {
			of = append(of, string(f.SourceHash))
		}
		sum := sha256.Sum256(digest(of...))
		for i := range l.print {
			l.print[i] += binary.BigEndian.Uint64(sum[8*i:])
		}
	}
	l.waiting = append(l.waiting, f)
}

// Flush writes what was noted if the run has changed anything by now; else that waits for the end.
func (l *RunLog) Flush(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flush(ctx)
}

func (l *RunLog) flush(ctx context.Context) error {
	if !l.changed {
		return nil
	}
	return l.write(ctx)
}

// Pause is Flush, and says that for now nothing more is done: until the next Flush the run is [RunPartial].
func (l *RunLog) Pause(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.run.State = RunPartial
	defer func() { l.run.State = RunRunning }()
	return l.flush(ctx)
}

// Alive tells the ledger that the run goes on. Call it every now and then while there is nothing to note, as a run of which nothing has
// been heard for two minutes is taken for lost.
func (l *RunLog) Alive(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.run.ID == 0 {
		return nil
	}
	_, err := l.owner.memory.store.PutRun(ctx, PutRunParams{Owner: l.owner.id, Run: l.run})
	return err
}

func (l *RunLog) write(ctx context.Context) error {
	for {
		n, size := 0, 0
		for n < len(l.waiting) && size < logBytes {
			size += 100 + len(l.waiting[n].Path) + len(l.waiting[n].Source) + len(l.waiting[n].Message)
			n++
		}
		run := l.run
		if n < len(l.waiting) {
			run.State = RunRunning
		}
		id, err := l.owner.memory.store.PutRun(ctx, PutRunParams{Owner: l.owner.id, Run: run, Files: l.waiting[:n]})
		if err != nil {
			return err
		}
		l.run.ID, l.waiting = id, l.waiting[n:]
		if len(l.waiting) == 0 {
			l.waiting = nil
			return nil
		}
	}
}

// End ends the run: complete if every file has its outcome. It returns the run as it is written, or nil if nothing was written,
// because nothing had changed since the last complete run of the same sources. Runs that are too many are forgotten.
func (l *RunLog) End(ctx context.Context, complete bool) (*Run, error) {
	if err := l.owner.check(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !complete && l.run.ID == 0 && !l.changed {
		return nil, nil
	}
	l.run.State = RunStopped
	var runs []Run
	if complete {
		l.run.State = RunComplete
		var err error
		if runs, err = l.owner.memory.store.Runs(ctx, RunsParams{Owner: l.owner.id, Limit: maxLimit}); err != nil {
			return nil, err
		}
		at := slices.IndexFunc(runs, func(r Run) bool { return r.State == RunComplete && r.sameSource(&l.run) })
		if at >= 0 {
			if err := l.carry(ctx, &runs[at]); err != nil {
				return nil, err
			}
		}
		for _, sum := range l.print {
			l.run.Fingerprint = binary.BigEndian.AppendUint64(l.run.Fingerprint, sum)
		}
		if !l.changed && at >= 0 && string(runs[at].Fingerprint) == string(l.run.Fingerprint) {
			return nil, nil
		}
	}
	if err := l.write(ctx); err != nil {
		return nil, err
	}
	if old := surplus(runs, &l.run); len(old) > 0 {
		if _, err := l.owner.memory.store.ForgetRuns(ctx, ForgetRunsParams{Owner: l.owner.id, Runs: old}); err != nil {
			return nil, err
		}
	}
	run := l.run
	return &run, nil
}

// carry takes over, from the last complete run, what lies within files that are unchanged: they were not read again, so nothing was
// noted of it.
func (l *RunLog) carry(ctx context.Context, last *Run) error {
	for after := int64(0); ; {
		page, err := l.owner.memory.store.RunFiles(ctx, RunFilesParams{Owner: l.owner.id, Run: last.ID, After: after, Limit: maxLimit})
		if err != nil {
			return err
		}
		for _, f := range page {
			after = f.Number
			if _, known := l.noted[f.Path]; known || f.Outcome == Removed || !l.withinUnchanged(f.Path) {
				continue
			}
			if f.Outcome == Created || f.Outcome == Updated {
				f.Outcome = Unchanged
			}
			l.note(f, 0)
		}
		if len(page) < maxLimit {
			return nil
		}
	}
}

func (l *RunLog) withinUnchanged(path string) bool {
	for at := strings.LastIndexByte(path, '/'); at > 0; at = strings.LastIndexByte(path[:at], '/') {
		if outcome, known := l.noted[path[:at]]; known {
			return outcome == Unchanged
		}
	}
	return false
}

func (r *Run) sameSource(other *Run) bool {
	return r.OriginID == other.OriginID && slices.Equal(r.Sources, other.Sources)
}

// surplus returns the runs, newest first, that need not be kept beside a newer one.
func surplus(runs []Run, newest *Run) (ids []int64) {
	known := []*Run{newest}
	for i := range runs {
		r := &runs[i]
		if r.ID == newest.ID {
			continue
		}
		last := r.State == RunComplete && !slices.ContainsFunc(known, r.sameSource)
		if r.State == RunComplete {
			known = append(known, r)
		}
		if i >= keepRuns-1 && !last {
			ids = append(ids, r.ID)
		}
	}
	return ids
}
