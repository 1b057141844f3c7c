package llmemory

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// FuzzRawField compares finding a field in raw JSON with decoding all of it.
func FuzzRawField(f *testing.F) {
	for _, raw := range []string{
		`{}`, `{"a":1}`, ` { "a" : { "b" : [ 1 , "x" , { "a" : null } ] , "c" : -1.5e3 } , "b":"q\"}\\" } `, `[1,{"a":2}]`, `"a"`, `null`, `12`,
		`{"a":1,"a":{"b":2}}`, `{"\u0061":{"b\n":true}}`, `{"":{"":[]}}`, `{"a":{"b":"ä\u00e4\\"}, "x":[[],{}]}`, `{"a":[]}`, `{"a":{}}`,
	} {
		for _, path := range []string{"a", "a/b", "b", "", "/", "a/c", "x"} {
			f.Add(raw, path)
		}
	}
	f.Fuzz(func(t *testing.T, raw, path string) {
		dec := json.NewDecoder(bytes.NewReader([]byte(raw)))
		dec.UseNumber()
		var v any
		if !json.Valid([]byte(raw)) || dec.Decode(&v) != nil || strings.ToValidUTF8(raw, "") != raw {
			return
		}
		keys := strings.Split(path, "/")
		want, wantThere := field(v, keys)
		got, there := rawField([]byte(raw), keys)
		if there != wantThere || !reflect.DeepEqual(got, want) {
			t.Errorf("%q of %q: %#v, %t; want %#v, %t", keys, raw, got, there, want, wantThere)
		}
	})
}
