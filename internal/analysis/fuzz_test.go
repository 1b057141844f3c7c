package analysis

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzAnalyze(f *testing.F) {
	for _, s := range []string{
		"The runners' foo_bar HTTPServer v1.2.3", "L’avion d'été", "数据库 Go언어 ไทย", "\xff\xfe", "а́ ё", "١٢٣ लड़कियों",
		"e\u0301\u0301\u0301", "_'_'", "a.b.c:d", "1,000,0", strings.Repeat("\u0301", 200), "漢\u0301\u0301",
	} {
		for i := range languageNames {
			f.Add(uint8(i), s)
		}
	}
	a := New()
	f.Fuzz(func(t *testing.T, lang uint8, text string) {
		name := languageNames[int(lang)%len(languageNames)]
		tokens, dropped := a.Analyze(name, text, nil)
		if dropped < 0 || dropped > len(text) {
			t.Errorf("dropped %d", dropped)
		}
		last := 0
		terms := make(map[string]bool)
		for _, tok := range tokens {
			tag, term, _ := strings.Cut(tok.Term, ":")
			if !Supported(tag) || term == "" || len(term) > MaxTermBytes || !utf8.ValidString(term) || strings.ContainsRune(term, 0) {
				t.Errorf("term %q", tok.Term)
			}
			// A pair is told when its second character is seen.
			if tok.Position < 0 || tok.Position < last-2 && !tok.Extra {
				t.Errorf("position %d after %d", tok.Position, last)
			}
			last = max(last, tok.Position)
			terms[tok.Term] = true
		}
		if n := Length(tokens); n > len(tokens) || n == 0 && len(tokens) > 0 {
			t.Errorf("length %d of %d tokens", n, len(tokens))
		}
		// Whatever is looked for by its own text is there to be found.
		query, _ := a.AnalyzeQuery(name, text, nil)
		for _, tok := range query {
			if !terms[tok.Term] {
				t.Errorf("query term %q is not among those of the text", tok.Term)
			}
		}
		if l := a.Detect(text); !Supported(l) {
			t.Errorf("detected %q", l)
		}
	})
}
