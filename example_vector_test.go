package llmemory_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/embedding/openai"
	"github.com/llmemory/llmemory/store/postgres"
)

// Search by words and by meaning. The server here knows no meaning; a real one is OpenAI's, or one of your own.
func ExampleConfig_embedder() {
	ctx := context.Background()
	store, err := postgres.Open(ctx, os.Getenv("DATABASE_URL"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	server := embedtest.NewServer(embedtest.ServerConfig{Models: map[string]int{"small": 64}})
	defer server.Close()

	// Ollama: "http://localhost:11434/v1", "all-minilm". OpenAI: an APIKey and nothing else.
	provider := openai.New(openai.Config{BaseURL: server.URL, Model: "small"})
	mem, err := llmemory.New(store, &llmemory.Config{Embedder: embedding.Recommended(provider, nil)})
	if err != nil {
		log.Fatal(err)
	}
	app := mem.Owner("app-1")
	added, err := app.Add(ctx, llmemory.Document{Name: "plan.txt", Content: "The first release is planned for the end of June."})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(added.Embedded, "embedded,", added.Pending, "waiting")

	found, err := app.Search(ctx, "when is the first release planned?", nil) // hybrid: by words and by meaning
	if err != nil {
		log.Fatal(err)
	}
	hit := found.Hits[0]
	fmt.Println(hit.Document.Name, hit.Scores.Text != nil, hit.Scores.Vector != nil, found.Degraded)
	// Output:
	// 1 embedded, 0 waiting
	// plan.txt true true []
}
