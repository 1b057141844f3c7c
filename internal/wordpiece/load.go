package wordpiece

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// UnsupportedError says what a tokenizer is that this package cannot be.
type UnsupportedError struct {
	Path string // of the file that says so
	Part string // such as "model" or "normalizer"
	Have string // what it is
}

// Error implements error.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s: a tokenizer whose %s is %s is not supported, only those of BERT are (WordPiece)", e.Path, e.Part, e.Have)
}

// Model is the tokenizer of a model, with what its folder says about framing.
type Model struct {
	*Tokenizer
	// First and Last are the tokens around a text, "[CLS]" and "[SEP]"; -1 if there are none.
	First, Last int32
	// MaxLength is how many tokens the model takes, these two included, 0 if the folder does not say.
	MaxLength int
}

// Load reads the tokenizer of a folder: tokenizer.json or, if there is none, vocab.txt. What tokenizer_config.json says about
// case, accents and ideographs counts more than what tokenizer.json says, as in the library transformers.
func Load(dir string) (*Model, error) {
	var config struct {
		LowerCase   *bool `json:"do_lower_case"`
		Ideographs  *bool `json:"tokenize_chinese_chars"`
		StripAccent *bool `json:"strip_accents"`
		MaxLength   any   `json:"model_max_length"`
	}
	path := filepath.Join(dir, "tokenizer_config.json")
	if err := readJSON(path, &config); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	rules := rules{clean: true, lower: true, ideographs: true}
	override := func() {
		if config.LowerCase != nil {
			rules.lower = *config.LowerCase
		}
		if config.Ideographs != nil {
			rules.ideographs = *config.Ideographs
		}
		if config.StripAccent != nil {
			rules.strip = config.StripAccent
		}
	}
	m, err := loadFile(filepath.Join(dir, "tokenizer.json"), &rules, override)
	if errors.Is(err, fs.ErrNotExist) {
		override()
		m, err = loadVocabulary(filepath.Join(dir, "vocab.txt"), rules)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: neither tokenizer.json nor vocab.txt: %w", dir, fs.ErrNotExist)
		}
	}
	if err != nil {
		return nil, err
	}
	m.MaxLength = 0
	if n, ok := config.MaxLength.(float64); ok && n > 0 && n < 1e9 { // without a limit it is 1e30
		m.MaxLength = int(n)
	}
	return m, nil
}

// LoadFile reads a tokenizer.json alone. MaxLength is what it says about truncation.
func LoadFile(path string) (*Model, error) {
	return loadFile(path, &rules{}, func() {})
}

// rules are those of the normalizer.
type rules struct {
	clean, lower, ideographs bool
	strip                    *bool // nil: if lower
}

func (r rules) options(special []Special) Options {
	strip := r.lower
	if r.strip != nil {
		strip = *r.strip
	}
	return Options{KeepCase: !r.lower, KeepAccents: !strip, JoinIdeographs: !r.ideographs, Special: special}
}

// part is an object of tokenizer.json whose other fields depend on its type.
type part struct {
	Type string `json:"type"`
	all  json.RawMessage
}

func (p *part) UnmarshalJSON(data []byte) error {
	type plain part
	p.all = slices.Clone(data)
	return json.Unmarshal(data, (*plain)(p))
}

// sole returns the only element of a sequence, or the part itself.
func (p part) sole(list string) part {
	if p.Type != "Sequence" {
		return p
	}
	var all map[string]json.RawMessage
	var parts []part
	if json.Unmarshal(p.all, &all) == nil && json.Unmarshal(all[list], &parts) == nil && len(parts) == 1 {
		return parts[0]
	}
	return p
}

// name is what the part is called in an error.
func (p part) name() string {
	if p.Type == "" {
		return "none"
	}
	return p.Type
}

// loadFile reads a tokenizer.json; the rules it has are put into r, before override may change them.
func loadFile(path string, r *rules, override func()) (*Model, error) {
	var file struct {
		Added []struct {
			ID         int32  `json:"id"`
			Content    string `json:"content"`
			SingleWord bool   `json:"single_word"`
			LStrip     bool   `json:"lstrip"`
			RStrip     bool   `json:"rstrip"`
			Normalized bool   `json:"normalized"`
		} `json:"added_tokens"`
		Truncation *struct {
			MaxLength int `json:"max_length"`
		} `json:"truncation"`
		Normalizer   part `json:"normalizer"`
		PreTokenizer part `json:"pre_tokenizer"`
		Model        part `json:"model"`
	}
	if err := readJSON(path, &file); err != nil {
		return nil, err
	}
	unsupported := func(what, have string) error { return &UnsupportedError{Path: path, Part: what, Have: have} }
	if file.Model.Type != "WordPiece" && file.Model.Type != "" { // old files do not say
		return nil, unsupported("model", file.Model.Type)
	}
	var model struct {
		Unknown  string           `json:"unk_token"`
		Prefix   string           `json:"continuing_subword_prefix"`
		MaxChars int              `json:"max_input_chars_per_word"`
		Vocab    map[string]int32 `json:"vocab"`
	}
	if err := json.Unmarshal(file.Model.all, &model); err != nil {
		if file.Model.Type == "" {
			return nil, unsupported("model", "of no known type")
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case len(model.Vocab) == 0:
		return nil, unsupported("model", "without a vocabulary")
	case model.Unknown != unknown:
		return nil, unsupported("unknown token", fmt.Sprintf("%q", model.Unknown))
	case model.Prefix != "##":
		return nil, unsupported("prefix inside words", fmt.Sprintf("%q", model.Prefix))
	case model.MaxChars != maxWordChars:
		return nil, unsupported("longest word", fmt.Sprintf("of %d characters", model.MaxChars))
	}
	normalizer := file.Normalizer.sole("normalizers")
	if normalizer.Type != "BertNormalizer" {
		return nil, unsupported("normalizer", normalizer.name())
	}
	if p := file.PreTokenizer.sole("pretokenizers"); p.Type != "BertPreTokenizer" {
		return nil, unsupported("pre-tokenizer", p.name())
	}
	var bert struct {
		Clean      bool  `json:"clean_text"`
		Ideographs bool  `json:"handle_chinese_chars"`
		Strip      *bool `json:"strip_accents"`
		Lower      bool  `json:"lowercase"`
	}
	if err := json.Unmarshal(normalizer.all, &bert); err != nil {
		return nil, fmt.Errorf("%s: normalizer: %w", path, err)
	}
	*r = rules{clean: bert.Clean, lower: bert.Lower, ideographs: bert.Ideographs, strip: bert.Strip}
	override()
	if !r.clean {
		return nil, unsupported("normalizer", "one that keeps control characters")
	}
	var special []Special
	for _, a := range file.Added {
		if a.Normalized {
			return nil, unsupported("added token", fmt.Sprintf("%q, which is looked for in normalised text", a.Content))
		}
		special = append(special, Special{a.Content, a.ID, a.SingleWord, a.LStrip, a.RStrip})
		if _, ok := model.Vocab[a.Content]; !ok {
			model.Vocab[a.Content] = a.ID
		}
	}
	m, err := newModel(path, model.Vocab, r.options(special))
	if err == nil && file.Truncation != nil {
		m.MaxLength = file.Truncation.MaxLength
	}
	return m, err
}

// loadVocabulary reads a vocab.txt, a token a line. Of a token that is there twice the last one counts.
func loadVocabulary(path string, r rules) (*Model, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%s: not UTF-8", path)
	}
	vocabulary := map[string]int32{}
	for i, token := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		vocabulary[strings.TrimSuffix(token, "\r")] = int32(i)
	}
	var special []Special
	for _, name := range []string{"[PAD]", unknown, "[CLS]", "[SEP]", "[MASK]"} {
		if id, ok := vocabulary[name]; ok {
			special = append(special, Special{Text: name, ID: id})
		}
	}
	return newModel(path, vocabulary, r.options(special))
}

func newModel(path string, vocabulary map[string]int32, o Options) (*Model, error) {
	t, err := NewWith(vocabulary, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Model{Tokenizer: t, First: t.ID("[CLS]"), Last: t.ID("[SEP]")}, nil
}

// readJSON reads a file of JSON.
func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
