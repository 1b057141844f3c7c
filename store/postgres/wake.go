package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/sqlfile"
)

var _ llmemory.Waker = (*Store)(nil)

// channel is where jobs are told of. Channels belong to a database, so the name tells the schema; it may have 63 bytes.
func (s *Store) channel() string {
	const prefix = "llmemory:"
	if name := prefix + s.db.SchemaName(); len(name) <= 63 {
		return name
	}
	sum := sha256.Sum256([]byte(s.db.SchemaName()))
	return prefix + hex.EncodeToString(sum[:16])
}

// wakeChannel is the channel if it is time to tell workers, "" if not.
func (s *Store) wakeChannel() string {
	if !s.shared.wake() {
		return ""
	}
	return s.channel()
}

// Wake implements [llmemory.Waker]. It listens on a connection of its own, beside the pool. Behind a transaction pooler there is
// nothing to hear: then the channel only ends.
func (s *Store) Wake(ctx context.Context) <-chan struct{} {
	out := make(chan struct{}, 1)
	go func() {
		defer close(out)
		pause := time.Second
		for !s.joined && s.check() == nil {
			heard, retry := s.listen(ctx, out)
			if heard {
				pause = time.Second
			}
			if !retry {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, time.Minute)
		}
		<-ctx.Done()
	}()
	return out
}

// listen passes on what it hears until the connection is lost or ctx ends. It tells whether it came to listen at all, and whether
// to try again.
func (s *Store) listen(ctx context.Context, out chan<- struct{}) (heard, retry bool) {
	conn, err := s.db.Pool().Dial(ctx, map[string]string{"application_name": "llmemory wake"})
	if err != nil {
		return false, true
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	var backend uint32
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()::bigint").Scan(&backend); err != nil {
		return false, true
	}
	if backend != conn.PgConn().PID() {
		return false, false // a pooler is in between: the server's connection is anybody's
	}
	if _, err := conn.Exec(ctx, "LISTEN "+sqlfile.Quote(s.channel())); err != nil {
		return false, true
	}
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return true, true
		}
		select {
		case out <- struct{}{}:
		default:
		}
	}
}
