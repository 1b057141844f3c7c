package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/japanese"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/archive"
	"github.com/llmemory/llmemory/extract/extracttest"
)

// members walks an archive and returns what it hands on, a line "name: content" each. Members that are archives are walked too.
func members(t testing.TB, x archive.Extractor, name string, data []byte) ([]string, extract.Text, error) {
	t.Helper()
	var got []string
	var part func(ctx context.Context, in extract.Input) error
	part = func(ctx context.Context, in extract.Input) error {
		b, err := io.ReadAll(in.Reader)
		if err != nil {
			got = append(got, in.Name+": "+err.Error())
			return nil
		}
		if bytes.HasPrefix(b, []byte("PK")) || strings.HasSuffix(in.Name, ".gz") {
			in.Reader = bytes.NewReader(b)
			in.Part = func(ctx context.Context, inner extract.Input) error {
				inner.Name = in.Name + "/" + inner.Name
				return part(ctx, inner)
			}
			if _, err := x.Extract(ctx, in); err != nil {
				got = append(got, in.Name+": "+err.Error())
			}
			return nil
		}
		got = append(got, in.Name+": "+string(b))
		return nil
	}
	text, err := x.Extract(t.Context(), extract.Input{Reader: bytes.NewReader(data), Name: name, Part: part})
	return got, text, err
}

// tarball makes a tar of headers, each with its name as content.
func tarball(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content = "text of " + h.Name
			h.Size = int64(len(content))
		}
		h.Mode = 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// oldest makes a tar of before POSIX, whose headers have no magic.
func oldest(data []byte) []byte {
	data = bytes.Clone(data)
	for at := 0; at+512 <= len(data); at += 512 {
		h := data[at:][:512]
		if string(h[257:262]) != "ustar" {
			continue
		}
		clear(h[257:])
		sum := 8 * int(' ')
		for i, c := range h {
			if i < 148 || i >= 156 {
				sum += int(c)
			}
		}
		copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
	return data
}

func file(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }

func zstded(t testing.TB, data []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(data, nil)
}

// testdata reads a file that the program xz made: it has two streams (hello.xz), a tar, 8 MiB of zeros (zeros.xz), or a dictionary size
// changed afterwards (window.xz).
func testdata(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestWalks(t *testing.T) {
	t.Parallel()
	plain := tarball(t, file("a.txt"), tar.Header{Typeflag: tar.TypeDir, Name: "dir/"}, file("./dir/b ü.txt"))
	inTar := []string{"a.txt: text of a.txt", "dir/b ü.txt: text of ./dir/b ü.txt"}
	bz2, err := base64.StdEncoding.DecodeString("QlpoOTFBWSZTWQ7qzPwAAAJRgAAQQAASRIAQIAAiGmjahDAgHNhR4u5IpwoSAd1Zn4A=")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		name, format string
		data         []byte
		want         []string
	}{
		"zip":         {"a.zip", "zip", extracttest.Zip(t, "a.txt", "one", "dir/", "", "dir/b.txt", "two", "__MACOSX/a", "x", ".DS_Store", "x"), []string{"a.txt: one", "dir/b.txt: two"}},
		"tar":         {"a.tar", "tar", plain, inTar},
		"tar.gz":      {"a.tgz", "tar", extracttest.Gzip(t, plain), inTar},
		"tar.zst":     {"a.tar.zst", "tar", zstded(t, plain), inTar},
		"gz":          {"dir/notes.txt.gz", "gzip", extracttest.Gzip(t, []byte("hello")), []string{"notes.txt: hello"}},
		"zst":         {"notes.txt.zst", "zstd", zstded(t, []byte("hello")), []string{"notes.txt: hello"}},
		"tar.xz":      {"a.tar.xz", "tar", testdata(t, "two.tar.xz"), []string{"a.txt: one", "dir/b.txt: two"}},
		"many in xz":  {"hello.txt.xz", "xz", testdata(t, "hello.xz"), []string{"hello.txt: hello xz\n"}},
		"bz2":         {"notes.bz2", "bzip2", bz2, []string{"notes: hello bz\n"}},
		"zip in zip":  {"a.zip", "zip", extracttest.Zip(t, "in.zip", string(extracttest.Zip(t, "x.txt", "deep"))), []string{"in.zip/x.txt: deep"}},
		"many in gz":  {"a", "gzip", append(extracttest.Gzip(t, []byte("one ")), extracttest.Gzip(t, []byte("two"))...), []string{"a: one two"}},
		"oldest tar":  {"a.tar", "tar", oldest(plain), inTar},
		"wrong names": {"a.txt", "tar", plain, inTar},
	} {
		got, text, err := members(t, archive.Extractor{}, tc.name, tc.data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
		if !text.Container || text.Content != "" || text.Format != tc.format || len(text.Warnings) > 0 {
			t.Errorf("%s: %+v", name, text)
		}
	}
}

func TestWithoutPart(t *testing.T) {
	t.Parallel()
	text := extracttest.Extract(t, archive.Extractor{}, extract.Input{}, extracttest.Zip(t, "a.txt", "one"))
	if !text.Container {
		t.Errorf("%+v", text)
	}
}

func TestNamesThatLeadElsewhere(t *testing.T) {
	t.Parallel()
	names := []string{"../../etc/passwd", "/etc/shadow", `C:\Windows\win.ini`, "a/../b.txt", "b.txt", "b.txt", "x\x00y\n", strings.Repeat("n", 1000) + ".txt", ".."}
	want := []string{"etc/passwd", "etc/shadow", "Windows/win.ini", "a/b.txt", "b.txt", "b (2).txt", "x_y_", strings.Repeat("n", 396) + ".txt", "unnamed"}
	var list []string
	for _, name := range names {
		list = append(list, name, "x")
	}
	got, text, err := members(t, archive.Extractor{}, "", extracttest.Zip(t, list...))
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		want[i] += ": x"
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(text.Warnings) != 8 { // all but the first b.txt
		t.Errorf("warnings: %q", text.Warnings)
	}
}

func TestNamesInOtherCharsets(t *testing.T) {
	t.Parallel()
	var list []extracttest.Member
	want := []string{"会議の議事録.txt: x", "東京のデータ.csv: x"}
	for _, name := range want {
		name, err := japanese.ShiftJIS.NewEncoder().String(strings.TrimSuffix(name, ": x"))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, extracttest.Member{FileHeader: zip.FileHeader{Name: name, NonUTF8: true}, Content: "x"})
	}
	if got, _, err := members(t, archive.Extractor{}, "", extracttest.ZipOf(t, list...)); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestLinksAndDevices(t *testing.T) {
	t.Parallel()
	data := tarball(t, file("a.txt"), tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "/etc/passwd"},
		tar.Header{Typeflag: tar.TypeLink, Name: "hard", Linkname: "a.txt"}, tar.Header{Typeflag: tar.TypeFifo, Name: "fifo"},
		tar.Header{Typeflag: tar.TypeChar, Name: "zero", Devmajor: 1, Devminor: 5})
	got, text, err := members(t, archive.Extractor{}, "", data)
	if err != nil || !cmp.Equal(got, []string{"a.txt: text of a.txt"}) {
		t.Errorf("%q, %v", got, err)
	}
	want := []string{`"link" skipped: a link`, `"hard" skipped: a link`, `"fifo" skipped: a device`, `"zero" skipped: a device`}
	if diff := cmp.Diff(want, text.Warnings); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	link := extracttest.Member{FileHeader: zip.FileHeader{Name: "link"}, Content: "/etc/passwd"}
	link.SetMode(fs.ModeSymlink | 0o777)
	got, text, err = members(t, archive.Extractor{}, "", extracttest.ZipOf(t, link))
	if err != nil || got != nil || len(text.Warnings) != 1 {
		t.Errorf("zip: %q, %+v, %v", got, text, err)
	}
}

func TestNesting(t *testing.T) {
	t.Parallel()
	data := []byte("text")
	for range 4 {
		data = extracttest.Zip(t, "in.zip", string(data))
	}
	deep := "archives in archives are read 1 deep"
	got, _, err := members(t, archive.Extractor{}, "", data)
	if err != nil || len(got) != 1 || !strings.Contains(got[0], "in.zip/in.zip: content too large: "+deep) {
		t.Errorf("%q, %v", got, err)
	}
	if got, _, err := members(t, archive.Extractor{Nested: 3}, "", data); err != nil || !cmp.Equal(got, []string{"in.zip/in.zip/in.zip/in.zip: text"}) {
		t.Errorf("%q, %v", got, err)
	}
	if got, _, err := members(t, archive.Extractor{Nested: -1}, "", data); err != nil || len(got) != 1 || !strings.HasPrefix(got[0], "in.zip: content too large") {
		t.Errorf("%q, %v", got, err)
	}
}

// encrypted makes a zip whose member says that it is encrypted.
func encrypted(t testing.TB, more ...string) []byte {
	t.Helper()
	list := []extracttest.Member{{
		FileHeader: zip.FileHeader{Name: "secret.txt", Flags: 1, CompressedSize64: 20, UncompressedSize64: 8}, Raw: true,
		Content: strings.Repeat("\x00", 20),
	}}
	for _, name := range more {
		list = append(list, extracttest.Member{FileHeader: zip.FileHeader{Name: name}, Content: "open"})
	}
	return extracttest.ZipOf(t, list...)
}

// lying makes a zip of a member that unpacks to much more than its header says.
func lying(t testing.TB, size int) []byte {
	t.Helper()
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	data := extracttest.Zip(t, "a.txt", string(content))
	// The size stands in the directory and, as the writer streams, in a descriptor behind the member.
	old := []byte{byte(size), byte(size >> 8), byte(size >> 16), byte(size >> 24)}
	at := bytes.LastIndex(data, old)
	copy(data[at:], []byte{100, 0, 0, 0})
	return data
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	x := archive.Extractor{}
	small := archive.Extractor{Total: 2 << 20, Floor: 1 << 20, Entries: 100}
	zeros := make([]byte, 8<<20)
	plain := tarball(t, file("a.txt"), file("b.txt"))
	huge := func() []byte { // the header of a member as large as zeros
		var b bytes.Buffer
		if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "zeros", Size: int64(len(zeros))}); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}()
	var many []string
	for i := range 10_001 {
		many = append(many, fmt.Sprint(i), "")
	}
	var manyInTar []tar.Header
	for i := range 101 {
		manyInTar = append(manyInTar, file(fmt.Sprint(i)))
	}
	noise := make([]byte, 3<<20) // which cannot be compressed
	for i, h := 0, uint32(1); i < len(noise); i++ {
		h = h*1664525 + 1013904223
		noise[i] = byte(h >> 24)
	}
	zipped := extracttest.Zip(t, "a.txt", strings.Repeat("some text ", 1000), "b.txt", "two")
	method := bytes.Clone(zipped)
	for at := bytes.Index(method, []byte("PK\x01\x02")); at >= 0; { // method 97: WavPack
		method[at+10] = 97
		next := bytes.Index(method[at+4:], []byte("PK\x01\x02"))
		if next < 0 {
			break
		}
		at += 4 + next
	}
	for name, tc := range map[string]struct {
		x    archive.Extractor
		data []byte
		kind error
	}{
		"not an archive":     {x, []byte("hello"), extract.ErrUnsupported},
		"nothing":            {x, nil, extract.ErrUnsupported},
		"empty zip":          {x, extracttest.Zip(t), extract.ErrNoText},
		"folders alone":      {x, extracttest.Zip(t, "a/", ""), extract.ErrNoText},
		"encrypted":          {x, encrypted(t), extract.ErrEncrypted},
		"unknown method":     {x, method, extract.ErrUnsupported},
		"zip cut short":      {x, zipped[:len(zipped)-30], extract.ErrDamaged},
		"tar cut short":      {x, plain[:520], extract.ErrDamaged},
		"tar cut in header":  {x, plain[:1100], extract.ErrDamaged},
		"tar.gz cut short":   {x, extracttest.Gzip(t, plain)[:100], extract.ErrDamaged},
		"gz cut short":       {x, extracttest.Gzip(t, noise[:100_000])[:50_000], extract.ErrDamaged},
		"zst cut short":      {x, zstded(t, noise[:100_000])[:50_000], extract.ErrDamaged},
		"xz cut short":       {x, testdata(t, "hello.xz")[:50], extract.ErrDamaged},
		"xz without a block": {x, testdata(t, "hello.xz")[:12], extract.ErrDamaged},
		"xz without a check": {x, []byte("\xfd7zXZ\x00\x00\x02\x41\x5a\x00\x01"), extract.ErrDamaged},
		"xz damaged":         {x, bytes.Replace(testdata(t, "hello.xz"), []byte("hello"), []byte("Hello"), 1), extract.ErrDamaged},
		"bz2 damaged":        {x, []byte("BZh91AY&SY\x00\x00\x00\x00\x00\x00\x00\x00"), extract.ErrDamaged},
		"zip bomb":           {x, extracttest.Zip(t, "a", string(zeros)), extract.ErrTooLarge},
		"gzip bomb":          {x, extracttest.Gzip(t, zeros), extract.ErrTooLarge},
		"xz bomb":            {x, testdata(t, "zeros.xz"), extract.ErrTooLarge},
		"xz with a window":   {x, testdata(t, "window.xz"), extract.ErrTooLarge}, // 2^32-1 bytes
		"zstd bomb":          {x, zstded(t, zeros), extract.ErrTooLarge},
		"tar.gz bomb":        {x, extracttest.Gzip(t, append(append(plain[:1024:1024], huge...), zeros...)), extract.ErrTooLarge},
		"large zip":          {small, extracttest.Zip(t, "a", string(noise[:3<<19]), "b", string(noise[3<<19:])), extract.ErrTooLarge},
		"large gz":           {small, extracttest.Gzip(t, noise), extract.ErrTooLarge},
		"members of a zip":   {x, extracttest.Zip(t, many...), extract.ErrTooLarge},
		"members of a tar":   {small, tarball(t, manyInTar...), extract.ErrTooLarge},
		"zstd with a window": {x, []byte("\x28\xb5\x2f\xfd\x00\xa0\x01\x00\x00"), extract.ErrTooLarge}, // 2^30 bytes
	} {
		got, text, err := members(t, tc.x, "", tc.data)
		if !errors.Is(err, tc.kind) {
			t.Errorf("%s: error = %v, want %v; %+v", name, err, tc.kind, text)
		}
		if len(got) > 0 {
			t.Errorf("%s: handed on %.200q", name, got)
		}
	}
}

// Members that cannot be read do not keep the others from being read.
func TestReadsTheOthers(t *testing.T) {
	t.Parallel()
	got, text, err := members(t, archive.Extractor{}, "", encrypted(t, "open.txt"))
	if err != nil || !cmp.Equal(got, []string{"open.txt: open"}) || len(text.Warnings) != 1 {
		t.Errorf("encrypted: %q, %q, %v", got, text.Warnings, err)
	}
	got, text, err = members(t, archive.Extractor{Member: 3}, "", extracttest.Zip(t, "large", "1234", "small", "123"))
	if err != nil || !cmp.Equal(got, []string{"small: 123"}) || len(text.Warnings) != 1 {
		t.Errorf("large: %q, %q, %v", got, text.Warnings, err)
	}
	damaged := extracttest.Zip(t, "a", strings.Repeat("x", 100), "b", "two")
	sum := crc32.ChecksumIEEE([]byte(strings.Repeat("x", 100)))
	at := bytes.LastIndex(damaged, []byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24)})
	damaged[at] ^= 1
	got, _, err = members(t, archive.Extractor{}, "", damaged)
	if err != nil || len(got) != 2 || !strings.HasPrefix(got[0], "a: damaged content") || got[1] != "b: two" {
		t.Errorf("damaged: %q, %v", got, err)
	}
	got, _, err = members(t, archive.Extractor{}, "", lying(t, 1<<20))
	if err != nil || len(got) != 1 || len(got[0]) > 200 {
		t.Errorf("a header that lies: %.100q, %v", got, err)
	}
}

func TestErrorOfPartEndsIt(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	n := 0
	_, err := archive.Extractor{}.Extract(t.Context(), extract.Input{
		Reader: bytes.NewReader(extracttest.Zip(t, "a", "1", "b", "2")),
		Part:   func(context.Context, extract.Input) error { n++; return stop },
	})
	if !errors.Is(err, stop) || n != 1 {
		t.Errorf("after %d parts: %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n = 0
	_, err = archive.Extractor{}.Extract(ctx, extract.Input{
		Reader: bytes.NewReader(extracttest.Gzip(t, tarball(t, file("a"), file("b")))),
		Part:   func(context.Context, extract.Input) error { n++; cancel(); return nil },
	})
	if !errors.Is(err, context.Canceled) || n != 1 {
		t.Errorf("after %d parts: %v", n, err)
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(extracttest.Zip(f, "a.txt", "one", "b/c", "two"))
	f.Add(encrypted(f, "x"))
	f.Add(tarball(f, file("a"), tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "x"}))
	f.Add(extracttest.Gzip(f, tarball(f, file("a"))))
	f.Add(zstded(f, []byte("hello")))
	for _, name := range []string{"hello.xz", "two.tar.xz", "zeros.xz", "window.xz"} {
		f.Add(testdata(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		run := func() (names []string, err error) {
			_, err = archive.Extractor{Total: 8 << 20, Floor: 1 << 20}.Extract(t.Context(), extract.Input{
				Reader: bytes.NewReader(data),
				Part: func(_ context.Context, in extract.Input) error {
					for part := range strings.SplitSeq(in.Name, "/") {
						if part == ".." || part == "" {
							t.Fatalf("name %q", in.Name)
						}
					}
					n, err := io.Copy(io.Discard, in.Reader)
					if n > 8<<20 {
						t.Fatalf("%d bytes", n)
					}
					names = append(names, fmt.Sprint(in.Name, n, err))
					return nil
				},
			})
			return names, err
		}
		names, err := run()
		if err != nil {
			known := false
			for _, kind := range extracttest.Kinds {
				known = known || errors.Is(err, kind)
			}
			if !known {
				t.Fatalf("error of no kind: %v", err)
			}
		}
		again, err2 := run()
		if !cmp.Equal(names, again) || fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Fatalf("%q, %v, then %q, %v", names, err, again, err2)
		}
	})
}
