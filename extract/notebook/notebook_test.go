package notebook_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/extracttest"
	"github.com/llmemory/llmemory/extract/notebook"
)

const four = `{"cells": [
 {"cell_type": "markdown", "metadata": {}, "source": ["# Häfen und Schiffe\n", "\n", "A list:\n", "- one\n", "- two\n", "\n", "| a | b |\n", "|---|---|\n", "| 1 | 2 |"]},
 {"cell_type": "code", "execution_count": 1, "metadata": {}, "source": "import math\nprint(math.pi)", "outputs": [
  {"output_type": "stream", "name": "stdout", "text": ["\u001b[31m3.14\u001b[0m\n", "done\n"]},
  {"output_type": "execute_result", "data": {"text/plain": ["42"], "text/html": "<b>42</b>"}, "metadata": {}},
  {"output_type": "display_data", "data": {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure size 640x480 with 1 Axes>"}, "metadata": {}},
  {"output_type": "error", "ename": "ValueError", "evalue": "no ship", "traceback": ["\u001b[0;31mlong\u001b[0m"]}]},
 {"cell_type": "markdown", "metadata": {}, "source": "![chart](data:image/png;base64,AAAA) שלום 日本語", "attachments": {}},
 {"cell_type": "raw", "metadata": {}, "source": "raw text"}
], "metadata": {"authors": [{"name": "Ann Lee"}, {"name": "Bo"}], "kernelspec": {"language": "python", "name": "python3"}, "language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}`

func TestExtract(t *testing.T) {
	t.Parallel()
	got := extracttest.Extract(t, notebook.Extractor{}, extract.Input{}, []byte(four))
	want := extract.Text{
		Content: "# Häfen und Schiffe\n\nA list:\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nimport math\nprint(math.pi)\n```\n\n" +
			"```\n3.14\ndone\n```\n\n```\n42\n```\n\n```\nValueError: no ship\n```\n\nchart שלום 日本語\n\nraw text\n",
		Type: "markdown", Format: "notebook", Markup: "markdown", Title: "Häfen und Schiffe", Author: "Ann Lee, Bo",
		Warnings: []string{"1 outputs without text left out"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestFormat3(t *testing.T) {
	t.Parallel()
	in := `{"metadata": {"name": "x"}, "nbformat": 3, "worksheets": [{"cells": [
{"cell_type": "heading", "level": 2, "source": ["Title"]},
{"cell_type": "code", "language": "julia", "input": ["1 + 1"], "outputs": [{"output_type": "pyout", "text": ["2"]}]}]}]}`
	got := extracttest.Extract(t, notebook.Extractor{}, extract.Input{}, []byte(in))
	if want := "## Title\n\n```julia\n1 + 1\n```\n\n```\n2\n```\n"; got.Content != want {
		t.Errorf("%q", got.Content)
	}
}

// Of a progress bar the last state stays, as a terminal shows it.
func TestProgress(t *testing.T) {
	t.Parallel()
	in := `{"nbformat": 4, "cells": [{"cell_type": "code", "source": "run()", "outputs": [{"output_type": "stream", "text": "start\r\n 10%\r 50%\r100%\nend\r"}]}]}`
	got := extracttest.Extract(t, notebook.Extractor{}, extract.Input{}, []byte(in))
	if want := "```python\nrun()\n```\n\n```\nstart\n100%\nend\n```\n"; got.Content != want {
		t.Errorf("%q, want %q", got.Content, want)
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	x := notebook.Extractor{}
	extracttest.Refused(t, x, []byte(four[:len(four)/2]), extract.ErrDamaged)
	extracttest.Refused(t, x, []byte(`{"cells": [], "nbformat": 4}`), extract.ErrNoText)
	extracttest.Refused(t, x, []byte("\x00\x01\x02\x03"), extract.ErrUnsupported)
	_, err := x.Extract(t.Context(), extract.Input{Reader: strings.NewReader(four), MaxBytes: 50})
	if !errors.Is(err, extract.ErrTooLarge) {
		t.Errorf("too long: %v", err)
	}
	long := strings.Replace(four, "done", strings.Repeat("ü", notebook.MaxOutput), 1)
	if got := extracttest.Extract(t, x, extract.Input{}, []byte(long)); len(got.Warnings) != 2 || len(got.Content) > 10_000 {
		t.Errorf("%d bytes, %q", len(got.Content), got.Warnings)
	}
}

func FuzzExtract(f *testing.F) {
	f.Add([]byte(four))
	f.Add([]byte(`{"cells": [{"cell_type": 1, "source": {}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) { extracttest.Any(t, notebook.Extractor{}, b) })
}
