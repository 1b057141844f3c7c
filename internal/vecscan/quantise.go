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
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if math.IsNaN(sum) || math.IsInf(sum, 0) { // squares of float32 do not overflow: a component is no number
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
	var most float32
	for _, x := range v {
		most = max(most, x, -x)
	}
	scale = float32(float64(most) / norm / 127)
	s := float64(scale)
	to := 1 / (norm * s)
	sum := 0.0
	for i, x := range v {
		c := max(-127, min(127, math.RoundToEven(float64(x)*to)))
		code[i] = byte(int8(c))
		e := float64(x)/norm - s*c
		sum += e * e
	}
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
	most := 0.0
	for _, x := range v {
		most = max(most, math.Abs(float64(x)))
	}
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
