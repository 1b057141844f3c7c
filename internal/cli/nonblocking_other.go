//go:build !unix

package cli

// nonBlocking is for systems whose folders may hold pipes.
const nonBlocking = 0
