package chunk

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/sentences"
)

// line is the range of one line without its end.
type line struct{ start, end int }

// lines calls yield for each line of text[start:end]: LF, CR LF, CR, form feed, and Unicode's line and paragraph separators
// end one.
func (b *builder) lines(start, end int, yield func(line) error) error {
	for at := start; at < end; {
		stop, next := end, end
		if n := b.lineEnd(b.text[at:end]); n >= 0 {
			stop = at + n
			_, size := utf8.DecodeRuneInString(b.text[stop:])
			next = stop + size
			if b.text[stop] == '\r' && next < end && b.text[next] == '\n' {
				next++
			}
		}
		if err := yield(line{at, stop}); err != nil {
			return err
		}
		at = next
	}
	return nil
}

// lineEnd returns the index of the first line end in a part of the text, or -1. Most texts have but one kind, which is found faster alone.
func (b *builder) lineEnd(s string) int {
	if b.unix {
		return strings.IndexByte(s, '\n')
	}
	return strings.IndexAny(s, lineEnds)
}

// lineEnds are the characters that end a line.
const lineEnds = "\n\r\f\u0085\u2028\u2029"

// unix reports whether line feeds alone end the lines of a text.
func unix(s string) bool {
	for _, end := range lineEnds[1:] {
		if strings.ContainsRune(s, end) {
			return false
		}
	}
	return true
}

// paragraphs cuts text[start:end] at empty lines.
func (b *builder) paragraphs(start, end int, first strength) error {
	var (
		from, to  = -1, -1 // the paragraph being read
		before    int      // where the one before it ends
		rows      int      // its lines
		empty     int      // empty lines since the paragraph before
		lastTitle bool     // whether the paragraph before looks like a title
		lastLead  bool     // whether it ends with a colon
	)
	flush := func() error {
		if from < 0 {
			return nil
		}
		sheet := false
		for len(b.pages) > 0 && b.pages[0] <= from {
			sheet, b.pages = b.pages[0] >= before, b.pages[1:] // else a paragraph goes on there
		}
		s := blockStrength
		switch {
		case first > 0:
			s, first = first, 0
		case sheet:
			s = sheetStrength
		case lastLead:
			s = leadStrength
		case empty > 1:
			s = gapStrength
		case lastTitle:
			s = titleStrength
		}
		text := b.text[from:to]
		lastTitle, lastLead = rows == 1 && title(text), endsWith(text, ":：")
		var err error
		if b.sentential {
			err = b.prose(from, to, s)
		} else {
			err = b.block(from, to, s, b.prose)
		}
		before = to
		from, rows, empty = -1, 0, 0
		return err
	}
	err := b.lines(start, end, func(l line) error {
		from2, to2 := b.trim(l.start, l.end)
		if from2 == to2 {
			err := flush()
			empty++
			return err
		}
		if level := b.titled[from2]; level > 0 {
			if err := flush(); err != nil {
				return err
			}
			first, lastTitle, lastLead = 0, false, false
			return b.hold(from2, to2, headingStrength+strength(6-level))
		}
		if from < 0 {
			from = from2
		}
		to = to2
		rows++
		return nil
	})
	if err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	return b.release(end)
}

// title reports whether a paragraph of one line looks like the title of what follows: short, without a mark at its end.
func title(s string) bool {
	return len(s) <= 80 && !endsWith(s, ".!?:;,…。！？：；，、")
}

func endsWith(s, marks string) bool {
	r, _ := utf8.DecodeLastRuneInString(s)
	return strings.ContainsRune(marks, r)
}

// prose cuts a paragraph into sentences. A line ends one as well, unless the paragraph is filled: where the first word of
// the next line would not have fitted, the line's end is mere layout.
func (b *builder) prose(start, end int, s strength) error {
	const narrowest, widest = 40, 200 // of filled text
	width := 0
	_ = b.lines(start, end, func(l line) error { // yields no error
		width = max(width, utf8.RuneCountInString(b.text[l.start:l.end]))
		return nil
	})
	if width > widest {
		return b.longLines(start, end, s)
	}
	var rows []line // that are one filled paragraph so far
	length := 0     // of the last of them
	flush := func() error {
		err := b.sentences(rows, s)
		rows, s = rows[:0], lineStrength
		return err
	}
	err := b.lines(start, end, func(l line) error {
		row := b.text[l.start:l.end]
		if len(rows) > 0 {
			word := strings.TrimLeftFunc(row, unicode.IsSpace)
			if n := strings.IndexFunc(word, unicode.IsSpace); n >= 0 {
				word = word[:n]
			}
			layout := length >= narrowest && length+1+utf8.RuneCountInString(word) > width
			if !layout {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		rows, length = append(rows, l), utf8.RuneCountInString(row)
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// longLines cuts a text whose lines are paragraphs.
func (b *builder) longLines(start, end int, s strength) error {
	return b.lines(start, end, func(l line) error {
		from, to := b.trim(l.start, l.end)
		if from == to {
			return nil
		}
		if from > start {
			s = rowStrength
		}
		split := func(start, end int, s strength) error { return b.sentences([]line{{start, end}}, s) }
		if b.sentential {
			return split(from, to, s)
		}
		return b.block(from, to, s, split)
	})
}

// sentences cuts lines that are one filled paragraph at the ends of sentences (Unicode Standard Annex 29), leaving out ends
// that are those of abbreviations.
func (b *builder) sentences(rows []line, s strength) error {
	start, end := rows[0].start, rows[len(rows)-1].end
	text := b.text[start:end]
	if len(rows) > 1 {
		var flat strings.Builder
		flat.Grow(len(text))
		for i, l := range rows {
			if i > 0 {
				flat.WriteString(strings.Repeat(" ", l.start-rows[i-1].end))
			}
			flat.WriteString(b.text[l.start:l.end])
		}
		text = flat.String()
	}
	from := 0
	flush := func(to int) error {
		err := b.block(start+from, start+to, s, b.clauses)
		from, s = to, sentenceStrength
		return err
	}
	for it := sentences.FromString(text); it.Next(); {
		if it.End() == len(text) || abbreviated(text[from:it.End()]) {
			continue
		}
		if err := flush(it.End()); err != nil {
			return err
		}
	}
	return flush(len(text))
}

// abbreviations after which a sentence hardly ever ends, in lower case and without the last full stop.
var abbreviations = map[string]bool{
	"mr": true, "mrs": true, "ms": true, "dr": true, "prof": true, "st": true, "sr": true, "jr": true, "gen": true,
	"vs": true, "cf": true, "fig": true, "figs": true, "eq": true, "sec": true, "ch": true, "vol": true, "no": true,
	"nos": true, "pp": true, "ed": true, "eds": true, "al": true, "e.g": true, "i.e": true, "approx": true, "dept": true,
	"art": true, "nr": true, "abb": true, "bzw": true, "z.b": true, "d.h": true, "u.a": true, "vgl": true, "bd": true,
	"sra": true, "mme": true, "mlle": true, "sig": true, "dott": true,
}

// abbreviated reports whether a sentence ends with an abbreviation, an initial, or the number of a list item.
func abbreviated(sentence string) bool {
	s := strings.TrimRightFunc(sentence, unicode.IsSpace)
	word, stop := strings.CutSuffix(s, ".")
	if !stop {
		return false
	}
	if n := strings.LastIndexFunc(word, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("([\"'“‘„", r) }); n >= 0 {
		_, size := utf8.DecodeRuneInString(word[n:])
		word = word[n+size:]
	}
	if word == "" {
		return false // the full stop stands alone
	}
	if r, size := utf8.DecodeRuneInString(word); size == len(word) && unicode.IsUpper(r) {
		return true // an initial
	}
	if len(word) <= 2 && strings.Trim(word, "0123456789") == "" {
		return true
	}
	return len(word) <= 8 && abbreviations[strings.ToLower(word)]
}

// clauses cuts a sentence at the ends of lines, after commas and the like, and, which is better, after full stops that end no
// sentence by the rules, as in text without capitals.
func (b *builder) clauses(start, end int, s strength) error {
	from := start
	flush := func(to int, next strength) error {
		if from2, to2 := b.trim(from, to); from2 < to2 {
			if err := b.block(from2, to2, s, b.words); err != nil {
				return err
			}
			s = next
		}
		from = to
		return nil
	}
	var mark rune // the character before, if it is a mark that ends a clause when white space follows
	for i, r := range b.text[start:end] {
		at, border := start+i, insideWord
		switch {
		case r == '\n', mark != 0 && mark != '.' && unicode.IsSpace(r):
			border = clauseStrength
		case mark == '.' && unicode.IsSpace(r) && !abbreviated(b.text[max(start, at-12):at]):
			border = stopStrength
		}
		if border > 0 {
			if err := flush(at, border); err != nil {
				return err
			}
		}
		mark = 0
		switch r {
		case '.', '!', '?', '…':
			mark = '.'
		case ',', ';', ':', ')', '–', '—', '،', '؛':
			mark = r
		case '、', '，', '；', '：':
			if err := flush(at+utf8.RuneLen(r), clauseStrength); err != nil {
				return err
			}
		}
	}
	return flush(end, clauseStrength)
}
