package sqlite

import (
	"context"
	"fmt"
	"strings"

	"github.com/llmemory/llmemory"
)

// Lookup implements [llmemory.Store].
func (s *Store) Lookup(ctx context.Context, p llmemory.LookupParams) ([]llmemory.DocumentRecord, error) {
	var out []llmemory.DocumentRecord
	err := s.read(ctx, func(c *conn) error {
		for _, id := range p.Identities {
			if err := c.query(s.sql.Get("lookup"), collect(&out, scanDocument), p.Owner, id.OriginID, id.Key); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

func notFound(document string) error {
	return fmt.Errorf("document %s: %w", document, llmemory.ErrNotFound)
}

// Document implements [llmemory.Store].
func (s *Store) Document(ctx context.Context, p llmemory.DocumentParams) (*llmemory.DocumentRecord, []llmemory.ChunkRecord, error) {
	var docs []llmemory.DocumentRecord
	var chunks []llmemory.ChunkRecord
	err := s.read(ctx, func(c *conn) error {
		id := uuid(p.DocumentID)
		if err := c.query(s.sql.Get("document"), collect(&docs, scanDocument), p.Owner, id); err != nil {
			return err
		}
		if len(docs) == 0 {
			return notFound(p.DocumentID)
		}
		if !p.Leaves && !p.Parents {
			return nil
		}
		from, to := 1, 0
		if p.Leaves {
			from = 0
		}
		if p.Parents {
			to = 100
		}
		return c.query(s.sql.Get("document_chunks"), collect(&chunks, scanChunk), p.Owner, id, from, to)
	})
	if err != nil {
		return nil, nil, err
	}
	return &docs[0], chunks, nil
}

// Chunks implements [llmemory.Store].
func (s *Store) Chunks(ctx context.Context, p llmemory.ChunksParams) ([]llmemory.ChunkRecord, int, error) {
	var chunks []llmemory.ChunkRecord
	total := -1
	err := s.read(ctx, func(c *conn) error {
		id := uuid(p.DocumentID)
		err := c.query(s.sql.Get("chunk_count"), func(r row) error {
			total = r.ColumnInt(0)
			return nil
		}, p.Owner, id, p.Level)
		if err != nil {
			return err
		}
		if total < 0 {
			return notFound(p.DocumentID)
		}
		return c.query(s.sql.Get("chunk_page"), collect(&chunks, scanChunk), p.Owner, id, p.Level, p.Offset, p.Offset+p.Limit)
	})
	if err != nil {
		return nil, 0, err
	}
	return chunks, total, nil
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
	page, pageArgs, err := s.filtered("list", p.Where, p.Owner, p.Limit, p.Offset)
	if err != nil {
		return nil, 0, err
	}
	count, countArgs, err := s.filtered("list_count", p.Where, p.Owner)
	if err != nil {
		return nil, 0, err
	}
	var docs []llmemory.DocumentRecord
	var total int
	err = s.read(ctx, func(c *conn) error {
		if err := c.queryOnce(strings.ReplaceAll(page, "/*order*/", order), collect(&docs, scanDocument), pageArgs...); err != nil {
			return err
		}
		return c.queryOnce(count, func(r row) error {
			total = r.ColumnInt(0)
			return nil
		}, countArgs...)
	})
	return docs, total, err
}

// Stats implements [llmemory.Store].
func (s *Store) Stats(ctx context.Context, p llmemory.StatsParams) (*llmemory.StatsRecord, error) {
	st := llmemory.StatsRecord{ByType: map[llmemory.Type]int64{}, Languages: map[string]int64{}}
	err := s.read(ctx, func(c *conn) error {
		err := c.query(s.sql.Get("stats"), func(r row) error {
			st.Leaves, st.Parents, st.Segments, st.Unfolded = r.ColumnInt64(0), r.ColumnInt64(1), r.ColumnInt64(2), r.ColumnInt64(3)
			st.DeadLeaves, st.IndexBytes, st.Analysis = r.ColumnInt64(4), r.ColumnInt64(5), r.ColumnInt(6)
			st.Documents, st.Bytes, st.Tokens, st.Origins = r.ColumnInt64(7), r.ColumnInt64(8), r.ColumnInt64(9), r.ColumnInt64(10)
			st.FirstCreated, st.LastUpdated = optionalTime(r, 11), optionalTime(r, 12)
			return nil
		}, p.Owner, p.Folded)
		if err != nil {
			return err
		}
		err = c.query(s.sql.Get("stats_types"), func(r row) error {
			st.ByType[llmemory.Type(r.ColumnText(0))] = r.ColumnInt64(1)
			return nil
		}, p.Owner)
		if err != nil {
			return err
		}
		return c.query(s.sql.Get("stats_languages"), func(r row) error {
			st.Languages[r.ColumnText(0)] = r.ColumnInt64(1)
			return nil
		}, p.Owner)
	})
	if err != nil {
		return nil, err
	}
	return &st, nil
}

// Backlog implements [llmemory.Store].
func (s *Store) Backlog(ctx context.Context, p llmemory.BacklogParams) ([]string, error) {
	var owners []string
	err := s.read(ctx, func(c *conn) error {
		return c.query(s.sql.Get("backlog"), collect(&owners, scanText), p.Analysis, p.Limit)
	})
	return owners, err
}

func scanText(r row, out *string) error {
	*out = r.ColumnText(0)
	return nil
}

// Owners implements [llmemory.Store].
func (s *Store) Owners(ctx context.Context, p llmemory.OwnersParams) ([]string, error) {
	var owners []string
	err := s.read(ctx, func(c *conn) error {
		return c.query(s.sql.Get("owners"), collect(&owners, scanText), p.After, p.Limit)
	})
	return owners, err
}

// DocumentIDs implements [llmemory.Store].
func (s *Store) DocumentIDs(ctx context.Context, p llmemory.DocumentIDsParams) ([]string, error) {
	var ids []string
	err := s.read(ctx, func(c *conn) error {
		return c.query(s.sql.Get("document_ids"), func(r row) error {
			ids = append(ids, uuidText(r, 0))
			return nil
		}, p.Owner, notNull(uuid(p.After)), p.Limit)
	})
	return ids, err
}
