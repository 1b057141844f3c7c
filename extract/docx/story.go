package docx

import (
	"strings"
	"unicode"

	"github.com/llmemory/llmemory/internal/mdtext"
	"github.com/llmemory/llmemory/internal/ooxml"
	"github.com/llmemory/llmemory/internal/xmlwalk"
)

// story is a text of its own: the body, a note, a cell.
type story struct {
	*document
	targets map[string]string // of links, by relationship
	out     mdtext.Blocks
	carry   []byte // of a paragraph whose end was deleted
	code    []string
}

// inside is a story within this one.
func (s *story) inside(out mdtext.Blocks) *story {
	return &story{document: s.document, targets: s.targets, out: out}
}

// blocks reads paragraphs and tables.
func (s *story) blocks(r *xmlwalk.Reader) error {
	err := r.Each(func(e xmlwalk.Element) error { return s.block(r, e) })
	s.rest()
	return err
}

// codeStyles are the names of styles of program text.
var codeStyles = map[string]bool{"source code": true, "html preformatted": true, "code": true, "code block": true, "preformatted text": true, "verbatim": true}

// endCode writes the lines of program text read so far.
func (s *story) endCode() {
	if len(s.code) > 0 {
		s.out.Code("", strings.Join(s.code, "\n"))
		s.code = nil
	}
}

// rest writes what is left: lines of program text, and of a paragraph whose end was deleted and that no other one follows.
func (s *story) rest() {
	s.endCode()
	if len(s.carry) > 0 {
		s.out.Paragraph(string(s.carry))
		s.carry = nil
	}
}

func (s *story) block(r *xmlwalk.Reader, e xmlwalk.Element) error {
	switch e.Tag {
	case "w:p":
		return s.paragraph(r)
	case "w:tbl":
		s.rest()
		return s.table(r)
	case "w:sdt":
		return s.control(r, func() error { return s.blocks(r) })
	case "w:customXml", "w:ins", "w:moveTo", "w:smartTag":
		return s.blocks(r)
	case "w:altChunk":
		s.chunks = append(s.chunks, s.targets[e.Get("r:id")])
	case "m:oMathPara", "m:oMath":
		text, err := ooxml.Math(r)
		s.out.Paragraph(text)
		return err
	}
	return nil
}

// control reads what is in a content control, unless it is a table of contents.
func (s *story) control(r *xmlwalk.Reader, content func() error) error {
	toc := false
	return r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "w:sdtPr":
			return r.Each(func(p xmlwalk.Element) error {
				if p.Tag != "w:docPartObj" {
					return nil
				}
				return r.Each(func(g xmlwalk.Element) error {
					toc = toc || g.Tag == "w:docPartGallery" && g.Get("val") == "Table of Contents"
					return nil
				})
			})
		case "w:sdtContent":
			if !toc {
				return content()
			}
		}
		return nil
	})
}

// paragraph is one that is being read.
type paragraph struct {
	*story
	text    []byte
	style   string
	outline int
	num     string
	level   int
	merged  bool // its end was deleted: it goes on with the next
	hidden  bool // by its style
	ghost   bool // its end is hidden
	boxes   []*mdtext.Lines
	charts  []*mdtext.Table
	fields  []field
}

type field struct {
	instruction []byte
	result      bool
	quiet       bool // its result is no text: a page number
	start       int
}

// begin begins the result of a field.
func (f *field) begin(at int) {
	f.result, f.start = true, at
	if words := strings.Fields(string(f.instruction)); len(words) > 0 {
		switch strings.ToUpper(words[0]) {
		case "PAGE", "NUMPAGES", "SECTIONPAGES", "PAGEREF":
			f.quiet = true
		}
	}
}

func (s *story) paragraph(r *xmlwalk.Reader) error {
	p := &paragraph{story: s, style: s.standard, outline: -1, level: -1, text: s.carry}
	s.carry = nil
	if err := r.Each(func(e xmlwalk.Element) error {
		if e.Tag == "w:pPr" {
			err := p.properties(r)
			p.hidden = p.hides(p.style)
			return err
		}
		return p.inline(r, e)
	}); err != nil {
		return err
	}
	if p.merged && len(p.boxes) == 0 && len(p.charts) == 0 {
		s.carry = p.text
		return nil
	}
	p.end()
	return nil
}

func (p *paragraph) properties(r *xmlwalk.Reader) error {
	return r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "w:pStyle":
			p.style = e.Get("val")
		case "w:outlineLvl":
			p.outline = atoi(e.Get("val"), -1)
		case "w:numPr":
			return r.Each(func(n xmlwalk.Element) error {
				switch n.Tag {
				case "w:numId":
					p.num = n.Get("val")
				case "w:ilvl":
					p.level = atoi(n.Get("val"), 0)
				}
				return nil
			})
		case "w:rPr":
			return r.Each(func(c xmlwalk.Element) error {
				p.merged = p.merged || c.Tag == "w:del" || c.Tag == "w:moveFrom"
				p.ghost = p.ghost || c.Tag == "w:vanish" && on(c)
				return nil
			})
		}
		return nil
	})
}

// end writes the paragraph.
func (p *paragraph) end() {
	outline, num, level, named, toc, code := p.outline, p.num, p.level, 0, false, false
	p.inherited(p.style, func(s *style) bool {
		if outline < 0 {
			outline = s.outline
		}
		if num == "" {
			num = s.num
		}
		if level < 0 {
			level = s.level
		}
		rest, ok := strings.CutPrefix(s.name, "heading ")
		switch {
		case ok && named == 0:
			named = atoi(rest, 0)
		case s.name == "title" && s == p.styles[p.style]: // what is based on it, such as the author's line, is no title
			named = 1
		case codeStyles[s.name]:
			code = true
		case strings.HasPrefix(s.name, "toc ") && s.name != "toc heading":
			toc = true
		}
		return false
	})
	text := strings.TrimFunc(string(p.text), unicode.IsSpace)
	if outline < 0 || outline > 9 {
		outline = named - 1
	}
	mark := ""
	if num != "" && num != "0" && (text != "" || !p.ghost) { // one without text takes a number, too
		mark = p.numbering.next(num, max(0, level), p.styles)
	}
	if code && outline < 0 {
		p.code = append(p.code, strings.TrimRight(string(p.text), " \n"))
		text = ""
	} else {
		p.endCode()
	}
	switch {
	case text == "" || toc:
	case outline >= 0 && outline < 9:
		if mark != "" && mark != "-" {
			text = mark + " " + text
		}
		p.out.Heading(outline+1, text)
	case num != "" && num != "0" && mark != "":
		p.out.Item(max(0, level), mark, text)
	case num != "" && num != "0":
		p.out.Continue(text)
	default:
		p.out.Paragraph(text)
	}
	for _, box := range p.boxes {
		for _, line := range box.List {
			p.out.Paragraph(line)
		}
	}
	for _, c := range p.charts {
		p.out.Table(c)
	}
}

func (p *paragraph) put(s string) {
	if !p.silent() {
		p.text = append(p.text, s...)
	}
}

// silent tells whether the text at hand is the instruction of a field, or the result of one that is no text: a page number.
func (p *paragraph) silent() bool {
	for i := range p.fields {
		if f := &p.fields[i]; !f.result || f.quiet {
			return true
		}
	}
	return false
}

// inline reads an element of a paragraph.
func (p *paragraph) inline(r *xmlwalk.Reader, e xmlwalk.Element) error {
	each := func() error { return r.Each(func(c xmlwalk.Element) error { return p.inline(r, c) }) }
	switch e.Tag {
	case "w:r":
		return p.run(r)
	case "w:hyperlink":
		start := len(p.text)
		if err := each(); err != nil {
			return err
		}
		p.text = mdtext.LinkFrom(p.text, start, p.targets[e.Get("r:id")])
	case "w:fldSimple":
		f := field{instruction: []byte(e.Get("instr"))}
		f.begin(len(p.text))
		p.fields = append(p.fields, f)
		if err := each(); err != nil {
			return err
		}
		p.endField()
	case "w:sdt":
		return p.control(r, each)
	case "w:ins", "w:moveTo", "w:smartTag", "w:customXml", "w:dir", "w:bdo":
		return each()
	case "m:oMath", "m:oMathPara":
		text, err := ooxml.Math(r)
		p.put(text)
		return err
	}
	return nil
}

func (p *paragraph) endField() {
	if len(p.fields) == 0 {
		return
	}
	f := p.fields[len(p.fields)-1]
	p.fields = p.fields[:len(p.fields)-1]
	if f.result {
		p.text = mdtext.LinkFrom(p.text, f.start, hyperlink(string(f.instruction)))
	} else {
		p.put(equation(string(f.instruction)))
	}
}

// equation returns the texts of a field of the kind EQ, which has no result: characters set above and around others.
func equation(instruction string) string {
	rest := strings.TrimSpace(instruction)
	if len(rest) < 3 || !strings.EqualFold(rest[:3], `EQ `) {
		return ""
	}
	_, rest, _ = strings.Cut(rest, "(") // what stands before is how it is set
	var b strings.Builder
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; c {
		case '(', ')', ',', ';':
			b.WriteByte(' ')
		case '\\': // a switch, such as \s or \up 9; or a character of the text
			n := i + 1
			for n < len(rest) && (rest[n]|0x20 >= 'a' && rest[n]|0x20 <= 'z' || rest[n] >= '0' && rest[n] <= '9' || n > i+1 && rest[n] == ' ') {
				n++
			}
			if n == i+1 && n < len(rest) {
				b.WriteByte(rest[n])
				n++
			}
			i = n - 1
		default:
			b.WriteByte(c)
		}
	}
	return mdtext.OneLine(b.String())
}

// hyperlink returns the target of a field that is a link to elsewhere.
func hyperlink(instruction string) string {
	const word = "HYPERLINK"
	rest := strings.TrimSpace(instruction)
	if len(rest) < len(word) || !strings.EqualFold(rest[:len(word)], word) {
		return ""
	}
	if rest = strings.TrimSpace(rest[len(word):]); strings.HasPrefix(rest, `"`) {
		target, _, _ := strings.Cut(rest[1:], `"`)
		return target
	}
	if target, _, _ := strings.Cut(rest, " "); !strings.HasPrefix(target, `\`) {
		return target
	}
	return ""
}

// run reads a run of characters.
func (p *paragraph) run(r *xmlwalk.Reader) error {
	hidden, high, rtl := p.hidden, false, false
	lang := p.lang
	return r.Each(func(e xmlwalk.Element) error {
		if e.Tag == "w:rPr" {
			return r.Each(func(c xmlwalk.Element) error {
				switch c.Tag {
				case "w:vanish":
					hidden = on(c)
				case "w:rStyle":
					hidden = hidden || p.hides(c.Get("val"))
				case "w:vertAlign":
					high = c.Get("val") == "superscript"
				case "w:rtl":
					rtl = on(c)
				case "w:lang":
					for i, key := range []string{"val", "eastAsia", "bidi"} {
						if v := c.Get(key); v != "" {
							lang[i] = v
						}
					}
				}
				return nil
			})
		}
		if hidden {
			return nil
		}
		switch e.Tag {
		case "w:t":
			s, err := r.Text(16 << 20)
			p.speak(s, lang, rtl)
			if high {
				s = mdtext.Superscript(string(p.text[max(0, len(p.text)-8):]), s)
			}
			p.put(s)
			return err
		case "w:instrText":
			if n := len(p.fields); n > 0 && !p.fields[n-1].result {
				s, err := r.Text(4096)
				if len(p.fields[n-1].instruction) < 4096 {
					p.fields[n-1].instruction = append(p.fields[n-1].instruction, s...)
				}
				return err
			}
		case "w:fldChar":
			switch e.Get("fldCharType") {
			case "begin":
				if len(p.fields) < 100 {
					p.fields = append(p.fields, field{start: len(p.text)})
				}
				return p.form(r)
			case "separate":
				if n := len(p.fields); n > 0 {
					p.fields[n-1].begin(len(p.text))
				}
			case "end":
				p.endField()
			}
		case "w:tab", "w:ptab":
			p.put(" ")
		case "w:br", "w:cr":
			p.put("\n")
		case "w:noBreakHyphen":
			p.put("-")
		case "w:sym":
			p.put(symbol(e))
		case "w:footnoteReference":
			p.put(p.ref("footnote", e.Get("w:id")))
		case "w:endnoteReference":
			p.put(p.ref("endnote", e.Get("w:id")))
		case "w:commentReference":
			p.put(p.ref("comment", e.Get("w:id")))
		case "w:ruby":
			return p.ruby(r)
		case "w:drawing", "w:pict", "w:object":
			return p.drawing(r)
		}
		return nil
	})
}

// ruby puts characters and their reading, which comes first in the file.
func (p *paragraph) ruby(r *xmlwalk.Reader) error {
	var base, reading paragraph
	base.story = p.inside(&mdtext.Lines{})
	reading.story = base.story
	err := r.Each(func(c xmlwalk.Element) error {
		to := &base
		switch c.Tag {
		case "w:rt":
			to = &reading
		case "w:rubyBase":
		default:
			return nil
		}
		return r.Each(func(x xmlwalk.Element) error { return to.inline(r, x) })
	})
	p.put(string(base.text))
	if s := strings.TrimSpace(string(reading.text)); s != "" {
		p.put("(" + s + ")")
	}
	return err
}

// form puts what is chosen in a field of a form: whether a box is checked, or which entry of a list. A text is the field's result.
func (p *paragraph) form(r *xmlwalk.Reader) error {
	checked, chosen, entries := "", 0, []string(nil)
	var in func(e xmlwalk.Element) error
	in = func(e xmlwalk.Element) error {
		switch e.Tag {
		case "w:checkBox":
			checked = "☐"
		case "w:default", "w:checked":
			if checked != "" {
				checked = map[bool]string{true: "☒", false: "☐"}[on(e)]
			}
		case "w:result":
			chosen = atoi(e.Get("val"), 0)
		case "w:listEntry":
			entries = append(entries, e.Get("val"))
		}
		return r.Each(in)
	}
	err := r.Each(in)
	if chosen >= 0 && chosen < len(entries) {
		checked = entries[chosen]
	}
	if n := len(p.fields) - 1; checked != "" && n >= 0 {
		outer := p.fields[n]
		p.fields = p.fields[:n]
		p.put(checked) // which stands before the field
		outer.start = len(p.text)
		p.fields = append(p.fields, outer)
	}
	return err
}

// symbol returns a character of a symbol font, as far as it is text.
func symbol(e xmlwalk.Element) string {
	var n rune
	for _, c := range strings.ToLower(e.Get("char")) {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | (c - '0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | (c - 'a' + 10)
		default:
			return ""
		}
		if n > 0xffff {
			return ""
		}
	}
	if n >= 0xe000 && n <= 0xf8ff {
		if strings.HasPrefix(e.Get("font"), "Wingdings") {
			return map[rune]string{0xf0fc: "✓", 0xf0fb: "✗", 0xf0fe: "☑", 0xf0a8: "☐", 0xf06f: "☐", 0xf078: "☒", 0xf0e0: "→", 0xf0df: "←"}[n]
		}
		return map[rune]string{0xf0b7: "•", 0xf0ae: "→", 0xf0b0: "°", 0xf0b1: "±", 0xf0a3: "≤", 0xf0b3: "≥", 0xf0b9: "≠", 0xf06d: "μ", 0xf070: "π", 0xf061: "α", 0xf062: "β"}[n]
	}
	if n < 0x20 || n >= 0xd800 && n < 0xe000 {
		return ""
	}
	return string(n)
}

// speak counts letters for the language that they are in.
func (p *paragraph) speak(s string, lang [3]string, rtl bool) {
	for _, r := range s {
		if !unicode.IsLetter(r) {
			continue
		}
		switch {
		case rtl || unicode.In(r, unicode.Hebrew, unicode.Arabic):
			p.langs[lang[2]] += len(s)
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul):
			p.langs[lang[1]] += len(s)
		default:
			p.langs[lang[0]] += len(s)
		}
		return
	}
}

// drawing reads a drawing: the alternative text of pictures, text boxes, and the text of diagrams.
func (p *paragraph) drawing(r *xmlwalk.Reader) error {
	return r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "w:txbxContent":
			box := &mdtext.Lines{}
			p.boxes = append(p.boxes, box)
			return p.inside(box).blocks(r)
		case "wp:docPr":
			if alt := mdtext.OneLine(e.Get("descr")); alt != "" {
				p.put(alt)
			}
			return nil
		case "dgm:relIds":
			texts, err := p.pkg.Diagram(p.targets[e.Get("r:dm")])
			p.boxes = append(p.boxes, &mdtext.Lines{List: texts})
			return err
		case "c:chart":
			part := p.targets[e.Get("r:id")]
			if part == "" {
				return nil
			}
			title, table, err := p.pkg.Chart(part)
			p.boxes, p.charts = append(p.boxes, &mdtext.Lines{List: []string{title}}), append(p.charts, table)
			return err
		case "v:textpath": // letters as a drawing, a watermark for one
			p.put(mdtext.OneLine(e.Get("string")))
		case "v:shape", "v:imagedata":
			if alt := mdtext.OneLine(e.Get("alt")); alt != "" {
				p.put(alt)
			}
		}
		return p.drawing(r)
	})
}

// table reads a table.
func (s *story) table(r *xmlwalk.Reader) error {
	t := &mdtext.Table{}
	err := s.rows(r, t)
	s.out.Table(t)
	return err
}

func (s *story) rows(r *xmlwalk.Reader, t *mdtext.Table) error {
	return r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "w:tr":
			var row tableRow
			if err := s.cells(r, &row); err != nil || row.deleted {
				return err
			}
			t.Row()
			for range row.before {
				t.Cell("", 1, 1)
			}
			for _, c := range row.cells {
				t.Cell(c.text, c.span, 1)
			}
		case "w:sdt":
			return s.control(r, func() error { return s.rows(r, t) })
		case "w:customXml", "w:ins":
			return s.rows(r, t)
		}
		return nil
	})
}

type tableRow struct {
	cells   []tableCell
	before  int // columns left out before the first
	deleted bool
}

type tableCell struct {
	text string
	span int
}

func (s *story) cells(r *xmlwalk.Reader, row *tableRow) error {
	return r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "w:trPr":
			return r.Each(func(c xmlwalk.Element) error {
				switch c.Tag {
				case "w:del":
					row.deleted = true
				case "w:gridBefore":
					row.before = max(0, min(atoi(c.Get("val"), 0), 1000))
				}
				return nil
			})
		case "w:tc":
			l := &mdtext.Lines{}
			cell := tableCell{span: 1}
			in, covered := s.inside(l), false
			if err := r.Each(func(c xmlwalk.Element) error {
				switch c.Tag {
				case "w:tcPr":
					return r.Each(func(x xmlwalk.Element) error {
						switch x.Tag {
						case "w:gridSpan":
							cell.span = atoi(x.Get("val"), 1)
						case "w:vMerge", "w:hMerge":
							covered = covered || x.Get("val") != "restart"
						}
						return nil
					})
				default:
					return in.block(r, c)
				}
			}); err != nil {
				return err
			}
			in.rest()
			if cell.text = l.String(); covered {
				cell.text = ""
			}
			row.cells = append(row.cells, cell)
		case "w:sdt":
			return s.control(r, func() error { return s.cells(r, row) })
		case "w:customXml":
			return s.cells(r, row)
		}
		return nil
	})
}
