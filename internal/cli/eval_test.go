package cli

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/eval"
	"github.com/llmemory/llmemory/eval/smallset"
	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/modelfile"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// Text search finds in the small collection what it found when the expected scores were stored. A change that is meant to move them
// runs the test with UPDATE_SCORES=1 and says why in its commit.
func TestSmallsetScores(t *testing.T) {
	t.Parallel()
	const expected = "testdata/smallset.json"
	c, err := eval.Open(smallset.FS())
	if err != nil {
		t.Fatal(err)
	}
	a := &app{
		stdin: strings.NewReader(""), stdout: &output{w: io.Discard}, stderr: io.Discard, env: env(""), logger: slog.New(slog.DiscardHandler),
		extractor: extract.Plain{}, findModel: modelfile.Find, opts: options{db: pgtest.URL(t), mode: "text", limit: 1000},
	}
	memory, closer, err := a.open(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer closer()
	report, scores, err := a.evaluate(t.Context(), memory, c, "smallset", &progress{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{"total": report.Metrics.NDCG10}
	queries := map[string]int{}
	for _, q := range scores.PerQuery {
		language, _, _ := strings.Cut(q.Query, "/")
		queries[language]++
		got[language] += q.NDCG10
	}
	for language, n := range queries {
		got[language] /= float64(n)
	}
	if os.Getenv("UPDATE_SCORES") != "" {
		raw, err := json.MarshalIndent(map[string]any{"ndcg@10": got}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(expected, append(raw, '\n'), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(expected)
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		NDCG10 map[string]float64 `json:"ndcg@10"`
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if len(want.NDCG10) != 4 {
		t.Errorf("%s has %d scores, want en, de, es and total", expected, len(want.NDCG10))
	}
	for name, score := range want.NDCG10 {
		if math.Abs(got[name]-score) > 0.0005 {
			t.Errorf("%s: nDCG@10 %.4f, want %.4f", name, got[name], score)
		}
	}
}

// Ways to cut documents are measured with an embedder, and without one the program says how to get it.
func TestEvalChunking(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"docs/a.txt":       "The tide comes in twice a day. Nobody knows who counted.",
		"gold_spans.jsonl": `{"_id":"1","doc":"a","question":"How often?","spans":[[0,30]],"text":["The tide comes in twice a day."]}` + "\n",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	server := embedtest.NewServer(embedtest.ServerConfig{Models: map[string]int{"small": 64}})
	t.Cleanup(server.Close)
	code, stdout, stderr := run(t, "", "eval", "--chunking", "--openai-base-url", server.URL, "--embedder", "openai:small", "--json", dir)
	var report eval.ChunkingReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v: %s%s", code, err, stdout, stderr)
	}
	if len(report.Strategies) < 7 || report.Embedder != "openai:small" || report.Strategies[0].Recall != 1 || report.Strategies[0].Chunks != 1 {
		t.Errorf("report %+v", report)
	}
	if code, _, stderr := run(t, "", "eval", "--chunking", "--embedder", "none", dir); code != 2 || !strings.Contains(stderr, "models pull") {
		t.Errorf("without an embedder: exit code %d, %s", code, stderr)
	}
	if code, _, stderr := run(t, "", "eval", "--chunking", t.TempDir()); code != 1 || !strings.Contains(stderr, "docs") {
		t.Errorf("an empty folder: exit code %d, %s", code, stderr)
	}
}
