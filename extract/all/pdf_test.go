package all_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/all"
	"github.com/llmemory/llmemory/extract/pdf"
	"github.com/llmemory/llmemory/extract/sandbox"
)

// TestMain makes the test binary a program that can run itself as a child, as a host's main does.
func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}

// TestLargePage: in a child, whose limits hold, if there is a pool, else in this process.
func TestLargePage(t *testing.T) {
	t.Parallel()
	small := "<!DOCTYPE html><title>A page</title><p>Some text."
	large := small + strings.Repeat("<p>A paragraph of some words more.", 5<<20/34)
	strict, usual := sandbox.Pool{Limits: sandbox.Limits{Output: 1 << 20}}, sandbox.Pool{}
	defer strict.Close()
	defer usual.Close()
	for name, c := range map[string]struct {
		pool *sandbox.Pool
		page string
		want error
	}{
		"small": {&strict, small, nil}, "large": {&strict, large, extract.ErrTooLarge}, "large, in a child": {&usual, large, nil}, "large, without": {nil, large, nil},
	} {
		text, err := all.Extractor{Sandbox: c.pool}.Extract(t.Context(), extract.Input{Reader: strings.NewReader(c.page), Name: "a.html"})
		if !errors.Is(err, c.want) || err == nil && (text.Title != "A page" || !strings.HasPrefix(text.Content, "Some text.") || text.Format != "html") {
			t.Errorf("%s: %q, %.50q, %v", name, text.Title, text.Content, err)
		}
	}
}

const smallPDF = `%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Count 1/Kids[3 0 R]>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>> endobj
4 0 obj <</Length 44>> stream
BT /F 12 Tf 50 200 Td (Hello, portable) Tj ET
endstream endobj
5 0 obj <</Type/Font/Subtype/Type1/BaseFont/Helvetica>> endobj
trailer <</Root 1 0 R/Size 6>>
`

// TestPDF: in a child if there is a pool, in this process if that is asked for, else not at all.
func TestPDF(t *testing.T) {
	t.Parallel()
	var pool sandbox.Pool
	defer pool.Close()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	here := &pdf.Extractor{Cache: filepath.Join(cache, "llmemory", "sandbox")} // as the children have it: compiling takes long
	defer here.Close()
	for _, c := range []struct {
		name string
		x    all.Extractor
	}{
		{"child", all.Extractor{Sandbox: &pool}},
		{"in place", all.Extractor{Custom: map[string]extract.Extractor{"pdf": here}}},
	} {
		text, err := c.x.Extract(t.Context(), extract.Input{Reader: strings.NewReader(smallPDF), Name: "a.txt"})
		if err != nil || text.Content != "Hello, portable" || text.Type != "pdf" || len(text.Pages) != 1 {
			t.Errorf("%s: %+v, %v", c.name, text, err)
		}
	}
	_, err = all.Extractor{}.Extract(t.Context(), extract.Input{Reader: strings.NewReader(smallPDF)})
	if !errors.Is(err, sandbox.ErrNoMain) {
		t.Errorf("with neither: %v", err)
	}
}
