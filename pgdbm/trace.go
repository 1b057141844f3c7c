package pgdbm

import (
	"context"
	"sync/atomic"
	"time"
)

// Kind says what an [Event] is about.
type Kind string

// The kinds of events.
const (
	KindConnect  Kind = "connect"  // an owned pool was opened; RoundTrips is not counted
	KindExec     Kind = "exec"     // Exec
	KindQuery    Kind = "query"    // Query and QueryRow; traced when the rows are closed
	KindBatch    Kind = "batch"    // Run
	KindCopy     Kind = "copy"     // CopyFrom
	KindBegin    Kind = "begin"    // Begin with a first batch, which it includes
	KindCommit   Kind = "commit"   // Commit, including its last batch
	KindRollback Kind = "rollback" // Rollback, to a savepoint included
	KindMigrate  Kind = "migrate"  // one migration file
)

// Event describes one finished call. A call that failed before anything was
// sent has zero Statements and RoundTrips.
type Event struct {
	Kind   Kind
	Schema string
	// Statement is the start of the first statement as it was written (not
	// rendered, without arguments); "" for a bare transaction command.
	Statement string
	// Statements counts the statements sent, BEGIN, COMMIT and SAVEPOINT included.
	Statements int
	// RoundTrips counts how often the call waited for the server in sequence.
	RoundTrips int
	// Rows counts rows read and rows affected.
	Rows     int64
	Start    time.Time
	Duration time.Duration
	Err      error
}

// Tracer is told of every call. Trace is called by the goroutine that made the
// call, after it ended, with the call's context; it must be safe for concurrent
// use and should be quick.
type Tracer interface {
	Trace(ctx context.Context, e Event)
}

// TracerFunc makes a [Tracer] of a function.
type TracerFunc func(ctx context.Context, e Event)

// Trace implements [Tracer].
func (f TracerFunc) Trace(ctx context.Context, e Event) { f(ctx, e) }

// Counter is a [Tracer] that adds up, for tests that assert how much a call
// costs. The zero value is ready.
type Counter struct {
	calls, statements, roundTrips, errors atomic.Int64
}

// Trace implements [Tracer].
func (c *Counter) Trace(_ context.Context, e Event) {
	c.calls.Add(1)
	c.statements.Add(int64(e.Statements))
	c.roundTrips.Add(int64(e.RoundTrips))
	if e.Err != nil {
		c.errors.Add(1)
	}
}

// Calls returns the number of calls seen.
func (c *Counter) Calls() int { return int(c.calls.Load()) }

// Statements returns the number of statements sent.
func (c *Counter) Statements() int { return int(c.statements.Load()) }

// RoundTrips returns the number of round trips made.
func (c *Counter) RoundTrips() int { return int(c.roundTrips.Load()) }

// Errors returns the number of calls that failed.
func (c *Counter) Errors() int { return int(c.errors.Load()) }

// Reset sets all counts to zero.
func (c *Counter) Reset() {
	c.calls.Store(0)
	c.statements.Store(0)
	c.roundTrips.Store(0)
	c.errors.Store(0)
}
