package postings

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
)

// The parameters of BM25: how fast repeated words saturate, and how much long
// documents pay.
const (
	K1 = 1.2
	B  = 0.75
)

// A Source is a segment to be searched.
type Source struct {
	Low, High uint64
	// Dead are ordinals that no longer exist; it may hold those of other
	// segments.
	Dead *Set
	// Lookup finds the block of a term: [Inline.Lookup], or blocks that a
	// store has fetched. Positions are needed where [Query.Lookups] says so.
	Lookup func(term string) (Block, bool, error)
}

// Stats are what must be known of an owner beside the blocks.
type Stats struct {
	Documents int64 // living leaves
	Length    int64 // sum of their lengths
}

// Options of a search.
type Options struct {
	// Depth is how many documents to return; 0 or less means all.
	Depth int
	// Allowed are the ordinals that a filter lets pass; nil means all.
	// Scores do not depend on it.
	Allowed *Set
}

// Scored is a hit.
type Scored struct {
	Ordinal uint64
	Score   float64
}

// Search returns the Depth best documents by BM25, best first, and with them
// every further document that ties with the last; equal scores are in order of
// their ordinals.
//
//	score = Σ count · idf · tf / (tf + k1 · (1 − b + b · length / avglength))
//	idf   = ln(1 + (N − df + 0.5) / (df + 0.5))
//
// This is Lucene's form: idf is never negative, and there is no constant
// factor k1+1 (Kamphuis, de Vries, Boytsov, Lin: "Which BM25 do you mean?",
// ECIR 2020); the length is exact, where Lucene keeps it in one byte. N and
// avglength come from stats; df is counted over the living documents of all
// sources, whatever is allowed. The same documents get bit for bit the same
// scores however they are spread over segments: contributions are summed in
// the order of the terms.
//
// Ranges of sources may not overlap. It returns [ErrCorrupt], wrapped, if
// blocks are damaged or needed positions are missing.
func Search(q Query, sources []Source, stats Stats, opts Options) ([]Scored, error) {
	terms := mergeTerms(q.Terms)
	if len(terms) == 0 || len(sources) == 0 {
		return nil, nil
	}
	s := searchers.Get().(*searcher)
	defer s.end()
	s.begin(stats, opts)
	if err := s.find(terms, sources, stats); err != nil {
		return nil, err
	}
	for i := range sources {
		if err := s.segment(i, q, terms, &sources[i]); err != nil {
			return nil, fmt.Errorf("segment %d-%d: %w", sources[i].Low, sources[i].High, err)
		}
	}
	return s.top.result(), nil
}

// mergeTerms returns the terms sorted, each once.
func mergeTerms(terms []Weighted) []Weighted {
	terms = slices.Clone(terms)
	slices.SortStableFunc(terms, func(a, b Weighted) int { return strings.Compare(a.Term, b.Term) })
	merged := terms[:0]
	for _, t := range terms {
		if n := len(merged); n > 0 && merged[n-1].Term == t.Term {
			merged[n-1].Count += t.Count
		} else {
			merged = append(merged, t)
		}
	}
	return slices.DeleteFunc(merged, func(t Weighted) bool { return t.Count <= 0 })
}

// searchers keeps the memory of searches: about 100 kB each, and a page of
// scores for each 1,024 ordinals of the largest segment.
var searchers = sync.Pool{New: func() any { return new(searcher) }}

// maxCursors is how many decoders, of two kilobytes each, a searcher keeps.
const maxCursors = 64

// A searcher does one search.
type searcher struct {
	dec    decoder
	allow  *Set
	top    top
	blocks [][]byte  // postings by source and term
	weight []float64 // count · idf, by term
	norms  norms
	dead   []uint64 // ordinals of the source at hand

	bounds  []bounded // of the source at hand, greatest first
	cursors []decoder // parallel to bounds
	shares  []float64 // of the document at hand, by term

	pages  map[uint64]*scores // by number of page in the segment
	order  []uint64           // numbers of the pages in use
	unused []*scores
}

// scores are the sums of a page's documents; 0 is no hit.
type scores [pageSize]float64

func (s *searcher) begin(stats Stats, opts Options) {
	s.allow = opts.Allowed
	s.top = top{depth: opts.Depth, heap: s.top.heap[:0]}
	s.norms.begin(stats)
	if s.pages == nil {
		s.pages = make(map[uint64]*scores)
	}
}

// end gives the memory back, without what the search was about.
func (s *searcher) end() {
	s.recycle() // a search that ended with an error has not
	clear(s.blocks)
	s.dec.data, s.allow, s.top.hits = nil, nil, nil
	for i := range s.cursors {
		s.cursors[i].data = nil
	}
	if cap(s.cursors) > maxCursors {
		s.cursors = nil
	}
	searchers.Put(s)
}

func (s *searcher) recycle() {
	for _, number := range s.order {
		p := s.pages[number]
		clear(p[:])
		s.unused = append(s.unused, p)
	}
	s.order = s.order[:0]
	clear(s.pages)
}

// find looks the terms up and computes their weights.
func (s *searcher) find(terms []Weighted, sources []Source, stats Stats) error {
	s.blocks = slices.Grow(s.blocks[:0], len(terms)*len(sources))
	s.weight = s.weight[:0]
	df := make([]int64, len(terms))
	for i := range sources {
		source := &sources[i]
		if source.High < source.Low {
			return fmt.Errorf("postings: segment %d-%d has no range", source.Low, source.High)
		}
		s.dead = slices.AppendSeq(s.dead[:0], source.Dead.Range(source.Low, source.High))
		for j, t := range terms {
			block, ok, err := source.Lookup(t.Term)
			if err != nil {
				return err
			}
			if !ok {
				s.blocks = append(s.blocks, nil)
				continue
			}
			s.blocks = append(s.blocks, block.Postings)
			n, err := s.living(block, source)
			if err != nil {
				return fmt.Errorf("term %q of segment %d-%d: %w", t.Term, source.Low, source.High, err)
			}
			df[j] += n
		}
	}
	for j, t := range terms {
		// A store that counts wrongly may not make scores negative.
		n := max(float64(stats.Documents), float64(df[j]))
		idf := math.Log(1 + (n-float64(df[j])+0.5)/(float64(df[j])+0.5))
		s.weight = append(s.weight, float64(t.Count)*idf)
	}
	return nil
}

// living counts the living documents of a block.
func (s *searcher) living(block Block, source *Source) (int64, error) {
	if len(s.dead) == 0 {
		h, err := block.Header()
		return int64(h.Count), err
	}
	if err := s.dec.reset(block.Postings, source.High-source.Low); err != nil {
		return 0, err
	}
	n := int64(s.dec.Count)
	if s.dec.Count > len(s.dead) {
		for _, ordinal := range s.dead {
			if _, found, err := s.dec.seek(ordinal - source.Low); err != nil {
				return 0, err
			} else if found {
				n--
			}
		}
		return n, nil
	}
	dead := pageCursor{set: source.Dead}
	for {
		run, err := s.dec.read()
		if err != nil || len(run) == 0 {
			return n, err
		}
		for i := range run {
			if dead.has(source.Low + run[i].ordinal) {
				n--
			}
		}
	}
}

// segment scores the documents of one source and offers them to the top.
func (s *searcher) segment(index int, q Query, terms []Weighted, source *Source) error {
	if s.allow != nil && !s.allow.overlaps(source.Low, source.High) {
		return nil
	}
	defer s.recycle()
	blocks := s.blocks[index*len(terms) : (index+1)*len(terms)]
	if s.top.full() {
		return s.prune(q, blocks, source)
	}
	for term, data := range blocks {
		if data == nil {
			continue
		}
		if err := s.score(term, data, source); err != nil {
			return fmt.Errorf("term %q: %w", terms[term].Term, err)
		}
	}
	if len(s.order) == 0 {
		return nil
	}
	pass, err := s.gate(q, source)
	if err != nil {
		return err
	}
	s.collect(source, pass)
	return nil
}

// score adds one term's share to the documents of a block.
func (s *searcher) score(term int, data []byte, source *Source) error {
	if err := s.dec.reset(data, source.High-source.Low); err != nil {
		return err
	}
	var current *scores
	number, weight := uint64(math.MaxUint64), s.weight[term]
	for {
		run, err := s.dec.read()
		if err != nil {
			return err
		}
		if len(run) == 0 {
			return nil
		}
		for _, p := range run {
			if p.ordinal>>pageBits != number {
				number = p.ordinal >> pageBits
				current = s.page(number)
			}
			current[p.ordinal%pageSize] += s.norms.share(weight, p)
		}
	}
}

// page returns the scores of a page of the segment.
func (s *searcher) page(number uint64) *scores {
	if p := s.pages[number]; p != nil {
		return p
	}
	var p *scores
	if n := len(s.unused); n > 0 {
		p, s.unused = s.unused[n-1], s.unused[:n-1]
	} else {
		p = new(scores)
	}
	s.pages[number] = p
	s.order = append(s.order, number)
	return p
}

// A gate lets the living, allowed documents pass that satisfy the phrases.
type gate struct {
	dead, allow pageCursor
	allowAll    bool
	required    []*Set
	excluded    *Set
}

func (s *searcher) gate(q Query, source *Source) (*gate, error) {
	g := &gate{dead: pageCursor{set: source.Dead}, allow: pageCursor{set: s.allow}, allowAll: s.allow == nil}
	if !source.Dead.overlaps(source.Low, source.High) {
		g.dead.set = nil
	}
	var err error
	g.required, g.excluded, err = s.phrases(q, source)
	return g, err
}

func (g *gate) lets(ordinal uint64) bool {
	if !g.allowAll && !g.allow.has(ordinal) || g.dead.set != nil && g.dead.has(ordinal) {
		return false
	}
	for _, set := range g.required {
		if !set.Contains(ordinal) {
			return false
		}
	}
	return !g.excluded.Contains(ordinal)
}

// collect offers the documents that pass.
func (s *searcher) collect(source *Source, pass *gate) {
	slices.Sort(s.order)
	for _, number := range s.order {
		for i, score := range s.pages[number] {
			if score <= 0 || score < s.top.threshold {
				continue
			}
			if ordinal := source.Low + number<<pageBits + uint64(i); pass.lets(ordinal) {
				s.top.offer(Scored{Ordinal: ordinal, Score: score})
			}
		}
	}
}

// norms are the parts of the formula that depend on the length of a document,
// k1 · (1 − b + b · length / avglength), for the lengths of ordinary leaves.
type norms struct {
	average float64
	table   [512]float64
	stats   Stats
}

func (n *norms) begin(stats Stats) {
	if n.average != 0 && n.stats == stats {
		return
	}
	n.stats, n.average = stats, 1
	if stats.Documents > 0 && stats.Length > 0 {
		n.average = float64(stats.Length) / float64(stats.Documents)
	}
	for i := range n.table {
		n.table[i] = n.of(uint32(i))
	}
}

// share is what a posting adds to the score of its document.
func (n *norms) share(weight float64, p posting) float64 {
	tf := float64(p.tf)
	if p.length < uint32(len(n.table)) {
		return weight * tf / (tf + n.table[p.length])
	}
	return weight * tf / (tf + n.of(p.length))
}

// of computes one norm. The conversions keep every machine from fusing the
// multiplications with the additions, so that all compute the same bits.
func (n *norms) of(length uint32) float64 {
	return float64(K1 * (1 - B + float64(B*float64(length)/n.average)))
}

// A pageCursor asks a set for ordinals that come nearly in order.
type pageCursor struct {
	set    *Set
	page   *page
	number uint64
	loaded bool
}

func (c *pageCursor) has(ordinal uint64) bool {
	if number := ordinal >> pageBits; !c.loaded || number != c.number {
		c.page, c.number, c.loaded = c.set.page(number), number, true
	}
	return c.page != nil && c.page.has(ordinal)
}

// top keeps the best hits.
type top struct {
	depth     int
	heap      []float64 // the depth best scores, least first
	threshold float64   // least score that may still be among them
	hits      []Scored  // all that were at or above the threshold when offered
}

// full reports whether there are as many hits as are asked for.
func (t *top) full() bool { return t.depth > 0 && len(t.heap) == t.depth }

func (t *top) offer(hit Scored) {
	t.hits = append(t.hits, hit)
	if t.depth <= 0 {
		return
	}
	switch {
	case len(t.heap) < t.depth:
		t.heap = append(t.heap, hit.Score)
		t.up()
		if len(t.heap) < t.depth {
			return
		}
	case hit.Score > t.heap[0]:
		t.heap[0] = hit.Score
		t.down()
	default:
		return
	}
	t.threshold = t.heap[0]
	if len(t.hits) > 4*t.depth+1024 {
		t.prune()
	}
}

func (t *top) prune() {
	t.hits = slices.DeleteFunc(t.hits, func(h Scored) bool { return h.Score < t.threshold })
}

func (t *top) up() {
	for i := len(t.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if t.heap[parent] <= t.heap[i] {
			return
		}
		t.heap[parent], t.heap[i] = t.heap[i], t.heap[parent]
		i = parent
	}
}

func (t *top) down() {
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(t.heap) {
			return
		}
		if child+1 < len(t.heap) && t.heap[child+1] < t.heap[child] {
			child++
		}
		if t.heap[i] <= t.heap[child] {
			return
		}
		t.heap[i], t.heap[child] = t.heap[child], t.heap[i]
		i = child
	}
}

func (t *top) result() []Scored {
	t.prune()
	hits := t.hits
	t.hits = nil
	slices.SortFunc(hits, func(a, b Scored) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	return hits
}
