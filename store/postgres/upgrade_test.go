package postgres_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
	"github.com/llmemory/llmemory/store/storetest"
)

// TestUpgrade takes a schema back to the tables of the first version and forward again: documents stay as they were, and tables that
// are new can be used by whom the old ones could be used by, under the same row-level security.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	ctx, url := t.Context(), pgtest.URL(t)
	pool, err := pgdbm.Open(ctx, pgdbm.Config{URL: url})
	must(t, err)
	defer pool.Close()
	const schema = `odd "name' $n$`
	db := pool.Schema(schema)
	doc := llmemory.Document{Key: "k", Name: "n", Type: llmemory.Markdown, Content: "# Head\n\nold text"}
	read := func() (out []any) {
		store, err := postgres.New(ctx, db, nil)
		must(t, err)
		mem, err := llmemory.New(store, nil)
		must(t, err)
		o := mem.Owner("o")
		added, err := o.Add(ctx, doc)
		must(t, err)
		d, chunks, err := o.GetWithChunks(ctx, added.DocumentID)
		must(t, err)
		found, err := o.Search(ctx, "old", nil)
		must(t, err)
		return []any{added.Status, d, chunks, found.Hits}
	}
	read()
	want := read()
	must(t, postgres.EnableRowSecurity(ctx, db, ""))
	role := pgtest.Role(t, url, pgtest.RoleOptions{Grants: []string{
		strings.ReplaceAll(postgres.Grants(schema, "role"), `"role"`, "{role}"),
	}})
	m, err := postgres.Migrations(db)
	must(t, err)
	down, err := m.Down(ctx, 1)
	must(t, err)
	if len(down) != 3 {
		t.Fatalf("undone: %v", down)
	}
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("after the upgrade (-want +got):\n%s", diff)
	}
	security, err := postgres.RowSecurityOf(ctx, db)
	must(t, err)
	if !security.On {
		t.Errorf("row-level security: %+v", security)
	}
	plain, err := pgdbm.Open(ctx, pgdbm.Config{URL: role})
	must(t, err)
	defer plain.Close()
	_, err = postgres.New(ctx, plain.Schema(schema), &postgres.Options{RequireMigrated: true})
	must(t, err)
	for _, table := range []string{"documents", "ingest_runs", "ingest_files"} {
		must(t, plain.Schema(schema).InTx(ctx, nil, func(tx *pgdbm.Tx) error {
			if _, err := tx.Exec(ctx, `SET LOCAL llmemory.owner = 'o'`); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `DELETE FROM {{tables.`+table+`}} WHERE owner_id = 'o'`)
			return err
		}))
	}
}

// TestUpgradeVectors checks that what has one vector keeps it.
func TestUpgradeVectors(t *testing.T) {
	t.Parallel()
	ctx, url := t.Context(), pgtest.URL(t)
	pool, err := pgdbm.Open(ctx, pgdbm.Config{URL: url})
	must(t, err)
	defer pool.Close()
	_, err = pool.Pgx().Exec(ctx, "CREATE EXTENSION vector")
	must(t, err)
	db := pool.Schema(`odd "name' $n$`)
	storetest.UpgradeVectors(t, func() llmemory.Store {
		store, err := postgres.New(ctx, db, nil)
		must(t, err)
		return store
	}, func() {
		m, err := postgres.Migrations(db)
		must(t, err)
		_, err = m.Down(ctx, 3)
		must(t, err)
	}, "a stone")
}
