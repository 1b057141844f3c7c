package pdf

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// clean makes plain text of what the glyphs of a line stand for: ligatures and presentation forms as the letters they are
// made of, one space between words, and neither control characters nor glyphs that stand for no known character.
func clean(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	space := false
	for _, r := range s {
		r = plainRune(r)
		switch {
		case r < 0:
		case r == ' ':
			space = b.Len() > 0
		default:
			if space {
				b.WriteByte(' ')
				space = false
			}
			if isPresentation(r) {
				b.WriteString(norm.NFKC.String(string(r)))
			} else {
				b.WriteRune(r)
			}
		}
	}
	return norm.NFC.String(b.String())
}

// plainLines is clean for text whose places are not known.
func plainLines(s string) []line {
	var lines []line
	for l := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '\n' || r == '\r' }) {
		parts := strings.Split(l, "\x02")
		for i, part := range parts {
			if t := clean(part); t != "" {
				lines = append(lines, line{text: t, hyphen: i+1 < len(parts)})
			}
		}
	}
	return lines
}

// plainRune is the character to write for r, ' ' for every kind of space, -1 for none.
func plainRune(r rune) rune {
	switch {
	case r == '\t' || unicode.Is(unicode.Zs, r):
		return ' '
	case r == 0xF0B7 || r == 0xF0A7 || r == 0xF0D8 || r == 0xF0A8 || r == 0xF076 || r == 0xF0FC: // the bullets of Symbol and Wingdings
		return '•'
	case unicode.Is(unicode.Cc, r), unicode.Is(unicode.Co, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r),
		r == 0xAD, r == 0x200B, r == 0x2060, r == 0xFEFF, // invisible
		r == 0x200E, r == 0x200F, 0x202A <= r && r <= 0x202E, 0x2066 <= r && r <= 0x2069, // marks for the display of text that runs both ways
		r == unicode.ReplacementChar, r&0xFFFE == 0xFFFE, 0xFDD0 <= r && r <= 0xFDEF: // no characters
		return -1
	}
	return r
}

// isPresentation tells whether r is a ligature, a letter in one of its forms, or a radical in place of its ideograph.
func isPresentation(r rune) bool {
	return 0xFB00 <= r && r <= 0xFDFF || 0xFE70 <= r && r <= 0xFEFC || 0x2F00 <= r && r <= 0x2FD5
}
