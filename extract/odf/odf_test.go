package odf_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/extracttest"
	"github.com/llmemory/llmemory/extract/odf"
)

var spaces = func() string {
	var b strings.Builder
	for prefix, name := range map[string]string{"office": "office", "text": "text", "table": "table", "style": "style", "draw": "drawing", "fo": "xsl-fo-compatible", "svg": "svg-compatible", "meta": "meta", "presentation": "presentation"} {
		b.WriteString(` xmlns:` + prefix + `="urn:oasis:names:tc:opendocument:xmlns:` + name + `:1.0"`)
	}
	return b.String() + ` xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:dc="http://purl.org/dc/elements/1.1/"`
}()

// document makes one whose body is of a kind, such as "text".
func document(t testing.TB, kind, styles, body string, members ...string) []byte {
	return extracttest.Stored(t, append([]string{
		"mimetype", "application/vnd.oasis.opendocument.text",
		"content.xml", `<office:document-content` + spaces + `><office:automatic-styles>` + styles + `</office:automatic-styles><office:body><office:` + kind + `>` + body + `</office:` + kind + `></office:body></office:document-content>`,
	}, members...)...)
}

const styles = `<style:style style:name="P1" style:family="paragraph" style:parent-style-name="Title"/><style:style style:name="P2" style:family="paragraph" style:parent-style-name="P2"/>
<style:style style:name="P3" style:family="paragraph" style:parent-style-name="Preformatted_20_Text"/><style:style style:name="T2" style:family="text"><style:text-properties style:text-position="super 58%"/></style:style>
<style:style style:name="T1" style:family="text"><style:text-properties text:display="none"/></style:style>
<text:list-style style:name="L1"><text:list-level-style-number text:level="1" style:num-format="1" style:num-suffix="."/><text:list-level-style-number text:level="2" style:num-format="a" style:num-prefix="(" style:num-suffix=")"/></text:list-style>
<text:list-style style:name="L2"><text:list-level-style-bullet text:level="1" text:bullet-char="•"/></text:list-style>`

const body = `<text:tracked-changes><text:changed-region><text:deletion><text:p>deleted</text:p></text:deletion></text:changed-region></text:tracked-changes>
<text:p text:style-name="P1">Tides — a
 report</text:p>
<text:table-of-content><text:index-body><text:p>Why 3</text:p></text:index-body></text:table-of-content>
<text:h text:outline-level="1">Why</text:h>
<text:p>The   tide <text:span>comes</text:span><text:s text:c="1"/>in twice<text:note text:note-class="footnote"><text:note-citation>1</text:note-citation><text:note-body><text:p>In most places.</text:p></text:note-body></text:note> a day,<text:tab/>see <text:a xlink:href="https://example.org/almanac">the almanac</text:a><text:a xlink:href="#x"> or below</text:a><office:annotation><dc:creator>Bob</dc:creator><dc:date>2024-01-01</dc:date><text:p>Really?</text:p></office:annotation>.<text:line-break/>New line<text:span text:style-name="T1">HIDDEN</text:span></text:p>
<text:p text:style-name="P2">Page <text:page-number>7</text:page-number></text:p>
<text:h text:outline-level="2">Numbers</text:h>
<text:list text:style-name="L1"><text:list-item><text:p>first</text:p><text:list><text:list-item><text:p>inner</text:p></text:list-item><text:list-item><text:p>inner too</text:p><text:p>and more</text:p></text:list-item></text:list></text:list-item><text:list-item><text:p>second</text:p></text:list-item></text:list>
<text:p>Between</text:p>
<text:list text:style-name="L1" text:continue-numbering="true"><text:list-item><text:p>third</text:p></text:list-item><text:list-item text:start-value="7"><text:p>seventh</text:p></text:list-item></text:list>
<text:list text:style-name="L2"><text:list-item><text:p>bullet</text:p></text:list-item></text:list>
<text:h text:outline-level="2">Figures</text:h>
<table:table><table:table-header-rows><table:table-row><table:table-cell table:number-columns-spanned="2"><text:p>Place</text:p></table:table-cell><table:covered-table-cell/><table:table-cell><text:p>Metres</text:p></table:table-cell></table:table-row></table:table-header-rows>
<table:table-row><table:table-cell table:number-rows-spanned="2"><text:p>Dover</text:p></table:table-cell><table:table-cell><text:p>low</text:p><text:p>water</text:p></table:table-cell><table:table-cell><text:p>0.8</text:p></table:table-cell></table:table-row>
<table:table-row><table:covered-table-cell/><table:table-cell><text:p>high</text:p></table:table-cell><table:table-cell><table:table><table:table-row><table:table-cell><text:p>spring</text:p></table:table-cell><table:table-cell><text:p>6.9</text:p></table:table-cell></table:table-row></table:table></table:table-cell></table:table-row></table:table>
<text:section><text:p>Box <draw:frame><draw:text-box><text:p>In the box</text:p></draw:text-box></draw:frame><draw:frame><draw:image xlink:href="a.png"/><svg:desc>A chart</svg:desc></draw:frame><draw:frame><draw:object xlink:href="./Object 1"/></draw:frame></text:p></text:section>
<text:p text:style-name="P3">if tide {</text:p><text:p text:style-name="P3"><text:s text:c="2"/>rise()</text:p><text:p>10<text:span text:style-name="T2">6</text:span></text:p>
<text:p>שלום עולם, הגאות באה</text:p>
<text:p>潮の満ち引きは月の<text:ruby><text:ruby-base>引力</text:ruby-base><text:ruby-text>いんりょく</text:ruby-text></text:ruby>😀</text:p>`

var parts = []string{
	"styles.xml", `<office:document-styles` + spaces + `><office:styles><style:default-style style:family="paragraph"><style:text-properties fo:language="en"/></style:default-style><text:outline-style><text:outline-level-style text:level="1" style:num-format="1"/><text:outline-level-style text:level="2" style:num-format="1" text:display-levels="2"/></text:outline-style></office:styles>` +
		`<office:master-styles><style:master-page><style:header><text:p>North Sea</text:p></style:header><style:header-left><text:p>North Sea</text:p></style:header-left><style:footer><text:p>Confidential</text:p></style:footer></style:master-page></office:master-styles></office:document-styles>`,
	"meta.xml", `<office:document-meta` + spaces + `><office:meta><dc:title>Tides</dc:title><meta:initial-creator>Ada Moor</meta:initial-creator><dc:date>2024-05-06T07:08:09</dc:date></office:meta></office:document-meta>`,
	"Object 1/content.xml", `<math xmlns="http://www.w3.org/1998/Math/MathML"><semantics><mfrac><mi>a</mi><mrow><mn>2</mn><mi>b</mi></mrow></mfrac><annotation encoding="StarMath 5.0">a over 2b</annotation></semantics></math>`,
}

const want = `North Sea

# Tides — a report

# 1 Why

The tide comes in twice[^1] a day, see [the almanac](https://example.org/almanac) or below[^c1].
New line

Page

[^1]: In most places.

[^c1]: Comment by Bob: Really?

## 1.1 Numbers

1. first
   - (a) inner
   - (b) inner too

     and more
2. second

Between

3. third
7. seventh
- bullet

## 1.2 Figures

| Place | | Metres |
| --- | --- | --- |
| Dover | low water | 0.8 |
| | high | spring, 6.9 |

Box A charta/2b

In the box

` + "```\nif tide {\n  rise()\n```" + `

10^6

שלום עולם, הגאות באה

潮の満ち引きは月の引力(いんりょく)😀

Confidential
`

var date = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

func TestText(t *testing.T) {
	t.Parallel()
	got := extracttest.Extract(t, odf.Extractor{}, extract.Input{}, document(t, "text", styles, body, parts...))
	text := extract.Text{Content: want, Type: "docx", Format: "odt", Markup: "markdown", Title: "Tides", Author: "Ada Moor", Language: "en", Date: date}
	if diff := cmp.Diff(text, got); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

const sheets = `<table:table table:name="First"><table:table-row><table:table-cell><text:p>Place</text:p></table:table-cell><table:table-cell table:number-columns-repeated="3"/><table:table-cell><text:p>When</text:p></table:table-cell></table:table-row>
<table:table-row><table:table-cell><text:p>שלום</text:p><office:annotation><text:p>Is it so?</text:p></office:annotation></table:table-cell><table:table-cell office:value-type="float" office:value="1234.5"><text:p>1,234.50 €</text:p></table:table-cell><table:table-cell table:number-columns-repeated="2"/><table:table-cell office:value-type="date" office:date-value="2024-05-06"><text:p>6.5.24</text:p></table:table-cell></table:table-row>
<table:table-row><table:table-cell><text:p>潮の</text:p><text:p>満ち引き</text:p></table:table-cell></table:table-row>
<table:table-row table:number-rows-repeated="2"><table:table-cell table:number-columns-repeated="2" office:value-type="float" office:value="1"><text:p>1</text:p></table:table-cell></table:table-row>
<table:table-row table:number-rows-repeated="1048576"><table:table-cell table:number-columns-repeated="16384"/></table:table-row></table:table>
<table:table table:name="Empty"><table:table-row><table:table-cell/></table:table-row></table:table>`

func TestSheets(t *testing.T) {
	t.Parallel()
	got := extracttest.Extract(t, odf.Extractor{}, extract.Input{}, document(t, "spreadsheet", "", sheets, parts...))
	text := extract.Text{
		Content: "## First\n\n| Place | | When |\n| --- | --- | --- |\n| שלום | 1,234.50 € | 2024-05-06 |\n| 潮の 満ち引き |\n| 1 | 1 |\n| 1 | 1 |\n\n> Comment: Is it so?\n\n## Empty\n",
		Type:    "report", Format: "ods", Markup: "markdown", Title: "Tides", Author: "Ada Moor", Language: "en", Date: date,
	}
	if diff := cmp.Diff(text, got); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	bomb := strings.Replace(sheets, `table:number-rows-repeated="2"`, `table:number-rows-repeated="1000000"`, 1)
	got = extracttest.Extract(t, odf.Extractor{MaxCells: 1000}, extract.Input{}, document(t, "spreadsheet", "", bomb))
	if len(got.Content) > 10_000 || len(got.Warnings) != 1 {
		t.Errorf("repeated rows: %d bytes, warnings %q", len(got.Content), got.Warnings)
	}
}

const slides = `<draw:page><draw:frame presentation:class="subtitle"><draw:text-box><text:p>A talk</text:p></draw:text-box></draw:frame><draw:frame presentation:class="title"><draw:text-box><text:p>Tides</text:p></draw:text-box></draw:frame>
<draw:frame presentation:class="footer"><draw:text-box><text:p>Footer</text:p></draw:text-box></draw:frame>
<presentation:notes><draw:page-thumbnail/><draw:frame presentation:class="notes"><draw:text-box><text:p>Speak slowly.</text:p></draw:text-box></draw:frame></presentation:notes></draw:page>
<draw:page><draw:g><draw:custom-shape><text:p>In a group</text:p><text:p>שלום עולם</text:p></draw:custom-shape></draw:g><draw:frame><draw:text-box><text:list><text:list-item><text:p>one</text:p><text:list><text:list-item><text:p>inner</text:p></text:list-item></text:list></text:list-item></text:list></draw:text-box></draw:frame>
<draw:frame><table:table><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell><table:table-cell><text:p>潮</text:p></table:table-cell></table:table-row></table:table></draw:frame><draw:frame><draw:image/><svg:title>A chart</svg:title></draw:frame></draw:page>`

func TestSlides(t *testing.T) {
	t.Parallel()
	got := extracttest.Extract(t, odf.Extractor{}, extract.Input{}, document(t, "presentation", "", slides, parts...))
	want := "## Tides\n\nA talk\n\n> Notes:\n>\n> Speak slowly.\n\n## Slide 2\n\nIn a group\n\nשלום עולם\n\n- one\n  - inner\n\n| a | 潮 |\n| --- | --- |\n\nA chart\n"
	text := extract.Text{
		Content: want, Type: "presentation", Format: "odp", Markup: "markdown", Title: "Tides", Author: "Ada Moor", Language: "en", Date: date,
		Pages: []int{0, strings.Index(want, "\n## Slide 2")},
	}
	if diff := cmp.Diff(text, got); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

// What other programs put into a document: charts, drawings of any kind, program text in a box, a text that is only an attribute.
func TestWithin(t *testing.T) {
	t.Parallel()
	chart := `<office:document-content` + spaces + ` xmlns:chart="urn:oasis:names:tc:opendocument:xmlns:chart:1.0"><office:body><office:chart><chart:chart><chart:title><text:p>Heights</text:p></chart:title>` +
		`<table:table><table:table-row><table:table-cell><text:p>Dover</text:p></table:table-cell><table:table-cell><text:p>6.7</text:p></table:table-cell></table:table-row></table:table></chart:chart></office:chart></office:body></office:document-content>`
	for name, tt := range map[string]struct{ kind, body, want string }{
		"chart":          {"text", `<text:p>A <draw:frame><draw:object xlink:href="./Object 2"/></draw:frame></text:p>`, "A\n\nHeights\n\nDover, 6.7\n"},
		"chart, slide":   {"presentation", `<draw:page><draw:frame><draw:object xlink:href="./Object 2"/></draw:frame></draw:page>`, "## Slide 1\n\nHeights\n\n| Dover | 6.7 |\n| --- | --- |\n"},
		"itself":         {"text", `<text:p>once<draw:frame><draw:object xlink:href="./."/></draw:frame><draw:frame><draw:object xlink:href="../"/></draw:frame></text:p>`, "once\n"},
		"shapes":         {"text", `<draw:path><text:p>one</text:p></draw:path><text:p>two<draw:caption><text:p>three</text:p><text:p>four</text:p></draw:caption></text:p>`, "one\n\ntwo\n\nthree\n\nfour\n"},
		"code in a box":  {"text", `<text:p>x<draw:frame><draw:text-box><text:p text:style-name="P3">if</text:p></draw:text-box></draw:frame></text:p>`, "x\n\nif\n"},
		"code, slide":    {"presentation", `<draw:page><draw:frame><draw:text-box><text:p text:style-name="P3">if</text:p></draw:text-box></draw:frame></draw:page>`, "## Slide 1\n\n```\nif\n```\n"},
		"code in a cell": {"spreadsheet", `<table:table table:name="a"><table:table-row><table:table-cell><text:p text:style-name="P3">if</text:p></table:table-cell></table:table-row></table:table>`, "## a\n\nif\n"},
		"only a value":   {"spreadsheet", `<table:table table:name="a"><table:table-row><table:table-cell office:value-type="string" office:string-value="word"/></table:table-row></table:table>`, "## a\n\nword\n"},
	} {
		got := extracttest.Extract(t, odf.Extractor{}, extract.Input{}, document(t, tt.kind, styles, tt.body, "Object 2/content.xml", chart)).Content
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	repeated := `<table:table>` + strings.Repeat(`<table:table-row><table:table-cell table:number-columns-repeated="1000"><text:p>`+strings.Repeat("x", 100_000)+`</text:p></table:table-cell></table:table-row>`, 20) + `</table:table>`
	if got := extracttest.Extract(t, odf.Extractor{}, extract.Input{}, document(t, "text", "", repeated)); len(got.Content) > 64<<20 {
		t.Errorf("cells that are repeated come to %d bytes", len(got.Content))
	}
}

func TestHostileDocuments(t *testing.T) {
	t.Parallel()
	refused := func(name string, data []byte, kind error) {
		t.Helper()
		if _, err := (odf.Extractor{}).Extract(t.Context(), extract.Input{Reader: bytes.NewReader(data)}); !errors.Is(err, kind) {
			t.Errorf("%s: error = %v, want %v", name, err, kind)
		}
	}
	good := document(t, "text", styles, body, parts...)
	refused("truncated", good[:len(good)-100], extract.ErrDamaged)
	refused("no content", extracttest.Zip(t, "mimetype", "application/vnd.oasis.opendocument.text"), extract.ErrDamaged)
	refused("empty", document(t, "text", "", "<text:p> </text:p>"), extract.ErrNoText)
	refused("encrypted", document(t, "text", "", "", "META-INF/manifest.xml", `<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"><manifest:file-entry><manifest:encryption-data/></manifest:file-entry></manifest:manifest>`), extract.ErrEncrypted)
	refused("deep lists", document(t, "text", "", strings.Repeat("<text:list><text:list-item>", 1000)), extract.ErrTooLarge)
	refused("entities", extracttest.Zip(t, "content.xml", `<!DOCTYPE x [<!ENTITY a "x">]><x>&a;</x>`), extract.ErrDamaged)
	refused("bomb", extracttest.Zip(t, "content.xml", "<x>"+strings.Repeat(" ", 8<<20)), extract.ErrTooLarge)
	loop := document(t, "text", "", `<text:p>once<draw:object xlink:href="./."/></text:p>`)
	if got := extracttest.Extract(t, odf.Extractor{}, extract.Input{}, loop).Content; got != "once\n" {
		t.Errorf("a document within itself: %q", got)
	}
}

func FuzzText(f *testing.F) {
	f.Add("text", body)
	f.Add("spreadsheet", sheets)
	f.Add("presentation", slides)
	f.Fuzz(func(t *testing.T, kind, body string) {
		extracttest.Any(t, odf.Extractor{MaxCells: 10_000}, document(t, kind, styles, body, parts...))
	})
}
