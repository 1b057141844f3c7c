// Package soak tells tests how long they may take. Every test has a short form,
// for each change; some have a long one too, for the night: `make soak` sets
// SOAK=1 in the environment, and that is the only switch there is.
package soak

import "os"

// On reports whether tests are to take their long form.
func On() bool { return os.Getenv("SOAK") == "1" }

// Pick returns the size of a test's work: short, or long with SOAK=1.
func Pick[T any](short, long T) T {
	if On() {
		return long
	}
	return short
}
