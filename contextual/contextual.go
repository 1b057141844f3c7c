package contextual

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/llmemory/llmemory/chunk"
	"github.com/llmemory/llmemory/llm"
)

// version is part of the signature. It goes up when what is asked changes so much that lines should be written anew.
const version = 1

// Options say how lines are written. Zero fields take their default.
type Options struct {
	// Summaries asks for a summary of each passage as well, in the same call.
	Summaries bool
	// Window is how many tokens of the document, counted as [llm.CountTokens] does, the model is shown at most. It must fit into the
	// model with some room for the question. Defaults to 8,000.
	Window int
	// Concurrency is how many calls run at a time, whatever the number of documents. Defaults to 4.
	Concurrency int
	// DocumentBudget is what one document may take. Passages beyond get no line, until the document is added with a larger budget. For
	// a budget of all documents, hand over a generator made by [llm.Budget].
	DocumentBudget llm.BudgetOptions
}

// Writer writes notes with a model. It is safe for concurrent use.
type Writer struct {
	generator llm.Generator
	options   Options
	turns     chan struct{}
	answered  atomic.Bool // the model has written something
}

// New returns a writer. Nil options mean defaults.
func New(g llm.Generator, o *Options) *Writer {
	if o == nil {
		o = &Options{}
	}
	w := &Writer{generator: g, options: *o}
	w.options.Window = cmp.Or(max(o.Window, 0), 8000)
	w.options.Concurrency = cmp.Or(max(o.Concurrency, 0), 4)
	w.turns = make(chan struct{}, w.options.Concurrency)
	return w
}

// Signature names the model and what it is asked. What else the options say changes only what the model sees, and is not part of it.
func (w *Writer) Signature() string {
	m := w.generator.Model()
	return fmt.Sprintf("contextual-%d(%s/%s,summaries=%t)", version, m.Provider, m.Model, w.options.Summaries)
}

// Annotate writes notes on those pieces of a text that are wanted, given by their indexes: leaves, in their order. The notes are parallel
// to wanted. A piece that the model declines has an empty one.
//
// With an error, such as one that wraps [llm.ErrBudget] or of the provider, the notes that were written by then are returned, and it is
// worth asking for the others again. The usage is that of all calls.
func (w *Writer) Annotate(ctx context.Context, t chunk.Text, pieces []chunk.Piece, wanted []int) ([]chunk.Note, llm.Usage, error) {
	r := &run{w: w, generator: llm.Budget(w.generator, w.options.DocumentBudget), text: t, pieces: pieces, notes: make([]chunk.Note, len(wanted))}
	for _, s := range w.stretches(t, pieces, wanted) {
		// The first call of a stretch is what makes the provider keep it.
		first := s.wanted
		if s.tokens >= max(w.generator.Model().MinCached, 1) {
			first = s.wanted[:1]
		}
		if err := r.ask(ctx, &s, first); err != nil {
			return r.notes, r.usage, err
		}
		if err := r.ask(ctx, &s, s.wanted[len(first):]); err != nil {
			return r.notes, r.usage, err
		}
	}
	return r.notes, r.usage, nil
}

// Plan tells about what Annotate would take: tokens of input counted by [llm.CountTokens], answers of the usual length, and as much of
// the input kept as the provider would keep.
func (w *Writer) Plan(t chunk.Text, pieces []chunk.Piece, wanted []int) llm.Usage {
	var out llm.Usage
	info := w.generator.Model()
	frame := llm.Request{System: w.system()}
	each := frame.Tokens()
	for _, s := range w.stretches(t, pieces, wanted) {
		n := len(s.wanted)
		out.Calls += n
		out.Output += n * w.usualTokens()
		for _, i := range s.wanted {
			out.Input += each + s.tokens + llm.CountTokens(w.prompt(t, &pieces[wanted[i]]))
		}
		if info.MinCached > 0 && s.tokens >= info.MinCached && n > 1 {
			out.Cached += (n - 1) * s.tokens
		}
		if info.Price.Written > 0 && s.tokens >= info.MinCached {
			out.Written += s.tokens
		}
	}
	return out
}

// run is one call of Annotate.
type run struct {
	w         *Writer
	generator llm.Generator
	text      chunk.Text
	pieces    []chunk.Piece
	notes     []chunk.Note

	mu    sync.Mutex
	usage llm.Usage
}

// ask asks for notes on pieces of a stretch, as many at a time as there are turns. The first error ends the others.
func (r *run) ask(ctx context.Context, s *stretch, wanted []int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var calls sync.WaitGroup
	for _, i := range wanted {
		select {
		case r.w.turns <- struct{}{}:
			calls.Go(func() {
				defer func() { <-r.w.turns }()
				if ctx.Err() != nil {
					return
				}
				if err := r.one(ctx, s, i); err != nil {
					cancel(err)
				}
			})
		case <-ctx.Done():
		}
	}
	calls.Wait()
	return context.Cause(ctx)
}

// one asks for the note on the i-th of the wanted pieces.
func (r *run) one(ctx context.Context, s *stretch, i int) error {
	answer, err := r.generator.Generate(ctx, llm.Request{
		System: r.w.system(), Document: s.text, Prompt: r.w.prompt(r.text, &r.pieces[s.pieces[i]]), MaxTokens: r.w.maxTokens(),
	})
	note := r.w.read(answer.Text)
	if err == nil && note.Context == "" {
		err = &llm.Error{Kind: llm.BadAnswer, Provider: r.generator.Model().Provider, Err: llm.ErrDeclined}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.usage.Add(answer.Usage)
	switch {
	case err == nil:
		r.w.answered.Store(true)
		r.notes[i] = note
		return nil
	case llm.Declined(err) && r.w.answered.Load(): // the model does answer: it is this passage that it has nothing to say of
		return nil
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}
