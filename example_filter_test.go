package llmemory_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/store/postgres"
)

// A Where narrows searches, lists and deletes alike.
func ExampleWhere() {
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

	team := mem.Owner("team")
	for _, doc := range []llmemory.Document{
		{OriginID: "ann", Name: "draft", Type: llmemory.Report, Content: "The budget of the bridge.",
			Date:     time.Date(2024, 5, 2, 0, 0, 0, 0, time.UTC),
			Metadata: map[string]any{"state": "draft", "author": map[string]any{"name": "Ann"}}},
		{OriginID: "ann", Name: "final", Type: llmemory.Report, Content: "The budget of the bridge, approved.",
			Date:     time.Date(2024, 7, 9, 0, 0, 0, 0, time.UTC),
			Metadata: map[string]any{"state": "final", "pages": 12, "tags": []string{"money", "bridge"}}},
		{OriginID: "bob", Name: "mail", Type: llmemory.Email, Content: "Who knows the budget?"},
	} {
		if _, err := team.Add(ctx, doc); err != nil {
			log.Fatal(err)
		}
	}

	fromJSON, err := llmemory.ParseFilter([]byte(`{"state": {"$in": ["draft", "final"]}, "author.name": "Ann"}`))
	if err != nil {
		log.Fatal(err)
	}
	for _, where := range []llmemory.Where{
		{Origins: []string{"bob", "eve"}},
		{Types: []llmemory.Type{llmemory.Report}, From: time.Date(2024, 7, 1, 0, 0, 0, 0, time.UTC)},
		{Metadata: llmemory.And(llmemory.Meta("pages").Gte(10), llmemory.Meta("tags").Contains("money"))},
		{Metadata: llmemory.Not(llmemory.Meta("state").Exists(true))},
		{Metadata: fromJSON},
	} {
		found, err := team.Search(ctx, "budget", &llmemory.SearchOptions{Where: where})
		if err != nil {
			log.Fatal(err)
		}
		for _, hit := range found.Hits {
			fmt.Println(hit.Document.Name)
		}
	}

	// Output:
	// mail
	// final
	// final
	// mail
	// draft
}
