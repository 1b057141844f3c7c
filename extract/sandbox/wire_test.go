package sandbox

import (
	"errors"
	"testing"

	"github.com/llmemory/llmemory/extract"
)

// An error of two kinds is the same error each time.
func TestFailureOfTwoKinds(t *testing.T) {
	t.Parallel()
	err := errors.Join(extract.ErrTooLarge, extract.ErrDamaged, extract.ErrTimeout)
	want := toFailure(err)
	for range 100 {
		if got := toFailure(err); got != want {
			t.Fatalf("%+v, then %+v", want, got)
		}
	}
}
