package sqlite

import (
	"sync"

	"github.com/ncruces/go-sqlite3/vfs"
)

// fileSystem is the name under which the driver knows [files].
const fileSystem = "llmemory"

// register makes the driver know files. It may be called any number of times.
var register = sync.OnceFunc(func() { vfs.Register(fileSystem, files{vfs.Find("os").(vfs.VFSFilename)}) })

// files is the driver's file system without its memory maps, which do not go together with its checksums: the driver would look for a
// map that it gave up when it saw that the file has checksums.
type files struct{ vfs.VFSFilename }

// OpenFilename implements [vfs.VFSFilename].
func (f files) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	opened, flags, err := f.VFSFilename.OpenFilename(name, flags)
	if err != nil {
		return nil, flags, err
	}
	if flags&vfs.OPEN_WAL != 0 {
		return &walFile{osFile: opened.(osFile)}, flags, nil
	}
	return file{opened.(osFile)}, flags, nil
}

// osFile is what a file of the driver's can do, but for memory maps.
type osFile interface {
	vfs.FileLockState
	vfs.FileHasMoved
	vfs.FileSizeHint
	vfs.FilePowersafeOverwrite
	vfs.FilePersistWAL
	vfs.FileSharedMemory
}

type file struct{ osFile }

// walFile is a write-ahead log. What a large transaction writes goes on its way to the disk meanwhile, so that its end need not wait for
// all of it.
type walFile struct {
	osFile
	written int // since it was sent on its way last
}

// WriteAt implements [vfs.File].
func (f *walFile) WriteAt(p []byte, offset int64) (int, error) {
	const enough = 1 << 20
	n, err := f.osFile.WriteAt(p, offset)
	if f.written += n; f.written >= enough {
		f.written = 0
		flush(f.osFile)
	}
	return n, err
}
