package sqlite

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/vecscan"
)

// filteredDepth is how many leaves, from the nearest on, are asked one by one whether a filter selects them. If too few pass, the
// filter is asked for all that it selects.
const filteredDepth = 4096

// nearest answers a question for the leaves nearest to a vector, within the view's transaction; nil asks for nothing. The error wraps
// ErrNotFound if the generation is not there.
func (v *view) nearest(ctx context.Context, c *conn, owner string, p *llmemory.VectorParams, where llmemory.Where) (*llmemory.VectorRecord, error) {
	if p == nil {
		return nil, nil
	}
	if p.Among != nil && len(p.Among) == 0 || p.Limit <= 0 {
		return &llmemory.VectorRecord{Plan: "nothing to look at"}, nil
	}
	s := v.store
	dimensions, err := s.dimensions(c, p.Generation)
	if err != nil {
		return nil, err
	}
	if len(p.Query) != dimensions {
		return nil, &llmemory.InvalidError{Field: "vector", Rule: fmt.Sprintf("must have %d dimensions, has %d", dimensions, len(p.Query))}
	}
	out := &llmemory.VectorRecord{Plan: "exact"}
	if p.Among != nil {
		out.Plan = fmt.Sprintf("exact among %d", len(p.Among))
	}
	set, err := s.vectorSet(c, owner, p.Generation, dimensions)
	if err != nil {
		return nil, err
	}
	n := &nearest{store: s, conn: c, set: set, owner: owner, vector: p.Query, query: vecscan.NewQuery(p.Query)}
	var hits []vecscan.Hit
	if where.IsZero() {
		hits, err = n.find(ctx, p.Limit, p.Among)
	} else {
		out.Plan += ", filtered"
		hits, err = n.filtered(ctx, p.Limit, p.Among, where)
	}
	for _, h := range hits {
		out.Found = append(out.Found, llmemory.VectorHit(h))
	}
	return out, err
}

// nearest is a search among an owner's vectors.
type nearest struct {
	store  *Store
	conn   *conn
	set    vectorSet
	owner  string
	vector []float32
	query  *vecscan.Query
}

// find returns the nearest leaves, of all or of some.
func (n *nearest) find(ctx context.Context, limit int, among []uint64) ([]vecscan.Hit, error) {
	if n.set.vectors == 0 {
		return nil, nil
	}
	candidates, err := n.candidates(ctx, limit, among)
	if err != nil {
		return nil, err
	}
	return vecscan.Nearest(candidates, limit, n.store.cosines(n.conn, n.set, n.vector))
}

func (n *nearest) candidates(ctx context.Context, limit int, among []uint64) ([]vecscan.Candidate, error) {
	s := n.store
	loaded, err := s.loaded.get(ctx, n.set, func(after uint64, each func(*vecscan.Page) error) error {
		return s.readPages(n.conn, n.set, "pages", each, after)
	})
	if err != nil {
		return nil, err
	}
	if loaded != nil {
		return loaded.Candidates(n.query, n.set.version, limit, among), nil
	}
	var keep func(uint64) bool
	if among != nil {
		only := make(map[uint64]struct{}, len(among))
		for _, ordinal := range among {
			only[ordinal] = struct{}{}
		}
		keep = func(ordinal uint64) bool {
			_, ok := only[ordinal]
			return ok
		}
	}
	scan := vecscan.NewScan(n.query, limit, keep)
	err = s.readPages(n.conn, n.set, "pages_newest_first", func(p *vecscan.Page) error {
		scan.Page(p)
		return nil
	})
	return scan.Candidates(), err
}

// filtered returns the nearest leaves that a filter selects. Filters that come here select many, so the nearest are looked at first, and
// all that the filter selects are asked for only if too few of these pass.
func (n *nearest) filtered(ctx context.Context, limit int, among []uint64, where llmemory.Where) ([]vecscan.Hit, error) {
	for depth := max(4*limit, 64); depth <= filteredDepth; depth *= 8 {
		hits, err := n.find(ctx, depth, among)
		if err != nil {
			return nil, err
		}
		ordinals := make([]uint64, len(hits))
		for i, h := range hits {
			ordinals[i] = h.Ordinal
		}
		passed, err := n.store.match(n.conn, llmemory.MatchParams{
			Owner: n.owner, Ordinals: ordinals, Stages: [3]int{0, 0, len(ordinals)}, Where: where, Limit: limit,
		})
		if err != nil {
			return nil, err
		}
		if len(passed) >= limit || len(hits) < depth {
			hits = slices.DeleteFunc(hits, func(h vecscan.Hit) bool {
				if len(passed) > 0 && passed[0] == h.Ordinal { // in the same order
					passed = passed[1:]
					return false
				}
				return true
			})
			return hits[:min(limit, len(hits))], nil
		}
	}
	selected := []uint64{}
	sql, args, err := n.store.filtered("select_leaves", where, n.owner, int64(math.MaxInt64))
	if err == nil {
		err = n.conn.queryOnce(sql, collect(&selected, scanOrdinal), args...)
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(selected)
	if among != nil {
		selected = slices.DeleteFunc(slices.Clone(among), func(ordinal uint64) bool {
			_, ok := slices.BinarySearch(selected, ordinal)
			return !ok
		})
	}
	return n.find(ctx, limit, selected)
}
