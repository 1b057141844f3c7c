package postgres

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// released are the migrations of the package with changes: name, content, name, content …; without content a file is left out.
func released(t *testing.T, changes ...string) fs.FS {
	t.Helper()
	files := fstest.MapFS{}
	entries, err := fs.ReadDir(migrationFiles, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		content, err := fs.ReadFile(migrationFiles, "migrations/"+e.Name())
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = &fstest.MapFile{Data: content}
	}
	for i := 0; i < len(changes); i += 2 {
		delete(files, changes[i])
		if changes[i+1] != "" {
			files[changes[i]] = &fstest.MapFile{Data: []byte(changes[i+1])}
		}
	}
	return files
}

// startWith is New of a program with these migrations.
func startWith(t *testing.T, db *pgdbm.DB, files fs.FS, o Options) (*Store, error) {
	t.Helper()
	return start(t.Context(), db, db.Migrations(Module, files, &pgdbm.MigrateOptions{Hint: hint}), o)
}

// state is what the database holds outside the system's schemas, and which transaction made it.
func state(t *testing.T, pool *pgdbm.Pool) []string {
	t.Helper()
	rows, err := pool.Pgx().Query(t.Context(), `WITH schemas AS (SELECT oid, nspname, xmin FROM pg_namespace WHERE nspname ~ '^files')
		SELECT concat_ws(' ', nspname, xmin) FROM schemas
		UNION ALL SELECT concat_ws(' ', nspname, relname, c.xmin) FROM pg_class c JOIN schemas n ON n.oid = relnamespace
		ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A program whose migrations do not go together with each other or with what was applied does not start, says why, and leaves the
// schema to the right program, which goes on from where it was.
func TestMigrationFiles(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	pool, err := pgdbm.Open(t.Context(), pgdbm.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	const (
		first  = "001_documents.sql"
		second = "005_notes.sql"
		third  = "006_marks.sql"
		notes  = "CREATE TABLE {{tables.notes}} (id int);\n"
		marks  = "CREATE TABLE {{tables.marks}} (id int);\n"
	)
	content, err := fs.ReadFile(migrationFiles, "migrations/"+first)
	if err != nil {
		t.Fatal(err)
	}
	original := string(content)
	// The second statement of the first file is broken: its table names a type that does not exist.
	broken := strings.Replace(original, "CREATE INDEX document_owners_merge_due ON", "CREATE INDEX document_owners_merge_due OFF", 1)
	line := 1 + strings.Count(broken[:strings.Index(broken, "OFF")], "\n")
	today := time.Now().UTC().Format(time.DateOnly)

	for i, c := range []struct {
		name   string
		before fs.FS // what was applied; nil for nothing
		files  fs.FS
		want   error
		text   string
		right  fs.FS // what starts afterwards
	}{
		{"edited", released(t), released(t, first, original+"-- now"), pgdbm.ErrChanged, first +
			": an applied migration was changed since it was applied on " + today + "; restore it and put the change into a new file", released(t)},
		{"missing", released(t, second, notes), released(t, third, marks), pgdbm.ErrMissing,
			"version 5 (notes): an applied migration has no file", released(t, second, notes, third, marks)},
		{"newer", released(t, second, notes), released(t), pgdbm.ErrNewer,
			"version 5 (notes): the schema is newer than this program: it knows versions up to 4", released(t, second, notes)},
		{"duplicated", nil, released(t, "1_notes.sql", notes), pgdbm.ErrFiles,
			"invalid migration files: 1_notes.sql: version 1 is already used by " + first, released(t)},
		{"duplicated later", released(t), released(t, second, notes, "5_marks.sql", marks), pgdbm.ErrFiles,
			"invalid migration files: 5_marks.sql: version 5 is already used by " + second, released(t)},
		{"out of order", released(t, third, marks), released(t, second, notes, third, marks), pgdbm.ErrOutOfOrder,
			second + ": a pending migration lies below an applied one; give it a version above 6", released(t, third, marks)},
		{"broken in its second statement", nil, released(t, first, broken), nil,
			fmt.Sprintf(`%s:%d:40: ERROR: syntax error at or near "OFF" (SQLSTATE 42601)`, first, line), released(t)},
		{"a later one broken in its second statement", released(t), released(t, second, notes+"SELECT 1 / 0;"), nil,
			second + ":2:1: ERROR: division by zero (SQLSTATE 22012)", released(t, second, notes)},
		{"none at all", nil, fstest.MapFS{}, pgdbm.ErrFiles,
			"invalid migration files: the folder has no migration (NNN_name.sql)", released(t)},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := pool.Schema(fmt.Sprint("files ", i))
			if c.before != nil {
				if _, err := startWith(t, db, c.before, Options{}); err != nil {
					t.Fatal(err)
				}
			}
			before := state(t, pool)
			store, err := startWith(t, db, c.files, Options{})
			if store != nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.text) {
				t.Errorf("got  %v\nwant %v, %q", err, c.want, c.text)
			}
			if diff := cmp.Diff(before, state(t, pool)); diff != "" {
				t.Errorf("the database was changed (-before +after):\n%s", diff)
			}
			if store, err = startWith(t, db, c.right, Options{}); err != nil {
				t.Fatal(err)
			}
			mem, err := llmemory.New(store, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := mem.Owner("o").Add(t.Context(), llmemory.Document{Content: "usable"}); err != nil {
				t.Error(err)
			}
		})
	}
}

// A role that may read and write is told what to run when a new version of the program brings a migration, and works on when an
// administrator has run it.
func TestPendingForAGrantedRole(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	admin, err := pgdbm.Open(t.Context(), pgdbm.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	const schema = `Select "x"`
	if _, err := New(t.Context(), admin.Schema(schema), nil); err != nil {
		t.Fatal(err)
	}
	grants := strings.ReplaceAll(Grants(schema, "role"), `"role"`, "{role}")
	granted := pgtest.Role(t, url, pgtest.RoleOptions{Grants: []string{grants}})
	config, err := pgx.ParseConfig(granted)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgdbm.Open(t.Context(), pgdbm.Config{URL: granted})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	newer := released(t, "005_notes.sql", "CREATE TABLE {{tables.notes}} (id int)")

	const then = "run `llmemory migrate up` as a role that may, then `llmemory migrate grants --role ROLE` prints what this role needs"
	for require, want := range map[bool]string{
		true: `migrations are pending in schema "Select \"x\"": 005_notes.sql: ` + then,
		false: `pgdbm: migrate aword_memory: migrations are pending: 005_notes.sql; role "` + config.User +
			`" may not create tables in the schema; an administrator can run: GRANT USAGE, CREATE ON SCHEMA "Select ""x""" TO "` + config.User + `"; ` + then,
	} {
		store, err := startWith(t, pool.Schema(schema), newer, Options{RequireMigrated: require})
		if store != nil || !errors.Is(err, pgdbm.ErrPending) || err.Error() != want {
			t.Errorf("required %t:\ngot  %v\nwant %s", require, err, want)
		}
	}
	if _, err := startWith(t, admin.Schema(schema), newer, Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := startWith(t, pool.Schema(schema), newer, Options{RequireMigrated: true}); err != nil {
		t.Error(err)
	}
}
