package embedtest

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"strings"
	"unicode"
)

// marks is the number of leading components that tell which text a vector was made of. Each holds four bits.
const marks = 8

// markScale is the size of the largest mark: large enough to be read after rounding to 16 bits, small enough not to matter to a
// distance.
const markScale = 0.05

// minMarked is the fewest dimensions that leave room for marks.
const minMarked = 32

// Vector returns the vector of a text in the space of a model: of length 1, the same in every process. The words of the text,
// without regard to case, are hashed into it, so the cosine of two texts grows with the words they share. With 32 dimensions or
// more the first eight components hold the text's [Mark].
func Vector(model, text string, dimensions int) []float32 {
	v := make([]float32, dimensions)
	features := v
	if dimensions >= minMarked {
		features = v[marks:]
	}
	counts := map[string]int{}
	for _, word := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }) {
		counts[word]++
	}
	if len(counts) == 0 {
		counts["\x00"+text] = 1 // nothing but marks: like nothing else
	}
	sums := make([]float64, len(features))
	for word, n := range counts {
		// Two places for each word, so that one collision does not make two words the same.
		for _, salt := range []string{"a", "b"} {
			h := hash(model, salt, word)
			at := h % uint64(len(sums))
			sign := 1 - 2*float64(h>>63)
			sums[at] += sign * math.Sqrt(float64(n))
		}
	}
	var norm float64
	for _, x := range sums {
		norm += x * x
	}
	if norm == 0 { // all collided with opposite signs
		sums[hash(model, "zero", text)%uint64(len(sums))], norm = 1, 1
	}
	rest := 1.0
	if dimensions >= minMarked {
		for i, m := 0, Mark(text); i < marks; i, m = i+1, m>>4 {
			x := (float64(m&15) - 7.5) / 7.5 * markScale
			v[i] = float32(x)
			rest -= x * x
		}
	}
	scale := math.Sqrt(rest / norm)
	for i, x := range sums {
		features[i] = float32(x * scale)
	}
	return v
}

func hash(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		var n [4]byte
		binary.LittleEndian.PutUint32(n[:], uint32(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	x := h.Sum64() // FNV leaves the high bits of short texts alike: mix them (Stafford's variant 13)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Mark returns a hash of a text that its vectors carry.
func Mark(text string) uint32 { return uint32(hash("mark", text)) }

// MarkOf reads the [Mark] of the text that a vector of at least 32 dimensions was made of. Rounding to 16 bits does no harm.
func MarkOf(vector []float32) uint32 {
	var m uint32
	for i := range min(marks, len(vector)) {
		x := math.Round(float64(vector[i])/markScale*7.5 + 7.5)
		m |= uint32(max(0, min(15, x))) << (4 * i)
	}
	return m
}

// Matches returns an error unless a stored vector is the one of the text in the space of the model, give or take what rounding to
// 16 bits does.
func Matches(vector []float32, model, text string) error {
	want := Vector(model, text, len(vector))
	for i := range want {
		if d := math.Abs(float64(vector[i] - want[i])); !(d < 1e-3) {
			return fmt.Errorf("embedtest: the vector is not that of %.40q in %q: component %d is %v, not %v", text, model, i, vector[i], want[i])
		}
	}
	return nil
}
