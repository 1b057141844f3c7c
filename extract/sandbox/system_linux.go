package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	canNamespace = true
	canAwait     = true
)

// self is this program, also if its file has been replaced since it started.
func self() (string, error) {
	if _, err := os.Stat("/proc/self/exe"); err == nil {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

// attributes are those of a child: a process group of its own, to be killed as one and to be spared the terminal's signals;
// its end with that of its parent; and, with namespaces, no network and no capability.
func attributes(namespaces bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if namespaces {
		a.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET
	}
	return a
}

// awaitExit waits until a child has ended, without taking note of it, so that its number is still its own; whether it has
// within the time is the result.
func awaitExit(pid int, grace time.Duration) bool {
	for end := time.Now().Add(grace); time.Now().Before(end); time.Sleep(time.Millisecond) {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
		if err == nil && info.Signo != 0 || errors.Is(err, unix.ECHILD) {
			return true
		}
	}
	return false
}

// confine gives up what a child does not need and starts this program again, which makes it hold for all of its threads and
// closes every file but the three pipes. It returns only if that fails; then the process serves as it is.
func confine() {
	runtime.LockOSThread()
	_ = unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	_ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	_ = landlock()
	if exe, err := self(); err == nil {
		_ = syscall.Exec(exe, []string{os.Args[0], argConfined}, []string{})
	}
}

// landlock denies this thread and what it starts to write, make or remove any file, to use TCP, and to signal or to reach the
// abstract sockets of processes outside, as far as the kernel knows how to.
func landlock() error {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return errno
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR |
		unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO |
		unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_MAKE_SYM}
	size := unsafe.Sizeof(attr.Handled_access_fs)
	if version >= 2 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= 3 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= 4 {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size += unsafe.Sizeof(attr.Handled_access_net)
	}
	if version >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
		size += unsafe.Sizeof(attr.Scoped)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(fd)) //nolint:errcheck // about to be gone
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// limit bounds this process for good: what it may add to the memory that it has, and that it leaves no file behind.
func limit(memory int64, prepare bool) error {
	data, err := dataSize()
	if err != nil {
		return err
	}
	if err := lower(unix.RLIMIT_CORE, 0); err != nil {
		return err
	}
	if err := lower(unix.RLIMIT_NOFILE, 64); err != nil {
		return err
	}
	if !prepare {
		if err := lower(unix.RLIMIT_FSIZE, 0); err != nil {
			return err
		}
	}
	return lower(unix.RLIMIT_DATA, uint64(data+memory*dataFactor))
}

// dataSize is how much memory of the kind that RLIMIT_DATA counts this process has.
func dataSize() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmData:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no VmData in /proc/self/status")
}

// watchParent has nothing to do: the system ends a child with its parent.
func watchParent() {}
