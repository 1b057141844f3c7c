package sqlite

import (
	"context"
	"io/fs"

	"github.com/ncruces/go-sqlite3"

	"github.com/llmemory/llmemory/internal/sqlfile"
)

// OpenWith is [Open] with the migrations given.
func OpenWith(ctx context.Context, path string, opts *Options, migrations fs.FS) (*Store, error) {
	return open(ctx, path, opts, migrations)
}

// CheckVersion refuses versions of SQLite.
var CheckVersion = checkVersion

// Rows runs a statement in a write transaction that commits, and returns its rows as texts.
func Rows(ctx context.Context, s *Store, sql string, args ...any) (rows [][]string, err error) {
	err = s.write(ctx, func(c *conn) error {
		rows = nil
		return c.queryOnce(sql, func(r row) error {
			list := make([]string, r.ColumnCount())
			for i := range list {
				list[i] = r.ColumnText(i)
			}
			rows = append(rows, list)
			return nil
		}, args...)
	})
	return rows, err
}

// Slow is a statement that does not end by itself.
func Slow(ctx context.Context, s *Store, write bool) error {
	run := s.read
	if write {
		run = s.write
	}
	return run(ctx, func(c *conn) error {
		return c.exec("WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT count(*) FROM r")
	})
}

// RawOpen opens a connection of the driver's, as another program would.
func RawOpen(path string) (*sqlite3.Conn, error) { return sqlite3.Open(path) }

// Invariants are what is wrong with an owner's rows.
func Check(ctx context.Context, s *Store, sql, owner string) (faults []string, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query(sql, collect(&faults, scanText), owner)
	})
	return faults, err
}

// Idle is how many connections lie idle.
func Idle(s *Store) int {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	return len(s.pool.idle)
}

// LoadedBytes is how much memory the sets of vectors take that are held.
func LoadedBytes(s *Store) (total int64) {
	s.loaded.mu.Lock()
	defer s.loaded.mu.Unlock()
	for _, x := range s.loaded.sets {
		if x.set != nil {
			total += x.bytes()
		}
	}
	return total
}

// Statements are the named statements.
func Statements(s *Store) sqlfile.Set { return s.sql }

// Mode is how the file is journalled.
func Mode(ctx context.Context, s *Store) (mode string, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query("PRAGMA journal_mode", func(r row) error { return scanText(r, &mode) })
	})
	return mode, err
}
