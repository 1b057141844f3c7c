// Package all turns files of every known format into text: it finds out what a file is by what is in it, and hands it to the extractor
// of that format.
//
//	text, err := all.Extractor{}.Extract(ctx, extract.Input{Reader: file, Name: "report.docx"})
//
// The zero value of [Extractor] is ready. A host's own extractors, for formats that are not read here (say, images by text
// recognition) or that it reads better, go into Custom.
package all

import (
	"context"
	"fmt"
	"maps"
	"mime"
	"slices"
	"strings"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/archive"
	"github.com/llmemory/llmemory/extract/data"
	"github.com/llmemory/llmemory/extract/html"
	"github.com/llmemory/llmemory/extract/mail"
	"github.com/llmemory/llmemory/extract/notebook"
	"github.com/llmemory/llmemory/extract/rtf"
	"github.com/llmemory/llmemory/extract/sandbox"
	"github.com/llmemory/llmemory/extract/text"
)

// Extractor takes every format that llmemory reads. It implements [extract.Extractor].
type Extractor struct {
	// Sandbox is where files are read whose parsers can crash, loop or eat memory: now PDF, in child processes, and web pages of
	// more than 4 MiB. Without it such a page is read in this process, and a PDF is refused with [sandbox.ErrNoMain]. A host that wants them parsed in its own process says so in Custom:
	//
	//	Custom: map[string]extract.Extractor{"pdf": &pdf.Extractor{}}
	Sandbox *sandbox.Pool
	// Custom are extractors of the host's, which go before ours. The key is a format as [Detect] names it ("pdf"), a MIME type
	// ("image/png"), or a whole family of them ("image/*").
	Custom map[string]extract.Extractor
	// MaxSource is how many bytes of a source are read at most. Default [extract.DefaultMaxSource].
	MaxSource int64
	// MaxDepth is how many documents may lie around a part: messages attached to messages, archives in archives. Archives have
	// a narrower limit of their own. Default 8.
	MaxDepth int
}

// largePage is from how many bytes on a web page is read in a child, if there can be one: its tree takes several times as much memory.
const largePage = 4 << 20

// builtin returns our own extractor of a format, or nil.
func (x Extractor) builtin(format string, size int64) extract.Extractor {
	switch format {
	case "text", "markdown", "code", "csv", "tsv", "yaml":
		return text.Extractor{Format: format}
	case "json", "jsonl":
		return data.JSON{Lines: format == "jsonl"}
	case "xml":
		return data.XML{}
	case "zip", "tar", "gzip", "bzip2", "xz", "zstd":
		return archive.Extractor{}
	case "notebook":
		return notebook.Extractor{}
	case "chat":
		return extract.Func(chat)
	case "email", "mbox", "msg":
		return mail.Extractor{HTML: html.Extractor{Whole: true}, RTF: rtf.Extractor{}}
	}
	if format == "html" && size > largePage && x.Sandbox != nil && x.Sandbox.Available() == nil {
		return x.Sandbox.Extractor(format)
	}
	if format == "pdf" {
		if x.Sandbox != nil {
			return x.Sandbox.Extractor(format)
		}
		return extract.Func(func(context.Context, extract.Input) (extract.Text, error) { return extract.Text{}, sandbox.ErrNoMain })
	}
	return office(format)
}

// Extract implements [extract.Extractor]. What no extractor takes is refused with [extract.ErrUnsupported] and its name, such as
// "image (image/png)"; what turns out to be empty, with [extract.ErrNoText].
func (x Extractor) Extract(ctx context.Context, in extract.Input) (extract.Text, error) {
	maxDepth := x.MaxDepth
	if maxDepth <= 0 {
		maxDepth = 8
	}
	if extract.Depth(ctx) > maxDepth {
		return extract.Text{}, fmt.Errorf("%w: lies within more than %d other documents", extract.ErrTooLarge, maxDepth)
	}
	src, err := in.Open(ctx, x.MaxSource)
	if err != nil {
		return extract.Text{}, err
	}
	out, err := x.extract(ctx, src, in)
	if cerr := src.Close(); err == nil { // an error of Part is returned as it is
		err = cerr
	}
	return out, err
}

func (x Extractor) extract(ctx context.Context, src *extract.Source, in extract.Input) (extract.Text, error) {
	if src.Size() == 0 {
		return extract.Text{}, fmt.Errorf("%w: an empty file", extract.ErrNoText)
	}
	kind, err := Detect(src, in.Name, in.Media)
	if err != nil && x.custom(kind) == nil {
		return extract.Text{}, err
	}
	e := x.custom(kind)
	if e == nil {
		e = x.builtin(kind.Format, src.Size())
	}
	if e == nil {
		return extract.Text{}, fmt.Errorf("%w: %s", extract.ErrUnsupported, kind)
	}
	in.Reader = src
	in.Media = settle(in.Media, kind.Media)
	out, err := e.Extract(ctx, in)
	if err != nil {
		return extract.Text{}, err
	}
	if out.Format == "" {
		out.Format = kind.Format
	}
	if !out.Container && strings.TrimSpace(out.Content) == "" {
		return extract.Text{}, fmt.Errorf("%w: %s", extract.ErrNoText, kind)
	}
	return out, nil
}

// custom returns the host's extractor of a kind, or nil.
func (x Extractor) custom(k Kind) extract.Extractor {
	family, _, _ := strings.Cut(k.Media, "/")
	for _, key := range []string{k.Format, k.Media, family + "/*"} {
		if e := x.Custom[key]; e != nil && key != "" {
			return e
		}
	}
	return nil
}

// settle returns the MIME type that was found, with the charset of the one that was said.
func settle(said, found string) string {
	if strings.EqualFold(mediaType(said), found) {
		return said
	}
	if _, params, err := mime.ParseMediaType(said); err == nil && params["charset"] != "" {
		if both := mime.FormatMediaType(found, map[string]string{"charset": params["charset"]}); both != "" {
			return both
		}
	}
	return found
}

// mediaType is a MIME type without its parameters, in lower case.
func mediaType(s string) string {
	if t, _, err := mime.ParseMediaType(s); err == nil {
		return t
	}
	t, _, _ := strings.Cut(s, ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// version changes with every change to an extractor that may make another text of the same input, or one of what was refused.
const version = "3"

// Signature implements [extract.Signer]. With custom extractors of which one has no signature, it is empty.
func (x Extractor) Signature() string {
	parts := []string{"all " + version, fmt.Sprint(x.MaxSource), fmt.Sprint(x.MaxDepth)}
	if x.Sandbox != nil && x.Sandbox.Signature() != "" {
		parts = append(parts, x.Sandbox.Signature())
	}
	for _, key := range slices.Sorted(maps.Keys(x.Custom)) {
		signer, ok := x.Custom[key].(extract.Signer)
		if !ok || signer.Signature() == "" {
			return ""
		}
		parts = append(parts, key, signer.Signature())
	}
	return strings.Join(parts, "\n")
}
