package postgres_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/pgproxy"
	"github.com/llmemory/llmemory/internal/soak"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

// starterTask is the environment variable that makes this test binary a process that starts up, and says how.
const starterTask = "LLMEMORY_TEST_STARTER"

type start struct {
	URL    string
	Schema string // "" for the default
	Adds   bool   // else it searches
	Number int
}

// starter says that it is ready, waits for standard input to end, opens a store and uses it.
func starter(task string) int {
	err := func() error {
		var s start
		if err := json.Unmarshal([]byte(task), &s); err != nil {
			return err
		}
		fmt.Println("ready")
		if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		store, err := postgres.Open(ctx, s.URL, &postgres.Options{Schema: s.Schema, Pool: pgdbm.Config{MaxConns: 2}})
		if err != nil {
			return err
		}
		defer store.Close()
		// Without the tokenizer and the detection of languages, which take more time than all the rest.
		mem, err := llmemory.New(store, &llmemory.Config{Chunker: lines})
		if err != nil {
			return err
		}
		ws := mem.Owner(fmt.Sprint("owner ", s.Number%2)) // half of them meet in one owner
		if s.Adds {
			text := fmt.Sprint("written by starter", s.Number)
			if _, err := ws.Add(ctx, llmemory.Document{Name: fmt.Sprint(s.Number), Language: "en", Content: text}); err != nil {
				return err
			}
		}
		found, err := ws.Search(ctx, fmt.Sprint("starter", s.Number), nil)
		if err == nil && s.Adds && len(found.Hits) != 1 {
			err = fmt.Errorf("%d hits, want what was just added", len(found.Hits))
		}
		return err
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Sixteen processes start at the same moment on an empty database, by turns in the default schema and in one that is to be made.
// All succeed and work, the schema is made once, and no lock is left; directly, and behind a transaction pooler that has one server
// connection for all of them.
func TestStampede(t *testing.T) {
	t.Parallel()
	const processes = 16
	program, err := os.Executable()
	must(t, err)
	for pooled, rounds := range map[bool]int{false: soak.Pick(3, 20), true: soak.Pick(1, 20)} {
		t.Run(fmt.Sprintf("pooled %t", pooled), func(t *testing.T) {
			succeeded := 0
			var longest time.Duration
			for round := range rounds {
				url := pgtest.URL(t)
				s := start{URL: url, Schema: []string{"", "Llm Memory"}[round%2]}
				if pooled {
					s.URL = pgtest.Bouncer(t, url, pgtest.BouncerOptions{})
				}
				took, errs := stampede(t, program, s, processes)
				for i, err := range errs {
					if err != nil {
						t.Errorf("round %d, process %d: %v", round, i, err)
						continue
					}
					succeeded++
				}
				longest = max(longest, took)
				checkStampede(t, url, s.Schema, processes/2)
			}
			if want := rounds * processes; succeeded != want {
				t.Errorf("%d of %d starts succeeded", succeeded, want)
			}
			t.Logf("%d starts, the longest round took %v", succeeded, longest)
		})
	}
}

// stampede runs processes, lets them go all at once, and returns how each of them ended and how long it took all.
func stampede(t *testing.T, program string, s start, processes int) (time.Duration, []error) {
	t.Helper()
	type child struct {
		cmd    *exec.Cmd
		gate   io.Closer
		stdout io.Reader
		stderr bytes.Buffer
	}
	children := make([]*child, processes)
	for i := range children {
		s.Number, s.Adds = i, i%4 < 2
		task, err := json.Marshal(s)
		must(t, err)
		c := &child{cmd: exec.CommandContext(t.Context(), program)}
		// The race detector would have each process sleep for a second at its end.
		c.cmd.Env = append(os.Environ(), starterTask+"="+string(task), "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
		c.cmd.Stderr = &c.stderr
		c.gate, err = c.cmd.StdinPipe()
		must(t, err)
		c.stdout, err = c.cmd.StdoutPipe()
		must(t, err)
		must(t, c.cmd.Start())
		children[i] = c
	}
	for i, c := range children {
		if line, err := bufio.NewReader(c.stdout).ReadString('\n'); line != "ready\n" {
			t.Fatalf("process %d says %q (%v)", i, line, err)
		}
	}
	begin := time.Now()
	for _, c := range children {
		must(t, c.gate.Close())
	}
	errs := make([]error, processes)
	for i, c := range children {
		if err := c.cmd.Wait(); err != nil {
			errs[i] = errors.Join(err, errors.New(c.stderr.String()))
		}
	}
	return time.Since(begin), errs
}

func checkStampede(t *testing.T, url, schema string, documents int) {
	t.Helper()
	pool := openPool(t, url)
	defer pool.Close()
	if schema == "" {
		schema = "public"
	}
	must(t, postgres.Verify(t.Context(), pool.Schema(schema)))
	conn := observer(t, url)
	if diff := cmp.Diff(ours(schema), relations(t, conn)); diff != "" {
		t.Errorf("relations (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(ourRecords, list(t, conn, recorded(schema))); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if got := list(t, conn, `SELECT count(*)::text FROM "`+schema+`".documents`)[0]; got != fmt.Sprint(documents) {
		t.Errorf("%s documents, want %d", got, documents)
	}
	locks := `SELECT pid || ' ' || mode FROM pg_locks
		WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
	if got := list(t, conn, locks); len(got) > 0 {
		t.Errorf("locks are left: %v", got)
	}
}

// killer is an event trigger that ends its own session at the n-th command that defines something, before it is run and after it.
// Sequences forget nothing when a transaction is rolled back, so it counts on through the end of the session.
const killer = `
	CREATE SCHEMA killer;
	CREATE TABLE killer.target (command bigint);
	INSERT INTO killer.target VALUES (0);
	CREATE SEQUENCE killer.commands;
	CREATE FUNCTION killer.strike() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
		IF nextval('killer.commands') = (SELECT command FROM killer.target) THEN
			PERFORM pg_terminate_backend(pg_backend_pid());
			PERFORM pg_sleep(60);
		END IF;
	END $$;
	CREATE EVENT TRIGGER before_command ON ddl_command_start EXECUTE FUNCTION killer.strike();
	CREATE EVENT TRIGGER after_command ON ddl_command_end EXECUTE FUNCTION killer.strike();`

// Killed before and after each of its statements, a migration leaves nothing behind, and the next start does all of it; its undoing
// leaves everything, and the next try undoes it.
func TestKilledAtEveryStatement(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	conn := observer(t, url)
	run(t, conn, killer)
	pool := openPool(t, url)
	// struck kills at the n-th command of fn, and reports whether there was one.
	struck := func(n int, fn func() error) (error, bool) {
		run(t, conn, fmt.Sprintf("SELECT setval('killer.commands', 1, false); UPDATE killer.target SET command = %d", n))
		err := fn()
		run(t, conn, "UPDATE killer.target SET command = 0")
		return err, list(t, conn, "SELECT (last_value >= $1)::text FROM killer.commands", n)[0] == "true"
	}
	before := catalogue(t, conn)

	db := pool.Schema("up")
	killed, applied := 0, 0
	for n := 1; ; n++ { // each try is the next start of the one before
		err, hit := struck(n, func() error { _, err := postgres.New(t.Context(), db, nil); return err })
		if !hit {
			must(t, err)
			must(t, postgres.Verify(t.Context(), db))
			break
		}
		killed++
		if !errors.Is(err, llmemory.ErrUnavailable) {
			t.Fatalf("killed at command %d: %v", n, err)
		}
		now, done := catalogue(t, conn), migrated(t, conn, "up")
		if done == applied+1 { // the file before is whole, and stays
			before, applied = now, done
		}
		if diff := cmp.Diff(before, now); diff != "" {
			t.Fatalf("killed at command %d, with %d files applied (-before +after):\n%s", n, done, diff)
		}
	}
	if want := 2 * 15; killed < want { // schema, records, five tables, six indexes, two settings
		t.Errorf("killed %d times, want at least %d", killed, want)
	}

	m, err := postgres.Migrations(db)
	must(t, err)
	before, applied = catalogue(t, conn), files
	for n := 1; ; n++ {
		err, hit := struck(n, func() error { _, err := m.Down(t.Context(), 0); return err })
		if !hit {
			must(t, err)
			break
		}
		if !pgdbm.IsConnection(err) {
			t.Fatalf("killed at command %d on the way down: %v", n, err)
		}
		now, left := catalogue(t, conn), migrated(t, conn, "up")
		if left == applied-1 {
			before, applied = now, left
		}
		if diff := cmp.Diff(before, now); diff != "" {
			t.Fatalf("killed at command %d on the way down, with %d files left (-before +after):\n%s", n, left, diff)
		}
		if left == files {
			must(t, postgres.Verify(t.Context(), db))
		}
	}
	left := list(t, conn, "SELECT relname::text FROM pg_class WHERE relnamespace = 'up'::regnamespace ORDER BY 1")
	if diff := cmp.Diff([]string{"schema_migrations", "schema_migrations_pkey"}, left); diff != "" {
		t.Errorf("after all (-want +got):\n%s", diff)
	}
}

// With the connection cut before and after each message of a start, the schema is there whole or not at all, the error is one of
// those promised, and the next start does not mind. (A cut after a message differs from one before the next only in whether the
// client sees an answer that it waits for, so the short form is content with the former.)
func TestCutAtEveryMessage(t *testing.T) {
	t.Parallel()
	direct := pgtest.URL(t)
	conn := observer(t, direct)
	pool := openPool(t, direct)
	proxy, through, err := pgproxy.StartFor(direct)
	must(t, err)
	t.Cleanup(func() { must(t, proxy.Close()) })

	before := catalogue(t, conn)
	cuts := soak.Pick([]func(int){proxy.CutAfter}, []func(int){proxy.CutBefore, proxy.CutAfter})
	for round, cut := range cuts {
		schema := fmt.Sprint("cut ", round)
		known, unknown := 0, 0 // cuts before the commit, and in the act
		applied := 0           // files: each is whole, and stays
		for k := 1; ; k++ {
			cut(k)
			store, err := postgres.Open(t.Context(), through, &postgres.Options{Schema: schema, Pool: pgdbm.Config{MaxConns: 1}})
			hit := proxy.Messages() >= k
			proxy.Reset()
			now, done := catalogue(t, conn), migrated(t, conn, schema)
			there := done == files
			switch {
			case there:
				must(t, postgres.Verify(t.Context(), pool.Schema(schema)))
			case done > applied:
				before, applied = now, done
			default:
				if diff := cmp.Diff(before, now); diff != "" {
					t.Fatalf("message %d, with %d files applied (-before +after):\n%s", k, done, diff)
				}
			}
			// The next start is that with the next cut.
			switch {
			case err == nil && !there:
				t.Fatalf("message %d: opened, but nothing is there", k)
			case err == nil: // not cut, or connecting was tried again
				works(t, store)
				must(t, store.Close())
			case errors.Is(err, llmemory.ErrCommitUnknown):
				unknown++
			case !errors.Is(err, llmemory.ErrUnavailable):
				t.Fatalf("message %d: %v", k, err)
			case there:
				t.Errorf("message %d: the schema is there, and the error says that it is not: %v", k, err)
			default:
				known++
			}
			if !hit {
				break
			}
			if there {
				before, schema, applied = now, schema+"+", 0
			}
		}
		if known < 30 || unknown == 0 {
			t.Errorf("%d cuts before the commit, %d in the act", known, unknown)
		}
	}
}
