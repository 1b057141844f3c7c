package extract_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/llmemory/llmemory/extract"
)

func TestTemporary(t *testing.T) {
	t.Parallel()
	for _, err := range []error{extract.ErrUnsupported, extract.ErrTooLarge, extract.ErrDamaged, extract.ErrEncrypted, extract.ErrNoText} {
		if extract.Temporary(fmt.Errorf("test: %w", err)) {
			t.Errorf("%v is said to pass", err)
		}
	}
	for _, err := range []error{
		extract.ErrTimeout, context.Canceled, errors.New("out of luck"),
		fmt.Errorf("%w: %w", extract.ErrDamaged, context.DeadlineExceeded),
		fmt.Errorf("%w: gzip: %w", extract.ErrDamaged, &fs.PathError{Op: "read", Path: "/a", Err: syscall.EIO}),
	} {
		if !extract.Temporary(err) {
			t.Errorf("%v is said to last", err)
		}
	}
}
