package safezip

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/llmemory/llmemory/internal/fault"
)

// build makes a zip of names and contents, in turn.
func build(t testing.TB, members ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		w, err := z.Create(members[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, members[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(data []byte, l Limits) (*Archive, error) {
	return Open(bytes.NewReader(data), int64(len(data)), l)
}

func TestOpen(t *testing.T) {
	t.Parallel()
	a, err := open(build(t, "dir/", "", "dir/A.xml", "one", "b", "two"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Files) != 2 || a.Files[0].Name != "dir/A.xml" || a.Files[0].Size != 3 {
		t.Errorf("%+v", a.Files)
	}
	for _, name := range []string{"dir/A.xml", "DIR/a.XML", "/dir/A.xml", "dir/../dir/A.xml"} {
		if b, err := a.ReadFile(name); err != nil || string(b) != "one" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if b, err := a.ReadFile("none"); err != nil || b != nil {
		t.Errorf("%q, %v", b, err)
	}
	if err := a.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	encrypted := build(t, "a", "x")
	for at := 0; ; at += 4 { // the flag stands in the header of the member and in the directory
		next := bytes.Index(encrypted[at:], []byte("PK\x01\x02"))
		if next < 0 {
			break
		}
		at += next
		encrypted[at+8] |= 1
	}
	var many []string
	for i := range 101 {
		many = append(many, fmt.Sprint(i), "")
	}
	whole := build(t, "a", "text", "b", "more")
	// The end of the directory claims one member, whatever there is.
	lying := build(t, many...)
	end := bytes.LastIndex(lying, []byte("PK\x05\x06"))
	binary.LittleEndian.PutUint16(lying[end+8:], 1)
	binary.LittleEndian.PutUint16(lying[end+10:], 1)
	// Two members of the directory share the bytes of one.
	overlapping := build(t, "a", strings.Repeat("0123456789", 10), "b", "")
	at := bytes.LastIndex(overlapping, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(overlapping[at+20:], uint32(len(overlapping)))
	for name, tc := range map[string]struct {
		data []byte
		l    Limits
		kind error
	}{
		"nothing":          {nil, Limits{}, fault.Damaged},
		"no zip":           {bytes.Repeat([]byte("x"), 100), Limits{}, fault.Damaged},
		"cut short":        {whole[:len(whole)-10], Limits{}, fault.Damaged},
		"encrypted":        {encrypted, Limits{}, fault.Encrypted},
		"many":             {build(t, many...), Limits{Entries: 100}, fault.TooLarge},
		"a lying end":      {lying, Limits{Entries: 1000}, fault.Damaged},
		"twice":            {build(t, "a", "1", "a", "2"), Limits{}, fault.Damaged},
		"absolute":         {build(t, "/a", "1"), Limits{}, fault.Damaged},
		"above":            {build(t, "a/../../b", "1"), Limits{}, fault.Damaged},
		"a drive":          {build(t, "C:a", "1"), Limits{}, fault.Damaged},
		"a backslash":      {build(t, `a\b`, "1"), Limits{}, fault.Damaged},
		"overlapping":      {overlapping, Limits{}, fault.Damaged},
		"a huge directory": {hugeDirectory(200_000), Limits{}, fault.TooLarge},
	} {
		if _, err := open(tc.data, tc.l); !errors.Is(err, tc.kind) {
			t.Errorf("%s: %v, want %v", name, err, tc.kind)
		}
	}
	if a, err := open(encrypted, Limits{Mixed: true}); err != nil {
		t.Error(err)
	} else if _, err := a.Files[0].Open(); !errors.Is(err, fault.Encrypted) {
		t.Errorf("an encrypted member opens: %v", err)
	}
	if a, err := open(build(t, "a", "1", "a", "2", "../b", "3"), Limits{Mixed: true}); err != nil || len(a.Files) != 3 {
		t.Errorf("mixed: %+v, %v", a, err)
	}
}

// hugeDirectory is a directory of so many members without names.
func hugeDirectory(n int) []byte {
	member := append([]byte("PK\x01\x02"), make([]byte, 42)...)
	b := bytes.Repeat(member, n)
	end := append([]byte("PK\x05\x06"), make([]byte, 18)...)
	binary.LittleEndian.PutUint32(end[12:], uint32(len(b)))
	return append(b, end...)
}

func TestReadingIsCounted(t *testing.T) {
	t.Parallel()
	zeros := strings.Repeat("\x00", 1<<20)
	data := build(t, "zeros", zeros, "small", "x")
	a, err := open(data, Limits{Floor: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.ReadFile("zeros"); !errors.Is(err, fault.TooLarge) {
		t.Errorf("ratio: %v", err)
	}
	if err := a.Check(t.Context()); !errors.Is(err, fault.TooLarge) {
		t.Errorf("check: %v", err)
	}
	if b, err := a.ReadFile("small"); err != nil || string(b) != "x" {
		t.Errorf("small: %q, %v", b, err)
	}
	a, err = open(data, Limits{Total: 3 << 19})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.ReadFile("zeros"); err != nil {
		t.Errorf("below the floor: %v", err)
	}
	if _, err := a.ReadFile("zeros"); !errors.Is(err, fault.TooLarge) {
		t.Errorf("total: %v", err)
	}
	// A header that says less than there is does not open the way to more.
	size := []byte{0, 0, 16, 0} // 1 MiB
	small := bytes.Clone(data)
	copy(small[bytes.LastIndex(small, size):], []byte{9, 0, 0, 0})
	a, err = open(small, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := a.ReadFile("zeros"); !errors.Is(err, fault.Damaged) || len(b) > 9 {
		t.Errorf("a header that lies: %d bytes, %v", len(b), err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(build(f, "a/b.txt", "text", "c", strings.Repeat("x", 1000)))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := open(data, Limits{Total: 1 << 20})
		if err == nil {
			err = a.Check(t.Context())
		}
		for _, kind := range []error{nil, fault.Damaged, fault.TooLarge, fault.Encrypted, fault.Unsupported} {
			if errors.Is(err, kind) {
				return
			}
		}
		t.Fatalf("error of no kind: %v", err)
	})
}
