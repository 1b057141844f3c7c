package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
)

// Options say what is moved, and how.
type Options struct {
	// Owner is the owner whose documents are moved, and no other's.
	Owner string
	// AllOwners moves the documents of all owners instead, an act of administration. It goes without Owner and ToOwner.
	AllOwners bool
	// ToOwner is who has the documents in the target. Empty means Owner. Ids derive from the owner: they become those that the
	// new owner's own documents would have. Export, which has no target, takes none.
	ToOwner string
	// IfExists says what becomes of a document in the target in whose place another is to come; see
	// [llmemory.RestoreOptions.IfExists]. By default it is replaced unless it was changed later.
	IfExists llmemory.IfExists
	// NoVectors leaves generations and vectors behind. The target queues everything for the generations it has.
	NoVectors bool
	// Report, if not nil, is told how far the work is, after each batch.
	Report func(Progress)
	// Failed, if not nil, is told of each document that was not moved, and why. The others are gone on with.
	Failed func(Failure)
}

func (o *Options) validate(target bool) error {
	switch {
	case o.AllOwners == (o.Owner != ""):
		return &llmemory.InvalidError{Field: "owner", Rule: "must be named, or all owners be meant, not both"}
	case o.ToOwner != "" && (o.AllOwners || !target):
		return &llmemory.InvalidError{Field: "to_owner", Rule: "goes with one owner whose documents are stored"}
	}
	return nil
}

// Progress tells how far the work is.
type Progress struct {
	Owner     string // whose documents are being moved
	Documents int64  // read so far
	Total     int64  // documents to read, 0 if unknown
	Verified  int64  // documents of the target compared so far, when all have been moved
	ToVerify  int64  // and how many these are; 0 before
}

// Failure is a document that was not moved.
type Failure struct {
	Owner, OriginID, Key string
	Line                 int // of the file, 0 without one
	Err                  error
}

// Counts are what an owner has, or what was moved of it.
type Counts struct {
	Owner     string  `json:"owner"`
	Documents int64   `json:"documents"`
	Leaves    int64   `json:"leaves"`
	Parents   int64   `json:"parents"`
	Vectors   []int64 `json:"vectors"` // in the order of Result.Generations
}

func (c *Counts) add(s *llmemory.Snapshot) {
	c.Documents++
	c.Leaves += int64(len(s.Leaves))
	c.Parents += int64(len(s.Parents))
	for i := range c.Vectors {
		c.Vectors[i] += vectorsOf(s, int64(i))
	}
}

func vectorsOf(s *llmemory.Snapshot, generation int64) (n int64) {
	for _, v := range s.Vectors[generation] {
		if v != nil {
			n++
		}
	}
	return n
}

// tally counts by owner.
type tally struct {
	generations int
	owners      map[string]*Counts
}

func newTally(generations int) *tally { return &tally{generations, map[string]*Counts{}} }

func (t *tally) of(owner string) *Counts {
	c := t.owners[owner]
	if c == nil {
		c = &Counts{Owner: owner, Vectors: make([]int64, t.generations)}
		t.owners[owner] = c
	}
	return c
}

func (t *tally) list() []Counts {
	out := []Counts{}
	for _, owner := range slices.Sorted(maps.Keys(t.owners)) {
		out = append(out, *t.owners[owner])
	}
	return out
}

// Result is what was moved.
type Result struct {
	Generations []Generation
	// Owners counts what was read, by owner of the source, in ascending order.
	Owners []Counts
	// Created, Updated, Unchanged, Kept and Failed are how many documents were new in the target, took the place of others, were
	// there just so, were left although they differ, or were refused. An export counts none of these.
	Created, Updated, Unchanged, Kept, Failed int64
	// Skipped are documents of a file that are not of the owner that was asked for.
	Skipped int64
	// Verified says that all that was stored was read back and is what was read: an import or copy that returns no error.
	Verified bool
}

// Documents returns how many documents were read.
func (r *Result) Documents() (n int64) {
	for _, c := range r.Owners {
		n += c.Documents
	}
	return n
}

// Generation is a set of vectors that is moved along.
type Generation struct {
	Model   embedding.ModelInfo
	Profile llmemory.Profile
	State   llmemory.GenerationState
}

// VerifyError says that the target has not what was moved into it: another program changed it meanwhile, or it lost something. It
// matches [llmemory.ErrCorrupt].
type VerifyError struct {
	Want, Got Counts   // of an owner of the target: what was stored, and what of it was found
	Documents []string // ids of documents that are missing or differ, the first few
}

// Error implements error.
func (e *VerifyError) Error() string {
	return fmt.Sprintf("owner %q: the target has %s of what was stored, which is %s; differing or missing: %s (was it changed meanwhile? run it again)",
		e.Want.Owner, e.Got.text(), e.Want.text(), fmt.Sprint(e.Documents))
}

// Unwrap makes errors.Is(err, llmemory.ErrCorrupt) true.
func (e *VerifyError) Unwrap() error { return llmemory.ErrCorrupt }

func (c *Counts) text() string {
	return fmt.Sprintf("%d documents, %d leaves, %d parents, %v vectors", c.Documents, c.Leaves, c.Parents, c.Vectors)
}

// item is a document on its way. Its vectors are by the position of their generation in the source's list.
type item struct {
	owner    string
	snapshot llmemory.Snapshot
	line     int // of the file, 0 without one
}

// source is where documents come from, an owner's one after the other.
type source interface {
	// begin returns the generations whose vectors come along.
	begin(ctx context.Context) ([]Generation, error)
	// next returns the next document, io.EOF after the last.
	next(ctx context.Context) (*item, error)
	// total returns how many documents there are, 0 if that is unknown.
	total() int64
}

// target is where documents go.
type target interface {
	begin(ctx context.Context, generations []Generation) error
	put(ctx context.Context, d *item) error
	// flush stores what is held back.
	flush(ctx context.Context) error
	// end completes the whole, of which counts were put.
	end(ctx context.Context, counts []Counts) error
}

// Export writes documents to w. Each document is as of one instant, the export as a whole is not: what others add, change or delete
// meanwhile may be in it or not. The result is not nil with an error, and counts what was done until then.
func Export(ctx context.Context, from *llmemory.Memory, w io.Writer, opts Options) (*Result, error) {
	m := &move{opts: opts}
	if err := opts.validate(false); err != nil {
		return &m.result, err
	}
	return m.run(ctx, newStoreSource(from, opts), newWriter(w, from))
}

// Import stores what [Export] wrote: the documents of one owner, or of all, in the file. Generations that the target lacks are made;
// in a target without any, the one that was active in the source is active. Faults of the file are [*LineError]; what stands before
// the line is stored then. The result is not nil with an error, and counts what was done until then.
func Import(ctx context.Context, to *llmemory.Memory, r io.Reader, opts Options) (*Result, error) {
	m := &move{opts: opts}
	if err := opts.validate(true); err != nil {
		return &m.result, err
	}
	return m.run(ctx, newReader(r), newStoreTarget(to, m))
}

// Copy stores in one store what another has, as if it were exported and imported.
func Copy(ctx context.Context, from, to *llmemory.Memory, opts Options) (*Result, error) {
	m := &move{opts: opts}
	if err := opts.validate(true); err != nil {
		return &m.result, err
	}
	return m.run(ctx, newStoreSource(from, opts), newStoreTarget(to, m))
}

// move is one run.
type move struct {
	opts   Options
	result Result
	tally  *tally
	read   int64
	count  int64 // documents to read
	owner  string
}

func (m *move) run(ctx context.Context, from source, to target) (*Result, error) {
	err := m.pour(ctx, from, to)
	if m.tally != nil {
		m.result.Owners = m.tally.list()
	}
	return &m.result, err
}

func (m *move) pour(ctx context.Context, from source, to target) error {
	generations, err := from.begin(ctx)
	if err != nil {
		return err
	}
	if m.opts.NoVectors {
		generations = nil
	}
	m.result.Generations = generations
	m.tally = newTally(len(generations))
	m.count = from.total()
	if err := to.begin(ctx, generations); err != nil {
		return err
	}
	for {
		d, err := from.next(ctx)
		if err == io.EOF { //nolint:errorlint // a fault may wrap it
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return errors.Join(err, to.flush(ctx)) // what came before is good
		}
		if !m.opts.AllOwners && d.owner != m.opts.Owner {
			m.result.Skipped++
			continue
		}
		if m.opts.NoVectors {
			d.snapshot.Vectors = nil
		}
		m.owner = d.owner
		m.read++
		m.tally.of(d.owner).add(&d.snapshot)
		if err := to.put(ctx, d); err != nil {
			return err
		}
		if m.read%progressEvery == 0 {
			m.report(0, 0)
		}
	}
	if err := to.end(ctx, m.tally.list()); err != nil {
		return err
	}
	m.report(0, 0)
	return nil
}

// progressEvery is how many documents there are between two reports.
const progressEvery = 16

func (m *move) report(verified, of int64) {
	if m.opts.Report != nil {
		m.opts.Report(Progress{Owner: m.owner, Documents: m.read, Total: m.count, Verified: verified, ToVerify: of})
	}
}

// fresh returns a memory's store that shows all that was committed.
func fresh(m *llmemory.Memory) llmemory.Store {
	if r, ok := m.Store().(llmemory.Replicated); ok {
		return r.Primary()
	}
	return m.Store()
}

// targetOwner returns who has an owner's documents in the target.
func (o *Options) targetOwner(owner string) string { return cmp.Or(o.ToOwner, owner) }
