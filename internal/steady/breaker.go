package steady

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/llmemory/llmemory/internal/apierror"
)

// ErrBreakerOpen is wrapped in the [*apierror.Error] of kind Unavailable that a [Breaker] returns without asking the provider. Its
// RetryAfter is the time until the breaker lets a call through again.
var ErrBreakerOpen = errors.New("breaker open")

// BreakerOptions say when a provider is left alone, and for how long. Zero fields take their default.
type BreakerOptions struct {
	// Failures is how many failures in a row open the breaker. Defaults to 5.
	Failures int
	// Cooldown is how long it stays open at first; it doubles each time the call that is then let through fails too. Defaults to
	// 30 s. A provider that asks for more is given more.
	Cooldown time.Duration
	// MaxCooldown is the longest. Defaults to 5 minutes.
	MaxCooldown time.Duration
}

// patience is how long a caller must have waited for its deadline to count against the provider. A deadline that is too short for
// anybody must not shut others out.
const patience = time.Second

// Breaker stops asking a provider that is down. After a number of failures in a row it is open and refuses every call at once.
// When it has cooled down, one call is let through, while the others are still refused: if it succeeds, the breaker is closed
// again; if not, it stays open for twice as long.
//
// Failures are errors for which [apierror.Temporary] holds, and deadlines of callers that pass after at least a second of waiting. Any
// other answer shows that the provider is there.
type Breaker struct {
	provider string
	options  BreakerOptions

	mu       sync.Mutex
	failures int           // in a row
	until    time.Time     // open until then; zero if closed
	cooldown time.Duration // of the next opening
	probing  bool          // a call has been let through
	last     error         // the failure that opened it
}

// NewBreaker returns a breaker that is closed.
func NewBreaker(provider string, o BreakerOptions) *Breaker {
	o = BreakerOptions{
		Failures:    cmp.Or(max(o.Failures, 0), 5),
		Cooldown:    cmp.Or(max(o.Cooldown, 0), 30*time.Second),
		MaxCooldown: cmp.Or(max(o.MaxCooldown, 0), 5*time.Minute),
	}
	return &Breaker{provider: provider, options: o, cooldown: o.Cooldown}
}

// Do makes a call, unless the breaker is open.
func (b *Breaker) Do(ctx context.Context, call func() error) error {
	probe, err := b.enter()
	if err != nil {
		return err
	}
	start := time.Now()
	// A call that panics must not leave the breaker waiting for its end.
	returned := false
	defer func() {
		if !returned {
			b.leave(probe, errors.New("panic"), true)
		}
	}()
	err = call()
	returned = true
	// The caller's own end says nothing of the provider, unless it came after a long wait.
	neutral := ctx.Err() != nil && !(errors.Is(ctx.Err(), context.DeadlineExceeded) && time.Since(start) >= patience)
	b.leave(probe, err, neutral)
	return err
}

// enter returns an error if the breaker is open, and else whether the call is a probe.
func (b *Breaker) enter() (probe bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.IsZero() {
		return false, nil
	}
	wait := time.Until(b.until)
	if wait <= 0 && !b.probing {
		b.probing = true
		return true, nil
	}
	return false, &apierror.Error{
		Kind: apierror.Unavailable, Provider: b.provider, RetryAfter: max(wait, time.Second),
		Err: fmt.Errorf("%w after %d failures in a row, the last: %w", ErrBreakerOpen, b.failures, b.last),
	}
}

// leave takes note of how a call ended.
func (b *Breaker) leave(probe bool, err error, neutral bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
	switch {
	case neutral:
		return
	case err == nil || !apierror.Temporary(err):
		if probe || b.until.IsZero() { // a late answer to a call from before does not close it
			b.failures, b.until, b.cooldown, b.last = 0, time.Time{}, b.options.Cooldown, nil
		}
		return
	}
	b.failures++
	b.last = err
	if probe || b.until.IsZero() && b.failures >= b.options.Failures {
		b.until = time.Now().Add(max(b.cooldown, min(apierror.RetryAfter(err), b.options.MaxCooldown)))
		b.cooldown = min(2*b.cooldown, b.options.MaxCooldown)
	}
}
