// Package htmltext turns HTML into Markdown text: it decodes, parses with bounds, finds the main content of a page, and writes
// it with headings, lists, tables, links and code. Scripts are never run and nothing is fetched.
package htmltext

import (
	"bytes"
	"io"
	"mime"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/llmemory/llmemory/internal/charset"
)

// MaxText is how many bytes of text a page may have.
const MaxText = 24 << 20

const (
	maxTags  = 400_000 // elements of a page that is parsed as a tree; a longer one is read tag by tag
	maxDepth = 400     // of the tree
	maxSlim  = MaxText // bytes of text and tags that are parsed as a tree
)

// Decode returns a page as UTF-8, and what of its encoding had to be guessed or mended. The encoding is that of the byte order mark, of
// media (a MIME type with a charset, may be empty), of the page itself, or the one that its bytes look like; a page that is valid UTF-8
// is not taken for Latin-1. Bytes that are no text in any encoding are refused.
func Decode(raw []byte, media string) (page string, warnings []string, err error) {
	_, params, _ := mime.ParseMediaType(media) // what cannot be parsed declares nothing
	name := params["charset"]
	if name == "" {
		name = Charset(raw)
	}
	r, err := charset.Decode(raw, name)
	if err != nil { // but NUL bytes mean nothing
		r, err = charset.Decode(bytes.ReplaceAll(raw, []byte{0}, nil), name)
	}
	return strings.ReplaceAll(r.Text, "\x00", ""), r.Warnings(), err
}

// Charset returns the encoding that a page names in its XML declaration or in a meta element, in lower case, "" if it names none.
func Charset(raw []byte) string {
	head := strings.ToLower(string(raw[:min(len(raw), 4096)]))
	if strings.HasPrefix(head, "<?xml") {
		declaration, rest, _ := strings.Cut(head, "?>")
		if name := assigned(declaration, "encoding"); name != "" {
			return name
		}
		head = rest
	}
	for {
		at := strings.Index(head, "<meta")
		if at < 0 {
			return ""
		}
		head = head[at+len("<meta"):]
		tag, _, _ := strings.Cut(head, ">")
		if name := assigned(tag, "charset"); name != "" {
			return name
		}
	}
}

// assigned returns what a tag assigns to a name, in an attribute or within the value of one.
func assigned(tag, name string) string {
	for {
		at := strings.Index(tag, name)
		if at < 0 {
			return ""
		}
		tag = strings.TrimLeft(tag[at+len(name):], " \t\r\n")
		if value, ok := strings.CutPrefix(tag, "="); ok {
			value = strings.TrimLeft(value, " \t\r\n\"'")
			if end := strings.IndexAny(value, " \t\r\n\"'/>;"); end >= 0 {
				value = value[:end]
			}
			return value
		}
	}
}

// XHTML writes a page of XHTML as HTML has it: an element that is empty there, such as <title/>, would hold all the rest here.
func XHTML(page string) string {
	page = unsectioned(page)
	var b strings.Builder
	for {
		end := strings.Index(page, "/>")
		if end < 0 {
			b.WriteString(page)
			return b.String()
		}
		tag := page[strings.LastIndexByte(page[:end], '<')+1 : end]
		name := tag
		if i := strings.IndexAny(tag, " \t\r\n"); i >= 0 {
			name = tag[:i]
		}
		b.WriteString(page[:end])
		if name == "" || strings.Contains(tag, ">") || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz123456") != "" || void[atom.Lookup([]byte(name))] {
			b.WriteString("/>")
		} else {
			b.WriteString("></" + name + ">")
		}
		page = page[end+2:]
	}
}

// unsectioned writes the text of CDATA sections, which HTML takes for comments, as other text.
func unsectioned(page string) string {
	const begin, end = "<![CDATA[", "]]>"
	if !strings.Contains(page, begin) {
		return page
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(page, begin)
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		section, after, _ := strings.Cut(rest, end)
		b.WriteString(html.EscapeString(section))
		page = after
	}
}

// void are the elements of HTML that never hold anything.
var void = map[atom.Atom]bool{
	atom.Area: true, atom.Base: true, atom.Br: true, atom.Col: true, atom.Embed: true, atom.Hr: true, atom.Img: true, atom.Input: true,
	atom.Link: true, atom.Meta: true, atom.Param: true, atom.Source: true, atom.Track: true, atom.Wbr: true,
}

// dropped are elements that hold no text for readers. Their content is skipped.
var dropped = map[atom.Atom]bool{
	atom.Script: true, atom.Style: true, atom.Template: true, atom.Iframe: true, atom.Noembed: true, atom.Noframes: true,
	atom.Object: true, atom.Canvas: true, atom.Svg: true, atom.Audio: true, atom.Video: true, atom.Textarea: true, atom.Select: true,
	atom.Button: true, atom.Datalist: true, atom.Noscript: true, atom.Applet: true, atom.Map: true,
}

// leaky are dropped elements that end with the one around them if they are not closed themselves.
var leaky = map[atom.Atom]bool{
	atom.Button: true, atom.Audio: true, atom.Video: true, atom.Canvas: true, atom.Map: true, atom.Svg: true, atom.Noscript: true,
}

// headings are the elements in which a button is what the reader opens the text below with, and what it is called.
var headings = map[atom.Atom]bool{
	atom.H1: true, atom.H2: true, atom.H3: true, atom.H4: true, atom.H5: true, atom.H6: true, atom.Summary: true, atom.Dt: true,
}

// kept are the attributes that tell something of the text.
var kept = map[string]bool{
	"href": true, "alt": true, "class": true, "id": true, "role": true, "colspan": true, "rowspan": true, "start": true, "lang": true,
	"xml:lang": true, "name": true, "content": true, "property": true, "hidden": true, "aria-hidden": true, "style": true, "type": true,
	"checked": true, "alttext": true, "datetime": true, "itemprop": true, "encoding": true, "value": true, "aria-modal": true,
	"epub:type": true, "reversed": true, "rel": true, "hreflang": true,
}

// code is what the element of that name is called in the tree.
const code = "x-code"

// instead are elements that are read as others. Those that only format text are among them, as a parser of HTML opens each of them that
// was left open anew in every block that follows: a few kilobytes could become gigabytes.
var instead = map[atom.Atom]string{
	atom.Xmp: "pre", atom.Plaintext: "pre", atom.Listing: "pre", atom.Code: code, atom.Tt: "samp", atom.Nobr: "span", atom.B: "span",
	atom.Big: "span", atom.Em: "span", atom.Font: "span", atom.I: "span", atom.S: "span", atom.Small: "span", atom.Strike: "span",
	atom.Strong: "span", atom.U: "span",
}

// shown are the attributes of a formatting element that tell whether its text is shown.
var shown = map[string]bool{"hidden": true, "aria-hidden": true, "style": true}

// Parse parses a page in bounded memory. Without ok the page is too large or nested too deep for a tree: use [Flat].
func Parse(page string) (doc *html.Node, ok bool) {
	slim, ok := slim(page)
	if !ok {
		return nil, false
	}
	doc, err := html.Parse(strings.NewReader(slim))
	if err != nil || deeper(doc, maxDepth) {
		return nil, false
	}
	return doc, true
}

// slim returns a page without what is never read: scripts, pictures within the page, attributes that tell nothing.
func slim(page string) (string, bool) {
	var b strings.Builder
	tags, large := 0, false
	err := tokens(page, func(t *html.Token) bool {
		if t.Type == html.TextToken {
			if large = b.Len()+len(t.Data) > maxSlim; !large {
				b.WriteString(html.EscapeString(t.Data))
			}
			return !large
		}
		if tags++; tags > maxTags {
			return false
		}
		b.WriteString(t.String())
		large = b.Len() > maxSlim
		return !large
	})
	return b.String(), err == nil && tags <= maxTags && !large
}

// tokens calls f with each token outside of dropped elements until f returns false. A button in a heading is only its text.
func tokens(page string, f func(t *html.Token) bool) error {
	z := html.NewTokenizer(strings.NewReader(page))
	z.SetMaxBuf(1 << 28)
	var skip, heading atom.Atom
	around, within := map[string]int{}, map[string]int{} // elements that are open around the one that is skipped, and in it
	for {
		kind := z.Next()
		switch kind {
		case html.ErrorToken:
			if z.Err() == io.EOF {
				return nil
			}
			return z.Err()
		case html.CommentToken, html.DoctypeToken:
			continue
		case html.TextToken:
			if skip == 0 {
				t := z.Token()
				if !f(&t) {
					return nil
				}
			}
			continue
		}
		raw, more := z.TagName()
		name, a := string(raw), atom.Lookup(raw)
		if skip != 0 {
			switch {
			case kind == html.StartTagToken:
				within[name]++
				continue
			case kind != html.EndTagToken:
				continue
			case within[name] > 0:
				if within[name]--; a == skip && within[name] == 0 {
					skip = 0
				}
				continue
			case !leaky[skip] || around[name] == 0 || a == atom.P:
				continue
			}
			skip = 0 // it was not closed, and ends with an element around it
		}
		if a == atom.Button && heading != 0 {
			continue
		}
		if dropped[a] {
			if kind == html.StartTagToken {
				skip = a
				clear(within)
				within[name] = 1
			}
			continue
		}
		switch kind {
		case html.StartTagToken:
			around[name]++
			if !inline[a] {
				if heading = 0; headings[a] {
					heading = a
				}
			}
		case html.EndTagToken:
			around[name] = max(0, around[name]-1)
			if a == heading {
				heading = 0
			}
		}
		t := html.Token{Type: kind, DataAtom: a, Data: name}
		if other := instead[a]; other != "" {
			t.DataAtom, t.Data = atom.Lookup([]byte(other)), other
		}
		for n := 0; more && n < 100; n++ {
			var key, value []byte
			key, value, more = z.TagAttr()
			if kept[string(key)] && len(value) < 4096 && (t.Data != "span" || a == atom.Span || shown[string(key)]) {
				t.Attr = append(t.Attr, html.Attribute{Key: string(key), Val: string(value)})
			}
		}
		if !f(&t) {
			return nil
		}
	}
}

// deeper reports whether a tree is deeper than a limit, without recursion.
func deeper(n *html.Node, limit int) bool {
	depth := 0
	for top := n; n != nil; {
		switch {
		case n.FirstChild != nil:
			n = n.FirstChild
			if depth++; depth > limit {
				return true
			}
			continue
		}
		for n != nil && n.NextSibling == nil {
			if n == top {
				return false
			}
			n = n.Parent
			depth--
			if n == top {
				return false
			}
		}
		if n != nil {
			n = n.NextSibling
		}
	}
	return false
}

// Flat returns the text of a page of any size and depth, with its block elements as paragraphs and nothing else of structure.
// Paragraphs are added to add until it returns false.
func Flat(page string, add func(paragraph string) bool) {
	var b strings.Builder
	more := true
	flush := func() {
		if more && strings.TrimSpace(b.String()) != "" {
			more = add(b.String())
		}
		b.Reset()
	}
	_ = tokens(page, func(t *html.Token) bool {
		switch {
		case t.Type == html.TextToken:
			if b.Len()+len(t.Data) > MaxText { // what is still taken is over the limit all the same
				flush()
			}
			b.WriteString(strings.ReplaceAll(t.Data, "\n", " "))
		case t.DataAtom == atom.Br:
			b.WriteByte('\n')
		case !inline[t.DataAtom]:
			flush()
		}
		return more
	})
	flush()
}
