package pgtest_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

func replicate(t *testing.T, server *pgtest.Server, opts pgtest.Options) *pgtest.Replica {
	t.Helper()
	replica, err := server.Replica(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := replica.Close(); err != nil {
			t.Error(err)
		}
	})
	return replica
}

func TestReplica(t *testing.T) {
	t.Parallel()
	server := start(t, pgtest.Options{Settings: map[string]string{"max_connections": "23"}})
	exec(t, server.URL(), "CREATE TABLE notes (id int); INSERT INTO notes VALUES (1)")
	replica := replicate(t, server, pgtest.Options{Settings: map[string]string{"work_mem": "5MB"}})
	rows := func(url string) int { return scan[int](t, url, "SELECT count(*) FROM notes") }
	write := func(url string) error {
		_, err := connect(t, url).Exec(t.Context(), "INSERT INTO notes VALUES (2)")
		return err
	}
	do := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	if n := rows(replica.URL()); n != 1 {
		t.Errorf("a new replica has %d rows, want 1", n)
	}
	for setting, want := range map[string]string{"max_connections": "23", "work_mem": "5MB"} {
		if got := scan[string](t, replica.URL(), "SELECT current_setting($1)", setting); got != want {
			t.Errorf("%s of the replica = %s, want %s", setting, got, want)
		}
	}
	var refused *pgconn.PgError
	if err := write(replica.URL()); !errors.As(err, &refused) || refused.Code != "25006" {
		t.Errorf("a write to the replica: %v, want SQLSTATE 25006", err)
	}

	do("stop", replica.Stop())
	if _, err := pgx.Connect(t.Context(), replica.URL()); err == nil {
		t.Error("a stopped replica answers")
	}
	do("write", write(server.URL()))
	exec(t, server.URL(), "SELECT pg_switch_wal(); CHECKPOINT") // what the replica missed must survive this
	do("resume", replica.Resume(t.Context()))
	do("catch up", replica.CatchUp(t.Context()))
	if n := rows(replica.URL()); n != 2 {
		t.Errorf("after it was resumed the replica has %d rows, want 2", n)
	}

	do("pause", replica.PauseReplay(t.Context()))
	do("write", write(server.URL()))
	if n := rows(replica.URL()); n != 2 {
		t.Errorf("a paused replica has %d rows, want 2", n)
	}
	do("go on", replica.ResumeReplay(t.Context()))
	do("catch up", replica.CatchUp(t.Context()))
	if n := rows(replica.URL()); n != 3 {
		t.Errorf("after the pause the replica has %d rows, want 3", n)
	}

	do("crash", server.Crash())
	do("promote", replica.Promote(t.Context()))
	do("write to the promoted replica", write(replica.URL()))
	if n := rows(replica.URL()); n != 4 {
		t.Errorf("the promoted replica has %d rows, want 4", n)
	}
}
