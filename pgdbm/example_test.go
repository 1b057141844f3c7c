package pgdbm_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// exampleServer is a database server for the examples. A program has a URL
// instead, such as "postgres://localhost/app".
var exampleServer = sync.OnceValue(func() *pgtest.Server {
	s, err := pgtest.Start(context.Background(), pgtest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	return s // it ends with the process
})

// notesMigrations is usually an embed.FS.
var notesMigrations = fstest.MapFS{
	"001_create_notes.sql": {Data: []byte(`
		CREATE TABLE {{tables.notes}} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text NOT NULL);
		CREATE INDEX notes_text ON {{tables.notes}} (text);`)},
	"002_add_stars.sql": {Data: []byte(`ALTER TABLE {{tables.notes}} ADD COLUMN stars int NOT NULL DEFAULT 0;`)},
}

// An application opens one pool and hands a schema to each of its modules.
func Example() {
	ctx := context.Background()
	pool, err := pgdbm.Open(ctx, pgdbm.Config{URL: exampleServer().URL(), MaxConns: 10})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()

	notes := pool.Schema("notes")
	if err := notes.Migrate(ctx, "notes", notesMigrations); err != nil {
		log.Fatal(err)
	}
	if _, err := notes.Exec(ctx, "INSERT INTO {{tables.notes}} (text) VALUES ($1), ($2)", "milk", "bread"); err != nil {
		log.Fatal(err)
	}
	rows, err := notes.Query(ctx, "SELECT text FROM {{tables.notes}} ORDER BY text")
	if err != nil {
		log.Fatal(err)
	}
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	fmt.Println(texts, err)
	// Output: [bread milk] <nil>
}

func ExampleDB_Render() {
	pool := pgdbm.Wrap(nil, nil) // rendering needs no connection
	sql, err := pool.Schema(`Select "x"`).Render("SELECT * FROM {{tables.order}} JOIN {{tables.auth.users}} USING (id)")
	fmt.Println(sql, err)
	_, err = pool.Schema("app").Render("SELECT * FROM {{table.order}}")
	fmt.Println(err)
	// Output:
	// SELECT * FROM "Select ""x"""."order" JOIN "auth"."users" USING (id) <nil>
	// pgdbm: bad SQL template: line 1, column 15: unknown tag {{table.order}}
}

// BEGIN travels with the first batch and COMMIT with the last: this transaction
// waits for the server twice.
func ExampleDB_Begin() {
	ctx := context.Background()
	var cost pgdbm.Counter
	pool, err := pgdbm.Open(ctx, pgdbm.Config{URL: exampleServer().URL(), Tracer: &cost})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	db := pool.Schema("begin")
	if err := db.Migrate(ctx, "notes", notesMigrations); err != nil {
		log.Fatal(err)
	}
	cost.Reset()

	var id int64
	var first, last pgdbm.Batch
	first.Queue("INSERT INTO {{tables.notes}} (text) VALUES ($1) RETURNING id", "eggs").
		Row(func(row pgx.Row) error { return row.Scan(&id) })
	tx, err := db.Begin(ctx, &pgdbm.TxOptions{Isolation: pgdbm.RepeatableRead}, &first)
	if err != nil {
		log.Fatal(err)
	}
	last.Queue("UPDATE {{tables.notes}} SET stars = 5 WHERE id = $1", id)
	if err := tx.Commit(ctx, &last); err != nil {
		log.Fatal(err)
	}
	fmt.Println(cost.Statements(), "statements,", cost.RoundTrips(), "round trips")
	// Output: 4 statements, 2 round trips
}

func ExampleDB_InTx() {
	ctx := context.Background()
	pool, err := pgdbm.Open(ctx, pgdbm.Config{URL: exampleServer().URL()})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	db := pool.Schema("intx")
	if err := db.Migrate(ctx, "notes", notesMigrations); err != nil {
		log.Fatal(err)
	}
	tooMany := errors.New("too many notes")
	err = db.InTx(ctx, &pgdbm.TxOptions{Isolation: pgdbm.Serializable, Retries: 3}, func(tx *pgdbm.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO {{tables.notes}} (text) VALUES ('one too many')"); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRow(ctx, "SELECT count(*)::int FROM {{tables.notes}}").Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return tooMany // rolls back
		}
		return nil
	})
	fmt.Println(errors.Is(err, tooMany))
	// Output: true
}

// A library is used inside a host that has a pool, and a transaction, of its
// own: what the library writes commits or vanishes with the host's work.
func ExampleDB_WithTx() {
	ctx := context.Background()
	hostPool, err := pgxpool.New(ctx, exampleServer().URL())
	if err != nil {
		log.Fatal(err)
	}
	defer hostPool.Close()

	// In the library:
	db := pgdbm.Wrap(hostPool, nil).Schema("library")
	if err := db.Migrate(ctx, "library", notesMigrations); err != nil {
		log.Fatal(err)
	}
	addNote := func(q pgdbm.Querier, text string) error {
		_, err := q.Exec(ctx, "INSERT INTO {{tables.notes}} (text) VALUES ($1)", text)
		return err
	}

	// In the host:
	hostTx, err := hostPool.Begin(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := addNote(db.WithTx(hostTx), "never mind"); err != nil {
		log.Fatal(err)
	}
	if err := hostTx.Rollback(ctx); err != nil {
		log.Fatal(err)
	}
	var n int
	err = db.QueryRow(ctx, "SELECT count(*)::int FROM {{tables.notes}}").Scan(&n)
	fmt.Println(n, err)
	// Output: 0 <nil>
}

func ExampleMigrator() {
	ctx := context.Background()
	pool, err := pgdbm.Open(ctx, pgdbm.Config{URL: exampleServer().URL()})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	m := pool.Schema("migrator").Migrations("notes", notesMigrations, &pgdbm.MigrateOptions{Hint: "run: app migrate up"})
	if _, err := m.UpTo(ctx, 1); err != nil {
		log.Fatal(err)
	}
	status, err := m.Status(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range status {
		fmt.Println(s.Version, s.Name, s.State)
	}
	fmt.Println(m.Verify(ctx))
	// Output:
	// 1 create_notes applied
	// 2 add_stars pending
	// pgdbm: migrate notes: migrations are pending: 002_add_stars.sql; run: app migrate up
}
