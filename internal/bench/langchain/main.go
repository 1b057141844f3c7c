// Command langchain asks LangChainGo's pgvector store the questions that the benchmark asks llmemory, on a copy of the same rows.
// It is a module of its own, so that nobody else needs LangChainGo. The benchmark runs it: the order comes as JSON on standard
// input, the answer goes as JSON to standard output.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/tmc/langchaingo/vectorstores/pgvector"

	"github.com/llmemory/llmemory/internal/vecset"
)

// order says what to do.
type order struct {
	URL        string
	Vectors    string // table of the vectors: owner_id, ordinal, embedding
	Chunks     string // table of the passages: owner_id, ordinal, content
	Dimensions int
	Seed       uint64
	Questions  int // to each owner; one more warms up
	Limit      int
	Owners     []string // all; a collection is made of each
	Asked      []string // those that are asked
}

// answer is what came of an owner's questions.
type answer struct {
	Took   []time.Duration
	Scores [][]float64 // cosines of the passages found
}

// queries is an embedder for questions of the form "owner/number".
type queries struct{ set *vecset.Set }

func (q queries) EmbedQuery(_ context.Context, text string) ([]float32, error) {
	i := strings.LastIndexByte(text, '/')
	n, err := strconv.Atoi(text[i+1:])
	if err != nil {
		return nil, err
	}
	return q.set.Query(text[:i], n), nil
}

func (queries) EmbedDocuments(context.Context, []string) ([][]float32, error) {
	return nil, errors.New("the passages have vectors already")
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "langchain:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, o.URL)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is lost
	embedder := queries{vecset.New(o.Dimensions, o.Seed)}
	stores := map[string]pgvector.Store{}
	for _, owner := range o.Owners {
		store, err := pgvector.New(ctx, pgvector.WithConn(conn), pgvector.WithEmbedder(embedder), pgvector.WithCollectionName(owner),
			pgvector.WithVectorDimensions(o.Dimensions))
		if err != nil {
			return err
		}
		stores[owner] = store
	}
	for _, sql := range []string{
		`INSERT INTO langchain_pg_embedding (collection_id, embedding, document, cmetadata, uuid)
			SELECT k.uuid, e.embedding, c.content, '{}', gen_random_uuid()
			FROM ` + o.Vectors + ` e
			JOIN ` + o.Chunks + ` c ON c.owner_id = e.owner_id AND c.ordinal = e.ordinal
			JOIN langchain_pg_collection k ON k.name = e.owner_id`,
		`VACUUM ANALYZE langchain_pg_embedding`,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	answers := map[string]answer{}
	for _, owner := range o.Asked {
		store := stores[owner]
		var a answer
		for n := range o.Questions + 1 {
			question := fmt.Sprint(owner, "/", max(n-1, 0))
			started := time.Now()
			found, err := store.SimilaritySearch(ctx, question, o.Limit)
			if err != nil {
				return err
			}
			if n == 0 {
				continue
			}
			a.Took = append(a.Took, time.Since(started))
			var scores []float64
			for _, d := range found {
				scores = append(scores, float64(d.Score))
			}
			a.Scores = append(a.Scores, scores)
		}
		answers[owner] = a
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}
