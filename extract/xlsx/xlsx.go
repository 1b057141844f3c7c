// Package xlsx turns workbooks of Excel and its kin (XLSX, XLSM, XLTX) into Markdown text. Macros are never run, formulas never
// computed, and nothing that a workbook refers to is fetched.
package xlsx

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/mdtext"
	"github.com/llmemory/llmemory/internal/ooxml"
	"github.com/llmemory/llmemory/internal/sheet"
	"github.com/llmemory/llmemory/internal/xmlwalk"
)

// Extractor reads XLSX: each sheet as a heading and its tables, with the values that cells show; of a formula that is the value it had
// when the workbook was saved, or the formula if none was kept. Dates are written as 2006-01-02. Comments, text boxes and the titles
// of charts follow the cells of their sheet. Sheets that are hidden are read too.
type Extractor struct {
	// MaxCells is how many cells that are not empty are read of a workbook; the rest is left out, with a warning. 0 means 1,000,000.
	MaxCells int
}

// Extract implements [extract.Extractor].
func (x Extractor) Extract(ctx context.Context, in extract.Input) (extract.Text, error) {
	return ooxml.Read(ctx, in, func(pkg *ooxml.Package) (extract.Text, error) {
		w := &mdtext.Writer{Max: in.MaxBytes}
		b := &workbook{pkg: pkg, w: w, out: sheet.Writer{W: w, MaxCells: x.MaxCells}}
		if err := b.read(); err != nil {
			return extract.Text{}, err
		}
		return b.out.Text(in, "xlsx")
	})
}

// maxStrings is how many bytes of shared strings are kept.
const maxStrings = 128 << 20

type workbook struct {
	pkg      *ooxml.Package
	w        *mdtext.Writer
	out      sheet.Writer
	date1904 bool
	strings  []string
	formats  []*sheet.Format // of the styles of cells
}

func (b *workbook) read() error {
	main, err := b.pkg.Main("xl/workbook.xml")
	if err != nil {
		return err
	}
	rels, err := b.pkg.Relations(main)
	if err != nil {
		return err
	}
	targets := map[string]string{}
	for _, rel := range rels {
		if rel.External {
			continue
		}
		switch rel.Kind {
		case "sharedStrings":
			err = b.pkg.Walk(rel.Target, b.readStrings)
		case "styles":
			err = b.pkg.Walk(rel.Target, b.readStyles)
		case "worksheet", "chartsheet":
			targets[rel.ID] = rel.Target
		}
		if err != nil {
			return err
		}
	}
	type tab struct{ name, part string }
	var tabs []tab
	if err := b.pkg.Walk(main, func(r *xmlwalk.Reader) error {
		return r.Each(func(xmlwalk.Element) error {
			return r.Each(func(e xmlwalk.Element) error {
				switch e.Tag {
				case "x:workbookPr":
					b.date1904 = e.Get("date1904") == "1" || e.Get("date1904") == "true"
				case "x:sheets":
					return r.Each(func(s xmlwalk.Element) error {
						if part := targets[s.Get("r:id")]; part != "" {
							tabs = append(tabs, tab{s.Get("name"), part})
						}
						return nil
					})
				}
				return nil
			})
		})
	}); err != nil {
		return err
	}
	for _, t := range tabs {
		b.out.Sheet(t.name)
		if err := b.sheet(t.part); err != nil {
			return err
		}
		if b.out.Full() {
			break
		}
	}
	return nil
}

func (b *workbook) readStrings(r *xmlwalk.Reader) error {
	size := 0
	return r.Each(func(xmlwalk.Element) error {
		return r.Each(func(e xmlwalk.Element) error {
			if e.Tag != "x:si" {
				return nil
			}
			s, err := rich(r)
			if size += len(s) + 16; size > maxStrings {
				return fmt.Errorf("%w: more than %d bytes of shared strings", extract.ErrTooLarge, maxStrings)
			}
			b.strings = append(b.strings, s)
			return err
		})
	})
}

// maxString is how many bytes of a string are read; Excel has at most 32,767 characters in one.
const maxString = 1 << 20

// rich reads the text of a string, whole or in runs, without its phonetic reading.
func rich(r *xmlwalk.Reader) (string, error) {
	var b strings.Builder
	add := func() error {
		t, err := r.Text(max(0, maxString-b.Len()))
		b.WriteString(t)
		return err
	}
	err := r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "x:t":
			return add()
		case "x:r":
			return r.Each(func(e xmlwalk.Element) error {
				if e.Tag != "x:t" {
					return nil
				}
				return add()
			})
		}
		return nil
	})
	return escapes(b.String()), err
}

// escapes decodes _x000D_ and its like.
func escapes(s string) string {
	if !strings.Contains(s, "_x") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i+7 <= len(s) && s[i] == '_' && s[i+1] == 'x' && s[i+6] == '_' {
			if n, err := strconv.ParseUint(s[i+2:i+6], 16, 16); err == nil && (n < 0xd800 || n >= 0xe000) {
				if n >= 0x20 || n == '\n' || n == '\t' {
					b.WriteRune(rune(n))
				}
				i += 6
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func (b *workbook) readStyles(r *xmlwalk.Reader) error {
	codes := map[string]*sheet.Format{}
	return r.Each(func(xmlwalk.Element) error {
		return r.Each(func(e xmlwalk.Element) error {
			switch e.Tag {
			case "x:numFmts":
				return r.Each(func(f xmlwalk.Element) error {
					codes[f.Get("numFmtId")] = sheet.NewFormat(f.Get("formatCode"))
					return nil
				})
			case "x:cellXfs":
				return r.Each(func(f xmlwalk.Element) error {
					id := f.Get("numFmtId")
					code, ok := codes[id]
					if !ok {
						n, _ := strconv.Atoi(id)
						code = sheet.NewFormat(sheet.Builtin(n))
						codes[id] = code
					}
					b.formats = append(b.formats, code)
					return nil
				})
			}
			return nil
		})
	})
}

// sheet reads the cells of a sheet, and what lies on it.
func (b *workbook) sheet(part string) error {
	rels, err := b.pkg.Relations(part)
	if err != nil {
		return err
	}
	links, err := b.links(part, rels)
	if err != nil {
		return err
	}
	at := 0
	if err := b.pkg.Walk(part, func(r *xmlwalk.Reader) error {
		return r.Each(func(xmlwalk.Element) error {
			return r.Each(func(e xmlwalk.Element) error {
				if e.Tag != "x:sheetData" {
					return nil
				}
				return r.Each(func(e xmlwalk.Element) error {
					if e.Tag != "x:row" || b.out.Full() {
						return nil
					}
					if n, err := strconv.Atoi(e.Get("r")); err == nil && n > 0 && n <= 1<<20 {
						at = n - 1
					}
					err := b.row(r, at, links)
					at++
					return err
				})
			})
		})
	}); err != nil {
		return err
	}
	b.out.End()
	threaded := false
	for _, rel := range rels {
		threaded = threaded || rel.Kind == "threadedComment"
	}
	for _, rel := range rels {
		switch {
		case rel.External:
		case rel.Kind == "comments" && !threaded, rel.Kind == "threadedComment":
			err = b.comments(rel.Target)
		case rel.Kind == "drawing":
			err = b.drawing(rel.Target)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *workbook) row(r *xmlwalk.Reader, at int, links map[string]string) error {
	col := 0
	return r.Each(func(e xmlwalk.Element) error {
		if e.Tag != "x:c" {
			return nil
		}
		ref := e.Get("r")
		if c, ok := column(ref); ok {
			col = c
		}
		text, number, err := b.cell(r, e)
		if target := links[ref]; target != "" {
			text = mdtext.Link(text, target)
		}
		b.out.Cell(at, col, text, number)
		col++
		return err
	})
}

// column reads the letters of a reference such as AB12.
func column(ref string) (int, bool) {
	n := 0
	for i := 0; i < len(ref); i++ {
		c := ref[i] &^ 0x20
		if c < 'A' || c > 'Z' {
			return n - 1, i > 0
		}
		if n = n*26 + int(c-'A'+1); n > 1<<14 {
			return 0, false
		}
	}
	return 0, false
}

// cell reads the value of a cell as it is shown.
func (b *workbook) cell(r *xmlwalk.Reader, e xmlwalk.Element) (text string, number bool, err error) {
	kind := e.Get("t")
	style, _ := strconv.Atoi(e.Get("s"))
	value, formula, given := "", "", false
	err = r.Each(func(c xmlwalk.Element) error {
		var err error
		switch c.Tag {
		case "x:v":
			given = true
			value, err = r.Text(maxString)
		case "x:is":
			given = true
			value, err = rich(r)
		case "x:f":
			formula, err = r.Text(8192)
		}
		return err
	})
	switch {
	case !given || value == "" && kind != "str":
		if formula != "" {
			return "=" + formula, false, err
		}
		return "", false, err
	case kind == "s":
		if i, bad := strconv.Atoi(strings.TrimSpace(value)); bad == nil && i >= 0 && i < len(b.strings) {
			return b.strings[i], false, err
		}
		return "", false, err
	case kind == "b":
		return map[bool]string{true: "TRUE", false: "FALSE"}[strings.TrimSpace(value) == "1" || value == "true"], false, err
	case kind == "d":
		return strings.TrimSuffix(strings.Replace(value, "T", " ", 1), " 00:00:00"), true, err
	case kind == "str":
		return escapes(value), false, err
	case kind == "inlineStr" || kind == "e":
		return value, false, err
	}
	v, bad := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if bad != nil {
		return value, false, err
	}
	var format *sheet.Format
	if style >= 0 && style < len(b.formats) {
		format = b.formats[style]
	}
	return format.Show(v, b.date1904), true, err
}

// links returns the targets of cells that are links to elsewhere.
func (b *workbook) links(part string, rels []ooxml.Relation) (map[string]string, error) {
	targets := map[string]string{}
	for _, rel := range rels {
		if rel.External && rel.Kind == "hyperlink" {
			targets[rel.ID] = rel.Target
		}
	}
	if len(targets) == 0 {
		return nil, nil
	}
	links := map[string]string{}
	return links, b.pkg.Walk(part, func(r *xmlwalk.Reader) error {
		return r.Each(func(xmlwalk.Element) error {
			return r.Each(func(e xmlwalk.Element) error {
				if e.Tag != "x:hyperlinks" {
					return nil
				}
				return r.Each(func(h xmlwalk.Element) error {
					first, _, _ := strings.Cut(h.Get("ref"), ":")
					links[first] = targets[h.Get("r:id")]
					return nil
				})
			})
		})
	})
}

// comments writes the comments of a sheet, of the old kind and the new.
func (b *workbook) comments(part string) error {
	return b.pkg.Walk(part, func(r *xmlwalk.Reader) error {
		var in func(e xmlwalk.Element) error
		in = func(e xmlwalk.Element) error {
			if e.Tag != "x:comment" && e.Tag != "threadedComment" {
				return r.Each(in)
			}
			ref := e.Get("ref")
			return r.Each(func(e xmlwalk.Element) error {
				if e.Tag != "x:text" && e.Tag != "text" {
					return nil
				}
				text, err := "", error(nil)
				if e.Tag == "x:text" {
					text, err = rich(r)
				} else {
					text, err = r.Text(1 << 20)
				}
				if text = mdtext.OneLine(text); text != "" {
					b.w.Open("> ", "> ")
					b.w.Paragraph("Comment on " + mdtext.OneLine(ref) + ": " + text)
					b.w.Close()
				}
				return err
			})
		}
		return r.Each(in)
	})
}

// drawing writes what lies on a sheet: text boxes, the alternative text of pictures, the titles of charts, diagrams.
func (b *workbook) drawing(part string) error {
	texts, err := b.pkg.Diagram(part)
	if err != nil {
		return err
	}
	if err := b.pkg.Walk(part, func(r *xmlwalk.Reader) error {
		var in func(e xmlwalk.Element) error
		in = func(e xmlwalk.Element) error {
			if strings.HasSuffix(e.Tag, "cNvPr") && e.Get("descr") != "" && e.Get("descr") != "Picture" {
				texts = append(texts, e.Get("descr"))
			}
			return r.Each(in)
		}
		return r.Each(in)
	}); err != nil {
		return err
	}
	rels, err := b.pkg.Relations(part)
	if err != nil {
		return err
	}
	for _, rel := range rels {
		switch {
		case rel.External:
		case rel.Kind == "chart":
			title, _, err := b.pkg.Chart(rel.Target)
			if err != nil {
				return err
			}
			texts = append(texts, title)
		case rel.Kind == "diagramData":
			points, err := b.pkg.Diagram(rel.Target)
			if err != nil {
				return err
			}
			texts = append(texts, points...)
		}
	}
	for _, text := range texts {
		b.w.Paragraph(mdtext.OneLine(text))
	}
	return nil
}
