package pgdbm

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// rows is the result of Query. It owns whatever finish gives back: the
// connection if it was taken for this query, and the type map.
type rows struct {
	pgx.Rows
	mrr    *pgconn.MultiResultReader
	conn   *pgx.Conn
	n      int64
	text   string
	params [][]byte
	err    error
	closed bool
	finish func(n int64, err error)
}

// notSent stands for the number of completed statements when none was sent.
const notSent = -1

// query sends prelude and one statement and returns when the first answer to
// the statement is there. The caller of the rows must close them. On error the
// connection is ready or closed, and finish has been called.
func query(ctx context.Context, conn *pgx.Conn, m *pgtype.Map, prelude []*statement, st *statement, finish func(completed int, n int64, err error)) (pgx.Rows, error) {
	var wire pgconn.Batch
	for _, c := range prelude {
		encoded{}.add(&wire, c.sql)
	}
	e, err := encodeArgs(m, st.args)
	if err != nil {
		err = newError("query", st.text, err, nil)
		finish(notSent, 0, err)
		return nil, err
	}
	e.add(&wire, st.sql)
	sent := sendable(ctx, conn)
	mrr := conn.PgConn().ExecBatch(ctx, &wire)
	completed := 0
	for range prelude {
		if !mrr.NextResult() {
			break
		}
		if _, err := mrr.ResultReader().Close(); err != nil {
			break
		}
		completed++
	}
	if completed < len(prelude) || !mrr.NextResult() {
		err := mrr.Close()
		if conn.IsClosed() {
			err = lost(err)
		}
		err = newError("query", st.text, err, e.values)
		if !sent {
			completed = notSent
		}
		finish(completed, 0, err)
		return nil, err
	}
	return &rows{
		Rows:   pgx.RowsFromResultReader(m, mrr.ResultReader()),
		mrr:    mrr,
		conn:   conn,
		text:   st.text,
		params: e.values,
		finish: func(n int64, err error) { finish(completed, n, err) },
	}, nil
}

// Close implements pgx.Rows.
func (r *rows) Close() {
	if r.closed {
		return
	}
	r.closed = true
	r.Rows.Close()
	err := r.Rows.Err()
	if closeErr := r.mrr.Close(); err == nil {
		err = closeErr // for example a deferred constraint, checked at the very end
	}
	if err != nil && r.conn.IsClosed() {
		err = lost(err)
	}
	if r.err == nil {
		r.err = newError("query", r.text, err, r.params)
	}
	n := r.n
	if tag := r.Rows.CommandTag(); !tag.Select() {
		n = tag.RowsAffected()
	}
	r.finish(n, r.err)
}

// Err implements pgx.Rows.
func (r *rows) Err() error {
	if r.err != nil {
		return r.err
	}
	return newError("query", r.text, r.Rows.Err(), r.params)
}

// Next implements pgx.Rows.
func (r *rows) Next() bool {
	if r.closed {
		return false
	}
	if r.Rows.Next() {
		r.n++
		return true
	}
	r.Close()
	return false
}

// Scan implements pgx.Rows. A failed Scan closes the rows.
func (r *rows) Scan(dest ...any) error {
	if err := r.Rows.Scan(dest...); err != nil {
		if r.err == nil {
			r.err = newError("query", r.text, err, r.params)
		}
		r.Close()
		return r.err
	}
	return nil
}

// Values implements pgx.Rows.
func (r *rows) Values() ([]any, error) {
	values, err := r.Rows.Values()
	if err != nil {
		err = newError("query", r.text, err, r.params)
	}
	return values, err
}

// Conn returns nil: the connection is not the caller's to use.
func (r *rows) Conn() *pgx.Conn { return nil }

// lazyRow runs its query when it is scanned, so that a row never scanned cannot
// keep a connection.
type lazyRow struct {
	open func() (pgx.Rows, error)
}

// Scan implements pgx.Row.
func (l lazyRow) Scan(dest ...any) error {
	rs, err := l.open()
	if err != nil {
		return err
	}
	return row{rs}.Scan(dest...)
}
