package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/all"
	"github.com/llmemory/llmemory/extract/extracttest"
)

func TestTables(t *testing.T) {
	t.Parallel()
	archive := extracttest.Zip(t, "a.txt", "three more words", "b.png", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
	rows, err := read(t.Context(), fstest.MapFS{
		"dir/two.txt": {Data: []byte("two words 東京\n")},
		"dir/a.zip":   {Data: archive},
		"empty|.md":   {},
		"noise.bin":   {Data: []byte("\x00\x01\x02\x03")},
	}, all.Extractor{})
	if err != nil {
		t.Fatal(err)
	}
	got := tables(rows)
	for _, want := range []string{
		"4 files: 2 end as text, 2 as a named reason.",
		"| txt | 1 | 1 | 4 |",
		"| dir/two.txt | text | text: 4 words |",
		"| dir/a.zip | zip | text: 3 words, with 1 parts; parts not read: unsupported content: image (image/png) |",
		`| empty\|.md | no text in it: an empty file |`,
		"| noise.bin | unsupported content: binary data of no known format |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if err := faults(rows); err != nil {
		t.Error(err)
	}
	if _, err := read(t.Context(), fstest.MapFS{}, all.Extractor{}); err == nil {
		t.Error("a folder without files: no error")
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	odd := errors.New("odd")
	rows, err := read(t.Context(), fstest.MapFS{"a": {Data: []byte("x")}}, extract.Func(func(context.Context, extract.Input) (extract.Text, error) {
		return extract.Text{}, odd
	}))
	if err != nil || !errors.Is(faults(rows), odd) {
		t.Errorf("%+v, %v", rows, err)
	}
	if faults([]row{{took: time.Minute}}) == nil || faults([]row{{growth: 1 << 30}}) == nil || faults([]row{{took: time.Second}}) != nil {
		t.Error("faults are not told from what is none")
	}
}

func TestMemory(t *testing.T) {
	memory := watch()
	data := make([]byte, 64<<20)
	for i := range data {
		data[i] = byte(i)
	}
	if grown := memory(); grown < 60<<20 {
		t.Errorf("grew by %d bytes while %d were taken", grown, len(data))
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.md")
	if err := os.WriteFile(file, []byte("# A\n<!-- extraction -->\nold\n<!-- /extraction -->\nend\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := replace(file, "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != "# A\n<!-- extraction -->\nnew\n<!-- /extraction -->\nend\n" {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.WriteFile(file, []byte("# A\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if replace(file, "new\n") == nil {
		t.Error("no error without marks")
	}
}
