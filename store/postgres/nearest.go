package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/vec"
	"github.com/llmemory/llmemory/pgdbm"
)

// nearest is a question for the leaves nearest to a vector, on its way with the other questions of a search. A nil one asks for
// nothing.
type nearest struct {
	params llmemory.VectorParams
	kind   string // type of the vectors
	sql    string
	args   []any
	plan   string
	found  []llmemory.VectorHit
}

// nearest prepares a question, nil if there is none.
func (v *view) nearest(ctx context.Context, owner string, p *llmemory.VectorParams, where llmemory.Where) (*nearest, error) {
	if p == nil {
		return nil, nil
	}
	s := v.store
	n := &nearest{params: *p}
	if p.Among != nil && len(p.Among) == 0 || p.Limit <= 0 {
		n.plan = "nothing to look at"
		return n, nil
	}
	g, err := v.generation(ctx, p.Generation)
	if err != nil {
		return nil, err
	}
	if len(p.Query) != g.Model.Dimensions {
		return nil, &llmemory.InvalidError{Field: "vector", Rule: fmt.Sprintf("must have %d dimensions, has %d", g.Model.Dimensions, len(p.Query))}
	}
	n.kind = formOf(g.Model.Dimensions).kind
	query := slices.Clone(p.Query)
	vec.Settle(query)
	n.args = []any{owner, query, int64(p.Limit)}
	name := "nearest_exact"
	n.plan = "exact"
	if p.Among != nil {
		name, n.plan = "nearest_among", fmt.Sprintf("exact among %d", len(p.Among))
		n.args = append(n.args, signed(p.Among))
	}
	if !where.IsZero() {
		name, n.plan = strings.Replace(name, "_exact", "", 1)+"_where", n.plan+", filtered"
	}
	condition, args, err := compile(where, n.args)
	if err != nil {
		return nil, err
	}
	n.sql, n.args = replaceMarker(s.on(g, name), "/*condition*/", condition), args
	return n, nil
}

// generation is [Store.generation] within the view's transaction.
func (v *view) generation(ctx context.Context, id int64) (generation, error) {
	s := v.store
	if g, ok := s.shared.known(id); ok {
		return g, nil
	}
	var list []generation
	if err := v.run(ctx, "", func(b *pgdbm.Batch) {
		b.Queue(s.sql.Get("generations")).Row(scanGenerations(&list))
	}); err != nil {
		return generation{}, err
	}
	if v.replica == nil {
		s.shared.learn(list)
	}
	for _, g := range list {
		if g.ID == id {
			return g, nil
		}
	}
	if v.replica != nil { // it may not have heard of it
		return generation{}, &llmemory.UnavailableError{What: "vectors", Err: fmt.Errorf("the replica knows no generation %d", id)}
	}
	return generation{}, notFound(id)
}

// queue adds the question to a batch.
func (n *nearest) queue(b *pgdbm.Batch) {
	if n == nil || n.sql == "" {
		return
	}
	n.found = nil
	b.Queue(n.sql, n.args...).Rows(n.scan)
}

func (n *nearest) scan(rows pgx.Rows) error {
	for rows.Next() {
		var ordinal int64
		var raw []byte
		if err := rows.Scan(&ordinal, &raw); err != nil {
			return err
		}
		v, err := decodeVector(raw, n.kind)
		if err != nil {
			return err
		}
		if len(v) != len(n.params.Query) {
			return fmt.Errorf("%w: a vector of %d dimensions, not %d", llmemory.ErrCorrupt, len(v), len(n.params.Query))
		}
		n.found = append(n.found, llmemory.VectorHit{Ordinal: uint64(ordinal), Cosine: vec.Cosine(n.params.Query, v)})
	}
	return rows.Err()
}

// record returns the answer once the batch has run.
func (n *nearest) record(context.Context) (*llmemory.VectorRecord, error) {
	if n == nil {
		return nil, nil
	}
	slices.SortFunc(n.found, func(a, b llmemory.VectorHit) int {
		return cmp.Or(cmp.Compare(b.Cosine, a.Cosine), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	return &llmemory.VectorRecord{Found: n.found, Plan: n.plan}, nil
}
