package postgres_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

func TestMain(m *testing.M) {
	for name, program := range map[string]func(task string) (exit int){
		starterTask: starter,
		journalURL:  writeJournal,
		fireTask:    func(task string) int { return runProgram(task, fireProgram.run) },
		stoppedTask: func(task string) int { return runProgram(task, stoppedProgram.run) },
		switchTask:  func(task string) int { return runProgram(task, switchProgram.run) },
	} {
		if task := os.Getenv(name); task != "" {
			os.Exit(program(task))
		}
	}
	os.Exit(pgtest.Main(m))
}

// must fails the test on error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// observer is a connection to look at the catalogue with. Its search_path holds nothing of anybody's.
func observer(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	must(t, err)
	config.RuntimeParams["search_path"] = "pg_catalog"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

// run runs a script.
func run(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

// list reads a column of text.
func list(t testing.TB, conn *pgx.Conn, sql string, args ...any) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql, args...)
	must(t, err)
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	return out
}

// relations lists the tables, views and sequences outside the system's schemas, schema by schema.
func relations(t testing.TB, conn *pgx.Conn) []string {
	t.Helper()
	return list(t, conn, `SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname !~ '^(pg_|information_schema$)'
		ORDER BY (n.nspname || '.' || c.relname) COLLATE "C"`)
}

// catalogue lists all that there is outside the system's schemas, with the transaction that last changed each definition: two are
// equal if nothing was made, altered or dropped between them. It is far quicker than a dump.
func catalogue(t testing.TB, conn *pgx.Conn) []string {
	t.Helper()
	return list(t, conn, `WITH schemas AS (SELECT oid, nspname, xmin FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$)')
		SELECT concat_ws(' ', nspname, xmin) FROM schemas
		UNION ALL SELECT concat_ws(' ', nspname, relname, relkind, c.xmin,
			(SELECT md5(string_agg(concat_ws(' ', attname, a.xmin), ',' ORDER BY attnum)) FROM pg_attribute a WHERE attrelid = c.oid))
			FROM pg_class c JOIN schemas n ON n.oid = relnamespace
		UNION ALL SELECT concat_ws(' ', nspname, proname, p.xmin) FROM pg_proc p JOIN schemas n ON n.oid = pronamespace
		ORDER BY 1`)
}

// ourRecords are the migrations of a store as recorded lists them, and files is how many there are.
var ourRecords = []string{"aword_memory 1 documents", "aword_memory 2 sources", "aword_memory 3 failures", "aword_memory 4 parts"}

const files = 4

// migrated is how many of a store's migrations are applied in a schema.
func migrated(t testing.TB, conn *pgx.Conn, schema string) int {
	t.Helper()
	table := pgx.Identifier{schema, "schema_migrations"}.Sanitize()
	if list(t, conn, "SELECT (to_regclass($1) IS NOT NULL)::text", table)[0] == "false" {
		return 0
	}
	n, err := strconv.Atoi(list(t, conn, "SELECT count(*)::text FROM "+table)[0])
	must(t, err)
	return n
}

// contents gives number and checksum of the rows of every table in a schema.
func contents(t testing.TB, conn *pgx.Conn, schema string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, table := range list(t, conn, `SELECT tablename::text FROM pg_tables WHERE schemaname = $1`, schema) {
		out[table] = list(t, conn, `SELECT count(*) || ' rows, ' || md5(coalesce(string_agg(x::text, E'\n' ORDER BY x::text), ''))
			FROM `+pgx.Identifier{schema, table}.Sanitize()+` x`)[0]
	}
	return out
}

// ours are the tables of a store in a schema, as relations lists them.
func ours(schema string) []string {
	var out []string
	for _, table := range []string{"document_chunks", "document_owners", "documents", "embedding_generations",
		"embedding_generations_generation_seq", "embedding_indexes", "embedding_queue", "ingest_files", "ingest_runs", "schema_migrations", "text_postings", "text_segments"} {
		out = append(out, schema+"."+table)
	}
	return out
}

// pgxPool opens a pool as a host without pgdbm would.
func pgxPool(t testing.TB, url string, change func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	must(t, err)
	if change != nil {
		change(config)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(func() { closes(t, pool.Close) })
	return pool
}

// openPool opens a pool that services share.
func openPool(t testing.TB, url string) *pgdbm.Pool {
	t.Helper()
	pool, err := pgdbm.Open(t.Context(), pgdbm.Config{URL: url})
	must(t, err)
	t.Cleanup(func() { closes(t, pool.Close) })
	return pool
}

// closes closes a pool, which waits for connections that are in use.
func closes(t testing.TB, pool func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { pool(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("the pool does not close: a connection was never given back")
	}
}

// memory makes a memory of a store, in which every line of a text is a passage.
func memory(t testing.TB, store llmemory.Store) *llmemory.Memory {
	t.Helper()
	mem, err := llmemory.New(store, &llmemory.Config{Chunker: lines})
	must(t, err)
	return mem
}

// works adds, finds and deletes a document, and so shows that a store is usable.
func works(t testing.TB, store *postgres.Store) {
	t.Helper()
	ws := memory(t, store).Owner("works")
	added, err := ws.Add(t.Context(), llmemory.Document{Name: "proof", Content: "wholly unheard of"})
	must(t, err)
	found, err := ws.Search(t.Context(), "unheard", nil)
	must(t, err)
	if len(found.Hits) != 1 || found.Hits[0].Document.ID != added.DocumentID {
		t.Errorf("search finds %d passages, want the one just added", len(found.Hits))
	}
	deleted, err := ws.Delete(t.Context(), added.DocumentID)
	must(t, err)
	if len(deleted.DocumentIDs) != 1 {
		t.Errorf("%d documents deleted, want 1", len(deleted.DocumentIDs))
	}
}
