package postgres

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
)

// collect appends every row to out.
func collect[T any](out *[]T, scan func(pgx.Rows, *T) error) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		for rows.Next() {
			var v T
			if err := scan(rows, &v); err != nil {
				return err
			}
			*out = append(*out, v)
		}
		return rows.Err()
	}
}

func plainTime(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

func unmarshal(raw []byte, into any) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%w: %w", llmemory.ErrCorrupt, err)
	}
	return nil
}

// documentColumns is how many columns of a document every statement on documents returns, in the order of readDocument.
const documentColumns = 23

func readDocument(r *row) (d llmemory.DocumentRecord, err error) {
	d.ID, d.OriginID, d.Key, d.Name, d.Type = r.text(), r.text(), r.text(), r.text(), llmemory.Type(r.text())
	d.Date, d.RawMetadata, d.Language, d.ContentHash = r.time(), r.json(), r.text(), r.bytes()
	d.Bytes, d.Tokens, d.ChunkCount = int(r.int()), int(r.int()), int(r.int())
	d.Tail, d.NoVectors, d.Version, d.CreatedAt, d.UpdatedAt = r.text(), r.bool(), r.int(), r.time(), r.time()
	d.Format, d.Markup, d.Title, d.Author, d.SourceHash, d.Pages = r.text(), r.text(), r.text(), r.text(), r.some(), r.some()
	if r.err != nil {
		return d, r.err
	}
	d.Metadata, err = llmemory.DecodeMetadata(d.RawMetadata)
	return d, err
}

func scanDocument(rows pgx.Rows, out *llmemory.DocumentRecord) (err error) {
	r := readRow(rows)
	if *out, err = readDocument(&r); err != nil {
		return err
	}
	return r.end()
}

// scanEdited reads a document with its chunks, which come as one array per column.
func scanEdited(rows pgx.Rows, out *llmemory.EditDocument) error {
	var (
		ids, parents, headings, leads []string
		contexts, summaries           []string
		pages, pageEnds               []int32
		levels                        []int16
		positions, tokens, lengths    []int32
		starts, ends, ordinals        []int64
		hashes                        [][]byte
		parts                         []int16
	)
	r := readRow(rows)
	var err error
	if out.Document, err = readDocument(&r); err != nil {
		return err
	}
	if err := rows.Scan(append(make([]any, documentColumns), &ids, &parents, &levels, &positions, &starts, &ends, &tokens, &ordinals, &lengths,
		&hashes, &headings, &leads, &pages, &pageEnds, &contexts, &summaries, &parts)...); err != nil {
		return err
	}
	for i, id := range ids {
		out.Chunks = append(out.Chunks, llmemory.ChunkRecord{
			Chunk: llmemory.Chunk{
				ID: id, DocumentID: out.Document.ID, ParentID: parents[i], Level: int(levels[i]), Position: int(positions[i]),
				Start: int(starts[i]), End: int(ends[i]), Heading: headings[i], Tokens: int(tokens[i]),
				Page: int(pages[i]), PageEnd: int(pageEnds[i]), Context: contexts[i], Summary: summaries[i],
			},
			Lead: leads[i], Ordinal: uint64(ordinals[i]), Length: int(lengths[i]), InputHash: hashes[i],
			Parts: int(parts[i]),
		})
	}
	return nil
}

func readChunk(r *row) (c llmemory.ChunkRecord) {
	c.ID, c.DocumentID, c.ParentID, c.Level, c.Position = r.text(), r.text(), r.text(), int(r.int()), int(r.int())
	c.Start, c.End, c.Tokens, c.Ordinal, c.Length = int(r.int()), int(r.int()), int(r.int()), uint64(r.int()), int(r.int())
	c.InputHash, c.Heading, c.Lead, c.Text = r.bytes(), r.text(), r.text(), r.text()
	c.Page, c.PageEnd, c.Context, c.Summary, c.Parts = int(r.int()), int(r.int()), r.text(), r.text(), int(r.int())
	return c
}

func scanChunk(rows pgx.Rows, out *llmemory.ChunkRecord) error {
	r := readRow(rows)
	*out = readChunk(&r)
	return r.end()
}

func scanHit(rows pgx.Rows, out *llmemory.HitRecord) error {
	r := readRow(rows)
	out.Chunk = readChunk(&r)
	d, err := readDocument(&r)
	if err != nil {
		return err
	}
	out.Document = d.StoredDocument
	return r.end()
}

func scanState(row pgx.Row, out *llmemory.OwnerState) error {
	var next int64
	var languages []byte
	if err := row.Scan(&out.Documents, &out.Leaves, &out.Length, &next, &out.NextSegment, &out.Analysis, &languages, &out.MergeDue); err != nil {
		return err
	}
	out.NextOrdinal = uint64(next)
	return unmarshal(languages, &out.Languages)
}

func segmentDest(s *llmemory.Segment, low, high *int64) []any {
	return []any{&s.ID, low, high, &s.Leaves, &s.Dead, &s.DeadCount, &s.Bytes}
}

func scanSegment(rows pgx.Rows, out *llmemory.Segment) error {
	var low, high int64
	if err := rows.Scan(segmentDest(out, &low, &high)...); err != nil {
		return err
	}
	out.Low, out.High = uint64(low), uint64(high)
	return nil
}

// scanRest reads what an edit needs beside its documents: the segments, which come as one array per column, the generations, and
// whether there is a generation that the transaction cannot see.
func scanRest(row pgx.Row) (segments []llmemory.Segment, sets []generation, late bool, err error) {
	var (
		ids, lows, highs, bytes []int64
		leaves, counts          []int32
		dead                    [][]byte
		raw                     []byte
	)
	if err := row.Scan(&ids, &lows, &highs, &leaves, &dead, &counts, &bytes, &raw, &late); err != nil {
		return nil, nil, false, err
	}
	segments = make([]llmemory.Segment, len(ids))
	for i, id := range ids {
		segments[i] = llmemory.Segment{ID: id, Low: uint64(lows[i]), High: uint64(highs[i]), Leaves: int(leaves[i]), Dead: dead[i],
			DeadCount: int(counts[i]), Bytes: bytes[i]}
	}
	sets, err = parseGenerations(raw)
	return segments, sets, late, err
}

func scanPage(rows pgx.Rows, out *llmemory.IndexPage) error {
	return rows.Scan(&out.Segment, &out.First, &out.Postings, &out.Positions)
}

// assemble puts pages into their segments, in order.
func assemble(segments []llmemory.Segment, pages []llmemory.IndexPage) ([]llmemory.LoadedSegment, error) {
	out := make([]llmemory.LoadedSegment, len(segments))
	at := make(map[int64]int, len(segments))
	for i, s := range segments {
		out[i].Segment = s
		at[s.ID] = i
	}
	for _, p := range pages {
		i, ok := at[p.Segment]
		if !ok {
			return nil, fmt.Errorf("%w: text_postings has pages of segment %d, which does not exist", llmemory.ErrCorrupt, p.Segment)
		}
		out[i].Pages = append(out[i].Pages, p)
	}
	for _, s := range out {
		slices.SortFunc(s.Pages, func(a, b llmemory.IndexPage) int { return strings.Compare(a.First, b.First) })
	}
	return out, nil
}

func scanLeaf(rows pgx.Rows, out *llmemory.LeafRecord) error {
	var ordinal int64
	if err := rows.Scan(&ordinal, &out.DocumentName, &out.Language, &out.Heading, &out.Context, &out.Text); err != nil {
		return err
	}
	out.Ordinal = uint64(ordinal)
	return nil
}

// filtered returns a statement with the filter's condition in place of its markers, and its arguments.
func (s *Store) filtered(name string, w llmemory.Where, args ...any) (string, []any, error) {
	condition, args, err := compile(w, args)
	if err != nil {
		return "", nil, err
	}
	return replaceMarker(s.sql.Get(name), "/*condition*/", condition), args, nil
}

func replaceMarker(sql, marker, with string) string { return strings.ReplaceAll(sql, marker, with) }

func signed(list []uint64) []int64 {
	out := make([]int64, len(list))
	for i, v := range list {
		out[i] = int64(v)
	}
	return out
}
