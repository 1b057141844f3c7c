package embedtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
)

func cosine(a, b []float32) float64 {
	var dot, x, y float64
	for i := range a {
		dot += float64(a[i]) * float64(b[i])
		x += float64(a[i]) * float64(a[i])
		y += float64(b[i]) * float64(b[i])
	}
	return dot / math.Sqrt(x*y)
}

func TestVector(t *testing.T) {
	t.Parallel()
	for _, dim := range []int{1, 2, 3, 7, 31, 32, 33, 64, 384, 1536, 5000} {
		for _, text := range []string{"", " ", "a", "one two three", "漢字 かな", "!!!", strings.Repeat("many words ", 500), "\xff"} {
			v := embedtest.Vector("m", text, dim)
			if err := embedding.Check([][]float32{v}, 1, dim); err != nil {
				t.Errorf("%d dimensions, %.20q: %v", dim, text, err)
			}
			if c := cosine(v, v); math.Abs(c-1) > 1e-6 {
				t.Errorf("cosine to itself %v", c)
			}
			var norm float64
			for _, x := range v {
				norm += float64(x) * float64(x)
			}
			if math.Abs(norm-1) > 1e-5 {
				t.Errorf("%d dimensions, %.20q: length² %v", dim, text, norm)
			}
			if dim >= 32 && embedtest.MarkOf(v) != embedtest.Mark(text) {
				t.Errorf("%d dimensions, %.20q: mark %x, want %x", dim, text, embedtest.MarkOf(v), embedtest.Mark(text))
			}
			if err := embedtest.Matches(v, "m", text); err != nil {
				t.Error(err)
			}
		}
	}
}

// The vector of a text never changes: tests may compare with stored ones.
func TestVectorIsStable(t *testing.T) {
	t.Parallel()
	const want = "[0.037 -0.017 -0.043 -0.0033 -0.05 0.0033 -0.0033 -0.0033]"
	if got := fmt.Sprintf("%.2g", embedtest.Vector("m", "stable", 32)[:8]); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := embedtest.Mark("stable"); got != 0x7780715d {
		t.Errorf("mark %#x", got)
	}
	v := embedtest.Vector("m", "two words", 33)
	got := ""
	for i, x := range v[8:] {
		if x != 0 {
			got += fmt.Sprintf("%d:%.2f ", i, x)
		}
	}
	if want := "8:0.50 10:0.50 12:-0.50 21:0.50 "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestNearness(t *testing.T) {
	t.Parallel()
	v := func(text string) []float32 { return embedtest.Vector("m", text, 384) }
	same := cosine(v("The quick brown fox"), v("the QUICK, brown fox!"))
	close := cosine(v("the quick brown fox jumps"), v("the quick brown fox sleeps"))
	far := cosine(v("the quick brown fox jumps"), v("profit rose in every quarter"))
	synonym := cosine(v("car"), v("automobile"))
	if same < 0.95 || close < 0.6 || close > 0.95 || math.Abs(far) > 0.3 || math.Abs(synonym) > 0.3 {
		t.Errorf("same words %.2f, most words %.2f, other words %.2f, synonyms %.2f", same, close, far, synonym)
	}
	if c := cosine(v("the quick brown fox"), embedtest.Vector("other", "the quick brown fox", 384)); math.Abs(c) > 0.3 {
		t.Errorf("two models have one space: %.2f", c)
	}
}

// Any other text is told apart, even one that differs in case or marks only, and so are vectors of other models.
func TestMatches(t *testing.T) {
	t.Parallel()
	v := embedtest.Vector("m", "a text", 64)
	for _, other := range []string{"A text", "a text.", "text a", "", "b"} {
		if embedtest.Matches(v, "m", other) == nil || embedtest.MarkOf(v) == embedtest.Mark(other) {
			t.Errorf("%q is taken for another text", other)
		}
	}
	if embedtest.Matches(v, "n", "a text") == nil {
		t.Error("another model's vector passes")
	}
	rounded := make([]float32, len(v))
	for i, x := range v { // to 11 bits, as halfvec
		frac, exp := math.Frexp(float64(x))
		rounded[i] = float32(math.Ldexp(math.Round(frac*2048)/2048, exp))
	}
	if err := embedtest.Matches(rounded, "m", "a text"); err != nil || embedtest.MarkOf(rounded) != embedtest.Mark("a text") {
		t.Errorf("after rounding: %v", err)
	}
	v[20] = float32(math.NaN())
	if embedtest.Matches(v, "m", "a text") == nil {
		t.Error("NaN passes")
	}
}

func TestEmbedder(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	e := embedtest.New(embedtest.Config{Dimensions: 40, PassagePrefix: "p: ", Fail: func(_ context.Context, c embedtest.Call) error {
		if c.N == 2 && c.Role == embedding.Passage && len(c.Texts) == 2 {
			return boom
		}
		return nil
	}})
	vectors, err := e.Embed(t.Context(), embedding.Passage, []string{"a", "b"})
	if err != nil || embedtest.Matches(vectors[1], embedtest.DefaultModel, "p: b") != nil {
		t.Errorf("%v, %v", vectors, err)
	}
	if _, err := e.Embed(t.Context(), embedding.Passage, []string{"a", "c"}); !errors.Is(err, boom) {
		t.Error(err)
	}
	if vectors, err = e.Embed(t.Context(), embedding.Query, []string{"b"}); err != nil || embedtest.Matches(vectors[0], embedtest.DefaultModel, "b") != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = e.Embed(ctx, embedding.Query, []string{"b"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if e.Calls() != 4 || e.Inputs() != 3 || e.Times("b") != 2 || e.Times("c") != 0 {
		t.Errorf("%d calls, %d inputs, b %d times, c %d times", e.Calls(), e.Inputs(), e.Times("b"), e.Times("c"))
	}
	want := embedding.ModelInfo{Provider: "test", Model: "hashed-words", Dimensions: 64, Normalized: true}
	if got := embedtest.New(embedtest.Config{}).Model(); got != want {
		t.Errorf("Model() = %+v", got)
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	e := embedtest.New(embedtest.Config{Delay: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := e.Embed(ctx, embedding.Query, []string{"a"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// The server says what OpenAI's says.
func TestServer(t *testing.T) {
	t.Parallel()
	s := embedtest.NewServer(embedtest.ServerConfig{Key: "right", MaxInputs: 3, MaxTokens: 20, MaxRequestTokens: 30})
	defer s.Close()
	words := strings.Repeat("word ", 15)
	for _, tt := range []struct {
		method, path, key, body string
		status                  int
		want                    string
	}{
		{"POST", "/embeddings", "right", `{"model":"text-embedding-3-small","input":"x","dimensions":2}`, 200, `"usage":{"prompt_tokens":1,"total_tokens":1}`},
		{"POST", "/embeddings", "right", `{"model":"text-embedding-3-small","input":["x","y"],"dimensions":1}`, 200, `{"object":"embedding","index":1,"embedding":[`},
		{"POST", "/embeddings", "right", `{"model":"text-embedding-3-small","input":["x"],"dimensions":1,"encoding_format":"base64"}`, 200, `"embedding":"`},
		{"POST", "/embeddings", "wrong", `{"model":"text-embedding-3-small","input":"x"}`, 401, `"code":"invalid_api_key"`},
		{"POST", "/embeddings", "", `{"model":"text-embedding-3-small","input":"x"}`, 401, `"code":"invalid_api_key"`},
		{"POST", "/embeddings", "right", `{"model":"m","input":"x"}`, 404, `"code":"model_not_found"`},
		{"POST", "/embeddings", "right", `{"model":"text-embedding-3-small","input":""}`, 400, `'$.input' is invalid`},
		{"POST", "/embeddings", "right", `{"model":"text-embedding-3-small","input":["a",""]}`, 400, `'$.input' is invalid`},
		{"POST", "/embeddings", "right", `{"model":"text-embedding-3-small","input":[]}`, 400, `'$.input' is invalid`},
		{"POST", "/embeddings", "right", `{"model":"text-embedding-3-small","input":7}`, 400, `'$.input' is invalid`},
		{"POST", "/embeddings", "right", `{"model":"text-embedding-3-small"}`, 400, `'$.input' is invalid`},
		{"POST", "/embeddings", "right", `{`, 400, `could not parse the JSON body`},
		{"POST", "/embeddings", "right", `{"model":"text-embedding-3-small","input":["a","b","c","d"]}`, 400, `maximum length 3`},
		{"POST", "/embeddings", "right", `{"model":"text-embedding-3-small","input":"` + words + words + `"}`, 400, `maximum context length is 20`},
		{"POST", "/embeddings", "right", `{"model":"text-embedding-3-small","input":["` + words + `","` + words + `","` + words + `"]}`, 400, `max_tokens_per_request`},
		{"POST", "/embeddings", "right", `{"model":"text-embedding-3-small","input":"x","dimensions":2000}`, 400, `Must be between 1 and 1536`},
		{"POST", "/embeddings", "right", `{"model":"text-embedding-ada-002","input":"x","dimensions":2}`, 400, `does not support specifying dimensions`},
		{"GET", "/embeddings", "right", ``, 405, `Not allowed`},
		{"POST", "/chat/completions", "right", `{}`, 404, `Unknown request URL`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, s.URL+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		if tt.key != "" {
			req.Header.Set("Authorization", "Bearer "+tt.key)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tt.status || !strings.Contains(string(body), tt.want) {
			t.Errorf("%s %s %.80s: %d %.300s, want %d %s", tt.method, tt.path, tt.body, resp.StatusCode, body, tt.status, tt.want)
		}
	}
	if got := s.Stats(); got.Served != 3 || got.Inputs != 4 || got.Tokens != 4 || got.Calls != 17 {
		t.Errorf("%+v", got)
	}
	s.Reset()
	if got := s.Stats(); got != (embedtest.Stats{}) {
		t.Errorf("after Reset: %+v", got)
	}
}
