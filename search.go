package llmemory

import (
	"context"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/llmemory/llmemory/internal/analysis"
	"github.com/llmemory/llmemory/internal/postings"
)

// Mode says how to search.
type Mode string

// The search modes.
const (
	// Hybrid fuses text and vector search. It is the default, and without vectors it degrades to text and says so.
	Hybrid Mode = "hybrid"
	// ByVector finds passages by meaning alone.
	ByVector Mode = "vector"
	// ByText finds passages by words alone.
	ByText Mode = "text"
)

// SearchOptions narrow and shape a search. The zero value asks for the best 10 passages.
type SearchOptions struct {
	Where           // searches only documents that match
	Mode       Mode // defaults to Hybrid
	Limit      int  // hits; defaults to 10, at most 1000
	Parents    bool // return each hit's parent chunk
	Neighbours int  // return so many chunks before and after each hit, at most 10
	Snippet    int  // longest snippet in bytes; defaults to 240; -1 for neither snippets nor highlights
	Explain    bool // return what the search did and how long it took
}

// Result is the answer of a search.
type Result struct {
	Query string
	Mode  Mode // as asked for
	// Degraded says what is missing from the answer and why, such as "vector: no embedder is configured". Empty when the
	// answer is whole.
	Degraded    []string
	Hits        []Hit // best first
	Took        time.Duration
	Explanation *Explanation // when asked for
}

// Hit is a passage found.
type Hit struct {
	Chunk
	Document StoredDocument
	// Score is what the hits are sorted by. It is of one scale within a search.
	Score  float64
	Scores Scores
	// Snippet is the part of Text that fits the question best; Highlights are the places of the question's words in Text.
	Snippet    string
	Highlights []Span
	Parent     *Chunk  // with SearchOptions.Parents, where there is one
	Before     []Chunk // with SearchOptions.Neighbours, in order
	After      []Chunk
}

// Scores holds the raw score of every stage that saw a hit; nil for the others.
type Scores struct {
	Text   *float64 `json:"text,omitempty"`   // BM25
	Vector *float64 `json:"vector,omitempty"` // cosine similarity
	Fused  *float64 `json:"fused,omitempty"`
	Rerank *float64 `json:"rerank,omitempty"`
}

// Span is a range of bytes.
type Span struct{ Start, End int }

// Explanation tells what a search did.
type Explanation struct {
	Languages  []string // the query was analysed for
	Terms      []string // looked up, tagged by language
	Candidates int      // passages that matched before the limit
	Filter     string   // how the filter was applied: "none", "selective" or "broad"
	Stages     []Stage
}

// Stage is one step of a search.
type Stage struct {
	Name string
	Took time.Duration
}

const (
	// selectLimit is how many leaves a filter may select to be handed to the scorer as a set. Broader filters are checked on the
	// best candidates instead, which they are likely to let pass.
	selectLimit = 10_000
	defaultSnip = 240
)

// Search finds the passages that answer a query best: words are ORed and ranked by BM25, "quoted phrases" must occur, -word and
// -"phrase" must not. Where no passage holds the phrases, their words are searched one by one, and Degraded says so. Nil options mean defaults. Finding nothing is no error.
//
// Errors: [*InvalidError], [ErrUnavailable], [ErrClosed], or the context's.
func (o *Owner) Search(ctx context.Context, query string, opts *SearchOptions) (*Result, error) {
	started := time.Now()
	var s SearchOptions
	if opts != nil {
		s = *opts
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := s.check(query); err != nil {
		return nil, err
	}
	where, err := s.normalize()
	if err != nil {
		return nil, err
	}
	s.Where = where
	result := &Result{Query: query, Mode: s.Mode}
	switch s.Mode {
	case Hybrid:
		result.Degraded = []string{"vector: no embedder is configured"}
	case ByVector:
		return nil, invalidf("mode", "%q needs an embedder, and none is configured", s.Mode)
	}
	search := &search{memory: o.memory, owner: o.id, options: s, query: query, clock: started}
	if result.Hits, err = search.run(ctx); err != nil {
		return nil, err
	}
	if search.relaxed {
		result.Degraded = append(result.Degraded, "phrase: no passage holds the quoted words together; they were searched one by one")
	}
	result.Took = time.Since(started)
	if s.Explain {
		result.Explanation = &search.explanation
	}
	return result, nil
}

func (s *SearchOptions) check(query string) error {
	switch {
	case query == "":
		return invalidf("query", "must not be empty")
	case len(query) > maxQueryBytes:
		return invalidf("query", "must be at most %d bytes long, is %d", maxQueryBytes, len(query))
	case !utf8.ValidString(query):
		return invalidf("query", "must be valid UTF-8")
	}
	switch s.Mode {
	case "":
		s.Mode = Hybrid
	case Hybrid, ByVector, ByText:
	default:
		return invalidf("mode", "%q is none of %s, %s, %s", s.Mode, Hybrid, ByVector, ByText)
	}
	var err error
	if s.Limit, err = checkLimit("limit", s.Limit, 10, maxLimit); err != nil {
		return err
	}
	if s.Neighbours < 0 || s.Neighbours > maxNeighbours {
		return invalidf("neighbours", "must be 0 to %d, is %d", maxNeighbours, s.Neighbours)
	}
	switch {
	case s.Snippet == 0:
		s.Snippet = defaultSnip
	case s.Snippet < -1:
		return invalidf("snippet", "must be a number of bytes, or -1 for none, is %d", s.Snippet)
	}
	return s.Where.validate()
}

// search is one search on its way: terms, candidates, hits.
type search struct {
	memory      *Memory
	owner       string
	options     SearchOptions
	query       string
	clock       time.Time
	explanation Explanation
	relaxed     bool // no passage holds the phrases: their words were searched
}

// stage notes how long the step that just ended took.
func (s *search) stage(name string) {
	now := time.Now()
	s.explanation.Stages = append(s.explanation.Stages, Stage{Name: name, Took: now.Sub(s.clock)})
	s.clock = now
}

// run waits for the store at most three times: for the postings, for a broad filter, and for the hits' text. All answers are of
// one snapshot.
func (s *search) run(ctx context.Context) ([]Hit, error) {
	store := s.memory.store
	cache, key := &s.memory.languages, languageKey{store, s.owner}
	known := cache.get(key)
	query, languages := s.analyse(known)
	s.stage("analyse")
	terms, positions := lookups(query)
	if len(terms) == 0 {
		return nil, nil
	}
	view, err := store.View(ctx, ViewParams{Owner: s.owner})
	if err != nil {
		return nil, err
	}
	defer view.Close(context.WithoutCancel(ctx)) //nolint:errcheck // reads only: nothing is lost
	params := PostingsParams{
		Owner: s.owner, Terms: terms, Positions: positions, Where: s.options.Where, SelectLimit: selectLimit,
	}
	found, err := view.Postings(ctx, params)
	if err != nil {
		return nil, err
	}
	owned := sortedKeys(found.State.Languages)
	if missing(languages, analysis.QueryLanguages(s.query, owned)) {
		// The owner has gained a language since its list was cached.
		query, languages = s.analyse(owned)
		params.Terms, params.Positions = lookups(query)
		if found, err = view.Postings(ctx, params); err != nil {
			return nil, err
		}
	}
	cache.put(key, owned)
	s.stage("postings")
	if found.State.Leaves > 0 && found.State.Analysis > analysis.Version {
		return nil, fmt.Errorf("%w: the text index of this owner was made by analysis version %d, this program knows version %d: upgrade it",
			ErrUnavailable, found.State.Analysis, analysis.Version)
	}
	s.explanation.Languages, s.explanation.Terms = languages, params.Terms

	scored, err := s.score(query, found)
	if err != nil {
		return nil, err
	}
	if len(scored) == 0 && len(query.Phrases) > 0 {
		// People quote titles and names that the text does not spell that way.
		query.Phrases = nil
		if scored, err = s.score(query, found); err != nil {
			return nil, err
		}
		s.relaxed = len(scored) > 0
	}
	s.explanation.Candidates = len(scored)
	s.stage("score")
	s.explanation.Filter = "none"
	switch {
	case found.Broad:
		s.explanation.Filter = "broad"
		if scored, err = s.match(ctx, view, scored); err != nil {
			return nil, err
		}
		s.stage("filter")
	case found.Selected != nil:
		s.explanation.Filter = "selective"
	}
	if len(scored) == 0 {
		return nil, nil
	}
	hits, err := s.hydrate(ctx, view, scored)
	if err != nil {
		return nil, err
	}
	s.stage("hydrate")
	s.highlight(hits, query)
	s.stage("highlight")
	return hits, nil
}

func (s *search) analyse(owned []string) (postings.Query, []string) {
	languages := analysis.QueryLanguages(s.query, owned)
	q := postings.Build(func(language, text string) []postings.Token {
		raw, _ := s.memory.analyzer.AnalyzeQuery(language, text, nil)
		tokens := make([]postings.Token, len(raw))
		for i, t := range raw {
			tokens[i] = postings.Token{Term: t.Term, Position: t.Position}
		}
		return tokens
	}, languages, s.query)
	return q, languages
}

// lookups returns the terms that the query reads, and whether it needs their positions.
func lookups(q postings.Query) (terms []string, positions bool) {
	for _, l := range q.Lookups() {
		terms = append(terms, l.Term)
		positions = positions || l.Positions
	}
	return terms, positions
}

// score ranks the leaves that match.
func (s *search) score(query postings.Query, found *PostingsRecord) ([]postings.Scored, error) {
	sources := make([]postings.Source, 0, len(found.Segments))
	for _, l := range found.Segments {
		dead, err := deadSet(l.Segment)
		if err != nil {
			return nil, err
		}
		pages, err := openPages(l)
		if err != nil {
			return nil, err
		}
		sources = append(sources, postings.Source{Low: l.Low, High: l.High, Dead: dead, Lookup: pages.Lookup})
	}
	options := postings.Options{Depth: s.options.Limit}
	switch {
	case found.Broad:
		options.Depth = 0 // all: the filter is applied to the ranking
	case found.Selected != nil:
		options.Allowed = postings.NewSet(found.Selected...)
	}
	scored, err := postings.Search(query, sources, postings.Stats{Documents: found.State.Leaves, Length: found.State.Length}, options)
	if err != nil {
		return nil, fmt.Errorf("%w: search the text index: %w", ErrCorrupt, err)
	}
	return scored, nil
}

// match applies a broad filter to the ranking: to the best first, to the others only if too few of these pass. A stage never
// ends between two candidates of equal score, so the ties of the last hit are all there.
func (s *search) match(ctx context.Context, view View, scored []postings.Scored) ([]postings.Scored, error) {
	p := MatchParams{Owner: s.owner, Where: s.options.Where, Limit: s.options.Limit, Ordinals: make([]uint64, len(scored))}
	for i, c := range scored {
		p.Ordinals[i] = c.Ordinal
	}
	from := 0
	for i, size := range []int{max(512, 4*s.options.Limit), max(8192, 16*s.options.Limit), len(scored)} {
		to := min(from+size, len(scored))
		for to > from && to < len(scored) && scored[to].Score == scored[to-1].Score {
			to++
		}
		p.Stages[i] = to - from
		from = to
	}
	passed, err := view.Match(ctx, p)
	if err != nil {
		return nil, err
	}
	ok := postings.NewSet(passed...)
	return slices.DeleteFunc(scored, func(c postings.Scored) bool { return !ok.Contains(c.Ordinal) }), nil
}

// hydrate loads text and context of the best candidates, and breaks ties by chunk id.
func (s *search) hydrate(ctx context.Context, view View, scored []postings.Scored) ([]Hit, error) {
	p := HitsParams{Owner: s.owner, Limit: s.options.Limit, Parents: s.options.Parents, Neighbours: s.options.Neighbours}
	scores := make(map[uint64]float64, len(scored))
	group := 0
	for i, c := range scored {
		if i > 0 && c.Score != scored[i-1].Score {
			if i >= s.options.Limit {
				break
			}
			group++
		}
		p.Ordinals, p.Groups = append(p.Ordinals, c.Ordinal), append(p.Groups, group)
		scores[c.Ordinal] = c.Score
	}
	records, err := view.Hits(ctx, p)
	if err != nil {
		return nil, err
	}
	hits := make([]Hit, len(records))
	for i, r := range records {
		score := scores[r.Chunk.Ordinal]
		hits[i] = Hit{
			Chunk: r.Chunk.Chunk, Document: r.Document, Score: score, Scores: Scores{Text: &score},
			Parent: r.Parent, Before: r.Before, After: r.After,
		}
	}
	return hits, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// missing tells whether want has something that have has not.
func missing(have, want []string) bool {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return true
		}
	}
	return false
}
