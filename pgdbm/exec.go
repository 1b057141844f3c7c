package pgdbm

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// This file is the only place that talks to a connection, apart from COPY
// (copy.go) and whole migration files (migrate.go).
//
// Why not pgx's own Query and SendBatch: they run in the mode the connection
// was configured with, and on a host's pool that is usually "prepare by name and
// cache". Named statements break behind a transaction pooler, stay behind on
// the host's connection, and turn into generic plans that the planner would not
// have chosen. Unnamed statements in the extended protocol have none of this.

// outcome is what became of a list of statements.
type outcome struct {
	sent      bool  // something may have reached the server
	completed int   // statements that the server reported complete
	rows      int64 // rows read or affected
	// err is the first error, of the server or the connection or a callback.
	err error
	// server says that err is not a callback's.
	server bool
}

// exchange sends all statements at once and reads all answers. It leaves the
// connection ready, or closed. Callbacks run while the answers arrive; after
// the first error they are no longer called, but the answers are still read,
// because what the server did does not depend on what a callback thinks.
func exchange(ctx context.Context, conn *pgx.Conn, m *pgtype.Map, op string, list []*statement) (out outcome) {
	var wire pgconn.Batch
	params := make([][][]byte, len(list))
	for i, s := range list {
		s.tag = ""
		e, err := encodeArgs(m, s.args)
		if err != nil {
			return outcome{err: newError(op, s.text, err, nil), server: true}
		}
		params[i] = e.values
		e.add(&wire, s.sql)
	}
	out.sent = sendable(ctx, conn)
	mrr := conn.PgConn().ExecBatch(ctx, &wire)
	fail := func(err error, i int, server bool) {
		if out.err != nil || err == nil {
			return
		}
		text := ""
		var values [][]byte
		if i < len(list) {
			text, values = list[i].text, params[i]
		}
		out.err, out.server = newError(op, text, err, values), server
	}
	for mrr.NextResult() {
		i := out.completed
		rr := mrr.ResultReader()
		if i >= len(list) { // cannot happen with the extended protocol
			_, err := rr.Close()
			fail(err, i, true)
			continue
		}
		n, callbackErr := deliver(m, rr, list[i].queued, out.err == nil)
		tag, err := rr.Close()
		if err != nil {
			fail(err, i, true)
			continue
		}
		fail(callbackErr, i, false)
		list[i].tag = tag.String()
		out.completed++
		if !tag.Select() {
			n = tag.RowsAffected()
		}
		out.rows += n
		if q := list[i].queued; q != nil && q.affected != nil {
			*q.affected = tag.RowsAffected()
		}
	}
	if err := mrr.Close(); err != nil {
		if conn.IsClosed() {
			err = lost(err)
		}
		// A callback's error must not hide that the server rolled all of it back.
		if out.err != nil && !out.server {
			out.err = nil
		}
		fail(err, out.completed, true)
	}
	return out
}

// deliver hands the rows of one result to its callback.
func deliver(m *pgtype.Map, rr *pgconn.ResultReader, q *Queued, wanted bool) (n int64, err error) {
	if q == nil || !wanted || q.rows == nil && q.row == nil {
		for rr.NextRow() {
			n++
		}
		return n, nil
	}
	rows := &countingRows{Rows: pgx.RowsFromResultReader(m, rr)}
	defer rows.Close()
	if q.row != nil {
		err = q.row(row{rows})
	} else {
		err = q.rows(rows)
	}
	if err == nil {
		err = rows.Err() // the callback may have overlooked a failed Scan
	}
	rows.Close()
	return rows.n, err
}

// sendable reports whether a call on conn will send anything. If not, pgconn
// refuses it before the first byte.
//
// pgconn.SafeToRetry cannot be used for this: when a batch is cut off while its
// answer is awaited, pgconn 5.12 closes the connection on its first look, and
// its second look then fails with "conn closed", which claims to be safe.
func sendable(ctx context.Context, conn *pgx.Conn) bool {
	return !conn.IsClosed() && !conn.PgConn().IsBusy() && ctx.Err() == nil
}

// lost marks err as the loss of a connection unless it says so itself, or was
// the context's doing: pgx closes the connection when a call is cancelled.
func lost(err error) error {
	var pgErr *pgconn.PgError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &pgErr):
		return err // a FATAL message, such as 57P01, says more
	case errors.Is(err, pgconn.ErrConnClosed):
		return errConnectionLost // see sendable: it is not the cause, and not safe to retry
	}
	return fmt.Errorf("%w: %w", errConnectionLost, err)
}

// countingRows counts rows for the trace.
type countingRows struct {
	pgx.Rows
	n int64
}

func (r *countingRows) Next() bool {
	if !r.Rows.Next() {
		return false
	}
	r.n++
	return true
}

// row is the first row of rows.
type row struct{ rows pgx.Rows }

// Scan implements pgx.Row.
func (r row) Scan(dest ...any) error {
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}
