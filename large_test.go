package llmemory_test

import (
	stdcmp "cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/pgproxy"
	"github.com/llmemory/llmemory/internal/soak"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
	"github.com/llmemory/llmemory/store/storetest"
)

// bounded opens a database with two memories on it, one of which may hold next to nothing while it writes.
func bounded(t *testing.T, url string) (store *postgres.Store, small, usual *llmemory.Memory) {
	t.Helper()
	store, err := postgres.Open(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if small, err = llmemory.New(store, nil); err != nil {
		t.Fatal(err)
	}
	if usual, err = llmemory.New(store, nil); err != nil {
		t.Fatal(err)
	}
	llmemory.SetBounds(small, 10<<10, 100<<10, 8<<10)
	return store, small, usual
}

// words returns n random words of a vocabulary of as many, in paragraphs.
func words(n int, seed uint64) string {
	random := rand.New(rand.NewPCG(seed, 0))
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "word%d ", random.IntN(n))
		if i%50 == 49 {
			b.WriteString("\n\n")
		}
	}
	return b.String()
}

// A document whose terms are too many to be held, and whose index is written in several segments ahead of the commit, is found,
// changed and deleted like any other.
func TestLargeDocument(t *testing.T) {
	t.Parallel()
	store, small, usual := bounded(t, pgtest.URL(t))
	large, whole := small.Owner("large"), usual.Owner("whole")
	compare := func() {
		t.Helper()
		for _, query := range []string{"word1", "word7 word77 word777", `"alpha beta"`, "word3 -word4"} {
			var hits [2][]llmemory.Hit
			for i, o := range []*llmemory.Owner{large, whole} {
				r, err := o.Search(t.Context(), query, &llmemory.SearchOptions{Mode: llmemory.ByText, Limit: 50})
				if err != nil {
					t.Fatal(err)
				}
				hits[i] = r.Hits
			}
			ids := cmp.Options{cmpopts.IgnoreFields(llmemory.Chunk{}, "ID", "DocumentID", "ParentID"),
				cmpopts.IgnoreFields(llmemory.StoredDocument{}, "ID", "CreatedAt", "UpdatedAt"),
				cmpopts.SortSlices(func(a, b llmemory.Hit) bool {
					return stdcmp.Or(stdcmp.Compare(b.Score, a.Score), stdcmp.Compare(a.Document.Key, b.Document.Key), stdcmp.Compare(a.Position, b.Position)) < 0
				})}
			if len(hits[1]) == 0 {
				t.Errorf("%s: nothing found", query)
			}
			// Equal scores are in order of chunk ids, which the owner is a part of: the last ones may be others.
			if n := len(hits[1]); n == 50 {
				for last := hits[1][n-1].Score; n > 0 && hits[1][n-1].Score == last; n-- {
				}
				hits[0], hits[1] = hits[0][:min(n, len(hits[0]))], hits[1][:n]
			}
			if diff := cmp.Diff(hits[1], hits[0], ids); diff != "" {
				t.Errorf("%s (-written at once +in parts):\n%s", query, diff)
			}
		}
		for _, owner := range []string{"large", "whole"} {
			if err := storetest.CheckIndex(t.Context(), store, owner); err != nil {
				t.Errorf("owner %s: %v", owner, err)
			}
		}
	}
	add := func(key, text string) (out [2]llmemory.Added) {
		t.Helper()
		for i, o := range []*llmemory.Owner{large, whole} {
			added, err := o.Add(t.Context(), llmemory.Document{Key: key, Language: "en", Content: text})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := o.Text(t.Context(), added.DocumentID); err != nil || got != text {
				t.Errorf("%d bytes came back as %d, %v", len(text), len(got), err)
			}
			out[i] = added
		}
		return out
	}
	for i := range 3 { // small segments, which the first of the large ones takes in
		add(fmt.Sprint(i), words(100, uint64(i)))
	}
	text := words(8_000, 10)
	add("k", text+"alpha beta")
	compare()
	stats, err := large.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if stats.Index.Segments < 5 {
		t.Errorf("%d segments: it was not too large for one", stats.Index.Segments)
	}

	half := strings.Index(text[len(text)/2:], "\n\n") + len(text)/2
	updated := add("k", text[:half]+"\n\nalpha beta"+text[half:])
	if updated[0].ChunksReused != updated[1].ChunksReused || updated[0].ChunksReused < updated[0].Chunks/2 {
		t.Errorf("%d of %d chunks kept, %d where it is written at once", updated[0].ChunksReused, updated[0].Chunks, updated[1].ChunksReused)
	}
	compare()
	add("k", words(8_000, 11)+"alpha beta")
	compare()
	if _, err := small.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	compare()
	if _, err := large.DeleteAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if stats, err = large.Stats(t.Context()); err != nil || stats.Index != (llmemory.IndexStats{}) {
		t.Errorf("an index of nothing: %+v, %v", stats, err)
	}
}

// Wherever the connection is lost while a large document is written, nothing of it is there, and the same call again stores it.
func TestLargeDocumentIsAtomic(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	store, _, still := bounded(t, url)
	proxy, through, err := pgproxy.StartFor(url)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close() //nolint:errcheck // nothing is behind it any more
	_, mem, _ := bounded(t, through)
	doc := func(n uint64) llmemory.Document {
		return llmemory.Document{Key: "k", Language: "en", Content: words(2_000, n)}
	}
	if _, err := mem.Owner("o").Add(t.Context(), doc(0)); err != nil {
		t.Fatal(err)
	}
	proxy.Arm()
	if _, err := mem.Owner("o").Add(t.Context(), doc(1)); err != nil {
		t.Fatal(err)
	}
	messages := proxy.Messages()
	rows := func() (n int) {
		t.Helper()
		err := store.DB().QueryRow(t.Context(), `SELECT (SELECT count(*) FROM {{tables.text_postings}}) + (SELECT count(*) FROM {{tables.document_chunks}})`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	content := func() string {
		t.Helper()
		text, err := still.Owner("o").Text(t.Context(), llmemory.DocumentID("o", llmemory.Identity{OriginID: "default", Key: "k"}))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	stored := uint64(1)
	for k := 1; k <= messages; k += max(1, messages/soak.Pick(15, messages)) {
		before := rows()
		proxy.CutBefore(k)
		_, err := mem.Owner("o").Add(t.Context(), doc(stored+1))
		proxy.Reset()
		switch {
		case err == nil: // a read that was repeated
			stored++
		case !errors.Is(err, llmemory.ErrUnavailable) && !errors.Is(err, llmemory.ErrCommitUnknown):
			t.Errorf("cut before message %d of %d: %v", k, messages, err)
		case rows() != before:
			t.Errorf("cut before message %d of %d: %d rows, were %d", k, messages, rows(), before)
		}
		if content() != doc(stored).Content {
			t.Errorf("cut before message %d of %d: not the text that was there", k, messages)
		}
	}
	if _, err := mem.Owner("o").Add(t.Context(), doc(stored+1)); err != nil || content() != doc(stored+1).Content {
		t.Errorf("again: %v", err)
	}
	if err := storetest.CheckIndex(context.Background(), store, "o"); err != nil {
		t.Error(err)
	}
}
