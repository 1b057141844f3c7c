//go:build unix && !linux

package sandbox

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	canNamespace = false
	canAwait     = false
)

// self is this program.
func self() (string, error) { return os.Executable() }

// attributes are those of a child: a process group of its own, to be killed as one.
func attributes(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit cannot be had here: what a child wrote last has to do.
func awaitExit(int, time.Duration) bool { return false }

// confine has nothing to add to limit here.
func confine() {}

// limit bounds this process for good.
func limit(_ int64, prepare bool) error {
	if err := lower(unix.RLIMIT_CORE, 0); err != nil {
		return err
	}
	if prepare {
		return nil
	}
	return lower(unix.RLIMIT_FSIZE, 0)
}

// watchParent ends this process soon after its parent, also while it is at work.
func watchParent() {
	parent := os.Getppid()
	go func() {
		for range time.Tick(time.Second) {
			if os.Getppid() != parent {
				os.Exit(0)
			}
		}
	}()
}
