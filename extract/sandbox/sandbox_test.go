//go:build unix

package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/sandbox"
)

// newPool returns a pool that the test closes.
func newPool(t *testing.T, limits sandbox.Limits) *sandbox.Pool {
	t.Helper()
	p := &sandbox.Pool{Limits: limits, Cache: t.TempDir()}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func run(t *testing.T, p *sandbox.Pool, format, content string) (extract.Text, error) {
	t.Helper()
	return p.Extractor(format).Extract(t.Context(), extract.Input{Reader: strings.NewReader(content)})
}

func TestText(t *testing.T) {
	t.Parallel()
	p := newPool(t, sandbox.Limits{})
	content := strings.Repeat("some text — ", 100_000)
	got, err := p.Extractor("echo").Extract(t.Context(), extract.Input{
		Reader: iotestOneByte{strings.NewReader(content)}, Name: "n", Type: "text", Media: "m",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := extract.Text{
		Content: content, Type: "text", Format: "echo", Title: "n", Author: "m", Language: "en",
		Date: time.Date(2026, 11, 26, 1, 2, 3, 0, time.UTC), Pages: []int{0, len(content)}, Warnings: []string{"w"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got, err := run(t, p, "echo", ""); err != nil || got.Content != "" {
		t.Errorf("an empty file: %q, %v", got.Content, err)
	}
}

// iotestOneByte yields small pieces of odd sizes, and none at times.
type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 70_001)]) }

// TestFaults: whatever a parser does, its file has a typed outcome, the parent lives on, and the next file is read.
func TestFaults(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]struct {
		is   error
		says string
	}{
		"eat":             {extract.ErrTooLarge, "memory"},
		"spin":            {extract.ErrTimeout, "more than 1s"},
		"spin everywhere": {extract.ErrTimeout, "more than 1s"},
		"sleep":           {extract.ErrTimeout, "more than 1s"},
		"flood":           {extract.ErrTooLarge, "at most 67108864 bytes"},
		"flood part":      {extract.ErrTooLarge, "a part must be at most"},
		"exit":            {extract.ErrDamaged, "crashed: exit status 0"},
		"panic":           {extract.ErrDamaged, "a fault in the parser"},
		"overflow":        {extract.ErrDamaged, "stack"},
		"garbage":         {extract.ErrDamaged, "breaks its rules"},
		"huge message":    {extract.ErrDamaged, "breaks its rules"},
		"torn message":    {extract.ErrDamaged, "crashed"},
		"not UTF-8":       {extract.ErrDamaged, "not UTF-8"},
		"odd pages":       {extract.ErrDamaged, "pages"},
		"kill itself":     {extract.ErrTooLarge, "killed from outside"},
		"no such":         {extract.ErrUnsupported, `no format "no such"`},
		"cannot start":    {sandbox.ErrStart, "no model"},
	} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, sandbox.Limits{Time: time.Minute, Memory: 256 << 20})
			if want.is == extract.ErrTimeout {
				p.Limits.Time = time.Second
			}
			in := extract.Input{Reader: strings.NewReader("x"), Part: func(_ context.Context, part extract.Input) error {
				_, err := io.Copy(io.Discard, part.Reader)
				return err
			}}
			_, err := p.Extractor(format).Extract(t.Context(), in)
			if !errors.Is(err, want.is) || !strings.Contains(fmt.Sprint(err), want.says) {
				t.Errorf("got %v, want %v that says %q", err, want.is, want.says)
			}
			passes := want.is == extract.ErrTimeout || want.is == sandbox.ErrStart || format == "kill itself"
			if got := extract.Temporary(err); got != passes {
				t.Errorf("%v: temporary %v, want %v", err, got, passes)
			}
			p.Limits.Time = time.Minute
			if got, err := run(t, p, "echo", "next"); err != nil || got.Content != "next" {
				t.Errorf("the next file: %q, %v", got.Content, err)
			}
		})
	}
}

// TestClosedPipe: a child that closes its output but does not end is ended.
func TestClosedPipe(t *testing.T) {
	t.Parallel()
	_, err := run(t, newPool(t, sandbox.Limits{}), "close pipe", "")
	if !errors.Is(err, extract.ErrDamaged) {
		t.Errorf("got %v", err)
	}
}

func TestSlowStart(t *testing.T) {
	t.Parallel()
	_, err := run(t, newPool(t, sandbox.Limits{Start: time.Second}), "slow start", "")
	if !errors.Is(err, sandbox.ErrStart) {
		t.Errorf("got %v", err)
	}
}

// TestTypedErrors: the errors of package extract keep their identity and their words.
func TestTypedErrors(t *testing.T) {
	t.Parallel()
	p := newPool(t, sandbox.Limits{})
	for _, want := range []error{
		extract.ErrUnsupported, extract.ErrTooLarge, extract.ErrDamaged, extract.ErrEncrypted, extract.ErrNoText, extract.ErrTimeout,
	} {
		_, err := p.Extractor("typed").Extract(t.Context(), extract.Input{Name: want.Error(), Reader: strings.NewReader("")})
		if !errors.Is(err, want) || err.Error() != want.Error()+": with a fact" {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	if _, err := run(t, p, "typed", ""); err == nil || err.Error() != "some error" {
		t.Errorf("got %v", err)
	}
}

// TestMaxBytes: the bound of the input holds whatever the child does.
func TestMaxBytes(t *testing.T) {
	t.Parallel()
	p := newPool(t, sandbox.Limits{})
	_, err := p.Extractor("echo").Extract(t.Context(), extract.Input{Reader: strings.NewReader("12345678"), MaxBytes: 7})
	if !errors.Is(err, extract.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

// TestReaderError: an error of the reader comes back as it is, whatever the parser makes of it.
func TestReaderError(t *testing.T) {
	t.Parallel()
	p := newPool(t, sandbox.Limits{})
	broken := errors.New("the disk is on fire")
	_, err := p.Extractor("echo").Extract(t.Context(), extract.Input{Reader: io.MultiReader(strings.NewReader("half"), failing{broken})})
	if err != broken {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestSlowReader: the time that the reader takes is not the parser's.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	p := newPool(t, sandbox.Limits{Time: 3 * time.Second})
	got, err := p.Extractor("echo").Extract(t.Context(), extract.Input{Reader: late{strings.NewReader("late")}})
	if err != nil || got.Content != "late" {
		t.Errorf("got %q, %v", got.Content, err)
	}
}

// late takes longer to read than the parser may; that the clock stands still meanwhile is what is tested.
type late struct{ *strings.Reader }

func (l late) ReadAt(p []byte, at int64) (int, error) {
	<-time.After(3500 * time.Millisecond)
	return l.Reader.ReadAt(p, at)
}

// TestReaderAt: a file that is read in place is read where its format looks, in whatever order, and its faults come back.
func TestReaderAt(t *testing.T) {
	t.Parallel()
	p := newPool(t, sandbox.Limits{})
	content := strings.Repeat("0123456789abcdef", 3<<20/16) + "end" // more than a piece
	got, err := p.Extractor("backwards").Extract(t.Context(), extract.Input{Reader: strings.NewReader(content)})
	if want := "end" + content[:16]; err != nil || got.Content != want {
		t.Errorf("got %q, %v", got.Content, err)
	}
	broken := errors.New("the disk is on fire")
	for _, format := range []string{"echo", "backwards"} {
		_, err = p.Extractor(format).Extract(t.Context(), extract.Input{Reader: burning{strings.NewReader(content), broken}})
		if err != broken {
			t.Errorf("%s: got %v", format, err)
		}
	}
}

// burning fails in its second half.
type burning struct {
	*strings.Reader
	err error
}

func (b burning) ReadAt(p []byte, at int64) (int, error) {
	if at > b.Size()/2 {
		return 0, b.err
	}
	return b.Reader.ReadAt(p, at)
}

func TestParts(t *testing.T) {
	t.Parallel()
	p := newPool(t, sandbox.Limits{})
	var got []string
	text, err := p.Extractor("parts").Extract(t.Context(), extract.Input{
		Reader: strings.NewReader("one two three four"),
		Part: func(ctx context.Context, part extract.Input) error {
			if extract.Depth(ctx) != 1 {
				t.Errorf("part %s at depth %d", part.Name, extract.Depth(ctx))
			}
			if part.Name == "two" { // not all of it, or nothing
				return nil
			}
			all, err := io.ReadAll(part.Reader)
			if string(all) != strings.Repeat(part.Name, 100_000) {
				t.Errorf("part %s: %d bytes", part.Name, len(all))
			}
			got = append(got, part.Name+" "+part.Type+" "+part.Media)
			return err
		},
	})
	if diff := cmp.Diff([]string{"one text text/plain", "three text text/plain", "four text text/plain"}, got); err != nil || diff != "" || !text.Container {
		t.Errorf("%+v, %v\n%s", text, err, diff)
	}

	full := errors.New("the store is full")
	_, err = p.Extractor("parts").Extract(t.Context(), extract.Input{
		Reader: strings.NewReader("one two"), Part: func(context.Context, extract.Input) error { return full },
	})
	if err != full {
		t.Errorf("an error of Part: got %v", err)
	}
	if got, err := run(t, p, "echo", "next"); err != nil || got.Content != "next" {
		t.Errorf("the next file: %q, %v", got.Content, err)
	}
}

// TestNoise: what a library prints is neither a message nor a reason to wait for ever.
func TestNoise(t *testing.T) {
	t.Parallel()
	got, err := run(t, newPool(t, sandbox.Limits{}), "noise", "text")
	if err != nil || got.Content != "text" {
		t.Errorf("got %q, %v", got.Content, err)
	}
}

// TestReuse: children live on, are shared, are replaced after so many files, and end when they are idle.
func TestReuse(t *testing.T) {
	t.Parallel()
	p := newPool(t, sandbox.Limits{Files: 3})
	p.Children = 1
	var pids []string
	for range 7 {
		got, err := run(t, p, "pid", "")
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, strings.Fields(got.Content)[0])
	}
	if pids[0] != pids[2] || pids[2] == pids[3] || pids[3] != pids[5] || pids[5] == pids[6] {
		t.Errorf("three files a child: %v", pids)
	}
	// A child that is gone is no fault of the file: another one takes it.
	pid, _ := strconv.Atoi(pids[6])
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitGone(t, pid, true)
	if got, err := run(t, p, "pid", ""); err != nil || strings.Fields(got.Content)[0] == pids[6] {
		t.Errorf("after the child was killed: %q, %v", got.Content, err)
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	p := newPool(t, sandbox.Limits{})
	p.Idle = 10 * time.Millisecond
	got, err := run(t, p, "pid", "")
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.Fields(got.Content)[0])
	waitGone(t, pid, false)
}

// waitGone waits until a process is gone, or if zombie is set at least dead.
func waitGone(t *testing.T, pid int, zombie bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if syscall.Kill(pid, 0) != nil {
			return
		}
		if zombie {
			if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && bytes.Contains(stat, []byte(") Z ")) {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", pid)
		}
	}
}

// TestKilled: a child that is killed in the middle of a file costs that file.
func TestKilled(t *testing.T) {
	t.Parallel()
	p := newPool(t, sandbox.Limits{})
	_, err := p.Extractor("hold").Extract(t.Context(), extract.Input{Reader: strings.NewReader(""), Part: func(_ context.Context, part extract.Input) error {
		pid, err := strconv.Atoi(part.Name)
		if err != nil {
			return err
		}
		return syscall.Kill(pid, syscall.SIGKILL)
	}})
	if !errors.Is(err, extract.ErrTooLarge) || !strings.Contains(err.Error(), "killed from outside") {
		t.Errorf("got %v", err)
	}
}

// TestCancel: the child ends at once, with all that it started.
func TestCancel(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"hold", "fork"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, sandbox.Limits{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			pid := 0
			_, err := p.Extractor(format).Extract(ctx, extract.Input{Reader: strings.NewReader(""), Part: func(_ context.Context, part extract.Input) error {
				pid, _ = strconv.Atoi(part.Name)
				go cancel()
				return nil
			}})
			if err != context.Canceled {
				t.Errorf("got %v", err)
			}
			if pid == 0 {
				t.Fatal("no part came")
			}
			waitGone(t, pid, true)
			if _, err := p.Extractor("echo").Extract(ctx, extract.Input{Reader: strings.NewReader("")}); err != context.Canceled {
				t.Errorf("cancelled before: got %v", err)
			}
		})
	}
}

// TestClose: Close ends the children at work and waits for them; nothing starts any more.
func TestClose(t *testing.T) {
	t.Parallel()
	p := &sandbox.Pool{Cache: t.TempDir()}
	pids, done := make(chan int, 1), make(chan error, 1)
	go func() {
		_, err := p.Extractor("hold").Extract(t.Context(), extract.Input{Reader: strings.NewReader(""), Part: func(_ context.Context, part extract.Input) error {
			pid, err := strconv.Atoi(part.Name)
			pids <- pid
			return err
		}})
		done <- err
	}()
	pid := <-pids
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if syscall.Kill(pid, 0) == nil {
		t.Error("the child is still there")
	}
	if err := <-done; !errors.Is(err, sandbox.ErrClosed) {
		t.Errorf("at work: got %v", err)
	}
	if _, err := run(t, p, "echo", ""); !errors.Is(err, sandbox.ErrClosed) {
		t.Errorf("afterwards: got %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

// TestParallel: many files at once, no more children than meant, each file its own text.
func TestParallel(t *testing.T) {
	t.Parallel()
	p := newPool(t, sandbox.Limits{})
	p.Children = 2
	var mu sync.Mutex
	pids := map[string]bool{}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			want := strings.Repeat(strconv.Itoa(i), 200_000)
			if got, err := run(t, p, "echo", want); err != nil || got.Content != want {
				t.Errorf("file %d: %d bytes, %v", i, len(got.Content), err)
			}
			got, err := run(t, p, "pid", "")
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			pids[got.Content] = true
		})
	}
	wg.Wait()
	if len(pids) > 2 {
		t.Errorf("%d children: %v", len(pids), pids)
	}
}

// TestPrepare: what a format prepares is made once, by a child that reads no file, and children that do cannot change it.
func TestPrepare(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 { // two processes, as it were
		p := &sandbox.Pool{Cache: dir, Limits: sandbox.Limits{Files: 1}}
		for range 2 {
			if got, err := run(t, p, "prepared", ""); err != nil || got.Content != "prepared\n" {
				t.Errorf("got %q, %v", got.Content, err)
			}
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestConfined: what a child finds around it, and what it cannot do.
func TestConfined(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		return // what holds elsewhere is less; the package's comment says what
	}
	p := newPool(t, sandbox.Limits{})
	stray, err := os.Open(os.DevNull) // a file that is not closed on exec, as a C library might have
	if err != nil {
		t.Fatal(err)
	}
	defer stray.Close()
	fd, err := syscall.Dup(int(stray.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	got, err := run(t, p, "look", "")
	if err != nil {
		t.Fatal(err)
	}
	if want := "env []\nfiles [\"0 pipe\" \"1 pipe\" \"2 pipe\"]\ndir /"; got.Content != want {
		t.Errorf("got\n%s\nwant\n%s", got.Content, want)
	}

	file := filepath.Join(t.TempDir(), "new")
	if got, err := p.Extractor("write").Extract(t.Context(), extract.Input{Name: file, Reader: strings.NewReader("")}); err != nil || got.Content == "<nil>" {
		t.Errorf("a file could be written: %q, %v", got.Content, err)
	}
	if b, _ := os.ReadFile(file); len(b) > 0 {
		t.Errorf("%d bytes were written", len(b))
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got, err = p.Extractor("dial").Extract(t.Context(), extract.Input{Name: l.Addr().String(), Reader: strings.NewReader("")})
	if err != nil {
		t.Fatal(err)
	}
	if mayMakeNamespaces() {
		if strings.Contains(got.Content, "<nil>") {
			t.Errorf("there is a network: %s", got.Content)
		}
	} else {
		t.Logf("no namespaces here: %s", got.Content)
	}
}

// mayMakeNamespaces tells whether this system lets a program make the namespaces that a child is in.
func mayMakeNamespaces() bool {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.SysProcAttr = namespaces()
	return cmd.Run() == nil
}

// TestOrphan: a child ends with its parent, whatever the parent dies of.
func TestOrphan(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.CommandContext(t.Context(), exe, "-test.run=^TestOrphanParent$")
	parent.Env = append(os.Environ(), "SANDBOX_TEST_ORPHAN=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscanf(out, "child %d\n", &pid); err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	waitGone(t, pid, true)
}

// TestOrphanParent is the parent of TestOrphan; by itself it does nothing.
func TestOrphanParent(t *testing.T) {
	if os.Getenv("SANDBOX_TEST_ORPHAN") == "" {
		return
	}
	p := newPool(t, sandbox.Limits{Time: time.Hour})
	_, err := p.Extractor("hold").Extract(t.Context(), extract.Input{Reader: strings.NewReader(""), Part: func(_ context.Context, part extract.Input) error {
		fmt.Printf("child %s\n", part.Name)
		return nil
	}})
	t.Error(err)
}

// TestNoMain: a program that does not call Main gets an error that says what to do, and is not started again.
func TestNoMain(t *testing.T) { // not parallel: it changes the process for the while
	dir := t.TempDir()
	for _, c := range []struct{ name, program, want string }{
		{"no main", "", "call sandbox.Main() first thing in func main"},
		{"helper that is none", "/bin/true", "cannot start a child"},
		{"helper that is not there", "/no/such/program", "cannot start a child"},
	} {
		p := &sandbox.Pool{Program: c.program, Cache: dir}
		_, err := sandbox.WithoutMain(func() (extract.Text, error) { return run(t, p, "echo", "") })
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, sandbox.ErrNoMain) && !errors.Is(err, sandbox.ErrStart) {
			t.Errorf("%s: got %v", c.name, err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestHelper: a named program that calls Main serves in place of this one.
func TestHelper(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := newPool(t, sandbox.Limits{})
	p.Program = exe
	if got, err := run(t, p, "echo", "text"); err != nil || got.Content != "text" {
		t.Errorf("got %q, %v", got.Content, err)
	}
}

// TestParentMemory: whatever a child sends, the parent's memory stays bounded.
func TestParentMemory(t *testing.T) {
	p := newPool(t, sandbox.Limits{Time: time.Minute})
	before := heap()
	for _, format := range []string{"flood", "flood part", "garbage", "huge message"} {
		_, err := p.Extractor(format).Extract(t.Context(), extract.Input{Reader: strings.NewReader(""), Part: func(_ context.Context, part extract.Input) error {
			_, err := io.Copy(io.Discard, part.Reader)
			return err
		}})
		if err == nil {
			t.Errorf("%s: no error", format)
		}
		if grown := int64(heap()) - int64(before); grown > 160<<20 {
			t.Errorf("%s: the heap grew by %d MiB", format, grown>>20)
		}
	}
}

// heap is the memory that the Go heap has from the system, at its most.
func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapSys
}
