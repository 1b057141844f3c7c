package storetest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/chunk"
)

// paragraphs is a chunker whose result a test can foresee: every paragraph is a leaf, every three of them have a parent, a
// paragraph that begins with "# " is the heading of those after it, one that ends with "{word}" has the context "about word" and the
// summary "word", one that begins with "[2] " is embedded in 2 parts, and tokens are words.
func paragraphs() chunk.Chunker {
	blank, braced := regexp.MustCompile(`\n\s*\n`), regexp.MustCompile(`\{(\w+)\}$`)
	return chunk.Func{Name: "storetest paragraphs 1", Cut: func(ctx context.Context, t chunk.Text) ([]chunk.Piece, error) {
		var leaves []chunk.Piece
		var heading []string
		at := 0
		for _, gap := range append(blank.FindAllStringIndex(t.Content, -1), []int{len(t.Content), len(t.Content)}) {
			part := t.Content[at:gap[0]]
			text := strings.TrimSpace(part)
			if text != "" {
				if title, ok := strings.CutPrefix(text, "# "); ok {
					heading = []string{title}
				}
				start := at + strings.Index(part, text)
				leaf := chunk.Piece{Start: start, End: start + len(text), Parent: -1, Heading: heading, Tokens: len(strings.Fields(text)),
					Parts: partsOf(text)}
				if word := braced.FindStringSubmatch(text); word != nil {
					leaf.Context, leaf.Summary = "about "+word[1], word[1]
				}
				leaves = append(leaves, leaf)
			}
			at = gap[1]
		}
		var out []chunk.Piece
		for len(leaves) > 0 {
			n := min(3, len(leaves))
			run := leaves[:n]
			leaves = leaves[n:]
			if n > 1 {
				parent := chunk.Piece{Start: run[0].Start, End: run[n-1].End, Level: 1, Parent: -1, Heading: run[0].Heading}
				for i := range run {
					run[i].Parent = len(out)
					parent.Tokens += run[i].Tokens
				}
				out = append(out, parent)
			}
			out = append(out, run...)
		}
		return out, ctx.Err()
	}}
}

// partsOf returns in how many parts a paragraph is embedded.
func partsOf(paragraph string) int {
	n := 1
	_, _ = fmt.Sscanf(paragraph, "[%d] ", &n)
	return n
}

// join makes a text of paragraphs.
func join(paragraphs ...string) string { return strings.Join(paragraphs, "\n\n") }

// numbered returns n paragraphs, each with its number as a word of its own.
func numbered(n int, format string) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(format, i)
	}
	return join(list...)
}

// names of the documents of hits, in order.
func names(hits []llmemory.Hit) []string {
	var out []string
	for _, h := range hits {
		out = append(out, h.Document.Name)
	}
	return out
}

// texts of the hits, in order.
func texts(hits []llmemory.Hit) []string {
	var out []string
	for _, h := range hits {
		out = append(out, h.Text)
	}
	return out
}

// search returns the hits of a text search that must succeed.
func search(tb testing.TB, o *llmemory.Owner, query string, opts llmemory.SearchOptions) []llmemory.Hit {
	tb.Helper()
	opts.Mode = llmemory.ByText
	r, err := o.Search(tb.Context(), query, &opts)
	if err != nil {
		tb.Fatalf("Search(%.80q): %v", query, err)
	}
	return r.Hits
}

// logger sends what the library logs to the test.
func logger(tb testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(lineWriter{tb}, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

type lineWriter struct{ tb testing.TB }

// Write implements [io.Writer]. A warning says that maintenance failed, which no case provokes.
func (w lineWriter) Write(line []byte) (int, error) {
	w.tb.Errorf("logged: %s", bytes.TrimSpace(line))
	return len(line), nil
}
