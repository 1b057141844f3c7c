package postgres

import (
	"context"

	"github.com/llmemory/llmemory"
)

// Tune implements [llmemory.Store].
func (s *Store) Tune(ctx context.Context, p llmemory.TuneParams) (done bool, err error) {
	_, err = s.generation(ctx, p.Generation)
	return true, err
}
