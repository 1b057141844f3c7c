package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

// Every primary, unique and foreign key begins with the owner, so that the tables can be spread by owner as they stand: over the
// partitions of a server, or over servers. The catalogue says so, of tables of generations too.
func TestKeysBeginWithOwner(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	store, err := postgres.Open(t.Context(), address, nil)
	must(t, err)
	defer store.Close()
	_, err = memory(t, store).AddGeneration(t.Context(), embedtest.New(embedtest.Config{}), "")
	must(t, err)
	conn := observer(t, address)
	// The only tables of ours that have no owner: what was migrated, and the generations.
	without := list(t, conn, `SELECT c.relname::text FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
		AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'owner_id' AND a.attnotnull) ORDER BY 1`)
	if diff := cmp.Diff([]string{"embedding_generations", "schema_migrations"}, without); diff != "" {
		t.Errorf("tables without an owner in each row (-want +got):\n%s", diff)
	}
	keys := list(t, conn, `WITH tenant AS (
			SELECT oid, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname <> ALL ($1)
		), key AS (
			SELECT t.relname, 'key ' || i.indexrelid::regclass AS name, i.indrelid AS relation, i.indkey[0] AS first
			FROM tenant t JOIN pg_index i ON i.indrelid = t.oid WHERE i.indisunique
			UNION ALL SELECT t.relname, 'foreign key ' || c.conname, c.conrelid, c.conkey[1] FROM tenant t JOIN pg_constraint c ON c.conrelid = t.oid AND c.contype = 'f'
			UNION ALL SELECT t.relname, 'what foreign key ' || c.conname || ' refers to', c.confrelid, c.confkey[1]
				FROM tenant t JOIN pg_constraint c ON c.conrelid = t.oid AND c.contype = 'f'
		)
		SELECT format('%s: %s begins with %s', k.relname, k.name, a.attname)
		FROM key k LEFT JOIN pg_attribute a ON a.attrelid = k.relation AND a.attnum = k.first
		WHERE a.attname IS DISTINCT FROM 'owner_id'
		UNION ALL SELECT relname || ' has no primary key' FROM tenant t
			WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.oid AND i.indisprimary)
		UNION ALL SELECT 'foreign key' FROM tenant t JOIN pg_constraint c ON c.conrelid = t.oid WHERE c.contype = 'f'
		UNION ALL SELECT 'unique key' FROM tenant t JOIN pg_index i ON i.indrelid = t.oid WHERE i.indisunique AND NOT i.indisprimary`, without)
	// The last two tell that there was something to look at.
	for kind, least := range map[string]int{"foreign key": 1, "unique key": 2} {
		n := len(keys)
		if keys = slices.DeleteFunc(keys, func(k string) bool { return k == kind }); n-len(keys) < least {
			t.Errorf("%d %ss were looked at, want at least %d", n-len(keys), kind, least)
		}
	}
	for _, fault := range keys {
		t.Error(fault)
	}
}

// Tables that are partitioned by owner serve as well. What is done to one owner stays in its partition.
func TestPartitionsByOwner(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	address := pgtest.URL(t)
	store, err := postgres.Open(ctx, address, nil)
	must(t, err)
	defer store.Close()
	mem, err := llmemory.New(store, &llmemory.Config{Chunker: lines, Embedder: embedtest.New(embedtest.Config{})})
	must(t, err)
	g, err := mem.AddGeneration(ctx, nil, "")
	must(t, err)
	conn := observer(t, address)
	for _, table := range []string{"document_owners", "documents", "document_chunks", "text_segments", "text_postings", "embedding_queue",
		"embedding_indexes", "embeddings_1"} {
		sql := `ALTER TABLE public.{table} RENAME TO whole; CREATE TABLE public.{table} (LIKE public.whole INCLUDING ALL) PARTITION BY HASH (owner_id);`
		for i := range 3 {
			sql += fmt.Sprintf(`CREATE TABLE public.{table}_part_%d PARTITION OF public.{table} FOR VALUES WITH (MODULUS 3, REMAINDER %[1]d);`, i)
		}
		run(t, conn, strings.ReplaceAll(sql+`DROP TABLE public.whole CASCADE`, "{table}", table))
	}
	run(t, conn, `ALTER TABLE public.document_chunks ADD FOREIGN KEY (owner_id, document_id)
		REFERENCES public.documents (owner_id, document_id) ON DELETE CASCADE`)
	const owners = 9 // so that several partitions have rows at the same places
	for round := range 3 {
		for i := range owners {
			ws := mem.Owner(fmt.Sprint("owner ", i))
			added, err := ws.Add(ctx, llmemory.Document{Key: "1", Language: "en", Content: fmt.Sprintf("alpha stays\nalpha %d %d", i, round)})
			must(t, err)
			if added.EmbedErr != nil || added.Pending != 0 {
				t.Errorf("Add: %+v", added)
			}
			_, err = ws.Add(ctx, llmemory.Document{Key: fmt.Sprint("queued ", round), Language: "en", Content: fmt.Sprint("beta ", i), Embed: llmemory.EmbedLater})
			must(t, err)
		}
		_, err := mem.EmbedQueue(ctx, nil)
		must(t, err)
		if n, err := checkVectors(ctx, store.DB(), *g); n != owners*(3+round) || err != nil {
			t.Errorf("round %d: %d vectors, want %d; %v", round, n, owners*(3+round), err)
		}
		must(t, checkStored(ctx, store))
	}
	for i := range owners {
		ws := mem.Owner(fmt.Sprint("owner ", i))
		for _, mode := range []llmemory.Mode{llmemory.ByText, llmemory.ByVector, llmemory.Hybrid} {
			if n := found(t, ws, "alpha", mode); n != 2 && mode == llmemory.ByText || n != 5 && mode != llmemory.ByText {
				t.Errorf("%s: %d passages found", mode, n)
			}
		}
		if i%2 == 0 {
			_, err := ws.DeleteAll(ctx)
			must(t, err)
		}
	}
	if n, err := checkVectors(ctx, store.DB(), *g); n != owners/2*5 || err != nil {
		t.Errorf("%d vectors at last, want %d; %v", n, owners/2*5, err)
	}
	must(t, checkStored(ctx, store))
	must(t, postgres.Verify(ctx, store.DB()))
	must(t, store.Close())
	opens(t, address, postgres.Options{RequireMigrated: true})
}
