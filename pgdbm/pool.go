package pgdbm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Pool is a pool of connections, its own ([Open]) or the host's ([Wrap]). It is
// safe for concurrent use.
type Pool struct {
	pool           *pgxpool.Pool
	owned          bool
	acquireTimeout time.Duration // <= 0: none
	tracer         Tracer
	logger         *slog.Logger

	// localLimits are the server-side limits that every transaction sets for
	// itself, because a pooler refused them as start-up parameters.
	localLimits []setting

	// maps holds type maps, which are not safe for concurrent use and remember
	// how to encode and decode the types they met.
	maps sync.Pool

	defaultMu     sync.Mutex
	defaultSchema string

	renewed atomic.Int64 // when the connections were last made anew, in Unix nanoseconds
}

// WrapOptions are the settings of a borrowed pool. The zero value means
// defaults.
type WrapOptions struct {
	// AcquireTimeout is as in [Config]: default 5 s, negative for none.
	AcquireTimeout time.Duration
	// Tracer is told of every call made through this Pool. Nil means none.
	Tracer Tracer
	// Logger is as in [Config]. Nil means silence.
	Logger *slog.Logger
}

// Open makes a pool and waits until one connection works. Transient failures
// are tried again (see [Config].ConnectAttempts); a wrong password, an unknown
// database and the like fail at once. Errors never contain the password.
//
// The caller must Close the pool.
func Open(ctx context.Context, c Config) (*Pool, error) {
	pc, err := c.poolConfig()
	if err != nil {
		return nil, err
	}
	p := newPool(nil, true, c.AcquireTimeout, c.Tracer, c.Logger)
	start := time.Now()
	p.pool, err = p.connect(ctx, pc, cmp.Or(c.ConnectAttempts, DefaultConnectAttempts), c.settings())
	p.trace(ctx, Event{Kind: KindConnect, Start: start, Err: err})
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Pool) connect(ctx context.Context, pc *pgxpool.Config, attempts int, limits []setting) (*pgxpool.Pool, error) {
	const firstPause, longestPause = 200 * time.Millisecond, 5 * time.Second
	pause := firstPause
	for attempt := 1; ; attempt++ {
		pool, err := tryConnect(ctx, pc)
		if err == nil {
			return pool, nil
		}
		if refusesParameters(err) && p.localLimits == nil {
			for _, s := range limits {
				if _, ok := pc.ConnConfig.RuntimeParams[s.name]; ok && s.value > 0 {
					delete(pc.ConnConfig.RuntimeParams, s.name)
					p.localLimits = append(p.localLimits, s)
				}
			}
			if p.localLimits != nil {
				p.logger.LogAttrs(ctx, slog.LevelInfo, "the server refuses start-up parameters (a transaction pooler?); time limits are set in each transaction")
				attempt--
				continue
			}
		}
		if ctx.Err() != nil {
			return nil, newError("connect", "", fmt.Errorf("%w: %w", ctx.Err(), err), nil)
		}
		if permanent(err) || attempt >= attempts {
			return nil, newError("connect", "", err, nil)
		}
		p.logger.LogAttrs(ctx, slog.LevelWarn, "cannot connect to PostgreSQL yet",
			slog.Int("attempt", attempt), slog.Duration("pause", pause), slog.Any("error", err))
		if !sleep(ctx, jitter(pause)) {
			return nil, newError("connect", "", fmt.Errorf("%w: %w", ctx.Err(), err), nil)
		}
		pause = min(2*pause, longestPause)
	}
}

func tryConnect(ctx context.Context, pc *pgxpool.Config) (*pgxpool.Pool, error) {
	pool, err := pgxpool.NewWithConfig(ctx, pc.Copy())
	if err != nil {
		return nil, err
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// Wrap borrows a pool that somebody else opened. [Pool.Close] will not close
// it, and no connection of it is changed by anything done here: no session
// setting, no named statement, no registered type, no lock outlives the call or
// transaction that needed it. opts may be nil.
func Wrap(pool *pgxpool.Pool, opts *WrapOptions) *Pool {
	if opts == nil {
		opts = &WrapOptions{}
	}
	return newPool(pool, false, opts.AcquireTimeout, opts.Tracer, opts.Logger)
}

func newPool(pool *pgxpool.Pool, owned bool, acquire time.Duration, tracer Tracer, logger *slog.Logger) *Pool {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Pool{
		pool:           pool,
		owned:          owned,
		acquireTimeout: cmp.Or(acquire, DefaultAcquireTimeout),
		tracer:         tracer,
		logger:         logger,
		maps:           sync.Pool{New: func() any { return pgtype.NewMap() }},
	}
}

// Close closes a pool made by [Open], waiting for connections in use to come
// back. On a borrowed pool it does nothing. It may be called more than once.
func (p *Pool) Close() {
	if p.owned {
		p.pool.Close()
	}
}

// Pgx returns the pgx pool underneath.
func (p *Pool) Pgx() *pgxpool.Pool { return p.pool }

// Ping takes a connection and asks the server for a sign of life.
func (p *Pool) Ping(ctx context.Context) error {
	c, err := p.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	return newError("ping", "", c.Conn().PgConn().Ping(ctx), nil)
}

// Stats is a snapshot of a pool, for monitoring. The counters grow from the
// time the pool was opened. On a borrowed pool they include the host's use.
type Stats struct {
	Max          int           // most connections there can be
	Total        int           // connections there are: InUse, Idle and those being made
	InUse        int           // connections lent out now
	Idle         int           // connections ready to be lent
	Connects     int64         // connections made so far
	Acquires     int64         // connections lent so far
	AcquireTime  time.Duration // total time spent acquiring
	Waits        int64         // acquires that had to wait: the pool was empty
	WaitTime     time.Duration // total time of those waits
	CanceledWait int64         // acquires given up: deadline or cancellation
}

// Stats returns a snapshot.
func (p *Pool) Stats() Stats {
	s := p.pool.Stat()
	return Stats{
		Max:          int(s.MaxConns()),
		Total:        int(s.TotalConns()),
		InUse:        int(s.AcquiredConns()),
		Idle:         int(s.IdleConns()),
		Connects:     s.NewConnsCount(),
		Acquires:     s.AcquireCount(),
		AcquireTime:  s.AcquireDuration(),
		Waits:        s.EmptyAcquireCount(),
		WaitTime:     s.EmptyAcquireWaitTime(),
		CanceledWait: s.CanceledAcquireCount(),
	}
}

// Dial opens a connection beside the pool, with the pool's settings and the
// given run-time parameters on top; a pooler that refuses those gets none of
// them. It is for what a borrowed connection must not be used for: listening,
// or statements that take minutes. The caller must close it.
func (p *Pool) Dial(ctx context.Context, params map[string]string) (*pgx.Conn, error) {
	pc := p.pool.Config() // a copy
	c := pc.ConnConfig
	c.Tracer = nil
	if pc.BeforeConnect != nil { // may bring the password
		if err := pc.BeforeConnect(ctx, c); err != nil {
			return nil, newError("connect", "", err, nil)
		}
	}
	maps.Copy(c.RuntimeParams, params)
	conn, err := pgx.ConnectConfig(ctx, c)
	if refusesParameters(err) {
		for name := range params {
			delete(c.RuntimeParams, name)
		}
		conn, err = pgx.ConnectConfig(ctx, c)
	}
	if err != nil {
		return nil, newError("connect", "", err, nil)
	}
	return conn, nil
}

// acquire takes a connection, within the acquire timeout.
func (p *Pool) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	limited, cancel := ctx, context.CancelFunc(func() {})
	if p.acquireTimeout > 0 {
		limited, cancel = context.WithTimeout(ctx, p.acquireTimeout)
	}
	defer cancel()
	c, err := p.pool.Acquire(limited)
	if err == nil {
		return c, nil
	}
	if limited.Err() == nil || errors.Is(ctx.Err(), context.Canceled) {
		return nil, newError("acquire", "", err, nil)
	}
	// Out of time. Say which kind of waiting it was.
	s := p.Stats()
	if s.InUse < s.Max {
		return nil, newError("acquire", "", fmt.Errorf("%w: %w", errNotConnected, err), nil)
	}
	return nil, newError("acquire", "", fmt.Errorf(
		"%w: all %d connections were in use for the whole wait; raise MaxConns, close rows, shorten transactions, and inside a transaction use its handle: %w",
		ErrPoolExhausted, s.Max, context.DeadlineExceeded), nil)
}

// staleKey marks a connection, in its custom data, that is not to be lent again.
const staleKey = "pgdbm: stale"

// lend takes a connection and returns it with what gives it back.
func (p *Pool) lend(ctx context.Context) (*pgx.Conn, func(), error) {
	c, err := p.acquire(ctx)
	if err != nil {
		return nil, nil, err
	}
	conn := c.Conn()
	custom := conn.PgConn().CustomData()
	delete(custom, staleKey) // left by a transaction of the host's
	return conn, func() {
		if custom[staleKey] != nil {
			ctx, cancel := context.WithTimeout(context.Background(), abortTimeout)
			defer cancel()
			_ = conn.Close(ctx) // what is closed does not go back into the pool
		}
		c.Release()
	}, nil
}

// renewEvery is how often at most all connections are made anew.
const renewEvery = time.Second

// observe looks at how a call on conn ended. A server that refuses to write has
// become a replica, or another has taken its place: as long as connections to it
// are in the pool, writes would go on to fail. So the connection is not used
// again, and in a pool of our own neither are the others; new ones are made to
// wherever the configuration leads now, see target_session_attrs.
func (p *Pool) observe(conn *pgx.Conn, err error) {
	if !IsReadOnly(err) {
		return
	}
	conn.PgConn().CustomData()[staleKey] = true
	now, last := time.Now().UnixNano(), p.renewed.Load()
	if p.owned && now-last >= int64(renewEvery) && p.renewed.CompareAndSwap(last, now) {
		p.pool.Reset()
	}
}

// callContext bounds a single call where the server cannot.
func (p *Pool) callContext(ctx context.Context) (context.Context, context.CancelFunc) {
	for _, s := range p.localLimits {
		if s.name == "statement_timeout" {
			return context.WithTimeout(ctx, s.value)
		}
	}
	return ctx, func() {}
}

// limitCommands sets the limits of a transaction that its connection lacks.
func (p *Pool) limitCommands() []*statement {
	var out []*statement
	for _, s := range p.localLimits {
		out = append(out, command("SET LOCAL "+s.name+" = "+strconv.FormatInt(s.value.Milliseconds(), 10)))
	}
	return out
}

func (p *Pool) typeMap() *pgtype.Map { return p.maps.Get().(*pgtype.Map) }

func (p *Pool) trace(ctx context.Context, e Event) {
	if p.tracer == nil {
		return
	}
	e.Duration = time.Since(e.Start)
	p.tracer.Trace(ctx, e)
}

// sleep waits for d and reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// jitter returns a random duration between half of d and d, so that processes
// started together do not keep colliding.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}
