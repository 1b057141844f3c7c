package llm

import (
	"cmp"
	"context"
	"fmt"
	"sync"
)

// BudgetOptions say how much calls may take together. 0 means no limit.
type BudgetOptions struct {
	USD    float64 // US dollars, by the model's [Price]
	Tokens int     // of input and output
}

// none tells whether there is no limit.
func (o BudgetOptions) none() bool { return o.USD <= 0 && o.Tokens <= 0 }

// Budget lets calls through while they fit into the budget, and has all others fail with an error that wraps [ErrBudget]. Before a call
// its price is not known, so room is made for the highest: nothing of its input is cached, its answer is as long as may be. What the
// provider then says it took is what counts, or if it does not say, what there was room for. So the budget is not exceeded, unless
// tokens are counted too low. A call that failed without usage counts for nothing. While others run that may leave some room, a call
// waits for them.
//
// A budget in dollars has no effect on a model without a price.
func Budget(g Generator, o BudgetOptions) Generator {
	if o.none() {
		return g
	}
	b := &budget{options: o, price: g.Model().Price, changed: make(chan struct{})}
	return Func{g.Model(), func(ctx context.Context, r Request) (Answer, error) {
		reserved := most(&r)
		if err := b.enter(ctx, reserved); err != nil {
			return Answer{}, err
		}
		var used Usage
		defer func() { b.leave(reserved, used) }() // though the call panics
		a, err := g.Generate(ctx, r)
		if used = a.Usage; err == nil && used.Tokens() == 0 {
			used = reserved
		}
		return a, err
	}}
}

// most is what a call takes at most.
func most(r *Request) Usage {
	return Usage{Calls: 1, Input: r.Tokens(), Output: cmp.Or(r.MaxTokens, DefaultMaxTokens)}
}

type budget struct {
	options BudgetOptions
	price   Price

	mu       sync.Mutex
	used     Usage
	reserved Usage
	changed  chan struct{} // closed when a call ends
}

// highest is the price of a usage of whose input nothing is cached.
func (b *budget) highest(u Usage) float64 {
	if b.price.Written > b.price.Input {
		u.Written = u.Input
	}
	return b.price.Of(u)
}

// fits tells whether something fits into the budget beside what is used and what else is reserved.
func (b *budget) fits(u, reserved Usage) bool {
	reserved.Add(u)
	money := b.price.Of(b.used) + b.highest(reserved)
	return (b.options.USD <= 0 || money <= b.options.USD) && (b.options.Tokens <= 0 || b.used.Tokens()+reserved.Tokens() <= b.options.Tokens)
}

func (b *budget) enter(ctx context.Context, u Usage) error {
	for {
		b.mu.Lock()
		if b.fits(u, b.reserved) {
			b.reserved.Add(u)
			b.mu.Unlock()
			return nil
		}
		hopeless, changed := !b.fits(u, Usage{}), b.changed
		used := b.used
		b.mu.Unlock()
		if hopeless {
			return b.exhausted(used)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w while waiting for other calls within the budget", ctx.Err())
		}
	}
}

// exhausted is the error of a call that there is no room for.
func (b *budget) exhausted(used Usage) error {
	if b.options.USD > 0 {
		return fmt.Errorf("%w: the next call might exceed $%.4g, of which $%.4f is spent", ErrBudget, b.options.USD, b.price.Of(used))
	}
	return fmt.Errorf("%w: the next call might exceed %d tokens, of which %d are used", ErrBudget, b.options.Tokens, used.Tokens())
}

func (b *budget) leave(reserved, used Usage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reserved.Add(Usage{-reserved.Calls, -reserved.Input, 0, 0, -reserved.Output})
	b.used.Add(used)
	close(b.changed)
	b.changed = make(chan struct{})
}
