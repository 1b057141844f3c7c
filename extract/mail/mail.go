package mail

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/llmemory/llmemory/extract"
)

// DefaultMaxMessageBytes is the size up to which a message is read, its attachments as they are encoded included.
const DefaultMaxMessageBytes = 64 << 20

// Extractor reads messages and mailboxes. The zero value is ready for use.
type Extractor struct {
	// HTML turns HTML into text or Markdown. It is given UTF-8 and the media type "text/html; charset=utf-8". When it is nil, or
	// fails, tags are taken out by simple rules.
	HTML extract.Extractor
	// MaxMessageBytes is the size up to which a message is read; larger ones are refused with [extract.ErrTooLarge]. It bounds
	// the memory, as a message is held as a whole; a mailbox is not, and may have any size. Defaults to
	// [DefaultMaxMessageBytes].
	MaxMessageBytes int
}

// Extract implements [extract.Extractor]. What has no header of a message is refused with [extract.ErrUnsupported].
func (e Extractor) Extract(ctx context.Context, in extract.Input) (extract.Text, error) {
	if err := ctx.Err(); err != nil {
		return extract.Text{}, err
	}
	r := bufio.NewReaderSize(in.Reader, peekBytes)
	head, err := r.Peek(peekHead)
	if err != nil && err != io.EOF {
		return extract.Text{}, err
	}
	switch {
	case bytes.HasPrefix(head, []byte(compoundFile)):
		return extract.Text{}, fmt.Errorf("%w: a message as Outlook saves it", extract.ErrUnsupported)
	case isFromLine(head):
		return e.mailbox(ctx, in, r)
	}
	raw, err := io.ReadAll(io.LimitReader(r, int64(e.max())+1))
	if err != nil {
		return extract.Text{}, err
	}
	if len(raw) > e.max() {
		return extract.Text{}, e.tooLarge()
	}
	return e.message(ctx, in, raw)
}

// compoundFile begins a file of the Compound File Binary format.
const compoundFile = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

// peekHead is how far is looked to tell what is to be read.
const peekHead = 200

// isFromLine reports whether a text begins with the line that is the mark of a mailbox, and not with a field "From :".
func isFromLine(b []byte) bool {
	line, _ := cutLine(b)
	_, _, field := fieldOf(line)
	return bytes.HasPrefix(line, []byte("From ")) && !field
}

func (e Extractor) max() int { return cmp.Or(max(e.MaxMessageBytes, 0), DefaultMaxMessageBytes) }

func (e Extractor) tooLarge() error {
	return fmt.Errorf("%w: a message must be at most %d bytes", extract.ErrTooLarge, e.max())
}
