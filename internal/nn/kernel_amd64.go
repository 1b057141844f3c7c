package nn

import "golang.org/x/sys/cpu"

// native returns the implementations in assembly that this processor can run.
func native() []*Kernel {
	var out []*Kernel
	if cpu.X86.HasAVX512 && cpu.X86.HasFMA {
		out = append(out, &Kernel{
			name: "avx512", rows: 12, cols: 32, tile: tileAVX512, gelu: geluAVX512, softmax: softmaxAVX512, norm: inVectors(16, normAVX512),
		})
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		out = append(out, &Kernel{
			name: "avx2", rows: 6, cols: 16, tile: tileAVX2, gelu: geluAVX2, softmax: softmaxAVX2, norm: inVectors(8, normAVX2),
		})
	}
	return append(out, &Kernel{ // what every processor of this architecture has
		name: "sse2", rows: 4, cols: 8, tile: tileSSE2, gelu: geluPortable, softmax: softmaxPortable, norm: normPortable,
	})
}

//go:noescape
func tileAVX512(rows, k int, a []float32, lda int, b []float32, ldb int, bias, c []float32, ldc int)

//go:noescape
func geluAVX512(x []float32)

//go:noescape
func softmaxAVX512(x []float32)

//go:noescape
func normAVX512(x, add, weight, bias []float32, epsilon float32)

//go:noescape
func tileAVX2(rows, k int, a []float32, lda int, b []float32, ldb int, bias, c []float32, ldc int)

//go:noescape
func geluAVX2(x []float32)

//go:noescape
func softmaxAVX2(x []float32)

//go:noescape
func normAVX2(x, add, weight, bias []float32, epsilon float32)

//go:noescape
func tileSSE2(rows, k int, a []float32, lda int, b []float32, ldb int, bias, c []float32, ldc int)
