package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/internal/analysis"
)

const addHelp = `
Adds files, folders with all that is below them, and with "-" what standard
input brings. Adding again updates: what did not change is left alone.

In folders hidden files, symbolic links and what is not text are skipped, and
standard error says so. A file that cannot be read is reported, and the others
are added; the exit code is then 4.

A document is known by its owner, origin and key. The key of a file is its path
from the named folder on, the folder's name included: "docs/a/b.md" for a/b.md
after "add docs", "add ./docs/" and "add /srv/docs" alike. The key of a file that
is named itself is its base name. Files of one call whose keys would be alike
get their absolute paths as keys, and standard error says so. What comes from
standard input has --key, else --name, else a hash of its content as key.

With --json each document is a line:
  {"path","document_id","status","chunks","chunks_reused","embedded","pending","error"}
where status is created, updated, unchanged or failed.`

func (a *app) addCommand() *cobra.Command {
	help := addHelp + "\n\nTypes are " + strings.Join(typeNames(), ", ") + ":\nlabels to search by; the text is read as its file's name and content say."
	return a.command("add PATH... | -", "Add or update documents", help, atLeastOne("PATH, or - for standard input"), a.add)
}

func atLeastOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("name at least one %s", what)
		}
		if slices.Contains(args, "") {
			return usagef("an argument is empty")
		}
		return nil
	}
}

// Batches end at these marks, so that a run of any size needs the memory of one batch.
const (
	batchDocuments = 64
	batchBytes     = 16 << 20
)

// addition is one run of add.
type addition struct {
	*app
	owner    *llmemory.Owner
	template llmemory.Document // what the flags say of every document
	progress *progress
	total    int
	far      advance

	batch []llmemory.Document
	paths []string
	sizes []int64
	bytes int

	done     map[llmemory.Status]int
	skipped  int
	pending  int   // passages that wait for a vector
	embedErr error // the first
}

func (a *app) add(ctx context.Context, args []string) error {
	template, err := a.template()
	if err != nil {
		return err
	}
	stdin := slices.Contains(args, "-")
	paths := slices.DeleteFunc(slices.Clone(args), func(s string) bool { return s == "-" })
	g, err := gather(paths)
	if err != nil {
		return err
	}
	defer g.close()
	n := &addition{app: a, template: template, total: len(g.files), progress: a.progress(), done: map[llmemory.Status]int{}}
	for i := range g.files {
		n.far.total += float64(g.files[i].size)
	}
	if stdin {
		n.total++
	}
	if (a.opts.key != "" || a.opts.name != "") && (n.total > 1 || len(g.files) == 1 && !g.files[0].named) {
		return usagef("--key and --name go with a single document")
	}
	for _, s := range g.skipped {
		n.skip(s.path, s.why)
	}
	for _, p := range g.clashes {
		a.note("%s: another file has the same key; its absolute path is its key", shown(p))
	}
	memory, closer, err := a.open(ctx, template.Embed != llmemory.EmbedNever)
	if err != nil {
		return err
	}
	defer closer()
	n.owner = memory.Owner(a.opts.owner)
	a.onEmbedded = n.embedded
	n.far.embeds = a.model != nil && template.Embed == llmemory.EmbedNow
	err = n.run(ctx, g.files, stdin)
	if err == nil && n.pending > 0 {
		err = ctx.Err() // the documents are stored, but their vectors were cut short
	}
	if err == nil && n.embedErr == nil {
		err = n.catchUp(ctx, memory)
	}
	n.progress.clear()
	return n.conclude(err)
}

// template reads the flags that hold for every document.
func (a *app) template() (llmemory.Document, error) {
	o := &a.opts
	d := llmemory.Document{OriginID: o.origin, Language: o.language, IfExists: llmemory.IfExists(o.ifExists),
		Embed: llmemory.Embed(o.embed)}
	var err error
	if o.kind != "" {
		if d.Type, err = llmemory.ParseType(o.kind); err != nil {
			return d, err
		}
	}
	if o.language != "" && !analysis.Supported(o.language) {
		return d, usagef("--language %q: must be one of %s", o.language, strings.Join(analysis.New().Languages(), ", "))
	}
	switch d.IfExists {
	case llmemory.Update, llmemory.Skip, llmemory.Refuse:
	default:
		return d, usagef("--if-exists %q: must be update, skip or error", o.ifExists)
	}
	switch d.Embed {
	case llmemory.EmbedNow, llmemory.EmbedLater, llmemory.EmbedNever:
	default:
		return d, usagef("--embed %q: must be now, later or never", o.embed)
	}
	if d.Date, err = parseDate("date", o.date, false); err != nil {
		return d, err
	}
	keys, values, err := parseMeta(o.meta)
	if err != nil {
		return d, err
	}
	for i, k := range keys {
		if _, twice := d.Metadata[k]; twice {
			return d, usagef("--meta %s is given twice", k)
		}
		if d.Metadata == nil {
			d.Metadata = map[string]any{}
		}
		d.Metadata[k] = values[i]
	}
	return d, nil
}

func (n *addition) run(ctx context.Context, files []file, stdin bool) error {
	for i := range files {
		f := &files[i]
		if err := ctx.Err(); err != nil {
			return err
		}
		content, kind, err := n.read(ctx, f)
		if errors.Is(err, errSkip) {
			n.skip(f.path, strings.TrimPrefix(err.Error(), errSkip.Error()+": "))
			n.far.total -= float64(f.size)
			continue
		}
		if err != nil {
			n.failed(f.path, "", err)
			n.far.total -= float64(f.size)
			continue
		}
		d := n.template
		d.Key, d.Name, d.Content = f.key, filepath.Base(f.absolute), content
		if d.Type == "" {
			d.Type = kind
		}
		if n.opts.name != "" {
			d.Name = n.opts.name
		}
		if n.opts.key != "" {
			d.Key = n.opts.key
		}
		if err := n.queue(ctx, f.path, f.size, d); err != nil {
			return err
		}
	}
	// Standard input may take its time; what is there is stored before.
	if err := n.flush(ctx); err != nil || !stdin {
		return err
	}
	text, err := n.readStdin(ctx)
	if err != nil {
		if ctx.Err() == nil {
			n.failed("-", "", err)
		}
		return ctx.Err()
	}
	d := n.template
	d.Key, d.Name, d.Content = n.opts.key, n.opts.name, text.Content
	if d.Type == "" {
		d.Type = llmemory.Type(text.Type)
	}
	if err := n.queue(ctx, "-", 0, d); err != nil {
		return err
	}
	return n.flush(ctx)
}

// errSkip marks a file of a folder that is left out.
var errSkip = errors.New("skip")

// read returns a file's text. In a folder, what is no text, what is empty and what has gone since the folder was read is skipped; a
// file that is named must be good.
func (n *addition) read(ctx context.Context, f *file) (content string, kind llmemory.Type, err error) {
	if f.err != nil {
		return "", "", f.err
	}
	r, err := f.open()
	if errors.Is(err, fs.ErrNotExist) && !f.named {
		return "", "", fmt.Errorf("%w: is gone", errSkip)
	}
	if err != nil {
		return "", "", err
	}
	defer r.Close()
	// What it is now counts, not what it was when its folder was read.
	switch info, err := r.Stat(); {
	case err != nil:
		return "", "", err
	case !info.Mode().IsRegular() && f.named:
		return "", "", errNotFile
	case !info.Mode().IsRegular():
		return "", "", fmt.Errorf("%w: is no regular file", errSkip)
	}
	text, err := n.extract(ctx, r, filepath.Base(f.absolute))
	switch {
	case f.named:
		return text.Content, llmemory.Type(text.Type), err
	case errors.Is(err, extract.ErrUnsupported):
		return "", "", fmt.Errorf("%w: %w", errSkip, err)
	case err == nil && strings.TrimSpace(text.Content) == "":
		return "", "", fmt.Errorf("%w: is empty", errSkip)
	}
	return text.Content, llmemory.Type(text.Type), err
}

func (n *addition) extract(ctx context.Context, r io.Reader, name string) (extract.Text, error) {
	return n.extractor.Extract(ctx, extract.Input{
		Reader: r, Name: name, Type: n.opts.kind, MaxBytes: llmemory.DefaultMaxContentBytes,
	})
}

// readStdin reads standard input. A read cannot be cancelled, so an interrupted one is abandoned: the program is about to end.
func (n *addition) readStdin(ctx context.Context) (extract.Text, error) {
	type answer struct {
		text extract.Text
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		text, err := n.extract(ctx, n.stdin, n.opts.name)
		done <- answer{text, err}
	}()
	select {
	case <-ctx.Done():
		return extract.Text{}, ctx.Err()
	case got := <-done:
		return got.text, got.err
	}
}

func (n *addition) queue(ctx context.Context, path string, size int64, d llmemory.Document) error {
	n.batch, n.paths, n.sizes, n.bytes = append(n.batch, d), append(n.paths, path), append(n.sizes, size), n.bytes+len(d.Content)
	if len(n.batch) < batchDocuments && n.bytes < batchBytes {
		return nil
	}
	return n.flush(ctx)
}

// flush adds what is queued and prints what became of it. The error is not nil if the run cannot go on.
func (n *addition) flush(ctx context.Context) error {
	if len(n.batch) == 0 {
		return nil
	}
	n.show()
	n.far.begin(n.sizes)
	results, err := n.owner.AddMany(ctx, n.batch)
	n.far.end(results)
	n.progress.clear()
	for i, r := range results {
		if n.mistaken(r.Err) {
			return r.Err
		}
		switch {
		case r.Status == "", r.Err != nil && ctx.Err() != nil: // not reached, or cut short
		case r.Err != nil && err != nil: // the whole batch was stopped, which is told once
			n.done[llmemory.Failed]++
			n.line(n.paths[i], r.DocumentID, r.Err)
		case r.Err != nil:
			n.failed(n.paths[i], r.DocumentID, r.Err)
		default:
			n.added(n.paths[i], r)
		}
	}
	n.batch, n.paths, n.sizes, n.bytes = nil, nil, nil, 0
	n.show()
	return err
}

// catchUp makes the vectors that earlier runs left behind: because they were interrupted, or had no model. In a file they can only
// be this user's; a server's queue is for "embed".
func (n *addition) catchUp(ctx context.Context, memory *llmemory.Memory) error {
	if p, err := n.place(); err != nil || !p.isFile() || n.model == nil || n.template.Embed != llmemory.EmbedNow {
		return err
	}
	waiting, err := waitingPassages(ctx, memory)
	if err != nil {
		return err
	}
	done, err := n.embedQueue(ctx, memory, n.progress, waiting)
	n.progress.clear()
	if done.Embedded > 0 {
		n.note("%s of earlier runs embedded", plural(done.Embedded, "passage"))
	}
	switch {
	case err != nil && ctx.Err() == nil:
		n.embedErr = err // the documents are stored
		return nil
	case err != nil:
		return err
	}
	left, err := waitingPassages(ctx, memory)
	if err == nil && left > 0 {
		n.note("%s still without a vector: another process is at them, or one was killed less than a minute ago; run \"llmemory embed\" then",
			plural(int(left), "passage"))
	}
	return err
}

// embedded is called whenever passages have their vectors.
func (n *addition) embedded(passages int) {
	n.far.embedded(passages)
	n.show()
}

// show tells how far the work is.
func (n *addition) show() {
	count := n.skipped
	for _, c := range n.done {
		count += c
	}
	n.progress.show("%d of %s%s", count, plural(n.total, "document"), n.far.String())
}

// advance measures how far a run of add is, in bytes of files, and how fast it goes. Files that are embedded take far longer than
// others, so what is embedded of a batch counts as soon as it is.
type advance struct {
	mu             sync.Mutex
	embeds         bool    // what is new gets vectors at once
	total, done    float64 // bytes
	batch, partial float64 // bytes of the batch that is being added, and what is done of it by estimate
	passages       int     // embedded
	known, chunks  float64 // bytes of files that were embedded whole, and their passages
	whole, vectors pace
}

// passageBytes is about what a passage has of its file, until there is something to go by.
const passageBytes = 800

func (a *advance) begin(sizes []int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.batch, a.partial = 0, 0
	for _, s := range sizes {
		a.batch += float64(s)
	}
	a.mark()
}

func (a *advance) embedded(passages int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	each := float64(passageBytes)
	if a.chunks > 0 {
		each = a.known / a.chunks
	}
	a.passages += passages
	a.partial = min(a.partial+each*float64(passages), a.batch)
	a.mark()
}

func (a *advance) end(results []llmemory.Added) {
	a.mu.Lock()
	defer a.mu.Unlock()
	embedded := 0
	for _, r := range results {
		embedded += r.Embedded
	}
	if embedded > 0 {
		a.known, a.chunks = a.known+a.batch, a.chunks+float64(embedded)
	}
	a.done, a.batch, a.partial = a.done+a.batch, 0, 0
	a.mark()
}

func (a *advance) mark() {
	now := time.Now()
	a.whole.at(now, a.done+a.partial)
	a.vectors.at(now, float64(a.passages))
}

// String is what is told after the number of documents.
func (a *advance) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	text := ""
	if a.passages > 0 {
		text = fmt.Sprintf(", %s embedded, %.0f a second", plural(a.passages, "passage"), a.vectors.rate())
	}
	if a.passages == 0 && a.whole.rate() > 0 {
		text = fmt.Sprintf(", %.0f kB a second", a.whole.rate()/1000)
	}
	if a.embeds && a.passages == 0 { // what is only looked at, as it is known already, says nothing of the rest
		return text
	}
	if rest := a.total - a.done - a.partial; rest > 0 && a.whole.rate() > 0 {
		text += fmt.Sprintf(", %s left", a.whole.left(rest))
	}
	return text
}

// mistaken tells whether an error is a flag's fault, such as an origin that is too long, which every document has.
func (n *addition) mistaken(err error) bool {
	var invalid *llmemory.InvalidError
	if !errors.As(err, &invalid) {
		return false
	}
	switch invalid.Field {
	case "content":
		return false
	case "key":
		return n.opts.key != ""
	case "name":
		return n.opts.name != ""
	}
	return true
}

// addedJSON is a line of add --json.
type addedJSON struct {
	Path         string          `json:"path"`
	DocumentID   string          `json:"document_id"`
	Status       llmemory.Status `json:"status"`
	Chunks       int             `json:"chunks"`
	ChunksReused int             `json:"chunks_reused"`
	Embedded     int             `json:"embedded"`
	Pending      int             `json:"pending"`
	Error        *string         `json:"error"`
}

func (n *addition) added(path string, r llmemory.Added) {
	n.done[r.Status]++
	n.pending += r.Pending
	if n.embedErr == nil {
		n.embedErr = r.EmbedErr
	}
	if r.RemovedNULs > 0 {
		n.note("%s: removed %s", shown(path), plural(r.RemovedNULs, "NUL byte"))
	}
	if r.UnsearchableWords > 0 {
		n.note("%s: holds words of more than 128 bytes, which are stored but not found", shown(path))
	}
	if n.opts.json {
		_ = n.printJSON(addedJSON{ // Main reports if that failed
			Path: path, DocumentID: r.DocumentID, Status: r.Status, Chunks: r.Chunks, ChunksReused: r.ChunksReused,
			Embedded: r.Embedded, Pending: r.Pending,
		})
		return
	}
	if r.Status != llmemory.Unchanged || n.opts.verbose {
		n.printf("%-9s  %s  %s  %s\n", r.Status, r.DocumentID, shown(path), plural(r.Chunks, "chunk"))
	}
}

func (n *addition) failed(path, id string, err error) {
	n.done[llmemory.Failed]++
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err // the path is told already
	}
	n.progress.clear()
	n.note("%s: %v", shown(path), err)
	n.line(path, id, err)
}

// line prints the JSON line of a document that was not added.
func (n *addition) line(path, id string, err error) {
	if n.opts.json {
		text := err.Error()
		_ = n.printJSON(addedJSON{Path: path, DocumentID: id, Status: llmemory.Failed, Error: &text}) // Main reports if that failed
	}
}

func (n *addition) skip(path, why string) {
	n.skipped++
	n.progress.clear()
	n.note("skipped %s: %s", shown(path), why)
}

// conclude sums up and turns what happened into the run's error.
func (n *addition) conclude(stopped error) error {
	if n.mistaken(stopped) {
		return stopped
	}
	failed := n.done[llmemory.Failed]
	good := n.done[llmemory.Created] + n.done[llmemory.Updated] + n.done[llmemory.Unchanged]
	if n.total != 1 || n.skipped > 0 || n.done[llmemory.Unchanged] > 0 {
		n.note("%d created, %d updated, %d unchanged, %d failed, %d skipped", n.done[llmemory.Created], n.done[llmemory.Updated],
			n.done[llmemory.Unchanged], failed, n.skipped)
	}
	switch {
	case errors.Is(stopped, context.Canceled):
		n.note("what was stored stays; the same command goes on from there")
	case n.embedErr != nil:
		n.note("%s without a vector: %v", plural(n.pending, "passage"), n.embedErr)
		n.note("text search finds them; \"llmemory embed\" tries again")
	case n.pending > 0:
		n.note("%s to be embedded: run \"llmemory embed\"", plural(n.pending, "passage"))
	case n.model == nil && n.opts.embedder == "" && n.template.Embed == llmemory.EmbedNow && good > n.done[llmemory.Unchanged]:
		n.note("searches go by words: \"llmemory models pull\" fetches a model for search by meaning, then \"llmemory embed\" makes the vectors")
	}
	switch {
	case errors.Is(stopped, context.Canceled), stopped != nil && good == 0:
		return stopped
	case stopped != nil:
		return &partlyError{fmt.Sprintf("stopped after %d of %s: %v", good+failed, plural(n.total, "document"), stopped)}
	case failed == 0:
		return nil
	case good > 0:
		return &partlyError{fmt.Sprintf("%d of %s failed", failed, plural(failed+good, "document"))}
	}
	return errReported
}

// errReported is a failure that standard error has told of already.
var errReported = errors.New("failed")
