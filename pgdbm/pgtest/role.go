package pgtest

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// RoleOptions describe a role made by [Role]. The zero value is a role that may
// log in and has no rights but those of PUBLIC.
type RoleOptions struct {
	// Password makes the role log in with this password. A private server, and
	// one started by Start, asks such a role for it; where a given server
	// trusts everybody, the test fails, as it would prove nothing.
	Password string

	// Attributes are appended to CREATE ROLE, for example "BYPASSRLS".
	Attributes string

	// Grants are statements run in the database, by its owner, with {role}
	// replaced by the quoted name of the role, for example
	// "GRANT USAGE ON SCHEMA app TO {role}".
	Grants []string
}

// Role creates a role for the database that url names and returns the URL of
// the same database as that role. The role, and what it owns in this database,
// is dropped at the end of the test.
func Role(tb testing.TB, databaseURL string, opts RoleOptions) string {
	tb.Helper()
	ctx := context.Background()
	name, err := process.newName(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	quoted := quoteName(name)
	create := "CREATE ROLE " + quoted + " LOGIN " + opts.Attributes
	if opts.Password != "" {
		create += " PASSWORD " + quoteLiteral(opts.Password)
	}
	if err := execOn(ctx, databaseURL, create); err != nil {
		tb.Fatalf("pgtest: create a role: %v", err)
	}
	tb.Cleanup(func() {
		if err := execOn(ctx, databaseURL, "DROP OWNED BY "+quoted+" CASCADE", "DROP ROLE "+quoted); err != nil {
			tb.Errorf("pgtest: drop a role: %v", err)
		}
	})
	grants := make([]string, len(opts.Grants))
	for i, g := range opts.Grants {
		grants[i] = strings.ReplaceAll(g, "{role}", quoted)
	}
	if err := execOn(ctx, databaseURL, grants...); err != nil {
		tb.Fatalf("pgtest: grant to a role: %v", err)
	}

	u, err := url.Parse(databaseURL)
	if err != nil {
		tb.Fatal("pgtest: not a database URL")
	}
	if opts.Password == "" {
		u.User = url.User(name)
		return u.String()
	}
	if err := requirePassword(ctx, databaseURL, name, u); err != nil {
		tb.Fatal(err)
	}
	u.User = url.UserPassword(name, opts.Password)
	return u.String()
}

// requirePassword makes the server ask the role for its password, and checks
// that it does.
func requirePassword(ctx context.Context, databaseURL, name string, u *url.URL) error {
	err := execOn(ctx, databaseURL, "GRANT "+passwordGroup+" TO "+quoteName(name))
	var server *pgconn.PgError
	if errors.As(err, &server) && server.Code == "42704" { // a given server without the group
		err = nil
	}
	if err != nil {
		return err
	}
	wrong := *u
	wrong.User = url.UserPassword(name, "not the password")
	conn, err := pgx.Connect(ctx, wrong.String())
	if err == nil {
		return errors.Join(errors.New("pgtest: the test server accepts any password: "+
			"unset PGTEST_URL, or let its pg_hba.conf ask members of role "+passwordGroup+" for theirs"), conn.Close(ctx))
	}
	if errors.As(err, &server) && server.Code == "28P01" {
		return nil
	}
	return err
}

// execOn runs statements on a connection of its own; without statements it only
// connects.
func execOn(ctx context.Context, databaseURL string, statements ...string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// quoteLiteral makes an SQL string constant, whatever
// standard_conforming_strings says.
func quoteLiteral(s string) string {
	return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + "'"
}
