package chunk

import (
	"strings"
	"unicode"
)

// titles finds lines between equals signs in a text without other mark-up, as MediaWiki and AsciiDoc have them, and lets them be
// headings of what follows; their level is the number of signs. They say that they are titles. Guessing at others, by their length and
// what stands around them, was tried: such headings made passages harder to find.
func (b *builder) titles(start, end int) error {
	var stack []heading
	rows := 0
	return b.lines(start, end, func(l line) error {
		if rows++; rows%1024 == 0 {
			if err := b.ctx.Err(); err != nil {
				return err
			}
		}
		from, to := b.trim(l.start, l.end)
		if from == to {
			return nil
		}
		alone := strings.TrimSpace(b.text[to:b.nextLine(b.nextLine(to))]) == ""
		level, name := marked(b.text[from:to], alone)
		if level == 0 || len(b.soft) == maxHeadings {
			return nil
		}
		for len(stack) > 0 && stack[len(stack)-1].level >= level {
			stack = stack[:len(stack)-1]
		}
		in := heading{start: from, level: level}
		if len(stack) > 0 {
			in.path = stack[len(stack)-1].path
		}
		in.path = append(in.path[:len(in.path):len(in.path)], brief(name, maxTitleBytes))
		stack, b.soft = append(stack, in), append(b.soft, in)
		if b.titled == nil {
			b.titled = map[int]int{}
		}
		b.titled[from] = level
		return nil
	})
}

// inForce returns the path of headings in force at an offset.
func (b *builder) inForce(at int) []string {
	if len(b.path) > 0 {
		return b.path
	}
	return b.soft.at(at)
}

// marked returns the level and the text of a title that stands between equals signs, or after two or more and before an empty line, or
// 0.
func marked(s string, alone bool) (level int, name string) {
	if s[0] != '=' || len(s) > 2*maxTitleBytes {
		return 0, ""
	}
	name = strings.TrimLeft(s, "= ")
	level = strings.Count(s[:len(s)-len(name)], "=")
	closed := strings.TrimRight(name, "= ")
	if level > 6 || strings.IndexFunc(closed, unicode.IsLetter) < 0 {
		return 0, ""
	}
	switch strings.Count(name[len(closed):], "=") {
	case level:
		return level, closed
	case 0:
		if alone && level > 1 && strings.HasPrefix(s, strings.Repeat("=", level)+" ") {
			return level, closed
		}
	}
	return 0, "" // an expression
}

// wiki reports whether a text that may be Markdown has titles of this kind and none of Markdown, and notes them.
func (b *builder) wiki() (bool, error) {
	if headed(b.text) {
		return false, nil
	}
	err := b.titles(0, len(b.text))
	return len(b.soft) > 0, err
}

// headed reports whether a text has headings of Markdown that begin with number signs.
func headed(s string) bool {
	for row := range strings.Lines(s) {
		row = strings.TrimLeft(row, " ")
		if name := strings.TrimLeft(row, "#"); len(name) < len(row) && (strings.HasPrefix(name, " ") || strings.HasPrefix(name, "\t")) {
			return true
		}
	}
	return false
}
