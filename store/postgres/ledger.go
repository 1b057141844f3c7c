package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm"
)

// PutRun implements [llmemory.Store].
func (s *Store) PutRun(ctx context.Context, p llmemory.PutRunParams) (int64, error) {
	r := &p.Run
	sources, err := json.Marshal(r.Sources)
	if err != nil {
		return 0, err
	}
	n := len(p.Files)
	var (
		numbers                     = make([]int64, n)
		places, paths, documents    = make([]string, n), make([]string, n), make([]string, n)
		outcomes, reasons, messages = make([]string, n), make([]string, n), make([]string, n)
		chunks                      = make([]int32, n)
		hashes                      = make([][]byte, n)
	)
	for i, f := range p.Files {
		numbers[i], places[i], paths[i], documents[i] = f.Number, f.Source, f.Path, f.DocumentID
		outcomes[i], reasons[i], messages[i], chunks[i] = string(f.Outcome), f.Reason, f.Message, int32(f.Chunks)
		hashes[i] = notNull(f.SourceHash)
	}
	args := []any{p.Owner, r.OriginID, string(sources), string(r.State), r.StartedAt, r.Created, r.Updated, r.Unchanged, r.Failed, r.Skipped,
		r.Removed, r.Embedded, notNull(r.Fingerprint), numbers, places, paths, documents, outcomes, reasons, messages, chunks, hashes}
	name := "begin_run"
	if r.ID != 0 {
		name, args = "put_run", append(args, r.ID)
	}
	for try := 1; ; try++ {
		var id int64
		err := s.write(ctx, p.Owner, func(b *pgdbm.Batch) {
			id = 0
			b.Queue(s.sql.Get(name), args...).Rows(func(rows pgx.Rows) error {
				for rows.Next() {
					if err := rows.Scan(&id); err != nil {
						return err
					}
				}
				return rows.Err()
			})
		})
		if pgdbm.IsUniqueViolation(err) && r.ID == 0 && try < attempts {
			continue // another process began a run just now
		}
		if err == nil && id == 0 {
			err = fmt.Errorf("run %d: %w", r.ID, llmemory.ErrNotFound)
		}
		return id, err
	}
}

// Runs implements [llmemory.Store].
func (s *Store) Runs(ctx context.Context, p llmemory.RunsParams) ([]llmemory.Run, error) {
	var out []llmemory.Run
	err := s.read(ctx, p.Owner, func(b *pgdbm.Batch) {
		out = nil
		b.Queue(s.sql.Get("runs"), p.Owner, p.ID, p.Before, int64(p.Limit)).Rows(collect(&out, scanRun))
	})
	return out, err
}

func scanRun(rows pgx.Rows, r *llmemory.Run) error {
	row := readRow(rows)
	r.ID, r.OriginID = row.int(), row.text()
	sources := row.json()
	r.State, r.StartedAt, r.UpdatedAt = llmemory.RunState(row.text()), row.time(), row.time()
	r.Created, r.Updated, r.Unchanged, r.Failed = row.int(), row.int(), row.int(), row.int()
	r.Skipped, r.Removed, r.Embedded, r.Fingerprint = row.int(), row.int(), row.int(), row.some()
	if err := row.end(); err != nil {
		return err
	}
	return unmarshal(sources, &r.Sources)
}

// RunFiles implements [llmemory.Store].
func (s *Store) RunFiles(ctx context.Context, p llmemory.RunFilesParams) ([]llmemory.RunFile, error) {
	var outcomes []string
	for _, o := range p.Outcomes {
		outcomes = append(outcomes, string(o))
	}
	var out []llmemory.RunFile
	err := s.read(ctx, p.Owner, func(b *pgdbm.Batch) {
		out = nil
		b.Queue(s.sql.Get("run_files"), p.Owner, p.Run, p.After, outcomes, int64(p.Limit)).Rows(collect(&out, scanRunFile))
	})
	return out, err
}

func scanRunFile(rows pgx.Rows, f *llmemory.RunFile) error {
	row := readRow(rows)
	f.Number, f.Source, f.Path, f.DocumentID = row.int(), row.text(), row.text(), row.text()
	f.Outcome, f.Reason, f.Message, f.Chunks = llmemory.Status(row.text()), row.text(), row.text(), int(row.int())
	f.SourceHash = row.some()
	return row.end()
}

// SourceFiles implements [llmemory.Store].
func (s *Store) SourceFiles(ctx context.Context, p llmemory.SourceFilesParams) ([]llmemory.RunFile, error) {
	after := p.After
	if after == "" {
		after = "00000000-0000-0000-0000-000000000000"
	}
	var out []llmemory.RunFile
	err := s.read(ctx, p.Owner, func(b *pgdbm.Batch) {
		out = nil
		b.Queue(s.sql.Get("source_files"), p.Owner, p.OriginID, p.Source, after, int64(p.Limit)).Rows(collect(&out, scanRunFile))
	})
	return out, err
}

// Failures implements [llmemory.Store].
func (s *Store) Failures(ctx context.Context, p llmemory.FailuresParams) ([]llmemory.RunFile, error) {
	var out []llmemory.RunFile
	err := s.read(ctx, p.Owner, func(b *pgdbm.Batch) {
		out = nil
		b.Queue(s.sql.Get("failures"), p.Owner, p.SourceHashes).Rows(collect(&out, scanRunFile))
	})
	return out, err
}

// ForgetRuns implements [llmemory.Store].
func (s *Store) ForgetRuns(ctx context.Context, p llmemory.ForgetRunsParams) (int, error) {
	var n int64
	err := s.write(ctx, p.Owner, func(b *pgdbm.Batch) { b.Queue(s.sql.Get("forget_runs"), p.Owner, p.Runs).Affected(&n) })
	return int(n), err
}
