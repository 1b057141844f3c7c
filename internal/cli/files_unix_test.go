//go:build unix

package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What happens to files after their folder was read is told of, and keeps nothing waiting.
func TestFilesChange(t *testing.T) {
	t.Parallel()
	const skipped = ""
	for name, c := range map[string]struct {
		change func(path string) error
		folder string // what is wrong with it in a folder; skipped if that is why
		why    string // it is skipped
		named  string // what is wrong with it if it is named itself
	}{
		"vanishes":          {os.Remove, skipped, "is gone", "no such file or directory"},
		"becomes a pipe":    {func(path string) error { return replace(path, func() error { return syscall.Mkfifo(path, 0o600) }) }, skipped, "is no regular file", "is neither a regular file nor a folder"},
		"becomes a folder":  {func(path string) error { return replace(path, func() error { return os.Mkdir(path, 0o700) }) }, skipped, "is no regular file", "is neither a regular file nor a folder"},
		"becomes a way out": {func(path string) error { return replace(path, func() error { return os.Symlink("/etc/passwd", path) }) }, "path escapes", "", ""},
		"becomes a loop":    {func(path string) error { return replace(path, func() error { return os.Symlink(path, path) }) }, "path escapes", "", "too many levels of symbolic links"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "a.txt")
			if err := os.WriteFile(path, []byte("Text."), 0o600); err != nil {
				t.Fatal(err)
			}
			folder, err := gather([]string{dir})
			if err != nil {
				t.Fatal(err)
			}
			defer folder.close()
			named, err := gather([]string{path})
			if err != nil {
				t.Fatal(err)
			}
			defer named.close()
			if err := c.change(path); err != nil {
				t.Fatal(err)
			}
			err = read(t, folder)
			if c.folder != skipped && (err == nil || skips(err) || !strings.Contains(err.Error(), c.folder)) {
				t.Errorf("in a folder: %v, want an error with %q", err, c.folder)
			}
			if c.folder == skipped && (!skips(err) || !strings.Contains(err.Error(), c.why)) {
				t.Errorf("in a folder: %v, want it to be skipped as it %s", err, c.why)
			}
			err = read(t, named)
			if c.named != "" && (err == nil || skips(err) || !strings.Contains(err.Error(), c.named)) {
				t.Errorf("named: %v, want an error with %q", err, c.named)
			}
			if c.named == "" && err != nil {
				t.Errorf("named: %v", err)
			}
		})
	}
}

func replace(path string, by func() error) error { return errors.Join(os.Remove(path), by()) }

// skips tells whether an error is that a file is left out.
func skips(err error) bool {
	var skip *skipError
	return errors.As(err, &skip)
}

// read reads the only file that was gathered, and returns why it could not.
func read(t *testing.T, g *gathered) error {
	t.Helper()
	if len(g.files) != 1 {
		t.Fatalf("%d files", len(g.files))
	}
	done := make(chan error, 1)
	go func() {
		r, err := openFile(&g.files[0])
		if err == nil {
			_, err = io.ReadAll(r)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		t.Fatal("it waits")
		return nil
	}
}

// maxRSS is the most memory that a process took, in bytes; 0 where it is counted in another way than Linux does.
func maxRSS(s *os.ProcessState) int64 {
	if usage, ok := s.SysUsage().(*syscall.Rusage); ok && runtime.GOOS == "linux" {
		return int64(usage.Maxrss) << 10
	}
	return 0
}
