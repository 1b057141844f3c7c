package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/embedding/openai"
	"github.com/llmemory/llmemory/internal/soak"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

// providerFault is a fault of a provider, and what comes of a call that meets it.
type providerFault struct {
	embedtest.Fault
	kind embedding.Kind // "" for none
}

var providerFaults = []providerFault{
	{embedtest.RateLimited, embedding.RateLimited},
	{embedtest.NoQuota, embedding.Unauthorized},
	{embedtest.ServerError, embedding.Unavailable},
	{embedtest.Unavailable, embedding.Unavailable},
	{embedtest.Hang, embedding.Unavailable},
	{embedtest.Drip, embedding.Unavailable},
	{embedtest.Reset, embedding.Unavailable},
	{embedtest.ResetMidBody, embedding.Unavailable},
	{embedtest.Truncated, embedding.BadAnswer},
	{embedtest.TooFew, embedding.BadAnswer},
	{embedtest.TooMany, embedding.BadAnswer},
	{embedtest.NoIndex, embedding.BadAnswer},
	{embedtest.SameIndex, embedding.BadAnswer},
	{embedtest.Shuffled, ""},
	{embedtest.WrongDimension, embedding.BadAnswer},
	{embedtest.NaN, embedding.BadAnswer},
	{embedtest.Null, embedding.BadAnswer},
	{embedtest.NullVector, embedding.BadAnswer},
	{embedtest.EmptyVector, embedding.BadAnswer},
	{embedtest.Zeros, embedding.BadAnswer},
	{embedtest.Overflow, embedding.BadAnswer},
	{embedtest.EmptyBody, embedding.BadAnswer},
	{embedtest.NoData, embedding.BadAnswer},
	{embedtest.HTML, embedding.BadAnswer},
	{embedtest.Huge, embedding.BadAnswer},
	{embedtest.Redirect, embedding.Refused},
	{embedtest.BadRequest, embedding.InvalidInput},
	{embedtest.TooLarge, embedding.InvalidInput},
	{embedtest.BadEntity, embedding.InvalidInput},
	{embedtest.WrongKey, embedding.Unauthorized},
	{embedtest.Forbidden, embedding.Unauthorized},
	{embedtest.WrongModel, embedding.ModelNotFound},
}

// blames tells whether the fault looks like one of the texts.
func (f providerFault) blames() bool {
	return f.kind == embedding.InvalidInput || f.kind == embedding.BadAnswer
}

// alone tells whether a text that is sent alone is none the worse for the fault: vectors without order are in order then.
func (f providerFault) alone() bool {
	return f.Fault == embedtest.NoIndex || f.Fault == embedtest.SameIndex || f.Fault == embedtest.Shuffled
}

// passes tells whether the fault may be over when the same is asked again at once.
func (f providerFault) passes() bool {
	return f.kind == embedding.RateLimited || f.kind == embedding.Unavailable
}

// slow tells whether only a timeout ends the fault.
func (f providerFault) slow() bool { return f.Fault == embedtest.Hang || f.Fault == embedtest.Drip }

const (
	providerKey   = "sk-canary-77aa02c94e1b"
	providerModel = "tiny"
	providerBatch = 16 // texts in a call
	providerTries = 2  // of a call that fails for a time
)

// log2 is the number of halvings that leave one of n.
func log2(n int) int { return bits.Len(uint(n - 1)) }

// provided is a store whose vectors come from a server that misbehaves.
type provided struct {
	*testing.T
	fault  providerFault
	server *embedtest.Server
	store  *postgres.Store
	mem    *llmemory.Memory
	app    *llmemory.Owner
	round  int
	total  int // passages that are to have a vector in the end
}

func newProvided(t *testing.T, f providerFault, retryAfter time.Duration) *provided {
	t.Helper()
	server := embedtest.NewServer(embedtest.ServerConfig{
		Models: map[string]int{providerModel: 40}, RetryAfter: retryAfter, RedirectTo: "http://169.254.169.254/latest",
	})
	t.Cleanup(server.Close)
	store, err := postgres.Open(t.Context(), pgtest.Clone(t, "llmemory conformance", migrate), nil)
	must(t, err)
	t.Cleanup(func() { must(t, store.Close()) })
	config := openai.Config{BaseURL: server.URL, Model: providerModel, APIKey: openai.NewSecret(providerKey)}
	if f.slow() {
		config.Timeout = time.Second // long enough for an answer of a machine that is busy
	}
	e := embedding.Recommended(openai.New(config), &embedding.Options{
		Batch:   embedding.BatchOptions{MaxInputs: providerBatch},
		Retry:   embedding.RetryOptions{Attempts: providerTries, BaseDelay: time.Millisecond},
		Breaker: embedding.BreakerOptions{Cooldown: time.Millisecond, MaxCooldown: time.Millisecond},
	})
	mem, err := llmemory.New(store, &llmemory.Config{Chunker: lines, Embedder: e, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	return &provided{T: t, fault: f, server: server, store: store, mem: mem, app: mem.Owner("app")}
}

// texts are passages that nothing else has.
func (p *provided) texts(n int) []string {
	p.round++
	p.total += n
	return strings.Split(numbered(n, fmt.Sprintf("alpha round%d passage%%d", p.round)), "\n")
}

// add stores a document whose passages are to be embedded, now or later.
func (p *provided) add(when llmemory.Embed, texts []string) llmemory.Added {
	p.Helper()
	added, err := p.app.Add(p.Context(), llmemory.Document{
		Key: fmt.Sprint(p.round), Language: "en", Embed: when, Content: strings.Join(texts, "\n"),
	})
	if err != nil || added.Status != llmemory.Created || added.Chunks != len(texts) || added.Embedded+added.Pending != len(texts) {
		p.Errorf("added: %+v, %v", added, err)
	}
	if (added.EmbedErr == nil) != (added.Pending == 0 || when == llmemory.EmbedLater) {
		p.Errorf("%d passages wait, and why is %v", added.Pending, added.EmbedErr)
	}
	return added
}

// hurry makes due what rests.
func (p *provided) hurry() {
	p.Helper()
	_, err := p.store.DB().Exec(p.Context(), `UPDATE {{tables.embedding_queue}} SET due_at = now() WHERE NOT dead AND lease_token IS NULL`)
	must(p, err)
}

// work does what a worker does, also what rests.
func (p *provided) work() (llmemory.EmbedProgress, error) {
	p.Helper()
	p.hurry()
	return p.mem.EmbedQueue(p.Context(), nil)
}

// heal ends the fault, and has a worker do what is left: then everything has its vector.
func (p *provided) heal() {
	p.Helper()
	p.server.Fail(nil)
	_, err := p.app.RetryQueue(p.Context())
	must(p, err)
	if _, err := p.work(); err != nil {
		p.Errorf("after the fault: %v", err)
	}
	if q := p.queue(); q.Waiting+q.Leased+q.Dead != 0 {
		p.Errorf("after the fault %d wait, %d are given up", q.Waiting, q.Dead)
	}
	if n := p.vectors(); n != p.total {
		p.Errorf("after the fault %d of %d passages have a vector", n, p.total)
	}
}

func (p *provided) queue() *llmemory.QueueRecord {
	p.Helper()
	q, err := p.app.Queue(p.Context(), 1000)
	must(p, err)
	for _, f := range q.Failures {
		if f.Reason == "" || strings.Contains(f.Reason, providerKey) {
			p.Errorf("a passage failed for %q", f.Reason)
		}
	}
	if q.Leased != 0 {
		p.Errorf("%d passages are held by nobody", q.Leased)
	}
	return q
}

// vectors returns how many there are, all of which must be right.
func (p *provided) vectors() int {
	p.Helper()
	list, err := p.mem.Generations(p.Context())
	must(p, err)
	if len(list) == 0 {
		return 0
	}
	n, err := checkVectors(p.Context(), p.store.DB(), list[0])
	if err != nil {
		p.Error(err)
	}
	return n
}

// calls checks how many requests there were since the last check.
func (p *provided) calls(most int, when string) {
	p.Helper()
	if n := p.server.Stats().Calls; n > most {
		p.Errorf("%s: %d calls, want at most %d", when, n, most)
	}
	p.server.Reset()
}

// typed checks that an error is the provider's, of a kind or of an open breaker, and tells no key.
func (p *provided) typed(err error, kind embedding.Kind, when string) {
	p.Helper()
	var fault *embedding.Error
	switch {
	case !errors.Is(err, llmemory.ErrUnavailable) || !errors.As(err, &fault):
		p.Errorf("%s: untyped: %v", when, err)
	case fault.Kind != kind && !errors.Is(err, embedding.ErrBreakerOpen):
		p.Errorf("%s: %v; want %s", when, err, kind)
	case strings.Contains(err.Error(), providerKey):
		p.Errorf("%s: the key is told: %v", when, err)
	}
}

// searches checks that a search answers by text, and says whether vectors are missing from it.
func (p *provided) searches(degraded bool) {
	p.Helper()
	r, err := p.app.Search(p.Context(), "alpha passage0", nil)
	if err != nil || len(r.Hits) == 0 || r.Hits[0].Scores.Text == nil {
		p.Errorf("search: %+v, %v", r, err)
		return
	}
	if told := len(r.Degraded) == 1 && strings.HasPrefix(r.Degraded[0], "vector: "); told != degraded || !degraded && len(r.Degraded) > 0 {
		p.Errorf("search: degraded %q", r.Degraded)
	}
}

// firstUse has the fault there before anything is known of the model.
func (p *provided) firstUse() {
	if p.fault.Fault == embedtest.WrongDimension {
		p.add(llmemory.EmbedNow, p.texts(3)) // nothing is wrong before another dimension is known
		return
	}
	p.server.Fail(embedtest.Always(p.fault.Fault))
	texts := p.texts(20)
	added := p.add(llmemory.EmbedNow, texts)
	if p.fault.alone() {
		p.server.Reset()
		if added.Pending != 0 {
			p.Errorf("first use: %+v", added)
		}
	} else {
		p.calls(providerTries, "first use")
		p.typed(added.EmbedErr, p.fault.kind, "first use")
		if !p.fault.slow() {
			p.searches(true)
		}
		if added.Embedded != 0 || p.vectors() != 0 {
			p.Errorf("first use: %+v, %d vectors", added, p.vectors())
		}
	}
	p.heal()
}

// always has the fault in every call, while a document is added and while a worker works.
func (p *provided) always() {
	p.server.Fail(embedtest.Always(p.fault.Fault))
	p.server.Reset()
	const n = 20
	kind, add, work := p.fault.kind, 1, 2 // somebody has to act: one call shows it; a worker tries a plain word, too
	switch {
	case p.fault.alone():
		add, work = 2*n, 0
	case p.fault.blames(): // halves down to a text, its neighbour, a plain word
		kind, add = embedding.Refused, log2(providerBatch)+3
		work = add + 1
	case kind == embedding.RateLimited:
		add, work = providerTries, providerTries
	case kind == embedding.Unavailable:
		add, work = providerTries, 2*providerTries
	}
	before := p.vectors()
	added := p.add(llmemory.EmbedNow, p.texts(n))
	p.calls(add, "Add, always")
	progress, err := p.work()
	p.calls(work, "work, always")
	if p.fault.alone() {
		if added.Embedded != n || err != nil {
			p.Errorf("always: %+v, %v", added, err)
		}
		p.searches(false)
		p.heal()
		return
	}
	p.typed(added.EmbedErr, kind, "Add, always")
	p.typed(err, kind, "work, always")
	if progress.Embedded+progress.Failed != 0 {
		p.Errorf("work, always: %+v", progress)
	}
	q := p.queue()
	for _, f := range q.Failures {
		if f.Attempts != 0 || f.Dead {
			p.Errorf("a passage is blamed: %+v", f)
		}
	}
	if q.Waiting != n || len(q.Failures) != n || p.vectors() != before {
		p.Errorf("always: %d wait, %d failed, %d vectors of %d", q.Waiting, len(q.Failures), p.vectors(), before)
	}
	p.searches(true)
	if !p.fault.slow() {
		_, err = p.app.Search(p.Context(), "alpha", &llmemory.SearchOptions{Mode: llmemory.ByVector})
		p.typed(err, p.fault.kind, "search by vector")
	}
	p.heal()
}

// passing has the fault in one call of a worker's.
func (p *provided) passing() {
	const batches = 4
	p.add(llmemory.EmbedLater, p.texts(batches*providerBatch))
	p.server.Reset()
	p.server.Fail(embedtest.Next(embedtest.None, p.fault.Fault))
	progress, err := p.work()
	most := batches // and then
	switch {
	case p.fault.blames(): // the search for a text
		most += 2*log2(providerBatch) + 1
	case p.fault.passes(): // the same again
		most++
	case p.fault.kind != "": // a plain word, and what was left in two halves
		most += 3
	}
	p.calls(most, "passing")
	if err != nil || progress.Embedded != batches*providerBatch || progress.Failed != 0 {
		p.Errorf("passing: %+v, %v", progress, err)
	}
	p.heal()
}

// poisoned has the fault whenever a certain text is there, in a document that is added and in a worker's batch.
func (p *provided) poisoned() {
	if p.fault.kind == "" {
		return
	}
	n := 4 * providerBatch
	if p.fault.slow() {
		n = providerBatch / 4
	}
	texts := p.texts(n)
	poison := texts[n*2/3]
	p.add(llmemory.EmbedLater, texts)
	p.server.Reset()
	p.server.Fail(embedtest.Poison(p.fault.Fault, poison))
	progress, err := p.work()
	p.searches(false)
	bad := 1
	switch {
	case p.fault.alone():
		bad = 0
		fallthrough
	case p.fault.blames():
		p.calls(n/providerBatch+2*log2(providerBatch)+1+1, "poison")
	case p.fault.kind == embedding.RateLimited: // nobody can tell that it is the text
		p.typed(err, p.fault.kind, "poison")
		if q := p.queue(); q.Dead != 0 || progress.Failed != 0 {
			p.Errorf("poison: %+v, %d dead", progress, q.Dead)
		}
		p.heal()
		return
	default:
		// Each level has a call that fails, tried again, a plain word, and batches of the other half.
		p.calls((providerTries+2)*(log2(n)+2)+2*n/providerBatch+1, "poison")
	}
	if err != nil || progress.Embedded != n-bad || progress.Failed != bad || p.vectors() != p.total-bad {
		p.Errorf("poison: %+v, %v, %d of %d vectors", progress, err, p.vectors(), p.total)
	}
	if p.fault.slow() {
		p.heal()
		return
	}
	if bad == 1 {
		p.givenUp()
	}
	p.heal()

	texts = p.texts(providerBatch / 2)
	p.server.Fail(embedtest.Poison(p.fault.Fault, texts[5]))
	added := p.add(llmemory.EmbedNow, texts)
	if p.fault.blames() && added.Pending != bad {
		p.Errorf("a document with poison in it: %+v", added)
	}
	if p.fault.blames() && bad == 1 {
		p.typed(added.EmbedErr, p.fault.kind, "a document with poison in it")
	}
	if progress, err := p.work(); err != nil || p.vectors() != p.total-bad {
		p.Errorf("a worker after it: %+v, %v, %d of %d vectors", progress, err, p.vectors(), p.total)
	}
	p.heal()
}

// givenUp has a worker try the one passage that is left until it gives it up, for a reason that can be seen.
func (p *provided) givenUp() {
	attempts := 1
	if p.fault.kind != embedding.InvalidInput {
		attempts = 5
	}
	for range attempts - 1 {
		if q := p.queue(); q.Waiting != 1 || q.Dead != 0 {
			p.Errorf("poison: %d wait, %d dead", q.Waiting, q.Dead)
		}
		if progress, err := p.work(); err != nil || progress.Embedded != 0 || progress.Failed != 1 {
			p.Errorf("poison, again: %+v, %v", progress, err)
		}
	}
	q := p.queue()
	if q.Waiting != 0 || q.Dead != 1 || len(q.Failures) != 1 || !q.Failures[0].Dead || q.Failures[0].Attempts != attempts {
		p.Errorf("poison, after %d attempts: %d wait, %d dead, %d failures", attempts, q.Waiting, q.Dead, len(q.Failures))
	}
	p.server.Reset()
	if progress, err := p.work(); err != nil || progress.Embedded+progress.Failed != 0 {
		p.Errorf("after it was given up: %+v, %v", progress, err)
	}
	p.calls(0, "after it was given up")
}

// TestProviderFaults has a provider misbehave in every way there is, on the way from Add and from a worker into the tables: callers
// are told what it is, no passage is given up for what is not its fault, no bad vector is stored, the number of calls is bounded, and
// searches answer by text and say so. When the fault is over, every passage gets its vector.
func TestProviderFaults(t *testing.T) {
	t.Parallel()
	places := make(chan struct{}, 8) // they wait more than they work
	var faults sync.WaitGroup
	for _, f := range providerFaults {
		faults.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			t.Run(string(f.Fault), func(t *testing.T) {
				p := newProvided(t, f, time.Millisecond)
				p.firstUse()
				p.always()
				p.passing()
				p.poisoned()
				must(t, checkStored(t.Context(), p.store))
			})
		})
	}
	faults.Wait()
}

// TestManyPoisons has half of the texts be such that the provider refuses them, or breaks down over them: the other half is embedded in
// one go, and each of the others has failed for itself.
func TestManyPoisons(t *testing.T) {
	t.Parallel()
	for _, f := range []providerFault{{embedtest.BadRequest, embedding.InvalidInput}, {embedtest.ServerError, embedding.Unavailable}, {embedtest.Forbidden, embedding.Unauthorized}} {
		p := newProvided(t, f, time.Millisecond)
		p.add(llmemory.EmbedNow, p.texts(1))
		const n = 4 * providerBatch
		texts := p.texts(n)
		var poison []string
		for i := 0; i < n; i += 2 {
			poison = append(poison, texts[i])
		}
		p.add(llmemory.EmbedLater, texts)
		p.server.Reset()
		p.server.Fail(embedtest.Poison(f.Fault, poison...))
		progress, err := p.work()
		if err != nil || progress.Embedded != n/2 || progress.Failed != n/2 || p.vectors() != p.total-n/2 {
			t.Errorf("%s: %+v, %v, %d of %d vectors", f.Fault, progress, err, p.vectors(), p.total)
		}
		p.calls(2*n*(providerTries+1), "half of them poison") // a tree of calls that fail, each with a plain word
		p.heal()
	}
}

// TestProviderFaultsAtRandom has a third of all calls fail in whatever way, while documents are added and a worker works: what callers
// are told is typed, and in the end every passage has its vector.
func TestProviderFaultsAtRandom(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	p := newProvided(t, providerFault{}, time.Millisecond)
	p.add(llmemory.EmbedNow, p.texts(3))
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	number := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
	p.server.Fail(func(embedtest.Call) embedtest.Fault {
		if f := providerFaults[number(len(providerFaults))]; number(3) == 0 && !f.slow() {
			return f.Fault
		}
		return embedtest.None
	})
	failed, told := 0, map[embedding.Kind]int{}
	hear := func(err error) {
		var fault *embedding.Error
		switch {
		case err == nil:
			return
		case !errors.Is(err, llmemory.ErrUnavailable) || !errors.As(err, &fault) || strings.Contains(err.Error(), providerKey):
			t.Errorf("seed %d: untyped: %v", seed, err)
			return
		}
		failed++
		told[fault.Kind]++
	}
	rounds := soak.Pick(30, 500)
	for range rounds {
		when := []llmemory.Embed{llmemory.EmbedNow, llmemory.EmbedLater}[number(2)]
		hear(p.add(when, p.texts(1+number(60))).EmbedErr)
		_, err := p.work()
		hear(err)
		if r, err := p.app.Search(t.Context(), "alpha passage0", nil); err != nil || len(r.Hits) == 0 {
			t.Errorf("seed %d: search: %+v, %v", seed, r, err)
		}
	}
	p.heal()
	must(t, checkStored(t.Context(), p.store))
	if failed == 0 || t.Failed() {
		t.Errorf("seed %d: %d of %d rounds failed: %v", seed, failed, rounds, told)
	}
}

// TestProviderOutage has a provider go down and come back while [llmemory.Memory.Run] works: what was added meanwhile is embedded then,
// nothing is given up, and the provider is asked a few times only.
func TestProviderOutage(t *testing.T) {
	t.Parallel()
	p := newProvided(t, providerFault{embedtest.ServerError, embedding.Unavailable}, time.Millisecond)
	p.add(llmemory.EmbedNow, p.texts(3))
	p.heal() // fills what was stored before the model was known: nothing
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.mem.Run(ctx) }()
	p.server.Reset()
	p.server.Fail(embedtest.Always(p.fault.Fault))
	begin := time.Now()
	p.add(llmemory.EmbedLater, p.texts(40))
	for p.server.Stats().Calls < 3*providerTries && !t.Failed() { // a worker has come back
		p.hurry()
		time.Sleep(10 * time.Millisecond)
	}
	p.searches(true)
	p.calls(2*providerTries*(2+int(time.Since(begin)/(minRest/2))), "an outage")
	p.server.Fail(nil)
	for deadline := time.Now().Add(time.Minute); p.vectors() < p.total; time.Sleep(10 * time.Millisecond) {
		if p.hurry(); time.Now().After(deadline) {
			t.Fatalf("%d of %d passages have a vector a minute after the outage", p.vectors(), p.total)
		}
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	if q := p.queue(); q.Waiting+q.Dead != 0 {
		t.Errorf("after the outage: %d wait, %d dead", q.Waiting, q.Dead)
	}
}

// minRest is how long a worker leaves a provider alone at first that is down, give or take a half.
const minRest = time.Second

// TestProviderSendsAwayForDays has a provider ask to be left alone for three days, as after a quota: Add does not wait, and the
// passages are tried again after five minutes, by the database's clock.
func TestProviderSendsAwayForDays(t *testing.T) {
	t.Parallel()
	const days = 72 * time.Hour
	p := newProvided(t, providerFault{embedtest.RateLimited, embedding.RateLimited}, days)
	p.add(llmemory.EmbedNow, p.texts(3))
	p.server.Reset()
	p.server.Fail(embedtest.Always(embedtest.RateLimited))
	rests := func(when string) {
		t.Helper()
		var least, most float64 // seconds
		err := p.store.DB().QueryRow(t.Context(), `SELECT extract(epoch FROM min(due_at) - now())::float8, extract(epoch FROM max(due_at) - now())::float8
			FROM {{tables.embedding_queue}} WHERE NOT dead AND lease_token IS NULL`).Scan(&least, &most)
		if err != nil || least < 200 || most > 300 {
			t.Errorf("%s: due in %v to %v seconds (%v), want five minutes", when, least, most, err)
		}
	}
	added := p.add(llmemory.EmbedNow, p.texts(20))
	p.typed(added.EmbedErr, embedding.RateLimited, "Add")
	var unavailable *llmemory.UnavailableError
	if !errors.As(added.EmbedErr, &unavailable) || unavailable.RetryAfter != days {
		t.Errorf("what the provider says is not told: %v", added.EmbedErr)
	}
	p.calls(1, "Add")
	rests("Add")
	_, err := p.work()
	p.typed(err, embedding.RateLimited, "work")
	p.calls(1, "work")
	rests("work")
	p.searches(true)
	p.heal()
}
