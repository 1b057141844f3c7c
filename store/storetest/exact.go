package storetest

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/analysis"
	"github.com/llmemory/llmemory/internal/soak"
)

// testExact asks many questions after a random history of adds, updates, deletes, folds and merges, and compares the ten best hits
// of each with those of a scorer that reads every live text: 300 questions about 100,000 chunks in the long form. Folding, merging,
// opening anew and what another owner does may not change an answer, to the last bit.
func (s *suite) testExact(t *testing.T) {
	chunks, questions := soak.Pick(1200, 100_000), soak.Pick(30, 300)
	if s.Brief {
		chunks, questions = soak.Pick(200, 10_000), 20
	}
	n := seed(t)
	store := s.open(t)
	h := &exactHistory{Rand: rand.New(rand.NewPCG(n, 1)), docs: map[string]llmemory.Document{}}
	open := func() {
		h.memory = memory(t, store)
		h.owner = h.memory.Owner("exact")
	}
	open()
	started := time.Now()
	h.run(t, chunks, s.scale(25, 8))
	if stats := h.stats(t); stats.Chunks != int64(h.leaves) || stats.Documents != int64(len(h.docs)) {
		t.Fatalf("%d chunks of %d documents, want %d of %d", stats.Chunks, stats.Documents, h.leaves, len(h.docs))
	}
	if index := h.stats(t).Index; index.Unfolded == 0 || index.DeadLeaves == 0 || index.Segments < 3 {
		t.Fatalf("the history leaves nothing to fold or to purge: %+v", index)
	}

	t.Logf("%d changes, after which there are %d chunks of %d documents: %s", h.changes, h.leaves, len(h.docs), time.Since(started).Round(time.Second))

	started = time.Now()
	asked := h.ask(t, questions)
	asked.check(t, h, "after the history")
	t.Logf("%d questions asked and answered by reading everything: %s", questions, time.Since(started).Round(time.Second))

	before := h.stats(t).Index.Segments
	for i := 0; h.stats(t).Index.Segments >= before; i++ {
		if i > 40 {
			t.Fatalf("no fold in %d additions", i)
		}
		h.add(t, h.document(fmt.Sprint("folding ", i), 1))
	}
	asked.check(t, h, "after a fold")

	for must(h.memory.Maintain(t.Context()))(t) > 0 {
	}
	asked.same(t, h, "after maintenance")
	if s.Reopen != nil {
		store = s.Reopen(t, store)
		open()
		asked.same(t, h, "after opening anew")
	}

	stranger := h.memory.Owner("stranger")
	for from := 0; from < chunks/10; from += 200 {
		add(t, stranger, h.document(fmt.Sprint(from), 199))
		add(t, stranger, h.document(fmt.Sprint(from+199), 1))
	}
	must(h.memory.Maintain(t.Context()))(t)
	asked.same(t, h, "after another owner's inserts")
}

// exactHistory is an owner under change, and what it should hold.
type exactHistory struct {
	*rand.Rand
	memory *llmemory.Memory
	owner  *llmemory.Owner
	docs   map[string]llmemory.Document // by key
	keys   []string                     // of docs, in an order that the seed decides
	copies []string                     // paragraphs that several leaves share, which makes ties

	leaves, changes int
}

// word draws from 40,000 words by Zipf's law: the most common is in nearly every leaf.
func (h *exactHistory) word() string {
	n := int(math.Exp(h.Float64() * math.Log(40_000)))
	var b strings.Builder
	for ; n > 0; n /= 60 {
		b.WriteByte("bdfglmnprstvz"[n%60/5])
		b.WriteByte("aeiou"[n%5])
	}
	return b.String() + "k" // no word is another's stem
}

func (h *exactHistory) words(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = h.word()
	}
	return strings.Join(list, " ")
}

func (h *exactHistory) paragraph() string {
	switch n := h.IntN(20); {
	case n == 0 && len(h.copies) > 0:
		return h.copies[h.IntN(len(h.copies))]
	case n == 1:
		h.copies = append(h.copies, h.words(2+h.IntN(6)))
		return h.copies[len(h.copies)-1]
	case n == 2:
		return "# " + h.words(1+h.IntN(5))
	}
	return h.words(3+h.IntN(60)) + "."
}

func (h *exactHistory) document(key string, leaves int) llmemory.Document {
	parts := make([]string, leaves)
	for i := range parts {
		parts[i] = h.paragraph()
	}
	doc := llmemory.Document{
		OriginID: []string{"most", "most", "most", "most", "some", "few"}[h.IntN(6)], Key: key,
		Language: []string{"en", "en", "de"}[h.IntN(3)], Content: join(parts...), Metadata: map[string]any{"group": h.IntN(20)},
	}
	if h.IntN(3) == 0 {
		doc.Name = h.words(2)
	}
	return doc
}

func (h *exactHistory) add(t *testing.T, docs ...llmemory.Document) {
	t.Helper()
	addMany(t, h.owner, docs)
	for _, d := range docs {
		if old, known := h.docs[d.Key]; !known {
			h.keys = append(h.keys, d.Key)
		} else {
			h.leaves -= leavesOf(old)
		}
		h.docs[d.Key] = d
		h.leaves += leavesOf(d)
	}
}

// leavesOf returns how many leaves a document has: each paragraph is one.
func leavesOf(d llmemory.Document) int { return strings.Count(d.Content, "\n\n") + 1 }

func (h *exactHistory) stats(t *testing.T) *llmemory.Stats {
	return must(h.owner.Stats(t.Context()))(t)
}

// run makes changes until there are so many chunks, and then so many more.
func (h *exactHistory) run(t *testing.T, chunks, more int) {
	t.Helper()
	next := 0
	fresh := func() llmemory.Document {
		next++
		leaves := 1 + h.IntN(3)
		switch n := h.IntN(20); {
		case n == 0:
			leaves = 1 + h.IntN(chunks/20)
		case n < 8:
			leaves = 1 + h.IntN(30)
		}
		return h.document(fmt.Sprint("document ", next), leaves)
	}
	for more > 0 {
		if h.leaves >= chunks {
			more--
		}
		h.changes++
		switch n := h.IntN(100); {
		case n < 35:
			h.add(t, fresh())
		case n < 60:
			list := make([]llmemory.Document, 1+h.IntN(30))
			for i := range list {
				list[i] = fresh()
			}
			h.add(t, list...)
		case len(h.keys) == 0:
		case n < 85:
			h.add(t, h.change(h.docs[h.keys[h.IntN(len(h.keys))]]))
		case n < 97:
			var ids []string
			for range 1 + h.IntN(3) {
				if len(h.keys) > 0 {
					ids = append(ids, h.forget(h.IntN(len(h.keys))))
				}
			}
			must(h.owner.Delete(t.Context(), ids...))(t)
		case n < 98:
			group := h.IntN(20)
			where := llmemory.Where{Origins: []string{"few"}, Metadata: llmemory.Meta("group").Eq(group)}
			must(h.owner.DeleteWhere(t.Context(), where))(t)
			for i := len(h.keys) - 1; i >= 0; i-- {
				if d := h.docs[h.keys[i]]; d.OriginID == "few" && d.Metadata["group"] == group {
					h.forget(i)
				}
			}
		default:
			must(h.memory.Maintain(t.Context()))(t)
		}
	}
	for i := range 5 { // something to fold, something to purge
		h.add(t, h.document(fmt.Sprint("last ", i), 2))
	}
	must(h.owner.Delete(t.Context(), h.forget(len(h.keys)-1), h.forget(0)))(t)
	d := h.docs[h.keys[len(h.keys)-1]]
	d.Content = h.paragraph() + "\n\n" + d.Content
	h.add(t, d)
}

// change returns another version of a document.
func (h *exactHistory) change(d llmemory.Document) llmemory.Document {
	parts := strings.Split(d.Content, "\n\n")
	at := h.IntN(len(parts))
	switch h.IntN(6) {
	case 0:
		parts = slices.Insert(parts, at, h.paragraph())
	case 1:
		if len(parts) > 1 {
			parts = slices.Delete(parts, at, at+1)
		}
	case 2: // whatever follows
		for i := range parts[at:] {
			parts[at+i] = h.paragraph()
		}
	case 3:
		d.Metadata = map[string]any{"group": h.IntN(20)}
	case 4:
		d.Name = h.words(3)
	default:
		parts[at] = h.paragraph()
	}
	d.Content = join(parts...)
	return d
}

// forget takes a document out of the list and returns its id.
func (h *exactHistory) forget(i int) string {
	d := h.docs[h.keys[i]]
	h.leaves -= leavesOf(d)
	delete(h.docs, d.Key)
	h.keys = slices.Delete(h.keys, i, i+1)
	return llmemory.DocumentID(h.owner.ID(), llmemory.Identity{OriginID: d.OriginID, Key: d.Key})
}

// A question is a query in parts, so that the reference need not take it apart.
type question struct {
	words   string
	phrase  string // must occur; a part of the words
	exclude string // must not
	where   llmemory.Where
}

func (q question) String() string {
	text := q.words
	if q.phrase != "" {
		text += ` "` + q.phrase + `"`
	}
	if q.exclude != "" {
		text += ` -"` + q.exclude + `"`
	}
	return text
}

type questions struct {
	list    []question
	answers [][]llmemory.Hit // as of the last check
}

// ask draws questions from the live texts: their own words, rare and common, and some that chance adds.
func (h *exactHistory) ask(t *testing.T, n int) *questions {
	t.Helper()
	out := &questions{}
	for i := range n {
		d := h.docs[h.keys[h.IntN(len(h.keys))]]
		parts := strings.Split(d.Content, "\n\n")
		text := strings.Fields(strings.Trim(parts[h.IntN(len(parts))], "#. "))
		var list []string
		for range 1 + h.IntN(12) {
			list = append(list, text[h.IntN(len(text))])
		}
		q := question{words: strings.Join(list, " ") + " " + h.words(1+h.IntN(4))}
		at := h.IntN(len(text))
		run := strings.Join(text[at:min(len(text), at+1+h.IntN(3))], " ")
		switch i % 10 {
		case 4:
			q.where.Origins = []string{d.OriginID}
		case 5:
			q.where.Metadata = llmemory.Meta("group").Eq(d.Metadata["group"])
		case 6:
			q.phrase = run
		case 7:
			q.exclude = run
		case 8:
			q.phrase, q.where.Origins = run, []string{d.OriginID}
		case 9:
			q.exclude, q.phrase = h.word(), run
			q.where.Metadata = llmemory.Meta("group").Lt(d.Metadata["group"].(int) + 1)
			if i%20 == 19 { // whatever has the phrase, it is outside the filter
				q.where.Metadata = llmemory.Not(llmemory.Meta("group").Eq(d.Metadata["group"]))
			}
		}
		out.list = append(out.list, q)
	}
	return out
}

const exactDepth = 10

func (q question) search(t *testing.T, h *exactHistory) []llmemory.Hit {
	t.Helper()
	return search(t, h.owner, q.String(), llmemory.SearchOptions{Where: q.where, Limit: exactDepth, Snippet: -1})
}

// check compares the answers with the reference's.
func (qs *questions) check(t *testing.T, h *exactHistory, when string) {
	t.Helper()
	r := readExact(t, h)
	qs.answers = nil
	for _, q := range qs.list {
		got := q.search(t, h)
		qs.answers = append(qs.answers, got)
		want, score := r.search(q)
		if len(got) != len(want) {
			t.Errorf("%s: %q %+v: %d hits, want %d", when, q, q.where, len(got), len(want))
			continue
		}
		const tolerance = 1e-9
		for i, hit := range got {
			mine := score(hit.ID)
			// Neighbours whose scores only rounding tells apart may be swapped; equal ones are in order of their ids.
			swapped := hit.ID != want[i].id && (mine == want[i].score || math.Abs(mine-want[i].score) > tolerance)
			if swapped || math.Abs(hit.Score-want[i].score) > tolerance {
				t.Errorf("%s: %q %+v: hit %d is %s (%.12f), want %s (%.12f)", when, q, q.where, i, hit.ID, hit.Score, want[i].id, want[i].score)
				break
			}
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// same checks that nothing at all has changed in the answers.
func (qs *questions) same(t *testing.T, h *exactHistory, when string) {
	t.Helper()
	for i, q := range qs.list {
		if got := q.search(t, h); !reflect.DeepEqual(got, qs.answers[i]) {
			t.Fatalf("%s: %q %+v: the answer changed\nfrom %+v\nto   %+v", when, q, q.where, qs.answers[i], got)
		}
	}
}

// exactReference is BM25 from the words of its definition over the live texts as they are read back. It knows nothing of
// ordinals, segments, dead sets and stored lengths.
type exactReference struct {
	analyzer  *analysis.Analyzer
	languages []string
	terms     map[string]int32
	names     []string // by term
	df        []int    // by term: leaves that hold it
	documents []*llmemory.StoredDocument
	leaves    []exactLeaf
	byID      map[string]int
	average   float64
}

type exactLeaf struct {
	id       string
	document *llmemory.StoredDocument
	length   float64
	counts   []exactCount   // in order of the terms' names, in which they are summed
	parts    [][]exactPlace // name, heading and text: no phrase reaches from one into the next
}

type exactCount struct{ term, count int32 }

type exactPlace struct{ term, position int32 }

type exactHit struct {
	id    string
	score float64
}

// readExact reads an owner's live texts, makes sure that they are those which were added, and counts their words.
func readExact(t *testing.T, h *exactHistory) *exactReference {
	t.Helper()
	r := &exactReference{analyzer: analysis.New(), terms: map[string]int32{}, byID: map[string]int{}}
	found := map[string]bool{}
	for more := true; more; {
		page := must(h.owner.List(t.Context(), &llmemory.ListOptions{Offset: len(found), Limit: 1000}))(t)
		for _, listed := range page.Documents {
			d, chunks, err := h.owner.GetWithChunks(t.Context(), listed.ID)
			if err != nil {
				t.Fatal(err)
			}
			r.documents = append(r.documents, d)
			var texts []string
			for _, c := range chunks {
				if c.Level == 0 {
					texts = append(texts, c.Text)
					r.add(d, c)
				}
			}
			if want := h.docs[d.Key]; join(texts...) != want.Content || d.Name != want.Name || d.OriginID != want.OriginID {
				t.Fatalf("document %q is not what was added last", d.Key)
			}
			found[d.Key] = true
		}
		more = len(page.Documents) > 0
	}
	if len(found) != len(h.docs) {
		t.Fatalf("%d documents, want %d", len(found), len(h.docs))
	}
	total := 0.0
	for _, l := range r.leaves {
		total += l.length
	}
	r.average = total / float64(len(r.leaves))
	return r
}

func (r *exactReference) add(d *llmemory.StoredDocument, c llmemory.Chunk) {
	l := exactLeaf{id: c.ID, document: d}
	counts := map[int32]int32{}
	for _, part := range searched(cmp.Or(d.Name, d.Title), c.Heading, c.Context, c.Text) {
		tokens, _ := r.analyzer.Analyze(d.Language, part, nil)
		l.length += float64(analysis.Length(tokens))
		var places []exactPlace
		for _, token := range tokens {
			term, known := r.terms[token.Term]
			if !known {
				term = int32(len(r.df))
				r.names = append(r.names, strings.Clone(token.Term))
				r.terms[r.names[term]] = term
				r.df = append(r.df, 0)
			}
			counts[term]++
			places = append(places, exactPlace{term, int32(token.Position)})
		}
		l.parts = append(l.parts, places)
	}
	for term, n := range counts {
		l.counts = append(l.counts, exactCount{term, n})
		r.df[term]++
	}
	slices.SortFunc(l.counts, func(a, b exactCount) int { return strings.Compare(r.names[a.term], r.names[b.term]) })
	r.byID[l.id] = len(r.leaves)
	r.leaves = append(r.leaves, l)
	if !slices.Contains(r.languages, d.Language) {
		r.languages = append(r.languages, d.Language)
	}
}

// search returns the best hits, and a function that gives the score of any leaf.
func (r *exactReference) search(q question) ([]exactHit, func(id string) float64) {
	// A word counts as often as the language that has it most often says.
	asked := map[string]int{}
	for _, language := range r.languages {
		tokens, _ := r.analyzer.AnalyzeQuery(language, q.words+" "+q.phrase, nil)
		mine := map[string]int{}
		for _, token := range tokens {
			mine[token.Term]++
			asked[token.Term] = max(asked[token.Term], mine[token.Term])
		}
	}
	weight := make([]float64, len(r.names))
	for term, count := range asked {
		if number, known := r.terms[term]; known {
			df := float64(r.df[number])
			weight[number] = float64(count) * math.Log(1+(float64(len(r.leaves))-df+0.5)/(df+0.5))
		}
	}
	score := func(l *exactLeaf) (sum float64) {
		norm := 1.2 * (1 - 0.75 + 0.75*l.length/r.average)
		for _, c := range l.counts {
			if w := weight[c.term]; w > 0 {
				sum += w * float64(c.count) / (float64(c.count) + norm)
			}
		}
		return sum
	}
	phrase, exclude := r.phrase(q.phrase), r.phrase(q.exclude)
	selected := map[*llmemory.StoredDocument]bool{}
	for _, d := range r.documents {
		selected[d] = q.where.Matches(d)
	}
	best := func(phrase func(*exactLeaf) bool) (best []exactHit) {
		for i := range r.leaves {
			l := &r.leaves[i]
			hit := exactHit{l.id, score(l)}
			if hit.score == 0 || len(best) == exactDepth && compareExact(hit, best[exactDepth-1]) > 0 {
				continue
			}
			if !selected[l.document] || q.phrase != "" && !phrase(l) || q.exclude != "" && exclude(l) {
				continue
			}
			at, _ := slices.BinarySearchFunc(best, hit, compareExact)
			best = slices.Insert(best, at, hit)
			best = best[:min(len(best), exactDepth)]
		}
		return best
	}
	hits := best(phrase)
	if len(hits) == 0 && q.phrase != "" { // its words are searched one by one then
		hits = best(func(*exactLeaf) bool { return true })
	}
	return hits, func(id string) float64 {
		if i, known := r.byID[id]; known {
			return score(&r.leaves[i])
		}
		return math.NaN()
	}
}

func compareExact(a, b exactHit) int {
	return cmp.Or(cmp.Compare(b.score, a.score), strings.Compare(a.id, b.id))
}

// phrase returns a test of leaves: whether a part of one holds the words, analysed for any of the languages, at their distances.
func (r *exactReference) phrase(text string) func(*exactLeaf) bool {
	var variants [][]exactPlace
	for _, language := range r.languages {
		tokens, _ := r.analyzer.AnalyzeQuery(language, text, nil)
		var v []exactPlace
		for _, token := range tokens {
			term, known := r.terms[token.Term]
			if !known {
				term = -1
			}
			v = append(v, exactPlace{term, int32(token.Position)})
		}
		if len(v) > 0 {
			variants = append(variants, v)
		}
	}
	return func(l *exactLeaf) bool {
		for _, v := range variants {
			for _, part := range l.parts {
				for _, first := range part {
					all := first.term == v[0].term
					for _, other := range v[1:] {
						all = all && slices.Contains(part, exactPlace{other.term, first.position + other.position - v[0].position})
					}
					if all {
						return true
					}
				}
			}
		}
		return false
	}
}
