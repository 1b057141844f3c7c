package mdtext

import (
	"strings"
	"unicode"
)

// The parts of equations as they stand on a line: fractions as (a)/(b), scripts with ^ and _, roots with √, matrices as
// [a, b; c, d].

// Fraction returns a fraction.
func Fraction(above, below string) string { return Group(above) + "/" + Group(below) }

// Script returns a script with its sign, ^ or _, and "" for an empty one.
func Script(sign, s string) string {
	if s = strings.TrimSpace(s); s == "" {
		return ""
	}
	return sign + Group(s)
}

// Root returns a root; the degree of a square root is "".
func Root(degree, s string) string { return Script("^", degree) + "√(" + strings.TrimSpace(s) + ")" }

// Group sets what is more than a word, a number or a group in parentheses.
func Group(s string) string {
	s = strings.TrimSpace(s)
	if strings.IndexFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && r != '.'
	}) < 0 {
		return s
	}
	if strings.HasPrefix(s, "(") && strings.IndexByte(s, ')') == len(s)-1 {
		return s
	}
	return "(" + s + ")"
}

// Visible removes the operators that are meant but not seen: that a function is applied, that factors are multiplied.
func Visible(s string) string { return invisible.Replace(s) }

var invisible = strings.NewReplacer("\u2061", " ", "\u2062", "", "\u2063", "", "\u2064", "")
