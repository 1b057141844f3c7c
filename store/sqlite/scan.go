package sqlite

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/llmemory/llmemory"
)

// micros is a time as it is stored.
func micros(t time.Time) int64 { return t.UnixMicro() }

// timeOf is a stored time.
func timeOf(v int64) time.Time { return time.UnixMicro(v).UTC() }

// optionalTime returns a column's time, zero if it is NULL.
func optionalTime(r row, column int) time.Time {
	if r.ColumnType(column) == sqlite3.NULL {
		return time.Time{}
	}
	return timeOf(r.ColumnInt64(column))
}

// uuid is an id as it is stored: its 16 bytes, NULL for "". What is no id becomes one that nothing has.
func uuid(id string) []byte {
	if id == "" {
		return nil
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil || len(raw) != 16 {
		return []byte{}
	}
	return raw
}

// uuidText is the id of a column, "" if it is NULL.
func uuidText(r row, column int) string {
	raw := r.ColumnRawBlob(column)
	if len(raw) != 16 {
		return ""
	}
	var out [36]byte
	hex.Encode(out[:], raw[:4])
	hex.Encode(out[9:], raw[4:6])
	hex.Encode(out[14:], raw[6:8])
	hex.Encode(out[19:], raw[8:10])
	hex.Encode(out[24:], raw[10:])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

func unmarshal(raw string, into any) error {
	if err := json.Unmarshal([]byte(raw), into); err != nil {
		return fmt.Errorf("%w: %w", llmemory.ErrCorrupt, err)
	}
	return nil
}

// collect appends every row to out.
func collect[T any](out *[]T, scan func(row, *T) error) func(row) error {
	return func(r row) error {
		var v T
		if err := scan(r, &v); err != nil {
			return err
		}
		*out = append(*out, v)
		return nil
	}
}

// scanDocument reads the columns that every statement on documents returns, in their order.
func scanDocument(r row, d *llmemory.DocumentRecord) error { return scanDocumentFrom(r, 0, d) }

// scanDocumentFrom is scanDocument for columns that follow others.
func scanDocumentFrom(r row, at int, d *llmemory.DocumentRecord) (err error) {
	d.ID, d.OriginID, d.Key, d.Name = uuidText(r, at), r.ColumnText(at+1), r.ColumnText(at+2), r.ColumnText(at+3)
	d.Type, d.Date = llmemory.Type(r.ColumnText(at+4)), optionalTime(r, at+5)
	d.RawMetadata, d.Language, d.ContentHash = append(json.RawMessage(nil), r.ColumnRawText(at+6)...), r.ColumnText(at+7), blob(r, at+8)
	d.Bytes, d.Tokens, d.ChunkCount = r.ColumnInt(at+9), r.ColumnInt(at+10), r.ColumnInt(at+11)
	d.Tail, d.NoVectors, d.Version = r.ColumnText(at+12), r.ColumnBool(at+13), r.ColumnInt64(at+14)
	d.CreatedAt, d.UpdatedAt = timeOf(r.ColumnInt64(at+15)), timeOf(r.ColumnInt64(at+16))
	d.Format, d.Markup, d.Title, d.Author = r.ColumnText(at+17), r.ColumnText(at+18), r.ColumnText(at+19), r.ColumnText(at+20)
	d.SourceHash, d.Pages = some(r, at+21), some(r, at+22)
	d.Metadata, err = llmemory.DecodeMetadata(d.RawMetadata)
	return err
}

// some returns a column's bytes, nil if there are none.
func some(r row, column int) []byte {
	if v := blob(r, column); len(v) > 0 {
		return v
	}
	return nil
}

// scanChunk reads the columns that every statement on chunks returns, in their order.
func scanChunk(r row, c *llmemory.ChunkRecord) error {
	c.ID, c.DocumentID, c.ParentID = uuidText(r, 0), uuidText(r, 1), uuidText(r, 2)
	c.Level, c.Position, c.Start, c.End, c.Tokens = r.ColumnInt(3), r.ColumnInt(4), r.ColumnInt(5), r.ColumnInt(6), r.ColumnInt(7)
	c.Ordinal, c.Length, c.InputHash = uint64(r.ColumnInt64(8)), r.ColumnInt(9), blob(r, 10)
	c.Heading, c.Lead, c.Text = r.ColumnText(11), r.ColumnText(12), r.ColumnText(13)
	c.Page, c.PageEnd, c.Context, c.Summary, c.Parts = r.ColumnInt(14), r.ColumnInt(15), r.ColumnText(16), r.ColumnText(17), r.ColumnInt(18)
	return nil
}

// chunkColumns is how many columns scanChunk reads.
const chunkColumns = 19

func scanHit(r row, h *llmemory.HitRecord) error {
	if err := scanChunk(r, &h.Chunk); err != nil {
		return err
	}
	var d llmemory.DocumentRecord
	err := scanDocumentFrom(r, chunkColumns, &d)
	h.Document = d.StoredDocument
	return err
}

func scanState(r row, s *llmemory.OwnerState) error {
	s.Documents, s.Leaves, s.Length = r.ColumnInt64(0), r.ColumnInt64(1), r.ColumnInt64(2)
	s.NextOrdinal, s.NextSegment, s.Analysis = uint64(r.ColumnInt64(3)), r.ColumnInt64(4), r.ColumnInt(5)
	s.MergeDue = r.ColumnBool(7)
	return unmarshal(r.ColumnText(6), &s.Languages)
}

func scanSegment(r row, s *llmemory.Segment) error {
	s.ID, s.Low, s.High, s.Leaves = r.ColumnInt64(0), uint64(r.ColumnInt64(1)), uint64(r.ColumnInt64(2)), r.ColumnInt(3)
	s.Dead, s.DeadCount, s.Bytes = blob(r, 4), r.ColumnInt(5), r.ColumnInt64(6)
	return nil
}

func scanPage(r row, p *llmemory.IndexPage) error {
	p.Segment, p.First, p.Postings, p.Positions = r.ColumnInt64(0), r.ColumnText(1), blob(r, 2), blob(r, 3)
	return nil
}

func scanLeaf(r row, l *llmemory.LeafRecord) error {
	l.Ordinal, l.DocumentName, l.Language = uint64(r.ColumnInt64(0)), r.ColumnText(1), r.ColumnText(2)
	l.Heading, l.Context, l.Text = r.ColumnText(3), r.ColumnText(4), r.ColumnText(5)
	return nil
}

func scanOrdinal(r row, out *uint64) error {
	*out = uint64(r.ColumnInt64(0))
	return nil
}

// filtered returns a statement with the filter's condition in place of its markers, and its arguments. Those of the condition come
// after the others, whose numbers the statement knows.
func (s *Store) filtered(name string, w llmemory.Where, args ...any) (string, []any, error) {
	condition, args, err := compile(w, args)
	if err != nil {
		return "", nil, err
	}
	return strings.ReplaceAll(s.sql.Get(name), "/*condition*/", condition), args, nil
}
