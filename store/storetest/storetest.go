// Package storetest is the contract of [llmemory.Store] as a test suite: every driver runs it, and a fault found in one driver
// becomes a case for all. A driver's test is short:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(tb testing.TB) llmemory.Store { return openEmpty(tb) })
//	}
//
// The suite looks at a store from three sides: each sentence of the contract's comments has a case of its own; the domain is used
// through its public API as hosts do; and long random histories, races and two tenants of equal content are compared with a
// small model in memory and with an index made afresh.
//
// Random histories print their seed when they fail. The environment chooses it and their length:
//
//	STORETEST_SEED  seed of all random choices
//	STORETEST_OPS   operations of the random history
//	SOAK=1          histories and races are ten times as long
package storetest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"strconv"
	"testing"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/soak"
)

// Options adapt the suite to a driver or to a way of opening it. The zero value is the full suite.
type Options struct {
	// Reopen closes a store that open returned and opens the same data again. Random histories do so now and then; nil leaves
	// that out.
	Reopen func(tb testing.TB, store llmemory.Store) llmemory.Store
	// Check looks at the rows of an owner past the store's own reading: that counts and sums are right, that no row has lost what it
	// belongs to. Histories and races call it beside [CheckIndex], when nothing else is done to the owner. Nil leaves that out.
	Check func(ctx context.Context, store llmemory.Store, owner string) error
	// OneTransaction says that the store has room for one open transaction at a time, as on a pool of one connection. Cases that
	// hold one open while they use the store otherwise are left out: such a store must make them wait.
	OneTransaction bool
	// OneWriter says that all owners share one write lock: an edit of any of them waits for the others to end.
	OneWriter bool
	// Brief shortens histories, races and large collections: for the second and third way to open a driver.
	Brief bool
	// Half, 1 or 2, leaves out every second case, the long form excepted: for ways to open a driver that are much alike. What one leaves
	// out another runs.
	Half int
}

// Run runs the full suite. Each call of open returns a fresh empty store, which the test that it is given closes or leaves to
// tb.Cleanup.
func Run(t *testing.T, open func(tb testing.TB) llmemory.Store) { RunWith(t, open, Options{}) }

// RunWith runs the suite with options.
func RunWith(t *testing.T, open func(tb testing.TB) llmemory.Store, o Options) {
	s := &suite{open: open, Options: o, shared: open(t)}
	groups := []struct {
		name  string
		cases []testCase
	}{
		{"Store", s.storeCases()},
		{"View", s.viewCases()},
		{"Edit", s.editCases()},
		{"Document", s.documentCases()},
		{"Source", s.sourceCases()},
		{"Annotate", s.annotateCases()},
		{"Ledger", s.ledgerCases()},
		{"Limit", s.limitCases()},
		{"Filter", s.filterCases()},
		{"List", s.listCases()},
		{"Delete", s.deleteCases()},
		{"Batch", s.batchCases()},
		{"Search", s.searchCases()},
		{"Vectors", s.vectorCases()},
		{"Parts", s.partCases()},
		{"Queue", s.queueCases()},
		{"Worker", s.workerCases()},
		{"Tenancy", s.tenancyCases()},
		{"Restore", s.restoreCases()},
		{"Index", s.indexCases()},
		{"Race", s.raceCases()},
		{"Random", s.randomCases()},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			for i, c := range g.cases {
				if c.overlapping && s.OneTransaction || s.Half > 0 && i%2 != s.Half-1 && !soak.On() {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(t)
				})
			}
		})
	}
}

type testCase struct {
	name string
	run  func(t *testing.T)
	// overlapping cases hold a transaction open while they use the store otherwise.
	overlapping bool
}

// suite is what the cases share. Most use owners of their own on one store, which is also a test of the store.
type suite struct {
	Options
	open   func(testing.TB) llmemory.Store
	shared llmemory.Store
}

// check checks what is stored for an owner.
func (s *suite) check(tb testing.TB, store llmemory.Store, owner string) {
	tb.Helper()
	err := CheckIndex(background(tb), store, owner)
	if s.Check != nil {
		err = errors.Join(err, s.Check(background(tb), store, owner))
	}
	if err != nil {
		tb.Errorf("what is stored for %q: %v", owner, err)
	}
}

// scale returns how long a history or race is to be.
func (s *suite) scale(full, brief int) int {
	if s.Brief {
		full = brief
	}
	return full * soak.Pick(1, 10)
}

// number reads a number from the environment.
func number(tb testing.TB, name string, fallback int) int {
	tb.Helper()
	text := os.Getenv(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	return n
}

// seed returns the seed of a test's random choices, and has it printed if the test fails.
func seed(t *testing.T) uint64 {
	t.Helper()
	h := fnv.New64a()
	fmt.Fprint(h, t.Name())
	n := uint64(number(t, "STORETEST_SEED", int(h.Sum64()>>2)))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat with STORETEST_SEED=%d", n)
		}
	})
	return n
}

// memory returns a memory on a store whose chunker is [paragraphs].
func memory(tb testing.TB, store llmemory.Store) *llmemory.Memory {
	tb.Helper()
	m, err := llmemory.New(store, &llmemory.Config{Chunker: paragraphs(), Logger: logger(tb)})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// owner returns an owner of the test's own on the shared store, without documents.
func (s *suite) owner(tb testing.TB) *llmemory.Owner {
	tb.Helper()
	return memory(tb, s.shared).Owner(tb.Name())
}

// add stores a document that must be stored.
func add(tb testing.TB, o *llmemory.Owner, doc llmemory.Document) llmemory.Added {
	tb.Helper()
	added, err := o.Add(tb.Context(), doc)
	if err != nil {
		tb.Fatalf("Add(%q, %q): %v", doc.OriginID, doc.Name, err)
	}
	return added
}

// addMany stores documents that must all be stored.
func addMany(tb testing.TB, o *llmemory.Owner, docs []llmemory.Document) []llmemory.Added {
	tb.Helper()
	added, err := o.AddMany(tb.Context(), docs)
	if err != nil {
		tb.Fatalf("AddMany: %v", err)
	}
	for i, a := range added {
		if a.Err != nil {
			tb.Fatalf("AddMany: document %d: %v", i, a.Err)
		}
	}
	return added
}

// must fails the test unless err is nil, and returns v.
func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

// ended returns a context that has ended.
func ended(tb testing.TB) context.Context {
	ctx, cancel := context.WithCancel(tb.Context())
	cancel()
	return ctx
}

// background returns a context for what must happen after the test's own is cancelled.
func background(tb testing.TB) context.Context { return context.WithoutCancel(tb.Context()) }
