package sqlite

import (
	"context"
	"errors"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
)

// generations reads all generations, ordered by id.
func (s *Store) generations(c *conn) ([]llmemory.Generation, error) {
	var out []llmemory.Generation
	err := c.query(s.sql.Get("generations"), collect(&out, scanGeneration))
	return out, err
}

func scanGeneration(r row, g *llmemory.Generation) error {
	g.ID, g.Profile = r.ColumnInt64(0), llmemory.Profile(r.ColumnText(1))
	g.Model = embedding.ModelInfo{
		Provider: r.ColumnText(2), Model: r.ColumnText(3), Dimensions: r.ColumnInt(4), Normalized: r.ColumnBool(5),
		QueryPrefix: r.ColumnText(6), PassagePrefix: r.ColumnText(7), MaxTokens: r.ColumnInt(8), PricePerMillionTokens: r.ColumnFloat(9),
	}
	g.State, g.Backfilled = llmemory.GenerationState(r.ColumnText(10)), r.ColumnBool(11)
	g.Created, g.Activated = timeOf(r.ColumnInt64(12)), optionalTime(r, 13)
	return nil
}

// errNotYet is returned by what is not there yet.
var errNotYet = &llmemory.UnavailableError{What: "vectors", Err: errors.New("not in this store yet")}

// Generations implements [llmemory.Store].
func (s *Store) Generations(ctx context.Context, _ llmemory.GenerationsParams) ([]llmemory.Generation, error) {
	var out []llmemory.Generation
	err := s.read(ctx, func(c *conn) (err error) {
		out, err = s.generations(c)
		return err
	})
	return out, err
}

// AddGeneration implements [llmemory.Store].
func (s *Store) AddGeneration(context.Context, llmemory.AddGenerationParams) (*llmemory.Generation, error) {
	return nil, errNotYet
}

// ActivateGeneration implements [llmemory.Store].
func (s *Store) ActivateGeneration(context.Context, llmemory.ActivateGenerationParams) (*llmemory.Generation, error) {
	return nil, errNotYet
}

// RetireGeneration implements [llmemory.Store].
func (s *Store) RetireGeneration(context.Context, llmemory.RetireGenerationParams) error {
	return errNotYet
}

// Progress implements [llmemory.Store].
func (s *Store) Progress(context.Context, llmemory.ProgressParams) (*llmemory.ProgressRecord, error) {
	return nil, errNotYet
}

// Inputs implements [llmemory.Store].
func (s *Store) Inputs(context.Context, llmemory.InputsParams) ([]llmemory.JobInput, error) {
	return nil, errNotYet
}

// Tune implements [llmemory.Store].
func (s *Store) Tune(context.Context, llmemory.TuneParams) (bool, error) { return false, errNotYet }
