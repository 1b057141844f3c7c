package mdtext_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/internal/mdtext"
)

func TestWriter(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		write func(w *mdtext.Writer)
		want  string
	}{
		{"blocks", func(w *mdtext.Writer) {
			w.Heading(1, "A  title\nof two lines")
			w.Paragraph("One.\n   Two.  \n\nThree.")
			w.Paragraph(" \n ")
			w.Heading(9, "Deep")
		}, "# A title of two lines\n\nOne.\nTwo.\nThree.\n\n###### Deep\n"},
		{"what would be structure", func(w *mdtext.Writer) {
			w.Paragraph("# no heading\n- no item\n1. no item\n> no quotation\n---\n```\n<div>\n[x]: y\n| a |")
			w.Paragraph("2024. It was a year.\n3.5 per cent\n-5 degrees\n#tag * a_b_c <5 [x] |")
			w.Heading(2, "C #")
		}, "\\# no heading\n\\- no item\n1\\. no item\n\\> no quotation\n\\---\n\\```\n\\<div>\n\\[x]: y\n\\| a |\n\n" +
			"2024\\. It was a year.\n3.5 per cent\n-5 degrees\n#tag * a_b_c <5 [x] |\n\n## C \\#\n"},
		{"flat items", func(w *mdtext.Writer) {
			w.Paragraph("Before")
			w.Item(0, "1.", "one")
			w.Item(1, "-", "inner")
			w.Item(1, "(a)", "labelled")
			w.Item(5, "-", "too deep")
			w.Item(0, "2.", "two\nlines")
			w.Continue("and more")
			w.Item(0, "10.", "ten")
			w.Paragraph("After")
		}, "Before\n\n1. one\n   - inner\n   - (a) labelled\n     - too deep\n2. two\n   lines\n\n   and more\n10. ten\n\nAfter\n"},
		{"a deeper list that starts late", func(w *mdtext.Writer) {
			w.Item(0, "-", "one")
			w.Item(1, "3.", "three")
		}, "- one\n\n  3. three\n"},
		{"nested containers", func(w *mdtext.Writer) {
			w.Open("> ", "> ")
			w.Paragraph("said")
			w.OpenItem("-", false)
			w.Paragraph("first")
			w.Paragraph("again")
			w.Close()
			w.OpenItem("-", false)
			w.Code("go", "a\n\n\tb ")
			w.Close()
			w.Close()
			w.Open("> ", "> ")
			w.Close()
			w.Paragraph("end")
		}, "> said\n>\n> - first\n>\n>   again\n> - ```go\n>   a\n>\n>   \tb\n>   ```\n\nend\n"},
		{"notes at the end of their section", func(w *mdtext.Writer) {
			w.Heading(1, "A")
			w.Paragraph("Text" + mdtext.Ref("1"))
			w.Note("1", "of\nA")
			w.Heading(1, "B")
			w.Paragraph("Text" + mdtext.Ref("2"))
			w.Note("2", "of B")
		}, "# A\n\nText[^1]\n\n[^1]: of A\n\n# B\n\nText[^2]\n\n[^2]: of B\n"},
		{"a fence in code", func(w *mdtext.Writer) { w.Code("a b", "\n```\nx\n```\n") }, "````\n```\nx\n```\n````\n"},
		{"table", func(w *mdtext.Writer) {
			var t mdtext.Table
			t.Row()
			t.Cell("Region", 1, 2)
			t.Cell("Sales", 2, 1)
			t.Row()
			t.Cell("2023", 1, 1)
			t.Cell("2024\n", 1, 1)
			t.Row()
			t.Row()
			t.Cell("a|b", 1, 1)
			t.Cell("", 1, 1)
			t.Cell("two\nlines", 1, 1)
			w.Table(&t)
		}, "| Region | Sales | |\n| --- | --- | --- |\n| | 2023 | 2024 |\n| a\\|b | | two lines |\n"},
		{"a table of one column is text", func(w *mdtext.Writer) {
			var t mdtext.Table
			t.Cell("one", 1, 1)
			t.Cell(" ", 1, 1)
			t.Row()
			t.Cell("two", 1, 1)
			w.Table(&t)
		}, "one\n\ntwo\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var w mdtext.Writer
			tt.write(&w)
			if diff := cmp.Diff(tt.want, w.String()); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLink(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, target, want string }{
		{"the report", "https://example.org/a(b).pdf", "[the report](https://example.org/a%28b%29.pdf)"},
		{" the report ", "x y", " [the report](x%20y) "},
		{"example.org/a", "https://example.org/a/", "example.org/a"},
		{"a@example.org", "mailto:a@example.org", "a@example.org"},
		{"here", "#place", "here"},
		{"here", "javascript:alert(1)", "here"},
		{"here", "data:text/html,x", "here"},
		{"", "https://example.org", ""},
		{"here", "https://example.org/" + strings.Repeat("x", 300), "here"},
		{"a [b](c)", "https://example.org", "a [b](c)"},
	} {
		if got := mdtext.Link(tt.text, tt.target); got != tt.want {
			t.Errorf("Link(%q, %q) = %q, want %q", tt.text, tt.target, got, tt.want)
		}
	}
}

func TestWriterIsBounded(t *testing.T) {
	t.Parallel()
	w := mdtext.Writer{Max: 100}
	for range 100 {
		w.Paragraph("some words")
	}
	if !w.Full() || len(w.String()) > 120 {
		t.Errorf("full = %t with %d bytes", w.Full(), len(w.String()))
	}
	w = mdtext.Writer{}
	for range 10_000 {
		w.Open("> ", "> ")
	}
	w.Paragraph("deep")
	for range 10_000 {
		w.Close()
	}
	w.Paragraph("flat")
	if got := w.String(); len(got) > 1000 || !strings.HasSuffix(got, "\n\nflat\n") {
		t.Errorf("text of %d bytes ends with %.20q", len(got), got[max(0, len(got)-20):])
	}
}

func TestTableIsBounded(t *testing.T) {
	t.Parallel()
	table := mdtext.Table{MaxCells: 1000}
	for range 100 {
		table.Row()
		for range 100 {
			table.Cell("x", 1000, 60000)
		}
	}
	n := 0
	for _, row := range table.Rows() {
		n += len(row)
	}
	if !table.Full() || n > 2000 {
		t.Errorf("full = %t with %d cells", table.Full(), n)
	}
}

// A row that spans much below it costs the rows below no more than their own cells.
func TestWideTable(t *testing.T) {
	t.Parallel()
	table := mdtext.Table{}
	for range 1000 {
		table.Cell("x", 1000, 1)
	}
	for range 200_000 {
		table.Row()
		table.Cell("y", 1, 1)
	}
	if rows := table.Rows(); !table.Full() || len(rows) != 1 {
		t.Errorf("full = %t with %d rows", table.Full(), len(rows))
	}
}

// The lines of a box stay lines; those of a cell among others are one.
func TestLinesInCells(t *testing.T) {
	t.Parallel()
	table, box := &mdtext.Table{}, &mdtext.Table{}
	table.Cell("a\n b", 1, 1)
	table.Cell("c", 1, 1)
	box.Cell("one \n\n  - two\nthree", 1, 1)
	w := &mdtext.Writer{}
	w.Table(table)
	w.Table(box)
	want := "| a b | c |\n| --- | --- |\n\none\n\\- two\nthree\n"
	if got := w.String(); got != want || table.Inline() != "a b, c" || box.Inline() != "one - two three" {
		t.Errorf("%q, want %q; %q, %q", got, want, table.Inline(), box.Inline())
	}
}

func TestCodeOfFences(t *testing.T) {
	t.Parallel()
	for text, fence := range map[string]string{"a": "```", "``": "```", "a ``` b": "````", "`````": "``````", "``` ````": "`````"} {
		w := &mdtext.Writer{}
		w.Code("", text)
		if want := fence + "\n" + text + "\n" + fence + "\n"; w.String() != want {
			t.Errorf("%q: %q, want %q", text, w.String(), want)
		}
	}
	w := &mdtext.Writer{Max: 4 << 20} // which takes a blink, however long the run
	w.Code("", strings.Repeat("`", 1<<20))
	if n := w.Len(); n < 3<<20 || w.Full() {
		t.Errorf("%d bytes", n)
	}
}
