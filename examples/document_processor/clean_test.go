package processor

import "testing"

func TestClean(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in, content, title string
		words                    int
	}{
		{"empty", "", "", "", 0},
		{"blank", " \n\t\n", "", "", 0},
		{"plain", "one two", "one two", "one two", 2},
		{"heading", "## A title ##\n\ntext", "## A title ##\n\ntext", "A title", 5},
		{"page numbers", "a\nPage 1\nb\n page 2 of 10 \nc", "a\nb\nc", "a", 3},
		{"a sentence about a page", "Page 1 is missing", "Page 1 is missing", "Page 1 is missing", 4},
		{"empty lines", "\n\na  \n\n\n\nb\n\n", "a\n\nb", "a", 2},
		{"Windows", "a\r\n\r\nb\r\n", "a\n\nb", "a", 2},
	} {
		content, title, words := clean(c.in)
		if content != c.content || title != c.title || words != c.words {
			t.Errorf("%s: %q, %q, %d; want %q, %q, %d", c.name, content, title, words, c.content, c.title, c.words)
		}
	}
}
