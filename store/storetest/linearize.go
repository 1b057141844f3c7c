package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// register is a document as a sequence of calls leaves it.
type register struct {
	there  bool
	n      int   // the version, as the test numbers them
	number int64 // and as the store does: from 1 on since the document was made
}

// step is a call that has ended: what it makes of a document, and whether its answer fits what it found.
type step func(register) (register, bool)

// event is a call in a history of concurrent calls.
type event struct {
	what         string
	began, ended int // by a clock that every call's beginning and end advance
	step         step
}

// recorder writes down a history. It may be used by many goroutines.
type recorder struct {
	mu     sync.Mutex
	clock  int
	events []event
}

func (r *recorder) now() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock++
	return r.clock
}

// record makes a call and writes it down.
func (r *recorder) record(call func() (string, step, error)) error {
	began := r.now()
	what, step, err := call()
	ended := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event{what, began, ended, step})
	return err
}

// String lists the calls in the order in which they began.
func (r *recorder) String() string {
	var b strings.Builder
	for _, e := range slices.SortedFunc(slices.Values(r.events), func(a, b event) int { return a.began - b.began }) {
		fmt.Fprintf(&b, "%3d to %3d: %s\n", e.began, e.ended, e.what)
	}
	return b.String()
}

// linearize looks for an order of the events that explains all answers, in which no event comes before one that had ended when it
// began, and returns what the document is in the end. Events are at most 64. After Wing and Gong, Testing and Verifying Concurrent
// Objects (1993).
func linearize(start register, events []event) (end register, ok bool) {
	type point struct {
		done  uint64
		state register
	}
	seen := map[point]bool{} // tried in vain
	all := uint64(1)<<len(events) - 1
	var search func(point) bool
	search = func(p point) bool {
		if p.done == all {
			end = p.state
			return true
		}
		if seen[p] {
			return false
		}
		seen[p] = true
		first := -1 // of those left, the end that comes first
		for i, e := range events {
			if p.done>>i&1 == 0 && (first < 0 || e.ended < first) {
				first = e.ended
			}
		}
		for i, e := range events {
			if p.done>>i&1 != 0 || e.began > first {
				continue
			}
			if state, fits := e.step(p.state); fits && search(point{p.done | 1<<i, state}) {
				return true
			}
		}
		return false
	}
	return end, search(point{state: start})
}
