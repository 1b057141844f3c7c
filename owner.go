package llmemory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/llmemory/llmemory/internal/analysis"
)

// Get returns a document without its text. [ErrNotFound] if the owner has none of that id.
func (o *Owner) Get(ctx context.Context, id string) (*StoredDocument, error) {
	d, _, err := o.document(ctx, DocumentParams{DocumentID: id})
	if err != nil {
		return nil, err
	}
	return &d.StoredDocument, nil
}

// Text returns a document's whole text, byte for byte as it was stored. [ErrNotFound] if the owner has none of that id.
func (o *Owner) Text(ctx context.Context, id string) (string, error) {
	d, leaves, err := o.document(ctx, DocumentParams{DocumentID: id, Leaves: true})
	if err != nil {
		return "", err
	}
	return joinLeaves(leaves, d.Bytes) + d.Tail, nil
}

func joinLeaves(leaves []ChunkRecord, size int) string {
	var b strings.Builder
	b.Grow(size)
	for _, c := range leaves {
		b.WriteString(c.Lead)
		b.WriteString(c.Text)
	}
	return b.String()
}

// GetWithChunks returns a document with all its chunks as of one instant: the leaves in order, then the parents.
func (o *Owner) GetWithChunks(ctx context.Context, id string) (*StoredDocument, []Chunk, error) {
	d, records, err := o.document(ctx, DocumentParams{DocumentID: id, Leaves: true, Parents: true})
	if err != nil {
		return nil, nil, err
	}
	text := joinLeaves(records[:d.ChunkCount], d.Bytes)
	chunks := make([]Chunk, len(records))
	for i, r := range records {
		chunks[i] = r.Chunk
		if r.Level > 0 && r.End <= len(text) {
			chunks[i].Text = text[r.Start:r.End]
		}
	}
	return &d.StoredDocument, chunks, nil
}

func (o *Owner) document(ctx context.Context, p DocumentParams) (*DocumentRecord, []ChunkRecord, error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	id, err := parseID("document id", p.DocumentID)
	if err != nil {
		return nil, nil, err
	}
	p.Owner, p.DocumentID = o.id, id
	d, chunks, err := o.memory.store.Document(ctx, p)
	if err != nil || !p.Leaves {
		return d, chunks, err
	}
	leaves := 0
	for leaves < len(chunks) && chunks[leaves].Level == 0 {
		leaves++
	}
	if leaves != d.ChunkCount {
		return nil, nil, fmt.Errorf("%w: document %s has %d chunks, its row says %d", ErrCorrupt, id, leaves, d.ChunkCount)
	}
	return d, chunks, nil
}

// ChunksOptions pages through a document's leaves.
type ChunksOptions struct {
	Offset int // leaves to leave out at the start
	Limit  int // at most so many; defaults to 100, at most 1000
}

// Chunks returns a page of a document's leaves in order, and how many leaves it has in all. Nil options mean defaults.
func (o *Owner) Chunks(ctx context.Context, id string, opts *ChunksOptions) ([]Chunk, int, error) {
	if opts == nil {
		opts = &ChunksOptions{}
	}
	if err := o.check(); err != nil {
		return nil, 0, err
	}
	id, err := parseID("document id", id)
	if err != nil {
		return nil, 0, err
	}
	limit, err := checkLimit("limit", opts.Limit, 100, maxLimit)
	if err != nil {
		return nil, 0, err
	}
	if opts.Offset < 0 {
		return nil, 0, invalidf("offset", "must not be negative, is %d", opts.Offset)
	}
	records, total, err := o.memory.store.Chunks(ctx, ChunksParams{Owner: o.id, DocumentID: id, Offset: opts.Offset, Limit: limit})
	if err != nil {
		return nil, 0, err
	}
	chunks := make([]Chunk, len(records))
	for i, r := range records {
		chunks[i] = r.Chunk
	}
	return chunks, total, nil
}

// Order says what List sorts by.
type Order string

// The orders of List. Ties are broken by document id.
const (
	ByCreated Order = "created_at"
	ByUpdated Order = "updated_at"
	ByName    Order = "name"
	ByDate    Order = "date" // documents without a date come last
)

// ListOptions selects, sorts and pages documents. The zero value lists the newest 20.
type ListOptions struct {
	Where
	OrderBy   Order // defaults to ByCreated, newest first
	Ascending bool  // ByName defaults to ascending as well
	Reverse   bool  // turns the order round, whatever it is
	Offset    int
	Limit     int // defaults to 20, at most 1000
}

// Page is a page of documents.
type Page struct {
	Documents []StoredDocument
	Total     int // documents that Where selects
	Limit     int
	Offset    int
}

// List returns a page of the owner's documents. Nil options mean defaults.
func (o *Owner) List(ctx context.Context, opts *ListOptions) (*Page, error) {
	if opts == nil {
		opts = &ListOptions{}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := opts.validate(); err != nil {
		return nil, err
	}
	p := ListParams{Owner: o.id, OrderBy: opts.OrderBy, Offset: opts.Offset}
	switch p.OrderBy {
	case "":
		p.OrderBy = ByCreated
	case ByCreated, ByUpdated, ByName, ByDate:
	default:
		return nil, invalidf("order", "%q is none of %s, %s, %s, %s", opts.OrderBy, ByCreated, ByUpdated, ByName, ByDate)
	}
	p.Descending = (p.OrderBy != ByName && !opts.Ascending) != opts.Reverse
	var err error
	if p.Limit, err = checkLimit("limit", opts.Limit, 20, maxLimit); err != nil {
		return nil, err
	}
	if p.Offset < 0 {
		return nil, invalidf("offset", "must not be negative, is %d", p.Offset)
	}
	if p.Where, err = opts.normalize(); err != nil {
		return nil, err
	}
	records, total, err := o.memory.store.List(ctx, p)
	if err != nil {
		return nil, err
	}
	page := &Page{Total: total, Limit: p.Limit, Offset: p.Offset, Documents: make([]StoredDocument, len(records))}
	for i, r := range records {
		page.Documents[i] = r.StoredDocument
	}
	return page, nil
}

// normalize prepares a Where for a store: plain JSON values, times that every store can keep.
func (w Where) normalize() (Where, error) {
	f, err := w.Metadata.normalize()
	if err != nil {
		return Where{}, err
	}
	w.Metadata = f
	if !w.From.IsZero() {
		from := w.From.UTC().Truncate(time.Microsecond)
		if from.Before(w.From) { // a stored date just before From must not match
			from = from.Add(time.Microsecond)
		}
		w.From = from
	}
	if !w.To.IsZero() {
		w.To = w.To.UTC().Truncate(time.Microsecond)
	}
	return w, nil
}

// Deleted tells what a delete removed.
type Deleted struct {
	DocumentIDs []string // in ascending order
	Chunks      int      // leaves
}

// Delete removes documents with their chunks in one transaction. Ids that the owner does not have are skipped; compare
// Deleted.DocumentIDs with what was asked for. At most 10,000 ids; none is an error.
func (o *Owner) Delete(ctx context.Context, ids ...string) (Deleted, error) {
	if err := o.check(); err != nil {
		return Deleted{}, err
	}
	if len(ids) == 0 {
		return Deleted{}, invalidf("document ids", "name at least one document")
	}
	if len(ids) > maxDeleteIDs {
		return Deleted{}, invalidf("document ids", "at most %d at once, are %d", maxDeleteIDs, len(ids))
	}
	canonical := make([]string, len(ids))
	for i, id := range ids {
		var err error
		if canonical[i], err = parseID("document id", id); err != nil {
			return Deleted{}, err
		}
	}
	slices.Sort(canonical) // the order in which they are reported
	return o.delete(ctx, EditParams{DocumentIDs: slices.Compact(canonical)})
}

// DeleteWhere removes all documents that the condition selects, in one transaction. The zero Where is refused: to remove
// everything an owner has, use [Owner.DeleteAll].
func (o *Owner) DeleteWhere(ctx context.Context, where Where) (Deleted, error) {
	if err := o.check(); err != nil {
		return Deleted{}, err
	}
	if where.IsZero() {
		return Deleted{}, invalidf("filter", "must not be empty: it would delete every document")
	}
	if err := where.validate(); err != nil {
		return Deleted{}, err
	}
	where, err := where.normalize()
	if err != nil {
		return Deleted{}, err
	}
	return o.delete(ctx, EditParams{Where: &where})
}

// DeleteAll removes every document of the owner, in one transaction, and then the ledger of its runs.
func (o *Owner) DeleteAll(ctx context.Context) (Deleted, error) {
	if err := o.check(); err != nil {
		return Deleted{}, err
	}
	deleted, err := o.delete(ctx, EditParams{Where: &Where{}})
	if err == nil {
		_, err = o.memory.store.ForgetRuns(ctx, ForgetRunsParams{Owner: o.id})
	}
	return deleted, err
}

func (o *Owner) delete(ctx context.Context, p EditParams) (Deleted, error) {
	p.Owner, p.Analysis = o.id, analysis.Version
	w, err := o.memory.edit(ctx, p)
	if err != nil {
		return Deleted{}, err
	}
	defer w.edit.Rollback(ctx) //nolint:errcheck // the first error is the one that matters
	var out Deleted
	for i := range w.edit.Documents() {
		d := &w.edit.Documents()[i]
		w.remove(d)
		out.DocumentIDs = append(out.DocumentIDs, d.Document.ID)
		out.Chunks += d.Document.ChunkCount
	}
	if !w.dirty {
		return out, w.edit.Rollback(ctx)
	}
	if err := w.commit(ctx); err != nil {
		return Deleted{}, err
	}
	w.tidy(ctx)
	return out, nil
}

// Stats counts what an owner has.
type Stats struct {
	Documents    int64
	Chunks       int64 // leaves
	Parents      int64
	Bytes        int64 // of text
	Tokens       int64
	Origins      int64
	ByType       map[Type]int64   // documents by type
	ByLanguage   map[string]int64 // leaves by language
	FirstCreated time.Time        // zero without documents
	LastUpdated  time.Time
	Index        IndexStats
}

// IndexStats describes an owner's text index.
type IndexStats struct {
	Segments   int64
	Unfolded   int64 // leaves in small segments, which wait to be folded into larger ones
	DeadLeaves int64 // removed leaves that folding has not purged yet
	Bytes      int64
	Stale      bool // made by another version of the analysis; maintenance rebuilds it
}

// Stats counts what the owner has. An owner without documents has zeros.
func (o *Owner) Stats(ctx context.Context) (*Stats, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	r, err := o.memory.store.Stats(ctx, StatsParams{Owner: o.id, Folded: foldLeaves})
	if err != nil {
		return nil, err
	}
	return &Stats{
		Documents: r.Documents, Chunks: r.Leaves, Parents: r.Parents, Bytes: r.Bytes, Tokens: r.Tokens, Origins: r.Origins,
		ByType: r.ByType, ByLanguage: r.Languages, FirstCreated: r.FirstCreated, LastUpdated: r.LastUpdated,
		Index: IndexStats{
			Segments: r.Segments, Unfolded: r.Unfolded, DeadLeaves: r.DeadLeaves, Bytes: r.IndexBytes,
			Stale: r.Documents > 0 && r.Analysis != analysis.Version,
		},
	}, nil
}
