//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/internal/pgproxy"
	"github.com/llmemory/llmemory/llm/llmtest"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// tests stops the private database server when all tests are done.
type tests struct{ m *testing.M }

func (t tests) Run() int { return pgtest.Main(t.m) }

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"llmemory": main})
}

// TestScripts runs testdata/script/*.txtar, each with an empty database of its own in LLMEMORY_DB.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			repository, err := filepath.Abs("../..")
			if err != nil {
				return err
			}
			env.Setenv("LLMEMORY_DB", pgtest.URL(env.T().(testing.TB)))
			env.Setenv("REPOSITORY", repository)
			cache, err := os.UserCacheDir() // where what takes long to compile is kept; for the scripts that need it
			if err != nil {
				return err
			}
			env.Setenv("CACHE", cache)
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home")) // where no model and no memory is, at first
			env.Setenv("GORACE", "atexit_sleep_ms=0")              // each run of a program would end a second later with the race detector on
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "mask": mask, "fifo": fifo, "sql": sql, "reference": reference, "waitfile": waitfile,
			"embedder": embedder, "model": model, "fill": fill, "socket": socket, "unprivileged": unprivileged,
		},
	})
}

// exits runs a command and checks its exit code: "exits 3 llmemory get ID".
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// fifo makes named pipes.
func fifo(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		ts.Check(syscall.Mkfifo(ts.MkAbs(name), 0o600))
	}
}

// fill writes a text so many times into a file: "fill FILE 100 'a\\x00b'". A %d in it is the number of the repetition. Both arguments
// may have Go's escapes.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: fill FILE COUNT TEXT")
	}
	unquote := func(s string) string {
		out, err := strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
		ts.Check(err)
		return out
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	text := unquote(args[2])
	content := []byte(strings.Repeat(text, n))
	if strings.Contains(text, "%") {
		content = content[:0]
		for i := range n {
			content = fmt.Appendf(content, text, i)
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(unquote(args[0])), content, 0o666))
}

// socket makes a socket that nobody listens on.
func socket(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: socket NAME")
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	ts.Check(err)
	defer syscall.Close(fd) //nolint:errcheck // its name stays
	// The name of a socket may be a hundred bytes long, so it is made elsewhere.
	dir, err := os.MkdirTemp("", "")
	ts.Check(err)
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "s")
	ts.Check(syscall.Bind(fd, &syscall.SockaddrUnix{Name: name}))
	ts.Check(os.Rename(name, ts.MkAbs(args[0])))
}

// unprivileged is exits for a program that may read no more than the permissions of files say, though root runs the tests. The
// server's socket may be out of its reach then, so it is given a way there by TCP.
func unprivileged(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) > 1 && os.Geteuid() == 0 {
		args = slices.Insert(slices.Clone(args), 1, "setpriv", "--bounding-set=-dac_override,-dac_read_search")
	}
	database := ts.Getenv("LLMEMORY_DB")
	proxy, through, err := pgproxy.StartFor(database)
	ts.Check(err)
	defer proxy.Close() //nolint:errcheck // the program has ended
	ts.Setenv("LLMEMORY_DB", through)
	defer ts.Setenv("LLMEMORY_DB", database)
	exits(ts, neg, args)
}

// waitfile waits until a file holds a text.
func waitfile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfile FILE TEXT")
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(text), args[1]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s never held %q: %q, %v", args[0], args[1], text, err)
		}
	}
}

// sql runs a statement in the script's database; the result of a query must be one value, the first argument: "sql 0 SELECT…".
func sql(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sql VALUE STATEMENT")
	}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, ts.Getenv("LLMEMORY_DB"))
	ts.Check(err)
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, args[1])
	ts.Check(err)
	got, err := pgx.CollectRows(rows, pgx.RowTo[any])
	ts.Check(err)
	if len(got) == 0 {
		got = []any{""}
	}
	if text := fmt.Sprint(got[0]); text != args[0] {
		ts.Fatalf("%s: got %q, want %q", args[1], text, args[0])
	}
}

// embedder starts a server that makes embeddings, of dimensions as its models' names say, and puts its address into the
// environment: "embedder start". It makes the server misbehave: "embedder fail 'server error'", "embedder fail", "embedder poison
// 'bad input' TEXT".
func embedder(ts *testscript.TestScript, neg bool, args []string) {
	var server *embedtest.Server
	switch {
	case neg || len(args) == 0:
		ts.Fatalf("usage: embedder start | fail [FAULT] | poison FAULT TEXT")
	case args[0] == "start" && len(args) == 1:
		server = embedtest.NewServer(embedtest.ServerConfig{Models: map[string]int{"small": 64, "large": 96}, RetryAfter: time.Millisecond})
		ts.Defer(server.Close)
		servers.Store(ts.Name(), server)
		ts.Setenv("OPENAI_BASE_URL", server.URL)
		return
	}
	if s, ok := servers.Load(ts.Name()); ok {
		server = s.(*embedtest.Server)
	} else {
		ts.Fatalf("no server: embedder start")
	}
	switch {
	case args[0] == "fail" && len(args) == 1:
		server.Fail(nil)
	case args[0] == "fail" && len(args) == 2:
		server.Fail(embedtest.Always(embedtest.Fault(args[1])))
	case args[0] == "poison" && len(args) == 3:
		server.Fail(embedtest.Poison(embedtest.Fault(args[1]), strings.ReplaceAll(args[2], "|", "\n")))
	default:
		ts.Fatalf("usage: embedder start | fail [FAULT] | poison FAULT TEXT")
	}
}

// servers are the embedding servers of the scripts, by name.
var servers sync.Map

// model starts a language model that writes of each passage what its last word is, has it fail, or checks how often it was asked since the
// last check: "model asked 3".
func model(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: model start | fail [FAULT] | asked N")
	}
	if args[0] == "start" {
		last := regexp.MustCompile(`(?s)<passage>\n.*?(\w+)\W*\n</passage>`)
		server := llmtest.NewServer(llmtest.Config{Key: "sk-canary", RetryAfter: time.Millisecond, Reply: func(c llmtest.Call) string {
			word := last.FindStringSubmatch(c.Prompt)[1]
			return "Context: Tells of x" + word + ".\nSummary: Short for " + word
		}})
		ts.Defer(server.Close)
		models.Store(ts.Name(), server)
		ts.Setenv("OPENAI_BASE_URL", server.URL+"/v1")
		ts.Setenv("ANTHROPIC_BASE_URL", server.URL)
		return
	}
	found, ok := models.Load(ts.Name())
	if !ok {
		ts.Fatalf("no server: model start")
	}
	server := found.(*llmtest.Server)
	switch {
	case args[0] == "fail" && len(args) == 1:
		server.Fail(nil)
	case args[0] == "fail" && len(args) == 2:
		server.Fail(llmtest.Always(llmtest.Fault(args[1])))
	case args[0] == "asked" && len(args) == 2:
		if n := len(server.Calls()); strconv.Itoa(n) != args[1] {
			ts.Fatalf("the model was asked %d times, want %s", n, args[1])
		}
	default:
		ts.Fatalf("usage: model start | fail [FAULT] | asked N")
	}
}

// models are the language models of the scripts, by name.
var models sync.Map

// reference compares the program's reference with the one in the repository, and writes it when scripts are updated.
func reference(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: reference GOT COMMITTED")
	}
	got := ts.ReadFile(args[0])
	if os.Getenv("UPDATE_SCRIPTS") != "" {
		ts.Check(os.WriteFile(args[1], []byte(got), 0o666))
	}
	if want := ts.ReadFile(args[1]); got != want {
		ts.Fatalf("%s is out of date (-want +got); run the tests with UPDATE_SCRIPTS=1:\n%s", args[1], cmp.Diff(want, got))
	}
}

var masks = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`"(created_at|updated_at|first_created|last_updated|applied_at)":"[^"]*"`), `"$1":"TIME"`},
	{regexp.MustCompile(`"(took_ms|ingest_seconds|p50|p95|p99)":[0-9.e-]+`), `"$1":0`},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?`), `TIME`},
	{regexp.MustCompile(`"(score|text)":(\d+\.\d{6})\d*`), `"$1":$2`}, // platforms may differ in the last digits
}

// mask prints a file such as stdout with what differs from run to run masked, into another file: "mask stdout got.json".
func mask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mask FROM TO")
	}
	text := ts.ReadFile(args[0])
	for _, m := range masks {
		text = m.pattern.ReplaceAllString(text, m.with)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o666))
}
