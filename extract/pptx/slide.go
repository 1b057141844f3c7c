package pptx

import (
	"strconv"
	"strings"

	"github.com/llmemory/llmemory/internal/mdtext"
	"github.com/llmemory/llmemory/internal/ooxml"
	"github.com/llmemory/llmemory/internal/xmlwalk"
)

// slide is one that is being read, or its notes.
type slide struct {
	*deck
	targets map[string]string // of links, charts and diagrams, by relationship
	notes   bool
	title   string
	first   bool // it begins the presentation, or a section of it
	blocks  []block
}

// block is a paragraph, an item or a table.
type block struct {
	text  string
	mark  string // of an item
	level int
	table *mdtext.Table
}

func newSlide(d *deck, rels []ooxml.Relation) *slide {
	s := &slide{deck: d, targets: map[string]string{}}
	for _, rel := range rels {
		if rel.External && rel.Kind == "hyperlink" || rel.Kind == "chart" || rel.Kind == "diagramData" {
			s.targets[rel.ID] = rel.Target
		}
	}
	return s
}

func (s *slide) write(w *mdtext.Writer) {
	for _, b := range s.blocks {
		switch {
		case b.table != nil:
			w.Table(b.table)
		case b.mark != "":
			w.Item(b.level, b.mark, b.text)
		default:
			w.Paragraph(b.text)
		}
	}
}

// tree reads the shapes of a slide or of a group.
func (s *slide) tree(r *xmlwalk.Reader) error {
	return r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "p:cSld", "p:spTree", "p:grpSp":
			return s.tree(r)
		case "p:sp":
			return s.shape(r)
		case "p:pic":
			return s.picture(r)
		case "p:graphicFrame":
			return s.frame(r)
		}
		return nil
	})
}

// shape reads a shape with text.
func (s *slide) shape(r *xmlwalk.Reader) error {
	kind, placeholder := "", false
	return r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "p:nvSpPr":
			return r.Each(func(e xmlwalk.Element) error {
				if e.Tag != "p:nvPr" {
					return nil
				}
				return r.Each(func(e xmlwalk.Element) error {
					if e.Tag == "p:ph" {
						kind, placeholder = e.Get("type"), true
					}
					return nil
				})
			})
		case "p:txBody":
			switch {
			case kind == "dt" || kind == "ftr" || kind == "hdr" || kind == "sldNum" || kind == "sldImg":
				return nil
			case s.notes && kind != "body" && placeholder:
				return nil
			case !s.notes && (kind == "title" || kind == "ctrTitle") && s.title == "":
				in := newSlide(s.deck, nil)
				err := in.text(r, false)
				var words []string
				for _, b := range in.blocks {
					words = append(words, b.text)
				}
				s.title, s.first = strings.Join(words, " "), kind == "ctrTitle"
				return err
			default:
				return s.text(r, placeholder && !s.notes && (kind == "" || kind == "body" || kind == "obj"))
			}
		}
		return nil
	})
}

// picture reads the alternative text of a picture.
func (s *slide) picture(r *xmlwalk.Reader) error {
	return r.Each(func(e xmlwalk.Element) error {
		if e.Tag != "p:nvPicPr" {
			return nil
		}
		return r.Each(func(e xmlwalk.Element) error {
			if alt := mdtext.OneLine(e.Get("descr")); e.Tag == "p:cNvPr" && alt != "" {
				s.blocks = append(s.blocks, block{text: alt})
			}
			return nil
		})
	})
}

// frame reads a table, a chart or a diagram.
func (s *slide) frame(r *xmlwalk.Reader) error {
	return r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "a:tbl":
			return s.table(r)
		case "c:chart":
			part := s.targets[e.Get("r:id")]
			if part == "" {
				return nil
			}
			title, table, err := s.pkg.Chart(part)
			if title != "" {
				s.blocks = append(s.blocks, block{text: title})
			}
			s.blocks = append(s.blocks, block{table: table})
			return err
		case "dgm:relIds":
			points, err := s.pkg.Diagram(s.targets[e.Get("r:dm")])
			for _, point := range points {
				s.blocks = append(s.blocks, block{text: point, mark: "-"})
			}
			return err
		}
		return s.frame(r)
	})
}

func (s *slide) table(r *xmlwalk.Reader) error {
	t := &mdtext.Table{}
	err := r.Each(func(e xmlwalk.Element) error {
		if e.Tag != "a:tr" {
			return nil
		}
		t.Row()
		return r.Each(func(e xmlwalk.Element) error {
			if e.Tag != "a:tc" {
				return nil
			}
			covered := e.Get("hMerge") == "1" || e.Get("vMerge") == "1" || e.Get("hMerge") == "true" || e.Get("vMerge") == "true"
			in := newSlide(s.deck, nil)
			in.targets = s.targets
			err := r.Each(func(e xmlwalk.Element) error {
				if e.Tag == "a:txBody" {
					return in.text(r, false)
				}
				return nil
			})
			var lines []string
			for _, b := range in.blocks {
				lines = append(lines, b.text)
			}
			if covered {
				lines = nil
			}
			t.Cell(strings.Join(lines, "\n"), 1, 1)
			return err
		})
	})
	s.blocks = append(s.blocks, block{table: t})
	return err
}

// text reads the paragraphs of a text body. In a listing one that does not say otherwise is an item, as the layouts have it.
func (s *slide) text(r *xmlwalk.Reader, listing bool) error {
	start := len(s.blocks)
	var numbers [10]int
	err := r.Each(func(e xmlwalk.Element) error {
		if e.Tag != "a:p" {
			return nil
		}
		b, numbered, startAt, err := s.paragraph(r, listing)
		if b.text = strings.TrimSpace(b.text); b.text == "" {
			return err
		}
		for i := b.level + 1; i < len(numbers); i++ {
			numbers[i] = 0
		}
		if numbered != "" {
			if numbers[b.level] == 0 {
				numbers[b.level] = startAt - 1
			}
			numbers[b.level]++
			b.mark = number(numbers[b.level], numbered)
		} else {
			numbers[b.level] = 0
		}
		s.blocks = append(s.blocks, b)
		return err
	})
	if added := s.blocks[start:]; listing && len(added) == 1 && added[0].level == 0 && added[0].mark == "-" {
		added[0].mark = "" // one sentence is no list
	}
	return err
}

// number writes the number of an item in one of the schemes of ECMA-376 part 1, 20.1.10.61, in figures if it is none of the common.
func number(n int, scheme string) string {
	format := ""
	for prefix, f := range map[string]string{"alphaLc": "lowerLetter", "alphaUc": "upperLetter", "romanLc": "lowerRoman", "romanUc": "upperRoman"} {
		if strings.HasPrefix(scheme, prefix) {
			format = f
		}
	}
	text := mdtext.Number(n, format)
	switch {
	case strings.HasSuffix(scheme, "ParenBoth"):
		return "(" + text + ")"
	case strings.HasSuffix(scheme, "ParenR"):
		return text + ")"
	}
	return text + "."
}

// paragraph reads one; numbered is its scheme of numbers, "" for none.
func (s *slide) paragraph(r *xmlwalk.Reader, listing bool) (b block, numbered string, startAt int, err error) {
	var text []byte
	if startAt = 1; listing {
		b.mark = "-"
	}
	add := func(e xmlwalk.Element) error {
		lang, link, high := "", "", false
		start := len(text)
		err := r.Each(func(e xmlwalk.Element) error {
			switch e.Tag {
			case "a:rPr":
				lang = e.Get("lang")
				high = strings.HasPrefix(e.Get("baseline"), "3")
				return r.Each(func(e xmlwalk.Element) error {
					if e.Tag == "a:hlinkClick" {
						link = s.targets[e.Get("r:id")]
					}
					return nil
				})
			case "a:t":
				t, err := r.Text(1 << 20)
				if high {
					t = mdtext.Superscript(string(text[max(0, len(text)-8):]), t)
				}
				text = append(text, t...)
				s.langs[lang] += len(t)
				return err
			}
			return nil
		})
		if !strings.HasPrefix(link, "ppaction:") {
			text = mdtext.LinkFrom(text, start, link)
		}
		return err
	}
	var in func(e xmlwalk.Element) error
	in = func(e xmlwalk.Element) error {
		switch e.Tag {
		case "a:pPr":
			if n, err := strconv.Atoi(e.Get("lvl")); err == nil {
				b.level = max(0, min(n, 8))
			}
			return r.Each(func(e xmlwalk.Element) error {
				switch e.Tag {
				case "a:buNone":
					b.mark = ""
				case "a:buChar", "a:buBlip":
					b.mark = "-"
				case "a:buAutoNum":
					b.mark, numbered = "-", e.Get("type")
					if n, err := strconv.Atoi(e.Get("startAt")); err == nil && n > 0 && n < 32768 {
						startAt = n
					}
				}
				return nil
			})
		case "a:r":
			return add(e)
		case "a:fld":
			if e.Get("type") == "slidenum" {
				return nil
			}
			return add(e)
		case "a:br":
			text = append(text, '\n')
		case "m:oMath", "m:oMathPara":
			t, err := ooxml.Math(r)
			text = append(text, t...)
			return err
		case "a14:m", "m":
			return r.Each(in)
		}
		return nil
	}
	err = r.Each(in)
	b.text = string(text)
	return b, numbered, startAt, err
}
