package embedding

import (
	"cmp"
	"context"
	"sync"
)

// BatchOptions say how much goes into one call. Zero fields take their default.
type BatchOptions struct {
	// MaxInputs is how many texts one call may have. Defaults to 64. Some servers take less: text-embeddings-inference 32,
	// some gateways 10 or 16. [Each] gets along with that, at the price of a refused call here and there.
	MaxInputs int
	// MaxTokens is how many tokens the texts of one call may have together, as [CountTokens] counts. A single text with more
	// has a call of its own. Defaults to 16,384, which a model on a CPU can do within a minute.
	MaxTokens int
	// Concurrency is how many calls may run at a time. Defaults to 1.
	Concurrency int
}

// Batch splits long lists of texts into calls of limited size. The vectors come in the order of the texts. The first failure
// ends the calls that are still running, and with it the vectors of the others are lost; [Each] keeps them.
func Batch(e Embedder, o BatchOptions) Embedder {
	o.MaxInputs = cmp.Or(max(o.MaxInputs, 0), 64)
	o.MaxTokens = cmp.Or(max(o.MaxTokens, 0), 16_384)
	o.Concurrency = max(o.Concurrency, 1)
	return &batcher{e, o}
}

type batcher struct {
	Embedder
	options BatchOptions
}

func (b *batcher) Unwrap() Embedder { return b.Embedder }

// span is a range of texts.
type span struct{ lo, hi int }

// spans cuts texts into the ranges of single calls.
func (b *batcher) spans(role Role, texts []string) []span {
	var out []span
	lo, sum := 0, 0
	for i, text := range texts {
		n := CountTokens(b.Embedder, role, text)
		if i > lo && (i-lo == b.options.MaxInputs || sum+n > b.options.MaxTokens) {
			out = append(out, span{lo, i})
			lo, sum = i, 0
		}
		sum += n
	}
	if lo < len(texts) {
		out = append(out, span{lo, len(texts)})
	}
	return out
}

func (b *batcher) Embed(ctx context.Context, role Role, texts []string) ([][]float32, error) {
	vectors := make([][]float32, len(texts))
	err := inParallel(ctx, b.options.Concurrency, b.spans(role, texts), func(ctx context.Context, s span) error {
		got, err := b.Embedder.Embed(ctx, role, texts[s.lo:s.hi])
		if err != nil {
			return err
		}
		if err := Check(got, s.hi-s.lo, 0); err != nil {
			return &Error{Kind: BadAnswer, Provider: b.Model().Provider, Err: err}
		}
		copy(vectors[s.lo:], got)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return vectors, nil
}

// inParallel calls do for each span, n at a time, in their order. The first error, or the end of ctx, cancels the context of the
// rest, and is what is returned when all have ended.
func inParallel(ctx context.Context, n int, spans []span, do func(context.Context, span) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var first error
	var once sync.Once
	queue := make(chan span)
	var workers sync.WaitGroup
	for range min(n, len(spans)) {
		workers.Go(func() {
			for s := range queue {
				err := ctx.Err()
				if err == nil {
					err = do(ctx, s)
				}
				if err != nil {
					once.Do(func() { first = err })
					cancel()
				}
			}
		})
	}
	for _, s := range spans {
		queue <- s
	}
	close(queue)
	workers.Wait()
	return first
}
