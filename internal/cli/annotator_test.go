package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/llmemory/llmemory/llm/llmtest"
)

// A context model that is away is told of once; when it is back, lines are written though no file changed.
func TestWatchContext(t *testing.T) {
	t.Parallel()
	server := llmtest.NewServer(llmtest.Config{Reply: func(llmtest.Call) string { return "It is about zebras." }})
	defer server.Close()
	folder, db := t.TempDir(), filepath.Join(t.TempDir(), "m.db")
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte("striped "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.txt")
	w := startWatch(t, db, func(a *app) { a.rescan = 100 * time.Millisecond }, "--context-model", "openai:m", "--openai-base-url", server.URL+"/v1", folder)
	w.tells("created", "a.txt", 1)
	w.says("1 line of context written: 1 call")
	asked := make(chan struct{}, 100)
	server.Fail(func(llmtest.Call) llmtest.Fault {
		asked <- struct{}{}
		return llmtest.WrongModel
	})
	write("b.txt")
	w.tells("created", "b.txt", 1)
	w.says("passages without a line of context: openai: model not found")
	for range 3 { // scans go on
		<-asked
	}
	server.Fail(nil)
	w.tells("updated", "b.txt", 1)
	w.interrupt()
	if n := strings.Count(w.stderr.String(), "passages without a line of context"); n != 1 {
		t.Errorf("told %d times that the model is away:\n%s", n, w.stderr)
	}
	if n := lines(t, w.stdout.String(), "updated", "a.txt"); n != 0 {
		t.Errorf("a file that has its lines was updated %d times", n)
	}
	code, stdout, stderr := run(t, db, "search", "--json", "zebras")
	if code != 0 || strings.Count(stdout, `"context":"It is about zebras."`) != 2 {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

// What was written before Ctrl-C is kept, the exit code says that there is more to do, and the next run does just that.
func TestInterruptedContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var calls atomic.Int64
	server := llmtest.NewServer(llmtest.Config{Reply: func(llmtest.Call) string {
		if calls.Add(1) == 3 {
			cancel()
		}
		return "It is about zebras."
	}})
	defer server.Close()
	dir := t.TempDir()
	file, db := filepath.Join(dir, "a.md"), filepath.Join(dir, "m.db")
	const sections = 20
	var text strings.Builder
	for i := range sections {
		fmt.Fprintf(&text, "# Part %d\n\n%s\n\n", i, strings.Repeat("The river runs by the mill and on to the sea. ", 12))
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"add", "--db", db, "--embedder", "none", "--context-model", "openai:m", "--openai-base-url", server.URL + "/v1", file}
	var stdout, stderr bytes.Buffer
	code := Main(ctx, args, strings.NewReader(""), &stdout, &stderr, env(""))
	if code != 130 || !strings.Contains(stdout.String(), "created") || !strings.Contains(stderr.String(), "passages without a line of context\n") {
		t.Fatalf("exit code %d: %s%s", code, stdout.String(), stderr.String())
	}
	calls.Store(100) // so that none of the next is the third
	if code, _, errs := run(t, "", args...); code != 0 {
		t.Fatalf("again: exit code %d: %s", code, errs)
	}
	if again := calls.Load() - 100; again >= sections || again < sections/2 {
		t.Errorf("asked for %d lines of %d again", again, sections)
	}
	_, hits, _ := run(t, "", "search", "--db", db, "--mode", "text", "--limit", "50", "--json", "zebras")
	if n := strings.Count(hits, "about zebras."); n != sections {
		t.Errorf("%d of %d passages have a line: %s", n, sections, hits)
	}
}
