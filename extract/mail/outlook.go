package mail

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/cfb"
	guess "github.com/llmemory/llmemory/internal/charset"
)

// Properties of a message as Outlook saves it ([MS-OXMSG], [MS-OXPROPS]), by their ids.
const (
	propClass          = 0x001a
	propSubject        = 0x0037
	propSubmitTime     = 0x0039
	propFromName       = 0x0042 // on whose behalf it was sent
	propFromAddress    = 0x0065
	propFromSMTP       = 0x5d02
	propHeaders        = 0x007d // of the message as it came by mail
	propSenderName     = 0x0c1a
	propSenderAddress  = 0x0c1f
	propSenderSMTP     = 0x5d01
	propRecipientKind  = 0x0c15
	propDisplayCc      = 0x0e03
	propDisplayTo      = 0x0e04
	propDeliveryTime   = 0x0e06
	propBody           = 0x1000
	propRTF            = 0x1009
	propHTML           = 0x1013
	propMessageID      = 0x1035
	propName           = 0x3001
	propAddress        = 0x3003
	propLastModified   = 0x3008
	propSMTP           = 0x39fe
	propAttachData     = 0x3701
	propAttachName     = 0x3704
	propAttachLongName = 0x3707
	propAttachMedia    = 0x370e
	propCodepage       = 0x3ffd
	propInternetCPID   = 0x3fde
)

// Types of properties.
const (
	typeInt32   = 0x0003
	typeObject  = 0x000d
	typeString8 = 0x001e
	typeUnicode = 0x001f
	typeTime    = 0x0040
	typeBinary  = 0x0102
)

const (
	maxRecipients  = 5000
	maxAttachments = 2000
	maxWithin      = 10 // messages in one another
)

// outlook reads a message of Outlook's. It is written anew as mail has it, and read like that: names, texts, attachments and messages
// within have one way through this package.
func (e Extractor) outlook(ctx context.Context, in extract.Input) (extract.Text, error) {
	src, err := in.Open(ctx, int64(e.max()))
	if err != nil {
		return extract.Text{}, err
	}
	defer func() { _ = src.Close() }()
	f, err := cfb.Open(src, src.Size())
	if err != nil {
		return extract.Text{}, err
	}
	w := &outlookWriter{ctx: ctx, file: f, left: int64(e.max())}
	w.out.Grow(int(src.Size()) + int(src.Size())/2)
	root := w.storage(f.Root, 32)
	if len(root.fixed) == 0 && root.entry.Child("__properties_version1.0") == nil {
		return extract.Text{}, fmt.Errorf("%w: a compound file without a message", extract.ErrUnsupported)
	}
	if err := w.message(root, 0); err != nil {
		return extract.Text{}, err
	}
	text, err := e.message(ctx, in, w.out.Bytes())
	text.Format = "msg"
	return text, err
}

// outlookWriter writes a message as mail has it.
type outlookWriter struct {
	ctx   context.Context
	file  *cfb.File
	out   bytes.Buffer
	left  int64 // bytes that may still be read
	parts int
}

// properties are those of a message, a recipient or an attachment.
type properties struct {
	*outlookWriter
	entry    *cfb.Entry
	fixed    map[uint32]uint64 // values that are not in streams, by id and type
	codepage uint64
}

// storage reads the properties of a storage, which come after a head of some bytes. What is damaged counts as not there.
func (w *outlookWriter) storage(e *cfb.Entry, head int) properties {
	p := properties{outlookWriter: w, entry: e, fixed: map[uint32]uint64{}}
	b, err := w.read(e.Child("__properties_version1.0"))
	for at := head; err == nil && at+16 <= len(b); at += 16 {
		p.fixed[binary.LittleEndian.Uint32(b[at:])] = binary.LittleEndian.Uint64(b[at+8:])
	}
	p.codepage = p.number(propCodepage)
	return p
}

// read returns a stream, within what may be read in all.
func (w *outlookWriter) read(e *cfb.Entry) ([]byte, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, err
	}
	b, err := w.file.Read(e, w.left)
	w.left -= int64(len(b))
	return b, err
}

func (p properties) number(id uint32) uint64 { return p.fixed[id<<16|typeInt32] & 0xffffffff }

// time returns a property that counts 100 nanoseconds from the year 1601.
func (p properties) time(id uint32) (time.Time, bool) {
	v, ok := p.fixed[id<<16|typeTime]
	const untilUnix = 116444736e9 // from 1601 to 1970
	if !ok || v < untilUnix/2 || v > 3*untilUnix {
		return time.Time{}, false
	}
	ticks := int64(v) - untilUnix
	return time.Unix(ticks/1e7, ticks%1e7*100).UTC(), true
}

// bytes returns a property of a type that is in a stream.
func (p properties) bytes(id, kind uint32) []byte {
	b, err := p.read(p.entry.Child(fmt.Sprintf("__substg1.0_%04X%04X", id, kind)))
	if err != nil {
		return nil
	}
	return b
}

// text returns the first of the properties that says something, as text.
func (p properties) text(ids ...uint32) string {
	for _, id := range ids {
		s := ""
		if b := p.bytes(id, typeUnicode); len(b) > 0 {
			units := make([]uint16, len(b)/2)
			for i := range units {
				units[i] = binary.LittleEndian.Uint16(b[2*i:])
			}
			s = string(utf16.Decode(units))
		} else if b := p.bytes(id, typeString8); len(b) > 0 {
			s, _ = toUTF8(b, codepageName(p.codepage))
		}
		if s = strings.TrimRight(s, "\x00"); strings.TrimSpace(s) != "" {
			return s
		}
	}
	return ""
}

// codepageName is the charset of a code page of Windows.
func codepageName(n uint64) string {
	if n == 0 || n == 20127 {
		return ""
	}
	return cmp.Or(guess.CodePage(int(min(n, 1<<16))), "windows-1252")
}

// message writes a message and what lies within it.
func (w *outlookWriter) message(p properties, depth int) error {
	came, _ := splitHeader([]byte(p.text(propHeaders)))
	w.field("From", p.sender(came))
	to, cc := p.recipients()
	if to == "" {
		to = firstOf(unfolded(came.get("to")), p.text(propDisplayTo))
	}
	if cc == "" {
		cc = firstOf(unfolded(came.get("cc")), p.text(propDisplayCc))
	}
	w.field("To", to)
	w.field("Cc", cc)
	date := came.get("date")
	for _, id := range []uint32{propSubmitTime, propDeliveryTime, propLastModified} {
		if t, ok := p.time(id); ok && date == "" {
			date = t.Format("Mon, 2 Jan 2006 15:04:05 -0700")
		}
	}
	w.field("Date", date)
	w.field("Subject", p.text(propSubject))
	w.field("Message-ID", p.text(propMessageID))
	w.field("MIME-Version", "1.0")
	w.parts++
	boundary := fmt.Sprintf("=_outlook_%d", w.parts)
	fmt.Fprintf(&w.out, "Content-Type: multipart/mixed; boundary=\"%s\"\n\n", boundary)
	if err := w.body(p, boundary); err != nil {
		return err
	}
	for _, c := range p.entry.Children {
		if !strings.HasPrefix(c.Name, "__attach_version1.0_") {
			continue
		}
		if w.parts++; w.parts > maxAttachments {
			return fmt.Errorf("%w: a message with more than %d attachments", extract.ErrTooLarge, maxAttachments)
		}
		if err := w.attachment(w.storage(c, 8), boundary, depth); err != nil {
			return err
		}
	}
	fmt.Fprintf(&w.out, "--%s--\n", boundary)
	return w.ctx.Err()
}

func unfolded(s string) string { return words(s, "") }

func firstOf(list ...string) string {
	for _, s := range list {
		if strings.TrimSpace(s) != "" {
			return s
		}
	}
	return ""
}

// field writes a field in UTF-8, if there is something in it.
func (w *outlookWriter) field(name, value string) {
	if value = strings.Join(strings.Fields(printable(strings.NewReplacer("\r", " ", "\n", " ", "\t", " ").Replace(value))), " "); value != "" {
		w.out.WriteString(name + ": " + value + "\n")
	}
}

// sender is who the message is from.
func (p properties) sender(came header) string {
	name, address := p.text(propFromName), p.text(propFromSMTP, propFromAddress)
	if name == "" && address == "" {
		name, address = p.text(propSenderName), p.text(propSenderSMTP, propSenderAddress)
	}
	if !strings.Contains(address, "@") { // an address within Exchange
		if smtp := p.text(propFromSMTP, propSenderSMTP); smtp != "" {
			address = smtp
		} else if from := unfolded(came.get("from")); from != "" {
			return from
		} else if name != "" {
			address = ""
		}
	}
	return mailboxOf(name, address)
}

// recipients are the lists of those to whom, and of those to whom in copy.
func (p properties) recipients() (to, cc string) {
	var lists [2][]string
	n := 0
	for _, c := range p.entry.Children {
		if !strings.HasPrefix(c.Name, "__recip_version1.0_") {
			continue
		}
		if n++; n > maxRecipients {
			break
		}
		r := p.storage(c, 8)
		r.codepage = p.codepage
		address := r.text(propSMTP)
		if address == "" {
			if address = r.text(propAddress); !strings.Contains(address, "@") {
				address = ""
			}
		}
		if kind := r.number(propRecipientKind); kind == 1 || kind == 2 {
			lists[kind-1] = append(lists[kind-1], mailboxOf(r.text(propName), address))
		}
	}
	return strings.Join(lists[0], ", "), strings.Join(lists[1], ", ")
}

// mailboxOf writes a mailbox.
func mailboxOf(name, address string) string {
	name = strings.Trim(strings.TrimSpace(name), `'"`)
	address = strings.Trim(strings.TrimSpace(address), "<>")
	name = strings.TrimSpace(strings.TrimSuffix(name, "<"+address+">"))
	switch {
	case name == "" || strings.EqualFold(name, address):
		return address
	case strings.ContainsAny(name, `,;:"()<>@\`):
		name = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	}
	if address == "" {
		return name
	}
	return name + " <" + address + ">"
}

// body writes the texts of a message, as alternatives.
func (w *outlookWriter) body(p properties, boundary string) error {
	inner := boundary + "_body"
	fmt.Fprintf(&w.out, "--%s\nContent-Type: multipart/alternative; boundary=\"%s\"\n\n", boundary, inner)
	plain := p.text(propBody)
	if plain != "" {
		w.part(inner, "text/plain; charset=utf-8", "", []byte(plain))
	}
	html, charset := p.bytes(propHTML, typeBinary), codepageName(p.number(propInternetCPID))
	if len(html) == 0 {
		if s := p.text(propHTML); s != "" {
			html, charset = []byte(s), "utf-8"
		}
	}
	if len(html) > 0 {
		media := "text/html"
		if charset != "" {
			media += "; charset=" + charset
		}
		w.part(inner, media, "", html)
	}
	if packed := p.bytes(propRTF, typeBinary); len(packed) > 0 && plain == "" && len(html) == 0 {
		rtf, err := unpackRTF(packed, w.left)
		if err != nil {
			return err
		}
		w.left -= int64(len(rtf))
		w.part(inner, "text/rtf", "", rtf)
	}
	fmt.Fprintf(&w.out, "--%s--\n", inner)
	return nil
}

// attachment writes a file or a message within.
func (w *outlookWriter) attachment(p properties, boundary string, depth int) error {
	name := cleanName(p.text(propAttachLongName, propAttachName, propName))
	if object := p.entry.Child(fmt.Sprintf("__substg1.0_%04X%04X", propAttachData, typeObject)); object != nil {
		if object.Child("__properties_version1.0") == nil || depth == maxWithin {
			w.part(boundary, "application/octet-stream", firstOf(name, "object"), []byte("an object of another program"))
			return nil
		}
		fmt.Fprintf(&w.out, "--%s\nContent-Type: message/rfc822\n\n", boundary)
		return w.message(w.storage(object, 24), depth+1)
	}
	b, err := w.read(p.entry.Child(fmt.Sprintf("__substg1.0_%04X%04X", propAttachData, typeBinary)))
	if errors.Is(err, extract.ErrTooLarge) || w.ctx.Err() != nil {
		return err
	}
	if len(b) == 0 {
		return nil // a link, or damage
	}
	media, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(p.text(propAttachMedia))), ";")
	if !strings.Contains(media, "/") || strings.ContainsAny(media, " \t\r\n\"") || strings.HasPrefix(media, "multipart/") {
		media = "application/octet-stream"
	}
	w.part(boundary, media, firstOf(name, "file"), b)
	return nil
}

// part writes a part, as an attachment if it has a name.
func (w *outlookWriter) part(boundary, media, name string, content []byte) {
	fmt.Fprintf(&w.out, "--%s\nContent-Type: %s\nContent-Transfer-Encoding: base64\n", boundary, printable(media))
	if name != "" {
		fmt.Fprintf(&w.out, "Content-Disposition: attachment; filename*=utf-8''%s\n", percentEncoded(name))
	}
	w.out.WriteByte('\n')
	enc := base64.NewEncoder(base64.StdEncoding, &w.out)
	_, _ = enc.Write(content) // into memory
	_ = enc.Close()
	w.out.WriteByte('\n')
}

func percentEncoded(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// rtfWords begin the dictionary of compressed RTF ([MS-OXRTFCP]).
const rtfWords = "{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans SerifSymbolArial" +
	"Times New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"

// unpackRTF decompresses RTF as Outlook keeps it. What is cut short yields what is there.
func unpackRTF(b []byte, limit int64) ([]byte, error) {
	if len(b) < 16 {
		return nil, nil
	}
	size := int64(binary.LittleEndian.Uint32(b[4:]))
	if size > limit {
		return nil, fmt.Errorf("%w: RTF of %d bytes", extract.ErrTooLarge, size)
	}
	body := b[16:]
	switch string(b[8:12]) {
	case "MELA": // not compressed
		return body[:min(int64(len(body)), size)], nil
	case "LZFu":
	default:
		return nil, nil
	}
	var dict [4096]byte
	at := copy(dict[:], rtfWords)
	var out []byte
	put := func(c byte) {
		out = append(out, c)
		dict[at] = c
		at = (at + 1) % len(dict)
	}
	for i := 0; i < len(body); {
		flags := body[i]
		i++
		for bit := 0; bit < 8; bit++ {
			if int64(len(out)) >= size {
				return out, nil
			}
			if flags>>bit&1 == 0 {
				if i >= len(body) {
					return out, nil
				}
				put(body[i])
				i++
				continue
			}
			if i+1 >= len(body) {
				return out, nil
			}
			ref := int(body[i])<<8 | int(body[i+1])
			i += 2
			from, n := ref>>4, ref&15+2
			if from == at {
				return out, nil
			}
			for j := range n {
				put(dict[(from+j)%len(dict)])
			}
		}
	}
	return out, nil
}
