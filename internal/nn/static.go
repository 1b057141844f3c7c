package nn

import (
	"fmt"
	"path/filepath"
)

// Static is a model that has a vector for each token and gives a text their mean. It is immutable, and safe for concurrent use.
//
// Source: https://github.com/MinishLab/model2vec; Tulkens and van Dongen, Model2Vec, 2024.
type Static struct {
	dimensions int
	rows       []float32
	weights    []float32 // of tokens, nil for 1
	mapping    []int     // the row of each token, nil if it is the token itself
	tokens     int       // how many it knows
	plain      bool      // of sentence-transformers
}

// OpenStatic reads the model.safetensors of a folder: either model2vec's, with "embeddings" and perhaps "weights" and "mapping",
// or that of a StaticEmbedding of sentence-transformers, with "embedding.weight".
func OpenStatic(dir string) (*Static, error) {
	path := filepath.Join(dir, "model.safetensors")
	tensors, err := OpenTensors(path)
	if err != nil {
		return nil, err
	}
	defer tensors.Close()
	s := &Static{}
	name := "embeddings"
	if _, ok := tensors.Lookup("embedding.weight"); ok {
		name, s.plain = "embedding.weight", true
	}
	table, ok := tensors.Lookup(name)
	if !ok {
		return nil, &FormatError{Path: path, Rule: `neither a tensor "embeddings" nor "embedding.weight"`}
	}
	if s.rows, err = tensors.Floats(name, -1, -1); err != nil {
		return nil, err
	}
	s.tokens, s.dimensions = table.Shape[0], table.Shape[1]
	if s.dimensions == 0 {
		return nil, &FormatError{Path: path, Rule: "vectors have no dimensions"}
	}
	if _, ok := tensors.Lookup("mapping"); ok {
		if s.mapping, err = tensors.Ints("mapping", -1); err != nil {
			return nil, err
		}
		for token, row := range s.mapping {
			if row < 0 || row >= table.Shape[0] {
				return nil, &FormatError{Path: path, Rule: fmt.Sprintf("token %d is mapped to row %d of %d", token, row, table.Shape[0])}
			}
		}
		s.tokens = len(s.mapping)
	}
	if _, ok := tensors.Lookup("weights"); ok {
		if s.weights, err = tensors.Floats("weights", -1); err != nil {
			return nil, err
		}
		if len(s.weights) < s.tokens {
			return nil, &FormatError{Path: path, Rule: fmt.Sprintf("%d weights for %d tokens", len(s.weights), s.tokens)}
		}
	}
	return s, nil
}

// Dimensions is the length of a vector.
func (s *Static) Dimensions() int { return s.dimensions }

// Tokens is how many tokens the model knows.
func (s *Static) Tokens() int { return s.tokens }

// Plain tells that the model is one of sentence-transformers, for which unknown tokens count like all others; model2vec leaves
// them out.
func (s *Static) Plain() bool { return s.plain }

// Embed returns the mean vector of tokens. Without tokens it is all zero.
func (s *Static) Embed(ids []int32) ([]float32, error) {
	v := make([]float32, s.dimensions)
	for _, id := range ids {
		if id < 0 || int(id) >= s.tokens {
			return nil, fmt.Errorf("token %d, the model knows %d", id, s.tokens)
		}
		row, weight := int(id), float32(1)
		if s.mapping != nil {
			row = s.mapping[id]
		}
		if s.weights != nil {
			weight = s.weights[id]
		}
		for j, x := range s.rows[row*s.dimensions:][:s.dimensions] {
			v[j] += weight * x
		}
	}
	if len(ids) > 0 {
		for j := range v {
			v[j] /= float32(len(ids))
		}
	}
	return v, nil
}
