package llm

import (
	"context"
	"fmt"

	"github.com/llmemory/llmemory/internal/wordpiece"
)

// Request is what a model is asked.
type Request struct {
	// System says what the model is to be. Optional.
	System string
	// Document is the text that is asked about. It comes before Prompt, and many requests have the same one: providers that keep what
	// they have read take less for it from the second time on. Optional.
	Document string
	// Prompt is the question.
	Prompt string
	// MaxTokens is the longest answer. 0 means [DefaultMaxTokens].
	MaxTokens int
}

// DefaultMaxTokens is the longest answer of a request that does not say.
const DefaultMaxTokens = 256

// Tokens is about how many tokens of input the request has: [CountTokens] of its texts, and some for what holds them together.
func (r *Request) Tokens() int {
	const frame = 12
	return CountTokens(r.System) + CountTokens(r.Document) + CountTokens(r.Prompt) + frame
}

// CountTokens is about how many tokens a model counts for a text. It counts word pieces of BERT, which for English are within a few
// percent of what most models count, for German and code up to a quarter too many, for Chinese a fifth too few.
func CountTokens(text string) int { return wordpiece.Default().Count(text) }

// Answer is what a model answers.
type Answer struct {
	// Text is never empty, unless there is an error.
	Text string
	// Usage is what the call took, as far as the provider says; it may also come with an error.
	Usage Usage
}

// Usage is what calls have taken, in tokens.
type Usage struct {
	Calls   int // calls that were answered
	Input   int // of all requests, whatever they cost
	Cached  int // of Input, those that the provider knew already
	Written int // of Input, those that the provider was told to keep
	Output  int
}

// Add adds what another call, or several, have taken.
func (u *Usage) Add(v Usage) {
	u.Calls += v.Calls
	u.Input += v.Input
	u.Cached += v.Cached
	u.Written += v.Written
	u.Output += v.Output
}

// Tokens are all tokens, of input and output.
func (u Usage) Tokens() int { return u.Input + u.Output }

// Price is what tokens cost, in US dollars for a million. The zero value is free, or unknown.
type Price struct {
	Input  float64
	Cached float64 // input that the provider knows already
	// Written is for input that the provider is told to keep. 0 means that it costs what Input does.
	Written float64
	Output  float64
}

// Of is what a usage costs, in US dollars.
func (p Price) Of(u Usage) float64 {
	written := p.Written
	if written == 0 {
		written = p.Input
	}
	plain := u.Input - u.Cached - u.Written
	return (float64(plain)*p.Input + float64(u.Cached)*p.Cached + float64(u.Written)*written + float64(u.Output)*p.Output) / 1e6
}

// Validate reports what is wrong with the price.
func (p Price) Validate() error {
	if p.Input < 0 || p.Cached < 0 || p.Written < 0 || p.Output < 0 {
		return fmt.Errorf("prices must not be negative, are %+v", p)
	}
	return nil
}

// ModelInfo says which model answers and what it costs.
type ModelInfo struct {
	Provider string // such as "openai"
	Model    string // as the provider calls it
	Price    Price
	// MinCached is how many tokens the beginning of a request must have for the provider to keep it; 0 if it keeps none, or it is not
	// known.
	MinCached int
}

// Generator has a language model write texts. Implementations are safe for concurrent use.
//
// An answer always has a text; one that is cut short by MaxTokens counts. Errors of a provider are [*Error]; a cancelled or expired ctx
// gives an error that wraps ctx.Err(). Model answers at once, and always the same.
type Generator interface {
	Model() ModelInfo
	Generate(ctx context.Context, r Request) (Answer, error)
}

// Func makes a Generator of a function.
type Func struct {
	Info ModelInfo
	Call func(ctx context.Context, r Request) (Answer, error)
}

// Model returns Info.
func (f Func) Model() ModelInfo { return f.Info }

// Generate calls Call.
func (f Func) Generate(ctx context.Context, r Request) (Answer, error) { return f.Call(ctx, r) }
