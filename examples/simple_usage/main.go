// Command simple_usage stores two documents and searches them: the smallest use of llmemory, for a program that shares its database
// with nobody.
//
//	DATABASE_URL=postgres://localhost/myapp go run ./examples/simple_usage
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/store/postgres"
)

func main() {
	if err := run(context.Background(), os.Getenv("DATABASE_URL"), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string, out io.Writer) error {
	// Open connects, and makes or updates the tables in the connection's default schema.
	store, err := postgres.Open(ctx, url, nil)
	if err != nil {
		return err
	}
	defer store.Close()

	mem, err := llmemory.New(store, nil)
	if err != nil {
		return err
	}

	// Everything belongs to an owner, the tenant. Owners see nothing of each other.
	app := mem.Owner("app-1")

	for _, doc := range []llmemory.Document{
		{
			OriginID: "user-123",
			Name:     "plan.txt",
			Type:     llmemory.Text,
			Content:  "The project starts in March. The first release is planned for the end of June.",
		},
		{
			OriginID: "user-123",
			Name:     "kitchen.txt",
			Type:     llmemory.Text,
			Content:  "The coffee machine is cleaned on Fridays.",
			Metadata: map[string]any{"floor": 3},
		},
	} {
		added, err := app.Add(ctx, doc)
		if err != nil {
			return fmt.Errorf("add %s: %w", doc.Name, err)
		}
		fmt.Fprintf(out, "%s: %s\n", doc.Name, added.Status)
	}

	found, err := app.Search(ctx, "when is the first release?", nil)
	if err != nil {
		return err
	}
	for _, hit := range found.Hits {
		fmt.Fprintf(out, "%.2f %s: %s\n", hit.Score, hit.Document.Name, hit.Snippet)
	}
	return nil
}
