package chunk_test

import (
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
	f.Fuzz(func(t *testing.T, text string, label, limit uint8) {
		h := chunk.Hierarchical{MaxLeafTokens: int(limit)}
		if limit == 0 {
			limit = chunk.DefaultMaxLeafTokens
		}
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
		if found := faults(text, pieces, int(limit)); len(found) > 0 {
			t.Error(strings.Join(found, "\n"))
		}
		if pieces, err = chunk.ChunkWindows(t.Context(), h, in, 1+int(label)/len(documentTypes)); err != nil {
			t.Fatal(err)
		}
		if found := faults(text, pieces, int(limit)); len(found) > 0 {
			t.Error("in windows: " + strings.Join(found, "\n"))
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
