//go:build unix

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/llmemory/llmemory/internal/soak"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// texts make texts of about so many bytes that no person writes.
var texts = map[string]func(random *rand.Rand, n int) string{
	"ideographs.txt": func(random *rand.Rand, n int) string {
		return repeat(n, func(b *strings.Builder) { b.WriteRune(0x4e00 + random.Int32N(0x9fa6-0x4e00)) })
	},
	"hexadecimal.txt": func(random *rand.Rand, n int) string {
		return repeat(n, func(b *strings.Builder) { fmt.Fprintf(b, "%08x ", random.Uint32()) })
	},
	"identifiers.go": func(random *rand.Rand, n int) string {
		return repeat(n, func(b *strings.Builder) {
			for range 6 {
				fmt.Fprintf(b, "%c%c%c", 'A'+random.IntN(26), 'a'+random.IntN(26), 'a'+random.IntN(26))
			}
			b.WriteString(" = 1\n")
		})
	},
	"letters.txt": func(random *rand.Rand, n int) string {
		return repeat(n, func(b *strings.Builder) { fmt.Fprintf(b, "%c ", 'a'+random.IntN(26)) })
	},
	"numbered.txt": func(_ *rand.Rand, n int) string {
		i := 0
		return repeat(n, func(b *strings.Builder) { i++; fmt.Fprintf(b, "word%d ", i) })
	},
	"one_word.txt":  func(_ *rand.Rand, n int) string { return strings.Repeat("word ", n/5) },
	"long_word.txt": func(_ *rand.Rand, n int) string { return strings.Repeat("abcdefghij", n/10) },
	"line_ends.txt": func(_ *rand.Rand, n int) string { return strings.Repeat("\n", n) },
	"emoji.txt": func(_ *rand.Rand, n int) string {
		return strings.Repeat("👩‍👩‍👧🏳️‍🌈é̂̂ ", n/46)
	},
	"marks.txt":     func(_ *rand.Rand, n int) string { return strings.Repeat("a"+strings.Repeat("\u0301", 999)+" ", n/2000) },
	"quotations.md": func(_ *rand.Rand, n int) string { return strings.Repeat(strings.Repeat("> ", 200)+"x\n", n/402) },
	"lists.md":      func(_ *rand.Rand, n int) string { return strings.Repeat(strings.Repeat("- ", 200)+"x\n", n/402) },
	"brackets.md":   func(_ *rand.Rand, n int) string { return strings.Repeat("[", n) },
	"indentation.md": func(_ *rand.Rand, n int) string {
		i := 0
		return repeat(n, func(b *strings.Builder) { i++; b.WriteString(strings.Repeat(" ", 2*(i%200)) + "- x\n") })
	},
	"under_headings.md": func(random *rand.Rand, n int) string {
		var b strings.Builder
		for level := range 6 {
			fmt.Fprintf(&b, "%s %s\n\n", strings.Repeat("#", level+1), strings.Repeat("Heading ", 31))
		}
		return b.String() + strings.Repeat("!", n-b.Len())
	},
	"headings.md": func(random *rand.Rand, n int) string {
		return repeat(n, func(b *strings.Builder) {
			for level := range 6 {
				b.WriteString(strings.Repeat("#", level+1))
				for range 32 {
					fmt.Fprintf(b, " %07x", random.Uint32()>>4)
				}
				b.WriteString("\n\nA paragraph.\n\n")
			}
		})
	},
}

func repeat(n int, write func(*strings.Builder)) string {
	var b strings.Builder
	for b.Grow(n + 2000); b.Len() < n; {
		write(&b)
	}
	return b.String()
}

// TestLargest adds, finds, reads and deletes documents of the largest size there is (of a small one in the short form), whatever is in
// them. In the long form it is a program of its own that does so, and its memory is bounded.
func TestLargest(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	program := func(args ...string) (int, string, string, int64) {
		code, stdout, stderr := run(t, url, args...)
		return code, stdout, stderr, 0
	}
	if soak.On() {
		program = built(t, url)
	}
	const needle = "\n\nneedleword here\n"
	size := soak.Pick(30<<10, 64<<20) - len(needle)
	for name, make := range texts {
		t.Run(name, func(t *testing.T) {
			text := make(rand.New(rand.NewPCG(1, 2)), size-2000)
			text += strings.Repeat(" ", size-len(text)) + needle
			path := write(t, name, text)
			started := time.Now()
			code, stdout, stderr, peak := program("add", "--json", "--owner", name, path)
			t.Logf("%s, %d MiB", time.Since(started).Round(time.Millisecond), peak>>20)
			var added addedJSON
			if code != 0 || json.Unmarshal([]byte(stdout), &added) != nil || added.Status != "created" {
				t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
			}
			if peak > 3<<29 {
				t.Errorf("%d MiB of memory", peak>>20)
			}
			if code, stdout, stderr, _ := program("search", "--mode", "text", "--owner", name, "needleword"); code != 0 || !strings.Contains(stdout, added.DocumentID) {
				t.Errorf("search: exit code %d: %s%s", code, stdout, stderr)
			}
			if code, stdout, stderr, _ := program("get", "--text", "--owner", name, added.DocumentID); code != 0 || stdout != text {
				t.Errorf("get: exit code %d, %d of %d bytes: %s", code, len(stdout), len(text), stderr)
			}
			started = time.Now()
			code, _, stderr, peak = program("delete", "--owner", name, added.DocumentID)
			t.Logf("deleted in %s, %d MiB", time.Since(started).Round(time.Millisecond), peak>>20)
			if code != 0 {
				t.Errorf("delete: exit code %d: %s", code, stderr)
			}
		})
	}
	const rows = `SELECT (SELECT count(*) FROM documents) + (SELECT count(*) FROM document_chunks) + (SELECT count(*) FROM text_segments)
		+ (SELECT count(*) FROM text_postings)`
	if n := count(t, url, rows); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// built builds the program, without the race detector, which multiplies its memory. peak is the most memory a run took, in bytes.
func built(t *testing.T, url string) func(args ...string) (code int, stdout, stderr string, peak int64) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "llmemory")
	if out, err := exec.Command("go", "build", "-o", path, "../../cmd/llmemory").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return func(args ...string) (int, string, string, int64) {
		cmd := exec.CommandContext(t.Context(), path, args...)
		cmd.Env = append(os.Environ(), "LLMEMORY_DB="+url)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		_ = cmd.Run() // the exit code says it
		return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), maxRSS(cmd.ProcessState)
	}
}
