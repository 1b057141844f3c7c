package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/llmemory/llmemory"
)

// PutRun implements [llmemory.Store].
func (s *Store) PutRun(ctx context.Context, p llmemory.PutRunParams) (int64, error) {
	r := &p.Run
	sources, err := json.Marshal(r.Sources)
	if err != nil {
		return 0, err
	}
	var id int64
	err = s.write(ctx, func(c *conn) error {
		id = 0
		args := []any{p.Owner, r.OriginID, string(sources), string(r.State), micros(r.StartedAt), micros(time.Now()), r.Created, r.Updated,
			r.Unchanged, r.Failed, r.Skipped, r.Removed, r.Embedded, notNull(r.Fingerprint)}
		name := "begin_run"
		if r.ID != 0 {
			name, args = "put_run", append(args, r.ID)
		}
		err := c.query(s.sql.Get(name), func(row row) error {
			id = row.ColumnInt64(0)
			return nil
		}, args...)
		if err != nil {
			return err
		}
		if id == 0 {
			return fmt.Errorf("run %d: %w", r.ID, llmemory.ErrNotFound)
		}
		for _, f := range p.Files {
			err := c.exec(s.sql.Get("put_run_file"), p.Owner, id, f.Number, f.Source, f.Path, uuid(f.DocumentID), string(f.Outcome), f.Reason,
				f.Message, f.Chunks, notNull(f.SourceHash))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return id, nil
}

// Runs implements [llmemory.Store].
func (s *Store) Runs(ctx context.Context, p llmemory.RunsParams) ([]llmemory.Run, error) {
	var out []llmemory.Run
	err := s.read(ctx, func(c *conn) error {
		return c.query(s.sql.Get("runs"), collect(&out, scanRun), p.Owner, p.ID, p.Before, p.Limit)
	})
	return out, err
}

func scanRun(r row, out *llmemory.Run) error {
	out.ID, out.OriginID, out.State = r.ColumnInt64(0), r.ColumnText(1), llmemory.RunState(r.ColumnText(3))
	out.StartedAt, out.UpdatedAt = timeOf(r.ColumnInt64(4)), timeOf(r.ColumnInt64(5))
	out.Created, out.Updated, out.Unchanged, out.Failed = r.ColumnInt64(6), r.ColumnInt64(7), r.ColumnInt64(8), r.ColumnInt64(9)
	out.Skipped, out.Removed, out.Embedded, out.Fingerprint = r.ColumnInt64(10), r.ColumnInt64(11), r.ColumnInt64(12), some(r, 13)
	return unmarshal(r.ColumnText(2), &out.Sources)
}

// RunFiles implements [llmemory.Store].
func (s *Store) RunFiles(ctx context.Context, p llmemory.RunFilesParams) ([]llmemory.RunFile, error) {
	outcomes := ""
	if len(p.Outcomes) > 0 {
		raw, err := json.Marshal(p.Outcomes)
		if err != nil {
			return nil, err
		}
		outcomes = string(raw)
	}
	var out []llmemory.RunFile
	err := s.read(ctx, func(c *conn) error {
		return c.query(s.sql.Get("run_files"), collect(&out, scanRunFile), p.Owner, p.Run, p.After, outcomes, p.Limit)
	})
	return out, err
}

func scanRunFile(r row, f *llmemory.RunFile) error {
	f.Number, f.Source, f.Path, f.DocumentID = r.ColumnInt64(0), r.ColumnText(1), r.ColumnText(2), uuidText(r, 3)
	f.Outcome, f.Reason, f.Message, f.Chunks = llmemory.Status(r.ColumnText(4)), r.ColumnText(5), r.ColumnText(6), r.ColumnInt(7)
	f.SourceHash = some(r, 8)
	return nil
}

// SourceFiles implements [llmemory.Store].
func (s *Store) SourceFiles(ctx context.Context, p llmemory.SourceFilesParams) ([]llmemory.RunFile, error) {
	var out []llmemory.RunFile
	err := s.read(ctx, func(c *conn) error {
		return c.query(s.sql.Get("source_files"), collect(&out, scanRunFile), p.Owner, p.OriginID, p.Source, notNull(uuid(p.After)), p.Limit)
	})
	return out, err
}

// Failures implements [llmemory.Store].
func (s *Store) Failures(ctx context.Context, p llmemory.FailuresParams) ([]llmemory.RunFile, error) {
	var out []llmemory.RunFile
	err := s.read(ctx, func(c *conn) error {
		for _, hash := range p.SourceHashes {
			if err := c.query(s.sql.Get("failures"), collect(&out, scanRunFile), p.Owner, notNull(hash)); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// ForgetRuns implements [llmemory.Store].
func (s *Store) ForgetRuns(ctx context.Context, p llmemory.ForgetRunsParams) (int, error) {
	n := 0
	err := s.write(ctx, func(c *conn) error {
		n = 0
		if p.Runs == nil {
			err := c.exec(s.sql.Get("forget_runs"), p.Owner)
			n = int(c.raw.Changes())
			return err
		}
		for _, id := range p.Runs {
			if err := c.exec(s.sql.Get("forget_run"), p.Owner, id); err != nil {
				return err
			}
			n += int(c.raw.Changes())
		}
		return nil
	})
	return n, err
}
