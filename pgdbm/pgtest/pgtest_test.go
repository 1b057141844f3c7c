package pgtest_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

func TestMain(m *testing.M) {
	if do, ok := children[os.Getenv("PGTEST_CHILD")]; ok {
		os.Exit(do())
	}
	os.Exit(pgtest.Main(m))
}

func connect(tb testing.TB, url string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := conn.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return conn
}

func exec(tb testing.TB, url, sql string) {
	tb.Helper()
	if _, err := connect(tb, url).Exec(tb.Context(), sql); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}

func scan[T any](tb testing.TB, url, sql string, args ...any) T {
	tb.Helper()
	var v T
	if err := connect(tb, url).QueryRow(tb.Context(), sql, args...).Scan(&v); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	return v
}

func databaseExists(tb testing.TB, name string) bool {
	tb.Helper()
	return scan[bool](tb, pgtest.AdminURL(tb), "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name)
}

func TestURLIsEmptyPrivateAndDropped(t *testing.T) {
	t.Parallel()
	var name string
	t.Run("use", func(t *testing.T) {
		a, b := pgtest.URL(t), pgtest.URL(t)
		name = scan[string](t, a, "SELECT current_database()")
		if n := scan[int](t, a, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"); n != 0 {
			t.Errorf("a fresh database has %d relations in public, want 0", n)
		}
		exec(t, a, "CREATE TABLE mine (id int)")
		if scan[bool](t, b, "SELECT to_regclass('mine') IS NOT NULL") {
			t.Error("two calls of URL share a database")
		}
		// A connection that nobody closes must not keep the database alive.
		if _, err := pgx.Connect(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	})
	if databaseExists(t, name) {
		t.Errorf("database %s outlived its test", name)
	}
}

func TestCloneMigratesOnce(t *testing.T) {
	t.Parallel()
	var migrations atomic.Int32
	migrate := func(ctx context.Context, url string) error {
		migrations.Add(1)
		conn, err := pgx.Connect(ctx, url) // left open on purpose: it must not be in the way
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, "CREATE TABLE notes (text text); INSERT INTO notes VALUES ('from the template')")
		return err
	}
	key := "notes " + pgtest.URL(t) // a key nobody else has, on a server that others use too
	t.Run("clones", func(t *testing.T) {
		for i := range 4 {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				url := pgtest.Clone(t, key, migrate)
				if got := scan[string](t, url, "SELECT text FROM notes"); got != "from the template" {
					t.Errorf("cloned row = %q", got)
				}
				exec(t, url, "DELETE FROM notes") // seen by the next clone, were it the template itself
			})
		}
	})
	if n := migrations.Load(); n != 1 {
		t.Errorf("migrate ran %d times, want 1", n)
	}
}

func TestRole(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	exec(t, url, "CREATE TABLE seen (id int); CREATE TABLE hidden (id int)")
	role := pgtest.Role(t, url, pgtest.RoleOptions{Grants: []string{"GRANT SELECT ON seen TO {role}"}})
	if n := scan[int](t, role, "SELECT count(*) FROM seen"); n != 0 {
		t.Errorf("rows = %d", n)
	}
	_, err := connect(t, role).Exec(t.Context(), "SELECT FROM hidden")
	var server *pgconn.PgError
	if !errors.As(err, &server) || server.Code != "42501" {
		t.Errorf("read of a table without a grant: %v, want insufficient_privilege", err)
	}
}

func TestRolePassword(t *testing.T) {
	t.Parallel()
	const password = `a!b@c$d()e*_,/:;=?@ff[]22'\`
	role := pgtest.Role(t, pgtest.URL(t), pgtest.RoleOptions{Password: password})
	scan[string](t, role, "SELECT current_user")

	wrong, err := url.Parse(role)
	if err != nil {
		t.Fatal(err)
	}
	wrong.User = url.UserPassword(wrong.User.Username(), "wrong")
	_, err = pgx.Connect(t.Context(), wrong.String())
	var server *pgconn.PgError
	if !errors.As(err, &server) || server.Code != "28P01" {
		t.Errorf("connect with a wrong password: %v, want invalid_password", err)
	}
}

func TestDump(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	empty := pgtest.Dump(t, url)
	if again := pgtest.Dump(t, url); again != empty {
		t.Errorf("two dumps of an unchanged database differ:\n%s", cmp.Diff(empty, again))
	}
	exec(t, url, "CREATE SCHEMA app; CREATE TABLE app.t (id int)")
	if got := pgtest.Dump(t, url); !strings.Contains(got, "CREATE TABLE app.t") {
		t.Errorf("the dump does not show a new table:\n%s", got)
	}
	if got := pgtest.Dump(t, url, "--exclude-schema=app"); got != empty {
		t.Errorf("outside the excluded schema (-before +after):\n%s", cmp.Diff(empty, got))
	}
}

func TestBouncer(t *testing.T) {
	t.Parallel()
	direct := pgtest.URL(t)
	// No prepared statements: the pooler hands the backend that has them to
	// somebody else.
	through := pgtest.Bouncer(t, direct, pgtest.BouncerOptions{}) + "&default_query_exec_mode=exec"
	const backend = "SELECT pg_backend_pid()"
	if a, b := scan[int](t, through, backend), scan[int](t, through, backend); a != b {
		t.Errorf("two clients were served by backends %d and %d, want a pool of one", a, b)
	}
	// Transaction pooling: a client in a transaction keeps the others waiting.
	holder, waiter := connect(t, through), connect(t, through)
	tx, err := holder.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := waiter.Exec(ctx, "SELECT 1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second client beside an open transaction: %v, want it to wait", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Error(err)
	}

	session := pgtest.Bouncer(t, direct, pgtest.BouncerOptions{Settings: map[string]string{"pool_mode": "session"}})
	first := connect(t, session)
	if _, err := first.Exec(t.Context(), "SET application_name = 'mine'"); err != nil {
		t.Fatal(err)
	}
	var name string
	if err := first.QueryRow(t.Context(), "SHOW application_name").Scan(&name); err != nil || name != "mine" {
		t.Errorf("session pooling: application_name = %q, %v", name, err)
	}
}
