package llmemory

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/internal/analysis"
	"github.com/llmemory/llmemory/internal/vec"
)

// Snapshot is a document with everything that a store keeps of it: [Owner.Snapshots] reads it from one store, [Owner.Restore] puts it
// into another. What a store makes for itself (ordinals, input hashes, lengths in terms) counts for nothing in the other. Package
// transfer moves whole stores.
type Snapshot struct {
	Document DocumentRecord
	Leaves   []ChunkRecord // in order
	Parents  []ChunkRecord // in order, without text
	// Vectors are the leaves' vectors by generation: each list is parallel to Leaves, nil for a leaf without a vector. See [JoinParts]
	// for a leaf with several parts. A generation that has none of them may be absent.
	Vectors map[int64][][]float32
}

// snapshotBytes is the text from which [Owner.Snapshots] reads no further.
const snapshotBytes = 4 << 20

// Snapshots reads documents with their chunks, each as of one instant, and their vectors of these generations. Documents that the
// owner does not have, or no more, are absent; the others come in the order of the ids. It reads no further than it takes for some
// megabytes of text: done tells of how many ids it is the answer, at least one, so that whoever wants the rest asks on with ids[done:].
func (o *Owner) Snapshots(ctx context.Context, ids []string, generations []int64) (out []Snapshot, done int, err error) {
	if err := o.check(); err != nil {
		return nil, 0, err
	}
	size := 0
	type place struct{ document, leaf int }
	places := map[uint64]place{}
	var ordinals []uint64
	for done < len(ids) && size < snapshotBytes {
		d, chunks, err := o.document(ctx, DocumentParams{DocumentID: ids[done], Leaves: true, Parents: true})
		done++
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		size += d.Bytes
		s := Snapshot{Document: *d, Leaves: chunks[:d.ChunkCount], Parents: chunks[d.ChunkCount:]}
		for i, c := range s.Leaves {
			if !d.NoVectors {
				places[c.Ordinal] = place{len(out), i}
				ordinals = append(ordinals, c.Ordinal)
			}
		}
		out = append(out, s)
	}
	if len(ordinals) == 0 {
		return out, done, nil
	}
	for _, g := range generations {
		vectors, err := o.memory.store.Embedded(ctx, EmbeddedParams{Owner: o.id, Generation: g, Ordinals: ordinals})
		if errors.Is(err, ErrNotFound) {
			continue // it has been retired
		}
		if err != nil {
			return nil, 0, err
		}
		for _, v := range vectors {
			at, ok := places[v.Ordinal]
			if !ok {
				return nil, 0, fmt.Errorf("%w: a vector of leaf %d was not asked for", ErrCorrupt, v.Ordinal)
			}
			s := &out[at.document]
			if s.Vectors == nil {
				s.Vectors = map[int64][][]float32{}
			}
			if s.Vectors[g] == nil {
				s.Vectors[g] = make([][]float32, len(s.Leaves))
			}
			s.Vectors[g][at.leaf] = v.Vector
		}
	}
	return out, done, nil
}

// RestoreOptions say how documents are restored. The zero value is ready to use.
type RestoreOptions struct {
	// IfExists says what becomes of a document in the place of one that is to be restored, and differs from it. By default ("") it
	// is replaced unless it was changed later: nothing newer is lost. [Update] replaces it in any case, [Skip] leaves it, [Refuse]
	// fails with a [*ConflictError]. A document that is there just so is left alone, whatever this says.
	IfExists IfExists
	// From is the owner whose ids the documents and chunks bear: ids derive from the owner. Empty means the one they are restored for.
	From string
}

// Kept is the outcome of [Owner.Restore] for a document that was left as it is although it differs.
const Kept Status = "kept"

// Restore stores documents as another store had them, in one transaction: with their ids, dates, versions and metadata, cut as they
// were, with the vectors they had. The text index is made anew. A document that is there just so is unchanged, so a repeated call
// writes nothing. Nobody is asked for vectors: leaves that bring none for a generation of this store are queued.
//
// Vectors are of generations of this store. The results are in the order of docs, each with its own Err: a document that is refused
// never stops its neighbours. The error is not nil only if the call as a whole was stopped.
//
// Errors: [*InvalidError], [*ConflictError], [ErrUnavailable], [ErrCommitUnknown], [ErrClosed], or the context's.
func (o *Owner) Restore(ctx context.Context, docs []Snapshot, opts *RestoreOptions) ([]Added, error) {
	if opts == nil {
		opts = &RestoreOptions{}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	switch opts.IfExists {
	case "", Update, Skip, Refuse:
	default:
		return nil, invalidf("if_exists", "%q is none of %s, %s, %s", opts.IfExists, Update, Skip, Refuse)
	}
	generations, err := o.memory.store.Generations(ctx, GenerationsParams{})
	if err != nil {
		return nil, err
	}
	results := make([]Added, len(docs))
	var batch []*restored
	taken := map[Identity]bool{}
	for i := range docs {
		r, err := o.memory.unpack(o.id, cmp.Or(opts.From, o.id), &docs[i], generations)
		if err == nil && taken[r.identity] {
			err = invalidf("documents", "must be different ones: origin %q, key %q comes twice", r.identity.OriginID, r.identity.Key)
		}
		if err != nil {
			results[i] = Added{Status: Failed, Err: err}
			continue
		}
		taken[r.identity] = true
		r.at = i
		batch = append(batch, r)
	}
	whole := func(err error) bool {
		return ctx.Err() != nil || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrCommitUnknown) || errors.Is(err, ErrClosed)
	}
	err = o.restore(ctx, batch, opts.IfExists, results)
	if err == nil || whole(err) {
		return results, err
	}
	for _, r := range batch { // one of them may be the cause
		if err := o.restore(ctx, []*restored{r}, opts.IfExists, results); err != nil {
			if whole(err) {
				return results, err
			}
			results[r.at] = Added{DocumentID: r.record.ID, Status: Failed, Err: err}
		}
	}
	return results, nil
}

// restored is a document that is to be restored.
type restored struct {
	prepared
	owner    string
	at       int // index of its result
	snapshot *Snapshot
	// dimensions are those of the generations that the snapshot has vectors of.
	dimensions map[int64]int
	stored     *Snapshot // in its place when it was last looked at, nil for none
}

// unpack checks a snapshot with the ids of an owner as Add checks a document, and makes it ready to be stored for another, or the
// same, but for the analysis.
func (m *Memory) unpack(owner, from string, s *Snapshot, generations []Generation) (*restored, error) {
	d := &s.Document
	for _, id := range []struct{ field, text string }{{"origin", d.OriginID}, {"key", d.Key}, {"name", d.Name}, {"format", d.Format},
		{"markup", d.Markup}, {"title", d.Title}, {"author", d.Author}} {
		if id.field != "origin" && id.field != "key" && id.text == "" {
			continue
		}
		if err := checkID(id.field, id.text); err != nil {
			return nil, err
		}
	}
	kind, err := ParseType(string(d.Type))
	switch {
	case err != nil:
		return nil, err
	case !analysis.Supported(d.Language):
		return nil, invalidf("language", "%.40q is none of %s", d.Language, strings.Join(m.analyzer.Languages(), ", "))
	case len(d.ContentHash) == 0 || len(d.ContentHash) > 64:
		return nil, invalidf("content_hash", "must be 1 to 64 bytes long, is %d", len(d.ContentHash))
	case len(d.SourceHash) > 64:
		return nil, invalidf("source_hash", "must be at most 64 bytes long, is %d", len(d.SourceHash))
	case d.Version < 1:
		return nil, invalidf("version", "must be at least 1, is %d", d.Version)
	}
	for _, date := range []struct {
		field string
		time  time.Time
	}{{"date", d.Date}, {"created_at", d.CreatedAt}, {"updated_at", d.UpdatedAt}} {
		if y := date.time.UTC().Year(); (!date.time.IsZero() || date.field != "date") && (y < 1 || y > 9999 || date.time.IsZero()) {
			return nil, invalidf(date.field, "must be in the years 1 to 9999, is in %d", y)
		}
	}
	decoded, err := jsonValue(d.RawMetadata)
	if err != nil {
		return nil, invalidf("metadata", "are no JSON: %v", err)
	}
	fields, ok := decoded.(map[string]any)
	if !ok {
		return nil, invalidf("metadata", "must be a JSON object")
	}
	metadata, err := cleanMetadata(fields)
	if err != nil {
		return nil, err
	}
	plain, err := DecodeMetadata(metadata)
	if err != nil {
		return nil, invalidf("metadata", "%v", err)
	}
	r := &restored{
		owner: owner, snapshot: s, dimensions: map[int64]int{},
		prepared: prepared{identity: Identity{OriginID: d.OriginID, Key: d.Key}, embed: EmbedLater},
	}
	r.record = DocumentRecord{
		StoredDocument: StoredDocument{
			OriginID: d.OriginID, Key: d.Key, Name: d.Name, Type: kind, Metadata: plain, Language: d.Language,
			Version: d.Version, CreatedAt: d.CreatedAt.UTC().Truncate(time.Microsecond), UpdatedAt: d.UpdatedAt.UTC().Truncate(time.Microsecond),
		},
		RawMetadata: metadata, NoVectors: d.NoVectors, ContentHash: d.ContentHash, SourceHash: d.SourceHash,
	}
	r.record.Format, r.record.Markup, r.record.Title, r.record.Author = d.Format, d.Markup, d.Title, d.Author
	if !d.Date.IsZero() {
		r.record.Date = d.Date.UTC().Truncate(time.Microsecond)
	}
	r.record.ID = DocumentID(from, r.identity) // the ids of the chunks derive from it
	if d.ID != r.record.ID {
		return nil, invalidf("document_id", "%.40q is not the id of origin %q, key %q of owner %q", d.ID, d.OriginID, d.Key, from)
	}
	if err := r.unpackChunks(m.config.MaxContentBytes); err != nil {
		return nil, err
	}
	r.record.ID = DocumentID(owner, r.identity)
	r.result.DocumentID = r.record.ID
	r.identify()
	return r, r.checkVectors(generations)
}

// unpackChunks puts the text together and the chunks in their places, and checks that nothing is lost, twice or elsewhere.
func (r *restored) unpackChunks(most int) error {
	s := r.snapshot
	size := len(s.Document.Tail)
	for _, l := range s.Leaves {
		size += len(l.Lead) + len(l.Text)
	}
	if size > most {
		return invalidf("content", "must be at most %d bytes, is %d", most, size)
	}
	r.content = joinLeaves(s.Leaves, size) + s.Document.Tail
	r.record.Bytes = size
	switch {
	case !validText(r.content):
		return invalidf("content", "must be valid UTF-8 without NUL bytes")
	case strings.TrimSpace(r.content) == "":
		return invalidf("content", "must not be empty or only white space")
	}
	var err error
	if r.pages, err = unpackPages(s.Document.Pages); err != nil {
		return invalidf("pages", "do not decode")
	}
	if err := r.pages.check(r.content); err != nil {
		return err
	}
	r.record.Pages = r.pages.pack()
	parents := map[string]int{"": -1}
	var pieces []chunk.Piece
	piece := func(what string, i int, c *ChunkRecord, parent int) error {
		switch {
		case c.Position != i || c.DocumentID != s.Document.ID:
			return invalidf("chunks", "%s %d stands at position %d of document %.40q", what, i, c.Position, c.DocumentID)
		case c.Start < 0 || c.Start >= c.End || c.End > size || !border(r.content, c.Start) || !border(r.content, c.End):
			return invalidf("chunks", "%s %d has the range [%d, %d) in a text of %d bytes", what, i, c.Start, c.End, size)
		case !validText(c.Heading) || !validText(c.Context) || !validText(c.Summary):
			return invalidf("chunks", "heading, context and summary of %s %d must be valid UTF-8 without NUL bytes", what, i)
		case c.Tokens < 0 || c.Tokens > math.MaxInt32:
			return invalidf("chunks", "%s %d has %d tokens", what, i, c.Tokens)
		}
		p := chunk.Piece{Start: c.Start, End: c.End, Level: c.Level, Parent: parent, Tokens: c.Tokens, Parts: c.Parts,
			Context: c.Context, Summary: c.Summary}
		if c.Heading != "" {
			p.Heading = []string{c.Heading}
		}
		pieces = append(pieces, p)
		return nil
	}
	for i := range s.Parents {
		c := &s.Parents[i]
		if c.Level < 1 || c.Level > maxLevel {
			return invalidf("chunks", "parent %d is of level %d", i, c.Level)
		}
		if err := piece("parent", i, c, -1); err != nil {
			return err
		}
		parents[c.ID] = i
	}
	for i := range s.Leaves {
		c := &s.Leaves[i]
		parent, ok := parents[c.ParentID]
		if c.Level != 0 || !ok {
			return invalidf("chunks", "leaf %d is of level %d, with the parent %.40q", i, c.Level, c.ParentID)
		}
		if err := piece("leaf", i, c, parent); err != nil {
			return err
		}
	}
	if err := r.place(pieces); err != nil {
		return invalidf("chunks", "%v", err)
	}
	r.identify()
	for i, made := range r.parentRecords() {
		if id := s.Parents[i].ID; id != made.ID {
			return invalidf("chunks", "parent %d has the id %.40q, its text makes %s", i, id, made.ID)
		}
	}
	for i := range s.Leaves {
		c, made := &s.Leaves[i], &r.leaves[i].record
		switch {
		case c.Text != made.Text || c.Lead != made.Lead:
			return invalidf("chunks", "leaf %d is not where its range says", i)
		case c.ID != made.ID:
			return invalidf("chunks", "leaf %d has the id %.40q, its text makes %s", i, c.ID, made.ID)
		}
	}
	return nil
}

// maxLevel is the highest level of a parent.
const maxLevel = 100

// border tells whether a character begins at a byte of a text, or the text ends there.
func border(text string, at int) bool { return at == len(text) || utf8.RuneStart(text[at]) }

// checkVectors checks the vectors that the leaves bring along.
func (r *restored) checkVectors(generations []Generation) error {
	for id, vectors := range r.snapshot.Vectors {
		at := slices.IndexFunc(generations, func(g Generation) bool { return g.ID == id })
		if at < 0 {
			return fmt.Errorf("generation %d: %w", id, ErrNotFound)
		}
		r.dimensions[id] = generations[at].Model.Dimensions
		if len(vectors) != len(r.leaves) {
			return invalidf("vectors", "of generation %d must be one for each of %d leaves, nil or not, are %d", id, len(r.leaves), len(vectors))
		}
		for i, v := range vectors {
			if v == nil {
				continue
			}
			if err := checkVector(v, generations[at].Model.Dimensions); err != nil {
				return invalidf("vectors", "leaf %d, generation %d: %v", i, id, err)
			}
		}
	}
	return nil
}

// restore stores documents of distinct identities in one transaction and fills in their results.
func (o *Owner) restore(ctx context.Context, batch []*restored, ifExists IfExists, results []Added) error {
	m := o.memory
	analysed := map[*restored]bool{} // a document that was changed in the meantime makes all be compared anew
	for {
		todo, err := o.compare(ctx, batch, ifExists, results)
		if err != nil || len(todo) == 0 {
			return err
		}
		var kept atomic.Int64
		errs := make([]error, len(todo))
		m.each(len(todo), func(i int) {
			if r := todo[i]; !analysed[r] && len(r.leaves) <= analyseShare {
				errs[i] = m.analyse(ctx, &r.prepared, &kept, serially)
			}
		})
		for i, r := range todo {
			if !analysed[r] && len(r.leaves) > analyseShare {
				errs[i] = m.analyse(ctx, &r.prepared, &kept, m.each)
			}
			analysed[r] = true
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		done, err := o.restoreBatch(ctx, todo, results)
		if err != nil || done {
			return err
		}
	}
}

// compare looks at what is stored in the place of documents, settles what is to be left alone, and returns the others.
func (o *Owner) compare(ctx context.Context, batch []*restored, ifExists IfExists, results []Added) ([]*restored, error) {
	lookup := LookupParams{Owner: o.id}
	for _, r := range batch {
		lookup.Identities = append(lookup.Identities, r.identity)
		r.stored = nil
	}
	if len(batch) == 0 {
		return nil, nil
	}
	found, err := o.memory.store.Lookup(ctx, lookup)
	if err != nil {
		return nil, err
	}
	there := map[Identity]string{}
	for _, d := range found {
		there[Identity{OriginID: d.OriginID, Key: d.Key}] = d.ID
	}
	fresh := o.Fresh()
	var todo []*restored
	for _, r := range batch {
		id, ok := there[r.identity]
		if !ok {
			todo = append(todo, r)
			continue
		}
		snapshots, _, err := fresh.Snapshots(ctx, []string{id}, slices.Sorted(maps.Keys(r.snapshot.Vectors)))
		if err != nil {
			return nil, err
		}
		if len(snapshots) == 0 { // deleted just now
			todo = append(todo, r)
			continue
		}
		r.stored = &snapshots[0]
		stored := &r.stored.Document
		result := Added{DocumentID: stored.ID, Chunks: stored.ChunkCount, ChunksReused: stored.ChunkCount}
		switch {
		case r.same():
			result.Status = Unchanged
		case ifExists == Refuse:
			result = Added{DocumentID: stored.ID, Status: Failed,
				Err: &ConflictError{DocumentID: stored.ID, OriginID: stored.OriginID, Key: stored.Key}}
		case ifExists == Skip, ifExists == "" && stored.UpdatedAt.After(r.record.UpdatedAt):
			result.Status = Kept
		default:
			todo = append(todo, r)
			continue
		}
		results[r.at] = result
	}
	return todo, nil
}

// same tells whether what is stored is what is to be restored, and has every vector that it brings along.
func (r *restored) same() bool {
	a, b := &r.stored.Document, &r.record
	if !sameRow(a, b) || !bytes.Equal(a.ContentHash, b.ContentHash) || a.Language != b.Language || a.Tail != b.Tail ||
		!bytes.Equal(a.Pages, b.Pages) ||
		a.Version != b.Version || !a.CreatedAt.Equal(b.CreatedAt) || !a.UpdatedAt.Equal(b.UpdatedAt) ||
		len(r.stored.Leaves) != len(r.leaves) || len(r.stored.Parents) != len(r.snapshot.Parents) {
		return false
	}
	for i, c := range r.parentRecords() {
		if !sameChunk(&r.stored.Parents[i], &c) {
			return false
		}
	}
	for i := range r.leaves {
		if !sameChunk(&r.stored.Leaves[i], &r.leaves[i].record) || !r.embedded(i, i) {
			return false
		}
	}
	return true
}

func sameChunk(a, b *ChunkRecord) bool {
	return a.ID == b.ID && a.Level == b.Level && (a.Level > 0 || a.Text == b.Text && a.Parts == b.Parts) && samePlace(*a, *b)
}

// embedded tells whether a stored leaf has the vectors that a leaf to be restored brings along.
func (r *restored) embedded(stored, leaf int) bool {
	if r.record.NoVectors {
		return true
	}
	for g, vectors := range r.snapshot.Vectors {
		v := vectors[leaf]
		if v == nil {
			continue
		}
		if have := r.stored.Vectors[g]; have == nil || !sameVector(have[stored], v, r.dimensions[g]) {
			return false
		}
	}
	return true
}

// checkVector checks the vector of a leaf, which may be of several parts.
func checkVector(v []float32, dimensions int) error {
	n, err := LeafVectors(v, dimensions)
	if err != nil {
		return err
	}
	return embedding.Check(slices.Collect(slices.Chunk(v, dimensions)), n, dimensions)
}

// sameVector tells whether a stored vector is this one, or what is left of it in half precision, as some stores keep long ones.
func sameVector(stored, v []float32, dimensions int) bool {
	const half = 1.0 / (1 << 10)
	if len(stored) != len(v) {
		return false
	}
	for i, x := range vec.SettledEach(v, dimensions) {
		if d := math.Abs(float64(x) - float64(stored[i])); d > half*math.Abs(float64(x))+1.0/(1<<24) {
			return false
		}
	}
	return true
}

func (o *Owner) restoreBatch(ctx context.Context, todo []*restored, results []Added) (done bool, err error) {
	params := EditParams{Owner: o.id, Analysis: analysis.Version, New: true}
	for _, r := range todo {
		params.Identities = append(params.Identities, r.identity)
		params.New = params.New && r.stored == nil
	}
	w, err := o.memory.edit(ctx, params)
	if err != nil {
		return false, err
	}
	defer w.edit.Rollback(ctx) //nolint:errcheck // the first error is the one that matters
	there := map[Identity]*EditDocument{}
	for i := range w.edit.Documents() {
		d := &w.edit.Documents()[i]
		there[Identity{OriginID: d.Document.OriginID, Key: d.Document.Key}] = d
	}
	out := make([]Added, len(todo))
	for i, r := range todo {
		old := there[r.identity]
		if old != nil && (r.stored == nil || !old.Document.UpdatedAt.Equal(r.stored.Document.UpdatedAt) ||
			old.Document.Version != r.stored.Document.Version) {
			return false, w.edit.Rollback(ctx) // somebody has just changed it: it is to be compared anew
		}
		out[i] = w.restore(i, r, old)
	}
	if err := w.commit(ctx); err != nil {
		return false, err
	}
	waiting := map[uint64]bool{}
	for _, ordinal := range w.committed.Waiting {
		waiting[ordinal] = true
	}
	for _, l := range w.embeds {
		if waiting[l.job.Ordinal] {
			out[l.document].Pending++
		} else {
			out[l.document].Embedded++
		}
	}
	for i, r := range todo {
		results[r.at] = out[i]
	}
	w.tidy(ctx)
	return true, nil
}

// restore plans the storing of a document, the batch's n-th, over its present version, nil if there is none.
func (w *writer) restore(n int, r *restored, old *EditDocument) Added {
	w.dirty = true
	result := r.result
	result.Status = Created
	if old != nil {
		result.Status = Updated
	}
	w.changes.Documents = append(w.changes.Documents, r.record)
	before := map[uint64]int{} // the stored leaves that were looked at, by ordinal
	if r.stored != nil {
		for i, c := range r.stored.Leaves {
			before[c.Ordinal] = i
		}
	}
	first := len(w.embeds)
	result.Chunks = len(r.leaves)
	result.ChunksReused = w.replace(n, &r.prepared, old, func(stored ChunkRecord, leaf int) bool {
		i, ok := before[stored.Ordinal]
		return ok && r.embedded(i, leaf)
	})
	for _, l := range w.embeds[first:] {
		for _, g := range w.edit.Generations() {
			if vectors := r.snapshot.Vectors[g.ID]; vectors != nil && vectors[l.position] != nil {
				w.bring(&g, l, vectors[l.position])
			}
		}
	}
	return result
}
