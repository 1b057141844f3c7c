//go:build !unix

package pgtest

import "errors"

// errUnix is the answer on systems where no private server can be started.
var errUnix = errors.New("pgtest: a private server needs a Unix system: name a running server in PGTEST_URL")

type supervisor struct{}

type account struct{ name string }

func serverAccount() (account, error)            { return account{}, errUnix }
func newServerDir(account, bool) (string, error) { return "", errUnix }
func giveTo(string, account) error               { return errUnix }
func (*supervisor) do(string) error              { return errUnix }
func (*supervisor) close() error                 { return nil }

func supervise(account, service) (*supervisor, error) { return nil, errUnix }
