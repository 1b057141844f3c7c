package data_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/data"
	"github.com/llmemory/llmemory/extract/extracttest"
)

func TestJSON(t *testing.T) {
	t.Parallel()
	long := `{"name":"Å\u00e9\ud83d\ude00","tags":["a","b"],"deep":{"list":[{"x":1.50,"y":null},{"x":2e3,"text":"` + strings.Repeat("word ", 40) + `"}]},"empty":[]}`
	for name, tc := range map[string]struct{ in, want string }{
		"as it is": {"{\n  \"a\": 1,\n  \"b\": [ 1,\n 2 ]\n}\n", "{\n  \"a\": 1,\n  \"b\": [ 1,\n 2 ]\n}\n"},
		"escapes":  {`{"a": "x\ny\tz \"q\" \\ \/ \u00fc \u0022 \ud83d\ude00 \ud83d \u0000"}`, "{\"a\": \"x\ny\tz \\\"q\\\" \\\\ / ü \\\" 😀 \uFFFD  \"}"},
		"one line": {long, "{\n  \"name\": \"Åé😀\",\n  \"tags\": [\"a\", \"b\"],\n  \"deep\": {\n    \"list\": [\n      {\"x\": 1.50, \"y\": null},\n      {\n" +
			"        \"x\": 2e3,\n        \"text\": \"" + strings.Repeat("word ", 40) + "\"\n      }\n    ]\n  },\n  \"empty\": []\n}"},
		"a word":  {`"hello"`, `"hello"`},
		"Latin-1": {"{\"a\": \"\xe9t\xe9\"}", `{"a": "été"}`},
	} {
		got := extracttest.Extract(t, data.JSON{}, extract.Input{}, []byte(tc.in))
		if diff := cmp.Diff(tc.want, got.Content); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
		if got.Markup != "json" || got.Type != "code" || got.Format != "json" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	got := extracttest.Extract(t, data.JSON{}, extract.Input{}, []byte("{\n// why\n\"a\": 1,\n}\n"))
	if len(got.Warnings) != 1 || got.Content != "{\n// why\n\"a\": 1,\n}\n" {
		t.Errorf("with comments: %+v", got)
	}
	extracttest.Refused(t, data.JSON{}, []byte(`{"a": [1, 2`), extract.ErrDamaged)
	extracttest.Refused(t, data.JSON{}, []byte(`{"a": "b`), extract.ErrDamaged)
	extracttest.Refused(t, data.JSON{}, []byte("\x00\x01\x02"), extract.ErrUnsupported)
	// Nesting makes no more of it than its indentation.
	deep := strings.Repeat("[", 9000) + strings.Repeat("]", 9000)
	if got := extracttest.Extract(t, data.JSON{}, extract.Input{}, []byte(deep)); len(got.Content) > 40*len(deep) {
		t.Errorf("%d bytes of %d", len(got.Content), len(deep))
	}
}

func TestJSONLines(t *testing.T) {
	t.Parallel()
	got := extracttest.Extract(t, data.JSON{Lines: true}, extract.Input{}, []byte("{\"a\": \"\\u00fc\"}\n\nnope\n[1]\n"))
	if got.Content != "{\"a\": \"ü\"}\n\nnope\n[1]\n" || got.Markup != "jsonl" || len(got.Warnings) != 1 || got.Warnings[0] != "1 lines are not JSON" {
		t.Errorf("%+v", got)
	}
}

func TestXML(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ in, want string }{
		"records": {
			`<?xml version="1.0"?><catalog><book id="b1" isbn="12-3"><author>Ann Lee</author><title>One &amp; two</title><price unit="EUR">9.50</price></book>` +
				`<book><author>Bo</author><title>Three</title></book><flag on="yes"/></catalog>`,
			"book (isbn: 12-3)\nauthor: Ann Lee\nOne & two\nprice: 9.50 (unit: EUR)\n\nauthor: Bo\nThree\n\nflag (on: yes)\n",
		},
		"document": {
			`<article xml:lang="de"><title>Über &#252;ber</title><section><title>Eins</title><para>Ein <emphasis>sehr <b>langer</b></emphasis> Satz<note><para>Fuß</para><para>note</para></note>, ja.</para>` +
				`<para><b>Fett</b> zuerst.</para><!-- nicht --><para><![CDATA[<roh> & so]]></para></section></article>`,
			"Über über\n\nEins\nEin sehr langer Satz\n\nFuß\nnote\n\n, ja.\nFett zuerst.\n<roh> & so\n",
		},
		"entities":        {`<!DOCTYPE a [<!ENTITY us "ACME Inc."><!ENTITY x SYSTEM "file:///etc/passwd">]><by>&us; &nbsp;&x; &copy;</by>`, "by: ACME Inc. &x; ©\n"},
		"version 1.1":     {`<?xml version="1.1" encoding="UTF-8"?><p>x</p>`, "x\n"},
		"right to left":   {`<doc><p>שלום <b>עולם</b></p><p>مرحبا</p></doc>`, "שלום עולם\nمرحبا\n"},
		"Japanese":        {"<?xml version=\"1.0\" encoding=\"EUC-JP\"?><p>\xc6\xfc\xcb\xdc</p>", "日本\n"},
		"control in text": {"<p>a\x01b" + strings.Repeat(" word", 50) + "</p>", "ab" + strings.Repeat(" word", 50) + "\n"},
	} {
		got := extracttest.Extract(t, data.XML{}, extract.Input{}, []byte(tc.in))
		if diff := cmp.Diff(tc.want, got.Content); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
	got := extracttest.Extract(t, data.XML{}, extract.Input{}, []byte(`<article xml:lang="de"><title>Über</title><p>x</p></article>`))
	if got.Title != "Über" || got.Language != "de" || got.Markup != "" || got.Format != "xml" {
		t.Errorf("%+v", got)
	}
}

// Much text between few tags, and many records, come out whole and in order.
func TestXMLLong(t *testing.T) {
	t.Parallel()
	var in, want strings.Builder
	in.WriteString("<r>\n")
	for i := range 500 {
		fmt.Fprintf(&in, "  <e>\n    <k>key%d</k>\n    <n>name%d</n>\n  </e>\n", i, i)
		fmt.Fprintf(&want, "key%d name%d\n", i, i)
	}
	in.WriteString("<p>")
	for i := range 500 {
		fmt.Fprintf(&in, "and <b>word%d</b> ", i)
		fmt.Fprintf(&want, "and word%d\n", i)
	}
	in.WriteString("</p></r>")
	got := extracttest.Extract(t, data.XML{}, extract.Input{}, []byte(in.String()))
	if f1 := extracttest.F1(strings.NewReplacer("k: ", "", "n: ", "").Replace(got.Content), want.String()); f1 < 1 {
		t.Errorf("F1 = %.4f\n%s", f1, got.Content)
	}
}

func TestXMLRefuses(t *testing.T) {
	t.Parallel()
	extracttest.Refused(t, data.XML{}, []byte(`<a><b>text`), extract.ErrDamaged)
	extracttest.Refused(t, data.XML{}, []byte(`<a></b></a>`), extract.ErrDamaged)
	extracttest.Refused(t, data.XML{}, []byte(`<?xml version="1.0"?>`), extract.ErrDamaged)
	extracttest.Refused(t, data.XML{}, []byte(`<a><b/></a>`), extract.ErrNoText)
	extracttest.Refused(t, data.XML{}, []byte(strings.Repeat("<a>", 2000)+"x"+strings.Repeat("</a>", 2000)), extract.ErrTooLarge)
}

// A billion laughs: entities of entities are not put in, however often they are named.
func TestXMLBillionLaughs(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">`)
	for i := 1; i < 10; i++ {
		name := fmt.Sprintf("&lol%d;", i-1)
		if i == 1 {
			name = "&lol;"
		}
		fmt.Fprintf(&b, `<!ENTITY lol%d "%s">`, i, strings.Repeat(name, 10))
	}
	b.WriteString(`]><lolz>&lol9; says &lol;</lolz>`)
	got := extracttest.Extract(t, data.XML{}, extract.Input{}, []byte(b.String()))
	if got.Content != "lolz: &lol9; says lol\n" || len(got.Warnings) != 1 {
		t.Errorf("%q, %q", got.Content, got.Warnings)
	}
	quadratic := `<!DOCTYPE a [<!ENTITY x "` + strings.Repeat("x", 100_000) + `">]><a>` + strings.Repeat("&x;", 100_000) + "</a>"
	if got := extracttest.Extract(t, data.XML{}, extract.Input{}, []byte(quadratic)); len(got.Content) > 2*len(quadratic) {
		t.Errorf("%d bytes became %d", len(quadratic), len(got.Content))
	}
}

func TestFeeds(t *testing.T) {
	t.Parallel()
	rss := `<?xml version="1.0"?><rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel>
<title>News of the day</title><link>https://example.org/</link><language>en-us</language><description>What happened &amp; why</description>
<pubDate>Thu, 26 Nov 2026 10:00:00 GMT</pubDate><image><title>Logo</title><url>https://example.org/l.png</url></image>
<item><title>First</title><link>https://example.org/1</link><dc:creator>Ann Lee</dc:creator><pubDate>Thu, 26 Nov 2026 09:00:00 GMT</pubDate>
<description>Short.</description><content:encoded><![CDATA[<p>The <b>whole</b> story.</p><ul><li>one</li><li>two</li></ul>]]></content:encoded></item>
<item><title>Second</title><description>&lt;p&gt;Only a summary.&lt;/p&gt;</description></item></channel></rss>`
	got := extracttest.Extract(t, data.XML{}, extract.Input{}, []byte(rss))
	want := "# News of the day\n\nWhat happened & why\n\n## First\n\nhttps://example.org/1 · Thu, 26 Nov 2026 09:00:00 GMT · Ann Lee\n\nThe whole story.\n\n- one\n- two\n\n" +
		"## Second\n\nOnly a summary.\n"
	if diff := cmp.Diff(want, got.Content); diff != "" {
		t.Errorf("RSS: -want +got:\n%s", diff)
	}
	if got.Title != "News of the day" || got.Language != "en" || !got.Date.Equal(time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)) || got.Markup != "markdown" || got.Format != "feed" {
		t.Errorf("RSS: %+v", got)
	}
	atom := `<feed xmlns="http://www.w3.org/2005/Atom"><title type="html">A &amp;lt; B</title><subtitle>Sub</subtitle><author><name>Bo</name></author>
<updated>2026-11-26T00:00:00Z</updated><link rel="self" href="https://example.org/self"/>
<entry><title>Entry</title><link href="https://example.org/e"/><author><name>Cy</name></author><updated>2026-11-25</updated>
<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>Text <em>here</em> &lt;3</p><p>日本語</p></div></content></entry>
<entry><title>Other</title><summary type="text">a &lt; b</summary></entry></feed>`
	got = extracttest.Extract(t, data.XML{}, extract.Input{}, []byte(atom))
	want = "# A < B\n\nSub\n\n## Entry\n\nhttps://example.org/e · 2026-11-25 · Cy\n\nText here <3\n\n日本語\n\n## Other\n\na < b\n"
	if diff := cmp.Diff(want, got.Content); diff != "" {
		t.Errorf("Atom: -want +got:\n%s", diff)
	}
	if got.Author != "Bo" {
		t.Errorf("Atom: author %q", got.Author)
	}
	extracttest.Refused(t, data.XML{}, []byte(rss[:len(rss)/2]), extract.ErrDamaged)
}

// A short entity that is named very often is not put in, whatever the limit of the text.
func TestXMLManyEntities(t *testing.T) {
	t.Parallel()
	doc := `<!DOCTYPE a [<!ENTITY x "` + strings.Repeat("x", 200) + `"><!ENTITY y "short">]><a>&y; ` + strings.Repeat("&x;", 100_000) + "</a>"
	got := extracttest.Extract(t, data.XML{}, extract.Input{}, []byte(doc))
	if len(got.Content) > 2*len(doc) || len(got.Warnings) != 1 {
		t.Errorf("%d bytes became %d, warnings %q", len(doc), len(got.Content), got.Warnings)
	}
}

// A text within many elements, each with words of its own, is not put together anew at each level.
func TestXMLDeepText(t *testing.T) {
	doc := strings.Repeat("<a>x", 900) + strings.Repeat("word ", 400_000) + strings.Repeat("</a>", 900)
	var err error
	n := extracttest.Allocated(func() {
		_, err = data.XML{}.Extract(t.Context(), extract.Input{Reader: strings.NewReader(doc)})
	})
	if err != nil || n > 100<<20 {
		t.Errorf("%d bytes allocated, error = %v", n, err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		e  extract.Extractor
		in string
	}{
		"JSON":     {data.JSON{}, `{"a": "` + strings.Repeat("x", 1000) + `"}`},
		"laid out": {data.JSON{}, "[" + strings.Repeat("[1],", 500_000) + "1]"},
		"XML":      {data.XML{}, "<a>" + strings.Repeat("x", 1000) + "</a>"},
		"feed":     {data.XML{}, "<rss><channel><item><title>" + strings.Repeat("x", 1000) + "</title></item></channel></rss>"},
	} {
		_, err := tc.e.Extract(t.Context(), extract.Input{Reader: strings.NewReader(tc.in), MaxBytes: 500})
		if !errors.Is(err, extract.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a": ["x", 1, {"b": "\u00fc\ud83d\ude00\n"}], "c": null}`), false)
	f.Add([]byte("{\"a\":1}\n[2]\n"), true)
	f.Add([]byte(`[[[["\`), false)
	f.Fuzz(func(t *testing.T, b []byte, lines bool) { extracttest.Any(t, data.JSON{Lines: lines}, b) })
}

func FuzzXML(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0" encoding="latin1"?><!DOCTYPE a [<!ENTITY x "y">]><a b="c">&x;<d>e</d> f<!-- g --></a>`))
	f.Add([]byte(`<rss><channel><title>t</title><item><title>a</title><description>&lt;p&gt;x</description></item></channel></rss>`))
	f.Add([]byte(`<feed><entry><content type="xhtml"><div><p>x</p></div></content></entry></feed>`))
	f.Fuzz(func(t *testing.T, b []byte) { extracttest.Any(t, data.XML{}, b) })
}
