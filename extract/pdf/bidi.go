package pdf

import (
	"slices"
	"unicode"
)

// toLogical puts a row with right-to-left letters into the order in which it is read. PDFium takes each row for drawn from left
// to right and turns right-to-left runs around; what it thereby gets wrong is seen from where the letters lie.
func toLogical(row []glyph) []glyph {
	letters, ahead, back := 0, 0, 0
	var last *glyph
	for i := range row {
		g := &row[i]
		if !isRTL(g.r) || unicode.IsMark(g.r) {
			if !unicode.IsSpace(g.r) && !unicode.IsMark(g.r) {
				last = nil
			}
			continue
		}
		letters++
		if last != nil && g.box.left != last.box.left {
			if g.box.left > last.box.left {
				ahead++
			} else {
				back++
			}
		}
		last = g
	}
	if letters < 2 {
		return row
	}
	if ahead > back { // drawn in reading order: turned around by mistake
		slices.SortStableFunc(row, func(a, b glyph) int {
			switch {
			case a.box.left < b.box.left:
				return -1
			case a.box.left > b.box.left:
				return 1
			}
			return 0
		})
		fromVisual(row)
	}
	// Several letters in one place are one glyph, a ligature or a whole word, whose letters come in reading order.
	for i := 0; i < len(row); {
		j, rtl := i+1, 0
		if isRTL(row[i].r) {
			rtl++
		}
		for j < len(row) && row[j].box == row[i].box {
			if isRTL(row[j].r) {
				rtl++
			}
			j++
		}
		if rtl > 1 {
			slices.Reverse(row[i:j])
		}
		i = j
	}
	return phrases(row)
}

// phrases mends right-to-left phrases of several words within other text: PDFium turns around each word by itself.
func phrases(row []glyph) []glyph {
	var out []glyph
	for i := 0; i < len(row); i++ {
		if !isRTL(row[i].r) {
			out = append(out, row[i])
			continue
		}
		end := i + 1 // behind the last right-to-left letter before one that is not
		for j := i + 1; j < len(row) && (isRTL(row[j].r) || !unicode.IsLetter(row[j].r) && !unicode.IsDigit(row[j].r)); j++ {
			if isRTL(row[j].r) {
				end = j + 1
			}
		}
		phrase := row[i:end]
		if first, last := phrase[0].box, phrase[len(phrase)-1].box; first.left < last.left {
			var words [][]glyph // and what is between them
			for start, j := 0, 1; j <= len(phrase); j++ {
				if j == len(phrase) || unicode.IsSpace(phrase[j].r) != unicode.IsSpace(phrase[j-1].r) {
					words = append(words, phrase[start:j])
					start = j
				}
			}
			slices.Reverse(words)
			phrase = slices.Concat(words...)
		}
		out = append(out, phrase...)
		i = end - 1
	}
	return out
}

// fromVisual reorders a row that is sorted from left to right into reading order: a row that has more right-to-left letters
// is turned around and the runs of other letters and of numbers turned back, else the right-to-left runs alone are turned.
func fromVisual(row []glyph) {
	rtl, ltr := 0, 0
	for _, g := range row {
		if isRTL(g.r) {
			rtl++
		} else if unicode.IsLetter(g.r) {
			ltr++
		}
	}
	turned := isRTL
	if rtl >= ltr {
		slices.Reverse(row)
		turned = func(r rune) bool { return !isRTL(r) && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
	}
	for i := 0; i < len(row); i++ {
		if !turned(row[i].r) {
			continue
		}
		end := i + 1
		for j := i + 1; j < len(row) && (turned(row[j].r) || !isRTL(row[j].r) && !unicode.IsLetter(row[j].r)); j++ {
			if turned(row[j].r) {
				end = j + 1
			}
		}
		slices.Reverse(row[i:end])
		i = end
	}
}

// isRTL tells whether r is written from right to left: Hebrew, Arabic, Syriac, Thaana, N'Ko and their kin.
func isRTL(r rune) bool {
	return 0x0590 <= r && r <= 0x08FF && !(0x0660 <= r && r <= 0x0669) && !(0x06F0 <= r && r <= 0x06F9) ||
		0xFB1D <= r && r <= 0xFDFF || 0xFE70 <= r && r <= 0xFEFC || 0x10800 <= r && r <= 0x10FFF || 0x1E800 <= r && r <= 0x1EFFF
}
