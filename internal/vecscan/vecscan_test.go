package vecscan_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/llmemory/llmemory/internal/vec"
	"github.com/llmemory/llmemory/internal/vecscan"
	"github.com/llmemory/llmemory/internal/vecset"
)

// cosine returns that of the nearest vector.
func cosine(query []float32, vectors [][]float32) float64 {
	best := -1.0
	for _, v := range vectors {
		best = max(best, vec.Cosine(query, v))
	}
	return best
}

// bruteForce ranks ordinals by the definition.
func bruteForce(vectors map[uint64][][]float32, query []float32, k int, among []uint64) []vecscan.Hit {
	var all []vecscan.Hit
	for ordinal, v := range vectors {
		if among == nil || slices.Contains(among, ordinal) {
			all = append(all, vecscan.Hit{Ordinal: ordinal, Cosine: cosine(query, v)})
		}
	}
	slices.SortFunc(all, func(a, b vecscan.Hit) int {
		return cmp.Or(cmp.Compare(b.Cosine, a.Cosine), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	return all[:min(k, len(all))]
}

// rescore returns the nearest of candidates, and how many cosines were asked for.
func rescore(t *testing.T, candidates []vecscan.Candidate, vectors map[uint64][][]float32, query []float32, k int) ([]vecscan.Hit, int) {
	t.Helper()
	asked := 0
	hits, err := vecscan.Nearest(candidates, k, func(ordinal uint64) (float64, error) {
		asked++
		v, ok := vectors[ordinal]
		if !ok {
			return 0, fmt.Errorf("vector %d is not in this version", ordinal)
		}
		return cosine(query, v), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return hits, asked
}

// draws are ways to draw vectors, unkind ones among them.
var draws = map[string]func(r *rand.Rand, d int) []float32{
	"normal": func(r *rand.Rand, d int) []float32 {
		return fill(d, func(int) float32 { return float32(r.NormFloat64()) })
	},
	"crowd": func(r *rand.Rand, d int) []float32 { // all nearly the same
		return fill(d, func(i int) float32 { return 1 + float32(i%3) + 1e-4*float32(r.NormFloat64()) })
	},
	"few": func(r *rand.Rand, d int) []float32 { // many are equal, and some zero
		n := r.IntN(3)
		return fill(d, func(i int) float32 { return float32((i * n) % 5) })
	},
	"spiky": func(r *rand.Rand, d int) []float32 {
		v := fill(d, func(int) float32 { return 1e-3 * float32(r.NormFloat64()) })
		v[r.IntN(min(d, 2))] = 1
		return v
	},
	"tiny": func(r *rand.Rand, d int) []float32 { // subnormal
		return fill(d, func(int) float32 { return math.Float32frombits(uint32(r.IntN(1<<20))<<1|uint32(r.IntN(2))<<31) / 2 })
	},
	"huge": func(r *rand.Rand, d int) []float32 {
		return fill(d, func(int) float32 { return math.MaxFloat32 * float32(r.Float64()*2-1) })
	},
	"wide": func(r *rand.Rand, d int) []float32 {
		return fill(d, func(int) float32 { return float32(math.Ldexp(r.NormFloat64(), r.IntN(200)-100)) })
	},
}

func fill(d int, f func(i int) float32) []float32 {
	v := make([]float32, d)
	for i := range v {
		v[i] = f(i)
	}
	return v
}

// TestExact keeps a set through a history of additions, removals and returns, and asks for the nearest of present and past versions:
// the answer is always that of an exhaustive search, from memory, from pages, and from pages that were stored, merged and compacted.
func TestExact(t *testing.T) {
	t.Parallel()
	for name, draw := range draws {
		for _, d := range []int{1, 3, 16, 33, 384} {
			t.Run(fmt.Sprint(name, "/", d), func(t *testing.T) {
				t.Parallel()
				testExact(t, rand.New(rand.NewPCG(uint64(d), uint64(len(name)))), d, draw)
			})
		}
	}
}

func testExact(t *testing.T, r *rand.Rand, d int, draw func(*rand.Rand, int) []float32) {
	set := vecscan.NewSet(d)
	versions := []map[uint64][][]float32{{}}
	var pages []*vecscan.Page
	var gone []uint64
	next := uint64(0)
	for version := uint64(1); version <= 40; version++ {
		now := maps.Clone(versions[version-1])
		p := vecscan.NewPage(d)
		for _, ordinal := range slices.Sorted(maps.Keys(now)) {
			if r.IntN(10) == 0 {
				p.Remove(ordinal, version)
				delete(now, ordinal)
				gone = append(gone, ordinal)
			}
		}
		for range r.IntN(20) {
			ordinal := next
			next++
			if len(gone) > 0 && r.IntN(4) == 0 { // one comes again, perhaps in the version it goes with
				i := r.IntN(len(gone))
				ordinal = gone[i]
				gone = slices.Delete(gone, i, i+1)
			}
			now[ordinal] = nil
			for range max(1, r.IntN(8)-3) {
				v := draw(r, d)
				p.Add(ordinal, version, v)
				now[ordinal] = append(now[ordinal], v)
			}
		}
		versions = append(versions, now)
		pages = append(pages, store(t, p, d))
		if r.IntN(3) == 0 { // the set lags behind, and is told some things twice
			set.Apply(version, pages[max(0, int(set.Version())-2):])
		}
	}
	last := uint64(len(versions) - 1)
	set.Apply(last, pages)
	if set.Version() != last {
		t.Fatalf("the set is of version %d, want %d", set.Version(), last)
	}

	merged := []*vecscan.Page{vecscan.NewPage(d), vecscan.NewPage(d)}
	compact := vecscan.NewPage(d)
	for i, p := range pages {
		merged[i*2/len(pages)].Append(p)
		compact.Append(p)
	}
	var dropped vecscan.Removals
	for _, p := range pages {
		dropped.Add(p)
	}
	compact.Without(dropped)
	left := 0
	for _, v := range versions[last] {
		left += len(v)
	}
	if compact.Len() != left {
		t.Errorf("a compacted page holds %d, want %d", compact.Len(), left)
	}
	anew := vecscan.NewSet(d)
	anew.Load(store(t, merged[0], d))
	anew.Load(store(t, merged[1], d))
	anew.Apply(last, nil)
	if merged[1].Last() > last || merged[0].Last() >= merged[1].Last() {
		t.Errorf("merged pages end with versions %d and %d", merged[0].Last(), merged[1].Last())
	}

	for range 30 {
		query := draw(r, d)
		if r.IntN(10) == 0 {
			query = make([]float32, d)
		}
		q, k, version := vecscan.NewQuery(query), 1+r.IntN(12), last
		if r.IntN(2) == 0 {
			version = uint64(r.IntN(len(versions)))
		}
		var among []uint64
		var keep func(uint64) bool
		if r.IntN(2) == 0 {
			among = []uint64{}
			for range r.IntN(int(next)) {
				among = append(among, uint64(r.IntN(int(next)+5)))
			}
			if r.IntN(2) == 0 {
				slices.Sort(among)
			}
			keep = func(ordinal uint64) bool { return slices.Contains(among, ordinal) }
		}
		vectors := versions[version]
		want := bruteForce(vectors, query, k, among)
		check := func(how string, candidates []vecscan.Candidate) {
			t.Helper()
			for _, c := range candidates {
				v, ok := vectors[c.Ordinal]
				if x := cosine(query, v); ok && !(float64(c.Low) <= x && x <= float64(c.High)) {
					t.Errorf("%s: cosine %v is not between %v and %v", how, x, c.Low, c.High)
				}
			}
			if got, _ := rescore(t, candidates, vectors, query, k); !slices.Equal(got, want) {
				t.Errorf("%s, version %d, %d nearest among %v:\n%v, want\n%v", how, version, k, among, got, want)
			}
		}
		check("set", set.Candidates(q, version, k, among))
		check("set made anew", anew.Candidates(q, version, k, among))
		if version == last {
			for how, list := range map[string][]*vecscan.Page{"pages": pages, "merged pages": merged, "compact page": {compact}} {
				s := vecscan.NewScan(q, k, keep)
				for _, p := range slices.Backward(list) {
					s.Page(p)
				}
				check(how, s.Candidates())
			}
		}
	}
}

// store encodes and decodes a page.
func store(t *testing.T, p *vecscan.Page, d int) *vecscan.Page {
	t.Helper()
	out, err := vecscan.Decode(p.Encode(), d)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLarge searches a set that takes several processors, and checks that hardly any vector is compared exactly.
func TestLarge(t *testing.T) {
	t.Parallel()
	const d, n, k = 384, 11_000, 10
	drawn := func(seed int) []float32 { return draws["normal"](rand.New(rand.NewPCG(7, uint64(seed))), d) }
	vectors := map[uint64][][]float32{}
	p := vecscan.NewPage(d)
	for i := range n { // two of every other ordinal, so that some lie in two blocks
		ordinal, v := uint64(i*2/3), drawn(i)
		vectors[ordinal] = append(vectors[ordinal], v)
		p.Add(ordinal, 1, v)
	}
	set := vecscan.NewSet(d)
	set.Apply(1, []*vecscan.Page{p})
	if set.Rows() != n || set.Bytes() < n*d || set.Bytes() > n*(d+100) {
		t.Errorf("%d rows of %d bytes", set.Rows(), set.Bytes())
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 3 {
				query := drawn(-1 - w*3 - i)
				candidates := set.Candidates(vecscan.NewQuery(query), 1, k, nil)
				got, asked := rescore(t, candidates, vectors, query, k)
				if want := bruteForce(vectors, query, k, nil); !slices.Equal(got, want) {
					t.Errorf("query %d: %v, want %v", i, got, want)
				}
				if asked > 200 {
					t.Errorf("query %d: %d vectors were compared exactly", i, asked)
				}
			}
		})
	}
	wg.Go(func() { // the set goes on meanwhile
		for version := uint64(2); version < 50; version++ {
			p := vecscan.NewPage(d)
			p.Remove(version, version)
			p.Add(n+version, version, drawn(n+int(version)))
			set.Apply(version, []*vecscan.Page{p})
		}
	})
	wg.Wait()
}

// TestDecode refuses whatever is no page, and reads one that was cut or changed nowhere as something else.
func TestDecode(t *testing.T) {
	t.Parallel()
	p := vecscan.NewPage(5)
	p.Add(1, 1, []float32{1, 2, 3, 4, 5})
	p.Add(2, 3, []float32{-1, 2, -3, 4, 5})
	p.Remove(1, 2)
	raw := p.Encode()
	if got, err := vecscan.Decode(raw, 5); err != nil || got.Len() != 3 || got.Vectors() != 2 {
		t.Fatalf("%v %v", got, err)
	}
	if _, err := vecscan.Decode(raw, 6); !errors.Is(err, vecscan.ErrPage) {
		t.Errorf("of other dimensions: %v", err)
	}
	for n := range raw {
		if _, err := vecscan.Decode(raw[:n:n], 5); !errors.Is(err, vecscan.ErrPage) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
		bad := slices.Clone(raw)
		bad[n] ^= 0x10
		if _, err := vecscan.Decode(bad, 5); !errors.Is(err, vecscan.ErrPage) {
			t.Errorf("byte %d changed: %v", n, err)
		}
	}
}

func BenchmarkCandidates(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		drawn := vecset.New(384, 3)
		p := vecscan.NewPage(384)
		for i := range n {
			p.Add(uint64(i), 1, drawn.Vector("o", i))
		}
		set := vecscan.NewSet(384)
		set.Apply(1, []*vecscan.Page{p})
		raw := p.Encode()
		var queries []*vecscan.Query
		for i := range 10 {
			queries = append(queries, vecscan.NewQuery(drawn.Query("o", i)))
		}
		b.Run(fmt.Sprint("all/", n), func(b *testing.B) {
			found := 0
			for i := 0; b.Loop(); i++ {
				found += len(set.Candidates(queries[i%10], 1, 10, nil))
			}
			b.ReportMetric(float64(found)/float64(b.N), "candidates")
		})
		b.Run(fmt.Sprint("load/", n), func(b *testing.B) {
			for b.Loop() {
				p, err := vecscan.Decode(raw, 384)
				if err != nil {
					b.Fatal(err)
				}
				vecscan.NewSet(384).Apply(1, []*vecscan.Page{p})
			}
		})
	}
	v := vecset.New(384, 3).Vector("o", 1)
	b.Run("quantise", func(b *testing.B) {
		p := vecscan.NewPage(384)
		for i := 0; b.Loop(); i++ {
			if i%1000 == 0 {
				p = vecscan.NewPage(384)
			}
			p.Add(1, 1, v)
		}
	})
}
