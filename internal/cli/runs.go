package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/llmemory/llmemory"
)

const runsHelp = `
Lists the runs of "add", newest first, or with ID every file of a run with what
became of it. A run that changed nothing, and ended like the last one of the same
folders and files, is not recorded. The newest 20 are kept, and the last complete
one of each source.

A run is running, complete, stopped if it was interrupted or could not go on, lost
if it was killed (nothing has been heard of it for two minutes), or partial: that is
one of "add --watch" which lists only what changed.

With --json:
  {"runs":[{"run","origin_id","sources","state","started_at","updated_at","created","updated","unchanged","failed",
   "skipped","removed","embedded"}]}
and with ID the run, and
  "files":[{"number","path","source","document_id","status","reason","error","chunks"}]`

func (a *app) runsCommand() *cobra.Command {
	return a.command("runs [ID]", "List what became of files", runsHelp, cobra.MaximumNArgs(1), a.runs)
}

type runJSON struct {
	Run       int64     `json:"run"`
	OriginID  string    `json:"origin_id"`
	Sources   []string  `json:"sources"`
	State     string    `json:"state"`
	StartedAt time.Time `json:"started_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Created   int64     `json:"created"`
	Updated   int64     `json:"updated"`
	Unchanged int64     `json:"unchanged"`
	Failed    int64     `json:"failed"`
	Skipped   int64     `json:"skipped"`
	Removed   int64     `json:"removed"`
	Embedded  int64     `json:"embedded"`
}

func newRunJSON(r *llmemory.Run) runJSON {
	return runJSON{r.ID, r.OriginID, list(r.Sources), string(r.State), r.StartedAt.UTC(), r.UpdatedAt.UTC(), r.Created, r.Updated, r.Unchanged,
		r.Failed, r.Skipped, r.Removed, r.Embedded}
}

type runFileJSON struct {
	Number     int64           `json:"number"`
	Path       string          `json:"path"`
	Source     string          `json:"source"`
	DocumentID string          `json:"document_id"`
	Status     llmemory.Status `json:"status"`
	Reason     string          `json:"reason,omitempty"`
	Error      string          `json:"error,omitempty"`
	Chunks     int             `json:"chunks"`
}

func (a *app) runs(ctx context.Context, args []string) error {
	id := int64(0)
	if len(args) == 1 {
		var err error
		if id, err = strconv.ParseInt(args[0], 10, 64); err != nil || id < 1 {
			return usagef("run %q: must be a number, as \"llmemory runs\" lists it", args[0])
		}
	}
	if a.opts.failedOnly && id == 0 {
		return usagef("--failed goes with a run")
	}
	if err := checkLimit("limit", a.opts.limit); err != nil {
		return err
	}
	owner, closer, err := a.owner(ctx, false)
	if err != nil {
		return err
	}
	defer closer()
	if id != 0 {
		return a.runFiles(ctx, owner, id)
	}
	runs, err := owner.Runs(ctx, &llmemory.RunsOptions{Limit: a.opts.limit})
	if err != nil {
		return err
	}
	if a.opts.json {
		out := make([]runJSON, len(runs))
		for i := range runs {
			out[i] = newRunJSON(&runs[i])
		}
		return a.printJSON(map[string][]runJSON{"runs": out})
	}
	if len(runs) == 0 {
		a.note("no runs")
		return nil
	}
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RUN\tSTARTED\tSTATE\tCREATED\tUPDATED\tUNCHANGED\tFAILED\tSKIPPED\tREMOVED\tSOURCES")
	for i := range runs {
		r := &runs[i]
		fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", r.ID, r.StartedAt.UTC().Format(time.DateTime), r.State, r.Created, r.Updated,
			r.Unchanged, r.Failed, r.Skipped, r.Removed, plain(strings.Join(r.Sources, " ")))
	}
	return t.Flush()
}

// withoutDocument are the outcomes of what there is no document of.
var withoutDocument = []llmemory.Status{llmemory.Failed, llmemory.Skipped}

// eachRunFile calls f with the files of a run that have one of the outcomes, nil for all.
func eachRunFile(ctx context.Context, owner *llmemory.Owner, run int64, outcomes []llmemory.Status, f func(*llmemory.RunFile)) error {
	options := llmemory.RunFilesOptions{Outcomes: outcomes, Limit: 1000}
	for {
		page, err := owner.RunFiles(ctx, run, &options)
		if err != nil {
			return err
		}
		for i := range page {
			f(&page[i])
			options.After = page[i].Number
		}
		if len(page) < options.Limit {
			return nil
		}
	}
}

// runFiles prints the files of a run page by page.
func (a *app) runFiles(ctx context.Context, owner *llmemory.Owner, id int64) error {
	run, err := owner.Run(ctx, id)
	if err != nil {
		return err
	}
	var outcomes []llmemory.Status
	if a.opts.failedOnly {
		outcomes = withoutDocument
	}
	files := []runFileJSON{}
	err = eachRunFile(ctx, owner, id, outcomes, func(f *llmemory.RunFile) {
		if a.opts.json {
			files = append(files, runFileJSON{f.Number, f.Path, f.Source, f.DocumentID, f.Outcome, f.Reason, f.Message, f.Chunks})
			return
		}
		a.printf("%-9s  %s", f.Outcome, shown(f.Path))
		if f.Reason != "" {
			a.printf("  %s: %s", f.Reason, plain(f.Message))
		}
		a.printf("\n")
	})
	if err != nil {
		return err
	}
	if a.opts.json {
		return a.printJSON(struct {
			runJSON
			Files []runFileJSON `json:"files"`
		}{newRunJSON(run), files})
	}
	a.note("run %d, %s: %d created, %d updated, %d unchanged, %d failed, %d skipped, %d removed", run.ID, run.State, run.Created, run.Updated,
		run.Unchanged, run.Failed, run.Skipped, run.Removed)
	return nil
}
