package sandbox

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/llmemory/llmemory/extract"
)

// serve is the life of a child: it reads one file after the other until its parent closes the pipe. Its result is the exit
// code.
func serve(formats []Format, prepare bool) int {
	in, out := os.Stdin, os.Stdout
	os.Stdout = os.Stderr // whatever a library prints is no message
	dropWhenFull(os.Stderr)
	w := newWire(in, out)
	kind, body, err := w.receive()
	var s setup
	if err != nil || kind != msgSetup || json.Unmarshal(body, &s) != nil {
		return 3 // started by a person
	}
	runtime.GOMAXPROCS(min(2, runtime.GOMAXPROCS(0))) // one for the parser, one for the collector
	debug.SetMemoryLimit(s.Memory / 4 * 3)
	if err := limit(s.Memory, prepare); err != nil {
		_ = w.sendJSON(msgError, failure{Kind: "start", Message: fmt.Sprintf("%v: %v", ErrStart, err)})
		return 4
	}
	watchParent()
	c := &server{wire: w, formats: formats, cache: s.Cache, made: map[string]extract.Extractor{}}
	if prepare {
		return c.prepare(s.Format)
	}
	if w.send(msgReady, []byte(greeting)) != nil {
		return 0
	}
	for {
		kind, body, err := w.receive()
		if err != nil || kind != msgJob {
			return 0
		}
		var j job
		if json.Unmarshal(body, &j) != nil {
			return 3
		}
		if err := c.job(j); err != nil {
			return 0 // the parent is gone, or has had enough
		}
	}
}

// server is a child at work.
type server struct {
	wire    *wire
	formats []Format
	cache   string
	made    map[string]extract.Extractor
}

// prepare fills the cache of a format.
func (c *server) prepare(format string) int {
	for _, f := range c.formats {
		if f.Name == format && f.Prepare != nil {
			if err := f.Prepare(c.cache); err != nil {
				_ = c.wire.sendJSON(msgError, toFailure(err))
				return 1
			}
			_ = c.wire.send(msgReady, []byte(greeting))
			return 0
		}
	}
	_ = c.wire.sendJSON(msgError, failure{Message: "nothing to prepare for " + format})
	return 1
}

// extractor returns what reads a format.
func (c *server) extractor(format string) (extract.Extractor, error) {
	if x := c.made[format]; x != nil {
		return x, nil
	}
	for _, f := range c.formats {
		if f.Name == format {
			x, err := f.New(c.cache)
			if err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrStart, format, err)
			}
			c.made[format] = x
			return x, nil
		}
	}
	return nil, fmt.Errorf("%w: no format %q in the sandbox: name it in the call of sandbox.Main", extract.ErrUnsupported, format)
}

// job reads a file. Its error is one of the pipe.
func (c *server) job(j job) error {
	x, err := c.extractor(j.Format)
	if err != nil {
		return c.wire.sendJSON(msgError, toFailure(err))
	}
	if err := limitCPU(j.CPU); err != nil {
		return c.wire.sendJSON(msgError, toFailure(fmt.Errorf("%w: %w", ErrStart, err)))
	}
	if err := c.wire.send(msgBegun, nil); err != nil {
		return err
	}
	in := extract.Input{Reader: newPull(c.wire, j.Size), Name: j.Name, Type: j.Type, Media: j.Media, MaxBytes: j.MaxBytes}
	var broken error // of the pipe, seen by Part
	if j.Parts {
		in.Part = func(_ context.Context, part extract.Input) error {
			if broken != nil {
				return broken
			}
			err := c.part(part)
			if err != nil && !errors.Is(err, errPart) {
				broken = err
			}
			return err
		}
	}
	text, err := x.Extract(context.Background(), in)
	if broken != nil {
		return broken
	}
	if err != nil {
		return c.wire.sendJSON(msgError, toFailure(err))
	}
	content := text.Content
	text.Content = ""
	if err := c.wire.sendJSON(msgText, textHead{text, len(content)}); err != nil {
		return err
	}
	return c.wire.chunks(strings.NewReader(content))
}

// part hands a document within the file to the parent.
func (c *server) part(part extract.Input) error {
	if err := c.wire.sendJSON(msgPart, partHead{Name: part.Name, Type: part.Type, Media: part.Media}); err != nil {
		return err
	}
	if err := c.wire.chunks(part.Reader); err != nil {
		return err
	}
	kind, _, err := c.wire.receive()
	if err != nil {
		return err
	}
	if kind != msgNext {
		return errPart
	}
	return nil
}

// pull is the file as a child sees it: it asks for the pieces that are looked at, and keeps some of them. It implements what
// [extract.Input.Open] takes as it is, so that no copy of the file is made.
type pull struct {
	*io.SectionReader
	file *remoteFile
}

func newPull(w *wire, size int64) pull {
	f := &remoteFile{wire: w, size: size, pieces: map[int64][]byte{}}
	return pull{io.NewSectionReader(f, 0, size), f}
}

// remoteFile is an [io.ReaderAt] of the file.
type remoteFile struct {
	wire *wire
	size int64

	mu     sync.Mutex
	pieces map[int64][]byte
	order  []int64 // of pieces, the oldest first
	failed bool
}

// keptPieces is how many pieces a child keeps: 16 MiB.
const keptPieces = 64

// ReadAt implements [io.ReaderAt].
func (f *remoteFile) ReadAt(p []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for n < len(p) && at < f.size {
		b, err := f.piece(at / piece)
		if err != nil {
			return n, err
		}
		if int64(len(b)) <= at%piece {
			return n, io.ErrUnexpectedEOF // the file has become shorter
		}
		k := copy(p[n:], b[at%piece:])
		n, at = n+k, at+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// piece returns a piece of the file.
func (f *remoteFile) piece(i int64) ([]byte, error) {
	if b, ok := f.pieces[i]; ok {
		return b, nil
	}
	if f.failed {
		return nil, errReader
	}
	err := f.wire.send(msgWant, binary.BigEndian.AppendUint64(nil, uint64(i*piece)))
	if err != nil {
		os.Exit(0) // the parent is gone
	}
	kind, b, err := f.wire.receive()
	if err != nil {
		os.Exit(0)
	}
	if kind != msgData {
		f.failed = true
		return nil, errReader
	}
	if len(f.order) == keptPieces {
		delete(f.pieces, f.order[0])
		f.order = f.order[1:]
	}
	f.pieces[i], f.order = b, append(f.order, i)
	return b, nil
}
