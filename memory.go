package llmemory

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/analysis"
)

// Config holds a Memory's settings. The zero value is ready to use.
type Config struct {
	// Chunker cuts texts into passages. Defaults to [chunk.Hierarchical] with its default sizes.
	Chunker chunk.Chunker
	// Annotator writes context lines and summaries of passages, such as a contextual.Writer does with a language model. Nil means none:
	// lines that a stored document has stay with its passages as long as their text does.
	Annotator Annotator
	// Extractor turns what [Document.Source] reads into text. Defaults to [extract.Plain], which takes text, Markdown and
	// source code.
	Extractor extract.Extractor
	// MaxContentBytes is the largest content of one document. Defaults to [DefaultMaxContentBytes], 64 MiB.
	MaxContentBytes int
	// MaxSourceBytes is the largest source of one document. Defaults to [extract.DefaultMaxSource], 256 MiB.
	MaxSourceBytes int64
	// Embedder makes the vectors of passages and questions. Nil means none: search is by text. The first use in a store makes a
	// generation of its model; see [Memory.AddGeneration] for changing models.
	Embedder embedding.Embedder
	// Embedders are further embedders, for generations of other models: while one model takes the place of another, both are
	// needed.
	Embedders []embedding.Embedder
	// Profile is the profile of the generation that the first use of Embedder makes. Defaults to [Balanced].
	Profile Profile
	// QueryTimeout bounds the embedding of a question; a search that waited in vain goes on without vectors and says so.
	// Defaults to 10 s.
	QueryTimeout time.Duration
	// EmbedLease is how long a worker may be silent before its passages are given to another. Defaults to 60 s.
	EmbedLease time.Duration
	// EmbedBatch is how many passages a worker takes at a time. Defaults to 256.
	EmbedBatch int
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
	if c.MaxSourceBytes < 0 {
		faults = append(faults, invalidf("MaxSourceBytes", "must not be negative, is %d", c.MaxSourceBytes))
	}
	if c.Embedder == nil && len(c.Embedders) > 0 {
		faults = append(faults, invalidf("Embedders", "must be empty without an Embedder"))
	}
	if _, err := parseProfile(c.Profile); err != nil {
		faults = append(faults, err)
	}
	if c.QueryTimeout < 0 {
		faults = append(faults, invalidf("QueryTimeout", "must not be negative, is %s", c.QueryTimeout))
	}
	if c.EmbedLease < 0 || c.EmbedLease > 0 && c.EmbedLease < time.Second {
		faults = append(faults, invalidf("EmbedLease", "must be at least 1s, is %s", c.EmbedLease))
	}
	if c.EmbedBatch < 0 || c.EmbedBatch > maxEmbedBatch {
		faults = append(faults, invalidf("EmbedBatch", "must be 1 to %d, is %d", maxEmbedBatch, c.EmbedBatch))
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
	if out.Profile == "" {
		out.Profile = Balanced
	}
	if out.QueryTimeout == 0 {
		out.QueryTimeout = 10 * time.Second
	}
	if out.EmbedLease == 0 {
		out.EmbedLease = time.Minute
	}
	if out.EmbedBatch == 0 {
		out.EmbedBatch = 256
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
	config   Config
	analyzer *analysis.Analyzer
	workers  chan struct{} // bounds the goroutines that analyse
	scratch  sync.Pool     // of *[]analysis.Token, for one analysis each
	owners   ownerCache
	models   models
	bounds   bounds
	notary   []byte // names the annotator in content hashes; nil without one
}

// bounds keep the memory that an edit takes from growing with the document, in bytes.
type bounds struct {
	terms   int // terms of leaves that wait to be indexed; leaves beyond are analysed once more when it is their turn
	segment int // of a segment that is being built
	held    int // pages of segments that wait to be written
}

// New makes a Memory on a store. A nil config means defaults. The store stays the caller's to close.
func New(store Store, config *Config) (*Memory, error) {
	if store == nil {
		return nil, invalidf("store", "must not be nil")
	}
	if err := config.Validate(); err != nil {
		return nil, err
	}
	m := &Memory{store: store, shared: &shared{
		config:   config.withDefaults(),
		analyzer: analysis.New(),
		workers:  make(chan struct{}, runtime.GOMAXPROCS(0)),
		models:   models{infos: map[int]embedding.ModelInfo{}},
		bounds:   bounds{terms: 48 << 20, segment: 128 << 20, held: 16 << 20},
	}}
	if a := m.config.Annotator; a != nil {
		m.notary = digest("annotator", a.Signature())[:notaryBytes]
	}
	return m, nil
}

// On returns the same memory on another store, such as the one that postgres.WithTx makes of a host's transaction: what is
// added through it commits or vanishes with that transaction.
func (m *Memory) On(store Store) *Memory { return &Memory{store: store, shared: m.shared} }

// fresh returns the memory on the store that asks no replicas, and whether that is another one.
func (m *Memory) fresh() (*Memory, bool) {
	if r, ok := m.store.(Replicated); ok {
		if primary := r.Primary(); primary != m.store {
			return m.On(primary), true
		}
	}
	return m, false
}

// Store returns the store that the memory works on.
func (m *Memory) Store() Store { return m.store }

// Owner returns the memory of one owner, the tenant: 1 to 512 bytes of printable text. There is no document or search call
// without an owner. An invalid owner is reported by the first call made with it.
func (m *Memory) Owner(id string) *Owner { return &Owner{memory: m, id: id} }

// Owner is one tenant's part of a [Memory]. It is safe for concurrent use, and cheap to make.
type Owner struct {
	memory *Memory
	id     string
	dry    bool // documents are prepared and not stored
}

// Fresh returns the same owner, whose reads and searches see everything that was committed before they began. Without read replicas
// every owner is such; with them, reads may otherwise show a state that is a little older, see postgres.Options.ReadURLs.
func (o *Owner) Fresh() *Owner {
	m, _ := o.memory.fresh()
	return &Owner{memory: m, id: o.id}
}

// ID returns the owner's id.
func (o *Owner) ID() string { return o.id }

func (o *Owner) check() error { return checkID("owner", o.id) }

// ownerCache remembers what searches learned of owners, to ask the right question at once. A stale entry costs a second look or
// some time, never a wrong answer.
type ownerCache struct {
	mu sync.Mutex
	m  map[ownerKey]ownerFacts
}

type ownerKey struct {
	store Store
	owner string
}

type ownerFacts struct {
	languages []string // of the owner's index
	leaves    int64
}

const maxCachedOwners = 10_000

func (c *ownerCache) get(k ownerKey) (ownerFacts, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.m[k]
	return f, ok
}

func (c *ownerCache) put(k ownerKey, f ownerFacts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= maxCachedOwners {
		c.m = make(map[ownerKey]ownerFacts)
	}
	c.m[k] = f
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
