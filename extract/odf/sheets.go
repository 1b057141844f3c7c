package odf

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/llmemory/llmemory/internal/mdtext"
	"github.com/llmemory/llmemory/internal/xmlwalk"
)

// workbook reads sheets.
func (d *document) workbook(r *xmlwalk.Reader) error {
	return r.Each(func(e xmlwalk.Element) error {
		if e.Tag != "table:table" || d.sheets.Full() {
			return nil
		}
		d.sheets.Sheet(e.Get("table:name"))
		s := &sheetReader{document: d}
		err := s.rows(r)
		d.sheets.End()
		for _, text := range s.comments {
			d.w.Open("> ", "> ")
			d.w.Paragraph(text)
			d.w.Close()
		}
		return err
	})
}

type sheetReader struct {
	*document
	at       int
	comments []string
}

// value is a cell and how often it stands side by side.
type value struct {
	text   string
	number bool
	col    int
	times  int
}

func (s *sheetReader) rows(r *xmlwalk.Reader) error {
	return r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "table:table-header-rows", "table:table-rows", "table:table-row-group":
			return s.rows(r)
		case "table:shapes":
			p := &paragraph{story: &story{document: s.document, out: &mdtext.Lines{}}}
			err := r.Each(func(xmlwalk.Element) error { return p.drawing(r) })
			for _, box := range p.boxes {
				s.comments = append(s.comments, box.List...)
			}
			return err
		case "table:table-row":
			times := max(1, atoi(e.Get("table:number-rows-repeated"), 1))
			row, err := s.row(r)
			if len(row) == 0 {
				s.at += times
				return err
			}
			for range times {
				if s.sheets.Full() {
					break
				}
				for _, v := range row {
					for i := range v.times {
						s.sheets.Cell(s.at, v.col+i, v.text, v.number)
					}
				}
				s.at++
			}
			return err
		}
		return nil
	})
}

// row returns the cells of a row that are not empty.
func (s *sheetReader) row(r *xmlwalk.Reader) ([]value, error) {
	var row []value
	col := 0
	err := r.Each(func(e xmlwalk.Element) error {
		if e.Tag != "table:table-cell" && e.Tag != "table:covered-table-cell" {
			return nil
		}
		times := max(1, min(atoi(e.Get("table:number-columns-repeated"), 1), 1<<14))
		var l mdtext.Lines
		in := &story{document: s.document, out: &l}
		err := r.Each(func(c xmlwalk.Element) error {
			if c.Tag == "office:annotation" {
				text, err := s.annotation(r)
				if text != "" {
					s.comments = append(s.comments, text)
				}
				return err
			}
			return in.block(r, c)
		})
		in.endCode()
		v := value{text: l.String(), col: col, times: times}
		switch kind := e.Get("office:value-type"); kind {
		case "date":
			v.text, v.number = strings.TrimSuffix(strings.Replace(e.Get("office:date-value"), "T", " ", 1), " 00:00:00"), true
		case "float", "currency", "percentage", "time":
			v.number = true
			if v.text == "" {
				v.text = e.Get("office:value")
			}
		case "boolean":
			v.text = cmp.Or(v.text, strings.ToUpper(e.Get("office:boolean-value")))
		case "string":
			v.text = cmp.Or(v.text, e.Get("office:string-value"))
		}
		if v.text != "" {
			row = append(row, v)
		}
		col += times
		return err
	})
	return row, err
}

// presentation reads slides.
func (d *document) presentation(r *xmlwalk.Reader) error {
	number := 0
	return r.Each(func(e xmlwalk.Element) error {
		if e.Tag != "draw:page" || d.w.Full() {
			return nil
		}
		number++
		d.pages = append(d.pages, d.w.Len())
		s := &slide{document: d}
		if err := s.shapes(r); err != nil {
			return err
		}
		title := mdtext.OneLine(s.title.String())
		d.found = d.found || title != "" || len(s.blocks) > 0 || len(s.notes.List) > 0
		if title == "" {
			title = "Slide " + strconv.Itoa(number)
		}
		d.w.Heading(2, title)
		for _, write := range s.blocks {
			write(&d.w)
		}
		d.w.EndList()
		if len(s.notes.List) > 0 {
			d.w.Open("> ", "> ")
			d.w.Paragraph("Notes:")
			for _, line := range s.notes.List {
				d.w.Paragraph(line)
			}
			d.w.Close()
		}
		for _, text := range s.comments {
			d.w.Open("> ", "> ")
			d.w.Paragraph(text)
			d.w.Close()
		}
		return nil
	})
}

// slide is one that is being read. Its title goes first wherever it stands.
type slide struct {
	*document
	title    mdtext.Lines
	notes    mdtext.Lines
	blocks   []func(w mdtext.Blocks)
	comments []string
}

// Heading, Item, Continue, Paragraph and Table implement [mdtext.Blocks].
func (s *slide) Heading(level int, text string) { s.Paragraph(text) }

// Item keeps an item.
func (s *slide) Item(depth int, mark, text string) {
	s.blocks = append(s.blocks, func(w mdtext.Blocks) { w.Item(depth, mark, text) })
}

// Continue keeps a paragraph of an item.
func (s *slide) Continue(text string) {
	s.blocks = append(s.blocks, func(w mdtext.Blocks) { w.Continue(text) })
}

// Paragraph keeps a paragraph.
func (s *slide) Paragraph(text string) {
	if strings.TrimSpace(text) != "" {
		s.blocks = append(s.blocks, func(w mdtext.Blocks) { w.Paragraph(text) })
	}
}

// Code keeps program text.
func (s *slide) Code(language, text string) {
	s.blocks = append(s.blocks, func(w mdtext.Blocks) { w.Code(language, text) })
}

// Table keeps a table.
func (s *slide) Table(t *mdtext.Table) {
	s.blocks = append(s.blocks, func(w mdtext.Blocks) { w.Table(t) })
}

// shapes reads the shapes of a slide or of a group.
func (s *slide) shapes(r *xmlwalk.Reader) error {
	return r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "presentation:notes":
			return s.content(r, &s.notes, e)
		case "office:annotation":
			text, err := s.annotation(r)
			if text != "" {
				s.comments = append(s.comments, text)
			}
			return err
		case "draw:g":
			return s.shapes(r)
		case "office:forms", "presentation:animations", "anim:par":
			return nil
		}
		switch e.Get("presentation:class") {
		case "title":
			return s.content(r, &s.title, e)
		case "date-time", "footer", "header", "page-number":
			return nil
		}
		return s.content(r, s, e)
	})
}

// content reads the text of a shape.
func (s *slide) content(r *xmlwalk.Reader, out mdtext.Blocks, e xmlwalk.Element) error {
	in := &story{document: s.document, out: out}
	var each func(e xmlwalk.Element) error
	each = func(e xmlwalk.Element) error {
		switch e.Tag {
		case "text:p", "text:h", "text:list", "table:table":
			return in.block(r, e)
		case "svg:title", "svg:desc":
			text, err := r.Text(1 << 16)
			out.Paragraph(mdtext.OneLine(text))
			return err
		case "draw:object":
			formula, err := in.object(e.Get("xlink:href"))
			out.Paragraph(formula)
			return err
		}
		if e.Get("presentation:class") == "page-number" {
			return nil
		}
		return r.Each(each)
	}
	err := r.Each(each)
	in.endCode()
	return err
}
