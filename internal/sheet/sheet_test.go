package sheet_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/mdtext"
	"github.com/llmemory/llmemory/internal/sheet"
)

func TestNumber(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		v    float64
		code string
		want string
	}{
		{1234.5, "", "1234.5"}, {0.1 + 0.2, "General", "0.3"}, {123456789012345, "", "123456789012345"}, {1.0 / 3, "", "0.33333333333"},
		{1e-12, "", "1e-12"}, {-5, "", "-5"}, {12, `General" kg"`, "12 kg"}, {12, `"No. "General`, "No. 12"},
		{1234.567, "0.00", "1234.57"}, {1.005, "0.00", "1.01"}, {1234567.891, "#,##0.00", "1,234,567.89"}, {0.5, "#,##0", "1"}, {0, "#", ""},
		{0.256, "0.0%", "25.6%"}, {1, "0%", "100%"}, {1234567, `0.0,,"M"`, "1.2M"}, {12345.678, "0.00E+00", "1.23E+04"},
		{-1234, "#,##0;(#,##0)", "(1,234)"}, {-1234, "#,##0_);[Red]\\(#,##0\\)", "(1,234)"}, {0, `0;-0;"none"`, "none"}, {-3, "0.0", "-3.0"},
		{1234.5, "[$€-407] #,##0.00", "€ 1,234.50"}, {1234.5, `#,##0.00\ "zł"`, "1,234.50 zł"}, {5, "00000", "00005"}, {123456789, "000-00-0000", "123-45-6789"},
		{5551234567, "(000) 000-0000", "(555) 123-4567"}, {7, `[<5]"few";[>=5]"many"`, "many"}, {3, `[<5]"few";[>=5]"many"`, "few"},
		{-0.001, "0.0", "0.0"}, {0.75, "# ?/?", "0.75"}, {1.5, "0.##", "1.5"}, {2, "0.##", "2"},
		{45418, "dd/mm/yyyy", "2024-05-06"}, {45418.5, "m/d/yy h:mm", "2024-05-06 12:00"}, {45418.75001, "yyyy-mm-dd hh:mm:ss", "2024-05-06 18:00:01"},
		{0.5, "h:mm AM/PM", "12:00"}, {1.25, "[h]:mm", "30:00"}, {0.0007, "mm:ss", "00:01:00"}, {45418, "mmm yyyy", "2024-05-06"}, {1, "yyyy-mm-dd", "1900-01-01"},
		{45418, `[$-409]d\-mmm\-yy;@`, "2024-05-06"}, {45418, "yyyy年m月d日", "2024-05-06"}, {1e9, "yyyy", "1000000000"}, {-1, "yyyy", "-1"},
		{1, "\"", ""}, {1, "[", ""}, {1, "_", ""}, {1, "\\", ""}, {1, ";;;", ""},
	} {
		if got := sheet.NewFormat(tt.code).Show(tt.v, false); got != tt.want && !(tt.want == "" && got == "1") {
			t.Errorf("Number(%v, %q) = %q, want %q", tt.v, tt.code, got, tt.want)
		}
	}
	if got := sheet.NewFormat("yyyy").Show(43956, true); got != "2024-05-06" {
		t.Errorf("with days from 1904: %s", got)
	}
	if got := sheet.NewFormat(sheet.Builtin(14)).Show(45418, false); got != "2024-05-06" {
		t.Errorf("in format 14: %s", got)
	}
}

func TestWriter(t *testing.T) {
	t.Parallel()
	var md mdtext.Writer
	w := sheet.Writer{W: &md}
	w.Sheet("First\nsheet")
	w.Cell(0, 0, "Report", false)
	w.Cell(2, 1, "Month", false)
	w.Cell(2, 5, "Sales", false)
	w.Cell(3, 1, "Jan", false)
	w.Cell(3, 5, "1", true)
	w.Cell(4, 5, "2", true)
	w.Cell(6, 1, "Total", false)
	w.Cell(6, 5, "3", true)
	w.Cell(7, 0, " ", false)
	w.Cell(9, 1, "Other", false)
	w.Cell(9, 2, "Table", false)
	w.Cell(1_000_000, 16_000, "far | away", false)
	w.Sheet("Titled")
	w.Cell(0, 3, "A title", false)
	w.Cell(1, 1, "b", false)
	w.Cell(1, 0, "a", false)
	w.Cell(2, 0, "1", true)
	w.Sheet("")
	w.End()
	want := "## First sheet\n\nReport\n\n| Month | Sales |\n| --- | --- |\n| Jan | 1 |\n| | 2 |\n| Total | 3 |\n\n| Other | Table |\n| --- | --- |\n\n" +
		"far | away\n\n## Titled\n\nA title\n\n| a | b |\n| --- | --- |\n| 1 |\n\n## Sheet\n"
	if diff := cmp.Diff(want, md.String()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func TestWriterIsBounded(t *testing.T) {
	t.Parallel()
	var md mdtext.Writer
	w := sheet.Writer{W: &md, MaxCells: 10}
	w.Sheet("x")
	for i := range 100 {
		w.Cell(i, i*1000, "x", false)
	}
	w.End()
	if len(md.String()) > 1000 {
		t.Errorf("a diagonal of ten cells takes %d bytes", len(md.String()))
	}
	// Every other row is empty: each row asks whether the table goes on.
	md, w = mdtext.Writer{}, sheet.Writer{W: &md}
	w.Sheet("x")
	for i := range 200_000 {
		w.Cell(2*i-i%2, 0, "1", true)
		w.Cell(2*i-i%2, 1, "2", true)
	}
	w.End()
	md, w = mdtext.Writer{}, sheet.Writer{W: &md}
	w.Sheet("x")
	for i := range 20_000 {
		w.Cell(i, i*7919%16384, "x", false)
	}
	w.End()
	if len(md.String()) > 200_000 {
		t.Errorf("scattered cells take %d bytes", len(md.String()))
	}
	w.MaxCells = 10
	if !w.Full() {
		t.Error("not full")
	}
}

// Cells may share a string: what they come to is bounded before it is in memory.
func TestWriterIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	var md mdtext.Writer
	md.Max = 1 << 20
	w := sheet.Writer{W: &md}
	w.Sheet("x")
	long, n := strings.Repeat("x", 100_000), 0
	for ; n < 1000 && !w.Full(); n++ {
		w.Cell(n, 0, long, false)
	}
	if _, err := w.Text(extract.Input{}, "x"); n > 20 || !errors.Is(err, extract.ErrTooLarge) {
		t.Errorf("%d cells, error = %v", n, err)
	}
	// So are cells that all have one place.
	md, w = mdtext.Writer{}, sheet.Writer{W: &md}
	w.Sheet("x")
	for range 300_000 {
		w.Cell(0, 0, "words of a cell", false)
	}
	began := time.Now()
	text, err := w.Text(extract.Input{}, "x")
	if took := time.Since(began); err != nil || took > time.Minute || len(text.Content) < 300_000*16 {
		t.Errorf("%v, %d bytes, error = %v", took, len(text.Content), err)
	}
}

// A code that is longer than any that Excel takes is not read, and one is read once, not for each cell.
func TestLongFormat(t *testing.T) {
	t.Parallel()
	f := sheet.NewFormat(strings.Repeat("m", 1<<20))
	if got := f.Show(1.5, false); got != "1.5" {
		t.Errorf("%q", got)
	}
	began := time.Now()
	f = sheet.NewFormat(strings.Repeat("0m", 127))
	for i := range 200_000 {
		f.Show(float64(i), false)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("200,000 cells in a long format take %v", took)
	}
}

func FuzzNumber(f *testing.F) {
	f.Add(1234.5, `[Red]#,##0.00_);[>=5]"x"\y000-0;[h]:mm:ss;@`)
	f.Fuzz(func(t *testing.T, v float64, code string) {
		if got := sheet.NewFormat(code).Show(v, false); len(got) > 2*len(code)+1000 {
			t.Errorf("%d bytes for a format of %d", len(got), len(code))
		}
	})
}
