package epub_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/epub"
	"github.com/llmemory/llmemory/extract/extracttest"
)

const container = `<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles><rootfile full-path="OPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>`

// book makes one of pairs of names and bodies of documents, the last of which is first in the spine.
func book(t testing.TB, documents []string, members ...string) []byte {
	manifest, spine := "", ""
	var list []string
	for i := 0; i+1 < len(documents); i += 2 {
		id, properties := string(rune('a'+i/2)), ""
		if strings.HasPrefix(documents[i], "nav") {
			properties = ` properties="nav"`
		}
		manifest += `<item id="` + id + `" href="` + strings.ReplaceAll(documents[i], " ", "%20") + `" media-type="application/xhtml+xml"` + properties + `/>`
		spine = `<itemref idref="` + id + `"/>` + spine
		list = append(list, "OPS/"+documents[i], `<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml"><head><title/><script/></head><body>`+documents[i+1]+`</body></html>`)
	}
	opf := `<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Tides</dc:title><dc:creator>Ada Moor</dc:creator><dc:creator>Bob</dc:creator><dc:language>he-IL</dc:language><dc:date>2020</dc:date><meta property="dcterms:modified">2024-05-06T07:08:09Z</meta></metadata><manifest>` +
		manifest + `</manifest><spine>` + spine + `<itemref idref="none"/><itemref idref="a"/></spine></package>`
	return extracttest.Stored(t, append(append([]string{"mimetype", "application/epub+zip", "META-INF/container.xml", container, "OPS/book.opf", opf}, list...), members...)...)
}

var documents = []string{
	"text/two.xhtml", `<h1>Two</h1><p>The sun<a epub:type="noteref" href="#n1">1</a> pulls. <a href="one%20x.xhtml">Back</a> <a href="https://example.org/">out</a></p><ol><li>first</li><li>second<ul><li>inner</li></ul></li></ol><table><tr><th>Place</th><th>m</th></tr><tr><td>Dover</td><td>6.7</td></tr></table><aside epub:type="footnote" id="n1"><p>1. In most places.</p></aside><img src="x.png" alt="A chart"/>`,
	"text/one x.xhtml", `<section epub:type="chapter"><h1>One<br/>more</h1><div/><p>שלום עולם</p><p lang="ja">潮の満ち引き<ruby>引力<rt>いんりょく</rt></ruby></p></section>`,
	"nav.xhtml", `<nav><ol><li><a href="text/two.xhtml">Two</a></li></ol></nav>`,
}

const want = `# One more

שלום עולם

潮の満ち引き引力(いんりょく)

# Two

The sun[1] pulls. Back [out](https://example.org/)

1. first
2. second
   - inner

| Place | m |
| --- | --- |
| Dover | 6.7 |

1\. In most places.

A chart
`

func TestBook(t *testing.T) {
	t.Parallel()
	got := extracttest.Extract(t, epub.Extractor{}, extract.Input{}, book(t, documents))
	text := extract.Text{
		Content: want, Type: "text", Format: "epub", Markup: "markdown", Title: "Tides", Author: "Ada Moor, Bob", Language: "he",
		Date: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC),
	}
	if diff := cmp.Diff(text, got); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func TestHostileBooks(t *testing.T) {
	t.Parallel()
	refused := func(name string, data []byte, kind error) {
		t.Helper()
		if _, err := (epub.Extractor{}).Extract(t.Context(), extract.Input{Reader: bytes.NewReader(data)}); !errors.Is(err, kind) {
			t.Errorf("%s: error = %v, want %v", name, err, kind)
		}
	}
	good := book(t, documents)
	refused("truncated", good[:len(good)-50], extract.ErrDamaged)
	refused("no package", extracttest.Zip(t, "mimetype", "application/epub+zip"), extract.ErrDamaged)
	refused("no text", book(t, []string{"a.xhtml", "<img/>"}), extract.ErrNoText)
	refused("protected", book(t, documents, "META-INF/encryption.xml", `<encryption xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData><enc:CipherData><enc:CipherReference URI="OPS/text/one%20x.xhtml"/></enc:CipherData></enc:EncryptedData></encryption>`), extract.ErrEncrypted)
	refused("bomb", extracttest.Zip(t, "META-INF/container.xml", strings.ReplaceAll(container, "OPS/", ""), "book.opf", strings.Repeat(" ", 8<<20)), extract.ErrTooLarge)
	refused("way out", extracttest.Zip(t, "META-INF/container.xml", strings.ReplaceAll(container, "OPS/", "../../../etc/")), extract.ErrDamaged)
	fonts := extracttest.Extract(t, epub.Extractor{}, extract.Input{}, book(t, documents, "META-INF/encryption.xml", `<encryption xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:CipherReference URI="OPS/font.otf"/></encryption>`))
	if fonts.Content != want {
		t.Errorf("with protected fonts: %q", fonts.Content)
	}
	deep := extracttest.Extract(t, epub.Extractor{}, extract.Input{}, book(t, []string{"a.xhtml", strings.Repeat("<div>", 10_000) + "needle"}))
	if !strings.Contains(deep.Content, "needle") || len(deep.Warnings) != 1 {
		t.Errorf("deep nesting: %q, warnings %q", deep.Content, deep.Warnings)
	}
}

func FuzzBook(f *testing.F) {
	f.Add(documents[1], container)
	f.Add(`<a/><p>x<title/>`, `<rootfile full-path="OPS/book.opf"/>`)
	f.Fuzz(func(t *testing.T, body, container string) {
		extracttest.Any(t, epub.Extractor{}, book(t, []string{"a.xhtml", body}))
		extracttest.Any(t, epub.Extractor{}, extracttest.Stored(t, "META-INF/container.xml", container, "OPS/book.opf", body))
	})
}
