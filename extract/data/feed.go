package data

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"strings"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/docmeta"
	"github.com/llmemory/llmemory/internal/htmltext"
	"github.com/llmemory/llmemory/internal/mdtext"
)

// item is a feed, or an entry of one.
type item struct {
	title, link, author, date, language string
	body                                string // HTML
	full                                bool   // body is the whole and not a summary
}

// feed reads an RSS, RDF or Atom feed, whose root has been read.
func feed(ctx context.Context, r *reader, maxBytes int, t *extract.Text) error {
	w := &mdtext.Writer{Max: maxBytes}
	top := &item{}
	current := top
	told := false // the feed's own title and description have been written
	tell := func() {
		if told {
			return
		}
		told = true
		t.Title, t.Author, t.Language, t.Date = squeeze(plainText(top.title)), squeeze(top.author), docmeta.Language(top.language), docmeta.Date(top.date)
		w.Heading(1, t.Title)
		body(w, top.body)
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if w.Full() {
			return fmt.Errorf("%w: must be at most %d bytes of text", extract.ErrTooLarge, maxBytes)
		}
		token, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch token := token.(type) {
		case xml.StartElement:
			switch token.Name.Local {
			case "item", "entry":
				tell()
				current = &item{}
				continue
			case "channel", "image", "textInput":
				continue
			}
			if within(r.open[:len(r.open)-1], "image", "textInput") {
				continue
			}
			if err := current.field(r, token); err != nil {
				return err
			}
		case xml.EndElement:
			if token.Name.Local == "item" || token.Name.Local == "entry" {
				current.write(w)
				current = top
			}
		}
	}
	tell()
	t.Content = w.String()
	if w.Full() {
		return fmt.Errorf("%w: must be at most %d bytes of text", extract.ErrTooLarge, maxBytes)
	}
	return nil
}

func within(open []string, names ...string) bool {
	for _, o := range open {
		for _, n := range names {
			if o == n {
				return true
			}
		}
	}
	return false
}

// field reads one element of a feed or an entry, to its end.
func (i *item) field(r *reader, e xml.StartElement) error {
	attr := map[string]string{}
	for _, a := range e.Attr {
		attr[a.Name.Local] = a.Value
	}
	markup := attr["type"] == "xhtml"
	s, err := r.inner(markup)
	if err != nil {
		return err
	}
	first := func(field *string, value string) {
		if *field == "" {
			*field = strings.TrimSpace(value)
		}
	}
	switch e.Name.Local {
	case "title":
		first(&i.title, s)
	case "link":
		if href := attr["href"]; href != "" {
			if rel := attr["rel"]; rel == "" || rel == "alternate" {
				first(&i.link, href)
			}
		} else {
			first(&i.link, s)
		}
	case "author", "creator", "managingEditor":
		first(&i.author, s)
	case "pubDate", "published", "updated", "lastBuildDate", "date":
		first(&i.date, s)
	case "language":
		first(&i.language, s)
	case "encoded", "content":
		if attr["type"] == "text" {
			s = html.EscapeString(s)
		}
		if strings.TrimSpace(s) != "" && !i.full {
			i.body, i.full = s, true
		}
	case "description", "summary", "subtitle":
		if attr["type"] == "text" {
			s = html.EscapeString(s)
		}
		first(&i.body, s)
	}
	return nil
}

// inner returns what stands in the element whose start was read last, to its end: its text, with the tags if they are wanted.
func (r *reader) inner(tags bool) (string, error) {
	var b strings.Builder
	for depth := len(r.open); ; {
		token, err := r.next()
		if err != nil {
			return "", err
		}
		switch token := token.(type) {
		case xml.StartElement:
			if tags {
				b.WriteString("<" + token.Name.Local)
				for _, a := range token.Attr {
					b.WriteString(" " + a.Name.Local + `="` + html.EscapeString(a.Value) + `"`)
				}
				b.WriteString(">")
			} else if b.Len() > 0 {
				b.WriteByte(' ')
			}
		case xml.EndElement:
			if len(r.open) < depth {
				return b.String(), nil
			}
			if tags {
				b.WriteString("</" + token.Name.Local + ">")
			}
		case xml.CharData:
			if tags {
				b.WriteString(html.EscapeString(string(token)))
			} else {
				b.Write(token)
			}
		}
	}
}

// write writes an entry.
func (i *item) write(w *mdtext.Writer) {
	w.Heading(2, squeeze(plainText(i.title)))
	var about []string
	for _, s := range []string{i.link, i.date, i.author} {
		if s = squeeze(s); s != "" {
			about = append(about, s)
		}
	}
	w.Paragraph(strings.Join(about, " · "))
	body(w, i.body)
}

// body writes what is HTML, or plain text.
func body(w *mdtext.Writer, s string) {
	if !strings.ContainsAny(s, "<&") {
		w.Paragraph(s)
		return
	}
	doc, ok := htmltext.Parse(s)
	if !ok {
		htmltext.Flat(s, func(paragraph string) bool {
			w.Paragraph(paragraph)
			return !w.Full()
		})
		return
	}
	htmltext.Write(w, doc, htmltext.Options{Whole: true})
}

// plainText drops the tags of a title that may be HTML.
func plainText(s string) string {
	if !strings.ContainsAny(s, "<&") {
		return s
	}
	var b strings.Builder
	htmltext.Flat(s, func(paragraph string) bool {
		b.WriteString(paragraph + " ")
		return b.Len() < 10_000
	})
	return b.String()
}
