package pgdbm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/llmemory/llmemory/internal/pgproxy"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// proxy stands between a pool and the server and can cut the line.
type proxy struct {
	url    string
	mu     sync.Mutex
	onSend func(chunk []byte) bool // reports whether to forward; false cuts the line
	onRecv func(chunk []byte) bool
}

// newProxy starts a proxy before the server of the database at url.
func newProxy(t *testing.T, rawURL string) *proxy {
	t.Helper()
	c, err := pgxpool.ParseConfig(rawURL)
	must(t, err)
	network, address := "tcp", fmt.Sprintf("%s:%d", c.ConnConfig.Host, c.ConnConfig.Port)
	if strings.HasPrefix(c.ConnConfig.Host, "/") {
		network, address = "unix", fmt.Sprintf("%s/.s.PGSQL.%d", c.ConnConfig.Host, c.ConnConfig.Port)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	p := &proxy{url: fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable",
		url.PathEscape(c.ConnConfig.User), l.Addr(), url.PathEscape(c.ConnConfig.Database))}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(network, address)
			if err != nil {
				client.Close()
				continue
			}
			go p.pump(server, client, func() func([]byte) bool { return p.onSend })
			go p.pump(client, server, func() func([]byte) bool { return p.onRecv })
		}
	}()
	return p
}

func (p *proxy) pump(dst, src net.Conn, hook func() func([]byte) bool) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		h := hook()
		p.mu.Unlock()
		if h != nil && !h(buf[:n]) {
			return
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut sets what cuts the line; nil lets all through.
func (p *proxy) cut(onSend, onRecv func([]byte) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onSend, p.onRecv = onSend, onRecv
}

func without(s string) func([]byte) bool {
	return func(chunk []byte) bool { return !strings.Contains(string(chunk), s) }
}

// The fate of a transaction whose line is cut around COMMIT is reported as
// unknown, whichever way it went.
func TestCommitUnknown(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dbURL := pgtest.URL(t)
	table(t, open(t, pgdbm.Config{URL: dbURL}), "s")
	direct := open(t, pgdbm.Config{URL: dbURL}).Schema("s")
	px := newProxy(t, dbURL)
	db := open(t, pgdbm.Config{URL: px.url, MaxConns: 1}).Schema("s")
	for i, c := range []struct {
		name           string
		onSend, onRecv func([]byte) bool
		committed      bool
	}{
		{"COMMIT never arrives", without("COMMIT"), nil, false},
		{"the answer never arrives", nil, without("COMMIT"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			px.cut(nil, nil)
			tx, err := db.Begin(ctx, nil, nil)
			must(t, err)
			run(t, tx, "INSERT INTO {{tables.items}} VALUES ($1)", i)
			var last pgdbm.Batch
			last.Queue("UPDATE {{tables.items}} SET name = 'last'")
			px.cut(c.onSend, c.onRecv)
			err = tx.Commit(ctx, &last)
			px.cut(nil, nil)
			if !errors.Is(err, pgdbm.ErrCommitUnknown) || !pgdbm.IsConnection(err) {
				t.Fatalf("got %v", err)
			}
			must(t, tx.Rollback(ctx))
			got := 0
			for range 100 { // the server may take a moment to notice
				if got = value[int](t, direct, "SELECT count(*)::int FROM {{tables.items}} WHERE id = $1 AND name = 'last'", i); got == 1 == c.committed {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			if got == 1 != c.committed {
				t.Errorf("%d rows", got)
			}
			value[int](t, db, "SELECT 1") // the pool made a new connection
		})
	}
	t.Run("the backend is terminated before", func(t *testing.T) {
		tx, err := db.Begin(ctx, nil, nil)
		must(t, err)
		run(t, tx, "INSERT INTO {{tables.items}} VALUES (77)")
		pid := value[int](t, tx, "SELECT pg_backend_pid()")
		if !value[bool](t, direct, "SELECT pg_terminate_backend($1::int)", pid) {
			t.Fatal("not terminated")
		}
		err = tx.Commit(ctx, nil)
		if err == nil || !pgdbm.IsConnection(err) {
			t.Fatalf("got %v", err)
		}
		if got := value[int](t, direct, "SELECT count(*)::int FROM {{tables.items}} WHERE id = 77"); got != 0 {
			t.Errorf("%d rows", got)
		}
	})
	t.Run("the context ends first", func(t *testing.T) {
		tx, err := db.Begin(ctx, nil, nil)
		must(t, err)
		run(t, tx, "INSERT INTO {{tables.items}} VALUES (78)")
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if err := tx.Commit(ended, nil); !errors.Is(err, context.Canceled) || errors.Is(err, pgdbm.ErrCommitUnknown) {
			t.Fatalf("nothing was sent, got %v", err)
		}
		if got := value[int](t, direct, "SELECT count(*)::int FROM {{tables.items}} WHERE id = 78"); got != 0 {
			t.Errorf("%d rows", got)
		}
		unused(t, db.Pool())
	})
}

// A transaction is undone by the loss of its connection as well as by ROLLBACK.
func TestRollbackOverLostConnection(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dbURL := pgtest.URL(t)
	direct := open(t, pgdbm.Config{URL: dbURL})
	table(t, direct, "s")
	px := newProxy(t, dbURL)
	db := open(t, pgdbm.Config{URL: px.url, MaxConns: 1}).Schema("s")
	tx, err := db.Begin(ctx, nil, nil)
	must(t, err)
	run(t, tx, "INSERT INTO {{tables.items}} VALUES (1)")
	sp, err := tx.Begin(ctx, nil, nil)
	must(t, err)
	run(t, sp, "INSERT INTO {{tables.items}} VALUES (2)")
	px.cut(without("ROLLBACK"), nil)
	if err := sp.Rollback(ctx); !pgdbm.IsConnection(err) { // what is around it is lost too: not what was asked for
		t.Errorf("savepoint: %v", err)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Errorf("after the loss: %v", err)
	}
	px.cut(nil, nil)
	tx, err = db.Begin(ctx, nil, nil)
	must(t, err)
	run(t, tx, "INSERT INTO {{tables.items}} VALUES (3)")
	px.cut(without("ROLLBACK"), nil)
	if err := tx.Rollback(ctx); err != nil {
		t.Errorf("lost in the act: %v", err)
	}
	px.cut(nil, nil)
	if n := value[int](t, direct.Schema("s"), "SELECT count(*)::int FROM {{tables.items}}"); n != 0 {
		t.Errorf("%d rows", n)
	}
	unused(t, db.Pool())
}

// A rollback does not wait for a server that is silent: no longer than its
// context, little longer if that has ended, and not for ever.
func TestRollbackIntoSilence(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.URL(t)
	direct := open(t, pgdbm.Config{URL: dbURL})
	table(t, direct, "s")
	px, through, err := pgproxy.StartFor(dbURL)
	must(t, err)
	defer px.Close()
	db := open(t, pgdbm.Config{URL: through, MaxConns: 3}).Schema("s")
	for _, c := range []struct {
		name    string
		timeout time.Duration // 0 for none
		longest time.Duration
	}{
		{"the context has ended", -1, time.Second},
		{"the context will end", 300 * time.Millisecond, time.Second},
		{"the context will not end", 0, 4 * time.Second},
	} {
		tx, err := db.Begin(t.Context(), nil, nil)
		must(t, err)
		run(t, tx, "INSERT INTO {{tables.items}} VALUES (1)")
		px.Blackhole(true)
		ctx, cancel := t.Context(), context.CancelFunc(func() {})
		if c.timeout != 0 {
			ctx, cancel = context.WithTimeout(ctx, c.timeout)
		}
		start := time.Now()
		if err := tx.Rollback(ctx); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if took := time.Since(start); took < c.timeout || took > c.longest {
			t.Errorf("%s: took %v", c.name, took)
		}
		cancel()
		px.Blackhole(false)
	}
	unused(t, db.Pool())
	if n := value[int](t, direct.Schema("s"), "SELECT count(*)::int FROM {{tables.items}}"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// A connection that cannot be made in time is the connection's fault, also where
// the time is the pool's own.
func TestConnectingIntoSilence(t *testing.T) {
	t.Parallel()
	px, through, err := pgproxy.StartFor(pgtest.URL(t))
	must(t, err)
	defer px.Close()
	p := open(t, pgdbm.Config{URL: through, MaxConns: 1, AcquireTimeout: 100 * time.Millisecond})
	px.CutAll()
	px.Blackhole(true)
	err = p.Ping(t.Context())
	for range 20 { // the pool may not know yet that its connection is gone, or count it until it is cleaned up
		if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, pgdbm.ErrPoolExhausted) {
			break
		}
		err = p.Ping(t.Context())
	}
	if !pgdbm.IsConnection(err) || !pgdbm.IsTimeout(err) || errors.Is(err, pgdbm.ErrPoolExhausted) {
		t.Errorf("got %v", err)
	}
	px.Blackhole(false)
	unused(t, p)
	must(t, p.Ping(t.Context()))
}

// unused fails the test unless all connections come back soon. A closed one
// counts as used until it is cleaned up.
func unused(t *testing.T, p *pgdbm.Pool) {
	t.Helper()
	for range 200 {
		if p.Stats().InUse == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d connections are still in use", p.Stats().InUse)
}

func TestConnectionLost(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dbURL := pgtest.URL(t)
	px := newProxy(t, dbURL)
	db := open(t, pgdbm.Config{URL: px.url, MaxConns: 1}).Schema("public")
	px.cut(nil, without("T_marker"))
	rows, err := db.Query(ctx, "SELECT 'T_marker'")
	if err == nil {
		_, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if !pgdbm.IsConnection(err) {
		t.Errorf("query: %v", err)
	}
	_, err = db.Exec(ctx, "SELECT 'T_marker'")
	if !pgdbm.IsConnection(err) {
		t.Errorf("exec: %v", err)
	}
	px.cut(nil, nil)
	value[int](t, db, "SELECT 1")
	pid := value[int](t, db, "SELECT pg_backend_pid()")
	other := open(t, pgdbm.Config{URL: dbURL}).Schema("public")
	value[bool](t, other, "SELECT pg_terminate_backend($1::int, 5000)", pid)
	if _, err := db.Exec(ctx, "SELECT 1"); err != nil && !pgdbm.IsConnection(err) {
		t.Errorf("after termination: %v", err)
	}
	value[int](t, db, "SELECT 1")
}

// A cancelled call ends soon, leaks no connection and leaves no half state.
func TestCancel(t *testing.T) {
	t.Parallel()
	p := open(t, pgdbm.Config{MaxConns: 1})
	db := table(t, p, "s")
	calls := map[string]func(ctx context.Context) error{
		"exec": func(ctx context.Context) error {
			_, err := db.Exec(ctx, "SELECT pg_sleep(30)")
			return err
		},
		"query": func(ctx context.Context) error {
			rows, err := db.Query(ctx, "SELECT i, pg_sleep(CASE WHEN i > 2 THEN 30 ELSE 0 END)::text FROM generate_series(1, 9) i")
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
			}
			return rows.Err()
		},
		"batch": func(ctx context.Context) error {
			var b pgdbm.Batch
			b.Queue("INSERT INTO {{tables.items}} VALUES (1)")
			b.Queue("SELECT pg_sleep(30)")
			return db.Run(ctx, &b)
		},
		"transaction": func(ctx context.Context) error {
			return db.InTx(ctx, nil, func(tx *pgdbm.Tx) error {
				run(t, tx, "INSERT INTO {{tables.items}} VALUES (2)")
				_, err := tx.Exec(ctx, "SELECT pg_sleep(30)")
				return err
			})
		},
		"copy": func(ctx context.Context) error {
			_, err := db.CopyFrom(ctx, "items", []string{"id"}, pgx.CopyFromFunc(func() ([]any, error) {
				time.Sleep(time.Millisecond)
				return []any{100 + time.Now().Nanosecond()}, nil
			}))
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
			defer cancel()
			start := time.Now()
			err := call(ctx)
			if !errors.Is(err, context.DeadlineExceeded) || !pgdbm.IsTimeout(err) || pgdbm.IsConnection(err) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("took %v", took)
			}
			unused(t, p)
			if got := value[int](t, db, "SELECT count(*)::int FROM {{tables.items}}"); got != 0 {
				t.Errorf("%d rows", got)
			}
		})
	}
}

func TestPoolExhausted(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := open(t, pgdbm.Config{MaxConns: 1, AcquireTimeout: 50 * time.Millisecond})
	db := table(t, p, "s")
	err := db.InTx(ctx, nil, func(tx *pgdbm.Tx) error {
		_, err := db.Exec(ctx, "SELECT 1") // the classic: db instead of tx
		return err
	})
	if !errors.Is(err, pgdbm.ErrPoolExhausted) || !pgdbm.IsTimeout(err) {
		t.Errorf("got %v", err)
	}
	for _, advice := range []string{"all 1 connections", "MaxConns", "inside a transaction use its handle"} {
		if !strings.Contains(fmt.Sprint(err), advice) {
			t.Errorf("%v does not mention %q", err, advice)
		}
	}
	// The caller's own deadline is not the pool's fault, but the pool's state is.
	c, err := db.Acquire(ctx)
	must(t, err)
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := db.Exec(short, "SELECT 1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := db.Exec(cancelled, "SELECT 1"); !errors.Is(err, context.Canceled) || errors.Is(err, pgdbm.ErrPoolExhausted) {
		t.Errorf("got %v", err)
	}
	if s := p.Stats(); s.Max != 1 || s.InUse != 1 || s.Idle != 0 || s.Waits < 1 || s.WaitTime < 0 {
		t.Errorf("stats are %+v", s)
	}
	c.Release()
	c.Release()
	if _, err := c.Exec(ctx, "SELECT 1"); err == nil {
		t.Error("a released connection was used")
	}
	value[int](t, db, "SELECT 1")
	p.Close()
	p.Close()
	if _, err := db.Exec(ctx, "SELECT 1"); !errors.Is(err, pgdbm.ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}

// gate is a server that asks for a password and then has nothing more to offer
// than pings. It counts the attempts.
func gate(t *testing.T, password string, first func(*pgproto3.Backend) bool) (address string, attempts func() int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	var (
		mu sync.Mutex
		n  int
	)
	serve := func(conn net.Conn) {
		defer conn.Close()
		b := pgproto3.NewBackend(conn, conn)
		startup, err := b.ReceiveStartupMessage()
		if err != nil {
			return
		}
		if _, ok := startup.(*pgproto3.StartupMessage); !ok {
			return // a cancel request
		}
		mu.Lock()
		n++
		mu.Unlock()
		if first != nil && !first(b) {
			return
		}
		b.Send(&pgproto3.AuthenticationCleartextPassword{})
		if b.Flush() != nil || b.SetAuthType(pgproto3.AuthTypeCleartextPassword) != nil {
			return
		}
		msg, err := b.Receive()
		if err != nil {
			return
		}
		if got, ok := msg.(*pgproto3.PasswordMessage); !ok || got.Password != password {
			b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: `password authentication failed for user "u"`})
			_ = b.Flush()
			return
		}
		b.Send(&pgproto3.AuthenticationOk{})
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		if b.Flush() != nil {
			return
		}
		for {
			if _, err := b.Receive(); err != nil {
				return
			}
			b.Send(&pgproto3.EmptyQueryResponse{})
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			if b.Flush() != nil {
				return
			}
		}
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return l.Addr().String(), func() int { mu.Lock(); defer mu.Unlock(); return n }
}

const hostile = `a!b@c$d()e*_,/:;=?@ff[]22`

func TestPasswords(t *testing.T) {
	t.Parallel()
	address, attempts := gate(t, hostile, nil)
	u := url.URL{Scheme: "postgres", User: url.UserPassword("u", hostile), Host: address, Path: "/db", RawQuery: "sslmode=disable"}
	p, err := pgdbm.Open(t.Context(), pgdbm.Config{URL: u.String()})
	must(t, err)
	p.Close()
	hostPart, port, err := net.SplitHostPort(address)
	must(t, err)
	dsn := fmt.Sprintf("host=%s port=%s user=u dbname=db sslmode=disable password='%s'", hostPart, port, hostile)
	p, err = pgdbm.Open(t.Context(), pgdbm.Config{URL: dsn})
	must(t, err)
	p.Close()

	before := attempts()
	u.User = url.UserPassword("u", "wrong-secret")
	start := time.Now()
	_, err = pgdbm.Open(t.Context(), pgdbm.Config{URL: u.String()})
	if pgdbm.SQLState(err) != "28P01" || strings.Contains(err.Error(), "wrong-secret") {
		t.Errorf("got %v", err)
	}
	if n := attempts() - before; n != 1 || time.Since(start) > 2*time.Second {
		t.Errorf("%d attempts with a wrong password, in %v", n, time.Since(start))
	}
}

// No form of a broken connection string lets its password out, not even to
// somebody who prints the error's insides.
func TestPasswordsAreNotInErrors(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-Pa55"
	for _, bad := range []string{
		"postgres://u:" + secret + "@host:port/db",
		"postgres://u:" + secret + "/x@host/db",
		"postgres://u:" + secret + "@host/db?sslmode=nonsense",
		"postgres://u@host/db?sslmode=nonsense&password=" + secret,
		"postgres://u:" + secret + "%zz@host/db",
		"postgresql://u:" + secret + "@[::1/db",
		"postgres://u:" + secret + "@host:99999999/db",
		"host=h password=" + secret + " sslmode=nonsense",
		"host=h password='" + secret + " sslmode=nonsense",
		"host=h password = '" + secret + "' port=x",
		"password" + secret,
		"host=h PASSWORD " + secret,
		"postgres://u:" + secret + "@/db?pool_max_conns=x",
	} {
		_, err := pgdbm.Open(t.Context(), pgdbm.Config{URL: bad})
		if err == nil {
			t.Errorf("%s: no error", bad)
			continue
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if s := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(s, secret) {
				t.Errorf("%s: %s", bad, s)
			}
		}
	}
}

// Nor does a URL whose password was not encoded: libpq takes its first @ or / for
// an end, and connecting would show a part of it as the name of a host. The error
// says what to do.
func TestPasswordsNotEncoded(t *testing.T) {
	t.Parallel()
	const want = "pgdbm: invalid configuration: URL is not a valid URL (special characters of a password must be percent-encoded, see url.UserPassword)"
	for _, password := range []string{hostile, "a/b", "1/b", "a@b", "a@b/c", "a@b#c", "a@b?c", "a@b?c&d", "a/b?c", "a%b"} {
		for _, rest := range []string{"@host/db", "@/db?host=/run/postgresql&port=5432", "@host:5432"} {
			_, err := pgdbm.Open(t.Context(), pgdbm.Config{URL: "postgres://u:" + password + rest, ConnectAttempts: 1})
			if !errors.Is(err, pgdbm.ErrConfig) || err.Error() != want {
				t.Errorf("%s%s: got %v", password, rest, err)
			}
		}
	}
	for _, good := range []string{
		"postgres://u:a%2Fb@host1:1,host2:2/db%40x?application_name=a@b:c/d", "postgres://%2Frun%2Fpostgresql/db", "postgres://[::1]:5432/db",
		"postgres://u@/db?host=/run/postgresql", "postgres:///db", "postgres://u:1?b=c#[d]@host/db?user=x@y",
	} {
		if err := (pgdbm.Config{URL: good}).Validate(); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func TestOpenRetries(t *testing.T) {
	t.Parallel()
	t.Run("a server that starts up", func(t *testing.T) {
		t.Parallel()
		n := 0
		address, _ := gate(t, "", func(b *pgproto3.Backend) bool {
			if n++; n >= 3 {
				return true
			}
			b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "57P03", Message: "the database system is starting up"})
			_ = b.Flush()
			return false
		})
		p, err := pgdbm.Open(t.Context(), pgdbm.Config{URL: "postgres://u@" + address + "/db?sslmode=disable"})
		must(t, err)
		p.Close()
	})
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		address := l.Addr().String()
		l.Close()
		_, err = pgdbm.Open(t.Context(), pgdbm.Config{URL: "postgres://u:pw-pw-pw@" + address + "/db", ConnectAttempts: 2})
		if !pgdbm.IsConnection(err) || strings.Contains(err.Error(), "pw-pw-pw") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("unknown database", func(t *testing.T) {
		t.Parallel()
		c, err := pgxpool.ParseConfig(pgtest.URL(t))
		must(t, err)
		c.ConnConfig.Database = "no such database"
		start := time.Now()
		_, err = pgdbm.Open(t.Context(), pgdbm.Config{Pgx: c})
		if pgdbm.SQLState(err) != "3D000" || time.Since(start) > 2*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
	t.Run("the context ends", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, then silence
		must(t, err)
		defer l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err = pgdbm.Open(ctx, pgdbm.Config{URL: "postgres://u@" + l.Addr().String() + "/db?sslmode=disable"})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 3*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

// A pooler that refuses start-up parameters is served without them.
func TestPoolerRefusesStartupParameters(t *testing.T) {
	t.Parallel()
	c, err := pgxpool.ParseConfig(pgtest.URL(t))
	must(t, err)
	network, address := "tcp", fmt.Sprintf("%s:%d", c.ConnConfig.Host, c.ConnConfig.Port)
	if strings.HasPrefix(c.ConnConfig.Host, "/") {
		network, address = "unix", fmt.Sprintf("%s/.s.PGSQL.%d", c.ConnConfig.Host, c.ConnConfig.Port)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				b := pgproto3.NewBackend(conn, conn)
				msg, err := b.ReceiveStartupMessage()
				if err != nil {
					return
				}
				startup, ok := msg.(*pgproto3.StartupMessage)
				if !ok {
					return
				}
				for name := range startup.Parameters {
					switch name {
					case "user", "database", "application_name", "client_encoding", "datestyle", "timezone", "standard_conforming_strings":
					default:
						b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "08P01", Message: "unsupported startup parameter: " + name})
						_ = b.Flush()
						return
					}
				}
				server, err := net.Dial(network, address)
				if err != nil {
					return
				}
				defer server.Close()
				raw, err := startup.Encode(nil)
				if err != nil {
					return
				}
				if _, err := server.Write(raw); err != nil {
					return
				}
				go func() {
					defer conn.Close()
					_, _ = io.Copy(conn, server)
				}()
				_, _ = io.Copy(server, conn)
			}()
		}
	}()
	p := open(t, pgdbm.Config{
		URL: fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", c.ConnConfig.User, l.Addr(), c.ConnConfig.Database),
		// Distinct values, to see that each limit arrives where it belongs.
		StatementTimeout: 1500 * time.Millisecond, LockTimeout: 700 * time.Millisecond, IdleInTransactionTimeout: 900 * time.Millisecond,
	})
	db := p.Schema("public")
	const show = "SELECT concat_ws(' ', current_setting('statement_timeout'), current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout'))"
	if got := value[string](t, db, show); got != "0 0 0" {
		t.Errorf("outside a transaction the limits are %s", got)
	}
	must(t, db.InTx(t.Context(), nil, func(tx *pgdbm.Tx) error {
		if got := value[string](t, tx, show); got != "1500ms 700ms 900ms" {
			t.Errorf("inside a transaction the limits are %s", got)
		}
		return nil
	}))
	start := time.Now()
	// The statement goes on for a while on the server: this pooler passes no
	// cancel requests on.
	if _, err := db.Exec(t.Context(), "SELECT pg_sleep(4)"); !pgdbm.IsTimeout(err) || time.Since(start) > 3*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	must(t, db.Migrate(t.Context(), "m", files("001_index.sql", "-- pgdbm:no-transaction\nCREATE TABLE {{tables.t}} (id int);\nCREATE INDEX CONCURRENTLY t_id ON {{tables.t}} (id)")))
}

func TestServerSideLimits(t *testing.T) {
	t.Parallel()
	const show = "SELECT concat_ws(' ', current_setting('statement_timeout'), current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout'), current_setting('application_name'))"
	dbURL := pgtest.URL(t)
	for _, c := range []struct {
		name   string
		config pgdbm.Config
		want   string
	}{
		{"defaults", pgdbm.Config{}, "1min 5s 1min pgdbm"},
		{"set", pgdbm.Config{StatementTimeout: 2 * time.Second, LockTimeout: 3 * time.Millisecond, IdleInTransactionTimeout: 4 * time.Second, ApplicationName: "x y"}, "2s 3ms 4s x y"},
		{"none", pgdbm.Config{StatementTimeout: -1, LockTimeout: -1, IdleInTransactionTimeout: -1}, "0 0 0 pgdbm"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.config.URL = dbURL
			if got := value[string](t, open(t, c.config).Schema("public"), show); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	u, err := url.Parse(dbURL)
	must(t, err)
	q := u.Query()
	q.Set("lock_timeout", "123")
	q.Set("application_name", "mine")
	u.RawQuery = q.Encode()
	if got := value[string](t, open(t, pgdbm.Config{URL: u.String()}).Schema("public"), show); got != "1min 123ms 1min mine" {
		t.Errorf("what the URL sets should win: got %q", got)
	}
	db := open(t, pgdbm.Config{URL: dbURL, StatementTimeout: 50 * time.Millisecond}).Schema("public")
	_, err = db.Exec(t.Context(), "SELECT pg_sleep(30)")
	if pgdbm.SQLState(err) != "57014" || !pgdbm.IsTimeout(err) {
		t.Errorf("got %v", err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	must(t, pgdbm.Config{}.Validate())
	c, err := pgxpool.ParseConfig("")
	must(t, err)
	err = pgdbm.Config{
		URL: "postgres://h/d", Pgx: c, MinConns: -1, MaxConns: -2, ConnectAttempts: -3, ConnectTimeout: -4,
		ApplicationName: "\x00", LockTimeout: time.Microsecond,
	}.Validate()
	for _, want := range []string{"URL and Pgx", "MinConns is -1", "MaxConns is -2", "ConnectAttempts is -3", "ConnectTimeout is -4ns", "ApplicationName", "lock_timeout is 1µs"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	for _, c := range []pgdbm.Config{{MinConns: 5, MaxConns: 2}, {URL: "postgres://h/d?pool_max_conns=2", MinConns: 5}} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "MinConns is 5") {
			t.Errorf("got %v", err)
		}
	}
}

// Arguments, which may be anybody's private text, are in no error.
func TestErrorsHaveNoArguments(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := table(t, open(t, pgdbm.Config{}), "s")
	const secret = "s3cr3t-argument"
	run(t, db, "CREATE UNIQUE INDEX ON {{tables.items}} (name)")
	run(t, db, "INSERT INTO {{tables.items}} VALUES (1, $1)", secret)
	bad := map[string]func() error{
		"unique": func() error {
			_, err := db.Exec(ctx, "INSERT INTO {{tables.items}} VALUES (2, $1)", secret)
			return err
		},
		"type": func() error {
			_, err := db.Exec(ctx, "SELECT $1::uuid", secret)
			return err
		},
		"type, short": func() error {
			_, err := db.Exec(ctx, "SELECT $1::uuid", "s3c")
			return err
		},
		"number": func() error { return db.QueryRow(ctx, "SELECT $1::int", secret).Scan(new(int)) },
		"json": func() error {
			_, err := db.Exec(ctx, "SELECT $1::jsonb", `{"a": `+secret)
			return err
		},
		"raised": func() error {
			var b pgdbm.Batch
			b.Queue("SELECT 1")
			b.Queue("SELECT 1/(length($1) - length($1))", secret)
			return db.Run(ctx, &b)
		},
		"copy": func() error {
			_, err := db.CopyFrom(ctx, "items", []string{"id", "name"}, pgx.CopyFromRows([][]any{{5, secret}}))
			return err
		},
		"copy type": func() error {
			_, err := db.CopyFrom(ctx, "items", []string{"id"}, pgx.CopyFromRows([][]any{{secret}}))
			return err
		},
	}
	for name, call := range bad {
		err := call()
		var e *pgdbm.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: got %v", name, err)
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if s := fmt.Sprintf("%v %#v", e, e); strings.Contains(s, secret) || strings.Contains(s, `"s3c"`) {
				t.Errorf("%s: %s", name, s)
			}
		}
	}
	_, err := db.Exec(ctx, "INSERT INTO {{tables.items}}\n  VALUES (2, $1)", secret)
	want := `pgdbm: exec: duplicate key value violates unique constraint "items_name_idx" (SQLSTATE 23505) [in: INSERT INTO {{tables.items}} VALUES (2, $1)]`
	if err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	var e *pgdbm.Error
	if !errors.As(err, &e) || e.Constraint != "items_name_idx" || e.Table != "items" {
		t.Errorf("got %+v", e)
	}
}
