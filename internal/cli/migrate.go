package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/store/postgres"
	"github.com/llmemory/llmemory/store/sqlite"
)

const migrateHelp = `
The other commands migrate by themselves: a file always, PostgreSQL when their
role may. In deployments where it may not, run "migrate up" as an administrator,
and give the program's role what "migrate grants" prints.

With --json the subcommands that list migrations print
  {"schema","migrations":[{"version","name","file","state","applied_at","applied_by","took_ms"}]}
where a file has "file" in place of "schema", "migrate plan" has "sql" in
addition, and state is applied, pending, changed, missing or out of order.`

const securityHelp = `
With row-level security, the database itself shows a program the rows of no owner
but the one that the program names in each transaction. Superusers and roles with
BYPASSRLS are above it.

Work that is for all owners at once is kept for one role, the --worker-role. Run
"embed", "models" and programs that call Memory.Run as that role, and all else as
a role with the rights that "migrate grants" prints. Both on and off must be run
as the owner of the tables, and may be run while programs work.

With --json:
  {"schema","on","unprotected","role","active","above","worker","workers"}
where active, above and worker say of the role that asks whether row-level
security holds for it, whether it is above it, and whether it may work for all
owners.`

func (a *app) migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Look after the database schema",
		Long:  "Look after the database schema.\n" + migrateHelp,
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return usagef("name a subcommand of migrate") },
	}
	cmd.AddCommand(
		a.command("up", "Apply all pending migrations", "Any number of processes may do so at once.", cobra.NoArgs, a.migrateUp),
		a.command("status", "List the migrations and their states", "Writes nothing.", cobra.NoArgs, a.migrateStatus),
		a.command("plan", "Print the SQL that \"up\" would run", "Writes nothing.", cobra.NoArgs, a.migratePlan),
		a.command("verify", "Check that the schema is as it should be",
			"Fails if a migration is pending, changed or missing, a table is gone, or an index is\ninvalid. Writes nothing.", cobra.NoArgs, a.migrateVerify),
		a.command("down [VERSION]", "Undo migrations, deleting what they made",
			"Undoes all migrations above VERSION, or the newest one. Tables and the documents in\nthem are lost. It asks first; "+
				"without a terminal to ask on it needs --yes.", cobra.MaximumNArgs(1), a.migrateDown),
		a.command("grants", "Print the SQL that lets a role use the tables",
			"With --schema it needs no database.", cobra.NoArgs, a.migrateGrants),
		a.command("security [on|off]", "Force row-level security, or tell whether it is forced", securityHelp,
			cobra.MaximumNArgs(1), a.migrateSecurity),
	)
	return cmd
}

type migrationJSON struct {
	Version   int64                `json:"version"`
	Name      string               `json:"name"`
	File      string               `json:"file"`
	State     pgdbm.MigrationState `json:"state"`
	AppliedAt *time.Time           `json:"applied_at"`
	AppliedBy string               `json:"applied_by"`
	TookMS    float64              `json:"took_ms"`
	SQL       string               `json:"sql,omitempty"`
}

func (a *app) printMigrations(at schemaPlace, migrations []pgdbm.Migration, text func(io.Writer)) error {
	if !a.opts.json {
		t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		text(t)
		return t.Flush()
	}
	out := struct {
		schemaPlace
		Migrations []migrationJSON `json:"migrations"`
	}{at, make([]migrationJSON, len(migrations))}
	for i, m := range migrations {
		out.Migrations[i] = migrationJSON{
			Version: m.Version, Name: m.Name, File: m.File, State: m.State, AppliedAt: timeOrNull(m.AppliedAt),
			AppliedBy: m.AppliedBy, TookMS: milliseconds(m.Duration), SQL: m.SQL,
		}
	}
	return a.printJSON(out)
}

// schemaPlace is what migrations are applied to: a schema of PostgreSQL, or a file.
type schemaPlace struct {
	Schema string `json:"schema,omitempty"`
	File   string `json:"file,omitempty"`
}

func (p schemaPlace) String() string {
	if p.File != "" {
		return "file " + shown(p.File)
	}
	return fmt.Sprintf("schema %q", p.Schema)
}

// migrator migrates a schema or a file.
type migrator interface {
	Status(ctx context.Context) ([]pgdbm.Migration, error)
	Plan(ctx context.Context) ([]pgdbm.Migration, error)
	Up(ctx context.Context) ([]pgdbm.Migration, error)
	Down(ctx context.Context, version int64) ([]pgdbm.Migration, error)
	Verify(ctx context.Context) error
}

// schemaMigrator is the migrator of a schema.
type schemaMigrator struct {
	*pgdbm.Migrator
	db *pgdbm.DB
}

func (m schemaMigrator) Up(ctx context.Context) ([]pgdbm.Migration, error) {
	return postgres.Migrate(ctx, m.db)
}
func (m schemaMigrator) Verify(ctx context.Context) error { return postgres.Verify(ctx, m.db) }

// fileMigrator is the migrator of a file.
type fileMigrator struct{ *sqlite.Migrator }

func (m fileMigrator) Status(ctx context.Context) ([]pgdbm.Migration, error) {
	return asMigrations(m.Migrator.Status(ctx))
}

func (m fileMigrator) Plan(ctx context.Context) ([]pgdbm.Migration, error) {
	return asMigrations(m.Migrator.Plan(ctx))
}

func (m fileMigrator) Up(ctx context.Context) ([]pgdbm.Migration, error) {
	return asMigrations(m.Migrator.Up(ctx))
}

func (m fileMigrator) Down(ctx context.Context, version int64) ([]pgdbm.Migration, error) {
	return asMigrations(m.Migrator.Down(ctx, version))
}

func asMigrations(list []sqlite.Migration, err error) ([]pgdbm.Migration, error) {
	out := make([]pgdbm.Migration, len(list))
	for i, m := range list {
		out[i] = pgdbm.Migration{
			Version: m.Version, Name: m.Name, File: m.File, State: pgdbm.MigrationState(m.State), NoTransaction: m.NoTransaction, SQL: m.SQL,
			AppliedAt: m.AppliedAt, Duration: m.Duration, AppliedBy: m.AppliedBy,
		}
	}
	return out, err
}

// migrator returns the migrator of the database, and what closes it. A file that is not there is only made if create is set.
func (a *app) migrator(ctx context.Context, create bool) (schemaPlace, migrator, func(), error) {
	p, err := a.place()
	if err != nil {
		return schemaPlace{}, nil, nil, err
	}
	if p.isFile() {
		return a.fileMigrator(ctx, p, create)
	}
	db, closer, err := a.handle(ctx, p)
	if err != nil {
		return schemaPlace{}, nil, nil, err
	}
	m, err := postgres.Migrations(db)
	if err != nil {
		closer()
		return schemaPlace{}, nil, nil, err
	}
	return schemaPlace{Schema: db.SchemaName()}, schemaMigrator{m, db}, closer, nil
}

func (a *app) fileMigrator(ctx context.Context, p place, create bool) (schemaPlace, migrator, func(), error) {
	err := requireFile(p.path)
	if create {
		err = a.makeFolder(p)
	}
	if err != nil {
		return schemaPlace{}, nil, nil, err
	}
	m, err := sqlite.OpenMigrator(ctx, p.path, create, nil)
	if err != nil {
		return schemaPlace{}, nil, nil, err
	}
	return schemaPlace{File: m.Path()}, fileMigrator{m}, func() { _ = m.Close() }, nil // nothing is left to be written
}

func (a *app) migrateUp(ctx context.Context, _ []string) error {
	at, m, closer, err := a.migrator(ctx, true)
	if err != nil {
		return err
	}
	defer closer()
	applied, err := m.Up(ctx)
	if err != nil {
		return err
	}
	if len(applied) == 0 {
		a.note("nothing is pending in %s", at)
	} else if applied, err = recorded(ctx, m, applied); err != nil {
		return err
	}
	return a.printMigrations(at, applied, func(w io.Writer) {
		for _, m := range applied {
			fmt.Fprintf(w, "applied\t%s\n", m.File)
		}
	})
}

// recorded returns migrations as the database has recorded them.
func recorded(ctx context.Context, m migrator, applied []pgdbm.Migration) ([]pgdbm.Migration, error) {
	all, err := m.Status(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(m pgdbm.Migration) bool {
		return !slices.ContainsFunc(applied, func(a pgdbm.Migration) bool { return a.Version == m.Version })
	}), nil
}

func (a *app) migrateStatus(ctx context.Context, _ []string) error {
	at, m, closer, err := a.migrator(ctx, false)
	if err != nil {
		return err
	}
	defer closer()
	all, err := m.Status(ctx)
	if err != nil {
		return err
	}
	return a.printMigrations(at, all, func(w io.Writer) {
		fmt.Fprintln(w, "VERSION\tNAME\tSTATE\tAPPLIED\tBY")
		for _, m := range all {
			applied, by := "-", "-"
			if !m.AppliedAt.IsZero() {
				applied, by = m.AppliedAt.UTC().Format(time.DateTime), plain(m.AppliedBy)
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", m.Version, m.Name, m.State, applied, by)
		}
	})
}

func (a *app) migratePlan(ctx context.Context, _ []string) error {
	at, m, closer, err := a.migrator(ctx, false)
	if err != nil {
		return err
	}
	defer closer()
	plan, err := m.Plan(ctx)
	if err != nil {
		return err
	}
	if len(plan) == 0 {
		a.note("nothing is pending in %s", at)
	}
	if a.opts.json {
		return a.printMigrations(at, plan, nil)
	}
	for _, m := range plan {
		a.printf("-- %s\n%s\n", m.File, strings.TrimRight(m.SQL, "\n"))
	}
	return nil
}

func (a *app) migrateVerify(ctx context.Context, _ []string) error {
	at, m, closer, err := a.migrator(ctx, false)
	if err != nil {
		return err
	}
	defer closer()
	if err := m.Verify(ctx); err != nil {
		return err
	}
	if a.opts.json {
		return a.printJSON(struct {
			schemaPlace
			OK bool `json:"ok"`
		}{at, true})
	}
	a.printf("%s is as it should be\n", at)
	return nil
}

func (a *app) migrateDown(ctx context.Context, args []string) error {
	target := int64(-1)
	if len(args) == 1 {
		n, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil || n < 0 {
			return usagef("VERSION %q: must be a number, 0 to undo everything", args[0])
		}
		target = n
	}
	at, m, closer, err := a.migrator(ctx, false)
	if err != nil {
		return err
	}
	defer closer()
	all, err := m.Status(ctx)
	if err != nil {
		return err
	}
	var applied []int64
	for _, m := range all {
		if !m.AppliedAt.IsZero() {
			applied = append(applied, m.Version)
		}
	}
	if len(applied) == 0 {
		a.note("nothing is applied in %s", at)
		return a.printMigrations(at, nil, func(io.Writer) {})
	}
	if target < 0 {
		target = 0
		if len(applied) > 1 {
			target = applied[len(applied)-2]
		}
	}
	undo := 0
	for _, v := range applied {
		if v > target {
			undo++
		}
	}
	if undo > 0 {
		if err := a.confirm(ctx, fmt.Sprintf("undo %s in %s, deleting the tables and documents that depend on it",
			plural(undo, "migration"), at)); err != nil {
			return err
		}
	}
	undone, err := m.Down(ctx, target)
	if err != nil {
		return err
	}
	return a.printMigrations(at, undone, func(w io.Writer) {
		for _, m := range undone {
			fmt.Fprintf(w, "undone\t%s\n", m.File)
		}
	})
}

func (a *app) migrateGrants(ctx context.Context, _ []string) error {
	if a.opts.role == "" {
		return usagef("name the role: --role ROLE")
	}
	schema := a.opts.schema
	if schema == "" {
		p, err := a.postgresOnly("migrate grants")
		if err != nil {
			return err
		}
		db, closer, err := a.handle(ctx, p)
		if err != nil {
			return err
		}
		defer closer()
		schema = db.SchemaName()
	}
	grants := postgres.Grants(schema, a.opts.role)
	if a.opts.json {
		return a.printJSON(struct {
			Schema string `json:"schema"`
			Role   string `json:"role"`
			SQL    string `json:"sql"`
		}{schema, a.opts.role, grants})
	}
	a.printf("%s", grants)
	return nil
}

func (a *app) migrateSecurity(ctx context.Context, args []string) error {
	if len(args) == 1 && args[0] != "on" && args[0] != "off" {
		return usagef("%q is neither on nor off", args[0])
	}
	p, err := a.postgresOnly("migrate security")
	if err != nil {
		return err
	}
	db, closer, err := a.handle(ctx, p)
	if err != nil {
		return err
	}
	defer closer()
	switch {
	case len(args) == 0:
	case args[0] == "on":
		err = postgres.EnableRowSecurity(ctx, db, a.opts.worker)
	default:
		err = postgres.DisableRowSecurity(ctx, db)
	}
	if err != nil {
		return err
	}
	s, err := postgres.RowSecurityOf(ctx, db)
	if err != nil {
		return err
	}
	if a.opts.json {
		list := func(l []string) []string { return append([]string{}, l...) }
		return a.printJSON(struct {
			Schema      string   `json:"schema"`
			On          bool     `json:"on"`
			Unprotected []string `json:"unprotected"`
			Role        string   `json:"role"`
			Active      bool     `json:"active"`
			Above       bool     `json:"above"`
			Worker      bool     `json:"worker"`
			Workers     []string `json:"workers"`
		}{db.SchemaName(), s.On, list(s.Unprotected), s.Role, s.Active, s.Above, s.Worker, list(s.Workers)})
	}
	c := judgeSecurity(s)
	a.printf("schema %q: %s\n", db.SchemaName(), c.Detail)
	return nil
}
