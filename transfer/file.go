package transfer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"time"
	"unicode/utf8"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
)

// formatName and formatVersion stand in the header. A program reads files of its own version and of older ones.
const (
	formatName    = "llmemory export"
	formatVersion = 3
)

// LineError is a fault in a line of an export. It matches [llmemory.ErrCorrupt] if the line was damaged or the file cut off,
// [llmemory.ErrInvalid] if it is no export, and [llmemory.ErrUnavailable] if it takes a newer version of the program.
type LineError struct {
	Line int // from 1
	Err  error
}

// Error implements error.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns what is wrong with the line.
func (e *LineError) Unwrap() error { return e.Err }

type headerLine struct {
	Format      string           `json:"format"`
	Version     int              `json:"version"`
	ExportedAt  time.Time        `json:"exported_at"`
	Engine      string           `json:"engine"`
	Generations []generationLine `json:"generations"`
}

type generationLine struct {
	Provider      string                   `json:"provider"`
	Model         string                   `json:"model"`
	Dimensions    int                      `json:"dimensions"`
	Normalized    bool                     `json:"normalized"`
	QueryPrefix   string                   `json:"query_prefix"`
	PassagePrefix string                   `json:"passage_prefix"`
	MaxTokens     int                      `json:"max_tokens"`
	Price         float64                  `json:"price_per_million_tokens"`
	Profile       llmemory.Profile         `json:"profile"`
	State         llmemory.GenerationState `json:"state"`
}

// documentLine is a document but for its chunks.
type documentLine struct {
	Owner       string          `json:"owner"`
	DocumentID  string          `json:"document_id"`
	OriginID    string          `json:"origin_id"`
	Key         string          `json:"key"`
	Name        string          `json:"name"`
	Type        llmemory.Type   `json:"type"`
	Date        *time.Time      `json:"date"`
	Metadata    json.RawMessage `json:"metadata"`
	Language    string          `json:"language"`
	Format      string          `json:"format,omitempty"`
	Markup      string          `json:"markup,omitempty"`
	Title       string          `json:"title,omitempty"`
	Author      string          `json:"author,omitempty"`
	SourceHash  []byte          `json:"source_hash,omitempty"`
	Pages       []byte          `json:"pages,omitempty"`
	ContentHash []byte          `json:"content_hash"`
	NoVectors   bool            `json:"no_vectors"`
	Version     int64           `json:"version"`
	CreatedAt   time.Time       `json:"created_at"`
	UpdatedAt   time.Time       `json:"updated_at"`
	Tail        string          `json:"tail"`
}

type leafLine struct {
	ChunkID  string   `json:"chunk_id"`
	ParentID string   `json:"parent_id,omitempty"`
	Start    int      `json:"start"`
	End      int      `json:"end"`
	Tokens   int      `json:"tokens"`
	Parts    int      `json:"parts,omitempty"`
	Heading  string   `json:"heading,omitempty"`
	Lead     string   `json:"lead,omitempty"`
	Text     string   `json:"text"`
	Context  string   `json:"context,omitempty"`
	Summary  string   `json:"summary,omitempty"`
	Vectors  []string `json:"vectors,omitempty"`
}

type parentLine struct {
	ChunkID string `json:"chunk_id"`
	Level   int    `json:"level"`
	Start   int    `json:"start"`
	End     int    `json:"end"`
	Tokens  int    `json:"tokens"`
	Heading string `json:"heading,omitempty"`
	Summary string `json:"summary,omitempty"`
}

type endLine struct {
	Owners []Counts `json:"owners"`
}

// bodyLine is any line after the header, without its sum.
type bodyLine struct {
	documentLine
	Leaves  []leafLine   `json:"leaves"`
	Parents []parentLine `json:"parents"`
	End     *endLine     `json:"end"`
}

// writer writes an export. It implements target.
type writer struct {
	memory      *llmemory.Memory
	out         *bufio.Writer
	sum         hash.Hash // of the line so far
	err         error     // the first
	generations int
}

func newWriter(w io.Writer, from *llmemory.Memory) *writer {
	return &writer{memory: from, out: bufio.NewWriterSize(w, 256<<10), sum: sha256.New()}
}

func (w *writer) write(p []byte) {
	if w.err != nil {
		return
	}
	w.sum.Write(p)
	_, w.err = w.out.Write(p)
}

// value writes a value as JSON, without the last byte if it is to be gone on with.
func (w *writer) value(v any, open bool) {
	if w.err != nil {
		return
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if w.err = enc.Encode(v); w.err != nil {
		return
	}
	text := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if open {
		text = text[:len(text)-1]
	}
	w.write(text)
}

// close ends a line whose last brace has not been written.
func (w *writer) close() error {
	sum := w.sum.Sum(nil)
	w.write(sumMember(sum))
	w.write([]byte("\n"))
	w.sum.Reset()
	if w.err != nil {
		return fmt.Errorf("write the export: %w", w.err)
	}
	return nil
}

// sumMember is the end of a line whose beginning has this hash.
func sumMember(sum []byte) []byte {
	return fmt.Appendf(nil, `,"sum":"%s"}`, hex.EncodeToString(sum[:8]))
}

func (w *writer) begin(ctx context.Context, generations []Generation) error {
	info, err := w.memory.Store().Info(ctx)
	if err != nil {
		return err
	}
	w.generations = len(generations)
	h := headerLine{Format: formatName, Version: formatVersion, ExportedAt: time.Now().UTC().Truncate(time.Second), Engine: info.Engine,
		Generations: []generationLine{}}
	for _, g := range generations {
		h.Generations = append(h.Generations, generationLine{
			Provider: g.Model.Provider, Model: g.Model.Model, Dimensions: g.Model.Dimensions, Normalized: g.Model.Normalized,
			QueryPrefix: g.Model.QueryPrefix, PassagePrefix: g.Model.PassagePrefix, MaxTokens: g.Model.MaxTokens,
			Price: g.Model.PricePerMillionTokens, Profile: g.Profile, State: g.State,
		})
	}
	w.value(h, true)
	return w.close()
}

func (w *writer) put(_ context.Context, d *item) error {
	s := &d.snapshot
	line := documentLine{
		Owner: d.owner, DocumentID: s.Document.ID, OriginID: s.Document.OriginID, Key: s.Document.Key, Name: s.Document.Name,
		Type: s.Document.Type, Metadata: s.Document.RawMetadata, Language: s.Document.Language, ContentHash: s.Document.ContentHash,
		NoVectors: s.Document.NoVectors, Version: s.Document.Version, CreatedAt: s.Document.CreatedAt.UTC(),
		UpdatedAt: s.Document.UpdatedAt.UTC(), Tail: s.Document.Tail, Format: s.Document.Format, Markup: s.Document.Markup,
		Title: s.Document.Title, Author: s.Document.Author, SourceHash: s.Document.SourceHash, Pages: s.Document.Pages,
	}
	if date := s.Document.Date.UTC(); !date.IsZero() {
		line.Date = &date
	}
	// Chunk by chunk, so that the line is never in memory as a whole.
	w.value(line, true)
	w.write([]byte(`,"leaves":[`))
	for i := range s.Leaves {
		c := &s.Leaves[i]
		if i > 0 {
			w.write([]byte(","))
		}
		w.value(leafLine{ChunkID: c.ID, ParentID: c.ParentID, Start: c.Start, End: c.End, Tokens: c.Tokens, Parts: several(c.Parts), Heading: c.Heading, Lead: c.Lead,
			Text: c.Text, Context: c.Context, Summary: c.Summary, Vectors: w.vectors(s, i)}, false)
	}
	w.write([]byte(`],"parents":[`))
	for i := range s.Parents {
		c := &s.Parents[i]
		if i > 0 {
			w.write([]byte(","))
		}
		w.value(parentLine{ChunkID: c.ID, Level: c.Level, Start: c.Start, End: c.End, Tokens: c.Tokens, Heading: c.Heading,
			Summary: c.Summary}, false)
	}
	w.write([]byte(`]`))
	return w.close()
}

// several is a number of parts as a line has it: 0, which is left out, for one.
func several(parts int) int {
	if parts == 1 {
		return 0
	}
	return parts
}

// vectors returns a leaf's vectors as a line has them, nil if it has none.
func (w *writer) vectors(s *llmemory.Snapshot, leaf int) []string {
	var out []string
	for g := range w.generations {
		list := s.Vectors[int64(g)]
		if list == nil || list[leaf] == nil {
			continue
		}
		if out == nil {
			out = make([]string, w.generations)
		}
		raw := make([]byte, 0, 4*len(list[leaf]))
		for _, x := range list[leaf] {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
		out[g] = base64.StdEncoding.EncodeToString(raw)
	}
	return out
}

func (w *writer) flush(context.Context) error {
	if err := w.out.Flush(); err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	return nil
}

func (w *writer) end(ctx context.Context, counts []Counts) error {
	w.value(map[string]endLine{"end": {Owners: counts}}, true)
	if err := w.close(); err != nil {
		return err
	}
	return w.flush(ctx)
}

const (
	// maxLine is the longest line that is read: it holds the largest document with long vectors of several generations.
	maxLine int64 = 16 << 30
	// keepLine is the most memory that is kept for the next line.
	keepLine = 4 << 20
)

// reader reads an export. It implements source.
type reader struct {
	in          *bufio.Reader
	line        int
	buffer      []byte
	generations []Generation
	tally       *tally
	done        bool
}

func newReader(r io.Reader) *reader { return &reader{in: bufio.NewReaderSize(r, 256<<10)} }

func (r *reader) total() int64 { return 0 }

func (r *reader) corrupt(format string, args ...any) error {
	return &LineError{r.line, fmt.Errorf("%w: %w", llmemory.ErrCorrupt, fmt.Errorf(format, args...))}
}

// scan returns the next line, io.EOF if there is none, with its sum checked and taken off. It is valid until the next call.
func (r *reader) scan() ([]byte, error) {
	r.line++
	if r.buffer = r.buffer[:0]; cap(r.buffer) > keepLine {
		r.buffer = nil
	}
	for {
		part, err := r.in.ReadSlice('\n')
		if int64(len(r.buffer)+len(part)) > maxLine {
			return nil, r.corrupt("is longer than %d bytes", maxLine)
		}
		r.buffer = append(r.buffer, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(r.buffer) == 0:
			return nil, io.EOF
		case errors.Is(err, io.EOF): // the last line may lack its end
		case err != nil:
			return nil, r.corrupt("cannot be read: %w", err)
		}
		break
	}
	line := bytes.TrimSuffix(bytes.TrimSuffix(r.buffer, []byte("\n")), []byte("\r"))
	if !utf8.Valid(line) {
		return nil, r.corrupt("is no valid UTF-8")
	}
	member := sumMember(make([]byte, 8))
	if at := len(line) - len(member); at > 0 && bytes.HasPrefix(line[at:], member[:len(`,"sum":"`)]) {
		sum := sha256.Sum256(line[:at])
		if !bytes.Equal(line[at:], sumMember(sum[:])) {
			return nil, r.corrupt("its sum does not match: the line was damaged or changed (one that is meant to be changed has its \"sum\" taken away)")
		}
		line = append(line[:at], '}')
	}
	return line, nil
}

// decode reads a line into a value, which knows all its members.
func decode(line []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	switch err := dec.Decode(into); {
	case errors.Is(err, io.EOF):
		return errors.New("is empty")
	case err != nil:
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the object")
	}
	return nil
}

func (r *reader) begin(context.Context) ([]Generation, error) {
	foreign := func(why string) error {
		return &LineError{1, &llmemory.InvalidError{Field: "file", Rule: "must be an export of llmemory: " + why}}
	}
	line, err := r.scan()
	if errors.Is(err, io.EOF) {
		return nil, foreign("it is empty")
	}
	var known struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err != nil && len(r.buffer) > 0 && !bytes.HasPrefix(bytes.TrimSpace(r.buffer), []byte(`{"format":"`+formatName)) {
		return nil, foreign("its first line is no header")
	}
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(line, &known) != nil || known.Format != formatName {
		return nil, foreign("its first line is no header")
	}
	if known.Version > formatVersion {
		return nil, &LineError{1, fmt.Errorf("%w: the export is of version %d of the format, this program knows version %d: upgrade it",
			llmemory.ErrUnavailable, known.Version, formatVersion)}
	}
	var h headerLine
	if err := decode(line, &h); err != nil {
		return nil, r.corrupt("%w", err)
	}
	if h.Version < 1 {
		return nil, r.corrupt("there is no version %d of the format", h.Version)
	}
	for i, g := range h.Generations {
		if g.Dimensions < 1 || g.Provider == "" || g.Model == "" {
			return nil, r.corrupt("generation %d has provider %q, model %q, %d dimensions", i, g.Provider, g.Model, g.Dimensions)
		}
		r.generations = append(r.generations, Generation{
			Model: embedding.ModelInfo{
				Provider: g.Provider, Model: g.Model, Dimensions: g.Dimensions, Normalized: g.Normalized, QueryPrefix: g.QueryPrefix,
				PassagePrefix: g.PassagePrefix, MaxTokens: g.MaxTokens, PricePerMillionTokens: g.Price,
			},
			Profile: g.Profile, State: g.State,
		})
	}
	r.tally = newTally(len(r.generations))
	return r.generations, nil
}

func (r *reader) next(context.Context) (*item, error) {
	if r.done {
		return nil, io.EOF
	}
	line, err := r.scan()
	if errors.Is(err, io.EOF) {
		return nil, r.corrupt("is missing: the file was cut off, its last line would say how much there is")
	}
	if err != nil {
		return nil, err
	}
	var body bodyLine
	if err := decode(line, &body); err != nil {
		return nil, r.corrupt("%w", err)
	}
	if body.End != nil {
		return nil, r.finish(body.End)
	}
	d, err := r.document(&body)
	if err != nil {
		return nil, err
	}
	r.tally.of(d.owner).add(&d.snapshot)
	return d, nil
}

// finish compares what was read with what the last line says, and returns io.EOF.
func (r *reader) finish(end *endLine) error {
	have := r.tally.list()
	same := len(have) == len(end.Owners)
	for i := range min(len(have), len(end.Owners)) {
		a, b := have[i], end.Owners[i]
		same = same && a.Owner == b.Owner && a.text() == b.text()
	}
	if !same {
		return r.corrupt("lines are missing, or there are too many: the last one does not count what stands before it")
	}
	if _, err := r.scan(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = r.corrupt("follows the line that should be the last")
		}
		return err
	}
	r.done = true
	return io.EOF
}

func (r *reader) document(b *bodyLine) (*item, error) {
	d := &item{owner: b.Owner, line: r.line}
	if b.Owner == "" || b.DocumentID == "" {
		return nil, r.corrupt("is no document: it lacks owner or document_id")
	}
	record := &d.snapshot.Document
	record.StoredDocument = llmemory.StoredDocument{
		ID: b.DocumentID, OriginID: b.OriginID, Key: b.Key, Name: b.Name, Type: b.Type, Language: b.Language,
		ChunkCount: len(b.Leaves), Version: b.Version, CreatedAt: b.CreatedAt, UpdatedAt: b.UpdatedAt,
		Format: b.Format, Markup: b.Markup, Title: b.Title, Author: b.Author,
	}
	if b.Date != nil {
		record.Date = *b.Date
	}
	record.RawMetadata, record.ContentHash, record.NoVectors, record.Tail = b.Metadata, b.ContentHash, b.NoVectors, b.Tail
	record.SourceHash, record.Pages = b.SourceHash, b.Pages
	d.snapshot.Vectors = map[int64][][]float32{}
	for i := range b.Leaves {
		l := &b.Leaves[i]
		d.snapshot.Leaves = append(d.snapshot.Leaves, llmemory.ChunkRecord{
			Chunk: llmemory.Chunk{ID: l.ChunkID, DocumentID: b.DocumentID, ParentID: l.ParentID, Position: i, Start: l.Start, End: l.End,
				Heading: l.Heading, Tokens: l.Tokens, Text: l.Text, Context: l.Context, Summary: l.Summary},
			Lead: l.Lead, Parts: max(1, l.Parts),
		})
		if len(l.Vectors) > len(r.generations) {
			return nil, r.corrupt("leaf %d has %d vectors, there are %d generations", i, len(l.Vectors), len(r.generations))
		}
		for g, text := range l.Vectors {
			if text == "" {
				continue
			}
			v, err := decodeVector(text, r.generations[g].Model.Dimensions)
			if err != nil {
				return nil, r.corrupt("vector %d of leaf %d: %w", g, i, err)
			}
			list := d.snapshot.Vectors[int64(g)]
			if list == nil {
				list = make([][]float32, len(b.Leaves))
				d.snapshot.Vectors[int64(g)] = list
			}
			list[i] = v
			l.Vectors[g] = "" // not held any longer
		}
	}
	for i, p := range b.Parents {
		d.snapshot.Parents = append(d.snapshot.Parents, llmemory.ChunkRecord{Chunk: llmemory.Chunk{ID: p.ChunkID, DocumentID: b.DocumentID,
			Level: p.Level, Position: i, Start: p.Start, End: p.End, Heading: p.Heading, Tokens: p.Tokens, Summary: p.Summary}})
	}
	return d, nil
}

func decodeVector(text string, dimensions int) ([]float32, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 || len(raw)%(4*dimensions) > 0 {
		return nil, fmt.Errorf("has %d bytes, %d dimensions take %d, or as many for each part", len(raw), dimensions, 4*dimensions)
	}
	out := make([]float32, len(raw)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out, nil
}
