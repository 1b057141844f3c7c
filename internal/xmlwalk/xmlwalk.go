// Package xmlwalk reads XML of any size as a stream, element by element, with a bound on depth. No entity but the five of XML is
// ever expanded, and nothing that a document refers to is fetched.
package xmlwalk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"

	"github.com/llmemory/llmemory/internal/fault"
)

// MaxDepth is how many elements may lie in one another.
const MaxDepth = 400

// Element is the beginning of an element. Its Tag is the prefix that the reader knows its namespace by and its local name, such as
// "w:p", or the local name alone in a namespace that the reader does not know.
type Element struct {
	Tag    string
	attrs  []xml.Attr
	spaces map[string]string
}

// Get returns the value of an attribute: of the namespace with a prefix, as in "r:id", or of any, as in "val".
func (e Element) Get(name string) string {
	v, _ := e.Lookup(name)
	return v
}

// Lookup is Get and tells whether the attribute is there.
func (e Element) Lookup(name string) (string, bool) {
	prefix, local, ok := strings.Cut(name, ":")
	if !ok {
		local = name
	}
	for _, a := range e.attrs {
		if a.Name.Local == local && a.Name.Space != "xmlns" && (!ok || e.spaces[a.Name.Space] == prefix) {
			return a.Value, true
		}
	}
	return "", false
}

// Reader walks through a document.
type Reader struct {
	ctx    context.Context
	dec    *xml.Decoder
	spaces map[string]string
	tags   map[xml.Name]string
	level  int
	tokens int
	run    *run
}

// maxToken is how many bytes a tag or a text between two of them may have.
const maxToken = 16 << 20

// run ends reading in a token that is too long.
type run struct {
	in   io.Reader
	read int // since the last token
}

func (r *run) Read(p []byte) (int, error) {
	if r.read > maxToken {
		return 0, fmt.Errorf("%w: more than %d bytes in one tag or text of XML", fault.TooLarge, maxToken)
	}
	n, err := r.in.Read(p)
	r.read += n
	return n, err
}

// New makes a Reader. spaces gives each namespace the prefix that Tags have.
func New(ctx context.Context, r io.Reader, spaces map[string]string) *Reader {
	b := bufio.NewReaderSize(r, 32<<10)
	in := io.Reader(b)
	if head, _ := b.Peek(2); bytes.Equal(head, []byte{0xff, 0xfe}) || bytes.Equal(head, []byte{0xfe, 0xff}) {
		in = unicode.UTF16(unicode.BigEndian, unicode.ExpectBOM).NewDecoder().Reader(b)
	} else if head, _ := b.Peek(3); bytes.Equal(head, []byte("\xef\xbb\xbf")) {
		_, _ = b.Discard(3) // they have been peeked
	}
	limited := &run{in: in}
	d := xml.NewDecoder(limited)
	d.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		if strings.HasPrefix(strings.ToLower(label), "utf-16") || strings.EqualFold(label, "utf-8") {
			return in, nil // decoded already
		}
		e, err := htmlindex.Get(label)
		if err != nil {
			return nil, err
		}
		return e.NewDecoder().Reader(in), nil
	}
	return &Reader{ctx: ctx, dec: d, spaces: spaces, tags: map[xml.Name]string{}, run: limited}
}

// token returns the next token and keeps count of the depth.
func (r *Reader) token() (xml.Token, error) {
	if r.tokens++; r.tokens&0x3ff == 0 {
		if err := r.ctx.Err(); err != nil {
			return nil, err
		}
	}
	r.run.read = 0
	t, err := r.dec.Token()
	if err != nil {
		var syntax *xml.SyntaxError
		if errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: XML: %w", fault.Damaged, err)
		}
		if err != io.EOF && !isFault(err) {
			err = fmt.Errorf("%w: XML: %w", fault.Damaged, err)
		}
		return nil, err
	}
	switch t.(type) {
	case xml.StartElement:
		if r.level++; r.level > MaxDepth {
			return nil, fmt.Errorf("%w: more than %d XML elements in one another", fault.TooLarge, MaxDepth)
		}
	case xml.EndElement:
		r.level--
	}
	return t, nil
}

func isFault(err error) bool {
	for _, kind := range []error{fault.Unsupported, fault.TooLarge, fault.Damaged, fault.Encrypted, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// Each calls f with each child element of the element at hand, in order: the one that the calling f was given, or the root
// element at the beginning. What f does not read of it is skipped.
func (r *Reader) Each(f func(e Element) error) error { return r.Nodes(nil, f) }

// Nodes is Each and calls text with the text between the elements, piece by piece. Of alternatives that were written for several
// versions of a program (mc:AlternateContent) it goes through the first.
func (r *Reader) Nodes(text func(s string), f func(e Element) error) error {
	level := r.level
	for {
		t, err := r.token()
		if err == io.EOF && level == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.CharData:
			if text != nil {
				text(string(t))
			}
		case xml.EndElement:
			if r.level < level {
				return nil
			}
		case xml.StartElement:
			e := Element{Tag: r.tag(t.Name), attrs: t.Attr, spaces: r.spaces}
			if e.Tag == "mc:AlternateContent" {
				err = r.alternatives(text, f)
			} else {
				err = f(e)
			}
			if err == nil {
				err = r.skip(level)
			}
			if err != nil {
				return err
			}
		}
	}
}

// alternatives goes through the first of several alternatives.
func (r *Reader) alternatives(text func(s string), f func(e Element) error) error {
	taken := false
	return r.Each(func(e Element) error {
		if taken || e.Tag != "mc:Choice" && e.Tag != "mc:Fallback" {
			return nil
		}
		taken = true
		return r.Nodes(text, f)
	})
}

// skip reads on until the elements deeper than a level have ended.
func (r *Reader) skip(level int) error {
	for r.level > level {
		if _, err := r.token(); err == io.EOF {
			return fmt.Errorf("%w: XML: %w", fault.Damaged, io.ErrUnexpectedEOF)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// Text returns the text of the element at hand and of all in it, up to a limit of bytes.
func (r *Reader) Text(limit int) (string, error) {
	var b strings.Builder
	add := func(s string) {
		if b.Len() < limit {
			b.WriteString(s)
		}
	}
	var in func(Element) error
	in = func(Element) error { return r.Nodes(add, in) }
	err := r.Nodes(add, in)
	return b.String(), err
}

// tag returns the short name of a name.
func (r *Reader) tag(n xml.Name) string {
	if t, ok := r.tags[n]; ok {
		return t
	}
	t := n.Local
	if prefix := r.spaces[n.Space]; prefix != "" {
		t = prefix + ":" + t
	}
	if len(r.tags) < 4096 {
		r.tags[n] = t
	}
	return t
}
