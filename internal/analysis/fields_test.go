package analysis

import (
	"slices"
	"testing"
)

// FuzzFields checks that words which are found without the segmenter are those that it would have found.
func FuzzFields(f *testing.F) {
	for _, s := range []string{
		"The quick (brown) fox, \"jumps\": over.", "don't 'tis e.g. it. a.b c,d x:y snake_case _under under_ re-do", "a \u0301b c\u0301 d", "ab\u200d c",
		"one\r\n\ttwo  three\n", "Go언어 数据 base 库", "naïve Café end", "3.14 1,000 a1 1a", "''quoted'' [sic]?! (a", "a\u00a0b c", "x\u2028y z", "if(a.b[c_d]!=nil){x:=f(1.5,\"y\");}//z", "a..b 1,,2 a.1 1.a _.a a._ x''y 1;2;3a:b:",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = clean(text)
		terms := func(run func(w *worker)) ([]Token, int) {
			w := &worker{language: languages["en"], memo: map[string]word{}}
			run(w)
			return w.dst, w.position
		}
		got, end := terms(func(w *worker) { w.run(text) })
		want, wantEnd := terms(func(w *worker) { w.segment([]byte(text)) })
		if !slices.Equal(got, want) || end != wantEnd {
			t.Errorf("%q: got %v up to %d, the segmenter finds %v up to %d", text, got, end, want, wantEnd)
		}
	})
}
