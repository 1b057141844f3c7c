// Package odf turns documents of LibreOffice and its kin (OpenDocument: ODT, ODS, ODP and their templates) into Markdown text. Macros
// are never run, formulas never computed, and nothing that a document refers to is fetched.
package odf

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/docmeta"
	"github.com/llmemory/llmemory/internal/mdtext"
	"github.com/llmemory/llmemory/internal/safezip"
	"github.com/llmemory/llmemory/internal/sheet"
	"github.com/llmemory/llmemory/internal/xmlwalk"
)

// Extractor reads texts (headings by outline level, with their numbers; lists with theirs; tables; links; footnotes, endnotes and
// comments at the end of their section; text boxes after their paragraph; headers at the beginning and footers at the end, once
// each), sheets as package xlsx has them, and slides as package pptx has them. Tracked deletions, tables of contents and hidden text
// are left out; pictures become their alternative text.
type Extractor struct {
	// MaxCells is how many cells that are not empty are read of a workbook; the rest is left out, with a warning. 0 means 1,000,000.
	MaxCells int
}

var spaces = func() map[string]string {
	m := map[string]string{
		"http://www.w3.org/1999/xlink": "xlink", "http://purl.org/dc/elements/1.1/": "dc", "http://www.w3.org/1998/Math/MathML": "math",
		"urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0": "fo", "urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0": "svg",
		"urn:oasis:names:tc:opendocument:xmlns:drawing:1.0": "draw", "urn:oasis:names:tc:opendocument:xmlns:datastyle:1.0": "number",
	}
	for _, name := range []string{"office", "text", "table", "style", "meta", "presentation", "manifest", "form"} {
		m["urn:oasis:names:tc:opendocument:xmlns:"+name+":1.0"] = name
	}
	return m
}()

// Extract implements [extract.Extractor].
func (x Extractor) Extract(ctx context.Context, in extract.Input) (extract.Text, error) {
	src, err := in.Open(ctx, 0)
	if err != nil {
		return extract.Text{}, err
	}
	defer func() { _ = src.Close() }()
	zip, err := safezip.Open(src, src.Size(), safezip.Limits{})
	if err != nil {
		return extract.Text{}, err
	}
	d := &document{ctx: ctx, zip: zip, styles: map[string]*style{}, lists: map[string]*listStyle{}, labels: map[string]int{}, last: map[string][]int{}}
	d.w.Max = in.MaxBytes
	d.sheets = sheet.Writer{W: &d.w, MaxCells: x.MaxCells}
	if err := d.read(); err != nil {
		return extract.Text{}, err
	}
	text, err := d.text(in)
	if err != nil {
		return extract.Text{}, err
	}
	text.Title, text.Author = d.meta["dc:title"], cmp.Or(d.meta["meta:initial-creator"], d.meta["dc:creator"])
	text.Language, text.Date = cmp.Or(docmeta.Language(d.meta["dc:language"]), d.language), d.date()
	return text, nil
}

// text returns what was read.
func (d *document) text(in extract.Input) (extract.Text, error) {
	if d.format == "ods" {
		return d.sheets.Text(in, "ods")
	}
	const none = "an empty document, or one of pictures"
	content, err := d.w.Text(none)
	if err == nil && !d.found {
		err = fmt.Errorf("%w: %s", extract.ErrNoText, none)
	}
	kind := "docx"
	if d.format == "odp" {
		kind = "presentation"
	}
	return extract.Text{Content: content, Type: cmp.Or(in.Type, kind), Format: d.format, Markup: "markdown", Pages: d.pages}, err
}

type style struct {
	parent  string
	outline int // 0 for none
	hidden  bool
	high    bool // superscript
}

// document is what is known of a document while it is read.
type document struct {
	ctx      context.Context
	zip      *safezip.Archive
	w        mdtext.Writer
	sheets   sheet.Writer
	format   string
	meta     map[string]string
	language string
	styles   map[string]*style
	lists    map[string]*listStyle
	outline  listStyle // numbers of headings
	counts   [10]int   // of headings
	labels   map[string]int
	last     map[string][]int // where the last list of a style stopped counting
	headers  []string
	footers  []string
	pages    []int
	found    bool
	objects  int  // read so far
	within   bool // one of them is being read
}

func (d *document) date() time.Time {
	if t := docmeta.Date(d.meta["dc:date"]); !t.IsZero() {
		return t
	}
	return docmeta.Date(d.meta["meta:creation-date"])
}

// walk reads a part, if it is there, from its root element on.
func (d *document) walk(part string, f func(r *xmlwalk.Reader, root xmlwalk.Element) error) error {
	file := d.zip.File(part)
	if file == nil {
		return nil
	}
	in, err := file.Open()
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // what there was to know of it has been told when it was read
	r := xmlwalk.New(d.ctx, in, spaces)
	if err := r.Each(func(root xmlwalk.Element) error { return f(r, root) }); err != nil {
		return fmt.Errorf("%s: %w", part, err)
	}
	return nil
}

func (d *document) read() error {
	if err := d.walk("META-INF/manifest.xml", func(r *xmlwalk.Reader, _ xmlwalk.Element) error {
		return r.Each(func(xmlwalk.Element) error {
			return r.Each(func(e xmlwalk.Element) error {
				if e.Tag == "manifest:encryption-data" {
					return fmt.Errorf("%w: the document needs a password", extract.ErrEncrypted)
				}
				return nil
			})
		})
	}); err != nil {
		return err
	}
	if d.zip.File("content.xml") == nil {
		return fmt.Errorf("%w: content.xml is missing", extract.ErrDamaged)
	}
	if err := d.walk("meta.xml", d.readMeta); err != nil {
		return err
	}
	if err := d.walk("styles.xml", func(r *xmlwalk.Reader, _ xmlwalk.Element) error { return d.readStyles(r) }); err != nil {
		return err
	}
	if err := d.walk("content.xml", func(r *xmlwalk.Reader, _ xmlwalk.Element) error {
		return r.Each(func(e xmlwalk.Element) error {
			switch e.Tag {
			case "office:automatic-styles":
				return d.readStyle(r)
			case "office:body":
				return d.body(r)
			}
			return nil
		})
	}); err != nil {
		return err
	}
	if d.format != "odt" {
		return nil
	}
	d.w.EndList()
	d.w.FlushNotes()
	for _, text := range d.footers {
		d.w.Paragraph(text)
	}
	return nil
}

func (d *document) readMeta(r *xmlwalk.Reader, _ xmlwalk.Element) error {
	d.meta = map[string]string{}
	return r.Each(func(xmlwalk.Element) error {
		return r.Each(func(e xmlwalk.Element) error {
			switch e.Tag {
			case "dc:title", "dc:creator", "meta:initial-creator", "dc:date", "meta:creation-date", "dc:language":
				s, err := r.Text(4096)
				d.meta[e.Tag] = mdtext.OneLine(strings.ToValidUTF8(s, ""))
				return err
			}
			return nil
		})
	})
}

// body reads the text, the sheets or the slides.
func (d *document) body(r *xmlwalk.Reader) error {
	return r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "office:text":
			d.format = "odt"
			for _, text := range d.headers {
				d.w.Paragraph(text)
			}
			before := d.w.Len()
			err := (&story{document: d, out: &d.w}).blocks(r)
			d.w.EndList()
			d.found = d.w.Len() > before || d.w.Full()
			return err
		case "office:spreadsheet":
			d.format = "ods"
			return d.workbook(r)
		case "office:presentation", "office:drawing":
			d.format = "odp"
			return d.presentation(r)
		}
		return nil
	})
}

// readStyles reads the styles of the document, and the headers and footers of its pages.
func (d *document) readStyles(r *xmlwalk.Reader) error {
	return r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "office:styles", "office:automatic-styles":
			return d.readStyle(r)
		case "office:master-styles":
			return r.Each(func(e xmlwalk.Element) error {
				if e.Tag != "style:master-page" {
					return nil
				}
				return r.Each(func(e xmlwalk.Element) error {
					switch e.Tag {
					case "style:header", "style:header-left", "style:header-first":
						return d.edge(r, &d.headers)
					case "style:footer", "style:footer-left", "style:footer-first":
						return d.edge(r, &d.footers)
					}
					return nil
				})
			})
		}
		return nil
	})
}

// edge reads a header or a footer, unless there is one of the same text already.
func (d *document) edge(r *xmlwalk.Reader, to *[]string) error {
	var l mdtext.Lines
	err := (&story{document: d, out: &l}).blocks(r)
	text := l.String()
	for _, other := range *to {
		if other == text {
			return err
		}
	}
	if text != "" {
		*to = append(*to, text)
	}
	return err
}

// readStyle reads styles.
func (d *document) readStyle(r *xmlwalk.Reader) error {
	return r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "style:default-style":
			if e.Get("style:family") != "paragraph" {
				return nil
			}
			return r.Each(func(e xmlwalk.Element) error {
				if e.Tag == "style:text-properties" {
					d.language = docmeta.Language(e.Get("fo:language"))
				}
				return nil
			})
		case "style:style":
			s := &style{parent: e.Get("style:parent-style-name"), outline: atoi(e.Get("style:default-outline-level"), 0)}
			d.styles[e.Get("style:name")] = s
			return r.Each(func(e xmlwalk.Element) error {
				if e.Tag == "style:text-properties" {
					s.hidden = e.Get("text:display") == "none"
					s.high = strings.HasPrefix(e.Get("style:text-position"), "super")
				}
				return nil
			})
		case "text:list-style":
			l := &listStyle{}
			d.lists[e.Get("style:name")] = l
			return l.read(r)
		case "text:outline-style":
			return d.outline.read(r)
		}
		return nil
	})
}

// inherited goes from a style to its parents until f returns true.
func (d *document) inherited(name string, f func(name string, s *style) bool) {
	for range 50 {
		s := d.styles[name]
		if f(name, s) || s == nil {
			return
		}
		name = s.parent
	}
}
