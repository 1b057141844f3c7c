package wordpiece_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/internal/wordpiece"
)

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

// vocabulary is the built-in one as a vocab.txt.
func vocabulary() string {
	var b strings.Builder
	tok := wordpiece.Default()
	for id := range tok.Size() {
		b.WriteString(tok.Text(int32(id)) + "\n")
	}
	return b.String()
}

// folder writes files into a new folder.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, files map[string]string) *wordpiece.Model {
	t.Helper()
	m, err := wordpiece.Load(folder(t, files))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// file is a small tokenizer.json, with some of its text replaced.
func file(replace ...string) string {
	return strings.NewReplacer(replace...).Replace(`{
		"version": "1.0",
		"added_tokens": [
			{"id": 0, "content": "[UNK]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
			{"id": 7, "content": "<end>", "single_word": true, "lstrip": false, "rstrip": false, "normalized": false, "special": true}
		],
		"normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
		"pre_tokenizer": {"type": "BertPreTokenizer"},
		"model": {
			"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
			"vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "##b": 4, "A": 5}
		}
	}`)
}

func TestLoadFile(t *testing.T) {
	t.Parallel()
	m := load(t, map[string]string{"tokenizer.json": file(), "tokenizer_config.json": `{"model_max_length": 1000000000000000019884624838656}`})
	if m.First != 1 || m.Last != 2 || m.MaxLength != 0 || m.Size() != 8 || m.Unknown() != 0 {
		t.Errorf("first %d, last %d, longest %d, %d tokens, unknown %d", m.First, m.Last, m.MaxLength, m.Size(), m.Unknown())
	}
	// An added token that is a single word is text inside of one.
	if diff := cmp.Diff([]int32{3, 4, 3, 7, 0, 0, 0, 0, 3}, m.Encode("Ab A <end> x<end> á")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	m = load(t, map[string]string{"tokenizer.json": file(), "tokenizer_config.json": `{"do_lower_case": false, "model_max_length": 512}`})
	if diff := cmp.Diff([]int32{5, 4, 0}, m.Encode("Ab á")); diff != "" || m.MaxLength != 512 {
		t.Errorf("longest %d, -want +got:\n%s", m.MaxLength, diff)
	}
	// In a sequence of one a part means what it means alone.
	m = load(t, map[string]string{"tokenizer.json": file(
		`{"type": "BertPreTokenizer"}`, `{"type": "Sequence", "pretokenizers": [{"type": "BertPreTokenizer"}]}`,
	)})
	if diff := cmp.Diff([]int32{3}, m.Encode("á")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string]string
		part  string // of an UnsupportedError, or "" for another error
		says  string
	}{
		"nothing":       {nil, "", "neither tokenizer.json nor vocab.txt"},
		"no JSON":       {map[string]string{"tokenizer.json": "{"}, "", "tokenizer.json: unexpected end"},
		"no vocabulary": {map[string]string{"tokenizer.json": `{"model": {"type": "WordPiece"}}`}, "model", "without a vocabulary"},
		"unigram":       {map[string]string{"tokenizer.json": `{"model": {"type": "Unigram", "vocab": [["a", -1.0]]}}`}, "model", "Unigram"},
		"old unigram":   {map[string]string{"tokenizer.json": `{"model": {"vocab": [["a", -1.0]]}}`}, "model", "no known type"},
		"normalizer": {
			map[string]string{"tokenizer.json": file("BertNormalizer", "NFKC")}, "normalizer", "NFKC",
		},
		"pre-tokenizer": {
			map[string]string{"tokenizer.json": file(`{"type": "BertPreTokenizer"}`, "null")}, "pre-tokenizer", "none",
		},
		"control characters": {
			map[string]string{"tokenizer.json": file(`"clean_text": true`, `"clean_text": false`)}, "normalizer", "keeps control characters",
		},
		"prefix":           {map[string]string{"tokenizer.json": file(`"##",`, `"@@",`)}, "prefix inside words", "@@"},
		"long words":       {map[string]string{"tokenizer.json": file("100", "200")}, "longest word", "200"},
		"unknown":          {map[string]string{"tokenizer.json": file(`"unk_token": "[UNK]"`, `"unk_token": "<unk>"`)}, "unknown token", "<unk>"},
		"normalised added": {map[string]string{"tokenizer.json": file(`"normalized": false`, `"normalized": true`)}, "added token", "[UNK]"},
		"huge id":          {map[string]string{"tokenizer.json": file(`"a": 3`, `"a": 2000000000`)}, "", "has id 2000000000"},
		"negative id":      {map[string]string{"tokenizer.json": file(`"a": 3`, `"a": -1`)}, "", "has id -1"},
		"bytes":            {map[string]string{"vocab.txt": "[UNK]\n\xff\n"}, "", "not UTF-8"},
		"no unknown":       {map[string]string{"vocab.txt": "a\nb\n"}, "", `no token "[UNK]"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := wordpiece.Load(folder(t, c.files))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error %v, want one that says %q", err, c.says)
			}
			var unsupported *wordpiece.UnsupportedError
			if got := errors.As(err, &unsupported); got != (c.part != "") || got && unsupported.Part != c.part {
				t.Errorf("error %#v, want one about %q", err, c.part)
			}
			if name == "nothing" && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v is not fs.ErrNotExist", err)
			}
		})
	}
}
