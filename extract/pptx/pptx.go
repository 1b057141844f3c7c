// Package pptx turns presentations of PowerPoint and its kin (PPTX, PPTM, PPSX) into Markdown text, slide by slide. Macros are never
// run and nothing that a presentation refers to is fetched.
package pptx

import (
	"context"
	"fmt"
	"strconv"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/docmeta"
	"github.com/llmemory/llmemory/internal/mdtext"
	"github.com/llmemory/llmemory/internal/ooxml"
	"github.com/llmemory/llmemory/internal/xmlwalk"
)

// Extractor reads PPTX: the slides in their order, each with its title as a heading ("Slide 3" for one without), its text in the order
// of its shapes, grouped ones too, with lists, tables, charts as tables, diagrams, links and the alternative text of pictures, then
// the speaker's notes and the comments as quotations. Pages has an offset for each slide. Dates, footers and slide numbers of the
// layout are left out.
type Extractor struct{}

// Extract implements [extract.Extractor].
func (Extractor) Extract(ctx context.Context, in extract.Input) (extract.Text, error) {
	return ooxml.Read(ctx, in, func(pkg *ooxml.Package) (extract.Text, error) {
		d := &deck{pkg: pkg, langs: map[string]int{}}
		d.w.Max = in.MaxBytes
		if err := d.read(); err != nil {
			return extract.Text{}, err
		}
		const none = "an empty presentation, or one of pictures"
		content, err := d.w.Text(none)
		if err == nil && !d.found {
			err = fmt.Errorf("%w: %s", extract.ErrNoText, none)
		}
		return extract.Text{Content: content, Type: "presentation", Format: "pptx", Markup: "markdown", Language: d.language(), Pages: d.pages}, err
	})
}

type deck struct {
	pkg   *ooxml.Package
	w     mdtext.Writer
	pages []int
	found bool // any text
	langs map[string]int
}

func (d *deck) read() error {
	main, err := d.pkg.Main("ppt/presentation.xml")
	if err != nil {
		return err
	}
	rels, err := d.pkg.Relations(main)
	if err != nil {
		return err
	}
	targets := map[string]string{}
	for _, rel := range rels {
		if rel.Kind == "slide" && !rel.External {
			targets[rel.ID] = rel.Target
		}
	}
	var slides []string
	if err := d.pkg.Walk(main, func(r *xmlwalk.Reader) error {
		return r.Each(func(xmlwalk.Element) error {
			return r.Each(func(e xmlwalk.Element) error {
				if e.Tag != "p:sldIdLst" {
					return nil
				}
				return r.Each(func(id xmlwalk.Element) error {
					if part := targets[id.Get("r:id")]; part != "" {
						slides = append(slides, part)
					}
					return nil
				})
			})
		})
	}); err != nil {
		return err
	}
	for i, part := range slides {
		d.pages = append(d.pages, d.w.Len())
		if err := d.slide(i+1, part); err != nil {
			return err
		}
		if d.w.Full() {
			return nil
		}
	}
	return nil
}

// slide reads and writes one slide.
func (d *deck) slide(number int, part string) error {
	rels, err := d.pkg.Relations(part)
	if err != nil {
		return err
	}
	s := newSlide(d, rels)
	if err := d.pkg.Walk(part, func(r *xmlwalk.Reader) error { return r.Each(func(xmlwalk.Element) error { return s.tree(r) }) }); err != nil {
		return err
	}
	level := 2
	if s.first {
		level = 1
	}
	title := mdtext.OneLine(s.title)
	d.found = d.found || title != "" || len(s.blocks) > 0
	if title == "" {
		title = "Slide " + strconv.Itoa(number)
	}
	d.w.Heading(level, title)
	s.write(&d.w)
	for _, rel := range rels {
		switch {
		case rel.External:
		case rel.Kind == "notesSlide":
			if err := d.notes(rel.Target); err != nil {
				return err
			}
		case rel.Kind == "comments" || rel.Kind == "comment":
			if err := d.comments(rel.Target); err != nil {
				return err
			}
		}
	}
	d.w.EndList()
	return nil
}

// notes writes what the speaker has noted.
func (d *deck) notes(part string) error {
	rels, err := d.pkg.Relations(part)
	if err != nil {
		return err
	}
	s := newSlide(d, rels)
	s.notes = true
	if err := d.pkg.Walk(part, func(r *xmlwalk.Reader) error { return r.Each(func(xmlwalk.Element) error { return s.tree(r) }) }); err != nil {
		return err
	}
	if len(s.blocks) == 0 {
		return nil
	}
	d.found = true
	d.w.EndList()
	d.w.Open("> ", "> ")
	d.w.Paragraph("Notes:")
	s.write(&d.w)
	d.w.EndList()
	d.w.Close()
	return nil
}

// comments writes the comments on a slide, of the old kind and the new.
func (d *deck) comments(part string) error {
	var texts []string
	if err := d.pkg.Walk(part, func(r *xmlwalk.Reader) error {
		var in func(e xmlwalk.Element) error
		in = func(e xmlwalk.Element) error {
			switch e.Tag {
			case "p:text":
				s, err := r.Text(1 << 16)
				texts = append(texts, s)
				return err
			case "p188:txBody":
				s := newSlide(d, nil)
				err := s.text(r, false)
				for _, b := range s.blocks {
					texts = append(texts, b.text)
				}
				return err
			}
			return r.Each(in)
		}
		return r.Each(in)
	}); err != nil {
		return err
	}
	for _, text := range texts {
		if text = mdtext.OneLine(text); text != "" {
			d.found = true
			d.w.EndList()
			d.w.Open("> ", "> ")
			d.w.Paragraph("Comment: " + text)
			d.w.Close()
		}
	}
	return nil
}

// language returns that of most of the text.
func (d *deck) language() string {
	best, most := "", 0
	for lang, n := range d.langs {
		if n > most || n == most && lang < best {
			best, most = lang, n
		}
	}
	return docmeta.Language(best)
}
