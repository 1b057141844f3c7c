package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/soak"
	"github.com/llmemory/llmemory/store/sqlite"
)

// starterTask is the environment variable that makes this test binary a process that starts up; it names the file and a number.
const starterTask = "LLMEMORY_TEST_SQLITE_STARTER"

// starter says that it is ready, waits for standard input to end, opens the store, adds and searches.
func starter(task string) int {
	err := func() error {
		path, number, _ := strings.Cut(task, "|")
		fmt.Println("ready")
		if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		store, err := sqlite.Open(ctx, path, &sqlite.Options{Synchronous: sqlite.Off, BusyTimeout: 30 * time.Second})
		if err != nil {
			return err
		}
		mem, err := llmemory.New(store, &llmemory.Config{Chunker: verses})
		if err != nil {
			return err
		}
		ws := mem.Owner("o")
		for i := range 3 {
			if _, err := ws.Add(ctx, llmemory.Document{Name: fmt.Sprint(number, " ", i), Language: "en", Content: "written by starter" + number}); err != nil {
				return err
			}
		}
		found, err := ws.Search(ctx, "starter"+number, &llmemory.SearchOptions{Mode: llmemory.ByText})
		if err == nil && len(found.Hits) != 3 {
			err = fmt.Errorf("%d hits, want what was just added", len(found.Hits))
		}
		return errors.Join(err, store.Close())
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestStampede has processes start at the same moment where there is no file yet. All succeed and find what they add; the tables are
// made once.
func TestStampede(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	must(t, err)
	const processes = 8
	for range soak.Pick(2, 50) {
		path := newPath(t)
		var children []*exec.Cmd
		var inputs []io.Closer
		outputs := make([]bytes.Buffer, processes)
		for i := range processes {
			cmd := exec.CommandContext(t.Context(), program)
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d", starterTask, path, i))
			cmd.Stderr = &outputs[i]
			in, err := cmd.StdinPipe()
			must(t, err)
			out, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
				t.Fatal(err)
			}
			children, inputs = append(children, cmd), append(inputs, in)
		}
		for _, in := range inputs {
			must(t, in.Close())
		}
		for i, cmd := range children {
			if err := cmd.Wait(); err != nil {
				t.Errorf("process %d: %v: %s", i, err, outputs[i].String())
			}
		}
		store := openAt(t, path, sqlite.Off)
		must(t, checkStored(t.Context(), store))
		stats, err := memory(t, store).Owner("o").Stats(t.Context())
		must(t, err)
		if stats.Documents != 3*processes {
			t.Errorf("%d documents, want %d", stats.Documents, 3*processes)
		}
		rows, err := sqlite.Rows(t.Context(), store, "SELECT version FROM schema_migrations GROUP BY version HAVING count(*) > 1")
		must(t, err)
		if len(rows) != 0 {
			t.Errorf("migrations made more than once: %q", rows)
		}
	}
}

// TestTwoStores uses one file through two stores at once, as two processes do: both add to the same owner and search.
func TestTwoStores(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	var wg sync.WaitGroup
	const each = 20
	for s := range 2 {
		store := openAt(t, path, sqlite.Off)
		o := memory(t, store).Owner("o")
		for g := range 2 {
			wg.Go(func() {
				for i := range each {
					word := fmt.Sprintf("w%dx%dx%d", s, g, i)
					if _, err := o.Add(t.Context(), llmemory.Document{Key: word, Language: "en", Content: "common " + word}); err != nil {
						t.Error(err)
						return
					}
					found, err := o.Search(t.Context(), word, &llmemory.SearchOptions{Mode: llmemory.ByText})
					if err != nil || len(found.Hits) != 1 {
						t.Errorf("%s: %v, %v", word, found, err)
					}
				}
			})
		}
	}
	wg.Wait()
	store := openAt(t, path, sqlite.Off)
	must(t, checkStored(t.Context(), store))
	found, err := memory(t, store).Owner("o").Search(t.Context(), "common", &llmemory.SearchOptions{Mode: llmemory.ByText, Limit: 100})
	must(t, err)
	if len(found.Hits) != 4*each {
		t.Errorf("%d hits, want %d", len(found.Hits), 4*each)
	}
}

// TestBusy holds the write lock in one store while another wants it: the other reads as ever, and gives up writing in time.
func TestBusy(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	first := openAt(t, path, sqlite.Off)
	o := memory(t, first).Owner("o")
	_, err := o.Add(t.Context(), llmemory.Document{Key: "k", Content: "text"})
	must(t, err)
	second, err := sqlite.Open(t.Context(), path, &sqlite.Options{Synchronous: sqlite.Off, BusyTimeout: 100 * time.Millisecond})
	must(t, err)
	defer second.Close()
	edit, err := first.Edit(t.Context(), llmemory.EditParams{Owner: "o", Analysis: 1})
	must(t, err)
	other := memory(t, second).Owner("o")
	start := time.Now()
	if _, err := other.Add(t.Context(), llmemory.Document{Key: "l", Content: "text"}); !errors.Is(err, llmemory.ErrUnavailable) || !strings.Contains(err.Error(), "busy") {
		t.Errorf("%v, want ErrUnavailable: busy", err)
	}
	if took := time.Since(start); took < 90*time.Millisecond {
		t.Errorf("it waited %v only", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := other.Add(ctx, llmemory.Document{Key: "l", Content: "text"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want context.DeadlineExceeded", err)
	}
	found, err := other.Search(t.Context(), "text", &llmemory.SearchOptions{Mode: llmemory.ByText})
	if err != nil || len(found.Hits) != 1 {
		t.Errorf("a search meanwhile: %v, %v", found, err)
	}
	must(t, edit.Rollback(t.Context()))
	_, err = other.Add(t.Context(), llmemory.Document{Key: "l", Content: "text"})
	must(t, err)
}
