// Command pgrun runs a command beside a private PostgreSQL server:
//
//	pgrun [-dir DIR] COMMAND [ARGUMENT…]
//
// The server's URL is in PGTEST_URL and in LLMEMORY_DB. With PGTEST_URL already
// set, and no -dir, the command simply runs with the server named there. When
// the command ends, or pgrun is interrupted or killed, the server is stopped;
// its data are removed unless -dir keeps them, synced to disk, for the next
// time. The exit code is the command's own, and 1 if the server fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

func main() {
	dir := flag.String("dir", "", "keep the server's data, synced to disk, in this folder")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: pgrun [-dir DIR] COMMAND [ARGUMENT…]")
		os.Exit(2)
	}
	code, err := run(pgtest.Options{Dir: *dir, Durable: *dir != ""}, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgrun:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run returns the exit code of the command.
func run(opts pgtest.Options, command []string) (code int, err error) {
	// A signal of the terminal reaches the command too. We wait for its end, so
	// that the server outlives it.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)

	url := os.Getenv("PGTEST_URL")
	if url == "" || opts.Dir != "" {
		server, startErr := pgtest.Start(context.Background(), opts)
		if startErr != nil {
			return 1, startErr
		}
		defer func() { err = errors.Join(err, server.Close()) }()
		url = server.URL()
	}

	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "PGTEST_URL="+url, "LLMEMORY_DB="+url)
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if s != os.Interrupt {
				// Sent to us alone; an error means that the command has ended.
				_ = cmd.Process.Signal(s)
			}
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return 1, err
			}
			code := cmd.ProcessState.ExitCode()
			if code < 0 { // ended by a signal
				code = 1
			}
			return code, nil
		}
	}
}
