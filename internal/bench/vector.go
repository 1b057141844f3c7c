package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/internal/vec"
	"github.com/llmemory/llmemory/internal/vecset"
)

// vectorShares are the owners that are searched by vector, by their part of the table. What is left belongs to fifty others.
var vectorShares = []share{{"0.05 %", .0005}, {"1 %", .01}, {"5 %", .05}, {"10 %", .1}, {"20 %", .2}, {"60 %", .6}}

const (
	vectorDimensions = 384
	vectorSeed       = 5
	vectorLimit      = 10
	peerQuestions    = 10 // to LangChainGo, whose questions may take a second each

	crowd       = 16 // concurrent searches
	crowdRounds = 9
	crowdTime   = 2 * time.Second // of one side of a round
)

// vectorOwner is a tenant whose vectors are known.
type vectorOwner struct {
	name, share string
	chunks      int
	searched    bool
	vectors     [][]float32
	questions   []string
	queries     [][]float32
	row         string
}

// drawn is an embedder that knows which vector was drawn for which text, and takes no time over it.
type drawn struct {
	seed maphash.Seed
	mu   sync.RWMutex
	of   map[uint64][]float32
}

func newDrawn() *drawn { return &drawn{seed: maphash.MakeSeed(), of: map[uint64][]float32{}} }

func (d *drawn) put(text string, v []float32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.of[maphash.String(d.seed, text)] = v
}

func (d *drawn) Model() embedding.ModelInfo {
	return embedding.ModelInfo{Provider: "bench", Model: "drawn", Dimensions: vectorDimensions, Normalized: true}
}

func (d *drawn) Embed(_ context.Context, _ embedding.Role, texts []string) ([][]float32, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	out := make([][]float32, len(texts))
	for i, t := range texts {
		v, ok := d.of[maphash.String(d.seed, t[strings.LastIndexByte(t, '\n')+1:])] // without the document's name
		if !ok {
			return nil, errors.New("no vector was drawn for this text")
		}
		out[i] = slices.Clone(v)
	}
	return out, nil
}

func (b *bench) nearest(ctx context.Context) error {
	fmt.Fprintf(b.out, "\n## Vector and hybrid search\n\nVectors of %d dimensions, drawn by `internal/vecset`: 256 topics, each owner with an order of its own among them (Zipf), spread in 48\n"+
		"directions that all topics share, and noise. The embedder answers at once: what is measured is the search. The ten best passages for\n"+
		"%d questions per owner, after all of them were asked once. *recall* is the share of the ten truly nearest that were found. *plain* is a\n"+
		"search without snippets, and *bare* the very statements that it sent, sent again by pgx alone on the same connection, rows read but\n"+
		"not used; *over bare* is the ratio of these two. The ways to ask a question follow each other in an order drawn anew for each, so\n"+
		"that none always finds what another has just read; *itself* is how far the same bare statements, measured twice that way, are from\n"+
		"each other. *by hand* is one statement as one would write it with the same index: nearest, joined with passage and document. *hybrid*\n"+
		"is text and vectors fused, 100 candidates each, with its statements bare. *LangChainGo* is its pgvector store on a copy of the same\n"+
		"rows, one collection per owner (%d questions); its statement materialises the table first, so no index could help it.\n\n"+
		"| chunks in table | owner has | how | recall | vector p50 | p95 | plain p50 | bare p50 | over bare | itself | by hand p50 | hybrid p50 | p95 | bare p50 | LangChainGo p50 | recall |\n"+
		"|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n", vectorDimensions, b.questions, peerQuestions)
	var crowds []string
	for _, size := range b.vectorSizes {
		rows, err := b.vectorSize(ctx, size)
		if err != nil {
			return err
		}
		crowds = append(crowds, rows...)
	}
	fmt.Fprintf(b.out, "\n%d plain searches at once on a pool of 4 connections, and the same statements bare, in turns: the median of %d rounds.\n\n"+
		"| chunks in table | owner has | searches/s | bare/s | share |\n|---|---|---|---|---|\n%s\n", crowd, crowdRounds, strings.Join(crowds, "\n"))
	return nil
}

func (b *bench) vectorSize(ctx context.Context, size int) (crowds []string, err error) {
	embedder, tap := newDrawn(), &tap{}
	o, err := b.open(ctx, "llmemory_bench_vector", &llmemory.Config{Chunker: paragraphs, Embedder: embedder}, tap)
	if err != nil {
		return nil, err
	}
	defer o.close()
	list := divide(size, vectorShares, 50, func(name, share string, chunks int) *vectorOwner {
		return &vectorOwner{name: name, share: share, chunks: chunks, searched: share != ""}
	})
	if err := b.loadVectors(ctx, o.mem, embedder, size, list); err != nil {
		return nil, err
	}
	generations, err := o.mem.Generations(ctx)
	if err != nil {
		return nil, err
	}
	generation := generations[0].ID
	started := time.Now()
	for done := false; !done; {
		if done, err = o.store.Tune(ctx, llmemory.TuneParams{Generation: generation}); err != nil {
			return nil, err
		}
	}
	b.progress("%d vectors: indexed in %.0f s", size, time.Since(started).Seconds())
	db := o.store.DB()
	for _, sql := range []string{`VACUUM ANALYZE`, `CHECKPOINT`} {
		if _, err := db.Exec(ctx, sql); err != nil {
			return nil, err
		}
	}
	conn, err := db.Pool().Dial(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is lost
	for _, v := range list {
		if !v.searched {
			continue
		}
		var messages [][]exchange
		if messages, err = b.searchVectors(ctx, o, conn, tap, generation, size, v); err != nil {
			return nil, err
		}
		if v.share == "5 %" || v.share == "60 %" {
			row, err := b.crowd(ctx, o, size, v, messages)
			if err != nil {
				return nil, err
			}
			crowds = append(crowds, row)
		}
	}
	peer, err := b.langchain(ctx, o, generation, list)
	if err != nil {
		return nil, fmt.Errorf("LangChainGo: %w", err)
	}
	b.progress("%d vectors: asked LangChainGo", size)
	for _, v := range list {
		if v.searched {
			fmt.Fprintf(b.out, "%s | %s |\n", v.row, cmp.Or(peer[v.name], "– | –"))
		}
	}
	return crowds, nil
}

func (b *bench) loadVectors(ctx context.Context, mem *llmemory.Memory, embedder *drawn, size int, list []*vectorOwner) error {
	words, set := newVocabulary(), vecset.New(vectorDimensions, vectorSeed)
	r := rand.New(rand.NewPCG(uint64(size), 11))
	started := time.Now()
	for _, o := range list {
		for from := 0; from < o.chunks; from += 1000 {
			texts := make([]string, min(1000, o.chunks-from))
			for i := range texts {
				texts[i] = words.paragraph(r)
				v := set.Vector(o.name, from+i)
				embedder.put(texts[i], v)
				if o.searched {
					o.vectors = append(o.vectors, v)
				}
				if o.searched && len(o.questions) < b.questions && i*b.questions/len(texts) >= len(o.questions) {
					q := question(r, texts[i])
					o.questions = append(o.questions, q)
				}
			}
			added, err := mem.Owner(o.name).Add(ctx, llmemory.Document{Key: fmt.Sprint(from), Language: "en", Content: strings.Join(texts, "\n\n")})
			if err != nil {
				return err
			}
			if added.Pending > 0 {
				return fmt.Errorf("%d of %d passages have no vector: %w", added.Pending, added.Chunks, added.EmbedErr)
			}
		}
		for o.searched && len(o.questions) < b.questions {
			o.questions = append(o.questions, question(r, words.paragraph(r)))
		}
		for i, q := range o.questions {
			v := set.Query(o.name, i)
			embedder.put(q, v)
			o.queries = append(o.queries, v)
		}
	}
	if _, err := mem.Maintain(ctx); err != nil {
		return err
	}
	b.progress("%d vectors: loaded in %.0f s", size, time.Since(started).Seconds())
	return nil
}

// searchVectors asks an owner's questions in all ways, the order of which is drawn for each question: what one way reads is warm
// for the next. It returns what was sent for each question by vector.
func (b *bench) searchVectors(ctx context.Context, o *opened, conn *pgx.Conn, tap *tap, generation int64, size int, v *vectorOwner) ([][]exchange, error) {
	ws := o.mem.Owner(v.name)
	db := o.store.DB()
	// The owner is written out, as no index WHERE owner_id = '…' is found by a parameter.
	hand, err := db.Render(fmt.Sprintf(`SELECT d.document_name, c.heading, c.content, e.distance FROM (
			SELECT ordinal, embedding <=> $1::real[]::vector AS distance FROM {{tables.embeddings_%d}}
			WHERE owner_id = '%[2]s' ORDER BY embedding <=> $1::real[]::vector LIMIT 10
		) e
		JOIN {{tables.document_chunks}} c ON c.owner_id = '%[2]s' AND c.ordinal = e.ordinal
		JOIN {{tables.documents}} d ON d.owner_id = c.owner_id AND d.document_id = c.document_id`, generation, v.name))
	if err != nil {
		return nil, err
	}
	for _, sql := range []string{`SET hnsw.ef_search = 200`, `SET hnsw.iterative_scan = relaxed_order`, `SET plan_cache_mode = force_custom_plan`} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return nil, err
		}
	}
	search := func(i int, way *llmemory.SearchOptions) (*llmemory.Result, error) {
		result, err := ws.Search(ctx, v.questions[i], way)
		if err == nil && len(result.Degraded) > 0 {
			err = fmt.Errorf("degraded: %s", result.Degraded)
		}
		return result, err
	}
	whole := &llmemory.SearchOptions{Mode: llmemory.ByVector, Limit: vectorLimit}
	plain := &llmemory.SearchOptions{Mode: llmemory.ByVector, Limit: vectorLimit, Snippet: -1}
	hybrid := &llmemory.SearchOptions{Mode: llmemory.Hybrid, Limit: vectorLimit}
	explain := *whole
	explain.Explain = true
	plan, found := "", 0
	sent := map[*llmemory.SearchOptions][][]exchange{}
	if _, err := search(0, plain); err != nil { // the first one learns how to ask for the owner
		return nil, err
	}
	for i := range v.questions {
		for _, way := range []*llmemory.SearchOptions{plain, hybrid} {
			tap.start()
			_, err := search(i, way)
			raw := tap.stop()
			if err != nil {
				return nil, err
			}
			trips, err := exchanges(raw)
			if err != nil {
				return nil, err
			}
			sent[way] = append(sent[way], trips)
		}
		result, err := search(i, &explain)
		if err != nil {
			return nil, err
		}
		plan, _, _ = strings.Cut(result.Explanation.Plan, " ")
		var cosines []float64
		for _, h := range result.Hits {
			cosines = append(cosines, *h.Scores.Vector)
		}
		found += v.truth(i, cosines)
	}

	ours := func(way *llmemory.SearchOptions) func(int) error {
		return func(i int) error {
			_, err := search(i, way)
			return err
		}
	}
	bare := func(way *llmemory.SearchOptions) func(int) error {
		return func(i int) error { return o.replay(ctx, sent[way][i]) }
	}
	ways := []struct {
		name string
		ask  func(question int) error
	}{
		{"whole", ours(whole)}, {"plain", ours(plain)}, {"bare", bare(plain)}, {"bare again", bare(plain)},
		{"hybrid", ours(hybrid)}, {"hybrid bare", bare(hybrid)}, {"by hand", func(i int) error {
			rows, err := conn.Query(ctx, hand, v.queries[i])
			if err != nil {
				return err
			}
			for rows.Next() {
				if _, err := rows.Values(); err != nil {
					return err
				}
			}
			return rows.Err()
		}},
	}
	took := map[string][]time.Duration{}
	r := rand.New(rand.NewPCG(uint64(size), uint64(v.chunks)))
	for i := range v.questions {
		r.Shuffle(len(ways), func(a, b int) { ways[a], ways[b] = ways[b], ways[a] })
		for _, way := range ways {
			started := time.Now()
			if err := way.ask(i); err != nil {
				return nil, err
			}
			took[way.name] = append(took[way.name], time.Since(started))
		}
	}
	recall := float64(found) / float64(len(v.questions)*min(vectorLimit, v.chunks))
	over := func(way, bare string) float64 {
		return float64(percentile(took[way], 50)) / float64(percentile(took[bare], 50))
	}
	ratio := over("plain", "bare")
	v.row = fmt.Sprintf("| %d | %s = %d | %s | %.3f | %s | %s | %s | %s | %.2f | %.2f | %s | %s | %s | %s", size, v.share, v.chunks, plan, recall,
		ms(took["whole"], 50), ms(took["whole"], 95), ms(took["plain"], 50), ms(took["bare"], 50), ratio, over("bare again", "bare"),
		ms(took["by hand"], 50), ms(took["hybrid"], 50), ms(took["hybrid"], 95), ms(took["hybrid bare"], 50))
	b.progress("%s", v.row)
	b.vector.add(recall, ratio, percentile(took["whole"], 95), percentile(took["hybrid"], 95))
	return sent[plain], nil
}

// truth counts the cosines that are among those of the truly nearest.
func (v *vectorOwner) truth(question int, cosines []float64) (found int) {
	best := make([]float64, 0, vectorLimit+1)
	for _, x := range v.vectors {
		c := vec.Cosine(v.queries[question], x)
		if len(best) == vectorLimit && c <= best[vectorLimit-1] {
			continue
		}
		i, _ := slices.BinarySearchFunc(best, c, func(a, b float64) int { return cmp.Compare(b, a) })
		best = slices.Insert(best, i, c)
		best = best[:min(len(best), vectorLimit)]
	}
	for _, c := range cosines {
		if c >= best[len(best)-1]-1e-6 {
			found++
		}
	}
	return found
}

// crowd lets many search at once, and the same statements bare.
func (b *bench) crowd(ctx context.Context, o *opened, size int, v *vectorOwner, messages [][]exchange) (string, error) {
	ws := o.mem.Owner(v.name)
	options := &llmemory.SearchOptions{Mode: llmemory.ByVector, Limit: vectorLimit, Snippet: -1}
	var ours, bare, shares []float64
	sides := []struct {
		rates *[]float64
		ask   func(ctx context.Context, n int) error
	}{
		{&ours, func(ctx context.Context, n int) error {
			_, err := ws.Search(ctx, v.questions[n%len(v.questions)], options)
			return err
		}},
		{&bare, func(ctx context.Context, n int) error { return o.replay(ctx, messages[n%len(messages)]) }},
	}
	for round := range crowdRounds {
		for _, side := range sides {
			x, err := rate(ctx, side.ask)
			if err != nil {
				return "", err
			}
			*side.rates = append(*side.rates, x)
		}
		shares = append(shares, ours[round]/bare[round])
		slices.Reverse(sides) // whoever goes first finds the machine as the other left it
	}
	share := median(shares)
	b.vector.shares = append(b.vector.shares, share)
	row := fmt.Sprintf("| %d | %s = %d | %.0f | %.0f | %.2f |", size, v.share, v.chunks, median(ours), median(bare), share)
	b.progress("%s", row)
	return row, nil
}

// rate returns how often a second so many callers get f done.
func rate(ctx context.Context, f func(ctx context.Context, n int) error) (float64, error) {
	var wg sync.WaitGroup
	counts, faults := make([]int, crowd), make([]error, crowd)
	started := time.Now()
	for c := range crowd {
		wg.Go(func() {
			for time.Since(started) < crowdTime && faults[c] == nil {
				faults[c] = f(ctx, c*7+counts[c])
				counts[c]++
			}
		})
	}
	wg.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / time.Since(started).Seconds(), errors.Join(faults...)
}

func median[T cmp.Ordered](list []T) T {
	s := slices.Sorted(slices.Values(list))
	return s[len(s)/2]
}

// vectorGoals gathers what the goals of vector search are about.
type vectorGoals struct {
	measured       bool
	recall, ratio  float64 // the worst
	vector, hybrid time.Duration
	shares         []float64
}

func (g *vectorGoals) add(recall, ratio float64, vector, hybrid time.Duration) {
	if !g.measured {
		g.measured, g.recall = true, recall
	}
	g.recall, g.ratio = min(g.recall, recall), max(g.ratio, ratio)
	g.vector, g.hybrid = max(g.vector, vector), max(g.hybrid, hybrid)
}

func (b *bench) nearestGoals() {
	g := b.vector
	if !g.measured {
		return
	}
	millis := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
	b.goal("recall@10 of vector search, worst owner", "at least 0.98", fmt.Sprintf("%.3f", g.recall), g.recall >= .98)
	b.goal("vector search, p95 of the slowest owner", "at most 20 ms", millis(g.vector), g.vector <= 20*time.Millisecond)
	b.goal("hybrid search, p95 of the slowest owner", "at most 35 ms", millis(g.hybrid), g.hybrid <= 35*time.Millisecond)
	b.goal("vector search without snippets over its bare statements, p50, worst owner", "at most 1.3", fmt.Sprintf("%.2f", g.ratio), g.ratio <= 1.3)
	least := slices.Min(g.shares)
	b.goal("16 searches at once on 4 connections, share of the bare statements' rate", "at least 0.9", fmt.Sprintf("%.2f", least), least >= .9)
}

// langchain lets LangChainGo answer the questions, and returns its columns by owner.
func (b *bench) langchain(ctx context.Context, o *opened, generation int64, list []*vectorOwner) (map[string]string, error) {
	order := struct {
		URL, Vectors, Chunks               string
		Dimensions, Seed, Questions, Limit int
		Owners, Asked                      []string
	}{Dimensions: vectorDimensions, Seed: vectorSeed, Questions: min(peerQuestions, b.questions), Limit: vectorLimit}
	var err error
	db := o.store.DB()
	if order.Vectors, err = db.Render(fmt.Sprintf("{{tables.embeddings_%d}}", generation)); err != nil {
		return nil, err
	}
	if order.Chunks, err = db.Render("{{tables.document_chunks}}"); err != nil {
		return nil, err
	}
	c := o.pool.Pgx().Config().ConnConfig
	order.URL = (&url.URL{Scheme: "postgres", User: url.UserPassword(c.User, c.Password), Path: "/" + c.Database,
		RawQuery: url.Values{"host": {c.Host}, "port": {fmt.Sprint(c.Port)}}.Encode()}).String()
	for _, v := range list {
		order.Owners = append(order.Owners, v.name)
		if v.searched {
			order.Asked = append(order.Asked, v.name)
		}
	}
	in, err := json.Marshal(order)
	if err != nil {
		return nil, err
	}
	peer := exec.CommandContext(ctx, "go", "run", "-C", "internal/bench/langchain", ".")
	peer.Stdin, peer.Stderr = bytes.NewReader(in), b.log
	out, err := peer.Output()
	if err != nil {
		return nil, err
	}
	var answers map[string]struct {
		Took   []time.Duration
		Scores [][]float64
	}
	if err := json.Unmarshal(out, &answers); err != nil {
		return nil, err
	}
	columns := map[string]string{}
	for _, v := range list {
		a, asked := answers[v.name]
		if !asked {
			continue
		}
		found := 0
		for i, cosines := range a.Scores {
			found += v.truth(i, cosines)
		}
		columns[v.name] = fmt.Sprintf("%s | %.3f", ms(a.Took, 50), float64(found)/float64(len(a.Scores)*min(vectorLimit, v.chunks)))
	}
	return columns, nil
}
