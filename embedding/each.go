package embedding

import (
	"context"
	"errors"
	"iter"
	"sync"
)

// Result is what became of one text: a vector or an error.
type Result struct {
	Vector []float32
	Err    error
}

// harmless is a text that no model has a reason to refuse.
const harmless = "text"

// EmbedEach embeds every text for itself, as far as possible: see [Each].
func EmbedEach(ctx context.Context, e Embedder, role Role, texts []string) []Result {
	out := make([]Result, len(texts))
	for first, results := range Each(ctx, e, role, texts) {
		copy(out[first:], results)
	}
	return out
}

// Each yields results as they come, so that vectors which have been paid for can be stored whatever happens later: the index
// of the first text they belong to, and one result for each text from there on. Every text gets exactly one result, unless the
// loop is left early, which ends what is still running. If e is made by [Batch] or [Recommended], its calls come one by one;
// with a concurrency above 1, in any order. The next call may run while a result is being dealt with.
//
// A call that is refused as InvalidInput or that gives a BadAnswer is repeated in halves until the fault is alone, and only
// that text gets the error, for which [InputFault] holds. Among n texts this takes at most 2·log2(n)+1 further calls for each
// text at fault. When nothing has succeeded yet, a harmless word is tried: if that is refused too, the texts are not to blame,
// and the error becomes one of kind Refused.
//
// Any other error ends the matter: texts that have no result yet get that error, and no further call is made. If [Temporary] holds
// for it, try these texts again later.
func Each(ctx context.Context, e Embedder, role Role, texts []string) iter.Seq2[int, []Result] {
	return func(yield func(int, []Result) bool) {
		if len(texts) == 0 {
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		spans, concurrency := []span{{0, len(texts)}}, 1
		if b, ok := e.(*batcher); ok {
			e, spans, concurrency = b.Embedder, b.spans(role, texts), b.options.Concurrency
		}
		r := &isolation{e: e, role: role, texts: texts, dim: e.Model().Dimensions, done: make([]bool, len(texts)), out: make(chan yielded)}
		go func() {
			defer close(r.out)
			r.finish(ctx, inParallel(ctx, concurrency, spans, func(ctx context.Context, s span) error {
				_, err := r.embed(ctx, s, false)
				return err
			}))
		}()
		defer func() { // however the loop is left, nothing goes on behind it
			cancel()
			for range r.out {
			}
		}()
		for y := range r.out {
			if !yield(y.first, y.results) {
				return
			}
		}
	}
}

// yielded is what Each passes on.
type yielded struct {
	first   int
	results []Result
}

// isolation is one run of Each.
type isolation struct {
	e     Embedder
	role  Role
	texts []string
	out   chan yielded

	mu        sync.Mutex
	dim       int    // of all vectors so far, 0 before the first
	done      []bool // by text: it has its result
	succeeded bool   // some call has
	largest   int    // number of texts of the largest call that has succeeded
	suspects  []suspect
}

// suspect is a text that failed alone before anything had succeeded.
type suspect struct {
	text int
	err  error
}

// embed deals with a span and tells whether it went well in one call. An error ends the run. If the span is known to hold a
// fault, its call is left out.
func (r *isolation) embed(ctx context.Context, s span, known bool) (bool, error) {
	n := s.hi - s.lo
	if !known || n == 1 {
		ok, err := r.call(ctx, s)
		if ok || err != nil || n == 1 {
			return ok, err
		}
		// Many servers refuse a call for its length alone. One as long as another that went well, or by one longer, is not.
		r.mu.Lock()
		known = n <= r.largest+1
		r.mu.Unlock()
	}
	middle := s.lo + n/2
	left, err := r.embed(ctx, span{s.lo, middle}, false)
	if err == nil {
		_, err = r.embed(ctx, span{middle, s.hi}, known && left)
	}
	return false, err
}

// call makes one call. It returns true if all went well, false if something in the span is at fault, and an error if the run has
// to end.
func (r *isolation) call(ctx context.Context, s span) (bool, error) {
	vectors, err := r.e.Embed(ctx, r.role, r.texts[s.lo:s.hi])
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		if err = Check(vectors, s.hi-s.lo, r.dim); err != nil {
			err = &Error{Kind: BadAnswer, Provider: r.e.Model().Provider, Err: err}
		}
	}
	switch {
	case err == nil:
		r.dim = len(vectors[0])
		r.largest = max(r.largest, s.hi-s.lo)
		results := make([]Result, len(vectors))
		for i, v := range vectors {
			results[i].Vector = v
		}
		r.yield(s.lo, results)
		r.success()
		return true, nil
	case !InputFault(err):
		return false, err
	case s.hi-s.lo > 1:
		return false, nil
	}
	r.suspects = append(r.suspects, suspect{s.lo, err})
	if r.succeeded {
		r.success()
		return false, nil
	}
	if len(r.suspects) == 1 {
		return false, nil // what comes next may clear the provider
	}
	return false, r.try(ctx)
}

// success notes that the provider does answer, which convicts the suspects.
func (r *isolation) success() {
	r.succeeded = true
	for _, s := range r.suspects {
		r.yield(s.text, []Result{{Err: s.err}})
	}
	r.suspects = nil
}

// try asks for a harmless text. If that is no good either, it returns an error that does not blame the texts.
func (r *isolation) try(ctx context.Context) error {
	vectors, err := r.e.Embed(ctx, r.role, []string{harmless})
	if err == nil {
		err = Check(vectors, 1, r.dim)
	}
	var v *VectorError
	switch {
	case err == nil:
		r.success()
		return nil
	case InputFault(err) || errors.As(err, &v):
		refused := &Error{Kind: Refused, Provider: r.e.Model().Provider, Message: "a plain word is refused as well", Err: err}
		if e := (*Error)(nil); errors.As(err, &e) {
			refused.Status = e.Status
		}
		return refused
	}
	return err
}

// yield passes results on. It may wait for whoever ranges over them.
func (r *isolation) yield(first int, results []Result) {
	for i := range results {
		r.done[first+i] = true
	}
	r.out <- yielded{first, results}
}

// finish gives those texts that have no result yet the error that ended the run.
func (r *isolation) finish(ctx context.Context, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && len(r.suspects) > 0 {
		err = r.try(ctx)
	}
	for lo := 0; lo < len(r.done); lo++ {
		hi := lo
		var results []Result
		for ; hi < len(r.done) && !r.done[hi]; hi++ {
			results = append(results, Result{Err: err})
		}
		if hi > lo {
			r.yield(lo, results)
			lo = hi
		}
	}
}
