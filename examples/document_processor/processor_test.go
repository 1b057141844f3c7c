package processor

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// Both ways in: a URL, and a handle on a pool of the host's.
func TestProcessor(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"url", "handle"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			url := pgtest.URL(t)
			schema, config := "public", Config{URL: url}
			var host *pgdbm.Pool
			if way == "handle" {
				host = openPool(t, url)
				schema = "doc_processor"
				config = Config{DB: host.Schema(schema)}
			}
			p, err := New(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			use(t, p)
			checkTables(t, url, schema)

			pool := p.db.Pool()
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			if err := p.Close(); err != nil {
				t.Errorf("second Close: %v", err)
			}
			if _, err := p.Search(t.Context(), "w", "water", 10); !errors.Is(err, llmemory.ErrClosed) {
				t.Errorf("search after Close: %v, want ErrClosed", err)
			}
			err = pool.Ping(t.Context())
			if way == "url" && !errors.Is(err, pgdbm.ErrClosed) {
				t.Errorf("the pool that New opened answers after Close: %v, want ErrClosed", err)
			}
			if way == "handle" && err != nil {
				t.Errorf("the host's pool after Close: %v", err)
			}
		})
	}
}

func use(t *testing.T, p *Processor) {
	t.Helper()
	ctx := t.Context()
	in := Input{
		Workspace: "w", User: "ann", Filename: "report.txt",
		Content: "# Water levels  \r\n\r\n\r\nPage 1 of 2\r\nThe river rose by two metres.\r\n",
	}
	first, err := p.Process(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	want := Output{DocumentID: first.DocumentID, Status: llmemory.Created, Title: "Water levels", Words: 9}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("first time (-want +got):\n%s", diff)
	}
	again, err := p.Process(ctx, in)
	want.Status = llmemory.Unchanged
	if diff := cmp.Diff(want, again); err != nil || diff != "" {
		t.Errorf("second time: %v (-want +got):\n%s", err, diff)
	}
	hits, err := p.Search(ctx, "w", "how much did the river rise?", 10)
	if err != nil || len(hits) != 1 || hits[0].Text != "# Water levels\n\nThe river rose by two metres." {
		t.Errorf("hits %+v, error %v", hits, err)
	}
	if hits, err := p.Search(ctx, "another", "river", 10); err != nil || len(hits) != 0 {
		t.Errorf("another workspace finds %+v, error %v", hits, err)
	}

	// A text that is refused leaves no record either.
	if _, err := p.Process(ctx, Input{Workspace: "w", User: "ann", Filename: "empty.txt", Content: " \n"}); !errors.Is(err, llmemory.ErrInvalid) {
		t.Errorf("an empty text: %v, want ErrInvalid", err)
	}
	summary, err := p.Summary(ctx, "w")
	if diff := cmp.Diff(Summary{Documents: 1, Words: 9}, summary); err != nil || diff != "" {
		t.Errorf("summary: %v (-want +got):\n%s", err, diff)
	}
}

// A record that cannot be written takes the remembered text with it.
func TestProcessIsOneTransaction(t *testing.T) {
	t.Parallel()
	p, err := New(t.Context(), Config{URL: pgtest.URL(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.db.Exec(t.Context(), "ALTER TABLE {{tables.processed_documents}} ADD CHECK (words < 3)"); err != nil {
		t.Fatal(err)
	}
	_, err = p.Process(t.Context(), Input{Workspace: "w", User: "ann", Filename: "long.txt", Content: "one two three four"})
	if !pgdbm.IsCheckViolation(err) {
		t.Fatalf("got %v, want a violated check", err)
	}
	stats, err := p.memory.Owner("w").Stats(t.Context())
	if err != nil || stats.Documents != 0 {
		t.Errorf("%d documents remembered, error %v; want none", stats.Documents, err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	if _, err := New(t.Context(), Config{URL: url, DB: openPool(t, url).Schema("both")}); err == nil {
		t.Error("URL and DB together are accepted")
	}
	if _, err := New(t.Context(), Config{}); err == nil || !strings.Contains(err.Error(), "URL or DB") {
		t.Errorf("neither URL nor DB: error %v", err)
	}
}

func openPool(t *testing.T, url string) *pgdbm.Pool {
	t.Helper()
	pool, err := pgdbm.Open(t.Context(), pgdbm.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// checkTables reads the catalogue: both modules have their tables in the schema, and nothing is anywhere else.
func checkTables(t *testing.T, url, schema string) {
	t.Helper()
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
	want := []string{
		schema + ".document_chunks", schema + ".document_owners", schema + ".documents",
		schema + ".embedding_generations", schema + ".embedding_indexes", schema + ".embedding_queue", schema + ".ingest_files",
		schema + ".ingest_runs", schema + ".processed_documents", schema + ".schema_migrations", schema + ".text_postings", schema + ".text_segments",
	}
	got := read(`SELECT schemaname || '.' || tablename FROM pg_tables
		WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
	modules := read("SELECT DISTINCT module FROM " + pgx.Identifier{schema, "schema_migrations"}.Sanitize() + " ORDER BY 1")
	if diff := cmp.Diff([]string{postgres.Module, Module}, modules); diff != "" {
		t.Errorf("modules (-want +got):\n%s", diff)
	}
}
