package mdtext

import (
	"strconv"
	"strings"
)

// Blocks takes the blocks of a text. A [Writer] writes them as they are, [Lines] gathers them for a place within another block.
type Blocks interface {
	Heading(level int, text string)
	Item(depth int, mark, text string)
	Continue(text string)
	Paragraph(text string)
	Code(language, text string)
	Table(t *Table)
}

// Lines gathers blocks as lines, for the text of a note, a cell or a text box. The zero value is empty.
type Lines struct{ List []string }

func (l *Lines) add(text string) {
	if text = strings.TrimSpace(text); text != "" {
		l.List = append(l.List, text)
	}
}

// Heading implements [Blocks].
func (l *Lines) Heading(_ int, text string) { l.add(text) }

// Paragraph implements [Blocks].
func (l *Lines) Paragraph(text string) { l.add(text) }

// Continue implements [Blocks].
func (l *Lines) Continue(text string) { l.add(text) }

// Code implements [Blocks].
func (l *Lines) Code(_, text string) { l.add(text) }

// Table implements [Blocks].
func (l *Lines) Table(t *Table) { l.add(t.Inline()) }

// Item implements [Blocks].
func (l *Lines) Item(_ int, mark, text string) {
	if mark == "-" {
		mark = "•"
	}
	if strings.TrimSpace(text) != "" {
		l.add(mark + " " + text)
	}
}

// String returns the lines.
func (l *Lines) String() string { return strings.Join(l.List, "\n") }

// Number writes a number in one of the formats of ECMA-376 part 1, 17.18.59, such as "lowerRoman", in figures where the format is not
// known.
func Number(n int, format string) string {
	switch format {
	case "none":
		return ""
	case "lowerLetter":
		return letters(n)
	case "upperLetter":
		return strings.ToUpper(letters(n))
	case "lowerRoman":
		return strings.ToLower(roman(n))
	case "upperRoman":
		return roman(n)
	case "decimalZero":
		if n >= 0 && n < 10 {
			return "0" + strconv.Itoa(n)
		}
	case "ordinal":
		suffix := "th"
		if n/10%10 != 1 {
			suffix = [10]string{"th", "st", "nd", "rd", "th", "th", "th", "th", "th", "th"}[max(0, n%10)]
		}
		return strconv.Itoa(n) + suffix
	case "chineseCounting", "chineseCountingThousand", "ideographDigital", "japaneseCounting", "taiwaneseCounting",
		"taiwaneseCountingThousand", "koreanCounting", "ideographTraditional":
		return han(n)
	}
	return strconv.Itoa(n)
}

func letters(n int) string {
	if n < 1 || n > 780 {
		return strconv.Itoa(n)
	}
	return strings.Repeat(string(rune('a'+(n-1)%26)), (n-1)/26+1)
}

func roman(n int) string {
	if n < 1 || n > 3999 {
		return strconv.Itoa(n)
	}
	var b strings.Builder
	for i, v := range []int{1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1} {
		for n >= v {
			b.WriteString([]string{"M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"}[i])
			n -= v
		}
	}
	return b.String()
}

func han(n int) string {
	digits := []string{"〇", "一", "二", "三", "四", "五", "六", "七", "八", "九"}
	switch {
	case n >= 0 && n < 10:
		return digits[n]
	case n >= 10 && n < 100:
		s := "十"
		if n >= 20 {
			s = digits[n/10] + s
		}
		if n%10 > 0 {
			s += digits[n%10]
		}
		return s
	}
	return strconv.Itoa(n)
}
