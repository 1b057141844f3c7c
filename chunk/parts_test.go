package chunk_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/chunk"
)

// faultsOfParts tells what is wrong with the parts of a passage: text that is lost, twice or moved, more parts than asked for, empty
// ones, and characters that are cut.
func faultsOfParts(text string, n int) (out []string) {
	list := chunk.Parts(text, n)
	squeezed := func(s string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) {
				return -1
			}
			return r
		}, s)
	}
	if len(list) < 1 || len(list) > n {
		out = append(out, fmt.Sprintf("%d parts, not 1 to %d", len(list), n))
	}
	for i, part := range list {
		if strings.TrimSpace(part) == "" || !utf8.ValidString(part) {
			out = append(out, fmt.Sprintf("part %d of %d is %q", i, n, part))
		}
	}
	if squeezed(strings.Join(list, "")) != squeezed(text) {
		out = append(out, fmt.Sprintf("%q falls into %q", text, list))
	}
	return out
}

func TestParts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		n          int
		want       []string
	}{
		{"the whole", "One. Two.", 1, []string{"One. Two."}},
		{"the whole by default", "One. Two.", 0, []string{"One. Two."}},
		{"sentences", "The first is here. The second is there. And the third.", 2, []string{"The first is here.", "The second is there. And the third."}},
		{"no cut after an abbreviation", "It was shown by Dr. Miller in the spring. Nobody minded that very much.", 2,
			[]string{"It was shown by Dr. Miller in the spring.", "Nobody minded that very much."}},
		{"an end that is too far away", "It was shown by her in the spring of that year and the next. Nobody minded.", 2,
			[]string{"It was shown by her in the spring of", "that year and the next. Nobody minded."}},
		{"no capitals", "the flow is laminar here . nothing was said of the rest . so it is unknown .", 2,
			[]string{"the flow is laminar here .", "nothing was said of the rest . so it is unknown ."}},
		{"lines", "alpha beta gamma\ndelta epsilon\nzeta eta theta", 3, []string{"alpha beta gamma", "delta epsilon", "zeta eta theta"}},
		{"a sentence that is too long", "this goes on and on without any mark at all until it ends", 2,
			[]string{"this goes on and on without", "any mark at all until it ends"}},
		{"one word", "abcdefgh", 2, []string{"abcd", "efgh"}},
		{"no spaces", "数据库索引查询语言", 3, []string{"数据库", "索引查", "询语言"}},
		{"one character", "数", 4, []string{"数"}},
		{"fewer than asked for", "a b", 4, []string{"a", "b"}},
	} {
		if diff := cmp.Diff(c.want, chunk.Parts(c.text, c.n)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		for n := 1; n <= chunk.MaxParts; n++ {
			if found := faultsOfParts(c.text, n); len(found) > 0 {
				t.Errorf("%s: %s", c.name, strings.Join(found, "\n"))
			}
		}
	}
}

// Leaves are embedded in parts as their sizes say, and as a whole where that is wished.
func TestPartTokens(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 60 {
		fmt.Fprintf(&text, "Sentence number %d tells of something that nobody has heard before. ", i)
	}
	for _, c := range []struct {
		tokens int
		want   func(tokens int) int
	}{
		{0, func(tokens int) int { return (tokens + chunk.DefaultPartTokens - 1) / chunk.DefaultPartTokens }},
		{20, func(tokens int) int { return min((tokens+19)/20, chunk.MaxParts) }},
		{-1, func(int) int { return 1 }},
	} {
		h := chunk.Hierarchical{PartTokens: c.tokens}
		pieces, err := h.Chunk(t.Context(), chunk.Text{Content: text.String()})
		if err != nil {
			t.Fatal(err)
		}
		most := 0
		for _, p := range pieces {
			if p.Level == 0 && p.Parts != c.want(p.Tokens) || p.Level > 0 && p.Parts != 0 {
				t.Errorf("PartTokens %d: a piece of level %d with %d tokens is embedded in %d parts", c.tokens, p.Level, p.Tokens, p.Parts)
			}
			most = max(most, p.Parts)
		}
		if most < 2 && c.tokens >= 0 {
			t.Errorf("PartTokens %d: at most %d parts", c.tokens, most)
		}
		if c.tokens != 0 && h.Signature() == (chunk.Hierarchical{}).Signature() {
			t.Errorf("PartTokens %d is not part of the signature", c.tokens)
		}
	}
}
