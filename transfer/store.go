package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/llmemory/llmemory"
)

// storeSource reads the documents of a store.
type storeSource struct {
	memory *llmemory.Memory
	store  llmemory.Store
	opts   Options
	count  int64

	generations []int64
	owners      []string // of the page that are still to be read
	lastOwner   string
	moreOwners  bool
	owner       *llmemory.Owner // that is being read
	ids         []string        // of the page that are still to be read
	lastID      string
	moreIDs     bool
	read        []llmemory.Snapshot
}

func newStoreSource(m *llmemory.Memory, opts Options) *storeSource {
	return &storeSource{memory: m, store: fresh(m), opts: opts, moreOwners: opts.AllOwners}
}

const (
	ownersPage = 1000
	idsPage    = 256
)

func (s *storeSource) begin(ctx context.Context) ([]Generation, error) {
	list, err := s.store.Generations(ctx, llmemory.GenerationsParams{})
	if err != nil {
		return nil, err
	}
	var out []Generation
	for _, g := range list {
		out = append(out, Generation{Model: g.Model, Profile: g.Profile, State: g.State})
		if !s.opts.NoVectors {
			s.generations = append(s.generations, g.ID)
		}
	}
	if s.opts.AllOwners {
		return out, nil
	}
	s.startOwner(s.opts.Owner)
	page, err := s.owner.List(ctx, &llmemory.ListOptions{Limit: 1})
	if err != nil {
		return nil, err
	}
	s.count = int64(page.Total)
	return out, nil
}

func (s *storeSource) total() int64 { return s.count }

func (s *storeSource) startOwner(owner string) {
	s.owner, s.ids, s.lastID, s.moreIDs = s.memory.Owner(owner).Fresh(), nil, "", true
}

func (s *storeSource) next(ctx context.Context) (*item, error) {
	for len(s.read) == 0 {
		if err := s.refill(ctx); err != nil {
			return nil, err
		}
	}
	d := &item{owner: s.owner.ID(), snapshot: s.read[0]}
	s.read[0] = llmemory.Snapshot{} // not held any longer than needed
	s.read = s.read[1:]
	vectors := map[int64][][]float32{}
	for i, g := range s.generations {
		if v := d.snapshot.Vectors[g]; v != nil {
			vectors[int64(i)] = v
		}
	}
	d.snapshot.Vectors = vectors
	return d, nil
}

// refill goes one step on towards the next documents.
func (s *storeSource) refill(ctx context.Context) (err error) {
	switch {
	case len(s.ids) > 0:
		var done int
		s.read, done, err = s.owner.Snapshots(ctx, s.ids, s.generations)
		s.ids = s.ids[done:]
		return err
	case s.moreIDs:
		p := llmemory.DocumentIDsParams{Owner: s.owner.ID(), After: s.lastID, Limit: idsPage}
		if s.ids, err = s.store.DocumentIDs(ctx, p); err != nil {
			return err
		}
		if s.moreIDs = len(s.ids) == idsPage; len(s.ids) > 0 {
			s.lastID = s.ids[len(s.ids)-1]
		}
		return nil
	case len(s.owners) > 0:
		s.startOwner(s.owners[0])
		s.owners = s.owners[1:]
		return nil
	case s.moreOwners:
		if s.owners, err = s.store.Owners(ctx, llmemory.OwnersParams{After: s.lastOwner, Limit: ownersPage}); err != nil {
			return err
		}
		if s.moreOwners = len(s.owners) == ownersPage; len(s.owners) > 0 {
			s.lastOwner = s.owners[len(s.owners)-1]
		}
		return nil
	}
	return io.EOF
}

// storeTarget stores documents, many to a transaction, and reads them back in the end.
type storeTarget struct {
	memory *llmemory.Memory
	store  llmemory.Store
	move   *move

	generations []int64 // by position in the source's list
	owner       string  // of the batch
	batch       []*item
	leaves      int
	size        int
	stored      map[string]*storedDocuments // by owner of the target
}

// storedDocuments are an owner's documents that were written, to be found again: 32 bytes and the numbers of vectors for each. Those
// that were there just so have been compared already.
type storedDocuments struct {
	counts  Counts
	ids     [][16]byte
	digests [][16]byte
	vectors []uint32 // for each document, of each generation
}

func newStoreTarget(m *llmemory.Memory, run *move) *storeTarget {
	return &storeTarget{memory: m, store: fresh(m), move: run, stored: map[string]*storedDocuments{}}
}

// begin finds the generations in the target, and makes those that are missing, the active one first: the first is active at once.
func (t *storeTarget) begin(ctx context.Context, generations []Generation) error {
	list, err := t.store.Generations(ctx, llmemory.GenerationsParams{})
	if err != nil {
		return err
	}
	t.generations = make([]int64, len(generations))
	var missing []int
	for i := range generations {
		found, err := find(list, &generations[i])
		if err != nil {
			return err
		}
		if t.generations[i] = found; found != 0 {
			continue
		}
		if generations[i].State == llmemory.Active {
			missing = append([]int{i}, missing...)
		} else {
			missing = append(missing, i)
		}
	}
	for _, i := range missing {
		g, err := t.store.AddGeneration(ctx, llmemory.AddGenerationParams{Model: generations[i].Model, Profile: generations[i].Profile})
		if err != nil {
			return fmt.Errorf("make the generation of %s: %w", generations[i].Model.Identity(), err)
		}
		t.generations[i] = g.ID
	}
	return nil
}

// find returns the id of the target's generation for vectors of a generation, 0 if it has none. One of the same model that is
// different all the same is a conflict: whether its vectors may stand beside these, only people can know.
func find(list []llmemory.Generation, g *Generation) (int64, error) {
	for _, have := range list {
		if have.Model.Identity() == g.Model.Identity() && have.Profile == g.Profile {
			return have.ID, nil
		}
	}
	for _, have := range list {
		if have.Model.Provider != g.Model.Provider || have.Model.Model != g.Model.Model {
			continue
		}
		return 0, fmt.Errorf("%w: the target has vectors of %s, profile %s (generation %d), the source of %s, profile %s: "+
			"make that generation in the target first (llmemory models add), or leave the vectors behind (--no-vectors)",
			llmemory.ErrConflict, have.Model.Identity(), have.Profile, have.ID, g.Model.Identity(), g.Profile)
	}
	return 0, nil
}

const (
	batchDocuments = 64
	batchLeaves    = 2000
	batchBytes     = 8 << 20
)

func (t *storeTarget) put(ctx context.Context, d *item) error {
	size := len(d.snapshot.Document.Tail)
	for _, l := range d.snapshot.Leaves {
		size += len(l.Lead) + len(l.Text)
	}
	full := len(t.batch) == batchDocuments || t.leaves+len(d.snapshot.Leaves) > batchLeaves || t.size+size > batchBytes
	if len(t.batch) > 0 && (full || t.owner != d.owner) {
		if err := t.flush(ctx); err != nil {
			return err
		}
	}
	t.owner = d.owner
	t.batch, t.leaves, t.size = append(t.batch, d), t.leaves+len(d.snapshot.Leaves), t.size+size
	return nil
}

func (t *storeTarget) flush(ctx context.Context) error {
	batch := t.batch
	t.batch, t.leaves, t.size = nil, 0, 0
	if len(batch) == 0 {
		return nil
	}
	docs := make([]llmemory.Snapshot, len(batch))
	for i, d := range batch {
		docs[i] = d.snapshot
		docs[i].Vectors = map[int64][][]float32{}
		for at, id := range t.generations {
			if v := d.snapshot.Vectors[int64(at)]; v != nil {
				docs[i].Vectors[id] = v
			}
		}
	}
	opts := &t.move.opts
	owner := opts.targetOwner(t.owner)
	results, err := t.memory.Owner(owner).Restore(ctx, docs, &llmemory.RestoreOptions{IfExists: opts.IfExists, From: t.owner})
	if err != nil {
		return err
	}
	mine := t.stored[owner]
	if mine == nil {
		mine = &storedDocuments{counts: Counts{Owner: owner, Vectors: make([]int64, len(t.generations))}}
		t.stored[owner] = mine
	}
	r := &t.move.result
	for i, added := range results {
		switch added.Status {
		case llmemory.Created:
			r.Created++
			mine.add(added.DocumentID, &batch[i].snapshot)
		case llmemory.Updated:
			r.Updated++
			mine.add(added.DocumentID, &batch[i].snapshot)
		case llmemory.Unchanged:
			r.Unchanged++
		case llmemory.Kept:
			r.Kept++
		default:
			r.Failed++
			if opts.Failed != nil {
				d := &batch[i].snapshot.Document
				opts.Failed(Failure{Owner: t.owner, OriginID: d.OriginID, Key: d.Key, Line: batch[i].line, Err: added.Err})
			}
		}
	}
	return nil
}

func (s *storedDocuments) add(id string, d *llmemory.Snapshot) {
	var raw [16]byte
	_, _ = hex.Decode(raw[:], []byte(strings.ReplaceAll(id, "-", ""))) // the id was made by Restore
	s.ids = append(s.ids, raw)
	s.digests = append(s.digests, digest(d))
	for g := range s.counts.Vectors {
		s.vectors = append(s.vectors, uint32(vectorsOf(d, int64(g))))
	}
	s.counts.add(d)
}

// end stores the last batch, and reads back what was written.
func (t *storeTarget) end(ctx context.Context, _ []Counts) error {
	if err := t.flush(ctx); err != nil {
		return err
	}
	var faults []error
	done := int64(0)
	for _, owner := range slices.Sorted(maps.Keys(t.stored)) {
		err := t.verify(ctx, t.stored[owner], &done)
		var differs *VerifyError
		if err != nil && !errors.As(err, &differs) {
			return err
		}
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	t.move.result.Verified = true
	return nil
}

// maxExamples is how many documents a [VerifyError] names.
const maxExamples = 5

// verify reads back what was written for an owner.
func (t *storeTarget) verify(ctx context.Context, docs *storedDocuments, done *int64) error {
	n := len(t.generations)
	fault := &VerifyError{Want: docs.counts, Got: Counts{Owner: docs.counts.Owner, Vectors: make([]int64, n)}}
	reader := t.memory.Owner(docs.counts.Owner).Fresh()
	for at := 0; at < len(docs.ids); {
		var ids []string
		for _, raw := range docs.ids[at:min(at+idsPage, len(docs.ids))] {
			ids = append(ids, formatID(raw))
		}
		found, read, err := reader.Snapshots(ctx, ids, t.generations)
		if err != nil {
			return err
		}
		for i, id := range ids[:read] {
			same := len(found) > 0 && found[0].Document.ID == id
			if same {
				d := &found[0]
				found = found[1:]
				same = digest(d) == docs.digests[at+i]
				fault.Got.Documents++
				fault.Got.Leaves += int64(len(d.Leaves))
				fault.Got.Parents += int64(len(d.Parents))
				for g, generation := range t.generations {
					have, want := vectorsOf(d, generation), int64(docs.vectors[(at+i)*n+g])
					fault.Got.Vectors[g] += min(have, want) // a worker may have made more by now
					same = same && (have >= want || d.Document.NoVectors)
				}
			}
			if !same && len(fault.Documents) < maxExamples {
				fault.Documents = append(fault.Documents, id)
			}
		}
		at += read
		*done += int64(read)
		t.move.report(*done, t.move.result.Created+t.move.result.Updated)
	}
	if len(fault.Documents) == 0 {
		return nil
	}
	return fault
}

func formatID(raw [16]byte) string {
	s := hex.EncodeToString(raw[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// digest is a hash over all that a snapshot has of a document but its vectors, the same in every store: ids, which derive from the
// rest, are left out, and metadata are compared by their meaning.
func digest(s *llmemory.Snapshot) (out [16]byte) {
	h := sha256.New()
	d := &s.Document
	for _, text := range []string{d.OriginID, d.Key, d.Name, string(d.Type), d.Language, string(d.ContentHash), d.Tail} {
		hashText(h, text)
	}
	hashMetadata(h, d.RawMetadata)
	date := int64(-1 << 63)
	if !d.Date.IsZero() {
		date = d.Date.UnixMicro()
	}
	bare := int64(0)
	if d.NoVectors {
		bare = 1
	}
	hashNumbers(h, date, d.CreatedAt.UnixMicro(), d.UpdatedAt.UnixMicro(), d.Version, bare, int64(len(s.Leaves)), int64(len(s.Parents)))
	parents := map[string]int{"": -1}
	for i := range s.Parents {
		c := &s.Parents[i]
		parents[c.ID] = i
		hashNumbers(h, int64(c.Level), int64(c.Start), int64(c.End), int64(c.Tokens))
		hashText(h, c.Heading)
	}
	for i := range s.Leaves {
		c := &s.Leaves[i]
		hashNumbers(h, int64(parents[c.ParentID]), int64(c.Start), int64(c.End), int64(c.Tokens))
		hashText(h, c.Heading)
		hashText(h, c.Lead)
		hashText(h, c.Text)
	}
	copy(out[:], h.Sum(nil))
	return out
}

func hashNumbers(h hash.Hash, list ...int64) {
	var b [8]byte
	for _, n := range list {
		binary.LittleEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
}

func hashText(h hash.Hash, s string) {
	hashNumbers(h, int64(len(s)))
	_, _ = io.WriteString(h, s) // a hash takes everything
}

// hashMetadata hashes what JSON means: stores may order members otherwise, and write numbers in another form.
func hashMetadata(h hash.Hash, raw []byte) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		hashText(h, string(raw))
		return
	}
	text, err := json.Marshal(plainNumbers(v)) // with members in order
	if err != nil {
		text = raw
	}
	hashText(h, string(text))
}

// plainNumbers writes numbers as fractions.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if r, ok := new(big.Rat).SetString(string(v)); ok {
			return r.RatString()
		}
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
	}
	return v
}
