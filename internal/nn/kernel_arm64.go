package nn

// native returns the implementation in assembly, of instructions that every processor of this architecture has.
func native() []*Kernel {
	return []*Kernel{{
		name: "neon", rows: 8, cols: 8, tile: tileNEON, gelu: geluNEON, softmax: softmaxNEON, norm: inVectors(4, normNEON),
	}}
}

//go:noescape
func tileNEON(rows, k int, a []float32, lda int, b []float32, ldb int, bias, c []float32, ldc int)

//go:noescape
func geluNEON(x []float32)

//go:noescape
func softmaxNEON(x []float32)

//go:noescape
func normNEON(x, add, weight, bias []float32, epsilon float32)
