package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// skewed starts a server whose clock is off. (The clock of a Go program cannot be: its runtime reads the time by itself.)
func skewed(t *testing.T, off string) *pgtest.Server {
	t.Helper()
	libraries, err := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	must(t, err)
	if len(libraries) == 0 {
		t.Fatal("libfaketime is missing: run scripts/setup.sh test")
	}
	server, err := pgtest.Start(t.Context(), pgtest.Options{Env: []string{
		"LD_PRELOAD=" + libraries[0], "FAKETIME=" + off, "FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_DONT_RESET=1",
	}})
	must(t, err)
	t.Cleanup(func() { must(t, server.Close()) })
	return server
}

// TestClocks has the clock of the server two hours before ours, and two hours behind it: leases hold and end, passages rest and are
// tried again as if the clocks were one. Two workers whose clocks differ meet only in what the server's clock says.
func TestClocks(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			server := skewed(t, fmt.Sprintf("%+ds", int(off.Seconds())))
			var fault error
			e := embedtest.New(embedtest.Config{Model: fireModel, Dimensions: fireDimensions, Fail: func(context.Context, embedtest.Call) error { return fault }})
			must(t, migrate(ctx, server.URL()))
			store, mem, err := openFire(ctx, server.URL(), e)
			must(t, err)
			defer store.Close()
			now := func() (at time.Time) {
				must(t, store.DB().QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&at))
				return at
			}
			if skew := time.Until(now()); math.Abs(float64(skew-off)) > float64(time.Minute) {
				t.Fatalf("the server's clock is off by %s, want %s", skew, off)
			}
			_, err = mem.EmbedQueue(ctx, nil)
			must(t, err)
			o, g := mem.Owner("o"), theGeneration(t, mem)

			// A lease holds as long as it is to, and no longer.
			_, err = o.Add(ctx, llmemory.Document{Key: "leased", Language: "en", Embed: llmemory.EmbedLater, Content: verse(5, "alpha leased%d")})
			must(t, err)
			claim := func(n int) int {
				t.Helper()
				jobs, err := store.Claim(ctx, llmemory.ClaimParams{
					Generation: g.ID, Token: fmt.Sprintf("00000000-0000-4000-8000-%012d", n), Lease: fireLease, Limit: 100,
				})
				must(t, err)
				return len(jobs)
			}
			before := now()
			if n := claim(1); n != 5 {
				t.Fatalf("claimed %d of 5", n)
			}
			again := 0
			for deadline := time.Now().Add(time.Minute); again == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
				again = claim(2)
			}
			if held := now().Sub(before); again != 5 || held < fireLease {
				t.Errorf("%d of 5 were due again, after %s, want %s", again, held, fireLease)
			}
			drain(t, mem, g.ID)

			// What fails rests for some seconds.
			fault = &embedding.Error{Kind: embedding.Unavailable, Provider: "test", Status: 503}
			before = now()
			added, err := o.Add(ctx, llmemory.Document{Key: "rests", Language: "en", Content: verse(5, "alpha rests%d")})
			if err != nil || added.Pending != 5 {
				t.Fatalf("added: %+v, %v", added, err)
			}
			after := now()
			if d, err := o.Get(ctx, added.DocumentID); err != nil || d.CreatedAt.Before(before.Truncate(time.Microsecond)) || d.CreatedAt.After(after) {
				t.Errorf("created at %v, not between %s and %s (%v)", d, before, after, err)
			}
			q, err := o.Queue(ctx, 10)
			must(t, err)
			for _, f := range q.Failures {
				if f.Due.Before(before.Add(7*time.Second)) || f.Due.After(after.Add(23*time.Second)) {
					t.Errorf("what failed at %s rests until %s", before, f.Due)
				}
			}
			if len(q.Failures) != 5 || q.Oldest.Before(before) || q.Oldest.After(after) {
				t.Errorf("the queue: %+v", q)
			}

			// And a worker finds it then.
			fault = nil
			_, err = store.DB().Exec(ctx, `UPDATE {{tables.embedding_queue}} SET due_at = clock_timestamp() + interval '1 second'`)
			must(t, err)
			before = now()
			running, stop := context.WithCancel(ctx)
			ended := make(chan error, 1)
			go func() { ended <- mem.Run(running) }()
			for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
				n, err := checkVectors(ctx, store.DB(), g)
				must(t, err)
				if n == 10 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("%d of 10 passages have a vector", n)
				}
			}
			if rested := now().Sub(before); rested < time.Second/2 {
				t.Errorf("a worker took what rests after %s", rested)
			}
			stop()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
		})
	}
}
