package all_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"mime/quotedprintable"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/all"
	"github.com/llmemory/llmemory/extract/extracttest"
)

// article is what the documents of this file are made from: headings, paragraphs, a list, a table and notes, in several scripts.
var article = []struct {
	kind string // "h1", "h2", "p", "li", "row", "note"
	text []string
}{
	{"h1", []string{"The harbour master's handbook"}},
	{"p", []string{"Ships that enter the harbour announce themselves on channel 12 & wait for an answer."}},
	{"h2", []string{"Vor dem Anlegen"}},
	{"p", []string{"Die Größe des Schiffes entscheidet über den Liegeplatz; für Übergrößen gelten eigene Regeln."}},
	{"li", []string{"ropes fore and aft"}},
	{"li", []string{"fenders on both sides"}},
	{"li", []string{"a crew member ashore"}},
	{"h2", []string{"Berths and fees"}},
	{"row", []string{"Berth", "Length", "Fee per night"}},
	{"row", []string{"North quay", "up to 20 m", "35.00"}},
	{"row", []string{"South quay", "up to 45 m", "80.50"}},
	{"note", []string{"Fees are due before departure."}},
	{"h2", []string{"للقادمين من البحر"}},
	{"p", []string{"مرحبا بكم في الميناء القديم، يرجى الاتصال قبل الوصول بساعة."}},
	{"p", []string{"ברוכים הבאים לנמל הישן, נא להתקשר שעה לפני ההגעה."}},
	{"h2", []string{"港のご案内"}},
	{"p", []string{"入港の一時間前までに無線で連絡してください。"}},
	{"p", []string{"船舶必须在进港前一小时联系港务长。"}},
}

// want is the article as lines of text.
func want() string {
	var b strings.Builder
	for _, block := range article {
		b.WriteString(strings.Join(block.text, " ") + "\n")
	}
	return b.String()
}

// markdown is the article in Markdown.
func markdown() string {
	var b strings.Builder
	previous := ""
	for _, block := range article {
		if previous != "" && (previous != block.kind || block.kind == "p") {
			b.WriteString("\n")
		}
		switch block.kind {
		case "h1":
			b.WriteString("# " + block.text[0] + "\n")
		case "h2":
			b.WriteString("## " + block.text[0] + "\n")
		case "li":
			b.WriteString("- " + block.text[0] + "\n")
		case "row":
			b.WriteString("| " + strings.Join(block.text, " | ") + " |\n")
			if previous != "row" {
				b.WriteString("|" + strings.Repeat("---|", len(block.text)) + "\n")
			}
		default:
			b.WriteString(block.text[0] + "\n")
		}
		previous = block.kind
	}
	return b.String()
}

func escaped(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer takes everything
	return b.String()
}

// asXML is the article in the manner of DocBook, with inline elements.
func asXML() string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE article><article xmlns="http://example.org/ns" version="5.0"><section>`)
	for _, block := range article {
		switch block.kind {
		case "h1", "h2":
			b.WriteString("\n</section><section>\n<title>" + escaped(block.text[0]) + "</title>")
		case "li":
			b.WriteString("\n<itemizedlist><listitem><para>" + escaped(block.text[0]) + "</para></listitem></itemizedlist>")
		case "row":
			b.WriteString("\n<row>")
			for _, cell := range block.text {
				b.WriteString("<entry>" + escaped(cell) + "</entry>")
			}
			b.WriteString("</row>")
		default:
			first, rest, _ := strings.Cut(block.text[0], " ")
			b.WriteString("\n<para><emphasis>" + escaped(first) + "</emphasis>")
			if rest != "" {
				b.WriteString(" " + escaped(rest))
			}
			b.WriteString("<!-- no text --></para>")
		}
	}
	return b.String() + "\n</section></article>"
}

// asHTML is the article from its second block on, without its title.
func asHTML() string {
	var b strings.Builder
	previous := ""
	for _, block := range article[1:] {
		if previous == "row" && block.kind != "row" {
			b.WriteString("</table>")
		}
		switch block.kind {
		case "h2":
			b.WriteString("<h3>" + escaped(block.text[0]) + "</h3>")
		case "li":
			b.WriteString("<ul><li>" + escaped(block.text[0]) + "</li></ul>")
		case "row":
			if previous != "row" {
				b.WriteString("<table>")
			}
			b.WriteString("<tr>")
			for _, cell := range block.text {
				b.WriteString("<td>" + escaped(cell) + "</td>")
			}
			b.WriteString("</tr>")
		default:
			b.WriteString("<p>" + escaped(block.text[0]) + "</p>")
		}
		previous = block.kind
	}
	return b.String()
}

func asNotebook(t testing.TB) string {
	t.Helper()
	type cell map[string]any
	var cells []cell
	for i, part := range strings.SplitAfter(markdown(), "\n\n") {
		if strings.Contains(part, "Fees are due") { // stands as code and what it prints
			cells = append(cells, cell{"cell_type": "code", "source": "", "outputs": []any{map[string]any{"output_type": "stream", "text": part}}})
			continue
		}
		var source any = part
		if i%2 == 0 {
			source = strings.SplitAfter(part, "\n")
		}
		cells = append(cells, cell{"cell_type": "markdown", "source": source, "metadata": map[string]any{}})
	}
	b, err := json.Marshal(map[string]any{"cells": cells, "metadata": map[string]any{}, "nbformat": 4, "nbformat_minor": 5})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// asJSON is the article as an object on one line, with everything escaped that may be.
func asJSON() string {
	var b strings.Builder
	b.WriteString(`{"blocks":[`)
	for i, block := range article {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString("[")
		for j, text := range block.text {
			if j > 0 {
				b.WriteString(",")
			}
			b.WriteString(`"`)
			for _, r := range text {
				if r < 0x80 {
					b.WriteRune(r)
				} else {
					fmt.Fprintf(&b, `\u%04x`, r)
				}
			}
			b.WriteString(`\n"`)
		}
		b.WriteString("]")
	}
	return b.String() + "]}"
}

func TestGolden(t *testing.T) {
	t.Parallel()
	csv := func(comma string) string {
		var b strings.Builder
		for _, block := range article {
			b.WriteString(`"` + strings.Join(block.text, `"`+comma+`"`) + "\"\n")
		}
		return b.String()
	}
	rest := want()[strings.Index(want(), "\n")+1:]
	page := "<html><head><title>" + escaped(article[0].text[0]) + "</title></head><body><h1>" + escaped(article[0].text[0]) + "</h1>" + asHTML() + "</body></html>"
	mail := "From: a@example.org\nSubject: x\nDate: Mon, 2 Feb 2026 09:14:00 +0100\nMIME-Version: 1.0\n"
	var quoted, based strings.Builder
	qp := quotedprintable.NewWriter(&quoted)
	if _, err := qp.Write([]byte(page)); err != nil || qp.Close() != nil {
		t.Fatal(err)
	}
	lines := strings.Split(base64.StdEncoding.EncodeToString([]byte(want())), "")
	for line := range slices.Chunk(lines, 76) {
		based.WriteString(strings.Join(line, "") + "\n")
	}
	const envelope = "From a@example.org\nDate Mon, 2 Feb 2026 09:14:00 +0100\nSubject x\n"
	records := ""
	for line := range strings.Lines(want()) {
		record, err := json.Marshal(map[string]string{"text": strings.TrimSpace(line)})
		if err != nil {
			t.Fatal(err)
		}
		records += string(record) + "\n"
	}
	book := zipOf(t, "mimetype", "application/epub+zip", "META-INF/container.xml",
		`<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="b.opf"/></rootfiles></container>`, "b.opf",
		`<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest><spine><itemref idref="a"/></spine></package>`,
		"a.xhtml", page)
	for name, tc := range map[string]struct{ name, content, format, markup, want string }{
		"text":     {"a.txt", want(), "text", "", want()},
		"markdown": {"a.md", markdown(), "markdown", "markdown", want()},
		"csv":      {"a.csv", csv(";"), "csv", "csv", want()},
		"tsv":      {"a.tsv", csv("\t"), "tsv", "tsv", want()},
		"json":     {"a.json", asJSON(), "json", "json", "blocks " + want()},
		"xml":      {"a.xml", asXML(), "xml", "", want()},
		"notebook": {"a.ipynb", asNotebook(t), "notebook", "markdown", want()},
		"html":     {"a.html", page, "html", "markdown", want()},
		"epub":     {"a.epub", book, "epub", "markdown", want()},
		"jsonl":    {"a.jsonl", records, "jsonl", "jsonl", strings.ReplaceAll("text "+strings.TrimSpace(want()), "\n", "\ntext ")},
		"yaml":     {"a.yaml", "article: |\n  " + strings.ReplaceAll(want(), "\n", "\n  "), "yaml", "yaml", "article " + want()},
		"html mail": {
			"a.eml", mail + "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n" + quoted.String(), "eml", "email", envelope + want(),
		},
		"plain mail": {
			"a.eml", mail + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n" + based.String(), "eml", "email", envelope + want(),
		},
		"rss": {
			"a.rss", "<rss><channel><title>" + escaped(article[0].text[0]) + "</title><item><title>Entry</title><description>" + escaped(asHTML()) + "</description></item></channel></rss>",
			"feed", "markdown", article[0].text[0] + "\nEntry\n" + rest,
		},
		"atom": {
			"feed", `<feed xmlns="http://www.w3.org/2005/Atom"><title>` + escaped(article[0].text[0]) + `</title><entry><title>Entry</title><content type="xhtml"><div>` + asHTML() + "</div></content></entry></feed>",
			"feed", "markdown", article[0].text[0] + "\nEntry\n" + rest,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := extracttest.Extract(t, all.Extractor{}, extract.Input{Name: tc.name}, []byte(tc.content))
			extracttest.Golden(t, got.Content, tc.want)
			if got.Format != tc.format || got.Markup != tc.markup {
				t.Errorf("format %q, markup %q, want %q, %q", got.Format, got.Markup, tc.format, tc.markup)
			}
		})
	}
}

// Lines of the article that a charset has come out of it whole, whether it is declared or not.
func TestGoldenCharsets(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.TrimSpace(want()), "\n")
	german := strings.Join(lines[:12], "\n")
	for name, tc := range map[string]struct {
		enc  encoding.Encoding
		text string
	}{
		"windows-1252": {charmap.Windows1252, german},
		"iso-8859-1":   {charmap.ISO8859_1, german},
		"windows-1256": {charmap.Windows1256, lines[12] + "\n" + lines[13]},
		"windows-1255": {charmap.Windows1255, lines[14]},
		"shift_jis":    {japanese.ShiftJIS, lines[15] + "\n" + lines[16]},
		"euc-jp":       {japanese.EUCJP, lines[15] + "\n" + lines[16]},
		"gbk":          {simplifiedchinese.GBK, lines[17]},
		"koi8-r":       {charmap.KOI8R, "Правила порта\nСуда, входящие в порт, сообщают о себе на двенадцатом канале и ждут ответа."},
		"euc-kr":       {korean.EUCKR, "항구 안내\n입항 한 시간 전까지 무선으로 연락해 주십시오."},
		"utf-16":       {unicode.UTF16(unicode.BigEndian, unicode.UseBOM), want()},
	} {
		encoded, err := tc.enc.NewEncoder().String(tc.text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, media := range []string{"", "text/plain; charset=" + name} {
			got := extracttest.Extract(t, all.Extractor{}, extract.Input{Name: "a.txt", Media: media}, []byte(encoded))
			if got.Content != tc.text {
				t.Errorf("%s, %q: %q, %q", name, media, got.Content, got.Warnings)
			}
			if guessed := media == "" && name != "utf-16"; guessed != (len(got.Warnings) > 0) {
				t.Errorf("%s, %q: warnings %q", name, media, got.Warnings)
			}
		}
	}
}

// A folder of documents comes out of an archive of any kind document by document.
func TestGoldenArchive(t *testing.T) {
	t.Parallel()
	inner := extracttest.Zip(t, "a.md", markdown(), "b/data.json", asJSON())
	x := all.Extractor{}
	formats := map[string]string{}
	var part func(ctx context.Context, in extract.Input) error
	part = func(ctx context.Context, in extract.Input) error {
		in.Part = part
		text, err := x.Extract(ctx, in)
		if err != nil {
			return err
		}
		formats[in.Name] = text.Format
		if in.Name == "a.md" {
			extracttest.Golden(t, text.Content, want())
		}
		return nil
	}
	text, err := x.Extract(t.Context(), extract.Input{Reader: bytes.NewReader(extracttest.Gzip(t, inner)), Name: "docs.zip.gz", Part: part})
	if err != nil || !text.Container {
		t.Fatalf("%+v, %v", text, err)
	}
	if formats["docs.zip"] != "zip" || formats["a.md"] != "markdown" || formats["b/data.json"] != "json" || len(formats) != 3 {
		t.Errorf("%v", formats)
	}
}
