package mdtext

import (
	"strings"
)

// Table is a grid of cells, filled row by row. A cell that spans several columns or rows stands in its first place; the others
// stay empty. The zero value is an empty table.
type Table struct {
	// MaxCells is how many cells the grid may get, merged ones counted; 0 means 1,000,000. What is over it is dropped.
	MaxCells int

	rows  [][]string
	spans []int // for each column, how many of the next rows a cell from above still covers
	cells int
	col   int
	full  bool
}

// Full reports whether cells were dropped because of MaxCells.
func (t *Table) Full() bool { return t.full }

// maxColumns is how many columns a table may have; cells beyond are dropped.
const maxColumns = 4096

// Row begins a row.
func (t *Table) Row() {
	if t.full {
		return
	}
	if len(t.rows) > 0 {
		t.endRow()
	}
	t.rows, t.col = append(t.rows, nil), 0
}

// endRow counts down the cells from above that the row has not reached.
func (t *Table) endRow() {
	for c := t.col; c < len(t.spans); c++ {
		if t.spans[c] > 0 {
			t.spans[c]--
		}
	}
}

// Cell adds a cell to the row begun last. Its text may be of several lines; cols and rows are what it spans, 1 or less for no
// more than itself.
func (t *Table) Cell(text string, cols, rows int) {
	if t.full {
		return
	}
	if len(t.rows) == 0 {
		t.Row()
	}
	limit := t.MaxCells
	if limit == 0 {
		limit = 1_000_000
	}
	row := &t.rows[len(t.rows)-1]
	for t.col < len(t.spans) && t.spans[t.col] > 0 {
		t.spans[t.col]--
		t.put(row, "", limit)
	}
	cols, rows = max(1, min(cols, 1000)), max(1, min(rows, 65535))
	for i := range cols {
		for len(t.spans) <= t.col {
			t.spans = append(t.spans, 0)
		}
		t.spans[t.col] = rows - 1
		if i > 0 {
			text = ""
		}
		if !t.put(row, text, limit) {
			return
		}
	}
}

func (t *Table) put(row *[]string, text string, limit int) bool {
	t.col++
	if t.cells >= limit || t.col > maxColumns {
		t.full = true
		return false
	}
	t.cells++
	*row = append(*row, linesOf(text))
	return true
}

// linesOf returns text with each run of white space as one space, line ends apart.
func linesOf(text string) string {
	if !strings.Contains(text, "\n") {
		return OneLine(text)
	}
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if line = OneLine(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// Rows returns the cells without empty rows and without columns that are empty in every row. The first row is as long as the
// longest; the others end with their last cell that is not empty.
func (t *Table) Rows() [][]string {
	width := 0
	for _, row := range t.rows {
		width = max(width, len(row))
	}
	used := make([]bool, width)
	var kept [][]string
	for _, row := range t.rows {
		end := 0
		for c, cell := range row {
			if cell != "" {
				end, used[c] = c+1, true
			}
		}
		if end > 0 {
			kept = append(kept, row[:end])
		}
	}
	columns := 0
	for _, u := range used {
		if u {
			columns++
		}
	}
	for i, row := range kept {
		var out []string
		for c, cell := range row {
			if used[c] {
				out = append(out, cell)
			}
		}
		for i == 0 && len(out) < columns {
			out = append(out, "")
		}
		kept[i] = out
	}
	return kept
}

// Table writes a table, its first row as the header. One of a single column, which is a box or a layout, becomes paragraphs.
func (w *Writer) Table(t *Table) {
	rows := t.Rows()
	if len(rows) == 0 {
		return
	}
	if len(rows[0]) == 1 {
		for _, row := range rows {
			w.Paragraph(row[0])
		}
		return
	}
	w.Grid(rows)
}

// Grid writes rows as a table, its first row, which is the longest, as the header.
func (w *Writer) Grid(rows [][]string) {
	if len(rows) == 0 || len(rows[0]) == 0 {
		return
	}
	w.EndList()
	lines := make([]string, 0, len(rows)+1)
	var b strings.Builder
	for i, row := range rows {
		b.Reset()
		for _, cell := range row {
			b.WriteString("| ")
			b.WriteString(EscapeCell(cell))
			if cell != "" {
				b.WriteByte(' ')
			}
		}
		b.WriteByte('|')
		lines = append(lines, b.String())
		if i == 0 {
			lines = append(lines, strings.Repeat("| --- ", len(row))+"|")
		}
	}
	w.lines(lines)
}

// Inline returns the table on one line, as it stands within a cell of another one: cells parted by commas, rows by semicolons.
func (t *Table) Inline() string {
	var lines []string
	for _, row := range t.Rows() {
		var cells []string
		for _, cell := range row {
			if cell != "" {
				cells = append(cells, OneLine(cell))
			}
		}
		lines = append(lines, strings.Join(cells, ", "))
	}
	return strings.Join(lines, "; ")
}

// EscapeCell returns the text of a cell on one line, with its bars escaped.
func EscapeCell(text string) string {
	return strings.ReplaceAll(OneLine(text), "|", `\|`)
}
