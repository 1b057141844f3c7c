package chunk_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/llmemory/llmemory/chunk"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden cuts the first file of each archive and compares with the second. The comment tells what the case is about; its
// lines "type: T", "markup: M", "max: N" and "leaf: N" set the document type, the mark-up, the limit and the size aimed at,
// "page: P" lets a page begin with each line that begins with P, "line ends: crlf" sets the ends of lines, "mark: yes" puts a byte
// order mark first, and "last line end: no" takes the last one away.
func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d golden files, error %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(archive.Files) == 1 && *update {
				archive.Files = append(archive.Files, txtar.File{Name: "want"})
			}
			if len(archive.Files) != 2 {
				t.Fatalf("%d files, want input and want", len(archive.Files))
			}
			text, label, markup := string(archive.Files[0].Data), "markdown", ""
			var pages []string
			var h chunk.Hierarchical
			var size chunk.Size
			for row := range strings.Lines(string(archive.Comment)) {
				key, value, _ := strings.Cut(strings.TrimSpace(row), ": ")
				switch key {
				case "type":
					label = value
				case "markup":
					markup = value
				case "page":
					pages = append(pages, value)
				case "max":
					fmt.Sscan(value, &h.MaxLeafTokens)
				case "leaf":
					fmt.Sscan(value, &size.Leaf)
				case "parent":
					fmt.Sscan(value, &size.Parent)
				case "line ends":
					text = strings.ReplaceAll(text, "\n", "\r\n")
				case "mark":
					text = "\ufeff" + text
				case "last line end":
					text = strings.TrimSuffix(text, "\n")
				}
			}
			h.Sizes = map[string]chunk.Size{label: size}
			in := chunk.Text{Content: text, Type: label, Markup: markup}
			at := 0
			for row := range strings.Lines(text) {
				if slices.ContainsFunc(pages, func(page string) bool { return strings.HasPrefix(row, page) }) {
					in.Pages = append(in.Pages, at)
				}
				at += len(row)
			}
			got := render(text, mustChunkText(t, h, in))
			if *update {
				archive.Files[1].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// render writes one line a piece: level, range, tokens, headings, and the first and last words.
func render(text string, pieces []chunk.Piece) string {
	var b strings.Builder
	for _, p := range pieces {
		kind := "leaf  "
		if p.Level == 1 {
			kind = "parent"
		} else if p.Parent >= 0 {
			kind = "  leaf"
		}
		s := []rune(text[p.Start:p.End])
		shown := fmt.Sprintf("%q", string(s))
		if len(s) > 70 {
			shown = fmt.Sprintf("%q ... %q", string(s[:40]), string(s[len(s)-25:]))
		}
		fmt.Fprintf(&b, "%s %d-%d %d tokens [%s] %s\n", kind, p.Start, p.End, p.Tokens, strings.Join(p.Heading, " > "), shown)
	}
	return b.String()
}
