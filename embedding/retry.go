package embedding

import (
	"context"

	"github.com/llmemory/llmemory/internal/steady"
)

// RetryOptions say how often and how soon a call is repeated. Zero fields take their default.
type RetryOptions = steady.RetryOptions

// Retry repeats calls that fail with an error for which [Temporary] holds. It waits as long as the provider says, and a little
// more; else for a random time between zero and a bound that grows, so that many clients do not come back at once (full jitter:
// Brooker, Exponential Backoff and Jitter, 2015). A wait that would outlast ctx or MaxRetryAfter is not begun: the error is returned
// at once. So it is if a [Breaker] is open.
func Retry(e Embedder, o RetryOptions) Embedder { return &retrier{e, o.WithDefaults()} }

type retrier struct {
	Embedder
	options RetryOptions
}

func (r *retrier) Unwrap() Embedder { return r.Embedder }

func (r *retrier) Embed(ctx context.Context, role Role, texts []string) ([][]float32, error) {
	return steady.Retry(ctx, r.options, func() ([][]float32, error) { return r.Embedder.Embed(ctx, role, texts) })
}
