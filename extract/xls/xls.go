// Package xls turns workbooks of Excel 5 to 2003 (XLS, the records of BIFF5 and BIFF8, [MS-XLS]) into Markdown text. Macros are never
// run and formulas never computed.
package xls

import (
	"cmp"
	"context"
	"fmt"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/cfb"
	"github.com/llmemory/llmemory/internal/charset"
	"github.com/llmemory/llmemory/internal/mdtext"
	"github.com/llmemory/llmemory/internal/sheet"
)

// MaxBytes is how many bytes of records are read.
const MaxBytes = 128 << 20

// Extractor reads XLS: each sheet as a heading and its tables, with the values that cells show; of a formula that is the value it had
// when the workbook was saved. Dates are written as 2006-01-02. Comments and text boxes follow the cells of their sheet. Sheets that
// are hidden are read too.
type Extractor struct {
	// MaxCells is how many cells that are not empty are read of a workbook; the rest is left out, with a warning. 0 means 1,000,000.
	MaxCells int
}

// Extract implements [extract.Extractor].
func (x Extractor) Extract(ctx context.Context, in extract.Input) (extract.Text, error) {
	src, err := in.Open(ctx, 0)
	if err != nil {
		return extract.Text{}, err
	}
	defer func() { _ = src.Close() }()
	file, err := cfb.Open(src, src.Size())
	if err != nil {
		return extract.Text{}, err
	}
	if file.Has("EncryptedPackage") {
		return extract.Text{}, fmt.Errorf("%w: the workbook needs a password", extract.ErrEncrypted)
	}
	data, err := file.Stream("Workbook", MaxBytes)
	if err == nil && data == nil {
		data, err = file.Stream("Book", MaxBytes)
	}
	if err != nil {
		return extract.Text{}, err
	}
	if data == nil {
		return extract.Text{}, fmt.Errorf("%w: no workbook in it", extract.ErrUnsupported)
	}
	w := &mdtext.Writer{Max: in.MaxBytes}
	b := &workbook{data: data, w: w, out: sheet.Writer{W: w, MaxCells: x.MaxCells}, codes: map[int]*sheet.Format{}, page: 1252}
	if err := b.read(ctx); err != nil {
		return extract.Text{}, err
	}
	text, err := b.out.Text(in, "xls")
	if err != nil {
		return extract.Text{}, err
	}
	summary := file.Summary(decode)
	text.Title, text.Author, text.Date = summary.Title, summary.Author, summary.Date
	text.Warnings = append(b.warnings, text.Warnings...)
	return text, nil
}

// decode makes text of bytes in a Windows code page.
func decode(page int, b []byte) string {
	if page == 65001 {
		return string(b)
	}
	e, _ := charset.Lookup(cmp.Or(charset.CodePage(page), "windows-1252"))
	if e == nil {
		return ""
	}
	out, err := e.NewDecoder().Bytes(b)
	if err != nil {
		return ""
	}
	return string(out)
}
