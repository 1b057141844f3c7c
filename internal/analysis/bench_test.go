package analysis

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// prose makes text of n bytes with the word frequencies of natural language.
func prose(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(r, 1.1, 3, 30_000)
	common := strings.Fields("the of and a to in is was he for it with as his on be at by had not are but from or have an they which one you were all her she there would their we him been has when who will no more if out so")
	var b strings.Builder
	for b.Len() < n {
		k := int(zipf.Uint64())
		if k < len(common) {
			b.WriteString(common[k])
		} else {
			for k > 0 {
				b.WriteString([]string{"ra", "tion", "ed", "ing", "lo", "pre", "s", "mi", "ve", "ter"}[k%10])
				k /= 10
			}
		}
		b.WriteByte(' ')
	}
	return b.String()
}

func BenchmarkAnalyzeEnglish(b *testing.B) {
	text := prose(1 << 20)
	a := New()
	var tokens []Token
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		tokens, _ = a.Analyze("en", text, tokens[:0])
	}
}

func BenchmarkDetect(b *testing.B) {
	text := prose(1 << 20)
	a := New()
	for b.Loop() {
		a.Detect(text)
	}
}
