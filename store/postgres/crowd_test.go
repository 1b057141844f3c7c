package postgres_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/internal/analysis"
	"github.com/llmemory/llmemory/internal/vec"
	"github.com/llmemory/llmemory/internal/vecset"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

// crowd is a store of owners with many vectors of a package vecset, put there without the library, which would take long. A passage
// reads "p2 17": the 17th of the owner that was loaded second, counted from 0. A question reads "q2 17".
type crowd struct {
	url        string
	store      *postgres.Store
	mem        *llmemory.Memory
	set        space
	generation int64
	owners     []*crowdOwner
	plans      *planLog
	floor      float64 // of recall
}

// space is where vectors come from.
type space interface {
	Vector(owner string, n int) []float32
	Query(owner string, n int) []float32
}

type crowdOwner struct {
	name    string
	number  int
	mu      sync.Mutex
	vectors [][]float32 // by the number of the passage; nil if it was deleted
}

// snapshot returns the vectors there are now.
func (o *crowdOwner) snapshot() [][]float32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.vectors
}

func (o *crowdOwner) add(v []float32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.vectors = append(o.vectors, v)
}

// buckets is how many values the metadata field "bucket" has. Four passages share a document, and so a bucket.
const buckets = 2000

func bucketOf(n int) int { return n / 4 * 7919 % buckets }

// crowdOptions say what a crowd is like.
type crowdOptions struct {
	dimensions int
	url        string // of an empty database; one is made if ""
	set        space  // made for the dimensions if nil
	profile    llmemory.Profile
	setUp      string // SQL that makes the extension; in public by default
	// forced makes the planner take an index even where it pays not, as for the small owners of most tests.
	forced bool
	postgres.Options
}

func newCrowd(t testing.TB, o crowdOptions) *crowd {
	t.Helper()
	c := &crowd{url: o.url, plans: &planLog{}, set: o.set, floor: 0.98}
	if c.url == "" {
		c.url = pgtest.URL(t)
	}
	if o.profile == llmemory.Fast {
		c.floor = 0.9
	}
	if c.set == nil {
		c.set = vecset.New(o.dimensions, 1)
	}
	run(t, observer(t, c.url), cmp.Or(o.setUp, "CREATE EXTENSION vector SCHEMA public"))
	c.open(t, o)
	g, err := c.mem.AddGeneration(t.Context(), nil, o.profile)
	must(t, err)
	c.generation = g.ID
	return c
}

// open opens the store in another pool, as another process would.
func (c *crowd) open(t testing.TB, o crowdOptions) {
	t.Helper()
	config, err := pgxpool.ParseConfig(c.url)
	must(t, err)
	config.MaxConns = max(o.Pool.MaxConns, 4)
	c.plans.watch(config, o.forced)
	o.Pool.Pgx = config
	pool, err := pgdbm.Open(t.Context(), o.Pool)
	must(t, err)
	t.Cleanup(pool.Close)
	c.store, err = postgres.New(t.Context(), pool.Schema(cmp.Or(o.Schema, "public")), &o.Options)
	must(t, err)
	c.mem = c.memory(t, c.store, o.dimensions)
}

func (c *crowd) memory(t testing.TB, store llmemory.Store, dimensions int) *llmemory.Memory {
	t.Helper()
	e := embedding.Func{
		Info: embedding.ModelInfo{Provider: "test", Model: "vecset", Dimensions: dimensions, Normalized: true},
		Call: func(_ context.Context, _ embedding.Role, texts []string) ([][]float32, error) {
			out := make([][]float32, len(texts))
			for i, text := range texts {
				var kind rune
				var number, n int
				if _, err := fmt.Sscanf(text, "%c%d %d", &kind, &number, &n); err != nil {
					return nil, fmt.Errorf("%q: %w", text, err)
				}
				if name := c.owners[number].name; kind == 'q' {
					out[i] = c.set.Query(name, n)
				} else {
					out[i] = c.set.Vector(name, n)
				}
			}
			return out, nil
		},
	}
	mem, err := llmemory.New(store, &llmemory.Config{Chunker: lines, Embedder: e})
	must(t, err)
	return mem
}

// load gives a new owner n passages with their vectors.
func (c *crowd) load(t testing.TB, name string, n int) *crowdOwner {
	t.Helper()
	o := &crowdOwner{name: name, number: len(c.owners)}
	c.owners = append(c.owners, o)
	db := c.store.DB()
	exec := func(sql string, args ...any) {
		t.Helper()
		_, err := db.Exec(t.Context(), sql, args...)
		must(t, err)
	}
	exec(`INSERT INTO {{tables.document_owners}} (owner_id, documents, leaves, length, next_ordinal, analysis)
		VALUES ($1, $2, $3, $3, $3, $4)`, name, (n+3)/4, n, analysis.Version)
	exec(`INSERT INTO {{tables.documents}} (owner_id, document_id, id_at_origin, document_key, document_name, document_type, metadata, language,
			content_hash, bytes, tokens, leaves, tail, version, created_at, updated_at)
		SELECT $1::text, md5($1::text || '/' || i)::uuid, 'default', i::text, '', 'text', jsonb_build_object('bucket', i * 7919 % $3::bigint), 'en',
			'', 20, 4, 4, '', 1, now(), now()
		FROM generate_series(0, $2::bigint) i`, name, (n-1)/4, buckets)
	// Or the foreign key of the chunks is checked by reading all documents: so it was planned if the server had a look while they were few.
	exec(`ANALYZE {{tables.documents}}`)
	exec(`INSERT INTO {{tables.document_chunks}} (owner_id, chunk_id, document_id, level, position, start_byte, end_byte, tokens, ordinal, length,
			input_hash, heading, lead, content)
		SELECT $1::text, md5($1::text || '#' || i)::uuid, md5($1::text || '/' || i / 4)::uuid, 0, i % 4, i % 4 * 20, i % 4 * 20 + 5, 1, i, 1,
			'', '', '', format('p%s %s', $3::integer, i)
		FROM generate_series(0, $2::bigint) i`, name, n-1, o.number)
	c.loadVectors(t, o, n)
	return o
}

func (c *crowd) loadVectors(t testing.TB, o *crowdOwner, n int) {
	t.Helper()
	const page = 1000
	for from := 0; from < n; from += page {
		var flat []float32
		k := min(page, n-from)
		for i := from; i < from+k; i++ {
			v := c.set.Vector(o.name, i)
			o.vectors = append(o.vectors, v)
			flat = append(flat, v...)
		}
		d := len(flat) / k
		_, err := c.store.DB().Exec(t.Context(), onGeneration(fmt.Sprintf(`INSERT INTO {{tables.embeddings}} (owner_id, ordinal, input_hash, embedding)
			SELECT $1::text, i, int8send(i), ($3::real[])[(i - $2::bigint) * %[1]d + 1 : (i - $2::bigint + 1) * %[1]d]::%[2]s
			FROM generate_series($2::bigint, $4::bigint) i`, d, c.typeOf(t)), c.generation), o.name, from, flat, from+k-1)
		must(t, err)
	}
}

// typeOf returns the type of the generation's vectors, with its schema.
func (c *crowd) typeOf(t testing.TB) string {
	t.Helper()
	var name string
	must(t, c.store.DB().QueryRow(t.Context(), onGeneration(`SELECT quote_ident(n.nspname) || '.' || quote_ident(t.typname)
		FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace
		WHERE a.attrelid = '{{tables.embeddings}}'::regclass AND attname = 'embedding'`, c.generation)).Scan(&name))
	return name
}

// remove deletes the passages that are not to be kept.
func (c *crowd) remove(t testing.TB, o *crowdOwner, keep func(n int) bool) {
	t.Helper()
	var gone []int64
	for n, v := range o.vectors {
		if v != nil && !keep(n) {
			gone = append(gone, int64(n))
			o.vectors[n] = nil
		}
	}
	for _, sql := range []string{
		onGeneration(`DELETE FROM {{tables.embeddings}} WHERE owner_id = $1 AND ordinal = ANY ($2::bigint[])`, c.generation),
		`DELETE FROM {{tables.document_chunks}} WHERE owner_id = $1 AND ordinal = ANY ($2::bigint[])`,
		`UPDATE {{tables.document_owners}} SET leaves = leaves - cardinality($2::bigint[]) WHERE owner_id = $1`,
	} {
		_, err := c.store.DB().Exec(t.Context(), sql, o.name, gone)
		must(t, err)
	}
}

// tune builds and drops indexes until nothing is left to do.
func (c *crowd) tune(t testing.TB) (steps int) {
	t.Helper()
	for ; ; steps++ {
		worked, err := c.mem.TuneIndexes(t.Context())
		must(t, err)
		if !worked {
			return steps
		}
		if steps > 100 {
			t.Fatal("there is always something to tune")
		}
	}
}

// indexed lists the owners that have an index, by what the store says of its progress.
func (c *crowd) indexed(t testing.TB) []string {
	t.Helper()
	p, err := c.mem.Progress(t.Context(), c.generation)
	must(t, err)
	out := []string{}
	for _, i := range p.Indexes {
		ready := ""
		if !i.Ready {
			ready = ", not ready"
		}
		out = append(out, fmt.Sprintf("%s (%d%s)", i.Owner, i.Rows, ready))
	}
	return out
}

// below selects documents by their bucket: below 1000 are a half of them.
func below(bucket int) llmemory.Where {
	if bucket >= buckets {
		return llmemory.Where{}
	}
	return llmemory.Where{Metadata: llmemory.Meta("bucket").Lt(bucket)}
}

// ask searches by vector and returns the numbers of the passages found.
func (c *crowd) ask(t testing.TB, o *crowdOwner, question, limit int, where llmemory.Where) (found []int, plan string) {
	t.Helper()
	r, err := c.mem.Owner(o.name).Search(t.Context(), fmt.Sprintf("q%d %d", o.number, question), &llmemory.SearchOptions{
		Where: where, Mode: llmemory.ByVector, Limit: limit, Snippet: -1, Explain: true,
	})
	must(t, err)
	last, known := 2.0, o.snapshot()
	for _, h := range r.Hits {
		owner, n, ok := strings.Cut(h.Text, " ")
		number, err := strconv.Atoi(n)
		if !ok || err != nil || owner != fmt.Sprintf("p%d", o.number) {
			t.Fatalf("%s finds %q", o.name, h.Text)
		}
		if h.Score > last {
			t.Errorf("%s, question %d: hits are out of order", o.name, question)
		}
		var v []float32
		if number < len(known) {
			v = known[number]
		} else {
			v = c.set.Vector(o.name, number) // just added
		}
		if want := vec.Cosine(c.set.Query(o.name, question), v); h.Score < want-2e-3 || h.Score > want+2e-3 {
			t.Errorf("%s, question %d: %q has score %v, want %v", o.name, question, h.Text, h.Score, want)
		}
		last = h.Score
		found = append(found, number)
	}
	return found, r.Explanation.Plan
}

// nearest returns the passages nearest to a question below a bucket, by comparing all.
func (c *crowd) nearest(o *crowdOwner, question, limit, bucket int) []int {
	return best(c.distances(o, question, o.snapshot()), limit, bucket)
}

// similar is how near a passage is to a question.
type similar struct {
	n      int
	cosine float32
}

// distances returns all passages with their cosine, nearest first.
func (c *crowd) distances(o *crowdOwner, question int, vectors [][]float32) []similar {
	q := c.set.Query(o.name, question)
	out := make([]similar, 0, len(vectors))
	for n, v := range vectors {
		if v == nil {
			continue
		}
		var dot float32 // the vectors are of length 1
		for i, x := range v {
			dot += x * q[i]
		}
		out = append(out, similar{n, dot})
	}
	slices.SortFunc(out, func(a, b similar) int { return cmp.Compare(b.cosine, a.cosine) })
	return out
}

func best(list []similar, limit, bucket int) []int {
	var out []int
	for _, s := range list {
		if len(out) == limit {
			break
		}
		if bucketOf(s.n) < bucket {
			out = append(out, s.n)
		}
	}
	return out
}

// sharedPart is the share of want that is in got.
func sharedPart(got, want []int) float64 {
	if len(want) == 0 {
		return 1
	}
	n := 0
	for _, w := range want {
		if slices.Contains(got, w) {
			n++
		}
	}
	return float64(n) / float64(len(want))
}

// planLog collects the plans that the server really used, which auto_explain sends as notices.
type planLog struct {
	mu    sync.Mutex
	plans []string
}

func (l *planLog) watch(config *pgxpool.Config, forced bool) {
	config.ConnConfig.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if strings.HasPrefix(n.Message, "duration:") {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.plans = append(l.plans, n.Message)
		}
	}
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		sql := "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_level = notice"
		if forced {
			sql += "; SET enable_sort = off; SET enable_seqscan = off; SET jit = off" // what it costs is beyond all measure then
		}
		_, err := conn.PgConn().Exec(ctx, sql).ReadAll()
		return err
	}
}

// take returns the plans since the last call of statements that find nearest leaves.
func (l *planLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, p := range l.plans {
		if strings.Contains(p, "<=>") {
			out = append(out, p)
		}
	}
	l.plans = nil
	return out
}
