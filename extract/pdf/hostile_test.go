package pdf_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/extracttest"
	"github.com/llmemory/llmemory/extract/pdf"
)

// hostile are files that break the rules on purpose, with the outcomes that each may have: an error, or nil for text.
func hostile(t testing.TB) map[string]struct {
	data []byte
	want []error
} {
	t.Helper()
	one := func(change func(f *pdfFile)) []byte {
		f := newPDF()
		f.page(show(text{50, 700, 12, "Text"}), "")
		change(f)
		return f.bytes()
	}
	sound := one(func(*pdfFile) {})
	at := func(s string) int { return bytes.Index(sound, []byte(s)) }
	replace := func(old, with string) []byte { return bytes.Replace(sound, []byte(old), []byte(with), 1) }
	damaged := []error{extract.ErrDamaged}
	textOrDamaged := []error{nil, extract.ErrDamaged, extract.ErrNoText}
	bomb := func(depth int) []byte {
		body := bytes.Repeat([]byte("BT ET\n"), 16<<20/6)
		dict := "/Filter/FlateDecode"
		for i := range depth {
			body = []byte(deflate(t, body))
			if i > 0 {
				dict = "/Filter[" + strings.Repeat("/FlateDecode", i+1) + "]"
			}
		}
		return one(func(f *pdfFile) {
			c := f.stream(dict, string(body))
			f.pages = append(f.pages, f.add(fmt.Sprintf("<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</Font<</F %d 0 R>>>>/Contents %d 0 R>>", f.font, c)))
		})
	}
	return map[string]struct {
		data []byte
		want []error
	}{
		"only a header":           {[]byte("%PDF-1.7\n"), damaged},
		"header and noise":        {append([]byte("%PDF-1.7\n"), bytes.Repeat([]byte{0, 255, 10, 60}, 10_000)...), damaged},
		"cut in the table":        {sound[:at("trailer")], []error{nil}},
		"cut in the middle":       {sound[:len(sound)/2], damaged},
		"cut behind the contents": {sound[:at("/Type/Page/")+200], textOrDamaged},
		"table elsewhere":         {replace("startxref\n", "startxref\n9"), []error{nil}},
		"table at itself":         {replace("/Root 1 0 R", "/Root 1 0 R/Prev "+strconv.Itoa(at("xref\n0"))), textOrDamaged},
		"tables in a circle": {[]byte("%PDF-1.7\nxref\n0 1\n0000000000 65535 f \ntrailer\n<</Size 1/Root 1 0 R/Prev 9>>\n" +
			"startxref\n9\n%%EOF"), damaged},
		"huge size": {replace("/Size ", "/Size 99999999"), textOrDamaged},
		"huge count": {one(func(f *pdfFile) {
			f.objects[1] = fmt.Sprintf("<</Type/Pages/Count 2147483647/Kids[%d 0 R]>>", f.pages[0])
		}), []error{nil, extract.ErrDamaged, extract.ErrTooLarge}},
		"negative count":          {one(func(f *pdfFile) { f.objects[1] = fmt.Sprintf("<</Type/Pages/Count -5/Kids[%d 0 R]>>", f.pages[0]) }), textOrDamaged},
		"page tree in a circle":   {one(func(f *pdfFile) { f.objects[1] = "<</Type/Pages/Count 2/Kids[2 0 R 2 0 R]>>" }), textOrDamaged},
		"page tree without pages": {one(func(f *pdfFile) { f.objects[1] = "<</Type/Pages/Count 1/Kids[1 0 R]>>" }), textOrDamaged},
		"page tree is lost":       {one(func(f *pdfFile) { f.objects[1] = "null" }), []error{nil}},
		"catalog is lost":         {one(func(f *pdfFile) { f.objects[0] = "null" }), []error{nil}},
		"page tree of great depth": {one(func(f *pdfFile) {
			child := f.pages[0]
			for range 2_000 {
				child = f.add(fmt.Sprintf("<</Type/Pages/Count 1/Kids[%d 0 R]>>", child))
			}
			f.pages = []int{child}
		}), textOrDamaged},
		"one page many times": {one(func(f *pdfFile) {
			for range 500 {
				f.pages = append(f.pages, f.pages[0])
			}
		}), textOrDamaged},
		"arrays of great depth": {one(func(f *pdfFile) {
			f.page(strings.Repeat("[", 100_000)+show(text{50, 700, 12, "Below"}), "")
			f.add(strings.Repeat("[", 100_000))
		}), textOrDamaged},
		"dictionaries of great depth": {one(func(f *pdfFile) { f.catalog = strings.Repeat("/A<<", 50_000) }), textOrDamaged},
		"nested saves":                {one(func(f *pdfFile) { f.page(strings.Repeat("q ", 200_000)+show(text{50, 700, 12, "Below"}), "") }), textOrDamaged},
		"form in a circle": {one(func(f *pdfFile) {
			form := f.stream(fmt.Sprintf("/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X %d 0 R>>>>", len(f.objects)+1), "/X Do /X Do")
			c := f.stream("", "/X Do")
			f.pages = append(f.pages, f.add(fmt.Sprintf("<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</XObject<</X %d 0 R>>>>/Contents %d 0 R>>", form, c)))
		}), []error{nil, extract.ErrTimeout}},
		"forms that double": {one(func(f *pdfFile) { // 2^25 times the innermost
			x := f.stream("/Type/XObject/Subtype/Form/BBox[0 0 9 9]", "0 0 m")
			for range 25 {
				x = f.stream(fmt.Sprintf("/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X %d 0 R>>>>", x), "/X Do /X Do")
			}
			c := f.stream("", "/X Do")
			f.pages = append(f.pages, f.add(fmt.Sprintf("<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</XObject<</X %d 0 R>>>>/Contents %d 0 R>>", x, c)))
		}), []error{nil, extract.ErrTimeout, extract.ErrTooLarge, extract.ErrDamaged}},
		"length refers to itself": {one(func(f *pdfFile) {
			n := len(f.objects) + 1
			f.add(fmt.Sprintf("<</Length %d 0 R>>\nstream\nx\nendstream", n))
			f.pages = append(f.pages, f.add(fmt.Sprintf("<</Type/Page/Parent 2 0 R/Contents %d 0 R>>", n)))
		}), textOrDamaged},
		"bomb":              {bomb(1), []error{nil, extract.ErrTooLarge, extract.ErrDamaged, extract.ErrTimeout}},
		"bomb in a bomb":    {bomb(2), []error{nil, extract.ErrTooLarge, extract.ErrDamaged, extract.ErrTimeout}},
		"very many letters": {one(func(f *pdfFile) { f.page(show(text{50, 700, 12, strings.Repeat("letters ", 30_000)}), "") }), []error{nil}},
		"odd encryption":    {replace("/Root 1 0 R", "/Root 1 0 R/Encrypt<</Filter/Nobody>>/ID[<00><00>]"), []error{extract.ErrEncrypted, extract.ErrDamaged}},
	}
}

// TestHostile: each file has its outcome within the time, and the memory of the process stays in bounds.
func TestHostile(t *testing.T) {
	before := resident(t)
	hasty := &pdf.Extractor{Cache: reader.Cache, Timeout: time.Second}
	defer hasty.Close()
	for name, c := range hostile(t) {
		t.Run(name, func(t *testing.T) {
			x := reader
			if slices.Contains(c.want, extract.ErrTimeout) { // it would take all the time that it gets
				x = hasty
			}
			got, err := x.Extract(t.Context(), extract.Input{Reader: bytes.NewReader(c.data)})
			for _, want := range c.want {
				if want == nil && err == nil && strings.Contains(got.Content, "Text") || want != nil && errors.Is(err, want) {
					return
				}
			}
			t.Errorf("got %.100q, %v; want one of %v", got.Content, err, c.want)
		})
	}
	runtime.GC()
	if grown := resident(t) - before; grown > 1<<30 {
		t.Errorf("the process grew by %d MiB", grown>>20)
	}
}

// resident is the memory that this process has, 0 where that cannot be told.
func resident(t *testing.T) int64 {
	t.Helper()
	status, _ := os.ReadFile("/proc/self/status")
	_, after, ok := strings.Cut(string(status), "VmRSS:")
	if !ok {
		return 0
	}
	kb, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// TestMemoryLimit: a document that needs more than it may have is too large.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	f := newPDF()
	f.page(show(text{50, 700, 12, strings.Repeat("letters ", 300_000)}), "")
	x := &pdf.Extractor{Cache: reader.Cache, MaxMemory: 32 << 20}
	defer x.Close()
	_, err := x.Extract(t.Context(), extract.Input{Reader: bytes.NewReader(f.bytes())})
	if !errors.Is(err, extract.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func FuzzPDF(f *testing.F) {
	small := newPDF()
	small.info = "/Title(T)"
	small.page(show(text{50, 700, 12, "Some text"}), "")
	f.Add(small.bytes())
	two := newPDF()
	two.scanned()
	two.page(show(column(50, 700, 10, "left-", "over", "שלום")...), "/Annots[<</Subtype/Text/Rect[0 0 1 1]/Contents(note)>>]")
	f.Add(two.bytes())
	f.Add([]byte("%PDF-1.4\n1 0 obj<</Type/Page/MediaBox[0 0 9 9]>>endobj"))
	// Fuzzing takes an input for hung that is read twice in more than 10 s.
	brief := &pdf.Extractor{Cache: reader.Cache, Timeout: 3 * time.Second}
	f.Cleanup(func() { _ = brief.Close() })
	f.Fuzz(func(t *testing.T, data []byte) {
		extracttest.Any(t, brief, data)
	})
}
