package postgres

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/llmemory/llmemory"
)

// TestRow reads back what pgx encodes.
func TestRow(t *testing.T) {
	t.Parallel()
	m := pgtype.NewMap()
	encode := func(oid uint32, v any) []byte {
		out, err := m.Encode(oid, pgtype.BinaryFormatCode, v, []byte{})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	when := time.Date(1969, 7, 20, 20, 17, 40, 123456000, time.UTC)
	r := row{fields: [][]byte{
		encode(pgtype.TextOID, "Ünïcode"), encode(pgtype.TextOID, ""), encode(pgtype.Int2OID, int16(-7)), encode(pgtype.Int4OID, int32(math.MinInt32)),
		encode(pgtype.Int8OID, int64(math.MaxInt64)), encode(pgtype.BoolOID, true), encode(pgtype.BoolOID, false),
		encode(pgtype.TimestamptzOID, when), nil, encode(pgtype.JSONBOID, []byte(`{"a": 1}`)), encode(pgtype.ByteaOID, []byte{1, 0}), nil,
	}}
	if s, empty := r.text(), r.text(); s != "Ünïcode" || empty != "" {
		t.Errorf("texts: %q, %q", s, empty)
	}
	if a, b, c := r.int(), r.int(), r.int(); a != -7 || b != math.MinInt32 || c != math.MaxInt64 {
		t.Errorf("integers: %d, %d, %d", a, b, c)
	}
	if yes, no := r.bool(), r.bool(); !yes || no {
		t.Errorf("booleans: %t, %t", yes, no)
	}
	if at, none := r.time(), r.time(); !at.Equal(when) || at.Location() != time.UTC || !none.IsZero() {
		t.Errorf("times: %s, %s", at, none)
	}
	if j := r.json(); string(j) != `{"a": 1}` {
		t.Errorf("JSON: %s", j)
	}
	if b, none := r.bytes(), r.bytes(); string(b) != "\x01\x00" || none != nil {
		t.Errorf("bytes: %x, %x", b, none)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

// TestRowRefuses reads what is not what it should be.
func TestRowRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		field []byte
		read  func(r *row)
	}{
		"no text":            {nil, func(r *row) { r.text() }},
		"no integer":         {nil, func(r *row) { r.int() }},
		"half an integer":    {[]byte{1, 2, 3}, func(r *row) { r.int() }},
		"no boolean":         {binary.BigEndian.AppendUint16(nil, 1), func(r *row) { r.bool() }},
		"half a time":        {[]byte{1, 2, 3, 4}, func(r *row) { r.time() }},
		"no JSON":            {nil, func(r *row) { r.json() }},
		"JSON to come":       {[]byte("\x02{}"), func(r *row) { r.json() }},
		"one column too few": {[]byte("a"), func(r *row) { r.text(); r.text() }},
		"one too many":       {[]byte("a"), func(*row) {}},
	} {
		r := row{fields: [][]byte{c.field}}
		c.read(&r)
		if err := r.end(); !errors.Is(err, llmemory.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
