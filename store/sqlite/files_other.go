//go:build !linux

package sqlite

import "github.com/ncruces/go-sqlite3/vfs"

// flush has the system begin to write what it holds of a file, where a system can be asked for that.
func flush(vfs.File) {}
