// Package vecset generates vectors that resemble those of texts, for tests and measurements. All of it follows from a seed: a vector
// is the same in every process, whatever was asked for before.
//
// A vector is that of a topic, turned in some of the directions that all topics have in common, with a little noise:
//
//	normalise(centre + spread · Σ zₖ sₖ factorₖ + noise · g)
//
// The centres and the factors are directions drawn from the sphere, z and g are normal, and sₖ falls like 1/√(k+1), as the
// spectrum of real embeddings falls: their vectors have many dimensions but differ in few. Each owner talks about topics in an
// order of its own, the n-th as often as Zipf's law says, so owners overlap, and each has dense and thin places. Questions are drawn
// like the owner's vectors, from another stream.
package vecset

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
)

const (
	topics  = 256
	factors = 48
	spread  = 0.8
	noise   = 0.4
)

// Set is a space of vectors.
type Set struct {
	seed    uint64
	centres [][]float64
	factors [][]float64 // scaled
	zipf    []float64   // cumulated share of the n-th topic of an owner
}

// New returns the space of a seed.
func New(dimensions int, seed uint64) *Set {
	s := &Set{seed: seed}
	r := rand.New(rand.NewPCG(seed, 0))
	for range topics {
		s.centres = append(s.centres, direction(r, dimensions, 1))
	}
	total := 0.0
	for k := range factors {
		total += 1 / float64(k+1)
	}
	for k := range factors {
		s.factors = append(s.factors, direction(r, dimensions, spread/math.Sqrt(float64(k+1)*total)))
	}
	sum := 0.0
	for n := range topics {
		sum += 1 / float64(n+1)
		s.zipf = append(s.zipf, sum)
	}
	for n := range s.zipf {
		s.zipf[n] /= sum
	}
	return s
}

// direction draws a direction of a given length.
func direction(r *rand.Rand, dimensions int, length float64) []float64 {
	v := make([]float64, dimensions)
	sum := 0.0
	for i := range v {
		v[i] = r.NormFloat64()
		sum += v[i] * v[i]
	}
	for i := range v {
		v[i] *= length / math.Sqrt(sum)
	}
	return v
}

// Vector returns an owner's n-th vector.
func (s *Set) Vector(owner string, n int) []float32 { return s.draw(owner, "vector", n) }

// Query returns the n-th question to an owner.
func (s *Set) Query(owner string, n int) []float32 { return s.draw(owner, "query", n) }

func (s *Set) draw(owner, stream string, n int) []float32 {
	o := hash(owner)
	r := rand.New(rand.NewPCG(s.seed^o, hash(stream)^uint64(n)*0x9e3779b97f4a7c15))
	rank, u := 0, r.Float64()
	for rank < topics-1 && s.zipf[rank] < u {
		rank++
	}
	v := make([]float64, len(s.centres[0]))
	copy(v, s.centres[(uint64(rank)*(2*(o>>32)+1)+o)%topics]) // an odd factor: a permutation of the topics
	for _, f := range s.factors {
		z := r.NormFloat64()
		for i, x := range f {
			v[i] += z * x
		}
	}
	sum := 0.0
	for i := range v {
		v[i] += noise * r.NormFloat64() / math.Sqrt(float64(len(v)))
		sum += v[i] * v[i]
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x / math.Sqrt(sum))
	}
	return out
}

func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	x := h.Sum64() // FNV leaves the high bits of short texts alike: mix them (Stafford's variant 13)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
