package pgdbm_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// files makes a folder of migrations from name, content, name, content …
func files(nameContent ...string) fstest.MapFS {
	fsys := fstest.MapFS{"README.md": {Data: []byte("no SQL")}}
	for i := 0; i < len(nameContent); i += 2 {
		fsys[nameContent[i]] = &fstest.MapFile{Data: []byte(nameContent[i+1])}
	}
	return fsys
}

const createNotes = `-- Notes of all kinds; with a semicolon in a comment
CREATE TABLE {{tables.notes}} (id int PRIMARY KEY, text text DEFAULT 'a;b');
CREATE FUNCTION {{tables.count_notes}}() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT count(*) FROM {{tables.notes}});
END $$;
INSERT INTO {{tables.notes}} VALUES (1);
`

const createOrder = `CREATE TABLE {{tables.order}} ("user" int REFERENCES {{tables.notes}});`

func twoFiles() fstest.MapFS {
	return files("001_create_notes.sql", createNotes, "002_create_order.sql", createOrder)
}

// short is a Migration without what differs from run to run.
type short struct {
	Version int64
	State   pgdbm.MigrationState
}

func shorten(in []pgdbm.Migration) []short {
	out := []short{}
	for _, m := range in {
		out = append(out, short{m.Version, m.State})
	}
	return out
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	p := open(t, pgdbm.Config{})
	for _, schema := range []string{"notes", `Select "x"`, "order", "MixedCase", "ünï cödé.x", strings.Repeat("x", 63)} {
		t.Run(schema, func(t *testing.T) {
			db := p.Schema(schema)
			m := db.Migrations("notes", twoFiles(), nil)
			plan, err := m.Plan(t.Context())
			must(t, err)
			if diff := cmp.Diff([]short{{1, pgdbm.MigrationPending}, {2, pgdbm.MigrationPending}}, shorten(plan)); diff != "" {
				t.Error(diff)
			}
			rendered, err := db.Render(createOrder)
			must(t, err)
			if diff := cmp.Diff(rendered, plan[1].SQL); diff != "" {
				t.Error(diff)
			}
			if err := m.Verify(t.Context()); !errors.Is(err, pgdbm.ErrPending) {
				t.Errorf("verify before: %v", err)
			}
			if got := value[int](t, db, "SELECT count(*)::int FROM pg_namespace WHERE nspname = $1", schema); got != 0 {
				t.Error("plan or verify created the schema")
			}

			done, err := m.Up(t.Context())
			must(t, err)
			if diff := cmp.Diff([]short{{1, pgdbm.MigrationApplied}, {2, pgdbm.MigrationApplied}}, shorten(done)); diff != "" {
				t.Error(diff)
			}
			if got := value[int](t, db, "SELECT {{tables.count_notes}}()::int"); got != 1 {
				t.Errorf("the function of the migration gives %d", got)
			}
			run(t, db, `INSERT INTO {{tables.order}} ("user") VALUES (1)`)
			must(t, m.Verify(t.Context()))
			status, err := m.Status(t.Context())
			must(t, err)
			if s := status[1]; s.Name != "create_order" || s.File != "002_create_order.sql" || time.Since(s.AppliedAt) > time.Minute || s.AppliedBy == "" {
				t.Errorf("status is %+v", s)
			}
			done, err = m.Up(t.Context())
			if err != nil || len(done) != 0 {
				t.Errorf("second up: %v, %v", done, err)
			}
		})
	}
}

// A start with nothing to do reads in two round trips and takes no lock.
func TestMigrateNothingPendingOnlyReads(t *testing.T) {
	t.Parallel()
	var c pgdbm.Counter
	var events []pgdbm.Event
	p := open(t, pgdbm.Config{Tracer: pgdbm.TracerFunc(func(ctx context.Context, e pgdbm.Event) {
		c.Trace(ctx, e)
		events = append(events, e)
	})})
	db := p.Schema("s")
	must(t, db.Migrate(t.Context(), "m", twoFiles()))
	c.Reset()
	events = nil
	must(t, db.Migrate(t.Context(), "m", twoFiles()))
	if c.RoundTrips() != 2 {
		t.Errorf("%d round trips", c.RoundTrips())
	}
	for _, e := range events {
		if e.Kind != pgdbm.KindQuery || !strings.HasPrefix(e.Statement, "SELECT") {
			t.Errorf("sent %q", e.Statement)
		}
	}
}

func TestMigrateModulesShareASchema(t *testing.T) {
	t.Parallel()
	p := open(t, pgdbm.Config{})
	db, other := p.Schema("shared"), p.Schema("other")
	must(t, db.Migrate(t.Context(), "notes", twoFiles()))
	must(t, db.Migrate(t.Context(), "auth", files("001_users.sql", "CREATE TABLE {{tables.users}} (id int)")))
	must(t, other.Migrate(t.Context(), "notes", twoFiles()))
	if got := value[int](t, db, "SELECT count(*)::int FROM {{tables.schema_migrations}}"); got != 3 {
		t.Errorf("%d records in the shared schema", got)
	}
	if got := value[int](t, db, "SELECT count(*)::int FROM {{tables.other.schema_migrations}}"); got != 2 {
		t.Errorf("%d records in the other schema", got)
	}
}

func TestMigrateRules(t *testing.T) {
	t.Parallel()
	p := open(t, pgdbm.Config{})
	for i, c := range []struct {
		name   string
		second fstest.MapFS // tried after twoFiles were applied
		want   error
		text   string // part of the message
	}{
		{"changed", files("001_create_notes.sql", createNotes+"-- x", "002_create_order.sql", createOrder), pgdbm.ErrChanged, "001_create_notes.sql: an applied migration was changed"},
		{"missing", files("001_create_notes.sql", createNotes, "003_c.sql", "SELECT 1"), pgdbm.ErrMissing, "version 2 (create_order): an applied migration has no file"},
		{"newer", files("001_create_notes.sql", createNotes), pgdbm.ErrNewer, "version 2 (create_order): the schema is newer than this program: it knows versions up to 1"},
		{"duplicate", files("001_a.sql", "SELECT 1", "1_b.sql", "SELECT 1"), pgdbm.ErrFiles, "1_b.sql: version 1 is already used by 001_a.sql"},
		{"misspelt", files("001-a.sql", "SELECT 1"), pgdbm.ErrFiles, "001-a.sql: the name is not of the form NNN_name.sql"},
		{"lonely down", files("001_a.sql", "SELECT 1", "002_b.down.sql", "SELECT 1"), pgdbm.ErrFiles, "002_b.down.sql: there is no version 2 to undo"},
		{"empty folder", files(), pgdbm.ErrFiles, "the folder has no migration"},
		{"bad template", files("003_c.sql", "SELECT 1;\n  SELECT {{ tables.x }}"), pgdbm.ErrFiles, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := p.Schema(fmt.Sprint("rules", i))
			must(t, db.Migrate(t.Context(), "m", twoFiles()))
			err := db.Migrate(t.Context(), "m", c.second)
			if c.name == "bad template" {
				f := twoFiles()
				f["003_c.sql"] = c.second["003_c.sql"]
				err = db.Migrate(t.Context(), "m", f)
				c.text = "003_c.sql: invalid migration files: bad SQL template: line 2, column 10: unknown tag {{ tables.x }}"
			}
			if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.text) {
				t.Errorf("got  %v\nwant %v, %q", err, c.want, c.text)
			}
			must(t, db.Migrate(t.Context(), "m", twoFiles()))
		})
	}
	t.Run("out of order", func(t *testing.T) {
		db := p.Schema("order")
		must(t, db.Migrate(t.Context(), "m", files("001_a.sql", "SELECT 1", "003_c.sql", "SELECT 1")))
		err := db.Migrate(t.Context(), "m", files("001_a.sql", "SELECT 1", "002_b.sql", "SELECT 1", "003_c.sql", "SELECT 1"))
		if !errors.Is(err, pgdbm.ErrOutOfOrder) || !strings.Contains(err.Error(), "002_b.sql: a pending migration lies below an applied one; give it a version above 3") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("numbers, not text", func(t *testing.T) {
		db := p.Schema("numbers")
		must(t, db.Migrate(t.Context(), "m", files("10_b.sql", "DROP TABLE {{tables.t}}", "9_a.sql", "CREATE TABLE {{tables.t}} ()")))
	})
	t.Run("line ends and outer blanks do not matter", func(t *testing.T) {
		db := p.Schema("lines")
		must(t, db.Migrate(t.Context(), "m", twoFiles()))
		must(t, db.Migrate(t.Context(), "m", files(
			"001_create_notes.sql", "\n"+strings.ReplaceAll(createNotes, "\n", "\r\n"), "002_create_order.sql", createOrder+"\n\n")))
	})
	t.Run("invalid schema name", func(t *testing.T) {
		for _, name := range []string{"", "a\x00b", strings.Repeat("x", 64), "\xff"} {
			db := p.Schema(name)
			if err := db.Migrate(t.Context(), "m", twoFiles()); !errors.Is(err, pgdbm.ErrSchemaName) || !errors.Is(db.Err(), pgdbm.ErrSchemaName) {
				t.Errorf("%q: %v, %v", name, err, db.Err())
			}
		}
	})
}

// A file is applied whole or not at all, and the error says where it failed.
func TestMigrateFailure(t *testing.T) {
	t.Parallel()
	p := open(t, pgdbm.Config{})
	for i, c := range []struct {
		name         string
		sql          string
		line, column int
		state        string
		want         error
	}{
		{"syntax", "CREATE TABLE {{tables.t}} (id int);\n-- ä\nINSERT INTO {{tables.t}} VALUE (1);", 3, 26, "42601", nil},
		{"after a long tag", "CREATE TABLE {{tables.t}} (id int);\nSELECT '{{tables.t}}' ä, nonsense;", 2, 26, "42703", nil},
		{"no position from the server", "CREATE TABLE {{tables.t}} (id int PRIMARY KEY);\nINSERT INTO {{tables.t}} VALUES (1);\n\n  -- again\n  INSERT INTO {{tables.t}} VALUES (1);", 5, 3, "23505", nil},
		{"inside a function", "DO $$\nBEGIN\n  RAISE 'no';\nEND $$", 1, 1, "P0001", nil},
		{"commit", "CREATE TABLE {{tables.t}} ();\n COMMIT;", 2, 2, "", pgdbm.ErrFiles},
		{"begin", "/* x */ begin; CREATE TABLE {{tables.t}} ()", 1, 9, "", pgdbm.ErrFiles},
		{"start transaction", "START TRANSACTION", 1, 1, "", pgdbm.ErrFiles},
		{"session setting", "SET search_path = x", 1, 1, "", pgdbm.ErrFiles},
		{"listen", "listen x", 1, 1, "", pgdbm.ErrFiles},
		{"temporary table", "CREATE TEMP TABLE x ()", 1, 1, "", pgdbm.ErrFiles},
		{"copy", "COPY {{tables.t}} FROM STDIN", 1, 1, "", pgdbm.ErrFiles},
		{"open string", "SELECT 1;\nSELECT 'x", 2, 8, "", pgdbm.ErrFiles},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := p.Schema(fmt.Sprint("failure", i))
			err := db.Migrate(t.Context(), "m", files("001_bad.sql", c.sql))
			var me *pgdbm.MigrationError
			if !errors.As(err, &me) {
				t.Fatalf("got %v", err)
			}
			if me.File != "001_bad.sql" || me.Line != c.line || me.Column != c.column || pgdbm.SQLState(err) != c.state {
				t.Errorf("%s:%d:%d %s: %v", me.File, me.Line, me.Column, pgdbm.SQLState(err), err)
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v is not %v", err, c.want)
			}
			if got := value[int](t, db, "SELECT count(*)::int FROM pg_namespace WHERE nspname = $1", db.SchemaName()); got != 0 {
				t.Error("the failed first migration left its schema behind")
			}
		})
	}
	t.Run("earlier files stay", func(t *testing.T) {
		db := p.Schema("stay")
		done, err := db.Migrations("m", files("001_a.sql", "CREATE TABLE {{tables.a}} ()", "002_b.sql", "CREATE TABLE {{tables.b}} (); SELECT 1/0"), nil).Up(t.Context())
		if pgdbm.SQLState(err) != "22012" || len(done) != 1 {
			t.Fatalf("%v, %v", done, err)
		}
		if got := value[string](t, db, "SELECT string_agg(tablename, ',' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'stay'"); got != "a,schema_migrations" {
			t.Errorf("tables are %s", got)
		}
	})
}

func TestMigrateForeign(t *testing.T) {
	t.Parallel()
	p := open(t, pgdbm.Config{})
	for i, c := range []struct{ tool, columns, text string }{
		{"Rails", "version varchar PRIMARY KEY", "Rails"},
		{"golang-migrate", "version bigint PRIMARY KEY, dirty boolean", "golang-migrate"},
		{"Python pgdbm", "id serial PRIMARY KEY, filename varchar(255), checksum varchar(64), module_name varchar(100), applied_at timestamp", "Python package pgdbm"},
		{"other", "a int, b int", "its columns are a, b"},
	} {
		t.Run(c.tool, func(t *testing.T) {
			db := p.Schema(fmt.Sprint("foreign", i))
			run(t, db, "CREATE SCHEMA {{schema}}")
			run(t, db, "CREATE TABLE {{tables.schema_migrations}} ("+c.columns+")")
			m := db.Migrations("m", twoFiles(), nil)
			_, plan := m.Plan(t.Context())
			_, up := m.Up(t.Context())
			_, baseline := m.Baseline(t.Context(), 1)
			for _, err := range []error{plan, up, baseline, m.Verify(t.Context())} {
				if !errors.Is(err, pgdbm.ErrForeign) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("got %v", err)
				}
			}
			if got := value[int](t, db, "SELECT count(*)::int FROM pg_tables WHERE schemaname = $1", db.SchemaName()); got != 1 {
				t.Errorf("%d tables", got)
			}
		})
	}
}

func TestMigrateDownAndBaseline(t *testing.T) {
	t.Parallel()
	p := open(t, pgdbm.Config{})
	f := twoFiles()
	f["002_create_order.down.sql"] = &fstest.MapFile{Data: []byte("DROP TABLE {{tables.order}}")}

	db := p.Schema("down")
	m := db.Migrations("m", f, nil)
	_, err := m.Up(t.Context())
	must(t, err)
	if _, err := m.Down(t.Context(), 0); !errors.Is(err, pgdbm.ErrNoDown) || !strings.Contains(err.Error(), "001_create_notes.sql") {
		t.Errorf("down to nothing: %v", err)
	}
	run(t, db, "SELECT FROM {{tables.order}}") // nothing was undone
	done, err := m.Down(t.Context(), 1)
	must(t, err)
	if diff := cmp.Diff([]short{{2, pgdbm.MigrationPending}}, shorten(done)); diff != "" {
		t.Error(diff)
	}
	if _, err := db.Exec(t.Context(), "SELECT FROM {{tables.order}}"); !pgdbm.IsUndefined(err) {
		t.Errorf("the table is still there: %v", err)
	}
	f["001_create_notes.down.sql"] = &fstest.MapFile{Data: []byte("DROP FUNCTION {{tables.count_notes}}; DROP TABLE {{tables.notes}}")}
	m = db.Migrations("m", f, nil)
	for range 2 { // up, down to zero, up, down
		_, err = m.Up(t.Context())
		must(t, err)
		_, err = m.Down(t.Context(), 0)
		must(t, err)
	}
	if got := value[int](t, db, "SELECT count(*)::int FROM {{tables.schema_migrations}}"); got != 0 {
		t.Errorf("%d records left", got)
	}

	db = p.Schema("baseline")
	run(t, db, "CREATE SCHEMA {{schema}}")
	run(t, db, "CREATE TABLE {{tables.notes}} (id int PRIMARY KEY)")
	m = db.Migrations("m", f, nil)
	if _, err := m.Baseline(t.Context(), 7); !errors.Is(err, pgdbm.ErrFiles) {
		t.Errorf("baseline at an unknown version: %v", err)
	}
	done, err = m.Baseline(t.Context(), 1)
	must(t, err)
	if diff := cmp.Diff([]short{{1, pgdbm.MigrationApplied}}, shorten(done)); diff != "" {
		t.Error(diff)
	}
	done, err = m.Up(t.Context())
	must(t, err)
	if diff := cmp.Diff([]short{{2, pgdbm.MigrationApplied}}, shorten(done)); diff != "" {
		t.Error(diff)
	}
	must(t, m.Verify(t.Context()))
}

func TestMigrateUpTo(t *testing.T) {
	t.Parallel()
	db := open(t, pgdbm.Config{}).Schema("s")
	m := db.Migrations("m", twoFiles(), nil)
	done, err := m.UpTo(t.Context(), 1)
	must(t, err)
	if diff := cmp.Diff([]short{{1, pgdbm.MigrationApplied}}, shorten(done)); diff != "" {
		t.Error(diff)
	}
	if _, err := m.UpTo(t.Context(), 3); !errors.Is(err, pgdbm.ErrFiles) {
		t.Errorf("got %v", err)
	}
}

// roleURL makes a login role and returns the URL of the same database for it.
func roleURL(t *testing.T, url, role string) string {
	t.Helper()
	p := open(t, pgdbm.Config{URL: url})
	run(t, p.Schema("public"), `DO $$ BEGIN CREATE ROLE "`+role+`" LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$`)
	c, err := pgxpool.ParseConfig(url)
	must(t, err)
	return fmt.Sprintf("host=%s port=%d dbname=%s user='%s'", c.ConnConfig.Host, c.ConnConfig.Port, c.ConnConfig.Database, role)
}

func TestMigrateAsARoleWithCRUDRightsOnly(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	admin := open(t, pgdbm.Config{URL: url}).Schema("app")
	const role = "pgdbm_test crud"
	user := open(t, pgdbm.Config{URL: roleURL(t, url, role)}).Schema("app")

	hint := &pgdbm.MigrateOptions{Hint: "run: app migrate up"}
	_, err := user.Migrations("m", twoFiles(), hint).Up(t.Context())
	want := `migrations are pending: 001_create_notes.sql, 002_create_order.sql; the schema does not exist and role "pgdbm_test crud" may not create it; an administrator can run: CREATE SCHEMA "app" AUTHORIZATION "pgdbm_test crud" (or GRANT CREATE ON DATABASE`
	if !errors.Is(err, pgdbm.ErrPending) || !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), "; run: app migrate up") {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	_, err = admin.Migrations("m", twoFiles(), nil).UpTo(t.Context(), 1)
	must(t, err)
	if err := user.Migrate(t.Context(), "m", twoFiles()); !pgdbm.IsPrivilege(err) || !strings.Contains(err.Error(), `GRANT USAGE ON SCHEMA "app"`) {
		t.Errorf("without any right: %v", err)
	}
	run(t, admin, `GRANT USAGE ON SCHEMA {{schema}} TO "`+role+`"`)
	run(t, admin, `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {{schema}} TO "`+role+`"`)
	err = user.Migrate(t.Context(), "m", twoFiles())
	want = `migrations are pending: 002_create_order.sql; role "pgdbm_test crud" may not create tables in the schema; an administrator can run: GRANT USAGE, CREATE ON SCHEMA "app" TO "pgdbm_test crud"`
	if !errors.Is(err, pgdbm.ErrPending) || !strings.Contains(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	must(t, admin.Migrate(t.Context(), "m", twoFiles()))
	must(t, user.Migrate(t.Context(), "m", twoFiles()))
	must(t, user.Migrations("m", twoFiles(), nil).Verify(t.Context()))
}

// Many start at once, each with a pool of its own; one migrates, the others wait.
func TestMigrateStampede(t *testing.T) {
	t.Parallel()
	for round := range 3 {
		url := pgtest.URL(t)
		var wg sync.WaitGroup
		errs := make([]error, 16)
		applied := make([]int, 16)
		for i := range errs {
			wg.Go(func() {
				p, err := pgdbm.Open(t.Context(), pgdbm.Config{URL: url, MaxConns: 1})
				if err != nil {
					errs[i] = err
					return
				}
				defer p.Close()
				f := twoFiles()
				f["003_slow.sql"] = &fstest.MapFile{Data: []byte("SELECT pg_sleep(0.2); CREATE TABLE {{tables.slow}} ()")}
				done, err := p.Schema("s").Migrations("m", f, nil).Up(t.Context())
				applied[i], errs[i] = len(done), err
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		total := 0
		for _, n := range applied {
			total += n
		}
		if total != 3 {
			t.Errorf("round %d: %d files were applied in all, want 3", round, total)
		}
	}
}

// A reader that holds its lock must not be stalled for longer than the short
// lock timeout by the ALTER waiting behind it, nor must others.
func TestMigrateGivesUpOnALockedTable(t *testing.T) {
	t.Parallel()
	p := open(t, pgdbm.Config{})
	db := table(t, p, "s")
	tx, err := db.Begin(t.Context(), nil, nil)
	must(t, err)
	defer tx.Rollback(t.Context())
	value[int](t, tx, "SELECT count(*)::int FROM {{tables.items}}")
	pid := value[int](t, tx, "SELECT pg_backend_pid()")

	m := db.Migrations("m", files("001_alter.sql", "ALTER TABLE {{tables.items}} ADD COLUMN x int"), &pgdbm.MigrateOptions{LockWait: time.Millisecond})
	_, err = m.Up(t.Context())
	if !errors.Is(err, pgdbm.ErrLocked) || !pgdbm.IsTimeout(err) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d ", pid)) {
		t.Fatalf("got %v, want pid %d named", err, pid)
	}

	result := make(chan error, 1)
	go func() {
		result <- db.Migrate(t.Context(), "m", files("001_alter.sql", "ALTER TABLE {{tables.items}} ADD COLUMN x int"))
	}()
	waiting := "SELECT count(*)::int FROM pg_locks WHERE NOT granted AND relation = '{{tables.items}}'::regclass"
	for value[int](t, db, waiting) == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	start := time.Now()
	value[int](t, db, "SELECT count(*)::int FROM {{tables.items}}")
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("a reader behind the migration waited for %v", took)
	}
	must(t, tx.Rollback(t.Context()))
	must(t, <-result)
}

func TestMigrateCancelled(t *testing.T) {
	t.Parallel()
	p := open(t, pgdbm.Config{})
	db := p.Schema("s")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := db.Migrate(ctx, "m", files("001_slow.sql", "CREATE TABLE {{tables.t}} (); SELECT pg_sleep(30)"))
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 5*time.Second {
		t.Fatalf("after %v: %v", time.Since(start), err)
	}
	must(t, db.Migrate(t.Context(), "m", files("001_slow.sql", "CREATE TABLE {{tables.t}} ()")))
}
