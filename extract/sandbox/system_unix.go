//go:build unix

package sandbox

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// root is the working folder of a child, so that it keeps none in use.
const root = "/"

// killGroup kills a child and what it started.
func killGroup(p *os.Process) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
	_ = p.Kill()
}

// killed tells whether a process was ended by SIGKILL.
func killed(s *os.ProcessState) bool {
	ws, ok := s.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// dropWhenFull makes writes to f fail rather than wait when nobody reads it.
func dropWhenFull(f *os.File) { _ = unix.SetNonblock(int(f.Fd()), true) }

// limitCPU lets this process use so many more seconds of processor time; then the system ends it.
func limitCPU(seconds int) error {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		return err
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CPU, &l); err != nil {
		return err
	}
	soft := uint64(used.Utime.Sec) + uint64(used.Stime.Sec) + uint64(seconds) + 1
	l.Cur = setLimit(l.Cur, min(soft, uint64(l.Max)))
	return unix.Setrlimit(unix.RLIMIT_CPU, &l)
}

// lower sets a limit of this process, which it cannot raise again.
func lower(resource int, value uint64) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(resource, &l); err != nil {
		return fmt.Errorf("read limit %d: %w", resource, err)
	}
	value = min(value, uint64(l.Max))
	l.Cur, l.Max = setLimit(l.Cur, value), setLimit(l.Max, value)
	if err := unix.Setrlimit(resource, &l); err != nil {
		return fmt.Errorf("set limit %d: %w", resource, err)
	}
	return nil
}

// setLimit is value in the type of a limit, which is signed on some systems.
func setLimit[T int64 | uint64](_ T, value uint64) T { return T(value) }
