package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/ncruces/go-sqlite3"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/migrate"
)

// translate gives an error of SQLite its place in the domain. What it does not know stays as it is: a fault of ours.
func (p *pool) translate(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []error{llmemory.ErrNotFound, llmemory.ErrInvalid, llmemory.ErrConflict, llmemory.ErrUnavailable,
		llmemory.ErrCommitUnknown, llmemory.ErrClosed, llmemory.ErrCorrupt} {
		if errors.Is(err, known) {
			return err
		}
	}
	if errors.Is(err, sqlite3.INTERRUPT) || errors.Is(err, sqlite3.BUSY) {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case p.life.Err() != nil:
			return errClosed
		}
	}
	return classify(p.path, err)
}

// classify is translate without a context.
func classify(path string, err error) error {
	unavailable := func(why string) error {
		return &llmemory.UnavailableError{What: "database", Err: fmt.Errorf("%s: %s: %w", path, why, err)}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sqlite3.CORRUPT), errors.Is(err, sqlite3.NOTADB), errors.Is(err, sqlite3.IOERR_DATA), errors.Is(err, sqlite3.IOERR_CORRUPTFS),
		errors.Is(err, sqlite3.IOERR_SHORT_READ):
		return fmt.Errorf("%w: %s: %w%s", llmemory.ErrCorrupt, path, err, code(err))
	case errors.Is(err, sqlite3.BUSY), errors.Is(err, sqlite3.LOCKED), errors.Is(err, sqlite3.PROTOCOL), errors.Is(err, migrate.ErrLocked):
		return unavailable("busy, another process is writing")
	case errors.Is(err, sqlite3.FULL):
		return unavailable("no space left")
	case errors.Is(err, sqlite3.IOERR_WRITE): // what a full disk is to the driver
		return unavailable("no space left, or the disk failed")
	case errors.Is(err, sqlite3.READONLY), errors.Is(err, sqlite3.PERM):
		return unavailable("read-only file or folder")
	case errors.Is(err, sqlite3.CANTOPEN), errors.Is(err, sqlite3.AUTH):
		return unavailable("cannot open the file, or the -wal and -shm files beside it")
	case errors.Is(err, sqlite3.IOERR), errors.Is(err, sqlite3.NOLFS):
		return unavailable("the disk failed")
	}
	return err
}

// diskFailed tells whether a commit may have happened although it failed: what it wrote may have reached the disk. What could not be
// written has not: the last that is written of a transaction is what makes it one.
func diskFailed(err error) bool {
	return errors.Is(err, sqlite3.IOERR) && !errors.Is(err, sqlite3.IOERR_WRITE)
}

// code is the extended code of an error, for its text.
func code(err error) string {
	var extended sqlite3.ExtendedErrorCode
	if !errors.As(err, &extended) {
		return ""
	}
	return fmt.Sprintf(" (%d)", extended)
}
