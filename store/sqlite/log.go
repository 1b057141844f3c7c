package sqlite

import (
	"sync"
	"sync/atomic"

	"github.com/ncruces/go-sqlite3"
)

// log works the write-ahead log into the file.
type log struct {
	pool   *pool
	beside atomic.Bool // somebody is about it, or about to be
	mu     sync.Mutex  // held while it is done: SQLite does not wait for another one who does it
}

// workIn has a connection do it.
func (l *log) workIn(c *conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _, err := c.raw.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE)
	return err
}

// workInBeside has a reader's connection do it while the caller goes on. What fails is tried again after the next commit, and at last
// by the writer.
func (l *log) workInBeside() {
	if !l.beside.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer l.beside.Store(false)
		s, err := l.pool.read(l.pool.life)
		if err != nil {
			return
		}
		_ = s.do(l.pool.life, l.workIn)
		_ = s.end()
	}()
}
