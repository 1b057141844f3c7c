package migrate

import (
	"context"
	"time"
)

// Driver is a database as the engine sees it: one schema that can be migrated.
type Driver interface {
	// Inspect reads what is recorded for module. It writes nothing and needs no
	// right but to read the tracking table.
	Inspect(ctx context.Context, module string) (State, error)

	// Denied returns why the role cannot migrate, with the SQL that an
	// administrator would have to run; "" if nothing speaks against it. It writes
	// nothing.
	Denied(ctx context.Context) (string, error)

	// Lock runs fn in a transaction that holds the migration lock of the schema,
	// and commits if fn returns nil. It waits for the lock until ctx ends. It
	// creates the schema and the tracking table if they are missing. An error
	// that wraps ErrLocked means that the transaction was rolled back because
	// another session holds a lock, and may be tried again.
	Lock(ctx context.Context, fn func(Session) error) error

	// Holders describes the sessions that hold locks on the schema's tables, for
	// the message of ErrLocked; "" if none is known.
	Holders(ctx context.Context) string

	// Render turns the text of a file into SQL.
	Render(text string) (Rendered, error)

	// InvalidIndexes returns the names of invalid indexes of the schema.
	InvalidIndexes(ctx context.Context) ([]string, error)
}

// Rendered is SQL with the way back to the file it came from.
type Rendered struct {
	SQL string
	// Source gives the offset in the file for an offset in SQL, in bytes.
	Source func(offset int) int
}

// State is what Inspect found.
type State struct {
	// Foreign describes a tracking table that another tool made; "" if there is
	// none.
	Foreign string
	// Applied are the module's records, in order of version; none if there is no
	// table.
	Applied []Applied
}

// Applied is the record of one migration.
type Applied struct {
	Version   int64
	Name      string
	Checksum  string
	AppliedAt time.Time
	Duration  time.Duration
	By        string
}

// Session is the transaction of Driver.Lock.
type Session interface {
	// Applied returns the module's records, in order of version.
	Applied(ctx context.Context, module string) ([]Applied, error)
	// Exec runs a script of any number of statements. A refusal is an *SQLError.
	Exec(ctx context.Context, sql string) error
	// Record stores a record; the database fills in time and role.
	Record(ctx context.Context, module string, a Applied) error
	// Forget removes a record.
	Forget(ctx context.Context, module string, version int64) error
	// Claim tries to take the lease of a script that runs outside transactions.
	Claim(ctx context.Context, l Lease) (Claim, error)
	// Unclaim removes a lease that is still held by its owner, and fails with
	// ErrLeaseLost if it is not.
	Unclaim(ctx context.Context, l Lease) error
}

// Detached is what a Driver implements in addition if its database has
// statements that run outside transactions only.
type Detached interface {
	// Renew prolongs a lease. It fails with ErrLeaseLost if the owner changed.
	Renew(ctx context.Context, l Lease) error
	// Progress records that the first started statements were begun and the first
	// done of them completed. It prolongs the lease and fails like Renew.
	Progress(ctx context.Context, l Lease, started, done int) error
	// Run runs one statement outside a transaction, in a way that others can see
	// that l's owner is at it. A refusal is an *SQLError.
	Run(ctx context.Context, l Lease, s Statement) error
	// Release gives up a lease after a failure, so that the next try need not
	// wait until it expires. Progress is kept.
	Release(ctx context.Context, l Lease) error
	// Repair removes the invalid index that an earlier try of s left behind, if
	// there is one, and reports whether what s would make is there already.
	Repair(ctx context.Context, l Lease, s Statement) (exists bool, err error)
}

// Lease names a script that runs outside transactions and who runs it.
type Lease struct {
	Module   string
	Version  int64
	Checksum string
	Owner    string
	Duration time.Duration
}

// Claim is the answer to Session.Claim.
type Claim struct {
	// Granted says that the lease is ours now. If not, somebody is at work.
	Granted bool
	// Started and Done are the progress of earlier runs.
	Started, Done int
}
