package nn

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGenerated runs the programs that write the assembly, and compares.
func TestGenerated(t *testing.T) {
	t.Parallel()
	for program, name := range map[string]string{"genavx.go": "kernel_amd64.s", "genneon.go": "kernel_arm64.s"} {
		path := filepath.Join(t.TempDir(), name)
		cmd := exec.CommandContext(t.Context(), "go", "run", program, path)
		cmd.Env = append(os.Environ(), "GOARCH=", "GOOS=") // for this machine, also where the test is for another
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", program, err, out)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what %s writes: go generate ./internal/nn", name, program)
		}
	}
}
