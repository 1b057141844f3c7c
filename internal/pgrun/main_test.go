package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

func TestRunPassesTheURLAndTheExitCode(t *testing.T) {
	t.Setenv("PGTEST_URL", "")
	file := filepath.Join(t.TempDir(), "url")
	code, err := run(pgtest.Options{}, []string{"sh", "-c", `printf %s "$PGTEST_URL" >"$1"; [ "$LLMEMORY_DB" = "$PGTEST_URL" ] && exit 3`, "sh", file})
	if err != nil || code != 3 {
		t.Fatalf("run = %d, %v, want the command's 3", code, err)
	}
	url, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	config, err := pgx.ParseConfig(string(url))
	if err != nil {
		t.Fatalf("PGTEST_URL was %q: %v", url, err)
	}
	if _, err := os.Stat(config.Host); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the server's folder outlived the command: %v", err)
	}
}

func TestRunTakesAGivenServer(t *testing.T) {
	t.Setenv("PGTEST_URL", "postgres://given")
	code, err := run(pgtest.Options{}, []string{"sh", "-c", `[ "$PGTEST_URL" = postgres://given ]`})
	if err != nil || code != 0 {
		t.Errorf("run = %d, %v, want the command to see the given URL", code, err)
	}
}

func TestRunWithoutACommandToRun(t *testing.T) {
	t.Setenv("PGTEST_URL", "postgres://given")
	code, err := run(pgtest.Options{}, []string{"/no/such/program"})
	if code != 1 || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("run = %d, %v, want 1 and the reason", code, err)
	}
}

// A given server is not meant to be the one whose data are kept.
func TestRunKeepsData(t *testing.T) {
	t.Setenv("PGTEST_URL", "postgres://given")
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Fatal("psql comes with every PostgreSQL: ", err)
	}
	base, err := os.MkdirTemp("/tmp", "pgrun-") // t.TempDir is closed to the server's user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"CREATE TABLE kept (id int)", "SELECT FROM kept"} {
		code, err := run(pgtest.Options{Dir: filepath.Join(base, "server")}, []string{"sh", "-c", `"$1" -Xqtc "$2" "$LLMEMORY_DB"`, "sh", psql, sql})
		if err != nil || code != 0 {
			t.Fatalf("%s: run = %d, %v", sql, code, err)
		}
	}
}
