package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// folderRounds is how often a folder is read and added.
const folderRounds = 3

// folder measures "llmemory add" of a folder of many files, without vectors, into a file: the sources of the Go distribution, which
// whoever can run this has.
func (b *bench) folder(ctx context.Context) error {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	tree := filepath.Join(strings.TrimSpace(string(root)), "src")
	dir, err := os.MkdirTemp("", "llmemory-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "llmemory")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/llmemory")
	build.Stderr = b.log
	if err := build.Run(); err != nil {
		return fmt.Errorf("build the command: %w", err)
	}
	add := func(round int) (time.Duration, error) {
		cmd := exec.CommandContext(ctx, program, "add", "--db", filepath.Join(dir, fmt.Sprint(round, ".db")), "--embed", "never", "--json", tree)
		cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
		start := time.Now()
		err := cmd.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 4 { // some files are damaged on purpose
			err = nil
		}
		return time.Since(start), err
	}
	var read, added, again []time.Duration
	var files int
	var size int64
	for round := range folderRounds {
		start := time.Now()
		if files, size, err = readAll(tree); err != nil {
			return err
		}
		read = append(read, time.Since(start))
		for _, took := range []*[]time.Duration{&added, &again} {
			t, err := add(round)
			if err != nil {
				return fmt.Errorf("llmemory add: %w", err)
			}
			*took = append(*took, t)
		}
		b.progress("folder: read %s, added %s, again %s", read[round], added[round], again[round])
	}
	fmt.Fprintf(b.out, "\n## Adding a folder\n\n`llmemory add --embed never` of the Go distribution's sources, %d files of %.0f MB, into a new file: cut, analysed, indexed, on the disk.\n"+
		"*read* is what reading and hashing (SHA-256) all of them takes on as many goroutines as there are processors; all of it comes from the\n"+
		"operating system's cache. *again* is the same add once more. Medians of %d rounds.\n\n"+
		"| what | seconds | files/s | MB/s | times read |\n|---|---|---|---|---|\n", files, float64(size)/1e6, folderRounds)
	base := median(read)
	for _, row := range []struct {
		what string
		took time.Duration
	}{{"read", base}, {"add", median(added)}, {"again", median(again)}} {
		fmt.Fprintf(b.out, "| %s | %.2f | %.0f | %.1f | %.1f |\n", row.what, row.took.Seconds(), float64(files)/row.took.Seconds(),
			float64(size)/1e6/row.took.Seconds(), float64(row.took)/float64(base))
	}
	b.goal("adding a folder without vectors, to reading and hashing it", "at most 10 times", fmt.Sprintf("%.1f times", float64(median(added))/float64(base)),
		median(added) <= 10*base)
	return nil
}

// readAll reads and hashes the regular files below a folder, and returns how many there are and their size.
func readAll(root string) (files int, size int64, err error) {
	paths := make(chan string, 64)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		fault error
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for path := range paths {
				data, err := os.ReadFile(path)
				sha256.Sum256(data)
				mu.Lock()
				files, size = files+1, size+int64(len(data))
				if err != nil {
					fault = err
				}
				mu.Unlock()
			}
		})
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			paths <- path
		}
		return err
	})
	close(paths)
	wg.Wait()
	if err == nil {
		err = fault
	}
	return files, size, err
}
