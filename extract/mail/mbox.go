package mail

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/llmemory/llmemory/extract"
)

// peekBytes is how far a mailbox is looked ahead: two lines.
const peekBytes = 64 << 10

// mailbox reads a file that begins with a "From " line. With one message in it, it is that message.
func (e Extractor) mailbox(ctx context.Context, in extract.Input, r *bufio.Reader) (extract.Text, error) {
	box := &mbox{r: r, max: e.max(), taken: map[string]int{}}
	first, err := box.next()
	if err != nil {
		return extract.Text{}, err
	}
	if !box.more() {
		if box.err != nil {
			return extract.Text{}, box.err
		}
		if first.truncated {
			return extract.Text{}, e.tooLarge()
		}
		return e.message(ctx, in, first.raw)
	}
	out := extract.Text{Type: "email", Format: "mbox", Container: true}
	if in.Part == nil {
		out.Warnings = []string{"left out: the messages of the mailbox"}
		return out, nil
	}
	for m := first; ; {
		if err := ctx.Err(); err != nil {
			return extract.Text{}, err
		}
		part := extract.Input{
			Reader: bytes.NewReader(m.raw), Name: box.name(m.raw), Type: "email", Media: "message/rfc822",
			MaxBytes: in.MaxBytes, Part: in.Part,
		}
		if m.truncated {
			part.Reader = io.MultiReader(part.Reader, failing{e.tooLarge()})
		}
		if err := in.Part(extract.Within(ctx), part); err != nil {
			return extract.Text{}, err
		}
		if m, err = box.next(); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return extract.Text{}, err
		}
	}
}

// failing is a reader of an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// mbox reads messages one after the other. It knows the kinds of the format by what it finds: lines of the body that begin with
// "From " are quoted by ">" (mboxo, mboxrd, mboxcl), or Content-Length says where the message ends (mboxcl2).
type mbox struct {
	r     *bufio.Reader
	max   int
	err   error
	wrong int            // lengths that were not true
	taken map[string]int // names given
}

// boxed is a message in a mailbox. Truncated tells that it is larger than may be.
type boxed struct {
	raw       []byte
	truncated bool
}

// maxWrong is how many lengths may be wrong before none is believed any more.
const maxWrong = 3

// more reports whether another message follows.
func (b *mbox) more() bool {
	head, err := b.r.Peek(5)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return string(head) == "From "
}

// next reads the message at whose "From " line the reader stands. It returns io.EOF after the last.
func (b *mbox) next() (boxed, error) {
	if !b.more() {
		if b.err != nil {
			return boxed{}, b.err
		}
		return boxed{}, io.EOF
	}
	var m boxed
	if _, err := b.line(nil, b.max); err != nil && err != io.EOF {
		return m, err
	}
	// The header, which has no line that needs quoting.
	for {
		n := len(m.raw)
		raw, err := b.line(m.raw, b.max)
		if err != nil {
			return b.end(m, raw, err)
		}
		m.raw = raw
		if row := bytes.TrimRight(m.raw[n:], "\r\n"); len(row) == 0 {
			break
		}
		if len(m.raw) > b.max {
			break
		}
	}
	if ok, err := b.byLength(&m); ok || err != nil {
		return m, err
	}
	empty := true
	for {
		if head, _ := b.r.Peek(5); empty && string(head) == "From " && b.separator() {
			return b.end(m, m.raw, nil)
		}
		n := len(m.raw)
		raw, err := b.line(m.raw, b.max)
		if err != nil {
			return b.end(m, raw, err)
		}
		m.raw = raw
		row := m.raw[n:]
		empty = len(bytes.TrimRight(row, "\r\n")) == 0
		if unquoted := bytes.TrimLeft(row, ">"); len(unquoted) < len(row) && bytes.HasPrefix(unquoted, []byte("From ")) {
			m.raw = append(m.raw[:n], row[1:]...)
		}
	}
}

// end finishes a message: the empty line at its end belongs to the mailbox.
func (b *mbox) end(m boxed, raw []byte, err error) (boxed, error) {
	if err != nil && err != io.EOF {
		return boxed{}, err
	}
	m.raw = raw
	if len(m.raw) > b.max {
		m.raw, m.truncated = m.raw[:b.max], true
	} else {
		m.raw = withoutLastEnd(m.raw)
	}
	return m, nil
}

// line appends the next line with its end to a buffer, which it lets grow little beyond the limit: what is more is read and
// forgotten.
func (b *mbox) line(to []byte, limit int) ([]byte, error) {
	for {
		piece, err := b.r.ReadSlice('\n')
		if len(to) <= limit {
			to = append(to, piece[:min(len(piece), limit+1-len(to))]...)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		return to, err
	}
}

// separator reports whether the reader stands at a line that parts messages: it has a date or an address alone, and a field of a
// header follows.
func (b *mbox) separator() bool {
	ahead, _ := b.r.Peek(4096)
	line, next := cutLine(ahead)
	fields := strings.Fields(string(line))
	dated := false
	for _, f := range fields {
		dated = dated || len(f) >= 4 && strings.Count(f, ":") > 0 && f[0] >= '0' && f[0] <= '9'
	}
	if !dated && len(fields) != 2 {
		return false
	}
	if len(next) == 0 {
		return len(ahead) < 4096
	}
	follows, _ := cutLine(next)
	_, _, ok := fieldOf(follows)
	return ok || bytes.HasPrefix(follows, []byte(">From "))
}

// byLength reads the body by the Content-Length of the header, if that is true: another message or nothing follows then.
func (b *mbox) byLength(m *boxed) (bool, error) {
	h, _ := splitHeader(m.raw)
	n, err := strconv.Atoi(strings.TrimSpace(h.get("content-length")))
	if err != nil || n <= 0 || n > b.max-len(m.raw) || b.wrong >= maxWrong {
		return false, nil
	}
	body := make([]byte, 0, min(n, 1<<20))
	buffer := bytes.NewBuffer(body)
	if _, err := io.CopyN(buffer, b.r, int64(n)); err != nil && err != io.EOF {
		return false, err
	}
	body = buffer.Bytes()
	if len(body) == n {
		ahead, err := b.r.Peek(4096)
		if err != nil && err != io.EOF {
			return false, err
		}
		rest := bytes.TrimLeft(ahead, "\r\n")
		ends := len(rest) == 0 && len(ahead) < 4096
		if b.skip(len(ahead) - len(rest)); ends || bytes.HasPrefix(rest, []byte("From ")) && b.separator() {
			if !bytes.HasPrefix(body, []byte("From ")) && !bytes.Contains(body, []byte("\nFrom ")) {
				body = unquoteFrom(body)
			}
			m.raw = append(m.raw, body...)
			return true, nil
		}
		body = append(body, ahead[:len(ahead)-len(rest)]...)
	}
	b.wrong++
	b.r = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(body), b.r), peekBytes)
	return false, nil
}

func (b *mbox) skip(n int) {
	_, _ = b.r.Discard(n) // which was peeked at
}

// unquoteFrom takes one ">" off the lines that are quoted.
func unquoteFrom(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for row := range bytes.Lines(b) {
		if rest := bytes.TrimLeft(row, ">"); len(rest) < len(row) && bytes.HasPrefix(rest, []byte("From ")) {
			row = row[1:]
		}
		out = append(out, row...)
	}
	return out
}

// name makes a name for a message that stays the same when others come and go: its subject and a hash of its id, or of the whole
// where it has none.
func (b *mbox) name(raw []byte) string {
	h, _ := splitHeader(raw)
	id := []byte(strings.TrimSpace(h.get("message-id")))
	if len(id) == 0 {
		id = raw
	}
	sum := sha256.Sum256(id)
	subject := cleanName(strings.NewReplacer("/", "-", `\`, "-").Replace(words(h.get("subject"), "")))
	if len(subject) > 100 {
		subject = strings.TrimSpace(strings.ToValidUTF8(subject[:100], ""))
	}
	name := strings.TrimSpace(subject + " ~" + hex.EncodeToString(sum[:4]))
	if b.taken[name]++; b.taken[name] > 1 {
		name += "-" + strconv.Itoa(b.taken[name])
	}
	return fmt.Sprintf("%s.eml", name)
}
