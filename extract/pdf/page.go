package pdf

import (
	"cmp"
	"iter"
	"math"
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
	glyphs bool     // what is written on it stands for no known characters: there are no lines
}

func (p page) empty() bool { return len(p.lines) == 0 && len(p.notes) == 0 }

// line is a line of text, or the part of it that lies in one column.
type line struct {
	text   string
	box    box
	size   float64 // of its type, 0 if that is not known
	base   float64 // where they stand
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
	turned := false // the row is written in another direction than from left to right: its places say nothing here
	flush := func(hyphen bool) {
		size := letterSize(row)
		if turned {
			if l, ok := whole(row); ok {
				rows = append(rows, []line{l})
				hyphenate(rows[len(rows)-1], hyphen)
			}
			row, turned = row[:0], false
			return
		}
		for at := range turns(row, size) {
			if parts := cut(toLogical(at), size); len(parts) > 0 {
				rows = append(rows, parts)
			}
		}
		if n := len(rows); n > 0 && len(row) > 0 {
			hyphenate(rows[n-1], hyphen)
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
				turned = turned || math.Abs(math.Remainder(c.Angle, 2*math.Pi)) > .1
				row = append(row, glyph{r, box{p.Left, p.Bottom, p.Right, p.Top}})
			}
		}
	}
	flush(false)
	lines := byColumn(rows)
	paragraphs(lines)
	return lines
}

// whole makes a line of a row as it is.
func whole(row []glyph) (line, bool) {
	var b strings.Builder
	for _, g := range row {
		b.WriteRune(g.r)
	}
	l := line{text: clean(b.String())}
	return l, l.text != ""
}

// letterSize is about the size of the type of a row, told by its taller letters, whose height is some .72 of it in nearly every
// typeface; 0 if no letter has a shape.
func letterSize(row []glyph) float64 {
	var heights []float64
	for _, g := range row {
		if h := g.box.top - g.box.bottom; h > 0 && !unicode.IsSpace(g.r) {
			heights = append(heights, h)
		}
	}
	return quantile(heights, .8) / .72
}

func quantile(list []float64, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[int(float64(len(list)-1)*q)]
}

// turns yields the parts of a row between which it goes back by more than a wide gap, to another line that PDFium takes for the
// same.
func turns(row []glyph, size float64) iter.Seq[[]glyph] {
	rtl := 0
	for _, g := range row {
		if isRTL(g.r) {
			rtl++
		} else if unicode.IsLetter(g.r) {
			rtl--
		}
	}
	return func(yield func([]glyph) bool) {
		start := 0
		var last *box
		for i := range row {
			b := &row[i].box
			if unicode.IsSpace(row[i].r) {
				continue
			}
			if last != nil && size > 0 && rtl <= 0 && last.left-b.right > wideGap*size {
				if !yield(row[start:i]) {
					return
				}
				start = i
			}
			last = b
		}
		yield(row[start:])
	}
}

// cut makes a line of a row of glyphs, or several where wide gaps are in it, as between the columns of a table or of a page.
func cut(row []glyph, size float64) []line {
	edges := wideGaps(row, size)
	texts := make([]strings.Builder, len(edges)+1)
	lines := make([]line, len(edges)+1)
	bases := make([][]float64, len(edges)+1)
	var order []int
	part := -1
	for _, g := range row {
		if !unicode.IsSpace(g.r) {
			if part, _ = slices.BinarySearch(edges, (g.box.left+g.box.right)/2); bases[part] == nil {
				order = append(order, part)
				lines[part].box = g.box
			}
			lines[part].box = lines[part].box.join(g.box)
			bases[part] = append(bases[part], g.box.bottom)
		}
		if part >= 0 {
			texts[part].WriteRune(g.r)
		}
	}
	var out []line
	for _, i := range order {
		l := lines[i]
		l.size, l.base = size, quantile(bases[i], .5)
		if l.text = clean(texts[i].String()); l.text != "" {
			out = append(out, l)
		}
	}
	return out
}

// wideGaps are the middles of the wide gaps in a row, from left to right.
func wideGaps(row []glyph, size float64) []float64 {
	if size == 0 {
		return nil
	}
	var boxes []box
	for _, g := range row {
		if !unicode.IsSpace(g.r) {
			boxes = append(boxes, g.box)
		}
	}
	slices.SortFunc(boxes, func(a, b box) int { return cmp.Compare(a.left, b.left) })
	var edges []float64
	for i, b := range boxes {
		if i > 0 && b.left-boxes[i-1].right > wideGap*size {
			edges = append(edges, (b.left+boxes[i-1].right)/2)
		}
		if i > 0 {
			boxes[i].right = max(b.right, boxes[i-1].right)
		}
	}
	return edges
}

// hyphenate notes that a word breaks off at the end of a row, because PDFium says so or because of what is there.
func hyphenate(row []line, hyphen bool) {
	last := &row[len(row)-1]
	if hyphen {
		last.hyphen = true
	} else if t := strings.TrimRight(last.text, "-\u2010"); len(t) < len(last.text) {
		if r, _ := utf8.DecodeLastRuneInString(t); unicode.IsLetter(r) && len(last.text)-len(t) <= 3 {
			last.text, last.hyphen = t, true
		}
	}
}

// wideGap is how wide, in sizes of the type, the gap between two columns is at least: wider than nearly any space between words,
// even in justified text.
const wideGap = .95

// paragraphs marks the lines that begin a paragraph: after more space than lines have between them, at another size, or
// indented where their neighbours are not.
func paragraphs(lines []line) {
	var leads []float64
	for i := 1; i < len(lines); i++ {
		if d := lead(lines[i-1], lines[i]); d > 0 {
			leads = append(leads, d)
		}
	}
	usual := quantile(leads, .3) // not the middle: a page may have more gaps between paragraphs than within
	for i := 1; i < len(lines); i++ {
		prev, l := lines[i-1], &lines[i]
		d := lead(prev, *l)
		switch {
		case prev.hyphen || d <= 0:
		case d > 1.4*max(usual, 1.1*l.size):
			l.after = true
		case l.size > 0 && prev.size > 0 && (l.size > 1.25*prev.size || l.size < .8*prev.size):
			l.after = utf8.RuneCountInString(l.text) > 3 && utf8.RuneCountInString(prev.text) > 3 // not a mark or an exponent
		case i+1 < len(lines):
			in, back := l.box.left-prev.box.left, l.box.left-lines[i+1].box.left
			l.after = in > .7*l.size && in < 5*l.size && back > .7*l.size && back < 5*l.size && !isItem(prev.text) &&
				lead(*l, lines[i+1]) > 0
		}
	}
}

// lead is the distance of l's base line below that of prev if l follows prev in one column, else 0.
func lead(prev, l line) float64 {
	if l.box.left > prev.box.right || l.box.right < prev.box.left {
		return 0
	}
	return prev.base - l.base
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
