package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm"
)

const (
	// indexLease is how long an index that is being built is left to its builder after the last sign of life, and indexBeat how
	// often there is one.
	indexLease = time.Minute
	indexBeat  = 3 * time.Second
	// settleTime is how long noting the outcome of a build may take after the caller has gone.
	settleTime = 5 * time.Second
	// maxBuildMemory is the most memory that is asked for to build an index, unless the server grants more to any.
	maxBuildMemory = 1 << 30
)

// errClaimLost ends a build that somebody else has taken over, or whose generation was retired.
var errClaimLost = errors.New("the index is not wanted any more, or another process builds it")

// largeOwner is an owner that has an index, or may be given one.
type largeOwner struct {
	id       string
	leaves   int64
	vectors  int64 // as far as they matter
	waiting  int64 // leaves that wait for a vector, as far as they matter
	recorded bool  // there is a record of its index
	ready    bool  // searches use it
	claimed  bool  // somebody is at it
	valid    bool  // the index is there and whole
	build    bool  // what is to be done: build it, or drop it
}

// next returns the owner whose index is to be built or dropped next, nil if all is as it should be. The list is ordered by size.
// An owner gets an index when it has from vectors and most of what it has is embedded: adding to an index is slower than building
// it. The index is dropped when half of these are left. Where more owners are large than may have an index, one must be twice as
// large as another to take its place. So nothing goes back and forth.
func next(list []largeOwner, from int64, most int) *largeOwner {
	recorded := 0
	var smallest *largeOwner
	for i := range list {
		o := &list[i]
		if o.claimed {
			return nil // one at a time
		}
		if o.recorded {
			recorded++
			smallest = o
		}
	}
	for i := range list {
		o := &list[i]
		o.build = o.vectors >= max(from/2, 1)
		if o.recorded && (!o.build || !o.ready || !o.valid) {
			return o
		}
	}
	if recorded > most {
		smallest.build = false
		return smallest
	}
	for i := range list {
		o := &list[i]
		if o.recorded || o.vectors < from || o.waiting > from/4 && o.vectors < 5*from {
			continue
		}
		if recorded < most {
			return o
		}
		if smallest != nil && o.leaves >= 2*smallest.leaves {
			smallest.build = false
			return smallest
		}
	}
	return nil
}

// Tune implements [llmemory.Store]. One step is an index built or dropped. An index is built on a connection of its own, since it
// takes minutes and cannot be done in a transaction; whoever dies over it leaves an invalid index, which the next one finds.
func (s *Store) Tune(ctx context.Context, p llmemory.TuneParams) (done bool, err error) {
	g, err := s.generation(ctx, p.Generation)
	if err != nil {
		return false, err
	}
	if err := s.alone("indexes"); err != nil {
		return false, err
	}
	from := s.indexedFrom(g)
	var (
		list     []largeOwner
		may      bool
		building bool
		granted  int64 // bytes for a build
	)
	err = s.read(ctx, "", func(b *pgdbm.Batch) {
		list = nil
		b.Queue(s.on(g, "large_owners"), from, int64(s.maxIndexes), s.db.SchemaName(), 5*from).
			Rows(collect(&list, func(r pgx.Rows, o *largeOwner) error {
				return r.Scan(&o.id, &o.leaves, &o.vectors, &o.waiting, &o.recorded, &o.ready, &o.claimed, &o.valid)
			}))
		b.Queue(s.sql.Get("index_place"), s.qualified(tableOf(g.ID))).Row(func(r pgx.Row) error { return r.Scan(&may, &granted, &building) })
	})
	if err != nil {
		return false, s.undefined(g.ID, err)
	}
	o := next(list, from, s.maxIndexes)
	switch {
	case o == nil || building:
		return true, nil
	case !may:
		return false, mayNotIndex(errors.New("this role may not make them"))
	}
	name := indexName(g.ID, o.id)
	token, err := s.claimIndex(ctx, g, o.id, name)
	if err != nil || token == "" { // somebody else was quicker
		return true, translate(err)
	}
	w := &indexWork{store: s, generation: g, owner: *o, name: name, token: token, memory: granted}
	err = w.run(ctx)
	if pgdbm.IsPrivilege(err) {
		err = mayNotIndex(err)
	}
	return false, translate(err)
}

func mayNotIndex(err error) error {
	return &llmemory.UnavailableError{What: "indexes of vectors",
		Err: fmt.Errorf("%w; run `llmemory embed` or Memory.Run as the owner of the schema's tables", err)}
}

// claimIndex takes an owner's index out of use. It returns "" if that is not possible now.
func (s *Store) claimIndex(ctx context.Context, g generation, owner, name string) (token string, err error) {
	err = s.db.InTx(ctx, readCommitted, func(tx *pgdbm.Tx) error {
		var tokens []string
		var b pgdbm.Batch
		b.Queue(s.sql.Get("lock_indexes"))
		b.Queue(s.on(g, "claim_index"), owner, name, interval(indexLease)).
			Rows(collect(&tokens, func(r pgx.Rows, t *string) error { return r.Scan(t) }))
		if err := tx.Run(ctx, &b); err != nil || len(tokens) == 0 {
			return err
		}
		token = tokens[0]
		return nil
	})
	return token, err
}

// indexWork is the building or dropping of one index.
type indexWork struct {
	store      *Store
	generation generation
	owner      largeOwner
	name       string
	token      string
	memory     int64 // that the server grants
}

func (w *indexWork) run(ctx context.Context) error {
	s := w.store
	working, stop := context.WithCancelCause(ctx)
	var heart sync.WaitGroup
	heart.Go(func() {
		if w.keep(working) {
			stop(errClaimLost)
		}
	})
	err := w.do(working)
	lost := errors.Is(context.Cause(working), errClaimLost)
	stop(nil)
	heart.Wait()
	if lost {
		return nil // it is another's now, or nobody's
	}
	settle, release := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer release()
	id := w.generation.ID
	switch {
	case err != nil:
		if _, released := s.db.Exec(settle, s.sql.Get("release_index"), w.owner.id, id, w.token); released != nil {
			err = errors.Join(err, released)
		}
	case w.owner.build:
		_, err = s.db.Exec(settle, s.on(w.generation, "index_ready"), w.owner.id, w.token)
	default:
		_, err = s.db.Exec(settle, s.sql.Get("forget_index"), w.owner.id, id, w.token)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// keep gives signs of life until the context ends. It tells whether the claim was lost before.
func (w *indexWork) keep(ctx context.Context) (lost bool) {
	tick := time.NewTicker(indexBeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		s := w.store
		tag, err := s.db.Exec(ctx, s.sql.Get("keep_index"), w.owner.id, w.generation.ID, w.token, interval(indexLease))
		if err == nil && tag.RowsAffected() == 0 {
			return true
		}
	}
}

// do builds or drops.
func (w *indexWork) do(ctx context.Context) error {
	s, i := w.store, w.generation.indexing()
	schema, table := s.db.SchemaName(), tableOf(w.generation.ID)
	var drop, build, analyze string
	err := s.db.QueryRow(ctx, s.sql.Get("index_commands"), schema, w.name, table, i.key, w.owner.id, int32(i.connections), int32(i.effort)).
		Scan(&drop, &build, &analyze)
	if err != nil {
		return err
	}
	var vectors int64
	if err := s.db.QueryRow(ctx, s.on(w.generation, "owner_vectors"), w.owner.id).Scan(&vectors); err != nil {
		return err
	}
	conn, err := s.db.Pool().Dial(ctx, map[string]string{
		"application_name": "llmemory index", "statement_timeout": "0", "lock_timeout": "0",
		"maintenance_work_mem": strconv.FormatInt(max(w.memory, min(i.memory(vectors), maxBuildMemory))>>10, 10),
		// Builds by several processes have a fault before pgvector 0.8.2, CVE-2026-3172.
		"max_parallel_maintenance_workers": "0",
	})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	exec := func(sql string) error {
		_, err := conn.PgConn().Exec(ctx, sql).ReadAll()
		return err
	}
	if !w.owner.build {
		return exec(drop)
	}
	exists, valid, err := w.state(ctx)
	if err == nil && exists && !valid {
		err = exec(drop)
	}
	if err == nil && !valid {
		err = exec(build)
	}
	if err == nil {
		// The planner is to know that the owner is large.
		err = exec(analyze)
	}
	if err != nil {
		return err
	}
	if _, valid, err = w.state(ctx); err == nil && !valid {
		err = fmt.Errorf("the index %s is not valid after it was built", w.name)
	}
	return err
}

// state tells whether the index is there, and whole.
func (w *indexWork) state(ctx context.Context) (exists, valid bool, err error) {
	var n int64
	err = w.store.db.QueryRow(ctx, w.store.sql.Get("index_state"), w.store.db.SchemaName(), w.name).Scan(&n, &valid)
	return n > 0, valid, err
}
