package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/llmemory/llmemory"
)

// nobody is a user without rights, for tests that run as root, whom no right to a file binds.
const nobody = 65534

// guest runs the guest program as a user who is bound by the rights to files, and returns what it says.
func guest(t *testing.T, path string) string {
	t.Helper()
	program := os.Args[0]
	cmd := exec.CommandContext(t.Context(), program)
	if os.Geteuid() == 0 {
		// The test binary lies where only root may go.
		binary, err := os.ReadFile(program)
		must(t, err)
		cmd.Path = filepath.Join(filepath.Dir(path), "..", "program")
		syscall.ForkLock.RLock() // a program that another test starts meanwhile would have the file open for writing for a moment
		err = os.WriteFile(cmd.Path, binary, 0o755)
		syscall.ForkLock.RUnlock()
		must(t, err)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	cmd.Env = append(os.Environ(), guestTask+"="+path)
	var faults bytes.Buffer
	cmd.Stderr = &faults
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, faults.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// TestNoRights opens files that may not be written, in folders that may not: a typed error, nothing is changed, and with the rights it
// works.
func TestNoRights(t *testing.T) {
	t.Parallel()
	sound := fillAll(t, false)
	for name, c := range map[string]struct{ file, folder os.FileMode }{
		"a read-only file":        {0o400, 0o700},
		"a read-only folder":      {0o600, 0o500},
		"both":                    {0o400, 0o500},
		"a file without rights":   {0, 0o700},
		"a folder without rights": {0o600, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, err := os.MkdirTemp("", "llmemory-rights-") // all may go through it, unlike the test's own
			must(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(root) })
			must(t, os.Chmod(root, 0o755))
			folder := filepath.Join(root, "folder")
			must(t, os.Mkdir(folder, 0o700))
			path := filepath.Join(folder, "memory.db")
			must(t, os.WriteFile(path, sound[""], 0o600))
			if os.Geteuid() == 0 {
				must(t, errors.Join(os.Chown(path, nobody, nobody), os.Chown(folder, nobody, nobody)))
			}
			must(t, errors.Join(os.Chmod(path, c.file), os.Chmod(folder, c.folder)))
			said := guest(t, path)
			must(t, errors.Join(os.Chmod(folder, 0o700), os.Chmod(path, 0o600)))
			if !strings.HasPrefix(said, llmemory.ErrUnavailable.Error()+": ") {
				t.Errorf("it says %q, want %q", said, llmemory.ErrUnavailable)
			}
			if !sameFiles(t, path, sound) {
				t.Error("the file was changed")
			}
			if said := guest(t, path); said != "ok" {
				t.Errorf("with the rights: %q", said)
			}
		})
	}
}

// fullDisk adds documents until there is no room for more, twice, with room made in between. The ones that have no room are refused,
// those before them are there, and nothing else is; and a file that was full is as good as before when it is not any more.
func fullDisk(ctx context.Context, path string, makeRoom func() error) error {
	store, mem, err := killMemory(ctx, path)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	added := map[string]bool{}
	look := func() error {
		page, err := mem.Owner("o").List(ctx, &llmemory.ListOptions{Limit: 1000})
		if err != nil {
			return err
		}
		for _, d := range page.Documents {
			if !added[d.Key] {
				return fmt.Errorf("document %q was refused, and is there", d.Key)
			}
		}
		if page.Total != len(added) {
			return fmt.Errorf("%d documents, want the %d that were added", page.Total, len(added))
		}
		return checkStored(ctx, store)
	}
	n := 0
	add := func() error {
		n++
		key := fmt.Sprint(n)
		got, err := mem.Owner("o").Add(ctx, llmemory.Document{Key: key, Language: "en", Content: strings.Repeat(fmt.Sprintf("line %d of it\n", n), 100)})
		if err != nil {
			return err
		}
		added[key] = true
		return got.EmbedErr
	}
	for round := range 2 {
		for err = nil; err == nil; err = add() {
			if n > 900 {
				return errors.New("it never gets full")
			}
		}
		if !errors.Is(err, llmemory.ErrUnavailable) || errors.Is(err, llmemory.ErrCommitUnknown) {
			return fmt.Errorf("no room: %w, want ErrUnavailable", err)
		}
		if n < 5 {
			return fmt.Errorf("full after %d documents already: %w", n, err)
		}
		fmt.Printf("no room after %d documents: %v\n", n, err)
		if err := look(); err != nil {
			return err
		}
		if round == 0 {
			if err := errors.Join(makeRoom(), add()); err != nil {
				return fmt.Errorf("when there was room again: %w", err)
			}
		}
	}
	// Who opens a file where there is no room reads it as ever.
	if err := store.Close(); err != nil && !errors.Is(err, llmemory.ErrUnavailable) {
		return err
	}
	if store, mem, err = killMemory(ctx, path); err != nil {
		return fmt.Errorf("opened where there is no room: %w", err)
	}
	return look()
}

// TestFullDisk has no room on a small disk. Only root may make one; TestFileLimit is for everybody.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=6m"); err != nil {
		t.Logf("there can be no small disk here: %v", err)
		return
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	ballast := filepath.Join(disk, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 2<<20), 0o600))
	must(t, fullDisk(t.Context(), filepath.Join(disk, "memory.db"), func() error { return os.Remove(ballast) }))
}

// limitTask is the environment variable that makes this test binary a process whose files may not grow; it holds the path of one.
var limitTask = alsoProgram("LLMEMORY_TEST_SQLITE_LIMIT", runLimited)

// runLimited is fullDisk with a limit to the size of files.
func runLimited(path string) int {
	signal.Ignore(syscall.SIGXFSZ) // what is too much is an error then
	var limit syscall.Rlimit
	most := func(bytes uint64) error {
		limit.Cur = bytes
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
	}
	err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit)
	if err == nil {
		err = most(2 << 20)
	}
	if err == nil {
		err = fullDisk(context.Background(), path, func() error { return most(4 << 20) })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestFileLimit has no room for a process whose files may grow to a size and no further.
func TestFileLimit(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), limitTask+"="+newPath(t))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	t.Logf("%s", out)
}
