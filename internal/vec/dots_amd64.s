#include "textflag.h"

// Both forms widen the bytes of a row to 16 bits, multiply them with the query's and add neighbouring products in 32 bits. No
// product and no sum saturates. The rows are taken four at a time, so that each part of the query is loaded once for four, and
// one by one at the end.

// func dotsAVX2(out *int32, codes *byte, query *int16, rows, length int)
TEXT ·dotsAVX2(SB), NOSPLIT, $0-40
	MOVQ out+0(FP), DI
	MOVQ codes+8(FP), SI
	MOVQ query+16(FP), DX
	MOVQ rows+24(FP), CX
	MOVQ length+32(FP), BX

four2:
	CMPQ CX, $4
	JLT  one2
	LEAQ (SI)(BX*1), R8
	LEAQ (R8)(BX*1), R9
	LEAQ (R9)(BX*1), R10
	XORQ AX, AX
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3

fourloop2:
	VMOVDQU   (DX)(AX*2), Y8
	VMOVDQU   32(DX)(AX*2), Y9
	VPMOVSXBW (SI)(AX*1), Y4
	VPMOVSXBW (R8)(AX*1), Y5
	VPMOVSXBW (R9)(AX*1), Y6
	VPMOVSXBW (R10)(AX*1), Y7
	VPMADDWD  Y8, Y4, Y4
	VPMADDWD  Y8, Y5, Y5
	VPMADDWD  Y8, Y6, Y6
	VPMADDWD  Y8, Y7, Y7
	VPADDD    Y4, Y0, Y0
	VPADDD    Y5, Y1, Y1
	VPADDD    Y6, Y2, Y2
	VPADDD    Y7, Y3, Y3
	VPMOVSXBW 16(SI)(AX*1), Y4
	VPMOVSXBW 16(R8)(AX*1), Y5
	VPMOVSXBW 16(R9)(AX*1), Y6
	VPMOVSXBW 16(R10)(AX*1), Y7
	VPMADDWD  Y9, Y4, Y4
	VPMADDWD  Y9, Y5, Y5
	VPMADDWD  Y9, Y6, Y6
	VPMADDWD  Y9, Y7, Y7
	VPADDD    Y4, Y0, Y0
	VPADDD    Y5, Y1, Y1
	VPADDD    Y6, Y2, Y2
	VPADDD    Y7, Y3, Y3
	ADDQ      $32, AX
	CMPQ      AX, BX
	JLT       fourloop2

	// Four sums of eight parts each become four numbers in one register.
	VPHADDD      Y1, Y0, Y0
	VPHADDD      Y3, Y2, Y2
	VPHADDD      Y2, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDD       X1, X0, X0
	VMOVDQU      X0, (DI)
	ADDQ         $16, DI
	LEAQ         (R10)(BX*1), SI
	SUBQ         $4, CX
	JMP          four2

one2:
	TESTQ CX, CX
	JZ    done2
	XORQ  AX, AX
	VPXOR Y0, Y0, Y0

oneloop2:
	VPMOVSXBW (SI)(AX*1), Y4
	VPMOVSXBW 16(SI)(AX*1), Y5
	VPMADDWD  (DX)(AX*2), Y4, Y4
	VPMADDWD  32(DX)(AX*2), Y5, Y5
	VPADDD    Y4, Y0, Y0
	VPADDD    Y5, Y0, Y0
	ADDQ      $32, AX
	CMPQ      AX, BX
	JLT       oneloop2

	VEXTRACTI128 $1, Y0, X1
	VPADDD       X1, X0, X0
	VPHADDD      X0, X0, X0
	VPHADDD      X0, X0, X0
	VMOVD        X0, (DI)
	ADDQ         $4, DI
	ADDQ         BX, SI
	DECQ         CX
	JMP          one2

done2:
	VZEROUPPER
	RET

// func dotsAVX512(out *int32, codes *byte, query *int16, rows, length int)
TEXT ·dotsAVX512(SB), NOSPLIT, $0-40
	MOVQ out+0(FP), DI
	MOVQ codes+8(FP), SI
	MOVQ query+16(FP), DX
	MOVQ rows+24(FP), CX
	MOVQ length+32(FP), BX

four5:
	CMPQ CX, $4
	JLT  one5
	LEAQ (SI)(BX*1), R8
	LEAQ (R8)(BX*1), R9
	LEAQ (R9)(BX*1), R10
	XORQ AX, AX
	VPXORQ Z0, Z0, Z0
	VPXORQ Z1, Z1, Z1
	VPXORQ Z2, Z2, Z2
	VPXORQ Z3, Z3, Z3

fourloop5:
	VMOVDQU16 (DX)(AX*2), Z8
	VPMOVSXBW (SI)(AX*1), Z4
	VPMOVSXBW (R8)(AX*1), Z5
	VPMOVSXBW (R9)(AX*1), Z6
	VPMOVSXBW (R10)(AX*1), Z7
	VPDPWSSD  Z8, Z4, Z0
	VPDPWSSD  Z8, Z5, Z1
	VPDPWSSD  Z8, Z6, Z2
	VPDPWSSD  Z8, Z7, Z3
	ADDQ      $32, AX
	CMPQ      AX, BX
	JLT       fourloop5

	VEXTRACTI64X4 $1, Z0, Y4
	VEXTRACTI64X4 $1, Z1, Y5
	VEXTRACTI64X4 $1, Z2, Y6
	VEXTRACTI64X4 $1, Z3, Y7
	VPADDD        Y4, Y0, Y0
	VPADDD        Y5, Y1, Y1
	VPADDD        Y6, Y2, Y2
	VPADDD        Y7, Y3, Y3
	VPHADDD       Y1, Y0, Y0
	VPHADDD       Y3, Y2, Y2
	VPHADDD       Y2, Y0, Y0
	VEXTRACTI128  $1, Y0, X1
	VPADDD        X1, X0, X0
	VMOVDQU       X0, (DI)
	ADDQ          $16, DI
	LEAQ          (R10)(BX*1), SI
	SUBQ          $4, CX
	JMP           four5

one5:
	TESTQ CX, CX
	JZ    done5
	XORQ  AX, AX
	VPXORQ Z0, Z0, Z0

oneloop5:
	VPMOVSXBW (SI)(AX*1), Z4
	VPDPWSSD  (DX)(AX*2), Z4, Z0
	ADDQ      $32, AX
	CMPQ      AX, BX
	JLT       oneloop5

	VEXTRACTI64X4 $1, Z0, Y4
	VPADDD        Y4, Y0, Y0
	VEXTRACTI128  $1, Y0, X1
	VPADDD        X1, X0, X0
	VPHADDD       X0, X0, X0
	VPHADDD       X0, X0, X0
	VMOVD         X0, (DI)
	ADDQ          $4, DI
	ADDQ          BX, SI
	DECQ          CX
	JMP           one5

done5:
	VZEROUPPER
	RET
