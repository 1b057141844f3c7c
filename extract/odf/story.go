package odf

import (
	"bytes"
	"path"
	"strconv"
	"strings"
	"unicode"

	"github.com/llmemory/llmemory/internal/htmltext"
	"github.com/llmemory/llmemory/internal/mdtext"
	"github.com/llmemory/llmemory/internal/xmlwalk"
)

// story is a text of its own: the body, a note, a cell, a slide.
type story struct {
	*document
	out  mdtext.Blocks
	code []string // lines of program text
}

// blocks reads paragraphs, lists and tables.
func (s *story) blocks(r *xmlwalk.Reader) error {
	err := r.Each(func(e xmlwalk.Element) error { return s.block(r, e) })
	s.endCode()
	return err
}

// isCode tells whether a paragraph is a line of program text.
func (s *story) isCode(e xmlwalk.Element) bool {
	code := false
	s.inherited(e.Get("text:style-name"), func(name string, _ *style) bool {
		code = name == "Preformatted_20_Text" || name == "Source_20_Code"
		return code
	})
	return code
}

// endCode writes the lines of program text read so far.
func (s *story) endCode() {
	if len(s.code) > 0 {
		s.out.Code("", strings.Join(s.code, "\n"))
		s.code = nil
	}
}

func (s *story) block(r *xmlwalk.Reader, e xmlwalk.Element) error {
	if e.Tag == "text:p" && s.isCode(e) {
		p, err := s.read(r)
		s.code = append(s.code, strings.TrimRight(string(p.text), " \n"))
		return err
	}
	s.endCode()
	switch e.Tag {
	case "text:h", "text:p":
		p, err := s.read(r)
		text := p.String()
		if text != "" {
			if level := s.level(e); level > 0 {
				if e.Tag == "text:h" {
					text = strings.TrimSpace(s.headingNumber(level, e) + " " + text)
				}
				s.out.Heading(level, text)
			} else {
				s.out.Paragraph(text)
			}
		}
		s.aside(p)
		return err
	case "text:list":
		return s.list(r, e, nil)
	case "table:table":
		t := &mdtext.Table{}
		err := s.rows(r, t)
		s.out.Table(t)
		return err
	case "text:section", "text:numbered-paragraph", "text:index-title":
		if e.Get("text:display") == "none" {
			return nil
		}
		return s.blocks(r)
	case "text:bibliography", "text:bibliography-source", "text:index-body":
		return s.blocks(r)
	}
	if strings.HasPrefix(e.Tag, "draw:") {
		p := &paragraph{story: s}
		err := p.drawing(r)
		s.out.Paragraph(p.String())
		s.aside(p)
		return err
	}
	return nil
}

// level returns that of a paragraph as a heading, 0 for none.
func (s *story) level(e xmlwalk.Element) int {
	if e.Tag == "text:h" {
		return max(1, min(atoi(e.Get("text:outline-level"), 1), 10))
	}
	level := 0
	s.inherited(e.Get("text:style-name"), func(name string, st *style) bool {
		switch {
		case name == "Title":
			level = 1
		case st != nil && st.outline > 0 && st.outline <= 10:
			level = st.outline
		}
		return level > 0
	})
	return level
}

// headingNumber counts a heading and returns its number, "" if headings have none.
func (d *document) headingNumber(level int, e xmlwalk.Element) string {
	if level > len(d.counts) || e.Get("text:is-list-header") == "true" {
		return ""
	}
	d.counts[level-1]++
	for i := level; i < len(d.counts); i++ {
		d.counts[i] = 0
	}
	if mark := d.outline.mark(d.counts[:level]); mark != "-" {
		return mark
	}
	return ""
}

// aside writes what hangs on a paragraph.
func (s *story) aside(p *paragraph) {
	for _, box := range p.boxes {
		for _, line := range box.List {
			s.out.Paragraph(line)
		}
	}
}

// paragraph is one that is being read.
type paragraph struct {
	*story
	text  []byte
	space bool // the last character was white space, which goes on
	boxes []*mdtext.Lines
}

func (s *story) read(r *xmlwalk.Reader) (*paragraph, error) {
	p := &paragraph{story: s, space: true}
	return p, p.nodes(r)
}

func (p *paragraph) String() string { return strings.TrimFunc(string(p.text), unicode.IsSpace) }

// chars adds text, runs of white space in which are one space.
func (p *paragraph) chars(s string) {
	for _, c := range s {
		if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
			if !p.space {
				p.text = append(p.text, ' ')
			}
			p.space = true
			continue
		}
		p.space = false
		p.text = append(p.text, string(c)...)
	}
}

func (p *paragraph) put(s string) {
	p.text = append(p.text, s...)
	p.space = false
}

func (p *paragraph) nodes(r *xmlwalk.Reader) error {
	return r.Nodes(p.chars, func(e xmlwalk.Element) error { return p.inline(r, e) })
}

// inline reads an element of a paragraph.
func (p *paragraph) inline(r *xmlwalk.Reader, e xmlwalk.Element) error {
	switch e.Tag {
	case "text:s":
		p.put(strings.Repeat(" ", max(1, min(atoi(e.Get("text:c"), 1), 100))))
	case "text:tab":
		p.put(" ")
	case "text:line-break":
		p.put("\n")
	case "text:a":
		start := len(p.text)
		err := p.nodes(r)
		if href := e.Get("xlink:href"); strings.Contains(href, ":") {
			p.text = mdtext.LinkFrom(p.text, start, href)
		}
		return err
	case "text:note":
		return p.note(r, e)
	case "office:annotation":
		return p.comment(r)
	case "text:ruby":
		return r.Each(func(e xmlwalk.Element) error {
			switch e.Tag {
			case "text:ruby-base":
				return p.nodes(r)
			case "text:ruby-text":
				s, err := r.Text(4096)
				if s = mdtext.OneLine(s); s != "" {
					p.put("(" + s + ")")
				}
				return err
			}
			return nil
		})
	case "text:page-number", "text:page-count", "text:tracked-changes", "text:hidden-text", "text:note-ref", "office:event-listeners", "presentation:date-time",
		"text:bookmark-ref-page", "text:meta-field-page", "text:soft-page-break":
	case "text:span":
		hidden, high := false, false
		p.inherited(e.Get("text:style-name"), func(_ string, s *style) bool {
			hidden, high = hidden || s != nil && s.hidden, high || s != nil && s.high
			return hidden
		})
		if hidden {
			return nil
		}
		start := len(p.text)
		err := p.nodes(r)
		if high {
			s := mdtext.Superscript(string(p.text[max(0, start-8):start]), string(p.text[start:]))
			p.text = append(p.text[:start], s...)
		}
		return err
	default:
		if strings.HasPrefix(e.Tag, "draw:") {
			return p.drawing(r)
		}
		return p.nodes(r)
	}
	return nil
}

// note reads a footnote or an endnote.
func (p *paragraph) note(r *xmlwalk.Reader, e xmlwalk.Element) error {
	prefix := ""
	if e.Get("text:note-class") == "endnote" {
		prefix = "e"
	}
	return r.Each(func(e xmlwalk.Element) error {
		if e.Tag != "text:note-body" {
			return nil
		}
		var l mdtext.Lines
		err := (&story{document: p.document, out: &l}).blocks(r)
		if text := l.String(); text != "" {
			p.refer(prefix, text)
		}
		return err
	})
}

// refer sets the reference to a note.
func (p *paragraph) refer(prefix, text string) {
	p.labels[prefix]++
	label := prefix + strconv.Itoa(p.labels[prefix])
	p.put(mdtext.Ref(label))
	p.w.Note(label, text)
}

// comment reads a comment.
func (p *paragraph) comment(r *xmlwalk.Reader) error {
	text, err := p.annotation(r)
	if text != "" {
		p.refer("c", text)
	}
	return err
}

// annotation returns the text of a comment and who made it.
func (d *document) annotation(r *xmlwalk.Reader) (string, error) {
	var l mdtext.Lines
	who := "Comment"
	s := &story{document: d, out: &l}
	err := r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "dc:creator":
			name, err := r.Text(1000)
			if name = mdtext.OneLine(name); name != "" {
				who += " by " + name
			}
			return err
		case "dc:date", "meta:date-string":
			return nil
		}
		return s.block(r, e)
	})
	s.endCode()
	if text := l.String(); text != "" {
		return who + ": " + text, err
	}
	return "", err
}

// drawing reads a frame or a shape: text boxes, the alternative text of pictures, formulas, tables.
func (p *paragraph) drawing(r *xmlwalk.Reader) error {
	box := &mdtext.Lines{}
	p.boxes = append(p.boxes, box)
	in := &story{document: p.document, out: box}
	var each func(e xmlwalk.Element) error
	each = func(e xmlwalk.Element) error {
		switch e.Tag {
		case "svg:title", "svg:desc":
			s, err := r.Text(1 << 16)
			if s = mdtext.OneLine(s); s != "" && !bytes.HasSuffix(p.text, []byte(s)) {
				p.put(s)
			}
			return err
		case "draw:object":
			formula, err := in.object(e.Get("xlink:href"))
			p.put(formula)
			return err
		case "draw:image", "draw:object-ole", "draw:plugin":
			return nil
		case "text:p", "text:h", "text:list", "table:table":
			return in.block(r, e)
		}
		return r.Each(each)
	}
	err := r.Each(each)
	in.endCode()
	return err
}

// maxObjects is how many objects of a document are read.
const maxObjects = 1000

// object reads an object within the document: it returns the formula that it is, or writes the title and the values of a chart, or the
// cells of a sheet.
func (s *story) object(href string) (formula string, err error) {
	name := path.Clean(href)
	if s.objects++; href == "" || name == "." || strings.Contains(name, ":") || s.within || s.objects > maxObjects {
		return "", nil
	}
	s.within = true
	defer func() { s.within = false }()
	part := name + "/content.xml"
	file := s.zip.File(part)
	if file == nil || file.Size > 1<<20 {
		return "", nil
	}
	math := false
	err = s.walk(part, func(r *xmlwalk.Reader, root xmlwalk.Element) error {
		if math = root.Tag == "math:math"; math {
			return nil
		}
		var in func(e xmlwalk.Element) error
		in = func(e xmlwalk.Element) error {
			switch e.Tag {
			case "office:automatic-styles":
				return nil
			case "text:p", "table:table":
				return s.block(r, e)
			}
			return r.Each(in)
		}
		return r.Each(in)
	})
	if err != nil || !math {
		return "", err
	}
	raw, err := file.ReadAll()
	if err != nil {
		return "", err
	}
	return htmltext.Formula(strings.ToValidUTF8(string(raw), "")), nil
}

// maxRepeated is how many bytes a cell that is repeated in its row comes to.
const maxRepeated = 1 << 20

// rows reads the rows of a table within a text.
func (s *story) rows(r *xmlwalk.Reader, t *mdtext.Table) error {
	return r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "table:table-header-rows", "table:table-rows", "table:table-row-group":
			return s.rows(r, t)
		case "table:table-row":
			t.Row()
			return r.Each(func(e xmlwalk.Element) error {
				switch e.Tag {
				case "table:covered-table-cell":
					for range max(1, min(atoi(e.Get("table:number-columns-repeated"), 1), 1000)) {
						t.Cell("", 1, 1)
					}
				case "table:table-cell":
					var l mdtext.Lines
					err := (&story{document: s.document, out: &l}).blocks(r)
					text := l.String()
					for range max(1, min(atoi(e.Get("table:number-columns-repeated"), 1), 1000, maxRepeated/(len(text)+1))) {
						t.Cell(text, 1, 1)
					}
					return err
				}
				return nil
			})
		}
		return nil
	})
}
