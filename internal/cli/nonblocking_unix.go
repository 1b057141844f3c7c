//go:build unix

package cli

import "syscall"

// nonBlocking keeps the opening of a file from waiting: what was a regular file a moment ago may have become a pipe, which nobody
// may ever write to. It changes nothing for regular files.
const nonBlocking = syscall.O_NONBLOCK
