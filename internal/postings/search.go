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

// A searcher does one search.
type searcher struct {
	dec    decoder
	allow  *Set
	top    top
	blocks [][]byte  // postings by source and term
	weight []float64 // count · idf, by term
	norms  norms

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
		dirty := source.Dead.overlaps(source.Low, source.High)
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
			n, err := s.living(block, source, dirty)
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
func (s *searcher) living(block Block, source *Source, dirty bool) (int64, error) {
	if !dirty {
		h, err := block.Header()
		return int64(h.Count), err
	}
	if err := s.dec.reset(block.Postings, source.High-source.Low); err != nil {
		return 0, err
	}
	n := int64(0)
	dead := pageCursor{set: source.Dead}
	for {
		batch, err := s.dec.read()
		if err != nil || len(batch) == 0 {
			return n, err
		}
		for i := range batch {
			if !dead.has(source.Low + batch[i].ordinal) {
				n++
			}
		}
	}
}

// segment scores the documents of one source and offers them to the top.
func (s *searcher) segment(index int, q Query, terms []Weighted, source *Source) error {
	if s.allow != nil && !s.allow.overlaps(source.Low, source.High) {
		return nil
	}
	for j := range terms {
		if data := s.blocks[index*len(terms)+j]; data != nil {
			if err := s.score(data, source, s.weight[j]); err != nil {
				return fmt.Errorf("term %q: %w", terms[j].Term, err)
			}
		}
	}
	if len(s.order) > 0 {
		required, excluded, err := s.phrases(q, source)
		if err != nil {
			return err
		}
		s.collect(source, required, excluded)
	}
	s.recycle()
	return nil
}

// score adds one term's share to the documents of a block.
func (s *searcher) score(data []byte, source *Source, weight float64) error {
	if err := s.dec.reset(data, source.High-source.Low); err != nil {
		return err
	}
	var current *scores
	number := uint64(math.MaxUint64)
	for {
		batch, err := s.dec.read()
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			return nil
		}
		for _, p := range batch {
			if p.ordinal>>pageBits != number {
				number = p.ordinal >> pageBits
				current = s.page(number)
			}
			tf := float64(p.tf)
			norm := 0.0
			if p.length < uint32(len(s.norms.table)) {
				norm = s.norms.table[p.length]
			} else {
				norm = s.norms.of(p.length)
			}
			current[p.ordinal%pageSize] += weight * tf / (tf + norm)
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

// collect offers the living, allowed documents that satisfy the phrases.
func (s *searcher) collect(source *Source, required []*Set, excluded *Set) {
	slices.Sort(s.order)
	var dead, allow pageCursor
	dead.set, allow.set = source.Dead, s.allow
	if !source.Dead.overlaps(source.Low, source.High) {
		dead.set = nil
	}
	for _, number := range s.order {
		base := source.Low + number<<pageBits
	documents:
		for i, score := range s.pages[number] {
			if score <= 0 || score < s.top.threshold {
				continue
			}
			ordinal := base + uint64(i)
			if s.allow != nil && !allow.has(ordinal) || dead.set != nil && dead.has(ordinal) {
				continue
			}
			for _, set := range required {
				if !set.Contains(ordinal) {
					continue documents
				}
			}
			if excluded.Contains(ordinal) {
				continue
			}
			s.top.offer(Scored{Ordinal: ordinal, Score: score})
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
