package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/migrate"
	"github.com/llmemory/llmemory/internal/sqlfile"
)

// Module is the name under which llmemory's migrations are tracked in schema_migrations.
const Module = "aword_memory"

// applicationID marks a file as ours: "LLME".
const applicationID = 0x4c4c4d45

// tables are what the migrations make, beside schema_migrations.
var tables = []string{"document_chunks", "document_owners", "documents", "embedding_generations", "embedding_pages", "embedding_queue",
	"embedding_sets", "embeddings", "ingest_files", "ingest_runs", "text_postings", "text_segments"}

const (
	createTracking = `CREATE TABLE schema_migrations (
	module      TEXT    NOT NULL,
	version     INTEGER NOT NULL,
	name        TEXT    NOT NULL,
	checksum    TEXT    NOT NULL,
	applied_at  INTEGER NOT NULL, -- microseconds since 1970
	duration_ms INTEGER NOT NULL,
	applied_by  TEXT    NOT NULL,
	PRIMARY KEY (module, version)
) STRICT, WITHOUT ROWID`
	hasTracking   = `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migrations'`
	selectApplied = `SELECT version, name, checksum, applied_at, duration_ms, applied_by FROM schema_migrations WHERE module = ?1 ORDER BY version`
	insertApplied = `INSERT INTO schema_migrations (module, version, name, checksum, applied_at, duration_ms, applied_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)`
	deleteApplied = `DELETE FROM schema_migrations WHERE module = ?1 AND version = ?2`
)

// migrator returns the migrator of the file that c is connected to.
func migrator(c *conn, files fs.FS) *migrate.Migrator {
	return migrate.New(&driver{c}, Module, files, migrate.Options{})
}

// driver is SQLite for the migration engine. It needs no lock but that of a write transaction.
type driver struct{ conn *conn }

var _ migrate.Driver = (*driver)(nil)

// Inspect implements [migrate.Driver].
func (d *driver) Inspect(_ context.Context, module string) (st migrate.State, err error) {
	there, err := d.tracked()
	if err != nil || !there {
		return st, err
	}
	st.Applied, err = d.applied(module)
	return st, err
}

func (d *driver) tracked() (there bool, err error) {
	err = d.conn.query(hasTracking, func(r row) error {
		there = r.ColumnInt64(0) > 0
		return nil
	})
	return there, err
}

func (d *driver) applied(module string) (list []migrate.Applied, err error) {
	err = d.conn.query(selectApplied, func(r row) error {
		list = append(list, migrate.Applied{
			Version: r.ColumnInt64(0), Name: r.ColumnText(1), Checksum: r.ColumnText(2), AppliedAt: timeOf(r.ColumnInt64(3)),
			Duration: time.Duration(r.ColumnInt64(4)) * time.Millisecond, By: r.ColumnText(5),
		})
		return nil
	}, module)
	return list, err
}

// Denied implements [migrate.Driver].
func (d *driver) Denied(context.Context) (string, error) { return "", nil }

// Lock implements [migrate.Driver].
func (d *driver) Lock(_ context.Context, fn func(migrate.Session) error) (err error) {
	c := d.conn
	if err := c.exec("BEGIN IMMEDIATE"); err != nil {
		if errors.Is(err, sqlite3.BUSY) {
			err = fmt.Errorf("%w: %w", migrate.ErrLocked, err)
		}
		return err
	}
	defer func() {
		if c.inTransaction() {
			err = errors.Join(err, c.exec("ROLLBACK"))
		}
	}()
	there, err := d.tracked()
	if err != nil {
		return err
	}
	if !there {
		if err := c.exec(createTracking); err != nil {
			return err
		}
		if err := c.raw.Exec(fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
			return err
		}
	}
	if err := fn(&migration{d}); err != nil {
		return err
	}
	return c.commit()
}

// Holders implements [migrate.Driver].
func (d *driver) Holders(context.Context) string { return "" }

// Render implements [migrate.Driver].
func (d *driver) Render(text string) (migrate.Rendered, error) {
	r, err := sqlfile.RenderMapped(text, "")
	return migrate.Rendered{SQL: r.SQL, Source: r.Source}, err
}

// InvalidIndexes implements [migrate.Driver]: there are none.
func (d *driver) InvalidIndexes(context.Context) ([]string, error) { return nil, nil }

// migration is the transaction of one migration.
type migration struct{ *driver }

// Applied implements [migrate.Session].
func (m *migration) Applied(_ context.Context, module string) ([]migrate.Applied, error) {
	return m.applied(module)
}

// Exec implements [migrate.Session].
func (m *migration) Exec(_ context.Context, sql string) error {
	statements, err := migrate.Split(sql)
	if err != nil {
		return err
	}
	for i, s := range statements {
		if err := m.conn.raw.Exec(s.Text); err != nil {
			out := &migrate.SQLError{Offset: s.Offset, Statement: i, Err: err}
			var detail *sqlite3.Error
			if errors.As(err, &detail) && detail.SQL() != "" {
				out.Offset += len(s.Text) - len(detail.SQL())
			}
			return out
		}
	}
	if !m.conn.inTransaction() {
		return fmt.Errorf("%w: the script ended the transaction", migrate.ErrFiles)
	}
	return nil
}

// Record implements [migrate.Session].
func (m *migration) Record(_ context.Context, module string, a migrate.Applied) error {
	return m.conn.exec(insertApplied, module, a.Version, a.Name, a.Checksum, micros(time.Now()), a.Duration.Milliseconds(), "llmemory")
}

// Forget implements [migrate.Session].
func (m *migration) Forget(_ context.Context, module string, version int64) error {
	return m.conn.exec(deleteApplied, module, version)
}

// Claim implements [migrate.Session]. Nothing runs outside transactions.
func (m *migration) Claim(context.Context, migrate.Lease) (migrate.Claim, error) {
	return migrate.Claim{}, errors.ErrUnsupported
}

// Unclaim implements [migrate.Session].
func (m *migration) Unclaim(context.Context, migrate.Lease) error { return errors.ErrUnsupported }

// prepareFile finds out whose file c is connected to and brings it up to date. It writes nothing to a file that is not ours, and
// nothing to one that is up to date.
func prepareFile(ctx context.Context, c *conn, path string, files fs.FS, o *Options) error {
	if err := examine(c, path); err != nil {
		return err
	}
	if err := c.trusted(); err != nil {
		return err
	}
	if err := c.logged(ctx, o.BusyTimeout); err != nil {
		return err
	}
	m := migrator(c, files)
	plan, err := m.Plan(ctx)
	if err != nil {
		return err
	}
	if len(plan) > 0 && o.RequireMigrated {
		names := make([]string, len(plan))
		for i, p := range plan {
			names[i] = p.File
		}
		return fmt.Errorf("%w in %s: %s: run `llmemory migrate up`", migrate.ErrPending, path, strings.Join(names, ", "))
	}
	if len(plan) > 0 {
		if _, err := m.Up(ctx); err != nil {
			return err
		}
	}
	return complete(c, path)
}

// errFormatted is returned once the format of the file was put right: the connection may have seen too much of the old one.
var errFormatted = errors.New("the file was formatted")

// logged makes sure that the file has a log beside it. It lacks one if a program was killed that was making it, or if another
// program has taken it away.
func (c *conn) logged(ctx context.Context, wait time.Duration) error {
	var mode string
	err := c.query("PRAGMA journal_mode", func(r row) error {
		mode = r.ColumnText(0)
		return nil
	})
	if err != nil || mode == "wal" {
		return err
	}
	if err := c.format(ctx, wait); err != nil {
		return err
	}
	return errFormatted
}

// examine refuses files that are not ours, or of which a part is gone.
func examine(c *conn, path string) (err error) {
	var version string
	var id, schema, pages, size int64
	if err := c.exec("BEGIN"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.exec("ROLLBACK")) }()
	// The first thing that is read makes the others be of the same instant.
	err = c.query("SELECT sqlite_version(), (SELECT count(*) FROM sqlite_schema)", func(r row) error {
		version, schema = r.ColumnText(0), r.ColumnInt64(1)
		return nil
	})
	if err != nil {
		return err
	}
	if err := checkVersion(version); err != nil {
		return err
	}
	number := func(sql string, into *int64) error {
		return c.query(sql, func(r row) error {
			*into = r.ColumnInt64(0)
			return nil
		})
	}
	if err := errors.Join(number("PRAGMA application_id", &id), number("PRAGMA page_count", &pages), number("PRAGMA page_size", &size)); err != nil {
		return err
	}
	switch {
	case id == applicationID:
		return whole(path, pages*size)
	case id == 0 && schema == 0:
		return nil // empty, so far
	}
	return stranger(path)
}

func stranger(path string) error {
	return &llmemory.InvalidError{Field: "path", Rule: fmt.Sprintf("%s is a database of another program; nothing was changed: choose another file", path)}
}

// complete checks that the tables are there.
func complete(c *conn, path string) error {
	var found []string
	err := c.query("SELECT name FROM sqlite_schema WHERE type = 'table'", func(r row) error {
		found = append(found, r.ColumnText(0))
		return nil
	})
	if err != nil {
		return err
	}
	gone := slices.DeleteFunc(slices.Clone(tables), func(t string) bool { return slices.Contains(found, t) })
	if len(gone) > 0 {
		return fmt.Errorf("%w: %s lacks tables that its migrations made (%s); restore it from a backup", llmemory.ErrCorrupt, path, strings.Join(gone, ", "))
	}
	return nil
}

// format makes an empty file a database with a log beside it and a checksum in every page. Others may do so at the same time.
//
// The connection is not used for anything else: it did not see that the file has checksums when it was opened, and would not write any.
func format(ctx context.Context, path string, o *Options) error {
	info, err := os.Stat(path)
	if err != nil {
		return &llmemory.UnavailableError{What: "database", Err: err}
	}
	if info.Size() > 0 {
		return nil
	}
	c, err := connect(ctx, path, o)
	if err == nil {
		err = errors.Join(c.format(ctx, o.BusyTimeout), c.close())
	}
	if errors.Is(err, sqlite3.IOERR_DATA) {
		return nil // somebody was faster, and this connection took pages for smaller than they are
	}
	return classify(path, err)
}

func (c *conn) format(ctx context.Context, wait time.Duration) error {
	if _, err := c.raw.FileControl("main", sqlite3.FCNTL_RESERVE_BYTES, checksumBytes); err != nil {
		return err
	}
	sql := fmt.Sprintf("PRAGMA page_size = %d; PRAGMA journal_mode = WAL", pageSize)
	for pause := time.Millisecond; ; pause *= 2 { // SQLite itself does not wait for this lock
		err := c.raw.Exec(sql)
		if !errors.Is(err, sqlite3.BUSY) || pause > wait {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// checksumBytes at the end of each page hold its checksum: with them, damage to the file is noticed as soon as it is read. They are
// those of https://sqlite.org/cksumvfs.html.
const checksumBytes = 8

// minVersion is the first release without a fault in which a log that was begun anew could lose a commit
// (https://sqlite.org/wal.html#walresetbug).
var minVersion = [3]int{3, 51, 3}

func checkVersion(version string) error {
	var v [3]int
	_, err := fmt.Sscanf(version, "%d.%d.%d", &v[0], &v[1], &v[2])
	if err != nil || slices.Compare(v[:], minVersion[:]) < 0 {
		return &llmemory.UnavailableError{What: "database", Err: fmt.Errorf("SQLite %s is too old: it may lose what was committed; %d.%d.%d or later is needed",
			version, minVersion[0], minVersion[1], minVersion[2])}
	}
	return nil
}
