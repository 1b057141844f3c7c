package postgres

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// shared is what a store remembers, together with its copies in transactions of hosts.
type shared struct {
	mu          sync.Mutex
	generations map[int64]generation
	indexes     map[ownerGeneration]ownerIndex // those that are ready; owners without one are left out
	woken       time.Time                      // when jobs were last told of
	statements  map[generationStatement]string

	secured atomic.Bool // row-level security holds for the store's role
}

// ownerGeneration is an owner's part of a generation.
type ownerGeneration struct {
	generation int64
	owner      string
}

// ownerIndex is an index of an owner's vectors.
type ownerIndex struct {
	name    string // "" for none
	vectors int64  // when it was built
}

// generationStatement is all that the text of a statement for a generation depends on.
type generationStatement struct {
	name       string
	generation int64
	dimensions int
	extension  string
}

// maxStatements is how many texts of statements are kept: a generation has about thirty.
const maxStatements = 1000

// statement returns a text that was made before.
func (c *shared) statement(key generationStatement) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sql, ok := c.statements[key]
	return sql, ok
}

// keep remembers the text of a statement.
func (c *shared) keep(key generationStatement, sql string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.statements == nil || len(c.statements) >= maxStatements {
		c.statements = map[generationStatement]string{}
	}
	c.statements[key] = sql
}

// index returns the index of an owner's vectors, as of the owner's last search.
func (c *shared) index(generation int64, owner string) ownerIndex {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.indexes[ownerGeneration{generation, owner}]
}

// learnIndex notes which index an owner has now.
func (c *shared) learnIndex(generation int64, owner string, index ownerIndex) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := ownerGeneration{generation, owner}
	switch {
	case index.name == "":
		delete(c.indexes, key)
	case c.indexes == nil:
		c.indexes = map[ownerGeneration]ownerIndex{key: index}
	default:
		c.indexes[key] = index
	}
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
	maps.DeleteFunc(c.indexes, func(k ownerGeneration, _ ownerIndex) bool { return k.generation == id })
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
