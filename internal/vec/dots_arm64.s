#include "textflag.h"

// The bytes of a row are widened to 16 bits, multiplied with the query's, and the products added in 32 bits: none of it saturates.
// The rows are taken four at a time, so that each part of the query is loaded once for four, and one by one at the end.

// What Go's assembler has no names for: sxtl and sxtl2 widen the lower and the upper half of n, smlal and smlal2 add the products of
// the halves of n and m to d.
#define SXTL(n, d) WORD $(0x0f08a400 | (n)<<5 | (d))
#define SXTL2(n, d) WORD $(0x4f08a400 | (n)<<5 | (d))
#define SMLAL(n, m, d) WORD $(0x0e608000 | (m)<<16 | (n)<<5 | (d))
#define SMLAL2(n, m, d) WORD $(0x4e608000 | (m)<<16 | (n)<<5 | (d))

// STEP adds the products of 32 bytes of a row and the query in V16 to V19 to the sums in a and b.
#define STEP(row, a, b) \
	VLD1.P 32(row), [V20.B16, V21.B16] \
	SXTL(20, 22)       \
	SXTL2(20, 23)      \
	SXTL(21, 24)       \
	SXTL2(21, 25)      \
	SMLAL(22, 16, a)   \
	SMLAL2(22, 16, b)  \
	SMLAL(23, 17, a)   \
	SMLAL2(23, 17, b)  \
	SMLAL(24, 18, a)   \
	SMLAL2(24, 18, b)  \
	SMLAL(25, 19, a)   \
	SMLAL2(25, 19, b)

// func dotsNEON(out *int32, codes *byte, query *int16, rows, length int)
TEXT ·dotsNEON(SB), NOSPLIT, $0-40
	MOVD out+0(FP), R0
	MOVD codes+8(FP), R1
	MOVD query+16(FP), R2
	MOVD rows+24(FP), R3
	MOVD length+32(FP), R4

four:
	CMP  $4, R3
	BLT  one
	ADD  R4, R1, R5
	ADD  R4, R5, R6
	ADD  R4, R6, R7
	ADD  R4, R7, R8 // the next four
	MOVD R2, R9
	MOVD R4, R10
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16
	VEOR V6.B16, V6.B16, V6.B16
	VEOR V7.B16, V7.B16, V7.B16

fourloop:
	VLD1.P 64(R9), [V16.H8, V17.H8, V18.H8, V19.H8]
	STEP(R1, 0, 1)
	STEP(R5, 2, 3)
	STEP(R6, 4, 5)
	STEP(R7, 6, 7)
	SUBS $32, R10, R10
	BGT  fourloop

	VADD   V1.S4, V0.S4, V0.S4
	VADD   V3.S4, V2.S4, V2.S4
	VADD   V5.S4, V4.S4, V4.S4
	VADD   V7.S4, V6.S4, V6.S4
	VADDP  V2.S4, V0.S4, V0.S4
	VADDP  V6.S4, V4.S4, V4.S4
	VADDP  V4.S4, V0.S4, V0.S4
	VST1.P [V0.S4], 16(R0)
	MOVD   R8, R1
	SUB    $4, R3, R3
	B      four

one:
	CBZ  R3, done
	MOVD R2, R9
	MOVD R4, R10
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16

oneloop:
	VLD1.P 64(R9), [V16.H8, V17.H8, V18.H8, V19.H8]
	STEP(R1, 0, 1)
	SUBS $32, R10, R10
	BGT  oneloop

	VADD    V1.S4, V0.S4, V0.S4
	VADDV   V0.S4, V0
	FMOVS.P F0, 4(R0)
	SUB     $1, R3, R3
	B       one

done:
	RET
