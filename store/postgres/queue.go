package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/vec"
	"github.com/llmemory/llmemory/pgdbm"
)

// backfillOwners is how many owners are locked at a time.
const backfillOwners = 500

// Backfill implements [llmemory.Store]. One process at a time walks the owners in their order, each under its write lock.
func (s *Store) Backfill(ctx context.Context, p llmemory.BackfillParams) (*llmemory.BackfillRecord, error) {
	if err := s.alone("the queue"); err != nil {
		return nil, err
	}
	g, err := s.generation(ctx, p.Generation)
	if err != nil {
		return nil, err
	}
	out := &llmemory.BackfillRecord{}
	for out.Queued == 0 && !out.Done {
		moved := false
		err := s.db.InTx(ctx, readCommitted, func(tx *pgdbm.Tx) error {
			var err error
			moved, err = s.backfill(ctx, tx, g, p.Limit, out)
			return err
		})
		if err != nil {
			return nil, translate(s.undefined(g.ID, err))
		}
		if !moved {
			break
		}
	}
	return out, nil
}

// backfill queues one page, and tells whether it came any further.
func (s *Store) backfill(ctx context.Context, tx *pgdbm.Tx, g generation, limit int, out *llmemory.BackfillRecord) (moved bool, err error) {
	type place struct {
		done, fresh bool
		owner       string
		ordinal     int64
		running     int64
	}
	var at []place
	var b pgdbm.Batch
	b.Queue(s.sql.Get("backfill_begin"), g.ID, s.qualified("document_owners")).Rows(collect(&at, func(r pgx.Rows, p *place) error {
		return r.Scan(&p.done, &p.fresh, &p.owner, &p.ordinal, &p.running)
	}))
	if err := tx.Run(ctx, &b); err != nil {
		return false, err
	}
	switch {
	case len(at) == 0: // somebody else is at it, or the generation is gone
		return false, nil
	case at[0].done:
		out.Done = true
		return true, nil
	case at[0].running > 0:
		if at[0].fresh {
			_, err = tx.Exec(ctx, s.sql.Get("backfill_wait"), g.ID, s.qualified("document_owners"))
		}
		return false, err
	}
	owners, afters, last, err := s.backfillOwners(ctx, tx, at[0].owner, at[0].ordinal, limit)
	if err != nil {
		return false, err
	}
	var queued, looked int64
	owner, ordinal := at[0].owner, at[0].ordinal
	if len(owners) > 0 {
		err := tx.QueryRow(ctx, s.on(g, "backfill_page"), owners, afters, int64(limit)).Scan(&queued, &looked, &owner, &ordinal)
		if err != nil {
			return false, err
		}
	}
	if looked < int64(limit) { // all of these owners' leaves
		if len(owners) > 0 {
			owner, ordinal = owners[len(owners)-1], math.MaxInt64
		}
		out.Done = last
	}
	var end pgdbm.Batch
	end.Queue(s.sql.Get("backfill_reached"), g.ID, owner, ordinal, out.Done)
	if queued > 0 {
		end.Queue(s.sql.Get("notify"), s.channel())
	}
	out.Queued = int(queued)
	return true, tx.Run(ctx, &end)
}

// backfillOwners locks the owners to go on with: as many as have about limit leaves. It tells whether they are the last. Only if
// it holds no lock yet does it wait for an edit that is going on, so no edit and it ever wait for each other.
func (s *Store) backfillOwners(ctx context.Context, tx *pgdbm.Tx, from string, ordinal int64, limit int) (owners []string, afters []int64, last bool, err error) {
	type owner struct {
		id     string
		leaves int64
		held   bool
	}
	var next []owner
	var b pgdbm.Batch
	b.Queue(s.sql.Get("backfill_owners"), from, ordinal == math.MaxInt64, int64(backfillOwners)).Rows(collect(&next, func(r pgx.Rows, o *owner) error {
		return r.Scan(&o.id, &o.leaves, &o.held)
	}))
	locks, err := tx.Begin(ctx, nil, &b)
	if err != nil {
		return nil, nil, false, err
	}
	if len(next) > 0 && !next[0].held {
		if err := locks.Rollback(ctx); err != nil {
			return nil, nil, false, err
		}
		if _, err := tx.Exec(ctx, s.sql.Get("backfill_owner"), next[0].id); err != nil {
			return nil, nil, false, err
		}
		for i := range next {
			next[i].held = i == 0
		}
	} else if err := locks.Commit(ctx, nil); err != nil {
		return nil, nil, false, err
	}
	leaves := int64(0)
	for _, o := range next {
		if !o.held || leaves >= int64(limit) {
			break
		}
		after := int64(-1)
		if o.id == from {
			after = ordinal
		}
		owners, afters = append(owners, o.id), append(afters, after)
		leaves += o.leaves
	}
	return owners, afters, len(owners) == len(next) && len(next) < backfillOwners, nil
}

// Claim implements [llmemory.Store].
func (s *Store) Claim(ctx context.Context, p llmemory.ClaimParams) ([]llmemory.Job, error) {
	g, err := s.generation(ctx, p.Generation)
	if errors.Is(err, llmemory.ErrNotFound) {
		return nil, nil // so nothing waits for it
	}
	if err != nil {
		return nil, err
	}
	var jobs []llmemory.Job
	var strays []llmemory.Job
	err = s.write(ctx, "", func(b *pgdbm.Batch) {
		jobs, strays = nil, nil
		b.Queue(s.on(g, "claim"), p.Token, interval(p.Lease), int64(p.Limit)).Rows(func(rows pgx.Rows) error {
			for rows.Next() {
				var j llmemory.Job
				var ordinal int64
				var there bool
				if err := rows.Scan(&j.Owner, &ordinal, &j.Attempts, &there, &j.Name, &j.Heading, &j.Context, &j.Text, &j.Parts); err != nil {
					return err
				}
				j.Ordinal = uint64(ordinal)
				if there {
					jobs = append(jobs, j)
				} else {
					strays = append(strays, j)
				}
			}
			return rows.Err()
		})
	})
	if err == nil && len(strays) > 0 {
		owners, ordinals := make([]string, len(strays)), make([]int64, len(strays))
		for i, j := range strays {
			owners[i], ordinals[i] = j.Owner, int64(j.Ordinal)
		}
		err = s.write(ctx, "", func(b *pgdbm.Batch) { b.Queue(s.on(g, "drop_strays"), p.Token, owners, ordinals) })
	}
	return jobs, s.undefined(g.ID, err)
}

// write runs statements about an owner's rows, "" for any, that need no other isolation than that of a statement, in one round trip.
// It is not repeated where its effect would be unknown.
func (s *Store) write(ctx context.Context, owner string, queue func(*pgdbm.Batch)) error {
	tx, err := s.begin(ctx, readCommitted)
	if err != nil {
		return translate(err)
	}
	b := s.batch(owner)
	queue(b)
	if err = tx.Commit(ctx, b); err != nil {
		_ = tx.Rollback(context.WithoutCancel(ctx))
	}
	if s.unaware(err) {
		return s.write(ctx, owner, queue)
	}
	return translate(err)
}

// common returns the owner that all items have, "" if there are several.
func common[T any](items []T, owner func(T) string) string {
	for _, item := range items[1:] {
		if owner(item) != owner(items[0]) {
			return ""
		}
	}
	return owner(items[0])
}

// Extend implements [llmemory.Store].
func (s *Store) Extend(ctx context.Context, p llmemory.ExtendParams) (int, error) {
	g, err := s.generation(ctx, p.Generation)
	if err != nil {
		return 0, err
	}
	var n int
	err = s.write(ctx, p.Owner, func(b *pgdbm.Batch) {
		b.Queue(s.on(g, "extend"), p.Token, interval(p.Lease), p.Owner).Row(func(row pgx.Row) error { return row.Scan(&n) })
	})
	return n, s.undefined(g.ID, err)
}

// Known implements [llmemory.Store].
func (s *Store) Known(ctx context.Context, p llmemory.KnownParams) ([]llmemory.KnownVector, error) {
	if len(p.Inputs) == 0 {
		return nil, s.check()
	}
	g, err := s.generation(ctx, p.Generation)
	if err != nil {
		return nil, err
	}
	owners, hashes := make([]string, len(p.Inputs)), make([][]byte, len(p.Inputs))
	for i, in := range p.Inputs {
		owners[i], hashes[i] = in.Owner, in.Hash
	}
	var out []llmemory.KnownVector
	owner := common(p.Inputs, func(in llmemory.OwnedInput) string { return in.Owner })
	err = s.read(ctx, owner, func(b *pgdbm.Batch) {
		out = nil
		b.Queue(s.on(g, "known"), owners, hashes).Rows(collect(&out, func(rows pgx.Rows, k *llmemory.KnownVector) error {
			var raw [][]byte
			if err := rows.Scan(&k.Owner, &k.Hash, &raw); err != nil {
				return err
			}
			k.Vector, err = decodeParts(raw, g.Model.Dimensions)
			return err
		}))
	})
	return out, s.undefined(g.ID, err)
}

// Embedded implements [llmemory.Store].
func (s *Store) Embedded(ctx context.Context, p llmemory.EmbeddedParams) ([]llmemory.LeafVector, error) {
	if len(p.Ordinals) == 0 {
		return nil, s.check()
	}
	g, err := s.generation(ctx, p.Generation)
	if err != nil {
		return nil, err
	}
	var out []llmemory.LeafVector
	err = s.read(ctx, p.Owner, func(b *pgdbm.Batch) {
		out = nil
		b.Queue(s.on(g, "embedded"), p.Owner, signed(p.Ordinals)).Rows(collect(&out, func(rows pgx.Rows, v *llmemory.LeafVector) error {
			var ordinal int64
			var raw [][]byte
			if err := rows.Scan(&ordinal, &v.Hash, &raw); err != nil {
				return err
			}
			v.Generation, v.Ordinal = g.ID, uint64(ordinal)
			v.Vector, err = decodeParts(raw, g.Model.Dimensions)
			return err
		}))
	})
	return out, s.undefined(g.ID, err)
}

// Complete implements [llmemory.Store].
func (s *Store) Complete(ctx context.Context, p llmemory.CompleteParams) (*llmemory.CompleteRecord, error) {
	out := &llmemory.CompleteRecord{}
	if len(p.Items) == 0 {
		return out, s.check()
	}
	g, err := s.generation(ctx, p.Generation)
	if err != nil {
		return nil, err
	}
	n, d := len(p.Items), g.Model.Dimensions
	owners, ordinals, hashes, flat := make([]string, n), make([]int64, n), make([][]byte, n), make([]float32, 0, n*d)
	first, parts := make([]int32, n), make([]int32, n)
	for i, item := range p.Items {
		of, err := llmemory.LeafVectors(item.Vector, d)
		if err != nil {
			return nil, err
		}
		owners[i], ordinals[i], hashes[i], first[i], parts[i] = item.Owner, int64(item.Ordinal), item.Hash, int32(len(flat)/d), int32(of)
		flat = append(flat, vec.SettledEach(item.Vector, d)...)
	}
	owner := common(p.Items, func(item llmemory.CompleteItem) string { return item.Owner })
	err = s.write(ctx, owner, func(b *pgdbm.Batch) {
		*out = llmemory.CompleteRecord{}
		b.Queue(s.on(g, "complete"), p.Token, owners, ordinals, hashes, first, parts, flat).Rows(func(rows pgx.Rows) error {
			for rows.Next() {
				var n int64
				var stored bool
				if err := rows.Scan(&n, &stored); err != nil {
					return err
				}
				if stored {
					out.Stored++
				} else {
					out.Busy = append(out.Busy, int(n-1))
				}
			}
			return rows.Err()
		})
	})
	if err != nil {
		return nil, s.undefined(g.ID, err)
	}
	return out, nil
}

// Fail implements [llmemory.Store].
func (s *Store) Fail(ctx context.Context, p llmemory.FailParams) error {
	if len(p.Items) == 0 {
		return s.check()
	}
	g, err := s.generation(ctx, p.Generation)
	if err != nil {
		return err
	}
	n := len(p.Items)
	owners, ordinals, reasons, tried := make([]string, n), make([]int64, n), make([]string, n), make([]bool, n)
	delays, dead := make([]string, n), make([]bool, n)
	due := false
	for i, item := range p.Items {
		owners[i], ordinals[i], reasons[i], tried[i] = item.Owner, int64(item.Ordinal), plainText(item.Reason), item.Tried
		delays[i], dead[i] = interval(item.Delay), item.Dead
		due = due || item.Delay <= 0 && !item.Dead
	}
	owner := common(p.Items, func(item llmemory.FailItem) string { return item.Owner })
	err = s.write(ctx, owner, func(b *pgdbm.Batch) {
		b.Queue(s.on(g, "fail"), p.Token, owners, ordinals, reasons, tried, delays, dead)
		if due {
			b.Queue(s.sql.Get("notify"), s.channel())
		}
	})
	return s.undefined(g.ID, err)
}

// interval is a duration as the database reads it.
func interval(d time.Duration) string {
	return strconv.FormatInt(d.Microseconds(), 10) + " microseconds"
}

// plainText is a text as the database can hold it.
func plainText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// Queue implements [llmemory.Store].
func (s *Store) Queue(ctx context.Context, p llmemory.QueueParams) (*llmemory.QueueRecord, error) {
	var r llmemory.QueueRecord
	err := s.read(ctx, p.Owner, func(b *pgdbm.Batch) {
		r = llmemory.QueueRecord{}
		b.Queue(s.sql.Get("queue"), p.Owner).Row(func(row pgx.Row) error {
			var oldest *time.Time
			if err := row.Scan(&r.Waiting, &r.Leased, &r.Dead, &oldest); err != nil {
				return err
			}
			r.Oldest = plainTime(oldest)
			return nil
		})
		if p.Limit <= 0 {
			return
		}
		b.Queue(s.sql.Get("queue_failures"), p.Owner, int64(p.Limit)).Rows(collect(&r.Failures, func(rows pgx.Rows, f *llmemory.QueueFailure) error {
			if err := rows.Scan(&f.Generation, &f.DocumentID, &f.ChunkID, &f.Attempts, &f.Reason, &f.Dead, &f.Due); err != nil {
				return err
			}
			if f.Due = f.Due.UTC(); f.Dead {
				f.Due = time.Time{}
			}
			return nil
		}))
	})
	if err != nil {
		return nil, err
	}
	return &r, nil
}

// RetryQueue implements [llmemory.Store].
func (s *Store) RetryQueue(ctx context.Context, p llmemory.RetryQueueParams) (int, error) {
	var n int64
	err := s.write(ctx, p.Owner, func(b *pgdbm.Batch) {
		b.Queue(s.sql.Get("retry_queue"), p.Owner).Affected(&n)
		b.Queue(s.sql.Get("notify"), s.channel())
	})
	return int(n), err
}

// decodeParts reads the vectors of a leaf's parts one after the other.
func decodeParts(raw [][]byte, dimensions int) (out []float32, err error) {
	for _, part := range raw {
		if out, err = decodeVector(part, formOf(dimensions).kind, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// decodeVector appends what pgvector sends to out: after the number of dimensions and two unused bytes the components, all in
// network order.
func decodeVector(raw []byte, kind string, out []float32) ([]float32, error) {
	size := 4
	if kind == "halfvec" {
		size = 2
	}
	if len(raw) < 4 || len(raw) != 4+size*int(binary.BigEndian.Uint16(raw)) {
		return nil, fmt.Errorf("%w: a %s of %d bytes", llmemory.ErrCorrupt, kind, len(raw))
	}
	out = slices.Grow(out, (len(raw)-4)/size)
	for at := raw[4:]; len(at) >= size; at = at[size:] {
		if size == 2 {
			out = append(out, vec.Half(binary.BigEndian.Uint16(at)))
		} else {
			out = append(out, math.Float32frombits(binary.BigEndian.Uint32(at)))
		}
	}
	return out, nil
}
