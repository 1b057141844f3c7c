// Command shared_pool runs three services on one connection pool, each in a schema of its own: a document memory, a library that has
// another memory inside, and the application's own users.
//
//	DATABASE_URL=postgres://localhost/myapp go run ./examples/shared_pool
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/llmemory/llmemory"
	processor "github.com/llmemory/llmemory/examples/document_processor"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/store/postgres"
)

func main() {
	if err := run(context.Background(), os.Getenv("DATABASE_URL"), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string, out io.Writer) error {
	// One pool for all: the database sees at most MaxConns connections of this process.
	pool, err := pgdbm.Open(ctx, pgdbm.Config{URL: url, MinConns: 2, MaxConns: 10})
	if err != nil {
		return err
	}
	defer pool.Close()

	// Each service gets a schema and migrates it itself. None closes the pool.
	store, err := postgres.New(ctx, pool.Schema("llmemory"), nil)
	if err != nil {
		return err
	}
	defer store.Close()
	mem, err := llmemory.New(store, nil)
	if err != nil {
		return err
	}
	docs, err := processor.New(ctx, processor.Config{DB: pool.Schema("doc_processor")})
	if err != nil {
		return err
	}
	defer docs.Close()
	users, err := newAuth(ctx, pool.Schema("auth"))
	if err != nil {
		return err
	}

	return demonstrate(ctx, mem, docs, users, out)
}

// demonstrate uses the three services together.
func demonstrate(ctx context.Context, mem *llmemory.Memory, docs *processor.Processor, users *auth, out io.Writer) error {
	if err := users.register(ctx, "ann", "team-1"); err != nil {
		return err
	}
	workspace, err := users.workspace(ctx, "ann")
	if err != nil {
		return err
	}
	note := llmemory.Document{OriginID: "ann", Name: "note", Content: "The bridge is closed on Monday."}
	if _, err := mem.Owner(workspace).Add(ctx, note); err != nil {
		return err
	}
	report := processor.Input{Workspace: workspace, User: "ann", Filename: "report", Content: "Bridges\n\nThe bridge was built in 1901."}
	if _, err := docs.Process(ctx, report); err != nil {
		return err
	}

	// Two memories: each finds its own document only.
	found, err := mem.Owner(workspace).Search(ctx, "bridge", nil)
	if err != nil {
		return err
	}
	for _, hit := range found.Hits {
		fmt.Fprintf(out, "memory: %s\n", hit.Document.Name)
	}
	hits, err := docs.Search(ctx, workspace, "bridge", 10)
	if err != nil {
		return err
	}
	for _, hit := range hits {
		fmt.Fprintf(out, "processor: %s\n", hit.Document.Name)
	}
	return nil
}
