//go:build !amd64 && !arm64

package vec

// Kernels returns the forms of [Dots] that this processor can run: none.
func Kernels() map[string]dotsKernel { return nil }
