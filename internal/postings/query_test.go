package postings

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseQuery(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text    string
		words   string
		phrases []string
		exclude []string
	}{
		{text: "plain words", words: "plain words"},
		{text: `the "quick brown" fox`, words: "the  quick brown  fox", phrases: []string{"quick brown"}},
		{text: "„der Hund“ und «le chat» “dog”", words: "der Hund  und  le chat   dog", phrases: []string{"der Hund", "le chat", "dog"}},
		{text: "「猫」", words: "猫", phrases: []string{"猫"}},
		{text: `cats -dogs -"wild birds"`, words: "cats", exclude: []string{"dogs", "wild birds"}},
		{text: "-first then", words: "then", exclude: []string{"first"}},
		{text: "state-of-the-art a - b -5 --flag -", words: "state-of-the-art a - b -5 --flag -"},
		{text: "-état", exclude: []string{"état"}},
		{text: "-état-major x", words: "x", exclude: []string{"état-major"}},
		{text: `an "unbalanced quote`, words: `an "unbalanced quote`},
		{text: `-"unbalanced`, words: `-"unbalanced`},
		{text: `"" "  " -""`, words: ""},
		{text: "tab\t-no", words: "tab", exclude: []string{"no"}},
		{text: "", words: ""},
		{text: "\xff\"a\"", words: "\xff a", phrases: []string{"a"}},
	}
	for _, tt := range tests {
		words, phrases, exclude := ParseQuery(tt.text)
		if words != tt.words || !cmp.Equal(phrases, tt.phrases) || !cmp.Equal(exclude, tt.exclude) {
			t.Errorf("%q: got %q %q %q, want %q %q %q", tt.text, words, phrases, exclude, tt.words, tt.phrases, tt.exclude)
		}
	}
}

// analyzeWords is a plain analysis: words tagged by language, digits neutral,
// "the" dropped in English.
func analyzeWords(lang, text string) []Token {
	var tokens []Token
	for i, w := range strings.Fields(text) {
		switch {
		case lang == "en" && w == "the":
		case w[0] >= '0' && w[0] <= '9':
			tokens = append(tokens, Token{Term: "und:" + w, Position: i})
		default:
			tokens = append(tokens, Token{Term: lang + ":" + w, Position: i})
		}
	}
	return tokens
}

func TestBuild(t *testing.T) {
	t.Parallel()
	got := Build(analyzeWords, []string{"en", "de"}, `dog dog 7 "the cat of 7" -"the" -bird`)
	want := Query{
		Terms: []Weighted{
			{"de:cat", 1}, {"de:dog", 2}, {"de:of", 1}, {"de:the", 1},
			{"en:cat", 1}, {"en:dog", 2}, {"en:of", 1}, {"und:7", 2},
		},
		Phrases: []Phrase{{
			{{"en:cat", 0}, {"en:of", 1}, {"und:7", 2}},
			{{"de:the", 0}, {"de:cat", 1}, {"de:of", 2}, {"und:7", 3}},
		}},
		Exclude: []Phrase{
			{{{"de:the", 0}}},
			{{{"en:bird", 0}}, {{"de:bird", 0}}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	conditions := BuildConditions(analyzeWords, []string{"en", "de"}, `dog dog 7 "the cat of 7" -"the" -bird`)
	if diff := cmp.Diff(Query{Phrases: want.Phrases, Exclude: want.Exclude}, conditions); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}
	if q := Build(analyzeWords, []string{"en"}, `"the" -the 7`); len(q.Phrases) != 0 || len(q.Exclude) != 0 {
		t.Errorf("phrases of stop words are kept: %+v", q)
	}
	if q := Build(analyzeWords, []string{"en", "de"}, `"7 7"`); len(q.Phrases) != 1 || len(q.Phrases[0]) != 1 {
		t.Errorf("equal variants are kept twice: %+v", q)
	}
}

func TestLookups(t *testing.T) {
	t.Parallel()
	q := Build(analyzeWords, []string{"en"}, `dog "wild cat" "bird" -"sea lion" -fish`)
	want := []Lookup{{"en:bird", false}, {"en:cat", true}, {"en:dog", false}, {"en:fish", false}, {"en:lion", true}, {"en:sea", true}, {"en:wild", true}}
	if diff := cmp.Diff(want, q.Lookups()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSearchPhrases(t *testing.T) {
	t.Parallel()
	docs := []Doc{
		doc(0, "en:wild", "en:cat", "en:and", "en:dog"),
		doc(1, "en:cat", "en:wild", "en:dog"),
		doc(2, "de:wild", "de:cat"),
		doc(3, "en:cat", "en:cat", "en:wild", "en:wild", "en:cat"),
		doc(4, "en:cat"),
	}
	stats := Stats{Documents: 5, Length: 15}
	tests := []struct {
		query string
		want  []uint64 // ascending
	}{
		{"cat", []uint64{0, 1, 2, 3, 4}},
		{`"wild cat"`, []uint64{0, 2, 3}},
		{`"cat wild"`, []uint64{1, 3}},
		{`"cat cat"`, []uint64{3}},
		{`cat -"wild cat"`, []uint64{1, 4}},
		{`cat -wild`, []uint64{4}},
		{`cat "wild"`, []uint64{0, 1, 2, 3}},
		{`"the wild cat"`, []uint64{0, 3}}, // the stop word is a gap in English alone
		{`"wild cat" "dog"`, []uint64{0}},
		{`"wild bird"`, nil},
		{`-wild`, nil}, // nothing to rank by
	}
	for _, tt := range tests {
		q := Build(analyzeWords, []string{"en", "de"}, tt.query)
		var sources []Source
		for _, d := range docs {
			sources = append(sources, source(t, nil, d))
		}
		for _, list := range [][]Source{sources, {source(t, nil, docs...)}} {
			hits, err := Search(q, list, stats, Options{})
			if err != nil {
				t.Fatal(err)
			}
			found := NewSet()
			for _, h := range hits {
				found.Add(h.Ordinal)
			}
			var got []uint64
			for o := range found.All() {
				got = append(got, o)
			}
			if !cmp.Equal(got, tt.want) {
				t.Errorf("%s in %d segments: got %v, want %v", tt.query, len(list), got, tt.want)
			}
		}
	}
}
