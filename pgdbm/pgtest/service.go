package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// maxSocketPath is the longest path of a Unix socket: sun_path of Linux holds
// 108 bytes with the closing NUL (104 on the BSDs, which is what we obey).
const maxSocketPath = 103

// closeTimeout bounds the wait for a server that is told to stop; one that
// takes longer is killed, and the test told of it.
const closeTimeout = 30 * time.Second

// startTimeout bounds the wait for a server to answer; it is generous, as the
// machine may be busy with many tests.
const startTimeout = time.Minute

var errServerFailed = errors.New("pgtest: the server failed")

// service says how a server is run by its supervisor.
type service struct {
	dir     string   // private folder; its file log takes the output
	keep    bool     // the folder outlives the supervisor
	signal  string   // stops the server at the end
	setup   string   // shell commands run once, before the first start
	command []string // program and arguments
	env     []string // further variables of the environment
}

// explain adds the end of the service's log to an error.
func (sv service) explain(err error) error {
	return fmt.Errorf("%w; its log ends:\n%s", err, tail(filepath.Join(sv.dir, "log")))
}

// start starts the service and waits until ready says nil.
func (sv service) start(ctx context.Context, super *supervisor, ready func(context.Context) error) error {
	if err := super.do("start"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		if dead := super.do("check"); dead != nil {
			return sv.explain(dead)
		}
		select {
		case <-ctx.Done():
			return sv.explain(fmt.Errorf("pgtest: the server does not answer: %w", err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tail returns the end of a server's log for an error message.
func tail(path string) string {
	const most = 4096
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if len(data) > most {
		data = append([]byte("…"), data[len(data)-most:]...)
	}
	return strings.TrimSpace(string(data))
}
