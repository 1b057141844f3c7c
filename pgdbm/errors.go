package pgdbm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"
)

var (
	// ErrConfig is returned for a [Config] that breaks a rule, a URL that cannot
	// be parsed included. The message never has the password.
	ErrConfig = errors.New("invalid configuration")

	// ErrPoolExhausted is returned when no connection became free within
	// [Config].AcquireTimeout. Either the pool is too small, or connections are
	// held too long: rows not closed, a transaction kept open across a network
	// call, or a call on the [DB] inside a transaction that should have used the
	// [Tx].
	ErrPoolExhausted = errors.New("connection pool exhausted")

	// ErrCommitUnknown is returned when the connection broke after COMMIT was
	// sent and before the server answered. The transaction is either committed
	// whole or not at all; only the data can tell which.
	ErrCommitUnknown = errors.New("commit status unknown")

	// ErrCommitted is returned by [Tx.Commit] when a result callback of its last
	// batch failed. COMMIT travelled with that batch, so the transaction is
	// committed in spite of the error.
	ErrCommitted = errors.New("transaction is committed, but reading its last results failed")

	// ErrTxAborted is returned when committing a transaction in which a statement
	// had failed before. It was rolled back.
	ErrTxAborted = errors.New("transaction was aborted by an earlier error and is rolled back")

	// ErrTxClosed is returned when a transaction is used after its end.
	ErrTxClosed = errors.New("transaction is closed")

	// ErrNotOwned is returned by Commit and Rollback on a transaction that
	// belongs to the host (see [DB.WithTx]).
	ErrNotOwned = errors.New("the transaction belongs to the host, who alone ends it")

	// ErrClosed is returned when a closed pool is used.
	ErrClosed = errors.New("pool is closed")

	// ErrSchemaName is returned by every call on a handle whose schema name can
	// be no identifier (see [Pool.Schema]).
	ErrSchemaName = errors.New("invalid schema name")

	// ErrExtension is returned by [Pool.RequireExtension] when an extension is
	// missing or too old. The message says what to install and which SQL to run.
	ErrExtension = errors.New("required extension")
)

// Error is what every failed call returns. It names the statement as it was
// written, never an argument: values that the server repeats in its message
// are masked, and its detail line, which quotes rows, is left out.
//
// errors.As finds the *pgconn.PgError inside, masked the same way.
type Error struct {
	// Op is what was being done: "connect", "acquire", "exec", "query", "batch",
	// "copy", "begin", "commit", "rollback", "savepoint", "release".
	Op string
	// SQLSTATE is the server's five-character code, "" if the server gave none.
	SQLSTATE string
	// Message is the server's message, or that of Err.
	Message string
	// Statement is the start of the statement before its template was rendered,
	// at most about 120 bytes, white space folded; "" if no statement is to blame.
	Statement string
	// Constraint, Table and Column are filled by the server for violated
	// constraints and otherwise empty.
	Constraint, Table, Column string
	// Err is the cause.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("pgdbm: ")
	b.WriteString(e.Op)
	b.WriteString(": ")
	b.WriteString(e.Message)
	if e.SQLSTATE != "" {
		fmt.Fprintf(&b, " (SQLSTATE %s)", e.SQLSTATE)
	}
	if e.Statement != "" {
		fmt.Fprintf(&b, " [in: %s]", e.Statement)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// newError makes an *Error out of what pgx or a callback returned. An error
// that already is one keeps its facts; nil stays nil.
func newError(op, statement string, err error, params [][]byte) error {
	if err == nil {
		return nil
	}
	var done *Error
	if errors.As(err, &done) {
		return err
	}
	e := &Error{Op: op, Statement: excerpt(statement), Err: err}
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr):
		masked := *pgErr
		masked.Message = mask(pgErr.Message, params)
		masked.Detail, masked.Where = "", ""
		e.Err, e.SQLSTATE, e.Message = &masked, masked.Code, masked.Message
		e.Constraint, e.Table, e.Column = masked.ConstraintName, masked.TableName, masked.ColumnName
	case errors.Is(err, puddle.ErrClosedPool):
		e.Err, e.Message = ErrClosed, ErrClosed.Error()
	default:
		e.Message = err.Error()
	}
	return e
}

// minUnquoted is the shortest value masked where the server did not quote it.
// Shorter ones would hit parts of words by chance.
const minUnquoted = 8

// mask replaces values of params in a server message, such as `invalid input
// syntax for type uuid: "…"`, by their numbers.
func mask(message string, params [][]byte) string {
	for i, p := range params {
		if len(p) == 0 {
			continue
		}
		v, number := string(p), fmt.Sprintf("$%d", i+1)
		message = strings.ReplaceAll(message, `"`+v+`"`, number)
		if len(v) >= minUnquoted {
			message = strings.ReplaceAll(message, v, number)
		}
	}
	return message
}

const excerptLen = 120

// excerpt is the start of a statement, white space folded into single blanks.
func excerpt(statement string) string {
	// Folding the whole of a long statement for 120 bytes of it would be waste.
	head := statement[:min(len(statement), 4*excerptLen)]
	s := strings.Join(strings.Fields(head), " ")
	if len(s) <= excerptLen {
		return strings.ToValidUTF8(s, "")
	}
	cut := excerptLen
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// SQLState returns the server's code carried by err, "" if there is none.
func SQLState(err error) string {
	var e *Error
	if errors.As(err, &e) && e.SQLSTATE != "" {
		return e.SQLSTATE
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}

// IsUniqueViolation reports whether a unique or primary key was violated (23505).
func IsUniqueViolation(err error) bool { return SQLState(err) == "23505" }

// IsForeignKeyViolation reports whether a foreign key was violated (23503).
func IsForeignKeyViolation(err error) bool { return SQLState(err) == "23503" }

// IsCheckViolation reports whether a check constraint was violated (23514).
func IsCheckViolation(err error) bool { return SQLState(err) == "23514" }

// IsSerialization reports whether the transaction lost against another one and
// would do well to be run again: serialization failure (40001) or deadlock
// (40P01). [TxOptions].Retries does that.
func IsSerialization(err error) bool {
	s := SQLState(err)
	return s == "40001" || s == "40P01"
}

// IsReadOnly reports whether a write reached a read-only server or transaction
// (25006), as after a failover.
func IsReadOnly(err error) bool { return SQLState(err) == "25006" }

// IsUndefined reports whether a schema, table, column, function, type or
// operator does not exist.
func IsUndefined(err error) bool {
	switch SQLState(err) {
	case "3F000", "42P01", "42703", "42883", "42704":
		return true
	}
	return false
}

// IsPrivilege reports whether the role lacks a right (42501).
func IsPrivilege(err error) bool { return SQLState(err) == "42501" }

// IsResource reports whether the server ran out of something: disk (53100),
// memory (53200), connections (53300) or a configured limit (53400).
func IsResource(err error) bool { return strings.HasPrefix(SQLState(err), "53") }

// IsTimeout reports whether a time limit ended the call: the context's
// deadline, the server's statement, lock or idle-in-transaction timeout, or
// the wait for a connection.
func IsTimeout(err error) bool {
	switch SQLState(err) {
	case "57014", "55P03", "25P03", "25P04":
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrPoolExhausted) || pgconn.Timeout(err)
}

// IsConnection reports whether the connection could not be made or was lost,
// the server starting up or shutting down included. What was sent on it may or
// may not have been done; after a lost COMMIT [ErrCommitUnknown] says so.
func IsConnection(err error) bool {
	switch s := SQLState(err); {
	case strings.HasPrefix(s, "08"), s == "57P01", s == "57P02", s == "57P03", s == "57P05":
		return true
	case s != "":
		return false
	}
	var (
		connect *pgconn.ConnectError
		network net.Error
	)
	return errors.As(err, &connect) || errors.As(err, &network) && !errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, pgconn.ErrConnClosed) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, ErrCommitUnknown) || errors.Is(err, errConnectionLost) || errors.Is(err, errNotConnected)
}

// errNotConnected marks that the pool had room for a connection and could not
// make one in the time there was.
var errNotConnected = errors.New("no connection could be made in time")

// errConnectionLost marks an error after which the connection was found closed
// though pgx gave no type that says so.
var errConnectionLost = errors.New("the connection to the server was lost")

// IsNoRows reports whether a single row was asked for and there was none.
func IsNoRows(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

// passwordPattern finds a password in a key/value connection string.
var passwordPattern = regexp.MustCompile(`(?i)\b(?:ssl)?password\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&]+)`)
