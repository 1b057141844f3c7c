package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Names on the server: pgtest_<session>_<n> is a test's database or role,
// pgtest_tpl_<key> a template. The connection that shows a session to be alive
// has the application name pgtest_<session>.
const (
	namePrefix     = "pgtest_"
	templatePrefix = "pgtest_tpl_"
)

// adminTimeout bounds each statement for making and dropping databases; a
// healthy server takes a fraction of a second.
const adminTimeout = time.Minute

// process is the one session of this process. There can be only one: a private
// server per test would cost more than the tests.
var process session

// session is this process's link to the test server.
type session struct {
	mu      sync.Mutex
	err     error // why there is no server; the next test need not try again
	url     string
	id      string
	server  *Server // nil if the server was given
	conn    *pgx.Conn
	counter int

	templates sync.Map // names of templates known to be complete
}

// open starts or finds the server. The caller holds mu.
func (s *session) open(ctx context.Context) error {
	if s.err != nil {
		return s.err
	}
	if s.url == "" {
		if err := s.locate(ctx); err != nil {
			s.err = err
			return err
		}
	}
	if s.conn != nil && !s.conn.IsClosed() && s.conn.Ping(ctx) == nil {
		return nil
	}
	first := s.conn == nil
	config, err := pgx.ParseConfig(s.url)
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	config.RuntimeParams["application_name"] = namePrefix + s.id
	if s.conn, err = pgx.ConnectConfig(ctx, config); err != nil {
		s.conn = nil
		return fmt.Errorf("pgtest: connect to the test server: %w", err)
	}
	if first {
		return s.sweep(ctx)
	}
	return nil
}

// locate sets the session's server: the given one or a private one.
func (s *session) locate(ctx context.Context) error {
	id := make([]byte, 6)
	rand.Read(id) // never fails, by its documentation
	s.id = hex.EncodeToString(id)

	if given := os.Getenv("PGTEST_URL"); given != "" {
		if _, err := withDatabase(given, "postgres"); err != nil {
			return fmt.Errorf("pgtest: PGTEST_URL: %w", err)
		}
		s.url = given
		return nil
	}
	server, err := Start(ctx, Options{})
	if err != nil {
		return err
	}
	s.server, s.url = server, server.URL()
	return nil
}

// sweep drops the databases and roles of sessions that are no longer connected.
func (s *session) sweep(ctx context.Context) error {
	const dead = `
		WITH alive AS (SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'pgtest\_%')
		SELECT name, kind FROM (
			SELECT datname::text AS name, 'DATABASE' AS kind FROM pg_database
			UNION ALL SELECT rolname::text, 'ROLE' FROM pg_roles) AS things
		WHERE name ~ '^pgtest_[0-9a-f]{12}_[0-9]+$' AND left(name, 19) NOT IN (SELECT application_name FROM alive)
		ORDER BY kind, name`
	rows, err := s.conn.Query(ctx, dead)
	if err != nil {
		return fmt.Errorf("pgtest: look for databases of dead runs: %w", err)
	}
	type thing struct{ Name, Kind string }
	things, err := pgx.CollectRows(rows, pgx.RowToStructByPos[thing])
	if err != nil {
		return fmt.Errorf("pgtest: look for databases of dead runs: %w", err)
	}
	for _, t := range things {
		force := ""
		if t.Kind == "DATABASE" {
			force = " WITH (FORCE)"
		}
		// Another process may sweep at the same moment, and a role may still own
		// something in a database of the user's: neither is this test's concern.
		_, err := s.conn.Exec(ctx, "DROP "+t.Kind+" IF EXISTS "+quoteName(t.Name)+force)
		var server *pgconn.PgError
		if err != nil && !errors.As(err, &server) {
			return fmt.Errorf("pgtest: drop %s of a dead run: %w", t.Name, err)
		}
	}
	return nil
}

// exec runs one statement on the session's connection.
func (s *session) exec(ctx context.Context, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return err
	}
	_, err := s.conn.Exec(ctx, sql)
	return err
}

// newName returns a name for a database or role that nobody else has.
func (s *session) newName(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return "", err
	}
	s.counter++
	return fmt.Sprintf("%s%s_%d", namePrefix, s.id, s.counter), nil
}

// createDatabase makes a database from a template and returns its name.
func (s *session) createDatabase(ctx context.Context, template string) (string, error) {
	name, err := s.newName(ctx)
	if err != nil {
		return "", err
	}
	if err := s.exec(ctx, "CREATE DATABASE "+quoteName(name)+" TEMPLATE "+quoteName(template)); err != nil {
		return "", fmt.Errorf("pgtest: create a database: %w", err)
	}
	return name, nil
}

func (s *session) dropDatabase(ctx context.Context, name string) error {
	if err := s.exec(ctx, "DROP DATABASE IF EXISTS "+quoteName(name)+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("pgtest: drop a database: %w", err)
	}
	return nil
}

// close disconnects and stops a private server. The session can be used again.
func (s *session) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		errs = append(errs, s.conn.Close(ctx))
	}
	if s.server != nil {
		errs = append(errs, s.server.Close())
	}
	s.conn, s.server, s.url, s.err = nil, nil, "", nil
	s.templates.Clear()
	return errors.Join(errs...)
}

// withDatabase returns the server URL with another database name.
func withDatabase(serverURL, name string) (string, error) {
	u, err := url.Parse(serverURL)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		// Not the error of url.Parse: it repeats the URL and its password.
		return "", errors.New("not a URL of the form postgres://user:password@host:port/database")
	}
	u.Path = "/" + name
	query := u.Query()
	query.Del("dbname")
	query.Del("database")
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// quoteName makes an SQL identifier of any name.
func quoteName(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
