// Package openai asks OpenAI, or any server that speaks its protocol, for embeddings: Azure, Ollama, vLLM, LM Studio,
// text-embeddings-inference, LocalAI and others.
//
//	openai.New(openai.Config{APIKey: openai.NewSecret(key)})                                            // OpenAI
//	openai.New(openai.Config{BaseURL: "http://localhost:11434/v1", Model: "all-minilm"})                // Ollama
//	openai.New(openai.Config{BaseURL: "http://localhost:8080/v1", Model: "BAAI/bge-small-en-v1.5"})     // text-embeddings-inference
//	openai.New(openai.Config{                                                                           // Azure
//		BaseURL: "https://NAME.openai.azure.com/openai/deployments/DEPLOYMENT", APIVersion: "2024-10-21",
//		KeyHeader: "api-key", APIKey: openai.NewSecret(key),
//	})
//
// An embedder of this package asks once for each call, and neither splits nor repeats: put it into [embedding.Recommended]. It reads
// no environment.
//
// # What is refused
//
// Vectors are placed by the index the server gives them. An answer counts only if it has exactly one vector for each text, all of the
// expected dimensions, with finite numbers that are not all zero, and if it is no larger than such an answer can be; anything else
// is an [embedding.Error] of kind BadAnswer. Redirects are not followed. Nor is a connection made to this machine or to a private
// network, unless the base URL names it ("localhost", "10.0.0.7", "ollama") or AllowPrivate is set, nor ever to the link-local
// addresses where clouds keep credentials; what counts is the address that is dialled. The key appears in no error and no log.
package openai

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/internal/apierror"
	"github.com/llmemory/llmemory/internal/bpe"
	"github.com/llmemory/llmemory/internal/httpapi"
	"github.com/llmemory/llmemory/internal/wordpiece"
)

// DefaultBaseURL is OpenAI's own.
const DefaultBaseURL = "https://api.openai.com/v1"

// DefaultModel is the model of a Config that names none.
const DefaultModel = "text-embedding-3-small"

// provider is the name in [embedding.ModelInfo], whoever serves the model: its vectors are the same everywhere.
const provider = "openai"

// Secret is a key that cannot be printed: as a string, in any format of fmt, as JSON or text, and in a log it is "***".
type Secret = httpapi.Secret

// NewSecret makes a Secret. White space around the value is dropped.
func NewSecret(value string) Secret { return httpapi.NewSecret(value) }

// Config says which model to ask, and where. The zero value asks OpenAI's smaller model, without a key.
type Config struct {
	// BaseURL is what "/embeddings" is added to. A query in it is kept. Defaults to [DefaultBaseURL].
	BaseURL string
	// APIKey is sent as "Authorization: Bearer …", unless it is empty. It is not sent over plain HTTP to a public address.
	APIKey Secret
	// KeyHeader is another header to send the key in, such as "api-key" for Azure.
	KeyHeader string
	// APIVersion is sent as "api-version" in the query, as Azure wants it, unless it is empty.
	APIVersion string
	// Model defaults to [DefaultModel].
	Model string
	// Dimensions asks for vectors of this length. It is sent only if it is not 0, as few models can do that. With 0 the length is
	// the model's own: known for OpenAI's models, learned from the first answer for others.
	Dimensions int
	// QueryPrefix and PassagePrefix are put before the texts, for models that were trained so: "query: " and "passage: " for e5,
	// "search_query: " and "search_document: " for nomic-embed-text.
	QueryPrefix, PassagePrefix string
	// Normalize scales vectors to length 1. OpenAI's models do that by themselves.
	Normalize bool
	// Base64 asks for vectors as bytes in base64: a quarter of the size, but not every server knows it. Either form is
	// understood whatever was asked for.
	Base64 bool
	// MaxTokens is the longest input of the model in tokens. Known for OpenAI's models, else 0 for unknown.
	MaxTokens int
	// PricePerMillionTokens is in US dollars. Known for OpenAI's models, else 0.
	PricePerMillionTokens float64
	// CountTokens counts the tokens of a text as the model does. Defaults to exactly that for OpenAI's models, and to word pieces
	// of BERT for others.
	CountTokens func(text string) int
	// Timeout is for one call as a whole. Defaults to 60 s.
	Timeout time.Duration
	// AllowPrivate permits a BaseURL whose host does not look local, but resolves to this machine or a private network.
	AllowPrivate bool
	// Client makes the connections, as for a proxy or certificates of one's own. It replaces the check of addresses. It never
	// follows redirects. Defaults to a client that uses no proxy.
	Client *http.Client
}

// known is what is known of OpenAI's models.
var known = map[string]struct {
	dimensions, maxTokens int
	price                 float64
	shortens              bool // takes Dimensions
}{
	"text-embedding-3-small": {1536, 8192, 0.02, true},
	"text-embedding-3-large": {3072, 8192, 0.13, true},
	"text-embedding-ada-002": {1536, 8192, 0.10, false},
}

// Validate reports every fault of the configuration at once.
func (c Config) Validate() error {
	_, err := c.client()
	faults := []error{err}
	k, isKnown := known[c.model()]
	switch {
	case c.Dimensions < 0:
		faults = append(faults, fmt.Errorf("dimensions must not be negative, are %d", c.Dimensions))
	case c.Dimensions > 0 && isKnown && !k.shortens:
		faults = append(faults, fmt.Errorf("dimensions cannot be chosen for %s", c.model()))
	case c.Dimensions > 0 && isKnown && c.Dimensions > k.dimensions:
		faults = append(faults, fmt.Errorf("dimensions of %s must be at most %d, are %d", c.model(), k.dimensions, c.Dimensions))
	case c.Dimensions > maxDimensions:
		faults = append(faults, fmt.Errorf("dimensions must be at most %d, are %d", maxDimensions, c.Dimensions))
	}
	if c.MaxTokens < 0 {
		faults = append(faults, fmt.Errorf("longest input must not be negative, is %d", c.MaxTokens))
	}
	if c.PricePerMillionTokens < 0 {
		faults = append(faults, fmt.Errorf("price must not be negative, is %v", c.PricePerMillionTokens))
	}
	return errors.Join(faults...)
}

func (c Config) model() string { return cmp.Or(c.Model, DefaultModel) }

func (c Config) client() (*httpapi.Client, error) {
	return httpapi.New(httpapi.Config{
		BaseURL: cmp.Or(c.BaseURL, DefaultBaseURL), Key: c.APIKey, KeyHeader: c.KeyHeader, APIVersion: c.APIVersion, Timeout: c.Timeout,
		AllowPrivate: c.AllowPrivate, Client: c.Client,
	})
}

// Embedder asks one model. It is safe for concurrent use.
type Embedder struct {
	info    embedding.ModelInfo // without dimensions
	learned atomic.Int64        // dimensions, 0 if not yet known
	asked   int                 // Config.Dimensions
	base64  bool
	scale   bool
	count   func(string) int
	client  *httpapi.Client
	fault   error // of the configuration
}

// New returns an embedder. A faulty configuration, which [Config.Validate] tells, shows when it is used: every call fails with an
// [embedding.Error] of kind Refused.
func New(c Config) *Embedder {
	k, isKnown := known[c.model()]
	e := &Embedder{
		info: embedding.ModelInfo{
			Provider: provider, Model: c.model(), Normalized: c.Normalize || isKnown,
			QueryPrefix: c.QueryPrefix, PassagePrefix: c.PassagePrefix,
			MaxTokens: cmp.Or(c.MaxTokens, k.maxTokens), PricePerMillionTokens: cmp.Or(c.PricePerMillionTokens, k.price),
		},
		asked: c.Dimensions, base64: c.Base64, scale: c.Normalize, count: c.CountTokens,
	}
	e.learned.Store(int64(cmp.Or(c.Dimensions, k.dimensions)))
	if e.count == nil {
		e.count = wordpiece.Default().Count
		if isKnown {
			e.count = bpe.CL100K().Count
		}
	}
	if e.fault = c.Validate(); e.fault == nil {
		e.client, e.fault = c.client()
	}
	return e
}

// Model implements [embedding.Embedder].
func (e *Embedder) Model() embedding.ModelInfo {
	info := e.info
	info.Dimensions = int(e.learned.Load())
	return info
}

// CountTokens implements [embedding.TokenCounter].
func (e *Embedder) CountTokens(role embedding.Role, text string) int {
	return e.count(e.info.Prefix(role) + text)
}

// request is what is sent.
type request struct {
	Model      string   `json:"model"`
	Input      []string `json:"input"`
	Format     string   `json:"encoding_format"`
	Dimensions int      `json:"dimensions,omitempty"`
}

// Embed implements [embedding.Embedder]. It makes one request.
func (e *Embedder) Embed(ctx context.Context, role embedding.Role, texts []string) ([][]float32, error) {
	if e.fault != nil {
		return nil, &embedding.Error{Kind: embedding.Refused, Provider: provider, Err: e.fault}
	}
	if len(texts) == 0 {
		return nil, nil
	}
	in := request{Model: e.info.Model, Input: texts, Format: "float", Dimensions: e.asked}
	if e.base64 {
		in.Format = "base64"
	}
	if prefix := e.info.Prefix(role); prefix != "" {
		in.Input = make([]string, len(texts))
		for i, text := range texts {
			in.Input[i] = prefix + text
		}
	}
	dimensions := int(e.learned.Load())
	body, err := e.client.Post(ctx, "embeddings", in, answerLimit(len(texts), dimensions))
	if err != nil {
		return nil, translate(err)
	}
	vectors, err := e.parse(body, len(texts), dimensions)
	if err != nil {
		return nil, translate(err)
	}
	if e.scale {
		for _, v := range vectors {
			normalize(v)
		}
		if err := embedding.Check(vectors, len(texts), dimensions); err != nil {
			return nil, translate(err)
		}
	}
	if got := int64(len(vectors[0])); !e.learned.CompareAndSwap(0, got) && got != e.learned.Load() {
		return nil, translate(embedding.Check(vectors, len(texts), int(e.learned.Load()))) // another call was first, with another length
	}
	return vectors, nil
}

// translate makes an [embedding.Error] of what went wrong, and leaves errors of contexts as they are.
func translate(err error) error {
	var bad *embedding.VectorError
	return apierror.From(provider, err, errors.As(err, &bad))
}
