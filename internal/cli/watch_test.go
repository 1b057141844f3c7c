package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/extract/all"
	"github.com/llmemory/llmemory/internal/modelfile"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// spoken is a stream whose readers wait for what is written.
type spoken struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{} // closed at the next write
}

func newSpoken() *spoken { return &spoken{written: make(chan struct{})} }

func (s *spoken) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.written)
	s.written = make(chan struct{})
	return s.text.Write(p)
}

func (s *spoken) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// watched is a run of add --watch.
type watched struct {
	t              *testing.T
	app            *app
	stdout, stderr *spoken
	stop           context.CancelFunc
	code           chan int
	embedder       *paid
}

// startWatch starts add --watch --json and waits until it has made its first pass.
func startWatch(t *testing.T, db string, change func(*app), arguments ...string) *watched {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watched{t: t, stdout: newSpoken(), stderr: newSpoken(), stop: cancel, code: make(chan int, 1),
		embedder: &paid{Embedder: embedtest.New(embedtest.Config{})}}
	w.app = &app{stdin: strings.NewReader(""), stdout: &output{w: w.stdout}, stderr: w.stderr, env: env(db), extractor: all.Extractor{},
		findModel: modelfile.Find, model: w.embedder}
	if change != nil {
		change(w.app)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.code <- w.app.main(ctx, append([]string{"add", "--watch", "--json"}, arguments...))
	}()
	t.Cleanup(func() { cancel(); <-ended })
	w.says("watching until interrupted")
	return w
}

// wait waits until a stream fulfils a condition.
func (w *watched) wait(s *spoken, what string, good func(text string) bool) {
	w.t.Helper()
	late := time.NewTimer(time.Minute) // a fault shows as such, not as a test that hangs
	defer late.Stop()
	for {
		s.mu.Lock()
		text, written := s.text.String(), s.written
		s.mu.Unlock()
		if good(text) {
			return
		}
		select {
		case <-written:
		case code := <-w.code:
			w.t.Fatalf("it ended with %d, and never: %s\n%s\n%s", code, what, w.stdout, w.stderr)
		case <-late.C:
			w.t.Fatalf("never: %s\n%s\n%s", what, w.stdout, w.stderr)
		}
	}
}

func (w *watched) says(text string) {
	w.t.Helper()
	w.wait(w.stderr, text, func(s string) bool { return strings.Contains(s, text) })
}

// tells waits for so many lines of a status whose path ends like this.
func (w *watched) tells(status, path string, times int) {
	w.t.Helper()
	w.wait(w.stdout, fmt.Sprintf("%s %s %d times", status, path, times), func(s string) bool { return lines(w.t, s, status, path) >= times })
}

func lines(t *testing.T, text, status, path string) (n int) {
	t.Helper()
	for line := range strings.Lines(text) {
		var l addedJSON
		if !strings.HasSuffix(line, "\n") {
			continue
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if string(l.Status) == status && strings.HasSuffix(filepath.ToSlash(l.Path), path) {
			n++
		}
	}
	return n
}

func (w *watched) interrupt() {
	w.t.Helper()
	w.stop()
	if code := <-w.code; code != exitInterrupted {
		w.t.Errorf("exit code %d, want %d: %s", code, exitInterrupted, w.stderr)
	}
}

// keys are those of all documents.
func keys(t *testing.T, db string) []string {
	t.Helper()
	code, stdout, stderr := run(t, db, "list", "--json", "--limit", "1000")
	if code != 0 {
		t.Fatal(stderr)
	}
	var list struct{ Documents []documentJSON }
	if err := json.Unmarshal([]byte(stdout), &list); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, d := range list.Documents {
		seen[d.Key] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	for _, prune := range []bool{false, true} {
		t.Run(fmt.Sprintf("prune=%t", prune), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "docs")
			put(t, filepath.Join(dir, "old.md"), "It was there before.")
			put(t, filepath.Join(dir, "sub", "deep", "x.md"), "Far down.")
			db := filepath.Join(dir, "memory.db") // in the folder itself, where its own changes must not keep it busy
			arguments := []string{dir}
			if prune {
				arguments = append(arguments, "--prune")
			}
			w := startWatch(t, db, nil, arguments...)
			w.tells("created", "docs/old.md", 1)

			put(t, filepath.Join(dir, "a.md"), "The first version.")
			w.tells("created", "docs/a.md", 1)
			put(t, filepath.Join(dir, "a.md"), "The second version.")
			w.tells("updated", "docs/a.md", 1)
			put(t, filepath.Join(dir, "new", "folder", "b.md"), "In a new folder.")
			w.tells("created", "docs/new/folder/b.md", 1)
			put(t, filepath.Join(dir, "new", "folder", "b.md"), "In a new folder that is watched.")
			w.tells("updated", "docs/new/folder/b.md", 1)
			put(t, filepath.Join(dir, ".hidden", "c.md"), "Not to be seen.")
			put(t, filepath.Join(dir, "bad.pdf"), "%PDF-1.7 and no more")
			w.tells("failed", "docs/bad.pdf", 1) // which does not end it

			must(t, os.Rename(filepath.Join(dir, "a.md"), filepath.Join(dir, "b.md")))
			w.tells("created", "docs/b.md", 1)
			must(t, os.Rename(filepath.Join(dir, "sub"), filepath.Join(dir, "moved")))
			w.tells("created", "docs/moved/deep/x.md", 1)
			put(t, filepath.Join(dir, "moved", "deep", "x.md"), "Far down, under its new name.")
			w.tells("updated", "docs/moved/deep/x.md", 1)
			must(t, os.Remove(filepath.Join(dir, "old.md")))
			must(t, os.RemoveAll(filepath.Join(dir, "new")))
			want := []string{"docs/a.md", "docs/b.md", "docs/moved/deep/x.md", "docs/new/folder/b.md", "docs/old.md", "docs/sub/deep/x.md",
				"docs/z.md"}
			if prune {
				want = []string{"docs/b.md", "docs/moved/deep/x.md", "docs/z.md"}
				for _, gone := range []string{"docs/a.md", "docs/sub/deep/x.md", "docs/old.md", "docs/new/folder/b.md"} {
					w.tells("removed", gone, 1)
				}
			}
			put(t, filepath.Join(dir, "z.md"), "The last one.")
			w.tells("created", "docs/z.md", 1)
			for { // nothing runs any more, but on what events have brought there may be more to come
				code, runs, stderr := run(t, db, "runs", "--json")
				if code != 0 {
					t.Fatal(stderr)
				}
				if !strings.Contains(runs, `"running"`) && strings.Contains(runs, `"partial"`) {
					break
				}
			}
			w.interrupt()
			if got := keys(t, db); !slices.Equal(got, want) {
				t.Errorf("there are %q, want %q", got, want)
			}
			if n := lines(t, w.stdout.String(), "removed", ""); !prune && n > 0 {
				t.Errorf("%d were removed", n)
			}
			if n := lines(t, w.stdout.String(), "created", "docs/z.md"); n != 1 {
				t.Errorf("z.md was told of %d times", n)
			}
			if strings.Contains(w.stdout.String(), "hidden") {
				t.Error("a hidden file was told of")
			}
			code, runs, _ := run(t, db, "runs", "--json")
			if code != 0 || strings.Contains(runs, `"running"`) || !strings.Contains(runs, `"partial"`) || strings.Contains(runs, `"stopped"`) {
				t.Errorf("the ledger: %s", runs)
			}
			// Nothing is lost: a plain add finds all of it stored.
			var stderr bytes.Buffer
			again := &app{stdin: strings.NewReader(""), stdout: &output{w: &bytes.Buffer{}}, stderr: &stderr, env: env(db),
				extractor: all.Extractor{}, findModel: modelfile.Find, model: w.embedder}
			code = again.main(t.Context(), []string{"add", dir})
			if code != exitPartly || !strings.Contains(stderr.String(), "0 created, 0 updated, 3 unchanged") {
				t.Errorf("%d: %s", code, stderr.String())
			}
		})
	}
}

// slow is an embedder that takes its time over everything until somebody is content.
type slow struct {
	embedding.Embedder
	asked   chan struct{} // closed at the first call
	once    sync.Once
	content chan struct{}
	done    atomic.Int64 // passages
}

func (s *slow) Embed(ctx context.Context, role embedding.Role, texts []string) ([][]float32, error) {
	s.once.Do(func() { close(s.asked) })
	select {
	case <-s.content:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(50 * time.Millisecond):
	}
	vectors, err := s.Embedder.Embed(ctx, role, texts)
	s.done.Add(int64(len(texts)))
	return vectors, err
}

// What earlier runs left behind does not keep what happens in the folders waiting.
func TestWatchCatchesUp(t *testing.T) {
	t.Parallel()
	const files = 3000
	dir, db := tree(t, files), filepath.Join(t.TempDir(), "memory.db")
	add := &app{stdin: strings.NewReader(""), stdout: &output{w: &bytes.Buffer{}}, stderr: &bytes.Buffer{}, env: env(db), extractor: all.Extractor{},
		findModel: modelfile.Find, model: embedtest.New(embedtest.Config{})}
	if code := add.main(t.Context(), []string{"add", dir, "--embed", "later"}); code != 0 {
		t.Fatal(code)
	}
	e := &slow{Embedder: embedtest.New(embedtest.Config{}), asked: make(chan struct{}), content: make(chan struct{})}
	w := startWatch(t, db, func(a *app) { a.model = e }, dir)
	<-e.asked
	put(t, filepath.Join(dir, "new.md"), "This is new.")
	w.tells("created", "docs/new.md", 1)
	if n := e.done.Load(); n >= files {
		t.Errorf("%d passages got vectors before", n)
	}
	close(e.content)
	for {
		code, stdout, stderr := run(t, db, "models", "list", "--json")
		if code != 0 {
			t.Fatal(stderr)
		}
		if strings.Contains(stdout, fmt.Sprintf(`"vectors":%d,"leaves":%d,"waiting":0,`, files+1, files+1)) {
			break
		}
	}
	w.interrupt()
}

// Where the system tells of nothing, all files are looked at again and again. That writes nothing and asks for no vector.
func TestWatchScans(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "docs")
	put(t, filepath.Join(dir, "a.md"), "One.")
	put(t, filepath.Join(dir, "empty.md"), "")
	db := filepath.Join(t.TempDir(), "memory.db")
	scans := make(chan struct{})
	w := startWatch(t, db, func(a *app) {
		a.newWatcher = func() (*fsnotify.Watcher, error) { return nil, syscall.EMFILE }
		a.rescan = time.Millisecond
		a.onScan = func() { scans <- struct{}{} }
	}, dir, "--prune")
	<-scans // what the first one left to write is written
	before, asked := contents(t, db), w.embedder.calls
	for range 3 {
		<-scans
	}
	if contents(t, db) != before {
		t.Error("a scan that found nothing has written something")
	}
	if w.embedder.calls != asked {
		t.Errorf("a scan that found nothing has asked the embedder %d times", asked-w.embedder.calls)
	}
	go func() {
		for range scans {
		}
	}()
	put(t, filepath.Join(dir, "b.md"), "Two.")
	w.tells("created", "docs/b.md", 1)
	must(t, os.Remove(filepath.Join(dir, "a.md")))
	w.tells("removed", "docs/a.md", 1)
	w.interrupt()
	close(scans)
	if n := strings.Count(w.stderr.String(), "not every change is told at once"); n != 1 {
		t.Errorf("it is said %d times that there are no events: %s", n, w.stderr)
	}
	if n := lines(t, w.stdout.String(), "skipped", "docs/empty.md"); n != 1 {
		t.Errorf("an empty file is told of %d times", n)
	}
	if got := keys(t, db); !slices.Equal(got, []string{"docs/b.md"}) {
		t.Errorf("there are %q", got)
	}
}

// A folder that was replaced, as by a disk that was taken away, is no reason to delete anything.
func TestWatchFolderReplaced(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "docs")
	put(t, filepath.Join(dir, "a.md"), "One.")
	db := filepath.Join(t.TempDir(), "memory.db")
	w := startWatch(t, db, func(a *app) { a.rescan = time.Millisecond }, dir, "--prune")
	must(t, os.Rename(dir, dir+".away"))
	put(t, filepath.Join(dir, "b.md"), "Two.")
	w.tells("created", "docs/b.md", 1)
	w.says("nothing is pruned")
	w.interrupt()
	if got := keys(t, db); !slices.Equal(got, []string{"docs/a.md", "docs/b.md"}) {
		t.Errorf("there are %q", got)
	}
}

// A database that is away is waited for, which is said once.
func TestWatchDatabaseAway(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start(t.Context(), pgtest.Options{})
	must(t, err)
	t.Cleanup(func() { _ = server.Close() }) // it is thrown away
	dir := filepath.Join(t.TempDir(), "docs")
	put(t, filepath.Join(dir, "a.md"), "One.")
	w := startWatch(t, server.URL(), nil, dir)
	must(t, server.Crash())
	put(t, filepath.Join(dir, "b.md"), "Two.")
	w.says("waiting for the database")
	must(t, server.Resume(t.Context()))
	w.says("the database is back")
	w.tells("created", "docs/b.md", 1)
	w.interrupt()
	if n := strings.Count(w.stderr.String(), "waiting for the database"); n != 1 {
		t.Errorf("it is said %d times: %s", n, w.stderr)
	}
	if n := lines(t, w.stdout.String(), "failed", ""); n != 0 {
		t.Errorf("%d files failed: %s", n, w.stdout)
	}
}

func TestWatchUsage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a.md")
	put(t, file, "One.")
	db := filepath.Join(t.TempDir(), "memory.db")
	for _, c := range []struct {
		want      string
		code      int
		arguments []string
	}{
		{"standard input cannot be followed", exitUsage, []string{dir, "-"}},
		{"name the folder it is in", exitUsage, []string{file}},
		{"no such file", exitFailure, []string{filepath.Join(dir, "none")}},
		{"--dry-run", exitUsage, []string{dir, "--dry-run"}},
		{"--key and --name", exitUsage, []string{dir, "--key", "k"}},
		{"must be update or skip", exitUsage, []string{dir, "--if-exists", "error"}},
	} {
		code, stdout, stderr := run(t, db, append([]string{"add", "--watch"}, c.arguments...)...)
		if code != c.code || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit code %d, want %d and %q: %s", c.arguments, code, c.code, c.want, stderr)
		}
	}
}
