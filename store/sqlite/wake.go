package sqlite

import (
	"context"
	"sync"

	"github.com/llmemory/llmemory"
)

var _ llmemory.Waker = (*Store)(nil)

// wake tells the workers of this process of new jobs. Those of other processes find them when they look.
type wake struct {
	mu        sync.Mutex
	listeners map[chan struct{}]struct{}
}

func newWake() *wake { return &wake{listeners: map[chan struct{}]struct{}{}} }

// tell wakes all listeners. It never waits.
func (w *wake) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.listeners {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Wake implements [llmemory.Waker] for jobs that this process queues.
func (s *Store) Wake(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	w := s.wake
	w.mu.Lock()
	w.listeners[c] = struct{}{}
	w.mu.Unlock()
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		delete(w.listeners, c)
		w.mu.Unlock()
		close(c)
	})
	return c
}
