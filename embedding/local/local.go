// Package local runs embedding models on the processor of this machine: no server, no key, no cgo.
//
//	e, err := local.Open("all-MiniLM-L6-v2", nil)
//	if err != nil {
//		return err
//	}
//	defer e.Close()
//	vectors, err := e.Embed(ctx, embedding.Query, []string{"project timeline"})
//
// A model is a folder as the Hugging Face hub has them. Two kinds can be run:
//
//   - models of sentence-transformers that are made of BERT, such as all-MiniLM-L6-v2, the small, base and large English ones of bge,
//     e5 and gte, and multi-qa-MiniLM. Of the folder are read config.json, model.safetensors, tokenizer.json (or vocab.txt),
//     tokenizer_config.json, modules.json, sentence_bert_config.json, config_sentence_transformers.json and the pooling's config.json.
//   - static models, which have one vector for each token: model2vec's, and StaticEmbedding of sentence-transformers, with a tokenizer
//     of word pieces. They are hundreds of times faster and know words, not sentences.
//
// Anything else is refused with an [*UnsupportedError] that says which file asks for what.
//
// # What it gives
//
// Tokens and vectors are those of the reference, Hugging Face's tokenizers and sentence-transformers: vectors have a cosine above
// 0.9999 with it. A text that is longer than the model takes is cut off, as the reference cuts it off.
//
// # What it takes
//
// The weights are in memory until Close: 90 MB for all-MiniLM-L6-v2. A computation takes some MB more on each thread. Calls share
// the threads piece by piece, so a question does not wait for a long list of passages to end. [embedding.Recommended] is not needed:
// there is nothing to retry or to limit, and lists of any length are worked off in pieces.
package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/internal/nn"
	"github.com/llmemory/llmemory/internal/wordpiece"
)

// provider is the name in [embedding.ModelInfo].
const provider = "local"

// Config says how a model is run. The zero value is ready to use.
type Config struct {
	// Name is the model's name in [embedding.ModelInfo]; vectors of different names are never compared. Defaults to the name of
	// the folder.
	Name string
	// MaxTokens cuts texts off at fewer tokens than the model does. 0 leaves it to the model.
	MaxTokens int
	// QueryPrefix and PassagePrefix are put before the texts, for models that were trained so and whose folder does not say it.
	// By default they are what config_sentence_transformers.json has as prompts for "query" and for "document" or "passage".
	QueryPrefix, PassagePrefix string
	// Threads is how many threads compute at a time, for all calls together. Defaults to GOMAXPROCS.
	Threads int
	// Kernel is the implementation of the inner loops: "avx512", "avx2", "sse2", "neon" or "portable". Defaults to the fastest that
	// this processor can run.
	Kernel string
}

// UnsupportedError says what a model is that cannot be run, and which file says so.
type UnsupportedError = nn.UnsupportedError

// FormatError says what is wrong with a file of a model, such as one that was cut off.
type FormatError = nn.FormatError

// Embedder runs one model. It is safe for concurrent use.
type Embedder struct {
	info    embedding.ModelInfo
	model   atomic.Pointer[model] // nil once closed
	threads int
	slots   chan struct{} // one for each thread that computes
}

// model is what Close lets go of.
type model struct {
	tokens *wordpiece.Model
	limit  int  // tokens of a text, those around it included
	lower  bool // texts are put into lower case before anything else
	// One of the two is there.
	encoder *nn.Encoder
	static  *nn.Static

	chars     int // static: characters of a text that are looked at, 0 for all
	poolings  []nn.Pooling
	normalize bool
}

// Open reads the model in a folder. A folder or file that is not there is an error that wraps [fs.ErrNotExist]; a model that cannot
// be run is an [*UnsupportedError], a damaged one a [*FormatError]. A nil c means defaults.
func Open(dir string, c *Config) (*Embedder, error) {
	if c == nil {
		c = &Config{}
	}
	if c.Threads < 0 || c.MaxTokens < 0 {
		return nil, errors.New("local: threads and tokens must not be negative")
	}
	e := &Embedder{threads: cmp.Or(c.Threads, runtime.GOMAXPROCS(0))}
	e.slots = make(chan struct{}, e.threads)
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	e.info = embedding.ModelInfo{Provider: provider, Model: cmp.Or(c.Name, filepath.Base(path))}
	f, err := readFolder(path)
	if err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	m, err := f.load(c)
	if err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	if c.MaxTokens > 0 && (m.limit == 0 || c.MaxTokens < m.limit) {
		m.limit = c.MaxTokens
	}
	e.info.QueryPrefix = cmp.Or(c.QueryPrefix, f.prompt("query"))
	e.info.PassagePrefix = cmp.Or(c.PassagePrefix, f.prompt("document", "passage", "corpus"))
	e.info.MaxTokens = m.limit
	e.info.Normalized = m.normalize
	if m.static != nil {
		e.info.Dimensions = m.static.Dimensions()
	} else {
		e.info.Dimensions = m.encoder.Config().Hidden * len(m.poolings)
	}
	e.model.Store(m)
	return e, nil
}

// Close lets go of the weights. Calls that are running end as if nothing had happened; later ones fail.
func (e *Embedder) Close() error {
	e.model.Store(nil)
	return nil
}

// Model implements [embedding.Embedder].
func (e *Embedder) Model() embedding.ModelInfo { return e.info }

// Kernel returns the name of the implementation of the inner loops that the model runs on, "" for a static model, which needs none.
func (e *Embedder) Kernel() string {
	if m := e.model.Load(); m != nil && m.encoder != nil {
		return m.encoder.Kernel().Name()
	}
	return ""
}

// CountTokens implements [embedding.TokenCounter]. The tokens that frame a text are counted.
func (e *Embedder) CountTokens(role embedding.Role, text string) int {
	m := e.model.Load()
	if m == nil {
		return wordpiece.Default().Count(e.info.Prefix(role) + text)
	}
	return m.tokens.Count(m.read(e.info.Prefix(role)+text)) + m.frame()
}

// errClosed is what calls after Close get.
var errClosed = fmt.Errorf("the model is closed: %w", os.ErrClosed)

// Embed implements [embedding.Embedder]. It looks at ctx every few hundred tokens.
func (e *Embedder) Embed(ctx context.Context, role embedding.Role, texts []string) ([][]float32, error) {
	m := e.model.Load()
	if m == nil {
		return nil, &embedding.Error{Kind: embedding.Refused, Provider: provider, Err: errClosed}
	}
	if len(texts) == 0 {
		return nil, nil
	}
	ids := make([][]int32, len(texts))
	prefix := e.info.Prefix(role)
	for i, text := range texts {
		if i%64 == 0 && ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w", provider, ctx.Err())
		}
		ids[i] = m.encode(prefix + text)
	}
	packs := pack(ids, e.threads)
	vectors := make([][]float32, len(texts))
	var failed error
	var once sync.Once
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fail := func(err error) {
		once.Do(func() { failed = err })
		cancel()
	}
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < len(packs); i = int(next.Add(1)) - 1 {
			if err := e.embed(ctx, m, packs[i], len(packs) == 1, ids, vectors); err != nil {
				fail(err)
				return
			}
		}
	}
	var workers sync.WaitGroup
	for range min(e.threads, len(packs)) - 1 {
		workers.Go(work)
	}
	work()
	workers.Wait()
	if failed != nil {
		return nil, failed
	}
	if err := embedding.Check(vectors, len(texts), e.info.Dimensions); err != nil {
		var at *embedding.VectorError
		kind := embedding.BadAnswer
		if m.static != nil && errors.As(err, &at) { // a text without any word that the model knows
			kind = embedding.InvalidInput
		}
		return nil, &embedding.Error{Kind: kind, Provider: provider, Err: err}
	}
	return vectors, nil
}

// span is a range of texts.
type span struct{ lo, hi int }

// packTokens is about how many tokens are computed at a time: enough that reading the weights costs little, so few that what is
// computed stays in the processor's caches and that others get their turn soon.
const packTokens = 256

// pack cuts texts into ranges with about the same number of tokens, as many as the threads can share evenly.
func pack(ids [][]int32, threads int) []span {
	total := 0
	for _, tokens := range ids {
		total += len(tokens) + 1 // so that empty ones count
	}
	n := (total + packTokens - 1) / packTokens
	n = min((n+threads-1)/threads*threads, len(ids))
	var out []span
	lo, sum := 0, 0
	for i, tokens := range ids {
		sum += len(tokens) + 1
		if sum*n >= total*(len(out)+1) {
			out = append(out, span{lo, i + 1})
			lo = i + 1
		}
	}
	return out
}

// embed computes the vectors of a range of texts, on one thread, or on as many as are free if nothing else is to be done.
func (e *Embedder) embed(ctx context.Context, m *model, s span, alone bool, ids [][]int32, vectors [][]float32) error {
	select {
	case e.slots <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", provider, ctx.Err())
	}
	threads := 1
	defer func() {
		for range threads {
			<-e.slots
		}
	}()
	if ctx.Err() != nil { // a select with both at hand takes either
		return fmt.Errorf("%s: %w", provider, ctx.Err())
	}
	for free := alone; free && threads < e.threads; {
		select {
		case e.slots <- struct{}{}:
			threads++
		default:
			free = false
		}
	}
	got, err := m.embed(ids[s.lo:s.hi], threads)
	if err != nil {
		return &embedding.Error{Kind: embedding.Refused, Provider: provider, Err: err}
	}
	copy(vectors[s.lo:], got)
	return nil
}

// read is what the tokenizer gets of a text.
func (m *model) read(text string) string {
	if m.lower {
		text = strings.ToLower(text)
	}
	if m.chars > 0 && len(text) > m.chars {
		n := 0
		for i := range text {
			if n == m.chars {
				return text[:i]
			}
			n++
		}
	}
	return text
}

// frame is how many tokens are put around a text.
func (m *model) frame() int {
	if m.static != nil {
		return 0
	}
	return 2
}

// encode returns the tokens of a text as the model gets them.
func (m *model) encode(text string) []int32 {
	text = m.read(text)
	if m.static == nil {
		ids := m.tokens.EncodeUpTo(text, max(0, m.limit-2))
		framed := make([]int32, 0, len(ids)+2)
		return append(append(append(framed, m.tokens.First), ids...), m.tokens.Last)
	}
	limit := m.limit
	if limit == 0 {
		limit = math.MaxInt
	}
	ids := m.tokens.EncodeUpTo(text, limit)
	if m.static.Plain() {
		return ids
	}
	known := ids[:0]
	for _, id := range ids {
		if id != m.tokens.Unknown() {
			known = append(known, id)
		}
	}
	return known
}

// embed computes the vectors of texts.
func (m *model) embed(ids [][]int32, threads int) (vectors [][]float32, err error) {
	if m.static != nil {
		vectors = make([][]float32, len(ids))
		for i, tokens := range ids {
			if vectors[i], err = m.static.Embed(tokens); err != nil {
				return nil, err
			}
		}
	} else {
		var b nn.Batch
		for _, tokens := range ids {
			b.IDs = append(b.IDs, tokens...)
			b.Lengths = append(b.Lengths, len(tokens))
		}
		if vectors, err = m.encoder.Embed(b, threads, m.poolings...); err != nil {
			return nil, err
		}
	}
	if m.normalize {
		for _, v := range vectors {
			nn.Normalize(v)
		}
	}
	return vectors, nil
}
