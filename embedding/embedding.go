package embedding

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Role says what a text is to the search. Models that were trained with instructions see a question and a passage
// differently; for the others a role changes nothing.
type Role string

const (
	// Query is a question that is being asked.
	Query Role = "query"
	// Passage is a text that is to be found.
	Passage Role = "passage"
)

// ModelInfo says what makes vectors comparable, and what the model takes and costs. Two embedders with the same
// [ModelInfo.Identity] give vectors of one space; vectors of different identities must never be compared.
type ModelInfo struct {
	// Provider is who serves the model, such as "openai", "local" or "test".
	Provider string
	// Model is the model's name as the provider knows it.
	Model string
	// Dimensions is the length of a vector. 0 means unknown until the first answer; [Probe] finds out.
	Dimensions int
	// Normalized tells that vectors have length 1.
	Normalized bool
	// QueryPrefix and PassagePrefix are what the embedder puts before texts of the two roles.
	QueryPrefix, PassagePrefix string

	// MaxTokens is the longest input in tokens of the model, 0 if unknown. It is not part of the identity.
	MaxTokens int
	// PricePerMillionTokens is what a million tokens of input cost in US dollars, 0 if nothing or unknown. It is not part of
	// the identity.
	PricePerMillionTokens float64
}

// Identity names the space of the model's vectors: a short name for people, and a hash over provider, model, dimensions,
// normalisation and prefixes. It is stable across versions of this module and never empty.
func (m ModelInfo) Identity() string {
	h := sha256.New()
	// Lengths keep two fields from running into each other.
	for _, s := range []string{m.Provider, m.Model, m.QueryPrefix, m.PassagePrefix} {
		fmt.Fprintf(h, "%d:%s,", len(s), s)
	}
	fmt.Fprintf(h, "%d,%t", m.Dimensions, m.Normalized)
	return fmt.Sprintf("%s/%s/%d/%s", m.Provider, m.Model, m.Dimensions, hex.EncodeToString(h.Sum(nil)[:6]))
}

// Same tells whether two models have the same identity, without spelling it.
func (m ModelInfo) Same(other ModelInfo) bool {
	m.MaxTokens, m.PricePerMillionTokens = other.MaxTokens, other.PricePerMillionTokens
	return m == other
}

// Prefix returns what the embedder puts before texts of a role.
func (m ModelInfo) Prefix(role Role) string {
	if role == Query {
		return m.QueryPrefix
	}
	return m.PassagePrefix
}

// Embedder turns texts into vectors. Implementations are safe for concurrent use.
//
// Embed returns one vector per text, in the order of the texts, each finite, not all zero, and of the same length; with no
// texts it returns none and asks nobody. It is all or nothing: with an error there are no vectors. Errors of a provider are
// [*Error]; a cancelled or expired ctx gives an error that wraps ctx.Err(). What is returned belongs to the caller.
//
// Model answers at once, without asking the provider. It is the same for the life of the embedder, except that unknown
// Dimensions become known with the first answer.
type Embedder interface {
	Model() ModelInfo
	Embed(ctx context.Context, role Role, texts []string) ([][]float32, error)
}

// Func makes an Embedder of a function.
type Func struct {
	Info ModelInfo
	Call func(ctx context.Context, role Role, texts []string) ([][]float32, error)
}

// Model returns Info.
func (f Func) Model() ModelInfo { return f.Info }

// Embed calls Call.
func (f Func) Embed(ctx context.Context, role Role, texts []string) ([][]float32, error) {
	return f.Call(ctx, role, texts)
}

// Unwrapper is implemented by decorators: Unwrap returns the embedder inside.
type Unwrapper interface {
	Unwrap() Embedder
}

// Probe returns the embedder's model with its dimensions. If they are not known yet, it embeds one word to learn them.
func Probe(ctx context.Context, e Embedder) (ModelInfo, error) {
	info := e.Model()
	if info.Dimensions > 0 {
		return info, nil
	}
	vectors, err := e.Embed(ctx, Passage, []string{"dimensions"})
	if err != nil {
		return info, err
	}
	if err := Check(vectors, 1, 0); err != nil {
		return info, &Error{Kind: BadAnswer, Provider: info.Provider, Err: err}
	}
	info.Dimensions = len(vectors[0])
	return info, nil
}
