package sqlite

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/llmemory/llmemory"
)

// edit implements [llmemory.Edit]: a transaction that holds the file's write lock, and so the write locks of all owners.
type edit struct {
	store     *Store
	session   *session
	owner     string
	now       int64 // when it began
	state     llmemory.OwnerState
	documents []llmemory.EditDocument
	segments  []llmemory.Segment
	sets      []llmemory.Generation
	queued    bool // it queued jobs that are due
}

// Edit implements [llmemory.Store].
func (s *Store) Edit(ctx context.Context, p llmemory.EditParams) (llmemory.Edit, error) {
	session, err := s.pool.edit(ctx)
	if err != nil {
		return nil, err
	}
	e := &edit{store: s, session: session, owner: p.Owner}
	err = session.do(ctx, func(c *conn) error {
		if err := c.exec("BEGIN IMMEDIATE"); err != nil {
			return err
		}
		e.now = micros(time.Now())
		return e.start(c, p)
	})
	if err != nil {
		_ = session.end()
		return nil, err
	}
	return e, nil
}

// start reads what the edit starts from.
func (e *edit) start(c *conn, p llmemory.EditParams) error {
	sql := e.store.sql
	if err := c.exec(sql.Get("make_owner"), p.Owner, p.Analysis); err != nil {
		return err
	}
	if err := c.query(sql.Get("owner_state"), func(r row) error { return scanState(r, &e.state) }, p.Owner); err != nil {
		return err
	}
	whole := len(p.Identities) > 0
	var docs []llmemory.DocumentRecord
	switch {
	case whole:
		for _, id := range p.Identities {
			if err := c.query(sql.Get("edit_documents_by_identity"), collect(&docs, scanDocument), p.Owner, id.OriginID, id.Key); err != nil {
				return err
			}
		}
	case len(p.DocumentIDs) > 0:
		for _, id := range slices.Sorted(slices.Values(p.DocumentIDs)) {
			if err := c.query(sql.Get("edit_documents_by_id"), collect(&docs, scanDocument), p.Owner, uuid(id)); err != nil {
				return err
			}
		}
	case p.Where != nil:
		limit := int64(p.Limit)
		if limit == 0 {
			limit = math.MaxInt64
		}
		text, args, err := e.store.filtered("edit_documents_where", *p.Where, p.Owner, limit)
		if err != nil {
			return err
		}
		if err := c.queryOnce(text, collect(&docs, scanDocument), args...); err != nil {
			return err
		}
	}
	slices.SortFunc(docs, func(a, b llmemory.DocumentRecord) int { return strings.Compare(a.ID, b.ID) })
	docs = slices.CompactFunc(docs, func(a, b llmemory.DocumentRecord) bool { return a.ID == b.ID })
	for _, d := range docs {
		x := llmemory.EditDocument{Document: d}
		if err := c.query(sql.Get("edit_chunks"), collect(&x.Chunks, scanChunk), p.Owner, uuid(d.ID)); err != nil {
			return err
		}
		e.documents = append(e.documents, x)
	}
	if err := c.query(sql.Get("view_segments"), collect(&e.segments, scanSegment), p.Owner); err != nil {
		return err
	}
	var err error
	e.sets, err = e.store.generations(c)
	return err
}

// State implements [llmemory.Edit].
func (e *edit) State() llmemory.OwnerState { return e.state }

// Documents implements [llmemory.Edit].
func (e *edit) Documents() []llmemory.EditDocument { return e.documents }

// Segments implements [llmemory.Edit].
func (e *edit) Segments() []llmemory.Segment { return e.segments }

// Generations implements [llmemory.Edit].
func (e *edit) Generations() []llmemory.Generation { return e.sets }

// Load implements [llmemory.Edit].
func (e *edit) Load(ctx context.Context, p llmemory.LoadParams) ([]llmemory.LoadedSegment, error) {
	var out []llmemory.LoadedSegment
	err := e.session.do(ctx, func(c *conn) error {
		for _, s := range e.segments {
			if !slices.Contains(p.Segments, s.ID) {
				continue
			}
			loaded := llmemory.LoadedSegment{Segment: s}
			if err := c.query(e.store.sql.Get("load_pages"), collect(&loaded.Pages, scanPage), p.Owner, s.ID); err != nil {
				return err
			}
			out = append(out, loaded)
		}
		return nil
	})
	return out, err
}

// Leaves implements [llmemory.Edit].
func (e *edit) Leaves(ctx context.Context, p llmemory.LeavesParams) ([]llmemory.LeafRecord, error) {
	var out []llmemory.LeafRecord
	err := e.session.do(ctx, func(c *conn) error {
		return c.query(e.store.sql.Get("leaves"), collect(&out, scanLeaf), p.Owner, p.After, p.Limit)
	})
	return out, err
}

// Put implements [llmemory.Edit].
func (e *edit) Put(ctx context.Context, p llmemory.PutParams) error {
	return e.session.do(ctx, func(c *conn) error {
		if err := e.changeRows(c, p.Owner, p.Rows); err != nil {
			return err
		}
		return e.putPages(c, p.Owner, p.Pages)
	})
}

func (e *edit) putPages(c *conn, owner string, pages []llmemory.IndexPage) error {
	for _, p := range pages {
		if err := c.exec(e.store.sql.Get("put_pages"), owner, p.Segment, p.First, notNull(p.Postings), notNull(p.Positions)); err != nil {
			return err
		}
	}
	return nil
}

// notNull is for columns where no bytes are a value.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Rollback implements [llmemory.Edit].
func (e *edit) Rollback(context.Context) error { return e.session.end() }

// Commit implements [llmemory.Edit].
func (e *edit) Commit(ctx context.Context, c llmemory.Changes) (*llmemory.Committed, error) {
	out := &llmemory.Committed{}
	err := e.session.do(ctx, func(conn *conn) error {
		if err := e.change(conn, c, out); err != nil {
			return err
		}
		return conn.commit()
	})
	if endErr := e.session.end(); err == nil {
		err = endErr
	}
	if err != nil {
		return nil, err
	}
	if e.queued {
		e.store.wake.tell()
	}
	return out, nil
}

// change writes the changes.
func (e *edit) change(c *conn, x llmemory.Changes, out *llmemory.Committed) error {
	if err := e.changeRows(c, x.Owner, x.Rows); err != nil {
		return err
	}
	if err := e.changeIndex(c, x); err != nil {
		return err
	}
	languages := []byte("{}")
	if x.State.Languages != nil {
		var err error
		if languages, err = json.Marshal(x.State.Languages); err != nil {
			return err
		}
	}
	err := c.exec(e.store.sql.Get("put_owner"), x.Owner, x.State.Documents, x.State.Leaves, x.State.Length, x.State.NextOrdinal, x.State.NextSegment,
		x.State.Analysis, string(languages), x.State.MergeDue)
	if err != nil {
		return err
	}
	return e.vectors(c, x, out)
}

// changeRows writes the changes of documents and chunks, removals first.
func (e *edit) changeRows(c *conn, owner string, x llmemory.Rows) error {
	sql := e.store.sql
	for _, id := range x.DeleteDocuments {
		if err := c.exec(sql.Get("delete_documents"), owner, uuid(id)); err != nil {
			return err
		}
	}
	for _, d := range x.Documents {
		if err := e.putDocument(c, owner, d); err != nil {
			return err
		}
	}
	for _, id := range x.DeleteChunks {
		if err := c.exec(sql.Get("delete_chunks"), owner, uuid(id)); err != nil {
			return err
		}
	}
	for _, r := range x.UpdateChunks {
		if err := c.exec(sql.Get("update_chunks"), chunkArgs(owner, r)...); err != nil {
			return err
		}
	}
	for _, r := range x.InsertChunks {
		text := r.Text
		if r.Level > 0 {
			text = "" // that of its leaves
		}
		if err := c.exec(sql.Get("insert_chunks"), append(chunkArgs(owner, r), uuid(r.DocumentID), r.Level, text)...); err != nil {
			return err
		}
	}
	for _, l := range x.SetLengths {
		if err := c.exec(sql.Get("set_lengths"), owner, l.Ordinal, l.Length); err != nil {
			return err
		}
	}
	return nil
}

func (e *edit) putDocument(c *conn, owner string, d llmemory.DocumentRecord) error {
	var date any
	if !d.Date.IsZero() {
		date = micros(d.Date)
	}
	name, created, updated := "put_documents", e.now, e.now
	if !d.CreatedAt.IsZero() {
		name, created, updated = "restore_documents", micros(d.CreatedAt), micros(d.UpdatedAt)
	}
	return c.exec(e.store.sql.Get(name), owner, uuid(d.ID), d.OriginID, d.Key, d.Name, string(d.Type), date, string(d.RawMetadata),
		d.Language, notNull(d.ContentHash), d.Bytes, d.Tokens, d.ChunkCount, d.Tail, d.NoVectors, d.Version, created, updated, d.Format, d.Markup, d.Title, d.Author,
		notNull(d.SourceHash), notNull(d.Pages))
}

// chunkArgs returns the columns that new and kept chunks have in common.
func chunkArgs(owner string, r llmemory.ChunkRecord) []any {
	var ordinal any
	if r.Level == 0 {
		ordinal = r.Ordinal
	}
	return []any{owner, uuid(r.ID), uuid(r.ParentID), r.Position, r.Start, r.End, r.Tokens, ordinal, r.Length, r.InputHash, r.Heading, r.Lead,
		r.Page, r.PageEnd, r.Context, r.Summary, r.Parts}
}

// changeIndex writes the changes of the text index.
func (e *edit) changeIndex(c *conn, x llmemory.Changes) error {
	sql := e.store.sql
	for _, id := range x.DeleteSegments {
		if err := c.exec(sql.Get("delete_pages"), x.Owner, id); err != nil {
			return err
		}
		if err := c.exec(sql.Get("delete_segments"), x.Owner, id); err != nil {
			return err
		}
	}
	for _, s := range x.DeadSegments {
		if err := c.exec(sql.Get("dead_segments"), x.Owner, s.ID, s.Dead, s.DeadCount); err != nil {
			return err
		}
	}
	for _, s := range x.InsertSegments {
		if err := c.exec(sql.Get("insert_segments"), x.Owner, s.ID, s.Low, s.High, s.Leaves, s.Bytes, s.DeadCount, s.Dead); err != nil {
			return err
		}
		for i := range s.Pages {
			s.Pages[i].Segment = s.ID
		}
		if err := e.putPages(c, x.Owner, s.Pages); err != nil {
			return err
		}
	}
	return nil
}
