package nn

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// Config describes an encoder of the BERT family; it is what a model's config.json says.
type Config struct {
	Type         string   `json:"model_type"`
	Architecture []string `json:"architectures"`
	Hidden       int      `json:"hidden_size"`
	Layers       int      `json:"num_hidden_layers"`
	Heads        int      `json:"num_attention_heads"`
	Intermediate int      `json:"intermediate_size"`
	Vocabulary   int      `json:"vocab_size"`
	Positions    int      `json:"max_position_embeddings"`
	Types        int      `json:"type_vocab_size"`
	Activation   string   `json:"hidden_act"`
	Epsilon      float64  `json:"layer_norm_eps"`
	Position     string   `json:"position_embedding_type"`
	// Labels are what a classification tells apart.
	Labels map[string]string `json:"id2label"`
}

// Limits beyond which a config.json is taken for damaged.
const (
	maxHidden = 1 << 14
	maxLayers = 256
	maxRows   = 1 << 24
)

// ReadConfig reads a config.json and refuses what is no encoder this package can run, with an [*UnsupportedError].
func ReadConfig(path string) (Config, error) {
	c := Config{Types: 2, Epsilon: 1e-12, Activation: "gelu", Position: "absolute", Positions: 512}
	data, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, &FormatError{Path: path, Rule: err.Error()}
	}
	unsupported := func(part, have, want string) (Config, error) {
		return c, &UnsupportedError{Path: path, Part: part, Have: have, Want: want}
	}
	if c.Type != "bert" {
		have := strconv.Quote(c.Type)
		if c.Type == "" && len(c.Architecture) > 0 {
			have += " of " + strings.Join(c.Architecture, ", ")
		}
		return unsupported("model_type", have, `"bert"`)
	}
	if c.Position != "absolute" {
		return unsupported("position_embedding_type", strconv.Quote(c.Position), `"absolute"`)
	}
	if c.Activation != "gelu" {
		return unsupported("hidden_act", strconv.Quote(c.Activation), `"gelu"`)
	}
	for _, f := range []struct {
		name      string
		value, of int
	}{
		{"hidden_size", c.Hidden, maxHidden}, {"num_hidden_layers", c.Layers, maxLayers}, {"num_attention_heads", c.Heads, maxHidden},
		{"intermediate_size", c.Intermediate, maxHidden * 8}, {"vocab_size", c.Vocabulary, maxRows},
		{"max_position_embeddings", c.Positions, maxRows}, {"type_vocab_size", c.Types, maxRows},
	} {
		if f.value < 1 || f.value > f.of {
			return c, &FormatError{Path: path, Rule: fmt.Sprintf("%s is %d, not 1 to %d", f.name, f.value, f.of)}
		}
	}
	if c.Hidden%c.Heads != 0 {
		return c, &FormatError{Path: path, Rule: fmt.Sprintf("hidden_size %d is no multiple of num_attention_heads %d", c.Hidden, c.Heads)}
	}
	if !(c.Epsilon >= 0 && c.Epsilon < 1) {
		return c, &FormatError{Path: path, Rule: fmt.Sprintf("layer_norm_eps is %v", c.Epsilon)}
	}
	return c, nil
}

// Encoder is a model of the BERT family. It is immutable, and safe for concurrent use.
//
// Source: Devlin et al., BERT, 2018; Vaswani et al., Attention Is All You Need, 2017.
type Encoder struct {
	config Config
	kernel *Kernel
	words  []float32 // a row for each token
	places []float32 // a row for each position
	types  []float32
	norm   norm // of the sum of the three
	layers []layer
	spaces sync.Pool // of *space
}

// norm is a layer normalisation.
type norm struct{ weight, bias []float32 }

// layer is one of an encoder's.
type layer struct {
	attend    matrix // queries, keys and values side by side; queries are scaled
	mix       matrix
	attendEnd norm
	widen     matrix
	narrow    matrix
	narrowEnd norm
}

// reader reads named tensors and keeps the first error.
type reader struct {
	*Tensors
	prefix string
	err    error
}

func (r *reader) floats(name string, shape ...int) []float32 {
	if r.err != nil {
		return nil
	}
	var out []float32
	out, r.err = r.Floats(r.prefix+name, shape...)
	return out
}

func (r *reader) norm(name string, size int) norm {
	weight, bias := ".weight", ".bias"
	if _, ok := r.Lookup(r.prefix + name + ".gamma"); ok { // as old files call them
		weight, bias = ".gamma", ".beta"
	}
	return norm{r.floats(name+weight, size), r.floats(name+bias, size)}
}

// put reads a linear layer into the columns of m from first on.
func (r *reader) put(m *matrix, first, out int, name string, factor float32) {
	weights, bias := r.floats(name+".weight", out, m.in), r.floats(name+".bias", out)
	if r.err == nil {
		m.set(first, weights, bias, factor)
	}
}

// OpenEncoder reads config.json and model.safetensors of a folder. A nil kernel means the best one.
func OpenEncoder(dir string, kernel *Kernel) (*Encoder, error) {
	config, err := ReadConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, err
	}
	tensors, err := OpenTensors(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		return nil, err
	}
	defer tensors.Close()
	return NewEncoder(config, tensors, kernel)
}

// NewEncoder reads the weights of an encoder. A nil kernel means the best one.
func NewEncoder(c Config, tensors *Tensors, kernel *Kernel) (*Encoder, error) {
	if kernel == nil {
		kernel = Best()
	}
	r := &reader{Tensors: tensors}
	if _, ok := tensors.Lookup("bert.embeddings.word_embeddings.weight"); ok {
		r.prefix = "bert."
	}
	e := &Encoder{config: c, kernel: kernel, layers: make([]layer, c.Layers)}
	h := c.Hidden
	e.places = r.floats("embeddings.position_embeddings.weight", c.Positions, h)
	e.types = r.floats("embeddings.token_type_embeddings.weight", c.Types, h)
	e.norm = r.norm("embeddings.LayerNorm", h)
	// Layers are read side by side: it is copying more than reading.
	var wait sync.WaitGroup
	readers := make([]reader, c.Layers)
	wait.Go(func() {
		e.words = r.floats("embeddings.word_embeddings.weight", c.Vocabulary, h)
	})
	for i := range e.layers {
		readers[i] = reader{Tensors: tensors, prefix: fmt.Sprintf("%sencoder.layer.%d.", r.prefix, i)}
		wait.Go(func() { e.layers[i] = readers[i].layer(c, kernel) })
	}
	wait.Wait()
	for i := range readers {
		if r.err == nil {
			r.err = readers[i].err
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return e, nil
}

// layer reads one layer.
func (r *reader) layer(c Config, k *Kernel) layer {
	h := c.Hidden
	// A shape that the file does not have must not cost memory.
	if _, err := r.find(r.prefix+"intermediate.dense.weight", []int{c.Intermediate, h}, "F32", "F16", "BF16"); err != nil {
		r.err = err
		return layer{}
	}
	l := layer{
		attend: k.newMatrix(h, 3*h, nil, nil, 1), mix: k.newMatrix(h, h, nil, nil, 1),
		widen: k.newMatrix(h, c.Intermediate, nil, nil, 1), narrow: k.newMatrix(c.Intermediate, h, nil, nil, 1),
	}
	r.put(&l.attend, 0, h, "attention.self.query", float32(1/math.Sqrt(float64(h/c.Heads))))
	r.put(&l.attend, h, h, "attention.self.key", 1)
	r.put(&l.attend, 2*h, h, "attention.self.value", 1)
	r.put(&l.mix, 0, h, "attention.output.dense", 1)
	l.attendEnd = r.norm("attention.output.LayerNorm", h)
	r.put(&l.widen, 0, c.Intermediate, "intermediate.dense", 1)
	r.put(&l.narrow, 0, h, "output.dense", 1)
	l.narrowEnd = r.norm("output.LayerNorm", h)
	return l
}

// Config returns what the encoder was made of.
func (e *Encoder) Config() Config { return e.config }

// Kernel returns the implementation it runs on.
func (e *Encoder) Kernel() *Kernel { return e.kernel }

// Batch is the tokens of several texts, one text after the other.
type Batch struct {
	IDs []int32
	// Types are 0 for the tokens of a first text and 1 for those of a second. nil means 0 for all.
	Types []int32
	// Lengths are how many tokens each text has, at least 1 and at most Config.Positions. Their sum is the number of ids.
	Lengths []int
}

// check returns an error unless the encoder can take the batch.
func (e *Encoder) check(b Batch) error {
	sum := 0
	for i, n := range b.Lengths {
		if n < 1 || n > e.config.Positions {
			return fmt.Errorf("text %d has %d tokens, not 1 to %d", i, n, e.config.Positions)
		}
		sum += n
	}
	if sum != len(b.IDs) || b.Types != nil && len(b.Types) != sum {
		return fmt.Errorf("lengths sum up to %d, there are %d tokens and %d types", sum, len(b.IDs), len(b.Types))
	}
	for i, id := range b.IDs {
		if id < 0 || int(id) >= e.config.Vocabulary {
			return fmt.Errorf("token %d is %d, the model knows %d", i, id, e.config.Vocabulary)
		}
		if b.Types != nil && (b.Types[i] < 0 || int(b.Types[i]) >= e.config.Types) {
			return fmt.Errorf("token %d is of type %d, the model knows %d", i, b.Types[i], e.config.Types)
		}
	}
	return nil
}

// space is the memory that a computation takes.
type space struct {
	hidden  []float32 // of each token, what is known so far
	wide    []float32 // queries, keys and values of each token, or what its hidden was widened to
	mixed   []float32 // what attention gives
	added   []float32 // what is to be added to hidden
	workers []scratch
}

// scratch is the memory of one worker.
type scratch struct {
	keys   []float32 // of one head, in panels
	values []float32 // of one head, if the kernel cannot read them in place
	scores []float32 // of some rows
	out    []float32 // of some rows, if the kernel cannot write them in place
	mask   []float32 // what is added to scores: 0 for tokens, very little for what fills the last panel
}

// grow returns a slice of n, reusing s if it is long enough. What it holds is unspecified.
func grow(s []float32, n int) []float32 {
	if cap(s) >= n {
		return s[:n]
	}
	return make([]float32, n)
}

// rowBlock is how many tokens go through the two large layers, or through the attention of a head, at a time: so many that what
// they need stays in the processor's caches.
const rowBlock = 96

// strides of the buffers, in elements: rounded up to whole panels.
func (e *Encoder) strides() (hidden, attend, widened int) {
	k, h := e.kernel, e.config.Hidden
	return roundUp(h, k.cols), roundUp(3*h, k.cols), roundUp(e.config.Intermediate, k.cols)
}

// run computes the hidden vectors of all tokens, rows of stride elements, on the given number of threads, and passes them to use. They
// are gone afterwards.
func (e *Encoder) run(b Batch, threads int, use func(hidden []float32, stride int)) error {
	if err := e.check(b); err != nil {
		return err
	}
	if len(b.IDs) == 0 {
		use(nil, 0)
		return nil
	}
	s, _ := e.spaces.Get().(*space)
	if s == nil {
		s = &space{}
	}
	defer e.spaces.Put(s)
	n, k, h := len(b.IDs), e.kernel, e.config.Hidden
	stride, attend, widened := e.strides()
	s.hidden, s.mixed, s.added = grow(s.hidden, n*stride), grow(s.mixed, n*stride), grow(s.added, n*stride)
	s.wide = grow(s.wide, max(n*attend, min(n, rowBlock)*widened))
	t := newTeam(threads)
	defer t.end()
	for len(s.workers) < t.workers() {
		s.workers = append(s.workers, scratch{})
	}

	epsilon := float32(e.config.Epsilon)
	at := 0
	for _, length := range b.Lengths {
		for place := range length {
			row := s.hidden[at*stride : at*stride+h]
			word, kind := b.IDs[at], int32(0)
			if b.Types != nil {
				kind = b.Types[at]
			}
			words, places, types := e.words[int(word)*h:][:h], e.places[place*h:][:h], e.types[int(kind)*h:][:h]
			for i := range row {
				row[i] = words[i] + places[i] + types[i]
			}
			k.norm(row, nil, e.norm.weight, e.norm.bias, epsilon)
			at++
		}
	}
	for i := range e.layers {
		l := &e.layers[i]
		e.multiply(t, n, s.hidden, stride, &l.attend, s.wide, attend, false)
		e.attention(t, b, s)
		e.multiply(t, n, s.mixed, stride, &l.mix, s.added, stride, false)
		e.addNorm(t, n, s, l.attendEnd)
		for first := 0; first < n; first += rowBlock {
			rows := min(rowBlock, n-first)
			e.multiply(t, rows, s.hidden[first*stride:], stride, &l.widen, s.wide, widened, true)
			e.multiply(t, rows, s.wide, widened, &l.narrow, s.added[first*stride:], stride, false)
		}
		e.addNorm(t, n, s, l.narrowEnd)
	}
	use(s.hidden, stride)
	return nil
}

// multiply computes c = a·m + bias and, if asked to, the activation of that.
func (e *Encoder) multiply(t *team, rows int, a []float32, lda int, m *matrix, c []float32, ldc int, activate bool) {
	t.run(m.width(), func(_, panel int) {
		e.kernel.multiply(rows, a, lda, m, panel, c, ldc)
		if activate {
			for i := range rows {
				e.kernel.gelu(c[i*ldc+panel*m.cols:][:m.cols])
			}
		}
	})
}

// addNorm adds what a part of a layer gave to the hidden vectors, and normalises them.
func (e *Encoder) addNorm(t *team, n int, s *space, by norm) {
	stride, _, _ := e.strides()
	const piece = 16
	t.run((n+piece-1)/piece, func(_, p int) {
		for i := p * piece; i < min(n, (p+1)*piece); i++ {
			row := s.hidden[i*stride:][:e.config.Hidden]
			e.kernel.norm(row, s.added[i*stride:], by.weight, by.bias, float32(e.config.Epsilon))
		}
	})
}

// attention lets each token of a text look at all tokens of it: mixed = softmax(queries·keysᵀ)·values, for each head.
func (e *Encoder) attention(t *team, b Batch, s *space) {
	k, heads := e.kernel, e.config.Heads
	size := e.config.Hidden / heads // of a head
	stride, attend, _ := e.strides()
	first := 0
	for _, length := range b.Lengths {
		wide, mixed := s.wide[first*attend:], s.mixed[first*stride:]
		columns := roundUp(length, k.cols)
		t.run(heads, func(worker, head int) {
			w := &s.workers[worker]
			queries := wide[head*size:]
			w.setKeys(wide[e.config.Hidden+head*size:], attend, length, size, k.cols)
			values, valueStride := wide[2*e.config.Hidden+head*size:], attend
			outStride := stride
			inPlace := size%k.cols == 0
			if !inPlace {
				values, valueStride = w.setValues(values, attend, length, size, k.cols)
				outStride = valueStride
			}
			zero := w.zeros(k.cols)
			w.scores = grow(w.scores, min(length, rowBlock)*columns)
			for row := 0; row < length; row += rowBlock {
				rows := min(rowBlock, length-row)
				for panel := range columns / k.cols {
					k.product(rows, size, queries[row*attend:], attend, w.keys[panel*k.cols*size:], k.cols,
						w.mask[panel*k.cols:(panel+1)*k.cols], w.scores[panel*k.cols:], columns)
				}
				for i := range rows {
					k.softmax(w.scores[i*columns : (i+1)*columns])
				}
				out := mixed[row*stride+head*size:]
				if !inPlace {
					w.out = grow(w.out, rows*outStride)
					out = w.out
				}
				for column := 0; column < size; column += k.cols {
					k.product(rows, length, w.scores, columns, values[column:], valueStride, zero, out[column:], outStride)
				}
				if !inPlace {
					for i := range rows {
						copy(mixed[(row+i)*stride+head*size:][:size], out[i*outStride:])
					}
				}
			}
		})
		first += length
	}
}

// setKeys lays out the keys of a head, rows of stride elements, as the panels of their transpose, and the mask with it.
func (w *scratch) setKeys(keys []float32, stride, length, size, cols int) {
	columns := roundUp(length, cols)
	w.keys, w.mask = grow(w.keys, columns*size), grow(w.mask, columns)
	for panel := range columns / cols {
		to := w.keys[panel*cols*size : (panel+1)*cols*size]
		n := min(cols, length-panel*cols)
		if n < cols {
			clear(to)
		}
		for j := range n {
			w.mask[panel*cols+j] = 0
			row := keys[(panel*cols+j)*stride:][:size]
			for i, x := range row {
				to[i*cols+j] = x
			}
		}
	}
	for j := length; j < columns; j++ {
		w.mask[j] = -1e30
	}
}

// setValues copies the values of a head to rows of whole panels.
func (w *scratch) setValues(values []float32, stride, length, size, cols int) ([]float32, int) {
	wide := roundUp(size, cols)
	w.values = grow(w.values, length*wide)
	for j := range length {
		row := w.values[j*wide : (j+1)*wide]
		copy(row, values[j*stride:][:size])
		clear(row[size:])
	}
	return w.values, wide
}

// noBias stands for no bias.
var noBias [64]float32

func (w *scratch) zeros(n int) []float32 { return noBias[:n] }
