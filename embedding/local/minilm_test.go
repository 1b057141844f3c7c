package local_test

import (
	"os"
	"testing"
	"time"

	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/local"
	"github.com/llmemory/llmemory/internal/modelfile"
	"github.com/llmemory/llmemory/internal/nn"
	"github.com/llmemory/llmemory/internal/soak"
)

// miniLM returns the folder of the default model, which it pulls if it is not there.
func miniLM(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("LLMEMORY_MODELS")
	if dir == "" {
		var err error
		if dir, err = modelfile.DefaultDir(os.Getenv); err != nil {
			t.Fatal(err)
		}
	}
	m, err := modelfile.Find(modelfile.Default)
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := modelfile.Store{Dir: dir}.Pull(t.Context(), m, &modelfile.Options{
		Note: func(text string) { t.Log(text) },
	})
	if err != nil {
		t.Fatalf("the weights of %s are needed: llmemory models pull %[1]s: %v", m.Name, err)
	}
	return pulled.Path
}

// TestMiniLM compares the vectors of the default model with those of the reference library.
func TestMiniLM(t *testing.T) {
	t.Parallel()
	dir := miniLM(t)
	texts, want, _ := readReference(t, "testdata/minilm.json")
	for i, k := range nn.Kernels() {
		t.Run(k.Name(), func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			e := open(t, dir, &local.Config{Kernel: k.Name()})
			t.Logf("opened in %s", time.Since(start).Round(time.Millisecond))
			if info := e.Model(); info.Model != modelfile.Default || info.Dimensions != 384 || !info.Normalized || info.MaxTokens != 256 {
				t.Errorf("model %+v", info)
			}
			n := len(texts)
			if i > 0 { // slower ones, and slower still under the race detector, get the short texts at the beginning
				n = soak.Pick(8, n)
			}
			got, err := e.Embed(t.Context(), embedding.Passage, texts[:n])
			if err != nil {
				t.Fatal(err)
			}
			compare(t, texts, got, want[:n])
		})
	}
}
