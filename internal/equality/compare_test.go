package equality

import (
	"slices"
	"strings"
	"testing"

	"github.com/llmemory/llmemory"
)

// TestCompare shows that what differs is seen, and what may differ is not.
func TestCompare(t *testing.T) {
	t.Parallel()
	hit := func(id string, score float64) llmemory.Hit {
		text := "text of " + id
		return llmemory.Hit{Chunk: llmemory.Chunk{ID: id, Text: text}, Document: llmemory.StoredDocument{ID: "d " + id}, Score: score, Scores: llmemory.Scores{Vector: &score}}
	}
	sound := []llmemory.Hit{hit("a", .9), hit("b", .5), hit("c", .5), hit("d", .1)}
	for name, c := range map[string]struct {
		change func(list []llmemory.Hit)
		want   string // in what is said; "" for nothing
	}{
		"the same":               {func([]llmemory.Hit) {}, ""},
		"a tie turned round":     {func(l []llmemory.Hit) { l[1], l[2] = l[2], l[1] }, ""},
		"within the gap":         {func(l []llmemory.Hit) { l[3] = hit("d", .1+5e-6) }, ""},
		"another one at the end": {func(l []llmemory.Hit) { l[3] = hit("e", .1) }, ""},
		"beyond the gap":         {func(l []llmemory.Hit) { l[3] = hit("d", .1+2e-5) }, "hit 3 has the scores"},
		"order":                  {func(l []llmemory.Hit) { l[2], l[3] = l[3], l[2] }, "better than the one before"},
		"scores changed places":  {func(l []llmemory.Hit) { l[0], l[3] = hit("d", .9), hit("a", .1) }, "has the scores"},
		"another one":            {func(l []llmemory.Hit) { l[1] = hit("e", .5) }, "is none of the other"},
		"another text":           {func(l []llmemory.Hit) { l[1].Text = "text" }, "Text"},
		"another document":       {func(l []llmemory.Hit) { l[1].Document.Version = 2 }, "Version"},
		"another raw score": {func(l []llmemory.Hit) {
			other := .6
			l[1].Scores.Vector = &other
		}, "Vector"},
		"no raw score": {func(l []llmemory.Hit) { l[1].Scores.Vector = nil }, "Vector"},
		"no parent":    {func(l []llmemory.Hit) { l[1].Parent = &llmemory.Chunk{} }, "Parent"},
	} {
		changed := slices.Clone(sound)
		c.change(changed)
		got := compare([2][]llmemory.Hit{sound, changed}, vectorGap)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
