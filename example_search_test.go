package llmemory_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/store/postgres"
)

func Example() {
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

	app := mem.Owner("app-1")
	added, err := app.Add(ctx, llmemory.Document{
		OriginID: "user-123",
		Name:     "plan.txt",
		Type:     llmemory.Text,
		Content:  "The first release is planned for the end of June.",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(added.Status)

	found, err := app.Search(ctx, "when is the release planned?", nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, hit := range found.Hits {
		fmt.Printf("%s: %s\n", hit.Document.Name, hit.Text)
	}

	// Output:
	// created
	// plan.txt: The first release is planned for the end of June.
}

func ExampleOwner_Search() {
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

	birds := mem.Owner("birds")
	for name, content := range map[string]string{
		"heron":  "The grey heron eats fish. It stands in shallow water and waits.",
		"dipper": "The dipper walks under water. It finds insects and small fish there.",
		"swift":  "The swift sleeps in the air.",
	} {
		if _, err := birds.Add(ctx, llmemory.Document{Name: name, Content: content}); err != nil {
			log.Fatal(err)
		}
	}

	for _, query := range []string{
		"which birds eat fish?", // words are ORed and ranked
		`"small fish"`,          // a quoted phrase must occur
		"fish -insects",         // a word after a minus must not
	} {
		found, err := birds.Search(ctx, query, &llmemory.SearchOptions{Mode: llmemory.ByText, Limit: 5})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(query)
		for _, hit := range found.Hits {
			fmt.Println("  ", hit.Document.Name)
		}
	}

	// Output:
	// which birds eat fish?
	//    heron
	//    dipper
	// "small fish"
	//    dipper
	// fish -insects
	//    heron
}
