package vec

import "golang.org/x/sys/cpu"

// fastDots is the fastest form for the processor that the program runs on, nil if it has none of the extensions.
var fastDots = chooseDots()

func chooseDots() dotsKernel {
	switch {
	case hasAVX512():
		return dotsAVX512
	case cpu.X86.HasAVX2:
		return dotsAVX2
	}
	return nil
}

func hasAVX512() bool { return cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VNNI }

//go:noescape
func dotsAVX2(out *int32, codes *byte, query *int16, rows, length int)

//go:noescape
func dotsAVX512(out *int32, codes *byte, query *int16, rows, length int)
