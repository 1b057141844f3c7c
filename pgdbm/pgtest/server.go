package pgtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// passwordGroup is the role whose members must log in with a password on a
// server made by Start; everybody else is trusted.
const passwordGroup = "pgtest_password"

// Options of a private server. The zero value is what most tests want.
type Options struct {
	// Durable keeps fsync, full_page_writes and synchronous_commit on, for
	// tests that crash the server or measure commits. Default: off.
	Durable bool

	// Dir keeps the cluster in this folder, to be used again by the next
	// Start; it is made if missing. Its absolute path must be short enough for
	// a Unix socket (about 85 bytes) and belong to the user the server runs as
	// (as root: postgres or nobody, to whom a new folder is given). Only one
	// server at a time can run on it. Default: a temporary folder, removed by
	// Close or when the process ends.
	Dir string

	// Settings are further server settings, for example
	// {"max_connections": "20"}.
	Settings map[string]string

	// Env are further variables of the server's environment, for example
	// "TZ=Asia/Tokyo".
	Env []string
}

// Server is a private PostgreSQL server. It is stopped when the process that
// started it ends, if not earlier by Close. Its methods must not be called at
// the same time.
type Server struct {
	super   *supervisor
	service service
	url     string
	bin     string // folder of the server's programs
	options Options
	ready   func(context.Context) error // says nil once the server can be used
}

// Start makes a private cluster and starts a server on it, on a Unix socket in
// a private folder. Most tests need no more than [URL], which starts one server
// per process by itself.
func Start(ctx context.Context, opts Options) (*Server, error) {
	bin, err := bindir("initdb", "postgres")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, options: opts}
	s.ready = s.makeGroup
	if err := s.launch(ctx, initScript(bin)); err != nil {
		return nil, err
	}
	return s, nil
}

// launch starts the server for the first time, on the cluster that script makes
// if the folder has none.
func (s *Server) launch(ctx context.Context, script string) error {
	acct, err := serverAccount()
	if err != nil {
		return err
	}
	dir := s.options.Dir
	if dir == "" {
		dir, err = newServerDir(acct, s.options.Durable)
	} else {
		dir, err = openServerDir(dir, acct)
	}
	if err != nil {
		return err
	}

	data := filepath.Join(dir, "data")
	command := []string{filepath.Join(s.bin, "postgres"), "-D", data}
	settings := serverSettings(s.options, dir)
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		command = append(command, "-c", name+"="+settings[name])
	}
	s.service = service{dir: dir, keep: s.options.Dir != "", signal: "QUIT", setup: setupScript(data, script), command: command, env: s.options.Env}
	if s.service.keep {
		s.service.signal = "INT" // what is kept deserves an orderly end
	}
	if s.super, err = supervise(acct, s.service); err != nil {
		return err
	}
	s.url = (&url.URL{
		Scheme: "postgres", User: url.User("postgres"), Path: "/postgres",
		RawQuery: url.Values{"host": {dir}, "port": {"5432"}}.Encode(),
	}).String()
	if err := s.Resume(ctx); err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

// openServerDir prepares a folder that was named by the caller.
func openServerDir(dir string, acct account) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("pgtest: %w", err)
	}
	if len(dir)+len("/.s.PGSQL.5432.lock") > maxSocketPath {
		return "", fmt.Errorf("pgtest: %s: the path is too long for a Unix socket", dir)
	}
	_, err = os.Stat(dir)
	if err == nil {
		return dir, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("pgtest: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("pgtest: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("pgtest: %w", err)
	}
	return dir, giveTo(dir, acct)
}

// setupScript makes the cluster by script if the folder has none. It is made
// under another name first, $data.new, so that one half made is not taken for a
// cluster.
func setupScript(data, script string) string {
	return fmt.Sprintf(`set -e
data=%s
[ ! -e "$data" ] || exit 0
rm -rf "$data.new"
%s
mv "$data.new" "$data"
`, quoteShell(data), script)
}

// initScript makes an empty cluster.
func initScript(bin string) string {
	locale := "C.UTF-8"
	if runtime.GOOS != "linux" {
		locale = "C" // elsewhere C.UTF-8 may be missing
	}
	return fmt.Sprintf(`%s -D "$data.new" -U postgres -A trust -E UTF8 --locale=%s --no-sync --no-instructions
printf '%%s\n' \
	'local all +%s scram-sha-256' 'local all all trust' 'local replication all trust' \
	'host all +%s all scram-sha-256' 'host all all 127.0.0.1/32 trust' 'host all all ::1/128 trust' \
	>"$data.new/pg_hba.conf"`, quoteShell(filepath.Join(bin, "initdb")), locale, passwordGroup, passwordGroup)
}

// quoteShell makes one word of s for sh.
func quoteShell(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func serverSettings(opts Options, dir string) map[string]string {
	s := map[string]string{
		"listen_addresses":        "",
		"port":                    "5432", // no TCP: it only names the socket
		"unix_socket_directories": dir,
		"max_connections":         "300", // several test processes share a server
		"timezone":                "UTC",
		"lc_messages":             "C",
	}
	if !opts.Durable {
		s["fsync"], s["full_page_writes"], s["synchronous_commit"] = "off", "off", "off"
	}
	maps.Copy(s, opts.Settings)
	return s
}

// URL names the server's database postgres, as superuser postgres.
func (s *Server) URL() string { return s.url }

// Dir is the folder that holds the cluster (data), its log (log) and its socket.
func (s *Server) Dir() string { return s.service.dir }

// Crash stops the server at once, as a power loss of the process would:
// connections are cut, nothing is written, and the next start must recover.
func (s *Server) Crash() error { return s.super.do("QUIT") }

// Stop shuts the server down in order; open transactions are rolled back.
func (s *Server) Stop() error { return s.super.do("INT") }

// Resume starts the server after Crash or Stop and waits until it accepts
// connections.
func (s *Server) Resume(ctx context.Context) error {
	return s.service.start(ctx, s.super, s.ready)
}

// makeGroup connects once and makes the role that pg_hba.conf speaks of.
func (s *Server) makeGroup(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `DO $$ BEGIN
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '`+passwordGroup+`') THEN
			CREATE ROLE `+passwordGroup+`;
		END IF; END $$`)
	return errors.Join(err, conn.Close(ctx))
}

// Close stops the server; a temporary cluster is removed.
func (s *Server) Close() error {
	if err := s.super.close(); err != nil {
		return fmt.Errorf("pgtest: stop the server: %w", err)
	}
	return nil
}
