package embedtest

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/llmemory/llmemory/internal/badserver"
	"github.com/llmemory/llmemory/internal/bpe"
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

// Faults of answers with vectors.
const (
	Truncated      Fault = "truncated"       // half of the answer, as if it were all
	TooFew         Fault = "too few"         // a vector is missing
	TooMany        Fault = "too many"        // there is one more than texts
	NoIndex        Fault = "no index"        // vectors in any order, that nothing tells
	SameIndex      Fault = "same index"      // all vectors say they are the first
	Shuffled       Fault = "shuffled"        // another order, told by the index: no fault really
	WrongDimension Fault = "wrong dimension" // of every vector
	NaN            Fault = "NaN"             // in the last vector, as do the following
	Null           Fault = "null"            // among its numbers
	NullVector     Fault = "null vector"     // in its place
	EmptyVector    Fault = "empty vector"
	Zeros          Fault = "zeros"
	Overflow       Fault = "overflow" // 1e39 is no float32
	NoData         Fault = "no data"
)

// ServerConfig says what a server is like. The zero value is ready to use.
type ServerConfig struct {
	// Key is what clients have to send. Empty means that any will do.
	Key string
	// Models are the names of the models and their dimensions. Defaults to those of OpenAI.
	Models map[string]int
	// MaxInputs is how many texts a request may have. Defaults to 2,048, as at OpenAI.
	MaxInputs int
	// MaxTokens is how many tokens a text may have. Defaults to 8,192.
	MaxTokens int
	// MaxRequestTokens is how many tokens a request may have. Defaults to 300,000.
	MaxRequestTokens int
	// CountTokens counts tokens. Defaults to the way OpenAI's models count.
	CountTokens func(text string) int
	// Delay is how long each request takes.
	Delay time.Duration
	// RetryAfter is what [RateLimited] answers with. Defaults to a second.
	RetryAfter time.Duration
	// RedirectTo is where [Redirect] leads.
	RedirectTo string
}

// Stats counts what a server was asked.
type Stats struct {
	Calls  int // all requests
	Served int // requests answered as they should be
	Inputs int // texts in those
	Tokens int // tokens in those: what would be billed
}

// Server is a local server that behaves like OpenAI's endpoint for embeddings, with the vectors of [Vector].
type Server struct {
	// URL is the base URL for clients, as "http://127.0.0.1:40001/v1".
	URL string

	config ServerConfig
	http   *httptest.Server
	quit   chan struct{}
	bad    badserver.Server

	mu    sync.Mutex
	stats Stats
	fault func(Call) Fault
}

// NewServer starts a server. It ends with Close.
func NewServer(c ServerConfig) *Server {
	if c.Models == nil {
		c.Models = map[string]int{"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
	}
	c.MaxInputs = cmp.Or(c.MaxInputs, 2048)
	c.MaxTokens = cmp.Or(c.MaxTokens, 8192)
	c.MaxRequestTokens = cmp.Or(c.MaxRequestTokens, 300_000)
	c.RetryAfter = cmp.Or(c.RetryAfter, time.Second)
	if c.CountTokens == nil {
		c.CountTokens = bpe.CL100K().Count
	}
	s := &Server{config: c, quit: make(chan struct{}), fault: func(Call) Fault { return None }}
	s.bad = badserver.Server{Quit: s.quit, RetryAfter: c.RetryAfter, RedirectTo: c.RedirectTo, Begun: `{"object":"list","data":[{"index":0,"embedding":[0.1,`}
	s.http = httptest.NewUnstartedServer(s)
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that we break
	s.http.Start()
	s.URL = s.http.URL + "/v1"
	return s
}

// Close stops the server. Requests that hang are let go.
func (s *Server) Close() {
	close(s.quit)
	s.http.CloseClientConnections()
	s.http.Close()
}

// Fail lets next decide how the server misbehaves, request by request. See [Always], [Next] and [Poison]. It must be safe for
// concurrent use. Nil means not at all.
func (s *Server) Fail(next func(Call) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next == nil {
		next = Always(None)
	}
	s.fault = next
}

// Stats returns the counts since the start or the last Reset.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Reset sets all counts to zero, those that faults are told by too.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats = Stats{}
}

// Always is the same fault in every request.
func Always(f Fault) func(Call) Fault { return func(Call) Fault { return f } }

// Next is one fault after the other in the next requests, and none after that.
func Next(faults ...Fault) func(Call) Fault {
	var mu sync.Mutex
	return func(Call) Fault {
		mu.Lock()
		defer mu.Unlock()
		if len(faults) == 0 {
			return None
		}
		f := faults[0]
		faults = faults[1:]
		return f
	}
}

// Poison is a fault in every request that has one of the texts.
func Poison(f Fault, texts ...string) func(Call) Fault {
	return func(c Call) Fault {
		for _, text := range texts {
			if slices.Contains(c.Texts, text) {
				return f
			}
		}
		return None
	}
}

// request is what clients send.
type request struct {
	Model      string          `json:"model"`
	Input      json.RawMessage `json:"input"`
	Dimensions *int            `json:"dimensions"`
	Format     string          `json:"encoding_format"`
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/embeddings") {
		badserver.Fail(w, http.StatusNotFound, "invalid_request_error", "unknown_url", "Unknown request URL: "+r.Method+" "+r.URL.Path)
		return
	}
	if r.Method != http.MethodPost {
		badserver.Fail(w, http.StatusMethodNotAllowed, "invalid_request_error", "method_not_supported", "Not allowed to "+r.Method)
		return
	}
	var in request
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	texts, ok := in.texts()
	s.mu.Lock()
	s.stats.Calls++
	call := Call{N: s.stats.Calls, Model: in.Model, Texts: texts}
	next := s.fault
	s.mu.Unlock()
	fault := next(call)
	if s.config.Delay > 0 {
		select {
		case <-time.After(s.config.Delay):
		case <-r.Context().Done():
		case <-s.quit:
		}
	}
	key := cmp.Or(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), r.Header.Get("Api-Key"))
	if s.config.Key != "" && key != s.config.Key {
		fault = WrongKey
	}
	if s.bad.Refuse(w, r, fault, key, body) {
		return
	}
	dim, known := s.config.Models[in.Model]
	tokens, longest := 0, 0
	for _, text := range texts {
		n := s.config.CountTokens(text)
		tokens, longest = tokens+n, max(longest, n)
	}
	invalid := func(format string, args ...any) {
		badserver.Fail(w, http.StatusBadRequest, "invalid_request_error", "", fmt.Sprintf(format, args...))
	}
	switch {
	case err != nil:
		invalid("We could not parse the JSON body of your request.")
	case !known:
		badserver.Fail(w, http.StatusNotFound, "invalid_request_error", "model_not_found",
			fmt.Sprintf("The model `%s` does not exist or you do not have access to it.", in.Model))
	case !ok || len(texts) == 0 || slices.Contains(texts, ""):
		invalid("'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.")
	case len(texts) > s.config.MaxInputs:
		invalid("Invalid 'input': array too long. Expected an array with maximum length %d, but got an array with length %d instead.", s.config.MaxInputs, len(texts))
	case longest > s.config.MaxTokens:
		invalid("This model's maximum context length is %d tokens, however you requested %d tokens. Please reduce your prompt.", s.config.MaxTokens, longest)
	case tokens > s.config.MaxRequestTokens:
		badserver.Fail(w, http.StatusBadRequest, "max_tokens_per_request", "max_tokens_per_request",
			fmt.Sprintf("Requested %d tokens, max %d tokens per request", tokens, s.config.MaxRequestTokens))
	case in.Dimensions != nil && in.Model == "text-embedding-ada-002":
		invalid("This model does not support specifying dimensions.")
	case in.Dimensions != nil && (*in.Dimensions < 1 || *in.Dimensions > dim):
		invalid("Invalid value for 'dimensions' = %d. Must be between 1 and %d.", *in.Dimensions, dim)
	default:
		if in.Dimensions != nil {
			dim = *in.Dimensions
		}
		s.answer(w, fault, in, texts, dim, tokens)
	}
}

// texts returns the input as a list, and false if it is neither a text nor a list of them.
func (in request) texts() ([]string, bool) {
	var one string
	if json.Unmarshal(in.Input, &one) == nil {
		return []string{one}, true
	}
	var many []string
	err := json.Unmarshal(in.Input, &many)
	return many, err == nil
}

// item is one vector of an answer.
type item struct {
	Object    string          `json:"object"`
	Index     *int            `json:"index,omitempty"`
	Embedding json.RawMessage `json:"embedding"`
}

// answer writes the vectors, or something like it.
func (s *Server) answer(w http.ResponseWriter, f Fault, in request, texts []string, dim, tokens int) {
	if f == WrongDimension {
		dim++
	}
	items := make([]item, 0, len(texts)+1)
	for i, text := range texts {
		items = append(items, item{"embedding", &i, encode(Vector(in.Model, text, dim), in.Format)})
	}
	last := len(items) - 1
	switch f {
	case TooFew:
		items = items[:last]
	case TooMany:
		i := last + 1
		items = append(items, item{"embedding", &i, items[0].Embedding})
	case NoIndex:
		slices.Reverse(items)
		for i := range items {
			items[i].Index = nil
		}
	case SameIndex:
		for i := range items {
			items[i].Index = new(int)
		}
	case Shuffled:
		slices.Reverse(items)
	case NullVector:
		items[last].Embedding = json.RawMessage("null")
	case EmptyVector:
		items[last].Embedding = json.RawMessage("[]")
	case Zeros:
		items[last].Embedding = encode(make([]float32, dim), in.Format)
	case NaN, Null, Overflow:
		items[last].Embedding = spoil(Vector(in.Model, texts[last], dim), f, in.Format)
	case NoData:
		items = nil
	}
	out, err := json.Marshal(map[string]any{
		"object": "list", "data": items, "model": in.Model, "usage": map[string]int{"prompt_tokens": tokens, "total_tokens": tokens},
	})
	if err != nil {
		panic(err) // all of it is ours
	}
	out = bytes.ReplaceAll(out, []byte(notANumber), []byte("NaN"))
	if f == Truncated {
		out = out[:len(out)/2]
	}
	if f == None || f == Shuffled {
		s.mu.Lock()
		s.stats.Served++
		s.stats.Inputs += len(texts)
		s.stats.Tokens += tokens
		s.mu.Unlock()
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(out) // to a client that may have gone
}

// encode writes a vector as numbers or, in base64, as little-endian bytes.
func encode(v []float32, format string) json.RawMessage {
	if format == "base64" {
		raw := make([]byte, 0, 4*len(v))
		for _, x := range v {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
		return json.RawMessage(strconv.Quote(base64.StdEncoding.EncodeToString(raw)))
	}
	raw := []byte{'['}
	for i, x := range v {
		if i > 0 {
			raw = append(raw, ',')
		}
		raw = strconv.AppendFloat(raw, float64(x), 'g', -1, 32)
	}
	return append(raw, ']')
}

// notANumber stands for NaN, which JSON does not have, until all is written.
const notANumber = `"not a number"`

// spoil encodes a vector with a bad number in its middle.
func spoil(v []float32, f Fault, format string) json.RawMessage {
	if format == "base64" {
		v[len(v)/2] = float32(math.NaN())
		if f == Overflow {
			v[len(v)/2] = float32(math.Inf(1))
		}
		return encode(v, format)
	}
	numbers := strings.Split(strings.Trim(string(encode(v, format)), "[]"), ",")
	numbers[len(v)/2] = map[Fault]string{NaN: notANumber, Null: "null", Overflow: "1e39"}[f]
	return json.RawMessage("[" + strings.Join(numbers, ",") + "]")
}
