// Package text reads what is text already: plain text, Markdown, source code, CSV, YAML, in any charset. The text stays as it is; its
// charset becomes UTF-8.
package text

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/llmemory/llmemory/extract"
)

// Extractor reads text. Its zero value is ready.
//
// The charset is told by a byte order mark, by the charset of Input.Media, or by what the bytes look like; what had to be guessed or
// could not be decoded is in Text.Warnings. Binary data is refused with [extract.ErrUnsupported].
//
// The type and the markup follow the name: an unknown one is text, unless it begins like a script. Markdown and reStructuredText tell
// title, author, date and language in front matter or in fields at the top; without, the first heading of Markdown is the title.
type Extractor struct {
	// Format is "text", "markdown", "code", "csv", "tsv" or "yaml" if that is known better than by Input.Name.
	Format string
}

// Extract implements [extract.Extractor].
func (x Extractor) Extract(ctx context.Context, in extract.Input) (extract.Text, error) {
	content, warnings, err := in.ReadText(ctx, nil)
	if err != nil {
		return extract.Text{}, err
	}
	t := extract.Text{Content: content, Warnings: warnings}
	format := x.Format
	if format == "" {
		if format, _ = extract.TypeByName(in.Name); format == "unknown" {
			format = "text"
		}
	}
	markup := extract.MarkupByName(in.Name)
	if m := script(t.Content); m != "" && markup == "" && format != "markdown" {
		format, markup = "code", m
	}
	t.Type, t.Format, t.Markup = format, format, markup
	switch format {
	case "text":
		t.Markup = ""
		if markup == "" {
			fields(&t)
		}
	case "markdown":
		t.Markup = "markdown"
		frontMatter(&t)
		if t.Title == "" {
			t.Title = firstHeading(t.Content)
		}
	case "csv", "tsv":
		t.Type, t.Markup = "text", delimiter(t.Content, format)
	case "yaml":
		t.Type, t.Markup = "code", "yaml"
	case "code":
		if t.Markup == "c" && cplusplus.MatchString(t.Content[:min(len(t.Content), 64<<10)]) && strings.HasSuffix(strings.ToLower(in.Name), ".h") {
			t.Markup = "cpp"
		}
	default:
		return extract.Text{}, fmt.Errorf("%w: %q is no format of text", extract.ErrUnsupported, format)
	}
	if in.Type != "" {
		t.Type = in.Type
	}
	return t, nil
}

var cplusplus = regexp.MustCompile(`(?m)^\s*(class \w+|namespace[ {]|template\s*<|public:|using namespace)`)

// script returns the language that the first line of a script names, "" for none.
func script(s string) string {
	if !strings.HasPrefix(s, "#!") {
		return ""
	}
	line, _, _ := strings.Cut(s, "\n")
	words := strings.Fields(line[2:])
	for i := len(words) - 1; i >= 0; i-- {
		word := words[i][strings.LastIndexByte(words[i], '/')+1:]
		switch word = strings.TrimRight(word, "0123456789."); word {
		case "sh", "bash", "zsh", "dash", "ksh":
			return "bash"
		case "python", "perl", "ruby", "php", "lua", "fish", "groovy", "swift":
			return word
		case "node", "deno", "bun":
			return "javascript"
		case "pwsh":
			return "powershell"
		case "Rscript":
			return "r"
		}
	}
	return ""
}

// delimiter tells from the first lines whether fields are parted by tabs, whatever the name says.
func delimiter(s, format string) string {
	head := []byte(s[:min(len(s), 8<<10)])
	tabs, others := bytes.Count(head, []byte("\t")), max(bytes.Count(head, []byte(",")), bytes.Count(head, []byte(";")), bytes.Count(head, []byte("|")))
	lines := bytes.Count(head, []byte("\n"))
	switch {
	case format == "csv" && tabs >= max(lines, 1) && tabs > 2*others:
		return "tsv"
	case format == "tsv" && tabs == 0 && others > 0:
		return "csv"
	}
	return format
}
