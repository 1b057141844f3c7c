package chunk_test

import (
	"cmp"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/llmemory/llmemory/chunk"
)

// FuzzOffsets checks the contract of Chunker for any text, type and limit.
func FuzzOffsets(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for i := range documentTypes {
			f.Add(string(archive.Files[0].Data), uint8(i), uint8(20))
		}
	}
	for _, text := range []string{"\ufeff---\n", "> - # a\n\tb\n1.\n  -\n\n\n\x00\f|a|\n|-|\n", "a\u0085b\u2028c", "- a\n\n\n  ```\nx"} {
		f.Add(text, uint8(1), uint8(3))
	}
	f.Add("# 0\nB071A02", uint8(1), uint8(8)) // a heading before a word that fills a leaf
	f.Fuzz(func(t *testing.T, text string, label, limit uint8) {
		h := chunk.Hierarchical{MaxLeafTokens: int(limit)}
		most := cmp.Or(int(limit), chunk.DefaultMaxLeafTokens)
		in := chunk.Text{Content: text, Type: documentTypes[int(label)%len(documentTypes)]}
		pieces, err := h.Chunk(t.Context(), in)
		if !utf8.ValidString(text) {
			if err == nil {
				t.Error("accepted a text that is not UTF-8")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if found := faults(text, pieces, most); len(found) > 0 {
			t.Error(strings.Join(found, "\n"))
		}
		if pieces, err = chunk.ChunkWindows(t.Context(), h, in, 1+int(label)/len(documentTypes)); err != nil {
			t.Fatal(err)
		}
		if found := faults(text, pieces, most); len(found) > 0 {
			t.Error("in windows: " + strings.Join(found, "\n"))
		}
	})
}

// FuzzStructures checks the contract for any text that is read in any way.
func FuzzStructures(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for i := range markups {
			f.Add(string(archive.Files[0].Data), uint8(i), uint8(25), uint16(i*10))
		}
	}
	for _, text := range []string{
		"<p>a<h1>b</h1><table><tr><th>c<tr><td>d</table>e", "<!--", "<script>x", "<h2 a='", "<pre>\n\n", "&#x0;<th>&amp", "\"a\"\"b\",c\r\nd,e\n\n\"",
		"a;b\n1;2\n", "\f\fa\fb", "/* \"a */ func f() { return `x\n}` }\n", "def f():\n\tx = \"\"\"\n\"\"\"\n@d\nclass A: pass\n", "package a\nfunc (",
	} {
		for i := range markups {
			f.Add(text, uint8(i), uint8(4), uint16(3))
		}
	}
	f.Fuzz(func(t *testing.T, text string, markup, limit uint8, page uint16) {
		if !utf8.ValidString(text) {
			return
		}
		h := chunk.Hierarchical{MaxLeafTokens: int(limit)}
		most := cmp.Or(int(limit), chunk.DefaultMaxLeafTokens)
		in := chunk.Text{Content: text, Type: "unknown", Markup: markups[int(markup)%len(markups)]}
		if int(markup) >= len(markups) {
			in.Type, in.Pages = "presentation", []int{0, int(page), 2 * int(page)}
		}
		pieces, err := h.Chunk(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if found := faults(text, pieces, most); len(found) > 0 {
			t.Error(strings.Join(found, "\n"))
		}
	})
}

// FuzzStrategies checks the contract for any text that is cut in another way than the default.
func FuzzStrategies(f *testing.F) {
	for _, text := range []string{"", "One. Two! Three?\n\nFour", "数据库。索引", "a\u0301\u0301\u0301 b", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx y"} {
		f.Add(text, uint8(3), uint8(1))
		f.Add(text, uint8(30), uint8(29))
	}
	f.Fuzz(func(t *testing.T, text string, tokens, overlap uint8) {
		tokens = max(tokens, 1)
		for _, s := range []strategy{
			{"fixed", chunk.Fixed{Tokens: int(tokens), Overlap: int(overlap % tokens)}, int(tokens), false},
			{"sentence", chunk.Sentence{Tokens: int(tokens), Overlap: int(overlap)}, int(tokens), false},
			{"semantic", chunk.Semantic{Tokens: int(tokens), Buffer: int(overlap), Embed: letters, EmbedName: "letters"}, int(tokens), false},
		} {
			pieces, err := s.cut.Chunk(t.Context(), chunk.Text{Content: text})
			if !utf8.ValidString(text) {
				if err == nil {
					t.Errorf("%s: accepted a text that is not UTF-8", s.name)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, fault := range append(faults(text, pieces, s.limit), overlapFaults(text, pieces, s.limit)...) {
				t.Errorf("%s: %s", s.name, fault)
			}
		}
	})
}

func BenchmarkHierarchical(b *testing.B) {
	for _, label := range documentTypes {
		b.Run(label, func(b *testing.B) {
			w := newWriter(1)
			var parts []string
			for range 20 {
				parts = append(parts, w.document(label)...)
			}
			text := strings.Join(parts, "\n\n")
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := (chunk.Hierarchical{}).Chunk(b.Context(), chunk.Text{Content: text, Type: label}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
