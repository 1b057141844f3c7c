// Package extract turns what a reader yields into text: the first stage of ingestion. This package holds the contract and
// takes plain text; a package below reads each other format, and package all puts them together.
package extract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/llmemory/llmemory/internal/fault"
)

var (
	// ErrUnsupported is returned for content that an extractor cannot turn into text.
	ErrUnsupported = fault.Unsupported
	// ErrTooLarge is returned for content that is over one of the limits: of bytes, of memory, of members, of depth.
	ErrTooLarge = fault.TooLarge
	// ErrDamaged is returned for content that is cut short or breaks its format's rules.
	ErrDamaged = fault.Damaged
	// ErrEncrypted is returned for content that needs a password.
	ErrEncrypted = fault.Encrypted
	// ErrNoText is returned for content that is sound but holds no text, such as a scanned page.
	ErrNoText = fault.NoText
	// ErrTimeout is returned for content that took longer than its format's parser may.
	ErrTimeout = fault.Timeout
)

// Temporary tells whether an error may have gone the next time that the same input is read in the same way: unless it is one of this
// package's, or if it is [ErrTimeout], an end of the context, a failure of the file system, or says itself by a method Temporary that it is.
func Temporary(err error) bool {
	var (
		itself interface{ Temporary() bool }
		file   *fs.PathError
	)
	for _, passing := range []error{ErrTimeout, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, passing) {
			return true
		}
	}
	if errors.As(err, &file) || errors.As(err, &itself) && itself.Temporary() {
		return true
	}
	for _, lasting := range []error{ErrUnsupported, ErrTooLarge, ErrDamaged, ErrEncrypted, ErrNoText} {
		if errors.Is(err, lasting) {
			return false
		}
	}
	return true
}

// Input is what an Extractor reads.
type Input struct {
	Reader   io.Reader
	Name     string // a file name or URL, a hint to the type; may be empty
	Type     string // the document type if the caller knows it; may be empty
	Media    string // the MIME type if the caller knows it, such as "text/html; charset=latin1"; may be empty
	MaxBytes int    // the most text to return; 0 means no limit
	// Part is called with each document that lies within this one, in order: the attachments of a message, the messages of a
	// mailbox, the members of an archive. The reader is good until Part returns. An error of Part ends the extraction and is
	// returned as it is. Without Part what lies within is left out.
	Part func(ctx context.Context, part Input) error
}

// Text is what an Extractor makes of an Input.
type Text struct {
	// Content is the text in reading order, valid UTF-8.
	Content string
	// Type is the document type found, such as "markdown" or "email".
	Type string
	// Format is what was read, such as "docx"; for text the same as Type.
	Format string
	// Markup says how the structure of Content is written: "markdown", "html", "csv", "tsv", "email", "chat", the name of a
	// programming language such as "go", or "" when there is no more to it than lines and paragraphs.
	Markup string
	// Title, Author and Language (ISO 639-1) are what the source says of itself; each may be empty.
	Title, Author, Language string
	// Date is the document's own date: when a message was sent, when a file says it was last changed. Zero when it says none.
	Date time.Time
	// Pages are the byte offsets in Content at which pages, or slides, begin, in order: the first is that of page 1. Nil for
	// what has no pages.
	Pages []int
	// Container tells that the source is a container, such as an archive, whose parts are all there is: Content is empty.
	Container bool
	// Warnings are what was left out or mended, for people.
	Warnings []string
}

// Extractor turns input into text. Errors wrap one of this package's, or the reader's error. Implementations are safe for
// concurrent use, deterministic, and look at their context.
type Extractor interface {
	Extract(ctx context.Context, in Input) (Text, error)
}

// Signer is implemented by an Extractor that knows when the same input would give the same text. The signature names the way of
// extracting: it changes whenever the same input might be turned into another text. Whoever stores it beside the text knows when to
// extract again. An empty one promises nothing.
type Signer interface {
	Signature() string
}

// Func makes an [Extractor] of a function.
type Func func(ctx context.Context, in Input) (Text, error)

// Extract calls f.
func (f Func) Extract(ctx context.Context, in Input) (Text, error) { return f(ctx, in) }

// Plain takes text as it is: plain text, Markdown and source code in UTF-8, with or without a byte order mark. Content with
// other bytes than text, or in another encoding, is refused with [ErrUnsupported].
type Plain struct{}

// Signature implements [Signer].
func (Plain) Signature() string { return "plain 1" }

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
	return Text{Content: string(raw), Type: t, Format: t, Markup: MarkupByName(in.Name)}, nil
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

// MarkupByName returns how the text of a file of that name is written, as [Text].Markup has it: "markdown", "csv", "json", the name of a
// programming language in lower case; "" for plain text and for what is not known.
func MarkupByName(name string) string {
	base := strings.ToLower(path.Base(strings.ReplaceAll(name, `\`, "/")))
	if m, ok := markupByName[base]; ok {
		return m
	}
	return markupByExtension[strings.TrimPrefix(path.Ext(base), ".")]
}

var markupByName = map[string]string{
	"makefile": "makefile", "gnumakefile": "makefile", "dockerfile": "dockerfile", "cmakelists.txt": "cmake", "rakefile": "ruby", "gemfile": "ruby",
	"justfile": "just", "go.mod": "gomod",
}

var markupByExtension = func() map[string]string {
	m := map[string]string{}
	for markup, list := range map[string]string{
		"markdown": "md markdown mdown mkd mdx", "csv": "csv", "tsv": "tsv tab", "html": "html htm xhtml",
		"go": "go", "python": "py pyi pyw", "javascript": "js mjs cjs jsx", "typescript": "ts mts cts", "tsx": "tsx", "java": "java",
		"kotlin": "kt kts", "scala": "scala sc", "c": "c h", "cpp": "cc cpp cxx hpp hh hxx", "csharp": "cs", "rust": "rs", "ruby": "rb rake",
		"php": "php", "perl": "pl pm", "swift": "swift", "objc": "m mm", "lua": "lua", "r": "r", "julia": "jl", "dart": "dart", "elixir": "ex exs",
		"erlang": "erl hrl", "haskell": "hs", "ocaml": "ml mli", "fsharp": "fs fsx", "clojure": "clj cljs cljc", "groovy": "groovy gradle",
		"bash": "sh bash zsh", "fish": "fish", "powershell": "ps1 psm1", "batch": "bat cmd", "sql": "sql", "protobuf": "proto",
		"graphql": "graphql gql", "hcl": "tf hcl", "nix": "nix", "zig": "zig", "v": "v", "vue": "vue", "svelte": "svelte", "css": "css",
		"scss": "scss", "less": "less", "yaml": "yaml yml", "toml": "toml", "ini": "ini cfg conf properties", "json": "json geojson",
		"jsonl": "jsonl ndjson", "xml": "xml", "cmake": "cmake", "makefile": "mk",
	} {
		for _, ext := range strings.Fields(list) {
			m[ext] = markup
		}
	}
	return m
}()

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
