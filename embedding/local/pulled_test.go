package local_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/llmemory/llmemory/embedding/local"
	"github.com/llmemory/llmemory/internal/modelfile"
)

func TestPulled(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("LLMEMORY_MODELS", dir)
	want := filepath.Join(dir, local.DefaultModel)
	if _, err := local.Pulled(""); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), want) {
		t.Errorf("before: %v", err)
	}
	m, err := modelfile.Find(local.DefaultModel)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range m.Files { // files of holes, as long as the true ones
		path := filepath.Join(want, filepath.FromSlash(f.Path))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644), os.Truncate(path, f.Bytes)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := local.Pulled("all-minilm-l6-v2"); err != nil || got != want {
		t.Errorf("after: %q, %v", got, err)
	}
	if _, err := local.Pulled("other"); !errors.Is(err, modelfile.ErrUnknown) {
		t.Errorf("an unknown one: %v", err)
	}
}
