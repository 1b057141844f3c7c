package pgdbm

import (
	"errors"

	"github.com/jackc/pgx/v5"
)

// Batch is a list of statements that travel together and are answered
// together: one round trip, however many they are. The zero value is an empty
// batch; running an empty batch does nothing.
//
// Outside a transaction the statements of a batch are one transaction of their
// own: if one fails, none has an effect.
//
// A batch is not changed by being run and may be run again, for example when a
// transaction is retried. It must not be changed while it runs.
type Batch struct {
	queued []*Queued
}

// Queued is one statement of a [Batch]. At most one of Rows and Row may be set;
// with neither, rows are read and dropped.
type Queued struct {
	sql      string
	args     []any
	rows     func(pgx.Rows) error
	row      func(pgx.Row) error
	affected *int64
}

// Queue adds a statement. Its template tags are rendered for the handle that
// runs the batch.
func (b *Batch) Queue(sql string, args ...any) *Queued {
	q := &Queued{sql: sql, args: args}
	b.queued = append(b.queued, q)
	return q
}

// Len returns the number of statements. A nil batch has none.
func (b *Batch) Len() int {
	if b == nil {
		return 0
	}
	return len(b.queued)
}

// Rows has fn called with the rows of the statement once they arrive, in the
// order of the batch. fn need not read them all and need not close them. By the
// time it is called the server has run the whole batch: an error of fn is the
// error of the batch, the callbacks after it are not called, and a surrounding
// transaction can still be rolled back, but a batch run on its own stays done.
func (q *Queued) Rows(fn func(pgx.Rows) error) *Queued {
	q.rows = fn
	return q
}

// Row is [Queued.Rows] for a single row. If there is none, Scan of the row
// returns [pgx.ErrNoRows].
func (q *Queued) Row(fn func(pgx.Row) error) *Queued {
	q.row = fn
	return q
}

// Affected stores the number of rows that the statement inserted, updated,
// deleted or returned into n.
func (q *Queued) Affected(n *int64) *Queued {
	q.affected = n
	return q
}

// statement is one entry of what is really sent: a queued statement, or a
// transaction command around it.
type statement struct {
	sql     string  // rendered
	text    string  // as written, for errors and traces
	queued  *Queued // nil for transaction commands
	args    []any
	tag     string // set when done: the command tag
	control bool
}

func command(sql string) *statement { return &statement{sql: sql, control: true} }

// statements renders the batch for db.
func (b *Batch) statements(db *DB) ([]*statement, error) {
	if b == nil {
		return nil, nil
	}
	out := make([]*statement, 0, len(b.queued)+2)
	for _, q := range b.queued {
		sql, err := db.Render(q.sql)
		if err != nil {
			return nil, &Error{Op: "batch", Statement: excerpt(q.sql), Message: err.Error(), Err: err}
		}
		if q.rows != nil && q.row != nil {
			return nil, newError("batch", q.sql, errors.New("a queued statement has both Rows and Row"), nil)
		}
		out = append(out, &statement{sql: sql, text: q.sql, args: q.args, queued: q})
	}
	return out, nil
}
