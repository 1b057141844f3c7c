package sandbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/llmemory/llmemory/extract"
)

// child is a child process as its parent sees it. But for kill it is used by one goroutine at a time.
type child struct {
	cmd    *exec.Cmd
	wire   *wire
	stdin  *os.File
	stdout *os.File
	stderr *os.File
	files  int       // that it was given
	fit    bool      // for another file
	ready  bool      // it said so
	since  time.Time // it has been idle
	gone   chan struct{}

	mu     sync.Mutex
	cause  error // why it was killed
	dead   bool  // it was waited for
	legacy string
}

// startChild starts program, or this one, with the one argument arg.
func startChild(program, arg string, s setup, namespaces bool) (*child, error) {
	if program == "" {
		var err error
		if program, err = self(); err != nil {
			return nil, err
		}
	}
	if namespaces && !canNamespace {
		return nil, errors.ErrUnsupported
	}
	var files [6]*os.File
	closeAll := func(list []*os.File) {
		for _, f := range list {
			if f != nil {
				_ = f.Close()
			}
		}
	}
	for i := 0; i < len(files); i += 2 {
		var err error
		if files[i], files[i+1], err = os.Pipe(); err != nil {
			closeAll(files[:])
			return nil, err
		}
	}
	theirs := []*os.File{files[0], files[3], files[5]}
	c := &child{stdin: files[1], stdout: files[2], stderr: files[4], gone: make(chan struct{})}
	c.cmd = &exec.Cmd{
		Path: program, Args: []string{os.Args[0], arg}, Env: []string{}, Dir: root,
		Stdin: theirs[0], Stdout: theirs[1], Stderr: theirs[2], SysProcAttr: attributes(namespaces),
	}
	err := c.cmd.Start()
	closeAll(theirs)
	if err != nil {
		closeAll([]*os.File{c.stdin, c.stdout, c.stderr})
		return nil, err
	}
	c.wire = newWire(c.stdout, c.stdin)
	c.wire.body = make([]byte, piece)
	if err := c.wire.sendJSON(msgSetup, s); err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}

// kill ends the process and whatever it started, at once; the cause given first is the one that counts.
func (c *child) kill(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.cause = cause
	}
	if c.dead {
		return
	}
	killGroup(c.cmd.Process)
	past := time.Unix(1, 0) // no read or write goes on, whoever else holds the other ends
	_ = c.stdin.SetDeadline(past)
	_ = c.stdout.SetDeadline(past)
}

// end kills the process if it is still there, and leaves nothing of it.
func (c *child) end() { c.autopsy(0) }

// death is how a child ended.
type death struct {
	cause  error            // why it was killed, nil if it was not
	late   bool             // it was killed because it did not end after it had closed its output
	state  *os.ProcessState // how the system saw it
	legacy string           // what it wrote last
}

// autopsy waits for the end of a process that is about to end, for grace at most, then sees to it; nothing of it is left.
func (c *child) autopsy(grace time.Duration) death {
	_ = c.stdin.Close()
	late := false
	if grace > 0 {
		late = !awaitExit(c.cmd.Process.Pid, grace)
	}
	c.kill(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dead {
		_ = c.cmd.Wait()
		c.dead = true
		_ = c.stderr.SetReadDeadline(time.Now().Add(time.Second)) // should another process hold the other end
		tail, _ := io.ReadAll(io.LimitReader(c.stderr, 64<<10))
		c.legacy = firstWords(tail)
		_, _ = c.stdout.Close(), c.stderr.Close()
		close(c.gone)
	}
	return death{cause: c.cause, late: late, state: c.cmd.ProcessState, legacy: c.legacy}
}

// prepared waits until a child has filled a cache.
func (c *child) prepared(ctx context.Context, l Limits) error {
	defer context.AfterFunc(ctx, func() { c.kill(ctx.Err()) })()
	defer time.AfterFunc(l.Start, func() { c.kill(ErrStart) }).Stop()
	kind, body, err := c.wire.receive()
	if err == nil && kind == msgReady {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%w: %s", ErrStart, body)
	}
	return err
}

// run has the child read one file.
func (c *child) run(ctx context.Context, l Limits, format string, in extract.Input, src *extract.Source) (extract.Text, error) {
	c.fit = false
	c.files++
	stop := context.AfterFunc(ctx, func() { c.kill(ctx.Err()) })
	t := &talk{child: c, limits: l, in: in, src: src, clock: clock{kill: c.kill}}
	text, err := t.hold(ctx, format)
	t.clock.stop()
	if !stop() { // it has been killed, be it too late
		c.fit = false
		if err != nil {
			return extract.Text{}, ctx.Err()
		}
	}
	if errors.Is(err, errGone) || errors.Is(err, errWire) {
		err = t.explain(err)
	}
	return text, err
}

// clock kills the child when its time is up. It stands still while the child waits for its parent.
type clock struct {
	kill  func(error)
	timer *time.Timer
	left  time.Duration
	since time.Time
}

func (k *clock) start(d time.Duration, cause error) {
	k.stop()
	k.left, k.since = d, time.Now()
	k.timer = time.AfterFunc(d, func() { k.kill(cause) })
}

func (k *clock) stop() {
	if k.timer != nil {
		k.timer.Stop()
	}
}

func (k *clock) pause() {
	k.timer.Stop()
	k.left -= time.Since(k.since)
}

func (k *clock) resume() {
	k.since = time.Now()
	k.timer.Reset(max(k.left, 0))
}

// talk is the exchange of messages over one file.
type talk struct {
	*child
	limits Limits
	in     extract.Input
	src    *extract.Source
	clock  clock
	begun  bool
	failed error // of the reader
}

// hold returns errGone or errWire where the child fails, errStale where it was gone before it began.
func (t *talk) hold(ctx context.Context, format string) (extract.Text, error) {
	t.clock.start(t.limits.Start, fmt.Errorf("%w: it is not ready after %v", ErrStart, t.limits.Start))
	if !t.ready {
		kind, body, err := t.wire.receive()
		switch {
		case err != nil:
			return extract.Text{}, err
		case kind == msgError:
			return extract.Text{}, decodeFailure(body)
		case kind != msgReady || string(body) != greeting:
			return extract.Text{}, fmt.Errorf("%w: its greeting is another", errWire)
		}
		t.ready = true
	}
	err := t.wire.sendJSON(msgJob, job{
		Format: format, Name: t.in.Name, Type: t.in.Type, Media: t.in.Media, MaxBytes: t.in.MaxBytes, Parts: t.in.Part != nil,
		Size: t.src.Size(),
		CPU:  int((t.limits.Time + time.Second - 1) / time.Second),
	})
	if err != nil && t.files > 1 && ctx.Err() == nil {
		return extract.Text{}, errStale
	}
	buf := make([]byte, piece)
	for {
		kind, body, err := t.wire.receive()
		if err != nil {
			if !t.begun && t.files > 1 && errors.Is(err, errGone) && ctx.Err() == nil {
				return extract.Text{}, errStale
			}
			return extract.Text{}, err
		}
		switch {
		case kind == msgError:
			err := decodeFailure(body)
			t.fit = errors.Is(err, extract.ErrNoText) || errors.Is(err, extract.ErrEncrypted) || errors.Is(err, extract.ErrUnsupported)
			if t.failed != nil {
				return extract.Text{}, t.failed
			}
			return extract.Text{}, err
		case kind == msgBegun && !t.begun:
			t.begun = true
			t.clock.start(t.limits.Time, fmt.Errorf("%w: more than %v", extract.ErrTimeout, t.limits.Time))
		case kind == msgWant && t.begun:
			if err := t.feed(body, buf); err != nil {
				return extract.Text{}, err
			}
		case kind == msgPart && t.begun && t.in.Part != nil:
			if err := t.part(ctx, body); err != nil {
				return extract.Text{}, err
			}
		case kind == msgText && t.begun:
			return t.text(body)
		default:
			return extract.Text{}, fmt.Errorf("%w: a message of kind %q", errWire, kind)
		}
	}
}

// feed sends a piece of the file.
func (t *talk) feed(body, buf []byte) error {
	if len(body) != 8 {
		return fmt.Errorf("%w: it wants a piece from nowhere", errWire)
	}
	t.clock.pause()
	n, err := t.src.ReadAt(buf, int64(binary.BigEndian.Uint64(body)&(1<<62-1)))
	t.clock.resume()
	kind := byte(msgData)
	if err != nil && err != io.EOF {
		t.failed, kind, n = err, msgFault, 0
	}
	if t.wire.send(kind, buf[:n]) != nil {
		return errGone
	}
	return nil
}

// part gives the host a document within the file.
func (t *talk) part(ctx context.Context, body []byte) error {
	var head partHead
	if err := json.Unmarshal(body, &head); err != nil {
		return fmt.Errorf("%w: %w", errWire, err)
	}
	r := &partReader{talk: t}
	t.clock.pause()
	err := t.in.Part(extract.Within(ctx), extract.Input{Reader: r, Name: head.Name, Type: head.Type, Media: head.Media, MaxBytes: t.in.MaxBytes})
	if err == nil && r.err == nil {
		_, _ = io.Copy(io.Discard, r) // what the host did not want
	}
	t.clock.resume()
	if r.err != nil && r.err != io.EOF && (err == nil || errors.Is(err, errGone) || errors.Is(err, errWire)) {
		return r.err
	}
	if err != nil {
		t.kill(err)
		return err
	}
	if err := t.wire.send(msgNext, nil); err != nil {
		return errGone
	}
	return nil
}

// partReader reads a part; its time is the child's.
type partReader struct {
	*talk
	rest []byte
	size int64
	err  error
}

// Read implements [io.Reader].
func (r *partReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil && len(p) > 0 {
		r.clock.resume()
		kind, body, err := r.wire.receive()
		r.clock.pause()
		r.size += int64(len(body))
		switch {
		case err != nil:
			r.err = err
		case kind != msgChunk:
			r.err = fmt.Errorf("%w: a message of kind %q in a part", errWire, kind)
		case r.size > r.limits.part():
			r.err = fmt.Errorf("%w: a part must be at most %d bytes", extract.ErrTooLarge, r.limits.part())
		case len(body) == 0:
			r.err = io.EOF
		default:
			r.rest = body
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	if n == 0 {
		return 0, r.err
	}
	return n, nil
}

// text takes the outcome.
func (t *talk) text(body []byte) (extract.Text, error) {
	var text textHead
	if err := json.Unmarshal(body, &text); err != nil {
		return extract.Text{}, fmt.Errorf("%w: %w", errWire, err)
	}
	limit := t.limits.text()
	if n := int64(t.in.MaxBytes); n > 0 && n < limit {
		limit = n
	}
	var b strings.Builder
	b.Grow(min(max(text.Size, 0), int(limit)))
	for {
		kind, body, err := t.wire.receive()
		if err != nil {
			return extract.Text{}, err
		}
		if kind != msgChunk {
			return extract.Text{}, fmt.Errorf("%w: a message of kind %q in a text", errWire, kind)
		}
		if len(body) == 0 {
			break
		}
		if int64(b.Len()+len(body)) > limit {
			err := fmt.Errorf("%w: must be at most %d bytes", extract.ErrTooLarge, limit)
			t.kill(err)
			return extract.Text{}, err
		}
		b.Write(body)
	}
	text.Content = b.String()
	if !utf8.ValidString(text.Content) {
		return extract.Text{}, fmt.Errorf("%w: its text is not UTF-8", errWire)
	}
	last := 0
	for _, at := range text.Pages {
		if at < last || at > len(text.Content) {
			return extract.Text{}, fmt.Errorf("%w: its pages are out of order", errWire)
		}
		last = at
	}
	if t.failed != nil {
		return extract.Text{}, t.failed
	}
	t.fit = true
	return text.Text, nil
}

func decodeFailure(body []byte) error {
	var f failure
	if err := json.Unmarshal(body, &f); err != nil {
		return fmt.Errorf("%w: %w", errWire, err)
	}
	return f.err()
}

// explain says what a child ended of.
func (t *talk) explain(err error) error {
	grace := time.Duration(0)
	if errors.Is(err, errGone) {
		grace = 2 * time.Second
	}
	d := t.autopsy(grace)
	switch {
	case d.cause != nil:
		return d.cause
	case !t.begun && t.files == 1:
		return fmt.Errorf("%w: it ended before its first file: %s", ErrStart, d.describe(err))
	case ranOut(d.legacy):
		return fmt.Errorf("%w: its parser needs more than the %d MiB of memory that it may have", extract.ErrTooLarge, t.limits.Memory>>20)
	case strings.Contains(d.legacy, "SIGXCPU"):
		return fmt.Errorf("%w: more than %v of processor time", extract.ErrTimeout, t.limits.Time)
	case killed(d.state) && !d.late && grace > 0 && canAwait:
		return &killedError{fmt.Errorf("%w: its parser was killed from outside, as the system does when memory is short", extract.ErrTooLarge)}
	case errors.Is(err, errWire):
		return fmt.Errorf("%w: its parser broke off: %w", extract.ErrDamaged, err)
	}
	return fmt.Errorf("%w: its parser crashed: %s", extract.ErrDamaged, d.describe(err))
}

// killedError is that something outside ended a child, which need not happen again.
type killedError struct{ error }

// Temporary tells [extract.Temporary] so.
func (*killedError) Temporary() bool { return true }

// Unwrap returns what it is to be known as.
func (e *killedError) Unwrap() error { return e.error }

// describe is what is known of an end, on a line.
func (d death) describe(err error) string {
	if d.legacy != "" {
		return d.legacy
	}
	if d.late || errors.Is(err, errWire) || d.state == nil {
		return err.Error()
	}
	return d.state.String()
}

// ranOut tells whether a Go program's last words are of memory.
func ranOut(words string) bool {
	return strings.Contains(words, "out of memory") || strings.Contains(words, "cannot allocate memory") ||
		strings.Contains(words, "failed to allocate") || strings.Contains(words, "errno=12")
}

// firstWords is what tells why a Go program crashed, in what it wrote when it did: without the traces of goroutines.
func firstWords(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte("\n\ngoroutine "))
	s := strings.Join(strings.Fields(strings.ToValidUTF8(string(b), "")), " ")
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}
