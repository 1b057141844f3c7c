package pgdbm

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// encoded is one statement ready for the wire.
type encoded struct {
	values  [][]byte
	oids    []uint32
	formats []int16
}

// binaryResults asks for every column in binary format: a bytea in text format
// is twice as long, a float loses its last bits or costs more to print.
var binaryResults = []int16{pgx.BinaryFormatCode}

// encodeArgs turns Go values into parameters. Like pgx's QueryExecModeExec it
// sends text of unspecified type, so that the server infers the type from the
// statement ('$1::uuid[]' takes a []string); no description of the statement is
// needed, hence no second round trip and nothing to cache. Bytes are the
// exceptions are in binaryType.
func encodeArgs(m *pgtype.Map, args []any) (encoded, error) {
	e := encoded{
		values:  make([][]byte, len(args)),
		oids:    make([]uint32, len(args)),
		formats: make([]int16, len(args)),
	}
	for i, arg := range args {
		if arg == nil {
			continue
		}
		format := int16(pgx.TextFormatCode)
		if e.oids[i] = binaryType(arg); e.oids[i] != 0 {
			format = pgx.BinaryFormatCode
		}
		e.formats[i] = format
		if list, ok := arg.([]float32); ok && list != nil {
			e.values[i] = encodeFloats(list)
			continue
		}
		// A fresh buffer for each: Encode returns nil for NULL, and an empty value
		// must not be nil.
		v, err := m.Encode(e.oids[i], format, arg, []byte{})
		if err != nil {
			// pgx's text would quote the value.
			return encoded{}, fmt.Errorf("argument $%d: a Go value of type %T cannot be encoded", i+1, arg)
		}
		e.values[i] = v
	}
	return e, nil
}

// encodeFloats encodes an array as PostgreSQL receives it: the number of dimensions, whether there are nulls, the type of the
// elements, and for the dimension its length and lower bound; then each element after its length. pgx, which knows arrays of
// anything, takes ten times as long, and these are vectors.
func encodeFloats(list []float32) []byte {
	const size = 4
	out := make([]byte, 0, 20+2*size*len(list))
	for _, n := range [...]uint32{1, 0, pgtype.Float4OID, uint32(len(list)), 1} {
		out = binary.BigEndian.AppendUint32(out, n)
	}
	for _, f := range list {
		out = binary.BigEndian.AppendUint32(out, size)
		out = binary.BigEndian.AppendUint32(out, math.Float32bits(f))
	}
	return out
}

// binaryType returns the type to declare for arguments that are sent in binary:
// bytes and lists of float32, which would be twice as long as text, and 16-byte
// arrays of any name, which are UUIDs and which pgx cannot encode without being
// told. For all others it returns 0.
func binaryType(arg any) uint32 {
	switch arg.(type) {
	case string, int, int32, int64, bool, float64, []string, []int32, []int64: // the usual ones, without reflection
		return 0
	case []byte, *[]byte:
		return pgtype.ByteaOID
	case [][]byte:
		return pgtype.ByteaArrayOID
	case []float32:
		return pgtype.Float4ArrayOID
	}
	t := reflect.TypeOf(arg)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case isUUID(t):
		return pgtype.UUIDOID
	case t.Kind() == reflect.Slice && isUUID(t.Elem()):
		return pgtype.UUIDArrayOID
	}
	return 0
}

func isUUID(t reflect.Type) bool {
	return t.Kind() == reflect.Array && t.Len() == 16 && t.Elem().Kind() == reflect.Uint8
}

// add appends one statement to a wire batch: Parse and Bind of the unnamed
// statement, Describe, Execute.
func (e encoded) add(b *pgconn.Batch, sql string) {
	b.ExecParams(sql, e.values, e.oids, e.formats, binaryResults)
}
