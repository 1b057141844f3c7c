package chunk

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// EmbedFunc turns texts into vectors, one for each, in their order, all of the same length. It must be deterministic, or the same text
// is cut differently each time, and safe for concurrent use.
type EmbedFunc func(ctx context.Context, texts []string) ([][]float32, error)

// Semantic cuts between sentences where the subject changes: where the vectors of the sentences before and after are farthest apart.
//
// That the distance of neighbouring sentences tells breakpoints is Greg Kamradt's idea (5 Levels of Text Splitting, 2023), who cuts
// where it exceeds a percentile of all distances in the text. Smith and Troynikov (Evaluating Chunking Strategies for Retrieval, Chroma
// 2024) move that threshold until leaves have the size wanted. Here a border is a cut if no better one is within half the size aimed
// at, so that cuts depend on the text nearby and an edit stays local.
//
// Every sentence is embedded, once for every time that a text is cut: about as much work for the model as embedding the leaves, and
// half as much again for each neighbour in Buffer.
type Semantic struct {
	// Embed makes the vectors. Required.
	Embed EmbedFunc
	// EmbedName names Embed in the signature, with the model that it asks. Required.
	EmbedName string
	// Tokens is the most a leaf has; three quarters of it are aimed at. Defaults to [DefaultTokens].
	Tokens int
	// Buffer is how many sentences before and after each are embedded together with it, which makes the distances less jumpy.
	// Defaults to 1, as in Kamradt's; a negative number means none.
	Buffer int
	// Count and CountName are those of [Hierarchical].
	Count     Counter
	CountName string
}

// embedBatch is how many texts Embed gets at a time.
const embedBatch = 64

func (s Semantic) settings() sized { return sized{"chunk.Semantic", s.Tokens, 0, s.Count, s.CountName} }

func (s Semantic) buffer() int {
	if s.Buffer == 0 {
		return 1
	}
	return max(0, s.Buffer)
}

// Validate returns all faults of the configuration in one error, or nil.
func (s Semantic) Validate() error {
	return s.settings().validate(func(int) error {
		if s.Embed == nil || s.EmbedName == "" {
			return errors.New("needs Embed and EmbedName")
		}
		return nil
	})
}

// Signature names the strategy, its version and its settings.
func (s Semantic) Signature() string {
	return fmt.Sprintf("%s;buffer=%d;embed=%q", s.settings().signature("semantic/1"), s.buffer(), s.EmbedName)
}

// Chunk cuts t. It fails for a faulty configuration, a text that is not UTF-8 (see [ErrInvalidUTF8]), with the error of Embed, and when
// ctx ends.
func (s Semantic) Chunk(ctx context.Context, t Text) ([]Piece, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	b, err := s.settings().builder(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := b.paragraphs(0, len(b.text), blockStrength); err != nil {
		return nil, fmt.Errorf("chunk: %w", err)
	}
	if err := s.weigh(b); err != nil {
		return nil, fmt.Errorf("chunk: %w", err)
	}
	return b.packed(0)
}

// weigh gives each border the distance of what it parts as strength, in hundredths.
func (s Semantic) weigh(b *builder) error {
	if len(b.units) < 2 {
		return nil
	}
	var before []float32
	for at := 0; at < len(b.units); at += embedBatch {
		end := min(at+embedBatch, len(b.units))
		texts := make([]string, 0, end-at)
		for i := at; i < end; i++ {
			first, last := max(0, i-s.buffer()), min(len(b.units)-1, i+s.buffer())
			texts = append(texts, b.text[b.units[first].start:b.units[last].end])
		}
		vectors, err := s.Embed(b.ctx, texts)
		if err != nil {
			return err
		}
		if len(vectors) != len(texts) {
			return fmt.Errorf("an embedding of %d vectors for %d texts", len(vectors), len(texts))
		}
		for i, v := range vectors {
			if at+i > 0 {
				d, err := distance(before, v)
				if err != nil {
					return err
				}
				b.units[at+i].strength = min(blockStrength, strength(math.Round(100*d)))
			}
			before = v
		}
	}
	return nil
}

// distance is that of cosine, from 0 to 2.
func distance(a, b []float32) (float64, error) {
	if len(a) != len(b) {
		return 0, fmt.Errorf("embeddings of %d and %d numbers", len(a), len(b))
	}
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	d := 1 - ab/math.Sqrt(aa*bb)
	if math.IsNaN(d) || math.IsInf(d, 0) {
		return 0, errors.New("an embedding without direction")
	}
	return max(0, d), nil
}
