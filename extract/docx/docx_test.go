package docx_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/docx"
	"github.com/llmemory/llmemory/extract/extracttest"
)

const head = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>`

// spaces are those that the parts of a test use.
const spaces = ` xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"` +
	` xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math" xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"` +
	` xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing" xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"` +
	` xmlns:v="urn:schemas-microsoft-com:vml" xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram" xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"`

// relationships begins as Word begins every part.
func relationships(list ...string) string { return head + extracttest.Relationships(list...) }

func word(t testing.TB, body string, members ...string) []byte {
	zip := extracttest.Stored
	if len(body) > 1<<16 || len(members) > 0 && len(members[1]) > 1<<16 {
		zip = extracttest.Zip
	}
	return zip(t, append([]string{
		"[Content_Types].xml", head + `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>`,
		"_rels/.rels", relationships("r1", "officeDocument", "word/document.xml"),
		"word/document.xml", head + `<w:document` + spaces + `><w:body>` + body + `</w:body></w:document>`,
	}, members...)...)
}

func p(text string) string {
	return `<w:p><w:r><w:t xml:space="preserve">` + text + `</w:t></w:r></w:p>`
}

func styled(style, text string) string {
	return `<w:p><w:pPr><w:pStyle w:val="` + style + `"/></w:pPr><w:r><w:t>` + text + `</w:t></w:r></w:p>`
}

func listed(num, level, text string) string {
	return `<w:p><w:pPr><w:numPr><w:ilvl w:val="` + level + `"/><w:numId w:val="` + num + `"/></w:numPr></w:pPr><w:r><w:t>` + text + `</w:t></w:r></w:p>`
}

func cell(properties, content string) string {
	return `<w:tc><w:tcPr>` + properties + `</w:tcPr>` + content + `</w:tc>`
}

func lvl(level, format, text string) string {
	return `<w:lvl w:ilvl="` + level + `"><w:start w:val="1"/><w:numFmt w:val="` + format + `"/><w:lvlText w:val="` + text + `"/></w:lvl>`
}

const stylesPart = head + `<w:styles` + spaces + `><w:docDefaults><w:rPrDefault><w:rPr><w:lang w:val="en-GB" w:eastAsia="ja-JP" w:bidi="he-IL"/></w:rPr></w:rPrDefault></w:docDefaults>
<w:style w:type="paragraph" w:default="1" w:styleId="Standard"><w:name w:val="Normal"/></w:style>
<w:style w:type="paragraph" w:styleId="Titel"><w:name w:val="Title"/></w:style>
<w:style w:type="paragraph" w:styleId="berschrift1"><w:name w:val="heading 1"/><w:pPr><w:numPr><w:numId w:val="3"/></w:numPr></w:pPr></w:style>
<w:style w:type="paragraph" w:styleId="berschrift2"><w:name w:val="heading 2"/><w:pPr><w:numPr><w:ilvl w:val="1"/><w:numId w:val="3"/></w:numPr></w:pPr></w:style>
<w:style w:type="paragraph" w:styleId="Mine"><w:name w:val="Chapter of mine"/><w:basedOn w:val="Outlined"/></w:style>
<w:style w:type="paragraph" w:styleId="Outlined"><w:name w:val="Outlined"/><w:pPr><w:outlineLvl w:val="2"/></w:pPr></w:style>
<w:style w:type="paragraph" w:styleId="Loop"><w:name w:val="Loop"/><w:basedOn w:val="Loop2"/></w:style>
<w:style w:type="paragraph" w:styleId="Loop2"><w:name w:val="Loop2"/><w:basedOn w:val="Loop"/></w:style>
<w:style w:type="paragraph" w:styleId="Author"><w:name w:val="Author"/><w:basedOn w:val="Titel"/></w:style>
<w:style w:type="paragraph" w:styleId="Code"><w:name w:val="Source Code"/></w:style>
<w:style w:type="paragraph" w:styleId="TOC1"><w:name w:val="toc 1"/></w:style></w:styles>`

var numberingPart = head + `<w:numbering` + spaces + `>
<w:abstractNum w:abstractNumId="0">` + lvl("0", "decimal", "%1.") + lvl("1", "lowerLetter", "(%2)") + lvl("2", "lowerRoman", "%1.%2.%3") + `</w:abstractNum>
<w:abstractNum w:abstractNumId="1">` + lvl("0", "bullet", "") + lvl("1", "bullet", "o") + `</w:abstractNum>
<w:abstractNum w:abstractNumId="3">` + lvl("0", "bullet", " ") + `</w:abstractNum><w:num w:numId="5"><w:abstractNumId w:val="3"/></w:num>
<w:abstractNum w:abstractNumId="2">` + lvl("0", "decimal", "%1") + lvl("1", "decimal", "%1.%2") + `</w:abstractNum>
<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="1"/></w:num><w:num w:numId="3"><w:abstractNumId w:val="2"/></w:num>
<w:num w:numId="4"><w:abstractNumId w:val="0"/><w:lvlOverride w:ilvl="0"><w:startOverride w:val="5"/></w:lvlOverride></w:num></w:numbering>`

var body = styled("Titel", "Tides — a report") +
	styled("Author", "Ada Moor") +
	`<w:sdt><w:sdtPr><w:docPartObj><w:docPartGallery w:val="Table of Contents"/></w:docPartObj></w:sdtPr><w:sdtContent>` + p("Why 3") + `</w:sdtContent></w:sdt>` +
	styled("TOC1", "How 7") +
	styled("berschrift1", "Why") +
	`<w:p><w:r><w:t xml:space="preserve">The tide </w:t></w:r><w:r><w:rPr><w:b/></w:rPr><w:t>comes</w:t></w:r><w:r><w:t xml:space="preserve"> in twice</w:t></w:r><w:r><w:footnoteReference w:id="2"/></w:r>` +
	`<w:r><w:t xml:space="preserve"> a day, see </w:t></w:r><w:hyperlink r:id="link"><w:r><w:t>the</w:t></w:r><w:r><w:t xml:space="preserve"> almanac</w:t></w:r></w:hyperlink><w:hyperlink w:anchor="x"><w:r><w:t xml:space="preserve"> or below</w:t></w:r></w:hyperlink>` +
	`<w:r><w:commentReference w:id="0"/></w:r><w:r><w:rPr><w:vanish/></w:rPr><w:t>HIDDEN</w:t></w:r><w:r><w:t>.</w:t></w:r></w:p>` +
	`<w:p><w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText> HYPERLINK "https://example.org/b" </w:instrText></w:r><w:r><w:fldChar w:fldCharType="separate"/></w:r><w:r><w:t>By field</w:t></w:r><w:r><w:fldChar w:fldCharType="end"/></w:r><w:r><w:t xml:space="preserve"> on page </w:t></w:r><w:fldSimple w:instr=" PAGE "><w:r><w:t>9</w:t></w:r></w:fldSimple></w:p>` +
	styled("berschrift2", "Numbers") +
	listed("1", "0", "first") + listed("1", "1", "inner") + listed("1", "1", "inner too") + listed("1", "2", "deep") + listed("1", "0", "second") + listed("4", "0", "fifth") +
	p("Between") + listed("2", "0", "bullet") + listed("2", "1", "smaller") + listed("5", "0", "goes on") + styled("Code", "if tide {") + styled("Code", "}") + listed("0", "0", "no item") +
	styled("berschrift2", "Changes") +
	`<w:p><w:ins><w:r><w:t xml:space="preserve">Added </w:t></w:r></w:ins><w:del><w:r><w:delText>removed </w:delText></w:r></w:del><w:r><w:t>kept</w:t></w:r><w:moveFrom><w:r><w:t>moved</w:t></w:r></w:moveFrom></w:p>` +
	`<w:p><w:pPr><w:rPr><w:del/></w:rPr></w:pPr><w:r><w:t xml:space="preserve">One </w:t></w:r></w:p>` + p("sentence.") +
	styled("Mine", "Inherited") + styled("Loop", "A style in a loop") +
	`<w:tbl><w:tr>` + cell(`<w:gridSpan w:val="2"/>`, p("Place")) + cell("", p("Metres")) + `</w:tr>` +
	`<w:tr>` + cell(`<w:vMerge w:val="restart"/>`, p("Dover")) + cell("", p("low")+p("water")) + cell("", p("0.8")) + `</w:tr>` +
	`<w:tr>` + cell(`<w:vMerge/>`, p("")) + cell("", p("high")) + cell("", listed("2", "0", "6.7")+`<w:tbl><w:tr>`+cell("", p("spring"))+cell("", p("6.9"))+`</w:tr></w:tbl>`+p("")) + `</w:tr>` +
	`<w:tr><w:trPr><w:del/></w:trPr>` + cell("", p("gone")) + `</w:tr></w:tbl>` +
	`<w:p><w:r><w:t>Box</w:t></w:r><w:r><mc:AlternateContent><mc:Choice Requires="wps"><w:drawing><wp:docPr descr=" A chart"/><wps:txbx><w:txbxContent>` + p("In the box") + `</w:txbxContent></wps:txbx></w:drawing></mc:Choice>` +
	`<mc:Fallback><w:pict><v:textbox><w:txbxContent>` + p("In the box") + `</w:txbxContent></v:textbox></w:pict></mc:Fallback></mc:AlternateContent></w:r></w:p>` +
	`<w:p><w:r><w:t>10</w:t></w:r><w:r><w:rPr><w:vertAlign w:val="superscript"/></w:rPr><w:t>6</w:t></w:r><w:r><w:tab/><w:t>N</w:t><w:br/><w:t>new line</w:t><w:noBreakHyphen/><w:sym w:font="Wingdings" w:char="F0FC"/></w:r><w:r><w:endnoteReference w:id="5"/></w:r></w:p>` +
	`<w:p><w:pPr><w:bidi/></w:pPr><w:r><w:rPr><w:rtl/></w:rPr><w:t>שלום עולם, הגאות באה</w:t></w:r></w:p>` +
	`<w:p><w:r><w:t>潮の満ち引きは月の</w:t></w:r><w:r><w:ruby><w:rt><w:r><w:t>いんりょく</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>引力</w:t></w:r></w:rubyBase></w:ruby></w:r><w:r><w:t>😀</w:t></w:r></w:p>` +
	`<w:p><m:oMathPara><m:oMath><m:r><m:t>x=</m:t></m:r><m:f><m:num><m:r><m:t>-b±</m:t></m:r><m:rad><m:deg/><m:e><m:sSup><m:e><m:r><m:t>b</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup><m:r><m:t>-4ac</m:t></m:r></m:e></m:rad></m:num><m:den><m:r><m:t>2a</m:t></m:r></m:den></m:f></m:oMath></m:oMathPara></w:p>` +
	`<w:p><w:r><w:drawing><dgm:relIds r:dm="diagram"/></w:drawing></w:r></w:p>`

var parts = []string{
	"word/_rels/document.xml.rels", relationships("s", "styles", "styles.xml", "n", "numbering", "/word/numbering.xml", "f", "footnotes", "footnotes.xml",
		"e", "endnotes", "endnotes.xml", "c", "comments", "comments.xml", "h1", "header", "header1.xml", "h2", "header", "header2.xml", "f1", "footer", "footer1.xml",
		"link", "hyperlink", "https://example.org/almanac", "diagram", "diagramData", "diagrams/data1.xml"),
	"word/styles.xml", stylesPart, "word/numbering.xml", numberingPart,
	"word/footnotes.xml", head + `<w:footnotes` + spaces + `><w:footnote w:type="separator" w:id="-1">` + p("sep") + `</w:footnote><w:footnote w:id="2"><w:p><w:r><w:footnoteRef/></w:r><w:r><w:t xml:space="preserve"> In most places.</w:t></w:r></w:p></w:footnote></w:footnotes>`,
	"word/endnotes.xml", head + `<w:endnotes` + spaces + `><w:endnote w:id="5">` + p("The end.") + `</w:endnote></w:endnotes>`,
	"word/comments.xml", head + `<w:comments` + spaces + `><w:comment w:id="0" w:author="Bob">` + p("Really?") + p("Sure?") + `</w:comment></w:comments>`,
	"word/header1.xml", head + `<w:hdr` + spaces + `>` + p("North Sea") + `</w:hdr>`, "word/header2.xml", head + `<w:hdr` + spaces + `>` + p("North Sea") + `</w:hdr>`,
	"word/footer1.xml", head + `<w:ftr` + spaces + `>` + p("Confidential") + `</w:ftr>`,
	"word/diagrams/data1.xml", head + `<dgm:dataModel` + spaces + `><dgm:ptLst><dgm:pt><dgm:t><a:p><a:r><a:t>Moon</a:t></a:r></a:p></dgm:t></dgm:pt><dgm:pt><dgm:t><a:p><a:r><a:t>Sun</a:t></a:r></a:p></dgm:t></dgm:pt></dgm:ptLst></dgm:dataModel>`,
	"docProps/core.xml", head + `<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/"><dc:title>Tides</dc:title><dc:creator>Ada Moor</dc:creator><dcterms:created>2023-01-02T03:04:05Z</dcterms:created><dcterms:modified>2024-05-06T07:08:09Z</dcterms:modified></cp:coreProperties>`,
	"word/vbaProject.bin", "macros",
}

const want = `North Sea

# Tides — a report

Ada Moor

# 1 Why

The tide comes in twice[^1] a day, see [the almanac](https://example.org/almanac) or below[^c1].

[By field](https://example.org/b) on page

[^1]: In most places.

[^c1]: Comment by Bob: Really? Sure?

## 1.1 Numbers

1. first
   - (a) inner
   - (b) inner too
     - 1.b.i deep
2. second
5. fifth

Between

- bullet
  - smaller

    goes on

` + "```\nif tide {\n}\n```" + `

no item

## 1.2 Changes

Added kept

One sentence.

### Inherited

A style in a loop

| Place | | Metres |
| --- | --- | --- |
| Dover | low water | 0.8 |
| | high | • 6.7 spring, 6.9 |

BoxA chart

In the box

10^6 N
new line-✓[^e1]

שלום עולם, הגאות באה

潮の満ち引きは月の引力(いんりょく)😀

x=(-b±√(b^2-4ac))/2a

Moon

Sun

[^e1]: The end.

Confidential
`

func TestDocument(t *testing.T) {
	t.Parallel()
	got := extracttest.Extract(t, docx.Extractor{}, extract.Input{}, word(t, body, parts...))
	text := extract.Text{
		Content: want, Type: "docx", Format: "docx", Markup: "markdown", Title: "Tides", Author: "Ada Moor", Language: "en",
		Date: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC),
	}
	if diff := cmp.Diff(text, got); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

// TestStrict reads the namespaces of ISO 29500 strict, and UTF-16.
func TestStrict(t *testing.T) {
	t.Parallel()
	doc := `<w:document xmlns:w="http://purl.oclc.org/ooxml/wordprocessingml/main"><w:body>` + p("Strict text") + `</w:body></w:document>`
	rels := strings.ReplaceAll(relationships("r1", "officeDocument", "word/document.xml"), extracttest.Office, "http://purl.oclc.org/ooxml/officeDocument/relationships/")
	var wide bytes.Buffer
	wide.WriteString("\xff\xfe")
	for _, c := range `<?xml version="1.0" encoding="UTF-16"?>` + doc {
		wide.WriteByte(byte(c))
		wide.WriteByte(0)
	}
	for name, part := range map[string]string{"UTF-8": head + doc, "UTF-16": wide.String(), "with a byte order mark": "\ufeff" + head + doc} {
		got := extracttest.Extract(t, docx.Extractor{}, extract.Input{}, extracttest.Zip(t, "_rels/.rels", rels, "word/document.xml", part))
		if got.Content != "Strict text\n" {
			t.Errorf("%s: %q", name, got.Content)
		}
	}
}

func TestWhatIsSeldom(t *testing.T) {
	t.Parallel()
	begin := func(inner, instruction string) string {
		return `<w:r><w:fldChar w:fldCharType="begin">` + inner + `</w:fldChar></w:r><w:r><w:instrText>` + instruction + `</w:instrText></w:r>`
	}
	const separate, end = `<w:r><w:fldChar w:fldCharType="separate"/></w:r>`, `<w:r><w:fldChar w:fldCharType="end"/></w:r>`
	run := func(s string) string { return `<w:r><w:t xml:space="preserve">` + s + `</w:t></w:r>` }
	hidden := head + `<w:styles` + spaces + `><w:style w:type="paragraph" w:styleId="z"><w:name w:val="z-Top of Form"/><w:rPr><w:vanish/></w:rPr></w:style></w:styles>`
	numbered := func(inner string) string {
		return `<w:p><w:pPr><w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>` + inner + `</w:pPr></w:p>`
	}
	for name, tt := range map[string]struct{ body, want string }{
		"boxes": {`<w:p>` + begin(`<w:ffData><w:checkBox><w:default w:val="0"/><w:checked/></w:checkBox></w:ffData>`, " FORMCHECKBOX ") + end + run(" yes ") +
			begin(`<w:ffData><w:checkBox><w:default w:val="0"/></w:checkBox></w:ffData>`, " FORMCHECKBOX ") + separate + end + run(" no") + `</w:p>`, "☒ yes ☐ no\n"},
		"list of a form":     {`<w:p>` + begin(`<w:ffData><w:ddList><w:result w:val="1"/><w:listEntry w:val="low"/><w:listEntry w:val="high"/></w:ddList></w:ffData>`, " FORMDROPDOWN ") + end + `</w:p>`, "high\n"},
		"reading by a field": {`<w:p>` + run("月の") + begin("", ` EQ \* jc2 \* hps10 \o\ad(\s\up 9(いんりょく),引力)`) + end + run("。") + `</w:p>`, "月のいんりょく 引力。\n"},
		"small letters":      {`<w:p>` + begin("", ` hyperlink "https://example.org/b" `) + separate + run("by field") + end + begin("", " page ") + separate + run("7") + end + `</w:p>`, "[by field](https://example.org/b)\n"},
		"a hidden style":     {styled("z", "Top of Form") + p("text"), "text\n"},
		"letters drawn":      {`<w:p><w:r><w:pict><v:shape><v:textpath string="Draft"/></v:shape></w:pict></w:r></w:p>`, "Draft\n"},
		"two readings":       {`<w:p><w:r><w:t>(a)</w:t></w:r><w:r><w:ruby><w:rubyBase>` + run("b") + `</w:rubyBase></w:ruby></w:r></w:p>`, "(a)b\n"},
		"empty items":        {listed("1", "0", "first") + numbered("") + numbered(`<w:rPr><w:vanish/></w:rPr>`) + listed("1", "0", "third"), "1. first\n3. third\n"},
		"a box":              {`<w:tbl><w:tr>` + cell("", p("One paragraph.")+p("Another.")) + `</w:tr></w:tbl>`, "One paragraph.\nAnother.\n"},
	} {
		got := extracttest.Extract(t, docx.Extractor{}, extract.Input{}, word(t, tt.body, "word/_rels/document.xml.rels", relationships("s", "styles", "styles.xml", "n", "numbering", "numbering.xml"),
			"word/styles.xml", hidden, "word/numbering.xml", numberingPart)).Content
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	note := head + `<w:footnotes` + spaces + `><w:footnote w:id="2"><w:p>` + run("A note") + `<w:r><w:commentReference w:id="0"/></w:r></w:p></w:footnote></w:footnotes>`
	got := extracttest.Extract(t, docx.Extractor{}, extract.Input{}, word(t, `<w:p>`+run("Text")+`<w:r><w:footnoteReference w:id="2"/></w:r></w:p>`,
		"word/_rels/document.xml.rels", relationships("f", "footnotes", "footnotes.xml", "c", "comments", "comments.xml"), "word/footnotes.xml", note,
		"word/comments.xml", head+`<w:comments`+spaces+`><w:comment w:id="0">`+p("Sure?")+`</w:comment></w:comments>`)).Content
	for _, s := range []string{"Text[^1]", "[^1]: A note[^c1]", "[^c1]: Comment: Sure?"} {
		if !strings.Contains(got, s) {
			t.Errorf("a comment on a note: %q lacks %q", got, s)
		}
	}
}

// A part in another format stands in the text: programs that make documents of web pages write nothing else.
func TestPartInAnotherFormat(t *testing.T) {
	t.Parallel()
	doc := word(t, `<w:altChunk r:id="x"/><w:altChunk r:id="gone"/>`, "word/_rels/document.xml.rels", relationships("x", "aFChunk", "page.html"), "word/page.html", "<p>words")
	var parts []string
	in := extract.Input{Part: func(ctx context.Context, part extract.Input) error {
		raw, err := io.ReadAll(part.Reader)
		parts = append(parts, fmt.Sprint(part.Name, " ", string(raw), " ", extract.Depth(ctx)))
		return err
	}}
	got := extracttest.Extract(t, docx.Extractor{}, in, doc)
	if !got.Container || got.Content != "" || len(parts) != 1 || parts[0] != "page.html <p>words 1" {
		t.Errorf("%+v, parts %q", got, parts)
	}
	extracttest.Refused(t, docx.Extractor{}, doc, extract.ErrNoText)
	got = extracttest.Extract(t, docx.Extractor{}, extract.Input{}, word(t, p("more")+`<w:altChunk r:id="x"/>`, "word/_rels/document.xml.rels", relationships("x", "aFChunk", "page.html"), "word/page.html", "<p>words"))
	if got.Content != "more\n" || len(got.Warnings) != 1 {
		t.Errorf("%+v", got)
	}
}

// Paragraphs whose ends were deleted cost no more than their text.
func TestMergedParagraphs(t *testing.T) {
	var body strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&body, `<w:p><w:pPr><w:rPr><w:del/></w:rPr></w:pPr><w:r><w:t>words of %d</w:t></w:r></w:p>`, i*7919)
	}
	doc := word(t, body.String())
	var got extract.Text
	if n := extracttest.Allocated(func() { got = extracttest.Extract(t, docx.Extractor{}, extract.Input{}, doc) }); n > 200<<20 || len(got.Content) < 150_000 {
		t.Errorf("%d bytes of text, of %d allocated", len(got.Content), n)
	}
}

func TestHostileDocuments(t *testing.T) {
	t.Parallel()
	refused := func(name string, data []byte, kind error) {
		t.Helper()
		if _, err := (docx.Extractor{}).Extract(t.Context(), extract.Input{Reader: bytes.NewReader(data)}); !errors.Is(err, kind) {
			t.Errorf("%s: error = %v, want %v", name, err, kind)
		}
	}
	good := word(t, body, parts...)
	refused("encrypted", extracttest.OLE(map[string][]byte{"EncryptedPackage": make([]byte, 5000), "EncryptionInfo": nil}), extract.ErrEncrypted)
	refused("old format", extracttest.OLE(map[string][]byte{"WordDocument": make([]byte, 5000)}), extract.ErrUnsupported)
	refused("no zip", []byte("text"), extract.ErrDamaged)
	refused("truncated", good[:len(good)/2], extract.ErrDamaged)
	refused("no main part", extracttest.Zip(t, "a.txt", "x"), extract.ErrDamaged)
	refused("empty", word(t, p(" ")), extract.ErrNoText)
	refused("bomb", word(t, p("x"), "word/styles.xml", strings.Repeat(" ", 8<<20), "word/_rels/document.xml.rels", relationships("s", "styles", "styles.xml")), extract.ErrTooLarge)
	refused("deep nesting", word(t, strings.Repeat("<w:sdt><w:sdtContent>", 5000)), extract.ErrTooLarge)
	refused("deep nesting of what is skipped", word(t, strings.Repeat("<w:x>", 100_000)), extract.ErrTooLarge)
	refused("cut short", extracttest.Zip(t, "word/document.xml", `<w:document`+spaces+`><w:body>`+p("x")), extract.ErrDamaged)
	var many []string
	for i := range 10_001 {
		many = append(many, "word/"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+strings.Repeat("y", i/26), "")
	}
	refused("10,000 members", word(t, p("x"), many...), extract.ErrTooLarge)
	laughs := `<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>`
	refused("entities", extracttest.Zip(t, "word/document.xml", laughs+`<w:document`+spaces+`><w:body>`+p("&b;")+`</w:body></w:document>`), extract.ErrDamaged)
	external := `<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>`
	refused("external entity", extracttest.Zip(t, "word/document.xml", external+`<w:document`+spaces+`><w:body>`+p("&a;")+`</w:body></w:document>`), extract.ErrDamaged)
	if _, err := (docx.Extractor{}).Extract(t.Context(), extract.Input{Reader: bytes.NewReader(good), MaxBytes: 100}); !errors.Is(err, extract.ErrTooLarge) {
		t.Errorf("a text over the limit: %v", err)
	}
	got := extracttest.Extract(t, docx.Extractor{}, extract.Input{}, word(t, `<w:p><w:r><w:fldChar w:fldCharType="begin"/><w:instrText>PAGE</w:instrText></w:r></w:p>`+p("still there")))
	if got.Content != "still there\n" {
		t.Errorf("a field without an end: %q", got.Content)
	}
}

func FuzzDocument(f *testing.F) {
	f.Add(body)
	f.Add(listed("1", "8", "x") + `<w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan w:val="99999999"/></w:tcPr></w:tc></w:tr></w:tbl>`)
	f.Add(`<m:oMath><m:d><m:dPr><m:begChr/></m:dPr><m:e/><m:e><m:m><m:mr><m:e/></m:mr></m:m></m:e></m:d></m:oMath>`)
	f.Fuzz(func(t *testing.T, body string) { extracttest.Any(t, docx.Extractor{}, word(t, body, parts...)) })
}

func FuzzFile(f *testing.F) {
	f.Add(word(f, p("some text"), "word/styles.xml", stylesPart))
	f.Fuzz(func(t *testing.T, data []byte) { extracttest.Any(t, docx.Extractor{}, data) })
}
