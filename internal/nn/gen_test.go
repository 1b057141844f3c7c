package nn

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGenerated runs the program that writes the assembly, and compares.
func TestGenerated(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kernel_amd64.s")
	if out, err := exec.CommandContext(t.Context(), "go", "run", "gen.go", path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("kernel_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("kernel_amd64.s is not what gen.go writes: go generate ./internal/nn")
	}
}
