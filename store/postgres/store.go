// Package postgres keeps a document memory in PostgreSQL.
//
// Three ways lead to a [Store]: [Open] makes a pool of its own from a URL, [New] works in a schema of a pool that the host shares
// among its services, and [WithTx] joins a transaction of the host's. All statements name the schema of their tables, run
// unnamed and leave nothing behind on a connection: no setting, lock or prepared statement. A pool of one connection works, and so
// does a transaction pooler such as PgBouncer.
package postgres

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/sqlfile"
	"github.com/llmemory/llmemory/pgdbm"
)

// Module is the name under which llmemory's migrations are tracked in schema_migrations.
const Module = "aword_memory"

//go:embed migrations/*.sql
var migrationFiles embed.FS

//go:embed sql/*.sql
var statementFiles embed.FS

// Options are the settings of a store. Nil means defaults.
type Options struct {
	// Schema is where [Open] keeps the tables. Defaults to the connection's default schema, current_schema(), which usually is
	// "public". [New] gets its schema from the handle.
	Schema string
	// Pool is the pool that [Open] makes; its URL is ignored. Zero values mean pgdbm's defaults.
	Pool pgdbm.Config
	// ReadURLs name streaming replicas of the database. They answer searches, and Get, Text, Chunks, List and Stats, in turn; the
	// primary answers when none of them can, and everything else. The store makes a pool for each, with the settings of Pool, and
	// keeps one more connection to each and to the primary, to look after them. A replica that is down or too far behind when the
	// store is opened is no error, nor later: [Store.Replicas] tells. What a replica answers may be a little old; see
	// [llmemory.Owner.Fresh].
	ReadURLs []string
	// MaxReplicaLag is how far a replica may be behind to be asked. Defaults to [DefaultMaxReplicaLag], 5 s.
	MaxReplicaLag time.Duration
	// RequireMigrated makes a pending migration an error instead of running it, for processes whose role may not change the
	// schema or that should not.
	RequireMigrated bool
	// IndexFrom is how many vectors an owner must have to get an approximate index of its own; it loses it again below half of
	// them. Fewer vectors are compared one by one, which is exact. Defaults to [DefaultIndexFrom], to less where vectors have more
	// than 512 dimensions.
	IndexFrom int
	// MaxIndexes is how many owners may have an index, the largest do; the vectors of the others are compared one by one. Every
	// statement on vectors looks at all the indexes there are, so hundreds cost time. Defaults to [DefaultMaxIndexes]; negative
	// for none.
	MaxIndexes int
}

// Store implements [llmemory.Store] on PostgreSQL. It is safe for concurrent use.
type Store struct {
	db       *pgdbm.DB
	pool     *pgdbm.Pool // owned; nil when borrowed
	joined   bool        // lives in a host's transaction
	tx       pgx.Tx
	sql      sqlfile.Set
	shared   *shared
	closed   *atomic.Bool
	replicas *replicas // nil without, and for the two copies below
	primary  *Store    // a copy that asks no replicas; nil without replicas
	copy     bool      // of another store, which is the one to close

	indexFrom  int // 0 if it depends on the dimensions
	maxIndexes int

	statementBytes int // see the constant
}

var (
	_ llmemory.Store      = (*Store)(nil)
	_ llmemory.Joiner     = (*Store)(nil)
	_ llmemory.Replicated = (*Store)(nil)
)

// Open connects to the database that url names, migrates the schema and returns a store that owns its pool: Close closes it. The
// URL and the PG* environment mean what they mean to libpq.
func Open(ctx context.Context, url string, opts *Options) (*Store, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	config := o.Pool
	config.URL = url
	pool, err := pgdbm.Open(ctx, config)
	if err != nil {
		return nil, translate(err)
	}
	db, err := schema(ctx, pool, o.Schema)
	if err != nil {
		pool.Close()
		return nil, translate(err)
	}
	s, err := New(ctx, db, &o)
	if err != nil {
		pool.Close()
		return nil, err
	}
	s.pool = pool
	if s.primary != nil {
		s.primary.pool = pool
	}
	return s, nil
}

func schema(ctx context.Context, pool *pgdbm.Pool, name string) (*pgdbm.DB, error) {
	if name == "" {
		return pool.DefaultSchema(ctx)
	}
	return pool.Schema(name), nil
}

// New returns a store in the schema that db stands for, migrating it if need be. It never closes db's pool, which must outlive
// the store. When nothing is pending it changes nothing and needs no more than the right to read and write the tables.
func New(ctx context.Context, db *pgdbm.DB, opts *Options) (*Store, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	m, err := Migrations(db)
	if err != nil {
		return nil, err
	}
	return start(ctx, db, m, o)
}

// start is New with the migrations given.
func start(ctx context.Context, db *pgdbm.DB, m *pgdbm.Migrator, o Options) (*Store, error) {
	secured, err := ready(ctx, db, m, o.RequireMigrated)
	if err != nil {
		return nil, translate(err)
	}
	sql, err := statements()
	if err != nil {
		return nil, err
	}
	s := &Store{
		db: db, sql: sql, shared: &shared{}, closed: new(atomic.Bool),
		indexFrom: max(o.IndexFrom, 0), maxIndexes: max(cmp.Or(o.MaxIndexes, DefaultMaxIndexes), 0),
		statementBytes: statementBytes,
	}
	s.shared.secured.Store(secured)
	if len(o.ReadURLs) > 0 {
		primary := *s
		primary.copy = true
		s.primary = &primary
		if s.replicas, err = watch(ctx, db, o); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// statements returns the named statements with their template tags, which db renders.
func statements() (sqlfile.Set, error) {
	files, err := fs.Sub(statementFiles, "sql")
	if err != nil {
		return sqlfile.Set{}, err
	}
	return sqlfile.Load(files)
}

// WithTx returns a store whose every read and write happens in the host's transaction tx: a document added through it is there,
// with everything that belongs to it, exactly if the host commits. It takes the owner's write lock until then, so keep such
// transactions short. Nothing is retried and no maintenance is done in it. Use it with [llmemory.Memory.On].
func (s *Store) WithTx(tx pgx.Tx) *Store {
	c := *s
	c.tx, c.joined, c.copy, c.pool, c.replicas, c.primary = tx, true, true, nil, nil, nil
	return &c
}

// Joined implements [llmemory.Joiner].
func (s *Store) Joined() bool { return s.joined }

// DB returns the handle that the store works through, for a host that shares its pool.
func (s *Store) DB() *pgdbm.DB { return s.db }

// Close implements [llmemory.Store]. It closes the pool if [Open] made it, and those of replicas.
func (s *Store) Close() error {
	if s.copy || s.closed.Swap(true) {
		return nil
	}
	if s.replicas != nil {
		s.replicas.close()
	}
	if s.pool != nil {
		s.pool.Close()
	}
	return nil
}

func (s *Store) check() error {
	if s.closed.Load() {
		return fmt.Errorf("store: %w", llmemory.ErrClosed)
	}
	return nil
}

// begin starts a transaction whose BEGIN travels with its first statements; in a host's transaction, a savepoint.
func (s *Store) begin(ctx context.Context, opts *pgdbm.TxOptions) (*pgdbm.Tx, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if s.joined {
		return s.db.WithTx(s.tx).Begin(ctx, nil, nil)
	}
	return s.db.Begin(ctx, opts, nil)
}

// snapshot is a read transaction in which every statement sees the same instant.
var snapshot = &pgdbm.TxOptions{Isolation: pgdbm.RepeatableRead, ReadOnly: true}

// read runs statements about an owner's rows, "" for any, that must see one instant, in one round trip, and repeats them once on a new connection if the one they had
// turns out to be dead.
func (s *Store) read(ctx context.Context, owner string, queue func(*pgdbm.Batch)) error {
	if err := s.check(); err != nil {
		return err
	}
	return readError(s.twice(ctx, func() error { return s.readFrom(ctx, nil, owner, queue) }))
}

// readAnywhere is read for what a replica may answer.
func (s *Store) readAnywhere(ctx context.Context, owner string, queue func(*pgdbm.Batch)) error {
	if err := s.check(); err != nil {
		return err
	}
	return readError(s.anywhere(ctx, func(r *replica) error { return s.readFrom(ctx, r, owner, queue) }))
}

// readFrom reads from a replica, or from the primary if it is nil.
func (s *Store) readFrom(ctx context.Context, r *replica, owner string, queue func(*pgdbm.Batch)) error {
	b := s.batch(owner)
	queue(b)
	switch {
	case s.joined:
		return s.db.WithTx(s.tx).Run(ctx, b)
	case r == nil && b.Len() == 1: // a statement sees one instant anyway
		return s.db.Run(ctx, b)
	}
	commit := func(ctx context.Context, db *pgdbm.DB, b *pgdbm.Batch) error {
		tx, err := db.Begin(ctx, snapshot, nil)
		if err != nil {
			return err
		}
		if err := tx.Commit(ctx, b); err != nil {
			_ = tx.Rollback(ctx)
			return err
		}
		return nil
	}
	if r == nil {
		return commit(ctx, s.db, b)
	}
	return s.replicas.run(ctx, r, true, b, func(ctx context.Context, b *pgdbm.Batch) error { return commit(ctx, r.db, b) })
}

// readError translates the error of a read, which commits nothing.
func readError(err error) error {
	if errors.Is(err, pgdbm.ErrCommitUnknown) {
		err = &llmemory.UnavailableError{What: "database", Err: errors.Unwrap(err)}
	}
	return translate(err)
}

// Lookup implements [llmemory.Store].
func (s *Store) Lookup(ctx context.Context, p llmemory.LookupParams) ([]llmemory.DocumentRecord, error) {
	origins, keys := identityColumns(p.Identities)
	var out []llmemory.DocumentRecord
	err := s.read(ctx, p.Owner, func(b *pgdbm.Batch) {
		b.Queue(s.sql.Get("lookup"), p.Owner, origins, keys).Rows(collect(&out, scanDocument))
	})
	return out, err
}

func identityColumns(list []llmemory.Identity) (origins, keys []string) {
	origins, keys = make([]string, len(list)), make([]string, len(list))
	for i, id := range list {
		origins[i], keys[i] = id.OriginID, id.Key
	}
	return origins, keys
}

// Document implements [llmemory.Store].
func (s *Store) Document(ctx context.Context, p llmemory.DocumentParams) (*llmemory.DocumentRecord, []llmemory.ChunkRecord, error) {
	var docs []llmemory.DocumentRecord
	var chunks []llmemory.ChunkRecord
	err := s.readAnywhere(ctx, p.Owner, func(b *pgdbm.Batch) {
		docs, chunks = nil, nil
		b.Queue(s.sql.Get("document"), p.Owner, p.DocumentID).Rows(collect(&docs, scanDocument))
		if p.Leaves || p.Parents {
			from, to := int32(1), int32(0)
			if p.Leaves {
				from = 0
			}
			if p.Parents {
				to = 100
			}
			b.Queue(s.sql.Get("document_chunks"), p.Owner, p.DocumentID, from, to).Rows(collect(&chunks, scanChunk))
		}
	})
	if err != nil {
		return nil, nil, err
	}
	if len(docs) == 0 {
		return nil, nil, fmt.Errorf("document %s: %w", p.DocumentID, llmemory.ErrNotFound)
	}
	return &docs[0], chunks, nil
}

// Chunks implements [llmemory.Store].
func (s *Store) Chunks(ctx context.Context, p llmemory.ChunksParams) ([]llmemory.ChunkRecord, int, error) {
	var chunks []llmemory.ChunkRecord
	var total int64
	found := false
	err := s.readAnywhere(ctx, p.Owner, func(b *pgdbm.Batch) {
		chunks, found = nil, false
		b.Queue(s.sql.Get("chunk_count"), p.Owner, p.DocumentID, int32(p.Level)).Rows(func(rows pgx.Rows) error {
			for rows.Next() {
				found = true
				if err := rows.Scan(&total); err != nil {
					return err
				}
			}
			return rows.Err()
		})
		b.Queue(s.sql.Get("chunk_page"), p.Owner, p.DocumentID, int32(p.Level), int64(p.Offset), int64(p.Offset)+int64(p.Limit)).
			Rows(collect(&chunks, scanChunk))
	})
	if err == nil && !found {
		err = fmt.Errorf("document %s: %w", p.DocumentID, llmemory.ErrNotFound)
	}
	return chunks, int(total), err
}

var orders = map[llmemory.Order]string{
	llmemory.ByCreated: "created_at",
	llmemory.ByUpdated: "updated_at",
	llmemory.ByName:    "document_name",
	llmemory.ByDate:    "document_date",
}

// List implements [llmemory.Store].
func (s *Store) List(ctx context.Context, p llmemory.ListParams) ([]llmemory.DocumentRecord, int, error) {
	column, ok := orders[p.OrderBy]
	if !ok {
		return nil, 0, &llmemory.InvalidError{Field: "order", Rule: fmt.Sprintf("%q is unknown", p.OrderBy)}
	}
	direction := ""
	if p.Descending {
		direction = " DESC"
	}
	order := fmt.Sprintf("%s%s NULLS LAST, document_id%s", column, direction, direction)
	page, pageArgs, err := s.filtered("list", p.Where, p.Owner, int64(p.Limit), int64(p.Offset))
	if err != nil {
		return nil, 0, err
	}
	count, countArgs, err := s.filtered("list_count", p.Where, p.Owner)
	if err != nil {
		return nil, 0, err
	}
	var docs []llmemory.DocumentRecord
	var total int64
	err = s.readAnywhere(ctx, p.Owner, func(b *pgdbm.Batch) {
		docs = nil
		b.Queue(replaceMarker(page, "/*order*/", order), pageArgs...).Rows(collect(&docs, scanDocument))
		b.Queue(count, countArgs...).Row(func(r pgx.Row) error { return r.Scan(&total) })
	})
	return docs, int(total), err
}

// noID comes before every document's id.
const noID = "00000000-0000-0000-0000-000000000000"

// DocumentIDs implements [llmemory.Store].
func (s *Store) DocumentIDs(ctx context.Context, p llmemory.DocumentIDsParams) ([]string, error) {
	var ids []string
	err := s.readAnywhere(ctx, p.Owner, func(b *pgdbm.Batch) {
		ids = nil
		b.Queue(s.sql.Get("document_ids"), p.Owner, cmp.Or(p.After, noID), int64(p.Limit)).Rows(collect(&ids, scanText))
	})
	return ids, err
}

func scanText(rows pgx.Rows, into *string) error { return rows.Scan(into) }

// Stats implements [llmemory.Store].
func (s *Store) Stats(ctx context.Context, p llmemory.StatsParams) (*llmemory.StatsRecord, error) {
	var r llmemory.StatsRecord
	err := s.readAnywhere(ctx, p.Owner, func(b *pgdbm.Batch) {
		r = llmemory.StatsRecord{}
		b.Queue(s.sql.Get("stats"), p.Owner, int32(p.Folded)).Row(func(row pgx.Row) error {
			var types, languages []byte
			var created, updated *time.Time
			if err := row.Scan(&r.Documents, &r.Leaves, &r.Parents, &r.Bytes, &r.Tokens, &r.Origins, &types, &languages,
				&created, &updated, &r.Segments, &r.Unfolded, &r.DeadLeaves, &r.IndexBytes, &r.Analysis); err != nil {
				return err
			}
			r.FirstCreated, r.LastUpdated = plainTime(created), plainTime(updated)
			return errors.Join(unmarshal(types, &r.ByType), unmarshal(languages, &r.Languages))
		})
	})
	if err != nil {
		return nil, err
	}
	return &r, nil
}

// Backlog implements [llmemory.Store].
func (s *Store) Backlog(ctx context.Context, p llmemory.BacklogParams) ([]string, error) {
	var owners []string
	err := s.read(ctx, "", func(b *pgdbm.Batch) {
		owners = nil
		b.Queue(s.sql.Get("backlog"), int32(p.Analysis), int64(p.Limit)).Rows(collect(&owners, scanText))
	})
	return owners, err
}

// Owners implements [llmemory.Store].
func (s *Store) Owners(ctx context.Context, p llmemory.OwnersParams) ([]string, error) {
	var owners []string
	err := s.read(ctx, "", func(b *pgdbm.Batch) {
		owners = nil
		b.Queue(s.sql.Get("owners"), p.After, int64(p.Limit)).Rows(collect(&owners, scanText))
	})
	return owners, err
}

// Info implements [llmemory.Store].
func (s *Store) Info(ctx context.Context) (*llmemory.Info, error) {
	info := &llmemory.Info{Engine: "postgres", Place: s.db.SchemaName(), Details: map[string]string{}}
	err := s.read(ctx, "", func(b *pgdbm.Batch) {
		b.Queue(`SELECT pg_catalog.current_setting('server_version'), pg_catalog.current_database(), current_user::text,
			coalesce((SELECT e.extversion || ' in schema ' || n.nspname::text
				FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
				WHERE e.extname = 'vector'), ''),
			coalesce((SELECT default_version FROM pg_catalog.pg_available_extensions WHERE name = 'vector'), '')`).Row(func(row pgx.Row) error {
			var database, user, vector, available string
			if err := row.Scan(&info.Version, &database, &user, &vector, &available); err != nil {
				return err
			}
			info.Details["database"], info.Details["role"] = database, user
			info.Details["pgvector"], info.Details["pgvector_available"] = vector, available
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return info, nil
}
