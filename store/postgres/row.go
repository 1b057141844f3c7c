package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
)

// row reads the columns of a row one after the other, in the binary format, which all results come in. It is [pgx.Rows.Scan] for
// the rows of a search, of which it takes a good part of the client's time to find out again and again what goes where.
type row struct {
	fields [][]byte // left to read
	read   int
	err    error // the first
}

// readRow begins with the first column of the row that rows stands at. What it reads is good beyond that, but for raw.
func readRow(rows pgx.Rows) row { return row{fields: rows.RawValues()} }

// raw returns the next column as it came, nil if it is NULL; it lasts until the next row.
func (r *row) raw() []byte {
	if len(r.fields) == 0 {
		r.fail("is not there", nil)
		return nil
	}
	v := r.fields[0]
	r.fields = r.fields[1:]
	r.read++
	return v
}

func (r *row) fail(what string, v []byte) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: column %d of a row, of %d bytes, %s", llmemory.ErrCorrupt, r.read, len(v), what)
	}
}

func (r *row) text() string {
	v := r.raw()
	if v == nil {
		r.fail("is no text", v)
	}
	return string(v)
}

func (r *row) bytes() []byte { return bytes.Clone(r.raw()) }

// some returns a column's bytes, nil if there are none.
func (r *row) some() []byte {
	if v := r.raw(); len(v) > 0 {
		return bytes.Clone(v)
	}
	return nil
}

// json returns a jsonb without the number of its version.
func (r *row) json() []byte {
	v := r.raw()
	if len(v) == 0 || v[0] != 1 {
		r.fail("is no jsonb", v)
		return nil
	}
	return bytes.Clone(v[1:])
}

// int reads an integer of any size.
func (r *row) int() int64 {
	switch v := r.raw(); len(v) {
	case 2:
		return int64(int16(binary.BigEndian.Uint16(v)))
	case 4:
		return int64(int32(binary.BigEndian.Uint32(v)))
	case 8:
		return int64(binary.BigEndian.Uint64(v))
	default:
		r.fail("is no integer", v)
	}
	return 0
}

func (r *row) bool() bool {
	v := r.raw()
	if len(v) != 1 {
		r.fail("is no boolean", v)
		return false
	}
	return v[0] != 0
}

// epoch is what PostgreSQL counts microseconds from.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// time reads a timestamptz, the zero time if it is NULL.
func (r *row) time() time.Time {
	v := r.raw()
	if v == nil {
		return time.Time{}
	}
	if len(v) != 8 {
		r.fail("is no time", v)
		return time.Time{}
	}
	return time.UnixMicro(epoch + int64(binary.BigEndian.Uint64(v))).UTC()
}

// end returns the first error, which is that there are columns left if there is no other.
func (r *row) end() error {
	if len(r.fields) > 0 {
		r.fail("is one too many", nil)
	}
	return r.err
}
