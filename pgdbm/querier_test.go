package pgdbm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory/pgdbm"
)

// Each Querier passes the same cases.
func TestQuerier(t *testing.T) {
	t.Parallel()
	p := open(t, pgdbm.Config{MaxConns: 1}) // any second connection would be a dead end
	db := table(t, p, `Select "x"`)

	each := func(name string, do func(t *testing.T, q pgdbm.Querier)) {
		t.Run("DB/"+name, func(t *testing.T) {
			run(t, db, "TRUNCATE {{tables.items}}")
			do(t, db)
		})
		t.Run("Conn/"+name, func(t *testing.T) {
			run(t, db, "TRUNCATE {{tables.items}}")
			c, err := db.Acquire(t.Context())
			must(t, err)
			defer c.Release()
			do(t, c)
		})
		t.Run("Tx/"+name, func(t *testing.T) {
			run(t, db, "TRUNCATE {{tables.items}}")
			tx, err := db.Begin(t.Context(), nil, nil)
			must(t, err)
			defer tx.Rollback(t.Context())
			do(t, tx)
		})
		t.Run("Savepoint/"+name, func(t *testing.T) {
			run(t, db, "TRUNCATE {{tables.items}}")
			tx, err := db.Begin(t.Context(), nil, nil)
			must(t, err)
			defer tx.Rollback(t.Context())
			sp, err := tx.Begin(t.Context(), nil, nil)
			must(t, err)
			do(t, sp)
			must(t, sp.Commit(t.Context(), nil))
			must(t, tx.Commit(t.Context(), nil))
		})
	}
	each("exec", func(t *testing.T, q pgdbm.Querier) {
		tag, err := q.Exec(t.Context(), "INSERT INTO {{tables.items}} VALUES ($1, $2), ($1 + 1, NULL)", 1, "one")
		must(t, err)
		if tag.RowsAffected() != 2 || tag.String() != "INSERT 0 2" {
			t.Errorf("tag is %q", tag)
		}
	})
	each("query", func(t *testing.T, q pgdbm.Querier) {
		rows, err := q.Query(t.Context(), "SELECT generate_series(1, $1::int)", 3)
		must(t, err)
		got, err := pgx.CollectRows(rows, pgx.RowTo[int])
		must(t, err)
		if diff := cmp.Diff([]int{1, 2, 3}, got); diff != "" {
			t.Error(diff)
		}
		if got := value[string](t, q, "SELECT 'again'"); got != "again" {
			t.Errorf("the connection is not usable after a query: got %q", got)
		}
	})
	each("query closed early", func(t *testing.T, q pgdbm.Querier) {
		rows, err := q.Query(t.Context(), "SELECT generate_series(1, 100000)")
		must(t, err)
		if !rows.Next() {
			t.Fatal("no row")
		}
		rows.Close()
		must(t, rows.Err())
		if got := value[int](t, q, "SELECT 7"); got != 7 {
			t.Errorf("got %d", got)
		}
	})
	each("no rows", func(t *testing.T, q pgdbm.Querier) {
		var n int
		err := q.QueryRow(t.Context(), "SELECT 1 WHERE false").Scan(&n)
		if !errors.Is(err, pgx.ErrNoRows) || !pgdbm.IsNoRows(err) {
			t.Errorf("got %v", err)
		}
	})
	each("a row never scanned holds nothing", func(t *testing.T, q pgdbm.Querier) {
		_ = q.QueryRow(t.Context(), "SELECT 1")
		value[int](t, q, "SELECT 1")
	})
	each("batch", func(t *testing.T, q pgdbm.Querier) {
		var (
			b        pgdbm.Batch
			affected int64
			name     string
			ids      []int
			missing  error
		)
		b.Queue("INSERT INTO {{tables.items}} VALUES (1, $1), (2, $2)", "one", "two").Affected(&affected)
		b.Queue("SELECT name FROM {{tables.items}} WHERE id = $1", 2).Row(func(r pgx.Row) error { return r.Scan(&name) })
		b.Queue("SELECT id FROM {{tables.items}} ORDER BY id").Rows(func(rows pgx.Rows) (err error) {
			ids, err = pgx.CollectRows(rows, pgx.RowTo[int])
			return err
		})
		b.Queue("SELECT 1 WHERE false").Row(func(r pgx.Row) error {
			missing = r.Scan(new(int))
			return nil
		})
		b.Queue("UPDATE {{tables.items}} SET name = upper(name)")
		must(t, q.Run(t.Context(), &b))
		if affected != 2 || name != "two" {
			t.Errorf("affected %d, name %q", affected, name)
		}
		if diff := cmp.Diff([]int{1, 2}, ids); diff != "" {
			t.Error(diff)
		}
		if !pgdbm.IsNoRows(missing) {
			t.Errorf("missing row gives %v", missing)
		}
		if got := value[string](t, q, "SELECT name FROM {{tables.items}} WHERE id = 1"); got != "ONE" {
			t.Errorf("the last statement was not run: name is %q", got)
		}
		must(t, q.Run(t.Context(), &pgdbm.Batch{}))
		must(t, q.Run(t.Context(), nil))
	})
	each("copy", func(t *testing.T, q pgdbm.Querier) {
		n, err := q.CopyFrom(t.Context(), "items", []string{"id", "name"}, pgx.CopyFromSlice(5000, func(i int) ([]any, error) {
			if i%2 == 0 {
				return []any{i, nil}, nil
			}
			return []any{i, fmt.Sprint("item ", i)}, nil
		}))
		must(t, err)
		if n != 5000 {
			t.Errorf("copied %d rows", n)
		}
		if got := value[int](t, q, "SELECT count(name)::int FROM {{tables.items}} WHERE name = 'item ' || id"); got != 2500 {
			t.Errorf("%d rows have their names", got)
		}
	})
	each("in tx", func(t *testing.T, q pgdbm.Querier) {
		boom := errors.New("boom")
		err := q.InTx(t.Context(), nil, func(tx *pgdbm.Tx) error {
			run(t, tx, "INSERT INTO {{tables.items}} VALUES (1)")
			return boom
		})
		if !errors.Is(err, boom) {
			t.Errorf("got %v", err)
		}
		must(t, q.InTx(t.Context(), nil, func(tx *pgdbm.Tx) error {
			run(t, tx, "INSERT INTO {{tables.items}} VALUES (2)")
			return nil
		}))
		if got := value[int](t, q, "SELECT sum(id)::int FROM {{tables.items}}"); got != 2 {
			t.Errorf("sum of ids is %d", got)
		}
	})
	each("begin, commit", func(t *testing.T, q pgdbm.Querier) {
		var first, last pgdbm.Batch
		first.Queue("INSERT INTO {{tables.items}} VALUES (1)")
		last.Queue("INSERT INTO {{tables.items}} VALUES (2)")
		tx, err := q.Begin(t.Context(), nil, &first)
		must(t, err)
		must(t, tx.Commit(t.Context(), &last))
		must(t, tx.Rollback(t.Context())) // does nothing
		if err := tx.Commit(t.Context(), nil); !errors.Is(err, pgdbm.ErrTxClosed) {
			t.Errorf("second commit gives %v", err)
		}
		if _, err := tx.Exec(t.Context(), "SELECT 1"); !errors.Is(err, pgdbm.ErrTxClosed) {
			t.Errorf("use after commit gives %v", err)
		}
		if got := value[int](t, q, "SELECT count(*)::int FROM {{tables.items}}"); got != 2 {
			t.Errorf("%d rows", got)
		}
	})
	each("failed first statement", func(t *testing.T, q pgdbm.Querier) {
		var first pgdbm.Batch
		first.Queue("INSERT INTO {{tables.items}} VALUES (1)")
		first.Queue("INSERT INTO {{tables.items}} VALUES (1)")
		first.Queue("INSERT INTO {{tables.items}} VALUES (2)")
		_, err := q.Begin(t.Context(), nil, &first)
		if !pgdbm.IsUniqueViolation(err) {
			t.Fatalf("got %v", err)
		}
		if got := value[int](t, q, "SELECT count(*)::int FROM {{tables.items}}"); got != 0 {
			t.Errorf("%d rows", got)
		}
	})
	each("failed last statement", func(t *testing.T, q pgdbm.Querier) {
		var last pgdbm.Batch
		last.Queue("INSERT INTO {{tables.items}} VALUES (1)")
		last.Queue("SELECT 1/$1::int", 0)
		tx, err := q.Begin(t.Context(), nil, nil)
		must(t, err)
		run(t, tx, "INSERT INTO {{tables.items}} VALUES (5)")
		if err := tx.Commit(t.Context(), &last); pgdbm.SQLState(err) != "22012" {
			t.Fatalf("got %v", err)
		}
		if got := value[int](t, q, "SELECT count(*)::int FROM {{tables.items}}"); got != 0 {
			t.Errorf("%d rows", got)
		}
	})
	each("panic rolls back", func(t *testing.T, q pgdbm.Querier) {
		func() {
			defer func() {
				if recover() != "oh" {
					t.Error("the panic did not pass through")
				}
			}()
			_ = q.InTx(t.Context(), nil, func(tx *pgdbm.Tx) error {
				run(t, tx, "INSERT INTO {{tables.items}} VALUES (1)")
				panic("oh")
			})
		}()
		if got := value[int](t, q, "SELECT count(*)::int FROM {{tables.items}}"); got != 0 {
			t.Errorf("%d rows", got)
		}
	})
}

type ident [16]byte

func TestArguments(t *testing.T) {
	t.Parallel()
	db := open(t, pgdbm.Config{}).Schema("public")
	when := time.Date(2026, 2, 3, 4, 5, 6, 789000, time.UTC)
	one, word := 1, "w"
	id := ident{0: 1, 15: 255}
	for _, c := range []struct {
		name string
		sql  string
		arg  any
		want string
	}{
		{"nil", "SELECT ($1::text IS NULL)::text", nil, "true"},
		{"nil pointer", "SELECT ($1::text IS NULL)::text", (*string)(nil), "true"},
		{"nil bytes", "SELECT ($1::bytea IS NULL)::text", []byte(nil), "true"},
		{"empty bytes", "SELECT encode($1, 'hex') || octet_length($1)::text", []byte{}, "0"},
		{"bytes", "SELECT encode($1, 'hex')", []byte{0, 1, 255}, "0001ff"},
		{"byte slices", "SELECT encode(string_agg(b, '-'), 'escape') FROM unnest($1::bytea[]) b", [][]byte{[]byte("a"), {}, []byte(`"{`)}, `a--"{`},
		{"nil in byte slices", "SELECT array_position($1::bytea[], NULL)::text", [][]byte{[]byte("a"), nil}, "2"},
		{"empty string", "SELECT $1::text", "", ""},
		{"string", "SELECT $1::text", `ä'\"{}`, `ä'\"{}`},
		{"string as uuid", "SELECT $1::uuid::text", "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001"},
		{"uuid", "SELECT $1::uuid::text", id, "01000000-0000-0000-0000-0000000000ff"},
		{"array as uuid", "SELECT $1::uuid::text", [16]byte(id), "01000000-0000-0000-0000-0000000000ff"},
		{"strings", "SELECT array_to_string($1::text[], '|', 'null')", []string{"a", "", `"`, `\`, "NULL", "{x,y}"}, `a||"|\|NULL|{x,y}`},
		{"no strings", "SELECT cardinality($1::text[])::text", []string{}, "0"},
		{"nil strings", "SELECT ($1::text[] IS NULL)::text", []string(nil), "true"},
		{"strings as uuids", "SELECT array_to_string($1::uuid[], ',')", []string{"00000000-0000-0000-0000-000000000001"}, "00000000-0000-0000-0000-000000000001"},
		{"uuids", "SELECT array_to_string($1::uuid[], ',')", [][16]byte{id}, "01000000-0000-0000-0000-0000000000ff"},
		{"int32s", "SELECT array_to_string($1::int4[], ',')", []int32{math.MinInt32, 0, 7}, "-2147483648,0,7"},
		{"int64s", "SELECT array_to_string($1::int8[], ',')", []int64{math.MaxInt64, 0}, "9223372036854775807,0"},
		{"ints", "SELECT array_to_string($1::int8[], ',')", []int{1, 2}, "1,2"},
		{"float64s", "SELECT array_to_string($1::float8[], ',')", []float64{0.1, -1e300}, "0.1,-1e+300"},
		{"float32s", "SELECT array_to_string($1::float4[], ',')", []float32{0.1}, "0.1"},
		{"bools", "SELECT array_to_string($1::bool[], ',')", []bool{true, false}, "t,f"},
		{"int", "SELECT ($1::int + 1)::text", 41, "42"},
		{"int as bigint", "SELECT ($1::int8)::text", int64(math.MaxInt64), "9223372036854775807"},
		{"uint8", "SELECT ($1::int)::text", uint8(200), "200"},
		{"float", "SELECT ($1::float8)::text", 0.1, "0.1"},
		{"infinity", "SELECT ($1::float8)::text", math.Inf(-1), "-Infinity"},
		{"bool", "SELECT ($1::bool)::text", true, "true"},
		{"time", "SELECT to_char($1::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')", when, "2026-02-03 04:05:06.000789"},
		{"time elsewhere", "SELECT to_char($1::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')", when.In(time.FixedZone("", -5*3600)), "2026-02-03 04:05:06"},
		{"duration", "SELECT ($1::interval)::text", 90 * time.Second, "00:01:30"},
		{"raw JSON", "SELECT ($1::jsonb ->> 'a')", json.RawMessage(`{"a":"b"}`), "b"},
		{"JSON text", "SELECT ($1::jsonb ->> 'a')", `{"a":"b"}`, "b"},
		{"pointers", "SELECT ($1::int + 1)::text", &one, "2"},
		{"string pointer", "SELECT $1::text", &word, "w"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := value[string](t, db, c.sql, c.arg); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	t.Run("unencodable", func(t *testing.T) {
		_, err := db.Exec(t.Context(), "SELECT $1::text", struct{ Secret string }{"hunter2hunter2"})
		want := "pgdbm: exec: argument $1: a Go value of type struct { Secret string } cannot be encoded [in: SELECT $1::text]"
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %v", err, want)
		}
	})
}

// Values survive the way there and back.
func TestResults(t *testing.T) {
	t.Parallel()
	db := open(t, pgdbm.Config{}).Schema("public")
	type record struct {
		B  []byte
		S  string
		I  int64
		F  float64
		T  time.Time
		J  map[string]any
		U  [16]byte
		A  []string
		N  *string
		IA []int32
	}
	want := record{
		B: []byte{0, 255}, S: "ß", I: math.MinInt64, F: math.SmallestNonzeroFloat64,
		T: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), J: map[string]any{"k": []any{1.0}},
		U: [16]byte{1}, A: []string{"", "x"}, IA: []int32{-1},
	}
	rows, err := db.Query(t.Context(), `SELECT $1::bytea, $2::text, $3::int8, $4::float8, $5::timestamptz, $6::jsonb, $7::uuid, $8::text[], $9::text, $10::int4[]`,
		want.B, want.S, want.I, want.F, want.T, json.RawMessage(`{"k":[1]}`), want.U, want.A, want.N, want.IA)
	must(t, err)
	for _, f := range rows.FieldDescriptions() {
		if f.Format != pgx.BinaryFormatCode {
			t.Errorf("column %s does not come in binary", f.Name)
		}
	}
	got, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[record])
	must(t, err)
	got.T = got.T.UTC()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	db := open(t, pgdbm.Config{MaxConns: 1}).Schema("public")
	rows, err := db.Query(t.Context(), "SELECT 1::int4, 'x'::text")
	must(t, err)
	if !rows.Next() {
		t.Fatal("no row")
	}
	values, err := rows.Values()
	must(t, err)
	if diff := cmp.Diff([]any{int32(1), "x"}, values); diff != "" {
		t.Error(diff)
	}
	if rows.Conn() != nil {
		t.Error("the rows hand out the connection")
	}
	// A failed Scan ends the rows and gives the connection back.
	err = rows.Scan(new(int), new(int))
	var e *pgdbm.Error
	if !errors.As(err, &e) || e.Op != "query" || !errors.Is(rows.Err(), err) || rows.Next() {
		t.Errorf("scan gives %v, then Err %v", err, rows.Err())
	}
	value[int](t, db, "SELECT 1")
}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	var c pgdbm.Counter
	p := open(t, pgdbm.Config{Tracer: &c})
	db := table(t, p, "s")
	check := func(what string, statements, roundTrips int) {
		t.Helper()
		if c.Statements() != statements || c.RoundTrips() != roundTrips {
			t.Errorf("%s: %d statements in %d round trips, want %d in %d", what, c.Statements(), c.RoundTrips(), statements, roundTrips)
		}
		c.Reset()
	}
	c.Reset()
	ctx := t.Context()

	run(t, db, "INSERT INTO {{tables.items}} VALUES (1)")
	check("exec", 1, 1)
	value[int](t, db, "SELECT 1")
	check("query", 1, 1)

	var b pgdbm.Batch
	for range 5 {
		b.Queue("SELECT 1")
	}
	must(t, db.Run(ctx, &b))
	check("batch", 5, 1)

	tx, err := db.Begin(ctx, &pgdbm.TxOptions{Isolation: pgdbm.RepeatableRead, ReadOnly: true}, &b)
	must(t, err)
	check("begin with a batch", 6, 1)
	if got := value[string](t, tx, "SELECT current_setting('transaction_isolation') || current_setting('transaction_read_only')"); got != "repeatable readon" {
		t.Errorf("transaction is %q", got)
	}
	c.Reset()
	must(t, tx.Commit(ctx, &b))
	check("commit with a batch", 6, 1)

	tx, err = db.Begin(ctx, nil, nil)
	must(t, err)
	check("lazy begin", 0, 0)
	sp, err := tx.Begin(ctx, nil, nil)
	must(t, err)
	value[int](t, sp, "SELECT 1")
	check("begin and savepoint sent with the first statement", 3, 1)
	must(t, sp.Commit(ctx, nil))
	check("release", 1, 1)
	must(t, tx.Rollback(ctx))
	check("rollback", 1, 1)

	must(t, db.InTx(ctx, nil, func(*pgdbm.Tx) error { return nil }))
	check("a transaction that did nothing", 0, 0)

	_, err = db.CopyFrom(ctx, "items", []string{"id"}, pgx.CopyFromRows([][]any{{10}, {11}}))
	must(t, err)
	check("copy", 2, 2)

	if _, err := db.Exec(ctx, "SELECT {{ bad }}"); err == nil {
		t.Error("a bad template was sent")
	}
	check("bad template", 0, 0)
}

func TestTracer(t *testing.T) {
	t.Parallel()
	var events []pgdbm.Event
	p := open(t, pgdbm.Config{Tracer: pgdbm.TracerFunc(func(_ context.Context, e pgdbm.Event) { events = append(events, e) })})
	db := table(t, p, "s")
	events = nil
	run(t, db, "INSERT INTO {{tables.items}} VALUES (1), (2)")
	rows, err := db.Query(t.Context(), "SELECT id FROM {{tables.items}}")
	must(t, err)
	_, err = pgx.CollectRows(rows, pgx.RowTo[int])
	must(t, err)
	_, failed := db.Exec(t.Context(), "INSERT INTO {{tables.items}} VALUES ($1)", 1)
	type short struct {
		Kind      pgdbm.Kind
		Statement string
		Rows      int64
		Failed    bool
	}
	var got []short
	for _, e := range events {
		if e.Duration <= 0 || e.Start.IsZero() || e.Schema != "s" {
			t.Errorf("incomplete event %+v", e)
		}
		got = append(got, short{e.Kind, e.Statement, e.Rows, e.Err != nil})
	}
	want := []short{
		{pgdbm.KindExec, "INSERT INTO {{tables.items}} VALUES (1), (2)", 2, false},
		{pgdbm.KindQuery, "SELECT id FROM {{tables.items}}", 2, false},
		{pgdbm.KindExec, "INSERT INTO {{tables.items}} VALUES ($1)", 0, true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !errors.Is(events[2].Err, failed) {
		t.Errorf("traced %v, returned %v", events[2].Err, failed)
	}
}
