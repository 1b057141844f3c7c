package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
	"github.com/llmemory/llmemory/store/storetest"
)

// TestConformance runs the suite on a pool of the usual size.
func TestConformance(t *testing.T) {
	t.Parallel()
	d := newDriver(nil, pgdbm.Config{})
	storetest.RunWith(t, d.open, storetest.Options{Reopen: d.reopen, Check: checkOf})
}

// TestConformanceOneConnection runs it on a pool of one connection: a call that took a second one would wait for itself.
func TestConformanceOneConnection(t *testing.T) {
	t.Parallel()
	d := newDriver(nil, pgdbm.Config{MaxConns: 1, AcquireTimeout: 30 * time.Second})
	storetest.RunWith(t, d.open, storetest.Options{Reopen: d.reopen, Check: checkOf, OneTransaction: true, Brief: true})
}

// TestConformancePgBouncer runs it through a transaction pooler with one server connection: whatever relied on a session would
// find itself in another.
func TestConformancePgBouncer(t *testing.T) {
	t.Parallel()
	bouncer := func(tb testing.TB, url string) string { return pgtest.Bouncer(tb, url, pgtest.BouncerOptions{}) }
	d := newDriver(bouncer, pgdbm.Config{})
	storetest.RunWith(t, d.open, storetest.Options{Reopen: d.reopen, Check: checkOf, OneTransaction: true, Brief: true})
}

// driver opens stores in databases of their own.
type driver struct {
	through func(tb testing.TB, url string) string // a pooler; nil for none
	pool    pgdbm.Config
}

func newDriver(through func(testing.TB, string) string, pool pgdbm.Config) *driver {
	return &driver{through: through, pool: pool}
}

func (d *driver) open(tb testing.TB) llmemory.Store {
	tb.Helper()
	url := pgtest.Clone(tb, "llmemory conformance", migrate)
	if d.through != nil {
		url = d.through(tb, url)
	}
	return d.connect(tb, url)
}

// reopenable remembers where it came from.
type reopenable struct {
	*postgres.Store
	url string
}

func (d *driver) connect(tb testing.TB, url string) llmemory.Store {
	tb.Helper()
	store, err := postgres.Open(tb.Context(), url, &postgres.Options{Pool: d.pool, RequireMigrated: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := store.Close(); err != nil {
			tb.Errorf("close the store: %v", err)
		}
	})
	return reopenable{store, url}
}

func (d *driver) reopen(tb testing.TB, store llmemory.Store) llmemory.Store {
	tb.Helper()
	if err := store.Close(); err != nil {
		tb.Fatal(err)
	}
	return d.connect(tb, store.(reopenable).url)
}

func migrate(ctx context.Context, url string) error {
	store, err := postgres.Open(ctx, url, nil)
	if err != nil {
		return err
	}
	return store.Close()
}
