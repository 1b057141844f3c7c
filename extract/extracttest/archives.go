package extracttest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"testing"
)

// Zip makes a zip file of members, each a name followed by its content, in order.
func Zip(t testing.TB, members ...string) []byte {
	t.Helper()
	return zipOf(t, zip.Deflate, members)
}

// Stored is Zip without compression, which is much faster.
func Stored(t testing.TB, members ...string) []byte {
	t.Helper()
	return zipOf(t, zip.Store, members)
}

func zipOf(t testing.TB, method uint16, members []string) []byte {
	t.Helper()
	var list []Member
	for i := 0; i+1 < len(members); i += 2 {
		method := method
		if members[i+1] == "" {
			method = zip.Store // there is nothing to pack, which takes its time all the same
		}
		list = append(list, Member{FileHeader: zip.FileHeader{Name: members[i], Method: method}, Content: members[i+1]})
	}
	return ZipOf(t, list...)
}

// Member is a member of a zip file with whatever its header says.
type Member struct {
	zip.FileHeader
	Content string
	Raw     bool // the content is as it is packed, and the header says all of it
}

// ZipOf makes a zip file of members.
func ZipOf(t testing.TB, members ...Member) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := range members {
		create := z.CreateHeader
		if members[i].Raw {
			create = z.CreateRaw
		}
		w, err := create(&members[i].FileHeader)
		if err == nil {
			_, err = io.WriteString(w, members[i].Content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Tar makes a tar of members, each a name followed by its content, in order.
func Tar(t testing.TB, members ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i+1 < len(members); i += 2 {
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: members[i], Size: int64(len(members[i+1])), Mode: 0o600})
		if err == nil {
			_, err = io.WriteString(w, members[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Gzip compresses data.
func Gzip(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(data)
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
