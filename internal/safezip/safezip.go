// Package safezip opens zip files that come from anywhere: the number of members, their names, and the bytes that they unpack to are
// bounded, and what a member holds is counted while it is read, whatever its header says. Nothing is written to disk.
//
// Errors wrap those of package fault.
package safezip

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/llmemory/llmemory/internal/fault"
)

// Limits bound what an archive may hold. Zero fields take their default.
type Limits struct {
	Entries int   // members, folders included; default 10,000
	Total   int64 // bytes that all reading together may unpack; default 256 MiB
	Ratio   int64 // unpacked bytes for each packed byte of a member, once it is past Floor; default 100
	Floor   int64 // unpacked bytes of a member for which the ratio does not matter; default 4 MiB
	// Mixed lets through what Open else refuses: names that are not plain relative paths, names that occur twice, and encrypted
	// members, for an archive whose members are taken one by one.
	Mixed bool
}

// The defaults of Limits.
const (
	DefaultEntries = 10_000
	DefaultTotal   = 256 << 20
	DefaultRatio   = 100
	DefaultFloor   = 4 << 20
)

// Archive is an open zip file. It may be used by several goroutines.
type Archive struct {
	// Files are the members in the order of the directory, without folders.
	Files  []*File
	limits Limits
	byName map[string]*File
	read   atomic.Int64 // bytes unpacked so far
}

// File is one member of an archive.
type File struct {
	Name      string // as it is in the archive
	Modified  time.Time
	Mode      fs.FileMode
	Size      int64 // unpacked, as its header says, which may lie
	Packed    int64 // bytes in the archive
	Encrypted bool

	archive *Archive
	zip     *zip.File
}

// Open reads the directory of an archive of so many bytes.
func Open(r io.ReaderAt, size int64, limits Limits) (*Archive, error) {
	l := limits.orDefault()
	if size < 22 {
		return nil, fmt.Errorf("%w: not a whole zip file", fault.Damaged)
	}
	// The directory is read into memory before its members can be counted: what may be read of it is bounded first.
	bounded := &boundedReaderAt{r: r}
	bounded.left.Store(1<<20 + 512*int64(l.Entries))
	z, err := zip.NewReader(bounded, size)
	if bounded.left.Load() < 0 {
		return nil, fmt.Errorf("%w: more than %d members in the zip file", fault.TooLarge, l.Entries)
	}
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, zipError(err)
	}
	bounded.left.Store(1 << 62)
	if len(z.File) > l.Entries {
		return nil, fmt.Errorf("%w: %d members in the zip file, at most %d", fault.TooLarge, len(z.File), l.Entries)
	}
	a := &Archive{limits: l, byName: make(map[string]*File, len(z.File))}
	var packed uint64
	for _, f := range z.File {
		packed += f.CompressedSize64
		if f.CompressedSize64 > uint64(size) || packed > uint64(size) {
			return nil, fmt.Errorf("%w: members of the zip file overlap", fault.Damaged)
		}
		if !l.Mixed {
			if !plain(f.Name) {
				return nil, fmt.Errorf("%w: the zip file has a member of an unsafe name", fault.Damaged)
			}
			if f.Flags&1 != 0 {
				return nil, fmt.Errorf("%w: the zip file needs a password", fault.Encrypted)
			}
		}
		if strings.HasSuffix(f.Name, "/") || f.Mode().IsDir() {
			continue
		}
		m := &File{
			Name: f.Name, Modified: f.Modified, Mode: f.Mode(), Size: int64(min(f.UncompressedSize64, 1<<62)), Packed: int64(f.CompressedSize64), Encrypted: f.Flags&1 != 0,
			archive: a, zip: f,
		}
		if _, twice := a.byName[f.Name]; !twice {
			a.byName[f.Name] = m
		} else if !l.Mixed {
			return nil, fmt.Errorf("%w: the zip file has two members of one name", fault.Damaged)
		}
		a.Files = append(a.Files, m)
	}
	return a, nil
}

func (l Limits) orDefault() Limits {
	set := func(v *int64, def int64) {
		if *v <= 0 {
			*v = def
		}
	}
	if l.Entries <= 0 {
		l.Entries = DefaultEntries
	}
	set(&l.Total, DefaultTotal)
	set(&l.Ratio, DefaultRatio)
	set(&l.Floor, DefaultFloor)
	return l
}

// plain tells whether a name is a relative path that stays below where it starts.
func plain(name string) bool {
	if name == "" || strings.ContainsAny(name, "\\\x00") || name[0] == '/' || (len(name) > 1 && name[1] == ':') || !utf8.ValidString(name) {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return false
		}
	}
	return true
}

// File returns the member of a name, or nil. A name that is not there as it stands is looked for without regard to case, as office
// programs do.
func (a *Archive) File(name string) *File {
	name = strings.TrimPrefix(path.Clean(name), "/")
	if f := a.byName[name]; f != nil {
		return f
	}
	for _, f := range a.Files {
		if strings.EqualFold(f.Name, name) {
			return f
		}
	}
	return nil
}

// ReadFile returns what a member holds, nil and no error if there is no such member.
func (a *Archive) ReadFile(name string) ([]byte, error) {
	f := a.File(name)
	if f == nil {
		return nil, nil
	}
	return f.ReadAll()
}

// Check reads every member and forgets it, within the limits, for a library that unpacks by itself afterwards. What it reads does not
// count against later reading.
func (a *Archive) Check(ctx context.Context) error {
	defer a.read.Store(a.read.Load())
	for _, f := range a.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := f.Open()
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			return err
		}
	}
	return nil
}

// ReadAll returns what the member holds.
func (f *File) ReadAll() ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // it is read to its end, or its error has been told
	return io.ReadAll(r)
}

// Open returns a reader of what the member holds. Its errors say what is wrong with the archive.
func (f *File) Open() (io.ReadCloser, error) {
	if f.Encrypted {
		return nil, fmt.Errorf("%w: the zip file needs a password", fault.Encrypted)
	}
	r, err := f.zip.Open()
	if err != nil {
		return nil, zipError(err)
	}
	return &counted{ReadCloser: r, file: f}, nil
}

// counted counts what a member unpacks to.
type counted struct {
	io.ReadCloser
	file *File
	read int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.read += int64(n)
	l := c.file.archive.limits
	if total := c.file.archive.read.Add(int64(n)); total > l.Total {
		return 0, fmt.Errorf("%w: the zip file unpacks to more than %d bytes", fault.TooLarge, l.Total)
	}
	if c.read > l.Floor && c.read/l.Ratio > int64(c.file.zip.CompressedSize64) {
		return 0, fmt.Errorf("%w: a member of the zip file unpacks to more than %d times its size", fault.TooLarge, l.Ratio)
	}
	if err != nil && err != io.EOF {
		err = zipError(err)
	}
	return n, err
}

// zipError says what an error of the zip reader means.
func zipError(err error) error {
	if errors.Is(err, zip.ErrAlgorithm) {
		return fmt.Errorf("%w: zip compression method: %w", fault.Unsupported, err)
	}
	var pe *fs.PathError
	if errors.As(err, &pe) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err // of the reader, not of the archive
	}
	return fmt.Errorf("%w: zip: %w", fault.Damaged, err)
}

// boundedReaderAt reads no more than so many bytes in all.
type boundedReaderAt struct {
	r    io.ReaderAt
	left atomic.Int64
}

func (b *boundedReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if b.left.Add(-int64(len(p))) < 0 {
		return 0, fault.TooLarge
	}
	return b.r.ReadAt(p, off)
}
