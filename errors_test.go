package llmemory_test

import (
	"errors"
	"testing"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
)

func TestUnavailableError(t *testing.T) {
	t.Parallel()
	const pause = 29*time.Second + 540506812*time.Nanosecond
	provider := &embedding.Error{Kind: embedding.Unavailable, Provider: "openai", RetryAfter: pause, Message: "breaker open"}
	tests := []struct {
		err  llmemory.UnavailableError
		want string
	}{
		{llmemory.UnavailableError{What: "database"}, "database unavailable"},
		{llmemory.UnavailableError{What: "database", Err: errors.New("it starts")}, "database unavailable: it starts"},
		{llmemory.UnavailableError{What: "embedder", RetryAfter: pause}, "embedder unavailable (retry after 29.541s)"},
		{llmemory.UnavailableError{What: "embedder", RetryAfter: pause, Err: provider}, // the pause is told once
			"embedder unavailable: openai: unavailable (retry after 29.541s): breaker open"},
	}
	for _, test := range tests {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
