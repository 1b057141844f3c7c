package sqlite_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/llmemory/llmemory/store/sqlite"
)

// programs are the processes that the test binary can be, by the environment variable that says so and holds their task.
var programs = map[string]func(task string) (exit int){starterTask: starter, killTask: runKillProgram, guestTask: runGuest}

// alsoProgram adds a program that there is on some systems only.
func alsoProgram(name string, program func(task string) int) string {
	programs[name] = program
	return name
}

// TestMain lets the test binary be a process of its own, where its environment says so, and fails if goroutines are left over.
func TestMain(m *testing.M) {
	for name, program := range programs {
		if task := os.Getenv(name); task != "" {
			os.Exit(program(task))
		}
	}
	goleak.VerifyTestMain(m)
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// openAt opens a store that the test closes.
func openAt(tb testing.TB, path string, synchronous sqlite.Synchronous) *sqlite.Store {
	tb.Helper()
	store, err := sqlite.Open(tb.Context(), path, &sqlite.Options{Synchronous: synchronous})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := store.Close(); err != nil {
			tb.Errorf("close the store: %v", err)
		}
	})
	return store
}
