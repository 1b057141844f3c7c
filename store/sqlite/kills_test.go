package sqlite_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/internal/soak"
	"github.com/llmemory/llmemory/internal/vec"
	"github.com/llmemory/llmemory/store/sqlite"
)

// killTask is the environment variable that makes this test binary one of the processes of TestKills; it holds a killProgram as JSON.
const killTask = "LLMEMORY_TEST_SQLITE_KILLS"

// killProgram is a process that writes to a file until its standard input ends, or it is killed, and prints the number of each step
// once it is done.
type killProgram struct {
	Path  string
	Owner string
	From  int  // the first step
	Reads bool // looks at the owner "journal" between its steps
}

// killMemory opens a file as the processes of TestKills do.
func killMemory(ctx context.Context, path string) (*sqlite.Store, *llmemory.Memory, error) {
	store, err := sqlite.Open(ctx, path, &sqlite.Options{BusyTimeout: time.Minute})
	if err != nil {
		return nil, nil, err
	}
	mem, err := llmemory.New(store, &llmemory.Config{Chunker: verses, Embedder: killEmbedder(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return store, mem, nil
}

func killEmbedder() *embedtest.Embedder { return embedtest.New(embedtest.Config{}) }

func runKillProgram(task string) int {
	var p killProgram
	err := json.Unmarshal([]byte(task), &p)
	if err == nil {
		err = p.run(context.Background())
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Owner, err)
		return 1
	}
	return 0
}

func (p *killProgram) run(ctx context.Context) error {
	var ended sync.WaitGroup
	over := make(chan struct{})
	ended.Go(func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is all that is said
		close(over)
	})
	store, mem, err := killMemory(ctx, p.Path)
	if err != nil {
		return err
	}
	for n := p.From; ; n++ {
		select {
		case <-over:
			ended.Wait()
			return store.Close()
		default:
		}
		if err := p.step(ctx, mem, n); err != nil {
			return fmt.Errorf("step %d: %w", n, err)
		}
		if _, err := fmt.Println(n); err != nil {
			return err
		}
		if p.Reads {
			if err := readJournal(ctx, mem.Owner("journal")); err != nil {
				return fmt.Errorf("after step %d: %w", n, err)
			}
		}
	}
}

func (p *killProgram) step(ctx context.Context, mem *llmemory.Memory, n int) error {
	o := mem.Owner(p.Owner)
	key, content := entry(n)
	var err error
	if content != "" {
		doc := llmemory.Document{Key: key, Language: "en", Content: content}
		if n%3 == 0 {
			doc.Embed = llmemory.EmbedLater
		}
		var added llmemory.Added
		if added, err = o.Add(ctx, doc); err == nil && added.EmbedErr != nil && !errors.Is(added.EmbedErr, llmemory.ErrUnavailable) {
			err = added.EmbedErr
		}
	} else {
		_, err = o.Delete(ctx, llmemory.DocumentID(p.Owner, llmemory.Identity{OriginID: "default", Key: key}))
	}
	if err == nil && n%20 == 0 {
		_, err = mem.Maintain(ctx)
	}
	if err == nil && n%20 == 10 {
		_, err = mem.EmbedQueue(ctx, nil)
	}
	return err
}

// Steps come in groups of four: a short document, a long one, a new version of the short one, and the end of the long one. Keys come
// again, so that what is there stays little.
const (
	shorts    = 20
	longs     = 3
	longLines = 40
)

// entry is what a step writes; content is empty where it deletes.
func entry(n int) (key, content string) {
	group := n / 4
	short, long := fmt.Sprint("short", group%shorts), fmt.Sprint("long", group%longs)
	switch n % 4 {
	case 0:
		return short, fmt.Sprint("alpha first ", group)
	case 1:
		var b strings.Builder
		for i := range longLines {
			fmt.Fprintf(&b, "alpha long%d line%d\n", group, i)
		}
		return long, b.String()
	case 2:
		return short, fmt.Sprintf("alpha first %d\nalpha second %d\n", group, group)
	}
	return long, ""
}

// journal is what is stored after a step: the lines of each document.
func journal(step int) map[string][]string {
	out := map[string][]string{}
	for n := max(0, step-4*(shorts+longs)); n <= step; n++ {
		if key, content := entry(n); content != "" {
			out[key] = strings.Split(strings.TrimSpace(content), "\n")
		} else {
			delete(out, key)
		}
	}
	return out
}

// readJournal asks for all passages of the owner that others write to, by words and by meaning. What is found must be what was stored
// after one and the same step.
func readJournal(ctx context.Context, o *llmemory.Owner) error {
	for _, mode := range []llmemory.Mode{llmemory.ByText, llmemory.ByVector, llmemory.Hybrid} {
		found, err := o.Search(ctx, "alpha", &llmemory.SearchOptions{Mode: mode, Limit: 1000, Candidates: 1000, Snippet: -1})
		if err != nil {
			return err
		}
		got := map[string][]string{}
		for _, h := range found.Hits {
			got[h.Document.Key] = append(got[h.Document.Key], h.Text)
		}
		if err := ofOneStep(got, mode != llmemory.ByVector); err != nil { // some passages wait for their vectors
			return fmt.Errorf("%s search: %w", mode, err)
		}
	}
	page, err := o.List(ctx, &llmemory.ListOptions{Limit: 1000})
	if err != nil {
		return err
	}
	for _, d := range page.Documents {
		_, chunks, err := o.GetWithChunks(ctx, d.ID)
		if errors.Is(err, llmemory.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		var lines []string
		for _, c := range chunks {
			if c.Level == 0 {
				lines = append(lines, c.Text)
			}
		}
		if err := ofOneVersion(d.Key, lines, true); err != nil {
			return err
		}
	}
	return nil
}

// groupOf returns the number of the group that a line was written by.
func groupOf(line string) int {
	digits := strings.TrimPrefix(strings.Fields(line)[1], "long")
	if digits == "first" || digits == "second" {
		digits = strings.Fields(line)[2]
	}
	group, err := strconv.Atoi(digits)
	if err != nil {
		return -1
	}
	return group
}

// ofOneVersion checks that lines are those of one version of a document.
func ofOneVersion(key string, lines []string, all bool) error {
	group := groupOf(lines[0])
	for step := 4 * group; step < 4*group+3; step++ {
		if k, content := entry(step); k == key {
			want := strings.Split(strings.TrimSpace(content), "\n")
			if len(lines) == len(want) && !slices.ContainsFunc(want, func(l string) bool { return !slices.Contains(lines, l) }) ||
				!all && !slices.ContainsFunc(lines, func(l string) bool { return !slices.Contains(want, l) }) {
				return nil
			}
		}
	}
	return fmt.Errorf("a mixed state: %s has the lines %q", key, lines)
}

// ofOneStep checks that documents are those that were there after one step.
func ofOneStep(got map[string][]string, all bool) error {
	last := 0
	for key, lines := range got {
		if err := ofOneVersion(key, lines, all); err != nil {
			return err
		}
		slices.Sort(lines)
		last = max(last, groupOf(lines[0]))
	}
	if !all || len(got) == 0 {
		return nil
	}
	for step := 4 * last; step < 4*last+4; step++ {
		want := journal(step)
		for _, lines := range want {
			slices.Sort(lines)
		}
		if cmp.Equal(want, got) {
			return nil
		}
	}
	return fmt.Errorf("a mixed state: not what there was after any of the steps %d to %d: %v", 4*last, 4*last+3, got)
}

// process is a started killProgram.
type process struct {
	cmd  *exec.Cmd
	in   io.Closer
	last int           // the last step that it said was done, once it has ended
	over chan struct{} // closed when it has ended
	end  func() error  // waits for that
}

// start starts a process. acked is called when it says for the first time that something is done.
func (p killProgram) start(t *testing.T, acked func(*process)) *process {
	t.Helper()
	task, err := json.Marshal(p)
	must(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killTask+"="+string(task), "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	in, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	x := &process{cmd: cmd, in: in, last: p.From - 1, over: make(chan struct{})}
	x.end = sync.OnceValue(func() error {
		defer close(x.over)
		lines := bufio.NewScanner(out)
		for first := true; lines.Scan(); first = false {
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Errorf("the program says %q", lines.Text())
			}
			x.last = n
			if first && acked != nil {
				acked(x)
			}
		}
		return cmd.Wait()
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = x.end()
	})
	return x
}

// TestKills kills a writer at random moments, again and again, while two other processes write and read. What it had said to be done is
// there, whole; of the step it was at there is all or nothing; others never see anything between, and lose nothing either; the file is
// sound; and what was queued gets its vectors.
func TestKills(t *testing.T) {
	t.Parallel()
	ctx, path := t.Context(), newPath(t)
	store, mem, err := killMemory(ctx, path)
	must(t, err)
	defer store.Close() //nolint:errcheck // the test's end
	_, err = mem.AddGeneration(ctx, nil, "")
	must(t, err)
	others := []*process{}
	for i := range 2 {
		p := killProgram{Path: path, Owner: fmt.Sprint("other ", i), Reads: true}.start(t, nil)
		go p.end() //nolint:errcheck // asked for below
		others = append(others, p)
	}
	done, unsaid, early := -1, 0, 0
	for kill := range soak.Pick(20, 500) {
		kills := func(p *process, within time.Duration) {
			time.AfterFunc(rand.N(within), func() { _ = p.cmd.Process.Kill() }) // nothing else ends it
		}
		program := killProgram{Path: path, Owner: "journal", From: done + 1}
		var p *process
		if kill%5 == 4 { // at any moment of its start
			early++
			p = program.start(t, nil)
			kills(p, 100*time.Millisecond)
		} else {
			p = program.start(t, func(p *process) { kills(p, 100*time.Millisecond) })
		}
		if err := p.end(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("kill %d: the program ended by itself: %v", kill, err)
		}
		done = p.last
		got := documentLines(t, mem.Owner("journal"))
		if diff := cmp.Diff(journal(done), got); diff != "" {
			if cmp.Diff(journal(done+1), got) != "" {
				t.Fatalf("kill %d, after step %d (-want +got):\n%s", kill, done, diff)
			}
			unsaid++
		}
		if err := checkStored(ctx, store); err != nil {
			t.Fatalf("kill %d, after step %d: %v", kill, done, err)
		}
		for i, other := range others {
			select {
			case <-other.over:
				t.Fatalf("the other process %d ended: %v", i, other.end())
			default:
			}
		}
	}
	steps := []int{done + 1}
	for i, p := range others {
		must(t, p.in.Close())
		must(t, p.end())
		steps = append(steps, p.last+1)
		if diff := cmp.Diff(journal(p.last), documentLines(t, mem.Owner(fmt.Sprint("other ", i)))); diff != "" {
			t.Errorf("other %d, after step %d (-want +got):\n%s", i, p.last, diff)
		}
	}
	t.Logf("steps: %v; %d of the killed one's were done before it could be said; %d kills during its start", steps, unsaid, early)
	if least := soak.Pick(5, 400); steps[0] < least || steps[1] < least || steps[2] < least {
		t.Errorf("%v steps are too few to prove anything", steps)
	}
	embedsAll(t, store, mem, []string{"journal", "other 0", "other 1"})
	must(t, checkStored(ctx, store))
}

// documentLines reads the lines of all documents of an owner.
func documentLines(t *testing.T, o *llmemory.Owner) map[string][]string {
	t.Helper()
	page, err := o.List(t.Context(), &llmemory.ListOptions{Limit: 1000})
	must(t, err)
	out := map[string][]string{}
	for _, d := range page.Documents {
		text, err := o.Text(t.Context(), d.ID)
		must(t, err)
		out[d.Key] = strings.Split(strings.TrimSpace(text), "\n")
	}
	return out
}

// embedsAll has every lease end and all that waits embedded, and checks that every passage is found by its own vector.
func embedsAll(t *testing.T, store *sqlite.Store, mem *llmemory.Memory, owners []string) {
	t.Helper()
	ctx := t.Context()
	_, err := sqlite.Rows(ctx, store, "UPDATE embedding_queue SET due_at = 0")
	must(t, err)
	_, err = mem.EmbedQueue(ctx, nil)
	must(t, err)
	list, err := mem.Generations(ctx)
	if err != nil || len(list) != 1 {
		t.Fatalf("generations %v, %v, want one", list, err)
	}
	p, err := mem.Progress(ctx, list[0].ID)
	must(t, err)
	if p.Waiting+p.Dead > 0 || p.Vectors != p.Leaves || p.Leaves == 0 {
		t.Errorf("not all is embedded: %+v", p)
	}
	for _, owner := range owners {
		const query = "alpha"
		found, err := mem.Owner(owner).Search(ctx, query, &llmemory.SearchOptions{Mode: llmemory.ByVector, Limit: 1000})
		must(t, err)
		leaves := 0
		for _, lines := range documentLines(t, mem.Owner(owner)) {
			leaves += len(lines)
		}
		if len(found.Hits) != leaves {
			t.Errorf("%s: %d passages found by their vectors, want %d", owner, len(found.Hits), leaves)
		}
		m := killEmbedder().Model()
		q := embedtest.Vector(m.Model, query, m.Dimensions)
		for _, h := range found.Hits {
			if want := vec.Cosine(q, embedtest.Vector(m.Model, h.Text, m.Dimensions)); *h.Scores.Vector < want-1e-5 || *h.Scores.Vector > want+1e-5 {
				t.Errorf("%s: %q has the cosine %v, want %v: the vector is another's", owner, h.Text, *h.Scores.Vector, want)
			}
		}
	}
}
