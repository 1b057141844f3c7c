package postgres_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/internal/soak"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

// versesConfig is the configuration of the memories that tests of failures use.
func versesConfig(e embedding.Embedder) *llmemory.Config {
	return &llmemory.Config{Chunker: verses, Logger: slog.New(slog.DiscardHandler), Embedder: e}
}

// openVerses opens a migrated database for tests of failures.
func openVerses(ctx context.Context, url string, pool pgdbm.Config, e embedding.Embedder) (*postgres.Store, *llmemory.Memory, error) {
	store, err := postgres.Open(ctx, url, &postgres.Options{Pool: pool, RequireMigrated: true})
	if err != nil {
		return nil, nil, err
	}
	mem, err := llmemory.New(store, versesConfig(e))
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return store, mem, nil
}

// TestLostCommit loses the answer to a COMMIT, or the COMMIT itself, again and again: the caller is told that the outcome is not
// known, and the same call again leaves one document of the same id with one version more.
func TestLostCommit(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	ws := s.mem().Owner("o")
	doc := func(n int) llmemory.Document {
		return llmemory.Document{Key: "k", Language: "en", Content: fmt.Sprint("alpha ", n)}
	}
	created, err := ws.Add(t.Context(), doc(0))
	if err != nil {
		t.Fatal(err)
	}
	s.proxy.Arm()
	if _, err := ws.Add(t.Context(), doc(1)); err != nil {
		t.Fatal(err)
	}
	last := s.proxy.Messages() // the Sync behind the COMMIT; before it comes what executes the COMMIT
	version, answers := int64(2), 0
	for n := 2; answers < soak.Pick(50, 500); n++ {
		arrives := n%6 != 0
		if arrives {
			answers++
			s.proxy.CutAfter(last)
		} else {
			s.proxy.CutBefore(last - 1)
		}
		if _, err := ws.Add(t.Context(), doc(n)); !errors.Is(err, llmemory.ErrCommitUnknown) || s.proxy.Messages() < last-1 {
			t.Fatalf("round %d: %v after %d messages of %d, want ErrCommitUnknown", n, err, s.proxy.Messages(), last)
		}
		s.proxy.Reset()
		want := llmemory.Updated
		if arrives {
			want = llmemory.Unchanged
		}
		again, err := ws.Add(t.Context(), doc(n))
		if err != nil || again.Status != want || again.DocumentID != created.DocumentID {
			t.Fatalf("round %d, the same call again: %+v, %v; want it %s", n, again, err, want)
		}
		version++
		page, err := s.still().Owner("o").List(t.Context(), nil)
		if err != nil || page.Total != 1 || page.Documents[0].Version != version || page.Documents[0].ID != created.DocumentID {
			t.Fatalf("round %d: %+v, %v; want one document in version %d", n, page, err, version)
		}
	}
	if err := checkStored(t.Context(), s.direct); err != nil {
		t.Error(err)
	}
}

// TestTerminatedBackends has the server end the sessions of busy callers at random moments. Whatever a call reports is true of the
// caller's own document, which nobody else changes, and the same call again does it.
func TestTerminatedBackends(t *testing.T) {
	t.Parallel()
	url := pgtest.Clone(t, "llmemory conformance", migrate)
	store, still, err := openVerses(t.Context(), url, pgdbm.Config{}, embedtest.New(embedtest.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	_, err = still.AddGeneration(t.Context(), nil, "")
	must(t, err)
	victims, mem, err := openVerses(t.Context(), url, pgdbm.Config{ApplicationName: "victim", MaxConns: 4}, embedtest.New(embedtest.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	defer victims.Close()

	killed, over := 0, make(chan struct{})
	var callers sync.WaitGroup
	failed := make([]map[string]int, 3)
	for i := range failed {
		failed[i] = map[string]int{}
		callers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 0))
			mine, look := mem.Owner("o"), still.Owner("o")
			id := llmemory.DocumentID("o", llmemory.Identity{OriginID: "default", Key: fmt.Sprint(i)})
			stored := ""
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
				}
				next := verse(1+random.IntN(60), fmt.Sprintf("alpha caller%d call%d line%%d", i, n))
				embed := []llmemory.Embed{llmemory.EmbedNow, llmemory.EmbedNow, llmemory.EmbedLater}[random.IntN(3)]
				call := func() error {
					_, err := mine.Add(t.Context(), llmemory.Document{Key: fmt.Sprint(i), Language: "en", Content: next, Embed: embed})
					return err
				}
				switch n := random.IntN(10); {
				case n < 2:
					next = ""
					call = func() error {
						_, err := mine.Delete(t.Context(), id)
						return err
					}
				case n < 3:
					next = stored
					call = func() error {
						_, err := mem.Maintain(t.Context())
						return err
					}
				case n < 5:
					next = stored
					call = func() error {
						_, err := mem.EmbedQueue(t.Context(), nil)
						return err
					}
				}
				for attempt := 0; ; attempt++ {
					err := call()
					text, lookErr := look.Text(t.Context(), id)
					if lookErr != nil && !errors.Is(lookErr, llmemory.ErrNotFound) {
						t.Error(lookErr)
						return
					}
					if err := judge(err, text == stored, text == next); err != nil {
						t.Errorf("caller %d, call %d: %v", i, n, err)
						return
					}
					stored = text
					if err == nil {
						break
					}
					kind := "unavailable"
					if errors.Is(err, llmemory.ErrCommitUnknown) {
						kind = "unknown"
					}
					failed[i][kind]++
				}
			}
		})
	}
	const kill = `SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
		WHERE application_name = 'victim' AND datname = current_database() AND state <> 'idle' ORDER BY random() LIMIT 1) t`
	for killed < soak.Pick(60, 1000) && !t.Failed() {
		time.Sleep(rand.N(10 * time.Millisecond)) // the moment is to be anywhere
		n := 0
		if err := store.DB().QueryRow(t.Context(), kill).Scan(&n); err != nil {
			t.Error(err)
			break
		}
		killed += n
	}
	close(over)
	callers.Wait()
	t.Logf("%d sessions ended; calls that failed: %v", killed, failed)
	total := 0
	for _, kinds := range failed {
		for _, n := range kinds {
			total += n
		}
	}
	if total < 5 {
		t.Errorf("only %d calls failed: the sessions ended were not at work", total)
	}
	if err := checkStored(t.Context(), store); err != nil {
		t.Error(err)
	}
	embedsAll(t, store, still)
}

// embedsAll has every lease end and all that waits embedded, and checks that every leaf that is to have a vector has the right one.
func embedsAll(t *testing.T, store *postgres.Store, mem *llmemory.Memory) {
	t.Helper()
	if _, err := store.DB().Exec(t.Context(), `UPDATE {{tables.embedding_queue}} SET due_at = now()`); err != nil {
		t.Fatal(err)
	}
	_, err := mem.EmbedQueue(t.Context(), nil)
	must(t, err)
	list, err := mem.Generations(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("generations %v, %v, want one", list, err)
	}
	n, err := checkVectors(t.Context(), store.DB(), list[0])
	if p, progress := mem.Progress(t.Context(), list[0].ID); progress != nil || p.Waiting+p.Dead > 0 || int64(n) != p.Leaves {
		t.Errorf("%d vectors: %+v, %v", n, p, progress)
	}
	must(t, errors.Join(err, checkStored(t.Context(), store)))
}

// judge compares what a failed or successful call reports with whether the old or the new state is stored.
func judge(err error, old, done bool) error {
	unavailable, unknown := errors.Is(err, llmemory.ErrUnavailable), errors.Is(err, llmemory.ErrCommitUnknown)
	switch {
	case !old && !done:
		return fmt.Errorf("what is stored is neither old nor new (%w)", err)
	case err == nil && !done:
		return errors.New("reported as done, but the old state is stored")
	case err != nil && unavailable == unknown:
		return fmt.Errorf("%w: want one of ErrUnavailable and ErrCommitUnknown", err)
	case unavailable && !old:
		return fmt.Errorf("reported as unavailable, but it is done: %w", err)
	}
	return nil
}

// A journal is a sequence of writes that every start of its program goes on with. The program says which it has done.
const (
	journalURL  = "LLMEMORY_TEST_JOURNAL_URL"
	journalFrom = "LLMEMORY_TEST_JOURNAL_FROM"
)

// entry is what step n of the journal writes: a short document, a long one, a new version of the short one, and the end of the long
// one, over and over; content is empty where it deletes.
func entry(n int) (key, content string) {
	group := n / 4
	switch n % 4 {
	case 0:
		return fmt.Sprint("short", group), fmt.Sprint("alpha first ", group)
	case 1:
		return fmt.Sprint("long", group), verse(40, fmt.Sprintf("alpha long%d line%%d", group))
	case 2:
		return fmt.Sprint("short", group), fmt.Sprintf("alpha first %d\nalpha second %d\n", group, group)
	}
	return fmt.Sprint("long", group), ""
}

// embedOf says when step n of the journal embeds what it writes.
func embedOf(n int) llmemory.Embed {
	if n%3 == 0 {
		return llmemory.EmbedLater
	}
	return llmemory.EmbedNow
}

// writeJournal is the program: it writes steps until it is killed, and prints the number of each once it is done.
func writeJournal(url string) (exit int) {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "journal:", err)
		return 1
	}
	ctx := context.Background()
	from, err := strconv.Atoi(os.Getenv(journalFrom))
	if err != nil {
		return fail(err)
	}
	store, mem, err := openVerses(ctx, url, pgdbm.Config{ApplicationName: "journal"}, embedtest.New(embedtest.Config{}))
	if err != nil {
		return fail(err)
	}
	defer store.Close()
	ws := mem.Owner("o")
	for n := from; ; n++ {
		key, content := entry(n)
		if content != "" {
			_, err = ws.Add(ctx, llmemory.Document{Key: key, Language: "en", Content: content, Embed: embedOf(n)})
		} else {
			_, err = ws.Delete(ctx, llmemory.DocumentID("o", llmemory.Identity{OriginID: "default", Key: key}))
		}
		if err == nil && n%20 == 0 {
			_, err = mem.Maintain(ctx)
		}
		if err == nil && n%20 == 10 {
			_, err = mem.EmbedQueue(ctx, nil)
		}
		if err == nil {
			_, err = fmt.Println(n)
		}
		if err != nil {
			return fail(fmt.Errorf("step %d: %w", n, err))
		}
	}
}

// TestKilledProgram kills a program at random moments and starts it again. What it had said to be done is there, whole; of the step it was
// at there is all or nothing; and the next start takes it from there.
func TestKilledProgram(t *testing.T) {
	t.Parallel()
	url := pgtest.Clone(t, "llmemory conformance", migrate)
	store, mem, err := openVerses(t.Context(), url, pgdbm.Config{}, embedtest.New(embedtest.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	db := store.DB().Pool().Pgx()
	done := -1
	unacknowledged := 0
	for kill := range soak.Pick(10, 100) {
		acknowledged := runJournal(t, url, done+1)
		if acknowledged <= done {
			t.Fatalf("kill %d: no step after %d", kill, done)
		}
		done = acknowledged
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) { // for the server to notice
			var sessions int
			if err := db.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'journal' AND datname = current_database()`).
				Scan(&sessions); err != nil || time.Now().After(deadline) {
				t.Fatalf("%d sessions of a dead program: %v", sessions, err)
			}
			if sessions == 0 {
				break
			}
		}
		got := texts(t, db)
		if diff := cmp.Diff(journal(done), got); diff != "" {
			if further := cmp.Diff(journal(done+1), got); further != "" {
				t.Fatalf("killed after step %d (-want +got):\n%s", done, diff)
			}
			unacknowledged++
		}
		if err := checkStored(t.Context(), store); err != nil {
			t.Fatalf("killed after step %d: %v", done, err)
		}
	}
	t.Logf("%d steps, %d of them done but killed before it could be said", done+1, unacknowledged)
	embedsAll(t, store, mem)
}

// runJournal runs the program for a moment and returns the last step it said to be done.
func runJournal(t *testing.T, url string, from int) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), journalURL+"="+url, fmt.Sprint(journalFrom, "=", from))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := -1
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Errorf("the program says %q", lines.Text())
		}
		if last < 0 {
			time.AfterFunc(rand.N(200*time.Millisecond), func() { _ = cmd.Process.Kill() }) // it may have ended by itself
		}
		last = max(last, n)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the program ended by itself: %v", err)
	}
	return last
}

// journal is what is stored after a step.
func journal(step int) map[string]string {
	out := map[string]string{}
	for n := range step + 1 {
		if key, content := entry(n); content != "" {
			out[key] = content
		} else {
			delete(out, key)
		}
	}
	return out
}

// texts returns all documents' texts by key, past the library.
func texts(t *testing.T, db *pgxpool.Pool) map[string]string {
	t.Helper()
	rows, err := db.Query(t.Context(), `SELECT document_key, string_agg(c.lead || c.content, '' ORDER BY position) || tail
		FROM documents d JOIN document_chunks c USING (owner_id, document_id) WHERE level = 0 GROUP BY document_key, tail`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var key, text string
		if err := rows.Scan(&key, &text); err != nil {
			t.Fatal(err)
		}
		out[key] = text
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
