package pgdbm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/llmemory/llmemory/internal/sqlfile"
)

// Querier is what a schema handle ([DB]), a single connection ([Conn]) and a
// transaction ([Tx]) have in common, so that code need not know which it was
// given. SQL may contain the template tags described at [DB.Render].
//
// Parameters are sent as text of unspecified type, bytes as binary; the server
// infers the type. Where it cannot, as in "SELECT $1", cast: "SELECT $1::int8".
// All results come in binary format, so a column whose type pgx does not know,
// such as one of an extension, is selected with a cast to text or bytea.
//
// Errors are of type *[Error].
type Querier interface {
	// Exec runs one statement. The tag tells how many rows it affected.
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)

	// Query runs one statement and returns its rows, which must be closed; until
	// then they keep a connection (on a DB) or make it busy (on a Conn or Tx).
	// Errors that come with the rows are found in Err after Close.
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)

	// QueryRow is Query for at most one row. It runs when the row is scanned.
	// Scan returns an error that is pgx.ErrNoRows if there is none.
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row

	// Run sends a batch and delivers its results, in one round trip.
	Run(ctx context.Context, b *Batch) error

	// CopyFrom loads rows into a table of the handle's schema by binary COPY,
	// and returns their number. It is all or nothing.
	CopyFrom(ctx context.Context, table string, columns []string, src pgx.CopyFromSource) (int64, error)

	// Begin starts a transaction and runs first in it, in the same round trip.
	// first may be nil: then BEGIN travels with the first statement that follows.
	// If first fails, the transaction is rolled back and the error returned.
	// Inside a transaction it makes a savepoint, and the options do not apply.
	// opts may be nil.
	Begin(ctx context.Context, opts *TxOptions, first *Batch) (*Tx, error)

	// InTx runs fn in a transaction (in a savepoint if there is one already),
	// commits if it returns nil and rolls back if not, or if it panics. fn may
	// run several times if opts ask for retries. opts may be nil.
	InTx(ctx context.Context, opts *TxOptions, fn func(*Tx) error) error
}

var (
	_ Querier = (*DB)(nil)
	_ Querier = (*Conn)(nil)
	_ Querier = (*Tx)(nil)
)

// DB is a handle on one schema. All its calls take a connection from the pool,
// use it once and give it back. It is safe for concurrent use; handles are
// cheap, and there may be several for one schema.
type DB struct {
	pool   *Pool
	schema string
	err    error

	mu    sync.RWMutex
	cache map[string]string
}

// Schema returns a handle on the schema called name, which need not exist yet:
// [DB.Migrate] makes it. Any identifier will do, reserved words, mixed case and
// blanks included; it is always quoted, so Schema("App") is not "app". A name
// that no identifier can be (empty, with a NUL byte, longer than 63 bytes, not
// UTF-8) gives a handle whose every call fails with [ErrSchemaName]; [DB.Err]
// tells at once.
func (p *Pool) Schema(name string) *DB {
	db := &DB{pool: p, schema: name, cache: map[string]string{}}
	if err := sqlfile.CheckIdentifier(name); err != nil {
		db.err = fmt.Errorf("pgdbm: %w %q: %w", ErrSchemaName, name, err)
	}
	return db
}

// DefaultSchema returns a handle on the schema that unqualified names refer to
// for this pool's role, current_schema(). The server is asked once per pool.
func (p *Pool) DefaultSchema(ctx context.Context) (*DB, error) {
	p.defaultMu.Lock()
	defer p.defaultMu.Unlock()
	if p.defaultSchema == "" {
		// The catalogue's schema serves as a stand-in: the statement has no tags.
		var name *string
		if err := p.Schema("pg_catalog").QueryRow(ctx, "SELECT pg_catalog.current_schema()::text").Scan(&name); err != nil {
			return nil, err
		}
		if name == nil {
			return nil, fmt.Errorf("pgdbm: %w: there is no default schema, as search_path names none that exists and that the role may use; name one", ErrSchemaName)
		}
		p.defaultSchema = *name
	}
	return p.Schema(p.defaultSchema), nil
}

// Err returns why the handle cannot be used, nil if it can.
func (db *DB) Err() error { return db.err }

// SchemaName returns the name of the schema, unquoted.
func (db *DB) SchemaName() string { return db.schema }

// Pool returns the pool of the handle.
func (db *DB) Pool() *Pool { return db.pool }

// maxCached bounds the rendered statements kept per handle. A program has a few
// hundred; only statements composed at run time can reach the bound, and then
// the cache starts afresh.
const maxCached = 1000

// Render replaces template tags and returns SQL for this schema:
//
//	{{tables.x}}        the table (index, type, function …) x of this schema
//	{{tables.other.x}}  x of the schema named other
//	{{schema}}          the schema
//
// All names are quoted. A tag written in any other way is an error. Every method
// that takes SQL renders it; the result is kept.
func (db *DB) Render(sql string) (string, error) {
	if db.err != nil {
		return "", db.err
	}
	if !strings.Contains(sql, "{{") {
		return sql, nil
	}
	db.mu.RLock()
	out, ok := db.cache[sql]
	db.mu.RUnlock()
	if ok {
		return out, nil
	}
	out, err := sqlfile.Render(sql, db.schema)
	if err != nil {
		return "", fmt.Errorf("pgdbm: %w", err)
	}
	db.mu.Lock()
	if len(db.cache) >= maxCached {
		clear(db.cache)
	}
	db.cache[sql] = out
	db.mu.Unlock()
	return out, nil
}

// statement renders one statement.
func (db *DB) statement(op, sql string, args []any) (*statement, error) {
	rendered, err := db.Render(sql)
	if err != nil {
		return nil, &Error{Op: op, Statement: excerpt(sql), Message: err.Error(), Err: err}
	}
	return &statement{sql: rendered, text: sql, args: args}, nil
}

// Acquire takes one connection out of the pool for several calls. It must be
// released.
func (db *DB) Acquire(ctx context.Context) (*Conn, error) {
	if db.err != nil {
		return nil, db.err
	}
	conn, release, err := db.pool.lend(ctx)
	if err != nil {
		return nil, err
	}
	return &Conn{db: db, conn: conn, release: release}, nil
}

// Exec implements [Querier].
func (db *DB) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	c, err := db.Acquire(ctx)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	defer c.Release()
	return c.Exec(ctx, sql, args...)
}

// Query implements [Querier].
func (db *DB) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	c, err := db.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	return c.query(ctx, c.Release, sql, args)
}

// QueryRow implements [Querier].
func (db *DB) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return lazyRow{func() (pgx.Rows, error) { return db.Query(ctx, sql, args...) }}
}

// Run implements [Querier].
func (db *DB) Run(ctx context.Context, b *Batch) error {
	if b.Len() == 0 {
		return db.err
	}
	c, err := db.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	return c.Run(ctx, b)
}

// CopyFrom implements [Querier].
func (db *DB) CopyFrom(ctx context.Context, table string, columns []string, src pgx.CopyFromSource) (int64, error) {
	c, err := db.Acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer c.Release()
	return c.CopyFrom(ctx, table, columns, src)
}

// Begin implements [Querier]. The transaction keeps its connection until it
// ends.
func (db *DB) Begin(ctx context.Context, opts *TxOptions, first *Batch) (*Tx, error) {
	c, err := db.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	return c.begin(ctx, opts, first, c.Release)
}

// InTx implements [Querier].
func (db *DB) InTx(ctx context.Context, opts *TxOptions, fn func(*Tx) error) error {
	return inTx(ctx, db.Begin, opts, fn)
}

// WithTx returns the host's transaction as a [Tx] of this schema. What is done
// in it commits or vanishes with the host's. It is never ended from here: Commit
// and Rollback return [ErrNotOwned], and Begin makes a savepoint. It must not be
// used once the host has ended its transaction.
func (db *DB) WithTx(tx pgx.Tx) *Tx {
	t := &Tx{db: db, kind: borrowed}
	if tx == nil {
		t.state = closed
		return t
	}
	t.conn = tx.Conn()
	t.state = open
	return t
}

// Conn is one connection of the pool, for calls that must share one. It is not
// safe for concurrent use.
type Conn struct {
	db      *DB
	conn    *pgx.Conn
	release func()
}

// Release gives the connection back; a connection in a bad state is closed
// instead. Later calls do nothing.
func (c *Conn) Release() {
	if c.release != nil {
		c.release()
		c.conn, c.release = nil, nil
	}
}

var errReleased = errors.New("the connection was released")

func (c *Conn) usable(op string) error {
	if c.conn == nil {
		return newError(op, "", errReleased, nil)
	}
	return nil
}

// Exec implements [Querier].
func (c *Conn) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := c.usable("exec"); err != nil {
		return pgconn.CommandTag{}, err
	}
	st, err := c.db.statement("exec", sql, args)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	ctx, cancel := c.db.pool.callContext(ctx)
	defer cancel()
	out := c.db.exchange(ctx, KindExec, c.conn, []*statement{st})
	return pgconn.NewCommandTag(st.tag), out.err
}

// Query implements [Querier].
func (c *Conn) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := c.usable("query"); err != nil {
		return nil, err
	}
	return c.query(ctx, func() {}, sql, args)
}

// query calls done when the connection is free again, also on error.
func (c *Conn) query(ctx context.Context, done func(), sql string, args []any) (pgx.Rows, error) {
	st, err := c.db.statement("query", sql, args)
	if err != nil {
		done()
		return nil, err
	}
	ctx, cancel := c.db.pool.callContext(ctx)
	return c.db.query(ctx, c.conn, nil, st, func(int) { cancel(); done() })
}

// QueryRow implements [Querier].
func (c *Conn) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return lazyRow{func() (pgx.Rows, error) { return c.Query(ctx, sql, args...) }}
}

// Run implements [Querier].
func (c *Conn) Run(ctx context.Context, b *Batch) error {
	if err := c.usable("batch"); err != nil {
		return err
	}
	list, err := b.statements(c.db)
	if err != nil || len(list) == 0 {
		return err
	}
	ctx, cancel := c.db.pool.callContext(ctx)
	defer cancel()
	return c.db.exchange(ctx, KindBatch, c.conn, list).err
}

// CopyFrom implements [Querier].
func (c *Conn) CopyFrom(ctx context.Context, table string, columns []string, src pgx.CopyFromSource) (int64, error) {
	if err := c.usable("copy"); err != nil {
		return 0, err
	}
	return c.db.copyFrom(ctx, c.conn, table, columns, src)
}

// Begin implements [Querier].
func (c *Conn) Begin(ctx context.Context, opts *TxOptions, first *Batch) (*Tx, error) {
	if err := c.usable("begin"); err != nil {
		return nil, err
	}
	return c.begin(ctx, opts, first, func() {})
}

func (c *Conn) begin(ctx context.Context, opts *TxOptions, first *Batch, done func()) (*Tx, error) {
	if err := opts.check(); err != nil {
		done()
		return nil, newError("begin", "", err, nil)
	}
	tx := &Tx{
		db: c.db, conn: c.conn, done: done, kind: owned,
		opening: append([]*statement{command(opts.begin())}, c.db.pool.limitCommands()...),
	}
	return tx.start(ctx, first)
}

// InTx implements [Querier].
func (c *Conn) InTx(ctx context.Context, opts *TxOptions, fn func(*Tx) error) error {
	return inTx(ctx, c.Begin, opts, fn)
}

// exchange sends a list in one round trip, with trace.
func (db *DB) exchange(ctx context.Context, kind Kind, conn *pgx.Conn, list []*statement) outcome {
	start := time.Now()
	m := db.pool.typeMap()
	defer db.pool.maps.Put(m)
	out := exchange(ctx, conn, m, string(kind), list)
	db.pool.observe(conn, out.err)
	if db.pool.tracer == nil {
		return out
	}
	e := Event{Kind: kind, Schema: db.schema, Rows: out.rows, Start: start, Err: out.err}
	if out.sent {
		e.Statements, e.RoundTrips = len(list), 1
	}
	for _, s := range list {
		if !s.control {
			e.Statement = excerpt(s.text)
			break
		}
	}
	db.pool.trace(ctx, e)
	return out
}

// query sends prelude and one statement, with trace. done is called with the
// number of prelude statements that were completed when the connection is free
// again, also on error.
func (db *DB) query(ctx context.Context, conn *pgx.Conn, prelude []*statement, st *statement, done func(completed int)) (pgx.Rows, error) {
	start := time.Now()
	m := db.pool.typeMap()
	return query(ctx, conn, m, prelude, st, func(completed int, n int64, err error) {
		db.pool.maps.Put(m)
		db.pool.observe(conn, err)
		done(max(completed, 0))
		if db.pool.tracer == nil {
			return
		}
		e := Event{Kind: KindQuery, Schema: db.schema, Statement: excerpt(st.text), Rows: n, Start: start, Err: err}
		if completed != notSent {
			e.Statements, e.RoundTrips = len(prelude)+1, 1
		}
		db.pool.trace(ctx, e)
	})
}
