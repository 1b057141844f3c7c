package sqlite_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/store/sqlite"
)

func openMigrator(t *testing.T, path string, create bool) *sqlite.Migrator {
	t.Helper()
	m, err := sqlite.OpenMigrator(t.Context(), path, create, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// A migrator goes all the way up and down, and says at each step what is there.
func TestMigrator(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "memory.db")
	if _, err := sqlite.OpenMigrator(ctx, path, false, nil); !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, llmemory.ErrInvalid) {
		t.Errorf("without a file: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file was made")
	}
	for range 2 {
		m := openMigrator(t, path, true)
		if m.Path() != path {
			t.Errorf("the path is %s", m.Path())
		}
		status, err := m.Status(ctx)
		if err != nil || len(status) == 0 || status[0].State != "pending" {
			t.Fatalf("at first: %+v, %v", status, err)
		}
		plan, err := m.Plan(ctx)
		if err != nil || len(plan) != len(status) || plan[0].SQL == "" {
			t.Errorf("the plan: %d of %d, %v", len(plan), len(status), err)
		}
		if err := m.Verify(ctx); err == nil {
			t.Error("an empty file is verified")
		}
		up, err := m.Up(ctx)
		if err != nil || len(up) != len(plan) {
			t.Fatalf("up: %+v, %v", up, err)
		}
		if again, err := m.Up(ctx); err != nil || len(again) != 0 {
			t.Errorf("up again: %+v, %v", again, err)
		}
		if err := m.Verify(ctx); err != nil {
			t.Errorf("verify: %v", err)
		}
		store, err := sqlite.Open(ctx, path, &sqlite.Options{RequireMigrated: true})
		if err != nil {
			t.Fatalf("open what was migrated: %v", err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		down, err := m.Down(ctx, 0)
		if err != nil || len(down) != len(up) {
			t.Fatalf("down: %+v, %v", down, err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What is not ours is refused and left as it is, damage is found.
func TestMigratorRefuses(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "memory.db")
	text := bytes.Repeat([]byte("no database "), 100)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.OpenMigrator(ctx, path, true, nil); !errors.Is(err, llmemory.ErrCorrupt) {
		t.Errorf("a text file: %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) {
		t.Errorf("the file was changed: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	m := openMigrator(t, path, true)
	if _, err := m.Up(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil { // works the log into the file
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-5000] ^= 0xff // in the last page
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err = sqlite.OpenMigrator(ctx, path, false, nil)
	if err == nil {
		err = m.Verify(ctx)
		_ = m.Close()
	}
	if !errors.Is(err, llmemory.ErrCorrupt) {
		t.Errorf("a damaged file: %v", err)
	}
}
