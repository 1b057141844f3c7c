package openai_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/embedding/openai"
)

const (
	canary = "sk-canary-5f1d7a90c3b2"
	secret = "the text is nobody's business"
	model  = "tiny"
	dim    = 40
)

func serve(t *testing.T, c embedtest.ServerConfig) *embedtest.Server {
	t.Helper()
	if c.Models == nil {
		c.Models = map[string]int{model: dim}
	}
	s := embedtest.NewServer(c)
	t.Cleanup(s.Close)
	return s
}

func client(s *embedtest.Server) openai.Config {
	return openai.Config{BaseURL: s.URL, Model: model, APIKey: openai.NewSecret(canary), Timeout: 5 * time.Second}
}

func texts(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("text number %d", i)
	}
	return out
}

func kindOf(err error) embedding.Kind {
	var e *embedding.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

func TestEmbed(t *testing.T) {
	t.Parallel()
	s := serve(t, embedtest.ServerConfig{Key: canary, Models: map[string]int{"text-embedding-3-small": 1536, model: dim}})
	for _, tt := range []struct {
		name   string
		change func(*openai.Config)
		model  string
		prefix string
		dim    int
	}{
		{"plain", func(*openai.Config) {}, model, "", dim},
		{"base64", func(c *openai.Config) { c.Base64 = true }, model, "", dim},
		{"prefix", func(c *openai.Config) { c.QueryPrefix, c.PassagePrefix = "query: ", "passage: " }, model, "passage: ", dim},
		{"known model", func(c *openai.Config) { c.Model = "" }, "text-embedding-3-small", "", 1536},
		{"dimensions", func(c *openai.Config) { c.Model, c.Dimensions = "text-embedding-3-small", 256 }, "text-embedding-3-small", "", 256},
		{"key header", func(c *openai.Config) { c.KeyHeader, c.APIVersion = "api-key", "2024-10-21" }, model, "", dim},
	} {
		c := client(s)
		tt.change(&c)
		e := openai.New(c)
		in := texts(20)
		vectors, err := e.Embed(t.Context(), embedding.Passage, in)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if e.Model().Dimensions != tt.dim {
			t.Errorf("%s: dimensions %d", tt.name, e.Model().Dimensions)
		}
		for i, v := range vectors {
			if len(v) != tt.dim {
				t.Errorf("%s: %d dimensions", tt.name, len(v))
			} else if err := embedtest.Matches(v, tt.model, tt.prefix+in[i]); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
	}
	before := s.Stats().Calls
	if vectors, err := openai.New(client(s)).Embed(t.Context(), embedding.Query, nil); len(vectors) != 0 || err != nil || s.Stats().Calls != before {
		t.Errorf("no texts: %v, %v", vectors, err)
	}
}

// What goes over the wire, member by member: what was not asked for is not sent.
func TestRequest(t *testing.T) {
	t.Parallel()
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = fmt.Sprintf("%s %s %q %q %s", r.Method, r.URL, r.Header.Get("Authorization"), r.Header.Get("Api-Key"), body)
		io.WriteString(w, `{"data":[{"embedding":[3,4]}]}`)
	}))
	defer server.Close()
	for _, tt := range []struct {
		config openai.Config
		want   string
	}{
		{openai.Config{Model: "m"}, `POST /v1/embeddings "" "" {"model":"m","input":["q: <x>"],"encoding_format":"float"}`},
		{openai.Config{Model: "m", Dimensions: 2, Base64: true, APIKey: openai.NewSecret("k")},
			`POST /v1/embeddings "Bearer k" "" {"model":"m","input":["q: <x>"],"encoding_format":"base64","dimensions":2}`},
		{openai.Config{Model: "m", KeyHeader: "api-key", APIVersion: "2024-10-21", APIKey: openai.NewSecret("k")},
			`POST /v1/embeddings?api-version=2024-10-21 "" "k" {"model":"m","input":["q: <x>"],"encoding_format":"float"}`},
	} {
		tt.config.BaseURL, tt.config.QueryPrefix = server.URL+"/v1/", "q: "
		vectors, err := openai.New(tt.config).Embed(t.Context(), embedding.Query, []string{"<x>"})
		got = strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(got)
		if err != nil || got != tt.want {
			t.Errorf("%v\n got %s\nwant %s", err, got, tt.want)
		}
		if len(vectors) != 1 || !slices.Equal(vectors[0], []float32{3, 4}) {
			t.Errorf("vectors %v", vectors)
		}
	}
	unit, err := openai.New(openai.Config{BaseURL: server.URL, Model: "m", Normalize: true}).Embed(t.Context(), embedding.Query, []string{"x"})
	if err != nil || !slices.Equal(unit[0], []float32{0.6, 0.8}) {
		t.Errorf("normalized: %v, %v", unit, err)
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		config openai.Config
		want   embedding.ModelInfo
	}{
		{openai.Config{}, embedding.ModelInfo{Provider: "openai", Model: "text-embedding-3-small", Dimensions: 1536, Normalized: true, MaxTokens: 8192, PricePerMillionTokens: 0.02}},
		{openai.Config{Model: "text-embedding-3-large", Dimensions: 1024}, embedding.ModelInfo{Provider: "openai", Model: "text-embedding-3-large", Dimensions: 1024, Normalized: true, MaxTokens: 8192, PricePerMillionTokens: 0.13}},
		{openai.Config{Model: "text-embedding-ada-002", PricePerMillionTokens: 0.2}, embedding.ModelInfo{Provider: "openai", Model: "text-embedding-ada-002", Dimensions: 1536, Normalized: true, MaxTokens: 8192, PricePerMillionTokens: 0.2}},
		{openai.Config{BaseURL: "http://localhost:1/v1", Model: "x", MaxTokens: 256, QueryPrefix: "q", PassagePrefix: "p"}, embedding.ModelInfo{Provider: "openai", Model: "x", MaxTokens: 256, QueryPrefix: "q", PassagePrefix: "p"}},
		{openai.Config{BaseURL: "http://localhost:1/v1", Model: "x", Normalize: true}, embedding.ModelInfo{Provider: "openai", Model: "x", Normalized: true}},
	} {
		if got := openai.New(tt.config).Model(); got != tt.want {
			t.Errorf("Model() = %+v, want %+v", got, tt.want)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for want, config := range map[string]openai.Config{
		"base URL":                         {BaseURL: "localhost:11434"},
		"dimensions must not be negative":  {Dimensions: -1},
		"cannot be chosen":                 {Model: "text-embedding-ada-002", Dimensions: 256},
		"must be at most 1536":             {Dimensions: 1537},
		"must be at most 16384":            {Model: "x", Dimensions: 20000},
		"longest input":                    {MaxTokens: -1},
		"price":                            {PricePerMillionTokens: -1},
		"timeout":                          {Timeout: -time.Second},
		"unencrypted":                      {BaseURL: "http://example.org", APIKey: openai.NewSecret(canary)},
		"must be printable":                {APIKey: openai.NewSecret("a\nb")},
		"base URL must be http://… or htt": {BaseURL: "ftp://x", Dimensions: -1},
	} {
		err := config.Validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate() = %v, want %q", err, want)
		}
		_, used := openai.New(config).Embed(t.Context(), embedding.Query, texts(1))
		if kindOf(used) != embedding.Refused || !strings.Contains(used.Error(), want) || strings.Contains(used.Error(), canary) {
			t.Errorf("Embed: %v, want %q", used, want)
		}
	}
	both := openai.Config{BaseURL: "ftp://x", Dimensions: -1, MaxTokens: -1}.Validate()
	if lines := strings.Split(fmt.Sprint(both), "\n"); len(lines) != 3 {
		t.Errorf("three faults, told %q", lines)
	}
	if err := (openai.Config{}).Validate(); err != nil {
		t.Error(err)
	}
}

// fault is what a fault of the server has to come out as.
type fault struct {
	fault  embedtest.Fault
	kind   embedding.Kind // of one call; "" for none
	status int
}

var faults = []fault{
	{embedtest.RateLimited, embedding.RateLimited, 429},
	{embedtest.NoQuota, embedding.Unauthorized, 429},
	{embedtest.ServerError, embedding.Unavailable, 500},
	{embedtest.Unavailable, embedding.Unavailable, 503},
	{embedtest.Hang, embedding.Unavailable, 0},
	{embedtest.Drip, embedding.Unavailable, 0},
	{embedtest.Reset, embedding.Unavailable, 0},
	{embedtest.ResetMidBody, embedding.Unavailable, 0},
	{embedtest.Truncated, embedding.BadAnswer, 0},
	{embedtest.TooFew, embedding.BadAnswer, 0},
	{embedtest.TooMany, embedding.BadAnswer, 0},
	{embedtest.NoIndex, embedding.BadAnswer, 0},
	{embedtest.SameIndex, embedding.BadAnswer, 0},
	{embedtest.Shuffled, "", 0},
	{embedtest.WrongDimension, embedding.BadAnswer, 0},
	{embedtest.NaN, embedding.BadAnswer, 0},
	{embedtest.Null, embedding.BadAnswer, 0},
	{embedtest.NullVector, embedding.BadAnswer, 0},
	{embedtest.EmptyVector, embedding.BadAnswer, 0},
	{embedtest.Zeros, embedding.BadAnswer, 0},
	{embedtest.Overflow, embedding.BadAnswer, 0},
	{embedtest.EmptyBody, embedding.BadAnswer, 0},
	{embedtest.NoData, embedding.BadAnswer, 0},
	{embedtest.HTML, embedding.BadAnswer, 0},
	{embedtest.Huge, embedding.BadAnswer, 200},
	{embedtest.Redirect, embedding.Refused, 307},
	{embedtest.BadRequest, embedding.InvalidInput, 400},
	{embedtest.TooLarge, embedding.InvalidInput, 413},
	{embedtest.BadEntity, embedding.InvalidInput, 422},
	{embedtest.WrongKey, embedding.Unauthorized, 401},
	{embedtest.Forbidden, embedding.Unauthorized, 403},
	{embedtest.WrongModel, embedding.ModelNotFound, 404},
}

// Each fault comes out as what it is, within the time there is, without a vector, and without telling the key or the text.
func TestFaultsAreTyped(t *testing.T) {
	t.Parallel()
	for _, tt := range faults {
		for _, base64 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%t", tt.fault, base64), func(t *testing.T) {
				t.Parallel()
				s := serve(t, embedtest.ServerConfig{RetryAfter: 7 * time.Second, RedirectTo: "http://169.254.169.254/latest"})
				s.Fail(embedtest.Always(tt.fault))
				c := client(s)
				c.Base64 = base64
				if tt.fault == embedtest.Hang || tt.fault == embedtest.Drip {
					c.Timeout = 300 * time.Millisecond
				}
				e := openai.New(c)
				if tt.fault == embedtest.WrongDimension { // which is wrong once the right one is known
					s.Fail(embedtest.Next(embedtest.None, tt.fault))
					if _, err := embedding.Probe(t.Context(), e); err != nil {
						t.Fatal(err)
					}
				}
				start := time.Now()
				vectors, err := e.Embed(t.Context(), embedding.Passage, []string{"one", secret})
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("took %s", took)
				}
				if tt.kind == "" {
					if err != nil || len(vectors) != 2 || embedtest.Matches(vectors[1], model, secret) != nil {
						t.Errorf("%v", err)
					}
					return
				}
				var typed *embedding.Error
				if vectors != nil || !errors.As(err, &typed) || typed.Kind != tt.kind || typed.Status != tt.status || typed.Provider != "openai" {
					t.Fatalf("%d vectors, %v; want %s, status %d", len(vectors), err, tt.kind, tt.status)
				}
				if tt.fault == embedtest.RateLimited && embedding.RetryAfter(err) != 7*time.Second {
					t.Errorf("retry after %s", embedding.RetryAfter(err))
				}
				if text := fmt.Sprintf("%v\n%+v\n%#v", err, err, typed); strings.Contains(text, canary) || strings.Contains(text, secret) {
					t.Errorf("tells what is secret: %s", text)
				}
			})
		}
	}
}

// quick are options whose waits a test can sit out.
func quick() *embedding.Options {
	return &embedding.Options{
		Batch: embedding.BatchOptions{MaxInputs: 16},
		Retry: embedding.RetryOptions{BaseDelay: time.Millisecond, MaxDelay: 5 * time.Millisecond},
	}
}

// A fault that passes costs no text and few calls, whatever it is.
func TestFaultsThatPass(t *testing.T) {
	t.Parallel()
	for _, tt := range faults {
		t.Run(string(tt.fault), func(t *testing.T) {
			t.Parallel()
			s := serve(t, embedtest.ServerConfig{RetryAfter: 5 * time.Millisecond, RedirectTo: "http://169.254.169.254/latest"})
			s.Fail(embedtest.Next(embedtest.None, tt.fault)) // the second call
			c := client(s)
			if tt.fault == embedtest.Hang || tt.fault == embedtest.Drip {
				c.Timeout = time.Second
			}
			in := texts(64)
			e := embedding.Recommended(openai.New(c), quick())
			results := embedding.EmbedEach(t.Context(), e, embedding.Passage, in)
			// Somebody has to act if the key or the address is wrong; until then nothing else is asked.
			fatal := tt.kind == embedding.Unauthorized || tt.kind == embedding.ModelNotFound || tt.kind == embedding.Refused
			for i, r := range results {
				switch {
				case fatal && i >= 16:
					if r.Vector != nil || kindOf(r.Err) != tt.kind {
						t.Fatalf("text %d: %v", i, r.Err)
					}
				case r.Err != nil:
					t.Fatalf("text %d: %v", i, r.Err)
				default:
					if err := embedtest.Matches(r.Vector, model, in[i]); err != nil {
						t.Fatal(err)
					}
				}
			}
			// Four calls, and one again, or the search for a text at fault; after a refusal there is nothing.
			most := 5
			switch {
			case fatal:
				most = 2
			case tt.kind == embedding.InvalidInput || tt.kind == embedding.BadAnswer:
				most = 4 + 2*4 + 1
			}
			if got := s.Stats().Calls; got > most {
				t.Errorf("%d calls, want at most %d", got, most)
			}
		})
	}
}

// One text that a server cannot take, in whatever way it says so, fails alone, within the bound on calls.
func TestPoison(t *testing.T) {
	t.Parallel()
	for _, tt := range faults {
		if tt.kind != embedding.InvalidInput && tt.kind != embedding.BadAnswer {
			continue
		}
		t.Run(string(tt.fault), func(t *testing.T) {
			t.Parallel()
			in := texts(64)
			s := serve(t, embedtest.ServerConfig{})
			o := quick()
			o.Batch.MaxInputs = 64
			c := client(s)
			c.Dimensions = dim
			for _, at := range []int{0, 31, 40, 63} {
				s.Reset()
				s.Fail(embedtest.Poison(tt.fault, in[at]))
				results := embedding.EmbedEach(t.Context(), embedding.Recommended(openai.New(c), o), embedding.Passage, in)
				for i, r := range results {
					switch alone := i == at; {
					case alone && (tt.fault == embedtest.NoIndex || tt.fault == embedtest.SameIndex):
						// What has no order is right when it is alone.
						if r.Err != nil || embedtest.Matches(r.Vector, model, in[i]) != nil {
							t.Errorf("text %d: %v", i, r.Err)
						}
					case alone:
						if r.Vector != nil || kindOf(r.Err) != tt.kind || !embedding.InputFault(r.Err) {
							t.Errorf("poison at %d: %v", at, r.Err)
						}
					case r.Err != nil:
						t.Errorf("poison at %d: text %d: %v", at, i, r.Err)
					default:
						if err := embedtest.Matches(r.Vector, model, in[i]); err != nil {
							t.Error(err)
						}
					}
				}
				if extra := s.Stats().Calls - 1; float64(extra) > 2*math.Log2(64)+1 {
					t.Errorf("poison at %d: %d further calls", at, extra)
				}
			}
		})
	}
}

// A server with small limits gets everything, in smaller parts.
func TestLimitsOfTheServer(t *testing.T) {
	t.Parallel()
	s := serve(t, embedtest.ServerConfig{MaxInputs: 10, MaxTokens: 30, MaxRequestTokens: 60})
	in := texts(100)
	in[7] = strings.Repeat("far too long a text ", 20)
	in[60] = ""
	for i, r := range embedding.EmbedEach(t.Context(), embedding.Recommended(openai.New(client(s)), nil), embedding.Passage, in) {
		if bad := i == 7 || i == 60; bad != embedding.InputFault(r.Err) || bad != (r.Err != nil) {
			t.Errorf("text %d: %v", i, r.Err)
		}
	}
	if s.Stats().Inputs != 98 {
		t.Errorf("%d texts paid, want each once", s.Stats().Inputs)
	}
}

// Every fault at random, for a while: whatever a result says is true, and no text is lost.
func TestFaultsAtRandom(t *testing.T) {
	t.Parallel()
	s := serve(t, embedtest.ServerConfig{RetryAfter: time.Millisecond, RedirectTo: "http://169.254.169.254/"})
	var n atomic.Int64
	s.Fail(func(embedtest.Call) embedtest.Fault {
		i := n.Add(1)
		if i%3 == 0 || i > 200 {
			return embedtest.None
		}
		return faults[int(i*7)%len(faults)].fault
	})
	c := client(s)
	c.Dimensions, c.Timeout = dim, 500*time.Millisecond
	o := quick()
	o.Batch.Concurrency = 4
	o.Breaker = embedding.BreakerOptions{Failures: math.MaxInt}
	e := embedding.Recommended(openai.New(c), o)
	in := texts(120)
	left := slices.Clone(in)
	for round := 0; len(left) > 0; round++ {
		if round > 300 {
			t.Fatalf("%d texts have no vector after %d calls", len(left), n.Load())
		}
		var again []string
		for i, r := range embedding.EmbedEach(t.Context(), e, embedding.Passage, left) {
			if r.Err != nil {
				if kindOf(r.Err) == "" {
					t.Fatalf("untyped: %v", r.Err)
				}
				again = append(again, left[i])
			} else if err := embedtest.Matches(r.Vector, model, left[i]); err != nil {
				t.Fatal(err)
			}
		}
		left = again
	}
}

// The key shows up nowhere: in no error of any fault, no log of anything there is, no panic, no dump.
func TestKeyIsNowhere(t *testing.T) {
	t.Parallel()
	s := serve(t, embedtest.ServerConfig{RedirectTo: "http://169.254.169.254/?key=" + canary})
	var out bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}))
	text := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	dump := func(value any) {
		logger.Debug("value", "value", value)
		text.Debug("value", "value", value)
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, format+"\n", value)
		}
		if raw, err := json.Marshal(value); err == nil {
			out.Write(raw)
		}
		func() {
			defer func() { fmt.Fprintf(&out, "%v %+v\n", recover(), value) }()
			panic(value)
		}()
	}
	c := client(s)
	c.Timeout = 200 * time.Millisecond
	e := openai.New(c)
	for _, value := range []any{c, &c, c.APIKey, &c.APIKey, e, *client2(e), struct{ hidden openai.Config }{c}, embedding.Recommended(e, nil), map[string]any{"c": c}} {
		dump(value)
	}
	for _, tt := range faults {
		s.Fail(embedtest.Always(tt.fault))
		_, err := e.Embed(t.Context(), embedding.Passage, []string{canary[:6] + "…"})
		dump(err)
		for ; err != nil; err = errors.Unwrap(err) {
			dump(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.Embed(ctx, embedding.Passage, texts(1))
	dump(err)
	for _, url := range []string{"http://127.0.0.1:1/" + canary, "https://user:" + canary + "@example.org", "http://example.org", "://" + canary} {
		broken := c
		broken.BaseURL = url
		dump(broken.Validate())
		_, err := openai.New(broken).Embed(t.Context(), embedding.Passage, texts(1))
		dump(fmt.Sprint(err))
	}
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary)} {
		if i := strings.Index(out.String(), form); i >= 0 {
			t.Errorf("the key shows up: …%s…", out.String()[max(0, i-200):min(out.Len(), i+80)])
		}
	}
	if !strings.Contains(out.String(), "Incorrect API key provided: ***") {
		t.Error("the server's answer with the key in it was not part of the test")
	}
}

// client2 returns what its argument points to, which go vet would rather not see copied.
func client2(e *openai.Embedder) *openai.Embedder { return e }

// Redirects lead nowhere, not even to another port of the same machine, whose server would be given the texts.
func TestRedirect(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer target.Close()
	s := serve(t, embedtest.ServerConfig{RedirectTo: target.URL + "/v1/embeddings"})
	s.Fail(embedtest.Always(embedtest.Redirect))
	for _, own := range []*http.Client{nil, {}, target.Client()} {
		c := client(s)
		c.Client = own
		e := embedding.Recommended(openai.New(c), quick())
		if _, err := e.Embed(t.Context(), embedding.Query, texts(1)); kindOf(err) != embedding.Refused {
			t.Errorf("%v", err)
		}
	}
	if reached.Load() != 0 || s.Stats().Calls != 3 {
		t.Errorf("%d redirects followed after %d calls", reached.Load(), s.Stats().Calls)
	}
}

// A name that leads to this machine is not connected to, unless that is allowed.
func TestAddresses(t *testing.T) {
	t.Parallel()
	s := serve(t, embedtest.ServerConfig{})
	port := s.URL[strings.LastIndex(s.URL, ":"):]
	for _, host := range []string{"0.0.0.0", "[::]", "[::ffff:0.0.0.0]"} {
		c := client(s)
		c.BaseURL, c.AllowPrivate = "http://"+host+port, true
		if _, err := openai.New(c).Embed(t.Context(), embedding.Query, texts(1)); kindOf(err) != embedding.Refused {
			t.Errorf("%s: %v", host, err)
		}
	}
	if s.Stats().Calls != 0 {
		t.Errorf("%d calls", s.Stats().Calls)
	}
	c := client(s)
	c.BaseURL = "http://localhost" + port
	if _, err := openai.New(c).Embed(t.Context(), embedding.Query, texts(1)); err != nil {
		t.Errorf("localhost: %v", err)
	}
}

func TestErrorWithStatusOfSuccess(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"error":{"message":"upstream of `+canary+`\nis down","code":502}}`)
	}))
	defer server.Close()
	_, err := openai.New(openai.Config{BaseURL: server.URL, Model: "m", APIKey: openai.NewSecret(canary)}).Embed(t.Context(), embedding.Query, texts(1))
	if want := "openai: bad answer: upstream of *** is down: 0 vectors for 1 texts"; fmt.Sprint(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// What is counted beforehand is what is billed: exactly for OpenAI's models, prefix included.
func TestCountTokens(t *testing.T) {
	t.Parallel()
	s := serve(t, embedtest.ServerConfig{Models: map[string]int{"text-embedding-3-small": 64}})
	c := client(s)
	c.Model, c.PassagePrefix, c.Dimensions = "text-embedding-3-small", "passage: ", 64
	e := openai.New(c)
	in := []string{"Plain English prose.", "Größenordnungsmäßig übertrifft dies alles.", "我喜欢学习中文。", "for i := range n { sum += int(v[i]) }\n", "🙂 <|endoftext|>"}
	want := 0
	for _, text := range in {
		want += embedding.CountTokens(embedding.Recommended(e, nil), embedding.Passage, text)
	}
	if _, err := e.Embed(t.Context(), embedding.Passage, in); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats().Tokens; got != want {
		t.Errorf("%d tokens billed, %d counted", got, want)
	}
	other := openai.New(openai.Config{Model: "x"})
	if got := other.CountTokens(embedding.Query, "embeddings"); got != 4 { // em ##bed ##ding ##s
		t.Errorf("%d word pieces", got)
	}
	own := openai.New(openai.Config{Model: "x", QueryPrefix: "abc", CountTokens: func(s string) int { return len(s) }})
	if got := own.CountTokens(embedding.Query, "de"); got != 5 {
		t.Errorf("%d", got)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := serve(t, embedtest.ServerConfig{})
	c := client(s)
	o := quick()
	o.Batch.Concurrency = 8
	e := embedding.Recommended(openai.New(c), o)
	in := texts(500)
	vectors, err := e.Embed(t.Context(), embedding.Passage, in)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range vectors {
		if err := embedtest.Matches(v, model, in[i]); err != nil {
			t.Fatal(err)
		}
	}
}
