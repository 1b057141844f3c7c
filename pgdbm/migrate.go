package pgdbm

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/llmemory/llmemory/internal/migrate"
)

// The rules that a migration can break. See [Migrator].
var (
	// ErrFiles is returned for a folder of migrations that breaks a rule: a
	// misspelt name, a version used twice, no file at all, a transaction command
	// or a session setting inside a file, a bad template.
	ErrFiles = migrate.ErrFiles

	// ErrPending is returned when migrations are pending and the role has no right
	// to apply them, and by Verify. The message names the files, the SQL that an
	// administrator can run, and the hint of [MigrateOptions].
	ErrPending = migrate.ErrPending

	// ErrChanged is returned when a file differs from what was applied.
	ErrChanged = migrate.ErrChanged

	// ErrMissing is returned when an applied version has no file.
	ErrMissing = migrate.ErrMissing

	// ErrNewer is returned instead of ErrMissing when all versions without a file
	// are above those with one: a newer program migrated the schema.
	ErrNewer = migrate.ErrNewer

	// ErrOutOfOrder is returned when a pending version lies below an applied one.
	ErrOutOfOrder = migrate.ErrOutOfOrder

	// ErrForeign is returned when the schema's table schema_migrations was made by
	// another tool. It is never adopted or changed.
	ErrForeign = migrate.ErrForeign

	// ErrNoDown is returned by Down for a version without a down file.
	ErrNoDown = migrate.ErrNoDown

	// ErrLocked is returned when other sessions held a lock that a migration
	// needs for the whole of [MigrateOptions].LockWait. The message names them.
	ErrLocked = migrate.ErrLocked

	// ErrInvalidIndex is returned by Verify for an index that a failed concurrent
	// build left behind.
	ErrInvalidIndex = migrate.ErrInvalidIndex

	// ErrLeaseLost is returned when another process took over a file that runs
	// outside a transaction because this one had been silent for too long.
	ErrLeaseLost = migrate.ErrLeaseLost
)

// MigrationError says where in a migration file something went wrong. It has
// the fields File, Line and Column (both from 1, or 0 if not known) and Err; the
// cause is a *pgconn.PgError if the server refused the SQL, so the predicates
// of this package apply.
type MigrationError = migrate.Error

// MigrationState is the state of one migration.
type MigrationState string

// The states of migrations.
const (
	MigrationApplied    MigrationState = MigrationState(migrate.Done)
	MigrationPending    MigrationState = MigrationState(migrate.Pending)
	MigrationChanged    MigrationState = MigrationState(migrate.Changed)    // applied, but the file differs now
	MigrationMissing    MigrationState = MigrationState(migrate.Missing)    // applied, but there is no file
	MigrationOutOfOrder MigrationState = MigrationState(migrate.OutOfOrder) // pending below an applied one
)

// Migration is one migration and its state.
type Migration struct {
	Version int64
	Name    string // "create_notes" of 001_create_notes.sql
	File    string // "" if there is none
	State   MigrationState
	// NoTransaction says that the file runs outside a transaction.
	NoTransaction bool
	// SQL is the rendered script. Only Plan fills it.
	SQL string
	// AppliedAt, Duration and AppliedBy (the role) are zero for what is not applied.
	AppliedAt time.Time
	Duration  time.Duration
	AppliedBy string
}

func migrations(in []migrate.Migration) []Migration {
	out := make([]Migration, len(in))
	for i, m := range in {
		out[i] = Migration{
			Version: m.Version, Name: m.Name, File: m.File, State: MigrationState(m.State), NoTransaction: m.NoTransaction,
			SQL: m.SQL, AppliedAt: m.AppliedAt, Duration: m.Duration, AppliedBy: m.AppliedBy,
		}
	}
	return out
}

// MigrateOptions adjust a [Migrator]. The zero value means defaults.
type MigrateOptions struct {
	// Hint is added to an error that asks somebody else to migrate, for example
	// "run: app migrate up".
	Hint string
	// LockWait bounds how long a migration keeps trying when other sessions hold
	// locks that it needs. Each try waits two seconds at most, so that no queue
	// builds up behind it. Defaults to 60 s.
	LockWait time.Duration
	// Lease is how long a process that runs a file outside a transaction may be
	// silent before another takes over. Defaults to 60 s.
	Lease time.Duration
}

// Migrator applies the migrations of one module to the schema of its handle.
//
// Files are named NNN_name.sql; NNN_name.down.sql undoes it and is optional.
// They may contain template tags (see [DB.Render]), and must name every table
// by one, since search_path is whatever the connection has. What was applied is
// recorded in the schema's own table schema_migrations, by module and version,
// so several modules may share a schema.
//
// Any number of processes may migrate at once: each file has one transaction,
// which takes a lock, looks again whether the file is still due, runs it and
// records it. A file that fails leaves nothing behind. Nothing depends on
// session state, so a transaction pooler may be in between.
//
// A file whose first line is "-- pgdbm:no-transaction" is run statement by
// statement, for commands such as CREATE INDEX CONCURRENTLY, on a connection
// outside the pool without time limits. Progress is recorded after each
// statement and the next start goes on from there; the statement that was
// interrupted is run again, so it should be harmless twice. An invalid index
// left by an interrupted build is dropped first.
type Migrator struct {
	m *migrate.Migrator
}

// Migrations returns a migrator for the files in the root of fsys (see fs.Sub
// for a folder of an embed.FS). module tells apart the modules that share a
// schema. Faults of the files are returned by every method. opts may be nil.
func (db *DB) Migrations(module string, fsys fs.FS, opts *MigrateOptions) *Migrator {
	if opts == nil {
		opts = &MigrateOptions{}
	}
	return &Migrator{migrate.New(&driver{db}, module, fsys, migrate.Options{
		Hint: opts.Hint, LockWait: opts.LockWait, Lease: opts.Lease, Logger: db.pool.logger,
	})}
}

// Migrate applies all pending migrations of module; it is Up of [DB.Migrations].
// If nothing is pending it only reads, which any role may that can read the
// table schema_migrations.
func (db *DB) Migrate(ctx context.Context, module string, fsys fs.FS) error {
	_, err := db.Migrations(module, fsys, nil).Up(ctx)
	return err
}

// Up applies all pending migrations and returns those that it applied itself.
// The schema is created if it is missing and the role may. Migrations before a
// failed one stay applied, and are returned with the error.
func (m *Migrator) Up(ctx context.Context) ([]Migration, error) { return result(m.m.Up(ctx)) }

// UpTo is Up for the versions up to and including version.
func (m *Migrator) UpTo(ctx context.Context, version int64) ([]Migration, error) {
	return result(m.m.UpTo(ctx, version))
}

// Down undoes all versions above version, newest first, and returns what it
// undid; 0 undoes everything. Nothing is undone if one of the down files needed
// is missing.
func (m *Migrator) Down(ctx context.Context, version int64) ([]Migration, error) {
	return result(m.m.Down(ctx, version))
}

// Baseline records the versions up to and including version as applied without
// running them, for a schema that has what they make already.
func (m *Migrator) Baseline(ctx context.Context, version int64) ([]Migration, error) {
	return result(m.m.Baseline(ctx, version))
}

// Plan returns what Up would do, with the SQL it would send. It writes nothing.
func (m *Migrator) Plan(ctx context.Context) ([]Migration, error) { return result(m.m.Plan(ctx)) }

// Status returns all migrations in order. A broken rule is a state here and not
// an error. It writes nothing.
func (m *Migrator) Status(ctx context.Context) ([]Migration, error) { return result(m.m.Status(ctx)) }

// Verify returns an error unless every file is applied as it is and the schema
// has no invalid index. It writes nothing.
func (m *Migrator) Verify(ctx context.Context) error {
	_, err := result(nil, m.m.Verify(ctx))
	return err
}

func result(in []migrate.Migration, err error) ([]Migration, error) {
	if err != nil {
		err = fmt.Errorf("pgdbm: %w", err)
	}
	return migrations(in), err
}
