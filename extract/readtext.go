package extract

import (
	"context"
	"fmt"
	"mime"
	"strings"

	"github.com/llmemory/llmemory/internal/charset"
)

// DefaultMaxText is how many bytes [Input.ReadText] reads at most of an input that sets no limit to its text.
const DefaultMaxText = 64 << 20

// ReadText reads an input to its end and makes UTF-8 of it, within its limits. The charset is told by a byte order mark, by the charset
// of in.Media, by what declared (may be nil) finds in the bytes, or by what they look like. The warnings say what was guessed, what
// could not be decoded, and that NUL bytes were left out. Binary data is refused with [ErrUnsupported].
func (in Input) ReadText(ctx context.Context, declared func(raw []byte) string) (text string, warnings []string, err error) {
	limit := int64(DefaultMaxText)
	if in.MaxBytes > 0 {
		// UTF-32 takes four times the bytes of UTF-8, and much of it is not worth the memory.
		limit = min(4*int64(in.MaxBytes)+4, max(int64(in.MaxBytes)+3, DefaultMaxText))
	}
	src, err := in.Open(ctx, limit)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = src.Close() }() // nothing that was written can be lost
	raw, err := src.Bytes()
	if err != nil {
		return "", nil, err
	}
	_, params, _ := mime.ParseMediaType(in.Media) // what cannot be parsed declares nothing
	name := params["charset"]
	if name == "" && declared != nil {
		name = declared(raw)
	}
	r, err := charset.Decode(raw, name)
	if err != nil {
		return "", nil, err
	}
	text, warnings = r.Text, r.Warnings()
	if n := strings.Count(text, "\x00"); n > 0 {
		text = strings.ReplaceAll(text, "\x00", "")
		warnings = append(warnings, fmt.Sprintf("%d NUL characters left out", n))
	}
	if in.MaxBytes > 0 && len(text) > in.MaxBytes {
		return "", nil, fmt.Errorf("%w: must be at most %d bytes of text", ErrTooLarge, in.MaxBytes)
	}
	return text, warnings, nil
}
