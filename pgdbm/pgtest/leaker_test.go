package pgtest_test

import (
	"fmt"
	"os"
	"testing"
)

// leaker is a test that ends without running its cleanups.
type leaker struct{ testing.TB }

func (*leaker) Helper()        {}
func (*leaker) Cleanup(func()) {}
func (*leaker) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}
