package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/llmemory/llmemory/internal/nn"
	"github.com/llmemory/llmemory/internal/wordpiece"
)

// folder is what the small files of a model's folder say.
type folder struct {
	dir      string
	modules  []module
	prompts  map[string]string
	isStatic bool
	static   staticConfig
}

// module is a step of a model of sentence-transformers.
type module struct {
	Path string `json:"path"`
	Type string `json:"type"`
}

// kind is the type without the names of packages, which have changed over the years.
func (m module) kind() string { return m.Type[strings.LastIndexByte(m.Type, '.')+1:] }

// staticConfig is the config.json of model2vec.
type staticConfig struct {
	Type      string          `json:"model_type"`
	Normalize bool            `json:"normalize"`
	MaxLength json.RawMessage `json:"max_length"` // a number, null for none, or missing for the default
}

// readJSON reads a file of the folder. Whether it is there is returned; only the caller knows whether it must be.
func readJSON(path string, v any) (bool, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return true, &nn.FormatError{Path: path, Rule: err.Error()}
	}
	return true, nil
}

// readFolder reads what says which kind of model a folder holds.
func readFolder(dir string) (*folder, error) {
	if info, err := os.Stat(dir); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder", dir)
	}
	f := &folder{dir: dir}
	if _, err := readJSON(filepath.Join(dir, "modules.json"), &f.modules); err != nil {
		return nil, err
	}
	var sentence struct {
		Prompts map[string]string `json:"prompts"`
		Default string            `json:"default_prompt_name"`
	}
	if _, err := readJSON(filepath.Join(dir, "config_sentence_transformers.json"), &sentence); err != nil {
		return nil, err
	}
	f.prompts = sentence.Prompts
	if len(f.modules) > 0 && f.modules[0].kind() == "StaticEmbedding" {
		f.isStatic = true
	}
	path := filepath.Join(dir, "config.json")
	if there, err := readJSON(path, &f.static); err != nil {
		return nil, err
	} else if !there && !f.isStatic {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	f.isStatic = f.isStatic || f.static.Type == "model2vec"
	return f, nil
}

// prompt returns the first prompt there is of some names.
func (f *folder) prompt(names ...string) string {
	for _, name := range names {
		if p := f.prompts[name]; p != "" {
			return p
		}
	}
	return ""
}

// at returns the path of a file of a module.
func (f *folder) at(m module, name string) (string, error) {
	if !filepath.IsLocal(filepath.Join("x", m.Path)) {
		return "", &nn.FormatError{Path: filepath.Join(f.dir, "modules.json"), Rule: fmt.Sprintf("the path %q leads out of the folder", m.Path)}
	}
	return filepath.Join(f.dir, m.Path, name), nil
}

// load reads the model itself.
func (f *folder) load(c *Config) (*model, error) {
	if f.isStatic {
		return f.loadStatic()
	}
	kernel, err := nn.ByName(c.Kernel)
	if err != nil {
		return nil, err
	}
	m := &model{}
	transformer := module{}
	if len(f.modules) == 0 { // a plain model of transformers, for which the reference takes the mean
		m.poolings = []nn.Pooling{nn.Mean}
	}
	for i, step := range f.modules {
		switch kind := step.kind(); {
		case i == 0 && kind == "Transformer":
			transformer = step
		case i == 1 && kind == "Pooling":
			if m.poolings, err = f.poolings(step); err != nil {
				return nil, err
			}
		case i == 2 && kind == "Normalize":
			m.normalize = true
		default:
			return nil, &nn.UnsupportedError{
				Path: filepath.Join(f.dir, "modules.json"), Part: fmt.Sprintf("module %d", i), Have: step.Type,
				Want: "Transformer, Pooling and perhaps Normalize",
			}
		}
	}
	if m.poolings == nil {
		return nil, &nn.UnsupportedError{
			Path: filepath.Join(f.dir, "modules.json"), Part: "a model", Have: "without Pooling", Want: "Transformer, Pooling and perhaps Normalize",
		}
	}
	path, err := f.at(transformer, "")
	if err != nil {
		return nil, err
	}
	// The tokenizer is read beside the weights.
	type read struct {
		tokens *wordpiece.Model
		err    error
	}
	reading := make(chan read, 1)
	if _, err := nn.ReadConfig(filepath.Join(path, "config.json")); err != nil { // what a model is comes before how it cuts text
		return nil, err
	}
	go func() {
		tokens, err := wordpiece.Load(path)
		reading <- read{tokens, err}
	}()
	m.encoder, err = nn.OpenEncoder(path, kernel)
	got := <-reading
	if err != nil {
		return nil, err
	}
	if got.err != nil {
		return nil, tokenizerError(path, got.err)
	}
	m.tokens = got.tokens
	var bert struct {
		MaxLength *int `json:"max_seq_length"`
		Lower     bool `json:"do_lower_case"`
	}
	if _, err := readJSON(filepath.Join(path, "sentence_bert_config.json"), &bert); err != nil {
		return nil, err
	}
	m.lower = bert.Lower
	config := m.encoder.Config()
	m.limit = config.Positions
	if n := m.tokens.MaxLength; n > 0 {
		m.limit = min(m.limit, n)
	}
	if bert.MaxLength != nil && *bert.MaxLength > 0 {
		m.limit = min(config.Positions, *bert.MaxLength)
	}
	if m.tokens.First < 0 || m.tokens.Last < 0 {
		return nil, &nn.FormatError{Path: path, Rule: "the vocabulary has no [CLS] or no [SEP]"}
	}
	if m.tokens.Size() > config.Vocabulary {
		return nil, &nn.FormatError{
			Path: path, Rule: fmt.Sprintf("the tokenizer has %d tokens, the model %d", m.tokens.Size(), config.Vocabulary),
		}
	}
	return m, nil
}

// tokenizerError makes one of our errors of what reading a tokenizer gave.
func tokenizerError(path string, err error) error {
	var unsupported *wordpiece.UnsupportedError
	var file *fs.PathError
	switch {
	case errors.As(err, &unsupported):
		return &nn.UnsupportedError{
			Path: unsupported.Path, Part: "a tokenizer whose " + unsupported.Part + " is", Have: unsupported.Have, Want: "WordPiece as BERT has it",
		}
	case errors.As(err, &file), errors.Is(err, fs.ErrNotExist):
		return err
	}
	return &nn.FormatError{Path: path, Rule: "tokenizer: " + strings.TrimPrefix(err.Error(), path+string(filepath.Separator))}
}

// poolings reads the config.json of a pooling: a flag for each way, or, since sentence-transformers 5.2, their names.
func (f *folder) poolings(step module) ([]nn.Pooling, error) {
	path, err := f.at(step, "config.json")
	if err != nil {
		return nil, err
	}
	config := struct {
		Mode    json.RawMessage `json:"pooling_mode"`
		First   bool            `json:"pooling_mode_cls_token"`
		Max     bool            `json:"pooling_mode_max_tokens"`
		Mean    bool            `json:"pooling_mode_mean_tokens"`
		Sqrt    bool            `json:"pooling_mode_mean_sqrt_len_tokens"`
		Weigh   bool            `json:"pooling_mode_weightedmean_tokens"`
		Last    bool            `json:"pooling_mode_lasttoken"`
		Include bool            `json:"include_prompt"`
	}{Include: true}
	there, err := readJSON(path, &config)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	if !config.Include {
		return nil, &nn.UnsupportedError{Path: path, Part: "include_prompt", Have: "false", Want: "true"}
	}
	var out []nn.Pooling
	if len(config.Mode) > 0 {
		var one nn.Pooling
		if json.Unmarshal(config.Mode, &one) == nil {
			out = []nn.Pooling{one}
		} else if err := json.Unmarshal(config.Mode, &out); err != nil {
			return nil, &nn.FormatError{Path: path, Rule: "pooling_mode: " + err.Error()}
		}
	} else {
		// In the order in which the reference puts them together.
		for _, way := range []struct {
			on  bool
			way nn.Pooling
		}{
			{config.First, nn.First}, {config.Max, nn.Max}, {config.Mean, nn.Mean},
			{config.Sqrt, nn.MeanSqrt}, {config.Weigh, nn.Weighted}, {config.Last, nn.Last},
		} {
			if way.on {
				out = append(out, way.way)
			}
		}
	}
	if len(out) == 0 {
		return nil, &nn.FormatError{Path: path, Rule: "no pooling is chosen"}
	}
	for _, p := range out {
		if p.Known() != nil {
			return nil, &nn.UnsupportedError{Path: path, Part: "pooling_mode", Have: string(p), Want: "cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken"}
		}
	}
	return out, nil
}

// loadStatic reads a static model.
func (f *folder) loadStatic() (*model, error) {
	m := &model{normalize: f.static.Normalize}
	step := module{}
	for i, s := range f.modules {
		switch kind := s.kind(); {
		case i == 0 && kind == "StaticEmbedding":
			step = s
		case i == 1 && kind == "Normalize":
			m.normalize = true
		default:
			return nil, &nn.UnsupportedError{
				Path: filepath.Join(f.dir, "modules.json"), Part: fmt.Sprintf("module %d", i), Have: s.Type,
				Want: "StaticEmbedding and perhaps Normalize",
			}
		}
	}
	path, err := f.at(step, "")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(path, "tokenizer.json")
	if m.tokens, err = wordpiece.LoadFile(file); err != nil {
		return nil, tokenizerError(path, err)
	}
	if m.static, err = nn.OpenStatic(path); err != nil {
		return nil, err
	}
	if m.tokens.Size() > m.static.Tokens() {
		return nil, &nn.FormatError{
			Path: file, Rule: fmt.Sprintf("the tokenizer has %d tokens, the model %d", m.tokens.Size(), m.static.Tokens()),
		}
	}
	if m.static.Plain() {
		m.limit = m.tokens.MaxLength
		return m, nil
	}
	// model2vec looks at 512 tokens, of so many characters as that many tokens of median length have.
	m.limit = 512
	switch max := string(f.static.MaxLength); max {
	case "":
	case "null":
		m.limit = 0
	default:
		if err := json.Unmarshal(f.static.MaxLength, &m.limit); err != nil || m.limit < 1 {
			return nil, &nn.FormatError{Path: filepath.Join(f.dir, "config.json"), Rule: "max_length is " + max}
		}
	}
	m.chars = m.limit * medianLength(m.tokens)
	return m, nil
}

// medianLength is the median number of characters of a token, rounded down.
func medianLength(t *wordpiece.Model) int {
	var lengths []int
	for id := range t.Size() {
		if text := t.Text(int32(id)); text != "" {
			lengths = append(lengths, utf8.RuneCountInString(text))
		}
	}
	slices.Sort(lengths)
	n := len(lengths)
	return (lengths[n/2] + lengths[(n-1)/2]) / 2
}
