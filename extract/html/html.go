// Package html turns web pages into Markdown text.
package html

import (
	"context"
	"net/url"
	"strings"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/htmltext"
	"github.com/llmemory/llmemory/internal/mdtext"
)

// MaxBytes is the size of the largest page that is read; its text may be of 24 MiB, pictures within it not counted.
const MaxBytes = 40 << 20

// Extractor reads HTML and XHTML. It writes the main content of a page: what its main or article element holds if that is at
// least half of the text, else the whole body; in either case without scripts, forms, navigation, cookie banners and what is
// hidden. Links keep their target where it is absolute, or can be made so by the page's base element or an Input.Name that is
// a URL; pictures become their alternative text.
//
// The encoding is that of the byte order mark, of Input.Media, of the page itself, or the one that its bytes look like, with a warning.
// A page of more than 400,000 elements, or
// nested more than 400 deep, is read as paragraphs without structure, with a warning.
type Extractor struct {
	// Whole takes all of the body instead of the main content.
	Whole bool
}

// Extract implements [extract.Extractor].
func (e Extractor) Extract(ctx context.Context, in extract.Input) (extract.Text, error) {
	src, err := in.Open(ctx, MaxBytes)
	if err != nil {
		return extract.Text{}, err
	}
	defer func() { _ = src.Close() }()
	raw, err := src.Bytes()
	if err != nil {
		return extract.Text{}, err
	}
	page, warnings, err := htmltext.Decode(raw, in.Media)
	if err != nil {
		return extract.Text{}, err
	}
	if strings.HasPrefix(page, "<?xml") {
		page = htmltext.XHTML(page)
	}
	text := extract.Text{Type: "html", Format: "html", Markup: "markdown", Warnings: warnings}
	if in.Type != "" {
		text.Type = in.Type
	}
	if err := ctx.Err(); err != nil {
		return extract.Text{}, err
	}
	w := &mdtext.Writer{Max: in.MaxBytes}
	doc, ok := htmltext.Parse(page)
	if ok {
		m := htmltext.Of(doc)
		text.Title, text.Author, text.Language, text.Date = m.Title, m.Author, m.Language, m.Date
		o := htmltext.Options{Whole: e.Whole}
		if u, err := url.Parse(in.Name); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
			o.Base = u
		}
		htmltext.Write(w, doc, o)
	} else {
		text.Warnings = append(text.Warnings, "page too large or too deeply nested: read without its structure")
		if w.Max <= 0 || w.Max > htmltext.MaxText {
			w.Max = htmltext.MaxText
		}
		htmltext.Flat(page, func(paragraph string) bool {
			w.Paragraph(paragraph)
			return !w.Full() && ctx.Err() == nil
		})
	}
	if err := ctx.Err(); err != nil {
		return extract.Text{}, err
	}
	text.Content, err = w.Text("the page shows none without running its scripts")
	if err != nil {
		return extract.Text{}, err
	}
	return text, nil
}
