package llm_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/llmemory/llmemory/llm"
)

// answering is a generator that answers as call says; calls count from 1.
func answering(price llm.Price, calls *atomic.Int64, call func(ctx context.Context, n int64) (llm.Answer, error)) llm.Generator {
	return llm.Func{Info: llm.ModelInfo{Provider: "test", Model: "m", Price: price}, Call: func(ctx context.Context, _ llm.Request) (llm.Answer, error) {
		return call(ctx, calls.Add(1))
	}}
}

func TestPriceOf(t *testing.T) {
	t.Parallel()
	usage := llm.Usage{Input: 1000, Cached: 600, Written: 100, Output: 50}
	for _, tt := range []struct {
		price llm.Price
		want  float64 // of a million of such usages
	}{
		{llm.Price{}, 0},
		{llm.Price{Input: 2, Cached: 1, Output: 4}, 400*2 + 600*1 + 50*4},
		{llm.Price{Input: 2, Cached: 1, Written: 3, Output: 4}, 300*2 + 600*1 + 100*3 + 50*4},
	} {
		if got := tt.price.Of(usage) * 1e6; got < tt.want-1e-6 || got > tt.want+1e-6 {
			t.Errorf("%+v: %v, want %v", tt.price, got, tt.want)
		}
	}
}

// A budget is never exceeded, however many ask at a time, and is used up as far as calls fit into it.
func TestBudget(t *testing.T) {
	t.Parallel()
	request := llm.Request{Prompt: "short", MaxTokens: 100}
	most := request.Tokens() + 100
	for _, tt := range []struct {
		name string
		o    llm.BudgetOptions
		used llm.Usage // of a call
		want int64     // calls
	}{
		{"tokens", llm.BudgetOptions{Tokens: 10 * most}, llm.Usage{Calls: 1, Input: most - 100, Output: 100}, 10},
		{"answers that are short", llm.BudgetOptions{Tokens: 2*most + 50}, llm.Usage{Calls: 1, Input: 5, Output: 5}, int64((most+50)/10 + 1)},
		{"dollars", llm.BudgetOptions{USD: 5.5 * float64(most) / 1e6}, llm.Usage{Calls: 1, Input: most - 100, Output: 100}, 5},
		{"without usage", llm.BudgetOptions{Tokens: 3*most + 1}, llm.Usage{Calls: 1}, 3},
		{"too small", llm.BudgetOptions{Tokens: most - 1}, llm.Usage{Calls: 1}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var calls atomic.Int64
			g := llm.Budget(answering(llm.Price{Input: 1, Output: 1}, &calls, func(context.Context, int64) (llm.Answer, error) {
				time.Sleep(time.Second)
				return llm.Answer{Text: "yes", Usage: tt.used}, nil
			}), tt.o)
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					for range 4 {
						if _, err := g.Generate(t.Context(), request); err != nil && (!errors.Is(err, llm.ErrBudget) || llm.Temporary(err) || llm.Declined(err)) {
							t.Errorf("%s: %v", tt.name, err)
						}
					}
				})
			}
			wg.Wait()
			if n := calls.Load(); n != tt.want {
				t.Errorf("%s: %d calls, want %d", tt.name, n, tt.want)
			}
		})
	}
}

// Calls that fail cost nothing, unless the provider says so; a panic gives back what was reserved.
func TestBudgetOfFailures(t *testing.T) {
	t.Parallel()
	request := llm.Request{Prompt: "short", MaxTokens: 100}
	var calls atomic.Int64
	g := llm.Budget(answering(llm.Price{}, &calls, func(_ context.Context, n int64) (llm.Answer, error) {
		switch {
		case n == 1:
			panic("test")
		case n < 10:
			return llm.Answer{}, &llm.Error{Kind: llm.Unavailable}
		}
		return llm.Answer{Usage: llm.Usage{Calls: 1, Input: 150}}, &llm.Error{Kind: llm.BadAnswer, Err: llm.ErrDeclined}
	}), llm.BudgetOptions{Tokens: 200})
	func() {
		defer func() { _ = recover() }()
		_, _ = g.Generate(t.Context(), request)
	}()
	for range 9 {
		if _, err := g.Generate(t.Context(), request); errors.Is(err, llm.ErrBudget) {
			t.Fatalf("after %d calls: %v", calls.Load(), err)
		}
	}
	if _, err := g.Generate(t.Context(), request); !errors.Is(err, llm.ErrBudget) || !strings.Contains(err.Error(), "of which 150 are used") {
		t.Errorf("after a call that cost: %v", err)
	}
}

// A call that waits for room ends with its context.
func TestBudgetWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		g := llm.Budget(answering(llm.Price{}, &calls, func(ctx context.Context, _ int64) (llm.Answer, error) {
			<-ctx.Done()
			return llm.Answer{}, ctx.Err()
		}), llm.BudgetOptions{Tokens: 400})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go g.Generate(ctx, llm.Request{Prompt: "first"})
		synctest.Wait()
		if _, err := g.Generate(ctx, llm.Request{Prompt: "second"}); !errors.Is(err, context.DeadlineExceeded) || calls.Load() != 1 {
			t.Errorf("%v after %d calls", err, calls.Load())
		}
	})
}

// What passes is tried again, as the provider says; what does not pass is returned at once; a provider that is down is left alone.
func TestRecommended(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		fail := func(n int64) error {
			switch n {
			case 1:
				return &llm.Error{Kind: llm.RateLimited, RetryAfter: 10 * time.Second}
			case 2:
				return &llm.Error{Kind: llm.Unavailable}
			case 4:
				return &llm.Error{Kind: llm.InvalidInput}
			case 3:
				return nil
			}
			return &llm.Error{Kind: llm.Unavailable}
		}
		g := llm.Recommended(answering(llm.Price{}, &calls, func(_ context.Context, n int64) (llm.Answer, error) {
			return llm.Answer{Text: "yes"}, fail(n)
		}), nil)
		ask := func() error {
			_, err := g.Generate(t.Context(), llm.Request{Prompt: "p"})
			return err
		}
		start := time.Now()
		if err := ask(); err != nil || calls.Load() != 3 || time.Since(start) < 10*time.Second {
			t.Errorf("%v after %d calls and %s", err, calls.Load(), time.Since(start))
		}
		if err := ask(); !llm.Declined(err) || calls.Load() != 4 {
			t.Errorf("%v after %d calls", err, calls.Load())
		}
		for range 3 {
			_ = ask()
		}
		if err := ask(); !errors.Is(err, llm.ErrBreakerOpen) || calls.Load() != 4+5 {
			t.Errorf("%v after %d calls", err, calls.Load())
		}
	})
}

// A minute sees no more requests, nor tokens, than are allowed.
func TestLimit(t *testing.T) {
	t.Parallel()
	request := llm.Request{Prompt: "short", MaxTokens: 100}
	for _, o := range []llm.LimitOptions{{RequestsPerMinute: 4}, {TokensPerMinute: 4 * (request.Tokens() + 100)}} {
		synctest.Test(t, func(t *testing.T) {
			var calls atomic.Int64
			g := llm.Limit(answering(llm.Price{}, &calls, func(context.Context, int64) (llm.Answer, error) { return llm.Answer{Text: "yes"}, nil }), o)
			start := time.Now()
			for range 9 {
				if _, err := g.Generate(t.Context(), request); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(start); took < 2*time.Minute || took > 3*time.Minute {
				t.Errorf("%+v: 9 calls in %s", o, took)
			}
		})
	}
}
