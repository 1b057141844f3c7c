package postings

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// benchDocs makes n documents of about 100 words. Words are drawn by Zipf's
// law from 50,000; the fifty commonest are left out, as stop words are.
func benchDocs(n int) []Doc {
	r := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(r, 1.07, 60, 50_000)
	names := make([]string, 50_001)
	for i := range names {
		names[i] = fmt.Sprintf("en:w%05d", i)
	}
	docs := make([]Doc, n)
	for i := range docs {
		docs[i] = Doc{Ordinal: uint64(i), Length: 60 + r.IntN(80)}
		for p := range docs[i].Length {
			docs[i].Tokens = append(docs[i].Tokens, Token{Term: names[zipf.Uint64()], Position: p})
		}
	}
	return docs
}

// benchQueries asks with twelve words each: four of the hundred commonest,
// four of the next thousand, four rare ones.
func benchQueries(n int) []Query {
	r := rand.New(rand.NewPCG(3, 4))
	queries := make([]Query, n)
	for i := range queries {
		for j := range 12 {
			k := []int{r.IntN(100), 100 + r.IntN(1000), 1100 + r.IntN(40_000)}[j%3]
			queries[i].Terms = append(queries[i].Terms, Weighted{Term: fmt.Sprintf("en:w%05d", k), Count: 1})
		}
	}
	return queries
}

func BenchmarkSearch(b *testing.B) {
	docs := benchDocs(100_000)
	queries := benchQueries(200)
	var stats Stats
	for _, d := range docs {
		stats.Documents++
		stats.Length += int64(d.Length)
	}
	for _, size := range []int{512, 4096, 32768} {
		var sources []Source
		bytes := 0
		for part := range slices.Chunk(docs, size) {
			s := build(b, part...)
			index := make(map[string]Block, len(s.Blocks))
			for _, block := range s.Blocks {
				index[block.Term] = block
				bytes += len(block.Postings) + len(block.Positions)
			}
			sources = append(sources, Source{Low: s.Low, High: s.High, Lookup: func(term string) (Block, bool, error) {
				block, ok := index[term]
				return block, ok, nil
			}})
		}
		dead := new(Set)
		for o := uint64(0); o < 100_000; o += 97 {
			dead.Add(o)
		}
		for _, bench := range []struct {
			name string
			dead *Set
		}{{"living", nil}, {"dead", dead}} {
			for i := range sources {
				sources[i].Dead = bench.dead
			}
			b.Run(fmt.Sprintf("segments=%d/%s", size, bench.name), func(b *testing.B) {
				var took []time.Duration
				i := 0
				for b.Loop() {
					start := time.Now()
					if _, err := Search(queries[i%len(queries)], sources, stats, Options{Depth: 100}); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(start))
					i++
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
				b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
				b.ReportMetric(float64(bytes)/1e6, "index-MB")
			})
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	docs := benchDocs(4096)
	for b.Loop() {
		build(b, docs...)
	}
	b.ReportMetric(float64(b.N*len(docs))/b.Elapsed().Seconds(), "docs/s")
}

func BenchmarkMerge(b *testing.B) {
	docs := benchDocs(32768)
	var segments []*Segment
	for part := range slices.Chunk(docs, 1024) {
		segments = append(segments, build(b, part...))
	}
	for b.Loop() {
		var sources []MergeSource
		for _, s := range segments {
			sources = append(sources, s.Source(nil))
		}
		if _, err := MergeSegment(sources); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(docs))/b.Elapsed().Seconds(), "docs/s")
}
