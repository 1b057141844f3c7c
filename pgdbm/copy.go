package pgdbm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/llmemory/llmemory/internal/sqlfile"
)

// copyFrom is pgx's CopyFrom with one difference: the columns are described by
// an unnamed statement whatever mode the connection is configured for.
func (db *DB) copyFrom(ctx context.Context, conn *pgx.Conn, table string, columns []string, src pgx.CopyFromSource) (n int64, err error) {
	start := time.Now()
	target := sqlfile.Quote(db.schema) + "." + sqlfile.Quote(table)
	roundTrips := 0
	defer func() {
		db.pool.observe(conn, err)
		db.pool.trace(ctx, Event{
			Kind: KindCopy, Schema: db.schema, Statement: excerpt("COPY " + table), Statements: roundTrips,
			RoundTrips: roundTrips, Rows: n, Start: start, Err: err,
		})
	}()
	fail := func(err error) (int64, error) {
		if conn.IsClosed() {
			err = lost(err)
		}
		return 0, newError("copy", "COPY "+table, err, nil)
	}
	if err := sqlfile.CheckIdentifier(table); err != nil {
		return fail(fmt.Errorf("table: %w", err))
	}
	if len(columns) == 0 {
		return fail(errors.New("no columns"))
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		if err := sqlfile.CheckIdentifier(c); err != nil {
			return fail(fmt.Errorf("column %d: %w", i+1, err))
		}
		names[i] = sqlfile.Quote(c)
	}
	list := strings.Join(names, ", ")
	roundTrips = 1
	sd, err := conn.PgConn().Prepare(ctx, "", "SELECT "+list+" FROM "+target, nil)
	if err != nil {
		return fail(err)
	}
	oids := make([]uint32, len(sd.Fields))
	for i, f := range sd.Fields {
		oids[i] = f.DataTypeOID
	}
	m := db.pool.typeMap()
	defer db.pool.maps.Put(m)
	reader := &copyReader{ctx: ctx, m: m, oids: oids, columns: columns, src: src, buf: copyHeader()}
	roundTrips = 2
	tag, err := conn.PgConn().CopyFrom(ctx, reader, "COPY "+target+" ("+list+") FROM STDIN BINARY")
	if sourceErr := reader.stop(); sourceErr != nil {
		// The server only repeats it, as "COPY from stdin failed".
		return fail(sourceErr)
	}
	if err != nil {
		return fail(err)
	}
	return tag.RowsAffected(), nil
}

// copyReader encodes rows while they are being sent. pgconn reads it from a
// goroutine of its own, which may outlive the call if the connection breaks;
// hence the lock.
type copyReader struct {
	mu      sync.Mutex
	stopped bool
	// ctx ends the reading between two rows; pgconn would only look at it when a
	// buffer is full, which takes long if the source is slow.
	ctx     context.Context
	m       *pgtype.Map
	oids    []uint32
	columns []string
	src     pgx.CopyFromSource
	buf     []byte
	row     int
	end     bool
	err     error
}

func copyHeader() []byte {
	h := []byte("PGCOPY\n\xff\r\n\x00")
	return append(h, 0, 0, 0, 0, 0, 0, 0, 0)
}

// stop ends the reading for good and returns the error of the source.
func (r *copyReader) stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	return r.err
}

// Read implements io.Reader.
func (r *copyReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return 0, io.ErrClosedPipe
	}
	for len(r.buf) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if r.end {
			return 0, io.EOF
		}
		if err := r.next(len(p)); err != nil {
			r.err = err
			return 0, err
		}
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	return n, nil
}

// next encodes rows until there are about size bytes.
func (r *copyReader) next(size int) error {
	r.buf = r.buf[:0]
	for len(r.buf) < size {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if !r.src.Next() {
			if err := r.src.Err(); err != nil {
				return err
			}
			r.end = true
			r.buf = append(r.buf, 0xff, 0xff)
			return nil
		}
		values, err := r.src.Values()
		if err != nil {
			return err
		}
		r.row++
		if len(values) != len(r.oids) {
			return fmt.Errorf("row %d has %d values for %d columns", r.row, len(values), len(r.oids))
		}
		r.buf = binary.BigEndian.AppendUint16(r.buf, uint16(len(values)))
		for i, v := range values {
			at := len(r.buf)
			r.buf = append(r.buf, 0xff, 0xff, 0xff, 0xff) // NULL until there is a value
			buf, err := encodeCopy(r.m, r.oids[i], v, r.buf)
			if err != nil {
				return fmt.Errorf("row %d, column %q: a Go value of type %T cannot be encoded", r.row, r.columns[i], v)
			}
			if buf != nil {
				r.buf = buf
				binary.BigEndian.PutUint32(r.buf[at:], uint32(len(r.buf)-at-4))
			}
		}
	}
	return nil
}

// encodeCopy appends the binary form of v for a column of type oid. A string is
// taken for any type, in the text form of that type.
func encodeCopy(m *pgtype.Map, oid uint32, v any, buf []byte) ([]byte, error) {
	out, err := m.Encode(oid, pgx.BinaryFormatCode, v, buf)
	if err == nil {
		return out, nil
	}
	s, ok := v.(string)
	if !ok {
		return nil, err
	}
	var parsed any
	if err := m.Scan(oid, pgx.TextFormatCode, []byte(s), &parsed); err != nil {
		return nil, err
	}
	return m.Encode(oid, pgx.BinaryFormatCode, parsed, buf)
}
