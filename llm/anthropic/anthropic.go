// Package anthropic asks Anthropic's models for texts, by its Messages API.
//
//	anthropic.New(anthropic.Config{APIKey: anthropic.NewSecret(key)})
//
// A generator of this package makes one request for each call, and repeats none: put it into [llm.Recommended]. It reads no
// environment. The document of a request is marked to be kept for the requests that follow (prompt caching): to write it costs a
// quarter more than to read it, to read it again a tenth. What is shorter than the model keeps costs as usual.
//
// Answers are of limited size. Redirects are not followed, and where connections may lead is checked as embedding/openai does. The key
// appears in no error and no log.
package anthropic

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/llmemory/llmemory/internal/apierror"
	"github.com/llmemory/llmemory/internal/httpapi"
	"github.com/llmemory/llmemory/llm"
)

// DefaultBaseURL is Anthropic's own.
const DefaultBaseURL = "https://api.anthropic.com"

// DefaultModel is the model of a Config that names none.
const DefaultModel = "claude-haiku-4-5"

const provider = "anthropic"

// version is the version of the protocol.
const version = "2023-06-01"

// Secret is a key that cannot be printed: as a string, in any format of fmt, as JSON or text, and in a log it is "***".
type Secret = httpapi.Secret

// NewSecret makes a Secret. White space around the value is dropped.
func NewSecret(value string) Secret { return httpapi.NewSecret(value) }

// Config says which model to ask, and where. The zero value asks Anthropic's smallest model, without a key.
type Config struct {
	// BaseURL is what "/v1/messages" is added to. Defaults to [DefaultBaseURL].
	BaseURL string
	// APIKey is sent as "x-api-key", unless it is empty. It is not sent over plain HTTP to a public address.
	APIKey Secret
	// Model defaults to [DefaultModel].
	Model string
	// Price is known for some models, if BaseURL is Anthropic's own, else 0.
	Price llm.Price
	// Timeout is for one call as a whole. Defaults to 60 s.
	Timeout time.Duration
	// AllowPrivate permits a BaseURL whose host does not look local, but resolves to this machine or a private network.
	AllowPrivate bool
	// Client makes the connections, as for a proxy or certificates of one's own. It replaces the check of addresses. It never
	// follows redirects. Defaults to a client that uses no proxy.
	Client *http.Client
}

// prices of models by the beginning of their names, in US dollars for a million tokens.
var prices = map[string]llm.Price{
	"claude-haiku-4-5": {Input: 1, Cached: 0.10, Written: 1.25, Output: 5},
	"claude-3-5-haiku": {Input: 0.80, Cached: 0.08, Written: 1, Output: 4},
	"claude-3-haiku":   {Input: 0.25, Cached: 0.03, Written: 0.30, Output: 1.25},
}

// minCached is from where on any of the models keeps a document: 1,024 to 4,096 tokens, by model.
const minCached = 4096

// answerBytes is the largest answer, with all that is put around a text.
const answerBytes = 1 << 20

// Validate reports what is wrong with the configuration.
func (c Config) Validate() error {
	_, err := c.client()
	return errors.Join(err, c.Price.Validate())
}

func (c Config) client() (*httpapi.Client, error) {
	return httpapi.New(httpapi.Config{
		BaseURL: cmp.Or(c.BaseURL, DefaultBaseURL), Key: c.APIKey, KeyHeader: "x-api-key", Header: map[string]string{"anthropic-version": version},
		Timeout: c.Timeout, AllowPrivate: c.AllowPrivate, Client: c.Client,
	})
}

// Generator asks one model. It is safe for concurrent use.
type Generator struct {
	info   llm.ModelInfo
	client *httpapi.Client
	fault  error // of the configuration
}

// New returns a generator. A faulty configuration, which [Config.Validate] tells, shows when it is used: every call fails with an
// [llm.Error] of kind Refused.
func New(c Config) *Generator {
	g := &Generator{info: llm.ModelInfo{Provider: provider, Model: cmp.Or(c.Model, DefaultModel), Price: c.Price, MinCached: minCached}}
	if c.Price == (llm.Price{}) && cmp.Or(c.BaseURL, DefaultBaseURL) == DefaultBaseURL {
		for name, price := range prices {
			if strings.HasPrefix(g.info.Model, name) {
				g.info.Price = price
			}
		}
	}
	if g.fault = c.Validate(); g.fault == nil {
		g.client, g.fault = c.client()
	}
	return g
}

// Model implements [llm.Generator].
func (g *Generator) Model() llm.ModelInfo { return g.info }

type cacheControl struct {
	Type string `json:"type"`
}

type block struct {
	Type         string        `json:"type"`
	Text         string        `json:"text"`
	CacheControl *cacheControl `json:"cache_control,omitempty"`
}

type message struct {
	Role    string  `json:"role"`
	Content []block `json:"content"`
}

// request is what is sent.
type request struct {
	Model       string    `json:"model"`
	MaxTokens   int       `json:"max_tokens"`
	Temperature float64   `json:"temperature"`
	System      string    `json:"system,omitempty"`
	Messages    []message `json:"messages"`
}

// answer is what the server says.
type answer struct {
	Content    []block `json:"content"`
	StopReason string  `json:"stop_reason"`
	Usage      struct {
		Input   int `json:"input_tokens"` // neither read from what is kept, nor written to it
		Cached  int `json:"cache_read_input_tokens"`
		Written int `json:"cache_creation_input_tokens"`
		Output  int `json:"output_tokens"`
	} `json:"usage"`
}

// Generate implements [llm.Generator]. It makes one request.
func (g *Generator) Generate(ctx context.Context, r llm.Request) (llm.Answer, error) {
	if g.fault != nil {
		return llm.Answer{}, &llm.Error{Kind: llm.Refused, Provider: provider, Err: g.fault}
	}
	in := request{Model: g.info.Model, MaxTokens: cmp.Or(r.MaxTokens, llm.DefaultMaxTokens), System: r.System}
	var content []block
	if r.Document != "" {
		content = append(content, block{Type: "text", Text: r.Document, CacheControl: &cacheControl{"ephemeral"}})
	}
	in.Messages = []message{{"user", append(content, block{Type: "text", Text: r.Prompt})}}
	body, err := g.client.Post(ctx, "v1/messages", in, answerBytes)
	if err != nil {
		return llm.Answer{}, apierror.From(provider, err, false)
	}
	var a answer
	if err := httpapi.Decode(body, &a); err != nil {
		return llm.Answer{}, apierror.From(provider, err, false)
	}
	u := a.Usage
	out := llm.Answer{Usage: llm.Usage{
		Calls: 1, Input: max(u.Input, 0) + max(u.Cached, 0) + max(u.Written, 0), Cached: max(u.Cached, 0), Written: max(u.Written, 0),
		Output: max(u.Output, 0),
	}}
	if a.Content == nil {
		return out, &llm.Error{Kind: llm.BadAnswer, Provider: provider, Message: "no content"}
	}
	var text strings.Builder
	for _, b := range a.Content {
		if b.Type == "text" {
			text.WriteString(b.Text)
		}
	}
	if out.Text = text.String(); strings.TrimSpace(out.Text) == "" || a.StopReason == "refusal" {
		out.Text = ""
		return out, &llm.Error{Kind: llm.BadAnswer, Provider: provider, Message: g.client.Tidy("stop reason " + cmp.Or(a.StopReason, "unknown")),
			Err: llm.ErrDeclined}
	}
	return out, nil
}
