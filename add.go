package llmemory

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/analysis"
	"github.com/llmemory/llmemory/internal/postings"
)

// Add stores a document, or a new version of it. Its identity is (owner, OriginID, Key). One transaction replaces everything;
// chunks whose text stayed keep their ids; content that did not change writes nothing. The same call may be repeated at any
// time, after [ErrCommitUnknown] too. On return the document is found by text search.
//
// With an embedder, passages that are new get their vectors before Add returns, unless Embed says otherwise. Where the embedder
// fails, the document is stored all the same, the passages wait in the queue, and Added.EmbedErr says why.
//
// Errors: [*InvalidError], [*ConflictError], [ErrUnavailable], [ErrCommitUnknown], [ErrClosed], or the context's.
func (o *Owner) Add(ctx context.Context, doc Document) (Added, error) {
	ready, errs := o.prepare(ctx, []Document{doc})
	results := []Added{failed(errs[0])}
	if errs[0] == nil {
		defer ready[0].close()
		o.addPrepared(ctx, ready, results)
	}
	err := results[0].Err
	results[0].Err, results[0].Key = nil, cmp.Or(results[0].Key, doc.Key, doc.Name)
	return results[0], err
}

// AddMany stores documents, many to a transaction. The results are in the order of docs, each with its own Err: a document that
// is refused or fails never stops its neighbours. The error is not nil only if the call as a whole was stopped, by the context
// or an unavailable store; what had been added by then stays, and repeating the call is safe.
func (o *Owner) AddMany(ctx context.Context, docs []Document) ([]Added, error) {
	results := make([]Added, len(docs))
	var (
		batch   []*prepared
		indexes []int
		taken   = map[Identity]bool{}
		leaves  int
		size    int
	)
	flush := func() {
		out := make([]Added, len(batch))
		o.addPrepared(ctx, batch, out)
		for i, at := range indexes {
			results[at] = out[i]
			batch[i].close()
		}
		batch, indexes, leaves, size = nil, nil, 0, 0
		clear(taken)
	}
	var before map[Identity]bool // of the part before
	for part := range o.prepareAhead(ctx, docs) {
		for i, err := range part.errs {
			if err != nil {
				results[part.from+i] = failed(err)
			}
		}
		seen := map[Identity]bool{}
		for i, p := range part.ready {
			if p == nil {
				continue
			}
			if (seen[p.identity] || before[p.identity]) && !p.container {
				// It was compared with what was stored before its predecessor: the transaction decides anew.
				p.result.Status, p.result.Chunks, p.result.ChunksReused = "", 0, 0
			}
			seen[p.identity] = true
			full := leaves+len(p.leaves) > batchLeaves || size+len(p.content) > batchBytes
			if taken[p.identity] || full && len(batch) > 0 {
				flush()
			}
			batch, indexes = append(batch, p), append(indexes, part.from+i)
			taken[p.identity] = true
			leaves += len(p.leaves)
			size += len(p.content)
		}
		if len(batch) > 0 {
			flush()
		}
		before = seen
	}
	for i := range results {
		if results[i].Key == "" {
			results[i].Key = cmp.Or(docs[i].Key, docs[i].Name)
		}
		for _, stop := range []error{ErrUnavailable, ErrCommitUnknown, ErrClosed, context.Canceled, context.DeadlineExceeded} {
			if errors.Is(results[i].Err, stop) {
				return results, results[i].Err
			}
		}
	}
	return results, nil
}

const (
	batchDocuments = 4000     // documents in one transaction of AddMany
	firstDocuments = 1000     // in the first one: the store is not to wait until so many are prepared
	batchLeaves    = 4000     // leaves in one transaction, unless a single document has more
	batchBytes     = 16 << 20 // text in one transaction, unless a single document has more
	aheadBytes     = 2 << 20  // text that is prepared together, while what came before is stored
)

// preparedPart is a part of the documents of a call, prepared: from is the index of the first.
type preparedPart struct {
	from  int
	ready []*prepared
	errs  []error
}

// prepareAhead prepares documents part by part. While the caller stores a part, the next one is prepared, which does not know yet what
// becomes of the part before; but not in a transaction of a host's, which does one thing at a time. The caller must take all parts.
func (o *Owner) prepareAhead(ctx context.Context, docs []Document) iter.Seq[preparedPart] {
	parts := func(yield func(preparedPart) bool) {
		most := firstDocuments
		for from, to := 0, 0; from < len(docs); from = to {
			to = from + share(docs[from:], most)
			most = min(2*most, batchDocuments)
			ready, errs := o.prepare(ctx, docs[from:to])
			if !yield(preparedPart{from, ready, errs}) {
				return
			}
		}
	}
	if joined(o.memory.store) {
		return parts
	}
	out := make(chan preparedPart)
	go func() {
		defer close(out)
		for p := range parts {
			out <- p
		}
	}()
	return func(yield func(preparedPart) bool) {
		for p := range out {
			if !yield(p) {
				return
			}
		}
	}
}

// share returns how many of the documents, at most so many, are prepared together.
func share(docs []Document, most int) int {
	size := 0
	for i := range docs {
		if size += docs[i].size(); i == most || i > 0 && size > aheadBytes {
			return i
		}
	}
	return len(docs)
}

// size is about how much text a document is.
func (doc *Document) size() int {
	switch r := doc.Source.(type) {
	case nil:
		return len(doc.Content)
	case interface{ Size() int64 }:
		return int(min(r.Size(), batchBytes))
	case interface{ Stat() (fs.FileInfo, error) }:
		if info, err := r.Stat(); err == nil {
			return int(min(info.Size(), batchBytes))
		}
	}
	return batchBytes / 64
}

// prepared is a document on its way into the store: validated, cut and analysed as far as it turned out to be needed.
type prepared struct {
	identity Identity
	ifExists IfExists
	embed    Embed
	record   DocumentRecord
	content  string
	language string // as given
	pages    pages
	known    bool // there was a stored version
	result   Added
	vectors  [][]float32 // given, one for each leaf, or nil

	doc       Document        // as given, if it has a source
	source    *extract.Source // open, or nil
	rawHash   string          // of the source's bytes, or ""
	loaded    bool            // the content is there
	container bool            // it is no document, but its parts are

	waits   bool // it is cut, and may take notes before it is analysed
	earlier bool // the stored version may have notes
	notary  []byte
	noted   bool // its content hash tells of its notes

	cut     bool // leaves and parents are set, and analysed
	leaves  []leaf
	parents []chunk.Piece
}

// leaf is a passage with everything the store and the index need to know of it.
type leaf struct {
	parent int         // index in prepared.parents, or -1
	record ChunkRecord // without parent, ordinal
	tokens []postings.Token
	again  bool // tokens are to be found again: they were too many to be kept, or have been used
	wanted bool // a note would be asked for, were this no preview
}

// prepare makes documents ready to be stored: it validates them, reads the store's present versions, and unless nothing changed
// cuts and analyses the texts. No transaction is open and no connection is held meanwhile. Documents that cannot be prepared
// are nil, with their error in the other slice.
func (o *Owner) prepare(ctx context.Context, docs []Document) ([]*prepared, []error) {
	m := o.memory
	out, errs := make([]*prepared, len(docs)), make([]error, len(docs))
	fail := func(err error) ([]*prepared, []error) {
		for i := range docs {
			if errs[i] == nil {
				out[i], errs[i] = nil, err
			}
		}
		return out, errs
	}
	if err := o.check(); err != nil {
		return fail(err)
	}
	each := m.each
	if joined(m.store) && slices.ContainsFunc(docs, func(d Document) bool { return d.Source != nil }) {
		// A document's parts are stored while it is read, and the host's transaction does one thing at a time.
		each = func(n int, fn func(i int)) { serially(n, func(i int) { m.each(1, func(int) { fn(i) }) }) }
	}
	each(len(docs), func(i int) {
		if out[i], errs[i] = m.validate(ctx, o, docs[i]); errs[i] != nil {
			out[i].close()
			out[i] = nil
		}
	})
	lookup := LookupParams{Owner: o.id}
	for _, p := range out {
		if p != nil && !p.container {
			lookup.Identities = append(lookup.Identities, p.identity)
		}
	}
	if len(lookup.Identities) == 0 {
		return out, errs
	}
	records, err := m.store.Lookup(ctx, lookup)
	if err != nil {
		return fail(err)
	}
	stored := make(map[Identity]*DocumentRecord, len(records))
	for i := range records {
		stored[Identity{OriginID: records[i].OriginID, Key: records[i].Key}] = &records[i]
	}
	var asked [][]byte
	for _, p := range out {
		if p == nil || p.container {
			continue
		}
		old := stored[p.identity]
		p.known = old != nil
		if !p.loaded && p.doc.Reread == RereadNone && len(p.record.SourceHash) > 0 && (old == nil || !p.sameSource(old)) {
			asked = append(asked, p.record.SourceHash)
		}
	}
	failures, err := m.knownFailures(ctx, o.id, asked)
	if err != nil {
		return fail(err)
	}
	var kept atomic.Int64
	each(len(docs), func(i int) {
		p := out[i]
		if p == nil || p.container {
			return
		}
		old := stored[p.identity]
		if !p.loaded {
			if old != nil {
				if decided, err := p.decide(old); decided || err != nil {
					errs[i] = err
					return
				}
			}
			if known := failures[string(p.record.SourceHash)]; known != nil {
				errs[i] = &loadError{error: known, sourceHash: p.record.SourceHash}
				return
			}
			if errs[i] = m.load(ctx, o, p); errs[i] != nil || p.container {
				return
			}
		}
		if old != nil {
			if decided, err := p.decide(old); decided || err != nil {
				errs[i] = err
				return
			}
			if p.sameContent(old) {
				return
			}
			p.earlier = notesOf(old) != nil
		}
		if errs[i] = m.cut(ctx, p); errs[i] != nil {
			return
		}
		if p.waits = m.notary != nil || p.earlier; !p.waits && len(p.leaves) <= analyseShare {
			errs[i] = m.analyse(ctx, p, &kept, serially)
		}
	})
	for i, p := range out {
		if p != nil && errs[i] == nil && !p.container && !p.waits && len(p.leaves) > analyseShare {
			errs[i] = m.analyse(ctx, p, &kept, m.each)
		}
		if errs[i] != nil {
			p.close()
			out[i] = nil
		}
	}
	return out, errs
}

// analyseShare is how many leaves are analysed at a stretch: about 10 ms of work.
const analyseShare = 64

func serially(n int, fn func(i int)) {
	for i := range n {
		fn(i)
	}
}

// each calls fn for 0 … n-1 on as many processors as are free.
func (m *Memory) each(n int, fn func(i int)) {
	run := func(i int) {
		m.workers <- struct{}{}
		defer func() { <-m.workers }()
		fn(i)
	}
	if n == 1 {
		run(0)
		return
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { run(i) })
	}
	wg.Wait()
}

// decide settles the outcome where the stored version alone does: nothing to change, nothing allowed to change.
func (p *prepared) decide(old *DocumentRecord) (bool, error) {
	if p.ifExists == Refuse {
		return true, &ConflictError{DocumentID: old.ID, OriginID: old.OriginID, Key: old.Key}
	}
	same := p.sameContent(old) && (!p.loaded || sameRow(old, &p.record))
	if p.ifExists == Skip || same {
		p.result.Status = Unchanged
		p.result.Chunks, p.result.ChunksReused = old.ChunkCount, old.ChunkCount
		return true, nil
	}
	return false, nil
}

// sameContent tells whether a stored version has this content, or if that has not been read, the same source, and all the notes that
// this one is to have.
func (p *prepared) sameContent(old *DocumentRecord) bool {
	switch {
	case p.noted:
		return bytes.Equal(old.ContentHash, p.record.ContentHash)
	case !p.settledBy(old):
		return false
	case !p.loaded:
		return p.sameSource(old)
	}
	return bytes.Equal(bareHash(old), p.record.ContentHash)
}

// settled tells whether there is nothing to store.
func (p *prepared) settled() bool { return p.container || p.result.Status == Unchanged }

// close gives up a source.
func (p *prepared) close() {
	if p != nil && p.source != nil {
		_ = p.source.Close() // nothing that was written can be lost
		p.source = nil
	}
}

// validate checks a document, and takes its content unless that is in a source: this is only opened.
func (m *Memory) validate(ctx context.Context, o *Owner, doc Document) (*prepared, error) {
	p := &prepared{ifExists: doc.IfExists, embed: doc.Embed, language: doc.Language, notary: m.notary}
	switch p.embed {
	case "":
		p.embed = EmbedNow
	case EmbedNow, EmbedLater, EmbedNever:
	default:
		return nil, invalidf("embed", "%q is none of %s, %s, %s", doc.Embed, EmbedNow, EmbedLater, EmbedNever)
	}
	switch p.ifExists {
	case "":
		p.ifExists = Update
	case Update, Skip, Refuse:
	default:
		return nil, invalidf("if_exists", "%q is none of %s, %s, %s", doc.IfExists, Update, Skip, Refuse)
	}
	switch doc.Reread {
	case RereadNone, RereadFailed, RereadAll:
	default:
		return nil, invalidf("reread", "%q is none of %s, %s", doc.Reread, RereadFailed, RereadAll)
	}
	if p.vectors = doc.Vectors; p.vectors != nil && p.embed == EmbedNever {
		return nil, invalidf("vectors", "must not be given to a document that is to have none")
	}
	if doc.OriginID == "" {
		doc.OriginID = "default"
	}
	if err := checkID("origin", doc.OriginID); err != nil {
		return nil, err
	}
	if doc.Name != "" {
		if err := checkID("name", doc.Name); err != nil {
			return nil, err
		}
	}
	if doc.Key != "" {
		if err := checkID("key", doc.Key); err != nil {
			return nil, err
		}
	}
	if doc.Language != "" && !analysis.Supported(doc.Language) {
		return nil, invalidf("language", "%q is none of %s", doc.Language, strings.Join(m.analyzer.Languages(), ", "))
	}
	if doc.Type != "" {
		kind, err := ParseType(string(doc.Type))
		if err != nil {
			return nil, err
		}
		doc.Type = kind
	}
	for _, label := range []struct{ field, text string }{
		{"title", doc.Title}, {"author", doc.Author}, {"format", doc.Format}, {"markup", doc.Markup},
	} {
		if label.text != "" {
			if err := checkID(label.field, label.text); err != nil {
				return nil, err
			}
		}
	}
	if y := doc.Date.Year(); !doc.Date.IsZero() && (y < 1 || y > 9999) {
		return nil, invalidf("date", "must be in the years 1 to 9999, is in %d", y)
	}
	var err error
	if p.record.RawMetadata, err = cleanMetadata(doc.Metadata); err != nil {
		return nil, err
	}
	if p.record.Metadata, err = DecodeMetadata(p.record.RawMetadata); err != nil {
		return nil, invalidf("metadata", "%v", err)
	}
	p.record.NoVectors = p.embed == EmbedNever
	if doc.Source == nil {
		p.loaded = true
		return p, m.settle(o.id, p, &doc, doc.Content)
	}
	if doc.Content != "" {
		return nil, invalidf("content", "must not be set together with a source")
	}
	p.doc = doc
	if err := m.openSource(ctx, p); err != nil {
		return nil, err
	}
	if doc.Key == "" && doc.Name == "" { // its content is its key
		return p, m.load(ctx, o, p)
	}
	p.name(o.id, &doc)
	return p, nil
}

// name says which document it is.
func (p *prepared) name(owner string, doc *Document) {
	p.identity = Identity{OriginID: doc.OriginID, Key: cmp.Or(doc.Key, doc.Name)}
	if p.identity.Key == "" {
		sum := sha256.Sum256([]byte(p.content))
		p.identity.Key = "sha256:" + hex.EncodeToString(sum[:])
	}
	p.record.ID, p.record.OriginID, p.record.Key = DocumentID(owner, p.identity), p.identity.OriginID, p.identity.Key
	p.record.Name = doc.Name
	p.result.DocumentID, p.result.Key = p.record.ID, p.record.Key
}

// settle takes a document's content, and what else is known of it by then.
func (m *Memory) settle(owner string, p *prepared, doc *Document, content string) error {
	p.language = doc.Language
	switch {
	case len(content) > m.config.MaxContentBytes && doc.Source != nil:
		return &ContentError{Reason: TooLarge, Err: fmt.Errorf("%w: its text must be at most %d bytes, is %d", extract.ErrTooLarge,
			m.config.MaxContentBytes, len(content))}
	case len(content) > m.config.MaxContentBytes:
		return invalidf("content", "must be at most %d bytes, is %d", m.config.MaxContentBytes, len(content))
	case !utf8.ValidString(content):
		return invalidf("content", "must be valid UTF-8")
	}
	p.pages = slices.Clone(doc.Pages)
	if err := p.pages.check(content); err != nil {
		return err
	}
	if n := strings.Count(content, "\x00"); n > 0 {
		p.result.RemovedNULs = n
		for i, at := range p.pages {
			p.pages[i] -= strings.Count(content[:at], "\x00")
		}
		content = strings.ReplaceAll(content, "\x00", "")
	}
	switch blank := strings.TrimSpace(content) == ""; {
	case blank && doc.Source != nil:
		return &ContentError{Reason: NoText, Err: extract.ErrNoText}
	case blank:
		return invalidf("content", "must not be empty or only white space")
	}
	p.content = content
	p.name(owner, doc)
	p.record.Type = cmp.Or(doc.Type, Unknown)
	p.record.Format, p.record.Markup, p.record.Title, p.record.Author = doc.Format, doc.Markup, doc.Title, doc.Author
	p.record.Bytes, p.record.Pages = len(content), p.pages.pack()
	p.record.ContentHash = p.contentHash(m.config.Chunker.Signature())
	if !doc.Date.IsZero() {
		p.record.Date = doc.Date.UTC().Truncate(time.Microsecond) // what every store can keep
	}
	return nil
}

// contentHash is of all that a document's chunks depend on. What a document does not have adds nothing to it.
func (p *prepared) contentHash(chunker string) []byte {
	of := []string{"document", p.content, p.record.header(), p.language, chunker}
	if p.record.Markup != "" || len(p.record.Pages) > 0 {
		of = append(of, p.record.Markup, string(p.record.Pages))
	}
	return digest(of...)
}

func digest(parts ...string) []byte {
	h := sha256.New()
	var size [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

// headingGap is the distance in positions between a chunk's context and its text, so that no phrase matches across.
const headingGap = 100

// analyseLeaf returns the terms of a chunk as it is searched: document name, heading path, context and text.
func (m *Memory) analyseLeaf(language, name, heading, context, text string) (tokens []postings.Token, length, dropped int) {
	scratch, _ := m.scratch.Get().(*[]analysis.Token)
	if scratch == nil {
		scratch = new([]analysis.Token)
	}
	raw := (*scratch)[:0]
	next := 0
	parts := []string{name, heading, text}
	if context != "" {
		parts = []string{name, heading, context, text}
	}
	for _, part := range parts {
		from := len(raw)
		var lost int
		raw, lost = m.analyzer.Analyze(language, part, raw)
		dropped += lost
		last := next
		for i := from; i < len(raw); i++ {
			raw[i].Position += next
			last = max(last, raw[i].Position)
		}
		next = last + headingGap
	}
	tokens = make([]postings.Token, len(raw))
	for i, t := range raw {
		tokens[i] = postings.Token{Term: t.Term, Position: t.Position}
	}
	length = analysis.Length(raw)
	*scratch = raw
	m.scratch.Put(scratch)
	return tokens, length, dropped
}

// complete does what [Owner.prepare] has left undone: it reads and cuts the document if there seemed to be no need to, gives it its
// notes, and analyses it, for which settle is the context once notes were written and the caller has gone.
func (o *Owner) complete(ctx, settle context.Context, p *prepared, kept *atomic.Int64) error {
	m := o.memory
	var err error
	if !p.waits {
		p.earlier = true // what is stored now is not known
		m.each(1, func(int) {
			if !p.loaded {
				err = m.load(ctx, o, p)
			}
			if err == nil && !p.container {
				err = m.cut(ctx, p)
			}
		})
		if err != nil || p.container {
			return err
		}
	}
	p.waits = false
	if err := o.annotate(ctx, p); err != nil {
		return err
	}
	return m.analyse(p.storeContext(ctx, settle), p, kept, m.each)
}

// text is what is to be cut.
func (p *prepared) text() chunk.Text {
	return chunk.Text{Content: p.content, Type: string(p.record.Type), Markup: p.record.Markup, Pages: p.pages}
}

// cut cuts the text into pieces, gives these their ids, and finds the text's language.
func (m *Memory) cut(ctx context.Context, p *prepared) error {
	pieces, err := m.config.Chunker.Chunk(ctx, p.text())
	if err != nil {
		return err
	}
	p.record.Language = p.language
	if p.record.Language == "" {
		p.record.Language = m.analyzer.Detect(p.content)
	}
	if err := p.place(pieces); err != nil {
		return err
	}
	p.identify()
	return nil
}

// tokenBytes is the memory of a token beside its text.
const tokenBytes = 24

// analyse turns the leaves into terms; each says how the shares are run, and kept counts the bytes of the terms that are kept, which
// are no more than the bound.
func (m *Memory) analyse(ctx context.Context, p *prepared, kept *atomic.Int64, each func(n int, fn func(i int))) error {
	dropped := make([]int, len(p.leaves))
	each((len(p.leaves)+analyseShare-1)/analyseShare, func(share int) {
		for i := share * analyseShare; i < min((share+1)*analyseShare, len(p.leaves)) && ctx.Err() == nil; i++ {
			l := &p.leaves[i]
			l.tokens, l.record.Length, dropped[i] = m.analyseLeaf(p.record.Language, p.record.header(), l.record.Heading, l.record.Context,
				l.record.Text)
			size := 0
			for _, t := range l.tokens {
				size += tokenBytes + len(t.Term)
			}
			if kept.Add(int64(size)) > int64(m.bounds.terms) {
				l.tokens, l.again = nil, true
			}
			of := []string{"leaf", p.record.Language, p.record.header(), l.record.Heading, l.record.Text}
			if l.record.Context != "" {
				of = append(of, l.record.Context)
			}
			if l.record.Parts > 1 {
				of = append(of, "parts", strconv.Itoa(l.record.Parts))
			}
			l.record.InputHash = digest(of...)
		}
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, n := range dropped {
		p.result.UnsearchableWords += n
	}
	p.cut = true
	return nil
}

// identify gives the leaves their ids. They count occurrences of equal text, so that they depend on nothing else.
func (p *prepared) identify() {
	seen := map[string]int{}
	for i := range p.leaves {
		c := &p.leaves[i].record
		c.ID = chunkID(p.record.ID, 0, c.Text, seen[c.Text])
		c.DocumentID = p.record.ID
		seen[c.Text]++
	}
}

// place checks the chunker's pieces against the contract (nothing lost, nothing twice) and turns them into records.
func (p *prepared) place(pieces []chunk.Piece) error {
	text := p.content
	end := 0
	var headings headingPath
	for i, piece := range pieces {
		if piece.Start < 0 || piece.End > len(text) || piece.Start >= piece.End {
			return fmt.Errorf("chunker: piece %d has the range [%d, %d) in a text of %d bytes", i, piece.Start, piece.End, len(text))
		}
		if piece.Level != 0 {
			continue
		}
		if piece.Start < end {
			return fmt.Errorf("chunker: piece %d begins at byte %d, inside the piece before, which ends at %d", i, piece.Start, end)
		}
		if piece.Overlap < 0 || piece.Overlap > piece.Start || !border(text, piece.Start-piece.Overlap) {
			return fmt.Errorf("chunker: piece %d overlaps %d bytes before byte %d", i, piece.Overlap, piece.Start)
		}
		if piece.Parts < 0 || piece.Parts > chunk.MaxParts {
			return fmt.Errorf("chunker: piece %d is to be embedded in %d parts", i, piece.Parts)
		}
		lead := text[end:piece.Start]
		if strings.TrimSpace(lead) != "" {
			return fmt.Errorf("chunker: text is lost between bytes %d and %d", end, piece.Start)
		}
		end = piece.End
		p.leaves = append(p.leaves, leaf{parent: piece.Parent, record: ChunkRecord{
			Chunk: Chunk{
				Position: len(p.leaves),
				Start:    piece.Start, End: piece.End,
				Heading: headings.join(piece.Heading),
				Page:    p.pages.at(piece.Start), PageEnd: p.pages.at(piece.End - 1),
				Tokens: piece.Tokens, Text: text[piece.Start:piece.End],
				Context: joinContext(piece.Context, strings.TrimSpace(text[piece.Start-piece.Overlap:piece.Start])), Summary: piece.Summary,
			},
			Lead: lead, Parts: max(1, piece.Parts),
		}})
		p.record.Tokens += piece.Tokens
	}
	p.record.Tail = text[end:]
	if strings.TrimSpace(p.record.Tail) != "" {
		return fmt.Errorf("chunker: text is lost between bytes %d and %d", end, len(text))
	}
	p.parents = pieces
	p.record.ChunkCount = len(p.leaves)
	if p.vectors != nil && len(p.vectors) != len(p.leaves) {
		return invalidf("vectors", "must be one for each of %d passages, are %d", len(p.leaves), len(p.vectors))
	}
	return nil
}

// joinContext puts a piece's context and the text before it that it overlaps together.
func joinContext(context, overlap string) string {
	if context == "" || overlap == "" {
		return context + overlap
	}
	return context + "\n" + overlap
}

// headingPath joins the headings of pieces that come one after the other: those under the same headings share a string.
type headingPath struct {
	path   []string
	joined string
}

func (h *headingPath) join(path []string) string {
	if len(path) == 0 {
		return ""
	}
	if len(h.path) != len(path) || &h.path[0] != &path[0] {
		h.path, h.joined = path, strings.Join(path, " > ")
	}
	return h.joined
}

// parentRecords returns the records of the parents, and sets the leaves' ParentID.
func (p *prepared) parentRecords() []ChunkRecord {
	var out []ChunkRecord
	var headings headingPath
	ids := map[int]string{}
	seen := map[string]int{}
	for i, piece := range p.parents {
		if piece.Level == 0 {
			continue
		}
		text := p.content[piece.Start:piece.End]
		id := chunkID(p.record.ID, piece.Level, text, seen[text])
		seen[text]++
		ids[i] = id
		out = append(out, ChunkRecord{Chunk: Chunk{
			ID: id, DocumentID: p.record.ID, Level: piece.Level, Position: len(out), Start: piece.Start, End: piece.End,
			Heading: headings.join(piece.Heading), Page: p.pages.at(piece.Start), PageEnd: p.pages.at(piece.End - 1),
			Tokens: piece.Tokens, Summary: piece.Summary,
		}})
	}
	for i := range p.leaves {
		p.leaves[i].record.ParentID = ids[p.leaves[i].parent]
	}
	return out
}

// addPrepared stores prepared documents of distinct identities in one transaction and fills in their results. If the
// transaction fails for a reason that one document may have caused, they are tried one by one.
func (o *Owner) addPrepared(ctx context.Context, batch []*prepared, results []Added) {
	if o.dry {
		for i, p := range batch {
			if results[i] = p.result; !p.settled() {
				results[i] = o.previewOne(ctx, p)
			}
		}
		return
	}
	if slices.ContainsFunc(batch, func(p *prepared) bool { return p.waits }) {
		o.addNoted(ctx, batch, results)
		return
	}
	err := o.addBatch(ctx, batch, results)
	if err == nil {
		return
	}
	stop := len(batch) == 1 || ctx.Err() != nil
	for _, whole := range []error{ErrUnavailable, ErrCommitUnknown, ErrClosed} {
		stop = stop || errors.Is(err, whole)
	}
	if stop {
		for i, p := range batch {
			results[i] = Added{DocumentID: p.record.ID, Status: Failed, Err: err}
		}
		return
	}
	for i, p := range batch {
		if err := o.addBatch(ctx, []*prepared{p}, results[i:i+1]); err != nil {
			results[i] = Added{DocumentID: p.record.ID, Status: Failed, Err: err}
		}
	}
}

func (o *Owner) addBatch(ctx context.Context, batch []*prepared, results []Added) error {
	m := o.memory
	params := EditParams{Owner: o.id, Analysis: analysis.Version, New: true}
	for i, p := range batch {
		if p.settled() {
			results[i] = p.result
			continue
		}
		params.Identities = append(params.Identities, p.identity)
		params.New = params.New && !p.known
	}
	if len(params.Identities) == 0 {
		return nil
	}
	vectors := m.prepareVectors(ctx, batch)
	w, err := m.edit(ctx, params)
	if err != nil {
		return err
	}
	edit := w.edit
	defer edit.Rollback(ctx) //nolint:errcheck // the first error is the one that matters
	if vectors.stale(edit.Generations()) {
		// Another model has become the active one: nobody is asked for vectors while the owner is locked.
		if err := edit.Rollback(ctx); err != nil {
			return err
		}
		m.models.forget(m.store)
		return o.addBatch(ctx, batch, results)
	}
	stored := map[Identity]*EditDocument{}
	for i := range edit.Documents() {
		d := &edit.Documents()[i]
		stored[Identity{OriginID: d.Document.OriginID, Key: d.Document.Key}] = d
	}
	w.grow(batch)
	for i, p := range batch {
		if p.settled() {
			continue
		}
		old := stored[p.identity]
		if !p.cut && (old == nil || !p.sameContent(&old.Document)) {
			// The stored version that made cutting needless is gone: prepare for what is there now, outside the transaction.
			if err := edit.Rollback(ctx); err != nil {
				return err
			}
			var kept atomic.Int64
			for _, p := range batch {
				if !p.cut && !p.settled() {
					if err := o.complete(ctx, ctx, p, &kept); err != nil {
						return err
					}
				}
			}
			return o.addBatch(ctx, batch, results)
		}
		if results[i], err = w.add(i, p, old); err != nil {
			results[i] = Added{DocumentID: p.record.ID, Status: Failed, Err: err}
		}
	}
	if !w.dirty {
		return edit.Rollback(ctx)
	}
	w.changes.Lease = vectors.lease(m.config.EmbedLease)
	if err := w.commit(ctx); err != nil {
		return err
	}
	w.embedNow(ctx, vectors, batch, results)
	w.tidy(ctx)
	return nil
}

// sameRow tells whether a stored document's own columns already say what a new version would.
func sameRow(old, new *DocumentRecord) bool {
	if old.Name != new.Name || old.Type != new.Type || !old.Date.Equal(new.Date) || old.NoVectors != new.NoVectors ||
		old.Title != new.Title || old.Author != new.Author || old.Format != new.Format || old.Markup != new.Markup ||
		!bytes.Equal(old.SourceHash, new.SourceHash) {
		return false
	}
	return sameMetadata(old, new)
}

func sameMetadata(old, new *DocumentRecord) bool {
	a, errA := jsonValue(old.RawMetadata)
	b, errB := jsonValue(new.RawMetadata)
	return errA == nil && errB == nil && jsonEqual(a, b)
}
