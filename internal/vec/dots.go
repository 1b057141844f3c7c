package vec

// DotsStep is what the length of a query should be a multiple of for [Dots] to be fast.
const DotsStep = 32

// Dots sets out[i] to the dot product of a query with the i-th of the rows, which lie one behind the other in codes, each as many
// signed bytes as the query has components. The sums must fit an int32: with components of up to m the query may have at most
// 2^31/(128·m) of them. The result is exact, and so the same on every processor.
//
// Codes must hold len(out) rows.
func Dots(out []int32, codes []byte, query []int16) {
	if len(out) == 0 {
		return
	}
	if len(query) == 0 {
		clear(out)
		return
	}
	codes = codes[:len(out)*len(query)]
	if fast := fastDots; fast != nil && len(query)%DotsStep == 0 {
		fast(&out[0], &codes[0], &query[0], len(out), len(query))
		return
	}
	dotsPortable(out, codes, query)
}

// dotsKernel is a form of [Dots] for rows of a multiple of [DotsStep] bytes, at least one of them.
type dotsKernel = func(out *int32, codes *byte, query *int16, rows, length int)

func dotsPortable(out []int32, codes []byte, query []int16) {
	for i := range out {
		row := codes[:len(query)]
		codes = codes[len(query):]
		var a, b, c, d int32
		j := 0
		for ; j+4 <= len(query); j += 4 {
			q, r := query[j:j+4:j+4], row[j:j+4:j+4]
			a += int32(q[0]) * int32(int8(r[0]))
			b += int32(q[1]) * int32(int8(r[1]))
			c += int32(q[2]) * int32(int8(r[2]))
			d += int32(q[3]) * int32(int8(r[3]))
		}
		for ; j < len(query); j++ {
			a += int32(query[j]) * int32(int8(row[j]))
		}
		out[i] = a + b + c + d
	}
}
