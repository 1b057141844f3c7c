package llmemory

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	randv2 "math/rand/v2"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/llmemory/llmemory/embedding"
)

const (
	maxEmbedBatch = 10_000
	// maxEmbedAttempts is how often a text that makes the embedder answer nonsense is tried before it is given up.
	maxEmbedAttempts = 5
	// embedDelay is how long a passage rests when the embedder failed for reasons that are not the passage's.
	embedDelay    = 15 * time.Second
	maxEmbedDelay = 10 * time.Minute
	// maxRetryAfter is how long an embedder may send us away: if it says days, it is asked again all the same.
	maxRetryAfter = 5 * time.Minute
	maxReason     = 500 // bytes of an error kept with a job
	// busyTries bounds the wait for a writer that holds a passage whose vector is there.
	busyTries = 200
	// storeTries is how often storing vectors is tried while the database is unavailable: for two seconds, as a restart takes.
	storeTries = 4
	// settleTime is how long the end of a batch may take after its caller has gone: to store what was paid for and to give back
	// the rest.
	settleTime = 5 * time.Second
)

// inputHash is the key by which an owner's vectors are used again: the hash of what a leaf is embedded from.
func inputHash(texts []string) []byte {
	sum := sha256.Sum256([]byte(texts[0]))
	for _, text := range texts[1:] {
		part := sha256.Sum256([]byte(text))
		sum = sha256.Sum256(append(sum[:], part[:]...))
	}
	return sum[:]
}

// countTokens returns how many tokens embedding a leaf takes.
func countTokens(e embedding.Embedder, in *JobInput) (n int) {
	for _, text := range in.Texts() {
		n += embedding.CountTokens(e, embedding.Passage, text)
	}
	return n
}

// newToken returns a random UUID, of version 4: whoever holds it holds a lease.
func newToken() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	s := hex.EncodeToString(u[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// work is a batch of jobs that a token holds, on its way through an embedder. No connection is held while the embedder is asked,
// and vectors are stored as they come: what was paid for stays, whatever happens to the rest.
type work struct {
	m          *Memory
	generation *Generation
	embedder   embedding.Embedder
	token      string
	jobs       []Job
	settled    []bool // by job: it is done, or its failure is noted
	inputs     []input
	isolate    bool // finds the text that an embedder breaks down over, which may take a while
	stored     int
	done       func(job int) // called for each job whose vector is stored; may be nil
	fault      error         // why jobs were given back, if not for their own texts: the first such error
	failed     []failure
}

// failure is a job that was not done.
type failure struct {
	FailItem
	job int
	err error
}

// input is what a leaf is embedded from, with the jobs of one owner that wait for it.
type input struct {
	OwnedInput
	texts []string
	jobs  []int
}

func (m *Memory) newWork(g *Generation, e embedding.Embedder, token string, jobs []Job) *work {
	w := &work{m: m, generation: g, embedder: e, token: token, jobs: jobs, settled: make([]bool, len(jobs))}
	at := map[[2]string]int{}
	for i, j := range jobs {
		texts := j.Texts()
		hash := inputHash(texts)
		key := [2]string{j.Owner, string(hash)}
		n, ok := at[key]
		if !ok {
			n = len(w.inputs)
			at[key] = n
			w.inputs = append(w.inputs, input{OwnedInput: OwnedInput{Owner: j.Owner, Hash: hash}, texts: texts})
		}
		w.inputs[n].jobs = append(w.inputs[n].jobs, i)
	}
	return w
}

// run does the jobs. It returns why some were given back unless it is for their own texts, or the store's error. Those that the
// embedder refuses carry the reason in the queue. When it returns, no job is held any more but those that a writer is at, and
// nothing goes on in the background.
func (w *work) run(ctx context.Context) error {
	settle, release := outlasting(ctx, settleTime)
	defer release()
	asking, stopAsking := context.WithCancel(ctx)
	defer stopAsking()
	beating, stopBeating := context.WithCancel(settle)
	var heart sync.WaitGroup
	heart.Go(func() {
		if w.extend(beating) {
			stopAsking() // others are at it by now
		}
	})
	err := w.embed(asking, settle, w.inputs)
	stopBeating()
	heart.Wait()

	for j, settled := range w.settled {
		if settled {
			continue
		}
		switch { // due at once: nobody has tried it
		case ctx.Err() != nil:
			w.giveBack(j, FailItem{}, ctx.Err())
		case err != nil:
			w.giveBack(j, FailItem{}, err)
		default:
			w.giveBack(j, FailItem{}, &UnavailableError{What: "embedder", Err: errors.New("the lease was lost: the worker had been silent for too long")})
		}
	}
	if len(w.failed) > 0 {
		p := FailParams{Generation: w.generation.ID, Token: w.token}
		for _, f := range w.failed {
			p.Items = append(p.Items, f.FailItem)
		}
		if failErr := w.m.store.Fail(settle, p); err == nil {
			err = failErr
		}
	}
	if err != nil {
		return err
	}
	return w.fault
}

// outlasting returns a context that ends some time after its parent, or when it is released.
func outlasting(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(d, cancel) })
	return out, func() {
		stop()
		cancel()
	}
}

// embed asks the embedder for inputs and stores what it answers. It returns the store's error.
func (w *work) embed(ctx, settle context.Context, inputs []input) error {
	var asked answers
	for _, in := range inputs {
		asked.ask(in.texts)
	}
	var down []input // got no answer
	var cause error
	for first, results := range embedding.Each(ctx, w.embedder, embedding.Passage, asked.texts) {
		var items []CompleteItem
		var jobs []int
		for i, r := range results {
			n, whole := asked.answer(first+i, r)
			if !whole {
				continue
			}
			in := inputs[n]
			switch vector, err := asked.of(n); {
			case err == nil:
				for _, j := range in.jobs {
					items = append(items, CompleteItem{Owner: in.Owner, Ordinal: w.jobs[j].Ordinal, Hash: in.Hash, Vector: vector})
					jobs = append(jobs, j)
				}
			case ctx.Err() != nil: // by the caller, or because the lease is lost: nobody's fault
			case embedding.InputFault(err):
				w.blame(in, err)
			default:
				down, cause = append(down, in), err
			}
		}
		if err := w.complete(settle, items, jobs); err != nil {
			return err // and ask no more
		}
	}
	switch {
	case len(down) == 0 || ctx.Err() != nil:
		return nil
	case !w.isolate || !w.broke(ctx, cause):
		w.rest(down, cause)
		return nil
	case len(down) == 1:
		w.blame(down[0], cause)
		return nil
	}
	half := len(down) / 2
	if err := w.embed(ctx, settle, down[:half]); err != nil {
		return err
	}
	if w.fault != nil { // it is down after all
		w.rest(down[half:], cause)
		return nil
	}
	return w.embed(ctx, settle, down[half:])
}

// answers puts together what an embedder answers for the parts of leaves.
type answers struct {
	texts   []string
	leaves  []int // by text: the leaf it is a part of
	results []embedding.Result
	first   []int // by leaf: its first text
	missing []int // by leaf: parts without an answer
}

// ask adds a leaf.
func (a *answers) ask(parts []string) {
	a.first, a.missing = append(a.first, len(a.texts)), append(a.missing, len(parts))
	for range parts {
		a.leaves = append(a.leaves, len(a.first)-1)
	}
	a.texts, a.results = append(a.texts, parts...), append(a.results, make([]embedding.Result, len(parts))...)
}

// answer notes the answer for a text, and tells of which leaf it is and whether that has all of its answers now.
func (a *answers) answer(text int, r embedding.Result) (leaf int, whole bool) {
	leaf = a.leaves[text]
	a.results[text] = r
	a.missing[leaf]--
	return leaf, a.missing[leaf] == 0
}

// of returns a leaf's vector, see [JoinParts]. If there is none for some of its parts it returns why, by preference because of the text.
func (a *answers) of(leaf int) (vector []float32, err error) {
	to := len(a.texts)
	if leaf+1 < len(a.first) {
		to = a.first[leaf+1]
	}
	results := a.results[a.first[leaf]:to]
	parts := make([][]float32, len(results))
	for i, r := range results {
		if parts[i] = r.Vector; r.Err != nil && (err == nil || embedding.InputFault(r.Err)) {
			err = r.Err
		}
	}
	clear(results) // a long document's vectors are not held until its last one comes
	if err != nil {
		return nil, err
	}
	return JoinParts(parts), nil
}

// broke tells whether an embedder that failed is there as soon as it is asked for something else, so that it may well be a text
// that it breaks down over, or so many at once, or that somebody on the way to it does not let pass.
func (w *work) broke(ctx context.Context, err error) bool {
	var fault *embedding.Error
	if errors.As(err, &fault) && fault.Kind == embedding.RateLimited || errors.Is(err, embedding.ErrBreakerOpen) {
		return false // it says itself that it is not the text
	}
	_, err = w.embedder.Embed(ctx, embedding.Passage, []string{"text"})
	return err == nil
}

// reuse completes the jobs whose owner has a vector for the text already.
func (w *work) reuse(ctx context.Context) error {
	p := KnownParams{Generation: w.generation.ID}
	for _, in := range w.inputs {
		p.Inputs = append(p.Inputs, in.OwnedInput)
	}
	found, err := w.m.store.Known(ctx, p)
	if err != nil || len(found) == 0 {
		return err
	}
	vectors := map[[2]string][]float32{}
	for _, k := range found {
		vectors[[2]string{k.Owner, string(k.Hash)}] = k.Vector
	}
	var items []CompleteItem
	var jobs []int
	rest := w.inputs[:0:0]
	for _, in := range w.inputs {
		v := vectors[[2]string{in.Owner, string(in.Hash)}]
		if v == nil {
			rest = append(rest, in)
			continue
		}
		for _, j := range in.jobs {
			items = append(items, CompleteItem{Owner: in.Owner, Ordinal: w.jobs[j].Ordinal, Hash: in.Hash, Vector: v})
			jobs = append(jobs, j)
		}
	}
	w.inputs = rest
	return w.complete(ctx, items, jobs)
}

// complete stores vectors. jobs are the jobs of the items. Repeated after an unknown outcome, it finds done what is done.
func (w *work) complete(ctx context.Context, items []CompleteItem, jobs []int) error {
	failures := 0
	for try := 0; len(items) > 0; try++ {
		r, err := w.m.store.Complete(ctx, CompleteParams{Generation: w.generation.ID, Token: w.token, Items: items})
		if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrCommitUnknown) {
			if failures++; failures < storeTries && sleep(ctx, 100*time.Millisecond<<(2*(failures-1))) == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		w.stored += r.Stored
		busy := map[int]bool{}
		for _, i := range r.Busy {
			busy[i] = true
		}
		var restItems []CompleteItem
		var restJobs []int
		for i := range items {
			if busy[i] {
				restItems, restJobs = append(restItems, items[i]), append(restJobs, jobs[i])
				continue
			}
			if w.settled[jobs[i]] = true; w.done != nil {
				w.done(jobs[i])
			}
		}
		items, jobs = restItems, restJobs
		if len(items) > 0 {
			if try >= busyTries { // a host's transaction is holding them: they are due again when the lease ends
				for _, j := range jobs {
					w.settled[j] = true
				}
				return nil
			}
			if err := sleep(ctx, min(time.Duration(try+1)*5*time.Millisecond, 100*time.Millisecond)); err != nil {
				return err
			}
		}
	}
	return nil
}

// blame notes that jobs were not done for their own text.
func (w *work) blame(in input, err error) {
	var fault *embedding.Error
	hopeless := errors.As(err, &fault) && fault.Kind == embedding.InvalidInput
	for _, j := range in.jobs {
		attempts := w.jobs[j].Attempts
		w.giveBack(j, FailItem{
			Reason: shorten(err.Error()), Tried: true, Dead: hopeless || attempts+1 >= maxEmbedAttempts,
			Delay: min(embedDelay<<min(attempts, 10), maxEmbedDelay),
		}, providerError(err))
	}
}

// rest notes that jobs were not done for a reason that is not their text's: they are due again later, as often as it takes.
func (w *work) rest(inputs []input, err error) {
	if w.fault == nil {
		w.fault = providerError(err)
	}
	for _, in := range inputs {
		for _, j := range in.jobs {
			w.giveBack(j, FailItem{
				Reason: shorten(err.Error()), Delay: pauseAfter(err, embedDelay),
			}, w.fault)
		}
	}
}

// giveBack notes that a job was not done, and why.
func (w *work) giveBack(job int, item FailItem, err error) {
	item.Owner, item.Ordinal = w.jobs[job].Owner, w.jobs[job].Ordinal
	w.settled[job] = true
	w.failed = append(w.failed, failure{item, job, err})
}

// pauseAfter is how long to leave an embedder alone that failed: as long as it says, up to [maxRetryAfter], and about the usual time
// at least, which differs so that not everybody comes back at once.
func pauseAfter(err error, usual time.Duration) time.Duration {
	return max(min(embedding.RetryAfter(err), maxRetryAfter), usual/2+randv2.N(usual))
}

func shorten(s string) string {
	if len(s) <= maxReason {
		return s
	}
	for n := maxReason; ; n-- {
		if utf8.RuneStart(s[n]) {
			return s[:n] + "…"
		}
	}
}

// owner returns the owner of all jobs, "" if there are several.
func (w *work) owner() string {
	for _, j := range w.jobs {
		if j.Owner != w.jobs[0].Owner {
			return ""
		}
	}
	return w.jobs[0].Owner
}

// extend keeps the lease until the context ends. It tells whether the lease was lost before.
func (w *work) extend(ctx context.Context) (lost bool) {
	for sleep(ctx, w.m.config.EmbedLease/3) == nil {
		p := ExtendParams{Owner: w.owner(), Generation: w.generation.ID, Token: w.token, Lease: w.m.config.EmbedLease}
		switch n, err := w.m.store.Extend(ctx, p); {
		case ctx.Err() != nil:
		case err != nil:
			w.m.config.Logger.WarnContext(ctx, "llmemory: prolonging a lease failed", "error", err)
		case n == 0:
			return true
		}
	}
	return false
}

// vectorPlan is what an Add intends for the vectors of a batch, decided before its transaction.
type vectorPlan struct {
	active     int64       // the generation it is made for, 0 for none
	generation *Generation // to embed for at once, nil for none
	embedder   embedding.Embedder
	token      string
	fault      error // why nothing can be embedded now
}

// prepareVectors makes sure that there is a generation, and finds the embedder to use once a batch is stored. It may have to ask
// the embedder what it is like, for which it does not take all the time that the caller has: the documents are yet to be stored.
func (m *Memory) prepareVectors(ctx context.Context, batch []*prepared) *vectorPlan {
	plan := &vectorPlan{}
	if m.config.Embedder == nil || joined(m.store) {
		return plan
	}
	patience := m.config.QueryTimeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if plan.fault = m.ready(ctx); plan.fault != nil {
		return plan
	}
	var list []Generation
	if list, plan.fault = m.generations(ctx); plan.fault != nil {
		return plan
	}
	g := activeOf(list)
	if g == nil {
		return plan
	}
	plan.active = g.ID
	if !slices.ContainsFunc(batch, func(p *prepared) bool { return p.embed == EmbedNow }) {
		return plan
	}
	if e := m.embedderOf(ctx, g); e != nil {
		plan.generation, plan.embedder, plan.token = g, e, newToken()
	} else {
		plan.fault = m.foreign(g)
	}
	return plan
}

// stale tells whether the plan is made for another generation than the one that the edit finds to be active.
func (p *vectorPlan) stale(list []Generation) bool {
	g := activeOf(list)
	return p.active != 0 && (g == nil || g.ID != p.active)
}

// lease returns the lease to take on what the edit queues, nil for none.
func (p *vectorPlan) lease(duration time.Duration) *Lease {
	if p.generation == nil {
		return nil
	}
	return &Lease{Generation: p.active, Token: p.token, Duration: duration}
}

// foreign is the error that the active generation is of a model that this process has no embedder for.
func (m *Memory) foreign(g *Generation) error {
	return fmt.Errorf("%w: vectors are of generation %s, the embedder is %s; configure its embedder, or make a generation of this one (llmemory models add) and activate it",
		ErrUnavailable, g.describe(), m.config.Embedder.Model().Identity())
}

// embedNow embeds what the batch has leased, and tells each document how many of its leaves have a vector now.
func (w *writer) embedNow(ctx context.Context, plan *vectorPlan, batch []*prepared, results []Added) {
	waiting := map[uint64]bool{}
	for _, ordinal := range w.committed.Waiting {
		waiting[ordinal] = true
	}
	leased := map[uint64]bool{}
	for _, ordinal := range w.committed.Leased {
		leased[ordinal] = true
	}
	var now, later []embedLeaf
	for _, l := range w.embeds {
		r := &results[l.document]
		switch {
		case !waiting[l.job.Ordinal]:
			r.Embedded++
			continue
		case leased[l.job.Ordinal] && batch[l.document].embed == EmbedNow:
			now = append(now, l)
		case leased[l.job.Ordinal]:
			later = append(later, l)
		}
		r.Pending++
	}
	if plan.fault != nil && len(w.edit.Generations()) == 0 {
		for i, p := range batch { // nothing is queued before there is a generation: it is made up for then
			if r := &results[i]; p.result.Status != Unchanged && !p.record.NoVectors && r.Err == nil {
				r.Pending = r.Chunks
			}
		}
	}
	if len(later) > 0 { // documents of one batch may differ in when they want their vectors
		p := FailParams{Generation: plan.active, Token: plan.token}
		for _, l := range later {
			p.Items = append(p.Items, FailItem{Owner: w.owner, Ordinal: l.job.Ordinal})
		}
		settle, release := outlasting(ctx, settleTime)
		defer release()
		if err := w.m.store.Fail(settle, p); err != nil {
			w.m.config.Logger.WarnContext(ctx, "llmemory: giving passages to the queue failed; they will be embedded when the lease ends", "error", err)
		}
	}
	why := plan.fault
	if len(now) > 0 {
		jobs := make([]Job, len(now))
		for i, l := range now {
			jobs[i] = l.job
		}
		work := w.m.newWork(plan.generation, plan.embedder, plan.token, jobs)
		work.done = func(job int) {
			r := &results[now[job].document]
			r.Embedded++
			r.Pending--
		}
		if why = work.run(ctx); why == nil {
			why = &UnavailableError{What: "database", Err: errors.New("another transaction holds the passages; they are embedded when it has ended")}
		}
		for _, f := range work.failed {
			if r := &results[now[f.job].document]; r.EmbedErr == nil {
				r.EmbedErr = f.err
			}
		}
	}
	for i, p := range batch {
		if r := &results[i]; p.embed == EmbedNow && r.Pending > 0 && r.EmbedErr == nil {
			r.EmbedErr = why
		}
	}
}

// EmbedProgress tells how far the work on the queue is.
type EmbedProgress struct {
	Embedded int   // passages that got their vector
	Failed   int   // passages whose text the embedder refuses; the queue has the reasons
	Err      error // why generations were left alone, so far
}

// EmbedQueue works off what is queued for every generation whose embedder is configured, and returns when nothing is due any
// more: what others are working on, or what failed and rests, may still be there. report, if not nil, is called after each batch.
// A generation whose embedder fails is left alone after that, and the others are gone on with. Everything done until an error
// stays; a further call goes on.
//
// Errors: the embedder's, as [ErrUnavailable], the store's, or the context's.
func (m *Memory) EmbedQueue(ctx context.Context, report func(EmbedProgress)) (EmbedProgress, error) {
	var total EmbedProgress
	switch {
	case m.config.Embedder == nil:
		return total, invalidf("embedder", "is missing: none is configured")
	case joined(m.store):
		return total, &UnavailableError{What: "the queue", Err: errors.New("it cannot be worked off inside a transaction of the host's")}
	}
	m.models.retryNow() // whoever calls believes that it works
	if err := m.ready(ctx); err != nil {
		return total, err
	}
	failed := map[int64]error{}
	for {
		done, err := m.round(ctx, func(generation int64) bool { return failed[generation] == nil })
		worked := false
		for _, b := range done {
			worked = worked || b.worked
			total.Embedded += b.embedded
			total.Failed += b.failed
			if b.err != nil {
				failed[b.generation] = b.err
				total.Err = errors.Join(total.Err, b.err)
			}
		}
		if err != nil {
			total.Err = err
		}
		if report != nil && worked {
			report(total)
		}
		if err != nil || !worked {
			return total, total.Err
		}
	}
}

// step is what came of one step for a generation.
type step struct {
	generation int64
	worked     bool // there was something to do
	embedded   int  // passages
	failed     int  // passages, for their text
	err        error
}

// round does one step, a batch of passages or a page of a backfill, for each generation that may be worked on and whose embedder is
// configured.
func (m *Memory) round(ctx context.Context, may func(generation int64) bool) ([]step, error) {
	list, err := m.store.Generations(ctx, GenerationsParams{})
	if err != nil {
		return nil, err
	}
	var out []step
	for _, state := range []GenerationState{Active, Building, Standby} {
		for i := range list {
			g := &list[i]
			if g.State != state || !may(g.ID) {
				continue
			}
			done := step{generation: g.ID}
			var err error
			if e := m.embedderOf(ctx, g); e != nil {
				done, err = m.embedBatch(ctx, g, e)
			}
			if ctx.Err() != nil {
				return append(out, done), ctx.Err()
			}
			switch {
			case errors.Is(err, ErrNotFound): // it was retired meanwhile
				done.worked = true
			case err != nil:
				done.err = fmt.Errorf("generation %s: %w", g.describe(), err)
			}
			out = append(out, done)
		}
	}
	return out, nil
}

// backfillPage is how many passages are queued at a time for a new generation.
const backfillPage = 5_000

func (m *Memory) embedBatch(ctx context.Context, g *Generation, e embedding.Embedder) (step, error) {
	done := step{generation: g.ID}
	p := ClaimParams{Generation: g.ID, Token: newToken(), Lease: m.config.EmbedLease, Limit: m.config.EmbedBatch}
	jobs, err := m.store.Claim(ctx, p)
	switch {
	case err != nil:
		return done, err
	case len(jobs) == 0 && g.Backfilled:
		return done, nil
	case len(jobs) == 0:
		filled, err := m.store.Backfill(ctx, BackfillParams{Generation: g.ID, Limit: backfillPage})
		if err == nil {
			done.worked = filled.Queued > 0 || filled.Done
		}
		return done, err
	}
	w := m.newWork(g, e, p.Token, jobs)
	w.isolate = true
	if err = w.reuse(ctx); err == nil || ctx.Err() != nil {
		err = w.run(ctx) // if the caller has gone, this gives the jobs back
	}
	done.worked, done.embedded = true, w.stored
	for _, f := range w.failed {
		if f.Tried {
			done.failed++
		}
	}
	return done, err
}

// rest is how long a generation is left alone whose embedder failed.
type rest struct {
	until time.Time
	pause time.Duration // of the next failure
}

const (
	minRest = time.Second
	maxRest = time.Minute
)

// after returns the rest that follows a failure.
func (r rest) after(err error) rest {
	pause := max(r.pause, minRest)
	return rest{until: time.Now().Add(pauseAfter(err, pause)), pause: min(2*pause, maxRest)}
}

// embedLoop works on the queue until the context ends. A generation whose embedder fails rests, and the others are gone on with.
func (m *Memory) embedLoop(ctx context.Context) error {
	var wake <-chan struct{}
	if waker, ok := m.store.(Waker); ok {
		wake = waker.Wake(ctx)
	}
	const all = 0 // stands for what concerns no single generation
	rests := map[int64]rest{}
	note := func(generation int64, worked bool, err error) {
		switch {
		case err != nil:
			m.config.Logger.WarnContext(ctx, "llmemory: embedding failed; it will be tried again", "error", err)
			rests[generation] = rests[generation].after(err)
		case worked:
			delete(rests, generation)
		}
	}
	may := func(generation int64) bool { return !time.Now().Before(rests[generation].until) }
	for {
		worked := false
		if may(all) {
			m.models.retryNow()
			err := m.ready(ctx)
			var done []step
			if err == nil {
				done, err = m.round(ctx, may)
			}
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, ErrClosed):
				return err
			}
			note(all, true, err)
			for _, b := range done {
				worked = worked || b.worked
				note(b.generation, b.worked, b.err)
				if b.embedded > 0 {
					m.config.Logger.DebugContext(ctx, "llmemory: embedded", "generation", b.generation, "passages", b.embedded)
				}
			}
		}
		if worked {
			continue
		}
		timer := time.NewTimer(m.config.MaintenanceInterval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case _, open := <-wake:
			if !open {
				wake = nil
			}
			timer.Stop()
		case <-timer.C:
		}
	}
}

// tuneLoop keeps the indexes of the vectors in line with what owners have. What fails is tried again ever less often: a role that may
// make no index will not be able to in a minute either.
func (m *Memory) tuneLoop(ctx context.Context) error {
	const failed = "llmemory: an index of vectors could not be kept up; searches are exact meanwhile"
	pause := 15 * m.config.MaintenanceInterval
	var skip, next int // rounds to leave out, and how many after the next failure
	return m.repeat(ctx, pause, failed, func() (bool, error) {
		if skip > 0 {
			skip--
			return false, nil
		}
		worked, err := m.TuneIndexes(ctx)
		if err != nil {
			skip, next = next, min(2*next+1, 127)
		} else {
			next = 0
		}
		return worked, err
	})
}

// TuneIndexes does one step of what [Memory.Run] does for the indexes of vectors, where the store has any: it brings them in line with
// what owners have. It tells whether there was anything to do, in any generation. A build may take minutes; nobody waits for it.
func (m *Memory) TuneIndexes(ctx context.Context) (worked bool, err error) {
	list, err := m.store.Generations(ctx, GenerationsParams{})
	if err != nil {
		return false, err
	}
	var faults []error
	for _, g := range list {
		done, err := m.store.Tune(ctx, TuneParams{Generation: g.ID})
		switch {
		case ctx.Err() != nil:
			return worked, ctx.Err()
		case err != nil && !errors.Is(err, ErrNotFound): // it was retired meanwhile
			faults = append(faults, fmt.Errorf("generation %s: %w", g.describe(), err))
		case err == nil && !done:
			worked = true
		}
	}
	return worked, errors.Join(faults...)
}

// Queue tells what the owner waits for, with up to limit of the passages that could not be embedded, and why. A limit of 0 means 20.
func (o *Owner) Queue(ctx context.Context, limit int) (*QueueRecord, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	limit, err := checkLimit("limit", limit, 20, maxLimit)
	if err != nil {
		return nil, err
	}
	return o.memory.store.Queue(ctx, QueueParams{Owner: o.id, Limit: limit})
}

// RetryQueue makes the passages that were given up due again, and returns how many these are.
func (o *Owner) RetryQueue(ctx context.Context) (int, error) {
	if err := o.check(); err != nil {
		return 0, err
	}
	return o.memory.store.RetryQueue(ctx, RetryQueueParams{Owner: o.id})
}
