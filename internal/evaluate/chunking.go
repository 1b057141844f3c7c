package evaluate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/eval"
	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/vec"
	"github.com/llmemory/llmemory/internal/wordpiece"
)

// Strategy is a way to cut documents, with a name for people.
type Strategy struct {
	Name    string
	Chunker chunk.Chunker
}

// Strategies returns the default way to cut documents, and those to compare it with.
func Strategies(embedder embedding.Embedder) []Strategy {
	return []Strategy{
		{"hierarchical (default)", chunk.Hierarchical{}},
		{"fixed, 200 tokens", chunk.Fixed{Tokens: 200}},
		{"fixed, 200 tokens, 100 of them overlap", chunk.Fixed{Tokens: 200, Overlap: 100}},
		{"fixed, 400 tokens", chunk.Fixed{Tokens: 400}},
		{"fixed, 400 tokens, 200 of them overlap", chunk.Fixed{Tokens: 400, Overlap: 200}},
		{"sentence", chunk.Sentence{}},
		{"sentence, 1 overlaps", chunk.Sentence{Overlap: 1}},
		{"semantic", chunk.Semantic{EmbedName: embedder.Model().Identity(), Embed: func(ctx context.Context, texts []string) ([][]float32, error) {
			return embedder.Embed(ctx, embedding.Passage, texts)
		}}},
	}
}

// ChunkingConfig says what to measure.
type ChunkingConfig struct {
	Excerpts   *eval.Excerpts
	Name       string // of the collection
	Embedder   embedding.Embedder
	Strategies []Strategy
	Top        int // passages to find for each question; 0 means 5
	// Progress is told how far the work is. May be nil.
	Progress func(format string, args ...any)
}

// embedBatch is how many passages one call of the embedder gets.
const embedBatch = 64

// Chunking measures ways to cut documents: all documents are cut and the passages embedded, with the document's name and the path of
// headings before them as a memory does it; the passages nearest to each question are compared with the excerpts that answer it.
func Chunking(ctx context.Context, c ChunkingConfig) (*eval.ChunkingReport, error) {
	if c.Progress == nil {
		c.Progress = func(string, ...any) {}
	}
	report := &eval.ChunkingReport{
		Dataset: c.Name, Documents: len(c.Excerpts.Documents), Questions: len(c.Excerpts.Questions), Top: cmp.Or(c.Top, 5),
	}
	questions := make([]string, len(c.Excerpts.Questions))
	for i, q := range c.Excerpts.Questions {
		questions[i] = q.Text
	}
	asked, err := c.embed(ctx, embedding.Query, questions, "questions")
	if err != nil {
		return nil, err
	}
	report.Embedder = c.Embedder.Model().Model
	for _, s := range c.Strategies {
		passages, inputs, sizes, err := c.cut(ctx, s.Chunker)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		vectors, err := c.embed(ctx, embedding.Passage, slices.Concat(inputs...), s.Name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		leaves := make([][]float32, len(inputs))
		for i, parts := range inputs {
			leaves[i] = llmemory.JoinParts(vectors[:len(parts)])
			vectors = vectors[len(parts):]
		}
		found, filled, sum := map[string][]eval.Passage{}, map[string][]eval.Passage{}, 0
		for i, q := range c.Excerpts.Questions {
			room := eval.ChunkingBudget
			for rank, n := range nearest(asked[i], leaves) {
				if rank < report.Top {
					found[q.ID] = append(found[q.ID], passages[n])
				}
				if room -= sizes[n]; room >= 0 {
					filled[q.ID] = append(filled[q.ID], passages[n])
				} else if rank >= report.Top {
					break
				}
			}
		}
		for _, n := range sizes {
			sum += n
		}
		report.Strategies = append(report.Strategies, eval.ChunkingStrategy{
			Name: s.Name, Signature: s.Chunker.Signature(), Chunks: len(passages), Tokens: sum / max(1, len(passages)),
			ExcerptScores: c.Excerpts.Score(found), BudgetRecall: c.Excerpts.Score(filled).Recall,
		})
	}
	return report, nil
}

// cut cuts all documents into passages, and returns what each is embedded from, part by part, and its tokens.
func (c *ChunkingConfig) cut(ctx context.Context, chunker chunk.Chunker) (passages []eval.Passage, inputs [][]string, sizes []int, err error) {
	for _, name := range slices.Sorted(maps.Keys(c.Excerpts.Documents)) {
		source := c.Excerpts.Documents[name]
		label, _ := extract.TypeByName(source.File)
		pieces, err := chunker.Chunk(ctx, chunk.Text{Content: source.Text, Type: label})
		if err != nil {
			return nil, nil, nil, fmt.Errorf("document %s: %w", name, err)
		}
		for _, p := range pieces {
			if p.Level > 0 {
				continue
			}
			r := eval.Range{Start: p.Start - p.Overlap, End: p.End}
			input := llmemory.JobInput{Name: source.File, Heading: strings.Join(p.Heading, " > "), Text: source.Text[r.Start:r.End], Parts: p.Parts}
			sizes = append(sizes, wordpiece.Default().Count(input.Text))
			passages, inputs = append(passages, eval.Passage{Document: name, Range: r}), append(inputs, input.Texts())
		}
	}
	return passages, inputs, sizes, nil
}

func (c *ChunkingConfig) embed(ctx context.Context, role embedding.Role, texts []string, what string) ([][]float32, error) {
	vectors := make([][]float32, 0, len(texts))
	for batch := range slices.Chunk(texts, embedBatch) {
		c.Progress("%s: embedded %d of %d", what, len(vectors), len(texts))
		got, err := c.Embedder.Embed(ctx, role, batch)
		if err != nil {
			return nil, err
		}
		vectors = append(vectors, got...)
	}
	return vectors, nil
}

// nearest returns the leaves by the highest cosine that a vector of theirs has to v, the highest first; of equal ones the earlier.
func nearest(v []float32, leaves [][]float32) []int {
	type candidate struct {
		at     int
		cosine float64
	}
	all := make([]candidate, len(leaves))
	for i, leaf := range leaves {
		all[i] = candidate{i, vec.Nearest(v, leaf)}
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Or(cmp.Compare(b.cosine, a.cosine), a.at-b.at) })
	out := make([]int, len(all))
	for i, c := range all {
		out[i] = c.at
	}
	return out
}
