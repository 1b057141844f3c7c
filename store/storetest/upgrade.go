package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding/embedtest"
)

// UpgradeVectors takes the vectors of a passage of several parts and of the short one "a stone" back to the tables of when a passage had
// one vector, and forward again, which open does. Kept are the passages that keep theirs: the others are embedded anew, as a whole, since
// the older tables know of no parts. The store that open returns is closed before back is called, and once more in the end.
func UpgradeVectors(t *testing.T, open func() llmemory.Store, back func(), kept ...string) {
	ctx := t.Context()
	e := embedtest.New(embedtest.Config{Model: "m", Dimensions: 16})
	var long strings.Builder
	for i := range 90 {
		fmt.Fprintf(&long, "Sentence %d tells of water and of stone. ", i)
	}
	var memory *llmemory.Memory
	start := func() (store llmemory.Store, vectors, leaves int64) {
		t.Helper()
		store = open()
		memory = must(llmemory.New(store, &llmemory.Config{Embedder: e}))(t)
		g := must(memory.AddGeneration(ctx, nil, ""))(t)
		p := must(memory.Progress(ctx, g.ID))(t)
		return store, p.Vectors, p.Leaves
	}
	find := func() (out []string) {
		t.Helper()
		for _, h := range must(memory.Owner("o").Search(ctx, "stone", &llmemory.SearchOptions{Mode: llmemory.ByVector}))(t).Hits {
			out = append(out, h.Text)
		}
		slices.Sort(out)
		return out
	}
	end := func(store llmemory.Store) {
		t.Helper()
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	store, _, _ := start()
	for _, doc := range []llmemory.Document{{Key: "long", Content: long.String()}, {Key: "short", Content: "a stone"}} {
		must(memory.Owner("o").Add(ctx, doc))(t)
	}
	want := find()
	end(store)
	back()

	store, vectors, leaves := start()
	if vectors < int64(len(kept)) || len(kept) == 0 && vectors > 0 || leaves < vectors+3 {
		t.Errorf("after the upgrade %d of %d passages have vectors, want those of %q", vectors, leaves, kept)
	}
	got := find()
	if len(got) != int(vectors) {
		t.Errorf("%d passages have vectors, found before the others are embedded: %q", vectors, got)
	}
	for _, text := range kept {
		if !slices.Contains(got, text) {
			t.Errorf("%q is not found before the others are embedded: %q", text, got)
		}
	}
	if p, err := memory.EmbedQueue(ctx, nil); err != nil || p.Embedded != int(leaves-vectors) {
		t.Errorf("embedded: %+v, %v", p, err)
	}
	if diff := cmp.Diff(want, find()); diff != "" {
		t.Errorf("found (-before +after):\n%s", diff)
	}
	end(store)
}
