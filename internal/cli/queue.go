package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/llmemory/llmemory"
)

const embedHelp = `
Makes the vectors that are waiting: of documents that were added with
"--embed later", of passages the embedder failed on, and of a generation that was
just added. Several may run at once; each takes passages that no other has. It
may be interrupted at any time and goes on where it was. At the end it builds the
indexes that owners with many vectors are due.

What was tried and failed for a time rests for a while before it is tried again,
and a generation of another model waits for its embedder: standard error tells
how much is left, and "llmemory queue" why.

With --watch it stays and does what else is to be done in the background.

With --json:
  {"embedded","failed","waiting"}`

func (a *app) embedCommand() *cobra.Command {
	return a.command("embed", "Make the vectors that are waiting", embedHelp, cobra.NoArgs, a.embed)
}

func (a *app) embed(ctx context.Context, _ []string) error {
	memory, closer, err := a.openEmbedding(ctx)
	if err != nil {
		return err
	}
	defer closer()
	if a.opts.watch {
		a.note("working until interrupted")
		return memory.Run(ctx)
	}
	waiting, err := waitingPassages(ctx, memory)
	if err != nil {
		return err
	}
	line := a.progress()
	done, err := a.embedQueue(ctx, memory, line, waiting, nil)
	line.clear()
	if err == nil {
		err = a.tune(ctx, memory)
	}
	if err != nil && done.Embedded > 0 && ctx.Err() == nil {
		err = &partlyError{fmt.Sprintf("%s embedded, then: %v", plural(done.Embedded, "passage"), err)}
	}
	if err != nil && !errors.Is(err, errPartly) {
		return err
	}
	left, progressErr := a.left(ctx, memory)
	if progressErr != nil {
		return progressErr
	}
	if a.opts.json {
		if printed := a.printJSON(struct {
			Embedded int   `json:"embedded"`
			Failed   int   `json:"failed"`
			Waiting  int64 `json:"waiting"`
		}{done.Embedded, done.Failed, left}); printed != nil {
			return printed
		}
	} else {
		a.printf("%s embedded\n", plural(done.Embedded, "passage"))
	}
	if err == nil && done.Failed > 0 {
		err = &partlyError{fmt.Sprintf("%s could not be embedded, see \"llmemory queue\"", plural(done.Failed, "passage"))}
	}
	return err
}

// waitingPassages counts the passages of all generations that have no vector yet.
func waitingPassages(ctx context.Context, memory *llmemory.Memory) (int64, error) {
	generations, err := memory.Generations(ctx)
	if err != nil {
		return 0, err
	}
	waiting := int64(0)
	for _, g := range generations {
		p, err := memory.Progress(ctx, g.ID)
		if err != nil {
			return 0, err
		}
		waiting += p.Leaves - p.Vectors - p.Dead
	}
	return waiting, nil
}

// errEnough is why work on the queue ended before the queue did.
var errEnough = errors.New("there is something else to do")

// embedQueue works off the queue and tells how far it is. It ends with errEnough as soon as enough, which may be nil, says so: that is
// asked whenever a few hundred passages are done.
func (a *app) embedQueue(ctx context.Context, memory *llmemory.Memory, line *progress, waiting int64, enough func() bool) (llmemory.EmbedProgress, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := &backlog{waiting: waiting}
	show := func() { line.show("%s", b) }
	a.onEmbedded = func(passages int) {
		b.embedded(passages)
		show()
	}
	b.embedded(0)
	if waiting > 0 {
		show()
	}
	done, err := memory.EmbedQueue(ctx, func(p llmemory.EmbedProgress) {
		b.report(p)
		show()
		if enough != nil && enough() {
			cancel(errEnough)
		}
	})
	if err != nil && errors.Is(context.Cause(ctx), errEnough) {
		err = errEnough
	}
	return done, err
}

// backlog measures how far the work on the queue is, and how fast it goes. The queue reports a few hundred passages at a time, which
// may take a minute on a slow machine; in between, what the embedder has done counts.
type backlog struct {
	mu      sync.Mutex
	waiting int64 // at the start
	told    int64 // done, as the queue says
	since   int64 // embedded since it said so
	speed   pace
}

// embedded notes that the embedder has done so many more.
func (b *backlog) embedded(passages int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.since += int64(passages)
	b.speed.at(time.Now(), float64(b.told+b.since))
}

// report notes what the queue says is done in all.
func (b *backlog) report(p llmemory.EmbedProgress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told, b.since = int64(p.Embedded+p.Failed), 0
	b.speed.at(time.Now(), float64(b.told))
}

// String is what a progress line says.
func (b *backlog) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	done := b.told + b.since
	switch {
	case done > b.waiting: // a generation has just been made
		return fmt.Sprintf("%d passages embedded, %.0f a second", done, b.speed.rate())
	case done == 0:
		return fmt.Sprintf("0 of %s", plural(int(b.waiting), "passage"))
	}
	return fmt.Sprintf("%d of %s, %.0f a second, %s left", done, plural(int(b.waiting), "passage"), b.speed.rate(),
		b.speed.left(float64(b.waiting-done)))
}

// left counts the passages that still wait for a vector, and tells of each generation what it waits for.
func (a *app) left(ctx context.Context, memory *llmemory.Memory) (int64, error) {
	e, err := a.embedder()
	if err != nil {
		return 0, err
	}
	generations, err := memory.Generations(ctx)
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for _, g := range generations {
		p, err := memory.Progress(ctx, g.ID)
		if err != nil {
			return 0, err
		}
		waiting := p.Waiting
		if !g.Backfilled {
			waiting = max(p.Leaves-p.Vectors-p.Dead, waiting)
		}
		if waiting == 0 {
			continue
		}
		total += waiting
		why := "resting, or others work on them: \"llmemory queue\" tells more"
		if model := e.Model(); model.Provider != g.Model.Provider || model.Model != g.Model.Model {
			why = "another embedder is needed: --embedder " + modelName(g.Model)
		} else if d := model.Dimensions; d != 0 && d != g.Model.Dimensions {
			why = fmt.Sprintf("other dimensions are needed: --dimensions %d", g.Model.Dimensions)
		}
		a.note("generation %d: %s waiting; %s", g.ID, plural(int(waiting), "passage"), why)
	}
	return total, nil
}

// tune builds the indexes that are due. Without them searches are slower, so it is no failure of the command if that is not possible.
func (a *app) tune(ctx context.Context, memory *llmemory.Memory) error {
	line := a.progress()
	defer line.clear()
	for worked := true; worked; {
		line.show("indexing")
		var err error
		worked, err = memory.TuneIndexes(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			line.clear()
			a.note("some owners' vectors could not be indexed, so their searches are exact, and slow: %v", err)
			return nil
		}
	}
	return nil
}

const queueHelp = `
Tells how many passages of the owner wait for a vector, and which could not be
embedded, and why.

With --json:
  {"waiting","leased","dead","oldest","failures":[{"generation","document_id","chunk_id","attempts","reason","dead","due"}]}`

func (a *app) queueCommand() *cobra.Command {
	cmd := a.command("queue", "Show the passages that wait for a vector", queueHelp, cobra.NoArgs, a.queue)
	cmd.AddCommand(a.command("retry", "Try again what was given up", "With --json:\n  {\"retried\"}", cobra.NoArgs, a.queueRetry))
	return cmd
}

type failureJSON struct {
	Generation int64      `json:"generation"`
	DocumentID string     `json:"document_id"`
	ChunkID    string     `json:"chunk_id"`
	Attempts   int        `json:"attempts"`
	Reason     string     `json:"reason"`
	Dead       bool       `json:"dead"`
	Due        *time.Time `json:"due"`
}

func (a *app) queue(ctx context.Context, _ []string) error {
	if err := checkLimit("limit", a.opts.limit); err != nil {
		return err
	}
	owner, closer, err := a.owner(ctx, false)
	if err != nil {
		return err
	}
	defer closer()
	q, err := owner.Queue(ctx, a.opts.limit)
	if err != nil {
		return err
	}
	if a.opts.json {
		failures := make([]failureJSON, len(q.Failures))
		for i, f := range q.Failures {
			failures[i] = failureJSON{f.Generation, f.DocumentID, f.ChunkID, f.Attempts, f.Reason, f.Dead, timeOrNull(f.Due)}
		}
		return a.printJSON(struct {
			Waiting  int64         `json:"waiting"`
			Leased   int64         `json:"leased"`
			Dead     int64         `json:"dead"`
			Oldest   *time.Time    `json:"oldest"`
			Failures []failureJSON `json:"failures"`
		}{q.Waiting, q.Leased, q.Dead, timeOrNull(q.Oldest), failures})
	}
	a.printf("waiting  %d\nleased   %d\nfailed   %d\n", q.Waiting, q.Leased, q.Dead)
	if len(q.Failures) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DOCUMENT\tCHUNK\tGENERATION\tATTEMPTS\tNEXT\tREASON")
	for _, f := range q.Failures {
		next := "given up"
		if !f.Dead {
			next = f.Due.UTC().Format(time.DateTime)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\n", f.DocumentID, f.ChunkID, f.Generation, f.Attempts, next, plain(f.Reason))
	}
	return t.Flush()
}

func (a *app) queueRetry(ctx context.Context, _ []string) error {
	owner, closer, err := a.owner(ctx, false)
	if err != nil {
		return err
	}
	defer closer()
	n, err := owner.RetryQueue(ctx)
	if err != nil {
		return err
	}
	if a.opts.json {
		return a.printJSON(struct {
			Retried int `json:"retried"`
		}{n})
	}
	a.printf("%s to be tried again\n", plural(n, "passage"))
	return nil
}
