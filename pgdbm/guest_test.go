package pgdbm_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

var modes = map[string]pgx.QueryExecMode{
	"cache statement": pgx.QueryExecModeCacheStatement,
	"cache describe":  pgx.QueryExecModeCacheDescribe,
	"describe exec":   pgx.QueryExecModeDescribeExec,
	"exec":            pgx.QueryExecModeExec,
	"simple protocol": pgx.QueryExecModeSimpleProtocol,
}

// sessionState is everything that could stay behind on a connection. It is read
// in the simple protocol, which leaves nothing itself.
func sessionState(t *testing.T, p *pgxpool.Pool) []string {
	t.Helper()
	rows, err := p.Query(t.Context(), `
SELECT 'statement ' || name FROM pg_prepared_statements
UNION ALL SELECT 'setting ' || name || '=' || setting FROM pg_settings WHERE source = 'session' OR source = 'client'
UNION ALL SELECT 'lock ' || locktype || mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype <> 'virtualxid' AND relation IS DISTINCT FROM 'pg_locks'::regclass
	AND COALESCE(relation::regclass::text, '') NOT LIKE 'pg_%'
UNION ALL SELECT 'listen ' || c FROM pg_listening_channels() c
UNION ALL SELECT 'temporary ' || relname FROM pg_class WHERE relpersistence = 't'
UNION ALL SELECT 'cursor ' || name FROM pg_cursors WHERE name <> ''
ORDER BY 1`, pgx.QueryExecModeSimpleProtocol)
	must(t, err)
	state, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	return state
}

// A borrowed connection looks after use as it did before, whatever mode the
// host has chosen for its own statements.
func TestGuestLeavesNoTrace(t *testing.T) {
	t.Parallel()
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hostPool := host(t, pgtest.URL(t), func(c *pgxpool.Config) {
				c.MaxConns = 1
				c.ConnConfig.DefaultQueryExecMode = mode
			})
			before := sessionState(t, hostPool)
			p := pgdbm.Wrap(hostPool, nil)
			db := p.Schema("guest")
			must(t, db.Migrate(t.Context(), "m", twoFiles()))
			ctx := t.Context()

			value[string](t, db, "SELECT text FROM {{tables.notes}} WHERE id = $1", 1)
			_, err := db.Exec(ctx, "SELECT nonsense")
			if pgdbm.SQLState(err) != "42703" {
				t.Errorf("got %v", err)
			}
			_, err = db.CopyFrom(ctx, "notes", []string{"id", "text"}, pgx.CopyFromRows([][]any{{10, "x"}}))
			must(t, err)
			_, err = db.CopyFrom(ctx, "notes", []string{"id", "text"}, pgx.CopyFromRows([][]any{{10, "x"}}))
			if !pgdbm.IsUniqueViolation(err) {
				t.Errorf("got %v", err)
			}
			var b pgdbm.Batch
			b.Queue("SET LOCAL work_mem = '1MB'")
			b.Queue("UPDATE {{tables.notes}} SET text = $1", "y")
			tx, err := db.Begin(ctx, &pgdbm.TxOptions{Isolation: pgdbm.Serializable}, &b)
			must(t, err)
			must(t, tx.Commit(ctx, &b))
			must(t, db.InTx(ctx, nil, func(tx *pgdbm.Tx) error {
				_ = tx.Savepoint(ctx, func(tx *pgdbm.Tx) error { return errors.New("undo") })
				return nil
			}))
			// A statement cut off by its context closes the connection, so the
			// next is a new one; there must be one.
			must(t, p.Ping(ctx))

			if diff := cmp.Diff(before, sessionState(t, hostPool)); diff != "" {
				t.Error(diff)
			}
			if got := p.Stats(); got.Connects != 1 {
				t.Errorf("%d connections were made: one was thrown away", got.Connects)
			}
			p.Close()
			must(t, hostPool.Ping(ctx)) // the host's pool stays open
		})
	}
}

// The host's transaction decides.
func TestWithTx(t *testing.T) {
	t.Parallel()
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			hostPool := host(t, pgtest.URL(t), func(c *pgxpool.Config) {
				c.MaxConns = 1
				c.ConnConfig.DefaultQueryExecMode = mode
			})
			db := table(t, pgdbm.Wrap(hostPool, nil), "guest")

			for _, commit := range []bool{false, true} {
				hostTx, err := hostPool.Begin(ctx)
				must(t, err)
				tx := db.WithTx(hostTx)
				run(t, tx, "INSERT INTO {{tables.items}} VALUES (1)")
				if err := tx.Commit(ctx, nil); !errors.Is(err, pgdbm.ErrNotOwned) {
					t.Errorf("commit of the host's transaction: %v", err)
				}
				if err := tx.Rollback(ctx); !errors.Is(err, pgdbm.ErrNotOwned) {
					t.Errorf("rollback of the host's transaction: %v", err)
				}
				// What fails inside a savepoint does not spoil the host's transaction.
				err = tx.InTx(ctx, nil, func(tx *pgdbm.Tx) error {
					run(t, tx, "INSERT INTO {{tables.items}} VALUES (2)")
					_, err := tx.Exec(ctx, "INSERT INTO {{tables.items}} VALUES (1)")
					return err
				})
				if !pgdbm.IsUniqueViolation(err) {
					t.Errorf("got %v", err)
				}
				sp, err := tx.Begin(ctx, nil, nil)
				must(t, err)
				run(t, sp, "INSERT INTO {{tables.items}} VALUES (3)")
				must(t, sp.Commit(ctx, nil))
				_, err = hostTx.Exec(ctx, "INSERT INTO guest.items VALUES (4)")
				must(t, err)
				if commit {
					must(t, hostTx.Commit(ctx))
				} else {
					must(t, hostTx.Rollback(ctx))
				}
				want := 0
				if commit {
					want = 1 + 3 + 4
				}
				if got := value[int](t, db, "SELECT COALESCE(sum(id), 0)::int FROM {{tables.items}}"); got != want {
					t.Errorf("commit %v: the sum of ids is %d, want %d", commit, got, want)
				}
				if _, err := tx.Exec(ctx, "SELECT 1"); !errors.Is(err, pgdbm.ErrTxClosed) {
					t.Errorf("use after the host's end: %v", err)
				}
			}
		})
	}
	t.Run("nil", func(t *testing.T) {
		db := pgdbm.Wrap(host(t, pgtest.URL(t), nil), nil).Schema("s")
		if _, err := db.WithTx(nil).Exec(t.Context(), "SELECT 1"); !errors.Is(err, pgdbm.ErrTxClosed) {
			t.Errorf("got %v", err)
		}
	})
}

func TestSavepoints(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := table(t, open(t, pgdbm.Config{MaxConns: 1}), "s")
	insert := func(tx *pgdbm.Tx, id int) { run(t, tx, "INSERT INTO {{tables.items}} VALUES ($1)", id) }
	undo := errors.New("undo")
	must(t, db.InTx(ctx, nil, func(tx *pgdbm.Tx) error {
		insert(tx, 1)
		err := tx.Savepoint(ctx, func(tx *pgdbm.Tx) error {
			insert(tx, 2)
			must(t, tx.Savepoint(ctx, func(tx *pgdbm.Tx) error { insert(tx, 4); return nil }))
			return undo // takes 4 along
		})
		if !errors.Is(err, undo) {
			t.Errorf("got %v", err)
		}
		must(t, tx.Savepoint(ctx, func(tx *pgdbm.Tx) error {
			insert(tx, 8)
			_ = tx.Savepoint(ctx, func(tx *pgdbm.Tx) error { insert(tx, 16); return undo })
			return nil
		}))
		return nil
	}))
	if got := value[int](t, db, "SELECT sum(id)::int FROM {{tables.items}}"); got != 9 {
		t.Errorf("the sum of ids is %d, want 9", got)
	}

	// A savepoint used after the transaction around it has ended.
	tx, err := db.Begin(ctx, nil, nil)
	must(t, err)
	sp, err := tx.Begin(ctx, nil, nil)
	must(t, err)
	insert(sp, 32)
	must(t, tx.Rollback(ctx))
	if _, err := sp.Exec(ctx, "SELECT 1"); !errors.Is(err, pgdbm.ErrTxClosed) {
		t.Errorf("use: %v", err)
	}
	if err := sp.Commit(ctx, nil); !errors.Is(err, pgdbm.ErrTxClosed) {
		t.Errorf("commit: %v", err)
	}
	must(t, sp.Rollback(ctx))
}

func TestTxAborted(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := table(t, open(t, pgdbm.Config{MaxConns: 1}), "s")
	tx, err := db.Begin(ctx, nil, nil)
	must(t, err)
	run(t, tx, "INSERT INTO {{tables.items}} VALUES (1)")
	if _, err := tx.Exec(ctx, "SELECT 1/0"); pgdbm.SQLState(err) != "22012" {
		t.Fatalf("got %v", err)
	}
	if err := tx.Commit(ctx, nil); !errors.Is(err, pgdbm.ErrTxAborted) {
		t.Errorf("commit gives %v", err)
	}
	if got := value[int](t, db, "SELECT count(*)::int FROM {{tables.items}}"); got != 0 {
		t.Errorf("%d rows", got)
	}
}

// Both callers of a conflict want to see it solved, not reported.
func TestRetries(t *testing.T) {
	t.Parallel()
	db := table(t, open(t, pgdbm.Config{MaxConns: 4}), "s")
	ctx := t.Context()
	run(t, db, "INSERT INTO {{tables.items}} VALUES (1, '0')")
	increment := func(opts *pgdbm.TxOptions, attempts *int, between func()) error {
		return db.InTx(ctx, opts, func(tx *pgdbm.Tx) error {
			*attempts++
			n := value[int](t, tx, "SELECT name::int FROM {{tables.items}}")
			if *attempts == 1 && between != nil {
				between()
			}
			_, err := tx.Exec(ctx, "UPDATE {{tables.items}} SET name = $1::int", n+1)
			return err
		})
	}
	var outer, inner int
	err := increment(&pgdbm.TxOptions{Isolation: pgdbm.Serializable, Retries: 5}, &outer, func() {
		must(t, increment(&pgdbm.TxOptions{Isolation: pgdbm.Serializable}, &inner, nil))
	})
	must(t, err)
	if outer != 2 || inner != 1 {
		t.Errorf("%d and %d attempts", outer, inner)
	}
	if got := value[string](t, db, "SELECT name FROM {{tables.items}}"); got != "2" {
		t.Errorf("value is %s", got)
	}
	outer, inner = 0, 0
	err = increment(&pgdbm.TxOptions{Isolation: pgdbm.Serializable}, &outer, func() {
		must(t, increment(nil, &inner, nil))
	})
	if !pgdbm.IsSerialization(err) || outer != 1 {
		t.Errorf("not asked to retry: %v after %d attempts", err, outer)
	}
	// Never more often than asked.
	attempts := 0
	err = db.InTx(ctx, &pgdbm.TxOptions{Retries: 100}, func(tx *pgdbm.Tx) error {
		attempts++
		_, err := tx.Exec(ctx, "DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$")
		return err
	})
	if !pgdbm.IsSerialization(err) || attempts != pgdbm.MaxRetries+1 {
		t.Errorf("%v after %d attempts", err, attempts)
	}
}

func TestTxOptions(t *testing.T) {
	t.Parallel()
	db := table(t, open(t, pgdbm.Config{MaxConns: 1}), "s")
	err := db.InTx(t.Context(), &pgdbm.TxOptions{ReadOnly: true}, func(tx *pgdbm.Tx) error {
		_, err := tx.Exec(t.Context(), "INSERT INTO {{tables.items}} VALUES (1)")
		return err
	})
	if !pgdbm.IsReadOnly(err) {
		t.Errorf("got %v", err)
	}
	err = db.InTx(t.Context(), &pgdbm.TxOptions{Isolation: "; DROP"}, func(*pgdbm.Tx) error { return nil })
	if err == nil {
		t.Error("a made-up isolation level was taken")
	}
	value[int](t, db, "SELECT 1") // the connection came back
}

// A batch outside a transaction is all or nothing.
func TestBatchIsAtomic(t *testing.T) {
	t.Parallel()
	db := table(t, open(t, pgdbm.Config{MaxConns: 1}), "s")
	var b pgdbm.Batch
	called := 0
	b.Queue("INSERT INTO {{tables.items}} VALUES (1)")
	b.Queue("SELECT 1").Row(func(r pgx.Row) error { called++; return r.Scan(new(int)) })
	b.Queue("SELECT $1::int / $2::int AS guilty", 1, 0)
	b.Queue("SELECT 1").Row(func(r pgx.Row) error { called++; return nil })
	err := db.Run(t.Context(), &b)
	var e *pgdbm.Error
	if !errors.As(err, &e) || e.SQLSTATE != "22012" || e.Statement != "SELECT $1::int / $2::int AS guilty" || e.Op != "batch" {
		t.Errorf("got %#v", err)
	}
	if called != 1 {
		t.Errorf("%d callbacks ran", called)
	}
	if got := value[int](t, db, "SELECT count(*)::int FROM {{tables.items}}"); got != 0 {
		t.Errorf("%d rows", got)
	}
}

func TestBatchCallbackErrors(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := table(t, open(t, pgdbm.Config{MaxConns: 1}), "s")
	boom := errors.New("boom")
	batch := func(id int) *pgdbm.Batch {
		var b pgdbm.Batch
		b.Queue("INSERT INTO {{tables.items}} VALUES ($1) RETURNING id", id).Row(func(pgx.Row) error { return boom })
		b.Queue("SELECT 1").Row(func(pgx.Row) error { t.Error("called after an error"); return nil })
		return &b
	}
	count := func() int { return value[int](t, db, "SELECT count(*)::int FROM {{tables.items}}") }
	if err := db.Run(ctx, batch(1)); !errors.Is(err, boom) || count() != 1 {
		t.Errorf("alone: %v, %d rows", err, count())
	}
	if _, err := db.Begin(ctx, nil, batch(2)); !errors.Is(err, boom) || count() != 1 {
		t.Errorf("first: %v, %d rows", err, count())
	}
	tx, err := db.Begin(ctx, nil, nil)
	must(t, err)
	if err := tx.Commit(ctx, batch(3)); !errors.Is(err, boom) || !errors.Is(err, pgdbm.ErrCommitted) || count() != 2 {
		t.Errorf("last: %v, %d rows", err, count())
	}
	// An overlooked failure to scan is a failure.
	var b pgdbm.Batch
	b.Queue("SELECT 'x'::text").Rows(func(rows pgx.Rows) error {
		for rows.Next() {
			_ = rows.Scan(new(int))
		}
		return nil
	})
	if err := db.Run(ctx, &b); err == nil {
		t.Error("an overlooked failure to scan is no error")
	}
	// A deferred constraint is checked after all results: rolled back, said so.
	run(t, db, "CREATE TABLE {{tables.child}} (id int REFERENCES {{tables.items}} DEFERRABLE INITIALLY DEFERRED)")
	var d pgdbm.Batch
	d.Queue("INSERT INTO {{tables.child}} VALUES (99)")
	if err := db.Run(ctx, &d); !pgdbm.IsForeignKeyViolation(err) {
		t.Errorf("deferred constraint in a batch: %v", err)
	}
	if _, err := db.Exec(ctx, "INSERT INTO {{tables.child}} VALUES (99)"); !pgdbm.IsForeignKeyViolation(err) {
		t.Errorf("deferred constraint in exec: %v", err)
	}
	rows, err := db.Query(ctx, "INSERT INTO {{tables.child}} VALUES (99) RETURNING id")
	must(t, err)
	if _, err := pgx.CollectRows(rows, pgx.RowTo[int]); !pgdbm.IsForeignKeyViolation(err) {
		t.Errorf("deferred constraint in query: %v", err)
	}
	tx, err = db.Begin(ctx, nil, nil)
	must(t, err)
	if err := tx.Commit(ctx, &d); !pgdbm.IsForeignKeyViolation(err) || errors.Is(err, pgdbm.ErrCommitUnknown) {
		t.Errorf("deferred constraint at commit: %v", err)
	}
}

func TestCopyErrors(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := table(t, open(t, pgdbm.Config{MaxConns: 1}), "s")
	boom := errors.New("boom")
	for _, c := range []struct {
		name    string
		table   string
		columns []string
		src     pgx.CopyFromSource
		check   func(error) bool
	}{
		{"no such table", "nothing", []string{"id"}, pgx.CopyFromRows(nil), pgdbm.IsUndefined},
		{"no such column", "items", []string{"nope"}, pgx.CopyFromRows(nil), pgdbm.IsUndefined},
		{"no columns", "items", nil, pgx.CopyFromRows(nil), func(err error) bool { return err != nil }},
		{"bad table name", "", []string{"id"}, pgx.CopyFromRows(nil), func(err error) bool { return err != nil }},
		{"source fails", "items", []string{"id"}, pgx.CopyFromSlice(10, func(i int) ([]any, error) {
			if i == 5 {
				return nil, boom
			}
			return []any{i}, nil
		}), func(err error) bool { return errors.Is(err, boom) }},
		{"wrong number of values", "items", []string{"id"}, pgx.CopyFromRows([][]any{{1, 2}}), func(err error) bool {
			return err != nil && err.Error() == "pgdbm: copy: row 1 has 2 values for 1 columns [in: COPY items]"
		}},
		{"wrong type", "items", []string{"id"}, pgx.CopyFromRows([][]any{{1}, {"not a number"}}), func(err error) bool {
			return err != nil && err.Error() == `pgdbm: copy: row 2, column "id": a Go value of type string cannot be encoded [in: COPY items]`
		}},
		{"duplicate", "items", []string{"id"}, pgx.CopyFromRows([][]any{{1}, {1}}), pgdbm.IsUniqueViolation},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := db.CopyFrom(ctx, c.table, c.columns, c.src); !c.check(err) {
				t.Errorf("got %v", err)
			}
			if got := value[int](t, db, "SELECT count(*)::int FROM {{tables.items}}"); got != 0 {
				t.Errorf("%d rows", got)
			}
		})
	}
	run(t, db, `CREATE TABLE {{tables.wide}} (i int8, f float8, b bytea, u uuid, j jsonb, ts timestamptz, a text[], n numeric)`)
	id := [16]byte{15: 7}
	_, err := db.CopyFrom(ctx, "wide", []string{"i", "f", "b", "u", "j", "ts", "a", "n"}, pgx.CopyFromRows([][]any{
		{int64(1), 0.5, []byte{1}, id, `{"a":1}`, time.Unix(0, 0), []string{"x"}, "1.50"},
		{nil, nil, nil, fmt.Sprintf("%032x", 7), nil, nil, nil, nil},
	}))
	must(t, err)
	if got := value[int](t, db, "SELECT count(DISTINCT u)::int FROM {{tables.wide}}"); got != 1 {
		t.Errorf("%d different ids", got)
	}
}

func TestDefaultSchema(t *testing.T) {
	t.Parallel()
	p := open(t, pgdbm.Config{})
	db, err := p.DefaultSchema(t.Context())
	must(t, err)
	if db.SchemaName() != "public" {
		t.Errorf("got %q", db.SchemaName())
	}
	none := host(t, pgtest.URL(t), func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["search_path"] = "nowhere" })
	if _, err := pgdbm.Wrap(none, nil).DefaultSchema(t.Context()); !errors.Is(err, pgdbm.ErrSchemaName) {
		t.Errorf("got %v", err)
	}
}

func TestExtension(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := open(t, pgdbm.Config{})
	e, err := p.Extension(ctx, "plpgsql")
	must(t, err)
	if e.Schema != "pg_catalog" || e.Version == "" || e.Available == "" {
		t.Errorf("got %+v", e)
	}
	_, err = p.RequireExtension(ctx, "plpgsql", "0.9")
	must(t, err)
	for _, c := range []struct{ name, version, want string }{
		{"plpgsql", "99.1", `pgdbm: required extension "plpgsql" has version 1.0 here, at least 99.1 is needed, and the server offers 1.0; install a newer package on the server, then run as a superuser: ALTER EXTENSION "plpgsql" UPDATE`},
		{"no such", "", `pgdbm: required extension "no such" is unknown to the server; install its package on the server's machine, then run as a superuser: CREATE EXTENSION "no such"`},
	} {
		_, err := p.RequireExtension(ctx, c.name, c.version)
		if !errors.Is(err, pgdbm.ErrExtension) || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

// The render cache is bounded and right.
func TestRender(t *testing.T) {
	t.Parallel()
	p := open(t, pgdbm.Config{})
	db := p.Schema(`a"b`)
	for i := range 3000 {
		got, err := db.Render(fmt.Sprintf("SELECT %d FROM {{tables.t}}", i%1500))
		must(t, err)
		if want := fmt.Sprintf(`SELECT %d FROM "a""b"."t"`, i%1500); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	for _, bad := range []string{"{{tables.x", "{{ tables.x }}", "{{table.x}}", "{{tables.a-b}}", "{{tables.}}", "{{tables.a.b.c}}", "{{}}", "{{schema }}", "{{tables.1}}"} {
		_, err := db.Exec(context.Background(), bad)
		var e *pgdbm.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}
