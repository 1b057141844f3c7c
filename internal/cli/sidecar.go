package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/llmemory/llmemory"
)

// sidecar is the JSON object beside a file of an archive.
type sidecar struct {
	id                               string
	source, workflow, mimetype, date string // "" for what is not there, or no text
	raw                              []byte
	mark                             json.RawMessage // the member "llmemory", nil if there is none
	markEnd                          int             // where it ends in raw
	lastEnd                          int             // where the last member's value ends
	gap                              string          // the white space before the first member
}

// indexed is the member that tells what was indexed.
type indexed struct {
	IndexedAt  time.Time `json:"indexed_at"`
	DocumentID *string   `json:"document_id"` // nil for a container
	Chunks     *int      `json:"chunks_created"`
}

// parseSidecar reads a sidecar. As everywhere, the last of members of the same name counts.
func parseSidecar(raw []byte) (*sidecar, error) {
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return nil, errors.New("is no JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("is no JSON object, so no sidecar")
	}
	s := &sidecar{raw: raw}
	rest := raw[dec.InputOffset():]
	s.gap = string(rest[:len(rest)-len(bytes.TrimLeft(rest, " \t\r\n"))])
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("is no JSON: %w", err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("is no JSON: %w", err)
		}
		s.lastEnd = int(dec.InputOffset())
		key, _ := t.(string) // an object's keys are strings
		switch key {
		case "id":
			s.id = scalar(value)
		case "source":
			s.source = scalar(value)
		case "workflow":
			s.workflow = scalar(value)
		case "mimetype":
			s.mimetype = scalar(value)
		case "date":
			s.date = scalar(value)
		case "llmemory":
			s.mark, s.markEnd = value, s.lastEnd
		}
	}
	if strings.TrimSpace(s.id) == "" {
		return nil, errors.New("has no id, so it is no sidecar")
	}
	return s, nil
}

// scalar is a text, or a number as it is written; "" for anything else.
func scalar(raw json.RawMessage) string {
	switch {
	case raw[0] == '"':
		var text string
		_ = json.Unmarshal(raw, &text) // it is valid
		return text
	case raw[0] == '-', raw[0] >= '0' && raw[0] <= '9':
		return string(raw)
	}
	return ""
}

// marked tells whether the sidecar says of its document what is to be said.
func (s *sidecar) marked(r *llmemory.Added) bool {
	var m indexed
	if s.mark == nil || json.Unmarshal(s.mark, &m) != nil || m.IndexedAt.IsZero() || m.Chunks == nil {
		return false
	}
	id := ""
	if m.DocumentID != nil {
		id = *m.DocumentID
	}
	return id == r.DocumentID && *m.Chunks == r.Chunks
}

// with returns the sidecar with what became of its file. All else stays as it is written, byte for byte.
func (s *sidecar) with(r *llmemory.Added, now time.Time) []byte {
	out := indexed{IndexedAt: now.UTC().Truncate(time.Second), Chunks: &r.Chunks}
	if r.DocumentID != "" {
		out.DocumentID = &r.DocumentID
	}
	value, _ := json.Marshal(out) // which has nothing that could fail
	if at := strings.LastIndexByte(s.gap, '\n'); at >= 0 {
		indent := s.gap[at+1:]
		var b bytes.Buffer
		_ = json.Indent(&b, value, indent, indent) // it is valid
		value = b.Bytes()
	}
	from, to := s.lastEnd, s.lastEnd
	if s.mark != nil {
		from, to = s.markEnd-len(s.mark), s.markEnd
	} else {
		gap := s.gap
		if gap == "" && bytes.Contains(s.raw[:s.lastEnd], []byte(", ")) {
			gap = " "
		}
		value = append([]byte(","+gap+`"llmemory": `), value...)
	}
	return bytes.Join([][]byte{s.raw[:from], value, s.raw[to:]}, nil)
}
