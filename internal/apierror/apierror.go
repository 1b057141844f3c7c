// Package apierror holds the error of a provider that was asked over a network, so that the leaves below packages embedding and llm
// return the very error which these export and document.
package apierror

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what went wrong, and with that, who can do something about it.
type Kind string

const (
	// RateLimited: the provider, or a limit of our own, takes no more for now (429).
	RateLimited Kind = "rate limited"
	// Unavailable: no answer, or none that counts: 5xx, 408, 424, 425, a timeout, a refused or broken connection, an open breaker.
	Unavailable Kind = "unavailable"
	// InvalidInput: the provider refuses what was sent (400, 413, 422), such as a text longer than the model takes.
	InvalidInput Kind = "invalid input"
	// BadAnswer: the provider answered (2xx) with something other than what it was asked for.
	BadAnswer Kind = "bad answer"
	// Unauthorized: the key is wrong, missing or not entitled (401, 402, 403), or its money is used up.
	Unauthorized Kind = "unauthorized"
	// ModelNotFound: there is no such model or address (404).
	ModelNotFound Kind = "model not found"
	// Refused: the request is refused whatever is in it (any other answer, redirects too), its address is forbidden, or the settings
	// are at fault.
	Refused Kind = "refused"
)

// Error is a failed call. It never holds a key, nor the texts that were sent, unless the provider repeats them in its message.
type Error struct {
	Kind     Kind
	Provider string // such as "openai"
	Status   int    // of HTTP, 0 if there was none
	// RetryAfter is how long to wait before the next try, as the provider or a breaker says. 0 if nobody said.
	RetryAfter time.Duration
	// Message is what the provider said: shortened, on one line. It may be empty.
	Message string
	Err     error // the cause, may be nil
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Provider != "" {
		b.WriteString(e.Provider)
		b.WriteString(": ")
	}
	b.WriteString(string(e.Kind))
	var facts []string
	if e.Status != 0 {
		facts = append(facts, fmt.Sprintf("status %d", e.Status))
	}
	if e.RetryAfter > 0 {
		facts = append(facts, fmt.Sprintf("retry after %s", e.RetryAfter.Round(time.Millisecond)))
	}
	if len(facts) > 0 {
		fmt.Fprintf(&b, " (%s)", strings.Join(facts, ", "))
	}
	if e.Message != "" {
		b.WriteString(": ")
		b.WriteString(e.Message)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary tells whether trying again later may help.
func (e *Error) Temporary() bool { return e.Kind == RateLimited || e.Kind == Unavailable }

// Temporary tells whether trying the same call again later may help: the error, or one it wraps, has a method
// Temporary() bool that says so, as [*Error] and errors of the net package have. So has context.DeadlineExceeded; whether it is
// the caller's own deadline that has passed, ctx.Err() tells.
func Temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// RetryAfter returns how long to wait before the next try, or 0 if the error does not say.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// From makes err the error of a provider: an [*Error] gets its name, any other is wrapped in one of kind BadAnswer if bad is set, and
// else, as errors of contexts, left as it is but for the name.
func From(provider string, err error, bad bool) error {
	var e *Error
	switch {
	case errors.As(err, &e):
		named := *e
		named.Provider = provider
		return &named
	case bad:
		return &Error{Kind: BadAnswer, Provider: provider, Err: err}
	}
	return fmt.Errorf("%s: %w", provider, err)
}
