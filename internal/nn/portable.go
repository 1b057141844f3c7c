package nn

import "math"

// portable returns the implementation in plain Go.
func portable() *Kernel {
	return &Kernel{name: "portable", rows: 2, cols: 4, tile: tilePortable, gelu: geluPortable, softmax: softmaxPortable, norm: normPortable}
}

// tilePortable keeps eight sums in registers.
func tilePortable(rows, k int, a []float32, lda int, b []float32, ldb int, bias, c []float32, ldc int) {
	c0, c1, c2, c3 := bias[0], bias[1], bias[2], bias[3]
	if rows == 1 {
		for p, x := range a[:k] {
			r := (*[4]float32)(b[p*ldb:])
			c0 += x * r[0]
			c1 += x * r[1]
			c2 += x * r[2]
			c3 += x * r[3]
		}
		c = c[:4]
		c[0], c[1], c[2], c[3] = c0, c1, c2, c3
		return
	}
	d0, d1, d2, d3 := c0, c1, c2, c3
	first, second := a[:k], a[lda:lda+k]
	if ldb == 4 {
		// Panels of weights lie without gaps: four steps at a time, so that the compiler checks bounds once for all of them.
		for len(first) >= 4 && len(second) >= 4 && len(b) >= 16 {
			x, y, r := (*[4]float32)(first), (*[4]float32)(second), (*[16]float32)(b)
			u, v := x[0], y[0]
			b0, b1, b2, b3 := r[0], r[1], r[2], r[3]
			c0, c1, c2, c3 = c0+u*b0, c1+u*b1, c2+u*b2, c3+u*b3
			d0, d1, d2, d3 = d0+v*b0, d1+v*b1, d2+v*b2, d3+v*b3
			u, v = x[1], y[1]
			b0, b1, b2, b3 = r[4], r[5], r[6], r[7]
			c0, c1, c2, c3 = c0+u*b0, c1+u*b1, c2+u*b2, c3+u*b3
			d0, d1, d2, d3 = d0+v*b0, d1+v*b1, d2+v*b2, d3+v*b3
			u, v = x[2], y[2]
			b0, b1, b2, b3 = r[8], r[9], r[10], r[11]
			c0, c1, c2, c3 = c0+u*b0, c1+u*b1, c2+u*b2, c3+u*b3
			d0, d1, d2, d3 = d0+v*b0, d1+v*b1, d2+v*b2, d3+v*b3
			u, v = x[3], y[3]
			b0, b1, b2, b3 = r[12], r[13], r[14], r[15]
			c0, c1, c2, c3 = c0+u*b0, c1+u*b1, c2+u*b2, c3+u*b3
			d0, d1, d2, d3 = d0+v*b0, d1+v*b1, d2+v*b2, d3+v*b3
			first, second, b = first[4:], second[4:], b[16:]
		}
	}
	for p, x := range first {
		r := (*[4]float32)(b[p*ldb:])
		y := second[p]
		b0, b1, b2, b3 := r[0], r[1], r[2], r[3]
		c0, c1, c2, c3 = c0+x*b0, c1+x*b1, c2+x*b2, c3+x*b3
		d0, d1, d2, d3 = d0+y*b0, d1+y*b1, d2+y*b2, d3+y*b3
	}
	d := c[ldc : ldc+4]
	c = c[:4]
	c[0], c[1], c[2], c[3] = c0, c1, c2, c3
	d[0], d[1], d[2], d[3] = d0, d1, d2, d3
}

// exp computes e^x by a polynomial, with an error of about one unit in the last place. Below -87 it is 1e-38.
//
// Source: Cephes Mathematical Library, expf (S. Moshier).
func exp(x float32) float32 {
	if x < -87 {
		x = -87
	} else if x > 88 {
		x = 88
	}
	const log2e, ln2Hi, ln2Lo = 1.44269504088896341, 0.693359375, -2.12194440e-4
	const shift = 3 << 22 // adding it rounds to a whole number, as no bits are left for a fraction
	n := float32(x*log2e+shift) - shift
	x = x - n*ln2Hi - n*ln2Lo
	y := float32(1.9875691500e-4)
	y = y*x + 1.3981999507e-3
	y = y*x + 8.3334519073e-3
	y = y*x + 4.1665795894e-2
	y = y*x + 1.6666665459e-1
	y = y*x + 5.0000001201e-1
	return (y*x*x + x + 1) * math.Float32frombits(uint32(int32(n)+127)<<23)
}

// gelu computes x·Φ(x) with an absolute error below 4e-7·|x|.
//
// Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26, for the error function.
func gelu(x float32) float32 {
	const p, a1, a2, a3, a4, a5 = 0.3275911, 0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429
	z := x * float32(1/math.Sqrt2)
	size := max(z, -z)
	t := 1 / (1 + p*size)
	tail := ((((a5*t+a4)*t+a3)*t+a2)*t + a1) * t * exp(-z*z) // 1 − erf(|z|)
	if x < 0 {
		return 0.5 * x * tail
	}
	return x - 0.5*x*tail
}

func geluPortable(x []float32) {
	for i, v := range x {
		x[i] = gelu(v)
	}
}

func softmaxPortable(x []float32) {
	most := x[0]
	for _, v := range x {
		most = max(most, v)
	}
	var sum float32
	for i, v := range x {
		e := exp(v - most)
		x[i] = e
		sum += e
	}
	scale := 1 / sum
	for i := range x {
		x[i] *= scale
	}
}

func normPortable(x, add, weight, bias []float32, epsilon float32) {
	var sum float32
	if add != nil {
		add = add[:len(x)]
		for i, v := range add {
			x[i] += v
		}
	}
	for _, v := range x {
		sum += v
	}
	mean := sum / float32(len(x))
	var squares float32
	for _, v := range x {
		squares += (v - mean) * (v - mean)
	}
	scale := float32(1 / math.Sqrt(float64(squares/float32(len(x))+epsilon)))
	weight, bias = weight[:len(x)], bias[:len(x)]
	for i, v := range x {
		x[i] = (v-mean)*scale*weight[i] + bias[i]
	}
}

// inVectors returns a function that calls norm for rows of whole vectors, and the portable one for others.
func inVectors(lanes int, norm func(x, add, weight, bias []float32, epsilon float32)) func(x, add, weight, bias []float32, epsilon float32) {
	return func(x, add, weight, bias []float32, epsilon float32) {
		if len(x)%lanes == 0 {
			norm(x, add, weight, bias, epsilon)
		} else {
			normPortable(x, add, weight, bias, epsilon)
		}
	}
}
