package vecset_test

import (
	"math"
	"slices"
	"testing"

	"github.com/llmemory/llmemory/internal/vecset"
)

// TestVectors checks what the package says of its vectors: reproducible, of length 1, and in clusters.
func TestVectors(t *testing.T) {
	t.Parallel()
	s, again, other := vecset.New(64, 1), vecset.New(64, 1), vecset.New(64, 2)
	const n = 400
	var vectors [][]float32
	for i := range n {
		v := s.Vector("a", i)
		vectors = append(vectors, v)
		length := 0.0
		for _, x := range v {
			length += float64(x) * float64(x)
		}
		if len(v) != 64 || math.Abs(length-1) > 1e-5 {
			t.Fatalf("vector %d has %d dimensions and length %v", i, len(v), length)
		}
	}
	for i := n - 1; i >= 0; i-- { // in another order
		if !slices.Equal(again.Vector("a", i), vectors[i]) {
			t.Fatalf("vector %d is another one the second time", i)
		}
	}
	for what, v := range map[string][]float32{
		"seed": other.Vector("a", 0), "owner": s.Vector("b", 0), "stream": s.Query("a", 0), "number": vectors[1],
	} {
		if slices.Equal(v, vectors[0]) {
			t.Errorf("the vector of another %s is the same", what)
		}
	}
	// A question's nearest vector is near, and most others are far.
	near, far := 0.0, 0.0
	for i := range 50 {
		q := s.Query("a", i)
		best, sum := -1.0, 0.0
		for _, v := range vectors {
			c := dot(q, v)
			best, sum = max(best, c), sum+c
		}
		near, far = near+best/50, far+sum/n/50
	}
	if near < 0.6 || far > 0.3 {
		t.Errorf("the nearest vector has cosine %.2f, any vector %.2f: these are no clusters", near, far)
	}
}

// dot is the cosine of vectors of length 1.
func dot(a, b []float32) (sum float64) {
	for i, x := range a {
		sum += float64(x) * float64(b[i])
	}
	return sum
}
