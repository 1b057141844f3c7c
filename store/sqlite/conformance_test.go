//go:build sqliteconformance

package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/store/sqlite"
	"github.com/llmemory/llmemory/store/storetest"
)

// TestConformance runs the suite. It does not wait for the disk: what the suite looks at does not depend on it.
func TestConformance(t *testing.T) {
	t.Parallel()
	open := func(tb testing.TB) llmemory.Store {
		return openAt(tb, filepath.Join(tb.TempDir(), "memory.db"), sqlite.Off)
	}
	storetest.RunWith(t, open, storetest.Options{Reopen: reopen, Check: checkRows, OneWriter: true})
}

// reopen closes a store and opens its file again.
func reopen(tb testing.TB, store llmemory.Store) llmemory.Store {
	tb.Helper()
	s := store.(*sqlite.Store)
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
	return openAt(tb, s.Path(), sqlite.Off)
}
