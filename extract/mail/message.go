package mail

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"unicode"

	"github.com/llmemory/llmemory/extract"
)

// attachment is a document that lies within a message.
type attachment struct {
	name, media string
	open        func() io.Reader
	size        int // bytes as they stand in the message
}

// message is a message as it is being read.
type message struct {
	Extractor
	ctx         context.Context
	in          extract.Input
	tree        tree
	attachments []attachment
	names       map[string]int // how often a name was given
	warnings    []string
	encrypted   string // what the body is encrypted with, or ""
	seals       int    // signed parts that were opened
	spare       string // the body in a file winmail.dat, for a message that has no other
}

// message reads one message.
func (e Extractor) message(ctx context.Context, in extract.Input, raw []byte) (extract.Text, error) {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	raw = bytes.TrimLeft(raw, "\r\n")
	if bytes.IndexByte(raw, '\n') < 0 && bytes.IndexByte(raw, '\r') >= 0 {
		raw = bytes.ReplaceAll(raw, []byte("\r"), []byte("\n"))
	}
	h, body := splitHeader(raw)
	if !h.isMessage() {
		return extract.Text{}, fmt.Errorf("%w: no header of a message", extract.ErrUnsupported)
	}
	m := &message{Extractor: e, ctx: ctx, in: in, names: map[string]int{}}
	root, err := m.tree.entity(h, body, "text/plain", 0)
	if err != nil {
		return extract.Text{}, err
	}
	content, err := m.text(root, true)
	if err != nil {
		return extract.Text{}, err
	}
	if content.text == "" {
		content.text = m.spare
	}
	out := extract.Text{Type: "email", Format: "eml", Markup: "email"}
	m.envelope(&out, h, root.charset())
	if m.encrypted != "" {
		m.warn("the body is encrypted (" + m.encrypted + ")")
	} else if content.text == "" && len(m.attachments) == 0 {
		m.warn("the message has no body")
	}
	out.Content = headLines(h, root.charset())
	return m.finish(out, content.text)
}

// finish adds the body to a text that has the head, and hands the attachments on.
func (m *message) finish(out extract.Text, body string) (extract.Text, error) {
	if body != "" {
		if out.Content != "" {
			out.Content += "\n"
		}
		out.Content += body + "\n"
	}
	if strings.TrimSpace(out.Content) == "" && len(m.attachments) == 0 {
		return extract.Text{}, fmt.Errorf("%w: a message that says nothing", extract.ErrNoText)
	}
	if m.in.MaxBytes > 0 && len(out.Content) > m.in.MaxBytes {
		return extract.Text{}, fmt.Errorf("%w: must be at most %d bytes", extract.ErrTooLarge, m.in.MaxBytes)
	}
	for _, a := range m.attachments {
		if err := m.ctx.Err(); err != nil {
			return extract.Text{}, err
		}
		if m.in.Part == nil {
			m.warn(fmt.Sprintf("left out: %s (%s)", a.name, a.media))
			continue
		}
		part := extract.Input{Reader: a.open(), Name: a.name, Media: a.media, MaxBytes: m.in.MaxBytes, Part: m.in.Part}
		if strings.HasPrefix(a.media, "message/") {
			part.Type = "email"
		}
		if strings.HasPrefix(a.media, "application/octet-stream") {
			part.Media = "" // which says nothing
		}
		if err := m.in.Part(extract.Within(m.ctx), part); err != nil {
			return extract.Text{}, err
		}
	}
	out.Warnings = m.warnings
	return out, nil
}

const maxWarnings = 100

// maxBodyBytes is the size of a text, as it is encoded, that may be part of a body: it is held several times while it is read.
const maxBodyBytes = 16 << 20

func (m *message) warn(s string) {
	for _, w := range m.warnings {
		if w == s {
			return
		}
	}
	if len(m.warnings) < maxWarnings {
		m.warnings = append(m.warnings, s)
	}
}

// envelope fills in what the header says of the message.
func (m *message) envelope(out *extract.Text, h header, charset string) {
	out.Title = words(h.get("subject"), charset)
	for _, name := range []string{"from", "sender", "resent-from", "reply-to", "return-path"} {
		var list []string
		for _, a := range addresses(h.get(name), charset) {
			list = append(list, a.String())
		}
		if len(list) > 0 {
			out.Author = strings.Join(list, ", ")
			break
		}
	}
	if lang := strings.ToLower(h.get("content-language")); len(lang) >= 2 && (len(lang) == 2 || strings.ContainsAny(lang[2:3], "-_, ;")) {
		if lang = lang[:2]; lang[0] >= 'a' && lang[0] <= 'z' && lang[1] >= 'a' && lang[1] <= 'z' {
			out.Language = lang
		}
	}
	if date, ok := parseDate(h.get("date")); ok {
		out.Date = date
		return
	}
	for i := len(h) - 1; i >= 0; i-- { // the last line was written by the first server
		if f := h[i]; f.name == "received" || f.name == "x-received" {
			if n := strings.LastIndexByte(f.value, ';'); n >= 0 {
				if date, ok := parseDate(f.value[n+1:]); ok {
					out.Date = date
					m.warn("no date that can be read: that of the first server is taken")
					return
				}
			}
		}
	}
	m.warn("no date that can be read")
}

// headLines are the lines of the header that a person reads.
func headLines(h header, charset string) string {
	var b strings.Builder
	for _, name := range []string{"From", "To", "Cc", "Date", "Subject"} {
		if value := words(h.get(strings.ToLower(name)), charset); value != "" {
			b.WriteString(name + ": " + value + "\n")
		}
	}
	return b.String()
}

// content is the text of a part. Rich tells that it was made of HTML.
type content struct {
	text string
	rich bool
}

// text returns the text of a part and what lies within it, and notes the attachments. At the root a file name does not make an
// attachment of text.
func (m *message) text(p *part, root bool) (content, error) {
	if err := m.ctx.Err(); err != nil {
		return content{}, err
	}
	switch {
	case p.is("multipart/alternative"):
		return m.alternative(p)
	case p.is("multipart/encrypted"):
		m.encrypted = "PGP"
		return content{}, nil
	case len(p.kids) > 0:
		return m.all(p)
	case strings.HasPrefix(p.media.value, "multipart/"):
		return content{}, nil
	case p.is("application/pkcs7-mime", "application/x-pkcs7-mime"):
		return m.sealed(p)
	case strings.HasSuffix(p.media.value, "-signature"):
		return content{}, nil
	case p.isTNEF():
		if raw := p.transfer().decode(p.body); bytes.HasPrefix(raw, []byte(tnefSignature)) {
			return content{}, m.winmail(raw, 0)
		}
	}
	attached := p.disposition.value == "attachment" || !root && p.fileName() != ""
	if len(p.body) > maxBodyBytes && readable[p.media.value] {
		m.warn("a text that is too large for a body is a document of its own")
		attached = true
	}
	switch {
	case p.is("message/delivery-status", "message/disposition-notification", "message/feedback-report", "text/rfc822-headers") &&
		p.fileName() == "":
	case attached || !readable[p.media.value] && !(p.isRTF() && m.RTF != nil):
		if len(bytes.TrimSpace(p.body)) > 0 {
			m.attach(p)
		}
		return content{}, nil
	}
	return m.leaf(p)
}

// readable are the types of text that belong into a body.
var readable = map[string]bool{
	"text/plain": true, "text/html": true, "application/xhtml+xml": true, "text/enriched": true, "text/richtext": true,
	"text/markdown": true, "text/x-markdown": true,
}

// isRTF reports whether the part is RTF, under any of its names.
func (p *part) isRTF() bool { return p.is("text/rtf", "application/rtf", "application/x-rtf") }

// all joins the texts of the parts.
func (m *message) all(p *part) (content, error) {
	var out content
	var texts []string
	for _, kid := range p.kids {
		c, err := m.text(kid, false)
		if err != nil {
			return content{}, err
		}
		if c.text != "" {
			texts = append(texts, c.text)
			out.rich = out.rich || c.rich
		}
	}
	out.text = strings.Join(texts, "\n\n")
	return out, nil
}

// alternative chooses among texts that should say the same: the plain one, unless the rich one says clearly more.
func (m *message) alternative(p *part) (content, error) {
	var plain, rich content
	for _, kid := range p.kids {
		c, err := m.text(kid, false)
		if err != nil {
			return content{}, err
		}
		if chosen := &plain; c.text != "" {
			if c.rich {
				chosen = &rich
			}
			if weight(c.text) > weight(chosen.text) {
				*chosen = c
			}
		}
	}
	if weight(plain.text)*10 >= weight(rich.text)*7 {
		return plain, nil
	}
	return rich, nil
}

// weight counts the letters and digits of a text without those of addresses on the web.
func weight(s string) (n int) {
	for row := range strings.FieldsFuncSeq(s, unicode.IsSpace) {
		if i := strings.Index(row, "://"); i >= 0 {
			row = row[:strings.LastIndexAny(row[:i], "(<[\"")+1]
		}
		for _, r := range row {
			if unicode.IsLetter(r) || unicode.IsDigit(r) {
				n++
			}
		}
	}
	return n
}

// attach notes a part as a document of its own.
func (m *message) attach(p *part) {
	media := p.media.value
	if c := p.charset(); c != "" && strings.HasPrefix(media, "text/") && !strings.ContainsAny(c, "\";\\") {
		media += "; charset=" + printable(c)
	}
	e := p.transfer()
	m.attachments = append(m.attachments, attachment{
		name: m.unique(p.nameAnyway(len(m.attachments) + 1)), media: media, size: len(p.body),
		open: func() io.Reader { return e.reader(p.body) },
	})
}

// unique gives a second file of a name another one.
func (m *message) unique(name string) string {
	try, ext := name, path.Ext(name)
	for m.names[try] > 0 {
		m.names[name]++
		try = strings.TrimSuffix(name, ext) + " (" + strconv.Itoa(m.names[name]) + ")" + ext
	}
	m.names[try]++
	return try
}
