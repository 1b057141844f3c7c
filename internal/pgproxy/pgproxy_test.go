package pgproxy_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory/internal/pgproxy"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// start puts a proxy in front of a new database and returns the URLs through it
// and past it.
func start(t *testing.T) (p *pgproxy.Proxy, through, direct string) {
	t.Helper()
	direct = pgtest.URL(t)
	p, through, err := pgproxy.StartFor(direct)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, through, direct
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	// The proxy may have cut it: no error of Close would mean anything.
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func rows(t *testing.T, conn *pgx.Conn) int {
	t.Helper()
	var n int
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM t").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPassesTraffic(t *testing.T) {
	t.Parallel()
	_, through, _ := start(t)
	conn := connect(t, through)
	var sum, size int
	err := conn.QueryRow(t.Context(), "SELECT sum(n), sum(length(repeat('x', 1000))) FROM generate_series(1, $1::int) AS n", 5000).Scan(&sum, &size)
	if err != nil || sum != 12502500 || size != 5_000_000 {
		t.Errorf("sum = %d, size = %d, %v", sum, size, err)
	}
	if _, err := conn.Exec(t.Context(), "CREATE TABLE t (id int)"); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.CopyFrom(t.Context(), pgx.Identifier{"t"}, []string{"id"}, pgx.CopyFromRows([][]any{{1}, {2}, {3}})); err != nil || n != 3 {
		t.Errorf("CopyFrom = %d, %v", n, err)
	}
}

func TestDeclinesEncryption(t *testing.T) {
	t.Parallel()
	_, through, _ := start(t)
	conn := connect(t, strings.Replace(through, "sslmode=disable", "sslmode=prefer", 1))
	if err := conn.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCountsMessages(t *testing.T) {
	t.Parallel()
	p, through, _ := start(t)
	p.Arm()
	conn := connect(t, through)
	if n := p.Messages(); n != 0 {
		t.Errorf("start-up counted as %d messages", n)
	}
	// The simple protocol sends one Query each.
	for range 2 {
		if _, err := conn.Exec(t.Context(), "SELECT 1", pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.Messages(); n != 2 {
		t.Errorf("two simple queries were %d messages", n)
	}
	// Unnamed extended: Parse, Bind, Describe, Execute, Sync.
	p.Arm()
	if _, err := conn.Exec(t.Context(), "SELECT $1::int", pgx.QueryExecModeExec, 1); err != nil {
		t.Fatal(err)
	}
	if n, kinds := p.Messages(), p.Kinds(); n != 5 || kinds != "PBDES" {
		t.Errorf("an extended query was %d messages, %s, want 5, PBDES", n, kinds)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := p.Messages(); n != 5 {
		t.Errorf("Terminate was counted: %d messages", n)
	}
}

// insert is an operation of several messages: a transaction with one row.
func insert(ctx context.Context, conn *pgx.Conn) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO t VALUES ($1)", pgx.QueryExecModeExec, 1)
		return err
	})
}

func TestEveryCut(t *testing.T) {
	t.Parallel()
	p, through, direct := start(t)
	watcher := connect(t, direct)
	if _, err := watcher.Exec(t.Context(), "CREATE TABLE t (id int)"); err != nil {
		t.Fatal(err)
	}
	p.Arm()
	if err := insert(t.Context(), connect(t, through)); err != nil {
		t.Fatal(err)
	}
	messages := p.Messages()
	// begin, commit: one Query each; the insert: Parse, Bind, Describe, Execute, Sync.
	if messages != 7 {
		t.Fatalf("the operation has %d messages, want 7", messages)
	}
	stored := rows(t, watcher)
	for k := 1; k <= messages; k++ {
		cuts := []struct {
			name   string
			cut    func(int)
			commit bool // the server got the COMMIT
		}{{"before", p.CutBefore, false}, {"after", p.CutAfter, k == messages}}
		for _, tt := range cuts {
			p.Reset()
			conn := connect(t, through)
			tt.cut(k)
			if err := insert(t.Context(), conn); err == nil {
				t.Errorf("cut %s message %d: the operation succeeded", tt.name, k)
			}
			if n := p.Messages(); n != k {
				t.Errorf("cut %s message %d: %d messages counted", tt.name, k, n)
			}
			if tt.commit {
				stored++
			}
			// At once, without waiting: the cut comes when the server is done.
			if n := rows(t, watcher); n != stored {
				t.Errorf("cut %s message %d: %d rows, want %d", tt.name, k, n, stored)
				stored = n
			}
		}
	}
	// A new connection works, cuts hit once.
	if err := insert(t.Context(), connect(t, through)); err != nil {
		t.Errorf("after the cuts: %v", err)
	}
}

// A cut does not wait for ever for a statement that waits for somebody else.
func TestCutBehindALock(t *testing.T) {
	t.Parallel()
	p, through, direct := start(t)
	holder := connect(t, direct)
	for _, sql := range []string{"CREATE TABLE t (id int)", "BEGIN", "LOCK TABLE t"} {
		if _, err := holder.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	conn := connect(t, through)
	p.CutAfter(1)
	started := time.Now()
	if _, err := conn.Exec(t.Context(), "INSERT INTO t VALUES (1)", pgx.QueryExecModeSimpleProtocol); err == nil {
		t.Error("the insert succeeded")
	}
	if took := time.Since(started); took < 4*time.Second || took > 20*time.Second {
		t.Errorf("the cut came after %v, want about 5 s", took)
	}
}

func TestLatency(t *testing.T) {
	t.Parallel()
	p, through, _ := start(t)
	conn := connect(t, through)
	p.Latency(200 * time.Millisecond)
	started := time.Now()
	if _, err := conn.Exec(t.Context(), "SELECT $1::int", pgx.QueryExecModeExec, 1); err != nil {
		t.Fatal(err)
	}
	// Once there and once back. Were each of the five messages there delayed by
	// itself, it would be 1.2 s at least.
	if took := time.Since(started); took < 400*time.Millisecond || took >= 1200*time.Millisecond {
		t.Errorf("a round trip took %v, want little more than 400 ms", took)
	}
}

func TestBlackhole(t *testing.T) {
	t.Parallel()
	p, through, _ := start(t)
	conn := connect(t, through)
	p.Blackhole(true)
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT 1", pgx.QueryExecModeSimpleProtocol)
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Fatalf("the query came through a black hole: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	p.Blackhole(false)
	if err := <-ended; err != nil {
		t.Errorf("after the black hole: %v", err)
	}

	p.Blackhole(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := conn.Exec(ctx, "SELECT 1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("query into a black hole: %v, want its deadline", err)
	}
}

func TestCutAllAndClose(t *testing.T) {
	t.Parallel()
	p, through, _ := start(t)
	conn := connect(t, through)
	p.CutAll()
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("a cut connection answers")
	}
	conn = connect(t, through)
	extra, _, err := pgproxy.StartFor(through) // a proxy through a proxy
	if err != nil {
		t.Fatal(err)
	}
	if err := extra.Close(); err != nil {
		t.Error(err)
	}
	if err := conn.Ping(t.Context()); err != nil {
		t.Errorf("closing another proxy cut this one's connection: %v", err)
	}
}

func TestServerIsNotThere(t *testing.T) {
	t.Parallel()
	p, err := pgproxy.Start("unix", "/nonexistent/.s.PGSQL.5432")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://x@%s/x?sslmode=disable", p.Addr())); err == nil {
		t.Error("connected to nothing")
	}
	if _, err := pgproxy.Start("udp", "127.0.0.1:1"); err == nil {
		t.Error("Start takes a network that PostgreSQL does not speak")
	}
}
