package embedding_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/llmemory/llmemory/embedding"
)

// letters is a model of a kind: it counts vowels, and refuses shouting.
func letters() embedding.Embedder {
	return embedding.Func{
		Info: embedding.ModelInfo{Provider: "example", Model: "letters", Dimensions: 5},
		Call: func(_ context.Context, _ embedding.Role, texts []string) ([][]float32, error) {
			vectors := make([][]float32, len(texts))
			for i, text := range texts {
				if strings.HasSuffix(text, "!") {
					return nil, &embedding.Error{Kind: embedding.InvalidInput, Provider: "example", Message: "no shouting"}
				}
				for _, vowel := range "aeiou" {
					vectors[i] = append(vectors[i], float32(strings.Count(text, string(vowel))))
				}
			}
			return vectors, nil
		},
	}
}

func Example() {
	e := embedding.Recommended(letters(), nil)
	vectors, err := e.Embed(context.Background(), embedding.Query, []string{"project timeline"})
	fmt.Println(vectors, err)
	// Output: [[0 3 2 1 0]] <nil>
}

// One text that is refused does not harm the others.
func ExampleEach() {
	e := embedding.Recommended(letters(), nil)
	texts := []string{"a cat", "a dog", "fire!", "a mouse"}
	for first, results := range embedding.Each(context.Background(), e, embedding.Passage, texts) {
		for i, r := range results {
			fmt.Println(texts[first+i], r.Vector, r.Err)
		}
	}
	// Output:
	// a cat [2 0 0 0 0] <nil>
	// a dog [1 0 0 1 0] <nil>
	// fire! [] example: invalid input: no shouting
	// a mouse [1 1 0 1 1] <nil>
}

func ExampleModelInfo_Identity() {
	small := embedding.ModelInfo{Provider: "openai", Model: "text-embedding-3-small", Dimensions: 1536, Normalized: true}
	fmt.Println(small.Identity())
	small.Dimensions = 512
	fmt.Println(small.Identity())
	// Output:
	// openai/text-embedding-3-small/1536/ebdd8f13f8d7
	// openai/text-embedding-3-small/512/d79f1fccd750
}

// Questions are asked again and again; each owner's answers are kept apart.
func ExampleReuse() {
	calls := 0
	counted := embedding.Func{Call: func(context.Context, embedding.Role, []string) ([][]float32, error) {
		calls++
		return [][]float32{{1, 2}}, nil
	}}
	cache := embedding.NewLRU(1000)
	for _, owner := range []string{"app-1", "app-1", "app-2"} {
		e := embedding.Reuse(counted, cache, owner)
		if _, err := e.Embed(context.Background(), embedding.Query, []string{"project timeline"}); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(calls, "calls")
	// Output: 2 calls
}
