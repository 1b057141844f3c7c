// Package steady makes asking a provider dependable: it repeats what failed for a time, keeps to limits, and leaves a provider alone
// that is down. It knows errors of package apierror, and nothing of what is asked.
package steady

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/llmemory/llmemory/internal/apierror"
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

// WithDefaults returns the options with their defaults filled in.
func (o RetryOptions) WithDefaults() RetryOptions {
	return RetryOptions{
		Attempts:      cmp.Or(max(o.Attempts, 0), 4),
		BaseDelay:     cmp.Or(max(o.BaseDelay, 0), 500*time.Millisecond),
		MaxDelay:      cmp.Or(max(o.MaxDelay, 0), 30*time.Second),
		MaxRetryAfter: cmp.Or(max(o.MaxRetryAfter, 0), 5*time.Minute),
	}
}

// Retry repeats a call that fails with an error for which [apierror.Temporary] holds. It waits as long as the provider says, and a
// little more; else for a random time between zero and a bound that grows, so that many clients do not come back at once (full
// jitter: Brooker, Exponential Backoff and Jitter, 2015). A wait that would outlast ctx or MaxRetryAfter is not begun: the error is
// returned at once. So it is if a [Breaker] is open. The options have their defaults.
func Retry[T any](ctx context.Context, o RetryOptions, call func() (T, error)) (T, error) {
	for attempt := 1; ; attempt++ {
		out, err := call()
		if err == nil || ctx.Err() != nil || attempt >= o.Attempts || !apierror.Temporary(err) || errors.Is(err, ErrBreakerOpen) ||
			apierror.RetryAfter(err) > o.MaxRetryAfter {
			return out, err
		}
		if waiting := sleep(ctx, o.delay(attempt, apierror.RetryAfter(err))); waiting != nil {
			var none T
			if errors.Is(waiting, errTooLong) {
				return none, err
			}
			return none, fmt.Errorf("%w while waiting to try again after: %w", waiting, err)
		}
	}
}

// delay is how long to wait after an attempt; the first is 1.
func (o *RetryOptions) delay(attempt int, after time.Duration) time.Duration {
	if after > 0 {
		return after + rand.N(after/10+1)
	}
	bound := o.BaseDelay
	for ; attempt > 1 && bound < o.MaxDelay; attempt-- {
		bound *= 2
	}
	return rand.N(min(bound, o.MaxDelay) + 1)
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
