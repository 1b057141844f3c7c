package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/embedding"
)

func parser(t testing.TB) *Embedder {
	t.Helper()
	e := New(Config{})
	if e.fault != nil {
		t.Fatal(e.fault)
	}
	return e
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		body   string
		n, dim int
		want   [][]float32
		err    string
	}{
		{`{"data":[{"index":0,"embedding":[1,-2.5,3e-2]}]}`, 1, 3, [][]float32{{1, -2.5, 0.03}}, ""},
		{`{"data":[{"embedding":[1]}]}`, 1, 0, [][]float32{{1}}, ""},
		{"{\"data\" : [ {\n\"index\": 1, \"embedding\" : [ 1 ,\r\n\t2 ] }, {\"index\":0,\"embedding\":[3,4]}]}", 2, 2, [][]float32{{3, 4}, {1, 2}}, ""},
		{`{"data":[{"index":0,"embedding":"AACAPwAAAMA="}]}`, 1, 2, [][]float32{{1, -2}}, ""},
		{`{"data":[{"index":0,"embedding":[1e-60,1]}]}`, 1, 2, [][]float32{{0, 1}}, ""},
		{`{"data":[{"index":0,"embedding":[3.4028234663852886e38]}]}`, 1, 1, [][]float32{{math.MaxFloat32}}, ""},

		{`{"data":[]}`, 1, 0, nil, "0 vectors for 1 texts"},
		{`[]`, 1, 0, nil, "not the JSON expected"},
		{`{"data":{"index":0}}`, 1, 0, nil, "not the JSON expected"},
		{`{"data":[{"index":1,"embedding":[1]}]}`, 1, 0, nil, "index 1 among 1 vectors"},
		{`{"data":[{"index":-1,"embedding":[1]}]}`, 1, 0, nil, "index -1 among 1 vectors"},
		{`{"data":[{"index":0.5,"embedding":[1]}]}`, 1, 0, nil, "not the JSON expected"},
		{`{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}`, 2, 0, nil, "vector 0 is there twice"},
		{`{"data":[{"embedding":[1]},{"embedding":[1]}]}`, 2, 0, nil, "without index"},
		{`{"data":[{"index":0}]}`, 1, 0, nil, "vector 0 is missing"},
		{`{"data":[{"index":0,"embedding":null}]}`, 1, 0, nil, "vector 0 is null, not a list of numbers"},
		{`{"data":[{"index":0,"embedding":{}}]}`, 1, 0, nil, "vector 0 is an object"},
		{`{"data":[{"index":0,"embedding":7}]}`, 1, 0, nil, "vector 0 is a number"},
		{`{"data":[{"index":0,"embedding":[]}]}`, 1, 0, nil, "vector 0 is empty"},
		{`{"data":[{"index":0,"embedding":[1,null]}]}`, 1, 0, nil, "vector 0 has null at 1"},
		{`{"data":[{"index":0,"embedding":["a],b"]}]}`, 1, 0, nil, "vector 0 has a text at 0"},
		{`{"data":[{"index":0,"embedding":[true]}]}`, 1, 0, nil, "vector 0 has a truth value at 0"},
		{`{"data":[{"index":0,"embedding":[[1]]}]}`, 1, 0, nil, "vector 0 has a list at 0"},
		{`{"data":[{"index":0,"embedding":[1,1e39]}]}`, 1, 0, nil, "vector 0 has 1e39 at 1, which is no float32"},
		{`{"data":[{"index":0,"embedding":[-1e999]}]}`, 1, 0, nil, "vector 0 has -1e999 at 0"},
		{`{"data":[{"index":0,"embedding":[0,-0.0,1e-60]}]}`, 1, 0, nil, "vector 0 is all zero"},
		{`{"data":[{"index":0,"embedding":[NaN]}]}`, 1, 0, nil, "not JSON"},
		{`{"data":[{"index":0,"embedding":[Infinity]}]}`, 1, 0, nil, "not JSON"},
		{`{"data":[{"index":0,"embedding":[1,2]}]}`, 1, 3, nil, "vector 0 has 2 dimensions, not 3"},
		{`{"data":[{"index":0,"embedding":"AADAfw=="}]}`, 1, 0, nil, "vector 0 has NaN at 0"},
		{`{"data":[{"index":0,"embedding":"AACAfw=="}]}`, 1, 0, nil, "vector 0 has +Inf at 0"},
		{`{"data":[{"index":0,"embedding":"AAAA"}]}`, 1, 0, nil, "vector 0 is not base64 of float32"},
		{`{"data":[{"index":0,"embedding":""}]}`, 1, 0, nil, "vector 0 is not base64 of float32"},
		{`{"data":[{"index":0,"embedding":"?"}]}`, 1, 0, nil, "vector 0 is not base64 of float32"},
	} {
		got, err := parser(t).parse([]byte(tt.body), tt.n, tt.dim)
		if tt.err == "" {
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", tt.body, err, diff)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, %v, want %q", tt.body, got, err, tt.err)
			continue
		}
		if e := (*embedding.Error)(nil); !errors.As(translate(err), &e) || e.Kind != embedding.BadAnswer {
			t.Errorf("%s: translated into %v", tt.body, translate(err))
		}
	}
}

// An answer of the largest form that servers write fits into the limit.
func TestAnswerLimit(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 8} {
		v := make([]float64, 1536)
		for i := range v {
			v[i] = -1.2345678901234567e-05
		}
		items := make([]map[string]any, n)
		for i := range items {
			items[i] = map[string]any{"object": "embedding", "index": i, "embedding": v}
		}
		body, err := json.MarshalIndent(map[string]any{"object": "list", "data": items}, "", "    ")
		if err != nil {
			t.Fatal(err)
		}
		if limit := answerLimit(n, 1536); int64(len(body)) > limit || limit > int64(2*len(body)+1<<17) {
			t.Errorf("%d vectors take %d bytes, the limit is %d", n, len(body), limit)
		}
		if _, err := parser(t).parse(body, n, 1536); err != nil {
			t.Error(err)
		}
	}
}

// Whatever a server says: no panic, and what comes out is n vectors as they should be, or an error.
func FuzzParse(f *testing.F) {
	for _, body := range []string{
		`{"data":[{"index":0,"embedding":[1,2]},{"index":1,"embedding":"AACAPwAAAMA="}]}`, `{"data":[{"index":0,"embedding":[1,null]}]}`,
		`{"data":null,"error":{"message":"x"}}`, `{"data":[{"index":1,"embedding":[[1],{"a":"]"}]}]}`, `[`, "", `{"data":[{"embedding":[1e39]}]}`,
	} {
		for n := range 3 {
			f.Add([]byte(body), n, n)
		}
	}
	e := parser(f)
	f.Fuzz(func(t *testing.T, body []byte, n, dim int) {
		if n < 0 || n > 10 || dim < 0 {
			return
		}
		vectors, err := e.parse(body, n, dim)
		if err != nil {
			if kind := translate(err); !strings.Contains(fmt.Sprint(kind), "bad answer") {
				t.Errorf("%q: %v", body, kind)
			}
			return
		}
		if err := embedding.Check(vectors, n, dim); err != nil {
			t.Errorf("%q: %v", body, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	items := make([]map[string]any, 64)
	for i := range items {
		v := make([]float32, 1536)
		for j := range v {
			v[j] = float32(j-700) / 12345.6789
		}
		items[i] = map[string]any{"index": i, "embedding": v}
	}
	body, err := json.Marshal(map[string]any{"data": items})
	if err != nil {
		b.Fatal(err)
	}
	e := parser(b)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := e.parse(body, 64, 1536); err != nil {
			b.Fatal(err)
		}
	}
}
