package llmemory

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/internal/analysis"
	"github.com/llmemory/llmemory/internal/postings"
	"github.com/llmemory/llmemory/internal/vec"
)

// writer collects what an [Edit] is to change: documents and chunks as they come, the text index at commit.
type writer struct {
	m       *Memory
	owner   string
	edit    Edit
	state   OwnerState
	changes Changes
	fresh   []freshLeaf // leaves to index
	dead    []uint64    // ordinals that are no longer live
	dirty   bool
	merge   bool // the segments could do with merging now

	rows    chan error       // of rows that are being written ahead, or nil
	segment postings.Builder // that is being built
	fold    []Segment        // that it is to take in
	pages   []IndexPage      // of finished segments, not written yet
	held    int              // their bytes

	embeds    []embedLeaf
	gone      []uint64   // ordinals that lose their vectors while they stay
	committed *Committed // after commit
}

// freshLeaf is a leaf to index.
type freshLeaf struct {
	ordinal  uint64
	document *prepared
	leaf     *leaf
}

// embedLeaf is a leaf that is to get a vector.
type embedLeaf struct {
	document int // index in the batch
	position int // among the document's leaves
	job      Job
	hash     []byte
}

// edit opens an edit whose index speaks this version of the analysis.
func (m *Memory) edit(ctx context.Context, p EditParams) (*writer, error) {
	for {
		e, err := m.store.Edit(ctx, p)
		if err != nil {
			return nil, err
		}
		state := e.State()
		switch {
		case state.Leaves == 0:
			state.Analysis = analysis.Version
		case state.Analysis > analysis.Version:
			err := fmt.Errorf("%w: the text index of this owner was made by analysis version %d, this program knows version %d: upgrade it",
				ErrUnavailable, state.Analysis, analysis.Version)
			_ = e.Rollback(ctx)
			return nil, err
		case state.Analysis < analysis.Version:
			if err := e.Rollback(ctx); err != nil {
				return nil, err
			}
			if err := m.reindex(ctx, p.Owner); err != nil {
				return nil, err
			}
			continue
		}
		state.Languages = maps.Clone(state.Languages)
		if state.Languages == nil {
			state.Languages = map[string]int{}
		}
		return &writer{m: m, owner: p.Owner, edit: e, state: state, changes: Changes{Owner: p.Owner}}, nil
	}
}

// grow makes room for what the storing of a batch may change.
func (w *writer) grow(batch []*prepared) {
	leaves, chunks, vectors := 0, 0, 0
	for _, p := range batch {
		leaves += len(p.leaves)
		chunks += len(p.leaves) + len(p.parents)
		vectors += len(p.vectors)
	}
	w.changes.Documents = slices.Grow(w.changes.Documents, len(batch))
	w.changes.InsertChunks = slices.Grow(w.changes.InsertChunks, chunks)
	w.changes.Vectors = slices.Grow(w.changes.Vectors, vectors)
	w.fresh = slices.Grow(w.fresh, leaves)
	w.embeds = slices.Grow(w.embeds, leaves)
}

// add plans the storing of a prepared document, the batch's n-th, over its present version, nil if there is none.
func (w *writer) add(n int, p *prepared, old *EditDocument) (Added, error) {
	result := p.result
	if old != nil {
		decided, err := p.decide(&old.Document)
		if err != nil {
			return Added{}, err
		}
		if decided {
			return p.result, nil
		}
	}
	if err := w.checkGiven(p); err != nil {
		return Added{}, err
	}
	w.dirty = true
	record := p.record
	record.Version = 1
	result.Status = Created
	if old != nil {
		result.Status = Updated
		record.Version = old.Document.Version + 1
		if p.sameContent(&old.Document) {
			// Only the row's own columns change: name, type, date, metadata, and what its source says of itself.
			record.ContentHash = old.Document.ContentHash
			record.Language, record.Tokens, record.ChunkCount = old.Document.Language, old.Document.Tokens, old.Document.ChunkCount
			record.Tail = old.Document.Tail
			result.Chunks, result.ChunksReused = record.ChunkCount, record.ChunkCount
			w.changes.Documents = append(w.changes.Documents, record)
			if old.Document.NoVectors != record.NoVectors {
				w.switchVectors(n, p, old)
			}
			return result, nil
		}
	}
	w.changes.Documents = append(w.changes.Documents, record)
	result.Chunks = len(p.leaves)
	first := len(w.embeds)
	result.ChunksReused = w.replace(n, p, old, func(ChunkRecord, int) bool { return true })
	if p.vectors != nil {
		generation := activeOf(w.edit.Generations())
		for _, l := range w.embeds[first:] {
			w.bring(generation, l, p.vectors[l.position])
		}
	}
	return result, nil
}

// checkGiven checks the vectors that a document brings along.
func (w *writer) checkGiven(p *prepared) error {
	if len(p.vectors) == 0 {
		return nil
	}
	g := activeOf(w.edit.Generations())
	if g == nil {
		return invalidf("vectors", "cannot be stored before there is a generation for them: configure the embedder of their model, or run llmemory models add")
	}
	if err := embedding.Check(p.vectors, len(p.vectors), g.Model.Dimensions); err != nil {
		return invalidf("vectors", "%v", err)
	}
	return nil
}

// bring plans that a leaf is stored with a vector it has already.
func (w *writer) bring(g *Generation, l embedLeaf, v []float32) {
	w.changes.Vectors = append(w.changes.Vectors, LeafVector{
		Generation: g.ID, Ordinal: l.job.Ordinal, Hash: l.hash, Vector: vec.SettledEach(v, g.Model.Dimensions),
	})
}

// replace plans that the chunks of a document take the place of those of its present version, if there is one, and returns how many
// leaves stay. Those stay whose text and context are what they were, if may allows it.
func (w *writer) replace(n int, p *prepared, old *EditDocument, may func(stored ChunkRecord, leaf int) bool) (reused int) {
	record := &p.record
	kept := map[string]ChunkRecord{}
	if old != nil {
		for _, c := range old.Chunks {
			kept[c.ID] = c
		}
		w.count(old.Document.Language, -old.Document.ChunkCount)
	} else {
		w.state.Documents++
	}
	w.count(record.Language, len(p.leaves))

	parents := p.parentRecords()
	for _, c := range parents {
		before, there := kept[c.ID]
		switch {
		case !there:
			w.changes.InsertChunks = append(w.changes.InsertChunks, c)
		case !samePlace(before, c):
			w.changes.UpdateChunks = append(w.changes.UpdateChunks, c)
		}
		delete(kept, c.ID)
	}
	for i := range p.leaves {
		l := &p.leaves[i]
		c := l.record
		before, there := kept[c.ID]
		delete(kept, c.ID)
		if there && bytes.Equal(before.InputHash, c.InputHash) && may(before, i) {
			c.Ordinal, c.Length = before.Ordinal, before.Length
			reused++
			switch {
			case record.NoVectors && !old.Document.NoVectors:
				w.gone = append(w.gone, c.Ordinal)
			case !record.NoVectors && old.Document.NoVectors:
				w.embed(n, record.header(), c)
			}
			if !samePlace(before, c) {
				w.changes.UpdateChunks = append(w.changes.UpdateChunks, c)
			}
			continue
		}
		if there {
			w.kill(before)
		}
		c.Ordinal = w.state.NextOrdinal
		w.state.NextOrdinal++
		w.state.Leaves++
		w.state.Length += int64(c.Length)
		w.fresh = append(w.fresh, freshLeaf{ordinal: c.Ordinal, document: p, leaf: l})
		if !record.NoVectors {
			w.embed(n, record.header(), c)
		}
		if there {
			w.changes.UpdateChunks = append(w.changes.UpdateChunks, c)
		} else {
			w.changes.InsertChunks = append(w.changes.InsertChunks, c)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(kept)) {
		c := kept[id]
		if c.Level == 0 {
			w.kill(c)
		}
		w.changes.DeleteChunks = append(w.changes.DeleteChunks, id)
	}
	return reused
}

// embed plans that a leaf gets a vector.
func (w *writer) embed(n int, name string, c ChunkRecord) {
	if len(w.edit.Generations()) == 0 {
		return
	}
	input := JobInput{Owner: w.owner, Name: name, Heading: c.Heading, Context: c.Context, Text: c.Text, Parts: c.Parts}
	w.embeds = append(w.embeds, embedLeaf{
		document: n, position: c.Position, job: Job{Ordinal: c.Ordinal, JobInput: input}, hash: inputHash(input.Texts()),
	})
}

// switchVectors plans that the leaves of a document whose content stays lose their vectors, or get some.
func (w *writer) switchVectors(n int, p *prepared, old *EditDocument) {
	for _, c := range old.Chunks {
		switch {
		case c.Level > 0:
		case p.record.NoVectors:
			w.gone = append(w.gone, c.Ordinal)
		default:
			c.Text = p.content[c.Start:c.End] // which an edit does not read
			w.embed(n, p.record.header(), c)
		}
	}
}

func samePlace(a, b ChunkRecord) bool {
	return a.ParentID == b.ParentID && a.Position == b.Position && a.Start == b.Start && a.End == b.End &&
		a.Heading == b.Heading && a.Lead == b.Lead && a.Tokens == b.Tokens &&
		a.Page == b.Page && a.PageEnd == b.PageEnd && a.Context == b.Context && a.Summary == b.Summary
}

// remove plans the deletion of a document.
func (w *writer) remove(d *EditDocument) {
	w.dirty = true
	w.changes.DeleteDocuments = append(w.changes.DeleteDocuments, d.Document.ID)
	w.state.Documents--
	w.count(d.Document.Language, -d.Document.ChunkCount)
	for _, c := range d.Chunks {
		if c.Level == 0 {
			w.kill(c)
		}
	}
}

func (w *writer) kill(c ChunkRecord) {
	w.dead = append(w.dead, c.Ordinal)
	w.state.Leaves--
	w.state.Length -= int64(c.Length)
}

func (w *writer) count(language string, leaves int) {
	w.state.Languages[language] += leaves
	if w.state.Languages[language] <= 0 {
		delete(w.state.Languages, language)
	}
}

// commit brings the text index up to date and commits everything.
func (w *writer) commit(ctx context.Context) error {
	segments, err := w.bury(w.edit.Segments())
	if err != nil {
		return err
	}
	w.putRows(ctx)
	err = w.index(ctx, segments)
	if err := errors.Join(err, w.wait()); err != nil {
		return err
	}
	segments = w.settled()
	w.merge = pickMerge(segments, lazyFan) != nil
	w.state.MergeDue = pickMerge(segments, eagerFan) != nil
	w.changes.Gone = append(slices.Clone(w.dead), w.gone...)
	slices.Sort(w.changes.Gone)
	for _, l := range w.embeds {
		w.changes.Queue = append(w.changes.Queue, QueueLeaf{Ordinal: l.job.Ordinal, Hash: l.hash})
	}
	return w.finish(ctx)
}

// aheadLeaves is how many leaves to index make it worth a call of its own to write the rows meanwhile.
const aheadLeaves = 256

// putRows begins to write the rows while the index is made. The store must not be called before [writer.wait]. A single document is
// written in one call all the same: its round trips are counted. So it is in a host's transaction, which does one thing at a time.
func (w *writer) putRows(ctx context.Context) {
	if len(w.fresh) < aheadLeaves || len(w.changes.Documents) < 2 || joined(w.m.store) {
		return
	}
	p := PutParams{Owner: w.owner, Rows: w.changes.Rows}
	w.changes.Rows = Rows{}
	w.rows = make(chan error, 1)
	go func() { w.rows <- w.edit.Put(ctx, p) }()
}

// wait waits for the rows that are being written ahead, if there are any.
func (w *writer) wait() error {
	if w.rows == nil {
		return nil
	}
	err := <-w.rows
	w.rows = nil
	return err
}

// finish commits what is planned, with the pages that are held.
func (w *writer) finish(ctx context.Context) (err error) {
	at := 0
	for _, p := range w.pages { // in the order of their segments
		for w.changes.InsertSegments[at].ID != p.Segment {
			at++
		}
		w.changes.InsertSegments[at].Pages = append(w.changes.InsertSegments[at].Pages, p)
	}
	w.pages = nil
	w.changes.State = w.state
	w.committed, err = w.edit.Commit(ctx, w.changes)
	return err
}

// bury marks dead ordinals in their segments, drops segments that have no live leaf left, and returns the others.
func (w *writer) bury(segments []Segment) ([]Segment, error) {
	slices.Sort(w.dead)
	rest := w.dead
	var live []Segment
	for _, s := range segments {
		n := 0
		for n < len(rest) && rest[n] < s.High {
			n++
		}
		mine := rest[:n]
		rest = rest[n:]
		if len(mine) > 0 {
			if mine[0] < s.Low {
				return nil, fmt.Errorf("%w: no segment of the text index holds leaf %d", ErrCorrupt, mine[0])
			}
			dead, err := deadSet(s)
			if err != nil {
				return nil, err
			}
			for _, ordinal := range mine {
				dead.Add(ordinal)
			}
			s.Dead, s.DeadCount = dead.Encode(), dead.Len()
			if s.DeadCount >= s.Leaves {
				w.changes.DeleteSegments = append(w.changes.DeleteSegments, s.ID)
				continue
			}
			w.changes.DeadSegments = append(w.changes.DeadSegments, s)
		}
		live = append(live, s)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%w: no segment of the text index holds leaf %d", ErrCorrupt, rest[0])
	}
	return live, nil
}

const (
	// foldLeaves is how many leaves small segments may hold together before they are folded into one that is no longer small.
	foldLeaves = 512
	// foldSegments is how many small segments there may be before they are put together: a search looks into each.
	foldSegments = 32
	// foldBytes is the size from which a segment is not small, however few leaves it has.
	foldBytes = 8 << 20
)

// small tells whether a segment is left to folding.
func small(s Segment) bool { return s.Leaves < foldLeaves && s.Bytes < foldBytes }

// index adds the fresh leaves to the index as a new segment, or several if they are very many, taking in the small segments when
// these have become many.
func (w *writer) index(ctx context.Context, segments []Segment) error {
	if len(w.fresh) == 0 {
		return nil
	}
	// Only neighbours can be merged: no larger segment may lie between.
	from := len(segments)
	leaves := len(w.fresh)
	for from > 0 && small(segments[from-1]) {
		from--
		leaves += segments[from].Leaves - segments[from].DeadCount
	}
	if n := len(segments) - from; n > 0 && (leaves >= foldLeaves || n >= foldSegments) {
		w.fold = segments[from:]
	}
	const share = 16 * analyseShare
	for rest := w.fresh; len(rest) > 0; rest = rest[min(share, len(rest)):] {
		docs, err := w.docs(ctx, rest[:min(share, len(rest))])
		if err != nil {
			return err
		}
		for _, d := range docs {
			if err := w.indexLeaf(ctx, d); err != nil {
				return err
			}
		}
	}
	return w.seal(ctx)
}

// docs returns what is to be indexed of leaves, which give up their terms. Those that have none any more are analysed once more.
func (w *writer) docs(ctx context.Context, leaves []freshLeaf) ([]postings.Doc, error) {
	docs := make([]postings.Doc, len(leaves))
	again := slices.ContainsFunc(leaves, func(l freshLeaf) bool { return l.leaf.again })
	var wg sync.WaitGroup
	for from := 0; from < len(leaves); from += analyseShare {
		run := func() {
			for i := from; i < min(from+analyseShare, len(leaves)) && ctx.Err() == nil; i++ {
				d, l := leaves[i].document, leaves[i].leaf
				docs[i] = postings.Doc{Ordinal: leaves[i].ordinal, Tokens: l.tokens, Length: l.record.Length}
				if l.again {
					docs[i].Tokens, _, _ = w.m.analyseLeaf(d.record.Language, d.record.header(), l.record.Heading, l.record.Context, l.record.Text)
				}
				l.tokens, l.again = nil, true
			}
		}
		if again { // not by Memory.each, whose turns are also those of chunkers: these may take their time, and the owner is locked
			wg.Go(run)
		} else {
			run()
		}
	}
	wg.Wait()
	return docs, ctx.Err()
}

// indexLeaf adds a leaf to the segment that is being built, and ends the segment if that is enough for one.
func (w *writer) indexLeaf(ctx context.Context, d postings.Doc) error {
	if err := w.segment.Add(d); err != nil {
		return fmt.Errorf("index the text: %w", err)
	}
	if w.segment.Len() >= maxLeaves || w.segment.Bytes() >= w.m.bounds.segment {
		return w.seal(ctx)
	}
	return nil
}

// seal ends the segment that is being built, if there is one.
func (w *writer) seal(ctx context.Context) error {
	leaves := w.segment.Len()
	if leaves == 0 {
		return nil
	}
	source, fold := w.segment.Source(), w.fold
	w.fold = nil
	if len(fold) == 0 {
		return w.put(ctx, []postings.MergeSource{source}, leaves)
	}
	sources, err := w.load(ctx, fold)
	if err != nil {
		return err
	}
	for _, s := range fold {
		leaves += s.Leaves - s.DeadCount
	}
	return w.put(ctx, append(sources, source), leaves)
}

// deadSet returns the dead ordinals of a segment.
func deadSet(s Segment) (*postings.Set, error) {
	if len(s.Dead) == 0 {
		return postings.NewSet(), nil
	}
	dead, err := postings.DecodeSet(s.Dead)
	if err != nil {
		return nil, fmt.Errorf("%w: dead set of segment %d: %w", ErrCorrupt, s.ID, err)
	}
	return dead, nil
}

// settled returns the segments there will be after the commit, without their content.
func (w *writer) settled() []Segment {
	var out []Segment
	for _, s := range w.edit.Segments() {
		if slices.Contains(w.changes.DeleteSegments, s.ID) {
			continue
		}
		for _, d := range w.changes.DeadSegments {
			if d.ID == s.ID {
				s = d
			}
		}
		out = append(out, s)
	}
	for _, s := range w.changes.InsertSegments {
		out = append(out, s.Segment)
	}
	slices.SortFunc(out, func(a, b Segment) int { return cmp.Compare(a.Low, b.Low) })
	return out
}

// load reads segments for a merge, which will replace them.
func (w *writer) load(ctx context.Context, segments []Segment) ([]postings.MergeSource, error) {
	p := LoadParams{Owner: w.owner}
	dead := map[int64][]byte{}
	for _, s := range segments {
		p.Segments = append(p.Segments, s.ID)
		dead[s.ID] = s.Dead // with what this edit buried
		w.changes.DeadSegments = slices.DeleteFunc(w.changes.DeadSegments, func(d Segment) bool { return d.ID == s.ID })
	}
	w.changes.DeleteSegments = append(w.changes.DeleteSegments, p.Segments...)
	if err := w.wait(); err != nil {
		return nil, err
	}
	loaded, err := w.edit.Load(ctx, p)
	if err != nil {
		return nil, err
	}
	if len(loaded) != len(segments) {
		return nil, fmt.Errorf("%w: %d of %d segments of the text index found", ErrCorrupt, len(loaded), len(segments))
	}
	sources := make([]postings.MergeSource, len(loaded))
	for i, l := range loaded {
		l.Dead = dead[l.ID]
		if sources[i], err = source(l); err != nil {
			return nil, err
		}
	}
	return sources, nil
}

// put plans the writing of a segment of so many leaves, which the sources, in order, make together.
func (w *writer) put(ctx context.Context, sources []postings.MergeSource, leaves int) error {
	out := Segment{ID: w.state.NextSegment, Low: sources[0].Low, High: sources[len(sources)-1].High, Leaves: leaves}
	w.state.NextSegment++
	blocks := sources[0].Blocks
	if len(sources) > 1 || sources[0].Dead.Len() > 0 {
		blocks = postings.Merge(sources)
	}
	for p, err := range postings.Paginate(blocks) {
		if err != nil {
			return fmt.Errorf("%w: merge the text index: %w", ErrCorrupt, err)
		}
		w.pages = append(w.pages, IndexPage{Segment: out.ID, First: p.First, Postings: p.Postings, Positions: p.Positions})
		size := len(p.Postings) + len(p.Positions)
		out.Bytes += int64(size)
		if w.held += size; w.held < w.m.bounds.held {
			continue
		}
		if err := w.wait(); err != nil {
			return err
		}
		if err := w.edit.Put(ctx, PutParams{Owner: w.owner, Pages: w.pages}); err != nil {
			return err
		}
		clear(w.pages)
		w.pages, w.held = w.pages[:0], 0
	}
	w.changes.InsertSegments = append(w.changes.InsertSegments, LoadedSegment{Segment: out})
	return nil
}

// openPages opens the pages of a segment.
func openPages(l LoadedSegment) (*postings.Pages, error) {
	pages := make([]postings.Page, len(l.Pages))
	for i, p := range l.Pages {
		pages[i] = postings.Page{First: p.First, Postings: p.Postings, Positions: p.Positions}
	}
	opened, err := postings.OpenPages(pages)
	if err != nil {
		return nil, fmt.Errorf("%w: segment %d of the text index: %w", ErrCorrupt, l.ID, err)
	}
	return opened, nil
}

// tidy merges segments after a commit when a host that never calls Run has let them pile up. It is a courtesy: the documents are
// stored, so a fault here is logged, not returned.
func (w *writer) tidy(ctx context.Context) {
	if !w.merge || joined(w.m.store) {
		return
	}
	if _, err := w.m.maintain(ctx, w.owner, lazyFan); err != nil && ctx.Err() == nil {
		w.m.config.Logger.WarnContext(ctx, "llmemory: merging the text index failed; it will be tried again", "error", err)
	}
}

func joined(s Store) bool {
	j, ok := s.(Joiner)
	return ok && j.Joined()
}
