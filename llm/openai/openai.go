// Package openai asks OpenAI, or any server that speaks its protocol for chat completions, for texts: Azure, Ollama, vLLM, LM Studio
// and others.
//
//	openai.New(openai.Config{APIKey: openai.NewSecret(key)})                                // OpenAI
//	openai.New(openai.Config{BaseURL: "http://localhost:11434/v1", Model: "llama3.2"})      // Ollama
//
// A generator of this package makes one request for each call, and repeats none: put it into [llm.Recommended]. It reads no
// environment. The document of a request is at its beginning, word for word, so that servers which keep prefixes by themselves have
// to read it once.
//
// Answers are of limited size. Redirects are not followed, and where connections may lead is checked as embedding/openai does. The key
// appears in no error and no log.
package openai

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/llmemory/llmemory/internal/apierror"
	"github.com/llmemory/llmemory/internal/httpapi"
	"github.com/llmemory/llmemory/llm"
)

// DefaultBaseURL is OpenAI's own.
const DefaultBaseURL = "https://api.openai.com/v1"

// DefaultModel is the model of a Config that names none.
const DefaultModel = "gpt-4o-mini"

const provider = "openai"

// Secret is a key that cannot be printed: as a string, in any format of fmt, as JSON or text, and in a log it is "***".
type Secret = httpapi.Secret

// NewSecret makes a Secret. White space around the value is dropped.
func NewSecret(value string) Secret { return httpapi.NewSecret(value) }

// Config says which model to ask, and where. The zero value asks one of OpenAI's smaller models, without a key.
type Config struct {
	// BaseURL is what "/chat/completions" is added to. A query in it is kept. Defaults to [DefaultBaseURL].
	BaseURL string
	// APIKey is sent as "Authorization: Bearer …", unless it is empty. It is not sent over plain HTTP to a public address.
	APIKey Secret
	// KeyHeader is another header to send the key in, such as "api-key" for Azure.
	KeyHeader string
	// APIVersion is sent as "api-version" in the query, as Azure wants it, unless it is empty.
	APIVersion string
	// Model defaults to [DefaultModel].
	Model string
	// Price is known for some of OpenAI's models, if BaseURL is OpenAI's own, else 0.
	Price llm.Price
	// Timeout is for one call as a whole. Defaults to 60 s.
	Timeout time.Duration
	// AllowPrivate permits a BaseURL whose host does not look local, but resolves to this machine or a private network.
	AllowPrivate bool
	// Client makes the connections, as for a proxy or certificates of one's own. It replaces the check of addresses. It never
	// follows redirects. Defaults to a client that uses no proxy.
	Client *http.Client
}

// prices of OpenAI's models, in US dollars for a million tokens.
var prices = map[string]llm.Price{
	"gpt-4o-mini":  {Input: 0.15, Cached: 0.075, Output: 0.60},
	"gpt-4o":       {Input: 2.50, Cached: 1.25, Output: 10},
	"gpt-4.1-nano": {Input: 0.10, Cached: 0.025, Output: 0.40},
	"gpt-4.1-mini": {Input: 0.40, Cached: 0.10, Output: 1.60},
	"gpt-4.1":      {Input: 2, Cached: 0.50, Output: 8},
}

// minCached is where OpenAI begins to keep prefixes.
const minCached = 1024

// Validate reports what is wrong with the configuration.
func (c Config) Validate() error {
	_, err := c.client()
	return errors.Join(err, c.Price.Validate())
}

func (c Config) client() (*httpapi.Client, error) {
	return httpapi.New(httpapi.Config{
		BaseURL: cmp.Or(c.BaseURL, DefaultBaseURL), Key: c.APIKey, KeyHeader: c.KeyHeader, APIVersion: c.APIVersion, Timeout: c.Timeout,
		AllowPrivate: c.AllowPrivate, Client: c.Client,
	})
}

// Generator asks one model. It is safe for concurrent use.
type Generator struct {
	info   llm.ModelInfo
	thinks bool
	client *httpapi.Client
	fault  error // of the configuration
}

// thinkers are models that think before they answer. They take another name for the longest answer, in which they count what they
// think, and choose their own temperature.
var thinkers = regexp.MustCompile(`^(o\d|gpt-5)`)

const (
	// thinkingTokens is what a model that thinks may take beside its answer.
	thinkingTokens = 2048
	// answerBytes is the largest answer, with all that servers put around a text.
	answerBytes = 1 << 20
)

// New returns a generator. A faulty configuration, which [Config.Validate] tells, shows when it is used: every call fails with an
// [llm.Error] of kind Refused.
func New(c Config) *Generator {
	model := cmp.Or(c.Model, DefaultModel)
	g := &Generator{info: llm.ModelInfo{Provider: provider, Model: model, Price: c.Price, MinCached: minCached}, thinks: thinkers.MatchString(model)}
	if c.Price == (llm.Price{}) && cmp.Or(c.BaseURL, DefaultBaseURL) == DefaultBaseURL {
		g.info.Price = prices[model]
	}
	if g.fault = c.Validate(); g.fault == nil {
		g.client, g.fault = c.client()
	}
	return g
}

// Model implements [llm.Generator].
func (g *Generator) Model() llm.ModelInfo { return g.info }

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// request is what is sent.
type request struct {
	Model               string    `json:"model"`
	Messages            []message `json:"messages"`
	MaxTokens           int       `json:"max_tokens,omitempty"`
	MaxCompletionTokens int       `json:"max_completion_tokens,omitempty"`
	Temperature         *float64  `json:"temperature,omitempty"`
	ReasoningEffort     string    `json:"reasoning_effort,omitempty"`
}

// answer is what a server says.
type answer struct {
	Choices []struct {
		Message struct {
			Content string `json:"content"`
			Refusal string `json:"refusal"`
		} `json:"message"`
		FinishReason string `json:"finish_reason"`
	} `json:"choices"`
	Usage struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Details    struct {
			Cached int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	} `json:"usage"`
	Error struct {
		Message string `json:"message"`
	} `json:"error"` // some gateways answer errors with status 200
}

// Generate implements [llm.Generator]. It makes one request.
func (g *Generator) Generate(ctx context.Context, r llm.Request) (llm.Answer, error) {
	if g.fault != nil {
		return llm.Answer{}, &llm.Error{Kind: llm.Refused, Provider: provider, Err: g.fault}
	}
	in := request{Model: g.info.Model}
	if r.System != "" {
		in.Messages = append(in.Messages, message{"system", r.System})
	}
	question := r.Prompt
	if r.Document != "" {
		question = r.Document + "\n\n" + r.Prompt
	}
	in.Messages = append(in.Messages, message{"user", question})
	if longest := cmp.Or(r.MaxTokens, llm.DefaultMaxTokens); g.thinks {
		in.MaxCompletionTokens, in.ReasoningEffort = longest+thinkingTokens, "low"
	} else {
		in.MaxTokens, in.Temperature = longest, new(float64)
	}
	body, err := g.client.Post(ctx, "chat/completions", in, answerBytes)
	if err != nil {
		return llm.Answer{}, apierror.From(provider, err, false)
	}
	var a answer
	if err := httpapi.Decode(body, &a); err != nil {
		return llm.Answer{}, apierror.From(provider, err, false)
	}
	out := llm.Answer{Usage: llm.Usage{
		Calls: 1, Input: max(a.Usage.Prompt, 0), Cached: min(max(a.Usage.Details.Cached, 0), max(a.Usage.Prompt, 0)), Output: max(a.Usage.Completion, 0),
	}}
	if len(a.Choices) == 0 {
		return out, &llm.Error{Kind: llm.BadAnswer, Provider: provider, Message: cmp.Or(g.client.Tidy(a.Error.Message), "no choices")}
	}
	choice := a.Choices[0]
	if out.Text = choice.Message.Content; strings.TrimSpace(out.Text) == "" || choice.Message.Refusal != "" {
		out.Text = ""
		reason := cmp.Or(choice.Message.Refusal, "finish reason "+cmp.Or(choice.FinishReason, "unknown"))
		return out, &llm.Error{Kind: llm.BadAnswer, Provider: provider, Message: g.client.Tidy(reason), Err: llm.ErrDeclined}
	}
	return out, nil
}
