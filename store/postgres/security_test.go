package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

// secured is a migrated database with roles.
type secured struct {
	address, app, worker string // URLs
	db                   *pgdbm.DB
	keeper               *pgx.Conn
}

func newSecured(t *testing.T, schema string) *secured {
	t.Helper()
	s := &secured{address: pgtest.URL(t)}
	opens(t, s.address, postgres.Options{Schema: schema})
	s.app = pgtest.Role(t, s.address, pgtest.RoleOptions{Grants: grants(schema)})
	s.worker = pgtest.Role(t, s.address, pgtest.RoleOptions{Grants: grants(schema)})
	s.db, s.keeper = openPool(t, s.address).Schema(schema), observer(t, s.address)
	return s
}

func (s *secured) open(t *testing.T, url string, c pgdbm.Config) (*postgres.Store, *llmemory.Memory) {
	t.Helper()
	store, err := postgres.Open(t.Context(), url, &postgres.Options{Schema: s.db.SchemaName(), Pool: c})
	must(t, err)
	t.Cleanup(func() { closes(t, func() { must(t, store.Close()) }) })
	mem, err := llmemory.New(store, &llmemory.Config{Chunker: lines, Embedder: embedder(1), Embedders: []embedding.Embedder{embedder(2)}})
	must(t, err)
	return store, mem
}

func embedder(n int) embedding.Embedder {
	return embedtest.New(embedtest.Config{Model: fmt.Sprint("model ", n), Dimensions: 8 * n})
}

// The database shows a role the rows of the owner that a transaction names, and no others, in every table that has owners.
func TestRowSecurity(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const schema = `it's "walled"`
	s := newSecured(t, schema)
	_, keeper := s.open(t, s.address, pgdbm.Config{})
	_, err := keeper.AddGeneration(ctx, embedder(1), "")
	must(t, err)
	before := policies(t, s.keeper)
	if len(before) > 0 {
		t.Fatalf("policies to begin with: %v", before)
	}
	must(t, postgres.EnableRowSecurity(ctx, s.db, roleName(t, s.worker)))
	_, err = keeper.AddGeneration(ctx, embedder(2), "") // a table that is made later
	must(t, err)

	store, mem := s.open(t, s.app, pgdbm.Config{})
	_, worker := s.open(t, s.worker, pgdbm.Config{})
	for _, owner := range []string{"a", "b"} {
		for i := range 2 {
			added, err := mem.Owner(owner).Add(ctx, llmemory.Document{Key: fmt.Sprint(i), Language: "en", Content: fmt.Sprint("alpha ", i)})
			must(t, err)
			if added.Embedded != 1 {
				t.Errorf("Add under row-level security: %+v", added)
			}
		}
	}
	_, err = worker.EmbedQueue(ctx, nil) // fills the second generation
	must(t, err)
	_, err = mem.Owner("a").Add(ctx, llmemory.Document{Key: "queued", Language: "en", Content: "alpha queued", Embed: llmemory.EmbedLater})
	must(t, err)
	_, err = mem.Owner("b").Add(ctx, llmemory.Document{Key: "queued", Language: "en", Content: "alpha queued", Embed: llmemory.EmbedLater})
	must(t, err)
	run(t, s.keeper, `INSERT INTO `+pgx.Identifier{schema}.Sanitize()+`.embedding_indexes (owner_id, generation, index_name, vectors)
		VALUES ('a', 1, 'none', 1), ('b', 1, 'none', 1)`)
	for _, owner := range []string{"a", "b"} {
		l := mem.Owner(owner).LogRun("", []string{"/s"})
		l.Note(llmemory.RunFile{Path: "/s/x", Outcome: llmemory.Created}, 0)
		_, err := l.End(ctx, true)
		must(t, err)
	}

	// Every table with an owner_id, whatever the package thinks of it.
	conn := observer(t, s.app)
	tables := list(t, s.keeper, `SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'r' AND a.attname = 'owner_id' ORDER BY 1`, pgx.Identifier{schema}.Sanitize())
	if len(tables) != 11 {
		t.Errorf("tables of owners: %v", tables)
	}
	for _, table := range tables {
		name := pgx.Identifier{schema, table}.Sanitize()
		owners := func(ctx context.Context, owner string) (out []string, err error) {
			err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				if owner != "" {
					if _, err := tx.Exec(ctx, "SELECT set_config('llmemory.owner', $1, true)", owner); err != nil {
						return err
					}
				}
				rows, err := tx.Query(ctx, "SELECT DISTINCT owner_id FROM "+name+" ORDER BY 1")
				if err != nil {
					return err
				}
				out, err = pgx.CollectRows(rows, pgx.RowTo[string])
				return err
			})
			return out, err
		}
		for _, owner := range []string{"a", "b", "c"} {
			want := []string{owner}
			if owner == "c" {
				want = nil
			}
			if got, err := owners(ctx, owner); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: owner %s sees rows of %v, %v", table, owner, got, err)
			}
			if _, err := owners(ctx, ""); pgdbm.SQLState(err) != "LLM01" {
				t.Errorf("%s: nobody's question after one of %s gives %v, want LLM01", table, owner, err)
			}
		}
		for _, sql := range []string{"UPDATE %s SET owner_id = 'b'", "INSERT INTO %[1]s SELECT (jsonb_populate_record(x, '{\"owner_id\": \"b\"}')).* FROM %[1]s x"} {
			err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "SELECT set_config('llmemory.owner', 'a', true)")
				if err == nil {
					_, err = tx.Exec(ctx, fmt.Sprintf(sql, name))
				}
				return err
			})
			if pgdbm.SQLState(err) != "42501" || !strings.Contains(err.Error(), "row-level security") {
				t.Errorf("%s: owner a makes a row of b's: %v", table, err)
			}
		}
	}

	// What is for all owners at once is kept from the role, all of it.
	for name, work := range crossing(store, mem) {
		if err := work(ctx); !errors.Is(err, llmemory.ErrUnavailable) || !strings.Contains(err.Error(), "do it as the worker role") {
			t.Errorf("%s as a role that sees one owner at a time: %v", name, err)
		}
	}
	workStore, _ := s.open(t, s.worker, pgdbm.Config{})
	for name, work := range crossing(workStore, worker) {
		if err := work(ctx); err != nil {
			t.Errorf("%s as the worker role: %v", name, err)
		}
	}

	// A host's transaction may be about several owners.
	must(t, pgx.BeginFunc(ctx, store.DB().Pool().Pgx(), func(tx pgx.Tx) error {
		mem := mem.On(store.WithTx(tx))
		for i := range 4 {
			owner := []string{"a", "b"}[i%2]
			_, err := mem.Owner(owner).Add(ctx, llmemory.Document{Key: fmt.Sprint("joined ", i), Language: "en", Content: fmt.Sprint("beta ", owner)})
			must(t, err)
			r, err := mem.Owner(owner).Search(ctx, "beta", &llmemory.SearchOptions{Mode: llmemory.ByText})
			must(t, err)
			if len(r.Hits) != i/2+1 || !strings.HasSuffix(r.Hits[0].Text, owner) {
				t.Errorf("owner %s finds %d passages in the transaction", owner, len(r.Hits))
			}
		}
		// Work for all owners does not take the last of them for all.
		if _, err := mem.ActivateGeneration(ctx, 1, true); !errors.Is(err, llmemory.ErrUnavailable) || !strings.Contains(err.Error(), "do it as the worker role") {
			t.Errorf("ActivateGeneration after work for an owner: %v", err)
		}
		return nil
	}))
	for _, owner := range []string{"a", "b"} {
		page, err := mem.Owner(owner).List(ctx, nil)
		must(t, err)
		if page.Total != 5 {
			t.Errorf("owner %s has %d documents, want 5", owner, page.Total)
		}
	}

	for url, want := range map[string]postgres.RowSecurity{
		s.address: {On: true, Above: true, Worker: true}, // a superuser has every role
		s.app:     {On: true, Active: true}, s.worker: {On: true, Active: true, Worker: true},
	} {
		got, err := postgres.RowSecurityOf(ctx, openPool(t, url).Schema(schema))
		must(t, err)
		want.Role, want.Workers = roleName(t, url), []string{roleName(t, s.worker)}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("as role %s (-want +got):\n%s", want.Role, diff)
		}
	}

	// Only the tables' owner may change it. Off is as before.
	for _, change := range []func() error{
		func() error {
			return postgres.EnableRowSecurity(ctx, openPool(t, s.app).Schema(schema), "")
		},
		func() error { return postgres.DisableRowSecurity(ctx, openPool(t, s.worker).Schema(schema)) },
	} {
		if err := change(); err == nil || !strings.HasSuffix(err.Error(), "run it as the owner of the tables") {
			t.Errorf("changed by a role that owns nothing: %v", err)
		}
	}
	must(t, postgres.EnableRowSecurity(ctx, s.db, "")) // another worker: the owner of the tables
	must(t, postgres.DisableRowSecurity(ctx, s.db))
	if diff := cmp.Diff(before, policies(t, s.keeper)); diff != "" {
		t.Errorf("after it was switched off again (-before +after):\n%s", diff)
	}
	for name, work := range crossing(store, mem) {
		if err := work(ctx); err != nil {
			t.Errorf("%s without row-level security: %v", name, err)
		}
	}
}

// policies lists what row-level security has made.
func policies(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	return list(t, conn, `SELECT format('%s on %s', polname, polrelid::regclass) FROM pg_policy
		UNION ALL SELECT 'forced on ' || oid::regclass FROM pg_class WHERE relrowsecurity OR relforcerowsecurity
		UNION ALL SELECT 'function ' || oid::regprocedure FROM pg_proc WHERE proname = 'current_document_owner' ORDER BY 1`)
}

// crossing is the work that is for all owners at once.
func crossing(store *postgres.Store, mem *llmemory.Memory) map[string]func(ctx context.Context) error {
	items := func(owners ...string) (out []llmemory.CompleteItem) {
		for _, o := range owners {
			out = append(out, llmemory.CompleteItem{Owner: o, Ordinal: 77, Hash: []byte{1}, Vector: make([]float32, 8)})
		}
		return out
	}
	const token = "00000000-0000-4000-8000-000000000000"
	return map[string]func(ctx context.Context) error{
		"Backlog": func(ctx context.Context) error {
			_, err := store.Backlog(ctx, llmemory.BacklogParams{Limit: 1})
			return err
		},
		"Owners": func(ctx context.Context) error {
			_, err := store.Owners(ctx, llmemory.OwnersParams{Limit: 1})
			return err
		},
		"Maintain":           func(ctx context.Context) error { _, err := mem.Maintain(ctx); return err },
		"Progress":           func(ctx context.Context) error { _, err := mem.Progress(ctx, 1); return err },
		"Inputs":             func(ctx context.Context) error { _, err := mem.Estimate(ctx, nil); return err },
		"ActivateGeneration": func(ctx context.Context) error { _, err := mem.ActivateGeneration(ctx, 1, true); return err },
		"EmbedQueue":         func(ctx context.Context) error { _, err := mem.EmbedQueue(ctx, nil); return err },
		"Claim": func(ctx context.Context) error {
			_, err := store.Claim(ctx, llmemory.ClaimParams{Generation: 1, Token: token, Lease: time.Second, Limit: 1})
			return err
		},
		"Extend": func(ctx context.Context) error {
			_, err := store.Extend(ctx, llmemory.ExtendParams{Generation: 1, Token: token, Lease: time.Second})
			return err
		},
		"Complete": func(ctx context.Context) error {
			_, err := store.Complete(ctx, llmemory.CompleteParams{Generation: 1, Token: token, Items: items("a", "b")})
			return err
		},
		"Known": func(ctx context.Context) error {
			_, err := store.Known(ctx, llmemory.KnownParams{Generation: 1, Inputs: []llmemory.OwnedInput{{Owner: "a", Hash: []byte{1}}, {Owner: "b", Hash: []byte{1}}}})
			return err
		},
		"Fail": func(ctx context.Context) error {
			return store.Fail(ctx, llmemory.FailParams{Generation: 1, Token: token, Items: []llmemory.FailItem{{Owner: "a", Ordinal: 77}, {Owner: "b", Ordinal: 77}}})
		},
	}
}

// Programs that are at work when it is switched on and off go on.
func TestRowSecurityIsSwitched(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSecured(t, "public")
	_, keeper := s.open(t, s.address, pgdbm.Config{})
	_, err := keeper.AddGeneration(ctx, embedder(1), "")
	must(t, err)
	for name, first := range map[string]func(o *llmemory.Owner) error{
		"Add": func(o *llmemory.Owner) error {
			added, err := o.Add(ctx, llmemory.Document{Key: "2", Content: "alpha"})
			if err == nil && added.Embedded != 1 && added.Status == llmemory.Created {
				err = fmt.Errorf("%+v", added)
			}
			return err
		},
		"Search": func(o *llmemory.Owner) error {
			r, err := o.Search(ctx, "alpha", nil)
			if err == nil && (len(r.Hits) == 0 || len(r.Degraded) > 0) {
				err = fmt.Errorf("%d hits, degraded: %v", len(r.Hits), r.Degraded)
			}
			return err
		},
		"List":       func(o *llmemory.Owner) error { _, err := o.List(ctx, nil); return err },
		"Delete":     func(o *llmemory.Owner) error { _, err := o.DeleteAll(ctx); return err },
		"RetryQueue": func(o *llmemory.Owner) error { _, err := o.RetryQueue(ctx); return err },
	} {
		_, mem := s.open(t, s.app, pgdbm.Config{})
		o := mem.Owner("o")
		_, err := o.Add(ctx, llmemory.Document{Key: "1", Content: "alpha"})
		must(t, err)
		must(t, postgres.EnableRowSecurity(ctx, s.db, roleName(t, s.worker)))
		if err := first(o); err != nil {
			t.Errorf("%s, the first call after it was switched on: %v", name, err)
		}
		must(t, postgres.DisableRowSecurity(ctx, s.db))
		if err := first(o); err != nil {
			t.Errorf("%s, the first call after it was switched off: %v", name, err)
		}
	}
}

// Under row-level security nothing takes another round trip.
func TestRowSecurityRoundTrips(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSecured(t, "public")
	_, keeper := s.open(t, s.address, pgdbm.Config{})
	_, err := keeper.AddGeneration(ctx, embedder(1), "")
	must(t, err)
	trips := func() map[string][2]int {
		c := &traffic{}
		_, mem := s.open(t, s.app, pgdbm.Config{Tracer: c})
		o := mem.Owner("o")
		out := map[string][2]int{}
		var id string
		for range 2 { // what a memory learns the first time it knows the second time
			for _, call := range []struct {
				name string
				run  func() error
			}{
				{"Add", func() error {
					added, err := o.Add(ctx, llmemory.Document{Key: "1", Language: "en", Content: "alpha\nbeta"})
					id = added.DocumentID
					return err
				}},
				{"Add again", func() error {
					_, err := o.Add(ctx, llmemory.Document{Key: "1", Language: "en", Content: "alpha\nbeta"})
					return err
				}},
				{"Search", func() error { _, err := o.Search(ctx, "alpha", nil); return err }},
				{"Search, filtered", func() error {
					_, err := o.Search(ctx, "alpha", &llmemory.SearchOptions{Where: llmemory.Where{Origins: []string{"default"}}})
					return err
				}},
				{"Get", func() error { _, err := o.Get(ctx, id); return err }},
				{"Text", func() error { _, err := o.Text(ctx, id); return err }},
				{"Chunks", func() error { _, _, err := o.Chunks(ctx, id, nil); return err }},
				{"List", func() error { _, err := o.List(ctx, nil); return err }},
				{"Stats", func() error { _, err := o.Stats(ctx); return err }},
				{"Queue", func() error { _, err := o.Queue(ctx, 0); return err }},
				{"RetryQueue", func() error { _, err := o.RetryQueue(ctx); return err }},
				{"Delete", func() error { _, err := o.DeleteAll(ctx); return err }},
			} {
				c.measure(t, call.run)
				out[call.name] = [2]int{c.trips, c.statements}
			}
		}
		return out
	}
	off := trips()
	must(t, postgres.EnableRowSecurity(ctx, s.db, roleName(t, s.worker)))
	on := trips()
	for name, n := range off {
		// A statement for each transaction, and transaction control where a single statement needed none.
		if more := on[name][1] - n[1]; on[name][0] != n[0] || more < 1 || more > 3*n[0] {
			t.Errorf("%s: %d round trips with %d statements under row-level security, %d with %d without", name, on[name][0], on[name][1], n[0], n[1])
		}
	}
}

// Unless another is named, the owner of the tables works for all owners. Row-level security is forced on it as on anybody, and it does
// all the work there is, generations and indexes included.
func TestRowSecurityOfTheTablesOwner(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	address := pgtest.URL(t)
	run(t, observer(t, address), "CREATE EXTENSION vector SCHEMA public")
	keeper := pgtest.Role(t, address, pgtest.RoleOptions{Grants: []string{"CREATE SCHEMA app AUTHORIZATION {role}"}})
	open := func(url string) *llmemory.Memory {
		store, err := postgres.Open(ctx, url, &postgres.Options{Schema: "app", IndexFrom: 20})
		must(t, err)
		t.Cleanup(func() { closes(t, func() { must(t, store.Close()) }) })
		mem, err := llmemory.New(store, &llmemory.Config{Chunker: lines, Embedder: embedder(1), Embedders: []embedding.Embedder{embedder(2)}})
		must(t, err)
		return mem
	}
	work := open(keeper)
	must(t, postgres.EnableRowSecurity(ctx, openPool(t, keeper).Schema("app"), ""))
	app := open(pgtest.Role(t, address, pgtest.RoleOptions{Grants: grants("app")}))
	first, err := work.AddGeneration(ctx, nil, "")
	must(t, err)
	for _, owner := range []string{"a", "b"} {
		_, err := app.Owner(owner).Add(ctx, llmemory.Document{Key: "1", Language: "en", Content: numbered(30, "alpha line%d")})
		must(t, err)
	}
	second, err := work.AddGeneration(ctx, embedder(2), "")
	must(t, err)
	progress, err := work.EmbedQueue(ctx, nil)
	must(t, err)
	if progress.Embedded != 60 {
		t.Errorf("%d passages embedded, want 60", progress.Embedded)
	}
	for again := true; again; {
		again, err = work.TuneIndexes(ctx)
		must(t, err)
	}
	_, err = work.Maintain(ctx)
	must(t, err)
	for _, g := range []*llmemory.Generation{first, second} {
		p, err := work.Progress(ctx, g.ID)
		must(t, err)
		if p.Vectors != 60 || len(p.Indexes) != 2 {
			t.Errorf("generation %d has %d vectors and %d indexes, want 60 and 2", g.ID, p.Vectors, len(p.Indexes))
		}
	}
	_, err = work.ActivateGeneration(ctx, second.ID, false)
	must(t, err)
	must(t, work.RetireGeneration(ctx, first.ID, false))
	for range 2 { // the second time through the index
		r, err := app.Owner("a").Search(ctx, "line7", &llmemory.SearchOptions{Explain: true})
		must(t, err)
		if len(r.Degraded) > 0 || len(r.Hits) != 10 || r.Hits[0].Text != "alpha line7" {
			t.Errorf("degraded: %v, %d hits", r.Degraded, len(r.Hits))
		}
		t.Log(r.Explanation.Plan)
	}
}
