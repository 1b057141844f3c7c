//go:build !amd64 && !arm64

package nn

// native returns no implementation: none is written for this architecture.
func native() []*Kernel { return nil }
