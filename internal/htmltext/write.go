package htmltext

import (
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/llmemory/llmemory/internal/docmeta"
	"github.com/llmemory/llmemory/internal/mdtext"
)

// Options say what of a page is written.
type Options struct {
	Whole bool     // all of the body, not its main content alone
	Base  *url.URL // what links are relative to; without it, and without a base element, a relative link is only its text
	// Keep tells, for a link's target as it stands in the page, what to write instead; "" for no link. Nil resolves it.
	Keep func(target string) string
}

// Meta is what a page says of itself.
type Meta struct {
	Title, Author, Language string
	Date                    time.Time
}

// Write writes a page that [Parse] has parsed.
func Write(w *mdtext.Writer, doc *html.Node, o Options) {
	c := &converter{w: w, o: o}
	if base := find(doc, func(n *html.Node) bool { return n.DataAtom == atom.Base && attr(n, "href") != "" }); base != nil {
		if u, err := url.Parse(strings.TrimSpace(attr(base, "href"))); err == nil {
			if c.o.Base != nil {
				u = c.o.Base.ResolveReference(u)
			}
			if u.IsAbs() {
				c.o.Base = u
			}
		}
	}
	root := doc
	if o.Whole {
		if body := find(doc, func(n *html.Node) bool { return n.DataAtom == atom.Body }); body != nil {
			root = body
		}
		c.out = map[*html.Node]bool{}
		c.cleanHidden(root)
		c.measure(root)
	} else {
		root = c.main(doc)
	}
	c.blocks(root)
	c.flush()
}

// Of returns what a page says of itself.
func Of(doc *html.Node) (m Meta) {
	if root := find(doc, func(n *html.Node) bool { return n.DataAtom == atom.Html }); root != nil {
		if m.Language = docmeta.Language(attr(root, "lang")); m.Language == "" {
			m.Language = docmeta.Language(attr(root, "xml:lang"))
		}
	}
	head := find(doc, func(n *html.Node) bool { return n.DataAtom == atom.Head })
	if head == nil {
		return m
	}
	if title := find(head, func(n *html.Node) bool { return n.DataAtom == atom.Title }); title != nil {
		m.Title = mdtext.OneLine(plain(title, nil))
	}
	found := map[string]string{}
	for n := head.FirstChild; n != nil; n = n.NextSibling {
		if n.DataAtom == atom.Meta {
			key := strings.ToLower(attr(n, "name"))
			if key == "" {
				key = strings.ToLower(attr(n, "property"))
			}
			if value := mdtext.OneLine(attr(n, "content")); value != "" && found[key] == "" {
				found[key] = value
			}
		}
	}
	first := func(keys ...string) string {
		for _, key := range keys {
			if found[key] != "" {
				return found[key]
			}
		}
		return ""
	}
	if m.Title == "" {
		m.Title = first("og:title", "dc.title", "dcterms.title")
	}
	if m.Author = first("author", "dc.creator", "dcterms.creator", "article:author"); strings.Contains(m.Author, "://") {
		m.Author = ""
	}
	if m.Language == "" {
		m.Language = docmeta.Language(first("content-language", "og:locale", "dc.language", "dcterms.language"))
	}
	for _, key := range []string{"article:modified_time", "article:published_time", "dcterms.modified", "dc.date", "dcterms.date", "dcterms.created", "date"} {
		if m.Date = docmeta.Date(found[key]); !m.Date.IsZero() {
			break
		}
	}
	return m
}

// inline are the elements that stand within a line. An element that is not known is taken for one.
var inline = map[atom.Atom]bool{
	0: true, atom.A: true, atom.Abbr: true, atom.Acronym: true, atom.B: true, atom.Bdi: true, atom.Bdo: true, atom.Big: true, atom.Cite: true,
	atom.Code: true, atom.Data: true, atom.Del: true, atom.Dfn: true, atom.Em: true, atom.Font: true, atom.I: true, atom.Img: true,
	atom.Image: true, atom.Ins: true, atom.Kbd: true, atom.Label: true, atom.Mark: true, atom.Math: true, atom.Meter: true, atom.Nobr: true,
	atom.Output: true, atom.Picture: true, atom.Progress: true, atom.Q: true, atom.Rp: true, atom.Rt: true, atom.Ruby: true, atom.S: true,
	atom.Samp: true, atom.Small: true, atom.Source: true, atom.Span: true, atom.Strike: true, atom.Strong: true, atom.Sub: true,
	atom.Sup: true, atom.Time: true, atom.Tt: true, atom.U: true, atom.Var: true, atom.Wbr: true, atom.Br: true, atom.Input: true, atom.Link: true, atom.Meta: true,
}

// within tells whether an element stands within a line.
func within(n *html.Node) bool { return inline[n.DataAtom] || n.Namespace == "math" }

type converter struct {
	page
	w    *mdtext.Writer
	o    Options
	line strings.Builder // the paragraph that is being read
	list []list          // lists that are open
}

type list struct {
	ordered bool
	next    int
}

// flush writes the paragraph read so far.
func (c *converter) flush() {
	if text := c.line.String(); strings.TrimSpace(text) != "" {
		c.w.Paragraph(squeeze(text))
	}
	c.line.Reset()
}

// squeeze makes one space of each run of white space but line ends.
func squeeze(s string) string {
	var b strings.Builder
	space := false
	for _, r := range s {
		if r != '\n' && unicode.IsSpace(r) {
			space = true
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

// blocks writes what stands in an element.
func (c *converter) blocks(n *html.Node) {
	for child := n.FirstChild; child != nil; child = child.NextSibling {
		c.node(child)
	}
}

// node writes a node, or adds it to the paragraph that is being read.
func (c *converter) node(n *html.Node) {
	switch {
	case c.out[n]:
	case n.Type == html.TextNode:
		text(&c.line, n.Data)
	case n.Type != html.ElementNode || dropped[n.DataAtom]:
	case !within(n):
		c.flush()
		c.block(n)
		c.flush()
	case c.holds[n]: // a link around a card, say
		c.blocks(n)
	default:
		c.inline(&c.line, n)
	}
}

// block writes a block element.
func (c *converter) block(n *html.Node) {
	switch n.DataAtom {
	case atom.Head, atom.Title, atom.Base:
	case atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6:
		c.w.Heading(int(n.Data[1]-'0'), c.text(n))
	case atom.Ul, atom.Menu, atom.Dir, atom.Ol:
		l := list{ordered: n.DataAtom == atom.Ol, next: 1}
		if start, err := strconv.Atoi(attr(n, "start")); err == nil && start >= 0 && start < 1_000_000 {
			l.next = start
		}
		c.list = append(c.list, l)
		c.blocks(n)
		c.flush()
		c.list = c.list[:len(c.list)-1]
	case atom.Li:
		mark := "-"
		if len(c.list) > 0 {
			if l := &c.list[len(c.list)-1]; l.ordered {
				if value, err := strconv.Atoi(attr(n, "value")); err == nil && value >= 0 && value < 1_000_000 {
					l.next = value
				}
				mark = strconv.Itoa(l.next) + "."
				l.next++
			}
		}
		c.item(n, mark)
	case atom.Dd:
		c.item(n, "-")
	case atom.Blockquote:
		c.w.Open("> ", "> ")
		c.blocks(n)
		c.flush()
		c.w.Close()
	case atom.Pre:
		c.pre(n)
	case atom.Table:
		c.table(n)
	case atom.Option, atom.Optgroup:
	default:
		c.blocks(n)
	}
}

// item writes an item of a list. The lists in it follow its text with no empty line between.
func (c *converter) item(n *html.Node, mark string) {
	c.w.OpenItem(mark, false)
	before := c.w.Len()
	for child := n.FirstChild; child != nil; child = child.NextSibling {
		if child.DataAtom == atom.Ul || child.DataAtom == atom.Ol && attr(child, "start") == "" {
			if c.flush(); c.w.Len() > before {
				c.w.Tight()
			}
		}
		c.node(child)
	}
	c.flush()
	c.w.Close()
}

func (c *converter) pre(n *html.Node) {
	language := ""
	for _, m := range []*html.Node{n, find(n, func(n *html.Node) bool { return n.Data == code })} {
		if m == nil {
			continue
		}
		for name := range strings.FieldsSeq(strings.Replace(attr(m, "class"), "sourceCode ", "lang-", 1)) {
			for _, prefix := range []string{"language-", "lang-", "highlight-source-", "brush:"} {
				if l, ok := strings.CutPrefix(name, prefix); ok && language == "" {
					language = l
				}
			}
		}
	}
	c.w.Code(language, plain(n, c.out))
}

// plain returns the text below a node as it is, without what is left out.
func plain(n *html.Node, out map[*html.Node]bool) string {
	var b strings.Builder
	var walk func(n *html.Node)
	walk = func(n *html.Node) {
		for child := n.FirstChild; child != nil; child = child.NextSibling {
			switch {
			case out[child]:
			case child.Type == html.TextNode:
				b.WriteString(child.Data)
			case child.DataAtom == atom.Br:
				b.WriteByte('\n')
			default:
				walk(child)
				if child.DataAtom == atom.Div || child.DataAtom == atom.P {
					b.WriteByte('\n')
				}
			}
		}
	}
	walk(n)
	return b.String()
}

// text adds the text of a node. Line ends in a page's source are only spaces.
func text(b *strings.Builder, s string) {
	if strings.ContainsAny(s, "\n\r\u00ad\u200b") {
		s = strings.NewReplacer("\n", " ", "\r", " ", "\u00ad", "", "\u200b", "").Replace(s)
	}
	b.WriteString(s)
}

// inline adds an element within a line.
func (c *converter) inline(b *strings.Builder, n *html.Node) {
	if c.out[n] || dropped[n.DataAtom] {
		return
	}
	switch n.DataAtom {
	case atom.Br:
		b.WriteByte('\n')
	case atom.Img, atom.Image:
		text(b, attr(n, "alt"))
	case atom.Input:
		switch strings.ToLower(attr(n, "type")) {
		case "checkbox":
			if len(c.list) == 0 {
				break
			}
			mark := "[ ] "
			for _, a := range n.Attr {
				if a.Key == "checked" {
					mark = "[x] "
				}
			}
			b.WriteString(mark)
		case "", "text", "email", "tel", "url", "number", "date":
			text(b, attr(n, "value"))
		}
	case atom.A:
		var inner strings.Builder
		c.inlines(&inner, n)
		s := squeeze(inner.String())
		if attr(n, "role") == "doc-backlink" {
			return
		}
		if strings.Contains(attr(n, "epub:type"), "noteref") || attr(n, "role") == "doc-noteref" {
			b.WriteString(noteMark(s))
			return
		}
		if target := c.target(attr(n, "href")); target != "" {
			s = mdtext.Link(s, target)
		}
		b.WriteString(s)
	case 0, atom.Kbd, atom.Samp:
		var inner strings.Builder
		c.inlines(&inner, n)
		if s := inner.String(); n.Data == code && strings.TrimSpace(s) != "" && !strings.ContainsAny(s, "`[\n") {
			b.WriteString("`" + s + "`")
		} else {
			b.WriteString(s)
		}
	case atom.Q:
		b.WriteString("“")
		c.inlines(b, n)
		b.WriteString("”")
	case atom.Sup:
		var inner strings.Builder
		c.inlines(&inner, n)
		s := inner.String()
		if has(n, atom.A) {
			s = noteMark(s)
		} else {
			s = mdtext.Superscript(b.String(), s)
		}
		b.WriteString(s)
	case atom.Rt:
		var inner strings.Builder
		c.inlines(&inner, n)
		if s := strings.TrimSpace(inner.String()); s != "" {
			b.WriteString("(" + s + ")")
		}
	case atom.Rp:
	case atom.Math:
		text(b, formula(n))
	default:
		c.inlines(b, n)
	}
}

// noteMark sets the mark of a note apart from the word before it.
func noteMark(s string) string {
	mark := strings.Trim(s, "^ \t\r\n")
	for _, r := range mark {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return s
		}
	}
	if mark == "" || len(mark) > 8 {
		return s
	}
	return "[" + mark + "]"
}

// inlines adds what stands in an element, blocks in it parted by spaces.
func (c *converter) inlines(b *strings.Builder, n *html.Node) {
	for child := n.FirstChild; child != nil; child = child.NextSibling {
		switch {
		case child.Type == html.TextNode:
			text(b, child.Data)
		case child.Type != html.ElementNode || c.out[child]:
		case within(child):
			c.inline(b, child)
		case dropped[child.DataAtom]:
		case child.DataAtom == atom.Table:
			t := c.grid(child)
			b.WriteString(" " + t.Inline() + " ")
		case child.DataAtom == atom.Li:
			b.WriteString(" • ")
			c.inlines(b, child)
			b.WriteByte(' ')
		case child.DataAtom == atom.Head || child.DataAtom == atom.Option:
		default:
			b.WriteByte(' ')
			c.inlines(b, child)
			b.WriteByte(' ')
		}
	}
}

// text returns an element's text on one line, without links.
func (c *converter) text(n *html.Node) string {
	plain := *c
	plain.o.Keep = func(string) string { return "" }
	var b strings.Builder
	plain.inlines(&b, n)
	return mdtext.OneLine(b.String())
}

// target resolves a link.
func (c *converter) target(href string) string {
	href = strings.TrimSpace(href)
	if c.o.Keep != nil {
		return c.o.Keep(href)
	}
	if href == "" || href[0] == '#' {
		return ""
	}
	u, err := url.Parse(href)
	if err != nil {
		return ""
	}
	if !u.IsAbs() {
		if c.o.Base == nil {
			return ""
		}
		u = c.o.Base.ResolveReference(u)
	}
	return u.String()
}

// table writes a table, or what stands in its cells one after the other if it only lays out the page.
func (c *converter) table(n *html.Node) {
	if c.layout(n) {
		c.blocks(n)
		return
	}
	for child := n.FirstChild; child != nil; child = child.NextSibling {
		if child.DataAtom == atom.Caption && !c.out[child] {
			c.w.Paragraph(c.text(child))
		}
	}
	c.w.Table(c.grid(n))
}

// layout reports whether a table holds no data: it says so, or blocks stand in it that no cell of a table holds.
func (c *converter) layout(n *html.Node) bool {
	switch attr(n, "role") {
	case "presentation", "none":
		return true
	}
	layout, data, cells, nested, large := false, false, 0, 0, 0
	var walk func(n *html.Node)
	walk = func(n *html.Node) {
		for child := n.FirstChild; child != nil; child = child.NextSibling {
			if c.out[child] || child.Type != html.ElementNode {
				continue
			}
			switch child.DataAtom {
			case atom.Table:
				nested++
				continue
			case atom.Th, atom.Caption, atom.Thead:
				data = true
			case atom.Td:
				if cells++; c.size[child] > 1500 {
					large++
				}
			case atom.H1, atom.H2, atom.H3, atom.Pre, atom.Blockquote, atom.Article, atom.Section, atom.Main, atom.Form:
				layout = true
			}
			walk(child)
		}
	}
	walk(n)
	switch {
	case layout || large > 0 && large*3 >= cells:
		return true
	case data:
		return false
	default:
		return nested > 0 && nested*2 >= cells
	}
}

// grid reads the cells of a table.
func (c *converter) grid(n *html.Node) *mdtext.Table {
	t := &mdtext.Table{}
	var rows func(n *html.Node)
	rows = func(n *html.Node) {
		for child := n.FirstChild; child != nil; child = child.NextSibling {
			if child.Type != html.ElementNode || c.out[child] {
				continue
			}
			switch child.DataAtom {
			case atom.Tr:
				t.Row()
				for cell := child.FirstChild; cell != nil; cell = cell.NextSibling {
					if (cell.DataAtom == atom.Td || cell.DataAtom == atom.Th) && !c.out[cell] {
						var b strings.Builder
						c.inlines(&b, cell)
						t.Cell(b.String(), span(cell, "colspan"), span(cell, "rowspan"))
					}
				}
			case atom.Thead, atom.Tbody, atom.Tfoot:
				rows(child)
			}
		}
	}
	rows(n)
	return t
}

func span(n *html.Node, key string) int {
	v, _ := strconv.Atoi(strings.TrimSpace(attr(n, key)))
	return v
}
