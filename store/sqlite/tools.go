package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/migrate"
)

// Migration is a migration of a file, with its state: what Status, Plan, Up and Down of a [Migrator] return.
type Migration = migrate.Migration

// Migrator looks after the tables of a file, for programs that do by hand what [Open] does by itself. It is not safe for concurrent
// use; other processes may use the file meanwhile.
type Migrator struct {
	pool    *pool
	session *session
	path    string
	files   fs.FS
}

// OpenMigrator opens the file at path without bringing its tables up to date. If there is no file, one is made if create is set, and
// else the error is that of [Open] for a folder that is not there, and wraps [fs.ErrNotExist] too. It fails as Open does.
func OpenMigrator(ctx context.Context, path string, create bool, opts *Options) (*Migrator, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	o.BusyTimeout = cmp.Or(o.BusyTimeout, DefaultBusyTimeout)
	o.Synchronous = cmp.Or(o.Synchronous, Full)
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	full, err := place(path, create)
	if err != nil {
		if _, absent := os.Stat(path); errors.Is(absent, fs.ErrNotExist) {
			err = fmt.Errorf("%w (%w)", err, fs.ErrNotExist)
		}
		return nil, err
	}
	if err := format(ctx, full, &o); err != nil {
		return nil, err
	}
	m := &Migrator{pool: newPool(full, o), path: full, files: files}
	if m.session, err = m.pool.first(ctx); err == nil {
		err = m.session.do(ctx, func(c *conn) error {
			if err := examine(c, full); err != nil {
				return err
			}
			return c.trusted()
		})
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// Path returns the full path of the file.
func (m *Migrator) Path() string { return m.path }

// Close closes the file.
func (m *Migrator) Close() error { return m.pool.close() }

// do runs one of the engine's methods.
func (m *Migrator) do(ctx context.Context, method func(*migrate.Migrator, *conn) error) error {
	return m.session.do(ctx, func(c *conn) error { return method(migrator(c, m.files), c) })
}

// Status returns all migrations, applied and not. It writes nothing.
func (m *Migrator) Status(ctx context.Context) (list []Migration, err error) {
	err = m.do(ctx, func(engine *migrate.Migrator, _ *conn) (err error) {
		list, err = engine.Status(ctx)
		return err
	})
	return list, err
}

// Plan returns what Up would do, with its SQL. It writes nothing.
func (m *Migrator) Plan(ctx context.Context) (list []Migration, err error) {
	err = m.do(ctx, func(engine *migrate.Migrator, _ *conn) (err error) {
		list, err = engine.Plan(ctx)
		return err
	})
	return list, err
}

// Up brings the tables up to date and returns what it applied.
func (m *Migrator) Up(ctx context.Context) (list []Migration, err error) {
	err = m.do(ctx, func(engine *migrate.Migrator, c *conn) error {
		var err error
		if list, err = engine.Up(ctx); err != nil {
			return err
		}
		return complete(c, m.path)
	})
	return list, err
}

// Down undoes every migration above version, which deletes what they made, and returns what it undid. 0 undoes all.
func (m *Migrator) Down(ctx context.Context, version int64) (list []Migration, err error) {
	err = m.do(ctx, func(engine *migrate.Migrator, _ *conn) (err error) {
		list, err = engine.Down(ctx, version)
		return err
	})
	return list, err
}

// Verify returns an error unless the file is as the migrations leave it and SQLite finds no fault in it: a damaged file is
// [llmemory.ErrCorrupt]. It reads the whole file and writes nothing.
func (m *Migrator) Verify(ctx context.Context) error {
	return m.do(ctx, func(engine *migrate.Migrator, c *conn) error {
		if err := engine.Verify(ctx); err != nil {
			return err
		}
		if err := complete(c, m.path); err != nil {
			return err
		}
		var faults []string
		err := c.query("PRAGMA integrity_check(10)", func(r row) error {
			if text := r.ColumnText(0); text != "ok" {
				faults = append(faults, text)
			}
			return nil
		})
		if err == nil && len(faults) > 0 {
			err = fmt.Errorf("%w: %s: %s", llmemory.ErrCorrupt, m.path, faults[0])
		}
		return err
	})
}
