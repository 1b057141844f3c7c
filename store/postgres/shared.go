package postgres

import (
	"sync"
	"sync/atomic"
	"time"
)

// shared is what a store remembers, together with its copies in transactions of hosts.
type shared struct {
	mu          sync.Mutex
	generations map[int64]generation
	woken       time.Time // when jobs were last told of

	secured atomic.Bool // row-level security holds for the store's role
}

// known returns a generation that was seen before.
func (c *shared) known(id int64) (generation, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, ok := c.generations[id]
	return g, ok && g.extension != ""
}

// learn replaces what is known of generations.
func (c *shared) learn(list []generation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generations = make(map[int64]generation, len(list))
	for _, g := range list {
		c.generations[g.ID] = g
	}
}

// forget drops what is known of a generation.
func (c *shared) forget(id int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.generations, id)
}

// wakeEvery is how often at most the edits of a process tell workers of new jobs. Telling makes commits wait for each other, so
// the commits of a bulk load do not all do it; a worker that misses one finds the jobs when it polls.
const wakeEvery = 20 * time.Millisecond

// wake tells whether it is time to tell workers again.
func (c *shared) wake() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.woken) < wakeEvery {
		return false
	}
	c.woken = now
	return true
}
