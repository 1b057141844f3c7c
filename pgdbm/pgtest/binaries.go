package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// errNoServer tells what to install; the test that needed it fails with this.
var errNoServer = errors.New("pgtest: no PostgreSQL server found (initdb and postgres, looked for in pg_config --bindir, " +
	"/usr/lib/postgresql/*/bin and PATH): install one, for example `apt-get install postgresql`, " +
	"or name a running server in PGTEST_URL")

// bindir returns the folder of the newest PostgreSQL that has all of the given
// programs.
func bindir(programs ...string) (string, error) {
	best, bestVersion := "", -1
	for _, dir := range candidates() {
		if !slices.ContainsFunc(programs, func(p string) bool { return !executable(filepath.Join(dir, p)) }) {
			if v := majorVersion(dir); v > bestVersion {
				best, bestVersion = dir, v
			}
		}
	}
	if best == "" {
		return "", errNoServer
	}
	return best, nil
}

// candidates lists the folders that may hold server programs. Debian keeps them
// out of PATH, one folder a version; Homebrew and source builds have their own.
func candidates() []string {
	var dirs []string
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin",
		"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue // only a malformed pattern, and these are constants
		}
		dirs = append(dirs, found...)
	}
	return append(dirs, filepath.SplitList(os.Getenv("PATH"))...)
}

// majorVersion asks the server program of dir for its version; -1 if it cannot
// be told.
func majorVersion(dir string) int {
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return -1
	}
	// "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "… 19devel"
	_, rest, _ := strings.Cut(string(out), ") ")
	digits := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		return -1
	}
	v, err := strconv.Atoi(rest[:digits])
	if err != nil {
		return -1
	}
	return v
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// program returns the path of a PostgreSQL client program or of a program that
// is installed on its own, such as pgbouncer.
func program(name string) (string, error) {
	dirs := append(candidates(), "/usr/sbin", "/usr/local/sbin")
	for _, dir := range dirs {
		if path := filepath.Join(dir, name); executable(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("pgtest: %s not found: install it, for example with `apt-get install %s`", name, name)
}
