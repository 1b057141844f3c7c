package postgres_test

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

// then is what an error tells a role to do that may not migrate.
const then = "run `llmemory migrate up` as a role that may, then `llmemory migrate grants --role ROLE` prints what this role needs"

// grants are what `llmemory migrate grants` prints, for pgtest.Role.
func grants(schema string) []string {
	return []string{strings.ReplaceAll(postgres.Grants(schema, "role"), `"role"`, "{role}")}
}

func roleName(t *testing.T, url string) string {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	must(t, err)
	return config.User
}

// opens fails the test unless a store opens and works.
func opens(t *testing.T, url string, o postgres.Options) {
	t.Helper()
	store, err := postgres.Open(t.Context(), url, &o)
	must(t, err)
	defer store.Close()
	works(t, store)
}

// refused fails the test unless opening fails with this message and changes nothing, as admin sees it.
func refused(t *testing.T, admin, url string, o postgres.Options, kind error, message string) {
	t.Helper()
	conn := observer(t, admin)
	before := catalogue(t, conn)
	store, err := postgres.Open(t.Context(), url, &o)
	if err == nil {
		_ = store.Close()
	}
	if err == nil || err.Error() != message || kind != nil && !errors.Is(err, kind) {
		t.Errorf("got  %v\nwant %s", err, message)
	}
	if diff := cmp.Diff(before, catalogue(t, conn)); diff != "" {
		t.Errorf("the database was changed (-before +after):\n%s", diff)
	}
}

// A role that holds what `llmemory migrate grants` prints, and nothing else, does everything but migrate.
func TestGrantedRole(t *testing.T) {
	t.Parallel()
	for _, schema := range []string{"public", `Select "x"`} {
		t.Run(schema, func(t *testing.T) {
			t.Parallel()
			address := pgtest.URL(t)
			opens(t, address, postgres.Options{Schema: schema})
			granted := pgtest.Role(t, address, pgtest.RoleOptions{Grants: grants(schema)})
			admin, conn := observer(t, address), observer(t, granted)
			before := catalogue(t, admin)
			for _, require := range []bool{true, false} {
				store, err := postgres.Open(t.Context(), granted, &postgres.Options{Schema: schema, RequireMigrated: require})
				must(t, err)
				works(t, store)
				mem := memory(t, store)
				ws := mem.Owner("o")
				for i := range 40 { // folding and replacing on the way
					_, err := ws.Add(t.Context(), llmemory.Document{Name: fmt.Sprint(i), Content: fmt.Sprint("line ", i, " ", require)})
					must(t, err)
				}
				_, err = mem.Maintain(t.Context())
				must(t, err)
				page, err := ws.List(t.Context(), nil)
				must(t, err)
				_, _, err = ws.GetWithChunks(t.Context(), page.Documents[0].ID)
				must(t, err)
				_, err = ws.Stats(t.Context())
				must(t, err)
				_, err = store.Info(t.Context())
				must(t, err)
				must(t, postgres.Verify(t.Context(), store.DB()))
				deleted, err := ws.DeleteAll(t.Context())
				must(t, err)
				if len(deleted.DocumentIDs) != 40 {
					t.Errorf("%d documents deleted, want 40", len(deleted.DocumentIDs))
				}
				must(t, store.Close())
			}
			if diff := cmp.Diff(before, catalogue(t, admin)); diff != "" {
				t.Errorf("the database was changed (-before +after):\n%s", diff)
			}
			// It truly has no right to more.
			quoted := pgx.Identifier{schema}.Sanitize()
			for _, sql := range []string{
				"CREATE TABLE %s.t ()", "DROP TABLE %s.documents", "TRUNCATE %s.documents", "ALTER TABLE %s.documents ADD COLUMN c int",
				"INSERT INTO %s.schema_migrations DEFAULT VALUES", "DELETE FROM %s.schema_migrations",
			} {
				if _, err := conn.Exec(t.Context(), fmt.Sprintf(sql, quoted)); pgdbm.SQLState(err) != "42501" {
					t.Errorf("%s gives %v, want insufficient privilege", sql, err)
				}
			}
		})
	}
}

// A role that may only read and write does all there is to do with vectors but making and removing generations, which it says who can.
func TestGrantedRoleEmbeds(t *testing.T) {
	t.Parallel()
	for schema, extension := range map[string]string{"public": "public", `Select "x"`: `it's "ext"`} {
		t.Run(schema, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			address := pgtest.URL(t)
			admin := observer(t, address)
			opens(t, address, postgres.Options{Schema: schema})
			open := func(url string) (*postgres.Store, *llmemory.Memory) {
				store, err := postgres.Open(ctx, url, &postgres.Options{Schema: schema})
				must(t, err)
				t.Cleanup(func() { closes(t, func() { must(t, store.Close()) }) })
				mem, err := llmemory.New(store, &llmemory.Config{Chunker: lines, Embedder: embedtest.New(embedtest.Config{})})
				must(t, err)
				return store, mem
			}
			plain := pgtest.Role(t, address, pgtest.RoleOptions{Grants: grants(schema)})
			store, mem := open(plain)
			ws := mem.Owner("o")
			refused := func(what string, err error, want string) {
				t.Helper()
				if !errors.Is(err, llmemory.ErrUnavailable) || !strings.HasSuffix(err.Error(), want) {
					t.Errorf("%s: %v\nwant ErrUnavailable and %s", what, err, want)
				}
			}
			add := func(key, text string) llmemory.Added {
				t.Helper()
				added, err := ws.Add(ctx, llmemory.Document{Key: key, Language: "en", Content: text})
				must(t, err)
				return added
			}

			// Without pgvector: documents are stored, found by text, and everybody is told what to run.
			const install = `required extension "vector" is not installed in this database; a superuser can run: CREATE EXTENSION "vector"`
			added := add("1", "alpha one\nalpha two")
			refused("Add", added.EmbedErr, install)
			if added.Pending != 2 || added.Embedded != 0 {
				t.Errorf("%d embedded, %d pending, want 0 and 2", added.Embedded, added.Pending)
			}
			_, err := mem.AddGeneration(ctx, nil, "")
			refused("AddGeneration", err, install)
			r, err := ws.Search(ctx, "alpha", nil)
			must(t, err)
			if len(r.Hits) != 2 || len(r.Degraded) != 1 {
				t.Errorf("%d passages found, degraded: %v; want 2 by text", len(r.Hits), r.Degraded)
			}
			if extension != "public" {
				run(t, admin, "CREATE SCHEMA "+pgx.Identifier{extension}.Sanitize())
			}
			run(t, admin, "CREATE EXTENSION vector SCHEMA "+pgx.Identifier{extension}.Sanitize())
			run(t, admin, "UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'")
			_, err = mem.AddGeneration(ctx, nil, "")
			refused("AddGeneration with an old pgvector", err,
				`required extension "vector" has version 0.7.4 here, at least 0.8.0 is needed; its owner or a superuser can run: ALTER EXTENSION "vector" UPDATE`)
			run(t, admin, "UPDATE pg_extension SET extversion = default_version FROM pg_available_extensions WHERE name = 'vector' AND extname = 'vector'")

			// With it, somebody must make the table.
			const makes = "run `llmemory models add` as the owner of the schema's tables"
			_, err = mem.AddGeneration(ctx, nil, "")
			refused("AddGeneration", err, makes)
			refused("Add", add("2", "alpha three").EmbedErr, install) // it does not ask again for a while
			if _, err := mem.EmbedQueue(ctx, nil); err == nil || !strings.HasSuffix(err.Error(), makes) {
				t.Errorf("EmbedQueue: %v", err)
			}
			_, keeper := open(address)
			g, err := keeper.AddGeneration(ctx, embedtest.New(embedtest.Config{}), "")
			must(t, err)
			if extension != "public" { // granted before pgvector was there
				run(t, admin, postgres.Grants(schema, roleName(t, plain)))
			}

			// From then on the role that was granted its rights before does everything, and so does one that is granted them now.
			later := pgtest.Role(t, address, pgtest.RoleOptions{Grants: grants(schema)})
			_, other := open(later)
			for i, mem := range []*llmemory.Memory{mem, other} {
				ws := mem.Owner("o")
				added := add(fmt.Sprint("added ", i), fmt.Sprint("alpha four\nalpha five ", i))
				if added.EmbedErr != nil || added.Embedded != 2 || added.Pending != 0 {
					t.Errorf("Add: %+v", added)
				}
				_, err = ws.Add(ctx, llmemory.Document{Key: fmt.Sprint("queued ", i), Content: fmt.Sprint("alpha six ", i), Embed: llmemory.EmbedLater})
				must(t, err)
				if p, err := mem.EmbedQueue(ctx, nil); err != nil || p.Embedded != 4-3*i { // the first one backfills
					t.Errorf("EmbedQueue: %+v, %v", p, err)
				}
				r, err := ws.Search(ctx, "alpha", &llmemory.SearchOptions{Mode: llmemory.ByVector})
				must(t, err)
				if len(r.Hits) != 6+3*i {
					t.Errorf("%d passages found by vector, want %d", len(r.Hits), 6+3*i)
				}
				_, err = mem.Progress(ctx, g.ID)
				must(t, err)
				_, err = mem.Estimate(ctx, nil)
				must(t, err)
				_, err = mem.TuneIndexes(ctx)
				must(t, err)
				_, err = mem.ActivateGeneration(ctx, g.ID, false)
				must(t, err)
			}
			deleted, err := ws.DeleteWhere(ctx, llmemory.Where{Origins: []string{"default"}})
			must(t, err)
			if len(deleted.DocumentIDs) != 6 {
				t.Errorf("%d documents deleted, want 6", len(deleted.DocumentIDs))
			}
			must(t, checkStored(ctx, store))
			refused("RetireGeneration", mem.RetireGeneration(ctx, g.ID, true),
				"this role may not drop the table; run `llmemory models retire` as the owner of the schema's tables")
			must(t, keeper.RetireGeneration(ctx, g.ID, true))
		})
	}
}

// Without rights, the error says who can run what.
func TestRoleWithoutRights(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	conn := observer(t, address)
	database := list(t, conn, "SELECT current_database()::text")[0]
	plain := pgtest.Role(t, address, pgtest.RoleOptions{})
	role := roleName(t, plain)

	t.Run("in public", func(t *testing.T) {
		refused(t, address, plain, postgres.Options{}, pgdbm.ErrPending, fmt.Sprintf(
			`pgdbm: migrate aword_memory: migrations are pending: 001_documents.sql, 002_sources.sql, 003_failures.sql, 004_parts.sql; role "%s" may not create tables in the schema; `+
				`an administrator can run: GRANT USAGE, CREATE ON SCHEMA "public" TO "%[1]s"; %s`, role, then))
	})
	t.Run("in public, migrations required", func(t *testing.T) {
		refused(t, address, plain, postgres.Options{RequireMigrated: true}, pgdbm.ErrPending,
			`migrations are pending in schema "public": 001_documents.sql, 002_sources.sql, 003_failures.sql, 004_parts.sql: `+then)
	})
	t.Run("a schema to be made", func(t *testing.T) {
		refused(t, address, plain, postgres.Options{Schema: "app"}, pgdbm.ErrPending, fmt.Sprintf(
			`pgdbm: migrate aword_memory: migrations are pending: 001_documents.sql, 002_sources.sql, 003_failures.sql, 004_parts.sql; the schema does not exist and role "%s" may not create it; `+
				`an administrator can run: CREATE SCHEMA "app" AUTHORIZATION "%[1]s" (or GRANT CREATE ON DATABASE "%s" TO "%[1]s"); %[3]s`,
			role, database, then))
	})
	t.Run("a migrated schema", func(t *testing.T) {
		opens(t, address, postgres.Options{Schema: "migrated"})
		refused(t, address, plain, postgres.Options{Schema: "migrated"}, nil, fmt.Sprintf(
			`pgdbm: migrate aword_memory: pgdbm: query: permission denied for schema migrated (SQLSTATE 42501) `+
				`[in: SELECT version, name, checksum, applied_at, duration_ms, applied_by FROM {{tables.schema_migrations}} WHERE module = $1 …]; `+
				`an administrator can run: GRANT USAGE ON SCHEMA "migrated" TO "%s"; GRANT SELECT ON "migrated".schema_migrations TO "%[1]s"; `+
				"`llmemory migrate grants --role ROLE` prints all that it needs", role))
	})
	t.Run("what the errors say helps", func(t *testing.T) {
		run(t, conn, fmt.Sprintf(`CREATE SCHEMA "app" AUTHORIZATION "%s"`, role))
		opens(t, plain, postgres.Options{Schema: "app"})
		run(t, conn, fmt.Sprintf(`GRANT USAGE, CREATE ON SCHEMA "public" TO "%s"`, role))
		opens(t, plain, postgres.Options{})
		run(t, conn, fmt.Sprintf(`GRANT CREATE ON DATABASE "%s" TO "%s"`, database, role))
		opens(t, plain, postgres.Options{Schema: "made by itself"})
	})
}

// A schema that somebody else lives in is refused and left alone; another one will do.
func TestStrangers(t *testing.T) {
	t.Parallel()
	const (
		tables = `invalid schema: "public" already has tables that llmemory did not make (%s); nothing was changed: ` +
			`choose another schema (Options.Schema, --schema, or pool.Schema)`
		foreign = `pgdbm: migrate aword_memory: the table schema_migrations belongs to another tool (%s); ` +
			`use another schema, or move the table away if it is no longer needed`
	)
	for name, c := range map[string]struct {
		sql     string
		kind    error
		message string
	}{
		"documents": {`CREATE TABLE documents (id serial PRIMARY KEY, title text)`, llmemory.ErrInvalid, fmt.Sprintf(tables, "documents")},
		"a view and a table": {`CREATE VIEW text_segments AS SELECT 1; CREATE TABLE document_chunks (owner_id text, chunk_id uuid)`,
			llmemory.ErrInvalid, fmt.Sprintf(tables, "document_chunks, text_segments")},
		"documents of another module": {`CREATE TABLE documents (id int);
			CREATE TABLE schema_migrations (module text, version bigint, name text, checksum text, applied_at timestamptz DEFAULT now(),
				duration_ms bigint, applied_by text DEFAULT current_user, PRIMARY KEY (module, version));
			INSERT INTO schema_migrations VALUES ('document_processor', 1, 'documents', 'x', now(), 1, 'host')`,
			llmemory.ErrInvalid, fmt.Sprintf(tables, "documents")},
		"Rails": {`CREATE TABLE schema_migrations (version varchar NOT NULL PRIMARY KEY);
			INSERT INTO schema_migrations VALUES ('20240701120000')`,
			pgdbm.ErrForeign, fmt.Sprintf(foreign, "its only column is version, as Rails, dbmate and others make it")},
		"golang-migrate": {`CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);
			INSERT INTO schema_migrations VALUES (1, false)`,
			pgdbm.ErrForeign, fmt.Sprintf(foreign, "its columns are version, dirty, as golang-migrate makes it")},
		"Python llmemory": {`CREATE TABLE schema_migrations (id serial PRIMARY KEY, filename varchar(255) NOT NULL, checksum varchar(64) NOT NULL,
				module_name varchar(100), applied_at timestamp DEFAULT CURRENT_TIMESTAMP, applied_by varchar(100) DEFAULT CURRENT_USER,
				execution_time_ms integer, UNIQUE (filename, module_name));
			INSERT INTO schema_migrations (filename, checksum, module_name) VALUES ('001_complete_schema.sql', 'x', 'aword_memory');
			CREATE TABLE documents (document_id uuid PRIMARY KEY, owner_id varchar(255)); CREATE TABLE document_chunks (chunk_id uuid PRIMARY KEY)`,
			pgdbm.ErrForeign, fmt.Sprintf(foreign, "its columns are id, filename, checksum, module_name, applied_at, applied_by, "+
				"execution_time_ms, as the Python package pgdbm makes it")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := pgtest.URL(t)
			conn := observer(t, address)
			run(t, conn, "SET search_path = public; "+c.sql+"; SET search_path = pg_catalog")
			rows := contents(t, conn, "public")
			refused(t, address, address, postgres.Options{}, c.kind, c.message)
			opens(t, address, postgres.Options{Schema: "llmemory"})
			if diff := cmp.Diff(rows, contents(t, conn, "public")); diff != "" {
				t.Errorf("rows were changed (-before +after):\n%s", diff)
			}
		})
	}
}

// A schema whose tables are gone is not taken for one that is ready.
func TestTablesAreGone(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	opens(t, address, postgres.Options{})
	run(t, observer(t, address), "DROP TABLE public.text_postings, public.document_chunks")
	const message = `corrupt data: schema "public" lacks tables that its migrations made (document_chunks, text_postings); ` +
		`restore them from a backup, or drop the schema to start anew`
	for _, require := range []bool{true, false} {
		refused(t, address, address, postgres.Options{RequireMigrated: require}, llmemory.ErrCorrupt, message)
	}
	db := openPool(t, address).Schema("public")
	_, err := postgres.Migrate(t.Context(), db)
	for name, err := range map[string]error{"Migrate": err, "Verify": postgres.Verify(t.Context(), db)} {
		if err == nil || err.Error() != message {
			t.Errorf("%s: got  %v\nwant %s", name, err, message)
		}
	}
}

// The extension plays no part in text search: missing, or in a schema of its own, it is only reported.
func TestExtension(t *testing.T) {
	t.Parallel()
	for name, setUp := range map[string]string{
		"missing": "SELECT", "in public": "CREATE EXTENSION vector SCHEMA public",
		"in another schema": "CREATE SCHEMA ext; CREATE EXTENSION vector SCHEMA ext",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := pgtest.URL(t)
			conn := observer(t, address)
			run(t, conn, setUp)
			store, err := postgres.Open(t.Context(), address, nil)
			must(t, err)
			defer store.Close()
			works(t, store)
			info, err := store.Info(t.Context())
			must(t, err)
			want := ""
			for _, installed := range list(t, conn, `SELECT extversion || ' in schema ' || nspname
				FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'vector'`) {
				want = installed
			}
			if got := info.Details["pgvector"]; got != want || (want == "") != (name == "missing") {
				t.Errorf("pgvector is reported as %q, want %q", got, want)
			}
		})
	}
}

// Any name that PostgreSQL takes for a schema will do.
func TestSchemaNames(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	conn := observer(t, address)
	var want []string
	for _, name := range []string{
		`Select "x"`, "select", "LLMemory", "it's", `back\slash`, "a.b -- $1", "{{schema}} 漢字", " ", strings.Repeat("é", 31) + "x",
	} {
		opens(t, address, postgres.Options{Schema: name})
		want = append(want, ours(name)...)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, relations(t, conn)); diff != "" {
		t.Errorf("relations (-want +got):\n%s", diff)
	}
	refused(t, address, address, postgres.Options{Schema: strings.Repeat("x", 64)}, pgdbm.ErrSchemaName,
		`pgdbm: invalid schema name "`+strings.Repeat("x", 64)+`": identifier has 64 bytes, at most 63 are allowed`)
}

// Where search_path leads nowhere, a schema must be named.
func TestNoDefaultSchema(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	run(t, observer(t, address), "REVOKE ALL ON SCHEMA public FROM PUBLIC")
	plain := pgtest.Role(t, address, pgtest.RoleOptions{Grants: []string{"CREATE SCHEMA app AUTHORIZATION {role}"}})
	refused(t, address, plain, postgres.Options{}, pgdbm.ErrSchemaName,
		"pgdbm: invalid schema name: there is no default schema, as search_path names none that exists and that the role may use; name one")
	opens(t, plain, postgres.Options{Schema: "app"})
}

// A database that cannot hold every text is refused before anything is made in it.
func TestEncoding(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"LATIN1", "SQL_ASCII", "EUC_JP"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			// The database is made anew under its name, so that its end is taken care of.
			address := pgtest.URL(t)
			config, err := pgx.ParseConfig(address)
			must(t, err)
			name := pgx.Identifier{config.Database}.Sanitize()
			admin := observer(t, pgtest.AdminURL(t))
			for _, sql := range []string{"DROP DATABASE " + name,
				"CREATE DATABASE " + name + " ENCODING '" + encoding + "' LOCALE 'C' TEMPLATE template0"} {
				_, err := admin.Exec(t.Context(), sql)
				must(t, err)
			}
			refused(t, address, address, postgres.Options{}, llmemory.ErrInvalid, "invalid database: its encoding is "+encoding+
				", which cannot hold every text; make one with CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0")
		})
	}
}

// A password of any characters arrives, in every form of a connection string; where it cannot be understood, the error says what to
// do and does not repeat it.
func TestPassword(t *testing.T) {
	t.Parallel()
	const password = `a!b@c$d()e*_,/:;=?@ff[]22`
	admin := pgtest.URL(t)
	address := pgtest.Role(t, admin, pgtest.RoleOptions{Password: password, Grants: []string{"CREATE SCHEMA app AUTHORIZATION {role}"}})
	config, err := pgx.ParseConfig(address)
	must(t, err)
	u, err := url.Parse(address)
	must(t, err)
	parameters := u.RawQuery
	in := func(user *url.Userinfo, query url.Values) string {
		v := *u
		v.User = user
		if query != nil {
			v.RawQuery = parameters + "&" + query.Encode()
		}
		return v.String()
	}
	pairs := fmt.Sprintf("host=%s port=%d dbname=%s user=%s password=", config.Host, config.Port, config.Database, config.User)
	o := postgres.Options{Schema: "app"}
	for name, s := range map[string]string{
		"URL":                  in(url.UserPassword(config.User, password), nil),
		"URL, all escaped":     strings.Replace(in(url.User(config.User), nil), config.User, config.User+":"+url.QueryEscape(password), 1),
		"parameter of the URL": in(url.User(config.User), url.Values{"password": {password}}),
		"key=value":            pairs + password,
		"key=value, quoted":    pairs + "'" + password + "'",
	} {
		t.Run(name, func(t *testing.T) { opens(t, s, o) })
	}
	t.Run("URL, as it is", func(t *testing.T) {
		raw := strings.Replace(in(url.User(config.User), nil), config.User, config.User+":"+password, 1)
		refused(t, admin, raw, o, nil, "pgdbm: invalid configuration: URL is not a valid URL "+
			"(special characters of a password must be percent-encoded, see url.UserPassword)")
	})
	t.Run("wrong", func(t *testing.T) {
		_, err := postgres.Open(t.Context(), in(url.UserPassword(config.User, password+"x"), nil), &o)
		if pgdbm.SQLState(err) != "28P01" || strings.Contains(err.Error(), password) {
			t.Errorf("got %v", err)
		}
	})
}
