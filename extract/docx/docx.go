// Package docx turns documents of Word and its kin (DOCX, DOCM, DOTX) into Markdown text. Macros are never run and nothing that a
// document refers to is fetched.
package docx

import (
	"bytes"
	"context"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/docmeta"
	"github.com/llmemory/llmemory/internal/mdtext"
	"github.com/llmemory/llmemory/internal/ooxml"
	"github.com/llmemory/llmemory/internal/xmlwalk"
)

// Extractor reads DOCX: headings by outline level, of the paragraph or of a style it inherits from, with their numbers; lists with the
// numbers they show; tables; links; footnotes, endnotes and comments at the end of their section; text boxes after their paragraph;
// equations on a line; headers at the beginning and footers at the end, once each. Tracked insertions are text, tracked deletions
// are not. Tables of contents and hidden text are left out; pictures become their alternative text.
type Extractor struct{}

// Extract implements [extract.Extractor].
func (Extractor) Extract(ctx context.Context, in extract.Input) (extract.Text, error) {
	return ooxml.Read(ctx, in, func(pkg *ooxml.Package) (extract.Text, error) {
		d := &document{pkg: pkg, langs: map[string]int{}, labels: map[string]int{}}
		d.w.Max = in.MaxBytes
		if err := d.read(); err != nil {
			return extract.Text{}, err
		}
		warnings, err := d.handOn(ctx, in)
		if err != nil {
			return extract.Text{}, err
		}
		text := extract.Text{Type: "docx", Format: "docx", Markup: "markdown", Language: d.language(), Warnings: warnings}
		text.Content, err = d.w.Text("an empty document, or one of pictures")
		if errors.Is(err, extract.ErrNoText) && len(d.chunks) > 0 && in.Part != nil {
			text.Container, err = true, nil
		}
		return text, err
	})
}

// handOn hands on, as documents of their own, the parts in other formats that stand in the text, as programs that make documents of
// web pages write them; the warnings name those that are left out.
func (d *document) handOn(ctx context.Context, in extract.Input) (warnings []string, err error) {
	for _, part := range d.chunks {
		raw, err := d.pkg.Content(part)
		switch {
		case err != nil:
			return nil, err
		case raw == nil:
		case in.Part == nil:
			warnings = append(warnings, "left out: a part in another format, "+path.Base(part))
		default:
			if err := in.Part(extract.Within(ctx), extract.Input{Reader: bytes.NewReader(raw), Name: path.Base(part), MaxBytes: in.MaxBytes, Part: in.Part}); err != nil {
				return nil, err
			}
		}
	}
	return warnings, nil
}

// style is what a style says of its paragraphs.
type style struct {
	name, based string
	outline     int // -1 for none
	num         string
	level       int // of the list, -1 for none
	hidden      bool
}

// document is what is known of a document while it is read.
type document struct {
	pkg       *ooxml.Package
	w         mdtext.Writer
	styles    map[string]*style
	standard  string // the style of paragraphs that name none
	numbering *numbering
	notes     map[string]string // texts of footnotes, endnotes and comments by kind and id
	labels    map[string]int    // notes referred to, by kind
	lang      [3]string         // of the document: western, East Asian, right to left
	langs     map[string]int    // letters in each language
	chunks    []string          // parts in other formats that stand in the text
}

func (d *document) read() error {
	main, err := d.pkg.Main("word/document.xml")
	if err != nil {
		return err
	}
	rels, err := d.pkg.Relations(main)
	if err != nil {
		return err
	}
	part := func(kind string) string {
		for _, rel := range rels {
			if rel.Kind == kind && !rel.External {
				return rel.Target
			}
		}
		return ""
	}
	if err := d.readStyles(part("styles")); err != nil {
		return err
	}
	if d.numbering, err = readNumbering(d.pkg, part("numbering")); err != nil {
		return err
	}
	d.notes = map[string]string{}
	for _, kind := range []string{"comments", "footnotes", "endnotes"} { // which notes may have, too
		if err := d.readNotes(part(kind), strings.TrimSuffix(kind, "s")); err != nil {
			return err
		}
	}
	headers, err := d.edges(rels, "header")
	if err != nil {
		return err
	}
	for _, text := range headers {
		d.w.Paragraph(text)
	}
	if err := d.walk(main, func(r *xmlwalk.Reader, targets map[string]string) error {
		s := &story{document: d, targets: targets, out: &d.w}
		return r.Each(func(xmlwalk.Element) error {
			return r.Each(func(e xmlwalk.Element) error {
				if e.Tag != "w:body" {
					return nil
				}
				return s.blocks(r)
			})
		})
	}); err != nil {
		return err
	}
	footers, err := d.edges(rels, "footer")
	if err != nil {
		return err
	}
	d.w.EndList()
	d.w.FlushNotes()
	for _, text := range footers {
		d.w.Paragraph(text)
	}
	return nil
}

// walk reads a part that has links.
func (d *document) walk(part string, f func(r *xmlwalk.Reader, targets map[string]string) error) error {
	if part == "" {
		return nil
	}
	rels, err := d.pkg.Relations(part)
	if err != nil {
		return err
	}
	targets := map[string]string{}
	for _, rel := range rels {
		if rel.External && rel.Kind == "hyperlink" || rel.Kind == "diagramData" || rel.Kind == "chart" || rel.Kind == "aFChunk" && !rel.External {
			targets[rel.ID] = rel.Target
		}
	}
	return d.pkg.Walk(part, func(r *xmlwalk.Reader) error { return f(r, targets) })
}

// edges returns the different texts of the headers, or of the footers.
func (d *document) edges(rels []ooxml.Relation, kind string) ([]string, error) {
	var out []string
	for _, rel := range rels {
		if rel.Kind != kind || rel.External {
			continue
		}
		var l mdtext.Lines
		if err := d.walk(rel.Target, func(r *xmlwalk.Reader, targets map[string]string) error {
			s := &story{document: d, targets: targets, out: &l}
			return r.Each(func(xmlwalk.Element) error { return s.blocks(r) })
		}); err != nil {
			return nil, err
		}
		if text := l.String(); text != "" && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out, nil
}

// readNotes reads the footnotes, endnotes or comments.
func (d *document) readNotes(part, kind string) error {
	return d.walk(part, func(r *xmlwalk.Reader, targets map[string]string) error {
		return r.Each(func(xmlwalk.Element) error {
			return r.Each(func(e xmlwalk.Element) error {
				if t := e.Get("type"); t != "" && t != "normal" { // separators
					return nil
				}
				var l mdtext.Lines
				s := &story{document: d, targets: targets, out: &l}
				err := s.blocks(r)
				text := l.String()
				if kind == "comment" && text != "" {
					who := "Comment"
					if author := mdtext.OneLine(e.Get("author")); author != "" {
						who += " by " + author
					}
					text = who + ": " + text
				}
				d.notes[kind+e.Get("w:id")] = text
				return err
			})
		})
	})
}

// ref returns the reference to a note, and has the note written at the end of the section.
func (d *document) ref(kind, id string) string {
	text := d.notes[kind+id]
	if text == "" {
		return ""
	}
	delete(d.notes, kind+id)
	prefix := map[string]string{"footnote": "", "endnote": "e", "comment": "c"}[kind]
	d.labels[kind]++
	label := prefix + strconv.Itoa(d.labels[kind])
	d.w.Note(label, text)
	return mdtext.Ref(label)
}

func (d *document) readStyles(part string) error {
	d.styles = map[string]*style{}
	if part == "" {
		return nil
	}
	return d.pkg.Walk(part, func(r *xmlwalk.Reader) error {
		return r.Each(func(xmlwalk.Element) error {
			return r.Each(func(e xmlwalk.Element) error {
				switch e.Tag {
				case "w:docDefaults":
					return d.defaults(r)
				case "w:style":
					return d.readStyle(r, e)
				}
				return nil
			})
		})
	})
}

// defaults reads the languages of the document.
func (d *document) defaults(r *xmlwalk.Reader) error {
	return r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "w:rPrDefault", "w:rPr":
			return d.defaults(r)
		case "w:lang":
			d.lang = [3]string{e.Get("val"), e.Get("eastAsia"), e.Get("bidi")}
		}
		return nil
	})
}

func (d *document) readStyle(r *xmlwalk.Reader, e xmlwalk.Element) error {
	s := &style{outline: -1, level: -1}
	id := e.Get("styleId")
	if e.Get("type") == "paragraph" && e.Get("default") == "1" {
		d.standard = id
	}
	d.styles[id] = s
	return r.Each(func(c xmlwalk.Element) error {
		switch c.Tag {
		case "w:name":
			s.name = strings.ToLower(c.Get("val"))
		case "w:basedOn":
			s.based = c.Get("val")
		case "w:pPr":
			return r.Each(func(p xmlwalk.Element) error {
				switch p.Tag {
				case "w:outlineLvl":
					s.outline = atoi(p.Get("val"), -1)
				case "w:numPr":
					return r.Each(func(n xmlwalk.Element) error {
						switch n.Tag {
						case "w:numId":
							s.num = n.Get("val")
						case "w:ilvl":
							s.level = atoi(n.Get("val"), 0)
						}
						return nil
					})
				}
				return nil
			})
		case "w:rPr":
			return r.Each(func(p xmlwalk.Element) error {
				if p.Tag == "w:vanish" {
					s.hidden = on(p)
				}
				return nil
			})
		}
		return nil
	})
}

// inherited goes from a style to those it is based on until f returns true.
func (d *document) inherited(id string, f func(s *style) bool) {
	for range 50 {
		s := d.styles[id]
		if s == nil || f(s) {
			return
		}
		id = s.based
	}
}

// hides tells whether a style hides its text.
func (d *document) hides(id string) (hidden bool) {
	d.inherited(id, func(s *style) bool {
		hidden = s.hidden
		return hidden
	})
	return hidden
}

// language returns that of most of the text.
func (d *document) language() string {
	best, most := "", 0
	for lang, n := range d.langs {
		if n > most || n == most && lang < best {
			best, most = lang, n
		}
	}
	return docmeta.Language(best)
}
