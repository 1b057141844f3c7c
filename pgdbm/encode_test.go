package pgdbm

import (
	"bytes"
	"math"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
)

// TestEncodeFloats compares our encoding of a vector with pgx's of any array.
func TestEncodeFloats(t *testing.T) {
	t.Parallel()
	long := make([]float32, 1536)
	for i := range long {
		long[i] = float32(i-700) / 3
	}
	for _, list := range [][]float32{
		{}, {0}, {1, -1}, long, {float32(math.Inf(1)), float32(math.NaN()), math.MaxFloat32, math.SmallestNonzeroFloat32, float32(math.Copysign(0, -1))}, nil,
	} {
		want, err := pgtype.NewMap().Encode(pgtype.Float4ArrayOID, pgtype.BinaryFormatCode, list, []byte{})
		if err != nil {
			t.Fatal(err)
		}
		e, err := encodeArgs(pgtype.NewMap(), []any{list})
		if err != nil {
			t.Fatal(err)
		}
		if got := e.values[0]; !bytes.Equal(got, want) || (got == nil) != (want == nil) || e.oids[0] != pgtype.Float4ArrayOID || e.formats[0] != pgtype.BinaryFormatCode {
			t.Errorf("%d floats: %x of type %d, want %x", len(list), got, e.oids[0], want)
		}
	}
}
