package sqlite

import (
	"golang.org/x/sys/unix"

	"github.com/ncruces/go-sqlite3/vfs"
)

// flush has the system begin to write what it holds of a file, and waits for nothing. It is no promise: what fails is told when the file
// is synced.
func flush(f vfs.File) {
	if f, ok := f.(interface{ Fd() uintptr }); ok {
		_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	}
}
