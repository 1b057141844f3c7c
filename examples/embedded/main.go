// Command embedded stores documents in a file and finds them by their meaning: no server, no key, nothing to install.
//
//	llmemory models pull # once, for the model
//	go run ./examples/embedded memory.db
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/local"
	"github.com/llmemory/llmemory/store/sqlite"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: embedded FILE")
	}
	model, err := local.Pulled("")
	if errors.Is(err, fs.ErrNotExist) {
		log.Print(err) // then by words
	} else if err != nil {
		log.Fatal(err)
	}
	if err := run(context.Background(), os.Args[1], model, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run needs no model: without one, searches go by words.
func run(ctx context.Context, file, model string, out io.Writer) error {
	// Open makes the file, or the tables in it, if they are not there.
	store, err := sqlite.Open(ctx, file, nil)
	if err != nil {
		return err
	}
	defer store.Close()

	config := &llmemory.Config{}
	if model != "" {
		e, err := local.Open(model, nil)
		if err != nil {
			return err
		}
		defer e.Close()
		// In batches, so that vectors are stored as they come.
		config.Embedder = embedding.Batch(e, embedding.BatchOptions{})
	}
	mem, err := llmemory.New(store, config)
	if err != nil {
		return err
	}

	app := mem.Owner("app-1")
	for name, content := range map[string]string{
		"holiday.txt": "The office is closed between Christmas and New Year.",
		"kitchen.txt": "The coffee machine is cleaned on Fridays.",
	} {
		if _, err := app.Add(ctx, llmemory.Document{Name: name, Content: content}); err != nil {
			return fmt.Errorf("add %s: %w", name, err)
		}
	}

	found, err := app.Search(ctx, "are you open on 25 December?", nil)
	if err != nil {
		return err
	}
	for _, d := range found.Degraded {
		fmt.Fprintln(out, "note:", d)
	}
	for _, hit := range found.Hits {
		fmt.Fprintf(out, "%.2f %s: %s\n", hit.Score, hit.Document.Name, hit.Snippet)
	}
	return nil
}
