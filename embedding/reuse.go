package embedding

import (
	"container/list"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
)

// Key is what a vector is kept under: a hash over scope, space, role and text.
type Key [sha256.Size]byte

// Cache keeps vectors. Implementations are safe for concurrent use. One that fails forgets.
type Cache interface {
	// Get returns, for each key, its vector, or nil.
	Get(ctx context.Context, keys []Key) [][]float32
	// Put keeps a vector for each key.
	Put(ctx context.Context, keys []Key, vectors [][]float32)
}

// Reuse looks vectors up in a cache before it asks e, and asks for a text that occurs several times only once. Scope says who
// may share them: what one scope has, another never gets, so that nobody learns from a quick answer what somebody else has
// asked. Make it the owner. A decorator is cheap to make: one for each call is fine, all with the same cache.
//
// It is for questions, which are repeated; stored passages are reused by their store.
func Reuse(e Embedder, cache Cache, scope string) Embedder { return &reuser{e, cache, scope} }

type reuser struct {
	Embedder
	cache Cache
	scope string
}

func (r *reuser) Unwrap() Embedder { return r.Embedder }

func (r *reuser) Embed(ctx context.Context, role Role, texts []string) ([][]float32, error) {
	keys := make([]Key, len(texts))
	space := r.Model().Identity()
	for i, text := range texts {
		h := sha256.New()
		for _, s := range []string{r.scope, space, string(role), text} {
			fmt.Fprintf(h, "%d:%s", len(s), s)
		}
		h.Sum(keys[i][:0])
	}
	vectors := r.cache.Get(ctx, keys)
	if len(vectors) != len(keys) {
		vectors = make([][]float32, len(keys))
	}
	var missing []Key
	var asked []string
	at := map[Key]int{} // where in asked
	for i, v := range vectors {
		if _, ok := at[keys[i]]; v == nil && !ok {
			at[keys[i]] = len(asked)
			missing, asked = append(missing, keys[i]), append(asked, texts[i])
		}
	}
	var got [][]float32
	if len(asked) > 0 {
		var err error
		if got, err = r.Embedder.Embed(ctx, role, asked); err != nil {
			return nil, err
		}
		if err := Check(got, len(asked), 0); err != nil {
			return nil, &Error{Kind: BadAnswer, Provider: r.Model().Provider, Err: err}
		}
		r.cache.Put(ctx, missing, got)
	}
	// What is returned is the caller's to change, so it is never the cache's own.
	for i, v := range vectors {
		if v == nil {
			v = got[at[keys[i]]]
		}
		vectors[i] = slices.Clone(v)
	}
	return vectors, nil
}

// LRU is a [Cache] in memory that forgets what has not been used for longest.
type LRU struct {
	size int

	mu      sync.Mutex
	entries map[Key]*list.Element
	order   *list.List // of *entry, the last used first
}

type entry struct {
	key    Key
	vector []float32
}

// NewLRU returns a cache of at most size vectors; one of 1,536 dimensions takes 6 kB.
func NewLRU(size int) *LRU {
	return &LRU{size: size, entries: map[Key]*list.Element{}, order: list.New()}
}

// Get implements [Cache].
func (c *LRU) Get(_ context.Context, keys []Key) [][]float32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([][]float32, len(keys))
	for i, key := range keys {
		if e := c.entries[key]; e != nil {
			c.order.MoveToFront(e)
			out[i] = e.Value.(*entry).vector
		}
	}
	return out
}

// Put implements [Cache].
func (c *LRU) Put(_ context.Context, keys []Key, vectors [][]float32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, key := range keys {
		if e := c.entries[key]; e != nil {
			c.order.Remove(e)
		}
		c.entries[key] = c.order.PushFront(&entry{key, slices.Clone(vectors[i])})
	}
	for c.order.Len() > max(c.size, 0) {
		last := c.order.Remove(c.order.Back()).(*entry)
		delete(c.entries, last.key)
	}
}
