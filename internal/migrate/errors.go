package migrate

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrFiles is returned for a folder of migrations that breaks a rule: a
	// misspelt name, a version used twice, an empty folder, a transaction command
	// inside a file.
	ErrFiles = errors.New("invalid migration files")

	// ErrPending is returned when migrations are pending and cannot be applied,
	// because the role lacks the right, or when Verify finds any.
	ErrPending = errors.New("migrations are pending")

	// ErrChanged is returned when a file differs from what was applied.
	ErrChanged = errors.New("an applied migration was changed")

	// ErrMissing is returned when a version that was applied has no file.
	ErrMissing = errors.New("an applied migration has no file")

	// ErrNewer is returned instead of ErrMissing when every version without a
	// file is above all files: the schema was migrated by a newer program.
	ErrNewer = errors.New("the schema is newer than this program")

	// ErrOutOfOrder is returned when a pending version lies below an applied one.
	ErrOutOfOrder = errors.New("a pending migration lies below an applied one")

	// ErrForeign is returned when the tracking table was made by another tool.
	ErrForeign = errors.New("the table schema_migrations belongs to another tool")

	// ErrNoDown is returned by Down for a version without a down file.
	ErrNoDown = errors.New("the migration has no down file")

	// ErrLocked is returned when a statement could not get its lock for so long
	// that waiting on would have stalled other users of the table.
	ErrLocked = errors.New("a lock that the migration needs is held by others")

	// ErrInvalidIndex is returned by Verify for an index that a failed concurrent
	// build left behind.
	ErrInvalidIndex = errors.New("an index is invalid")

	// ErrLeaseLost is returned when another process took over a file that runs
	// outside a transaction, after this one had not been heard of for too long.
	ErrLeaseLost = errors.New("another process took over the migration")
)

// Error says where in a migration file something went wrong.
type Error struct {
	// File is the name of the file.
	File string
	// Line and Column count from 1, the column in characters; both are 0 if the
	// place is not known.
	Line, Column int
	// Err is the cause.
	Err error
}

// Error implements error: file:line:column: cause.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
		if e.Column > 0 {
			fmt.Fprintf(&b, ":%d", e.Column)
		}
	}
	b.WriteString(": ")
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// SQLError is what a driver returns when the database refuses SQL.
type SQLError struct {
	// Offset is the place in the SQL, in bytes; -1 if the database gave none.
	Offset int
	// Statement is the index of the failed statement among those of the SQL,
	// which gives a place where Offset does not; -1 if not known.
	Statement int
	Err       error
}

// Error implements error.
func (e *SQLError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *SQLError) Unwrap() error { return e.Err }
