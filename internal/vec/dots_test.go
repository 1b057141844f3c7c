package vec_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/llmemory/llmemory/internal/vec"
)

// reference is the dot product from the words of its definition.
func reference(codes []byte, query []int16) int64 {
	var sum int64
	for i, q := range query {
		sum += int64(q) * int64(int8(codes[i]))
	}
	return sum
}

// TestDots compares all forms with the definition: lengths of every remainder, few and many rows, data that begins at any address,
// extremes whose sums are just within bounds, and that nothing is written beside the answer.
func TestDots(t *testing.T) {
	t.Parallel()
	forms := map[string]func(out []int32, codes []byte, query []int16){"chosen": vec.Dots, "portable": vec.DotsPortable}
	kernels := vec.Kernels()
	r := rand.New(rand.NewPCG(1, 2))
	lengths := []int{0, 1, 3, 31, 32, 33, 63, 64, 96, 100, 384, 416, 768, 1000, 1024, 1536, 4096}
	for _, length := range lengths {
		most := 32767
		if length > 0 {
			most = min(most, math.MaxInt32/(128*length))
		}
		for _, rows := range []int{0, 1, 2, 3, 4, 5, 7, 8, 33} {
			for _, kind := range []string{"random", "highest", "lowest"} {
				query := make([]int16, length+1)[1:]
				codes := make([]byte, rows*length+3)[3:]
				for i := range query {
					query[i] = int16(r.IntN(2*most+1) - most)
					if kind != "random" {
						query[i] = int16(most)
					}
				}
				for i := range codes {
					codes[i] = byte(r.Uint32())
					switch kind {
					case "highest":
						codes[i] = 127
					case "lowest":
						codes[i] = 128 // −128
					}
				}
				want := make([]int32, rows)
				for i := range want {
					sum := reference(codes[i*length:(i+1)*length], query)
					if sum != int64(int32(sum)) {
						t.Fatalf("the test's own numbers are too large: %d", sum)
					}
					want[i] = int32(sum)
				}
				check := func(name string, form func(out []int32, codes []byte, query []int16)) {
					t.Helper()
					out := make([]int32, rows+2)
					for i := range out {
						out[i] = 77
					}
					form(out[1:1+rows], codes, query)
					if !slices.Equal(out[1:1+rows], want) || out[0] != 77 || out[rows+1] != 77 {
						t.Errorf("%s: %d %s rows of %d: %v, want %v between two 77", name, rows, kind, length, out, want)
					}
				}
				for name, form := range forms {
					check(name, form)
				}
				for name, kernel := range kernels {
					if rows > 0 && length > 0 && length%vec.DotsStep == 0 {
						check(name, func(out []int32, codes []byte, query []int16) {
							kernel(&out[0], &codes[0], &query[0], len(out), len(query))
						})
					}
				}
			}
		}
	}
}

// TestDotsBounds checks that rows which are not there are not read.
func TestDotsBounds(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("two rows were read where there is one")
		}
	}()
	vec.Dots(make([]int32, 2), make([]byte, 64, 128)[:64:64], make([]int16, 64))
}

func BenchmarkDots384(b *testing.B) {
	for _, rows := range []int{1000, 100_000} {
		codes, query, out := make([]byte, 384*rows), make([]int16, 384), make([]int32, rows)
		for i := range codes {
			codes[i] = byte(i * 7)
		}
		for i := range query {
			query[i] = int16(i * 77)
		}
		run := func(name string, form func()) {
			b.Run(fmt.Sprint(name, "/", rows), func(b *testing.B) {
				b.SetBytes(int64(len(codes)))
				for b.Loop() {
					form()
				}
			})
		}
		run("portable", func() { vec.DotsPortable(out, codes, query) })
		for name, kernel := range vec.Kernels() {
			run(name, func() { kernel(&out[0], &codes[0], &query[0], rows, 384) })
		}
	}
}
