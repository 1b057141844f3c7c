package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/soak"
)

// fillAll makes a file with documents, vectors and a queue, closed or, if wanted, as a killed process leaves it: with a log beside it
// that holds the last of what was done. It returns what lies in the folder.
func fillAll(t *testing.T, logged bool) (files map[string][]byte) {
	t.Helper()
	ctx, path := t.Context(), newPath(t)
	store, mem, err := killMemory(ctx, path)
	must(t, err)
	for i := range 12 {
		for step := 4 * i; step < 4*i+3; step++ {
			key, content := entry(step)
			embed := []llmemory.Embed{llmemory.EmbedNow, llmemory.EmbedLater}[i%2]
			_, err := mem.Owner(fmt.Sprint("owner ", i%2)).Add(ctx, llmemory.Document{Key: key, Language: "en", Content: content, Embed: embed, Metadata: map[string]any{"i": i}})
			must(t, err)
		}
	}
	take := func() map[string][]byte {
		out := map[string][]byte{}
		names, err := filepath.Glob(path + "*")
		must(t, err)
		for _, name := range names {
			if !strings.HasSuffix(name, "-shm") { // no part of what is stored
				out[strings.TrimPrefix(name, path)], err = os.ReadFile(name)
				must(t, err)
			}
		}
		return out
	}
	if logged {
		files = take()
	}
	must(t, store.Close())
	if !logged {
		files = take()
	}
	return files
}

// place writes files to a folder of their own.
func place(t *testing.T, files map[string][]byte) (path string) {
	t.Helper()
	path = newPath(t)
	for name, content := range files {
		must(t, os.WriteFile(path+name, content, 0o600))
	}
	return path
}

// readOrRefuse reads all that a file has in every way. It returns it as text, or an error.
func readOrRefuse(ctx context.Context, path string) (_ string, err error) {
	store, mem, err := killMemory(ctx, path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var out strings.Builder
	owners, err := store.Owners(ctx, llmemory.OwnersParams{Limit: 100})
	if err != nil {
		return "", err
	}
	for _, owner := range owners {
		o := mem.Owner(owner)
		page, err := o.List(ctx, &llmemory.ListOptions{Limit: 1000, OrderBy: llmemory.ByName})
		if err != nil {
			return "", err
		}
		for _, d := range page.Documents {
			stored, chunks, err := o.GetWithChunks(ctx, d.ID)
			if err != nil {
				return "", err
			}
			fmt.Fprintln(&out, owner, stored, chunks)
		}
		for _, mode := range []llmemory.Mode{llmemory.ByText, llmemory.ByVector, llmemory.Hybrid} {
			found, err := o.Search(ctx, "alpha line7", &llmemory.SearchOptions{Mode: mode, Limit: 1000, Parents: true})
			if err != nil {
				return "", err
			}
			fmt.Fprintln(&out, mode, found.Degraded, len(found.Hits))
			for _, h := range found.Hits {
				fmt.Fprintln(&out, h.ID, h.Score, h.Text)
			}
		}
		stats, err := o.Stats(ctx)
		if err != nil {
			return "", err
		}
		queue, err := o.Queue(ctx, 1000)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(&out, stats, queue.Waiting, queue.Dead)
	}
	return out.String(), nil
}

// TestSpoilt flips bits of a file at random, a few at a time, and cuts it. Who reads it all is told that it is damaged, or gets what was
// stored: nothing else, and above all no panic. The file itself stays as it is, and the sound one put in its place works at once.
func TestSpoilt(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	sound := fillAll(t, false)
	want, err := readOrRefuse(ctx, place(t, sound))
	must(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	noticed, harmless := 0, 0
	variants := soak.Pick(40, 1000)
	for n := range variants {
		spoilt := bytes.Clone(sound[""])
		what := ""
		if n%10 == 9 {
			spoilt = spoilt[:random.IntN(len(spoilt))]
			what = fmt.Sprintf("cut at %d of %d", len(spoilt), len(sound[""]))
		} else {
			for range 1 + random.IntN(3) {
				at, bit := random.IntN(len(spoilt)), random.IntN(8)
				if n%3 == 0 { // the beginning of a page says most
					at = at/8192*8192 + random.IntN(120)
				}
				spoilt[at] ^= 1 << bit
				what += fmt.Sprintf(" bit %d of byte %d of page %d", bit, at%8192, at/8192+1)
			}
		}
		path := place(t, map[string][]byte{"": spoilt})
		got, err := readOrRefuse(ctx, path)
		switch {
		case errors.Is(err, llmemory.ErrCorrupt), errors.Is(err, llmemory.ErrInvalid): // it may look like another program's
			noticed++
		case err != nil:
			t.Errorf("%s: %v, want ErrCorrupt", what, err)
		case len(spoilt) == 0 && got == "": // a new file
			harmless++
		case got != want:
			t.Errorf("%s: not noticed:\n%.300s\nwant\n%.300s", what, got, want)
		default:
			harmless++
		}
		after, err := os.ReadFile(path)
		must(t, err)
		if !bytes.Equal(after, spoilt) && len(spoilt) > 0 {
			t.Errorf("%s: the file was changed", what)
		}
		if n%20 == 0 {
			must(t, os.WriteFile(path, sound[""], 0o600))
			if again, err := readOrRefuse(ctx, path); err != nil || again != want {
				t.Errorf("%s: the sound file in its place: %v", what, err)
			}
		}
	}
	t.Logf("%d variants: %d noticed, %d of no consequence", variants, noticed, harmless)
	if noticed < variants/2 {
		t.Errorf("%d of %d noticed", noticed, variants)
	}
}

// TestSpoiltLog does so to the log that a killed process left behind. What is damaged in it counts as not written, as a commit that
// never ended: who reads gets what was stored at some moment before, or is told.
func TestSpoiltLog(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	sound := fillAll(t, true)
	if len(sound["-wal"]) < 100_000 {
		t.Fatalf("the log has %d bytes", len(sound["-wal"]))
	}
	if _, err := readOrRefuse(ctx, place(t, sound)); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	noticed := 0
	variants := soak.Pick(8, 300)
	for n := range variants {
		files := map[string][]byte{"": sound[""], "-wal": bytes.Clone(sound["-wal"])}
		what := ""
		if n%4 == 3 {
			files["-wal"] = files["-wal"][:random.IntN(len(files["-wal"]))]
			what = fmt.Sprintf("the log cut at %d", len(files["-wal"]))
		} else {
			at := random.IntN(len(files["-wal"]))
			files["-wal"][at] ^= 1 << random.IntN(8)
			what = fmt.Sprintf("a bit of byte %d of the log", at)
		}
		path := place(t, files)
		switch _, err := readOrRefuse(ctx, path); {
		case errors.Is(err, llmemory.ErrCorrupt), errors.Is(err, llmemory.ErrInvalid):
			noticed++
		case err != nil:
			t.Errorf("%s: %v, want ErrCorrupt or no error", what, err)
		default:
			store, _, err := killMemory(ctx, path)
			must(t, err)
			if err := checkStored(ctx, store); err != nil {
				t.Errorf("%s: what is left: %v", what, err)
			}
			must(t, store.Close())
		}
	}
	t.Logf("%d variants: %d refused, the others were as of an earlier commit", variants, noticed)
}

// TestStrangeLog puts the log of another database beside a file: it is not ours, and nothing of it is taken.
func TestStrangeLog(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	sound, other := fillAll(t, false), fillAll(t, true)
	want, err := readOrRefuse(ctx, place(t, sound))
	must(t, err)
	for name, log := range map[string][]byte{"another's": other["-wal"], "a picture": []byte("\xff\xd8\xff\xe0" + strings.Repeat("JFIF", 9000)), "empty": {}} {
		path := place(t, map[string][]byte{"": sound[""], "-wal": log})
		got, err := readOrRefuse(ctx, path)
		if err == nil && got != want && name != "another's" {
			t.Errorf("%s: not what was stored", name)
		}
		if err != nil && !errors.Is(err, llmemory.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// guestTask is the environment variable that makes this test binary a process that opens a file, adds a document and reads all; it
// holds the file's path.
const guestTask = "LLMEMORY_TEST_SQLITE_GUEST"

// runGuest says on standard output what came of it: "ok", or the kind of the error and its text.
func runGuest(path string) int {
	err := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		store, mem, err := killMemory(ctx, path)
		if err != nil {
			return err
		}
		_, err = mem.Owner("guest").Add(ctx, llmemory.Document{Key: "k", Content: "text"})
		return errors.Join(err, store.Close())
	}()
	for _, kind := range []error{llmemory.ErrUnavailable, llmemory.ErrCorrupt, llmemory.ErrInvalid, llmemory.ErrCommitUnknown} {
		if errors.Is(err, kind) {
			fmt.Printf("%v: ", kind)
		}
	}
	if err == nil {
		err = errors.New("ok")
	}
	fmt.Println(err)
	return 0
}

// sameFiles tells whether what is beside a path is what it was, but for the index of the log, which is no part of it.
func sameFiles(t *testing.T, path string, before map[string][]byte) bool {
	t.Helper()
	names, err := filepath.Glob(path + "*")
	must(t, err)
	names = slices.DeleteFunc(names, func(n string) bool { return strings.HasSuffix(n, "-shm") })
	for _, name := range names {
		now, err := os.ReadFile(name)
		must(t, err)
		if was, ok := before[strings.TrimPrefix(name, path)]; !ok && len(now) > 0 || !bytes.Equal(now, was) {
			return false
		}
	}
	return true
}
