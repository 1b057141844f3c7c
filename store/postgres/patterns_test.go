package postgres_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

// recorded lists what schema_migrations of a schema says was applied.
func recorded(schema string) string {
	return `SELECT module || ' ' || version || ' ' || name FROM "` + schema + `".schema_migrations ORDER BY module, version`
}

// Standalone, the tables are where unqualified names would be: in public, in the first schema of search_path, or where the options
// say.
func TestStandalone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, schema string
		parameters   string
		options      *postgres.Options
	}{
		{"default", "public", "", nil},
		{"search_path", "app", "-c search_path=missing,app,public", nil},
		{"named", "memory", "-c search_path=app", &postgres.Options{Schema: "memory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address := pgtest.URL(t)
			conn := observer(t, address)
			run(t, conn, "CREATE SCHEMA app")
			if c.parameters != "" {
				u, err := url.Parse(address)
				must(t, err)
				u.RawQuery += "&options=" + strings.ReplaceAll(url.QueryEscape(c.parameters), "+", "%20")
				address = u.String()
			}
			for range 2 { // the second start finds everything there
				store, err := postgres.Open(t.Context(), address, c.options)
				must(t, err)
				works(t, store)
				if diff := cmp.Diff(ours(c.schema), relations(t, conn)); diff != "" {
					t.Errorf("relations (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(ourRecords, list(t, conn, recorded(c.schema))); diff != "" {
					t.Errorf("records (-want +got):\n%s", diff)
				}
				pool := store.DB().Pool()
				must(t, store.Close())
				if err := pool.Ping(t.Context()); err == nil {
					t.Error("the store's own pool is open after Close")
				}
			}
		})
	}
}

// On a shared pool each instance has a schema of its own, beside the host's tables, and none sees or touches another's.
func TestSharedPool(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	conn := observer(t, address)
	pool := openPool(t, address)
	ctx := t.Context()

	host := pool.Schema("doc_processor")
	must(t, host.Migrate(ctx, "document_processor", fstest.MapFS{"001_jobs.sql": {Data: []byte(
		"CREATE TABLE {{tables.jobs}} (id int PRIMARY KEY, locked boolean); INSERT INTO {{tables.jobs}} VALUES (1, true)")}}))
	open := func(schema string) (*postgres.Store, *llmemory.Owner) {
		store, err := postgres.New(ctx, pool.Schema(schema), nil)
		must(t, err)
		return store, memory(t, store).Owner("app-1")
	}
	first, one := open("llmemory")
	second, two := open("doc_processor")

	want := append(append(ours("doc_processor"), "doc_processor.jobs"), ours("llmemory")...)
	slices.Sort(want)
	if diff := cmp.Diff(want, relations(t, conn)); diff != "" {
		t.Errorf("relations (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(ourRecords, list(t, conn, recorded("llmemory"))); diff != "" {
		t.Errorf("records in llmemory (-want +got):\n%s", diff)
	}
	both := append(slices.Clone(ourRecords), "document_processor 1 jobs")
	if diff := cmp.Diff(both, list(t, conn, recorded("doc_processor"))); diff != "" {
		t.Errorf("records in doc_processor (-want +got):\n%s", diff)
	}

	// The same owner, origin and names in both: what one does, the other's tables do not feel.
	document := func(i int, text string) llmemory.Document {
		return llmemory.Document{OriginID: "user-123", Name: fmt.Sprint(i), Content: text}
	}
	use := func(ws *llmemory.Owner, text string) {
		t.Helper()
		for i := range 40 { // folding on the way
			if _, err := ws.Add(ctx, document(i, fmt.Sprint(text, "\nline ", i))); err != nil {
				t.Fatal(err)
			}
		}
		added, err := ws.AddMany(ctx, []llmemory.Document{document(1, "changed "+text), document(50, "new "+text)})
		must(t, err)
		r, err := ws.Search(ctx, text, &llmemory.SearchOptions{Limit: 100})
		must(t, err)
		if len(r.Hits) != 41 {
			t.Errorf("%d hits for %s, want 41", len(r.Hits), text)
		}
		_, err = ws.Delete(ctx, added[0].DocumentID)
		must(t, err)
		_, err = ws.DeleteWhere(ctx, llmemory.Where{Origins: []string{"nobody"}})
		must(t, err)
	}
	use(two, "bridge")
	untouched := contents(t, conn, "doc_processor")
	use(one, "river")
	if diff := cmp.Diff(untouched, contents(t, conn, "doc_processor")); diff != "" {
		t.Errorf("adding to llmemory changed doc_processor (-before +after):\n%s", diff)
	}
	for ws, foreign := range map[*llmemory.Owner]string{one: "bridge", two: "river"} {
		if r, err := ws.Search(ctx, foreign, nil); err != nil || len(r.Hits) != 0 {
			t.Errorf("%d hits for the other's word %s (%v)", len(r.Hits), foreign, err)
		}
	}
	untouched = contents(t, conn, "llmemory")
	use(two, "ferry")
	if diff := cmp.Diff(untouched, contents(t, conn, "llmemory")); diff != "" {
		t.Errorf("adding to doc_processor changed llmemory (-before +after):\n%s", diff)
	}
	untouched = contents(t, conn, "doc_processor")
	_, err := one.DeleteAll(ctx)
	must(t, err)
	must(t, first.Close())
	m, err := postgres.Migrations(pool.Schema("llmemory"))
	must(t, err)
	_, err = m.Down(ctx, 0)
	must(t, err)
	if diff := cmp.Diff(untouched, contents(t, conn, "doc_processor")); diff != "" {
		t.Errorf("emptying llmemory changed doc_processor (-before +after):\n%s", diff)
	}

	// One is closed and gone, and the pool serves the others.
	works(t, second)
	must(t, second.Close())
	must(t, pool.Ping(ctx))
	if _, err := host.Exec(ctx, "UPDATE {{tables.jobs}} SET locked = false"); err != nil {
		t.Error(err)
	}
}

// A store that could not be made closes no pool either.
func TestSharedPoolAfterAFailure(t *testing.T) {
	t.Parallel()
	pool := openPool(t, pgtest.URL(t))
	if _, err := postgres.New(t.Context(), pool.Schema("s"), &postgres.Options{RequireMigrated: true}); err == nil {
		t.Error("New did not fail")
	}
	if _, err := postgres.New(t.Context(), pool.Schema(""), nil); err == nil {
		t.Error("New did not fail")
	}
	must(t, pool.Ping(t.Context()))
	must(t, pgdbm.Wrap(pool.Pgx(), nil).Ping(t.Context()))
}
