// Package notebook reads Jupyter notebooks.
package notebook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/mdtext"
)

// MaxOutput is how many bytes of each output are kept.
const MaxOutput = 8 << 10

// Extractor reads notebooks of format 3 and 4 as Markdown: cells of text as they are, code in fences with the name of its language, and
// below it what it printed or returned as text. Pictures and other media are left out, and so is what an output has beyond
// [MaxOutput], with a warning. Its zero value is ready.
type Extractor struct{}

// file is what is read of a notebook.
type file struct {
	Format   int `json:"nbformat"`
	Metadata struct {
		Title   string `json:"title"`
		Authors []struct {
			Name string `json:"name"`
		} `json:"authors"`
		Kernel struct {
			Language string `json:"language"`
		} `json:"kernelspec"`
		Language struct {
			Name string `json:"name"`
		} `json:"language_info"`
	} `json:"metadata"`
	Cells      []cell `json:"cells"`
	Worksheets []struct {
		Cells []cell `json:"cells"`
	} `json:"worksheets"` // of format 3
}

type cell struct {
	Type     string   `json:"cell_type"`
	Level    int      `json:"level"` // of a heading in format 3
	Language string   `json:"language"`
	Source   lines    `json:"source"`
	Input    lines    `json:"input"` // of code in format 3
	Outputs  []output `json:"outputs"`
}

type output struct {
	Type  string           `json:"output_type"`
	Text  lines            `json:"text"`
	Data  map[string]media `json:"data"`
	Name  string           `json:"ename"`
	Value string           `json:"evalue"`
}

// lines are a text, or a list of its lines.
type lines string

func (l *lines) UnmarshalJSON(b []byte) error {
	var list []string
	if len(b) > 0 && b[0] == '[' {
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
		*l = lines(strings.Join(list, ""))
		return nil
	}
	return json.Unmarshal(b, (*string)(l))
}

// media is the text of an output in one of its forms; what is no text is not kept.
type media string

func (m *media) UnmarshalJSON(b []byte) error {
	var l lines
	if err := l.UnmarshalJSON(b); err == nil && len(l) < 1<<20 {
		*m = media(l)
	}
	return nil
}

// Extract implements [extract.Extractor].
func (Extractor) Extract(ctx context.Context, in extract.Input) (extract.Text, error) {
	raw := in
	raw.MaxBytes = 0 // pictures may make it much larger than its text
	s, warnings, err := raw.ReadText(ctx, nil)
	if err != nil {
		return extract.Text{}, err
	}
	var f file
	if err := json.Unmarshal([]byte(s), &f); err != nil {
		var wrongType *json.UnmarshalTypeError
		if !errors.As(err, &wrongType) { // which leaves that field empty and goes on
			return extract.Text{}, fmt.Errorf("%w: notebook: %w", extract.ErrDamaged, err)
		}
		warnings = append(warnings, "some fields of the notebook are of the wrong type")
	}
	for _, w := range f.Worksheets {
		f.Cells = append(f.Cells, w.Cells...)
	}
	t := extract.Text{Type: "markdown", Format: "notebook", Markup: "markdown", Title: f.Metadata.Title, Warnings: warnings}
	if in.Type != "" {
		t.Type = in.Type
	}
	var authors []string
	for _, a := range f.Metadata.Authors {
		if a.Name != "" {
			authors = append(authors, a.Name)
		}
	}
	t.Author = strings.Join(authors, ", ")
	language := f.Metadata.Kernel.Language
	if language == "" {
		language = f.Metadata.Language.Name
	}
	if language == "" {
		language = "python"
	}
	w := &mdtext.Writer{Max: in.MaxBytes}
	pictures, cuts := 0, 0
	for _, c := range f.Cells {
		if err := ctx.Err(); err != nil {
			return extract.Text{}, err
		}
		switch source := clean(string(c.Source)); c.Type {
		case "markdown":
			source = embedded.ReplaceAllString(source, "$1")
			if t.Title == "" {
				t.Title = title(source)
			}
			write(w, source)
		case "heading":
			w.Heading(c.Level, source)
		case "raw":
			write(w, source)
		case "code":
			if c.Input != "" {
				source = clean(string(c.Input))
			}
			l := strings.ToLower(language)
			if c.Language != "" {
				l = strings.ToLower(c.Language)
			}
			w.Code(l, source)
			for _, o := range c.Outputs {
				text, picture := o.text()
				if picture {
					pictures++
				}
				if len(text) > MaxOutput {
					text, cuts = head(text, MaxOutput), cuts+1
				}
				w.Code("", text)
			}
		}
	}
	if pictures > 0 {
		t.Warnings = append(t.Warnings, fmt.Sprintf("%d outputs without text left out", pictures))
	}
	if cuts > 0 {
		t.Warnings = append(t.Warnings, fmt.Sprintf("%d outputs cut at %d bytes", cuts, MaxOutput))
	}
	t.Content, err = w.Text("a notebook without cells")
	if err != nil {
		return extract.Text{}, err
	}
	return t, nil
}

// write writes what is Markdown already.
func write(w *mdtext.Writer, s string) {
	if s = strings.Trim(s, "\n"); strings.TrimSpace(s) != "" {
		w.Lines(strings.Split(s, "\n")...)
	}
}

// text returns an output as text, and whether it is something else.
func (o output) text() (text string, other bool) {
	switch o.Type {
	case "error", "pyerr":
		return clean(o.Name + ": " + o.Value), false
	case "stream":
		return overwritten(clean(string(o.Text))), false
	}
	for _, kind := range []string{"text/markdown", "text/plain"} {
		if s := clean(string(o.Data[kind])); strings.TrimSpace(s) != "" {
			picture := o.Data["image/png"] != "" || o.Data["image/jpeg"] != "" || o.Data["image/svg+xml"] != ""
			if picture && strings.HasPrefix(s, "<") { // "<Figure size 640x480 with 1 Axes>"
				return "", true
			}
			return s, false
		}
	}
	return clean(string(o.Text)), o.Text == "" && len(o.Data) > 0
}

var (
	escapes  = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")
	embedded = regexp.MustCompile(`!\[([^\]]*)\]\((?:data:|attachment:)[^)]*\)`) // pictures kept within the notebook
)

// clean takes colours of a terminal and NUL bytes out of a text, and gives it line ends of one kind.
func clean(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\x00", "")
	if strings.ContainsRune(s, '\x1b') {
		s = escapes.ReplaceAllString(s, "")
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// overwritten leaves out what a terminal would have written over, as progress bars do: of each line, what stands before its last
// return of the carriage.
func overwritten(s string) string {
	if !strings.Contains(s, "\r") {
		return s
	}
	var b strings.Builder
	for line := range strings.Lines(s) {
		text := strings.TrimRight(line, "\r\n")
		b.WriteString(text[strings.LastIndexByte(text, '\r')+1:])
		if strings.HasSuffix(line, "\n") {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// title returns the text of a first-level heading on the first line.
func title(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	if h, ok := strings.CutPrefix(line, "# "); ok {
		return strings.TrimSpace(h)
	}
	return ""
}

func head(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
