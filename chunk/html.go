package chunk

import (
	"bytes"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// blockTags are those that begin a block, with the border before it.
var blockTags = map[atom.Atom]strength{
	atom.P: blockStrength, atom.Div: blockStrength, atom.Section: blockStrength, atom.Article: gapStrength, atom.Aside: blockStrength,
	atom.Header: blockStrength, atom.Footer: blockStrength, atom.Nav: blockStrength, atom.Main: gapStrength, atom.Body: gapStrength,
	atom.Blockquote: blockStrength, atom.Pre: blockStrength, atom.Figure: blockStrength, atom.Figcaption: lineStrength,
	atom.Form: blockStrength, atom.Fieldset: blockStrength, atom.Details: blockStrength, atom.Summary: lineStrength,
	atom.Table: blockStrength, atom.Caption: closerStrength, atom.Tr: lineStrength,
	atom.Ul: blockStrength, atom.Ol: blockStrength, atom.Dl: blockStrength, atom.Li: itemStrength, atom.Dt: itemStrength,
	atom.Dd: sentenceStrength, atom.Hr: gapStrength, atom.Script: blockStrength, atom.Style: blockStrength, atom.Title: blockStrength,
	atom.H1: headingStrength + 5, atom.H2: headingStrength + 4, atom.H3: headingStrength + 3, atom.H4: headingStrength + 2,
	atom.H5: headingStrength + 1, atom.H6: headingStrength,
}

// levels are those of headings.
var levels = map[atom.Atom]int{atom.H1: 1, atom.H2: 2, atom.H3: 3, atom.H4: 4, atom.H5: 5, atom.H6: 6}

// html cuts HTML at the beginnings of blocks, as the tokens of the parser tell them. Tags belong to the text; those that end a block
// stay with it. A row of table heads is the last of the headings of the rows after it.
func (b *builder) html() error {
	w := web{document: document{builder: b}, open: cell{region: region{strength: blockStrength, split: b.prose}}}
	z := html.NewTokenizer(strings.NewReader(b.text))
	for at, n := 0, 0; ; n++ {
		kind := z.Next()
		if kind == html.ErrorToken { // the end: a reader of a string has no other error
			if err := w.emit(len(b.text)); err != nil {
				return err
			}
			return b.release(len(b.text))
		}
		if n%4096 == 0 {
			if err := b.ctx.Err(); err != nil {
				return err
			}
		}
		start := at
		at += len(z.Raw())
		if err := w.token(kind, z, start); err != nil {
			return err
		}
	}
}

// web is HTML as it is being read.
type web struct {
	document
	open    cell
	text    bool            // whether there is text in the block that is open
	closed  bool            // whether a table ended in it
	heading strings.Builder // the text of the heading that is open
	titled  bool            // whether text is that of a heading
	heads   []string        // the table heads of the row that is open
	th      *strings.Builder
	head    string // that of the table that is open
	noted   string // the one that is the last of the headings in force
}

// cell is a block, and the head of the table that it is a row of.
type cell struct {
	region
	head string
}

func (w *web) token(kind html.TokenType, z *html.Tokenizer, start int) error {
	switch kind {
	case html.TextToken:
		if raw := z.Raw(); len(bytes.TrimSpace(raw)) == 0 {
			return nil
		}
		if w.closed {
			if err := w.begin(cell{region: region{start: start, strength: blockStrength, split: w.prose}}); err != nil {
				return err
			}
		}
		w.text = true
		if text := z.Text(); w.titled && w.heading.Len() < 4*maxTitleBytes {
			w.heading.Write(text[:min(len(text), 4*maxTitleBytes)])
		} else if w.th != nil && w.th.Len() < 4*maxHeadBytes {
			w.th.Write(text[:min(len(text), 4*maxHeadBytes)])
		}
	case html.StartTagToken, html.SelfClosingTagToken:
		name, _ := z.TagName()
		tag := atom.Lookup(name)
		s, is := blockTags[tag]
		switch {
		case is:
			r := cell{region: region{start: start, strength: s, split: w.prose, level: levels[tag]}}
			switch tag {
			case atom.Pre, atom.Script, atom.Style:
				r.split = w.code
			case atom.Table:
				w.head, w.heads = "", nil
			case atom.Tr:
				if len(w.heads) > 0 {
					w.head, w.heads = columns(w.heads), nil
				}
				r.head = w.head
			}
			return w.begin(r)
		case tag == atom.Th:
			w.th = &strings.Builder{}
		case tag == atom.Br && w.titled:
			w.heading.WriteByte(' ')
		case tag == atom.Br && w.th != nil:
			w.th.WriteByte(' ')
		case tag == atom.Img, tag == atom.Svg, tag == atom.Video, tag == atom.Audio, tag == atom.Input:
			w.text = true // there is something to see
		}
	case html.EndTagToken:
		name, _ := z.TagName()
		switch tag := atom.Lookup(name); {
		case tag == atom.Th && w.th != nil:
			if w.head == "" {
				w.heads = append(w.heads, strings.ToValidUTF8(w.th.String(), ""))
			}
			w.th = nil
		case tag == atom.Table:
			w.head, w.heads, w.closed = "", nil, true
		case levels[tag] > 0:
			w.titled = false
		}
	}
	return nil
}

// begin opens a block, which goes on with the one that is open if there is no text in that.
func (w *web) begin(c cell) error {
	if w.text {
		if err := w.emit(c.start); err != nil {
			return err
		}
		w.open = c
	} else {
		c.start, c.strength = w.open.start, max(c.strength, w.open.strength)
		w.open = c
	}
	w.text, w.closed, w.titled = false, false, c.level > 0
	w.heading.Reset()
	return nil
}

// emit adds the block that is open.
func (w *web) emit(end int) error {
	c := w.open
	if c.level > 0 {
		c.title = brief(strings.Join(strings.Fields(strings.ToValidUTF8(w.heading.String(), "")), " "), maxTitleBytes)
	}
	if c.head != w.noted {
		w.noted = c.head
		if c.head == "" {
			w.note(c.start, w.path)
		} else {
			w.note(c.start, w.under(c.start, c.head))
		}
	}
	return w.add([]region{c.region}, end)
}
