package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// The command here runs beside a real server and uses it.
func TestRunServerAnswers(t *testing.T) {
	t.Setenv("PGTEST_URL", "")
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Fatal("psql comes with every PostgreSQL: ", err)
	}
	out := filepath.Join(t.TempDir(), "out")
	code, err := run(pgtest.Options{Durable: true}, []string{"sh", "-c", `"$1" -XAtc "SHOW fsync" "$LLMEMORY_DB" >"$2"`, "sh", psql, out})
	if err != nil || code != 0 {
		t.Fatalf("run = %d, %v", code, err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(got)) != "on" {
		t.Errorf("fsync of a durable server = %q", got)
	}
}
