package pgdbm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/llmemory/llmemory/pgdbm"
)

func TestPredicates(t *testing.T) {
	t.Parallel()
	predicates := []struct {
		name string
		is   func(error) bool
	}{
		{"unique", pgdbm.IsUniqueViolation},
		{"foreign key", pgdbm.IsForeignKeyViolation},
		{"check", pgdbm.IsCheckViolation},
		{"serialization", pgdbm.IsSerialization},
		{"read only", pgdbm.IsReadOnly},
		{"undefined", pgdbm.IsUndefined},
		{"privilege", pgdbm.IsPrivilege},
		{"resource", pgdbm.IsResource},
		{"timeout", pgdbm.IsTimeout},
		{"connection", pgdbm.IsConnection},
		{"no rows", pgdbm.IsNoRows},
	}
	state := func(code string) error {
		return fmt.Errorf("outer: %w", &pgdbm.Error{Op: "exec", SQLSTATE: code, Err: &pgconn.PgError{Code: code}})
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{errors.New("x"), ""},
		{state("23505"), "unique"},
		{state("23503"), "foreign key"},
		{state("23514"), "check"},
		{state("40001"), "serialization"},
		{state("40P01"), "serialization"},
		{state("25006"), "read only"},
		{state("42P01"), "undefined"},
		{state("3F000"), "undefined"},
		{state("42501"), "privilege"},
		{state("53100"), "resource"},
		{state("57014"), "timeout"},
		{state("55P03"), "timeout"},
		{state("57P01"), "connection"},
		{state("08006"), "connection"},
		{state("42601"), ""},
		{&pgconn.PgError{Code: "23505"}, "unique"},
		{context.DeadlineExceeded, "timeout"},
		{context.Canceled, ""},
		{pgdbm.ErrPoolExhausted, "timeout"},
		{pgdbm.ErrCommitUnknown, "connection"},
		{io.ErrUnexpectedEOF, "connection"},
		{pgconn.ErrConnClosed, "connection"},
	} {
		var got []string
		for _, p := range predicates {
			if p.is(c.err) {
				got = append(got, p.name)
			}
		}
		if diff := cmp.Diff(c.want, strings.Join(got, ", ")); diff != "" {
			t.Errorf("%v: %s", c.err, diff)
		}
	}
}

// A long statement is cut between characters, and its white space folded.
func TestErrorExcerpt(t *testing.T) {
	t.Parallel()
	db := open(t, pgdbm.Config{}).Schema("public")
	_, err := db.Exec(t.Context(), "SELECT\n\t"+strings.Repeat("ä", 1000))
	var e *pgdbm.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	if want := "SELECT " + strings.Repeat("ä", 56) + "…"; e.Statement != want {
		t.Errorf("got %q, want %q", e.Statement, want)
	}
}
