package pgdbm

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Isolation is a transaction isolation level.
type Isolation string

// The isolation levels. The zero value leaves the choice to the server, whose
// default is read committed.
const (
	ReadCommitted  Isolation = "READ COMMITTED"
	RepeatableRead Isolation = "REPEATABLE READ"
	Serializable   Isolation = "SERIALIZABLE"
)

// MaxRetries is the most often that a transaction is run again.
const MaxRetries = 5

// TxOptions describes a transaction. The zero value, and nil, mean a read-write
// transaction of the server's default isolation that is never retried.
type TxOptions struct {
	Isolation  Isolation
	ReadOnly   bool
	Deferrable bool // matters for Serializable with ReadOnly only
	// Retries is how often InTx runs the function again after a serialization
	// failure or deadlock (see [IsSerialization]), at most MaxRetries, with a
	// growing random pause. Begin ignores it.
	Retries int
}

// begin returns the BEGIN statement.
func (o *TxOptions) begin() string {
	var b strings.Builder
	b.WriteString("BEGIN")
	if o == nil {
		return b.String()
	}
	if o.Isolation != "" {
		b.WriteString(" ISOLATION LEVEL " + string(o.Isolation))
	}
	if o.ReadOnly {
		b.WriteString(" READ ONLY")
	}
	if o.Deferrable {
		b.WriteString(" DEFERRABLE")
	}
	return b.String()
}

func (o *TxOptions) check() error {
	if o == nil {
		return nil
	}
	switch o.Isolation {
	case "", ReadCommitted, RepeatableRead, Serializable:
		return nil
	}
	return fmt.Errorf("unknown isolation level %q", string(o.Isolation))
}

type txKind int

const (
	owned    txKind = iota // a transaction we began
	nested                 // a savepoint
	borrowed               // the host's transaction
)

type txState int

const (
	pending txState = iota // the opening commands are still to be sent
	open
	closed
)

// Tx is a transaction, or a savepoint within one. It is not safe for concurrent
// use. Every Tx made by Begin must be ended with Commit or Rollback.
//
// After a failed statement PostgreSQL refuses all others until the transaction
// is rolled back, or the savepoint around the statement is.
type Tx struct {
	db      *DB
	conn    *pgx.Conn
	parent  *Tx // of a savepoint
	done    func()
	name    string       // of a savepoint
	opening []*statement // what opens it, to be sent while state is pending
	kind    txKind
	state   txState
}

// start runs first if there is one.
func (tx *Tx) start(ctx context.Context, first *Batch) (*Tx, error) {
	if err := tx.Run(ctx, first); err != nil {
		_ = tx.Rollback(ctx) // the error of first is the one that tells
		return nil, err
	}
	return tx, nil
}

// check returns why tx cannot be used.
func (tx *Tx) check(op string) error {
	var err error
	switch {
	case tx.db.err != nil:
		return tx.db.err
	case tx.state == closed:
		err = ErrTxClosed
	case tx.parent != nil && tx.parent.check(op) != nil:
		err = ErrTxClosed
	case tx.kind == borrowed && tx.conn.PgConn().TxStatus() == 'I':
		err = fmt.Errorf("%w by its owner", ErrTxClosed)
	}
	return newError(op, "", err, nil)
}

// prelude returns the commands still to be sent before a statement of tx: its
// own and those of the transactions around it, outermost first.
func (tx *Tx) prelude() []*statement {
	if tx == nil || tx.state != pending {
		return nil // a transaction is open only if those around it are
	}
	return append(tx.parent.prelude(), tx.opening...)
}

// opened records that the first n commands of the prelude were done.
func (tx *Tx) opened(n int) {
	if tx == nil || tx.state != pending {
		return
	}
	outer := len(tx.parent.prelude())
	tx.parent.opened(n)
	if n >= outer+1 { // the first command is what opens it
		tx.state = open
	}
}

// exchange sends prelude and list in one round trip.
func (tx *Tx) exchange(ctx context.Context, kind Kind, list []*statement) outcome {
	pre := tx.prelude()
	out := tx.db.exchange(ctx, kind, tx.conn, append(pre, list...))
	if len(pre) > 0 {
		tx.opened(min(out.completed, len(pre)))
		out.completed = max(out.completed-len(pre), 0)
	}
	return out
}

// Exec implements [Querier].
func (tx *Tx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := tx.check("exec"); err != nil {
		return pgconn.CommandTag{}, err
	}
	st, err := tx.db.statement("exec", sql, args)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	out := tx.exchange(ctx, KindExec, []*statement{st})
	return pgconn.NewCommandTag(st.tag), out.err
}

// Query implements [Querier].
func (tx *Tx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := tx.check("query"); err != nil {
		return nil, err
	}
	st, err := tx.db.statement("query", sql, args)
	if err != nil {
		return nil, err
	}
	pre := tx.prelude()
	rows, err := tx.db.query(ctx, tx.conn, pre, st, func(completed int) { tx.opened(completed) })
	if err == nil {
		tx.opened(len(pre))
	}
	return rows, err
}

// QueryRow implements [Querier].
func (tx *Tx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return lazyRow{func() (pgx.Rows, error) { return tx.Query(ctx, sql, args...) }}
}

// Run implements [Querier].
func (tx *Tx) Run(ctx context.Context, b *Batch) error {
	if err := tx.check("batch"); err != nil {
		return err
	}
	list, err := b.statements(tx.db)
	if err != nil || len(list) == 0 {
		return err
	}
	kind := KindBatch
	if tx.state == pending {
		kind = KindBegin
	}
	return tx.exchange(ctx, kind, list).err
}

// CopyFrom implements [Querier].
func (tx *Tx) CopyFrom(ctx context.Context, table string, columns []string, src pgx.CopyFromSource) (int64, error) {
	if err := tx.check("copy"); err != nil {
		return 0, err
	}
	if tx.state == pending {
		if out := tx.exchange(ctx, KindBegin, nil); out.err != nil {
			return 0, out.err
		}
	}
	return tx.db.copyFrom(ctx, tx.conn, table, columns, src)
}

// Begin implements [Querier]: it makes a savepoint, in the round trip of first.
func (tx *Tx) Begin(ctx context.Context, opts *TxOptions, first *Batch) (*Tx, error) {
	if err := tx.check("savepoint"); err != nil {
		return nil, err
	}
	if err := opts.check(); err != nil {
		return nil, newError("savepoint", "", err, nil)
	}
	depth := 1
	for t := tx; t.kind == nested; t = t.parent {
		depth++
	}
	name := "pgdbm_" + strconv.Itoa(depth)
	sp := &Tx{
		db: tx.db, conn: tx.conn, parent: tx, done: func() {}, kind: nested, name: name,
		opening: []*statement{command("SAVEPOINT " + name)},
	}
	return sp.start(ctx, first)
}

// InTx implements [Querier]: fn runs in a savepoint. There are no retries, since
// after a serialization failure the whole transaction must be run again.
func (tx *Tx) InTx(ctx context.Context, opts *TxOptions, fn func(*Tx) error) error {
	var once TxOptions
	if opts != nil {
		once = *opts
		once.Retries = 0
	}
	return inTx(ctx, tx.Begin, &once, fn)
}

// Savepoint is [Tx.InTx] without options: what fn did is undone if it fails, and
// the transaction goes on.
func (tx *Tx) Savepoint(ctx context.Context, fn func(*Tx) error) error {
	return tx.InTx(ctx, nil, fn)
}

// Commit runs last and ends the transaction (or releases the savepoint), in one
// round trip. last may be nil. Whatever it returns, tx is over:
//
//   - nil: committed.
//   - an error of the server: rolled back, nothing happened.
//   - [ErrTxAborted]: an earlier statement had failed; rolled back.
//   - [ErrCommitUnknown]: the connection broke, or ctx ended, after COMMIT was
//     sent; look at the data before trying again.
//   - [ErrCommitted]: committed, but a callback of last failed.
//
// For a savepoint "committed" means released: it is now a part of the
// transaction around it. For the host's transaction it returns [ErrNotOwned] and
// does nothing.
func (tx *Tx) Commit(ctx context.Context, last *Batch) error {
	if tx.kind == borrowed {
		return newError("commit", "", ErrNotOwned, nil)
	}
	if err := tx.check("commit"); err != nil {
		tx.finish()
		return err
	}
	if tx.state == open && tx.conn.PgConn().TxStatus() == 'E' {
		_ = tx.Rollback(ctx)
		return newError("commit", "", ErrTxAborted, nil)
	}
	list, err := last.statements(tx.db)
	if err != nil {
		_ = tx.Rollback(ctx)
		return err
	}
	if tx.state == pending && len(list) == 0 {
		tx.finish() // nothing was ever sent
		return nil
	}
	end := command("COMMIT")
	if tx.kind == nested {
		end = command("RELEASE SAVEPOINT " + tx.name)
	}
	out := tx.exchange(ctx, KindCommit, append(list, end))
	if tx.kind == nested {
		return tx.released(ctx, out, end)
	}
	defer tx.finish()
	switch acknowledged := end.tag != ""; {
	case end.tag == "ROLLBACK":
		return newError("commit", "", ErrTxAborted, nil)
	case acknowledged && out.err == nil, acknowledged && out.server:
		// An error after the acknowledgement is the loss of the connection: it
		// matters to the next user of it, not to this transaction.
		return nil
	case acknowledged:
		return newError("commit", "", fmt.Errorf("%w: %w", ErrCommitted, out.err), nil)
	case out.sent && tx.conn.IsClosed():
		e := &Error{Op: "commit", SQLSTATE: SQLState(out.err), Err: fmt.Errorf("%w: %w", ErrCommitUnknown, out.err)}
		e.Message = e.Err.Error()
		return e
	}
	tx.abort(ctx)
	return out.err
}

// released ends a savepoint after RELEASE was tried. If only a callback failed,
// the savepoint is gone all the same and cannot be undone alone: that is the
// savepoint's [ErrCommitted].
func (tx *Tx) released(ctx context.Context, out outcome, end *statement) error {
	defer tx.finish()
	if out.err == nil {
		return nil
	}
	if end.tag != "" && !out.server {
		return newError("release", "", fmt.Errorf("%w: %w", ErrCommitted, out.err), nil)
	}
	tx.abort(ctx)
	return out.err
}

// Rollback undoes the transaction (or what was done since the savepoint). After
// Commit or Rollback it does nothing, so it may always be deferred. It works
// with a context that has ended: undoing must not depend on it. A connection
// that is lost meanwhile is no error, since the server undoes the transaction
// then. For the host's transaction it returns [ErrNotOwned] and does nothing.
func (tx *Tx) Rollback(ctx context.Context) error {
	if tx.kind == borrowed {
		return newError("rollback", "", ErrNotOwned, nil)
	}
	if tx.state == closed {
		return nil
	}
	defer tx.finish()
	if tx.check("rollback") != nil {
		return nil // the transaction around it is over, and this with it
	}
	err := tx.abort(ctx)
	if tx.kind == owned && tx.conn.IsClosed() {
		return nil // the server undoes what a lost connection has left open
	}
	return err
}

// abortTimeout bounds the wait for a ROLLBACK, and abortGrace is how long it may
// outlast its context. If the server does not answer in time, the connection is
// closed, which has the same effect.
const (
	abortTimeout = 2 * time.Second
	abortGrace   = 100 * time.Millisecond
)

// abort sends the command that undoes tx, if there is anything to undo.
func (tx *Tx) abort(ctx context.Context) error {
	if tx.state != open || tx.conn.IsClosed() {
		return nil
	}
	wait := abortTimeout
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, max(time.Until(deadline), abortGrace))
	}
	if ctx.Err() != nil {
		wait = abortGrace
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer cancel()
	var list []*statement
	switch {
	case tx.kind == nested:
		list = []*statement{command("ROLLBACK TO SAVEPOINT " + tx.name), command("RELEASE SAVEPOINT " + tx.name)}
	case tx.conn.PgConn().TxStatus() == 'I':
		return nil
	default:
		list = []*statement{command("ROLLBACK")}
	}
	return tx.db.exchange(ctx, KindRollback, tx.conn, list).err
}

// finish closes tx and gives its connection back.
func (tx *Tx) finish() {
	if tx.state == closed {
		return
	}
	tx.state = closed
	tx.done()
}

// inTx is InTx over any way to begin.
func inTx(ctx context.Context, begin func(context.Context, *TxOptions, *Batch) (*Tx, error), opts *TxOptions, fn func(*Tx) error) error {
	retries := 0
	if opts != nil {
		retries = min(max(opts.Retries, 0), MaxRetries)
	}
	pause := 10 * time.Millisecond
	for attempt := 0; ; attempt++ {
		err := once(ctx, begin, opts, fn)
		if err == nil || attempt >= retries || !IsSerialization(err) || errors.Is(err, ErrCommitUnknown) {
			return err
		}
		if !sleep(ctx, jitter(pause)) {
			return err
		}
		pause *= 3
	}
}

func once(ctx context.Context, begin func(context.Context, *TxOptions, *Batch) (*Tx, error), opts *TxOptions, fn func(*Tx) error) error {
	tx, err := begin(ctx, opts, nil)
	if err != nil {
		return err
	}
	// Also when fn panics or calls runtime.Goexit. After Commit it does nothing.
	defer func() { _ = tx.Rollback(ctx) }()
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit(ctx, nil)
}
