package steady

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/llmemory/llmemory/internal/apierror"
)

// LimitOptions say how much a provider may be asked. 0 means no limit.
type LimitOptions struct {
	RequestsPerMinute int
	TokensPerMinute   int
}

// Limiter keeps calls within what a provider allows: no 60 seconds see more requests or tokens than that. Calls wait for their turn.
// One whose ctx has a deadline before that gets an [*apierror.Error] of kind RateLimited at once. A call with more tokens than the
// limit is let through when there has been nothing else for a minute.
//
// Calls that are not urgent leave a tenth of both limits to those that are.
type Limiter struct {
	provider string
	options  LimitOptions
	// urgent and patient are the places of the next to be served of either kind.
	urgent, patient chan struct{}

	mu   sync.Mutex
	past []use // of the last minute, oldest first
	sum  use   // of past
}

// use is what one call, or several together, take.
type use struct {
	at               time.Time
	requests, tokens int
}

// NewLimiter returns a limiter that has seen no call.
func NewLimiter(provider string, o LimitOptions) *Limiter {
	return &Limiter{provider: provider, options: o, urgent: make(chan struct{}, 1), patient: make(chan struct{}, 1)}
}

// Wait returns when a call with so many tokens may be made.
func (l *Limiter) Wait(ctx context.Context, urgent bool, tokens int) error {
	turn, limit := l.urgent, use{requests: l.options.RequestsPerMinute, tokens: l.options.TokensPerMinute}
	if !urgent {
		turn = l.patient
		limit.requests -= limit.requests / 10
		limit.tokens -= limit.tokens / 10
	}
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%w while waiting for other calls within the rate limit", ctx.Err())
	}
	defer func() { <-turn }()
	for {
		d := l.take(limit, tokens)
		if d <= 0 {
			return nil
		}
		switch err := sleep(ctx, d); err {
		case nil:
		case errTooLong:
			return &apierror.Error{Kind: apierror.RateLimited, Provider: l.provider, RetryAfter: d, Message: fmt.Sprintf(
				"own limit of %d requests and %d tokens a minute (0: none)", l.options.RequestsPerMinute, l.options.TokensPerMinute)}
		default:
			return fmt.Errorf("%w while waiting within the rate limit", err)
		}
	}
}

// take books a call if it fits into the limit now, and else returns how long it takes until it does.
func (l *Limiter) take(limit use, tokens int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for len(l.past) > 0 && now.Sub(l.past[0].at) >= time.Minute {
		l.sum.requests -= l.past[0].requests
		l.sum.tokens -= l.past[0].tokens
		l.past = l.past[1:]
	}
	sum := l.sum
	fits := func() bool {
		return (limit.requests == 0 || sum.requests < limit.requests) && (limit.tokens == 0 || sum.tokens+tokens <= limit.tokens)
	}
	if len(l.past) == 0 || fits() {
		l.past = append(l.past, use{now, 1, tokens})
		l.sum.requests++
		l.sum.tokens += tokens
		return 0
	}
	var wait time.Duration
	for _, u := range l.past {
		sum.requests -= u.requests
		sum.tokens -= u.tokens
		if wait = time.Minute - now.Sub(u.at); fits() {
			break
		}
	}
	return wait
}
