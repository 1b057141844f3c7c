// Package cfb reads Compound File Binary files ([MS-CFB], also OLE2 or structured storage): a file system of streams and storages in
// one file, in which Outlook, and Office before 2007, keep documents.
//
// Files come from anywhere. Chains of sectors that loop or lead out of the file, streams longer than the file, and trees without an
// end are damage or cut short; memory is bounded by the size of the file. Errors wrap those of package fault.
package cfb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"github.com/llmemory/llmemory/internal/fault"
)

// Magic begins every such file.
const Magic = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

const (
	headerBytes = 512
	entryBytes  = 128
	miniBytes   = 64
	maxEntries  = 1 << 18
	maxDepth    = 40
	endOfChain  = 0xfffffffa // and what is above it is no sector
	noStream    = 0xffffffff
)

// File is an open file.
type File struct {
	// Root is the storage that holds all others.
	Root *Entry

	r         io.ReaderAt
	size      int64
	shift     uint // of the size of a sector
	fat       []uint32
	minifat   []uint32
	mini      []byte // the stream that small streams lie in
	threshold uint64 // of their size
}

// Entry is a stream or a storage.
type Entry struct {
	Name     string
	Size     int64    // of a stream, as it says
	Storage  bool     // it holds Children
	Children []*Entry // in the order of the directory

	start uint32
}

// Child returns the entry of a name within a storage, or nil. Letters count as equal in either case.
func (e *Entry) Child(name string) *Entry {
	if e == nil {
		return nil
	}
	for _, c := range e.Children {
		if strings.EqualFold(c.Name, name) {
			return c
		}
	}
	return nil
}

func damaged(what string) error { return fmt.Errorf("%w: compound file: %s", fault.Damaged, what) }

// Open reads the directory of a file.
func Open(r io.ReaderAt, size int64) (*File, error) {
	var h [headerBytes]byte
	if _, err := r.ReadAt(h[:], 0); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, damaged("cut short")
		}
		return nil, err
	}
	if string(h[:8]) != Magic {
		return nil, fmt.Errorf("%w: not a compound file", fault.Unsupported)
	}
	f := &File{r: r, size: size, shift: uint(binary.LittleEndian.Uint16(h[30:])), threshold: uint64(u32(h[56:]))}
	if f.shift != 9 && f.shift != 12 {
		return nil, damaged("sectors of a strange size")
	}
	if f.threshold == 0 || f.threshold > 1<<20 {
		f.threshold = 4096
	}
	if err := f.readFAT(h[:]); err != nil {
		return nil, err
	}
	dir, err := f.chain(u32(h[48:]), maxEntries*entryBytes)
	if err != nil {
		return nil, err
	}
	table, err := f.chain(u32(h[60:]), size/miniBytes*4+headerBytes*8)
	if err != nil {
		return nil, err
	}
	f.minifat = numbers(table)
	if len(dir) < entryBytes {
		return nil, damaged("no directory")
	}
	root, _, _, _ := f.entry(dir)
	if f.mini, err = f.chain(root.start, size); err != nil {
		return nil, err
	}
	root.Storage = true
	f.Root = root
	seen := make([]bool, len(dir)/entryBytes)
	seen[0] = true
	return f, f.children(dir, root, u32(dir[76:]), seen, 0)
}

func u32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

func numbers(b []byte) []uint32 {
	out := make([]uint32, len(b)/4)
	for i := range out {
		out[i] = u32(b[4*i:])
	}
	return out
}

// sector returns a sector; the last of a file may be cut short and is filled up.
func (f *File) sector(n uint32) ([]byte, error) {
	at := (int64(n) + 1) << f.shift
	if at >= f.size {
		return nil, damaged("a sector that is not there")
	}
	b := make([]byte, 1<<f.shift)
	if _, err := f.r.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

// readFAT reads the table in which each sector's successor stands. Its own sectors are listed in the header, and in a chain of sectors
// beyond 109 of them.
func (f *File) readFAT(h []byte) error {
	sectors := uint32(f.size>>f.shift) + 1
	perSector := uint32(1) << (f.shift - 2)
	most := int(sectors/perSector) + 1
	list := numbers(h[76:])
	for next, n := u32(h[68:]), 0; next < endOfChain; n++ {
		if n > most {
			return damaged("a list of tables without an end")
		}
		b, err := f.sector(next)
		if err != nil {
			return err
		}
		list = append(list, numbers(b[:len(b)-4])...)
		next = u32(b[len(b)-4:])
	}
	for _, n := range list {
		if n >= endOfChain {
			continue
		}
		if len(f.fat) > most*int(perSector) {
			return damaged("more tables than sectors")
		}
		b, err := f.sector(n)
		if err != nil {
			return err
		}
		f.fat = append(f.fat, numbers(b)...)
	}
	return nil
}

// chain reads the sectors of a chain, no more than about limit bytes.
func (f *File) chain(n uint32, limit int64) ([]byte, error) {
	var out []byte
	for n < endOfChain && int64(len(out)) < limit {
		if int64(len(out)) > f.size {
			return nil, damaged("a chain without an end")
		}
		b, err := f.sector(n)
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
		if int64(n) >= int64(len(f.fat)) {
			return nil, damaged("a chain out of the table")
		}
		n = f.fat[n]
	}
	return out, nil
}

// entry reads the entry that a part of the directory begins with, and where its left and right neighbours and its first child are.
func (f *File) entry(b []byte) (e *Entry, left, right, child uint32) {
	n := min(int(binary.LittleEndian.Uint16(b[64:])), 64)
	units := make([]uint16, 0, 32)
	for i := 0; i+1 < n; i += 2 {
		if c := binary.LittleEndian.Uint16(b[i:]); c != 0 {
			units = append(units, c)
		}
	}
	size := binary.LittleEndian.Uint64(b[120:])
	if f.shift == 9 {
		size &= 0xffffffff // what is above may be dirt
	}
	e = &Entry{Name: string(utf16.Decode(units)), Size: int64(min(size, 1<<62)), Storage: b[66] == 1 || b[66] == 5, start: u32(b[116:])}
	return e, u32(b[68:]), u32(b[72:]), u32(b[76:])
}

// children fills a storage with the entries of the tree at an index.
func (f *File) children(dir []byte, parent *Entry, first uint32, seen []bool, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: storages more than %d deep", fault.TooLarge, maxDepth)
	}
	type step struct {
		at    uint32
		entry *Entry // to be added; else the tree at the index is to be walked
		child uint32
	}
	for todo := []step{{at: first}}; len(todo) > 0; {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if s.entry != nil {
			parent.Children = append(parent.Children, s.entry)
			if s.entry.Storage {
				if err := f.children(dir, s.entry, s.child, seen, depth+1); err != nil {
					return err
				}
			}
			continue
		}
		if s.at == noStream || int64(s.at) >= int64(len(seen)) || seen[s.at] {
			continue
		}
		seen[s.at] = true
		b := dir[int(s.at)*entryBytes:][:entryBytes]
		if b[66] == 0 {
			continue
		}
		e, left, right, child := f.entry(b)
		todo = append(todo, step{at: right}, step{entry: e, child: child}, step{at: left})
	}
	return nil
}

// Has tells whether the root holds a stream, or a storage if the name ends with a slash.
func (f *File) Has(name string) bool {
	bare, storage := strings.CutSuffix(name, "/")
	e := f.Root.Child(bare)
	return e != nil && e.Storage == storage
}

// Stream returns a stream of the root of at most so many bytes; nil if there is none of the name. Of one that is cut short it returns
// what is there.
func (f *File) Stream(name string, limit uint64) ([]byte, error) {
	e := f.Root.Child(name)
	if e == nil || e.Storage {
		return nil, nil
	}
	return f.content(e, int64(min(limit, 1<<62)))
}

// Read returns the content of a stream. One of more than limit bytes is refused with fault.TooLarge, one that the file does not hold as
// a whole with fault.Damaged.
func (f *File) Read(e *Entry, limit int64) ([]byte, error) {
	if e == nil || e.Storage {
		return nil, fmt.Errorf("%w: compound file: no stream", fault.Unsupported)
	}
	b, err := f.content(e, limit)
	if err == nil && int64(len(b)) < e.Size {
		return nil, damaged("a stream that is cut short")
	}
	return b, err
}

// content returns the content of a stream, as far as it is there.
func (f *File) content(e *Entry, limit int64) ([]byte, error) {
	if e.Size > limit {
		return nil, fmt.Errorf("%w: a stream of %d bytes", fault.TooLarge, e.Size)
	}
	if e.Size == 0 {
		return nil, nil
	}
	if uint64(e.Size) >= f.threshold {
		b, err := f.chain(e.start, e.Size)
		return b[:min(int64(len(b)), e.Size)], err
	}
	var out []byte
	for n := e.start; int64(len(out)) < e.Size; n = f.minifat[n] {
		at := int64(n) * miniBytes
		if int64(n) >= int64(len(f.minifat)) || at >= int64(len(f.mini)) {
			return nil, damaged("a small stream that is cut short")
		}
		out = append(out, f.mini[at:min(at+miniBytes, int64(len(f.mini)))]...)
	}
	return out[:e.Size], nil
}
