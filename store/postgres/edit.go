package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm"
)

// edit implements [llmemory.Edit]: a transaction that holds the lock on the owner's row.
type edit struct {
	store     *Store
	owner     string
	tx        *pgdbm.Tx
	state     llmemory.OwnerState
	documents []llmemory.EditDocument
	segments  []llmemory.Segment
	sets      []generation
	done      bool
}

// readCommitted is what edits and the queue need whatever the server's default is: each statement sees what was committed while the
// one before it waited.
var readCommitted = &pgdbm.TxOptions{Isolation: pgdbm.ReadCommitted}

// attempts bounds how often taking the lock is tried when the server breaks a deadlock or the connection was dead.
const attempts = 5

// Edit implements [llmemory.Store].
func (s *Store) Edit(ctx context.Context, p llmemory.EditParams) (llmemory.Edit, error) {
	for n := 1; ; n++ {
		e, err := s.lock(ctx, p)
		if err == nil {
			return e, nil
		}
		again := s.unaware(err) || pgdbm.IsSerialization(err) || disconnected(err)
		again = again && !s.joined && n < attempts
		if !again || ctx.Err() != nil {
			return nil, translate(err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(rand.IntN(10*n)) * time.Millisecond):
		}
	}
}

// lock begins the transaction, takes the lock and reads what the edit starts from, in one round trip. The lock comes first, so
// that what is read after it is what the lock protects.
func (s *Store) lock(ctx context.Context, p llmemory.EditParams) (_ *edit, err error) {
	tx, err := s.begin(ctx, readCommitted)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback(ctx)
		}
	}()
	e := &edit{store: s, owner: p.Owner, tx: tx}
	origins, keys := identityColumns(p.Identities)
	var present int64
	b := s.batch(p.Owner)
	b.Queue(s.sql.Get("lock_owner"), p.Owner, int32(p.Analysis)).Row(func(r pgx.Row) error { return scanState(r, &e.state) })
	switch {
	case p.New:
		b.Queue(s.sql.Get("edit_present"), p.Owner, origins, keys).Affected(&present)
	case len(p.Identities) > 0:
		b.Queue(s.sql.Get("edit_documents_by_identity"), p.Owner, origins, keys).Rows(collect(&e.documents, scanEdited))
	case len(p.DocumentIDs) > 0:
		b.Queue(s.sql.Get("edit_documents_by_id"), p.Owner, p.DocumentIDs).Rows(collect(&e.documents, scanEdited))
	case p.Where != nil:
		sql, args, err := s.filtered("edit_documents_where", *p.Where, p.Owner, int64(p.Limit))
		if err != nil {
			return nil, err
		}
		b.Queue(sql, args...).Rows(collect(&e.documents, scanEdited))
	}
	var late bool
	b.Queue(s.sql.Get("edit_rest"), p.Owner, s.db.SchemaName()).Row(func(row pgx.Row) (err error) {
		e.segments, e.sets, late, err = scanRest(row)
		return err
	})
	if err := tx.Run(ctx, b); err != nil {
		return nil, err
	}
	if late {
		return nil, &llmemory.UnavailableError{What: "database", Err: errors.New("the transaction began before a generation of vectors was made; begin it anew")}
	}
	if present > 0 { // somebody was faster
		var b pgdbm.Batch
		b.Queue(s.sql.Get("edit_documents_by_identity"), p.Owner, origins, keys).Rows(collect(&e.documents, scanEdited))
		if err := tx.Run(ctx, &b); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// State implements [llmemory.Edit].
func (e *edit) State() llmemory.OwnerState { return e.state }

// Documents implements [llmemory.Edit].
func (e *edit) Documents() []llmemory.EditDocument { return e.documents }

// Segments implements [llmemory.Edit].
func (e *edit) Segments() []llmemory.Segment { return e.segments }

// Load implements [llmemory.Edit].
func (e *edit) Load(ctx context.Context, p llmemory.LoadParams) ([]llmemory.LoadedSegment, error) {
	var named []llmemory.Segment
	for _, s := range e.segments {
		if slices.Contains(p.Segments, s.ID) {
			named = append(named, s)
		}
	}
	var pages []llmemory.IndexPage
	var b pgdbm.Batch
	b.Queue(e.store.sql.Get("load_pages"), p.Owner, p.Segments).Rows(collect(&pages, scanPage))
	if err := e.tx.Run(ctx, &b); err != nil {
		return nil, translate(err)
	}
	return assemble(named, pages)
}

// Leaves implements [llmemory.Edit].
func (e *edit) Leaves(ctx context.Context, p llmemory.LeavesParams) ([]llmemory.LeafRecord, error) {
	var out []llmemory.LeafRecord
	var b pgdbm.Batch
	b.Queue(e.store.sql.Get("leaves"), p.Owner, p.After, int64(p.Limit)).Rows(collect(&out, scanLeaf))
	return out, translate(e.tx.Run(ctx, &b))
}

// Put implements [llmemory.Edit].
func (e *edit) Put(ctx context.Context, p llmemory.PutParams) error {
	c := llmemory.Changes{Owner: p.Owner, Rows: p.Rows}
	for more := true; more; {
		var part llmemory.Changes
		part, more = split(&c, e.store.statementBytes)
		b, err := e.batch(part, true, nil)
		if err != nil {
			return err
		}
		if !more && len(p.Pages) > 0 {
			b.Queue(e.store.sql.Get("put_pages"), append([]any{p.Owner}, pageColumns(p.Pages)...)...)
		}
		if err := e.tx.Run(ctx, b); err != nil {
			return translate(err)
		}
	}
	return nil
}

// Generations implements [llmemory.Edit].
func (e *edit) Generations() []llmemory.Generation { return plainGenerations(e.sets) }

// Commit implements [llmemory.Edit]. Everything travels with the COMMIT in one round trip, unless it is very much.
func (e *edit) Commit(ctx context.Context, c llmemory.Changes) (*llmemory.Committed, error) {
	e.done = true
	out := &llmemory.Committed{}
	err := e.commit(ctx, c, out)
	if err != nil {
		_ = e.tx.Rollback(ctx)
		if len(e.sets) > 0 && pgdbm.IsUndefined(err) {
			err = &llmemory.UnavailableError{What: "vectors", Err: fmt.Errorf("a generation was retired meanwhile: %w", err)}
		}
		return nil, translate(err)
	}
	return out, nil
}

func (e *edit) commit(ctx context.Context, c llmemory.Changes, out *llmemory.Committed) error {
	for {
		part, more := split(&c, e.store.statementBytes)
		b, err := e.batch(part, more, out)
		if err != nil {
			return err
		}
		if !more {
			return e.tx.Commit(ctx, b)
		}
		if err := e.tx.Run(ctx, b); err != nil {
			return err
		}
	}
}

// statementBytes is about how much a statement of an edit carries at the most. PostgreSQL refuses messages of a gigabyte, and both
// ends hold what they send and receive several times over.
const statementBytes = 32 << 20

// split takes a part that is written at a time off the changes, and tells whether there is more. The last part is the only one with a
// state. Documents are stored before their chunks, and removed before others of their ids are stored.
func split(c *llmemory.Changes, most int) (part llmemory.Changes, more bool) {
	room := most
	part = llmemory.Changes{Owner: c.Owner, Rows: llmemory.Rows{DeleteDocuments: c.DeleteDocuments}}
	c.DeleteDocuments = nil
	part.Documents = take(&c.Documents, &room, func(d *llmemory.DocumentRecord) int {
		return 512 + len(d.OriginID) + len(d.Key) + len(d.Name) + len(d.RawMetadata) + len(d.Tail) + len(d.Title) + len(d.Author) + len(d.Pages)
	})
	size := func(r *llmemory.ChunkRecord) int {
		return 256 + len(r.Heading) + len(r.Lead) + len(r.Text) + len(r.Context) + len(r.Summary)
	}
	part.DeleteChunks = take(&c.DeleteChunks, &room, func(id *string) int { return 8 + len(*id) })
	part.UpdateChunks = take(&c.UpdateChunks, &room, size)
	part.InsertChunks = take(&c.InsertChunks, &room, size)
	part.SetLengths = take(&c.SetLengths, &room, func(*llmemory.LeafLength) int { return 24 })
	part.Vectors = take(&c.Vectors, &room, func(v *llmemory.LeafVector) int { return 64 + 4*len(v.Vector) })
	if len(c.Documents)+len(c.DeleteChunks)+len(c.UpdateChunks)+len(c.InsertChunks)+len(c.SetLengths)+len(c.Vectors) > 0 {
		return part, true
	}
	rest := *c
	rest.Rows, rest.Vectors = part.Rows, part.Vectors
	return rest, false
}

// take takes elements off the front of a list while there is room for their sizes.
func take[T any](list *[]T, room *int, size func(*T) int) []T {
	n := 0
	for n < len(*list) && *room > 0 {
		*room -= size(&(*list)[n])
		n++
	}
	taken := (*list)[:n]
	*list = (*list)[n:]
	return taken
}

// Rollback implements [llmemory.Edit].
func (e *edit) Rollback(ctx context.Context) error {
	if e.done {
		return nil
	}
	e.done = true
	return translate(e.tx.Rollback(ctx))
}

// batch makes the statements of a part of an edit; more parts follow it, or the state ends it.
func (e *edit) batch(c llmemory.Changes, more bool, out *llmemory.Committed) (*pgdbm.Batch, error) {
	sql := e.store.sql
	b := &pgdbm.Batch{}
	if len(c.DeleteDocuments) > 0 {
		b.Queue(sql.Get("delete_documents"), c.Owner, c.DeleteDocuments)
	}
	// Each pair is one statement, and the plain insertion, by far the most frequent case, is spared the planning of the rest.
	dated, documents := partition(c.Documents, func(d *llmemory.DocumentRecord) bool { return !d.CreatedAt.IsZero() })
	if len(dated) > 0 {
		b.Queue(sql.Get("restore_documents"), append(documentArgs(c.Owner, dated), datesArgs(dated)...)...)
	}
	switch {
	case slices.ContainsFunc(documents, func(d llmemory.DocumentRecord) bool { return d.Version > 1 }):
		b.Queue(sql.Get("put_documents"), documentArgs(c.Owner, documents)...)
	case len(documents) > 0:
		b.Queue(sql.Get("insert_documents"), documentArgs(c.Owner, documents)...)
	}
	switch {
	case len(c.DeleteChunks)+len(c.UpdateChunks) > 0:
		b.Queue(sql.Get("change_chunks"), changeChunkArgs(c)...)
	case len(c.InsertChunks) > 0:
		b.Queue(sql.Get("insert_chunks"), append([]any{c.Owner}, insertChunkArgs(c)...)...)
	}
	if len(c.SetLengths) > 0 {
		ordinals, lengths := make([]int64, len(c.SetLengths)), make([]int32, len(c.SetLengths))
		for i, l := range c.SetLengths {
			ordinals[i], lengths[i] = int64(l.Ordinal), int32(l.Length)
		}
		b.Queue(sql.Get("set_lengths"), c.Owner, ordinals, lengths)
	}
	if err := e.insertVectors(b, c); err != nil || more {
		return b, err
	}
	args, err := ownerArgs(c)
	if err != nil {
		return nil, err
	}
	switch {
	case len(c.DeleteSegments)+len(c.DeadSegments)+len(c.Gone) > 0:
		args = append(append(args, insertSegmentArgs(c)...), changeSegmentArgs(c)...)
		b.Queue(sql.Get("change_index"), append(args, e.goneArgs(c)...)...)
	case len(c.InsertSegments) > 0:
		b.Queue(sql.Get("insert_index"), append(args, insertSegmentArgs(c)...)...)
	default:
		b.Queue(sql.Get("put_owner"), args...)
	}
	e.vectors(b, c, out)
	return b, nil
}

// partition returns the elements that are something, and the others.
func partition[T any](list []T, is func(*T) bool) (those, others []T) {
	for i := range list {
		if is(&list[i]) {
			those = append(those, list[i])
		} else {
			others = append(others, list[i])
		}
	}
	return those, others
}

// insertVectors queues the storing of vectors that leaves bring along, a statement for each generation.
func (e *edit) insertVectors(b *pgdbm.Batch, c llmemory.Changes) error {
	rest := c.Vectors
	for _, g := range e.sets {
		var mine []llmemory.LeafVector
		mine, rest = partition(rest, func(v *llmemory.LeafVector) bool { return v.Generation == g.ID })
		if len(mine) == 0 {
			continue
		}
		var (
			ordinals []int64
			parts    []int16
			hashes   [][]byte
			flat     []float32
		)
		for _, v := range mine {
			n, err := llmemory.LeafVectors(v.Vector, g.Model.Dimensions)
			if err != nil {
				return err
			}
			for part := range n {
				ordinals, parts, hashes = append(ordinals, int64(v.Ordinal)), append(parts, int16(part)), append(hashes, v.Hash)
			}
			flat = append(flat, v.Vector...)
		}
		b.Queue(e.store.on(g, "insert_vectors"), c.Owner, ordinals, parts, hashes, flat)
	}
	if len(rest) > 0 {
		return notFound(rest[0].Generation)
	}
	return nil
}

// vectors queues what becomes of vectors, and new jobs. It comes behind change_index, which removes old ones.
func (e *edit) vectors(b *pgdbm.Batch, c llmemory.Changes, out *llmemory.Committed) {
	s := e.store
	if len(c.Gone)+len(c.Queue) == 0 {
		return
	}
	gone := signed(c.Gone)
	ordinals, hashes := make([]int64, len(c.Queue)), make([][]byte, len(c.Queue))
	for i, l := range c.Queue {
		ordinals[i], hashes[i] = int64(l.Ordinal), l.Hash
	}
	for _, g := range e.sets {
		if len(c.Queue) == 0 {
			b.Queue(s.on(g, "drop_vectors"), c.Owner, gone)
			continue
		}
		token, lease, channel := "", time.Duration(0), ""
		if c.Lease != nil && c.Lease.Generation == g.ID {
			token, lease = c.Lease.Token, c.Lease.Duration
		} else {
			channel = s.wakeChannel()
		}
		q := b.Queue(s.on(g, "queue_leaves"), c.Owner, gone, ordinals, hashes, token, interval(lease), channel)
		if g.State == llmemory.Active {
			q.Rows(func(rows pgx.Rows) error { return scanCommitted(rows, out) })
		}
	}
}

func scanCommitted(rows pgx.Rows, out *llmemory.Committed) error {
	out.Waiting, out.Leased = nil, nil
	for rows.Next() {
		var ordinal, woken int64
		var leased bool
		if err := rows.Scan(&ordinal, &leased, &woken); err != nil {
			return err
		}
		out.Waiting = append(out.Waiting, uint64(ordinal))
		if leased {
			out.Leased = append(out.Leased, uint64(ordinal))
		}
	}
	return rows.Err()
}

func ownerArgs(c llmemory.Changes) ([]any, error) {
	languages, err := json.Marshal(c.State.Languages)
	if err != nil {
		return nil, err
	}
	if c.State.Languages == nil {
		languages = []byte("{}")
	}
	return []any{c.Owner, c.State.Documents, c.State.Leaves, c.State.Length, int64(c.State.NextOrdinal), c.State.NextSegment,
		int32(c.State.Analysis), string(languages), c.State.MergeDue}, nil
}

func documentArgs(owner string, docs []llmemory.DocumentRecord) []any {
	n := len(docs)
	var (
		ids, origins, keys, names, kinds = make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
		dates                            = make([]*time.Time, n)
		metadata, languages, tails       = make([]string, n), make([]string, n), make([]string, n)
		hashes                           = make([][]byte, n)
		bytes, tokens, versions          = make([]int64, n), make([]int64, n), make([]int64, n)
		leaves                           = make([]int32, n)
		bare                             = make([]bool, n)
		formats, markups                 = make([]string, n), make([]string, n)
		titles, authors                  = make([]string, n), make([]string, n)
		sources, pages                   = make([][]byte, n), make([][]byte, n)
	)
	for i, d := range docs {
		ids[i], origins[i], keys[i], names[i], kinds[i] = d.ID, d.OriginID, d.Key, d.Name, string(d.Type)
		if !d.Date.IsZero() {
			dates[i] = &docs[i].Date
		}
		metadata[i], languages[i], tails[i], hashes[i] = string(d.RawMetadata), d.Language, d.Tail, d.ContentHash
		bytes[i], tokens[i], versions[i], leaves[i] = int64(d.Bytes), int64(d.Tokens), d.Version, int32(d.ChunkCount)
		bare[i] = d.NoVectors
		formats[i], markups[i], titles[i], authors[i] = d.Format, d.Markup, d.Title, d.Author
		sources[i], pages[i] = notNull(d.SourceHash), notNull(d.Pages)
	}
	return []any{owner, ids, origins, keys, names, kinds, dates, metadata, languages, hashes, bytes, tokens, leaves, tails, bare, versions,
		formats, markups, titles, authors, sources, pages}
}

// notNull is for columns where no bytes are a value.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// datesArgs returns the dates that documents bring along.
func datesArgs(docs []llmemory.DocumentRecord) []any {
	created, updated := make([]time.Time, len(docs)), make([]time.Time, len(docs))
	for i, d := range docs {
		created[i], updated[i] = d.CreatedAt, d.UpdatedAt
	}
	return []any{created, updated}
}

// leafOrdinal returns the ordinal column: -1 stands for null.
func leafOrdinal(c llmemory.ChunkRecord) int64 {
	if c.Level > 0 {
		return -1
	}
	return int64(c.Ordinal)
}

// chunkColumns returns the columns that new and kept chunks have in common.
func chunkColumns(chunks []llmemory.ChunkRecord) []any {
	n := len(chunks)
	var (
		ids, parents, headings, leads = make([]string, n), make([]string, n), make([]string, n), make([]string, n)
		positions, tokens, lengths    = make([]int32, n), make([]int32, n), make([]int32, n)
		starts, ends, ordinals        = make([]int64, n), make([]int64, n), make([]int64, n)
		hashes                        = make([][]byte, n)
		pages, pageEnds               = make([]int32, n), make([]int32, n)
		contexts, summaries           = make([]string, n), make([]string, n)
		parts                         = make([]int16, n)
	)
	for i, c := range chunks {
		ids[i], parents[i], headings[i], leads[i] = c.ID, c.ParentID, c.Heading, c.Lead
		positions[i], tokens[i], lengths[i] = int32(c.Position), int32(c.Tokens), int32(c.Length)
		starts[i], ends[i], ordinals[i], hashes[i] = int64(c.Start), int64(c.End), leafOrdinal(c), c.InputHash
		pages[i], pageEnds[i], contexts[i], summaries[i], parts[i] = int32(c.Page), int32(c.PageEnd), c.Context, c.Summary, int16(c.Parts)
	}
	return []any{ids, parents, positions, starts, ends, tokens, ordinals, lengths, hashes, headings, leads, pages, pageEnds, contexts,
		summaries, parts}
}

func insertChunkArgs(c llmemory.Changes) []any {
	n := len(c.InsertChunks)
	documents, levels, texts := make([]string, n), make([]int16, n), make([]string, n)
	for i, r := range c.InsertChunks {
		documents[i], levels[i] = r.DocumentID, int16(r.Level)
		if r.Level == 0 {
			texts[i] = r.Text
		}
	}
	return append(chunkColumns(c.InsertChunks), documents, levels, texts)
}

func changeChunkArgs(c llmemory.Changes) []any {
	gone := c.DeleteChunks
	if gone == nil {
		gone = []string{}
	}
	args := append([]any{c.Owner, gone}, chunkColumns(c.UpdateChunks)...)
	return append(args, insertChunkArgs(c)...)
}

// insertSegmentArgs returns the columns of new segments and of their pages.
func insertSegmentArgs(c llmemory.Changes) []any {
	n := len(c.InsertSegments)
	var (
		ids, lows, highs, bytes = make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
		leaves, counts          = make([]int32, n), make([]int32, n)
		dead                    = make([][]byte, n)
		pages                   []llmemory.IndexPage
	)
	for i, s := range c.InsertSegments {
		ids[i], lows[i], highs[i], bytes[i] = s.ID, int64(s.Low), int64(s.High), s.Bytes
		leaves[i], counts[i], dead[i] = int32(s.Leaves), int32(s.DeadCount), s.Dead
		for _, p := range s.Pages {
			p.Segment = s.ID
			pages = append(pages, p)
		}
	}
	return append([]any{ids, lows, highs, leaves, bytes, counts, dead}, pageColumns(pages)...)
}

func pageColumns(pages []llmemory.IndexPage) []any {
	n := len(pages)
	segments, terms, posts, places := make([]int64, n), make([]string, n), make([][]byte, n), make([][]byte, n)
	for i, p := range pages {
		segments[i], terms[i], posts[i], places[i] = p.Segment, p.First, p.Postings, p.Positions
	}
	return []any{segments, terms, posts, places}
}

func changeSegmentArgs(c llmemory.Changes) []any {
	gone := c.DeleteSegments
	if gone == nil {
		gone = []int64{}
	}
	n := len(c.DeadSegments)
	ids, sets, counts := make([]int64, n), make([][]byte, n), make([]int32, n)
	for i, s := range c.DeadSegments {
		ids[i], sets[i], counts[i] = s.ID, s.Dead, int32(s.DeadCount)
	}
	return []any{gone, ids, sets, counts}
}

// goneArgs returns the ordinals whose jobs are removed, and of which generations.
func (e *edit) goneArgs(c llmemory.Changes) []any {
	ids := make([]int64, len(e.sets))
	for i, g := range e.sets {
		ids[i] = g.ID
	}
	return []any{signed(c.Gone), ids}
}
