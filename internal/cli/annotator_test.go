package cli

import (
	"os"
	"path/filepath"
	"strings"
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
