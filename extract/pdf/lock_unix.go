//go:build unix

package pdf

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lock waits until no other process fills the folder, so that PDFium is compiled by one of them alone. Where there can be no
// lock there is none: then several compile, and the last writes.
func lock(folder string) (unlock func()) {
	name := filepath.Join(folder, "lock")
	f, err := os.Open(name)
	if err != nil {
		_ = os.MkdirAll(folder, 0o700)
		if f, err = os.OpenFile(name, os.O_RDONLY|os.O_CREATE, 0o600); err != nil {
			return func() {}
		}
	}
	for unix.Flock(int(f.Fd()), unix.LOCK_EX) == unix.EINTR { // a signal came
	}
	return func() { _ = f.Close() }
}
