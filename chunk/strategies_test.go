package chunk_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/internal/soak"
	"github.com/llmemory/llmemory/internal/wordpiece"
)

// markups are those with a structure of their own, and one of the others.
var markups = []string{"markdown", "html", "csv", "tsv", "go", "python", "javascript", "rust", "ruby", "cobol"}

// strategy is a chunker with the limit that its leaves keep, their overlap included.
type strategy struct {
	name  string
	cut   chunk.Chunker
	limit int
	local bool // an edit stays local
}

// strategies returns one of each kind that has one size for all texts, of about the given size.
func strategies(tokens int) []strategy {
	return []strategy{
		{"fixed", chunk.Fixed{Tokens: tokens}, tokens, false},
		{"fixed, overlapping", chunk.Fixed{Tokens: tokens, Overlap: tokens / 2}, tokens, false},
		{"sentence", chunk.Sentence{Tokens: tokens}, tokens, true},
		{"sentence, overlapping", chunk.Sentence{Tokens: tokens, Overlap: 2}, tokens, true},
		{"semantic", chunk.Semantic{Tokens: tokens, Embed: letters, EmbedName: "letters"}, tokens, true},
		{"semantic, without neighbours", chunk.Semantic{Tokens: tokens, Buffer: -1, Embed: letters, EmbedName: "letters"}, tokens, true},
	}
}

// letters is an embedder that knows nothing but how often each byte occurs.
func letters(_ context.Context, texts []string) ([][]float32, error) {
	out := make([][]float32, len(texts))
	for i, text := range texts {
		out[i] = make([]float32, 64)
		for at := range len(text) {
			out[i][text[at]%64]++
		}
	}
	return out, nil
}

// TestSemantic checks that cuts lie where the subject changes, and what comes of an embedder that fails.
func TestSemantic(t *testing.T) {
	t.Parallel()
	subjects := []string{"The tide comes in twice a day. ", "We brew beer from barley. ", "Trains run on iron rails. "}
	var text strings.Builder
	for i := range 30 {
		text.WriteString(strings.Repeat(subjects[i%3], 7+i%4))
	}
	about := func(_ context.Context, texts []string) ([][]float32, error) {
		out := make([][]float32, len(texts))
		for i, s := range texts {
			out[i] = []float32{0.01, float32(strings.Count(s, "tide")), float32(strings.Count(s, "beer")), float32(strings.Count(s, "iron"))}
		}
		return out, nil
	}
	s := chunk.Semantic{Tokens: 90, Embed: about, EmbedName: "about", Buffer: -1}
	mixed := 0
	pieces := check(t, strategy{"semantic", s, 90, true}, chunk.Text{Content: text.String()})
	for _, p := range pieces {
		found := 0
		for _, word := range []string{"tide", "beer", "iron"} {
			if strings.Contains(text.String()[p.Start:p.End], word) {
				found++
			}
		}
		if found > 1 {
			mixed++
		}
	}
	if len(pieces) < 30 || mixed > 0 {
		t.Errorf("%d of %d leaves have several subjects", mixed, len(pieces))
	}
	broken := errors.New("broken")
	for want, embed := range map[string]chunk.EmbedFunc{
		"broken":    func(context.Context, []string) ([][]float32, error) { return nil, broken },
		"0 vectors": func(context.Context, []string) ([][]float32, error) { return nil, nil },
		"direction": func(_ context.Context, texts []string) ([][]float32, error) {
			return make([][]float32, len(texts)), nil
		},
		"1 and 2": func(_ context.Context, texts []string) ([][]float32, error) {
			out := make([][]float32, len(texts))
			for i := range out {
				out[i] = []float32{1, 2}[:1+min(i, 1)]
			}
			return out, nil
		},
	} {
		s.Embed = embed
		_, err := s.Chunk(t.Context(), chunk.Text{Content: text.String()})
		if err == nil || !strings.Contains(err.Error(), want) || want == "broken" && !errors.Is(err, broken) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// overlapFaults returns what is wrong with the overlaps of a result, which no other check looks at.
func overlapFaults(text string, pieces []chunk.Piece, limit int) (out []string) {
	for i, p := range pieces {
		if p.Level > 0 {
			if p.Overlap != 0 {
				out = append(out, fmt.Sprintf("parent %d overlaps", i))
			}
			continue
		}
		from := p.Start - p.Overlap
		switch {
		case p.Overlap < 0 || from < 0:
			out = append(out, fmt.Sprintf("leaf %d [%d, %d) overlaps by %d", i, p.Start, p.End, p.Overlap))
		case p.Overlap > 0 && !utf8.ValidString(text[from:p.Start]):
			out = append(out, fmt.Sprintf("the overlap of leaf %d cuts a character", i))
		case p.Overlap > 0 && wordpiece.Default().Count(text[from:p.End]) > limit:
			out = append(out, fmt.Sprintf("leaf %d with its overlap is over the limit", i))
		}
	}
	return out
}

func check(t *testing.T, s strategy, text chunk.Text) []chunk.Piece {
	t.Helper()
	pieces, err := s.cut.Chunk(t.Context(), text)
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	for _, fault := range append(faults(text.Content, pieces, s.limit), overlapFaults(text.Content, pieces, s.limit)...) {
		t.Errorf("%s: %s", s.name, fault)
	}
	return pieces
}

func TestStrategiesKeepTheContract(t *testing.T) {
	t.Parallel()
	for name, text := range hostile() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.ToValidUTF8(text[:min(len(text), soak.Pick(6000, 20_000))], "")
			for _, s := range append(strategies(200), strategies(7)...) {
				first := check(t, s, chunk.Text{Content: text})
				if blank := strings.TrimSpace(text) == ""; blank != (len(first) == 0) {
					t.Errorf("%s: %d pieces", s.name, len(first))
				}
				if second := check(t, s, chunk.Text{Content: text}); !cmp.Equal(first, second) {
					t.Errorf("%s: another result the second time", s.name)
				}
			}
		})
	}
}

// TestStructuresKeepTheContract reads hostile texts in every way.
func TestStructuresKeepTheContract(t *testing.T) {
	t.Parallel()
	all := hostile()
	all["open tags"] = strings.Repeat("<div><p><b>", 3000)
	all["closed tags"] = strings.Repeat("<p></p>text</div>", 2000)
	all["table in table"] = strings.Repeat("<table><tr><th>a<td>b<tr><td>c", 500) + strings.Repeat("</table>", 500)
	all["long title"] = "<h1>" + strings.Repeat("word <i>in</i> ", 3000) + "</h1>text"
	all["quotation marks"] = "a,b\n" + strings.Repeat("\"x,", 5000)
	all["open brackets"] = strings.Repeat("class A {\n", 3000)
	all["closing brackets"] = strings.Repeat("}\n", 5000)
	all["functions"] = strings.Repeat("def f(x):\n    return \"\"\"x\"\"\"\n\n", 1000)
	all["methods"] = "class A {\n" + strings.Repeat("  // a comment\n  int f(int x) { return x; }\n", 1000) + "}\n"
	all["go"] = "package a\n\n" + strings.Repeat("// F is one.\nfunc F(x int) int {\n\treturn x\n}\n\n", 1000)
	all["broken go"] = "package a\n\n" + strings.Repeat("func F(x int int {\n\treturn x\n}\n\n", 300)
	for name, text := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.ToValidUTF8(text[:min(len(text), soak.Pick(12_000, 40_000))], "")
			for _, markup := range markups {
				for _, label := range []string{"unknown", "presentation"} {
					pieces := mustChunkText(t, chunk.Hierarchical{}, chunk.Text{Content: text, Type: label, Markup: markup, Pages: []int{0, 7, len(text) / 2}})
					if blank := strings.TrimSpace(text) == ""; blank != (len(pieces) == 0) {
						t.Errorf("%s %s: %d pieces", label, markup, len(pieces))
					}
					if label == "presentation" && markup != "markdown" {
						break
					}
				}
			}
		})
	}
}

func TestStrategiesFail(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, s := range strategies(20) {
		if _, err := s.cut.Chunk(t.Context(), chunk.Text{Content: "a\xffb"}); !errors.Is(err, chunk.ErrInvalidUTF8) {
			t.Errorf("%s: invalid UTF-8: %v", s.name, err)
		}
		if _, err := s.cut.Chunk(ctx, chunk.Text{Content: "text"}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: cancelled: %v", s.name, err)
		}
	}
	for want, cut := range map[string]chunk.Chunker{
		"chunk.Fixed: negative Tokens":              chunk.Fixed{Tokens: -1},
		"chunk.Fixed: negative Overlap":             chunk.Fixed{Overlap: -1},
		"an Overlap of 200":                         chunk.Fixed{Overlap: 200},
		"chunk.Fixed: one of Count":                 chunk.Fixed{CountName: "x"},
		"chunk.Sentence: negative Tokens":           chunk.Sentence{Tokens: -1},
		"negative Overlap: -2":                      chunk.Sentence{Overlap: -2},
		"chunk.Semantic: needs Embed and EmbedName": chunk.Semantic{Tokens: 3},
		`unknown Structure "poem"`:                  chunk.Hierarchical{Structure: "poem"},
	} {
		if _, err := cut.Chunk(t.Context(), chunk.Text{Content: "text"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %s", cut, err, want)
		}
	}
}

// TestStrategySignatures checks that different settings have different signatures, and defaults written out the same.
func TestStrategySignatures(t *testing.T) {
	t.Parallel()
	count := func(string) int { return 1 }
	seen := map[string]bool{}
	for _, c := range []chunk.Chunker{
		chunk.Fixed{}, chunk.Fixed{Tokens: 100}, chunk.Fixed{Overlap: 10}, chunk.Fixed{Count: count, CountName: "a"},
		chunk.Sentence{}, chunk.Sentence{Tokens: 100}, chunk.Sentence{Overlap: 10}, chunk.Sentence{Count: count, CountName: "a"},
		chunk.Semantic{}, chunk.Semantic{EmbedName: "a"}, chunk.Semantic{Buffer: 2}, chunk.Semantic{Buffer: -1}, chunk.Semantic{Tokens: 100},
		chunk.Hierarchical{}, chunk.Hierarchical{Structure: chunk.Markdown}, chunk.Hierarchical{Structure: chunk.Code},
	} {
		if s := c.Signature(); seen[s] {
			t.Errorf("%q is the signature of two chunkers", s)
		} else {
			seen[s] = true
		}
	}
	if a, b := (chunk.Fixed{}).Signature(), (chunk.Fixed{Tokens: chunk.DefaultTokens}).Signature(); a != b {
		t.Errorf("signatures of the default written out differ: %q, %q", a, b)
	}
}

// TestFixed checks the windows: full, but for the last, and beginning with the end of the one before.
func TestFixed(t *testing.T) {
	t.Parallel()
	var words []string
	for i := range 1000 {
		words = append(words, string(rune('a'+i%26))) // a token each
	}
	text := strings.Join(words, " ")
	for _, f := range []chunk.Fixed{{}, {Tokens: 400}, {Tokens: 400, Overlap: 200}, {Tokens: 50, Overlap: 49}} {
		size := f.Tokens
		if size == 0 {
			size = chunk.DefaultTokens
		}
		pieces := check(t, strategy{"fixed", f, size, false}, chunk.Text{Content: text})
		for i, p := range pieces {
			want := size - f.Overlap
			if i == 0 {
				want = size
			}
			last := i == len(pieces)-1
			if p.Tokens != want && !last || p.Tokens > want {
				t.Errorf("%+v: leaf %d of %d tokens, want %d", f, i, p.Tokens, want)
			}
			if got := len(strings.Fields(text[p.Start-p.Overlap : p.Start])); i > 0 && got != f.Overlap {
				t.Errorf("%+v: leaf %d repeats %d tokens", f, i, got)
			}
		}
	}
}

// TestFixedCounter checks that the limit holds for a counter whose counts do not add up.
func TestFixedCounter(t *testing.T) {
	t.Parallel()
	count := func(s string) int { return len(s)*len(s)/500 + 1 }
	text := strings.Repeat("Some sentence or other. ", 200)
	for _, cut := range []chunk.Chunker{
		chunk.Fixed{Tokens: 40, Overlap: 10, Count: count, CountName: "quadratic"},
		chunk.Sentence{Tokens: 40, Overlap: 1, Count: count, CountName: "quadratic"},
	} {
		pieces, err := cut.Chunk(t.Context(), chunk.Text{Content: text})
		if err != nil || len(pieces) < 20 {
			t.Fatal(len(pieces), err)
		}
		for i, p := range pieces {
			if got := count(text[p.Start-p.Overlap : p.End]); got > 40 {
				t.Errorf("%s: leaf %d of %d tokens, limit 40", cut.Signature(), i, got)
			}
		}
	}
}

// TestSentence checks that sentences stay whole, and that the overlap is made of whole ones.
func TestSentence(t *testing.T) {
	t.Parallel()
	text := strings.Join(newWriter(5).document("text"), "\n\n")
	for _, s := range []chunk.Sentence{{}, {Tokens: 80}, {Overlap: 2}} {
		limit, overlapping := s.Tokens, 0
		if limit == 0 {
			limit = chunk.DefaultTokens
		}
		pieces := check(t, strategy{"sentence", s, limit, true}, chunk.Text{Content: text})
		tokens := 0
		for i, p := range pieces {
			tokens += p.Tokens
			if !strings.HasSuffix(text[p.Start:p.End], ".") {
				t.Errorf("%+v: leaf %d ends within a sentence: …%s", s, i, text[p.End-30:p.End])
			}
			if over := strings.TrimSpace(text[p.Start-p.Overlap : p.Start]); over != "" {
				overlapping++
				if !strings.HasSuffix(over, ".") || strings.ToUpper(over[:1]) != over[:1] {
					t.Errorf("%+v: the overlap of leaf %d is no sentence: %s", s, i, over)
				}
			}
		}
		if mean := tokens / len(pieces); mean < limit/2 {
			t.Errorf("%+v: leaves have %d tokens on average, there is room for %d", s, mean, limit)
		}
		if (overlapping > len(pieces)/2) != (s.Overlap > 0) {
			t.Errorf("%+v: %d leaves of %d overlap", s, overlapping, len(pieces))
		}
	}
}

// TestStrategyEdits checks that an edit inside a paragraph changes at most three leaves outside of it, and that a page which is
// put in at the front changes at most two: those that come to lie beside it.
func TestStrategyEdits(t *testing.T) {
	t.Parallel()
	cutTexts := func(s strategy, text string) ([]chunk.Piece, map[string]int) {
		texts := map[string]int{}
		pieces := check(t, s, chunk.Text{Content: text})
		for _, p := range pieces {
			texts[text[p.Start:p.End]]++
		}
		return pieces, texts
	}
	for _, s := range strategies(200) {
		if !s.local {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(soak.Pick(1, 3)) {
				w := newWriter(seed)
				blocks := w.document("text")
				text := strings.Join(blocks, "\n\n")
				pieces, texts := cutTexts(s, text)
				for range 20 {
					at := w.IntN(len(blocks))
					block := w.edit(blocks[at])
					if block == "" {
						continue
					}
					start := len(strings.Join(blocks[:at], "\n\n"))
					if at > 0 {
						start += 2
					}
					edited := text[:start] + block + text[start+len(blocks[at]):]
					pieces2, texts2 := cutTexts(s, edited)
					n := max(changed(edited, pieces2, start, start+len(block), texts), changed(text, pieces, start, start+len(blocks[at]), texts2))
					if n > 3 {
						t.Errorf("seed %d: editing block %d changes %d leaves outside of it", seed, at, n)
					}
				}
				page := strings.Join(newWriter(seed+100).blocks("text", 12), "\n\n") + "\n\n"
				_, texts2 := cutTexts(s, page+text)
				if n := changed(text, pieces, 0, 0, texts2); n > 2 {
					t.Errorf("seed %d: a page in front changes %d leaves", seed, n)
				}
			}
		})
	}
}
