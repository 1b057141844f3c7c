package anthropic_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/llmemory/llmemory/llm"
	"github.com/llmemory/llmemory/llm/anthropic"
	"github.com/llmemory/llmemory/llm/llmtest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	llmtest.Run(t, "anthropic", func(url, key string, timeout time.Duration) llm.Generator {
		return anthropic.New(anthropic.Config{BaseURL: url, APIKey: anthropic.NewSecret(key), Model: "m", Timeout: timeout})
	})
}

// What goes over the wire: the document is marked to be kept. What the usage says of it counts as input.
func TestRequest(t *testing.T) {
	t.Parallel()
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.URL.Path + " " + r.Header.Get("X-Api-Key") + r.Header.Get("Authorization") + " " + r.Header.Get("Anthropic-Version") + " " + string(body)
		io.WriteString(w, `{"content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"yes"}],"stop_reason":"end_turn",
			"usage":{"input_tokens":5,"cache_read_input_tokens":70,"cache_creation_input_tokens":30,"output_tokens":2}}`)
	}))
	defer server.Close()
	g := anthropic.New(anthropic.Config{BaseURL: server.URL, APIKey: anthropic.NewSecret("k")})
	a, err := g.Generate(t.Context(), llm.Request{System: "s", Document: "d", Prompt: "p", MaxTokens: 9})
	const want = `/v1/messages k 2023-06-01 {"model":"claude-haiku-4-5","max_tokens":9,"temperature":0,"system":"s","messages":[{"role":"user","content":[` +
		`{"type":"text","text":"d","cache_control":{"type":"ephemeral"}},{"type":"text","text":"p"}]}]}`
	if err != nil || a.Text != "yes" || a.Usage != (llm.Usage{Calls: 1, Input: 105, Cached: 70, Written: 30, Output: 2}) || got != want {
		t.Errorf("%+v, %v\n got %s\nwant %s", a, err, got, want)
	}
}

func TestPrice(t *testing.T) {
	t.Parallel()
	usage := llm.Usage{Input: 3e6, Cached: 1e6, Written: 1e6, Output: 1e6}
	if got, want := anthropic.New(anthropic.Config{Model: "claude-haiku-4-5-20251001"}).Model().Price.Of(usage), 1+0.10+1.25+5; got < want-1e-9 || got > want+1e-9 {
		t.Errorf("%v, want %v", got, want)
	}
	if got := anthropic.New(anthropic.Config{BaseURL: "http://localhost"}).Model().Price; got != (llm.Price{}) {
		t.Errorf("the price of a model of another server: %+v", got)
	}
}
