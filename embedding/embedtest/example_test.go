package embedtest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
)

// An embedder for tests: no network, and the same vectors each time.
func ExampleNew() {
	e := embedtest.New(embedtest.Config{Dimensions: 64})
	vectors, err := e.Embed(context.Background(), embedding.Passage, []string{"project timeline"})
	fmt.Println(len(vectors[0]), embedtest.Matches(vectors[0], embedtest.DefaultModel, "project timeline"), err)
	// Output: 64 <nil> <nil>
}

// A server for whatever speaks the protocol of OpenAI, here with a fault in its first answer.
func ExampleNewServer() {
	server := embedtest.NewServer(embedtest.ServerConfig{})
	defer server.Close()
	server.Fail(embedtest.Next(embedtest.ServerError))

	for range 2 {
		resp, err := http.Post(server.URL+"/embeddings", "application/json", strings.NewReader(`{"model":"text-embedding-3-small","input":"hello"}`))
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Println(resp.Status)
	}
	fmt.Printf("%+v\n", server.Stats())
	// Output:
	// 500 Internal Server Error
	// 200 OK
	// {Calls:2 Served:1 Inputs:1 Tokens:1}
}
