package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestRun(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	for range 2 { // the second start finds everything there
		var out strings.Builder
		if err := run(t.Context(), url, &out); err != nil {
			t.Fatal(err)
		}
		if want := "memory: note\nprocessor: report\n"; out.String() != want {
			t.Errorf("output %q, want %q", out.String(), want)
		}
	}

	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	read := func(sql string) []string {
		rows, err := conn.Query(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		list, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return list
	}

	memory := []string{"document_chunks", "document_owners", "documents", "embedding_generations", "embedding_indexes", "embedding_queue",
		"ingest_files", "ingest_runs", "schema_migrations", "text_postings", "text_segments"}
	var want []string
	for _, table := range []string{"schema_migrations", "users"} {
		want = append(want, "auth."+table)
	}
	for _, table := range append(memory[:8:8], append([]string{"processed_documents"}, memory[8:]...)...) {
		want = append(want, "doc_processor."+table)
	}
	for _, table := range memory {
		want = append(want, "llmemory."+table)
	}
	got := read(`SELECT schemaname || '.' || tablename FROM pg_tables
		WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY schemaname, tablename`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}

	for schema, want := range map[string][]string{
		"llmemory":      {"aword_memory"},
		"doc_processor": {"aword_memory", "document_processor"},
		"auth":          {"auth"},
	} {
		got := read("SELECT DISTINCT module FROM " + pgx.Identifier{schema, "schema_migrations"}.Sanitize() + " ORDER BY 1")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("modules in %s (-want +got):\n%s", schema, diff)
		}
	}

	// The processor's memory is its own: neither service wrote a row into the other's tables.
	for schema, want := range map[string][]string{"llmemory": {"note"}, "doc_processor": {"report"}} {
		got := read("SELECT document_name FROM " + pgx.Identifier{schema, "documents"}.Sanitize())
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("documents in %s (-want +got):\n%s", schema, diff)
		}
	}
}

func TestUnknownUser(t *testing.T) {
	t.Parallel()
	pool, err := pgdbm.Open(t.Context(), pgdbm.Config{URL: pgtest.URL(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	users, err := newAuth(t.Context(), pool.Schema("auth"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := users.workspace(t.Context(), "nobody"); !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("got %v, want pgx.ErrNoRows", err)
	}
}
