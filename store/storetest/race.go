package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/llmemory/llmemory"
)

func (s *suite) raceCases() []testCase {
	return []testCase{
		{name: "Versions", run: s.testVersions},
		{name: "Histories", run: s.testHistories},
		{name: "Maintenance", run: s.testMaintenanceRace},
	}
}

// parts is how many paragraphs version n of the contested document has.
func parts(n int) int { return 1 + n%5 }

// version makes version n of the contested document. Its every part tells which version it is of and of how many parts that is made,
// so that an answer mixed of two versions gives itself away.
func version(n int) llmemory.Document {
	return llmemory.Document{
		Name: "contested", Language: "en", Content: numbered(parts(n), fmt.Sprintf("shared marker%d of%d part%%d", n, parts(n))),
		Metadata: map[string]any{"n": n},
	}
}

// versionOf says which version a document is.
func versionOf(d *llmemory.StoredDocument) (int, error) {
	n, ok := d.Metadata["n"].(float64)
	if !ok || d.ChunkCount != parts(int(n)) || d.Bytes != len(version(int(n)).Content) {
		return 0, fmt.Errorf("the row is of two versions: metadata %v, %d chunks, %d bytes", d.Metadata, d.ChunkCount, d.Bytes)
	}
	return int(n), nil
}

// checkParts checks that texts are parts of version n, and as many as are wanted.
func checkParts(n int, texts []string, want int) error {
	if len(texts) != want {
		return fmt.Errorf("%d parts of version %d, want %d", len(texts), n, want)
	}
	for _, text := range texts {
		for _, part := range strings.Split(text, "\n\n") {
			if !strings.HasPrefix(part, fmt.Sprintf("shared marker%d of%d part", n, parts(n))) {
				return fmt.Errorf("%q in version %d", part, n)
			}
		}
	}
	return nil
}

// contestedID is the id of the contested document.
func contestedID(o *llmemory.Owner) string {
	return llmemory.DocumentID(o.ID(), llmemory.Identity{OriginID: "default", Key: "contested"})
}

// sight is what one call saw of the contested document.
type sight struct {
	absent bool
	n      int   // the version, as it was numbered by the test
	number int64 // and as it was by the store, if the call tells
}

// looks are all ways to see the contested document. Each checks that what it sees is one version, whole.
func looks(ctx context.Context, o *llmemory.Owner) []func() (sight, error) {
	id := contestedID(o)
	row := func(d *llmemory.StoredDocument, err error) (sight, error) {
		if errors.Is(err, llmemory.ErrNotFound) {
			return sight{absent: true}, nil
		}
		if err != nil {
			return sight{}, err
		}
		n, err := versionOf(d)
		return sight{n: n, number: d.Version}, err
	}
	// first reads the version off a text.
	first := func(text string) (n int, err error) {
		_, err = fmt.Sscanf(text, "shared marker%d", &n)
		return n, err
	}
	return []func() (sight, error){
		func() (sight, error) { return row(o.Get(ctx, id)) },
		func() (sight, error) {
			d, chunks, err := o.GetWithChunks(ctx, id)
			saw, err := row(d, err)
			if err != nil || saw.absent {
				return saw, err
			}
			var leaves, parents []string
			for _, c := range chunks {
				if c.Level == 0 {
					leaves = append(leaves, c.Text)
				} else {
					parents = append(parents, c.Text)
				}
			}
			// Three leaves to a parent; a leaf left alone has none.
			return saw, errors.Join(checkParts(saw.n, leaves, parts(saw.n)), checkParts(saw.n, parents, (parts(saw.n)+1)/3))
		},
		func() (sight, error) {
			chunks, total, err := o.Chunks(ctx, id, nil)
			if errors.Is(err, llmemory.ErrNotFound) {
				return sight{absent: true}, nil
			}
			if err != nil || len(chunks) == 0 {
				return sight{}, errors.Join(err, fmt.Errorf("%d chunks", len(chunks)))
			}
			n, err := first(chunks[0].Text)
			if err == nil && total != parts(n) {
				err = fmt.Errorf("%d chunks in all of version %d, which has %d", total, n, parts(n))
			}
			var leaves []string
			for _, c := range chunks {
				leaves = append(leaves, c.Text)
			}
			return sight{n: n}, errors.Join(err, checkParts(n, leaves, total))
		},
		func() (sight, error) {
			text, err := o.Text(ctx, id)
			if errors.Is(err, llmemory.ErrNotFound) {
				return sight{absent: true}, nil
			}
			if err != nil {
				return sight{}, err
			}
			n, err := first(text)
			if text != version(n).Content {
				err = fmt.Errorf("text %q is of no version", text)
			}
			return sight{n: n}, err
		},
		func() (sight, error) {
			page, err := o.List(ctx, nil)
			if err != nil {
				return sight{}, err
			}
			if page.Total != len(page.Documents) || page.Total > 1 {
				return sight{}, fmt.Errorf("%d documents of %d listed, there is one at most", len(page.Documents), page.Total)
			}
			if page.Total == 0 {
				return sight{absent: true}, nil
			}
			return row(&page.Documents[0], nil)
		},
		func() (sight, error) {
			r, err := o.Search(ctx, "shared", &llmemory.SearchOptions{Limit: 100, Parents: true, Neighbours: 10})
			if err != nil {
				return sight{}, err
			}
			if len(r.Hits) == 0 {
				return sight{absent: true}, nil
			}
			saw, err := row(&r.Hits[0].Document, nil)
			if err == nil {
				err = checkParts(saw.n, texts(r.Hits), parts(saw.n))
			}
			for i, h := range r.Hits {
				if h.Parent != nil {
					err = errors.Join(err, checkParts(saw.n, []string{h.Parent.Text}, 1))
				} else if alone := parts(saw.n)%3 == 1 && h.Position == parts(saw.n)-1; !alone {
					err = errors.Join(err, fmt.Errorf("hit %d has no parent", i))
				}
				var around []string
				for _, c := range append(h.Before, h.After...) {
					around = append(around, c.Text)
				}
				err = errors.Join(err, checkParts(saw.n, around, parts(saw.n)-1))
			}
			return saw, err
		},
	}
}

// testVersions has writers race for one document while readers look: each answer shows one version, whole, and none that is older
// than what the reader has seen before.
func (s *suite) testVersions(t *testing.T) {
	o := s.owner(t)
	add(t, o, version(0))
	const writers, readers = 2, 2
	looks := looks(t.Context(), o)
	var changes, newest int64
	for round := range s.scale(500, 50) {
		var mu sync.Mutex
		var race sync.WaitGroup
		for w := range writers {
			race.Go(func() {
				added, err := o.Add(t.Context(), version(1+round*writers+w))
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Errorf("round %d: %v", round, err)
				}
				if added.Status == llmemory.Updated {
					changes++
				}
			})
		}
		for r := range readers { // each looks twice, in other ways each time: once at the start and once amid the writing, about
			race.Go(func() {
				last := newest
				for i := range 2 {
					saw, err := looks[(round+r+readers*i)%len(looks)]()
					switch {
					case err != nil:
						t.Errorf("round %d: %v", round, err)
					case saw.absent:
						t.Errorf("round %d: the document is not there", round)
					case saw.number > 0 && saw.number < last:
						t.Errorf("round %d: version %d after version %d", round, saw.number, last)
					}
					last = max(last, saw.number)
				}
			})
		}
		race.Wait()
		d := must(o.Get(t.Context(), contestedID(o)))(t)
		if newest = d.Version; newest != changes+1 {
			t.Errorf("round %d: version %d after %d changes", round, newest, changes)
		}
		if n := must(versionOf(d))(t); n != 1+round*writers && n != 2+round*writers {
			t.Errorf("round %d: %d is none of the versions just written", round, n)
		}
		if t.Failed() {
			break
		}
	}
	stats := must(o.Stats(t.Context()))(t)
	if d := must(o.Get(t.Context(), contestedID(o)))(t); stats.Documents != 1 || stats.Chunks != int64(d.ChunkCount) {
		t.Errorf("at the end %+v", stats)
	}
	s.check(t, s.shared, o.ID())
}

// testHistories races Add, Delete and every way to read against each other on one document, and looks for an order of the calls,
// one that respects which ended before which began, in which each answer is what a memory used by one caller would have given.
func (s *suite) testHistories(t *testing.T) {
	o := s.owner(t)
	random := rand.New(rand.NewPCG(seed(t), 0))
	looks := looks(t.Context(), o)
	next := 0
	var state register
	for round := range s.scale(50, 12) {
		var h recorder
		var race sync.WaitGroup
		for range 4 {
			calls := make([]func() (string, step, error), 3)
			for i := range calls {
				switch n := random.IntN(10); {
				case n < 4:
					next++
					calls[i] = contest(t.Context(), o, next)
				case n < 6:
					calls[i] = remove(t.Context(), o)
				default:
					calls[i] = look(looks[random.IntN(len(looks))])
				}
			}
			race.Go(func() {
				for _, call := range calls {
					if err := h.record(call); err != nil {
						t.Errorf("round %d: %v", round, err)
					}
				}
			})
		}
		race.Wait()
		for _, l := range looks { // what is left, from every side
			if err := h.record(look(l)); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		end, ok := linearize(state, h.events)
		if !ok {
			t.Errorf("round %d: no order of these calls explains their answers, from %+v on:\n%s", round, state, h.String())
		}
		if t.Failed() {
			return
		}
		state = end
	}
	s.check(t, s.shared, o.ID())
}

// contest adds version n.
func contest(ctx context.Context, o *llmemory.Owner, n int) func() (string, step, error) {
	return func() (string, step, error) {
		added, err := o.Add(ctx, version(n))
		return fmt.Sprintf("Add(version %d) = %s", n, added.Status), func(r register) (register, bool) {
			fits := r.there && added.Status == llmemory.Updated || !r.there && added.Status == llmemory.Created
			return register{there: true, n: n, number: r.number + 1}, fits
		}, err
	}
}

// remove deletes the document.
func remove(ctx context.Context, o *llmemory.Owner) func() (string, step, error) {
	return func() (string, step, error) {
		deleted, err := o.Delete(ctx, contestedID(o))
		return fmt.Sprintf("Delete = %d documents, %d chunks", len(deleted.DocumentIDs), deleted.Chunks), func(r register) (register, bool) {
			if !r.there {
				return r, len(deleted.DocumentIDs) == 0
			}
			return register{}, len(deleted.DocumentIDs) == 1 && deleted.Chunks == parts(r.n)
		}, err
	}
}

// look reads the document in one of the ways.
func look(at func() (sight, error)) func() (string, step, error) {
	return func() (string, step, error) {
		saw, err := at()
		return fmt.Sprintf("read = %+v", saw), func(r register) (register, bool) {
			if saw.absent || !r.there {
				return r, saw.absent && !r.there
			}
			return r, saw.n == r.n && (saw.number == 0 || saw.number == r.number)
		}, err
	}
}

// testMaintenanceRace adds to several owners while maintenance and searches go on.
func (s *suite) testMaintenanceRace(t *testing.T) {
	store := s.open(t)
	mem := memory(t, store)
	documents := s.scale(30, 10)
	var workers sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var maintainer sync.WaitGroup
	maintainer.Go(func() {
		for ctx.Err() == nil {
			if _, err := mem.Maintain(t.Context()); err != nil {
				t.Errorf("Maintain: %v", err)
				return
			}
		}
	})
	for i := range 3 {
		o := mem.Owner(fmt.Sprint("owner ", i))
		workers.Go(func() {
			for n := range documents {
				if _, err := o.Add(t.Context(), llmemory.Document{Key: fmt.Sprint(n), Language: "en", Content: numbered(9, "common part%d")}); err != nil {
					t.Errorf("Add: %v", err)
					return
				}
				r, err := o.Search(t.Context(), "common", &llmemory.SearchOptions{Limit: 1000})
				if want := min(1000, 9*(n+1)); err != nil || len(r.Hits) != want {
					t.Errorf("after %d documents: %d hits, want %d, %v", n+1, len(r.Hits), want, err)
					return
				}
			}
		})
	}
	workers.Wait()
	cancel()
	maintainer.Wait()
	for i := range 3 {
		s.check(t, store, fmt.Sprint("owner ", i))
	}
}
