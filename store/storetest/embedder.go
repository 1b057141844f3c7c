package storetest

import (
	"context"
	"sync"
	"testing"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
)

// words is an embedder that knows no meaning. It remembers the passages it is given, and fails when it is told to.
type words struct {
	*embedtest.Embedder
	model      string
	dimensions int

	mu    sync.Mutex
	texts []string
	fail  func(role embedding.Role, texts []string) error // nil for never
}

func newWords(model string, dimensions int) *words {
	w := &words{model: model, dimensions: dimensions}
	w.Embedder = embedtest.New(embedtest.Config{Model: model, Dimensions: dimensions, Fail: w.hear})
	return w
}

func (w *words) hear(_ context.Context, c embedtest.Call) error {
	w.mu.Lock()
	if c.Role == embedding.Passage {
		w.texts = append(w.texts, c.Texts...)
	}
	fail := w.fail
	w.mu.Unlock()
	if fail == nil {
		return nil
	}
	return fail(c.Role, c.Texts)
}

// vector returns the vector of a text.
func (w *words) vector(text string) []float32 { return embedtest.Vector(w.model, text, w.dimensions) }

// asked returns the passages embedded since the last call.
func (w *words) asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.texts
	w.texts = nil
	return out
}

func (w *words) failWith(fail func(embedding.Role, []string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = fail
}

// embeddingMemory returns a memory that embeds, on a store.
func embeddingMemory(tb testing.TB, store llmemory.Store, e embedding.Embedder, others ...embedding.Embedder) *llmemory.Memory {
	tb.Helper()
	m, err := llmemory.New(store, &llmemory.Config{
		Chunker: paragraphs(), Logger: logger(tb), Embedder: e, Embedders: others,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}
