package modelfile

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReadPipConfig(t *testing.T) {
	t.Parallel()
	def := PipConfig{Indexes: []string{pypi}, Timeout: 15 * time.Second}
	with := func(change func(*PipConfig)) PipConfig {
		c := def
		change(&c)
		return c
	}
	for _, c := range []struct {
		name, goos string
		files      map[string]string // below the root
		env        []string          // $R is the root
		want       PipConfig
	}{
		{"nothing", "linux", nil, nil, def},
		{"the user's file", "linux", map[string]string{"home/.config/pip/pip.conf": "[global]\nindex-url = https://a/simple\n"}, nil,
			with(func(c *PipConfig) { c.Indexes = []string{"https://a/simple"} })},
		{"the user's old file is weaker", "linux", map[string]string{
			"home/.pip/pip.conf":        "[global]\nindex_url: https://old/\ntimeout = 60\n",
			"home/.config/pip/pip.conf": "[global]\nINDEX-URL=https://new/\n",
		}, nil, with(func(c *PipConfig) { c.Indexes, c.Timeout = []string{"https://new/"}, time.Minute })},
		{"the machine's file is the weakest", "linux", map[string]string{
			"etc/pip/pip.conf":    "[global]\nproxy = a:1\ncert = /ca\n",
			"system/etc/pip.conf": "[global]\ncert = /other\n",
			"home/.pip/pip.conf":  "[global]\nproxy = b:1\n",
		}, []string{"XDG_CONFIG_DIRS=$R/etc"}, with(func(c *PipConfig) { c.Proxy, c.Cert = "b:1", "/other" })},
		{"XDG_CONFIG_HOME", "linux", map[string]string{"x/pip/pip.conf": "[global]\nclient-cert = /me.pem"}, []string{"XDG_CONFIG_HOME=$R/x"},
			with(func(c *PipConfig) { c.ClientCert = "/me.pem" })},
		{"a virtual environment", "linux", map[string]string{
			"venv/pip.conf":             "[global]\nindex-url = https://venv/",
			"home/.config/pip/pip.conf": "[global]\nindex-url = https://user/",
		}, []string{"VIRTUAL_ENV=$R/venv"}, with(func(c *PipConfig) { c.Indexes = []string{"https://venv/"} })},
		{"PIP_CONFIG_FILE is the strongest", "linux", map[string]string{
			"mine":          "[global]\nindex-url = https://mine/",
			"venv/pip.conf": "[global]\nindex-url = https://venv/\nextra-index-url = https://extra/",
		}, []string{"VIRTUAL_ENV=$R/venv", "PIP_CONFIG_FILE=$R/mine"},
			with(func(c *PipConfig) { c.Indexes = []string{"https://mine/", "https://extra/"} })},
		{"PIP_CONFIG_FILE for none", "linux", map[string]string{"home/.pip/pip.conf": "[global]\nindex-url = https://a/"},
			[]string{"PIP_CONFIG_FILE=" + os.DevNull}, def},
		{"sections", "linux", map[string]string{
			"home/.pip/pip.conf": "[download]\nindex-url = https://d/\n[install]\nindex-url = https://i/\nfind-links = /i\n" +
				"[global]\nindex-url = https://g/\nfind-links = /g\ntrusted-host = g\n[list]\ntimeout = 1\n",
		}, nil, with(func(c *PipConfig) {
			c.Indexes, c.FindLinks, c.TrustedHosts = []string{"https://d/"}, []string{"/i"}, []string{"g"}
		})},
		{"lists and comments", "linux", map[string]string{
			"home/.pip/pip.conf": "\ufeff# comment\n[global]\r\nextra-index-url =\n    https://u:p%40@b/simple\n\n  # no\n    https://c/simple ; d\n" +
				"; no\ntrusted-host = x y:80\n\tz\n",
		}, nil, with(func(c *PipConfig) {
			c.Indexes = []string{pypi, "https://u:p%40@b/simple", "https://c/simple", ";", "d"} // as pip reads it
			c.TrustedHosts = []string{"x", "y:80", "z"}
		})},
		{"variables", "linux", map[string]string{"home/.pip/pip.conf": "[download]\nindex-url = https://file/\nproxy = p\n"}, []string{
			"PIP_INDEX_URL=https://env/", "PIP_EXTRA_INDEX_URL=https://e1/ https://e2/", "PIP_FIND_LINKS=/a /b", "PIP_TRUSTED_HOST=h",
			"PIP_CERT=/c", "PIP_DEFAULT_TIMEOUT=2.5", "PIP_PROXY=",
		}, PipConfig{Indexes: []string{"https://env/", "https://e1/", "https://e2/"}, FindLinks: []string{"/a", "/b"}, TrustedHosts: []string{"h"},
			Cert: "/c", Timeout: 2500 * time.Millisecond, Proxy: "p"}},
		{"no index", "linux", nil, []string{"PIP_NO_INDEX=1"}, with(func(c *PipConfig) { c.Indexes = nil })},
		{"an index after all", "linux", map[string]string{"home/.pip/pip.conf": "[global]\nno-index = off"}, nil, def},
		{"requests' certificates", "linux", nil, []string{"REQUESTS_CA_BUNDLE=/r", "CURL_CA_BUNDLE=/c"},
			with(func(c *PipConfig) { c.Cert = "/r" })},
		{"defaults of a file", "linux", map[string]string{"home/.pip/pip.conf": "[DEFAULT]\ntimeout = 7\n[global]\nproxy = x\n"}, nil,
			with(func(c *PipConfig) { c.Timeout, c.Proxy = 7*time.Second, "x" })},
		{"macOS", "darwin", map[string]string{
			"home/Library/Application Support/pip/pip.conf": "[global]\nproxy = mac\n", "home/.config/pip/pip.conf": "[global]\nproxy = other\n",
		}, nil, with(func(c *PipConfig) { c.Proxy = "mac" })},
		{"macOS as Linux", "darwin", map[string]string{"home/.config/pip/pip.conf": "[global]\nproxy = other\n"}, nil,
			with(func(c *PipConfig) { c.Proxy = "other" })},
		{"Windows", "windows", map[string]string{
			"pd/pip/pip.ini": "[global]\nproxy = all\ntimeout = 9", "ad/pip/pip.ini": "[global]\nproxy = user",
		}, []string{"ProgramData=$R/pd", "APPDATA=$R/ad"}, with(func(c *PipConfig) { c.Proxy, c.Timeout = "user", 9*time.Second })},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for name, text := range c.files {
				put(t, root, map[string][]byte{name: []byte(text)})
			}
			values := map[string]string{"HOME": filepath.Join(root, "home"), "XDG_CONFIG_DIRS": root}
			for _, p := range c.env {
				k, v, _ := strings.Cut(p, "=")
				values[k] = strings.ReplaceAll(v, "$R", root)
			}
			got, err := readPipConfig(c.goos, filepath.Join(root, "system"), func(k string) string { return values[k] })
			if err != nil {
				t.Fatal(err)
			}
			want := c.want
			for _, list := range []*[]string{&want.FindLinks, &want.TrustedHosts} {
				if *list == nil {
					*list = []string{}
				}
			}
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadPipConfigFaults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"index-url = x\n":                       "before the first section",
		"[global\n":                             "section",
		"[global]\nnonsense\n":                  "KEY = VALUE",
		"[global]\ntimeout = soon\n":            "timeout",
		"[global]\ntimeout = -1\n":              "timeout",
		"[global]\ntimeout = NaN\n":             "timeout",
		"[global]\nno-index = perhaps\n":        "no-index",
		"[global]\n[global]\nno-index = maybe ": "no-index",
	} {
		root := t.TempDir()
		put(t, root, map[string][]byte{"pip.conf": []byte(text)})
		env := environment(t, "PIP_CONFIG_FILE="+filepath.Join(root, "pip.conf"))
		if _, err := ReadPipConfig(env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestTrusts(t *testing.T) {
	t.Parallel()
	c := &PipConfig{TrustedHosts: []string{"a.example", "b.example:8080", "::1"}}
	for address, want := range map[string]bool{
		"https://a.example/": true, "http://A.example:99/": true, "https://x.a.example/": false, "http://b.example:8080/": true,
		"http://b.example/": false, "https://c.example/": false, "http://[::1]:3141/": true,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if c.trusts(u) != want {
			t.Errorf("%s: %v", address, !want)
		}
	}
}

func TestParseNetrc(t *testing.T) {
	t.Parallel()
	const text = "# comment machine x login y password z\nmachine a login ann password #1\nmacdef init\nmachine b login no password no\n\n" +
		"machine b\n  account x\n  password p\n  login bob\nmachine c password only\ndefault login any password thing\nmachine d login late password late\n"
	for host, want := range map[string]string{"a": "ann #1", "B": "bob p", "c": " only", "z": "any thing", "d": "any thing"} {
		user, password, ok := parseNetrc(text, host)
		if got := user + " " + password; !ok || got != want {
			t.Errorf("%s: %q, %v, want %q", host, got, ok, want)
		}
	}
	if _, _, ok := parseNetrc("machine a login b password c", "z"); ok {
		t.Error("a login from nowhere")
	}
}
