package postgres_test

import (
	"bufio"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/soak"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// realVectors names a file of real vectors for TestRecall, a line each: a word, and the components
// of its vector. With it the long form takes them instead of generated ones.
const realVectors = "RECALL_VECTORS"

// leastRecall is what share of the ten nearest passages every kind of owner and filter must find.
const leastRecall = 0.98

// TestRecall compares searches of owners of every size, under filters of every selectivity, with the ten passages that are really
// nearest; after many were deleted, after the server was restarted, and while others add. The long form has 200,000 passages.
func TestRecall(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start(t.Context(), pgtest.Options{Settings: map[string]string{"shared_buffers": soak.Pick("128MB", "1GB")}})
	must(t, err)
	t.Cleanup(func() { _ = server.Close() })
	o := crowdOptions{dimensions: soak.Pick(64, 384), url: server.URL()}
	if file := os.Getenv(realVectors); file != "" && soak.On() {
		words := readWords(t, file)
		o.set, o.dimensions = words, len(words[0])
	}
	o.IndexFrom = soak.Pick(2500, 0)
	c := newCrowd(t, o)
	type share struct {
		name string
		n    int
	}
	for _, s := range soak.Pick(
		[]share{{"0.05 %", 16}, {"1 %", 300}, {"12 %", 3000}, {"86 %", 21_000}},
		[]share{{"0.05 %", 100}, {"1 %", 2000}, {"the rest", 7900}, {"5 %", 10_000}, {"10 %", 20_000}, {"20 %", 40_000}, {"60 %", 120_000}},
	) {
		c.load(t, s.name, s.n)
	}
	_, err = c.store.DB().Exec(t.Context(), onGeneration(`ANALYZE {{tables.embeddings}}`, c.generation))
	must(t, err)
	c.tune(t)
	indexed := len(c.indexed(t))
	if want := soak.Pick(2, 4); indexed != want {
		t.Fatalf("indexes: %v, want %d", c.indexed(t), want)
	}
	c.recall(t, "at first")
	c.plansHold(t, c.owners[len(c.owners)-soak.Pick(1, indexed):])

	for _, o := range c.owners {
		c.remove(t, o, func(n int) bool { return n/4%10 >= 3 })
	}
	c.recall(t, "30 % deleted")
	run(t, observer(t, c.url), `VACUUM ANALYZE public.embeddings_1`)
	must(t, server.Stop())
	must(t, server.Resume(t.Context()))
	c.open(t, o)
	c.recall(t, "30 % deleted, after vacuum and a restart of the server")

	// Four writers add to the largest owners all the while.
	var stop atomic.Bool
	var writers sync.WaitGroup
	for _, o := range c.owners[len(c.owners)-4:] {
		writers.Go(func() {
			for !stop.Load() {
				n := len(o.snapshot())
				doc := llmemory.Document{Key: fmt.Sprint("added ", n), Language: "en", Metadata: map[string]any{"bucket": bucketOf(n)}}
				for i := range 4 {
					doc.Content += fmt.Sprintf("p%d %d\n", o.number, n+i)
				}
				doc.Content = strings.TrimSpace(doc.Content)
				added, err := c.mem.Owner(o.name).Add(t.Context(), doc)
				if err != nil || added.Embedded != 4 {
					t.Errorf("%s: added %+v: %v", o.name, added, err)
					return
				}
				for i := range 4 {
					o.add(c.set.Vector(o.name, n+i))
				}
			}
		})
	}
	c.recall(t, "while four add")
	stop.Store(true)
	writers.Wait()
	c.recall(t, "after four have added")
}

// recall asks every owner with every filter, and prints and checks how much of what is nearest is found.
func (c *crowd) recall(t *testing.T, when string) {
	t.Helper()
	const limit = 10
	selected := []int{buckets, buckets / 2, buckets / 20, buckets / 200, buckets / 2000}
	for _, o := range c.owners {
		var row strings.Builder
		sums := make([]float64, len(selected))
		questions := soak.Pick(4, 50)
		plans := make([]string, len(selected))
		for i := range questions {
			known := o.snapshot()
			all := c.distances(o, i, known)
			for k, bucket := range selected {
				want := best(all, limit, bucket)
				hits, plan := c.ask(t, o, i, limit, below(bucket))
				plans[k] = plan
				if len(hits) < len(want) {
					t.Errorf("%s, %s, %d of %d buckets: %d hits, want %d (%s)", when, o.name, bucket, buckets, len(hits), len(want), plan)
				}
				var got []int // those that were there before the question
				for _, n := range hits {
					if n < len(known) {
						got = append(got, n)
					}
				}
				sums[k] += sharedPart(got, want[:min(len(got), len(want))])
			}
		}
		for k, bucket := range selected {
			r := sums[k] / float64(questions)
			fmt.Fprintf(&row, " | %.4f", r)
			if r < leastRecall {
				t.Errorf("%s, %s, %d of %d buckets: recall %.4f (%s)", when, o.name, bucket, buckets, r, plans[k])
			}
		}
		t.Logf("%s | %s%s | %s", when, o.name, row.String(), plans[0])
	}
}

// plansHold looks at the plans that the server takes on one connection, after a host has sent statements of its own on it, prepared
// and not, and after ours for owners small and large. No planner switch is set.
func (c *crowd) plansHold(t *testing.T, indexed []*crowdOwner) {
	t.Helper()
	var rows int
	db := c.store.DB()
	must(t, db.QueryRow(t.Context(), onGeneration(`SELECT reltuples::bigint FROM pg_class WHERE oid = '{{tables.embeddings}}'::regclass`, c.generation)).Scan(&rows))
	if rows < 24_000 {
		t.Errorf("%d rows were analysed", rows)
	}
	one := *c
	o := crowdOptions{dimensions: len(c.owners[0].vectors[0])}
	o.Pool.MaxConns = 1
	one.open(t, o)
	host := one.store.DB().Pool().Pgx()
	for _, mode := range []string{"auto", "force_generic_plan"} {
		_, err := host.Exec(t.Context(), `SET plan_cache_mode = `+mode)
		must(t, err)
		for i := range 8 {
			for _, o := range c.owners {
				_, err := host.Exec(t.Context(), onGeneration(`SELECT ordinal FROM embeddings_1 WHERE owner_id = $1 AND ordinal < $2`, c.generation), o.name, i)
				must(t, err)
				_, err = host.Exec(t.Context(), `SELECT count(*) FROM embeddings_1 WHERE owner_id = $1 LIMIT $2`, pgx.QueryExecModeExec, o.name, i)
				must(t, err)
				one.ask(t, o, i, 10, llmemory.Where{})
				one.ask(t, o, i, 10, below(buckets/2000))
			}
		}
		one.plans.take()
		check := func(o *crowdOwner, where llmemory.Where, index bool) {
			t.Helper()
			_, said := one.ask(t, o, 1, 10, where)
			plans := one.plans.take()
			if len(plans) != 1 {
				t.Fatalf("%s, %s: %d statements for vectors", mode, o.name, len(plans))
			}
			if used := strings.Contains(plans[0], "Index Scan using embeddings_1_") && strings.Contains(plans[0], "Order By: (embedding"); used != index ||
				index != strings.HasPrefix(said, "index ") || strings.Contains(plans[0], "Seq Scan on embeddings_1") {
				t.Errorf("%s, %s: %q is\n%s", mode, o.name, said, plans[0])
			}
		}
		for _, o := range indexed {
			check(o, llmemory.Where{}, true)
			check(o, below(buckets/2000), false)
			if len(o.vectors) > 20_000 {
				check(o, below(buckets/2), true)
			}
		}
		for _, o := range c.owners[:soak.Pick(2, 3)] {
			check(o, llmemory.Where{}, false)
		}
	}
}

// words are real vectors in an order of chance. The last of them are the questions.
type words [][]float32

const wordQuestions = 1000

func readWords(t *testing.T, file string) words {
	t.Helper()
	f, err := os.Open(file)
	must(t, err)
	defer f.Close()
	var out words
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())[1:] // behind the word, which may look like a number
		v := make([]float32, len(fields))
		sum := 0.0
		for i, field := range fields {
			x, err := strconv.ParseFloat(field, 32)
			must(t, err)
			v[i] = float32(x)
			sum += x * x
		}
		for i := range v {
			v[i] /= float32(math.Sqrt(sum))
		}
		out = append(out, v)
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	t.Logf("%d vectors of %d dimensions", len(out), len(out[0]))
	return out
}

func (w words) Vector(owner string, n int) []float32 {
	first := 0
	for _, b := range []byte(owner) {
		first = first*31 + int(b)*7919
	}
	return w[(first+n)%(len(w)-wordQuestions)]
}

func (w words) Query(_ string, n int) []float32 { return w[len(w)-1-n] }
