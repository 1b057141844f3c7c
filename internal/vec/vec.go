// Package vec computes with vectors. What two stores are to agree on is computed here, in float64.
package vec

import (
	"math"
	"slices"
)

// Cosine returns the cosine similarity of two vectors of one length: their dot product by the product of their lengths, from −1
// to 1. It is 0 if one of them is zero.
func Cosine(a, b []float32) float64 {
	b = b[:len(a)]
	var dot, aa, bb float64
	for i, x := range a {
		x, y := float64(x), float64(b[i])
		dot += x * y
		aa += x * x
		bb += y * y
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return max(-1, min(1, dot/math.Sqrt(aa*bb)))
}

// Nearest returns the highest cosine that one of several vectors has to a query. They are of its length, one after the other, and one at
// least.
func Nearest(query, vectors []float32) float64 {
	best := -1.0
	for v := range slices.Chunk(vectors, len(query)) {
		best = max(best, Cosine(query, v))
	}
	return best
}

// Half returns the value of a number in the IEEE 754 half-precision format.
func Half(bits uint16) float32 {
	sign, exponent, fraction := uint32(bits>>15)<<31, uint32(bits>>10)&0x1f, uint32(bits)&0x3ff
	switch exponent {
	case 0: // zero, or too small for an implied leading 1
		v := float32(fraction) / (1 << 24)
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 0x1f: // infinity, or not a number
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}

// MaxAbs returns the greatest magnitude of a vector's components, 0 if it has none. It is no number if one of them is none.
func MaxAbs(v []float32) float32 {
	var most uint32 // without their signs, floats are in the order of their bits, and what is no number is above them
	for _, x := range v {
		most = max(most, math.Float32bits(x)&^(1<<31))
	}
	return math.Float32frombits(most)
}

// SquaredNorm returns the sum of the squares of a vector's components. It is finite exactly if they all are: squares of float32 do not
// overflow.
func SquaredNorm(v []float32) float64 {
	var a, b, c, d float64 // so that an addition need not wait for the one before
	for ; len(v) >= 4; v = v[4:] {
		w, x, y, z := float64(v[0]), float64(v[1]), float64(v[2]), float64(v[3])
		a, b, c, d = a+w*w, b+x*x, c+y*y, d+z*z
	}
	for _, x := range v {
		a += float64(x) * float64(x)
	}
	return a + b + (c + d)
}

// SettledEach is [Settled] for each of several vectors of so many dimensions, one after the other.
func SettledEach(vectors []float32, dimensions int) []float32 {
	if len(vectors) == dimensions {
		return Settled(vectors)
	}
	out := make([]float32, 0, len(vectors))
	for v := range slices.Chunk(vectors, dimensions) {
		out = append(out, Settled(v)...)
	}
	return out
}

// Settled returns a vector scaled by a power of two, which changes no direction, if its components are so large or so small that a
// computation in float32, or a format of less range, would lose them. Others are returned as they are, not copied.
func Settled(v []float32) []float32 {
	const low, high = 1.0 / 1024, 1024
	most := MaxAbs(v)
	if most == 0 || most >= low && most <= high {
		return v
	}
	_, exponent := math.Frexp(float64(most))
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(math.Ldexp(float64(x), -exponent))
	}
	return out
}
