package chunk_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/internal/wordpiece"
)

// documentTypes are those with a structure of their own, and one of the others.
var documentTypes = []string{"text", "markdown", "code", "chat"}

// faults returns what the contract of Chunker finds wrong with a result.
func faults(text string, pieces []chunk.Piece, limit int) (out []string) {
	fault := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	end, covered := 0, map[int][]chunk.Piece{}
	for i, p := range pieces {
		if p.Start < 0 || p.Start >= p.End || p.End > len(text) {
			fault("piece %d has the range [%d, %d)", i, p.Start, p.End)
			return out
		}
		s := text[p.Start:p.End]
		if !utf8.ValidString(s) {
			fault("piece %d cuts a character: %q", i, s)
		}
		if strings.TrimSpace(s) != s {
			fault("piece %d begins or ends with white space: %q", i, s)
		}
		if p.Level == 1 {
			if p.Parent != -1 {
				fault("parent %d has parent %d", i, p.Parent)
			}
			continue
		}
		if p.Start < end {
			fault("leaf %d begins at %d, before %d", i, p.Start, end)
		} else if lost := text[end:p.Start]; strings.TrimSpace(lost) != "" {
			fault("before leaf %d is lost: %q", i, lost)
		}
		end = p.End
		if want := wordpiece.Default().Count(s); p.Tokens != want {
			fault("leaf %d has %d tokens, says %d", i, want, p.Tokens)
		}
		if p.Tokens > limit && utf8.RuneCountInString(s) > 1 {
			fault("leaf %d has %d tokens: %.100q", i, p.Tokens, s)
		}
		if len(s) > 16*limit+utf8.UTFMax {
			fault("leaf %d has %d bytes", i, len(s))
		}
		if p.Parts < 0 || p.Parts > chunk.MaxParts {
			fault("leaf %d is to be embedded in %d parts", i, p.Parts)
		}
		if i < 8 { // of a long text the others are no different
			out = append(out, faultsOfParts(s, 1+i%chunk.MaxParts)...)
		}
		if p.Parent < -1 || p.Parent >= i || p.Parent >= 0 && pieces[p.Parent].Level != 1 {
			fault("leaf %d has parent %d", i, p.Parent)
		}
		if p.Parent >= 0 {
			covered[p.Parent] = append(covered[p.Parent], p)
		}
	}
	if strings.TrimSpace(text[end:]) != "" {
		fault("at the end is lost: %q", text[end:])
	}
	last := 0
	for i, p := range pieces {
		if p.Level != 1 {
			continue
		}
		leaves := covered[i]
		if len(leaves) < 2 {
			fault("parent %d has %d leaves", i, len(leaves))
			continue
		}
		if p.Start != leaves[0].Start || p.End != leaves[len(leaves)-1].End || p.Start < last {
			fault("parent %d has the range [%d, %d), its leaves [%d, %d), the parent before ends at %d",
				i, p.Start, p.End, leaves[0].Start, leaves[len(leaves)-1].End, last)
		}
		last = p.End
	}
	parent := -1 // the last parent: no stranger may lie within
	for i, p := range pieces {
		switch {
		case p.Level == 1:
			parent = i
		case parent >= 0 && p.Parent != parent && p.Start < pieces[parent].End:
			fault("leaf %d lies within parent %d, which is not its own", i, parent)
		}
	}
	return out
}

// mustChunk cuts text and fails the test if the result breaks the contract.
func mustChunk(t *testing.T, h chunk.Hierarchical, text, label string) []chunk.Piece {
	t.Helper()
	return mustChunkText(t, h, chunk.Text{Content: text, Type: label})
}

func mustChunkText(t *testing.T, h chunk.Hierarchical, text chunk.Text) []chunk.Piece {
	t.Helper()
	pieces, err := h.Chunk(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	limit := h.MaxLeafTokens
	if limit == 0 {
		limit = chunk.DefaultMaxLeafTokens
	}
	for i, fault := range faults(text.Content, pieces, limit) {
		if i > 5 {
			break
		}
		t.Errorf("%s %s: %s", text.Type, text.Markup, fault)
	}
	return pieces
}

// hostile are texts that have broken chunkers.
func hostile() map[string]string {
	return map[string]string{
		"empty":              "",
		"white space":        " \t\r\n\u00a0\u2003\f\n",
		"one character":      "x",
		"byte order mark":    "\ufeff# Title\n\ntext",
		"mark alone":         "\ufeff",
		"giant word":         strings.Repeat("x", 300_000),
		"giant mixed word":   "start " + strings.Repeat("a1é数", 20_000) + " end",
		"giant base64 word":  giantBase64(100_000),
		"giant grapheme":     "Z" + strings.Repeat("\u0301\u0323", 20_000) + " a",
		"family emoji":       strings.Repeat("👨‍👩‍👧‍👦", 3_000),
		"flags":              strings.Repeat("🇩🇪🇫🇷", 3_000),
		"white space inside": "a" + strings.Repeat(" ", 100_000) + "b",
		"10k short lines":    strings.Repeat("a line\n", 10_000),
		"10k empty lines":    strings.Repeat("\n", 10_000) + "x",
		"10k paragraphs":     strings.Repeat("word\n\n", 10_000),
		"10k headings":       strings.Repeat("# h\n", 10_000),
		"nested headings":    strings.Repeat("# a\n## b\n### c\n#### d\n##### e\n###### f\n", 500),
		"long heading":       "# " + strings.Repeat("heading ", 1_000) + "\n\ntext",
		"long headings":      strings.Repeat("# "+strings.Repeat("one ", 60)+"\n## "+strings.Repeat("two ", 60)+"\n### "+strings.Repeat("three ", 60)+"\n", 3) + "end",
		"deep list":          deepList(200),
		"deep quotation":     strings.Repeat("> ", 300) + strings.Repeat("word ", 500),
		"wide table":         "| " + strings.Repeat("cell | ", 2_000) + "\n|" + strings.Repeat("---|", 2_000) + "\n| " + strings.Repeat("cell | ", 2_000),
		"open fence":         "```\n" + strings.Repeat("code line\n\n", 500),
		"empty items":        strings.Repeat("-\n- \n*\n1.\n", 300),
		"fences only":        "```\n```\n~~~\n~~~\n",
		"carriage returns":   strings.Repeat("One line.\rAnother.\r\r", 300),
		"front matter only":  "---\na: b\n---\n",
		"references":         strings.Repeat("[a]: http://example.org/a\n", 500),
		"thai":               strings.Repeat("ภาษาไทยไม่มีช่องว่างระหว่างคำ", 300),
		"chinese":            strings.Repeat("数据库索引优化指南", 500),
		"null bytes":         strings.Repeat("a\x00b ", 500),
		"private use":        strings.Repeat("\ue000", 20_000),
		"closers":            strings.Repeat("}\n)\n", 2_000),
		"numbers":            strings.Repeat("0123456789", 3_000),
	}
}

func giantBase64(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[r.IntN(64)]
	}
	return string(b)
}

func deepList(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat("  ", i) + "- an item of the list\n")
	}
	return b.String()
}

func TestContract(t *testing.T) {
	t.Parallel()
	for name, text := range hostile() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, label := range documentTypes {
				pieces := mustChunk(t, chunk.Hierarchical{}, text, label)
				if blank := strings.TrimSpace(text) == ""; blank != (len(pieces) == 0) {
					t.Errorf("%s: %d pieces", label, len(pieces))
				}
			}
		})
	}
}

func TestSmallLimits(t *testing.T) {
	t.Parallel()
	text := "# Title\n\nA paragraph of several sentences. Another one, with clauses; and Wörter 数据 👨‍👩‍👧‍👦!\n\n- " +
		strings.Repeat("item ", 30) + "\n\n" + strings.Repeat("x", 200)
	for limit := 1; limit <= 40; limit++ {
		for _, label := range documentTypes {
			mustChunk(t, chunk.Hierarchical{MaxLeafTokens: limit}, text, label)
		}
	}
}

// TestCounter checks that the limit holds for a counter whose counts do not add up.
func TestCounter(t *testing.T) {
	t.Parallel()
	h := chunk.Hierarchical{
		MaxLeafTokens: 40,
		Count:         func(s string) int { return len(s)*len(s)/500 + 1 },
		CountName:     "quadratic/1",
	}
	text := strings.Repeat("Some sentence or other. ", 200)
	pieces, err := h.Chunk(t.Context(), chunk.Text{Content: text})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pieces {
		if got := h.Count(text[p.Start:p.End]); p.Level == 0 && (got > 40 || got != p.Tokens) {
			t.Errorf("leaf of %d tokens, says %d, limit 40", got, p.Tokens)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	var h chunk.Hierarchical
	if _, err := h.Chunk(t.Context(), chunk.Text{Content: "a\xffb"}); !errors.Is(err, chunk.ErrInvalidUTF8) {
		t.Errorf("invalid UTF-8: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, label := range documentTypes {
		if _, err := h.Chunk(ctx, chunk.Text{Content: "text", Type: label}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: cancelled: %v", label, err)
		}
	}
	bad := chunk.Hierarchical{MaxLeafTokens: -1, Sizes: map[string]chunk.Size{"chat": {Leaf: -5}}, CountName: "x"}
	_, err := bad.Chunk(t.Context(), chunk.Text{Content: "text"})
	for _, want := range []string{"MaxLeafTokens", `"chat"`, "CountName"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("One more short sentence. ", 400)
	mean := func(h chunk.Hierarchical, label string) int {
		sum, n := 0, 0
		for _, p := range mustChunk(t, h, text, label) {
			if p.Level == 0 {
				sum, n = sum+p.Tokens, n+1
			}
		}
		return sum / n
	}
	var standard chunk.Hierarchical
	if chat, doc := mean(standard, "chat"), mean(standard, "text"); chat >= doc {
		t.Errorf("mean leaf of chat %d, of text %d: want smaller", chat, doc)
	}
	if other, doc := mean(standard, "never heard of"), mean(standard, "text"); other != doc {
		t.Errorf("mean leaf of an unknown type %d, of text %d: want the same", other, doc)
	}
	small := chunk.Hierarchical{Sizes: map[string]chunk.Size{"text": {Leaf: 40}}}
	for _, label := range []string{"text", "never heard of"} {
		if got := mean(small, label); got > 60 {
			t.Errorf("mean leaf of %s with 40 aimed at: %d", label, got)
		}
	}
	if got := mean(small, "report"); got < 100 {
		t.Errorf("mean leaf of report with sizes for text: %d", got)
	}
}

func TestSignature(t *testing.T) {
	t.Parallel()
	count := func(string) int { return 1 }
	seen := map[string]chunk.Hierarchical{}
	for _, h := range []chunk.Hierarchical{
		{},
		{MaxLeafTokens: 100},
		{Sizes: map[string]chunk.Size{"text": {Leaf: 100}}},
		{Sizes: map[string]chunk.Size{"text": {Parent: 100}}},
		{Sizes: map[string]chunk.Size{"chat": {Leaf: 100}}},
		{Count: count, CountName: "a"},
		{Count: count, CountName: "b"},
	} {
		s := h.Signature()
		if other, ok := seen[s]; ok {
			t.Errorf("%+v and %+v have the same signature %q", h, other, s)
		}
		seen[s] = h
	}
	var zero chunk.Hierarchical
	if a, b := zero.Signature(), (chunk.Hierarchical{MaxLeafTokens: chunk.DefaultMaxLeafTokens}).Signature(); a != b {
		t.Errorf("signatures of the default written out differ: %q, %q", a, b)
	}
}

func TestFunc(t *testing.T) {
	t.Parallel()
	want := []chunk.Piece{{End: 1, Parent: -1}}
	var c chunk.Chunker = chunk.Func{Name: "whole/1", Cut: func(context.Context, chunk.Text) ([]chunk.Piece, error) { return want, nil }}
	got, err := c.Chunk(t.Context(), chunk.Text{Content: "x"})
	if diff := cmp.Diff(want, got); diff != "" || err != nil || c.Signature() != "whole/1" {
		t.Errorf("error %v, signature %q, -want +got:\n%s", err, c.Signature(), diff)
	}
}

func TestDeterministic(t *testing.T) {
	t.Parallel()
	for name, text := range hostile() {
		a := mustChunk(t, chunk.Hierarchical{}, text, "markdown")
		if diff := cmp.Diff(a, mustChunk(t, chunk.Hierarchical{}, text, "markdown")); diff != "" {
			t.Errorf("%s: -first +second:\n%s", name, diff)
		}
	}
}

// TestTitles checks the paths of headings: without mark-up, and cut where they are as long as a paragraph.
func TestTitles(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("wörter ", 100)
	for _, c := range []struct{ heading, want string }{
		{"# Plain title", "Plain title"},
		{"## *Some* `code`, [a link](http://x/y \"z\") & more &amp; \\# ![img](x) <http://a/b>", "Some code, a link & more & # img http://a/b"},
		{"# C# and 2 * 3 \\* 4 #", "C# and 2 * 3 * 4"},
		{"Two\nlines\n===", "Two lines"},
		{"# " + long, long[:strings.LastIndex(long[:256], " ")] + "…"},
		{"# " + strings.Repeat("ü", 1000), strings.Repeat("ü", 128) + "…"},
		{"# " + strings.Repeat("*", 100_000) + "a", strings.Repeat("*", 256) + "…"},
		{strings.Repeat("a line of a title\n", 5000) + "---", strings.Repeat("a line of a title ", 14) + "a…"},
	} {
		pieces := mustChunk(t, chunk.Hierarchical{}, c.heading+"\n\n"+strings.Repeat("text ", 300), "markdown")
		last := pieces[len(pieces)-1]
		if len(last.Heading) != 1 || last.Heading[0] != c.want {
			t.Errorf("%.60q has the title %q, want %q", c.heading, last.Heading, c.want)
		}
	}
}
