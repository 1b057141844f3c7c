package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

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
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"mask": mask},
	})
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
