package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/llmemory/llmemory"
)

const listHelp = `
Lists documents, newest first unless --sort says otherwise.

With --json:
  {"documents":[{"document_id","origin_id","key","name","type","date","metadata","format","title","author","language",
   "bytes","tokens","chunk_count","version","created_at","updated_at"}],"total","limit","offset"}
"total" counts all documents that match; "date" is null for a document without one.`

func (a *app) listCommand() *cobra.Command {
	return a.command("list", "List documents", listHelp, cobra.NoArgs, a.list)
}

func (a *app) list(ctx context.Context, _ []string) error {
	where, err := a.where()
	if err != nil {
		return err
	}
	if err := checkLimit("limit", a.opts.limit); err != nil {
		return err
	}
	order, ok := map[string]llmemory.Order{
		"created": llmemory.ByCreated, "updated": llmemory.ByUpdated, "name": llmemory.ByName, "date": llmemory.ByDate,
	}[a.opts.sort]
	if !ok {
		return usagef("--sort %q: must be created, updated, name or date", a.opts.sort)
	}
	owner, closer, err := a.owner(ctx, false)
	if err != nil {
		return err
	}
	defer closer()
	page, err := owner.List(ctx, &llmemory.ListOptions{
		Where: where, OrderBy: order, Reverse: a.opts.reverse, Offset: a.opts.offset, Limit: a.opts.limit,
	})
	if err != nil {
		return err
	}
	if a.opts.json {
		out := struct {
			Documents []documentJSON `json:"documents"`
			Total     int            `json:"total"`
			Limit     int            `json:"limit"`
			Offset    int            `json:"offset"`
		}{make([]documentJSON, len(page.Documents)), page.Total, page.Limit, page.Offset}
		for i := range page.Documents {
			out.Documents[i] = newDocumentJSON(&page.Documents[i])
		}
		return a.printJSON(out)
	}
	if len(page.Documents) == 0 {
		a.note("no documents")
		return nil
	}
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DOCUMENT\tORIGIN\tKEY\tTYPE\tDATE\tCHUNKS\tUPDATED")
	for i := range page.Documents {
		d := &page.Documents[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", d.ID, plain(d.OriginID), plain(d.Key), d.Type, day(d.Date), d.ChunkCount,
			d.UpdatedAt.UTC().Format(time.DateTime))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if rest := page.Total - page.Offset - len(page.Documents); rest > 0 || page.Offset > 0 {
		a.note("%d to %d of %d", page.Offset+1, page.Offset+len(page.Documents), page.Total)
	}
	return nil
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateOnly)
}

const getHelp = `
Prints a document. ID is what "add" and "list" print. The exit code is 3 if the
owner has no such document.

With --json the document is as in "list --json"; --chunks adds "chunks", the
passages (level 0) and then the sections they are part of (level 1), and --text
adds "text". Without --json, --text prints the text alone, byte for byte.`

func (a *app) getCommand() *cobra.Command {
	return a.command("get ID", "Print a document", getHelp, exactlyOne("document id"), a.get)
}

func exactlyOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("name one %s", what)
		}
		return nil
	}
}

func (a *app) get(ctx context.Context, args []string) error {
	owner, closer, err := a.owner(ctx, false)
	if err != nil {
		return err
	}
	defer closer()
	var doc *llmemory.StoredDocument
	var chunks []llmemory.Chunk
	var text string
	if a.opts.chunks {
		doc, chunks, err = owner.GetWithChunks(ctx, args[0])
	} else {
		doc, err = owner.Get(ctx, args[0])
	}
	if err == nil && a.opts.text {
		text, err = owner.Text(ctx, args[0])
	}
	if err != nil {
		return err
	}
	if a.opts.json {
		out := struct {
			documentJSON
			Chunks *[]chunkJSON `json:"chunks,omitempty"`
			Text   *string      `json:"text,omitempty"`
		}{documentJSON: newDocumentJSON(doc)}
		if a.opts.chunks {
			list := newChunksJSON(chunks)
			out.Chunks = &list
		}
		if a.opts.text {
			out.Text = &text
		}
		return a.printJSON(out)
	}
	if a.opts.text {
		a.printf("%s", text)
		return nil
	}
	a.printDocument(doc)
	for i := range chunks {
		a.printChunk(&chunks[i])
	}
	return nil
}

func (a *app) printDocument(d *llmemory.StoredDocument) {
	row := func(name, format string, args ...any) { a.printf("%-9s %s\n", name, fmt.Sprintf(format, args...)) }
	row("document", "%s", d.ID)
	row("origin", "%s", plain(d.OriginID))
	row("key", "%s", plain(d.Key))
	if d.Name != "" {
		row("name", "%s", plain(d.Name))
	}
	row("type", "%s", d.Type)
	for _, said := range [][2]string{{"format", d.Format}, {"title", d.Title}, {"author", d.Author}} {
		if said[1] != "" {
			row(said[0], "%s", plain(said[1]))
		}
	}
	if !d.Date.IsZero() {
		row("date", "%s", d.Date.UTC().Format(time.RFC3339))
	}
	row("language", "%s", d.Language)
	row("size", "%d bytes, %d tokens, %s", d.Bytes, d.Tokens, plural(d.ChunkCount, "chunk"))
	row("version", "%d", d.Version)
	row("created", "%s", d.CreatedAt.UTC().Format(time.RFC3339))
	row("updated", "%s", d.UpdatedAt.UTC().Format(time.RFC3339))
	for _, k := range slices.Sorted(maps.Keys(d.Metadata)) {
		row("meta", "%s = %s", plain(k), plain(compact(d.Metadata[k])))
	}
}

func (a *app) printChunk(c *llmemory.Chunk) {
	what := "passage"
	if c.Level > 0 {
		what = "section"
	}
	a.printf("\n%s %d  %s  bytes %d to %d, %d tokens", what, c.Position+1, c.ID, c.Start, c.End, c.Tokens)
	if c.Page > 0 {
		a.printf(", %s", pages(c))
	}
	if c.Heading != "" {
		a.printf("  %s", plain(c.Heading))
	}
	a.printf("\n  %s\n", plain(c.Text))
}

// pages says on which pages a passage is.
func pages(c *llmemory.Chunk) string {
	if c.Page == c.PageEnd {
		return fmt.Sprintf("page %d", c.Page)
	}
	return fmt.Sprintf("pages %d to %d", c.Page, c.PageEnd)
}

const deleteHelp = `
Deletes documents by id, or all that --filter and --origin select, or with --all
every document of the owner. All of it happens in one transaction.

Deleting by anything but ids asks first; without a terminal to ask on it needs
--yes. The exit code is 3 if none of the ids was found, and 4 if some were not.

With --json:
  {"deleted":["ID"],"missing":["ID"],"chunks":N}`

func (a *app) deleteCommand() *cobra.Command {
	return a.command("delete ID... | --filter JSON | --origin ID | --all", "Delete documents", deleteHelp, cobra.ArbitraryArgs, a.delete)
}

func (a *app) delete(ctx context.Context, ids []string) error {
	selective := a.opts.filter != "" || len(a.opts.origins) > 0
	switch {
	case len(ids) > 0 && (selective || a.opts.all), selective && a.opts.all:
		return usagef("name documents by id, or by --filter and --origin, or all by --all")
	case len(ids) == 0 && !selective && !a.opts.all:
		return usagef("name the documents to delete: by id, by --filter or --origin, or all by --all")
	}
	where, err := a.where()
	if err != nil {
		return err
	}
	if selective && where.IsZero() {
		return usagef("--filter selects every document; to delete all, say --all")
	}
	owner, closer, err := a.owner(ctx, false)
	if err != nil {
		return err
	}
	defer closer()
	var deleted llmemory.Deleted
	if len(ids) > 0 {
		deleted, err = owner.Delete(ctx, ids...)
	} else if err = a.confirmDelete(ctx, owner, where); err == nil {
		if a.opts.all {
			deleted, err = owner.DeleteAll(ctx)
		} else {
			deleted, err = owner.DeleteWhere(ctx, where)
		}
	}
	if err != nil {
		return err
	}
	missing := missingIDs(ids, deleted.DocumentIDs)
	if a.opts.json {
		err = a.printJSON(struct {
			Deleted []string `json:"deleted"`
			Missing []string `json:"missing"`
			Chunks  int      `json:"chunks"`
		}{list(deleted.DocumentIDs), list(missing), deleted.Chunks})
		if err != nil {
			return err
		}
	} else {
		for _, id := range deleted.DocumentIDs {
			a.printf("deleted  %s\n", id)
		}
	}
	a.note("%s deleted", plural(len(deleted.DocumentIDs), "document"))
	switch {
	case len(missing) == 0:
		return nil
	case len(deleted.DocumentIDs) == 0:
		return fmt.Errorf("%w: %s", llmemory.ErrNotFound, strings.Join(missing, ", "))
	}
	return &partlyError{"not found: " + strings.Join(missing, ", ")}
}

func missingIDs(asked, deleted []string) []string {
	short := func(id string) string { return strings.ToLower(strings.ReplaceAll(id, "-", "")) }
	gone := map[string]bool{}
	for _, id := range deleted {
		gone[short(id)] = true
	}
	var missing []string
	for _, id := range asked {
		if !gone[short(id)] && !slices.Contains(missing, id) {
			missing = append(missing, id)
		}
	}
	return missing
}

func (a *app) confirmDelete(ctx context.Context, owner *llmemory.Owner, where llmemory.Where) error {
	if a.opts.yes {
		return nil
	}
	page, err := owner.List(ctx, &llmemory.ListOptions{Where: where, Limit: 1})
	if err != nil {
		return err
	}
	return a.confirm(ctx, fmt.Sprintf("delete %s of owner %q", plural(page.Total, "document"), owner.ID()))
}

// confirm asks on the terminal whether to go on. The error is not nil unless the answer is yes.
func (a *app) confirm(ctx context.Context, what string) error {
	if a.opts.yes {
		return nil
	}
	refused := usagef("would %s: say --yes to do it", what)
	if !isTerminal(a.stdin) || !isTerminal(a.stderr) {
		return refused
	}
	fmt.Fprintf(a.stderr, "%s? [y/N] ", strings.ToUpper(what[:1])+what[1:])
	if yes, err := readYes(ctx, a.stdin); err != nil || yes {
		return err
	}
	return refused
}

// readYes reads an answer. A read cannot be cancelled, so an interrupted one is abandoned: the program is about to end.
func readYes(ctx context.Context, r io.Reader) (bool, error) {
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(r).ReadString('\n') // an error leaves no answer, which is no
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case line := <-answer:
		return line == "y" || line == "yes", nil
	}
}

const statsHelp = `
Counts what the owner has.

With --json:
  {"owner","documents","chunks","parents","bytes","tokens","origins","by_type":{},"by_language":{},"first_created",
   "last_updated","index":{"segments","unfolded","dead_leaves","bytes","stale"}}`

func (a *app) statsCommand() *cobra.Command {
	return a.command("stats", "Count documents and passages", statsHelp, cobra.NoArgs, a.stats)
}

func (a *app) stats(ctx context.Context, _ []string) error {
	owner, closer, err := a.owner(ctx, false)
	if err != nil {
		return err
	}
	defer closer()
	s, err := owner.Stats(ctx)
	if err != nil {
		return err
	}
	if a.opts.json {
		type indexJSON struct {
			Segments   int64 `json:"segments"`
			Unfolded   int64 `json:"unfolded"`
			DeadLeaves int64 `json:"dead_leaves"`
			Bytes      int64 `json:"bytes"`
			Stale      bool  `json:"stale"`
		}
		return a.printJSON(struct {
			Owner        string                  `json:"owner"`
			Documents    int64                   `json:"documents"`
			Chunks       int64                   `json:"chunks"`
			Parents      int64                   `json:"parents"`
			Bytes        int64                   `json:"bytes"`
			Tokens       int64                   `json:"tokens"`
			Origins      int64                   `json:"origins"`
			ByType       map[llmemory.Type]int64 `json:"by_type"`
			ByLanguage   map[string]int64        `json:"by_language"`
			FirstCreated *time.Time              `json:"first_created"`
			LastUpdated  *time.Time              `json:"last_updated"`
			Index        indexJSON               `json:"index"`
		}{
			owner.ID(), s.Documents, s.Chunks, s.Parents, s.Bytes, s.Tokens, s.Origins, object(s.ByType), object(s.ByLanguage),
			timeOrNull(s.FirstCreated), timeOrNull(s.LastUpdated), indexJSON(s.Index),
		})
	}
	row := func(name, format string, args ...any) { a.printf("%-10s %s\n", name, fmt.Sprintf(format, args...)) }
	row("owner", "%s", plain(owner.ID()))
	row("documents", "%d, of %s", s.Documents, plural(int(s.Origins), "origin"))
	for _, t := range slices.Sorted(maps.Keys(s.ByType)) {
		row("", "%d %s", s.ByType[t], t)
	}
	row("chunks", "%d, in %s", s.Chunks, plural(int(s.Parents), "section"))
	for _, l := range slices.Sorted(maps.Keys(s.ByLanguage)) {
		row("", "%d %s", s.ByLanguage[l], l)
	}
	row("text", "%d bytes, %d tokens", s.Bytes, s.Tokens)
	row("index", "%d bytes in %s; %d leaves not folded yet, %d dead", s.Index.Bytes, plural(int(s.Index.Segments), "segment"),
		s.Index.Unfolded, s.Index.DeadLeaves)
	if s.Index.Stale {
		row("", "made by another version of the analysis; the next change rebuilds it")
	}
	if s.Documents > 0 {
		row("created", "%s, last changed %s", s.FirstCreated.UTC().Format(time.RFC3339), s.LastUpdated.UTC().Format(time.RFC3339))
	}
	return nil
}
