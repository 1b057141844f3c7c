// Package cfb reads compound files ([MS-CFB]), the containers of the old Office formats.
package cfb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/llmemory/llmemory/internal/fault"
)

// Limits of what is read.
const (
	maxSectors = 1 << 20 // of a file
	maxEntries = 1 << 16 // of its directory
)

// lastSector is the highest number of a sector; higher ones have a meaning of their own.
const lastSector = 0xfffffff9

// File is an open compound file.
type File struct {
	r       io.ReaderAt
	size    int64
	shift   uint // of a sector's size
	fat     []uint32
	miniFAT []uint32
	mini    []byte // the stream that small ones lie in
	cutoff  uint32
	streams map[string]entry // of the root
}

type entry struct {
	start uint32
	size  uint64
}

// Open reads the directory of a compound file of so many bytes.
func Open(r io.ReaderAt, size int64) (*File, error) {
	var h [512]byte
	if _, err := r.ReadAt(h[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(h[:8]) != "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" {
		return nil, damaged("not a compound file")
	}
	f := &File{r: r, size: size, shift: uint(h[30]), cutoff: le32(h[56:]), streams: map[string]entry{}}
	if f.shift != 9 && f.shift != 12 {
		return nil, damaged("size of sectors")
	}
	if size>>f.shift > maxSectors {
		return nil, fmt.Errorf("%w: compound file of more than %d sectors", fault.TooLarge, maxSectors)
	}
	var table []uint32 // sectors of the allocation table
	for i := range 109 {
		table = append(table, le32(h[76+4*i:]))
	}
	per := 1 << (f.shift - 2)
	for next, n := le32(h[68:]), int64(0); next <= lastSector; n++ {
		b, err := f.sector(next)
		if err != nil || n > size>>f.shift {
			return nil, damaged("allocation table")
		}
		for i := range per - 1 {
			table = append(table, le32(b[4*i:]))
		}
		next = le32(b[4*(per-1):])
	}
	for _, at := range table {
		if at > lastSector || int64(len(f.fat)) > size>>f.shift {
			continue
		}
		b, err := f.sector(at)
		if err != nil {
			return nil, damaged("allocation table")
		}
		for i := range per {
			f.fat = append(f.fat, le32(b[4*i:]))
		}
	}
	dir, err := f.chain(le32(h[48:]), maxEntries*128)
	if err != nil {
		return nil, err
	}
	return f, f.directory(dir, h[:])
}

// directory reads the entries of the root.
func (f *File) directory(dir, header []byte) error {
	if len(dir) < 128 {
		return damaged("directory")
	}
	size := func(e []byte) uint64 {
		if f.shift == 9 {
			return uint64(le32(e[120:]))
		}
		return binary.LittleEndian.Uint64(e[120:])
	}
	var err error
	if start := le32(dir[116:]); start <= lastSector && size(dir) > 0 {
		if f.mini, err = f.chain(start, min(size(dir), uint64(f.size))); err != nil {
			return err
		}
		table, err := f.chain(le32(header[60:]), uint64(f.size))
		if err != nil {
			return err
		}
		for i := 0; i+4 <= len(table); i += 4 {
			f.miniFAT = append(f.miniFAT, le32(table[i:]))
		}
	}
	seen := map[uint32]bool{}
	for todo := []uint32{le32(dir[76:])}; len(todo) > 0; {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[id] || int64(id)*128+128 > int64(len(dir)) {
			continue
		}
		seen[id] = true
		e := dir[id*128:][:128]
		if e[66] == 2 { // a stream
			f.streams[name(e)] = entry{le32(e[116:]), size(e)}
		} else if e[66] == 1 {
			f.streams[name(e)+"/"] = entry{}
		}
		todo = append(todo, le32(e[68:]), le32(e[72:]))
	}
	return nil
}

func name(e []byte) string {
	units := make([]uint16, 0, 32)
	for i := 0; i+1 < min(int(binary.LittleEndian.Uint16(e[64:])), 64)-1; i += 2 {
		units = append(units, binary.LittleEndian.Uint16(e[i:]))
	}
	return string(utf16.Decode(units))
}

// Has tells whether the root holds a stream, or a storage if the name ends with a slash.
func (f *File) Has(name string) bool {
	_, ok := f.streams[name]
	return ok
}

// Stream returns a stream of the root of at most so many bytes; nil if there is none of the name.
func (f *File) Stream(name string, limit uint64) ([]byte, error) {
	e, ok := f.streams[name]
	if !ok {
		return nil, nil
	}
	if e.size > limit {
		return nil, fmt.Errorf("%w: stream of %d bytes", fault.TooLarge, e.size)
	}
	if e.size >= uint64(f.cutoff) {
		return f.chain(e.start, e.size)
	}
	var out []byte
	for at := e.start; uint64(len(out)) < e.size; {
		if int64(at)*64+64 > int64(len(f.mini)) || int64(at) >= int64(len(f.miniFAT)) || len(out) > len(f.mini) {
			return nil, damaged("stream")
		}
		out = append(out, f.mini[at*64:][:64]...)
		at = f.miniFAT[at]
	}
	return out[:e.size], nil
}

// chain reads a chain of sectors, of up to so many bytes.
func (f *File) chain(at uint32, limit uint64) ([]byte, error) {
	var out []byte
	for n := int64(0); at <= lastSector && uint64(len(out)) < limit; n++ {
		b, err := f.sector(at)
		if err != nil || n > f.size>>f.shift || int64(at) >= int64(len(f.fat)) {
			return nil, damaged("chain of sectors")
		}
		out = append(out, b...)
		at = f.fat[at]
	}
	return out[:min(uint64(len(out)), limit)], nil
}

func (f *File) sector(at uint32) ([]byte, error) {
	b := make([]byte, 1<<f.shift)
	n, err := f.r.ReadAt(b, (int64(at)+1)<<f.shift)
	if n == 0 && err != nil {
		return nil, err
	}
	return b, nil
}

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

func damaged(what string) error { return fmt.Errorf("%w: compound file: %s", fault.Damaged, what) }

// Summary is what a document says of itself ([MS-OLEPS]).
type Summary struct {
	Title, Author string
	Date          time.Time // of the last change, else of its making
}

// Summary reads what the document says of itself; decode makes text of strings in the code page that is given. What cannot be read is
// left out.
func (f *File) Summary(decode func(codepage int, b []byte) string) (s Summary) {
	b, err := f.Stream("\x05SummaryInformation", 1<<20)
	if err != nil || len(b) < 48 {
		return s
	}
	set := int64(le32(b[44:]))
	if set+8 > int64(len(b)) {
		return s
	}
	b = b[set:]
	at := map[uint32]int64{}
	for i := range int64(min(le32(b[4:]), 1000)) {
		if 16+8*i > int64(len(b)) {
			return s
		}
		at[le32(b[8+8*i:])] = int64(le32(b[12+8*i:]))
	}
	value := func(id uint32, kind uint32) []byte {
		off, ok := at[id]
		if !ok || off+12 > int64(len(b)) || le32(b[off:]) != kind {
			return nil
		}
		return b[off+4:]
	}
	page := 1252
	if v := value(1, 2); v != nil {
		page = int(binary.LittleEndian.Uint16(v))
	}
	text := func(id uint32) string {
		if v := value(id, 30); v != nil {
			n := min(int64(le32(v)), int64(len(v))-4, 4096)
			t, _, _ := strings.Cut(decode(page, v[4:4+n]), "\x00")
			return strings.Join(strings.Fields(strings.ToValidUTF8(t, "")), " ")
		}
		return ""
	}
	s.Title, s.Author = text(2), text(4)
	for _, id := range []uint32{13, 12} { // last saved, made
		if v := value(id, 64); v != nil && s.Date.IsZero() {
			if ticks := binary.LittleEndian.Uint64(v); ticks > 0 && ticks < 1<<62 {
				const epoch = 116444736000000000 // 1970 in ticks of 100 ns since 1601
				t := time.Unix((int64(ticks)-epoch)/10_000_000, 0).UTC()
				if t.Year() > 1900 && t.Year() < 10000 {
					s.Date = t
				}
			}
		}
	}
	return s
}
