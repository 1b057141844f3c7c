// Package htmltext turns HTML into Markdown text: it decodes, parses with bounds, finds the main content of a page, and writes
// it with headings, lists, tables, links and code. Scripts are never run and nothing is fetched.
package htmltext

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"golang.org/x/net/html/charset"
)

// MaxText is how many bytes of text a page may have.
const MaxText = 24 << 20

const (
	maxTags  = 400_000 // elements of a page that is parsed as a tree; a longer one is read tag by tag
	maxDepth = 400     // of the tree
	maxSlim  = MaxText // bytes of text and tags that are parsed as a tree
)

// Decode returns a page as UTF-8. The encoding is that of the byte order mark, of media (a MIME type with a charset, may be
// empty), or of the page's own meta element, in this order; a page that is valid UTF-8 is not taken for Latin-1.
func Decode(raw []byte, media string) string {
	enc, name, sure := charset.DetermineEncoding(raw[:min(len(raw), 4096)], media)
	if !sure {
		if e, n := charset.Lookup(declared(raw)); e != nil {
			enc, name = e, n
		}
	}
	switch {
	case name == "utf-8", name == "windows-1252" && utf8.Valid(raw):
	case name == "replacement":
	default:
		if decoded, err := enc.NewDecoder().Bytes(raw); err == nil {
			raw = decoded
		}
	}
	raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
	return strings.ReplaceAll(strings.ToValidUTF8(string(raw), "\ufffd"), "\x00", "")
}

// declared returns the encoding that an XML declaration names.
func declared(raw []byte) string {
	head, _, ok := strings.Cut(string(raw[:min(len(raw), 200)]), "?>")
	if !ok || !strings.HasPrefix(head, "<?xml") {
		return ""
	}
	_, rest, _ := strings.Cut(head, "encoding=")
	if len(rest) < 2 {
		return ""
	}
	label, _, _ := strings.Cut(rest[1:], rest[:1])
	return label
}

// XHTML writes a page of XHTML as HTML has it: an element that is empty there, such as <title/>, would hold all the rest here.
func XHTML(page string) string {
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

// kept are the attributes that tell something of the text.
var kept = map[string]bool{
	"href": true, "alt": true, "class": true, "id": true, "role": true, "colspan": true, "rowspan": true, "start": true, "lang": true,
	"xml:lang": true, "name": true, "content": true, "property": true, "hidden": true, "aria-hidden": true, "style": true, "type": true,
	"checked": true, "alttext": true, "datetime": true, "itemprop": true, "encoding": true, "value": true, "aria-modal": true,
	"epub:type": true, "reversed": true, "rel": true, "hreflang": true,
}

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

// tokens calls f with each token outside of dropped elements until f returns false.
func tokens(page string, f func(t *html.Token) bool) error {
	z := html.NewTokenizer(strings.NewReader(page))
	z.SetMaxBuf(1 << 28)
	var skip atom.Atom
	depth := 0
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
		name, more := z.TagName()
		a := atom.Lookup(name)
		if skip != 0 {
			if a == skip {
				switch kind {
				case html.StartTagToken:
					depth++
				case html.EndTagToken:
					if depth--; depth == 0 {
						skip = 0
					}
				}
			}
			continue
		}
		if dropped[a] {
			if kind == html.StartTagToken {
				skip, depth = a, 1
			}
			continue
		}
		t := html.Token{Type: kind, DataAtom: a, Data: string(name)}
		if a == atom.Xmp || a == atom.Plaintext || a == atom.Listing {
			t.DataAtom, t.Data = atom.Pre, "pre"
		}
		for n := 0; more && n < 100; n++ {
			var key, value []byte
			key, value, more = z.TagAttr()
			if kept[string(key)] && len(value) < 4096 {
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
