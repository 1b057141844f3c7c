package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Main runs the tests of a package and stops the private server, if one was
// started, before it returns the exit code for os.Exit. m is a *testing.M, or
// whatever wraps one.
func Main(m interface{ Run() int }) int {
	code := m.Run()
	if err := process.close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// AdminURL returns the URL of the test server's maintenance database, with the
// rights to create databases and roles. What a test makes there it must remove.
func AdminURL(tb testing.TB) string {
	tb.Helper()
	if _, err := process.newName(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return process.url
}

// URL creates an empty database on the test server and returns its URL. The
// database is dropped at the end of the test, with whatever connections are
// still open.
func URL(tb testing.TB) string {
	tb.Helper()
	return database(tb, "template0")
}

// database makes a database for one test.
func database(tb testing.TB, template string) string {
	tb.Helper()
	name, err := process.createDatabase(context.Background(), template)
	if err != nil {
		tb.Fatal(err)
	}
	return adopt(tb, name)
}

// adopt ties a database to the test and returns its URL.
func adopt(tb testing.TB, name string) string {
	tb.Helper()
	tb.Cleanup(func() {
		// Not tb.Context(): it is cancelled by now.
		if err := process.dropDatabase(context.Background(), name); err != nil {
			tb.Error(err)
		}
	})
	u, err := withDatabase(process.url, name)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

// Clone returns the URL of a copy of a migrated database. The original, a
// template that no test can reach, is made by migrate the first time anybody
// asks the server for this key; other tests and other processes wait for it. The
// key must change when the result of migrate would: a hash of the migrations is
// a good one. Migrate should close its connections; those left are cut.
//
// The copy is dropped at the end of the test. The template stays: a private
// server takes it along, a given server keeps it for the next run.
func Clone(tb testing.TB, key string, migrate func(ctx context.Context, url string) error) string {
	tb.Helper()
	sum := sha256.Sum256([]byte(key))
	template := templatePrefix + hex.EncodeToString(sum[:12])
	ctx := context.Background()
	for again := true; ; again = false {
		if _, known := process.templates.Load(template); !known {
			if err := makeTemplate(ctx, template, migrate); err != nil {
				tb.Fatal(err)
			}
			process.templates.Store(template, true)
		}
		name, err := process.createDatabase(ctx, template)
		if err == nil {
			return adopt(tb, name)
		}
		var server *pgconn.PgError
		if !again || !errors.As(err, &server) || server.Code != "3D000" {
			tb.Fatal(err)
		}
		process.templates.Delete(template) // somebody dropped it: make it once more
	}
}

// makeTemplate makes the template if it is not there. A database of that name
// becomes a template only when it is complete, so that flag tells an
// interrupted attempt from a finished one.
func makeTemplate(ctx context.Context, template string, migrate func(ctx context.Context, url string) error) (err error) {
	if _, err := process.newName(ctx); err != nil { // the server is up
		return err
	}
	// The lock lives in a connection of its own, so that migrate may take as
	// long as it likes and may itself ask for databases.
	conn, err := pgx.Connect(ctx, process.url)
	if err != nil {
		return fmt.Errorf("pgtest: connect to the test server: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended($1, 0))", template); err != nil {
		return fmt.Errorf("pgtest: wait for the template: %w", err)
	}
	var complete bool
	const find = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datistemplate)"
	if err := conn.QueryRow(ctx, find, template).Scan(&complete); err != nil || complete {
		return err
	}
	for _, sql := range []string{
		"DROP DATABASE IF EXISTS " + quoteName(template) + " WITH (FORCE)",
		"CREATE DATABASE " + quoteName(template) + " TEMPLATE template0",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("pgtest: create the template: %w", err)
		}
	}
	templateURL, err := withDatabase(process.url, template)
	if err != nil {
		return err
	}
	if err := migrate(ctx, templateURL); err != nil {
		return fmt.Errorf("pgtest: migrate the template: %w", err)
	}
	for _, sql := range []string{
		"ALTER DATABASE " + quoteName(template) + " ALLOW_CONNECTIONS false",
		"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '" + template + "'",
		"ALTER DATABASE " + quoteName(template) + " IS_TEMPLATE true",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("pgtest: finish the template: %w", err)
		}
	}
	return nil
}
