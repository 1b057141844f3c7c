package docx

import (
	"strconv"
	"strings"

	"github.com/llmemory/llmemory/internal/mdtext"
	"github.com/llmemory/llmemory/internal/ooxml"
	"github.com/llmemory/llmemory/internal/xmlwalk"
)

// numbering counts the items of lists ([ECMA-376] part 1, 17.9).
type numbering struct {
	abstract map[string]*abstract
	nums     map[string]*num
}

type abstract struct {
	levels [9]level
	style  string // the numbering style that it stands for
	count  [9]int // of items since the level above, 0 before the first
}

type level struct {
	format, text string
	start        int
	restart      int // the level after which it begins anew, -1 for any above
	legal        bool
	given        bool
}

type num struct {
	abstract string
	start    map[int]int
	levels   map[int]level
	used     bool
}

func readNumbering(p *ooxml.Package, part string) (*numbering, error) {
	n := &numbering{abstract: map[string]*abstract{}, nums: map[string]*num{}}
	err := p.Walk(part, func(r *xmlwalk.Reader) error {
		return r.Each(func(xmlwalk.Element) error {
			return r.Each(func(e xmlwalk.Element) error {
				switch e.Tag {
				case "w:abstractNum":
					a := &abstract{}
					n.abstract[e.Get("abstractNumId")] = a
					return r.Each(func(c xmlwalk.Element) error {
						switch c.Tag {
						case "w:lvl":
							i, l, err := readLevel(r, c)
							if i >= 0 && i < len(a.levels) {
								a.levels[i] = l
							}
							return err
						case "w:numStyleLink":
							a.style = c.Get("val")
						}
						return nil
					})
				case "w:num":
					x := &num{start: map[int]int{}, levels: map[int]level{}}
					n.nums[e.Get("numId")] = x
					return r.Each(func(c xmlwalk.Element) error {
						switch c.Tag {
						case "w:abstractNumId":
							x.abstract = c.Get("val")
						case "w:lvlOverride":
							i := atoi(c.Get("ilvl"), 0)
							return r.Each(func(o xmlwalk.Element) error {
								switch o.Tag {
								case "w:startOverride":
									x.start[i] = atoi(o.Get("val"), 1)
								case "w:lvl":
									_, l, err := readLevel(r, o)
									x.levels[i] = l
									return err
								}
								return nil
							})
						}
						return nil
					})
				}
				return nil
			})
		})
	})
	return n, err
}

func readLevel(r *xmlwalk.Reader, e xmlwalk.Element) (int, level, error) {
	l := level{start: 1, restart: -1, format: "decimal", given: true}
	err := r.Each(func(c xmlwalk.Element) error {
		switch c.Tag {
		case "w:start":
			l.start = atoi(c.Get("val"), 1)
		case "w:numFmt":
			l.format = c.Get("val")
		case "w:lvlText":
			l.text = c.Get("val")
		case "w:lvlRestart":
			l.restart = atoi(c.Get("val"), -1)
		case "w:isLgl":
			l.legal = on(c)
		}
		return nil
	})
	return atoi(e.Get("ilvl"), 0), l, err
}

// next counts an item of a list and returns its mark: "-" for a bullet, "" for none.
func (n *numbering) next(id string, depth int, styles map[string]*style) string {
	x := n.nums[id]
	if x == nil || depth < 0 || depth >= 9 {
		return "-"
	}
	a := n.abstract[x.abstract]
	for hops := 0; a != nil && a.style != "" && hops < 10; hops++ {
		linked := styles[a.style]
		if linked == nil || n.nums[linked.num] == nil {
			break
		}
		a = n.abstract[n.nums[linked.num].abstract]
	}
	if a == nil {
		return "-"
	}
	at := func(i int) level {
		if l, ok := x.levels[i]; ok {
			return l
		}
		return a.levels[i]
	}
	start := func(i int) int {
		if s, ok := x.start[i]; ok {
			return s
		}
		if l := at(i); l.given {
			return l.start
		}
		return 1
	}
	if !x.used { // a list that begins anew with the numbers of another one
		x.used = true
		for i := range x.start {
			if i >= 0 && i < 9 {
				a.count[i] = 0
			}
		}
	}
	for i := range depth { // an item without one of the level above
		if a.count[i] == 0 {
			a.count[i] = 1
		}
	}
	a.count[depth]++
	for i := depth + 1; i < 9; i++ {
		if r := at(i).restart; r != 0 && (r < 0 || depth < r) {
			a.count[i] = 0
		}
	}
	l := at(depth)
	switch {
	case l.format == "bullet" && l.text != "" && strings.Trim(l.text, " \u00a0") == "": // goes on without a mark
		return ""
	case !l.given || l.format == "bullet":
		return "-"
	case l.format == "none" && strings.Trim(l.text, " ") == "":
		return ""
	}
	var b strings.Builder
	for i := 0; i < len(l.text) && b.Len() < 100; i++ {
		if l.text[i] != '%' || i+1 == len(l.text) || l.text[i+1] < '1' || l.text[i+1] > '9' {
			b.WriteByte(l.text[i])
			continue
		}
		i++
		of := int(l.text[i] - '1')
		format := at(of).format
		if l.legal {
			format = "decimal"
		}
		b.WriteString(mdtext.Number(start(of)+max(0, a.count[of]-1), format))
	}
	return strings.TrimSpace(b.String())
}

func atoi(s string, def int) int {
	if n, err := strconv.Atoi(strings.TrimSpace(s)); err == nil && n > -1_000_000 && n < 1_000_000 {
		return n
	}
	return def
}

// on reads a property that is either there or not.
func on(e xmlwalk.Element) bool {
	switch e.Get("val") {
	case "0", "false", "off":
		return false
	}
	return true
}
