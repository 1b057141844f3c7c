package postings

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// TestAgainstBM25S compares with scores that bm25s, a Python implementation,
// computed for a collection in three languages; testdata/bm25.py tells how.
func TestAgainstBM25S(t *testing.T) {
	t.Parallel()
	var want struct {
		Docs    [][]string
		Queries []struct {
			Terms  []string
			Scores []float64
		}
	}
	data, err := os.ReadFile(filepath.Join("testdata", "bm25.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	var docs []Doc
	stats := Stats{Documents: int64(len(want.Docs))}
	for i, terms := range want.Docs {
		d := Doc{Ordinal: uint64(i), Length: len(terms)}
		for p, term := range terms {
			d.Tokens = append(d.Tokens, Token{Term: term, Position: p})
		}
		docs = append(docs, d)
		stats.Length += int64(d.Length)
	}
	sources := []Source{source(t, nil, docs[:7]...), source(t, nil, docs[7:]...)}
	hits := 0
	for _, q := range want.Queries {
		var query Query
		for _, term := range q.Terms {
			query.Terms = append(query.Terms, Weighted{Term: term, Count: 1})
		}
		got, err := Search(query, sources, stats, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for name, list := range map[string][]Scored{"search": got, "exhaustive": Exhaustive(query, docs, Options{})} {
			scores := make([]float64, len(docs))
			for _, hit := range list {
				scores[hit.Ordinal] = hit.Score
			}
			for i := range scores {
				if math.Abs(scores[i]-q.Scores[i]) > 1e-9 {
					t.Errorf("%s %v: document %d has %v, bm25s says %v", name, q.Terms, i, scores[i], q.Scores[i])
				}
			}
		}
		hits += len(got)
	}
	if len(want.Docs) < 20 || len(want.Queries) < 12 || hits < 30 {
		t.Errorf("the comparison is hollow: %d documents, %d queries, %d hits", len(want.Docs), len(want.Queries), hits)
	}
}

// source makes a segment of the documents and opens it by its bytes.
func source(tb testing.TB, dead *Set, docs ...Doc) Source {
	tb.Helper()
	s := build(tb, docs...)
	in, err := OpenInline(s.Inline())
	if err != nil {
		tb.Fatal(err)
	}
	return Source{Low: s.Low, High: s.High, Dead: dead, Lookup: in.Lookup}
}

func build(tb testing.TB, docs ...Doc) *Segment {
	tb.Helper()
	var b Builder
	for _, d := range docs {
		if err := b.Add(d); err != nil {
			tb.Fatal(err)
		}
	}
	return b.Segment()
}

// doc makes a document of words at successive positions.
func doc(ordinal uint64, words ...string) Doc {
	d := Doc{Ordinal: ordinal, Length: len(words)}
	for i, w := range words {
		d.Tokens = append(d.Tokens, Token{Term: w, Position: i})
	}
	return d
}
