package openai

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/internal/httpapi"
)

// maxDimensions is more than any model has.
const maxDimensions = 16_384

// answerLimit returns how many bytes an answer with n vectors may have: a number takes up to 24, and 46 on a line
// of its own, well indented.
func answerLimit(n, dimensions int) int64 {
	if dimensions == 0 {
		dimensions = maxDimensions
	}
	return int64(n)*(int64(dimensions)*48+1<<10) + 64<<10
}

// answer is what a server says. What it says of the model and of usage is not needed.
type answer struct {
	Data []struct {
		Index     *int            `json:"index"`
		Embedding json.RawMessage `json:"embedding"`
	} `json:"data"`
	Error struct {
		Message string `json:"message"`
	} `json:"error"` // some gateways answer errors with status 200
}

// parse reads n vectors, of the given dimensions unless that is 0, in the order of their indexes. Errors are [*embedding.Error] of
// kind BadAnswer, or [*embedding.VectorError].
func (e *Embedder) parse(body []byte, n, dimensions int) ([][]float32, error) {
	var a answer
	if err := httpapi.Decode(body, &a); err != nil {
		return nil, err
	}
	if len(a.Data) != n {
		rule := &embedding.VectorError{Index: -1, Rule: fmt.Sprintf("%d vectors for %d texts", len(a.Data), n)}
		return nil, &embedding.Error{Kind: embedding.BadAnswer, Message: e.client.Tidy(a.Error.Message), Err: rule}
	}
	vectors := make([][]float32, n)
	for _, d := range a.Data {
		// Without an index nothing tells the order. A single vector needs none.
		at := 0
		switch {
		case d.Index != nil:
			at = *d.Index
		case n > 1:
			return nil, &embedding.VectorError{Index: -1, Rule: "vectors without index"}
		}
		if at < 0 || at >= n {
			return nil, &embedding.VectorError{Index: -1, Rule: fmt.Sprintf("index %d among %d vectors", at, n)}
		}
		if vectors[at] != nil {
			return nil, &embedding.VectorError{Index: at, Rule: "is there twice"}
		}
		v, rule := numbers(d.Embedding)
		if rule != "" {
			return nil, &embedding.VectorError{Index: at, Rule: rule}
		}
		vectors[at] = v
	}
	return vectors, embedding.Check(vectors, n, dimensions)
}

// numbers reads a vector, which is a valid JSON value: a list of numbers, or base64 of little-endian float32. The rule it breaks, if
// any, is not empty.
func numbers(raw json.RawMessage) (v []float32, rule string) {
	switch {
	case len(raw) == 0:
		return nil, "is missing"
	case raw[0] == '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, "is a text that cannot be read"
		}
		packed, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(packed)%4 != 0 || len(packed) == 0 {
			return nil, "is not base64 of float32 numbers"
		}
		v = make([]float32, len(packed)/4)
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(packed[4*i:]))
		}
		return v, ""
	case raw[0] != '[':
		return nil, "is " + kind(raw) + ", not a list of numbers"
	}
	v = make([]float32, 0, len(raw)/12) // about as long as a number is
	for i := 1; ; {
		for isSpace(raw[i]) || raw[i] == ',' {
			i++
		}
		if raw[i] == ']' {
			break
		}
		start := i
		for !isSpace(raw[i]) && raw[i] != ',' && raw[i] != ']' {
			i++
		}
		x, err := strconv.ParseFloat(string(raw[start:i]), 32)
		if c := raw[start]; c != '-' && (c < '0' || c > '9') {
			return nil, fmt.Sprintf("has %s at %d", kind(raw[start:]), len(v))
		}
		if err != nil {
			return nil, fmt.Sprintf("has %.24s at %d, which is no float32", raw[start:i], len(v))
		}
		v = append(v, float32(x))
	}
	if len(v) == 0 {
		return nil, "is empty"
	}
	return v, ""
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// kind names the kind of a JSON value that is no number.
func kind(raw []byte) string {
	switch raw[0] {
	case 'n':
		return "null"
	case 't', 'f':
		return "a truth value"
	case '"':
		return "a text"
	case '[':
		return "a list"
	case '{':
		return "an object"
	}
	return "a number"
}

// normalize scales a vector to length 1. One that cannot be scaled is left alone.
func normalize(v []float32) {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if scale := 1 / math.Sqrt(sum); !math.IsInf(scale, 0) && scale > 0 {
		for i, x := range v {
			v[i] = float32(float64(x) * scale)
		}
	}
}
