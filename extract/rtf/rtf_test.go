package rtf_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/extracttest"
	"github.com/llmemory/llmemory/extract/rtf"
)

// letters writes text as the escapes of RTF.
func letters(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < 0x80:
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%d?\u%d?`, int16(0xd800+r>>10), int16(0xdc00+r&0x3ff))
		default:
			fmt.Fprintf(&b, `\u%d?`, int16(r))
		}
	}
	return b.String()
}

var doc = `{\rtf1\ansi\ansicpg1252\uc1\deff0\deflang1033{\fonttbl{\f0\fswiss\fcharset0 Arial;}{\f1\fcharset204 Arial Cyr;}{\f2\fcharset128 MS Mincho;}{\f3\fcharset2 Symbol;}}
{\colortbl;\red0\green0\blue0;}
{\stylesheet{\ql Normal;}{\s1\outlinelevel0 heading 1;}{\s2\sbasedon1\outlinelevel1 heading 2;}{\s15\sbasedon2 Clause;}{\*\cs10 Default;}}
{\*\listtable{\list{\listlevel{\leveltext \'02\'00.;}}}}
{\*\generator Word;}
{\info{\title Tides \u8212- a report}{\author Ada Moor}{\creatim\yr2023\mo1\dy2\hr3\min4}{\revtim\yr2024\mo5\dy6\hr7\min8}{\*\company Secret}}
{\header\pard Tides of the sea\par}{\headerf\pard Tides of the sea\par}{\footer\pard Page {\field{\*\fldinst PAGE}{\fldrslt 7}}\par}
\pard\s1 Tides of the sea in brief\par
\pard\plain The caf\'e9 is \b open\b0 : \ldblquote yes\rdblquote\emdash{}at 5\~pm{\super\chftn}{\footnote\pard\plain {\super\chftn} Summer time only.}.
 It said {\field{\*\fldinst{HYPERLINK "https://example.org/a"}}{\fldrslt{\ul more here}}}.\par
{\pict\pngblip 89504e47}{\*\unknown nothing}\pard\s15 Why\par
{\listtext\pard 1.\tab}\pard\ls1\ilvl0 The moon\par
{\listtext\pard a)\tab}\pard\ls1\ilvl1 near\par
{\listtext\pard \'b7\tab}\pard\ls1\ilvl1 far\par
{\listtext\pard 2.\tab}\pard\ls1\ilvl0 The sun{\*\atnid AM}{\*\atnauthor Bob}\chatn{\*\annotation\pard Really?}\par
\pard\plain {\v hidden}{\deleted gone }{\revised added}{\*\bkmkstart x}{\*\bkmkend x} text\line next line\par
\pard\f1\lang1049 \'cf\'f0\'e8\'e2\'e5\'f2 \f2 \'93\'fa\'96\'7b\f0\par
\pard\rtlpar ` + letters("שלום עולם") + `\par\pard ` + letters("中文 😀") + `\par
\trowd\cellx100\cellx200\pard\intbl Place\cell Metres\cell\row
\trowd\cellx100\cellx200\pard\intbl Dover\par Kent\cell \pard\intbl\itap2 low\nestcell 0.8\nestcell{\*\nesttableprops\trowd\nestrow}{\nonesttables\par}\pard\intbl\itap1 and more\cell\row
\trowd\pard\intbl Hull\cell\cell\row
\pard\fi-360\li360 \'95\tab by looks\par\fi-360\li720 a)\tab deeper\par\pard 10{\super 6} N\par
\pard After it{\shp{\*\shpinst{\sp{\sn shapeType}{\sv 202}}{\shptxt\pard A box\par}}{\shprslt\pard A box\par}} all.\par
{\upr{ansi only}{\*\ud{really ` + letters("unicode — ✓") + `}}}\par}`

const docText = `Tides of the sea

# Tides of the sea in brief

The café is open: “yes”—at 5 pm[^1]. It said [more here](https://example.org/a).

[^1]: Summer time only.

## Why

1. The moon
   - a) near
   - far
2. The sun[^c1]

added text
next line

Привет 日本

שלום עולם

中文 😀

| Place | Metres |
| --- | --- |
| Dover Kent | low, 0.8 and more |
| Hull |

- by looks
  - a) deeper

10^6 N

After it all.

A box

really unicode — ✓

[^c1]: Comment by Bob: Really?

Page
`

func TestDocument(t *testing.T) {
	t.Parallel()
	got := extracttest.Extract(t, rtf.Extractor{}, extract.Input{}, []byte(doc))
	want := extract.Text{
		Content: docText, Type: "docx", Format: "rtf", Markup: "markdown", Title: "Tides — a report", Author: "Ada Moor", Language: "en",
		Date: time.Date(2024, 5, 6, 7, 8, 0, 0, time.UTC),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func TestHostileDocuments(t *testing.T) {
	t.Parallel()
	extracttest.Refused(t, rtf.Extractor{}, []byte(`{\rtf1 `+strings.Repeat("{", 100_000)), extract.ErrTooLarge)
	extracttest.Refused(t, rtf.Extractor{}, []byte("plain text"), extract.ErrUnsupported)
	extracttest.Refused(t, rtf.Extractor{}, []byte(`{\rtf1 }`), extract.ErrNoText)
	for name, tt := range map[string]struct{ doc, want string }{
		"cut short":                  {`{\rtf1 {\b some words`, "some words\n"},
		"after the end":              {`{\rtf1 words} more`, "words\n"},
		"binary data":                {`{\rtf1 {\pict\bin5 }}}}}}words}`, "words\n"},
		"binary data without an end": {`{\rtf1 words{\pict\bin2147483647 x}`, "words\n"},
		"escape at the end":          {`{\rtf1 words\`, "words\n"},
		"half an escape":             {`{\rtf1 words\'4`, "words\n"},
		"half a pair":                {`{\rtf1 words\u-10179? on}`, "words on\n"},
		"nothing for a character":    {`{\rtf1 a\u8211\par b\u8211\u8212 ?c\u8364\emdash d}`, "a–\n\nb–—c€d\n"},
		"a code page of DOS":         {`{\rtf1\ansicpg850 T\'81r}`, "Tür\n"},
		"large numbers":              {`{\rtf1\uc99999999999999999999 \itap999999999\intbl words\u99999999?\cell\row}`, "words\ufffd\n"},
	} {
		got := extracttest.Extract(t, rtf.Extractor{}, extract.Input{}, []byte(tt.doc)).Content
		if !strings.HasPrefix(got, strings.TrimSpace(tt.want)) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	cut := extracttest.Extract(t, rtf.Extractor{}, extract.Input{}, []byte(doc[:len(doc)-200]))
	if len(cut.Warnings) != 1 || !strings.Contains(cut.Content, "# Tides") {
		t.Errorf("a document cut short: warnings %q", cut.Warnings)
	}
}

// Links in links, of a long text, cost no more than one.
func TestLinksInLinks(t *testing.T) {
	field := `{\field{\*\fldinst HYPERLINK "https://example.org/a"}{\fldrslt `
	doc := []byte(`{\rtf1 ` + strings.Repeat(field, 400) + strings.Repeat("word ", 100_000) + strings.Repeat("}}", 400) + `}`)
	var got extract.Text
	if n := extracttest.Allocated(func() { got = extracttest.Extract(t, rtf.Extractor{}, extract.Input{}, doc) }); n > 80<<20 || len(got.Content) < 499_000 {
		t.Errorf("%d bytes of text, of %d allocated", len(got.Content), n)
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(doc)
	f.Add(`{\rtf1\pard\intbl\itap3 a\nestcell\itap2\nestcell\intbl\cell\row{\field{\*\fldinst HYPERLINK x}{\fldrslt a\par b}}}`)
	f.Add(`{\rtf1{\upr{a}{\*\ud b}}{\footnote{\annotation{\shptxt c\cell}}}\'93\'fa\u1?\u-10179?\u-8704?}`)
	f.Fuzz(func(t *testing.T, body string) {
		extracttest.Any(t, rtf.Extractor{}, []byte(`{\rtf1 `+body))
		extracttest.Any(t, rtf.Extractor{}, []byte(body))
	})
}
