//go:build unix

package pgtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// superviseScript runs a server for as long as its standard input is open. It
// is a shell and not a goroutine because it must outlive the test process by a
// moment, whatever that one dies of.
//
//	$1    folder of the server
//	$2    "remove" or "keep" that folder at the end
//	$3    signal that stops the server at the end
//	$4    run once, before the first start; may be empty
//	$5…   the server's command line
//
// Commands, one a line: start, check (does it still run?), or the name of a
// signal, which stops the server. Each is answered by "ok" or "failed", one a
// line. In check it is jobs that reaps a server that has ended.
const superviseScript = `
dir=$1 keep=$2 last=$3 setup=$4
shift 4
trap '' HUP INT TERM
pid=
halt() {
	[ -n "$pid" ] || return 0
	kill -"$1" "$pid" 2>/dev/null
	wait "$pid"
	pid=
}
if [ -n "$setup" ] && ! sh -c "$setup" >"$dir/log" 2>&1 </dev/null; then
	echo failed
	cat >/dev/null
else
	echo ok
fi
while read -r command; do
	case $command in
	start) "$@" >>"$dir/log" 2>&1 </dev/null & pid=$! ;;
	check) jobs >/dev/null; kill -0 "$pid" 2>/dev/null || { echo failed; continue; } ;;
	*) halt "$command" ;;
	esac
	echo ok
done
halt "$last"
[ "$keep" = keep ] || rm -rf "$dir"
`

// supervisor is a running superviseScript.
type supervisor struct {
	cmd     *exec.Cmd
	stdin   *os.File
	stdout  *os.File
	replies *bufio.Reader
}

// account is the user a server runs as.
type account struct {
	credential *syscall.Credential // nil: the user we are
	name       string
}

// serverAccount chooses the user: PostgreSQL and PgBouncer refuse root, so root
// hands over to user postgres, or to nobody.
func serverAccount() (account, error) {
	if os.Getuid() != 0 {
		return account{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(uerr, gerr); err != nil {
			return account{}, fmt.Errorf("pgtest: user %s: %w", name, err)
		}
		return account{&syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, name}, nil
	}
	return account{}, errors.New("pgtest: running as root, and there is neither a user postgres nor a user nobody to run the server as")
}

// newServerDir makes a private folder for a server of the given account: its
// path is short enough for a socket, and every parent can be passed by the
// account. It is in memory, where there is room, unless the server is durable
// or TMPDIR says where: a database is hundreds of files, and to make one and
// drop it takes several times as long on a disk.
func newServerDir(acct account, durable bool) (string, error) {
	bases := []string{os.TempDir(), "/tmp", "/var/tmp"}
	if !durable && os.Getenv("TMPDIR") == "" && roomy(memoryDir) {
		bases = slices.Insert(bases, 0, memoryDir)
	}
	var reasons []error
	for _, base := range bases {
		if err := usableBase(base, acct); err != nil {
			reasons = append(reasons, err)
			continue
		}
		dir, err := os.MkdirTemp(base, "pgtest-")
		if err != nil {
			reasons = append(reasons, err)
			continue
		}
		if err := giveTo(dir, acct); err != nil {
			return "", errors.Join(err, os.Remove(dir))
		}
		return dir, nil
	}
	return "", fmt.Errorf("pgtest: no folder for the server: %w", errors.Join(reasons...))
}

// usableBase reports why base cannot hold a server's folder, nil if it can.
func usableBase(base string, acct account) error {
	if len(base)+len("/pgtest-0123456789/.s.PGSQL.5432") > maxSocketPath {
		return fmt.Errorf("%s: the path is too long for a Unix socket", base)
	}
	if acct.credential == nil {
		return nil
	}
	for dir := filepath.Clean(base); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode()&0o001 == 0 {
			return fmt.Errorf("%s: user %s may not pass", dir, acct.name)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// giveTo hands a file or folder that we made to the account.
func giveTo(path string, acct account) error {
	if acct.credential == nil {
		return nil
	}
	return os.Chown(path, int(acct.credential.Uid), int(acct.credential.Gid))
}

// supervise starts the script for a server; the server itself is started by
// (*supervisor).do("start").
func supervise(acct account, sv service) (*supervisor, error) {
	keep := "remove"
	if sv.keep {
		keep = "keep"
	}
	childIn, stdin, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	defer childIn.Close()
	stdout, childOut, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pgtest: %w", errors.Join(err, stdin.Close()))
	}
	defer childOut.Close()

	cmd := exec.Command("/bin/sh", append([]string{"-c", superviseScript, "pgtest-supervisor", sv.dir, keep, sv.signal, sv.setup}, sv.command...)...)
	cmd.Dir = sv.dir
	cmd.Env = append(serverEnv(sv.dir), sv.env...)
	// Files, not writers: no goroutine of os/exec runs for the server's life,
	// which leak detectors would report, and go test does not wait for a child
	// that holds its standard output.
	cmd.Stdin, cmd.Stdout = childIn, childOut
	// A session of its own: Ctrl-C in the terminal reaches the tests first, and
	// the supervisor ends the server when they have gone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: acct.credential}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("pgtest: start the server's supervisor: %w", errors.Join(err, stdin.Close(), stdout.Close()))
	}
	s := &supervisor{cmd: cmd, stdin: stdin, stdout: stdout, replies: bufio.NewReader(stdout)}
	if err := s.reply(); err != nil {
		return nil, errors.Join(sv.explain(err), s.close())
	}
	return s, nil
}

// serverEnv is our environment without what would lead a server astray: the
// variables of libpq and of the server, and locales that may not exist.
func serverEnv(dir string) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "PG") || strings.HasPrefix(name, "LC_") || name == "LANG" || name == "LANGUAGE" || name == "HOME" {
			continue
		}
		env = append(env, kv)
	}
	return append(env, "LC_ALL=C", "HOME="+dir)
}

// do sends one command and waits for its answer.
func (s *supervisor) do(command string) error {
	if _, err := fmt.Fprintln(s.stdin, command); err != nil {
		return fmt.Errorf("pgtest: the server's supervisor is gone: %w", err)
	}
	return s.reply()
}

func (s *supervisor) reply() error {
	// A set-up takes a second; two minutes are for a machine on its knees.
	if err := s.stdout.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	line, err := s.replies.ReadString('\n')
	switch {
	case err != nil:
		return fmt.Errorf("pgtest: the server's supervisor does not answer: %w", err)
	case line != "ok\n":
		return errServerFailed
	}
	return nil
}

// close ends the server and waits until it and its folder are gone.
func (s *supervisor) close() error {
	errs := []error{s.stdin.Close()}
	if err := s.stdout.SetReadDeadline(time.Now().Add(closeTimeout)); err != nil {
		errs = append(errs, err)
	}
	// The supervisor has ended when nobody holds its standard output.
	if _, err := io.Copy(io.Discard, s.stdout); err != nil {
		errs = append(errs, fmt.Errorf("the server does not stop: %w", err), syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL))
	}
	return errors.Join(append(errs, s.stdout.Close(), s.cmd.Wait())...)
}
