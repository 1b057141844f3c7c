// Command llmemory keeps documents in a database and searches them. See "llmemory help".
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/llmemory/llmemory/extract/sandbox"
	"github.com/llmemory/llmemory/internal/cli"
)

func main() {
	sandbox.Main() // a child, in which a file is parsed, goes no further
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(1280 << 20) // rather than let it grow to twice what the largest documents need
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}
