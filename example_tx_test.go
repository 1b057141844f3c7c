package llmemory_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/store/postgres"
)

// In a transaction of the host's, a document is remembered exactly if the host's own rows are written.
func ExampleMemory_On() {
	ctx := context.Background()
	pool, err := pgdbm.Open(ctx, pgdbm.Config{URL: os.Getenv("DATABASE_URL")})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Pgx().Exec(ctx, "CREATE TABLE IF NOT EXISTS orders (id int PRIMARY KEY)"); err != nil {
		log.Fatal(err)
	}
	store, err := postgres.New(ctx, pool.Schema("llmemory"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	mem, err := llmemory.New(store, nil)
	if err != nil {
		log.Fatal(err)
	}

	order := func(id int, note string) error {
		return pgx.BeginFunc(ctx, pool.Pgx(), func(tx pgx.Tx) error {
			doc := llmemory.Document{OriginID: "orders", Name: note, Content: note}
			if _, err := mem.On(store.WithTx(tx)).Owner("shop").Add(ctx, doc); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "INSERT INTO orders (id) VALUES ($1)", id)
			return err
		})
	}
	if err := order(1, "green tea, two boxes"); err != nil {
		log.Fatal(err)
	}
	if err := order(1, "black tea, one box"); err != nil { // the id is taken
		fmt.Println("not ordered:", pgdbm.IsUniqueViolation(err))
	}

	found, err := mem.Owner("shop").Search(ctx, "tea", nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, hit := range found.Hits {
		fmt.Println("remembered:", hit.Text)
	}

	// Output:
	// not ordered: true
	// remembered: green tea, two boxes
}

// Errors are told apart by errors.Is and errors.As.
func ExampleInvalidError() {
	ctx := context.Background()
	store, err := postgres.Open(ctx, os.Getenv("DATABASE_URL"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	mem, err := llmemory.New(store, nil)
	if err != nil {
		log.Fatal(err)
	}

	_, err = mem.Owner("team").Search(ctx, "", nil)
	fmt.Println(errors.Is(err, llmemory.ErrInvalid), err)

	_, err = mem.Owner("team").Get(ctx, "00000000-0000-8000-8000-000000000000")
	fmt.Println(errors.Is(err, llmemory.ErrNotFound))

	store.Close()
	_, err = mem.Owner("team").Stats(ctx)
	fmt.Println(errors.Is(err, llmemory.ErrClosed))

	// Output:
	// true invalid query: must not be empty
	// true
	// true
}
