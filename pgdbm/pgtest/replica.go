package pgtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// Replica is a streaming replica of a private server: a second cluster that
// repeats what is written to the first, and answers reads. It has the methods of
// a server, so it may be stopped, crashed and resumed; what it missed meanwhile
// the primary keeps for it. Like the server it ends with the process.
type Replica struct {
	*Server
	primary *Server
}

// Replica makes a replica of the server and waits until it answers with all that
// was committed before. The server must be running. Settings are those of the
// server, with opts.Settings on top: for example {"max_standby_streaming_delay":
// "0"} ends a read at once that stands in the way of replication.
//
// pg_basebackup must be installed beside the server; PostgreSQL's packages bring
// it along.
func (s *Server) Replica(ctx context.Context, opts Options) (*Replica, error) {
	backup := filepath.Join(s.bin, "pg_basebackup")
	if !executable(backup) {
		return nil, fmt.Errorf("pgtest: no pg_basebackup in %s: install PostgreSQL's client programs", s.bin)
	}
	settings := maps.Clone(s.options.Settings)
	if settings == nil {
		settings = map[string]string{}
	}
	maps.Copy(settings, opts.Settings)
	opts.Settings = settings
	// The slot makes the primary keep what the replica has not got yet.
	slot := "pgtest_replica_" + strconv.FormatInt(time.Now().UnixNano(), 36)
	script := fmt.Sprintf(`%s -D "$data.new" -d %s -R -C -S %s -c fast --no-sync`, quoteShell(backup), quoteShell(s.url), slot)
	r := &Replica{Server: &Server{bin: s.bin, options: opts}, primary: s}
	r.ready = func(ctx context.Context) error { return execOn(ctx, r.url) }
	if err := r.launch(ctx, script); err != nil {
		return nil, err
	}
	if err := r.CatchUp(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// CatchUp waits until the replica answers with all that the primary had
// committed when it was called.
func (r *Replica) CatchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	// A commit that waits for the disk takes with it those before that did not.
	err := execOn(ctx, r.primary.url, "SET synchronous_commit = local", "SELECT pg_logical_emit_message(true, 'pgtest', '')")
	var written string
	if err == nil {
		err = ask(ctx, r.primary.url, &written, "SELECT pg_current_wal_flush_lsn()::text")
	}
	if err != nil {
		return fmt.Errorf("pgtest: how far is the primary? %w", err)
	}
	for {
		var there bool
		err := ask(ctx, r.url, &there, "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)", written)
		if there {
			return nil
		}
		select {
		case <-ctx.Done():
			return r.service.explain(fmt.Errorf("pgtest: the replica does not catch up: %w", errors.Join(ctx.Err(), err)))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// PauseReplay makes the replica lag: it goes on receiving, but what it answers
// stays as it is, until ResumeReplay.
func (r *Replica) PauseReplay(ctx context.Context) error {
	if err := execOn(ctx, r.url, "SELECT pg_wal_replay_pause()"); err != nil {
		return err
	}
	for {
		var state string
		err := ask(ctx, r.url, &state, "SELECT pg_get_wal_replay_pause_state()")
		if err != nil || state == "paused" {
			return err
		}
		// The request is seen with the next record, or when the wait for one ends.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// ResumeReplay ends PauseReplay.
func (r *Replica) ResumeReplay(ctx context.Context) error {
	return execOn(ctx, r.url, "SELECT pg_wal_replay_resume()")
}

// Promote makes a primary of the replica and waits until it takes writes. The
// old one is not told.
func (r *Replica) Promote(ctx context.Context) error {
	var ok bool
	if err := ask(ctx, r.url, &ok, "SELECT pg_promote(true, 60)"); err != nil {
		return err
	}
	if !ok {
		return r.service.explain(errors.New("pgtest: the replica was not promoted in time"))
	}
	return nil
}

// ask reads one value on a connection of its own.
func ask(ctx context.Context, databaseURL string, into any, sql string, args ...any) (err error) {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	return conn.QueryRow(ctx, sql, args...).Scan(into)
}
