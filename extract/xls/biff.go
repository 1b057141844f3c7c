package xls

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf16"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/mdtext"
	"github.com/llmemory/llmemory/internal/sheet"
)

// The records that are read ([MS-XLS] 2.3).
const (
	recFormula    = 0x0006
	recEOF        = 0x000a
	rec1904       = 0x0022
	recFilePass   = 0x002f
	recContinue   = 0x003c
	recCodePage   = 0x0042
	recBoundSheet = 0x0085
	recMulRK      = 0x00bd
	recRString    = 0x00d6
	recXF         = 0x00e0
	recSST        = 0x00fc
	recLabelSST   = 0x00fd
	recTxO        = 0x01b6
	recNumber     = 0x0203
	recLabel      = 0x0204
	recBoolErr    = 0x0205
	recString     = 0x0207
	recRK         = 0x027e
	recFormat     = 0x041e
	recBOF        = 0x0809
)

// maxStrings is how many bytes of shared strings are kept.
const maxStrings = 128 << 20

type workbook struct {
	data     []byte
	w        *mdtext.Writer
	out      sheet.Writer
	wide     bool // BIFF8: strings are Unicode
	page     int
	date1904 bool
	strings  []string
	formats  []int // of the styles of cells
	codes    map[int]*sheet.Format
	tabs     []tab
	scanned  int // bytes of records, those read again counted again
	warnings []string
}

type tab struct {
	name string
	at   int
}

// record is one with those that continue it.
type record struct {
	kind  int
	parts [][]byte
}

// records calls f with the records from a place on, until it returns false.
func (b *workbook) records(ctx context.Context, at int, f func(r record) (bool, error)) error {
	for n := 0; at+4 <= len(b.data); n++ {
		if n&0x3ff == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		r := record{kind: int(le16(b.data[at:]))}
		for {
			size := int(le16(b.data[at+2:]))
			at += 4
			end := min(at+size, len(b.data))
			r.parts = append(r.parts, b.data[at:end])
			at = end
			if b.scanned += 4 + size; b.scanned > 4*len(b.data)+1<<20 { // sheets within sheets
				return fmt.Errorf("%w: sheets overlap", extract.ErrDamaged)
			}
			if at+4 > len(b.data) || le16(b.data[at:]) != recContinue || len(r.parts) > 1<<16 {
				break
			}
		}
		if more, err := f(r); err != nil || !more {
			return err
		}
	}
	b.warn("the workbook is cut short: what was there has been read")
	return nil
}

func (b *workbook) warn(s string) {
	if len(b.warnings) == 0 {
		b.warnings = append(b.warnings, s)
	}
}

func (b *workbook) read(ctx context.Context) error {
	if len(b.data) < 8 || le16(b.data) != recBOF {
		return fmt.Errorf("%w: not a workbook of Excel 5 or later", extract.ErrUnsupported)
	}
	if err := b.records(ctx, 0, b.global); err != nil {
		return err
	}
	for _, t := range b.tabs {
		b.out.Sheet(t.name)
		if err := b.sheet(ctx, t.at); err != nil {
			return err
		}
		if b.out.Full() {
			break
		}
	}
	return nil
}

// global takes a record of what holds for all sheets.
func (b *workbook) global(r record) (bool, error) {
	p := r.parts[0]
	switch r.kind {
	case recBOF:
		b.wide = len(p) >= 2 && le16(p) == 0x0600
	case recEOF:
		return false, nil
	case recFilePass:
		return false, fmt.Errorf("%w: the workbook needs a password", extract.ErrEncrypted)
	case recCodePage:
		if len(p) >= 2 && le16(p) != 1200 {
			b.page = int(le16(p))
		}
	case rec1904:
		b.date1904 = len(p) >= 1 && p[0] == 1
	case recBoundSheet:
		if len(p) >= 8 && p[5] == 0 { // of cells, not a chart or macros
			b.tabs = append(b.tabs, tab{b.short(p[6:]), int(int32(le32(p)))})
		}
	case recFormat:
		switch {
		case len(p) >= 5 && b.wide:
			b.codes[int(le16(p))] = sheet.NewFormat(b.long([][]byte{p[2:]}))
		case len(p) >= 3 && !b.wide:
			b.codes[int(le16(p))] = sheet.NewFormat(b.short(p[2:]))
		}
	case recXF:
		if len(p) >= 4 {
			b.formats = append(b.formats, int(le16(p[2:])))
		}
	case recSST:
		return true, b.sharedStrings(r)
	}
	return true, nil
}

// short reads a string whose length takes a byte.
func (b *workbook) short(p []byte) string {
	if len(p) < 1 {
		return ""
	}
	n := int(p[0])
	if !b.wide {
		return clean(decode(b.page, p[1:min(1+n, len(p))]))
	}
	if len(p) < 2 {
		return ""
	}
	s := &scanner{parts: [][]byte{p[2:]}}
	return clean(s.chars(n, p[1]&1 != 0))
}

// long reads a string whose length takes two bytes.
func (b *workbook) long(parts [][]byte) string {
	if len(parts[0]) < 3 {
		return ""
	}
	n := int(le16(parts[0]))
	if !b.wide {
		return clean(decode(b.page, parts[0][2:min(2+n, len(parts[0]))]))
	}
	s := &scanner{parts: parts, at: 3}
	return clean(s.chars(n, parts[0][2]&1 != 0))
}

func clean(s string) string { return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "") }

func (b *workbook) sharedStrings(r record) error {
	if len(r.parts[0]) < 8 {
		return nil
	}
	count := le32(r.parts[0][4:])
	s := &scanner{parts: r.parts, at: 8}
	size := 0
	for range count {
		h := s.bytes(3)
		if h == nil {
			return nil
		}
		flags, runs, extra := h[2], 0, 0
		if flags&8 != 0 {
			if v := s.bytes(2); v != nil {
				runs = int(le16(v))
			}
		}
		if flags&4 != 0 {
			if v := s.bytes(4); v != nil {
				extra = int(le32(v) & 0x7fffffff)
			}
		}
		text := clean(s.chars(int(le16(h)), flags&1 != 0))
		if size += len(text) + 16; size > maxStrings {
			return fmt.Errorf("%w: more than %d bytes of shared strings", extract.ErrTooLarge, maxStrings)
		}
		b.strings = append(b.strings, text)
		s.skip(4*runs + extra)
	}
	return nil
}

// scanner reads over the ends of the parts of a record.
type scanner struct {
	parts [][]byte
	at    int // in the first part
}

// more moves on to a part that has bytes left.
func (s *scanner) more() bool {
	for len(s.parts) > 0 && s.at >= len(s.parts[0]) {
		s.parts, s.at = s.parts[1:], 0
	}
	return len(s.parts) > 0
}

// bytes returns the next n bytes, nil at the end.
func (s *scanner) bytes(n int) []byte {
	var out []byte
	for len(out) < n {
		if !s.more() {
			return nil
		}
		k := min(n-len(out), len(s.parts[0])-s.at)
		out = append(out, s.parts[0][s.at:s.at+k]...)
		s.at += k
	}
	return out
}

func (s *scanner) skip(n int) {
	for n > 0 && s.more() {
		k := min(n, len(s.parts[0])-s.at)
		s.at += k
		n -= k
	}
}

// chars reads n characters. A part that goes on with them says anew whether they are wide.
func (s *scanner) chars(n int, wide bool) string {
	units := make([]uint16, 0, min(n, 1024))
	for len(units) < n {
		if len(s.parts) == 0 {
			break
		}
		if s.at >= len(s.parts[0]) {
			if !s.more() {
				break
			}
			wide = s.parts[0][0]&1 != 0
			s.at = 1
			continue
		}
		if !wide {
			units = append(units, uint16(s.parts[0][s.at]))
			s.at++
			continue
		}
		if s.at+2 > len(s.parts[0]) {
			s.at = len(s.parts[0])
			continue
		}
		units = append(units, le16(s.parts[0][s.at:]))
		s.at += 2
	}
	return string(utf16.Decode(units))
}

// sheet reads the cells of a sheet.
func (b *workbook) sheet(ctx context.Context, at int) error {
	if at < 0 || at+4 > len(b.data) || le16(b.data[at:]) != recBOF {
		b.warn("a sheet is missing")
		return nil
	}
	depth := 0 // of charts within the sheet
	var texts []string
	row, col := -1, 0 // of a formula whose text follows
	err := b.records(ctx, at, func(r record) (bool, error) {
		p := r.parts[0]
		switch r.kind {
		case recBOF:
			depth++
			return true, nil
		case recEOF:
			depth--
			return depth > 0, nil
		}
		if depth > 1 {
			return true, nil
		}
		switch r.kind {
		case recTxO:
			if len(p) >= 12 && len(r.parts) > 1 && b.wide && len(r.parts[1]) > 0 {
				s := &scanner{parts: r.parts[1:], at: 1}
				texts = append(texts, clean(s.chars(int(le16(p[10:])), r.parts[1][0]&1 != 0)))
			}
			return true, nil
		case recString:
			if row >= 0 {
				b.out.Cell(row, col, b.long(r.parts), false)
				row = -1
			}
			return true, nil
		}
		if len(p) < 6 {
			return true, nil
		}
		y, x, xf := int(le16(p)), int(le16(p[2:])), int(le16(p[4:]))
		switch r.kind {
		case recNumber:
			if len(p) >= 14 {
				b.number(y, x, xf, math.Float64frombits(binary.LittleEndian.Uint64(p[6:])))
			}
		case recRK:
			if len(p) >= 10 {
				b.number(y, x, xf, rk(le32(p[6:])))
			}
		case recMulRK:
			for i := 4; i+8 <= len(p); i += 6 {
				b.number(y, x, int(le16(p[i:])), rk(le32(p[i+2:])))
				x++
			}
		case recLabelSST:
			if len(p) >= 10 && int64(le32(p[6:])) < int64(len(b.strings)) {
				b.out.Cell(y, x, b.strings[le32(p[6:])], false)
			}
		case recLabel, recRString:
			if len(p) >= 8 {
				b.out.Cell(y, x, b.long(append([][]byte{p[6:]}, r.parts[1:]...)), false)
			}
		case recBoolErr:
			if len(p) >= 8 {
				b.out.Cell(y, x, truth(p[6], p[7] != 0), false)
			}
		case recFormula:
			row = -1
			switch {
			case len(p) < 14:
			case le16(p[12:]) != 0xffff:
				b.number(y, x, xf, math.Float64frombits(binary.LittleEndian.Uint64(p[6:])))
			case p[6] == 0:
				row, col = y, x
			case p[6] == 1 || p[6] == 2:
				b.out.Cell(y, x, truth(p[8], p[6] == 2), false)
			}
		}
		return !b.out.Full(), nil
	})
	b.out.End()
	for _, text := range texts {
		if text = mdtext.OneLine(text); text != "" {
			b.w.Open("> ", "> ")
			b.w.Paragraph(text)
			b.w.Close()
		}
	}
	return err
}

func (b *workbook) number(row, col, xf int, v float64) {
	var format *sheet.Format
	if xf < len(b.formats) {
		id := b.formats[xf]
		var ok bool
		if format, ok = b.codes[id]; !ok {
			format = sheet.NewFormat(sheet.Builtin(id))
			b.codes[id] = format
		}
	}
	b.out.Cell(row, col, format.Show(v, b.date1904), true)
}

// rk decodes a number of 30 bits.
func rk(n uint32) float64 {
	v := math.Float64frombits(uint64(n&^3) << 32)
	if n&2 != 0 {
		v = float64(int32(n) >> 2)
	}
	if n&1 != 0 {
		v /= 100
	}
	return v
}

// truth shows a truth value or an error.
func truth(v byte, bad bool) string {
	switch {
	case bad:
		return map[byte]string{0: "#NULL!", 7: "#DIV/0!", 15: "#VALUE!", 23: "#REF!", 29: "#NAME?", 36: "#NUM!", 42: "#N/A"}[v]
	case v != 0:
		return "TRUE"
	}
	return "FALSE"
}

func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
