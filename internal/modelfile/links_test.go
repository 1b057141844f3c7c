package modelfile

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHTMLLinks(t *testing.T) {
	t.Parallel()
	from, err := url.Parse("https://host.example/simple/tiny/")
	if err != nil {
		t.Fatal(err)
	}
	const page = `<!doctype html><html><head><base href="https://files.example/p/"></head>
<a href="a-1.whl#sha256=AB12&amp;x=y">a</a> <a
  data-requires-python="&gt;=3"  href='/q/b-1.whl#md5=ff' >b</a><A HREF=c-1.whl>c</A>
<!-- <a href="no.whl">no</a> --> <a name="x">no</a> <a href="">no</a> <a href="d-1.whl" data-yanked>no</a>
<a href="e%20f-1.whl?token=a&amp;b=c#sha512=00">e</a> <a title="1 > 2" href="g-1.whl">g</a> <abbr href="h.whl">`
	type row struct{ URL, Name, Algorithm, Hash string }
	var got []row
	for _, l := range htmlLinks([]byte(page), from) {
		got = append(got, row{l.url, l.name, l.algorithm, l.hash})
	}
	want := []row{
		{"https://files.example/p/a-1.whl", "a-1.whl", "sha256", "ab12"},
		{"https://files.example/q/b-1.whl", "b-1.whl", "md5", "ff"},
		{"https://files.example/p/c-1.whl", "c-1.whl", "", ""},
		{"https://files.example/p/e%20f-1.whl?token=a&b=c", "e f-1.whl", "sha512", "00"},
		{"https://files.example/p/g-1.whl", "g-1.whl", "", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestJSONLinks(t *testing.T) {
	t.Parallel()
	from := &url.URL{Scheme: "https", Host: "h", Path: "/simple/tiny/"}
	got, err := jsonLinks([]byte(`{"meta":{"api-version":"1.4"},"files":[
		{"filename":"a-1.whl","url":"../../f/a-1.whl","hashes":{"sha256":"AB","md5":"x"},"size":7,"yanked":false},
		{"filename":"b-1.whl","url":"https://x/b-1.whl","hashes":{},"yanked":"why"},{"filename":"c-1.whl","url":"c","hashes":{},"yanked":true}]}`), from)
	if err != nil || len(got) != 1 || got[0].remote != (remote{url: "https://h/f/a-1.whl", name: "a-1.whl", algorithm: "sha256", hash: "ab", bytes: 7}) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, page := range []string{"<html>", `{"meta":{"api-version":"2.0"},"files":[]}`} {
		if _, err := jsonLinks([]byte(page), from); err == nil {
			t.Errorf("%s was read", page)
		}
	}
}

// The known version comes first, then newer ones; what machines differ in, and what is no wheel of the project, is left out.
func TestChoose(t *testing.T) {
	t.Parallel()
	var found []link
	for _, name := range []string{
		"Tiny.Model-0.1.9-py3-none-any.whl", "tiny_model-0.1.2-py3-none-any.whl", "tiny_model-0.1.10-1-py3-none-any.whl", "tiny_model-1.0.tar.gz",
		"tiny_model-2.0-cp311-cp311-linux_x86_64.whl", "tiny_model_x-9.0-py3-none-any.whl", "tiny_model-3.whl",
	} {
		found = append(found, link{remote: remote{name: name}})
	}
	var got []string
	for _, l := range choose(found, Wheel{"tiny-model", "0.1.2"}) {
		got = append(got, l.version)
	}
	if diff := cmp.Diff([]string{"0.1.2", "0.1.10", "0.1.9"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzHTMLLinks(f *testing.F) {
	f.Add([]byte(`<a href="x#sha256=1" data-yanked=''>`))
	f.Add([]byte(`<base href="//h/"><a href=:><A hReF='%zz'>`))
	from := &url.URL{Scheme: "https", Host: "h", Path: "/"}
	f.Fuzz(func(t *testing.T, page []byte) {
		for _, l := range htmlLinks(page, from) {
			if _, err := url.Parse(l.url); err != nil {
				t.Errorf("%q is no address", l.url)
			}
		}
	})
}

func FuzzParseIni(f *testing.F) {
	f.Add([]byte("[a]\nb = c\n d\n"))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		_, _ = parseIni(raw)
		_, _, _ = parseNetrc(string(raw), "a")
	})
}
