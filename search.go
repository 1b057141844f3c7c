package llmemory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/internal/analysis"
	"github.com/llmemory/llmemory/internal/fusion"
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

// Fusion says how a hybrid search makes one ranking of two.
type Fusion string

// The fusions.
const (
	// Scaled is the weighted sum of text scores, as shares of the best one, and of cosines, on the scale from the least one found to
	// 1. What vectors find gets its text score too, whatever its rank by text is. It is the default.
	Scaled Fusion = "scaled"
	// MinMax is the weighted sum of scores that are brought to the range from 0 to 1 within their ranking.
	MinMax Fusion = "minmax"
	// RRF is reciprocal rank fusion with k = 60: Σ 1 / (k + rank).
	RRF Fusion = "rrf"
	// WeightedRRF is reciprocal rank fusion in which each ranking counts by its weight.
	WeightedRRF Fusion = "weighted_rrf"
)

// DefaultTextWeight is the weight of the text ranking in a hybrid search by [Scaled] fusion; the vectors have the rest to 1. How it
// was chosen is in docs/evaluation.md.
const DefaultTextWeight = 0.4

// otherTextWeight is the default of the other fusions, to which the text's best and the nearest vectors always count in full.
const otherTextWeight = 0.6

// SearchOptions narrow and shape a search. The zero value asks for the best 10 passages.
type SearchOptions struct {
	Where      // searches only documents that match
	Mode  Mode // defaults to Hybrid
	Limit int  // hits; defaults to 10, at most 1000
	// Candidates is how many passages each ranking of a hybrid search has, whatever the limit is. Defaults to 100, or the limit if
	// that is more; at most 1000.
	Candidates int
	Fusion     Fusion  // defaults to Scaled
	TextWeight float64 // of the text ranking, unless by RRF, above 0 and below 1; defaults to [DefaultTextWeight], 0.6 if not Scaled
	Parents    bool    // return each hit's parent chunk
	Neighbours int     // return so many chunks before and after each hit, at most 10
	Snippet    int     // longest snippet in bytes; defaults to 240; -1 for neither snippets nor highlights
	Explain    bool    // return what the search did and how long it took
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

// Scores holds the raw score of every stage that saw a hit; nil for the others. Text may be there although the hit is not in the text
// ranking: see [Scaled].
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
	Generation int64    // of the vectors, 0 without
	Model      string   // of the vectors
	Plan       string   // how the nearest vectors were found
	Nearest    int      // passages found by vectors
	Fusion     Fusion   // of a hybrid search
	TextWeight float64  // of a hybrid search
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

	defaultCandidates = 100
)

// Search finds the passages that answer a query best. By text, words are ORed and ranked by BM25; by vector, passages are ranked by
// the cosine similarity of their vectors to the question's; a hybrid search, the default, fuses both. In every mode, "quoted
// phrases" must occur, -word and -"phrase" must not. Where no passage that Where selects holds the phrases, their words are searched
// one by one, and Degraded says so. A hybrid search without vectors, for want of an embedder or because it fails, answers by text,
// and Degraded says so. Nil options mean defaults. Finding nothing is no error.
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
	search := &search{memory: o.memory, owner: o.id, options: s, query: query, clock: started}
	if result.Hits, err = search.run(ctx); err != nil {
		return nil, err
	}
	result.Degraded = search.degraded
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
	if s.Candidates, err = checkLimit("candidates", s.Candidates, max(defaultCandidates, s.Limit), maxLimit); err != nil {
		return err
	}
	switch s.Fusion {
	case "":
		s.Fusion = Scaled
	case Scaled, MinMax, RRF, WeightedRRF:
	default:
		return invalidf("fusion", "%q is none of %s, %s, %s, %s", s.Fusion, Scaled, MinMax, RRF, WeightedRRF)
	}
	switch {
	case s.TextWeight != 0:
	case s.Fusion == Scaled:
		s.TextWeight = DefaultTextWeight
	default:
		s.TextWeight = otherTextWeight
	}
	if !(s.TextWeight > 0 && s.TextWeight < 1) {
		return invalidf("text weight", "must be above 0 and below 1, is %v", s.TextWeight)
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

// search is one search on its way: terms and a vector, candidates, hits.
type search struct {
	memory      *Memory
	owner       string
	options     SearchOptions
	query       string
	clock       time.Time
	explanation Explanation
	degraded    []string
	fused       bool // two rankings are made
}

// stage notes how long the step that just ended took.
func (s *search) stage(name string) {
	now := time.Now()
	s.explanation.Stages = append(s.explanation.Stages, Stage{Name: name, Took: now.Sub(s.clock)})
	s.clock = now
}

// question is a query as a vector.
type question struct {
	generation *Generation
	vector     []float32
}

// run embeds the question, while no connection is held, and asks the store. Should another generation have become the active one
// meanwhile, it does so again. What a replica cannot answer, or not for the generation that the question was embedded for, the
// primary is asked.
func (s *search) run(ctx context.Context) ([]Hit, error) {
	var q *question
	var degraded []string
	for attempt, stale := 1, true; attempt <= 3; attempt++ {
		if stale {
			var err error
			if q, err = s.embed(ctx); err != nil || q == nil && s.options.Mode == ByVector {
				return nil, err
			}
			degraded = slices.Clip(s.degraded)
		}
		s.degraded = degraded
		var hits []Hit
		var err error
		hits, stale, err = s.ask(ctx, q)
		fresh, other := s.memory.fresh()
		if err == nil && !stale || err != nil && (!other || ctx.Err() != nil) {
			return hits, err
		}
		s.memory.models.forget(s.memory.store)
		s.memory = fresh
	}
	return nil, &UnavailableError{What: "vectors", Err: errors.New("the active generation changes faster than a question is embedded")}
}

// embed turns the question into a vector if the mode needs one and it can be had; a hybrid search goes without otherwise.
func (s *search) embed(ctx context.Context) (*question, error) {
	if s.options.Mode == ByText {
		return nil, nil
	}
	s.degraded = nil
	q, reason, err := s.memory.question(ctx, s.query)
	s.stage("embed")
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, ErrClosed):
		return nil, err
	case q != nil:
		s.fused = s.options.Mode == Hybrid
		return q, nil
	case s.options.Mode == ByVector && err != nil:
		return nil, err
	case s.options.Mode == ByVector && s.memory.config.Embedder == nil:
		return nil, invalidf("mode", "%q needs an embedder, and none is configured", s.options.Mode)
	case err != nil:
		reason = err.Error()
	}
	s.degraded = append(s.degraded, "vector: "+reason)
	return nil, nil
}

// question embeds a query for the active generation. Without a vector it says why: the reason if that is how things are set up,
// the error if it failed.
func (m *Memory) question(ctx context.Context, query string) (q *question, reason string, err error) {
	if m.config.Embedder == nil {
		return nil, "no embedder is configured", nil
	}
	words, _, _ := postings.ParseQuery(query)
	if words == "" {
		return nil, "the query only says what is not wanted", nil
	}
	list, err := m.generations(ctx)
	if err != nil {
		return nil, "", err
	}
	g := activeOf(list)
	if g == nil {
		return nil, "no passage has a vector yet: run llmemory embed, or add a document", nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.config.QueryTimeout)
	defer cancel()
	e := m.embedderOf(ctx, g)
	if e == nil {
		return nil, "", m.foreign(g)
	}
	vectors, err := e.Embed(ctx, embedding.Query, []string{words})
	if err == nil {
		err = embedding.Check(vectors, 1, g.Model.Dimensions)
	}
	if err != nil {
		return nil, "", providerError(err)
	}
	return &question{generation: g, vector: vectors[0]}, "", nil
}

// ask waits for the store at most three times: for the postings and, without a filter, the nearest vectors; for what a filter or
// an owner not seen before makes a second step; and for the hits' text. It waits once more if the passages that hold the phrases are
// not among those of a filter, and this has to be asked. All answers are of one snapshot. It is stale if the question's generation is
// not the active one.
func (s *search) ask(ctx context.Context, q *question) (hits []Hit, stale bool, err error) {
	store := s.memory.store
	key := ownerKey{store, s.owner}
	facts, seen := s.memory.owners.get(key)
	query, languages := s.analyse(facts.languages)
	s.stage("analyse")
	terms, positions := s.lookups(query)
	if len(terms) == 0 && q == nil {
		return nil, false, nil
	}
	view, err := store.View(ctx, ViewParams{Owner: s.owner})
	if err != nil {
		return nil, false, err
	}
	defer view.Close(ctx) //nolint:errcheck // reads only: nothing is lost
	params := PostingsParams{
		Owner: s.owner, Terms: terms, Positions: positions, Where: s.options.Where, SelectLimit: selectLimit,
	}
	nearest := s.nearest(q, facts.leaves, len(query.Exclude) > 0)
	if seen && params.Where.IsZero() && len(query.Phrases) == 0 {
		params.Vector = nearest
	}
	found, err := view.Postings(ctx, params)
	if err != nil {
		return nil, false, err
	}
	owned := sortedKeys(found.State.Languages)
	if !slices.Equal(owned, facts.languages) && missing(languages, analysis.QueryLanguages(s.query, owned)) {
		// The owner has gained a language since its list was cached.
		query, languages = s.analyse(owned)
		params.Terms, params.Positions = s.lookups(query)
		vector := found.Vector
		params.Vector = nil
		if found, err = view.Postings(ctx, params); err != nil {
			return nil, false, err
		}
		if len(query.Phrases) == 0 { // in the new language a stop word may be none: then the nearest must hold it
			found.Vector = vector
		}
	}
	s.memory.owners.put(key, ownerFacts{languages: owned, leaves: found.State.Leaves})
	s.stage("candidates")
	if found.State.Leaves > 0 && found.State.Analysis > analysis.Version {
		return nil, false, fmt.Errorf("%w: the text index of this owner was made by analysis version %d, this program knows version %d: upgrade it",
			ErrUnavailable, found.State.Analysis, analysis.Version)
	}
	if q != nil && found.Active != q.generation.ID {
		return nil, true, nil
	}
	s.explanation.Languages, s.explanation.Terms = languages, params.Terms
	if s.options.Explain && !seen { // it was asked in every language; only the owner's count
		asked, languages := s.analyse(owned)
		s.explanation.Languages = languages
		s.explanation.Terms, _ = s.lookups(asked)
	}

	s.explanation.Filter = "none"
	switch {
	case found.Broad:
		s.explanation.Filter = "broad"
	case found.Selected != nil:
		s.explanation.Filter = "selective"
	}
	var sources []postings.Source
	if s.options.Mode != ByVector || len(query.Phrases)+len(query.Exclude) > 0 {
		if sources, err = openSources(found); err != nil {
			return nil, false, err
		}
	}
	ranked, err := s.rank(ctx, view, query, sources, found, nearest)
	relaxed := err == nil && ranked.unmet
	if relaxed {
		// People quote titles and names that the text does not spell that way.
		query.Phrases = nil
		ranked, err = s.rank(ctx, view, query, sources, found, nearest)
	}
	if err != nil {
		return nil, false, err
	}
	near := s.conditioned(ranked)
	worded, err := s.worded(query, sources, found, ranked.scored, near)
	if err != nil {
		return nil, false, err
	}
	candidates := s.fuse(ranked.scored, worded, near, q)
	if len(candidates) == 0 {
		return nil, false, nil
	}
	if relaxed {
		s.degraded = append(s.degraded, "phrase: no passage holds the quoted words together; they were searched one by one")
	}
	if hits, err = s.hydrate(ctx, view, candidates); err != nil {
		return nil, false, err
	}
	s.stage("hydrate")
	s.highlight(hits, query)
	s.stage("highlight")
	return hits, false, nil
}

// nearest asks for the passages nearest to the question, for more of them if some are likely to be excluded.
func (s *search) nearest(q *question, leaves int64, excludes bool) *VectorParams {
	if q == nil {
		return nil
	}
	limit := s.options.Limit
	if s.fused {
		limit = s.options.Candidates
	}
	if excludes {
		limit = min(2*limit+100, maxLimit)
	}
	return &VectorParams{Generation: q.generation.ID, Query: q.vector, Limit: limit, Rows: leaves}
}

// among returns the leaves that pass both conditions, nil if there is none of either.
func among(selected []uint64, required *postings.Set) []uint64 {
	switch {
	case required == nil:
		return selected
	case selected == nil:
		return slices.AppendSeq([]uint64{}, required.All())
	}
	out := []uint64{}
	for _, ordinal := range selected {
		if required.Contains(ordinal) {
			out = append(out, ordinal)
		}
	}
	return out
}

// ranking is what text and vectors find.
type ranking struct {
	scored []postings.Scored
	vector *VectorRecord
	// required are the passages that phrases let pass, nil for all; excluded are those that exclusions do not.
	required, excluded *postings.Set
	unmet              bool // there are phrases, and no passage that the filter selects holds them: nothing is found
}

// rank asks text and vectors for what they find. Nearest are the vectors to ask for, unless they are there already.
func (s *search) rank(ctx context.Context, view View, query postings.Query, sources []postings.Source, found *PostingsRecord,
	nearest *VectorParams) (r ranking, err error) {
	if s.options.Mode != ByVector {
		if r.scored, err = s.score(query, sources, found); err != nil {
			return r, err
		}
	}
	s.explanation.Candidates = len(r.scored)
	if nearest != nil && len(query.Phrases)+len(query.Exclude) > 0 {
		if r.required, r.excluded, err = postings.Conditions(query, sources); err != nil {
			return r, fmt.Errorf("%w: search the text index: %w", ErrCorrupt, err)
		}
	}
	s.stage("score")
	if nearest != nil && found.Vector == nil {
		asked := *nearest
		asked.Rows, asked.Among = found.State.Leaves, among(found.Selected, r.required)
		nearest = &asked
	} else {
		nearest = nil
	}
	holders := r.scored // of the phrases
	if s.options.Mode == ByVector && r.required != nil {
		holders = make([]postings.Scored, len(nearest.Among))
		for i, ordinal := range nearest.Among {
			holders[i].Ordinal = ordinal
		}
	}
	if r.unmet = len(query.Phrases) > 0 && len(holders) == 0; r.unmet {
		return r, nil
	}
	r.vector = found.Vector
	if nearest != nil || found.Broad && len(holders) > 0 {
		if holders, r.vector, err = s.match(ctx, view, holders, found.Broad, nearest, r.vector); err != nil {
			return r, err
		}
		s.stage("filter")
	}
	if s.options.Mode != ByVector {
		r.scored = holders
	}
	r.unmet = len(query.Phrases) > 0 && len(holders) == 0
	return r, nil
}

// conditioned returns the nearest vectors without those that phrases and exclusions do not let pass.
func (s *search) conditioned(r ranking) []VectorHit {
	if r.vector == nil {
		return nil
	}
	s.explanation.Plan = r.vector.Plan
	hits := r.vector.Found
	if r.required != nil || r.excluded != nil {
		hits = slices.DeleteFunc(hits, func(h VectorHit) bool {
			return r.required != nil && !r.required.Contains(h.Ordinal) || r.excluded.Contains(h.Ordinal)
		})
	}
	s.explanation.Nearest = len(hits)
	return hits
}

// worded returns the text scores of those among the nearest passages that the text ranking does not have, for the fusion that asks
// for them. Their terms are here already.
func (s *search) worded(query postings.Query, sources []postings.Source, found *PostingsRecord, scored []postings.Scored,
	nearest []VectorHit) ([]postings.Scored, error) {
	if !s.fused || s.options.Fusion != Scaled {
		return nil, nil
	}
	ranked := make(map[uint64]bool, len(scored))
	for _, c := range scored {
		ranked[c.Ordinal] = true
	}
	var ordinals []uint64
	for _, h := range nearest {
		if !ranked[h.Ordinal] {
			ordinals = append(ordinals, h.Ordinal)
		}
	}
	slices.Sort(ordinals)
	scores, err := postings.Scores(query, sources, stats(found), ordinals)
	if err != nil {
		return nil, fmt.Errorf("%w: search the text index: %w", ErrCorrupt, err)
	}
	var worded []postings.Scored
	for i, ordinal := range ordinals {
		if scores[i] > 0 {
			worded = append(worded, postings.Scored{Ordinal: ordinal, Score: scores[i]})
		}
	}
	return worded, nil
}

// candidate is a passage with what the rankings say of it.
type candidate struct {
	ordinal uint64
	score   float64
	scores  Scores
}

// fuse makes one ranking, best first. Worded are the nearest that the text ranking lacks and that have some of the words.
func (s *search) fuse(scored, worded []postings.Scored, nearest []VectorHit, q *question) []candidate {
	if q == nil {
		out := make([]candidate, len(scored))
		for i, c := range scored {
			out[i] = candidate{c.Ordinal, c.Score, Scores{Text: &scored[i].Score}}
		}
		return out
	}
	s.explanation.Generation = q.generation.ID
	if s.options.Explain {
		s.explanation.Model = q.generation.Model.Identity()
	}
	if s.options.Mode == ByVector {
		out := make([]candidate, len(nearest))
		for i, c := range nearest {
			out[i] = candidate{c.Ordinal, c.Cosine, Scores{Vector: &nearest[i].Cosine}}
		}
		return out
	}
	o := s.options
	s.explanation.Fusion, s.explanation.TextWeight = o.Fusion, o.TextWeight
	scored = slices.Concat(scored, worded)
	scores := make(map[uint64]*Scores, len(scored)+len(nearest))
	text := fusion.Ranking{Weight: o.TextWeight, Candidates: make([]fusion.Candidate, len(scored))}
	for i, c := range scored {
		text.Candidates[i] = fusion.Candidate{ID: c.Ordinal, Score: c.Score}
		scores[c.Ordinal] = &Scores{Text: &scored[i].Score}
	}
	vector := fusion.Ranking{Weight: 1 - o.TextWeight, Candidates: make([]fusion.Candidate, len(nearest))}
	for i, c := range nearest {
		vector.Candidates[i] = fusion.Candidate{ID: c.Ordinal, Score: c.Cosine}
		if scores[c.Ordinal] == nil {
			scores[c.Ordinal] = &Scores{}
		}
		scores[c.Ordinal].Vector = &nearest[i].Cosine
	}
	var fused []fusion.Candidate
	switch o.Fusion {
	case RRF:
		text.Weight, vector.Weight = 1, 1
		fused = fusion.RRF(fusion.RRFConstant, text, vector)
	case WeightedRRF:
		fused = fusion.RRF(fusion.RRFConstant, text, vector)
	case MinMax:
		fused = fusion.MinMax(text, vector)
	default:
		fused = fusion.Scaled(text, vector)
	}
	out := make([]candidate, len(fused))
	for i, c := range fused {
		out[i] = candidate{c.ID, c.Score, *scores[c.ID]}
		out[i].scores.Fused = &fused[i].Score
	}
	return out
}

func (s *search) analyse(owned []string) (postings.Query, []string) {
	languages := analysis.QueryLanguages(s.query, owned)
	build := postings.Build
	if s.options.Mode == ByVector && s.options.Snippet < 0 { // words are neither looked up nor highlighted
		build = postings.BuildConditions
	}
	q := build(func(language, text string) []postings.Token {
		raw, _ := s.memory.analyzer.AnalyzeQuery(language, text, nil)
		tokens := make([]postings.Token, len(raw))
		for i, t := range raw {
			tokens[i] = postings.Token{Term: t.Term, Position: t.Position}
		}
		return tokens
	}, languages, s.query)
	return q, languages
}

// lookups returns the terms that the query reads, and whether it needs their positions. A search by vectors needs those of its
// conditions only.
func (s *search) lookups(q postings.Query) (terms []string, positions bool) {
	if s.options.Mode == ByVector {
		q.Terms = nil
	}
	for _, l := range q.Lookups() {
		terms = append(terms, l.Term)
		positions = positions || l.Positions
	}
	return terms, positions
}

// openSources opens the segments that were read.
func openSources(found *PostingsRecord) ([]postings.Source, error) {
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
	return sources, nil
}

func stats(found *PostingsRecord) postings.Stats {
	return postings.Stats{Documents: found.State.Leaves, Length: found.State.Length}
}

// score ranks the leaves that match.
func (s *search) score(query postings.Query, sources []postings.Source, found *PostingsRecord) ([]postings.Scored, error) {
	options := postings.Options{Depth: s.depth()}
	switch {
	case found.Broad:
		options.Depth = 0 // all: the filter is applied to the ranking
	case found.Selected != nil:
		options.Allowed = postings.NewSet(found.Selected...)
	}
	scored, err := postings.Search(query, sources, stats(found), options)
	if err != nil {
		return nil, fmt.Errorf("%w: search the text index: %w", ErrCorrupt, err)
	}
	return scored, nil
}

// depth is how many passages the text ranking needs.
func (s *search) depth() int {
	if s.fused {
		return s.options.Candidates
	}
	return s.options.Limit
}

// match applies a broad filter to the text ranking: to the best first, to the others only if too few of these pass. A stage never
// ends between two candidates of equal score, so the ties of the last hit are all there. The nearest vectors that a filter
// selects, if asked for, come with it.
func (s *search) match(ctx context.Context, view View, scored []postings.Scored, broad bool, nearest *VectorParams, vector *VectorRecord) (
	[]postings.Scored, *VectorRecord, error) {
	limit := s.depth()
	p := MatchParams{Owner: s.owner, Limit: limit, Vector: nearest}
	if broad {
		p.Where = s.options.Where
		p.Ordinals = make([]uint64, len(scored))
		for i, c := range scored {
			p.Ordinals[i] = c.Ordinal
		}
		from := 0
		for i, size := range []int{max(512, 4*limit), max(8192, 16*limit), len(scored)} {
			to := min(from+size, len(scored))
			for to > from && to < len(scored) && scored[to].Score == scored[to-1].Score {
				to++
			}
			p.Stages[i] = to - from
			from = to
		}
	}
	passed, err := view.Match(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	if nearest != nil {
		vector = passed.Vector
	}
	if broad {
		ok := postings.NewSet(passed.Ordinals...)
		scored = slices.DeleteFunc(scored, func(c postings.Scored) bool { return !ok.Contains(c.Ordinal) })
		// The stages let more pass than the ranking is meant to have.
		for n := limit; n < len(scored); n++ {
			if scored[n].Score != scored[n-1].Score {
				scored = scored[:n]
			}
		}
	}
	return scored, vector, nil
}

// hydrate loads text and context of the best candidates, and breaks ties by chunk id.
func (s *search) hydrate(ctx context.Context, view View, candidates []candidate) ([]Hit, error) {
	p := HitsParams{Owner: s.owner, Limit: s.options.Limit, Parents: s.options.Parents, Neighbours: s.options.Neighbours}
	known := make(map[uint64]*candidate, len(candidates))
	group := 0
	for i, c := range candidates {
		if i > 0 && c.score != candidates[i-1].score {
			if i >= s.options.Limit {
				break
			}
			group++
		}
		p.Ordinals, p.Groups = append(p.Ordinals, c.ordinal), append(p.Groups, group)
		known[c.ordinal] = &candidates[i]
	}
	records, err := view.Hits(ctx, p)
	if err != nil {
		return nil, err
	}
	hits := make([]Hit, len(records))
	for i, r := range records {
		c := known[r.Chunk.Ordinal]
		hits[i] = Hit{
			Chunk: r.Chunk.Chunk, Document: r.Document, Score: c.score, Scores: c.scores,
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
