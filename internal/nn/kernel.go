package nn

import "fmt"

//go:generate go run gen.go genavx.go genneon.go

// Kernel is an implementation of the inner loops, for one kind of processor.
//
// All of its functions want what their callers in this package ensure: rows that lie in the slices, columns rounded up to the
// width of a panel.
type Kernel struct {
	name string
	rows int // most rows of a tile
	cols int // columns of a tile, the width of a panel

	// tile computes c[i][j] = bias[j] + Σ a[i][p]·b[p][j] for i < rows ≤ the kernel's rows, p < k ≥ 1, and j < cols. Rows are lda, ldb and
	// ldc elements apart.
	tile func(rows, k int, a []float32, lda int, b []float32, ldb int, bias, c []float32, ldc int)
	// gelu replaces each x by x·Φ(x), Φ being the distribution function of the normal distribution. The length is a multiple of cols.
	gelu func(x []float32)
	// softmax replaces x by exp(x−max) / Σ exp(x−max). The length is a multiple of cols.
	softmax func(x []float32)
	// norm adds add to x, unless it is nil, and scales the sum to mean 0 and variance 1, then by weight and bias.
	norm func(x, add, weight, bias []float32, epsilon float32)
}

// Name is "avx512", "avx2", "sse2", "neon" or "portable".
func (k *Kernel) Name() string { return k.name }

// Kernels returns the implementations that this processor can run, the fastest first. The last one is portable.
func Kernels() []*Kernel { return append(native(), portable()) }

// Best returns the fastest implementation for this processor.
func Best() *Kernel { return Kernels()[0] }

// ByName returns the implementation of a name, or the best one for "".
func ByName(name string) (*Kernel, error) {
	if name == "" {
		return Best(), nil
	}
	var names []string
	for _, k := range Kernels() {
		if k.name == name {
			return k, nil
		}
		names = append(names, k.name)
	}
	return nil, fmt.Errorf("kernel %q is none of those that this processor can run: %q", name, names)
}

// roundUp returns n rounded up to a multiple of m.
func roundUp(n, m int) int { return (n + m - 1) / m * m }

// matrix is a linear layer, its weights laid out in panels: for each group of columns of the product, one row of them after the
// other. What is missing in the last panel is zero.
type matrix struct {
	in, out int
	cols    int // of a panel
	panels  []float32
	bias    []float32 // as long as the panels are wide together
}

// newMatrix lays out a layer of weights, out rows of in, and biases, which may be nil, times a factor.
func (k *Kernel) newMatrix(in, out int, weights, bias []float32, factor float32) matrix {
	m := matrix{in: in, out: out, cols: k.cols, bias: make([]float32, roundUp(out, k.cols))}
	m.panels = make([]float32, len(m.bias)*in)
	m.set(0, weights, bias, factor)
	return m
}

// set puts weights and biases into the columns from first on.
func (m *matrix) set(first int, weights, bias []float32, factor float32) {
	// Some inputs at a time: their places in a panel stay in the processor's caches while all of its columns are filled.
	const some = 64
	count := len(weights) / m.in
	for lo := 0; lo < count; {
		column := first + lo
		hi := min(count, lo+m.cols-column%m.cols) // the rest of this panel
		panel := m.panels[column/m.cols*m.cols*m.in:]
		for at := 0; at < m.in; at += some {
			for o := lo; o < hi; o++ {
				to := panel[at*m.cols+(first+o)%m.cols:]
				for i, w := range weights[o*m.in+at : o*m.in+min(at+some, m.in)] {
					to[i*m.cols] = w * factor
				}
			}
		}
		lo = hi
	}
	for o, v := range bias {
		m.bias[first+o] = v * factor
	}
}

// width is how many panels there are.
func (m *matrix) width() int { return len(m.bias) / m.cols }

// multiply computes the columns of one panel for all rows: c = a·m + bias. Rows of c are ldc apart, at least as much as all panels
// are wide.
func (k *Kernel) multiply(rows int, a []float32, lda int, m *matrix, panel int, c []float32, ldc int) {
	b := m.panels[panel*m.cols*m.in : (panel+1)*m.cols*m.in]
	bias := m.bias[panel*m.cols : (panel+1)*m.cols]
	k.product(rows, m.in, a, lda, b, m.cols, bias, c[panel*m.cols:], ldc)
}

// product cuts the rows of a product into tiles of about the same height.
func (k *Kernel) product(rows, depth int, a []float32, lda int, b []float32, ldb int, bias, c []float32, ldc int) {
	_, _, _ = a[(rows-1)*lda+depth-1], b[(depth-1)*ldb+k.cols-1], c[(rows-1)*ldc+k.cols-1] // the kernels do not check
	for left := (rows + k.rows - 1) / k.rows; rows > 0; left-- {
		n := (rows + left - 1) / left
		k.tile(n, depth, a, lda, b, ldb, bias, c, ldc)
		if rows -= n; rows > 0 {
			a, c = a[n*lda:], c[n*ldc:]
		}
	}
}
