package llmemory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/llm"
)

// Annotator writes context lines and summaries of passages, which takes a while and may cost something. Implementations are safe for
// concurrent use.
//
// An Add whose context has a deadline leaves half of the time to the annotator, and stores the document without what is missing then.
// One whose context ends meanwhile stores it, too, within five seconds, if there are notes on it by then.
//
// Notes that are stored are used again: for a passage whose text and headings stay, however the rest of its document changes.
type Annotator interface {
	// Annotate writes notes on the wanted pieces, which are leaves given by their indexes in ascending order. The notes are parallel to
	// wanted; an empty one means that there is nothing to say. With an error, those that are empty are asked for again when the
	// document is next added. The usage counts in either case. What a Note holds is valid UTF-8 without NUL bytes.
	Annotate(ctx context.Context, t chunk.Text, pieces []chunk.Piece, wanted []int) ([]chunk.Note, llm.Usage, error)
	// Plan tells about what that would take, and asks nobody.
	Plan(t chunk.Text, pieces []chunk.Piece, wanted []int) llm.Usage
	// Signature names the way of writing. Where it changes, everything is written anew.
	Signature() string
}

// A document's content hash is the SHA-256 of what its chunks depend on. If they have notes, or are to get them, it is followed by the
// signature of who writes them, and by what there is of them: zeros if that is all, else a hash of what is there. So an Add without an
// annotator sees that the content is the same, and one with an annotator, that there is something left to write.
const (
	bareHashBytes = 32
	notaryBytes   = 8
	notesBytes    = 8
)

// bareHash is a document's content hash without what it tells of notes.
func bareHash(d *DocumentRecord) []byte {
	return d.ContentHash[:min(len(d.ContentHash), bareHashBytes)]
}

// notesOf is what a document's content hash tells of notes, nil if it has none.
func notesOf(d *DocumentRecord) []byte {
	if len(d.ContentHash) != bareHashBytes+notaryBytes+notesBytes {
		return nil
	}
	return d.ContentHash[bareHashBytes:]
}

// allNotes says that there is nothing left to write.
var allNotes = make([]byte, notesBytes)

// settledBy tells whether a stored version has all notes that this one would get, if its text is the same.
func (p *prepared) settledBy(old *DocumentRecord) bool {
	return p.notary == nil || bytes.Equal(notesOf(old), append(bytes.Clone(p.notary), allNotes...))
}

// errJoined is why nobody is asked for notes in a host's transaction.
var errJoined = errors.New("nobody is asked for context in a transaction of the host's; a later Add of the document is")

// annotate gives the leaves of a document the notes that their stored versions have, and asks for the others. That these fail is no
// error of the document's. No connection is held meanwhile.
func (o *Owner) annotate(ctx context.Context, p *prepared) error {
	m := o.memory
	stored, notary, complete, err := o.storedNotes(ctx, p)
	if err != nil {
		return err
	}
	var places, wanted []int // in p.leaves, and in p.parents
	notes := make([]chunk.Note, len(p.leaves))
	at := 0
	for i := range p.leaves {
		for p.parents[at].Level != 0 {
			at++
		}
		c := &p.leaves[i].record
		if old, there := stored[c.ID]; there && old.Heading == c.Heading {
			if notes[i], there = keptNote(&old.Chunk, &c.Chunk); there && (complete || notes[i] != chunk.Note{}) {
				at++
				continue
			}
		}
		places, wanted = append(places, i), append(wanted, at)
		at++
	}
	settled := len(wanted) == 0
	switch {
	case settled || m.notary == nil:
	case o.dry:
		p.result.Usage, p.result.Annotated = m.config.Annotator.Plan(p.text(), p.parents, wanted), len(wanted)
		for _, i := range places {
			p.leaves[i].wanted = true
		}
	default:
		written, err := p.ask(ctx, m, wanted)
		if err != nil {
			return err
		}
		for k, i := range places {
			if notes[i] = written[k]; notes[i] == (chunk.Note{}) {
				p.result.Unannotated++
			}
		}
		p.result.Annotated = len(wanted) - p.result.Unannotated
		settled = p.result.AnnotateErr == nil
	}
	p.note(notes, notary, settled)
	return nil
}

// storedNotes returns the leaves of the stored version that have notes of the same annotator by their ids, or if there is none now, of
// any; the name of that annotator; and whether those without a note are not to be asked for again.
func (o *Owner) storedNotes(ctx context.Context, p *prepared) (leaves map[string]*ChunkRecord, notary []byte, complete bool, err error) {
	if !p.earlier {
		return nil, p.notary, false, nil
	}
	d, chunks, err := o.Fresh().document(ctx, DocumentParams{DocumentID: p.record.ID, Leaves: true})
	if errors.Is(err, ErrNotFound) {
		return nil, p.notary, false, nil
	}
	if err != nil {
		return nil, nil, false, err
	}
	of := notesOf(d)
	if of == nil || p.notary != nil && !bytes.Equal(of[:notaryBytes], p.notary) {
		return nil, p.notary, false, nil
	}
	leaves = make(map[string]*ChunkRecord, len(chunks))
	for i := range chunks {
		leaves[chunks[i].ID] = &chunks[i]
	}
	return leaves, of[:notaryBytes], bytes.Equal(of[notaryBytes:], allNotes), nil
}

// keptNote is the note that a stored leaf has beside the context that comes of cutting, which must be the same as that of the leaf now.
func keptNote(old, now *Chunk) (chunk.Note, bool) {
	note := chunk.Note{Context: old.Context, Summary: old.Summary}
	if old.Context == now.Context {
		note.Context = ""
	} else if now.Context != "" {
		var ok bool
		if note.Context, ok = strings.CutSuffix(old.Context, "\n"+now.Context); !ok {
			return chunk.Note{}, false
		}
	}
	if now.Summary != "" {
		note.Summary = "" // the chunker makes it
	}
	return note, true
}

// ask asks for notes, for which it does not take all the time that the caller has: the document is yet to be stored. The error is that
// the caller has gone before there was any; all others are told in the result.
func (p *prepared) ask(ctx context.Context, m *Memory, wanted []int) ([]chunk.Note, error) {
	if joined(m.store) {
		p.result.AnnotateErr = errJoined
		return make([]chunk.Note, len(wanted)), nil
	}
	asking := ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		asking, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	notes, usage, err := m.config.Annotator.Annotate(asking, p.text(), p.parents, wanted)
	if gone := ctx.Err(); gone != nil {
		if !slices.ContainsFunc(notes, func(n chunk.Note) bool { return n != chunk.Note{} }) {
			return nil, gone
		}
		if err != nil {
			err = gone
		}
	}
	if err == nil && len(notes) != len(wanted) {
		err = fmt.Errorf("annotator: %d notes on %d passages", len(notes), len(wanted))
	}
	if len(notes) != len(wanted) {
		notes = make([]chunk.Note, len(wanted))
	}
	for i := range notes {
		if n := &notes[i]; !validText(n.Context) || !validText(n.Summary) {
			*n = chunk.Note{}
			err = errors.Join(err, errors.New("annotator: a note is not valid UTF-8 without NUL bytes"))
		}
	}
	p.result.Usage, p.result.AnnotateErr = usage, err
	return notes, nil
}

// note gives the leaves their notes and has the content hash tell of them.
func (p *prepared) note(notes []chunk.Note, notary []byte, settled bool) {
	of := []string{"notes"}
	some := p.notary != nil
	for i, n := range notes {
		c := &p.leaves[i].record
		c.Context = joinContext(n.Context, c.Context)
		if n.Summary != "" {
			c.Summary = n.Summary
		}
		some = some || n != chunk.Note{}
		of = append(of, n.Context, n.Summary)
	}
	if p.noted = some && notary != nil; !p.noted {
		return
	}
	what := allNotes
	if !settled {
		what = digest(of...)[:notesBytes]
	}
	p.record.ContentHash = append(append(bytes.Clone(bareHash(&p.record)), notary...), what...)
}

// annotatedDocuments is how many documents of a call are annotated at a time.
const annotatedDocuments = 8

// storeContext returns the context in which a document is stored: settle, if notes were written on it and the caller has gone meanwhile, so
// that what was paid for is kept.
func (p *prepared) storeContext(ctx, settle context.Context) context.Context {
	if ctx.Err() != nil && p.result.Annotated > 0 {
		return settle
	}
	return ctx
}

// addNoted stores prepared documents, some of which take notes first: each of these as soon as it has them, so that what was paid for is
// kept whatever becomes of the others, and of the caller.
func (o *Owner) addNoted(ctx context.Context, batch []*prepared, results []Added) {
	settle, release := outlasting(ctx, settleTime)
	defer release()
	var plain []*prepared
	var plainAt, waiting []int
	for i, p := range batch {
		if p.waits {
			waiting = append(waiting, i)
		} else {
			plain, plainAt = append(plain, p), append(plainAt, i)
		}
	}
	type outcome struct {
		at  int
		err error
	}
	ready := make(chan outcome)
	turns := make(chan struct{}, annotatedDocuments)
	var kept atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, at := range waiting {
			turns <- struct{}{}
			wg.Go(func() {
				err := ctx.Err()
				if err == nil {
					err = o.complete(ctx, settle, batch[at], &kept)
				}
				ready <- outcome{at, err}
				<-turns
			})
		}
	})
	if len(plain) > 0 {
		out := make([]Added, len(plain))
		o.addPrepared(ctx, plain, out)
		for i, at := range plainAt {
			results[at] = out[i]
		}
	}
	for range waiting {
		done := <-ready
		if done.err != nil {
			results[done.at] = Added{DocumentID: batch[done.at].record.ID, Status: Failed, Err: done.err}
			continue
		}
		o.addPrepared(batch[done.at].storeContext(ctx, settle), batch[done.at:done.at+1], results[done.at:done.at+1])
	}
	wg.Wait()
}
