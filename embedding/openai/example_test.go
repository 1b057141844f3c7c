package openai_test

import (
	"context"
	"fmt"
	"os"

	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/embedding/openai"
)

// A local server that speaks OpenAI's protocol; here one that is made for tests.
func ExampleNew() {
	server := embedtest.NewServer(embedtest.ServerConfig{Models: map[string]int{"all-minilm": 384}})
	defer server.Close()

	e := embedding.Recommended(openai.New(openai.Config{BaseURL: server.URL, Model: "all-minilm"}), nil)
	vectors, err := e.Embed(context.Background(), embedding.Query, []string{"project timeline"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(vectors[0]), "dimensions,", e.Model().Model)
	// Output: 384 dimensions, all-minilm
}

// One text that a server refuses, and the embedder that finds it.
func Example_poison() {
	server := embedtest.NewServer(embedtest.ServerConfig{Key: "test-key"})
	defer server.Close()
	server.Fail(embedtest.Poison(embedtest.BadRequest, "poison"))

	e := embedding.Recommended(openai.New(openai.Config{
		BaseURL: server.URL, APIKey: openai.NewSecret("test-key"), Dimensions: 256,
	}), nil)
	for i, r := range embedding.EmbedEach(context.Background(), e, embedding.Passage, []string{"apples", "poison", "pears"}) {
		fmt.Println(i, len(r.Vector), r.Err)
	}
	fmt.Println(server.Stats().Inputs, "texts paid for")
	// Output:
	// 0 256 <nil>
	// 1 0 openai: invalid input (status 400): '$.input' is invalid.
	// 2 256 <nil>
	// 2 texts paid for
}

// What to write for whom.
func ExampleConfig() {
	key := openai.NewSecret(os.Getenv("MY_KEY"))

	direct := openai.Config{APIKey: key} // OpenAI, text-embedding-3-small
	ollama := openai.Config{BaseURL: "http://localhost:11434/v1", Model: "all-minilm"}
	tei := openai.Config{BaseURL: "http://localhost:8080/v1", Model: "BAAI/bge-small-en-v1.5"}
	e5 := openai.Config{BaseURL: "http://vllm:8000/v1", Model: "intfloat/multilingual-e5-small", QueryPrefix: "query: ", PassagePrefix: "passage: "}
	azure := openai.Config{
		BaseURL:    "https://NAME.openai.azure.com/openai/deployments/DEPLOYMENT",
		APIVersion: "2024-10-21", KeyHeader: "api-key", APIKey: key,
	}

	for _, c := range []openai.Config{direct, ollama, tei, e5, azure} {
		fmt.Println(openai.New(c).Model().Model, c.Validate())
	}
	// Output:
	// text-embedding-3-small <nil>
	// all-minilm <nil>
	// BAAI/bge-small-en-v1.5 <nil>
	// intfloat/multilingual-e5-small <nil>
	// text-embedding-3-small <nil>
}

// A key cannot be printed by accident.
func ExampleSecret() {
	config := openai.Config{APIKey: openai.NewSecret("sk-123"), Model: "text-embedding-3-large"}
	fmt.Printf("%v %s %+v\n", config.APIKey, config.APIKey, struct{ Key openai.Secret }{config.APIKey})
	// Output: *** *** {Key:***}
}
