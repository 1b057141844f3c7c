package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/llmemory/llmemory"
)

// What a sidecar is told stands where it stood or at the end, and nothing else moves.
func TestSidecarWith(t *testing.T) {
	t.Parallel()
	const member = `{"indexed_at":"2024-05-31T10:00:00Z","document_id":"d","chunks_created":2}`
	const inLines = "{\n    \"indexed_at\": \"2024-05-31T10:00:00Z\",\n    \"document_id\": \"d\",\n    \"chunks_created\": 2\n  }"
	for _, test := range []struct{ raw, want string }{
		{`{"id":"a"}`, `{"id":"a","llmemory": ` + member + `}`},
		{`{"id": "a", "b": 1.50}` + "\n", `{"id": "a", "b": 1.50, "llmemory": ` + member + `}` + "\n"},
		{`{"llmemory":null,"id":1e3}`, `{"llmemory":` + member + `,"id":1e3}`},
		{`{"llmemory":[1,2] , "id":"é\u00e9"}`, `{"llmemory":` + member + ` , "id":"é\u00e9"}`},
		{`{"id":"a","llmemory":1,"llmemory":{"x":"}"}}`, `{"id":"a","llmemory":1,"llmemory":` + member + `}`},
		{"{\n  \"id\": \"a\"\n}\n", "{\n  \"id\": \"a\",\n  \"llmemory\": " + inLines + "\n}\n"},
		{"{\n  \"llmemory\": {},\n  \"id\": \"a\"\n}\n", "{\n  \"llmemory\": " + inLines + ",\n  \"id\": \"a\"\n}\n"},
	} {
		s, err := parseSidecar([]byte(test.raw))
		if err != nil {
			t.Errorf("%s: %v", test.raw, err)
			continue
		}
		added := &llmemory.Added{DocumentID: "d", Chunks: 2}
		got := s.with(added, time.Date(2024, 5, 31, 10, 0, 0, 7, time.UTC))
		if string(got) != test.want || !json.Valid(got) {
			t.Errorf("%s: got %s, want %s", test.raw, got, test.want)
		}
		if again, err := parseSidecar(got); err != nil || again.id != s.id || !again.marked(added) || s.marked(added) {
			t.Errorf("%s: does not tell what was done: %v", got, err)
		}
	}
}

func TestParseSidecar(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"", "null", "[]", `"id"`, "7", "{", `{"id":"a"} {}`, "{}", `{"id":""}`, `{"id":" "}`, `{"id":null}`, `{"id":["a"]}`,
		`{"id":{"a":1}}`, `{"id":true}`, `{"ID":"a"}`, "{\"id\":\"\xff\"}", strings.Repeat("[", 20_000)} {
		if s, err := parseSidecar([]byte(raw)); err == nil {
			t.Errorf("%.40q: got id %q, want an error", raw, s.id)
		}
	}
	s, err := parseSidecar([]byte(`{"id":17,"source":["x"],"mimetype":"a/b","id":18}`))
	if err != nil || s.id != "18" || s.source != "" || s.mimetype != "a/b" {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestDateOf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ key, date, want string }{
		{"acme/notes/2024/2024-05-31-offer.pdf", "2020-01-01", "2024-05-31"},
		{"acme/2024-05-30/from 2024-05-31.pdf", "", "2024-05-31"},
		{"acme/2024-05-30/offer.pdf", "", "2024-05-30"},
		{"2024-05-30/offer.pdf", "", "0001-01-01"}, // an entity's name
		{"acme/2024-02-30-offer.pdf", "2020-01-01", "2020-01-01"},
		{"acme/12024-05-310.pdf", "2020-01-01T23:00:00Z", "2020-01-01"},
		{"acme/offer.pdf", "long ago", "0001-01-01"},
	} {
		if got := dateOf(test.key, &sidecar{date: test.date}).Format(time.DateOnly); got != test.want {
			t.Errorf("%s, %q: got %s, want %s", test.key, test.date, got, test.want)
		}
	}
}
