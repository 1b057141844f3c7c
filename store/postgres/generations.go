package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/internal/sqlfile"
	"github.com/llmemory/llmemory/pgdbm"
)

// minVector is the oldest pgvector that will do: the first whose indexes can go on searching when a filter drops what they found.
const minVector = "0.8.0"

// maxDimensions is the most that pgvector stores.
const maxDimensions = 16_000

// vectorHint tells a role that may not make tables what to do.
const vectorHint = "run `llmemory models add` as the owner of the schema's tables"

// generation is a row of embedding_generations, and where pgvector is.
type generation struct {
	llmemory.Generation
	extension string // schema of pgvector; "" if it is not installed any more
}

// form is how vectors of a number of dimensions are kept.
type form struct {
	kind    string // type of the column
	storage string
	// bits makes indexes hold one bit a dimension: they cannot hold more.
	bits bool
}

// formOf returns the form for a number of dimensions. A row that fits a page is kept in it: fetching vectors from elsewhere makes
// exact search three times slower. Indexes over vector and halfvec take 2,000 and 4,000 dimensions.
func formOf(dimensions int) form {
	switch {
	case dimensions <= 1_800:
		return form{kind: "vector", storage: "PLAIN"}
	case dimensions <= 3_600:
		return form{kind: "halfvec", storage: "PLAIN"}
	case dimensions <= 4_000:
		return form{kind: "halfvec", storage: "EXTERNAL"}
	}
	return form{kind: "vector", storage: "EXTERNAL", bits: true}
}

// on returns a statement for a generation.
func (s *Store) on(g generation, name string) string {
	key := generationStatement{name, g.ID, g.Model.Dimensions, g.extension}
	if sql, ok := s.shared.statement(key); ok {
		return sql
	}
	sql := onGeneration(s.sql.Get(name), g.ID, g.Model.Dimensions, g.extension)
	s.shared.keep(key, sql)
	return sql
}

func onGeneration(sql string, id int64, dimensions int, extension string) string {
	f, ext := formOf(dimensions), sqlfile.Quote(extension)
	return strings.NewReplacer(
		"{{tables.embeddings}}", "{{tables."+tableOf(id)+"}}",
		"/*generation*/", strconv.FormatInt(id, 10),
		"/*dimensions*/", strconv.Itoa(dimensions),
		"/*parts*/", strconv.Itoa(llmemory.MaxLeafVectors),
		"/*vector*/", ext+"."+f.kind,
		"/*send*/", ext+"."+f.kind+"_send",
		"/*distance*/", "OPERATOR("+ext+".<=>)",
		"/*storage*/", f.storage,
	).Replace(sql)
}

func tableOf(id int64) string { return "embeddings_" + strconv.FormatInt(id, 10) }

// qualified returns the name of a table of ours as SQL, to be cast to regclass.
func (s *Store) qualified(table string) string {
	return sqlfile.Quote(s.db.SchemaName()) + "." + sqlfile.Quote(table)
}

// parseGenerations reads rows of embedding_generations as JSON.
func parseGenerations(raw []byte) ([]generation, error) {
	if len(raw) <= len("[]") {
		return nil, nil
	}
	var rows []struct {
		Generation    int64      `json:"generation"`
		Profile       string     `json:"profile"`
		Provider      string     `json:"provider"`
		Model         string     `json:"model"`
		Dimensions    int        `json:"dimensions"`
		Normalized    bool       `json:"normalized"`
		QueryPrefix   string     `json:"query_prefix"`
		PassagePrefix string     `json:"passage_prefix"`
		MaxTokens     int        `json:"max_tokens"`
		Price         float64    `json:"price"`
		State         string     `json:"state"`
		Backfilled    bool       `json:"backfilled"`
		Created       time.Time  `json:"created_at"`
		Activated     *time.Time `json:"activated_at"`
		Extension     string     `json:"extension"`
	}
	if err := unmarshal(raw, &rows); err != nil {
		return nil, err
	}
	out := make([]generation, len(rows))
	for i, r := range rows {
		out[i] = generation{
			Generation: llmemory.Generation{
				ID: r.Generation,
				Model: embedding.ModelInfo{
					Provider: r.Provider, Model: r.Model, Dimensions: r.Dimensions, Normalized: r.Normalized,
					QueryPrefix: r.QueryPrefix, PassagePrefix: r.PassagePrefix, MaxTokens: r.MaxTokens, PricePerMillionTokens: r.Price,
				},
				State: llmemory.GenerationState(r.State), Profile: llmemory.Profile(r.Profile), Backfilled: r.Backfilled,
				Created: r.Created.UTC(), Activated: plainTime(r.Activated),
			},
			extension: r.Extension,
		}
	}
	return out, nil
}

func plainGenerations(list []generation) []llmemory.Generation {
	out := make([]llmemory.Generation, len(list))
	for i, g := range list {
		out[i] = g.Generation
	}
	return out
}

// Generations implements [llmemory.Store]. While the primary does not answer, a replica does, so that searches go on.
func (s *Store) Generations(ctx context.Context, _ llmemory.GenerationsParams) ([]llmemory.Generation, error) {
	if !s.replicas.down() {
		list, err := s.generations(ctx)
		if s.replicas == nil || !errors.Is(err, llmemory.ErrUnavailable) {
			return plainGenerations(list), err
		}
	}
	var list []generation
	err := s.readAnywhere(ctx, "", func(b *pgdbm.Batch) { b.Queue(s.sql.Get("generations")).Row(scanGenerations(&list)) })
	return plainGenerations(list), err
}

func (s *Store) generations(ctx context.Context) ([]generation, error) {
	var list []generation
	err := s.read(ctx, "", func(b *pgdbm.Batch) {
		b.Queue(s.sql.Get("generations")).Row(scanGenerations(&list))
	})
	if err == nil {
		s.shared.learn(list)
	}
	return list, err
}

func scanGenerations(into *[]generation) func(pgx.Row) error {
	return func(row pgx.Row) error {
		var raw []byte
		if err := row.Scan(&raw); err != nil {
			return err
		}
		var err error
		*into, err = parseGenerations(raw)
		return err
	}
}

// generation returns one generation, as it was when this store looked last: what is used of it never changes, but for the schema
// of the extension.
func (s *Store) generation(ctx context.Context, id int64) (generation, error) {
	if g, ok := s.shared.known(id); ok {
		return g, s.check()
	}
	list, err := s.generations(ctx)
	if err != nil {
		return generation{}, err
	}
	for _, g := range list {
		if g.ID == id {
			return g, nil
		}
	}
	return generation{}, notFound(id)
}

func notFound(id int64) error { return fmt.Errorf("generation %d: %w", id, llmemory.ErrNotFound) }

// undefined tells whether a statement failed because the table of its generation is gone, or pgvector is elsewhere now. Then what
// the store knows of the generation is forgotten.
func (s *Store) undefined(id int64, err error) error {
	if !pgdbm.IsUndefined(err) {
		return err
	}
	s.shared.forget(id)
	return fmt.Errorf("generation %d: %w: %w", id, llmemory.ErrNotFound, err)
}

// alone refuses what cannot be done inside a host's transaction.
func (s *Store) alone(what string) error {
	if s.joined {
		return &llmemory.UnavailableError{What: what, Err: errors.New("it cannot be done inside a transaction of the host's")}
	}
	return s.check()
}

// AddGeneration implements [llmemory.Store].
func (s *Store) AddGeneration(ctx context.Context, p llmemory.AddGenerationParams) (*llmemory.Generation, error) {
	if d := p.Model.Dimensions; d < 1 || d > maxDimensions {
		return nil, &llmemory.InvalidError{Field: "dimensions", Rule: fmt.Sprintf("must be 1 to %d, are %d", maxDimensions, d)}
	}
	if g, err := s.matching(ctx, p); g != nil || err != nil {
		return g, err
	}
	if err := s.alone("generations"); err != nil {
		return nil, err
	}
	extension, err := s.requireVector(ctx)
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, &pgdbm.TxOptions{Isolation: pgdbm.ReadCommitted, Retries: pgdbm.MaxRetries}, func(tx *pgdbm.Tx) error {
		return s.makeGeneration(ctx, tx, p, extension)
	})
	if pgdbm.IsPrivilege(err) {
		err = &llmemory.UnavailableError{What: "generations", Err: fmt.Errorf("%w; %s", err, vectorHint)}
	}
	if err != nil {
		return nil, translate(err)
	}
	return s.matching(ctx, p)
}

// matching returns the generation that has this model and profile, nil if there is none.
func (s *Store) matching(ctx context.Context, p llmemory.AddGenerationParams) (*llmemory.Generation, error) {
	list, err := s.generations(ctx)
	if err != nil {
		return nil, err
	}
	for _, g := range list {
		if g.Model.Identity() == p.Model.Identity() && g.Profile == p.Profile {
			return &g.Generation, nil
		}
	}
	return nil, nil
}

func (s *Store) makeGeneration(ctx context.Context, tx *pgdbm.Tx, p llmemory.AddGenerationParams, extension string) error {
	var list []generation
	var b pgdbm.Batch
	b.Queue(s.sql.Get("lock_generations"))
	b.Queue(s.sql.Get("generations")).Row(scanGenerations(&list))
	if err := tx.Run(ctx, &b); err != nil {
		return err
	}
	identity := p.Model.Identity()
	for _, g := range list {
		if g.Model.Identity() == identity && g.Profile == p.Profile {
			return nil // somebody else has just made it
		}
	}
	m := p.Model
	var id int64
	err := tx.QueryRow(ctx, s.sql.Get("add_generation"), identity, string(p.Profile), m.Provider, m.Model, int32(m.Dimensions), m.Normalized,
		m.QueryPrefix, m.PassagePrefix, int32(m.MaxTokens), m.PricePerMillionTokens).Scan(&id)
	if err != nil {
		return err
	}
	var rights []string
	var make pgdbm.Batch
	for _, name := range []string{"make_generation", "store_generation", "index_generation"} {
		make.Queue(onGeneration(s.sql.Get(name), id, m.Dimensions, extension))
	}
	for _, name := range []string{"table_rights", "table_security"} {
		make.Queue(s.sql.Get(name), s.qualified(tableOf(id)), s.qualified("embedding_queue")).
			Rows(collect(&rights, func(r pgx.Rows, sql *string) error { return r.Scan(sql) }))
	}
	if err := tx.Run(ctx, &make); err != nil {
		return err
	}
	for _, sql := range rights {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// requireVector returns the schema of pgvector. A store that was opened from a URL installs it where the role may.
func (s *Store) requireVector(ctx context.Context) (string, error) {
	e, err := s.db.Pool().RequireExtension(ctx, "vector", minVector)
	if errors.Is(err, pgdbm.ErrExtension) && e.Version == "" && e.Available != "" && s.pool != nil {
		if installed := s.installVector(ctx); installed == nil {
			e, err = s.db.Pool().RequireExtension(ctx, "vector", minVector)
		}
	}
	if errors.Is(err, pgdbm.ErrExtension) {
		err = &llmemory.UnavailableError{What: "vectors", Err: err}
	}
	return e.Schema, translate(err)
}

// installVector makes the extension. Where several processes start at once they would get in each other's way.
func (s *Store) installVector(ctx context.Context) error {
	return s.db.InTx(ctx, nil, func(tx *pgdbm.Tx) error {
		var b pgdbm.Batch
		b.Queue(`SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('llmemory: create extension vector'::text, 0::bigint))`)
		b.Queue(`CREATE EXTENSION IF NOT EXISTS vector`)
		return tx.Run(ctx, &b)
	})
}

// ActivateGeneration implements [llmemory.Store].
func (s *Store) ActivateGeneration(ctx context.Context, p llmemory.ActivateGenerationParams) (*llmemory.Generation, error) {
	tx, err := s.begin(ctx, readCommitted)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // after Commit it does nothing
	w, err := s.lockGeneration(ctx, tx, p.Generation)
	switch {
	case err != nil:
		return nil, translate(err)
	case w.state == retired:
		return nil, notFound(p.Generation)
	case w.state == string(llmemory.Active):
	case p.Force:
	case !w.backfilled:
		return nil, fmt.Errorf("generation %d: %w: its vectors are not made yet: let \"llmemory embed\" with its embedder (or Run) do that, or force it", p.Generation, llmemory.ErrConflict)
	case w.waiting > 0:
		return nil, fmt.Errorf("generation %d: %w: %d passages still wait for a vector of it: let \"llmemory embed\" with its embedder (or Run) go on, or force it", p.Generation, llmemory.ErrConflict, w.waiting)
	}
	var list []generation
	var b pgdbm.Batch
	b.Queue(s.sql.Get("stand_by"), p.Generation)
	b.Queue(s.sql.Get("activate"), p.Generation)
	b.Queue(s.sql.Get("generations")).Row(scanGenerations(&list))
	if err := tx.Commit(ctx, &b); err != nil {
		return nil, translate(err)
	}
	s.shared.learn(list)
	for _, g := range list {
		if g.ID == p.Generation {
			return &g.Generation, nil
		}
	}
	return nil, notFound(p.Generation)
}

// generationWaits is what decides whether a generation may be activated or retired.
type generationWaits struct {
	state      string
	backfilled bool
	waiting    int64
	others     int64
}

// lockGeneration locks all generations and looks at one.
func (s *Store) lockGeneration(ctx context.Context, tx *pgdbm.Tx, id int64) (*generationWaits, error) {
	var found []generationWaits
	b := s.batch("")
	b.Queue(s.sql.Get("lock_generation_rows"))
	b.Queue(s.sql.Get("generation_waits"), id).Rows(collect(&found, func(r pgx.Rows, w *generationWaits) error {
		return r.Scan(&w.state, &w.backfilled, &w.waiting, &w.others)
	}))
	if err := tx.Run(ctx, b); err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, notFound(id)
	}
	return &found[0], nil
}

// retired is the state of a generation whose rows are being removed: nobody sees it any more.
const retired = "retired"

// purgeJobs is how many rows of the queue are removed at a time.
const purgeJobs = 10_000

// RetireGeneration implements [llmemory.Store]. First nobody sees the generation any more, then its rows go, the table at last.
// What is cut off in between is finished by the same call.
func (s *Store) RetireGeneration(ctx context.Context, p llmemory.RetireGenerationParams) error {
	if err := s.alone("generations"); err != nil {
		return err
	}
	err := s.db.InTx(ctx, readCommitted, func(tx *pgdbm.Tx) error {
		w, err := s.lockGeneration(ctx, tx, p.Generation)
		switch {
		case err != nil:
			return err
		case w.state == retired:
			return nil
		case w.state == string(llmemory.Active) && w.others > 0:
			return fmt.Errorf("generation %d: %w: searches use it; activate another one first", p.Generation, llmemory.ErrConflict)
		case w.state == string(llmemory.Active) && !p.Force:
			return fmt.Errorf("generation %d: %w: searches use it, and there is no other", p.Generation, llmemory.ErrConflict)
		}
		var mayDrop bool
		err = tx.QueryRow(ctx, `SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class c WHERE c.oid = $1::regclass`,
			s.qualified(tableOf(p.Generation))).Scan(&mayDrop)
		switch {
		case err != nil:
			return err
		case !mayDrop:
			return &llmemory.UnavailableError{What: "generations",
				Err: errors.New("this role may not drop the table; run `llmemory models retire` as the owner of the schema's tables")}
		}
		_, err = tx.Exec(ctx, s.sql.Get("retire"), p.Generation)
		return err
	})
	if err != nil {
		return translate(err)
	}
	s.shared.forget(p.Generation)
	for n := int64(1); n > 0; {
		tag, err := s.db.Exec(ctx, s.sql.Get("purge_jobs"), p.Generation, int64(purgeJobs))
		if err != nil {
			return translate(err)
		}
		n = tag.RowsAffected()
	}
	return s.dropGeneration(ctx, p.Generation)
}

// dropGeneration removes the table and all that is left of a generation. Edits that had begun before nobody saw it any more may
// still write to it.
func (s *Store) dropGeneration(ctx context.Context, id int64) error {
	return translate(patiently(ctx, func() error {
		return s.db.InTx(ctx, readCommitted, func(tx *pgdbm.Tx) error {
			var b pgdbm.Batch
			b.Queue(`SET LOCAL lock_timeout = '500ms'`)
			b.Queue(onGeneration(s.sql.Get("drop_generation"), id, 1, ""))
			b.Queue(s.sql.Get("forget_generation"), id)
			return tx.Run(ctx, &b)
		})
	}))
}

// Progress implements [llmemory.Store].
func (s *Store) Progress(ctx context.Context, p llmemory.ProgressParams) (*llmemory.ProgressRecord, error) {
	var r llmemory.ProgressRecord
	var g generation
	if p.Generation != 0 {
		var err error
		if g, err = s.generation(ctx, p.Generation); err != nil {
			return nil, err
		}
	}
	err := s.read(ctx, "", func(b *pgdbm.Batch) {
		r = llmemory.ProgressRecord{}
		b.Queue(s.sql.Get("progress")).Row(func(row pgx.Row) error { return row.Scan(&r.Leaves, &r.Tokens) })
		if p.Generation == 0 {
			return
		}
		b.Queue(s.on(g, "progress_vectors"), g.ID, s.qualified(tableOf(g.ID))).Row(func(row pgx.Row) error {
			return row.Scan(&r.Vectors, &r.Bytes, &r.Waiting, &r.Dead)
		})
		b.Queue(s.sql.Get("indexes"), g.ID, s.db.SchemaName()).Rows(collect(&r.Indexes, func(rows pgx.Rows, i *llmemory.VectorIndex) error {
			return rows.Scan(&i.Owner, &i.Name, &i.Ready, &i.Rows)
		}))
	})
	if err != nil {
		return nil, s.undefined(p.Generation, err)
	}
	return &r, nil
}

// Inputs implements [llmemory.Store].
func (s *Store) Inputs(ctx context.Context, p llmemory.InputsParams) ([]llmemory.JobInput, error) {
	total, err := s.Progress(ctx, llmemory.ProgressParams{})
	if err != nil || total.Leaves == 0 {
		return nil, err
	}
	// Whole pages are sampled, so take many, and of these few: leaves of one page are of few documents.
	percent := min(100, 100*20*float64(p.Limit)/float64(total.Leaves))
	var out []llmemory.JobInput
	err = s.read(ctx, "", func(b *pgdbm.Batch) {
		out = nil
		b.Queue(s.sql.Get("inputs"), percent, int64(p.Limit)).Rows(collect(&out, func(r pgx.Rows, in *llmemory.JobInput) error {
			return r.Scan(&in.Owner, &in.Name, &in.Heading, &in.Context, &in.Text, &in.Parts)
		}))
	})
	return out, err
}
