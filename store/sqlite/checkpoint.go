package sqlite

import (
	"sync"
	"sync/atomic"

	"github.com/ncruces/go-sqlite3"
)

// checkpointer works the write-ahead log into the file.
type checkpointer struct {
	pool    *pool
	running atomic.Bool // somebody is about it, or about to be
	mu      sync.Mutex  // held while it is done: SQLite does not wait for another one who does it
}

// run has a connection do it.
func (p *checkpointer) run(c *conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _, err := c.raw.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE)
	return err
}

// start has a reader's connection do it while the caller goes on. What fails is tried again after the next commit, and at last
// by the writer.
func (p *checkpointer) start() {
	if !p.running.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer p.running.Store(false)
		s, err := p.pool.read(p.pool.life)
		if err != nil {
			return
		}
		_ = s.do(p.pool.life, p.run)
		_ = s.end()
	}()
}
