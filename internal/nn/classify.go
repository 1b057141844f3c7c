package nn

import (
	"math"
	"path/filepath"
)

// Classifier is an encoder with a head that gives scores to a text, or to a pair of texts: a cross-encoder, if it was trained to
// tell how well the second answers the first. It is immutable, and safe for concurrent use.
type Classifier struct {
	encoder *Encoder
	labels  int
	pool    []float32 // of the first token: hidden rows of hidden
	poolBy  []float32
	head    []float32 // labels rows of hidden
	headBy  []float32
}

// OpenClassifier reads config.json and model.safetensors of a folder whose model is a BertForSequenceClassification. A nil kernel
// means the best one.
func OpenClassifier(dir string, kernel *Kernel) (*Classifier, error) {
	config, err := ReadConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "model.safetensors")
	tensors, err := OpenTensors(path)
	if err != nil {
		return nil, err
	}
	defer tensors.Close() //nolint:errcheck // only read from
	head, ok := tensors.Lookup("classifier.weight")
	if !ok || len(head.Shape) != 2 || head.Shape[0] < 1 {
		return nil, &FormatError{Path: path, Rule: `no tensor "classifier.weight" of labels by hidden: not a model for classification`}
	}
	c := &Classifier{labels: head.Shape[0]}
	if c.encoder, err = NewEncoder(config, tensors, kernel); err != nil {
		return nil, err
	}
	r := &reader{Tensors: tensors}
	h := config.Hidden
	c.pool, c.poolBy = r.floats("bert.pooler.dense.weight", h, h), r.floats("bert.pooler.dense.bias", h)
	c.head, c.headBy = r.floats("classifier.weight", c.labels, h), r.floats("classifier.bias", c.labels)
	return c, r.err
}

// Config returns what the encoder was made of.
func (c *Classifier) Config() Config { return c.encoder.config }

// Labels is how many scores a text gets.
func (c *Classifier) Labels() int { return c.labels }

// Score returns the scores of each text of a batch, as the head gives them: no activation is applied. A pair is one text whose second
// part has tokens of type 1.
func (c *Classifier) Score(b Batch, threads int) ([][]float32, error) {
	h := c.encoder.config.Hidden
	out := make([][]float32, len(b.Lengths))
	err := c.encoder.run(b, threads, func(hidden []float32, stride int) {
		pooled := make([]float32, h)
		first := 0
		for i, length := range b.Lengths {
			token := hidden[first*stride:][:h]
			for j := range pooled {
				pooled[j] = float32(math.Tanh(float64(dot(c.pool[j*h:][:h], token) + c.poolBy[j])))
			}
			scores := make([]float32, c.labels)
			for j := range scores {
				scores[j] = dot(c.head[j*h:][:h], pooled) + c.headBy[j]
			}
			out[i] = scores
			first += length
		}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func dot(a, b []float32) float32 {
	var sum float32
	b = b[:len(a)]
	for i, x := range a {
		sum += x * b[i]
	}
	return sum
}
