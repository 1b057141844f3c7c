//go:build unix

package all_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/all"
	"github.com/llmemory/llmemory/extract/extracttest"
)

// walk reads a document and all its parts, as an application does: it takes what is read and goes on after what is not.
func walk(t testing.TB, r io.Reader, name string) (texts []string, failed []error, err error) {
	t.Helper()
	x := all.Extractor{}
	var part func(ctx context.Context, in extract.Input) error
	part = func(ctx context.Context, in extract.Input) error {
		in.Part = part
		text, err := x.Extract(ctx, in)
		switch {
		case err != nil:
			failed = append(failed, err)
		case !text.Container:
			texts = append(texts, in.Name+": "+strings.TrimSpace(text.Content))
		}
		return ctx.Err()
	}
	text, err := x.Extract(t.Context(), extract.Input{Reader: r, Name: name, Part: part})
	if err == nil && !text.Container {
		texts = append(texts, strings.TrimSpace(text.Content))
	}
	return texts, failed, err
}

// What is hostile ends as an error of a kind, or as text that is harmless; nothing of what is refused is handed on.
func TestHostile(t *testing.T) {
	t.Parallel()
	zeros := strings.Repeat("\x00", 16<<20)
	types := "[Content_Types].xml"
	var many []string
	for i := range 10_001 {
		many = append(many, fmt.Sprintf("%d.txt", i), "")
	}
	link := extracttest.Member{FileHeader: zip.FileHeader{Name: "link.txt"}, Content: "/etc/passwd"}
	link.SetMode(fs.ModeSymlink | 0o777)
	secret := extracttest.Zip(t, types, "<x/>", "word/document.xml", "<x/>")
	for at := 0; ; at += 4 {
		next := bytes.Index(secret[at:], []byte("PK\x01\x02"))
		if next < 0 {
			break
		}
		at += next
		secret[at+8] |= 1
	}
	var quine []byte // a gzip of a tar of a gzip, ten deep
	for i := range 10 {
		quine = extracttest.Gzip(t, extracttest.Tar(t, fmt.Sprintf("%d.tar.gz", i), string(quine)))
	}
	laughs := `<?xml version="1.0"?><!DOCTYPE laugh [<!ENTITY a "ha">`
	for c := 'b'; c <= 'k'; c++ {
		laughs += fmt.Sprintf(`<!ENTITY %c "%s">`, c, strings.Repeat(fmt.Sprintf("&%c;", c-1), 10))
	}
	laughs += "]><laugh>&k;</laugh>"
	whole := zipOf(t, types, "<x/>", "word/document.xml", "<x/>")
	for name, tc := range map[string]struct {
		content string
		kind    error // nil: it is read, and comes to no more than text
		text    []string
		failed  []error
	}{
		"zip bomb":             {zipOf(t, "a.txt", zeros), extract.ErrTooLarge, nil, nil},
		"bomb as DOCX":         {zipOf(t, types, "<x/>", "word/document.xml", "<x>"+strings.Repeat(" ", 16<<20)+"</x>"), extract.ErrTooLarge, nil, nil},
		"10,001 members":       {zipOf(t, many...), extract.ErrTooLarge, nil, nil},
		"10,001 in a DOCX":     {zipOf(t, append([]string{types, "<x/>", "word/document.xml", "<x/>"}, many...)...), extract.ErrTooLarge, nil, nil},
		"names leading out":    {zipOf(t, "../../a.txt", "one", "/etc/b.txt", "two"), nil, []string{"a.txt: one", "etc/b.txt: two"}, nil},
		"link":                 {string(extracttest.ZipOf(t, link)), nil, nil, nil},
		"encrypted":            {string(secret), extract.ErrEncrypted, nil, nil},
		"cut short":            {whole[:len(whole)-20], extract.ErrDamaged, nil, nil},
		"archives ten deep":    {string(quine), nil, nil, []error{extract.ErrTooLarge}},
		"a billion laughs":     {laughs, nil, []string{"laugh: &k;"}, nil},
		"XML cut short":        {"<?xml version='1.0'?><a><b>x", extract.ErrDamaged, nil, nil},
		"JSON cut short":       {`{"a": [` + strings.Repeat(`"x", `, 20_000), extract.ErrDamaged, nil, nil},
		"bytes of no charset":  {"\x81\x8d\x8f\x90\x9d\x00\x01\x02", extract.ErrUnsupported, nil, nil},
		"a program":            {"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00>\x00", extract.ErrUnsupported, nil, nil},
		"nothing":              {"", extract.ErrNoText, nil, nil},
		"white space":          {" \n\t\n", extract.ErrNoText, nil, nil},
		"OLE that is not":      {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + strings.Repeat("\xff", 600), extract.ErrDamaged, nil, nil},
		"OLE that is circular": {cycle(), extract.ErrDamaged, nil, nil},
	} {
		texts, failed, err := walk(t, strings.NewReader(tc.content), "")
		if !errors.Is(err, tc.kind) || (tc.kind == nil) != (err == nil) {
			t.Errorf("%s: %v, want %v", name, err, tc.kind)
		}
		if strings.Join(texts, "|") != strings.Join(tc.text, "|") {
			t.Errorf("%s: texts %.300q, want %q", name, texts, tc.text)
		}
		if len(failed) != len(tc.failed) || len(failed) == 1 && !errors.Is(failed[0], tc.failed[0]) {
			t.Errorf("%s: failed %v, want %v", name, failed, tc.failed)
		}
	}
}

// cycle is a compound file whose directory is a chain that leads back to its beginning.
func cycle() string {
	b := make([]byte, 512*3)
	copy(b, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	b[30] = 9                        // sectors of 512 bytes
	copy(b[68:], "\xfe\xff\xff\xff") // no more of the table
	for i := 76; i < 512; i++ {      // the table is sector 0 alone
		b[i] = 0xff
	}
	copy(b[76:], "\x00\x00\x00\x00")
	copy(b[48:], "\x01\x00\x00\x00")    // the directory begins in sector 1
	copy(b[512+4:], "\x01\x00\x00\x00") // which is followed by itself
	return string(b)
}

func TestPipesAndDevices(t *testing.T) {
	t.Parallel()
	zero, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer zero.Close()
	if _, _, err := walk(t, zero, "zero.txt"); !errors.Is(err, extract.ErrUnsupported) {
		t.Errorf("/dev/zero: %v", err)
	}
	name := filepath.Join(t.TempDir(), "fifo.txt")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	fifo, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	if _, err := io.WriteString(fifo, strings.Repeat("x", 2000)); err != nil {
		t.Fatal(err)
	}
	in := extract.Input{Reader: fifo, Name: name}
	if _, err := (all.Extractor{MaxSource: 1000}).Extract(t.Context(), in); !errors.Is(err, extract.ErrTooLarge) {
		t.Errorf("a pipe: %v", err)
	}
}

func FuzzExtract(f *testing.F) {
	f.Add([]byte(zipOf(f, "a.txt", "x", "b.json", `{"a": 1}`)), "a.zip")
	f.Add([]byte("From: a@b\nTo: c@d\nSubject: x\n\nbody"), "")
	f.Add([]byte("<!doctype html><h1>x</h1>"), "a.html")
	f.Add([]byte(`{\rtf1 x}`), "")
	f.Add([]byte(cycle()), "a.xls")
	f.Add([]byte("a,b\n1,2\n3,4\n"), "a.csv")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		if bytes.Contains(data[:min(len(data), 1024)], []byte("%PDF")) {
			return // read by another process: its own package fuzzes that
		}
		texts, failed, err := walk(t, bytes.NewReader(data), name)
		for _, err := range append(failed, err) {
			if err == nil {
				continue
			}
			known := false
			for _, kind := range []error{
				extract.ErrUnsupported, extract.ErrTooLarge, extract.ErrDamaged, extract.ErrEncrypted, extract.ErrNoText, extract.ErrTimeout,
			} {
				known = known || errors.Is(err, kind)
			}
			if !known {
				t.Fatalf("error of no kind: %v", err)
			}
		}
		for _, s := range texts {
			if s != strings.ToValidUTF8(s, "") {
				t.Fatalf("not UTF-8: %q", s)
			}
		}
		if again, _, _ := walk(t, bytes.NewReader(data), name); strings.Join(again, "|") != strings.Join(texts, "|") {
			t.Fatalf("%q, then %q", texts, again)
		}
	})
}
