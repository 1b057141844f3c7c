package pgdbm_test

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		os.Exit(migrateChild(url))
	}
	os.Exit(pgtest.Main(m))
}

// open opens a pool on a fresh database.
func open(t testing.TB, c pgdbm.Config) *pgdbm.Pool {
	t.Helper()
	if c.URL == "" && c.Pgx == nil {
		c.URL = pgtest.URL(t)
	}
	p, err := pgdbm.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// host opens a pool as a host application would, without pgdbm.
func host(t testing.TB, url string, change func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(c)
	}
	p, err := pgxpool.NewWithConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// must fails the test on error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs SQL that must succeed.
func run(t testing.TB, q pgdbm.Querier, sql string, args ...any) {
	t.Helper()
	if _, err := q.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// value reads the one value that sql selects.
func value[T any](t testing.TB, q pgdbm.Querier, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := q.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// table makes a schema with one table, items(id int primary key, name text).
func table(t testing.TB, p *pgdbm.Pool, schema string) *pgdbm.DB {
	t.Helper()
	db := p.Schema(schema)
	run(t, db, "CREATE SCHEMA {{schema}}")
	run(t, db, "CREATE TABLE {{tables.items}} (id int PRIMARY KEY, name text)")
	return db
}
