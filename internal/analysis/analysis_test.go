package analysis

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// show writes tokens as "term@position", extra ones with a plus.
func show(tokens []Token) string {
	var list []string
	for _, t := range tokens {
		mark := ""
		if t.Extra {
			mark = "+"
		}
		list = append(list, fmt.Sprintf("%s%s@%d", mark, t.Term, t.Position))
	}
	return strings.Join(list, " ")
}

func TestAnalyze(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, lang, text, want string }{
		{"stop words leave gaps", "en", "The runners were running", "en:runner@1 en:run@3"},
		{"contractions", "en", "I don't think it's John's", "en:think@2 en:john@4"},
		{"typographic apostrophe", "en", "don’t O’Brien’s", "en:o'brien@1"},
		{"identifier", "en", "foo_bar baz", "en:foo_bar@0 +en:foo@0 +en:bar@1 en:baz@2"},
		{"camel case", "en", "HTTPServer parseConfig", "en:httpserver@0 +en:http@0 +en:server@1 en:parseconfig@2 +en:pars@2 +en:config@3"},
		{"no camel case with one letter", "en", "iPhone PhD", "en:iphon@0 en:phd@1"},
		{"identifier too long as a whole", "en", strings.Repeat("ab_", 60) + "cd", "en:ab@0" + manyParts(60) + " en:cd@60"},
		{"version", "en", "v1.2.3", "und:v1.2.3@0"},
		{"numbers", "en", "1,000.5 in 2024, 12,34", "und:1000.5@0 und:2024@2 und:12,34@3"},
		{"e-mail", "en", "ann@example.com", "en:ann@0 en:exampl@1 en:com@2"},
		{"acronym", "en", "U.S. trade", "en:us@0 en:trade@1"},
		{"missing space", "en", "end.Start", "en:end@0 en:start@1"},
		{"hyphens", "en", "state-of-the-art", "en:state@0 en:art@3"},
		{"ligature", "en", "ﬁsh", "en:fish@0"},
		{"soft hyphen", "en", "data\u00adbase", "en:databas@0"},
		{"diacritics", "en", "naïve café", "en:naiv@0 en:cafe@1"},
		{"separators only", "en", " -- ... __ '' \t\n", ""},
		{"invalid UTF-8", "en", "good\xffmorning", "en:good@0 en:morn@1"},
		{"emoji", "en", "nice 👍🏽 work", "en:nice@0 en:work@1"},
		{"unknown language", "xx", "Running", "und:running@0"},
		{"German spellings", "de", "Häuser Haeuser Haus neue weißbier Weissbier", "de:haus@0 de:haus@1 de:haus@2 de:neu@3 de:weissbi@4 de:weissbi@5"},
		{"French elision", "fr", "L'avion qu’il aujourd'hui", "fr:avion@0 fr:aujourd'hui@2"},
		{"Italian elision", "it", "dell'università", "it:univers@0"},
		{"Spanish", "es", "las informaciones de la información", "es:inform@1 es:inform@4"},
		{"Turkish", "tr", "Ankara'nın IŞIK İstanbul", "tr:ankar@0 tr:isik@1 tr:istanbul@2"},
		{"Romanian comma and cedilla", "ro", "orașul oraşul", "ro:oras@0 ro:oras@1"},
		{"Russian", "ru", "Ёлки елки в лесу", "ru:елк@0 ru:елк@1 ru:лес@3"},
		{"Greek", "el", "Η Οδός ΟΔΟΣ", "el:οδοσ@1 el:οδοσ@2"},
		{"Arabic", "ar", "المدرسة مدرسه ٢٠٢٤", "ar:مدرس@0 ar:مدرس@1 und:2024@2"},
		{"Persian", "fa", "كتاب\u200cها کتاب", "fa:كتاب@0 fa:كتاب@2"},
		{"Hindi", "hi", "लड़कियों लड़की", "hi:लडक@0 hi:लडक@1"},
		{"Chinese", "zh", "数据库。猫", "+und:数@0 +und:据@1 und:数据@0 +und:库@2 und:据库@1 und:猫@3"},
		{"Japanese, half width", "ja", "ﾃﾞｰﾀ", "+und:デ@0 +und:ー@1 und:デー@0 +und:タ@2 und:ータ@1"},
		{"Korean beside Latin", "ko", "Go언어", "en:go@0 +und:언@1 +und:어@2 und:언어@1"},
		{"Thai", "und", "ไทย", "+und:ไ@0 +und:ท@1 und:ไท@0 +und:ย@2 und:ทย@1"},
		{"Latin in Chinese", "zh", "数据 PostgreSQL running", "+und:数@0 +und:据@1 und:数据@0 en:postgresql@2 +en:postgr@2 +en:sql@3 en:run@4"},
		{"Russian in English", "en", "the word собаки", "en:word@1 ru:собак@2"},
		{"Hebrew", "en", "שלום", "und:שלום@0"},
	}
	a := New()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for range 2 { // the second time from memory
				got, dropped := a.Analyze(tt.lang, tt.text, nil)
				if diff := cmp.Diff(tt.want, show(got)); diff != "" || dropped != 0 {
					t.Errorf("dropped %d (-want +got):\n%s", dropped, diff)
				}
			}
		})
	}
}

func manyParts(n int) string {
	var b strings.Builder
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, " en:ab@%d", i)
	}
	return b.String()
}

func TestAnalyzeQuery(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"数据库", "und:数据@0 und:据库@1"},
		{"猫", "und:猫@0"},
		{"foo_bar", "en:foo_bar@0 +en:foo@0 +en:bar@1"},
	}
	a := New()
	for _, tt := range tests {
		got, _ := a.AnalyzeQuery("en", tt.text, nil)
		if diff := cmp.Diff(tt.want, show(got)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.text, diff)
		}
	}
}

// TestAnalyzeQueryDropsStopWordsOfTheQuery checks a question against an owner
// with texts of other languages, and that a short query keeps its words.
func TestAnalyzeQueryDropsStopWordsOfTheQuery(t *testing.T) {
	t.Parallel()
	tests := []struct{ lang, text, want string }{
		{"en", "Wann wurde der Hafen in der Stadt gebaut?", "en:wann@0 en:wurd@1 en:hafen@3 en:stadt@6 en:gebaut@7"},
		{"de", "When did the city build the harbour?", "de:city@3 de:build@4 de:harbour@6"},
		{"nl", "een gebroken been", "nl:gebrok@1 nl:ben@2"},
		{"en", "die hard", "en:die@0 en:hard@1"},
	}
	a := New()
	for _, tt := range tests {
		got, _ := a.AnalyzeQuery(tt.lang, tt.text, nil)
		if diff := cmp.Diff(tt.want, show(got)); diff != "" {
			t.Errorf("%s as %s (-want +got):\n%s", tt.text, tt.lang, diff)
		}
	}
	// Stored text keeps them all.
	got, _ := a.Analyze("en", "Wann wurde der Hafen gebaut?", nil)
	if len(got) != 5 {
		t.Errorf("stored: %s", show(got))
	}
}

func TestAnalyzeDropsLongWords(t *testing.T) {
	t.Parallel()
	a := New()
	text := "short " + strings.Repeat("x", MaxTermBytes+1) + " " + strings.Repeat("é", 300_000) + " words " + strings.Repeat("z", MaxTermBytes)
	got, dropped := a.Analyze("en", text, nil)
	if want := "en:short@0 en:word@3 en:" + strings.Repeat("z", MaxTermBytes) + "@4"; show(got) != want || dropped != 2 {
		t.Errorf("got %s, dropped %d; want %s, 2", show(got), dropped, want)
	}
}

func TestAnalyzeAppends(t *testing.T) {
	t.Parallel()
	got, _ := New().Analyze("en", "cat", []Token{{Term: "kept"}})
	if want := "kept@0 en:cat@0"; show(got) != want {
		t.Errorf("got %s, want %s", show(got), want)
	}
}

func TestLength(t *testing.T) {
	t.Parallel()
	got, _ := New().Analyze("en", "the foo_bar and 数据库", nil)
	if n := Length(got); n != 3 { // foo_bar, 数据, 据库
		t.Errorf("got %d, want 3 for %s", n, show(got))
	}
}

func TestFirstLetter(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"", "Isn't", "iPhone", "kWh", "İstanbul", "été", "x1", "a_b", "l'eau", "Ilk", "ilk"} {
		if c, ok := FirstLetter(word); ok {
			t.Errorf("%q keeps its first letter %c", word, c)
		}
	}
	if c, ok := FirstLetter("Dying"); !ok || c != 'd' {
		t.Errorf("Dying: %c, %t", c, ok)
	}
	a := New()
	r := rand.New(rand.NewPCG(1, 1))
	ends := strings.Fields("a e es s ed ing ly er en em ern isse heit keit ung chen lein tion ment eux euse issant able amente ando iendo aba " +
		"eria acao ismo ista het heden hed erne erna arna ssa sta lla lle ksi iin ului ilor eaza nak nek ban ben ler lar dan lik im um at")
	for _, language := range a.Languages() {
		for n := range 5_000 {
			word := make([]byte, 1+r.IntN(8))
			for i := range word {
				word[i] = "aaeeiioouyybcdfghjklmnpqrstvwxz"[r.IntN(31)]
			}
			text := string(word) + ends[n%len(ends)]
			if n%3 == 0 {
				text = strings.ToUpper(text[:1]) + text[1:]
			}
			want, ok := FirstLetter(text)
			if !ok {
				continue
			}
			tokens, _ := a.Analyze(language, text, nil)
			for _, token := range tokens {
				if _, term, _ := strings.Cut(token.Term, ":"); term[0] != want {
					t.Fatalf("%s: %s has the term %s", language, text, token.Term)
				}
			}
		}
	}
}

// TestEnglishStopWords checks that what PostgreSQL's list drops is dropped and
// what it keeps is kept.
func TestEnglishStopWords(t *testing.T) {
	t.Parallel()
	a := New()
	if got, _ := a.Analyze("en", "i me my can will just don should now s t the themselves", nil); len(got) != 0 {
		t.Errorf("stop words kept: %s", show(got))
	}
	got, _ := a.Analyze("en", "could would cannot ought us", nil)
	if len(got) != 5 {
		t.Errorf("words dropped: %s", show(got))
	}
}

func TestAnalyzerIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	a := New()
	want, _ := a.Analyze("en", "Many hands make light work 数据库", nil)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				if got, _ := a.Analyze("en", "Many hands make light work 数据库", nil); !cmp.Equal(got, want) {
					t.Errorf("got %s, want %s", show(got), show(want))
				}
			}
		})
	}
	wg.Wait()
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	a := New()
	var b strings.Builder
	for i := range 2*maxMemo + 10 {
		fmt.Fprintf(&b, "w%d ", i)
	}
	if got, _ := a.Analyze("en", b.String(), nil); len(got) != 2*maxMemo+10 {
		t.Fatalf("%d terms", len(got))
	}
	for _, w := range a.idle {
		if n := len(w.memos["en"]); n > maxMemo {
			t.Errorf("%d words remembered", n)
		}
	}
}

func TestQueryLanguages(t *testing.T) {
	t.Parallel()
	tests := []struct {
		query string
		owned []string
		want  string
	}{
		{"running", []string{"en"}, "en"},
		{"running", []string{"en", "de", "zh"}, "de en"},
		{"laufen", []string{"de"}, "de"},
		{"laufen", []string{"de", "ru"}, "de en"}, // Latin words in Russian texts are English
		{"PostgreSQL", []string{"zh"}, "en"},
		{"собака", []string{"en", "ru"}, "ru"},
		{"собака", []string{"en"}, "ru"},
		{"PostgreSQL настройка", []string{"en", "de", "zh"}, "de en ru"},
		{"数据库", []string{"zh", "en"}, "und zh"},
		{"running", []string{"und"}, "und"},
		{"running", []string{"en", "und"}, "en und"},
		{"running", []string{}, "und"},
		{"2024", []string{"en"}, "und"},
		{"", nil, "und"},
	}
	for _, tt := range tests {
		if got := strings.Join(QueryLanguages(tt.query, tt.owned), " "); got != tt.want {
			t.Errorf("%q for %v: got %s, want %s", tt.query, tt.owned, got, tt.want)
		}
	}
	if got := QueryLanguages("собака", nil); strings.Join(got, " ") != "ru und" {
		t.Errorf("any owner: %v", got)
	}
}

// TestQueryLanguagesFind checks the promise: whatever the languages of the
// text and of the owner, a word of the text is found.
func TestQueryLanguagesFind(t *testing.T) {
	t.Parallel()
	a := New()
	for _, lang := range a.Languages() {
		for _, word := range []string{"Häuser", "running", "PostgreSQL", "настройками", "Αθήνας", "المدرسة", "लड़कियों", "数据库", "猫", "언어", "2024", "foo_bar", "שלום"} {
			terms := make(map[string]bool)
			stored, _ := a.Analyze(lang, "1 "+word+" 1", nil)
			for _, tok := range stored {
				terms[tok.Term] = true
			}
			found := false
			for _, ql := range QueryLanguages(word, []string{lang, "fr", "ru"}) {
				looked, _ := a.AnalyzeQuery(ql, word, nil)
				for _, tok := range looked {
					found = found || terms[tok.Term]
				}
			}
			if !found {
				t.Errorf("%s in %s text: not found", word, lang)
			}
		}
	}
}
