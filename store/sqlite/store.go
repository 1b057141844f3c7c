// Package sqlite keeps a document memory in one file, with SQLite translated to Go: no server, no cgo.
//
// [Open] makes the file if there is none. Beside it lie two more while it is open, with -wal and -shm at the end of their names; they
// belong to it. Any number of readers work at a time, and one writer, in this process and in others: a writer waits for its turn
// without holding up readers, and for other processes at most [Options.BusyTimeout]. All processes must run on one machine: network
// file systems lack what their agreement rests on.
//
// What was acknowledged is on the disk, so a killed process or a power failure loses nothing of it (see [Options.Synchronous]).
// Every page carries a checksum: damage is reported as [llmemory.ErrCorrupt] when it is read, and never repaired in silence. Other
// programs may read the file with SQLite; they must not write to it.
package sqlite

import (
	"cmp"
	"context"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/sqlfile"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

//go:embed sql/*.sql
var statementFiles embed.FS

// DefaultBusyTimeout is the default of [Options.BusyTimeout].
const DefaultBusyTimeout = 5 * time.Second

// DefaultVectorMemory is the default of [Options.VectorMemory].
const DefaultVectorMemory = 512 << 20

// Synchronous says how often the disk is made to write at once.
type Synchronous string

const (
	// Full waits for the disk with every commit: nothing that was acknowledged is ever lost. It is the default.
	Full Synchronous = "FULL"
	// Normal waits when the log is worked into the file only. A power failure may lose the last commits, never more; a killed
	// process loses nothing. Adding single documents is faster.
	Normal Synchronous = "NORMAL"
	// Off never waits: a power failure may destroy the file. For tests.
	Off Synchronous = "OFF"
)

// Options are the settings of a store. Nil means defaults.
type Options struct {
	// Synchronous defaults to [Full].
	Synchronous Synchronous
	// BusyTimeout is how long to wait for another process that is writing, before the call fails with [llmemory.ErrUnavailable].
	// Defaults to [DefaultBusyTimeout], 5 s.
	BusyTimeout time.Duration
	// VectorMemory is how many bytes of quantised vectors are kept in memory at the most, those of the owners that searched last. A
	// vector takes its number of dimensions and some 60 bytes. An owner who has more than that is searched in the file, which takes
	// several times as long, as is everybody if it is negative. Defaults to [DefaultVectorMemory], 512 MiB.
	VectorMemory int64
	// RequireMigrated makes a pending migration an error instead of running it.
	RequireMigrated bool
}

// Store implements [llmemory.Store] in a file. It is safe for concurrent use.
type Store struct {
	path string
	pool *pool
	sql  sqlfile.Set
	wake *wake
	// loaded are the sets of vectors in memory.
	loaded *loadedSets
}

var _ llmemory.Store = (*Store)(nil)

// Open opens the memory in the file at path, making the file if there is none, with access for its owner alone; its folder must
// exist. It brings the tables up to date, which any number of processes may do at once, and writes nothing if they are.
//
// It fails with [llmemory.ErrInvalid] if there is no such folder or the file is another program's database, with
// [llmemory.ErrCorrupt] if the file is damaged or no database at all, and with [llmemory.ErrUnavailable] if it cannot be written or
// another process does not let go of it. Then the file is as it was.
func Open(ctx context.Context, path string, opts *Options) (*Store, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	return open(ctx, path, opts, files)
}

// open is Open with the migrations given.
func open(ctx context.Context, path string, opts *Options, migrations fs.FS) (*Store, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	o.BusyTimeout = cmp.Or(o.BusyTimeout, DefaultBusyTimeout)
	o.Synchronous = cmp.Or(o.Synchronous, Full)
	switch o.Synchronous {
	case Full, Normal, Off:
	default:
		return nil, &llmemory.InvalidError{Field: "synchronous", Rule: fmt.Sprintf("%q is unknown: FULL, NORMAL and OFF are known", o.Synchronous)}
	}
	sql, err := statements()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	full, err := place(path, !o.RequireMigrated)
	if err != nil {
		return nil, err
	}
	for again := true; ; again = false {
		s, err := start(ctx, full, &o, sql, migrations)
		if errors.Is(err, errFormatted) && again {
			continue
		}
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
		return s, err
	}
}

// start opens the file at a path that [place] returned.
func start(ctx context.Context, path string, o *Options, sql sqlfile.Set, migrations fs.FS) (*Store, error) {
	if err := format(ctx, path, o); err != nil {
		return nil, err
	}
	s := &Store{path: path, pool: newPool(path, *o), sql: sql, wake: newWake(), loaded: newLoadedSets(cmp.Or(o.VectorMemory, DefaultVectorMemory))}
	session, err := s.pool.first(ctx)
	if err == nil {
		err = session.do(ctx, func(c *conn) error { return prepareFile(ctx, c, path, migrations, o) })
		err = errors.Join(err, session.end())
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// statements returns the named statements.
func statements() (sqlfile.Set, error) {
	files, err := fs.Sub(statementFiles, "sql")
	if err != nil {
		return sqlfile.Set{}, err
	}
	set, err := sqlfile.Load(files)
	if err != nil {
		return sqlfile.Set{}, err
	}
	return set.Render("")
}

// place makes sure that there is a file at path that may be written and could be a database of ours, and returns its full path.
func place(path string, create bool) (string, error) {
	invalid := func(format string, args ...any) error {
		return &llmemory.InvalidError{Field: "path", Rule: fmt.Sprintf(format, args...)}
	}
	if path == "" || path == ":memory:" {
		return "", invalid("must name a file")
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return "", invalid("%v", err)
	}
	info, err := os.Stat(full)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !create:
		return "", invalid("there is no file %s", full)
	case errors.Is(err, fs.ErrNotExist):
		f, err := os.OpenFile(full, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		switch {
		case err == nil:
			return full, f.Close()
		case errors.Is(err, fs.ErrNotExist):
			return "", invalid("there is no folder %s", filepath.Dir(full))
		case !errors.Is(err, fs.ErrExist): // somebody was faster
			return "", &llmemory.UnavailableError{What: "database", Err: err}
		}
	case err != nil:
		return "", &llmemory.UnavailableError{What: "database", Err: err}
	case info.IsDir():
		return "", invalid("%s is a folder", full)
	case !info.Mode().IsRegular():
		return "", invalid("%s is not a regular file", full)
	}
	f, err := os.OpenFile(full, os.O_RDWR, 0)
	if err != nil { // a read-only file, for one
		return "", &llmemory.UnavailableError{What: "database", Err: err}
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return full, checkHeader(f, full)
}

// magic is how a database begins.
const magic = "SQLite format 3\x00"

// checkHeader looks at a file before SQLite does, which might do something to it: to finish what a killed program had begun.
func checkHeader(f io.ReaderAt, path string) error {
	header := make([]byte, 105)
	n, err := f.ReadAt(header, 0)
	switch {
	case n == 0 && errors.Is(err, io.EOF):
		return nil
	case err != nil && !errors.Is(err, io.EOF):
		return &llmemory.UnavailableError{What: "database", Err: err}
	case n < len(header) || string(header[:len(magic)]) != magic:
		if journal, err := os.Stat(path + "-journal"); err == nil && journal.Size() > 0 {
			return nil // a program was killed that was making it: SQLite knows how it was before
		}
		return fmt.Errorf("%w: %s is not a database", llmemory.ErrCorrupt, path)
	}
	// Our first tables and our id were written at once, to this page. While there are none, they may be in the log.
	id, schema := binary.BigEndian.Uint32(header[68:]), header[100:]
	const leaf, cells = 0x0d, 3 // of the page that lists the tables: its kind, and the place of the number of its cells
	if id != applicationID && (id != 0 || schema[0] != leaf || binary.BigEndian.Uint16(schema[cells:]) > 0) {
		return stranger(path)
	}
	return nil
}

// whole checks that the file is as long as it says, unless the end of it is in the log.
func whole(path string, want int64) error {
	if log, err := os.Stat(path + "-wal"); err == nil && log.Size() > 0 {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return &llmemory.UnavailableError{What: "database", Err: err}
	}
	if info.Size() < want {
		return fmt.Errorf("%w: %s is cut short: it has %d of %d bytes", llmemory.ErrCorrupt, path, info.Size(), want)
	}
	return nil
}

// Path returns the full path of the file.
func (s *Store) Path() string { return s.path }

// Close implements [llmemory.Store]. Calls that are running end, also open views and edits.
func (s *Store) Close() error { return s.pool.close() }

// Info implements [llmemory.Store].
func (s *Store) Info(ctx context.Context) (*llmemory.Info, error) {
	info := &llmemory.Info{Engine: "sqlite", Place: s.path, Details: map[string]string{}}
	err := s.read(ctx, func(c *conn) error {
		return c.query("SELECT sqlite_version()", func(r row) error {
			info.Version = r.ColumnText(0)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	info.Details["synchronous"] = string(s.pool.opts.Synchronous)
	info.Details["platform"] = runtime.GOOS + "/" + runtime.GOARCH
	return info, nil
}
