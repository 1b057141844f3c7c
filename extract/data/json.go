// Package data reads files of data for people: JSON, lines of JSON, and XML, feeds among them.
package data

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/llmemory/llmemory/extract"
)

// JSON reads JSON and, with Lines, lines of it. Its zero value is ready.
//
// Keys, values and their order stay. A file that stands on one line, or few, is laid out with one member a line, short arrays and
// objects apart. In strings, escapes become the characters they stand for, line ends and tabs too, so that words are found; \" and \\
// stay. A file with comments, or otherwise not quite JSON, is taken as it is, with a warning; one that ends in the middle is refused
// with [extract.ErrDamaged].
type JSON struct {
	Lines bool
}

// Extract implements [extract.Extractor].
func (x JSON) Extract(ctx context.Context, in extract.Input) (extract.Text, error) {
	s, warnings, err := in.ReadText(ctx, nil)
	if err != nil {
		return extract.Text{}, err
	}
	t := extract.Text{Type: "code", Format: "json", Markup: "json", Warnings: warnings}
	if in.Type != "" {
		t.Type = in.Type
	}
	if x.Lines {
		t.Format, t.Markup = "jsonl", "jsonl"
		bad := 0
		var b strings.Builder
		for line := range strings.Lines(s) {
			if record := strings.TrimSpace(line); record != "" && !json.Valid([]byte(record)) {
				bad++
			}
			readable(&b, line, false, in.MaxBytes)
			if err := ctx.Err(); err != nil {
				return extract.Text{}, err
			}
		}
		t.Content = b.String()
		if bad > 0 {
			t.Warnings = append(t.Warnings, fmt.Sprintf("%d lines are not JSON", bad))
		}
		return t, limit(t, in)
	}
	if !json.Valid([]byte(s)) {
		if unfinished(s) {
			return extract.Text{}, fmt.Errorf("%w: JSON ends in the middle", extract.ErrDamaged)
		}
		t.Content = s
		t.Warnings = append(t.Warnings, "not well-formed JSON, taken as it is")
		return t, limit(t, in)
	}
	var b strings.Builder
	readable(&b, s, len(s) > 200*(1+strings.Count(s, "\n")), in.MaxBytes)
	t.Content = b.String()
	return t, limit(t, in)
}

func limit(t extract.Text, in extract.Input) error {
	if in.MaxBytes > 0 && len(t.Content) > in.MaxBytes {
		return fmt.Errorf("%w: must be at most %d bytes of text", extract.ErrTooLarge, in.MaxBytes)
	}
	return nil
}

// unfinished tells whether a text ends within a string, an array or an object.
func unfinished(s string) bool {
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		}
	}
	return quoted || depth > 0
}

const (
	maxIndent = 16 // levels; deeper ones stand below each other
	shortest  = 80 // bytes of an array or object that stay on a line
)

// readable writes JSON for people, and stops soon after more than max bytes; 0 means no limit.
func readable(b *strings.Builder, s string, layOut bool, max int) {
	depth, flat := 0, 0 // flat: within so many arrays and objects that stay on their line
	line := func() {
		if flat == 0 {
			b.WriteByte('\n')
			b.WriteString(strings.Repeat("  ", min(depth, maxIndent)))
		} else {
			b.WriteByte(' ')
		}
	}
	for i := 0; i < len(s) && (max <= 0 || b.Len() <= max); i++ {
		c := s[i]
		if c == '"' {
			end := i + 1
			for end < len(s) && s[end] != '"' {
				if s[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end+1, len(s))
			unescape(b, s[i:end])
			i = end - 1
			continue
		}
		if !layOut {
			b.WriteByte(c)
			continue
		}
		switch c {
		case ' ', '\t', '\n', '\r':
		case '[', '{':
			b.WriteByte(c)
			depth++
			if flat > 0 || short(s[i:]) {
				flat++
			} else {
				line()
			}
		case ']', '}':
			depth--
			if flat > 0 {
				flat--
			} else {
				line()
			}
			b.WriteByte(c)
		case ',':
			b.WriteByte(c)
			line()
		case ':':
			b.WriteString(": ")
		default:
			b.WriteByte(c)
		}
	}
}

// short tells whether the array or object at the beginning of s is small and holds no other.
func short(s string) bool {
	quoted := false
	for i := 1; i < min(len(s), shortest); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			return false
		case c == ']' || c == '}':
			return true
		}
	}
	return false
}

// unescape writes a string of JSON, quotes included, with the characters that its escapes stand for.
func unescape(b *strings.Builder, s string) {
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 || i+1 >= len(s) {
			b.WriteString(s)
			return
		}
		b.WriteString(s[:i])
		escape := s[i+1]
		s = s[i+2:]
		switch escape {
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			if !strings.HasPrefix(s, `\n`) {
				b.WriteByte('\n')
			}
		case 'b', 'f':
			b.WriteByte(' ')
		case '/':
			b.WriteByte('/')
		case 'u':
			r, ok := hex(s)
			if !ok {
				b.WriteString(`\u`)
				continue
			}
			s = s[4:]
			if utf16.IsSurrogate(r) {
				low, ok := rune(0), false
				if strings.HasPrefix(s, `\u`) {
					low, ok = hex(s[2:])
				}
				if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
					s = s[6:]
				} else {
					r = utf8.RuneError
				}
			}
			switch {
			case r == '"' || r == '\\':
				b.WriteByte('\\')
				b.WriteRune(r)
			case r == '\n' || r == '\t':
				b.WriteRune(r)
			case r < 0x20 || r == 0x7f:
				b.WriteByte(' ')
			default:
				b.WriteRune(r)
			}
		default: // a quote or a backslash
			b.WriteByte('\\')
			b.WriteByte(escape)
		}
	}
}

// hex reads four hexadecimal digits.
func hex(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	v, err := strconv.ParseUint(s[:4], 16, 16)
	return rune(v), err == nil
}
