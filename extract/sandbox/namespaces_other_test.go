//go:build unix && !linux

package sandbox_test

import "syscall"

func namespaces() *syscall.SysProcAttr { return nil }
