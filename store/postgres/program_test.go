package postgres_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
)

// program is this test binary as a program of its own: a process that can be killed.
type program struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended func() error // waits for the end
}

// startProgram starts the program that TestMain knows by a variable of the environment, and gives it its task. heard gets the lines
// that it prints, one after the other.
func startProgram(t testing.TB, name string, task any, heard func(line string)) *program {
	t.Helper()
	raw, err := json.Marshal(task)
	must(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), name+"="+string(raw), "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	p := &program{cmd: cmd}
	p.stdin, err = cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	p.ended = sync.OnceValue(func() error {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			heard(lines.Text())
		}
		return cmd.Wait()
	})
	go p.ended() //nolint:errcheck // whoever asks is told
	t.Cleanup(func() { p.kill() })
	return p
}

// kill ends the program at once, whatever it is at, and waits for its end. It tells whether it was this that ended it.
func (p *program) kill() bool {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	return killed(p.ended())
}

// killed tells whether a program ended by signal 9.
func killed(err error) bool {
	exit, ok := err.(*exec.ExitError)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// runProgram is the frame of a program: it reads its task, and says on standard error why it fails.
func runProgram[T any](task string, run func(T) error) (exit int) {
	var t T
	err := json.Unmarshal([]byte(task), &t)
	if err == nil {
		err = run(t)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "program %T: %v\n", t, err)
		return 1
	}
	return 0
}
