package odf

import (
	"strconv"
	"strings"

	"github.com/llmemory/llmemory/internal/mdtext"
	"github.com/llmemory/llmemory/internal/xmlwalk"
)

// listStyle says how the items of a list are marked, level by level.
type listStyle struct{ levels [10]listLevel }

type listLevel struct {
	format         string // of its numbers, "" for a bullet or nothing
	prefix, suffix string
	shown          int // how many levels of numbers are shown
	start          int
}

func (l *listStyle) read(r *xmlwalk.Reader) error {
	return r.Each(func(e xmlwalk.Element) error {
		i := atoi(e.Get("text:level"), 0) - 1
		if i < 0 || i >= len(l.levels) || e.Tag != "text:list-level-style-number" && e.Tag != "text:outline-level-style" {
			return nil
		}
		l.levels[i] = listLevel{
			format: map[string]string{"1": "decimal", "a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman", "一, 二, 三, ...": "chineseCounting"}[e.Get("style:num-format")],
			prefix: e.Get("style:num-prefix"), suffix: e.Get("style:num-suffix"), shown: atoi(e.Get("text:display-levels"), 1), start: atoi(e.Get("text:start-value"), 1),
		}
		if f := e.Get("style:num-format"); f != "" && l.levels[i].format == "" {
			l.levels[i].format = "decimal"
		}
		return nil
	})
}

// mark returns the mark of an item, given the numbers of the levels down to its own; "-" for a bullet.
func (l *listStyle) mark(counts []int) string {
	depth := len(counts) - 1
	if l == nil || depth >= len(l.levels) || l.levels[depth].format == "" {
		return "-"
	}
	level := l.levels[depth]
	var parts []string
	for i := max(0, depth+1-max(1, level.shown)); i <= depth; i++ {
		if l.levels[i].format != "" {
			parts = append(parts, mdtext.Number(counts[i], l.levels[i].format))
		}
	}
	return strings.TrimSpace(level.prefix + strings.Join(parts, ".") + level.suffix)
}

// list is a list that is being read.
type list struct {
	style  *listStyle
	counts []int // the numbers of the item at hand and of those around it
	text   int   // paragraphs of the item so far
}

// list reads a list; within is the one around it.
func (s *story) list(r *xmlwalk.Reader, e xmlwalk.Element, within *list) error {
	l := &list{}
	name := e.Get("text:style-name")
	if within != nil {
		l.style, l.counts = within.style, within.counts
	}
	if name != "" {
		l.style = s.lists[name]
	}
	start := 1
	depth := len(l.counts)
	if l.style != nil && depth < len(l.style.levels) && l.style.levels[depth].start > 0 {
		start = l.style.levels[depth].start
	}
	goesOn := ""
	if id := e.Get("text:continue-list"); id != "" {
		goesOn = "#" + id
	} else if e.Get("text:continue-numbering") == "true" {
		goesOn = name
	}
	if last := s.last[goesOn]; within == nil && goesOn != "" && len(last) > 0 {
		start = last[0] + 1
	}
	l.counts = append(l.counts[:depth:depth], start-1)
	err := r.Each(func(i xmlwalk.Element) error {
		switch i.Tag {
		case "text:list-item":
			if v, err := strconv.Atoi(i.Get("text:start-value")); err == nil && v >= 0 && v < 1_000_000 {
				l.counts[depth] = v - 1
			}
			l.counts[depth]++
		case "text:list-header":
		default:
			return nil
		}
		l.text = 0
		if i.Tag == "text:list-header" {
			l.text = 1
		}
		return s.item(r, l)
	})
	if within == nil {
		s.last[name] = l.counts
		if id := e.Get("id"); id != "" {
			s.last["#"+id] = l.counts
		}
	}
	return err
}

// item reads what stands in an item.
func (s *story) item(r *xmlwalk.Reader, l *list) error {
	depth := len(l.counts) - 1
	return r.Each(func(e xmlwalk.Element) error {
		switch e.Tag {
		case "text:list":
			return s.list(r, e, l)
		case "text:p", "text:h":
			p, err := s.read(r)
			text := p.String()
			switch level := s.level(e); {
			case text == "":
			case level > 0:
				if mark := l.style.mark(l.counts); mark != "-" && l.style != nil {
					text = mark + " " + text
				}
				s.out.Heading(level, text)
			case l.text == 0:
				s.out.Item(depth, l.style.mark(l.counts), text)
				l.text++
			default:
				s.out.Continue(text)
			}
			s.aside(p)
			return err
		}
		return s.block(r, e)
	})
}

func atoi(s string, def int) int {
	if n, err := strconv.Atoi(strings.TrimSpace(s)); err == nil && n > -1_000_000 && n < 100_000_000 {
		return n
	}
	return def
}
