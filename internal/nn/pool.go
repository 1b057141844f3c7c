package nn

import (
	"fmt"
	"math"
)

// Pooling is how the vector of a text is made of those of its tokens.
type Pooling string

const (
	// Mean is the mean of all tokens.
	Mean Pooling = "mean"
	// First is the vector of the first token, which stands for the text in models that were trained so.
	First Pooling = "cls"
	// Max is the largest of all tokens, dimension by dimension.
	Max Pooling = "max"
	// MeanSqrt is the sum of all tokens by the square root of their number.
	MeanSqrt Pooling = "mean_sqrt_len_tokens"
	// Last is the vector of the last token.
	Last Pooling = "lasttoken"
	// Weighted is the mean of all tokens, a later one weighing more, by its position.
	Weighted Pooling = "weightedmean"
)

// Embed returns a vector for each text of a batch, pooled in each of the ways given, one after the other.
func (e *Encoder) Embed(b Batch, threads int, poolings ...Pooling) ([][]float32, error) {
	h := e.config.Hidden
	out := make([][]float32, len(b.Lengths))
	err := e.run(b, threads, func(hidden []float32, stride int) {
		first := 0
		for i, length := range b.Lengths {
			v := make([]float32, 0, h*len(poolings))
			for _, p := range poolings {
				v = p.pool(v, hidden[first*stride:], stride, length, h)
			}
			out[i] = v
			first += length
		}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Known returns an error unless the pooling is one of those above.
func (p Pooling) Known() error {
	switch p {
	case Mean, First, Max, MeanSqrt, Last, Weighted:
		return nil
	}
	return fmt.Errorf("pooling %q is unknown", string(p))
}

// pool appends the pooled vector of length rows.
func (p Pooling) pool(to, rows []float32, stride, length, h int) []float32 {
	n := len(to)
	switch p {
	case First:
		return append(to, rows[:h]...)
	case Last:
		return append(to, rows[(length-1)*stride:][:h]...)
	case Max:
		to = append(to, rows[:h]...)
		v := to[n:]
		for i := 1; i < length; i++ {
			for j, x := range rows[i*stride:][:h] {
				v[j] = max(v[j], x)
			}
		}
		return to
	}
	to = append(to, rows[:h]...)
	v := to[n:]
	for i := 1; i < length; i++ {
		weight := float32(1)
		if p == Weighted {
			weight = float32(i + 1)
		}
		for j, x := range rows[i*stride:][:h] {
			v[j] += weight * x
		}
	}
	by := float64(length)
	switch p {
	case MeanSqrt:
		by = math.Sqrt(by)
	case Weighted:
		by = by * (by + 1) / 2
	}
	for j := range v {
		v[j] = float32(float64(v[j]) / by)
	}
	return to
}

// Normalize scales a vector to length 1, unless it is shorter than 1e-12, as the reference does.
func Normalize(v []float32) {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	scale := 1 / max(math.Sqrt(sum), 1e-12)
	for i := range v {
		v[i] = float32(float64(v[i]) * scale)
	}
}
