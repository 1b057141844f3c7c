package postgres_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/contextual"
	"github.com/llmemory/llmemory/llm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

// In a host's transaction, which would stay open meanwhile, no model is asked; an Add outside makes up for it.
func TestNoContextInTransaction(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, err := postgres.Open(ctx, pgtest.URL(t), nil)
	must(t, err)
	defer store.Close() //nolint:errcheck // nothing is written any more
	var calls atomic.Int64
	g := llm.Func{Call: func(context.Context, llm.Request) (llm.Answer, error) {
		calls.Add(1)
		return llm.Answer{Text: "a line of zebras"}, nil
	}}
	mem, err := llmemory.New(store, &llmemory.Config{Chunker: lines, Annotator: contextual.New(g, nil)})
	must(t, err)
	doc := llmemory.Document{Key: "k", Language: "en", Content: "one\ntwo"}
	must(t, pgx.BeginFunc(ctx, store.DB().Pool().Pgx(), func(tx pgx.Tx) error {
		added, err := mem.On(store.WithTx(tx)).Owner("o").Add(ctx, doc)
		if err == nil && (added.Unannotated != 2 || added.AnnotateErr == nil || !strings.Contains(added.AnnotateErr.Error(), "transaction") || calls.Load() != 0) {
			t.Errorf("in a transaction: %+v, %d calls", added, calls.Load())
		}
		return err
	}))
	added, err := mem.Owner("o").Add(ctx, doc)
	must(t, err)
	if added.Status != llmemory.Updated || added.Annotated != 2 || calls.Load() != 2 {
		t.Errorf("outside: %+v, %d calls", added, calls.Load())
	}
	if n := found(t, mem.Owner("o"), "zebras", llmemory.ByText); n != 2 {
		t.Errorf("%d passages are found by their lines, want 2", n)
	}
}
