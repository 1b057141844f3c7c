package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

const (
	// pageSize suits rows of texts and vectors: several fit into a page.
	pageSize = 8192
	// cacheKiB is how much of the file a connection keeps in memory of its own. The operating system keeps more.
	cacheKiB = 8192
	// walLimit is what the log is cut back to after it has been worked into the file.
	walLimit = 64 << 20
	// walPages is how long the log grows before it is worked into the file beside the writer, in pages: 16 MB. A page that changes
	// again and again, as those of indexes do while much is added, is then written to the file once.
	walPages = 2000
	// mostWALPages is how long it grows before the writer does so itself. It begins anew only when all of it has been worked in, which
	// nobody beside a busy writer achieves.
	mostWALPages = 4 * walPages
)

// conn is a connection with its prepared statements. One goroutine uses it at a time. Its statements end when the context of the
// session that uses it ends: SQLite asks for that every thousand steps of its machine.
type conn struct {
	raw   *sqlite3.Conn
	stmts map[string]*sqlite3.Stmt // by their text
}

// row is a row of an answer. Columns count from 0.
type row = *sqlite3.Stmt

// connect opens a connection to a file that exists.
func connect(ctx context.Context, path string, o *Options) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	register()
	raw, err := sqlite3.OpenFlags(address(path), sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	if err != nil {
		return nil, err
	}
	c := &conn{raw: raw, stmts: map[string]*sqlite3.Stmt{}}
	if err := c.setUp(ctx, o); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// address is a path as SQLite takes it, with the wish that the files beside the database get its access rights.
func address(path string) string {
	escape := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23")
	slashed := filepath.ToSlash(path)
	if runtime.GOOS == "windows" {
		if len(slashed) > 1 && slashed[1] == ':' {
			slashed = "/" + slashed
		}
		return "file:" + escape.Replace(slashed) + "?vfs=" + fileSystem
	}
	return "file:" + escape.Replace(slashed) + "?vfs=" + fileSystem + "&modeof=" + strings.NewReplacer("%", "%25", "&", "%26", "+", "%2b", "#", "%23").Replace(path)
}

func (c *conn) setUp(ctx context.Context, o *Options) error {
	c.raw.SetInterrupt(ctx)
	if err := c.raw.BusyTimeout(o.BusyTimeout); err != nil {
		return err
	}
	// Whose file it is may not be known yet: nothing may be written when this connection is closed.
	if _, err := c.raw.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true); err != nil {
		return err
	}
	synchronous := "FULL"
	if o.Synchronous != "" {
		synchronous = string(o.Synchronous)
	}
	err := c.raw.Exec(fmt.Sprintf("PRAGMA synchronous = %s; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -%d; "+
		"PRAGMA trusted_schema = OFF; PRAGMA journal_size_limit = %d; PRAGMA wal_autocheckpoint = %d", synchronous, cacheKiB, walLimit, mostWALPages))
	if err != nil {
		return err
	}
	return c.raw.CreateFunction(matchesFunction, 2, sqlite3.DETERMINISTIC|sqlite3.DIRECTONLY, matches)
}

// checkpointBy has long logs worked into the file after the commits of this connection, the writer's.
func (c *conn) checkpointBy(p *checkpointer) {
	c.raw.WALHook(func(_ *sqlite3.Conn, _ string, pages int) error { // in place of what the pragma asked for
		switch {
		case pages >= mostWALPages:
			_ = p.run(c) // the next commit tries again
		case pages >= walPages:
			p.start()
		}
		return nil
	})
}

// trusted lets the connection do its part when it is the last to be closed: to work the log into the file, which is known to be ours.
func (c *conn) trusted() error {
	_, err := c.raw.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, false)
	return err
}

func (c *conn) close() error {
	c.raw.SetInterrupt(context.Background())
	for _, s := range c.stmts {
		_ = s.Close() // repeats the error of its last use
	}
	c.stmts = nil
	return c.raw.Close()
}

// prepare returns a statement, from the second time on without parsing it. Texts must be few: constants.
func (c *conn) prepare(sql string) (*sqlite3.Stmt, error) {
	if s, ok := c.stmts[sql]; ok {
		return s, nil
	}
	s, _, err := c.raw.PrepareFlags(sql, sqlite3.PREPARE_PERSISTENT)
	if err != nil {
		return nil, err
	}
	c.stmts[sql] = s
	return s, nil
}

// exec runs a statement whose text is a constant. Rows that it returns are dropped.
func (c *conn) exec(sql string, args ...any) error { return c.query(sql, nil, args...) }

// query runs a statement whose text is a constant and calls each for every row.
func (c *conn) query(sql string, each func(row) error, args ...any) error {
	s, err := c.prepare(sql)
	if err != nil {
		return err
	}
	return run(s, each, args)
}

// queryOnce is query for a text that depends on the question, a filter's: it is not kept.
func (c *conn) queryOnce(sql string, each func(row) error, args ...any) error {
	s, _, err := c.raw.Prepare(sql)
	if err != nil {
		return err
	}
	return errors.Join(run(s, each, args), s.Close())
}

// run binds args, steps through the rows and leaves the statement ready for the next time, which binds all anew, with nothing large
// bound.
func run(s *sqlite3.Stmt, each func(row) error, args []any) error {
	free := false
	defer func() {
		_ = s.Reset() // repeats the error of the step
		if free {
			_ = s.ClearBindings()
		}
	}()
	for i, a := range args {
		free = free || worthFreeing(a)
		if err := bind(s, i+1, a); err != nil {
			return err
		}
	}
	for s.Step() {
		if each == nil {
			continue
		}
		if err := each(s); err != nil {
			return err
		}
	}
	return s.Err()
}

// worthFreeing tells whether SQLite's copy of a value takes memory that is worth giving back, or is a pointer.
func worthFreeing(v any) bool {
	const enough = 1 << 14
	switch v := v.(type) {
	case string:
		return len(v) >= enough
	case []byte:
		return len(v) >= enough
	case *matcher:
		return true
	}
	return false
}

// bind gives a parameter its value. A nil slice of bytes is NULL.
func bind(s *sqlite3.Stmt, i int, v any) error {
	switch v := v.(type) {
	case nil:
		return s.BindNull(i)
	case string:
		return s.BindText(i, v)
	case []byte:
		return s.BindBlob(i, v)
	case int:
		return s.BindInt64(i, int64(v))
	case int64:
		return s.BindInt64(i, v)
	case uint64:
		return s.BindInt64(i, int64(v))
	case bool:
		return s.BindBool(i, v)
	case float64:
		return s.BindFloat(i, v)
	case *matcher:
		return s.BindPointer(i, v)
	}
	return fmt.Errorf("sqlite: parameter %d is a %T", i, v)
}

// inTransaction tells whether a transaction is open. An error may have ended it.
func (c *conn) inTransaction() bool { return !c.raw.GetAutocommit() }

// blob returns a copy of a column's bytes, nil if it is NULL or empty.
func blob(r row, column int) []byte { return r.ColumnBlob(column, nil) }
