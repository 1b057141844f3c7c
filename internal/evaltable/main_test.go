package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/eval"
)

type noModel struct{ embedding.Embedder }

func (noModel) Model() embedding.ModelInfo { return embedding.ModelInfo{Model: "m"} }

// fake is a table as if measured, with numbers that are easy to follow.
func fake() *table {
	t := &table{embedder: noModel{}, stores: []opened{{name: "A"}}, weights: []float64{0.2, 0.4}}
	for _, r := range []struct {
		name                       string
		text, vector, hybrid, a, b float64
	}{{"one", 0.5, 0.4, 0.6, 0.51, 0.6}, {"two", 0.3, 0.7, 0.7, 0.8, 0.7}, {"three", 0.9, 0.9, 0.9, 0.95, 0.9}} {
		metrics := func(v float64) eval.Metrics { return eval.Metrics{NDCG10: v, Recall100: v / 2} }
		t.rows = append(t.rows, row{
			name: r.name, documents: 3, queries: 2, weights: map[float64]float64{0.2: r.a, 0.4: r.b},
			stores: map[string]map[llmemory.Mode]eval.Metrics{"A": {
				llmemory.ByText: metrics(r.text), llmemory.ByVector: metrics(r.vector), llmemory.Hybrid: metrics(r.hybrid),
			}},
		})
	}
	return t
}

func TestEvaluation(t *testing.T) {
	t.Parallel()
	got := fake().evaluation()
	for _, want := range []string{
		"| one | 3 | 2 | A | 0.5000 | 0.4000 | 0.6000 | +0.1000 | 0.2500 | 0.2000 | 0.3000 |\n",
		"| two | 3 | 2 | A | 0.3000 | 0.7000 | 0.7000 | +0.0000 | 0.1500 | 0.3500 | 0.3500 |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestChoice(t *testing.T) {
	t.Parallel()
	got := fake().choice()
	for _, want := range []string{
		"| text weight | one | two | three | mean | least |\n|--:|--:|--:|--:|--:|--:|\n",
		"| 0.2 | +0.0100 | +0.1000 | +0.0500 | +0.0533 | +0.0100 |\n",
		"| 0.4 | +0.1000 | +0.0000 | +0.0000 | +0.0333 | +0.0000 |\n",
		// Without one, 0.2 gains 0.15 and 0.4 nothing; without two, 0.2 gains 0.06 and 0.4 gains 0.1.
		"| one | 0.2 | +0.0100 | +0.1000 |\n",
		"| two | 0.4 | +0.0000 | +0.0000 |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	got, err := replace([]byte("a\n<!-- x -->\nold\n<!-- /x -->\nb\n"), "x", "new\n")
	if diff := cmp.Diff("a\n<!-- x -->\n\nnew\n\n<!-- /x -->\nb\n", string(got)); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	for _, broken := range []string{"", "<!-- x -->\n", "<!-- /x -->\n<!-- x -->\n"} {
		if _, err := replace([]byte(broken), "x", ""); err == nil {
			t.Errorf("%q is no error", broken)
		}
	}
}

func TestKeptVectors(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "vectors")
	first := &kept{vectors: map[embedding.Key][]float32{}}
	if err := first.load(path); err != nil {
		t.Fatal(err)
	}
	first.Put(t.Context(), []embedding.Key{{1}, {2}}, [][]float32{{0.5}, {1, 2}})
	if err := first.save(path); err != nil {
		t.Fatal(err)
	}
	second := &kept{}
	if err := second.load(path); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([][]float32{{1, 2}, nil, {0.5}}, second.Get(t.Context(), []embedding.Key{{2}, {3}, {1}})); d != "" {
		t.Error(d)
	}
}
