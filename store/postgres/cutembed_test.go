package postgres_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
)

const (
	cutToken = "00000000-0000-4000-8000-000000000001"
	cutLease = time.Minute
	hours    = 2 * time.Hour
)

// down is what an embedder fails with that is not there.
var down = &embedding.Error{Kind: embedding.Unavailable, Provider: "test", Message: "out for lunch"}

// threeLeaves are the leaves of the document that jobs are of, ordinals 0 to 2 of owner o.
var threeLeaves = []string{"alpha one", "alpha two", "alpha three"}

// embeddings are the operations on vectors, the queue and generations.
var embeddings = []operation{
	{
		name:    "first Add with an embedder",
		embeds:  true,
		arrange: installVector,
		between: []func(*scene){
			func(s *scene) { s.makeGeneration() },
			func(s *scene) { // the generation could not be made; the document will be found by the backfill
				s.addPlain("o", llmemory.Document{Key: "new", Content: "alpha one\nalpha two"})
			},
			func(s *scene) { // it was made, but this could not be said
				s.makeGeneration()
				s.add("o", llmemory.Document{Key: "new", Content: "alpha one\nalpha two", Embed: llmemory.EmbedLater})
			},
		},
		done: 2,
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return wrote(mem.Owner("o").Add(ctx, llmemory.Document{Key: "new", Content: "alpha one\nalpha two"}))
		},
	}, {
		name:    "Add that embeds",
		embeds:  true,
		arrange: func(s *scene) { s.add("o", llmemory.Document{Key: "old", Content: "alpha zero"}) },
		done:    1,
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return wrote(mem.Owner("o").Add(ctx, llmemory.Document{Key: "new", Name: "named", Content: "alpha one\nalpha two\nalpha three"}))
		},
	}, {
		name:    "Add whose embedder fails",
		embeds:  true,
		arrange: func(s *scene) { s.add("o", llmemory.Document{Key: "old", Content: "alpha zero"}) },
		done:    1,
		fault:   down,
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return wrote(mem.Owner("o").Add(ctx, llmemory.Document{Key: "new", Content: "alpha one\nalpha two\nalpha three"}))
		},
	}, {
		name:   "Add that keeps, moves, drops and adds embedded chunks",
		embeds: true,
		arrange: func(s *scene) {
			s.add("o", llmemory.Document{Key: "old", Content: "alpha one\nalpha two\nalpha three\nalpha four\nalpha five\n"},
				llmemory.Document{Key: "other", Content: "alpha of another"})
			s.add("o", llmemory.Document{Key: "waiting", Content: "alpha six", Embed: llmemory.EmbedLater})
		},
		done: 1,
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return wrote(mem.Owner("o").Add(ctx, llmemory.Document{Key: "old", Content: "alpha one\nalpha new\n\nalpha three\nalpha five\nalpha newer"}))
		},
	}, {
		name:   "Add that folds segments and embeds",
		embeds: true,
		arrange: func(s *scene) {
			for i := range 32 {
				s.add("o", llmemory.Document{Key: fmt.Sprint(i), Language: "en", Content: fmt.Sprintf("alpha one%d\nalpha two%d", i, i)})
			}
		},
		done: 1,
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return wrote(mem.Owner("o").Add(ctx, llmemory.Document{Key: "7", Language: "en", Content: "alpha one7\nalpha three"}))
		},
	}, {
		name:   "Add for later, over a job",
		embeds: true,
		arrange: func(s *scene) {
			s.twoGenerations()
			s.add("o", llmemory.Document{Key: "old", Content: "alpha one\nalpha two", Embed: llmemory.EmbedLater})
		},
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return wrote(mem.Owner("o").Add(ctx, llmemory.Document{Key: "old", Content: "alpha one\nalpha three", Embed: llmemory.EmbedLater}))
		},
	}, {
		name:    "Add whose texts have vectors",
		embeds:  true,
		arrange: func(s *scene) { s.add("o", llmemory.Document{Key: "old", Content: "alpha one\nalpha two"}) },
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return wrote(mem.Owner("o").Add(ctx, llmemory.Document{Key: "new", Content: "alpha two\nalpha one"}))
		},
	}, {
		name:   "Add that takes vectors and jobs away",
		embeds: true,
		arrange: func(s *scene) {
			s.twoGenerations() // in one of which the vectors are made, while the other has jobs
			s.add("o", llmemory.Document{Key: "old", Content: "alpha one\nalpha two"})
		},
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return wrote(mem.Owner("o").Add(ctx, llmemory.Document{Key: "old", Content: "alpha one\nalpha two", Embed: llmemory.EmbedNever}))
		},
	}, {
		name:   "AddMany that embeds",
		embeds: true,
		arrange: func(s *scene) {
			s.add("o", llmemory.Document{Key: "same", Content: "alpha same"}, llmemory.Document{Key: "old", Content: "alpha one\nalpha two"})
		},
		done: 1,
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			results, err := mem.Owner("o").AddMany(ctx, []llmemory.Document{
				{Key: "same", Content: "alpha same"}, {Key: "old", Content: "alpha one\nalpha three"}, {Key: "never", Content: "alpha never", Embed: llmemory.EmbedNever},
				{OriginID: "elsewhere", Key: "new", Content: "alpha four\nalpha five"}})
			answer := ""
			for i, r := range results {
				answer += r.DocumentID + " "
				if err == nil && r.Err != nil {
					return "", fmt.Errorf("document %d: %w", i, r.Err)
				}
			}
			return answer, err
		},
	}, {
		name:   "Delete of vectors and jobs",
		embeds: true,
		arrange: func(s *scene) {
			s.twoGenerations()
			s.add("o", llmemory.Document{Key: "1", Content: "alpha one\nalpha two"}, llmemory.Document{Key: "2", Content: "alpha three", Embed: llmemory.EmbedLater},
				llmemory.Document{Key: "3", Content: "alpha four"})
		},
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return did(mem.Owner("o").Delete(ctx, llmemory.DocumentID("o", llmemory.Identity{OriginID: "default", Key: "1"}),
				llmemory.DocumentID("o", llmemory.Identity{OriginID: "default", Key: "2"})))
		},
	}, {
		name:    "Claim",
		embeds:  true,
		arrange: func(s *scene) { s.queued() },
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return did(mem.Store().Claim(ctx, llmemory.ClaimParams{Generation: 1, Token: cutToken, Lease: cutLease, Limit: 10}))
		},
	}, {
		name:    "Extend",
		embeds:  true,
		arrange: claimed,
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return did(mem.Store().Extend(ctx, llmemory.ExtendParams{Generation: 1, Token: cutToken, Lease: hours}))
		},
	}, {
		name:    "Complete",
		embeds:  true,
		arrange: claimed,
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			p := llmemory.CompleteParams{Generation: 1, Token: cutToken}
			for i, text := range threeLeaves[:2] {
				hash := sha256.Sum256([]byte(text))
				input := llmemory.JobInput{Text: text, Parts: verseParts(text)}
				var parts [][]float32
				for _, part := range input.Texts() {
					parts = append(parts, embedtest.Vector(embedtest.DefaultModel, part, 64))
				}
				p.Items = append(p.Items, llmemory.CompleteItem{Owner: "o", Ordinal: uint64(i), Hash: hash[:], Vector: llmemory.JoinParts(parts)})
			}
			return did(mem.Store().Complete(ctx, p))
		},
	}, {
		name:    "Fail",
		embeds:  true,
		arrange: claimed,
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return "", mem.Store().Fail(ctx, llmemory.FailParams{Generation: 1, Token: cutToken, Items: []llmemory.FailItem{
				{Owner: "o", Ordinal: 0, Reason: "refused", Tried: true, Dead: true}, {Owner: "o", Ordinal: 1, Reason: "busy", Delay: hours}, {Owner: "o", Ordinal: 2},
			}})
		},
	}, {
		name:   "RetryQueue",
		embeds: true,
		arrange: func(s *scene) {
			claimed(s)
			must(s.t, s.direct.Fail(s.t.Context(), llmemory.FailParams{Generation: 1, Token: cutToken, Items: []llmemory.FailItem{
				{Owner: "o", Ordinal: 0, Reason: "refused", Tried: true, Dead: true}, {Owner: "o", Ordinal: 2, Reason: "refused", Tried: true, Dead: true},
			}}))
		},
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return did(mem.Owner("o").RetryQueue(ctx))
		},
	}, {
		name:   "Backfill",
		embeds: true,
		arrange: func(s *scene) {
			s.addPlain("o", llmemory.Document{Key: "1", Content: "alpha one\nalpha two\nalpha three"}, llmemory.Document{Key: "2", Content: "alpha four"})
			s.makeGeneration()
			s.add("o", llmemory.Document{Key: "3", Content: "alpha five"})
		},
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return did(mem.Store().Backfill(ctx, llmemory.BackfillParams{Generation: 1, Limit: 100}))
		},
	}, {
		name:    "EmbedQueue",
		embeds:  true,
		arrange: func(s *scene) { s.queued() },
		steps:   true,
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return did(mem.EmbedQueue(ctx, nil))
		},
	}, {
		name:    "EmbedQueue whose embedder fails",
		embeds:  true,
		arrange: func(s *scene) { s.queued() },
		steps:   true,
		fault:   down,
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			_, err := mem.EmbedQueue(ctx, nil)
			if errors.Is(err, down) {
				err = nil
			}
			return "", err
		},
	}, {
		name:    "AddGeneration",
		embeds:  true,
		arrange: func(s *scene) { s.add("o", llmemory.Document{Key: "1", Content: "alpha one\nalpha two"}) },
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return did(mem.AddGeneration(ctx, embedtest.New(embedtest.Config{Model: further, Dimensions: 32}), llmemory.Accurate))
		},
	}, {
		name:   "ActivateGeneration",
		embeds: true,
		arrange: func(s *scene) {
			s.twoGenerations()
			s.add("o", llmemory.Document{Key: "1", Content: "alpha one\nalpha two"})
			_, err := s.still().EmbedQueue(s.t.Context(), nil)
			must(s.t, err)
		},
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			return did(mem.ActivateGeneration(ctx, 2, false))
		},
	}, {
		name:   "RetireGeneration",
		embeds: true,
		arrange: func(s *scene) {
			s.twoGenerations()
			s.add("o", llmemory.Document{Key: "1", Content: "alpha one\nalpha two"})
			_, err := s.still().EmbedQueue(s.t.Context(), nil)
			must(s.t, err)
			s.add("o", llmemory.Document{Key: "2", Content: "alpha three"})
		},
		between: []func(*scene){
			func(s *scene) { s.exec(`UPDATE embedding_generations SET state = 'retired' WHERE generation = 2`) },
			func(s *scene) {
				s.exec(`UPDATE embedding_generations SET state = 'retired' WHERE generation = 2; DELETE FROM embedding_queue WHERE generation = 2`)
			},
		},
		steps: true,
		act: func(ctx context.Context, mem *llmemory.Memory) (string, error) {
			err := mem.RetireGeneration(ctx, 2, false)
			if errors.Is(err, llmemory.ErrNotFound) { // repeated
				err = nil
			}
			return "", err
		},
	},
}

// installVector makes the extension, which no snapshot tells of.
func installVector(s *scene) { s.exec(`CREATE EXTENSION IF NOT EXISTS vector`) }

// makeGeneration makes the generation of the first embedder.
func (s *scene) makeGeneration() {
	s.t.Helper()
	_, err := s.still().AddGeneration(s.t.Context(), nil, "")
	must(s.t, err)
}

// twoGenerations makes the generations of both embedders, 1 and 2.
func (s *scene) twoGenerations() {
	s.t.Helper()
	s.makeGeneration()
	_, err := s.still().AddGeneration(s.t.Context(), embedtest.New(embedtest.Config{Model: further, Dimensions: 32}), "")
	must(s.t, err)
}

// queued stores a document that waits for its vectors, while nothing else does.
func (s *scene) queued() {
	s.t.Helper()
	s.makeGeneration()
	_, err := s.still().EmbedQueue(s.t.Context(), nil)
	must(s.t, err)
	s.add("o", llmemory.Document{Key: "1", Content: strings.Join(threeLeaves, "\n"), Embed: llmemory.EmbedLater})
}

// claimed stores a document whose jobs are leased.
func claimed(s *scene) {
	s.queued()
	jobs, err := s.direct.Claim(s.t.Context(), llmemory.ClaimParams{Generation: 1, Token: cutToken, Lease: cutLease, Limit: 10})
	must(s.t, err)
	if len(jobs) != len(threeLeaves) {
		s.t.Fatalf("%d jobs, want %d", len(jobs), len(threeLeaves))
	}
}
