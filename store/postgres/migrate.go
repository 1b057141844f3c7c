package postgres

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/sqlfile"
	"github.com/llmemory/llmemory/pgdbm"
)

// tables are what the migrations make, beside schema_migrations.
var tables = []string{"document_chunks", "document_owners", "documents", "embedding_generations", "embedding_indexes", "embedding_queue",
	"ingest_files", "ingest_runs", "text_postings", "text_segments"}

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
	pending, _, err := inspect(ctx, db, m)
	if err != nil || len(pending) == 0 {
		return nil, translate(err)
	}
	applied, err := m.Up(ctx)
	return applied, translate(err)
}

// Verify returns an error unless the schema of db is as the migrations leave it: none pending, changed or missing, every table
// there, no index invalid. It writes nothing.
func Verify(ctx context.Context, db *pgdbm.DB) error {
	m, err := Migrations(db)
	if err != nil {
		return err
	}
	if _, _, err := inspect(ctx, db, m); err != nil {
		return translate(err)
	}
	return translate(m.Verify(ctx))
}

// ready brings the schema up to date with m, or fails and says what to do. It tells whether row-level security holds for this role.
func ready(ctx context.Context, db *pgdbm.DB, m *pgdbm.Migrator, require bool) (secured bool, err error) {
	pending, secured, err := inspect(ctx, db, m)
	if err != nil || len(pending) == 0 {
		return secured, err
	}
	if require {
		return false, fmt.Errorf("%w in schema %q: %s: %s", pgdbm.ErrPending, db.SchemaName(), strings.Join(pending, ", "), hint)
	}
	_, err = m.Up(ctx)
	return secured, err
}

// inspect returns the files that are to be applied, and whether row-level security holds for this role. It fails if the files and what was applied do not go together, or if the place
// cannot be used: the database has another encoding, the schema holds tables of our names that our migrations did not make, or
// lacks some that they made. It writes nothing.
//
// Another process may be migrating just now, and tables come with their record. So tables that must be there are looked for after
// the record was seen, and those that may not before.
func inspect(ctx context.Context, db *pgdbm.DB, m *pgdbm.Migrator) (pending []string, secured bool, err error) {
	if err := db.Err(); err != nil {
		return nil, false, err
	}
	plan, err := m.Plan(ctx)
	if pgdbm.IsPrivilege(err) {
		err = fmt.Errorf("%w; `llmemory migrate grants --role ROLE` prints all that it needs", err)
	}
	if err != nil {
		return nil, false, err
	}
	for _, p := range plan {
		pending = append(pending, p.File)
	}
	var encoding string
	var found []string
	err = db.QueryRow(ctx, `SELECT pg_catalog.current_setting('server_encoding'), ARRAY(SELECT c.relname::text
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = ANY ($2::text[]) ORDER BY 1), coalesce((SELECT row_security_active(c.oid)
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = $2[1] AND c.relkind IN ('r', 'p')), false)`, db.SchemaName(), tables).Scan(&encoding, &found, &secured)
	switch {
	case err != nil:
		return nil, false, err
	case encoding != "UTF8":
		return nil, false, &llmemory.InvalidError{Field: "database", Rule: fmt.Sprintf("its encoding is %s, which cannot hold every text; "+
			"make one with CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0", encoding)}
	case len(pending) == 0 && len(found) < len(tables):
		gone := slices.DeleteFunc(slices.Clone(tables), func(t string) bool { return slices.Contains(found, t) })
		return nil, false, fmt.Errorf("%w: schema %q lacks tables that its migrations made (%s); restore them from a backup, or drop the schema "+
			"to start anew", llmemory.ErrCorrupt, db.SchemaName(), strings.Join(gone, ", "))
	case len(pending) == 0 || len(found) == 0:
		return pending, secured, nil
	}
	status, err := m.Status(ctx)
	if err != nil {
		return nil, false, err
	}
	if slices.ContainsFunc(status, func(s pgdbm.Migration) bool { return s.State != pgdbm.MigrationPending }) {
		return pending, secured, nil
	}
	return nil, false, &llmemory.InvalidError{Field: "schema", Rule: fmt.Sprintf("%q already has tables that llmemory did not make (%s); "+
		"nothing was changed: choose another schema (Options.Schema, --schema, or pool.Schema)", db.SchemaName(), strings.Join(found, ", "))}
}

// Grants returns the SQL that gives a role what it needs to work in a migrated schema: to read and write the tables, nothing more. A
// generation of vectors that is made later brings its rights along: they are those on the queue.
func Grants(schema, role string) string {
	s, r := sqlfile.Quote(schema), sqlfile.Quote(role)
	var b strings.Builder
	fmt.Fprintf(&b, "GRANT USAGE ON SCHEMA %s TO %s;\n", s, r)
	fmt.Fprintf(&b, "GRANT SELECT ON TABLE %s.schema_migrations TO %s;\n", s, r)
	for _, t := range tables {
		fmt.Fprintf(&b, "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE %s.%s TO %s;\n", s, sqlfile.Quote(t), r)
	}
	fmt.Fprintf(&b, `DO $grants$
DECLARE
    place text;
BEGIN
    FOR place IN -- vectors that there are already
        SELECT c.oid::regclass FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %[1]s AND c.relname ~ '^embeddings_[0-9]+$' AND c.relkind IN ('r', 'p')
    LOOP
        EXECUTE pg_catalog.format('GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE %%s TO %%s', place, %[2]s);
    END LOOP;
    FOR place IN -- the schema of pgvector, where it is not open to all
        SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'vector' AND NOT has_schema_privilege(%[2]s::regrole, n.oid, 'USAGE')
    LOOP
        EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA %%I TO %%s', place, %[2]s);
    END LOOP;
END
$grants$;
`, quoteLiteral(schema), quoteLiteral(r))
	return b.String()
}

// quoteLiteral makes a constant of SQL.
func quoteLiteral(s string) string {
	if strings.Contains(s, `\`) {
		return "E'" + strings.NewReplacer("'", "''", `\`, `\\`).Replace(s) + "'"
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
