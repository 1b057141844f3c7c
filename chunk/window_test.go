package chunk_test

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/internal/soak"
)

// TestWindows checks that Markdown which is parsed window by window is cut as it is at once, as long as no block fills a window.
func TestWindows(t *testing.T) {
	t.Parallel()
	texts := map[string]string{}
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(file)] = string(archive.Files[0].Data)
	}
	for seed := range uint64(4) {
		texts["made up "+string(rune('0'+seed))] = strings.Join(newWriter(seed).document("markdown"), "\n\n")
	}
	for name, text := range texts {
		whole := mustChunk(t, chunk.Hierarchical{}, text, "markdown")
		for _, window := range []int{5000, 8000, 20_000} {
			got, err := chunk.ChunkWindows(t.Context(), chunk.Hierarchical{}, chunk.Text{Content: text, Type: "markdown"}, window)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(whole, got); diff != "" {
				t.Errorf("%s in windows of %d bytes (-whole +windows):\n%s", name, window, diff)
			}
		}
	}
}

// giants are blocks of Markdown of about n bytes, which fill many windows.
func giants(n int) map[string]string {
	many := func(s string) string { return strings.Repeat(s, n/len(s)) }
	return map[string]string{
		"list":         many("- one item of a list\n"),
		"numbers":      many("7. one item of a list\n\n"),
		"nested":       "- " + many("  - inner\n    continued\n") + "- next\n",
		"quotation":    many("> quoted words\n>\n> - with an item\n"),
		"item":         "- first\n\n" + many("  more of the first item\n\n"),
		"table":        "| a | b |\n|---|---|\n" + many("| "+strings.Repeat("One of many. ", 4)+"| "+strings.Repeat("Two of few. ", 4)+"|\n"),
		"wide table":   many("|a") + "\n" + many("|-") + "\n" + many("b\n"),
		"fence":        "```\n" + many("# no heading\n\n") + "```\n\n# Heading\n\ntext\n",
		"open fence":   "~~~~\n" + many("~~~\n- no list\n"),
		"indented":     many("    code\n\n"),
		"markup":       "<!--\n" + many("a\n\n") + "-->\n",
		"paragraph":    many("a line of a long paragraph\n"),
		"long line":    many("word "),
		"long heading": "# " + many("word ") + "\n\ntext\n",
		"underlined":   many("a line of a title\n") + "===\n\ntext\n",
		"empty lines":  "- a\n" + many("\n") + "  b\n",
		"fences":       many("```\ncode\n```\n"),
		"headings":     many("# a\n"),
	}
}

// TestGiantBlocks checks the contract for blocks that do not fit into a window, whatever its size.
func TestGiantBlocks(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for name, text := range giants(4000) {
		for _, text := range []string{text, "before\n\n" + text, text + "\n\nafter\n"} {
			for range soak.Pick(3, 8) {
				window := 1 + r.IntN(600)
				pieces, err := chunk.ChunkWindows(t.Context(), chunk.Hierarchical{}, chunk.Text{Content: text, Type: "markdown"}, window)
				if err != nil {
					t.Fatal(err)
				}
				for _, fault := range faults(text, pieces, chunk.DefaultMaxLeafTokens) {
					t.Errorf("%s in windows of %d bytes: %s", name, window, fault)
				}
			}
		}
	}
}

// TestGiantStructure checks what is seen of blocks that do not fit into a window.
func TestGiantStructure(t *testing.T) {
	t.Parallel()
	all := giants(20_000)
	leaves := func(text string) (out []string, last chunk.Piece) {
		pieces, err := chunk.ChunkWindows(t.Context(), chunk.Hierarchical{}, chunk.Text{Content: text, Type: "markdown"}, 3000)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pieces {
			if p.Level == 0 {
				out, last = append(out, text[p.Start:p.End]), p
			}
		}
		return out, last
	}
	for name, begin := range map[string]string{"list": "- ", "numbers": "7. ", "table": "| ", "quotation": ">"} {
		cut, _ := leaves(all[name])
		if len(cut) < 3 {
			t.Errorf("%s: %d leaves", name, len(cut))
		}
		for _, leaf := range cut {
			if !strings.HasPrefix(leaf, begin) {
				t.Errorf("%s: a leaf begins within a part: %.60q", name, leaf)
			}
		}
	}
	if _, last := leaves(all["fence"]); !cmp.Equal(last.Heading, []string{"Heading"}) {
		t.Errorf("after a long code block the heading is %q", last.Heading)
	}
	if _, last := leaves(all["open fence"]); len(last.Heading) > 0 {
		t.Errorf("heading in a code block: %q", last.Heading)
	}
}
