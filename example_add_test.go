package llmemory_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/store/postgres"
)

// A document's identity is its owner, origin and key; the key is the name unless it is set. IfExists says what happens when there is
// such a document already.
func ExampleOwner_Add_ifExists() {
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

	shop := mem.Owner("shop")
	for _, doc := range []llmemory.Document{
		{Name: "prices", Content: "Tea costs three euros."},
		{Name: "prices", Content: "Tea costs three euros."},
		{Name: "prices", Content: "Tea costs four euros."},
		{Name: "prices", Content: "Tea costs five euros.", IfExists: llmemory.Skip},
		{Name: "prices", Content: "Tea costs six euros.", IfExists: llmemory.Refuse},
	} {
		added, err := shop.Add(ctx, doc)
		if errors.Is(err, llmemory.ErrConflict) {
			fmt.Println("refused:", doc.Content)
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		text, err := shop.Text(ctx, added.DocumentID)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", added.Status, text)
	}

	// Output:
	// created: Tea costs three euros.
	// unchanged: Tea costs three euros.
	// updated: Tea costs four euros.
	// unchanged: Tea costs four euros.
	// refused: Tea costs six euros.
}

// Many documents are stored in few transactions. One that is refused does not stop its neighbours.
func ExampleOwner_AddMany() {
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

	results, err := mem.Owner("library").AddMany(ctx, []llmemory.Document{
		{Name: "one", Content: "The first book."},
		{Name: "two", Content: ""},
		{Name: "three", Content: "The third book.", Type: "papyrus"},
		{Name: "four", Content: "The fourth book."},
	})
	if err != nil {
		log.Fatal(err) // the call as a whole was stopped; repeating it is safe
	}
	for _, r := range results {
		var invalid *llmemory.InvalidError
		if errors.As(r.Err, &invalid) {
			fmt.Println(r.Status, "because of its", invalid.Field)
			continue
		}
		fmt.Println(r.Status)
	}

	// Output:
	// created
	// failed because of its content
	// failed because of its type
	// created
}
