package text_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/text"
)

func read(t testing.TB, content, name string) (extract.Text, error) {
	t.Helper()
	return text.Extractor{}.Extract(t.Context(), extract.Input{Reader: strings.NewReader(content), Name: name})
}

func TestExtract(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	front := "---\ntitle: \"Notes: a title\"\nauthor:\n  - Ann Lee\n  - Bo Chen\nlang: en-GB\ndate: 2026-11-26 # draft\ntags: [a, b]\n---\n\n# Heading\n"
	toml := "+++\ntitle = 'Notes'\nauthor = \"Ann\"\ndate = 2026-11-26\n+++\ntext\n"
	rst := "=====\nTitle\n=====\n\n:Author: Ann Lee\n:Date: 2026-11-26\n\nText.\n"
	adoc := "= A Title\n:author: Ann Lee\n:lang: de\n\nText.\n"
	for name, tc := range map[string]struct {
		name, content string
		want          extract.Text
	}{
		"plain":         {"a.txt", "Hello.\r\n", extract.Text{Type: "text", Format: "text"}},
		"no name":       {"", "Hello.", extract.Text{Type: "text", Format: "text"}},
		"markdown":      {"a.md", "# A *b* #\n\ntext", extract.Text{Type: "markdown", Format: "markdown", Markup: "markdown", Title: "A *b*"}},
		"underlined":    {"a.md", "A title\n=====\n", extract.Text{Type: "markdown", Format: "markdown", Markup: "markdown", Title: "A title"}},
		"front matter":  {"a.md", front, extract.Text{Type: "markdown", Format: "markdown", Markup: "markdown", Title: "Notes: a title", Author: "Ann Lee, Bo Chen", Language: "en", Date: day}},
		"front of TOML": {"a.md", toml, extract.Text{Type: "markdown", Format: "markdown", Markup: "markdown", Title: "Notes", Author: "Ann", Date: day}},
		"rst":           {"a.rst", rst, extract.Text{Type: "text", Format: "text", Author: "Ann Lee", Date: day}},
		"asciidoc":      {"a.adoc", adoc, extract.Text{Type: "text", Format: "text", Title: "A Title", Author: "Ann Lee", Language: "de"}},
		"go":            {"x/a.go", "package a\n", extract.Text{Type: "code", Format: "code", Markup: "go"}},
		"C++ header":    {"a.h", "#pragma once\nclass A {};\n", extract.Text{Type: "code", Format: "code", Markup: "cpp"}},
		"C header":      {"a.h", "int a(void);\n", extract.Text{Type: "code", Format: "code", Markup: "c"}},
		"script":        {"run", "#!/usr/bin/env -S python3 -u\nprint()\n", extract.Text{Type: "code", Format: "code", Markup: "python"}},
		"minified":      {"a.min.js", strings.Repeat("a=b;", 10_000), extract.Text{Type: "code", Format: "code", Markup: "javascript"}},
		"subtitles":     {"a.srt", "1\n00:00:01,000 --> 00:00:02,000\nHello\n", extract.Text{Type: "text", Format: "text"}},
		"right to left": {"a.txt", "שלום עולם\nمرحبا بالعالم\n", extract.Text{Type: "text", Format: "text"}},
		"byte order":    {"a.md", "\xef\xbb\xbf# T\n", extract.Text{Type: "markdown", Format: "markdown", Markup: "markdown", Title: "T"}},
		"broken front":  {"a.md", "---\n: : :\n\n# x", extract.Text{Type: "markdown", Format: "markdown", Markup: "markdown", Title: ""}},
		"empty":         {"a.txt", "", extract.Text{Type: "text", Format: "text"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := read(t, tc.content, tc.name)
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Content = strings.TrimPrefix(tc.content, "\ufeff")
			if name == "broken front" {
				tc.want.Title = "x"
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ format, content, typ, markup string }{
		{"csv", "a;b\n1;2\n", "text", "csv"},
		{"csv", "a\tb\n1\t2\n3\t4\n", "text", "tsv"},
		{"tsv", "a\tb\n1\t2\n", "text", "tsv"},
		{"tsv", "a,b\n1,2\n", "text", "csv"},
		{"yaml", "a: 1\n", "code", "yaml"},
		{"markdown", "# a", "markdown", "markdown"},
	} {
		got, err := text.Extractor{Format: tc.format}.Extract(t.Context(), extract.Input{Reader: strings.NewReader(tc.content)})
		if err != nil || got.Type != tc.typ || got.Markup != tc.markup || got.Format != tc.format || got.Content != tc.content {
			t.Errorf("%s %q: %+v, %v", tc.format, tc.content, got, err)
		}
	}
}

func TestCharsets(t *testing.T) {
	t.Parallel()
	want := "氏名,年齢,住所\n山田太郎,30,東京都千代田区\n佐藤花子,25,大阪市北区\n"
	sjis, err := japanese.ShiftJIS.NewEncoder().String(want)
	if err != nil {
		t.Fatal(err)
	}
	for media, warnings := range map[string]int{"": 1, "text/csv; charset=Shift_JIS": 0} {
		got, err := text.Extractor{Format: "csv"}.Extract(t.Context(), extract.Input{Reader: strings.NewReader(sjis), Media: media})
		if err != nil || got.Content != want || len(got.Warnings) != warnings {
			t.Errorf("%q: %+v, %v", media, got, err)
		}
	}
	wide, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, wide, "a.txt"); err != nil || got.Content != want || len(got.Warnings) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	if _, err := read(t, "\x00\x01\x02\x03", "a.txt"); !errors.Is(err, extract.ErrUnsupported) {
		t.Errorf("binary data: %v", err)
	}
	in := extract.Input{Reader: strings.NewReader("Hello"), MaxBytes: 4}
	if _, err := (text.Extractor{}).Extract(t.Context(), in); !errors.Is(err, extract.ErrTooLarge) {
		t.Errorf("too long: %v", err)
	}
	if zero, err := os.Open("/dev/zero"); err == nil {
		if _, err := (text.Extractor{}).Extract(t.Context(), extract.Input{Reader: zero}); !errors.Is(err, extract.ErrUnsupported) {
			t.Errorf("/dev/zero: %v", err)
		}
		_ = zero.Close()
	}
	if _, err := (text.Extractor{}).Extract(t.Context(), extract.Input{Reader: endless{}}); !errors.Is(err, extract.ErrTooLarge) {
		t.Errorf("endless: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	in.Reader = cancelling{cancel}
	if _, err := (text.Extractor{}).Extract(ctx, in); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// cancelling ends its context at the first read, and never says that it has ended.
type cancelling struct{ cancel context.CancelFunc }

func (c cancelling) Read(p []byte) (int, error) {
	c.cancel()
	return 1, nil
}

func FuzzExtract(f *testing.F) {
	f.Add("---\ntitle: x\n---\n# y", "a.md")
	f.Add(":Author: x\n= y", "a.rst")
	f.Add("#!/bin/sh", "")
	f.Add("a\tb,c", "a.csv")
	f.Fuzz(func(t *testing.T, content, name string) {
		got, err := read(t, content, name)
		if err != nil {
			if !errors.Is(err, extract.ErrUnsupported) {
				t.Fatal(err)
			}
			return
		}
		for _, s := range []string{got.Content, got.Title, got.Author, got.Language} {
			if !utf8.ValidString(s) {
				t.Fatalf("not UTF-8: %q", s)
			}
		}
		if again, err := read(t, content, name); err != nil || !cmp.Equal(again, got) {
			t.Fatalf("%+v, then %+v", got, again)
		}
	})
}
