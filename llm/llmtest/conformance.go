package llmtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/llmemory/llmemory/llm"
)

// Key is what the servers of [Run] want to be sent.
const Key = "sk-canary-0123456789abcdef"

const secret = "a text that nobody else is to read"

// Run tests a provider against a server with every fault there is. New returns a generator that asks the server at an address with a
// key, and gives up after a time.
func Run(t *testing.T, provider string, generator func(url, key string, timeout time.Duration) llm.Generator) {
	t.Run("Answer", func(t *testing.T) {
		t.Parallel()
		s := NewServer(Config{Key: Key, Reply: func(c Call) string { return "about " + c.Prompt[len(c.Prompt)-4:] }})
		defer s.Close()
		g := generator(s.URL, Key, 0)
		document := strings.Repeat("The document is long enough to be kept. ", 300)
		for i, want := range []string{"one.", "two."} {
			a, err := g.Generate(t.Context(), llm.Request{System: "You describe.", Document: "<document>" + document + "</document>", Prompt: "Describe passage " + want, MaxTokens: 77})
			if err != nil || a.Text != "about "+want || a.Usage.Calls != 1 || a.Usage.Output == 0 || a.Usage.Input < 2000 {
				t.Fatalf("%+v, %v", a, err)
			}
			if cached := a.Usage.Cached > 2000; cached != (i > 0) || a.Usage.Cached+a.Usage.Written > a.Usage.Input {
				t.Errorf("call %d: usage %+v", i, a.Usage)
			}
		}
		for _, c := range s.Calls() {
			if c.System != "You describe." || c.MaxTokens != 77 || !strings.Contains(c.Document+c.Prompt, document) {
				t.Errorf("call: %.200v", c)
			}
		}
	})
	t.Run("NoUsage", func(t *testing.T) {
		t.Parallel()
		s := NewServer(Config{})
		defer s.Close()
		s.Fail(Always(NoUsage))
		if a, err := generator(s.URL, "", 0).Generate(t.Context(), llm.Request{Prompt: "Well?"}); err != nil || a.Text != "ok" || a.Usage != (llm.Usage{Calls: 1}) {
			t.Errorf("%+v, %v", a, err)
		}
	})
	t.Run("Cancelled", func(t *testing.T) {
		t.Parallel()
		s := NewServer(Config{})
		defer s.Close()
		s.Fail(Always(Hang))
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := generator(s.URL, "", 0).Generate(ctx, llm.Request{Prompt: "Well?"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the context's error", err)
		}
	})
	for _, tt := range []struct {
		fault    Fault
		kind     llm.Kind
		status   int
		declined bool
	}{
		{RateLimited, llm.RateLimited, 429, false},
		{NoQuota, llm.Unauthorized, 429, false},
		{ServerError, llm.Unavailable, 500, false},
		{Unavailable, llm.Unavailable, 503, false},
		{Hang, llm.Unavailable, 0, false},
		{Drip, llm.Unavailable, 0, false},
		{Reset, llm.Unavailable, 0, false},
		{ResetMidBody, llm.Unavailable, 0, false},
		{EmptyBody, llm.BadAnswer, 0, false},
		{HTML, llm.BadAnswer, 0, false},
		{Huge, llm.BadAnswer, 200, false},
		{Redirect, llm.Refused, 307, false},
		{BadRequest, llm.InvalidInput, 400, true},
		{TooLarge, llm.InvalidInput, 413, true},
		{BadEntity, llm.InvalidInput, 422, true},
		{WrongKey, llm.Unauthorized, 401, false},
		{Forbidden, llm.Unauthorized, 403, false},
		{WrongModel, llm.ModelNotFound, 404, false},
		{Nothing, llm.BadAnswer, 0, false},
		{Refusal, llm.BadAnswer, 0, true},
		{Filtered, llm.BadAnswer, 0, true},
		{Blank, llm.BadAnswer, 0, true},
	} {
		t.Run(string(tt.fault), func(t *testing.T) {
			t.Parallel()
			s := NewServer(Config{RetryAfter: 7 * time.Second, RedirectTo: "http://169.254.169.254/latest"})
			defer s.Close()
			s.Fail(Always(tt.fault))
			timeout := 5 * time.Second
			if tt.fault == Hang || tt.fault == Drip {
				timeout = 200 * time.Millisecond
			}
			a, err := generator(s.URL, Key, timeout).Generate(t.Context(), llm.Request{Document: secret, Prompt: "Well?"})
			var typed *llm.Error
			if a.Text != "" || !errors.As(err, &typed) || typed.Kind != tt.kind || typed.Status != tt.status || typed.Provider != provider {
				t.Fatalf("%+v, %v; want %s, status %d", a, err, tt.kind, tt.status)
			}
			if llm.Declined(err) != tt.declined {
				t.Errorf("declined is %t: %v", !tt.declined, err)
			}
			if tt.fault == RateLimited && llm.RetryAfter(err) != 7*time.Second {
				t.Errorf("retry after %s", llm.RetryAfter(err))
			}
			if text := fmt.Sprintf("%v\n%+v\n%#v", err, err, typed); strings.Contains(text, Key) || strings.Contains(text, secret) {
				t.Errorf("tells what is secret: %s", text)
			}
		})
	}
	t.Run("Settings", func(t *testing.T) {
		t.Parallel()
		for _, url := range []string{"ftp://example.com", "http://user:" + Key + "@example.com", "http://example.com", ""} {
			key := Key
			if url == "" { // the default, with a key that cannot be sent
				key = "a key"
			}
			_, err := generator(url, key, 0).Generate(t.Context(), llm.Request{Prompt: "Well?"})
			var typed *llm.Error
			if !errors.As(err, &typed) || typed.Kind != llm.Refused || strings.Contains(err.Error(), Key) {
				t.Errorf("%q: %v, want it to be refused", url, err)
			}
		}
	})
}
