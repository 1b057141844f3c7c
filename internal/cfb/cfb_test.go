package cfb_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/internal/cfb"
	"github.com/llmemory/llmemory/internal/cfb/cfbtest"
	"github.com/llmemory/llmemory/internal/fault"
	"github.com/llmemory/llmemory/internal/soak"
)

func sample() map[string]string {
	return map[string]string{
		"empty": "", "small": "hello", "minis": strings.Repeat("small stream ", 100), "large": strings.Repeat("large stream\n", 9000),
		"a storage/stream": "inner", "a storage/b/deep": strings.Repeat("x", 4096), "Ünï": "name",
	}
}

// read returns the streams of a file by their paths.
func read(b []byte) (map[string]string, error) {
	f, err := cfb.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	var walk func(e *cfb.Entry, path string) error
	walk = func(e *cfb.Entry, path string) error {
		for _, c := range e.Children {
			if c.Storage {
				if err := walk(c, path+c.Name+"/"); err != nil {
					return err
				}
				continue
			}
			content, err := f.Read(c, 1<<20)
			if err != nil {
				return err
			}
			out[path+c.Name] = string(content)
		}
		return nil
	}
	return out, walk(f.Root, "")
}

func TestRead(t *testing.T) {
	t.Parallel()
	want := sample()
	b := cfbtest.Build(want)
	got, err := read(b)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatalf("%v\n-want +got:\n%s", err, diff)
	}
	f, err := cfb.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if e := f.Root.Child("A Storage").Child("STREAM"); e == nil || e.Name != "stream" || f.Root.Child("none").Child("at all") != nil {
		t.Errorf("child %+v", e)
	}
	if _, err := f.Read(f.Root.Child("large"), 100); !errors.Is(err, fault.TooLarge) {
		t.Errorf("over the limit: %v", err)
	}
	if _, err := f.Read(f.Root.Child("a storage"), 100); !errors.Is(err, fault.Unsupported) {
		t.Errorf("a storage: %v", err)
	}
}

// TestMany has more sectors than one table lists.
func TestMany(t *testing.T) {
	t.Parallel()
	want := map[string]string{}
	for i := range 300 {
		want[fmt.Sprint("stream ", i)] = strings.Repeat(fmt.Sprint(i, " "), 1500)
	}
	got, err := read(cfbtest.Build(want))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatalf("%v\n-want +got:\n%s", err, diff)
	}
}

func TestDamage(t *testing.T) {
	t.Parallel()
	whole := cfbtest.Build(sample())
	for _, n := range []int{0, 8, 511, 512, 513, 1024, len(whole) / 2, len(whole) - 512} {
		if _, err := read(whole[:n]); !errors.Is(err, fault.Damaged) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := read(bytes.Repeat([]byte("x"), 600)); !errors.Is(err, fault.Unsupported) {
		t.Errorf("another file: %v", err)
	}
	// Every table entry, header field and directory field may be anything: no panic, no endless loop, an error of ours.
	small := sample()
	delete(small, "large")
	whole = cfbtest.Build(small)
	step := soak.Pick(12, 4)
	for at := 24; at+4 <= len(whole); at += step {
		for _, v := range []uint32{0, 7, 0xfffffff9} {
			b := bytes.Clone(whole)
			binary.LittleEndian.PutUint32(b[at:], v)
			if _, err := read(b); err != nil && !errors.Is(err, fault.Damaged) && !errors.Is(err, fault.TooLarge) {
				t.Fatalf("%d: %v", at, err)
			}
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(cfbtest.Build(sample()))
	f.Add(cfbtest.Build(map[string]string{"a/b/c": "d"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := read(b); err != nil && !errors.Is(err, fault.Damaged) && !errors.Is(err, fault.TooLarge) && !errors.Is(err, fault.Unsupported) {
			t.Error(err)
		}
	})
}
