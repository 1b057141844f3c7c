package equality

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
	"github.com/llmemory/llmemory/store/sqlite"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// sides returns the stores to compare.
func sides() [2]*side {
	return [2]*side{onPostgres(), onSQLite()}
}

func onPostgres() *side {
	var url string
	connect := func(t *testing.T) llmemory.Store {
		t.Helper()
		store, err := postgres.Open(t.Context(), url, &postgres.Options{RequireMigrated: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		return store
	}
	return &side{
		name: "PostgreSQL",
		open: func(t *testing.T) llmemory.Store {
			url = pgtest.Clone(t, "llmemory equality", func(ctx context.Context, url string) error {
				store, err := postgres.Open(ctx, url, nil)
				if err != nil {
					return err
				}
				return store.Close()
			})
			return connect(t)
		},
		reopen: func(t *testing.T, store llmemory.Store) llmemory.Store {
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			return connect(t)
		},
	}
}

func onSQLite() *side {
	var path string
	connect := func(t *testing.T) llmemory.Store {
		t.Helper()
		// Nothing here is to outlive a loss of power.
		store, err := sqlite.Open(t.Context(), path, &sqlite.Options{Synchronous: sqlite.Off})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		return store
	}
	return &side{
		name: "SQLite",
		open: func(t *testing.T) llmemory.Store {
			path = filepath.Join(t.TempDir(), "memory.db")
			return connect(t)
		},
		reopen: func(t *testing.T, store llmemory.Store) llmemory.Store {
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			return connect(t)
		},
	}
}
