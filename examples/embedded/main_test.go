package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// A model that was made for tests; it does not know much, but it runs.
const model = "../../embedding/local/testdata/sentence"

func TestRun(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "memory.db")
	var out strings.Builder
	if err := run(t.Context(), file, "", &out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.HasPrefix(got, "note: vector: ") {
		t.Errorf("without a model: %q", got)
	}
	file = filepath.Join(t.TempDir(), "memory.db")
	for range 2 { // running it again does no harm
		out.Reset()
		if err := run(t.Context(), file, model, &out); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); strings.Contains(got, "note") || strings.Count(got, "\n") != 2 || !strings.Contains(got, " holiday.txt: The office is closed") {
			t.Errorf("with a model: %q", got)
		}
	}
}
