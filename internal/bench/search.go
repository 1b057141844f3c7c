package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/analysis"
	"github.com/llmemory/llmemory/pgdbm"
)

// shares are the owners that are searched, by their part of the table. What is left belongs to a hundred others.
var shares = []share{{"0.1 %", .001}, {"5 %", .05}, {"20 %", .2}, {"60 %", .6}}

// share is an owner's part of a table.
type share struct {
	name string
	part float64
}

// What PostgreSQL's own search may take. With many rows of an owner each question takes seconds.
const (
	ginQuestions  = 20
	ginTime       = time.Minute      // for the questions of an owner, of which three are asked at least
	ginBuild      = 15 * time.Minute // for the index
	ginLeast      = 3
	warmQuestions = 50
)

func (b *bench) searching(ctx context.Context) error {
	fmt.Fprintf(b.out, "\n## Text search\n\nThe ten best passages for %d questions per owner, after a warm-up by %d of them. *llmemory* is `Search` whole: analysis,\n"+
		"BM25 over the owner's postings, text of the hits, snippets. *in memory* is an exhaustive BM25 over the same owner's postings\n"+
		"held in the process, without a database: the bound. *same top 10* counts questions whose ten scores equal the exhaustive ones.\n"+
		"*GIN* is `to_tsvector` with a GIN index, any of the words, `ts_rank`, on a plain table of the same chunks: %d questions, or as\n"+
		"many as a minute allows.\n\n"+
		"| chunks in table | owner has | llmemory p50 | p95 | in memory p50 | p95 | same top 10 | GIN + ts_rank p50 | p95 | questions |\n"+
		"|---|---|---|---|---|---|---|---|---|---|\n", b.questions, min(warmQuestions, b.questions), ginQuestions)
	for _, size := range b.sizes {
		if err := b.searchSize(ctx, size); err != nil {
			return err
		}
	}
	fmt.Fprintf(b.out, "\n## Size on disk\n\nMegabytes, indexes included, before any VACUUM.\n\n"+
		"| chunks | raw text | documents and chunks | text index | all, to the raw text |\n|---|---|---|---|---|\n%s\n", strings.Join(b.disk, "\n"))
	return nil
}

// owner is a tenant of the table.
type owner struct {
	name, share string
	chunks      int
	questions   []string
	reference   *reference // nil for those that are not searched
	row         string
}

// divide gives so many chunks to owners of given shares and, evenly, to others, which have no share.
func divide[T any](size int, shares []share, others int, owner func(name, share string, chunks int) T) (list []T) {
	rest := size
	for _, s := range shares {
		n := int(float64(size) * s.part)
		rest -= n
		list = append(list, owner("owner "+s.name, s.name, n))
	}
	for i := range others {
		n := rest / others
		if i < rest%others {
			n++
		}
		list = append(list, owner(fmt.Sprint("other ", i), "", n))
	}
	return list
}

func (b *bench) searchSize(ctx context.Context, size int) error {
	o, err := b.open(ctx, "llmemory_bench_search", &llmemory.Config{Chunker: paragraphs}, nil)
	if err != nil {
		return err
	}
	defer o.close()
	mem, db := o.mem, o.store.DB()
	// What is measured is reading, so the table need not be safe from a crash.
	if _, err := db.Exec(ctx, `CREATE UNLOGGED TABLE plain (owner text, body text, tsv tsvector GENERATED ALWAYS AS (to_tsvector('english', body)) STORED)`); err != nil {
		return err
	}
	list := divide(size, shares, 100, func(name, share string, chunks int) *owner {
		o := &owner{name: name, share: share, chunks: chunks}
		if share != "" {
			o.reference = newReference()
		}
		return o
	})
	raw, err := b.load(ctx, mem, db, size, list)
	if err != nil {
		return err
	}
	if _, err := db.Exec(ctx, `ANALYZE`); err != nil {
		return err
	}
	if _, err := db.Exec(ctx, `CHECKPOINT`); err != nil {
		return err
	}
	for _, o := range list {
		if o.reference == nil {
			continue
		}
		if err := b.search(ctx, mem, size, o); err != nil {
			return err
		}
		o.reference = nil // gigabytes, for a large one
	}
	if err := b.sizeOnDisk(ctx, db, size, raw); err != nil {
		return err
	}
	indexed := true
	building, cancel := context.WithTimeout(ctx, ginBuild)
	defer cancel()
	for _, sql := range []string{`CREATE INDEX ON plain USING gin (tsv)`, `CREATE INDEX ON plain (owner)`, `ANALYZE plain`} {
		if _, err := db.Exec(building, sql); err != nil {
			if building.Err() == nil || ctx.Err() != nil {
				return err
			}
			indexed = false
			b.progress("%d chunks: no GIN index in %s", size, ginBuild)
			break
		}
	}
	if indexed {
		b.progress("%d chunks: built the GIN index", size)
	}
	for _, o := range list {
		if len(o.questions) == 0 {
			continue
		}
		var gin []time.Duration
		if indexed {
			if gin, err = ginTimes(ctx, db, o.name, o.questions); err != nil {
				return err
			}
		}
		fmt.Fprintf(b.out, "%s | %s | %s | %d |\n", o.row, ms(gin, 50), ms(gin, 95), len(gin))
	}
	return nil
}

// load adds the owners' chunks, and the same to the plain table and the references, and returns the size of the raw text.
func (b *bench) load(ctx context.Context, mem *llmemory.Memory, db *pgdbm.DB, size int, list []*owner) (raw int64, err error) {
	v := newVocabulary()
	r := rand.New(rand.NewPCG(uint64(size), 7))
	started := time.Now()
	for _, o := range list {
		ws := mem.Owner(o.name)
		for from := 0; from < o.chunks; from += 1000 {
			n := min(1000, o.chunks-from)
			texts := make([]string, n)
			rows := make([][]any, n)
			for i := range texts {
				texts[i] = v.paragraph(r)
				raw += int64(len(texts[i]))
				rows[i] = []any{o.name, texts[i]}
			}
			for o.reference != nil && len(o.questions) < b.questions && len(o.questions) < b.questions*(from+n)/o.chunks+1 {
				o.questions = append(o.questions, question(r, texts[r.IntN(n)]))
			}
			copied := make(chan error, 1)
			go func() {
				if o.reference != nil {
					for _, text := range texts {
						o.reference.add(text)
					}
				}
				_, err := db.CopyFrom(ctx, "plain", []string{"owner", "body"}, pgx.CopyFromRows(rows))
				copied <- err
			}()
			_, err := ws.Add(ctx, llmemory.Document{Key: fmt.Sprint(from), Language: "en", Content: strings.Join(texts, "\n\n")})
			if err := errors.Join(err, <-copied); err != nil {
				return 0, err
			}
		}
		for o.reference != nil && len(o.questions) < b.questions {
			o.questions = append(o.questions, question(r, v.paragraph(r)))
		}
		if o.reference != nil {
			b.progress("%d chunks: loaded the owner of %s", size, o.share)
		}
	}
	for {
		n, err := mem.Maintain(ctx)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			break
		}
	}
	b.progress("%d chunks: loaded and folded in %.0f s", size, time.Since(started).Seconds())
	return raw, nil
}

// search asks an owner's questions.
func (b *bench) search(ctx context.Context, mem *llmemory.Memory, size int, o *owner) error {
	o.reference.finish()
	var ours, bound []time.Duration
	same := 0
	for _, list := range [][]string{o.questions[:min(warmQuestions, len(o.questions))], o.questions} {
		ours, bound, same = nil, nil, 0
		for _, q := range list {
			started := time.Now()
			result, err := mem.Owner(o.name).Search(ctx, q, nil)
			if err != nil {
				return err
			}
			ours = append(ours, time.Since(started))
			started = time.Now()
			scores := o.reference.search(q, 10)
			bound = append(bound, time.Since(started))
			if agree(result.Hits, scores) {
				same++
			}
		}
	}
	b.worst[size] = max(b.worst[size], percentile(ours, 95))
	o.row = fmt.Sprintf("| %d | %s = %d | %s | %s | %s | %s | %d of %d", size, o.share, o.chunks,
		ms(ours, 50), ms(ours, 95), ms(bound, 50), ms(bound, 95), same, len(o.questions))
	b.progress("%s", o.row)
	return nil
}

func (b *bench) sizeOnDisk(ctx context.Context, db *pgdbm.DB, size int, raw int64) error {
	var documents, chunks, index int64
	err := db.QueryRow(ctx, `SELECT pg_total_relation_size('{{tables.documents}}'), pg_total_relation_size('{{tables.document_chunks}}'),
		pg_total_relation_size('{{tables.text_postings}}') + pg_total_relation_size('{{tables.text_segments}}')`).Scan(&documents, &chunks, &index)
	if err != nil {
		return err
	}
	const mb = 1 << 20
	b.progress("%d chunks: on disk: raw text %d MB, documents %d MB, chunks %d MB, text index %d MB (%.2f of the raw text)", size,
		raw/mb, documents/mb, chunks/mb, index/mb, float64(index)/float64(raw))
	b.disk = append(b.disk, fmt.Sprintf("| %d | %d | %d | %d | %.2f |", size, raw/mb, (documents+chunks)/mb, index/mb,
		float64(documents+chunks+index)/float64(raw)))
	return nil
}

func agree(hits []llmemory.Hit, scores []float64) bool {
	if len(hits) != len(scores) {
		return false
	}
	for i, h := range hits {
		if d := h.Score - scores[i]; d > 1e-9 || d < -1e-9 {
			return false
		}
	}
	return true
}

func ginTimes(ctx context.Context, db *pgdbm.DB, owner string, questions []string) ([]time.Duration, error) {
	var took []time.Duration
	begun := time.Now()
	for i, q := range append(questions[:1:1], questions[:min(ginQuestions, len(questions))]...) { // the first warms up
		if i > ginLeast && time.Since(begun) > ginTime {
			break
		}
		started := time.Now()
		rows, err := db.Query(ctx, `SELECT body, ts_rank(tsv, q) AS score
			FROM plain, to_tsquery('english', $1) q WHERE owner = $2 AND tsv @@ q ORDER BY score DESC LIMIT 10`,
			strings.Join(strings.Fields(q), " | "), owner)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return nil, err
		}
		if i > 0 {
			took = append(took, time.Since(started))
		}
	}
	return took, nil
}

// percentile returns a percentile (nearest rank), 0 of nothing.
func percentile(list []time.Duration, percent int) time.Duration {
	if len(list) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(list))
	return s[max((len(s)*percent+99)/100-1, 0)]
}

// ms returns a percentile in milliseconds.
func ms(list []time.Duration, percent int) string {
	if len(list) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", float64(percentile(list, percent).Microseconds())/1000)
}

// reference is BM25 computed from postings in memory: every document that holds a word of the question is scored.
type reference struct {
	analyzer *analysis.Analyzer
	postings map[string][]posting
	lengths  []float64
	total    float64
	scores   []float64
}

type posting struct {
	document int32
	count    int32
}

func newReference() *reference {
	return &reference{analyzer: analysis.New(), postings: map[string][]posting{}}
}

func (r *reference) add(text string) {
	tokens, _ := r.analyzer.Analyze("en", text, nil)
	document := int32(len(r.lengths))
	for _, t := range tokens {
		list := r.postings[t.Term]
		if n := len(list); n > 0 && list[n-1].document == document {
			list[n-1].count++
		} else {
			r.postings[t.Term] = append(list, posting{document, 1})
		}
	}
	length := float64(analysis.Length(tokens))
	r.lengths = append(r.lengths, length)
	r.total += length
}

func (r *reference) finish() { r.scores = make([]float64, len(r.lengths)) }

func (r *reference) search(q string, limit int) []float64 {
	tokens, _ := r.analyzer.AnalyzeQuery("en", q, nil)
	clear(r.scores)
	average := r.total / float64(len(r.lengths))
	n := float64(len(r.lengths))
	for _, t := range tokens {
		list := r.postings[t.Term]
		idf := math.Log(1 + (n-float64(len(list))+.5)/(float64(len(list))+.5))
		for _, p := range list {
			tf := float64(p.count)
			r.scores[p.document] += idf * tf / (tf + 1.2*(1-.75+.75*r.lengths[p.document]/average))
		}
	}
	best := make([]float64, 0, limit+1)
	for _, s := range r.scores {
		if s == 0 || len(best) == limit && s <= best[limit-1] {
			continue
		}
		i, _ := slices.BinarySearchFunc(best, s, func(a, b float64) int {
			switch {
			case a > b:
				return -1
			case a < b:
				return 1
			}
			return 0
		})
		best = slices.Insert(best, i, s)
		best = best[:min(len(best), limit)]
	}
	return best
}
