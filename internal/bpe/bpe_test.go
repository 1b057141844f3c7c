package bpe

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The built-in vocabulary is the published one, rank for rank.
func TestVocabulary(t *testing.T) {
	t.Parallel()
	tokens := make([]string, len(CL100K().ranks))
	for token, rank := range CL100K().ranks {
		tokens[rank] = token
	}
	h := sha256.New()
	for rank, token := range tokens {
		fmt.Fprintf(h, "%s %d\n", base64.StdEncoding.EncodeToString([]byte(token)), rank)
	}
	const want = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7" // of cl100k_base.tiktoken
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("SHA-256 %s, want %s", got, want)
	}
}

// Counts agree with those of another implementation.
func TestCount(t *testing.T) {
	t.Parallel()
	file, err := os.Open("testdata/cl100k.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	n := 0
	for lines.Scan() {
		count, quoted, ok := strings.Cut(lines.Text(), "\t")
		if !ok {
			continue
		}
		text, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatal(err)
		}
		if got := CL100K().Count(text); strconv.Itoa(got) != count {
			t.Errorf("Count(%.60q) = %d, want %s", text, got, count)
		}
		n++
	}
	if err := lines.Err(); err != nil || n < 60 {
		t.Errorf("%d texts, %v", n, err)
	}
}

// Where the white space between two line ends goes is a question of how a pattern backtracks.
func TestWordsOfSpace(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"\n \n":      "\n \n|",
		"\n  \nx":    "\n  \n|x|",
		" \n x":      " \n| x|",
		"  \r\n\t x": "  \r\n|\t| x|",
		"   x":       "  | x|",
		"   1":       "  | |1|",
		" \t":        " \t|",
		"x \u00a0y":  "x| |\u00a0y|",
	}
	for text, want := range tests {
		var got strings.Builder
		for rest := text; rest != ""; {
			n := word(rest)
			got.WriteString(rest[:n] + "|")
			rest = rest[n:]
		}
		if got.String() != want {
			t.Errorf("words of %q are %q, want %q", text, got.String(), want)
		}
	}
}

// A text without any word borders costs no more than a little over its length.
func TestLongWord(t *testing.T) {
	t.Parallel()
	start := time.Now()
	if got := CL100K().Count(strings.Repeat("漢字", 100_000)); got < 200_000 {
		t.Errorf("%d tokens", got)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}

// naive joins pairs as the method is told: look through all, take the lowest rank, again.
func naive(ranks map[string]int32, word string) int {
	var parts []string
	for i := range len(word) {
		parts = append(parts, word[i:i+1])
	}
	for {
		best, at := int32(-1), -1
		for i := range len(parts) - 1 {
			if rank, ok := ranks[parts[i]+parts[i+1]]; ok && (at < 0 || rank < best) {
				best, at = rank, i
			}
		}
		if at < 0 {
			return len(parts)
		}
		parts = append(append(parts[:at:at], parts[at]+parts[at+1]), parts[at+2:]...)
	}
}

func FuzzCount(f *testing.F) {
	for _, text := range []string{"", "Hello, World's 1234", "\n \n  x", "漢字かな", "a\xffb\xc3", "eeebbbx rbbbbbqqpppppp", "'Ll'", "   \u00a0\u2003x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 2000 {
			return
		}
		want := 0
		for rest := text; rest != ""; {
			n := word(rest)
			if n < 1 || n > len(rest) {
				t.Fatalf("word(%q) = %d", rest, n)
			}
			want += naive(CL100K().ranks, rest[:n])
			rest = rest[n:]
		}
		if got := CL100K().Count(text); got != want {
			t.Errorf("Count(%q) = %d, want %d", text, got, want)
		}
	})
}

func BenchmarkCount(b *testing.B) {
	text := strings.Repeat("The index is read in pages of neighbouring terms, each of about two kilobytes. Größenordnung: 1,234 ms.\n", 50)
	CL100K()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		CL100K().Count(text)
	}
}
