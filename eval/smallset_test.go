package eval_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/eval"
	"github.com/llmemory/llmemory/eval/smallset"
)

// What smallset's documentation says of itself is so.
func TestSmallset(t *testing.T) {
	t.Parallel()
	c, err := eval.Open(smallset.FS())
	if err != nil {
		t.Fatal(err)
	}

	perLanguage, long := map[string]int{}, map[string]int{}
	unasked := map[string]bool{}
	for d, err := range c.Documents() {
		if err != nil {
			t.Fatal(err)
		}
		lang, _, _ := strings.Cut(d.ID, "/")
		perLanguage[lang]++
		unasked[d.ID] = true
		if len(strings.Fields(d.Text)) >= 250 {
			long[lang]++
		}
		if d.Title == "" || d.Text == "" {
			t.Errorf("%s has no title or no text", d.ID)
		}
	}
	if diff := cmp.Diff(map[string]int{"en": 15, "de": 15, "es": 15}, perLanguage); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"en": 4, "de": 2, "es": 3}, long); diff != "" {
		t.Errorf("long documents (-want +got):\n%s", diff)
	}

	if got := len(c.Judged()); got != 51 || got != len(c.Queries) {
		t.Errorf("%d judged of %d questions, want 51 of 51", got, len(c.Queries))
	}
	for query, grades := range c.Qrels {
		best := 0
		for doc, grade := range grades {
			delete(unasked, doc)
			best = max(best, grade)
			if query[:3] != doc[:3] {
				t.Errorf("question %s is about %s, of another language", query, doc)
			}
		}
		if best != 2 {
			t.Errorf("question %s has best grade %d, want 2", query, best)
		}
	}
	for doc := range unasked {
		t.Errorf("no question is about %s", doc)
	}
}
