package postgres_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/internal/soak"
	"github.com/llmemory/llmemory/internal/vec"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
	"github.com/llmemory/llmemory/store/postgres"
)

const (
	fireModel      = "fire"
	fireDimensions = 64
	// fireOwners is how many owners the documents are spread over.
	fireOwners = 5
	// fireLease is short, so that what a dead worker held is soon due again.
	fireLease = time.Second
)

// fireEmbedder takes a moment for each call, and refuses poison.
func fireEmbedder() embedding.Embedder {
	e := embedtest.New(embedtest.Config{
		Model: fireModel, Dimensions: fireDimensions, Delay: 3 * time.Millisecond,
		Fail: func(_ context.Context, c embedtest.Call) error {
			for _, text := range c.Texts {
				if strings.Contains(text, "poison") {
					return &embedding.Error{Kind: embedding.InvalidInput, Provider: "test", Status: 400}
				}
			}
			return nil
		},
	})
	return embedding.Batch(e, embedding.BatchOptions{MaxInputs: 16})
}

// openFire opens a store for one of the programs.
func openFire(ctx context.Context, url string, e embedding.Embedder) (*postgres.Store, *llmemory.Memory, error) {
	store, err := postgres.Open(ctx, url, &postgres.Options{Pool: pgdbm.Config{ApplicationName: "fire", MaxConns: 4}, RequireMigrated: true})
	if err != nil {
		return nil, nil, err
	}
	mem, err := llmemory.New(store, &llmemory.Config{
		Chunker: verses, Embedder: e, EmbedLease: fireLease, EmbedBatch: 64, MaintenanceInterval: 50 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return store, mem, nil
}

// fireTask makes this test binary a worker or the ingester.
const fireTask = "LLMEMORY_TEST_FIRE"

type fireProgram struct {
	URL    string
	Worker bool          // else it is the ingester
	From   int           // its first step
	Pace   time.Duration // its pause after each
}

// run works on the queue, or writes steps and prints the number of each once it is done, until it is killed.
func (f fireProgram) run() error {
	ctx := context.Background()
	store, mem, err := openFire(ctx, f.URL, fireEmbedder())
	if err != nil {
		return err
	}
	defer store.Close()
	if f.Worker {
		return mem.Run(ctx)
	}
	for n := f.From; ; n++ {
		err := fireWrite(ctx, mem, n)
		for errors.Is(err, llmemory.ErrUnavailable) || errors.Is(err, llmemory.ErrCommitUnknown) { // as on a machine that is too busy
			time.Sleep(100 * time.Millisecond)
			err = fireWrite(ctx, mem, n)
		}
		if err == nil {
			_, err = fmt.Println(n)
		}
		if err != nil {
			return fmt.Errorf("step %d: %w", n, err)
		}
		time.Sleep(f.Pace)
	}
}

// fireWrite does a step.
func fireWrite(ctx context.Context, mem *llmemory.Memory, n int) error {
	owner, docs, gone := fireStep(n)
	o := mem.Owner(owner)
	if gone != "" {
		_, err := o.Delete(ctx, llmemory.DocumentID(owner, llmemory.Identity{OriginID: "default", Key: gone}))
		return err
	}
	added, err := o.AddMany(ctx, docs)
	for _, a := range added {
		err = errors.Join(err, a.Err)
	}
	return err
}

// fireGroup is how many documents four steps leave.
const fireGroup = 8

// fireStep is what the ingester writes in step n: eight documents at once, one that is embedded at once, a new version of one, and the
// end of another, over and over. Every tenth group has a passage that no embedder takes.
func fireStep(n int) (owner string, docs []llmemory.Document, gone string) {
	group := n / 4
	owner = fmt.Sprint("o", group%fireOwners)
	key := func(i int) string { return fmt.Sprintf("g%d.%d", group, i) }
	doc := func(i int, when llmemory.Embed, lines ...string) llmemory.Document {
		return llmemory.Document{Key: key(i), Name: fmt.Sprint("name", i%3), Language: "en", Embed: when, Content: strings.Join(lines, "\n") + "\n"}
	}
	switch n % 4 {
	case 0:
		for i := range fireGroup {
			lines := strings.Split(numbered(1+(group+i)%5, fmt.Sprintf("alpha group%d document%d line%%d", group, i)), "\n")
			lines = append(lines, "alpha in all documents")
			if i == 0 && group%10 == 3 {
				lines = append(lines, fmt.Sprint("alpha poison ", group))
			}
			docs = append(docs, doc(i, []llmemory.Embed{llmemory.EmbedLater, llmemory.EmbedNow}[i%2], lines...))
		}
	case 1:
		docs = append(docs, doc(fireGroup, llmemory.EmbedNow, fmt.Sprintf("alpha group%d first", group), fmt.Sprintf("alpha group%d second", group)))
	case 2:
		docs = append(docs, doc(1, llmemory.EmbedLater, fmt.Sprintf("alpha group%d document1 changed", group),
			fmt.Sprintf("alpha group%d document1 line0", group), "alpha in all documents"))
	case 3:
		gone = key(2)
	}
	return owner, docs, gone
}

// fireTexts is what is stored after a step, by key, and how many passages of it are poison.
func fireTexts(step int) (texts map[string]string, poison int) {
	texts = map[string]string{}
	for n := range step + 1 {
		_, docs, gone := fireStep(n)
		delete(texts, gone)
		for _, d := range docs {
			texts[d.Key] = d.Content
		}
	}
	for _, text := range texts {
		poison += strings.Count(text, "poison")
	}
	return texts, poison
}

// checkHits checks that each passage found by vector has the cosine of what is to be embedded of it, in so many parts: that no vector
// is stale.
func checkHits(r *llmemory.Result, question, model string, dimensions int, partsOf func(text string) int) error {
	q := embedtest.Vector(model, question, dimensions)
	for _, h := range r.Hits {
		if h.Scores.Vector == nil {
			continue
		}
		input := llmemory.JobInput{Name: h.Document.Name, Heading: h.Heading, Text: h.Text, Parts: partsOf(h.Text)}
		var parts [][]float32
		for _, text := range input.Texts() {
			parts = append(parts, embedtest.Vector(model, text, dimensions))
		}
		want := vec.Nearest(q, llmemory.JoinParts(parts))
		if math.Abs(*h.Scores.Vector-want) > 1e-4 {
			return fmt.Errorf("%q is found with the vector of something else: %v, want %v", input.Texts(), *h.Scores.Vector, want)
		}
	}
	return nil
}

// TestWorkersUnderFire kills one of three workers and an ingester after the other, whatever they are at, and starts it again. In the
// end there is what the ingester said to be done, once and whole; every passage has its vector, or a job, or a failure that can be seen;
// and a last worker does what is left.
func TestWorkersUnderFire(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	kills, documents := soak.Pick(12, 200), soak.Pick(600, 20_000)
	most, pace := soak.Pick(900*time.Millisecond, 5*time.Second), soak.Pick(0, 30*time.Millisecond)
	url := pgtest.Clone(t, "llmemory conformance", migrate)
	store, mem, err := openFire(ctx, url, fireEmbedder())
	must(t, err)
	defer store.Close()
	if _, err := mem.EmbedQueue(ctx, nil); err != nil { // makes the generation
		t.Fatal(err)
	}
	db := store.DB().Pool().Pgx()

	var done atomic.Int64 // the last step that the ingester said to be done
	done.Store(-1)
	const ingester = 3
	programs := make([]*program, ingester+1)
	start := func(i int) {
		programs[i] = startProgram(t, fireTask, fireProgram{URL: url, Worker: i != ingester, From: int(done.Load()) + 1, Pace: pace}, func(line string) {
			n, err := strconv.Atoi(line)
			if err != nil {
				t.Errorf("the ingester says %q", line)
			}
			done.Store(int64(n))
		})
	}
	for i := range programs {
		start(i)
	}
	reading, stop := context.WithCancel(ctx)
	searches := make(chan int, 1)
	go func() {
		n := 0
		defer func() { searches <- n }()
		for ; reading.Err() == nil; n++ {
			question := fmt.Sprintf("alpha group%d line1", n%50)
			r, err := mem.Owner(fmt.Sprint("o", n%fireOwners)).Search(reading, question, &llmemory.SearchOptions{Mode: llmemory.ByVector, Limit: 30})
			if err == nil {
				err = checkHits(r, question, fireModel, fireDimensions, verseParts)
			}
			if err != nil && reading.Err() == nil {
				t.Errorf("search %d: %v", n, err)
				return
			}
			time.Sleep(20 * time.Millisecond) // leaves something of the machine to the others
		}
	}()
	started := time.Now()
	killed := [ingester + 1]int{}
	wanted := int64(4 * documents / fireGroup)
	for n := 0; n < kills && !t.Failed(); n++ {
		time.Sleep(rand.N(most))
		i := rand.IntN(len(programs))
		if !programs[i].kill() {
			t.Errorf("program %d ended by itself", i)
		}
		killed[i]++
		start(i)
	}
	for quiet := time.Now(); done.Load() < wanted && !t.Failed(); time.Sleep(10 * time.Millisecond) {
		if time.Since(quiet) > 10*time.Minute {
			t.Fatalf("the ingester is at step %d of %d", done.Load(), wanted)
		}
	}
	for i, p := range programs {
		if !p.kill() {
			t.Errorf("program %d ended by itself", i)
		}
	}
	took := time.Since(started)
	stop()
	read := <-searches
	awaitQuiet(t, db)
	last := int(done.Load())
	want, poison := fireTexts(last)
	if got := texts(t, db); !cmp.Equal(want, got) {
		if want, poison = fireTexts(last + 1); !cmp.Equal(want, got) {
			t.Fatalf("after step %d (-want +got):\n%s", last, cmp.Diff(want, got))
		}
	}
	var count int
	must(t, db.QueryRow(ctx, `SELECT count(*) FROM documents`).Scan(&count))
	if count != len(want) || count < documents {
		t.Errorf("%d documents, want %d, which are at least %d", count, len(want), documents)
	}
	must(t, checkStored(ctx, store))
	g := theGeneration(t, mem)
	left, err := mem.Progress(ctx, g.ID)
	must(t, err)

	drained := time.Now()
	drain(t, mem, g.ID)
	rest := time.Since(drained)
	end, err := mem.Progress(ctx, g.ID)
	must(t, err)
	n, err := checkVectors(ctx, store.DB(), g)
	must(t, err)
	must(t, checkStored(ctx, store))
	if end.Dead != int64(poison) || int64(n) != end.Leaves-end.Dead || end.Waiting != 0 {
		t.Errorf("%d vectors for %d passages, %d given up, %d wait; %d are poison", n, end.Leaves, end.Dead, end.Waiting, poison)
	}
	dead := 0
	for i := range fireOwners {
		q, err := mem.Owner(fmt.Sprint("o", i)).Queue(ctx, 1000)
		must(t, err)
		for _, f := range q.Failures {
			if dead++; !f.Dead || !strings.Contains(f.Reason, "400") {
				t.Errorf("failure: %+v", f)
			}
		}
	}
	if dead != poison {
		t.Errorf("%d failures can be seen, want %d", dead, poison)
	}
	t.Logf("%s: %d kills (workers %v, ingester %d), %d steps, %d documents, %d passages; %d without a vector at the end of the fire, made in %s; %d given up; %d searches",
		took.Round(time.Millisecond), kills, killed[:ingester], killed[ingester], last+1, count, end.Leaves, left.Waiting, rest.Round(time.Millisecond), end.Dead, read)
}

// theGeneration returns the only generation.
func theGeneration(t *testing.T, mem *llmemory.Memory) llmemory.Generation {
	t.Helper()
	list, err := mem.Generations(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("generations %v, %v", list, err)
	}
	return list[0]
}

// drain does all that waits for a generation, also what is held still by somebody who has gone.
func drain(t *testing.T, mem *llmemory.Memory, generation int64) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, err := mem.EmbedQueue(t.Context(), nil)
		must(t, err)
		p, err := mem.Progress(t.Context(), generation)
		must(t, err)
		if p.Waiting == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d passages are never done", p.Waiting)
		}
	}
}

// awaitQuiet waits until the server has noticed that programs are dead: until it is at nothing but this question.
func awaitQuiet(t *testing.T, db *pgxpool.Pool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		var busy int
		must(t, db.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid()`).Scan(&busy))
		if busy == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions of dead programs are at work", busy)
		}
	}
}

// stoppedTask makes this test binary a worker that waits for a line on standard input while it embeds.
const stoppedTask = "LLMEMORY_TEST_STOPPED"

type stoppedProgram struct {
	URL    string
	Prefix string // before what it embeds: its vectors are known by it
}

// run embeds what is queued, and prints when it is asked and how many passages got their vector from it.
func (s stoppedProgram) run() error {
	input := bufio.NewReader(os.Stdin)
	e := embedding.Func{Info: fireEmbedder().Model(), Call: func(_ context.Context, _ embedding.Role, texts []string) ([][]float32, error) {
		fmt.Println("asked")
		if _, err := input.ReadString('\n'); err != nil {
			return nil, err
		}
		out := make([][]float32, len(texts))
		for i, text := range texts {
			out[i] = embedtest.Vector(fireModel, s.Prefix+text, fireDimensions)
		}
		return out, nil
	}}
	store, mem, err := openFire(context.Background(), s.URL, e)
	if err != nil {
		return err
	}
	defer store.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done, err := mem.EmbedQueue(ctx, func(llmemory.EmbedProgress) { stop() }) // after one batch
	if err != nil && ctx.Err() == nil {
		return err
	}
	_, err = fmt.Println(done.Embedded)
	return err
}

// TestStoppedWorker stops a worker while it embeds, beyond its lease, and lets it go on with its vectors at hand: what others have done
// meanwhile it does not overwrite, and what was changed or deleted it does not bring back. If nobody has taken its passages, it may
// store what is still right.
func TestStoppedWorker(t *testing.T) {
	t.Parallel()
	for _, taken := range []bool{true, false} {
		t.Run(fmt.Sprint("taken ", taken), func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			url := pgtest.Clone(t, "llmemory conformance", migrate)
			store, mem, err := openFire(ctx, url, fireEmbedder())
			must(t, err)
			defer store.Close()
			_, err = mem.EmbedQueue(ctx, nil)
			must(t, err)
			o, g := mem.Owner("o"), theGeneration(t, mem)
			for round := range soak.Pick(2, 20) {
				key := func(name string) string { return fmt.Sprint(name, round) }
				var docs []llmemory.Document
				for _, name := range []string{"kept", "changed", "deleted"} {
					docs = append(docs, llmemory.Document{Key: key(name), Language: "en", Embed: llmemory.EmbedLater, Content: fmt.Sprintf("alpha %s %d", name, round)})
				}
				added, err := o.AddMany(ctx, docs)
				must(t, err)
				worker := stoppedProgram{URL: url}
				if taken {
					worker.Prefix = "late "
				}
				said := make(chan string, 10)
				p := startProgram(t, stoppedTask, worker, func(line string) { said <- line })
				if line := <-said; line != "asked" {
					t.Fatalf("the worker says %q", line)
				}
				stopProcess(t, p)
				docs[1].Content = fmt.Sprintf("alpha changed %d and changed again", round)
				_, err = o.Add(ctx, docs[1])
				must(t, err)
				_, err = o.Delete(ctx, added[2].DocumentID)
				must(t, err)
				want := "1"
				if taken {
					want = "0"
					drain(t, mem, g.ID)
				} else {
					awaitDue(t, store, 2)
				}
				_, err = fmt.Fprintln(p.stdin)
				must(t, err)
				must(t, p.stdin.Close())
				must(t, p.cmd.Process.Signal(syscall.SIGCONT))
				if line := <-said; line != want {
					t.Errorf("the worker stores %s vectors, want %s", line, want)
				}
				if err := p.ended(); err != nil {
					t.Errorf("the worker: %v", err)
				}
				drain(t, mem, g.ID)
				n, err := checkVectors(ctx, store.DB(), g)
				must(t, err)
				if want := 2 * (round + 1); n != want {
					t.Errorf("%d vectors, want %d", n, want)
				}
				must(t, checkStored(ctx, store))
			}
		})
	}
}

// stopProcess stops a program, and waits until it does nothing more.
func stopProcess(t *testing.T, p *program) {
	t.Helper()
	must(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	for {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		must(t, err)
		if _, state, _ := strings.Cut(string(raw), ") "); strings.HasPrefix(state, "T") {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// awaitDue waits until so many jobs are due, also those that somebody holds whose lease is over.
func awaitDue(t *testing.T, store *postgres.Store, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var due int
		must(t, store.DB().QueryRow(t.Context(), `SELECT count(*) FROM {{tables.embedding_queue}} WHERE due_at <= now()`).Scan(&due))
		if due == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d jobs are due, want %d", due, n)
		}
	}
}
