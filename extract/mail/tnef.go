package mail

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"unicode/utf16"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/htmltext"
)

// Attributes of the transport neutral encapsulation ([MS-OXTNEF]), the file winmail.dat that Exchange puts what mail has no form for
// into, by their ids and types.
const (
	tnefBody         = 0x0002800c
	tnefSubject      = 0x00018004
	tnefProperties   = 0x00069003 // of the message
	tnefCodepage     = 0x00069007
	tnefAttach       = 0x00069002 // an attachment begins
	tnefAttachTitle  = 0x00018010
	tnefAttachData   = 0x0006800f
	tnefAttachFields = 0x00069005 // properties of the attachment

	tnefSignature = "\x78\x9f\x3e\x22"
	maxTNEF       = 5 // in one another
)

// tnef is what such a file holds. The slices are of the file.
type tnef struct {
	codepage         uint64
	subject, body    []byte
	plain, html, rtf value
	attachments      []tnefFile
}

type tnefFile struct {
	title, data, media []byte
	name               value
	object             bool // data is another message
}

// value is a property and its type.
type value struct {
	kind uint32
	data []byte
}

// isTNEF tells whether the part is a file winmail.dat, whatever it is called.
func (p *part) isTNEF() bool {
	return p.is("application/ms-tnef", "application/vnd.ms-tnef") || strings.EqualFold(p.fileName(), "winmail.dat")
}

// winmail reads a file winmail.dat: its files become attachments, and its text the body of a message that has no other.
func (m *message) winmail(raw []byte, depth int) error {
	t, ok := readTNEF(raw)
	if !ok {
		m.warn("winmail.dat is damaged: what was there has been read")
	}
	text, err := m.tnefText(t)
	if err != nil {
		return err
	}
	if depth == 0 {
		m.spare = text
	} else if text != "" { // a message within
		name := cleanName(strings.NewReplacer("/", "-", `\`, "-").Replace(t.text(value{typeString8, t.subject})))
		m.attachText(firstOf(name, "message")+".txt", text)
	}
	for _, f := range t.attachments {
		if f.object && depth < maxTNEF && len(f.data) > 16 && bytes.HasPrefix(f.data[16:], []byte(tnefSignature)) {
			if err := m.winmail(f.data[16:], depth+1); err != nil {
				return err
			}
			continue
		}
		if len(f.data) == 0 || f.object {
			continue
		}
		media := strings.ToLower(string(bytes.Trim(f.media, "\x00 ")))
		if !strings.Contains(media, "/") || strings.ContainsAny(media, " \t\r\n\";") {
			media = "application/octet-stream"
		}
		name := firstOf(cleanName(t.text(f.name)), cleanName(t.text(value{typeString8, f.title})), "file")
		m.attachments = append(m.attachments, attachment{
			name: m.unique(name), media: media, size: len(f.data), open: func() io.Reader { return bytes.NewReader(f.data) },
		})
	}
	return nil
}

// attachText notes a text as a document of its own.
func (m *message) attachText(name, text string) {
	m.attachments = append(m.attachments, attachment{
		name: m.unique(name), media: "text/plain; charset=utf-8", size: len(text), open: func() io.Reader { return strings.NewReader(text) },
	})
}

// tnefText returns the text of the message in such a file.
func (m *message) tnefText(t tnef) (string, error) {
	switch {
	case len(t.html.data) > 0:
		charset := firstOf(htmltext.Charset(t.html.data), codepageName(t.codepage))
		s, _ := toUTF8(t.html.data, charset)
		if t.html.kind == typeUnicode {
			s = t.text(t.html)
		}
		return m.html(normal(s))
	case len(t.plain.data) > 0:
		return trim(normal(t.text(t.plain))), nil
	case len(t.body) > 0:
		return trim(normal(t.text(value{typeString8, t.body}))), nil
	case len(t.rtf.data) > 0 && m.RTF != nil:
		raw, err := unpackRTF(t.rtf.data, int64(m.max()))
		if err != nil {
			return "", err
		}
		text, err := m.RTF.Extract(m.ctx, extract.Input{Reader: bytes.NewReader(raw), Media: "application/rtf", Type: "rtf"})
		switch {
		case err == nil:
			return trim(normal(text.Content)), nil
		case m.ctx.Err() != nil:
			return "", m.ctx.Err()
		case !errors.Is(err, extract.ErrNoText):
			m.warn("the body in winmail.dat could not be read: " + err.Error())
		}
	}
	return "", nil
}

// text returns a property as text.
func (t tnef) text(v value) string {
	if v.kind != typeUnicode {
		s, _ := toUTF8(bytes.TrimRight(v.data, "\x00"), codepageName(t.codepage))
		return s
	}
	units := make([]uint16, len(v.data)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(v.data[2*i:])
	}
	return strings.TrimRight(string(utf16.Decode(units)), "\x00")
}

// readTNEF takes such a file apart; whole tells whether that was possible to its end.
func readTNEF(b []byte) (t tnef, whole bool) {
	rest, ok := bytes.CutPrefix(b, []byte(tnefSignature))
	if !ok || len(rest) < 2 {
		return t, false
	}
	rest = rest[2:]
	for len(rest) > 0 {
		if len(rest) < 9 {
			return t, false
		}
		id, size := binary.LittleEndian.Uint32(rest[1:]), int64(binary.LittleEndian.Uint32(rest[5:]))
		rest = rest[9:]
		data := rest[:min(size, int64(len(rest)))]
		if size+2 > int64(len(rest)) {
			rest = nil
		} else {
			rest = rest[size+2:] // and a checksum
		}
		if id == tnefAttach {
			if len(t.attachments) == maxAttachments {
				return t, false
			}
			t.attachments = append(t.attachments, tnefFile{})
		}
		var f *tnefFile
		if n := len(t.attachments); n > 0 {
			f = &t.attachments[n-1]
		}
		switch {
		case id == tnefCodepage && len(data) >= 4:
			t.codepage = uint64(binary.LittleEndian.Uint32(data))
		case id == tnefSubject:
			t.subject = data
		case id == tnefBody:
			t.body = data
		case id == tnefProperties:
			eachProperty(data, func(id uint32, v value) {
				switch id {
				case propBody:
					t.plain = v
				case propHTML:
					t.html = v
				case propRTF:
					t.rtf = v
				}
			})
		case f == nil:
		case id == tnefAttachTitle:
			f.title = data
		case id == tnefAttachData:
			f.data = data
		case id == tnefAttachFields:
			eachProperty(data, func(id uint32, v value) {
				switch {
				case id == propAttachLongName:
					f.name = v
				case id == propAttachMedia && v.kind == typeString8:
					f.media = v.data
				case id == propAttachData && v.kind == typeObject:
					f.data, f.object = v.data, true
				case id == propAttachData && len(f.data) == 0:
					f.data = v.data
				}
			})
		}
		if int64(len(data)) < size {
			return t, false
		}
	}
	return t, true
}

// eachProperty calls f with the properties in a list that have one value in a place of its own, to the first that is damaged.
func eachProperty(b []byte, f func(id uint32, v value)) {
	take := func(n int64) []byte { // n bytes, and those up to a multiple of four
		if n < 0 || n > int64(len(b)) {
			b = nil
			return nil
		}
		out := b[:n]
		b = b[min((n+3)&^3, int64(len(b))):]
		return out
	}
	number := func() int64 {
		if v := take(4); v != nil {
			return int64(binary.LittleEndian.Uint32(v))
		}
		return 0
	}
	for range number() {
		head := take(4)
		if head == nil {
			return
		}
		kind, id := uint32(binary.LittleEndian.Uint16(head)), uint32(binary.LittleEndian.Uint16(head[2:]))
		if id >= 0x8000 { // one with a name
			take(16)
			if number() == 0 {
				take(4)
			} else {
				take(number())
			}
			id = 0
		}
		size, known := fixed[kind&^multiple]
		switch {
		case !known: // of any length
			for range number() {
				if b == nil {
					return
				}
				if v := take(number()); v != nil {
					f(id, value{kind, v})
				}
			}
		case kind&multiple != 0:
			n := number()
			if size > 0 && n > int64(len(b))/size {
				return
			}
			take(n * size)
		default:
			take(size)
		}
	}
}

const multiple = 0x1000 // values of a type

// fixed are the bytes that values of types have which say no length.
var fixed = map[uint32]int64{
	0x01: 0, 0x02: 2, 0x03: 4, 0x04: 4, 0x05: 8, 0x06: 8, 0x07: 8, 0x0a: 4, 0x0b: 2, 0x14: 8, 0x40: 8, 0x48: 16,
}
