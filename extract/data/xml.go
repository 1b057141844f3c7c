package data

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/docmeta"
)

// maxDepth is how deep elements may nest.
const maxDepth = 1000

// XML reads XML of any vocabulary as lines of text. Its zero value is ready.
//
// An element with text between its tags and those of its children is a paragraph, as in a document; one that holds nothing but a short
// text is a line "name: text", as in a record; records are parted by empty lines. Attributes that tell something stand in brackets.
// RSS, Atom and RDF feeds become Markdown: a heading for the feed and one for each entry.
//
// Nothing outside of the file is read. Entities that a document defines are put in where they are plain text; those made of other
// entities are not, so that a few bytes cannot become many. A file that is not well formed, or cut short, is refused with
// [extract.ErrDamaged]; one nested more than 1,000 deep with [extract.ErrTooLarge].
type XML struct{}

// Extract implements [extract.Extractor].
func (XML) Extract(ctx context.Context, in extract.Input) (extract.Text, error) {
	s, warnings, err := in.ReadText(ctx, declaredEncoding)
	if err != nil {
		return extract.Text{}, err
	}
	t := extract.Text{Type: "text", Format: "xml", Warnings: warnings}
	r := newReader(s)
	root, err := r.root()
	if err != nil {
		return extract.Text{}, err
	}
	switch root.Name.Local {
	case "rss", "feed", "RDF":
		t.Format, t.Markup = "feed", "markdown"
		err = feed(ctx, r, in.MaxBytes, &t)
	default:
		err = lines(ctx, r, root, in.MaxBytes, &t)
	}
	if err != nil {
		return extract.Text{}, err
	}
	if r.nested {
		t.Warnings = append(t.Warnings, "entities made of other entities were not put in")
	}
	if r.over {
		t.Warnings = append(t.Warnings, "entities that come to too much text were not put in")
	}
	if in.Type != "" {
		t.Type = in.Type
	}
	if strings.TrimSpace(t.Content) == "" {
		return extract.Text{}, fmt.Errorf("%w: only mark-up", extract.ErrNoText)
	}
	return t, limit(t, in)
}

var encodingAttr = regexp.MustCompile(`^<\?xml[^>]*\sencoding\s*=\s*["']([A-Za-z0-9._-]+)["']`)

func declaredEncoding(raw []byte) string {
	if m := encodingAttr.FindSubmatch(raw[:min(len(raw), 256)]); m != nil {
		return string(m[1])
	}
	return ""
}

// reader reads the tokens of a document and keeps account of what is open.
type reader struct {
	d      *xml.Decoder
	text   string // of the document
	open   []string
	grown  int  // bytes that entities of the document come to
	nested bool // an entity is made of others
	over   bool // entities come to too much
}

func newReader(s string) *reader {
	s = strings.TrimLeftFunc(s, unicode.IsSpace)
	if strings.HasPrefix(s, "<?xml") { // the decoder takes version 1.0 alone
		if _, rest, ok := strings.Cut(s, "?>"); ok {
			s = rest
		}
	}
	s = strings.Map(func(c rune) rune { // characters that XML does not have are left out; they are seen where data was put in carelessly
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c == 0xfffe || c == 0xffff {
			return -1
		}
		return c
	}, s)
	d := xml.NewDecoder(strings.NewReader(s))
	d.Strict = false // which takes entities as they are, and attributes without quotes
	d.Entity = map[string]string{}
	for k, v := range xml.HTMLEntity {
		d.Entity[k] = v
	}
	return &reader{d: d, text: s}
}

// next returns the next start, end or text; io.EOF at the end of a whole document.
func (r *reader) next() (xml.Token, error) {
	for {
		t, err := r.d.RawToken()
		if errors.Is(err, io.EOF) {
			if len(r.open) > 0 {
				return nil, fmt.Errorf("%w: XML ends within <%s>", extract.ErrDamaged, r.open[len(r.open)-1])
			}
			return nil, io.EOF
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", extract.ErrDamaged, err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			if len(r.open) >= maxDepth {
				return nil, fmt.Errorf("%w: XML nested more than %d deep", extract.ErrTooLarge, maxDepth)
			}
			r.open = append(r.open, t.Name.Local)
			return t, nil
		case xml.EndElement:
			if n := len(r.open); n == 0 || r.open[n-1] != t.Name.Local {
				return nil, fmt.Errorf("%w: XML has </%s> where it does not belong", extract.ErrDamaged, t.Name.Local)
			}
			r.open = r.open[:len(r.open)-1]
			return t, nil
		case xml.CharData:
			return t, nil
		case xml.Directive:
			r.entities(string(t))
		}
	}
}

// root returns the first element.
func (r *reader) root() (xml.StartElement, error) {
	for {
		t, err := r.next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("%w: no XML element", extract.ErrDamaged)
			}
			return xml.StartElement{}, err
		}
		if start, ok := t.(xml.StartElement); ok {
			return start, nil
		}
	}
}

var entity = regexp.MustCompile(`<!ENTITY\s+([A-Za-z_][\w.-]*)\s+(?:"([^"]*)"|'([^']*)')\s*>`)

const (
	maxEntity   = 200     // bytes of an entity's text that is put in
	maxEntities = 200     // that a document defines
	maxGrown    = 1 << 20 // bytes that all references to them come to
)

// entities takes the entities that a document type defines as plain text.
func (r *reader) entities(doctype string) {
	for _, m := range entity.FindAllStringSubmatch(doctype, maxEntities) {
		value := m[2] + m[3]
		if strings.ContainsAny(value, "&<%") {
			r.nested = true
			continue
		}
		if _, known := r.d.Entity[m[1]]; known || len(value) > maxEntity {
			continue
		}
		if r.grown += strings.Count(r.text, "&"+m[1]+";") * len(value); r.grown > maxGrown {
			r.over = true
			return
		}
		r.d.Entity[m[1]] = value
	}
}

// entry is a piece of what an element holds.
type entry struct {
	text  string
	name  string // of the element, for a line of a record
	attrs string
	own   bool // text of the element itself
	block bool // not part of a paragraph: it is written on lines of its own
}

// node is an open element.
type node struct {
	name, attrs string
	entries     []entry
	children    int
	block       bool // what it holds so far has been written in part
}

// maxWords is how many bytes of text may be part of a paragraph around them.
const maxWords = 64 << 10

// maxEntries is how many pieces are kept before they are written, whatever stands behind them.
const maxEntries = 64

// documentary are the names of elements that hold text of a document, which needs no name before it.
var documentary = map[string]bool{
	"p": true, "para": true, "simpara": true, "title": true, "head": true, "heading": true, "subtitle": true, "text": true, "span": true,
	"li": true, "item": true, "entry": true, "cell": true, "td": true, "th": true, "line": true, "l": true, "seg": true, "s": true,
	"tspan": true, "b": true, "i": true, "em": true, "strong": true, "a": true, "u": true, "string": true, "value": true, "h1": true,
	"h2": true, "h3": true, "h4": true, "q": true, "quote": true, "note": true, "literallayout": true, "programlisting": true, "v": true,
	"body": true, "content": true, "t": true,
}

// writer writes the lines of an XML document.
type writer struct {
	b     strings.Builder
	blank bool
}

func (w *writer) line(s string) {
	if s == "" {
		w.blank = w.b.Len() > 0
		return
	}
	if w.blank {
		w.b.WriteByte('\n')
		w.blank = false
	}
	w.b.WriteString(s)
	w.b.WriteByte('\n')
}

// lines reads a document as lines of text.
func lines(ctx context.Context, r *reader, root xml.StartElement, maxBytes int, t *extract.Text) error {
	w := &writer{}
	svg := root.Name.Local == "svg"
	stack := []*node{newNode(root, svg)}
	title, pending := false, 0 // entries in all open elements
	language(root, t)
	flush := func() { // what is pending in all open elements, the outermost first
		for _, n := range stack {
			for _, e := range n.entries {
				if !e.own || strings.TrimSpace(e.text) != "" {
					w.line(e.asLine())
				}
			}
			n.entries = nil
			n.block = true
		}
		pending = 0
	}
	for len(stack) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if maxBytes > 0 && w.b.Len() > maxBytes {
			return fmt.Errorf("%w: must be at most %d bytes of text", extract.ErrTooLarge, maxBytes)
		}
		token, err := r.next()
		if err != nil {
			return err
		}
		top := stack[len(stack)-1]
		switch token := token.(type) {
		case xml.CharData:
			if s := string(token); strings.TrimSpace(s) != "" || len(top.entries) > 0 && !top.block {
				top.entries = append(top.entries, entry{text: s, own: true})
				pending++
			}
		case xml.StartElement:
			top.children++
			stack = append(stack, newNode(token, svg))
		case xml.EndElement:
			stack = stack[:len(stack)-1]
			pending -= len(top.entries)
			entries := top.close()
			pending += len(entries)
			if !title && (top.name == "title" || top.name == "Title") && len(entries) == 1 {
				title = true
				t.Title = cut(squeeze(entries[0].text), 200)
			}
			if len(stack) == 0 {
				for _, e := range entries {
					w.line(e.asLine())
				}
				break
			}
			parent := stack[len(stack)-1]
			parent.entries = append(parent.entries, entries...)
		}
		if pending > maxEntries {
			flush()
		}
	}
	if _, err := r.next(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	t.Content = w.b.String()
	return nil
}

func language(root xml.StartElement, t *extract.Text) {
	for _, a := range root.Attr {
		if a.Name.Local == "lang" {
			t.Language = docmeta.Language(a.Value)
		}
	}
}

func newNode(e xml.StartElement, svg bool) *node {
	n := &node{name: e.Name.Local}
	if svg {
		return n
	}
	var b strings.Builder
	for _, a := range e.Attr {
		value := squeeze(a.Value)
		switch {
		case a.Name.Space != "" || a.Name.Local == "xmlns" || a.Name.Local == "id" || a.Name.Local == "style" || a.Name.Local == "class":
		case value == "" || len(value) > 300 || strings.HasPrefix(value, "http://www.w3.org/"):
		default:
			if b.Len() > 0 {
				b.WriteString(", ")
			}
			b.WriteString(a.Name.Local + ": " + value)
		}
	}
	n.attrs = b.String()
	return n
}

// close returns what an element comes to: one entry for one that holds text, those of its children for others.
func (n *node) close() []entry {
	mixed := false
	for _, e := range n.entries {
		mixed = mixed || e.own && strings.TrimSpace(e.text) != "" && !n.block
	}
	if !mixed {
		entries := n.entries[:0]
		for _, e := range n.entries {
			if !e.own || n.block && strings.TrimSpace(e.text) != "" {
				e.own = false
				entries = append(entries, e)
			}
		}
		switch {
		case n.children == 0 && n.attrs == "":
			return nil
		case n.attrs != "" && len(entries) == 0 && !n.block:
			return []entry{{name: n.name, attrs: n.attrs, block: true}}
		case n.attrs != "" && !n.block:
			entries = append([]entry{{name: n.name, attrs: n.attrs, block: true}}, entries...)
		}
		for i := range entries {
			entries[i].block = true
		}
		if len(entries) > 1 { // a record is parted from the next
			entries = append(append([]entry{{block: true}}, entries...), entry{block: true})
		}
		return entries
	}
	// Text with elements in it is a paragraph; elements in it that are more than words stand below.
	var out []entry
	var b strings.Builder
	emit := func() {
		if s := squeeze(b.String()); s != "" {
			out = append(out, entry{text: s})
		}
		b.Reset()
	}
	for _, e := range n.entries {
		if e.block {
			emit()
			out = append(out, e)
			continue
		}
		b.WriteString(e.text)
	}
	if len(out) == 0 {
		// White space at its ends may matter within the parent; of a long text it is not asked for again at each level.
		return []entry{{text: b.String(), name: n.name, attrs: n.attrs, block: b.Len() > maxWords}}
	}
	emit()
	for i := range out {
		out[i].block = true
	}
	return out
}

// asLine returns the line that an entry is written as.
func (e entry) asLine() string {
	text := squeeze(e.text)
	switch {
	case e.name == "":
		return text
	case text == "":
		if e.attrs == "" {
			return ""
		}
		return e.name + " (" + e.attrs + ")"
	}
	if e.attrs != "" {
		text += " (" + e.attrs + ")"
	}
	if documentary[e.name] || utf8.RuneCountInString(e.text) > 120 {
		return text
	}
	return e.name + ": " + text
}

// squeeze makes one space of each run of white space, and none at the ends.
func squeeze(s string) string { return strings.Join(strings.FieldsFunc(s, unicode.IsSpace), " ") }

// cut shortens a text to so many bytes, at a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
