// Command extracttable reads every file of a folder and tells what becomes of each, as tables in a Markdown file:
//
//	extracttable [-out docs/extraction.md] DIR
//
// In the Markdown file, what stands between <!-- extraction --> and <!-- /extraction --> is replaced; without -out the tables go to
// standard output. The tables name files, and hold no text of them. It fails if a file ends in an error of no kind, takes longer than
// half a minute, or makes the process grow by more than 256 MiB.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/all"
	"github.com/llmemory/llmemory/extract/sandbox"
)

func main() {
	sandbox.Main() // PDF is read in children, each this program again
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	out := flag.String("out", "", "Markdown file to write the tables into")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: extracttable [-out FILE] DIR")
		os.Exit(2)
	}
	if err := run(ctx, flag.Arg(0), *out); err != nil {
		fmt.Fprintln(os.Stderr, "extracttable:", err)
		os.Exit(1)
	}
}

// The bounds within which every file is to end.
const (
	maxTime   = 30 * time.Second
	maxGrowth = 256 << 20
)

func run(ctx context.Context, dir, out string) error {
	var pool sandbox.Pool
	defer pool.Close()
	x := all.Extractor{Sandbox: &pool}
	// The first child of a machine compiles its parser, which is not the first file's fault.
	if _, err := x.Extract(ctx, extract.Input{Reader: strings.NewReader(blank)}); !errors.Is(err, extract.ErrNoText) {
		return fmt.Errorf("reading a blank page: %w", err)
	}
	rows, err := read(ctx, os.DirFS(dir), x)
	if err != nil {
		return err
	}
	block := tables(rows)
	if out == "" {
		_, err = os.Stdout.WriteString(block)
	} else {
		err = replace(out, block)
	}
	return errors.Join(err, faults(rows))
}

// blank is a PDF of one page with nothing on it.
const blank = `%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Count 1/Kids[3 0 R]>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]>> endobj
trailer <</Root 1 0 R/Size 4>>
`

// row is what became of a file.
type row struct {
	name, format string
	words        int           // in its text and in those of its parts
	err          error         // why there is no text
	parts        int           // documents in it that were read
	unread       []string      // why others in it were not
	took         time.Duration // for all of it
	growth       int64         // bytes by which the process grew at most
}

// read reads all files of a folder, in the order of their names.
func read(ctx context.Context, dir fs.FS, e extract.Extractor) ([]row, error) {
	var rows []row
	err := fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		r, err := one(ctx, dir, name, e)
		rows = append(rows, r)
		return err
	})
	if err == nil && len(rows) == 0 {
		err = errors.New("no file in the folder")
	}
	return rows, err
}

// one reads a file. The error is one of the folder, or of the context.
func one(ctx context.Context, dir fs.FS, name string, e extract.Extractor) (row, error) {
	r := row{name: name, format: "—"}
	f, err := dir.Open(name)
	if err != nil {
		return r, err
	}
	defer func() { _ = f.Close() }() // it is only read
	memory := watch()
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, 2*maxTime)
	defer cancel()
	var part func(ctx context.Context, in extract.Input) error
	part = func(ctx context.Context, in extract.Input) error {
		in.Part = part
		text, err := e.Extract(ctx, in)
		if err != nil {
			r.unread = append(r.unread, err.Error())
			return ctx.Err()
		}
		r.words += words(text.Content)
		if !text.Container {
			r.parts++
		}
		return nil
	}
	text, err := e.Extract(limited, extract.Input{Reader: f, Name: name, Part: part})
	r.took, r.growth = time.Since(began), memory()
	if text.Format != "" {
		r.format = text.Format
	}
	r.words += words(text.Content)
	r.err = err
	return r, ctx.Err()
}

// words counts runs of letters and digits; of scripts without spaces, each character.
func words(s string) int {
	n, within := 0, false
	for _, c := range s {
		switch {
		case unicode.In(c, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai):
			n++
			within = false
		case unicode.IsLetter(c) || unicode.IsDigit(c) || unicode.IsMark(c):
			if !within {
				n++
			}
			within = true
		default:
			within = false
		}
	}
	return n
}

var kinds = []error{
	extract.ErrUnsupported, extract.ErrTooLarge, extract.ErrDamaged, extract.ErrEncrypted, extract.ErrNoText, extract.ErrTimeout,
}

// faults tells which files did not end as every file should.
func faults(rows []row) error {
	var all []error
	for _, r := range rows {
		if r.err != nil && !slices.ContainsFunc(kinds, func(k error) bool { return errors.Is(r.err, k) }) {
			all = append(all, fmt.Errorf("%s: error of no kind: %w", r.name, r.err))
		}
		if r.took > maxTime {
			all = append(all, fmt.Errorf("%s: took %v", r.name, r.took))
		}
		if r.growth > maxGrowth {
			all = append(all, fmt.Errorf("%s: took %d MiB", r.name, r.growth>>20))
		}
	}
	return errors.Join(all...)
}

// tables writes what became of the files, by format, then those without text, then all.
func tables(rows []row) string {
	var b strings.Builder
	text := 0
	byFormat := map[string][]row{}
	for _, r := range rows {
		if r.err == nil {
			text++
		}
		key := strings.TrimPrefix(strings.ToLower(filepath.Ext(r.name)), ".")
		if key == "" {
			key = "(none)"
		}
		byFormat[key] = append(byFormat[key], r)
	}
	fmt.Fprintf(&b, "%d files: %d end as text, %d as a named reason.\n\n", len(rows), text, len(rows)-text)
	b.WriteString("| extension | files | text | words | slowest, s | most memory, MiB |\n|---|---:|---:|---:|---:|---:|\n")
	for _, key := range sorted(byFormat) {
		texts, words, slowest, most := 0, 0, time.Duration(0), int64(0)
		for _, r := range byFormat[key] {
			if r.err == nil {
				texts++
			}
			words += r.words
			slowest, most = max(slowest, r.took), max(most, r.growth)
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %.2f | %d |\n", key, len(byFormat[key]), texts, words, slowest.Seconds(), mib(most))
	}
	b.WriteString("\nThose without text:\n\n| file | reason |\n|---|---|\n")
	for _, r := range rows {
		if r.err != nil {
			fmt.Fprintf(&b, "| %s | %s |\n", cell(r.name), cell(r.err.Error()))
		}
	}
	b.WriteString("\n<details><summary>All files</summary>\n\n| file | format | outcome | s | MiB |\n|---|---|---|---:|---:|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %.2f | %d |\n", cell(r.name), r.format, cell(r.outcome()), r.took.Seconds(), mib(r.growth))
	}
	b.WriteString("\n</details>\n")
	return b.String()
}

func (r row) outcome() string {
	if r.err != nil {
		return r.err.Error()
	}
	s := fmt.Sprintf("text: %d words", r.words)
	if r.parts > 0 {
		s += fmt.Sprintf(", with %d parts", r.parts)
	}
	if len(r.unread) > 0 {
		slices.Sort(r.unread)
		s += "; parts not read: " + strings.Join(slices.Compact(r.unread), ", ")
	}
	return s
}

// cell makes a cell of a table of any text.
func cell(s string) string {
	s = strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, s)
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(s)
}

func mib(n int64) int64 { return (n + 1<<19) >> 20 }

func sorted(m map[string][]row) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, cmp.Compare)
	return keys
}

// replace puts a block into a Markdown file, between its marks.
func replace(file, block string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(old, []byte("<!-- extraction -->\n"))
	_, after, ok2 := bytes.Cut(rest, []byte("<!-- /extraction -->\n"))
	if !ok || !ok2 {
		return fmt.Errorf("%s has no marks <!-- extraction --> and <!-- /extraction --> on lines of their own", file)
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString("<!-- extraction -->\n" + block + "<!-- /extraction -->\n")
	b.Write(after)
	return os.WriteFile(file, b.Bytes(), 0o644)
}
