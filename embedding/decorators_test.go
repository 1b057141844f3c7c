package embedding_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/llmemory/llmemory/embedding"
)

// fake answers with vectors that name their text, or with what script returns for a call.
type fake struct {
	mu     sync.Mutex
	calls  [][]string
	script func(call int, texts []string) error // call counts from 1
	delay  time.Duration
}

func (f *fake) Model() embedding.ModelInfo {
	return embedding.ModelInfo{Provider: "fake", Model: "m", Dimensions: 2}
}

func (f *fake) CountTokens(_ embedding.Role, text string) int { return len(text) }

func (f *fake) Embed(ctx context.Context, _ embedding.Role, texts []string) ([][]float32, error) {
	f.mu.Lock()
	f.calls = append(f.calls, slices.Clone(texts))
	call := len(f.calls)
	f.mu.Unlock()
	if f.delay > 0 {
		select {
		case <-time.After(f.delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if f.script != nil {
		if err := f.script(call, texts); err != nil {
			return nil, err
		}
	}
	out := make([][]float32, len(texts))
	for i, text := range texts {
		out[i] = vectorOf(text)
	}
	return out, nil
}

func vectorOf(text string) []float32 {
	var n uint32
	for _, c := range []byte(text) {
		n = (n*31 + uint32(c)) % (1 << 24)
	}
	return []float32{1, float32(n)}
}

func kind(k embedding.Kind) error { return &embedding.Error{Kind: k, Provider: "fake"} }

func kindOf(err error) embedding.Kind {
	var e *embedding.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("text %03d", i)
	}
	return out
}

func checkVectors(t *testing.T, texts []string, vectors [][]float32) {
	t.Helper()
	if len(vectors) != len(texts) {
		t.Fatalf("%d vectors for %d texts", len(vectors), len(texts))
	}
	for i, text := range texts {
		if !slices.Equal(vectors[i], vectorOf(text)) {
			t.Errorf("vector %d is not of %q", i, text)
		}
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		texts []string
		o     embedding.BatchOptions
		want  []int // sizes of the calls
	}{
		{nil, embedding.BatchOptions{}, nil},
		{names(1), embedding.BatchOptions{}, []int{1}},
		{names(130), embedding.BatchOptions{}, []int{64, 64, 2}},
		{names(7), embedding.BatchOptions{MaxInputs: 3}, []int{3, 3, 1}},
		{names(6), embedding.BatchOptions{MaxInputs: 3}, []int{3, 3}},
		{names(5), embedding.BatchOptions{MaxTokens: 16}, []int{2, 2, 1}}, // 8 tokens each
		{names(5), embedding.BatchOptions{MaxTokens: 15}, []int{1, 1, 1, 1, 1}},
		{[]string{"a", strings.Repeat("b", 100), "c", "d"}, embedding.BatchOptions{MaxTokens: 10}, []int{1, 1, 2}},
	} {
		for concurrency := range 4 {
			tt.o.Concurrency = concurrency
			f := &fake{}
			vectors, err := embedding.Batch(f, tt.o).Embed(t.Context(), embedding.Passage, tt.texts)
			if err != nil {
				t.Fatal(err)
			}
			checkVectors(t, tt.texts, vectors)
			var sizes []int
			for _, call := range f.calls {
				sizes = append(sizes, len(call))
			}
			if concurrency > 1 {
				slices.SortFunc(sizes, func(a, b int) int { return b - a })
				slices.SortFunc(tt.want, func(a, b int) int { return b - a })
			}
			if !slices.Equal(sizes, tt.want) {
				t.Errorf("%d texts, %+v: calls of %v, want %v", len(tt.texts), tt.o, sizes, tt.want)
			}
		}
	}
}

func TestBatchFails(t *testing.T) {
	t.Parallel()
	f := &fake{script: func(call int, _ []string) error {
		if call == 3 {
			return kind(embedding.Unauthorized)
		}
		return nil
	}}
	vectors, err := embedding.Batch(f, embedding.BatchOptions{MaxInputs: 1}).Embed(t.Context(), embedding.Passage, names(9))
	if vectors != nil || kindOf(err) != embedding.Unauthorized || len(f.calls) != 3 {
		t.Errorf("%d vectors, %v, %d calls", len(vectors), err, len(f.calls))
	}
	short := embedding.Func{Call: func(context.Context, embedding.Role, []string) ([][]float32, error) { return [][]float32{{1}}, nil }}
	if _, err := embedding.Batch(short, embedding.BatchOptions{}).Embed(t.Context(), embedding.Passage, names(2)); kindOf(err) != embedding.BadAnswer {
		t.Errorf("a vector too few: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if vectors, err := embedding.Batch(&fake{}, embedding.BatchOptions{}).Embed(ctx, embedding.Passage, names(2)); vectors != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v, %v", vectors, err)
	}
}

func TestBatchConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for concurrency, want := range map[int]time.Duration{1: 8 * time.Second, 4: 2 * time.Second, 100: time.Second} {
			f := &fake{delay: time.Second}
			start := time.Now()
			e := embedding.Batch(f, embedding.BatchOptions{MaxInputs: 2, Concurrency: concurrency})
			vectors, err := e.Embed(t.Context(), embedding.Passage, names(16))
			if err != nil {
				t.Fatal(err)
			}
			checkVectors(t, names(16), vectors)
			if took := time.Since(start); took != want {
				t.Errorf("8 calls of a second, %d at a time: %s, want %s", concurrency, took, want)
			}
		}
	})
}

// Wherever one text at fault lies among any number, it is found within the bound that is promised, and nothing else is harmed.
func TestEachFindsTheFault(t *testing.T) {
	t.Parallel()
	sizes := []int{64, 65, 100}
	for n := range 40 {
		sizes = append(sizes, n+1)
	}
	for _, n := range sizes {
		texts := names(n)
		for at := range n {
			for _, k := range []embedding.Kind{embedding.InvalidInput, embedding.BadAnswer} {
				f := &fake{script: func(_ int, call []string) error {
					if slices.Contains(call, texts[at]) {
						return kind(k)
					}
					return nil
				}}
				results := embedding.EmbedEach(t.Context(), f, embedding.Passage, texts)
				for i, r := range results {
					if i == at {
						if r.Vector != nil || kindOf(r.Err) != k {
							t.Fatalf("n %d, fault at %d: it gets %v, %v", n, at, r.Vector, r.Err)
						}
					} else if r.Err != nil || !slices.Equal(r.Vector, vectorOf(texts[i])) {
						t.Fatalf("n %d, fault at %d: text %d gets %v, %v", n, at, i, r.Vector, r.Err)
					}
				}
				if extra := len(f.calls) - 1; float64(extra) > 2*math.Log2(float64(n))+1 {
					t.Errorf("n %d, fault at %d: %d further calls", n, at, extra)
				}
			}
		}
	}
}

func TestEachFindsManyFaults(t *testing.T) {
	t.Parallel()
	texts := names(64)
	for _, every := range []int{2, 3, 7, 31} {
		faults := 0
		f := &fake{script: func(_ int, call []string) error {
			for i, text := range texts {
				if i%every == 0 && slices.Contains(call, text) {
					return kind(embedding.InvalidInput)
				}
			}
			return nil
		}}
		for i, r := range embedding.EmbedEach(t.Context(), f, embedding.Passage, texts) {
			if bad := i%every == 0; bad != (r.Err != nil) || bad != embedding.InputFault(r.Err) {
				t.Errorf("every %d: text %d: %v", every, i, r.Err)
			} else if bad {
				faults++
			}
		}
		if extra := len(f.calls) - 1; float64(extra) > float64(faults)*(2*math.Log2(64)+1) {
			t.Errorf("every %d: %d further calls for %d faults", every, extra, faults)
		}
	}
}

// A server that takes few texts at a time gets them few at a time.
func TestEachWithSmallServers(t *testing.T) {
	t.Parallel()
	f := &fake{script: func(_ int, call []string) error {
		if len(call) > 10 {
			return kind(embedding.InvalidInput)
		}
		return nil
	}}
	results := embedding.EmbedEach(t.Context(), embedding.Batch(f, embedding.BatchOptions{}), embedding.Passage, names(128))
	for i, r := range results {
		if r.Err != nil {
			t.Errorf("text %d: %v", i, r.Err)
		}
	}
	if len(f.calls) != 30 {
		t.Errorf("%d calls, want 16 and 14 that are refused", len(f.calls))
	}
}

// When everything is refused, the texts are not to blame, and that is found out soon.
func TestEachBlamesTheSettings(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 64; n++ {
		for _, k := range []embedding.Kind{embedding.InvalidInput, embedding.BadAnswer} {
			f := &fake{script: func(int, []string) error { return &embedding.Error{Kind: k, Status: 400, Provider: "fake"} }}
			for i, r := range embedding.EmbedEach(t.Context(), f, embedding.Passage, names(n)) {
				if e := (*embedding.Error)(nil); !errors.As(r.Err, &e) || e.Kind != embedding.Refused || e.Status != 400 || e.Provider != "fake" ||
					embedding.InputFault(r.Err) || embedding.Temporary(r.Err) {
					t.Fatalf("n %d: text %d: %v", n, i, r.Err)
				}
			}
			if extra := len(f.calls) - 1; float64(extra) > 2*math.Log2(float64(n))+1 {
				t.Errorf("n %d: %d further calls", n, extra)
			}
		}
	}
	// An answer of zeros comes without an error of the embedder.
	zeros := embedding.Func{Call: func(_ context.Context, _ embedding.Role, texts []string) ([][]float32, error) {
		return slices.Repeat([][]float32{{0, 0}}, len(texts)), nil
	}}
	if r := embedding.EmbedEach(t.Context(), zeros, embedding.Passage, names(5)); kindOf(r[4].Err) != embedding.Refused {
		t.Errorf("zeros: %v", r[4].Err)
	}
}

// All texts at fault, but the provider is not.
func TestEachBlamesAllTexts(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 8} {
		f := &fake{script: func(_ int, call []string) error {
			if strings.HasPrefix(call[0], "text ") {
				return kind(embedding.InvalidInput)
			}
			return nil
		}}
		for i, r := range embedding.EmbedEach(t.Context(), f, embedding.Passage, names(n)) {
			if !embedding.InputFault(r.Err) {
				t.Errorf("n %d: text %d: %v", n, i, r.Err)
			}
		}
		if len(f.calls) != 2*n {
			t.Errorf("n %d: %d calls, want %d and a harmless one", n, len(f.calls), 2*n-1)
		}
	}
}

// What has been paid for is kept when the provider goes away, and nobody is asked again.
func TestEachKeepsWhatCame(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{kind(embedding.Unavailable), kind(embedding.RateLimited), kind(embedding.Unauthorized), io.ErrUnexpectedEOF} {
		f := &fake{script: func(call int, _ []string) error {
			if call >= 3 {
				return failure
			}
			return nil
		}}
		var order []int
		results := make([]embedding.Result, 10)
		for first, part := range embedding.Each(t.Context(), embedding.Batch(f, embedding.BatchOptions{MaxInputs: 2}), embedding.Passage, names(10)) {
			order = append(order, first, len(part))
			copy(results[first:], part)
		}
		if !slices.Equal(order, []int{0, 2, 2, 2, 4, 6}) {
			t.Errorf("%v: yields %v", failure, order)
		}
		for i, r := range results {
			if i < 4 && (r.Err != nil || !slices.Equal(r.Vector, vectorOf(names(10)[i]))) || i >= 4 && (r.Vector != nil || !errors.Is(r.Err, failure)) {
				t.Errorf("%v: text %d: %v, %v", failure, i, r.Vector, r.Err)
			}
		}
		if len(f.calls) != 3 {
			t.Errorf("%v: %d calls", failure, len(f.calls))
		}
	}
}

// A text whose call has failed for itself is not convicted if the provider goes away before it has shown that it works at all.
func TestEachDoesNotConvictTooSoon(t *testing.T) {
	t.Parallel()
	f := &fake{script: func(call int, _ []string) error {
		if call <= 2 { // the pair, and its first half
			return kind(embedding.BadAnswer)
		}
		return kind(embedding.Unavailable)
	}}
	for i, r := range embedding.EmbedEach(t.Context(), f, embedding.Passage, names(2)) {
		if kindOf(r.Err) != embedding.Unavailable {
			t.Errorf("text %d: %v", i, r.Err)
		}
	}
}

func TestEachEndsEarly(t *testing.T) {
	t.Parallel()
	f := &fake{}
	e := embedding.Batch(f, embedding.BatchOptions{MaxInputs: 1})
	for first := range embedding.Each(t.Context(), e, embedding.Passage, names(50)) {
		if first == 1 {
			break
		}
	}
	if len(f.calls) > 3 { // the third may be on its way
		t.Errorf("%d calls", len(f.calls))
	}
	func() {
		defer func() {
			if recover() != "stop" {
				t.Error("the panic is lost")
			}
		}()
		for range embedding.Each(t.Context(), e, embedding.Passage, names(50)) {
			panic("stop")
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := 0
	for _, results := range embedding.Each(ctx, e, embedding.Passage, names(50)) {
		cancel()
		for _, r := range results {
			if got++; got > 2 && !errors.Is(r.Err, context.Canceled) {
				t.Errorf("after cancelling: %v", r.Err)
			}
		}
	}
	if got != 50 {
		t.Errorf("%d results of 50", got)
	}
	for range embedding.Each(t.Context(), e, embedding.Passage, nil) {
		t.Error("results for no texts")
	}
}

func TestEachConcurrently(t *testing.T) {
	t.Parallel()
	texts := names(300)
	f := &fake{script: func(_ int, call []string) error {
		if slices.Contains(call, texts[17]) || slices.Contains(call, texts[203]) {
			return kind(embedding.InvalidInput)
		}
		return nil
	}}
	e := embedding.Batch(f, embedding.BatchOptions{MaxInputs: 16, Concurrency: 8})
	seen := map[int]int{}
	for first, results := range embedding.Each(t.Context(), e, embedding.Passage, texts) {
		for i, r := range results {
			at := first + i
			seen[at]++
			if bad := at == 17 || at == 203; bad != (r.Err != nil) || !bad && !slices.Equal(r.Vector, vectorOf(texts[at])) {
				t.Errorf("text %d: %v", at, r.Err)
			}
		}
	}
	for i := range texts {
		if seen[i] != 1 {
			t.Errorf("text %d has %d results", i, seen[i])
		}
	}
}

// Vectors of another length than those before are no vectors of this model.
func TestEachHoldsTheDimensions(t *testing.T) {
	t.Parallel()
	e := embedding.Batch(embedding.Func{Call: func(_ context.Context, _ embedding.Role, texts []string) ([][]float32, error) {
		if texts[0] == "odd" {
			return [][]float32{{1, 2, 3}}, nil
		}
		return [][]float32{{1, 2}}, nil
	}}, embedding.BatchOptions{MaxInputs: 1})
	r := embedding.EmbedEach(t.Context(), e, embedding.Passage, []string{"a", "odd", "b"})
	if r[0].Err != nil || kindOf(r[1].Err) != embedding.BadAnswer || r[2].Err != nil {
		t.Errorf("%v", r)
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limited := &embedding.Error{Kind: embedding.RateLimited, RetryAfter: 20 * time.Second}
		minutes := &embedding.Error{Kind: embedding.RateLimited, RetryAfter: 5 * time.Minute}
		hours := &embedding.Error{Kind: embedding.RateLimited, RetryAfter: 20 * time.Hour}
		for _, tt := range []struct {
			name     string
			failures []error
			o        embedding.RetryOptions
			calls    int
			want     error // nil for success
			min, max time.Duration
		}{
			{"fine", nil, embedding.RetryOptions{}, 1, nil, 0, 0},
			{"once", []error{kind(embedding.Unavailable)}, embedding.RetryOptions{}, 2, nil, 0, 500 * time.Millisecond},
			{"for ever", slices.Repeat([]error{kind(embedding.Unavailable)}, 9), embedding.RetryOptions{}, 4, kind(embedding.Unavailable), 0, 3500 * time.Millisecond},
			{"bounded", slices.Repeat([]error{kind(embedding.Unavailable)}, 99), embedding.RetryOptions{Attempts: 50, MaxDelay: time.Second}, 50, kind(embedding.Unavailable), 0, 49 * time.Second},
			{"told when", []error{limited}, embedding.RetryOptions{}, 2, nil, 20 * time.Second, 22 * time.Second},
			{"told hours", []error{hours}, embedding.RetryOptions{}, 1, hours, 0, 0},
			{"told the most", []error{minutes}, embedding.RetryOptions{}, 2, nil, 5 * time.Minute, 330 * time.Second},
			{"poison", []error{kind(embedding.InvalidInput)}, embedding.RetryOptions{}, 1, kind(embedding.InvalidInput), 0, 0},
			{"wrong key", []error{kind(embedding.Unauthorized)}, embedding.RetryOptions{}, 1, kind(embedding.Unauthorized), 0, 0},
			{"unknown", []error{io.ErrUnexpectedEOF}, embedding.RetryOptions{}, 1, io.ErrUnexpectedEOF, 0, 0},
			{"open", []error{&embedding.Error{Kind: embedding.Unavailable, Err: embedding.ErrBreakerOpen}}, embedding.RetryOptions{}, 1, embedding.ErrBreakerOpen, 0, 0},
		} {
			f := &fake{script: func(call int, _ []string) error {
				if call <= len(tt.failures) {
					return tt.failures[call-1]
				}
				return nil
			}}
			start := time.Now()
			_, err := embedding.Retry(f, tt.o).Embed(t.Context(), embedding.Passage, names(1))
			took := time.Since(start)
			if kindOf(err) != kindOf(tt.want) && !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) || len(f.calls) != tt.calls || took < tt.min || took > tt.max {
				t.Errorf("%s: %v after %d calls and %s", tt.name, err, len(f.calls), took)
			}
		}
	})
}

// Waits differ, and the average is half the bound.
func TestRetryJitter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sum time.Duration
		seen := map[time.Duration]bool{}
		for range 500 {
			f := &fake{script: func(call int, _ []string) error {
				if call == 1 {
					return kind(embedding.Unavailable)
				}
				return nil
			}}
			start := time.Now()
			if _, err := embedding.Retry(f, embedding.RetryOptions{BaseDelay: time.Second}).Embed(t.Context(), embedding.Passage, names(1)); err != nil {
				t.Fatal(err)
			}
			sum += time.Since(start)
			seen[time.Since(start)] = true
		}
		if mean := sum / 500; mean < 400*time.Millisecond || mean > 600*time.Millisecond || len(seen) < 400 {
			t.Errorf("mean wait %s, %d different ones", mean, len(seen))
		}
	})
}

func TestRetryKnowsTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{script: func(int, []string) error {
			return &embedding.Error{Kind: embedding.RateLimited, RetryAfter: time.Minute}
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		_, err := embedding.Retry(f, embedding.RetryOptions{}).Embed(ctx, embedding.Query, names(1))
		if kindOf(err) != embedding.RateLimited || time.Since(start) != 0 {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start = time.Now()
		_, err = embedding.Retry(f, embedding.RetryOptions{}).Embed(ctx, embedding.Query, names(1))
		if !errors.Is(err, context.Canceled) || kindOf(err) != embedding.RateLimited || time.Since(start) != time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := atomic.Bool{}
		down.Store(true)
		f := &fake{script: func(int, []string) error {
			if down.Load() {
				return kind(embedding.Unavailable)
			}
			return nil
		}}
		e := embedding.Breaker(f, embedding.BreakerOptions{})
		call := func() error {
			_, err := e.Embed(t.Context(), embedding.Passage, names(1))
			return err
		}
		expect := func(when string, open bool, calls int) {
			t.Helper()
			err := call()
			if errors.Is(err, embedding.ErrBreakerOpen) != open || len(f.calls) != calls {
				t.Errorf("%s: %v after %d calls, want %d", when, err, len(f.calls), calls)
			}
			if open && (kindOf(err) != embedding.Unavailable || !embedding.Temporary(err) || embedding.RetryAfter(err) <= 0) {
				t.Errorf("%s: %v, kind %q, retry after %s", when, err, kindOf(err), embedding.RetryAfter(err))
			}
		}
		for i := range 5 {
			expect("down", false, i+1)
		}
		expect("open", true, 5)
		if got := embedding.RetryAfter(call()); got != 30*time.Second {
			t.Errorf("retry after %s", got)
		}
		time.Sleep(29 * time.Second)
		expect("still open", true, 5)
		time.Sleep(time.Second)
		expect("half open", false, 6)
		expect("open again", true, 6)
		if got := embedding.RetryAfter(call()); got != time.Minute {
			t.Errorf("retry after %s", got)
		}
		for range 10 { // never longer than the longest
			time.Sleep(5 * time.Minute)
			call()
		}
		if got := embedding.RetryAfter(call()); got != 5*time.Minute {
			t.Errorf("retry after %s", got)
		}
		time.Sleep(5 * time.Minute)
		down.Store(false)
		n := len(f.calls)
		expect("up", false, n+1)
		expect("closed", false, n+2)
		down.Store(true)
		for i := range 5 {
			expect("down again", false, n+3+i)
		}
		expect("open with the first cooldown", true, n+7)
		if got := embedding.RetryAfter(call()); got != 30*time.Second {
			t.Errorf("retry after %s", got)
		}
	})
}

func TestBreakerCountsInARow(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]error{"success": nil, "invalid": kind(embedding.InvalidInput), "bad answer": kind(embedding.BadAnswer)} {
		f := &fake{script: func(call int, _ []string) error {
			if call%5 == 0 {
				return other
			}
			return kind(embedding.Unavailable)
		}}
		e := embedding.Breaker(f, embedding.BreakerOptions{})
		for range 50 {
			if _, err := e.Embed(t.Context(), embedding.Passage, names(1)); errors.Is(err, embedding.ErrBreakerOpen) {
				t.Fatalf("%s: open after four failures in a row", name)
			}
		}
	}
}

// While one call tries whether the provider is back, nobody else does.
func TestBreakerLetsOneThrough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{delay: 2 * time.Second, script: func(call int, _ []string) error {
			if call <= 5 {
				return kind(embedding.Unavailable)
			}
			return nil
		}}
		e := embedding.Breaker(f, embedding.BreakerOptions{Cooldown: 10 * time.Second})
		for range 5 {
			e.Embed(t.Context(), embedding.Passage, names(1))
		}
		time.Sleep(10 * time.Second)
		var through, refused atomic.Int64
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := e.Embed(t.Context(), embedding.Passage, names(1)); err == nil {
					through.Add(1)
				} else if errors.Is(err, embedding.ErrBreakerOpen) {
					refused.Add(1)
				}
			})
		}
		all.Wait()
		if through.Load() != 1 || refused.Load() != 19 {
			t.Errorf("%d through, %d refused", through.Load(), refused.Load())
		}
	})
}

func TestBreakerAndContexts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{delay: time.Hour}
		e := embedding.Breaker(f, embedding.BreakerOptions{})
		for range 20 { // impatient callers harm nobody
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			if _, err := e.Embed(ctx, embedding.Query, names(1)); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			cancel()
			ctx, cancel = context.WithCancel(t.Context())
			time.AfterFunc(time.Minute, cancel)
			if _, err := e.Embed(ctx, embedding.Query, names(1)); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		for range 5 { // but a provider that hangs is found out
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			if _, err := e.Embed(ctx, embedding.Query, names(1)); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			cancel()
		}
		if _, err := e.Embed(t.Context(), embedding.Query, names(1)); !errors.Is(err, embedding.ErrBreakerOpen) {
			t.Errorf("five hangs in a row: %v", err)
		}
		time.Sleep(30 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := e.Embed(ctx, embedding.Query, names(1)); !errors.Is(err, context.Canceled) {
			t.Errorf("probe that is cancelled: %v", err)
		}
		f.delay = 0
		if _, err := e.Embed(t.Context(), embedding.Query, names(1)); err != nil {
			t.Errorf("after a cancelled probe: %v", err)
		}
	})
}

func TestBreakerSurvivesAPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{script: func(call int, _ []string) error {
			if call == 6 {
				panic("bug")
			}
			if call <= 5 {
				return &embedding.Error{Kind: embedding.RateLimited, RetryAfter: time.Minute}
			}
			return nil
		}}
		e := embedding.Breaker(f, embedding.BreakerOptions{})
		for range 5 {
			e.Embed(t.Context(), embedding.Passage, names(1))
		}
		_, err := e.Embed(t.Context(), embedding.Passage, names(1))
		if got := embedding.RetryAfter(err); got != time.Minute {
			t.Errorf("retry after %s where the provider asked for a minute", got)
		}
		time.Sleep(time.Minute)
		func() {
			defer func() { _ = recover() }()
			e.Embed(t.Context(), embedding.Passage, names(1))
		}()
		if _, err := e.Embed(t.Context(), embedding.Passage, names(1)); err != nil {
			t.Errorf("after a panic: %v", err)
		}
	})
}

// In no minute there is more than the limit, and not much less.
func TestLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			o        embedding.LimitOptions
			texts    []string
			role     embedding.Role
			calls    int
			min, max time.Duration
		}{
			{embedding.LimitOptions{}, names(100), embedding.Passage, 1000, 0, 0},
			{embedding.LimitOptions{RequestsPerMinute: 60}, names(1), embedding.Query, 180, 2 * time.Minute, 2 * time.Minute},
			{embedding.LimitOptions{RequestsPerMinute: 60}, names(1), embedding.Passage, 180, 3 * time.Minute, 3 * time.Minute}, // 54 a minute
			{embedding.LimitOptions{TokensPerMinute: 1000}, names(10), embedding.Query, 36, 2 * time.Minute, 2 * time.Minute},   // 80 tokens a call
			{embedding.LimitOptions{TokensPerMinute: 100}, names(100), embedding.Passage, 3, 2 * time.Minute, 2 * time.Minute},  // each over the limit
			{embedding.LimitOptions{RequestsPerMinute: 2, TokensPerMinute: 1000}, names(1), embedding.Query, 5, 2 * time.Minute, 2 * time.Minute},
		} {
			f := &fake{}
			e := embedding.Limit(f, tt.o)
			start := time.Now()
			var when []time.Time
			for range tt.calls {
				if _, err := e.Embed(t.Context(), tt.role, tt.texts); err != nil {
					t.Fatal(err)
				}
				when = append(when, time.Now())
			}
			if took := time.Since(start); took < tt.min || took > tt.max {
				t.Errorf("%+v: %d calls in %s", tt.o, tt.calls, took)
			}
			for i := range when {
				n := 0
				for _, other := range when[:i+1] {
					if when[i].Sub(other) < time.Minute {
						n++
					}
				}
				tokens := 8 * len(tt.texts) * n
				if r := tt.o.RequestsPerMinute; r > 0 && n > r || tt.o.TokensPerMinute > 0 && n > 1 && tokens > tt.o.TokensPerMinute {
					t.Fatalf("%+v: %d calls and %d tokens in a minute", tt.o, n, tokens)
				}
			}
		}
	})
}

func TestLimitLetsQueriesPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := embedding.Limit(&fake{}, embedding.LimitOptions{RequestsPerMinute: 100})
		var all sync.WaitGroup
		for range 300 {
			all.Go(func() {
				if _, err := e.Embed(t.Context(), embedding.Passage, names(1)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		for i := range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			if _, err := e.Embed(ctx, embedding.Query, names(1)); err != nil || time.Since(start) != 0 {
				t.Errorf("query %d beside an import: %v after %s", i, err, time.Since(start))
			}
			cancel()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := e.Embed(ctx, embedding.Query, names(1))
		if kindOf(err) != embedding.RateLimited || embedding.RetryAfter(err) != time.Minute || time.Since(start) != 0 {
			t.Errorf("no room left: %v, retry after %s", err, embedding.RetryAfter(err))
		}
		all.Wait()
	})
}

func TestLimitAndContexts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		e := embedding.Limit(f, embedding.LimitOptions{RequestsPerMinute: 1})
		if _, err := e.Embed(t.Context(), embedding.Passage, names(1)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		var all sync.WaitGroup
		for range 3 { // one waits for the time, two for their turn
			all.Go(func() {
				if _, err := e.Embed(ctx, embedding.Passage, names(1)); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(f.calls) != 1 {
			t.Errorf("%d calls", len(f.calls))
		}
		if _, err := e.Embed(t.Context(), embedding.Passage, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestReuse(t *testing.T) {
	t.Parallel()
	f := &fake{}
	cache := embedding.NewLRU(3)
	ask := func(scope string, role embedding.Role, calls int, texts ...string) {
		t.Helper()
		vectors, err := embedding.Reuse(f, cache, scope).Embed(t.Context(), role, texts)
		if err != nil {
			t.Fatal(err)
		}
		checkVectors(t, texts, vectors)
		if len(f.calls) != calls {
			t.Errorf("%d calls, want %d: %v", len(f.calls), calls, f.calls)
		}
		for _, v := range vectors { // what the caller does with them is its own affair
			v[0] = -1
		}
	}
	ask("a", embedding.Query, 1, "x")
	ask("a", embedding.Query, 1, "x")
	ask("b", embedding.Query, 2, "x") // another owner's is not there
	ask("a", embedding.Passage, 3, "x")
	ask("a", embedding.Query, 4, "y", "x", "y", "x") // "y" only, once
	if !slices.Equal(f.calls[3], []string{"y"}) {
		t.Errorf("asked for %v", f.calls[3])
	}
	ask("a", embedding.Query, 4, "x", "y")
	ask("b", embedding.Query, 5, "x") // forgotten
	ask("", embedding.Query, 5)
	// Scope and text do not run into each other.
	ask("a2:", embedding.Query, 6, "z")
	ask("a", embedding.Query, 7, "2:z")

	off := embedding.NewLRU(0)
	for range 2 {
		if _, err := embedding.Reuse(f, off, "a").Embed(t.Context(), embedding.Query, []string{"x"}); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.calls) != 9 {
		t.Errorf("%d calls with a cache of nothing", len(f.calls))
	}
	f.script = func(int, []string) error { return kind(embedding.Unavailable) }
	if _, err := embedding.Reuse(f, cache, "a").Embed(t.Context(), embedding.Query, []string{"2:z", "new"}); kindOf(err) != embedding.Unavailable {
		t.Error(err)
	}
}

func TestCountTokens(t *testing.T) {
	t.Parallel()
	plain := embedding.Func{Info: embedding.ModelInfo{QueryPrefix: "query: "}}
	if got := embedding.CountTokens(plain, embedding.Passage, "hello embeddings"); got != 5 { // hello em ##bed ##ding ##s
		t.Errorf("%d word pieces, want 5", got)
	}
	q, p := embedding.CountTokens(plain, embedding.Query, "hello"), embedding.CountTokens(plain, embedding.Passage, "hello")
	if q != 3 || p != 1 {
		t.Errorf("%d and %d word pieces, want 3 with the prefix and 1 without", q, p)
	}
	if got := embedding.CountTokens(embedding.Recommended(&fake{}, nil), embedding.Query, "hello"); got != 5 {
		t.Errorf("the embedder's own count is lost in its decorators: %d", got)
	}
}

// Everything together: an outage is sat out, a poisoned text found, a bad vector kept out, all within one list.
func TestRecommended(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		texts := names(200)
		f := &fake{script: func(call int, sent []string) error {
			switch {
			case call == 2:
				return &embedding.Error{Kind: embedding.RateLimited, RetryAfter: 10 * time.Second}
			case call == 4 || call == 5:
				return kind(embedding.Unavailable)
			case slices.Contains(sent, texts[100]):
				return kind(embedding.InvalidInput)
			}
			return nil
		}}
		start := time.Now()
		results := embedding.EmbedEach(t.Context(), embedding.Recommended(f, nil), embedding.Passage, texts)
		for i, r := range results {
			if (r.Err != nil) != (i == 100) {
				t.Errorf("text %d: %v", i, r.Err)
			}
		}
		if took := time.Since(start); took < 10*time.Second || took > 13*time.Second {
			t.Errorf("took %s", took)
		}
		// 4 parts, 3 that failed in time, and the search for the fault.
		if extra := len(f.calls) - 4 - 3; extra > 13 {
			t.Errorf("%d calls for the fault", extra)
		}
		zeros := embedding.Func{Call: func(_ context.Context, _ embedding.Role, texts []string) ([][]float32, error) {
			return make([][]float32, len(texts)), nil
		}}
		if _, err := embedding.Recommended(zeros, nil).Embed(t.Context(), embedding.Query, names(1)); kindOf(err) != embedding.BadAnswer {
			t.Errorf("null: %v", err)
		}
	})
}

// While the breaker is open, nobody is asked, and Each gives back all texts as they are.
func TestRecommendedDuringAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{script: func(int, []string) error { return kind(embedding.Unavailable) }}
		e := embedding.Recommended(f, nil)
		for range 10 {
			for i, r := range embedding.EmbedEach(t.Context(), e, embedding.Passage, names(100)) {
				if !embedding.Temporary(r.Err) || embedding.InputFault(r.Err) {
					t.Fatalf("text %d: %v", i, r.Err)
				}
			}
		}
		if len(f.calls) != 5 {
			t.Errorf("%d calls in an outage", len(f.calls))
		}
	})
}
