package pgtest_test

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// child runs this test binary as one of the children.
func child(t *testing.T, name string, env ...string) *osexec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := osexec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), append(env, "PGTEST_CHILD="+name)...)
	cmd.Stderr = os.Stderr
	return cmd
}

func start(t *testing.T, opts pgtest.Options) *pgtest.Server {
	t.Helper()
	server, err := pgtest.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(server.Dir()); opts.Dir == "" && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a closed server left its folder: %v", err)
		}
	})
	return server
}

func TestServerEndsWithAKilledProcess(t *testing.T) {
	t.Parallel()
	cmd := child(t, "server")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSpace(line)
	if _, err := os.Stat(filepath.Join(dir, "data", "postmaster.pid")); err != nil {
		t.Fatalf("no server runs in %s: %v", dir, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child was not killed")
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there 30 s after its process was killed", dir)
		}
	}
}

func TestDeadRunsAreSwept(t *testing.T) {
	t.Parallel()
	server := start(t, pgtest.Options{})
	run := func() string {
		out, err := child(t, "database", "PGTEST_URL="+server.URL()).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	first, second := run(), run()
	const names = `SELECT coalesce(string_agg(datname, ' '), '') FROM pg_database WHERE datname LIKE 'pgtest\_%'`
	if got := scan[string](t, server.URL(), names); got != second {
		t.Errorf("databases = %q, want only the last run's %q and not %q", got, second, first)
	}
	const roles = `SELECT count(*) FROM pg_roles WHERE rolname LIKE 'pgtest\_%\_%' AND rolname <> 'pgtest_password'`
	if got := scan[int](t, server.URL(), roles); got != 1 {
		t.Errorf("%d test roles, want only the last run's", got)
	}
}

// TestFolders: where a server is kept from memory, it is in none.
func TestFolders(t *testing.T) {
	for _, tt := range []struct {
		name, tmpdir, under string
		opts                pgtest.Options
	}{
		{"durable", "", "/tmp/", pgtest.Options{Durable: true}},
		{"named", "/var/tmp", "/var/tmp/", pgtest.Options{}},
	} {
		t.Setenv("TMPDIR", tt.tmpdir)
		if dir := start(t, tt.opts).Dir(); !strings.HasPrefix(dir, tt.under) {
			t.Errorf("%s: the server is in %s, want it in %s", tt.name, dir, tt.under)
		}
	}
}

func TestCrashAndResume(t *testing.T) {
	t.Parallel()
	server := start(t, pgtest.Options{Durable: true, Settings: map[string]string{"max_connections": "23"}})
	if got := scan[string](t, server.URL(), "SHOW max_connections"); got != "23" {
		t.Errorf("max_connections = %s, want the 23 of Settings", got)
	}
	if got := scan[string](t, server.URL(), "SHOW fsync"); got != "on" {
		t.Errorf("fsync of a durable server = %s", got)
	}
	exec(t, server.URL(), "CREATE TABLE kept (id int)")
	stops := []struct {
		name     string
		stop     func() error
		recovers bool
	}{{"crash", server.Crash, true}, {"stop", server.Stop, false}}
	for _, tt := range stops {
		logged := recoveries(t, server)
		if err := tt.stop(); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if _, err := pgx.Connect(t.Context(), server.URL()); err == nil {
			t.Fatalf("%s: the server still answers", tt.name)
		}
		if err := server.Resume(t.Context()); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if recovered := recoveries(t, server) > logged; recovered != tt.recovers {
			t.Errorf("%s: the next start recovered: %t, want %t", tt.name, recovered, tt.recovers)
		}
		if !scan[bool](t, server.URL(), "SELECT to_regclass('kept') IS NOT NULL") {
			t.Errorf("%s: a committed table is gone", tt.name)
		}
	}
}

// recoveries counts the starts that found the cluster crashed.
func recoveries(t *testing.T, server *pgtest.Server) int {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(server.Dir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(log), "automatic recovery in progress")
}

func TestDirIsKept(t *testing.T) {
	t.Parallel()
	base, err := os.MkdirTemp("/tmp", "pgtest-kept-") // t.TempDir is closed to the server's user
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
	opts := pgtest.Options{Dir: filepath.Join(base, "server")}
	t.Run("first", func(t *testing.T) { exec(t, start(t, opts).URL(), "CREATE TABLE kept (id int)") })
	t.Run("second", func(t *testing.T) {
		if !scan[bool](t, start(t, opts).URL(), "SELECT to_regclass('kept') IS NOT NULL") {
			t.Error("a kept cluster lost its table")
		}
	})
}

func TestStartRefusesALongPath(t *testing.T) {
	t.Parallel()
	_, err := pgtest.Start(t.Context(), pgtest.Options{Dir: "/tmp/" + strings.Repeat("x", 100)})
	if err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("Start in a long path: %v, want an error that says so", err)
	}
}

func TestStartShowsTheLog(t *testing.T) {
	t.Parallel()
	_, err := pgtest.Start(t.Context(), pgtest.Options{Settings: map[string]string{"no_such_setting": "1"}})
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("Start with a wrong setting: %v, want the server's own words", err)
	}
}
