package vec

import "golang.org/x/sys/cpu"

// Kernels returns the forms of [Dots] that this processor can run.
func Kernels() map[string]dotsKernel {
	out := map[string]dotsKernel{}
	if cpu.X86.HasAVX2 {
		out["AVX2"] = dotsAVX2
	}
	if hasAVX512() {
		out["AVX-512 VNNI"] = dotsAVX512
	}
	return out
}
