package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/pgproxy"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

// margin is how long after its deadline a call may return. What it needs by itself is 100 ms at the most; the rest is for a busy machine.
const margin = time.Second

// events are told when a call has got an answer, or given up waiting for one.
type events struct {
	on atomic.Pointer[func(ctx context.Context)]
}

// Trace implements [pgdbm.Tracer].
func (e *events) Trace(ctx context.Context, _ pgdbm.Event) {
	if on := e.on.Load(); on != nil {
		(*on)(ctx)
	}
}

// line is a store at the other end of a line that can be made slow or dead, and the same store at this end.
type line struct {
	proxy  *pgproxy.Proxy
	store  *postgres.Store
	mem    *llmemory.Memory
	direct *postgres.Store
	still  *llmemory.Memory
	events *events
}

func newLine(t *testing.T, pool pgdbm.Config) *line {
	t.Helper()
	url := pgtest.Clone(t, "llmemory conformance", migrate)
	proxy, through, err := pgproxy.StartFor(url)
	must(t, err)
	l := &line{proxy: proxy, events: &events{}}
	pool.Tracer = l.events
	l.store, l.mem, err = openVerses(t.Context(), through, pool, nil)
	must(t, err)
	l.direct, l.still, err = openVerses(t.Context(), url, pgdbm.Config{}, nil)
	must(t, err)
	t.Cleanup(func() {
		proxy.Reset()
		must(t, errors.Join(l.store.Close(), l.direct.Close()))
		_ = proxy.Close() // a test may have closed it
	})
	return l
}

// before is the text of the document that calls over the line change.
const before = "alpha before\nbeta"

// contested is its id.
var contested = llmemory.DocumentID("o", llmemory.Identity{OriginID: "default", Key: "k"})

// prepare gives every call something to do.
func (l *line) prepare(t *testing.T) {
	t.Helper()
	_, err := l.still.Owner("o").Add(t.Context(), llmemory.Document{Key: "k", Language: "en", Content: before})
	must(t, err)
	_, err = l.direct.DB().Exec(t.Context(), `UPDATE {{tables.document_owners}} SET analysis = 0`) // to be indexed anew
	must(t, err)
}

// text returns the contested document's text, nothing if it is not there.
func (l *line) text(t *testing.T) string {
	t.Helper()
	text, err := l.still.Owner("o").Text(t.Context(), contested)
	if !errors.Is(err, llmemory.ErrNotFound) {
		must(t, err)
	}
	return text
}

// fresh says whether the index is of this program's analysis.
func (l *line) fresh(t *testing.T) string {
	t.Helper()
	stats, err := l.still.Owner("o").Stats(t.Context())
	must(t, err)
	return fmt.Sprint(!stats.Index.Stale)
}

// remote are calls of every kind. Where they write, state tells what they found, old, from what they leave, done.
var remote = []struct {
	name      string
	call      func(ctx context.Context, mem *llmemory.Memory) error
	state     func(l *line, t *testing.T) string
	old, done string
	steps     bool // an error says nothing of the steps that were done before
}{
	{name: "Add", state: (*line).text, old: before, done: "alpha\nafter", call: func(ctx context.Context, mem *llmemory.Memory) error {
		_, err := mem.Owner("o").Add(ctx, llmemory.Document{Key: "k", Language: "en", Content: "alpha\nafter"})
		return err
	}},
	{name: "AddMany", state: (*line).text, old: before, done: "after", call: func(ctx context.Context, mem *llmemory.Memory) error {
		_, err := mem.Owner("o").AddMany(ctx, []llmemory.Document{{Key: "k", Language: "en", Content: "after"}, {Key: "l", Content: "alpha"}})
		return err
	}},
	{name: "Delete", state: (*line).text, old: before, done: "", call: func(ctx context.Context, mem *llmemory.Memory) error {
		_, err := mem.Owner("o").Delete(ctx, contested)
		return err
	}},
	{name: "Maintain", state: (*line).fresh, old: "false", done: "true", steps: true, call: func(ctx context.Context, mem *llmemory.Memory) error {
		_, err := mem.Maintain(ctx)
		return err
	}},
	{name: "Get", call: func(ctx context.Context, mem *llmemory.Memory) error {
		_, err := mem.Owner("o").Get(ctx, contested)
		return err
	}},
	{name: "GetWithChunks", call: func(ctx context.Context, mem *llmemory.Memory) error {
		_, _, err := mem.Owner("o").GetWithChunks(ctx, contested)
		return err
	}},
	{name: "List", call: func(ctx context.Context, mem *llmemory.Memory) error {
		_, err := mem.Owner("o").List(ctx, nil)
		return err
	}},
	{name: "Search", call: func(ctx context.Context, mem *llmemory.Memory) error {
		_, err := mem.Owner("o").Search(ctx, "alpha", &llmemory.SearchOptions{Parents: true, Neighbours: 1})
		return err
	}},
}

// timely checks how long a call took and what it says: its context's error, or that the database is unavailable or the outcome not
// known, which wrap it.
func timely(ctx context.Context, err error) error {
	deadline, _ := ctx.Deadline()
	switch late := time.Since(deadline); {
	case late > margin:
		return fmt.Errorf("returned %v after its deadline: %w", late, err)
	case err == nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, llmemory.ErrUnavailable), errors.Is(err, llmemory.ErrCommitUnknown):
		return nil
	}
	return fmt.Errorf("%w: want the context's error, ErrUnavailable or ErrCommitUnknown", err)
}

// TestBlackHole has the line go dead before every call and after every answer that a call gets, at once or while the caller is busy
// until its deadline has passed. Every call returns by its deadline and says what is true; when the line is back, so is the store.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	for _, op := range remote {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			l := newLine(t, pgdbm.Config{MaxConns: 2, ApplicationName: "remote"})
			l.prepare(t)
			must(t, op.call(t.Context(), l.mem))
			holes := 0
			patience := 100 * time.Millisecond
			for answers, whole := 0, false; !whole; answers++ {
				for _, busy := range []bool{false, true} {
					l.prepare(t)
					reached, err := l.swallow(t, answers, busy, patience, op.call)
					for ; !reached && err != nil; patience *= 2 { // a busy machine: the deadline came before the hole
						l.prepare(t)
						reached, err = l.swallow(t, answers, busy, patience, op.call)
					}
					if whole = !reached; whole {
						break
					}
					holes++
					if op.state != nil {
						got := op.state(l, t)
						verdict := err
						if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, llmemory.ErrCommitUnknown) {
							verdict = llmemory.ErrUnavailable // says the same: it was not done
						}
						if op.steps && got == op.done {
							verdict = nil
						}
						if verdict := judge(verdict, got == op.old, got == op.done); verdict != nil {
							t.Errorf("%d answers, busy %t: %v", answers, busy, errors.Join(verdict, err))
						}
					}
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second+margin)
					if err := op.call(ctx, l.mem); err != nil && !errors.Is(err, llmemory.ErrNotFound) {
						t.Errorf("%d answers, busy %t: when the line was back: %v", answers, busy, err)
					}
					cancel()
				}
			}
			if holes < 2 {
				t.Errorf("the line went dead %d times", holes)
			}
			_, err := l.still.Maintain(t.Context())
			must(t, errors.Join(err, checkStored(t.Context(), l.direct)))
		})
	}
}

// swallow makes a call on a line that goes dead after so many answers, checks that it returns by its deadline, and waits until
// everything that was under way is over. It reports whether the call got as far as that.
func (l *line) swallow(t *testing.T, answers int, busy bool, patience time.Duration, call func(context.Context, *llmemory.Memory) error) (reached bool, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	die := func(ctx context.Context) {
		l.proxy.Blackhole(true)
		reached = true
		if busy {
			<-ctx.Done()
		}
	}
	n := 0
	on := func(ctx context.Context) {
		if n++; n == answers {
			die(ctx)
		}
	}
	l.events.on.Store(&on)
	if answers == 0 {
		die(ctx)
	}
	err = call(ctx, l.mem)
	if late := timely(ctx, err); late != nil {
		t.Errorf("%d answers, busy %t: %v", answers, busy, late)
	}
	l.events.on.Store(nil)
	l.proxy.Blackhole(false)
	const open = `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'remote' AND datname = current_database() AND state <> 'idle'`
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		var sessions int
		must(t, l.direct.DB().QueryRow(t.Context(), open).Scan(&sessions))
		if sessions == 0 {
			return reached, err
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions are still at something", sessions)
		}
	}
}

// A slow line makes calls slow, never wrong, and a deadline shorter than the way is kept.
func TestLatency(t *testing.T) {
	t.Parallel()
	l := newLine(t, pgdbm.Config{})
	for _, op := range remote {
		l.prepare(t)
		l.proxy.Latency(10 * time.Millisecond)
		if err := op.call(t.Context(), l.mem); err != nil {
			t.Errorf("%s: %v", op.name, err)
		}
		if op.state != nil && op.state(l, t) != op.done {
			t.Errorf("%s was not done", op.name)
		}
		l.prepare(t)
		l.proxy.Latency(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := op.call(ctx, l.mem)
		if late := timely(ctx, err); err == nil || late != nil {
			t.Errorf("%s, with a deadline before any answer: %v, %v", op.name, err, late)
		}
		cancel()
	}
}

// Many callers on few connections all return by their deadlines from a dead line, and all succeed when it is back.
func TestBlackHoleCrowd(t *testing.T) {
	t.Parallel()
	l := newLine(t, pgdbm.Config{MaxConns: 2})
	crowd := func(timeout time.Duration) (failed int) {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		var all sync.WaitGroup
		errs := make([]error, 2*len(remote))
		for i := range errs {
			all.Go(func() {
				errs[i] = remote[i%len(remote)].call(ctx, l.mem)
				if late := timely(ctx, errs[i]); late != nil && !errors.Is(errs[i], llmemory.ErrNotFound) {
					t.Errorf("%s: %v", remote[i%len(remote)].name, late)
				}
			})
		}
		all.Wait()
		for _, err := range errs {
			if err != nil && !errors.Is(err, llmemory.ErrNotFound) {
				failed++
			}
		}
		return failed
	}
	l.prepare(t)
	for range 3 {
		l.proxy.Blackhole(true)
		if failed := crowd(200 * time.Millisecond); failed != 2*len(remote) {
			t.Errorf("%d of %d calls failed on a dead line", failed, 2*len(remote))
		}
		l.proxy.Blackhole(false)
		if failed := crowd(2*time.Second + margin); failed != 0 {
			t.Errorf("%d calls failed when the line was back", failed)
		}
	}
	if s := l.store.DB().Pool().Stats(); s.InUse != 0 || s.Total > s.Max {
		t.Errorf("connections afterwards: %+v", s)
	}
	_, err := l.still.Maintain(t.Context())
	must(t, errors.Join(err, checkStored(t.Context(), l.direct)))
}

// Where no connection can be made, a call without a deadline gives up after the pool's own time, and says so.
func TestNoConnection(t *testing.T) {
	t.Parallel()
	const acquire = 300 * time.Millisecond
	l := newLine(t, pgdbm.Config{MaxConns: 1, AcquireTimeout: acquire})
	l.prepare(t)
	for _, op := range remote {
		l.proxy.CutAll()
		l.proxy.Blackhole(true)
		ctx, cancel := context.WithTimeout(t.Context(), acquire) // does not end the call, only says when it should have ended
		err := op.call(t.Context(), l.mem)
		if late := timely(ctx, err); late != nil || !errors.Is(err, llmemory.ErrUnavailable) {
			t.Errorf("%s: %v, %v; want ErrUnavailable", op.name, err, late)
		}
		cancel()
		l.proxy.Blackhole(false)
		if err := op.call(t.Context(), l.mem); err != nil && !errors.Is(err, llmemory.ErrNotFound) {
			t.Errorf("%s, when the line was back: %v", op.name, err)
		}
	}
}

// Where there is no server, every call says so at once.
func TestNoServer(t *testing.T) {
	t.Parallel()
	l := newLine(t, pgdbm.Config{})
	l.prepare(t)
	if err := l.proxy.Close(); err != nil {
		t.Fatal(err)
	}
	for _, op := range remote {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := op.call(ctx, l.mem); !errors.Is(err, llmemory.ErrUnavailable) || ctx.Err() != nil {
			t.Errorf("%s: %v, want ErrUnavailable", op.name, err)
		}
		cancel()
	}
}
