// Package extracttest helps to test extractors: it makes archives, compares a text with what its document was made from, and
// checks what must hold for any input whatever.
package extracttest

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/extract"
)

// Words returns the words of a text: runs of letters, marks and digits, in lower case.
func Words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r)
	})
}

// F1 is the harmonic mean of precision and recall of the words in got, each as often as it occurs, against those in want.
func F1(got, want string) float64 {
	count := map[string]int{}
	g, w := Words(got), Words(want)
	for _, word := range w {
		count[word]++
	}
	both := 0
	for _, word := range g {
		if count[word] > 0 {
			count[word]--
			both++
		}
	}
	if both == 0 {
		return 0
	}
	return 2 * float64(both) / float64(len(g)+len(w))
}

// Golden checks a text against what its document was made from: the F1 of its words is at least .97, and the lines of want are
// there word for word, one after the other.
func Golden(t testing.TB, got, want string) {
	t.Helper()
	if f1 := F1(got, want); f1 < .97 {
		t.Errorf("F1 of words = %.3f, want at least .97", f1)
	}
	rest := " " + strings.Join(Words(got), " ") + " "
	for line := range strings.SplitSeq(want, "\n") {
		words := strings.Join(Words(line), " ")
		if words == "" {
			continue
		}
		at := strings.Index(rest, " "+words+" ")
		if at < 0 {
			t.Errorf("%q is not there, or not in its place", line)
			continue
		}
		rest = rest[at+len(words)+1:]
	}
	if t.Failed() {
		t.Logf("text:\n%s", got)
	}
}

// Extract extracts a document in memory and fails the test on an error.
func Extract(t testing.TB, e extract.Extractor, in extract.Input, data []byte) extract.Text {
	t.Helper()
	in.Reader = bytes.NewReader(data)
	text, err := e.Extract(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Allocated returns how many bytes f allocates, which tells what takes the square of its input's size apart from what does not, however
// busy the machine is. The test that calls it must not be parallel.
func Allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// Kinds are the errors that an extractor may return.
var Kinds = []error{
	extract.ErrUnsupported, extract.ErrTooLarge, extract.ErrDamaged, extract.ErrEncrypted, extract.ErrNoText, extract.ErrTimeout,
}

// Any checks what must hold whatever the input is: an error of a named kind or a text in valid UTF-8 of at most maxBytes, with pages in
// order, the same each time unless the extractor's time is up, within half a minute.
func Any(t testing.TB, e extract.Extractor, data []byte) {
	t.Helper()
	const maxBytes = 1 << 20
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	run := func() (extract.Text, error) {
		return e.Extract(ctx, extract.Input{Reader: bytes.NewReader(data), MaxBytes: maxBytes})
	}
	text, err := run()
	if ctx.Err() != nil {
		t.Fatal("takes more than half a minute")
	}
	if err != nil {
		for _, kind := range Kinds {
			if errors.Is(err, kind) {
				return
			}
		}
		t.Fatalf("error of no kind: %v", err)
	}
	for name, s := range map[string]string{"content": text.Content, "title": text.Title, "author": text.Author, "language": text.Language} {
		if !utf8.ValidString(s) {
			t.Errorf("%s is not valid UTF-8", name)
		}
		if strings.ContainsRune(s, 0) {
			t.Errorf("%s holds a NUL", name)
		}
	}
	if len(text.Content) > maxBytes {
		t.Errorf("text of %d bytes", len(text.Content))
	}
	last := 0
	for _, p := range text.Pages {
		if p < last || p > len(text.Content) {
			t.Errorf("pages = %v in a text of %d bytes", text.Pages, len(text.Content))
			break
		}
		last = p
	}
	switch again, err := run(); {
	case errors.Is(err, extract.ErrTimeout): // which is the machine's answer
	case err != nil:
		t.Errorf("another error the second time: %v", err)
	default:
		if diff := cmp.Diff(text, again); diff != "" {
			t.Errorf("another text the second time (-first +second):\n%s", diff)
		}
	}
}

// Refused checks that an input is refused with an error of a kind.
func Refused(t testing.TB, e extract.Extractor, data []byte, kind error) {
	t.Helper()
	text, err := e.Extract(context.Background(), extract.Input{Reader: bytes.NewReader(data)})
	if !errors.Is(err, kind) {
		t.Errorf("error = %v, want %v; text %.200q", err, kind, text.Content)
	}
}
