package llmemory_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/contextual"
	"github.com/llmemory/llmemory/llm"
	"github.com/llmemory/llmemory/llm/llmtest"
	"github.com/llmemory/llmemory/llm/openai"
	"github.com/llmemory/llmemory/store/postgres"
)

// Have a language model say of each passage what it is about. The server here says the same of all; a real one is OpenAI's, or one of
// your own.
func ExampleConfig_annotator() {
	ctx := context.Background()
	store, err := postgres.Open(ctx, os.Getenv("DATABASE_URL"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	server := llmtest.NewServer(llmtest.Config{Reply: func(llmtest.Call) string { return "Revenue of Northwind in the third quarter." }})
	defer server.Close()

	// Ollama: "http://localhost:11434/v1", "llama3.2". OpenAI: an APIKey and nothing else.
	provider := openai.New(openai.Config{BaseURL: server.URL + "/v1", Model: "small"})
	model := llm.Budget(llm.Recommended(provider, nil), llm.BudgetOptions{Tokens: 5_000_000})
	mem, err := llmemory.New(store, &llmemory.Config{Annotator: contextual.New(model, nil)})
	if err != nil {
		log.Fatal(err)
	}
	app := mem.Owner("app-2")
	added, err := app.Add(ctx, llmemory.Document{Name: "report.txt", Content: "Its revenue grew by 3 % over the previous quarter."})
	if err != nil {
		log.Fatal(err)
	}
	if errors.Is(added.AnnotateErr, llm.ErrBudget) {
		fmt.Println("a later Add goes on with", added.Unannotated, "passages")
	}
	found, err := app.Search(ctx, "Northwind", nil)
	if err != nil {
		log.Fatal(err)
	}
	hit := found.Hits[0]
	fmt.Println(hit.Context)
	fmt.Println(hit.Text)
	// Output:
	// Revenue of Northwind in the third quarter.
	// Its revenue grew by 3 % over the previous quarter.
}
