package postgres_test

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

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

// TestConformanceOneConnection runs it on a pool of one connection, with edits that need many statements: a call that took a second
// connection would wait for itself.
func TestConformanceOneConnection(t *testing.T) {
	t.Parallel()
	d := newDriver(nil, pgdbm.Config{MaxConns: 1, AcquireTimeout: 30 * time.Second})
	d.statementBytes = 500
	storetest.RunWith(t, d.open, storetest.Options{Reopen: d.reopen, Check: checkOf, OneTransaction: true, Brief: true, Half: 1})
}

// TestConformancePgBouncer runs it through a transaction pooler with one server connection: whatever relied on a session would
// find itself in another.
func TestConformancePgBouncer(t *testing.T) {
	t.Parallel()
	bouncer := func(tb testing.TB, url string) string { return pgtest.Bouncer(tb, url, pgtest.BouncerOptions{}) }
	d := newDriver(bouncer, pgdbm.Config{})
	storetest.RunWith(t, d.open, storetest.Options{Reopen: d.reopen, Check: checkOf, OneTransaction: true, Brief: true, Half: 2})
}

// TestConformanceRowSecurity runs it under forced row-level security, as a role that may only read and write: a statement that forgets
// the owner fails. What is for all owners at once, and nothing else, is done as the worker role, and the tables of generations are made
// by their owner.
func TestConformanceRowSecurity(t *testing.T) {
	t.Parallel()
	app, worker := roleName(t, pgtest.Role(t, pgtest.AdminURL(t), pgtest.RoleOptions{})), roleName(t, pgtest.Role(t, pgtest.AdminURL(t), pgtest.RoleOptions{}))
	d := newDriver(nil, pgdbm.Config{MaxConns: 4})
	connect := func(tb testing.TB, address string) llmemory.Store {
		tb.Helper()
		as := func(role string) *postgres.Store {
			u, err := url.Parse(address)
			must(tb, err)
			if role != "" {
				u.User = url.User(role)
			}
			return d.connect(tb, u.String()).(reopenable).Store
		}
		return walled{Store: as(app), worker: as(worker), keeper: as(""), url: address}
	}
	open := func(tb testing.TB) llmemory.Store {
		tb.Helper()
		address := pgtest.Clone(tb, "llmemory conformance", migrate)
		conn, err := pgx.Connect(tb.Context(), address)
		must(tb, err)
		defer conn.Close(tb.Context())
		db := pgdbm.Wrap(pgxPool(tb, address, nil), nil).Schema("public")
		must(tb, postgres.EnableRowSecurity(tb.Context(), db, worker))
		for _, role := range []string{app, worker} {
			run(tb, conn, postgres.Grants("public", role))
		}
		return connect(tb, address)
	}
	storetest.RunWith(t, open, storetest.Options{
		Brief: true,
		Check: func(ctx context.Context, store llmemory.Store, owner string) error {
			return checkRows(ctx, store.(walled).keeper.DB(), owner)
		},
		Reopen: func(tb testing.TB, store llmemory.Store) llmemory.Store {
			w := store.(walled)
			for _, s := range []*postgres.Store{w.Store, w.worker, w.keeper} {
				must(tb, s.Close())
			}
			return connect(tb, w.url)
		},
	})
}

// walled is a store for which row-level security holds, but for what is overridden here.
type walled struct {
	*postgres.Store
	worker, keeper *postgres.Store
	url            string
}

// Close implements [llmemory.Store].
func (w walled) Close() error {
	return errors.Join(w.Store.Close(), w.worker.Close(), w.keeper.Close())
}

// Backlog implements [llmemory.Store].
func (w walled) Backlog(ctx context.Context, p llmemory.BacklogParams) ([]string, error) {
	return w.worker.Backlog(ctx, p)
}

// Owners implements [llmemory.Store].
func (w walled) Owners(ctx context.Context, p llmemory.OwnersParams) ([]string, error) {
	return w.worker.Owners(ctx, p)
}

// AddGeneration implements [llmemory.Store].
func (w walled) AddGeneration(ctx context.Context, p llmemory.AddGenerationParams) (*llmemory.Generation, error) {
	return w.keeper.AddGeneration(ctx, p)
}

// ActivateGeneration implements [llmemory.Store].
func (w walled) ActivateGeneration(ctx context.Context, p llmemory.ActivateGenerationParams) (*llmemory.Generation, error) {
	return w.worker.ActivateGeneration(ctx, p)
}

// RetireGeneration implements [llmemory.Store].
func (w walled) RetireGeneration(ctx context.Context, p llmemory.RetireGenerationParams) error {
	return w.keeper.RetireGeneration(ctx, p)
}

// Progress implements [llmemory.Store].
func (w walled) Progress(ctx context.Context, p llmemory.ProgressParams) (*llmemory.ProgressRecord, error) {
	return w.worker.Progress(ctx, p)
}

// Inputs implements [llmemory.Store].
func (w walled) Inputs(ctx context.Context, p llmemory.InputsParams) ([]llmemory.JobInput, error) {
	return w.worker.Inputs(ctx, p)
}

// Backfill implements [llmemory.Store].
func (w walled) Backfill(ctx context.Context, p llmemory.BackfillParams) (*llmemory.BackfillRecord, error) {
	return w.worker.Backfill(ctx, p)
}

// Claim implements [llmemory.Store].
func (w walled) Claim(ctx context.Context, p llmemory.ClaimParams) ([]llmemory.Job, error) {
	return w.worker.Claim(ctx, p)
}

// Tune implements [llmemory.Store].
func (w walled) Tune(ctx context.Context, p llmemory.TuneParams) (bool, error) {
	return w.keeper.Tune(ctx, p)
}

// Known implements [llmemory.Store].
func (w walled) Known(ctx context.Context, p llmemory.KnownParams) ([]llmemory.KnownVector, error) {
	return by(w, p.Inputs, func(in llmemory.OwnedInput) string { return in.Owner }).Known(ctx, p)
}

// Complete implements [llmemory.Store].
func (w walled) Complete(ctx context.Context, p llmemory.CompleteParams) (*llmemory.CompleteRecord, error) {
	return by(w, p.Items, func(item llmemory.CompleteItem) string { return item.Owner }).Complete(ctx, p)
}

// Fail implements [llmemory.Store].
func (w walled) Fail(ctx context.Context, p llmemory.FailParams) error {
	return by(w, p.Items, func(item llmemory.FailItem) string { return item.Owner }).Fail(ctx, p)
}

// Extend implements [llmemory.Store].
func (w walled) Extend(ctx context.Context, p llmemory.ExtendParams) (int, error) {
	if p.Owner == "" {
		return w.worker.Extend(ctx, p)
	}
	return w.Store.Extend(ctx, p)
}

// by returns the store that may do what is about these items: only the worker's if they are of several owners.
func by[T any](w walled, items []T, owner func(T) string) *postgres.Store {
	for _, item := range items {
		if owner(item) != owner(items[0]) {
			return w.worker
		}
	}
	return w.Store
}

// driver opens stores in databases of their own.
type driver struct {
	through func(tb testing.TB, url string) string // a pooler; nil for none
	pool    pgdbm.Config
	// statementBytes is how much the statements of an edit carry; 0 means the default.
	statementBytes int
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
	store, err := postgres.Open(tb.Context(), url, &postgres.Options{Pool: d.pool, RequireMigrated: true, IndexFrom: 100})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := store.Close(); err != nil {
			tb.Errorf("close the store: %v", err)
		}
	})
	if d.statementBytes > 0 {
		postgres.SetStatementBytes(store, d.statementBytes)
	}
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
