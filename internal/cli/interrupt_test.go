package cli

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/modelfile"
	"github.com/llmemory/llmemory/internal/soak"
)

// paid counts the passages whose vectors an embedder has handed over, and interrupts the program around a call.
type paid struct {
	embedding.Embedder
	passages atomic.Int64
	calls    int // until the interrupt
	before   bool
	stop     context.CancelFunc
}

func (p *paid) Embed(ctx context.Context, role embedding.Role, texts []string) ([][]float32, error) {
	p.calls--
	if p.calls == 0 && p.before {
		p.stop()
	}
	vectors, err := p.Embedder.Embed(ctx, role, texts)
	if err == nil && role == embedding.Passage {
		p.passages.Add(int64(len(texts)))
	}
	if p.calls == 0 {
		p.stop()
	}
	return vectors, err
}

// However often it is interrupted, the same command goes on where it was: in the end every document is there once, with its vectors,
// and no passage was embedded twice, but for the one whose parts were partly answered for when a run ended.
func TestAddGoesOn(t *testing.T) {
	t.Parallel()
	const documents = 100
	dir := filepath.Join(t.TempDir(), "docs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	leaves, parts := 0, 0
	for i := range documents {
		var text strings.Builder
		for p := range 3 + i%4 { // a few passages each
			fmt.Fprintf(&text, "# Part %d of %d\n\n%s\n\n", p, i, strings.Repeat(fmt.Sprintf("Sentence %d of document %d. ", p, i), 12))
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("d%03d.md", i)), []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		pieces, err := chunk.Hierarchical{}.Chunk(t.Context(), chunk.Text{Content: text.String(), Type: "markdown"})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pieces {
			if p.Level == 0 {
				leaves++
				parts += p.Parts
			}
		}
	}
	if parts == leaves {
		t.Error("no passage has several parts")
	}
	for seed := range uint64(soak.Pick(1, 100)) {
		random := rand.New(rand.NewPCG(seed, 7))
		file := filepath.Join(t.TempDir(), "memory.db")
		e := &paid{Embedder: embedtest.New(embedtest.Config{})}
		runs, done := 0, false
		for !done {
			if runs++; runs > 200 {
				t.Fatalf("seed %d: it never ends", seed)
			}
			ctx, cancel := context.WithCancel(t.Context())
			e.stop, e.calls, e.before = cancel, 1+random.IntN(5), random.IntN(2) == 0
			stdout := &cancelling{when: "created", cancel: func() {}}
			if random.IntN(4) == 0 {
				stdout.cancel = cancel // between two batches
			}
			var stderr bytes.Buffer
			a := &app{stdin: strings.NewReader(""), stdout: &output{w: stdout}, stderr: &stderr, env: env(file), extractor: extract.Plain{},
				findModel: modelfile.Find, model: embedding.Batch(e, embedding.BatchOptions{MaxInputs: 16})}
			switch code := a.main(ctx, []string{"add", dir}); code {
			case exitOK:
				done = true
			case exitInterrupted:
				if !strings.Contains(stderr.String(), "the same command goes on from there") {
					t.Errorf("seed %d, run %d: %s", seed, runs, stderr.String())
				}
			default:
				t.Fatalf("seed %d, run %d: exit code %d: %s", seed, runs, code, stderr.String())
			}
			cancel()
		}
		code, stdout, _ := run(t, file, "models", "list", "--json")
		if want := fmt.Sprintf(`"vectors":%d,"leaves":%d,"waiting":0,"dead":0`, leaves, leaves); code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("seed %d: after %d runs: %s", seed, runs, stdout)
		}
		if n := int(e.passages.Load()); n < parts || n > parts+(runs-1)*(chunk.MaxParts-1) {
			t.Errorf("seed %d: after %d runs %d texts were embedded, %d passages have %d", seed, runs, n, leaves, parts)
		}
		if code, stdout, _ = run(t, file, "stats", "--json"); code != 0 || !strings.Contains(stdout, fmt.Sprintf(`"documents":%d,`, documents)) {
			t.Errorf("seed %d: %s", seed, stdout)
		}
		if runs < 5 {
			t.Errorf("seed %d: only %d runs", seed, runs)
		}
	}
}
