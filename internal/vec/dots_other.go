//go:build !amd64 && !arm64

package vec

// fastDots is nil: there is no form of its own for this processor.
var fastDots dotsKernel
