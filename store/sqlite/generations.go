package sqlite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
)

// maxDimensions is the most that a vector may have: as many as the PostgreSQL store keeps.
const maxDimensions = 16_000

// retired is the state of a generation whose rows are being removed: nobody sees it any more.
const retired = "retired"

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

// dimensions returns how many dimensions the vectors of a generation have. The error wraps ErrNotFound if there is none.
func (s *Store) dimensions(c *conn, generation int64) (int, error) {
	dimensions := 0
	err := c.query(s.sql.Get("dimensions"), func(r row) error {
		dimensions = r.ColumnInt(0)
		return nil
	}, generation)
	if err == nil && dimensions == 0 {
		err = noGeneration(generation)
	}
	return dimensions, err
}

func noGeneration(generation int64) error {
	return fmt.Errorf("generation %d: %w", generation, llmemory.ErrNotFound)
}

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
func (s *Store) AddGeneration(ctx context.Context, p llmemory.AddGenerationParams) (*llmemory.Generation, error) {
	m := p.Model
	if m.Dimensions < 1 || m.Dimensions > maxDimensions {
		return nil, &llmemory.InvalidError{Field: "dimensions", Rule: fmt.Sprintf("must be 1 to %d, are %d", maxDimensions, m.Dimensions)}
	}
	var out *llmemory.Generation
	matching := func(c *conn) error {
		list, err := s.generations(c)
		for i, g := range list {
			if g.Model.Identity() == m.Identity() && g.Profile == p.Profile {
				out = &list[i]
			}
		}
		return err
	}
	if err := s.read(ctx, matching); out != nil || err != nil {
		return out, err
	}
	err := s.write(ctx, func(c *conn) error {
		if err := matching(c); out != nil || err != nil {
			return err // somebody else has just made it
		}
		if err := c.exec(s.sql.Get("add_generation"), m.Identity(), string(p.Profile), m.Provider, m.Model, m.Dimensions, m.Normalized,
			m.QueryPrefix, m.PassagePrefix, m.MaxTokens, m.PricePerMillionTokens, micros(time.Now())); err != nil {
			return err
		}
		return matching(c)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// generationWaits is what decides whether a generation may be activated or retired.
type generationWaits struct {
	state      string
	backfilled bool
	waiting    int64
	others     int64
}

func (s *Store) generationWaits(c *conn, generation int64) (w generationWaits, err error) {
	err = c.query(s.sql.Get("generation_waits"), func(r row) error {
		w = generationWaits{r.ColumnText(0), r.ColumnBool(1), r.ColumnInt64(2), r.ColumnInt64(3)}
		return nil
	}, generation)
	if err == nil && w.state == "" {
		err = noGeneration(generation)
	}
	return w, err
}

// ActivateGeneration implements [llmemory.Store].
func (s *Store) ActivateGeneration(ctx context.Context, p llmemory.ActivateGenerationParams) (*llmemory.Generation, error) {
	var out *llmemory.Generation
	err := s.write(ctx, func(c *conn) error {
		w, err := s.generationWaits(c, p.Generation)
		switch {
		case err != nil:
			return err
		case w.state == retired:
			return noGeneration(p.Generation)
		case w.state == string(llmemory.Active), p.Force:
		case !w.backfilled:
			return fmt.Errorf("generation %d: %w: its vectors are not made yet: let \"llmemory embed\" with its embedder (or Run) do that, or force it", p.Generation, llmemory.ErrConflict)
		case w.waiting > 0:
			return fmt.Errorf("generation %d: %w: %d passages still wait for a vector of it: let \"llmemory embed\" with its embedder (or Run) go on, or force it", p.Generation, llmemory.ErrConflict, w.waiting)
		}
		if err := c.exec(s.sql.Get("stand_by"), p.Generation); err != nil {
			return err
		}
		if err := c.exec(s.sql.Get("activate"), p.Generation, micros(time.Now())); err != nil {
			return err
		}
		list, err := s.generations(c)
		for i, g := range list {
			if g.ID == p.Generation {
				out = &list[i]
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

const (
	// purgeRows is how many rows of a retired generation are removed at a time, so that other writers get their turn.
	purgeRows = 2000
	// purgeSets is how many owners' sets are looked up at a time.
	purgeSets = 100
)

// RetireGeneration implements [llmemory.Store]. First nobody sees the generation any more, then its rows go, a part at a time. What is
// cut off in between is finished by the same call. The file does not become smaller; the space is used again by what is added next.
func (s *Store) RetireGeneration(ctx context.Context, p llmemory.RetireGenerationParams) error {
	err := s.write(ctx, func(c *conn) error {
		w, err := s.generationWaits(c, p.Generation)
		switch {
		case err != nil:
			return err
		case w.state == retired:
			return nil
		case w.state == string(llmemory.Active) && w.others > 0:
			return fmt.Errorf("generation %d: %w: searches use it; activate another one first", p.Generation, llmemory.ErrConflict)
		case w.state == string(llmemory.Active) && !p.Force:
			return fmt.Errorf("generation %d: %w: searches use it, and there is no other", p.Generation, llmemory.ErrConflict)
		}
		return c.exec(s.sql.Get("retire"), p.Generation)
	})
	for done := false; err == nil && !done; {
		err = s.write(ctx, func(c *conn) (err error) {
			done, err = s.purge(c, p.Generation)
			return err
		})
	}
	return err
}

// purge removes some rows of a retired generation, and tells whether that was all.
func (s *Store) purge(c *conn, generation int64) (done bool, err error) {
	var sets []int64
	if err := c.query(s.sql.Get("purge_sets"), func(r row) error {
		sets = append(sets, r.ColumnInt64(0))
		return nil
	}, generation, purgeSets); err != nil {
		return false, err
	}
	room := int64(purgeRows)
	for _, id := range sets {
		for _, part := range []struct {
			name string
			args []any
		}{
			{"purge_jobs", []any{id, room}},
			{"purge_vectors", []any{vectorID(id, 0), vectorID(id+1, 0), room}},
		} {
			if err := c.exec(s.sql.Get(part.name), part.args...); err != nil {
				return false, err
			}
			if room -= c.raw.Changes(); room <= 0 {
				return false, nil
			}
		}
		for _, name := range []string{"purge_pages", "purge_set"} {
			if err := c.exec(s.sql.Get(name), id); err != nil {
				return false, err
			}
		}
	}
	if len(sets) == purgeSets {
		return false, nil
	}
	return true, c.exec(s.sql.Get("forget_generation"), generation)
}

// Progress implements [llmemory.Store]. Bytes are those of vectors and pages, without what the tree that holds them takes.
func (s *Store) Progress(ctx context.Context, p llmemory.ProgressParams) (*llmemory.ProgressRecord, error) {
	out := &llmemory.ProgressRecord{}
	err := s.read(ctx, func(c *conn) error {
		err := c.query(s.sql.Get("progress"), func(r row) error {
			out.Leaves, out.Tokens = r.ColumnInt64(0), r.ColumnInt64(1)
			return nil
		})
		if err != nil || p.Generation == 0 {
			return err
		}
		dimensions, err := s.dimensions(c, p.Generation)
		if err != nil {
			return err
		}
		return c.query(s.sql.Get("progress_vectors"), func(r row) error {
			out.Vectors, out.Bytes, out.Waiting, out.Dead = r.ColumnInt64(0), r.ColumnInt64(2), r.ColumnInt64(3), r.ColumnInt64(4)
			out.Bytes += r.ColumnInt64(1) * int64(4*dimensions)
			return nil
		}, p.Generation)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Inputs implements [llmemory.Store]. It takes the leaves that follow places in the table drawn at random.
func (s *Store) Inputs(ctx context.Context, p llmemory.InputsParams) ([]llmemory.JobInput, error) {
	var out []llmemory.JobInput
	err := s.read(ctx, func(c *conn) error {
		last := int64(0)
		if err := c.query(s.sql.Get("last_chunk"), func(r row) error {
			last = r.ColumnInt64(0)
			return nil
		}); err != nil {
			return err
		}
		seen := map[int64]bool{}
		next := int64(1)
		for n := 0; n < 2*p.Limit && len(out) < p.Limit; n++ {
			from := next // few are taken one after the other
			if last > int64(2*p.Limit) {
				from = 1 + rand.Int64N(last)
			}
			found := false
			if err := c.query(s.sql.Get("inputs"), func(r row) error {
				at := r.ColumnInt64(0)
				found, next = true, at+1
				if !seen[at] {
					seen[at] = true
					out = append(out, llmemory.JobInput{Owner: r.ColumnText(1), Name: r.ColumnText(2), Heading: r.ColumnText(3),
						Context: r.ColumnText(4), Text: r.ColumnText(5), Parts: r.ColumnInt(6)})
				}
				return nil
			}, from); err != nil {
				return err
			}
			if !found && from == next {
				break
			}
		}
		return nil
	})
	return out, err
}

// Tune implements [llmemory.Store]: there is no index to look after. The pages of vectors are merged by those who add to them.
func (s *Store) Tune(ctx context.Context, p llmemory.TuneParams) (bool, error) {
	return true, s.read(ctx, func(c *conn) error {
		_, err := s.dimensions(c, p.Generation)
		return err
	})
}
