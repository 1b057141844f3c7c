package vec

// Kernels returns the forms of [Dots] that this processor can run.
func Kernels() map[string]dotsKernel { return map[string]dotsKernel{"NEON": dotsNEON} }
