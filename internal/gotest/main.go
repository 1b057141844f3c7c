// Command gotest reads the output of `go test -json` and prints what a person
// wants to read of it: go test's own closing line of each package, and of what
// failed everything. It exits with 1 if anything failed, and, with -no-skip, if
// any test skipped: a skipped test proves nothing, and where everything the
// tests need is installed none has a reason to. With -v it prints what passed
// tests wrote, too.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	noSkip := flag.Bool("no-skip", false, "count a skipped test as a failure")
	verbose := flag.Bool("v", false, "print what tests that passed wrote, too")
	flag.Parse()
	code, err := filter(os.Stdin, os.Stdout, *noSkip, *verbose)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		code = 1
	}
	os.Exit(code)
}

// event is a line of `go test -json`; see `go doc test2json` and `go help
// buildjson`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build-output
	Test        string
	Output      string
	FailedBuild string
}

// filter copies the interesting part of in to out and returns the exit code.
func filter(in io.Reader, out io.Writer, noSkip, verbose bool) (int, error) {
	w := bufio.NewWriter(out)
	f := run{out: w, verbose: verbose, pending: map[key][]string{}}
	events := bufio.NewReader(in)
	for {
		line, readErr := events.ReadString('\n')
		if line != "" {
			f.line(line)
		}
		if err := w.Flush(); err != nil { // at once: somebody may be watching
			return 1, err
		}
		if errors.Is(readErr, io.EOF) {
			break
		}
		if readErr != nil {
			return 1, readErr
		}
	}
	code := f.finish(noSkip)
	return code, w.Flush()
}

type key struct{ pkg, test string }

// run is the state of one run of go test.
type run struct {
	out     *bufio.Writer
	verbose bool
	pending map[key][]string // output whose fate is not decided
	passed  int              // tests, subtests included
	skipped []string
	failed  []string
}

func (r *run) line(line string) {
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		r.out.WriteString(line) // go's own words, for example of a wrong flag
		return
	}
	k := key{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		k = key{e.ImportPath, ""}
		r.pending[k] = append(r.pending[k], e.Output)
	case "build-fail":
		r.print(key{e.ImportPath, ""})
	case "output":
		r.pending[k] = append(r.pending[k], e.Output)
	case "pass":
		if e.Test != "" {
			r.passed++
			if r.verbose {
				r.print(k)
			}
			delete(r.pending, k)
			return
		}
		r.closing(k)
	case "skip":
		if e.Test == "" { // a package without tests
			r.closing(k)
			return
		}
		r.skipped = append(r.skipped, strings.TrimSpace(e.Package+" "+e.Test))
		delete(r.pending, k)
	case "fail":
		r.failed = append(r.failed, strings.TrimSpace(e.Package+" "+e.Test))
		r.print(k)
	}
}

// closing prints the line by which go test closes a package that is all right.
func (r *run) closing(k key) {
	for _, line := range r.pending[k] {
		if strings.HasPrefix(line, "ok ") || strings.HasPrefix(line, "?   ") {
			r.out.WriteString(line)
		}
	}
	delete(r.pending, k)
}

func (r *run) print(k key) {
	for _, line := range r.pending[k] {
		if !strings.HasPrefix(line, "=== ") { // RUN, PAUSE, CONT, NAME: of use only where outputs mix
			r.out.WriteString(line)
		}
	}
	delete(r.pending, k)
}

// finish prints what never ended (the test binary died) and the sums.
func (r *run) finish(noSkip bool) int {
	var cut []key
	for k := range r.pending {
		if k.test != "" {
			cut = append(cut, k)
		}
	}
	slices.SortFunc(cut, func(a, b key) int { return strings.Compare(a.pkg+" "+a.test, b.pkg+" "+b.test) })
	for _, k := range cut {
		fmt.Fprintf(r.out, "--- did not end: %s %s\n", k.pkg, k.test)
		r.print(k)
		r.failed = append(r.failed, k.pkg+" "+k.test)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, len(r.failed), len(r.skipped))
	for _, name := range r.failed {
		fmt.Fprintln(r.out, "FAILED ", name)
	}
	for _, name := range r.skipped {
		fmt.Fprintln(r.out, "SKIPPED", name)
	}
	if len(r.failed) > 0 || noSkip && len(r.skipped) > 0 {
		return 1
	}
	return 0
}
