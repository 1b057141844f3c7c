package pdf_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/extracttest"
)

// visual is right-to-left text as programs draw it: from left to right.
func visual(s string) string {
	r := []rune(s)
	slices.Reverse(r)
	return string(r)
}

// TestGolden: a document with everything in it comes out as it was written.
func TestGolden(t *testing.T) {
	t.Parallel()
	f := newPDF()
	f.page(show(slices.Concat(
		[]text{{50, 750, 24, "The Annual Report"}},
		[]text{{50, 710, 16, "1. Introduction"}},
		column(50, 685, 11, "This year brought a num-", "ber of changes to the well-", "known programme¹, whose effects", "are still felt; a well-known fact."),
		column(50, 610, 11, "A second paragraph stands below", "and says no more than that."),
		column(50, 560, 11, "• first item of a list", "• second item of it", "• third item"),
		[]text{
			{50, 500, 11, "Name"}, {200, 500, 11, "Place"}, {350, 500, 11, "Sum"},
			{50, 485, 11, "Anna"}, {200, 485, 11, "Oslo"}, {350, 485, 11, "1,200"},
			{50, 470, 11, "Bernd"}, {200, 470, 11, "Ulm"}, {350, 470, 11, "350"},
		},
		[]text{{50, 60, 8, "¹ A footnote at the foot of the page."}},
	)...), "")
	f.page(show(slices.Concat(
		[]text{{50, 750, 16, "2. Other scripts"}},
		column(50, 700, 12, visual("שלום עולם וברוכים הבאים"), visual("זו השורה השנייה")),
		column(50, 640, 12, visual("مرحبا بالعالم"), visual("هذا سطر آخر")),
		column(50, 580, 12, "東京は日本の首都です。", "人口は千四百万人。"),
		column(50, 520, 12, "한국어 문장입니다", "中文句子在这里"),
		column(50, 460, 12, "ﬁne eﬃcient ﬂow"),
		column(50, 410, 12, "Ελληνικά και Русский"),
	)...), "")
	got := read(t, f)
	want := `The Annual Report

1. Introduction

This year brought a number
of changes to the well-known
programme¹, whose effects
are still felt; a well-known fact.

A second paragraph stands below
and says no more than that.

• first item of a list
• second item of it
• third item

Name Place Sum
Anna Oslo 1,200
Bernd Ulm 350

¹ A footnote at the foot of the page.

2. Other scripts

שלום עולם וברוכים הבאים
זו השורה השנייה

مرحبا بالعالم
هذا سطر آخر

東京は日本の首都です。
人口は千四百万人。

한국어 문장입니다
中文句子在这里

fine efficient flow

Ελληνικά και Русский`
	extracttest.Golden(t, got.Content, want)
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got.Content, "\n")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(got.Pages) != 2 || !strings.HasPrefix(got.Content[got.Pages[1]:], "2. Other") {
		t.Errorf("pages: %v", got.Pages)
	}
}

// prose are lines of a column of a story in which the lines are numbered.
func prose(name string, n int) []string {
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprintf("%s line %d goes on with words", name, i+1))
	}
	return lines
}

// TestColumns: two columns under a title across both, drawn column by column or line by line.
func TestColumns(t *testing.T) {
	t.Parallel()
	left, right := prose("left", 12), prose("right", 12)
	title := text{50, 750, 18, "A title across both of the columns here"}
	last := text{50, 400, 10, "And a line below that runs across both of the columns to the very end of it"}
	l, r := column(50, 700, 10, left...), column(310, 700, 10, right...)
	var across, shifted []text
	for i := range l {
		across = append(across, l[i], r[i])
		lower := r[i]
		lower.y -= 5 // on lines of their own
		shifted = append(shifted, l[i], lower)
	}
	want := strings.Join(slices.Concat([]string{title.s}, left, right, []string{last.s}), "\n")
	for name, body := range map[string][]text{"column by column": slices.Concat(l, r), "line by line": across, "on different lines": shifted} {
		f := newPDF()
		f.page(show(slices.Concat([]text{title}, body, []text{last})...), "")
		got := read(t, f)
		if strings.ReplaceAll(got.Content, "\n\n", "\n") != want {
			t.Errorf("%s: got\n%s", name, got.Content)
		}
	}
}

// TestRightToLeft: however the letters are drawn, they come out as they are read.
func TestRightToLeft(t *testing.T) {
	t.Parallel()
	const said = "שלום 123 עולם ABC טוב"
	shown := "בוט ABC םלוע 123 םולש" // from left to right
	one := func(s string, step float64) string {
		letters := []rune(s)
		var b strings.Builder
		for i := range letters { // each in its place, drawn from right to left
			i = len(letters) - 1 - i
			b.WriteString(drawn(50+step*float64(i), 600, 12, string(letters[i])))
		}
		return b.String()
	}
	f := newPDF()
	f.page(drawn(50, 700, 12, shown), "")
	f.page(one(visual("אבגד"), 6.5), "")
	f.page(show(text{50, 700, 12, "Hello"})+drawn(90, 700, 12, visual("שלום עולם"))+show(text{150, 700, 12, "world"}), "")
	got := read(t, f)
	if want := said + "\n\nאבגד\n\nHello שלום עולם world"; got.Content != want {
		t.Errorf("got %q, want %q", got.Content, want)
	}
}

// TestNotes: values of form fields and what annotations say.
func TestNotes(t *testing.T) {
	t.Parallel()
	f := newPDF()
	field := f.add("<</FT/Tx/T(city)/TU(City of birth)/V(Bern)/Type/Annot/Subtype/Widget/Rect[50 600 90 620]>>")
	parent := len(f.objects) + 2
	kid := f.add(fmt.Sprintf("<</Parent %d 0 R/Type/Annot/Subtype/Widget/Rect[50 500 90 520]>>", parent))
	f.add(fmt.Sprintf("<</FT/Tx/T(country)/V(Norway)/Kids[%d 0 R]>>", kid))
	off := f.add("<</FT/Btn/T(agreed)/V/Off/Type/Annot/Subtype/Widget/Rect[50 400 90 420]>>")
	note := f.add("<</Type/Annot/Subtype/Text/Contents(A remark\\nin two lines)/Rect[9 9 20 20]>>")
	link := f.add("<</Type/Annot/Subtype/Link/Contents(not said)/Rect[9 9 20 20]>>")
	f.catalog = fmt.Sprintf("/AcroForm<</Fields[%d 0 R %d 0 R %d 0 R]>>", field, parent, off)
	f.page(show(text{50, 700, 12, "A form"}), fmt.Sprintf("/Annots[%d 0 R %d 0 R %d 0 R %d 0 R %d 0 R]", field, kid, off, note, link))
	got := read(t, f)
	if want := "A form\n\nCity of birth: Bern\ncountry: Norway\nA remark in two lines"; got.Content != want {
		t.Errorf("got %q, want %q", got.Content, want)
	}
}

// TestEmbedded: files in a document are parts of it; a document of nothing else is their container.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	for _, page := range []string{show(text{50, 700, 12, "A cover"}), ""} {
		f := newPDF()
		file := f.stream("/Type/EmbeddedFile", "what is within")
		spec := f.add(fmt.Sprintf("<</Type/Filespec/F(notes.txt)/UF(notes.txt)/EF<</F %d 0 R>>>>", file))
		f.catalog = fmt.Sprintf("/Names<</EmbeddedFiles<</Names[(notes.txt)%d 0 R]>>>>", spec)
		f.page(page, "")
		var parts []string
		got, err := reader.Extract(t.Context(), extract.Input{Reader: bytes.NewReader(f.bytes()), Part: func(ctx context.Context, part extract.Input) error {
			b, err := io.ReadAll(part.Reader)
			parts = append(parts, fmt.Sprint(part.Name, ": ", string(b), " at ", extract.Depth(ctx)))
			return err
		}})
		if diff := cmp.Diff([]string{"notes.txt: what is within at 1"}, parts); err != nil || diff != "" || got.Container != (page == "") {
			t.Errorf("%+v, %v\n%s", got, err, diff)
		}
	}
}

// TestTurned: text that is not written from left to right is taken as it is.
func TestTurned(t *testing.T) {
	t.Parallel()
	f := newPDF()
	f.page("q -1 0 0 -1 600 800 cm "+show(text{50, 700, 12, "upside down, all of it"})+" Q", "")
	if got := read(t, f); got.Content != "upside down, all of it" {
		t.Errorf("got %q", got.Content)
	}
}
