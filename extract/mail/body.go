package mail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/llmemory/llmemory/extract"
	guess "github.com/llmemory/llmemory/internal/charset"
	"github.com/llmemory/llmemory/internal/htmltext"
)

// leaf returns the text of a part that is one.
func (m *message) leaf(p *part) (content, error) {
	raw := p.transfer().decode(p.body)
	if p.is("text/rfc822-headers") {
		h, _ := splitHeader(raw)
		return content{text: strings.TrimSpace(headLines(h, p.charset()))}, nil
	}
	if p.isRTF() {
		t, err := m.RTF.Extract(m.ctx, extract.Input{Reader: bytes.NewReader(raw), Media: "application/rtf", Type: "rtf"})
		switch {
		case err == nil:
			return content{trim(normal(t.Content)), true}, nil
		case m.ctx.Err() != nil:
			return content{}, m.ctx.Err()
		case !errors.Is(err, extract.ErrNoText):
			m.attach(p)
		}
		return content{}, nil
	}
	charset := p.charset()
	html := p.is("text/html", "application/xhtml+xml")
	if html && charset == "" {
		charset = htmltext.Charset(raw)
	}
	text, note := toUTF8(raw, charset)
	if note != "" && nameless(charset) {
		if r, err := guess.Decode(raw, ""); err == nil && r.Guessed {
			text, note = r.Text, "text in an unnamed charset, read as "+r.Charset+", which is a guess"
		}
	}
	if note != "" {
		m.warn(note)
	}
	text = normal(text)
	switch {
	case html:
		text, err := m.html(text)
		return content{text, true}, err
	case p.is("text/enriched", "text/richtext"):
		return content{text: trim(withoutTags(strings.ReplaceAll(text, "<<", "&lt;")))}, nil
	}
	if strings.EqualFold(p.media.params["format"], "flowed") {
		text = unflow(text, strings.EqualFold(p.media.params["delsp"], "yes"))
	}
	text = m.armor(text)
	return content{text: trim(m.files(text))}, nil
}

// html turns HTML in UTF-8 into text.
func (m *message) html(s string) (string, error) {
	if strings.TrimSpace(s) == "" {
		return "", nil
	}
	if m.HTML != nil {
		in := extract.Input{Reader: strings.NewReader(s), Media: "text/html; charset=utf-8", Type: "html"}
		t, err := m.HTML.Extract(m.ctx, in)
		switch {
		case err == nil:
			return trim(normal(t.Content)), nil
		case m.ctx.Err() != nil:
			return "", m.ctx.Err()
		case errors.Is(err, extract.ErrNoText):
			return "", nil
		}
		m.warn("HTML read by simple rules: " + err.Error())
	}
	return trim(withoutTags(s)), nil
}

// files takes files by uuencode out of a text.
func (m *message) files(text string) string {
	files, rest := uufiles([]byte(text))
	for _, f := range files {
		name := cleanName(f.name)
		if name == "" {
			name = "file"
		}
		m.attachments = append(m.attachments, attachment{
			name: m.unique(name), media: "application/octet-stream", size: len(f.content),
			open: func() io.Reader { return bytes.NewReader(f.content) },
		})
	}
	if len(files) == 0 {
		return text
	}
	return string(rest)
}

// normal gives every line one end, "\n", and takes out what is no text.
func normal(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' && r != '\f' || r == 0x7f || r == 0xfeff {
			return -1
		}
		return r
	}, s)
}

// trim takes the empty lines at the beginning of a text off, and white space at its end.
func trim(s string) string {
	s = strings.TrimRight(s, " \t\n\f\u00a0")
	for {
		row, rest, ok := strings.Cut(s, "\n")
		if !ok || strings.Trim(row, " \t\f\u00a0") != "" {
			return s
		}
		s = rest
	}
}

// unflow joins the lines of format=flowed (RFC 3676): those that end with a space go on in the next one of the same depth of
// quotation.
func unflow(s string, delsp bool) string {
	var out strings.Builder
	var open strings.Builder // the paragraph that goes on
	depth, isOpen := 0, false
	flush := func() {
		if isOpen {
			out.WriteString(quote(depth, strings.TrimRight(open.String(), " ")))
			open.Reset()
			isOpen = false
		}
	}
	for row := range strings.Lines(s) {
		row = strings.TrimSuffix(row, "\n")
		rest := strings.TrimLeft(row, ">")
		d := len(row) - len(rest)
		rest = strings.TrimPrefix(rest, " ") // stuffed
		if isOpen && d != depth {
			flush()
		}
		if rest == "-- " || rest == "--" {
			flush()
			out.WriteString(quote(d, rest))
			continue
		}
		depth, isOpen = d, true
		if soft := strings.HasSuffix(rest, " "); soft {
			if delsp {
				rest = strings.TrimSuffix(rest, " ")
			}
			open.WriteString(rest)
			continue
		}
		open.WriteString(rest)
		flush()
	}
	flush()
	return out.String()
}

// quote writes a line at a depth of quotation.
func quote(depth int, s string) string {
	if depth == 0 {
		return s + "\n"
	}
	return strings.TrimRight(strings.Repeat(">", depth)+" "+s, " ") + "\n"
}

const (
	pgpMessage   = "-----BEGIN PGP MESSAGE-----"
	pgpEnd       = "-----END PGP MESSAGE-----"
	pgpSigned    = "-----BEGIN PGP SIGNED MESSAGE-----"
	pgpSignature = "-----BEGIN PGP SIGNATURE-----"
	pgpFinish    = "-----END PGP SIGNATURE-----"
)

// armor takes the armor of PGP off a text: what is signed stays, without the signature; what is encrypted is left out.
func (m *message) armor(text string) string {
	if !strings.Contains(text, "-----BEGIN PGP ") {
		return text
	}
	ends, begins, finishes := strings.Contains(text, pgpEnd), strings.Contains(text, pgpSignature), strings.Contains(text, pgpFinish)
	var out strings.Builder
	const (
		plain = iota
		head  // the header of a signed text
		signed
		signature
		secret
	)
	state := plain
	for row := range strings.Lines(text) {
		mark := strings.TrimRight(row, " \t\n")
		switch {
		case state == plain && mark == pgpMessage && ends:
			state, m.encrypted = secret, "PGP"
		case state == secret:
			if mark == pgpEnd {
				state = plain
			}
		case state == plain && mark == pgpSigned && begins:
			state = head
		case state == head:
			if mark == "" {
				state = signed
			}
		case (state == signed || state == plain) && mark == pgpSignature && finishes:
			state = signature
		case state == signature:
			if mark == pgpFinish {
				state = plain
			}
		case state == signed:
			out.WriteString(strings.TrimPrefix(row, "- "))
		default:
			out.WriteString(row)
		}
	}
	return out.String()
}

// maxSeals is how many signed parts of a message are opened: each may be held in memory beside the one around it.
const maxSeals = 10

// sealed reads a part of S/MIME: what is only signed holds a part in clear.
func (m *message) sealed(p *part) (content, error) {
	inner, kind := signedContent(p.transfer().decode(p.body))
	if kind != cmsSigned || len(inner) == 0 {
		if strings.EqualFold(p.media.params["smime-type"], "certs-only") {
			return content{}, nil
		}
		m.encrypted = "S/MIME"
		return content{}, nil
	}
	if m.seals++; m.seals > maxSeals {
		return content{}, fmt.Errorf("%w: more than %d signatures around each other", extract.ErrTooLarge, maxSeals)
	}
	h, body := splitHeader(inner)
	entity, err := m.tree.entity(h, body, "text/plain", maxDepth/2)
	if err != nil {
		return content{}, err
	}
	return m.text(entity, true)
}

const (
	cmsSigned = iota + 1
	cmsOther
)

// oidSigned is 1.2.840.113549.1.7.2, signed data of the Cryptographic Message Syntax (RFC 5652).
var oidSigned = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02}

// signedContent returns what a signature of the Cryptographic Message Syntax signs. It reads BER, in which mail programs write it,
// not only DER.
func signedContent(b []byte) (inner []byte, kind int) {
	info, _, ok := berValue(b, 0x30)
	if !ok {
		return nil, 0
	}
	oid, rest, ok := berValue(info, 0x06)
	if !ok || !bytes.Equal(oid, oidSigned) {
		return nil, cmsOther
	}
	for _, tag := range []byte{0xa0, 0x30} { // the explicit tag, and signed data in it
		if rest, _, ok = berValue(rest, tag); !ok {
			return nil, cmsSigned
		}
	}
	for _, tag := range []byte{0x02, 0x31} { // version, digest algorithms
		if _, rest, ok = berValue(rest, tag); !ok {
			return nil, cmsSigned
		}
	}
	encapsulated, _, ok := berValue(rest, 0x30)
	if !ok {
		return nil, cmsSigned
	}
	if _, rest, ok = berValue(encapsulated, 0x06); !ok {
		return nil, cmsSigned
	}
	if rest, _, ok = berValue(rest, 0xa0); !ok {
		return nil, cmsSigned
	}
	if inner, _, ok = berValue(rest, 0x04); ok {
		return inner, cmsSigned
	}
	rest, _, ok = berValue(rest, 0x24) // in pieces
	for ok {
		var piece []byte
		if piece, rest, ok = berValue(rest, 0x04); ok {
			inner = append(inner, piece...)
		}
	}
	return inner, cmsSigned
}

// berValue returns the value at the beginning of b, which must have the tag, and what follows it.
func berValue(b []byte, tag byte) (value, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != tag {
		return nil, nil, false
	}
	head, size, known := berLength(b)
	switch {
	case head == 0:
		return nil, nil, false
	case !known:
		end, ok := berEnd(b[head:], 0)
		if !ok {
			return nil, nil, false
		}
		return b[head : head+end], b[head+end+2:], true
	case size > len(b)-head:
		return nil, nil, false
	}
	return b[head : head+size], b[head+size:], true
}

// berLength reads tag and length. Known is false for an indefinite length; head is 0 for what is neither.
func berLength(b []byte) (head, size int, known bool) {
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return 0, 0, false
	}
	n := int(b[1])
	switch {
	case n < 0x80:
		return 2, n, true
	case n == 0x80:
		return 2, 0, false
	case n > 0x84 || len(b) < 2+n&0x7f:
		return 0, 0, false
	}
	for _, c := range b[2 : 2+n&0x7f] {
		size = size<<8 | int(c)
	}
	return 2 + n&0x7f, size, true
}

// berEnd returns where the end-of-contents mark of an indefinite length stands.
func berEnd(b []byte, depth int) (int, bool) {
	at := 0
	for at+1 < len(b) && depth < 20 {
		if b[at] == 0 && b[at+1] == 0 {
			return at, true
		}
		head, size, known := berLength(b[at:])
		if head == 0 {
			return 0, false
		}
		if at += head; known {
			if size > len(b)-at {
				return 0, false
			}
			at += size
			continue
		}
		end, ok := berEnd(b[at:], depth+1)
		if !ok {
			return 0, false
		}
		at += end + 2
	}
	return 0, false
}
