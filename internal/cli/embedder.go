package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/openai"
)

// embedder returns the embedder that the settings name, nil for none.
func (a *app) embedder() (embedding.Embedder, error) {
	name, model, _ := strings.Cut(a.opts.embedder, ":")
	key := a.env("OPENAI_API_KEY")
	if name == "" && key != "" {
		name = "openai"
	}
	switch name {
	case "", "none":
		return nil, nil
	case "openai":
		if key == "" && a.opts.baseURL == "" {
			return nil, usagef("--embedder openai needs OPENAI_API_KEY, or --openai-base-url for a server of your own")
		}
		config := openai.Config{
			APIKey: openai.NewSecret(key), BaseURL: a.opts.baseURL, Model: model, Dimensions: a.opts.dimensions,
		}
		if err := config.Validate(); err != nil {
			return nil, &usageError{fmt.Errorf("embedder: %w", err)}
		}
		e := openai.New(config)
		return embedding.Recommended(e, nil), nil
	}
	return nil, usagef("--embedder %q: must be openai, openai:MODEL or none", a.opts.embedder)
}

// openEmbedding is open for commands that make no sense without an embedder.
func (a *app) openEmbedding(ctx context.Context) (*llmemory.Memory, func(), error) {
	if e, err := a.embedder(); err != nil || e == nil {
		if err == nil {
			err = usagef("no embedder: set OPENAI_API_KEY, or name one with --embedder and --openai-base-url")
		}
		return nil, nil, err
	}
	return a.open(ctx)
}
