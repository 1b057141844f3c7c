// Package sheet writes the sheets of workbooks as Markdown, whatever format they come from, and shows numbers as spreadsheet programs
// show them.
package sheet

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// builtin are the number formats that have only a number ([ECMA-376] part 1, 18.8.30).
var builtin = map[int]string{
	1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 5: "$#,##0", 6: "$#,##0", 7: "$#,##0.00", 8: "$#,##0.00", 9: "0%", 10: "0.00%", 11: "0.00E+00",
	14: "yyyy-mm-dd", 15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy", 18: "h:mm AM/PM", 19: "h:mm:ss AM/PM", 20: "h:mm", 21: "h:mm:ss",
	22: "yyyy-mm-dd h:mm", 27: "yyyy-mm-dd", 28: "yyyy-mm-dd", 29: "yyyy-mm-dd", 30: "yyyy-mm-dd", 31: "yyyy-mm-dd", 32: "h:mm", 33: "h:mm:ss",
	34: "yyyy-mm-dd", 35: "yyyy-mm-dd", 36: "yyyy-mm-dd", 37: "#,##0;(#,##0)", 38: "#,##0;(#,##0)", 39: "#,##0.00;(#,##0.00)",
	40: "#,##0.00;(#,##0.00)", 41: "#,##0", 42: "$#,##0", 43: "#,##0.00", 44: "$#,##0.00", 45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss", 48: "##0.0E+0",
	49: "@", 50: "yyyy-mm-dd", 51: "yyyy-mm-dd", 52: "yyyy-mm-dd", 53: "yyyy-mm-dd", 54: "yyyy-mm-dd", 55: "yyyy-mm-dd", 56: "yyyy-mm-dd",
	57: "yyyy-mm-dd", 58: "yyyy-mm-dd",
}

// Builtin returns the code of a number format that has only a number, "" for General and for one that is not known.
func Builtin(id int) string { return builtin[id] }

// maxCode is the length of a code over which it is none, as in Excel.
const maxCode = 255

// Format is a number format. The zero value is General.
type Format struct{ sections []section }

// section is a part of a format, for some numbers.
type section struct {
	*form
	condition bool // it has one of its own
	op        string
	bound     float64
}

// NewFormat reads the code of a format, "" for General. One that is longer than any that Excel takes is General.
func NewFormat(code string) *Format {
	f := &Format{}
	if len(code) > maxCode {
		code = ""
	}
	for _, s := range split(code) {
		sec := section{form: parse(s)}
		sec.op, sec.bound, sec.condition = condition(s)
		f.sections = append(f.sections, sec)
	}
	return f
}

// Show shows a number. Dates and times are shown as ISO 8601 has them, whatever the format's order and words; date1904 tells that the
// days of the workbook begin in 1904.
func (f *Format) Show(v float64, date1904 bool) string {
	if math.IsNaN(v) || math.IsInf(v, 0) || math.Abs(v) > 1e300 {
		return ""
	}
	if f == nil || len(f.sections) == 0 {
		return General(v)
	}
	s, negative := f.choose(v)
	switch {
	case s.date:
		if t := s.moment(v, date1904); t != "" {
			return t
		}
		return General(v)
	case s.general || len(s.tokens) == 0:
		return s.prefix + General(v) + s.suffix()
	case s.fraction:
		return General(v)
	}
	if negative {
		v = -v
	}
	return s.number(v)
}

// General shows a number without a format: up to eleven digits, or all of an integer.
func General(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	s := strconv.FormatFloat(v, 'g', 11, 64)
	if short, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(short) >= 1e-9 && math.Abs(short) < 1e15 {
		return strconv.FormatFloat(short, 'f', -1, 64)
	}
	return s
}

// choose returns the section of a format for a value, and whether the section shows no sign of its own for a negative one.
func (f *Format) choose(v float64) (s section, negative bool) {
	last := f.sections[len(f.sections)-1]
	for i, s := range f.sections { // sections with conditions of their own
		if s.condition {
			hold := map[string]bool{"<": v < s.bound, "<=": v <= s.bound, ">": v > s.bound, ">=": v >= s.bound, "=": v == s.bound, "<>": v != s.bound}[s.op]
			if hold {
				return s, v < 0 && (s.op == "<" || s.op == "<=")
			}
			if i == len(f.sections)-1 {
				return s, false
			}
		}
	}
	switch {
	case f.sections[0].condition:
		return last, false
	case v < 0 && len(f.sections) > 1:
		return f.sections[1], true
	case v == 0 && len(f.sections) > 2:
		return f.sections[2], false
	}
	return f.sections[0], false
}

// split cuts a format into its sections.
func split(code string) []string {
	var out []string
	start, quoted := 0, false
	for i := 0; i < len(code); i++ {
		switch c := code[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && !quoted:
			i++
		case c == ';' && !quoted:
			out = append(out, code[start:i])
			start = i + 1
		}
	}
	return append(out, code[min(start, len(code)):])
}

// condition reads the condition of a section, such as [>=100].
func condition(section string) (op string, bound float64, ok bool) {
	for rest := section; ; {
		open := strings.IndexByte(rest, '[')
		if open < 0 {
			return "", 0, false
		}
		end := strings.IndexByte(rest[open:], ']')
		if end < 0 {
			return "", 0, false
		}
		in := rest[open+1 : open+end]
		rest = rest[open+end+1:]
		n := len(in) - len(strings.TrimLeft(in, "<>="))
		if n == 0 {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(in[n:]), 64)
		return in[:n], v, err == nil
	}
}

// form is a section of a format.
type form struct {
	tokens   []string // placeholders of digits one by one, ".", "E", and literals, which begin with a quote
	general  bool
	date     bool
	elapsed  bool // of hours, minutes or seconds that go on past a day
	day      bool // has a part of a date
	clock    bool // has a part of a time
	seconds  bool
	fraction bool
	percent  int
	thousand bool
	scale    int // how often a thousand is left out
	prefix   string
}

// suffix is what follows General in a format such as General" kg".
func (f *form) suffix() string {
	var b strings.Builder
	for _, t := range f.tokens {
		if strings.HasPrefix(t, `"`) {
			b.WriteString(t[1:])
		}
	}
	return b.String()
}

func parse(section string) *form {
	f := &form{}
	literal := func(s string) { f.tokens = append(f.tokens, `"`+s) }
	digits, commas := false, 0
	for i := 0; i < len(section); i++ {
		c := section[i]
		lower := c | 0x20
		switch {
		case c == '"':
			end := strings.IndexByte(section[i+1:], '"')
			if end < 0 {
				end = len(section) - i - 1
			}
			literal(section[i+1 : i+1+end])
			i += end + 1
		case c == '\\':
			if i+1 < len(section) {
				_, n := utf8.DecodeRuneInString(section[i+1:])
				literal(section[i+1 : i+1+n])
				i += n
			}
		case c == '_', c == '*': // the width of a character, and one that fills the column
			_, n := utf8.DecodeRuneInString(section[min(i+1, len(section)):])
			i += n
		case c == '[':
			end := strings.IndexByte(section[i:], ']')
			if end < 0 {
				i = len(section)
				break
			}
			in := section[i+1 : i+end]
			if sign, ok := strings.CutPrefix(in, "$"); ok {
				sign, _, _ = strings.Cut(sign, "-")
				literal(sign)
			} else if low := strings.ToLower(in); low != "" && strings.Trim(low, "h") == "" || low != "" && strings.Trim(low, "m") == "" || low != "" && strings.Trim(low, "s") == "" {
				f.date, f.clock, f.elapsed = true, true, true
				f.seconds = f.seconds || low[0] == 's'
			}
			i += end
		case strings.HasPrefix(strings.ToLower(section[i:]), "general"):
			f.general = true
			f.prefix, f.tokens = f.suffix(), nil
			i += len("general") - 1
		case strings.HasPrefix(strings.ToLower(section[i:]), "am/pm"):
			f.date, f.clock = true, true
			i += 4
		case strings.HasPrefix(strings.ToLower(section[i:]), "a/p"):
			f.date, f.clock = true, true
			i += 2
		case c == '0' || c == '#' || c == '?':
			if commas > 0 && digits {
				f.thousand = true
			}
			digits, commas = true, 0
			f.tokens = append(f.tokens, string(c))
		case c == ',':
			commas++
		case c == '.':
			f.scale, commas = f.scale+commas, 0
			f.tokens = append(f.tokens, ".")
		case c == '%':
			f.percent++
			literal("%")
		case (c == 'E' || c == 'e') && digits && i+1 < len(section) && (section[i+1] == '+' || section[i+1] == '-'):
			f.tokens = append(f.tokens, "E")
			i++
		case c == '/' && digits:
			f.fraction = true
		case lower == 'y' || lower == 'd' || c == 'g' || c == 'e' || c == 'b':
			f.date, f.day = true, true
		case lower == 'h':
			f.date, f.clock = true, true
		case lower == 's':
			f.date, f.clock, f.seconds = true, true, true
		case lower == 'm':
			f.date = true
			n := len(section[i:]) - len(strings.TrimLeft(section[i:], "mM"))
			// Minutes stand beside hours or seconds, months do not.
			before, after := strings.ToLower(section[:i]), strings.ToLower(section[i+n:])
			if n <= 2 && (lastOf(before, "hsyd") == 'h' || firstOf(after, "hsyd") == 's') {
				f.clock = true
			} else {
				f.day = true
			}
			i += n - 1
		case c == '@':
		default:
			_, n := utf8.DecodeRuneInString(section[i:])
			literal(section[i : i+n])
			i += n - 1
		}
	}
	if f.date {
		return f
	}
	f.scale += commas
	return f
}

func lastOf(s, of string) byte {
	for i := len(s) - 1; i >= 0; i-- {
		if strings.IndexByte(of, s[i]) >= 0 {
			return s[i]
		}
	}
	return 0
}

func firstOf(s, of string) byte {
	if i := strings.IndexAny(s, of); i >= 0 {
		return s[i]
	}
	return 0
}

// Time returns the moment of a number of days, to the second. It is false for what is no date.
func Time(v float64, date1904 bool) (time.Time, bool) {
	if v < 0 || v >= 2958466 {
		return time.Time{}, false
	}
	first := time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)
	switch {
	case date1904:
		first = time.Date(1904, 1, 1, 0, 0, 0, 0, time.UTC)
	case v < 60: // 1900 was taken for a leap year
		first = first.AddDate(0, 0, 1)
	}
	return first.AddDate(0, 0, int(v)).Add(time.Duration(math.Round((v-math.Floor(v))*86400)) * time.Second), true
}

// moment shows a date or a time.
func (f *form) moment(v float64, date1904 bool) string {
	if f.elapsed {
		seconds := int64(math.Round(math.Abs(v) * 86400))
		if math.Abs(v) > 1e9 {
			return ""
		}
		s := strconv.FormatInt(seconds/3600, 10) + ":" + two(seconds/60%60)
		if f.seconds || seconds%60 != 0 {
			s += ":" + two(seconds%60)
		}
		if v < 0 {
			s = "-" + s
		}
		return s
	}
	t, ok := Time(v, date1904)
	if !ok {
		return ""
	}
	clock := "15:04"
	if f.seconds || t.Second() != 0 {
		clock = "15:04:05"
	}
	switch {
	case f.day && f.clock:
		return t.Format("2006-01-02 " + clock)
	case f.clock:
		return t.Format(clock)
	}
	return t.Format("2006-01-02")
}

func two(n int64) string {
	if n < 10 {
		return "0" + strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10)
}

// number shows a number by its placeholders.
func (f *form) number(v float64) string {
	for range f.percent {
		v *= 100
	}
	for range min(f.scale, 10) {
		v /= 1000
	}
	whole, decimals, least, exponent, placeholders := 0, 0, 0, false, false
	point := false
	for _, t := range f.tokens {
		switch t {
		case ".":
			point = true
		case "E":
			exponent = true
		case "0", "#", "?":
			placeholders = true
			switch {
			case exponent:
			case point:
				decimals++
				if t == "0" {
					least = decimals
				}
			case t == "0":
				whole++
			}
		}
	}
	if !placeholders { // only words
		return strings.TrimSpace(f.suffix())
	}
	if exponent {
		return strings.ToUpper(strconv.FormatFloat(v, 'e', min(decimals, 30), 64))
	}
	s := strconv.FormatFloat(math.Abs(v), 'f', min(decimals, 30), 64)
	if rounded, err := strconv.ParseFloat(strconv.FormatFloat(math.Abs(v), 'g', 15, 64), 64); err == nil { // 1.005 is not 1.00499…
		power := math.Pow10(min(decimals, 15))
		s = strconv.FormatFloat(math.Round(rounded*power*(1+4e-16))/power, 'f', min(decimals, 30), 64)
	}
	digits, rest, _ := strings.Cut(s, ".")
	if digits == "0" {
		digits = ""
	}
	for len(digits) < min(whole, 100) {
		digits = "0" + digits
	}
	for len(rest) > least && strings.HasSuffix(rest, "0") {
		rest = rest[:len(rest)-1]
	}
	if f.thousand {
		for i := len(digits) - 3; i > 0; i -= 3 {
			digits = digits[:i] + "," + digits[i:]
		}
	}
	return f.fill(digits, rest, v < 0 && strings.Trim(s, "0.") != "")
}

// fill puts digits in the place of their placeholders, between the literals.
func (f *form) fill(digits, rest string, negative bool) string {
	left := 0 // placeholders before the point
	for _, t := range f.tokens {
		if t == "." {
			break
		}
		if !strings.HasPrefix(t, `"`) {
			left++
		}
	}
	apart := false // literals stand between placeholders, as in 000-00-0000
	seen := 0
	for _, t := range f.tokens {
		if strings.HasPrefix(t, `"`) {
			apart = apart || seen > 0 && seen < left
		} else if t != "." {
			seen++
		}
	}
	var b strings.Builder
	sign := func() {
		if negative {
			b.WriteByte('-')
			negative = false
		}
	}
	sign()
	used, point := 0, false
	for _, t := range f.tokens {
		switch {
		case strings.HasPrefix(t, `"`):
			b.WriteString(t[1:])
		case t == ".":
			if left == 0 && !point {
				b.WriteString(digits)
			}
			if point = true; rest != "" {
				b.WriteByte('.')
				b.WriteString(rest)
			}
		case point:
		case apart:
			// The last placeholders take a digit each, the first takes what is over.
			n := len(digits) - (left - used - 1)
			if used++; n > 0 {
				b.WriteString(digits[:min(n, len(digits))])
				digits = digits[min(n, len(digits)):]
			}
		default:
			if used++; used == 1 {
				b.WriteString(digits)
			}
		}
	}
	return strings.TrimSpace(b.String())
}
