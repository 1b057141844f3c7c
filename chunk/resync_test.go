package chunk_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/internal/soak"
)

// writer makes up documents with the proportions of real ones: paragraphs of one to twelve sentences, sections of one to ten
// blocks, lists, code.
type writer struct{ *rand.Rand }

func newWriter(seed uint64) writer { return writer{rand.New(rand.NewPCG(seed, 7))} }

// commonWords are what texts are made of.
var commonWords = strings.Fields("the of to and in that was for on with as his they at be this from have or by one had not but what all were when we " +
	"there can an your which their said if do will each about how up out them then she many some so these would other into has more " +
	"her two like him see time could no make than first been its who now people my made over did down only way find use may water " +
	"long little very after called just where most know market winter harbour committee reservoir signal engine letter garden " +
	"regulation surface interval account mountain pressure archive bridge")

func (w writer) sentence() string {
	var b strings.Builder
	for i := range 4 + w.IntN(22) {
		word := commonWords[w.IntN(len(commonWords))]
		if i == 0 {
			word = strings.ToUpper(word[:1]) + word[1:]
		} else {
			b.WriteByte(' ')
		}
		b.WriteString(word)
		if i > 2 && w.IntN(9) == 0 {
			b.WriteByte(',')
		}
	}
	return strings.TrimSuffix(b.String(), ",") + "."
}

func (w writer) paragraph() string {
	n := 1 + w.IntN(4)
	if w.IntN(4) == 0 {
		n += w.IntN(9)
	}
	parts := make([]string, n)
	for i := range parts {
		parts[i] = w.sentence()
	}
	return strings.Join(parts, " ")
}

func (w writer) code() string {
	var b strings.Builder
	fmt.Fprintf(&b, "// %s\nfunc name%d(a, b int) int {", w.sentence(), w.IntN(1000))
	for range 1 + w.IntN(12) {
		fmt.Fprintf(&b, "\n\tif a > %d {\n\t\tb += a * %d\n\t}", w.IntN(1000), w.IntN(100))
	}
	return b.String() + "\n\treturn b\n}"
}

// document returns the blocks of a document, which are joined by empty lines.
func (w writer) document(label string) []string { return w.blocks(label, 120) }

// blocks returns the first n blocks of a document.
func (w writer) blocks(label string, n int) (blocks []string) {
	for len(blocks) < n {
		switch {
		case label == "code":
			blocks = append(blocks, w.code())
		case label == "markdown" && w.IntN(6) == 0:
			blocks = append(blocks, strings.Repeat("#", 2+w.IntN(2))+" "+strings.Fields(w.sentence())[0]+fmt.Sprint(" ", len(blocks)))
		case label == "markdown" && w.IntN(8) == 0:
			var items []string
			for range 2 + w.IntN(6) {
				items = append(items, "- "+w.sentence())
			}
			blocks = append(blocks, strings.Join(items, "\n"))
		case label == "markdown" && w.IntN(15) == 0:
			blocks = append(blocks, "```go\n"+w.code()+"\n```")
		default:
			blocks = append(blocks, w.paragraph())
		}
	}
	return blocks
}

// edit changes words, puts sentences in, or takes a part out, all within one block and away from its ends.
func (w writer) edit(block string) string {
	words := strings.Split(block, " ")
	if len(words) < 6 {
		return ""
	}
	from := 2 + w.IntN(len(words)-4)
	to := min(from+1+w.IntN(len(words)), len(words)-2)
	var middle []string
	switch w.IntN(3) {
	case 0:
		middle = []string{"changed"}
		to = from + 1
	case 1:
		for range 1 + w.IntN(10) {
			middle = append(middle, w.sentence())
		}
		to = from
	case 2: // taken out
	}
	return strings.Join(append(append(append([]string{}, words[:from]...), middle...), words[to:]...), " ")
}

// changed returns how many leaves of one text that lie outside of the range of a block are not leaves of the other.
func changed(text string, leaves []chunk.Piece, start, end int, other map[string]int) (n int) {
	seen := map[string]int{}
	for _, leaf := range leaves {
		s := text[leaf.Start:leaf.End]
		if seen[s]++; seen[s] > other[s] && (leaf.End <= start || leaf.Start >= end) {
			n++
		}
	}
	return n
}

func leavesOf(t *testing.T, text, label, markup string) (leaves []chunk.Piece, texts map[string]int) {
	texts = map[string]int{}
	for _, p := range mustChunkText(t, chunk.Hierarchical{}, chunk.Text{Content: text, Type: label, Markup: markup}) {
		if p.Level == 0 {
			leaves = append(leaves, p)
			texts[text[p.Start:p.End]]++
		}
	}
	return leaves, texts
}

// TestEditsStayLocal checks the promise that an edit inside a paragraph changes at most three leaves outside of it.
func TestEditsStayLocal(t *testing.T) {
	t.Parallel()
	const promise = 3
	documents, edits := soak.Pick(2, 5), soak.Pick(20, 40)
	for _, label := range []string{"text", "markdown", "code", "code go", "code javascript", "email", "chat"} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			label, markup, _ := strings.Cut(label, " ")
			changes, most := 0, 0
			for seed := range uint64(documents) {
				w := newWriter(seed)
				blocks := w.document(label)
				text := strings.Join(blocks, "\n\n")
				leaves, texts := leavesOf(t, text, label, markup)
				for range edits {
					at := w.IntN(len(blocks))
					for strings.HasPrefix(blocks[at], "#") || strings.HasPrefix(blocks[at], "```") {
						at = (at + 1) % len(blocks) // a heading or a fence is no paragraph
					}
					block := w.edit(blocks[at])
					if block == "" {
						continue
					}
					start := len(strings.Join(blocks[:at], "\n\n"))
					if at > 0 {
						start += 2
					}
					edited := text[:start] + block + text[start+len(blocks[at]):]
					leaves2, texts2 := leavesOf(t, edited, label, markup)
					n := max(changed(edited, leaves2, start, start+len(block), texts),
						changed(text, leaves, start, start+len(blocks[at]), texts2))
					if n > promise {
						t.Errorf("seed %d: editing block %d changes %d leaves outside of it:\n%s\n->\n%s", seed, at, n, blocks[at], block)
					}
					most = max(most, n)
					changes += n
				}
			}
			if mean := float64(changes) / float64(documents*edits); mean > 0.5 {
				t.Errorf("%.2f leaves change on average, want at most 0.5", mean)
			}
			t.Logf("%d leaves change at most, %.2f on average", most, float64(changes)/float64(documents*edits))
		})
	}
}

// TestGrowth checks that what is appended changes only the end.
func TestGrowth(t *testing.T) {
	t.Parallel()
	w := newWriter(99)
	blocks := w.document("text")
	for n := 20; n < len(blocks); n += soak.Pick(3, 1) {
		before := strings.Join(blocks[:n], "\n\n")
		after := before + "\n\n" + blocks[n]
		leaves, _ := leavesOf(t, before, "text", "")
		_, texts := leavesOf(t, after, "text", "")
		if got := changed(before, leaves, len(before), len(before), texts); got > 3 {
			t.Errorf("appending block %d changes %d leaves", n, got)
		}
	}
}

// TestPagesInFront checks that what is put in at the front of a text leaves the passages behind it as they are: all of them where a page,
// a section or a slide begins there. Where the text before has no end but a paragraph's, its beginning may be put together with what is
// new, which may change two passages more. A passage that a head of the text was taken from, such as the names of columns, is a new one.
func TestPagesInFront(t *testing.T) {
	t.Parallel()
	type texts func(w writer, parts int) (text string, pages []int)
	join := func(head string, part func(w writer, i int) string) texts {
		return func(w writer, parts int) (string, []int) {
			var b strings.Builder
			var pages []int
			b.WriteString(head)
			for range parts {
				pages = append(pages, b.Len())
				b.WriteString(part(w, w.IntN(1_000_000)))
			}
			return b.String(), pages
		}
	}
	without := func(make texts) texts {
		return func(w writer, parts int) (string, []int) {
			text, _ := make(w, parts)
			return text, nil
		}
	}
	paragraphs := func(w writer) string { return strings.Join(w.blocks("text", 1+w.IntN(8)), "\n\n") }
	for _, c := range []struct {
		name, label, markup, head string
		make                      texts
		most                      int // passages that are new and lie behind what was put in
	}{
		{"markdown", "markdown", "", "", join("", func(w writer, i int) string { return fmt.Sprintf("# Part %d\n\n%s\n\n", i, paragraphs(w)) }), 0},
		{"html", "html", "html", "", join("", func(w writer, i int) string {
			return fmt.Sprintf("<h2>Part %d</h2>\n<p>%s</p>\n", i, strings.ReplaceAll(paragraphs(w), "\n\n", "</p>\n<p>"))
		}), 0},
		{"slides", "presentation", "markdown", "", join("", func(w writer, i int) string {
			return fmt.Sprintf("Slide %d\n\n- %s\n- %s\n- %s\n- %s\n\n", i, w.sentence(), w.sentence(), w.sentence(), w.sentence())
		}), 0},
		{"pages", "pdf", "", "", join("", func(w writer, i int) string { return strings.Join(w.blocks("text", 6+w.IntN(8)), "\n\n") + "\n\n" }), 0},
		{"javascript", "code", "javascript", "", join("", func(w writer, i int) string {
			return fmt.Sprintf("/** %s */\nfunction f%d(a) {\n\treturn a + %q;\n}\n\n", w.sentence(), i, paragraphs(w))
		}), 2},
		{"go", "code", "go", "package a\n\n", join("package a\n\n", func(w writer, i int) string { return w.code() + "\n\n" }), 2},
		{"csv", "unknown", "csv", "name,remark,number\n", join("name,remark,number\n", func(w writer, i int) string {
			return fmt.Sprintf("%d,%q,%d\n", i, w.sentence(), w.IntN(100))
		}), 2},
		{"text", "text", "", "", without(join("", func(w writer, i int) string { return paragraphs(w) + "\n\n" })), 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cut := func(text string, pages []int) (leaves []chunk.Piece) {
				for _, p := range mustChunkText(t, chunk.Hierarchical{}, chunk.Text{Content: text, Type: c.label, Markup: c.markup, Pages: pages}) {
					if p.Level == 0 {
						leaves = append(leaves, p)
					}
				}
				return leaves
			}
			for seed := range uint64(soak.Pick(2, 6)) {
				w := newWriter(seed)
				text, pages := c.make(w, 60)
				front, frontPages := c.make(w, 5)
				body := strings.TrimPrefix(text, c.head)
				for _, p := range pages {
					frontPages = append(frontPages, p+len(front)-len(c.head))
				}
				key := func(text string, p chunk.Piece) string {
					return strings.Join(p.Heading, " > ") + "\n" + text[p.Start:p.End]
				}
				stored := map[string]int{}
				leaves := cut(text, pages)
				for _, p := range leaves {
					stored[key(text, p)]++
				}
				whole, n := front+body, 0
				for _, p := range cut(whole, frontPages) {
					if stored[key(whole, p)]--; stored[key(whole, p)] < 0 && p.Start >= len(front) {
						n++
					}
				}
				if n > c.most || len(leaves) < 8 {
					t.Errorf("seed %d: %d of %d passages are new, want at most %d", seed, n, len(leaves), c.most)
				}
			}
		})
	}
}

// TestDeclarationsAreTogether checks that small declarations share leaves, that these name them all, and that none is cut or parted from
// its comment.
func TestDeclarationsAreTogether(t *testing.T) {
	t.Parallel()
	w := newWriter(3)
	for markup, form := range map[string]string{
		"go":         "// %[2]s\nfunc f%[1]d(a int) int { return a }\n\n",
		"javascript": "/** %[2]s */\nfunction f%[1]d(a) {\n\treturn a;\n}\n\n",
		"python":     "# %[2]s\ndef f%[1]d(a):\n    return a\n\n",
	} {
		var text strings.Builder
		if markup == "go" {
			text.WriteString("package p; ")
		}
		for i := range 100 {
			fmt.Fprintf(&text, form, 100+i, w.sentence())
		}
		leaves, _ := leavesOf(t, text.String(), "code", markup)
		tokens := 0
		for _, leaf := range leaves {
			s := text.String()[leaf.Start:leaf.End]
			tokens += leaf.Tokens
			var names []string
			for _, part := range strings.Split(strings.TrimPrefix(s, "package p; "), "\n\n") {
				_, name, _ := strings.Cut(strings.ReplaceAll(part, " f1", "\x00f1"), "\x00")
				if !strings.HasPrefix(part, form[:1]) || len(name) < 4 {
					t.Fatalf("%s: a declaration is cut: %q", markup, part)
				}
				names = append(names, name[:4])
			}
			if got, want := strings.Join(leaf.Heading, " > "), strings.Join(names, ", "); got != want {
				t.Errorf("%s: heading %q, want %q", markup, got, want)
			}
		}
		if mean := tokens / len(leaves); mean < 150 {
			t.Errorf("%s: %d tokens in a leaf on average, want at least 150", markup, mean)
		}
	}
}
