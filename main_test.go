package llmemory_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// TestMain gives the examples of this package, which read DATABASE_URL as a user's program would, a database to work in.
func TestMain(m *testing.M) { os.Exit(pgtest.Main(withDatabase{m})) }

type withDatabase struct{ m *testing.M }

func (w withDatabase) Run() int {
	var tb mainTB
	if err := os.Setenv("DATABASE_URL", pgtest.URL(&tb)); err != nil {
		tb.Fatal(err)
	}
	code := w.m.Run()
	for _, f := range slices.Backward(tb.cleanups) {
		f()
	}
	return max(code, tb.code)
}

// mainTB stands in for the test that a database usually belongs to: an example has none.
type mainTB struct {
	testing.TB
	cleanups []func()
	code     int
}

func (tb *mainTB) Helper() {}

func (tb *mainTB) Cleanup(f func()) { tb.cleanups = append(tb.cleanups, f) }

func (tb *mainTB) Error(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	tb.code = 1
}

func (tb *mainTB) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}
