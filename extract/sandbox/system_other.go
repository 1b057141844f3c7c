//go:build !unix

package sandbox

import (
	"os"
	"syscall"
	"time"
)

const (
	canNamespace = false
	canAwait     = false

	// root is the working folder of a child: the parent's.
	root = ""
)

// self is this program.
func self() (string, error) { return os.Executable() }

// attributes are those of a child: none.
func attributes(bool) *syscall.SysProcAttr { return nil }

// killGroup kills a child.
func killGroup(p *os.Process) { _ = p.Kill() }

// killed cannot be told here.
func killed(*os.ProcessState) bool { return false }

// awaitExit cannot be had here: what a child wrote last has to do.
func awaitExit(int, time.Duration) bool { return false }

// confine has nothing to do here.
func confine() {}

// limit has nothing to do here: the parent's clock and Go's own limit of memory hold.
func limit(int64, bool) error { return nil }

// limitCPU has nothing to do here.
func limitCPU(int) error { return nil }

// dropWhenFull has nothing to do here.
func dropWhenFull(*os.File) {}

// watchParent has nothing to do: a child ends when its input is closed, after the file it is at.
func watchParent() {}
