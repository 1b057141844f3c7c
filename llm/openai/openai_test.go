package openai_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/llmemory/llmemory/llm"
	"github.com/llmemory/llmemory/llm/llmtest"
	"github.com/llmemory/llmemory/llm/openai"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	llmtest.Run(t, "openai", func(url, key string, timeout time.Duration) llm.Generator {
		if url != "" {
			url += "/v1"
		}
		return openai.New(openai.Config{BaseURL: url, APIKey: openai.NewSecret(key), Model: "m", Timeout: timeout})
	})
}

// What goes over the wire, member by member.
func TestRequest(t *testing.T) {
	t.Parallel()
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.URL.String() + " " + r.Header.Get("Authorization") + r.Header.Get("Api-Key") + " " + string(body)
		io.WriteString(w, `{"choices":[{"message":{"content":"yes"}}]}`)
	}))
	defer server.Close()
	for _, tt := range []struct {
		config openai.Config
		ask    llm.Request
		want   string
	}{
		{openai.Config{Model: "m"}, llm.Request{Prompt: "p"},
			`/v1/chat/completions  {"model":"m","messages":[{"role":"user","content":"p"}],"max_tokens":256,"temperature":0}`},
		{openai.Config{APIKey: openai.NewSecret("k")}, llm.Request{System: "s", Document: "d", Prompt: "p", MaxTokens: 9},
			`/v1/chat/completions Bearer k {"model":"gpt-4o-mini","messages":[{"role":"system","content":"s"},{"role":"user","content":"d\n\np"}],"max_tokens":9,"temperature":0}`},
		{openai.Config{Model: "gpt-5-nano", APIKey: openai.NewSecret("k"), KeyHeader: "api-key", APIVersion: "2024-10-21"}, llm.Request{Prompt: "p", MaxTokens: 9},
			`/v1/chat/completions?api-version=2024-10-21 k {"model":"gpt-5-nano","messages":[{"role":"user","content":"p"}],"max_completion_tokens":2057,"reasoning_effort":"low"}`},
	} {
		tt.config.BaseURL = server.URL + "/v1"
		if a, err := openai.New(tt.config).Generate(t.Context(), tt.ask); err != nil || a.Text != "yes" || got != tt.want {
			t.Errorf("%v, %v\n got %s\nwant %s", a, err, got, tt.want)
		}
	}
}

// Prices are known of OpenAI's own models only where OpenAI serves them.
func TestPrice(t *testing.T) {
	t.Parallel()
	usage := llm.Usage{Input: 3e6, Cached: 1e6, Output: 1e6}
	for _, tt := range []struct {
		config openai.Config
		want   float64
	}{
		{openai.Config{}, 0.30 + 0.075 + 0.60},
		{openai.Config{BaseURL: "http://localhost/v1"}, 0},
		{openai.Config{Model: "other"}, 0},
		{openai.Config{Model: "other", Price: llm.Price{Input: 1, Cached: 0.5, Output: 2}}, 2 + 0.5 + 2},
	} {
		if got := openai.New(tt.config).Model().Price.Of(usage); got < tt.want-1e-9 || got > tt.want+1e-9 {
			t.Errorf("%+v: %v, want %v", tt.config, got, tt.want)
		}
	}
	if err := (openai.Config{Price: llm.Price{Output: -1}}).Validate(); err == nil {
		t.Error("a negative price passes")
	}
}
