package llmemory

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/llmemory/llmemory/embedding"
)

// The sentinels below are what callers test with [errors.Is]. Every error this module returns wraps exactly one of them, a
// context error, or is a fault of the program itself.
var (
	// ErrNotFound is returned when an owner has no such document or chunk. A row of another owner is not found either.
	ErrNotFound = errors.New("not found")
	// ErrInvalid is returned when an argument breaks a documented rule; the error is an [*InvalidError] that names field and
	// rule. Nothing was written.
	ErrInvalid = errors.New("invalid")
	// ErrConflict is returned by Add with IfExists set to [Refuse] when the document's identity is taken.
	ErrConflict = errors.New("conflict")
	// ErrUnavailable is returned when the database or a provider cannot be reached, is busy, read-only or out of space. The
	// same call may be repeated later.
	ErrUnavailable = errors.New("unavailable")
	// ErrCommitUnknown is returned when the connection was lost while a transaction was being committed: it happened whole or
	// not at all. Repeating the same call is safe and gives the same document.
	ErrCommitUnknown = errors.New("outcome of the commit is unknown")
	// ErrClosed is returned by every call after Close.
	ErrClosed = errors.New("closed")
	// ErrCorrupt is returned when what is stored is damaged: bytes that do not decode, parts of the index or tables that are gone.
	// It is never repaired in silence.
	ErrCorrupt = errors.New("corrupt data")
)

// InvalidError says which field broke which rule. It matches [ErrInvalid].
type InvalidError struct {
	Field string // the field as the caller knows it, such as "owner" or "metadata"
	Rule  string // the rule, such as "must be 1 to 512 bytes long, is 600"
}

// Error implements error.
func (e *InvalidError) Error() string { return fmt.Sprintf("invalid %s: %s", e.Field, e.Rule) }

// Unwrap makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Unwrap() error { return ErrInvalid }

func invalidf(field, format string, args ...any) error {
	return &InvalidError{Field: field, Rule: fmt.Sprintf(format, args...)}
}

// Reason says in a word why no text could be had of a source.
type Reason string

// The reasons.
const (
	Unsupported Reason = "unsupported" // no extractor takes it
	Damaged     Reason = "damaged"     // it is cut short, or breaks its format's rules
	Encrypted   Reason = "encrypted"   // it takes a password
	NoText      Reason = "no_text"     // it holds no text, such as a scanned page
	TooLarge    Reason = "too_large"   // it is over a limit of size, memory or depth
	TimedOut    Reason = "timeout"     // it takes too long to read
)

// ContentError says why no text could be had of a source. It matches [ErrInvalid], an [*InvalidError] of the field "content", and the
// error of package extract that is the cause.
type ContentError struct {
	Reason Reason
	Err    error
}

// Error implements error.
func (e *ContentError) Error() string { return "invalid content: " + e.Err.Error() }

// Unwrap makes both what it matches and the cause visible to errors.Is and errors.As.
func (e *ContentError) Unwrap() []error {
	return []error{&InvalidError{Field: "content", Rule: e.Err.Error()}, e.Err}
}

// ConflictError names the document that already holds an identity. It matches [ErrConflict].
type ConflictError struct {
	DocumentID string
	OriginID   string
	Key        string
}

// Error implements error.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("conflict: document %s already exists (origin %q, key %q)", e.DocumentID, e.OriginID, e.Key)
}

// Unwrap makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Unwrap() error { return ErrConflict }

// UnavailableError says what could not be reached and, where known, when to try again. It matches [ErrUnavailable].
type UnavailableError struct {
	What       string        // such as "database" or the name of a provider
	RetryAfter time.Duration // zero when not known
	Err        error         // the cause
}

// Error implements error.
func (e *UnavailableError) Error() string {
	var b strings.Builder
	b.WriteString(e.What)
	b.WriteString(" unavailable")
	if e.RetryAfter > 0 && embedding.RetryAfter(e.Err) == 0 { // else the cause says so
		fmt.Fprintf(&b, " (retry after %s)", e.RetryAfter.Round(time.Millisecond))
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap makes both ErrUnavailable and the cause visible to errors.Is and errors.As.
func (e *UnavailableError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrUnavailable}
	}
	return []error{ErrUnavailable, e.Err}
}
