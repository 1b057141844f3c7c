package llm

import (
	"context"

	"github.com/llmemory/llmemory/internal/steady"
)

type (
	// RetryOptions say how often and how soon a call is repeated. Zero fields take their default.
	RetryOptions = steady.RetryOptions
	// LimitOptions say how much a provider may be asked. 0 means no limit.
	LimitOptions = steady.LimitOptions
	// BreakerOptions say when a provider is left alone, and for how long. Zero fields take their default.
	BreakerOptions = steady.BreakerOptions
)

// Options are those of the decorators that [Recommended] puts around a generator. The zero value is ready to use and sets no rate
// limit.
type Options struct {
	Retry   RetryOptions
	Limit   LimitOptions
	Breaker BreakerOptions
}

// Recommended makes a provider dependable: [Retry], in it [Limit], in it [Breaker]. So each attempt keeps to the limit and counts for
// the breaker. Make one per provider and share it: limit and breaker know only what passes through them. A nil o means defaults.
func Recommended(g Generator, o *Options) Generator {
	if o == nil {
		o = &Options{}
	}
	return Retry(Limit(Breaker(g, o.Breaker), o.Limit), o.Retry)
}

// Retry repeats calls that fail with an error for which [Temporary] holds, as embedding.Retry does: it waits as long as the provider
// says, and a little more; else for a random time below a bound that grows. A wait that would outlast ctx or MaxRetryAfter is not
// begun. An open [Breaker] is not waited for.
func Retry(g Generator, o RetryOptions) Generator {
	o = o.WithDefaults()
	return Func{g.Model(), func(ctx context.Context, r Request) (Answer, error) {
		return steady.Retry(ctx, o, func() (Answer, error) { return g.Generate(ctx, r) })
	}}
}

// Limit keeps calls within what a provider allows: no 60 seconds see more requests, or more tokens of input and of the longest answers,
// than that. Calls wait for their turn. One whose ctx has a deadline before that gets an [*Error] of kind RateLimited at once.
func Limit(g Generator, o LimitOptions) Generator {
	if o.RequestsPerMinute <= 0 && o.TokensPerMinute <= 0 {
		return g
	}
	l := steady.NewLimiter(g.Model().Provider, o)
	return Func{g.Model(), func(ctx context.Context, r Request) (Answer, error) {
		tokens := 0
		if o.TokensPerMinute > 0 {
			tokens = most(&r).Tokens()
		}
		if err := l.Wait(ctx, true, tokens); err != nil {
			return Answer{}, err
		}
		return g.Generate(ctx, r)
	}}
}

// Breaker stops asking a provider that is down, as embedding.Breaker does: after a number of failures in a row it is open and refuses
// every call at once. When it has cooled down, one call is let through, whose outcome decides.
func Breaker(g Generator, o BreakerOptions) Generator {
	b := steady.NewBreaker(g.Model().Provider, o)
	return Func{g.Model(), func(ctx context.Context, r Request) (a Answer, err error) {
		err = b.Do(ctx, func() (err error) {
			a, err = g.Generate(ctx, r)
			return err
		})
		return a, err
	}}
}
