package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/vec"
	"github.com/llmemory/llmemory/pgdbm"
)

// nearest is a question for the leaves nearest to a vector, on its way with the other questions of a search. A nil one asks for
// nothing.
//
// An owner with an index is searched through it, unless the leaves to look at are known and few. What the index is known to be is
// of a moment ago: the statement is right without it as well, only slower. If an index ends before there are enough leaves, as it
// does where a filter lets hardly any pass, the exact statement is asked after all.
type nearest struct {
	owner  string
	params llmemory.VectorParams
	kind   string // type of the vectors
	query  statement
	exact  func() (statement, error) // to be asked if query finds too few; nil if query is exact
	found  []llmemory.VectorHit
}

// statement is a way to find the nearest leaves.
type statement struct {
	plan string // for people
	sql  string // "" if there is nothing to ask
	args []any
	// settings are the parameters of the statement that says how far to look in an index; nil without an index.
	settings []any
}

// fewOrdinals is up to how many leaves that are known one by one are compared one by one.
const fewOrdinals = 10_000

// maxScan is how many leaves an index is asked for at the most.
const maxScan = 20_000

// nearest prepares a question, nil if there is none.
func (v *view) nearest(ctx context.Context, owner string, p *llmemory.VectorParams, where llmemory.Where) (*nearest, error) {
	if p == nil {
		return nil, nil
	}
	n := &nearest{owner: owner, params: *p}
	if p.Among != nil && len(p.Among) == 0 || p.Limit <= 0 {
		n.query.plan = "nothing to look at"
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
	query := vec.Settled(p.Query)
	exact := func() (statement, error) { return v.store.exactly(g, owner, query, p, where) }
	if index := v.store.shared.index(g.ID, owner); index.name != "" && (p.Among == nil || len(p.Among) > fewOrdinals) {
		n.exact = exact
		n.query, err = v.store.indexed(g, index, owner, query, p, where)
	} else {
		n.query, err = exact()
	}
	return n, err
}

// exactly returns the statement that compares every vector it may.
func (s *Store) exactly(g generation, owner string, query []float32, p *llmemory.VectorParams, where llmemory.Where) (statement, error) {
	name, plan, args := "nearest_exact", "exact", []any{owner, query, int64(p.Limit)}
	if p.Among != nil {
		name, plan = "nearest_among", fmt.Sprintf("exact among %d", len(p.Among))
		args = append(args, signed(p.Among))
	}
	if !where.IsZero() {
		name, plan = strings.Replace(name, "_exact", "", 1)+"_where", plan+", filtered"
	}
	condition, args, err := compile(where, args)
	return statement{plan: plan, sql: replaceMarker(s.on(g, name), "/*condition*/", condition), args: args}, err
}

// indexed returns the statement that goes through the owner's index.
func (s *Store) indexed(g generation, index ownerIndex, owner string, query []float32, p *llmemory.VectorParams, where llmemory.Where) (statement, error) {
	i := g.indexing()
	reach, fetch := i.reach(p.Limit, p.Rows, max(index.vectors, p.Rows))
	name, plan, among := "nearest_index", "index "+index.name, ""
	args := []any{owner, query, int64(p.Limit), int64(fetch)}
	if p.Among != nil {
		plan, among = fmt.Sprintf("%s among %d", plan, len(p.Among)), "AND e.ordinal = ANY ($5::bigint[])"
		args = append(args, signed(p.Among))
	}
	if !where.IsZero() {
		name, plan = name+"_where", plan+", filtered"
	}
	condition, args, err := compile(where, args)
	sql := s.on(g, name)
	for marker, with := range map[string]string{"/*condition*/": condition, "/*among*/": among, "/*order*/": i.order} {
		sql = replaceMarker(sql, marker, with)
	}
	return statement{plan: plan, sql: sql, args: args, settings: []any{strconv.Itoa(reach), strconv.Itoa(maxScan)}}, err
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

// ask adds the question to a batch.
func (v *view) ask(b *pgdbm.Batch, n *nearest) {
	if n == nil || n.query.sql == "" {
		return
	}
	n.found = nil
	host := v.store.joined && n.query.settings != nil
	if host { // its transaction goes on, and its settings are the host's
		b.Queue("SAVEPOINT llmemory_nearest")
	}
	if n.query.settings != nil {
		b.Queue(v.store.sql.Get("index_settings"), n.query.settings...)
	}
	b.Queue(n.query.sql, n.query.args...).Rows(n.scan)
	if host {
		b.Queue("ROLLBACK TO SAVEPOINT llmemory_nearest")
		b.Queue("RELEASE SAVEPOINT llmemory_nearest")
	}
}

func (n *nearest) scan(rows pgx.Rows) error {
	n.found = make([]llmemory.VectorHit, 0, min(n.params.Limit, 1000))
	v := make([]float32, 0, len(n.params.Query))
	for rows.Next() {
		r := readRow(rows)
		ordinal, raw := r.int(), r.raw()
		err := r.end()
		if err != nil {
			return err
		}
		if v, err = decodeVector(raw, n.kind, v[:0]); err != nil {
			return err
		}
		if len(v) != len(n.params.Query) {
			return fmt.Errorf("%w: a vector of %d dimensions, not %d", llmemory.ErrCorrupt, len(v), len(n.params.Query))
		}
		n.found = append(n.found, llmemory.VectorHit{Ordinal: uint64(ordinal), Cosine: vec.Cosine(n.params.Query, v)})
	}
	return rows.Err()
}

// answer returns the answer once the batch has run.
func (v *view) answer(ctx context.Context, n *nearest) (*llmemory.VectorRecord, error) {
	if n == nil {
		return nil, nil
	}
	if n.exact != nil && len(n.found) < n.params.Limit {
		exact, err := n.exact()
		if err != nil {
			return nil, err
		}
		exact.plan = fmt.Sprintf("%s found %d; %s", n.query.plan, len(n.found), exact.plan)
		n.query, n.exact = exact, nil
		if err := v.run(ctx, n.owner, func(b *pgdbm.Batch) { v.ask(b, n) }); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(n.found, func(a, b llmemory.VectorHit) int {
		return cmp.Or(cmp.Compare(b.Cosine, a.Cosine), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	return &llmemory.VectorRecord{Found: n.found, Plan: n.query.plan}, nil
}
