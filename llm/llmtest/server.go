// Package llmtest is for testing what asks language models, without one: a local server that behaves like OpenAI's and Anthropic's, with
// the faults of real ones.
package llmtest

import (
	"cmp"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/llmemory/llmemory/internal/badserver"
	"github.com/llmemory/llmemory/llm"
)

// Fault is a way in which a server misbehaves.
type Fault = badserver.Fault

// Faults that any provider may have.
const (
	None         = badserver.None
	RateLimited  = badserver.RateLimited  // 429 with Retry-After
	NoQuota      = badserver.NoQuota      // 429 that no waiting helps
	ServerError  = badserver.ServerError  // 500
	Unavailable  = badserver.Unavailable  // 503
	Hang         = badserver.Hang         // no answer, ever
	Drip         = badserver.Drip         // an answer that comes a byte at a time and never ends
	Reset        = badserver.Reset        // the connection is reset before an answer
	ResetMidBody = badserver.ResetMidBody // … in the middle of it
	EmptyBody    = badserver.EmptyBody
	HTML         = badserver.HTML       // a page with status 200
	Huge         = badserver.Huge       // 100 MB
	Redirect     = badserver.Redirect   // to RedirectTo
	BadRequest   = badserver.BadRequest // 400
	TooLarge     = badserver.TooLarge   // 413
	BadEntity    = badserver.BadEntity  // 422, with the input repeated in it
	WrongKey     = badserver.WrongKey   // 401, with the key repeated in it
	Forbidden    = badserver.Forbidden  // 403
	WrongModel   = badserver.WrongModel
)

// Faults of models.
const (
	Refusal  Fault = "refusal"  // the model declines
	Filtered Fault = "filtered" // a filter took the answer away
	Nothing  Fault = "nothing"  // an answer without choices or content
	Blank    Fault = "blank"    // an answer of white space
	NoUsage  Fault = "no usage" // an answer that does not say what it took: no fault really
)

// Call is what the server was asked.
type Call struct {
	N                        int // counts from 1
	Model                    string
	System, Document, Prompt string // Document and Prompt are one text where the protocol has no way to tell them apart: Prompt
	MaxTokens                int
}

// Config says what a server is like. The zero value is ready to use.
type Config struct {
	// Key is what clients have to send. Empty means that any will do.
	Key string
	// Reply makes the model's answer. Defaults to "ok".
	Reply func(Call) string
	// Delay is how long each request takes.
	Delay time.Duration
	// RetryAfter is what [RateLimited] answers with. Defaults to a second.
	RetryAfter time.Duration
	// RedirectTo is where [Redirect] leads.
	RedirectTo string
}

// Server is a local server for OpenAI's chat completions and Anthropic's messages. As these do, it keeps what long requests begin with,
// once it has answered them: OpenAI's what comes before the last "</document>", Anthropic's what is marked. Its tokens are
// those of [llm.CountTokens].
type Server struct {
	// URL is the address of the server, without a path: that of OpenAI is "/v1" below it.
	URL string

	config Config
	http   *httptest.Server
	quit   chan struct{}
	bad    badserver.Server

	mu    sync.Mutex
	calls []Call
	usage llm.Usage
	kept  map[string]bool
	fault func(Call) Fault
}

// NewServer starts a server. It ends with Close.
func NewServer(c Config) *Server {
	c.RetryAfter = cmp.Or(c.RetryAfter, time.Second)
	if c.Reply == nil {
		c.Reply = func(Call) string { return "ok" }
	}
	s := &Server{config: c, quit: make(chan struct{}), kept: map[string]bool{}}
	s.bad = badserver.Server{Quit: s.quit, RetryAfter: c.RetryAfter, RedirectTo: c.RedirectTo, Begun: `{"numbers":[0.5,`}
	s.Fail(nil)
	s.http = httptest.NewUnstartedServer(s)
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that we break
	s.http.Start()
	s.URL = s.http.URL
	return s
}

// Close stops the server. Requests that hang are let go.
func (s *Server) Close() {
	close(s.quit)
	s.http.CloseClientConnections()
	s.http.Close()
}

// Fail lets next decide how the server misbehaves, request by request. It must be safe for concurrent use. Nil means not at all.
func (s *Server) Fail(next func(Call) Fault) {
	if next == nil {
		next = Always(None)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = next
}

// Always is the same fault in every request.
func Always(f Fault) func(Call) Fault { return func(Call) Fault { return f } }

// Calls returns all requests that could be read, and forgets them.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

// Usage returns what all requests have taken that were answered as they should be.
func (s *Server) Usage() llm.Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage
}

// content is a text, or parts of one.
type content []part

type part struct {
	Type         string `json:"type"`
	Text         string `json:"text"`
	CacheControl any    `json:"cache_control"`
}

// UnmarshalJSON implements [json.Unmarshaler].
func (c *content) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*c = content{{Type: "text", Text: text}}
		return nil
	}
	return json.Unmarshal(b, (*[]part)(c))
}

// request is what clients of either protocol send.
type request struct {
	Model               string `json:"model"`
	MaxTokens           int    `json:"max_tokens"`
	MaxCompletionTokens int    `json:"max_completion_tokens"`
	System              string `json:"system"`
	Messages            []struct {
		Role    string  `json:"role"`
		Content content `json:"content"`
	} `json:"messages"`
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var anthropic bool
	switch r.Method + " " + r.URL.Path {
	case "POST /v1/chat/completions":
	case "POST /v1/messages":
		anthropic = true
	default:
		badserver.Fail(w, http.StatusNotFound, "invalid_request_error", "unknown_url", "Unknown request: "+r.Method+" "+r.URL.Path)
		return
	}
	body, err := io.ReadAll(r.Body)
	var in request
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if err != nil || len(in.Messages) == 0 || anthropic && r.Header.Get("Anthropic-Version") == "" {
		badserver.Fail(w, http.StatusBadRequest, "invalid_request_error", "", "This is no request.")
		return
	}
	call := Call{Model: in.Model, System: in.System, MaxTokens: in.MaxTokens + in.MaxCompletionTokens}
	marked := ""
	for _, m := range in.Messages {
		for _, p := range m.Content {
			switch {
			case m.Role == "system":
				call.System += p.Text
			case p.CacheControl != nil:
				call.Document += p.Text
				marked = call.System + call.Document
			default:
				call.Prompt += p.Text
			}
		}
	}
	s.mu.Lock()
	s.calls = append(s.calls, call)
	s.calls[len(s.calls)-1].N = len(s.calls)
	call.N = len(s.calls)
	next := s.fault
	s.mu.Unlock()
	fault := next(call)
	select {
	case <-time.After(s.config.Delay):
	case <-r.Context().Done():
	case <-s.quit:
	}
	key := cmp.Or(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), r.Header.Get("X-Api-Key"), r.Header.Get("Api-Key"))
	if s.config.Key != "" && key != s.config.Key {
		fault = WrongKey
	}
	if s.bad.Refuse(w, r, fault, key, body) {
		return
	}
	text := s.config.Reply(call)
	switch fault {
	case Refusal, Filtered, Nothing:
		text = ""
	case Blank:
		text = " \n"
	}
	usage := llm.Usage{Calls: 1, Input: llm.CountTokens(call.System) + llm.CountTokens(call.Document) + llm.CountTokens(call.Prompt), Output: llm.CountTokens(text)}
	s.keep(&usage, call, marked, anthropic)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer(fault, text, usage, anthropic)) // to a client that may have gone
}

// keep finds what of a request is known, and keeps what it begins with.
func (s *Server) keep(u *llm.Usage, c Call, marked string, anthropic bool) {
	const least = 1024
	if whole := c.System + c.Prompt; !anthropic {
		marked = whole[:strings.LastIndex(whole, "</document>")+1]
	}
	tokens := llm.CountTokens(marked)
	s.mu.Lock()
	defer s.mu.Unlock()
	if tokens >= least {
		switch {
		case s.kept[marked]:
			u.Cached = tokens
		case anthropic:
			u.Written = tokens
		}
		s.kept[marked] = true
	}
	s.usage.Add(*u)
}

// answer is what the server says.
func answer(f Fault, text string, u llm.Usage, anthropic bool) any {
	type object = map[string]any
	if anthropic {
		out := object{"type": "message", "role": "assistant", "stop_reason": "end_turn", "content": []object{{"type": "text", "text": text}},
			"usage": object{"input_tokens": u.Input - u.Cached - u.Written, "cache_read_input_tokens": u.Cached, "cache_creation_input_tokens": u.Written, "output_tokens": u.Output}}
		switch f {
		case Refusal, Filtered:
			out["stop_reason"], out["content"] = "refusal", []object{}
		case Nothing:
			delete(out, "content")
		case NoUsage:
			delete(out, "usage")
		}
		return out
	}
	message := object{"role": "assistant", "content": text}
	choice := object{"index": 0, "message": message, "finish_reason": "stop"}
	out := object{"object": "chat.completion", "choices": []object{choice},
		"usage": object{"prompt_tokens": u.Input, "completion_tokens": u.Output, "prompt_tokens_details": object{"cached_tokens": u.Cached}}}
	switch f {
	case Refusal:
		message["content"], message["refusal"] = nil, "I cannot help with that."
	case Filtered:
		message["content"], choice["finish_reason"] = nil, "content_filter"
	case Nothing:
		out["choices"] = []object{}
	case NoUsage:
		delete(out, "usage")
	}
	return out
}
