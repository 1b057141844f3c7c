package pptx_test

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
	"github.com/llmemory/llmemory/extract/pptx"
)

const spaces = ` xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"` +
	` xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart"` +
	` xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram"`

// deck makes a presentation of slides, which are stored in the reverse order.
func deck(t testing.TB, slides []string, members ...string) []byte {
	var ids strings.Builder
	var rels, list []string
	for i, s := range slides {
		n := len(slides) - i
		fmt.Fprintf(&ids, `<p:sldId id="%d" r:id="rId%d"/>`, 256+i, n)
		rels = append(rels, fmt.Sprintf("rId%d", n), "slide", fmt.Sprintf("slides/slide%d.xml", n))
		list = append(list, fmt.Sprintf("ppt/slides/slide%d.xml", n), `<p:sld`+spaces+`><p:cSld><p:spTree>`+s+`</p:spTree></p:cSld></p:sld>`)
	}
	return extracttest.Stored(t, append(append([]string{
		"[Content_Types].xml", `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>`,
		"_rels/.rels", extracttest.Relationships("r1", "officeDocument", "ppt/presentation.xml"),
		"ppt/presentation.xml", `<p:presentation` + spaces + `><p:sldIdLst>` + ids.String() + `</p:sldIdLst></p:presentation>`,
		"ppt/_rels/presentation.xml.rels", extracttest.Relationships(rels...),
	}, list...), members...)...)
}

// shape makes one with paragraphs; of a kind of placeholder, "-" for one without a kind, "" for a text box.
func shape(kind string, paragraphs ...string) string {
	ph := ""
	switch kind {
	case "":
	case "-":
		ph = `<p:ph idx="1"/>`
	default:
		ph = `<p:ph type="` + kind + `"/>`
	}
	return `<p:sp><p:nvSpPr><p:cNvPr id="2" name="x"/><p:nvPr>` + ph + `</p:nvPr></p:nvSpPr><p:txBody><a:bodyPr/>` + strings.Join(paragraphs, "") + `</p:txBody></p:sp>`
}

func p(text string) string { return pp("", text) }

func pp(properties, text string) string {
	return `<a:p>` + properties + `<a:r><a:rPr lang="en-US"/><a:t>` + text + `</a:t></a:r></a:p>`
}

func cell(attributes, text string) string {
	return `<a:tc` + attributes + `><a:txBody>` + p(text) + `</a:txBody></a:tc>`
}

var slides = []string{
	shape("ctrTitle", p("Tides of"), p("the sea")) + shape("subTitle", p("A talk")) + shape("dt", p("1 May")) + shape("sldNum", `<a:p><a:fld type="slidenum"><a:t>1</a:t></a:fld></a:p>`),
	shape("-", p("The moon pulls"), pp(`<a:pPr lvl="1"/>`, "near"), pp(`<a:pPr lvl="1"><a:buAutoNum type="alphaLcParenR"/></a:pPr>`, "far"), pp(`<a:pPr lvl="1"><a:buAutoNum type="alphaLcParenR"/></a:pPr>`, "farther"),
		pp(`<a:pPr><a:buNone/></a:pPr>`, "The sun too"), pp(`<a:pPr><a:buAutoNum type="arabicPeriod" startAt="3"/></a:pPr>`, "third")) +
		shape("title", p("Why")) +
		`<p:grpSp>` + shape("", `<a:p><a:r><a:rPr><a:hlinkClick r:id="link"/></a:rPr><a:t>In a group</a:t></a:r><a:br/><a:r><a:t>10</a:t></a:r><a:r><a:rPr baseline="30000"/><a:t>6</a:t></a:r></a:p>`) + `<p:grpSp>` + shape("", p("deeper")) + `</p:grpSp></p:grpSp>` +
		`<p:pic><p:nvPicPr><p:cNvPr id="1" name="p" descr="A chart of tides"/></p:nvPicPr></p:pic>`,
	shape("title", p("Figures")) + `<p:graphicFrame><a:graphic><a:graphicData><a:tbl><a:tr>` + cell(` gridSpan="2"`, "Place") + cell(` hMerge="1"`, "") + cell("", "m") + `</a:tr><a:tr>` +
		cell(` rowSpan="2"`, "Dover") + cell("", "low") + cell("", "0.8") + `</a:tr><a:tr>` + cell(` vMerge="1"`, "") + cell("", "high") + cell("", "6.7") + `</a:tr></a:tbl></a:graphicData></a:graphic></p:graphicFrame>` +
		`<p:graphicFrame><a:graphic><a:graphicData><c:chart r:id="chart"/></a:graphicData></a:graphic></p:graphicFrame>` +
		`<p:graphicFrame><a:graphic><a:graphicData><dgm:relIds r:dm="diagram"/></a:graphicData></a:graphic></p:graphicFrame>`,
	shape("", p("שלום עולם")) + shape("", p("潮の満ち引き")) + shape("-", p("One sentence.")),
}

var parts = []string{
	"ppt/slides/_rels/slide3.xml.rels", extracttest.Relationships("n", "notesSlide", "../notesSlides/notesSlide1.xml", "c", "comments", "../comments/comment1.xml", "link", "hyperlink", "https://example.org/a"),
	"ppt/slides/_rels/slide2.xml.rels", extracttest.Relationships("chart", "chart", "../charts/chart1.xml", "diagram", "diagramData", "../diagrams/data1.xml"),
	"ppt/notesSlides/notesSlide1.xml", `<p:notes` + spaces + `><p:cSld><p:spTree>` + shape("sldImg") + shape("body", p("Speak slowly."), p("Smile.")) + shape("sldNum", p("2")) + `</p:spTree></p:cSld></p:notes>`,
	"ppt/comments/comment1.xml", `<p:cmLst` + spaces + `><p:cm authorId="0"><p:text>Is it so?</p:text></p:cm></p:cmLst>`,
	"ppt/charts/chart1.xml", `<c:chartSpace` + spaces + `><c:chart><c:title><c:tx><c:rich>` + p("Heights") + `</c:rich></c:tx></c:title><c:plotArea><c:barChart><c:ser><c:tx><c:strRef><c:f>A1</c:f><c:strCache><c:pt idx="0"><c:v>Dover</c:v></c:pt></c:strCache></c:strRef></c:tx>` +
		`<c:cat><c:strRef><c:strCache><c:pt idx="0"><c:v>May</c:v></c:pt><c:pt idx="1"><c:v>June</c:v></c:pt></c:strCache></c:strRef></c:cat><c:val><c:numRef><c:numCache><c:formatCode>General</c:formatCode><c:pt idx="0"><c:v>6.7000000000000002</c:v></c:pt><c:pt idx="1"><c:v>7</c:v></c:pt></c:numCache></c:numRef></c:val></c:ser></c:barChart></c:plotArea></c:chart></c:chartSpace>`,
	"ppt/diagrams/data1.xml", `<dgm:dataModel` + spaces + `><dgm:ptLst><dgm:pt><dgm:t>` + p("Moon") + `</dgm:t></dgm:pt><dgm:pt><dgm:t>` + p("Sun") + `</dgm:t></dgm:pt></dgm:ptLst></dgm:dataModel>`,
	"docProps/core.xml", `<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/"><dc:title>PowerPoint Presentation</dc:title><dc:creator>Ada Moor</dc:creator><dcterms:modified>2024-05-06T07:08:09Z</dcterms:modified></cp:coreProperties>`,
}

const want = `# Tides of the sea

A talk

## Why

- The moon pulls
  - near
  - a) far
  - b) farther

The sun too

3. third

[In a group](https://example.org/a)
10^6

deeper

A chart of tides

> Notes:
>
> Speak slowly.
>
> Smile.

> Comment: Is it so?

## Figures

| Place | | m |
| --- | --- | --- |
| Dover | low | 0.8 |
| | high | 6.7 |

Heights

| | Dover |
| --- | --- |
| May | 6.7 |
| June | 7 |

- Moon
- Sun

## Slide 4

שלום עולם

潮の満ち引き

One sentence.
`

func TestPresentation(t *testing.T) {
	t.Parallel()
	got := extracttest.Extract(t, pptx.Extractor{}, extract.Input{}, deck(t, slides, parts...))
	text := extract.Text{
		Content: want, Type: "presentation", Format: "pptx", Markup: "markdown", Author: "Ada Moor", Language: "en",
		Date:  time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC),
		Pages: []int{0, strings.Index(want, "\n## Why"), strings.Index(want, "\n## Figures"), strings.Index(want, "\n## Slide 4")},
	}
	if diff := cmp.Diff(text, got); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func TestHostilePresentations(t *testing.T) {
	t.Parallel()
	refused := func(name string, data []byte, kind error) {
		t.Helper()
		if _, err := (pptx.Extractor{}).Extract(t.Context(), extract.Input{Reader: bytes.NewReader(data)}); !errors.Is(err, kind) {
			t.Errorf("%s: error = %v, want %v", name, err, kind)
		}
	}
	good := deck(t, slides, parts...)
	refused("truncated", good[:len(good)-100], extract.ErrDamaged)
	refused("no slides", deck(t, nil), extract.ErrNoText)
	refused("slides without text", deck(t, []string{"", shape("title", p(" "))}), extract.ErrNoText)
	refused("deep groups", deck(t, []string{strings.Repeat("<p:grpSp>", 1000)}), extract.ErrTooLarge)
	refused("entities", extracttest.Zip(t, "ppt/presentation.xml", `<!DOCTYPE x [<!ENTITY a "x">]><p:presentation`+spaces+`>&a;</p:presentation>`), extract.ErrDamaged)
	// A slide that names itself as its notes and its comments ends.
	loop := deck(t, []string{shape("title", p("once"))}, "ppt/slides/_rels/slide1.xml.rels", extracttest.Relationships("n", "notesSlide", "slide1.xml", "c", "comments", "slide1.xml"))
	if got := extracttest.Extract(t, pptx.Extractor{}, extract.Input{}, loop).Content; !strings.HasPrefix(got, "## once\n") {
		t.Errorf("a slide that refers to itself: %q", got)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	var body strings.Builder
	for _, scheme := range []string{"romanUcPeriod", "romanLcParenR", "alphaUcParenBoth", "arabicPeriod"} {
		body.WriteString(shape("-", pp(`<a:pPr><a:buAutoNum type="`+scheme+`" startAt="4"/></a:pPr>`, scheme)))
	}
	got := extracttest.Extract(t, pptx.Extractor{}, extract.Input{}, deck(t, []string{body.String()})).Content
	if want := "## Slide 1\n\n- IV. romanUcPeriod\n- iv) romanLcParenR\n- (D) alphaUcParenBoth\n4. arabicPeriod\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A part of a few kilobytes may be drawn as a chart very many times.
func TestManyCharts(t *testing.T) {
	const space = ` xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart" xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"`
	chart := `<c:chartSpace` + space + `><c:chart><c:title><a:t>Heights</a:t></c:title>` + strings.Repeat(`<c:ser><c:val><c:pt idx="1999"><c:v>1</c:v></c:pt></c:val></c:ser>`, 50) + `</c:chart></c:chartSpace>`
	frame := `<p:graphicFrame><c:chart` + space + ` r:id="c"/></p:graphicFrame>`
	doc := deck(t, []string{strings.Repeat(frame, 300)}, "ppt/slides/_rels/slide1.xml.rels", extracttest.Relationships("c", "chart", "../charts/chart1.xml"), "ppt/charts/chart1.xml", chart)
	var got extract.Text
	if n := extracttest.Allocated(func() { got = extracttest.Extract(t, pptx.Extractor{}, extract.Input{}, doc) }); n > 200<<20 || strings.Count(got.Content, "Heights") != 300 {
		t.Errorf("%d bytes of text, of %d allocated", len(got.Content), n)
	}
}

func FuzzSlide(f *testing.F) {
	for _, s := range slides {
		f.Add(s)
	}
	f.Add(shape("-", pp(`<a:pPr lvl="99"><a:buAutoNum startAt="-5"/></a:pPr>`, "x")))
	f.Fuzz(func(t *testing.T, slide string) {
		extracttest.Any(t, pptx.Extractor{}, deck(t, []string{"", "", slide, ""}, parts...))
	})
}
