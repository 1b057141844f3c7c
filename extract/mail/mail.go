package mail

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/cfb"
)

// DefaultMaxMessageBytes is the size up to which a message is read, its attachments as they are encoded included.
const DefaultMaxMessageBytes = 64 << 20

// Extractor reads messages and mailboxes. The zero value is ready for use.
type Extractor struct {
	// HTML turns HTML into text or Markdown. It is given UTF-8 and the media type "text/html; charset=utf-8". When it is nil, or
	// fails, tags are taken out by simple rules.
	HTML extract.Extractor
	// RTF turns RTF into text, for messages of Outlook's that have no other body. When it is nil, such a body is a part of its own.
	RTF extract.Extractor
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
	whole, _ := in.Reader.(*extract.Source) // which can be read from any place
	var begin int64
	if whole != nil {
		var err error
		if begin, err = whole.Seek(0, io.SeekCurrent); err != nil {
			return extract.Text{}, err
		}
	}
	r := bufio.NewReaderSize(in.Reader, peekBytes)
	head, err := r.Peek(peekHead)
	if err != nil && err != io.EOF {
		return extract.Text{}, err
	}
	switch {
	case bytes.HasPrefix(head, []byte(cfb.Magic)):
		if whole == nil {
			in.Reader = r
		} else if _, err := whole.Seek(begin, io.SeekStart); err != nil {
			return extract.Text{}, err
		}
		return e.outlook(ctx, in)
	case isFromLine(head):
		return e.mailbox(ctx, in, r)
	}
	var raw bytes.Buffer
	if whole != nil {
		raw.Grow(int(min(whole.Size()-begin, int64(e.max()))) + bytes.MinRead)
	}
	if _, err := raw.ReadFrom(io.LimitReader(r, int64(e.max())+1)); err != nil {
		return extract.Text{}, err
	}
	if raw.Len() > e.max() {
		return extract.Text{}, e.tooLarge()
	}
	return e.message(ctx, in, raw.Bytes())
}

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
