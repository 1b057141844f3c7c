package vec_test

import (
	"math"
	"testing"

	"github.com/llmemory/llmemory/internal/vec"
)

func TestCosine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b []float32
		want float64
	}{
		{[]float32{1, 0}, []float32{0, 1}, 0},
		{[]float32{1, 2, 3}, []float32{2, 4, 6}, 1},
		{[]float32{1, 2, 3}, []float32{-1, -2, -3}, -1},
		{[]float32{3, 4}, []float32{4, 3}, 24.0 / 25},
		{[]float32{0, 0}, []float32{4, 3}, 0},
		{[]float32{1e30, 1e30}, []float32{1e30, 0}, math.Sqrt(0.5)},
	} {
		if got := vec.Cosine(c.a, c.b); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("cosine of %v and %v is %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func BenchmarkCosine384(b *testing.B) {
	x, y := make([]float32, 384), make([]float32, 384)
	for i := range x {
		x[i], y[i] = float32(i), float32(384-i)
	}
	for b.Loop() {
		vec.Cosine(x, y)
	}
}
