package pdf_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/extracttest"
	"github.com/llmemory/llmemory/extract/pdf"
)

// reader is the extractor that the tests share: PDFium is compiled once.
var reader *pdf.Extractor

func TestMain(m *testing.M) {
	cache, err := os.UserCacheDir() // compiling PDFium is the most that these tests do
	if err == nil {
		cache = filepath.Join(cache, "llmemory", "sandbox")
	}
	reader = &pdf.Extractor{Cache: cache}
	code := m.Run()
	if err := errors.Join(reader.Close(), goleak.Find()); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func read(t *testing.T, f *pdfFile) extract.Text {
	t.Helper()
	return extracttest.Extract(t, reader, extract.Input{}, f.bytes())
}

// Glyphs of a font that does not say which characters it draws are no text: what PDFium has for them are their numbers.
func TestUnknownGlyphs(t *testing.T) {
	t.Parallel()
	glyphs := func(f *pdfFile, s string) {
		cid := f.add("<</Type/Font/Subtype/CIDFontType2/BaseFont/ABCDEF+Test/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>/DW 500/CIDToGIDMap/Identity>>")
		font := f.add(fmt.Sprintf("<</Type/Font/Subtype/Type0/BaseFont/ABCDEF+Test/Encoding/Identity-H/DescendantFonts[%d 0 R]>>", cid))
		var b strings.Builder
		for _, r := range s {
			fmt.Fprintf(&b, "%04x", r-29) // as in many fonts
		}
		f.font, font = font, f.font
		f.page("BT /F 12 Tf 50 700 Td <"+b.String()+"> Tj ET\n", "")
		f.font = font
	}
	f := newPDF()
	glyphs(f, "Ships that enter the harbour")
	if _, err := reader.Extract(t.Context(), extract.Input{Reader: bytes.NewReader(f.bytes())}); !errors.Is(err, extract.ErrNoText) || !strings.Contains(err.Error(), "OCR") {
		t.Errorf("error = %v", err)
	}
	f = newPDF()
	f.page(show(text{50, 700, 12, "First page"}), "")
	glyphs(f, "announce themselves")
	f.page(show(text{50, 700, 12, "Third page"}), "")
	got := read(t, f)
	if got.Content != "First page\n\nThird page" || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "2 of 3") {
		t.Errorf("%q, warnings %q", got.Content, got.Warnings)
	}
}

func TestPagesAndMetadata(t *testing.T) {
	t.Parallel()
	f := newPDF()
	f.info = `/Title(The title)/Author<feff00c9006d0069006c0065>/ModDate(D:20240229120000+01'00')/CreationDate(D:2001)`
	f.catalog = "/Lang(de-CH)"
	f.page(show(text{50, 700, 12, "First page"}), "")
	f.page("", "")
	f.page(show(text{50, 700, 12, "Third page"}), "")
	got := read(t, f)
	want := extract.Text{
		Content: "First page\n\nThird page", Type: "pdf", Format: "pdf", Title: "The title", Author: "Émile", Language: "de",
		Date: time.Date(2024, 2, 29, 11, 0, 0, 0, time.UTC), Pages: []int{0, 10, 12},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestBrokenMetadata: what the file says of itself may be anything.
func TestBrokenMetadata(t *testing.T) {
	t.Parallel()
	for _, info := range []string{
		`/Title 7/Author[1 2]/ModDate(never)/CreationDate(D:99999999999999)`,
		`/Title(\000\001\377\376)/Author<fffe>/ModDate(D:2024-13-45)`,
		`/Title<feffd800>/Author(anonymous)/ModDate()`,
		`/Title 99 0 R/Author 1 0 R`,
		`/Title(` + strings.Repeat("long ", 10_000) + `)`,
	} {
		f := newPDF()
		f.info, f.catalog = info, "/Lang 5"
		f.page(show(text{50, 700, 12, "Text"}), "")
		got := read(t, f)
		if got.Content != "Text" || len(got.Title) > 512 || !got.Date.IsZero() || got.Language != "" || got.Author != "" {
			t.Errorf("%.40s: %.200q", info, fmt.Sprintf("%+v", got))
		}
	}
}

func TestEncrypted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		user string
		aes  bool
	}{{"", false}, {"", true}, {"secret", false}, {"secret", true}} {
		f := newPDF()
		f.page(show(text{50, 700, 12, "Behind a lock"}), "")
		f.crypt = newCrypt(c.user, "owner", c.aes)
		got, err := reader.Extract(t.Context(), extract.Input{Reader: bytes.NewReader(f.bytes())})
		switch {
		case c.user == "" && (err != nil || got.Content != "Behind a lock"):
			t.Errorf("%+v: %q, %v", c, got.Content, err)
		case c.user != "" && !errors.Is(err, extract.ErrEncrypted):
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestScanned(t *testing.T) {
	t.Parallel()
	f := newPDF()
	f.scanned()
	f.scanned()
	_, err := reader.Extract(t.Context(), extract.Input{Reader: bytes.NewReader(f.bytes())})
	if !errors.Is(err, extract.ErrNoText) || !strings.Contains(err.Error(), "2 pages without a text layer, scanned: OCR is needed") {
		t.Errorf("got %v", err)
	}

	f = newPDF()
	f.page(show(text{50, 700, 12, "A page of text"}), "")
	for range 3 {
		f.scanned()
	}
	f.page(show(text{50, 700, 12, "Another"}), "")
	f.scanned()
	got := read(t, f)
	want := []string{"4 pages without a text layer (OCR is needed to read them): 2–4, 6 of 6"}
	if diff := cmp.Diff(want, got.Warnings); diff != "" || got.Content != "A page of text\n\nAnother" {
		t.Errorf("%q\n%s", got.Content, diff)
	}

	f = newPDF()
	f.page("", "")
	_, err = reader.Extract(t.Context(), extract.Input{Reader: bytes.NewReader(f.bytes())})
	if !errors.Is(err, extract.ErrNoText) {
		t.Errorf("an empty page: got %v", err)
	}
}

func TestNotPDF(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "text", "PK\x03\x04"} {
		_, err := reader.Extract(t.Context(), extract.Input{Reader: strings.NewReader(s)})
		if !errors.Is(err, extract.ErrUnsupported) {
			t.Errorf("%q: got %v", s, err)
		}
	}
}

func TestMaxBytes(t *testing.T) {
	t.Parallel()
	f := newPDF()
	for range 5 {
		f.page(show(text{50, 700, 12, "twenty letters here."}), "")
	}
	_, err := reader.Extract(t.Context(), extract.Input{Reader: bytes.NewReader(f.bytes()), MaxBytes: 50})
	if !errors.Is(err, extract.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	_, err = (&pdf.Extractor{MaxSource: 100}).Extract(t.Context(), extract.Input{Reader: bytes.NewReader(f.bytes())})
	if !errors.Is(err, extract.ErrTooLarge) {
		t.Errorf("MaxSource: got %v", err)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	f := newPDF()
	f.page(show(text{50, 700, 12, "Text"}), "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := reader.Extract(ctx, extract.Input{Reader: bytes.NewReader(f.bytes())}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
