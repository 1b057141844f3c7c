package sqlite

import (
	"context"
	"sync"

	"github.com/llmemory/llmemory/internal/vecscan"
)

// loadedSets are the sets of vectors that are held in memory, those that were used last, up to a bound.
type loadedSets struct {
	bound int64 // bytes

	mu   sync.Mutex
	sets map[int64]*loadedSet
	tick int64
}

// loadedSet is a set in memory. Who has its turn may replace it or bring it up to date; all may search it.
type loadedSet struct {
	turn  chan struct{}
	set   *vecscan.Set // nil before it was read
	since uint64       // the first version that it knows
	used  int64        // when it was used last
}

func newLoadedSets(bound int64) *loadedSets {
	return &loadedSets{bound: bound, sets: map[int64]*loadedSet{}}
}

// get returns a set that knows the version of v, which is that of the caller's snapshot, or nil if there is none to be had: it would
// take more memory than there may be, or the snapshot is older than what is held. Read reads the pages of changes after a version, in
// that snapshot.
func (l *loadedSets) get(ctx context.Context, v vectorSet, read func(after uint64, each func(*vecscan.Page) error) error) (*vecscan.Set, error) {
	if vecscan.Bytes(v.dimensions, v.vectors+v.removed) > l.bound {
		l.drop(v.id)
		return nil, nil
	}
	x, set, since := l.find(v.id)
	if set != nil && (v.version < since || set.Version() >= v.version) {
		return known(set, since, v.version), nil
	}
	select {
	case x.turn <- struct{}{}:
		defer func() { <-x.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.mu.Lock()
	set, since = x.set, x.since
	l.mu.Unlock()
	switch {
	case set != nil && (v.version < since || set.Version() >= v.version):
		return known(set, since, v.version), nil
	case set != nil && set.Version() >= v.since:
		var pages []*vecscan.Page
		if err := read(set.Version(), func(p *vecscan.Page) error {
			pages = append(pages, p)
			return nil
		}); err != nil {
			return nil, err
		}
		set.Apply(v.version, pages)
	default:
		set, since = vecscan.NewSet(v.dimensions), v.since
		if err := read(0, func(p *vecscan.Page) error {
			set.Load(p)
			return nil
		}); err != nil {
			return nil, err
		}
		set.Apply(v.version, nil)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	x.set, x.since = set, since
	l.sets[v.id] = x // it may have been released meanwhile
	l.release(x)
	return set, nil
}

// known returns the set if it knows the version.
func known(set *vecscan.Set, since, version uint64) *vecscan.Set {
	if version < since {
		return nil
	}
	return set
}

// find returns what is held under a number, and notes its use.
func (l *loadedSets) find(id int64) (*loadedSet, *vecscan.Set, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.sets[id]
	if x == nil {
		x = &loadedSet{turn: make(chan struct{}, 1)}
		l.sets[id] = x
	}
	l.tick++
	x.used = l.tick
	return x, x.set, x.since
}

func (l *loadedSets) drop(id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sets, id)
}

// release lets go of what was not used for the longest time until the bound is kept. What was loaded just now stays.
func (l *loadedSets) release(keep *loadedSet) {
	total := int64(0)
	for _, x := range l.sets {
		total += x.bytes()
	}
	for total > l.bound {
		var oldest int64
		for id, x := range l.sets {
			if x != keep && x.set != nil && (oldest == 0 || x.used < l.sets[oldest].used) {
				oldest = id
			}
		}
		if oldest == 0 {
			return
		}
		total -= l.sets[oldest].bytes()
		delete(l.sets, oldest)
	}
}

func (x *loadedSet) bytes() int64 {
	const beside = 1000 // what a set takes however small it is
	if x.set == nil {
		return beside
	}
	return beside + x.set.Bytes()
}
