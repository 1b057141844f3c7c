package embedding

import (
	"context"

	"github.com/llmemory/llmemory/internal/steady"
)

// ErrBreakerOpen is wrapped in the [*Error] of kind Unavailable that a [Breaker] returns without asking the provider. Its
// RetryAfter is the time until the breaker lets a call through again.
var ErrBreakerOpen = steady.ErrBreakerOpen

// BreakerOptions say when a provider is left alone, and for how long. Zero fields take their default.
type BreakerOptions = steady.BreakerOptions

// Breaker stops asking a provider that is down. After a number of failures in a row it is open and refuses every call at once.
// When it has cooled down, one call is let through, while the others are still refused: if it succeeds, the breaker is closed
// again; if not, it stays open for twice as long.
//
// Failures are errors for which [Temporary] holds, and deadlines of callers that pass after at least a second of waiting. Any other
// answer shows that the provider is there.
func Breaker(e Embedder, o BreakerOptions) Embedder {
	return &breaker{e, steady.NewBreaker(e.Model().Provider, o)}
}

type breaker struct {
	Embedder
	breaker *steady.Breaker
}

func (b *breaker) Unwrap() Embedder { return b.Embedder }

func (b *breaker) Embed(ctx context.Context, role Role, texts []string) (vectors [][]float32, err error) {
	err = b.breaker.Do(ctx, func() (err error) {
		vectors, err = b.Embedder.Embed(ctx, role, texts)
		return err
	})
	return vectors, err
}
