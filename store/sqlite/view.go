package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/llmemory/llmemory"
)

// view implements [llmemory.View]: a read transaction on a connection of its own, which begins with the first question.
type view struct {
	store   *Store
	session *session // nil before the first question
	done    bool
}

// View implements [llmemory.Store].
func (s *Store) View(ctx context.Context, _ llmemory.ViewParams) (llmemory.View, error) {
	if err := s.pool.check(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &view{store: s}, nil
}

// do asks questions of the snapshot.
func (v *view) do(ctx context.Context, ask func(*conn) error) error {
	if v.done {
		return fmt.Errorf("view: %w", llmemory.ErrClosed)
	}
	begun := v.session != nil
	if !begun {
		session, err := v.store.pool.read(ctx)
		if err != nil {
			return err
		}
		v.session = session
	}
	return v.session.do(ctx, func(c *conn) error {
		if !begun || !c.inTransaction() {
			if err := c.exec("BEGIN"); err != nil {
				return err
			}
		}
		return ask(c)
	})
}

// Close implements [llmemory.View].
func (v *view) Close(context.Context) error {
	v.done = true
	if v.session == nil {
		return nil
	}
	return v.session.end()
}

// Postings implements [llmemory.View].
func (v *view) Postings(ctx context.Context, p llmemory.PostingsParams) (*llmemory.PostingsRecord, error) {
	out := &llmemory.PostingsRecord{}
	err := v.do(ctx, func(c *conn) error {
		s := v.store
		if err := c.query(s.sql.Get("owner_state"), func(r row) error { return scanState(r, &out.State) }, p.Owner); err != nil {
			return err
		}
		sets, err := s.generations(c)
		if err != nil {
			return err
		}
		for _, g := range sets {
			if g.State == llmemory.Active {
				out.Active = g.ID
			}
		}
		if len(p.Terms) > 0 {
			if out.Segments, err = s.segments(c, p); err != nil {
				return err
			}
		}
		if !p.Where.IsZero() {
			sql, args, err := s.filtered("select_leaves", p.Where, p.Owner, int64(p.SelectLimit)+1)
			if err != nil {
				return err
			}
			selected := []uint64{}
			if err := c.queryOnce(sql, collect(&selected, scanOrdinal), args...); err != nil {
				return err
			}
			if out.Broad = len(selected) > p.SelectLimit; !out.Broad {
				slices.Sort(selected)
				out.Selected = selected
			}
		}
		out.Vector, err = v.nearest(ctx, c, p.Owner, p.Vector, llmemory.Where{})
		if errors.Is(err, llmemory.ErrNotFound) && p.Vector.Generation != out.Active {
			err = nil // it was retired: the answer says which one is active now
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// segments reads the owner's segments with the pages of terms.
func (s *Store) segments(c *conn, p llmemory.PostingsParams) ([]llmemory.LoadedSegment, error) {
	var list []llmemory.Segment
	if err := c.query(s.sql.Get("view_segments"), collect(&list, scanSegment), p.Owner); err != nil {
		return nil, err
	}
	name := "view_pages"
	if p.Positions {
		name = "view_pages_positions"
	}
	terms := slices.Clone(p.Terms)
	slices.Sort(terms)
	find, load := s.sql.Get("view_page"), s.sql.Get(name)
	out := make([]llmemory.LoadedSegment, len(list))
	for i, segment := range list {
		out[i].Segment = segment
		last := "" // page that was read: pages of ascending terms ascend
		for _, term := range terms {
			first, found := "", false
			err := c.query(find, func(r row) error {
				first, found = r.ColumnText(0), true
				return nil
			}, p.Owner, segment.ID, term)
			if err != nil {
				return nil, err
			}
			if !found || len(out[i].Pages) > 0 && first == last {
				continue
			}
			last = first
			if err := c.query(load, collect(&out[i].Pages, scanPage), p.Owner, segment.ID, first); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// Match implements [llmemory.View].
func (v *view) Match(ctx context.Context, p llmemory.MatchParams) (*llmemory.MatchRecord, error) {
	out := &llmemory.MatchRecord{}
	err := v.do(ctx, func(c *conn) (err error) {
		if len(p.Ordinals) > 0 {
			if out.Ordinals, err = v.store.match(c, p); err != nil {
				return err
			}
		}
		out.Vector, err = v.nearest(ctx, c, p.Owner, p.Vector, p.Where)
		if errors.Is(err, llmemory.ErrNotFound) {
			err = &llmemory.UnavailableError{What: "vectors", Err: err}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// match asks of each document once, whatever the number of its leaves.
func (s *Store) match(c *conn, p llmemory.MatchParams) ([]uint64, error) {
	passed := []uint64{}
	verdicts := map[string]bool{}
	sql, args, err := s.filtered("match", p.Where, p.Owner, []byte{})
	if err != nil {
		return nil, err
	}
	question, _, err := c.raw.Prepare(sql)
	if err != nil {
		return nil, err
	}
	defer question.Close() //nolint:errcheck // repeats the error of its last use
	at := 0
	for _, size := range p.Stages {
		for _, ordinal := range p.Ordinals[at : at+size] {
			var document []byte
			err := c.query(s.sql.Get("match_document"), func(r row) error {
				document = blob(r, 0)
				return nil
			}, p.Owner, ordinal)
			if err != nil {
				return nil, err
			}
			if document == nil {
				continue
			}
			verdict, known := verdicts[string(document)]
			if !known {
				args[1] = document
				if err := run(question, func(row) error { verdict = true; return nil }, args); err != nil {
					return nil, err
				}
				verdicts[string(document)] = verdict
			}
			if verdict {
				passed = append(passed, ordinal)
			}
		}
		at += size
		if len(passed) >= p.Limit {
			break
		}
	}
	return passed, nil
}

// Hits implements [llmemory.View].
func (v *view) Hits(ctx context.Context, p llmemory.HitsParams) ([]llmemory.HitRecord, error) {
	var hits []llmemory.HitRecord
	err := v.do(ctx, func(c *conn) (err error) {
		hits, err = v.store.hits(c, p)
		return err
	})
	if closeErr := v.Close(ctx); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	return hits, nil
}

func (s *Store) hits(c *conn, p llmemory.HitsParams) ([]llmemory.HitRecord, error) {
	// Of candidates that tie with the last hit there may be thousands: which are the hits is found out first.
	type candidate struct {
		ordinal uint64
		group   int
		chunk   string
	}
	var list []candidate
	for i, ordinal := range p.Ordinals {
		err := c.query(s.sql.Get("hit_chunk_id"), func(r row) error {
			list = append(list, candidate{ordinal, p.Groups[i], string(r.ColumnRawBlob(0))})
			return nil
		}, p.Owner, ordinal)
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b candidate) int { return cmp.Or(a.group-b.group, strings.Compare(a.chunk, b.chunk)) })
	list = list[:min(len(list), max(p.Limit, 0))]
	hits := make([]llmemory.HitRecord, 0, len(list))
	parents := map[string]*llmemory.Chunk{}
	for _, x := range list {
		if err := c.query(s.sql.Get("hits"), collect(&hits, scanHit), p.Owner, x.ordinal); err != nil {
			return nil, err
		}
	}
	for i := range hits {
		h := &hits[i]
		if id := h.Chunk.ParentID; p.Parents && id != "" {
			if _, ok := parents[id]; !ok {
				parent, err := s.parent(c, p.Owner, id, h.Chunk.Position)
				if err != nil {
					return nil, err
				}
				parents[id] = parent
			}
			h.Parent = parents[id]
		}
		if p.Neighbours > 0 {
			var around []llmemory.ChunkRecord
			at := h.Chunk.Position
			err := c.query(s.sql.Get("hit_neighbours"), collect(&around, scanChunk), p.Owner, uuid(h.Chunk.DocumentID), at-p.Neighbours, at+p.Neighbours)
			if err != nil {
				return nil, err
			}
			for _, n := range around {
				switch {
				case n.Position < at:
					h.Before = append(h.Before, n.Chunk)
				case n.Position > at:
					h.After = append(h.After, n.Chunk)
				}
			}
		}
	}
	return hits, nil
}

// errEnough ends a query before its last row.
var errEnough = errors.New("enough")

// parent returns a parent with its text, nil if there is none. Its leaves follow each other; at is the position of one.
func (s *Store) parent(c *conn, owner, id string, at int) (*llmemory.Chunk, error) {
	var found []llmemory.ChunkRecord
	if err := c.query(s.sql.Get("hit_parents"), collect(&found, scanChunk), owner, uuid(id)); err != nil || len(found) == 0 {
		return nil, err
	}
	p := &found[0].Chunk
	first := at
	err := c.query(s.sql.Get("hit_parent_first"), func(r row) error {
		if uuidText(r, 1) != id {
			return errEnough
		}
		first = r.ColumnInt(0)
		return nil
	}, owner, uuid(p.DocumentID), at)
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	var text strings.Builder
	err = c.query(s.sql.Get("hit_parent_leaves"), func(r row) error {
		if uuidText(r, 0) != id {
			return errEnough
		}
		if r.ColumnInt(1) != p.Start {
			text.Write(r.ColumnRawText(2))
		}
		text.Write(r.ColumnRawText(3))
		return nil
	}, owner, uuid(p.DocumentID), first)
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	p.Text = text.String()
	return p, nil
}
