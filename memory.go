package llmemory

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/analysis"
)

// Config holds a Memory's settings. The zero value is ready to use.
type Config struct {
	// Chunker cuts texts into passages. Defaults to [chunk.Hierarchical] with its default sizes.
	Chunker chunk.Chunker
	// Extractor turns what [Document.Source] reads into text. Defaults to [extract.Plain], which takes text, Markdown and
	// source code.
	Extractor extract.Extractor
	// MaxContentBytes is the largest content of one document. Defaults to [DefaultMaxContentBytes], 64 MiB.
	MaxContentBytes int
	// MaintenanceInterval is how often [Memory.Run] looks for work when there was none. Defaults to 2 s.
	MaintenanceInterval time.Duration
	// Logger gets what no caller is there to receive: faults of maintenance. Defaults to slog.Default().
	Logger *slog.Logger
}

// Validate reports every fault of the configuration at once.
func (c *Config) Validate() error {
	if c == nil {
		return nil
	}
	var faults []error
	if c.MaxContentBytes < 0 {
		faults = append(faults, invalidf("MaxContentBytes", "must not be negative, is %d", c.MaxContentBytes))
	}
	if c.MaxContentBytes > 1<<30 {
		faults = append(faults, invalidf("MaxContentBytes", "must be at most %d, is %d", 1<<30, c.MaxContentBytes))
	}
	if c.MaintenanceInterval < 0 {
		faults = append(faults, invalidf("MaintenanceInterval", "must not be negative, is %s", c.MaintenanceInterval))
	}
	return errors.Join(faults...)
}

func (c *Config) withDefaults() Config {
	var out Config
	if c != nil {
		out = *c
	}
	if out.Chunker == nil {
		out.Chunker = chunk.Hierarchical{}
	}
	if out.Extractor == nil {
		out.Extractor = extract.Plain{}
	}
	if out.MaxContentBytes == 0 {
		out.MaxContentBytes = DefaultMaxContentBytes
	}
	if out.MaintenanceInterval == 0 {
		out.MaintenanceInterval = 2 * time.Second
	}
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	return out
}

// Memory is a document memory on a [Store]. It is safe for concurrent use. It holds no connection of its own: close the store
// when done.
type Memory struct {
	store Store
	*shared
}

// shared is what a Memory and its views on a host's transactions have in common.
type shared struct {
	config    Config
	analyzer  *analysis.Analyzer
	workers   chan struct{} // bounds the goroutines that analyse
	languages languageCache
}

// New makes a Memory on a store. A nil config means defaults. The store stays the caller's to close.
func New(store Store, config *Config) (*Memory, error) {
	if store == nil {
		return nil, invalidf("store", "must not be nil")
	}
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &Memory{store: store, shared: &shared{
		config:   config.withDefaults(),
		analyzer: analysis.New(),
		workers:  make(chan struct{}, runtime.GOMAXPROCS(0)),
	}}, nil
}

// On returns the same memory on another store, such as the one that postgres.WithTx makes of a host's transaction: what is
// added through it commits or vanishes with that transaction.
func (m *Memory) On(store Store) *Memory { return &Memory{store: store, shared: m.shared} }

// Store returns the store that the memory works on.
func (m *Memory) Store() Store { return m.store }

// Owner returns the memory of one owner, the tenant: 1 to 512 bytes of printable text. There is no document or search call
// without an owner. An invalid owner is reported by the first call made with it.
func (m *Memory) Owner(id string) *Owner { return &Owner{memory: m, id: id} }

// Owner is one tenant's part of a [Memory]. It is safe for concurrent use, and cheap to make.
type Owner struct {
	memory *Memory
	id     string
}

// ID returns the owner's id.
func (o *Owner) ID() string { return o.id }

func (o *Owner) check() error { return checkID("owner", o.id) }

// languageCache remembers which languages an owner's index held when it was last read, to save analysing queries for all of
// them. A stale entry costs a second look, never a wrong answer.
type languageCache struct {
	mu sync.Mutex
	m  map[languageKey][]string
}

type languageKey struct {
	store Store
	owner string
}

const maxCachedOwners = 10_000

func (c *languageCache) get(k languageKey) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m[k]
}

func (c *languageCache) put(k languageKey, languages []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Equal(c.m[k], languages) {
		return
	}
	if c.m == nil || len(c.m) >= maxCachedOwners {
		c.m = make(map[languageKey][]string)
	}
	c.m[k] = languages
}

// sleep waits for d or the context.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
