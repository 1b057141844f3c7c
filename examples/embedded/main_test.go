package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "memory.db")
	for range 2 { // running it again does no harm
		var out strings.Builder
		if err := run(t.Context(), file, "", &out); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); !strings.HasPrefix(got, "note: vector: ") {
			t.Errorf("without a model: %q", got)
		}
	}
}
