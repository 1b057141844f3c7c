package local_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/local"
	"github.com/llmemory/llmemory/internal/nn"
)

// open opens a model and closes it at the end of the test.
func open(t *testing.T, dir string, c *local.Config) *local.Embedder {
	t.Helper()
	e, err := local.Open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// vector is written as 32-bit floats in base64.
type vector []float32

func (v *vector) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return err
	}
	*v = make(vector, len(raw)/4)
	for i := range *v {
		(*v)[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[i*4:]))
	}
	return nil
}

// reference is what the reference library gives (testdata/generate.py).
type reference struct {
	Cases []struct {
		Text   string
		Vector vector
	}
	Passages []vector
}

func readReference(t *testing.T, path string) (texts []string, vectors, passages []vector) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r reference
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Cases) < 15 {
		t.Fatalf("%d cases, want at least 15", len(r.Cases))
	}
	for _, c := range r.Cases {
		texts, vectors = append(texts, c.Text), append(vectors, c.Vector)
	}
	return texts, vectors, r.Passages
}

// compare checks that vectors have a cosine of nearly 1 with what they should be, and its length.
func compare(t *testing.T, texts []string, got [][]float32, want []vector) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d vectors, want %d", len(got), len(want))
	}
	for i := range got {
		if len(got[i]) != len(want[i]) {
			t.Fatalf("%d dimensions, want %d", len(got[i]), len(want[i]))
		}
		var dot, a, b float64
		for j, x := range got[i] {
			x, y := float64(x), float64(want[i][j])
			dot, a, b = dot+x*y, a+x*x, b+y*y
		}
		if cosine := dot / math.Sqrt(a*b); !(cosine > 0.999999) {
			t.Errorf("%.40q: cosine %v with the reference", texts[i], cosine)
		}
		if ratio := math.Sqrt(a / b); !(math.Abs(ratio-1) < 1e-4) {
			t.Errorf("%.40q: length is %v of that of the reference", texts[i], ratio)
		}
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	for _, kernel := range nn.Kernels() {
		for _, model := range []string{"bert", "prompts", "static", "mapped", "sentence"} {
			t.Run(model+"/"+kernel.Name(), func(t *testing.T) {
				t.Parallel()
				texts, queries, passages := readReference(t, "testdata/"+model+".json")
				if passages == nil {
					passages = queries
				}
				for _, threads := range []int{1, 3} {
					e := open(t, "testdata/"+model, &local.Config{Kernel: kernel.Name(), Threads: threads})
					got, err := e.Embed(t.Context(), embedding.Query, texts)
					if err != nil {
						t.Fatal(err)
					}
					compare(t, texts, got, queries)
					if got, err = e.Embed(t.Context(), embedding.Passage, texts); err != nil {
						t.Fatal(err)
					}
					compare(t, texts, got, passages)
					// Alone, a text gets the same vector, on as many threads as there are.
					for i, text := range texts {
						one, err := e.Embed(t.Context(), embedding.Query, []string{text})
						if err != nil {
							t.Fatal(err)
						}
						compare(t, texts[i:], one, queries[i:i+1])
					}
				}
			})
		}
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	for dir, want := range map[string]embedding.ModelInfo{
		"bert": {Provider: "local", Model: "bert", Dimensions: 32, Normalized: true, MaxTokens: 48},
		"prompts": {
			Provider: "local", Model: "prompts", Dimensions: 192, MaxTokens: 64, QueryPrefix: "ferry: ", PassagePrefix: "bridge! ",
		},
		"static": {Provider: "local", Model: "static", Dimensions: 24, Normalized: true, MaxTokens: 32},
		"mapped": {Provider: "local", Model: "mapped", Dimensions: 24, MaxTokens: 512},
	} {
		if diff := cmp.Diff(want, open(t, "testdata/"+dir, nil).Model()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", dir, diff)
		}
	}
	e := open(t, "testdata/bert", &local.Config{Name: "other", MaxTokens: 5, QueryPrefix: "query: "})
	want := embedding.ModelInfo{Provider: "local", Model: "other", Dimensions: 32, Normalized: true, MaxTokens: 5, QueryPrefix: "query: "}
	if diff := cmp.Diff(want, e.Model()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got, want := e.CountTokens(embedding.Passage, "the ferry leaves at six"), 7; got != want {
		t.Errorf("CountTokens = %d, want %d", got, want)
	}
	// What is cut off makes no difference.
	got, err := e.Embed(t.Context(), embedding.Passage, []string{"the ferry leaves at six", "the ferry leaves on monday", "the ferry"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got[0], got[1]); diff != "" {
		t.Errorf("texts with the same first 3 tokens differ: %s", diff)
	}
	if cmp.Equal(got[0], got[2]) {
		t.Error("texts of 3 and 2 tokens have the same vector")
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	e := open(t, "testdata/bert", nil)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := e.Embed(t.Context(), embedding.Query, []string{"ferry"})
	var failed *embedding.Error
	if !errors.As(err, &failed) || failed.Kind != embedding.Refused || !errors.Is(err, os.ErrClosed) {
		t.Errorf("error %v after Close", err)
	}
	if err := e.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if got := e.CountTokens(embedding.Query, "the ferry"); got != 2 {
		t.Errorf("CountTokens = %d after Close, want 2", got)
	}
}

func TestNoWords(t *testing.T) {
	t.Parallel()
	// A static model has no vector for a text of which it knows nothing; Each finds that text.
	e := open(t, "testdata/static", nil)
	var bad []int
	for first, results := range embedding.Each(t.Context(), e, embedding.Passage, []string{"ferry", "", "bridge", "\x00"}) {
		for i, r := range results {
			if r.Err != nil {
				bad = append(bad, first+i)
				if !embedding.InputFault(r.Err) {
					t.Errorf("error %v", r.Err)
				}
			}
		}
	}
	if diff := cmp.Diff([]int{1, 3}, bad); diff != "" {
		t.Errorf("texts without a vector, -want +got:\n%s", diff)
	}
	if got, err := e.Embed(t.Context(), embedding.Query, nil); got != nil || err != nil {
		t.Errorf("no texts: %v, %v", got, err)
	}
}

func TestContext(t *testing.T) {
	t.Parallel()
	e := open(t, "testdata/bert", &local.Config{Threads: 2})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Embed(ctx, embedding.Query, []string{"ferry"}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	// A list that would take minutes ends soon after its deadline, and a question beside it does not wait for it.
	texts := make([]string, 200_000)
	for i := range texts {
		texts[i] = strings.Repeat("the ferry leaves at six ", 9)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := e.Embed(ctx, embedding.Passage, texts)
		done <- err
	}()
	if _, err := e.Embed(t.Context(), embedding.Query, []string{"ferry"}); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want context.DeadlineExceeded", err)
	}
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	texts, want, _ := readReference(t, "testdata/bert.json")
	e := open(t, "testdata/bert", &local.Config{Threads: 3})
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for n := range 10 {
				lo := (i + n) % (len(texts) - 3)
				got, err := e.Embed(t.Context(), embedding.Query, texts[lo:lo+1+n%3])
				if err != nil {
					t.Error(err)
					return
				}
				compare(t, texts[lo:], got, want[lo:lo+1+n%3])
			}
		})
	}
	callers.Wait()
}

// copied returns a copy of a model's folder with some files replaced, or removed if their new text is "-".
func copied(t *testing.T, from string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if text == "-" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	config, weights, tokenizer := read("bert/config.json"), read("bert/model.safetensors"), read("bert/tokenizer.json")
	replace := func(text, from, to string) string {
		if !strings.Contains(text, from) {
			t.Fatalf("no %q to replace", from)
		}
		return strings.Replace(text, from, to, 1)
	}
	const modules = `[{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}%s]`
	for name, c := range map[string]struct {
		from  string
		files map[string]string
		kind  string // of the error: missing, unsupported, format
		says  string
	}{
		"no config":            {"bert", map[string]string{"config.json": "-"}, "missing", "config.json"},
		"no weights":           {"bert", map[string]string{"model.safetensors": "-"}, "missing", "model.safetensors"},
		"no tokenizer":         {"bert", map[string]string{"tokenizer.json": "-"}, "missing", "tokenizer.json nor vocab.txt"},
		"no pooling":           {"bert", map[string]string{"1_Pooling/config.json": "-"}, "missing", "1_Pooling"},
		"XLM-R":                {"bert", map[string]string{"config.json": replace(config, `"bert"`, `"xlm-roberta"`)}, "unsupported", `model_type "xlm-roberta"`},
		"activation":           {"bert", map[string]string{"config.json": replace(config, `"gelu"`, `"silu"`)}, "unsupported", `hidden_act "silu"`},
		"relative positions":   {"bert", map[string]string{"config.json": replace(config, `{`, `{"position_embedding_type": "relative_key",`)}, "unsupported", "relative_key"},
		"heads":                {"bert", map[string]string{"config.json": replace(config, `"num_attention_heads": 4`, `"num_attention_heads": 5`)}, "format", "no multiple"},
		"layers":               {"bert", map[string]string{"config.json": replace(config, `"num_hidden_layers": 2`, `"num_hidden_layers": 3`)}, "format", `no tensor "encoder.layer.2`},
		"endless layers":       {"bert", map[string]string{"config.json": replace(config, `"num_hidden_layers": 2`, `"num_hidden_layers": 2000000`)}, "format", "num_hidden_layers"},
		"wide":                 {"bert", map[string]string{"config.json": replace(config, `"intermediate_size": 80`, `"intermediate_size": 100000`)}, "format", "shape"},
		"vocabulary":           {"bert", map[string]string{"config.json": replace(config, `"vocab_size": 195`, `"vocab_size": 100`)}, "format", "shape"},
		"config is no JSON":    {"bert", map[string]string{"config.json": "<html>"}, "format", "config.json"},
		"modules is no JSON":   {"bert", map[string]string{"modules.json": "<html>"}, "format", "modules.json"},
		"tokenizer is no JSON": {"bert", map[string]string{"tokenizer.json": tokenizer[:500]}, "format", "tokenizer"},
		"unigram":              {"bert", map[string]string{"tokenizer.json": `{"model": {"type": "Unigram"}}`}, "unsupported", "Unigram"},
		"more tokens than rows": {
			"bert", map[string]string{"tokenizer.json": replace(tokenizer, `"the": 5`, `"the": 999`)}, "format", "the tokenizer has 1000 tokens, the model 195",
		},
		"empty weights":     {"bert", map[string]string{"model.safetensors": ""}, "format", "too short"},
		"cut off":           {"bert", map[string]string{"model.safetensors": weights[:len(weights)-1]}, "format", "cut off"},
		"cut off in header": {"bert", map[string]string{"model.safetensors": weights[:100]}, "format", "cut off"},
		"LFS pointer":       {"bert", map[string]string{"model.safetensors": "version https://git-lfs.github.com/spec/v1\n"}, "format", "not in the format"},
		"dense":             {"bert", map[string]string{"modules.json": fmt.Sprintf(modules, `, {"path": "2_Dense", "type": "x.Dense"}`)}, "unsupported", "x.Dense"},
		"no pooling module": {"bert", map[string]string{"modules.json": `[{"path": "", "type": "x.Transformer"}]`}, "unsupported", "without Pooling"},
		"way out":           {"bert", map[string]string{"modules.json": strings.Replace(fmt.Sprintf(modules, ""), "1_Pooling", "../../etc", 1)}, "format", "leads out"},
		"pooling":           {"bert", map[string]string{"1_Pooling/config.json": `{"pooling_mode": "median"}`}, "unsupported", "median"},
		"none of poolings":  {"bert", map[string]string{"1_Pooling/config.json": `{}`}, "format", "no pooling"},
		"without prompt":    {"bert", map[string]string{"1_Pooling/config.json": `{"pooling_mode": "mean", "include_prompt": false}`}, "unsupported", "include_prompt"},
		"static unigram":    {"static", map[string]string{"tokenizer.json": `{"model": {"type": "Unigram"}}`}, "unsupported", "Unigram"},
		"static of BERT":    {"static", map[string]string{"model.safetensors": weights}, "format", `neither a tensor "embeddings"`},
		"static limit":      {"static", map[string]string{"config.json": `{"model_type": "model2vec", "max_length": -1}`}, "format", "max_length is -1"},
		"static dense":      {"static", map[string]string{"modules.json": `[{"path": ".", "type": "x.StaticEmbedding"}, {"path": "1", "type": "x.Dense"}]`}, "unsupported", "x.Dense"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := local.Open(copied(t, "testdata/"+c.from, c.files), nil)
			if err == nil {
				e.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q does not say %q", err, c.says)
			}
			var unsupported *local.UnsupportedError
			var format *local.FormatError
			kind := map[string]bool{
				"missing": errors.Is(err, fs.ErrNotExist), "unsupported": errors.As(err, &unsupported), "format": errors.As(err, &format),
			}
			for k, is := range kind {
				if is != (k == c.kind) {
					t.Errorf("error %q (%T) is %s: %t", err, err, k, is)
				}
			}
		})
	}
	if _, err := local.Open("testdata/nowhere", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v for a folder that is not there", err)
	}
	if _, err := local.Open("testdata/bert.json", nil); err == nil {
		t.Error("a file opened as a folder")
	}
	if _, err := local.Open("testdata/bert", &local.Config{Kernel: "abacus"}); err == nil || !strings.Contains(err.Error(), "portable") {
		t.Errorf("error %v for a kernel there is not, want one that names those there are", err)
	}
	if _, err := local.Open("testdata/bert", &local.Config{Threads: -1}); err == nil {
		t.Error("negative threads accepted")
	}
}

// TestOldFiles opens a model as older versions of the libraries wrote it.
func TestOldFiles(t *testing.T) {
	t.Parallel()
	texts, want, _ := readReference(t, "testdata/bert.json")
	dir := copied(t, "testdata/bert", map[string]string{
		"1_Pooling/config.json":     `{"word_embedding_dimension": 32, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}`,
		"sentence_bert_config.json": `{"max_seq_length": 48, "do_lower_case": false}`,
		"tokenizer_config.json":     `{"do_lower_case": true, "model_max_length": 64}`,
	})
	got, err := open(t, dir, nil).Embed(t.Context(), embedding.Passage, texts)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, texts, got, want)

	// Without modules.json the reference takes the mean, and leaves its length.
	dir = copied(t, "testdata/bert", map[string]string{"modules.json": "-", "tokenizer_config.json": "{}"})
	plain := open(t, dir, nil)
	if info := plain.Model(); info.Normalized || info.MaxTokens != 64 {
		t.Errorf("model %+v", info)
	}
	if got, err = plain.Embed(t.Context(), embedding.Passage, texts[:9]); err != nil {
		t.Fatal(err)
	}
	for _, v := range got {
		nn.Normalize(v)
	}
	compare(t, texts, got, want[:9])
}
