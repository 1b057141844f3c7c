package pdf

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/klippa-app/go-pdfium"
	"github.com/klippa-app/go-pdfium/webassembly"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// engine is PDFium, compiled once. Each document is read by an instance of its own: starting one costs milliseconds, and what
// a hostile document does to its instance ends with it.
type engine struct {
	pool    pdfium.Pool
	cache   wazero.CompilationCache
	workers *workers
	mu      sync.Mutex // one instance starts at a time, so that workers knows what it holds
}

// newEngine compiles PDFium, which takes seconds, or takes it from the folder that an earlier process left it in.
func newEngine(folder string, memory int64) (*engine, error) {
	cache := wazero.NewCompilationCache()
	if folder != "" {
		defer lock(folder)()
		var err error
		if cache, err = wazero.NewCompilationCacheWithDir(folder); err != nil { // not writable: compile for this process alone
			cache = wazero.NewCompilationCache()
		}
	}
	e := &engine{cache: cache, workers: &workers{
		never: make(chan struct{}),
	}}
	e.workers.Context = experimental.WithMemoryAllocator(context.Background(), experimental.MemoryAllocatorFunc(func(_, _ uint64) experimental.LinearMemory {
		e.workers.memory = newMemory(max(memory, 32<<20))
		return e.workers.memory
	}))
	var err error
	e.pool, err = webassembly.Init(webassembly.Config{
		Context:  e.workers,
		MaxTotal: 1 << 16, // callers bound how many documents are read at once
		RuntimeConfig: wazero.NewRuntimeConfig().
			WithCoreFeatures(api.CoreFeaturesV2 | experimental.CoreFeaturesExceptionHandling).
			WithCloseOnContextDone(true). // a document that loops is stopped
			WithCompilationCache(cache),
		FSConfig: wazero.NewFSConfig(), // no folder is mounted: PDFium sees the bytes it is given and no file
		Stdout:   nothing{},
		Stderr:   nothing{},
	})
	if err != nil {
		_ = cache.Close(context.Background())
		return nil, fmt.Errorf("start PDFium: %w", err)
	}
	e.workers.started.Store(true)
	return e, nil
}

// instance is what reads one document.
type instance struct {
	pdfium.Pdfium
	cancel func() // stops it in the middle of a call
	memory *memory
}

// start returns a fresh instance.
func (e *engine) start(ctx context.Context) (instance, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.workers.cancel = func() {}
	inst, err := e.pool.GetInstanceWithContext(ctx)
	if err != nil {
		return instance{}, fmt.Errorf("start an instance of PDFium: %w", err)
	}
	return instance{inst, e.workers.cancel, e.workers.memory}, nil
}

func (e *engine) close() error {
	err := e.pool.Close()
	if cerr := e.cache.Close(context.Background()); err == nil {
		err = cerr
	}
	return err
}

// workers is the parent of the contexts of the instances. The pool makes each of them by [context.WithCancel] and keeps its
// cancel function to itself, but for one way (Kill) that pulls the memory from under a running call. The method AfterFunc, by
// which package context hands a child's cancellation to a parent of any type, is how one instance can be cancelled cleanly.
type workers struct {
	context.Context
	never   chan struct{}
	started atomic.Bool
	cancel  func()  // of the instance made last; guarded by engine.mu
	memory  *memory // likewise
}

// Done implements [context.Context]; the channel is never closed.
func (w *workers) Done() <-chan struct{} { return w.never }

// Err implements [context.Context]: it is asked when an instance is cancelled, for the reason.
func (w *workers) Err() error {
	if w.started.Load() {
		return context.Canceled
	}
	return nil
}

// AfterFunc keeps f, which cancels the instance being made.
func (w *workers) AfterFunc(f func()) func() bool {
	w.cancel = f
	return func() bool { return true }
}

type nothing struct{}

func (nothing) Write(p []byte) (int, error) { return len(p), nil }
