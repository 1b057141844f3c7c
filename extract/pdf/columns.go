package pdf

import (
	"slices"
	"unicode/utf8"
)

// byColumn makes lines of rows, each of which is cut where wide gaps are in it. The parts of a row are one line, as in a table,
// unless the page has columns of prose that are drawn line by line across them: then each column is read to its end. Columns
// that are drawn one after the other, as most programs do, need no such help and get none.
func byColumn(rows [][]line) []line {
	if x, ok := gutter(rows); ok {
		return divide(rows, x)
	}
	var out []line
	for _, row := range rows {
		if len(row) == 0 {
			continue
		}
		l := row[0]
		for _, part := range row[1:] {
			l.text += " " + part.text
			l.box = l.box.join(part.box)
			l.base = min(l.base, part.base)
			l.hyphen = part.hyphen
		}
		out = append(out, l)
	}
	return out
}

const (
	minSwitches = 4  // how often the order goes from one side of a gutter to the other if it goes by lines
	minProse    = 18 // characters in a line of a column of prose, on average
)

// gutter returns where two columns meet that are drawn line by line, if there are such: an x that few rows cross, with lines of
// prose on both sides of it and an order that goes back and forth between them.
func gutter(rows [][]line) (float64, bool) {
	var candidates []float64
	for _, row := range rows {
		for i := 1; i < len(row); i++ {
			a, b := row[i-1].box, row[i].box
			if b.left < a.left { // right-to-left: the parts come in reading order
				a, b = b, a
			}
			candidates = append(candidates, (a.right+b.left)/2)
		}
	}
	if len(candidates) < minSwitches {
		return 0, false
	}
	slices.Sort(candidates)
	best, bestScore := 0.0, 0
	for i := 0; i < len(candidates); i += max(1, len(candidates)/16) {
		x := candidates[i]
		if score := scoreGutter(rows, x); score > bestScore {
			best, bestScore = x, score
		}
	}
	return best, bestScore > 0
}

// scoreGutter is the number of rows that x divides, 0 if x is no gutter.
func scoreGutter(rows [][]line, x float64) int {
	var count, runes [2]int
	divided, crossing, switches, last := 0, 0, 0, -1
	for _, row := range rows {
		sides := [2]bool{}
		for _, p := range row {
			side := sideOf(p.box, x)
			if side == across {
				crossing++
				continue
			}
			sides[side] = true
			count[side]++
			runes[side] += utf8.RuneCountInString(p.text)
			if last >= 0 && side != last {
				switches++
			}
			last = side
		}
		if sides[0] && sides[1] {
			divided++
		}
	}
	if switches < minSwitches || divided < minSwitches/2 || count[0] < minSwitches/2 || count[1] < minSwitches/2 ||
		runes[0] < minProse*count[0] || runes[1] < minProse*count[1] || crossing > count[0]+count[1] {
		return 0
	}
	return divided
}

const across = 2

// sideOf tells whether a box lies left (0) or right (1) of x, or across it.
func sideOf(b box, x float64) int {
	switch {
	case b.right <= x:
		return 0
	case b.left >= x:
		return 1
	}
	return across
}

// divide reads the rows column by column: whatever lies across the gutter, such as a title, ends the columns above it.
func divide(rows [][]line, x float64) []line {
	var out []line
	var sides [2][][]line
	first, second := 0, 1
	if rightToLeft(rows) {
		first, second = 1, 0
	}
	flush := func() {
		out = append(out, byColumn(sides[first])...)
		out = append(out, byColumn(sides[second])...)
		sides = [2][][]line{}
	}
	for _, row := range rows {
		if slices.ContainsFunc(row, func(p line) bool { return sideOf(p.box, x) == across }) {
			flush()
			out = append(out, byColumn([][]line{row})...)
			continue
		}
		var parts [2][]line
		for _, p := range row {
			side := sideOf(p.box, x)
			parts[side] = append(parts[side], p)
		}
		for side, p := range parts {
			if len(p) > 0 {
				sides[side] = append(sides[side], p)
			}
		}
	}
	flush()
	return out
}

// rightToLeft tells whether most of the rows begin with a right-to-left letter.
func rightToLeft(rows [][]line) bool {
	n := 0
	for _, row := range rows {
		if len(row) > 0 {
			if r, _ := utf8.DecodeRuneInString(row[0].text); isRTL(r) {
				n++
			}
		}
	}
	return 2*n > len(rows)
}
