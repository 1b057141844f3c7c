package vecscan

import (
	"math"

	"github.com/llmemory/llmemory/internal/vec"
)

// slack is more than what a cosine's bounds can lose by being computed in float32: a handful of roundings of numbers of about 1.
const slack = 2e-6

// Stride returns how many bytes a quantised vector takes.
func Stride(dimensions int) int { return (dimensions + vec.DotsStep - 1) / vec.DotsStep * vec.DotsStep }

// length returns the length of a vector, 0 if it has none that could be told.
func length(v []float32) float64 {
	sum := vec.SquaredNorm(v)
	if math.IsNaN(sum) || math.IsInf(sum, 0) { // a component is no number
		return 0
	}
	return math.Sqrt(sum)
}

// quantise writes a vector's code, which is as long as [Stride] says, and returns its scale and the length of what is lost. The
// code of a zero vector is zero, as is its cosine to anything.
func quantise(code []byte, v []float32) (scale, lost float32) {
	clear(code)
	norm := length(v)
	if norm == 0 {
		return 0, 0
	}
	scale = float32(float64(vec.MaxAbs(v)) / norm / 127)
	s, per := float64(scale), 1/norm
	to := per / s
	code = code[:len(v)]
	var sums [2]float64 // so that an addition need not wait for the one before
	for i, x := range v {
		// Adding this moves what is behind the point out of the number: it rounds to even, as every operation does. Products are
		// rounded first wherever there are operations that would not.
		const whole = 3 << 51
		c := float64(float64(x)*to) + whole - whole
		code[i] = byte(int8(c)) // the greatest is 127, as scale is closer to exact than half a step in 127
		e := float64(x)*per - s*c
		sums[i%2] += e * e
	}
	sum := sums[0] + sums[1]
	return scale, up(math.Sqrt(sum))
}

// up returns a float32 that is not less than x.
func up(x float64) float32 {
	y := float32(x)
	if float64(y) < x {
		y = math.Nextafter32(y, math.MaxFloat32)
	}
	return y
}

// Query is a vector to compare others with.
type Query struct {
	code  []int16
	scale float32
	lost  float32 // length of what the code loses
}

// NewQuery prepares a query.
func NewQuery(v []float32) *Query {
	q := &Query{code: make([]int16, Stride(len(v)))}
	norm := length(v)
	if norm == 0 {
		return q
	}
	most := float64(vec.MaxAbs(v))
	highest := float64(min(math.MaxInt16, math.MaxInt32/(128*len(q.code)))) // so that no sum overflows
	q.scale = float32(most / norm / highest)
	t := float64(q.scale)
	sum := 0.0
	for i, x := range v {
		u := float64(x) / norm
		k := max(-highest, min(highest, math.RoundToEven(u/t)))
		q.code[i] = int16(k)
		f := u - t*k
		sum += f * f
	}
	q.lost = up(math.Sqrt(sum))
	return q
}
