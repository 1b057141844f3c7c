package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/llmemory/llmemory"
)

const (
	// maxReaders is how many connections a store reads with at a time. Who comes later waits.
	maxReaders = 64
	// idleReaders is how many of them are kept when they are not used.
	idleReaders = 8
)

// pool is the connections of a store: many to read with, one to write with.
type pool struct {
	path string
	opts Options

	life   context.Context // ends when the store is closed
	end    context.CancelFunc
	reads  chan struct{} // a token for each reader
	writes chan struct{} // the token of the writer

	mu       sync.Mutex
	closed   bool
	idle     []*conn
	writer   *conn // nil while it is used, and before its first use
	sessions map[*session]struct{}

	checkpoints checkpointer
}

func newPool(path string, opts Options) *pool {
	p := &pool{path: path, opts: opts, reads: make(chan struct{}, maxReaders), writes: make(chan struct{}, 1), sessions: map[*session]struct{}{}}
	p.life, p.end = context.WithCancel(context.Background())
	p.checkpoints.pool = p
	return p
}

var errClosed = fmt.Errorf("store: %w", llmemory.ErrClosed)

func (p *pool) check() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	return nil
}

// session is the use of one connection: by a single call, or by a view or an edit for as long as it lasts. Closing the store ends
// all of them.
type session struct {
	pool  *pool
	write bool

	mu   sync.Mutex // held while statements run
	conn *conn      // nil once it is given back
}

// read begins a session that reads. It holds a place among the readers until it ends.
func (p *pool) read(ctx context.Context) (*session, error) {
	return p.begin(ctx, p.reads, "readers", false)
}

// edit begins a session that writes: the only one of this process. It waits for its turn as long as ctx lasts. Other processes are
// waited for when the transaction begins.
func (p *pool) edit(ctx context.Context) (*session, error) { return p.begin(ctx, p.writes, "", true) }

// begin waits for a token. Where what is waited for has a name, it is not waited for longer than for other processes.
func (p *pool) begin(ctx context.Context, tokens chan struct{}, what string, write bool) (*session, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case tokens <- struct{}{}:
		return p.take(ctx, tokens, write)
	default:
	}
	var late <-chan time.Time
	if what != "" {
		t := time.NewTimer(p.opts.BusyTimeout)
		defer t.Stop()
		late = t.C
	}
	select {
	case tokens <- struct{}{}:
		return p.take(ctx, tokens, write)
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.life.Done():
		return nil, errClosed
	case <-late:
		return nil, &llmemory.UnavailableError{What: "database", Err: fmt.Errorf("busy: %d %s at work", maxReaders, what)}
	}
}

// take finds a connection for who has a token.
func (p *pool) take(ctx context.Context, tokens chan struct{}, write bool) (_ *session, err error) {
	s := &session{pool: p, write: write}
	defer func() {
		if err != nil {
			<-tokens
		}
	}()
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errClosed
	}
	if write {
		s.conn, p.writer = p.writer, nil
	} else if n := len(p.idle); n > 0 {
		s.conn, p.idle = p.idle[n-1], p.idle[:n-1]
	}
	p.mu.Unlock()
	if s.conn == nil {
		c, err := connect(ctx, p.path, &p.opts)
		if err == nil {
			if err = c.trusted(); err != nil {
				err = errors.Join(err, c.close())
			}
		}
		if err != nil {
			return nil, p.translate(ctx, err)
		}
		s.conn = c
		if write {
			c.checkpointBy(&p.checkpoints)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.Join(errClosed, s.conn.close())
	}
	p.sessions[s] = struct{}{}
	return s, nil
}

// do uses the connection, until ctx or the store ends. Its error has its place in the domain.
func (s *session) do(ctx context.Context, use func(*conn) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return errClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(s.pool.life, stop)()
	s.conn.raw.SetInterrupt(running)
	return s.pool.translate(ctx, use(s.conn))
}

// end gives the connection back, undoing what was not committed. Ending twice is harmless.
func (s *session) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conn
	if c == nil {
		return nil
	}
	s.conn = nil
	c.raw.SetInterrupt(context.Background())
	var err error
	if c.inTransaction() {
		err = c.exec("ROLLBACK")
	}
	p := s.pool
	p.mu.Lock()
	delete(p.sessions, s)
	switch {
	case p.closed || err != nil:
		err = errors.Join(err, c.close())
	case s.write:
		p.writer = c
	case len(p.idle) < idleReaders:
		p.idle = append(p.idle, c)
	default:
		err = c.close()
	}
	p.mu.Unlock()
	if s.write {
		<-p.writes
	} else {
		<-p.reads
	}
	return p.translate(context.Background(), err)
}

// close ends all sessions, those of views and edits that nobody ends included, and closes all connections.
func (p *pool) close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.end()
	var open []*session
	for s := range p.sessions {
		open = append(open, s)
	}
	idle := p.idle
	p.idle = nil
	if p.writer != nil {
		idle = append(idle, p.writer)
		p.writer = nil
	}
	p.mu.Unlock()
	var errs []error
	for _, s := range open {
		errs = append(errs, s.end())
	}
	for _, c := range idle {
		errs = append(errs, c.close())
	}
	return p.translate(context.Background(), errors.Join(errs...))
}

// read runs read in a transaction that sees one instant.
func (s *Store) read(ctx context.Context, read func(*conn) error) error {
	session, err := s.pool.read(ctx)
	if err != nil {
		return err
	}
	err = session.do(ctx, func(c *conn) error {
		if err := c.exec("BEGIN"); err != nil {
			return err
		}
		return read(c)
	})
	return errors.Join(err, session.end())
}

// write runs change in a transaction that holds the file's write lock, and commits it.
func (s *Store) write(ctx context.Context, change func(*conn) error) error {
	session, err := s.pool.edit(ctx)
	if err != nil {
		return err
	}
	return session.commit(ctx, change)
}

// commit runs change in a transaction of its own, commits it and ends the session.
func (s *session) commit(ctx context.Context, change func(*conn) error) error {
	err := s.do(ctx, func(c *conn) error {
		if err := c.exec("BEGIN IMMEDIATE"); err != nil {
			return err
		}
		if err := change(c); err != nil {
			return err
		}
		return c.commit()
	})
	return errors.Join(err, s.end())
}

// commit ends a write transaction. It is not interrupted: what became of it is always known, unless the disk fails.
func (c *conn) commit() error {
	defer c.raw.SetInterrupt(c.raw.SetInterrupt(context.Background()))
	err := c.exec("COMMIT")
	if err != nil && diskFailed(err) {
		err = fmt.Errorf("%w: %w", llmemory.ErrCommitUnknown, err)
	}
	return err
}

// first begins the session that looks at the file and migrates it.
func (p *pool) first(ctx context.Context) (*session, error) {
	c, err := connect(ctx, p.path, &p.opts)
	if err != nil {
		return nil, p.translate(ctx, err)
	}
	c.checkpointBy(&p.checkpoints)
	p.writes <- struct{}{}
	s := &session{pool: p, write: true, conn: c}
	p.sessions[s] = struct{}{}
	return s, nil
}
