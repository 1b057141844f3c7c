package llmemory

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/analysis"
)

// openSource makes a document's source ready to be read, and computes its hash if the extractor says how it reads.
func (m *Memory) openSource(ctx context.Context, p *prepared) error {
	doc := &p.doc
	src, err := extract.Input{Reader: doc.Source}.Open(ctx, m.config.MaxSourceBytes)
	if err != nil {
		return sourceError(err)
	}
	p.source = src
	signature := ""
	if signer, ok := m.config.Extractor.(extract.Signer); ok {
		signature = signer.Signature()
	}
	if signature == "" && (doc.Key != "" || doc.Name != "") {
		return nil
	}
	raw := sha256.New()
	if _, err := io.Copy(raw, reading{ctx, io.NewSectionReader(src, 0, src.Size())}); err != nil {
		return sourceError(err)
	}
	p.rawHash = hex.EncodeToString(raw.Sum(nil))
	if signature == "" {
		return nil
	}
	p.record.SourceHash = digest("source", p.rawHash, doc.Name, string(doc.Type), doc.Media, doc.Language, doc.Date.UTC().String(), doc.Title,
		doc.Author, doc.Format, doc.Markup, fmt.Sprint(doc.Pages), signature, m.config.Chunker.Signature(),
		fmt.Sprint(m.config.MaxContentBytes))
	return nil
}

// reading is a reader that ends with its context.
type reading struct {
	ctx context.Context
	io.Reader
}

func (r reading) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// sameSource tells whether a stored version was read from the same source in the same way, and has what was given with it.
func (p *prepared) sameSource(old *DocumentRecord) bool {
	return p.doc.Reread != RereadAll && len(p.record.SourceHash) > 0 && bytes.Equal(old.SourceHash, p.record.SourceHash) && old.Name == p.doc.Name &&
		old.NoVectors == p.record.NoVectors && sameMetadata(old, &p.record)
}

// lasting tells whether a source will fail again as long as it and the way of reading it stay.
func lasting(err error) bool {
	var content *ContentError
	if errors.As(err, &content) {
		return !extract.Temporary(content.Err)
	}
	return errors.Is(err, ErrInvalid)
}

// settledParts tells whether reading a source again would change nothing about what lies within it.
func settledParts(parts []Added) bool {
	for i := range parts {
		if err := parts[i].Err; err != nil && !lasting(err) || !settledParts(parts[i].Parts) {
			return false
		}
	}
	return true
}

// knownFailure is why a source failed when it was read, as the ledger has it.
type knownFailure struct {
	message string
	cause   error
}

// Error implements error.
func (e *knownFailure) Error() string { return e.message }

// Unwrap returns the error of package extract that is the cause.
func (e *knownFailure) Unwrap() error { return e.cause }

// knownFailures returns, by their hashes, why sources failed that the ledger knows to be no good.
func (m *Memory) knownFailures(ctx context.Context, owner string, hashes [][]byte) (map[string]*ContentError, error) {
	if len(hashes) == 0 {
		return nil, nil
	}
	files, err := m.store.Failures(ctx, FailuresParams{Owner: owner, SourceHashes: hashes})
	if err != nil {
		return nil, err
	}
	out := map[string]*ContentError{}
	for _, f := range files {
		for _, r := range reasons {
			if string(r.reason) == f.Reason {
				out[string(f.SourceHash)] = &ContentError{Reason: r.reason, Err: &knownFailure{f.Message, r.cause}}
			}
		}
	}
	return out, nil
}

// load reads a document from its source, and adds what lies within it. It is called in a turn of [Memory.each].
func (m *Memory) load(ctx context.Context, o *Owner, p *prepared) error {
	defer p.close()
	doc := p.doc
	parts := &partAdder{owner: o, ctx: ctx, parent: &doc, prefix: cmp.Or(doc.Key, doc.Name, "sha256:"+p.rawHash), taken: map[string]bool{}}
	text, err := m.config.Extractor.Extract(ctx, extract.Input{
		Reader: p.source, Name: cmp.Or(doc.Name, path.Base(doc.Key)), Type: string(doc.Type), Media: doc.Media,
		MaxBytes: m.config.MaxContentBytes, Part: parts.add,
	})
	if stop := parts.flush(); stop != nil && parts.stopped == nil {
		parts.stopped = stop
	}
	p.loaded = true
	p.result.Parts, p.result.Warnings = parts.results, text.Warnings
	switch {
	case parts.stopped != nil:
		err = parts.stopped
	case err != nil:
		err = sourceError(err)
	case text.Container:
		err = p.contain()
	default:
		doc.describe(&text)
		err = m.settle(o.id, p, &doc, text.Content)
	}
	if err == nil {
		if !settledParts(p.result.Parts) {
			p.record.SourceHash = nil // it is read again the next time, for their sake
		}
		return nil
	}
	failure := &loadError{error: err, parts: p.result.Parts}
	if p.lasts(ctx, err) {
		failure.sourceHash = p.record.SourceHash
	}
	return failure
}

// lasts tells whether the ledger may answer for a source from now on. It does not answer for parts, and how much a part may take depends
// on what is around it.
func (p *prepared) lasts(ctx context.Context, err error) bool {
	var content *ContentError
	return errors.As(err, &content) && lasting(err) && len(p.result.Parts) == 0 && ctx.Err() == nil &&
		(content.Reason != TooLarge || extract.Depth(ctx) == 0)
}

// loadError is why there is no document of a source, with what became of its parts.
type loadError struct {
	error
	parts      []Added
	sourceHash []byte // of [Added]
}

// Unwrap returns the cause.
func (e *loadError) Unwrap() error { return e.error }

// failed is the outcome of a document that could not be prepared.
func failed(err error) Added {
	if of, ok := err.(*loadError); ok { //nolint:errorlint // wrapped by nobody
		return Added{Status: Failed, Err: of.error, Parts: of.parts, SourceHash: of.sourceHash}
	}
	return Added{Status: Failed, Err: err}
}

// contain settles the outcome of a container, which is no document itself: it is that of its parts.
func (p *prepared) contain() error {
	p.container = true
	count := map[Status]int{}
	for _, part := range p.result.Parts {
		count[part.Status]++
		p.result.Chunks += part.Chunks
		p.result.ChunksReused += part.ChunksReused
		p.result.Embedded += part.Embedded
		p.result.Pending += part.Pending
		p.result.EmbedErr = cmp.Or(p.result.EmbedErr, part.EmbedErr)
		p.result.Annotated += part.Annotated
		p.result.Unannotated += part.Unannotated
		p.result.AnnotateErr = cmp.Or(p.result.AnnotateErr, part.AnnotateErr)
		p.result.Usage.Add(part.Usage)
	}
	p.result.DocumentID = ""
	switch total := len(p.result.Parts); {
	case total == 0:
		return &ContentError{Reason: NoText, Err: fmt.Errorf("%w: there is nothing in it", extract.ErrNoText)}
	case count[Failed] == total:
		return fmt.Errorf("none of its %d parts could be added: %w", total, p.result.Parts[0].Err)
	case count[Created]+count[Failed] == total:
		p.result.Status = Created
	case count[Unchanged]+count[Failed] == total:
		p.result.Status = Unchanged
	default:
		p.result.Status = Updated
	}
	return nil
}

const (
	partBytes  = 1 << 20 // a part of up to so many bytes waits until there are more of them
	partsBytes = 8 << 20 // of parts that wait
	partsMost  = 256     // parts that wait
)

// partAdder adds the parts of a document as documents of their own.
type partAdder struct {
	owner   *Owner
	ctx     context.Context // of the part last seen
	parent  *Document
	prefix  string
	taken   map[string]bool // names
	waiting []Document
	places  []int // of the waiting ones in results
	bytes   int
	results []Added
	stopped error
}

// add implements [extract.Input.Part]. Its error is not nil only if nothing more can be added.
func (a *partAdder) add(ctx context.Context, part extract.Input) error {
	a.ctx = ctx
	doc := Document{
		OriginID: a.parent.OriginID, Key: a.prefix + "/" + a.name(part.Name), Name: cutLabel(path.Base(path.Clean("/" + label(part.Name)))),
		Media: part.Media, Date: a.parent.Date, Metadata: a.parent.Metadata, Language: a.parent.Language, IfExists: a.parent.IfExists,
		Embed: a.parent.Embed, Reread: a.parent.Reread,
	}
	if doc.Name == "/" {
		doc.Name = ""
	}
	if len(doc.Key) > maxIDBytes { // the same each time, and another one for another part
		doc.Key = cutLabelTo(doc.Key, maxIDBytes-33) + "#" + hex.EncodeToString(digest(doc.Key)[:16])
	}
	if kind, err := ParseType(part.Type); err == nil {
		doc.Type = kind
	}
	at := len(a.results)
	a.results = append(a.results, Added{Key: doc.Key})
	raw, err := io.ReadAll(io.LimitReader(part.Reader, partBytes+1))
	if err != nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		a.results[at] = Added{Key: doc.Key, Status: Failed, Err: sourceError(err)}
		return nil
	}
	doc.Source = bytes.NewReader(raw)
	if len(raw) > partBytes {
		doc.Source = io.MultiReader(doc.Source, part.Reader)
	}
	a.waiting, a.places, a.bytes = append(a.waiting, doc), append(a.places, at), a.bytes+len(raw)
	if len(raw) > partBytes || a.bytes >= partsBytes || len(a.waiting) >= partsMost {
		a.stopped = a.flush()
	}
	return a.stopped
}

// flush adds what waits. The turn of [Memory.each] in which the parent is read is given up for the time.
func (a *partAdder) flush() error {
	if len(a.waiting) == 0 {
		return nil
	}
	<-a.owner.memory.workers
	defer func() { a.owner.memory.workers <- struct{}{} }()
	results, err := a.owner.AddMany(a.ctx, a.waiting)
	for i, r := range results {
		if r.Status == "" { // not reached
			r = Added{Key: a.waiting[i].Key, Status: Failed, Err: err}
		}
		a.results[a.places[i]] = r
	}
	a.waiting, a.places, a.bytes = nil, nil, 0
	return err
}

// name returns a part's name within its parent, which no other part of it has: its path as it is given, or its number.
func (a *partAdder) name(given string) string {
	name := strings.TrimPrefix(path.Clean("/"+strings.ReplaceAll(label(given), `\`, "/")), "/")
	if name == "" {
		name = fmt.Sprint(len(a.results) + 1)
	}
	unique := name
	for n := 2; a.taken[unique]; n++ {
		unique = fmt.Sprintf("%s (%d)", name, n)
	}
	a.taken[unique] = true
	return unique
}

// describe fills in what the caller has not said of a document with what was found in its source.
func (doc *Document) describe(text *extract.Text) {
	if kind, err := ParseType(text.Type); doc.Type == "" && err == nil {
		doc.Type = kind
	}
	doc.Format, doc.Markup = cmp.Or(doc.Format, label(text.Format)), cmp.Or(doc.Markup, label(text.Markup))
	doc.Title, doc.Author = cmp.Or(doc.Title, label(text.Title)), cmp.Or(doc.Author, label(text.Author))
	if y := text.Date.Year(); doc.Date.IsZero() && y >= 1 && y <= 9999 {
		doc.Date = text.Date
	}
	if language := strings.ToLower(text.Language); doc.Language == "" && analysis.Supported(language) {
		doc.Language = language
	}
	if doc.Pages == nil {
		doc.Pages = text.Pages
	}
}

// label makes a label of what a source says of itself, which may be anything: printable text, cut to a label's length.
func label(s string) string {
	var b strings.Builder
	space := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case !unicode.IsPrint(r) && r != '\u200d' && r != '\u200c', r == utf8.RuneError:
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		if b.Len()+utf8.RuneLen(r) > maxIDBytes {
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// cutLabel cuts a label to its length.
func cutLabel(s string) string { return cutLabelTo(s, maxIDBytes) }

func cutLabelTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// reasons are why there may be no text in a source, with the errors that say so. Of an error that says several things the first counts.
var reasons = []struct {
	reason Reason
	cause  error
}{
	{Encrypted, extract.ErrEncrypted}, {TooLarge, extract.ErrTooLarge}, {TimedOut, extract.ErrTimeout}, {Damaged, extract.ErrDamaged},
	{NoText, extract.ErrNoText}, {Unsupported, extract.ErrUnsupported},
}

// sourceError makes an error of what went wrong with a source.
func sourceError(err error) error {
	for _, r := range reasons {
		if errors.Is(err, r.cause) {
			return &ContentError{Reason: r.reason, Err: err}
		}
	}
	return fmt.Errorf("read the source: %w", err)
}
