//go:build unix

package extract_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/llmemory/llmemory/extract"
)

// content checks that a source holds what it should, from any place and from the beginning.
func content(t *testing.T, s *extract.Source, want string) {
	t.Helper()
	if s.Size() != int64(len(want)) {
		t.Fatalf("%d bytes, want %d", s.Size(), len(want))
	}
	if b, err := s.Bytes(); err != nil || string(b) != want {
		t.Errorf("Bytes() = %.50q, %v", b, err)
	}
	if b, err := io.ReadAll(s); err != nil || string(b) != want {
		t.Errorf("read: %.50q, %v", b, err)
	}
	end := make([]byte, 1)
	if _, err := s.ReadAt(end, s.Size()-1); err != nil && err != io.EOF || end[0] != want[len(want)-1] {
		t.Errorf("ReadAt() = %q, %v", end, err)
	}
}

func TestOpenSource(t *testing.T) {
	t.Parallel()
	small, large := "some text", strings.Repeat("0123456789abcdef", 1<<16*9) // 9 MiB: more than is kept in memory
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("head"+small), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.CopyN(io.Discard, f, 4); err != nil {
		t.Fatal(err)
	}
	part := strings.NewReader("head" + small)
	if _, err := io.CopyN(io.Discard, part, 4); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		r    io.Reader
		want string
	}{
		"file":         {f, small},
		"memory":       {part, small},
		"stream":       {iotest.OneByteReader(strings.NewReader(small)), small},
		"large stream": {io.MultiReader(strings.NewReader(large)), large},
	} {
		s, err := extract.Input{Reader: tc.r}.Open(t.Context(), 0)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		content(t, s, tc.want)
		if _, err := s.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		again, err := extract.Input{Reader: s}.Open(t.Context(), 0)
		if err != nil {
			t.Fatalf("%s, of a source: %v", name, err)
		}
		content(t, again, tc.want)
		if err := errors.Join(again.Close(), s.Close(), s.Close()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A temporary file has no name while it is used, so nothing is left of it whatever ends the process.
func TestSourceLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	s, err := extract.Input{Reader: io.MultiReader(bytes.NewReader(make([]byte, 9<<20)))}.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	names := func() []string {
		list, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if list := names(); len(list) > 0 {
		t.Errorf("while it is open: %q", list)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := (extract.Input{Reader: io.MultiReader(bytes.NewReader(make([]byte, 9<<20)), iotest.ErrReader(io.ErrClosedPipe))}).Open(t.Context(), 0); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a stream that breaks: %v", err)
	}
	if list := names(); len(list) > 0 {
		t.Errorf("afterwards: %q", list)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func(r io.Reader, max int64) error {
		s, err := extract.Input{Reader: r}.Open(t.Context(), max)
		if err == nil {
			return s.Close()
		}
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	zero, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer zero.Close()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	go func() { // a writer without end
		for _, err := pipe.Write(make([]byte, 1<<16)); err == nil; {
			_, err = pipe.Write(make([]byte, 1<<16))
		}
	}()
	for name, tc := range map[string]struct {
		r    io.Reader
		max  int64
		kind error
	}{
		"folder":            {folder, 0, extract.ErrUnsupported},
		"device":            {zero, 0, extract.ErrUnsupported},
		"pipe without end":  {pipe, 1 << 20, extract.ErrTooLarge},
		"device, disguised": {io.MultiReader(zero), 20 << 20, extract.ErrTooLarge},
		"memory":            {strings.NewReader("12345"), 4, extract.ErrTooLarge},
		"stream":            {io.MultiReader(strings.NewReader("12345")), 4, extract.ErrTooLarge},
		"nothing":           {nil, 0, extract.ErrUnsupported},
	} {
		if err := open(tc.r, tc.max); !errors.Is(err, tc.kind) {
			t.Errorf("%s: %v, want %v", name, err, tc.kind)
		}
	}
	if err := open(io.MultiReader(strings.NewReader("1234")), 4); err != nil {
		t.Errorf("just so large: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := (extract.Input{Reader: cancelling{cancel}}).Open(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// cancelling ends its context at the first read, and itself never.
type cancelling struct{ cancel context.CancelFunc }

func (c cancelling) Read([]byte) (int, error) {
	c.cancel()
	return 1, nil
}

func TestReadText(t *testing.T) {
	t.Parallel()
	read := func(content, media string, max int, declared string) (string, []string, error) {
		return extract.Input{Reader: strings.NewReader(content), Media: media, MaxBytes: max}.ReadText(t.Context(), func([]byte) string { return declared })
	}
	for name, tc := range map[string]struct {
		content, media, declared, want string
		warnings                       int
	}{
		"UTF-8":            {"é", "", "", "é", 0},
		"Media says":       {"\xe9", "text/plain; charset=iso-8859-2", "koi8-r", "é", 0},
		"the content says": {"\xc1", "text/plain", "koi8-r", "а", 0},
		"nobody says":      {"caf\xe9", "", "", "café", 1},
		"NUL":              {strings.Repeat("x", 200) + "\x00", "", "", strings.Repeat("x", 200), 1},
	} {
		if got, warnings, err := read(tc.content, tc.media, 0, tc.declared); err != nil || got != tc.want || len(warnings) != tc.warnings {
			t.Errorf("%s: %q, %q, %v", name, got, warnings, err)
		}
	}
	wide := "\xff\xfe\x00\x00" + strings.Repeat("x\x00\x00\x00", 10)
	if got, _, err := read(wide, "", 10, ""); err != nil || got != "xxxxxxxxxx" {
		t.Errorf("UTF-32: %q, %v", got, err)
	}
	if _, _, err := read(wide, "", 9, ""); !errors.Is(err, extract.ErrTooLarge) {
		t.Errorf("too long: %v", err)
	}
}

func TestMarkupByName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a.go": "go", `C:\x\A.PY`: "python", "Dockerfile": "dockerfile", "a/README.md": "markdown", "a.txt": "", "": "", "x.csv": "csv",
		"CMakeLists.txt": "cmake", "a.tsx": "tsx",
	} {
		if got := extract.MarkupByName(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	if d := extract.Depth(extract.Within(extract.Within(ctx))); d != 2 || extract.Depth(ctx) != 0 {
		t.Errorf("depth %d", d)
	}
}
