package embedding

import (
	"context"

	"github.com/llmemory/llmemory/internal/steady"
)

// LimitOptions say how much a provider may be asked. 0 means no limit.
type LimitOptions = steady.LimitOptions

// Limit keeps calls within what a provider allows: no 60 seconds see more requests or tokens than that, counted by [CountTokens].
// Calls wait for their turn. One whose ctx has a deadline before that gets an [*Error] of kind RateLimited at once. A call with
// more tokens than the limit is let through when there has been nothing else for a minute.
//
// Passages leave a tenth of both limits to queries, so that people who search do not queue behind an import.
func Limit(e Embedder, o LimitOptions) Embedder {
	if o.RequestsPerMinute <= 0 && o.TokensPerMinute <= 0 {
		return e
	}
	return &limiter{e, o.TokensPerMinute > 0, steady.NewLimiter(e.Model().Provider, o)}
}

type limiter struct {
	Embedder
	counts  bool // tokens
	limiter *steady.Limiter
}

func (l *limiter) Unwrap() Embedder { return l.Embedder }

func (l *limiter) Embed(ctx context.Context, role Role, texts []string) ([][]float32, error) {
	if len(texts) > 0 {
		tokens := 0
		if l.counts {
			for _, text := range texts {
				tokens += CountTokens(l.Embedder, role, text)
			}
		}
		if err := l.limiter.Wait(ctx, role == Query, tokens); err != nil {
			return nil, err
		}
	}
	return l.Embedder.Embed(ctx, role, texts)
}
