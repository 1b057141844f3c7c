package pgtest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

func Example() {
	// In a program this is a function of a _test.go file, and
	//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
	// stands beside it.
	_ = func(t *testing.T) {
		conn, err := pgx.Connect(t.Context(), pgtest.URL(t))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(t.Context(), "CREATE TABLE notes (text text)"); err != nil {
			t.Error(err)
		}
	}
}

func ExampleClone() {
	migrate := func(ctx context.Context, url string) error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, "CREATE TABLE notes (text text)")
		return err
	}
	_ = func(t *testing.T) {
		url := pgtest.Clone(t, "notes, version 1", migrate)
		_ = url // a database of this test's own, with an empty table notes
	}
}
