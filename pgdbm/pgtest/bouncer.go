package pgtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// BouncerOptions of a PgBouncer. The zero value is the hardest case: transaction
// pooling over one server connection.
type BouncerOptions struct {
	// Settings are entries of the [pgbouncer] section of pgbouncer.ini that
	// are added or replaced, for example {"pool_mode": "session"}.
	Settings map[string]string
}

// Bouncer starts a PgBouncer in front of the database that url names, as the
// role that url names, and returns a URL through it. It ends with the test.
// Where pgbouncer is not installed the test fails and says so.
//
// Debian 12's PgBouncer 1.18 knows nothing of prepared statements, which is why
// it is worth testing with.
func Bouncer(tb testing.TB, databaseURL string, opts BouncerOptions) string {
	tb.Helper()
	u, err := startBouncer(tb, databaseURL, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

func startBouncer(tb testing.TB, databaseURL string, opts BouncerOptions) (string, error) {
	path, err := program("pgbouncer")
	if err != nil {
		return "", err
	}
	upstream, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return "", fmt.Errorf("pgtest: %w", err)
	}
	acct, err := serverAccount()
	if err != nil {
		return "", err
	}
	dir, err := newServerDir(acct, false)
	if err != nil {
		return "", err
	}
	ini := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(ini, []byte(bouncerIni(upstream, dir, opts)), 0o600); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	if err := giveTo(ini, acct); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	sv := service{dir: dir, signal: "TERM", command: []string{path, ini}}
	super, err := supervise(acct, sv)
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	tb.Cleanup(func() {
		if err := super.close(); err != nil {
			tb.Errorf("pgtest: stop pgbouncer: %v", err)
		}
	})
	// A host that starts with / is a socket's folder to pgx as to libpq.
	through := (&url.URL{
		Scheme: "postgres", User: url.User(upstream.User), Path: "/" + upstream.Database,
		RawQuery: url.Values{"host": {dir}, "port": {"6432"}}.Encode(),
	}).String()
	return through, sv.start(tb.Context(), super, func(ctx context.Context) error {
		return execOn(ctx, through)
	})
}

// bouncerIni is the configuration. auth_type any takes every client and uses
// the role of the [databases] entry: the test's URL has proved who it is.
func bouncerIni(upstream *pgx.ConnConfig, dir string, opts BouncerOptions) string {
	settings := map[string]string{
		"auth_type":         "any",
		"default_pool_size": "1",
		"listen_port":       "6432", // no listen_addr, no TCP: it only names the socket
		"max_client_conn":   "200",
		"pool_mode":         "transaction",
		"unix_socket_dir":   dir,
	}
	maps.Copy(settings, opts.Settings)
	var b strings.Builder
	target := map[string]string{
		"host": upstream.Host, "port": fmt.Sprint(upstream.Port),
		"user": upstream.User, "password": upstream.Password,
	}
	// The name * and no dbname: a name of any characters passes as the client
	// gives it, while the file has no way to quote one.
	b.WriteString("[databases]\n* =")
	for _, key := range slices.Sorted(maps.Keys(target)) {
		if target[key] != "" {
			b.WriteString(" " + key + "='" + strings.ReplaceAll(target[key], "'", "''") + "'")
		}
	}
	b.WriteString("\n[pgbouncer]\n")
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		b.WriteString(key + " = " + settings[key] + "\n")
	}
	return b.String()
}
