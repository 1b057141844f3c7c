package ooxml

import (
	"strconv"
	"strings"

	"github.com/llmemory/llmemory/internal/mdtext"
	"github.com/llmemory/llmemory/internal/xmlwalk"
)

const (
	maxPoints     = 2000    // values of a series
	maxChartCells = 200_000 // cells that the charts of a document come to; a chart beyond is only its title
)

// Chart returns the title of a chart in a part, and its values as a table: a row for each category, a column for each series. The
// values are those that were kept in the document.
func (p *Package) Chart(part string) (title string, table *mdtext.Table, err error) {
	c := &chart{bare: p.cells > maxChartCells}
	err = p.Walk(part, func(r *xmlwalk.Reader) error { return r.Each(func(e xmlwalk.Element) error { return c.element(r, e) }) })
	t := &mdtext.Table{}
	title = mdtext.OneLine(strings.Join(c.title, " "))
	if p.cells += c.rows() * (len(c.series) + 1); p.cells > maxChartCells {
		return title, t, err
	}
	t.Row()
	t.Cell("", 1, 1)
	for _, s := range c.series {
		t.Cell(s.name, 1, 1)
	}
	for i := range c.rows() {
		t.Row()
		category := ""
		for _, s := range c.series {
			if category == "" && i < len(s.categories) {
				category = s.categories[i]
			}
		}
		t.Cell(category, 1, 1)
		for _, s := range c.series {
			v := ""
			if i < len(s.values) {
				v = s.values[i]
			}
			t.Cell(v, 1, 1)
		}
	}
	return title, t, err
}

type chart struct {
	bare   bool // its values are not read
	title  []string
	series []series
}

// rows is how many values its longest series has.
func (c *chart) rows() int {
	n := 0
	for _, s := range c.series {
		n = max(n, len(s.values), len(s.categories))
	}
	return n
}

type series struct {
	name               string
	categories, values []string
}

func (c *chart) element(r *xmlwalk.Reader, e xmlwalk.Element) error {
	switch e.Tag {
	case "c:title":
		var in func(e xmlwalk.Element) error
		in = func(e xmlwalk.Element) error {
			if e.Tag != "a:t" {
				return r.Each(in)
			}
			s, err := r.Text(4096)
			c.title = append(c.title, s)
			return err
		}
		return r.Each(in)
	case "c:ser":
		if c.bare {
			return nil
		}
		var s series
		err := r.Each(func(e xmlwalk.Element) error {
			var list []string
			switch e.Tag {
			case "c:tx":
				err := points(r, &list)
				s.name = strings.Join(list, " ")
				return err
			case "c:cat", "c:xVal":
				return points(r, &s.categories)
			case "c:val", "c:yVal":
				return points(r, &s.values)
			}
			return nil
		})
		if len(c.series) < 100 {
			c.series = append(c.series, s)
		}
		return err
	}
	return r.Each(func(e xmlwalk.Element) error { return c.element(r, e) })
}

// points reads values at the places that they name.
func points(r *xmlwalk.Reader, list *[]string) error {
	var in func(e xmlwalk.Element) error
	at := 0
	in = func(e xmlwalk.Element) error {
		switch e.Tag {
		case "c:pt":
			at, _ = strconv.Atoi(e.Get("idx"))
		case "c:v":
			s, err := r.Text(4096)
			if at < 0 || at >= maxPoints {
				return err
			}
			for len(*list) <= at {
				*list = append(*list, "")
			}
			if v, parsed := strconv.ParseFloat(s, 64); parsed == nil {
				s = strconv.FormatFloat(v, 'g', 12, 64)
			}
			(*list)[at] = s
			return err
		case "c:f", "c:formatCode":
			return nil
		}
		return r.Each(in)
	}
	return r.Each(in)
}
