package eval_test

import (
	"fmt"
	"log"
	"strings"

	"github.com/llmemory/llmemory/eval"
	"github.com/llmemory/llmemory/eval/smallset"
)

// A search that counts the words of the question which occur in a document, and
// another one that looks at long words only.
func Example() {
	c, err := eval.Open(smallset.FS())
	if err != nil {
		log.Fatal(err)
	}
	search := func(minLength int) eval.Run {
		run := eval.Run{}
		for doc, err := range c.Documents() {
			if err != nil {
				log.Fatal(err)
			}
			content := strings.ToLower(doc.Content())
			for _, q := range c.Judged() {
				score := 0.0
				for _, word := range strings.Fields(strings.ToLower(q.Text)) {
					if len(word) >= minLength && strings.Contains(content, word) {
						score++
					}
				}
				if score > 0 {
					run[q.ID] = append(run[q.ID], eval.Result{ID: doc.ID, Score: score})
				}
			}
		}
		return run
	}

	all, err := eval.Evaluate(c.Qrels, search(1))
	if err != nil {
		log.Fatal(err)
	}
	long, err := eval.Evaluate(c.Qrels, search(5))
	if err != nil {
		log.Fatal(err)
	}
	diff, err := eval.Compare(all, long, func(m eval.Metrics) float64 { return m.NDCG10 }, 1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("nDCG@10 %.3f against %.3f: better for %d of %d questions, worse for %d\n",
		all.Mean.NDCG10, long.Mean.NDCG10, diff.Better, diff.Queries, diff.Worse)
	fmt.Println("more than chance:", diff.P < 0.05)
	// Output:
	// nDCG@10 0.621 against 0.518: better for 10 of 51 questions, worse for 19
	// more than chance: false
}
