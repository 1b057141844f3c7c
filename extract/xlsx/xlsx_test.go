package xlsx_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/extracttest"
	"github.com/llmemory/llmemory/extract/xlsx"
)

const main = `xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"`

// workbook makes one of the XML within the worksheet elements of its sheets.
func workbook(t testing.TB, sheets []string, members ...string) []byte {
	var tabs strings.Builder
	rels := []string{"st", "styles", "styles.xml", "ss", "sharedStrings", "sharedStrings.xml"}
	var list []string
	for i, s := range sheets {
		fmt.Fprintf(&tabs, `<sheet name="Sheet %d" sheetId="%d" r:id="rId%d"/>`, i+1, i+1, i+1)
		rels = append(rels, fmt.Sprintf("rId%d", i+1), "worksheet", fmt.Sprintf("worksheets/sheet%d.xml", i+1))
		list = append(list, fmt.Sprintf("xl/worksheets/sheet%d.xml", i+1), `<worksheet `+main+`>`+s+`</worksheet>`)
	}
	return extracttest.Stored(t, append(append([]string{
		"[Content_Types].xml", `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>`,
		"_rels/.rels", extracttest.Relationships("r1", "officeDocument", "xl/workbook.xml"),
		"xl/workbook.xml", `<workbook ` + main + `><workbookPr/><sheets>` + tabs.String() + `</sheets></workbook>`,
		"xl/_rels/workbook.xml.rels", extracttest.Relationships(rels...),
	}, list...), members...)...)
}

var sheets = []string{
	`<sheetData>
	<row r="1"><c r="A1" t="s"><v>0</v></c></row>
	<row r="3"><c r="B3" t="s"><v>1</v></c><c r="C3" t="inlineStr"><is><r><t>Met</t></r><r><t>res | m</t></r><rPh><t>reading</t></rPh></is></c><c r="D3" t="str"><f>A1</f><v>Date</v></c></row>
	<row r="4"><c r="B4" t="s"><v>2</v></c><c r="C4" s="2"><f>SUM(A1:A2)</f><v>1234.5</v></c><c r="D4" s="1"><v>45418</v></c></row>
	<row r="5"><c r="B5" t="s"><v>3</v></c><c r="C5" t="e"><v>#N/A</v></c><c r="D5" s="3"><v>45418.5</v></c></row>
	<row r="6"><c r="B6" t="b"><v>1</v></c><c r="C6"><f>C4*2</f></c><c r="D6" t="d"><v>2024-05-06T00:00:00</v></c></row>
	<row r="8"><c r="B8" t="s"><v>4</v></c><c r="C8" s="4"><v>0.256</v></c><c r="XFD8"/></row>
	<row r="1048576"><c r="A1048576" t="s"><v>5</v></c></row>
	</sheetData><mergeCells><mergeCell ref="A1:D1"/></mergeCells><hyperlinks><hyperlink ref="B4" r:id="link"/></hyperlinks>`,
	`<sheetData><row><c><v>1</v></c><c><v>2</v></c></row><row><c><v>3</v></c></row></sheetData>`,
	`<sheetData/>`,
}

var parts = []string{
	"xl/sharedStrings.xml", `<sst ` + main + `><si><t>Tides_x000D_ of 2024</t></si><si><r><t>Pla</t></r><r><t>ce</t></r></si><si><t>שלום עולם</t></si><si><t>潮</t><rPh sb="0" eb="1"><t>しお</t></rPh></si><si><t xml:space="preserve"> Share </t></si><si><t>at the end</t></si></sst>`,
	"xl/styles.xml", `<styleSheet ` + main + `><numFmts><numFmt numFmtId="164" formatCode="[$€-407]\ #,##0.00"/><numFmt numFmtId="165" formatCode="d/m/yyyy\ h:mm"/></numFmts><cellStyleXfs><xf numFmtId="9"/></cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/><xf numFmtId="165"/><xf numFmtId="10"/></cellXfs></styleSheet>`,
	"xl/worksheets/_rels/sheet1.xml.rels", extracttest.Relationships("link", "hyperlink", "https://example.org/dover", "c", "comments", "../comments1.xml", "d", "drawing", "../drawings/drawing1.xml"),
	"xl/drawings/_rels/drawing1.xml.rels", extracttest.Relationships("x", "diagramData", "../diagrams/data1.xml"),
	"xl/diagrams/data1.xml", `<dgm:dataModel xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram" xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><dgm:pt><a:p><a:t>Moon</a:t></a:p></dgm:pt></dgm:dataModel>`,
	"xl/comments1.xml", `<comments ` + main + `><commentList><comment ref="C4"><text><r><t>Is it </t></r><r><t>so?</t></r></text></comment></commentList></comments>`,
	"xl/drawings/drawing1.xml", `<xdr:wsDr xmlns:xdr="http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing" xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><xdr:sp><xdr:nvSpPr><xdr:cNvPr id="1" descr="A picture of the sea"/></xdr:nvSpPr><xdr:txBody><a:p><a:r><a:t>In a box</a:t></a:r></a:p></xdr:txBody></xdr:sp></xdr:wsDr>`,
	"docProps/core.xml", `<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/"><dc:title>Tides</dc:title><dc:creator>Ada Moor</dc:creator><dcterms:created>2024-05-06T07:08:09Z</dcterms:created></cp:coreProperties>`,
}

const want = `## Sheet 1

Tides of 2024

| Place | Metres \| m | Date |
| --- | --- | --- |
| [שלום עולם](https://example.org/dover) | € 1,234.50 | 2024-05-06 |
| 潮 | #N/A | 2024-05-06 12:00 |
| TRUE | =C4*2 | 2024-05-06 |
| Share | 25.60% |

at the end

> Comment on C4: Is it so?

In a box

A picture of the sea

Moon

## Sheet 2

| 1 | 2 |
| --- | --- |
| 3 |

## Sheet 3
`

func TestWorkbook(t *testing.T) {
	t.Parallel()
	got := extracttest.Extract(t, xlsx.Extractor{}, extract.Input{}, workbook(t, sheets, parts...))
	text := extract.Text{
		Content: want, Type: "report", Format: "xlsx", Markup: "markdown", Title: "Tides", Author: "Ada Moor", Date: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC),
	}
	if diff := cmp.Diff(text, got); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func TestHostileWorkbooks(t *testing.T) {
	t.Parallel()
	refused := func(name string, data []byte, kind error) {
		t.Helper()
		if _, err := (xlsx.Extractor{}).Extract(t.Context(), extract.Input{Reader: bytes.NewReader(data)}); !errors.Is(err, kind) {
			t.Errorf("%s: error = %v, want %v", name, err, kind)
		}
	}
	good := workbook(t, sheets, parts...)
	refused("truncated", good[:len(good)-100], extract.ErrDamaged)
	refused("empty", workbook(t, []string{"<sheetData/>"}), extract.ErrNoText)
	refused("bomb", extracttest.Zip(t, "xl/workbook.xml", `<workbook `+main+`>`+strings.Repeat(" ", 20<<20)), extract.ErrTooLarge)
	refused("entities", extracttest.Zip(t, "xl/workbook.xml", `<!DOCTYPE x [<!ENTITY a "x">]><workbook `+main+`>&a;</workbook>`), extract.ErrDamaged)
	cells := `<sheetData>` + strings.Repeat(`<row>`+strings.Repeat(`<c><v>1</v></c>`, 50)+`</row>`, 50) + `</sheetData>`
	got := extracttest.Extract(t, xlsx.Extractor{MaxCells: 100}, extract.Input{}, workbook(t, []string{cells, cells}))
	if n := strings.Count(got.Content, "1 "); n != 100 || len(got.Warnings) != 1 {
		t.Errorf("%d cells with warnings %q", n, got.Warnings)
	}
	odd := `<sheetData><row r="-5"><c r="A99999999999999999999" t="s"><v>-1</v></c><c r="ZZZZZZ1" t="s"><v>999</v></c><c s="-3"><v>NaN</v></c><c s="99"><v>1e999</v></c><c t="inlineStr"><is><t>words</t></is></c></row></sheetData>`
	if got := extracttest.Extract(t, xlsx.Extractor{}, extract.Input{}, workbook(t, []string{odd})).Content; !strings.Contains(got, "words") {
		t.Errorf("odd references: %q", got)
	}
}

// Strings of very many runs, cells that share a long string and long number formats cost no more than what is read.
func TestCostlyWorkbooks(t *testing.T) {
	row := `<row><c t="s"><v>0</v></c></row>`
	for name, tc := range map[string]struct {
		sheet   string
		members []string
		kind    error
	}{
		"runs":    {row, []string{"xl/sharedStrings.xml", `<sst ` + main + `><si>` + strings.Repeat(`<t>x</t><r><t>y</t></r>`, 20_000) + `</si></sst>`}, nil},
		"shared":  {strings.Repeat(row, 2000), []string{"xl/sharedStrings.xml", `<sst ` + main + `><si><t>` + strings.Repeat("x", 100_000) + `</t></si></sst>`}, extract.ErrTooLarge},
		"formats": {strings.Repeat(`<row><c s="0"><v>1</v></c></row>`, 10), []string{"xl/styles.xml", `<styleSheet ` + main + `><numFmts><numFmt numFmtId="164" formatCode="` + strings.Repeat("DM", 2000) + `"/></numFmts><cellXfs><xf numFmtId="164"/></cellXfs></styleSheet>`}, nil},
	} {
		doc := workbook(t, []string{`<sheetData>` + tc.sheet + `</sheetData>`}, tc.members...)
		var err error
		n := extracttest.Allocated(func() {
			_, err = xlsx.Extractor{}.Extract(t.Context(), extract.Input{Reader: bytes.NewReader(doc), MaxBytes: 4 << 20})
		})
		if n > 80<<20 || !errors.Is(err, tc.kind) {
			t.Errorf("%s: %d bytes allocated, error = %v, want %v", name, n, err, tc.kind)
		}
	}
}

func FuzzSheet(f *testing.F) {
	for _, s := range sheets {
		f.Add(s, "#,##0.00")
	}
	f.Fuzz(func(t *testing.T, sheet, format string) {
		if strings.ContainsAny(format, "<&\"") {
			format = "0.0"
		}
		styles := `<styleSheet ` + main + `><numFmts><numFmt numFmtId="164" formatCode="` + format + `"/></numFmts><cellXfs><xf numFmtId="164"/><xf numFmtId="14"/></cellXfs></styleSheet>`
		extracttest.Any(t, xlsx.Extractor{}, workbook(t, []string{sheet}, "xl/styles.xml", styles, "xl/sharedStrings.xml", parts[1]))
	})
}
