package evaluate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/eval"
	"github.com/llmemory/llmemory/internal/evaluate"
)

// collection has a document of many subjects, one sentence about each, and a question about every tenth.
func collection(t *testing.T) *eval.Excerpts {
	t.Helper()
	var text, questions strings.Builder
	text.WriteString("# Names\n\n")
	for i := range 200 {
		word := fmt.Sprintf("w%03dx", i)
		sentence := fmt.Sprintf("Whoever asked about %s was told that %s is the name of something in the long list of things.", word, word)
		if i%10 == 0 {
			start := text.Len() // all of it is ASCII
			fmt.Fprintf(&questions, `{"_id":"%d","doc":"names","question":"%s?","spans":[[%d,%d]],"text":[%q]}`+"\n", i, word, start, start+len(sentence), sentence)
		}
		text.WriteString(sentence + "\n\n")
	}
	e, err := eval.OpenExcerpts(fstest.MapFS{"docs/names.md": {Data: []byte(text.String())}, "gold_spans.jsonl": {Data: []byte(questions.String())}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestChunking(t *testing.T) {
	t.Parallel()
	model := embedtest.New(embedtest.Config{})
	strategies := append(evaluate.Strategies(model), evaluate.Strategy{Name: "all in one", Chunker: chunk.Func{Name: "one",
		Cut: func(_ context.Context, t chunk.Text) ([]chunk.Piece, error) {
			return []chunk.Piece{{End: len(strings.TrimSpace(t.Content)), Parent: -1}}, nil
		}}})
	report, err := evaluate.Chunking(t.Context(), evaluate.ChunkingConfig{Excerpts: collection(t), Name: "names", Embedder: model, Strategies: strategies, Top: 1})
	if err != nil {
		t.Fatal(err)
	}
	if report.Dataset != "names" || report.Questions != 20 || report.Documents != 1 || report.Top != 1 || len(report.Strategies) != len(strategies) {
		t.Fatalf("report %+v", report)
	}
	for i, s := range report.Strategies {
		whole := i == len(report.Strategies)-1
		switch {
		case s.Name != strategies[i].Name || s.Signature != strategies[i].Chunker.Signature():
			t.Errorf("strategy %d is %+v", i, s)
		case whole && (s.Chunks != 1 || s.Recall != 1 || s.Precision > .01):
			t.Errorf("all in one: %+v", s)
		case !whole && (s.Recall < .5 || s.Recall > 1 || s.Precision < .02 || s.Precision > .3 || s.IoU > s.Precision || s.Tokens < 50 || s.Chunks < 5):
			t.Errorf("%+v", s)
		}
	}
	broken := errors.New("broken")
	_, err = evaluate.Chunking(t.Context(), evaluate.ChunkingConfig{Excerpts: collection(t), Embedder: failing{model, broken}, Strategies: strategies})
	if !errors.Is(err, broken) {
		t.Errorf("error %v of a broken embedder", err)
	}
}

type failing struct {
	embedding.Embedder
	err error
}

func (f failing) Embed(context.Context, embedding.Role, []string) ([][]float32, error) {
	return nil, f.err
}
