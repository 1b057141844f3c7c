package sqlite

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/llmemory/llmemory"
)

// The queue's clock is that of the machine, which all processes that use the file share. If it is put forward, leases end early: two
// workers may then embed the same passages, and the one whose token was replaced stores nothing. If it is put back, what rests or is
// leased does so for longer, but not for ever: what is due further ahead than any delay is due at once.
const furthest = 24 * time.Hour

// vectors removes vectors and jobs of the ordinals that go out of use, and gives those that come into use a vector or a job.
func (e *edit) vectors(c *conn, x llmemory.Changes, out *llmemory.Committed) error {
	known := map[int64]int{}
	for _, g := range e.sets {
		known[g.ID] = g.Model.Dimensions
	}
	for _, v := range x.Vectors {
		d, ok := known[v.Generation]
		if !ok {
			return noGeneration(v.Generation)
		}
		if _, err := llmemory.LeafVectors(v.Vector, d); err != nil {
			return err
		}
	}
	for _, g := range e.sets {
		if err := e.vectorsOf(c, g, x, out); err != nil {
			return err
		}
	}
	return nil
}

// vectorsOf is vectors for one generation. Old vectors go last: a new leaf may get a copy of one.
func (e *edit) vectorsOf(c *conn, g llmemory.Generation, x llmemory.Changes, out *llmemory.Committed) error {
	s := e.store
	var set *setEdit
	if len(x.Queue)+len(x.Vectors) > 0 {
		var err error
		if set, err = s.editSet(c, x.Owner, g.ID, g.Model.Dimensions); err != nil {
			return err
		}
	} else if len(x.Gone) > 0 {
		v, err := s.vectorSet(c, x.Owner, g.ID, g.Model.Dimensions)
		if err != nil || v.id == 0 {
			return err
		}
		set = s.changeSet(c, v)
	} else {
		return nil
	}
	set.page.Grow(min(len(x.Vectors), fullPage))
	brought := make(map[uint64]bool, len(x.Vectors))
	for _, v := range x.Vectors {
		if v.Generation == g.ID {
			if err := set.put(v.Ordinal, v.Hash, v.Vector); err != nil {
				return err
			}
			brought[v.Ordinal] = true
		}
	}
	now := micros(time.Now())
	due, token := now, []byte(nil)
	if x.Lease != nil && x.Lease.Generation == g.ID {
		due, token = now+x.Lease.Duration.Microseconds(), uuid(x.Lease.Token)
	}
	for _, l := range x.Queue {
		if brought[l.Ordinal] {
			continue
		}
		v, err := set.known(l.Hash)
		if err == nil && v != nil {
			err = set.put(l.Ordinal, l.Hash, v)
		}
		if err != nil {
			return err
		}
		if v != nil {
			continue
		}
		if err := c.exec(s.sql.Get("put_job"), set.id, l.Ordinal, g.ID, due, token, now); err != nil {
			return err
		}
		leased := token != nil && c.raw.Changes() > 0
		if g.State == llmemory.Active {
			out.Waiting = append(out.Waiting, l.Ordinal)
			if leased {
				out.Leased = append(out.Leased, l.Ordinal)
			}
		}
		e.queued = e.queued || token == nil
	}
	for _, ordinal := range x.Gone {
		if err := set.drop(ordinal); err != nil {
			return err
		}
		if err := c.exec(s.sql.Get("drop_job"), set.id, ordinal); err != nil {
			return err
		}
	}
	return set.finish()
}

// Backfill implements [llmemory.Store]. It walks the owners in their order, a page of leaves at a time.
func (s *Store) Backfill(ctx context.Context, p llmemory.BackfillParams) (*llmemory.BackfillRecord, error) {
	out := &llmemory.BackfillRecord{}
	for out.Queued == 0 && !out.Done {
		err := s.write(ctx, func(c *conn) error { return s.backfill(c, p, out) })
		if err != nil {
			return nil, err
		}
	}
	if out.Queued > 0 {
		s.wake.tell()
	}
	return out, nil
}

// backfillOwners is how many owners are looked at in one transaction.
const backfillOwners = 500

func (s *Store) backfill(c *conn, p llmemory.BackfillParams, out *llmemory.BackfillRecord) error {
	var (
		found, done bool
		owner       string
		ordinal     int64
		dimensions  int
	)
	if err := c.query(s.sql.Get("backfill_begin"), func(r row) error {
		found, done, owner, ordinal, dimensions = true, r.ColumnBool(0), r.ColumnText(1), r.ColumnInt64(2), r.ColumnInt(3)
		return nil
	}, p.Generation); err != nil {
		return err
	}
	switch {
	case !found:
		return noGeneration(p.Generation)
	case done:
		out.Done = true
		return nil
	}
	looked, queued := 0, 0
	for n := 0; looked < p.Limit && n < backfillOwners; n++ {
		next := ""
		if err := c.query(s.sql.Get("backfill_owner"), func(r row) error {
			next = r.ColumnText(0)
			return nil
		}, owner, ordinal == math.MaxInt64); err != nil {
			return err
		}
		if next == "" {
			done = true
			break
		}
		if next != owner {
			owner, ordinal = next, -1
		}
		of, last, err := s.backfillOwner(c, owner, p.Generation, dimensions, ordinal, p.Limit-looked, &queued)
		if err != nil {
			return err
		}
		if looked += of; looked < p.Limit {
			last = math.MaxInt64 // all of this owner's leaves
		}
		ordinal = last
	}
	if err := c.exec(s.sql.Get("backfill_reached"), p.Generation, owner, ordinal, done); err != nil {
		return err
	}
	out.Queued, out.Done = queued, done
	return nil
}

// backfillOwner queues leaves of an owner, and tells how many it looked at and which was the last.
func (s *Store) backfillOwner(c *conn, owner string, generation int64, dimensions int, after int64, limit int, queued *int) (looked int, last int64, err error) {
	var ordinals []uint64
	last = after
	if err := c.query(s.sql.Get("backfill_page"), func(r row) error {
		looked++
		last = r.ColumnInt64(0)
		if !r.ColumnBool(1) {
			ordinals = append(ordinals, uint64(last))
		}
		return nil
	}, owner, after, limit); err != nil || len(ordinals) == 0 {
		return looked, last, err
	}
	set, err := s.editSet(c, owner, generation, dimensions)
	if err != nil {
		return looked, last, err
	}
	now := micros(time.Now())
	for _, ordinal := range ordinals {
		embedded := false
		if err := c.query(s.sql.Get("vector"), func(row) error {
			embedded = true
			return nil
		}, vectorID(set.id, ordinal)); err != nil {
			return looked, last, err
		}
		if embedded {
			continue
		}
		if err := c.exec(s.sql.Get("put_job"), set.id, ordinal, generation, now, nil, now); err != nil {
			return looked, last, err
		}
		*queued += int(c.raw.Changes())
	}
	return looked, last, nil
}

// Claim implements [llmemory.Store]. Whether anything is due is looked at first: who finds nothing holds up no writer.
func (s *Store) Claim(ctx context.Context, p llmemory.ClaimParams) ([]llmemory.Job, error) {
	due := false
	err := s.read(ctx, func(c *conn) error {
		now := time.Now()
		return c.query(s.sql.Get("due"), func(r row) error {
			due = r.ColumnBool(0)
			return nil
		}, p.Generation, micros(now), micros(now.Add(furthest)))
	})
	if err != nil || !due || p.Limit <= 0 {
		return nil, err
	}
	var jobs []llmemory.Job
	err = s.write(ctx, func(c *conn) error {
		jobs = nil
		if _, err := s.dimensions(c, p.Generation); errors.Is(err, llmemory.ErrNotFound) {
			return nil // so nothing waits for it
		} else if err != nil {
			return err
		}
		type taken struct {
			llmemory.Job
			set int64
		}
		var list []taken
		now := time.Now()
		if err := c.query(s.sql.Get("claim"), func(r row) error {
			list = append(list, taken{set: r.ColumnInt64(1), Job: llmemory.Job{
				JobInput: llmemory.JobInput{Owner: r.ColumnText(0)}, Ordinal: uint64(r.ColumnInt64(2)), Attempts: r.ColumnInt(3),
			}})
			return nil
		}, p.Generation, micros(now), micros(now.Add(furthest)), p.Limit); err != nil {
			return err
		}
		token, until := uuid(p.Token), micros(now.Add(p.Lease))
		for _, t := range list {
			there := false
			if err := c.query(s.sql.Get("job_input"), func(r row) error {
				there = true
				t.Name, t.Heading, t.Context, t.Text, t.Parts = r.ColumnText(0), r.ColumnText(1), r.ColumnText(2), r.ColumnText(3), r.ColumnInt(4)
				return nil
			}, t.Owner, t.Ordinal); err != nil {
				return err
			}
			if !there {
				if err := c.exec(s.sql.Get("drop_job"), t.set, t.Ordinal); err != nil {
					return err
				}
				continue
			}
			if err := c.exec(s.sql.Get("lease"), t.set, t.Ordinal, token, until); err != nil {
				return err
			}
			jobs = append(jobs, t.Job)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return jobs, nil
}

// Extend implements [llmemory.Store].
func (s *Store) Extend(ctx context.Context, p llmemory.ExtendParams) (int, error) {
	n := 0
	err := s.write(ctx, func(c *conn) error {
		if _, err := s.dimensions(c, p.Generation); err != nil {
			return err
		}
		err := c.exec(s.sql.Get("extend"), uuid(p.Token), p.Generation, micros(time.Now().Add(p.Lease)), p.Owner)
		n = int(c.raw.Changes())
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// ownedSets looks up the sets of owners in a generation, each once.
type ownedSets struct {
	store      *Store
	conn       *conn
	generation int64
	dimensions int
	known      map[string]vectorSet
}

func (s *Store) ownedSets(c *conn, generation int64) (*ownedSets, error) {
	dimensions, err := s.dimensions(c, generation)
	return &ownedSets{s, c, generation, dimensions, map[string]vectorSet{}}, err
}

// of returns an owner's set; its id is 0 if there is none.
func (o *ownedSets) of(owner string) (vectorSet, error) {
	v, ok := o.known[owner]
	if ok {
		return v, nil
	}
	v, err := o.store.vectorSet(o.conn, owner, o.generation, o.dimensions)
	o.known[owner] = v
	return v, err
}

// Known implements [llmemory.Store].
func (s *Store) Known(ctx context.Context, p llmemory.KnownParams) ([]llmemory.KnownVector, error) {
	var out []llmemory.KnownVector
	err := s.read(ctx, func(c *conn) error {
		if len(p.Inputs) == 0 {
			return nil
		}
		sets, err := s.ownedSets(c, p.Generation)
		if err != nil {
			return err
		}
		for _, in := range p.Inputs {
			set, err := sets.of(in.Owner)
			if err != nil {
				return err
			}
			if set.vectors == 0 {
				continue
			}
			if err := c.query(s.sql.Get("known"), func(r row) error {
				v, err := decodeVector(nil, r.ColumnRawBlob(0), set.dimensions)
				out = append(out, llmemory.KnownVector{OwnedInput: in, Vector: v})
				return err
			}, set.id, notNull(in.Hash)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Embedded implements [llmemory.Store].
func (s *Store) Embedded(ctx context.Context, p llmemory.EmbeddedParams) ([]llmemory.LeafVector, error) {
	var out []llmemory.LeafVector
	err := s.read(ctx, func(c *conn) error {
		if len(p.Ordinals) == 0 {
			return nil
		}
		dimensions, err := s.dimensions(c, p.Generation)
		if err != nil {
			return err
		}
		set, err := s.vectorSet(c, p.Owner, p.Generation, dimensions)
		if err != nil || set.vectors == 0 {
			return err
		}
		for _, ordinal := range p.Ordinals {
			if ordinal > maxOrdinal {
				continue
			}
			if err := c.query(s.sql.Get("vector"), func(r row) error {
				v, err := decodeVector(nil, r.ColumnRawBlob(0), dimensions)
				out = append(out, llmemory.LeafVector{Generation: p.Generation, Ordinal: ordinal, Hash: blob(r, 1), Vector: v})
				return err
			}, vectorID(set.id, ordinal)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// completeWait is how long vectors wait for their turn to be written, before their jobs are busy.
const completeWait = time.Second

// Complete implements [llmemory.Store]. While somebody in this process is writing, whatever that is, all jobs are busy.
func (s *Store) Complete(ctx context.Context, p llmemory.CompleteParams) (*llmemory.CompleteRecord, error) {
	out := &llmemory.CompleteRecord{}
	if len(p.Items) == 0 {
		return out, s.pool.check()
	}
	turn, cancel := context.WithTimeout(ctx, completeWait)
	session, err := s.pool.edit(turn)
	cancel()
	if err != nil {
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			for i := range p.Items {
				out.Busy = append(out.Busy, i)
			}
			return out, nil
		}
		return nil, err
	}
	err = session.commit(ctx, func(c *conn) error {
		known, err := s.ownedSets(c, p.Generation)
		if err != nil {
			return err
		}
		for _, item := range p.Items {
			if _, err := llmemory.LeafVectors(item.Vector, known.dimensions); err != nil {
				return err
			}
		}
		token := uuid(p.Token)
		edits := map[string]*setEdit{}
		for _, item := range p.Items {
			e := edits[item.Owner]
			if e == nil {
				set, err := known.of(item.Owner)
				if err != nil {
					return err
				}
				if set.id == 0 {
					continue // it has no jobs
				}
				e = s.changeSet(c, set)
				edits[item.Owner] = e
			}
			if err := c.exec(s.sql.Get("take_job"), e.id, item.Ordinal, token); err != nil {
				return err
			}
			if c.raw.Changes() == 0 {
				continue
			}
			if err := e.put(item.Ordinal, item.Hash, item.Vector); err != nil {
				return err
			}
			out.Stored++
		}
		for _, e := range edits {
			if err := e.finish(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Fail implements [llmemory.Store].
func (s *Store) Fail(ctx context.Context, p llmemory.FailParams) error {
	if len(p.Items) == 0 {
		return s.pool.check()
	}
	due := false
	err := s.write(ctx, func(c *conn) error {
		known, err := s.ownedSets(c, p.Generation)
		if err != nil {
			return err
		}
		token, now := uuid(p.Token), time.Now()
		for _, item := range p.Items {
			set, err := known.of(item.Owner)
			if err != nil {
				return err
			}
			tried := 0
			if item.Tried {
				tried = 1
			}
			if err := c.exec(s.sql.Get("fail"), set.id, item.Ordinal, token, tried, item.Dead, micros(now.Add(item.Delay)),
				plainText(item.Reason)); err != nil {
				return err
			}
			due = due || item.Delay <= 0 && !item.Dead
		}
		return nil
	})
	if err == nil && due {
		s.wake.tell()
	}
	return err
}

// plainText is a text as people can read it and the database keeps it.
func plainText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// Queue implements [llmemory.Store].
func (s *Store) Queue(ctx context.Context, p llmemory.QueueParams) (*llmemory.QueueRecord, error) {
	out := &llmemory.QueueRecord{}
	err := s.read(ctx, func(c *conn) error {
		if err := c.query(s.sql.Get("queue"), func(r row) error {
			out.Waiting, out.Leased, out.Dead, out.Oldest = r.ColumnInt64(0), r.ColumnInt64(1), r.ColumnInt64(2), optionalTime(r, 3)
			return nil
		}, p.Owner, micros(time.Now())); err != nil || p.Limit <= 0 {
			return err
		}
		return c.query(s.sql.Get("queue_failures"), collect(&out.Failures, func(r row, f *llmemory.QueueFailure) error {
			f.Generation, f.DocumentID, f.ChunkID, f.Attempts = r.ColumnInt64(0), uuidText(r, 1), uuidText(r, 2), r.ColumnInt(3)
			if f.Reason, f.Dead = r.ColumnText(4), r.ColumnBool(5); !f.Dead {
				f.Due = timeOf(r.ColumnInt64(6))
			}
			return nil
		}), p.Owner, p.Limit)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// RetryQueue implements [llmemory.Store].
func (s *Store) RetryQueue(ctx context.Context, p llmemory.RetryQueueParams) (int, error) {
	n := 0
	err := s.write(ctx, func(c *conn) error {
		err := c.exec(s.sql.Get("retry_queue"), p.Owner, micros(time.Now()))
		n = int(c.raw.Changes())
		return err
	})
	if err != nil {
		return 0, err
	}
	if n > 0 {
		s.wake.tell()
	}
	return n, nil
}
