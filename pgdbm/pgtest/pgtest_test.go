package pgtest_test

import (
	"context"
	"os"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

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
