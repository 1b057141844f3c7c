// Package extract turns what a reader yields into text: the first stage of ingestion.
package extract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"
)

// ErrUnsupported is returned for content that an extractor cannot turn into text.
var ErrUnsupported = errors.New("unsupported content")

// ErrTooLarge is returned for content of more than [Input.MaxBytes].
var ErrTooLarge = errors.New("content too large")

// Input is what an Extractor reads.
type Input struct {
	Reader   io.Reader
	Name     string // a file name or URL, a hint to the type; may be empty
	Type     string // the document type if the caller knows it; may be empty
	MaxBytes int    // the most text to return; 0 means no limit
}

// Text is what an Extractor makes of an Input.
type Text struct {
	Content string // valid UTF-8
	Type    string // the document type found, such as "markdown"
}

// Extractor turns input into text. Errors wrap [ErrUnsupported], [ErrTooLarge] or the reader's error.
type Extractor interface {
	Extract(ctx context.Context, in Input) (Text, error)
}

// Func makes an [Extractor] of a function.
type Func func(ctx context.Context, in Input) (Text, error)

// Extract calls f.
func (f Func) Extract(ctx context.Context, in Input) (Text, error) { return f(ctx, in) }

// Plain takes text as it is: plain text, Markdown and source code in UTF-8, with or without a byte order mark. Content with
// other bytes than text, or in another encoding, is refused with [ErrUnsupported].
type Plain struct{}

// Extract implements [Extractor].
func (Plain) Extract(ctx context.Context, in Input) (Text, error) {
	if err := ctx.Err(); err != nil {
		return Text{}, err
	}
	r := in.Reader
	if in.MaxBytes > 0 {
		r = io.LimitReader(r, int64(in.MaxBytes)+1)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return Text{}, err
	}
	if in.MaxBytes > 0 && len(raw) > in.MaxBytes {
		return Text{}, fmt.Errorf("%w: must be at most %d bytes", ErrTooLarge, in.MaxBytes)
	}
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(raw) {
		return Text{}, fmt.Errorf("%w: not text in UTF-8", ErrUnsupported)
	}
	head := raw[:min(len(raw), 8000)]
	if n := bytes.Count(head, []byte{0}); n > len(head)/100 {
		return Text{}, fmt.Errorf("%w: binary data", ErrUnsupported)
	}
	t := in.Type
	if t == "" {
		t, _ = TypeByName(in.Name)
	}
	return Text{Content: string(raw), Type: t}, nil
}

// TypeByName returns the document type that a file name's extension tells: "markdown", "code", "text", or "unknown" and false.
func TypeByName(name string) (string, bool) {
	base := strings.ToLower(path.Base(strings.ReplaceAll(name, `\`, "/")))
	if t, ok := byName[base]; ok {
		return t, true
	}
	if t, ok := byExtension[strings.TrimPrefix(path.Ext(base), ".")]; ok {
		return t, true
	}
	return "unknown", false
}

var byName = map[string]string{
	"makefile": "code", "dockerfile": "code", "cmakelists.txt": "code", "rakefile": "code", "gemfile": "code", "justfile": "code",
	"readme": "text", "license": "text", "copying": "text", "changelog": "text", "authors": "text", "notice": "text",
}

var byExtension = func() map[string]string {
	m := map[string]string{}
	for t, list := range map[string]string{
		"markdown": "md markdown mdown mkd mdx",
		"text":     "txt text log rst adoc asciidoc org tex srt vtt",
		"code": "go py pyi js mjs cjs jsx ts tsx java kt kts scala c h cc cpp cxx hpp hh cs rs rb php pl pm swift m mm lua r jl " +
			"dart ex exs erl hs ml mli fs fsx clj cljs groovy sh bash zsh fish ps1 bat sql proto graphql tf hcl nix zig v vue " +
			"svelte css scss less yaml yml toml ini cfg conf json jsonl ndjson xml gradle cmake mk",
	} {
		for _, ext := range strings.Fields(list) {
			m[ext] = t
		}
	}
	return m
}()
