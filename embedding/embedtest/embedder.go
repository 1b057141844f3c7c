package embedtest

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/llmemory/llmemory/embedding"
)

// DefaultModel is the model of an [Embedder] that is not told another.
const DefaultModel = "hashed-words"

// Config says what a test embedder is like. The zero value is ready to use.
type Config struct {
	// Model names the space: embedders of different models give different vectors. Defaults to [DefaultModel].
	Model string
	// Dimensions defaults to 64.
	Dimensions int
	// QueryPrefix and PassagePrefix are put before the texts.
	QueryPrefix, PassagePrefix string
	// PricePerMillionTokens in US dollars.
	PricePerMillionTokens float64
	// Delay is how long each call takes.
	Delay time.Duration
	// Fail, if given, is asked before each call is answered; what it returns is what the call fails with. It may wait, panic or
	// end the process. It must be safe for concurrent use.
	Fail func(ctx context.Context, call Call) error
}

// Call is one call of an embedder or a server.
type Call struct {
	N     int // counts from 1
	Model string
	Role  embedding.Role // empty at a server, which is not told
	Texts []string       // without prefixes at an embedder, with them at a server
}

// Embedder is an embedder that runs in the process and knows no meaning. See [Vector].
type Embedder struct {
	config Config

	mu     sync.Mutex
	calls  int
	inputs int
	seen   map[string]int
}

// New returns an embedder.
func New(c Config) *Embedder {
	c.Model = cmp.Or(c.Model, DefaultModel)
	c.Dimensions = cmp.Or(c.Dimensions, 64)
	return &Embedder{config: c, seen: map[string]int{}}
}

// Model implements [embedding.Embedder].
func (e *Embedder) Model() embedding.ModelInfo {
	return embedding.ModelInfo{
		Provider: "test", Model: e.config.Model, Dimensions: e.config.Dimensions, Normalized: true,
		QueryPrefix: e.config.QueryPrefix, PassagePrefix: e.config.PassagePrefix,
		PricePerMillionTokens: e.config.PricePerMillionTokens,
	}
}

// Embed implements [embedding.Embedder].
func (e *Embedder) Embed(ctx context.Context, role embedding.Role, texts []string) ([][]float32, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	e.mu.Lock()
	e.calls++
	call := Call{N: e.calls, Model: e.config.Model, Role: role, Texts: slices.Clone(texts)}
	e.mu.Unlock()
	if e.config.Delay > 0 {
		timer := time.NewTimer(e.config.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if e.config.Fail != nil {
		if err := e.config.Fail(ctx, call); err != nil {
			return nil, err
		}
	}
	prefix := e.Model().Prefix(role)
	vectors := make([][]float32, len(texts))
	for i, text := range texts {
		vectors[i] = Vector(e.config.Model, prefix+text, e.config.Dimensions)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.inputs += len(texts)
	for _, text := range texts {
		e.seen[text]++
	}
	return vectors, nil
}

// Calls returns how many calls there were, failed ones included.
func (e *Embedder) Calls() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls
}

// Inputs returns how many texts were embedded.
func (e *Embedder) Inputs() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.inputs
}

// Times returns how often a text was embedded.
func (e *Embedder) Times(text string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen[text]
}
