// Package sandbox runs extractors in child processes, so that a file that makes a parser crash, loop or eat memory costs that
// file and nothing else.
//
// The child is the program itself, started again: its main calls [Main] before anything else.
//
//	func main() {
//		sandbox.Main() // returns at once, but in a child
//		…
//		var pool sandbox.Pool
//		defer pool.Close()
//		text, err := pool.Extractor("pdf").Extract(ctx, extract.Input{Reader: f, Name: "report.pdf"})
//	}
//
// A program that cannot do so names another that does in [Pool.Program]. With neither, extraction fails with [ErrNoMain]: no
// file is parsed in the host's own process unless the host does it itself, by calling the format's package.
//
// A child gets the bytes of the file that it looks at through a pipe, and gives back text through another. What holds it:
//
//   - wall time, CPU time, memory, and size of output: [Limits]; past one of them it is killed
//   - everywhere: an empty environment, no open file but three pipes, its end with that of its parent
//   - Linux: memory by RLIMIT_DATA (not RLIMIT_AS: Go and WebAssembly reserve address space that they never use), RLIMIT_CPU,
//     no file may grow (RLIMIT_FSIZE), no core file, no new privileges; where the kernel has Landlock no file can be written,
//     made or removed, no TCP connection made and no other process signalled; where it lets an unprivileged program make a user
//     namespace, the child is in an empty network namespace and has no capability, even of root
//   - macOS and the BSDs: RLIMIT_CPU, no growing file, no core file; no limit of memory but Go's own, no limit of network
//   - Windows: wall time and size of output, and Go's own limit of memory
//
// The parser of each format keeps limits of its own on top.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/html"
	"github.com/llmemory/llmemory/extract/pdf"
)

var (
	// ErrNoMain is returned where there is no child to parse in.
	ErrNoMain = errors.New("this format is parsed in a child process only: call sandbox.Main() first thing in func main and " +
		"give the extractor a sandbox.Pool, or name a program that does so in sandbox.Pool.Program, or give the extractor a " +
		"parser of the format to run in this process")
	// ErrStart is returned where a child cannot be started: nothing is wrong with the file.
	ErrStart = errors.New("cannot start a child process to parse in")
	// ErrClosed is returned after [Pool.Close].
	ErrClosed = errors.New("sandbox is closed")
)

// Format is a kind of file that a child can read.
type Format struct {
	// Name is how [Pool.Extractor] asks for it.
	Name string
	// New makes its extractor, once in a child and before any file is there. Cache is a folder that Prepare has filled, and
	// that cannot be written to; "" if there is none.
	New func(cache string) (extract.Extractor, error)
	// Prepare fills a folder with what makes New fast; nil if nothing does. It is called in a child that never reads a file,
	// so that no file can leave anything in the folder, once for each Version.
	Prepare func(cache string) error
	// Version names what Prepare makes.
	Version string
}

// builtin are the formats that every child reads.
func builtin() []Format {
	return []Format{{
		Name: "pdf",
		New: func(cache string) (extract.Extractor, error) {
			x := &pdf.Extractor{Cache: cache, Timeout: time.Hour} // the parent ends it
			return x, x.Start()
		},
		Prepare: func(cache string) error {
			x := &pdf.Extractor{Cache: cache}
			return errors.Join(x.Start(), x.Close())
		},
		Version: pdf.Version(),
	}, {
		Name: "html",
		New:  func(string) (extract.Extractor, error) { return html.Extractor{}, nil },
	}}
}

// Main makes a child of a process that was started as one; it never returns there. In any other process it returns at once,
// and lets a [Pool] start this program again. Formats are what the program's children read besides those that they always do,
// now "pdf" and "html"; both the child and the pool know them by this call.
//
// Call it first thing in main: what comes before happens in each child too.
func Main(formats ...Format) {
	formats = slices.Concat(builtin(), formats)
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case argBare:
			confine() // starts this program again with argConfined
			os.Exit(serve(formats, false))
		case argPrepare:
			os.Exit(serve(formats, true))
		case argConfined:
			os.Exit(serve(formats, false))
		}
	}
	known.Store(&formats)
}

// known are the formats that Main was called with, nil if it was not: whether this process may start itself again is a fact
// of the process, which is why it is the one thing here that is kept for all of it.
var known atomic.Pointer[[]Format]

// The one argument of a child, as a person would hardly type it.
const (
	argBare     = "llmemory:sandbox"
	argConfined = "llmemory:sandbox:confined"
	argPrepare  = "llmemory:sandbox:prepare"
)

// Limits hold a child. Zero means the default; there is no way to have no limit.
type Limits struct {
	// Time is how long one file may take, as the clock on the wall has it and as the processor does, not counting the time
	// that the reader and Part take. Past it is [extract.ErrTimeout]. Defaults to 30 s.
	Time time.Duration
	// Start is how long a child may take to be ready for its first file, no part of which it has seen. Past it is
	// [ErrStart]. Defaults to 10 min: a busy machine may take long to compile PDFium, once.
	Start time.Duration
	// Memory is how many bytes a child may have. Past it is [extract.ErrTooLarge].
	// Defaults to 1 GiB.
	Memory int64
	// Source is the most bytes that a file may have. Past it is [extract.ErrTooLarge]. Defaults to [extract.DefaultMaxSource].
	Source int64
	// Output is the most bytes of text and of parts that one file may yield. Past it is [extract.ErrTooLarge].
	// Defaults to 64 MiB for text and 256 MiB for each part; what is set holds for both.
	Output int64
	// Files is how many files a child reads, one after the other, before another takes its place. Defaults to 100; 1 makes a
	// child for each file.
	Files int
}

func (l Limits) withDefaults() Limits {
	l.Time = orDefault(l.Time, 30*time.Second)
	l.Start = orDefault(l.Start, 10*time.Minute)
	l.Memory = orDefault(l.Memory, 1<<30)
	l.Files = orDefault(l.Files, 100)
	return l
}

func (l Limits) text() int64 { return orDefault(l.Output, 64<<20) }
func (l Limits) part() int64 { return orDefault(l.Output, 256<<20) }

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v > 0 {
		return v
	}
	return def
}

// Pool is a set of children. Its zero value is ready; it starts a child when there is a file for it. It is safe for concurrent
// use, and must not be copied after its first use.
type Pool struct {
	// Program is the path of a program that calls [Main], to run in place of this one.
	Program string
	// Limits hold each child.
	Limits Limits
	// Children is how many there are at most; further files wait. Defaults to GOMAXPROCS.
	Children int
	// Idle is how long a child without a file lives on. Defaults to 30 s.
	Idle time.Duration
	// Cache is a folder for what formats prepare, such as PDFium compiled for this machine (22 MB). Defaults to
	// llmemory/sandbox in the user's cache folder; where that cannot be written children start more slowly.
	Cache string

	mu       sync.Mutex
	slots    chan struct{}
	idle     []*child // the one used last is the last
	busy     map[*child]struct{}
	reaper   *time.Timer
	closed   bool
	bare     bool                // namespaces are not allowed here
	prepared map[string]struct{} // formats whose cache was seen to
	prepare  sync.Mutex          // one child prepares at a time
}

// Extractor returns an extractor that reads files of the format in children of the pool.
func (p *Pool) Extractor(format string) extract.Extractor {
	return extract.Func(func(ctx context.Context, in extract.Input) (extract.Text, error) {
		return p.extract(ctx, format, in)
	})
}

// Signature names the limits of size of the pool's children, as an [extract.Signer] does: with others a file may be read that was too large.
// It is "" for the defaults.
func (p *Pool) Signature() string {
	l := Limits{Memory: p.Limits.Memory, Source: p.Limits.Source, Output: p.Limits.Output}
	if l == (Limits{}) {
		return ""
	}
	return fmt.Sprintf("sandbox %d %d %d", l.Memory, l.Source, l.Output)
}

// Available returns nil if the pool can have children, else [ErrNoMain].
func (p *Pool) Available() error {
	if p.Program == "" && known.Load() == nil {
		return ErrNoMain
	}
	return nil
}

// Close ends every child, also those that are at work, and waits until they are gone.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	children := p.idle
	p.idle = nil
	if p.reaper != nil {
		p.reaper.Stop()
	}
	var ended []chan struct{}
	for c := range p.busy { // whoever uses it cleans up
		c.kill(ErrClosed)
		ended = append(ended, c.gone)
	}
	p.mu.Unlock()
	for _, c := range children {
		c.end()
	}
	for _, gone := range ended {
		<-gone
	}
	return nil
}

// extract reads one file in a child.
func (p *Pool) extract(ctx context.Context, format string, in extract.Input) (extract.Text, error) {
	if err := ctx.Err(); err != nil {
		return extract.Text{}, err
	}
	if err := p.Available(); err != nil {
		return extract.Text{}, err
	}
	slots, err := p.enter()
	if err != nil {
		return extract.Text{}, err
	}
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return extract.Text{}, ctx.Err()
	}
	defer func() { <-slots }()
	src, err := in.Open(ctx, p.Limits.Source)
	if err != nil {
		return extract.Text{}, err
	}
	text, err := p.read(ctx, format, in, src)
	if cerr := src.Close(); err == nil {
		err = cerr
	}
	return text, err
}

// read reads an open file in a child.
func (p *Pool) read(ctx context.Context, format string, in extract.Input, src *extract.Source) (extract.Text, error) {
	cache, err := p.ready(ctx, format)
	if err != nil {
		return extract.Text{}, err
	}
	for {
		c, used, err := p.take(cache)
		if err != nil {
			return extract.Text{}, err
		}
		text, err := c.run(ctx, p.Limits.withDefaults(), format, in, src)
		p.give(c)
		if used && errors.Is(err, errStale) { // it ended while it was idle: another one, which is new in the end
			continue
		}
		return text, err
	}
}

// enter returns what bounds the children at work.
func (p *Pool) enter() (chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if p.slots == nil {
		p.slots = make(chan struct{}, orDefault(p.Children, runtime.GOMAXPROCS(0)))
		p.busy, p.prepared = map[*child]struct{}{}, map[string]struct{}{}
	}
	return p.slots, nil
}

// take returns an idle child, or a new one; whether it has been used is the second result.
func (p *Pool) take(cache string) (*child, bool, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, false, ErrClosed
	}
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.busy[c] = struct{}{}
		p.mu.Unlock()
		return c, true, nil
	}
	p.mu.Unlock()
	c, err := p.start(argBare, setup{Cache: cache})
	return c, false, err
}

// start starts a child, in namespaces of its own where the system allows them.
func (p *Pool) start(arg string, s setup) (*child, error) {
	l := p.Limits.withDefaults()
	s.Memory = l.Memory
	p.mu.Lock()
	defer p.mu.Unlock() // so that Close sees every child
	if p.closed {
		return nil, ErrClosed
	}
	var c *child
	err := errors.ErrUnsupported
	if !p.bare {
		if c, err = startChild(p.Program, arg, s, true); err != nil {
			p.bare = true
		}
	}
	if err != nil {
		if c, err = startChild(p.Program, arg, s, false); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrStart, err)
		}
	}
	p.busy[c] = struct{}{}
	return c, nil
}

// give takes a child back, to keep if it is fit for another file.
func (p *Pool) give(c *child) {
	p.mu.Lock()
	delete(p.busy, c)
	keep := c.fit && !p.closed && c.files < p.Limits.withDefaults().Files
	if keep {
		c.since = time.Now()
		p.idle = append(p.idle, c)
		if p.reaper == nil {
			p.reaper = time.AfterFunc(orDefault(p.Idle, 30*time.Second), p.reap)
		} else {
			p.reaper.Reset(orDefault(p.Idle, 30*time.Second))
		}
	}
	p.mu.Unlock()
	if !keep {
		c.end()
	}
}

// reap ends the children that have been idle for long.
func (p *Pool) reap() {
	wait := orDefault(p.Idle, 30*time.Second)
	p.mu.Lock()
	var old []*child
	var next time.Duration
	now := time.Now()
	for len(p.idle) > 0 {
		if age := now.Sub(p.idle[0].since); age < wait {
			next = wait - age
			break
		}
		old, p.idle = append(old, p.idle[0]), p.idle[1:]
	}
	if next > 0 && !p.closed {
		p.reaper.Reset(next)
	}
	p.mu.Unlock()
	for _, c := range old {
		c.end()
	}
}

// ready returns the folder that a format's children take what is prepared from, "" if there is none.
func (p *Pool) ready(ctx context.Context, format string) (string, error) {
	f, ok := lookup(format)
	if !ok && p.Program == "" {
		return "", fmt.Errorf("%w: no format %q in the sandbox: name it in the call of sandbox.Main", extract.ErrUnsupported, format)
	}
	dir := p.Cache
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", nil
		}
		dir = filepath.Join(user, "llmemory", "sandbox")
	}
	if f.Prepare == nil {
		return dir, nil
	}
	p.prepare.Lock()
	defer p.prepare.Unlock()
	p.mu.Lock()
	_, done := p.prepared[format]
	p.mu.Unlock()
	if done {
		return dir, nil
	}
	marker := filepath.Join(dir, format+"-"+f.Version+"-"+runtime.GOOS+"-"+runtime.GOARCH+".ready")
	if _, err := os.Stat(marker); err != nil && os.MkdirAll(dir, 0o700) == nil {
		c, err := p.start(argPrepare, setup{Cache: dir, Format: format})
		if err != nil {
			return "", err
		}
		err = c.prepared(ctx, p.Limits.withDefaults())
		p.give(c)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err == nil {
			_ = os.WriteFile(marker, nil, 0o600) // without it the next process prepares again
		}
	}
	p.mu.Lock()
	p.prepared[format] = struct{}{} // if it failed each child does it for itself
	p.mu.Unlock()
	return dir, nil
}

// lookup returns a format that this program's children know.
func lookup(name string) (Format, bool) {
	if list := known.Load(); list != nil {
		for _, f := range *list {
			if f.Name == name {
				return f, true
			}
		}
	}
	for _, f := range builtin() {
		if f.Name == name {
			return f, true
		}
	}
	return Format{}, false
}
