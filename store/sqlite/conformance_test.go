package sqlite_test

import (
	"testing"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/store/sqlite"
	"github.com/llmemory/llmemory/store/storetest"
)

// TestConformance runs the suite. It does not wait for the disk: what the suite looks at does not depend on it.
func TestConformance(t *testing.T) {
	t.Parallel()
	conform(t, sqlite.Off, storetest.Options{})
}

// TestConformanceDurable runs it as the store is by default.
func TestConformanceDurable(t *testing.T) {
	t.Parallel()
	conform(t, sqlite.Full, storetest.Options{Brief: true, Half: 1})
}

func conform(t *testing.T, synchronous sqlite.Synchronous, o storetest.Options) {
	o.OneWriter, o.Check = true, checkRows
	o.Reopen = func(tb testing.TB, store llmemory.Store) llmemory.Store {
		tb.Helper()
		s := store.(*sqlite.Store)
		must(tb, s.Close())
		return openAt(tb, s.Path(), synchronous)
	}
	storetest.RunWith(t, func(tb testing.TB) llmemory.Store { return openAt(tb, newPath(tb), synchronous) }, o)
}
