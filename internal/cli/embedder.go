package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/openai"
)

// embedder returns the embedder that the settings name, nil for none. It is made once: it learns its model's dimensions.
func (a *app) embedder() (embedding.Embedder, error) {
	if a.model != nil {
		return a.model, nil
	}
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
		a.model = embedding.Recommended(openai.New(config), nil)
		return a.model, nil
	}
	return nil, usagef("--embedder %q: must be openai, openai:MODEL or none", a.opts.embedder)
}

// modelName names a model as --embedder does.
func modelName(m embedding.ModelInfo) string { return m.Provider + ":" + m.Model }

// explained adds to what is missing from an answer what a user of the program can do about it.
func (a *app) explained(degraded string) string {
	if e, err := a.embedder(); err != nil || e != nil || !strings.HasPrefix(degraded, "vector: ") {
		return degraded
	}
	return degraded + " (name one with --embedder, or ask with --mode text)"
}

// openEmbedding is open for commands that make no sense without an embedder.
func (a *app) openEmbedding(ctx context.Context) (*llmemory.Memory, func(), error) {
	if e, err := a.embedder(); err != nil || e == nil {
		if err == nil {
			err = usagef("no embedder: set OPENAI_API_KEY, or name one with --embedder and --openai-base-url")
		}
		return nil, nil, err
	}
	return a.existing(ctx)
}
