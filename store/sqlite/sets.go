package sqlite

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/vec"
	"github.com/llmemory/llmemory/internal/vecscan"
)

// vectorSet is what an owner has in a generation. Vectors are kept twice: as they came, a row for each leaf with those of its parts, and
// quantised, in pages of many, which is what is scanned. Every change of a set has a number, its version, and what changed is a page of
// its own; small pages are merged, as segments of the text index are. So whoever holds the set in memory as of one version comes up to
// another by reading a little, and adding a vector writes little.
type vectorSet struct {
	id         int64 // 0 if there is none yet
	generation int64
	dimensions int
	version    uint64 // of the last change
	since      uint64 // the version from which on the pages tell what was removed
	leaves     int64  // that have their vectors
	vectors    int64  // that these leaves have together
	removed    int64  // vectors that the pages hold still
}

// maxOrdinal bounds ordinals: a vector's key is the number of its set and its ordinal in one.
const maxOrdinal = math.MaxUint32

// vectorID is the key of a vector.
func vectorID(set int64, ordinal uint64) int64 { return set<<32 | int64(ordinal) }

// vectorSet finds an owner's set in a generation; its id is 0 if there is none.
func (s *Store) vectorSet(c *conn, owner string, generation int64, dimensions int) (vectorSet, error) {
	v := vectorSet{generation: generation, dimensions: dimensions}
	err := c.query(s.sql.Get("set"), func(r row) error {
		v.id, v.version, v.since = r.ColumnInt64(0), uint64(r.ColumnInt64(1)), uint64(r.ColumnInt64(2))
		v.leaves, v.vectors, v.removed = r.ColumnInt64(3), r.ColumnInt64(4), r.ColumnInt64(5)
		return nil
	}, owner, generation)
	return v, err
}

// readPages reads pages of the set: those of changes after a version, from the oldest to the newest, or all from the newest to the
// oldest.
func (s *Store) readPages(c *conn, v vectorSet, statement string, each func(*vecscan.Page) error, args ...any) error {
	return c.query(s.sql.Get(statement), func(r row) error {
		p, err := vecscan.Decode(blob(r, 0), v.dimensions)
		if err != nil {
			return fmt.Errorf("%w: vectors of set %d: %w", llmemory.ErrCorrupt, v.id, err)
		}
		return each(p)
	}, append([]any{v.id}, args...)...)
}

// setEdit is a change of a set in a write transaction.
type setEdit struct {
	vectorSet
	store   *Store
	conn    *conn
	next    uint64 // version that the change makes
	page    *vecscan.Page
	code    []byte // scratch
	changed bool
}

// editSet begins a change of an owner's set, making the set if there is none.
func (s *Store) editSet(c *conn, owner string, generation int64, dimensions int) (*setEdit, error) {
	v, err := s.vectorSet(c, owner, generation, dimensions)
	if err == nil && v.id == 0 {
		err = c.query(s.sql.Get("make_set"), func(r row) error {
			v.id = r.ColumnInt64(0)
			return nil
		}, owner, generation)
	}
	if err != nil {
		return nil, err
	}
	return s.changeSet(c, v), nil
}

func (s *Store) changeSet(c *conn, v vectorSet) *setEdit {
	return &setEdit{vectorSet: v, store: s, conn: c, next: v.version + 1, page: vecscan.NewPage(v.dimensions)}
}

// put stores a leaf's vector, unless its ordinal has one.
func (e *setEdit) put(ordinal uint64, hash []byte, v []float32) error {
	if ordinal > maxOrdinal {
		return fmt.Errorf("sqlite: leaf %d: ordinals end at %d", ordinal, uint64(maxOrdinal))
	}
	e.code = encodeVector(e.code[:0], v)
	if err := e.conn.exec(e.store.sql.Get("put_vector"), vectorID(e.id, ordinal), notNull(hash), e.code); err != nil {
		return err
	}
	if e.conn.raw.Changes() == 0 {
		return nil
	}
	e.changed = true
	e.leaves++
	for part := range slices.Chunk(v, e.dimensions) {
		e.vectors++
		e.page.Add(ordinal, e.next, part)
	}
	if e.page.Len() >= fullPage {
		return e.putPage()
	}
	return nil
}

// drop removes a leaf's vector, if there is one.
func (e *setEdit) drop(ordinal uint64) error {
	if ordinal > maxOrdinal {
		return nil
	}
	var parts int64
	if err := e.conn.query(e.store.sql.Get("drop_vector"), func(r row) error {
		parts = r.ColumnInt64(0) / int64(4*e.dimensions)
		return nil
	}, vectorID(e.id, ordinal)); err != nil || parts == 0 {
		return err
	}
	e.changed = true
	e.leaves--
	e.vectors -= parts
	e.removed += parts
	e.page.Remove(ordinal, e.next)
	return nil
}

// known returns a vector that the set has for an input, nil if it has none.
func (e *setEdit) known(hash []byte) (v []float32, err error) {
	if e.vectors == 0 {
		return nil, nil
	}
	err = e.conn.query(e.store.sql.Get("known"), func(r row) error {
		v, err = decodeVector(nil, r.ColumnRawBlob(0), e.dimensions)
		return err
	}, e.id, notNull(hash))
	return v, err
}

const (
	// fullPage is how many vectors and removals make a page that is not merged any more.
	fullPage = 4096
	// mergePages is how many pages of a size are merged. So a vector is written a few times, and a set has a few small pages.
	mergePages = 8
	// leastRemoved is how many removed vectors are never worth rewriting the set for.
	leastRemoved = 64
)

// sizeClass puts pages into classes: those that are to be merged with each other are of one.
func sizeClass(size int64) int {
	class := 0
	for n := int64(fullPage); class < 4 && size < n; n /= mergePages {
		class++
	}
	return 4 - class
}

// finish writes the change down.
func (e *setEdit) finish() error {
	if !e.changed {
		return nil
	}
	e.version = e.next
	var err error
	if e.removed >= leastRemoved && e.removed > e.vectors || e.vectors == 0 {
		err = e.rewrite()
	} else {
		err = e.merge()
	}
	if err != nil {
		return err
	}
	return e.conn.exec(e.store.sql.Get("change_set"), e.id, e.version, e.since, e.leaves, e.vectors, e.removed)
}

func (e *setEdit) putPage() error {
	if e.page.Len() == 0 {
		return nil
	}
	err := e.conn.exec(e.store.sql.Get("put_page"), e.id, e.page.Last(), e.page.Len(), e.page.Encode())
	e.page = vecscan.NewPage(e.dimensions)
	return err
}

// merge writes the last page, together with those before it if they are many and small.
func (e *setEdit) merge() error {
	if e.page.Len() == 0 {
		return nil
	}
	type stored struct{ id, size int64 }
	var list []stored // newest first
	if err := e.conn.query(e.store.sql.Get("page_sizes"), func(r row) error {
		list = append(list, stored{r.ColumnInt64(0), r.ColumnInt64(1)})
		return nil
	}, e.id, 4*mergePages); err != nil {
		return err
	}
	merged, n := 0, 0
	for class := sizeClass(int64(e.page.Len())); class < 4; class++ {
		for n < len(list) && sizeClass(list[n].size) <= class {
			n++
		}
		if n+1 >= mergePages {
			merged = n
		}
	}
	if merged == 0 {
		return e.putPage()
	}
	whole := vecscan.NewPage(e.dimensions)
	for i := merged - 1; i >= 0; i-- {
		if err := e.store.readPage(e.conn, e.vectorSet, list[i].id, func(p *vecscan.Page) error {
			whole.Append(p)
			return nil
		}); err != nil {
			return err
		}
		if err := e.conn.exec(e.store.sql.Get("drop_page"), list[i].id, e.id); err != nil {
			return err
		}
	}
	whole.Append(e.page)
	e.page = whole
	return e.putPage()
}

func (s *Store) readPage(c *conn, v vectorSet, id int64, each func(*vecscan.Page) error) error {
	return c.query(s.sql.Get("page"), func(r row) error {
		p, err := vecscan.Decode(blob(r, 0), v.dimensions)
		if err != nil {
			return fmt.Errorf("%w: vectors of set %d: %w", llmemory.ErrCorrupt, v.id, err)
		}
		return each(p)
	}, id, v.id)
}

// rewrite writes all pages anew, without what was removed. Whoever holds an older version of the set reads it anew.
func (e *setEdit) rewrite() error {
	if err := e.putPage(); err != nil {
		return err
	}
	e.since, e.removed = e.version, 0
	sql := e.store.sql
	if e.vectors == 0 {
		return e.conn.exec(sql.Get("purge_pages"), e.id)
	}
	var gone vecscan.Removals
	var ids []int64
	if err := e.conn.query(sql.Get("page_sizes"), func(r row) error {
		ids = append(ids, r.ColumnInt64(0))
		return nil
	}, e.id, -1); err != nil {
		return err
	}
	for _, id := range ids {
		if err := e.store.readPage(e.conn, e.vectorSet, id, func(p *vecscan.Page) error {
			gone.Add(p)
			return nil
		}); err != nil {
			return err
		}
	}
	for i := len(ids) - 1; i >= 0; i-- { // oldest first
		if err := e.store.readPage(e.conn, e.vectorSet, ids[i], func(p *vecscan.Page) error {
			p.Without(gone)
			e.page.Append(p)
			return nil
		}); err != nil {
			return err
		}
		if err := e.conn.exec(sql.Get("drop_page"), ids[i], e.id); err != nil {
			return err
		}
		if e.page.Len() >= fullPage || i == 0 {
			if err := e.putPage(); err != nil {
				return err
			}
		}
	}
	return nil
}

// encodeVector appends a vector as it is stored: little-endian 32-bit floats.
func encodeVector(out []byte, v []float32) []byte {
	from := len(out)
	out = slices.Grow(out, 4*len(v))[:from+4*len(v)]
	for i, x := range v {
		binary.LittleEndian.PutUint32(out[from+4*i:], math.Float32bits(x))
	}
	return out
}

// decodeVector reads a leaf's stored vector into out, which is used if it is large enough.
func decodeVector(out []float32, raw []byte, dimensions int) ([]float32, error) {
	n := len(raw) / 4
	if n == 0 || len(raw)%(4*dimensions) > 0 {
		return nil, fmt.Errorf("%w: a vector of %d bytes, not of %d dimensions", llmemory.ErrCorrupt, len(raw), dimensions)
	}
	if cap(out) < n {
		out = make([]float32, n)
	}
	out = out[:n]
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out, nil
}

// cosines returns a function that computes the cosines of the set's leaves to a query, of each that of its nearest vector, from what is
// stored.
func (s *Store) cosines(c *conn, v vectorSet, query []float32) func(ordinal uint64) (float64, error) {
	var scratch []float32
	sql := s.sql.Get("vector")
	return func(ordinal uint64) (cosine float64, err error) {
		found := false
		err = c.query(sql, func(r row) (err error) {
			found = true
			if scratch, err = decodeVector(scratch, r.ColumnRawBlob(0), v.dimensions); err == nil {
				cosine = vec.Nearest(query, scratch)
			}
			return err
		}, vectorID(v.id, ordinal))
		if err == nil && !found {
			err = fmt.Errorf("%w: set %d has no vector of leaf %d, which its pages tell of", llmemory.ErrCorrupt, v.id, ordinal)
		}
		return cosine, err
	}
}
