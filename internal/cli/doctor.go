package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/store/postgres"
	"github.com/llmemory/llmemory/store/sqlite"
)

const doctorHelp = `
Checks the database, its tables, the owner's index, its vectors and the embedder,
which is asked for the vector of a word, and of PostgreSQL the schema, the role's
rights and pgvector. It says what to do about what is wrong, and writes nothing.
The exit code is 1 if a check failed; warnings do not count.

With --json:
  {"ok","checks":[{"name","status","detail","hint"}]}
where status is ok, warn or fail.`

func (a *app) doctorCommand() *cobra.Command {
	return a.command("doctor", "Check what is there and what is missing", doctorHelp, cobra.NoArgs, a.doctor)
}

type checkStatus string

const (
	checkOK   checkStatus = "ok"
	checkWarn checkStatus = "warn"
	checkFail checkStatus = "fail"
)

// check is one line of doctor's report.
type check struct {
	Name   string      `json:"name"`
	Status checkStatus `json:"status"`
	Detail string      `json:"detail"`
	Hint   string      `json:"hint"` // what to do; "" if there is nothing to do
}

func (a *app) doctor(ctx context.Context, _ []string) error {
	checks := a.examine(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	failed := 0
	for _, c := range checks {
		if c.Status == checkFail {
			failed++
		}
	}
	if a.opts.json {
		err := a.printJSON(struct {
			OK     bool    `json:"ok"`
			Checks []check `json:"checks"`
		}{failed == 0, checks})
		if err != nil {
			return err
		}
	} else {
		for _, c := range checks {
			a.printf("%-4s  %-10s  %s\n", c.Status, c.Name, plain(c.Detail))
			if c.Hint != "" {
				a.printf("%16s  %s\n", "", c.Hint)
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%s failed", plural(failed, "check"))
	}
	return nil
}

// examine does the checks in the order in which they depend on each other, and stops where the next would make no sense.
func (a *app) examine(ctx context.Context) []check {
	p, err := a.place()
	if err != nil {
		return []check{{"database", checkFail, err.Error(), ""}}
	}
	embedder := a.examineEmbedder(ctx) // first, as it learns the model's dimensions
	if p.isFile() {
		return append(a.examineFile(ctx, p), embedder)
	}
	db, closer, err := a.handle(ctx, p)
	if err != nil {
		return []check{{"database", checkFail, err.Error(), "check that the server runs, and host, port, database, role and password of the URL"},
			embedder}
	}
	defer closer()
	var checks []check
	database, err := examineServer(ctx, db)
	checks = append(checks, database)
	if err != nil {
		return checks
	}
	mayCreate, schema := examineSchema(ctx, db)
	checks = append(checks, schema)
	migrated, migrations := examineMigrations(ctx, db, mayCreate)
	checks = append(checks, migrations)
	if migrated {
		rights := examineRights(ctx, db)
		checks = append(checks, rights)
		if rights.Status == checkOK {
			checks = append(checks, examineSecurity(ctx, db))
			checks = append(checks, a.examineStore(ctx, db)...)
		}
	}
	return append(checks, examineVector(ctx, db), embedder)
}

// examineFile does the checks of a file.
func (a *app) examineFile(ctx context.Context, p place) []check {
	info, err := os.Stat(p.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []check{{"database", checkOK, fmt.Sprintf("file %s is not there yet; \"add\" makes it", p.path), ""}}
	case err != nil:
		return []check{{"database", checkFail, err.Error(), ""}}
	}
	m, err := sqlite.OpenMigrator(ctx, p.path, false, nil)
	if err != nil {
		c := check{"database", checkFail, err.Error(), "choose another file with --db"}
		if errors.Is(err, llmemory.ErrCorrupt) {
			c.Hint = "restore the file from a backup, or choose another one with --db"
		} else if errors.Is(err, llmemory.ErrUnavailable) {
			c.Hint = "see that the file and its folder may be written, and that no program holds on to it"
		}
		return []check{c}
	}
	all, err := fileMigrator{m}.Status(ctx)
	_ = m.Close() // only read from
	migrated, migrations := judgeMigrations(all, err, true)
	checks := []check{{"database", checkOK, fmt.Sprintf("file %s, %s", p.path, megabytes(info.Size())), ""}, migrations}
	if !migrated {
		return checks
	}
	store, err := sqlite.Open(ctx, p.path, &sqlite.Options{RequireMigrated: true})
	if err != nil {
		return append(checks, check{"store", checkFail, err.Error(), ""})
	}
	defer store.Close() //nolint:errcheck // only read from
	if about, err := store.Info(ctx); err == nil {
		checks[0].Detail = fmt.Sprintf("SQLite %s, %s", about.Version, checks[0].Detail)
	}
	memory, err := llmemory.New(store, nil)
	if err != nil {
		return append(checks, check{"store", checkFail, err.Error(), ""})
	}
	checks = append(checks, a.examineIndex(ctx, memory))
	if vectors := a.examineVectors(ctx, memory, nil); vectors.Detail != "" {
		checks = append(checks, vectors)
	}
	return checks
}

func examineServer(ctx context.Context, db *pgdbm.DB) (check, error) {
	var version, database, role string
	var number int
	err := db.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('server_version_num')::int,
		current_database()::text, current_user::text`).Scan(&version, &number, &database, &role)
	if err != nil {
		return check{"database", checkFail, err.Error(), "check the server's log"}, err
	}
	c := check{Name: "database", Status: checkOK, Detail: fmt.Sprintf("PostgreSQL %s, database %q, role %q", version, database, role)}
	if number < 140000 {
		c.Status, c.Hint = checkWarn, "this version is no longer maintained: upgrade the server"
	}
	return c, nil
}

func examineSchema(ctx context.Context, db *pgdbm.DB) (mayCreate bool, c check) {
	name := db.SchemaName()
	c = check{Name: "schema", Status: checkOK, Detail: fmt.Sprintf("%q", name)}
	var exists, usage, create, createSchema bool
	err := db.QueryRow(ctx, `SELECT n.oid IS NOT NULL, coalesce(has_schema_privilege(n.oid, 'USAGE'), false),
			coalesce(has_schema_privilege(n.oid, 'CREATE'), false), has_database_privilege(current_database(), 'CREATE')
		FROM (SELECT 1) one LEFT JOIN pg_namespace n ON n.nspname = $1`, name).Scan(&exists, &usage, &create, &createSchema)
	switch {
	case err != nil:
		c.Status, c.Detail = checkFail, err.Error()
	case !exists && !createSchema:
		c.Status, c.Detail = checkFail, fmt.Sprintf("%q does not exist, and this role may not create it", name)
		c.Hint = "run \"llmemory migrate up\" as a role that may"
	case !exists:
		c.Detail += " does not exist yet; this role may create it"
	case !usage:
		c.Status, c.Detail = checkFail, fmt.Sprintf("this role may not use %q", name)
		c.Hint = "run what \"llmemory migrate grants --role ROLE\" prints as its owner"
	}
	return create || !exists && createSchema, c
}

func examineMigrations(ctx context.Context, db *pgdbm.DB, mayCreate bool) (migrated bool, c check) {
	m, err := postgres.Migrations(db)
	var all []pgdbm.Migration
	if err == nil {
		all, err = m.Status(ctx)
	}
	return judgeMigrations(all, err, mayCreate)
}

// judgeMigrations tells what the states of the migrations mean, or the error of asking for them.
func judgeMigrations(all []pgdbm.Migration, err error, mayCreate bool) (migrated bool, c check) {
	c = check{Name: "migrations", Status: checkOK}
	if err != nil {
		c.Status, c.Detail = checkFail, err.Error()
		if errors.Is(err, pgdbm.ErrForeign) {
			c.Hint = "choose another schema with --schema"
		}
		return false, c
	}
	var applied int
	var pending, broken []string
	for _, m := range all {
		switch m.State {
		case pgdbm.MigrationApplied:
			applied++
		case pgdbm.MigrationPending:
			pending = append(pending, m.File)
		default:
			broken = append(broken, fmt.Sprintf("%03d_%s is %s", m.Version, m.Name, m.State))
		}
	}
	c.Detail = fmt.Sprintf("%d applied", applied)
	switch {
	case len(broken) > 0:
		c.Status, c.Detail = checkFail, strings.Join(broken, ", ")
		c.Hint = "another version of llmemory made these tables: use that one, or upgrade this one"
	case len(pending) > 0 && !mayCreate:
		c.Status, c.Detail = checkFail, "pending: "+strings.Join(pending, ", ")
		c.Hint = "run \"llmemory migrate up\" as a role that may create tables"
	case len(pending) > 0:
		c.Status, c.Detail = checkWarn, "pending: "+strings.Join(pending, ", ")
		c.Hint = "run \"llmemory migrate up\"; any other command does it too"
	}
	return len(broken) == 0 && len(pending) == 0, c
}

// tables are what a role needs rights on. A test holds them against a migrated schema.
var tables = []string{"document_chunks", "document_owners", "documents", "embedding_generations", "embedding_indexes", "embedding_queue",
	"ingest_files", "ingest_runs", "text_postings", "text_segments"}

func examineRights(ctx context.Context, db *pgdbm.DB) check {
	c := check{Name: "rights", Status: checkOK, Detail: "this role may read and write the tables"}
	rows, err := db.Query(ctx, `SELECT want.name, c.oid IS NOT NULL, coalesce(has_table_privilege(c.oid, 'SELECT')
			AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'), false)
		FROM (
			SELECT name FROM pg_catalog.unnest($2::text[]) AS ours (name)
			UNION SELECT relname::text FROM pg_catalog.pg_class WHERE relname ~ '^embeddings_[0-9]+$' AND relkind IN ('r', 'p')
				AND relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1)
		) AS want
		LEFT JOIN pg_catalog.pg_class c ON c.relname = want.name
			AND c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1)
		ORDER BY 1`, db.SchemaName(), tables)
	if err != nil {
		return check{c.Name, checkFail, err.Error(), ""}
	}
	var gone, denied []string
	var name string
	var exists, may bool
	_, err = pgx.ForEachRow(rows, []any{&name, &exists, &may}, func() error {
		switch {
		case !exists:
			gone = append(gone, name)
		case !may:
			denied = append(denied, name)
		}
		return nil
	})
	switch {
	case err != nil:
		c.Status, c.Detail = checkFail, err.Error()
	case gone != nil:
		c.Status, c.Detail = checkFail, "the tables are gone: "+strings.Join(gone, ", ")
		c.Hint = "restore them from a backup, or drop the schema to start anew"
	case denied != nil:
		c.Status, c.Detail = checkFail, "this role may not read and write "+strings.Join(denied, ", ")
		c.Hint = "run what \"llmemory migrate grants --role ROLE\" prints as the tables' owner"
	}
	return c
}

func examineSecurity(ctx context.Context, db *pgdbm.DB) check {
	s, err := postgres.RowSecurityOf(ctx, db)
	if err != nil {
		return check{"rls", checkFail, err.Error(), ""}
	}
	return judgeSecurity(s)
}

func judgeSecurity(s *postgres.RowSecurity) check {
	c := check{Name: "rls", Status: checkOK}
	switch workers := strings.Join(s.Workers, ", "); {
	case len(s.Unprotected) > 0:
		c.Status, c.Detail = checkFail, "row-level security is on, but not for "+strings.Join(s.Unprotected, ", ")
		c.Hint = "run \"llmemory migrate security on\" again, with the worker role"
	case !s.On:
		c.Detail = "row-level security is off"
	case s.Above:
		c.Status, c.Detail = checkWarn, fmt.Sprintf("inert: row-level security is on, but role %q is a superuser or has BYPASSRLS", s.Role)
		c.Hint = "run programs as another role: \"llmemory migrate grants --role ROLE\" prints what it needs"
	case s.Worker:
		c.Detail = fmt.Sprintf("row-level security is on; role %q works for all owners", s.Role)
	default:
		c.Detail = fmt.Sprintf("row-level security is on; role %q sees one owner at a time, %s all of them", s.Role, workers)
	}
	return c
}

// examineStore looks at what a program would open.
func (a *app) examineStore(ctx context.Context, db *pgdbm.DB) []check {
	store, err := postgres.New(ctx, db, &postgres.Options{RequireMigrated: true, ReadURLs: a.opts.readURLs, Pool: a.poolConfig()})
	if err != nil {
		return []check{{"store", checkFail, err.Error(), ""}}
	}
	defer store.Close() //nolint:errcheck // it cannot fail
	memory, err := llmemory.New(store.Primary(), nil)
	if err != nil {
		return []check{{"store", checkFail, err.Error(), ""}}
	}
	checks := []check{a.examineIndex(ctx, memory)}
	if vectors := a.examineVectors(ctx, memory, db); vectors.Detail != "" {
		checks = append(checks, vectors)
	}
	return append(checks, judgeReplicas(store.Replicas())...)
}

func judgeReplicas(list []postgres.ReplicaStatus) []check {
	var out []check
	for _, r := range list {
		c := check{Name: "replica", Status: checkOK, Detail: r.Server + ": has what the primary has"}
		switch {
		case !r.Used:
			c.Status, c.Detail, c.Hint = checkWarn, fmt.Sprintf("%s is not used: %v", r.Server, r.Err), "the primary answers in its place"
		case r.Lag > 0:
			c.Detail = fmt.Sprintf("%s: behind by at most %s", r.Server, r.Lag.Round(time.Millisecond))
		}
		out = append(out, c)
	}
	return out
}

func (a *app) examineIndex(ctx context.Context, memory *llmemory.Memory) check {
	c := check{Name: "index", Status: checkOK}
	s, err := memory.Owner(a.opts.owner).Stats(ctx)
	if err != nil {
		return check{c.Name, checkFail, err.Error(), ""}
	}
	c.Detail = fmt.Sprintf("owner %q: %s, %s, %s", a.opts.owner, plural(int(s.Documents), "document"), plural(int(s.Chunks), "chunk"),
		plural(int(s.Index.Segments), "segment"))
	switch {
	case s.Index.Stale:
		c.Status, c.Detail = checkWarn, c.Detail+"; made by another version of the text analysis"
		c.Hint = "the next change of this owner's documents rebuilds it"
	case s.Index.DeadLeaves > 1000 && s.Index.DeadLeaves > s.Chunks:
		c.Status, c.Detail = checkWarn, fmt.Sprintf("%s; %d deleted chunks still in the index", c.Detail, s.Index.DeadLeaves)
		c.Hint = "maintenance purges them: run it in a program with Memory.Run"
	}
	return c
}

// The versions of pgvector that matter.
var (
	vectorFixed    = [3]int{0, 8, 4} // older ones have faults worth an upgrade
	vectorParallel = [3]int{0, 8, 2} // older ones cannot be trusted to build an index in parallel
)

func examineVector(ctx context.Context, db *pgdbm.DB) check {
	e, err := db.Pool().Extension(ctx, "vector")
	if err != nil {
		return check{"pgvector", checkFail, err.Error(), ""}
	}
	return judgeVector(e)
}

func judgeVector(e pgdbm.Extension) check {
	c := check{Name: "pgvector", Status: checkOK}
	older := func(than [3]int) bool { return compareVersion(e.Version, than) < 0 }
	switch {
	case e.Version == "" && e.Available == "":
		c.Status, c.Detail = checkWarn, "is not on the server; text search works without it"
		c.Hint = "install the package postgresql-NN-pgvector on the server, then run as a superuser: CREATE EXTENSION vector"
	case e.Version == "":
		c.Status, c.Detail = checkWarn, fmt.Sprintf("%s is on the server but not in this database; text search works without it", e.Available)
		c.Hint = "run as a superuser: CREATE EXTENSION vector"
	default:
		c.Detail = fmt.Sprintf("%s in schema %q", e.Version, e.Schema)
		if older(vectorFixed) {
			c.Status = checkWarn
			if older(vectorParallel) {
				c.Detail += "; indexes are not built in parallel before 0.8.2"
			}
			c.Hint = "upgrade the package on the server to 0.8.4 or newer, then run as a superuser: ALTER EXTENSION vector UPDATE"
			if compareVersion(e.Available, vectorFixed) >= 0 {
				c.Hint = "run as a superuser: ALTER EXTENSION vector UPDATE"
			}
		}
	}
	return c
}

// embedderPatience is how long doctor waits for an embedder.
const embedderPatience = 15 * time.Second

func (a *app) examineEmbedder(ctx context.Context) check {
	c := check{Name: "embedder", Status: checkOK}
	e, err := a.embedder()
	switch {
	case err != nil:
		c.Status, c.Detail = checkFail, err.Error()
		return c
	case e == nil:
		c.Detail = "none, so searches go by words"
		if a.opts.embedder == "" {
			c.Hint = "\"llmemory models pull\" fetches a model that runs here"
		}
		return c
	}
	ctx, cancel := context.WithTimeout(ctx, embedderPatience)
	defer cancel()
	started := time.Now()
	vectors, err := e.Embed(ctx, embedding.Query, []string{"bridge"})
	if err == nil {
		err = embedding.Check(vectors, 1, 0)
	}
	if err != nil {
		c.Status, c.Detail = checkFail, fmt.Sprintf("%s: %v", modelName(e.Model()), err)
		c.Hint = "check --embedder, --openai-base-url and OPENAI_API_KEY; without it documents are stored, and searched by words"
		if kind, _ := a.embedderName(); kind == "local" {
			c.Hint = "\"llmemory models pull\" fetches the files again; without it documents are stored, and searched by words"
		}
		return c
	}
	c.Detail = fmt.Sprintf("%s, %d dimensions, answered in %d ms", modelName(e.Model()), len(vectors[0]), time.Since(started).Milliseconds())
	return c
}

// examineVectors tells what searches by meaning find. Without vectors and without an embedder there is nothing to tell.
// db is nil for a file.
func (a *app) examineVectors(ctx context.Context, memory *llmemory.Memory, db *pgdbm.DB) check {
	c := check{Name: "vectors", Status: checkOK}
	fail := func(err error) check { return check{c.Name, checkFail, err.Error(), ""} }
	e, err := a.embedder()
	if err != nil {
		return check{} // told already
	}
	generations, err := memory.Generations(ctx)
	if err != nil {
		return fail(err)
	}
	at := slices.IndexFunc(generations, func(g llmemory.Generation) bool { return g.State == llmemory.Active })
	switch {
	case at < 0 && e == nil:
		return check{}
	case at < 0:
		c.Detail = "none yet: \"embed\" makes those of what is stored, \"add\" those of what is new"
		return c
	}
	g := &generations[at]
	c.Detail = fmt.Sprintf("generation %d, %s, %d dimensions", g.ID, modelName(g.Model), g.Model.Dimensions)
	switch {
	case e != nil && (e.Model().Provider != g.Model.Provider || e.Model().Model != g.Model.Model):
		c.Status = checkWarn
		c.Hint = fmt.Sprintf("searches go by words with this embedder: use --embedder %s, or change the model with \"llmemory models add\"",
			modelName(g.Model))
	case e != nil && e.Model().Dimensions != 0 && e.Model().Dimensions != g.Model.Dimensions:
		c.Status, c.Hint = checkWarn, fmt.Sprintf("searches go by words with this embedder: use --dimensions %d", g.Model.Dimensions)
	}
	p, err := memory.Progress(ctx, g.ID)
	if err != nil {
		if db != nil {
			if s, failed := postgres.RowSecurityOf(ctx, db); failed == nil && s.Active && !s.Worker {
				return c // only workers may count what all owners have
			}
		}
		return fail(err)
	}
	c.Detail += fmt.Sprintf(": %d of %s", p.Vectors, plural(int(p.Leaves), "passage"))
	switch {
	case c.Status == checkWarn: // nothing matters more
	case p.Dead > 0:
		c.Status, c.Hint = checkWarn, fmt.Sprintf("%s could not be embedded: \"llmemory queue\" tells why", plural(int(p.Dead), "passage"))
	case p.Vectors < p.Leaves:
		c.Status, c.Hint = checkWarn, "run \"llmemory embed\", or a program with Memory.Run"
	}
	return c
}

// compareVersion compares a version such as "0.8.1" or "0.8" with another.
func compareVersion(version string, with [3]int) int {
	parts := strings.Split(version, ".")
	for i, want := range with {
		n := 0
		if i < len(parts) {
			n, _ = strconv.Atoi(parts[i]) // what is no number is old
		}
		if n != want {
			return n - want
		}
	}
	return 0
}
