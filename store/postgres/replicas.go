package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm"
)

// DefaultMaxReplicaLag is the default of [Options].MaxReplicaLag.
const DefaultMaxReplicaLag = 5 * time.Second

const (
	lookEvery   = time.Second     // how often servers are looked at
	lookTimeout = 2 * time.Second // how long a server may take to answer a look
)

// replicas are the servers that answer reads in place of the primary. Each is looked at once a second, and is asked while it is a
// replica of the primary and not too far behind. What it answers counts only if it says in the same round trip that this is still so.
//
// How far behind a replica is, this process's clock tells, and no other: it notes which position of the log the primary had at what
// time. A replica that has come as far as a position shows all that was committed by then. So an idle primary makes nobody lag, a
// replica that is cut off from it does, and clocks may differ.
type replicas struct {
	primary *pgdbm.Pool
	conn    link // to the primary
	list    []*replica
	maxLag  time.Duration
	logger  *slog.Logger
	turn    atomic.Uint64
	stop    context.CancelFunc
	stopped chan struct{}

	mu     sync.Mutex
	home   identity // of the primary, when it answered last
	marks  []mark   // ascending
	silent bool     // the primary does not answer
}

// mark is a position of the primary's log, with the times between which it was known to be there.
type mark struct {
	position    int64
	first, last time.Time
}

// replica is one of the servers.
type replica struct {
	name   string
	config pgdbm.Config
	schema string
	pool   *pgdbm.Pool // nil until it was reached; like conn and same for the watcher alone
	conn   link
	same   bool // it was found to be of the same cluster

	mu     sync.Mutex
	db     *pgdbm.DB
	alive  context.Context // ends when the server is found not to answer
	end    context.CancelFunc
	why    error // why it is not asked; nil if it is
	behind time.Duration
}

// ReplicaStatus is what a store knows of a server that [Options].ReadURLs names.
type ReplicaStatus struct {
	Server string        // host, port and database
	Used   bool          // reads are sent to it
	Lag    time.Duration // how far it was behind when it was looked at last, at most; 0 if it had everything
	Err    error         // why it is not used
}

// Replicas tells which of the read replicas are used. Nil without [Options].ReadURLs.
func (s *Store) Replicas() []ReplicaStatus {
	if s.replicas == nil {
		return nil
	}
	out := make([]ReplicaStatus, len(s.replicas.list))
	for i, r := range s.replicas.list {
		r.mu.Lock()
		out[i] = ReplicaStatus{Server: r.name, Used: r.why == nil, Lag: r.behind, Err: r.why}
		r.mu.Unlock()
	}
	return out
}

// Primary implements [llmemory.Replicated].
func (s *Store) Primary() llmemory.Store {
	if s.primary == nil {
		return s
	}
	return s.primary
}

// watch begins to look after the replicas, and returns when each has been looked at once.
func watch(ctx context.Context, db *pgdbm.DB, o Options) (*replicas, error) {
	if o.MaxReplicaLag < 0 {
		return nil, &llmemory.InvalidError{Field: "MaxReplicaLag", Rule: fmt.Sprintf("must not be negative, is %s", o.MaxReplicaLag)}
	}
	rs := &replicas{primary: db.Pool(), maxLag: cmp.Or(o.MaxReplicaLag, DefaultMaxReplicaLag), logger: o.Pool.Logger, stopped: make(chan struct{})}
	if rs.logger == nil {
		rs.logger = slog.New(slog.DiscardHandler)
	}
	for i, url := range o.ReadURLs {
		c := o.Pool
		c.URL, c.Pgx, c.ConnectAttempts = url, nil, 1
		if err := c.Validate(); err != nil {
			return nil, fmt.Errorf("read URL %d: %w", i+1, err)
		}
		target, err := pgx.ParseConfig(url)
		if err != nil { // it was parsed just now; the error would show the password
			return nil, fmt.Errorf("read URL %d: cannot be parsed", i+1)
		}
		name := net.JoinHostPort(target.Host, strconv.Itoa(int(target.Port))) + "/" + target.Database
		rs.list = append(rs.list, &replica{name: name, config: c, schema: db.SchemaName(), why: errors.New("it was not looked at yet")})
	}
	rs.mark(ctx)
	// The server writes what it is at several times a second.
	for tries := 0; tries < 40 && !rs.silent && len(rs.marks) == 0 && ctx.Err() == nil; tries++ {
		time.Sleep(50 * time.Millisecond)
		rs.mark(ctx)
	}
	rs.look(ctx)
	ctx, rs.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(rs.stopped)
		ticker := time.NewTicker(min(lookEvery, max(rs.maxLag/2, 10*time.Millisecond)))
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				var wg sync.WaitGroup
				wg.Go(func() { rs.mark(ctx) })
				rs.look(ctx)
				wg.Wait()
			}
		}
	}()
	return rs, nil
}

// close ends the watching and closes the pools.
func (rs *replicas) close() {
	rs.stop()
	<-rs.stopped
	rs.conn.close()
	for _, r := range rs.list {
		r.set(llmemory.ErrClosed, 0)
		r.conn.close()
		if r.pool != nil {
			r.pool.Close()
		}
	}
}

// mark notes how far the primary's log has come.
func (rs *replicas) mark(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	now := time.Now()
	// What is flushed is what replicas get. At the border of a page it may be half a record, which they cannot replay before they have
	// the rest: such a position says nothing, unless nothing but the header of the next page (24 bytes, 40 at the start of a segment)
	// comes after it, as is so after a segment was ended early.
	var position *int64
	err := rs.conn.ask(ctx, rs.primary, `SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE (
		SELECT CASE WHEN flushed % current_setting('wal_block_size')::integer > 0 OR inserted = flushed
			OR inserted - flushed = CASE WHEN flushed % pg_size_bytes(current_setting('wal_segment_size')) = 0 THEN 40 ELSE 24 END
			THEN flushed ELSE -1 END
		FROM (SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint AS flushed,
			pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS inserted) log) END`, &position)
	rs.mu.Lock()
	home, returned := rs.home, rs.silent
	rs.mu.Unlock()
	if err == nil && position != nil && (returned || home == (identity{})) {
		home, err = identify(ctx, &rs.conn, rs.primary)
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.silent = err != nil || position == nil; rs.silent {
		return
	}
	rs.home = home
	if *position < 0 {
		return
	}
	n := len(rs.marks)
	switch {
	case n > 0 && *position == rs.marks[n-1].position:
		rs.marks[n-1].last = now
	case n > 0 && *position < rs.marks[n-1].position: // another server has taken its place, and some of the log is lost
		rs.marks = []mark{{*position, now, now}}
	default:
		rs.marks = append(rs.marks, mark{*position, now, now})
	}
	rs.marks = rs.marks[rs.due(now):]
}

// due returns the index of the mark that a replica must have reached: the newest that is old enough, or the first.
func (rs *replicas) due(now time.Time) int {
	i := len(rs.marks) - 1
	for ; i > 0 && now.Sub(rs.marks[i].first) < rs.maxLag; i-- {
	}
	return max(i, 0)
}

// standing is what a server says about itself.
type standing struct {
	recovering bool
	position   *int64
}

const askStanding = `SELECT pg_is_in_recovery(), pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint`

// judge returns how far behind a server is that says this of itself, or why it is not to be asked.
func (rs *replicas) judge(s standing) (behind time.Duration, err error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	switch {
	case !s.recovering:
		return 0, errors.New("it is no replica: it was promoted, or was never one")
	case s.position == nil:
		return 0, errors.New("it does not tell how far it has come")
	case len(rs.marks) == 0:
		return 0, errors.New("how far the primary has come is not known yet")
	}
	now := time.Now()
	if newest := len(rs.marks) - 1; *s.position < rs.marks[newest].position {
		behind = now.Sub(rs.marks[0].first)
		for _, m := range rs.marks {
			if m.position <= *s.position {
				behind = now.Sub(m.last)
			}
		}
	}
	switch due := rs.marks[rs.due(now)]; {
	case *s.position >= due.position:
		return behind, nil
	case now.Sub(due.first) < rs.maxLag:
		return behind, errors.New("it lacks what the primary had when it was looked at first")
	}
	return behind, fmt.Errorf("it is behind by more than %s", rs.maxLag)
}

// look looks at all replicas.
func (rs *replicas) look(ctx context.Context) {
	var wg sync.WaitGroup
	for _, r := range rs.list {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, lookTimeout)
			defer cancel()
			answered, behind, err := rs.examine(ctx, r)
			if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
				return
			}
			if !answered {
				r.leave()
			}
			if changed := r.set(err, behind); changed && err != nil {
				rs.logger.WarnContext(ctx, "llmemory: a read replica is not used", "replica", r.name, "error", err)
			} else if changed {
				rs.logger.InfoContext(ctx, "llmemory: a read replica is used", "replica", r.name)
			}
		})
	}
	wg.Wait()
}

// examine looks at a replica.
func (rs *replicas) examine(ctx context.Context, r *replica) (answered bool, behind time.Duration, err error) {
	if r.pool == nil {
		pool, err := pgdbm.Open(ctx, r.config)
		if err != nil {
			return false, 0, err
		}
		r.pool = pool
		r.mu.Lock()
		r.db = pool.Schema(r.schema)
		r.mu.Unlock()
	}
	var s standing
	if err := r.conn.ask(ctx, r.pool, askStanding, &s.recovering, &s.position); err != nil {
		r.same = false
		return false, 0, err
	}
	if !r.same && s.recovering {
		if err := rs.related(ctx, r); err != nil {
			return true, 0, err
		}
		r.same = true
	}
	behind, err = rs.judge(s)
	return true, behind, err
}

// identity is what a primary and its replicas have in common.
type identity struct{ cluster, database string }

// identify asks a server for its identity. Where the role may not ask for the cluster, the database must do.
func identify(ctx context.Context, l *link, pool *pgdbm.Pool) (id identity, err error) {
	err = l.ask(ctx, pool, `SELECT system_identifier::text, current_database()::text FROM pg_catalog.pg_control_system()`, &id.cluster, &id.database)
	if pgdbm.IsPrivilege(err) || pgdbm.IsUndefined(err) {
		err = l.ask(ctx, pool, `SELECT current_database()::text`, &id.database)
	}
	return id, err
}

// related returns an error unless the replica has the cluster and the database of the primary, which was asked when it answered
// last.
func (rs *replicas) related(ctx context.Context, r *replica) error {
	rs.mu.Lock()
	home := rs.home
	rs.mu.Unlock()
	if home == (identity{}) {
		return errors.New("the primary did not answer yet, so it cannot be compared with it")
	}
	its, err := identify(ctx, &r.conn, r.pool)
	switch {
	case err != nil:
		return err
	case home.database != its.database:
		return fmt.Errorf("its database is %q, the primary's is %q", its.database, home.database)
	case home.cluster != its.cluster:
		return errors.New("it is a replica of another server")
	}
	return nil
}

// set notes whether a replica may be asked, and returns whether that is news.
func (r *replica) set(err error, behind time.Duration) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed = (err == nil) != (r.why == nil)
	r.why, r.behind = err, behind
	if err == nil && r.alive == nil {
		r.alive, r.end = context.WithCancel(context.Background())
	}
	return changed
}

// leave ends what goes on at a server that does not answer.
func (r *replica) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.alive != nil {
		r.end()
		r.alive, r.end = nil, nil
		r.db.Pool().Pgx().Reset()
	}
}

// failed notes that a read failed: it is not asked again before it was looked at. Its connections are likely to be as dead as the
// one just used.
func (r *replica) failed(err error) {
	if !disconnected(err) && !errors.Is(err, errNotUsed) {
		return
	}
	r.set(err, 0)
	if disconnected(err) {
		r.db.Pool().Pgx().Reset()
	}
}

// errNotUsed says that an answer does not count.
var errNotUsed = errors.New("replica not used")

// run calls send with a batch for the replica. The call is given up when the server is found not to answer. If first is set, this is
// the first batch of a transaction, and the answer counts only if the replica may be asked: whoever is a replica after it has
// answered was one when the transaction's snapshot was taken.
func (rs *replicas) run(ctx context.Context, r *replica, first bool, b *pgdbm.Batch, send func(context.Context, *pgdbm.Batch) error) error {
	r.mu.Lock()
	alive := r.alive
	r.mu.Unlock()
	if alive == nil {
		return &llmemory.UnavailableError{What: "replica", Err: fmt.Errorf("%w: it does not answer", errNotUsed)}
	}
	var s standing
	if first {
		b.Queue(askStanding).Row(func(row pgx.Row) error { return row.Scan(&s.recovering, &s.position) })
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(alive, cancel)()
	err := send(inner, b)
	if err != nil && ctx.Err() == nil && inner.Err() != nil {
		return &llmemory.UnavailableError{What: "replica", Err: fmt.Errorf("%w: %w", errNotUsed, err)}
	}
	if err == nil && first {
		if _, why := rs.judge(s); why != nil {
			err = fmt.Errorf("%w: %w", errNotUsed, why)
		}
	}
	return err
}

// inTurn returns the replicas that may be asked, beginning with another one each time.
func (rs *replicas) inTurn() []*replica {
	if rs == nil {
		return nil
	}
	var out []*replica
	from := int(rs.turn.Add(1) % uint64(len(rs.list)))
	for i := range rs.list {
		r := rs.list[(from+i)%len(rs.list)]
		r.mu.Lock()
		if r.why == nil {
			out = append(out, r)
		}
		r.mu.Unlock()
	}
	return out
}

// down tells whether the primary did not answer when it was looked at last.
func (rs *replicas) down() bool {
	if rs == nil {
		return false
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.silent
}

// anywhere asks a replica, and if it cannot answer, the next, and at last the primary, for which r is nil.
func (s *Store) anywhere(ctx context.Context, ask func(r *replica) error) error {
	if !s.joined {
		for _, r := range s.replicas.inTurn() {
			err := ask(r)
			if err == nil || ctx.Err() != nil || pgdbm.SQLState(err) == "57014" { // out of time: it would take as long elsewhere
				return err
			}
			r.failed(err)
		}
	}
	return s.twice(ctx, func() error { return ask(nil) })
}

// twice asks the primary, and if the connection turns out to be dead, once more on a new one.
func (s *Store) twice(ctx context.Context, ask func() error) error {
	err := ask()
	if again := s.unaware(err) || disconnected(err); again && !s.joined && ctx.Err() == nil {
		err = ask()
	}
	return err
}

// link is a connection beside a pool, to look at a server with: the pool may have none to spare.
type link struct{ conn *pgx.Conn }

// ask reads one row. A connection that turns out to be dead is replaced.
func (l *link) ask(ctx context.Context, pool *pgdbm.Pool, sql string, into ...any) error {
	for known := l.conn != nil; ; known = false {
		if l.conn == nil {
			conn, err := pool.Dial(ctx, map[string]string{"application_name": "llmemory replicas"})
			if err != nil {
				return err
			}
			l.conn = conn
		}
		err := l.conn.QueryRow(ctx, sql, pgx.QueryExecModeExec).Scan(into...)
		if err == nil {
			return nil
		}
		l.close()
		if !known || ctx.Err() != nil {
			return err
		}
	}
}

// close closes the connection, if there is one.
func (l *link) close() {
	if l.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = l.conn.Close(ctx) // nothing is lost with it
		l.conn = nil
	}
}
