package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// numbers returns n normally distributed numbers.
func numbers(r *rand.Rand, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(r.NormFloat64())
	}
	return out
}

// each runs a test for every kernel of this processor.
func each(t *testing.T, do func(t *testing.T, k *Kernel)) {
	for _, k := range Kernels() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			do(t, k)
		})
	}
}

func TestTile(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k *Kernel) {
		r := rand.New(rand.NewPCG(1, 2))
		for rows := 1; rows <= k.rows; rows++ {
			for _, depth := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 384} {
				lda, ldb, ldc := depth+r.IntN(3), k.cols+r.IntN(2)*3, k.cols+r.IntN(3)
				a, b, bias := numbers(r, rows*lda), numbers(r, depth*ldb), numbers(r, k.cols)
				const untouched = 12345
				c := make([]float32, rows*ldc+k.cols)
				for i := range c {
					c[i] = untouched
				}
				k.tile(rows, depth, a, lda, b, ldb, bias, c, ldc)
				for i, got := range c {
					row, column := i/ldc, i%ldc
					if row >= rows || column >= k.cols {
						if got != untouched {
							t.Fatalf("%d rows of %d: wrote to row %d, column %d", rows, depth, row, column)
						}
						continue
					}
					want, size := float64(bias[column]), math.Abs(float64(bias[column]))
					for p := range depth {
						x := float64(a[row*lda+p]) * float64(b[p*ldb+column])
						want, size = want+x, size+math.Abs(x)
					}
					if math.Abs(float64(got)-want) > 1e-6*size {
						t.Fatalf("%d rows of %d: row %d, column %d is %v, want %v", rows, depth, row, column, got, want)
					}
				}
			}
		}
	})
}

// TestProduct computes whole products, of any number of rows.
func TestProduct(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k *Kernel) {
		r := rand.New(rand.NewPCG(3, 4))
		const in, out = 19, 70
		weights, bias := numbers(r, in*out), numbers(r, out)
		m := k.newMatrix(in, out, weights, bias, 0.5)
		wide := m.width() * k.cols
		for rows := 1; rows < 30; rows++ {
			a, c := numbers(r, rows*in), make([]float32, rows*wide)
			for panel := range m.width() {
				k.multiply(rows, a, in, &m, panel, c, wide)
			}
			for i := range rows {
				for j := range wide {
					var want float64
					if j < out {
						want = float64(bias[j]) / 2
						for p := range in {
							want += float64(a[i*in+p]) * float64(weights[j*in+p]) / 2
						}
					}
					if got := float64(c[i*wide+j]); math.Abs(got-want) > 1e-5 {
						t.Fatalf("%d rows: row %d, column %d is %v, want %v", rows, i, j, got, want)
					}
				}
			}
		}
	})
}

func TestGELU(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k *Kernel) {
		var x []float32
		for v := -20.0; v <= 20; v += 1.0 / 256 {
			x = append(x, float32(v))
		}
		x = append(x, 0, float32(math.Copysign(0, -1)), 1e-30, -1e-30, 1e30, -1e30, 1e-40)
		for len(x)%k.cols != 0 {
			x = append(x, 1)
		}
		got := append([]float32(nil), x...)
		k.gelu(got)
		for i, x := range x {
			x := float64(x)
			want := x * 0.5 * math.Erfc(-x/math.Sqrt2)
			if !(math.Abs(float64(got[i])-want) <= 4e-7*math.Abs(x)) {
				t.Fatalf("gelu(%v) = %v, want %v", x, got[i], want)
			}
		}
	})
}

func TestSoftmax(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k *Kernel) {
		r := rand.New(rand.NewPCG(5, 6))
		for _, scale := range []float32{0, 0.1, 1, 10, 50, 1000} {
			for panels := 1; panels < 6; panels++ {
				x := numbers(r, panels*k.cols)
				for i := range x {
					x[i] *= scale
				}
				x[len(x)-1] = -1e30 // as the mask has it
				most, sum := float32(math.Inf(-1)), 0.0
				for _, v := range x {
					most = max(most, v)
				}
				for _, v := range x {
					sum += math.Exp(float64(v) - float64(most))
				}
				got := append([]float32(nil), x...)
				k.softmax(got)
				for i, v := range x {
					want := math.Exp(float64(v)-float64(most)) / sum
					if !(math.Abs(float64(got[i])-want) <= want*(1e-6+1.2e-7*math.Abs(float64(v-most)))+1e-36) {
						t.Fatalf("scale %v, %d of %d: %v, want %v", scale, i, len(x), got[i], want)
					}
				}
			}
		}
	})
}

func TestNorm(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k *Kernel) {
		r := rand.New(rand.NewPCG(7, 8))
		for _, n := range []int{1, 2, 7, 8, 16, 24, 32, 40, 312, 384} {
			for _, with := range []bool{true, false} {
				x, weight, bias := numbers(r, n), numbers(r, n), numbers(r, n)
				var add []float32
				sum := make([]float64, n)
				for i, v := range x {
					sum[i] = float64(v)
				}
				if with {
					add = numbers(r, n+3)
					for i := range sum {
						sum[i] += float64(add[i])
					}
				}
				var mean, variance float64
				for _, v := range sum {
					mean += v / float64(n)
				}
				for _, v := range sum {
					variance += (v - mean) * (v - mean) / float64(n)
				}
				k.norm(x, add, weight, bias, 1e-5)
				for i, got := range x {
					want := (sum[i]-mean)/math.Sqrt(variance+1e-5)*float64(weight[i]) + float64(bias[i])
					if !(math.Abs(float64(got)-want) < 1e-4) {
						t.Fatalf("%d of %d, something added %t: %v, want %v", i, n, with, got, want)
					}
				}
			}
		}
	})
}

func TestKernelByName(t *testing.T) {
	t.Parallel()
	kernels := Kernels()
	if kernels[len(kernels)-1].Name() != "portable" {
		t.Errorf("the last kernel is %s, not the portable one", kernels[len(kernels)-1].Name())
	}
	for _, k := range kernels {
		if got, err := ByName(k.Name()); err != nil || got.Name() != k.Name() {
			t.Errorf("ByName(%s): %v, %v", k.Name(), got, err)
		}
	}
	if got, err := ByName(""); err != nil || got.Name() != kernels[0].Name() {
		t.Errorf("ByName of nothing: %v, %v", got, err)
	}
	if _, err := ByName("abacus"); err == nil {
		t.Error("a kernel there is not was found")
	}
}

func BenchmarkProduct(b *testing.B) {
	for _, k := range Kernels() {
		for _, rows := range []int{8, 24, 96} {
			for _, shape := range [][2]int{{384, 1536}, {1536, 384}} {
				b.Run(fmt.Sprintf("%s/%d/%dx%d", k.name, rows, shape[0], shape[1]), func(b *testing.B) {
					r := rand.New(rand.NewPCG(1, 2))
					m := k.newMatrix(shape[0], shape[1], numbers(r, shape[0]*shape[1]), nil, 1)
					x, y := numbers(r, rows*shape[0]), make([]float32, rows*shape[1])
					for b.Loop() {
						for panel := range m.width() {
							k.multiply(rows, x, shape[0], &m, panel, y, shape[1])
						}
					}
					b.ReportMetric(float64(rows*shape[0]*shape[1]*b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
				})
			}
		}
	}
}

func BenchmarkGELU(b *testing.B) {
	for _, k := range Kernels() {
		b.Run(k.name, func(b *testing.B) {
			x := numbers(rand.New(rand.NewPCG(1, 2)), 1536)
			y := make([]float32, len(x))
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				copy(y, x) // in place it would soon work on numbers near 0
				k.gelu(y)
			}
		})
	}
}
