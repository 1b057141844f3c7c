//go:build ignore

package main

import "fmt"

// set is a set of instructions: how wide its vectors are and how they are called.
type set struct {
	name  string // suffix of the functions
	reg   string // of a vector register
	bytes int
	rows  int // of a tile; its columns are two vectors
	all   string
}

var sets = []set{
	{name: "AVX512", reg: "Z", bytes: 64, rows: 12, all: "VPANDD"},
	{name: "AVX2", reg: "Y", bytes: 32, rows: 6, all: "VPAND"},
}

// amd64 writes the kernels for amd64.
func amd64() {
	for _, c := range constants {
		p("")
		for i := range 16 {
			p("DATA %s<>+%d(SB)/4, $0x%08x", c.name, i*4, c.bits)
		}
		p("GLOBL %s<>(SB), RODATA|NOPTR, $64", c.name)
	}
	for _, s := range sets {
		s.tile()
		s.gelu()
		s.softmax()
		s.norm()
	}
	tileSSE2()
}

// v names a vector register.
func (s set) v(i int) string { return fmt.Sprintf("%s%d", s.reg, i) }

// beginTile begins a tile: its arguments go into registers, lengths of rows as bytes, and three rows of a into R14.
func (s set) beginTile() {
	text(s.name, "tile", "rows, k int, a []float32, lda int, b []float32, ldb int, bias, c []float32, ldc int", 136)
	op("MOVQ", "rows+0(FP), AX")
	op("MOVQ", "k+8(FP), CX")
	op("MOVQ", "a_base+16(FP), R8")
	op("MOVQ", "lda+40(FP), R9")
	op("SHLQ", "$2, R9")
	op("MOVQ", "b_base+48(FP), BX")
	op("MOVQ", "ldb+72(FP), SI")
	op("SHLQ", "$2, SI")
	op("MOVQ", "bias_base+80(FP), R13")
	op("MOVQ", "c_base+104(FP), DI")
	op("MOVQ", "ldc+128(FP), DX")
	op("SHLQ", "$2, DX")
	op("LEAQ", "(R9)(R9*2), R14") // three rows
}

// tile keeps two vectors for each row in registers, and adds to them, row by row of b, two vectors of b times an element of a.
func (s set) tile() {
	s.beginTile()
	op("LEAQ", "(R8)(R14*1), R10")
	op("LEAQ", "(R10)(R14*1), R11")
	op("LEAQ", "(R11)(R14*1), R12")
	op("LEAQ", "(SI)(SI*2), R14") // three rows of b
	for rows := 1; rows < s.rows; rows++ {
		op("CMPQ", "AX, $%d", rows)
		op("JEQ", "rows%d", rows)
	}
	bases := []string{"R8", "R10", "R11", "R12"}
	for rows := s.rows; rows > 0; rows-- {
		acc := func(row, half int) string { return s.v(2*row + half) }
		b0, b1, first, count := s.v(2*s.rows), s.v(2*s.rows+1), 2*s.rows+2, 2
		if s.reg == "Z" {
			count = 4
		}
		step := func(address string, offset int) {
			op("VMOVUPS", "%s, %s", address, b0)
			op("VMOVUPS", "%d%s, %s", s.bytes, address, b1)
			for row := range rows {
				x := s.v(first + row%count)
				index := []string{"", "(R9*1)", "(R9*2)"}[row%3]
				op("VBROADCASTSS", "%d(%s)%s, %s", offset, bases[row/3], index, x)
				op("VFMADD231PS", "%s, %s, %s", b0, x, acc(row, 0))
				op("VFMADD231PS", "%s, %s, %s", b1, x, acc(row, 1))
			}
		}
		advance := func(n int) {
			for i := 0; i <= (rows-1)/3; i++ {
				op("ADDQ", "$%d, %s", 4*n, bases[i])
			}
		}
		p("")
		p("rows%d:", rows)
		op("VMOVUPS", "(R13), %s", acc(0, 0))
		op("VMOVUPS", "%d(R13), %s", s.bytes, acc(0, 1))
		for row := 1; row < rows; row++ {
			op("VMOVAPS", "%s, %s", acc(0, 0), acc(row, 0))
			op("VMOVAPS", "%s, %s", acc(0, 1), acc(row, 1))
		}
		op("SUBQ", "$4, CX")
		op("JLT", "rest%d", rows)
		p("")
		p("four%d:", rows)
		for i, address := range []string{"(BX)", "(BX)(SI*1)", "(BX)(SI*2)", "(BX)(R14*1)"} {
			step(address, 4*i)
		}
		op("LEAQ", "(BX)(SI*4), BX")
		advance(4)
		op("SUBQ", "$4, CX")
		op("JGE", "four%d", rows)
		p("")
		p("rest%d:", rows)
		op("ADDQ", "$4, CX")
		op("JEQ", "store%d", rows)
		p("")
		p("one%d:", rows)
		step("(BX)", 0)
		op("ADDQ", "SI, BX")
		advance(1)
		op("DECQ", "CX")
		op("JNE", "one%d", rows)
		p("")
		p("store%d:", rows)
		for row := range rows {
			op("VMOVUPS", "%s, (DI)", acc(row, 0))
			op("VMOVUPS", "%s, %d(DI)", acc(row, 1), s.bytes)
			if row < rows-1 {
				op("ADDQ", "DX, DI")
			}
		}
		op("VZEROUPPER", "")
		op("RET", "")
	}
}

// tileSSE2 is a tile of 4 rows and 8 columns in what every amd64 processor has.
func tileSSE2() {
	set{name: "SSE2"}.beginTile()
	const most = 4
	for rows := 1; rows < most; rows++ {
		op("CMPQ", "AX, $%d", rows)
		op("JEQ", "rows%d", rows)
	}
	for rows := most; rows > 0; rows-- {
		p("")
		p("rows%d:", rows)
		for row := range rows {
			op("MOVUPS", "(R13), X%d", 2*row)
			op("MOVUPS", "16(R13), X%d", 2*row+1)
		}
		p("")
		p("loop%d:", rows)
		op("MOVUPS", "(BX), X8")
		op("MOVUPS", "16(BX), X9")
		for row := range rows {
			x, y := 10+row%2*2, 11+row%2*2
			op("MOVSS", "(R8)%s, X%d", []string{"", "(R9*1)", "(R9*2)", "(R14*1)"}[row], x)
			op("SHUFPS", "$0, X%d, X%d", x, x)
			op("MOVAPS", "X%d, X%d", x, y)
			op("MULPS", "X8, X%d", x)
			op("MULPS", "X9, X%d", y)
			op("ADDPS", "X%d, X%d", x, 2*row)
			op("ADDPS", "X%d, X%d", y, 2*row+1)
		}
		op("ADDQ", "$4, R8")
		op("ADDQ", "SI, BX")
		op("DECQ", "CX")
		op("JNE", "loop%d", rows)
		for row := range rows {
			op("MOVUPS", "X%d, (DI)", 2*row)
			op("MOVUPS", "X%d, 16(DI)", 2*row+1)
			if row < rows-1 {
				op("ADDQ", "DX, DI")
			}
		}
		op("RET", "")
	}
}

// exp replaces register x by e^x; it uses two more. Arguments are at most 0.
func (s set) exp(x, n, y int) {
	X, N, Y := s.v(x), s.v(n), s.v(y)
	op("VMAXPS", "least<>(SB), %s, %s", X, X)
	op("VMULPS", "log2e<>(SB), %s, %s", X, N)
	if s.reg == "Z" {
		op("VRNDSCALEPS", "$0, %s, %s", N, N)
	} else {
		op("VROUNDPS", "$0, %s, %s", N, N)
	}
	op("VFNMADD231PS", "ln2hi<>(SB), %s, %s", N, X)
	op("VFNMADD231PS", "ln2lo<>(SB), %s, %s", N, X)
	op("VMOVUPS", "e0<>(SB), %s", Y)
	for i := 1; i <= 5; i++ {
		op("VFMADD213PS", "e%d<>(SB), %s, %s", i, X, Y) // y = y·x + e
	}
	op("VMULPS", "%s, %s, %s", X, Y, Y)
	op("VFMADD213PS", "%s, %s, %s", X, X, Y) // (y·x)·x + x
	op("VADDPS", "one<>(SB), %s, %s", Y, Y)
	if s.reg == "Z" {
		op("VSCALEFPS", "%s, %s, %s", N, Y, X)
		return
	}
	op("VCVTPS2DQ", "%s, %s", N, N)
	op("VPADDD", "exponent<>(SB), %s, %s", N, N)
	op("VPSLLD", "$23, %s, %s", N, N)
	op("VMULPS", "%s, %s, %s", N, Y, X)
}

// gelu: max(x, 0) − |x|/2·(1 − erf(|x|/√2)).
func (s set) gelu() {
	text(s.name, "gelu", "x []float32", 24)
	op("MOVQ", "x_base+0(FP), DI")
	op("MOVQ", "x_len+8(FP), CX")
	op("VMOVUPS", "one<>(SB), %s", s.v(15))
	op("VXORPS", "X14, X14, X14")
	p("")
	p("loop:")
	const vectors = 2
	for i := range vectors { // side by side, as each step waits for the one before
		x, z, t, q := s.v(i), s.v(2+i), s.v(4+i), s.v(6+i)
		op("VMOVUPS", "%d(DI), %s", i*s.bytes, x)
		op("VMULPS", "half<>(SB), %s, %s", x, z)
		op(s.all, "sign<>(SB), %s, %s", z, z)
		op("VMOVAPS", "%s, %s", s.v(15), t)
		op("VFMADD231PS", "erfp<>(SB), %s, %s", z, t)
		op("VDIVPS", "%s, %s, %s", t, s.v(15), t)
		op("VMOVUPS", "erf5<>(SB), %s", q)
		for j := 4; j >= 1; j-- {
			op("VFMADD213PS", "erf%d<>(SB), %s, %s", j, t, q)
		}
		op("VMULPS", "%s, %s, %s", t, q, q)
		op("VMULPS", "half<>(SB), %s, %s", z, t)
		op("VMULPS", "%s, %s, %s", t, q, q)
		op("VFNMADD213PS", "%s, %s, %s", s.v(14), z, z) // −z²
	}
	for i := range vectors {
		s.exp(2+i, 8+i, 10+i)
	}
	for i := range vectors {
		x, z, q := s.v(i), s.v(2+i), s.v(6+i)
		op("VMAXPS", "%s, %s, %s", s.v(14), x, x)
		op("VFNMADD231PS", "%s, %s, %s", q, z, x)
		op("VMOVUPS", "%s, %d(DI)", x, i*s.bytes)
	}
	op("ADDQ", "$%d, DI", vectors*s.bytes)
	op("SUBQ", "$%d, CX", vectors*s.bytes/4)
	op("JG", "loop")
	op("VZEROUPPER", "")
	op("RET", "")
}

// fold adds the lanes of register v up, or takes their maximum, in lane 0; it uses register t.
func (s set) fold(name string, v, t int) {
	if s.reg == "Z" {
		op("VEXTRACTF64X4", "$1, Z%d, Y%d", v, t)
		op(name, "Y%d, Y%d, Y%d", t, v, v)
	}
	op("VEXTRACTF128", "$1, Y%d, X%d", v, t)
	op(name, "X%d, X%d, X%d", t, v, v)
	op("VPERMILPS", "$0x4e, X%d, X%d", v, t)
	op(name, "X%d, X%d, X%d", t, v, v)
	op("VPERMILPS", "$0xb1, X%d, X%d", v, t)
	op(name, "X%d, X%d, X%d", t, v, v)
}

func (s set) softmax() {
	text(s.name, "softmax", "x []float32", 24)
	op("MOVQ", "x_base+0(FP), DI")
	op("MOVQ", "x_len+8(FP), CX")
	op("SHLQ", "$2, CX")
	op("ADDQ", "DI, CX") // the end
	op("MOVQ", "DI, SI")
	op("VMOVUPS", "(DI), %s", s.v(0))
	p("")
	p("most:")
	op("VMAXPS", "(SI), %s, %s", s.v(0), s.v(0))
	op("VMAXPS", "%d(SI), %s, %s", s.bytes, s.v(0), s.v(0))
	op("ADDQ", "$%d, SI", 2*s.bytes)
	op("CMPQ", "SI, CX")
	op("JLT", "most")
	s.fold("VMAXPS", 0, 1)
	op("VBROADCASTSS", "X0, %s", s.v(0))
	op("VXORPS", "X8, X8, X8")
	op("VXORPS", "X9, X9, X9")
	op("MOVQ", "DI, SI")
	p("")
	p("each:")
	for i := range 2 {
		op("VMOVUPS", "%d(SI), %s", i*s.bytes, s.v(2+i))
		op("VSUBPS", "%s, %s, %s", s.v(0), s.v(2+i), s.v(2+i))
	}
	for i := range 2 {
		s.exp(2+i, 4+i, 6+i)
	}
	for i := range 2 {
		op("VADDPS", "%s, %s, %s", s.v(2+i), s.v(8+i), s.v(8+i))
		op("VMOVUPS", "%s, %d(SI)", s.v(2+i), i*s.bytes)
	}
	op("ADDQ", "$%d, SI", 2*s.bytes)
	op("CMPQ", "SI, CX")
	op("JLT", "each")
	op("VADDPS", "%s, %s, %s", s.v(9), s.v(8), s.v(8))
	s.fold("VADDPS", 8, 9)
	op("VMOVSS", "one<>(SB), X1")
	op("VDIVSS", "X8, X1, X1")
	op("VBROADCASTSS", "X1, %s", s.v(1))
	p("")
	p("scale:")
	for i := range 2 {
		op("VMULPS", "%d(DI), %s, %s", i*s.bytes, s.v(1), s.v(2+i))
		op("VMOVUPS", "%s, %d(DI)", s.v(2+i), i*s.bytes)
	}
	op("ADDQ", "$%d, DI", 2*s.bytes)
	op("CMPQ", "DI, CX")
	op("JLT", "scale")
	op("VZEROUPPER", "")
	op("RET", "")
}

func (s set) norm() {
	text(s.name, "norm", "x, add, weight, bias []float32, epsilon float32", 100)
	op("MOVQ", "x_base+0(FP), DI")
	op("MOVQ", "x_len+8(FP), CX")
	op("MOVQ", "add_base+24(FP), SI")
	op("MOVQ", "weight_base+48(FP), R8")
	op("MOVQ", "bias_base+72(FP), R9")
	op("VXORPS", "X1, X1, X1")
	op("VCVTSI2SSQ", "CX, X1, X1")
	op("VMOVSS", "one<>(SB), X2")
	op("VDIVSS", "X1, X2, X2") // 1/n
	op("SHLQ", "$2, CX")
	op("VXORPS", "X0, X0, X0")
	op("XORQ", "AX, AX")
	op("TESTQ", "SI, SI")
	op("JEQ", "sum")
	p("")
	p("add:")
	op("VMOVUPS", "(DI)(AX*1), %s", s.v(3))
	op("VADDPS", "(SI)(AX*1), %s, %s", s.v(3), s.v(3))
	op("VMOVUPS", "%s, (DI)(AX*1)", s.v(3))
	op("VADDPS", "%s, %s, %s", s.v(3), s.v(0), s.v(0))
	op("ADDQ", "$%d, AX", s.bytes)
	op("CMPQ", "AX, CX")
	op("JLT", "add")
	op("JMP", "mean")
	p("")
	p("sum:")
	op("VADDPS", "(DI)(AX*1), %s, %s", s.v(0), s.v(0))
	op("ADDQ", "$%d, AX", s.bytes)
	op("CMPQ", "AX, CX")
	op("JLT", "sum")
	p("")
	p("mean:")
	s.fold("VADDPS", 0, 3)
	op("VMULSS", "X2, X0, X0")
	op("VBROADCASTSS", "X0, %s", s.v(0))
	op("VXORPS", "X1, X1, X1")
	op("XORQ", "AX, AX")
	p("")
	p("squares:")
	op("VMOVUPS", "(DI)(AX*1), %s", s.v(3))
	op("VSUBPS", "%s, %s, %s", s.v(0), s.v(3), s.v(3))
	op("VFMADD231PS", "%s, %s, %s", s.v(3), s.v(3), s.v(1))
	op("ADDQ", "$%d, AX", s.bytes)
	op("CMPQ", "AX, CX")
	op("JLT", "squares")
	s.fold("VADDPS", 1, 3)
	op("VMULSS", "X2, X1, X1")
	op("VADDSS", "epsilon+96(FP), X1, X1")
	op("VSQRTSS", "X1, X1, X1")
	op("VMOVSS", "one<>(SB), X2")
	op("VDIVSS", "X1, X2, X1")
	op("VBROADCASTSS", "X1, %s", s.v(1))
	op("XORQ", "AX, AX")
	p("")
	p("scale:")
	op("VMOVUPS", "(DI)(AX*1), %s", s.v(3))
	op("VSUBPS", "%s, %s, %s", s.v(0), s.v(3), s.v(3))
	op("VMULPS", "%s, %s, %s", s.v(1), s.v(3), s.v(3))
	op("VMOVUPS", "(R9)(AX*1), %s", s.v(4))
	op("VFMADD231PS", "(R8)(AX*1), %s, %s", s.v(3), s.v(4))
	op("VMOVUPS", "%s, (DI)(AX*1)", s.v(4))
	op("ADDQ", "$%d, AX", s.bytes)
	op("CMPQ", "AX, CX")
	op("JLT", "scale")
	op("VZEROUPPER", "")
	op("RET", "")
}
