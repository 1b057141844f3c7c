package vecscan

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/llmemory/llmemory/internal/vec"
)

// Candidate is an ordinal that may be among the nearest.
type Candidate struct {
	Ordinal uint64
	// Low and High are what the cosine of the nearest of its vectors lies between, for certain.
	Low, High float32
}

// collector gathers the candidates for the k nearest out of several scans. The vectors of one ordinal come one after the other.
type collector struct {
	query *Query
	k     int
	// stretch and base make an upper bound of a vector's approximate cosine and loss: approximate + loss·stretch + base.
	stretch, base float32
	lows          lows // the k best lower bounds, the least one first
	list          []Candidate
	last          Candidate // whose vectors are coming, not in the list yet
	open          bool      // there is one
	dots          []int32
}

// lows is a heap of lower bounds.
type lows []float32

func (l lows) Len() int           { return len(l) }
func (l lows) Less(i, j int) bool { return l[i] < l[j] }
func (l lows) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *lows) Push(x any)        { *l = append(*l, x.(float32)) }
func (l *lows) Pop() any          { panic("nothing is ever taken away") }

// run is how many vectors are compared before their answers are looked at: these stay in the processor's first cache.
const run = 512

// newCollector returns a collector of candidates for the k nearest ordinals, k being at least 1.
func newCollector(q *Query, k int) *collector {
	return &collector{query: q, k: k, stretch: 1 + q.lost, base: q.lost + slack, dots: make([]int32, run)}
}

// scan compares the query with vectors, given their codes and the scale and loss of each. Visible, asked of those only that could be
// candidates, returns a vector's ordinal and whether it is to be looked at.
func (c *collector) scan(codes []byte, numbers [][2]float32, visible func(i int) (uint64, bool)) {
	stride := len(c.query.code)
	for from := 0; from < len(numbers); from += run {
		part := numbers[from:min(from+run, len(numbers))]
		dots := c.dots[:len(part)]
		vec.Dots(dots, codes[from*stride:], c.query.code)
		least := c.least()
		for j, dot := range dots {
			approximate := float32(dot) * part[j][0] * c.query.scale
			reach := part[j][1]*c.stretch + c.base
			if approximate+reach < least {
				continue
			}
			if ordinal, ok := visible(from + j); ok {
				c.add(Candidate{ordinal, approximate - reach, approximate + reach})
				least = c.least()
			}
		}
	}
}

// least returns the k-th best lower bound: what is certainly below it is no candidate. The ordinal whose vectors are coming does not
// count yet, which lets a little more pass.
func (c *collector) least() float32 {
	if len(c.lows) < c.k {
		return -2
	}
	return c.lows[0]
}

// add takes over a vector.
func (c *collector) add(x Candidate) {
	if c.open && c.last.Ordinal == x.Ordinal {
		c.last.Low, c.last.High = max(c.last.Low, x.Low), max(c.last.High, x.High)
		return
	}
	c.end()
	c.last, c.open = x, true
}

// end takes over the last ordinal, whose vectors have all come.
func (c *collector) end() {
	if !c.open {
		return
	}
	c.open = false
	x := c.last
	switch {
	case len(c.lows) < c.k:
		heap.Push(&c.lows, x.Low)
	case x.Low > c.lows[0]:
		c.lows[0] = x.Low
		heap.Fix(&c.lows, 0)
	}
	c.list = append(c.list, x)
	if len(c.list) >= 4*c.k+1024 && len(c.list) == cap(c.list) {
		c.prune()
	}
}

// prune drops what is no candidate any more.
func (c *collector) prune() {
	least := c.least()
	c.list = slices.DeleteFunc(c.list, func(x Candidate) bool { return x.High < least })
}

// merge takes over what other collectors have found: of an ordinal whose vectors were not all scanned by the same one, what all of them
// have.
func (c *collector) merge(others []*collector) {
	c.end()
	all := c.list
	for _, other := range others {
		other.end()
		all = append(all, other.list...)
	}
	slices.SortFunc(all, func(a, b Candidate) int { return cmp.Compare(a.Ordinal, b.Ordinal) })
	c.list, c.lows = nil, c.lows[:0]
	for _, x := range all {
		if c.open && c.last.Ordinal == x.Ordinal || x.High >= c.least() {
			c.add(x)
		}
	}
}

// candidates returns all ordinals that may be among the k nearest, the most promising first.
func (c *collector) candidates() []Candidate {
	c.end()
	c.prune()
	slices.SortFunc(c.list, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.High, a.High), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	return c.list
}

// Hit is an ordinal with the cosine of its nearest vector to the query.
type Hit struct {
	Ordinal uint64
	Cosine  float64
}

// Nearest returns the k nearest of the candidates, which are in the order of [Set.Candidates], by their true cosines: nearest
// first, ties in order of ordinals. It asks for the cosines of as few as it can.
func Nearest(candidates []Candidate, k int, cosine func(ordinal uint64) (float64, error)) ([]Hit, error) {
	var best []Hit
	for _, c := range candidates {
		if len(best) == k && float64(c.High) < best[k-1].Cosine {
			break
		}
		x, err := cosine(c.Ordinal)
		if err != nil {
			return nil, err
		}
		h := Hit{c.Ordinal, x}
		if i, _ := slices.BinarySearchFunc(best, h, byCosine); i < k {
			best = slices.Insert(best, i, h)
			best = best[:min(len(best), k)]
		}
	}
	return best, nil
}

func byCosine(a, b Hit) int {
	return cmp.Or(cmp.Compare(b.Cosine, a.Cosine), cmp.Compare(a.Ordinal, b.Ordinal))
}
