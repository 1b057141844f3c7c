package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/openai"
	"github.com/llmemory/llmemory/internal/modelfile"
)

// embedderName is the kind of embedder that the settings name, and its model: "local" if the default model's files are there, else
// "openai" if there is a key, else "none".
func (a *app) embedderName() (kind, model string) {
	if a.opts.embedder != "" {
		kind, model, _ = strings.Cut(a.opts.embedder, ":")
		return kind, model
	}
	if m, err := a.findModel(modelfile.Default); err == nil {
		if store, err := a.modelStore(); err == nil && store.Has(m) {
			return "local", ""
		}
	}
	if a.env("OPENAI_API_KEY") != "" {
		return "openai", ""
	}
	return "none", ""
}

// embedder returns the embedder that the settings name, nil for none. It is made once: it learns its model's dimensions.
func (a *app) embedder() (embedding.Embedder, error) {
	if a.model != nil {
		return a.model, nil
	}
	kind, model := a.embedderName()
	switch kind {
	case "none":
		return nil, nil
	case "local":
		e, err := a.localEmbedder(model)
		if err != nil {
			return nil, err
		}
		a.model = embedding.Batch(&counted{e, a}, embedding.BatchOptions{}) // vectors are stored as they come
		return a.model, nil
	case "openai":
		key := a.env("OPENAI_API_KEY")
		if key == "" && a.opts.baseURL == "" {
			return nil, usagef("--embedder openai needs OPENAI_API_KEY, or --openai-base-url for a server of your own")
		}
		config := openai.Config{
			APIKey: openai.NewSecret(key), BaseURL: a.opts.baseURL, Model: model, Dimensions: a.opts.dimensions,
		}
		if err := config.Validate(); err != nil {
			return nil, &usageError{fmt.Errorf("embedder: %w", err)}
		}
		a.model = embedding.Recommended(&counted{openai.New(config), a}, nil)
		return a.model, nil
	}
	return nil, usagef("--embedder %q: must be local, local:MODEL, openai, openai:MODEL or none", a.opts.embedder)
}

// counted tells how many passages have been embedded.
type counted struct {
	embedding.Embedder
	app *app
}

// Unwrap returns the embedder itself.
func (c *counted) Unwrap() embedding.Embedder { return c.Embedder }

// Embed implements [embedding.Embedder].
func (c *counted) Embed(ctx context.Context, role embedding.Role, texts []string) ([][]float32, error) {
	vectors, err := c.Embedder.Embed(ctx, role, texts)
	if err == nil && role == embedding.Passage && c.app.onEmbedded != nil {
		c.app.onEmbedded(len(texts))
	}
	return vectors, err
}

// modelName names a model as --embedder does.
func modelName(m embedding.ModelInfo) string { return m.Provider + ":" + m.Model }

// explained adds to what is missing from an answer what a user of the program can do about it.
func (a *app) explained(degraded string) string {
	if !strings.HasPrefix(degraded, "vector: ") {
		return degraded
	}
	if e, err := a.embedder(); err != nil || e != nil {
		return degraded
	}
	if a.opts.embedder == "none" {
		return degraded + " (--mode text asks for no more)"
	}
	return degraded + " (\"llmemory models pull\" fetches a model that runs here; --mode text asks for no more)"
}

// openEmbedding is open for commands that make no sense without an embedder.
func (a *app) openEmbedding(ctx context.Context) (*llmemory.Memory, func(), error) {
	if e, err := a.embedder(); err != nil || e == nil {
		if err == nil {
			err = usagef("no embedder: \"llmemory models pull\" fetches a model that runs here; or name a server with --openai-base-url, or set OPENAI_API_KEY")
		}
		return nil, nil, err
	}
	return a.existing(ctx, true)
}
