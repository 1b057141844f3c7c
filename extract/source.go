package extract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// DefaultMaxSource is how many bytes of a source are read at most where nobody says otherwise.
const DefaultMaxSource = 256 << 20

// inMemory is how many bytes of a stream a Source keeps in memory before it takes a temporary file.
const inMemory = 8 << 20

// Source is an input that can be read from any place, for formats that keep their directory at the end. It is an io.Reader of the
// whole, too, and may be the Reader of another [Input]: opening that costs nothing.
type Source struct {
	io.SectionReader
	file *os.File // a temporary file of its own, or nil
	gone bool     // it has no name any more
}

// Open makes a Source of what in.Reader has left. A regular file, a reader in memory, or another Source is read where it is; any other
// stream is copied, into memory as long as it is small and then into a temporary file without a name. More than max bytes (0 means
// [DefaultMaxSource]) are refused with [ErrTooLarge], folders and devices with [ErrUnsupported]. The context is looked at while
// reading. Close the Source when done; in.Reader is not closed.
func (in Input) Open(ctx context.Context, max int64) (*Source, error) {
	if max <= 0 {
		max = DefaultMaxSource
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if in.Reader == nil {
		return nil, fmt.Errorf("%w: nothing to read", ErrUnsupported)
	}
	if s, err := inPlace(in.Reader, max); s != nil || err != nil {
		return s, err
	}
	return spool(ctx, in.Reader, max)
}

// inPlace makes a Source of a reader that can be read from any place as it is; nil and no error of one that cannot.
func inPlace(r io.Reader, max int64) (*Source, error) {
	size := int64(-1)
	switch f := r.(type) {
	case interface{ Stat() (fs.FileInfo, error) }:
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		switch {
		case info.Mode().IsRegular():
			size = info.Size()
		case info.IsDir():
			return nil, fmt.Errorf("%w: a folder", ErrUnsupported)
		case info.Mode()&(fs.ModeDevice|fs.ModeSocket) != 0 && r != io.Reader(os.Stdin):
			return nil, fmt.Errorf("%w: not a file but a device", ErrUnsupported)
		}
	case interface{ Size() int64 }:
		size = f.Size()
	}
	at, ok := r.(io.ReaderAt)
	if !ok || size < 0 {
		return nil, nil
	}
	var from int64
	if s, ok := r.(io.Seeker); ok {
		var err error
		if from, err = s.Seek(0, io.SeekCurrent); err != nil {
			return nil, err
		}
	}
	if size == 0 && from == 0 { // files of the kernel say so and are not empty
		if _, ok := r.(*os.File); ok {
			return nil, nil
		}
	}
	size = size - min(from, size)
	if size > max {
		return nil, tooLarge(max)
	}
	return &Source{SectionReader: *io.NewSectionReader(at, from, size)}, nil
}

// spool copies a stream.
func spool(ctx context.Context, r io.Reader, max int64) (*Source, error) {
	r = io.LimitReader(&contextReader{ctx, r}, max+1)
	var head bytes.Buffer
	n, err := io.CopyN(&head, r, inMemory+1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if n > max {
		return nil, tooLarge(max)
	}
	if n <= inMemory {
		return &Source{SectionReader: *io.NewSectionReader(bytes.NewReader(head.Bytes()), 0, n)}, nil
	}
	f, err := os.CreateTemp("", "llmemory-*")
	if err != nil {
		return nil, err
	}
	s := &Source{file: f, gone: os.Remove(f.Name()) == nil} // where an open file cannot lose its name, Close removes it
	n, err = io.Copy(f, io.MultiReader(&head, r))
	if err == nil && n > max {
		err = tooLarge(max)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.SectionReader = *io.NewSectionReader(f, 0, n)
	return s, nil
}

func tooLarge(max int64) error {
	return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, max)
}

// Bytes returns all of the source, from its beginning.
func (s *Source) Bytes() ([]byte, error) {
	b := make([]byte, s.Size())
	n, err := s.ReadAt(b, 0)
	if n == len(b) || errors.Is(err, io.EOF) { // a file that has become shorter meanwhile is what it is now
		err = nil
	}
	return b[:n], err
}

// Close frees what the Source took.
func (s *Source) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if !s.gone {
		err = errors.Join(err, os.Remove(s.file.Name()))
	}
	s.file = nil
	return err
}

// contextReader ends when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p[:min(len(p), 1<<20)])
}

type depthKey struct{}

// Within returns the context to call [Input.Part] with: it says that the part lies one level deeper.
func Within(ctx context.Context) context.Context {
	return context.WithValue(ctx, depthKey{}, Depth(ctx)+1)
}

// Depth returns how many documents the one at hand lies within, 0 for one that is no part of another.
func Depth(ctx context.Context) int {
	d, _ := ctx.Value(depthKey{}).(int)
	return d
}
