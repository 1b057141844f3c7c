package sqlite

import (
	"context"

	"github.com/llmemory/llmemory"
)

// vectors removes vectors and jobs of the ordinals that go out of use, and gives those that come into use a vector or a job. It is
// the last part of an edit; e.sets are the generations there are, and e.queued is to be set if jobs are due.
func (e *edit) vectors(_ *conn, _ llmemory.Changes, _ *llmemory.Committed) error {
	if len(e.sets) == 0 {
		return nil
	}
	return errNotYet
}

// Backfill implements [llmemory.Store].
func (s *Store) Backfill(context.Context, llmemory.BackfillParams) (*llmemory.BackfillRecord, error) {
	return nil, errNotYet
}

// Claim implements [llmemory.Store].
func (s *Store) Claim(context.Context, llmemory.ClaimParams) ([]llmemory.Job, error) {
	return nil, errNotYet
}

// Extend implements [llmemory.Store].
func (s *Store) Extend(context.Context, llmemory.ExtendParams) (int, error) { return 0, errNotYet }

// Known implements [llmemory.Store].
func (s *Store) Known(context.Context, llmemory.KnownParams) ([]llmemory.KnownVector, error) {
	return nil, errNotYet
}

// Complete implements [llmemory.Store].
func (s *Store) Complete(context.Context, llmemory.CompleteParams) (*llmemory.CompleteRecord, error) {
	return nil, errNotYet
}

// Fail implements [llmemory.Store].
func (s *Store) Fail(context.Context, llmemory.FailParams) error { return errNotYet }

// Queue implements [llmemory.Store].
func (s *Store) Queue(context.Context, llmemory.QueueParams) (*llmemory.QueueRecord, error) {
	return nil, errNotYet
}

// RetryQueue implements [llmemory.Store].
func (s *Store) RetryQueue(context.Context, llmemory.RetryQueueParams) (int, error) {
	return 0, errNotYet
}

// Embedded implements [llmemory.Store].
func (s *Store) Embedded(context.Context, llmemory.EmbeddedParams) ([]llmemory.LeafVector, error) {
	return nil, errNotYet
}
