package pdf

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/klippa-app/go-pdfium/responses"
)

// page is what a page says.
type page struct {
	lines  []line
	notes  []string // form fields and annotations
	images bool     // an image is drawn on it; looked at only where there is no text
}

func (p page) empty() bool { return len(p.lines) == 0 && len(p.notes) == 0 }

// line is a line of text, or the part of it that lies in one column.
type line struct {
	text   string
	box    box
	size   float64 // the usual height of its letters
	hyphen bool    // text breaks off in a word; its hyphen is not in text
	after  bool    // a blank line stands before it
}

// box is a rectangle on the page in points, bottom below top, whatever way the page is turned for viewing.
type box struct{ left, bottom, right, top float64 }

func (b box) join(c box) box {
	return box{min(b.left, c.left), min(b.bottom, c.bottom), max(b.right, c.right), max(b.top, c.top)}
}

// glyph is one character where it is drawn; one that PDFium adds, such as a space between words, has no place of its own.
type glyph struct {
	r   rune
	box box
}

// layOut makes lines of the characters that PDFium found on a page. PDFium has them in the order in which they are drawn,
// which nearly every program makes the reading order, put into lines by where they lie; layOut mends what is left: words that
// a line's end divides, right-to-left text, columns drawn line by line across the page, and where paragraphs begin.
func layOut(chars []*responses.GetPageTextStructuredChar) []line {
	var rows [][]line
	var row []glyph
	flush := func(hyphen bool) {
		if parts := cut(toLogical(row), hyphen); len(parts) > 0 {
			rows = append(rows, parts)
		}
		row = row[:0]
	}
	for _, c := range chars {
		for _, r := range c.Text {
			switch r {
			case '\r', '\n':
				flush(false)
			case 2: // PDFium's mark for the hyphen at a line's end
				flush(true)
			default:
				p := c.PointPosition
				row = append(row, glyph{r, box{p.Left, p.Bottom, p.Right, p.Top}})
			}
		}
	}
	flush(false)
	lines := byColumn(rows)
	paragraphs(lines)
	return lines
}

// cut makes a line of a row of glyphs, or several where wide gaps are in it, as between the columns of a table or of a page.
func cut(row []glyph, hyphen bool) []line {
	var heights []float64
	for _, g := range row {
		if h := g.box.top - g.box.bottom; h > 0 && !unicode.IsSpace(g.r) {
			heights = append(heights, h)
		}
	}
	size := 0.0 // of glyphs without a shape that is known
	if len(heights) > 0 {
		slices.Sort(heights)
		size = heights[len(heights)/2]
	}
	var out []line
	for start := 0; start < len(row); {
		var b strings.Builder
		l := line{size: size}
		placed := false
		var last box
		i := start
		for ; i < len(row); i++ {
			g := row[i]
			if !unicode.IsSpace(g.r) && g.box.right > g.box.left {
				if placed && size > 0 && gap(last, g.box) > wideGap*size {
					break
				}
				if placed {
					l.box = l.box.join(g.box)
				} else {
					l.box, placed = g.box, true
				}
				last = g.box
			}
			b.WriteRune(g.r)
		}
		start = i
		if l.text = clean(b.String()); l.text != "" {
			out = append(out, l)
		}
	}
	if len(out) == 0 {
		return nil
	}
	if last := &out[len(out)-1]; hyphen {
		last.hyphen = true
	} else if t := strings.TrimRight(last.text, "-\u2010\u00ad"); len(t) < len(last.text) {
		if r, _ := utf8.DecodeLastRuneInString(t); unicode.IsLetter(r) && len(last.text)-len(t) <= 3 {
			last.text, last.hyphen = t, true
		}
	}
	return out
}

// wideGap is how wide, in heights of a letter without ascender, the gap between two columns is at least: about an em, wider
// than nearly any space between words, even in justified text.
const wideGap = 1.9

// gap is the distance between two boxes on a line, whichever comes first.
func gap(a, b box) float64 { return max(b.left-a.right, a.left-b.right) }

// paragraphs marks the lines that begin a paragraph: after more space than lines have between them, at another size, or
// indented where their neighbours are not.
func paragraphs(lines []line) {
	var leads []float64
	for i := 1; i < len(lines); i++ {
		if d := lead(lines[i-1], lines[i]); d > 0 {
			leads = append(leads, d)
		}
	}
	if len(leads) == 0 {
		return
	}
	slices.Sort(leads)
	usual := leads[len(leads)/2]
	for i := 1; i < len(lines); i++ {
		prev, l := lines[i-1], &lines[i]
		d := lead(prev, *l)
		switch {
		case prev.hyphen || d <= 0:
		case d > 1.4*max(usual, 1.1*l.size):
			l.after = true
		case l.size > 1.25*prev.size || l.size < .8*prev.size:
			l.after = utf8.RuneCountInString(l.text) > 3 && utf8.RuneCountInString(prev.text) > 3 // not a mark or an exponent
		case i+1 < len(lines):
			in, back := l.box.left-prev.box.left, l.box.left-lines[i+1].box.left
			l.after = in > l.size && in < 8*l.size && back > l.size && back < 8*l.size && !isItem(prev.text) &&
				lead(*l, lines[i+1]) > 0
		}
	}
}

// lead is the distance of l's base line below that of prev if l follows prev in one column, else 0.
func lead(prev, l line) float64 {
	if l.box.left > prev.box.right || l.box.right < prev.box.left {
		return 0
	}
	return prev.box.bottom - l.box.bottom
}

// isItem tells whether a line begins an item of a list.
func isItem(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	if strings.ContainsRune("•◦▪‣·*–—-●○■□➢✓", r) {
		return true
	}
	s = strings.TrimLeft(s, "(")
	digits := strings.TrimLeft(s, "0123456789")
	if len(digits) == len(s) && unicode.IsLetter(r) {
		digits = s[min(n, len(s)):]
	}
	return digits != s && (strings.HasPrefix(digits, ".") || strings.HasPrefix(digits, ")"))
}

// text writes the page, with each divided word whole on the line where it begins; words tell which of them keep their hyphen.
func (p page) text(words map[string]bool) string {
	var b strings.Builder
	lines := p.lines
	carried := ""
	for i := range lines {
		l := lines[i]
		t := l.text
		if carried != "" {
			t = strings.TrimPrefix(t, carried)
			t = strings.TrimLeft(t, " ")
			carried = ""
			if t == "" {
				continue
			}
		}
		if i > 0 {
			b.WriteByte('\n')
			if l.after {
				b.WriteByte('\n')
			}
		}
		b.WriteString(t)
		if l.hyphen {
			if i+1 < len(lines) {
				a, tail := lastWord(t), firstToken(lines[i+1].text)
				if keepHyphen(a, tail, words) {
					b.WriteByte('-')
				}
				b.WriteString(tail)
				carried = tail
			} else {
				b.WriteByte('-')
			}
		}
	}
	for i, n := range p.notes {
		if i > 0 {
			b.WriteByte('\n')
		} else if b.Len() > 0 {
			b.WriteString("\n\n")
		}
		b.WriteString(n)
	}
	return b.String()
}

// lexicon tells of each word that a line's end divides, and of its two halves with a hyphen, whether it stands undivided
// anywhere in the document. Keys are in lower case.
func lexicon(pages []page) map[string]bool {
	words := map[string]bool{}
	for _, p := range pages {
		for i, l := range p.lines {
			if l.hyphen && i+1 < len(p.lines) {
				a, b := strings.ToLower(lastWord(l.text)), strings.ToLower(firstWord(p.lines[i+1].text))
				words[a+b], words[a+"-"+b] = false, false
			}
		}
	}
	if len(words) == 0 {
		return words
	}
	for _, p := range pages {
		for _, l := range p.lines {
			for w := range strings.FieldsFuncSeq(l.text, func(r rune) bool { return !isWord(r) }) {
				w = strings.ToLower(w)
				if _, ok := words[w]; ok {
					words[w] = true
				}
			}
		}
	}
	return words
}

func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) || r == '-' || r == '\'' || r == '’'
}

func lastWord(s string) string {
	i := strings.LastIndexFunc(s, func(r rune) bool { return !isWord(r) })
	if i < 0 {
		return s
	}
	_, n := utf8.DecodeRuneInString(s[i:])
	return s[i+n:]
}

func firstWord(s string) string {
	if i := strings.IndexFunc(s, func(r rune) bool { return !isWord(r) }); i >= 0 {
		return s[:i]
	}
	return s
}

func firstToken(s string) string {
	s, _, _ = strings.Cut(s, " ")
	return s
}

// keepHyphen tells whether the hyphen between a and b, the halves of a word, is the word's own: because the document writes it
// so elsewhere, or it joins a number or a name.
func keepHyphen(a, b string, words map[string]bool) bool {
	b = firstWord(b)
	if b == "" || a == "" {
		return true
	}
	la, lb := strings.ToLower(a), strings.ToLower(b)
	if words[la+"-"+lb] {
		return true
	}
	if words[la+lb] {
		return false
	}
	x, _ := utf8.DecodeLastRuneInString(a)
	y, _ := utf8.DecodeRuneInString(b)
	if unicode.IsDigit(x) || unicode.IsDigit(y) {
		return true
	}
	return unicode.IsUpper(y) && !unicode.IsUpper(x)
}

// between is what stands between two pages: a paragraph that goes on is not divided by a blank line.
func between(before, after string) string {
	last, _ := utf8.DecodeLastRuneInString(before)
	first, _ := utf8.DecodeRuneInString(after)
	if unicode.IsLower(first) && (unicode.IsLetter(last) || last == ',' || last == '-' || last == ';') {
		return "\n"
	}
	return "\n\n"
}
