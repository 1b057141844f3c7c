package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/all"
)

// picky reads images: those that say so fail with an error of their choice.
type picky struct {
	calls     atomic.Int64
	signature string
}

func (p *picky) Signature() string { return p.signature }

func (p *picky) Extract(_ context.Context, in extract.Input) (extract.Text, error) {
	p.calls.Add(1)
	raw, err := io.ReadAll(in.Reader)
	switch text := string(raw); {
	case err != nil:
		return extract.Text{}, err
	case strings.Contains(text, "damaged"):
		return extract.Text{}, fmt.Errorf("%w: as it says", extract.ErrDamaged)
	case strings.Contains(text, "slow"):
		return extract.Text{}, fmt.Errorf("%w: as it says", extract.ErrTimeout)
	}
	return extract.Text{Content: "an image"}, nil
}

// What failed is read again only if it changed, might do better, or is asked for; it is told all the same.
func TestRetryFailed(t *testing.T) {
	t.Parallel()
	const png = "\x89PNG\r\n\x1a\n"
	attach := func(name, text string) string {
		return "From: a@example.org\r\nSubject: " + name + "\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" +
			"--x\r\nContent-Type: text/plain\r\n\r\nsee the picture\r\n--x\r\nContent-Type: image/png; name=" + name +
			".png\r\nContent-Disposition: attachment; filename=" + name + ".png\r\n\r\n" + png + text + "\r\n--x--\r\n"
	}
	for name, db := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "docs")
			write := func(name, text string) {
				t.Helper()
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			p := &picky{signature: "1"}
			add := func(why string, code int, calls int64, wanted string, arguments ...string) {
				t.Helper()
				var stdout, stderr bytes.Buffer
				a := &app{stdin: strings.NewReader(""), stdout: &output{w: &stdout}, stderr: &stderr, env: env(db),
					extractor: all.Extractor{Custom: map[string]extract.Extractor{"image/png": p}}}
				got := a.main(t.Context(), append([]string{"add", dir, "--embedder", "none"}, arguments...))
				if n := p.calls.Swap(0); got != code || n != calls || !strings.Contains(stderr.String(), wanted) {
					t.Errorf("%s: exit code %d, want %d; %d images were read, want %d; want %q in:\n%s", why, got, code, n, calls, wanted, stderr.String())
				}
			}
			write("bad.png", png+"damaged")
			write("slow.png", png+"slow")
			write("bad.eml", attach("inbad", "damaged"))
			write("slow.eml", attach("inslow", "slow"))
			write("good.md", "text")
			add("first", exitPartly, 4, "3 created, 0 updated, 0 unchanged, 4 failed")
			add("again", exitPartly, 2, "bad.png: damaged content: as it says\n")
			add("once more", exitPartly, 2, "0 created, 0 updated, 3 unchanged, 3 failed")
			add("tried", exitOK, 2, "fail on 3", "--dry-run")
			add("asked for", exitPartly, 4, "0 created, 0 updated, 3 unchanged, 4 failed", "--retry-failed")
			write("bad.png", png+"damaged otherwise")
			add("changed", exitPartly, 3, "bad.png: damaged")
			add("changed, again", exitPartly, 2, "bad.png: damaged")
			p.signature = "2"
			add("a new version", exitPartly, 4, "bad.png: damaged")
			add("a new version, again", exitPartly, 2, "bad.png: damaged")
			write("bad.png", png+"good")
			write("slow.png", png+"good")
			write("slow.eml", attach("inslow", "good"))
			add("mended", exitOK, 3, "3 created, 1 updated, 2 unchanged, 0 failed")
			add("mended, again", exitOK, 0, "0 created, 0 updated, 5 unchanged, 0 failed")
		})
	}
}
