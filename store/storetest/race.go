package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/llmemory/llmemory"
)

func (s *suite) raceCases() []testCase {
	return []testCase{
		{name: "Versions", run: s.testVersions},
		{name: "AddAndDelete", run: s.testAddAndDelete},
		{name: "Maintenance", run: s.testMaintenanceRace},
	}
}

// version makes a document whose every part tells which version it is and of how many parts it is made, so that an answer
// mixed of two versions gives itself away.
func version(n int) llmemory.Document {
	marker, parts := fmt.Sprint("marker", n), 1+n%5
	return llmemory.Document{
		Name: "contested", Language: "en", Content: numbered(parts, fmt.Sprintf("shared %s of%d part%%d", marker, parts)),
		Metadata: map[string]any{"marker": marker},
	}
}

// checkVersion checks that chunks are all of the version that the document's row says, and complete.
func checkVersion(d *llmemory.StoredDocument, chunks []string) error {
	marker, _ := d.Metadata["marker"].(string)
	if len(chunks) != d.ChunkCount {
		return fmt.Errorf("%d chunks of a version (%s) that has %d", len(chunks), marker, d.ChunkCount)
	}
	for _, text := range chunks {
		if !strings.Contains(text, " "+marker+" ") || !strings.Contains(text, fmt.Sprintf(" of%d ", d.ChunkCount)) {
			return fmt.Errorf("%q in version %s of %d chunks", text, marker, d.ChunkCount)
		}
	}
	return nil
}

// testVersions has writers race for one document while readers look: each answer shows one version, whole.
func (s *suite) testVersions(t *testing.T) {
	o := s.owner(t)
	add(t, o, version(0))
	id := llmemory.DocumentID(o.ID(), llmemory.Identity{OriginID: "default", Key: "contested"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reads := []func() error{
		func() error {
			d, chunks, err := o.GetWithChunks(t.Context(), id)
			if err != nil {
				return err
			}
			var leaves []string
			for _, c := range chunks {
				if c.Level == 0 {
					leaves = append(leaves, c.Text)
				}
			}
			return checkVersion(d, leaves)
		},
		func() error {
			text, err := o.Text(t.Context(), id)
			if err != nil {
				return err
			}
			parts := strings.Split(text, "\n\n")
			marker := strings.Fields(parts[0])[1]
			return checkVersion(&llmemory.StoredDocument{ChunkCount: len(parts), Metadata: map[string]any{"marker": marker}}, parts)
		},
		func() error {
			chunks, total, err := o.Chunks(t.Context(), id, nil)
			if err != nil {
				return err
			}
			marker := strings.Fields(chunks[0].Text)[1]
			var leaves []string
			for _, c := range chunks {
				leaves = append(leaves, c.Text)
			}
			return checkVersion(&llmemory.StoredDocument{ChunkCount: total, Metadata: map[string]any{"marker": marker}}, leaves)
		},
		func() error {
			page, err := o.List(t.Context(), nil)
			if err != nil {
				return err
			}
			if page.Total != 1 || len(page.Documents) != 1 {
				return fmt.Errorf("%d documents of %d listed, want 1", len(page.Documents), page.Total)
			}
			return nil
		},
		func() error {
			r, err := o.Search(t.Context(), "shared", &llmemory.SearchOptions{Limit: 100})
			if err != nil {
				return err
			}
			if len(r.Hits) == 0 {
				return errors.New("the document is not found")
			}
			return checkVersion(&r.Hits[0].Document, texts(r.Hits))
		},
	}
	var readers sync.WaitGroup
	for i := range 2 {
		readers.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				if err := reads[n%len(reads)](); err != nil {
					t.Errorf("reader: %v", err)
					return
				}
			}
		})
	}
	const writers = 2
	changes := int64(0)
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
		race.Wait()
		d := must(o.Get(t.Context(), id))(t)
		if d.Version != changes+1 {
			t.Errorf("round %d: version %d after %d changes", round, d.Version, changes)
		}
		marker := d.Metadata["marker"]
		if first := 1 + round*writers; marker != fmt.Sprint("marker", first) && marker != fmt.Sprint("marker", first+1) {
			t.Errorf("round %d: %v is none of the versions just written", round, marker)
		}
		if t.Failed() {
			break
		}
	}
	cancel()
	readers.Wait()
	stats := must(o.Stats(t.Context()))(t)
	if d := must(o.Get(t.Context(), id))(t); stats.Documents != 1 || stats.Chunks != int64(d.ChunkCount) {
		t.Errorf("at the end %+v", stats)
	}
}

// testAddAndDelete races Add against Delete of one document: at the end it is there whole or not at all.
func (s *suite) testAddAndDelete(t *testing.T) {
	o := s.owner(t)
	id := llmemory.DocumentID(o.ID(), llmemory.Identity{OriginID: "default", Key: "contested"})
	for round := range s.scale(60, 15) {
		var race sync.WaitGroup
		for w := range 2 {
			race.Go(func() {
				if _, err := o.Add(t.Context(), version(round*2+w)); err != nil {
					t.Errorf("Add: %v", err)
				}
			})
		}
		race.Go(func() {
			if _, err := o.Delete(t.Context(), id); err != nil {
				t.Errorf("Delete: %v", err)
			}
		})
		race.Wait()
		d, err := o.Get(t.Context(), id)
		hits := search(t, o, "shared", llmemory.SearchOptions{Limit: 100})
		stats := must(o.Stats(t.Context()))(t)
		switch {
		case errors.Is(err, llmemory.ErrNotFound):
			if len(hits) != 0 || stats.Documents != 0 || stats.Chunks != 0 {
				t.Errorf("round %d: deleted, yet %d hits, stats %+v", round, len(hits), stats)
			}
		case err != nil:
			t.Error(err)
		default:
			if err := checkVersion(d, texts(hits)); err != nil || stats.Chunks != int64(d.ChunkCount) {
				t.Errorf("round %d: %v, stats %+v", round, err, stats)
			}
		}
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
}
