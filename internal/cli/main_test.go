package cli

import (
	"context"
	"os"
	"testing"

	"github.com/llmemory/llmemory/extract/sandbox"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// asProgram makes the test's executable the program itself, for tests that kill it.
const asProgram = "LLMEMORY_TEST_PROGRAM"

func TestMain(m *testing.M) {
	sandbox.Main()
	if os.Getenv(asProgram) != "" {
		os.Exit(Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
	}
	os.Exit(pgtest.Main(m))
}
