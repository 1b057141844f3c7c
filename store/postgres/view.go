package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm"
)

// view implements [llmemory.View]: a read transaction whose BEGIN travels with the first question and whose COMMIT with the last.
type view struct {
	store   *Store
	replica *replica  // that answers; nil for the primary
	tx      *pgdbm.Tx // nil before the first question
	done    bool
}

// View implements [llmemory.Store].
func (s *Store) View(ctx context.Context, _ llmemory.ViewParams) (llmemory.View, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return &view{store: s}, nil
}

// run sends a batch about an owner's rows. The first one finds where to ask: a replica or the primary.
func (v *view) run(ctx context.Context, owner string, queue func(*pgdbm.Batch)) error {
	s := v.store
	if v.tx != nil {
		b := s.batch(owner)
		queue(b)
		return translate(v.send(ctx, b, v.tx.Run))
	}
	return translate(s.anywhere(ctx, func(r *replica) (err error) {
		b := s.batch(owner)
		queue(b)
		if v.replica = r; r != nil {
			err = s.replicas.run(ctx, r, true, b, func(ctx context.Context, b *pgdbm.Batch) (err error) {
				v.tx, err = r.db.Begin(ctx, snapshot, b)
				return err
			})
		} else if v.tx, err = s.begin(ctx, snapshot); err == nil {
			err = v.tx.Run(ctx, b)
		}
		if err != nil {
			v.drop(ctx)
		}
		return err
	}))
}

// send sends a further batch to where the snapshot is.
func (v *view) send(ctx context.Context, b *pgdbm.Batch, run func(context.Context, *pgdbm.Batch) error) error {
	if v.replica == nil {
		return run(ctx, b)
	}
	return v.store.replicas.run(ctx, v.replica, false, b, run)
}

// drop ends the transaction. The next question begins another one.
func (v *view) drop(ctx context.Context) {
	if v.tx != nil {
		_ = v.tx.Rollback(context.WithoutCancel(ctx))
		v.tx = nil
	}
}

// Postings implements [llmemory.View].
func (v *view) Postings(ctx context.Context, p llmemory.PostingsParams) (*llmemory.PostingsRecord, error) {
	s := v.store
	var (
		state    llmemory.OwnerState
		segments []llmemory.Segment
		pages    []llmemory.IndexPage
		ordinals []int64
		active   int64
		index    ownerIndex
	)
	name := "view_pages"
	if p.Positions {
		name = "view_pages_positions"
	}
	filtered := !p.Where.IsZero()
	var sql string
	var args []any
	if filtered {
		var err error
		if sql, args, err = s.filtered("select_leaves", p.Where, p.Owner, int64(p.SelectLimit)+1); err != nil {
			return nil, err
		}
	}
	nearest, err := v.nearest(ctx, p.Owner, p.Vector, llmemory.Where{})
	if err != nil {
		return nil, err
	}
	ask := func(b *pgdbm.Batch) {
		state, segments, pages, ordinals = llmemory.OwnerState{}, nil, nil, nil
		b.Queue(s.sql.Get("owner_state"), p.Owner).Rows(func(rows pgx.Rows) error {
			if !rows.Next() { // an unknown owner
				return rows.Err()
			}
			return scanState(rows, &state)
		})
		b.Queue(s.sql.Get("active_generation"), p.Owner).Row(func(row pgx.Row) error { return row.Scan(&active, &index.name, &index.vectors) })
		if len(p.Terms) > 0 {
			b.Queue(s.sql.Get("view_segments"), p.Owner).Rows(collect(&segments, scanSegment))
			b.Queue(s.sql.Get(name), p.Owner, p.Terms).Rows(collect(&pages, scanPage))
		}
		if filtered {
			b.Queue(sql, args...).Rows(collect(&ordinals, scanOrdinal))
		}
		v.ask(b, nearest)
	}
	if err := v.run(ctx, p.Owner, ask); err != nil {
		if nearest == nil || !pgdbm.IsUndefined(err) {
			return nil, err
		}
		// The generation was retired: the answer without it says which is active.
		s.shared.forget(p.Vector.Generation)
		v.drop(ctx)
		nearest = nil
		if err := v.run(ctx, p.Owner, ask); err != nil {
			return nil, err
		}
	}
	s.shared.learnIndex(active, p.Owner, index)
	out := &llmemory.PostingsRecord{State: state, Active: active}
	if out.Vector, err = v.answer(ctx, nearest); err != nil {
		return nil, err
	}
	if out.Segments, err = assemble(segments, pages); err != nil {
		return nil, err
	}
	if filtered {
		if out.Broad = len(ordinals) > p.SelectLimit; !out.Broad {
			out.Selected = unsigned(ordinals)
			slices.Sort(out.Selected)
		}
	}
	return out, nil
}

func scanOrdinal(rows pgx.Rows, out *int64) error { return rows.Scan(out) }

func unsigned(list []int64) []uint64 {
	out := make([]uint64, len(list))
	for i, v := range list {
		out[i] = uint64(v)
	}
	return out
}

// Match implements [llmemory.View].
func (v *view) Match(ctx context.Context, p llmemory.MatchParams) (*llmemory.MatchRecord, error) {
	all := signed(p.Ordinals)
	head, middle := p.Stages[0], p.Stages[0]+p.Stages[1]
	sql, args, err := v.store.filtered("match", p.Where, p.Owner, all[:head], all[head:middle], all[middle:], int64(p.Limit))
	if err != nil {
		return nil, err
	}
	nearest, err := v.nearest(ctx, p.Owner, p.Vector, p.Where)
	if err != nil {
		return nil, err
	}
	var passed []int64
	if err := v.run(ctx, p.Owner, func(b *pgdbm.Batch) {
		passed = nil
		if len(all) > 0 {
			b.Queue(sql, args...).Rows(collect(&passed, scanOrdinal))
		}
		v.ask(b, nearest)
	}); err != nil {
		if nearest != nil && pgdbm.IsUndefined(err) {
			v.store.shared.forget(p.Vector.Generation)
			err = &llmemory.UnavailableError{What: "vectors", Err: err}
		}
		return nil, err
	}
	out := &llmemory.MatchRecord{}
	if len(all) > 0 {
		rank := make(map[int64]int, len(all))
		for i, ordinal := range all {
			rank[ordinal] = i
		}
		slices.SortFunc(passed, func(a, b int64) int { return rank[a] - rank[b] })
		out.Ordinals = unsigned(passed)
	}
	out.Vector, err = v.answer(ctx, nearest)
	return out, err
}

// Hits implements [llmemory.View].
func (v *view) Hits(ctx context.Context, p llmemory.HitsParams) ([]llmemory.HitRecord, error) {
	s := v.store
	ordinals, groups := signed(p.Ordinals), make([]int32, len(p.Groups))
	for i, g := range p.Groups {
		groups[i] = int32(g)
	}
	hits := make([]llmemory.HitRecord, 0, min(p.Limit, len(p.Ordinals)))
	var parents, neighbours []llmemory.ChunkRecord
	b := s.batch(p.Owner)
	b.Queue(s.sql.Get("hits"), p.Owner, ordinals, groups, int64(p.Limit)).Rows(collect(&hits, scanHit))
	if p.Parents {
		b.Queue(s.sql.Get("hit_parents"), p.Owner, ordinals, groups, int64(p.Limit)).Rows(collect(&parents, scanChunk))
	}
	if p.Neighbours > 0 {
		b.Queue(s.sql.Get("hit_neighbours"), p.Owner, ordinals, groups, int64(p.Limit), int32(p.Neighbours)).Rows(collect(&neighbours, scanChunk))
	}
	if v.tx == nil {
		tx, err := s.begin(ctx, snapshot)
		if err != nil {
			return nil, translate(err)
		}
		v.tx = tx
	}
	v.done = true
	if err := v.send(ctx, b, v.tx.Commit); err != nil {
		_ = v.tx.Rollback(ctx)
		if pgdbm.IsConnection(err) { // a read commits nothing
			return nil, &llmemory.UnavailableError{What: "database", Err: err}
		}
		return nil, translate(err)
	}
	byID := make(map[string]*llmemory.Chunk, len(parents))
	for i := range parents {
		byID[parents[i].ID] = &parents[i].Chunk
	}
	byPlace := make(map[string]map[int]llmemory.Chunk)
	for _, n := range neighbours {
		if byPlace[n.DocumentID] == nil {
			byPlace[n.DocumentID] = map[int]llmemory.Chunk{}
		}
		byPlace[n.DocumentID][n.Position] = n.Chunk
	}
	for i := range hits {
		h := &hits[i]
		if p.Parents {
			h.Parent = byID[h.Chunk.ParentID]
		}
		for d := -p.Neighbours; d <= p.Neighbours; d++ {
			n, ok := byPlace[h.Chunk.DocumentID][h.Chunk.Position+d]
			switch {
			case !ok || d == 0:
			case d < 0:
				h.Before = append(h.Before, n)
			default:
				h.After = append(h.After, n)
			}
		}
	}
	return hits, nil
}

// Close implements [llmemory.View].
func (v *view) Close(ctx context.Context) error {
	if v.done || v.tx == nil {
		return nil
	}
	v.done = true
	return translate(v.tx.Rollback(ctx))
}
