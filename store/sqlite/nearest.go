package sqlite

import (
	"context"

	"github.com/llmemory/llmemory"
)

// nearest answers a question for the leaves nearest to a vector, within the view's transaction; nil asks for nothing.
func (v *view) nearest(_ context.Context, _ *conn, _ string, p *llmemory.VectorParams, _ llmemory.Where) (*llmemory.VectorRecord, error) {
	if p == nil {
		return nil, nil
	}
	return nil, errNotYet
}
