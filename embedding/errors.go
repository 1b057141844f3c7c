package embedding

import (
	"errors"
	"fmt"
	"time"

	"github.com/llmemory/llmemory/internal/apierror"
)

// Kind says what went wrong, and with that, who can do something about it:
//
//	RateLimited, Unavailable              time: trying again later may help
//	InvalidInput, BadAnswer               the text, if it was sent alone; else one of the texts, see Each
//	Unauthorized, ModelNotFound, Refused  whoever set the embedder up
type Kind = apierror.Kind

const (
	// RateLimited: the provider, or a limit of our own, takes no more for now (429).
	RateLimited = apierror.RateLimited
	// Unavailable: no answer, or none that counts: 5xx, a timeout, a refused or broken connection, an open breaker.
	Unavailable = apierror.Unavailable
	// InvalidInput: the provider refuses what was sent (400, 413, 422), such as a text longer than the model takes.
	InvalidInput = apierror.InvalidInput
	// BadAnswer: the provider answered with something that is no set of vectors: too few or too many, without order, of
	// another dimension, with NaN, null, infinity or nothing but zeros, not JSON, or far too large.
	BadAnswer = apierror.BadAnswer
	// Unauthorized: the key is wrong, missing or not entitled (401, 403).
	Unauthorized = apierror.Unauthorized
	// ModelNotFound: there is no such model or address (404).
	ModelNotFound = apierror.ModelNotFound
	// Refused: the request is refused whatever its texts are, or the embedder's own settings are at fault.
	Refused = apierror.Refused
)

// Error is a failed call. It never holds a key, nor the texts that were sent, unless the provider repeats them in its message.
type Error = apierror.Error

// Temporary tells whether trying the same call again later may help: the error, or one it wraps, has a method
// Temporary() bool that says so, as [*Error] and errors of the net package have. So has context.DeadlineExceeded; whether it is
// the caller's own deadline that has passed, ctx.Err() tells.
func Temporary(err error) bool { return apierror.Temporary(err) }

// InputFault tells whether the error is the fault of the text, given that the text was sent alone; [Each] makes sure of that.
// Trying again does not help if the error is InvalidInput; if it is BadAnswer, another version of the server may know better.
func InputFault(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Kind == InvalidInput || e.Kind == BadAnswer)
}

// RetryAfter returns how long to wait before the next try, or 0 if the error does not say.
func RetryAfter(err error) time.Duration { return apierror.RetryAfter(err) }

// VectorError says which vector breaks which rule.
type VectorError struct {
	Index int    // of the text and its vector; -1 if it is not about a single one
	Rule  string // such as "is all zero" or "has 383 dimensions, not 384"
}

// Error implements error.
func (e *VectorError) Error() string {
	if e.Index < 0 {
		return e.Rule
	}
	return fmt.Sprintf("vector %d %s", e.Index, e.Rule)
}
