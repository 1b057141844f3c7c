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
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/sandbox"
)

// TestMain makes the test binary a program that can run itself as a child, as a host's main does.
func TestMain(m *testing.M) {
	sandbox.Main(formats()...)
	goleak.VerifyTestMain(m)
}

// formats are parsers with every fault that one can have, and some that look at where they run.
func formats() []sandbox.Format {
	list := map[string]func(ctx context.Context, in extract.Input) (extract.Text, error){
		"echo": echo,
		"backwards": func(ctx context.Context, in extract.Input) (extract.Text, error) {
			src, err := in.Open(ctx, 0)
			if err != nil {
				return extract.Text{}, err
			}
			defer src.Close()
			b := make([]byte, 3+16)
			if _, err := src.ReadAt(b[:3], src.Size()-3); err != nil {
				return extract.Text{}, err
			}
			_, err = src.ReadAt(b[3:], 0)
			return extract.Text{Content: string(b)}, err
		},
		"eat": func(context.Context, extract.Input) (extract.Text, error) {
			var all [][]byte
			for {
				b := make([]byte, 8<<20)
				for i := 0; i < len(b); i += 4096 {
					b[i] = 1
				}
				all = append(all, b)
				if len(all) > 1<<12 { // 32 GiB: there was no limit
					return extract.Text{Content: "had it all"}, nil
				}
			}
		},
		"spin": func(context.Context, extract.Input) (extract.Text, error) {
			for i := 0; ; i++ {
				_ = i
			}
		},
		"spin everywhere": func(context.Context, extract.Input) (extract.Text, error) {
			for range 8 {
				go func() {
					for i := 0; ; i++ {
						_ = i
					}
				}()
			}
			select {}
		},
		"sleep": func(context.Context, extract.Input) (extract.Text, error) { select {} },
		"flood": func(context.Context, extract.Input) (extract.Text, error) {
			return extract.Text{Content: strings.Repeat("flood ", 20<<20)}, nil
		},
		"flood part": func(ctx context.Context, in extract.Input) (extract.Text, error) {
			return extract.Text{}, in.Part(ctx, extract.Input{Name: "endless", Reader: zeros{}})
		},
		"exit":  func(context.Context, extract.Input) (extract.Text, error) { os.Exit(0); return extract.Text{}, nil },
		"panic": func(context.Context, extract.Input) (extract.Text, error) { panic("a fault in the parser") },
		"overflow": func(context.Context, extract.Input) (extract.Text, error) {
			debug.SetMaxStack(16 << 20)
			return extract.Text{Content: fmt.Sprint(deep(1))}, nil
		},
		"garbage": func(context.Context, extract.Input) (extract.Text, error) {
			_, _ = syscall.Write(1, bytes.Repeat([]byte("garbage"), 1000))
			select {}
		},
		"huge message": func(context.Context, extract.Input) (extract.Text, error) {
			_, _ = syscall.Write(1, []byte("t\xff\xff\xff\xff"))
			select {}
		},
		"torn message": func(context.Context, extract.Input) (extract.Text, error) {
			_, _ = syscall.Write(1, []byte("t\x00\x10\x00\x00{"))
			os.Exit(0)
			return extract.Text{}, nil
		},
		"not UTF-8":  func(context.Context, extract.Input) (extract.Text, error) { return extract.Text{Content: "\xff"}, nil },
		"odd pages":  func(context.Context, extract.Input) (extract.Text, error) { return extract.Text{Pages: []int{7}}, nil },
		"close pipe": func(context.Context, extract.Input) (extract.Text, error) { _ = syscall.Close(1); select {} },
		"kill itself": func(context.Context, extract.Input) (extract.Text, error) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		},
		"noise": func(ctx context.Context, in extract.Input) (extract.Text, error) {
			for range 20_000 { // more than any pipe holds
				fmt.Println("a library prints")
				fmt.Fprintln(os.Stderr, "to whatever it likes")
			}
			return echo(ctx, in)
		},
		"typed": func(_ context.Context, in extract.Input) (extract.Text, error) {
			for _, err := range []error{extract.ErrUnsupported, extract.ErrTooLarge, extract.ErrDamaged, extract.ErrEncrypted, extract.ErrNoText, extract.ErrTimeout} {
				if err.Error() == in.Name {
					return extract.Text{}, fmt.Errorf("%w: with a fact", err)
				}
			}
			return extract.Text{}, errors.New("some error")
		},
		"pid": func(context.Context, extract.Input) (extract.Text, error) {
			return extract.Text{Content: fmt.Sprint(os.Getpid(), " ", os.Getppid())}, nil
		},
		"hold": func(_ context.Context, in extract.Input) (extract.Text, error) { // tells the parent who it is by a part, then waits for it
			return extract.Text{}, errors.Join(in.Part(context.Background(), extract.Input{Name: fmt.Sprint(os.Getpid()), Reader: strings.NewReader("")}), wait())
		},
		"dial": func(_ context.Context, in extract.Input) (extract.Text, error) {
			var said []string
			for _, network := range []string{"tcp", "udp"} {
				conn, err := net.DialTimeout(network, in.Name, time.Second)
				if err == nil && network == "udp" {
					_, err = conn.Write([]byte("hello"))
				}
				said = append(said, fmt.Sprintf("%s: %v", network, err))
			}
			return extract.Text{Content: strings.Join(said, "\n")}, nil
		},
		"write": func(_ context.Context, in extract.Input) (extract.Text, error) {
			err := os.WriteFile(in.Name, []byte("from the child"), 0o600)
			return extract.Text{Content: fmt.Sprint(err)}, nil
		},
		"look": look,
		"fork": func(_ context.Context, in extract.Input) (extract.Text, error) { // a process that would outlive it and holds its pipes
			cmd := exec.Command("/bin/sleep", "1000")
			cmd.Stdout, cmd.Stderr = os.NewFile(1, "out"), os.Stderr
			if err := cmd.Start(); err != nil {
				return extract.Text{}, err
			}
			return extract.Text{}, errors.Join(in.Part(context.Background(), extract.Input{Name: fmt.Sprint(cmd.Process.Pid), Reader: strings.NewReader("")}), wait())
		},
		"parts": func(ctx context.Context, in extract.Input) (extract.Text, error) {
			all, err := io.ReadAll(in.Reader)
			if err != nil {
				return extract.Text{}, err
			}
			for word := range strings.FieldsSeq(string(all)) {
				if err := in.Part(ctx, extract.Input{Name: word, Type: "text", Media: "text/plain", Reader: strings.NewReader(strings.Repeat(word, 100_000))}); err != nil {
					return extract.Text{}, err
				}
			}
			return extract.Text{Container: true, Type: "text"}, nil
		},
	}
	var all []sandbox.Format
	for name, f := range list {
		all = append(all, sandbox.Format{Name: name, New: func(string) (extract.Extractor, error) { return extract.Func(f), nil }})
	}
	return append(all,
		sandbox.Format{
			Name: "prepared", Version: "1",
			Prepare: func(cache string) error {
				f, err := os.OpenFile(filepath.Join(cache, "made"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
				if err != nil {
					return err
				}
				defer f.Close()
				_, err = f.WriteString("prepared\n")
				return err
			},
			New: func(cache string) (extract.Extractor, error) {
				made, err := os.ReadFile(filepath.Join(cache, "made"))
				return extract.Func(func(context.Context, extract.Input) (extract.Text, error) {
					return extract.Text{Content: string(made)}, nil
				}), err
			},
		},
		sandbox.Format{Name: "cannot start", New: func(string) (extract.Extractor, error) { return nil, errors.New("no model") }},
		sandbox.Format{Name: "slow start", New: func(string) (extract.Extractor, error) { select {} }},
	)
}

// echo gives back what it reads.
func echo(_ context.Context, in extract.Input) (extract.Text, error) {
	all, err := io.ReadAll(in.Reader)
	if err != nil {
		return extract.Text{}, fmt.Errorf("echo: %w", err)
	}
	return extract.Text{
		Content: string(all), Type: in.Type, Format: "echo", Title: in.Name, Author: in.Media, Language: "en",
		Date: time.Date(2026, 11, 26, 1, 2, 3, 0, time.UTC), Pages: []int{0, len(all)}, Warnings: []string{"w"},
	}, nil
}

// look tells what a child finds where it is: its environment, its open files, its folder.
func look(context.Context, extract.Input) (extract.Text, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return extract.Text{}, err
	}
	var files []string
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "/proc/") && !strings.HasPrefix(to, "/sys/fs/cgroup/") { // this listing, and what Go's runtime has open
			kind, _, _ := strings.Cut(to, ":")
			files = append(files, e.Name()+" "+kind)
		}
	}
	slices.Sort(files)
	dir, err := os.Getwd()
	return extract.Text{Content: fmt.Sprintf("env %q\nfiles %q\ndir %s", os.Environ(), files, dir)}, err
}

func wait() error { select {} }

func deep(n int) int {
	if n == 0 {
		return 0
	}
	return deep(n+1) + 1
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
