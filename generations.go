package llmemory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/llmemory/llmemory/embedding"
)

func parseProfile(p Profile) (Profile, error) {
	switch p {
	case "":
		return Balanced, nil
	case Balanced, Fast, Accurate:
		return p, nil
	}
	return "", invalidf("profile", "%q is none of %s, %s, %s", p, Balanced, Fast, Accurate)
}

// Generations returns the sets of vectors that the store keeps, ordered by id.
func (m *Memory) Generations(ctx context.Context) ([]Generation, error) {
	return m.store.Generations(ctx, GenerationsParams{})
}

// AddGeneration makes a generation of vectors for a model, or returns the one that has the model and the profile already. The
// first one is active at once; a later one is filled by [Memory.Run] (or [Memory.EmbedQueue]) while searches go on with the
// active one, until [Memory.ActivateGeneration]. A nil embedder means [Config.Embedder]; an empty profile, [Config.Profile].
// Whoever fills it, or searches with it, needs its embedder in [Config.Embedder] or [Config.Embedders].
//
// It makes a table: where the role may not do that, the error wraps [ErrUnavailable] and says what to run.
func (m *Memory) AddGeneration(ctx context.Context, e embedding.Embedder, profile Profile) (*Generation, error) {
	if e == nil {
		e = m.config.Embedder
	}
	if e == nil {
		return nil, invalidf("embedder", "is missing: none is configured")
	}
	if profile == "" {
		profile = m.config.Profile
	}
	profile, err := parseProfile(profile)
	if err != nil {
		return nil, err
	}
	info, err := embedding.Probe(ctx, e)
	if err != nil {
		return nil, providerError(err)
	}
	g, err := m.store.AddGeneration(ctx, AddGenerationParams{Model: info, Profile: profile})
	m.models.forget(m.store)
	return g, err
}

// ActivateGeneration makes searches use a generation, and puts the one that was active on standby, where it is kept up to date
// for a way back. [ErrConflict] if passages still wait for a vector of it, unless force is set; [ErrNotFound] if there is none.
// Other processes notice with their next search.
func (m *Memory) ActivateGeneration(ctx context.Context, id int64, force bool) (*Generation, error) {
	g, err := m.store.ActivateGeneration(ctx, ActivateGenerationParams{Generation: id, Force: force})
	m.models.forget(m.store)
	return g, err
}

// RetireGeneration removes a generation with all its vectors. [ErrConflict] if it is the active one, unless force is set and
// there is no other; [ErrNotFound] if there is none.
func (m *Memory) RetireGeneration(ctx context.Context, id int64, force bool) error {
	err := m.store.RetireGeneration(ctx, RetireGenerationParams{Generation: id, Force: force})
	m.models.forget(m.store)
	return err
}

// Progress counts what a generation has and what it waits for, over all owners.
func (m *Memory) Progress(ctx context.Context, generation int64) (*ProgressRecord, error) {
	return m.store.Progress(ctx, ProgressParams{Generation: generation})
}

// Estimate is what embedding all passages with a model would take.
type Estimate struct {
	Model   embedding.ModelInfo
	Leaves  int64
	Tokens  int64         // of the model
	Cost    float64       // in US dollars; 0 if the price is unknown or nothing
	Took    time.Duration // embedding all of it one batch after the other, by the time that a few passages took
	Sampled int           // leaves whose tokens were counted
}

// Estimate tells what embedding every passage of every owner with a model would take. Tokens are counted on a sample of passages,
// and the time is that of embedding a few of them, which is all that is sent to the provider. A nil embedder means
// [Config.Embedder].
func (m *Memory) Estimate(ctx context.Context, e embedding.Embedder) (*Estimate, error) {
	if e == nil {
		e = m.config.Embedder
	}
	if e == nil {
		return nil, invalidf("embedder", "is missing: none is configured")
	}
	out := &Estimate{Model: e.Model()}
	total, err := m.store.Progress(ctx, ProgressParams{})
	if err != nil {
		return nil, err
	}
	out.Leaves = total.Leaves
	sample, err := m.store.Inputs(ctx, InputsParams{Limit: 1000})
	if err != nil {
		return nil, err
	}
	if out.Sampled = len(sample); out.Sampled == 0 {
		return out, nil
	}
	var tokens int64
	for _, in := range sample {
		tokens += int64(countTokens(e, &in))
	}
	out.Tokens = tokens * out.Leaves / int64(out.Sampled)
	out.Cost = float64(out.Tokens) * out.Model.PricePerMillionTokens / 1e6
	timed := sample[:min(timedInputs, len(sample))]
	var texts []string
	for _, in := range timed {
		texts = append(texts, in.Texts()...)
	}
	started := time.Now()
	for _, r := range embedding.EmbedEach(ctx, e, embedding.Passage, texts) {
		if r.Err != nil && !embedding.InputFault(r.Err) {
			return nil, providerError(r.Err)
		}
	}
	out.Took = time.Duration(float64(time.Since(started)) * float64(out.Leaves) / float64(len(timed)))
	return out, nil
}

// timedInputs is how many passages an estimate embeds to learn how long that takes.
const timedInputs = 32

// models knows which embedder makes which generation's vectors, and what generations there are.
type models struct {
	mu     sync.Mutex
	infos  map[int]embedding.ModelInfo // by index of the embedder, once its dimensions are known
	lists  map[Store][]Generation
	faults map[int]fault // by index of the embedder: why its dimensions are not known; [noGeneration] for another reason
}

// fault is what went wrong, and until when it is not tried again.
type fault struct {
	err   error
	until time.Time
}

// noGeneration is the key of why the first generation could not be made.
const noGeneration = -1

// faultTTL is how long what failed is not tried again by those who have something better to do.
const faultTTL = 30 * time.Second

// recent returns why something failed a short time ago, nil if it did not.
func (c *models) recent(key int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.faults[key]; time.Now().Before(f.until) {
		return f.err
	}
	return nil
}

// failed keeps in mind that something failed, unless it is the caller who has gone, or had no time to wait.
func (c *models) failed(ctx context.Context, key int, started time.Time, err error) {
	if ctx.Err() != nil && (errors.Is(ctx.Err(), context.Canceled) || time.Since(started) < time.Second) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.faults == nil {
		c.faults = map[int]fault{}
	}
	c.faults[key] = fault{err, time.Now().Add(faultTTL)}
}

// retryNow has what failed tried again.
func (c *models) retryNow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = nil
}

func (c *models) forget(s Store) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.lists, s)
}

// generations returns the generations as they were when they were read last. Searches and edits are told which one is active, and have
// the list forgotten if it is another by now; that there is none is never taken from memory.
func (m *Memory) generations(ctx context.Context) ([]Generation, error) {
	if joined(m.store) {
		return m.store.Generations(ctx, GenerationsParams{})
	}
	c := &m.models
	c.mu.Lock()
	known := c.lists[m.store]
	c.mu.Unlock()
	if len(known) > 0 {
		return known, nil
	}
	list, err := m.store.Generations(ctx, GenerationsParams{})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lists == nil {
		c.lists = map[Store][]Generation{}
	}
	c.lists[m.store] = list
	return list, nil
}

func activeOf(list []Generation) *Generation {
	i := slices.IndexFunc(list, func(g Generation) bool { return g.State == Active })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// embedderOf returns the embedder whose vectors belong to the generation, nil if none is configured. One that does not say how many
// dimensions it has, and cannot be asked now, is taken at its model's name: what it is asked next fails as well, and for that there
// are ways.
func (m *Memory) embedderOf(ctx context.Context, g *Generation) embedding.Embedder {
	var likely embedding.Embedder
	for i, e := range m.embedders() {
		info := e.Model()
		if info.Provider != g.Model.Provider || info.Model != g.Model.Model {
			continue
		}
		info, err := m.probe(ctx, i, e)
		switch {
		case err != nil:
			likely = e
		case info.Same(g.Model):
			return e
		}
	}
	return likely
}

func (m *Memory) embedders() []embedding.Embedder {
	if m.config.Embedder == nil {
		return nil
	}
	return append([]embedding.Embedder{m.config.Embedder}, m.config.Embedders...)
}

// probe returns an embedder's model with its dimensions, asking at most once.
func (m *Memory) probe(ctx context.Context, i int, e embedding.Embedder) (embedding.ModelInfo, error) {
	if info := e.Model(); info.Dimensions > 0 {
		return info, nil
	}
	c := &m.models
	c.mu.Lock()
	info, ok := c.infos[i]
	c.mu.Unlock()
	if ok {
		return info, nil
	}
	if err := c.recent(i); err != nil {
		return info, err
	}
	started := time.Now()
	info, err := embedding.Probe(ctx, e)
	if err != nil {
		err = providerError(err)
		c.failed(ctx, i, started, err)
		return info, err
	}
	c.mu.Lock()
	c.infos[i] = info
	c.mu.Unlock()
	return info, nil
}

// ready makes sure that there is a generation to embed for, if an embedder is configured: the first use of a store makes it. It
// returns why there is none; the documents are stored all the same, and embedded when there is one.
func (m *Memory) ready(ctx context.Context) error {
	if m.config.Embedder == nil || joined(m.store) {
		return nil
	}
	list, err := m.generations(ctx)
	if err != nil || len(list) > 0 {
		return err
	}
	if err := m.models.recent(noGeneration); err != nil {
		return err
	}
	started := time.Now()
	if _, err = m.AddGeneration(ctx, nil, ""); err != nil {
		m.models.failed(ctx, noGeneration, started, err)
	}
	return err
}

// providerError gives an embedder's error its place in the domain.
func providerError(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrUnavailable), errors.Is(err, context.Canceled):
		return err
	}
	return &UnavailableError{What: "embedder", RetryAfter: embedding.RetryAfter(err), Err: err}
}

// describe names a generation for people.
func (g *Generation) describe() string { return fmt.Sprintf("%d (%s)", g.ID, g.Model.Identity()) }
