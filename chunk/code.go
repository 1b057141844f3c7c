package chunk

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// code cuts source text at empty lines, those before less indented lines first; blocks that do not fit at lines, again the
// less indented first. A comment stays with what it stands over, and a closing bracket with what it closes.
func (b *builder) code(start, end int, s strength) error {
	from, to := -1, -1
	first := true
	flush := func() error {
		if from < 0 {
			return nil
		}
		border := s
		if !first {
			border = b.lineBorder(line{from, to}, blockStrength)
		}
		first = false
		err := b.block(from, to, border, b.codeLines)
		from = -1
		return err
	}
	err := b.lines(start, end, func(l line) error {
		if strings.TrimSpace(b.text[l.start:l.end]) == "" {
			return flush()
		}
		if from < 0 {
			from = l.start
		}
		to = l.end
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// codeLines cuts a block without empty lines.
func (b *builder) codeLines(start, end int, s strength) error {
	// The block was trimmed: its first line begins with the indentation that stands before it.
	start -= len(b.text[:start]) - len(strings.TrimRight(b.text[:start], " \t"))
	var last line
	return b.lines(start, end, func(l line) error {
		border := s
		if last.end > 0 {
			border = b.lineBorder(l, lineStrength)
			if b.annotation(last) {
				border = min(border, sentenceStrength)
			}
		}
		last = l
		return b.block(l.start, l.end, border, b.clauses)
	})
}

// lineBorder returns the strength of the border before a line of code: base, less one for every two columns it is
// indented, and hardly any before a closing bracket or the closing fence of a code block.
func (b *builder) lineBorder(l line, base strength) strength {
	columns := 0
	for i := l.start; i < l.end; i++ {
		switch b.text[i] {
		case ' ':
			columns++
		case '\t':
			columns += 4
		default:
			if strings.IndexByte("}])`~", b.text[i]) >= 0 {
				return closerStrength
			}
			return base - strength(min(columns/2, 8))
		}
	}
	return base
}

// annotation reports whether a line is a comment or a decorator, which belongs to the line that follows.
func (b *builder) annotation(l line) bool {
	s := strings.TrimLeftFunc(b.text[l.start:l.end], unicode.IsSpace)
	for _, prefix := range []string{"//", "#", "--", "/*", "*", "@", ";", "%", "'"} {
		if rest, ok := strings.CutPrefix(s, prefix); ok {
			// A C preprocessor line, a pointer assignment or a JSON string is none.
			r, _ := utf8.DecodeRuneInString(rest)
			return len(prefix) > 1 || prefix == "@" || rest == "" || !unicode.IsLetter(r)
		}
	}
	return false
}
