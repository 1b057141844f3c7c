package chunk

import "cmp"

// packer puts units together. It appends to cuts the index of the first unit of every group.
//
// # Content-defined cuts
//
// Filling groups from the beginning of a text would move every later cut when one paragraph grows. Instead, a border is a
// cut for what stands within a radius of it, such as half the target: if none of the borders there is better, by strength first and
// then by the hash of the unit that follows. (Content-defined chunking by local maxima; Bjørner, Blass and Gurevich,
// Content-dependent chunking for differential compression, the local maximum approach, 2007.) Such cuts lie at least a radius
// apart, and an edit affects none farther from it than that. Only between two of them, where it cannot spread, is the rest cut by
// the best division there is: a larger radius fills the groups better, and lets an edit change more of them.
//
// # Sections
//
// Borders between sections come first, the strongest before the weaker: a group never holds the end of one section and the
// beginning of another, unless both are tiny, whole, and of the same parent. Sections of source code are declarations, of which several
// make a passage: they are put together wherever that fits, and one is cut, and its parts are put together, only where it is too large
// itself. (Zhang et al., cAST: Enhancing Code Retrieval-Augmented Generation with Structural Chunking via Abstract Syntax Tree, 2025.)
type packer struct {
	units  []unit
	target int
	max    int
	radius int  // a border is a cut if none within so many tokens is better; half the target if it is 0
	code   bool // sections are declarations
	cuts   []int
}

// tiny is the size below which sections are put together with their neighbours.
func (p *packer) tiny() int { return p.target * 2 / 5 }

func (p *packer) total(lo, hi int) (sum int) {
	for _, u := range p.units[lo:hi] {
		sum += u.cost
	}
	return sum
}

// top returns the greatest strength of the borders inside units[lo:hi].
func (p *packer) top(lo, hi int) (top strength) {
	for _, u := range p.units[min(lo+1, hi):hi] {
		top = max(top, u.strength)
	}
	return top
}

// parts cuts units[lo:hi] at the borders of a strength and calls yield for each part.
func (p *packer) parts(lo, hi int, s strength, yield func(lo, hi int)) {
	from := lo
	for i := lo + 1; i < hi; i++ {
		if p.units[i].strength == s {
			yield(from, i)
			from = i
		}
	}
	yield(from, hi)
}

// sections groups units[lo:hi], which may hold several sections.
func (p *packer) sections(lo, hi int) {
	if lo == hi {
		return
	}
	top := p.top(lo, hi)
	if top < headingStrength {
		p.section(lo, hi)
		return
	}
	if top == partStrength {
		p.parts(lo, hi, top, p.sections)
		return
	}
	small, limit := p.tiny(), p.target
	if p.code {
		small, limit = p.max+1, p.max
	}
	if p.total(lo, hi) <= limit {
		p.cuts = append(p.cuts, lo)
		return
	}
	p.siblings(lo, hi, top, small, limit, p.sections)
}

// siblings puts runs of sibling sections together that are smaller than small, and passes the others on to large.
func (p *packer) siblings(lo, hi int, s strength, small, limit int, large func(lo, hi int)) {
	var run []unit // whole sections as units
	var first []int
	flush := func() {
		if len(run) == 0 {
			return
		}
		inner := packer{units: run, target: p.target, max: limit, radius: p.radius}
		inner.section(0, len(run))
		for _, cut := range inner.cuts {
			p.cuts = append(p.cuts, first[cut])
		}
		run, first = run[:0], first[:0]
	}
	p.parts(lo, hi, s, func(lo, hi int) {
		total := p.total(lo, hi)
		if total >= small {
			flush()
			large(lo, hi)
			return
		}
		u := p.units[lo]
		u.cost, u.strength = total, blockStrength
		run, first = append(run, u), append(first, lo)
	})
	flush()
}

// parents groups leaves: whole sections where they have the size, siblings together where they are small.
func (p *packer) parents(lo, hi int) {
	if p.total(lo, hi) <= p.max {
		p.cuts = append(p.cuts, lo)
		return
	}
	top := p.top(lo, hi)
	if top < headingStrength {
		p.section(lo, hi)
		return
	}
	p.siblings(lo, hi, top, p.target/2, p.max, p.parents)
}

// section groups units[lo:hi] without regard to headings.
func (p *packer) section(lo, hi int) {
	if p.total(lo, hi) <= p.max {
		p.cuts = append(p.cuts, lo)
		return
	}
	for _, end := range append(p.maxima(lo, hi), hi) {
		p.divide(lo, end)
		lo = end
	}
}

// less reports whether the border before units[i] is a worse cut than that before units[j].
func (p *packer) less(i, j int) bool {
	a, b := &p.units[i], &p.units[j]
	if a.strength != b.strength {
		return a.strength < b.strength
	}
	return a.head < b.head
}

// maxima returns the borders inside units[lo:hi] than which none within the radius, to either side, is better. The ends of the
// range are better than any.
func (p *packer) maxima(lo, hi int) []int {
	radius := cmp.Or(p.radius, p.target/2)
	at := make([]int, hi-lo+1) // at[i-lo] is where units[i] begins, in tokens
	for i := lo; i < hi; i++ {
		at[i-lo+1] = at[i-lo] + p.units[i].cost
	}
	// Sweep from both sides with a queue of falling borders, whose front is the best one within the radius.
	best := make([]bool, hi-lo)
	sweep := func(from, to, step int, keep func(worse, than int) bool) {
		var queue []int
		for i := from; i != to; i += step {
			for len(queue) > 0 && abs(at[queue[0]-lo]-at[i-lo]) > radius {
				queue = queue[1:]
			}
			for len(queue) > 0 && keep(queue[len(queue)-1], i) {
				queue = queue[:len(queue)-1]
			}
			queue = append(queue, i)
			best[i-lo] = best[i-lo] && queue[0] == i
		}
	}
	for i := range best {
		best[i] = at[i] > radius && at[hi-lo]-at[i] > radius
	}
	// Of borders that are equal in everything the first one counts as better.
	sweep(lo+1, hi, 1, func(worse, than int) bool { return p.less(worse, than) })
	sweep(hi-1, lo, -1, func(worse, than int) bool { return !p.less(than, worse) })
	var out []int
	for i, is := range best {
		if is && i > 0 {
			out = append(out, lo+i)
		}
	}
	return out
}

// divide groups units[lo:hi] so that the sum of the groups' penalties is least, by dynamic programming.
func (p *packer) divide(lo, hi int) {
	if p.total(lo, hi) <= p.max || hi-lo == 1 {
		p.cuts = append(p.cuts, lo)
		return
	}
	n := hi - lo
	least := make([]int, n+1) // least[j] is the least penalty for the first j units
	from := make([]int, n+1)  // where the last group begins then
	for j := 1; j <= n; j++ {
		least[j] = -1
		sum := 0
		for i := j - 1; i >= 0; i-- {
			sum += p.units[lo+i].cost
			if sum > p.max && i < j-1 {
				break
			}
			penalty := least[i] + p.sizePenalty(sum)
			if i > 0 {
				penalty += cutPenalty(p.units[lo+i].strength)
			}
			if least[j] < 0 || penalty < least[j] {
				least[j], from[j] = penalty, i
			}
		}
	}
	first := len(p.cuts)
	for j := n; j > 0; j = from[j] {
		p.cuts = append(p.cuts, lo+from[j])
	}
	for i, j := first, len(p.cuts)-1; i < j; i, j = i+1, j-1 {
		p.cuts[i], p.cuts[j] = p.cuts[j], p.cuts[i]
	}
}

// sizePenalty is 1000 for an empty group, 0 at the target, and 250 at the limit. Whole numbers, since fused floating-point
// operations differ between processors.
func (p *packer) sizePenalty(size int) int {
	if size <= p.target {
		short := p.target - size
		return 1000 * short * short / (p.target * p.target)
	}
	over, room := min(size, p.max)-p.target, p.max-p.target
	return 250 * over * over / max(1, room*room)
}

// cutPenalty is 0 between blocks, 300 between sentences, and 600 inside a word.
func cutPenalty(s strength) int {
	if s >= blockStrength {
		return 0
	}
	return int(blockStrength-s) * 10
}

func abs(n int) int { return max(n, -n) }
