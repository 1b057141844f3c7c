package local_test

import (
	"context"
	"fmt"

	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/local"
	"github.com/llmemory/llmemory/internal/vec"
)

// A model in a folder; here one that is made for tests and has learned nothing.
func ExampleOpen() {
	model, err := local.Open("testdata/bert", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer model.Close()

	texts := []string{"The ferry leaves at six.", "the FERRY leaves at six", "Berlin"}
	vectors, err := model.Embed(context.Background(), embedding.Passage, texts)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(model.Model().Dimensions, "dimensions")
	fmt.Printf("almost the same text: %t\n", vec.Cosine(vectors[0], vectors[1]) > vec.Cosine(vectors[0], vectors[2]))
	// Output:
	// 32 dimensions
	// almost the same text: true
}
