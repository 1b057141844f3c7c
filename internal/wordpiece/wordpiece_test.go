package wordpiece_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/llmemory/llmemory/internal/wordpiece"
)

// TestReference compares with the ids that the reference implementation gave (testdata/generate.py).
func TestReference(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Text string
		IDs  []int32
	}
	readJSON(t, "testdata/cases.json", &cases)
	if len(cases) < 60 {
		t.Fatalf("%d cases, want at least 60", len(cases))
	}
	tok := wordpiece.Default()
	for _, c := range cases {
		if diff := cmp.Diff(c.IDs, tok.Encode(c.Text)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.Text, diff)
		}
		if got := tok.Count(c.Text); got != len(c.IDs) {
			t.Errorf("%q: Count = %d, want %d", c.Text, got, len(c.IDs))
		}
	}
}

// TestOptions compares with the reference for tokenizers that are not those of uncased models (testdata/generate.py).
func TestOptions(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Lower, Ideographs, Special bool
		Strip                      *bool
		Text                       string
		IDs                        []int32
	}
	readJSON(t, "testdata/options.json", &cases)
	if len(cases) < 240 {
		t.Fatalf("%d cases, want at least 240", len(cases))
	}
	made := map[string]*wordpiece.Model{}
	for _, c := range cases {
		config := map[string]any{"do_lower_case": c.Lower, "strip_accents": c.Strip, "tokenize_chinese_chars": c.Ideographs}
		data, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		tok := made[string(data)]
		if tok == nil {
			tok = load(t, map[string]string{"tokenizer_config.json": string(data), "vocab.txt": vocabulary()})
			made[string(data)] = tok
		}
		if diff := cmp.Diff(c.IDs, tok.Encode(c.Text), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s, %q (-want +got):\n%s", data, c.Text, diff)
		}
		for n := 0; n < len(c.IDs); n += 1 + n/4 {
			if diff := cmp.Diff(c.IDs[:n], tok.EncodeUpTo(c.Text, n), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s, first %d of %q (-want +got):\n%s", data, n, c.Text, diff)
			}
		}
	}
}

// TestEveryCharacter compares with the reference for all characters of Unicode, each between two letters (testdata/generate.py).
func TestEveryCharacter(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("testdata/characters.txt")
	if err != nil {
		t.Fatal(err)
	}
	tok := wordpiece.Default()
	h := sha256.New()
	var line []byte
	for c := rune(1); c <= utf8.MaxRune; c++ {
		if !utf8.ValidRune(c) {
			continue
		}
		line = append(strconv.AppendInt(line[:0], int64(c), 10), ':')
		for _, id := range tok.Encode("a" + string(c) + "b") {
			line = strconv.AppendInt(append(line, ' '), int64(id), 10)
		}
		h.Write(append(line, '\n'))
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != strings.TrimSpace(string(want)) {
		t.Errorf("hash over the ids is %s, want %s", got, want)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	tok := wordpiece.Default()
	text := "Unaffordable cafe\u0301s: 数据 \u2260 한 " + strings.Repeat("x", 101)
	var got []string
	for _, token := range tok.Tokens(text) {
		got = append(got, tok.Text(token.ID)+"="+text[token.Start:token.End])
	}
	want := []string{
		"una=Una", "##ff=ff", "##ord=ord", "##able=able", "cafes=cafe\u0301s", ":=:", "[UNK]=数", "[UNK]=据", "==\u2260",
		"ᄒ=한", "##ᅡ=한", "##ᆫ=한", "[UNK]=" + strings.Repeat("x", 101),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	tok, err := wordpiece.New([]string{"[UNK]", "a", "##b", "##bc", "abc"})
	if err != nil {
		t.Fatal(err)
	}
	// Longest match first, and a word of which any part cannot be spelt is one unknown token.
	if diff := cmp.Diff([]int32{0, 4, 0, 1, 2, 1, 2, 3, 0}, tok.Encode("abcx abc b ab abbc abd")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, vocabulary := range [][]string{nil, {"a"}, {"[UNK]", "a", "a"}, {"[UNK]", ""}, {"[UNK]", "##"}} {
		if _, err := wordpiece.New(vocabulary); err == nil {
			t.Errorf("New(%q) accepted", vocabulary)
		}
	}
	if got, want := wordpiece.Default().Size(), 30522; got != want {
		t.Errorf("Size = %d, want %d", got, want)
	}
}

func TestCountDoesNotAllocate(t *testing.T) {
	tok := wordpiece.Default()
	text := "Naïve résumés of 数据库 and " + strings.Repeat("antidisestablishmentarianism ", 10)
	if n := testing.AllocsPerRun(20, func() { tok.Count(text) }); n != 0 {
		t.Errorf("Count allocates %v times", n)
	}
}

func FuzzTokens(f *testing.F) {
	for _, s := range []string{"Hello, wörld!", "한국어 \x00\xff", "e\u0301\u0301 豈\u2260", strings.Repeat("é", 101)} {
		f.Add(s)
	}
	tok := wordpiece.Default()
	f.Fuzz(func(t *testing.T, text string) {
		tokens := tok.Tokens(text)
		if got := tok.Count(text); got != len(tokens) {
			t.Errorf("Count = %d, Tokens has %d", got, len(tokens))
		}
		if twice := tok.Count(text + " " + text); twice != 2*len(tokens) {
			t.Errorf("Count of the text twice = %d, want %d", twice, 2*len(tokens))
		}
		last := 0
		for _, token := range tokens {
			if token.Start < last || token.End < token.Start || token.End > len(text) {
				t.Fatalf("token %+v after offset %d in %d bytes", token, last, len(text))
			}
			last = token.Start // not End: the letters of one Hangul syllable share its place
			if utf8.ValidString(text) && !utf8.ValidString(text[token.Start:token.End]) {
				t.Fatalf("token %+v cuts a character", token)
			}
		}
	})
}

func BenchmarkCount(b *testing.B) {
	tok := wordpiece.Default()
	for name, text := range map[string]string{
		"english": strings.Repeat("The committee's unforeseen recommendations were published on Tuesday, 12 March. ", 200),
		"russian": strings.Repeat("Съешь же ещё этих мягких французских булок, да выпей чаю. ", 200),
		"chinese": strings.Repeat("数据库索引优化指南。第一章：概述。", 200),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tok.Count(text)
			}
		})
	}
}
