package vec_test

import (
	"math"
	"slices"
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

func TestNorms(t *testing.T) {
	t.Parallel()
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, c := range []struct {
		v             []float32
		most, squares float64
	}{
		{nil, 0, 0},
		{[]float32{0, float32(math.Copysign(0, -1))}, 0, 0},
		{[]float32{1, -3, 2, 0, 1}, 3, 15},
		{[]float32{1, 2, 3, 4, 5, 6, 7, -8, 9}, 9, 285},
		{[]float32{-math.MaxFloat32}, math.MaxFloat32, math.MaxFloat32 * math.MaxFloat32},
		{[]float32{1, inf}, math.Inf(1), math.Inf(1)},
		{[]float32{inf, 1, nan, 1, 1}, math.NaN(), math.NaN()},
	} {
		same := func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }
		if most, squares := float64(vec.MaxAbs(c.v)), vec.SquaredNorm(c.v); !same(most, c.most) || !same(squares, c.squares) {
			t.Errorf("%v: most %v, want %v; squares %v, want %v", c.v, most, c.most, squares, c.squares)
		}
	}
}

func TestSettled(t *testing.T) {
	t.Parallel()
	for _, v := range [][]float32{{}, {0, 0}, {1, -2}, {1024, 0}, {-1.0 / 1024}} {
		if got := vec.Settled(v); len(v) > 0 && &got[0] != &v[0] {
			t.Errorf("%v was copied", v)
		}
	}
	for _, v := range [][]float32{{1e30, -2e30}, {0, 3e-30, 1e-30}, {math.MaxFloat32, 1}, {math.SmallestNonzeroFloat32}} {
		before := slices.Clone(v)
		got := vec.Settled(v)
		if !slices.Equal(v, before) {
			t.Errorf("%v was changed", before)
		}
		if most := vec.MaxAbs(got); most < 1.0/1024 || most > 1024 {
			t.Errorf("%v became %v", v, got)
		}
		for i, x := range v {
			if ratio := float64(got[i]) / float64(x); x != 0 && ratio != math.Exp2(math.Round(math.Log2(ratio))) {
				t.Errorf("%v became %v", v, got)
			}
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

func TestNearest(t *testing.T) {
	t.Parallel()
	query := []float32{1, 0}
	if got := vec.Nearest(query, []float32{0, 2, -1, 0, 3, 3}); math.Abs(got-math.Sqrt2/2) > 1e-12 {
		t.Errorf("the nearest of three has the cosine %v", got)
	}
	if got := vec.Nearest(query, []float32{-5, 0}); got != -1 {
		t.Errorf("the nearest of one has the cosine %v, want -1", got)
	}
}

func TestSettledEach(t *testing.T) {
	t.Parallel()
	one := []float32{1, 2}
	if got := vec.SettledEach(one, 2); &got[0] != &one[0] {
		t.Error("what need not be scaled was copied")
	}
	several := []float32{1, 2, 1e30, -1e30, 1e-30, 0}
	want := slices.Concat(one, vec.Settled(several[2:4]), vec.Settled(several[4:]))
	if got := vec.SettledEach(several, 2); !slices.Equal(got, want) {
		t.Errorf("%v, want %v: each by itself", got, want)
	}
}
