package llm

import (
	"errors"
	"time"

	"github.com/llmemory/llmemory/internal/apierror"
	"github.com/llmemory/llmemory/internal/steady"
)

// Kind says what went wrong, and with that, who can do something about it:
//
//	RateLimited, Unavailable, BadAnswer   time: trying again later may help
//	InvalidInput                          what was asked
//	Unauthorized, ModelNotFound, Refused  whoever set the generator up
type Kind = apierror.Kind

const (
	// RateLimited: the provider, or a limit of our own, takes no more for now (429).
	RateLimited = apierror.RateLimited
	// Unavailable: no answer, or none that counts: 5xx, a timeout, a refused or broken connection, an open breaker.
	Unavailable = apierror.Unavailable
	// InvalidInput: the provider refuses what was sent (400, 413, 422), such as a request longer than the model takes.
	InvalidInput = apierror.InvalidInput
	// BadAnswer: the provider answered with something that is no answer: nothing, not JSON, far too much; or the model declined.
	BadAnswer = apierror.BadAnswer
	// Unauthorized: the key is wrong, missing or not entitled (401, 402, 403).
	Unauthorized = apierror.Unauthorized
	// ModelNotFound: there is no such model or address (404).
	ModelNotFound = apierror.ModelNotFound
	// Refused: the request is refused whatever is in it, or the generator's own settings are at fault.
	Refused = apierror.Refused
)

// Error is a failed call. It never holds a key, nor the texts that were sent, unless the provider repeats them in its message.
type Error = apierror.Error

var (
	// ErrDeclined is wrapped in the [*Error] of kind BadAnswer for a model that answered, but with no text: it refuses, a filter took
	// the answer away, or MaxTokens was used up by thinking.
	ErrDeclined = errors.New("the model gave no text")
	// ErrBudget is wrapped in the error of a call that a [Budget] has no room for. Nobody was asked.
	ErrBudget = errors.New("budget used up")
	// ErrBreakerOpen is wrapped in the [*Error] of kind Unavailable that a [Breaker] returns without asking the provider.
	ErrBreakerOpen = steady.ErrBreakerOpen
)

// Temporary tells whether trying the same call again later may help.
func Temporary(err error) bool { return apierror.Temporary(err) }

// RetryAfter returns how long to wait before the next try, or 0 if the error does not say.
func RetryAfter(err error) time.Duration { return apierror.RetryAfter(err) }

// Declined tells whether the error is an answer to this request, which will be the same another time: the model declined, or the
// provider refused what was sent. If every request is declined, the settings are more likely to be at fault.
func Declined(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Kind == InvalidInput || errors.Is(err, ErrDeclined))
}
