package sandbox

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/llmemory/llmemory/extract"
)

// The parent and a child take turns, so that neither can wait for the other to read: the child asks for each piece of the file,
// and the parent answers. A message is its kind, the length of its body in four bytes, and its body.
const (
	// from the parent
	msgSetup = 'S' // setup: how to be a child, once
	msgJob   = 'J' // job: a file to read
	msgData  = 'D' // a piece of the file, shorter only at its end
	msgFault = 'F' // the reader of the file failed
	msgNext  = 'N' // a part has been taken, go on

	// from the child
	msgReady = 'r' // ready, after its setup
	msgBegun = 'b' // a job begins: what the format needs is there
	msgWant  = 'w' // a piece of the file, please: from which byte, in eight bytes
	msgPart  = 'p' // part: chunks follow
	msgText  = 't' // textHead; the content follows in chunks
	msgChunk = 'c' // bytes of a text or a part; none at its end
	msgError = 'e' // failure
)

const (
	piece      = 256 << 10 // bytes of a file or a text in one message
	maxMessage = 4 << 20   // bytes of any message; only that of a text with very many pages comes near
	greeting   = "llmemory sandbox 1"
)

// setup is what a child needs to know.
type setup struct {
	Cache  string
	Memory int64
	Format string `json:",omitempty"` // to prepare
}

// job is a file to read.
type job struct {
	Format, Name, Type, Media string
	MaxBytes                  int
	Size                      int64
	Parts                     bool // the host takes what lies within
	CPU                       int  // seconds
}

// textHead is a text whose content of Size bytes, so the child says, follows.
type textHead struct {
	extract.Text
	Size int
}

// partHead is a document within the file.
type partHead struct{ Name, Type, Media string }

// failure is an error on its way to the parent.
type failure struct {
	Kind    string // a key of kinds, or ""
	Message string
}

// kinds are the errors that keep their identity.
var kinds = map[string]error{
	"unsupported": extract.ErrUnsupported,
	"too large":   extract.ErrTooLarge,
	"damaged":     extract.ErrDamaged,
	"encrypted":   extract.ErrEncrypted,
	"no text":     extract.ErrNoText,
	"timeout":     extract.ErrTimeout,
	"start":       ErrStart,
	"reader":      errReader,
	"part":        errPart,
}

var (
	errReader = errors.New("the reader failed")           // the parent knows its error
	errPart   = errors.New("a part was not taken")        // likewise
	errStale  = errors.New("the child is gone")           // before it began with a file
	errWire   = errors.New("the child breaks its rules")  // of messages
	errGone   = errors.New("the child closed its output") // it ended
)

func toFailure(err error) failure {
	f := failure{Message: err.Error()}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) { // of several, the same each time
		if errors.Is(err, kinds[kind]) {
			f.Kind = kind
		}
	}
	if errors.Is(err, errReader) || errors.Is(err, errPart) { // whatever else was made of it
		f.Kind = map[bool]string{true: "reader", false: "part"}[errors.Is(err, errReader)]
	}
	if len(f.Message) > 2000 {
		f.Message = f.Message[:2000]
	}
	return f
}

// err is the error that f was made of.
func (f failure) err() error { return &remoteError{msg: f.Message, kind: kinds[f.Kind]} }

type remoteError struct {
	msg  string
	kind error
}

func (e *remoteError) Error() string { return e.msg }
func (e *remoteError) Unwrap() error { return e.kind }

// wire sends and receives messages.
type wire struct {
	r    *bufio.Reader
	w    io.Writer
	buf  []byte
	body []byte // where short bodies are read to, if it is not nil: each is good until the next
}

func newWire(r io.Reader, w io.Writer) *wire { return &wire{r: bufio.NewReaderSize(r, 64<<10), w: w} }

func (c *wire) send(kind byte, body []byte) error {
	c.buf = append(c.buf[:0], kind)
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(len(body)))
	c.buf = append(c.buf, body...)
	_, err := c.w.Write(c.buf)
	return err
}

func (c *wire) sendJSON(kind byte, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.send(kind, body)
}

// receive returns the next message. A body is not allocated before it arrives: a child may claim any length.
func (c *wire) receive() (byte, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return 0, nil, errGone
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxMessage {
		return 0, nil, fmt.Errorf("%w: a message of %d bytes", errWire, n)
	}
	if n <= piece {
		body := c.body
		if body == nil {
			body = make([]byte, n)
		}
		body = body[:n]
		if _, err := io.ReadFull(c.r, body); err != nil {
			return 0, nil, errGone
		}
		return head[0], body, nil
	}
	body, err := io.ReadAll(io.LimitReader(c.r, int64(n)))
	if err != nil || len(body) < int(n) {
		return 0, nil, errGone
	}
	return head[0], body, nil
}

// chunks sends what r yields, piece by piece.
func (c *wire) chunks(r io.Reader) error {
	buf := make([]byte, piece)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if werr := c.send(msgChunk, buf[:n]); werr != nil {
				return werr
			}
		}
		if err == io.EOF {
			return c.send(msgChunk, nil)
		}
		if err != nil {
			return err
		}
	}
}
