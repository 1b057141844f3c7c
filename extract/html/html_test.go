package html_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/extracttest"
	"github.com/llmemory/llmemory/extract/html"
)

// page has everything around its content that pages have.
const page = `<!DOCTYPE html>
<html lang="en-GB"><head><title>Tides of the
 North Sea</title><meta name="author" content="Ada Moor"><meta property="article:published_time" content="2024-05-06T07:08:09Z">
<style>.x{color:red}</style><script>var hidden = "<p>no</p>";</script></head>
<body class="has-sidebar menu-open">
<div id="cookie-banner">We use cookies. <button>Accept all</button></div>
<header class="site-header"><a href="/">Home</a><form><input type="text" value="search me"></form></header>
<nav><ul><li><a href="/a">About</a><li><a href="/b">Contact</a></ul></nav>
<main>
<h1>Tides of the <em>North</em> Sea</h1>
<p>The tide comes in twice&nbsp;a day &amp; goes out <a href="https://example.org/tides">as often</a>.
See <a href="#notes">below</a>, <a href="/local">here</a>.</p>
<h2>Why</h2>
<ol start="3"><li>The moon pulls.<li><p>The sun pulls.</p><ul><li>Less<li>but still</ul></ol>
<blockquote><p>Time and tide wait for no man.</p></blockquote>
<table><caption>Heights</caption><thead><tr><th>Place<th colspan=2>Metres</tr></thead>
<tr><td rowspan="2">Dover<td>low<td>0.8<tr><td>high<td>6.7 <table><tr><td>spring<td>6.9</table></tr>
<tr><td>Hull<td>a|b<td></tr></table>
<p>Force<sup><a href="#f">2</a></sup> is 10<sup>6</sup> N<sup>[1]</sup><a href="#g" role="doc-noteref"><sup>3</sup></a>, H<sub>2</sub>O, E = mc<sup>2</sup>.</p>
<p>So <math><mi>x</mi><mo>=</mo><mfrac><mrow><mo>-</mo><mi>b</mi></mrow><msqrt><msup><mi>a</mi><mn>2</mn></msup></msqrt></mfrac><annotation encoding="application/x-tex">\frac</annotation></math> it is.</p>
<dl><dt>Neap</dt><dd>the small one</dd><dt>Spring</dt><dd>the large one</dd></dl>
<pre><code class="language-go">func tide() int {
	return 1 // &lt;moon&gt;
}
</code></pre>
<p>Run <code>go test</code>. <img src="x.png" alt="A chart of tides"> <span hidden>secret</span><span style="display: none">hidden</span></p>
<p dir="rtl" lang="he">שלום עולם, הגאות באה</p><p>潮の満ち引きは月の<ruby>引力<rt>いんりょく</rt></ruby>による。</p>
<p>Smile: 😀 &#x1F30A; e&#x301;t&eacute; soft&shy;hyphen</p>
<div hidden>nothing</div><iframe src="ad.html">no frames</iframe><svg><text>drawn</text></svg>
</main>
<aside>Read also: other pages</aside>
<footer>© 2024 Example</footer>
</body></html>`

const pageText = `# Tides of the North Sea

The tide comes in twice a day & goes out [as often](https://example.org/tides). See below, here.

## Why

3. The moon pulls.
4. The sun pulls.
   - Less
   - but still

> Time and tide wait for no man.

Heights

| Place | Metres | |
| --- | --- | --- |
| Dover | low | 0.8 |
| | high | 6.7 spring, 6.9 |
| Hull | a\|b |

Force[2] is 10^6 N[1][3], H2O, E = mc^2.

So x=(-b)/(√(a^2)) it is.

Neap

- the small one

Spring

- the large one

` + "```go\nfunc tide() int {\n\treturn 1 // <moon>\n}\n```" + `

Run ` + "`go test`" + `. A chart of tides

שלום עולם, הגאות באה

潮の満ち引きは月の引力(いんりょく)による。

Smile: 😀 🌊 e` + "\u0301" + `té softhyphen
`

func TestPage(t *testing.T) {
	t.Parallel()
	got := extracttest.Extract(t, html.Extractor{}, extract.Input{}, []byte(page))
	want := extract.Text{
		Content: pageText, Type: "html", Format: "html", Markup: "markdown", Title: "Tides of the North Sea", Author: "Ada Moor",
		Language: "en", Date: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func TestLinksAreResolvedByURL(t *testing.T) {
	t.Parallel()
	const doc = `<p><a href="b?x=1">relative</a> <a href="//cdn.example.org/y">other</a></p>`
	for name, want := range map[string]string{
		"page.html":                    "relative other\n",
		"https://example.org/dir/page": "[relative](https://example.org/dir/b?x=1) [other](https://cdn.example.org/y)\n",
	} {
		if got := extracttest.Extract(t, html.Extractor{}, extract.Input{Name: name}, []byte(doc)).Content; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	based := `<base href="https://example.net/"><p><a href="b">relative</a></p>`
	if got := extracttest.Extract(t, html.Extractor{}, extract.Input{}, []byte(based)).Content; got != "[relative](https://example.net/b)\n" {
		t.Errorf("with a base: %q", got)
	}
}

func TestCharsets(t *testing.T) {
	t.Parallel()
	const greek = `<html><head>%s</head><body><p>Καλημέρα κόσμε</p></body></html>`
	const japaneseText = `<html><head>%s</head><body><p>こんにちは世界</p></body></html>`
	encode := func(s, meta string, e interface{ String(string) (string, error) }) []byte {
		out, err := e.String(fmt.Sprintf(s, meta))
		if err != nil {
			t.Fatal(err)
		}
		return []byte(out)
	}
	for _, tt := range []struct {
		name, media string
		raw         []byte
		want        string
	}{
		{"meta charset", "", encode(greek, `<meta charset="iso-8859-7">`, charmap.ISO8859_7.NewEncoder()), "Καλημέρα κόσμε"},
		{"meta http-equiv", "", encode(japaneseText, `<meta http-equiv="Content-Type" content="text/html; charset=Shift_JIS">`, japanese.ShiftJIS.NewEncoder()), "こんにちは世界"},
		{"media", "text/html; charset=euc-jp", encode(japaneseText, "", japanese.EUCJP.NewEncoder()), "こんにちは世界"},
		{"byte order mark", "", encode(greek, "", unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder()), "Καλημέρα κόσμε"},
		{"XML declaration", "", encode(`<?xml version="1.0" encoding="iso-8859-7"?><html><head><title/>%s</head><body><p><i/>Καλημέρα κόσμε</p></body></html>`, "", charmap.ISO8859_7.NewEncoder()), "Καλημέρα κόσμε"},
		{"UTF-8 without a word", "", []byte(fmt.Sprintf(greek, "")), "Καλημέρα κόσμε"},
		{"UTF-8 that says Latin-1", "text/html; charset=iso-8859-1", []byte(fmt.Sprintf(greek, "")), "Καλημέρα κόσμε"},
		{"Shift-JIS without a word", "", encode(japaneseText, "", japanese.ShiftJIS.NewEncoder()), "こんにちは世界"},
		{"KOI8-R without a word", "", encode(`<p>%sСуда, входящие в порт, сообщают о себе на двенадцатом канале.`, "", charmap.KOI8R.NewEncoder()), "Суда, входящие в порт, сообщают о себе на двенадцатом канале."},
		{"charset of a script", "", encode(greek, `<script charset="utf-8"></script><meta charset=iso-8859-7>`, charmap.ISO8859_7.NewEncoder()), "Καλημέρα κόσμε"},
		{"Latin-1 without a word", "", []byte("<p>caf\xe9 \x93quoted\x94</p>"), "café “quoted”"},
	} {
		got := extracttest.Extract(t, html.Extractor{}, extract.Input{Media: tt.media}, tt.raw).Content
		if strings.TrimSpace(got) != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestMainContent(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 20)
	for _, tt := range []struct {
		name, page string
		want, not  []string
	}{
		{"no structure at all", "<title>x</title>" + long + "<br>end of it", []string{"brown fox", "end of it"}, nil},
		{"a small article among more", "<div>" + long + "</div><article>a teaser</article>", []string{"brown fox", "a teaser"}, nil},
		{"a large article", "<div>around</div><article>" + long + "</article>", []string{"brown fox"}, []string{"around"}},
		{"many articles", "<article>first " + long + "</article><article>second " + long + "</article><article>third " + long + "</article>",
			[]string{"first", "second", "third"}, nil},
		{"a wrapper with a bad name", `<div class="sidebar">` + long + `</div><p>after</p>`, []string{"brown fox", "after"}, nil},
		{"all of it in a nav", `<nav>` + long + `</nav>`, []string{"brown fox"}, nil},
		{"old layout by tables", `<table><tr><td><ul class="menu"><li>menu</ul><td><h1>News</h1><p>` + long + `<table><tr><th>a<th>b<tr><td>1<td>2</table></table>`,
			[]string{"# News", "brown fox", "| a | b |"}, []string{"menu"}},
		{"furniture by name", `<div class="cookie-consent">We value you</div><div id="breadcrumbs">Home</div><div role="navigation">Go</div><p>` + long,
			[]string{"brown fox"}, []string{"value", "Home", "Go"}},
		{"header of an article", `<article><header><h1>T</h1><p>By Ada</p></header>` + long + `<footer>Sources</footer></article>`,
			[]string{"# T", "By Ada", "Sources"}, nil},
	} {
		got := extracttest.Extract(t, html.Extractor{}, extract.Input{}, []byte(tt.page)).Content
		for _, s := range tt.want {
			if !strings.Contains(got, s) {
				t.Errorf("%s: %q is lost of\n%s", tt.name, s, got)
			}
		}
		for _, s := range tt.not {
			if strings.Contains(got, s) {
				t.Errorf("%s: %q is in\n%s", tt.name, s, got)
			}
		}
	}
	whole := extracttest.Extract(t, html.Extractor{Whole: true}, extract.Input{}, []byte(page)).Content
	for _, s := range []string{"About", "© 2024 Example", "Time and tide"} {
		if !strings.Contains(whole, s) {
			t.Errorf("whole page lacks %q", s)
		}
	}
	if strings.Contains(whole, "secret") || strings.Contains(whole, "var hidden") {
		t.Errorf("whole page shows what is hidden:\n%s", whole)
	}
}

func TestButtons(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ page, want string }{
		"in a heading":            {"<h2><button><span>When?</span></button></h2><p>At noon. <button>Copy</button></p>", "## When?\n\nAt noon.\n"},
		"in a summary":            {"<details><summary><button>Who?</button></summary>She.</details>", "Who?\n\nShe.\n"},
		"not closed":              {"<div><p>before</p><button>Buy</div><p>after</p>", "before\n\nafter\n"},
		"closed after a division": {"<div>before<button>Buy<div>now</div></button> after</div>", "before after\n"},
		"a player not closed":     {"<div>before<video><source src=x></div>after", "before\n\nafter\n"},
	} {
		if got := extracttest.Extract(t, html.Extractor{}, extract.Input{}, []byte(tt.page)).Content; got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// Line numbers of code that are not read out are not its text.
func TestHiddenInCode(t *testing.T) {
	t.Parallel()
	page := `<pre><code><span aria-hidden="true">1 </span>if tide {<br><span style="display:none">2 </span>}</code></pre>`
	if got := extracttest.Extract(t, html.Extractor{}, extract.Input{}, []byte(page)).Content; got != "```\nif tide {\n}\n```\n" {
		t.Errorf("%q", got)
	}
}

func TestSections(t *testing.T) {
	t.Parallel()
	page := `<?xml version="1.0"?><html><body><p>a <![CDATA[<b> & c]]> d</p><style><![CDATA[x]]></style></body></html>`
	if got := extracttest.Extract(t, html.Extractor{}, extract.Input{}, []byte(page)).Content; got != "a <b> & c d\n" {
		t.Errorf("%q", got)
	}
}

// Formatting elements left open are opened anew in each block that follows, by the rules of HTML: a page of some kilobytes that leaves
// hundreds of them open must not take gigabytes.
func TestFormattingLeftOpen(t *testing.T) {
	for _, tag := range []string{"b", "code", "font", "nobr", "tt"} {
		var b strings.Builder
		b.WriteString("<div>")
		for i := range 380 {
			fmt.Fprintf(&b, "<%s id=%d class=c%d>", tag, i, i)
		}
		b.WriteString("</div>" + strings.Repeat("<p>x</p>", 2000) + "needle")
		var got extract.Text
		n := extracttest.Allocated(func() { got = extracttest.Extract(t, html.Extractor{}, extract.Input{}, []byte(b.String())) })
		if n > 60<<20 || !strings.Contains(got.Content, "needle") {
			t.Errorf("%s: %d bytes of text, of %d allocated", tag, len(got.Content), n)
		}
	}
}

func TestHostilePages(t *testing.T) {
	t.Parallel()
	for name, doc := range map[string]string{
		"nested divs":        strings.Repeat("<div>", 10_000) + "needle",
		"nested lists":       strings.Repeat("<ul><li>", 100) + "needle",
		"nested tables":      strings.Repeat("<table><tr><td>x<td>", 60) + "needle",
		"nested inline":      strings.Repeat("<b><i><a href=x>", 2_000) + "needle",
		"many elements":      strings.Repeat("<p>x", 401_000) + "needle",
		"many attributes":    "<p " + strings.Repeat("class=a ", 20_000) + ">needle",
		"misnested":          strings.Repeat("<a><table><tr></a><td>", 300) + "needle",
		"large spans":        "<table>" + strings.Repeat("<tr><td colspan=100000 rowspan=100000>x<td>y", 200) + "</table>needle",
		"script in a script": "<script><script></script>needle",
		"unclosed comment":   "needle<!--" + strings.Repeat("-", 1000),
		"NUL":                "need\x00le",
	} {
		got := extracttest.Extract(t, html.Extractor{}, extract.Input{}, []byte(doc))
		if !strings.Contains(got.Content, "needle") {
			t.Errorf("%s: the text is lost: %.200q", name, got.Content)
		}
	}
	extracttest.Refused(t, html.Extractor{}, []byte("<p>"+strings.Repeat("word ", 5<<20)), extract.ErrTooLarge)
	picture := extracttest.Extract(t, html.Extractor{}, extract.Input{}, []byte(`<p>be<img src="data:image/png;base64,`+strings.Repeat("AAAA", 1<<20)+`">fore</p>`))
	if picture.Content != "before\n" || picture.Warnings != nil {
		t.Errorf("a large picture within a page: %.100q, warnings %q", picture.Content, picture.Warnings)
	}
	extracttest.Refused(t, html.Extractor{}, nil, extract.ErrNoText)
	extracttest.Refused(t, html.Extractor{}, []byte("<html><script>x</script>"), extract.ErrNoText)
	if _, err := (html.Extractor{}).Extract(t.Context(), extract.Input{Reader: strings.NewReader("<p>too much"), MaxBytes: 5}); err == nil {
		t.Error("a text over the limit is not refused")
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(page)
	f.Add("<table><tr><td rowspan=3>a<td colspan=2>b<tr><li>x<ol start=9><li value=3>y<pre>\n\nz")
	f.Add("<p>a<sup>2</sup><a href='x y'>b<div>c</a>d<ruby>e<rt>f")
	f.Add("\xff\xfe<\x00p\x00>\x00x")
	f.Fuzz(func(t *testing.T, doc string) {
		extracttest.Any(t, html.Extractor{}, []byte(doc))
		extracttest.Any(t, html.Extractor{Whole: true}, []byte(doc))
	})
}
