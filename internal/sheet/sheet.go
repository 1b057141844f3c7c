package sheet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/mdtext"
)

// DefaultMaxCells is how many cells of a workbook are read.
const DefaultMaxCells = 1_000_000

// maxBytes is how many bytes of text a workbook may have where no limit is set: cells may share a string, however long it is.
const maxBytes = 256 << 20

// Writer writes sheets. Cells that are empty cost nothing: rows and columns without any are left out. An empty row ends a table, but
// for a single row of the same columns, such as totals; the lines of one cell above a table are its title.
type Writer struct {
	W        *mdtext.Writer
	MaxCells int // 0 means DefaultMaxCells

	cells   int
	size    int // bytes of their text
	begun   int // where the text of the sheet begins
	sheets  int
	found   bool  // something but the names of sheets
	block   []row // rows that belong together
	low     int   // the first and the last column of the block
	high    int
	current row
}

type row struct {
	at    int
	cells []cell
}

type cell struct {
	col    int
	text   string
	number bool
}

// Sheet begins a sheet.
func (s *Writer) Sheet(name string) {
	s.note()
	if name = mdtext.OneLine(name); name == "" {
		name = "Sheet"
	}
	s.W.Heading(2, name)
	s.begun = s.W.Len()
	s.sheets++
}

// note notes, at the end of a sheet, whether there was anything on it.
func (s *Writer) note() {
	s.End()
	s.found = s.found || s.sheets > 0 && s.W.Len() > s.begun
}

// Full reports whether nothing more is taken: there are too many cells, or too much text.
func (s *Writer) Full() bool { return s.cells >= s.maxCells() || s.over() }

// over tells whether there is too much text.
func (s *Writer) over() bool { return s.size > s.maxText() || s.W.Full() }

func (s *Writer) maxText() int {
	if s.W.Max > 0 {
		return s.W.Max
	}
	return maxBytes
}

// Text ends the workbook and returns its text, with a warning where cells were left out, or why there is none. The format is that of
// the workbook; in tells its type if the caller knows it.
func (s *Writer) Text(in extract.Input, format string) (extract.Text, error) {
	s.note()
	switch {
	case s.over():
		return extract.Text{}, fmt.Errorf("%w: text must be at most %d bytes", extract.ErrTooLarge, s.maxText())
	case !s.found:
		return extract.Text{}, fmt.Errorf("%w: an empty workbook", extract.ErrNoText)
	}
	t := extract.Text{Content: s.W.String(), Type: cmp.Or(in.Type, "report"), Format: format, Markup: "markdown"}
	if s.cells >= s.maxCells() {
		t.Warnings = []string{fmt.Sprintf("only the first %d cells were read", s.maxCells())}
	}
	return t, nil
}

func (s *Writer) maxCells() int {
	if s.MaxCells > 0 {
		return s.MaxCells
	}
	return DefaultMaxCells
}

// Cell takes a cell, the next in the order of rows. Rows and columns count from 0; number tells that its value is one, or a date.
func (s *Writer) Cell(r, col int, text string, number bool) {
	if text = mdtext.OneLine(text); text == "" || s.Full() {
		return
	}
	s.cells++
	s.size += len(text)
	if r != s.current.at && len(s.current.cells) > 0 {
		s.endRow()
	}
	s.current.at = r
	s.current.cells = append(s.current.cells, cell{col, text, number})
}

// End ends the sheet.
func (s *Writer) End() {
	s.endRow()
	s.endBlock()
}

func (s *Writer) endRow() {
	if len(s.current.cells) == 0 {
		return
	}
	r := s.current
	s.current = row{}
	slices.SortStableFunc(r.cells, func(a, b cell) int { return a.col - b.col })
	r.cells = merge(r.cells)
	if n := len(s.block); n > 0 && r.at != s.block[n-1].at+1 && !s.goesOn(r) {
		s.endBlock()
	}
	first, last := r.cells[0].col, r.cells[len(r.cells)-1].col
	if len(s.block) == 0 {
		s.low, s.high = first, last
	}
	s.low, s.high = min(s.low, first), max(s.high, last)
	s.block = append(s.block, r)
}

// merge makes one cell of those that have the same place.
func merge(cells []cell) []cell {
	out := cells[:0]
	for len(cells) > 0 {
		c, n := cells[0], 1
		texts := []string{c.text}
		for ; n < len(cells) && cells[n].col == c.col; n++ {
			texts = append(texts, cells[n].text)
		}
		c.text = strings.Join(texts, " ")
		out, cells = append(out, c), cells[n:]
	}
	return out
}

// goesOn tells whether a row after an empty one still belongs to the table above: it holds numbers, in columns of that table.
func (s *Writer) goesOn(r row) bool {
	if len(s.block) < 2 {
		return false
	}
	numbers := false
	for _, c := range r.cells {
		if c.col < s.low || c.col > s.high {
			return false
		}
		numbers = numbers || c.number
	}
	return numbers
}

// endBlock writes the rows read so far.
func (s *Writer) endBlock() {
	rows := s.block
	s.block = nil
	wide := false
	for _, r := range rows {
		wide = wide || len(r.cells) > 1
	}
	for wide && len(rows) > 1 && len(rows[0].cells) == 1 && !rows[0].cells[0].number { // titles
		s.W.Paragraph(rows[0].cells[0].text)
		rows = rows[1:]
	}
	// A column that no row uses takes no place.
	var all []int
	for _, r := range rows {
		for _, c := range r.cells {
			all = append(all, c.col)
		}
	}
	cols := slices.Clone(all)
	slices.Sort(cols)
	cols = slices.Compact(cols)
	if len(cols) == 1 && len(rows) == 1 {
		s.W.Paragraph(rows[0].cells[0].text)
		return
	}
	places := 0 // of the table, empty ones within its rows counted
	for _, r := range rows {
		i, _ := slices.BinarySearch(cols, r.cells[len(r.cells)-1].col)
		places += i + 1
	}
	if places > 20*len(all)+10_000 { // scattered: a table would be made of empty cells
		for _, r := range rows {
			var texts []string
			for _, c := range r.cells {
				texts = append(texts, c.text)
			}
			s.W.Paragraph(strings.Join(texts, ", "))
		}
		return
	}
	grid := make([][]string, 0, len(rows))
	for _, r := range rows {
		var line []string
		for _, c := range r.cells {
			i, _ := slices.BinarySearch(cols, c.col)
			for len(line) < i {
				line = append(line, "")
			}
			line = append(line, c.text)
		}
		if len(grid) == 0 {
			for len(line) < len(cols) {
				line = append(line, "")
			}
		}
		grid = append(grid, line)
	}
	s.W.Grid(grid)
}
