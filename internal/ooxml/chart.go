package ooxml

import (
	"strconv"
	"strings"

	"github.com/llmemory/llmemory/internal/mdtext"
	"github.com/llmemory/llmemory/internal/xmlwalk"
)

// maxPoints is how many values of a chart are read.
const maxPoints = 2000

// Chart returns the title of a chart in a part, and its values as a table: a row for each category, a column for each series. The
// values are those that were kept in the document.
func (p *Package) Chart(part string) (title string, table *mdtext.Table, err error) {
	c := &chart{}
	err = p.Walk(part, func(r *xmlwalk.Reader) error { return r.Each(func(e xmlwalk.Element) error { return c.element(r, e) }) })
	t := &mdtext.Table{}
	t.Row()
	t.Cell("", 1, 1)
	rows := 0
	for _, s := range c.series {
		t.Cell(s.name, 1, 1)
		rows = max(rows, len(s.values), len(s.categories))
	}
	for i := range rows {
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
	return mdtext.OneLine(strings.Join(c.title, " ")), t, err
}

type chart struct {
	title  []string
	series []series
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
