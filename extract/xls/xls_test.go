package xls_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/extracttest"
	"github.com/llmemory/llmemory/extract/xls"
)

// rec makes a record of numbers (of the width of their type), bytes and strings of bytes.
func rec(kind uint16, fields ...any) []byte {
	var b bytes.Buffer
	for _, f := range fields {
		if s, ok := f.(string); ok {
			f = []byte(s)
		}
		if err := binary.Write(&b, binary.LittleEndian, f); err != nil {
			panic(err)
		}
	}
	h := binary.LittleEndian.AppendUint16(nil, kind)
	return append(binary.LittleEndian.AppendUint16(h, uint16(b.Len())), b.Bytes()...)
}

// wide is text in UTF-16.
func wide(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// bof8 begins a substream of BIFF8, eof ends it.
var bof8, eof = rec(0x809, uint16(0x600), uint16(5), uint16(0), uint16(0), uint32(0), uint32(0)), rec(10)

// book puts a workbook together from its globals and sheets, which get the names A, B, ….
func book(bof []byte, globals []byte, named bool, sheets ...[]byte) []byte {
	entry := 4 + 8 + 1
	if !named {
		entry = 4 + 7 + 1
	}
	at := len(bof) + len(globals) + entry*len(sheets) + len(eof)
	out := slices.Concat(bof, globals)
	for i, s := range sheets {
		name := string(rune('A' + i))
		if named {
			out = append(out, rec(0x85, uint32(at), uint16(0), uint8(1), uint8(0), name)...)
		} else {
			out = append(out, rec(0x85, uint32(at), uint16(0), uint8(1), name)...)
		}
		at += len(s)
	}
	return slices.Concat(append([][]byte{out, eof}, sheets...)...)
}

func summary() []byte {
	title, author := "Tides\x00", "Ada Moor\x00"
	b := make([]byte, 48)
	binary.LittleEndian.PutUint16(b, 0xfffe)
	binary.LittleEndian.PutUint32(b[24:], 1)
	binary.LittleEndian.PutUint32(b[44:], 48)
	str := func(s string) []byte {
		v := binary.LittleEndian.AppendUint32([]byte{30, 0, 0, 0}, uint32(len(s)))
		v = append(v, s...)
		return append(v, make([]byte, (8-len(v)%8)%8)...)
	}
	ticks := uint64(time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC).Unix())*10_000_000 + 116444736000000000
	values := [][]byte{{2, 0, 0, 0, 0xe4, 4, 0, 0}, str(title), str(author), append([]byte{64, 0, 0, 0}, binary.LittleEndian.AppendUint64(nil, ticks)...)}
	ids := []uint32{1, 2, 4, 13}
	set := binary.LittleEndian.AppendUint32(make([]byte, 4), uint32(len(ids)))
	off := 8 + 8*len(ids)
	for i, v := range values {
		set = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(set, ids[i]), uint32(off))
		off += len(v)
	}
	return slices.Concat(append([][]byte{b, set}, values...)...)
}

var globals = slices.Concat(
	rec(0x42, uint16(1200)), rec(0x22, uint16(0)),
	rec(0x41e, uint16(164), uint16(8), uint8(0), "#,##0.00"), rec(0x41e, uint16(165), uint16(8), uint8(1), wide("d/m/yyyy")),
	rec(0xe0, uint16(0), uint16(0)), rec(0xe0, uint16(0), uint16(164)), rec(0xe0, uint16(0), uint16(165)), rec(0xe0, uint16(0), uint16(10)),
	// The shared strings: plain, rich and wide with an extension, and one that goes on in another record with other characters.
	rec(0xfc, uint32(4), uint32(4), uint16(5), uint8(0), "Place", uint16(4), uint8(0xd), uint16(1), uint32(6), wide("שלום"), uint32(0), "ext...", uint16(6), uint8(0), "Dov"),
	rec(0x3c, uint8(1), wide("er潮"), uint16(3), uint8(0), "end"),
)

var sheet1 = slices.Concat(bof8,
	rec(0xfd, uint16(1), uint16(0), uint16(0), uint32(0)), rec(0x204, uint16(1), uint16(2), uint16(0), uint16(6), uint8(0), "Metres"), rec(0xfd, uint16(1), uint16(3), uint16(0), uint32(3)),
	rec(0xfd, uint16(2), uint16(0), uint16(0), uint32(1)), rec(0x203, uint16(2), uint16(2), uint16(1), 1234.5), rec(0x27e, uint16(2), uint16(3), uint16(2), uint32(45418<<2|2)),
	rec(0xfd, uint16(3), uint16(0), uint16(0), uint32(2)), rec(0xbd, uint16(3), uint16(2), uint16(0), uint32(670<<2|3), uint16(3), uint32(math.Float64bits(0.5)>>32), uint16(3)),
	rec(0x205, uint16(4), uint16(0), uint16(0), uint8(1), uint8(0)), rec(0x205, uint16(4), uint16(2), uint16(0), uint8(42), uint8(1)),
	rec(6, uint16(5), uint16(0), uint16(0), uint8(0), make([]byte, 5), uint16(0xffff), make([]byte, 6)), rec(0x207, uint16(4), uint8(0), "calc"),
	rec(6, uint16(5), uint16(2), uint16(0), 2.5, make([]byte, 6)),
	rec(0x1b6, make([]byte, 10), uint16(9), make([]byte, 6)), rec(0x3c, uint8(0), "A comment"), rec(0x3c, make([]byte, 16)),
	bof8, rec(0x203, uint16(9), uint16(9), uint16(0), 99.0), eof, // a chart
	eof)

const want = `## A

| Place | Metres | end |
| --- | --- | --- |
| שלום | 1,234.50 | 2024-05-06 |
| Dover潮 | 6.7 | 50.00% |
| TRUE | #N/A |
| calc | 2.5 |

> A comment

## B

| 1 | 2 |
| --- | --- |
`

var sheet2 = slices.Concat(bof8, rec(0x203, uint16(0), uint16(0), uint16(0), 1.0), rec(0x203, uint16(0), uint16(7), uint16(0), 2.0), eof)

func TestWorkbook(t *testing.T) {
	t.Parallel()
	file := extracttest.OLE(map[string][]byte{"Workbook": book(bof8, globals, true, sheet1, sheet2), "\x05SummaryInformation": summary()})
	got := extracttest.Extract(t, xls.Extractor{}, extract.Input{}, file)
	text := extract.Text{
		Content: want, Type: "report", Format: "xls", Markup: "markdown", Title: "Tides", Author: "Ada Moor", Date: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC),
	}
	if diff := cmp.Diff(text, got); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

// TestOldWorkbook reads BIFF5, whose strings are in a code page.
func TestOldWorkbook(t *testing.T) {
	t.Parallel()
	bof := rec(0x809, uint16(0x500), uint16(5), uint16(0), uint16(0))
	sheet := slices.Concat(bof, rec(0x204, uint16(0), uint16(0), uint16(0), uint16(6), "\xcf\xf0\xe8\xe2\xe5\xf2"), rec(0x203, uint16(0), uint16(1), uint16(0), 3.0), eof)
	file := extracttest.OLE(map[string][]byte{"Book": book(bof, rec(0x42, uint16(1251)), false, sheet)})
	if got := extracttest.Extract(t, xls.Extractor{}, extract.Input{}, file).Content; got != "## A\n\n| Привет | 3 |\n| --- | --- |\n" {
		t.Errorf("text = %q", got)
	}
}

func TestHostileWorkbooks(t *testing.T) {
	t.Parallel()
	refused := func(name string, data []byte, kind error) {
		t.Helper()
		if _, err := (xls.Extractor{}).Extract(t.Context(), extract.Input{Reader: bytes.NewReader(data)}); !errors.Is(err, kind) {
			t.Errorf("%s: error = %v, want %v", name, err, kind)
		}
	}
	ole := func(b []byte) []byte { return extracttest.OLE(map[string][]byte{"Workbook": b}) }
	good := ole(book(bof8, globals, true, sheet1, sheet2))
	refused("no compound file", []byte("text"), extract.ErrDamaged)
	refused("truncated", good[:600], extract.ErrDamaged)
	refused("encrypted", ole(book(bof8, rec(0x2f, make([]byte, 54)), true)), extract.ErrEncrypted)
	refused("encrypted package", extracttest.OLE(map[string][]byte{"EncryptedPackage": make([]byte, 5000)}), extract.ErrEncrypted)
	refused("a Word document", extracttest.OLE(map[string][]byte{"WordDocument": make([]byte, 5000)}), extract.ErrUnsupported)
	refused("older records", ole(rec(9, uint16(2), uint16(16))), extract.ErrUnsupported)
	refused("empty", ole(book(bof8, nil, true, slices.Concat(bof8, eof))), extract.ErrNoText)
	// Each of many sheets begins within the one before.
	var overlap []byte
	n := 2000
	at := len(bof8) + n*13 + len(eof)
	for i := range n {
		overlap = append(overlap, rec(0x85, uint32(at+i*len(bof8)), uint16(0), uint8(1), uint8(0), "x")...)
	}
	refused("overlapping sheets", ole(slices.Concat(bof8, overlap, eof, bytes.Repeat(bof8, n))), extract.ErrDamaged)
	loop := slices.Clone(good)
	dir := binary.LittleEndian.Uint32(loop[48:])
	binary.LittleEndian.PutUint32(loop[len(loop)-512+4*int(dir):], dir) // the first sector of the directory is followed by itself
	refused("a chain of sectors in a loop", loop, extract.ErrDamaged)
	cut := extracttest.Extract(t, xls.Extractor{}, extract.Input{}, ole(book(bof8, globals, true, sheet1[:len(sheet1)-60])))
	if len(cut.Warnings) != 1 || !strings.Contains(cut.Content, "Dover") {
		t.Errorf("a sheet without an end: warnings %q, text %q", cut.Warnings, cut.Content)
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(book(bof8, globals, true, sheet1, sheet2))
	f.Fuzz(func(t *testing.T, data []byte) {
		extracttest.Any(t, xls.Extractor{}, extracttest.OLE(map[string][]byte{"Workbook": data}))
	})
}

func FuzzFile(f *testing.F) {
	f.Add(extracttest.OLE(map[string][]byte{"Workbook": book(bof8, nil, true, sheet2), "\x05SummaryInformation": summary()}))
	f.Fuzz(func(t *testing.T, data []byte) { extracttest.Any(t, xls.Extractor{}, data) })
}
