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
	add := func(name string) error {
		cmd := exec.CommandContext(ctx, program, "add", "--db", filepath.Join(dir, name+".db"), "--embed", "never", "--json", tree)
		cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
		err := cmd.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 4 { // some files are damaged on purpose
			return nil
		}
		if err != nil {
			return fmt.Errorf("llmemory add: %w", err)
		}
		return nil
	}
	var coldRead, coldAdded, read, added, again []time.Duration
	var files int
	var size int64
	timed := func(into *[]time.Duration, cold bool, do func() error) error {
		if cold {
			if err := evict(tree); err != nil {
				return err
			}
		}
		start := time.Now()
		err := do()
		*into = append(*into, time.Since(start))
		return err
	}
	reading := func() (err error) {
		files, size, err = readAll(tree)
		return err
	}
	for round := range folderRounds {
		if canEvict {
			err := errors.Join(timed(&coldRead, true, reading), timed(&coldAdded, true, func() error { return add(fmt.Sprint(round, "-cold")) }))
			if err != nil {
				return err
			}
			b.progress("folder, cold: read %s, added %s", coldRead[round], coldAdded[round])
		}
		err := errors.Join(timed(&read, false, reading), timed(&added, false, func() error { return add(fmt.Sprint(round)) }),
			timed(&again, false, func() error { return add(fmt.Sprint(round)) }))
		if err != nil {
			return err
		}
		b.progress("folder: read %s, added %s, again %s", read[round], added[round], again[round])
	}
	fmt.Fprintf(b.out, "\n## Adding a folder\n\n`llmemory add --embed never` of the Go distribution's sources, %d files of %.0f MB, into a new file: cut, analysed, indexed, on the disk.\n"+
		"*read* is what reading and hashing (SHA-256) all of them takes on as many goroutines as there are processors. *cold* is with the files on\n"+
		"the disk, as where a folder is added for the first time; otherwise all of it comes from the operating system's cache. *again* is the same\n"+
		"add once more. Medians of %d rounds.\n\n"+
		"| what | seconds | files/s | MB/s | times read |\n|---|---|---|---|---|\n", files, float64(size)/1e6, folderRounds)
	row := func(what string, took, base time.Duration) {
		fmt.Fprintf(b.out, "| %s | %.2f | %.0f | %.1f | %.1f |\n", what, took.Seconds(), float64(files)/took.Seconds(),
			float64(size)/1e6/took.Seconds(), float64(took)/float64(base))
	}
	goal := func(where string, took, base time.Duration) {
		b.goal("adding a folder"+where+" without vectors, to reading and hashing it", "at most 10 times", fmt.Sprintf("%.1f times", float64(took)/float64(base)),
			took <= 10*base)
	}
	if canEvict {
		base, took := median(coldRead), median(coldAdded)
		row("read, cold", base, base)
		row("add, cold", took, base)
		goal(" on the disk", took, base)
	}
	base := median(read)
	row("read", base, base)
	row("add", median(added), base)
	row("again", median(again), base)
	goal(" in the cache", median(added), base)
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
