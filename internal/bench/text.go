package main

import (
	"math"
	"math/rand/v2"
	"sort"
	"strings"
)

// vocabulary draws pronounceable words from a Zipf-Mandelbrot distribution: 100,000 words of text have some 14,000 distinct ones,
// about what encyclopedic text has.
type vocabulary struct {
	words      []string
	cumulative []float64
}

const words = 200_000

func newVocabulary() *vocabulary {
	r := rand.New(rand.NewPCG(1, 2))
	v := &vocabulary{}
	seen := map[string]bool{}
	onsets := strings.Fields("b c d f g h k l m n p r s t v w z br ch cl cr dr fl fr gl gr pl pr sh sl sp st th tr")
	vowels := strings.Fields("a e i o u ai ea ou")
	total := 0.0
	for len(v.words) < words {
		var b strings.Builder
		for range 2 + r.IntN(3) {
			b.WriteString(onsets[r.IntN(len(onsets))])
			b.WriteString(vowels[r.IntN(len(vowels))])
		}
		b.WriteString(onsets[r.IntN(17)])
		w := b.String()
		if seen[w] {
			continue
		}
		seen[w] = true
		v.words = append(v.words, w)
		total += math.Pow(float64(len(v.words)+10), -1.3)
		v.cumulative = append(v.cumulative, total)
	}
	return v
}

func (v *vocabulary) draw(r *rand.Rand) string {
	x := r.Float64() * v.cumulative[len(v.cumulative)-1]
	return v.words[sort.SearchFloat64s(v.cumulative, x)]
}

// paragraph returns a chunk's text.
func (v *vocabulary) paragraph(r *rand.Rand) string {
	var b strings.Builder
	n := 60 + r.IntN(91)
	for i := range n {
		switch {
		case i == 0:
		case i%12 == 0:
			b.WriteString(". ")
		default:
			b.WriteByte(' ')
		}
		b.WriteString(v.draw(r))
	}
	b.WriteByte('.')
	return b.String()
}

// question returns 8 to 16 words of a text.
func question(r *rand.Rand, text string) string {
	all := strings.Fields(strings.ReplaceAll(text, ".", ""))
	var out []string
	for range 8 + r.IntN(9) {
		out = append(out, all[r.IntN(len(all))])
	}
	return strings.Join(out, " ")
}
