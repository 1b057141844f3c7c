package postgres

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/sqlfile"
	"github.com/llmemory/llmemory/pgdbm"
)

// tables are what the migrations make, beside schema_migrations.
var tables = []string{"document_chunks", "document_owners", "documents", "text_postings", "text_segments"}

// hint tells a role that may not migrate what to do.
const hint = "run `llmemory migrate up` as a role that may, then `llmemory migrate grants --role ROLE` prints what this role needs"

// Migrations returns the migrator of llmemory's own tables in the schema of db: for deployments that migrate ahead of start-up,
// and for looking at what is pending.
func Migrations(db *pgdbm.DB) (*pgdbm.Migrator, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	return db.Migrations(Module, files, &pgdbm.MigrateOptions{Hint: hint}), nil
}

// Migrate brings the schema of db up to date and returns what it applied. Any number of processes may do so at once. A schema
// that holds somebody else's tables of the same names is refused and left as it is.
func Migrate(ctx context.Context, db *pgdbm.DB) ([]pgdbm.Migration, error) {
	m, err := Migrations(db)
	if err != nil {
		return nil, err
	}
	if err := refuseStrangers(ctx, db, m); err != nil {
		return nil, translate(err)
	}
	applied, err := m.Up(ctx)
	return applied, translate(err)
}

func migrate(ctx context.Context, db *pgdbm.DB, require bool) error {
	if err := db.Err(); err != nil {
		return err
	}
	m, err := Migrations(db)
	if err != nil {
		return err
	}
	pending, err := pending(ctx, m)
	switch {
	case err != nil:
		return err
	case len(pending) == 0:
		return nil
	}
	if err := refuseStrangers(ctx, db, m); err != nil {
		return err
	}
	if require {
		return fmt.Errorf("%w in schema %q: %s: %s", pgdbm.ErrPending, db.SchemaName(), strings.Join(pending, ", "), hint)
	}
	_, err = m.Up(ctx)
	return err
}

// pending returns the files that are to be applied, after checking those that were.
func pending(ctx context.Context, m *pgdbm.Migrator) ([]string, error) {
	plan, err := m.Plan(ctx)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, p := range plan {
		files = append(files, p.File)
	}
	return files, nil
}

// refuseStrangers fails if the schema has tables of our names that our migrations did not make. Another process may be migrating
// just now, so the tables are looked at before the records: tables of ours come with their record.
func refuseStrangers(ctx context.Context, db *pgdbm.DB, m *pgdbm.Migrator) error {
	var found []string
	rows, err := db.Query(ctx, `SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = ANY ($2::text[]) ORDER BY 1`, db.SchemaName(), tables)
	if err != nil {
		return err
	}
	if found, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return err
	}
	if len(found) == 0 {
		return nil
	}
	status, err := m.Status(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(status, func(s pgdbm.Migration) bool { return s.State != pgdbm.MigrationPending }) {
		return nil
	}
	return &llmemory.InvalidError{Field: "schema", Rule: fmt.Sprintf("%q already has tables that llmemory did not make (%s); "+
		"nothing was changed: choose another schema (Options.Schema, --schema, or pool.Schema)", db.SchemaName(), strings.Join(found, ", "))}
}

// Grants returns the SQL that gives a role what it needs to work in a migrated schema: to read and write the tables, nothing more.
func Grants(schema, role string) string {
	s, r := sqlfile.Quote(schema), sqlfile.Quote(role)
	var b strings.Builder
	fmt.Fprintf(&b, "GRANT USAGE ON SCHEMA %s TO %s;\n", s, r)
	fmt.Fprintf(&b, "GRANT SELECT ON TABLE %s.schema_migrations TO %s;\n", s, r)
	for _, t := range tables {
		fmt.Fprintf(&b, "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE %s.%s TO %s;\n", s, sqlfile.Quote(t), r)
	}
	return b.String()
}
