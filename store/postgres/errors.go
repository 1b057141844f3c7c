package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm"
)

// translate gives an error of the database its place in the domain. What it does not know stays as it is: a fault of ours.
func translate(err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []error{llmemory.ErrNotFound, llmemory.ErrInvalid, llmemory.ErrConflict, llmemory.ErrUnavailable,
		llmemory.ErrCommitUnknown, llmemory.ErrClosed, llmemory.ErrCorrupt} {
		if errors.Is(err, known) {
			return err
		}
	}
	// The pool has deadlines of its own; any other is the caller's.
	noConnection := errors.Is(err, pgdbm.ErrPoolExhausted) || pgdbm.IsConnection(err)
	switch {
	case errors.Is(err, pgdbm.ErrCommitUnknown):
		return fmt.Errorf("%w: %w", llmemory.ErrCommitUnknown, err)
	case pgdbm.SQLState(err) == noOwner:
		return forbidden(err)
	case errors.Is(err, pgdbm.ErrClosed):
		return fmt.Errorf("%w: %w", llmemory.ErrClosed, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded) && !noConnection:
		return err
	case noConnection, pgdbm.IsTimeout(err), pgdbm.IsReadOnly(err), pgdbm.IsResource(err), pgdbm.IsSerialization(err):
		return &llmemory.UnavailableError{What: "database", Err: err}
	}
	return err
}

// disconnected tells whether a call met a dead connection and may do better on another. If connecting took all the time there was,
// it may not.
func disconnected(err error) bool { return pgdbm.IsConnection(err) && !pgdbm.IsTimeout(err) }
