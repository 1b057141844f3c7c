package pgdbm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// fiveFiles has all kinds of files.
func fiveFiles() fstest.MapFS {
	f := twoFiles()
	f["003_slow.sql"] = &fstest.MapFile{Data: []byte("SELECT pg_sleep(0.1); CREATE TABLE {{tables.slow}} (id int)")}
	f["004_index.sql"] = &fstest.MapFile{Data: []byte(noTransaction + "CREATE INDEX CONCURRENTLY slow_id ON {{tables.slow}} (id);\nCREATE INDEX CONCURRENTLY slow_id2 ON {{tables.slow}} (id, id);")}
	f["005_last.sql"] = &fstest.MapFile{Data: []byte("ALTER TABLE {{tables.slow}} ADD COLUMN name text")}
	return f
}

const childURL = "PGDBM_TEST_CHILD_URL"

// migrateChild is a process of its own that starts up and serves a little. It
// prints how many files it applied.
func migrateChild(url string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	err := func() error {
		p, err := pgdbm.Open(ctx, pgdbm.Config{URL: url, MaxConns: 2})
		if err != nil {
			return err
		}
		defer p.Close()
		db := p.Schema("Stam pede")
		done, err := db.Migrations("m", fiveFiles(), nil).Up(ctx)
		if err != nil {
			return err
		}
		var n int
		if err := db.QueryRow(ctx, "SELECT count(name)::int FROM {{tables.slow}}").Scan(&n); err != nil {
			return err
		}
		fmt.Print(strings.Repeat("x", len(done)))
		return nil
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Eight processes start at the same moment on an empty database; all succeed,
// and each file is applied once. Directly, and behind a transaction pooler with
// a single server connection, where a session lock would go astray.
func TestMigrateStampedeOfProcesses(t *testing.T) {
	t.Parallel()
	for _, pooled := range []bool{false, true} {
		t.Run(fmt.Sprintf("pooled %v", pooled), func(t *testing.T) {
			for round := range 2 {
				url := pgtest.URL(t)
				through := url
				if pooled {
					through = pgtest.Bouncer(t, url, pgtest.BouncerOptions{})
				}
				const processes = 8
				var (
					wg     sync.WaitGroup
					out    [processes]bytes.Buffer
					stderr [processes]bytes.Buffer
				)
				for i := range processes {
					cmd := exec.CommandContext(t.Context(), os.Args[0])
					// The race detector would have each process sleep for a second at its end.
					cmd.Env = append(os.Environ(), childURL+"="+through, "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
					cmd.Stdout, cmd.Stderr = &out[i], &stderr[i]
					wg.Go(func() {
						if err := cmd.Run(); err != nil {
							t.Errorf("round %d, process %d: %v: %s", round, i, err, stderr[i].String())
						}
					})
				}
				wg.Wait()
				applied := 0
				for i := range out {
					applied += out[i].Len()
				}
				if want := len(fiveFiles()) - 1; applied != want { // README.md is none
					t.Errorf("round %d: %d files were applied in all, want %d", round, applied, want)
				}
				must(t, open(t, pgdbm.Config{URL: url}).Schema("Stam pede").Migrations("m", fiveFiles(), nil).Verify(t.Context()))
			}
		})
	}
}

// Everything works through a transaction pooler with one server connection
// that several clients share.
func TestThroughPooler(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	through := pgtest.Bouncer(t, url, pgtest.BouncerOptions{})
	owned := open(t, pgdbm.Config{URL: through, MaxConns: 4})
	borrowed := pgdbm.Wrap(host(t, through, func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement }), nil)
	run(t, table(t, owned, "s"), "DROP SCHEMA {{schema}} CASCADE")
	for i, p := range []*pgdbm.Pool{owned, borrowed} {
		db := table(t, p, fmt.Sprint("s", i))
		var wg sync.WaitGroup
		for worker := range 6 {
			wg.Go(func() {
				for n := range 10 {
					id := worker*100 + n
					var first, last pgdbm.Batch
					first.Queue("INSERT INTO {{tables.items}} VALUES ($1, $2)", id, "x")
					last.Queue("UPDATE {{tables.items}} SET name = $2 WHERE id = $1", id, "y")
					tx, err := db.Begin(t.Context(), &pgdbm.TxOptions{Isolation: pgdbm.RepeatableRead}, &first)
					if err == nil {
						err = tx.Savepoint(t.Context(), func(tx *pgdbm.Tx) error {
							_, err := tx.CopyFrom(t.Context(), "items", []string{"id"}, pgx.CopyFromRows([][]any{{id + 10000}}))
							return err
						})
					}
					if err == nil {
						err = tx.Commit(t.Context(), &last)
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if got := value[string](t, db, "SELECT count(name) || ' of ' || count(*) FROM {{tables.items}}"); got != "60 of 120" {
			t.Errorf("rows: %s", got)
		}
		must(t, db.Migrate(t.Context(), "m", fiveFiles()))
	}
}

const noTransaction = "-- pgdbm:no-transaction\n"

func TestMigrateNoTransaction(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := open(t, pgdbm.Config{MaxConns: 1})

	t.Run("goes on after a failure", func(t *testing.T) {
		db := table(t, p, "resume")
		f := files("001_x.sql", noTransaction+`
INSERT INTO {{tables.items}} VALUES (1, 'a;b'); -- once only
INSERT INTO {{tables.items}} SELECT 2 FROM {{tables.gate}};
INSERT INTO {{tables.items}} VALUES (3);
`)
		err := db.Migrate(ctx, "m", f)
		var me *pgdbm.MigrationError
		if !errors.As(err, &me) || me.Line != 4 || me.Column != 44 || !pgdbm.IsUndefined(err) {
			t.Fatalf("got %v", err)
		}
		status, err := db.Migrations("m", f, nil).Status(ctx)
		must(t, err)
		if status[0].State != pgdbm.MigrationPending || !status[0].NoTransaction {
			t.Errorf("status is %+v", status[0])
		}
		edited := files("001_x.sql", noTransaction+"SELECT 1")
		if err := db.Migrate(ctx, "m", edited); !errors.Is(err, pgdbm.ErrChanged) || !strings.Contains(err.Error(), "1 of its statements were already run") {
			t.Errorf("edited after it was partly run: %v", err)
		}
		run(t, db, "CREATE TABLE {{tables.gate}} AS SELECT 1 AS x")
		start := time.Now()
		must(t, db.Migrate(ctx, "m", f))
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("the lease of the failed try was waited for: %v", took)
		}
		if got := value[string](t, db, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM {{tables.items}}"); got != "1 2 3" {
			t.Errorf("rows %s", got)
		}
		if got := value[int](t, db, "SELECT count(*)::int FROM {{tables.schema_migrations_progress}}"); got != 0 {
			t.Errorf("%d rows of progress are left", got)
		}
	})

	t.Run("an invalid index is rebuilt", func(t *testing.T) {
		db := table(t, p, "index")
		run(t, db, "INSERT INTO {{tables.items}} VALUES (1, 'same'), (2, 'same')")
		f := files("001_x.sql", noTransaction+"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"By Name\" ON {{tables.items}} (name)")
		m := db.Migrations("m", f, nil)
		if _, err := m.Up(ctx); !pgdbm.IsUniqueViolation(err) {
			t.Fatalf("got %v", err)
		}
		if err := m.Verify(ctx); !errors.Is(err, pgdbm.ErrInvalidIndex) || !strings.Contains(err.Error(), "By Name") {
			t.Errorf("verify: %v", err)
		}
		run(t, db, "DELETE FROM {{tables.items}} WHERE id = 2")
		_, err := m.Up(ctx)
		must(t, err)
		must(t, m.Verify(ctx))
		if !value[bool](t, db, "SELECT indisvalid FROM pg_index WHERE indexrelid::regclass::text = 'index.\"By Name\"'") {
			t.Error("the index is not valid")
		}
	})

	t.Run("an index built but not recorded is kept", func(t *testing.T) {
		db := table(t, p, "kept")
		run(t, db, "CREATE INDEX by_name ON {{tables.items}} (name)")
		f := files("001_x.sql", noTransaction+"CREATE INDEX CONCURRENTLY by_name ON {{tables.items}} (name)")
		// An index that this migration never began to make is somebody else's.
		if err := db.Migrate(ctx, "m", f); pgdbm.SQLState(err) != "42P07" {
			t.Fatalf("got %v", err)
		}
		// Now progress says that it was begun, as after a crash.
		must(t, db.Migrate(ctx, "m", f))
	})

	t.Run("down", func(t *testing.T) {
		db := table(t, p, "down")
		f := files(
			"001_x.sql", noTransaction+"CREATE INDEX CONCURRENTLY by_name ON {{tables.items}} (name)",
			"001_x.down.sql", noTransaction+"DROP INDEX CONCURRENTLY {{tables.by_name}}",
		)
		m := db.Migrations("m", f, nil)
		for range 2 {
			_, err := m.Up(ctx)
			must(t, err)
			_, err = m.Down(ctx, 0)
			must(t, err)
		}
		if got := value[int](t, db, "SELECT count(*)::int FROM pg_indexes WHERE schemaname = 'down' AND indexname = 'by_name'"); got != 0 {
			t.Error("the index is still there")
		}
	})
}

// A process that died while it held the lease is replaced when the lease ends,
// but not while its statement is still running on the server.
func TestMigrateLease(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url := pgtest.URL(t)
	p := open(t, pgdbm.Config{URL: url})
	db := table(t, p, "s")
	f := files("001_x.sql", noTransaction+"INSERT INTO {{tables.items}} VALUES (1); SELECT pg_sleep(1.5); INSERT INTO {{tables.items}} VALUES (2);")
	opts := &pgdbm.MigrateOptions{Lease: 300 * time.Millisecond}

	// The first migrator can renew nothing: its pool has one connection, and the
	// host is holding it whenever it can.
	first := make(chan error, 1)
	starving := open(t, pgdbm.Config{URL: url, MaxConns: 1})
	go func() {
		_, err := starving.Schema("s").Migrations("m", f, opts).Up(ctx)
		first <- err
	}()
	for value[int](t, db, "SELECT count(*)::int FROM pg_stat_activity WHERE state = 'active' AND query LIKE '/* pgdbm:%pg_sleep%'") == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	held, err := starving.Schema("s").Acquire(ctx)
	must(t, err)
	second := make(chan error, 1)
	go func() {
		_, err := db.Migrations("m", f, opts).Up(ctx)
		second <- err
	}()
	time.Sleep(900 * time.Millisecond) // three leases: only the running statement speaks for the first now
	if got := value[int](t, db, "SELECT count(*)::int FROM pg_stat_activity WHERE state = 'active' AND query LIKE '/* pgdbm:%pg_sleep%'"); got != 1 {
		t.Errorf("%d processes run the file", got)
	}
	held.Release()
	must(t, <-first)
	must(t, <-second)
	if got := value[int](t, db, "SELECT count(*)::int FROM {{tables.items}}"); got != 2 {
		t.Errorf("%d rows", got)
	}

	// A dead owner: an expired lease, no statement.
	g := files("001_x.sql", noTransaction+"INSERT INTO {{tables.items}} VALUES (3)")
	run(t, db, `INSERT INTO {{tables.schema_migrations_progress}} (module, version, checksum, owner, lease_until)
VALUES ('g', 1, 'unknown', 'the dead', now() + interval '700 milliseconds')`)
	start := time.Now()
	_, err = db.Migrations("g", g, opts).Up(ctx)
	must(t, err)
	if took := time.Since(start); took < 500*time.Millisecond || took > 10*time.Second {
		t.Errorf("a lease of 700 ms was waited for %v", took)
	}

	// Who lost the lease stops.
	h := files("001_x.sql", noTransaction+"UPDATE {{tables.schema_migrations_progress}} SET owner = 'usurper'; INSERT INTO {{tables.items}} VALUES (4)")
	if _, err := db.Migrations("h", h, opts).Up(ctx); !errors.Is(err, pgdbm.ErrLeaseLost) {
		t.Errorf("got %v", err)
	}
	if got := value[int](t, db, "SELECT count(*)::int FROM {{tables.items}} WHERE id = 4"); got != 0 {
		t.Error("it went on without the lease")
	}
}
