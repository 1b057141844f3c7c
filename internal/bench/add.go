package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/chunk"
)

// adding measures how fast 10,000 chunks are added, in documents of several sizes.
func (b *bench) adding(ctx context.Context) error {
	const total = 10_000
	fmt.Fprintf(b.out, "\n## Adding %d chunks\n\n*COPY* is the bound: the same texts copied into a plain table with a primary key, in one transaction per document (per call for\n"+
		"`AddMany`). llmemory analyses, chunks and indexes; every `Add` is one durable transaction and found by the next search.\n"+
		"The last row cuts running text with the default chunker.\n\n"+
		"| how | documents/s | chunks/s | p50 per call | p95 | COPY chunks/s | share of COPY |\n|---|---|---|---|---|---|---|\n", total)
	v := newVocabulary()
	for _, row := range []struct {
		name    string
		size    int // chunks in a document
		batch   int // documents in a call
		chunker chunk.Chunker
		goal    float64 // chunks a second
	}{
		{"`Add`, documents of 1 chunk", 1, 1, paragraphs, 150},
		{"`AddMany` by 100, documents of 1 chunk", 1, 100, paragraphs, 0},
		{"`Add`, documents of 10 chunks", 10, 1, paragraphs, 0},
		{"`Add`, documents of 1,000 chunks", 1000, 1, paragraphs, 3000},
		{"`Add`, 1,000 paragraphs, default chunker", 1000, 1, nil, 3000},
	} {
		o, err := b.open(ctx, "llmemory_bench_add", &llmemory.Config{Chunker: row.chunker}, nil)
		if err != nil {
			return err
		}
		err = func() error {
			defer o.close()
			r := rand.New(rand.NewPCG(3, uint64(row.size)))
			var calls [][]llmemory.Document
			for n := 0; n < total; {
				var call []llmemory.Document
				for range row.batch {
					parts := make([]string, row.size)
					for i := range parts {
						parts[i] = v.paragraph(r)
					}
					call = append(call, llmemory.Document{Key: fmt.Sprint(n), Language: "en", Content: strings.Join(parts, "\n\n")})
					n += row.size
				}
				calls = append(calls, call)
			}
			ws := o.mem.Owner("bench")
			var took []time.Duration
			chunks, documents := 0, 0
			started := time.Now()
			for _, call := range calls {
				at := time.Now()
				added, err := ws.AddMany(ctx, call)
				if err != nil {
					return err
				}
				took = append(took, time.Since(at))
				for _, a := range added {
					if a.Err != nil {
						return a.Err
					}
					chunks += a.Chunks
					documents++
				}
			}
			ours := time.Since(started).Seconds()

			db := o.store.DB()
			if _, err := db.Exec(ctx, `CREATE TABLE plain (id bigint PRIMARY KEY, body text)`); err != nil {
				return err
			}
			id := 0
			started = time.Now()
			for _, call := range calls {
				var rows [][]any
				for _, d := range call {
					for p := range strings.SplitSeq(d.Content, "\n\n") {
						rows = append(rows, []any{int64(id), p})
						id++
					}
				}
				if _, err := db.CopyFrom(ctx, "plain", []string{"id", "body"}, pgx.CopyFromRows(rows)); err != nil {
					return err
				}
			}
			bound := time.Since(started).Seconds()
			if row.batch == 1 && row.chunker != nil {
				// What was added last is found at once.
				last := calls[len(calls)-1][0].Content
				result, err := ws.Search(ctx, last[:strings.IndexByte(last, '.')], nil)
				if err != nil {
					return err
				}
				if len(result.Hits) == 0 || !strings.HasPrefix(last, result.Hits[0].Text) {
					return fmt.Errorf("the document added last was not found")
				}
			}
			if row.goal > 0 {
				b.goal(row.name, fmt.Sprintf("at least %.0f chunks/s", row.goal), fmt.Sprintf("%.0f", float64(chunks)/ours), float64(chunks)/ours >= row.goal)
			}
			b.progress("adding: %s: %.0f chunks/s", row.name, float64(chunks)/ours)
			fmt.Fprintf(b.out, "| %s | %.0f | %.0f | %s | %s | %.0f | %.2f |\n", row.name, float64(documents)/ours, float64(chunks)/ours,
				ms(took, 50), ms(took, 95), float64(id)/bound, float64(chunks)/ours/(float64(id)/bound))
			return nil
		}()
		if err != nil {
			return err
		}
	}
	return nil
}
