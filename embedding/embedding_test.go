package embedding_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"testing"
	"time"

	"github.com/llmemory/llmemory/embedding"
)

func TestIdentity(t *testing.T) {
	t.Parallel()
	base := embedding.ModelInfo{Provider: "openai", Model: "m", Dimensions: 8, Normalized: true, QueryPrefix: "q: ", PassagePrefix: "p: "}
	// Stored beside vectors: must never change.
	if got, want := base.Identity(), "openai/m/8/da5882d76bb8"; got != want {
		t.Errorf("Identity() = %q, want %q", got, want)
	}
	same := base
	same.MaxTokens, same.PricePerMillionTokens = 512, 0.5
	if same.Identity() != base.Identity() || !same.Same(base) {
		t.Error("limit or price changes the identity")
	}
	for name, change := range map[string]func(*embedding.ModelInfo){
		"provider":       func(m *embedding.ModelInfo) { m.Provider = "local" },
		"model":          func(m *embedding.ModelInfo) { m.Model = "m2" },
		"dimensions":     func(m *embedding.ModelInfo) { m.Dimensions = 9 },
		"normalisation":  func(m *embedding.ModelInfo) { m.Normalized = false },
		"query prefix":   func(m *embedding.ModelInfo) { m.QueryPrefix = "" },
		"passage prefix": func(m *embedding.ModelInfo) { m.PassagePrefix = "p:" },
		"border":         func(m *embedding.ModelInfo) { m.QueryPrefix, m.PassagePrefix = "q: p: ", "" },
	} {
		other := base
		change(&other)
		if other.Identity() == base.Identity() || other.Same(base) {
			t.Errorf("%s does not change the identity", name)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	tests := []struct {
		name    string
		vectors [][]float32
		n, dim  int
		want    string // "" for none
	}{
		{"none", nil, 0, 0, ""},
		{"good", [][]float32{{1, 0}, {0, -1}}, 2, 2, ""},
		{"good of unknown dimension", [][]float32{{1, 0}, {0, -1}}, 2, 0, ""},
		{"tiny and huge", [][]float32{{math.SmallestNonzeroFloat32, 0}, {math.MaxFloat32, math.MaxFloat32}}, 2, 2, ""},
		{"too few", [][]float32{{1}}, 2, 1, "1 vectors for 2 texts"},
		{"too many", [][]float32{{1}, {1}}, 1, 1, "2 vectors for 1 texts"},
		{"null", [][]float32{{1}, nil}, 2, 1, "vector 1 is empty"},
		{"null first", [][]float32{nil, {1}}, 2, 0, "vector 0 is empty"},
		{"short", [][]float32{{1, 2}, {1}}, 2, 0, "vector 1 has 1 dimensions, not 2"},
		{"long", [][]float32{{1, 2, 3}}, 1, 2, "vector 0 has 3 dimensions, not 2"},
		{"NaN", [][]float32{{1, 2}, {1, nan}}, 2, 2, "vector 1 has NaN at 1"},
		{"infinity", [][]float32{{inf, 2}}, 1, 2, "vector 0 has -Inf at 0"},
		{"zero", [][]float32{{0, 0}}, 1, 2, "vector 0 is all zero"},
		{"negative zero", [][]float32{{1, 1}, {0, float32(math.Copysign(0, -1))}}, 2, 2, "vector 1 is all zero"},
	}
	for _, tt := range tests {
		err := embedding.Check(tt.vectors, tt.n, tt.dim)
		if got := fmt.Sprint(err); err == nil && tt.want != "" || err != nil && got != tt.want {
			t.Errorf("%s: Check = %v, want %q", tt.name, err, tt.want)
		}
		if ve := (*embedding.VectorError)(nil); err != nil && !errors.As(err, &ve) {
			t.Errorf("%s: Check returns a %T", tt.name, err)
		}
		e := embedding.Verify(embedding.Func{
			Info: embedding.ModelInfo{Provider: "test", Dimensions: tt.dim},
			Call: func(context.Context, embedding.Role, []string) ([][]float32, error) { return tt.vectors, nil },
		})
		vectors, err := e.Embed(t.Context(), embedding.Passage, make([]string, tt.n))
		if ee := (*embedding.Error)(nil); tt.want == "" && err != nil ||
			tt.want != "" && (vectors != nil || !errors.As(err, &ee) || ee.Kind != embedding.BadAnswer || ee.Provider != "test") {
			t.Errorf("%s: Verify: %v, %v", tt.name, vectors, err)
		}
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	calls := 0
	e := embedding.Func{Call: func(_ context.Context, _ embedding.Role, texts []string) ([][]float32, error) {
		calls++
		return [][]float32{{1, 2, 3}}, nil
	}}
	if info, err := embedding.Probe(t.Context(), e); err != nil || info.Dimensions != 3 || calls != 1 {
		t.Errorf("Probe = %+v, %v after %d calls", info, err, calls)
	}
	e.Info.Dimensions = 7
	if info, err := embedding.Probe(t.Context(), e); err != nil || info.Dimensions != 7 || calls != 1 {
		t.Errorf("Probe of known dimensions = %+v, %v after %d calls", info, err, calls)
	}
	e.Info.Dimensions = 0
	e.Call = func(context.Context, embedding.Role, []string) ([][]float32, error) { return [][]float32{{0}}, nil }
	if _, err := embedding.Probe(t.Context(), e); err == nil {
		t.Error("Probe takes a vector of zeros")
	}
	e.Call = func(context.Context, embedding.Role, []string) ([][]float32, error) { return nil, io.ErrUnexpectedEOF }
	if _, err := embedding.Probe(t.Context(), e); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Probe = %v", err)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err              error
		temporary, input bool
		after            time.Duration
		text             string
	}{
		{&embedding.Error{Kind: embedding.RateLimited, Provider: "openai", Status: 429, RetryAfter: 1500 * time.Millisecond, Message: "slow down"},
			true, false, 1500 * time.Millisecond, "openai: rate limited (status 429, retry after 1.5s): slow down"},
		{&embedding.Error{Kind: embedding.Unavailable, Provider: "openai", Err: io.ErrUnexpectedEOF}, true, false, 0, "openai: unavailable: unexpected EOF"},
		{&embedding.Error{Kind: embedding.InvalidInput, Status: 400}, false, true, 0, "invalid input (status 400)"},
		{&embedding.Error{Kind: embedding.BadAnswer}, false, true, 0, "bad answer"},
		{&embedding.Error{Kind: embedding.Unauthorized}, false, false, 0, "unauthorized"},
		{&embedding.Error{Kind: embedding.ModelNotFound}, false, false, 0, "model not found"},
		{&embedding.Error{Kind: embedding.Refused}, false, false, 0, "refused"},
		{context.Canceled, false, false, 0, "context canceled"},
		{context.DeadlineExceeded, true, false, 0, "context deadline exceeded"},
		{errors.New("bug"), false, false, 0, "bug"},
		{&net.DNSError{Err: "server misbehaving", IsTemporary: true}, true, false, 0, "lookup : server misbehaving"},
	}
	for _, tt := range tests {
		wrapped := fmt.Errorf("embed: %w", tt.err)
		if got := embedding.Temporary(wrapped); got != tt.temporary {
			t.Errorf("Temporary(%v) = %t", tt.err, got)
		}
		if got := embedding.InputFault(wrapped); got != tt.input {
			t.Errorf("InputFault(%v) = %t", tt.err, got)
		}
		if got := embedding.RetryAfter(wrapped); got != tt.after {
			t.Errorf("RetryAfter(%v) = %s", tt.err, got)
		}
		if got := tt.err.Error(); got != tt.text {
			t.Errorf("Error() = %q, want %q", got, tt.text)
		}
	}
	if embedding.Temporary(nil) || embedding.InputFault(nil) {
		t.Error("nil is a fault")
	}
}
