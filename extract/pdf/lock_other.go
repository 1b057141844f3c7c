//go:build !unix

package pdf

// lock has nothing to offer here: several processes may compile at once, and the last writes.
func lock(string) (unlock func()) { return func() {} }
