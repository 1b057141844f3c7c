// Package processor is a library with llmemory inside. Its user need not know that: the processor hands on what it was given, a URL
// or a handle on a shared pool, and llmemory keeps its own tables beside the processor's in the same schema.
package processor

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/store/postgres"
)

// Module is the name under which the processor's migrations are tracked, next to llmemory's.
const Module = "document_processor"

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Config says where a processor works. Exactly one field is set.
type Config struct {
	// URL of a database of the processor's own. It opens a pool, and Close closes it.
	URL string
	// DB is a schema on the host's pool, which the host closes after the processor.
	DB *pgdbm.DB
}

// Processor cleans texts and remembers them. It is safe for concurrent use.
type Processor struct {
	db     *pgdbm.DB
	store  *postgres.Store
	memory *llmemory.Memory
	close  func()
}

// New makes a processor and brings its tables, and llmemory's, up to date.
func New(ctx context.Context, config Config) (_ *Processor, err error) {
	if (config.URL == "") == (config.DB == nil) {
		return nil, errors.New("processor: set either URL or DB")
	}
	p := &Processor{db: config.DB, close: func() {}}
	if p.db == nil { // nobody shares a pool: it opens one of its own
		pool, err := pgdbm.Open(ctx, pgdbm.Config{URL: config.URL})
		if err != nil {
			return nil, fmt.Errorf("processor: %w", err)
		}
		p.close = pool.Close
		if p.db, err = pool.DefaultSchema(ctx); err != nil {
			pool.Close()
			return nil, fmt.Errorf("processor: %w", err)
		}
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	if err := p.db.Migrate(ctx, Module, files); err != nil {
		return nil, fmt.Errorf("processor: %w", err)
	}
	if p.store, err = postgres.New(ctx, p.db, nil); err != nil {
		return nil, fmt.Errorf("processor: %w", err)
	}
	if p.memory, err = llmemory.New(p.store, nil); err != nil {
		return nil, fmt.Errorf("processor: %w", err)
	}
	return p, nil
}

// Close closes what New opened: the pool if it was made from a URL, never the host's.
func (p *Processor) Close() error {
	err := p.store.Close()
	p.close()
	return err
}

// Run maintains the processor's memory until the context ends. A host may leave it out; see [llmemory.Memory.Run].
func (p *Processor) Run(ctx context.Context) error { return p.memory.Run(ctx) }

// Input is a text to process.
type Input struct {
	Workspace string // the tenant
	User      string // whose text it is
	Filename  string // tells texts of a user apart: the same name again replaces the text
	Content   string
}

// Output is what became of a text.
type Output struct {
	DocumentID string
	Status     llmemory.Status
	Title      string
	Words      int
}

// Process cleans a text, remembers it, and records what it found. Memory and record are one transaction: both happen or neither.
func (p *Processor) Process(ctx context.Context, in Input) (Output, error) {
	content, title, words := clean(in.Content)
	out := Output{Title: title, Words: words}
	err := pgx.BeginFunc(ctx, p.db.Pool().Pgx(), func(tx pgx.Tx) error {
		memory := p.memory.On(p.store.WithTx(tx))
		added, err := memory.Owner(in.Workspace).Add(ctx, llmemory.Document{
			OriginID: in.User,
			Name:     in.Filename,
			Type:     llmemory.Text,
			Content:  content,
			Metadata: map[string]any{"title": title},
		})
		if err != nil {
			return err
		}
		out.DocumentID, out.Status = added.DocumentID, added.Status
		_, err = p.db.WithTx(tx).Exec(ctx, `
			INSERT INTO {{tables.processed_documents}} (workspace, document_id, title, words) VALUES ($1, $2, $3, $4)
			ON CONFLICT (workspace, document_id) DO UPDATE
			SET title = excluded.title, words = excluded.words, processed_at = excluded.processed_at`,
			in.Workspace, added.DocumentID, title, words)
		return err
	})
	if err != nil {
		return Output{}, fmt.Errorf("process %s: %w", in.Filename, err)
	}
	return out, nil
}

// Search finds the passages of a workspace's texts that answer a question best.
func (p *Processor) Search(ctx context.Context, workspace, question string, limit int) ([]llmemory.Hit, error) {
	found, err := p.memory.Owner(workspace).Search(ctx, question, &llmemory.SearchOptions{Limit: limit})
	if err != nil {
		return nil, err
	}
	return found.Hits, nil
}

// Summary counts what a workspace has.
type Summary struct {
	Documents int
	Words     int
}

// Summary counts what a workspace has.
func (p *Processor) Summary(ctx context.Context, workspace string) (Summary, error) {
	var s Summary
	err := p.db.QueryRow(ctx,
		"SELECT count(*), coalesce(sum(words), 0)::bigint FROM {{tables.processed_documents}} WHERE workspace = $1", workspace).
		Scan(&s.Documents, &s.Words)
	return s, err
}
