package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/eval"
)

// better is the nDCG@10 of the better of text and vectors, in the first store.
func (t *table) better(r row) float64 {
	m := r.stores[t.stores[0].name]
	return max(m[llmemory.ByText].NDCG10, m[llmemory.ByVector].NDCG10)
}

// evaluation is the table of what the stores reach.
func (t *table) evaluation() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s Fusion: the default, text weight %g.\n\n", t.heading(), llmemory.DefaultTextWeight)
	b.WriteString("| collection | documents | questions | store | text | vector | hybrid | over the better | text | vector | hybrid |\n" +
		"|---|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|\n| | | | | nDCG@10 | | | | Recall@100 | | |\n")
	for _, r := range t.rows {
		for i, s := range t.stores {
			name, documents, queries := r.name, fmt.Sprint(r.documents), fmt.Sprint(r.queries)
			if i > 0 {
				name, documents, queries = "", "", ""
			}
			m := r.stores[s.name]
			text, vector, hybrid := m[llmemory.ByText], m[llmemory.ByVector], m[llmemory.Hybrid]
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %.4f | %.4f | %.4f | %+.4f | %.4f | %.4f | %.4f |\n", name, documents, queries, s.name,
				text.NDCG10, vector.NDCG10, hybrid.NDCG10, hybrid.NDCG10-max(text.NDCG10, vector.NDCG10),
				text.Recall100, vector.Recall100, hybrid.Recall100)
		}
	}
	return b.String()
}

// chunkingTable is the table of what ways to cut documents reach.
func (t *table) chunkingTable(r *eval.ChunkingReport) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %d documents, %d questions, the best %d passages of each.\n\n", t.heading(), r.Dataset, r.Documents, r.Questions, r.Top)
	b.WriteString("| strategy | passages | tokens | recall | precision | IoU | recall in 1,000 tokens |\n|---|--:|--:|--:|--:|--:|--:|\n")
	for _, s := range r.Strategies {
		fmt.Fprintf(&b, "| %s | %d | %d | %.4f | %.4f | %.4f | %.4f |\n", s.Name, s.Chunks, s.Tokens, s.Recall, s.Precision, s.IoU, s.BudgetRecall)
	}
	return b.String()
}

// choice is the table of the gains of hybrid search over its better arm by text weight, and what would have been chosen without each
// collection: the weight with the best mean gain over the others.
func (t *table) choice() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s Gain in nDCG@10 over the better of text and vectors, in %s.\n\n| text weight |", t.heading(), t.stores[0].name)
	line := "|--:|"
	for _, r := range t.rows {
		fmt.Fprintf(&b, " %s |", r.name)
		line += "--:|"
	}
	fmt.Fprintf(&b, " mean | least |\n%s--:|--:|\n", line)
	gain := func(r row, w float64) float64 { return r.weights[w] - t.better(r) }
	for _, w := range t.weights {
		fmt.Fprintf(&b, "| %g |", w)
		sum, least := 0.0, math.Inf(1)
		for _, r := range t.rows {
			g := gain(r, w)
			sum, least = sum+g, min(least, g)
			fmt.Fprintf(&b, " %+.4f |", g)
		}
		fmt.Fprintf(&b, " %+.4f | %+.4f |\n", sum/float64(len(t.rows)), least)
	}
	b.WriteString("\nLeave one out: the weight with the best mean gain over all other collections, and what it gains on the one left out.\n\n" +
		"| left out | chosen weight | gain on it | gain of the default weight |\n|---|--:|--:|--:|\n")
	for i, held := range t.rows {
		others := slices.Delete(slices.Clone(t.rows), i, i+1)
		best, most := 0.0, math.Inf(-1)
		for _, w := range t.weights {
			sum := 0.0
			for _, r := range others {
				sum += gain(r, w)
			}
			if sum > most {
				best, most = w, sum
			}
		}
		fmt.Fprintf(&b, "| %s | %g | %+.4f | %+.4f |\n", held.name, best, gain(held, best),
			held.stores[t.stores[0].name][llmemory.Hybrid].NDCG10-t.better(held))
	}
	return b.String()
}

// write puts the blocks into the file, or prints them.
func (t *table) write(blocks map[string]string) error {
	if t.out == "" {
		for _, name := range []string{"evaluation", "weights"} {
			if blocks[name] != "" {
				fmt.Printf("%s\n", blocks[name])
			}
		}
		return nil
	}
	raw, err := os.ReadFile(t.out)
	if err != nil {
		return err
	}
	for name, block := range blocks {
		if raw, err = replace(raw, name, block); err != nil {
			return fmt.Errorf("%s: %w", t.out, err)
		}
	}
	return os.WriteFile(t.out, raw, 0o666)
}

// replace replaces what stands between the marks of a name.
func replace(raw []byte, name, block string) ([]byte, error) {
	begin, end := []byte("<!-- "+name+" -->\n"), []byte("<!-- /"+name+" -->")
	from := bytes.Index(raw, begin)
	to := bytes.Index(raw, end)
	if from < 0 || to < from {
		return nil, fmt.Errorf("has no %q and %q after it", begin, end)
	}
	return slices.Concat(raw[:from+len(begin)], []byte("\n"+block+"\n"), raw[to:]), nil
}
