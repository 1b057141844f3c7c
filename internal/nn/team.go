package nn

import (
	"runtime"
	"sync/atomic"
)

// team runs pieces of one computation on several threads. Its helpers wait by looking again and again, since pieces follow each
// other within microseconds; it lives for one computation, a few milliseconds. A nil team is its caller alone.
type team struct {
	size int
	work atomic.Pointer[work]
}

// work is a number of pieces that are handed out one by one.
type work struct {
	pieces int
	do     func(worker, piece int)
	next   atomic.Int64 // next piece to hand out
	done   atomic.Int64 // pieces that are done
	last   bool         // there is no more work
}

// newTeam starts the helpers of a team of size.
func newTeam(size int) *team {
	if size < 2 {
		return nil
	}
	t := &team{size: size}
	for worker := 1; worker < size; worker++ {
		go t.help(worker)
	}
	return t
}

// end sends the helpers home.
func (t *team) end() {
	if t != nil {
		t.work.Store(&work{last: true})
	}
}

func (t *team) help(worker int) {
	var before *work
	for spins := 0; ; spins++ {
		w := t.work.Load()
		if w == before {
			if spins%256 == 255 {
				runtime.Gosched()
			}
			continue
		}
		if w.last {
			return
		}
		w.take(worker)
		before = w
	}
}

// take does pieces until all are handed out.
func (w *work) take(worker int) {
	for {
		piece := int(w.next.Add(1)) - 1
		if piece >= w.pieces {
			return
		}
		w.do(worker, piece)
		w.done.Add(1)
	}
}

// run does all pieces and returns when they are done. Worker numbers lie below the size of the team, and no two calls at a time
// have the same.
func (t *team) run(pieces int, do func(worker, piece int)) {
	if t == nil || pieces == 1 {
		for piece := range pieces {
			do(0, piece)
		}
		return
	}
	w := &work{pieces: pieces, do: do}
	t.work.Store(w)
	w.take(0)
	for spins := 0; int(w.done.Load()) < pieces; spins++ {
		if spins%256 == 255 {
			runtime.Gosched()
		}
	}
}

// workers returns how many worker numbers there are.
func (t *team) workers() int {
	if t == nil {
		return 1
	}
	return t.size
}
