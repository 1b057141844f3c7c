package embedding

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/llmemory/llmemory/internal/vec"
)

// Check returns a [*VectorError] unless there are n vectors, all of dim dimensions, finite, and none of them all zero. A dim of
// 0 means that of the first vector.
//
// Databases are lenient here: pgvector stores a vector of zeros, which has no direction, and an index never returns it.
func Check(vectors [][]float32, n, dim int) error {
	if len(vectors) != n {
		return &VectorError{Index: -1, Rule: fmt.Sprintf("%d vectors for %d texts", len(vectors), n)}
	}
	for i, v := range vectors {
		if dim == 0 {
			dim = len(v)
		}
		if len(v) == 0 {
			return &VectorError{Index: i, Rule: "is empty"}
		}
		if len(v) != dim {
			return &VectorError{Index: i, Rule: fmt.Sprintf("has %d dimensions, not %d", len(v), dim)}
		}
		sum := vec.SquaredNorm(v)
		if math.IsNaN(sum) || math.IsInf(sum, 0) {
			j := slices.IndexFunc(v, func(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) })
			return &VectorError{Index: i, Rule: fmt.Sprintf("has %v at %d", v[j], j)}
		}
		if sum == 0 {
			return &VectorError{Index: i, Rule: "is all zero"}
		}
	}
	return nil
}

// Verify lets only vectors pass that [Check] accepts; anything else is an [*Error] of kind [BadAnswer]. If the model's dimensions
// are known, they count.
func Verify(e Embedder) Embedder { return verifier{e} }

type verifier struct{ Embedder }

func (v verifier) Unwrap() Embedder { return v.Embedder }

func (v verifier) Embed(ctx context.Context, role Role, texts []string) ([][]float32, error) {
	info := v.Model() // before the call, which may be what makes the dimensions known
	vectors, err := v.Embedder.Embed(ctx, role, texts)
	if err != nil {
		return nil, err
	}
	if err := Check(vectors, len(texts), info.Dimensions); err != nil {
		return nil, &Error{Kind: BadAnswer, Provider: info.Provider, Err: err}
	}
	return vectors, nil
}
