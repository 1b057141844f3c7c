//go:build ignore

package main

import (
	"fmt"
	"log"
)

// Operations on four floats each, which Go's assembler has no names for, as the Arm Architecture Reference Manual encodes them: operands from bit 16, 5 and 0 on.
const (
	fadd   = 0x4e20d400
	fsub   = 0x4ea0d400
	fmul   = 0x6e20dc00
	fdiv   = 0x6e20fc00
	fmax   = 0x4e20f400
	fmla   = 0x4e20cc00 // d += n·m
	fmls   = 0x4ea0cc00 // d −= n·m
	faddp  = 0x6e20d400 // neighbours, of n and of m
	fmaxv  = 0x6e30f800 // the greatest lane of n
	fabs   = 0x4ea0f800
	fneg   = 0x6ea0f800
	frintn = 0x4e218800 // to a whole number, of two equally near to the even one
	fcvtns = 0x4e21a800 // the same, as an integer
	// fmlaElement is d += n·m[lane].
	fmlaElement = 0x4f801000
)

var names = map[uint32]string{
	fadd: "fadd", fsub: "fsub", fmul: "fmul", fdiv: "fdiv", fmax: "fmax", fmla: "fmla", fmls: "fmls", faddp: "faddp", fmaxv: "fmaxv",
	fabs: "fabs", fneg: "fneg", frintn: "frintn", fcvtns: "fcvtns",
}

// three writes an operation with two sources, d = n·m, n+m and so on; two one with a single source.
func three(code uint32, n, m, d int) {
	op("WORD", "$0x%08x // %s v%d.4s, v%d.4s, v%d.4s", code|uint32(m)<<16|uint32(n)<<5|uint32(d), names[code], d, n, m)
}

func two(code uint32, n, d int) {
	op("WORD", "$0x%08x // %s v%d, v%d.4s", code|uint32(n)<<5|uint32(d), names[code], d, n)
}

func element(n, m, lane, d int) {
	code := uint32(fmlaElement) | uint32(lane&1)<<21 | uint32(m)<<16 | uint32(lane>>1)<<11 | uint32(n)<<5 | uint32(d)
	op("WORD", "$0x%08x // fmla v%d.4s, v%d.4s, v%d.s[%d]", code, d, n, m, lane)
}

func move(from, to int) { op("VMOV", "V%d.B16, V%d.B16", from, to) }

// load loads one of the constants, whose address is in R3.
func load(name string, to int) {
	for i, c := range constants {
		if c.name == name {
			op("FMOVQ", "%d(R3), F%d", 16*i, to)
			return
		}
	}
	log.Fatalf("no constant %s", name)
}

// arm64 writes the kernels for arm64.
func arm64() {
	p("")
	for i, c := range constants {
		for lane := range 4 {
			p("DATA constants<>+%d(SB)/4, $0x%08x // %s", 16*i+4*lane, c.bits, c.name)
		}
	}
	p("GLOBL constants<>(SB), RODATA|NOPTR, $%d", 16*len(constants))
	tileNEON()
	geluNEON()
	softmaxNEON()
	normNEON()
}

// tileNEON keeps two vectors for each row in registers, and adds to them, row by row of b, two vectors of b times an element of a: four
// elements of each row of a are loaded at a time.
func tileNEON() {
	const most = 8 // rows; its columns are two vectors
	text("NEON", "tile", "rows, k int, a []float32, lda int, b []float32, ldb int, bias, c []float32, ldc int", 136)
	op("MOVD", "rows+0(FP), R0")
	op("MOVD", "k+8(FP), R1")
	op("MOVD", "a_base+16(FP), R4")
	op("MOVD", "lda+40(FP), R2")
	op("LSL", "$2, R2, R2")
	op("MOVD", "b_base+48(FP), R12")
	op("MOVD", "ldb+72(FP), R13")
	op("LSL", "$2, R13, R13")
	op("MOVD", "bias_base+80(FP), R3")
	op("MOVD", "c_base+104(FP), R14")
	op("MOVD", "ldc+128(FP), R15")
	op("LSL", "$2, R15, R15")
	op("VLD1", "(R3), [V0.S4, V1.S4]")
	for row := 1; row < most; row++ {
		op("CMP", "$%d, R0", row)
		op("BEQ", "rows%d", row)
	}
	base := func(row int) string { return fmt.Sprintf("R%d", 4+row) }
	for rows := most; rows > 0; rows-- {
		step := func(lane, b int) {
			op("VLD1.P", "(R12)(R13), [V%d.S4, V%d.S4]", b, b+1)
			for row := range rows {
				element(b, 16+row, lane, 2*row)
				element(b+1, 16+row, lane, 2*row+1)
			}
		}
		p("")
		p("rows%d:", rows)
		for row := 1; row < rows; row++ {
			op("ADD", "R2, %s, %s", base(row-1), base(row))
			move(0, 2*row)
			move(1, 2*row+1)
		}
		op("SUBS", "$4, R1, R1")
		op("BLT", "rest%d", rows)
		p("")
		p("four%d:", rows)
		for row := range rows {
			op("VLD1.P", "16(%s), [V%d.S4]", base(row), 16+row)
		}
		for lane := range 4 {
			step(lane, 24+lane%2*2)
		}
		op("SUBS", "$4, R1, R1")
		op("BGE", "four%d", rows)
		p("")
		p("rest%d:", rows)
		op("ADDS", "$4, R1, R1")
		op("BEQ", "store%d", rows)
		p("")
		p("one%d:", rows)
		for row := range rows {
			op("FMOVS.P", "4(%s), F%d", base(row), 16+row)
		}
		step(0, 24)
		op("SUBS", "$1, R1, R1")
		op("BNE", "one%d", rows)
		p("")
		p("store%d:", rows)
		for row := range rows {
			op("VST1", "[V%d.S4, V%d.S4], (R14)", 2*row, 2*row+1)
			if row < rows-1 {
				op("ADD", "R15, R14, R14")
			}
		}
		op("RET", "")
	}
}

// expNEON replaces register x by e^x; it uses n, y and c. Arguments are at most 0. V30 is one.
func expNEON(x, n, y, c int) {
	load("least", c)
	three(fmax, x, c, x)
	load("log2e", c)
	three(fmul, x, c, n)
	two(frintn, n, n)
	load("ln2hi", c)
	three(fmls, n, c, x)
	load("ln2lo", c)
	three(fmls, n, c, x)
	load("e0", y)
	for i := 1; i <= 5; i++ {
		load(fmt.Sprintf("e%d", i), c)
		three(fmla, y, x, c) // c = y·x + e
		y, c = c, y
	}
	three(fmul, x, y, y)
	move(x, c)
	three(fmla, y, x, c) // (y·x)·x + x
	three(fadd, c, 30, c)
	two(fcvtns, n, n)
	load("exponent", y)
	op("VADD", "V%d.S4, V%d.S4, V%d.S4", y, n, n)
	op("VSHL", "$23, V%d.S4, V%d.S4", n, n)
	three(fmul, n, c, x)
}

// beginNEON loads a slice of floats into R0, the number of its bytes into R1, and the address of the constants into R3.
func beginNEON() {
	op("MOVD", "x_base+0(FP), R0")
	op("MOVD", "x_len+8(FP), R1")
	op("LSL", "$2, R1, R1")
	op("MOVD", "$constants<>(SB), R3")
	load("one", 30)
}

// geluNEON: max(x, 0) − |x|/2·(1 − erf(|x|/√2)).
func geluNEON() {
	text("NEON", "gelu", "x []float32", 24)
	beginNEON()
	op("VEOR", "V31.B16, V31.B16, V31.B16")
	p("")
	p("loop:")
	op("VLD1", "(R0), [V0.S4, V1.S4]")
	load("half", 28)
	load("erfp", 29)
	for i := range 2 { // side by side, as each step waits for the one before
		x, z, t, a, b := i, 2+i, 4+i, 6+i, 16+i
		three(fmul, x, 28, z)
		two(fabs, z, z)
		move(30, t)
		three(fmla, z, 29, t)
		three(fdiv, 30, t, t)
		load("erf5", a)
		for j := 4; j >= 1; j-- {
			load(fmt.Sprintf("erf%d", j), b)
			three(fmla, a, t, b)
			a, b = b, a
		}
		three(fmul, a, t, a)
		three(fmul, z, 28, t)
		three(fmul, a, t, a)
		three(fmul, z, z, b)
		two(fneg, b, b)
		expNEON(b, 18+i, 20+i, 22+i)
		three(fmax, x, 31, x)
		three(fmls, a, b, x)
	}
	op("VST1.P", "[V0.S4, V1.S4], 32(R0)")
	op("SUBS", "$32, R1, R1")
	op("BGT", "loop")
	op("RET", "")
}

// foldNEON adds the lanes of register v up; the sum is in all of them.
func foldNEON(v int) {
	three(faddp, v, v, v)
	three(faddp, v, v, v)
}

func softmaxNEON() {
	text("NEON", "softmax", "x []float32", 24)
	beginNEON()
	op("ADD", "R0, R1, R2") // the end
	op("MOVD", "R0, R4")
	op("VLD1", "(R0), [V0.S4, V1.S4]")
	p("")
	p("most:")
	op("VLD1.P", "32(R4), [V2.S4, V3.S4]")
	three(fmax, 0, 2, 0)
	three(fmax, 1, 3, 1)
	op("CMP", "R2, R4")
	op("BLO", "most")
	three(fmax, 0, 1, 0)
	two(fmaxv, 0, 0)
	op("VDUP", "V0.S[0], V0.S4")
	op("VEOR", "V24.B16, V24.B16, V24.B16")
	op("VEOR", "V25.B16, V25.B16, V25.B16")
	op("MOVD", "R0, R4")
	p("")
	p("each:")
	op("VLD1", "(R4), [V2.S4, V3.S4]")
	for i := range 2 {
		three(fsub, 2+i, 0, 2+i)
		expNEON(2+i, 4+i, 6+i, 16+i)
		three(fadd, 24+i, 2+i, 24+i)
	}
	op("VST1.P", "[V2.S4, V3.S4], 32(R4)")
	op("CMP", "R2, R4")
	op("BLO", "each")
	three(fadd, 24, 25, 24)
	foldNEON(24)
	three(fdiv, 30, 24, 24)
	p("")
	p("scale:")
	op("VLD1", "(R0), [V2.S4, V3.S4]")
	for i := range 2 {
		three(fmul, 2+i, 24, 2+i)
	}
	op("VST1.P", "[V2.S4, V3.S4], 32(R0)")
	op("CMP", "R2, R0")
	op("BLO", "scale")
	op("RET", "")
}

func normNEON() {
	text("NEON", "norm", "x, add, weight, bias []float32, epsilon float32", 100)
	beginNEON()
	op("ADD", "R0, R1, R2") // the end
	op("MOVD", "add_base+24(FP), R5")
	op("MOVD", "weight_base+48(FP), R6")
	op("MOVD", "bias_base+72(FP), R7")
	op("LSR", "$2, R1, R1")
	op("SCVTFS", "R1, F20")
	op("FMOVS", "epsilon+96(FP), F21")
	op("VEOR", "V0.B16, V0.B16, V0.B16")
	op("MOVD", "R0, R4")
	op("CBZ", "R5, sum")
	p("")
	p("add:")
	op("VLD1", "(R4), [V3.S4]")
	op("VLD1.P", "16(R5), [V4.S4]")
	three(fadd, 3, 4, 3)
	op("VST1.P", "[V3.S4], 16(R4)")
	three(fadd, 0, 3, 0)
	op("CMP", "R2, R4")
	op("BLO", "add")
	op("B", "mean")
	p("")
	p("sum:")
	op("VLD1.P", "16(R4), [V3.S4]")
	three(fadd, 0, 3, 0)
	op("CMP", "R2, R4")
	op("BLO", "sum")
	p("")
	p("mean:")
	foldNEON(0)
	op("VDUP", "V20.S[0], V20.S4")
	three(fdiv, 0, 20, 0)
	op("VEOR", "V1.B16, V1.B16, V1.B16")
	op("MOVD", "R0, R4")
	p("")
	p("squares:")
	op("VLD1.P", "16(R4), [V3.S4]")
	three(fsub, 3, 0, 3)
	three(fmla, 3, 3, 1)
	op("CMP", "R2, R4")
	op("BLO", "squares")
	foldNEON(1)
	op("FDIVS", "F20, F1, F1")
	op("FADDS", "F21, F1, F1")
	op("FSQRTS", "F1, F1")
	op("FDIVS", "F1, F30, F1")
	op("VDUP", "V1.S[0], V1.S4")
	p("")
	p("scale:")
	op("VLD1", "(R0), [V3.S4]")
	three(fsub, 3, 0, 3)
	three(fmul, 3, 1, 3)
	op("VLD1.P", "16(R6), [V4.S4]")
	op("VLD1.P", "16(R7), [V5.S4]")
	three(fmla, 3, 4, 5)
	op("VST1.P", "[V5.S4], 16(R0)")
	op("CMP", "R2, R0")
	op("BLO", "scale")
	op("RET", "")
}
