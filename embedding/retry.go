package embedding

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// RetryOptions say how often and how soon a call is repeated. Zero fields take their default.
type RetryOptions struct {
	// Attempts is how often a call is made at most, the first time included. Defaults to 4.
	Attempts int
	// BaseDelay bounds the wait before the second attempt; the bound doubles from one attempt to the next. Defaults to 500 ms.
	BaseDelay time.Duration
	// MaxDelay is the highest bound. Defaults to 30 s.
	MaxDelay time.Duration
	// MaxRetryAfter is how long to wait at most where the provider says how long. An error that asks for more, such as one of a
	// quota of the day, is returned at once. Defaults to 5 minutes.
	MaxRetryAfter time.Duration
}

// Retry repeats calls that fail with an error for which [Temporary] holds. It waits as long as the provider says, and a little
// more; else for a random time between zero and a bound that grows, so that many clients do not come back at once (full jitter:
// Brooker, Exponential Backoff and Jitter, 2015). A wait that would outlast ctx or MaxRetryAfter is not begun: the error is returned
// at once. So it is if a [Breaker] is open.
func Retry(e Embedder, o RetryOptions) Embedder {
	return &retrier{e, RetryOptions{
		Attempts:      cmp.Or(max(o.Attempts, 0), 4),
		BaseDelay:     cmp.Or(max(o.BaseDelay, 0), 500*time.Millisecond),
		MaxDelay:      cmp.Or(max(o.MaxDelay, 0), 30*time.Second),
		MaxRetryAfter: cmp.Or(max(o.MaxRetryAfter, 0), 5*time.Minute),
	}}
}

type retrier struct {
	Embedder
	options RetryOptions
}

func (r *retrier) Unwrap() Embedder { return r.Embedder }

func (r *retrier) Embed(ctx context.Context, role Role, texts []string) ([][]float32, error) {
	for attempt := 1; ; attempt++ {
		vectors, err := r.Embedder.Embed(ctx, role, texts)
		if err == nil || ctx.Err() != nil || attempt >= r.options.Attempts || !Temporary(err) || errors.Is(err, ErrBreakerOpen) ||
			RetryAfter(err) > r.options.MaxRetryAfter {
			return vectors, err
		}
		if waiting := sleep(ctx, r.delay(attempt, RetryAfter(err))); waiting != nil {
			if errors.Is(waiting, errTooLong) {
				return nil, err
			}
			return nil, fmt.Errorf("%w while waiting to try again after: %w", waiting, err)
		}
	}
}

// delay is how long to wait after an attempt; the first is 1.
func (r *retrier) delay(attempt int, after time.Duration) time.Duration {
	if after > 0 {
		return after + rand.N(after/10+1)
	}
	bound := r.options.BaseDelay
	for ; attempt > 1 && bound < r.options.MaxDelay; attempt-- {
		bound *= 2
	}
	return rand.N(min(bound, r.options.MaxDelay) + 1)
}

// errTooLong is returned by sleep if ctx would end first.
var errTooLong = errors.New("the wait would be too long")

// sleep waits for d. It returns errTooLong at once if ctx has a deadline before, and ctx.Err() if ctx ends meanwhile.
func sleep(ctx context.Context, d time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return errTooLong
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
