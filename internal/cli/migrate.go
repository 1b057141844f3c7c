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
)

const migrateHelp = `
The other commands migrate by themselves when their role may. In deployments
where it may not, run "migrate up" as an administrator, and give the program's
role what "migrate grants" prints.

With --json the subcommands that list migrations print
  {"schema","migrations":[{"version","name","file","state","applied_at","applied_by","took_ms"}]}
where "migrate plan" has "sql" in addition, and state is applied, pending,
changed, missing or out of order.`

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

func (a *app) printMigrations(db *pgdbm.DB, migrations []pgdbm.Migration, text func(io.Writer)) error {
	if !a.opts.json {
		t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		text(t)
		return t.Flush()
	}
	out := struct {
		Schema     string          `json:"schema"`
		Migrations []migrationJSON `json:"migrations"`
	}{db.SchemaName(), make([]migrationJSON, len(migrations))}
	for i, m := range migrations {
		out.Migrations[i] = migrationJSON{
			Version: m.Version, Name: m.Name, File: m.File, State: m.State, AppliedAt: timeOrNull(m.AppliedAt),
			AppliedBy: m.AppliedBy, TookMS: milliseconds(m.Duration), SQL: m.SQL,
		}
	}
	return a.printJSON(out)
}

// migrator returns the migrator of the schema, and what closes it.
func (a *app) migrator(ctx context.Context) (*pgdbm.DB, *pgdbm.Migrator, func(), error) {
	db, closer, err := a.handle(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	m, err := postgres.Migrations(db)
	if err != nil {
		closer()
		return nil, nil, nil, err
	}
	return db, m, closer, nil
}

func (a *app) migrateUp(ctx context.Context, _ []string) error {
	db, closer, err := a.handle(ctx)
	if err != nil {
		return err
	}
	defer closer()
	applied, err := postgres.Migrate(ctx, db)
	if err != nil {
		return err
	}
	if len(applied) == 0 {
		a.note("nothing is pending in schema %q", db.SchemaName())
	} else if applied, err = a.recorded(ctx, db, applied); err != nil {
		return err
	}
	return a.printMigrations(db, applied, func(w io.Writer) {
		for _, m := range applied {
			fmt.Fprintf(w, "applied\t%s\n", m.File)
		}
	})
}

// recorded returns migrations as the schema has recorded them.
func (a *app) recorded(ctx context.Context, db *pgdbm.DB, applied []pgdbm.Migration) ([]pgdbm.Migration, error) {
	m, err := postgres.Migrations(db)
	if err != nil {
		return nil, err
	}
	all, err := m.Status(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(m pgdbm.Migration) bool {
		return !slices.ContainsFunc(applied, func(a pgdbm.Migration) bool { return a.Version == m.Version })
	}), nil
}

func (a *app) migrateStatus(ctx context.Context, _ []string) error {
	db, m, closer, err := a.migrator(ctx)
	if err != nil {
		return err
	}
	defer closer()
	all, err := m.Status(ctx)
	if err != nil {
		return err
	}
	return a.printMigrations(db, all, func(w io.Writer) {
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
	db, m, closer, err := a.migrator(ctx)
	if err != nil {
		return err
	}
	defer closer()
	plan, err := m.Plan(ctx)
	if err != nil {
		return err
	}
	if len(plan) == 0 {
		a.note("nothing is pending in schema %q", db.SchemaName())
	}
	if a.opts.json {
		return a.printMigrations(db, plan, nil)
	}
	for _, m := range plan {
		a.printf("-- %s\n%s\n", m.File, strings.TrimRight(m.SQL, "\n"))
	}
	return nil
}

func (a *app) migrateVerify(ctx context.Context, _ []string) error {
	db, closer, err := a.handle(ctx)
	if err != nil {
		return err
	}
	defer closer()
	if err := postgres.Verify(ctx, db); err != nil {
		return err
	}
	if a.opts.json {
		return a.printJSON(struct {
			Schema string `json:"schema"`
			OK     bool   `json:"ok"`
		}{db.SchemaName(), true})
	}
	a.printf("schema %q is as it should be\n", db.SchemaName())
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
	db, m, closer, err := a.migrator(ctx)
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
		a.note("nothing is applied in schema %q", db.SchemaName())
		return a.printMigrations(db, nil, func(io.Writer) {})
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
		if err := a.confirm(ctx, fmt.Sprintf("undo %s in schema %q, deleting the tables and documents that depend on it",
			plural(undo, "migration"), db.SchemaName())); err != nil {
			return err
		}
	}
	undone, err := m.Down(ctx, target)
	if err != nil {
		return err
	}
	return a.printMigrations(db, undone, func(w io.Writer) {
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
		db, closer, err := a.handle(ctx)
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
	db, closer, err := a.handle(ctx)
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
