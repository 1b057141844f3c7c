package chunk

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/sentences"
)

// MaxParts is the most parts a leaf is embedded in.
const MaxParts = 3

// Parts cuts a passage into n parts of about the same length, for [Piece.Parts]: where a line or a sentence ends, if one does near
// enough, else between words. Together they are the whole text but for white space between them. There are fewer than n where the
// text cannot be cut so often.
func Parts(text string, n int) []string {
	if n <= 1 || text == "" {
		return []string{text}
	}
	ends, words := borders(text)
	var out []string
	from := 0
	for i := 1; i < n; i++ {
		ideal, reach := len(text)*i/n, len(text)/n/2
		at := nearestTo(ends, ideal, reach)
		if at < 0 {
			at = nearestTo(words, ideal, reach)
		}
		if at < 0 {
			for at = ideal; at < len(text) && !utf8.RuneStart(text[at]); at++ {
			}
		}
		if at <= from {
			continue
		}
		if part := strings.TrimSpace(text[from:at]); part != "" {
			out, from = append(out, part), at
		}
	}
	if last := strings.TrimSpace(text[from:]); last != "" {
		out = append(out, last)
	}
	return out
}

// borders returns the offsets in a text after which a line or a sentence has ended, and those of white space, both ascending. In text
// without capitals a full stop before white space ends a sentence, too.
func borders(text string) (ends, words []int) {
	last := 0
	for it := sentences.FromString(text); it.Next(); {
		if end := it.End(); !abbreviated(text[last:end]) {
			ends = append(ends, end)
			last = end
		}
	}
	var before rune
	for i, r := range text {
		if unicode.IsSpace(r) {
			words = append(words, i)
			if strings.ContainsRune(".!?…", before) && !abbreviated(text[max(0, i-12):i]) {
				ends = append(ends, i)
			}
		}
		before = r
	}
	slices.Sort(ends)
	return ends, words
}

// nearestTo returns the element of a list that is nearest to a number, of two the first in the list, -1 if none is within reach.
func nearestTo(list []int, n, reach int) int {
	best := -1
	for _, x := range list {
		if distance := max(x-n, n-x); distance <= reach && (best < 0 || distance < max(best-n, n-best)) {
			best = x
		}
	}
	return best
}
