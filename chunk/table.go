package chunk

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxQuoted is how long a quoted field may be. A longer one is taken for an ordinary field that begins with a quotation mark, and so
// are all that follow it: somebody forgot a mark, and the rest must not be one row.
const maxQuoted = 64 << 10

// csv reads the rows of a table.
type csv struct {
	text      string
	delimiter byte
	noQuotes  bool
}

// row returns the end of the row that begins at an offset, without its line end, where the next one begins, and its fields as they
// stand, if they are wanted.
func (c *csv) row(at int, wanted bool) (end, next int, fields []string) {
	from := at
	field := func(to int) {
		if wanted {
			fields = append(fields, unquote(c.text[from:to]))
		}
		from = to + 1
	}
	fresh := true // a field begins here
	for ; at < len(c.text); at++ {
		switch b := c.text[at]; {
		case b == '"' && fresh && !c.noQuotes:
			if n := c.quoted(at); n > 0 {
				at += n - 1
			} else {
				c.noQuotes = true
			}
			fresh = false
		case b == c.delimiter:
			field(at)
			fresh = true
		case b == '\n' || b == '\r':
			field(at)
			next = at + 1
			if b == '\r' && next < len(c.text) && c.text[next] == '\n' {
				next++
			}
			return at, next, fields
		default:
			fresh = false
		}
	}
	field(at)
	return at, at, fields
}

// quoted returns the length of the quotation that begins at an offset, or 0 if it is none.
func (c *csv) quoted(at int) int {
	s := c.text[at:min(len(c.text), at+maxQuoted)]
	for n := 1; n < len(s); n++ {
		if s[n] != '"' {
			continue
		}
		if n+1 < len(s) && s[n+1] == '"' {
			n++
			continue
		}
		return n + 1
	}
	return 0
}

func unquote(field string) string {
	field = strings.TrimSpace(field)
	if len(field) > 1 && field[0] == '"' && field[len(field)-1] == '"' {
		return strings.ReplaceAll(field[1:len(field)-1], `""`, `"`)
	}
	return field
}

// delimiter returns what stands between the fields of a text: of those that the first line has, the most frequent.
func delimiter(text, markup string) byte {
	if markup == "tsv" {
		return '\t'
	}
	first, _, _ := strings.Cut(strings.TrimLeft(text, "\ufeff\r\n"), "\n")
	best, most := byte(','), 0
	for _, d := range []byte(",;\t|") {
		if n := strings.Count(first, string(d)); n > most {
			best, most = d, n
		}
	}
	return best
}

// header reports whether the first row of a table names its columns: it has at least two fields, none a number or long.
func header(fields []string) bool {
	names := 0
	for _, f := range fields {
		if _, err := strconv.ParseFloat(strings.ReplaceAll(f, ",", "."), 64); err == nil || utf8.RuneCountInString(f) > 60 {
			return false
		}
		if f != "" {
			names++
		}
	}
	return names > 1
}

// table cuts CSV between rows.
func (b *builder) table(markup string) error {
	c := csv{text: b.text, delimiter: delimiter(b.text, markup)}
	s, rows, head := blockStrength, 0, false
	for at := 0; at < len(b.text); {
		end, next, fields := c.row(at, rows == 0)
		start, stop := b.trim(at, end)
		at = next
		if start == stop {
			continue
		}
		if rows == 0 {
			if fields[0] = strings.TrimPrefix(fields[0], "\ufeff"); header(fields) {
				b.head, head = columns(fields), true
			}
		}
		if rows == 1 && head {
			b.note(start, b.under(start, b.head))
			s = closerStrength // a header alone says nothing
		}
		if err := b.block(start, stop, s, b.prose); err != nil {
			return err
		}
		rows++
		s = lineStrength
	}
	return nil
}
